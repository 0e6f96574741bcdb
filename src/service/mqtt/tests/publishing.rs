//! PUBLISH in and out.

use super::*;

const REFUSED: Option<Option<CloseReason>> = Some(Some(CloseReason::ProtocolError));

/// A world with a publisher and a subscriber to `#` of QoS 1, which speak these.
fn pair(from: Version, to: Version) -> (World, usize, usize) {
    let mut world = World::new();
    let publisher = world.connect(&Hello::new(from, "p").bytes());
    let subscriber = world.connect(&Hello::new(to, "s").bytes());
    world.send(subscriber, &subscribe(to, "#", 1));
    world.take(subscriber);
    (world, publisher, subscriber)
}

#[test]
fn messages_cross_with_each_quality_of_service() {
    for (from, to) in [(V311, V311), (V311, V5), (V5, V311), (V5, V5)] {
        let (mut world, publisher, subscriber) = pair(from, to);
        assert_eq!(world.ask(publisher, &publish(from, "a/b", "zero")), b"");
        assert_eq!(world.take(subscriber), publish(to, "a/b", "zero"));
        assert_eq!(world.ask(publisher, &publish1(from, "a/b", 77, "one")), puback(77));
        assert_eq!(world.take(subscriber), publish1(to, "a/b", 1, "one"));
        assert_eq!(world.ask(subscriber, &puback(1)), b"");
        world.send(publisher, &publish1(from, "a/b", 78, "two"));
        assert_eq!(world.take(subscriber), publish1(to, "a/b", 1, "two"));
        world.send(subscriber, &subscribe(to, "#", 0));
        world.take(subscriber);
        world.send(publisher, &publish1(from, "a/b", 79, "three"));
        assert_eq!(world.take(subscriber), publish(to, "a/b", "three"), "as was granted");
        world.check();
    }
}

#[test]
fn a_publisher_gets_its_own_message_unless_it_said_otherwise() {
    let mut world = World::new();
    for version in [V311, V5] {
        let peer = world.connect(&Hello::new(version, "a").bytes());
        world.send(peer, &subscribe(version, "a", 1));
        world.take(peer);
        let expected = [puback(5), publish1(version, "a", 1, "x")].concat();
        assert_eq!(world.ask(peer, &publish1(version, "a", 5, "x")), expected);
        world.lose(peer);
    }
    let peer = world.connect(&Hello::new(V5, "a").bytes());
    world.send(peer, &subscribe(V5, "a", 0x05));
    world.take(peer);
    let nobody = packet(0x40, &[b"\x00\x05\x10"]);
    assert_eq!(world.ask(peer, &publish1(V5, "a", 5, "x")), nobody);
    let other = world.connect(&Hello::new(V5, "b").bytes());
    world.send(other, &publish(V5, "a", "y"));
    assert_eq!(world.take(peer), publish(V5, "a", "y"));
    let third = publish_with(V5, 0x31, "a", 0, b"", "z");
    world.send(peer, &third);
    assert_eq!(world.ask(peer, &subscribe(V5, "a", 0x05)), suback(V5, 1), "nor a retained one");
}

#[test]
fn the_properties_of_a_message_go_with_it() {
    let (mut world, publisher, subscriber) = pair(V5, V5);
    let own = b"\x01\x01\x03\x00\x01t\x08\x00\x01r\x09\x00\x01\xff\x26\x00\x01k\x00\x01v";
    world.send(publisher, &publish_with(V5, 0x30, "a", 0, own, "x"));
    assert_eq!(world.take(subscriber), publish_with(V5, 0x30, "a", 0, own, "x"));
    let expiring = publish_with(V5, 0x30, "a", 0, b"\x02\x00\x00\x00\x0a", "x");
    world.send(publisher, &expiring);
    assert_eq!(world.take(subscriber), expiring);
}

