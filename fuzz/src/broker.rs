//! Clients of an MQTT server that say nearly right things in any order, without an engine: they take each
//! other's sessions over, vanish, wait, and read slowly. However what they say is cut, each hears the
//! same; with little room, what each hears still keeps the rules.

use super::bytes::Bytes;
use core::time::Duration;
use std::collections::{BTreeSet, HashMap, VecDeque};
use tenmil::conn::slab::ConnId;
use tenmil::service::Service;
use tenmil::service::by_hand::{ByHand, turn};
use tenmil::service::mqtt::Mqtt;
use tenmil::service::mqtt::codec::frame::{self, Kind};
use tenmil::service::mqtt::codec::writer::Writer;
use tenmil::service::mqtt::codec::{self, Version};
use tenmil::service::mqtt::policy::Policy;
use tenmil::tcp::CloseReason;
use tenmil::time::Instant;
use tenmil::wire::addr::Secret;

/// Clients at once, and client identifiers that they share.
const CLIENTS: usize = 4;
const NAMES: &[u8] = b"abc";

/// Operations and connections in one input, at most.
const OPERATIONS_MAX: usize = 60;

/// Unacknowledged messages to a client, at most.
const INFLIGHT_MAX: u16 = 3;

const STRICT: Policy = Policy {
    connect_timeout: Duration::from_secs(5),
    packet_timeout: Duration::from_secs(7),
    keep_alive_s_max: 0,
    session_expiry_s_max: 1_000,
    sessions_max: 3,
    subscriptions_max: 9,
    session_subscriptions_max: 5,
    subscription_bytes_max: 10_000,
    session_subscription_bytes_max: 2_000,
    packet_len_max: 3_000,
    topic_alias_max: 2,
    inflight_max: INFLIGHT_MAX,
    queue_max: 8,
    queues_max: 14,
    filter_shapes_max: 4,
    at_once_max: 2,
    wide_max: 3,
    retained_max: 4,
    retained_bytes_max: 6_000,
    message_bytes_max: 12_000,
    authenticator: |_| Ok(()),
};

/// How a run cuts what clients say, and how much room it gives for answers.
#[derive(Clone, Copy)]
struct Style {
    cut: usize,
    room: usize,
}

/// More than is ever said at once.
const WHOLE: Style = Style { cut: 1 << 20, room: 1 << 16 };

/// Runs one input.
pub fn run(data: &[u8]) {
    let mut input = Bytes(data);
    let [cut, room] = input.array();
    let program = input;
    let whole = World::new(WHOLE).run(program);
    let pieces = Style { cut: 1 + usize::from(cut), ..WHOLE };
    assert!(World::new(pieces).run(program) == whole, "the same in pieces of {}", pieces.cut);
    World::new(Style { room: 64 + usize::from(room) * 4, ..pieces }).run(program);
}

/// What a client was told and has said of its session, on one connection.
struct Ears {
    hand: ByHand,
    version: Version,
    /// How much of what was sent has been read.
    read: usize,
    connected: bool,
    packet_len_max: usize,
    receive_max: usize,
    /// What it has not acknowledged.
    unacknowledged: VecDeque<u16>,
    /// The answers that it waits for.
    asked: HashMap<(u8, u16), u32>,
    pings: u32,
    /// Whether it said bytes of which nobody knows what they ask for.
    said_anything: bool,
}

struct World {
    style: Style,
    mqtt: Mqtt,
    now: Instant,
    clients: [Option<Ears>; CLIENTS],
    connections: u32,
    /// What was heard on each connection, once it has ended.
    heard: Vec<Vec<u8>>,
}

impl World {
    fn new(style: Style) -> World {
        World {
            style,
            mqtt: Mqtt::new(STRICT, Secret([3; 16])),
            now: Instant::from_millis(1_000),
            clients: [const { None }; CLIENTS],
            connections: 0,
            heard: Vec::new(),
        }
    }

