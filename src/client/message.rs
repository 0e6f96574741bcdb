//! Where a server's message ends.

use super::exchange::STAMP_LEN;
use super::greeting::Welcome;
use super::response;
use crate::service::builtin::Builtin;
use crate::service::dubbo;
use crate::service::mqtt::codec::frame;
use crate::service::ws;

/// The longest message that is taken, in bytes: what a promoted connection holds a few of. A server that
/// sends a longer one is given up.
pub const MESSAGE_LEN_MAX: usize = 16_384;

/// Judges the first message of `bytes`: one is a line, a frame of WebSocket, a packet of MQTT, a frame of
/// Dubbo, an answer of HTTP, or the 16 bytes that an echo sends back. What nobody frames, on discard, is one
/// with all that has come.
pub fn first(service: Builtin, bytes: &[u8]) -> Welcome {
    let len = match service {
        Builtin::Line => bytes.iter().position(|&byte| byte == b'\n').map(|at| at + 1),
        Builtin::Echo => Some(STAMP_LEN),
        Builtin::Discard => Some(bytes.len()),
        Builtin::Http => return response::judge(bytes).0,
        Builtin::Ws => match ws::frame::Header::parse(bytes) {
            // RFC 6455 section 5.1: "A client MUST close a connection if it detects a masked frame."
            Ok(Some((header, _))) if header.mask.is_some() => return Welcome::Wrong,
            Ok(Some((header, at))) => {
                Some(at.saturating_add(usize::try_from(header.len).unwrap_or(usize::MAX)))
            }
            Ok(None) => None,
            Err(_) => return Welcome::Wrong,
        },
        Builtin::Dubbo => match bytes.first_chunk().map(dubbo::frame::Header::parse) {
            Some(None) => return Welcome::Wrong,
            Some(Some(header)) => {
                let body_len = usize::try_from(header.body_len).unwrap_or(usize::MAX);
                Some(dubbo::frame::HEADER_LEN.saturating_add(body_len))
            }
            None => None,
        },
        Builtin::Mqtt => match frame::split(bytes, MESSAGE_LEN_MAX) {
            Ok(frame) => frame.map(|frame| frame.len),
            Err(_) => return Welcome::Wrong,
        },
    };
    match len {
        Some(len) if len > MESSAGE_LEN_MAX => Welcome::Wrong,
        Some(len) if len <= bytes.len() => Welcome::Came(len),
        None if bytes.len() >= MESSAGE_LEN_MAX => Welcome::Wrong,
        _ => Welcome::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_taken_when_it_is_whole() {
        for (service, message) in [
            (Builtin::Line, &b"a line\n"[..]),
            (Builtin::Echo, b"0123456789abcdef"),
            (Builtin::Ws, b"\x82\x03abc"),
            (Builtin::Ws, b"\x89\x00"),
            (Builtin::Mqtt, b"\x30\x05\x00\x01apq"),
            (Builtin::Dubbo, b"\xda\xbb\x22\x14\0\0\0\0\0\0\0\x07\0\0\0\x01N"),
            (Builtin::Http, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"),
        ] {
            for cut in 0..message.len() {
                assert_eq!(first(service, &message[..cut]), Welcome::Wait, "{service} to {cut}");
            }
            let more = [message, b"more"].concat();
            // Behind 200 there is nothing else than what was asked for.
            assert_eq!(first(service, &more), Welcome::Came(message.len()), "{service}");
        }
        assert_eq!(first(Builtin::Discard, b"anything"), Welcome::Came(8));
    }

    #[test]
    fn what_is_wrong_or_too_long_is_refused_as_soon_as_that_is_known() {
        for (service, beginning) in [
            (Builtin::Line, &[b'x'; MESSAGE_LEN_MAX][..]),
            (Builtin::Ws, b"\x82\x83abcd"),
            (Builtin::Ws, b"\x83"),
            (Builtin::Ws, b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
            (Builtin::Ws, b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff"),
            (Builtin::Mqtt, b"\x30\xff\xff\x7f"),
            (Builtin::Mqtt, b"\x30\xff\xff\xff\xff"),
            (Builtin::Dubbo, b"HTTP/1.1 400 Bad"),
            (Builtin::Dubbo, b"\xda\xbb\x22\x14\0\0\0\0\0\0\0\x07\xff\xff\xff\xff"),
            (Builtin::Http, b"HTTP/1.1 500 No\r\nContent-Length: 3\r\n\r\n"),
        ] {
            assert_eq!(first(service, beginning), Welcome::Wrong, "{service}");
        }
    }
}
