//! From a flow key to its record: a hash table of slots, a bucket of which is one cache line.
//!
//! The table is as large as it will ever be from the start. A bucket that is full passes what comes on to
//! the next one, and counts what passed, until that is removed (as in folly's F14): so a search ends
//! where nothing has passed, and removals leave no traces that would have to be cleared. There is no
//! rehashing, which for ten million connections would stop everything for seconds
//! (docs/decisions/0014-index.md).

use crate::memory::array::{Array, PageKind};
use crate::memory::bytes;
use crate::memory::prefetch::prefetch;
use bytemuck::{Pod, Zeroable};
use rustix::io::Errno;

/// Places in a bucket.
const PLACES: usize = 12;

/// Places in use in a bucket, on average, when the table is full: half. One slot in 100 is then not in the
/// bucket where its search begins, after any number of slots have come and gone.
const FILL: u32 = 6;

/// A cache line: twelve slots, each with eight bits of its hash, and more in the bits that it leaves free.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Bucket {
    /// 0 where the place is free.
    tags: [u8; PLACES],
    /// How many slots passed this bucket because it was full, and are behind it.
    passed: u32,
    /// The upper bits, which no slot needs, are those of its hash.
    slots: [u32; PLACES],
}

const _: () = assert!(size_of::<Bucket>() == 64);

impl Bucket {
    /// The places whose tag is `tag`.
    #[inline(always)]
    fn matches(&self, tag: u8) -> Matches {
        // What is not tags is compared too, and left out.
        let bytes = bytemuck::bytes_of(self).first_chunk().expect("a bucket is longer");
        Matches(bytes::equal(bytes, tag) & ((1 << PLACES) - 1))
    }
}

/// Places of a bucket, a bit for each, the first of them first.
struct Matches(u32);

impl Iterator for Matches {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        let place = self.0.trailing_zeros() as usize;
        self.0 &= self.0.wrapping_sub(1);
        (place < PLACES).then_some(place)
    }
}

/// A table of slots, found by a hash that the caller computes and an equality that looks at the
/// records.
pub struct Index {
    buckets: Array<Bucket>,
    /// The bits that a slot may have.
    slot_mask: u32,
    len: u32,
    capacity: u32,
}

impl Index {
    /// Room for `capacity` slots: 8 bytes of address space each.
    ///
    /// # Errors
    ///
    /// When there is not so much address space.
    pub fn new(capacity: u32) -> Result<Index, Errno> {
        let buckets = Array::zeroed(capacity.div_ceil(FILL).max(1) as usize)?;
        let slot_mask = u32::MAX.checked_shr(capacity.leading_zeros()).unwrap_or(0);
        Ok(Index { buckets, slot_mask, len: 0, capacity })
    }

    /// The bucket in which a search for `hash` begins.
    #[inline]
    fn home(&self, hash: u64) -> usize {
        (((hash >> 32) * self.buckets.len() as u64) >> 32) as usize
    }

    #[inline]
    fn after(&self, bucket: usize) -> usize {
        if bucket + 1 == self.buckets.len() { 0 } else { bucket + 1 }
    }

    /// Asks for the bucket in which a search for `hash` begins to be in the cache soon.
    #[inline(always)]
    pub fn prefetch(&self, hash: u64) {
        prefetch(&self.buckets[self.home(hash)]);
    }

    /// A slot that most likely has hash `hash`, if one has, without a look at the records.
    #[inline(always)]
    pub fn candidate(&self, hash: u64) -> Option<u32> {
        let bucket = &self.buckets[self.home(hash)];
        match self.slots(bucket, hash).next() {
            Some((_, slot)) => Some(slot),
            None if bucket.passed == 0 => None,
            None => self.find(hash, |_| true),
        }
    }

