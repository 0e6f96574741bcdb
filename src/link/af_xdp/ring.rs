//! The rings that an AF_XDP socket shares with the kernel.
//!
//! Four of one kind: we write the fill and tx rings and the kernel reads them, it writes the rx and
//! completion rings and we read them. Nothing here knows a socket: a ring is a piece of memory with
//! two indices, some flags and an array of entries in it, so that the tests can play the kernel.
//!
//! A batch on a ring is a guard. `commit` publishes it; dropped, it never happened.
//!
//! The orderings are those of the kernel's net/xdp/xsk_queue.h: a release store of the own index
//! after the entries were written or read, an acquire load of the other's before.
#![allow(unsafe_code, reason = "entries are shared with the kernel")]

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;

use rustix::net::xdp::XdpRingOffset;

use super::cursor::{Consumer, Producer, ring_size};
use super::mapping::Mapping;

/// An entry of the rx and tx rings: `struct xdp_desc` of linux/if_xdp.h.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Descriptor {
    /// Offset of the packet's first byte from the start of the UMEM.
    pub(super) addr: u64,
    /// Length of the packet, in bytes.
    pub(super) len: u32,
    /// 0: neither metadata nor a continued packet.
    pub(super) options: u32,
}

const _: () = assert!(size_of::<Descriptor>() == size_of::<libc::xdp_desc>());

/// `XDP_RING_NEED_WAKEUP` of linux/if_xdp.h: the kernel sleeps until it is called.
const NEED_WAKEUP: u32 = libc::XDP_RING_NEED_WAKEUP;

/// What a ring can hold.
///
/// # Safety
///
/// Every pattern of bits is a valid value: the kernel is the one who writes it.
pub(super) unsafe trait Entry: Copy {}

// SAFETY: an integer.
unsafe impl Entry for u64 {}
// SAFETY: integers only, and no padding.
unsafe impl Entry for Descriptor {}

/// Where a ring's parts are in the memory that it is in.
#[derive(Debug)]
struct Layout<T> {
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: Option<NonNull<AtomicU32>>,
    entries: NonNull<T>,
    size: u32,
    /// Keeps the memory mapped for as long as the pointers exist.
    _memory: Arc<Mapping>,
}

/// The memory is too small for the ring, or the ring's size is not a power of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadLayout;

// SAFETY: the pointers lead into memory that `_memory` keeps alive, wherever the ring is moved; the
// entries themselves are plain data.
unsafe impl<T: Entry> Send for Layout<T> {}

impl<T: Entry> Layout<T> {
    /// Finds the parts of a ring of `size` entries; each is checked to be in `memory` and aligned.
    fn new(memory: Arc<Mapping>, at: &XdpRingOffset, size: u32) -> Result<Layout<T>, BadLayout> {
        let size = ring_size(size).ok_or(BadLayout)?;
        let entries_len = (size as usize).checked_mul(size_of::<T>()).ok_or(BadLayout)?;
        let flags = match at.flags {
            Some(offset) => Some(part(&memory, offset, size_of::<AtomicU32>())?),
            None => None,
        };
        Ok(Layout {
            producer: part(&memory, at.producer, size_of::<AtomicU32>())?,
            consumer: part(&memory, at.consumer, size_of::<AtomicU32>())?,
            flags,
            entries: part(&memory, at.desc, entries_len)?,
            size,
            _memory: memory,
        })
    }

    fn producer(&self) -> &AtomicU32 {
        // SAFETY: `new` checked place and alignment, `_memory` keeps it mapped, and both sides use
        // it only atomically.
        unsafe { self.producer.as_ref() }
    }

    fn consumer(&self) -> &AtomicU32 {
        // SAFETY: as for `producer`.
        unsafe { self.consumer.as_ref() }
    }

    /// Whether the kernel waits for a call. A kernel without the flag (before 5.4) always does.
    fn needs_wakeup(&self) -> bool {
        self.flags.is_none_or(|flags| {
            // SAFETY: as for `producer`.
            unsafe { flags.as_ref() }.load(Ordering::Relaxed) & NEED_WAKEUP != 0
        })
    }

    /// The entry in `slot`, which is below the ring's size.
    fn entry(&self, slot: usize) -> NonNull<T> {
        debug_assert!(slot < self.size as usize);
        // SAFETY: cursors give slots below the size, and `new` checked that so many entries fit.
        unsafe { self.entries.add(slot) }
    }
}

/// The `len` bytes at `offset`, if they are in `memory` and aligned for `T`.
fn part<T>(memory: &Mapping, offset: u64, len: usize) -> Result<NonNull<T>, BadLayout> {
    let offset = usize::try_from(offset).map_err(|_| BadLayout)?;
    let end = offset.checked_add(len).ok_or(BadLayout)?;
    if end > memory.len() || !offset.is_multiple_of(align_of::<T>()) {
        return Err(BadLayout);
    }
    // SAFETY: `offset` is within the mapping.
    Ok(unsafe { memory.start().add(offset) }.cast())
}

/// A ring that we write: fill or tx.
#[derive(Debug)]
pub(super) struct ProducerRing<T: Entry> {
    layout: Layout<T>,
    cursor: Producer,
    corrupt: u64,
}

impl<T: Entry> ProducerRing<T> {
    /// The writing end of the ring in `memory`.
    ///
    /// # Errors
    ///
    /// [`BadLayout`] if the ring does not fit.
    ///
    /// # Safety
    ///
    /// This is the ring's only writing end, and its reading end takes the orderings of this module.
    pub(super) unsafe fn new(
        memory: Arc<Mapping>,
        at: &XdpRingOffset,
        size: u32,
    ) -> Result<ProducerRing<T>, BadLayout> {
        let layout = Layout::new(memory, at, size)?;
        let start = layout.producer().load(Ordering::Relaxed);
        let cursor = Producer::new(layout.size, start);
        Ok(ProducerRing { layout, cursor, corrupt: 0 })
    }

