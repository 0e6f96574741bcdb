//! One connection at a time, from Rust's standard library: echo of every size, half-close, abort,
//! refusal, the server closing first, keepalive.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};

use rustix::net::sockopt;
use tenmil::time::Duration;

use crate::client::{DISCARD, ECHO, LINE, assert_closes, assert_echo, connect, noise};
use crate::network::{Network, PATIENCE};
use crate::server::Server;

#[test]
fn echo_returns_every_size() {
    let Some(network) = Network::make("echo_returns_every_size", &[]) else { return };
    let mut server = Server::start(&network);
    network.in_client(|| {
        for to in ECHO {
            for (seed, len) in [1, 1024, 64 * 1024, 1024 * 1024].into_iter().enumerate() {
                let stream = connect(to);
                assert_echo(&stream, &noise(seed, len));
                // A second time, since the first leaves the connection as if it had been idle.
                assert_echo(&stream, &noise(!seed, len));
                assert_closes(stream);
            }
        }
    });
    let status = server.wait_until("no connection", |status| status.connections == 0);
    assert_eq!(status.dropped.get("tcp_checksum"), None);
    server.stop();
}

#[test]
fn small_messages_come_back_one_by_one() {
    let Some(network) = Network::make("small_messages_come_back_one_by_one", &[]) else { return };
    let server = Server::start(&network);
    network.in_client(|| {
        for to in ECHO {
            let stream = connect(to);
            stream.set_nodelay(true).expect("an open socket");
            (0..200).for_each(|seed| assert_echo(&stream, &noise(seed, 1 + seed % 40)));
            assert_closes(stream);
        }
    });
    server.stop();
}

#[test]
fn a_half_closed_connection_gets_everything_and_then_the_end() {
    let test = "a_half_closed_connection_gets_everything_and_then_the_end";
    let Some(network) = Network::make(test, &[]) else { return };
    let mut server = Server::start(&network);
    network.in_client(|| {
        for to in ECHO {
            for len in [0, 10, 1000, 20_000] {
                let mut stream = connect(to);
                let bytes = noise(len, len);
                // All of this fits into the socket's buffer, so nothing was read before the FIN.
                stream.write_all(&bytes).expect("it is taken");
                stream.shutdown(Shutdown::Write).expect("an open socket");
                let mut back = Vec::new();
                stream.read_to_end(&mut back).expect("an orderly end");
                assert!(back == bytes, "{len} bytes to {to}");
            }
        }
        let mut stream = connect(DISCARD);
        stream.write_all(&noise(1, 500_000)).expect("it is taken");
        assert_closes(stream);
    });
    server.wait_until("no connection", |status| status.connections == 0);
    server.stop();
}

#[test]
fn an_aborted_connection_is_forgotten() {
    let Some(network) = Network::make("an_aborted_connection_is_forgotten", &[]) else { return };
    let mut server = Server::start(&network);
    let streams = network.in_client(|| {
        let streams = [ECHO[0], ECHO[1], LINE[0], DISCARD].map(connect);
        assert_echo(&streams[0], b"one");
        // What comes back to this one is never read.
        (&streams[1]).write_all(&noise(1, 5000)).expect("it is taken");
        streams
    });
    let status = server.wait_until("four", |status| status.established == 4);
    assert_eq!(status.connections, 4);
    for stream in streams {
        // SO_LINGER 0: close sends a reset.
        sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).expect("an open socket");
        drop(stream);
    }
    server.wait_until("no connection", |status| status.connections == 0);
    server.stop();
}

#[test]
fn a_port_without_a_service_is_refused() {
    let Some(network) = Network::make("a_port_without_a_service_is_refused", &[]) else { return };
    let server = Server::start(&network);
    network.in_client(|| {
        for to in ["10.77.0.1:8", "[fd77::1]:8", "10.77.0.1:65535"] {
            let to: SocketAddr = to.parse().expect("an endpoint");
            let error = TcpStream::connect_timeout(&to, PATIENCE).expect_err("nobody listens");
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{to}");
        }
    });
    server.stop();
}

#[test]
fn a_server_that_closes_first_is_read_to_the_end() {
    let test = "a_server_that_closes_first_is_read_to_the_end";
    let Some(network) = Network::make(test, &[]) else { return };
    let mut server = Server::start(&network);
    network.in_client(|| {
        for to in LINE {
            let mut stream = connect(to);
            stream.write_all(b"PING\nla").expect("it is taken");
            let mut said = [0; 7];
            stream.read_exact(&mut said).expect("an answer");
            assert_eq!(&said, b"PONG\nla");
            stream.write_all(b"st\nQUIT\n").expect("it is taken");
            let mut rest = String::new();
            stream.read_to_string(&mut rest).expect("an orderly end");
            assert_eq!(rest, "st\n");
            // This direction is still open; nothing more comes of closing it.
            stream.shutdown(Shutdown::Write).expect("an open socket");
        }
    });
    // RFC 9293 section 3.6.1: who closes first keeps the connection in TIME-WAIT.
    let status = server.wait_until("TIME-WAIT", |status| status.established == 0);
    assert_eq!(status.connections, 2);
    server.stop();
}

#[test]
fn the_kernels_keepalive_probes_are_answered() {
    let test = "the_kernels_keepalive_probes_are_answered";
    let Some(network) = Network::make(test, &[]) else { return };
    let mut server = Server::start(&network);
    let streams = network.in_client(|| ECHO.map(connect));
    for stream in &streams {
        assert_echo(stream, b"before");
        let second = Duration::from_secs(1);
        sockopt::set_tcp_keepidle(stream, second).expect("an open socket");
        sockopt::set_tcp_keepintvl(stream, second).expect("an open socket");
        sockopt::set_tcp_keepcnt(stream, 2).expect("an open socket");
        sockopt::set_socket_keepalive(stream, true).expect("an open socket");
    }
    let before = server.settled();
    // Two probes without an answer end the connection, so eight were answered when it still works.
    server.wait_until("probes", |status| status.rx >= before.rx + 8 && status.tx >= before.tx + 8);
    for stream in streams {
        assert_echo(&stream, b"after");
        assert_closes(stream);
    }
    server.wait_until("no connection", |status| status.connections == 0);
    server.stop();
}
