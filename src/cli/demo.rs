//! `tenmil demo`: the main job in one command.

use super::clients::{Clients, Interrupt};
use super::network::TestNetwork;
use super::process::{cpu_time, resident_bytes};
use super::pushes::{self, Asking};
use super::server::Server;
use super::status::Status;
use super::summary::{Known, Summary};
use super::{Failure, causes, failed, heartbeat, records, refused, say, signals};
use crate::engine::Engine;
use crate::engine::config::Config;
use crate::engine::locals::{Listener, Owned};
use crate::link::af_xdp::attachment::{self, Request};
use crate::link::af_xdp::interface::enter_netns;
use crate::link::af_xdp::program::XdpMode;
use crate::link::memory;
use crate::load::flows::{Flows, Target};
use crate::load::plan::{Plan, UNDERWAY_MAX};
use crate::load::progress::Phase;
use crate::load::subscription::Subscription;
use crate::service::builtin::{Builtin, Builtins, Setup};
use crate::shard::affinity;
use crate::shard::clock::Clock;
use crate::shard::{Answering, Shard, Shared, secrets};
use crate::tcp::keepalive::Profile;
use crate::time::Duration;
use crate::wire::addr::{Address, Endpoint};
use crate::wire::ethernet::Mac;
use anyhow::{Context as _, anyhow, bail};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const SERVER: Address = Address::v4([10, 77, 0, 1]);
const PORT: u16 = 7000;
const LINK_LEN: u8 = 16;
const MTU: u32 = 1500;

/// The clients' addresses: 10.77.16.0/20, enough for 264 million connections.
const CLIENTS: Address = Address::v4([10, 77, 16, 0]);
const CLIENTS_LEN: u8 = 20;

/// The heartbeat's period where connections are held for longer than that.
const PERIOD: Duration = Duration::from_secs(60);

/// Heartbeats a second where nothing is said: all within 20 seconds, but no more than a veth pair
/// carries with ease, so that latency is not queueing; and no fewer than these.
fn heartbeats_per_second(connections: u32) -> u32 {
    (connections / 20).clamp(25_000, 100_000)
}

/// Hold many connections and exchange heartbeats on them, on a network made for it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How many connections.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    connections: u32,

    /// What the connections speak: line, echo, discard, http, ws, dubbo or mqtt.
    #[arg(long, value_name = "SERVICE", default_value_t = Builtin::Line)]
    service: Builtin,

    /// How long to hold all connections once they are established. As long as one heartbeat on each
    /// takes, unless given.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    hold: Option<Duration>,

    /// How often a heartbeat goes over each connection while they are held, spread evenly; or off.
    /// Every 60s, or once if the hold is shorter, unless given.
    #[arg(long, value_name = "TIME|off")]
    heartbeat: Option<heartbeat::Arg>,

    /// Have each client of mqtt subscribe to this filter before it counts as open.
    #[arg(long, value_name = "FILTER")]
    subscribe: Option<Subscription>,

    /// Have the server send a line of this many bytes on every connection while they are held: of line
    /// as it is, of ws as a message, of mqtt to the topic that --subscribe names.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(2..=2900))]
    broadcast: Option<u16>,

    /// What joins server and clients: a veth pair between two processes, which takes root, or
    /// memory inside this one; auto takes veth if it can.
    #[arg(long, value_enum, default_value_t = LinkKind::Auto)]
    link: LinkKind,

    #[command(flatten)]
    records: records::Args,
}

impl Args {
    /// The period of the heartbeats, and how long connections are held.
    fn times(&self) -> (Option<Duration>, Duration) {
        let once =
            Duration::from_secs(1) * self.connections / heartbeats_per_second(self.connections);
        match (self.heartbeat, self.hold) {
            (None, None) => (Some(once), once),
            (None, Some(hold)) => (Some(hold.min(PERIOD)).filter(|period| !period.is_zero()), hold),
            (Some(heartbeat::Arg(period)), hold) => (period, hold.or(period).unwrap_or(once)),
        }
    }

