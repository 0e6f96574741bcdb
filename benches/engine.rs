//! What the engine costs: no link, no kernel, one thread.
//!
//! - `parse`: one frame with a heartbeat, from bytes to a segment
//! - `handshake`: SYN, SYN-ACK, ACK: one connection opened
//! - `heartbeat`: PING in, PONG out, ACK in, with N connections established and hit at random, in
//!   batches
//! - `promoted`: the same with every connection promoted
//! - `promotion`: two heartbeats that come in the wrong order: promoted, and parked again
//!
//! Times are for one connection or heartbeat: only the calls of the engine under test are timed, not
//! the making of the peer's frames.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::Duration;
use tenmil::engine::config::Config;
use tenmil::engine::locals::{Listener, Owned};
use tenmil::engine::{BATCH_MAX, Engine};
use tenmil::frame::{Frame, FramePool};
use tenmil::link::memory::{self, MemoryLink};
use tenmil::service::builtin::{Builtin, Builtins};
use tenmil::shard::clock::Clock;
use tenmil::time::Instant;
use tenmil::wire::addr::{Address, Endpoint, FlowKey, Secret};
use tenmil::wire::emit::{Outgoing, emit};
use tenmil::wire::ethernet::{self, EthernetHeader, Mac};
use tenmil::wire::packet::{self, Flags, Packet, Segment, SynOptions};
use tenmil::wire::seq::SeqNumber;

const SERVER_MAC: Mac = [2, 0, 0, 0, 0, 1];
const CLIENT_MAC: Mac = [2, 0, 0, 0, 0, 2];
const SERVER: Endpoint = Endpoint { addr: Address::v4([10, 77, 0, 1]), port: 7000 };
const SYN: Flags = Flags { syn: true, ack: false, fin: false, rst: false };
const ACK: Flags = Flags { syn: false, ack: true, fin: false, rst: false };

/// What a client knows of its connection.
#[derive(Clone, Copy, Default)]
struct Client {
    seq: SeqNumber,
    ack: SeqNumber,
}

/// A server engine and the clients that the benchmark plays.
struct World {
    engine: Engine<Builtins>,
    pool: MemoryLink,
    clients: Vec<Client>,
    rx: Vec<Frame>,
    tx: Vec<Frame>,
    clock: Clock,
    random: u64,
}

impl World {
    /// A server with room for `clients` connections, none of them open.
    fn new(clients: usize) -> World {
        World::with(clients, |_| ())
    }

    /// The same with other settings.
    fn with(clients: usize, set: impl FnOnce(&mut Config)) -> World {
        let mut config = Config::new(SERVER_MAC, Secret([1; 16]), Secret([2; 16]));
        config.connections_max = u32::try_from(clients).unwrap();
        config.flights_max = Config::flights_for(config.connections_max);
        config.owned = vec![Owned { addr: SERVER.addr, range_len: 32, link_len: 8 }];
        config.listeners =
            vec![Listener { endpoint: SERVER, tag: Builtin::Line.tag(), profile: None }];
        set(&mut config);
        World {
            engine: Engine::new(config, Builtins, Instant::ZERO),
            pool: memory::pair(1024, 2048, 64).0,
            clients: vec![Client::default(); clients],
            rx: Vec::with_capacity(BATCH_MAX),
            tx: Vec::with_capacity(4 * BATCH_MAX),
            clock: Clock::start(),
            random: 0x9e37_79b9_7f4a_7c15,
        }
    }

    fn endpoint(client: usize) -> Endpoint {
        let [_, b, c, d] = u32::try_from(client / 60_000 + 2).unwrap().to_be_bytes();
        let port = u16::try_from(1024 + client % 60_000).unwrap();
        Endpoint { addr: Address::v4([10, 78 + b, c, d]), port }
    }

    /// Queues a frame of client `client`.
    fn queue(&mut self, client: usize, flags: Flags, payload: &[u8]) {
        let mut frame = self.pool.take().expect("a free frame");
        let len = write(
            self.pool.room(&mut frame),
            Self::endpoint(client),
            self.clients[client],
            flags,
            payload,
        );
        frame.set_len(len);
        self.rx.push(frame);
    }

    /// Lets the engine take what is queued, and returns how long that took; the clients see what
    /// it answered.
    fn run(&mut self, client_of: &[usize], now: Instant) -> Duration {
        let start = self.clock.now();
        self.engine.handle_frames(now, &mut self.pool, &mut self.rx, &mut self.tx);
        let took = self.clock.now().since(start);
        let clients = client_of.iter().map(Some).chain(std::iter::repeat(None));
        for (answer, client) in self.tx.drain(..).zip(clients) {
            let Some(&client) = client else {
                self.pool.give(answer);
                continue;
            };
            if let Ok(Packet::Tcp(Segment { seq, ack, .. })) =
                packet::parse(self.pool.bytes(&answer), CLIENT_MAC)
            {
                self.clients[client] = Client { seq: ack, ack: seq };
            }
            self.pool.give(answer);
        }
        took
    }

    /// Opens the connections of `clients`, and returns how long the engine took.
    fn open(&mut self, clients: std::ops::Range<usize>, now: Instant) -> Duration {
        let clients: Vec<_> = clients.collect();
        clients.iter().for_each(|&client| self.queue(client, SYN, &[]));
        let mut took = self.run(&clients, now);
        for &client in &clients {
            self.clients[client].ack += 1;
            self.queue(client, ACK, &[]);
        }
        took += self.run(&[], now);
        took
    }

