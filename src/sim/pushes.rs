//! Pushes and broadcasts on a bad network: each message arrives once and in order, whole, or its outcome
//! says that it was not sent.
//!
//! A server pushes to the connections of a client, which come and go. What a client heard is compared
//! with the outcomes, once the network has healed and all is over.

use super::host::{Host, Room};
use super::network::{Network, seen_by};
use super::scenario::{CLIENT_MAC, Mode, SERVER_MAC, faults, own, pick};
use super::services::{CLIENT, SERVER, address};
use super::talk::below;
use crate::conn::broadcast::{Audience, Progress};
use crate::conn::delivery::{Notice, Outcome};
use crate::conn::slab::ConnId;
use crate::engine::Engine;
use crate::engine::config::Config;
use crate::engine::locals::Listener;
use crate::frame::Frame;
use crate::link::faults::Random;
use crate::link::memory::MemoryLink;
use crate::service::{Context, Service, ServiceState};
use crate::tcp::CloseReason;
use crate::tcp::keepalive::{Keepalive, Profile};
use crate::time::{Duration, Instant};
use crate::wire::addr::{Endpoint, Secret};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

/// The server's port.
const PORT: u16 = 7;

/// How long the network is bad, and how long it may take until all is over then: who vanished is given
/// up after 363 s.
const BAD_FOR: Duration = Duration::from_secs(15);
const PATIENCE: Duration = Duration::from_secs(1_500);

/// The numbers of broadcasts begin here.
const BROADCAST: u32 = 1 << 31;

/// The server's side: whose connections these are, which each says first.
#[derive(Default)]
struct Members {
    open: Vec<(u16, ConnId)>,
    /// Names of connections that have ended, whose ports are no longer used.
    ended: Vec<(u16, ConnId)>,
}

impl Service for Members {
    fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
        let Some(port) = bytes.first_chunk() else { return 0 };
        self.open.push((u16::from_be_bytes(*port), conn.id()));
        bytes.len()
    }

    fn on_close(&mut self, id: ConnId, _: u8, _: ServiceState, _: CloseReason) {
        if let Some(at) = self.open.iter().position(|(_, open)| *open == id) {
            self.ended.push(self.open.swap_remove(at));
        }
    }
}

/// The client's side: what was heard at each port, and how that ended.
#[derive(Default)]
struct Subscribers {
    ports: HashMap<ConnId, u16>,
    heard: BTreeMap<u16, Vec<u8>>,
    ended: HashMap<u16, CloseReason>,
}

impl Service for Subscribers {
    fn on_open(&mut self, conn: &mut Context<'_>) {
        let port = self.ports[&conn.id()];
        assert_eq!(conn.send(&port.to_be_bytes()), 2);
    }

    fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
        self.heard.entry(self.ports[&conn.id()]).or_default().extend(bytes);
        bytes.len()
    }

    fn on_close(&mut self, id: ConnId, _: u8, _: ServiceState, reason: CloseReason) {
        let port = self.ports.remove(&id).expect("it was opened");
        self.ended.insert(port, reason);
    }
}

/// What is known of the pushes.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    /// What became of them, by number.
    outcomes: HashMap<u32, Outcome>,
    broadcasts: HashMap<u32, Progress>,
}

impl Notes {
    fn notice(&self, number: u32) -> Notice {
        let Notes(known) = self.clone();
        Box::new(move |outcome| {
            let before = known.lock().unwrap().outcomes.insert(number, outcome);
            assert_eq!(before, None, "one outcome each");
        })
    }
}

/// A message: its length, its number, and bytes that follow from both.
fn message(number: u32, len: usize) -> Vec<u8> {
    let len = u32::try_from(len).expect("short");
    let mut message = [len.to_be_bytes(), number.to_be_bytes()].concat();
    message.extend((0..len).map(|at| (at.wrapping_mul(31) ^ number).to_le_bytes()[0]));
    message
}

/// The numbers of the whole messages in `heard`, which must be right, the last one too, as far as it goes.
fn numbers(heard: &[u8]) -> Vec<u32> {
    let mut rest = heard;
    let mut numbers = Vec::new();
    while let Some(head) = rest.first_chunk::<8>() {
        let word = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().expect("four"));
        let expected = message(word(4), word(0) as usize);
        let len = rest.len().min(expected.len());
        assert!(rest[..len] == expected[..len], "the bytes of message {}", word(4));
        if len == expected.len() {
            numbers.push(word(4));
        }
        rest = &rest[len..];
    }
    numbers
}

struct Pushing {
    random: Random,
    now: Instant,
    heals_at: Instant,
    network: Network,
    server: Host<Members>,
    client: Host<Subscribers>,
    notes: Notes,
    /// The numbers of pushes that were accepted, in order, and for whom.
    accepted: Vec<(u16, u32)>,
    next_number: u32,
    next_port: u16,
    acts_at: Instant,
}

