//! What a heartbeat says on a service's connection, and what must come back.
//!
//! Both follow from the connection's slot and from when the heartbeat was due, so that an answer can be
//! checked byte for byte with nothing but the record.

use crate::service::builtin::Builtin;
use crate::service::line::{PING, PONG};

/// The longest message, in bytes.
const LEN_MAX: usize = 16;

/// What one side says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    bytes: [u8; LEN_MAX],
    len: usize,
}

impl Message {
    /// Nothing.
    const NONE: Message = Message { bytes: [0; LEN_MAX], len: 0 };

    const fn new(text: &[u8]) -> Message {
        let mut message = Message::NONE;
        message.bytes.split_at_mut(text.len()).0.copy_from_slice(text);
        message.len = text.len();
        message
    }

    /// Different for each connection and each heartbeat: an answer to another is a wrong one.
    fn stamp(slot: u32, due_us: u32) -> Message {
        let mut message = Message { len: LEN_MAX, ..Message::NONE };
        let stamp = u64::from(slot) << 32 | u64::from(due_us);
        for (at, byte) in message.bytes.iter_mut().enumerate() {
            let digit = usize::try_from(stamp >> (60 - 4 * at) & 0xf).unwrap_or(0);
            *byte = b"0123456789abcdef"[digit];
        }
        message
    }
}

impl core::ops::Deref for Message {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// What is sent on the connection in `slot` for the heartbeat due at `due_us`; empty where `service`
/// never answers, so that nothing is sent.
pub fn request(service: Builtin, slot: u32, due_us: u32) -> Message {
    match service {
        Builtin::Line => Message::new(PING),
        Builtin::Echo => Message::stamp(slot, due_us),
        Builtin::Discard | Builtin::Http => Message::NONE,
    }
}

/// What must come back for that.
pub fn answer(service: Builtin, slot: u32, due_us: u32) -> Message {
    match service {
        Builtin::Line => Message::new(PONG),
        Builtin::Echo => Message::stamp(slot, due_us),
        Builtin::Discard | Builtin::Http => Message::NONE,
    }
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
        assert_ne!(request(Builtin::Echo, 1, 2), request(Builtin::Echo, 2, 2));
        assert_ne!(request(Builtin::Echo, 1, 2), request(Builtin::Echo, 1, 3));
    }
}
