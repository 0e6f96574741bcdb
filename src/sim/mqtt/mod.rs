//! MQTT on a bad network, in virtual time: publishers and subscribers whose connections are lost, taken
//! over and slow, and whose sessions last.
//!
//! What must hold in the end: every message of QoS 1 reached every subscriber, in its publisher's order and
//! byte for byte; every will that was published reached all of them; and of each topic the last retained
//! message was kept.
//!
//! - `client`: what a client says, and what it may hear

mod client;

use super::host::{Host, Room};
use super::network::{Network, seen_by};
use super::scenario::{CLIENT_MAC, Mode, SERVER_MAC, faults, own, pick};
use super::services::{CLIENT, SERVER, address};
use super::talk::below;
use crate::conn::slab::ConnId;
use crate::engine::Engine;
use crate::engine::config::Config;
use crate::engine::locals::Listener;
use crate::frame::Frame as LinkFrame;
use crate::link::faults::Random;
use crate::link::memory::MemoryLink;
use crate::service::mqtt::Mqtt;
use crate::service::mqtt::codec::frame;
use crate::service::mqtt::policy::Policy;
use crate::service::{Context, Service, ServiceState};
use crate::tcp::CloseReason;
use crate::tcp::keepalive::{Keepalive, Profile};
use crate::time::{Duration, Instant};
use crate::wire::addr::{Endpoint, Secret};
use client::{CLIENTS, Client, MESSAGES, PUBLISHERS, Phase, RESTLESS, SLOW, message, qos};
use std::collections::BTreeSet;

const PORT: u16 = 1883;

const BAD_FOR: Duration = Duration::from_secs(20);
/// Probes find out within 47 s that nobody is there.
const SETTLES_AFTER: Duration = Duration::from_secs(120);
const PATIENCE: Duration = Duration::from_secs(2_000);

/// The clients' side.
struct Mouths {
    now: Instant,
    clients: Vec<Client>,
    /// Connections that were left to others with the same client identifier.
    left: Vec<ConnId>,
}

impl Mouths {
    fn client(&mut self, id: ConnId) -> Option<&mut Client> {
        self.clients.iter_mut().find(|client| client.conn == Some(id))
    }
}

impl Service for Mouths {
    fn on_open(&mut self, conn: &mut Context<'_>) {
        if let Some(client) = self.client(conn.id()) {
            client.phase = Phase::Asked;
            client.outbox = client.connect();
        }
    }

    fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
        let Some(client) = self.client(conn.id()) else { return bytes.len() };
        if conn.now() < client.deaf_until {
            return 0;
        }
        client.inbox.extend_from_slice(bytes);
        client.read();
        bytes.len()
    }

    fn on_close(&mut self, id: ConnId, _: u8, _: ServiceState, _: CloseReason) {
        self.left.retain(|left| *left != id);
        let now = self.now;
        if let Some(client) = self.client(id) {
            client.lose();
            client.away_until = now + Duration::from_millis(200);
        }
    }
}

struct Broker {
    random: Random,
    now: Instant,
    heals_at: Instant,
    network: Network,
    server: Host<Mqtt>,
    client: Host<Mouths>,
    next_port: u16,
    acts_at: Instant,
    /// Whether clients send one packet at a time.
    is_whole: bool,
}

fn config(mac: u8, mode: Mode, random: &mut Random) -> Config {
    let (hardware, host) = if mac == 1 { (SERVER_MAC, SERVER) } else { (CLIENT_MAC, CLIENT) };
    let mut config = Config::new(hardware, Secret([mac; 16]), Secret([mac; 16]));
    config.owned = vec![own(host, true)];
    (config.connections_max, config.flights_max) = (64, 64);
    config.promoted_max = pick(random, [1, 3, 64]);
    config.promoted_buffer = pick(random, [8_192, 20_000, u16::MAX]);
    config.time_wait = Duration::from_secs(1);
    let second = Duration::from_secs(1);
    let keepalive = Keepalive::new(20 * second, 3 * second, 9).expect("within the limits");
    config.profile = Profile { keepalive: Some(keepalive), user_timeout: None };
    if mode != Mode::ParkAtOnce {
        // Whoever has a place keeps it.
        config.promoted_max = 64;
    }
    mode.apply(&mut config);
    config
}

