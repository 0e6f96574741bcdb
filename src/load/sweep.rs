//! The heartbeats: a cursor that goes over the slots at a steady pace, once in each period.

use super::heartbeat::Heartbeat;
use super::plan::{Outcome, share};
use super::round::Round;
use super::state::Client;
use crate::conn::slab::ConnId;
use crate::engine::CommandError;
use crate::link::Link;
use crate::service::builtin::Builtin;
use crate::tcp::CloseReason;
use crate::time::{Bucket, Duration, Instant};

/// How late a heartbeat is sent before it is counted as late.
const LATE: Duration = Duration::from_millis(100);

/// Sends a heartbeat on every connection in every period, spread evenly over it. When each is due
/// follows from its slot: neither a late answer nor a late round delays any of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sweep {
    period: Duration,
    /// When this period began.
    began: Instant,
    /// The slots: each has its share of the time, also while no connection is in it.
    slots: u64,
    /// From one slot to the next, modulo their number.
    stride: u64,
    /// How many slots were passed in this period, and the slot that is next.
    passed: u64,
    next: u64,
    /// The heartbeats that may be caught up with where those do not wait for answers.
    catch_up: Bucket,
}

/// How much faster than at their own pace heartbeats are caught up with where answers may never come.
const CATCH_UP: u32 = 2;

/// The catching up that a round may have missed.
const CATCH_UP_BURST: Duration = Duration::from_millis(10);

/// How long to wait, while nothing arrives, for what may arrive.
const PAUSE: Duration = Duration::from_millis(10);

impl Sweep {
    /// Over `slots` slots one after the other, from `began` on.
    pub(super) fn new(period: Duration, slots: u64, began: Instant) -> Sweep {
        let slots = slots.max(1);
        let catch_up = Bucket::new(share(period, 1, slots) / CATCH_UP, CATCH_UP_BURST);
        Sweep { period, began, slots, stride: 1, passed: 0, next: 0, catch_up }
    }

    /// The same for slots of which only some are in use, neighbours: these too are spread evenly. From one
    /// slot to the one behind it is the golden section of a period, which spreads any run of them.
    pub(super) fn scattered(period: Duration, slots: u64, began: Instant) -> Sweep {
        let sweep = Sweep::new(period, slots, began);
        // In slots; 2^32 parts are a whole.
        let section = u64::try_from((u128::from(sweep.slots) * 2_654_435_769) >> 32).unwrap_or(0);
        let stride = (section..).find_map(|section| inverse(section, sweep.slots));
        Sweep { stride: stride.unwrap_or(1), ..sweep }
    }

    /// When the next heartbeat is due.
    pub(super) fn due(&self) -> Instant {
        self.began + share(self.period, self.passed, self.slots)
    }

    /// Sends the heartbeats due before `end`, and by now. Late ones are caught up with while no more
    /// than `late_max` answers are awaited: sent all at once they would overflow the rings. A connection
    /// that has missed `misses` in a row is given up, where that is given; past `late_max`, late ones then go
    /// on at twice their pace: where servers are lost, nobody may be left to answer, and who waited for that
    /// would never find it out. What nobody owes is passed by. Returns when to go on, or `None` where
    /// nothing more is due before `end`.
    pub(super) fn beat<L: Link>(
        &mut self,
        end: Option<Instant>,
        late_max: u64,
        misses: Option<u8>,
        round: &mut Round<'_, L>,
        outcome: &mut Outcome,
    ) -> Option<Instant> {
        let now = round.now;
        while round.has_command() && round.has_slot() {
            let due = self.due();
            if end.is_some_and(|end| due >= end) {
                return None;
            }
            if due > now {
                return Some(due);
            }
            if let Some(debtor) = self.debtor(due, round) {
                let is_late = now.since(due) > LATE;
                if is_late && round.counted().awaited >= late_max {
                    if misses.is_none() {
                        return Some(now + PAUSE);
                    }
                    if !self.catch_up.has_one(now) {
                        return Some(self.catch_up.next(now));
                    }
                    self.catch_up.take(now);
                }
                match self.send(debtor, due, misses, round, outcome) {
                    // Every flight is in use: again in the next round, or if it is late already, not at all.
                    Err(CommandError::Busy) if misses.is_none() || !is_late => {
                        return Some(now + PAUSE);
                    }
                    Err(CommandError::Busy) => miss(debtor, misses, round, outcome),
                    Ok(()) | Err(CommandError::Gone) => {}
                }
            }
            self.advance();
        }
        Some(now)
    }

