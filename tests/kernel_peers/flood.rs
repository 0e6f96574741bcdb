//! Floods: connections that are there go on, and new ones are still accepted.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::client::{LINE, connect};
use crate::frames::{ACK, FIN, Forger, RST, SYN, Segment};
use crate::many::{self, open};
use crate::network::Network;
use crate::server::{DEFAULT_ARGS, Server, Status};

/// How many connections are there before the flood.
const CONNECTIONS: usize = 1000;

/// Rounds of heartbeats during each flood.
const ROUNDS: usize = 20;

/// At most so many connections are half open, at once.
const HALF_OPEN: u64 = 64;

/// A heartbeat on each connection, and its answer.
#[track_caller]
fn beat(streams: &[TcpStream]) {
    for mut stream in streams {
        stream.write_all(b"PING\n").expect("it is open");
    }
    for (number, mut stream) in streams.iter().enumerate() {
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).unwrap_or_else(|error| panic!("{number}: {error}"));
        assert_eq!(&answer, b"PONG\n");
    }
}

/// A segment with `flags`, from ever other endpoints.
fn segment(to_mac: [u8; 6], flags: u8, number: u32) -> Vec<u8> {
    let [_, a, b, c] = number.wrapping_mul(0x9e37_79b1).to_be_bytes();
    let segment = Segment {
        to_mac,
        from: IpAddr::V4(Ipv4Addr::new(10, 77, 128 | a, b)),
        to: IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1)),
        ports: (1024 + u16::from(c), 7000),
        seq: number.wrapping_mul(77_777),
        ack: number.wrapping_mul(99_991),
        flags,
        payload: b"",
    };
    segment.build()
}

/// Sends such segments until told to stop; returns how many. Some thousands a second: on two
/// cores a flood at the link's rate starves the clients too, and shows nothing about the server.
fn flood(mut forger: Forger, to_mac: [u8; 6], flags: u8, stop: &AtomicBool) -> u32 {
    const BATCH: u32 = 64;
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) && sent < 5_000_000 {
        forger.send_all((sent..sent + BATCH).map(|number| segment(to_mac, flags, number)));
        sent += BATCH;
        forger.pause();
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
    for flags in [SYN, ACK, RST, FIN | ACK, SYN | ACK] {
        let stop = AtomicBool::new(false);
        let forger = network.in_client(Forger::open);
        let sent = thread::scope(|scope| {
            let flooding = scope.spawn(|| flood(forger, mac, flags, &stop));
            for _ in 0..ROUNDS {
                beat(&streams);
                let new = network.in_client(|| connect(LINE[0]));
                beat(std::slice::from_ref(&new));
                many::close(vec![new]);
            }
            stop.store(true, Ordering::Relaxed);
            flooding.join().expect("no panic")
        });
        let Status { established, connections, rx, .. } = server.settled();
        println!("flags {flags:#x}: {sent} frames");
        assert!(sent > 1000 && rx > u64::from(sent), "{sent} frames sent, {rx} received");
        assert_eq!(established, CONNECTIONS as u64, "flags {flags:#x}");
        assert!(connections <= CONNECTIONS as u64 + HALF_OPEN, "{connections} connections");
    }
    beat(&streams);
    many::close(streams);
    server.stop();
}
