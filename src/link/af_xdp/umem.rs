//! The UMEM: the memory of a socket's frames, and who owns each of them.
//!
//! One owner is noted for each frame, in a byte. That makes three things certain: an address that
//! the kernel gives back becomes a handle only if the frame was the kernel's to give; a frame's bytes
//! are touched only while the engine owns it; and the census is exact. Every address is
//! checked, in release builds too.
#![allow(unsafe_code, reason = "frames are pieces of a mapping")]

use std::io;

use super::mapping::Mapping;
use crate::frame::Frame;
use crate::link::Census;

/// `XDP_PACKET_HEADROOM` of linux/bpf.h, in bytes. A received packet starts that far into its frame:
/// the kernel keeps the room before it for XDP programs that add headers. Frames that the engine
/// takes start there too, so that every frame has the same room.
pub(super) const HEADROOM: u16 = 256;

/// Whose a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Pool,
    /// The fill ring, the kernel's receive side, or the rx ring.
    Rx,
    /// The tx ring, the kernel's transmit side, or the completion ring.
    Tx,
    Engine,
}

/// Frames of one size in one mapping, the free list, and every frame's owner.
#[derive(Debug)]
pub(super) struct Umem {
    memory: Mapping,
    frame_size: u16,
    owners: Box<[Owner]>,
    /// Indices of the pool's frames. Last in, first out: the frame used last is warm in the cache.
    free: Vec<u32>,
    rx: usize,
    tx: usize,
    engine: usize,
    invalid: u64,
}

impl Umem {
    /// `frame_count` frames of `frame_size` bytes, which is 2048 or 4096.
    pub(super) fn new(frame_count: u32, frame_size: u16) -> io::Result<Umem> {
        debug_assert!(frame_size == 2048 || frame_size == 4096);
        let memory = Mapping::anonymous(frame_count as usize * usize::from(frame_size))?;
        Ok(Umem {
            memory,
            frame_size,
            owners: vec![Owner::Pool; frame_count as usize].into_boxed_slice(),
            free: (0..frame_count).rev().collect(),
            rx: 0,
            tx: 0,
            engine: 0,
            invalid: 0,
        })
    }

    /// Takes a frame from the pool for the engine.
    pub(super) fn take(&mut self) -> Option<Frame> {
        let index = self.free.pop()?;
        self.owners[index as usize] = Owner::Engine;
        self.engine += 1;
        Some(Frame::new(index, HEADROOM, 0))
    }

    /// Puts a frame of the engine's back into the pool. One that is not the engine's is counted as
    /// invalid and changes nothing.
    #[expect(clippy::needless_pass_by_value, reason = "a frame that is given is gone")]
    pub(super) fn give(&mut self, frame: Frame) {
        if self.is_engines(&frame) {
            self.owners[frame.index() as usize] = Owner::Pool;
            self.free.push(frame.index());
            self.engine -= 1;
        } else {
            self.invalid += 1;
        }
    }

    /// Takes a frame from the pool for the fill ring: the address to post.
    pub(super) fn post_fill(&mut self) -> Option<u64> {
        let index = self.free.pop()?;
        self.owners[index as usize] = Owner::Rx;
        self.rx += 1;
        Some(u64::from(index) * u64::from(self.frame_size))
    }

    /// Takes over a packet of `len` bytes at `addr` from the rx ring, for the engine; `None`, and
    /// counted, if the kernel had no such frame to give or the packet does not fit in it.
    pub(super) fn received(&mut self, addr: u64, len: u32) -> Option<Frame> {
        let (index, offset) = self.locate(addr)?;
        let len = u16::try_from(len).ok().filter(|&len| len <= self.frame_size - offset);
        let (Some(len), Owner::Rx) = (len, self.owners[index as usize]) else {
            self.invalid += 1;
            return None;
        };
        self.owners[index as usize] = Owner::Engine;
        self.rx -= 1;
        self.engine += 1;
        Some(Frame::new(index, offset, len))
    }

