//! Limits of what is sent, and of who is let in, in a second, over all connections.

use super::Engine;
use crate::drops::DropReason;
use crate::service::Service;
use crate::tcp::challenge;
use crate::time::{Duration, Instant};
use crate::wire::addr::Secret;
use crate::wire::packet::Segment;
use core::hash::Hasher as _;
use siphasher::sip::SipHasher13;

/// At most so many a second, and at least half as many. How many exactly is drawn anew for each
/// second: whoever could count them to the last one would learn what others were sent
/// (CVE-2016-5696).
#[derive(Clone, Copy)]
pub(super) struct Quota {
    most: u32,
    draw: SipHasher13,
    second: u64,
    left: u32,
}

impl Quota {
    /// At most `most` a second; `purpose` sets this quota's draws apart from those of others that
    /// have the same `secret`.
    pub(super) fn new(most: u32, secret: Secret, purpose: u8) -> Quota {
        let mut draw = SipHasher13::new_with_key(&secret.0);
        draw.write_u8(purpose);
        Quota { most, draw, second: u64::MAX, left: 0 }
    }

    /// Takes one, if there is one left.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let second = now.millis() / 1_000;
        if second != self.second {
            (self.second, self.left) = (second, self.drawn(second));
        }
        let granted = self.left > 0;
        self.left = self.left.saturating_sub(1);
        granted
    }

    #[expect(clippy::cast_possible_truncation, reason = "at most half of `most`")]
    fn drawn(&self, second: u64) -> u32 {
        let mut draw = self.draw;
        draw.write_u64(second);
        let withheld = draw.finish() % (u64::from(self.most / 2) + 1);
        self.most - withheld as u32
    }
}

/// So many a second, evenly: a bucket that holds a tenth of a second's, or one if that is less.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    /// The time that one takes.
    each: Duration,
    /// When the bucket is full again.
    full_at: Instant,
}

impl Pace {
    /// What the bucket holds, as the time in which it fills.
    const BURST: Duration = Duration::from_millis(100);

    /// `per_second` of them, one at least, and a thousand million at most.
    pub(super) fn new(per_second: u32) -> Pace {
        let each = Duration::from_secs(1) / per_second.max(1);
        Pace { each, full_at: Instant::ZERO }
    }

    /// Whether there is one left.
    fn is_open(&self, now: Instant) -> bool {
        self.full_at.since(now) <= Pace::BURST.saturating_sub(self.each)
    }

    /// Takes one.
    fn take(&mut self, now: Instant) {
        self.full_at = self.full_at.max(now) + self.each;
    }
}

impl<S: Service> Engine<S> {
    /// Whether a connection request may be accepted now.
    ///
    /// # Errors
    ///
    /// `AcceptLimited`.
    pub(super) fn check_accept(&self, now: Instant) -> Result<(), DropReason> {
        match &self.accepts {
            Some(pace) if !pace.is_open(now) => Err(DropReason::AcceptLimited),
            _ => Ok(()),
        }
    }

    /// One was accepted.
    pub(super) fn note_accept(&mut self, now: Instant) {
        if let Some(pace) = &mut self.accepts {
            pace.take(now);
        }
    }

    /// Whether the answer that is due to `segment`, which brings nothing for `reason`, may be sent: all
    /// may but challenge ACKs past their limit. Those that are sent, and those that are not, are
    /// counted.
    pub(super) fn is_granted(
        &mut self,
        segment: &Segment,
        reason: DropReason,
        now: Instant,
    ) -> bool {
        if !challenge::is_challenge(segment, reason) {
            return true;
        }
        let granted = self.challenges.take(now);
        match granted {
            true => self.counters.challenges += 1,
            false => self.counters.challenges_limited += 1,
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(quota: &mut Quota, second: u64) -> u32 {
        let now = Instant::from_millis(second * 1_000 + 7);
        (0..10_000).map(|_| u32::from(quota.take(now))).sum()
    }

    #[test]
    fn each_second_has_its_own_number_between_half_and_all() {
        let mut quota = Quota::new(1_000, Secret([1; 16]), 0);
        let numbers: Vec<u32> = (0..100).map(|second| granted(&mut quota, second)).collect();
        assert!(numbers.iter().all(|number| (500..=1_000).contains(number)), "{numbers:?}");
        let (least, most) = (numbers.iter().min().unwrap(), numbers.iter().max().unwrap());
        assert!(*least < 550 && *most > 950, "they are spread: {least} to {most}");
        let mut other = Quota::new(1_000, Secret([1; 16]), 1);
        let mut seconds = (0..).zip(&numbers);
        assert!(seconds.any(|(second, number)| granted(&mut other, second) != *number));
    }

    #[test]
    fn a_pace_is_even_and_forgives_a_tenth_of_a_second() {
        for (per_second, burst) in [(1, 1), (9, 1), (10, 1), (100, 10), (10_000, 1_000)] {
            let mut pace = Pace::new(per_second);
            let mut all = |now: Instant| {
                let mut granted = 0;
                while pace.is_open(now) {
                    pace.take(now);
                    granted += 1;
                }
                granted
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

    #[test]
    fn small_numbers_are_kept_to() {
        for second in 0..100 {
            assert_eq!(granted(&mut Quota::new(0, Secret([1; 16]), 0), second), 0);
            assert_eq!(granted(&mut Quota::new(1, Secret([1; 16]), 0), second), 1);
        }
    }
}
