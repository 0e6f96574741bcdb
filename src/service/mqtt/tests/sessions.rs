//! Sessions that outlive their connections.

use super::*;

fn resumed(world: &mut World, hello: &Hello) -> (usize, Vec<u8>) {
    let peer = world.open();
    let received = world.ask(peer, &hello.bytes());
    let connack_len = 2 + usize::from(received[1]);
    assert_eq!(received[..4], [0x20, received[1], 1, 0], "there was a session");
    (peer, received[connack_len..].to_vec())
}

#[test]
fn messages_wait_for_a_client_that_is_away() {
    for version in [V311, V5] {
        let mut world = World::new();
        let hello = Hello::persistent(version, "s");
        let subscriber = world.connect(&hello.bytes());
        world.send(subscriber, &subscribe(version, "#", 1));
        world.send(subscriber, b"\xe0\x00");
        world.lose(subscriber);
        let publisher = world.connect(&Hello::new(version, "p").bytes());
        assert_eq!(world.ask(publisher, &publish1(version, "a", 7, "one")), puback(7));
        world.send(publisher, &publish(version, "a", "zero"));
        world.send(publisher, &publish1(version, "b", 8, "two"));
        let (_, received) = resumed(&mut world, &hello);
        let expected = [publish1(version, "a", 1, "one"), publish1(version, "b", 2, "two")];
        assert_eq!(received, expected.concat(), "those of QoS 1");
        world.check();
    }
}

#[test]
fn what_was_not_acknowledged_is_sent_again_first_and_in_order() {
    for version in [V311, V5] {
        let mut world = World::new();
        let hello = Hello::persistent(version, "s");
        let first = world.connect(&hello.bytes());
        world.send(first, &subscribe(version, "#", 1));
        let publisher = world.connect(&Hello::new(version, "p").bytes());
        for text in ["1", "2", "3"] {
            world.send(publisher, &publish1(version, "a", 1, text));
        }
        world.send(first, &puback(2));
        world.lose(first);
        world.send(publisher, &publish1(version, "a", 1, "4"));
        let (second, received) = resumed(&mut world, &hello);
        let again = |identifier, text| publish_with(version, 0x3a, "a", identifier, b"", text);
        let expected = [again(1, "1"), again(3, "3"), publish1(version, "a", 4, "4")];
        assert_eq!(received, expected.concat());
        assert_eq!(world.mqtt.counters().redelivered, 2);
        world.send(second, &[puback(1), puback(3), puback(4)].concat());
        world.lose(second);
        let (_, received) = resumed(&mut world, &hello);
        assert_eq!(received, b"", "nothing is left");
        world.check();
    }
}

#[test]
fn a_client_that_takes_less_gets_what_was_under_way_bit_by_bit() {
    let mut world = World::new();
    let hello = Hello::persistent(V5, "s");
    let first = world.connect(&hello.bytes());
    world.send(first, &subscribe(V5, "#", 1));
    let publisher = world.connect(&Hello::new(V5, "p").bytes());
    for text in ["1", "2", "3"] {
        world.send(publisher, &publish1(V5, "a", 1, text));
    }
    world.lose(first);
    let again = |identifier, text| publish_with(V5, 0x3a, "a", identifier, b"", text);
    let (second, received) = resumed(&mut world, &hello.with(b"\x21\x00\x01"));
    assert_eq!(received, again(1, "1"));
    assert_eq!(world.ask(second, &puback(1)), again(2, "2"));
    world.send(publisher, &publish1(V5, "a", 1, "4"));
    assert_eq!(world.ask(second, &puback(2)), again(3, "3"));
    assert_eq!(world.ask(second, &puback(3)), publish1(V5, "a", 4, "4"));
}

#[test]
fn a_session_is_taken_over_with_what_it_has() {
    let mut world = World::new();
    let hello = Hello::persistent(V5, "s");
    let first = world.connect(&hello.bytes());
    world.send(first, &subscribe(V5, "a", 1));
    world.take(first);
    let publisher = world.connect(&Hello::new(V5, "p").bytes());
    world.send(publisher, &publish1(V5, "a", 1, "x"));
    let (second, received) = resumed(&mut world, &hello);
    assert_eq!(received, publish_with(V5, 0x3a, "a", 1, b"", "x"));
    assert_eq!(world.take(first), [publish1(V5, "a", 1, "x"), b"\xe0\x01\x8e".to_vec()].concat());
    // And a clean start begins anew.
    let third = world.connect(&Hello::new(V5, "s").bytes());
    assert_eq!(world.take(second), b"\xe0\x01\x8e");
    assert_eq!((world.take(third), world.mqtt.usage().subscriptions), (Vec::new(), 0));
}

