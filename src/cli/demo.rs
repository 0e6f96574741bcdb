//! `tenmil demo`: the main job in one command.

use super::faults::FaultsArg;
use super::network::TestNetwork;
use super::server::{Server, resident_bytes};
use super::status::Status;
use super::summary::{Connect, Connections, Heartbeats, Latency, Memory, Summary};
use super::{Failure, capture, causes, failed, refused, say, secrets, signals};
use crate::engine::Engine;
use crate::engine::config::Config;
use crate::engine::locals::{Listener, Owned};
use crate::link::Link;
use crate::link::af_xdp::attachment::{self, Request};
use crate::link::af_xdp::interface::enter_netns;
use crate::link::af_xdp::program::XdpMode;
use crate::link::memory;
use crate::link::tap::{Capture, Tapped};
use crate::load::driver::{LoadDriver, Outcome, Plan};
use crate::load::heartbeat::Heartbeat;
use crate::load::progress::{Phase, Progress};
use crate::load::sources::Sources;
use crate::service::builtin::{Builtin, Builtins};
use crate::shard::affinity;
use crate::shard::clock::Clock;
use crate::shard::{Answering, Shard, Shared};
use crate::time::Duration;
use crate::wire::addr::{Address, Endpoint};
use crate::wire::ethernet::Mac;
use anyhow::{Context as _, anyhow, bail};
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};

const SERVER: Address = Address::v4([10, 77, 0, 1]);
const PORT: u16 = 7000;
const LINK_LEN: u8 = 16;

/// The clients' addresses: 10.77.16.0/20.
const CLIENTS: Address = Address::v4([10, 77, 16, 0]);
const CLIENTS_LEN: u8 = 20;

/// Heartbeats a second: all within 20 seconds, but no more than a veth pair carries with ease, so that
/// latency is not queueing; and no fewer than these.
fn heartbeats_per_second(connections: u32) -> u64 {
    (u64::from(connections) / 20).clamp(25_000, 100_000)
}

/// How often the progress is looked at.
const TICK: Duration = Duration::from_millis(50);

/// Hold many connections and exchange a heartbeat on each, on a network made for it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How many connections.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    connections: u32,

    /// What joins server and clients: a veth pair between two processes, which takes root, or
    /// memory inside this one; auto takes veth if it can.
    #[arg(long, value_enum, default_value_t = LinkKind::Auto)]
    link: LinkKind,

    /// Write the summary to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write every frame that the clients receive and send to this file in pcap format.
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,

    /// Lose, double, reorder and damage frames that the clients receive and send.
    #[arg(long, value_name = "KEY=PERCENT,...", default_value = "seed=0", hide = true)]
    faults: FaultsArg,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum LinkKind {
    Auto,
    Veth,
    Memory,
}

/// Runs the demo.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    // Found out before the work, not after it.
    if let Some(path) = &args.json {
        File::options()
            .create(true)
            .append(true)
            .open(path)
            .with_context(|| format!("cannot write {}", path.display()))
            .map_err(refused)?;
    }
    let stop = signals::stop_flag().map_err(refused)?;
    let clients = Clients::new(args, &stop).map_err(refused)?;
    let summary = match veth(args, &stop)? {
        Some(veth) => on_veth(&clients, veth),
        None => in_memory(&clients),
    };
    let summary = summary.map_err(failed)?;
    say(&summary);
    if let Some(path) = &args.json {
        let json = serde_json::to_string(&summary).map_err(failed)?;
        std::fs::write(path, json + "\n")
            .with_context(|| format!("cannot write {}", path.display()))
            .map_err(failed)?;
    }
    match summary.is_clean() {
        true => Ok(()),
        false => Err(failed(anyhow!("not every connection was established and answered rightly"))),
    }
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
        ("--listen", format!("{}://{}:{PORT}", Builtin::Line, SERVER.to_ip())),
        ("--max-connections", args.connections.max(1024).to_string()),
    ];
    let mut server_args: Vec<_> =
        server_args.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect();
    server_args.push("--busy-poll".to_owned());
    if let Some([cpu, _]) = cpus() {
        server_args.extend(["--cpu".to_owned(), cpu.to_string()]);
    }
    let server = Server::start(&network.server_namespace(), &server_args)?;
    Ok(Veth { network, server })
}

