//! Payloads that several connections send: bytes kept once, with a count of who refers to them.
//!
//! All of the memory is there from the start. It is given in blocks of a power of two of granules, which
//! are split to be used and joined again when both halves are free (the buddy system: Knowlton, "A Fast
//! Storage Allocator", CACM 8(10), 1965).

use super::record::NONE;
use crate::memory::array::Array;
use bytemuck::Zeroable;
use rustix::io::Errno;

/// The smallest block, in bytes: what a payload takes at least.
pub const GRANULE: usize = 256;

/// How many sizes of blocks there are.
const ORDERS: usize = 9;

/// The largest block, in granules.
const LARGEST: u32 = 1 << (ORDERS - 1);

/// The longest payload, in bytes.
pub const PAYLOAD_LEN_MAX: usize = GRANULE * LARGEST as usize;

/// The same, as a number of the settings.
const LARGEST_LEN: u32 = 65_536;
const _: () = assert!(PAYLOAD_LEN_MAX == LARGEST_LEN as usize);

/// Names a payload for as long as it is referred to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Payload(u32);

/// What is known of a block, at its first granule.
#[derive(Clone, Copy, Zeroable)]
#[repr(C)]
struct Block {
    /// Who refers to it; 0 when it is free, and inside a block.
    refs: u32,
    /// The length of the payload, in bytes.
    len: u32,
    /// Its neighbours in the list of free blocks of its size, or [`NONE`].
    next: u32,
    prev: u32,
    /// Its size: so many times a granule was doubled.
    order: u8,
    /// Whether it is in a list: 1 if so.
    free: u8,
    padding: [u8; 2],
}

/// A fixed amount of memory for payloads.
pub struct Payloads {
    bytes: Vec<u8>,
    blocks: Array<Block>,
    /// The first free block of each size, or [`NONE`].
    free: [u32; ORDERS],
    len: usize,
    granules_free: u32,
}

impl Payloads {
    /// Room for `bytes` bytes, rounded up to the longest payload; they are touched as they are used.
    ///
    /// # Errors
    ///
    /// When there is not so much address space.
    pub fn new(bytes: u32) -> Result<Payloads, Errno> {
        let largest = bytes.div_ceil(LARGEST_LEN);
        let granules = largest * LARGEST;
        let mut payloads = Payloads {
            bytes: vec![0; granules as usize * GRANULE],
            blocks: Array::zeroed(granules as usize)?,
            free: [NONE; ORDERS],
            len: 0,
            granules_free: granules,
        };
        // The last one listed is the first one used.
        (0..largest).rev().for_each(|n| payloads.list(n * LARGEST, ORDERS - 1));
        Ok(payloads)
    }

    /// The address space of [`Payloads::new`] with this argument, in bytes.
    pub fn memory_max(bytes: u32) -> u64 {
        let granules = bytes.div_ceil(LARGEST_LEN) * LARGEST;
        u64::from(granules) * (GRANULE + size_of::<Block>()) as u64
    }

    /// Keeps `bytes`, referred to once; `None` when they are too long, or there is no room for them.
    pub fn insert(&mut self, bytes: &[u8]) -> Option<Payload> {
        let granules = bytes.len().div_ceil(GRANULE).max(1);
        let order = granules.next_power_of_two().trailing_zeros() as usize;
        let mut size = (order..ORDERS).find(|&size| self.free[size] != NONE)?;
        let at = self.free[size];
        self.unlist(at);
        while size > order {
            size -= 1;
            self.list(at + (1 << size), size);
        }
        let block = &mut self.blocks[at as usize];
        (block.refs, block.order) = (1, u8::try_from(order).ok()?);
        block.len = u32::try_from(bytes.len()).ok()?;
        let start = at as usize * GRANULE;
        self.bytes[start..start + bytes.len()].copy_from_slice(bytes);
        self.len += 1;
        self.granules_free -= 1 << order;
        Some(Payload(at))
    }

    /// Refers to `payload` once more.
    pub fn retain(&mut self, payload: Payload) {
        debug_assert!(self.refs(payload) > 0, "{payload:?} is kept");
        self.blocks[payload.0 as usize].refs += 1;
    }