    /// Whether clients of the service know what is pushed to them.
    fn check_broadcast(&self) -> anyhow::Result<()> {
        if self.subscribe.is_some() && self.service != Builtin::Mqtt {
            bail!("--subscribe is for clients of mqtt: give --service mqtt");
        }
        match (self.broadcast, self.service, self.topic()) {
            (None, ..) | (_, Builtin::Line | Builtin::Ws, _) => Ok(()),
            (_, Builtin::Mqtt, Some(topic)) if !topic.contains(['+', '#']) => Ok(()),
            (_, Builtin::Mqtt, Some(topic)) => {
                bail!(
                    "nothing can be published to {topic}: give --subscribe a topic without + and #"
                )
            }
            (_, Builtin::Mqtt, None) => {
                bail!("clients of mqtt get what they subscribe to: give --subscribe TOPIC")
            }
            (_, service, _) => bail!(
                "clients of {service} take nothing unasked: --broadcast goes with line, ws and mqtt"
            ),
        }
    }

    /// The topic that is broadcast to, where there is one.
    fn topic(&self) -> Option<String> {
        self.subscribe.as_ref().map(|subscription| subscription.filter().to_owned())
    }

    /// What the clients do.
    fn clients(&self, stop: &Arc<AtomicBool>) -> anyhow::Result<Clients> {
        let clock = Clock::start();
        let connections = u64::from(self.connections);
        let endpoint = Endpoint { addr: SERVER, port: PORT };
        let target = Target { service: self.service, endpoint };
        let (heartbeat, hold) = self.times();
        Ok(Clients {
            plan: Plan {
                connections,
                slots: connections,
                flows: Flows::new(&[(CLIENTS, CLIENTS_LEN)], &[target], connections)?,
                rate: None,
                underway_max: UNDERWAY_MAX,
                heartbeat,
                beat_early: false,
                hold,
                churn: None,
                duration: None,
                reconnect: None,
                subscription: self.subscribe.clone(),
            },
            owned: vec![Owned { addr: CLIENTS, range_len: CLIENTS_LEN, link_len: LINK_LEN }],
            gateways: Vec::new(),
            profile: Profile::default(),
            faults: self.records.faults,
            capture: self.records.capture(clock)?,
            clock,
            progress: Arc::default(),
            shared: Shared::new(stop.clone()),
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum LinkKind {
    Auto,
    Veth,
    Memory,
}

/// Runs the demo.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    args.records.check().map_err(refused)?;
    args.check_broadcast().map_err(refused)?;
    let stop = signals::stop_flag().map_err(refused)?;
    let clients = args.clients(&stop).map_err(refused)?;
    // The server's tables are as large.
    clients.check_memory(2).map_err(refused)?;
    let summary = match veth(args, &stop)? {
        Some(veth) => on_veth(args, &clients, veth, &stop),
        None => in_memory(args, &clients, &stop),
    };
    super::report(&summary.map_err(failed)?, args.records.json())
}

/// The test network, and the server in it.
struct Veth {
    network: TestNetwork,
    server: Server,
}

/// The veth network with its server, or `None` where the memory link is to be used.
fn veth(args: &Args, stop: &AtomicBool) -> Result<Option<Veth>, Failure> {
    if args.link == LinkKind::Memory {
        return Ok(None);
    }
    let started = start_veth(args);
    if stop.load(Ordering::Relaxed) {
        return Err(failed(anyhow!("interrupted")));
    }
    match started {
        Ok(veth) => Ok(Some(veth)),
        Err(error) if args.link == LinkKind::Auto => {
            say(format_args!("{}; using the memory link instead of veth", causes(&error)));
            Ok(None)
        }
        Err(error) => Err(refused(error.context("no veth; --link memory needs no privilege"))),
    }
}

fn start_veth(args: &Args) -> anyhow::Result<Veth> {
    if !rustix::process::geteuid().is_root() {
        bail!("no privilege for network namespaces and XDP: run as root");
    }
    let network = TestNetwork::make().context("cannot make the test network")?;
    let server_args = [
        ("--interface", TestNetwork::SERVER_INTERFACE.to_owned()),
        ("--address", format!("{}/{LINK_LEN}", SERVER.to_ip())),
        ("--listen", format!("{}://{}:{PORT}", args.service, SERVER.to_ip())),
        ("--max-connections", args.connections.max(1024).to_string()),
    ];
    let mut server_args: Vec<_> =
        server_args.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect();
    server_args.push("--busy-poll".to_owned());
    if let Some([cpu, _]) = cpus() {
        server_args.extend(["--cpu".to_owned(), cpu.to_string()]);
    }
    if args.broadcast.is_some() {
        server_args.extend(["--control".to_owned(), control_path().display().to_string()]);
    }
    let server = Server::start(&network.server_namespace(), &server_args)?;
    Ok(Veth { network, server })
}

/// The server's control socket, if it is needed.
fn control_path() -> PathBuf {
    std::env::temp_dir().join(format!("tenmil-demo-{}", std::process::id()))
}

/// A processor for the server and one for the clients, where there are two.
fn cpus() -> Option<[usize; 2]> {
    affinity::allowed().ok()?.first_chunk().copied()
}

/// Server and clients in two processes, joined by a veth pair.
fn on_veth(
    args: &Args,
    clients: &Clients,
    veth: Veth,
    stop: &AtomicBool,
) -> anyhow::Result<Summary> {
    // Dropped in the opposite order: the network last.
    let Veth { network, mut server } = veth;
    let pid = server.pid();
    let empty = resident_bytes(&pid)?;
    let namespace = network.client_namespace();
    say(format_args!(
        "server in {}, clients in {namespace}, joined by veth",
        network.server_namespace()
    ));
    let (mut held, mut broadcast) = (None, None);
    let mut keeps = BTreeMap::new();
    // The server's CPU time when the hold began, and when it ended.
    let mut hold = (Duration::ZERO, Duration::ZERO);
    let finished = thread::scope(|scope| {
        let running = scope.spawn(|| {
            enter_netns(&namespace)?;
            let (attachment, mut links) = attachment::attach(&Request {
                interface: TestNetwork::CLIENT_INTERFACE.to_owned(),
                queues: Some(1),
                mode: XdpMode::Auto,
                owned: vec![(CLIENTS.to_ip(), CLIENTS_LEN)],
                listeners: Vec::new(),
            })?;
            let mut link = links.pop().ok_or_else(|| anyhow!("no link"))?;
            link.poll_busily()?;
            if let Some([_, cpu]) = cpus() {
                affinity::pin(cpu)?;
            }
            clients.run(link, attachment.interface().mac, attachment.interface().mtu)
        });
        let mut asking = Asking::new(args.broadcast);
        let finished = clients.watch(running, stop, Interrupt::Abandon, |phase| {
            if !server.is_running() {
                bail!("the server's process has ended");
            }
            match phase {
                Phase::Connected if held.is_none() => {
                    held = Some((empty, resident_bytes(&pid)?));
                    if args.service == Builtin::Mqtt {
                        keeps = server.keeps_with(args.connections.into());
                    }
                    hold = (cpu_time(&pid)?, cpu_time(&pid)?);
                }
                Phase::Holding => {
                    hold.1 = cpu_time(&pid)?;
                    let topic = args.topic();
                    let begin = |line| pushes::ask_for(&control_path(), topic, line);
                    asking.look(scope, begin, || resident_bytes(&pid).map(Some))?;
                }
                _ => {}
            }
            Ok(())
        })?;
        broadcast = asking.finish()?;
        anyhow::Ok(finished)
    })?;
    let server_cpu = cpu_time(&pid)?;
    let status = server.stop()?;
    let known = Known {
        server_memory: held,
        server_cpu: Some((server_cpu, hold.1.saturating_sub(hold.0))),
        clients_alone: true,
        broadcast,
        keeps,
        ..Known::default()
    };
    Ok(Summary::new(&finished, "veth", &known, &status))
}

/// Server and clients on two threads of this process, joined in memory.
fn in_memory(args: &Args, clients: &Clients, stop: &AtomicBool) -> anyhow::Result<Summary> {
    const SERVER_MAC: Mac = [2, 0, 0, 0, 0, 1];
    const CLIENT_MAC: Mac = [2, 0, 0, 0, 0, 2];
    let (server_link, client_link) = memory::pair(8192, 2048, 2048);
    let mut config = Config::new(SERVER_MAC, secrets::draw()?, secrets::draw()?);
    config.connections_max = args.connections.max(1024);
    config.flights_max = Config::flights_for(config.connections_max);
    config.owned = vec![Owned { addr: SERVER, range_len: 32, link_len: LINK_LEN }];
    let endpoint = Endpoint { addr: SERVER, port: PORT };
    config.listeners = vec![Listener { endpoint, tag: 0, profile: None }];
    let service = Builtins::new(&[Setup::of(args.service)], secrets::draw()?);
    let engine = Engine::try_new(config, service, clients.clock.now())?;
    let stop_server = Arc::new(AtomicBool::new(false));
    let shared = Shared::new(stop_server.clone());
    let mut known = Known::default();
    let finished = thread::scope(|scope| {
        let server = scope.spawn(|| {
            let mut shard = Shard { link: server_link, engine, driver: Answering };
            shard.run(&clients.clock, &shared)
        });
        let running = scope.spawn(|| clients.run(client_link, CLIENT_MAC, MTU));
        let mut asking = Asking::new(args.broadcast);
        let finished = clients.watch(running, stop, Interrupt::Abandon, |phase| {
            match phase {
                Phase::Connected => {
                    known.only_memory = Some(resident_bytes("self")?);
                    known.keeps = keeps_with(args.connections.into(), &shared);
                }
                Phase::Holding => {
                    let (handle, clock, service) = (shared.handle(), clients.clock, args.service);
                    let topic = args.topic();
                    let begin = move |line: String| match topic {
                        Some(topic) => pushes::publish_on_shard(&handle, clock, &topic, &line),
                        None => pushes::ask_shard(&handle, clock, service, line),
                    };
                    asking.look(scope, begin, || Ok(None))?;
                }
                _ => {}
            }
            Ok(())
        });
        known.broadcast = asking.finish()?;
        stop_server.store(true, Ordering::Relaxed);
        server.join().map_err(|_| anyhow!("the server's thread panicked"))??;
        finished
    })?;
    let status = Status::from(&shared.snapshot());
    Ok(Summary::new(&finished, "memory", &known, &status))
}

/// What the services of the server behind `shared` keep with so many connections: waits a little for it to
/// say so.
fn keeps_with(connections: u64, shared: &Shared) -> BTreeMap<String, u64> {
    for _ in 0..20 {
        if shared.snapshot().engine.established >= connections {
            break;
        }
        thread::park_timeout(Duration::from_millis(50));
    }
    Status::from(&shared.snapshot()).keeps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(args: &[&str]) -> (Option<Duration>, Duration) {
        #[derive(clap::Parser)]
        struct Demo {
            #[command(flatten)]
            args: Args,
        }
        let words = ["demo"].iter().chain(args);
        <Demo as clap::Parser>::try_parse_from(words).expect("arguments").args.times()
    }

    #[test]
    fn unless_told_otherwise_each_connection_has_one_heartbeat() {
        let seconds = Duration::from_secs;
        assert_eq!(times(&[]), (Some(seconds(2) / 5), seconds(2) / 5));
        let million = ["--connections", "1000000"];
        assert_eq!(times(&million), (Some(seconds(20)), seconds(20)));
        assert_eq!(times(&["--hold", "10s"]), (Some(seconds(10)), seconds(10)));
        assert_eq!(times(&["--hold", "120s"]), (Some(seconds(60)), seconds(120)));
        assert_eq!(times(&["--hold", "0s"]), (None, seconds(0)));
        assert_eq!(times(&["--heartbeat", "5s"]), (Some(seconds(5)), seconds(5)));
        let both = ["--hold", "120s", "--heartbeat", "30s"];
        assert_eq!(times(&both), (Some(seconds(30)), seconds(120)));
        assert_eq!(times(&["--hold", "5s", "--heartbeat", "off"]), (None, seconds(5)));
    }

    #[test]
    fn there_are_addresses_for_as_many_connections_as_can_be_asked_for() {
        let target =
            Target { service: Builtin::Line, endpoint: Endpoint { addr: SERVER, port: PORT } };
        assert!(Flows::new(&[(CLIENTS, CLIENTS_LEN)], &[target], 100_000_000).is_ok());
    }
}
