//! The server with connections that are fed and drained by hand, in invented time.

mod bounds;
mod connecting;
mod ending;
mod limits;
mod publishing;
mod sessions;
mod splits;
mod subscribing;
mod wide;

use super::*;
use crate::conn::invitations::Invitations;
use crate::conn::outbox::{Limits, Outbox};
use crate::conn::record::State as TcpState;
use crate::conn::slab::Slab;
use crate::service::{Answer, Wake};
use crate::time::Duration;
use crate::wire::addr::Address;
use codec::Version::{V5, V311};

/// The properties that every 5.0 CONNACK has.
pub(super) const OWN: &[u8] = b"\x22\x00\x0a\x24\x01\x27\x00\x00\xff\xff\x2a\x00";
/// The CONNACK of 5.0 that says no more than that, and of no session.
pub(super) const CONNACK5: &[u8] =
    b"\x20\x0f\x00\x00\x0c\x22\x00\x0a\x24\x01\x27\x00\x00\xff\xff\x2a\x00";
/// The CONNACK of 3.1.1 that says of no session.
pub(super) const CONNACK311: &[u8] = b"\x20\x02\x00\x00";

/// A connection, seen from its client.
struct Peer {
    id: ConnId,
    state: ServiceState,
    /// What the server sent and [`World::take`] did not take.
    received: Vec<u8>,
    /// What the server did not take.
    unread: Vec<u8>,
    /// How much can be sent in one call.
    room: usize,
    wake: Option<Instant>,
    wants_room: bool,
    /// Whether the server closed, and why.
    closed: Option<Option<CloseReason>>,
}

/// A server and its clients.
struct World {
    mqtt: Mqtt,
    now: Instant,
    peers: Vec<Peer>,
    /// Gives each connection a name.
    names: Slab,
    /// Nothing is pushed.
    outbox: Outbox,
}

#[derive(Clone, Copy)]
enum Event {
    Open,
    Data,
    Wake,
    Room,
    PeerClose,
}

impl World {
    fn new() -> World {
        World::with(Policy::default())
    }

    fn with(policy: Policy) -> World {
        let mqtt = Mqtt::new(policy, Secret([7; 16]));
        World {
            mqtt,
            now: Instant::from_millis(5),
            peers: Vec::new(),
            names: Slab::new(2_000).unwrap(),
            outbox: Outbox::new(Limits::NOTHING, u16::MAX).unwrap(),
        }
    }

    /// A new connection.
    fn open(&mut self) -> usize {
        let slot = self.names.insert().expect("a name");
        self.names[slot].state = TcpState::Established;
        let id = self.names.id(slot);
        self.peers.push(Peer {
            id,
            state: ServiceState::default(),
            received: Vec::new(),
            unread: Vec::new(),
            room: 2_900,
            wake: None,
            wants_room: false,
            closed: None,
        });
        self.call(self.peers.len() - 1, Event::Open);
        self.peers.len() - 1
    }

    /// A new connection whose CONNECT was accepted.
    fn connect(&mut self, packet: &[u8]) -> usize {
        let peer = self.open();
        self.send(peer, packet);
        let received = self.take(peer);
        assert_eq!((received[0], received[3]), (0x20, 0), "accepted: {received:x?}");
        peer
    }

    /// The client of connection `peer` sends `bytes`.
    fn send(&mut self, peer: usize, bytes: &[u8]) {
        self.peers[peer].unread.extend_from_slice(bytes);
        self.call(peer, Event::Data);
    }

    /// What the client of connection `peer` received since this was asked last.
    fn take(&mut self, peer: usize) -> Vec<u8> {
        // What it took makes room for more.
        while core::mem::take(&mut self.peers[peer].wants_room) {
            self.call(peer, Event::Room);
            self.call(peer, Event::Data);
        }
        core::mem::take(&mut self.peers[peer].received)
    }

    /// Sends, and returns what came back.
    fn ask(&mut self, peer: usize, bytes: &[u8]) -> Vec<u8> {
        self.send(peer, bytes);
        self.take(peer)
    }

