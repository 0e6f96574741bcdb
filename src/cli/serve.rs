//! `tenmil serve`: services on an interface.

use super::address::{Cidr, ListenUrl};
use super::faults::FaultsArg;
use super::status::Status;
use super::{
    Failure, capture, claim, driving, failed, files, gateways, limits, liveness, memory, promotion,
    refused, say, signals,
};
use crate::control::Listening;
use crate::control::socket::ControlSocket;
use crate::engine::Engine;
use crate::engine::claims::Claiming;
use crate::engine::config::Config;
use crate::engine::locals::{Listener, Owned};
use crate::link::af_xdp::AfXdpLink;
use crate::link::af_xdp::attachment::{self, Attachment, Request};
use crate::link::af_xdp::program::{Verdict, XdpMode};
use crate::link::faults::Faulty;
use crate::link::tap::Tapped;
use crate::service::builtin::{Builtin, Builtins, Setup};
use crate::shard::clock::Clock;
use crate::shard::{Answering, Shard, Shared, Snapshot, secrets};
use crate::tcp::keepalive::Profile;
use crate::time::Duration;
use crate::wire::addr::{Address, Endpoint, Secret};
use anyhow::{Context as _, anyhow};
use std::collections::HashMap;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};

/// Serve TCP services on an interface, from user space.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The network interface.
    #[arg(long, value_name = "IF")]
    interface: String,

    /// An address that tenmil alone answers for (ARP, NDP, ping and TCP), with the prefix length of
    /// its link; the kernel must not have it. Listening on other addresses shares them with the
    /// kernel: only the listed ports are taken.
    #[arg(long, value_name = "CIDR", num_args = 1..)]
    address: Vec<Cidr>,

    #[command(flatten)]
    claim: claim::Args,

    #[command(flatten)]
    gateways: gateways::Args,

    /// What to serve, and where: echo, discard, line, http, ws, dubbo or mqtt, for example
    /// echo://10.77.0.1:7 or http://10.77.0.1:80?root=DIR.
    #[arg(long, value_name = "SERVICE://ADDR:PORT", num_args = 1.., required = true)]
    listen: Vec<ListenUrl>,

    #[command(flatten)]
    limits: limits::Args,

    /// How to attach the XDP program: native in the driver, generic (skb), or native if possible.
    #[arg(long, value_enum, default_value_t = Mode::Auto)]
    xdp_mode: Mode,

    /// How many receive queues to serve, a thread for each. All of them unless given: frames that
    /// arrive on another queue are dropped.
    #[arg(long, value_name = "N")]
    queues: Option<u32>,

    #[command(flatten)]
    driving: driving::Args,

    #[command(flatten)]
    liveness: liveness::Args,

    /// How long a connection that was closed from here first is remembered (TIME-WAIT).
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    time_wait: Duration,

    #[command(flatten)]
    promotion: promotion::Args,

    /// Listen on this Unix socket for `tenmil push` and `tenmil broadcast`.
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,

    /// Write every frame, both ways, to this file in pcap format.
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,

    /// Lose, double, reorder and damage frames, both ways.
    #[arg(long, value_name = "KEY=PERCENT,...", default_value = "seed=0", hide = true)]
    faults: FaultsArg,

    /// How to print the status.
    #[arg(long, value_enum, default_value_t = Format::Text, hide = true)]
    status: Format,

    /// Stop when the process that started this one ends.
    #[arg(long, hide = true)]
    die_with_parent: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Mode {
    Auto,
    Native,
    Skb,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Serves until SIGINT or SIGTERM.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    check_listeners(&args.listen).map_err(refused)?;
    let plan = Plan::of(args).map_err(refused)?;
    if args.die_with_parent {
        let signal = Some(rustix::process::Signal::TERM);
        rustix::process::set_parent_process_death_signal(signal).map_err(refused)?;
    }
    let stop = signals::stop_flag().map_err(refused)?;
    let clock = Clock::start();
    let capture = capture::start(args.pcap.as_deref(), clock).map_err(refused)?;
    let control = args.control.as_deref().map(ControlSocket::bind).transpose().map_err(refused)?;
    let (attachment, mut links) = attachment::attach(&request(args)).map_err(refused)?;
    check_queues(&args.listen, attachment.queues()).map_err(refused)?;
    args.driving.apply(&mut links).map_err(refused)?;
    let mut shards = Vec::new();
    for (queue, link) in links.into_iter().enumerate() {
        // The capture shows what the engine receives and sends.
        let link = Tapped::new(args.faults.on(link, queue), capture.clone());
        let claiming = args.claim.claiming(queue);
        let shard = make_shard(args, &plan, claiming, &attachment, link, clock).map_err(refused)?;
        shards.push(shard);
    }
    claim::claim(&mut shards, &clock, &stop).map_err(refused)?;
    if args.status == Format::Text {
        announce(args, &plan, &attachment, &shards);
    }
    serve(args, &attachment, shards, control.as_ref(), clock, &stop).map_err(failed)
}

