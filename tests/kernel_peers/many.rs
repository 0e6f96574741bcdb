//! Many kernel connections at once.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::client::{ECHO, connect, noise};
use crate::network::Network;
use crate::server::{Server, Status};

/// Opens this many connections, spread over the addresses.
pub(crate) fn open(count: usize, to: &[&str]) -> Vec<TcpStream> {
    allow_descriptors(count as u64 + 1000);
    (0..count).map(|number| connect(to[number % to.len()])).collect()
}

/// Each connection sends its own bytes before any is read; then each gets its own back.
#[track_caller]
pub(crate) fn assert_each_echoes(streams: &[TcpStream], len: usize) {
    for (number, mut stream) in streams.iter().enumerate() {
        stream.write_all(&noise(number, len)).expect("it is taken");
    }
    for (number, mut stream) in streams.iter().enumerate() {
        let mut back = vec![0; len];
        stream.read_exact(&mut back).unwrap_or_else(|error| panic!("{number}: {error}"));
        assert!(back == noise(number, len), "connection {number} got what is not its own");
    }
}

/// Closes all, the clients first; each must come to an orderly end.
#[track_caller]
pub(crate) fn close(streams: Vec<TcpStream>) {
    for stream in &streams {
        stream.shutdown(Shutdown::Write).expect("an open socket");
    }
    for mut stream in streams {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("an orderly end");
        assert_eq!(rest, b"");
    }
}

/// The usual limit of 1024 descriptors is too low, and root may raise it.
fn allow_descriptors(count: u64) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < count) {
        let maximum = maximum.map(|maximum| maximum.max(count));
        setrlimit(Resource::Nofile, Rlimit { current: Some(count), maximum }).expect("we are root");
    }
}

#[test]
fn two_thousand_connections_echo_their_own_bytes() {
    let test = "two_thousand_connections_echo_their_own_bytes";
    let Some(network) = Network::make(test, &[]) else { return };
    let mut server = Server::start(&network);
    let streams = network.in_client(|| open(2000, &ECHO));
    assert_each_echoes(&streams, 1024);
    let status = server.wait_until("all held", |status| status.established == 2000);
    assert_eq!(status.connections, 2000);
    assert_each_echoes(&streams, 100);
    close(streams);
    // The clients closed first, so the server has nothing to keep in TIME-WAIT.
    let Status { established, dropped, .. } =
        server.wait_until("no connection", |status| status.connections == 0);
    assert_eq!(established, 0);
    assert!(!dropped.contains_key("tcp_checksum"), "{dropped:?}");
    server.stop();
}
