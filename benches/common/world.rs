//! A server engine, and the clients that a benchmark plays: frames made and read by hand.
//!
//! Only the engine's calls are timed, never the making of the clients' frames. Of a client it is
//! remembered what its next segment needs, 8 bytes, so that ten million of them are 80 MB.

use super::cycles::Cycles;
use std::ops::Range;
use tenmil::conn::slab::ConnId;
use tenmil::engine::config::Config;
use tenmil::engine::locals::{Listener, Owned};
use tenmil::engine::{BATCH_MAX, CommandError, Engine};
use tenmil::frame::{Frame, FramePool as _};
use tenmil::link::memory::{self, MemoryLink};
use tenmil::service::builtin::{Builtin, Builtins};
use tenmil::service::line::{PING, PONG};
use tenmil::tcp::keepalive::{Keepalive, Profile};
use tenmil::time::{Duration, Instant};
use tenmil::wire::addr::{Address, Endpoint, FlowKey, Secret};
use tenmil::wire::emit::{Outgoing, emit};
use tenmil::wire::ethernet::{self, EthernetHeader, Mac};
use tenmil::wire::packet::{self, Flags, Packet, Segment, SynOptions};
use tenmil::wire::seq::SeqNumber;

pub(crate) const SERVER_MAC: Mac = [2, 0, 0, 0, 0, 1];
pub(crate) const CLIENT_MAC: Mac = [2, 0, 0, 0, 0, 2];
pub(crate) const SERVER: Endpoint = Endpoint { addr: Address::v4([10, 77, 0, 1]), port: 7000 };
pub(crate) const SYN: Flags = Flags { syn: true, ack: false, fin: false, rst: false };
pub(crate) const ACK: Flags = Flags { syn: false, ack: true, fin: false, rst: false };
pub(crate) const FIN: Flags = Flags { syn: false, ack: true, fin: true, rst: false };
pub(crate) const RST: Flags = Flags { syn: false, ack: true, fin: false, rst: true };

/// Places for frames to send: as many as a shard has.
const TX_QUEUE: usize = 1_024;

/// What a client knows of its connection.
#[derive(Clone, Copy, Default)]
pub(crate) struct Client {
    pub(crate) seq: SeqNumber,
    pub(crate) ack: SeqNumber,
}

/// A server engine and its clients. Client `n` has an address and a port of its own.
pub(crate) struct World {
    pub(crate) engine: Engine<Builtins>,
    pub(crate) clients: Vec<Client>,
    pub(crate) now: Instant,
    pool: MemoryLink,
    rx: Vec<Frame>,
    tx: Vec<Frame>,
    cycles: Cycles,
    order: Order,
}

impl World {
    /// A server with room for `clients` connections, none of them open; keepalive as Linux has it.
    pub(crate) fn new(clients: usize) -> World {
        World::with(clients, |_| ())
    }

    /// The same with other settings.
    pub(crate) fn with(clients: usize, set: impl FnOnce(&mut Config)) -> World {
        let mut config = Config::new(SERVER_MAC, Secret([1; 16]), Secret([2; 16]));
        config.connections_max = u32::try_from(clients).expect("a number of connections");
        config.flights_max = Config::flights_for(config.connections_max);
        config.owned = vec![Owned { addr: SERVER.addr, range_len: 32, link_len: 8 }];
        config.listeners =
            vec![Listener { endpoint: SERVER, tag: Builtin::Line.tag(), profile: None }];
        config.profile = Profile { keepalive: Some(Keepalive::LINUX), user_timeout: None };
        set(&mut config);
        World {
            engine: Engine::new(config, Builtins::default(), Instant::ZERO),
            clients: vec![Client::default(); clients],
            now: Instant::ZERO,
            pool: memory::pair(2 * TX_QUEUE, 2048, 64).0,
            rx: Vec::with_capacity(BATCH_MAX),
            tx: Vec::with_capacity(TX_QUEUE),
            cycles: Cycles::calibrated(),
            order: Order::of(clients),
        }
    }

    /// A server with `clients` connections, all of them established and quiet.
    pub(crate) fn established(clients: usize) -> World {
        World::established_with(clients, clients, |_| ())
    }

