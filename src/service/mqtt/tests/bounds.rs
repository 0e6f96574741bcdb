//! How much one client, and all of them, make the server hold.

use super::*;

/// Subscribes `peer`, which speaks 5.0, to `filter`; returns the code.
fn granted(world: &mut World, peer: usize, filter: &str) -> u8 {
    let answer = world.ask(peer, &subscribe(V5, filter, 0));
    assert_eq!(answer.len(), 6, "{answer:x?}");
    answer[5]
}

#[test]
fn the_filters_of_one_session_are_bounded_in_bytes() {
    let mut world = World::new();
    let peer = world.connect(&Hello::new(V5, "a").bytes());
    let long = |n: usize| format!("{n:04}{}", "x".repeat(60_000));
    let deep = |n: usize| format!("{n:04}{}", "/".repeat(127));
    let codes: Vec<u8> = (0..30).map(|n| granted(&mut world, peer, &long(n))).collect();
    let fit = codes.iter().filter(|code| **code == 0).count();
    assert_eq!((fit, codes.iter().filter(|code| **code == 0x97).count()), (17, 13));
    assert_eq!(granted(&mut world, peer, &long(0)), 0, "replacing is always possible");
    assert!(world.mqtt.usage().subscription_bytes < 2 << 20);
    let other = world.connect(&Hello::new(V5, "b").bytes());
    let fit = (0..900).filter(|n| granted(&mut world, other, &deep(*n)) == 0).count();
    assert_eq!(fit, 102, "what leads to a filter counts, too");
    let refused = world.mqtt.counters().refused_subscriptions;
    assert_eq!(refused, 13 + 900 - 102);
    world.send(peer, &packet(0xa2, &[b"\x00\x02\x00", &string(&long(3))]));
    world.take(peer);
    assert_eq!(granted(&mut world, peer, &long(99)), 0, "what was given back can be used");
    for peer in [peer, other] {
        world.lose(peer);
    }
    assert_eq!(world.mqtt.usage().subscriptions, 0);
}

#[test]
fn the_filters_of_all_sessions_are_bounded_in_bytes() {
    let policy = Policy { subscription_bytes_max: 50_000, ..Policy::default() };
    let mut world = World::with(policy);
    let mut fit = 0;
    for n in 0..20 {
        let peer = world.connect(&Hello::new(V5, &n.to_string()).bytes());
        fit += usize::from(granted(&mut world, peer, &format!("{n}{}", "/x".repeat(100))) == 0);
    }
    assert_eq!((fit, world.mqtt.usage().subscriptions), (6, 6));
}

#[test]
fn what_leads_to_retained_topics_counts() {
    let policy = Policy { retained_bytes_max: 200_000, ..Policy::default() };
    let mut world = World::with(policy);
    let peer = world.connect(&Hello::new(V311, "a").bytes());
    for n in 0..1_000 {
        let topic = format!("{n:04}{}", "/".repeat(127));
        world.send(peer, &publish_with(V311, 0x31, &topic, 0, b"", "x"));
    }
    let usage = world.mqtt.usage();
    assert_eq!((usage.retained, world.mqtt.counters().refused_retained), (19, 981));
    assert!(usage.retained_bytes < 400_000, "{usage:?}");
}

#[test]
fn the_topics_that_aliases_stand_for_are_bounded() {
    let mut world = World::with(Policy { message_bytes_max: 100_000, ..Policy::default() });
    let aliased = |topic: &str, alias: u8| publish_with(V5, 0x30, topic, 0, &[0x23, 0, alias], "");
    let long = "x".repeat(60_000);
    let peer = world.connect(&Hello::new(V5, "a").bytes());
    world.send(peer, &aliased(&long, 1));
    assert_eq!((world.closed(peer), world.mqtt.usage().message_bytes), (None, 60_000));
    let other = world.connect(&Hello::new(V5, "b").bytes());
    assert_eq!(world.ask(other, &aliased(&long, 1)), b"\xe0\x01\x97");
    assert_eq!(world.closed(other), Some(Some(CloseReason::ProtocolError)));
    world.send(peer, &aliased("short", 1));
    assert_eq!(world.mqtt.usage().message_bytes, 5, "in place of the other");
    world.lose(peer);
    assert_eq!(world.mqtt.usage().message_bytes, 0);
}

#[test]
fn a_will_is_admitted_with_all_that_is_kept_of_it() {
    let mut world = World::with(Policy { message_bytes_max: 1_000, ..Policy::default() });
    let user = [&b"\x26\x00\x01k\x00\x64"[..], &[b'v'; 100]].concat();
    let with =
        |text: usize| Hello::persistent(V5, "w").will("w", &"x".repeat(text), 0, &user).bytes();
    let peer = world.open();
    assert_eq!(world.ask(peer, &with(890)), b"\x20\x03\x00\x97\x00");
    world.connect(&with(600));
    assert!(world.mqtt.usage().message_bytes <= 1_000);
}

