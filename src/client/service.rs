//! Clients that run any service, and come back.

use super::backoff::{Backoff, Jitter};
use super::dialer::Dialer;
use super::reasons::Reasons;
use super::routes::Routes;
use super::seats::{Record, Seats, Was};
use crate::conn::slab::ConnId;
use crate::conn::table::OutOfMemory;
use crate::engine::config::Config;
use crate::service::{Context, Service, ServiceState, Turn};
use crate::shard::secrets;
use crate::tcp::CloseReason;
use crate::time::{Duration, Instant};
use crate::wire::addr::Secret;
use rustix::io::Errno;

/// How long a handshake may take unless said otherwise, and a close.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How many handshakes and closes go on at once, at most, unless said otherwise.
pub const UNDERWAY_MAX: u32 = 1 << 16;

/// How many clients there are, and how they come back.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many.
    pub seats: u32,
    /// How long they wait.
    pub backoff: Backoff,
    /// How long a handshake may take, and a close.
    pub patience: Duration,
    /// No seat is tried for the first time while so many handshakes and closes go on: all at once would
    /// overflow every ring on the way.
    pub begin_max: u32,
    /// Nobody is tried at all while so many go on. Many more, since retries are spread by themselves, and a
    /// server that lets in so many a second has the others wait for seconds with their SYNs unanswered.
    pub underway_max: u32,
    /// Where the waits are drawn from; from the system's random numbers unless given, as a test does.
    pub seed: Option<u64>,
}

impl Default for Plan {
    /// One client, with 20 seconds for its handshake.
    fn default() -> Plan {
        Plan {
            seats: 1,
            backoff: Backoff::default(),
            patience: PATIENCE,
            begin_max: 1_024,
            underway_max: UNDERWAY_MAX,
            seed: None,
        }
    }
}

/// Why a client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no memory for so many seats.
    #[error(transparent)]
    Memory(#[from] OutOfMemory),
    /// There is no random source for the waits.
    #[error("no random numbers for the waits: {0}")]
    Random(#[from] Errno),
    /// There are fewer records than seats.
    #[error("{seats} clients need as many connections, and connections_max is {slots}")]
    TooFewConnections {
        /// How many seats there are to be.
        seats: u32,
        /// How many connections the engine has room for.
        slots: u32,
    },
}

/// A service on connections that this host opens, and opens again when they end; the [`Dialer`] that is
/// made with it does that. It is the service of an engine of its own, without listeners.
///
/// A connection that the service closes is opened again, too: [`Client::stop`] ends that. One that this host
/// closes first keeps its record for TIME-WAIT, so a service that does so needs more records than seats
/// (`Config::connections_max`); one that aborts does not.
pub struct Client<S> {
    service: S,
    seats: Seats,
    failed: Reasons,
    lost: Reasons,
}

impl<S: Service> Client<S> {
    /// Clients that run `service`, and the driver that opens their connections where `routes` says, for an
    /// engine with `config`.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub fn new<R: Routes>(
        plan: &Plan,
        config: &Config,
        routes: R,
        service: S,
    ) -> Result<(Client<S>, Dialer<R>), ClientError> {
        let (count, slots) = (plan.seats, config.connections_max);
        if count > slots {
            return Err(ClientError::TooFewConnections { seats: count, slots });
        }
        let jitter = plan.seed.map_or_else(draw_jitter, |seed| Ok(Jitter(seed)))?;
        let seats = Seats::new(count, slots, plan.backoff, plan.patience, jitter)?;
        let client =
            Client { service, seats, failed: Reasons::default(), lost: Reasons::default() };
        Ok((client, Dialer::new(routes, plan.begin_max, plan.underway_max)))
    }

    /// The service.
    pub fn service(&self) -> &S {
        &self.service
    }

    /// The service, to give it work.
    pub fn service_mut(&mut self) -> &mut S {
        &mut self.service
    }

    /// The seats.
    pub fn seats(&self) -> &Seats {
        &self.seats
    }

    pub(super) fn seats_mut(&mut self) -> &mut Seats {
        &mut self.seats
    }

    /// What became of them.
    pub fn record(&self) -> &Record {
        self.seats.record()
    }

    /// Attempts that came to no open connection, by reason.
    pub fn failed(&self) -> &Reasons {
        &self.failed
    }

    /// Open connections that ended, by reason.
    pub fn lost(&self) -> &Reasons {
        &self.lost
    }

    /// Connections that end from now on are not opened again.
    pub fn stop(&mut self) {
        self.seats.stop();
    }

    pub(super) fn count_failed(&mut self, reason: CloseReason) {
        self.failed.count(reason);
    }

    /// Notes whether the service has closed in a call.
    fn after(&mut self, conn: &mut Context<'_>) {
        if conn.answer.closing {
            let (slot, now, tag) = (conn.id().index(), conn.now(), conn.tag());
            let is_proved = self.service.is_proved(tag, conn.state());
            self.seats.closing(slot, now, is_proved);
        }
    }
}

/// A first number of the system's.
pub(crate) fn draw_jitter() -> Result<Jitter, Errno> {
    let Secret([a, b, c, d, e, f, g, h, ..]) = secrets::draw()?;
    Ok(Jitter(u64::from_ne_bytes([a, b, c, d, e, f, g, h])))
}

impl<S: Service> Service for Client<S> {
    fn on_open(&mut self, conn: &mut Context<'_>) {
        self.seats.opened(conn.id().index(), conn.now());
        self.service.on_open(conn);
        self.after(conn);
    }

    fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
        let taken = self.service.on_data(conn, bytes);
        self.after(conn);
        taken
    }

    fn on_wake(&mut self, conn: &mut Context<'_>) {
        self.service.on_wake(conn);
        self.after(conn);
    }

    fn on_room(&mut self, conn: &mut Context<'_>) {
        self.service.on_room(conn);
        self.after(conn);
    }

    fn on_peer_close(&mut self, conn: &mut Context<'_>) {
        self.service.on_peer_close(conn);
        self.after(conn);
    }

    fn on_close(&mut self, id: ConnId, tag: u8, state: ServiceState, reason: CloseReason) {
        match self.seats.ended(id.index(), self.service.is_proved(tag, &state)) {
            Was::Dialing => self.failed.count(reason),
            Was::Open => self.lost.count(reason),
            Was::Nobodys => {}
        }
        self.service.on_close(id, tag, state, reason);
    }

    fn events(&self, tell: &mut dyn FnMut(&'static str, u64)) {
        let &Record { retries, reconnects, outages, .. } = self.record();
        tell("retries", retries);
        tell("reconnects", reconnects);
        tell("outages", outages);
        self.service.events(tell);
    }

    fn next_turn(&self) -> Option<Instant> {
        self.service.next_turn()
    }

    fn on_turn(&mut self, turn: &mut Turn<'_>) {
        self.service.on_turn(turn);
    }

    fn is_subscribed(&self, topic: u64, id: ConnId, tag: u8, state: &ServiceState) -> bool {
        self.service.is_subscribed(topic, id, tag, state)
    }

    fn takes_pushes(&self, tag: u8, state: &ServiceState) -> bool {
        self.service.takes_pushes(tag, state)
    }

    fn receive_window(&self, tag: u8) -> u16 {
        self.service.receive_window(tag)
    }
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
