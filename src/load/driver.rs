//! Opens connections, sends a heartbeat on each when it is due, and closes them.

use super::heartbeat::{self, Heartbeat};
use super::progress::{Phase, Progress};
use super::sources::Sources;
use crate::engine::{CommandError, ConnectError, Engine};
use crate::frame::Frame;
use crate::link::Link;
use crate::service::line::PING;
use crate::shard::{Driver, Next};
use crate::time::{Duration, Instant};
use crate::wire::addr::Endpoint;
use std::sync::Arc;

/// Connections that are being opened or closed at once: what the rings of both sides hold.
const UNDERWAY_MAX: u64 = 512;

/// Commands in one round: what leaves room in the queue for answers.
const COMMANDS_PER_ROUND: u64 = 64;

/// How long nothing may happen before what is missing counts as failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many connections to open.
    pub connections: u64,
    /// Where to.
    pub target: Endpoint,
    /// Where from.
    pub sources: Sources,
    /// Heartbeats a second over all connections, at a steady pace.
    pub heartbeats_per_second: u64,
}

/// What came of it, besides what [`Heartbeat`] counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// Connections attempted.
    pub attempted: u64,
    /// Heartbeats sent.
    pub sent: u64,
    /// From the first SYN until the last connection was established.
    pub connect_time: Duration,
    /// Whether the target's hardware address was found.
    pub target_found: bool,
}

/// The driver of a client's shard.
pub struct LoadDriver {
    plan: Plan,
    progress: Arc<Progress>,
    outcome: Outcome,
    phase: Phase,
    /// When the phase began.
    began: Instant,
    /// The last count of what moves in this phase, and when it moved.
    moved: (u64, Instant),
    /// The next slot to send on or to close, in those phases.
    cursor: u32,
    /// Whether a heartbeat was sent on every connection.
    swept: bool,
}

impl LoadDriver {
    /// A driver that reports to `progress`.
    pub fn new(plan: Plan, progress: Arc<Progress>) -> LoadDriver {
        LoadDriver {
            plan,
            progress,
            outcome: Outcome::default(),
            phase: Phase::Connecting,
            began: Instant::ZERO,
            moved: (0, Instant::ZERO),
            cursor: 0,
            swept: false,
        }
    }

    /// What came of the plan so far.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    fn enter(&mut self, phase: Phase, now: Instant) {
        self.phase = phase;
        self.began = now;
        self.moved = (0, now);
        self.cursor = 0;
    }

    /// Whether `count` has stood still for too long.
    fn is_stuck(&mut self, count: u64, now: Instant) -> bool {
        if count != self.moved.0 {
            self.moved = (count, now);
        }
        now.since(self.moved.1) > PATIENCE
    }

    fn connect<L: Link>(
        &mut self,
        now: Instant,
        engine: &mut Engine<Heartbeat>,
        link: &mut L,
        tx: &mut Vec<Frame>,
    ) -> Next {
        let Heartbeat { opened, failed, .. } = *engine.service();
        let settled = opened + failed;
        if opened > 0 && settled == self.outcome.attempted {
            self.outcome.connect_time = now.since(self.began);
        }
        let all_attempted = self.outcome.attempted == self.plan.connections;
        if (all_attempted && settled == self.plan.connections) || self.is_stuck(settled, now) {
            self.enter(Phase::Held, now);
            return Next::Now;
        }
        if self.outcome.attempted == 0 {
            // Until the target is found, nothing was begun.
            self.began = now;
        }
        let underway = self.outcome.attempted - settled;
        let missing = self.plan.connections - self.outcome.attempted;
        for _ in 0..missing.min(UNDERWAY_MAX - underway.min(UNDERWAY_MAX)).min(COMMANDS_PER_ROUND) {
            let Some(source) = self.plan.sources.peek() else { break };
            match engine.connect(source, self.plan.target, 0, now, link, tx) {
                Ok(_) => self.outcome.attempted += 1,
                Err(ConnectError::InUse) => {}
                Err(_) => return Next::At(now + Duration::from_millis(10)),
            }
            self.outcome.target_found = true;
            self.plan.sources.advance();
        }
        Next::At(now + Duration::from_millis(10))
    }

    /// Sends the heartbeats that are due. The pace is fixed beforehand: a late answer, or a late
    /// round, delays none of them, and their latency counts from when they were due.
    fn beat<L: Link>(
        &mut self,
        now: Instant,
        engine: &mut Engine<Heartbeat>,
        link: &mut L,
        tx: &mut Vec<Frame>,
    ) -> Next {
        for _ in 0..COMMANDS_PER_ROUND {
            let due = self.began + self.interval_times(self.outcome.sent);
            if self.swept || due > now {
                break;
            }
            let Some(id) = engine.connection_from(&mut self.cursor) else {
                self.swept = true;
                break;
            };
            let Some(state) = engine.service_state(id).copied().filter(heartbeat::is_idle) else {
                continue;
            };
            match engine.send(id, PING, now, link, tx) {
                Ok(()) => {
                    self.outcome.sent += 1;
                    let state = engine.service_mut().expect_answer(state, due);
                    engine.service_state(id).expect("it was just sent on").copy_from_slice(&state);
                }
                // It ended meanwhile, and is counted as that.
                Err(CommandError::Gone) => {}
                Err(CommandError::Busy) => {
                    self.cursor -= 1;
                    break;
                }
            }
        }
        let awaited = engine.service().awaited;
        let stuck = self.is_stuck(self.outcome.sent - awaited, now);
        if (self.swept && awaited == 0) || stuck {
            self.enter(Phase::Closing, now);
            return Next::Now;
        }
        match self.swept {
            true => Next::At(now + Duration::from_millis(10)),
            false => Next::At(self.began + self.interval_times(self.outcome.sent)),
        }
    }

    fn interval_times(&self, n: u64) -> Duration {
        let nanos = u128::from(n) * 1_000_000_000 / u128::from(self.plan.heartbeats_per_second);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn close<L: Link>(
        &mut self,
        now: Instant,
        engine: &mut Engine<Heartbeat>,
        link: &mut L,
        tx: &mut Vec<Frame>,
    ) -> Next {
        let Heartbeat { opened, ended, .. } = *engine.service();
        if ended >= opened || self.is_stuck(ended, now) {
            self.enter(Phase::Done, now);
            return Next::Now;
        }
        let closing = u64::from(self.cursor).saturating_sub(ended);
        for _ in 0..UNDERWAY_MAX.saturating_sub(closing).min(COMMANDS_PER_ROUND) {
            let Some(id) = engine.connection_from(&mut self.cursor) else { break };
            if engine.close(id, now, link, tx) == Err(CommandError::Busy) {
                self.cursor -= 1;
                break;
            }
        }
        Next::At(now + Duration::from_millis(10))
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
        let next = match self.phase {
            Phase::Connecting => self.connect(now, engine, link, tx),
            Phase::Held if self.progress.may_go_on() => {
                self.enter(Phase::Heartbeats, now);
                Next::Now
            }
            Phase::Held => Next::At(now + Duration::from_millis(10)),
            Phase::Heartbeats => self.beat(now, engine, link, tx),
            Phase::Closing => self.close(now, engine, link, tx),
            Phase::Done => Next::Done,
        };
        let service = engine.service();
        let done = match self.phase {
            Phase::Connecting | Phase::Held => service.opened,
            Phase::Heartbeats => service.answered,
            Phase::Closing | Phase::Done => service.ended,
        };
        self.progress.set(self.phase, done);
        next
    }
}

#[cfg(test)]
#[path = "driver_tests.rs"]
mod tests;
