//! Points in time, without a way to ask for the current one.
//!
//! Everything below the shard layer takes `now` as an argument. Time starts at zero when the shard
//! starts its clock and never goes back; the simulator and the tests invent it.

use bytemuck::Zeroable;

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

/// A coarse point in time for connection records and timers: 2^24 ns, about 16.8 ms.
///
/// Four bytes that wrap after 2.28 years; comparisons hold while two ticks are less than half of
/// that apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Zeroable)]
#[repr(transparent)]
pub struct Tick(pub u32);

/// The length of a [`Tick`], as a power of two of nanoseconds.
const TICK_SHIFT: u32 = 24;

impl Tick {
    /// The tick that `instant` falls into.
    #[expect(clippy::cast_possible_truncation, reason = "ticks wrap by design")]
    pub const fn of(instant: Instant) -> Tick {
        Tick((instant.0 >> TICK_SHIFT) as u32)
    }

    /// The first tick that is at least `duration` after the end of this one: a timer set to it never
    /// fires early. Durations past a year are cut to one.
    #[expect(clippy::cast_possible_truncation, reason = "at most a year, which is below 2^31")]
    pub const fn after(self, duration: Duration) -> Tick {
        const YEAR_TICKS: u128 = (365 * 86_400 * 1_000_000_000) >> TICK_SHIFT;
        let ticks = (duration.as_nanos() + (1 << TICK_SHIFT) - 1) >> TICK_SHIFT;
        let ticks = if ticks > YEAR_TICKS { YEAR_TICKS } else { ticks };
        Tick(self.0.wrapping_add(ticks as u32).wrapping_add(1))
    }

    /// Whether `self` is `other` or later.
    pub const fn reached(self, other: Tick) -> bool {
        self.0.wrapping_sub(other.0) < 1 << 31
    }

    /// The earlier one of `self` and `other`.
    pub const fn earlier(self, other: Tick) -> Tick {
        if self.reached(other) { other } else { self }
    }

    /// The later one of `self` and `other`.
    pub const fn later(self, other: Tick) -> Tick {
        if self.reached(other) { self } else { other }
    }

    /// The start of this tick on the clock that reads `now`.
    pub const fn start(self, now: Instant) -> Instant {
        let ahead = self.0.wrapping_sub(Tick::of(now).0).cast_signed() as i64;
        let tick = (now.0 >> TICK_SHIFT).cast_signed() + ahead;
        if tick <= 0 { Instant::ZERO } else { Instant(tick.cast_unsigned() << TICK_SHIFT) }
    }
}

/// So many in a time, evenly: a bucket that holds those of a short time, or one if that is less. What goes
/// by unused is not made up for, but for those.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    /// The time that one takes.
    each: Duration,
    /// What it holds, as the time in which it fills.
    holds: Duration,
    /// When it is full again.
    full_at: Instant,
}

impl Bucket {
    /// A full one: one in every `each`, and at once those of `holds`.
    pub const fn new(each: Duration, holds: Duration) -> Bucket {
        Bucket { each, holds, full_at: Instant::ZERO }
    }

    /// Whether there is one left.
    pub fn has_one(&self, now: Instant) -> bool {
        self.full_at.since(now) <= self.holds.saturating_sub(self.each)
    }

    /// When there is one again, or `now`.
    pub fn next(&self, now: Instant) -> Instant {
        let wait = self.full_at.since(now).saturating_sub(self.holds.saturating_sub(self.each));
        now + wait
    }

    /// Takes one.
    pub fn take(&mut self, now: Instant) {
        self.full_at = self.full_at.max(now) + self.each;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_even_and_forgives_a_little() {
        for (per_second, burst) in [(1, 1), (9, 1), (10, 1), (100, 10), (10_000, 1_000)] {
            let each = Duration::from_secs(1) / per_second;
            let mut bucket = Bucket::new(each, Duration::from_millis(100));
            let mut all = |now: Instant| {
                let mut taken = 0;
                while bucket.has_one(now) {
                    bucket.take(now);
                    taken += 1;
                }
                taken
            };
            let start = Instant::from_millis(5_000);
            assert_eq!(all(start), burst, "{per_second}");
            // Somebody asks each millisecond, as often as there is any.
            let asked = (1..=3_000).map(|millis| start + Duration::from_millis(millis));
            let total: u32 = asked.map(&mut all).sum();
            let least = 3 * per_second - 3 * per_second / 20;
            assert!((least..=3 * per_second).contains(&total), "{per_second}: {total}");
            assert_eq!(all(start + Duration::from_secs(60)), burst, "nothing more is saved up");
        }
    }
}
