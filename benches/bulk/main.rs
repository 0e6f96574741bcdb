//! Bulk transfer over veth, with the kernel's TCP at the other end: tenmil with every connection
//! promoted, tenmil as it is, and a plain smoltcp server on the same link, in turns.
//!
//!     cargo bench --bench bulk -- [MEGABYTES [ROUNDS]]
//!
//! Needs root, and makes a test network of its own. Server and client have a core each.

#[path = "../../tests/common/mod.rs"]
mod common;
mod plain;
mod source;
#[path = "../veth/mod.rs"]
mod veth;

use source::{SOURCE, WithSource};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use tenmil::engine::Engine;
use tenmil::engine::config::Config;
use tenmil::engine::locals::{Listener, Owned};
use tenmil::link::af_xdp::AfXdpLink;
use tenmil::service::builtin::{Builtin, Builtins};
use tenmil::shard::clock::Clock;
use tenmil::shard::{Answering, Shard, Shared};
use tenmil::time::{Duration, Instant};
use tenmil::wire::addr::{Address, Endpoint, Secret};
use tenmil::wire::ethernet::Mac;
use veth::network::{Network, SERVER_INTERFACE};
use veth::{End, SERVER};

/// What crosses the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Job {
    /// From the client to the server.
    In,
    /// From the server to the client.
    Out,
    /// Both ways at once.
    Echo,
}

impl Job {
    fn port(self) -> u16 {
        match self {
            Job::In => 9,
            Job::Out => source::PORT,
            Job::Echo => 7,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stack {
    Plain,
    Promoted,
    AsItIs,
}

fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    let megabytes = numbers.first().copied().unwrap_or(256);
    let rounds = numbers.get(1).copied().unwrap_or(5);
    let Some(network) = Network::make("bulk", &[]) else { return };
    println!("{megabytes} MB, {rounds} rounds, MB/s: median (least to most)");
    for job in [Job::In, Job::Out, Job::Echo] {
        let stacks = [Stack::Plain, Stack::Promoted, Stack::AsItIs];
        let mut rates = stacks.map(|_| Vec::new());
        for _ in 0..rounds {
            for (stack, rates) in stacks.iter().zip(&mut rates) {
                rates.push(measure(&network, *stack, job, megabytes * 1_000_000));
            }
        }
        for (stack, rates) in stacks.iter().zip(&mut rates) {
            rates.sort_by(f64::total_cmp);
            let (median, least, most) = (rates[rounds / 2], rates[0], rates[rounds - 1]);
            println!(
                "{:<5} {:<9} {median:7.1} ({least:.1} to {most:.1})",
                format!("{job:?}"),
                format!("{stack:?}")
            );
        }
    }
}

/// Serves with `stack` while one connection does `job`; returns megabytes a second.
fn measure(network: &Network, stack: Stack, job: Job, bytes: usize) -> f64 {
    let stop = Arc::new(AtomicBool::new(false));
    thread::scope(|scope| {
        let (ready, attached) = std::sync::mpsc::channel();
        let server = scope.spawn({
            let stop = stop.clone();
            move || {
                network.in_server(|| {
                    let End { link, mac, attachment: _attached } =
                        veth::take(SERVER_INTERFACE, &[(SERVER.into(), 32)]);
                    ready.send(()).expect("the client waits");
                    match stack {
                        Stack::Plain => plain::serve(link, mac, bytes, &stop),
                        Stack::Promoted => serve(link, mac, bytes, true, stop),
                        Stack::AsItIs => serve(link, mac, bytes, false, stop),
                    }
                });
            }
        });
        attached.recv().expect("the server starts");
        let rate = network.in_client(|| transfer(job, bytes));
        stop.store(true, Ordering::Relaxed);
        server.join().expect("the server ends");
        rate
    })
}

/// The kernel's end; returns megabytes a second.
fn transfer(job: Job, bytes: usize) -> f64 {
    const PIECE: usize = 1 << 16;
    let to = SocketAddr::from((SERVER, job.port()));
    let patience = Duration::from_secs(60);
    let stream = TcpStream::connect_timeout(&to, patience).expect("it listens");
    stream.set_read_timeout(Some(patience)).expect("an open socket");
    stream.set_write_timeout(Some(patience)).expect("an open socket");
    let clock = Clock::start();
    let expected = if job == Job::In { 0 } else { bytes };
    let received = thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let (mut piece, mut received) = (vec![0; PIECE], 0);
            loop {
                match (&stream).read(&mut piece).expect("data, or an orderly end") {
                    0 => return received,
                    len => received += len,
                }
            }
        });
        let sent = if job == Job::Out { 1 } else { bytes };
        let piece = vec![7; PIECE];
        for at in (0..sent).step_by(PIECE) {
            (&stream).write_all(&piece[..PIECE.min(sent - at)]).expect("it is taken");
        }
        if job != Job::Out {
            stream.shutdown(Shutdown::Write).expect("an open socket");
        }
        reading.join().expect("no panic")
    });
    assert_eq!(received, expected, "bytes received");
    bytes as f64 / clock.now().since(Instant::ZERO).as_secs_f64() / 1e6
}

/// tenmil's server.
fn serve(link: AfXdpLink, mac: Mac, bytes: usize, promoted: bool, stop: Arc<AtomicBool>) {
    let addr = Address::v4(SERVER.octets());
    let mut config = Config::new(mac, Secret([1; 16]), Secret([2; 16]));
    config.owned = vec![Owned { addr, range_len: 32, link_len: 16 }];
    config.connections_max = 16;
    config.promoted_max = 4;
    config.promote_always = promoted;
    let services = [(7, Builtin::Echo.tag()), (9, Builtin::Discard.tag()), (source::PORT, SOURCE)];
    config.listeners = services
        .map(|(port, tag)| Listener { endpoint: Endpoint { addr, port }, tag, profile: None })
        .to_vec();
    let clock = Clock::start();
    let engine =
        Engine::new(config, WithSource { builtins: Builtins::default(), bytes }, clock.now());
    let mut shard = Shard { link, engine, driver: Answering };
    shard.run(&clock, &Shared::new(stop)).expect("the link stays");
}
