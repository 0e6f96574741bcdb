//! A mark on some of the slots of the slab.

use crate::memory::array::Array;
use rustix::io::Errno;

/// One bit for each slot. What was never set takes no memory.
pub struct Marks {
    words: Array<u64>,
    len: u32,
}

impl Marks {
    /// Room for `capacity` slots, a bit of address space each.
    ///
    /// # Errors
    ///
    /// When there is not so much address space.
    pub fn new(capacity: u32) -> Result<Marks, Errno> {
        Ok(Marks { words: Array::zeroed(capacity.div_ceil(u64::BITS) as usize)?, len: 0 })
    }

    /// The memory of `capacity` slots, in bytes.
    pub const fn bytes(capacity: u32) -> u64 {
        capacity.div_ceil(u64::BITS) as u64 * size_of::<u64>() as u64
    }

    /// Whether `slot` is marked. While nobody is, nothing is looked at.
    #[inline]
    pub fn has(&self, slot: u32) -> bool {
        self.len > 0 && self.words[word(slot)] & bit(slot) != 0
    }

    /// Marks `slot`.
    pub fn set(&mut self, slot: u32) {
        if !self.has(slot) {
            self.words[word(slot)] |= bit(slot);
            self.len += 1;
        }
    }

    /// Takes the mark of `slot` away, and returns whether there was one.
    pub fn take(&mut self, slot: u32) -> bool {
        let had = self.has(slot);
        if had {
            self.words[word(slot)] &= !bit(slot);
            self.len -= 1;
        }
        had
    }

    /// How many slots are marked.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether no slot is marked.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

const fn word(slot: u32) -> usize {
    (slot / u64::BITS) as usize
}

const fn bit(slot: u32) -> u64 {
    1 << (slot % u64::BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_marked_until_its_mark_is_taken() {
        let mut marks = Marks::new(65).unwrap();
        assert_eq!((marks.has(64), marks.take(64), marks.len()), (false, false, 0));
        marks.set(64);
        marks.set(64);
        marks.set(0);
        assert_eq!(
            (marks.has(0), marks.has(1), marks.has(64), marks.len()),
            (true, false, true, 2)
        );
        assert_eq!((marks.take(64), marks.has(64), marks.take(0)), (true, false, true));
        assert!(marks.is_empty());
    }
}
