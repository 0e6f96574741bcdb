//! Opens connections: one after the other, at the pace that it is given.

use super::flows::{Flows, Target};
use super::heartbeat::Parted;
use super::round::Round;
use crate::conn::slab::ConnId;
use crate::engine::ConnectError;
use crate::link::Link;
use crate::tcp::CloseReason;
use crate::time::{Duration, Instant};
use crate::wire::addr::Endpoint;

/// How long a target may take to answer a connection request before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// The connection was begun, or cannot be: either way it will be counted.
    Made,
    /// Not now: the hardware address of the way to this target is not known, or all is in use.
    Later(Option<Endpoint>),
}

/// The pairs used so far, and the handshakes that go on.
#[derive(Debug)]
pub(super) struct Opening {
    /// The pair that is next.
    next: u64,
    /// Handshakes that go on, in the order of their beginning, and among them such as are over.
    handshakes: Vec<(ConnId, Instant)>,
    /// Handshakes given up here.
    given_up: u64,
}

impl Opening {
    /// For at most `underway_max` handshakes at once.
    pub(super) fn new(underway_max: u64) -> Opening {
        let room = usize::try_from(2 * underway_max).unwrap_or(0).max(2);
        Opening { next: 0, handshakes: Vec::with_capacity(room), given_up: 0 }
    }

    /// How many handshakes were given up.
    pub(super) fn given_up(&self) -> u64 {
        self.given_up
    }

    /// Opens the next connection, which was to be opened at `due`.
    pub(super) fn open<L: Link>(
        &mut self,
        flows: &Flows,
        due: Instant,
        round: &mut Round<'_, L>,
    ) -> Attempt {
        while round.has_command() {
            let (source, target) = flows.get(self.next);
            match round.connect(source, target.endpoint, target.service, due) {
                Ok(id) => self.begun(id, round),
                // An earlier connection with the same endpoints still goes on, or lies in TIME-WAIT.
                Err(ConnectError::InUse) => {
                    self.next += 1;
                    continue;
                }
                Err(ConnectError::Resolving) => return Attempt::Later(Some(target.endpoint)),
                Err(ConnectError::Full) => return Attempt::Later(None),
                Err(
                    ConnectError::NotOwned | ConnectError::NotUnicast | ConnectError::Unreachable,
                ) => round.engine.service_mut().failed.count(CloseReason::Unreachable),
            }
            self.next += 1;
            return Attempt::Made;
        }
        Attempt::Later(None)
    }

    /// Opens `parted` anew, between the same endpoints: where it was closed by the server, only that
    /// remembers it, and a new SYN opens it again (RFC 9293 section 3.6.1).
    pub(super) fn reopen<L: Link>(&mut self, parted: Parted, round: &mut Round<'_, L>) -> Attempt {
        let Parted { local, target: Target { service, endpoint } } = parted;
        match round.connect(local, endpoint, service, round.now) {
            Ok(id) => self.begun(id, round),
            Err(ConnectError::Resolving) => return Attempt::Later(Some(endpoint)),
            // It has not ended yet.
            Err(ConnectError::InUse | ConnectError::Full) => return Attempt::Later(None),
            Err(ConnectError::NotOwned | ConnectError::NotUnicast | ConnectError::Unreachable) => {
                round.engine.service_mut().failed.count(CloseReason::Unreachable);
            }
        }
        Attempt::Made
    }

    fn begun<L: Link>(&mut self, id: ConnId, round: &mut Round<'_, L>) {
        if self.handshakes.len() == self.handshakes.capacity() {
            self.handshakes.retain(|&(id, _)| round.is_opening(id));
        }
        // Not more than are allowed at once, and so fewer than there is room for.
        self.handshakes.push((id, round.now));
    }

    /// Gives up the handshakes that have gone on for too long.
    pub(super) fn give_up_late<L: Link>(&mut self, round: &mut Round<'_, L>) {
        let is_late = |began: Instant| round.now.since(began) > PATIENCE;
        if !self.handshakes.first().is_some_and(|&(_, began)| is_late(began)) {
            return;
        }
        let now = round.now;
        self.handshakes.retain(|&(id, began)| {
            if !round.is_opening(id) {
                return false;
            }
            let is_late = now.since(began) > PATIENCE;
            if is_late {
                self.given_up += 1;
                round.abort(id, CloseReason::UserTimeout);
            }
            !is_late
        });
    }
}
