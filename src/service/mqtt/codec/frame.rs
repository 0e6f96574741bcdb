//! Where a packet begins and ends: the fixed header (3.1.1 section 2.2, 5.0 section 2.1).

use super::Reason;

/// The longest fixed header: the type, and a length of four bytes.
pub const HEADER_LEN_MAX: usize = 5;

/// The type of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The client's first packet.
    Connect = 1,
    /// The server's answer to it.
    Connack = 2,
    /// A message.
    Publish = 3,
    /// QoS 1: a message has arrived.
    Puback = 4,
    /// QoS 2: a message has arrived.
    Pubrec = 5,
    /// QoS 2: its identifier is released.
    Pubrel = 6,
    /// QoS 2: the release has arrived.
    Pubcomp = 7,
    /// A request for subscriptions.
    Subscribe = 8,
    /// The answer to it.
    Suback = 9,
    /// A request to end subscriptions.
    Unsubscribe = 10,
    /// The answer to it.
    Unsuback = 11,
    /// The client's heartbeat.
    Pingreq = 12,
    /// The answer to it.
    Pingresp = 13,
    /// The last packet.
    Disconnect = 14,
    /// One of an exchange that authenticates (5.0 only).
    Auth = 15,
}

impl Kind {
    const ALL: [Kind; 15] = [
        Kind::Connect,
        Kind::Connack,
        Kind::Publish,
        Kind::Puback,
        Kind::Pubrec,
        Kind::Pubrel,
        Kind::Pubcomp,
        Kind::Subscribe,
        Kind::Suback,
        Kind::Unsubscribe,
        Kind::Unsuback,
        Kind::Pingreq,
        Kind::Pingresp,
        Kind::Disconnect,
        Kind::Auth,
    ];

    /// The first byte of a packet of this type, with the flags that the type prescribes. Those of a
    /// PUBLISH, which have a meaning, are zero.
    pub const fn first_byte(self) -> u8 {
        let flags = match self {
            Kind::Pubrel | Kind::Subscribe | Kind::Unsubscribe => 0b0010,
            _ => 0,
        };
        (self as u8) << 4 | flags
    }

    /// The type that a packet with this first byte has. Reserved flags must be as prescribed
    /// (MQTT-2.1.3-1; 3.1.1: MQTT-2.2.2-2).
    fn of(first: u8) -> Result<Kind, Reason> {
        let number = usize::from(first >> 4).wrapping_sub(1);
        let kind = *Kind::ALL.get(number).ok_or(Reason::MalformedPacket)?;
        if kind != Kind::Publish && first != kind.first_byte() {
            return Err(Reason::MalformedPacket);
        }
        Ok(kind)
    }
}

/// A whole packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its type.
    pub kind: Kind,
    /// The four flags of the first byte.
    pub flags: u8,
    /// What follows the fixed header.
    pub body: &'a [u8],
    /// The packet's length with its fixed header, in bytes.
    pub len: usize,
    /// Whether its length was encoded in as few bytes as it could be.
    pub minimal: bool,
}

/// The packet that `bytes` begin with, or `None` while they are only its beginning. A packet that
/// can be refused from its beginning is.
///
/// # Errors
///
/// [`Reason::MalformedPacket`], or [`Reason::PacketTooLarge`] for one of more than `len_max` bytes.
pub fn split(bytes: &[u8], len_max: usize) -> Result<Option<Frame<'_>>, Reason> {
    let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
    let kind = Kind::of(first)?;
    let mut body_len = 0;
    for at in 0..HEADER_LEN_MAX - 1 {
        let Some(&byte) = rest.get(at) else { return Ok(None) };
        body_len |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 != 0 {
            continue;
        }
        let len = at + 2 + body_len;
        if len > len_max {
            return Err(Reason::PacketTooLarge);
        }
        let minimal = at == 0 || byte != 0;
        let Some(body) = bytes.get(at + 2..len) else { return Ok(None) };
        return Ok(Some(Frame { kind, flags: first & 0x0f, body, len, minimal }));
    }
    // MQTT-1.5.5: a length has four bytes at most.
    Err(Reason::MalformedPacket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_ends_where_its_length_says() {
        let frame = split(&[0xc0, 0x00, 0xff], 100).unwrap().unwrap();
        assert_eq!((frame.kind, frame.len, frame.body), (Kind::Pingreq, 2, &[][..]));
        for (encoded, len) in [
            (&[0x7f][..], 127),
            (&[0x80, 0x01], 128),
            (&[0xff, 0x7f], 16_383),
            (&[0x80, 0x80, 0x01], 16_384),
            (&[0xff, 0xff, 0x7f], 2_097_151),
            (&[0x80, 0x80, 0x80, 0x01], 2_097_152),
        ] {
            let mut packet = [&[0x30][..], encoded].concat();
            packet.resize(1 + encoded.len() + len, 7);
            let frame = split(&packet, usize::MAX).unwrap().unwrap();
            assert_eq!((frame.body.len(), frame.len, frame.minimal), (len, packet.len(), true));
            assert_eq!(split(&packet[..packet.len() - 1], usize::MAX), Ok(None));
            assert_eq!(split(&packet[..2], packet.len() - 1).is_err(), encoded.len() == 1);
            assert_eq!(split(&packet, packet.len() - 1), Err(Reason::PacketTooLarge));
        }
    }

    #[test]
    fn what_can_never_become_a_packet_is_refused_at_once() {
        assert_eq!(split(&[0x00], 100), Err(Reason::MalformedPacket), "type 0");
        assert_eq!(split(&[0x82], 100), Ok(None), "SUBSCRIBE");
        for first in [0x80, 0x83, 0xc1, 0xe8, 0x60, 0x41, 0x11] {
            assert_eq!(split(&[first], 100), Err(Reason::MalformedPacket), "{first:#x}");
        }
        let endless = [0x30, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(split(&endless, usize::MAX), Err(Reason::MalformedPacket));
        assert_eq!(split(&endless[..4], usize::MAX), Ok(None));
    }

    #[test]
    fn a_padded_length_is_told() {
        let frame = split(&[0xc0, 0x80, 0x00], 100).unwrap().unwrap();
        assert_eq!((frame.len, frame.minimal), (3, false));
    }
}