    /// What was heard on all connections, one after the other.
    fn run(mut self, mut input: Bytes<'_>) -> Vec<Vec<u8>> {
        for _ in 0..OPERATIONS_MAX {
            if input.is_empty() {
                break;
            }
            self.step(&mut input);
            self.check();
        }
        for at in 0..CLIENTS {
            self.lose(at);
        }
        for _ in 0..12 {
            self.pass(Duration::from_secs(100));
        }
        let usage = self.mqtt.usage();
        assert_eq!((usage.sessions, usage.subscriptions, usage.queued), (0, 0, 0));
        assert!(usage.message_bytes <= STRICT.retained_bytes_max, "nothing but what is retained");
        self.heard
    }

    fn step(&mut self, input: &mut Bytes<'_>) {
        let first = input.u8();
        let at = usize::from(first & 3);
        let version = if first & 4 == 0 { Version::V5 } else { Version::V311 };
        match first >> 3 {
            0 => {
                let span = Duration::from_millis(10) * u32::from(input.u16());
                self.pass(span);
            }
            1 => self.lose(at),
            2 => {
                // The peer closes its direction.
                self.call(at, |mqtt, hand, room| hand.call(room, |conn| mqtt.on_peer_close(conn)));
                self.settle();
            }
            3 => {
                let bytes = input.take_len(200).to_vec();
                self.open(at);
                if let Some(ears) = &mut self.clients[at] {
                    ears.said_anything = true;
                }
                self.say(at, &bytes);
            }
            4..9 => {
                let packet = connect(input, version);
                self.lose(at);
                self.open(at);
                self.told_connect(at, version, &packet);
                self.say(at, &packet);
            }
            _ => {
                // Several at once.
                let mut packets = Vec::new();
                for _ in 0..=first >> 6 {
                    packets.extend(self.packet(at, input));
                }
                self.say(at, &packets);
            }
        }
    }

    fn open(&mut self, at: usize) {
        if self.clients[at].is_some() {
            return;
        }
        let mut hand = ByHand::numbered(self.now, self.connections);
        self.connections += 1;
        self.mqtt_call(&mut hand, |mqtt, hand, room| hand.call(room, |conn| mqtt.on_open(conn)));
        self.clients[at] = Some(Ears {
            hand,
            version: Version::V5,
            read: 0,
            connected: false,
            packet_len_max: usize::MAX,
            receive_max: usize::MAX,
            unacknowledged: VecDeque::new(),
            asked: HashMap::new(),
            pings: 0,
            said_anything: false,
        });
    }

    /// Client `at` is about to say this CONNECT.
    fn told_connect(&mut self, at: usize, version: Version, packet: &[u8]) {
        let Some(ears) = &mut self.clients[at] else { return };
        ears.version = version;
        let frame = frame::split(packet, usize::MAX).ok().flatten();
        if let Some(Ok(connect)) = frame.map(|frame| codec::first(&frame)) {
            let properties = connect.properties;
            ears.packet_len_max =
                properties.maximum_packet_size.map_or(usize::MAX, |len| len as usize);
            ears.receive_max = properties.receive_maximum.map_or(usize::MAX, usize::from);
        }
    }

    fn mqtt_call(&mut self, hand: &mut ByHand, call: impl FnOnce(&mut Mqtt, &mut ByHand, usize)) {
        hand.pass_to(self.now);
        call(&mut self.mqtt, hand, self.style.room);
    }

    fn call(&mut self, at: usize, call: impl FnOnce(&mut Mqtt, &mut ByHand, usize)) {
        let Some(mut ears) = self.clients[at].take() else { return };
        if !ears.hand.is_closing() {
            self.mqtt_call(&mut ears.hand, call);
        }
        self.clients[at] = Some(ears);
    }

    /// Client `at` says `bytes`, and everybody hears what follows.
    fn say(&mut self, at: usize, bytes: &[u8]) {
        for piece in bytes.chunks(self.style.cut) {
            self.call(at, |mqtt, hand, room| hand.receive(mqtt, piece, room));
        }
        self.settle();
    }

