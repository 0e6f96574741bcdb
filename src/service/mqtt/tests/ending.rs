//! Wills, keep alive, and how connections end.

use super::*;

/// A world with a subscriber to everything, which says what is published.
fn witness() -> (World, usize) {
    let mut world = World::new();
    let subscriber = world.connect(&Hello::new(V5, "witness").bytes());
    world.send(subscriber, &subscribe(V5, "#", 0));
    world.take(subscriber);
    (world, subscriber)
}

fn will() -> Vec<u8> {
    publish(V5, "w", "gone")
}

/// What it is called, and how a connection comes to it.
type Ending = (&'static str, fn(&mut World, usize));

#[test]
fn a_will_is_published_however_the_connection_ends_but_after_a_disconnect() {
    for version in [V311, V5] {
        let endings: [Ending; 6] = [
            ("vanished", |world, peer| world.lose(peer)),
            ("closed", |world, peer| world.call(peer, Event::PeerClose)),
            ("malformed", |world, peer| world.send(peer, b"\x00")),
            ("forbidden", |world, peer| world.send(peer, b"\x10\x00")),
            ("silent", |world, _| world.pass(Duration::from_millis(15_040))),
            ("taken over", |world, _| {
                world.connect(&Hello::new(V311, "dying").bytes());
            }),
        ];
        for (how, end) in endings {
            let (mut world, subscriber) = witness();
            let hello = Hello::new(version, "dying").keep_alive(10).will("w", "gone", 0, b"");
            let peer = world.connect(&hello.bytes());
            end(&mut world, peer);
            assert_eq!(world.take(subscriber), will(), "{how}");
            assert_eq!(world.mqtt.counters().wills, 1, "{how}");
        }
        let (mut world, subscriber) = witness();
        let hello = Hello::new(version, "dying").keep_alive(10).will("w", "gone", 0, b"");
        let peer = world.connect(&hello.bytes());
        world.send(peer, b"\xe0\x00");
        world.lose(peer);
        world.pass(Duration::from_secs(60));
        assert_eq!((world.take(subscriber), world.mqtt.counters().wills), (Vec::new(), 0));
    }
}

#[test]
fn a_disconnect_can_ask_for_the_will() {
    let (mut world, subscriber) = witness();
    let peer = world.connect(&Hello::new(V5, "dying").will("w", "gone", 0, b"").bytes());
    world.send(peer, b"\xe0\x01\x04");
    assert_eq!((world.take(subscriber), world.closed(peer)), (will(), Some(None)));
}

#[test]
fn a_will_is_a_message_like_any_other() {
    let (mut world, subscriber) = witness();
    world.send(subscriber, &subscribe(V5, "#", 0x29));
    world.take(subscriber);
    let own = b"\x01\x01\x26\x00\x01k\x00\x01v";
    let hello = Hello::new(V5, "dying").will("w", "gone", 0x28, own);
    let peer = world.connect(&hello.bytes());
    world.lose(peer);
    assert_eq!(world.take(subscriber), publish_with(V5, 0x33, "w", 1, own, "gone"));
    let late = world.connect(&Hello::new(V311, "late").bytes());
    let retained = publish_with(V311, 0x31, "w", 0, b"", "gone");
    let expected = [suback(V311, 0), retained].concat();
    assert_eq!(world.ask(late, &subscribe(V311, "w", 0)), expected);
}

/// A 5.0 client with a will that waits 5 s and a session that lasts `expiry_s`.
fn waiting(expiry_s: u8) -> Hello {
    let hello = Hello::new(V5, "dying").with(&[0x11, 0, 0, 0, expiry_s]);
    hello.will("w", "gone", 0, b"\x18\x00\x00\x00\x05")
}

#[test]
fn a_will_waits_as_long_as_it_was_told_but_not_longer_than_the_session() {
    for (expiry_s, after_s) in [(10, 5), (3, 3), (0, 0)] {
        let (mut world, subscriber) = witness();
        let peer = world.connect(&waiting(expiry_s).bytes());
        world.lose(peer);
        if after_s > 0 {
            world.pass(Duration::from_millis(after_s * 1_000 - 1));
            assert_eq!(world.take(subscriber), b"", "{expiry_s}");
            world.pass(Duration::from_millis(1));
        }
        assert_eq!(world.take(subscriber), will(), "{expiry_s}");
        world.pass(Duration::from_secs(60));
        assert_eq!((world.take(subscriber), world.mqtt.usage().sessions), (Vec::new(), 1));
    }
}

#[test]
fn a_client_that_comes_back_in_time_takes_its_will_back() {
    let (mut world, subscriber) = witness();
    let peer = world.connect(&waiting(10).bytes());
    world.lose(peer);
    world.pass(Duration::from_secs(4));
    let resuming = Hello { flags: 0, ..Hello::new(V5, "dying") }.with(b"\x11\x00\x00\x00\x0a");
    let peer = world.connect(&resuming.bytes());
    world.pass(Duration::from_secs(60));
    assert_eq!(world.take(subscriber), b"", "MQTT-3.1.3-9");
    world.lose(peer);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.take(subscriber), b"", "it has none any more");
    // A clean start ends the session, and so the wait.
    let peer = world.connect(&waiting(10).bytes());
    world.lose(peer);
    world.connect(&Hello::new(V5, "dying").bytes());
    assert_eq!(world.take(subscriber), will());
}

