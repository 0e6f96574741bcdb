//! WebSocket and Dubbo on the engine: messages that segments cut, pushes, and silent peers.

use super::*;
use crate::conn::delivery::Outcome;
use crate::conn::outbox::Limits;
use crate::conn::record::State;
use crate::engine::config::Config;
use crate::engine::locals::Listener;
use crate::service::builtin::{Builtins, Setup};
use crate::service::ws::frame::{Kind, message};
use crate::service::{dubbo, ws};
use crate::tcp::CloseReason;
use crate::time::Duration;
use crate::wire::addr::Secret;

const WS: &str = "10.77.0.1:80";
const DUBBO: &str = "10.77.0.1:20880";
const PERIOD: Duration = Duration::from_secs(10);

const REQUEST: &[u8] =
    b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

const PING: &[u8] = b"\x89\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
const PONG: &[u8] = b"\x8a\x05Hello";

const HEARTBEAT: &[u8] = b"\xda\xbb\xe2\x00\x00\x00\x00\x00\x00\x00\x00\x2a\x00\x00\x00\x01N";
const ALIVE: &[u8] = b"\xda\xbb\x22\x14\x00\x00\x00\x00\x00\x00\x00\x2a\x00\x00\x00\x01N";

/// A host that serves both, with this many places for promoted connections.
fn host(promoted_max: u32) -> Host<Builtins> {
    let heartbeat = Some(PERIOD);
    let setups = [
        Setup::Ws(ws::Setup { heartbeat, ..ws::Setup::default() }),
        Setup::Dubbo(dubbo::Setup { heartbeat, ..dubbo::Setup::default() }),
    ];
    let listener = |text, tag| Listener { endpoint: endpoint(text), tag, profile: None };
    let mut config = Config { promoted_max, promoted_buffer: 16_384, ..config() };
    config.listeners = vec![listener(WS, 0), listener(DUBBO, 1)];
    config.outbox = Limits { deliveries_max: 8, payload_bytes_max: 1 << 16, ..config.outbox };
    Host::new(config, Builtins::new(&setups, Secret([3; 16])))
}

/// Takes and acknowledges `first` and what comes then, and returns the data.
#[track_caller]
fn heard(peer: &mut Peer, host: &mut Host<Builtins>, first: Vec<Seen>) -> Vec<u8> {
    let (mut data, mut seen) = (Vec::new(), first);
    loop {
        seen.iter().for_each(|seen| peer.take(seen));
        let len = data.len();
        data.extend(seen.iter().flat_map(|seen| seen.payload.clone()));
        if data.len() == len {
            return data;
        }
        seen = peer.tell(host, ACK, b"");
    }
}

/// Says `bytes` in a segment, and returns what is answered.
#[track_caller]
fn say(peer: &mut Peer, host: &mut Host<Builtins>, bytes: &[u8]) -> Vec<u8> {
    let first = peer.tell(host, ACK, bytes);
    heard(peer, host, first)
}

/// Lets time pass, and returns what is said meanwhile.
#[track_caller]
fn wait(peer: &mut Peer, host: &mut Host<Builtins>, span: Duration) -> Vec<u8> {
    let first = peer.read_all(host.pass(span));
    heard(peer, host, first)
}

#[test]
fn what_two_segments_cut_is_answered_whole_and_parked_again() {
    let ws = [REQUEST, PING].concat();
    let dubbo = [HEARTBEAT, HEARTBEAT].concat();
    for (target, input, output, step) in
        [(WS, &ws, [ANSWER, PONG].concat(), 5), (DUBBO, &dubbo, [ALIVE, ALIVE].concat(), 1)]
    {
        for cut in (1..input.len()).step_by(step) {
            let mut host = host(1);
            let mut peer = Peer::opened(&mut host, target);
            let mut heard = say(&mut peer, &mut host, &input[..cut]);
            heard.extend(say(&mut peer, &mut host, &input[cut..]));
            assert_eq!(heard, output, "{target} cut at {cut}");
            assert_eq!(wait(&mut peer, &mut host, Duration::from_secs(2)), b"");
            assert_eq!((host.engine.counters().promoted, host.state()), (0, State::Established));
        }
    }
}

#[test]
fn without_a_place_to_keep_it_in_half_a_message_comes_again() {
    for (target, input, output) in [(WS, REQUEST, ANSWER), (DUBBO, HEARTBEAT, ALIVE)] {
        let mut host = host(0);
        let mut peer = Peer::opened(&mut host, target);
        let seen = peer.say(&mut host, ACK, peer.seq, peer.ack, &input[..10]);
        assert!(seen.iter().all(|seen| seen.ack == peer.seq), "it is not acknowledged");
        assert_eq!(say(&mut peer, &mut host, input), output);
    }
}

