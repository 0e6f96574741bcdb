//! From a flow key to its record: a hash table of slots.

use hashbrown::{HashTable, TryReserveError};

/// A table of slots, found by a hash that the caller computes and an equality that looks at the
/// records. It is as large as the slab from the start, so filling it never moves it.
pub struct Index {
    table: HashTable<u32>,
    capacity: usize,
}

impl Index {
    /// Room for `capacity` slots: between 5.7 and 11.4 bytes each.
    ///
    /// # Errors
    ///
    /// When there is not so much memory.
    pub fn new(capacity: u32) -> Result<Index, TryReserveError> {
        let capacity = capacity as usize;
        let mut table = HashTable::new();
        table.try_reserve(capacity, |_| 0)?;
        Ok(Index { table, capacity })
    }

    /// The slot with hash `hash` for which `is_it` holds.
    pub fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        self.table.find(hash, |&slot| is_it(slot)).copied()
    }

    /// Adds a slot that is not in the table; `rehash` gives the hash of any slot in it.
    ///
    /// # Panics
    ///
    /// When more slots are added than the table was made for: that is a bug.
    pub fn insert(&mut self, hash: u64, slot: u32, rehash: impl Fn(u32) -> u64) {
        assert!(self.table.len() < self.capacity, "the index is as large as the slab");
        // hashbrown leaves a tombstone where a removed slot's group was full. Should they ever use up
        // the slack of 1/8, it rehashes: in place if the table is at most half full, else into
        // a larger one. At the load factors here (at most 7/8) full groups are rare.
        self.table.insert_unique(hash, slot, |&slot| rehash(slot));
    }

    /// Removes `slot`, whose hash is `hash`.
    pub fn remove(&mut self, hash: u64, slot: u32) {
        if let Ok(entry) = self.table.find_entry(hash, |&other| other == slot) {
            entry.remove();
        }
    }

    /// How many slots are in the table.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether the table has no slot.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }
}
