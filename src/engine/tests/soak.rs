//! Two engines over a bad wire, in virtual time: whatever is lost, doubled, damaged and reordered,
//! the bytes that arrive are the right ones, and once the wire is good again everything finishes.

use super::harness::{Probe, config, endpoint, owned};
use super::peer::PEER_MAC;
use super::*;
use crate::conn::slab::ConnId;
use crate::drops::DropReason;
use crate::service::{Context, Service, ServiceState};
use crate::tcp::CloseReason;
use crate::time::{Duration, Instant};
use crate::wire::addr::Endpoint;
use std::collections::BTreeMap;

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// What the client does on a connection, chosen by the tag.
const ECHO: u8 = 0;
/// Heartbeats, then QUIT: the server closes first.
const LINE: u8 = 1;

/// Byte `at` of what a client sends to echo.
fn byte_of(at: u32) -> u8 {
    (at.wrapping_mul(2_654_435_761) >> 13) as u8
}

/// A client that checks every byte that comes back. Its state is how much was sent and received.
struct Client {
    random: Random,
    total: u32,
    done: u32,
    closed: BTreeMap<&'static str, u32>,
}

impl Client {
    fn load(conn: &mut Context<'_>) -> [u32; 2] {
        let [a, b, c, d, e, f, g, h] = *conn.state();
        [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])]
    }

    fn store(conn: &mut Context<'_>, [sent, received]: [u32; 2]) {
        *conn.state() = u64::to_le_bytes(u64::from(received) << 32 | u64::from(sent));
    }

    /// Sends the next piece, or closes after the last.
    fn go_on(&mut self, conn: &mut Context<'_>) {
        let [sent, received] = Client::load(conn);
        assert!(conn.room() > 0, "all was acknowledged, so there is room");
        if conn.tag() == LINE {
            let quit = sent >= self.total / 10 * 5;
            let len = conn.send(if quit { b"QUIT\n" } else { b"PING\n" });
            assert_eq!(len, 5);
            return Client::store(conn, [sent + if quit { 0 } else { 5 }, received]);
        }
        if sent == self.total {
            return conn.close();
        }
        let left = u64::from(self.total - sent).min(conn.room() as u64);
        let piece = if self.random.chance(30) { left } else { 1 + self.random.below(left) };
        let bytes: Vec<u8> = (sent..sent + piece as u32).map(byte_of).collect();
        assert_eq!(conn.send(&bytes), bytes.len());
        Client::store(conn, [sent + piece as u32, received]);
    }
}

impl Service for Client {
    fn on_open(&mut self, conn: &mut Context<'_>) {
        self.go_on(conn);
    }

    fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
        let [sent, mut received] = Client::load(conn);
        for &byte in bytes {
            let expected = if conn.tag() == LINE {
                b"PONG\n"[received as usize % 5]
            } else {
                byte_of(received)
            };
            assert_eq!(byte, expected, "byte {received}");
            received += 1;
        }
        assert!(received <= sent, "an answer to what was not asked");
        Client::store(conn, [sent, received]);
        if received == sent {
            self.go_on(conn);
        }
        bytes.len()
    }

    fn on_close(&mut self, _: ConnId, tag: u8, state: ServiceState, reason: CloseReason) {
        *self.closed.entry(reason.name()).or_default() += 1;
        let [sent, received] = [0, 4]
            .map(|at| u32::from_le_bytes([state[at], state[at + 1], state[at + 2], state[at + 3]]));
        let ours = matches!(reason, CloseReason::ClosedByUs | CloseReason::ClosedByPeer);
        if ours {
            assert_eq!(sent, received, "an orderly end is one after everything came back");
            assert_eq!(reason == CloseReason::ClosedByPeer, tag == LINE, "who closed first");
            self.done += 1;
        }
    }
}

/// How bad the wire is, in percent.
#[derive(Clone, Copy, Default)]
struct Faults {
    lost: u64,
    doubled: u64,
    damaged: u64,
    jitter_ms: u64,
}

/// Frames under way, by when they arrive; to the server or to the client.
struct Wire {
    random: Random,
    faults: Faults,
    under_way: BTreeMap<(Instant, u64), (bool, Vec<u8>)>,
    count: u64,
}

