//! The engine: frames, timers and commands in; frames and calls of the service out.
//!
//! It owns no descriptor, clock or thread. There are four kinds of method, and the owner of an engine
//! calls them in rounds: [`Engine::handle_frames`] and [`Engine::handle_timers`] are the input;
//! commands ([`Engine::connect`], [`Engine::send`], [`Engine::close`], [`Engine::abort`]) may come between them; all of
//! them append the frames to send to a queue that the owner then hands to the link; and
//! [`Engine::next_timer`] says when to come back at the latest. `now` never goes back.
//!
//! A frame that goes in is either sent, as the answer, or given back to its pool, before the call
//! returns: between calls the engine owns no frame.
//!
//! - [`config`]: settings and limits; `classes`: services with their keepalive profiles
//! - [`counters`]: what is counted
//! - [`locals`]: owned addresses and listeners
//! - `command`: what an embedder does with a connection from outside the service
//! - `ingress`: from a batch of frames to connections and the control plane
//! - `open`: passive and active opens; `cookies`: passive ones without a record
//! - `calls`: of the service, and what it asks for in them
//! - `segment`: a segment for a connection, carried out as `tcp` decided
//! - `plain`: the same for what idle connections receive, the short way
//! - `egress`: what a connection sends: data, FIN, ACK, reset
//! - `push`: what services and other threads send to connections; `pushed`: what became of it, for services
//! - `promoted`: connections that a whole TCP socket carries for a while; `promoted_timers`: when those have
//!   something to do; `places`: who gets a place among them, and who gives way
//! - `timers`: retransmission, keepalive, FIN-WAIT-2, TIME-WAIT
//! - `icmp`: errors about segments sent, carried out as `tcp` decided
//! - `messages`: ARP, NDP, ICMP; `control`: the answers that smoltcp makes
//! - [`claims`]: whether anybody else has an owned address
//! - `neighbor`: asking for hardware addresses; `paths`: when they change
//! - `output`: frames going out; `quota`: how many may in a second, and who is let in

mod calls;
pub mod claims;
mod classes;
mod command;
pub mod config;
mod control;
mod cookies;
pub mod counters;
mod egress;
mod icmp;
mod ingress;
#[cfg(test)]
mod invariants;
pub mod locals;
mod messages;
mod neighbor;
mod open;
mod output;
mod paths;
mod places;
mod plain;
mod promoted;
mod promoted_timers;
mod push;
mod pushed;
mod quota;
mod segment;
mod timers;

use crate::conn::flight::{FLIGHT_LEN_MAX, Flights};
use crate::conn::outbox::Outbox;
use crate::conn::record::State;
use crate::conn::slab::ConnId;
use crate::conn::table::{OutOfMemory, Table};
use crate::conn::wheel::Wheel;
use crate::memory::array::PageKind;
use crate::service::{Service, ServiceState};
use crate::tcp::CloseReason;
use crate::tcp::cookie::CookieJar;
use crate::tcp::isn::IsnGenerator;
use crate::tcp::keepalive::Profile;
use crate::tcp::promoted::pool::Pool;
use crate::time::{Bucket, Instant, Tick};
use crate::wire::addr::FlowKey;
use claims::{Claim, Claims};
use classes::{Class, Classes};
use config::Config;
use control::ControlPlane;
use counters::Counters;
use locals::Locals;
use neighbor::Neighbors;
use quota::Quota;

pub use command::CommandError;
pub use open::ConnectError;

/// The most frames that [`Engine::handle_frames`] takes at once.
pub const BATCH_MAX: usize = 64;

