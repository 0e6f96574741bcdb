//! What is said first on a service's connection, and what must come back before it counts as open.

use super::exchange::{Message, stamp};
use crate::service::builtin::Builtin;
use crate::service::ws::handshake;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// The longest greeting, in bytes.
const LEN_MAX: usize = 192;

/// A greeting.
pub type Greeting = Message<LEN_MAX>;

/// The beginning of a request to upgrade to WebSocket; the key follows, and then two line ends.
const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: tenmil\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ";

/// The beginning of a CONNECT of MQTT 3.1.1, with a session for this connection alone; the keep alive
/// follows, and then the client identifier, a stamp.
const MQTT_CONNECT: &[u8] = b"\x10\x1c\x00\x04MQTT\x04\x02";

/// The longest keep alive of MQTT, in seconds, which any period of heartbeats keeps.
pub const KEEP_ALIVE_MAX: u16 = u16::MAX;

/// The CONNACK of MQTT 3.1.1 that accepts a client without a session.
const MQTT_CONNACK: &[u8] = b"\x20\x02\x00\x00";

/// What has come of a welcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Welcome {
    /// Not all of it.
    Wait,
    /// All of it: so many bytes.
    Came(usize),
    /// Something else.
    Wrong,
}

/// What is sent first by a client that two numbers tell from all others, the slot of its connection and
/// when that was to be opened, for instance; empty where the service's clients just begin. A client of
/// MQTT announces to send something in every `keep_alive` seconds.
pub fn greeting(service: Builtin, keep_alive: u16, high: u32, low: u32) -> Greeting {
    match service {
        Builtin::Ws => {
            let key = key(high, low);
            Message::of(&[UPGRADE.as_bytes(), &key, b"\r\n\r\n"])
        }
        Builtin::Mqtt => {
            let (keep_alive, id) = (keep_alive.to_be_bytes(), stamp(high, low));
            Message::of(&[MQTT_CONNECT, &keep_alive, b"\x00\x10", &id])
        }
        Builtin::Echo | Builtin::Discard | Builtin::Line | Builtin::Http | Builtin::Dubbo => {
            Message::NONE
        }
    }
}

/// Judges the beginning of what comes back to the client of these two numbers.
pub fn welcome(service: Builtin, high: u32, low: u32, bytes: &[u8]) -> Welcome {
    match service {
        Builtin::Ws => upgraded(&key(high, low), bytes),
        Builtin::Mqtt => accepted(bytes),
        Builtin::Echo | Builtin::Discard | Builtin::Line | Builtin::Http | Builtin::Dubbo => {
            Welcome::Came(0)
        }
    }
}

/// Judges the answer to a CONNECT.
fn accepted(bytes: &[u8]) -> Welcome {
    if bytes.starts_with(MQTT_CONNACK) {
        Welcome::Came(MQTT_CONNACK.len())
    } else if MQTT_CONNACK.starts_with(bytes) {
        Welcome::Wait
    } else {
        Welcome::Wrong
    }
}

/// The connection's own key: 16 bytes in base64 (RFC 6455 section 4.1).
fn key(high: u32, low: u32) -> [u8; 24] {
    let mut key = [0; 24];
    let len = BASE64_STANDARD.encode_slice(stamp(high, low), &mut key);
    debug_assert_eq!(len, Ok(key.len()), "16 bytes in base64");
    key
}

/// Judges the answer to an upgrade as section 4.1 says.
fn upgraded(key: &[u8; 24], bytes: &[u8]) -> Welcome {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut fields);
    let len = match response.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Welcome::Wait,
        Err(_) => return Welcome::Wrong,
    };
    let has = |name: &str, value: &[u8], any_case: bool| {
        let mut named =
            response.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        named.any(|field| match any_case {
            true => field.value.eq_ignore_ascii_case(value),
            false => field.value == value,
        })
    };
    let accept = handshake::accept(core::str::from_utf8(key).unwrap_or_default());
    let is_right = response.code == Some(101)
        && has("Upgrade", b"websocket", true)
        && has("Connection", b"upgrade", true)
        && has("Sec-WebSocket-Accept", &accept, false);
    if is_right { Welcome::Came(len) } else { Welcome::Wrong }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_takes_the_greeting_and_the_client_its_answer() {
        let (slot, due) = (0xabc, 0x1234_5678);
        let greeting = greeting(Builtin::Ws, 60, slot, due);
        let accepted = handshake::judge(&greeting).expect("it is right").expect("it is whole");
        assert_eq!(accepted.request_len, greeting.len());
        let answer = accepted.answer();
        for cut in 0..answer.len() {
            assert_eq!(welcome(Builtin::Ws, slot, due, &answer[..cut]), Welcome::Wait);
        }
        let came = Welcome::Came(answer.len());
        assert_eq!(welcome(Builtin::Ws, slot, due, answer), came);
        let with_a_ping = [answer, b"\x89\x00"].concat();
        assert_eq!(welcome(Builtin::Ws, slot, due, &with_a_ping), came);
        assert_eq!(welcome(Builtin::Ws, slot + 1, due, answer), Welcome::Wrong);
        for refusal in handshake::Refusal::ALL {
            let answer = refusal.answer().as_bytes();
            assert_eq!(welcome(Builtin::Ws, slot, due, answer), Welcome::Wrong);
        }
    }

    #[test]
    fn a_client_of_mqtt_is_accepted_or_it_is_not() {
        use crate::service::mqtt::codec::{self, Version, connect, frame};
        let greeting = greeting(Builtin::Mqtt, 60, 0xabc, 0x1234_5678);
        let frame = frame::split(&greeting, greeting.len()).expect("a frame").expect("a whole one");
        let connect = codec::first(&frame).expect("it is right");
        assert_eq!((connect.version, connect.client_id), (Version::V311, "00000abc12345678"));
        assert_eq!(connect.keep_alive_s, 60);
        let welcome = |bytes: &[u8]| welcome(Builtin::Mqtt, 0xabc, 0x1234_5678, bytes);
        assert_eq!((welcome(b""), welcome(b"\x20\x02\x00")), (Welcome::Wait, Welcome::Wait));
        assert_eq!(welcome(b"\x20\x02\x00\x00more"), Welcome::Came(4));
        let refusal = connect::refuse(Version::V311, codec::Reason::QuotaExceeded).expect("one");
        assert_eq!(welcome(refusal.bytes()), Welcome::Wrong);
    }

    #[test]
    fn other_services_begin_at_once() {
        for service in [Builtin::Echo, Builtin::Discard, Builtin::Line, Builtin::Dubbo] {
            assert!(greeting(service, 60, 1, 2).is_empty());
            assert_eq!(welcome(service, 1, 2, b"anything"), Welcome::Came(0));
        }
    }
}