    /// Two heartbeats on one connection, the second before the first: it is promoted, and parked again.
    /// Returns how long the engine took.
    fn beat_out_of_order(&mut self, client: usize, now: Instant) -> Duration {
        let first = self.clients[client];
        self.clients[client].seq += 5;
        self.queue(client, ACK, b"PING\n");
        let mut took = self.run(&[], now);
        self.clients[client] = first;
        self.queue(client, ACK, b"PING\n");
        took += self.run(&[client], now);
        self.clients[client].ack += 10;
        self.queue(client, ACK, &[]);
        took += self.run(&[], now);
        took
    }

    /// A heartbeat on random connections, a batch of them; returns how long the engine took.
    fn beat(&mut self, now: Instant) -> Duration {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        while batch.len() < BATCH_MAX {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            let client = usize::try_from(self.random % self.clients.len() as u64).unwrap();
            if !batch.contains(&client) {
                batch.push(client);
            }
        }
        batch.iter().for_each(|&client| self.queue(client, ACK, b"PING\n"));
        let mut took = self.run(&batch, now);
        for &client in &batch {
            self.clients[client].ack += 5;
            self.queue(client, ACK, &[]);
        }
        took += self.run(&[], now);
        took
    }
}

fn write(room: &mut [u8], from: Endpoint, client: Client, flags: Flags, payload: &[u8]) -> usize {
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

fn parse(criterion: &mut Criterion) {
    let mut frame = [0; 128];
    let len = write(&mut frame, World::endpoint(7), Client::default(), ACK, b"PING\n");
    criterion.bench_function("parse", |bencher| {
        bencher.iter(|| packet::parse(black_box(&frame[..len]), SERVER_MAC));
    });
}

fn handshake(criterion: &mut Criterion) {
    criterion.bench_function("handshake", |bencher| {
        bencher.iter_custom(|iterations| {
            const ROUND: usize = 64 * 1024;
            let iterations = usize::try_from(iterations).unwrap().next_multiple_of(BATCH_MAX);
            let mut took = Duration::ZERO;
            for start in (0..iterations).step_by(ROUND) {
                let clients = ROUND.min(iterations - start);
                let mut world = World::new(clients);
                for first in (0..clients).step_by(BATCH_MAX) {
                    took += world.open(first..first + BATCH_MAX, Instant::ZERO);
                }
                assert_eq!(world.engine.counters().established, clients as u64);
            }
            took
        });
    });
}

fn heartbeat(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("heartbeat");
    for connections in [10_048, 100_032, 1_000_000] {
        let mut world = World::new(connections);
        for first in (0..connections).step_by(BATCH_MAX) {
            world.open(first..first + BATCH_MAX, Instant::ZERO);
        }
        assert_eq!(world.engine.counters().established, connections as u64);
        group.bench_function(BenchmarkId::from_parameter(connections), |bencher| {
            bencher.iter_custom(|iterations| {
                let batches = iterations.div_ceil(BATCH_MAX as u64);
                let took: Duration = (0..batches).map(|_| world.beat(Instant::ZERO)).sum();
                took.mul_f64(iterations as f64 / (batches * BATCH_MAX as u64) as f64)
            });
        });
        assert_eq!(world.engine.counters().drops.total(), 0);
    }
    group.finish();
}

fn promoted(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("promoted");
    for connections in [64, 1_024, 8_192] {
        let mut world = World::with(connections, |config| {
            config.promoted_max = config.connections_max;
            config.promoted_buffer = 4_096;
            config.promote_always = true;
        });
        for first in (0..connections).step_by(BATCH_MAX) {
            world.open(first..first + BATCH_MAX, Instant::ZERO);
        }
        (0..connections).for_each(|_| {
            world.beat(Instant::ZERO);
        });
        assert!(world.engine.counters().promoted >= connections as u64 * 99 / 100);
        group.bench_function(BenchmarkId::from_parameter(connections), |bencher| {
            bencher.iter_custom(|iterations| {
                let batches = iterations.div_ceil(BATCH_MAX as u64);
                let took: Duration = (0..batches).map(|_| world.beat(Instant::ZERO)).sum();
                took.mul_f64(iterations as f64 / (batches * BATCH_MAX as u64) as f64)
            });
        });
        assert_eq!(world.engine.counters().drops.total(), 0);
    }
    group.finish();
}

fn promotion(criterion: &mut Criterion) {
    let mut world = World::with(BATCH_MAX, |config| config.park_after = Duration::ZERO);
    world.open(0..BATCH_MAX, Instant::ZERO);
    criterion.bench_function("promotion", |bencher| {
        bencher.iter_custom(|iterations| {
            let clients = (0..BATCH_MAX).cycle().zip(0..iterations);
            clients.map(|(client, _)| world.beat_out_of_order(client, Instant::ZERO)).sum()
        });
    });
    let counters = world.engine.counters();
    assert!(counters.promotions > 0 && counters.promoted == 0, "{counters:?}");
}

criterion_group!(benches, parse, handshake, heartbeat, promoted, promotion);
criterion_main!(benches);
