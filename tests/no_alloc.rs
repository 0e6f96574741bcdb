//! Nothing allocates on the frame path once an engine is warm.

#[path = "common/allocations.rs"]
mod allocations;
#[path = "no_alloc/commands.rs"]
mod commands;
#[path = "no_alloc/returning.rs"]
mod returning;

use allocations::allocations;
use std::ops::Range;
use tenmil::conn::broadcast::Audience;
use tenmil::conn::prefix::PrefixLimit;
use tenmil::conn::record::State;
use tenmil::drops::DropReason;
use tenmil::engine::Engine;
use tenmil::engine::config::Config;
use tenmil::engine::locals::{Listener, Owned};
use tenmil::frame::{Frame, FramePool};
use tenmil::link::Link;
use tenmil::link::memory::{MemoryLink, pair};
use tenmil::service::builtin::{Builtin, Builtins, Setup};
use tenmil::service::http::Files;
use tenmil::service::line::{self, PING, QUIT};
use tenmil::service::{Context, Service};
use tenmil::shard::directory::Directory;
use tenmil::tcp::CloseReason;
use tenmil::tcp::keepalive::Keepalive;
use tenmil::time::{Duration, Instant};
use tenmil::wire::addr::{Address, Endpoint, Secret};

const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const SERVER: Address = Address::v4([10, 77, 0, 1]);
const CLIENT: Address = Address::v4([10, 77, 0, 2]);
const CONNECTIONS: u16 = 100;

/// A client that receives and forgets, and counts the bytes.
#[derive(Default)]
struct Client(u64);

impl Service for Client {
    fn on_data(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> usize {
        self.0 += bytes.len() as u64;
        bytes.len()
    }
}

/// An engine on one end of a memory link.
struct Host<S> {
    engine: Engine<S>,
    link: MemoryLink,
    rx: Vec<Frame>,
    tx: Vec<Frame>,
}

impl<S: Service> Host<S> {
    fn new(
        mac: [u8; 6],
        addr: Address,
        set: impl FnOnce(&mut Config),
        link: MemoryLink,
        s: S,
    ) -> Self {
        let mut config = Config::new(mac, Secret([1; 16]), Secret([2; 16]));
        config.owned = vec![Owned { addr, range_len: 32, link_len: 16 }];
        config.connections_max = 1000;
        config.flights_max = 1000;
        config.prefix_limit = Some(PrefixLimit::new(1000));
        set(&mut config);
        let engine = Engine::new(config, s, Instant::ZERO);
        Host { engine, link, rx: Vec::with_capacity(64), tx: Vec::with_capacity(1024) }
    }

    /// One round; returns whether anything moved.
    fn round(&mut self, now: Instant) -> bool {
        let received = self.link.receive(&mut self.rx, 64).expect("memory does not fail");
        self.engine.handle_frames(now, &mut self.link, &mut self.rx, &mut self.tx);
        self.engine.handle_timers(now, &mut self.link, &mut self.tx);
        let sent = !self.tx.is_empty();
        self.link.transmit(&mut self.tx).expect("memory does not fail");
        self.link.flush().expect("memory does not fail");
        received > 0 || sent
    }
}

/// Sends this many bytes to everyone who says anything, as there is room, and counts what is left in
/// its state.
struct Source(u16);

impl Source {
    fn go_on(conn: &mut Context<'_>) {
        let [low, high, ..] = *conn.state();
        let left = usize::from(u16::from_le_bytes([low, high]));
        let left = left - conn.send(&[7; 1 << 16][..left]);
        let [low, high] = u16::try_from(left).expect("less than before").to_le_bytes();
        conn.state()[..2].copy_from_slice(&[low, high]);
        if left > 0 {
            conn.want_room();
        }
    }
}

impl Service for Source {
    fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
        conn.state()[..2].copy_from_slice(&self.0.to_le_bytes());
        Source::go_on(conn);
        bytes.len()
    }

    fn on_room(&mut self, conn: &mut Context<'_>) {
        Source::go_on(conn);
    }
}

struct Pair<S = Builtins> {
    server: Host<S>,
    client: Host<Client>,
    now: Instant,
}

impl Pair {
    fn new() -> Pair {
        Pair::with(|_| ())
    }

    /// A server with other settings.
    fn with(set: impl FnOnce(&mut Config)) -> Pair {
        Pair::serving(Builtins::default(), set)
    }
}