/// A processor for the server and one for the clients, where there are two.
fn cpus() -> Option<[usize; 2]> {
    affinity::allowed().ok()?.first_chunk().copied()
}

/// Server and clients in two processes, joined by a veth pair.
fn on_veth(clients: &Clients<'_>, veth: Veth) -> anyhow::Result<Summary> {
    // Dropped in the opposite order: the network last.
    let Veth { network, mut server } = veth;
    let args = clients.args;
    let empty = server.resident_bytes()?;
    let namespace = network.client_namespace();
    say(format_args!(
        "server in {}, clients in {namespace}, joined by veth",
        network.server_namespace()
    ));
    let (mut held, mut memory) = (empty, None);
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
            clients.run(link, attachment.interface().mac)
        });
        clients.watch(running, |phase| {
            if !server.is_running() {
                bail!("the server's process has ended");
            }
            if phase == Phase::Held && memory.is_none() {
                held = server.resident_bytes()?;
                memory = Some(held.saturating_sub(empty));
            }
            Ok(())
        })
    })?;
    let status = server.stop()?;
    let established = finished.heartbeat.opened;
    let memory = Memory {
        server_bytes_per_connection: memory
            .filter(|_| established > 0)
            .map(|grown| round(grown as f64 / established as f64, 10.0)),
        server_rss_bytes: held,
    };
    finished.summary(args, "veth", memory, status)
}

/// Server and clients on two threads of this process, joined in memory.
fn in_memory(clients: &Clients<'_>) -> anyhow::Result<Summary> {
    let args = clients.args;
    const SERVER_MAC: Mac = [2, 0, 0, 0, 0, 1];
    const CLIENT_MAC: Mac = [2, 0, 0, 0, 0, 2];
    let (server_link, client_link) = memory::pair(8192, 2048, 2048);
    let mut config = Config::new(SERVER_MAC, secrets::draw()?, secrets::draw()?);
    config.connections_max = args.connections.max(1024);
    config.flights_max = Config::flights_for(config.connections_max);
    config.owned = vec![Owned { addr: SERVER, range_len: 32, link_len: LINK_LEN }];
    let endpoint = Endpoint { addr: SERVER, port: PORT };
    config.listeners = vec![Listener { endpoint, tag: Builtin::Line.tag(), profile: None }];
    super::memory::check(&config, 2)?;
    let stop_server = Arc::new(AtomicBool::new(false));
    let shared = Shared::new(stop_server.clone());
    let mut held = 0;
    let finished = thread::scope(|scope| {
        let server = scope.spawn(|| {
            let clock = Clock::start();
            let engine = Engine::new(config, Builtins, clock.now());
            let mut shard = Shard { link: server_link, engine, driver: Answering };
            shard.run(&clock, &shared)
        });
        let running = scope.spawn(|| clients.run(client_link, CLIENT_MAC));
        let finished = clients.watch(running, |phase| {
            if phase == Phase::Held {
                held = resident_bytes("self")?;
            }
            Ok(())
        });
        stop_server.store(true, Ordering::Relaxed);
        server.join().map_err(|_| anyhow!("the server's thread panicked"))??;
        finished
    })?;
    let memory = Memory { server_bytes_per_connection: None, server_rss_bytes: held };
    finished.summary(args, "memory", memory, Status::from(&shared.snapshot()))
}

/// The client role: the same engine, driven by a plan.
struct Clients<'a> {
    args: &'a Args,
    clock: Clock,
    capture: Option<Capture>,
    progress: Arc<Progress>,
    shared: Shared,
}

/// What the clients' thread ends with.
struct Finished {
    outcome: Outcome,
    heartbeat: Heartbeat,
}

