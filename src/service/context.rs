//! What a service sees of a connection during a call, and what it asks for.

use super::ServiceState;
use crate::conn::broadcast::{Audience, Follower};
use crate::conn::delivery::{Full, Outcome, Pusher, Sender};
use crate::conn::invitations::Invitations;
use crate::conn::outbox::Outbox;
use crate::conn::slab::ConnId;
use crate::tcp::CloseReason;
use crate::tcp::keepalive::Profile;
use crate::time::{Duration, Instant};
use crate::wire::addr::{Address, Endpoint};

/// A service's view of one connection during a call.
pub struct Context<'a> {
    pub(crate) id: ConnId,
    pub(crate) now: Instant,
    pub(crate) tag: u8,
    pub(crate) remote: (&'a Address, u16),
    pub(crate) local: (&'a Address, u16),
    pub(crate) state: &'a mut ServiceState,
    pub(crate) output: &'a mut [u8],
    pub(crate) answer: &'a mut Answer,
    pub(crate) invitations: &'a mut Invitations,
    pub(crate) outbox: &'a mut Outbox,
}

/// What the service wants: to send so many bytes of the output, and the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) written: usize,
    /// The FIN is to follow.
    pub(crate) closing: bool,
    /// What the peer still sends is to be taken and forgotten.
    pub(crate) lingering: bool,
    /// Why this host closes, if the service says so.
    pub(crate) reason: Option<CloseReason>,
    /// The connection is to be reset at once; [`Answer::closing`] is set too.
    pub(crate) aborting: bool,
    /// There is more to send than there was room for.
    pub(crate) wants_room: bool,
    pub(crate) wake: Option<Wake>,
    pub(crate) profile: Option<Profile>,
}

impl Answer {
    /// Whether bytes are all that the service wants to send, and it wants nothing else.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        let asks = self.wants_room || self.wake.is_some() || self.profile.is_some();
        !(self.closing || asks)
    }
}

/// What becomes of the connection's wake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    At(Instant),
    Never,
}

