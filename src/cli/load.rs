//! `tenmil load`: the load generator, against any server.

use super::address::{Cidr, TargetUrl};
use super::clients::{Clients, Finished, Interrupt};
use super::status::Status;
use super::summary::{Known, Summary};
use super::{
    Failure, driving, failed, gateways, heartbeat, liveness, reconnect, records, refused, signals,
};
use crate::engine::locals::{Locals, Owned};
use crate::link::af_xdp::attachment::{self, Request, SetupError};
use crate::link::af_xdp::interface::Interface;
use crate::link::af_xdp::program::XdpMode;
use crate::link::af_xdp::routes;
use crate::load::flows::{Flows, Target};
use crate::load::plan::{Plan, UNDERWAY_MAX, stride};
use crate::load::subscription::Subscription;
use crate::service::builtin::Builtin;
use crate::shard::Shared;
use crate::shard::clock::Clock;
use crate::tcp::timing::TIME_WAIT;
use crate::time::Duration;
use crate::wire::addr::{Address, Endpoint};
use anyhow::{Context as _, anyhow, bail};
use std::sync::Arc;
use std::thread;

/// From how many ports a client comes in turn that comes back.
const ROWS: [u64; 4] = [16, 8, 4, 2];

/// The most connections: as many as a server may have.
const CONNECTIONS_MAX: u32 = 1 << 30;

/// Open many connections to a server and hold them, checking every answer.
///
/// Connections are opened, held while heartbeats go over them, and closed in order. When each is opened
/// and each heartbeat sent is fixed beforehand; what is late is caught up with, and its latency counts
/// from when it was due. Heartbeats begin when all connections are open, or one period after the first
/// SYN if that takes longer. Connections that the server closes as it had announced (Connection: close, a
/// close frame) are opened anew. Progress goes to stderr, the summary to stdout. Exit code 0 says that
/// everything was established and answered rightly. Ctrl-C closes what is open; a second one stops at
/// once.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The network interface; it needs to have one receive queue.
    #[arg(long, value_name = "IF")]
    interface: String,

    /// Where connections come from: all ports from 1024 on of all addresses of the prefix, which tenmil
    /// then answers for; the kernel must not have them.
    #[arg(long, value_name = "CIDR", num_args = 1.., required = true)]
    source: Vec<Cidr>,

    /// Where they go, in turn: echo, discard, line, http, ws, dubbo or mqtt, for
    /// example line://10.77.0.1:7000.
    #[arg(long, value_name = "SERVICE://ADDR:PORT", num_args = 1.., required = true)]
    target: Vec<TargetUrl>,

    #[command(flatten)]
    driving: driving::Args,

    /// How many connections to hold.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(CONNECTIONS_MAX)))]
    connections: u32,

    /// Connections opened a second; as fast as it goes unless given.
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,

    /// How often a heartbeat goes over each connection, spread evenly; or off. Lines are answered PONG,
    /// an echo gets 16 bytes that are different each time, as does a WebSocket in a ping; HTTP is asked
    /// for /healthz, which must say ok; Dubbo and MQTT get their own, and discard gets nothing.
    #[arg(long, value_name = "TIME|off", default_value = "60s")]
    heartbeat: heartbeat::Arg,

    /// How long to hold all connections once they are established: 60s unless given, or as long as
    /// --duration lasts.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    hold: Option<Duration>,

    /// While they are held, close connections and open others in their place, --rate a second.
    #[arg(long, requires = "rate")]
    churn: bool,

    /// Hold connections no longer than so long after the first SYN, and then close them.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,

    /// Have each client of mqtt subscribe to this filter, with QoS 0, before it counts as open. The messages
    /// that come are counted as pushes, and compared with the first one.
    #[arg(long, value_name = "FILTER")]
    subscribe: Option<Subscription>,

    #[command(flatten)]
    reconnect: reconnect::Args,

    /// Connections being opened at once, but for those that are opened again, and closed at once; and
    /// answers awaited at once while late heartbeats are caught up with.
    #[arg(long, value_name = "N", default_value_t = UNDERWAY_MAX, value_parser = clap::value_parser!(u64).range(1..=1 << 16))]
    half_open_max: u64,

    /// Networks on the link, whose hosts are reached without a gateway; those of the kernel's routes on
    /// the interface, and the sources' own, are known.
    #[arg(long, value_name = "CIDR", num_args = 1..)]
    on_link: Vec<Cidr>,

    #[command(flatten)]
    gateways: gateways::Args,

    #[command(flatten)]
    liveness: liveness::Args,

    #[command(flatten)]
    records: records::Args,
}

/// Opens, holds and closes the connections.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let clock = Clock::start();
    let plan = args.plan().map_err(refused)?;
    check_interface(&args.interface).map_err(refused)?;
    let owned = args.owned();
    let gateways = args.find_gateways(&owned).map_err(refused)?;
    check_ways(&plan, &owned, &gateways).map_err(refused)?;
    let profile = args.liveness.profile().map_err(refused)?;
    args.records.check().map_err(refused)?;
    let capture = args.records.capture(clock).map_err(refused)?;
    let stop = signals::stop_flag().map_err(refused)?;
    let clients = Clients {
        plan,
        owned,
        gateways,
        profile,
        faults: args.records.faults,
        capture,
        clock,
        progress: Arc::default(),
        shared: Shared::default(),
    };
    clients.check_memory(1).map_err(refused)?;
    let (attachment, mut links) = attachment::attach(&args.request()).map_err(refused)?;
    args.driving.apply(&mut links).map_err(refused)?;
    let link = links.pop().ok_or_else(|| refused(anyhow!("no link")))?;
    let interface = attachment.interface();
    let finished = thread::scope(|scope| {
        let running = scope.spawn(|| {
            args.driving.pin(0)?;
            clients.run(link, interface.mac, interface.mtu)
        });
        clients.watch(running, &stop, Interrupt::Close, |_| Ok(()))
    });
    let finished = finished.map_err(failed)?;
    drop(attachment);
    let reported = super::report(&summary(&finished), args.records.json());
    if finished.interrupted { Err(failed(anyhow!("interrupted"))) } else { reported }
}