impl<'a> Clients<'a> {
    fn new(args: &'a Args, stop: &Arc<AtomicBool>) -> anyhow::Result<Clients<'a>> {
        let clock = Clock::start();
        let capture = capture::start(args.pcap.as_deref(), clock)?;
        let shared = Shared::new(stop.clone());
        Ok(Clients { args, clock, capture, progress: Arc::default(), shared })
    }

    /// Runs the plan over `link`, on this thread.
    fn run(&self, link: impl Link, mac: Mac) -> anyhow::Result<Finished> {
        let connections = self.args.connections;
        let mut config = Config::new(mac, secrets::draw()?, secrets::draw()?);
        config.connections_max = connections;
        config.flights_max = Config::flights_for(connections);
        config.owned = vec![Owned { addr: CLIENTS, range_len: CLIENTS_LEN, link_len: LINK_LEN }];
        let host_bits = 32 - u32::from(CLIENTS_LEN);
        let plan = Plan {
            connections: u64::from(connections),
            target: Endpoint { addr: SERVER, port: PORT },
            sources: Sources::new(CLIENTS, host_bits),
            heartbeats_per_second: heartbeats_per_second(connections),
        };
        let engine = Engine::try_new(config, Heartbeat::default(), self.clock.now())?;
        let driver = LoadDriver::new(plan, self.progress.clone());
        let link = Tapped::new(self.args.faults.on(link, 0), self.capture.clone());
        let mut shard = Shard { link, engine, driver };
        shard.run(&self.clock, &self.shared)?;
        let heartbeat = std::mem::take(shard.engine.service_mut());
        Ok(Finished { outcome: shard.driver.outcome(), heartbeat })
    }

    /// Shows the progress until `running` ends. `look` is called with the phase again and again; the
    /// clients hold their connections until it was called with [`Phase::Held`].
    fn watch(
        &self,
        running: ScopedJoinHandle<'_, anyhow::Result<Finished>>,
        look: impl FnMut(Phase) -> anyhow::Result<()>,
    ) -> anyhow::Result<Finished> {
        let shown = self.show_progress(&running, look);
        let interrupted = self.shared.stop.load(Ordering::Relaxed);
        if shown.is_err() {
            // Nobody would let the clients go on.
            self.shared.stop.store(true, Ordering::Relaxed);
        }
        let finished = running.join().map_err(|_| anyhow!("the clients' thread panicked"))?;
        if interrupted {
            bail!("interrupted");
        }
        shown?;
        let finished = finished?;
        if !finished.outcome.target_found {
            bail!("{} does not answer", SERVER.to_ip());
        }
        Ok(finished)
    }

    fn show_progress(
        &self,
        running: &ScopedJoinHandle<'_, anyhow::Result<Finished>>,
        mut look: impl FnMut(Phase) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let bar = progress_bar(self.args.connections)?;
        let mut shown = None;
        while !running.is_finished() {
            let (phase, done) = self.progress.get();
            if shown != Some(phase) && phase != Phase::Done {
                shown = Some(phase);
                bar.set_message(phase.name());
                bar.reset();
            }
            bar.set_position(done);
            look(phase).inspect_err(|_| bar.finish_and_clear())?;
            if phase == Phase::Held {
                self.progress.go_on();
            }
            thread::park_timeout(TICK);
        }
        bar.finish_and_clear();
        Ok(())
    }
}

impl Finished {
    fn summary(
        self,
        args: &Args,
        link: &'static str,
        memory: Memory,
        server: Status,
    ) -> anyhow::Result<Summary> {
        let Finished { outcome, heartbeat } = self;
        let (requested, established) = (u64::from(args.connections), heartbeat.opened);
        let seconds = outcome.connect_time.as_secs_f64();
        let per_second = if seconds > 0.0 { established as f64 / seconds } else { 0.0 };
        Ok(Summary {
            schema: 1,
            link,
            connections: Connections { requested, established, failed: requested - established },
            connect: Connect { seconds: round(seconds, 1e6), per_second: per_second.round() },
            heartbeats: Heartbeats {
                sent: outcome.sent,
                answered: heartbeat.answered,
                wrong: heartbeat.wrong,
            },
            latency_us: Latency::of(&heartbeat.latency),
            memory,
            frames: server.frames,
            events: server.events,
        })
    }
}

/// A bar on stderr, if that is a terminal.
fn progress_bar(connections: u32) -> anyhow::Result<ProgressBar> {
    let template = "{msg:10} {wide_bar} {human_pos}/{human_len}  {rate}  {eta}";
    let style = ProgressStyle::with_template(template)?;
    let rate = |state: &ProgressState, out: &mut dyn fmt::Write| {
        // There is nobody to tell if the terminal cannot be written to.
        let _ = write!(out, "{:.0}/s", state.per_sec());
    };
    Ok(ProgressBar::new(u64::from(connections)).with_style(style.with_key("rate", rate)))
}

fn round(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps
}