impl Context<'_> {
    /// The connection's name.
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// The time of this call.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Which service was chosen for the connection, as the embedder numbered them.
    pub fn tag(&self) -> u8 {
        self.tag
    }

    /// The peer's endpoint.
    pub fn remote(&self) -> Endpoint {
        let (&addr, port) = self.remote;
        Endpoint { addr, port }
    }

    /// This host's endpoint.
    pub fn local(&self) -> Endpoint {
        let (&addr, port) = self.local;
        Endpoint { addr, port }
    }

    /// The service's own memory of this connection.
    pub fn state(&mut self) -> &mut ServiceState {
        self.state
    }

    /// How many more bytes can be sent now.
    pub fn room(&self) -> usize {
        if self.answer.closing { 0 } else { self.output.len() - self.answer.written }
    }

    /// Sends as much from the front of `bytes` as there is room for, and returns how much that was.
    #[inline]
    pub fn send(&mut self, bytes: &[u8]) -> usize {
        let len = bytes.len().min(self.room());
        let rest = &mut self.output[self.answer.written..];
        match rest.get_mut(..bytes.len()) {
            // Where the length is known beforehand, this is a store or two.
            Some(room) if len == bytes.len() => room.copy_from_slice(bytes),
            _ => rest[..len].copy_from_slice(&bytes[..len]),
        }
        self.answer.written += len;
        len
    }

    /// Sends what `write` writes into the room, of which it gets `most` bytes at most; returns how many
    /// bytes that were.
    ///
    /// # Errors
    ///
    /// Those of `write`; nothing is sent then.
    pub fn send_with<E>(
        &mut self,
        most: usize,
        write: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<usize, E> {
        let len = most.min(self.room());
        let start = self.answer.written;
        let written = write(&mut self.output[start..start + len])?.min(len);
        self.answer.written += written;
        Ok(written)
    }

    /// Asks for [`super::Service::on_room`] when there is room again: for what is longer than
    /// [`Context::room`], send what fits, ask, and go on there. It comes when what was sent has been
    /// acknowledged, or the queue of a promoted connection has become shorter; at the latest after a
    /// second, if nothing hindered the service from sending now.
    pub fn want_room(&mut self) {
        self.answer.wants_room = true;
    }

    /// Asks for [`super::Service::on_wake`] at `at`, in place of what was asked for before: a
    /// connection has one wake. It comes once, never early, and late by 34 ms at most while there is
    /// time for it; a moment that has passed is the next one, and one more than a year ahead is a year
    /// ahead. When this host closes, nobody is woken any more.
    ///
    /// A wake takes 4 bytes while it is set, and to move it costs more than to let it come: a service
    /// that waits for silence keeps when it last heard something, and asks again when woken too soon.
    pub fn wake_at(&mut self, at: Instant) {
        self.answer.wake = Some(Wake::At(at));
    }

    /// Asks for [`super::Service::on_wake`] after `duration`: see [`Context::wake_at`].
    pub fn wake_after(&mut self, duration: Duration) {
        self.wake_at(self.now + duration);
    }

    /// Asks not to be woken.
    pub fn no_wake(&mut self) {
        self.answer.wake = Some(Wake::Never);
    }

    /// Has [`super::Service::on_room`] called for another connection, `to`, as soon as there is room on
    /// it, and not at all when it ends before: how one connection has another say something. Returns
    /// whether there was a place for the request; if not, [`super::Service::on_turn`] is where to ask
    /// again.
    #[must_use]
    pub fn invite(&mut self, to: ConnId) -> bool {
        self.invitations.push(to)
    }

    /// Changes how the connection finds out that its peer has gone, from now on. A connection keeps
    /// what it had when there are too many different profiles, 256 with the services that they are
    /// for; `profiles_refused` counts it.
    pub fn set_keepalive(&mut self, profile: Profile) {
        self.answer.profile = Some(profile);
    }

    /// Has `bytes` sent to connection `to`, all or nothing, soon and behind those pushed to it before.
    /// What becomes of it is told with `note` ([`super::Service::on_pushed`]), and counted (`pushes_sent` and
    /// others in [`crate::engine::counters::Counters`]).
    ///
    /// # Errors
    ///
    /// [`Full`], when there is no room for it among what is to be sent. Nothing more is told then.
    pub fn push(&mut self, to: ConnId, bytes: &[u8], note: u64) -> Result<(), Full> {
        let pusher = Pusher { tag: self.tag, note };
        self.outbox.push(to, bytes, Sender::Service(pusher), self.now)
    }

    /// As [`Context::push`] to each connection of `to`, with the bytes kept once. Returns for how many it
    /// was accepted: for those from the front, until there was no more room. Of those, each is told.
    pub fn push_all(
        &mut self,
        to: impl IntoIterator<Item = ConnId>,
        bytes: &[u8],
        note: u64,
    ) -> usize {
        let pusher = Pusher { tag: self.tag, note };
        self.outbox.push_all(to, bytes, pusher, self.now)
    }

    /// Has `bytes` sent to every connection of `audience`, behind the broadcasts before it, with the bytes
    /// kept once. It looks at all connections for it. How far it is, and what came of it, is told with `note`
    /// ([`super::Service::on_broadcast`]).
    ///
    /// # Errors
    ///
    /// [`Full`], when there are too many broadcasts, or there is no room for the bytes. Nothing more is told
    /// then.
    pub fn broadcast(&mut self, audience: Audience, bytes: &[u8], note: u64) -> Result<(), Full> {
        let pusher = Pusher { tag: self.tag, note };
        self.outbox.broadcast(audience, bytes, Follower::Service(pusher))
    }

    /// Closes this host's direction after what was sent. Data that the peer still sends is answered
    /// with a reset.
    pub fn close(&mut self) {
        self.answer.closing = true;
    }

    /// Closes as [`Context::close`] does, but what the peer still sends is taken and forgotten, until it
    /// closes too, or for a minute: a reset could reach it before it has read what was sent (RFC 9112
    /// section 9.6).
    pub fn close_and_linger(&mut self) {
        self.answer.lingering = true;
        self.close();
    }

    /// Closes as [`Context::close`] does, and has the end counted under `reason`, however the peer
    /// takes it; [`super::Service::on_close`] hears it too.
    pub fn close_for(&mut self, reason: CloseReason) {
        self.answer.reason = self.answer.reason.or(Some(reason));
        self.close();
    }

    /// Ends the connection with a reset when this call returns (RFC 9293 section 3.10.5). What was
    /// sent and not acknowledged may be lost, and what was sent in this call is not sent.
    pub fn abort(&mut self) {
        self.answer.aborting = true;
        self.close();
    }

    /// Ends the connection as [`Context::abort`] does, and has it counted under `reason`.
    pub fn abort_for(&mut self, reason: CloseReason) {
        self.answer.reason = self.answer.reason.or(Some(reason));
        self.abort();
    }
}

/// What became of something that a service pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The tag of the connection on which the service pushed it.
    pub tag: u8,
    /// What the service called it.
    pub note: u64,
    /// Whom it was for.
    pub to: ConnId,
    /// What became of it.
    pub outcome: Outcome,
}

/// What a service sees between calls for connections.
pub struct Turn<'a> {
    pub(crate) now: Instant,
    pub(crate) invitations: &'a mut Invitations,
}

impl Turn<'_> {
    /// The time of this call.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// As [`Context::invite`].
    #[must_use]
    pub fn invite(&mut self, to: ConnId) -> bool {
        self.invitations.push(to)
    }
}