    /// Refers to `payload` once less: it is forgotten when nobody does any more.
    pub fn release(&mut self, payload: Payload) {
        let block = &mut self.blocks[payload.0 as usize];
        debug_assert!(block.refs > 0, "{payload:?} is kept");
        block.refs -= 1;
        if block.refs > 0 {
            return;
        }
        self.len -= 1;
        let (mut at, mut order) = (payload.0, usize::from(block.order));
        self.granules_free += 1 << order;
        while order + 1 < ORDERS {
            let other = at ^ (1 << order);
            let block = &self.blocks[other as usize];
            if block.free == 0 || usize::from(block.order) != order {
                break;
            }
            self.unlist(other);
            at = at.min(other);
            order += 1;
        }
        self.list(at, order);
    }

    /// The bytes of `payload`.
    pub fn bytes(&self, payload: Payload) -> &[u8] {
        let start = payload.0 as usize * GRANULE;
        &self.bytes[start..start + self.blocks[payload.0 as usize].len as usize]
    }

    /// How often `payload` is referred to.
    pub fn refs(&self, payload: Payload) -> u32 {
        self.blocks[payload.0 as usize].refs
    }

    /// How many payloads there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no payload.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many bytes are in use, in whole blocks.
    pub fn bytes_used(&self) -> usize {
        self.bytes.len() - self.granules_free as usize * GRANULE
    }

    /// Puts the block at `at` into the list of its size.
    fn list(&mut self, at: u32, order: usize) {
        let next = core::mem::replace(&mut self.free[order], at);
        if next != NONE {
            self.blocks[next as usize].prev = at;
        }
        let block = &mut self.blocks[at as usize];
        (block.next, block.prev) = (next, NONE);
        (block.refs, block.free) = (0, 1);
        block.order = u8::try_from(order).unwrap_or(0);
    }

    /// Takes the block at `at` out of the list of its size.
    fn unlist(&mut self, at: u32) {
        let block = &mut self.blocks[at as usize];
        block.free = 0;
        let (next, prev, order) = (block.next, block.prev, usize::from(block.order));
        match prev {
            NONE => self.free[order] = next,
            _ => self.blocks[prev as usize].next = next,
        }
        if next != NONE {
            self.blocks[next as usize].prev = prev;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bytes_are_kept_until_the_last_one_lets_go() {
        let mut payloads = Payloads::new(1).unwrap();
        let a = payloads.insert(b"hello").unwrap();
        let b = payloads.insert(&[7; 300]).unwrap();
        payloads.retain(a);
        payloads.release(a);
        assert_eq!((payloads.bytes(a), payloads.bytes(b)), (&b"hello"[..], &[7; 300][..]));
        assert_eq!((payloads.len(), payloads.bytes_used()), (2, 3 * GRANULE));
        payloads.release(a);
        payloads.release(b);
        assert!(payloads.is_empty() && payloads.bytes_used() == 0);
        let whole = payloads.insert(&[1; PAYLOAD_LEN_MAX]).expect("all was joined again");
        assert_eq!(payloads.insert(b""), None, "there is no more room");
        payloads.release(whole);
        assert_eq!(payloads.insert(&[1; PAYLOAD_LEN_MAX + 1]), None, "none is that long");
    }

    proptest! {
        #[test]
        fn no_two_payloads_overlap_and_all_room_comes_back(
            steps in proptest::collection::vec((0..3_000usize, 0..6u8, any::<u8>()), 1..300),
        ) {
            let mut payloads = Payloads::new(2 * LARGEST_LEN).unwrap();
            let mut model: Vec<(Payload, Vec<u8>)> = Vec::new();
            for (len, kind, byte) in steps {
                if kind < 4 {
                    let bytes = vec![byte; len];
                    match payloads.insert(&bytes) {
                        Some(payload) => model.push((payload, bytes)),
                        None => prop_assert!(payloads.bytes_used() > PAYLOAD_LEN_MAX),
                    }
                } else if !model.is_empty() {
                    let (payload, _) = model.swap_remove(len % model.len());
                    payloads.release(payload);
                }
                prop_assert_eq!(payloads.len(), model.len());
                for (payload, bytes) in &model {
                    prop_assert_eq!(payloads.bytes(*payload), bytes);
                }
            }
            model.into_iter().for_each(|(payload, _)| payloads.release(payload));
            prop_assert_eq!(payloads.bytes_used(), 0);
            for _ in 0..2 {
                prop_assert!(payloads.insert(&[0; PAYLOAD_LEN_MAX]).is_some());
            }
        }
    }
}
