//! Ethernet headers with up to two VLAN tags (IEEE 802.3, 802.1Q, 802.1ad).

use crate::drops::DropReason;

/// A hardware address.
pub type Mac = [u8; 6];

/// The hardware address that reaches every host of a link.
pub const BROADCAST: Mac = [0xff; 6];

/// The EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// The EtherType of ARP.
pub const ARP: u16 = 0x0806;
/// The EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;

const VLAN: u16 = 0x8100;
const VLAN_SERVICE: u16 = 0x88a8;
const LEN_UNTAGGED: usize = 14;
const TAG_LEN: usize = 4;
const TAGS_MAX: usize = 2;

/// The longest header that [`EthernetHeader`] holds, in bytes.
pub const HEADER_LEN_MAX: usize = LEN_UNTAGGED + TAGS_MAX * TAG_LEN;

/// Whether `mac` is a group address (multicast or broadcast).
#[inline]
pub const fn is_group(mac: &Mac) -> bool {
    mac[0] & 1 == 1
}

/// The length of the header at the front of `frame`, and what its payload is.
///
/// # Errors
///
/// `Truncated` when the frame ends inside the header; `Protocol` for more than two tags.
#[inline]
pub(super) fn header_of(frame: &[u8]) -> Result<(usize, u16), DropReason> {
    let mut len = LEN_UNTAGGED;
    loop {
        match be16(frame, len - 2).ok_or(DropReason::Truncated)? {
            VLAN | VLAN_SERVICE if len == HEADER_LEN_MAX => return Err(DropReason::Protocol),
            VLAN | VLAN_SERVICE => len += TAG_LEN,
            ethertype => return Ok((len, ethertype)),
        }
    }
}

/// An Ethernet header as it stands on the wire, VLAN tags included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EthernetHeader {
    bytes: [u8; HEADER_LEN_MAX],
    len: u8,
}

impl EthernetHeader {
    /// An untagged header.
    pub fn new(dst: Mac, src: Mac, ethertype: u16) -> EthernetHeader {
        let mut bytes = [0; HEADER_LEN_MAX];
        bytes[..6].copy_from_slice(&dst);
        bytes[6..12].copy_from_slice(&src);
        bytes[12..14].copy_from_slice(&ethertype.to_be_bytes());
        EthernetHeader { bytes, len: 14 }
    }

    /// The header at the front of `frame`.
    ///
    /// # Errors
    ///
    /// `Truncated` when the frame ends inside the header; `Protocol` for more than two tags.
    pub fn parse(frame: &[u8]) -> Result<EthernetHeader, DropReason> {
        let (len, _) = header_of(frame)?;
        let mut bytes = [0; HEADER_LEN_MAX];
        if len == LEN_UNTAGGED {
            // Nearly always, and of a length that is known beforehand.
            bytes[..LEN_UNTAGGED].copy_from_slice(&frame[..LEN_UNTAGGED]);
        } else {
            bytes[..len].copy_from_slice(&frame[..len]);
        }
        Ok(EthernetHeader {
            bytes,
            #[expect(clippy::cast_possible_truncation, reason = "at most HEADER_LEN_MAX")]
            len: len as u8,
        })
    }

    /// The header of the answer to a frame with this header: addresses swapped, VLAN identifiers
    /// kept, the priority bits of the tags cleared.
    pub fn reply(&self) -> EthernetHeader {
        let mut reply = *self;
        reply.bytes[..6].copy_from_slice(&self.src());
        reply.bytes[6..12].copy_from_slice(&self.dst());
        for tag in (LEN_UNTAGGED..self.len()).step_by(TAG_LEN) {
            reply.bytes[tag] &= 0x0f;
        }
        reply
    }

    /// Whether this is what [`EthernetHeader::reply`] makes of the header of `frame`. It may be denied
    /// of a frame whose VLAN tags have a priority.
    #[inline]
    pub fn replies_to(&self, frame: &[u8]) -> bool {
        let Some(theirs) = frame.first_chunk::<LEN_UNTAGGED>() else { return false };
        let Some(ours) = self.bytes.first_chunk::<LEN_UNTAGGED>() else { return false };
        // An address and two bytes more; those of the second are the EtherType.
        let [to_them, from_us] = [long::<0>(ours), long::<6>(ours)];
        let [to_us, from_them] = [long::<0>(theirs), long::<6>(theirs)];
        let differing = to_us >> 16 ^ from_us >> 16
            | from_them >> 16 ^ to_them >> 16
            | (from_them ^ from_us) & 0xffff;
        differing == 0
            && (!self.is_tagged() || frame.get(14..self.len()) == self.bytes.get(14..self.len()))
    }

