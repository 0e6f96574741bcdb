//! Peers that are silent, and peers that have gone without a word.

use std::net::TcpStream;

use crate::client::{assert_echo, connect};
use crate::network::Network;
use crate::server::Server;

/// Kernel sockets on [`ARGS`]'s listeners: two that are probed, one that is not.
const TARGETS: [&str; 3] = ["10.77.0.1:7", "[fd77::1]:7", "10.77.0.1:70"];

/// Probes after a second, a second apart, two of them; none on port 70, but a user timeout.
const ARGS: &[&str] = &[
    "--address",
    "10.77.0.1/16",
    "fd77::1/64",
    "--keepalive-time",
    "1s",
    "--keepalive-interval",
    "1s",
    "--keepalive-probes",
    "2",
    "--listen",
    "echo://10.77.0.1:7",
    "echo://[fd77::1]:7",
    "echo://10.77.0.1:70?keepalive=off&user-timeout=2s",
];

fn open(network: &Network) -> Vec<TcpStream> {
    let streams: Vec<_> = network.in_client(|| TARGETS.map(connect)).into();
    streams.iter().for_each(|stream| assert_echo(stream, b"here"));
    streams
}

#[test]
fn the_kernel_answers_probes_and_its_connections_stay() {
    let test = "the_kernel_answers_probes_and_its_connections_stay";
    let Some(network) = Network::make(test, &[]) else { return };
    let mut server = Server::start_with(&network, ARGS);
    let streams = open(&network);
    // Probed some four times, and given up after the third without an answer.
    // A status comes once a second.
    (0..6).for_each(|_| drop(server.next_status()));
    streams.iter().for_each(|stream| assert_echo(stream, b"still here"));
    let status = server.wait_until("the connections", |status| status.rx > 0);
    assert_eq!((status.established, status.closed.len()), (3, 0), "{status:?}");
}

#[test]
fn who_vanishes_is_found_out() {
    let test = "who_vanishes_is_found_out";
    let Some(network) = Network::make(test, &[]) else { return };
    let mut server = Server::start_with(&network, ARGS);
    let streams = open(&network);
    // The client's host is gone: nobody has its addresses any more.
    network.ip_client("addr flush dev tm-client0");
    let status = server.wait_until("the end of two", |status| status.established == 1);
    let reasons: Vec<_> = status.closed.iter().map(|(name, n)| (name.as_str(), *n)).collect();
    assert_eq!(reasons, [("keepalive_timeout", 2)], "and who is not probed stays");
    drop(streams);
}
