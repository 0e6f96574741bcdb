//! Every limit has an answer and a counter, and memory comes back.

use super::*;

#[test]
fn sessions() {
    let mut world = World::with(Policy { sessions_max: 1, ..Policy::default() });
    let peer = world.connect(&Hello::new(V5, "a").bytes());
    for (version, connack) in [(V311, &b"\x20\x02\x00\x03"[..]), (V5, b"\x20\x03\x00\x97\x00")] {
        let other = world.open();
        assert_eq!(world.ask(other, &Hello::new(version, "b").bytes()), connack);
        assert_eq!(world.closed(other), Some(Some(CloseReason::ProtocolError)));
    }
    assert_eq!(world.mqtt.counters().quota_exceeded, 2);
    world.connect(&Hello::new(V5, "a").bytes());
    assert_eq!(world.closed(peer), Some(None), "a takeover needs no other session");
}

#[test]
fn subscriptions() {
    let policy = Policy { session_subscriptions_max: 1, subscriptions_max: 2, ..Policy::default() };
    let mut world = World::with(policy);
    for (version, refusal) in [(V311, 0x80), (V5, 0x97)] {
        let peer = world.connect(&Hello::new(version, &format!("{version:?}")).bytes());
        assert_eq!(world.ask(peer, &subscribe(version, "a", 1)), suback(version, 1));
        assert_eq!(world.ask(peer, &subscribe(version, "b", 1)), suback(version, refusal));
    }
    let third = world.connect(&Hello::new(V5, "third").bytes());
    assert_eq!(world.ask(third, &subscribe(V5, "a", 1)), suback(V5, 0x97));
    assert_eq!(world.mqtt.counters().refused_subscriptions, 3);
}

#[test]
fn messages_that_wait() {
    let mut world = World::with(Policy { queue_max: 2, queues_max: 3, ..Policy::default() });
    for name in ["s", "t"] {
        let peer = world.connect(&Hello::persistent(V311, name).bytes());
        world.send(peer, &subscribe(V311, "#", 1));
        world.lose(peer);
    }
    let publisher = world.connect(&Hello::new(V311, "p").bytes());
    for text in ["1", "2", "3"] {
        assert_eq!(world.ask(publisher, &publish1(V311, "a", 1, text)), puback(1));
    }
    assert_eq!((world.mqtt.usage().queued, world.mqtt.counters().dropped_queue_full), (3, 3));
    world.check();
    for name in ["s", "t"] {
        world.connect(&Hello::new(V311, name).bytes());
    }
    let usage = world.mqtt.usage();
    assert_eq!((usage.queued, usage.message_bytes), (0, 0), "a clean session has nothing");
}

#[test]
fn bytes_of_messages() {
    let policy = Policy { message_bytes_max: 1_000, ..Policy::default() };
    let mut world = World::with(policy);
    let peer = world.connect(&Hello::persistent(V311, "s").bytes());
    world.send(peer, &subscribe(V311, "#", 1));
    world.lose(peer);
    let five = world.connect(&Hello::new(V5, "five").bytes());
    let three = world.connect(&Hello::new(V311, "three").bytes());
    let long = "x".repeat(700);
    assert_eq!(world.ask(five, &publish1(V5, "a", 1, &long)), puback(1));
    let refused = packet(0x40, &[b"\x00\x02\x97"]);
    assert_eq!(world.ask(five, &publish1(V5, "a", 2, &long)), refused);
    assert_eq!(world.ask(five, &publish(V5, "a", &long)), b"", "at most once");
    assert_eq!(world.closed(five), None);
    assert_eq!(world.ask(three, &publish1(V311, "a", 2, &long)), b"", "it cannot be told");
    assert_eq!(world.closed(three), Some(Some(CloseReason::ProtocolError)));
    assert_eq!(world.mqtt.counters().refused_messages, 3);
    let will = Hello::new(V5, "w").will("w", &long, 0, b"");
    let peer = world.open();
    assert_eq!(world.ask(peer, &will.bytes()), b"\x20\x03\x00\x97\x00");
    world.connect(&Hello::new(V311, "s").bytes());
    assert_eq!(world.mqtt.usage().message_bytes, 0);
}

#[test]
fn retained_messages() {
    let mut world = World::with(Policy { retained_max: 1, ..Policy::default() });
    let five = world.connect(&Hello::new(V5, "five").bytes());
    let three = world.connect(&Hello::new(V311, "three").bytes());
    let retained = |version, topic, text| publish_with(version, 0x33, topic, 1, b"", text);
    let nobody = packet(0x40, &[b"\x00\x01\x10"]);
    assert_eq!(world.ask(five, &retained(V5, "a", "x")), nobody);
    assert_eq!(world.ask(five, &retained(V5, "b", "x")), packet(0x40, &[b"\x00\x01\x97"]));
    assert_eq!(world.ask(three, &retained(V311, "b", "x")), puback(1), "published all the same");
    assert_eq!(world.ask(five, &retained(V5, "a", "y")), nobody, "in place of the other");
    assert_eq!((world.mqtt.usage().retained, world.mqtt.counters().refused_retained), (1, 2));
    world.send(five, &retained(V5, "a", ""));
    assert_eq!((world.mqtt.usage().retained, world.mqtt.usage().message_bytes), (0, 0));
}

