//! MQTT: any bytes as packets, and clients of a server that say anything in any order.

use super::bytes::Bytes;
use core::time::Duration;
use tenmil::conn::slab::ConnId;
use tenmil::engine::Engine;
use tenmil::engine::config::Config;
use tenmil::engine::locals::{Listener, Owned};
use tenmil::frame::{Frame, FramePool as _};
use tenmil::link::Link;
use tenmil::link::memory::{self, MemoryLink};
use tenmil::service::mqtt::Mqtt;
use tenmil::service::mqtt::codec::frame::{self, Kind};
use tenmil::service::mqtt::codec::{self, Packet, Version};
use tenmil::service::mqtt::policy::Policy;
use tenmil::service::{Context, Service, ServiceState};
use tenmil::tcp::CloseReason;
use tenmil::time::Instant;
use tenmil::wire::addr::{Address, Endpoint, Secret};

/// Clients at once.
const CLIENTS: usize = 3;
const SERVER: Endpoint = Endpoint { addr: Address::v4([10, 77, 0, 1]), port: 1883 };
const CLIENT: Address = Address::v4([10, 77, 0, 2]);

/// What the server keeps at most: so little that every limit is met.
fn policy() -> Policy {
    Policy {
        connect_timeout: Duration::from_secs(5),
        session_expiry_s_max: 100,
        sessions_max: 2,
        subscriptions_max: 5,
        session_subscriptions_max: 3,
        packet_len_max: 3_000,
        topic_alias_max: 2,
        inflight_max: 2,
        queue_max: 4,
        queues_max: 6,
        retained_max: 3,
        retained_bytes_max: 2_000,
        message_bytes_max: 5_000,
        ..Policy::default()
    }
}

/// Runs one input.
pub fn run(data: &[u8]) {
    read(data);
    let mut world = World::new();
    let mut input = Bytes(data);
    while !input.is_empty() {
        world.step(&mut input);
    }
    world.end();
}

/// Reads packets, whole and in part: a packet's beginning is never more than its beginning.
fn read(data: &[u8]) {
    let mut rest = data;
    while let Ok(Some(whole)) = frame::split(rest, 3_000) {
        assert!(whole.len <= rest.len() && whole.body.len() < whole.len);
        for cut in 0..whole.len.min(8) {
            assert_eq!(frame::split(&rest[..cut], 3_000), Ok(None));
        }
        for version in [Version::V311, Version::V5] {
            match Packet::decode(&whole, version) {
                Ok(Packet::Subscribe(subscribe)) => {
                    assert_eq!(subscribe.filters().count(), subscribe.len);
                }
                Ok(Packet::Unsubscribe(unsubscribe)) => {
                    assert_eq!(unsubscribe.filters().count(), unsubscribe.len);
                }
                Ok(Packet::Publish(publish)) => {
                    let properties = publish.properties.forwarded().map(<[u8]>::len).sum::<usize>();
                    let parts = publish.topic.len() + properties + publish.payload.len();
                    assert!(parts < whole.len, "no byte is read twice");
                }
                Ok(_) => {}
                Err(reason) => assert!(reason.is_error()),
            }
        }
        if let Ok(connect) = codec::first(&whole) {
            assert!(connect.client_id.len() < whole.len);
        }
        rest = &rest[whole.len..];
    }
}

/// Keeps what clients hear.
#[derive(Default)]
struct Ears {
    open: Vec<(ConnId, Vec<u8>)>,
}

impl Service for Ears {
    fn on_open(&mut self, conn: &mut Context<'_>) {
        self.open.push((conn.id(), Vec::new()));
    }

    fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
        let id = conn.id();
        if let Some((_, heard)) = self.open.iter_mut().find(|(other, _)| *other == id) {
            heard.extend_from_slice(bytes);
        }
        bytes.len()
    }

    fn on_close(&mut self, id: ConnId, _: u8, _: ServiceState, _: CloseReason) {
        if let Some(at) = self.open.iter().position(|(other, _)| *other == id) {
            check_heard(&self.open.swap_remove(at).1, false);
        }
    }
}

/// What a client heard are whole packets that a server sends, and the first is the only CONNACK.
fn check_heard(mut heard: &[u8], is_whole: bool) {
    let mut first = true;
    while let Ok(Some(packet)) = frame::split(heard, usize::MAX) {
        let expected = match packet.kind {
            Kind::Connack => first,
            Kind::Publish | Kind::Puback | Kind::Pubcomp | Kind::Suback | Kind::Unsuback => !first,
            Kind::Pingresp | Kind::Disconnect => !first,
            _ => false,
        };
        assert!(expected, "{:?} at this place", packet.kind);
        first = false;
        heard = &heard[packet.len..];
    }
    assert!(frame::split(heard, usize::MAX).is_ok(), "no packet is malformed");
    assert!(heard.is_empty() || !is_whole, "no packet is cut short");
}