/// What the arguments say about connections, found to be possible before anything is attached.
struct Plan {
    profile: Profile,
    listeners: Vec<Listener>,
    /// The services of the listeners, by their tags.
    setups: Vec<Setup>,
    gateways: Vec<Address>,
}

impl Plan {
    fn of(args: &Args) -> anyhow::Result<Plan> {
        let profile = args.liveness.profile()?;
        let numbered = args.listen.iter().enumerate();
        let setups: Vec<_> = args.listen.iter().map(|url| url.setup.clone()).collect();
        // What cannot be opened is said before anything is attached.
        Builtins::with_files(&setups, Secret([0; 16]), files::open)?;
        let listeners = numbered.map(|(tag, url)| listener(url, tag, &args.liveness));
        Ok(Plan {
            profile,
            listeners: listeners.collect::<anyhow::Result<_>>()?,
            setups,
            gateways: args.gateways.resolve(&args.interface, "--address", &args.address)?,
        })
    }
}

/// Two services on one endpoint contradict each other.
fn check_listeners(urls: &[ListenUrl]) -> anyhow::Result<()> {
    let mut seen = HashMap::new();
    for url in urls {
        if let Some(other) = seen.insert(url.endpoint, url) {
            return Err(anyhow!("{other} and {url} listen on the same port: keep one of them"));
        }
    }
    Ok(())
}

/// Shards share nothing, so clients of MQTT on different queues would not hear each other.
fn check_queues(urls: &[ListenUrl], queues: u32) -> anyhow::Result<()> {
    let mqtt = urls.iter().find(|url| url.setup.service() == Builtin::Mqtt);
    match mqtt {
        Some(url) if queues > 1 => Err(anyhow!(
            "{url} is served on one queue only, since queues share no subscriptions, and the \
             interface has {queues}: leave one with ethtool -L, and use --queues 1"
        )),
        _ => Ok(()),
    }
}

fn request(args: &Args) -> Request {
    let mut listeners: Vec<_> = args.listen.iter().map(|url| url.endpoint).collect();
    listeners.retain(|endpoint| !args.address.iter().any(|cidr| cidr.addr == endpoint.ip()));
    Request {
        interface: args.interface.clone(),
        queues: args.queues,
        mode: match args.xdp_mode {
            Mode::Auto => XdpMode::Auto,
            Mode::Native => XdpMode::Native,
            Mode::Skb => XdpMode::Skb,
        },
        owned: args.address.iter().map(|cidr| (cidr.addr, cidr.host_len())).collect(),
        listeners,
    }
}

type ServeLink = Tapped<Faulty<AfXdpLink>>;
pub(super) type ServeShard = Shard<ServeLink, Builtins, Answering>;

fn make_shard(
    args: &Args,
    plan: &Plan,
    claiming: Claiming,
    attachment: &Attachment,
    link: ServeLink,
    clock: Clock,
) -> anyhow::Result<ServeShard> {
    let interface = attachment.interface();
    let mut config = Config::new(interface.mac, secrets::draw()?, secrets::draw()?);
    config.mtu = u16::try_from(interface.mtu.min(u32::from(config.mtu)))?;
    args.limits.apply(&mut config, attachment.queues());
    args.promotion.apply(&mut config, attachment.queues());
    config.time_wait = args.time_wait;
    config.claiming = claiming;
    config.gateways = plan.gateways.clone();
    config.owned = args.address.iter().map(owned).collect();
    config.profile = plan.profile;
    config.listeners = plan.listeners.clone();
    let remedy = "lower --max-connections, --flights-max or --promoted-max";
    memory::check(&config, attachment.queues(), 0, remedy)?;
    let service = Builtins::with_files(&plan.setups, secrets::draw()?, files::open)?;
    let engine = Engine::try_new(config, service, clock.now())?;
    Ok(Shard { link, engine, driver: Answering })
}

fn owned(cidr: &Cidr) -> Owned {
    let addr = Address::from(cidr.addr);
    Owned { addr, range_len: cidr.host_len(), link_len: cidr.prefix_len }
}

fn listener(url: &ListenUrl, tag: usize, liveness: &liveness::Args) -> anyhow::Result<Listener> {
    Ok(Listener {
        endpoint: Endpoint::from(url.endpoint),
        tag: u8::try_from(tag).context("there can be 256 listeners")?,
        profile: url.overrides.profile(liveness).with_context(|| url.to_string())?,
    })
}

