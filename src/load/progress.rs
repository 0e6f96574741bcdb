//! How far the load generator is, for other threads to see; and what they say to it.

use crate::time::Instant;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

/// The parts of a run, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Connections are being opened.
    Connecting,
    /// All are open, or have failed: waiting for [`Progress::go_on`].
    Connected,
    /// They are held, and heartbeats go over them.
    Holding,
    /// Connections are being closed.
    Closing,
    /// The run is over.
    Done,
}

impl Phase {
    const ALL: [Phase; 5] =
        [Phase::Connecting, Phase::Connected, Phase::Holding, Phase::Closing, Phase::Done];

    /// What is being done, for a progress bar.
    pub const fn name(self) -> &'static str {
        match self {
            Phase::Connecting => "connecting",
            Phase::Connected => "connected",
            Phase::Holding => "holding",
            Phase::Closing => "closing",
            Phase::Done => "done",
        }
    }
}

/// How far a phase is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The phase.
    pub phase: Phase,
    /// What was done in it: connections opened or closed, heartbeats answered.
    pub done: u64,
    /// Of how many; 0 where there is nothing to do but to wait.
    pub total: u64,
    /// When it ends at the earliest, if that is known.
    pub ends: Option<Instant>,
}

/// Shared between a driver and those who watch it.
#[derive(Debug, Default)]
pub struct Progress {
    phase: AtomicU8,
    done: AtomicU64,
    total: AtomicU64,
    /// In nanoseconds; 0 if not known.
    ends: AtomicU64,
    go: AtomicBool,
    finish: AtomicBool,
}

impl Progress {
    /// How far the run is.
    pub fn get(&self) -> Step {
        let phase = usize::from(self.phase.load(Ordering::Acquire));
        let ends = self.ends.load(Ordering::Relaxed);
        Step {
            phase: Phase::ALL[phase.min(Phase::ALL.len() - 1)],
            done: self.done.load(Ordering::Relaxed),
            total: self.total.load(Ordering::Relaxed),
            ends: (ends > 0).then(|| Instant::from_nanos(ends)),
        }
    }

    /// Lets a driver whose connections are open go on.
    pub fn go_on(&self) {
        self.go.store(true, Ordering::Release);
    }

    /// Has a driver close its connections now, whatever it is at.
    pub fn finish(&self) {
        self.finish.store(true, Ordering::Release);
    }

    pub(super) fn may_go_on(&self) -> bool {
        self.go.load(Ordering::Acquire)
    }

    pub(super) fn is_to_finish(&self) -> bool {
        self.finish.load(Ordering::Acquire)
    }

    pub(super) fn set(&self, step: Step) {
        self.done.store(step.done, Ordering::Relaxed);
        self.total.store(step.total, Ordering::Relaxed);
        self.ends.store(step.ends.map_or(0, Instant::nanos), Ordering::Relaxed);
        self.phase.store(step.phase as u8, Ordering::Release);
    }
}
