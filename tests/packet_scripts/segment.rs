//! A TCP segment as it stands on the wire (RFC 9293 section 3.1).
//!
//! Written apart from the crate's own reader and writer, so that neither tests itself: this one can
//! also say what no stack would send.

use crate::checksum::{self, Pseudo};

/// The control bits, with their letters.
const LETTERS: [(char, u8); 8] = [
    ('F', FIN),
    ('S', SYN),
    ('R', RST),
    ('P', PSH),
    ('.', ACK),
    ('U', URG),
    ('E', 0x40),
    ('C', 0x80),
];

pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const PSH: u8 = 0x08;
pub(crate) const ACK: u8 = 0x10;
pub(crate) const URG: u8 = 0x20;

/// The length of a header without options, in bytes.
pub(crate) const HEADER_LEN: usize = 20;

/// A segment, with absolute sequence numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) source_port: u16,
    pub(crate) target_port: u16,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: u8,
    /// The four reserved bits.
    pub(crate) reserved: u8,
    pub(crate) window: u16,
    pub(crate) urgent: u16,
    /// The options with their padding: a multiple of four bytes.
    pub(crate) options: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

impl Segment {
    /// The segment's bytes, with a data offset of `data_offset` words if not the true one, and a
    /// checksum that is wrong if `broken`.
    pub(crate) fn to_bytes(
        &self,
        pseudo: &Pseudo,
        data_offset: Option<u8>,
        broken: bool,
    ) -> Vec<u8> {
        let words = u8::try_from((HEADER_LEN + self.options.len()) / 4).expect("a header");
        let offset = data_offset.unwrap_or(words);
        let mut bytes = Vec::new();
        bytes.extend(self.source_port.to_be_bytes());
        bytes.extend(self.target_port.to_be_bytes());
        bytes.extend(self.seq.to_be_bytes());
        bytes.extend(self.ack.to_be_bytes());
        bytes.extend([offset << 4 | self.reserved & 0x0f, self.flags]);
        bytes.extend(self.window.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(self.urgent.to_be_bytes());
        bytes.extend(&self.options);
        bytes.extend(&self.payload);
        let sum = checksum::of(Some(pseudo), &bytes) ^ u16::from(broken);
        bytes[16..18].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    /// The segment that `bytes` are.
    ///
    /// # Errors
    ///
    /// What is wrong with them, for a person to read.
    pub(crate) fn parse(pseudo: &Pseudo, bytes: &[u8]) -> Result<Segment, String> {
        if bytes.len() < HEADER_LEN {
            return Err(format!("{} bytes are no TCP header", bytes.len()));
        }
        if checksum::of(Some(pseudo), bytes) != 0 {
            return Err("the TCP checksum is wrong".to_owned());
        }
        let half = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let whole = |at: usize| u32::from(half(at)) << 16 | u32::from(half(at + 2));
        let header_len = usize::from(bytes[12] >> 4) * 4;
        if header_len < HEADER_LEN || header_len > bytes.len() {
            return Err(format!("a TCP header of {header_len} bytes"));
        }
        Ok(Segment {
            source_port: half(0),
            target_port: half(2),
            seq: whole(4),
            ack: whole(8),
            flags: bytes[13],
            reserved: bytes[12] & 0x0f,
            window: half(14),
            urgent: half(18),
            options: bytes[HEADER_LEN..header_len].to_vec(),
            payload: bytes[header_len..].to_vec(),
        })
    }
}

/// The letters of control bits: `S.` for SYN and ACK, `-` for none.
pub(crate) fn letters(flags: u8) -> String {
    let set = LETTERS.iter().filter(|(_, bit)| flags & bit != 0);
    let text: String = set.map(|(letter, _)| letter).collect();
    if text.is_empty() { "-".to_owned() } else { text }
}

/// The control bits of letters, or `None` if there is another letter among them.
pub(crate) fn flags(letters: &str) -> Option<u8> {
    if letters == "-" {
        return Some(0);
    }
    letters.chars().try_fold(0, |flags, letter| {
        let (_, bit) = LETTERS.iter().find(|(known, _)| *known == letter)?;
        Some(flags | bit)
    })
}