    /// Until nothing moves: room where it is wanted, turns, and who was invited.
    fn settle(&mut self) {
        for _ in 0..2_000 {
            let mut invited: Vec<ConnId> = Vec::new();
            for at in 0..CLIENTS {
                if let Some(ears) = &mut self.clients[at] {
                    invited.extend(ears.hand.invited());
                }
            }
            if self.mqtt.next_turn().is_some_and(|due| due <= self.now) {
                invited.extend(turn(&mut self.mqtt, self.now));
            }
            let mut moved = !invited.is_empty();
            for at in 0..CLIENTS {
                let Some(ears) = &self.clients[at] else { continue };
                let is_invited = invited.contains(&ears.hand.id());
                if is_invited {
                    self.call(at, |mqtt, hand, room| hand.call(room, |conn| mqtt.on_room(conn)));
                }
                let Some(ears) = &self.clients[at] else { continue };
                if ears.hand.wants_room() && !ears.hand.is_closing() {
                    let before = ears.hand.sent().len();
                    self.call(at, |mqtt, hand, room| hand.receive(mqtt, b"", room));
                    let after = self.clients[at].as_ref().map(|ears| ears.hand.sent().len());
                    moved |= after != Some(before);
                }
                self.listen(at);
            }
            self.close_the_closed();
            if !moved {
                return;
            }
        }
        panic!("it goes on for ever");
    }

    /// Connections that the server closed are gone.
    fn close_the_closed(&mut self) {
        for at in 0..CLIENTS {
            if self.clients[at].as_ref().is_some_and(|ears| ears.hand.is_closing()) {
                self.lose(at);
            }
        }
    }

    /// The connection of client `at` ends.
    fn lose(&mut self, at: usize) {
        self.listen(at);
        let Some(ears) = self.clients[at].take() else { return };
        let (id, state) = (ears.hand.id(), ears.hand.state());
        self.mqtt.on_close(id, 0, state, CloseReason::ClosedByPeer);
        if !ears.connected {
            assert!(ears.read == ears.hand.sent().len(), "a whole CONNACK or none");
        }
        self.heard.push(ears.hand.sent().to_vec());
        self.settle();
    }