    /// A batch of up to `max` entries, all of which there is room for.
    pub(super) fn batch(&mut self, max: usize) -> WriteBatch<'_, T> {
        let max = u32::try_from(max).unwrap_or(u32::MAX);
        if self.cursor.free() < max {
            self.observe();
        }
        WriteBatch { capacity: self.cursor.free().min(max), written: 0, ring: self }
    }

    /// Entries that were published and that the kernel has not taken.
    pub(super) fn unread(&mut self) -> usize {
        self.observe();
        self.cursor.used() as usize
    }

    /// Whether the kernel must be called to notice what was published.
    pub(super) fn needs_wakeup(&self) -> bool {
        self.layout.needs_wakeup()
    }

    /// How often the kernel's index was one that cannot be.
    pub(super) const fn corrupt(&self) -> u64 {
        self.corrupt
    }

    fn observe(&mut self) {
        let consumer = self.layout.consumer().load(Ordering::Acquire);
        if self.cursor.observe(consumer).is_err() {
            self.corrupt += 1;
        }
    }
}

/// Entries being written; the kernel sees none of them before [`WriteBatch::commit`].
#[must_use = "entries are published by `commit`; dropped, the batch is rolled back"]
pub(super) struct WriteBatch<'ring, T: Entry> {
    ring: &'ring mut ProducerRing<T>,
    capacity: u32,
    written: u32,
}

impl<T: Entry> WriteBatch<'_, T> {
    /// How many more entries the batch takes.
    pub(super) const fn room(&self) -> usize {
        (self.capacity - self.written) as usize
    }

    /// Writes the next entry; false if the batch is full.
    pub(super) fn push(&mut self, entry: T) -> bool {
        if self.written == self.capacity {
            return false;
        }
        let slot = self.ring.cursor.slot(self.written);
        // SAFETY: the slot is free: the consumer has released it (an acquire load said so) and does
        // not look at it again before the release store in `commit`.
        unsafe { self.ring.layout.entry(slot).write(entry) };
        self.written += 1;
        true
    }

    /// Publishes what was written, and returns how many entries that are.
    pub(super) fn commit(self) -> usize {
        if self.written > 0 {
            let index = self.ring.cursor.advance(self.written);
            self.ring.layout.producer().store(index, Ordering::Release);
        }
        self.written as usize
    }
}

/// A ring that we read: rx or completion.
#[derive(Debug)]
pub(super) struct ConsumerRing<T: Entry> {
    layout: Layout<T>,
    cursor: Consumer,
    corrupt: u64,
}

impl<T: Entry> ConsumerRing<T> {
    /// The reading end of the ring in `memory`.
    ///
    /// # Errors
    ///
    /// [`BadLayout`] if the ring does not fit.
    ///
    /// # Safety
    ///
    /// This is the ring's only reading end, and its writing end takes the orderings of this module.
    pub(super) unsafe fn new(
        memory: Arc<Mapping>,
        at: &XdpRingOffset,
        size: u32,
    ) -> Result<ConsumerRing<T>, BadLayout> {
        let layout = Layout::new(memory, at, size)?;
        let start = layout.consumer().load(Ordering::Relaxed);
        let cursor = Consumer::new(layout.size, start);
        Ok(ConsumerRing { layout, cursor, corrupt: 0 })
    }

    /// A batch of up to `max` entries.
    pub(super) fn batch(&mut self, max: usize) -> ReadBatch<'_, T> {
        let max = u32::try_from(max).unwrap_or(u32::MAX);
        if self.cursor.filled() < max {
            self.observe();
        }
        ReadBatch { capacity: self.cursor.filled().min(max), read: 0, ring: self }
    }

    /// Whether there is nothing to read.
    pub(super) fn is_empty(&mut self) -> bool {
        self.observe();
        self.cursor.filled() == 0
    }

    /// How often the kernel's index was one that cannot be.
    pub(super) const fn corrupt(&self) -> u64 {
        self.corrupt
    }

    fn observe(&mut self) {
        let producer = self.layout.producer().load(Ordering::Acquire);
        if self.cursor.observe(producer).is_err() {
            self.corrupt += 1;
        }
    }
}

/// Entries being read; the kernel gets none of their slots back before [`ReadBatch::commit`].
#[must_use = "entries are released by `commit`; dropped, the batch is rolled back"]
pub(super) struct ReadBatch<'ring, T: Entry> {
    ring: &'ring mut ConsumerRing<T>,
    capacity: u32,
    read: u32,
}

impl<T: Entry> ReadBatch<'_, T> {
    /// Releases what was read, and returns how many entries that are.
    pub(super) fn commit(self) -> usize {
        if self.read > 0 {
            let index = self.ring.cursor.advance(self.read);
            self.ring.layout.consumer().store(index, Ordering::Release);
        }
        self.read as usize
    }
}

impl<T: Entry> Iterator for ReadBatch<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        if self.read == self.capacity {
            return None;
        }
        let slot = self.ring.cursor.slot(self.read);
        self.read += 1;
        // SAFETY: the producer has published the slot (an acquire load said so) and does not write
        // it again before the release store in `commit`; any bits are a valid entry.
        Some(unsafe { self.ring.layout.entry(slot).read() })
    }
}

#[cfg(test)]
#[path = "ring_tests.rs"]
mod tests;