#[test]
fn a_message_that_is_delivered_and_not_retained_leaves_no_older_one_behind() {
    let retained = |version, first, text| publish_with(version, first, "a", 1, b"", text);
    let long = "x".repeat(2_000);
    let policy = Policy { retained_bytes_max: 1_000, ..Policy::default() };
    // At QoS 0 and in 3.1.1 nobody can be told, so it is delivered.
    for (version, first, answer) in
        [(V311, 0x31, &b""[..]), (V5, 0x31, b""), (V311, 0x33, &puback(1))]
    {
        let mut world = World::with(policy);
        let [peer, subscriber] =
            ["p", "s"].map(|name| world.connect(&Hello::new(version, name).bytes()));
        world.send(peer, &retained(version, 0x31, "older"));
        world.ask(subscriber, &subscribe(version, "a", 0));
        assert_eq!(world.ask(peer, &retained(version, first, &long)), answer);
        let heard = world.take(subscriber);
        assert!(heard.ends_with(long.as_bytes()), "it is heard by who is there");
        assert_eq!((world.mqtt.retained_at("a"), world.mqtt.usage().retained), (None, 0));
        assert_eq!(world.mqtt.counters().refused_retained, 1);
    }
    // Who is told that it was refused has changed nothing.
    let mut world = World::with(policy);
    let [peer, subscriber] = ["p", "s"].map(|name| world.connect(&Hello::new(V5, name).bytes()));
    world.send(peer, &retained(V5, 0x31, "older"));
    world.ask(subscriber, &subscribe(V5, "a", 0));
    let refused = packet(0x40, &[b"\x00\x01\x97"]);
    assert_eq!(world.ask(peer, &retained(V5, 0x33, &long)), refused);
    assert_eq!(world.take(subscriber), b"");
    assert_eq!(world.mqtt.retained_at("a"), Some(b"older".to_vec()));
    // Nor is an older one forgotten when there is no room for the message at all, which nobody hears then.
    let mut world = World::with(Policy { message_bytes_max: 1_000, ..Policy::default() });
    let peer = world.connect(&Hello::new(V311, "p").bytes());
    world.send(peer, &retained(V311, 0x31, "older"));
    world.send(peer, &retained(V311, 0x31, &long));
    assert_eq!(world.mqtt.retained_at("a"), Some(b"older".to_vec()));
    // A will is delivered in any case.
    let mut world = World::with(policy);
    let peer = world.connect(&Hello::new(V5, "p").bytes());
    world.send(peer, &retained(V5, 0x31, "older"));
    let dying = world.connect(&Hello::new(V5, "w").will("a", &long, 0x20, b"").bytes());
    world.lose(dying);
    assert_eq!((world.mqtt.counters().wills, world.mqtt.retained_at("a")), (1, None));
}

#[test]
fn shapes_of_filters() {
    let policy = Policy { filter_shapes_max: 2, ..Policy::default() };
    for (version, refusal) in [(V311, 0x80), (V5, 0x97)] {
        let mut world = World::with(policy);
        let peer = world.connect(&Hello::new(version, "a").bytes());
        for (filter, code) in [
            ("+/+/+/+/+/+/+/+/#", 0),
            ("1/2/3/4/5/6/7/8/9/10/11/12", 0),
            ("1/2/3/4/5/6/7/8/9/+/#", 0),
            ("a/b/c/d/e/f/g/h/i/+/k", 0),
            ("1/2/3/4/5/6/7/8/+/+", refusal),
            ("1/2/3/4/5/6/7/8/9/+/#", 0),
        ] {
            assert_eq!(world.ask(peer, &subscribe(version, filter, 0)), suback(version, code));
        }
        assert_eq!(world.mqtt.counters().refused_subscriptions, 1);
        assert_eq!(world.mqtt.usage().subscriptions, 4);
        // What was refused is not subscribed to.
        world.send(peer, &publish(version, "1/2/3/4/5/6/7/8/9/10", "x"));
        let once = publish(version, "1/2/3/4/5/6/7/8/9/10", "x");
        assert_eq!(world.take(peer), once);
        world.check();
    }
}

#[test]
fn retained_messages_beyond_what_may_wait_are_counted() {
    let mut world = World::with(Policy { queue_max: 3, ..Policy::default() });
    let peer = world.connect(&Hello::new(V311, "a").bytes());
    for n in 0..9 {
        world.send(peer, &publish_with(V311, 0x31, &format!("a/{n}"), 0, b"", "x"));
    }
    let received = world.ask(peer, &subscribe(V311, "#", 0));
    assert_eq!(received.len(), 5 + 3 * publish(V311, "a/0", "x").len());
    assert_eq!(world.mqtt.counters().retained_cut_short, 1);
    world.check();
}

#[test]
fn an_idle_client_takes_little() {
    let mut world = World::new();
    for n in 0..1_000 {
        let peer = world.connect(&Hello::new(V311, &format!("client-{n:06}")).bytes());
        world.send(peer, &subscribe(V311, &format!("device/{n:06}"), 1));
        world.take(peer);
    }
    let usage = world.mqtt.usage();
    assert_eq!((usage.sessions, usage.subscriptions), (1_000, 1_000));
    println!("{} bytes a session", usage.bytes_per_session());
    let mut told = std::collections::BTreeMap::new();
    Service::usage(&mut world.mqtt, &mut |name, amount| {
        told.insert(name, amount);
    });
    assert_eq!(told, usage.named().into_iter().collect(), "in one piece");
    assert!(usage.bytes_per_session() < 320, "{}", usage.bytes_per_session());
    for peer in 0..1_000 {
        world.lose(peer);
    }
    assert_eq!((world.mqtt.usage().sessions, world.mqtt.usage().subscriptions), (0, 0));
}
