//! Floods: connections that are there go on, and new ones are still accepted.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tenmil::shard::clock::Clock;
use tenmil::time::{Duration, Instant};

use crate::client::{LINE, connect};
use crate::frames::{ACK, FIN, Forger, IP, RST, SYN, Segment};
use crate::many::{self, open};
use crate::network::Network;
use crate::server::{DEFAULT_ARGS, Server, Status};

/// How many connections are there before the flood.
const CONNECTIONS: usize = 1000;

/// Rounds of heartbeats during each flood.
const ROUNDS: usize = 20;

/// At most so many connections are half open, at once.
const HALF_OPEN: u64 = 64;

/// A heartbeat on each connection, and its answer; returns how long that took for all of them.
#[track_caller]
fn beat(streams: &[TcpStream]) -> Duration {
    let clock = Clock::start();
    for mut stream in streams {
        stream.write_all(b"PING\n").expect("it is open");
    }
    for (number, mut stream) in streams.iter().enumerate() {
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).unwrap_or_else(|error| panic!("{number}: {error}"));
        assert_eq!(&answer, b"PONG\n");
    }
    clock.now().since(Instant::ZERO)
}

/// What there is too much of.
#[derive(Clone, Copy, Debug)]
enum Flood {
    /// Segments with these flags.
    Tcp(u8),
    Ping,
    /// ICMP errors that say of segments never sent that their port is unreachable.
    Unreachable,
}

/// A frame of `flood`, from ever other endpoints.
fn frame(to_mac: [u8; 6], flood: Flood, number: u32) -> Vec<u8> {
    let [_, a, b, c] = number.wrapping_mul(0x9e37_79b1).to_be_bytes();
    let peer = IpAddr::V4(Ipv4Addr::new(10, 77, 128 | a, b));
    let server = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1));
    let segment = Segment {
        to_mac,
        from: peer,
        to: server,
        ports: (1024 + u16::from(c), 7000),
        seq: number.wrapping_mul(77_777),
        ack: number.wrapping_mul(99_991),
        flags: if let Flood::Tcp(flags) = flood { flags } else { ACK },
        payload: b"",
    };
    match flood {
        Flood::Tcp(_) => segment.build(),
        Flood::Ping => segment.icmp(8, 0, b"is anybody there?"),
        Flood::Unreachable => {
            let (from, to) = (segment.to, segment.from);
            let ports = (segment.ports.1, segment.ports.0);
            let about = Segment { from, to, ports, ..segment }.build();
            segment.icmp(3, 3, &about[IP..])
        }
    }
}

/// Sends such frames until told to stop, as fast as the link takes them; returns how many. A server
/// that is not optimised is spared: on two cores such a flood starves the clients too, and shows
/// nothing about the server.
fn send(mut forger: Forger, to_mac: [u8; 6], flood: Flood, stop: &AtomicBool) -> u32 {
    const BATCH: u32 = 64;
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) && sent < 5_000_000 {
        forger.send_all((sent..sent + BATCH).map(|number| frame(to_mac, flood, number)));
        sent += BATCH;
        if cfg!(debug_assertions) {
            forger.pause();
        }
    }
    sent
}

#[test]
fn floods_cost_no_connection_and_leave_room_for_new_ones() {
    let test = "floods_cost_no_connection_and_leave_room_for_new_ones";
    let Some(network) = Network::make(test, &[]) else { return };
    let args = [&["--half-open-max", "64"], DEFAULT_ARGS].concat();
    let mut server = Server::start_with(&network, &args);
    let mac = server.mac();
    let streams = network.in_client(|| open(CONNECTIONS, &LINE));
    beat(&streams);
    let memory = server.memory();
    let floods = [SYN, ACK, RST, FIN | ACK, SYN | ACK].map(Flood::Tcp);
    for kind in floods.into_iter().chain([Flood::Ping, Flood::Unreachable]) {
        let stop = AtomicBool::new(false);
        let forger = network.in_client(Forger::open);
        let (sent, latest) = thread::scope(|scope| {
            let flooding = scope.spawn(|| send(forger, mac, kind, &stop));
            let mut latest = Duration::ZERO;
            for _ in 0..ROUNDS {
                latest = latest.max(beat(&streams));
                let new = network.in_client(|| connect(LINE[0]));
                beat(std::slice::from_ref(&new));
                many::close(vec![new]);
            }
            stop.store(true, Ordering::Relaxed);
            (flooding.join().expect("no panic"), latest)
        });
        let Status { established, connections, rx, .. } = server.settled();
        println!("{kind:?}: {sent} frames; {CONNECTIONS} heartbeats took {latest:?} at most");
        assert!(sent > 1000 && rx > u64::from(sent) / 2, "{sent} frames sent, {rx} received");
        assert_eq!(established, CONNECTIONS as u64, "{kind:?}");
        assert!(connections <= CONNECTIONS as u64 + HALF_OPEN, "{connections} connections");
    }
    // Tables are touched as they fill, and half-open records and flights are used in turn.
    let grown = server.memory().saturating_sub(memory);
    println!("resident memory grew by {grown} bytes");
    assert!(grown < 8 << 20, "resident memory grew by {grown} bytes");
    beat(&streams);
    many::close(streams);
    server.stop();
}
