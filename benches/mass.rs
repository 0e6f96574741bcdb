//! Everything at once: what heartbeats wait for while ten million timers are due, peers vanish, or all
//! connections are closed.
//!
//!     cargo bench --bench mass -- [CONNECTIONS] [SCENARIO...]
//!
//! - `keepalive`: every connection is to be probed in one second, and all peers answer; before that,
//!   for comparison, five seconds of heartbeats alone
//! - `vanish`: the same, but nine peers in ten are gone: each is probed once, then reset and forgotten
//! - `fin`, `rst`: nine peers in ten close, or reset, as fast as they are heard
//! - `close`: this side closes nine in ten, as fast as it can; TIME-WAIT follows, and its end
//!
//! Meanwhile every connection of the others sends a heartbeat at an even pace, together one a minute for
//! each of all. Time is simulated, and passes by what the engine's calls took of the processor, plus
//! [`FRAME_TIME`] for each frame received or sent, for the link. A latency is from when a heartbeat
//! arrives to the end of the round that answers it.

mod common;

use common::world::{ACK, Client, FIN, RST, World, len_of};
use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
use std::collections::VecDeque;
use tenmil::engine::{BATCH_MAX, CommandError};
use tenmil::service::line::{PING, PONG};
use tenmil::tcp::keepalive::{Keepalive, Profile};
use tenmil::time::{Duration, Instant};
use tenmil::wire::packet::{Flags, Segment};

/// What the link takes for a frame: about what veth does.
const FRAME_TIME: Duration = Duration::from_micros(1);

/// Frames that wait to be received at most; more are lost.
const RECEIVE_RING: usize = 2_048;

/// When connections are probed.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// When they are given up after that.
const INTERVAL: Duration = Duration::from_secs(10);

/// A frame that waits to be received.
struct Arrival {
    client: usize,
    says: Client,
    flags: Flags,
    payload: &'static [u8],
    at: Instant,
}

/// What was measured.
struct Measured {
    latency: Histogram<u64>,
    timer_calls: Histogram<u64>,
    timer_frames_most: usize,
    lost: u64,
}

struct Mass {
    world: World,
    connections: usize,
    /// How many clients, the first ones, are there and send heartbeats.
    living: usize,
    /// Whether the others take part too.
    others_answer: bool,
    wire: VecDeque<Arrival>,
    began: Instant,
    beats: u64,
    /// How many probes were sent, and when the last one was.
    probed: (u64, Instant),
    measured: Measured,
}

/// A span as the histograms count it.
fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// The processor time of this thread.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).expect("not negative");
    Duration::from_secs(seconds) + Duration::from_nanos(time.tv_nsec.unsigned_abs())
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(60_000_000_000, 3).expect("valid bounds")
}

impl Mass {
    /// All connections established at one moment.
    fn new(connections: usize, living: usize, others_answer: bool) -> Mass {
        let keepalive = Keepalive::new(KEEPALIVE, INTERVAL, 1).expect("valid periods");
        let world = World::established_with(connections, connections, |config| {
            config.profile = Profile { keepalive: Some(keepalive), user_timeout: None };
        });
        Mass {
            began: world.now,
            world,
            connections,
            living,
            others_answer,
            wire: VecDeque::with_capacity(RECEIVE_RING),
            beats: 0,
            probed: (0, Instant::ZERO),
            measured: Measured {
                latency: histogram(),
                timer_calls: histogram(),
                timer_frames_most: 0,
                lost: 0,
            },
        }
    }

    /// Lets time pass, without heartbeats, until just before all are to be probed: the wheel has not yet
    /// begun to move their timers to slots of one tick.
    fn almost_due(mut self) -> Mass {
        self.world.now = Instant::ZERO + (KEEPALIVE - Duration::from_secs(6));
        self.began = self.world.now;
        self
    }

    /// When the next heartbeat is due.
    fn next_beat(&self) -> Instant {
        let interval = Duration::from_secs(60) / u32::try_from(self.connections).expect("a count");
        self.began + interval.mul_f64(self.beats as f64)
    }