impl<S: Service> Pair<S> {
    /// A server with another service.
    fn serving(service: S, set: impl FnOnce(&mut Config)) -> Pair<S> {
        let (a, b) = pair(2048, 2048, 1024);
        let listener = |builtin: Builtin, port| Listener {
            endpoint: Endpoint { addr: SERVER, port },
            tag: builtin.tag(),
            profile: None,
        };
        let services = [(Builtin::Echo, 7), (Builtin::Line, 7000), (Builtin::Http, 80)];
        let listeners = services.map(|(builtin, port)| listener(builtin, port)).to_vec();
        let set = |config: &mut Config| {
            config.listeners = listeners;
            set(config);
        };
        Pair {
            server: Host::new(SERVER_MAC, SERVER, set, a, service),
            client: Host::new(CLIENT_MAC, CLIENT, |_| (), b, Client::default()),
            now: Instant::ZERO,
        }
    }

    fn settle(&mut self) {
        loop {
            let moved = self.server.round(self.now);
            if !(self.client.round(self.now) || moved) {
                return;
            }
        }
    }

    /// Begins connections from the client's ports `locals` to the server's `port`.
    fn connect(&mut self, locals: Range<u16>, port: u16) {
        for local in locals {
            let local = Endpoint { addr: CLIENT, port: local };
            let remote = Endpoint { addr: SERVER, port };
            let Host { engine, link, rx, tx } = &mut self.client;
            while engine.connect(local, remote, 0, self.now, link, tx).is_err() {
                // The first time, the neighbour must be found.
                link.transmit(tx).expect("memory does not fail");
                link.flush().expect("memory does not fail");
                self.server.round(self.now);
                link.receive(rx, 64).expect("memory does not fail");
                engine.handle_frames(self.now, link, rx, tx);
            }
        }
        self.settle();
    }

    /// Lets `seconds` pass.
    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now = self.now + Duration::from_secs(1);
            self.settle();
        }
    }

    /// Handshakes, heartbeats, closes of both orders, and every timer until all is forgotten.
    fn exercise(&mut self, port: u16, quit: bool) {
        self.connect(2000..2000 + CONNECTIONS, port);
        assert_eq!(self.server.engine.counters().established, u64::from(CONNECTIONS));
        for _ in 0..3 {
            self.send_on_all(PING);
            self.settle();
        }
        if quit {
            self.send_on_all(QUIT);
        } else {
            self.close_all();
        }
        self.settle();
        self.pass(100);
        assert_eq!(self.server.engine.counters().connections, 0);
        assert_eq!(self.client.engine.counters().connections, 0);
    }

    fn close_all(&mut self) {
        let mut cursor = 0;
        let Host { engine, link, tx, .. } = &mut self.client;
        while let Some(id) = engine.connection_from(&mut cursor) {
            engine.close(id, self.now, link, tx).expect("it is open");
        }
    }

    fn send_on_all(&mut self, bytes: &[u8]) {
        let mut cursor = 0;
        let Host { engine, link, tx, .. } = &mut self.client;
        while let Some(id) = engine.connection_from(&mut cursor) {
            if engine.state(id) == Some(State::Established) {
                engine.send(id, bytes, self.now, link, tx).expect("nothing is in flight");
            }
        }
    }

    /// Puts a frame of `bytes` on the server's wire, and counts what it sends back.
    fn inject(&mut self, bytes: &[u8]) -> usize {
        let Host { link, tx, .. } = &mut self.client;
        let mut frame = link.take().expect("a free frame");
        link.room(&mut frame)[..bytes.len()].copy_from_slice(bytes);
        frame.set_len(bytes.len());
        tx.push(frame);
        link.transmit(tx).expect("memory does not fail");
        link.flush().expect("memory does not fail");
        let before = self.server.engine.counters().tx;
        self.server.round(self.now);
        self.settle();
        usize::try_from(self.server.engine.counters().tx - before).expect("a few")
    }
}

#[test]
fn the_allocator_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
}

#[test]
fn handshakes_heartbeats_closes_and_timers_allocate_nothing() {
    let mut pair = Pair::new();
    for (port, quit) in [(7000, true), (7, false)] {
        pair.exercise(port, quit);
    }
    for (port, quit) in [(7000, true), (7, false), (7000, false)] {
        let counted = allocations(|| pair.exercise(port, quit));
        assert_eq!(counted, 0, "port {port}, quit {quit}");
    }
}

#[test]
fn promotion_and_parking_allocate_nothing() {
    let mut pair = Pair::with(|config| {
        config.promote_always = true;
        config.promoted_max = u32::from(CONNECTIONS);
        config.promoted_buffer = 4_096;
    });
    pair.exercise(7000, true);
    let promotions = pair.server.engine.counters().promotions;
    let counted = allocations(|| pair.exercise(7, false));
    assert_eq!(counted, 0);
    let counters = pair.server.engine.counters();
    assert!(counters.promotions > promotions && counters.promoted == 0, "{counters:?}");
}

