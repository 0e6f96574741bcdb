//! Clients that send half a message each until every place among the promoted connections is theirs.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;

use crate::client::connect;
use crate::network::Network;
use crate::server::Server;

const HTTP: &str = "10.77.0.1:80";
const MQTT: &str = "10.77.0.1:1883";
const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: there\r\nConnection: close\r\n\r\n";
const CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01z";

/// Connects, and sends the first `len` bytes of `message` in a segment of their own.
fn begin(to: &str, message: &[u8], len: usize) -> TcpStream {
    let mut stream = connect(to);
    stream.set_nodelay(true).expect("an open socket");
    stream.write_all(&message[..len]).expect("there is room");
    stream
}

#[test]
fn who_holds_a_place_with_half_a_message_gives_it_to_one_that_sends_the_rest() {
    let test = "who_holds_a_place_with_half_a_message_gives_it_to_one_that_sends_the_rest";
    let Some(network) = Network::make(test, &[]) else { return };
    let listen = ["--listen", "http://10.77.0.1:80", "mqtt://10.77.0.1:1883"];
    let args = ["--address", "10.77.0.1/16", "--promoted-max", "4"];
    let mut server = Server::start_with(&network, &[&args[..], &listen].concat());
    network.in_client(|| {
        let halves = [(HTTP, REQUEST), (MQTT, CONNECT), (HTTP, REQUEST), (MQTT, CONNECT)];
        let held = halves.map(|(to, message)| begin(to, message, message.len() / 2));
        server.wait_until("every place is taken", |status| status.promoted == 4);
        // Their kernel sends the beginning again until it is acknowledged, which takes a place.
        let mut honest = [(HTTP, REQUEST), (MQTT, CONNECT)].map(|(to, message)| {
            let stream = begin(to, message, 7);
            (stream, &message[7..])
        });
        server.wait_until("both have a place", |status| {
            status.events.get("places_taken") == Some(&2) && status.promoted == 4
        });
        for ((stream, rest), expected) in
            honest.iter_mut().zip([&b"HTTP/1.1 200 "[..], b"\x20\x02\x00\x00"])
        {
            stream.write_all(rest).expect("an open socket");
            let mut answer = vec![0; expected.len()];
            stream.read_exact(&mut answer).expect("it is answered");
            assert_eq!(answer, expected);
        }
        let ended = held.map(|mut stream| {
            stream.set_nonblocking(true).expect("an open socket");
            stream.read(&mut [0; 100]).map_err(|error| error.kind())
        });
        let resets = ended.iter().filter(|end| **end == Err(ErrorKind::ConnectionReset));
        assert_eq!(resets.count(), 2, "{ended:?}");
    });
    let status = server.wait_until("all have gone", |status| status.connections == 0);
    assert_eq!(status.closed["evicted"], 2, "{status:?}");
    server.stop();
}
