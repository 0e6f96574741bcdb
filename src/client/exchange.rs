//! What a heartbeat says on a service's connection, and what must come back.
//!
//! Both follow from the connection's slot and from when the heartbeat was due, so that an answer can be
//! checked byte for byte with nothing but the record.

use super::response;
use crate::service::builtin::Builtin;
use crate::service::dubbo;
use crate::service::line::{PING, PONG};
use crate::service::mqtt::codec::acknowledgment::{PINGREQ, PINGRESP};
use crate::service::mqtt::codec::disconnect::DISCONNECT;
use crate::service::ws::frame::{CONTROL_LEN_MAX, HEADER_LEN_MAX, Mask, Opcode};
use crate::service::ws::{self, close};

/// How a line begins that a server pushes to clients which did not ask for it: no answer does.
pub const PUSHED: u8 = b'*';

/// The longest text that a client of WebSocket takes unasked, in bytes: it waits for all of it.
const TEXT_LEN_MAX: u64 = 4_096;

/// The longest heartbeat, in bytes.
const LEN_MAX: usize = 40;

/// How long a stamp is, in bytes.
pub(super) const STAMP_LEN: usize = 16;

/// What one side says, of `N` bytes at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<const N: usize = LEN_MAX> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Message<N> {
    /// Nothing.
    pub(super) const NONE: Message<N> = Message { bytes: [0; N], len: 0 };

    /// All of `parts`, which have no more than `N` bytes.
    pub(super) fn of(parts: &[&[u8]]) -> Message<N> {
        let mut message = Message::NONE;
        for part in parts {
            let end = message.len + part.len();
            message.bytes[message.len..end].copy_from_slice(part);
            message.len = end;
        }
        message
    }
}

impl<const N: usize> core::ops::Deref for Message<N> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Different for each connection and each heartbeat: an answer to another is a wrong one.
pub(super) fn stamp(slot: u32, due_us: u32) -> [u8; STAMP_LEN] {
    let number = number(slot, due_us);
    core::array::from_fn(|at| {
        let digit = usize::try_from(number >> (60 - 4 * at) & 0xf).unwrap_or(0);
        b"0123456789abcdef"[digit]
    })
}

/// The same as a number.
fn number(slot: u32, due_us: u32) -> u64 {
    u64::from(slot) << 32 | u64::from(due_us)
}

/// What is sent on the connection in `slot` for the heartbeat due at `due_us`; empty where `service`
/// never answers, so that nothing is sent.
pub fn request(service: Builtin, slot: u32, due_us: u32) -> Message {
    match service {
        Builtin::Line => Message::of(&[PING]),
        Builtin::Echo => Message::of(&[&stamp(slot, due_us)]),
        Builtin::Discard => Message::NONE,
        Builtin::Http => Message::of(&[response::REQUEST]),
        Builtin::Ws => masked(Opcode::Ping, &stamp(slot, due_us), due_us),
        Builtin::Dubbo => Message::of(&[&dubbo::frame::Short::heartbeat(number(slot, due_us))]),
        Builtin::Mqtt => Message::of(&[&PINGREQ]),
    }
}

/// What must come back for that, to the byte; empty where that differs: see `response`.
pub fn answer(service: Builtin, slot: u32, due_us: u32) -> Message {
    match service {
        Builtin::Line => Message::of(&[PONG]),
        Builtin::Echo => Message::of(&[&stamp(slot, due_us)]),
        Builtin::Discard | Builtin::Http => Message::NONE,
        Builtin::Ws => {
            let mut header = [0; HEADER_LEN_MAX];
            let len = ws::frame::Header::server(true, Opcode::Pong, STAMP_LEN).emit(&mut header);
            Message::of(&[&header[..len], &stamp(slot, due_us)])
        }
        Builtin::Dubbo => Message::of(&[&alive(number(slot, due_us))]),
        Builtin::Mqtt => Message::of(&[&PINGRESP]),
    }
}

/// What a client says before it closes; empty where it just closes.
pub fn goodbye(service: Builtin) -> Message {
    match service {
        // RFC 6455 section 7.1.2: a close frame first, here with the code for a purpose fulfilled.
        Builtin::Ws => masked(Opcode::Close, &close::NORMAL.to_be_bytes(), 0),
        // MQTT-3.14.4-1: and then it closes the connection.
        Builtin::Mqtt => Message::of(&[&DISCONNECT]),
        // RFC 9112 section 9.5: a client may close at any time. The others have no word for it.
        Builtin::Echo | Builtin::Discard | Builtin::Line | Builtin::Http | Builtin::Dubbo => {
            Message::NONE
        }
    }
}

/// Whether the server answers a goodbye and closes TCP first (RFC 6455 section 7.1.1).
pub fn server_closes_first(service: Builtin) -> bool {
    service == Builtin::Ws
}