impl Wire {
    fn carry(&mut self, now: Instant, to_server: bool, frames: Vec<Vec<u8>>) {
        for frame in frames {
            let copies = 1 + u32::from(self.random.chance(self.faults.doubled));
            for _ in 0..copies {
                if self.random.chance(self.faults.lost) {
                    continue;
                }
                let mut frame = frame.clone();
                let is_arp = frame[12..14] == [8, 6];
                if !is_arp && self.random.chance(self.faults.damaged) {
                    // ARP and the Ethernet header are left alone: only Ethernet's own checksum
                    // guards them.
                    let bit = 14 * 8 + self.random.below(8 * (frame.len() as u64 - 14)) as usize;
                    frame[bit / 8] ^= 1 << (bit % 8);
                }
                let delay = Duration::from_millis(1 + self.random.below(1 + self.faults.jitter_ms));
                self.count += 1;
                self.under_way.insert((now + delay, self.count), (to_server, frame));
            }
        }
    }

    /// What arrives next: when, and to each side.
    fn next_at(&self) -> Option<Instant> {
        self.under_way.keys().next().map(|(at, _)| *at)
    }

    fn arrivals(&mut self, now: Instant) -> [Vec<Vec<u8>>; 2] {
        let mut arrived = [Vec::new(), Vec::new()];
        while self.next_at().is_some_and(|at| at <= now) {
            let (_, (to_server, frame)) = self.under_way.pop_first().expect("looked at");
            arrived[usize::from(to_server)].push(frame);
        }
        arrived
    }
}

struct Soak {
    server: Host<Probe>,
    client: Host<Client>,
    wire: Wire,
    /// Connections that are still to be opened.
    wanted: Vec<(Endpoint, Endpoint, u8)>,
}

const CONNECTIONS: u16 = 12;

impl Soak {
    fn new(seed: u64) -> Soak {
        let mut random = Random::new(seed);
        let mut served = config();
        served.flights_max = [2, 64][random.below(2) as usize];
        served.promoted_max = [0, 2, 64][random.below(3) as usize];
        served.promoted_buffer = [4096, 65_535][random.below(2) as usize];
        served.park_after = Duration::from_millis([0, 1000, 1 << 40][random.below(3) as usize]);
        served.promote_always = random.chance(20);
        served.mtu = [1500, 600, 1280][random.below(3) as usize];
        let mut asking = config();
        asking.mac = PEER_MAC;
        asking.listeners.clear();
        asking.owned = vec![owned("10.77.16.0", 20, 16), owned("fd77::1:0", 112, 64)];
        asking.promoted_max = [0, 2, 64][random.below(3) as usize];
        asking.promote_always = random.chance(20);
        asking.mtu = [1500, 200, 576][random.below(3) as usize];
        let wanted = (0..CONNECTIONS).map(|n| {
            let (local, server) = match random.chance(50) {
                true => (format!("10.77.16.{}:{}", 1 + n % 3, 1024 + n), "10.77.0.1"),
                false => (format!("[fd77::1:{}]:{}", 1 + n % 3, 1024 + n), "[fd77::1]"),
            };
            let (port, tag) = if random.chance(50) { (7, ECHO) } else { (7000, LINE) };
            (endpoint(&local), endpoint(&format!("{server}:{port}")), tag)
        });
        let wanted = wanted.collect();
        let faults = Faults {
            lost: random.below(25),
            doubled: random.below(20),
            damaged: random.below(10),
            jitter_ms: [0, 5, 100, 3000][random.below(4) as usize],
        };
        let total = 10 + 10 * random.below(400) as u32;
        // Half of the runs start just before the tick counter wraps.
        let start =
            Instant::from_nanos(if random.chance(50) { ((1 << 32) - 500) << 24 } else { 0 });
        let service =
            Client { random: Random::new(seed + 1), total, done: 0, closed: BTreeMap::new() };
        Soak {
            server: Host::starting_at(start, served, Probe::default()),
            client: Host::starting_at(start, asking, service),
            wire: Wire { random, faults, under_way: BTreeMap::new(), count: 0 },
            wanted,
        }
    }

