//! Connections that this host closes, and goes on to receive on (RFC 9112 section 9.6).

use super::*;
use crate::conn::record::State;
use crate::engine::config::Config;
use crate::tcp::CloseReason;
use crate::tcp::timing;

const HTTP: &str = "10.77.0.1:80";
const LAST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// Records alone, and with a socket.
fn configs() -> [Config; 2] {
    [config(), Config { promoted_max: 2, promote_always: true, ..config() }]
}

/// A connection whose last request was answered, and the answer with its FIN.
fn answered(config: Config) -> (Host, Peer, Seen) {
    let mut host = Host::new(config, Probe::default());
    let mut peer = Peer::opened(&mut host, HTTP);
    let last = only(peer.tell(&mut host, ACK, LAST));
    assert!(last.payload.ends_with(b"\r\n\r\nok\n") && last.flags == FIN, "{last:?}");
    assert_eq!(host.state(), State::FinWait1);
    (host, peer, last)
}

#[test]
fn what_the_peer_still_sends_is_taken_and_not_reset() {
    for config in configs() {
        let (mut host, mut peer, last) = answered(config);
        // Pipelined behind it; the peer has not seen the answer.
        let seen = peer.tell(&mut host, ACK, LAST);
        assert_eq!((only(seen).ack, host.state()), (peer.seq, State::FinWait1));
        peer.take(&last);
        assert_eq!(peer.tell(&mut host, ACK, b""), []);
        assert_eq!(host.state(), State::FinWait2);
        let seen = peer.tell(&mut host, ACK, LAST);
        peer.assert_ack(&seen);
        let seen = peer.tell(&mut host, FIN, b"the end");
        peer.assert_ack(&seen);
        assert_eq!(host.state(), State::TimeWait);
        assert_eq!(host.events()[1..], [Event::Closed(CloseReason::ClosedByUs)]);
        assert_eq!(host.engine.counters().resets, 0);
    }
}

#[test]
fn both_may_close_at_once() {
    for config in configs() {
        let (mut host, mut peer, last) = answered(config);
        let seen = peer.tell(&mut host, FIN, b"more");
        assert_eq!((only(seen).ack, host.state()), (peer.seq, State::Closing));
        peer.take(&last);
        assert_eq!(peer.tell(&mut host, ACK, b""), []);
        assert_eq!(host.state(), State::TimeWait);
        assert_eq!(host.events()[1..], [Event::Closed(CloseReason::ClosedByUs)]);
    }
}

#[test]
fn a_peer_that_never_stops_is_not_listened_to_for_ever() {
    let [config, _] = configs();
    let (mut host, mut peer, last) = answered(config);
    peer.take(&last);
    for _ in 0..timing::FIN_WAIT_2.as_secs() / 5 {
        let seen = peer.tell(&mut host, ACK, b"and another thing");
        peer.assert_ack(&seen);
        host.seconds(5);
    }
    host.seconds(1);
    assert_eq!(host.state(), State::Free);
    assert!(only(peer.tell(&mut host, ACK, b"and another")).flags.rst);
}

#[test]
fn a_peer_that_closed_first_is_said_to_have() {
    for config in configs() {
        let mut host = Host::new(config, Probe::default());
        let mut peer = Peer::opened(&mut host, HTTP);
        let last = only(peer.tell(&mut host, FIN, LAST));
        assert_eq!((last.flags, host.state()), (FIN, State::LastAck));
        peer.take(&last);
        peer.tell(&mut host, ACK, b"");
        assert_eq!(host.state(), State::Free);
        assert_eq!(host.events().last(), Some(&Event::Closed(CloseReason::ClosedByPeer)));
    }
}
