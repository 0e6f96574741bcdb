//! The service against a plain model, with frames right and wrong, in any pieces and with any room;
//! and what it does when nothing comes.

use super::frame::Mask;
use super::*;
use crate::service::by_hand::ByHand;
use crate::time::Instant;
use proptest::prelude::*;

const REQUEST: &[u8] =
    b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// Room for all that is sent in one call.
const ROOM: usize = 1 << 17;

/// A connection that is fed and drained by hand.
struct Fed {
    service: WebSocket,
    conn: ByHand,
    /// What was not consumed.
    rest: Vec<u8>,
}

impl Fed {
    /// One that has just connected.
    fn connected(setup: Setup) -> Fed {
        let mut service = WebSocket::new(&setup);
        let mut conn = ByHand::new(Instant::from_millis(5_000));
        conn.call(0, |conn| service.on_open(conn));
        Fed { service, conn, rest: Vec::new() }
    }

    /// One that is open.
    fn open(setup: Setup) -> Fed {
        let mut fed = Fed::connected(setup);
        fed.feed(REQUEST, ROOM);
        assert!(fed.conn.sent.starts_with(b"HTTP/1.1 101 "));
        fed.conn.sent.clear();
        fed
    }

    /// Gives the service `bytes` behind what it did not consume, and again until it waits for more.
    fn feed(&mut self, bytes: &[u8], room: usize) {
        self.rest.extend_from_slice(bytes);
        while !self.conn.asked.closing && !self.rest.is_empty() {
            let sent = self.conn.sent.len();
            let consumed = self.conn.feed(&mut self.service, &self.rest, room);
            self.rest.drain(..consumed);
            if consumed == 0 && self.conn.sent.len() == sent {
                break;
            }
        }
    }

    /// Ends the connection; what was sent.
    fn end(mut self) -> Said {
        let reason = self.conn.asked.reason.unwrap_or(CloseReason::ClosedByUs);
        self.service.on_close(self.conn.id, 0, self.conn.state, reason);
        assert_eq!(self.service.messages(), 0, "nothing is left of a connection");
        Said::read(&self.conn.sent, self.conn.asked.closing)
    }
}

/// One thing that is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    Message(Kind, Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>),
}

/// What the service said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Said {
    events: Vec<Event>,
    /// The message that did not end.
    begun: Option<(Kind, Vec<u8>)>,
    is_closed: bool,
}

impl Said {
    /// Reads a server's frames as a client does that takes nothing for granted.
    fn read(mut bytes: &[u8], is_closed: bool) -> Said {
        let mut said = Said { is_closed, ..Said::default() };
        while !bytes.is_empty() {
            let (header, at) = Header::parse(bytes).unwrap().expect("a whole header");
            assert_eq!(header.mask, None, "section 5.1: a server must not mask");
            let end = at + usize::try_from(header.len).unwrap();
            let payload = bytes[at..end].to_vec();
            bytes = &bytes[end..];
            let mut message = match (header.opcode, said.begun.take()) {
                (Opcode::Text, None) => (Kind::Text, vec![]),
                (Opcode::Binary, None) => (Kind::Binary, vec![]),
                (Opcode::Continuation, Some(begun)) => begun,
                (Opcode::Close, begun) => {
                    assert!(bytes.is_empty() && is_closed, "nothing follows a close frame");
                    let code = payload.try_into().ok().map(u16::from_be_bytes);
                    said.events.push(Event::Close(code));
                    said.begun = begun;
                    break;
                }
                (Opcode::Pong, begun) => {
                    said.events.push(Event::Pong(payload));
                    said.begun = begun;
                    continue;
                }
                (opcode, begun) => panic!("{opcode:?} after {begun:?}"),
            };
            message.1.extend(payload);
            match header.fin {
                true => said.events.push(Event::Message(message.0, message.1)),
                false => said.begun = Some(message),
            }
        }
        said
    }
}

