//! The heartbeats: a cursor that goes over the slots at a steady pace, once in each period.

use super::heartbeat::Heartbeat;
use super::plan::{Outcome, share};
use super::round::Round;
use crate::engine::CommandError;
use crate::link::Link;
use crate::service::builtin::Builtin;
use crate::time::{Duration, Instant};

/// How late a heartbeat is sent before it is counted as late.
const LATE: Duration = Duration::from_millis(100);

/// Sends a heartbeat on every connection in every period, spread evenly over it. When each is due is
/// fixed when its period begins: neither a late answer nor a late round delays any of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sweep {
    period: Duration,
    /// When this period began.
    began: Instant,
    /// The slots of this period: each has its share of the time, also while no connection is in it.
    slots: u64,
    slots_min: u64,
    /// The slot that is next.
    next: u64,
}

impl Sweep {
    /// Over `slots` slots, or all that are in use if those are more, from `began` on.
    pub(super) fn new(period: Duration, slots: u64, began: Instant) -> Sweep {
        let slots = slots.max(1);
        Sweep { period, began, slots, slots_min: slots, next: 0 }
    }

    /// When the next heartbeat is due.
    pub(super) fn due(&self) -> Instant {
        self.began + share(self.period, self.next, self.slots)
    }

    /// Sends the heartbeats due before `end`, and by now. Late ones are caught up with while no more
    /// than `late_max` answers are awaited: sent all at once they would overflow the rings.
    pub(super) fn beat<L: Link>(
        &mut self,
        end: Option<Instant>,
        late_max: u64,
        round: &mut Round<'_, L>,
        outcome: &mut Outcome,
    ) {
        while round.has_command() && round.has_slot() {
            let due = self.due();
            if due > round.now || end.is_some_and(|end| due >= end) {
                return;
            }
            if round.now.since(due) > LATE && round.counted().awaited >= late_max {
                return;
            }
            if self.send(due, round, outcome) == Err(CommandError::Busy) {
                // Every flight is in use: again in the next round.
                return;
            }
            self.advance(round.engine.slots());
        }
    }

    /// Sends the heartbeat due at `due`, if there is one to send.
    fn send<L: Link>(
        &mut self,
        due: Instant,
        round: &mut Round<'_, L>,
        outcome: &mut Outcome,
    ) -> Result<(), CommandError> {
        let slot = u32::try_from(self.next).unwrap_or(u32::MAX);
        let Some((id, client)) = round.look(slot) else { return Ok(()) };
        if !client.is_idle() {
            outcome.skipped += u64::from(client.awaiting && !client.closing);
            return Ok(());
        }
        let Some(service) = round.engine.tag(id).map(Builtin::of_tag) else {
            return Ok(());
        };
        let request = Heartbeat::request(service, slot, due);
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

    fn advance(&mut self, slots_used: u32) {
        self.next += 1;
        if self.next == self.slots {
            self.began = self.began + self.period;
            self.slots = self.slots_min.max(u64::from(slots_used));
            self.next = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slot_is_due_once_a_period_and_evenly() {
        let mut sweep = Sweep::new(Duration::from_secs(1), 3, Instant::from_millis(500));
        let mut due = Vec::new();
        for _ in 0..7 {
            due.push(sweep.due().nanos());
            sweep.advance(2);
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
        assert!(
            due.iter().zip(expected).all(|(due, expected)| due.abs_diff(expected) <= 1),
            "{due:?}"
        );
    }

    #[test]
    fn a_period_takes_in_the_slots_that_came_into_use() {
        let mut sweep = Sweep::new(Duration::from_secs(1), 2, Instant::ZERO);
        (0..2).for_each(|_| sweep.advance(4));
        assert_eq!((sweep.due(), sweep.slots), (Instant::from_millis(1000), 4));
        sweep.advance(4);
        assert_eq!(sweep.due(), Instant::from_millis(1250));
    }
}
