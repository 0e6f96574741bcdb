//! Points in time, without a way to ask for the current one.
//!
//! Everything below the shard layer takes `now` as an argument. Time starts at zero when the shard
//! starts its clock and never goes back; the simulator and the tests invent it.

pub use core::time::Duration;

/// A point on a shard's own clock, in nanoseconds since that clock was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The moment at which the clock was started.
    pub const ZERO: Instant = Instant(0);

    /// The instant `nanos` nanoseconds after the clock was started.
    pub const fn from_nanos(nanos: u64) -> Instant {
        Instant(nanos)
    }

    /// The instant `micros` microseconds after the clock was started.
    pub const fn from_micros(micros: u64) -> Instant {
        Instant(micros * 1_000)
    }

    /// The instant `millis` milliseconds after the clock was started.
    pub const fn from_millis(millis: u64) -> Instant {
        Instant(millis * 1_000_000)
    }

    /// Nanoseconds since the clock was started.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Whole microseconds since the clock was started.
    pub const fn micros(self) -> u64 {
        self.0 / 1_000
    }

    /// Whole milliseconds since the clock was started.
    pub const fn millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// The time from `earlier` to `self`, or zero if `earlier` is later.
    pub const fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl core::ops::Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, rhs: Duration) -> Instant {
        let nanos = u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX);
        Instant(self.0.saturating_add(nanos))
    }
}
