//! Any bytes as requests, in any pieces and with any room: nothing panics, stays behind or is stuck, and
//! pieces are answered as the whole is.

use super::bytes::Bytes;
use core::ffi::CStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tenmil::service::Service;
use tenmil::service::by_hand::ByHand;
use tenmil::service::http::files::{FileId, OpenError, Opened, ReadError};
use tenmil::service::http::{Files, Http, Setup};
use tenmil::tcp::CloseReason;
use tenmil::time::Instant;

/// More than any other room that is offered.
const ENOUGH: usize = 4_096;

/// The longest head.
const HEAD_MAX: usize = 8 * 1024;

/// Two files and a directory, of which the larger one is slow.
#[derive(Default)]
struct Few {
    open: Arc<AtomicU32>,
    reads: u32,
}

impl Files for Few {
    fn open(&mut self, path: &CStr) -> Result<Opened, OpenError> {
        let path = path.to_bytes();
        let parts = || path.split(|&byte| byte == b'/');
        assert!(!path.starts_with(b"/") && !parts().any(|part| part == b".." || part == b"."));
        let len = match path {
            b"index.html" => 5,
            b"a" => 10_000,
            b"b" => return Err(OpenError::IsDirectory),
            _ => return Err(OpenError::NotFound),
        };
        self.open.fetch_add(1, Ordering::Relaxed);
        Ok(Opened { file: FileId(0), len, modified_secs: 784_111_777, modified_nanos: 0 })
    }

    fn read(&mut self, _: FileId, offset: u64, bytes: &mut [u8]) -> Result<usize, ReadError> {
        self.reads += 1;
        if offset > 8_000 && self.reads.is_multiple_of(3) {
            return Err(ReadError::Later);
        }
        bytes.fill(b'a');
        Ok(bytes.len())
    }

    fn close(&mut self, _: FileId) {
        let before = self.open.fetch_sub(1, Ordering::Relaxed);
        assert!(before > 0, "what is closed was open");
    }

    fn unix_time(&mut self) -> Option<u64> {
        Some(784_111_777)
    }
}

/// A connection of a service.
struct Peer {
    http: Http,
    open: Arc<AtomicU32>,
    hand: ByHand,
}

impl Peer {
    fn new(setup: &Setup) -> Peer {
        let files = Few::default();
        let open = files.open.clone();
        let mut http = Http::new(setup, Box::new(files));
        let mut hand = ByHand::new(Instant::from_millis(1_000_000));
        hand.call(ENOUGH, |conn| http.on_open(conn));
        Peer { http, open, hand }
    }

    /// All that can be done is done.
    fn settle(&mut self) {
        for _ in 0..20 {
            self.hand.receive(&mut self.http, b"", ENOUGH);
            let is_busy = self.open.load(Ordering::Relaxed) > 0;
            if !is_busy || self.hand.is_closing() || self.hand.wake_at().is_none() {
                break;
            }
            self.hand.wake(&mut self.http, ENOUGH);
        }
        let is_stuck = self.hand.unread().len() >= HEAD_MAX && !self.hand.is_closing();
        assert!(!is_stuck, "with room something is done");
    }

    /// Nothing stays behind.
    fn end(mut self) {
        let (id, state) = (self.hand.id(), self.hand.state());
        self.http.on_close(id, 0, state, CloseReason::ClosedByPeer);
        assert_eq!((self.open.load(Ordering::Relaxed), self.http.transfers()), (0, 0));
    }
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let mut input = Bytes(data);
    let flags = input.u8();
    let mut setup = Setup { echo: flags & 1 != 0, body_max: 10_000, ..Setup::default() };
    setup.transfers_max = 1;
    setup.requests_max = u16::from(flags >> 4);
    if flags & 2 == 0 {
        same_in_pieces(&setup, input);
    } else {
        setup.transfers_max = u32::from(flags >> 2 & 1);
        anything(&setup, input);
    }
}

