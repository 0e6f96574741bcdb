//! Packets byte for byte, as the specification lays them out.

use super::acknowledgment::{self, PINGRESP};
use super::connect::{Connack, Will};
use super::frame::split;
use super::property::Properties;
use super::publish::Delivery;
use super::subscribe::{Options, RetainHandling, suback_head, unsuback_head};
use super::*;

fn frame(bytes: &[u8]) -> Frame<'_> {
    let frame = split(bytes, 100_000).expect("a frame").expect("a whole one");
    assert_eq!(frame.len, bytes.len());
    frame
}

fn decode(bytes: &[u8], version: Version) -> Result<Packet<'_>, Reason> {
    Packet::decode(&frame(bytes), version)
}

#[test]
fn connect_with_nothing() {
    let bytes = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a";
    let connect = first(&frame(bytes)).unwrap();
    assert_eq!((connect.version, connect.clean, connect.keep_alive_s), (Version::V311, true, 60));
    assert_eq!((connect.client_id, connect.will), ("a", None));
    assert_eq!((connect.user_name, connect.password), (None, None));
}

#[test]
fn connect_with_everything_in_311() {
    let bytes =
        b"\x10\x1e\x00\x04MQTT\x04\xec\x00\x0a\x00\x02id\x00\x02w/\x00\x03bye\x00\x01u\x00\x02pw";
    let connect = first(&frame(bytes)).unwrap();
    let will = Will {
        topic: "w/",
        payload: b"bye",
        qos: 1,
        retain: true,
        properties: Properties::default(),
    };
    assert_eq!((connect.clean, connect.keep_alive_s, connect.client_id), (false, 10, "id"));
    assert_eq!(connect.will, Some(will));
    assert_eq!((connect.user_name, connect.password), (Some("u"), Some(&b"pw"[..])));
}

/// A 5.0 CONNECT with every property that there is, and a will with every one of its.
pub(crate) fn full_connect() -> Vec<u8> {
    let properties = [
        &b"\x11\x00\x00\x01\x2c"[..],
        b"\x21\x00\x05",
        b"\x27\x00\x00\x10\x00",
        b"\x22\x00\x07",
        b"\x19\x01\x17\x00",
        b"\x26\x00\x01k\x00\x01v\x26\x00\x01k\x00\x01w",
    ]
    .concat();
    let of_will = [
        &b"\x18\x00\x00\x00\x1e\x01\x01"[..],
        b"\x02\x00\x00\x00\x3c",
        b"\x03\x00\x01t",
        b"\x08\x00\x01r",
        b"\x09\x00\x02\x00\xff",
        b"\x26\x00\x01a\x00\x01b",
    ]
    .concat();
    let mut body = b"\x00\x04MQTT\x05\xee\x00\x0a".to_vec();
    body.push(u8::try_from(properties.len()).unwrap());
    body.extend_from_slice(&properties);
    body.extend_from_slice(b"\x00\x02id");
    body.push(u8::try_from(of_will.len()).unwrap());
    body.extend_from_slice(&of_will);
    body.extend_from_slice(b"\x00\x02w/\x00\x03bye\x00\x01u\x00\x02pw");
    [&[0x10, u8::try_from(body.len()).unwrap()][..], &body].concat()
}

#[test]
fn connect_with_everything_in_5() {
    let bytes = full_connect();
    let connect = first(&frame(&bytes)).unwrap();
    assert_eq!((connect.version, connect.clean, connect.client_id), (Version::V5, true, "id"));
    let properties = connect.properties;
    assert_eq!(properties.session_expiry_s, Some(300));
    assert_eq!(properties.receive_maximum, Some(5));
    assert_eq!(properties.maximum_packet_size, Some(4_096));
    let will = connect.will.unwrap();
    assert_eq!((will.topic, will.payload, will.qos, will.retain), ("w/", &b"bye"[..], 1, true));
    assert_eq!(
        (will.properties.will_delay_s, will.properties.message_expiry_s),
        (Some(30), Some(60))
    );
    let forwarded = b"\x01\x01\x03\x00\x01t\x08\x00\x01r\x09\x00\x02\x00\xff\x26\x00\x01a\x00\x01b";
    assert_eq!(will.properties.forwarded().collect::<Vec<_>>().concat(), forwarded);
    assert_eq!((connect.user_name, connect.password), (Some("u"), Some(&b"pw"[..])));
}

