//! Two SYNs that cross (RFC 9293 section 3.5, figure 7).

use super::active::{CLIENTS, connect, connecting};
use super::harness::owned;
use super::peer::PEER_MAC;
use super::*;
use crate::conn::record::State;
use crate::tcp::CloseReason;

/// A host and a peer whose SYNs have crossed, and the host's SYN-ACK.
fn crossed(client: &str) -> (Host, Peer, Seen) {
    let (mut host, mut peer) = connecting(client);
    let syn = peer.read(&only(host.sent()));
    let syn_ack = only(peer.tell(&mut host, SYN, b""));
    assert_eq!((syn_ack.flags, syn_ack.seq, syn_ack.ack), (SYN_ACK, syn.seq, peer.seq));
    assert_eq!((host.state(), host.engine.counters().half_open), (State::SynReceived, 1));
    assert_eq!(host.events(), [], "not open yet");
    peer.ack = syn.seq + 1;
    (host, peer, syn_ack)
}

fn assert_open(host: &mut Host, peer: &mut Peer) {
    assert_eq!(host.events(), [Event::Open(host.id())]);
    let counters = host.engine.counters();
    let counted = (counters.connected, counters.accepted, counters.half_open);
    assert_eq!(counted, (1, 0, 0));
    let seen = peer.tell(host, ACK, b"welcome");
    peer.assert_ack(&seen);
    assert_eq!(host.engine.service().received, b"welcome");
    assert_eq!(host.seconds(500), Vec::<Vec<u8>>::new());
    peer.tell(host, FIN, b"");
    assert_eq!(host.state(), State::LastAck, "the peer closed first, and that is remembered");
}

#[test]
fn the_peers_syn_ack_opens_it() {
    for client in CLIENTS {
        let (mut host, mut peer, _) = crossed(client);
        let seen = peer.say(&mut host, SYN_ACK, peer.seq - 1, peer.ack, b"");
        peer.assert_ack(&seen);
        assert_open(&mut host, &mut peer);
    }
}

#[test]
fn an_ack_opens_it_too() {
    for client in CLIENTS {
        let (mut host, mut peer, _) = crossed(client);
        assert_eq!(peer.tell(&mut host, ACK, b""), []);
        assert_open(&mut host, &mut peer);
    }
}

#[test]
fn the_syn_ack_is_repeated_until_it_is_given_up() {
    let (mut host, peer, syn_ack) = crossed(CLIENTS[0]);
    let sent = host.seconds(500);
    let repeated = peer.read_all(sent);
    assert_eq!(repeated, vec![syn_ack; 7], "as often as a SYN");
    assert_eq!(host.events(), [Event::Closed(CloseReason::UserTimeout)]);
    assert_eq!(host.state(), State::Free);
}

#[test]
fn a_syn_that_comes_again_is_answered_again() {
    let (mut host, peer, syn_ack) = crossed(CLIENTS[1]);
    assert_eq!(peer.say(&mut host, SYN, peer.seq - 1, peer.ack, b""), [syn_ack]);
}

#[test]
fn a_reset_refuses_it_and_a_wrong_acknowledgment_does_not_open_it() {
    let (mut host, peer, _) = crossed(CLIENTS[0]);
    let wrong = only(peer.say(&mut host, SYN_ACK, peer.seq - 1, peer.ack + 1, b""));
    assert!(wrong.flags.rst && wrong.seq == peer.ack + 1, "{wrong:?}");
    assert_eq!(host.state(), State::SynReceived);
    assert_eq!(peer.say(&mut host, RST, peer.seq, peer.ack, b""), []);
    assert_eq!(host.events(), [Event::Closed(CloseReason::Refused)]);
}

#[test]
fn two_engines_open_one_connection_and_talk() {
    let mut config_far = config();
    config_far.mac = PEER_MAC;
    config_far.owned = vec![owned("10.77.0.2", 32, 16)];
    config_far.listeners.clear();
    let mut near = Host::serving();
    let mut far = Host::new(config_far, Probe::default());
    let ends = [endpoint("10.77.0.1:50000"), endpoint("10.77.0.2:50000")];
    let mut frames = [Vec::new(), Vec::new()];
    // The first tries ask for the hardware address, and the answers make the second ones SYNs.
    for _ in 0..2 {
        let _ = connect(&mut near, ends[0], ends[1]);
        let _ = connect(&mut far, ends[1], ends[0]);
        let sent = [near.sent(), far.sent()];
        if near.state() == State::SynSent && far.state() == State::SynSent {
            frames = sent;
            break;
        }
        let answers = [near.receive(&sent[1]), far.receive(&sent[0])];
        near.receive(&answers[1]);
        far.receive(&answers[0]);
    }
    let mut rounds = 0;
    while frames.iter().any(|frames| !frames.is_empty()) {
        frames = [near.receive(&frames[1]), far.receive(&frames[0])];
        rounds += 1;
        assert!(rounds < 6, "nobody answers for ever");
    }
    for host in [&mut near, &mut far] {
        assert_eq!((host.state(), host.engine.counters().connected), (State::Established, 1));
    }
    let id = near.id();
    near.engine.send(id, b"hello", near.now, &mut near.pool, &mut near.tx).unwrap();
    let sent = near.sent();
    let ack = far.receive(&sent);
    near.receive(&ack);
    assert_eq!(far.engine.service().received, b"hello");
    assert_eq!(near.engine.flights.len(), 0);
}