fn summary(finished: &Finished) -> Summary {
    let known = Known { clients_alone: true, ..Known::default() };
    let status = Status::from(&finished.snapshot);
    Summary::new(finished, "interface", &known, &status)
}

/// Whether the interface can be used: one queue is served, and frames that arrive on another would be
/// dropped. Looked at first, since the kernel has no routes on one that is down.
fn check_interface(name: &str) -> anyhow::Result<()> {
    let Interface { rx_queues, up, .. } = Interface::by_name(name)?;
    if !up {
        return Err(SetupError::Down(name.to_owned()).into());
    }
    if rx_queues > 1 {
        bail!(
            "{name} has {rx_queues} receive queues, and load serves one: ethtool -L {name} combined 1"
        );
    }
    Ok(())
}

/// Whether every target can be reached from every source of its family.
fn check_ways(plan: &Plan, owned: &[Owned], gateways: &[Address]) -> anyhow::Result<()> {
    let locals = Locals::new(owned.to_vec(), Vec::new(), gateways.to_vec());
    for target in plan.flows.targets() {
        let to = target.endpoint.addr;
        for Owned { addr, range_len, .. } in owned {
            if addr.is_v4() == to.is_v4() && locals.next_hop(addr, &to).is_none() {
                bail!(
                    "{} is not on the link of --source {}/{range_len}: give --gateway, or --on-link \
                     with the network that both are in",
                    to.to_ip(),
                    addr.to_ip(),
                );
            }
        }
    }
    Ok(())
}

impl Args {
    fn plan(&self) -> anyhow::Result<Plan> {
        let prefixes: Vec<_> = self.source.iter().map(prefix).collect();
        let targets: Vec<_> = self.target.iter().map(target).collect();
        let reconnect = self.reconnect.plan()?;
        if self.subscribe.is_some() && !targets.iter().any(|to| to.service == Builtin::Mqtt) {
            bail!("--subscribe is for clients of mqtt: give an mqtt:// among the --target");
        }
        let flows = |len: u64| Flows::new(&prefixes, &targets, len);
        // Where connections come back, each client has several ports, if there are so many.
        let row = stride(u64::from(self.connections), targets.len());
        let rows = if reconnect.is_some() { &ROWS[..] } else { &[] };
        let flows = match rows.iter().find_map(|rows| flows(rows * row).ok()) {
            Some(flows) => flows,
            None if self.churn => flows(self.records().into())
                .context("with --churn, closed connections count for another minute")?,
            None => flows(self.records().into())?,
        };
        let rate = self.rate.map(u64::from);
        let hold = match (self.hold, self.duration) {
            (Some(hold), _) => hold,
            (None, Some(duration)) => duration,
            (None, None) => Duration::from_secs(60),
        };
        Ok(Plan {
            connections: u64::from(self.connections),
            slots: u64::from(self.records()),
            flows,
            rate,
            underway_max: self.half_open_max,
            heartbeat: self.heartbeat.0,
            beat_early: true,
            hold,
            churn: rate.filter(|_| self.churn),
            duration: self.duration,
            reconnect,
            subscription: self.subscribe.clone(),
        })
    }

    /// How many records the clients need, and pairs of endpoints: those of closed connections stay in
    /// use for TIME-WAIT.
    fn records(&self) -> u32 {
        let seconds = TIME_WAIT.as_secs() + 1;
        let lingering =
            self.rate.filter(|_| self.churn).map_or(0, |rate| u64::from(rate) * seconds);
        let records = (u64::from(self.connections) + lingering).min(u64::from(CONNECTIONS_MAX));
        u32::try_from(records).unwrap_or(CONNECTIONS_MAX)
    }

    /// The sources, and the links that they are on.
    fn owned(&self) -> Vec<Owned> {
        let known = routes::on_link(&self.interface).into_iter();
        let known = known.map(|(addr, len)| (Address::from(addr), len));
        let networks: Vec<_> = known.chain(self.on_link.iter().map(prefix)).collect();
        let owned = self.source.iter().map(prefix).map(|(addr, len)| {
            let around = networks.iter().filter(|(network, network_len)| {
                *network_len <= len && network.shares_prefix(&addr, *network_len)
            });
            let link_len = around.map(|(_, len)| *len).max().unwrap_or(len);
            Owned { addr, range_len: len, link_len }
        });
        owned.collect()
    }

    fn find_gateways(&self, owned: &[Owned]) -> anyhow::Result<Vec<Address>> {
        let links =
            owned.iter().map(|owned| Cidr { addr: owned.addr.to_ip(), prefix_len: owned.link_len });
        self.gateways.resolve(&self.interface, "--source", &links.collect::<Vec<_>>())
    }

    fn request(&self) -> Request {
        Request {
            interface: self.interface.clone(),
            queues: Some(1),
            mode: XdpMode::Auto,
            owned: self.source.iter().map(prefix).map(|(addr, len)| (addr.to_ip(), len)).collect(),
            listeners: Vec::new(),
        }
    }
}

/// The prefix of a CIDR, without the bits behind it.
fn prefix(cidr: &Cidr) -> (Address, u8) {
    (Address::from(cidr.addr).prefix(cidr.prefix_len), cidr.prefix_len)
}

fn target(url: &TargetUrl) -> Target {
    Target { service: url.0.setup.service(), endpoint: Endpoint::from(url.0.endpoint) }
}