    /// A server with room for `room` connections, of which the first `clients` are established.
    pub(crate) fn established_with(
        clients: usize,
        room: usize,
        set: impl FnOnce(&mut Config),
    ) -> World {
        let mut world = World::with(room, set);
        let took = world.open_all(0..clients);
        eprintln!(
            "{clients} connections opened, memory touched for the first time: {} each",
            world.cycles.describe(took as f64 / clients as f64)
        );
        world.settle();
        world.order = Order::of(clients);
        world
    }

    /// Opens the connections of `clients`, and returns how many cycles the engine took.
    pub(crate) fn open_all(&mut self, clients: Range<usize>) -> u64 {
        let before = self.engine.counters().established;
        let (count, end) = (clients.len() as u64, clients.end);
        let firsts = clients.step_by(BATCH_MAX);
        let took = firsts.map(|first| self.open(first..end.min(first + BATCH_MAX))).sum();
        assert_eq!(self.engine.counters().established, before + count);
        took
    }

    /// Lets the timers of the handshakes find out that they are not needed.
    pub(crate) fn settle(&mut self) {
        self.now = self.now + Duration::from_secs(2);
        while self.engine.next_timer(self.now).is_some_and(|due| due <= self.now) {
            self.handle_timers();
            assert_eq!(self.queued(), 0, "nobody is silent yet");
        }
        assert_eq!(self.engine.counters().retransmitted, 0);
    }

    /// The address and port of client `client`.
    pub(crate) fn endpoint(client: usize) -> Endpoint {
        let [_, b, c, d] = u32::try_from(client / 60_000 + 2).expect("a client").to_be_bytes();
        let port = u16::try_from(1_024 + client % 60_000).expect("a port");
        Endpoint { addr: Address::v4([10, 78 + b, c, d]), port }
    }

    /// The client at `endpoint`.
    pub(crate) fn client_at(endpoint: &Endpoint) -> usize {
        let [_, b, c, d] = endpoint.addr.v4_octets();
        let host = u32::from_be_bytes([0, b - 78, c, d]) as usize - 2;
        host * 60_000 + usize::from(endpoint.port) - 1_024
    }

    /// Queues a frame of client `client`, which `client` says next.
    pub(crate) fn queue(&mut self, client: usize, flags: Flags, payload: &[u8]) {
        self.queue_at(client, self.clients[client], flags, payload);
    }

    /// Queues a frame of client `client` with the numbers of `says`.
    pub(crate) fn queue_at(&mut self, client: usize, says: Client, flags: Flags, payload: &[u8]) {
        let mut frame = self.pool.take().expect("a free frame");
        let room = self.pool.room(&mut frame);
        let len = write(room, Self::endpoint(client), says, flags, payload);
        frame.set_len(len);
        self.rx.push(frame);
    }

    /// Lets the engine take what is queued, and returns how many cycles that took; the clients see
    /// what it answered.
    pub(crate) fn run(&mut self) -> u64 {
        let start = self.cycles.now();
        self.handle_frames();
        let took = self.cycles.now() - start;
        self.take_answers();
        took
    }

    /// Lets the engine take what is queued.
    pub(crate) fn handle_frames(&mut self) {
        self.engine.handle_frames(self.now, &mut self.pool, &mut self.rx, &mut self.tx);
    }

    /// Lets the timers run once.
    pub(crate) fn handle_timers(&mut self) {
        self.engine.handle_timers(self.now, &mut self.pool, &mut self.tx);
    }

    /// Has this side close a connection.
    pub(crate) fn close(&mut self, id: ConnId) -> Result<(), CommandError> {
        self.engine.close(id, self.now, &mut self.pool, &mut self.tx)
    }

    /// How many frames are to be sent.
    pub(crate) fn queued(&self) -> usize {
        self.tx.len()
    }

    /// What is to be sent, with the client to whom.
    pub(crate) fn sent(&mut self) -> Vec<(usize, Segment)> {
        let read = |frame| {
            let parsed = packet::parse(self.pool.bytes(&frame), CLIENT_MAC);
            self.pool.give(frame);
            match parsed {
                Ok(Packet::Tcp(segment)) => Some((World::client_at(&segment.flow.local), segment)),
                _ => None,
            }
        };
        self.tx.drain(..).filter_map(read).collect()
    }