    /// Time passes, with every wake and every turn in it.
    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        for _ in 0..200 {
            let wakes = self.clients.iter().flatten().filter_map(|ears| ears.hand.wake_at());
            let Some(due) = wakes.chain(self.mqtt.next_turn()).min().filter(|due| *due <= end)
            else {
                break;
            };
            self.now = self.now.max(due);
            for at in 0..CLIENTS {
                let wake = self.clients[at].as_ref().and_then(|ears| ears.hand.wake_at());
                if wake.is_some_and(|wake| wake <= self.now) {
                    self.call(at, |mqtt, hand, room| hand.wake(mqtt, room));
                }
            }
            self.settle();
        }
        self.now = end;
        self.settle();
    }

    /// What client `at` hears keeps the rules.
    fn listen(&mut self, at: usize) {
        let Some(ears) = &mut self.clients[at] else { return };
        let rest = ears.hand.sent()[ears.read..].to_vec();
        let mut rest = &rest[..];
        while let Ok(Some(packet)) = frame::split(rest, usize::MAX) {
            assert!(packet.len <= ears.packet_len_max, "longer than the client takes");
            assert_eq!(packet.kind != Kind::Connack, ears.connected, "a CONNACK first and once");
            ears.connected = true;
            let identifier = |body: &[u8]| u16::from_be_bytes([body[0], body[1]]);
            match packet.kind {
                Kind::Connack | Kind::Disconnect => {}
                Kind::Publish => hear_message(ears, &packet),
                Kind::Pingresp | Kind::Puback | Kind::Pubcomp | Kind::Suback | Kind::Unsuback
                    if ears.said_anything => {}
                Kind::Pingresp => {
                    ears.pings = ears.pings.checked_sub(1).expect("an answer to a ping");
                }
                Kind::Puback | Kind::Pubcomp | Kind::Suback | Kind::Unsuback => {
                    let asked = (packet.kind as u8, identifier(packet.body));
                    let left = ears.asked.get_mut(&asked).expect("it was asked for");
                    *left = left.checked_sub(1).expect("as often as it was asked for");
                }
                other => panic!("{other:?} from a server"),
            }
            rest = &rest[packet.len..];
            ears.read += packet.len;
        }
        assert!(frame::split(rest, usize::MAX).is_ok(), "no packet is malformed");
    }

    fn check(&self) {
        let usage = self.mqtt.usage();
        assert!(usage.sessions <= STRICT.sessions_max as usize);
        assert!(usage.subscriptions <= STRICT.subscriptions_max);
        assert!(
            usage.queued <= STRICT.queues_max && usage.retained <= STRICT.retained_max as usize
        );
        assert!(usage.message_bytes <= STRICT.message_bytes_max, "{usage:?}");
        assert!(self.mqtt.next_turn().is_none_or(|due| due > self.now), "nothing is overdue");
    }

    /// A packet that client `at` says, which is nearly right; what it asks for is noted.
    fn packet(&mut self, at: usize, input: &mut Bytes<'_>) -> Vec<u8> {
        let Some(ears) = &mut self.clients[at] else { return Vec::new() };
        let version = ears.version;
        let [what, id] = input.array();
        let identifier = [0, id & 7];
        let mut ask =
            |kind: Kind| *ears.asked.entry((kind as u8, u16::from(id & 7))).or_default() += 1;
        match what & 15 {
            0 | 1 => {
                ask(Kind::Suback);
                let of_packet = match id & 0x30 {
                    0x10 => &[0x0b, 1 + (id >> 6)][..],
                    0x20 => &[0x26, 0, 1, b'k', 0, 1, b'v'],
                    _ => &[],
                };
                let mut body = [&identifier[..], &properties(version, of_packet)].concat();
                for _ in 0..=what >> 6 {
                    body.extend(string(filter(input)));
                    let options = input.u8();
                    body.push(if version == Version::V5 { options & 0x3d } else { options & 1 });
                }
                framed(0x82, &body)
            }
            2 => {
                ask(Kind::Unsuback);
                let body = [&identifier[..], &properties(version, &[]), &string(filter(input))];
                framed(0xa2, &body.concat())
            }
            3 => {
                // An acknowledgment that is due, or another.
                let due = ears.unacknowledged.pop_front().unwrap_or(u16::from(id));
                framed(0x40, &due.to_be_bytes())
            }
            4 => {
                let due = ears.unacknowledged.pop_back().unwrap_or(u16::from(id));
                framed(0x40, &due.to_be_bytes())
            }
            5 => {
                ears.pings += 1;
                framed(0xc0, &[])
            }
            6 => {
                ask(Kind::Pubcomp);
                framed(0x62, &identifier)
            }
            7 => {
                let expiry = [0x11, 0, 0, id >> 4, id];
                let body = match (version, id & 3) {
                    (Version::V311, _) | (_, 0) => Vec::new(),
                    (_, 1) => vec![0x04],
                    _ => [&[0x00][..], &properties(version, &expiry)].concat(),
                };
                framed(0xe0, &body)
            }
            8 => {
                ears.said_anything = true;
                framed(what & 0xf0 | id & 0x0f, input.take_len(64))
            }
            _ => {
                let qos = if what & 0x10 == 0 { 0 } else { 2 };
                if qos > 0 {
                    ask(Kind::Puback);
                }
                let topic = topic(input);
                let of_packet = match id >> 5 {
                    1 => vec![0x02, 0, 0, 0, id & 0x1f],
                    2 => vec![0x23, 0, id & 3],
                    3 => vec![0x01, 1, 0x26, 0, 1, b'k', 0, 1, b'v'],
                    4 => [&[0x03][..], &string(b"t"), &[0x08], &string(b"r"), &[0x09, 0, 1, 0xff]]
                        .concat(),
                    _ => Vec::new(),
                };
                let topic = if id >> 5 == 2 && what & 0x20 != 0 { b"" } else { topic };
                let identifier = if qos > 0 { &identifier[..] } else { &[] };
                let text =
                    vec![b'x'; usize::from(input.u8()) * if what & 0x40 == 0 { 1 } else { 11 }];
                let body = [&string(topic), identifier, &properties(version, &of_packet), &text];
                framed(0x30 | qos | what >> 7, &body.concat())
            }
        }
    }
}