/// A TCP stack for many idle connections, on each of which the service `S` runs.
pub struct Engine<S> {
    config: Config,
    service: S,
    locals: Locals,
    table: Table,
    flights: Flights,
    /// Times the records.
    wheel: Wheel,
    /// Times the flights.
    flight_wheel: Wheel,
    /// Connections carried by a socket, and what times them.
    promoted: Pool,
    promoted_wheel: Wheel,
    /// Looks for places among them when all are taken.
    hand: places::Hand,
    /// Promoted connections that took segments of the batch.
    due: Vec<u32>,
    isns: IsnGenerator,
    classes: Classes,
    cookies: CookieJar,
    /// When the last cookie was sent.
    cookie_sent: Option<Instant>,
    control: ControlPlane,
    neighbors: Neighbors,
    claims: Claims,
    /// What is to be sent besides answers.
    outbox: Outbox,
    pushes: push::Pushes,
    counters: Counters,
    /// Frames received when the timers last ran.
    rx_seen: u64,
    resets: Quota,
    accepts: Option<Bucket>,
    challenges: Quota,
    pings: Quota,
    batch: ingress::Batch,
    /// Whether plain segments go the whole way, too.
    #[cfg(test)]
    goes_whole_way: bool,
    /// What the service writes during a call.
    scratch: Box<[u8]>,
    /// Where what a promoted connection has not read is joined, when it lies in two pieces.
    joined: Box<[u8]>,
}

impl<S: Service> Engine<S> {
    /// An engine without connections, whose time is `now`.
    ///
    /// # Panics
    ///
    /// Where [`Engine::try_new`] has an error.
    pub fn new(config: Config, service: S, now: Instant) -> Engine<S> {
        Engine::try_new(config, service, now).expect("memory for the tables")
    }

    /// An engine without connections, whose time is `now`.
    ///
    /// # Errors
    ///
    /// When the system has no memory for the tables of as many connections as `config` asks for.
    pub fn try_new(config: Config, service: S, now: Instant) -> Result<Engine<S>, OutOfMemory> {
        let tick = Tick::of(now);
        let promoted = Pool::new(config.promoted_max, config.promoted_buffer, config.mtu);
        let (answer_max, joined_max) = match config.promoted_max {
            0 => (FLIGHT_LEN_MAX, 0),
            _ => (promoted.buffer(), promoted.buffer()),
        };
        Ok(Engine {
            locals: Locals::new(
                config.owned.clone(),
                config.listeners.clone(),
                config.gateways.clone(),
            ),
            table: Table::new(config.connections_max, config.prefix_limit, config.hash_secret)?,
            flights: Flights::new(config.flights_max),
            wheel: Wheel::new(tick),
            flight_wheel: Wheel::new(tick),
            promoted,
            promoted_wheel: Wheel::new(tick),
            hand: places::Hand::default(),
            due: Vec::with_capacity(BATCH_MAX),
            isns: IsnGenerator::new(config.isn_secret),
            classes: Classes::new(),
            cookies: CookieJar::new(config.isn_secret),
            cookie_sent: None,
            control: ControlPlane::new(config.mac),
            neighbors: Neighbors::new(config.mac, config.hash_secret),
            claims: Claims::new(&config.owned, config.claiming, config.hash_secret, now),
            outbox: Outbox::new(config.outbox, answer_max)
                .map_err(|_| OutOfMemory(config.connections_max))?,
            pushes: push::Pushes::default(),
            counters: Counters::default(),
            rx_seen: 0,
            resets: Quota::new(config.resets_per_second, config.hash_secret, 0),
            accepts: config.accept_rate.map(quota::accepts),
            challenges: Quota::new(config.challenges_per_second, config.hash_secret, 1),
            pings: Quota::new(config.pings_per_second, config.hash_secret, 2),
            batch: ingress::Batch::new(),
            #[cfg(test)]
            goes_whole_way: false,
            scratch: vec![0; usize::from(answer_max)].into(),
            joined: vec![0; usize::from(joined_max)].into(),
            service,
            config,
        })
    }

    /// How the connection in `slot` finds out that its peer has gone.
    fn profile(&self, slot: u32) -> &Profile {
        &self.classes[self.table.slab[slot].class].profile
    }

    /// The service.
    pub fn service(&self) -> &S {
        &self.service
    }

    /// The service, to give it work.
    pub fn service_mut(&mut self) -> &mut S {
        &mut self.service
    }

    /// The service's memory of connection `id`, while it lives.
    pub fn service_state(&mut self, id: ConnId) -> Option<&mut ServiceState> {
        let slot = self.table.slab.slot(id)?;
        Some(&mut self.table.slab[slot].service)
    }

    /// The state of connection `id`, while it lives.
    pub fn state(&self, id: ConnId) -> Option<State> {
        let slot = self.table.slab.slot(id)?;
        Some(self.table.slab[slot].state)
    }

