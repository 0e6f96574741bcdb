//! Opens the connections of a [`Client`].

use super::routes::{Route, Routes};
use super::seats::Turn;
use super::service::Client;
use crate::engine::ConnectError::{Full, InUse, Resolving};
use crate::engine::Engine;
use crate::frame::Frame;
use crate::link::Link;
use crate::service::Service;
use crate::shard::{Driver, Next};
use crate::tcp::CloseReason;
use crate::time::{Duration, Instant};
use crate::wire::addr::FlowKey;

/// Connections opened in one round, at most: what leaves room in the queue for answers.
const COMMANDS_MAX: usize = 64;

/// Timers looked at in one round, at most.
const TIMERS_MAX: usize = 256;

/// How often in a round a seat that could not be tried is put back, at most.
const POSTPONED_MAX: usize = 16;

/// How long until what could not be done now is tried again.
const PAUSE: Duration = Duration::from_millis(10);

/// The driver of a client's shard.
#[derive(Debug)]
pub struct Dialer<R> {
    routes: R,
    begin_max: u32,
    underway_max: u32,
}

impl<R: Routes> Dialer<R> {
    pub(super) fn new(routes: R, begin_max: u32, underway_max: u32) -> Dialer<R> {
        Dialer { routes, begin_max, underway_max }
    }

    fn flow(&self, turn: &Turn) -> FlowKey {
        let Route { local, remote, .. } = self.routes.route(turn.seat, turn.incarnation);
        FlowKey { remote, local }
    }

    /// Gives up what takes too long.
    fn give_up<S: Service, L: Link>(
        &self,
        now: Instant,
        engine: &mut Engine<Client<S>>,
        link: &mut L,
        tx: &mut Vec<Frame>,
    ) {
        let mut budget = TIMERS_MAX;
        while tx.capacity() > tx.len()
            && let Some(turn) = engine.service_mut().seats_mut().overdue(now, &mut budget)
        {
            match engine.connection_between(&self.flow(&turn)) {
                // It has ended when this returns.
                Some(id) => drop(engine.abort(id, CloseReason::UserTimeout, link, tx)),
                None => engine.service_mut().seats_mut().await_longer(turn, now),
            }
        }
    }

    /// Opens connections for those whose turn it is; returns whether there are more.
    fn dial<S: Service, L: Link>(
        &self,
        now: Instant,
        engine: &mut Engine<Client<S>>,
        link: &mut L,
        tx: &mut Vec<Frame>,
    ) -> bool {
        // Half of what is free stays for answers.
        let commands = COMMANDS_MAX.min((tx.capacity() - tx.len()) / 2);
        let mut postponed = 0;
        for _ in 0..commands {
            let seats = engine.service_mut().seats_mut();
            if seats.busy() >= self.underway_max || postponed >= POSTPONED_MAX {
                return true;
            }
            let may_begin = seats.busy() < self.begin_max;
            let Some(turn) = seats.next(may_begin) else { return seats.untried() > 0 };
            let Route { local, remote, tag } = self.routes.route(turn.seat, turn.incarnation);
            let begun = engine.connect(local, remote, tag, now, link, tx);
            let client = engine.service_mut();
            match begun {
                Ok(id) => client.seats_mut().begun(turn, id, now),
                Err(error) => {
                    let passes = matches!(error, Resolving | Full | InUse);
                    let seats = client.seats_mut();
                    if passes && seats.postpone(turn, error == InUse, now) {
                        postponed += 1;
                    } else {
                        seats.refuse(turn);
                        client.count_failed(CloseReason::Unreachable);
                    }
                }
            }
        }
        true
    }
}

impl<S: Service, R: Routes> Driver<Client<S>> for Dialer<R> {
    fn poll<L: Link>(
        &mut self,
        now: Instant,
        engine: &mut Engine<Client<S>>,
        link: &mut L,
        tx: &mut Vec<Frame>,
    ) -> Next {
        engine.service_mut().seats_mut().settle(now);
        self.give_up(now, engine, link, tx);
        let has_more = self.dial(now, engine, link, tx);
        let pause = now + PAUSE;
        let due = engine.service().seats().next_due(now).map(|due| due.max(pause));
        match (has_more, due) {
            (true, _) => Next::At(pause),
            (false, Some(due)) => Next::At(due),
            (false, None) => Next::Received,
        }
    }
}
