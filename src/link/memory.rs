//! Two links joined in memory: a wire without a kernel.
//!
//! For tests, benchmarks and machines without privilege. The two ends may be on two threads. Frames
//! move by exchanging buffers, never by copying: the sender gives a frame's buffer to the wire and
//! gets an empty one for it, the receiver does the reverse, and empty buffers travel back through a
//! second queue. Nothing is allocated after [`pair`].
//!
//! It behaves like an interface where that matters: what was transmitted leaves with the next flush,
//! and is lost, and counted by the receiver, when the receiver's ring is full.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::queue::ArrayQueue;
use crossbeam::sync::{Parker, Unparker};

use super::{Census, Link, LinkError, LinkStats, Waker};
use crate::frame::{Frame, FramePool};
use crate::time::Duration;

/// A buffer on its way, and where in it the frame's bytes are.
#[derive(Debug)]
struct Parcel {
    buffer: Box<[u8]>,
    offset: u16,
    len: u16,
}

/// One direction of the wire, and the receiver's ring at its end.
#[derive(Debug)]
struct Wire {
    /// Frames that were sent and not yet received.
    parcels: ArrayQueue<Parcel>,
    /// Empty buffers, one for each free place in `parcels`.
    empties: ArrayQueue<Box<[u8]>>,
    /// Frames lost because `parcels` was full.
    lost: AtomicU64,
}

impl Wire {
    fn new(places: usize, frame_size: usize) -> Wire {
        let empties = ArrayQueue::new(places);
        while empties.push(vec![0; frame_size].into_boxed_slice()).is_ok() {}
        Wire { parcels: ArrayQueue::new(places), empties, lost: AtomicU64::new(0) }
    }
}

/// The memory of a frame.
#[derive(Debug)]
struct Piece {
    buffer: Box<[u8]>,
    /// Whether the frame is in the engine's hands.
    is_engines: bool,
}

/// One end of two links joined in memory; see [`pair`].
#[derive(Debug)]
pub struct MemoryLink {
    /// By the index of their frames.
    pieces: Box<[Piece]>,
    free: Vec<u32>,
    engine: usize,
    /// Transmitted, and leaving with the next flush; bounded by `tx_ring`.
    tx: VecDeque<Frame>,
    tx_ring: usize,
    /// Frames that receiving leaves in the pool, for the engine to send with.
    reserve: usize,
    invalid: u64,
    outgoing: Arc<Wire>,
    incoming: Arc<Wire>,
    parker: Parker,
    peer: Unparker,
}

/// Two links, each the other's peer, with `frame_count` frames of `frame_size` bytes at either end
/// and rings of `ring` places.
///
/// # Panics
///
/// If a size is 0, or `frame_size` or `frame_count` is more than a [`Frame`] can express.
pub fn pair(frame_count: usize, frame_size: usize, ring: usize) -> (MemoryLink, MemoryLink) {
    assert!(frame_count > 0 && frame_size > 0 && ring > 0, "a link without frames or places");
    assert!(u16::try_from(frame_size).is_ok(), "a frame's length is a u16");
    assert!(u32::try_from(frame_count).is_ok(), "a frame's index is a u32");
    let there = Arc::new(Wire::new(ring, frame_size));
    let back = Arc::new(Wire::new(ring, frame_size));
    let (left, right) = (Parker::new(), Parker::new());
    let (to_left, to_right) = (left.unparker().clone(), right.unparker().clone());
    let end = |outgoing: &Arc<Wire>, incoming: &Arc<Wire>, parker, peer| MemoryLink {
        pieces: (0..frame_count).map(|_| Piece::new(frame_size)).collect(),
        free: (0..u32::try_from(frame_count).expect("asserted above")).rev().collect(),
        engine: 0,
        tx: VecDeque::with_capacity(ring),
        tx_ring: ring,
        reserve: frame_count / 4,
        invalid: 0,
        outgoing: Arc::clone(outgoing),
        incoming: Arc::clone(incoming),
        parker,
        peer,
    };
    (end(&there, &back, left, to_right), end(&back, &there, right, to_left))
}

impl Piece {
    fn new(frame_size: usize) -> Piece {
        Piece { buffer: vec![0; frame_size].into_boxed_slice(), is_engines: false }
    }
}

impl MemoryLink {
    /// Where a taken frame starts, in bytes: an eighth of its size is headroom, as the 256 of 2048
    /// bytes that AF_XDP keeps.
    fn headroom(&self) -> u16 {
        let frame_size = self.pieces.first().map_or(0, |piece| piece.buffer.len());
        u16::try_from(frame_size / 8).expect("an eighth of what `pair` asserted")
    }

