//! The stack under test: an engine with its frames, its clock and a service that takes notes.

use std::net::IpAddr;
use std::time::Duration;

use tenmil::conn::record::State;
use tenmil::conn::slab::ConnId;
use tenmil::engine::config::Config;
use tenmil::engine::locals::{Listener, Owned};
use tenmil::engine::{CommandError, ConnectError, Engine};
use tenmil::frame::{Frame, FramePool};
use tenmil::link::memory::{self, MemoryLink};
use tenmil::link::{Census, Link};
use tenmil::service::builtin::Builtins;
use tenmil::service::{Context, Service};
use tenmil::tcp::CloseReason;
use tenmil::tcp::keepalive::Profile;
use tenmil::time::Instant;
use tenmil::wire::addr::{Address, Endpoint, Secret};

use crate::packet::{Family, STACK_MAC};
use crate::script::Settings;

/// The port that listens.
pub(crate) const PORT: u16 = 7;

/// The built-in services, with the habits that a script gives them.
pub(crate) struct Watched {
    builtins: Builtins,
    stays: bool,
    closes: bool,
    greeting: Vec<u8>,
    /// What came, of all connections.
    pub(crate) received: Vec<u8>,
    /// A connection that has opened, until it is taken note of.
    pub(crate) opened: Option<ConnId>,
}

impl Service for Watched {
    fn on_open(&mut self, conn: &mut Context<'_>) {
        self.opened = Some(conn.id());
        conn.send(&self.greeting);
        if self.closes {
            conn.close();
        }
    }

    fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
        let consumed = self.builtins.on_data(conn, bytes);
        self.received.extend_from_slice(&bytes[..consumed]);
        consumed
    }

    fn on_peer_close(&mut self, conn: &mut Context<'_>) {
        if !self.stays {
            conn.close();
        }
    }

    fn receive_window(&self, tag: u8) -> u16 {
        self.builtins.receive_window(tag)
    }
}

/// The engine and all that it needs.
pub(crate) struct Host {
    pub(crate) engine: Engine<Watched>,
    link: MemoryLink,
    tx: Vec<Frame>,
    pub(crate) now: Instant,
    tag: u8,
    family: Family,
}

impl Host {
    /// A host whose clock shows 10 seconds.
    pub(crate) fn new(settings: &Settings, family: Family) -> Host {
        let now = Instant::from_millis(10_000);
        let service = Watched {
            builtins: Builtins::default(),
            stays: settings.stays,
            closes: settings.closes,
            greeting: settings.greeting.clone(),
            received: Vec::new(),
            opened: None,
        };
        let (link, _) = memory::pair(256, 2048, 256);
        Host {
            engine: Engine::new(config(settings, family), service, now),
            link,
            tx: Vec::with_capacity(256),
            now,
            tag: settings.service.tag(),
            family,
        }
    }

