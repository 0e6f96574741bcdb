//! Frame I/O: where frames come from and go to.
//!
//! A [`Link`] is one receive and one transmit queue with the memory of their frames. It moves frames
//! and counts them; it does not look inside.
//!
//! - [`memory`]: two links joined in memory, for tests, benchmarks and machines without privilege
//! - [`tap`]: a link whose frames are written to a capture file
//! - [`faults`]: a link that loses, doubles, reorders and damages frames on purpose
//! - [`af_xdp`]: one AF_XDP socket on one queue of a network interface

pub mod af_xdp;
pub mod faults;
pub mod memory;
pub mod tap;

use crate::frame::{Frame, FramePool};
use crate::time::Duration;
use core::fmt;
use std::sync::Arc;

/// One receive and one transmit queue, and the pool that owns their frames.
pub trait Link: FramePool {
    /// Appends up to `max` received frames to `batch`, and returns how many.
    ///
    /// # Errors
    ///
    /// [`LinkError`] when the link is gone for good; a link that is merely quiet returns 0.
    fn receive(&mut self, batch: &mut Vec<Frame>, max: usize) -> Result<usize, LinkError>;

    /// Queues frames from the front of `batch`, in order, and removes those it took; what the
    /// transmit ring has no room for stays in `batch`.
    ///
    /// # Errors
    ///
    /// [`LinkError`] when the link is gone for good.
    fn transmit(&mut self, batch: &mut Vec<Frame>) -> Result<(), LinkError>;

    /// Ends a round: takes back completed frames, refills the fill ring, and kicks the kernel once
    /// if it asks for it.
    ///
    /// # Errors
    ///
    /// [`LinkError`] when the link is gone for good.
    fn flush(&mut self) -> Result<(), LinkError>;

    /// Blocks until a frame can be received, or until `timeout` has passed; it may return earlier.
    ///
    /// Completed transmissions do not end a wait. While frames that were flushed are still to be
    /// sent, a wait is short, so that the caller's next flush sends them.
    ///
    /// # Errors
    ///
    /// [`LinkError`] when the link is gone for good. An interrupted wait is not an error.
    fn wait(&mut self, timeout: Duration) -> Result<(), LinkError>;

    /// What ends a [`Link::wait`] from another thread.
    fn waker(&self) -> Waker;

    /// What the link lost, as its own counters say.
    fn stats(&self) -> LinkStats;

    /// Where every frame is now, as far as the link knows: frames that it handed out are counted as
    /// `engine`.
    fn census(&self) -> Census;
}

/// Ends the wait of a link, from any thread: the one that is under way, or else the next one.
#[derive(Clone)]
pub struct Waker(Arc<dyn Fn() + Send + Sync>);

impl Waker {
    /// Wakes by calling `wake`.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Waker {
        Waker(Arc::new(wake))
    }

    /// Ends the wait.
    pub fn wake(&self) {
        (self.0)();
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waker")
    }
}

/// Why a link is gone.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The kernel refused a call that a working link accepts, for example because the interface was
    /// removed or set down.
    #[error(
        "{interface} queue {queue}: {call} failed: {source}; is the interface still there and up?"
    )]
    Lost {
        /// The interface's name.
        interface: String,
        /// The queue of the interface.
        queue: u32,
        /// The system call that failed.
        call: &'static str,
        /// What the kernel answered.
        source: std::io::Error,
    },
    /// The capture that was asked for cannot be written on.
    #[error("cannot write the capture: {0}; free some space, or do without it")]
    Capture(#[from] std::io::Error),
}

/// Frames that a link lost before the engine could see or after it had sent them. Each is counted
/// once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkStats {
    /// Received frames dropped because the receive ring was full (XDP_STATISTICS `rx_ring_full`).
    pub rx_ring_full: u64,
    /// Received frames dropped because the fill ring was empty
    /// (XDP_STATISTICS `rx_fill_ring_empty_descs`).
    pub fill_ring_empty: u64,
    /// Received frames dropped for other reasons, such as being longer than a frame's room
    /// (XDP_STATISTICS `rx_dropped`).
    pub rx_dropped: u64,
    /// Descriptors that the kernel found invalid, both ways; a bug of ours when it is not 0.
    pub invalid_descriptors: u64,
}

impl LinkStats {
    /// Adds the counts of another link.
    pub fn add(&mut self, other: &LinkStats) {
        self.rx_ring_full += other.rx_ring_full;
        self.fill_ring_empty += other.fill_ring_empty;
        self.rx_dropped += other.rx_dropped;
        self.invalid_descriptors += other.invalid_descriptors;
    }

    /// The counters with their names in status lines and in JSON.
    pub const fn named(&self) -> [(&'static str, u64); 4] {
        [
            ("rx_ring_full", self.rx_ring_full),
            ("fill_ring_empty", self.fill_ring_empty),
            ("rx_dropped", self.rx_dropped),
            ("invalid_descriptors", self.invalid_descriptors),
        ]
    }
}

/// The owner of every frame of a link, counted. [`Census::total`] is constant over a link's life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Frames in the free pool.
    pub pool: usize,
    /// Frames in the fill ring or with the kernel, waiting for a packet, or in the receive ring.
    pub rx: usize,
    /// Frames in the transmit ring, with the kernel for sending, or in the completion ring.
    pub tx: usize,
    /// Frames handed out and not yet given back.
    pub engine: usize,
}

impl Census {
    /// The sum over all owners.
    pub const fn total(&self) -> usize {
        self.pool + self.rx + self.tx + self.engine
    }
}
