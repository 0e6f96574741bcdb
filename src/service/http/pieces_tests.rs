//! Whole conversations in any pieces, and with any room.

use super::connection::Place;
use super::tests::Peer;
use proptest::prelude::*;

/// Several requests, good and bad ones.
fn any_requests() -> impl Strategy<Value = Vec<u8>> {
    let request = prop_oneof![
        4 => Just("GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        2 => Just("GET /a.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=1-3\r\n\r\n".to_owned()),
        2 => Just("HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".to_owned()),
        1 => Just("GET /big HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        1 => Just("GET /dir HTTP/1.1\r\nHost: a\r\n\r\n\r\n".to_owned()),
        2 => Just("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\nGET / HTTP/1".to_owned()),
        2 => Just("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3;x\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\nX: y\r\n\r\n".to_owned()),
        2 => Just("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd".to_owned()),
        1 => Just("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx".to_owned()),
        2 => super::head::tests::any_head(),
    ];
    proptest::collection::vec(request, 1..6).prop_map(|requests| requests.concat().into_bytes())
}

/// All that is answered to `bytes`, cut at `cuts`, with `rooms` in turn, and how it ended.
fn converse(bytes: &[u8], cuts: &[usize], rooms: &[usize]) -> (Vec<u8>, bool, bool, Place) {
    let mut peer = Peer::standard();
    let mut rooms = rooms.iter().copied().cycle();
    let mut at = 0;
    for &cut in cuts.iter().chain([&bytes.len()]) {
        peer.feed(&bytes[at..cut], rooms.next().expect("endless"));
        at = cut;
    }
    // Some was left for another room.
    (0..8).for_each(|_| peer.feed(b"", 65_535));
    let place = Place::of(peer.hand.state);
    let ended = (peer.hand.sent.clone(), peer.is_over(), peer.hand.asked.aborting, place);
    peer.end();
    ended
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_cuts_and_any_room_give_the_same_answers(
        bytes in any_requests(),
        cuts in proptest::collection::btree_set(0usize..400, 0..20),
        rooms in proptest::collection::vec(prop_oneof![0usize..3_000, Just(65_535)], 1..6),
    ) {
        let cuts: Vec<usize> = cuts.into_iter().filter(|&cut| cut < bytes.len()).collect();
        let whole = converse(&bytes, &[], &[65_535]);
        // Not what it was: that may be long.
        prop_assert!(converse(&bytes, &cuts, &rooms) == whole);
    }

    #[test]
    fn nothing_panics_or_is_left_behind(
        pieces in proptest::collection::vec(prop_oneof![any_requests(), any::<Vec<u8>>()], 1..5),
        room in 0usize..4_000,
    ) {
        let mut peer = Peer::standard();
        for piece in pieces {
            peer.feed(&piece, room);
        }
        peer.end();
    }
}

#[test]
fn every_single_cut_gives_the_same_answers() {
    let bytes = b"\r\nGET /a.txt HTTP/1.1\r\nHost: a\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\n\
                  Transfer-Encoding: chunked\r\n\r\n3;a=\"b\"\r\nabc\r\n0\r\nX: y\r\n\r\n\
                  POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nxyz\
                  GET / HTTP/1.2\r\nHost: a\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\n";
    let whole = converse(bytes, &[], &[65_535]);
    let answers = String::from_utf8_lossy(&whole.0);
    assert_eq!((answers.matches("HTTP/1.1 200 OK").count(), whole.1), (3, true), "{answers}");
    for cut in 0..bytes.len() {
        assert_eq!(converse(bytes, &[cut], &[65_535]), whole, "cut at {cut}");
    }
    let every: Vec<usize> = (0..bytes.len()).collect();
    assert_eq!(converse(bytes, &every, &[600]), whole);
}