/// A frame as a client might send it.
#[derive(Clone, Debug)]
struct Sent {
    fin: bool,
    number: u8,
    mask: Option<[u8; 4]>,
    payload: Vec<u8>,
    /// Bits that are set besides.
    reserved: u8,
}

impl Sent {
    fn new(fin: bool, opcode: Opcode, payload: &[u8]) -> Sent {
        let mask = Some([0x37, 0xfa, 0x21, 0x3d]);
        Sent { fin, number: opcode as u8, mask, payload: payload.to_vec(), reserved: 0 }
    }

    fn bytes(&self) -> Vec<u8> {
        let len = u64::try_from(self.payload.len()).unwrap();
        let mask = self.mask.map(Mask);
        let mut header = [0; HEADER_LEN_MAX];
        let header_len =
            Header { fin: self.fin, opcode: Opcode::Continuation, mask, len }.emit(&mut header);
        header[0] |= self.number | self.reserved;
        let mut masked = vec![0; self.payload.len()];
        let _ = mask.unwrap_or_default().apply(&self.payload, &mut masked);
        [&header[..header_len], &masked].concat()
    }

    /// Whether no rule of section 5 is broken by the frame alone.
    fn is_right(&self) -> bool {
        let is_control = self.number >= 8;
        self.reserved == 0
            && self.mask.is_some()
            && matches!(self.number, 0..=2 | 8..=10)
            && (!is_control || self.fin && self.payload.len() <= 125)
    }
}

/// What the documentation says, for whole frames.
fn model(frames: &[Sent], len_max: usize) -> Said {
    let mut said = Said::default();
    let close = |said: &mut Said, code| {
        said.events.push(Event::Close(code));
        said.is_closed = true;
    };
    for frame in frames {
        let failure = match (frame.number, &mut said.begun) {
            _ if !frame.is_right() => Some(1002),
            (8, _) => {
                let code = match frame.payload[..] {
                    [] => None,
                    [_] => Some(1002),
                    [a, b, ref reason @ ..] => {
                        let code = u16::from_be_bytes([a, b]);
                        let is_right = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
                        let is_text = core::str::from_utf8(reason).is_ok();
                        Some(if !is_right {
                            1002
                        } else if !is_text {
                            1007
                        } else {
                            code
                        })
                    }
                };
                close(&mut said, code);
                return said;
            }
            (9, _) => {
                said.events.push(Event::Pong(frame.payload.clone()));
                None
            }
            (10, _) => None,
            (0, None) | (1 | 2, Some(_)) => Some(1002),
            (number, begun) => {
                let kind = if number == 1 { Kind::Text } else { Kind::Binary };
                let (kind, message) = begun.get_or_insert((kind, vec![]));
                message.extend_from_slice(&frame.payload);
                let utf8 = core::str::from_utf8(message);
                let is_wrong = utf8.is_err_and(|error| frame.fin || error.error_len().is_some());
                match kind {
                    _ if message.len() > len_max => Some(1009),
                    Kind::Text if is_wrong => Some(1007),
                    _ => None,
                }
            }
        };
        if failure.is_some() {
            close(&mut said, failure);
            return said;
        }
        if frame.fin
            && frame.number < 8
            && let Some((kind, message)) = said.begun.take()
        {
            said.events.push(Event::Message(kind, message));
        }
    }
    said
}

/// Whether `said` is what `model` says: of a message that did not end it may have said less.
fn agrees(said: &Said, model: &Said) -> bool {
    let is_part = match (&said.begun, &model.begun) {
        (None, _) => true,
        (Some((kind, begun)), Some((other, whole))) => kind == other && whole.starts_with(begun),
        (Some(_), None) => false,
    };
    said.events == model.events && said.is_closed == model.is_closed && is_part
}

const LEN_MAX: usize = 220;

fn setup() -> Setup {
    Setup { message_len_max: u64::try_from(LEN_MAX).unwrap(), ..Setup::default() }
}

