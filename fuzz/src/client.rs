//! Any bytes as what a server says to a client, in any pieces and with any room: nothing panics or is stuck,
//! and pieces are taken as the whole is.

use super::bytes::Bytes;
use std::cell::RefCell;
use std::rc::Rc;
use tenmil::client::exchange;
use tenmil::client::message::MESSAGE_LEN_MAX;
use tenmil::client::speaking::{Beats, Counts, Speaking};
use tenmil::conn::slab::ConnId;
use tenmil::service::Service;
use tenmil::service::builtin::Builtin;
use tenmil::service::by_hand::ByHand;
use tenmil::time::{Duration, Instant};

/// More than anything that is sent in one call.
const ENOUGH: usize = 65_535;

const BEATS: Beats = Beats {
    period: Some(Duration::from_secs(60)),
    answer_wait: Duration::from_secs(10),
    misses: 3,
};

/// What comes first where a client is welcomed, which no fuzzer guesses.
const CONNACK: &[u8] = b"\x20\x02\x00\x00";

/// A connection of a client.
struct Peer<H> {
    client: Speaking<H>,
    hand: ByHand,
    heard: Rc<RefCell<Vec<Vec<u8>>>>,
}

fn open(service: Builtin) -> Peer<impl FnMut(ConnId, &[u8])> {
    let heard = Rc::new(RefCell::new(Vec::new()));
    let hearing = heard.clone();
    let mut client = Speaking::new(BEATS, move |_, message: &[u8]| {
        hearing.borrow_mut().push(message.to_vec());
    });
    let mut hand = ByHand::new(Instant::from_millis(1_000_000)).with_tag(service.tag());
    hand.call(ENOUGH, |conn| client.on_open(conn));
    Peer { client, hand, heard }
}

impl<H: FnMut(ConnId, &[u8])> Peer<H> {
    fn receive(&mut self, bytes: &[u8], room: usize) {
        self.hand.receive(&mut self.client, bytes, room);
    }

    /// What was heard, and what is waited for; never for more than the longest message.
    fn end(mut self) -> (Vec<Vec<u8>>, Vec<u8>, bool, Counts) {
        self.receive(b"", ENOUGH);
        let is_closing = self.hand.is_closing();
        let unread = if is_closing { Vec::new() } else { self.hand.unread().to_vec() };
        assert!(unread.len() < MESSAGE_LEN_MAX + 1_024, "with room something is done");
        let heard = self.heard.take();
        assert!(heard.iter().all(|message| message.len() <= MESSAGE_LEN_MAX));
        (heard, unread, is_closing, self.client.counts())
    }
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let mut input = Bytes(data);
    let service = input.choose(&Builtin::ALL);
    if input.bool() {
        return anything(service, input);
    }
    let cuts: [u8; 8] = input.array();
    let bytes = [if service == Builtin::Mqtt { CONNACK } else { b"" }, input.0].concat();
    let mut whole = open(service);
    whole.receive(&bytes, ENOUGH);
    let mut pieces = open(service);
    let mut rest = &bytes[..];
    for cut in cuts {
        let (piece, later) = rest.split_at(rest.len().min(usize::from(cut)));
        pieces.receive(piece, ENOUGH);
        rest = later;
    }
    pieces.receive(rest, ENOUGH);
    let (pieces, whole) = (pieces.end(), whole.end());
    if service == Builtin::Discard {
        // Nothing says where one of its messages ends.
        assert_eq!(pieces.0.concat(), whole.0.concat());
    } else {
        assert_eq!(pieces, whole);
    }
}

/// Pieces, right answers, wakes and the server's close in any order.
fn anything(service: Builtin, mut input: Bytes<'_>) {
    let mut peer = open(service);
    if service == Builtin::Mqtt {
        peer.receive(CONNACK, ENOUGH);
    }
    let slot = peer.hand.id().index();
    while !input.is_empty() && !peer.hand.is_closing() {
        let (what, room) = (input.u8() % 8, usize::from(input.u8()));
        match what {
            0..=2 if peer.hand.wake_at().is_some() => peer.hand.wake(&mut peer.client, room),
            3 => peer.hand.call(room, |conn| peer.client.on_peer_close(conn)),
            4 | 5 => {
                let answer = exchange::answer(service, slot, u32::from(input.u8()));
                peer.receive(&answer, room);
            }
            _ => peer.receive(input.take_len(300), room),
        }
    }
    let counts = peer.end().3;
    assert!(counts.answered <= counts.beats, "no answer counts that was not asked for");
}
