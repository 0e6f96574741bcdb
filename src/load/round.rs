//! One round of a driver: what it works with, and what it may do in it.

use super::heartbeat::Heartbeat;
use super::state::Client;
use crate::client::exchange;
use crate::client::seats::Seats;
use crate::conn::slab::ConnId;
use crate::engine::{CommandError, ConnectError, Engine};
use crate::frame::Frame;
use crate::link::Link;
use crate::service::builtin::Builtin;
use crate::tcp::CloseReason;
use crate::time::Instant;
use crate::wire::addr::Endpoint;

/// Commands in one round, at most: what leaves room in the queue for answers.
const COMMANDS_MAX: usize = 64;

/// Slots looked at in one round, at most.
const SLOTS_MAX: usize = 4096;

/// An engine in the client role, and its link, for one round.
pub(super) struct Round<'a, L> {
    pub(super) now: Instant,
    pub(super) engine: &'a mut Engine<Heartbeat>,
    link: &'a mut L,
    tx: &'a mut Vec<Frame>,
    commands: usize,
    slots: usize,
}

impl<'a, L: Link> Round<'a, L> {
    pub(super) fn new(
        now: Instant,
        engine: &'a mut Engine<Heartbeat>,
        link: &'a mut L,
        tx: &'a mut Vec<Frame>,
    ) -> Round<'a, L> {
        // Half of what is free stays for answers.
        let commands = COMMANDS_MAX.min((tx.capacity() - tx.len()) / 2);
        Round { now, engine, link, tx, commands, slots: SLOTS_MAX }
    }

    /// What the service has counted.
    pub(super) fn counted(&self) -> &Heartbeat {
        self.engine.service()
    }

    /// The seats, where connections are opened again.
    pub(super) fn seats(&mut self) -> Option<&mut Seats> {
        self.engine.service_mut().seats.as_mut()
    }

    /// Whether another command fits into this round.
    pub(super) fn has_command(&self) -> bool {
        self.commands > 0
    }

    /// Whether another slot can be looked at in this round.
    pub(super) fn has_slot(&self) -> bool {
        self.slots > 0
    }

    /// The connection in `slot`, if there is one, and what is known of it.
    pub(super) fn look(&mut self, slot: u32) -> Option<(ConnId, Client)> {
        self.slots = self.slots.saturating_sub(1);
        let id = self.engine.connection_at(slot)?;
        let state = self.engine.service_state(id)?;
        Some((id, Client::load(*state)))
    }

    /// Notes what is known of a connection, if it still lives.
    pub(super) fn note(&mut self, id: ConnId, client: Client) {
        if let Some(state) = self.engine.service_state(id) {
            *state = client.store();
        }
    }

    /// Whether the handshake of `id` goes on.
    pub(super) fn is_opening(&mut self, id: ConnId) -> bool {
        self.engine.service_state(id).is_some_and(|state| !Client::load(*state).open)
    }

    /// Opens a connection that was to be opened at `due`.
    pub(super) fn connect(
        &mut self,
        local: Endpoint,
        remote: Endpoint,
        service: Builtin,
        due: Instant,
    ) -> Result<ConnId, ConnectError> {
        self.commands = self.commands.saturating_sub(1);
        let Round { now, engine, link, tx, .. } = self;
        let id = engine.connect(local, remote, service.tag(), *now, *link, tx)?;
        self.note(id, Client::opening(due));
        Ok(id)
    }

    /// Sends on a connection.
    pub(super) fn send(&mut self, id: ConnId, bytes: &[u8]) -> Result<(), CommandError> {
        self.commands = self.commands.saturating_sub(1);
        self.engine.send(id, bytes, self.now, self.link, self.tx)
    }

    /// Closes this side of a connection, of which `client` is known: says goodbye where there is a word
    /// for it, and leaves TCP's close to the server where the server closes first.
    pub(super) fn close(&mut self, id: ConnId, client: Client) -> Result<(), CommandError> {
        self.commands = self.commands.saturating_sub(1);
        let service = Builtin::of_tag(self.engine.tag(id).ok_or(CommandError::Gone)?);
        let goodbye = exchange::goodbye(service);
        let Round { now, engine, link, tx, .. } = self;
        if exchange::server_closes_first(service) {
            engine.send(id, &goodbye, *now, *link, tx)?;
        } else {
            engine.send_last(id, &goodbye, *now, *link, tx)?;
        }
        self.note(id, Client { closing: true, ..client });
        Ok(())
    }

    /// Gives a connection up.
    pub(super) fn abort(&mut self, id: ConnId, reason: CloseReason) {
        self.commands = self.commands.saturating_sub(1);
        // It may have ended already.
        let _ = self.engine.abort(id, reason, self.link, self.tx);
    }
}
