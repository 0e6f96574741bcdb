//! How far the load generator is, for other threads to see.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

/// The parts of a run, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Connections are being opened.
    Connecting,
    /// All are open, or have failed: waiting for [`Progress::go_on`].
    Held,
    /// A heartbeat is sent on each.
    Heartbeats,
    /// Connections are being closed.
    Closing,
    /// The run is over.
    Done,
}

impl Phase {
    const ALL: [Phase; 5] =
        [Phase::Connecting, Phase::Held, Phase::Heartbeats, Phase::Closing, Phase::Done];

    /// What is being done, for a progress bar.
    pub const fn name(self) -> &'static str {
        match self {
            Phase::Connecting => "connecting",
            Phase::Held => "holding",
            Phase::Heartbeats => "heartbeats",
            Phase::Closing => "closing",
            Phase::Done => "done",
        }
    }
}

/// Shared between a driver and those who watch it.
#[derive(Debug, Default)]
pub struct Progress {
    phase: AtomicU8,
    done: AtomicU64,
    go: AtomicBool,
}

impl Progress {
    /// The current phase, and how many connections are through with it.
    pub fn get(&self) -> (Phase, u64) {
        let phase = usize::from(self.phase.load(Ordering::Acquire));
        (Phase::ALL[phase.min(Phase::ALL.len() - 1)], self.done.load(Ordering::Relaxed))
    }

    /// Lets a driver that holds its connections go on to the heartbeats.
    pub fn go_on(&self) {
        self.go.store(true, Ordering::Release);
    }

    pub(super) fn may_go_on(&self) -> bool {
        self.go.load(Ordering::Acquire)
    }

    pub(super) fn set(&self, phase: Phase, done: u64) {
        self.done.store(done, Ordering::Relaxed);
        self.phase.store(phase as u8, Ordering::Release);
    }
}