fn config(mac: u8, mode: Mode, random: &mut Random) -> Config {
    let (hardware, host) = if mac == 1 { (SERVER_MAC, SERVER) } else { (CLIENT_MAC, CLIENT) };
    let mut config = Config::new(hardware, Secret([mac; 16]), Secret([mac; 16]));
    config.owned = vec![own(host, true)];
    (config.connections_max, config.flights_max) = (64, 64);
    config.promoted_max = pick(random, [1, 3, 64]);
    config.promoted_buffer = pick(random, [4_096, 20_000, u16::MAX]);
    config.time_wait = Duration::from_secs(1);
    // A reset may be lost.
    let second = Duration::from_secs(1);
    let keepalive = Keepalive::new(20 * second, 3 * second, 9).expect("within the limits");
    config.profile = Profile { keepalive: Some(keepalive), user_timeout: None };
    mode.apply(&mut config);
    config
}

impl Pushing {
    fn new(seed: u64, mode: Mode) -> Pushing {
        let mut random = Random::new(seed);
        let start = Instant::from_millis(1_000);
        let faults = faults(&mut random, [16, 11, 21, 3]);
        let jitter = Duration::from_millis(pick(&mut random, [0, 0, 5, 100]));
        let mut server = config(1, mode, &mut random);
        server.flights_max = pick(&mut random, [3, 8, 64]);
        server.outbox.deliveries_max = pick(&mut random, [10, 80, 10_000]);
        server.outbox.payload_bytes_max = pick(&mut random, [65_536, 1 << 20]);
        server.timers_per_call = pick(&mut random, [1, 256]);
        let endpoint = Endpoint { addr: address(SERVER, true), port: PORT };
        server.listeners = vec![Listener { endpoint, tag: 1, profile: None }];
        let client = config(2, mode, &mut random);
        let room = Room { frames: 256, ring: 128, queue: pick(&mut random, [16, 64]) };
        let wire = Random::new(random.word());
        Pushing {
            network: Network::new(wire, faults, jitter),
            server: Host::new(server, Members::default(), room, start),
            client: Host::new(client, Subscribers::default(), room, start),
            now: start,
            heals_at: start + BAD_FOR,
            notes: Notes::default(),
            accepted: Vec::new(),
            next_number: 0,
            next_port: 10_000,
            acts_at: start,
            random,
        }
    }

    fn run(mut self) -> [u32; 2] {
        while !self.is_over() {
            assert!(self.now < self.heals_at + PATIENCE, "no end: {:?}", self.counters());
            self.step();
        }
        self.check()
    }

    fn counters(&self) -> [crate::engine::counters::Counters; 2] {
        [self.server.engine.counters(), self.client.engine.counters()]
    }

    fn is_over(&self) -> bool {
        self.now > self.heals_at
            && self.counters().iter().all(|counters| counters.connections == 0)
            && self.network.next_at().is_none()
    }

    /// Goes to the next moment at which something happens.
    fn step(&mut self) {
        let timers =
            [self.server.engine.next_timer(self.now), self.client.engine.next_timer(self.now)];
        let next = timers.into_iter().flatten().chain(self.network.next_at());
        let next = next.chain([self.acts_at]).min().expect("it acts");
        self.now = next.max(self.now + Duration::from_micros(100));
        if self.now >= self.heals_at {
            self.network.heal();
        }
        let now = self.now;
        let acts = self.acts_at <= now;
        if acts {
            self.acts_at = now + Duration::from_millis(1 + self.random.below(300));
        }
        let arrived = self.network.arrivals(now);
        let Pushing { server, client, random, notes, accepted, next_number, .. } = self;
        let is_bad = now < self.heals_at;
        let mut sent =
            server.step(now, &seen_by(SERVER_MAC, &arrived), |engine, _, _| match acts {
                true if is_bad => accepted.extend(push(engine, now, random, notes, next_number)),
                true => close_all(engine, now),
                false => {}
            });
        let next_port = &mut self.next_port;
        sent.extend(client.step(now, &seen_by(CLIENT_MAC, &arrived), |engine, link, tx| {
            if acts && is_bad {
                come_and_go(engine, now, random, next_port, link, tx);
            }
        }));
        self.network.carry(now, sent);
    }