#[test]
fn an_alias_stands_for_its_topic_on_its_connection() {
    let (mut world, publisher, subscriber) = pair(V5, V5);
    let aliased = |topic, alias: u8| publish_with(V5, 0x30, topic, 0, &[0x23, 0, alias], "x");
    world.send(publisher, &aliased("a/b", 10));
    world.send(publisher, &aliased("", 10));
    assert_eq!(world.take(subscriber), publish(V5, "a/b", "x").repeat(2));
    world.send(publisher, &aliased("c", 10));
    world.send(publisher, &aliased("", 10));
    assert_eq!(world.take(subscriber), publish(V5, "c", "x").repeat(2));
    for (bad, goodbye) in [
        (aliased("a", 11), b"\xe0\x01\x94"),
        (aliased("a", 0), b"\xe0\x01\x94"),
        (aliased("", 3), b"\xe0\x01\x82"),
        (publish(V5, "", "x"), b"\xe0\x01\x82"),
    ] {
        let peer = world.connect(&Hello::new(V5, "bad").bytes());
        assert_eq!((world.ask(peer, &bad), world.closed(peer)), (goodbye.to_vec(), REFUSED));
    }
    let again = world.connect(&Hello::persistent(V5, "p").bytes());
    assert_eq!(world.ask(again, &aliased("", 10)), b"\xe0\x01\x82", "MQTT-3.3.2-7");
}

#[test]
fn what_cannot_be_published_is_refused() {
    let mut world = World::new();
    for (bad, goodbye) in [
        (publish_with(V5, 0x34, "a", 1, b"", "x"), &b"\xe0\x01\x9b"[..]),
        (publish(V5, "a/+", "x"), b"\xe0\x01\x90"),
        (publish_with(V5, 0x30, "a", 0, b"\x08\x00\x01#", "x"), b"\xe0\x01\x82"),
        (publish_with(V5, 0x36, "a", 1, b"", "x"), b"\xe0\x01\x81"),
        (b"\x50\x02\x00\x01".to_vec(), b"\xe0\x01\x82"),
        (b"\x70\x02\x00\x01".to_vec(), b"\xe0\x01\x82"),
        (b"\xf0\x00".to_vec(), b"\xe0\x01\x82"),
        (b"\x20\x02\x00\x00".to_vec(), b"\xe0\x01\x82"),
        (b"\xc1\x00".to_vec(), b"\xe0\x01\x81"),
        (b"\x30\x80\x80\x04".to_vec(), b"\xe0\x01\x95"),
    ] {
        let peer = world.connect(&Hello::new(V5, "a").bytes());
        assert_eq!(world.ask(peer, &bad), goodbye, "{bad:x?}");
        assert_eq!(world.closed(peer), REFUSED);
        if bad[0] & 0x0f == 0x04 {
            let peer = world.connect(&Hello::new(V311, "a").bytes());
            let bad = publish_with(V311, 0x34, "a", 1, b"", "x");
            assert_eq!((world.ask(peer, &bad), world.closed(peer)), (Vec::new(), REFUSED));
        }
    }
    assert_eq!(world.mqtt.counters().unsupported, 2);
    let peer = world.connect(&Hello::new(V5, "a").bytes());
    assert_eq!(world.ask(peer, b"\x62\x02\x00\x09"), b"\x70\x03\x00\x09\x92");
    assert_eq!(world.ask(peer, &puback(9)), b"", "it may be of an earlier session");
    assert_eq!(world.closed(peer), None);
}

#[test]
fn the_servers_own_topics_are_not_for_clients() {
    let (mut world, publisher, subscriber) = pair(V5, V5);
    world.send(subscriber, &subscribe(V5, "$SYS/#", 1));
    world.take(subscriber);
    let refused = packet(0x40, &[b"\x00\x05\x90"]);
    assert_eq!(world.ask(publisher, &publish1(V5, "$SYS/x", 5, "x")), refused);
    assert_eq!(world.ask(publisher, &publish(V5, "$SYS/x", "x")), b"");
    assert_eq!((world.take(subscriber), world.closed(publisher)), (Vec::new(), None));
    assert_eq!(world.mqtt.counters().dropped_reserved, 2);
}

#[test]
fn no_more_is_under_way_than_the_client_takes() {
    let mut world = World::new();
    let subscriber = world.connect(&Hello::new(V5, "s").with(b"\x21\x00\x02").bytes());
    world.send(subscriber, &subscribe(V5, "a", 1));
    world.take(subscriber);
    let publisher = world.connect(&Hello::new(V5, "p").bytes());
    for text in ["1", "2", "3", "4"] {
        world.send(publisher, &publish1(V5, "a", 1, text));
    }
    world.send(publisher, &publish(V5, "a", "5"));
    let of = |identifier, text| publish1(V5, "a", identifier, text);
    assert_eq!(world.take(subscriber), [of(1, "1"), of(2, "2")].concat());
    assert_eq!(world.ask(subscriber, &PINGREQ), b"\xd0\x00", "MQTT-3.3.4-10");
    assert_eq!(world.ask(subscriber, &puback(2)), of(3, "3"));
    assert_eq!(world.ask(subscriber, &puback(9)), b"");
    let last = [of(4, "4"), publish(V5, "a", "5")].concat();
    assert_eq!(world.ask(subscriber, &puback(1)), last);
    world.send(subscriber, &[puback(3), puback(4)].concat());
    world.send(publisher, &publish1(V5, "a", 1, "6"));
    assert_eq!(world.take(subscriber), of(5, "6"));
    world.check();
}