/// A server and a host with clients, joined by a link in memory.
struct World {
    server: Engine<Mqtt>,
    clients: Engine<Ears>,
    links: (MemoryLink, MemoryLink),
    frames: (Vec<Frame>, Vec<Frame>),
    now: Instant,
    /// The clients' connections, which may have ended.
    ids: [Option<ConnId>; CLIENTS],
    next_port: u16,
}

impl World {
    fn new() -> World {
        let config = |mac, addr| {
            let mut config =
                Config::new([2, 0, 0, 0, 0, mac], Secret([mac; 16]), Secret([mac; 16]));
            config.owned = vec![Owned { addr, range_len: 32, link_len: 16 }];
            (config.connections_max, config.flights_max) = (64, 64);
            (config.promoted_max, config.promoted_buffer) = (4, 4_096);
            config.outbox = tenmil::conn::outbox::Limits::NOTHING;
            config
        };
        let listeners = vec![Listener { endpoint: SERVER, tag: 0, profile: None }];
        let server = Config { listeners, ..config(1, SERVER.addr) };
        let mqtt = Mqtt::new(policy(), Secret([3; 16]));
        World {
            server: Engine::new(server, mqtt, Instant::ZERO),
            clients: Engine::new(config(2, CLIENT), Ears::default(), Instant::ZERO),
            links: memory::pair(256, 2_048, 128),
            frames: (Vec::with_capacity(64), Vec::with_capacity(256)),
            now: Instant::ZERO,
            ids: [None; CLIENTS],
            next_port: 40_000,
        }
    }

    fn step(&mut self, input: &mut Bytes<'_>) {
        let at = usize::from(input.u8()) % CLIENTS;
        let version = if at == 0 { Version::V311 } else { Version::V5 };
        match input.u8() % 12 {
            0 => {
                let bytes = input.take_len(300);
                self.say(at, bytes);
            }
            1 => self.pass(Duration::from_millis(u64::from(input.u16()))),
            2 => {
                if let Some(id) = self.ids[at].take() {
                    let (link, tx) = (&mut self.links.1, &mut self.frames.1);
                    let _ = self.clients.abort(id, CloseReason::Evicted, link, tx);
                }
                self.pass(Duration::from_millis(1));
            }
            3..6 => {
                let packet = connect(input, version, at);
                self.say(at, &packet);
            }
            _ => {
                let packet = packet(input, version);
                self.say(at, &packet);
            }
        }
        let usage = self.server.service().usage();
        let Policy { sessions_max, subscriptions_max, queues_max, retained_max, .. } = policy();
        assert!(usage.sessions <= sessions_max as usize);
        assert!(usage.subscriptions <= subscriptions_max && usage.queued <= queues_max);
        assert!(usage.retained <= retained_max as usize);
        // A will is admitted by what its text takes; what is kept of it is a little more.
        assert!(usage.message_bytes <= policy().message_bytes_max + 1_000);
    }

    /// Client `at` connects, if it has not, and says `bytes`.
    fn say(&mut self, at: usize, bytes: &[u8]) {
        let is_open = |id: ConnId| self.clients.tag(id).is_some();
        if !self.ids[at].is_some_and(is_open) {
            self.next_port += 1;
            let from = Endpoint { addr: CLIENT, port: self.next_port };
            for _ in 0..3 {
                let (link, tx) = (&mut self.links.1, &mut self.frames.1);
                self.ids[at] = self.clients.connect(from, SERVER, 0, self.now, link, tx).ok();
                self.pass(Duration::from_millis(20));
                if self.ids[at].is_some() {
                    break;
                }
            }
        }
        if let Some(id) = self.ids[at] {
            let (link, tx) = (&mut self.links.1, &mut self.frames.1);
            let _ = self.clients.send(id, bytes, self.now, link, tx);
        }
        self.pass(Duration::from_millis(1));
    }

    fn pass(&mut self, span: Duration) {
        // What the clients were told to send.
        flush(&mut self.links.1, &mut self.frames.1);
        let end = self.now + span;
        for _ in 0..200 {
            for _ in 0..6 {
                round(&mut self.server, &mut self.links.0, &mut self.frames, self.now);
                round(&mut self.clients, &mut self.links.1, &mut self.frames, self.now);
            }
            if self.now >= end {
                return;
            }
            let due = [self.server.next_timer(self.now), self.clients.next_timer(self.now)];
            let due = due.into_iter().flatten().min().unwrap_or(end);
            self.now = due.max(self.now + Duration::from_millis(1)).min(end);
        }
    }