/// The longest answer to what a server says unasked, in bytes.
const REPLY_LEN_MAX: usize = 6 + CONTROL_LEN_MAX;

/// What a server may say unasked, between its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unasked {
    /// This is none of it.
    Nothing,
    /// It may be, when more has come.
    Wait,
    /// A heartbeat of its own, so many bytes long, and the answer to it.
    Heartbeat(usize, Message<REPLY_LEN_MAX>),
    /// A message that it pushes.
    Message {
        /// How many bytes it takes.
        len: usize,
        /// How many of them are text.
        text_len: usize,
    },
    /// That it closes, in so many bytes, and what is said to that unless it is the answer to a goodbye.
    Goodbye(usize, Message<REPLY_LEN_MAX>),
}

/// Judges the beginning of what a server says.
pub fn unasked(service: Builtin, bytes: &[u8]) -> Unasked {
    match service {
        // No topic was subscribed to.
        Builtin::Line | Builtin::Echo | Builtin::Discard | Builtin::Http | Builtin::Mqtt => {
            Unasked::Nothing
        }
        Builtin::Ws => control(bytes),
        Builtin::Dubbo => heartbeat(bytes),
    }
}

/// A server's ping is answered with its payload (RFC 6455 section 5.5.3), and its close with its code
/// (section 5.5.1). It may push texts that begin with [`PUSHED`].
fn control(bytes: &[u8]) -> Unasked {
    let (header, at) = match ws::frame::Header::parse(bytes) {
        Ok(Some(read)) => read,
        Ok(None) => return Unasked::Wait,
        Err(_) => return Unasked::Nothing,
    };
    let is_known = matches!(header.opcode, Opcode::Ping | Opcode::Close | Opcode::Text);
    if !is_known || !header.fin || header.mask.is_some() || header.len > TEXT_LEN_MAX {
        return Unasked::Nothing;
    }
    let end = at + usize::try_from(header.len).unwrap_or(CONTROL_LEN_MAX);
    let Some(payload) = bytes.get(at..end) else { return Unasked::Wait };
    if header.opcode == Opcode::Text {
        return match payload.first() {
            Some(&PUSHED) => Unasked::Message { len: end, text_len: payload.len() },
            _ => Unasked::Nothing,
        };
    }
    if header.opcode == Opcode::Ping {
        return Unasked::Heartbeat(end, masked(Opcode::Pong, payload, 0));
    }
    match close::parse(payload) {
        Ok(code) if close::is_orderly(code) => {
            let code = &payload[..payload.len().min(2)];
            Unasked::Goodbye(end, masked(Opcode::Close, code, 0))
        }
        Ok(_) | Err(_) => Unasked::Nothing,
    }
}

/// A server's heartbeat in Hessian 2 is answered with its number.
fn heartbeat(bytes: &[u8]) -> Unasked {
    use dubbo::frame::{HEADER_LEN, Header, Short};
    let Some(header) = bytes.first_chunk::<HEADER_LEN>() else { return Unasked::Wait };
    let Some(Header { id, .. }) = Header::parse(header) else { return Unasked::Nothing };
    let asked = Short::heartbeat(id);
    match bytes.get(..asked.len()) {
        Some(bytes) if *bytes == *asked => {
            Unasked::Heartbeat(asked.len(), Message::of(&[&alive(id)]))
        }
        Some(_) => Unasked::Nothing,
        None => Unasked::Wait,
    }
}

fn alive(id: u64) -> dubbo::frame::Short {
    let null = dubbo::frame::null(dubbo::frame::HESSIAN2).unwrap_or_default();
    dubbo::frame::Short::alive(dubbo::frame::HESSIAN2, id, null)
}