/// A payload that is a text more often than not, and often cut in a character.
fn payloads(len_max: usize) -> impl Strategy<Value = Vec<u8>> {
    let text = proptest::collection::vec(any::<char>(), 0..len_max / 3).prop_map(move |text| {
        let mut text = String::from_iter(text).into_bytes();
        text.truncate(len_max);
        text
    });
    prop_oneof![
        3 => "[ -~]{0,20}".prop_map(String::into_bytes),
        2 => text,
        1 => proptest::collection::vec(any::<u8>(), 0..len_max),
    ]
}

fn close_payloads() -> impl Strategy<Value = Vec<u8>> {
    let codes = prop_oneof![990u16..1020, 2990u16..3010, 4990u16..5010];
    let whole = (codes, payloads(100)).prop_map(|(code, mut reason)| {
        reason.splice(..0, code.to_be_bytes());
        reason
    });
    prop_oneof![Just(vec![]), Just(vec![3]), whole]
}

/// Frames that are mostly right, and messages that mostly continue as they should.
fn frames() -> impl Strategy<Value = Vec<Sent>> {
    let part = |fin, number| {
        (Just(fin), Just(number), payloads(150))
            .prop_map(|(fin, number, payload)| (fin, number, payload))
    };
    let ping =
        proptest::collection::vec(any::<u8>(), 0..126).prop_map(|payload| (true, 9, payload));
    let one = prop_oneof![
        4 => part(true, 1), 2 => part(false, 1), 2 => part(true, 2), 2 => part(false, 2),
        6 => part(true, 0), 4 => part(false, 0), 3 => ping, 1 => part(true, 10).prop_map(|(fin, number, mut payload)| {
            payload.truncate(125);
            (fin, number, payload)
        }),
        1 => close_payloads().prop_map(|payload| (true, 8, payload)),
        1 => (any::<bool>(), 0u8..16, payloads(300)),
    ];
    let masked =
        (one, any::<[u8; 4]>(), 0u8..60).prop_map(|((fin, number, payload), mask, luck)| {
            let mask = (luck != 0).then_some(mask);
            let reserved = if luck == 1 { 0x40 } else { 0 };
            Sent { fin, number, mask, payload, reserved }
        });
    proptest::collection::vec(masked, 1..10)
}

proptest! {
    #[test]
    fn any_cuts_and_any_room_give_what_the_model_says(
        frames in frames(),
        cuts in proptest::collection::vec(1usize..60, 1..20),
        rooms in proptest::collection::vec(0usize..300, 0..20),
    ) {
        let input: Vec<_> = frames.iter().flat_map(Sent::bytes).collect();
        let mut fed = Fed::open(setup());
        let mut rooms = rooms.into_iter().chain([127]).cycle();
        let mut cuts = cuts.into_iter().cycle();
        let mut rest = &input[..];
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(cuts.next().unwrap().min(rest.len()));
            fed.feed(piece, rooms.next().unwrap());
            rest = later;
        }
        fed.feed(b"", 127);
        let model = model(&frames, LEN_MAX);
        prop_assert!(fed.conn.asked.closing || fed.rest.is_empty() || fed.rest.len() <= 131);
        let said = fed.end();
        prop_assert!(agrees(&said, &model), "{:?}\n{:?}", said, model);
    }

    #[test]
    fn whole_frames_with_room_are_sent_back_as_they_came(frames in frames()) {
        let mut fed = Fed::open(setup());
        for frame in &frames {
            fed.feed(&frame.bytes(), ROOM);
        }
        let sent = fed.conn.sent.clone();
        let said = fed.end();
        let model = model(&frames, LEN_MAX);
        prop_assert!(agrees(&said, &model), "{:?}\n{:?}", said, model);
        // Frame for frame, but for empty ones that end nothing.
        let count = |bytes: &[u8]| {
            let (mut at, mut count) = (0, 0);
            while at < bytes.len() {
                let (header, len) = Header::parse(&bytes[at..]).unwrap().unwrap();
                at += len + usize::try_from(header.len).unwrap();
                count += 1;
            }
            count
        };
        prop_assert!(count(&sent) <= frames.len());
    }
}

