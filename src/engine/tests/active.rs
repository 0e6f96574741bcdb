//! Connections that this engine opens.

use super::harness::MAC;
use super::peer::PEER_MAC;
use super::*;
use crate::conn::record::State;
use crate::conn::slab::ConnId;
use crate::drops::DropReason;
use crate::engine::ConnectError;
use crate::tcp::CloseReason;
use crate::time::Duration;
use crate::wire::addr::Endpoint;
use crate::wire::ethernet;
use crate::wire::packet::{Control, ControlKind, Packet, SynOptions, parse};

pub(super) const CLIENTS: [&str; 2] = ["10.77.0.1:50000", "[fd77::1]:50000"];

/// Lets `host` connect to `remote`.
pub(super) fn connect(
    host: &mut Host,
    local: Endpoint,
    remote: Endpoint,
) -> Result<ConnId, ConnectError> {
    let now = host.now;
    host.engine.connect(local, remote, Probe::SINK, now, &mut host.pool, &mut host.tx)
}

/// Makes `peer`'s hardware address known to `host`.
pub(super) fn learn(host: &mut Host, peer: &Peer) {
    let local = peer.flow.remote;
    assert_eq!(connect(host, local, peer.endpoint()), Err(ConnectError::Resolving));
    host.sent();
    // What an answer would do; the answers themselves have tests of their own.
    host.engine.neighbors.learn(peer.endpoint().addr, PEER_MAC, true, host.now);
}

/// Answers the SYN that `host` has queued, as `peer`.
pub(super) fn establish(host: &mut Host, peer: &mut Peer) -> Seen {
    let syn = peer.read(&only(host.sent()));
    assert_eq!((syn.flags, &syn.payload[..]), (SYN, &b""[..]));
    peer.take(&Seen { seq: peer.ack, ..syn.clone() });
    peer.ack = syn.seq + 1;
    let ack = only(peer.tell(host, SYN_ACK, b""));
    assert_eq!((ack.flags, ack.seq, ack.ack), (ACK, peer.ack, peer.seq));
    assert_eq!(host.state(), State::Established);
    syn
}

/// A client whose SYN to `peer` is queued.
pub(super) fn connecting(client: &str) -> (Host, Peer) {
    let mut host = Host::serving();
    let peer = Peer::to(client, 7);
    learn(&mut host, &peer);
    connect(&mut host, peer.flow.remote, peer.endpoint()).unwrap();
    assert_eq!(host.state(), State::SynSent);
    (host, peer)
}

#[test]
fn a_connection_over_both_families() {
    for client in CLIENTS {
        let (mut host, mut peer) = connecting(client);
        let syn = establish(&mut host, &mut peer);
        let mss = if client.starts_with('[') { 1440 } else { 1460 };
        assert_eq!(
            syn.options,
            SynOptions { mss: Some(mss), wscale: Some(0), sack_permitted: false }
        );
        assert_eq!(host.events(), [Event::Open(host.id())]);
        let counters = host.engine.counters();
        assert_eq!((counters.connected, counters.accepted, counters.established), (1, 0, 1));
        let seen = peer.tell(&mut host, ACK, b"welcome");
        peer.assert_ack(&seen);
        assert_eq!(host.engine.service().received, b"welcome");
        assert_eq!(host.seconds(500), Vec::<Vec<u8>>::new());
    }
}

#[test]
fn the_hardware_address_is_asked_for_once_a_second_and_learned_from_the_answer() {
    for (client, to) in CLIENTS.into_iter().zip([ethernet::BROADCAST, [0x33, 0x33, 0xff, 0, 0, 2]])
    {
        let mut host = Host::serving();
        let peer = Peer::to(client, 7);
        let ask = |host: &mut Host| {
            let result = connect(host, peer.flow.remote, peer.endpoint());
            assert_eq!(result, Err(ConnectError::Resolving));
            host.sent()
        };
        let question = only(ask(&mut host));
        assert_eq!((&question[..6], &question[6..12]), (&to[..], &MAC[..]));
        let Ok(Packet::Control(Control { kind, source, target, .. })) = parse(&question, PEER_MAC)
        else {
            panic!("{:?}", parse(&question, PEER_MAC));
        };
        assert_eq!((source, target), (peer.flow.remote.addr, peer.endpoint().addr));
        assert_ne!(kind, ControlKind::Icmp);
        assert!(ask(&mut host).is_empty(), "not again at once");
        host.seconds(1);
        assert_eq!(ask(&mut host).len(), 1, "again after a second");
        // A second engine that owns the peer's address answers.
        let mut other = config();
        (other.mac, other.owned) = (PEER_MAC, vec![harness::owned("10.77.0.2", 32, 16)]);
        other.owned.push(harness::owned("fd77::2", 128, 64));
        other.listeners.clear();
        let mut neighbor = Host::new(other, Probe::default());
        let answer = neighbor.receive(&[question]);
        assert!(host.receive(&[only(answer)]).is_empty());
        assert_eq!(host.dropped(DropReason::ControlIgnored), 1, "learned, not answered");
        assert!(connect(&mut host, peer.flow.remote, peer.endpoint()).is_ok());
        assert_eq!(peer.read(&only(host.sent())).flags, SYN);
    }
}

#[test]
fn only_neighbours_that_were_asked_for_are_learned() {
    let mut host = Host::serving();
    host.engine.neighbors.learn(endpoint("10.77.0.2:7").addr, PEER_MAC, true, host.now);
    let peer = Peer::to(CLIENTS[0], 7);
    let result = connect(&mut host, peer.flow.remote, peer.endpoint());
    assert_eq!(result, Err(ConnectError::Resolving));
    host.sent();
    host.engine.neighbors.learn(peer.endpoint().addr, ethernet::BROADCAST, true, host.now);
    let result = connect(&mut host, peer.flow.remote, peer.endpoint());
    assert_eq!(result, Err(ConnectError::Resolving), "a group is no neighbour");
}