#[test]
fn connects_that_are_refused_and_how() {
    let refusal = |bytes: &[u8]| first(&frame(bytes)).unwrap_err();
    let refuse = |version, reason| Refusal { version, reason };
    use super::connect::Refusal;
    let unsupported = Reason::UnsupportedProtocolVersion;
    let malformed = Reason::MalformedPacket;
    for (bytes, expected) in [
        // 3.1, and a version yet to come.
        (
            &b"\x10\x0f\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x01a"[..],
            refuse(Some(Version::V311), unsupported),
        ),
        (b"\x10\x0d\x00\x04MQTT\x06\x02\x00\x3c\x00\x01a", refuse(Some(Version::V5), unsupported)),
        (b"\x10\x0d\x00\x04HTTP\x04\x02\x00\x3c\x00\x01a", refuse(None, unsupported)),
        // The reserved flag; a will of QoS 3; QoS and retain without a will; a password alone.
        (b"\x10\x0d\x00\x04MQTT\x04\x03\x00\x3c\x00\x01a", refuse(None, malformed)),
        (
            b"\x10\x0e\x00\x04MQTT\x05\x03\x00\x3c\x00\x00\x01a",
            refuse(Some(Version::V5), malformed),
        ),
        (b"\x10\x11\x00\x04MQTT\x04\x1e\x00\x3c\x00\x01a\x00\x00\x00\x00", refuse(None, malformed)),
        (b"\x10\x0d\x00\x04MQTT\x04\x0a\x00\x3c\x00\x01a", refuse(None, malformed)),
        (b"\x10\x0d\x00\x04MQTT\x04\x22\x00\x3c\x00\x01a", refuse(None, malformed)),
        (b"\x10\x10\x00\x04MQTT\x04\x42\x00\x3c\x00\x01a\x00\x01p", refuse(None, malformed)),
        // Something left, something missing, and no UTF-8.
        (b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x01ab", refuse(None, malformed)),
        (b"\x10\x0b\x00\x04MQTT\x04\x02\x00\x3c\x00", refuse(None, malformed)),
        (b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01\xff", refuse(None, malformed)),
        // Not a CONNECT.
        (b"\xc0\x00", refuse(None, Reason::ProtocolError)),
    ] {
        assert_eq!(refusal(bytes), expected, "{bytes:x?}");
    }
    assert!(first(&frame(b"\x10\x11\x00\x04MQTT\x05\x42\x00\x3c\x00\x00\x01a\x00\x01p")).is_ok());
    let padded = b"\x10\x8e\x00\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01a";
    assert_eq!(refusal(padded), refuse(Some(Version::V5), malformed));
    assert!(first(&frame(b"\x10\x8d\x00\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a")).is_ok());
}

#[test]
fn connack() {
    let plain = Connack {
        session_present: true,
        assigned_client_id: None,
        server_keep_alive_s: None,
        session_expiry_s: None,
        packet_len_max: 65_535,
        topic_alias_max: 10,
    };
    assert_eq!(plain.encode(Version::V311).bytes(), b"\x20\x02\x01\x00");
    assert_eq!(
        plain.encode(Version::V5).bytes(),
        b"\x20\x0f\x01\x00\x0c\x22\x00\x0a\x24\x01\x27\x00\x00\xff\xff\x2a\x00"
    );
    let full = Connack {
        session_present: false,
        assigned_client_id: Some("ab"),
        server_keep_alive_s: Some(30),
        session_expiry_s: Some(9),
        ..plain
    };
    let expected = b"\x20\x1c\x00\x00\x19\x11\x00\x00\x00\x09\x12\x00\x02ab\x13\x00\x1e\
        \x22\x00\x0a\x24\x01\x27\x00\x00\xff\xff\x2a\x00";
    assert_eq!(full.encode(Version::V5).bytes(), expected);
    let refuse =
        |version, reason| connect::refuse(version, reason).map(|packet| packet.bytes().to_vec());
    for (reason, code) in [
        (Reason::UnsupportedProtocolVersion, 1),
        (Reason::ClientIdentifierNotValid, 2),
        (Reason::QuotaExceeded, 3),
        (Reason::BadUserNameOrPassword, 4),
    ] {
        assert_eq!(refuse(Version::V311, reason), Some(vec![0x20, 2, 0, code]));
        assert_eq!(refuse(Version::V5, reason), Some(vec![0x20, 3, 0, reason.code(), 0]));
    }
    assert_eq!(refuse(Version::V311, Reason::QosNotSupported), None);
}

#[test]
fn publish_from_a_client() {
    let bytes = b"\x3b\x09\x00\x03a/b\x00\x0ahi";
    let Ok(Packet::Publish(publish)) = decode(bytes, Version::V311) else { panic!("a PUBLISH") };
    assert_eq!((publish.dup, publish.qos, publish.retain), (true, 1, true));
    assert_eq!((publish.topic, publish.identifier, publish.payload), ("a/b", 10, &b"hi"[..]));
    let bytes = b"\x30\x0b\x00\x01a\x05\x02\x00\x00\x00\x07hi";
    let Ok(Packet::Publish(publish)) = decode(bytes, Version::V5) else { panic!("a PUBLISH") };
    assert_eq!((publish.qos, publish.identifier), (0, 0));
    assert_eq!((publish.properties.message_expiry_s, publish.payload), (Some(7), &b"hi"[..]));
    for (bytes, reason) in [
        (&b"\x36\x05\x00\x01a\x00\x01"[..], Reason::MalformedPacket),
        (b"\x38\x03\x00\x01a", Reason::MalformedPacket),
        (b"\x32\x05\x00\x01a\x00\x00", Reason::ProtocolError),
        (b"\x32\x04\x00\x01a\x00", Reason::MalformedPacket),
        (b"\x30\x02\x00\x01", Reason::MalformedPacket),
    ] {
        assert_eq!(decode(bytes, Version::V311), Err(reason), "{bytes:x?}");
    }
    let with_identifier = b"\x30\x06\x00\x01a\x02\x0b\x05";
    assert_eq!(decode(with_identifier, Version::V5), Err(Reason::ProtocolError), "MQTT-3.3.4-6");
}

#[test]
fn publish_to_a_client() {
    let delivery = Delivery {
        dup: true,
        qos: 1,
        retain: true,
        topic: "a/b",
        identifier: 0x1234,
        expiry_s: Some(9),
        subscription_identifiers: &[1, 200],
        properties: b"\x01\x01",
        payload: b"hi",
    };
    let encode = |delivery: Delivery<'_>, version| {
        let mut bytes = Vec::new();
        delivery.encode(version, |part| bytes.extend_from_slice(part));
        assert_eq!(bytes.len(), delivery.len(version));
        bytes
    };
    assert_eq!(encode(delivery, Version::V311), b"\x3b\x09\x00\x03a/b\x12\x34hi");
    let expected =
        b"\x3b\x16\x00\x03a/b\x12\x34\x0c\x02\x00\x00\x00\x09\x0b\x01\x0b\xc8\x01\x01\x01hi";
    assert_eq!(encode(delivery, Version::V5), expected);
    let plain = Delivery {
        dup: false,
        qos: 0,
        retain: false,
        expiry_s: None,
        subscription_identifiers: &[],
        properties: b"",
        ..delivery
    };
    assert_eq!(encode(plain, Version::V311), b"\x30\x07\x00\x03a/bhi");
    assert_eq!(encode(plain, Version::V5), b"\x30\x08\x00\x03a/b\x00hi");
    let long = vec![7; 20_000];
    let long = encode(Delivery { payload: &long, ..plain }, Version::V5);
    assert_eq!(long[..4], [0x30, 0xa6, 0x9c, 0x01]);
}

#[test]
fn acknowledgments() {
    for (first, kind) in
        [(0x40, Kind::Puback), (0x50, Kind::Pubrec), (0x62, Kind::Pubrel), (0x70, Kind::Pubcomp)]
    {
        let ack = |code| Packet::Acknowledgment(Acknowledgment { kind, identifier: 258, code });
        for version in [Version::V311, Version::V5] {
            assert_eq!(decode(&[first, 2, 1, 2], version), Ok(ack(0)));
            let encoded = acknowledgment::encode(kind, version, 258, Reason::Success);
            assert_eq!(encoded.bytes(), [first, 2, 1, 2]);
            assert_eq!(decode(&[first, 2, 0, 0], version), Err(Reason::ProtocolError));
            assert_eq!(decode(&[first, 1, 1], version), Err(Reason::MalformedPacket));
        }
        let code = if matches!(kind, Kind::Puback | Kind::Pubrec) { 0x97 } else { 0x92 };
        assert_eq!(decode(&[first, 3, 1, 2, code], Version::V5), Ok(ack(code)));
        assert_eq!(decode(&[first, 4, 1, 2, code, 0], Version::V5), Ok(ack(code)));
        let reason = &[first, 8, 1, 2, code, 4, 0x1f, 0, 1, b'x'];
        assert_eq!(decode(reason, Version::V5), Ok(ack(code)));
        assert_eq!(decode(&[first, 3, 1, 2, 0x7f], Version::V5), Err(Reason::ProtocolError));
        assert_eq!(decode(&[first, 3, 1, 2, 0], Version::V311), Err(Reason::MalformedPacket));
    }
    let no_subscribers = Reason::NoMatchingSubscribers;
    let encoded = acknowledgment::encode(Kind::Puback, Version::V5, 1, no_subscribers);
    assert_eq!(encoded.bytes(), [0x40, 3, 0, 1, 0x10]);
    let encoded = acknowledgment::encode(Kind::Puback, Version::V311, 1, no_subscribers);
    assert_eq!(encoded.bytes(), [0x40, 2, 0, 1]);
}

#[test]
fn subscribe_and_suback() {
    let bytes = b"\x82\x0e\x00\x0a\x00\x03a/b\x01\x00\x03c/#\x02";
    let Ok(Packet::Subscribe(subscribe)) = decode(bytes, Version::V311) else { panic!("one") };
    let options = |qos| Options {
        qos,
        no_local: false,
        retain_as_published: false,
        retain_handling: RetainHandling::Send,
    };
    assert_eq!((subscribe.identifier, subscribe.len), (10, 2));
    let filters: Vec<_> = subscribe.filters().collect();
    assert_eq!(filters, [("a/b", options(1)), ("c/#", options(2))]);
    let bytes = b"\x82\x0a\x00\x0a\x03\x0b\x80\x02\x00\x01a\x1d";
    let Ok(Packet::Subscribe(subscribe)) = decode(bytes, Version::V5) else { panic!("one") };
    assert_eq!(subscribe.subscription_identifier, Some(256));
    let expected = Options {
        qos: 1,
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::SendIfNew,
    };
    assert_eq!(subscribe.filters().collect::<Vec<_>>(), [("a", expected)]);
    for (bytes, version, reason) in [
        (&b"\x82\x02\x00\x0a"[..], Version::V311, Reason::ProtocolError),
        (b"\x82\x03\x00\x0a\x00", Version::V5, Reason::ProtocolError),
        (b"\x82\x06\x00\x0a\x00\x01a\x03", Version::V311, Reason::MalformedPacket),
        (b"\x82\x06\x00\x0a\x00\x01a\x04", Version::V311, Reason::MalformedPacket),
        (b"\x82\x07\x00\x0a\x00\x00\x01a\x41", Version::V5, Reason::MalformedPacket),
        (b"\x82\x07\x00\x0a\x00\x00\x01a\x31", Version::V5, Reason::ProtocolError),
        (b"\x82\x05\x00\x0a\x00\x01a", Version::V311, Reason::MalformedPacket),
        (b"\x82\x06\x00\x00\x00\x01a\x00", Version::V311, Reason::ProtocolError),
    ] {
        assert_eq!(decode(bytes, version), Err(reason), "{bytes:x?}");
    }
    assert_eq!(suback_head(Version::V311, 10, 2).bytes(), b"\x90\x04\x00\x0a");
    assert_eq!(suback_head(Version::V5, 10, 2).bytes(), b"\x90\x05\x00\x0a\x00");
}

#[test]
fn unsubscribe_and_unsuback() {
    let bytes = b"\xa2\x0a\x00\x0a\x00\x01a\x00\x03b/#";
    let Ok(Packet::Unsubscribe(unsubscribe)) = decode(bytes, Version::V311) else { panic!("one") };
    assert_eq!((unsubscribe.identifier, unsubscribe.len), (10, 2));
    assert_eq!(unsubscribe.filters().collect::<Vec<_>>(), ["a", "b/#"]);
    let bytes = b"\xa2\x06\x00\x0a\x00\x00\x01a";
    assert!(matches!(decode(bytes, Version::V5), Ok(Packet::Unsubscribe(_))));
    assert_eq!(decode(b"\xa2\x02\x00\x0a", Version::V311), Err(Reason::ProtocolError));
    assert_eq!(unsuback_head(Version::V311, 10, 2).bytes(), b"\xb0\x02\x00\x0a");
    assert_eq!(unsuback_head(Version::V5, 10, 2).bytes(), b"\xb0\x05\x00\x0a\x00");
}

#[test]
fn the_short_ones() {
    for version in [Version::V311, Version::V5] {
        assert_eq!(decode(b"\xc0\x00", version), Ok(Packet::Pingreq));
        assert_eq!(decode(b"\xc0\x01\x00", version), Err(Reason::MalformedPacket));
        let normal = Disconnect { with_will: false, session_expiry_s: None };
        assert_eq!(decode(b"\xe0\x00", version), Ok(Packet::Disconnect(normal)));
        assert_eq!(decode(b"\x10\x00", version), Ok(Packet::Connect));
        for from_a_server in [&b"\x20\x02\x00\x00"[..], b"\x90\x03\x00\x01\x00", b"\xd0\x00"] {
            assert_eq!(decode(from_a_server, version), Err(Reason::ProtocolError));
        }
    }
    assert_eq!(PINGRESP, [0xd0, 0x00]);
    let decode5 = |bytes| decode(bytes, Version::V5);
    let disconnect = |with_will, session_expiry_s| {
        Ok(Packet::Disconnect(Disconnect { with_will, session_expiry_s }))
    };
    assert_eq!(decode5(b"\xe0\x01\x04"), disconnect(true, None));
    assert_eq!(decode5(b"\xe0\x07\x00\x05\x11\x00\x00\x00\x09"), disconnect(false, Some(9)));
    assert_eq!(decode5(b"\xe0\x01\x8d"), Err(Reason::ProtocolError), "a server's reason");
    assert_eq!(decode(b"\xe0\x01\x00", Version::V311), Err(Reason::MalformedPacket));
    assert_eq!(disconnect::encode(Reason::SessionTakenOver).bytes(), b"\xe0\x01\x8e");
    assert_eq!(decode5(b"\xf0\x00"), Ok(Packet::Auth));
    assert_eq!(decode(b"\xf0\x00", Version::V311), Err(Reason::MalformedPacket));
    assert_eq!(decode5(b"\xc0\x80\x00"), Err(Reason::MalformedPacket), "MQTT-1.5.5-1");
    assert_eq!(decode(b"\xc0\x80\x00", Version::V311), Ok(Packet::Pingreq));
}