    /// Hands a frame of the engine's to the tx ring: the address and length to post. One that the
    /// kernel would refuse (empty, too long, not the engine's) goes back to the pool, and is
    /// counted: an invalid descriptor would never come back from the tx ring (xskq_cons_read_desc).
    pub(super) fn post_tx(&mut self, frame: Frame) -> Option<(u64, u32)> {
        let end = usize::from(frame.offset()) + frame.len();
        let fits = !frame.is_empty() && end <= usize::from(self.frame_size);
        if !fits || !self.is_engines(&frame) {
            self.invalid += u64::from(!fits && self.is_engines(&frame));
            self.give(frame);
            return None;
        }
        self.owners[frame.index() as usize] = Owner::Tx;
        self.engine -= 1;
        self.tx += 1;
        let start = u64::from(frame.index()) * u64::from(self.frame_size);
        let len = u32::try_from(frame.len()).expect("at most the frame's size");
        Some((start + u64::from(frame.offset()), len))
    }

    /// Puts the frame of a completed transmission back into the pool. An address that was not being
    /// sent is counted as invalid and changes nothing.
    pub(super) fn completed(&mut self, addr: u64) {
        let Some((index, _)) = self.locate(addr) else {
            return;
        };
        if self.owners[index as usize] == Owner::Tx {
            self.owners[index as usize] = Owner::Pool;
            self.free.push(index);
            self.tx -= 1;
        } else {
            self.invalid += 1;
        }
    }

    /// All of an engine's frame from its first byte on; empty if the frame is not the engine's.
    pub(super) fn room(&mut self, frame: &Frame) -> &mut [u8] {
        let room = self.frame_size.saturating_sub(frame.offset());
        if !self.is_engines(frame) || room == 0 {
            return &mut [];
        }
        // SAFETY: the piece is within the mapping (the index is below the count, the offset below
        // the size), and `&mut self` is the only way to it: the engine owns the frame, so neither
        // the kernel nor a second handle does.
        unsafe {
            let start = self.memory.start().add(self.position(frame));
            core::slice::from_raw_parts_mut(start.as_ptr(), usize::from(room))
        }
    }

    /// The bytes of an engine's frame; empty if the frame is not the engine's or not within its
    /// piece.
    pub(super) fn bytes(&self, frame: &Frame) -> &[u8] {
        let room = usize::from(self.frame_size.saturating_sub(frame.offset()));
        if !self.is_engines(frame) || frame.len() > room {
            return &[];
        }
        // SAFETY: as for `room`; `&self` excludes the writers.
        unsafe {
            let start = self.memory.start().add(self.position(frame));
            core::slice::from_raw_parts(start.as_ptr(), frame.len())
        }
    }

    /// Frames in the pool.
    pub(super) const fn pool(&self) -> usize {
        self.free.len()
    }

    /// Every frame's owner, counted.
    pub(super) const fn census(&self) -> Census {
        Census { pool: self.free.len(), rx: self.rx, tx: self.tx, engine: self.engine }
    }

    /// Addresses and handles that were refused.
    pub(super) const fn invalid(&self) -> u64 {
        self.invalid
    }

    /// The mapping, to register it with the kernel.
    pub(super) const fn memory(&self) -> &Mapping {
        &self.memory
    }

    /// The frame that `addr` is in, and where in it; counted as invalid if it is in none.
    fn locate(&mut self, addr: u64) -> Option<(u32, u16)> {
        let size = u64::from(self.frame_size);
        let index = u32::try_from(addr / size).ok();
        match index.filter(|&index| (index as usize) < self.owners.len()) {
            Some(index) => {
                let offset = u16::try_from(addr % size).expect("less than the frame's size");
                Some((index, offset))
            }
            None => {
                self.invalid += 1;
                None
            }
        }
    }

    fn is_engines(&self, frame: &Frame) -> bool {
        self.owners.get(frame.index() as usize) == Some(&Owner::Engine)
    }

