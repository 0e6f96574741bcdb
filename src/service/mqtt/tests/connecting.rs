//! CONNECT and CONNACK.

use super::*;

/// What the server answers to the first packet of a connection, and why it closed, if it did.
fn answer_to(world: &mut World, first: &[u8]) -> (Vec<u8>, Option<Option<CloseReason>>) {
    let peer = world.open();
    (world.ask(peer, first), world.closed(peer))
}

const REFUSED: Option<Option<CloseReason>> = Some(Some(CloseReason::ProtocolError));

#[test]
fn a_client_is_accepted_and_answered() {
    let mut world = World::new();
    for (version, connack) in [(V311, CONNACK311), (V5, CONNACK5)] {
        let peer = world.open();
        assert_eq!(world.ask(peer, &Hello::new(version, "a").bytes()), connack);
        assert_eq!(world.ask(peer, &PINGREQ), b"\xd0\x00");
        assert_eq!(world.ask(peer, b"\xe0\x00"), b"", "nothing follows a DISCONNECT");
        assert_eq!(world.closed(peer), Some(None));
        assert_eq!(world.mqtt.usage().sessions, 0, "the session was for the connection");
    }
    let everything = codec::tests::full_connect();
    assert_eq!(answer_to(&mut world, &everything), (CONNACK5.to_vec(), None));
}

#[test]
fn a_client_without_a_name_gets_one() {
    let mut world = World::new();
    let (connack, closed) = answer_to(&mut world, &Hello::new(V5, "").bytes());
    assert_eq!((connack[..7].to_vec(), closed), (b"\x20\x29\x00\x00\x26\x12\x00".to_vec(), None));
    assert!(connack[8..].starts_with(b"tenmil-") && connack.ends_with(OWN));
    let (other, _) = answer_to(&mut world, &Hello::new(V5, "").bytes());
    assert_ne!(connack, other);
    assert_eq!(answer_to(&mut world, &Hello::new(V311, "").bytes()), (CONNACK311.to_vec(), None));
    assert_eq!(world.mqtt.usage().sessions, 3);
    // MQTT-3.1.3-8 of 3.1.1.
    let persistent = Hello::persistent(V311, "").bytes();
    assert_eq!(answer_to(&mut world, &persistent), (b"\x20\x02\x00\x02".to_vec(), REFUSED));
}

#[test]
fn what_is_not_accepted_is_told() {
    let mut world = World::new();
    let long = "x".repeat(257);
    for (hello, answer) in [
        (Hello::new(V311, &long), &b"\x20\x02\x00\x02"[..]),
        (Hello::new(V5, &long), b"\x20\x03\x00\x85\x00"),
        (Hello::new(V5, "a").with(b"\x15\x00\x01m"), b"\x20\x03\x00\x8c\x00"),
        (Hello::new(V5, "a").will("w", "", 0x10, b""), b"\x20\x03\x00\x9b\x00"),
        (Hello::new(V311, "a").will("w", "", 0x10, b""), b""),
        (Hello::new(V5, "a").will("w/#", "", 0, b""), b"\x20\x03\x00\x90\x00"),
        (Hello::new(V5, "a").will("$SYS/w", "", 0, b""), b"\x20\x03\x00\x90\x00"),
        (Hello::new(V5, "a").will("w", "", 0, b"\x08\x00\x01#"), b"\x20\x03\x00\x82\x00"),
        (Hello::new(V311, "a").will("", "", 0, b""), b""),
        (Hello::new(V5, "a").with(b"\x27\x00\x00\x00\x08"), b"\x20\x03\x00\x95\x00"),
        (Hello::new(V5, "a").with(b"\x21\x00\x00"), b"\x20\x03\x00\x82\x00"),
        (Hello { flags: 0x03, ..Hello::new(V5, "a") }, b"\x20\x03\x00\x81\x00"),
        (Hello { flags: 0x03, ..Hello::new(V311, "a") }, b""),
    ] {
        let answered = answer_to(&mut world, &hello.bytes());
        assert_eq!(answered, (answer.to_vec(), REFUSED), "{:x?}", hello.bytes());
    }
    let old = b"\x10\x0f\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x01a";
    assert_eq!(answer_to(&mut world, old), (b"\x20\x02\x00\x01".to_vec(), REFUSED));
    let new = b"\x10\x0d\x00\x04MQTT\x06\x02\x00\x3c\x00\x01a";
    assert_eq!(answer_to(&mut world, new), (b"\x20\x03\x00\x84\x00".to_vec(), REFUSED));
    assert_eq!(world.mqtt.usage(), Usage { ..World::new().mqtt.usage() }, "nothing is left");
    let counters = world.mqtt.counters();
    assert_eq!((counters.connected, counters.refused_clients), (0, 5));
}

#[test]
fn the_first_packet_is_a_connect() {
    let mut world = World::new();
    for first in [&b"\xc0"[..], b"\x30", b"GET / HTTP/1.1\r\n", b"\xe0\x00", b"\x00", b"\x11\x00"] {
        assert_eq!(answer_to(&mut world, first), (Vec::new(), REFUSED), "{first:x?}");
    }
    assert_eq!(world.mqtt.counters().protocol_errors, 6);
    let mut world = World::new();
    for version in [V311, V5] {
        let hello = Hello::new(version, "a").bytes();
        let peer = world.connect(&hello);
        let goodbye: &[u8] = if version == V5 { b"\xe0\x01\x82" } else { b"" };
        assert_eq!(world.ask(peer, &hello), goodbye, "a second one is a protocol error");
        assert_eq!(world.closed(peer), REFUSED);
    }
    let huge = b"\x10\xff\xff\xff\x7f";
    assert_eq!(answer_to(&mut world, huge), (Vec::new(), REFUSED));
    assert_eq!(world.mqtt.counters().too_large, 1);
}