#[test]
fn a_packet_longer_than_the_room_goes_out_in_pieces_and_nothing_between() {
    let (mut world, publisher, subscriber) = pair(V311, V311);
    world.peers[subscriber].room = 100;
    let long = "x".repeat(1_000);
    world.send(publisher, &publish1(V311, "a", 1, &long));
    world.send(publisher, &publish(V311, "b", "after"));
    world.send(subscriber, &PINGREQ);
    let expected =
        [publish1(V311, "a", 1, &long), publish(V311, "b", "after"), b"\xd0\x00".to_vec()];
    let mut received = world.take(subscriber);
    // The answer may come before what waits, but not within it.
    let answer = received.windows(2).position(|pair| pair == b"\xd0\x00").unwrap();
    received.drain(answer..answer + 2);
    assert_eq!(received, expected[..2].concat());
    assert!([expected[0].len(), received.len()].contains(&answer), "{answer}");
    world.check();
}

#[test]
fn a_message_too_long_for_a_client_is_not_sent_to_it() {
    let mut world = World::new();
    let subscriber = world.connect(&Hello::new(V5, "s").with(b"\x27\x00\x00\x00\x40").bytes());
    world.send(subscriber, &subscribe(V5, "a", 1));
    world.take(subscriber);
    let publisher = world.connect(&Hello::new(V5, "p").bytes());
    assert_eq!(world.ask(publisher, &publish1(V5, "a", 1, &"x".repeat(80))), puback(1));
    assert_eq!(world.take(subscriber), b"");
    world.send(publisher, &publish(V5, "a", "short"));
    assert_eq!(world.take(subscriber), publish(V5, "a", "short"));
    assert_eq!(world.mqtt.counters().dropped_too_large, 1);
}

#[test]
fn what_nobody_of_the_clients_publishes_reaches_those_who_subscribed_and_are_there() {
    let mut world = World::new();
    let there = [V311, V5].map(|version| {
        let peer = world.connect(&Hello::new(version, &format!("{version:?}")).bytes());
        world.send(peer, &subscribe(version, "news/#", 1));
        world.take(peer);
        peer
    });
    let away = world.connect(&Hello::persistent(V311, "away").bytes());
    world.send(away, &subscribe(V311, "#", 1));
    world.take(away);
    world.lose(away);
    let other = world.connect(&Hello::new(V311, "other").bytes());
    let published = world.publish("news/today", "rain");
    assert_eq!(published, Ok(Published { queued: 2, full: 0 }), "QoS 0 waits for nobody");
    for (peer, version) in there.into_iter().zip([V311, V5]) {
        assert_eq!(world.take(peer), publish(version, "news/today", "rain"));
    }
    assert_eq!(world.take(other), b"");
    assert_eq!(world.publish("nobody/cares", "x"), Ok(Published::default()));
    for topic in ["", "news/+", "news/#", "$SYS/news", "a\0"] {
        assert_eq!(world.publish(topic, "x"), Err(Unpublished::BadTopic), "{topic:?}");
    }
    let long = "x".repeat(65_535);
    assert_eq!(world.publish("news/long", &long), Err(Unpublished::Full));
    world.check();
}

#[test]
fn raw_pushes_wait_for_the_end_of_a_packet() {
    let (mut world, publisher, subscriber) = pair(V311, V311);
    let takes = |world: &World, peer: usize| world.mqtt.takes_pushes(0, &world.peers[peer].state);
    let new = world.open();
    assert!(!takes(&world, new), "before its CONNECT");
    assert!(takes(&world, subscriber));
    world.peers[subscriber].room = 100;
    world.send(publisher, &publish(V311, "a", &"x".repeat(300)));
    assert!(!takes(&world, subscriber), "a part of it is sent");
    world.take(subscriber);
    assert!(takes(&world, subscriber));
    world.send(subscriber, b"\xe0\x00");
    assert!(!takes(&world, subscriber), "after its DISCONNECT");
}