/// A message: as many unacknowledged as the client takes, and no identifier twice.
fn hear_message(ears: &mut Ears, packet: &frame::Frame<'_>) {
    let topic_len = usize::from(u16::from_be_bytes([packet.body[0], packet.body[1]]));
    let (topic, rest) = packet.body[2..].split_at(topic_len);
    assert!(!topic.is_empty() && !topic.iter().any(|byte| b"+#\0".contains(byte)));
    let qos = packet.flags >> 1 & 3;
    assert!(qos <= 1 && (qos == 1 || packet.flags & 8 == 0));
    if qos == 1 && !ears.said_anything {
        let identifier = u16::from_be_bytes([rest[0], rest[1]]);
        assert!(identifier != 0 && !ears.unacknowledged.contains(&identifier), "{identifier}");
        ears.unacknowledged.push_back(identifier);
        let most = ears.receive_max.min(usize::from(INFLIGHT_MAX));
        assert!(ears.unacknowledged.len() <= most, "{} of {most}", ears.unacknowledged.len());
        let distinct: BTreeSet<_> = ears.unacknowledged.iter().collect();
        assert_eq!(distinct.len(), ears.unacknowledged.len());
    }
}

/// A CONNECT.
fn connect(input: &mut Bytes<'_>, version: Version) -> Vec<u8> {
    let [flags, bits, name] = input.array();
    let flags = flags & 0x36;
    let level = if version == Version::V311 { 4 } else { 5 };
    let keep_alive = if bits & 1 == 0 { 0 } else { input.u8() };
    let mut of_packet = Vec::new();
    if bits & 2 != 0 {
        of_packet.extend([0x11, 0, 0, input.u8() & 3, 9]);
    }
    if bits & 4 != 0 {
        of_packet.extend([0x21, 0, input.u8() & 7]);
    }
    if bits & 8 != 0 {
        of_packet.extend([0x27, 0, 0, input.u8() & 3, input.u8()]);
    }
    let name = match name {
        0 => Vec::new(),
        name => vec![NAMES[usize::from(name) % NAMES.len()]],
    };
    let mut body = [&b"\x00\x04MQTT"[..], &[level, flags, 0, keep_alive]].concat();
    body.extend(properties(version, &of_packet));
    body.extend(string(&name));
    if flags & 4 != 0 {
        let of_will = if bits & 16 == 0 { Vec::new() } else { vec![0x18, 0, 0, 0, input.u8()] };
        body.extend(properties(version, &of_will));
        body.extend(string(topic(input)));
        body.extend(string(&vec![b'w'; usize::from(input.u8())]));
    }
    framed(0x10, &body)
}

fn filter(input: &mut Bytes<'_>) -> &'static [u8] {
    input.choose(&[
        b"a",
        b"a/b",
        b"#",
        b"a/+",
        b"+/b",
        b"+",
        b"a/#",
        b"$x",
        b"$share/g/a",
        b"a/b#",
        b"/",
        b"b",
    ])
}

fn topic(input: &mut Bytes<'_>) -> &'static [u8] {
    input.choose(&[b"a", b"a/b", b"c/b", b"/", b"$x", b"a", b"a/b", b"a/+", b"a/b/c/d/e/f/g/h"])
}

fn string(text: &[u8]) -> Vec<u8> {
    [&u16::try_from(text.len()).expect("short").to_be_bytes(), text].concat()
}

fn properties(version: Version, bytes: &[u8]) -> Vec<u8> {
    match version {
        Version::V311 => Vec::new(),
        Version::V5 => [&[u8::try_from(bytes.len()).expect("short")], bytes].concat(),
    }
}

fn framed(first: u8, body: &[u8]) -> Vec<u8> {
    let mut header = Writer::new();
    header.u8(first);
    header.varint(u32::try_from(body.len()).expect("it is short"));
    [header.bytes(), body].concat()
}
