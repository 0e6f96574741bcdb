//! Frames: their headers and their masks (RFC 6455 section 5).

/// The longest payload of a control frame, in bytes (section 5.5).
pub const CONTROL_LEN_MAX: usize = 125;

/// The longest header, in bytes.
pub const HEADER_LEN_MAX: usize = 14;

/// What a frame carries (section 11.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// More of the message before.
    Continuation = 0x0,
    /// The beginning of a text, in UTF-8.
    Text = 0x1,
    /// The beginning of a message of bytes.
    Binary = 0x2,
    /// The end of the connection, and why.
    Close = 0x8,
    /// To be answered with a pong of the same payload.
    Ping = 0x9,
    /// The answer to a ping.
    Pong = 0xa,
}

impl Opcode {
    /// The opcode with this number, unless it is reserved.
    pub fn from_number(number: u8) -> Option<Opcode> {
        Some(match number {
            0x0 => Opcode::Continuation,
            0x1 => Opcode::Text,
            0x2 => Opcode::Binary,
            0x8 => Opcode::Close,
            0x9 => Opcode::Ping,
            0xa => Opcode::Pong,
            _ => return None,
        })
    }

    /// Whether it is a control frame's (section 5.5).
    pub fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

/// What masks a payload: its bytes are combined with these, in turn (section 5.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mask(pub [u8; 4]);

impl Mask {
    /// Masks `from` into `into`, or takes its mask off, which is the same; returns the mask for what
    /// follows. Both are equally long.
    #[must_use = "the next piece begins elsewhere in the mask"]
    pub fn apply(self, from: &[u8], into: &mut [u8]) -> Mask {
        let [a, b, c, d] = self.0;
        let mask = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
        let (words, rest) = from.as_chunks::<8>();
        let (words_into, rest_into) = into.as_chunks_mut::<8>();
        for (word, into) in words.iter().zip(words_into) {
            *into = (u64::from_ne_bytes(*word) ^ mask).to_ne_bytes();
        }
        for (at, (byte, into)) in rest.iter().zip(rest_into).enumerate() {
            *into = byte ^ self.0[at % 4];
        }
        let mut next = self.0;
        next.rotate_left(from.len() % 4);
        Mask(next)
    }
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whether the message ends with this frame.
    pub fin: bool,
    /// What the frame carries.
    pub opcode: Opcode,
    /// What masks the payload; clients mask, servers do not.
    pub mask: Option<Mask>,
    /// The length of the payload, in bytes.
    pub len: u64,
}

/// A frame against the rules of section 5; all of them are protocol errors (section 7.4.1, 1002).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A reserved bit is set, and no extension was negotiated (section 5.2).
    #[error("reserved bit")]
    ReservedBit,
    /// The opcode is reserved (section 5.2).
    #[error("reserved opcode")]
    ReservedOpcode,
    /// A control frame is fragmented (section 5.5).
    #[error("fragmented control frame")]
    FragmentedControl,
    /// A control frame is longer than [`CONTROL_LEN_MAX`] (section 5.5).
    #[error("control frame longer than 125 bytes")]
    LongControl,
    /// The length would fit into fewer bytes (section 5.2).
    #[error("length not written in the fewest bytes")]
    LongLength,
    /// The length has its highest bit set (section 5.2).
    #[error("length of more than 63 bits")]
    HugeLength,
}

impl Header {
    /// The header of a server's frame.
    pub fn server(fin: bool, opcode: Opcode, len: usize) -> Header {
        Header { fin, opcode, mask: None, len: u64::try_from(len).unwrap_or(u64::MAX) }
    }

    /// Reads the header at the beginning of `bytes`, and how long it is; none if more bytes are
    /// needed. What is wrong is found as soon as the bytes that make it wrong are there.
    ///
    /// # Errors
    ///
    /// The rule that the header breaks. Whether there is to be a mask, and which opcode may follow
    /// which, is left to the caller.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, FrameError> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(FrameError::ReservedBit);
        }
        let fin = first & 0x80 != 0;
        let opcode = Opcode::from_number(first & 0xf).ok_or(FrameError::ReservedOpcode)?;
        if opcode.is_control() && !fin {
            return Err(FrameError::FragmentedControl);
        }
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        let short = second & 0x7f;
        if opcode.is_control() && usize::from(short) > CONTROL_LEN_MAX {
            return Err(FrameError::LongControl);
        }
        let (len, at) = match short {
            126 => match bytes[2..].first_chunk() {
                Some(len) => (u64::from(u16::from_be_bytes(*len)), 4),
                None => return Ok(None),
            },
            127 => match bytes[2..].first_chunk() {
                Some(len) => (u64::from_be_bytes(*len), 10),
                None => return Ok(None),
            },
            short => (u64::from(short), 2),
        };
        if short == 126 && len < 126 || short == 127 && len <= u64::from(u16::MAX) {
            return Err(FrameError::LongLength);
        }
        if len >> 63 != 0 {
            return Err(FrameError::HugeLength);
        }
        if second & 0x80 == 0 {
            return Ok(Some((Header { fin, opcode, mask: None, len }, at)));
        }
        let Some(mask) = bytes[at..].first_chunk() else { return Ok(None) };
        Ok(Some((Header { fin, opcode, mask: Some(Mask(*mask)), len }, at + 4)))
    }

    /// Writes the header to the beginning of `into`, and returns how long it is.
    pub fn emit(&self, into: &mut [u8; HEADER_LEN_MAX]) -> usize {
        into[0] = u8::from(self.fin) << 7 | self.opcode as u8;
        let len = self.len.to_be_bytes();
        let (short, at) = match self.len {
            0..=125 => (len[7], 2),
            126..=0xffff => {
                into[2..4].copy_from_slice(&len[6..]);
                (126, 4)
            }
            _ => {
                into[2..10].copy_from_slice(&len);
                (127, 10)
            }
        };
        into[1] = u8::from(self.mask.is_some()) << 7 | short;
        let Some(Mask(mask)) = self.mask else { return at };
        into[at..at + 4].copy_from_slice(&mask);
        at + 4
    }
}

/// How long the header of a server's frame with a payload of `len` bytes is, in bytes.
pub fn server_header_len(len: usize) -> usize {
    match len {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => 10,
    }
}

/// A whole message from a server in one frame, to be pushed to open connections: it is the same for
/// all of them.
pub fn message(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut header = [0; HEADER_LEN_MAX];
    let len = Header::server(true, kind.opcode(), payload.len()).emit(&mut header);
    [&header[..len], payload].concat()
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text in UTF-8.
    Text,
    /// Any bytes.
    Binary,
}

impl Kind {
    /// The opcode of the message's first frame.
    pub fn opcode(self) -> Opcode {
        match self {
            Kind::Text => Opcode::Text,
            Kind::Binary => Opcode::Binary,
        }
    }
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