#[test]
fn a_session_of_a_connection_alone_is_not_taken_up() {
    let mut world = World::new();
    let first = world.connect(&Hello::new(V311, "s").bytes());
    world.send(first, &subscribe(V311, "a", 1));
    let second = world.open();
    let hello = Hello { flags: 0, ..Hello::new(V311, "s") };
    assert_eq!(world.ask(second, &hello.bytes()), CONNACK311, "it ended with the first");
    assert_eq!(world.mqtt.usage().subscriptions, 0);
}

#[test]
fn a_session_ends_when_its_time_is_over() {
    let mut world = World::new();
    let hello = Hello::new(V5, "s").with(b"\x11\x00\x00\x00\x0a");
    let hello = Hello { flags: 0, ..hello };
    let peer = world.connect(&hello.bytes());
    world.send(peer, &subscribe(V5, "#", 1));
    world.pass(Duration::from_secs(60));
    world.lose(peer);
    world.pass(Duration::from_millis(9_999));
    assert_eq!(world.mqtt.usage().sessions, 1, "it counts from the end of the connection");
    let (peer, _) = resumed(&mut world, &hello);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.mqtt.usage().sessions, 1, "it goes on with the connection");
    world.lose(peer);
    world.pass(Duration::from_secs(10));
    assert_eq!((world.mqtt.usage().sessions, world.mqtt.usage().subscriptions), (0, 0));
}

#[test]
fn a_disconnect_changes_how_long_the_session_lasts() {
    let mut world = World::new();
    let peer = world.connect(&Hello::persistent(V5, "s").bytes());
    world.send(peer, b"\xe0\x07\x00\x05\x11\x00\x00\x00\x00");
    assert_eq!((world.closed(peer), world.mqtt.usage().sessions), (Some(None), 0));
    let peer = world.connect(&Hello::new(V5, "s").bytes());
    let goodbye = world.ask(peer, b"\xe0\x07\x00\x05\x11\x00\x00\x00\x01");
    assert_eq!(goodbye, b"\xe0\x01\x82", "it was zero");
}

#[test]
fn a_message_that_expires_while_it_waits_is_not_delivered() {
    let mut world = World::new();
    let hello = Hello::persistent(V5, "s");
    let peer = world.connect(&hello.bytes());
    world.send(peer, &subscribe(V5, "#", 1));
    world.lose(peer);
    let publisher = world.connect(&Hello::new(V5, "p").bytes());
    let expiring = |seconds: u8| [2, 0, 0, 0, seconds];
    world.send(publisher, &publish_with(V5, 0x32, "a", 1, &expiring(5), "short"));
    world.send(publisher, &publish_with(V5, 0x32, "a", 1, &expiring(9), "long"));
    world.pass(Duration::from_secs(5));
    let (_, received) = resumed(&mut world, &hello);
    assert_eq!(received, publish_with(V5, 0x32, "a", 1, &expiring(4), "long"));
    assert_eq!(world.mqtt.counters().dropped_expired, 1);
    world.check();
}

#[test]
fn what_is_to_be_sent_again_is_dropped_if_the_client_takes_no_packet_so_long_any_more() {
    let mut world = World::new();
    let hello = Hello::persistent(V5, "s");
    let first = world.connect(&hello.bytes());
    world.send(first, &subscribe(V5, "#", 1));
    let publisher = world.connect(&Hello::new(V5, "p").bytes());
    let long = "x".repeat(100);
    for text in ["1", &long, "3"] {
        world.send(publisher, &publish1(V5, "a", 1, text));
    }
    world.lose(first);
    // MQTT-3.1.2-24, -25: as if it had been delivered.
    let (second, received) = resumed(&mut world, &hello.clone().with(b"\x27\x00\x00\x00\x32"));
    let again = |identifier, text| publish_with(V5, 0x3a, "a", identifier, b"", text);
    assert_eq!(received, [again(1, "1"), again(3, "3")].concat());
    let counters = world.mqtt.counters();
    assert_eq!((counters.redelivered, counters.dropped_too_large), (2, 1));
    world.send(second, &[puback(1), puback(3)].concat());
    world.lose(second);
    let (_, received) = resumed(&mut world, &hello);
    assert_eq!(received, b"", "nor does it come back");
    assert_eq!(world.mqtt.usage().message_bytes, 0);
    world.check();
}

#[test]
fn a_will_without_a_delay_is_published_at_once_though_the_session_goes_on() {
    for version in [V311, V5] {
        let mut world = World::new();
        let subscriber = world.connect(&Hello::new(version, "s").bytes());
        world.ask(subscriber, &subscribe(version, "w", 0));
        let hello = Hello::persistent(version, "dies").will("w", "gone", 0, b"");
        let dying = world.connect(&hello.bytes());
        world.lose(dying);
        assert_eq!(world.take(subscriber), publish(version, "w", "gone"));
        // Once.
        let (dying, _) = resumed(&mut world, &Hello::persistent(version, "dies"));
        world.lose(dying);
        assert_eq!((world.take(subscriber), world.mqtt.counters().wills), (vec![], 1));
    }
}
