//! Limits of what is sent, and of who is let in, in a second, over all connections.

use super::Engine;
use crate::drops::DropReason;
use crate::service::Service;
use crate::tcp::challenge;
use crate::time::{Bucket, Duration, Instant};
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

/// How many connections may be accepted at once, where there is a pace: those of so much time.
const ACCEPT_BURST: Duration = Duration::from_millis(100);

/// The connections that may be accepted: `per_second`, evenly, one at least.
pub(super) fn accepts(per_second: u32) -> Bucket {
    Bucket::new(Duration::from_secs(1) / per_second.max(1), ACCEPT_BURST)
}

impl<S: Service> Engine<S> {
    /// Whether a connection request may be accepted now.
    ///
    /// # Errors
    ///
    /// `AcceptLimited`.
    pub(super) fn check_accept(&self, now: Instant) -> Result<(), DropReason> {
        match &self.accepts {
            Some(bucket) if !bucket.has_one(now) => Err(DropReason::AcceptLimited),
            _ => Ok(()),
        }
    }

    /// One was accepted.
    pub(super) fn note_accept(&mut self, now: Instant) {
        if let Some(bucket) = &mut self.accepts {
            bucket.take(now);
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
    fn small_numbers_are_kept_to() {
        for second in 0..100 {
            assert_eq!(granted(&mut Quota::new(0, Secret([1; 16]), 0), second), 0);
            assert_eq!(granted(&mut Quota::new(1, Secret([1; 16]), 0), second), 1);
        }
    }
}
