//! Puts values together into a short packet, or into the front of a long one.

use super::frame::Kind;

/// How many bytes [`Writer`] holds: the longest header of any packet that is written with it.
pub const LEN_MAX: usize = 256;

/// The bytes written so far. What is written is this server's own, so it is known to fit.
#[derive(Clone, Debug)]
pub struct Writer {
    bytes: [u8; LEN_MAX],
    len: usize,
}

impl Writer {
    /// Nothing yet.
    pub const fn new() -> Writer {
        Writer { bytes: [0; LEN_MAX], len: 0 }
    }

    /// Begins a packet with the fixed header for a body of `body_len` bytes.
    pub fn packet(kind: Kind, flags: u8, body_len: usize) -> Writer {
        let mut writer = Writer::new();
        writer.u8(kind.first_byte() | flags);
        writer.varint(u32::try_from(body_len).expect("a packet's length fits"));
        writer
    }

    /// What was written.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) {
        self.slice(&[value]);
    }

    /// A two byte integer.
    pub fn u16(&mut self, value: u16) {
        self.slice(&value.to_be_bytes());
    }

    /// A four byte integer.
    pub fn u32(&mut self, value: u32) {
        self.slice(&value.to_be_bytes());
    }

    /// A variable byte integer.
    pub fn varint(&mut self, mut value: u32) {
        loop {
            let [low, ..] = (value & 0x7f).to_le_bytes();
            value >>= 7;
            self.u8(if value == 0 { low } else { low | 0x80 });
            if value == 0 {
                return;
            }
        }
    }

    /// A string of at most 65,535 bytes.
    pub fn string(&mut self, text: &str) {
        self.u16(u16::try_from(text.len()).expect("strings of MQTT are this short"));
        self.slice(text.as_bytes());
    }

    /// The bytes of `slice`.
    pub fn slice(&mut self, slice: &[u8]) {
        self.bytes[self.len..self.len + slice.len()].copy_from_slice(slice);
        self.len += slice.len();
    }
}

impl Default for Writer {
    fn default() -> Writer {
        Writer::new()
    }
}

/// How many bytes a variable byte integer takes.
pub const fn varint_len(value: usize) -> usize {
    match value {
        0..=0x7f => 1,
        0x80..=0x3fff => 2,
        0x4000..=0x1f_ffff => 3,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::super::reader::Reader;
    use super::*;

    #[test]
    fn variable_byte_integers_come_back() {
        for value in [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 268_435_455] {
            let mut writer = Writer::new();
            writer.varint(value);
            assert_eq!(writer.bytes().len(), varint_len(value as usize));
            assert_eq!(Reader::new(writer.bytes()).varint(), Ok(value));
        }
    }
}