impl Broker {
    fn new(seed: u64, mode: Mode) -> Broker {
        let mut random = Random::new(seed);
        let start = Instant::from_millis(1_000);
        let faults = faults(&mut random, [13, 11, 21, 3]);
        let jitter = Duration::from_millis(pick(&mut random, [0, 0, 5, 100]));
        let mut server = config(1, mode, &mut random);
        let endpoint = Endpoint { addr: address(SERVER, true), port: PORT };
        server.listeners = vec![Listener { endpoint, tag: 0, profile: None }];
        let client = config(2, mode, &mut random);
        // A record holds no part of a packet: it comes whole in one segment, or its connection has a place.
        let is_whole = mode == Mode::NeverPromoted;
        let long = if is_whole { 1_200 } else { 6_000 };
        // Of every other seed all messages go out in pieces.
        let at_once_max = if seed.is_multiple_of(2) { Policy::default().at_once_max } else { 0 };
        let policy = Policy { inflight_max: 3, at_once_max, ..Policy::default() };
        let clients = (0..CLIENTS).map(|number| Client::new(number, long, start)).collect();
        let mouths = Mouths { now: start, clients, left: Vec::new() };
        let room = Room { frames: 256, ring: 128, queue: pick(&mut random, [16, 64]) };
        let wire = Random::new(random.word());
        Broker {
            network: Network::new(wire, faults, jitter),
            server: Host::new(server, Mqtt::new(policy, Secret([9; 16])), room, start),
            client: Host::new(client, mouths, room, start),
            now: start,
            heals_at: start + BAD_FOR,
            next_port: 10_000,
            acts_at: start,
            is_whole,
            random,
        }
    }

    fn run(mut self) {
        while !self.is_over() {
            let late = self.now > self.heals_at + PATIENCE;
            assert!(!late, "no end: {}", self.state());
            self.step();
        }
        self.check();
    }

    fn state(&self) -> String {
        let of = |client: &Client| {
            let Client { number, phase, next, unacknowledged, outbox, inbox, heard, .. } = client;
            let waits = [outbox.len(), inbox.len(), heard.len()];
            format!("{number} {phase:?} {next} {unacknowledged:?} {waits:?}\n")
        };
        let clients: String = self.client.engine.service().clients.iter().map(of).collect();
        format!(
            "{clients}{:?}\n{:?}",
            self.server.engine.counters(),
            self.server.engine.service().usage()
        )
    }

    fn is_over(&self) -> bool {
        self.client.engine.service().clients.iter().all(|client| client.is_done)
            && self.server.engine.counters().connections == 0
            && self.client.engine.counters().connections == 0
            && self.network.next_at().is_none()
    }

    fn step(&mut self) {
        let timers =
            [self.server.engine.next_timer(self.now), self.client.engine.next_timer(self.now)];
        let next = timers.into_iter().flatten().chain(self.network.next_at());
        let next = next.chain([self.acts_at]).min().expect("it acts");
        self.now = next.max(self.now + Duration::from_micros(100));
        let now = self.now;
        if now >= self.heals_at {
            self.network.heal();
        }
        let acts = self.acts_at <= now;
        if acts {
            self.acts_at = now + Duration::from_millis(1 + self.random.below(200));
        }
        let arrived = self.network.arrivals(now);
        let mut sent = self.server.step(now, &seen_by(SERVER_MAC, &arrived), |_, _, _| {});
        let Broker { client, random, next_port, is_whole, .. } = self;
        let is_whole = *is_whole;
        let (is_bad, is_settled) = (now < self.heals_at, now > self.heals_at + SETTLES_AFTER);
        client.engine.service_mut().now = now;
        sent.extend(client.step(now, &seen_by(CLIENT_MAC, &arrived), |engine, link, tx| {
            if acts {
                let mut act =
                    Act { engine, now, random, next_port, is_bad, is_settled, is_whole, link, tx };
                (0..CLIENTS).for_each(|number| act.go_on(number));
            }
        }));
        self.network.carry(now, sent);
    }

    fn check(&self) {
        self.server.engine.check_empty();
        self.client.engine.check_empty();
        let mqtt = self.server.engine.service();
        let clients = &self.client.engine.service().clients;
        let mut wills = None;
        for client in &clients[PUBLISHERS..] {
            for from in 0..PUBLISHERS {
                let from = u8::try_from(from).expect("few");
                let of = client.heard.iter().filter(|(other, _)| *other == from);
                let (sure, perhaps): (Vec<u32>, Vec<u32>) =
                    of.map(|(_, number)| *number).partition(|number| qos(*number) > 0);
                // Repeated on a new connection, it comes again; but first in its order.
                let mut first = Vec::new();
                for number in sure {
                    if first.last().is_none_or(|last| *last < number) {
                        first.push(number);
                    }
                }
                let all: Vec<u32> = (0..MESSAGES).filter(|n| qos(*n) > 0).collect();
                assert_eq!(first, all, "what {} heard of {from}", client.number);
                assert!(perhaps.is_sorted_by(|a, b| a < b), "at most once: {perhaps:?}");
            }
            let before = wills.get_or_insert_with(|| client.wills.clone());
            assert_eq!(*before, client.wills, "{} hears of the same ends", client.number);
        }
        let wills = wills.unwrap_or_default().len();
        assert_eq!(wills as u64, mqtt.counters().wills, "each will once");
        let counters = mqtt.counters();
        let refused = counters.malformed + counters.protocol_errors + counters.too_large;
        assert_eq!((refused, counters.dropped_queue_full), (0, 0));
        let usage = mqtt.usage();
        assert_eq!((usage.retained, usage.queued), (PUBLISHERS, 0), "{usage:?}");
        for client in &clients[..PUBLISHERS] {
            let from = u8::try_from(client.number).expect("few");
            let (topic, _, retain, payload) = message(from, MESSAGES - 1, client.long);
            assert!(retain && mqtt.retained_at(&topic) == Some(payload), "the last of {topic}");
        }
    }
}

