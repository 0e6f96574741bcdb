//! MQTT on a bad network, in virtual time: publishers and subscribers whose connections are lost, taken
//! over and slow, and whose sessions last.
//!
//! What must hold in the end: every message of QoS 1 reached every subscriber, in its publisher's order and
//! byte for byte; every will that was published reached all of them; and of each topic the last retained
//! message was kept.

use super::host::{Host, Room};
use super::network::{Network, seen_by};
use super::scenario::{CLIENT_MAC, Mode, SERVER_MAC, own, pick};
use super::services::{CLIENT, SERVER, address};
use super::talk::below;
use crate::conn::slab::ConnId;
use crate::engine::Engine;
use crate::engine::config::Config;
use crate::engine::locals::Listener;
use crate::frame::Frame as LinkFrame;
use crate::link::faults::{Chance, Faults, Random};
use crate::link::memory::MemoryLink;
use crate::service::mqtt::Mqtt;
use crate::service::mqtt::codec::frame::{self, Frame, Kind};
use crate::service::mqtt::codec::publish::Publish;
use crate::service::mqtt::codec::{Version, writer::Writer};
use crate::service::mqtt::policy::Policy;
use crate::service::{Context, Service, ServiceState};
use crate::tcp::CloseReason;
use crate::tcp::keepalive::{Keepalive, Profile};
use crate::time::{Duration, Instant};
use crate::wire::addr::{Endpoint, Secret};
use std::collections::BTreeSet;

const PORT: u16 = 1883;

/// Clients: those that publish, and those that subscribe.
const PUBLISHERS: usize = 2;
const CLIENTS: usize = PUBLISHERS + 4;
/// The subscriber that reads late, the one that takes one message at a time, and the one that is often
/// gone.
const SLOW: usize = PUBLISHERS + 1;
const NARROW: usize = PUBLISHERS + 2;
const RESTLESS: usize = PUBLISHERS + 3;

/// Messages of each publisher, and how many it has unacknowledged at most.
const MESSAGES: u32 = 50;
const WINDOW: usize = 4;

const BAD_FOR: Duration = Duration::from_secs(20);
/// Probes find out within 47 s that nobody is there.
const SETTLES_AFTER: Duration = Duration::from_secs(120);
const PATIENCE: Duration = Duration::from_secs(2_000);

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Away,
    Opening,
    /// CONNECT was sent.
    Asked,
    Ready,
}

/// A client, over all of its connections.
struct Client {
    number: usize,
    version: Version,
    phase: Phase,
    conn: Option<ConnId>,
    /// What was received and not read, and what is to be sent.
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    /// Its connections so far; the number of each is in its will.
    connections: u32,
    has_subscribed: bool,
    /// The next message to publish, and those that are not acknowledged.
    next: u32,
    unacknowledged: Vec<u32>,
    /// Messages that were heard, with who published them, and wills; each time.
    heard: Vec<(u8, u32)>,
    wills: BTreeSet<(u8, u32)>,
    /// Identifiers of messages on this connection whose acknowledgments were not sent, and where those end
    /// in what is to be sent.
    identifiers: Vec<(usize, u16)>,
    /// Until when it reads nothing, and waits to connect again.
    deaf_until: Instant,
    /// How long the longest messages are, in bytes.
    long: u32,
    away_until: Instant,
    is_done: bool,
}

/// What message `number` of publisher `from` is, of which some are `long`: its topic, quality of service,
/// retain flag and payload.
fn message(from: u8, number: u32, long: u32) -> (String, u8, bool, Vec<u8>) {
    let retain = number % 5 == 4;
    let qos = qos(number);
    let topic = format!("{}/{from}", if retain { "r" } else { "t" });
    let len = if number % 11 == 5 { long } else { number * 37 % 900 };
    let mut payload = [&[from][..], &number.to_be_bytes()].concat();
    payload.extend((0..len).map(|at| (at.wrapping_mul(13) ^ number).to_le_bytes()[0]));
    (topic, qos, retain, payload)
}

fn qos(number: u32) -> u8 {
    u8::from(!number.is_multiple_of(4))
}

