//! Comparing sixteen bytes at once.
#![allow(unsafe_code, reason = "instructions that the language has no word for")]

/// A bit for each of `bytes`, the lowest for the first, which is set where it is `byte`.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub fn equal(bytes: &[u8; 16], byte: u8) -> u32 {
    use core::arch::x86_64::{_mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_set1_epi8};
    // SAFETY: SSE2 is part of x86-64, and the load is of the sixteen bytes, wherever they begin.
    let equal = unsafe {
        let bytes = _mm_loadu_si128(bytes.as_ptr().cast());
        _mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte.cast_signed())))
    };
    equal.cast_unsigned()
}

/// A bit for each of `bytes`, the lowest for the first, which is set where it is `byte`.
#[cfg(not(target_arch = "x86_64"))]
pub fn equal(bytes: &[u8; 16], byte: u8) -> u32 {
    bytes.iter().rev().fold(0, |bits, other| bits << 1 | u32::from(*other == byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_has_its_bit() {
        for at in 0..16 {
            let mut bytes = [0x80; 16];
            bytes[at] = 0xff;
            assert_eq!(equal(&bytes, 0xff), 1 << at);
            assert_eq!(equal(&bytes, 0x80), 0xffff & !(1 << at));
            assert_eq!(equal(&bytes, 0), 0);
        }
    }
}