    /// The client closes without a DISCONNECT, or vanishes.
    fn lose(&mut self, peer: usize) {
        let Peer { id, state, .. } = self.peers[peer];
        self.mqtt.on_close(id, 0, state, CloseReason::ClosedByPeer);
        self.peers[peer].closed.get_or_insert(None);
        self.turn();
    }

    /// Lets time pass, with all wakes in it.
    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let due = |peer: &Peer| peer.wake.filter(|_| peer.closed.is_none());
            let wakes = self.peers.iter().enumerate();
            let next = wakes.filter_map(|(at, peer)| Some((due(peer)?, at))).min();
            match next {
                Some((wake, at)) if wake <= end => {
                    self.now = self.now.max(wake);
                    self.turn();
                    self.peers[at].wake = None;
                    self.call(at, Event::Wake);
                }
                _ => break,
            }
        }
        self.now = end;
        self.turn();
    }

    /// What the engine does once for each batch.
    fn turn(&mut self) {
        let mut invitations = Invitations::new();
        self.mqtt.on_turn(&mut Turn { now: self.now, invitations: &mut invitations });
        self.offer(invitations);
    }

    /// Something is published by nobody of the clients.
    fn publish(&mut self, topic: &str, text: &str) -> Result<Published, Unpublished> {
        let mut invitations = Invitations::new();
        let turn = &mut Turn { now: self.now, invitations: &mut invitations };
        let published = self.mqtt.on_publish(turn, None, topic, text.as_bytes());
        self.offer(invitations);
        published
    }

    fn offer(&mut self, mut invitations: Invitations) {
        while let Some(to) = invitations.pop() {
            if let Some(at) = self.peers.iter().position(|peer| peer.id == to)
                && self.peers[at].closed.is_none()
            {
                self.call(at, Event::Room);
            }
        }
    }

    fn call(&mut self, at: usize, event: Event) {
        let peer = &mut self.peers[at];
        if peer.closed.is_some() {
            return;
        }
        let mut output = vec![0; peer.room];
        let bytes = core::mem::take(&mut peer.unread);
        let mut invitations = Invitations::new();
        let addr = Address::v4([10, 77, 0, 1]);
        let mut answer = Answer::default();
        let mut conn = Context {
            id: peer.id,
            now: self.now,
            tag: 0,
            remote: (&addr, 1883),
            local: (&addr, 1883),
            state: &mut peer.state,
            output: &mut output,
            answer: &mut answer,
            invitations: &mut invitations,
            outbox: &mut self.outbox,
        };
        let taken = match event {
            Event::Open => {
                self.mqtt.on_open(&mut conn);
                0
            }
            Event::Data => self.mqtt.on_data(&mut conn, &bytes),
            Event::Wake => {
                self.mqtt.on_wake(&mut conn);
                0
            }
            Event::Room => {
                self.mqtt.on_room(&mut conn);
                0
            }
            Event::PeerClose => {
                self.mqtt.on_peer_close(&mut conn);
                0
            }
        };
        peer.unread = bytes[taken..].to_vec();
        peer.received.extend_from_slice(&output[..answer.written]);
        peer.wants_room |= answer.wants_room;
        match answer.wake {
            Some(Wake::At(at)) => peer.wake = Some(at),
            Some(Wake::Never) => peer.wake = None,
            None => {}
        }
        if answer.closing {
            peer.closed = Some(answer.reason);
        }
        self.offer(invitations);
    }

    fn closed(&self, peer: usize) -> Option<Option<CloseReason>> {
        self.peers[peer].closed
    }

    /// Every queue, count and byte is accounted for.
    fn check(&self) {
        let sessions = (0..).map_while(|at| (at < 10_000).then(|| self.mqtt.sessions.get(at)));
        let extras = sessions.flatten().filter_map(|session| session.extra());
        let queued = extras.map(|extra| extra.queue.len()).sum::<usize>();
        assert_eq!(queued, self.mqtt.queued as usize);
    }
}