    /// Writes the header to the front of `room`, and returns its length; or `None` if `room` is too
    /// small for the longest one.
    #[inline]
    pub(super) fn emit(&self, room: &mut [u8]) -> Option<usize> {
        // Always the longest: what follows is written over what is too much.
        *room.first_chunk_mut::<HEADER_LEN_MAX>()? = self.bytes;
        Some(self.len())
    }

    /// The same header with another source address.
    pub fn with_src(mut self, src: Mac) -> EthernetHeader {
        self.bytes[6..12].copy_from_slice(&src);
        self
    }

    /// The same header with another destination address.
    pub fn with_dst(mut self, dst: Mac) -> EthernetHeader {
        self.bytes[..6].copy_from_slice(&dst);
        self
    }

    /// Whether the header has VLAN tags.
    pub fn is_tagged(&self) -> bool {
        self.len() > LEN_UNTAGGED
    }

    /// The destination address.
    pub fn dst(&self) -> Mac {
        core::array::from_fn(|i| self.bytes[i])
    }

    /// The source address.
    pub fn src(&self) -> Mac {
        core::array::from_fn(|i| self.bytes[6 + i])
    }

    /// What the payload is.
    pub fn ethertype(&self) -> u16 {
        let at = self.len() - 2;
        u16::from_be_bytes([self.bytes[at], self.bytes[at + 1]])
    }

    /// The header's bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len()]
    }

    /// The length of the header: 14, 18 or 22 bytes.
    #[expect(clippy::len_without_is_empty, reason = "a header is never empty")]
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }
}

/// The eight bytes at `AT`, in network order.
#[inline(always)]
pub(super) fn long<const AT: usize>(bytes: &[u8]) -> u64 {
    let mut long = [0; 8];
    long.copy_from_slice(&bytes[AT..AT + 8]);
    u64::from_be_bytes(long)
}

/// The big-endian 16-bit number at `at`, or `None` past the end.
#[inline]
pub fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_swaps_the_addresses_and_keeps_the_vlan_identifiers() {
        let mut frame = vec![1, 2, 3, 4, 5, 6, 10, 11, 12, 13, 14, 15];
        frame.extend([0x88, 0xa8, 0xe0, 100, 0x81, 0x00, 0x01, 0xff, 0x08, 0x00, 0x45]);
        let header = EthernetHeader::parse(&frame).unwrap();
        assert_eq!((header.len(), header.ethertype()), (22, IPV4));
        let reply = header.reply();
        assert_eq!(reply.dst(), [10, 11, 12, 13, 14, 15]);
        assert_eq!(reply.src(), [1, 2, 3, 4, 5, 6]);
        let back = reply.reply();
        assert!(!reply.replies_to(&frame), "its tags have a priority");
        assert!(back.replies_to(reply.as_bytes()));
        for len in 0..22 {
            assert!(!back.replies_to(&reply.as_bytes()[..len]));
        }
        for at in 0..22 {
            let mut other = reply.as_bytes().to_vec();
            other[at] ^= 1;
            assert!(!back.replies_to(&other), "byte {at}");
        }
        assert_eq!(reply.as_bytes()[12..], [0x88, 0xa8, 0, 100, 0x81, 0x00, 0x01, 0xff, 8, 0]);
    }

    #[test]
    fn every_cut_of_a_tagged_header_is_truncated() {
        let mut frame = vec![0; 12];
        frame.extend([0x81, 0x00, 0, 1, 0x81, 0x00, 0, 2, 0x86, 0xdd]);
        for cut in 0..frame.len() {
            assert_eq!(EthernetHeader::parse(&frame[..cut]), Err(DropReason::Truncated), "{cut}");
        }
        frame.splice(20.., [0x81, 0x00, 0, 3, 0x86, 0xdd]);
        assert_eq!(EthernetHeader::parse(&frame), Err(DropReason::Protocol));
    }
}
