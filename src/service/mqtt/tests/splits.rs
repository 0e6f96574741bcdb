//! However a stream is cut, and however little room there is, the same comes of it.

use super::*;
use proptest::prelude::*;

/// A conversation with every packet that a client sends.
fn conversation(version: Version) -> Vec<u8> {
    let will = Hello::new(version, "a").keep_alive(60).will("w", "gone", 0x28, b"");
    let retained = publish_with(version, 0x33, "a/r", 4, b"", "kept");
    [
        will.bytes(),
        PINGREQ.to_vec(),
        subscribe(version, "a/#", 1),
        publish(version, "a/b", "zero"),
        publish1(version, "a/b", 3, "one"),
        retained,
        subscribe(version, "a/r", 0),
        puback(1),
        packet(0xa2, &[b"\x00\x02", &properties(version, b""), &string("a/#")]),
        publish1(version, "a/b", 5, &"long".repeat(100)),
        PINGREQ.to_vec(),
        b"\x62\x02\x00\x09".to_vec(),
        b"\xe0\x00".to_vec(),
    ]
    .concat()
}

/// What comes back on a conversation that is cut at `cuts`, with `room` in each call, and what it
/// left behind.
fn outcome(version: Version, cuts: &[usize], room: usize) -> (Vec<u8>, Counters, usize) {
    let mut world = World::new();
    let peer = world.open();
    world.peers[peer].room = room;
    let bytes = conversation(version);
    let mut received = Vec::new();
    let mut start = 0;
    for &cut in cuts.iter().chain([&bytes.len()]) {
        if (start..=bytes.len()).contains(&cut) {
            received.extend(world.ask(peer, &bytes[start..cut]));
            start = cut;
        }
    }
    assert_eq!((world.closed(peer), world.peers[peer].unread.len()), (Some(None), 0));
    world.check();
    (received, *world.mqtt.counters(), world.mqtt.usage().retained)
}

#[test]
fn every_cut_gives_the_same() {
    for version in [V311, V5] {
        let whole = outcome(version, &[], 2_900);
        assert_eq!(whole.1.published, 4);
        for cut in 0..conversation(version).len() {
            assert_eq!(outcome(version, &[cut], 2_900), whole, "cut at {cut}");
        }
        let all: Vec<_> = (0..conversation(version).len()).collect();
        assert_eq!(outcome(version, &all, 2_900), whole, "byte by byte");
    }
}

/// The packets of a stream, sorted: with little room answers and messages may change places.
fn packets(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    while !bytes.is_empty() {
        let frame = frame::split(bytes, 100_000).unwrap().expect("whole packets");
        packets.push(bytes[..frame.len].to_vec());
        bytes = &bytes[frame.len..];
    }
    packets.sort_unstable();
    packets
}

proptest! {
    #[test]
    fn any_cuts_and_any_room_give_the_same_packets(
        mut cuts in proptest::collection::vec(0..500usize, 0..8),
        room in ROOM_MIN..300,
        is_new in any::<bool>(),
    ) {
        cuts.sort_unstable();
        let version = if is_new { V5 } else { V311 };
        let (whole, whole_counters, _) = outcome(version, &[], 2_900);
        let (received, counters, _) = outcome(version, &cuts, room);
        prop_assert_eq!(packets(&received), packets(&whole));
        prop_assert_eq!(counters, whole_counters);
    }

    #[test]
    fn no_bytes_make_the_server_panic_or_forget_to_count(
        version in prop_oneof![Just(V311), Just(V5)],
        pieces in proptest::collection::vec(
            prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..40),
                Just(PINGREQ.to_vec()),
                Just(subscribe(V5, "#", 1)),
                Just(publish1(V5, "a", 1, "x")),
                Just(publish1(V311, "a", 1, "x")),
            ],
            0..12,
        ),
    ) {
        let mut world = World::new();
        let peer = world.connect(&Hello::new(version, "a").bytes());
        for piece in pieces {
            world.send(peer, &piece);
        }
        world.take(peer);
        world.check();
        let closed = world.closed(peer).is_some();
        let counters = *world.mqtt.counters();
        let refusals = counters.malformed + counters.protocol_errors + counters.too_large
            + counters.unsupported + counters.quota_exceeded;
        prop_assert!(!closed || refusals == 1 || world.closed(peer) == Some(None));
        world.lose(peer);
        prop_assert_eq!(world.mqtt.usage().queued, 0);
    }
}
