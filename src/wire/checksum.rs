//! The Internet checksum (RFC 1071), eight bytes at a time.

use super::addr::Address;

/// The protocol number of TCP.
pub(super) const TCP: u8 = 6;

/// A sum of 16-bit words in network order, four beside each other, not yet folded: what is carried out at
/// the upper end comes in again at the lower one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum(u64);

impl Sum {
    /// The sum of `bytes`, as if a zero followed where their number is odd.
    #[inline(always)]
    pub(super) fn of(bytes: &[u8]) -> Sum {
        if bytes.is_empty() {
            return Sum(0);
        }
        let (words, rest) = bytes.as_chunks::<8>();
        let sum = words.iter().fold(Sum(0), |sum, word| sum.plus_long(u64::from_be_bytes(*word)));
        sum.plus_long(left_aligned(rest))
    }

    /// The sum of the pseudo-header of a TCP segment of `len` bytes, header included (RFC 9293 section
    /// 3.1, RFC 8200 section 8.1).
    #[inline(always)]
    pub(super) fn pseudo_header(source: &Address, target: &Address, len: usize) -> Sum {
        let addresses = match source.is_v4() {
            true => {
                let [source, target] = [source.v4_octets(), target.v4_octets()];
                Sum(0).plus(u32::from_be_bytes(source)).plus(u32::from_be_bytes(target))
            }
            false => Sum::of(&source.0).and(Sum::of(&target.0)),
        };
        addresses.plus_long(u64::from(TCP) + len as u64)
    }

    /// This and 32 bits more.
    #[inline(always)]
    pub(super) fn plus(self, word: u32) -> Sum {
        self.plus_long(u64::from(word))
    }

    /// This and 64 bits more.
    #[inline(always)]
    pub(super) fn plus_long(self, word: u64) -> Sum {
        let (sum, carry) = self.0.overflowing_add(word);
        Sum(sum + u64::from(carry))
    }

    /// Both sums together; the first is of an even number of bytes.
    #[inline(always)]
    pub(super) fn and(self, other: Sum) -> Sum {
        self.plus_long(other.0)
    }

    /// Whether what was summed holds its own checksum, and that is right.
    #[inline(always)]
    pub(super) fn is_right(self) -> bool {
        self.folded() == 0xffff
    }

    /// The checksum over what was summed, with zeros in its place.
    #[inline(always)]
    pub(super) fn checksum(self) -> u16 {
        !self.folded()
    }

    #[inline(always)]
    fn folded(self) -> u16 {
        // Both halves added in both orders: the lower one's carry comes in at the upper one.
        let sum = (self.0.wrapping_add(self.0.rotate_left(32)) >> 32) as u32;
        (sum.wrapping_add(sum.rotate_left(16)) >> 16) as u16
    }
}

/// At most seven bytes, and zeros behind them.
#[inline(always)]
fn left_aligned(bytes: &[u8]) -> u64 {
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        // Four to seven bytes: what both have in common is cut off the last four.
        let [first, last] = [first, last].map(|word| u64::from(u32::from_be_bytes(*word)));
        let rest = last << (8 * (8 - bytes.len()));
        return first << 32 | rest & 0xffff_ffff;
    }
    let byte = |at| bytes.get(at).map_or(0, |&byte| u64::from(byte));
    byte(0) << 56 | byte(1) << 48 | byte(2) << 40
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 1071 section 4.1, with bytes in network order.
    fn by_the_book(bytes: &[u8]) -> u16 {
        let mut sum: u32 = 0;
        for pair in bytes.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
        }
        while sum >> 16 != 0 {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !u16::try_from(sum).unwrap()
    }

    proptest! {
        #[test]
        fn sums_are_those_of_the_book(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(Sum::of(&bytes).checksum(), by_the_book(&bytes));
        }

        #[test]
        fn what_holds_its_checksum_is_right_and_a_flipped_bit_is_found(
            mut bytes in proptest::collection::vec(any::<u8>(), 20..60),
            flipped in 0..160usize,
        ) {
            bytes[10..12].fill(0);
            let checksum = Sum::of(&bytes).checksum();
            bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
            prop_assert!(Sum::of(&bytes).is_right());
            bytes[flipped / 8] ^= 1 << (flipped % 8);
            prop_assert!(!Sum::of(&bytes).is_right());
        }
    }

    #[test]
    fn the_example_of_rfc_1071() {
        // Section 3: 0001 f203 f4f5 f6f7 sums to ddf2.
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::of(&bytes).checksum(), !0xddf2);
        assert_eq!(Sum::default().plus_long(0x0001_f203_f4f5_f6f7).checksum(), !0xddf2);
        assert_eq!(Sum::default().plus(0x0001_f203).plus(0xf4f5_f6f7).checksum(), !0xddf2);
        assert_eq!((Sum::of(&[0xff; 64]).checksum(), Sum::default().checksum()), (0, 0xffff));
    }

    #[test]
    fn the_pseudo_header_is_the_one_of_the_family() {
        let addr = |text: &str| Address::from(text.parse::<core::net::IpAddr>().unwrap());
        let v4 = Sum::pseudo_header(&addr("10.1.2.3"), &addr("10.4.5.6"), 0x1234);
        assert_eq!(v4.checksum(), by_the_book(&[10, 1, 2, 3, 10, 4, 5, 6, 0, 6, 0x12, 0x34]));
        let v6 = Sum::pseudo_header(&addr("fd77::1"), &addr("fd77::2"), 0x1234);
        let mut header = [addr("fd77::1").0, addr("fd77::2").0].concat();
        header.extend([0, 0, 0x12, 0x34, 0, 0, 0, 6]);
        assert_eq!(v6.checksum(), by_the_book(&header));
    }
}
