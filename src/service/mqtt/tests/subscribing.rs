//! SUBSCRIBE, UNSUBSCRIBE and retained messages.

use super::*;

#[test]
fn subscriptions_are_granted_up_to_qos_1_and_ended() {
    let mut world = World::new();
    for version in [V311, V5] {
        let peer = world.connect(&Hello::new(version, "a").bytes());
        for (asked, granted) in [(0, 0), (1, 1), (2, 1)] {
            assert_eq!(
                world.ask(peer, &subscribe(version, "a/+", asked)),
                suback(version, granted)
            );
        }
        assert_eq!(world.mqtt.usage().subscriptions, 1);
        let two = packet(
            0xa2,
            &[b"\x00\x07", &properties(version, b""), &string("a/+"), &string("other")],
        );
        let unsuback: &[u8] =
            if version == V5 { b"\xb0\x05\x00\x07\x00\x00\x11" } else { b"\xb0\x02\x00\x07" };
        assert_eq!(world.ask(peer, &two), unsuback);
        assert_eq!(world.mqtt.usage().subscriptions, 0);
        world.lose(peer);
    }
}

#[test]
fn several_filters_get_a_code_each() {
    let mut world = World::new();
    let peer = world.connect(&Hello::new(V5, "a").bytes());
    let three = packet(
        0x82,
        &[b"\x00\x01\x00", &string("a"), &[0], &string("b"), &[1], &string("c"), &[2]],
    );
    assert_eq!(world.ask(peer, &three), b"\x90\x06\x00\x01\x00\x00\x01\x01");
}

#[test]
fn filters_that_are_not_allowed() {
    let mut world = World::new();
    let refused = Some(Some(CloseReason::ProtocolError));
    for (filter, options, goodbye) in [
        ("a/#/b", 0, &b"\xe0\x01\x8f"[..]),
        ("", 0, b"\xe0\x01\x8f"),
        ("$share/group/a", 0, b"\xe0\x01\x9e"),
        ("$share/group/a", 4, b"\xe0\x01\x82"),
    ] {
        let peer = world.connect(&Hello::new(V5, "a").bytes());
        assert_eq!(world.ask(peer, &subscribe(V5, filter, options)), goodbye, "{filter}");
        assert_eq!(world.closed(peer), refused);
    }
    let peer = world.connect(&Hello::new(V311, "a").bytes());
    assert_eq!(world.ask(peer, &subscribe(V311, "$share/group/a", 0)), suback(V311, 0x80));
    assert_eq!(world.ask(peer, &subscribe(V311, "a/#/b", 0)), b"");
    assert_eq!(world.closed(peer), refused);
    assert_eq!(world.mqtt.usage().subscriptions, 0);
}

#[test]
fn a_new_subscriber_gets_what_was_retained() {
    for version in [V311, V5] {
        let mut world = World::new();
        let publisher = world.connect(&Hello::new(version, "p").bytes());
        for (topic, text) in [("a/1", "old"), ("a/1", "one"), ("a/2", "two"), ("b", "no")] {
            world.send(publisher, &publish_with(version, 0x31, topic, 0, b"", text));
        }
        world.send(publisher, &publish_with(version, 0x33, "a/3", 9, b"", "three"));
        assert_eq!(world.take(publisher)[..2], [0x40, if version == V5 { 3 } else { 2 }]);
        let peer = world.connect(&Hello::new(version, "s").bytes());
        let expected = [
            suback(version, 1),
            publish_with(version, 0x33, "a/3", 1, b"", "three"),
            publish_with(version, 0x31, "a/2", 0, b"", "two"),
            publish_with(version, 0x31, "a/1", 0, b"", "one"),
        ];
        assert_eq!(world.ask(peer, &subscribe(version, "a/#", 1)), expected.concat());
        // An empty one takes it away, and is delivered like any other.
        world.send(publisher, &publish_with(version, 0x31, "a/2", 0, b"", ""));
        assert_eq!(world.take(peer), publish(version, "a/2", ""));
        let again = world.ask(peer, &subscribe(version, "a/2", 0));
        assert_eq!(again, suback(version, 0));
        world.lose(peer);
        assert_eq!(world.mqtt.usage().retained, 3);
        world.check();
    }
}

#[test]
fn retain_handling_and_retain_as_published() {
    let mut world = World::new();
    let publisher = world.connect(&Hello::new(V5, "p").bytes());
    let retained = publish_with(V5, 0x31, "a", 0, b"", "x");
    world.send(publisher, &retained);
    let peer = world.connect(&Hello::new(V5, "s").bytes());
    let granted = suback(V5, 0);
    let both = [&granted[..], &retained].concat();
    // Send if new: it is; it is not any more.
    assert_eq!(world.ask(peer, &subscribe(V5, "a", 0x10)), both);
    assert_eq!(world.ask(peer, &subscribe(V5, "a", 0x10)), granted);
    assert_eq!(world.ask(peer, &subscribe(V5, "a", 0x20)), granted, "never");
    assert_eq!(world.ask(peer, &subscribe(V5, "a", 0x00)), both, "always");
    world.send(publisher, &retained);
    assert_eq!(world.take(peer), publish(V5, "a", "x"), "a message of now is not retained");
    world.send(peer, &subscribe(V5, "a", 0x28));
    world.take(peer);
    world.send(publisher, &retained);
    assert_eq!(world.take(peer), retained, "as published");
}

#[test]
fn a_subscription_identifier_comes_with_the_message() {
    let mut world = World::new();
    let peer = world.connect(&Hello::new(V5, "a").bytes());
    world.send(peer, &subscribe_with(V5, b"\x0b\x05", "a/+", 1));
    world.send(peer, &subscribe_with(V5, b"\x0b\xc8\x01", "a/#", 0));
    world.send(peer, &subscribe(V5, "+/b", 0));
    world.take(peer);
    let publisher = world.connect(&Hello::new(V311, "p").bytes());
    world.send(publisher, &publish1(V311, "a/b", 3, "x"));
    let received = world.take(peer);
    let one = |ids: &[u8]| publish_with(V5, 0x32, "a/b", 1, ids, "x");
    let either = [one(b"\x0b\x05\x0b\xc8\x01"), one(b"\x0b\xc8\x01\x0b\x05")];
    assert!(either.contains(&received), "one copy, with the greatest QoS: {received:x?}");
}

#[test]
fn a_retained_message_carries_the_identifier_too() {
    let mut world = World::new();
    let peer = world.connect(&Hello::new(V5, "s").bytes());
    world.send(peer, &publish_with(V5, 0x31, "a", 0, b"", "kept"));
    let with_identifier = subscribe_with(V5, b"\x0b\x05", "a", 0);
    let kept = publish_with(V5, 0x31, "a", 0, b"\x0b\x05", "kept");
    assert_eq!(world.ask(peer, &with_identifier), [suback(V5, 0), kept].concat());
    world.send(peer, &publish(V5, "a", "x"));
    assert_eq!(world.take(peer), publish_with(V5, 0x30, "a", 0, b"\x0b\x05", "x"));
}