/// The pieces of an input are answered as the whole is, but for where an echo's chunks begin and end.
fn same_in_pieces(setup: &Setup, mut input: Bytes<'_>) {
    let cuts: [u8; 8] = input.array();
    let rooms: [u8; 4] = input.array();
    let bytes = input.0;
    if bytes.windows(6).any(|name| name.eq_ignore_ascii_case(b"expect")) {
        // Whether a 100 is sent depends on how much has come.
        return;
    }
    let mut whole = Peer::new(setup);
    whole.hand.receive(&mut whole.http, bytes, ENOUGH);
    whole.settle();
    let mut pieces = Peer::new(setup);
    let mut rest = bytes;
    for (at, cut) in cuts.iter().enumerate() {
        let (piece, later) = rest.split_at(rest.len().min(usize::from(*cut)));
        let room = usize::from(rooms[at % rooms.len()]) * 16;
        pieces.hand.receive(&mut pieces.http, piece, room);
        rest = later;
    }
    pieces.hand.receive(&mut pieces.http, rest, ENOUGH);
    pieces.settle();
    let [ended, expected] = [&pieces, &whole].map(|peer| {
        let counters: Vec<_> = peer.http.counters().named().collect();
        // What comes after the end is not read.
        let unread = if peer.hand.is_closing() { 0 } else { peer.hand.unread().len() };
        (peer.hand.is_closing(), peer.hand.is_aborting(), unread, counters)
    });
    if !expected.1 {
        assert_eq!(ended, expected);
    }
    if !expected.1 && !bytes.windows(4).any(|part| part == b"HEAD") {
        check_answers(whole.hand.sent(), whole.http.transfers() > 0);
    }
    let has_chunks = whole.hand.sent().windows(17).any(|text| text == b"Transfer-Encoding");
    // A reset loses what was sent in the same call.
    if !has_chunks && !expected.1 {
        assert!(pieces.hand.sent() == whole.hand.sent(), "the same answers");
    }
    pieces.end();
    whole.end();
}

/// Pieces, wakes and the peer's close in any order, on two connections that share what there is room for.
fn anything(setup: &Setup, mut input: Bytes<'_>) {
    let Peer { mut http, open, hand } = Peer::new(setup);
    let mut count = 1;
    let mut another = |http: &mut Http| {
        let mut hand = ByHand::numbered(Instant::from_millis(1_000_000), count);
        count += 1;
        hand.call(ENOUGH, |conn| http.on_open(conn));
        hand
    };
    let mut hands = [hand, another(&mut http)];
    while !input.is_empty() {
        let [what, room] = input.array();
        let (hand, room) = (&mut hands[usize::from(what >> 3 & 1)], usize::from(room) * 16);
        match what & 7 {
            0 if hand.wake_at().is_some() => hand.wake(&mut http, room),
            0 | 1 => hand.call(room, |conn| http.on_room(conn)),
            2 if input.bool() => hand.call(room, |conn| http.on_peer_close(conn)),
            _ => hand.receive(&mut http, input.take_len(2_000), room),
        }
        if hand.is_closing() {
            http.on_close(hand.id(), 0, hand.state(), CloseReason::ClosedByPeer);
            *hand = another(&mut http);
        }
        let most = u32::try_from(http.transfers()).expect("one");
        assert!(most <= setup.transfers_max && open.load(Ordering::Relaxed) <= most);
    }
    for hand in hands {
        let (open, http_of_peer) = (open.clone(), http);
        let mut peer = Peer { http: http_of_peer, open, hand };
        peer.settle();
        let (id, state) = (peer.hand.id(), peer.hand.state());
        peer.http.on_close(id, 0, state, CloseReason::ClosedByPeer);
        http = peer.http;
    }
    assert_eq!((open.load(Ordering::Relaxed), http.transfers()), (0, 0));
}

/// Answers to requests other than HEAD are whole, one behind the other; the last one may be `cut` short.
fn check_answers(mut sent: &[u8], cut: bool) {
    let until = |bytes: &[u8], end: &[u8]| bytes.windows(end.len()).position(|part| part == end);
    while !sent.is_empty() {
        let Some(end) = until(sent, b"\r\n\r\n") else {
            panic!("a head is sent whole");
        };
        let (head, mut rest) = sent.split_at(end + 4);
        let head = core::str::from_utf8(head).unwrap_or("not text");
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        let status: u16 = status.expect("a status").parse().expect("three digits");
        let has_content = status >= 200 && status != 204 && status != 304;
        let len = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        if !has_content {
            assert_eq!(len, None);
        } else if let Some(len) = len {
            let len: usize = len.parse().expect("a number");
            assert!(cut || rest.len() >= len, "{head}");
            rest = rest.get(len..).unwrap_or_default();
        } else {
            assert!(head.contains("\r\nTransfer-Encoding: chunked\r\n"), "{head}");
            loop {
                let Some(line) = until(rest, b"\r\n") else {
                    assert!(cut && rest.is_empty(), "chunks are sent whole");
                    return;
                };
                let size = core::str::from_utf8(&rest[..line]).expect("digits");
                let size = usize::from_str_radix(size, 16).expect("digits");
                let end = line + 2 + size;
                assert_eq!(&rest[end..end + 2], b"\r\n");
                rest = &rest[end + 2..];
                if size == 0 {
                    break;
                }
            }
        }
        sent = rest;
    }
}
