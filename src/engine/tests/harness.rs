//! An engine with its pool, its clock and a service that takes notes.

use crate::conn::record::State;
use crate::conn::slab::ConnId;
use crate::drops::DropReason;
use crate::engine::config::Config;
use crate::engine::locals::{Listener, Owned};
use crate::engine::{BATCH_MAX, Engine};
use crate::frame::{Frame, FramePool};
use crate::service::builtin::{Builtin, Builtins};
use crate::service::{Context, Service, ServiceState};
use crate::tcp::CloseReason;
use crate::time::{Duration, Instant};
use crate::wire::addr::{Address, Endpoint, Secret};
use crate::wire::ethernet::{EthernetHeader, Mac};
use crate::wire::packet::{Control, ControlKind, Packet, parse};
use core::net::SocketAddr;

pub(super) const MAC: Mac = [2, 0, 0, 0, 0, 1];

/// The endpoint that `text` says.
pub(super) fn endpoint(text: &str) -> Endpoint {
    text.parse::<SocketAddr>().expect("an address and a port").into()
}

pub(super) fn owned(text: &str, range_len: u8, link_len: u8) -> Owned {
    let ip: core::net::IpAddr = text.parse().expect("an address");
    Owned { addr: Address::from(ip), range_len, link_len }
}

/// One IPv4 and one IPv6 address, with all built-in services on each.
pub(super) fn config() -> Config {
    let mut config = Config::new(MAC, Secret([1; 16]), Secret([2; 16]));
    config.owned = vec![owned("10.77.0.1", 32, 16), owned("fd77::1", 128, 64)];
    config.connections_max = 64;
    config.flights_max = 64;
    // What records do by themselves; see `promotion` for the rest.
    config.promoted_max = 0;
    let services =
        [(7, Builtin::Echo), (9, Builtin::Discard), (7000, Builtin::Line), (80, Builtin::Http)];
    for (port, service) in services {
        for addr in ["10.77.0.1", "[fd77::1]"] {
            let endpoint = endpoint(&format!("{addr}:{port}"));
            config.listeners.push(Listener { endpoint, tag: service.tag(), profile: None });
        }
    }
    config
}

/// What a service was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Open(ConnId),
    PeerClosed,
    Closed(CloseReason),
}

/// The built-in services, with notes of what they were told, and some changes of habit.
#[derive(Default)]
pub(super) struct Probe {
    builtins: Builtins,
    pub(super) events: Vec<Event>,
    /// What is sent when a connection opens.
    pub(super) greeting: Vec<u8>,
    pub(super) close_on_open: bool,
    /// Keeps its own direction open when the peer closes.
    pub(super) stays: bool,
    /// Bytes received by connections with [`Probe::SINK`], which send nothing by themselves.
    pub(super) received: Vec<u8>,
}

impl Probe {
    pub(super) const SINK: u8 = 100;
}

impl Service for Probe {
    fn on_open(&mut self, conn: &mut Context<'_>) {
        self.events.push(Event::Open(conn.id()));
        conn.send(&self.greeting);
        if self.close_on_open {
            conn.close();
        }
    }

    fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
        if conn.tag() == Probe::SINK {
            self.received.extend_from_slice(bytes);
            return bytes.len();
        }
        self.builtins.on_data(conn, bytes)
    }

    fn on_peer_close(&mut self, conn: &mut Context<'_>) {
        self.events.push(Event::PeerClosed);
        if !self.stays {
            conn.close();
        }
    }

    fn on_close(&mut self, _: ConnId, _: u8, _: ServiceState, reason: CloseReason) {
        self.events.push(Event::Closed(reason));
    }

    fn receive_window(&self, tag: u8) -> u16 {
        if tag == Probe::SINK { u16::MAX } else { self.builtins.receive_window(tag) }
    }
}

/// Frames on the heap, each counted.
pub(super) struct Pool {
    pieces: Vec<Vec<u8>>,
    out: Vec<bool>,
    free: Vec<u32>,
}

impl Pool {
    const PIECE_LEN: usize = 2048;

    pub(super) fn new(count: u32) -> Pool {
        Pool {
            pieces: vec![vec![0; Pool::PIECE_LEN]; count as usize],
            out: vec![false; count as usize],
            free: (0..count).collect(),
        }
    }

    pub(super) fn frames_out(&self) -> usize {
        self.out.iter().filter(|&&out| out).count()
    }
}

impl FramePool for Pool {
    fn take(&mut self) -> Option<Frame> {
        let index = self.free.pop()?;
        self.out[index as usize] = true;
        Some(Frame::new(index, 0, 0))
    }

    fn give(&mut self, frame: Frame) {
        let out = &mut self.out[frame.index() as usize];
        assert!(*out, "a frame is given back once");
        *out = false;
        self.free.push(frame.index());
    }

    fn bytes(&self, frame: &Frame) -> &[u8] {
        assert!(self.out[frame.index() as usize], "the frame is the engine's");
        &self.pieces[frame.index() as usize][..frame.len()]
    }

    fn room(&mut self, frame: &mut Frame) -> &mut [u8] {
        assert!(self.out[frame.index() as usize], "the frame is the engine's");
        &mut self.pieces[frame.index() as usize]
    }
}