    fn hand_out(&mut self, index: u32, offset: u16, len: u16) -> Frame {
        self.pieces[index as usize].is_engines = true;
        self.engine += 1;
        Frame::new(index, offset, len)
    }

    /// Takes a frame out of the engine's hands; false, and counted, if it was not in them.
    fn take_back(&mut self, frame: &Frame) -> bool {
        let ours = self.is_engines(frame);
        if ours {
            self.pieces[frame.index() as usize].is_engines = false;
            self.engine -= 1;
        } else {
            self.invalid += 1;
        }
        ours
    }

    fn is_engines(&self, frame: &Frame) -> bool {
        self.pieces.get(frame.index() as usize).is_some_and(|piece| piece.is_engines)
    }

    /// Puts a frame's buffer onto the wire and an empty one in its place, if the receiver's ring
    /// has room.
    fn send(&mut self, frame: &Frame) -> bool {
        let Some(empty) = self.outgoing.empties.pop() else {
            self.outgoing.lost.fetch_add(1, Ordering::Relaxed);
            return false;
        };
        let buffer = core::mem::replace(&mut self.pieces[frame.index() as usize].buffer, empty);
        let len = u16::try_from(frame.len()).expect("a frame's length is a u16");
        let parcel = Parcel { buffer, offset: frame.offset(), len };
        // There are as many buffers for the wire as it has places, and this one's was empty.
        self.outgoing.parcels.push(parcel).expect("an empty buffer means a free place");
        true
    }
}

impl FramePool for MemoryLink {
    fn take(&mut self) -> Option<Frame> {
        let index = self.free.pop()?;
        let headroom = self.headroom();
        Some(self.hand_out(index, headroom, 0))
    }

    fn give(&mut self, frame: Frame) {
        if self.take_back(&frame) {
            self.free.push(frame.index());
        }
    }

    fn bytes(&self, frame: &Frame) -> &[u8] {
        let start = usize::from(frame.offset());
        match self.pieces.get(frame.index() as usize) {
            Some(Piece { buffer, is_engines: true }) => {
                buffer.get(start..start + frame.len()).unwrap_or_default()
            }
            _ => &[],
        }
    }

    fn room(&mut self, frame: &mut Frame) -> &mut [u8] {
        match self.pieces.get_mut(frame.index() as usize) {
            Some(Piece { buffer, is_engines: true }) => {
                buffer.get_mut(usize::from(frame.offset())..).unwrap_or_default()
            }
            _ => &mut [],
        }
    }
}

impl Link for MemoryLink {
    fn receive(&mut self, batch: &mut Vec<Frame>, max: usize) -> Result<usize, LinkError> {
        let mut count = 0;
        while count < max && self.free.len() > self.reserve {
            let Some(parcel) = self.incoming.parcels.pop() else {
                break;
            };
            let index = self.free.pop().expect("more than the reserve");
            let empty = core::mem::replace(&mut self.pieces[index as usize].buffer, parcel.buffer);
            self.incoming.empties.push(empty).expect("the place that the parcel had");
            batch.push(self.hand_out(index, parcel.offset, parcel.len));
            count += 1;
        }
        Ok(count)
    }

    fn transmit(&mut self, batch: &mut Vec<Frame>) -> Result<(), LinkError> {
        let room = self.tx_ring - self.tx.len();
        let count = room.min(batch.len());
        for frame in batch.drain(..count) {
            if self.bytes(&frame).is_empty() {
                // No bytes, or more than fit in its piece: AF_XDP would refuse it, and so do we.
                self.invalid += u64::from(self.is_engines(&frame));
                self.give(frame);
            } else if self.take_back(&frame) {
                self.tx.push_back(frame);
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), LinkError> {
        let mut sent = false;
        while let Some(frame) = self.tx.pop_front() {
            sent |= self.send(&frame);
            self.free.push(frame.index());
        }
        if sent {
            self.peer.unpark();
        }
        Ok(())
    }

    fn wait(&mut self, timeout: Duration) -> Result<(), LinkError> {
        if self.incoming.parcels.is_empty() {
            // Frames that come between the look and the park leave a token: the park returns at
            // once. So does one left by frames that were received without waiting.
            self.parker.park_timeout(timeout);
        }
        Ok(())
    }

    fn waker(&self) -> Waker {
        let unparker = self.parker.unparker().clone();
        Waker::new(move || unparker.unpark())
    }

    fn stats(&self) -> LinkStats {
        LinkStats {
            rx_ring_full: self.incoming.lost.load(Ordering::Relaxed),
            invalid_descriptors: self.invalid,
            ..LinkStats::default()
        }
    }

    fn census(&self) -> Census {
        // What is on the wire is in buffers of the wire's: receiving takes no frame in advance.
        Census { pool: self.free.len(), rx: 0, tx: self.tx.len(), engine: self.engine }
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