    /// The connection that owes the heartbeat due at `due`: that in the next slot, if it was open then.
    fn debtor<L: Link>(&self, due: Instant, round: &mut Round<'_, L>) -> Option<(ConnId, Client)> {
        let (id, client) = round.look(self.slot())?;
        (client.is_held() && !client.opened_after(due)).then_some((id, client))
    }

    fn slot(&self) -> u32 {
        u32::try_from(self.next).unwrap_or(u32::MAX)
    }

    /// Sends the heartbeat due at `due`, if there is one to send.
    fn send<L: Link>(
        &self,
        (id, client): (ConnId, Client),
        due: Instant,
        misses: Option<u8>,
        round: &mut Round<'_, L>,
        outcome: &mut Outcome,
    ) -> Result<(), CommandError> {
        if client.awaiting {
            outcome.skipped += 1;
            miss((id, client), misses, round, outcome);
            return Ok(());
        }
        let Some(service) = round.engine.tag(id).map(Builtin::of_tag) else {
            return Ok(());
        };
        let request = Heartbeat::request(service, self.slot(), due);
        if request.is_empty() {
            return Ok(());
        }
        match round.send(id, &request) {
            Ok(()) => {
                let client = round.engine.service_mut().expect_answer(client, due);
                round.note(id, client);
                outcome.sent += 1;
                outcome.late += u64::from(round.now.since(due) > LATE);
                Ok(())
            }
            // It is closing, and its end is counted.
            Err(CommandError::Gone) => Ok(()),
            Err(CommandError::Busy) => Err(CommandError::Busy),
        }
    }

    fn advance(&mut self) {
        self.next = (self.next + self.stride) % self.slots;
        self.passed += 1;
        if self.passed == self.slots {
            self.began = self.began + self.period;
            self.passed = 0;
        }
    }
}

/// A heartbeat of this connection is missed.
fn miss<L: Link>(
    (id, client): (ConnId, Client),
    misses: Option<u8>,
    round: &mut Round<'_, L>,
    outcome: &mut Outcome,
) {
    let Some(misses) = misses else { return };
    outcome.missed += 1;
    let missed = client.missed.saturating_add(1);
    match missed >= misses {
        true => round.abort(id, CloseReason::HeartbeatMissed),
        false => round.note(id, Client { missed, ..client }),
    }
}

/// What times `n` is 1 modulo `modulus`, if they have no divisor in common (Euclid's algorithm).
fn inverse(n: u64, modulus: u64) -> Option<u64> {
    let (mut old, mut rest) = (i128::from(n % modulus), i128::from(modulus));
    let (mut factor, mut next) = (1_i128, 0_i128);
    while rest != 0 {
        let quotient = old / rest;
        (old, rest) = (rest, old - quotient * rest);
        (factor, next) = (next, factor - quotient * next);
    }
    let inverse = u64::try_from(factor.rem_euclid(i128::from(modulus))).ok()?;
    (old == 1).then_some(inverse)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_slot_is_due_once_a_period_and_evenly() {
        let mut sweep = Sweep::new(SECOND, 3, Instant::from_millis(500));
        let mut due = Vec::new();
        for n in 0..7 {
            assert_eq!(sweep.next, n % 3);
            due.push(sweep.due().nanos());
            sweep.advance();
        }
        let third = 333_333_333;
        let (first, second) = (500_000_000, 1_500_000_000);
        let expected = [
            first,
            first + third,
            first + 2 * third,
            second,
            second + third,
            second + 2 * third,
            2_500_000_000,
        ];
        assert!(due.iter().zip(expected).all(|(due, at)| due.abs_diff(at) <= 1), "{due:?}");
    }

    #[test]
    fn any_run_of_slots_is_spread_over_the_period() {
        for slots in [1, 2, 3, 10, 1_000, 10_007, 65_536, 315_000] {
            let mut sweep = Sweep::scattered(SECOND, slots, Instant::ZERO);
            let mut due = vec![None; usize::try_from(slots).unwrap()];
            for _ in 0..slots {
                let at = usize::try_from(sweep.next).unwrap();
                assert_eq!(due[at].replace(sweep.due()), None, "slot {at} of {slots} comes once");
                sweep.advance();
            }
            assert_eq!((sweep.next, sweep.due()), (0, Instant::ZERO + SECOND), "as before");
            if slots < 10_000 {
                continue;
            }
            let mut run: Vec<_> = due[300..400].iter().flatten().collect();
            run.sort();
            let gaps = run.windows(2).map(|pair| pair[1].since(*pair[0]));
            assert!(gaps.max() < Some(SECOND / 25), "none is four times that of an even spread");
        }
    }
}
