//! Opens connections again that have failed or ended, after a wait: see [`crate::client`].

use super::flows::{Flows, Target};
use super::plan::{Plan, stride};
use super::round::Round;
use crate::client::UNDERWAY_MAX;
use crate::client::seats::Turn;
use crate::engine::ConnectError::{Full, InUse, Resolving};
use crate::link::Link;
use crate::tcp::CloseReason;
use crate::time::Instant;
use crate::wire::addr::{Endpoint, FlowKey};

/// Timers of seats looked at in one round, at most.
const TIMERS_MAX: usize = 256;

/// How often in a round a seat that could not be tried is put back, at most.
const POSTPONED_MAX: usize = 16;

/// Which pair of endpoints a connection of a seat has: each seat has its target, and as many sources as
/// there are for all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ways {
    /// From one pair of a seat's to the next: all seats, and a multiple of the targets.
    stride: u64,
    rows: u64,
}

impl Ways {
    pub(super) fn of(plan: &Plan) -> Ways {
        let stride = stride(plan.connections, plan.flows.targets().len());
        Ways { stride, rows: (plan.flows.len() / stride).max(1) }
    }

    fn get(&self, flows: &Flows, turn: &Turn) -> (Endpoint, Target) {
        let row = u64::from(turn.incarnation) % self.rows;
        flows.get(u64::from(turn.seat) + row * self.stride)
    }
}

/// What came of a round of dialing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Dialed {
    /// Handshakes begun.
    pub(super) begun: u64,
    /// A target whose hardware address is not known yet.
    pub(super) unresolved: Option<Endpoint>,
}

/// Gives up handshakes and closes that take too long, and opens connections for seats whose turn it is;
/// `first_due` says when a seat that was never tried is to be, if it is now.
pub(super) fn come_back<L: Link>(
    plan: &Plan,
    mut first_due: impl FnMut(u64) -> Option<Instant>,
    round: &mut Round<'_, L>,
) -> Dialed {
    let (ways, now) = (Ways::of(plan), round.now);
    let mut dialed = Dialed::default();
    if let Some(seats) = round.seats() {
        seats.settle(now);
    }
    let mut budget = TIMERS_MAX;
    while round.has_command()
        && let Some(turn) = round.seats().and_then(|seats| seats.overdue(now, &mut budget))
    {
        let (local, target) = ways.get(&plan.flows, &turn);
        let flow = FlowKey { remote: target.endpoint, local };
        match (round.engine.connection_between(&flow), round.seats()) {
            (Some(id), _) => round.abort(id, CloseReason::UserTimeout),
            (None, Some(seats)) => seats.await_longer(turn, now),
            (None, None) => {}
        }
    }
    let mut postponed = 0;
    while round.has_command() && postponed < POSTPONED_MAX {
        let Some(seats) = round.seats() else { break };
        let tried = u64::from(seats.len() - seats.untried());
        let due = first_due(tried);
        // What limits first attempts does not limit retries, which are spread by themselves: they may go on
        // for seconds while a server lets in only so many.
        if seats.busy() >= UNDERWAY_MAX {
            break;
        }
        let may_begin = due.is_some() && u64::from(seats.busy()) < plan.underway_max;
        let Some(turn) = seats.next(may_begin) else { break };
        let due = due.filter(|_| turn.is_first).unwrap_or(now);
        let (local, target) = ways.get(&plan.flows, &turn);
        let begun = round.connect(local, target.endpoint, target.service, due);
        let Some(seats) = round.seats() else { break };
        match begun {
            Ok(id) => {
                dialed.begun += 1;
                seats.begun(turn, id, now);
            }
            Err(error) => {
                let passes = matches!(error, Resolving | Full | InUse);
                if passes && seats.postpone(turn, error == InUse, now) {
                    postponed += 1;
                } else {
                    seats.refuse(turn);
                    round.engine.service_mut().failed.count(CloseReason::Unreachable);
                }
                if error == Resolving {
                    dialed.unresolved = Some(target.endpoint);
                }
            }
        }
    }
    dialed
}

#[cfg(test)]
#[path = "returning_tests.rs"]
mod tests;
