//! Limits, reached by clients of the kernel.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};

use tenmil::time::Duration;

use crate::client::{ECHO, assert_closes, assert_echo, connect, noise};
use crate::frames::{Forger, SYN, Segment};
use crate::many::open;
use crate::network::Network;
use crate::server::{DEFAULT_ARGS, Server, Status};

#[test]
fn a_client_with_all_its_connections_waits_until_one_has_ended() {
    let test = "a_client_with_all_its_connections_waits_until_one_has_ended";
    let Some(network) = Network::make(test, &["nc"]) else { return };
    network.ip_client("addr add 10.77.1.2/16 dev tm-client0");
    let limit = ["--connections-per-prefix", "3", "--prefix-v4", "24"];
    let mut server = Server::start_with(&network, &[&limit[..], DEFAULT_ARGS].concat());
    for to in ECHO {
        let mut streams = network.in_client(|| open(3, &[to]));
        let refused = network.in_client(|| {
            let to: SocketAddr = to.parse().expect("an endpoint");
            TcpStream::connect_timeout(&to, Duration::from_millis(500))
        });
        assert_eq!(refused.expect_err("it is the fourth").kind(), ErrorKind::TimedOut);
        for stream in &streams {
            assert_echo(stream, &noise(4, 10_000));
        }
        streams.pop().map(assert_closes).expect("three");
        streams.push(network.in_client(|| connect(to)));
        for stream in streams {
            assert_echo(&stream, &noise(5, 10_000));
            assert_closes(stream);
        }
    }
    let status = server.settled();
    assert!(status.dropped["prefix_full"] >= 2, "{status:?}");
    assert_eq!((status.events["accepted"], status.half_open), (8, 0), "{status:?}");
    // Another prefix has connections of its own.
    let streams = network.in_client(|| open(3, &ECHO[..1]));
    let nc = ["nc", "-N", "-w", "10", "-s", "10.77.1.2", "10.77.0.1", "7"];
    assert_eq!(network.run(&nc, b"other").stdout, b"other");
    streams.into_iter().for_each(assert_closes);
    server.stop();
}

#[test]
fn forged_syns_get_a_limited_number_of_challenges() {
    let test = "forged_syns_get_a_limited_number_of_challenges";
    let Some(network) = Network::make(test, &[]) else { return };
    let limit = ["--challenge-acks-per-second", "10"];
    let mut server = Server::start_with(&network, &[&limit[..], DEFAULT_ARGS].concat());
    let streams = network.in_client(|| open(100, &ECHO));
    let mut forger = network.in_client(Forger::open);
    let to_mac = server.mac();
    forger.send_all(streams.iter().map(|stream| {
        let [from, to] = [stream.local_addr(), stream.peer_addr()].map(|end| end.expect("bound"));
        let ports = (from.port(), to.port());
        // RFC 5961 section 4.2: a SYN is challenged whatever its number.
        let (from, to, flags, payload) = (from.ip(), to.ip(), SYN, &b""[..]);
        Segment { to_mac, from, to, ports, seq: 77, ack: 0, flags, payload }.build()
    }));
    let status =
        server.wait_until("the forgeries", |status| status.events.contains_key("challenges"));
    let Status { established, mut events, .. } = status;
    let [sent, withheld] = ["challenges", "challenges_limited"].map(|name| events.remove(name));
    assert_eq!((established, sent.unwrap_or(0) + withheld.unwrap_or(0)), (100, 100));
    // In one second, or in the end of one and the beginning of the next.
    assert!((5..=20).contains(&sent.unwrap_or(0)), "{sent:?}");
    streams.iter().for_each(|stream| assert_echo(stream, &noise(6, 1000)));
    streams.into_iter().for_each(assert_closes);
    server.stop();
}
