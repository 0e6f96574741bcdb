//! MQTT on an engine: messages between connections, and what waits for one that is slow or away.

use super::*;
use crate::engine::config::Config;
use crate::engine::locals::Listener;
use crate::service::builtin::{Builtin, Builtins, Setup};
use crate::time::Duration;
use crate::wire::addr::Secret;

const SERVER: &str = "10.77.0.1:1883";

fn serving(promoted_max: u32) -> Host<Builtins> {
    let mut config = Config { promoted_max, ..config() };
    config.listeners.push(Listener {
        endpoint: endpoint(SERVER),
        tag: Builtin::Mqtt.tag(),
        profile: None,
    });
    Host::new(config, Builtins::default())
}

#[test]
fn listeners_with_the_same_settings_are_one_server() {
    let setups = [Builtin::Mqtt, Builtin::Mqtt].map(Setup::of);
    let mut config = Config { promoted_max: 0, ..config() };
    config.listeners = [(SERVER, 0), ("10.77.0.1:1884", 1)]
        .map(|(at, tag)| Listener { endpoint: endpoint(at), tag, profile: None })
        .to_vec();
    let mut host = Host::new(config, Builtins::new(&setups, Secret([3; 16])));
    let mut clients = vec![Client::connect(&mut host, 0, CLEAN)];
    talk(&mut host, &mut clients, 0, SUBSCRIBE);
    assert_eq!(clients[0].take(), SUBACK);
    let mut peer = Peer::to("10.77.0.1:1884", 40_001);
    peer.open(&mut host);
    clients.push(Client { peer, received: Vec::new() });
    talk(&mut host, &mut clients, 1, b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01z");
    talk(&mut host, &mut clients, 1, b"\x30\x05\x00\x01ahi");
    assert_eq!(clients[0].take(), b"\x30\x05\x00\x01ahi");
}

/// A client of 3.1.1 from port 40,000 and so many.
struct Client {
    peer: Peer,
    received: Vec<u8>,
}

impl Client {
    #[track_caller]
    fn connect(host: &mut Host<Builtins>, number: u8, flags_and_rest: &[u8]) -> Client {
        let mut peer = Peer::to(SERVER, 40_000 + u16::from(number));
        peer.open(host);
        let body = [
            b"\x00\x04MQTT\x04",
            &flags_and_rest[..3],
            &[0, 1, b'a' + number],
            &flags_and_rest[3..],
        ];
        let body = body.concat();
        let hello = [&[0x10, body.len() as u8], &body[..]].concat();
        let mut clients = [Client { peer, received: Vec::new() }];
        talk(host, &mut clients, 0, &hello);
        let [mut client] = clients;
        assert_eq!(client.take(), b"\x20\x02\x00\x00");
        client
    }

    fn take(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.received)
    }
}

/// Client `from` sends `bytes`, in as many segments as that takes, and everybody takes and acknowledges
/// what comes.
fn talk(host: &mut Host<Builtins>, clients: &mut [Client], from: usize, bytes: &[u8]) {
    for piece in bytes.chunks(1_460) {
        let frame = clients[from].peer.next(ACK, piece);
        let sent = host.receive(&[frame]);
        take(host, clients, sent);
    }
}

fn take(host: &mut Host<Builtins>, clients: &mut [Client], mut sent: Vec<Vec<u8>>) {
    for _ in 0..200 {
        sent.extend(host.run_timers());
        if sent.is_empty() {
            return;
        }
        for frame in core::mem::take(&mut sent) {
            let port = u16::from_be_bytes([frame[36], frame[37]]);
            let to = clients.iter_mut().find(|client| client.peer.endpoint().port == port);
            let client = to.expect("one of the clients");
            let seen = client.peer.read(&frame);
            if seen.payload.is_empty() && !seen.flags.fin {
                continue;
            }
            client.peer.take(&seen);
            client.received.extend_from_slice(&seen.payload);
            let ack = client.peer.next(ACK, b"");
            sent.extend(host.receive(&[ack]));
        }
    }
    panic!("they come to an end");
}

const CLEAN: &[u8] = &[0x02, 0, 0];
const SUBSCRIBE: &[u8] = b"\x82\x06\x00\x01\x00\x01a\x01";
const SUBACK: &[u8] = b"\x90\x03\x00\x01\x01";