/// The listeners, as the control socket knows them.
fn listening(urls: &[ListenUrl]) -> Vec<Listening> {
    let numbered = urls.iter().zip(0..);
    let listening = numbered.map(|(url, tag)| Listening {
        local: url.endpoint,
        service: url.setup.service(),
        tag,
    });
    listening.collect()
}

/// Says what was attached, and where.
fn announce(args: &Args, plan: &Plan, attachment: &Attachment, shards: &[ServeShard]) {
    let interface = attachment.interface();
    let mac = claim::text(interface.mac);
    let copy = if attachment.zero_copy() { "zero-copy" } else { "copy mode" };
    say(format_args!(
        "attached to {} ({mac}, mtu {}): XDP {}, {copy}, \
         {} of {} queue(s)",
        interface.name,
        interface.mtu,
        attachment.mode(),
        attachment.queues(),
        interface.rx_queues,
    ));
    if let Some(reason) = attachment.program().fallback_reason() {
        say(format_args!("  native mode was refused: {reason}"));
    }
    if let Some(pages) = shards.iter().map(|shard| shard.engine.page_kind()).max() {
        say(format_args!("  keeps connections in {pages}"));
    }
    for cidr in &args.address {
        say(format_args!("  owns {}", cidr.addr));
    }
    for gateway in &plan.gateways {
        say(format_args!("  gateway {}", gateway.to_ip()));
    }
    for url in &args.listen {
        let ip = url.endpoint.ip();
        let owned = args.address.iter().any(|cidr| cidr.addr == ip);
        // Whoever can bind to an address has it.
        if !owned && UdpSocket::bind((ip, 0)).is_err() {
            eprintln!(
                "tenmil: warning: the kernel does not have {ip} either, so nobody may find it; \
                 --address {ip}/PREFIX lets tenmil answer for it"
            );
        }
        let shared = if owned { "" } else { ", an address shared with the kernel" };
        say(format_args!("  serves {url}{shared}"));
    }
    let profiles = plan.listeners.iter().map(|listener| listener.profile.unwrap_or(plan.profile));
    for warning in liveness::warnings(args.listen.iter().zip(profiles)) {
        eprintln!("tenmil: warning: {warning}");
    }
}

/// Runs the shards, each on a thread of its own, and prints a status line a second.
fn serve(
    args: &Args,
    attachment: &Attachment,
    shards: Vec<ServeShard>,
    control: Option<&ControlSocket>,
    clock: Clock,
    stop: &Arc<AtomicBool>,
) -> anyhow::Result<()> {
    let shared: Vec<_> = shards.iter().map(|_| Arc::new(Shared::new(stop.clone()))).collect();
    let (ended, endings) = mpsc::channel();
    std::thread::scope(|scope| {
        for (queue, (mut shard, shared)) in shards.into_iter().zip(&shared).enumerate() {
            let ended = ended.clone();
            scope.spawn(move || {
                let _stop = StopOnPanic(&shared.stop);
                let pinned = args.driving.pin(queue);
                let ending = pinned.and_then(|()| Ok(shard.run(&clock, shared)?));
                // The receiver waits for one message of each shard.
                let _ = ended.send(ending);
            });
        }
        drop(ended);
        if let Some(control) = control {
            let handles: Vec<_> = shared.iter().map(|shared| shared.handle()).collect();
            let listeners = listening(&args.listen);
            scope.spawn(move || control.serve(&handles, &listeners, clock, stop));
        }
        let mut result = Ok(());
        loop {
            match endings.recv_timeout(Duration::from_secs(1)) {
                Ok(ending) => {
                    // One queue without its shard would lose its clients: all stop.
                    stop.store(true, Ordering::Relaxed);
                    result = result.and(ending);
                }
                Err(RecvTimeoutError::Timeout) => print_status(args, attachment, &shared)?,
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        print_status(args, attachment, &shared)?;
        result.context("stopped")
    })
}

/// Stops the other shards when one panics: one queue without its shard would lose its clients.
struct StopOnPanic<'a>(&'a AtomicBool);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

fn print_status(
    args: &Args,
    attachment: &Attachment,
    shared: &[Arc<Shared>],
) -> anyhow::Result<()> {
    let mut sum = Snapshot::default();
    shared.iter().for_each(|shared| sum.add(&shared.snapshot()));
    let mut status = Status::from(&sum);
    // The program drops what arrives on a queue that nobody serves.
    let no_socket = attachment.program().counters()?.get(Verdict::DroppedNoSocket);
    if no_socket > 0 {
        status.frames.dropped.insert(Verdict::DroppedNoSocket.name().to_owned(), no_socket);
    }
    let line = match args.status {
        Format::Text => status.to_string(),
        Format::Json => serde_json::to_string(&status)?,
    };
    say(line);
    Ok(())
}
