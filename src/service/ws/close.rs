//! Close frames: their status codes, and who may send which (RFC 6455 section 7.4).

use super::frame::{HEADER_LEN_MAX, Header, Opcode};

/// The purpose of the connection is fulfilled.
pub const NORMAL: u16 = 1000;

/// Whether a close with `code`, or with none, says that nothing went wrong: done, going away, restarting,
/// or too busy.
pub fn is_orderly(code: Option<u16>) -> bool {
    matches!(code, None | Some(NORMAL | 1001 | 1012 | 1013))
}

/// The status codes that this server sends of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Code {
    /// The peer broke the protocol.
    ProtocolError = 1002,
    /// A text that is not UTF-8.
    InvalidPayload = 1007,
    /// A message longer than the limit.
    MessageTooBig = 1009,
    /// As many messages are underway as there is room for (the IANA's registry).
    TryAgainLater = 1013,
}

impl Code {
    /// All of them.
    pub const ALL: [Code; 4] =
        [Code::ProtocolError, Code::InvalidPayload, Code::MessageTooBig, Code::TryAgainLater];

    /// The name of its counter.
    pub const fn name(self) -> &'static str {
        match self {
            Code::ProtocolError => "ws_1002",
            Code::InvalidPayload => "ws_1007",
            Code::MessageTooBig => "ws_1009",
            Code::TryAgainLater => "ws_1013",
        }
    }

    /// Its place in [`Code::ALL`].
    pub const fn index(self) -> usize {
        match self {
            Code::ProtocolError => 0,
            Code::InvalidPayload => 1,
            Code::MessageTooBig => 2,
            Code::TryAgainLater => 3,
        }
    }
}

/// The close frame that a server sends with `code`, or with none.
pub fn frame(code: Option<u16>) -> ([u8; 4], usize) {
    let mut header = [0; HEADER_LEN_MAX];
    let code_len = if code.is_some() { 2 } else { 0 };
    Header::server(true, Opcode::Close, code_len).emit(&mut header);
    let [a, b] = code.unwrap_or_default().to_be_bytes();
    ([header[0], header[1], a, b], 2 + code_len)
}

/// Reads the payload of a peer's close frame: its status code, if it has one.
///
/// # Errors
///
/// The code to answer with instead, if the payload is not as section 5.5.1 says.
pub fn parse(payload: &[u8]) -> Result<Option<u16>, Code> {
    let (code, reason) = match payload {
        [] => return Ok(None),
        // "If there is a body, the first two bytes of the body MUST be a 2-byte unsigned integer".
        [_] => return Err(Code::ProtocolError),
        [a, b, reason @ ..] => (u16::from_be_bytes([*a, *b]), reason),
    };
    if !may_be_sent(code) {
        return Err(Code::ProtocolError);
    }
    match core::str::from_utf8(reason) {
        Ok(_) => Ok(Some(code)),
        Err(_) => Err(Code::InvalidPayload),
    }
}

/// Whether a close frame may carry `code` (section 7.4): those defined and registered with the IANA,
/// the ranges for libraries and applications; not 1004, nor 1005, 1006 and 1015, which stand for
/// closes without a frame.
pub fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_codes_may_be_sent() {
        let allowed: Vec<_> = (0..=u16::MAX).filter(|code| may_be_sent(*code)).collect();
        assert_eq!(allowed[..4], [1000, 1001, 1002, 1003]);
        assert_eq!(allowed[4..12], [1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014]);
        assert_eq!((allowed[12], allowed.len(), allowed.last()), (3000, 12 + 2000, Some(&4999)));
    }

    #[test]
    fn payloads_of_close_frames() {
        assert_eq!(parse(b""), Ok(None));
        assert_eq!(parse(b"\x03\xe8"), Ok(Some(1000)));
        assert_eq!(parse(b"\x0b\xb8bye \xe2\x82\xac"), Ok(Some(3000)));
        assert_eq!(parse(b"\x03"), Err(Code::ProtocolError));
        assert_eq!(parse(b"\x03\xed"), Err(Code::ProtocolError));
        assert_eq!(parse(b"\x03\xe8\xe2\x82"), Err(Code::InvalidPayload));
    }

    #[test]
    fn close_frames_of_a_server() {
        let (bytes, len) = frame(Some(1000));
        assert_eq!(bytes[..len], [0x88, 0x02, 0x03, 0xe8]);
        let (bytes, len) = frame(None);
        assert_eq!(bytes[..len], [0x88, 0x00]);
        assert_eq!(frame(Some(Code::MessageTooBig as u16)).0, [0x88, 0x02, 0x03, 0xf1]);
    }
}
