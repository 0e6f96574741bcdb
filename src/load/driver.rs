//! Carries a plan out: opens connections, holds them while heartbeats go over them, closes them.
//!
//! The load is open-loop: when a connection is opened, a heartbeat sent, or a connection replaced is
//! known beforehand and does not depend on answers; what is late is caught up with, and its latency
//! counts from when it was due. Heartbeats begin when all connections are open, or where the plan says
//! so, one period after the first SYN if that takes longer.

use super::heartbeat::Heartbeat;
use super::opening::{Attempt, Opening};
use super::plan::{Outcome, Pace, Plan};
use super::progress::{Phase, Progress, Step};
use super::returning;
use super::round::Round;
use super::sweep::Sweep;
use crate::engine::{CommandError, Engine};
use crate::frame::Frame;
use crate::link::Link;
use crate::shard::{Driver, Next};
use crate::tcp::CloseReason;
use crate::time::{Duration, Instant};
use std::sync::Arc;

/// How long nothing may happen before what is missing counts as failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long to wait, while nothing arrives, before looking again.
const PAUSE: Duration = Duration::from_millis(10);

/// The driver of a client's shard.
pub struct LoadDriver {
    plan: Plan,
    progress: Arc<Progress>,
    outcome: Outcome,
    phase: Phase,
    /// When the first connection was begun.
    started: Instant,
    /// When the phase began.
    began: Instant,
    /// The last count of what moves in this phase, and when it moved.
    moved: (u64, Instant),
    /// How many connections were established when one last was.
    opened: u64,
    opening: Opening,
    sweep: Option<Sweep>,
    /// Connections opened in place of closed ones.
    replaced: u64,
    /// The next slot to close, while connections are replaced and at the end.
    cursor: u32,
    /// Connections told to close.
    closes: u64,
    /// How many had ended, and how many were there, when the closing began.
    closing_from: (u64, u64),
}

impl LoadDriver {
    /// A driver that reports to `progress`.
    pub fn new(plan: Plan, progress: Arc<Progress>) -> LoadDriver {
        LoadDriver {
            opening: Opening::new(plan.underway_max),
            outcome: Outcome { requested: plan.connections, ..Outcome::default() },
            plan,
            progress,
            phase: Phase::Connecting,
            started: Instant::ZERO,
            began: Instant::ZERO,
            moved: (0, Instant::ZERO),
            opened: 0,
            sweep: None,
            replaced: 0,
            cursor: 0,
            closes: 0,
            closing_from: (0, 0),
        }
    }