    /// The service's tag of connection `id`, while it lives.
    pub fn tag(&self, id: ConnId) -> Option<u8> {
        let slot = self.table.slab.slot(id)?;
        Some(self.classes[self.table.slab[slot].class].tag)
    }

    /// The first connection in slot `cursor` or after it, and `cursor` set past it: to go through
    /// all connections in pieces, while they come and go.
    pub fn connection_from(&self, cursor: &mut u32) -> Option<ConnId> {
        while *cursor < self.slots() {
            let slot = *cursor;
            *cursor += 1;
            if let Some(id) = self.connection_at(slot) {
                return Some(id);
            }
        }
        None
    }

    /// The connection in slot `slot`, if there is one.
    pub fn connection_at(&self, slot: u32) -> Option<ConnId> {
        let is_used = slot < self.slots() && self.table.slab[slot].state != State::Free;
        is_used.then(|| self.table.slab.id(slot))
    }

    /// The connection between the endpoints of `flow`, if there is one.
    pub fn connection_between(&self, flow: &FlowKey) -> Option<ConnId> {
        let slot = self.table.find(flow, self.table.hash(flow))?;
        Some(self.table.slab.id(slot))
    }

    /// How many slots were ever used: every connection is in one below.
    pub fn slots(&self) -> u32 {
        self.table.slab.touched()
    }

    /// The pages that the tables of connections are in.
    pub fn page_kind(&self) -> PageKind {
        self.table.page_kind()
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        Counters {
            connections: u64::from(self.table.slab.len()),
            pushes_full: self.counters.pushes_full + self.outbox.refused,
            ..self.counters.clone()
        }
    }

    /// Whether this engine has its addresses to itself, and serves.
    pub fn claim(&self) -> Claim {
        self.claims.claim()
    }

    /// When [`Engine::handle_timers`] has something to do, at the latest; `None` while no timer runs.
    pub fn next_timer(&self, now: Instant) -> Option<Instant> {
        let wheels = [&self.wheel, &self.flight_wheel, &self.promoted_wheel];
        let due = wheels.map(Wheel::next_due);
        let due = due.into_iter().flatten().map(|tick| tick.start(now));
        let due = due.chain(self.claims.due()).chain(self.pushes_due(now));
        due.chain(self.next_turn(now)).min()
    }

    /// Moves a connection to another state, and keeps the gauges of states.
    fn set_state(&mut self, slot: u32, state: State) {
        let conn = &mut self.table.slab[slot];
        let was = conn.state;
        conn.state = state;
        match (was == State::SynReceived, state == State::SynReceived) {
            (false, true) => self.counters.half_open += 1,
            (true, false) => self.counters.half_open -= 1,
            _ => {}
        }
        match (was.can_send(), state.can_send()) {
            (false, true) => self.counters.established += 1,
            (true, false) => {
                conn.attempts = 0;
                self.counters.established -= 1;
                self.table.wakes.take(slot);
                self.table.waiting.take(slot);
            }
            _ => {}
        }
    }

    /// Ends a connection: tells the service unless it was told, and frees everything.
    fn remove(&mut self, slot: u32, reason: CloseReason) {
        self.lose_pushed(slot);
        let conn = self.table.slab[slot];
        if conn.state != State::TimeWait {
            self.tell_closed(slot, reason);
        }
        self.set_state(slot, State::TimeWait);
        self.drop_flight(slot);
        self.cancel_timer(slot);
        self.table.remove(slot);
    }

    /// Counts the end of a connection and tells the service. A connection that never was
    /// established to the service's knowledge only counts. Why the service has closed it, if it said
    /// so, is the reason of all that followed.
    fn tell_closed(&mut self, slot: u32, reason: CloseReason) {
        let conn = &self.table.slab[slot];
        let Class { tag, reason: said, .. } = self.classes[conn.class];
        let (id, state, reason) = (self.table.slab.id(slot), conn.service, said.unwrap_or(reason));
        self.counters.close(reason);
        let known = conn.state != State::SynReceived || conn.opens_simultaneously();
        if known {
            self.service.on_close(id, tag, state, reason);
        }
    }
}

#[cfg(test)]
mod tests;
