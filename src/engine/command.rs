//! Commands: what an embedder does with a connection from outside the service.

use super::Engine;
use super::classes::Class;
use super::output::Output;
use super::push::Words;
use crate::conn::record::{CLOSE_DUE, NONE, State};
use crate::conn::slab::ConnId;
use crate::frame::{Frame, FramePool};
use crate::service::Service;
use crate::tcp::CloseReason;
use crate::tcp::keepalive::Profile;
use crate::time::Instant;

/// Why a command was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The connection has ended, or is closing.
    #[error("the connection has ended")]
    Gone,
    /// There is more in flight than leaves room, the peer's window is too small, or every flight or
    /// profile is in use: try again when the peer has answered.
    #[error("the connection cannot do that now")]
    Busy,
}

impl<S: Service> Engine<S> {
    /// Sends `bytes` on an established connection, all or nothing.
    ///
    /// # Errors
    ///
    /// `Gone` when the connection cannot be sent to any more; `Busy` when it cannot now, or when
    /// `bytes` are more than a promoted connection holds, or, if it cannot be promoted, than one
    /// flight and the peer's window take.
    pub fn send<P: FramePool>(
        &mut self,
        id: ConnId,
        bytes: &[u8],
        now: Instant,
        pool: &mut P,
        tx: &mut Vec<Frame>,
    ) -> Result<(), CommandError> {
        let slot = self.writable(id)?;
        let mut output = Output::new(pool, tx);
        self.find_flight(slot, now, &mut output);
        self.hand_over(slot, &Words::Of(bytes), now, &mut output).map(drop)
    }

    /// Sends `bytes` on an established connection and closes this host's direction behind them, all or
    /// nothing.
    ///
    /// # Errors
    ///
    /// `Gone` when the connection cannot be sent to any more; `Busy` when there is no room for `bytes` now.
    pub fn send_last<P: FramePool>(
        &mut self,
        id: ConnId,
        bytes: &[u8],
        now: Instant,
        pool: &mut P,
        tx: &mut Vec<Frame>,
    ) -> Result<(), CommandError> {
        let slot = self.writable(id)?;
        let mut output = Output::new(pool, tx);
        if !self.find_flight(slot, now, &mut output) || bytes.len() > self.room(slot) {
            return Err(CommandError::Busy);
        }
        self.scratch[..bytes.len()].copy_from_slice(bytes);
        self.transmit(slot, bytes.len(), true, now, &mut output);
        Ok(())
    }

    /// Closes this host's direction of a connection.
    ///
    /// # Errors
    ///
    /// `Gone` when that is done already; `Busy` when every flight is in use.
    pub fn close<P: FramePool>(
        &mut self,
        id: ConnId,
        now: Instant,
        pool: &mut P,
        tx: &mut Vec<Frame>,
    ) -> Result<(), CommandError> {
        self.send_last(id, b"", now, pool, tx)
    }

    /// Ends a connection at once with a reset (RFC 9293 section 3.10.5); the service hears `reason`:
    /// [`CloseReason::HeartbeatMissed`] is the embedder's to find, and [`CloseReason::Evicted`] its too.
    /// What was sent and not acknowledged may be lost.
    ///
    /// # Errors
    ///
    /// `Gone` when it has ended already.
    pub fn abort<P: FramePool>(
        &mut self,
        id: ConnId,
        reason: CloseReason,
        pool: &mut P,
        tx: &mut Vec<Frame>,
    ) -> Result<(), CommandError> {
        let slot = self.table.slab.slot(id).ok_or(CommandError::Gone)?;
        // Before the peer has answered there is nobody to reset, and when both sides have closed
        // nobody any more.
        if !matches!(
            self.table.slab[slot].state,
            State::SynSent | State::Closing | State::LastAck | State::TimeWait
        ) {
            self.reset(slot, &mut Output::new(pool, tx));
        }
        self.remove(slot, reason);
        Ok(())
    }

    /// Changes how a living connection finds out that its peer has gone. What was counted stays:
    /// a peer silent for longer than the new keepalive time is probed at once.
    ///
    /// # Errors
    ///
    /// `Gone` when the connection has ended or is closing; `Busy` when there are too many different
    /// profiles, 256 with the services that they are for.
    pub fn set_profile(
        &mut self,
        id: ConnId,
        profile: Profile,
        now: Instant,
    ) -> Result<(), CommandError> {
        let slot = self.writable(id)?;
        self.change_profile(slot, profile, now).then_some(()).ok_or(CommandError::Busy)
    }

    /// The same for the connection in `slot`; false when there are too many different profiles.
    pub(super) fn change_profile(&mut self, slot: u32, profile: Profile, now: Instant) -> bool {
        let class = Class { profile, ..self.classes[self.table.slab[slot].class] };
        let Some(number) = self.classes.number(class) else { return false };
        self.table.slab[slot].class = number;
        self.start_timer(slot);
        let conn = &self.table.slab[slot];
        match (conn.promoted(), conn.flight) {
            (Some(index), _) => self.schedule_promoted(slot, index, now),
            (None, NONE) => {}
            (None, flight) => self.restart_flight_timer(flight, now),
        }
        true
    }

    /// The slot of `id` if data can still be sent on it.
    pub(super) fn writable(&self, id: ConnId) -> Result<u32, CommandError> {
        let slot = self.table.slab.slot(id).ok_or(CommandError::Gone)?;
        let conn = &self.table.slab[slot];
        let open = conn.state.can_send() && !conn.has(CLOSE_DUE);
        open.then_some(slot).ok_or(CommandError::Gone)
    }
}
