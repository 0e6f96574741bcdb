//! A client of MQTT: what it says, and what it may hear.

use crate::conn::slab::ConnId;
use crate::service::mqtt::codec::frame::{self, Frame, Kind};
use crate::service::mqtt::codec::publish::Publish;
use crate::service::mqtt::codec::{Version, writer::Writer};
use crate::time::Instant;
use std::collections::BTreeSet;

/// Clients: those that publish, and those that subscribe.
pub(super) const PUBLISHERS: usize = 2;
pub(super) const CLIENTS: usize = PUBLISHERS + 4;
/// The subscriber that reads late, the one that takes one message at a time, and the one that is often
/// gone.
pub(super) const SLOW: usize = PUBLISHERS + 1;
const NARROW: usize = PUBLISHERS + 2;
pub(super) const RESTLESS: usize = PUBLISHERS + 3;

/// Messages of each publisher, and how many it has unacknowledged at most.
pub(super) const MESSAGES: u32 = 50;
const WINDOW: usize = 4;

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Away,
    Opening,
    /// CONNECT was sent.
    Asked,
    Ready,
}

/// A client, over all of its connections.
pub(super) struct Client {
    pub(super) number: usize,
    pub(super) version: Version,
    pub(super) phase: Phase,
    pub(super) conn: Option<ConnId>,
    /// What was received and not read, and what is to be sent.
    pub(super) inbox: Vec<u8>,
    pub(super) outbox: Vec<u8>,
    /// Its connections so far; the number of each is in its will.
    pub(super) connections: u32,
    pub(super) has_subscribed: bool,
    /// The next message to publish, and those that are not acknowledged.
    pub(super) next: u32,
    pub(super) unacknowledged: Vec<u32>,
    /// Messages that were heard, with who published them, and wills; each time.
    pub(super) heard: Vec<(u8, u32)>,
    pub(super) wills: BTreeSet<(u8, u32)>,
    /// Identifiers of messages on this connection whose acknowledgments were not sent, and where those end
    /// in what is to be sent.
    pub(super) identifiers: Vec<(usize, u16)>,
    /// Until when it reads nothing, and waits to connect again.
    pub(super) deaf_until: Instant,
    /// How long the longest messages are, in bytes.
    pub(super) long: u32,
    pub(super) away_until: Instant,
    pub(super) is_done: bool,
}

/// What message `number` of publisher `from` is, of which some are `long`: its topic, quality of service,
/// retain flag and payload.
pub(super) fn message(from: u8, number: u32, long: u32) -> (String, u8, bool, Vec<u8>) {
    let retain = number % 5 == 4;
    let qos = qos(number);
    let topic = format!("{}/{from}", if retain { "r" } else { "t" });
    let len = if number % 11 == 5 { long } else { number * 37 % 900 };
    let mut payload = [&[from][..], &number.to_be_bytes()].concat();
    payload.extend((0..len).map(|at| (at.wrapping_mul(13) ^ number).to_le_bytes()[0]));
    (topic, qos, retain, payload)
}

pub(super) fn qos(number: u32) -> u8 {
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
    pub(super) fn new(number: usize, long: u32, start: Instant) -> Client {
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
    pub(super) fn connect(&self) -> Vec<u8> {
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

    /// Publishes the next message, if its window lets it.
    pub(super) fn say_more(&mut self) {
        if self.next < MESSAGES && self.unacknowledged.len() < WINDOW {
            let number = self.next;
            self.next += 1;
            self.outbox.extend(self.publish(number, false));
            if qos(number) > 0 {
                self.unacknowledged.push(number);
            }
        }
    }

    /// The connection has ended, or is left to itself.
    pub(super) fn lose(&mut self) {
        (self.phase, self.conn) = (Phase::Away, None);
        self.inbox.clear();
        self.outbox.clear();
        self.identifiers.clear();
    }

    /// Reads whole packets.
    pub(super) fn read(&mut self) {
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
