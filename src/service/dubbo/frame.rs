//! Frames: a header of 16 bytes and a body (`ExchangeCodec` of apache/dubbo).

/// How long a header is, in bytes.
pub const HEADER_LEN: usize = 16;

/// What every frame begins with.
pub const MAGIC: [u8; 2] = [0xda, 0xbb];

/// A frame that asks, and not one that answers.
pub const REQUEST: u8 = 0x80;
/// A request that wants an answer.
pub const TWO_WAY: u8 = 0x40;
/// A frame about the connection, and not about a service: a heartbeat if its body is null.
pub const EVENT: u8 = 0x20;
/// What is left of the flags: the number of the body's serialization.
pub const SERIALIZATION: u8 = 0x1f;

/// The number of Hessian 2 (`Constants.HESSIAN2_SERIALIZATION_ID`).
pub const HESSIAN2: u8 = 2;
/// The number of Fastjson 2 (`Constants.FASTJSON2_SERIALIZATION_ID`).
pub const FASTJSON2: u8 = 23;

/// All is well (`Response.OK`).
pub const OK: u8 = 20;
/// The request cannot be read, or is for a service that is not there (`Response.BAD_REQUEST`).
pub const BAD_REQUEST: u8 = 40;

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// [`REQUEST`], [`TWO_WAY`], [`EVENT`] and the number of the serialization.
    pub flags: u8,
    /// What came of a request; 0 in requests.
    pub status: u8,
    /// The number of the request, which its answer repeats.
    pub id: u64,
    /// The length of the body, in bytes.
    pub body_len: u32,
}

impl Header {
    /// Reads a header, if it begins as one.
    pub fn parse(bytes: &[u8; HEADER_LEN]) -> Option<Header> {
        let [m0, m1, flags, status, i0, i1, i2, i3, i4, i5, i6, i7, l0, l1, l2, l3] = *bytes;
        let id = u64::from_be_bytes([i0, i1, i2, i3, i4, i5, i6, i7]);
        let body_len = u32::from_be_bytes([l0, l1, l2, l3]);
        ([m0, m1] == MAGIC).then_some(Header { flags, status, id, body_len })
    }

    /// Writes the header.
    pub fn emit(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..2].copy_from_slice(&MAGIC);
        (bytes[2], bytes[3]) = (self.flags, self.status);
        bytes[4..12].copy_from_slice(&self.id.to_be_bytes());
        bytes[12..].copy_from_slice(&self.body_len.to_be_bytes());
        bytes
    }

    /// Whether all of `flags` are set.
    pub fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    /// The number of the body's serialization.
    pub fn serialization(&self) -> u8 {
        self.flags & SERIALIZATION
    }
}

/// Null in a serialization: what the body of a heartbeat is (`CodecSupport.getNullBytesOf`). None for
/// serializations that are not known here.
pub fn null(serialization: u8) -> Option<&'static [u8]> {
    match serialization {
        HESSIAN2 => Some(b"N"),
        // A length of four bytes, and null in JSONB (`FastJson2ObjectOutput.writeObject`).
        FASTJSON2 => Some(b"\x00\x00\x00\x01\xaf"),
        _ => None,
    }
}

/// The longest frame that [`Short`] holds, in bytes.
pub const SHORT_LEN_MAX: usize = 128;

/// A whole frame that is short: a heartbeat, its answer, or an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short {
    bytes: [u8; SHORT_LEN_MAX],
    len: usize,
}

impl Short {
    /// A request for a sign of life, in Hessian 2.
    pub fn heartbeat(id: u64) -> Short {
        let flags = REQUEST | TWO_WAY | EVENT | HESSIAN2;
        Short::new(Header { flags, status: 0, id, body_len: 0 }, &[b"N"])
    }

    /// The answer to a heartbeat with `id`, whose body is `null`.
    pub fn alive(serialization: u8, id: u64, null: &[u8]) -> Short {
        Short::new(Header { flags: EVENT | serialization, status: OK, id, body_len: 0 }, &[null])
    }

    /// The answer to a request that is refused, with the reason: ASCII, of 95 characters at most. It is
    /// in Hessian 2, whatever the request was in: a server has one serialization of its own.
    pub fn refusal(id: u64, reason: &str) -> Short {
        let header = Header { flags: HESSIAN2, status: BAD_REQUEST, id, body_len: 0 };
        // A string in Hessian 2: up to 31 characters behind their number, up to 1,023 behind 0x30 and
        // the number in ten bits.
        let len = u8::try_from(reason.len()).unwrap_or(u8::MAX);
        let prefix: &[u8] = if len < 32 { &[len] } else { &[0x30, len] };
        Short::new(header, &[prefix, reason.as_bytes()])
    }

    /// The frame with `header`, whose length is that of the `body`.
    fn new(header: Header, body: &[&[u8]]) -> Short {
        let mut short = Short { bytes: [0; SHORT_LEN_MAX], len: HEADER_LEN };
        for part in body {
            short.bytes[short.len..short.len + part.len()].copy_from_slice(part);
            short.len += part.len();
        }
        let body_len = u32::try_from(short.len - HEADER_LEN).unwrap_or(0);
        short.bytes[..HEADER_LEN].copy_from_slice(&Header { body_len, ..header }.emit());
        short
    }
}

impl core::ops::Deref for Short {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn heartbeats_and_their_answers_byte_for_byte() {
        // As in the documentation of the protocol, and as Dubbo 2.7 sends them.
        let id = 0x0102_0304_0506_0708;
        let asked = b"\xda\xbb\xe2\x00\x01\x02\x03\x04\x05\x06\x07\x08\x00\x00\x00\x01N";
        assert_eq!(&*Short::heartbeat(id), asked);
        let answered = b"\xda\xbb\x22\x14\x01\x02\x03\x04\x05\x06\x07\x08\x00\x00\x00\x01N";
        assert_eq!(&*Short::alive(HESSIAN2, id, b"N"), answered);
        let json =
            b"\xda\xbb\x37\x14\x00\x00\x00\x00\x00\x00\x00\x09\x00\x00\x00\x05\0\0\0\x01\xaf";
        assert_eq!(&*Short::alive(FASTJSON2, 9, null(FASTJSON2).unwrap()), json);
    }

    #[test]
    fn refusals_byte_for_byte() {
        let short = Short::refusal(1, "no");
        assert_eq!(
            &*short,
            b"\xda\xbb\x02\x28\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x03\x02no"
        );
        let reason = "x".repeat(32);
        let long = Short::refusal(1, &reason);
        assert_eq!(long[12..18], [0, 0, 0, 34, 0x30, 32]);
        assert_eq!(&long[18..], reason.as_bytes());
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_would_be_written(bytes in any::<[u8; HEADER_LEN]>(), magic: bool) {
            let mut bytes = bytes;
            if magic {
                bytes[..2].copy_from_slice(&MAGIC);
            }
            match Header::parse(&bytes) {
                Some(header) => prop_assert_eq!(header.emit(), bytes),
                None => prop_assert_ne!(&bytes[..2], &MAGIC[..]),
            }
        }
    }
}