#[test]
fn a_takeover_publishes_the_will_unless_it_waits_and_the_session_goes_on() {
    for (flags, expected) in [(0x02, will()), (0x00, Vec::new())] {
        let (mut world, subscriber) = witness();
        world.connect(&waiting(10).bytes());
        world.connect(&Hello { flags, ..Hello::new(V5, "dying") }.bytes());
        world.pass(Duration::from_secs(60));
        assert_eq!(world.take(subscriber), expected, "{flags:x}");
    }
}

#[test]
fn one_and_a_half_times_the_keep_alive_is_kept_to_the_second() {
    for (version, keep_alive_s) in [(V311, 1), (V311, 10), (V5, 60), (V5, 65_535)] {
        let packet_timeout = Duration::from_secs(1 << 20);
        let mut world = World::with(Policy { packet_timeout, ..Policy::default() });
        let hello = Hello::new(version, "a").keep_alive(keep_alive_s).bytes();
        let peer = world.connect(&hello);
        let limit = Duration::from_millis(u64::from(keep_alive_s) * 1_500);
        // Anything whole puts it off, what is not whole does not.
        for _ in 0..3 {
            world.pass(limit - Duration::from_millis(1));
            assert_eq!(world.closed(peer), None);
            assert_eq!(world.ask(peer, &PINGREQ), b"\xd0\x00");
        }
        world.send(peer, b"\x30");
        world.pass(limit - Duration::from_millis(1));
        assert_eq!(world.closed(peer), None, "not early");
        world.pass(Duration::from_millis(100));
        assert_eq!(world.closed(peer), Some(Some(CloseReason::HeartbeatMissed)), "nor late");
        let goodbye: &[u8] = if version == V5 { b"\xe0\x01\x8d" } else { b"" };
        assert_eq!(world.take(peer), goodbye);
        assert_eq!(world.mqtt.counters().keep_alive_timeouts, 1);
    }
    let mut world = World::new();
    let peer = world.connect(&Hello::new(V311, "a").bytes());
    world.pass(Duration::from_secs(1_000_000));
    assert_eq!(world.closed(peer), None, "0 is no limit");
}

#[test]
fn what_follows_the_end_is_ignored() {
    let (mut world, subscriber) = witness();
    let peer = world.connect(&Hello::new(V5, "a").bytes());
    let after = [b"\xe0\x00".to_vec(), publish(V5, "a", "x"), PINGREQ.to_vec()].concat();
    assert_eq!(world.ask(peer, &after), b"");
    assert_eq!((world.take(subscriber), world.peers[peer].unread.len()), (Vec::new(), 0));
    let peer = world.connect(&Hello::new(V5, "a").bytes());
    let after = [b"\x00".to_vec(), publish(V5, "a", "x"), PINGREQ.to_vec()].concat();
    assert_eq!(world.ask(peer, &after), b"\xe0\x01\x81");
    assert_eq!(world.take(subscriber), b"");
}
