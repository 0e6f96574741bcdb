//! When a segment is sent again because of SACK blocks (RFC 6675, as far as it can be had).
//!
//! smoltcp counts duplicate ACKs, but only bare ones with an unchanged window, and sends one segment
//! again for three of them; of two losses in a window the second waits for the timeout. It does not
//! look at SACK blocks. So they are looked at here, and smoltcp is then told by three duplicate ACKs.

use crate::time::{Duration, Instant};
use crate::wire::seq::SeqNumber;

/// RFC 5681 section 3.2: three duplicate ACKs are taken for a loss, fewer for reordering.
pub(super) const DUPLICATES: u8 = 3;

/// smoltcp's shortest retransmission timeout, which sends everything again.
const RTO_MIN: Duration = Duration::from_secs(1);

/// What is known of losses.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Recovery {
    /// How many segments in a row have reported a gap at SND.UNA.
    duplicates: u8,
    /// SND.NXT when the last loss was found: until it is acknowledged, every gap is a loss.
    until: Option<SeqNumber>,
    /// When SND.UNA moved last, or a loss was found.
    progress: Instant,
}

impl Recovery {
    /// Takes a segment that acknowledges up to `ack`, which `is_news` or SND.UNA, and which
    /// `reports_gap`: SACK blocks past `ack`. Returns whether what starts at `ack` is to be sent again.
    pub(super) fn on_ack(
        &mut self,
        ack: SeqNumber,
        is_news: bool,
        reports_gap: bool,
        snd_nxt: SeqNumber,
        now: Instant,
    ) -> bool {
        // After a timeout everything is sent again anyway.
        let timed_out = now.since(self.progress) >= RTO_MIN;
        let until = self.until.filter(|until| !timed_out && ack.before(*until));
        if is_news {
            // RFC 6582 section 3.2, step 3: a partial acknowledgment shows the next loss.
            *self = Recovery { duplicates: 0, until, progress: now };
            return until.is_some() && reports_gap;
        }
        if !reports_gap {
            return false;
        }
        self.duplicates = self.duplicates.saturating_add(1);
        let is_lost = self.duplicates == DUPLICATES && until.is_none();
        if is_lost {
            (self.until, self.progress) = (Some(snd_nxt), now);
        }
        is_lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEXT: SeqNumber = SeqNumber(1000);

    fn told(recovery: &mut Recovery, ack: u32, is_news: bool, gap: bool, millis: u64) -> bool {
        let now = Instant::from_millis(10_000 + millis);
        recovery.on_ack(SeqNumber(ack), is_news, gap, NEXT, now)
    }

    #[test]
    fn the_third_report_of_a_gap_is_a_loss_and_then_every_gap_is_one() {
        let mut recovery = Recovery::default();
        assert!(!told(&mut recovery, 100, true, false, 0));
        let reports = [1, 2, 3, 4, 5].map(|millis| told(&mut recovery, 100, false, true, millis));
        assert_eq!(reports, [false, false, true, false, false]);
        assert!(told(&mut recovery, 300, true, true, 10), "a partial acknowledgment");
        assert!(!told(&mut recovery, 300, false, true, 11), "sent again already");
        assert!(!told(&mut recovery, 600, true, false, 20), "no gap is left");
        assert!(!told(&mut recovery, 1000, true, true, 30), "all of that window has arrived");
        assert!(!told(&mut recovery, 1100, true, true, 40), "so it begins anew");
    }

    #[test]
    fn what_brings_no_gap_is_no_duplicate() {
        let mut recovery = Recovery::default();
        told(&mut recovery, 100, true, false, 0);
        assert!((1..10).all(|millis| !told(&mut recovery, 100, false, false, millis)));
    }

    #[test]
    fn a_timeout_ends_it() {
        let mut recovery = Recovery::default();
        told(&mut recovery, 100, true, false, 0);
        let reports = [1, 2, 3].map(|millis| told(&mut recovery, 100, false, true, millis));
        assert_eq!(reports, [false, false, true]);
        assert!(!told(&mut recovery, 300, true, true, 1_500), "the timeout has sent all again");
    }
}