#[test]
fn a_push_waits_for_the_handshake_and_for_the_end_of_a_message() {
    for promoted_max in [0, 1] {
        let mut host = host(promoted_max);
        let mut peer = Peer::opened(&mut host, WS);
        let (id, outcomes) = (host.id(), push::Outcomes::default());
        let moment = Duration::from_millis(100);
        let news = message(Kind::Text, b"news");
        host.engine.push(id, &news, outcomes.notice(1), host.now).expect("there is room");
        assert_eq!(wait(&mut peer, &mut host, moment), b"");
        assert_eq!(say(&mut peer, &mut host, REQUEST), ANSWER);
        assert_eq!(wait(&mut peer, &mut host, moment), news);
        assert_eq!(outcomes.take(), [(1, Outcome::Sent)]);
        let (begun, ended) = (b"\x01\x83\0\0\0\0Hel", b"\x80\x82\0\0\0\0lo");
        assert_eq!(say(&mut peer, &mut host, begun), b"\x01\x03Hel");
        host.engine.push(id, &news, outcomes.notice(2), host.now).expect("there is room");
        assert_eq!(wait(&mut peer, &mut host, moment), b"", "not between fragments");
        assert_eq!(say(&mut peer, &mut host, PING), PONG, "but pongs go there");
        assert_eq!(say(&mut peer, &mut host, ended), b"\x80\x02lo");
        assert_eq!(wait(&mut peer, &mut host, moment), news);
        assert_eq!(outcomes.take(), [(2, Outcome::Sent)]);
    }
}

#[test]
fn a_peer_whose_tcp_alone_answers_is_given_up_after_three_periods() {
    let asked = &b"\xda\xbb\xe2\x00\x00\x00\x00\x00\x00\x00\x00"[..];
    for (target, greeting, pings) in [
        (WS, REQUEST, [b"\x89\x00".to_vec(), b"\x89\x00".to_vec()]),
        (DUBBO, b"", [0, 1].map(|id| [asked, &[id], b"\x00\x00\x00\x01N"].concat())),
    ] {
        let mut host = host(1);
        let mut peer = Peer::opened(&mut host, target);
        say(&mut peer, &mut host, greeting);
        let late = Duration::from_millis(50);
        assert_eq!(wait(&mut peer, &mut host, PERIOD - late), b"");
        assert_eq!(wait(&mut peer, &mut host, 2 * late), pings[0]);
        assert_eq!(wait(&mut peer, &mut host, PERIOD), pings[1]);
        let last = peer.read_all(host.pass(PERIOD));
        assert!(only(last).flags.rst);
        assert_eq!(host.state(), State::Free);
        let closed = host.engine.counters().closed(CloseReason::HeartbeatMissed);
        assert_eq!(closed, 1, "{target}");
    }
}

#[test]
fn a_peer_that_answers_stays_and_costs_nothing_in_between() {
    let mut host = host(1);
    let mut peer = Peer::opened(&mut host, DUBBO);
    for id in 0..20 {
        let mut asked = wait(&mut peer, &mut host, PERIOD + Duration::from_millis(50));
        assert_eq!((asked.len(), asked[2], asked[11]), (17, 0xe2, id));
        (asked[2], asked[3]) = (0x22, 20);
        assert_eq!(say(&mut peer, &mut host, &asked), b"");
        assert_eq!((host.engine.flights.len(), host.engine.counters().promoted), (0, 0));
    }
}

#[test]
fn who_sends_too_much_is_told_so_and_not_reset_in_the_middle() {
    let message = [&b"\x82\xff"[..], &(1u64 << 25).to_be_bytes(), b"\x01\x02\x03\x04data"].concat();
    let body =
        [&b"\xda\xbb\xc2\x00\x00\x00\x00\x00\x00\x00\x00\x01"[..], &(1u32 << 25).to_be_bytes()];
    let too_much = [
        (WS, REQUEST, ANSWER, message, &b"\x88\x02\x03\xf1"[..]),
        (DUBBO, HEARTBEAT, ALIVE, body.concat(), b"\xda\xbb\x02\x28"),
    ];
    for promoted_max in [0, 1] {
        for (server, hello, welcome, bytes, answer) in &too_much {
            let mut host = host(promoted_max);
            let mut peer = Peer::opened(&mut host, server);
            let seen = peer.tell(&mut host, ACK, hello);
            assert_eq!(heard(&mut peer, &mut host, seen), *welcome);
            let seen = only(peer.tell(&mut host, ACK, bytes));
            assert!(seen.payload.starts_with(answer) && seen.flags.fin, "{seen:?}");
            // It has not read the answer yet.
            for _ in 0..3 {
                let seen = peer.tell(&mut host, ACK, &[0; 1_000]);
                assert_eq!((only(seen).ack, host.state()), (peer.seq, State::FinWait1));
            }
            peer.take(&seen);
            let seen = peer.tell(&mut host, FIN, b"");
            peer.assert_ack(&seen);
            assert_eq!(host.engine.counters().closed(CloseReason::ProtocolError), 1);
            assert_eq!(host.engine.counters().resets, 0);
        }
    }
}