    /// Receives a frame, and returns what is sent in answer.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut frame = self.link.take().expect("a frame to receive into");
        self.link.room(&mut frame)[..bytes.len()].copy_from_slice(bytes);
        frame.set_len(bytes.len());
        let mut rx = vec![frame];
        self.engine.handle_frames(self.now, &mut self.link, &mut rx, &mut self.tx);
        assert!(rx.is_empty(), "the engine takes every frame");
        self.sent()
    }

    /// Lets the time go on to the next timer before `end`, or to `end`, and returns what was sent. What
    /// the stack asks about a silent peer's hardware address is no part of a script.
    pub(crate) fn pass(&mut self, end: Instant) -> Vec<Vec<u8>> {
        let due = self.engine.next_timer(self.now).filter(|due| *due <= end);
        self.now = due.unwrap_or(end).max(self.now);
        self.engine.handle_timers(self.now, &mut self.link, &mut self.tx);
        let mut sent = self.sent();
        // ARP goes to all, neighbour solicitations to a group.
        sent.retain(|frame| frame[0] & 1 == 0);
        sent
    }

    /// Whether no timer is left before `end`, which is now.
    pub(crate) fn has_passed(&self, end: Instant) -> bool {
        self.now >= end && self.engine.next_timer(self.now).is_none_or(|due| due > end)
    }

    /// Opens a connection from `local_port` to a remote address and port.
    pub(crate) fn connect(
        &mut self,
        local_port: u16,
        remote_addr: IpAddr,
        remote_port: u16,
    ) -> (Result<ConnId, ConnectError>, Vec<Vec<u8>>) {
        let local = Endpoint { addr: Address::from(self.family.stack()), port: local_port };
        let remote = Endpoint { addr: Address::from(remote_addr), port: remote_port };
        let (link, tx) = (&mut self.link, &mut self.tx);
        let opened = self.engine.connect(local, remote, self.tag, self.now, link, tx);
        (opened, self.sent())
    }

    pub(crate) fn send(
        &mut self,
        id: ConnId,
        bytes: &[u8],
    ) -> (Result<(), CommandError>, Vec<Vec<u8>>) {
        let done = self.engine.send(id, bytes, self.now, &mut self.link, &mut self.tx);
        (done, self.sent())
    }

    pub(crate) fn close(&mut self, id: ConnId) -> (Result<(), CommandError>, Vec<Vec<u8>>) {
        let done = self.engine.close(id, self.now, &mut self.link, &mut self.tx);
        (done, self.sent())
    }

    /// Gives a connection up, which then ended as `evicted`.
    pub(crate) fn abort(&mut self, id: ConnId) -> (Result<(), CommandError>, Vec<Vec<u8>>) {
        let done = self.engine.abort(id, CloseReason::Evicted, &mut self.link, &mut self.tx);
        (done, self.sent())
    }

    pub(crate) fn set_profile(&mut self, id: ConnId, profile: Profile) -> Result<(), CommandError> {
        self.engine.set_profile(id, profile, self.now)
    }

    /// The state of the only connection, `Free` if there is none, and `None` if there are several.
    pub(crate) fn state(&self) -> Option<State> {
        let mut cursor = 0;
        let Some(id) = self.engine.connection_from(&mut cursor) else { return Some(State::Free) };
        match self.engine.connection_from(&mut cursor) {
            Some(_) => None,
            None => self.engine.state(id),
        }
    }

    /// Takes what was queued.
    fn sent(&mut self) -> Vec<Vec<u8>> {
        let frames = self.tx.iter().map(|frame| self.link.bytes(frame).to_vec()).collect();
        self.tx.drain(..).for_each(|frame| self.link.give(frame));
        let Census { engine, .. } = self.link.census();
        assert_eq!(engine, 0, "between calls the engine owns no frame");
        frames
    }
}

fn config(settings: &Settings, family: Family) -> Config {
    let mut config = Config::new(STACK_MAC, Secret([1; 16]), Secret([2; 16]));
    let addr = Address::from(family.stack());
    let (range_len, link_len) = if family == Family::Ipv4 { (32, 16) } else { (128, 64) };
    config.owned = vec![Owned { addr, range_len, link_len }];
    config.listeners = vec![Listener {
        endpoint: Endpoint { addr, port: PORT },
        tag: settings.service.tag(),
        profile: None,
    }];
    config.profile = settings.profile;
    config.connections_max = settings.connections_max.unwrap_or(64);
    config.flights_max = settings.flights_max.unwrap_or(64);
    config.half_open_max = settings.half_open_max.unwrap_or(config.half_open_max);
    config.resets_per_second = settings.resets_per_second.unwrap_or(config.resets_per_second);
    let challenges = settings.challenges_per_second;
    config.challenges_per_second = challenges.unwrap_or(config.challenges_per_second);
    config.time_wait = settings.time_wait.unwrap_or(config.time_wait);
    config.mtu = settings.mtu.unwrap_or(config.mtu);
    // Parked connections are the rule: a script that wants others says so.
    config.promoted_max = settings.promoted_max.unwrap_or(0);
    config.promoted_buffer = settings.promoted_buffer.unwrap_or(config.promoted_buffer);
    config.promote_always = settings.promote_always;
    config
}

/// The grain of the stack's timers, with some room: one fires with the tick after the one in which it
/// is due, so the time between two may be this much shorter than it says, or twice that longer.
pub(crate) const GRAIN: Duration = Duration::from_millis(17);