    /// The slots of `bucket` that most likely have hash `hash`, each with its place.
    #[inline(always)]
    fn slots<'a>(&self, bucket: &'a Bucket, hash: u64) -> impl Iterator<Item = (usize, u32)> + 'a {
        let mask = self.slot_mask;
        bucket.matches(tag(hash)).filter_map(move |place| {
            let slot = bucket.slots[place];
            ((slot ^ lower(hash)) & !mask == 0).then_some((place, slot & mask))
        })
    }

    /// The slot with hash `hash` for which `is_it` holds.
    #[inline]
    pub fn find(&self, hash: u64, is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        self.search(hash, is_it).map(|(_, _, slot)| slot)
    }

    /// The same with its bucket and its place there.
    #[inline]
    fn search(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<(usize, usize, u32)> {
        let mut at = self.home(hash);
        for _ in 0..self.buckets.len() {
            let bucket = &self.buckets[at];
            match self.slots(bucket, hash).find(|&(_, slot)| is_it(slot)) {
                Some((place, slot)) => return Some((at, place, slot)),
                None if bucket.passed == 0 => return None,
                None => at = self.after(at),
            }
        }
        None
    }

    /// Adds a slot that is not in the table.
    ///
    /// # Panics
    ///
    /// When more slots are added than the table was made for: that is a bug.
    pub fn insert(&mut self, hash: u64, slot: u32) {
        assert!(self.len < self.capacity, "the index is as large as the slab");
        debug_assert!(slot & !self.slot_mask == 0, "{slot} is no slot of {}", self.capacity);
        let slot = slot | lower(hash) & !self.slot_mask;
        self.len += 1;
        let mut at = self.home(hash);
        loop {
            let bucket = &mut self.buckets[at];
            if let Some(place) = bucket.matches(0).next() {
                (bucket.tags[place], bucket.slots[place]) = (tag(hash), slot);
                return;
            }
            bucket.passed += 1;
            at = self.after(at);
        }
    }

    /// Removes `slot`, whose hash is `hash`.
    pub fn remove(&mut self, hash: u64, slot: u32) {
        let Some((found, place, _)) = self.search(hash, |other| other == slot) else { return };
        self.len -= 1;
        self.buckets[found].tags[place] = 0;
        let mut at = self.home(hash);
        while at != found {
            self.buckets[at].passed -= 1;
            at = self.after(at);
        }
    }

    /// How many slots are in the table.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether the table has no slot.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The address space that the table takes, in bytes: no more memory than that.
    pub const fn bytes(capacity: u32) -> usize {
        capacity.div_ceil(FILL) as usize * size_of::<Bucket>()
    }

    /// The pages that the table is made of.
    pub fn page_kind(&self) -> PageKind {
        self.buckets.kind()
    }
}

/// The lower half of `hash`, whose upper bits are not among those that choose the bucket, nor in the tag.
#[expect(clippy::cast_possible_truncation, reason = "the lower half")]
fn lower(hash: u64) -> u32 {
    hash as u32
}

