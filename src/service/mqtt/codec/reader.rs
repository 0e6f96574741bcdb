//! Takes values from the front of a packet's body (5.0 section 1.5).

use super::Reason;

/// What of a packet has not been read.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `bytes` from their front.
    pub const fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    /// What was not read.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything was read.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// That everything was read.
    ///
    /// # Errors
    ///
    /// [`Reason::MalformedPacket`], as every reading method has it.
    pub const fn end(&self) -> Result<(), Reason> {
        if self.rest.is_empty() { Ok(()) } else { Err(Reason::MalformedPacket) }
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    ///
    /// When there are fewer.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], Reason> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Reason::MalformedPacket)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Reason> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Reason::MalformedPacket)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// One byte.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn u8(&mut self) -> Result<u8, Reason> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// A two byte integer.
    ///
    /// # Errors
    ///
    /// When there are fewer bytes.
    pub fn u16(&mut self) -> Result<u16, Reason> {
        self.array().map(u16::from_be_bytes)
    }

    /// A four byte integer.
    ///
    /// # Errors
    ///
    /// When there are fewer bytes.
    pub fn u32(&mut self) -> Result<u32, Reason> {
        self.array().map(u32::from_be_bytes)
    }

    /// A variable byte integer: four bytes at most, and no more than needed (MQTT-1.5.5-1).
    ///
    /// # Errors
    ///
    /// When it is none.
    pub fn varint(&mut self) -> Result<u32, Reason> {
        let mut value = 0;
        for at in 0..4 {
            let byte = self.u8()?;
            value |= u32::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                let padded = at > 0 && byte == 0;
                return if padded { Err(Reason::MalformedPacket) } else { Ok(value) };
            }
        }
        Err(Reason::MalformedPacket)
    }

    /// Binary data: a length of two bytes, and as many bytes.
    ///
    /// # Errors
    ///
    /// When there are fewer.
    pub fn binary(&mut self) -> Result<&'a [u8], Reason> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }

    /// A string: UTF-8 (MQTT-1.5.4-1; 3.1.1: MQTT-1.5.3-1) without the null character (MQTT-1.5.4-2;
    /// 3.1.1: MQTT-1.5.3-2).
    ///
    /// # Errors
    ///
    /// When it is none.
    pub fn string(&mut self) -> Result<&'a str, Reason> {
        let text = str::from_utf8(self.binary()?).map_err(|_| Reason::MalformedPacket)?;
        if text.contains('\0') { Err(Reason::MalformedPacket) } else { Ok(text) }
    }

    /// A packet identifier, which is not zero (MQTT-2.2.1-3; 3.1.1: MQTT-2.3.1-1).
    ///
    /// # Errors
    ///
    /// When it is none.
    pub fn identifier(&mut self) -> Result<u16, Reason> {
        match self.u16()? {
            0 => Err(Reason::ProtocolError),
            identifier => Ok(identifier),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_utf8_without_null() {
        let read = |bytes: &'static [u8]| Reader::new(bytes).string();
        assert_eq!(read(b"\x00\x03a/b"), Ok("a/b"));
        assert_eq!(read(b"\x00\x00"), Ok(""));
        assert_eq!(read(b"\x00\x03\xef\xbb\xbf"), Ok("\u{feff}"), "MQTT-1.5.4-3");
        for bad in [
            &b"\x00\x03a\x00b"[..],
            b"\x00\x01\xff",
            b"\x00\x03\xed\xa0\x80",
            b"\x00\x03ab",
            b"\x00",
            b"",
        ] {
            assert_eq!(Reader::new(bad).string(), Err(Reason::MalformedPacket), "{bad:?}");
        }
    }

    #[test]
    fn variable_byte_integers_are_as_short_as_can_be() {
        let read = |bytes: &'static [u8]| Reader::new(bytes).varint();
        assert_eq!(read(&[0x00]), Ok(0));
        assert_eq!(read(&[0x80, 0x01]), Ok(128));
        assert_eq!(read(&[0xff, 0xff, 0xff, 0x7f]), Ok(268_435_455));
        for bad in [&[0x80, 0x00][..], &[0xff, 0xff, 0xff, 0xff, 0x00], &[0x80]] {
            assert_eq!(Reader::new(bad).varint(), Err(Reason::MalformedPacket), "{bad:?}");
        }
    }
}