    /// What the clients heard is what was sent. Returns how many heard all of it, and how many less.
    fn check(&self) -> [u32; 2] {
        self.server.engine.check_empty();
        self.client.engine.check_empty();
        let known = self.notes.0.lock().unwrap();
        let subscribers = self.client.engine.service();
        let mut copies: HashMap<u32, u32> = HashMap::new();
        let (mut whole, mut broken) = (0, 0);
        for (port, reason) in &subscribers.ended {
            let heard = subscribers.heard.get(port).map_or(&[][..], Vec::as_slice);
            let heard = numbers(heard);
            let (broadcasts, heard): (Vec<_>, Vec<_>) =
                heard.into_iter().partition(|number| *number >= BROADCAST);
            assert!(broadcasts.is_sorted_by(|a, b| a < b), "in order, and once: {broadcasts:?}");
            broadcasts.iter().for_each(|number| *copies.entry(*number).or_default() += 1);
            let mine = self.accepted.iter().filter(|(to, _)| to == port).map(|(_, number)| *number);
            let is_taken =
                |number: &u32| matches!(known.outcomes[number], Outcome::Sent | Outcome::Queued);
            let taken: Vec<u32> = mine.filter(is_taken).collect();
            match reason {
                CloseReason::ClosedByPeer => {
                    whole += 1;
                    assert_eq!(heard, taken, "all that was taken, at {port}");
                }
                // Who closes first hears nothing more, though more may be on its way.
                _ => {
                    broken += 1;
                    assert!(taken.starts_with(&heard), "{port}: {heard:?}, and taken {taken:?}");
                }
            }
        }
        assert!(self.accepted.iter().all(|(_, number)| known.outcomes.contains_key(number)));
        for (number, progress) in &known.broadcasts {
            let copies = copies.get(number).copied().unwrap_or(0);
            let Progress { sent, queued, is_done, is_refused, .. } = *progress;
            assert!(is_done && (!is_refused || copies == 0), "{progress:?}");
            let missing = sent + queued - copies;
            assert!(missing <= broken, "{number}: {copies} of {progress:?}, {broken} broken");
        }
        [whole, broken]
    }
}

/// Pushes to some members, one that has ended among them, and may begin a broadcast. Returns who was
/// accepted.
fn push(
    engine: &mut Engine<Members>,
    now: Instant,
    random: &mut Random,
    notes: &Notes,
    next_number: &mut u32,
) -> Vec<(u16, u32)> {
    let mut accepted = Vec::new();
    let len = |random: &mut Random| match random.below(10) {
        0..6 => below(random, 100),
        6..9 => below(random, 3_000),
        _ => below(random, 30_000),
    };
    for _ in 0..random.below(12) {
        let Members { open, ended } = engine.service();
        let of = if random.below(10) == 0 { ended } else { open };
        if of.is_empty() {
            continue;
        }
        let (port, id) = of[below(random, of.len())];
        let (number, len) = (*next_number, len(random));
        *next_number += 1;
        let pushed = engine.push(id, &message(number, len), Some(notes.notice(number)), now);
        if pushed.is_ok() {
            accepted.push((port, number));
        }
    }
    if random.below(5) == 0 {
        let (number, len) = (BROADCAST | *next_number, len(random).min(2_900));
        *next_number += 1;
        let Notes(known) = notes.clone();
        let report = move |progress: &Progress| {
            known.lock().unwrap().broadcasts.insert(number, *progress);
        };
        // Who is refused is reported, too.
        let _ = engine.broadcast(Audience::Tag(1), &message(number, len), Some(Box::new(report)));
    }
    accepted
}

/// Opens a connection, closes one, or resets one.
fn come_and_go(
    engine: &mut Engine<Subscribers>,
    now: Instant,
    random: &mut Random,
    next_port: &mut u16,
    link: &mut MemoryLink,
    tx: &mut Vec<Frame>,
) {
    let open: Vec<ConnId> = engine.service().ports.keys().copied().collect();
    match random.below(20) {
        0..10 if open.len() < 12 => {
            let local = Endpoint { addr: address(CLIENT, true), port: *next_port };
            let remote = Endpoint { addr: address(SERVER, true), port: PORT };
            if let Ok(id) = engine.connect(local, remote, 0, now, link, tx) {
                engine.service_mut().ports.insert(id, *next_port);
                *next_port += 1;
            }
        }
        10 if !open.is_empty() => {
            // The order of a map is not the seed's.
            let id = open.iter().min_by_key(|id| id.index()).expect("there is one");
            let _ = engine.close(*id, now, link, tx);
        }
        11 if !open.is_empty() => {
            let id = open.iter().max_by_key(|id| id.index()).expect("there is one");
            let _ = engine.abort(*id, CloseReason::HeartbeatMissed, link, tx);
        }
        _ => {}
    }
}

/// Closes every connection behind what was pushed to it.
fn close_all(engine: &mut Engine<Members>, now: Instant) {
    let mut cursor = 0;
    while let Some(id) = engine.connection_from(&mut cursor) {
        // Those that there is no room for now are asked for again.
        let _ = engine.close_behind(id, None, now);
    }
}

#[test]
fn every_message_arrives_once_and_in_order_or_its_outcome_says_that_it_was_not_sent() {
    for seed in 0..12 {
        for mode in Mode::ALL {
            // Shown when it fails.
            eprintln!("seed {seed}, {mode:?}");
            let [whole, broken] = Pushing::new(seed, mode).run();
            assert!(whole > 0 && broken > 0, "{whole} and {broken}");
        }
    }
}