fn packet(first: u8, body: &[&[u8]]) -> Vec<u8> {
    let body = body.concat();
    let mut header = Writer::new();
    header.u8(first);
    header.varint(u32::try_from(body.len()).expect("short"));
    [header.bytes(), &body].concat()
}

fn string(text: &str) -> Vec<u8> {
    [&u16::try_from(text.len()).expect("short").to_be_bytes(), text.as_bytes()].concat()
}

impl Client {
    fn new(number: usize, long: u32, start: Instant) -> Client {
        Client {
            number,
            version: if number % 2 == 0 { Version::V5 } else { Version::V311 },
            phase: Phase::Away,
            conn: None,
            inbox: Vec::new(),
            outbox: Vec::new(),
            connections: 0,
            has_subscribed: number < PUBLISHERS,
            next: 0,
            unacknowledged: Vec::new(),
            heard: Vec::new(),
            wills: BTreeSet::new(),
            identifiers: Vec::new(),
            deaf_until: start,
            long,
            away_until: start,
            is_done: false,
        }
    }

    fn properties(&self, properties: &[u8]) -> Vec<u8> {
        match self.version {
            Version::V311 => Vec::new(),
            Version::V5 => [&[u8::try_from(properties.len()).expect("short")], properties].concat(),
        }
    }

    /// A CONNECT whose session lasts; publishers leave a will.
    fn connect(&self) -> Vec<u8> {
        let level = if self.version == Version::V311 { 4 } else { 5 };
        let mut of_packet = b"\x11\xff\xff\xff\xff".to_vec();
        if self.number == NARROW {
            of_packet.extend(b"\x21\x00\x01");
        }
        let has_will = self.number < PUBLISHERS;
        let flags = if has_will { 0x0c } else { 0 };
        let mut will = Vec::new();
        if has_will {
            let from = u8::try_from(self.number).expect("few");
            will.extend(self.properties(&[]));
            will.extend(string(&format!("w/{from}")));
            let text = [&[from][..], &self.connections.to_be_bytes()].concat();
            will.extend([0, 5]);
            will.extend(text);
        }
        let name = string(&format!("c{}", self.number));
        packet(
            0x10,
            &[b"\x00\x04MQTT", &[level, flags, 0, 0], &self.properties(&of_packet), &name, &will],
        )
    }

    fn subscribe(&self) -> Vec<u8> {
        let filters: &[(&str, u8)] = match self.number % 2 {
            0 => &[("t/#", 1), ("r/+", 1), ("w/#", 1)],
            // They overlap: one copy, with the greatest quality of service.
            _ => &[("t/+", 0), ("#", 1)],
        };
        let filters: Vec<u8> = filters
            .iter()
            .flat_map(|(filter, qos)| [string(filter), vec![*qos]].concat())
            .collect();
        packet(0x82, &[b"\x00\x01", &self.properties(&[]), &filters])
    }

    fn publish(&self, number: u32, dup: bool) -> Vec<u8> {
        let from = u8::try_from(self.number).expect("few");
        let (topic, qos, retain, payload) = message(from, number, self.long);
        let identifier =
            if qos > 0 { identifier(number).to_be_bytes().to_vec() } else { Vec::new() };
        let first = 0x30 | u8::from(dup) << 3 | qos << 1 | u8::from(retain);
        packet(first, &[&string(&topic), &identifier, &self.properties(&[]), &payload])
    }

    /// The connection has ended, or is left to itself.
    fn lose(&mut self) {
        (self.phase, self.conn) = (Phase::Away, None);
        self.inbox.clear();
        self.outbox.clear();
        self.identifiers.clear();
    }

    /// Reads whole packets.
    fn read(&mut self) {
        let inbox = core::mem::take(&mut self.inbox);
        let mut rest = &inbox[..];
        while let Some(packet) = frame::split(rest, usize::MAX).expect("well formed") {
            self.hear(&packet);
            rest = &rest[packet.len..];
        }
        self.inbox = rest.to_vec();
    }