    fn open_wanted(&mut self) {
        let Host { engine, pool, tx, now, .. } = &mut self.client;
        self.wanted.retain(|&(local, remote, tag)| {
            engine.connect(local, remote, tag, *now, pool, tx).is_err()
        });
        let frames = self.client.sent();
        self.wire.carry(self.client.now, true, frames);
    }

    /// One step of time; false when nothing is left to come before `end`.
    fn step(&mut self, end: Instant) -> bool {
        let now = self.client.now;
        let retry = (!self.wanted.is_empty()).then(|| now + Duration::from_millis(500));
        let timers = [self.server.engine.next_timer(now), self.client.engine.next_timer(now)];
        let next = timers.into_iter().chain([self.wire.next_at(), retry]).flatten().min();
        let Some(next) = next.filter(|next| *next <= end) else { return false };
        let now = next.max(now);
        (self.server.now, self.client.now) = (now, now);
        if retry.is_some_and(|at| at <= now) {
            self.open_wanted();
        }
        let [to_client, to_server] = self.wire.arrivals(now);
        let mut answers = self.server.receive(&to_server);
        answers.extend(self.server.run_timers());
        self.wire.carry(now, false, answers);
        let mut answers = self.client.receive(&to_client);
        answers.extend(self.client.run_timers());
        self.wire.carry(now, true, answers);
        true
    }

    fn run_until(&mut self, end: Instant, is_done: impl Fn(&Soak) -> bool) {
        let mut steps = 0;
        while !is_done(self) && self.step(end) {
            steps += 1;
            assert!(steps < 1_000_000, "it comes to an end");
        }
    }

    fn is_quiet(&self) -> bool {
        let empty = |counters: crate::engine::counters::Counters| counters.connections == 0;
        self.wanted.is_empty()
            && self.wire.under_way.is_empty()
            && empty(self.server.engine.counters())
            && empty(self.client.engine.counters())
    }
}

/// Runs one seed; returns how many connections came to an orderly end.
fn soak(seed: u64, faulty: bool) -> u32 {
    let mut soak = Soak::new(seed);
    if !faulty {
        soak.wire.faults = Faults::default();
    }
    let start = soak.client.now;
    // The bad wire, and then a good one.
    soak.run_until(start + Duration::from_secs(120), Soak::is_quiet);
    soak.wire.faults = Faults::default();
    soak.run_until(start + Duration::from_secs(2000), Soak::is_quiet);
    let (server, client) = (soak.server.engine.counters(), soak.client.engine.counters());
    assert!(soak.is_quiet(), "something is stuck: {server:?} {client:?}");
    assert_eq!((server.established, client.established), (0, 0));
    for (host, name) in [(&server, "server"), (&client, "client")] {
        let moved = host.drops.of(DropReason::NoFrame);
        assert_eq!(moved, 0, "the {name} had frames enough");
    }
    assert_eq!(soak.server.engine.flights.len() + soak.client.engine.flights.len(), 0);
    assert_eq!(soak.server.engine.table.paths.len() + soak.client.engine.table.paths.len(), 0);
    let service = soak.client.engine.service();
    assert_eq!(service.closed.values().sum::<u32>(), u32::from(CONNECTIONS), "each ends once");
    let refused = [DropReason::FlightsFull, DropReason::ServiceFull];
    if !faulty && refused.iter().all(|reason| server.drops.of(*reason) == 0) {
        let retransmitted = server.retransmitted + client.retransmitted;
        assert_eq!(retransmitted, 0, "a good wire needs no repetition");
    }
    service.done
}

/// Says which seed it was when a run fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the soak failed with seed {}", self.0);
        }
    }
}

#[test]
fn a_good_wire_loses_nothing() {
    for seed in 0..20 {
        let _name = Seed(seed);
        assert_eq!(soak(seed, false), u32::from(CONNECTIONS));
    }
}

#[test]
fn a_bad_wire_loses_time_and_not_bytes() {
    const SEEDS: u64 = 40;
    let mut done = 0;
    for seed in 1000..1000 + SEEDS {
        let _name = Seed(seed);
        done += u64::from(soak(seed, true));
    }
    let all = SEEDS * u64::from(CONNECTIONS);
    assert!(done * 100 >= all * 99, "only {done} of {all} came to an orderly end");
}