#[test]
fn files_and_refusals_over_http_allocate_nothing() {
    let open = |_: &_| {
        // A file of a few segments is in the repository's root.
        let directory = Directory::open(Some(env!("CARGO_MANIFEST_DIR")), u32::from(CONNECTIONS))?;
        Ok::<_, std::io::Error>(Box::new(directory) as Box<dyn Files + Send>)
    };
    let builtins = Builtins::with_files(&Builtin::ALL.map(Setup::of), Secret([5; 16]), open);
    let mut pair = Pair::serving(builtins.expect("the repository"), |_| ());
    let exercise = |pair: &mut Pair| {
        pair.connect(2000..2000 + CONNECTIONS, 80);
        for request in [
            "GET /README.md HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /src HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
            "0\r\n\r\n",
            "GET /none HTTP/1.0\r\n\r\n",
        ] {
            pair.send_on_all(request.as_bytes());
            pair.pass(5);
        }
        pair.pass(100);
        assert_eq!(pair.client.engine.counters().connections, 0);
    };
    exercise(&mut pair);
    assert_eq!(allocations(|| exercise(&mut pair)), 0);
    let mut answers = Vec::new();
    pair.server.engine.service().events(&mut |name, count| {
        answers.extend((count > 0).then_some((name, count)));
    });
    let expected = ["http_200", "http_301", "http_404", "http_405"];
    assert_eq!(answers, expected.map(|name| (name, 2 * u64::from(CONNECTIONS))));
}

#[test]
fn pushes_broadcasts_and_those_that_wait_allocate_nothing() {
    let mut pair = Pair::with(|config| (config.promoted_max, config.flights_max) = (0, 40));
    pair.connect(2000..2000 + CONNECTIONS, 7);
    let push = |pair: &mut Pair| {
        let Host { engine, .. } = &mut pair.server;
        for n in 0..6 {
            let mut cursor = 0;
            while let Some(id) = engine.connection_from(&mut cursor) {
                // Of 1,000 bytes only two fit a flight.
                let bytes: &[u8] = if n < 3 { &[7; 1_000] } else { b"short" };
                engine.push(id, bytes, None, pair.now).expect("there is room");
            }
        }
        engine.broadcast(Audience::Tag(Builtin::Echo.tag()), &[7; 200], None).expect("room");
        engine.broadcast(Audience::All, &[7; 1_500], None).expect("room");
        pair.pass(1);
    };
    push(&mut pair);
    let before = pair.server.engine.counters().pushes_sent;
    assert_eq!(allocations(|| push(&mut pair)), 0);
    let counters = pair.server.engine.counters();
    assert_eq!(counters.pushes_sent - before, 8 * u64::from(CONNECTIONS));
    assert_eq!((counters.broadcasts, counters.pushes_full), (4, 0));
}

#[test]
fn cookies_allocate_nothing() {
    let mut pair = Pair::with(|config| config.half_open_max = 10);
    pair.exercise(7000, true);
    let counted = allocations(|| pair.exercise(7000, true));
    assert_eq!(counted, 0);
    assert!(pair.server.engine.counters().cookies_accepted > 0);
}

#[test]
fn keepalive_its_answers_and_its_end_allocate_nothing() {
    let seconds = Duration::from_secs;
    let keepalive = Keepalive::new(seconds(200), seconds(10), 3).expect("allowed periods");
    let mut pair = Pair::with(|config| config.profile.keepalive = Some(keepalive));
    pair.exercise(7, false);
    let connections = u64::from(CONNECTIONS);
    let counted = allocations(|| {
        pair.connect(2000..2000 + CONNECTIONS, 7);
        pair.pass(210);
        assert_eq!(pair.server.engine.counters().probes, connections, "all answered");
        // The peers vanish.
        for _ in 0..1_000 {
            pair.now = pair.now + seconds(1);
            while pair.server.round(pair.now) {}
        }
    });
    assert_eq!(counted, 0);
    let counters = pair.server.engine.counters();
    assert_eq!(counters.closed(CloseReason::KeepaliveTimeout), connections);
    assert_eq!((counters.probes, counters.connections), (4 * connections, 0));
}