    /// What came of the plan so far.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    fn enter(&mut self, phase: Phase, now: Instant) -> Next {
        self.phase = phase;
        self.began = now;
        self.moved = (0, now);
        Next::Now
    }

    /// Whether `count` has stood still for too long.
    fn is_stuck(&mut self, count: u64, now: Instant) -> bool {
        if count != self.moved.0 {
            self.moved = (count, now);
        }
        now.since(self.moved.1) > PATIENCE
    }

    /// Handshakes and closes that go on.
    fn underway(&self, counted: &Heartbeat) -> u64 {
        if let Some(seats) = &counted.seats {
            return u64::from(seats.busy());
        }
        let settled = counted.opened + counted.failed.total();
        (self.outcome.attempted - settled) + (self.closes - counted.ended)
    }

    /// Opens a connection due at `due`; returns whether it may go on with the next.
    fn open<L: Link>(&mut self, due: Instant, round: &mut Round<'_, L>) -> bool {
        let attempt = self.opening.open(&self.plan.flows, due, round);
        match attempt {
            Attempt::Made => {
                self.outcome.attempted += 1;
                self.outcome.unresolved = None;
            }
            Attempt::Later(Some(target)) => self.outcome.unresolved = Some(target),
            Attempt::Later(None) => {}
        }
        attempt == Attempt::Made
    }

    /// Opens connections where they are opened again, until all are.
    fn connect_seats<L: Link>(&mut self, round: &mut Round<'_, L>) -> Next {
        let now = round.now;
        if self.outcome.attempted == 0 {
            self.started = now;
        }
        self.come_back(true, round);
        let Some((open, all)) = round.seats().map(|seats| (seats.open(), seats.len())) else {
            return Next::Done;
        };
        if open == all {
            self.outcome.connect_time = now.since(self.started);
            return self.enter(Phase::Connected, now);
        }
        let next = now + PAUSE;
        Next::At(next.min(self.beat_early(round).unwrap_or(next)))
    }

    /// Opens connections again; for the first time too, if `may_begin`.
    fn come_back<L: Link>(&mut self, may_begin: bool, round: &mut Round<'_, L>) {
        let (now, started) = (round.now, self.started);
        let pace = self.plan.rate.map(|per_second| Pace { began: started, per_second });
        let first_due = |tried| {
            let due = pace.map_or(now, |pace| pace.due(tried));
            (may_begin && due <= now).then_some(due)
        };
        let dialed = returning::come_back(&self.plan, first_due, round);
        self.outcome.attempted += dialed.begun;
        if dialed.begun > 0 || dialed.unresolved.is_some() {
            self.outcome.unresolved = dialed.unresolved;
        }
    }

    /// Sends heartbeats while connections are still being opened, if the plan says so.
    fn beat_early<L: Link>(&mut self, round: &mut Round<'_, L>) -> Option<Instant> {
        let period = self.plan.heartbeat.filter(|_| self.plan.beat_early)?;
        let is_time = round.now.since(self.started) >= period && self.outcome.attempted > 0;
        is_time.then(|| self.beat(None, round)).flatten()
    }

    fn connect<L: Link>(&mut self, round: &mut Round<'_, L>) -> Next {
        if self.plan.reconnect.is_some() {
            return self.connect_seats(round);
        }
        let now = round.now;
        self.opening.give_up_late(round);
        if self.outcome.attempted == 0 {
            // Until the first target is found, nothing was begun.
            self.started = now;
        }
        let counted = round.counted();
        if counted.opened > self.opened {
            self.opened = counted.opened;
            self.outcome.connect_time = now.since(self.started);
        }
        let settled = counted.opened + counted.failed.total();
        let underway = self.underway(counted);
        // What is given up here is no sign of life.
        let alive = settled - self.opening.given_up();
        if settled == self.plan.connections || self.is_stuck(alive, now) {
            return self.enter(Phase::Connected, now);
        }
        let pace = self.plan.rate.map(|per_second| Pace { began: self.started, per_second });
        let free = self.plan.underway_max.saturating_sub(underway);
        let missing = self.plan.connections - self.outcome.attempted;
        let mut next = now + PAUSE;
        for _ in 0..missing.min(free) {
            let due = pace.map_or(now, |pace| pace.due(self.outcome.attempted));
            if due > now {
                next = next.min(due);
                break;
            }
            if !round.has_command() || !self.open(due, round) {
                break;
            }
        }
        Next::At(next.min(self.beat_early(round).unwrap_or(next)))
    }

    /// Sends the heartbeats that are due by now and before `end`, and returns when to go on with that.
    fn beat<L: Link>(&mut self, end: Option<Instant>, round: &mut Round<'_, L>) -> Option<Instant> {
        let period = self.plan.heartbeat?;
        let Plan { slots, churn, .. } = self.plan;
        // Those of a hold are all due within it.
        let began = if self.phase == Phase::Holding { self.began } else { round.now };
        let sweep = self.sweep.get_or_insert_with(|| match churn {
            None => Sweep::new(period, slots, began),
            Some(_) => Sweep::scattered(period, slots, began),
        });
        let misses = self.plan.reconnect.map(|reconnect| reconnect.misses);
        sweep.beat(end, self.plan.underway_max, misses, round, &mut self.outcome)
    }

    fn hold<L: Link>(&mut self, round: &mut Round<'_, L>) -> Next {
        let (now, end) = (round.now, self.hold_end());
        self.opening.give_up_late(round);
        let returns = self.plan.reconnect.is_some();
        if returns {
            self.come_back(false, round);
        }
        let beat_at = self.beat(Some(end), round);
        let replace_at = self.replace(end, round);
        let renew_at = self.renew(end, round);
        let wake = [beat_at, replace_at, renew_at].into_iter().flatten().min();
        let counted = round.counted();
        let underway = self.underway(counted);
        let over = counted.over();
        let moving = counted.answered + counted.opened + over + self.outcome.sent;
        let is_empty = counted.opened == over && underway == 0 && renew_at.is_none() && !returns;
        // Past the end, what is late is caught up with, and what was begun comes to its end; but attempts
        // that may never come to one.
        let settles = counted.awaited + if returns { 0 } else { underway };
        let is_over = now >= end && wake.is_none() && settles == 0;
        let is_stuck = self.is_stuck(moving, now) && now >= end;
        if is_over || is_stuck || is_empty {
            self.outcome.hold_time = now.since(self.began);
            self.begin_to_close(round);
            return Next::Now;
        }
        Next::At(wake.unwrap_or(end).clamp(now, now + PAUSE))
    }

    /// Replaces connections that are due to be by now and before `end`, and returns when the next one
    /// is. One whose answer is awaited is left for the next time.
    fn replace<L: Link>(&mut self, end: Instant, round: &mut Round<'_, L>) -> Option<Instant> {
        let pace = Pace { began: self.began, per_second: self.plan.churn? };
        // First, what could not be opened when its predecessor was closed.
        while self.replaced < self.outcome.churned && round.has_command() {
            if !self.open(pace.due(self.replaced), round) {
                return Some(round.now + PAUSE);
            }
            self.replaced += 1;
        }
        while round.has_command() && round.has_slot() {
            let due = pace.due(self.outcome.churned);
            if due >= end {
                return None;
            }
            if due > round.now {
                return Some(due);
            }
            if self.underway(round.counted()) >= self.plan.underway_max {
                break;
            }
            if self.close_one(round) {
                self.outcome.churned += 1;
                self.outcome.requested += 1;
                self.replaced += u64::from(self.open(due, round));
            }
        }
        Some(round.now)
    }

    /// Opens each connection anew that its server has closed as it had announced, before `end`, and returns
    /// when to go on with that.
    fn renew<L: Link>(&mut self, end: Instant, round: &mut Round<'_, L>) -> Option<Instant> {
        if round.now >= end {
            return None;
        }
        for _ in 0..round.counted().parted.len() {
            if self.underway(round.counted()) >= self.plan.underway_max || !round.has_command() {
                break;
            }
            let Some(parted) = round.engine.service_mut().parted.pop_front() else { break };
            if self.opening.reopen(parted, round) == Attempt::Made {
                self.outcome.attempted += 1;
                self.outcome.requested += 1;
                self.outcome.renewed += 1;
            } else {
                round.engine.service_mut().parted.push_back(parted);
            }
        }
        (!round.counted().parted.is_empty()).then_some(round.now + PAUSE)
    }

    /// Closes the connection in the next slot, if it is idle.
    fn close_one<L: Link>(&mut self, round: &mut Round<'_, L>) -> bool {
        self.cursor = if self.cursor < round.engine.slots() { self.cursor } else { 0 };
        let found = round.look(self.cursor).filter(|(_, client)| client.is_idle());
        self.cursor += 1;
        let closed = found.is_some_and(|(id, client)| round.close(id, client).is_ok());
        self.closes += u64::from(closed);
        closed
    }

    fn begin_to_close<L: Link>(&mut self, round: &mut Round<'_, L>) {
        if let Some(seats) = round.seats() {
            seats.stop();
            self.outcome.held = seats.open().into();
        }
        let counted = round.counted();
        let left = counted.opened.saturating_sub(counted.over());
        self.closing_from = (counted.ended, left);
        self.cursor = 0;
        self.enter(Phase::Closing, round.now);
    }

    fn close<L: Link>(&mut self, round: &mut Round<'_, L>) -> Next {
        let now = round.now;
        while self.cursor < round.engine.slots() && round.has_command() && round.has_slot() {
            if self.closes - round.counted().ended >= self.plan.underway_max {
                break;
            }
            match round.look(self.cursor) {
                // The run was cut short: nobody waits for it any more.
                Some((id, client)) if !client.open => round.abort(id, CloseReason::Evicted),
                Some((id, client)) if !client.closing && !client.parted => {
                    match round.close(id, client) {
                        Ok(()) => self.closes += 1,
                        // It has ended, or is about to.
                        Err(CommandError::Gone) => {}
                        Err(CommandError::Busy) => break,
                    }
                }
                _ => {}
            }
            self.cursor += 1;
        }
        let ended = round.counted().ended;
        self.outcome.unclosed = self.closes - ended;
        let all = self.cursor >= round.engine.slots() && self.outcome.unclosed == 0;
        if all || self.is_stuck(ended + u64::from(self.cursor), now) {
            return self.enter(Phase::Done, now);
        }
        // Slots without connections are looked at without waiting.
        if round.has_slot() { Next::At(now + PAUSE) } else { Next::Now }
    }

    /// When the hold that goes on ends.
    fn hold_end(&self) -> Instant {
        let end = self.began + self.plan.hold;
        self.plan.duration.map_or(end, |duration| end.min(self.started + duration))
    }

    /// Whether the run is to end at once. A hold that the duration cuts short still awaits its answers.
    fn is_cut_short(&self, now: Instant) -> bool {
        let over = |limit: Duration| now.since(self.started) >= limit;
        let is_opening = self.phase < Phase::Holding && self.outcome.attempted > 0;
        self.progress.is_to_finish() || is_opening && self.plan.duration.is_some_and(over)
    }

    fn step(&self, counted: &Heartbeat) -> Step {
        let (done, total) = match self.phase {
            Phase::Connecting | Phase::Connected => {
                let open = counted.seats.as_ref().map(|seats| seats.open().into());
                (open.unwrap_or(counted.opened), self.plan.connections)
            }
            Phase::Holding => {
                let hold = self.hold_end().since(self.began);
                (counted.answered, self.plan.heartbeats(hold))
            }
            Phase::Closing | Phase::Done => {
                (counted.ended - self.closing_from.0, self.closing_from.1)
            }
        };
        let ends = (self.phase == Phase::Holding).then(|| self.hold_end());
        Step { phase: self.phase, done, total, ends }
    }
}

impl Driver<Heartbeat> for LoadDriver {
    fn poll<L: Link>(
        &mut self,
        now: Instant,
        engine: &mut Engine<Heartbeat>,
        link: &mut L,
        tx: &mut Vec<Frame>,
    ) -> Next {
        let mut round = Round::new(now, engine, link, tx);
        if self.phase < Phase::Closing && self.is_cut_short(now) {
            self.begin_to_close(&mut round);
        }
        let next = match self.phase {
            Phase::Connecting => self.connect(&mut round),
            Phase::Connected if round.counted().opened == 0 => self.enter(Phase::Done, now),
            Phase::Connected if self.progress.may_go_on() => self.enter(Phase::Holding, now),
            Phase::Connected => Next::At(now + PAUSE),
            Phase::Holding => self.hold(&mut round),
            Phase::Closing => self.close(&mut round),
            Phase::Done => Next::Done,
        };
        self.progress.set(self.step(round.counted()));
        next
    }
}

#[cfg(test)]
#[path = "driver_tests.rs"]
mod tests;
