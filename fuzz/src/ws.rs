//! Any bytes as a WebSocket client's, in any pieces and with any room: nothing panics, stays behind or is
//! stuck, and pieces are answered as the whole is.

use super::bytes::Bytes;
use tenmil::service::Service;
use tenmil::service::by_hand::ByHand;
use tenmil::service::ws::frame::{HEADER_LEN_MAX, Header, Mask, Opcode};
use tenmil::service::ws::{Setup, WebSocket};
use tenmil::tcp::CloseReason;
use tenmil::time::{Duration, Instant};

/// More than anything that is sent in one call.
const ENOUGH: usize = 65_535;

/// The longest that is waited for: a request head.
const HEAD_LEN_MAX: usize = 8 * 1024;

const REQUEST: &[u8] =
    b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// A connection of a service.
struct Peer {
    service: WebSocket,
    hand: ByHand,
}

impl Peer {
    fn new(setup: &Setup) -> Peer {
        let mut service = WebSocket::new(setup);
        let mut hand = ByHand::new(Instant::from_millis(1_000_000));
        hand.call(ENOUGH, |conn| service.on_open(conn));
        Peer { service, hand }
    }

    fn receive(&mut self, bytes: &[u8], room: usize) {
        self.hand.receive(&mut self.service, bytes, room);
    }

    /// What was said in all; nothing stays behind.
    fn end(mut self) -> Said {
        self.receive(b"", ENOUGH);
        let is_stuck = self.hand.unread().len() >= HEAD_LEN_MAX && !self.hand.is_closing();
        assert!(!is_stuck, "with room something is done");
        let (id, state) = (self.hand.id(), self.hand.state());
        self.service.on_close(id, 0, state, CloseReason::ClosedByPeer);
        assert_eq!(self.service.messages(), 0);
        Said::read(&self.hand)
    }
}

/// What a service said.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    /// The answer to the request.
    answer: Vec<u8>,
    /// Pongs, closes and whole messages.
    whole: Vec<(Opcode, Vec<u8>)>,
    /// A message that has not ended.
    begun: Option<(Opcode, Vec<u8>)>,
    is_closing: bool,
    unread: Vec<u8>,
}

impl Said {
    fn read(hand: &ByHand) -> Said {
        let end = hand.sent().windows(4).position(|end| end == b"\r\n\r\n");
        let (answer, mut frames) = hand.sent().split_at(end.map_or(0, |end| end + 4));
        let (mut whole, mut begun) = (Vec::new(), None);
        while !frames.is_empty() {
            let (header, at) = Header::parse(frames).expect("right").expect("whole");
            assert_eq!(header.mask, None);
            let (payload, rest) =
                frames[at..].split_at(usize::try_from(header.len).expect("short"));
            frames = rest;
            let (opcode, mut message) = match (header.opcode, begun.take()) {
                (Opcode::Continuation, Some(begun)) => begun,
                (Opcode::Text | Opcode::Binary, None) => (header.opcode, Vec::new()),
                (Opcode::Ping, other) => {
                    begun = other;
                    continue;
                }
                (Opcode::Pong | Opcode::Close, other) => {
                    begun = other;
                    assert!(header.opcode == Opcode::Pong || frames.is_empty());
                    whole.push((header.opcode, payload.to_vec()));
                    continue;
                }
                wrong => panic!("{wrong:?}"),
            };
            message.extend_from_slice(payload);
            match header.fin {
                true => {
                    let is_text = core::str::from_utf8(&message).is_ok();
                    assert!(is_text || opcode == Opcode::Binary, "a text is one");
                    whole.push((opcode, message));
                }
                false => begun = Some((opcode, message)),
            }
        }
        let unread = if hand.is_closing() { Vec::new() } else { hand.unread().to_vec() };
        Said { answer: answer.to_vec(), whole, begun, is_closing: hand.is_closing(), unread }
    }
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let mut input = Bytes(data);
    let flags = input.u8();
    let heartbeat = (flags & 1 != 0).then_some(Duration::from_secs(1));
    let setup = Setup { heartbeat, message_len_max: 1_000, messages_max: 1 };
    if flags & 2 != 0 {
        return anything(&setup, input);
    }
    let cuts: [u8; 8] = input.array();
    let rooms: [u8; 4] = input.array();
    let bytes = match flags >> 2 & 3 {
        0 => input.0.to_vec(),
        1 => [REQUEST, input.0].concat(),
        _ => [REQUEST, &frames(input)].concat(),
    };
    same_in_pieces(&setup, &bytes, cuts, rooms);
}