#[test]
fn neighbours_that_never_answer_make_room_for_others() {
    let mut host = Host::serving();
    let local = endpoint(CLIENTS[0]);
    for n in 0..600u32 {
        let remote = endpoint(&format!("10.77.{}.{}:7", 1 + n / 200, 1 + n % 200));
        assert_eq!(connect(&mut host, local, remote), Err(ConnectError::Resolving));
        host.sent();
        host.seconds(2);
    }
    let peer = Peer::to(CLIENTS[0], 7);
    learn(&mut host, &peer);
    assert!(connect(&mut host, local, peer.endpoint()).is_ok());
    host.sent();
}

#[test]
fn a_refused_connection_says_so() {
    let (mut host, mut peer) = connecting(CLIENTS[0]);
    let syn = peer.read(&only(host.sent()));
    peer.ack = syn.seq + 1;
    assert_eq!(peer.tell(&mut host, crate::wire::packet::Flags { ack: true, ..RST }, b""), []);
    assert_eq!(
        (host.state(), host.events()),
        (State::Free, vec![Event::Closed(CloseReason::Refused)])
    );
}

#[test]
fn resets_that_prove_nothing_are_ignored() {
    let (mut host, peer) = connecting(CLIENTS[1]);
    let syn = peer.read(&only(host.sent()));
    let with_ack = crate::wire::packet::Flags { ack: true, ..RST };
    for (flags, ack) in [(RST, syn.seq + 1), (with_ack, syn.seq), (with_ack, syn.seq + 2)] {
        assert_eq!(peer.say(&mut host, flags, peer.seq, ack, b""), []);
    }
    assert_eq!((host.state(), host.dropped(DropReason::StrayReset)), (State::SynSent, 3));
}

#[test]
fn nobody_answers() {
    let (mut host, peer) = connecting(CLIENTS[0]);
    let start = host.now;
    let first = peer.read(&only(host.sent()));
    let repeats = host.pass_noting(Duration::from_secs(300));
    let seconds: Vec<u64> = repeats.iter().map(|(at, _)| at.since(start).as_secs()).collect();
    assert_eq!(seconds, [1, 3, 7, 15, 31, 63, 123]);
    assert!(repeats.iter().all(|(_, frame)| peer.read(frame) == first));
    assert_eq!(host.events(), [Event::Closed(CloseReason::UserTimeout)]);
    assert_eq!(host.state(), State::Free);
}

#[test]
fn an_answer_to_an_older_connection_is_reset_and_the_syn_goes_on() {
    // RFC 9293 figure 9: the peer still has a connection that this host has forgotten.
    let (mut host, mut peer) = connecting(CLIENTS[0]);
    let syn = peer.read(&only(host.sent()));
    for flags in [ACK, SYN_ACK] {
        for wrong in [syn.seq, syn.seq + 2, syn.seq - 70_000] {
            let reset = only(peer.say(&mut host, flags, peer.seq, wrong, b""));
            assert_eq!((reset.flags, reset.seq), (RST, wrong));
        }
    }
    assert_eq!(host.state(), State::SynSent);
    let again = peer.read(&only(host.seconds(2)));
    assert_eq!(again, syn);
    peer.ack = syn.seq + 1;
    peer.assert_ack(
        &peer
            .clone()
            .tell(&mut host, SYN_ACK, b"")
            .into_iter()
            .map(|seen| Seen { ack: peer.seq, ..seen })
            .collect::<Vec<_>>(),
    );
    assert_eq!(host.state(), State::Established);
}

#[test]
fn a_repeated_syn_ack_is_acknowledged_again() {
    let (mut host, mut peer) = connecting(CLIENTS[0]);
    establish(&mut host, &mut peer);
    let seen = peer.say(&mut host, SYN_ACK, peer.seq - 1, peer.ack, b"");
    peer.assert_ack(&seen);
}

#[test]
fn the_greeting_of_a_client_goes_with_the_last_segment_of_the_handshake() {
    let (mut host, mut peer) = connecting(CLIENTS[0]);
    host.engine.service_mut().greeting = b"hello".to_vec();
    let syn = peer.read(&only(host.sent()));
    peer.ack = syn.seq + 1;
    let greeting = only(peer.tell(&mut host, SYN_ACK, b""));
    assert_eq!((greeting.flags, &greeting.payload[..]), (ACK, &b"hello"[..]));
    assert_eq!(greeting.ack, peer.seq);
}

#[test]
fn connects_that_cannot_be() {
    let (mut host, peer) = connecting(CLIENTS[0]);
    host.sent();
    let (local, remote) = (peer.flow.remote, peer.endpoint());
    assert_eq!(connect(&mut host, local, remote), Err(ConnectError::InUse));
    let foreign = endpoint("10.77.9.9:1");
    assert_eq!(connect(&mut host, foreign, remote), Err(ConnectError::NotOwned));
    let off_link = endpoint("10.78.0.2:7");
    assert_eq!(connect(&mut host, local, off_link), Err(ConnectError::Unreachable));
    let other_family = endpoint("[fd77::2]:7");
    assert_eq!(connect(&mut host, local, other_family), Err(ConnectError::Unreachable));
    for port in 1..64 {
        assert!(connect(&mut host, Endpoint { port, ..local }, remote).is_ok());
    }
    let last = Endpoint { port: 64, ..local };
    assert_eq!(connect(&mut host, last, remote), Err(ConnectError::Full));
    assert_eq!(host.sent().len(), 63);
}
