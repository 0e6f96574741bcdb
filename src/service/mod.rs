//! What runs on a connection.
//!
//! A [`Service`] is a plain type whose methods the engine calls; its memory for each connection is
//! eight bytes in the record. It performs no I/O: it looks at bytes in place and writes its answer
//! into a [`Context`].
//!
//! - `context`: what a service sees of a connection during a call, and what it asks for
//! - [`builtin`]: the services of `tenmil serve`, chosen by name
//! - [`settings`]: what the query of a `--listen` URL sets
//! - [`mod@echo`], [`discard`]: what comes is sent back, or forgotten
//! - [`mod@line`]: the heartbeat of lines: `PING` and `PONG`
//! - [`http`]: HTTP/1.0 and 1.1: files and a health check
//! - [`mod@mqtt`]: a server of MQTT 3.1.1 and 5.0
//! - [`ws`]: WebSocket; [`dubbo`]: the heartbeats of Dubbo 2
//! - [`silence`]: how long a peer has been silent, and what is due then
//! - [`unasked`]: what is said to clients that did not ask
//! - [`by_hand`]: for tests: a connection without an engine
//! - [`periods`]: whether keepalive and heartbeats complement each other

pub mod builtin;
pub mod by_hand;
mod context;
pub mod discard;
pub mod dubbo;
pub mod echo;
pub mod http;
pub mod line;
pub mod mqtt;
pub mod periods;
pub mod settings;
pub mod silence;
pub mod unasked;
pub mod ws;

pub(crate) use context::{Answer, Wake};
pub use context::{Context, Pushed, Turn};

use crate::conn::broadcast::Progress;
use crate::conn::flight::FLIGHT_LEN_MAX;
use crate::conn::slab::ConnId;
use crate::tcp::CloseReason;
use crate::time::Instant;
use unasked::{Published, Unpublished};

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
    /// the connection can be promoted, and otherwise not acknowledged. It is taken for the beginning of a
    /// message: a connection of whose peer nothing more comes for 7 seconds may have to give way to others.
    /// A service that waits for something else keeps what it needs and consumes all, or asks for room
    /// ([`Context::want_room`]).
    ///
    /// A service that answers checks [`Context::room`] first, and consumes only what it can answer.
    fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize;

    /// The moment asked for with [`Context::wake_at`] has come. That was once: who wants to be woken
    /// again asks again. There may be no room to send.
    fn on_wake(&mut self, conn: &mut Context<'_>) {
        let _ = conn;
    }

    /// There is room to send again, after [`Context::want_room`]. That was once: who has still more to
    /// send asks again.
    fn on_room(&mut self, conn: &mut Context<'_>) {
        let _ = conn;
    }

    /// The peer closed its direction. The service may still send; unless it overrides this, its own
    /// direction closes too.
    fn on_peer_close(&mut self, conn: &mut Context<'_>) {
        conn.close();
    }

    /// The connection has ended. This is the last call for `id`.
    fn on_close(&mut self, id: ConnId, tag: u8, state: ServiceState, reason: CloseReason) {
        let _ = (id, tag, state, reason);
    }

    /// Says what happened on the connections so far, each event by its name and how often it did.
    fn events(&self, tell: &mut dyn FnMut(&'static str, u64)) {
        let _ = tell;
    }

    /// Says how much is kept now besides the records, each number by its name. It is asked ten times a
    /// second at most, and does a bounded piece of work for it.
    fn usage(&mut self, tell: &mut dyn FnMut(&'static str, u64)) {
        let _ = tell;
    }

    /// When [`Service::on_turn`] is to be called, if it is. It is asked after every piece of work.
    fn next_turn(&self) -> Option<Instant> {
        None
    }

    /// The moment of [`Service::next_turn`] has come: for what is due although no connection is woken
    /// for it, such as what follows from one that has ended.
    fn on_turn(&mut self, turn: &mut Turn<'_>) {
        let _ = turn;
    }

    /// Whether connection `id`, one of those with `tag`, belongs to the topic `topic` of an
    /// [`Audience`](crate::conn::broadcast::Audience). It is asked for each connection of that tag when
    /// something is broadcast to the topic.
    fn is_subscribed(&self, topic: u64, id: ConnId, tag: u8, state: &ServiceState) -> bool {
        let _ = (topic, id, tag, state);
        false
    }

    /// Whether a connection that this host opened, with `tag` and `state`, has proved itself: that a server
    /// is there which does its work, and not only accepts. It is asked when the connection ends: who has
    /// not proved himself is waited for longer each time (see the module `client`).
    fn is_proved(&self, tag: u8, state: &ServiceState) -> bool {
        let _ = (tag, state);
        false
    }

    /// Whether what others push may be sent now on a connection with `tag` and `state`: not in the middle
    /// of what the service itself is sending in pieces, for instance. Until then it waits, as long as
    /// what is pushed may wait. Data sent by the connection's own calls, or by
    /// [`crate::engine::Engine::send`], is not asked about.
    fn takes_pushes(&self, tag: u8, state: &ServiceState) -> bool {
        let _ = (tag, state);
        true
    }

    /// What this service pushed with [`Context::push`] or [`Context::push_all`] has had this outcome: once
    /// for each connection. Of what was [`Outcome::Queued`](crate::conn::delivery::Outcome::Queued), it is
    /// told a second time if the connection ends before the peer has acknowledged all of it, before
    /// [`Service::on_close`]: that it is gone. The peer may have a part of it then.
    fn on_pushed(&mut self, pushed: Pushed) {
        let _ = pushed;
    }

    /// What this service broadcast with [`Context::broadcast`] on a connection with `tag`, and calls `note`, is so far.
    /// It is told whenever it has got on, the last time when `progress.is_done`: then every connection of the
    /// audience has its outcome, and if there is none (`progress.connections()`), nobody was in it.
    fn on_broadcast(&mut self, tag: u8, note: u64, progress: &Progress) {
        let _ = (tag, note, progress);
    }

    /// Has `message` published to `topic`, by nobody of the connections: at the service with `tag`, or at
    /// all that have topics. It goes to those who have subscribed.
    ///
    /// # Errors
    ///
    /// Why nothing was published; a service without topics says that it has none.
    fn on_publish(
        &mut self,
        turn: &mut Turn<'_>,
        tag: Option<u8>,
        topic: &str,
        message: &[u8],
    ) -> Result<Published, Unpublished> {
        let _ = (turn, tag, topic, message);
        Err(Unpublished::NoTopics)
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