/// The pieces of an input are answered as the whole is, but for where frames begin and end.
fn same_in_pieces(setup: &Setup, bytes: &[u8], cuts: [u8; 8], rooms: [u8; 4]) {
    let mut whole = Peer::new(setup);
    whole.receive(bytes, ENOUGH);
    let mut pieces = Peer::new(setup);
    let mut rest = bytes;
    for (at, cut) in cuts.iter().enumerate() {
        let (piece, later) = rest.split_at(rest.len().min(usize::from(*cut)));
        pieces.receive(piece, usize::from(rooms[at % rooms.len()]) * 4);
        rest = later;
    }
    pieces.receive(rest, ENOUGH);
    let [mut said, mut expected] = [pieces.end(), whole.end()];
    if expected.is_closing {
        // How much of it was said depends on how much had come before what was wrong.
        (said.begun, expected.begun) = (None, None);
    }
    assert_eq!(said, expected);
}

/// Frames as `input` says, which keep most rules.
fn frames(mut input: Bytes<'_>) -> Vec<u8> {
    let mut frames = Vec::new();
    while !input.is_empty() {
        let first = input.u8();
        let mask = Mask(input.array());
        let payload = input.take_len(if first & 8 == 0 { 600 } else { 130 });
        let len = u64::try_from(payload.len()).expect("short");
        let mut header = [0; HEADER_LEN_MAX];
        let at =
            Header { fin: true, opcode: Opcode::Text, mask: Some(mask), len }.emit(&mut header);
        header[0] = first;
        frames.extend_from_slice(&header[..at]);
        let mut masked = vec![0; payload.len()];
        let _ = mask.apply(payload, &mut masked);
        frames.extend(masked);
    }
    frames
}

/// Pieces, wakes and the peer's close in any order, on two connections that share what there is room for.
fn anything(setup: &Setup, mut input: Bytes<'_>) {
    let mut service = WebSocket::new(setup);
    let is_open = input.bool();
    let mut count = 0;
    let mut open = |service: &mut WebSocket| {
        let mut hand = ByHand::numbered(Instant::from_millis(1_000_000), count);
        count += 1;
        hand.call(ENOUGH, |conn| service.on_open(conn));
        if is_open {
            hand.receive(service, REQUEST, ENOUGH);
        }
        hand
    };
    let mut hands = [open(&mut service), open(&mut service)];
    while !input.is_empty() {
        let [what, room] = input.array();
        let (hand, room) = (&mut hands[usize::from(what >> 3 & 1)], usize::from(room) * 4);
        match what & 7 {
            0 if hand.wake_at().is_some() => hand.wake(&mut service, room),
            1 => hand.call(room, |conn| service.on_peer_close(conn)),
            2..5 => hand.receive(&mut service, input.take_len(300), room),
            _ => {
                let part = Bytes(input.take_len(300));
                hand.receive(&mut service, &frames(part), room);
            }
        }
        if service.takes_pushes(0, &hand.state()) {
            // Nothing that is pushed comes into the middle of a message.
            assert_eq!(Said::read(hand).begun, None);
        }
        if hand.is_closing() {
            service.on_close(hand.id(), 0, hand.state(), CloseReason::ClosedByPeer);
            Said::read(hand);
            *hand = open(&mut service);
        }
    }
    for hand in &hands {
        Said::read(hand);
        service.on_close(hand.id(), 0, hand.state(), CloseReason::ClosedByPeer);
    }
    assert_eq!(service.messages(), 0);
}
