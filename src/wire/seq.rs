//! TCP sequence numbers (RFC 9293 section 3.4).

use bytemuck::Zeroable;

/// A sequence number: 32 bits that wrap.
///
/// It has no total order; [`SeqNumber::before`] compares two numbers less than 2^31 apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Zeroable)]
#[repr(transparent)]
pub struct SeqNumber(pub u32);

impl SeqNumber {
    /// Whether `self` comes before `other`.
    pub const fn before(self, other: SeqNumber) -> bool {
        self.0.wrapping_sub(other.0).cast_signed() < 0
    }

    /// Whether `self` comes after `other`.
    pub const fn after(self, other: SeqNumber) -> bool {
        other.before(self)
    }

    /// How many bytes `self` is past `earlier`, modulo 2^32.
    pub const fn since(self, earlier: SeqNumber) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }

    /// Whether `self` is one of the `len` numbers from `start` on.
    pub const fn within(self, start: SeqNumber, len: u32) -> bool {
        self.since(start) < len
    }
}

impl core::ops::Add<u32> for SeqNumber {
    type Output = SeqNumber;

    fn add(self, rhs: u32) -> SeqNumber {
        SeqNumber(self.0.wrapping_add(rhs))
    }
}

impl core::ops::Sub<u32> for SeqNumber {
    type Output = SeqNumber;

    fn sub(self, rhs: u32) -> SeqNumber {
        SeqNumber(self.0.wrapping_sub(rhs))
    }
}

impl core::ops::AddAssign<u32> for SeqNumber {
    fn add_assign(&mut self, rhs: u32) {
        *self = *self + rhs;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_number_is_before_its_successors(start: u32, ahead in 1u32..1 << 31) {
            let (a, b) = (SeqNumber(start), SeqNumber(start) + ahead);
            prop_assert!(a.before(b) && b.after(a) && !b.before(a));
            prop_assert_eq!(b.since(a), ahead);
            prop_assert_eq!(b - ahead, a);
        }

        #[test]
        fn a_window_holds_exactly_its_length(start: u32, len in 0u32..1 << 30, at: u32) {
            let start = SeqNumber(start);
            let inside = SeqNumber(at).within(start, len);
            prop_assert_eq!(inside, u64::from(SeqNumber(at).since(start)) < u64::from(len));
        }
    }
}
