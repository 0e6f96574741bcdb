//! Any bytes as a Dubbo client's, in any pieces and with any room: nothing panics or is stuck, and pieces
//! are answered as the whole is.

use super::bytes::Bytes;
use tenmil::service::Service;
use tenmil::service::by_hand::ByHand;
use tenmil::service::dubbo::frame::{HEADER_LEN, Header};
use tenmil::service::dubbo::{Dubbo, Setup};
use tenmil::time::{Duration, Instant};

/// More than anything that is sent in one call.
const ENOUGH: usize = 65_535;

/// The longest that is waited for: a line.
const LINE_LEN_MAX: usize = 1024;

/// A connection of a service.
struct Peer {
    service: Dubbo,
    hand: ByHand,
}

impl Peer {
    fn new() -> Peer {
        let heartbeat = Some(Duration::from_secs(1));
        let mut service = Dubbo::new(&Setup { heartbeat, payload_max: 1_000 });
        let mut hand = ByHand::new(Instant::from_millis(1_000_000));
        hand.call(ENOUGH, |conn| service.on_open(conn));
        Peer { service, hand }
    }

    fn receive(&mut self, bytes: &[u8], room: usize) {
        self.hand.receive(&mut self.service, bytes, room);
    }

    /// What was said, in frames, whether the connection is to end, and what is waited for.
    fn end(mut self) -> (Vec<u8>, bool, Vec<u8>) {
        self.receive(b"", ENOUGH);
        let is_closing = self.hand.is_closing();
        let unread = if is_closing { Vec::new() } else { self.hand.unread().to_vec() };
        assert!(unread.len() < LINE_LEN_MAX, "with room something is done");
        let mut frames = self.hand.sent();
        while let Some((header, rest)) = frames.split_first_chunk::<HEADER_LEN>() {
            let header = Header::parse(header).expect("a frame");
            frames = &rest[usize::try_from(header.body_len).expect("short")..];
        }
        assert!(frames.is_empty());
        (self.hand.sent().to_vec(), is_closing, unread)
    }
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let mut input = Bytes(data);
    let flags = input.u8();
    if flags & 1 != 0 {
        return anything(input);
    }
    let cuts: [u8; 8] = input.array();
    let rooms: [u8; 4] = input.array();
    let bytes = if flags & 2 == 0 { input.0.to_vec() } else { frames(input) };
    let mut whole = Peer::new();
    whole.receive(&bytes, ENOUGH);
    let mut pieces = Peer::new();
    let mut rest = &bytes[..];
    for (at, cut) in cuts.iter().enumerate() {
        let (piece, later) = rest.split_at(rest.len().min(usize::from(*cut)));
        pieces.receive(piece, usize::from(rooms[at % rooms.len()]));
        rest = later;
    }
    pieces.receive(rest, ENOUGH);
    assert_eq!(pieces.end(), whole.end());
}

/// Frames as `input` says, with lines between them.
fn frames(mut input: Bytes<'_>) -> Vec<u8> {
    let mut frames = Vec::new();
    while !input.is_empty() {
        let (flags, status, id) = (input.u8(), input.u8(), input.u64());
        if status == b'\n' {
            frames.extend_from_slice(input.take_len(40));
            frames.push(b'\n');
            continue;
        }
        let body = input.take_len(if flags & 0x20 == 0 { 600 } else { 20 });
        let body_len = u32::try_from(body.len()).expect("short");
        frames.extend(Header { flags, status, id, body_len }.emit());
        frames.extend_from_slice(body);
    }
    frames
}

/// Pieces, wakes and the peer's close in any order.
fn anything(mut input: Bytes<'_>) {
    let mut peer = Peer::new();
    while !input.is_empty() && !peer.hand.is_closing() {
        let (what, room) = (input.u8() % 8, usize::from(input.u8()));
        match what {
            0 if peer.hand.wake_at().is_some() => peer.hand.wake(&mut peer.service, room),
            1 => peer.hand.call(room, |conn| peer.service.on_peer_close(conn)),
            2..5 => peer.receive(input.take_len(300), room),
            _ => {
                let part = Bytes(input.take_len(300));
                peer.receive(&frames(part), room);
            }
        }
    }
    peer.end();
}