    /// Everybody goes, and nothing is left behind but what was retained.
    fn end(mut self) {
        for id in self.ids.into_iter().flatten() {
            let (link, tx) = (&mut self.links.1, &mut self.frames.1);
            let _ = self.clients.abort(id, CloseReason::Evicted, link, tx);
        }
        for _ in 0..20 {
            self.pass(Duration::from_secs(20));
        }
        let usage = self.server.service().usage();
        assert_eq!((usage.sessions, usage.subscriptions, usage.queued), (0, 0, 0));
        assert!(usage.message_bytes <= policy().retained_bytes_max);
    }
}

fn round<S: Service>(
    engine: &mut Engine<S>,
    link: &mut MemoryLink,
    (rx, tx): &mut (Vec<Frame>, Vec<Frame>),
    now: Instant,
) {
    link.receive(rx, 64).expect("the link is there");
    engine.handle_frames(now, link, rx, tx);
    engine.handle_timers(now, link, tx);
    flush(link, tx);
}

/// Sends what the ring has room for; the rest is lost.
fn flush(link: &mut MemoryLink, tx: &mut Vec<Frame>) {
    link.transmit(tx).expect("the link is there");
    link.flush().expect("the link is there");
    tx.drain(..).for_each(|frame| link.give(frame));
}

/// A CONNECT that is nearly right.
fn connect(input: &mut Bytes<'_>, version: Version, at: usize) -> Vec<u8> {
    let flags = input.u8() & 0x36;
    let level = if version == Version::V311 { 4 } else { 5 };
    let mut body = [&b"\x00\x04MQTT"[..], &[level, flags, 0, input.u8() % 30]].concat();
    if version == Version::V5 {
        let properties =
            [&[0x11, 0, 0, 0, input.u8()][..], &[0x21, 0, 1 + input.u8() % 3]].concat();
        body.push(u8::try_from(properties.len()).expect("eight"));
        body.extend_from_slice(&properties);
    }
    body.extend_from_slice(&[0, 1, b"abcd"[at + usize::from(input.bool())]]);
    if flags & 4 != 0 {
        if version == Version::V5 {
            body.extend_from_slice(&[5, 0x18, 0, 0, 0, input.u8() % 20]);
        }
        body.extend_from_slice(topic(input));
        body.extend_from_slice(&[0, 2, b'w', input.u8()]);
    }
    framed(0x10, &body)
}

/// Some other packet that is nearly right.
fn packet(input: &mut Bytes<'_>, version: Version) -> Vec<u8> {
    let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
    match input.u8() % 8 {
        0 => {
            let filter = input.choose(&[
                &b"\x00\x01a"[..],
                b"\x00\x03a/b",
                b"\x00\x01#",
                b"\x00\x03a/+",
                b"\x00\x03+/b",
                b"\x00\x08$share/g",
            ]);
            framed(0x82, &[&[0, 1], properties, filter, &[input.u8() & 0x2f]].concat())
        }
        1 => framed(0xa2, &[&[0, 1], properties, topic(input)].concat()),
        2 => framed(0x40, &[0, input.u8() % 4]),
        3 => framed(0xc0, &[]),
        4 => framed(0xe0, &[]),
        kind => {
            let qos = if kind == 5 { 0 } else { 2 };
            let identifier: &[u8] = if qos == 0 { &[] } else { &[0, 7] };
            let aliased = [3, 0x23, 0, input.u8() % 4];
            let expiring = [5, 0x02, 0, 0, 0, input.u8() % 8];
            let properties = match (version, input.u8() % 4) {
                (Version::V5, 0) => &aliased[..],
                (Version::V5, 1) => &expiring,
                _ => properties,
            };
            let text = vec![b'x'; usize::from(input.u16() % 2_900)];
            let first = 0x30 | qos | u8::from(input.bool());
            framed(first, &[topic(input), identifier, properties, &text].concat())
        }
    }
}

fn topic(input: &mut Bytes<'_>) -> &'static [u8] {
    input.choose(&[b"\x00\x01a", b"\x00\x03a/b", b"\x00\x03c/b", b"\x00\x00", b"\x00\x02$x"])
}

fn framed(first: u8, body: &[u8]) -> Vec<u8> {
    let mut header = codec::writer::Writer::new();
    header.u8(first);
    header.varint(u32::try_from(body.len()).expect("it is short"));
    [header.bytes(), body].concat()
}