#[test]
fn every_pair_of_cuts_of_a_mixed_input() {
    let frames = [
        Sent::new(true, Opcode::Text, b"Hello"),
        Sent::new(false, Opcode::Text, "\u{20ac}".as_bytes()),
        Sent::new(true, Opcode::Ping, b"still there?"),
        Sent::new(false, Opcode::Continuation, b""),
        Sent::new(true, Opcode::Continuation, "\u{1f980}".as_bytes()),
        Sent::new(true, Opcode::Binary, b""),
        Sent::new(true, Opcode::Pong, b""),
        Sent::new(true, Opcode::Binary, &[7; 200]),
        Sent::new(true, Opcode::Close, b"\x03\xe9away"),
    ];
    let input: Vec<_> =
        REQUEST.iter().copied().chain(frames.iter().flat_map(Sent::bytes)).collect();
    let expected = model(&frames, LEN_MAX);
    let answer_len = handshake::ANSWER_LEN;
    for a in 0..input.len() {
        for b in (a..input.len()).step_by(7) {
            let mut fed = Fed::connected(setup());
            for piece in [&input[..a], &input[a..b], &input[b..]] {
                fed.feed(piece, 256);
            }
            let answer: Vec<_> = fed.conn.sent.drain(..answer_len).collect();
            assert!(answer.starts_with(b"HTTP/1.1 101 "));
            let said = fed.end();
            assert!(agrees(&said, &expected), "cut at {a} and {b}: {said:?}");
        }
    }
}

#[test]
fn a_message_longer_than_any_room_comes_back_whole() {
    let payload: Vec<_> = (0..300_000u32).map(|n| n.to_le_bytes()[0]).collect();
    let bytes = Sent::new(true, Opcode::Binary, &payload).bytes();
    let mut fed = Fed::open(Setup::default());
    for piece in bytes.chunks(1_460) {
        fed.feed(piece, 2_900);
        assert!(fed.rest.is_empty(), "nothing need be kept");
        assert!(WebSocket::may_push(fed.conn.state) || fed.service.messages() == 1);
    }
    assert!(WebSocket::may_push(fed.conn.state));
    let said = fed.end();
    assert_eq!(said.events, [Event::Message(Kind::Binary, payload)]);
}

#[test]
fn a_peer_that_closes_is_answered_with_its_code_and_one_that_fails_with_ours() {
    for (frame, answer, reason) in [
        (Sent::new(true, Opcode::Close, b"\x03\xe8"), &b"\x88\x02\x03\xe8"[..], None),
        (Sent::new(true, Opcode::Close, b""), b"\x88\x00", None),
        (
            Sent::new(true, Opcode::Close, b"\x03\xee"),
            b"\x88\x02\x03\xea",
            Some(CloseReason::ProtocolError),
        ),
        (
            Sent::new(true, Opcode::Text, b"\xff"),
            b"\x88\x02\x03\xef",
            Some(CloseReason::ProtocolError),
        ),
        (
            Sent::new(true, Opcode::Binary, &[0; LEN_MAX + 1]),
            b"\x88\x02\x03\xf1",
            Some(CloseReason::ProtocolError),
        ),
    ] {
        let mut fed = Fed::open(setup());
        fed.feed(&[frame.bytes(), b"what follows is ignored".to_vec()].concat(), ROOM);
        assert_eq!(fed.conn.sent, answer, "{frame:?}");
        assert_eq!((fed.conn.asked.closing, fed.conn.asked.reason), (true, reason));
        assert!(fed.rest.is_empty());
        let failed = usize::from(reason.is_some());
        assert_eq!(fed.service.counts().failed.iter().sum::<u64>(), u64::try_from(failed).unwrap());
        assert!(!WebSocket::may_push(fed.conn.state));
    }
}