#[test]
fn a_message_that_many_have_in_part_is_kept_once() {
    let mut world = World::new();
    let text: String =
        (0..60_000).map(|n| char::from(b'a' + u8::try_from(n % 26).unwrap())).collect();
    let subscribers: Vec<usize> = (0..20)
        .map(|n| {
            let version = if n % 2 == 0 { V311 } else { V5 };
            let peer = world.connect(&Hello::new(version, &n.to_string()).bytes());
            world.send(peer, &subscribe(version, "a", 1));
            world.take(peer);
            peer
        })
        .collect();
    let publisher = world.connect(&Hello::new(V5, "p").bytes());
    let user = b"\x26\x00\x01k\x00\x01v";
    world.send(publisher, &publish_with(V5, 0x32, "a", 9, user, &text));
    world.take(publisher);
    let usage = world.mqtt.usage();
    assert!(usage.message_bytes < 61_000 && usage.session_bytes < 30_000, "{usage:?}");
    for (n, peer) in subscribers.into_iter().enumerate() {
        let expected = match n % 2 {
            0 => publish_with(V311, 0x32, "a", 1, b"", &text),
            _ => publish_with(V5, 0x32, "a", 1, user, &text),
        };
        // A heartbeat in the middle of it is answered behind it.
        world.send(peer, &PINGREQ);
        assert!(world.take(peer) == [expected, PINGRESP.to_vec()].concat());
        world.send(peer, &puback(1));
    }
    assert_eq!(world.mqtt.usage().message_bytes, 0);
}

#[test]
fn thousands_of_filters_in_one_packet_are_looked_for_in_the_shorter_list() {
    let mut world = World::new();
    let peer = world.connect(&Hello::new(V311, "a").bytes());
    for n in 0..999 {
        world.send(peer, &subscribe(V311, &format!("f{n}"), 0));
    }
    world.take(peer);
    // The oldest of its subscriptions, which no other has, again and again.
    let entry = [string("f0"), vec![0]].concat();
    let packet = packet(0x82, &[b"\x00\x01", &entry.repeat(10_000)]);
    assert_eq!(world.ask(peer, &packet).len(), 3 + 2 + 10_000);
    assert_eq!(world.mqtt.usage().subscriptions, 999);
}

#[test]
fn no_packet_is_longer_than_the_client_takes() {
    let mut world = World::new();
    // A CONNACK that refuses has five bytes.
    for (most, answer) in [(4, &b""[..]), (5, b"\x20\x03\x00\x95\x00")] {
        let peer = world.open();
        let hello = Hello::new(V5, "a").with(&[0x27, 0, 0, 0, most]);
        assert_eq!(world.ask(peer, &hello.bytes()), answer);
        assert!(world.closed(peer).is_some());
    }
    let filters = |n: usize| [string("a"), vec![0]].concat().repeat(n);
    let of_client = |world: &mut World| {
        let most = CONNACK5.len() + 1;
        let hello = Hello::new(V5, "a").with(&[0x27, 0, 0, 0, u8::try_from(most).unwrap()]);
        world.connect(&hello.bytes())
    };
    // A SUBACK is five bytes and a code for each filter.
    let peer = of_client(&mut world);
    let most = packet(0x82, &[b"\x00\x01\x00", &filters(13)]);
    assert_eq!(world.ask(peer, &most).len(), CONNACK5.len() + 1);
    let more = packet(0x82, &[b"\x00\x01\x00", &filters(14)]);
    assert_eq!(world.ask(peer, &more), b"\xe0\x01\x95");
    let peer = of_client(&mut world);
    let more = packet(0xa2, &[b"\x00\x01\x00", &string("a").repeat(14)]);
    assert_eq!(world.ask(peer, &more), b"\xe0\x01\x95");
    assert_eq!(world.closed(peer), Some(Some(CloseReason::ProtocolError)));
}

#[test]
fn a_packet_that_does_not_end_is_not_waited_for_for_ever() {
    let seconds = Duration::from_secs;
    for (version, goodbye) in [(V311, &b""[..]), (V5, b"\xe0\x01\x8d")] {
        let long = publish(version, "a", &"x".repeat(100));
        for keep_alive in [0, 1_000] {
            let mut world = World::new();
            let peer = world.connect(&Hello::new(version, "a").keep_alive(keep_alive).bytes());
            world.pass(seconds(500));
            // A byte a second, and the first packet ends in time.
            for byte in &long {
                world.send(peer, &[*byte]);
                world.pass(seconds(1));
            }
            world.send(peer, &long[..1]);
            world.pass(seconds(119));
            world.send(peer, &long[1..50]);
            assert_eq!(world.closed(peer), None, "keep alive {keep_alive}");
            world.pass(seconds(2));
            assert_eq!(world.closed(peer), Some(Some(CloseReason::HeartbeatMissed)));
            assert_eq!(world.take(peer), goodbye);
        }
        // The keep alive holds all the same, and the beginning of a packet is none.
        let mut world = World::new();
        let peer = world.connect(&Hello::new(version, "a").keep_alive(10).bytes());
        world.pass(seconds(14));
        world.send(peer, &long[..1]);
        world.pass(Duration::from_millis(1_100));
        assert_eq!(world.closed(peer), Some(Some(CloseReason::HeartbeatMissed)));
    }
}