/// A client's control frame. Clients mask with what nobody can foresee, lest what others make them
/// send looks like HTTP to a proxy (RFC 6455 section 10.3); nobody else chooses what is sent here.
fn masked<const N: usize>(opcode: Opcode, payload: &[u8], mask: u32) -> Message<N> {
    let mask = Mask(mask.to_be_bytes());
    let len = u64::try_from(payload.len()).unwrap_or(0);
    let mut header = [0; HEADER_LEN_MAX];
    let header_len =
        ws::frame::Header { fin: true, opcode, mask: Some(mask), len }.emit(&mut header);
    let mut masked = [0; CONTROL_LEN_MAX];
    let masked = &mut masked[..payload.len()];
    let _ = mask.apply(payload, masked);
    Message::of(&[&header[..header_len], masked])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_service_is_spoken_to_in_its_own_words() {
        assert_eq!(&*request(Builtin::Line, 1, 2), b"PING\n");
        assert_eq!(&*answer(Builtin::Line, 1, 2), b"PONG\n");
        assert_eq!(&*request(Builtin::Echo, 0xabc, 0x1234_5678), b"00000abc12345678");
        assert!(request(Builtin::Discard, 1, 2).is_empty());
        for (slot, due) in [(0, 0), (u32::MAX, u32::MAX), (7, 9)] {
            assert_eq!(request(Builtin::Echo, slot, due), answer(Builtin::Echo, slot, due));
        }
        assert_eq!(&*request(Builtin::Ws, 0xabc, 0), b"\x89\x90\x00\x00\x00\x0000000abc00000000");
        assert_eq!(&*answer(Builtin::Ws, 0xabc, 0x1234_5678), b"\x8a\x1000000abc12345678");
        let heartbeat = b"\xda\xbb\xe2\x00\x00\x00\x0a\xbc\x12\x34\x56\x78\x00\x00\x00\x01N";
        assert_eq!(&*request(Builtin::Dubbo, 0xabc, 0x1234_5678), heartbeat);
        let alive = b"\xda\xbb\x22\x14\x00\x00\x0a\xbc\x12\x34\x56\x78\x00\x00\x00\x01N";
        assert_eq!(&*answer(Builtin::Dubbo, 0xabc, 0x1234_5678), alive);
        assert_eq!(&*request(Builtin::Mqtt, 1, 2), b"\xc0\x00");
        assert_eq!(&*answer(Builtin::Mqtt, 1, 2), b"\xd0\x00");
    }

    #[test]
    fn each_heartbeat_is_another() {
        for service in [Builtin::Echo, Builtin::Ws, Builtin::Dubbo] {
            assert_ne!(request(service, 1, 2), request(service, 2, 2));
            assert_ne!(request(service, 1, 2), request(service, 1, 3));
            assert_ne!(answer(service, 1, 2), answer(service, 1, 3));
        }
    }

    #[test]
    fn what_a_server_says_unasked_is_answered_when_it_is_whole() {
        let heartbeat = b"\xda\xbb\xe2\x00\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x01N";
        let alive = b"\xda\xbb\x22\x14\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x01N";
        for (service, said, answer) in [
            (Builtin::Ws, &b"\x89\x00"[..], &b"\x8a\x80\0\0\0\0"[..]),
            (Builtin::Ws, b"\x89\x03abc", b"\x8a\x83\0\0\0\0abc"),
            (Builtin::Dubbo, heartbeat, alive),
        ] {
            for cut in 0..said.len() {
                assert_eq!(unasked(service, &said[..cut]), Unasked::Wait, "cut to {cut}");
            }
            let more = [said, b"more"].concat();
            assert_eq!(
                unasked(service, &more),
                Unasked::Heartbeat(said.len(), Message::of(&[answer]))
            );
        }
        assert_eq!(unasked(Builtin::Ws, &answer(Builtin::Ws, 1, 2)), Unasked::Nothing);
        assert_eq!(unasked(Builtin::Dubbo, &answer(Builtin::Dubbo, 1, 2)), Unasked::Nothing);
        assert_eq!(unasked(Builtin::Line, PONG), Unasked::Nothing);
        let message = b"\x81\x05*news\x89";
        assert_eq!(unasked(Builtin::Ws, message), Unasked::Message { len: 7, text_len: 5 });
        assert_eq!(unasked(Builtin::Ws, &message[..6]), Unasked::Wait);
        for wrong in [&b"\x01\x05*news"[..], b"\x81\x04news", b"\x82\x05*news", b"\x81\x00"] {
            assert_eq!(unasked(Builtin::Ws, wrong), Unasked::Nothing, "{wrong:x?}");
        }
    }

    #[test]
    fn whoever_leaves_says_so_where_there_is_a_word_for_it() {
        assert_eq!(&*goodbye(Builtin::Ws), b"\x88\x82\0\0\0\0\x03\xe8");
        assert_eq!(&*goodbye(Builtin::Mqtt), b"\xe0\x00");
        assert!(goodbye(Builtin::Http).is_empty() && goodbye(Builtin::Line).is_empty());
        for (said, answer) in [
            (&b"\x88\x00"[..], &b"\x88\x80\0\0\0\0"[..]),
            (b"\x88\x02\x03\xe8", b"\x88\x82\0\0\0\0\x03\xe8"),
            (b"\x88\x05\x03\xe9bye", b"\x88\x82\0\0\0\0\x03\xe9"),
        ] {
            for cut in 0..said.len() {
                assert_eq!(unasked(Builtin::Ws, &said[..cut]), Unasked::Wait, "cut to {cut}");
            }
            let expected = Unasked::Goodbye(said.len(), Message::of(&[answer]));
            assert_eq!(unasked(Builtin::Ws, said), expected);
        }
        for wrong in [
            &b"\x88\x01\x03"[..],
            b"\x88\x02\x03\xed",
            b"\x88\x02\x03\xea",
            b"\x88\x82\0\0\0\0\x03\xe8",
        ] {
            assert_eq!(unasked(Builtin::Ws, wrong), Unasked::Nothing, "{wrong:x?}");
        }
    }
}