/// Whether `frame` asks where a neighbour is.
fn is_question(frame: &[u8]) -> bool {
    let to = EthernetHeader::parse(frame).expect("a frame").dst();
    let Ok(Packet::Control(Control { kind, source, target, .. })) = parse(frame, to) else {
        return false;
    };
    let asks = matches!(kind, ControlKind::ArpRequest(_) | ControlKind::NeighborSolicit);
    asks && !source.is_unspecified() && source != target
}

/// An engine and all that it needs.
pub(super) struct Host<S = Probe> {
    pub(super) engine: Engine<S>,
    pub(super) pool: Pool,
    pub(super) tx: Vec<Frame>,
    pub(super) now: Instant,
    /// Questions about neighbours that timers sent, and when.
    pub(super) questions: Vec<(Instant, Vec<u8>)>,
}

impl Host<Probe> {
    /// A host with [`config`].
    pub(super) fn serving() -> Host<Probe> {
        Host::new(config(), Probe::default())
    }

    /// What the service was told since the last time.
    pub(super) fn events(&mut self) -> Vec<Event> {
        core::mem::take(&mut self.engine.service_mut().events)
    }
}

impl<S: Service> Host<S> {
    pub(super) fn new(config: Config, service: S) -> Host<S> {
        Host::starting_at(Instant::from_millis(10_000), config, service)
    }

    pub(super) fn starting_at(now: Instant, config: Config, service: S) -> Host<S> {
        let engine = Engine::new(config, service, now);
        Host {
            engine,
            pool: Pool::new(256),
            tx: Vec::with_capacity(256),
            now,
            questions: Vec::new(),
        }
    }

    /// Receives `frames` in batches, and returns what is sent in answer.
    pub(super) fn receive(&mut self, frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        for batch in frames.chunks(BATCH_MAX) {
            let mut rx = Vec::new();
            for bytes in batch {
                let mut frame = self.pool.take().expect("a frame to receive into");
                self.pool.room(&mut frame)[..bytes.len()].copy_from_slice(bytes);
                frame.set_len(bytes.len());
                rx.push(frame);
            }
            self.engine.handle_frames(self.now, &mut self.pool, &mut rx, &mut self.tx);
            assert!(rx.is_empty());
            sent.extend(self.sent());
        }
        sent
    }

    /// Takes what was queued, and checks everything that must hold between calls.
    pub(super) fn sent(&mut self) -> Vec<Vec<u8>> {
        assert_eq!(self.pool.frames_out(), self.tx.len(), "between calls the engine owns no frame");
        let sent = self.tx.iter().map(|frame| self.pool.bytes(frame).to_vec()).collect();
        for frame in self.tx.drain(..) {
            self.pool.give(frame);
        }
        self.check();
        sent
    }

    /// Lets the timers of this moment run.
    pub(super) fn run_timers(&mut self) -> Vec<Vec<u8>> {
        self.engine.handle_timers(self.now, &mut self.pool, &mut self.tx);
        self.sent()
    }

    /// Lets `span` pass, stopping whenever a timer wants it, and returns what was sent, and when;
    /// [`Host::questions`] has what was asked about neighbours besides.
    pub(super) fn pass_noting(&mut self, span: Duration) -> Vec<(Instant, Vec<u8>)> {
        let end = self.now + span;
        let mut sent = Vec::new();
        let mut rounds = 0;
        loop {
            let due = self.engine.next_timer(self.now).filter(|due| *due <= end);
            self.now = due.unwrap_or(end).max(self.now);
            for frame in self.run_timers() {
                let noted = if is_question(&frame) { &mut self.questions } else { &mut sent };
                noted.push((self.now, frame));
            }
            rounds += 1;
            assert!(rounds < 100_000, "timers come to an end");
            if self.now >= end && self.engine.next_timer(self.now).is_none_or(|due| due > end) {
                return sent;
            }
        }
    }

    /// Lets `span` pass and returns what was sent.
    pub(super) fn pass(&mut self, span: Duration) -> Vec<Vec<u8>> {
        self.pass_noting(span).into_iter().map(|(_, frame)| frame).collect()
    }

    pub(super) fn seconds(&mut self, seconds: u64) -> Vec<Vec<u8>> {
        self.pass(Duration::from_secs(seconds))
    }

    pub(super) fn dropped(&self, reason: DropReason) -> u64 {
        self.engine.counters.drops.of(reason)
    }

    /// The state of the only connection; `Free` when there is none.
    pub(super) fn state(&self) -> State {
        let mut cursor = 0;
        let Some(id) = self.engine.connection_from(&mut cursor) else { return State::Free };
        assert_eq!(self.engine.connection_from(&mut cursor), None, "one connection at most");
        self.engine.table.slab[id.index()].state
    }

    /// The name of the first connection.
    pub(super) fn id(&self) -> ConnId {
        self.engine.connection_from(&mut 0).expect("a connection")
    }

    /// Every table agrees with every other.
    pub(super) fn check(&self) {
        self.engine.check(self.now);
    }
}
