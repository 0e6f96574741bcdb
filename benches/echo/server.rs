//! The server's side: tenmil, or a bare echo on the same link.

use crate::frames::HEADERS;
use crate::veth::{End, SERVER};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use tenmil::engine::config::Config;
use tenmil::engine::counters::Counters;
use tenmil::engine::locals::{Listener, Owned};
use tenmil::engine::{BATCH_MAX, Engine};
use tenmil::frame::FramePool as _;
use tenmil::link::af_xdp::AfXdpLink;
use tenmil::link::{Link as _, LinkStats};
use tenmil::service::builtin::{Builtin, Builtins};
use tenmil::shard::clock::Clock;
use tenmil::shard::{Answering, Shard, Shared};
use tenmil::time::Duration;
use tenmil::wire::addr::{Address, Endpoint, Secret};

use crate::{Answerer, Work, cpu_time};

/// Where tenmil listens.
pub(crate) const ENDPOINT: Endpoint = Endpoint { addr: Address::v4(SERVER.octets()), port: 7000 };

/// Does one job after the other, each until `stop` is set, and says what processor time it took.
/// Returns what was counted.
pub(crate) fn serve(
    end: End,
    connections: u32,
    stop: &Arc<AtomicBool>,
    jobs: &Receiver<(Answerer, Work)>,
    done: &Sender<Duration>,
) -> (Counters, LinkStats) {
    let mut config = Config::new(end.mac, Secret([1; 16]), Secret([2; 16]));
    config.owned = vec![Owned { addr: ENDPOINT.addr, range_len: 32, link_len: 16 }];
    config.listeners =
        vec![Listener { endpoint: ENDPOINT, tag: Builtin::Line.tag(), profile: None }];
    config.connections_max = connections;
    config.flights_max = Config::flights_for(connections);
    let clock = Clock::start();
    let engine = Engine::new(config, Builtins::default(), clock.now());
    let mut shard = Shard { link: end.link, engine, driver: Answering };
    let shared = Shared::new(stop.clone());
    for (by, work) in jobs {
        let began = cpu_time();
        match by {
            Answerer::Bare => echo(&mut shard.link, work, stop),
            Answerer::Tenmil => shard.run(&clock, &shared).expect("the link stays"),
        }
        done.send(cpu_time() - began).expect("the source waits");
    }
    (shard.engine.counters(), shard.link.stats())
}

/// Turns frames back with their hardware addresses swapped. Of heartbeats, bare acknowledgments are
/// swallowed, as tenmil does it.
fn echo(link: &mut AfXdpLink, work: Work, stop: &AtomicBool) {
    let mut rx = Vec::with_capacity(BATCH_MAX);
    let mut tx = Vec::with_capacity(1024);
    while !stop.load(Ordering::Relaxed) {
        if tx.capacity() - tx.len() >= 2 * BATCH_MAX {
            link.receive(&mut rx, BATCH_MAX).expect("the link stays");
        }
        let received = rx.len();
        for mut frame in rx.drain(..) {
            if work == Work::Heartbeats && frame.len() == HEADERS {
                link.give(frame);
                continue;
            }
            let (target, source) = link.room(&mut frame)[..12].split_at_mut(6);
            target.swap_with_slice(source);
            tx.push(frame);
        }
        link.transmit(&mut tx).expect("the link stays");
        link.flush().expect("the link stays");
        if received == 0 && tx.is_empty() {
            link.wait(Duration::from_millis(50)).expect("the link stays");
        }
    }
    tx.drain(..).for_each(|frame| link.give(frame));
}