#[test]
fn rules_hold_over_all_frames_of_a_message() {
    let half = [b'x'; LEN_MAX / 2 + 1];
    for (frames, code) in [
        (
            [Sent::new(false, Opcode::Text, &half), Sent::new(true, Opcode::Continuation, &half)],
            1009,
        ),
        (
            [
                Sent::new(false, Opcode::Text, b"\xe2\x82"),
                Sent::new(true, Opcode::Continuation, b""),
            ],
            1007,
        ),
        (
            [
                Sent::new(false, Opcode::Text, b"\xe2\x82"),
                Sent::new(true, Opcode::Continuation, b"x"),
            ],
            1007,
        ),
        ([Sent::new(false, Opcode::Text, b"x"), Sent::new(true, Opcode::Text, b"y")], 1002),
        ([Sent::new(false, Opcode::Binary, b"x"), Sent::new(true, Opcode::Text, b"y")], 1002),
        (
            [Sent::new(true, Opcode::Binary, b"x"), Sent::new(true, Opcode::Continuation, b"y")],
            1002,
        ),
        ([Sent::new(true, Opcode::Pong, b""), Sent::new(true, Opcode::Text, b"\xe2\x82")], 1007),
    ] {
        let mut fed = Fed::open(setup());
        frames.iter().for_each(|frame| fed.feed(&frame.bytes(), ROOM));
        let said = fed.end();
        assert_eq!(said.events.last(), Some(&Event::Close(Some(code))), "{frames:?}");
        assert!(agrees(&said, &model(&frames, LEN_MAX)));
    }
}

#[test]
fn an_empty_frame_that_ends_nothing_is_not_sent_back_and_takes_no_place_without_room() {
    let mut fed = Fed::open(setup());
    fed.feed(&Sent::new(false, Opcode::Binary, b"").bytes(), PIECE_HEADER_LEN);
    assert_eq!((fed.service.messages(), fed.rest.len()), (0, 6));
    fed.feed(b"", ROOM);
    assert_eq!((fed.service.messages(), fed.rest.len(), fed.conn.sent.len()), (1, 0, 0));
    fed.feed(&Sent::new(true, Opcode::Continuation, b"end").bytes(), ROOM);
    assert_eq!(fed.conn.sent, b"\x82\x03end");
}

#[test]
fn without_room_for_an_answer_nothing_is_lost() {
    let mut fed = Fed::connected(setup());
    fed.feed(REQUEST, handshake::ANSWER_LEN - 1);
    assert_eq!((fed.rest.len(), fed.conn.sent.len()), (REQUEST.len(), 0));
    fed.feed(b"", handshake::ANSWER_LEN);
    assert_eq!((fed.rest.len(), fed.conn.sent.len()), (0, handshake::ANSWER_LEN));
    fed.conn.sent.clear();
    for (frame, answer_len) in [
        (Sent::new(true, Opcode::Ping, b"12345"), 7),
        (Sent::new(true, Opcode::Text, b"\xff"), 5),
        (Sent::new(true, Opcode::Close, b"\x03\xe8"), 4),
    ] {
        fed.feed(&frame.bytes(), answer_len - 1);
        assert!(!fed.conn.asked.closing && fed.conn.sent.is_empty(), "{frame:?}");
        fed.feed(b"", answer_len);
        assert!(!fed.conn.sent.is_empty(), "{frame:?}");
        fed = Fed::open(setup());
    }
}