#[test]
fn a_connection_without_a_connect_is_closed() {
    let mut world = World::new();
    let silent = world.open();
    let slow = world.open();
    world.send(slow, b"\x10\x0d\x00\x04MQTT");
    let ready = world.connect(&Hello::new(V5, "a").bytes());
    world.pass(Duration::from_millis(9_990));
    assert_eq!((world.closed(silent), world.closed(slow)), (None, None));
    world.pass(Duration::from_millis(10));
    let late = Some(Some(CloseReason::HeartbeatMissed));
    assert_eq!((world.closed(silent), world.closed(slow), world.closed(ready)), (late, late, None));
    assert_eq!(world.mqtt.counters().connect_timeouts, 2);
}

#[test]
fn the_server_decides_on_keep_alive_and_expiry() {
    let policy = Policy { keep_alive_s_max: 30, session_expiry_s_max: 9, ..Policy::default() };
    let mut world = World::with(policy);
    for (keep_alive_s, told) in
        [(0, &b"\x13\x00\x1e"[..]), (31, b"\x13\x00\x1e"), (30, b""), (1, b"")]
    {
        let peer = world.open();
        let connack = world.ask(peer, &Hello::new(V5, "a").keep_alive(keep_alive_s).bytes());
        assert_eq!(connack[5..], [told, OWN].concat());
    }
    let (connack, _) = answer_to(&mut world, &Hello::persistent(V5, "b").keep_alive(9).bytes());
    assert_eq!(connack[5..], [b"\x11\x00\x00\x00\x09", OWN].concat());
    let (connack, _) = answer_to(
        &mut world,
        &Hello::new(V5, "c").keep_alive(9).with(b"\x11\x00\x00\x00\x08").bytes(),
    );
    assert_eq!(connack[5..], *OWN);
    let quiet = world.connect(&Hello::new(V311, "d").bytes());
    world.pass(Duration::from_secs(100));
    assert_eq!(world.closed(quiet), None, "3.1.1 cannot be told of another keep alive");
}

#[test]
fn who_may_connect_is_for_the_embedder_to_decide() {
    fn only_me(connect: &codec::connect::Connect<'_>) -> Result<(), Reason> {
        match (connect.user_name, connect.password) {
            (Some("me"), Some(b"secret")) => Ok(()),
            _ => Err(Reason::BadUserNameOrPassword),
        }
    }
    let mut world = World::with(Policy { authenticator: only_me, ..Policy::default() });
    let hello = |version, password: &str| Hello {
        flags: 0xc2,
        payload: [string("me"), string(password)].concat(),
        ..Hello::new(version, "a")
    };
    world.connect(&hello(V311, "secret").bytes());
    world.connect(&hello(V5, "secret").bytes());
    let wrong = hello(V311, "guess").bytes();
    assert_eq!(answer_to(&mut world, &wrong), (b"\x20\x02\x00\x04".to_vec(), REFUSED));
    let wrong = hello(V5, "guess").bytes();
    assert_eq!(answer_to(&mut world, &wrong), (b"\x20\x03\x00\x86\x00".to_vec(), REFUSED));
}

#[test]
fn a_second_client_with_the_name_takes_the_session() {
    let mut world = World::new();
    for (old, new) in [(V311, V5), (V5, V311), (V5, V5)] {
        let first = world.connect(&Hello::new(old, "a").bytes());
        let second = world.connect(&Hello::new(new, "a").bytes());
        let goodbye: &[u8] = if old == V5 { b"\xe0\x01\x8e" } else { b"" };
        assert_eq!((world.take(first), world.closed(first)), (goodbye.to_vec(), Some(None)));
        assert_eq!(world.ask(second, &PINGREQ), b"\xd0\x00");
        world.lose(first);
        assert_eq!(
            world.ask(second, &PINGREQ),
            b"\xd0\x00",
            "the end of the first is nothing to it"
        );
        world.lose(second);
    }
    assert_eq!(world.mqtt.counters().taken_over, 3);
    assert_eq!(world.mqtt.usage().sessions, 0);
}

#[test]
fn a_length_of_more_bytes_than_it_needs_is_read_in_3_1_1_alone() {
    // MQTT-1.5.5-1 of 5.0; 3.1.1 does not say so.
    let padded = b"\xc0\x80\x00";
    let mut world = World::new();
    let peer = world.connect(&Hello::new(V311, "a").bytes());
    assert_eq!((world.ask(peer, padded), world.closed(peer)), (PINGRESP.to_vec(), None));
    let peer = world.connect(&Hello::new(V5, "b").bytes());
    assert_eq!(world.ask(peer, padded), b"\xe0\x01\x81");
    assert_eq!(world.closed(peer), Some(Some(CloseReason::ProtocolError)));
    assert_eq!(world.mqtt.counters().malformed, 1);
}