    /// Puts a frame on the wire, with what the client says at that moment.
    fn arrive(&mut self, client: usize, flags: Flags, payload: &'static [u8], at: Instant) {
        let says = self.world.clients[client];
        self.world.clients[client].seq += len_of(payload) + u32::from(flags.fin);
        if self.wire.len() < RECEIVE_RING {
            self.wire.push_back(Arrival { client, says, flags, payload, at });
        } else {
            self.measured.lost += 1;
        }
    }

    /// One round, as a shard has it.
    fn round(&mut self) {
        while self.next_beat() <= self.world.now {
            // One after the other: each has answered all before its turn comes again.
            let client = usize::try_from(self.beats).expect("a count") % self.living;
            self.arrive(client, ACK, PING, self.next_beat());
            self.beats += 1;
        }
        let batch: Vec<Arrival> = self.wire.drain(..self.wire.len().min(BATCH_MAX)).collect();
        for Arrival { client, says, flags, payload, .. } in &batch {
            self.world.queue_at(*client, *says, *flags, payload);
        }
        let start = processor_time();
        self.world.handle_frames();
        let answered = processor_time();
        let before = self.world.queued();
        self.world.handle_timers();
        let timers_took = processor_time() - answered;
        let frames = self.world.queued() - before;
        self.measured.timer_frames_most = self.measured.timer_frames_most.max(frames);
        self.measured.timer_calls.saturating_record(nanos(timers_took));
        let moved = u32::try_from(batch.len() + self.world.queued()).expect("a count");
        self.world.now = self.world.now + (processor_time() - start) + FRAME_TIME * moved;
        let probes = self.world.engine.counters().probes;
        if probes != self.probed.0 {
            self.probed = (probes, self.world.now);
        }
        for (client, segment) in self.world.sent() {
            self.hear(client, &segment, &batch);
        }
        if batch.is_empty() && frames == 0 {
            let timer = self.world.engine.next_timer(self.world.now);
            let next = timer.map_or(self.next_beat(), |timer| timer.min(self.next_beat()));
            self.world.now = self.world.now.max(next);
        }
    }

    /// A client hears a segment.
    fn hear(&mut self, client: usize, segment: &Segment, batch: &[Arrival]) {
        let now = self.world.now;
        let Segment { seq, flags, .. } = *segment;
        if segment.payload_len() > 0 {
            assert_eq!(segment.payload_len(), len_of(PONG));
            // One that is sent again, because its acknowledgment was lost, was answered before.
            if let Some(ping) = batch.iter().find(|arrival| arrival.client == client) {
                self.measured.latency.saturating_record(nanos(now.since(ping.at)));
            }
            self.world.clients[client].ack = seq + len_of(PONG);
            self.arrive(client, ACK, &[], now);
        } else if client >= self.living && !self.others_answer || flags.rst {
            // There is nobody.
        } else if flags.fin {
            let has_closed = self.world.clients[client].ack == seq
                && segment.ack == self.world.clients[client].seq;
            self.world.clients[client].ack = seq + 1;
            self.arrive(client, if has_closed { ACK } else { FIN }, &[], now);
        } else if seq + 1 == self.world.clients[client].ack {
            self.arrive(client, ACK, &[], now);
        }
    }

    fn print(&mut self, what: &str) {
        let Measured { latency, timer_calls, timer_frames_most, lost } = &self.measured;
        let counters = self.world.engine.counters();
        let ms = |nanos: u64| nanos as f64 / 1e6;
        println!(
            "{what:<10} {:6.1} s; heartbeats {} answered of {}, ms: p50 {:.3}, p99 {:.3}, max {:.3}; \
             timers, us a call: p50 {:.1}, p99.9 {:.1}, max {:.1}, most frames {timer_frames_most}; \
             probes {}, resets {}, left {}, frames lost {lost}, dropped {}",
            self.world.now.since(self.began).as_secs_f64(),
            latency.len(),
            self.beats,
            ms(latency.value_at_quantile(0.5)),
            ms(latency.value_at_quantile(0.99)),
            ms(latency.max()),
            1e3 * ms(timer_calls.value_at_quantile(0.5)),
            1e3 * ms(timer_calls.value_at_quantile(0.999)),
            1e3 * ms(timer_calls.max()),
            counters.probes,
            counters.resets,
            counters.connections,
            counters.drops.total(),
        );
        self.measured.latency.reset();
        self.measured.timer_calls.reset();
        (self.measured.timer_frames_most, self.measured.lost) = (0, 0);
        self.began = self.world.now;
        self.beats = 0;
    }