#[test]
fn a_message_reaches_every_subscriber() {
    for promoted_max in [0, 4] {
        let mut host = serving(promoted_max);
        let mut clients: Vec<_> = (0..3).map(|n| Client::connect(&mut host, n, CLEAN)).collect();
        for at in 0..3 {
            talk(&mut host, &mut clients, at, SUBSCRIBE);
            assert_eq!(clients[at].take(), SUBACK);
        }
        talk(&mut host, &mut clients, 0, b"\x32\x0a\x00\x01a\x00\x09hello");
        assert_eq!(clients[0].take(), b"\x40\x02\x00\x09\x32\x0a\x00\x01a\x00\x01hello");
        for client in &mut clients[1..] {
            assert_eq!(client.take(), b"\x32\x0a\x00\x01a\x00\x01hello");
        }
        talk(&mut host, &mut clients, 1, b"\x40\x02\x00\x01\xc0\x00");
        assert_eq!(clients[1].take(), b"\xd0\x00");
    }
}

#[test]
fn a_long_message_crosses_whole() {
    for promoted_max in [2, 4] {
        let mut host = serving(promoted_max);
        let mut clients: Vec<_> = (0..2).map(|n| Client::connect(&mut host, n, CLEAN)).collect();
        talk(&mut host, &mut clients, 1, SUBSCRIBE);
        assert_eq!(clients[1].take(), SUBACK);
        let text: Vec<u8> = (0..50_000).map(|at| (at / 7) as u8).collect();
        let message = [b"\x30\xd3\x86\x03\x00\x01a", &text[..]].concat();
        talk(&mut host, &mut clients, 0, &message);
        for _ in 0..40 {
            let sent = host.pass(Duration::from_millis(50));
            take(&mut host, &mut clients, sent);
        }
        assert!(clients[1].take() == message, "byte for byte");
    }
}

#[test]
fn a_will_is_said_when_a_connection_is_reset() {
    let mut host = serving(0);
    let with_will: &[u8] = &[0x06, 0, 0, 0, 1, b'a', 0, 3, b'b', b'y', b'e'];
    let mut clients =
        vec![Client::connect(&mut host, 0, with_will), Client::connect(&mut host, 1, CLEAN)];
    talk(&mut host, &mut clients, 1, SUBSCRIBE);
    clients[1].take();
    let reset = clients[0].peer.next(RST, b"");
    let sent = host.receive(&[reset]);
    take(&mut host, &mut clients, sent);
    assert_eq!(clients[1].take(), b"\x30\x06\x00\x01abye");
}

#[test]
fn a_second_client_of_the_name_ends_the_first_connection() {
    let mut host = serving(0);
    let mut first = Client::connect(&mut host, 7, CLEAN);
    let mut peer = Peer::to(SERVER, 41_000);
    peer.open(&mut host);
    let hello = peer.next(ACK, b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01h");
    let mut sent = host.receive(&[hello]);
    sent.extend(host.run_timers());
    let (mut fin, mut connack) = (false, Vec::new());
    for frame in sent {
        if u16::from_be_bytes([frame[36], frame[37]]) == 41_000 {
            connack.extend(peer.read(&frame).payload);
        } else {
            let seen = first.peer.read(&frame);
            first.peer.take(&seen);
            fin |= seen.flags.fin;
        }
    }
    assert_eq!((fin, &connack[..]), (true, &b"\x20\x02\x00\x00"[..]));
}

#[test]
fn keep_alive_ends_a_silent_connection_within_a_tenth_of_a_second() {
    let mut host = serving(0);
    let mut clients = [Client::connect(&mut host, 0, &[0x02, 0, 10])];
    host.pass(Duration::from_secs(10));
    talk(&mut host, &mut clients, 0, b"\xc0\x00");
    let heard = host.now;
    assert_eq!(clients[0].take(), b"\xd0\x00");
    let sent = host.pass_noting(Duration::from_secs(20));
    let (at, frame) = sent.first().expect("it ends");
    assert!(clients[0].peer.read(frame).flags.fin);
    let silence = at.since(heard);
    let limit = Duration::from_secs(15);
    assert!(silence >= limit && silence < limit + Duration::from_millis(100), "{silence:?}");
}
