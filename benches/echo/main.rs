//! Echo over veth: tenmil with many connections against a bare AF_XDP echo on the same link, in
//! turns.
//!
//!     cargo bench --bench echo -- [--connections N] [--window N] [--seconds S] [--rounds N] [--busy-poll]
//!
//! The clients are a source of frames that keeps a window of them on its way: keepalive probes, which
//! tenmil answers with an ACK each, and heartbeats, which it answers with data that the source
//! acknowledges. Each is for the next connection in a random order. The bare echo gets the same
//! frames, and sends those that ask for an answer back with the hardware addresses swapped.
//!
//! Needs root, and makes a test network of its own. Server and source have a core each.

#[path = "../../tests/common/mod.rs"]
mod common;
mod frames;
mod server;
mod source;
#[path = "../veth/mod.rs"]
mod veth;

use clap::Parser as _;
use rustix::time::{ClockId, clock_gettime};
use source::{Source, Tally};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use tenmil::shard::affinity;
use tenmil::time::Duration;
use veth::SERVER;
use veth::network::{CLIENT_INTERFACE, Network, SERVER_INTERFACE};

/// What crosses the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Handshakes.
    Open,
    /// Keepalive probes and the ACKs that answer them.
    Probes,
    /// `PING`, `PONG`, and the ACK.
    Heartbeats,
}

/// Who is at the server's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answerer {
    Bare,
    Tenmil,
}

#[derive(clap::Parser)]
struct Args {
    /// Established connections.
    #[arg(long, default_value_t = 10_000)]
    connections: u32,
    /// Frames that wait for an answer at any time.
    #[arg(long, default_value_t = 512)]
    window: u16,
    /// How long each of the four takes in a round.
    #[arg(long, default_value_t = 0.5)]
    seconds: f64,
    #[arg(long, default_value_t = 11)]
    rounds: usize,
    /// Have both ends take frames by busy polling.
    #[arg(long)]
    busy_poll: bool,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What a round gave.
struct Rate {
    frames_per_second: f64,
    /// Processor time of either thread, system calls and what interrupts them included, in
    /// nanoseconds a frame.
    server_ns: f64,
    source_ns: f64,
}

const CASES: [(Work, Answerer); 4] = [
    (Work::Probes, Answerer::Bare),
    (Work::Probes, Answerer::Tenmil),
    (Work::Heartbeats, Answerer::Bare),
    (Work::Heartbeats, Answerer::Tenmil),
];

fn main() {
    let args = &Args::parse();
    let how: &[&str] = if args.busy_poll { &["--busy-poll"] } else { &[] };
    let Some(network) = Network::with("echo", &[], how) else { return };
    let network = &network;
    let stop = Arc::new(AtomicBool::new(false));
    thread::scope(|scope| {
        let (ready, attached) = mpsc::channel();
        let (jobs, next) = mpsc::channel();
        let (done, finished) = mpsc::channel();
        let server = scope.spawn({
            let (stop, network, connections) = (stop.clone(), network, args.connections);
            move || {
                network.in_server(move || {
                    affinity::pin(0).expect("a core");
                    let mut end = veth::take(SERVER_INTERFACE, &[(SERVER.into(), 32)]);
                    if args.busy_poll {
                        end.link.poll_busily().expect("it may");
                    }
                    ready.send(end.mac).expect("the source waits");
                    server::serve(end, connections, &stop, &next, &done)
                })
            }
        });
        let server_mac = attached.recv().expect("the server starts");
        network.in_client(move || {
            affinity::pin(1).expect("a core");
            // What the bare echo turns back is for the server's address.
            let owned = [([10, 77, 16, 0].into(), 20), (SERVER.into(), 32)];
            let mut end = veth::take(CLIENT_INTERFACE, &owned);
            if args.busy_poll {
                end.link.poll_busily().expect("it may");
            }
            let server = (server_mac, server::ENDPOINT);
            let source = Source::new(end, server, args.connections, args.window);
            report(&Rig { source, stop, jobs, finished }.measure(args));
        });
        let (counters, link) = server.join().expect("the server ends");
        assert_eq!(counters.established, u64::from(args.connections), "{counters:?}");
        println!("retransmitted {}, {link:?}", counters.retransmitted);
    });
}

/// The source, and what makes the server work.
struct Rig {
    source: Source,
    stop: Arc<AtomicBool>,
    jobs: mpsc::Sender<(Answerer, Work)>,
    finished: mpsc::Receiver<Duration>,
}

impl Rig {
    fn measure(mut self, args: &Args) -> [Vec<Rate>; CASES.len()] {
        let Args { connections, window, seconds, rounds, .. } = *args;
        let opened = self.run(Answerer::Tenmil, Work::Open, Source::open).frames_per_second / 1e3;
        println!("{connections} connections, opened at {opened:.0} thousand frames/s");
        println!(
            "{window} frames under way, {rounds} rounds of {seconds} s each: median (least to most)"
        );
        let time = Duration::from_secs_f64(seconds);
        let mut rates = CASES.map(|_| Vec::new());
        for _ in 0..rounds {
            for ((work, by), rates) in CASES.into_iter().zip(&mut rates) {
                rates.push(self.run(by, work, |source| source.exchange(work, by, time)));
            }
        }
        rates
    }

    /// Has the server do its part of `work` while the source does `exchange`.
    fn run(&mut self, by: Answerer, work: Work, exchange: impl Fn(&mut Source) -> Tally) -> Rate {
        self.stop.store(false, Ordering::Relaxed);
        self.jobs.send((by, work)).expect("the server runs");
        let began = cpu_time();
        let tally = exchange(&mut self.source);
        let source_took = cpu_time() - began;
        self.stop.store(true, Ordering::Relaxed);
        let server_took = self.finished.recv().expect("the server runs");
        assert_eq!(tally.wrong, 0, "wrong answers");
        if tally.lost > 0 {
            println!("{by:?} {work:?}: {} frames were lost", tally.lost);
        }
        let frames = tally.frames();
        Rate {
            frames_per_second: frames / tally.took.as_secs_f64(),
            server_ns: server_took.as_secs_f64() * 1e9 / frames,
            source_ns: source_took.as_secs_f64() * 1e9 / frames,
        }
    }
}

fn report(rates: &[Vec<Rate>; CASES.len()]) {
    for ((work, by), rates) in CASES.iter().zip(rates) {
        println!(
            "{:<10} {:<6} {} thousand frames/s; processor time a frame, ns: server {}, source {}",
            format!("{work:?}"),
            format!("{by:?}"),
            spread(rates.iter().map(|rate| rate.frames_per_second / 1e3)),
            spread(rates.iter().map(|rate| rate.server_ns)),
            spread(rates.iter().map(|rate| rate.source_ns)),
        );
    }
    let [bare, probes, swallowing, heartbeats] = rates;
    for (name, of, to) in [
        ("probes / bare echo of probes", probes, bare),
        ("heartbeats / bare echo of heartbeats", heartbeats, swallowing),
        ("heartbeats / bare echo of probes", heartbeats, bare),
    ] {
        let ratios = of.iter().zip(to);
        let percent = ratios.map(|(of, to)| 100.0 * of.frames_per_second / to.frames_per_second);
        println!("{name}: {} %", spread(percent));
    }
}

/// The median, the least and the most.
fn spread(values: impl Iterator<Item = f64>) -> String {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let (median, last) = (values[values.len() / 2], values[values.len() - 1]);
    format!("{median:.0} ({:.0} to {last:.0})", values[0])
}

/// The processor time that the calling thread has taken.
pub(crate) fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).expect("not negative")
}