#[test]
fn when_as_many_messages_have_begun_as_there_is_room_for_another_is_refused() {
    let mut fed = Fed::open(Setup { messages_max: 1, ..setup() });
    let begin = Sent::new(false, Opcode::Binary, b"begun").bytes();
    fed.feed(&begin, ROOM);
    let mut other = ByHand::new(fed.conn.now);
    other.feed(&mut fed.service, REQUEST, ROOM);
    other.sent.clear();
    let whole = Sent::new(true, Opcode::Binary, b"whole").bytes();
    other.feed(&mut fed.service, &whole, ROOM);
    assert!(!other.asked.closing, "whole messages need no room");
    other.feed(&mut fed.service, &begin, ROOM);
    assert_eq!(other.asked.reason, Some(CloseReason::ProtocolError));
    let said = Said::read(&other.sent, true);
    assert_eq!(said.events.last(), Some(&Event::Close(Some(1013))));
    fed.service.on_close(other.id, 0, other.state, CloseReason::ProtocolError);
    fed.feed(&Sent::new(true, Opcode::Continuation, b"").bytes(), ROOM);
    assert_eq!(fed.end().events, [Event::Message(Kind::Binary, b"begun".to_vec())]);
}

#[test]
fn a_silent_client_is_pinged_and_then_given_up() {
    let period = Duration::from_secs(30);
    let mut fed = Fed::open(Setup { heartbeat: Some(period), ..setup() });
    let opened = fed.conn.now;
    fed.conn.now = opened + Duration::from_secs(20);
    fed.feed(&Sent::new(true, Opcode::Pong, b"").bytes(), ROOM);
    let heard = fed.conn.now;
    assert_eq!(fed.conn.wake, Some(opened + period), "what is heard moves no wake");
    fed.conn.wake(&mut fed.service, ROOM);
    assert!(fed.conn.sent.is_empty());
    for n in 1..3 {
        fed.conn.wake(&mut fed.service, ROOM);
        assert_eq!(fed.conn.now, heard + period * n);
        assert_eq!(fed.conn.sent, b"\x89\x00".repeat(usize::try_from(n).unwrap()));
    }
    fed.conn.wake(&mut fed.service, ROOM);
    assert_eq!(fed.conn.now, heard + period * 3);
    assert!(fed.conn.asked.aborting);
    assert_eq!(fed.conn.asked.reason, Some(CloseReason::HeartbeatMissed));
    assert_eq!((fed.service.counts().pings, fed.service.counts().silent), (2, 1));
}

#[test]
fn without_a_period_an_open_connection_is_not_woken() {
    let fed = Fed::open(Setup::default());
    assert_eq!(fed.conn.wake, None);
    for query in ["", "heartbeat=0", "heartbeat=off"] {
        let setup = Setup::parse(&mut Settings::parse(query).unwrap());
        assert_eq!(setup, Ok(Setup::default()), "{query}");
    }
    let query = "heartbeat=30s&message-max=1000&messages-max=7";
    let set = Setup::parse(&mut Settings::parse(query).unwrap()).unwrap();
    let heartbeat = Some(Duration::from_secs(30));
    assert_eq!(set, Setup { heartbeat, message_len_max: 1_000, messages_max: 7 });
    for bad in ["heartbeat=30", "heartbeat=1ms", "heartbeat=1y", "message-max=-1"] {
        assert!(Setup::parse(&mut Settings::parse(bad).unwrap()).is_err(), "{bad}");
    }
}

#[test]
fn a_request_that_does_not_come_in_time_is_refused() {
    let mut fed = Fed::connected(setup());
    let opened = fed.conn.now;
    fed.feed(&REQUEST[..50], ROOM);
    fed.conn.wake(&mut fed.service, ROOM);
    assert_eq!(fed.conn.now, opened + HANDSHAKE_TIMEOUT);
    assert_eq!(fed.conn.sent, Refusal::Timeout.answer().as_bytes());
    assert_eq!(fed.conn.asked.reason, Some(CloseReason::Idle));
    assert_eq!(fed.service.counts().refused[Refusal::Timeout as usize], 1);
}

#[test]
fn a_refused_request_is_answered_once() {
    let mut fed = Fed::connected(setup());
    fed.feed(b"POST / HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\n", ROOM);
    assert_eq!(fed.conn.sent, Refusal::Method.answer().as_bytes());
    assert_eq!(fed.conn.asked.reason, Some(CloseReason::ProtocolError));
    assert!(fed.rest.is_empty());
}