    /// Rounds until `is_done`, with at most a batch's worth of work by `work` before each.
    fn until(&mut self, mut work: impl FnMut(&mut Mass), is_done: impl Fn(&Mass) -> bool) {
        while !is_done(self) {
            work(self);
            self.round();
        }
    }

    fn left(&self) -> usize {
        usize::try_from(self.world.engine.counters().connections).expect("a count")
    }
}

fn keepalive(connections: usize) {
    let mut mass = Mass::new(connections, connections, true);
    let quiet_until = mass.began + Duration::from_secs(5);
    mass.until(|_| (), |mass| mass.world.now >= quiet_until);
    mass.print("quiet");
    let mut mass = mass.almost_due();
    // Those that sent a heartbeat shortly before need no probe.
    let is_done = |mass: &Mass| {
        let (probes, last) = mass.probed;
        probes > 0 && mass.world.now.since(last) > Duration::from_secs(1)
    };
    mass.until(|_| (), is_done);
    mass.print("keepalive");
}

fn vanish(connections: usize) {
    let living = connections / 10;
    let mut mass = Mass::new(connections, living, false).almost_due();
    mass.until(|_| (), |mass| mass.left() <= living);
    mass.print("vanish");
    assert_eq!(mass.left(), living, "the living are all there");
}

fn ended_by_peers(connections: usize, what: &str, flags: Flags) {
    let living = connections / 10;
    let mut mass = Mass::new(connections, living, true);
    let mut next = living;
    mass.until(
        |mass| {
            while next < connections && mass.wire.len() < RECEIVE_RING / 2 {
                mass.arrive(next, flags, &[], mass.world.now);
                next += 1;
            }
        },
        |mass| mass.left() <= living,
    );
    mass.print(what);
    assert_eq!(mass.left(), living, "the living are all there");
}

fn close(connections: usize) {
    let living = connections / 10;
    let mut mass = Mass::new(connections, living, true);
    let mut cursor = u32::try_from(living).expect("a count");
    let work = |mass: &mut Mass| {
        // Each brings an answer: no more than can be received.
        for _ in 0..BATCH_MAX.saturating_sub(mass.wire.len()) / 2 {
            let Some(id) = mass.world.engine.connection_from(&mut cursor) else { break };
            if mass.world.close(id) == Err(CommandError::Busy) {
                cursor -= 1;
                break;
            }
        }
    };
    let closed = |mass: &Mass| mass.world.engine.counters().established <= living as u64;
    mass.until(work, closed);
    mass.print("close");
    mass.until(|_| (), |mass| mass.left() <= living);
    mass.print("time-wait");
    assert_eq!(mass.left(), living, "the living are all there");
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let connections = args.iter().find_map(|arg| arg.parse().ok()).unwrap_or(10_000_000);
    let chosen: Vec<&str> =
        args.iter().map(String::as_str).filter(|arg| arg.parse::<usize>().is_err()).collect();
    let scenarios: [(&str, &dyn Fn()); 5] = [
        ("keepalive", &|| keepalive(connections)),
        ("vanish", &|| vanish(connections)),
        ("fin", &|| ended_by_peers(connections, "fin", FIN)),
        ("rst", &|| ended_by_peers(connections, "rst", RST)),
        ("close", &|| close(connections)),
    ];
    for (name, run) in scenarios {
        if chosen.is_empty() || chosen.contains(&name) {
            run();
        }
    }
}