/// A packet with this first byte.
fn packet(first: u8, body: &[&[u8]]) -> Vec<u8> {
    let body = body.concat();
    let mut header = codec::writer::Writer::new();
    header.u8(first);
    header.varint(u32::try_from(body.len()).unwrap());
    [header.bytes(), &body].concat()
}

fn string(text: &str) -> Vec<u8> {
    [&u16::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat()
}

/// Properties with their length, which is one byte.
fn properties(version: Version, properties: &[u8]) -> Vec<u8> {
    match version {
        V311 => Vec::new(),
        V5 => [&[u8::try_from(properties.len()).unwrap()][..], properties].concat(),
    }
}

/// A CONNECT as it is put together.
#[derive(Clone)]
struct Hello {
    version: Version,
    flags: u8,
    keep_alive_s: u16,
    properties: Vec<u8>,
    client_id: String,
    payload: Vec<u8>,
}

impl Hello {
    /// Of a client that begins anew.
    fn new(version: Version, client_id: &str) -> Hello {
        Hello {
            version,
            flags: 0x02,
            keep_alive_s: 0,
            properties: Vec::new(),
            client_id: client_id.to_owned(),
            payload: Vec::new(),
        }
    }

    /// Of a client whose session is to go on, and to outlive the connection.
    fn persistent(version: Version, client_id: &str) -> Hello {
        let hello = Hello { flags: 0, ..Hello::new(version, client_id) };
        if version == V5 { hello.with(b"\x11\xff\xff\xff\xff") } else { hello }
    }

    fn with(mut self, property: &[u8]) -> Hello {
        self.properties.extend_from_slice(property);
        self
    }

    fn keep_alive(self, keep_alive_s: u16) -> Hello {
        Hello { keep_alive_s, ..self }
    }

    fn will(mut self, topic: &str, text: &str, flags: u8, of_will: &[u8]) -> Hello {
        self.flags |= 0x04 | flags;
        self.payload = [properties(self.version, of_will), string(topic), string(text)].concat();
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let level = if self.version == V311 { 4 } else { 5 };
        packet(
            0x10,
            &[
                b"\x00\x04MQTT",
                &[level, self.flags],
                &self.keep_alive_s.to_be_bytes(),
                &properties(self.version, &self.properties),
                &string(&self.client_id),
                &self.payload,
            ],
        )
    }
}

/// A SUBSCRIBE with the packet identifier 1.
fn subscribe(version: Version, filter: &str, options: u8) -> Vec<u8> {
    subscribe_with(version, b"", filter, options)
}

fn subscribe_with(version: Version, of_packet: &[u8], filter: &str, options: u8) -> Vec<u8> {
    packet(0x82, &[b"\x00\x01", &properties(version, of_packet), &string(filter), &[options]])
}

/// The SUBACK to [`subscribe`].
fn suback(version: Version, code: u8) -> Vec<u8> {
    packet(0x90, &[b"\x00\x01", &properties(version, b""), &[code]])
}

/// A PUBLISH of QoS 0, to a client or from one.
fn publish(version: Version, topic: &str, text: &str) -> Vec<u8> {
    publish_with(version, 0x30, topic, 0, b"", text)
}

/// A PUBLISH of QoS 1, to a client or from one.
fn publish1(version: Version, topic: &str, identifier: u16, text: &str) -> Vec<u8> {
    publish_with(version, 0x32, topic, identifier, b"", text)
}

fn publish_with(
    version: Version,
    first: u8,
    topic: &str,
    identifier: u16,
    of_packet: &[u8],
    text: &str,
) -> Vec<u8> {
    let identifier = if first & 0x06 != 0 { &identifier.to_be_bytes()[..] } else { &[] };
    let of_packet = properties(version, of_packet);
    packet(first, &[&string(topic), identifier, &of_packet, text.as_bytes()])
}

fn puback(identifier: u16) -> Vec<u8> {
    packet(0x40, &[&identifier.to_be_bytes()])
}