    fn position(&self, frame: &Frame) -> usize {
        frame.index() as usize * usize::from(self.frame_size) + usize::from(frame.offset())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn umem(frame_count: u32) -> Umem {
        Umem::new(frame_count, 2048).expect("a few pages")
    }

    #[test]
    fn a_frame_goes_round_and_is_counted_where_it_is() {
        let mut umem = umem(2);
        let addr = umem.post_fill().expect("one of two");
        assert_eq!(umem.census(), Census { pool: 1, rx: 1, tx: 0, engine: 0 });
        let frame = umem.received(addr + 256, 60).expect("it was the kernel's");
        assert_eq!(umem.census(), Census { pool: 1, rx: 0, tx: 0, engine: 1 });
        assert_eq!((umem.bytes(&frame).len(), umem.room(&frame).len()), (60, 1792));
        assert_eq!(umem.post_tx(frame), Some((addr + 256, 60)));
        assert_eq!(umem.census(), Census { pool: 1, rx: 0, tx: 1, engine: 0 });
        umem.completed(addr + 256);
        assert_eq!(umem.census(), Census { pool: 2, rx: 0, tx: 0, engine: 0 });
        assert_eq!(umem.invalid(), 0);
    }

    #[test]
    fn what_is_written_to_a_frame_is_read_from_it_and_from_no_other() {
        let mut umem = umem(2);
        let (mut one, mut two) = (umem.take().expect("first"), umem.take().expect("second"));
        assert!(umem.take().is_none());
        umem.room(&one).fill(1);
        umem.room(&two).fill(2);
        one.set_len(1792);
        two.set_len(1792);
        assert!(umem.bytes(&one).iter().all(|&byte| byte == 1));
        assert!(umem.bytes(&two).iter().all(|&byte| byte == 2));
        two.set_len(1793);
        assert!(umem.bytes(&two).is_empty(), "past the end of its piece");
        umem.give(one);
        umem.give(two);
        assert_eq!(umem.census().pool, 2);
    }

    #[test]
    fn addresses_that_the_kernel_made_up_are_counted_and_never_followed() {
        let mut umem = umem(2);
        let addr = umem.post_fill().expect("one of two");
        assert!(umem.received(2 * 2048, 60).is_none(), "past the last frame");
        assert!(umem.received(u64::MAX, 60).is_none());
        assert!(umem.received((addr + 2048) % 4096, 60).is_none(), "a frame of the pool's");
        assert!(umem.received(addr + 256, 1793).is_none(), "runs into the next frame");
        assert!(umem.received(addr + 256, u32::MAX).is_none());
        umem.completed(addr);
        umem.completed(9 * 2048);
        assert_eq!(umem.invalid(), 7);
        let frame = umem.received(addr + 256, 60).expect("still the kernel's");
        assert!(umem.received(addr + 256, 60).is_none(), "given once already");
        umem.give(frame);
        assert_eq!(umem.census(), Census { pool: 2, ..Census::default() });
    }

    #[test]
    fn a_handle_that_is_not_the_engines_gives_nothing() {
        let mut umem = umem(1);
        let foreign = Frame::new(0, 256, 60);
        assert!(umem.bytes(&foreign).is_empty() && umem.room(&foreign).is_empty());
        assert_eq!(umem.post_tx(foreign), None);
        umem.give(Frame::new(1, 0, 0));
        umem.give(Frame::new(0, 0, 0));
        assert_eq!(umem.invalid(), 3);
        assert_eq!(umem.census(), Census { pool: 1, ..Census::default() });
    }

    #[test]
    fn a_frame_that_the_kernel_would_refuse_goes_back_to_the_pool() {
        let mut umem = umem(1);
        let empty = umem.take().expect("the only one");
        assert_eq!(umem.post_tx(empty), None);
        let mut long = umem.take().expect("it came back");
        long.set_len(1793);
        assert_eq!(umem.post_tx(long), None);
        assert_eq!((umem.pool(), umem.invalid()), (1, 2));
    }

    proptest! {
        /// Any sequence of calls and made-up addresses keeps the sum.
        #[test]
        fn frames_are_conserved(
            steps in proptest::collection::vec((0_u8..6, 0_u64..12 * 1024, 0_u32..3000), 1..300),
        ) {
            let mut umem = umem(4);
            let mut held = Vec::new();
            for (kind, addr, len) in steps {
                match kind {
                    0 => held.extend(umem.take()),
                    1 => held.extend(umem.received(addr, len)),
                    2 => umem.completed(addr),
                    3 => drop(umem.post_fill()),
                    4 => if let Some(frame) = held.pop() { umem.give(frame) },
                    _ => if let Some(mut frame) = held.pop() {
                        frame.set_len(len as usize);
                        let _posted = umem.post_tx(frame);
                    },
                }
                prop_assert_eq!(umem.census().total(), 4);
                prop_assert_eq!(umem.census().engine, held.len());
            }
        }
    }
}
