//! What runs on a connection.
//!
//! A [`Service`] is a plain type whose methods the engine calls; its memory for each connection is
//! eight bytes in the record. It performs no I/O: it looks at bytes in place and writes its answer
//! into a [`Context`].
//!
//! - [`builtin`]: the services of `tenmil serve`, chosen by name
//! - [`mod@line`]: the heartbeat of lines: `PING` and `PONG`

pub mod builtin;
pub mod line;

use crate::conn::broadcast::Audience;
use crate::conn::delivery::{Full, Sender};
use crate::conn::flight::FLIGHT_LEN_MAX;
use crate::conn::outbox::Outbox;
use crate::conn::slab::ConnId;
use crate::tcp::CloseReason;
use crate::time::Instant;

/// The service's own memory in a connection's record; all zero when the connection opens.
pub type ServiceState = [u8; 8];

/// The most that a peer may send at once where no connection can be promoted, in bytes, unless the
/// service asks for more with [`Service::receive_window`].
pub const RECEIVE_WINDOW: u16 = FLIGHT_LEN_MAX;

/// A protocol, or several, told apart by [`Context::tag`].
pub trait Service {
    /// The connection is established.
    fn on_open(&mut self, conn: &mut Context<'_>) {
        let _ = conn;
    }

    /// Data came, in order. Returns how many bytes from the front were consumed. The rest comes again,
    /// with what follows it, at the latest when some of what was sent is acknowledged: it is kept if
    /// the connection can be promoted, and otherwise not acknowledged.
    ///
    /// A service that answers checks [`Context::room`] first, and consumes only what it can answer.
    fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize;

    /// The peer closed its direction. The service may still send; unless it overrides this, its own
    /// direction closes too.
    fn on_peer_close(&mut self, conn: &mut Context<'_>) {
        conn.close();
    }

    /// The connection has ended. This is the last call for `id`.
    fn on_close(&mut self, id: ConnId, tag: u8, state: ServiceState, reason: CloseReason) {
        let _ = (id, tag, state, reason);
    }

    /// Whether connection `id`, one of those with `tag`, belongs to the [`Audience::Topic`] `topic`. It is
    /// asked for each connection of that tag when something is broadcast to the topic.
    fn is_subscribed(&self, topic: u64, id: ConnId, tag: u8, state: &ServiceState) -> bool {
        let _ = (topic, id, tag, state);
        false
    }

    /// How many bytes the peer may send before they are acknowledged, for connections with `tag`,
    /// where none can be promoted (`Config::promoted_max` is 0).
    /// A service that answers should not ask for more than it can answer in one flight, which is the
    /// default.
    fn receive_window(&self, tag: u8) -> u16 {
        let _ = tag;
        RECEIVE_WINDOW
    }
}

/// A service's view of one connection during a call.
pub struct Context<'a> {
    pub(crate) id: ConnId,
    pub(crate) now: Instant,
    pub(crate) tag: u8,
    pub(crate) state: &'a mut ServiceState,
    pub(crate) output: &'a mut [u8],
    pub(crate) written: usize,
    pub(crate) closing: bool,
    pub(crate) outbox: &'a mut Outbox,
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

    /// The service's own memory of this connection.
    pub fn state(&mut self) -> &mut ServiceState {
        self.state
    }

    /// How many more bytes can be sent now.
    pub fn room(&self) -> usize {
        if self.closing { 0 } else { self.output.len() - self.written }
    }

    /// Sends as much from the front of `bytes` as there is room for, and returns how much that was.
    pub fn send(&mut self, bytes: &[u8]) -> usize {
        let len = bytes.len().min(self.room());
        self.output[self.written..self.written + len].copy_from_slice(&bytes[..len]);
        self.written += len;
        len
    }

    /// Closes this host's direction after what was sent. Data that the peer still sends is answered
    /// with a reset.
    pub fn close(&mut self) {
        self.closing = true;
    }

    /// Has `bytes` sent to connection `to`, all or nothing, soon and behind those pushed to it before.
    /// What becomes of it is counted (`pushes_sent` and others in [`crate::engine::counters::Counters`]).
    ///
    /// # Errors
    ///
    /// [`Full`], when there is no room for it among what is to be sent.
    pub fn push(&mut self, to: ConnId, bytes: &[u8]) -> Result<(), Full> {
        self.outbox.push(to, bytes, Sender::Nobody, self.now)
    }

    /// As [`Context::push`] to each connection of `to`, with the bytes kept once. Returns for how many it
    /// was accepted: for those from the front, until there was no more room.
    pub fn push_all(&mut self, to: impl IntoIterator<Item = ConnId>, bytes: &[u8]) -> usize {
        self.outbox.push_all(to, bytes, self.now)
    }

    /// Has `bytes` sent to every connection of `audience`, behind the broadcasts before it, with the bytes
    /// kept once. It looks at all connections for it.
    ///
    /// # Errors
    ///
    /// [`Full`], when there are too many broadcasts, or there is no room for the bytes.
    pub fn broadcast(&mut self, audience: Audience, bytes: &[u8]) -> Result<(), Full> {
        self.outbox.broadcast(audience, bytes, None)
    }
}