    /// Each client goes on with the numbers that it was told.
    fn take_answers(&mut self) {
        for answer in self.tx.drain(..) {
            let parsed = packet::parse(self.pool.bytes(&answer), CLIENT_MAC);
            if let Ok(Packet::Tcp(Segment { flow, seq, ack, .. })) = parsed {
                self.clients[World::client_at(&flow.local)] = Client { seq: ack, ack: seq };
            }
            self.pool.give(answer);
        }
    }

    /// Opens the connections of `clients`, a batch, and returns how many cycles the engine took.
    pub(crate) fn open(&mut self, clients: Range<usize>) -> u64 {
        clients.clone().for_each(|client| self.queue(client, SYN, &[]));
        let mut took = self.run();
        for client in clients {
            self.clients[client].ack += 1;
            self.queue(client, ACK, &[]);
        }
        took += self.run();
        took
    }

    /// Ends the connections of `clients` by resets, a batch; returns how many cycles that took.
    pub(crate) fn reset(&mut self, clients: Range<usize>) -> u64 {
        clients.for_each(|client| self.queue(client, RST, &[]));
        self.run()
    }

    /// The clients of the next batch, at random: each comes once until all have come.
    pub(crate) fn next_batch(&mut self) -> [usize; BATCH_MAX] {
        // Everything that is limited for each connection has recovered when its turn comes again.
        const ROUND: Duration = Duration::from_secs(1);
        self.now = self.now + ROUND.div_f64(self.order.len as f64 / BATCH_MAX as f64);
        core::array::from_fn(|_| self.order.next())
    }

    /// A heartbeat on random connections, a batch of them: PING in, PONG out; then ACK in. Returns
    /// how many cycles the engine took for each.
    pub(crate) fn beat(&mut self) -> (u64, u64) {
        let batch = self.next_batch();
        batch.iter().for_each(|&client| self.queue(client, ACK, PING));
        let answered = self.run();
        for client in batch {
            self.clients[client].ack += len_of(PONG);
            self.queue(client, ACK, &[]);
        }
        (answered, self.run())
    }

    /// A keepalive probe on random connections, a batch of them, each answered by an ACK; returns
    /// how many cycles the engine took.
    pub(crate) fn probe(&mut self) -> u64 {
        let before = self.engine.counters().tx;
        for client in self.next_batch() {
            let Client { seq, ack } = self.clients[client];
            self.queue_at(client, Client { seq: seq - 1, ack }, ACK, &[]);
        }
        let took = self.run();
        assert_eq!(self.engine.counters().tx, before + BATCH_MAX as u64, "every probe is answered");
        took
    }
}

/// How many sequence numbers `payload` takes.
pub(crate) fn len_of(payload: &[u8]) -> u32 {
    u32::try_from(payload.len()).expect("one payload")
}

/// Writes a frame of the client at `from`, and returns its length.
pub(crate) fn write(
    room: &mut [u8],
    from: Endpoint,
    client: Client,
    flags: Flags,
    payload: &[u8],
) -> usize {
    let options = match flags.syn {
        true => SynOptions { mss: Some(1460), wscale: Some(7), sack_permitted: true },
        false => SynOptions::default(),
    };
    let segment = Outgoing {
        ethernet: &EthernetHeader::new(SERVER_MAC, CLIENT_MAC, ethernet::IPV4),
        flow: FlowKey { remote: SERVER, local: from },
        seq: client.seq,
        ack: client.ack,
        flags,
        window: 65_535,
        options,
        payload,
    };
    emit(room, &segment).expect("room for a frame")
}

/// An order of `len` numbers without a pattern that a cache could learn, in which each comes once in
/// a round: a linear congruential generator of full period (Hull and Dobell), its bits mixed.
#[derive(Clone, Copy)]
pub(crate) struct Order {
    len: usize,
    at: usize,
}

impl Order {
    pub(crate) fn of(len: usize) -> Order {
        Order { len, at: 0 }
    }

    pub(crate) fn next(&mut self) -> usize {
        const FACTOR: usize = 0x5851_f42d_4c95_7f2d;
        let mask = self.len.next_power_of_two() - 1;
        let half = mask.count_ones() / 2;
        loop {
            self.at = self.at.wrapping_mul(FACTOR).wrapping_add(1) & mask;
            let mixed = (self.at ^ self.at >> half).wrapping_mul(FACTOR) & mask;
            let mixed = mixed ^ mixed >> half;
            if mixed < self.len {
                return mixed;
            }
        }
    }
}
