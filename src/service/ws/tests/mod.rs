//! The service case by case: rules, limits, and what it does when nothing comes.
//!
//! - `model`: what it should say, and that it does, whatever comes

mod model;

use super::*;
use crate::service::by_hand::ByHand;
use crate::time::Instant;
use model::{Event, Said, Sent, agrees, model};

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

    fn takes_pushes(&self) -> bool {
        self.service.takes_pushes(0, &self.conn.state)
    }

    /// Ends the connection; what was sent.
    fn end(mut self) -> Said {
        let reason = self.conn.asked.reason.unwrap_or(CloseReason::ClosedByUs);
        self.service.on_close(self.conn.id, 0, self.conn.state, reason);
        assert_eq!(self.service.messages(), 0, "nothing is left of a connection");
        Said::read(&self.conn.sent, self.conn.asked.closing)
    }
}

const LEN_MAX: usize = 220;

fn setup() -> Setup {
    Setup { message_len_max: u64::try_from(LEN_MAX).unwrap(), ..Setup::default() }
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
        assert!(fed.takes_pushes() || fed.service.messages() == 1);
    }
    assert!(fed.takes_pushes());
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
        // The counter has the code in its name.
        let code = u16::from_be_bytes([answer[answer.len() - 2], answer[answer.len() - 1]]);
        let (mut counted, name) = (0, format!("ws_{code}"));
        fed.service.events(&mut |event, count| counted += if event == name { count } else { 0 });
        assert_eq!(counted, u64::from(reason.is_some()), "{name}");
        assert!(!fed.takes_pushes());
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
fn half_a_refusal_is_not_sent() {
    let mut fed = Fed::connected(setup());
    fed.conn.wake(&mut fed.service, Refusal::Timeout.answer().len() - 1);
    assert_eq!((fed.conn.sent.len(), fed.conn.asked.reason), (0, Some(CloseReason::Idle)));
}

#[test]
fn a_refused_request_is_answered_once() {
    let mut fed = Fed::connected(setup());
    fed.feed(b"POST / HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\n", ROOM);
    assert_eq!(fed.conn.sent, Refusal::Method.answer().as_bytes());
    assert_eq!(fed.conn.asked.reason, Some(CloseReason::ProtocolError));
    assert!(fed.rest.is_empty());
}

#[test]
fn half_a_frame_is_not_waited_for_for_ever() {
    let ping = Sent::new(true, Opcode::Ping, b"hello").bytes();
    for len in 1..ping.len() {
        let mut fed = Fed::open(setup());
        let feed = |fed: &mut Fed, bytes: &[u8], after: u64| {
            fed.conn.pass_to(fed.conn.now + Duration::from_secs(after));
            fed.feed(bytes, ROOM);
        };
        feed(&mut fed, &ping[..len], 500);
        feed(&mut fed, &ping[len..], 59);
        // The wake comes all the same, and finds nothing wrong.
        fed.conn.wake(&mut fed.service, ROOM);
        assert!(!fed.conn.asked.closing, "{len}");
        feed(&mut fed, &ping[..1], 100);
        feed(&mut fed, &ping[1..len], 59);
        fed.conn.wake(&mut fed.service, ROOM);
        assert!(fed.conn.asked.aborting, "{len}");
        assert_eq!(fed.conn.asked.reason, Some(CloseReason::HeartbeatMissed));
    }
    // The payload of a message may take its time: nothing of it is kept.
    let mut fed = Fed::open(setup());
    fed.feed(&Sent::new(true, Opcode::Text, b"hello").bytes()[..7], ROOM);
    assert_eq!(fed.conn.wake, None);
}