/// Eight bits of `hash` that are not among those that choose the bucket; never 0.
#[expect(clippy::cast_possible_truncation, reason = "the low bits")]
fn tag(hash: u64) -> u8 {
    (hash as u8).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::addr::{Address, Endpoint, FlowHasher, FlowKey, Secret};
    use proptest::prelude::*;
    use siphasher::sip::SipHasher13;
    use std::collections::HashMap;

    fn hash(n: u32) -> u64 {
        SipHasher13::new().hash(&n.to_le_bytes())
    }

    #[test]
    fn coming_and_going_leaves_no_traces_in_a_full_table() {
        const CAPACITY: u32 = 10_000;
        let mut index = Index::new(CAPACITY).unwrap();
        (0..CAPACITY).for_each(|n| index.insert(hash(n), n));
        let passed = |index: &Index| index.buckets.iter().map(|b| u64::from(b.passed)).sum::<u64>();
        const ROUNDS: u32 = 1_000_000;
        for n in 0..ROUNDS {
            index.remove(hash(n), n % CAPACITY);
            index.insert(hash(n + CAPACITY), n % CAPACITY);
        }
        assert_eq!(index.len(), CAPACITY as usize);
        assert!(passed(&index) < u64::from(CAPACITY) / 50, "{} of them", passed(&index));
        for n in ROUNDS..ROUNDS + CAPACITY {
            let slot = n % CAPACITY;
            assert_eq!(index.find(hash(n), |other| other == slot), Some(slot));
            index.remove(hash(n), slot);
            assert_eq!(index.find(hash(n), |other| other == slot), None);
        }
        assert_eq!((index.len(), passed(&index)), (0, 0));
    }

    /// Clients differ in few bits: in their ports, and in the last octets of their addresses.
    #[test]
    fn flows_that_differ_in_few_bits_spread_as_random_numbers_do() {
        const CAPACITY: u32 = 1 << 16;
        let endpoint = |n: u32, port| Endpoint { addr: Address::v4(n.to_be_bytes()), port };
        let port = |n: u32| u16::try_from(n & 0xffff).unwrap();
        type Pattern<'a> = &'a dyn Fn(u32) -> Endpoint;
        let patterns: [Pattern<'_>; 4] = [
            &|n| endpoint(0x0a4e_0002, port(n)),
            &|n| endpoint(0x0a4e_0000 + n, 40_000),
            &|n| endpoint(0x0a4e_0000 + (n >> 10), port(1_024 + (n & 0x3ff))),
            &|n| endpoint(n << 16, port(n << 8)),
        ];
        for secret in 0..4 {
            let hasher = FlowHasher::new(Secret([secret; 16]));
            for (at, pattern) in patterns.iter().enumerate() {
                let mut index = Index::new(CAPACITY).unwrap();
                for n in 0..CAPACITY {
                    let flow = FlowKey { remote: pattern(n), local: endpoint(0x0a4d_0001, 7000) };
                    index.insert(hasher.hash(&flow), n);
                }
                // Of random numbers, one in 300 (docs/decisions/0014-index.md).
                let passed: u32 = index.buckets.iter().map(|bucket| bucket.passed).sum();
                assert!(passed < CAPACITY / 200, "{passed} of pattern {at}, secret {secret}");
            }
        }
    }

    #[test]
    fn candidates_are_nearly_always_right() {
        let mut index = Index::new(10_000).unwrap();
        (0..10_000).for_each(|n| index.insert(hash(n), n));
        let right = (0..10_000).filter(|&n| index.candidate(hash(n)) == Some(n)).count();
        assert!(right > 9_950, "{right} of 10,000");
    }

    #[test]
    fn a_search_ends_when_every_place_is_taken() {
        // Three buckets, and the same hash for all: the next bucket of the last one is the first.
        let mut index = Index::new(16).unwrap();
        (0..16).for_each(|n| index.insert(u64::MAX, n));
        let found = index.find(u64::MAX, |slot| slot == 15);
        assert_eq!((found, index.find(u64::MAX, |_| false)), (Some(15), None));
    }

    proptest! {
        /// Against a map, with hashes that all but collide.
        #[test]
        fn it_finds_what_was_added_and_not_removed(
            steps in proptest::collection::vec((0..64u32, 0..4u64, any::<bool>()), 1..400),
        ) {
            let mut index = Index::new(64).unwrap();
            let mut model = HashMap::new();
            for (slot, spread, add) in steps {
                if add && !model.contains_key(&slot) {
                    let hash = (spread << 62) | (u64::from(slot) & 1);
                    index.insert(hash, slot);
                    model.insert(slot, hash);
                } else if !add && let Some(hash) = model.remove(&slot) {
                    index.remove(hash, slot);
                }
                prop_assert_eq!(index.len(), model.len());
                for other in 0..64 {
                    let hash = model.get(&other);
                    let found = index.find(hash.copied().unwrap_or(0), |slot| slot == other);
                    prop_assert_eq!(found, hash.map(|_| other));
                }
            }
        }
    }
}
