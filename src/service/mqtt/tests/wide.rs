//! Messages to more than go at once.

use super::*;
use crate::conn::invitations::INVITATIONS_MAX;

const MANY: usize = 600;

/// A world whose messages are wide from four subscriptions on, and many that have subscribed to `all/+` with QoS 1
/// and to a topic of their own; the publisher is the last one.
fn crowd(policy: Policy) -> (World, usize) {
    let mut world = World::with(Policy { at_once_max: 3, ..policy });
    for n in 0..MANY {
        let version = version(n);
        let peer = world.connect(&Hello::new(version, &n.to_string()).bytes());
        world.send(peer, &subscribe(version, "all/+", 1));
        world.send(peer, &subscribe(version, &format!("own/{n}"), 0));
        world.take(peer);
    }
    let publisher = world.connect(&Hello::new(V5, "p").bytes());
    (world, publisher)
}

fn version(peer: usize) -> Version {
    if peer.is_multiple_of(2) { V311 } else { V5 }
}

/// Gives the service its turns until it wants none.
fn settle(world: &mut World) {
    while world.mqtt.next_turn().is_some_and(|at| at <= world.now) {
        world.turn();
    }
}

#[test]
fn a_message_to_many_reaches_everybody_once_and_in_order() {
    let (mut world, publisher) = crowd(Policy::default());
    assert_eq!(world.ask(publisher, &publish1(V5, "all/1", 7, "first")), puback(7));
    assert_eq!(world.mqtt.usage().queued, 0, "nobody waits for that");
    world.send(publisher, &publish(V5, "all/2", "second"));
    // It is alone, and goes at once, but not before the others.
    world.send(publisher, &publish(V5, "own/5", "third"));
    let expected = |peer: usize| {
        let first = publish1(version(peer), "all/1", 1, "first");
        [first, publish(version(peer), "all/2", "second")].concat()
    };
    let third = publish(version(5), "own/5", "third");
    assert_eq!(world.take(5), [expected(5), third].concat());
    assert_eq!(world.take(6), b"");
    settle(&mut world);
    for peer in (0..MANY).filter(|peer| *peer != 5) {
        assert_eq!(world.take(peer), expected(peer), "{peer}");
    }
    assert_eq!((world.take(5), world.take(publisher)), (vec![], vec![]));
    assert_eq!(world.mqtt.counters().delivered, 2 * MANY as u64 + 1);
    (0..MANY).for_each(|peer| world.send(peer, &puback(1)));
    assert_eq!(world.mqtt.usage().message_bytes, 0);
    world.check();
}

#[test]
fn it_is_for_those_who_had_subscribed_when_it_was_published() {
    let (mut world, publisher) = crowd(Policy::default());
    world.send(publisher, &publish(V5, "all/1", "x"));
    let late = world.connect(&Hello::new(V311, "late").bytes());
    assert_eq!(world.ask(late, &subscribe(V311, "all/1", 0)), suback(V311, 0));
    assert_eq!(world.ask(publisher, &subscribe(V5, "#", 0)), suback(V5, 0));
    // Whoever leaves the topic gets what was published before.
    let leave = packet(0xa2, &[b"\x00\x02", &string("all/+")]);
    let unsuback = packet(0xb0, &[b"\x00\x02"]);
    assert_eq!(world.ask(0, &leave), [unsuback, publish(V311, "all/1", "x")].concat());
    world.lose(2);
    let again = world.connect(&Hello::new(V311, "2").bytes());
    world.send(again, &subscribe(V311, "all/+", 0));
    assert_eq!(world.take(again), suback(V311, 0), "another session of the same client");
    settle(&mut world);
    for peer in [late, publisher, again, 0] {
        assert_eq!(world.take(peer), b"");
    }
    assert_eq!(world.take(3), publish(V5, "all/1", "x"));
    world.check();
}

#[test]
fn it_waits_for_no_more_clients_than_can_be_called() {
    let (mut world, publisher) = crowd(Policy::default());
    world.send(publisher, &publish(V5, "all/1", "x"));
    let id = world.peers[publisher].id;
    let mut invitations = Invitations::new();
    for _ in 0..INVITATIONS_MAX - 10 {
        assert!(invitations.push(id));
    }
    for _ in 0..5 {
        world.mqtt.on_turn(&mut Turn { now: world.now, invitations: &mut invitations });
    }
    // A piece, in which the last one had a place.
    assert_eq!(world.mqtt.usage().queued, 256);
    let asks_at = world.mqtt.next_turn().expect("it goes on");
    assert!(asks_at > world.now, "it is not asked again and again");
    world.offer(invitations);
    world.now = asks_at;
    settle(&mut world);
    assert!((0..MANY).all(|peer| world.take(peer) == publish(version(peer), "all/1", "x")));
}

#[test]
fn past_the_limit_they_are_refused() {
    let (mut world, publisher) = crowd(Policy { wide_max: 2, ..Policy::default() });
    for text in ["one", "two"] {
        world.send(publisher, &publish(V5, "all/1", text));
    }
    let refused = packet(0x40, &[b"\x00\x09\x97"]);
    assert_eq!(world.ask(publisher, &publish1(V5, "all/1", 9, "three")), refused);
    assert_eq!(world.ask(publisher, &publish(V5, "all/1", "four")), b"");
    assert_eq!(world.publish("all/1", "five"), Err(Unpublished::Full));
    assert_eq!(world.mqtt.counters().refused_messages, 3);
    assert_eq!(world.ask(publisher, &publish1(V5, "own/9", 9, "six")), puback(9), "not wide");
    settle(&mut world);
    assert_eq!(world.publish("all/1", "x"), Ok(Published { queued: 600, full: 0 }));
    settle(&mut world);
    let texts = ["one", "two", "x"].map(|text| publish(V311, "all/1", text));
    assert_eq!(world.take(0), texts.concat());
    world.check();
}