/// What a client does by itself.
struct Act<'a> {
    engine: &'a mut Engine<Mouths>,
    now: Instant,
    random: &'a mut Random,
    next_port: &'a mut u16,
    is_bad: bool,
    /// Whether everybody who vanished is known to have.
    is_settled: bool,
    is_whole: bool,
    link: &'a mut MemoryLink,
    tx: &'a mut Vec<LinkFrame>,
}

impl Act<'_> {
    fn client(&mut self, number: usize) -> &mut Client {
        &mut self.engine.service_mut().clients[number]
    }

    fn go_on(&mut self, number: usize) {
        let (now, is_bad) = (self.now, self.is_bad);
        let all_subscribed =
            self.engine.service().clients.iter().all(|client| client.has_subscribed);
        let chance = self.random.below(100);
        let client = self.client(number);
        if client.is_done {
            if let Some(id) = client.conn {
                self.send(number, id);
            }
            return;
        }
        let Some(id) = client.conn else {
            // Whoever is not there yet hears of no will.
            if client.away_until <= now && (number >= PUBLISHERS || all_subscribed) {
                self.open(number);
            }
            return;
        };
        if client.phase == Phase::Ready {
            let often = if number == RESTLESS { 6 } else { 2 };
            match chance {
                // It vanishes without a word.
                0..6 if is_bad && chance < often => {
                    let _ = self.engine.abort(id, CloseReason::HeartbeatMissed, self.link, self.tx);
                    return;
                }
                // Another connection takes its session over.
                6..12 if is_bad && chance - 6 < often => {
                    let mouths = self.engine.service_mut();
                    mouths.left.push(id);
                    mouths.clients[number].lose();
                    return self.open(number);
                }
                12..16 if is_bad && number == SLOW => {
                    client.deaf_until = now + Duration::from_millis(10 * chance * chance);
                }
                16..60 if number < PUBLISHERS && all_subscribed => client.say_more(),
                60..64 => client.outbox.extend(b"\xc0\x00"),
                _ => {}
            }
            if self.is_settled && self.is_finished() {
                let client = self.client(number);
                client.is_done = true;
                client.outbox.extend(b"\xe0\x00");
            }
        }
        self.send(number, id);
    }

    fn open(&mut self, number: usize) {
        let local = Endpoint { addr: address(CLIENT, true), port: *self.next_port };
        let remote = Endpoint { addr: address(SERVER, true), port: PORT };
        *self.next_port += 1;
        if let Ok(id) = self.engine.connect(local, remote, 0, self.now, self.link, self.tx) {
            let client = self.client(number);
            (client.conn, client.phase) = (Some(id), Phase::Opening);
            client.connections += 1;
        }
    }

    /// Sends what is to be sent, cut anywhere.
    fn send(&mut self, number: usize, id: ConnId) {
        let (now, is_whole, most) = (self.now, self.is_whole, 1 + below(self.random, 3_000));
        let client = self.client(number);
        if matches!(client.phase, Phase::Opening | Phase::Away) {
            return;
        }
        let mut bytes = client.outbox[..client.outbox.len().min(most)].to_vec();
        if is_whole && let Some(packet) = frame::split(&client.outbox, 3_000).expect("well formed")
        {
            bytes = client.outbox[..packet.len].to_vec();
        }
        while !bytes.is_empty() {
            if self.engine.send(id, &bytes, now, self.link, self.tx).is_ok() {
                let client = self.client(number);
                client.outbox.drain(..bytes.len());
                client.identifiers.retain(|(end, _)| *end > bytes.len());
                client.identifiers.iter_mut().for_each(|(end, _)| *end -= bytes.len());
                return;
            }
            bytes.truncate(if is_whole { 0 } else { bytes.len() / 2 });
        }
    }

    /// Whether everything was published, acknowledged and heard.
    fn is_finished(&self) -> bool {
        self.engine.service().clients.iter().enumerate().all(|(number, client)| {
            let all = PUBLISHERS * (0..MESSAGES).filter(|n| qos(*n) > 0).count();
            let distinct: BTreeSet<_> = client.heard.iter().filter(|(_, n)| qos(*n) > 0).collect();
            client.is_done
                || match number < PUBLISHERS {
                    true => client.next == MESSAGES && client.unacknowledged.is_empty(),
                    false => distinct.len() == all && client.outbox.is_empty(),
                }
        })
    }
}

#[test]
fn messages_wills_and_what_is_retained_survive_every_connection() {
    for seed in 0..5 {
        for mode in Mode::ALL {
            // Shown when it fails.
            eprintln!("seed {seed}, {mode:?}");
            Broker::new(seed, mode).run();
        }
    }
}