    fn hear(&mut self, packet: &Frame<'_>) {
        match (packet.kind, self.phase) {
            (Kind::Connack, Phase::Asked) => {
                let [present, code, ..] = *packet.body else { panic!("a CONNACK is longer") };
                assert_eq!(code, 0, "everybody is let in");
                assert!(present == 1 || self.number < PUBLISHERS || !self.has_subscribed);
                self.phase = Phase::Ready;
                if !self.has_subscribed {
                    self.outbox.extend(self.subscribe());
                }
                for number in self.unacknowledged.clone() {
                    self.outbox.extend(self.publish(number, true));
                }
            }
            (Kind::Suback, Phase::Ready) => self.has_subscribed = true,
            (Kind::Puback, Phase::Ready) => {
                let acknowledged = u16::from_be_bytes([packet.body[0], packet.body[1]]);
                assert!(packet.body.len() == 2 || packet.body[2] < 0x80, "it is accepted");
                let of = self.unacknowledged.iter().position(|n| identifier(*n) == acknowledged);
                self.unacknowledged.remove(of.expect("it was published on this connection"));
            }
            (Kind::Publish, Phase::Ready) => self.hear_message(packet),
            (Kind::Pingresp, Phase::Ready) => {}
            (kind, phase) => panic!("{kind:?} when {phase:?}"),
        }
    }

    fn hear_message(&mut self, packet: &Frame<'_>) {
        let publish = Publish::decode(packet, self.version).expect("well formed");
        assert!(!publish.retain, "it was subscribed before it was published");
        let Some((&from, rest)) = publish.payload.split_first() else { panic!("no payload") };
        let number = u32::from_be_bytes(*rest.first_chunk().expect("a number"));
        if publish.topic.starts_with('w') {
            assert_eq!((publish.topic, rest.len()), (&*format!("w/{from}"), 4));
            self.wills.insert((from, number));
        } else {
            let (topic, qos, _, payload) = message(from, number, self.long);
            assert_eq!((publish.topic, publish.qos), (&*topic, qos));
            assert!(publish.payload == payload, "every byte of message {number}");
            self.heard.push((from, number));
        }
        if publish.qos > 0 {
            let identifier = publish.identifier;
            let is_new = !self.identifiers.iter().any(|(_, other)| *other == identifier);
            assert!(is_new, "{identifier} is not acknowledged yet");
            self.outbox.extend(puback(identifier));
            self.identifiers.push((self.outbox.len(), identifier));
            let most = if self.number == NARROW { 1 } else { 3 };
            assert!(self.identifiers.len() <= most, "{:?}", self.identifiers);
        }
    }
}

fn puback(identifier: u16) -> Vec<u8> {
    packet(0x40, &[&identifier.to_be_bytes()])
}

fn identifier(number: u32) -> u16 {
    u16::try_from(number + 1).expect("few messages")
}

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
        let percent = |random: &mut Random, most: u64| {
            Chance::percent(u32::try_from(random.below(most)).expect("a percentage"))
        };
        let faults = Faults {
            loss: percent(&mut random, 13),
            duplicate: percent(&mut random, 11),
            reorder: percent(&mut random, 21),
            corrupt: percent(&mut random, 3),
        };
        let jitter = Duration::from_millis(pick(&mut random, [0, 0, 5, 100]));
        let mut server = config(1, mode, &mut random);
        let endpoint = Endpoint { addr: address(SERVER, true), port: PORT };
        server.listeners = vec![Listener { endpoint, tag: 0, profile: None }];
        let client = config(2, mode, &mut random);
        // A record holds no part of a packet: it comes whole in one segment, or its connection has a place.
        let is_whole = mode == Mode::NeverPromoted;
        let long = if is_whole { 1_200 } else { 6_000 };
        let policy = Policy { inflight_max: 3, ..Policy::default() };
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
                16..60 if number < PUBLISHERS && all_subscribed => client_publishes(client),
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

fn client_publishes(client: &mut Client) {
    if client.next < MESSAGES && client.unacknowledged.len() < WINDOW {
        let number = client.next;
        client.next += 1;
        client.outbox.extend(client.publish(number, false));
        if qos(number) > 0 {
            client.unacknowledged.push(number);
        }
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