#[test]
fn wakes_and_the_end_of_a_silent_peer_allocate_nothing() {
    let seconds = Duration::from_secs;
    let heartbeat = Setup::Line(line::Setup { heartbeat: Some(seconds(10)) });
    let setups = [Setup::Echo, Setup::Discard, heartbeat];
    let mut pair = Pair::serving(Builtins::new(&setups, Secret([3; 16])), |_| ());
    pair.exercise(7000, true);
    let connections = u64::from(CONNECTIONS);
    let counted = allocations(|| {
        pair.connect(2000..2000 + CONNECTIONS, 7000);
        for _ in 0..5 {
            pair.pass(20);
            pair.send_on_all(PING);
        }
        assert_eq!(pair.server.engine.counters().established, connections, "all were heard");
        pair.pass(40);
    });
    assert_eq!(counted, 0);
    let counters = pair.server.engine.counters();
    assert_eq!(counters.closed(CloseReason::HeartbeatMissed), connections);
    assert_eq!(counters.connections, 0);
}

#[test]
fn waiting_for_room_allocates_nothing() {
    const LEN: u16 = 60_000;
    // With a place for each, with a few, and without any.
    for promoted_max in [u32::from(CONNECTIONS), 3, 0] {
        let mut pair = Pair::serving(Source(LEN), |config| {
            config.promoted_max = promoted_max;
            config.promoted_buffer = 4_096;
            config.flights_max = 30;
        });
        let mut talk = |port| {
            pair.connect(port..port + CONNECTIONS, 7);
            let before = pair.client.engine.service().0;
            pair.send_on_all(b"go");
            pair.pass(60);
            let heard = pair.client.engine.service().0 - before;
            assert_eq!(heard, u64::from(CONNECTIONS) * u64::from(LEN));
            pair.close_all();
            pair.pass(100);
        };
        talk(2000);
        assert_eq!(allocations(|| talk(4000)), 0, "{promoted_max} places");
    }
}

#[test]
fn refusing_connections_allocates_nothing_and_harms_no_other() {
    let mut pair = Pair::with(|config| config.connections_max = u32::from(CONNECTIONS));
    pair.exercise(7000, true);
    pair.connect(2000..2000 + CONNECTIONS, 7000);
    let refused = |pair: &Pair| pair.server.engine.counters().drops.of(DropReason::TableFull);
    let counted = allocations(|| {
        pair.connect(4000..4000 + CONNECTIONS, 7000);
        assert_eq!(refused(&pair), u64::from(CONNECTIONS));
        let answered = pair.server.engine.counters().tx;
        pair.send_on_all(PING);
        pair.settle();
        assert_eq!(pair.server.engine.counters().tx, answered + u64::from(CONNECTIONS));
        pair.pass(10);
    });
    assert_eq!(counted, 0);
    assert!(refused(&pair) > u64::from(CONNECTIONS), "who was refused tries again");
    assert_eq!(pair.server.engine.counters().established, u64::from(CONNECTIONS));
}

fn ones_complement_sum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).expect("folded twice")
}

/// An echo request with `len` bytes, an even number.
fn ping(len: usize) -> Vec<u8> {
    let mut frame = [SERVER_MAC, CLIENT_MAC].concat();
    frame.extend([8, 0]);
    let total = u16::try_from(28 + len).expect("a packet");
    frame.extend([0x45, 0]);
    frame.extend(total.to_be_bytes());
    frame.extend([0, 0, 0, 0, 64, 1, 0, 0, 10, 77, 0, 2, 10, 77, 0, 1]);
    let checksum = ones_complement_sum(&frame[14..34]);
    frame[24..26].copy_from_slice(&checksum.to_be_bytes());
    frame.extend([8, 0, 0, 0, 0, 1, 0, 1]);
    frame.resize(42 + len, 0x61);
    let checksum = ones_complement_sum(&frame[34..]);
    frame[36..38].copy_from_slice(&checksum.to_be_bytes());
    frame
}

fn arp_request() -> Vec<u8> {
    let mut frame = [[0xff; 6], CLIENT_MAC].concat();
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(CLIENT_MAC);
    frame.extend([10, 77, 0, 2, 0, 0, 0, 0, 0, 0, 10, 77, 0, 1]);
    frame
}

#[test]
fn pings_arp_and_strays_allocate_nothing() {
    let mut pair = Pair::new();
    let (long, short, arp) = (ping(1472), ping(56), arp_request());
    let stray = {
        let mut frame = short.clone();
        frame[23] = 6;
        frame
    };
    let counted = allocations(|| {
        for _ in 0..10 {
            assert_eq!(pair.inject(&short), 1);
            assert_eq!(pair.inject(&long), 1);
            assert_eq!(pair.inject(&arp), 1);
            assert_eq!(pair.inject(&stray), 0);
        }
    });
    assert_eq!(counted, 0);
}
