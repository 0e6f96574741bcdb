//! Closing, in every order.

use super::*;
use crate::conn::record::State;
use crate::tcp::CloseReason;
use crate::tcp::timing;
use crate::time::Duration;

const ECHO: &str = "10.77.0.1:7";
const LINE: &str = "[fd77::1]:7000";

/// A connection that the server has closed first, and its FIN.
fn quit(host: &mut Host) -> (Peer, Seen) {
    let mut peer = Peer::opened(host, LINE);
    let fin = only(peer.tell(host, ACK, b"QUIT\n"));
    assert_eq!((fin.flags, fin.ack, host.state()), (FIN, peer.seq, State::FinWait1));
    (peer, fin)
}

#[test]
fn the_peer_closes_first() {
    let mut host = Host::serving();
    let mut peer = Peer::opened(&mut host, ECHO);
    let fin = only(peer.tell(&mut host, FIN, b""));
    assert_eq!((fin.flags, fin.ack, host.state()), (FIN, peer.seq, State::LastAck));
    peer.take(&fin);
    assert_eq!(peer.tell(&mut host, ACK, b""), []);
    assert_eq!(host.state(), State::Free, "no TIME-WAIT for who closes last");
    assert_eq!(host.events()[1..], [Event::PeerClosed, Event::Closed(CloseReason::ClosedByPeer)]);
    assert_eq!(host.engine.counters().closed(CloseReason::ClosedByPeer), 1);
    assert_eq!(host.seconds(500), Vec::<Vec<u8>>::new());
}

#[test]
fn the_server_closes_first() {
    let mut host = Host::serving();
    let (mut peer, fin) = quit(&mut host);
    peer.take(&fin);
    assert_eq!(peer.tell(&mut host, ACK, b""), []);
    assert_eq!(host.state(), State::FinWait2);
    let seen = peer.tell(&mut host, FIN, b"");
    peer.assert_ack(&seen);
    assert_eq!(host.state(), State::TimeWait);
    assert_eq!(host.events()[1..], [Event::Closed(CloseReason::ClosedByUs)]);
    assert_eq!(host.engine.counters().established, 0);
}

#[test]
fn the_peers_fin_may_acknowledge_ours() {
    let mut host = Host::serving();
    let (mut peer, fin) = quit(&mut host);
    peer.take(&fin);
    let seen = peer.tell(&mut host, FIN, b"");
    peer.assert_ack(&seen);
    assert_eq!(host.state(), State::TimeWait);
}

#[test]
fn both_close_at_once() {
    let mut host = Host::serving();
    let (mut peer, fin) = quit(&mut host);
    // The peer's FIN was sent before ours arrived.
    let ack = only(peer.tell(&mut host, FIN, b""));
    assert_eq!((ack.flags, ack.ack, ack.seq), (ACK, peer.seq, fin.seq + 1));
    assert_eq!(host.state(), State::Closing);
    // Its FIN comes again: the acknowledgment was lost.
    let again = only(peer.say(&mut host, FIN, peer.seq - 1, peer.ack, b""));
    assert_eq!(again, ack);
    peer.take(&fin);
    assert_eq!(peer.tell(&mut host, ACK, b""), []);
    assert_eq!(host.state(), State::TimeWait);
    assert_eq!(host.events()[1..], [Event::Closed(CloseReason::ClosedByUs)]);
}

#[test]
fn a_half_closed_connection_still_sends() {
    let mut host = Host::serving();
    host.engine.service_mut().stays = true;
    let mut peer = Peer::opened(&mut host, ECHO);
    let echoed = only(peer.tell(&mut host, FIN, b"question"));
    assert_eq!((echoed.flags, &echoed.payload[..]), (ACK, &b"question"[..]));
    peer.take(&echoed);
    peer.tell(&mut host, ACK, b"");
    assert_eq!((host.state(), host.engine.counters().established), (State::CloseWait, 1));
    for _ in 0..3 {
        host.seconds(1000);
        let (id, now) = (host.id(), host.now);
        host.engine.send(id, b"answer", now, &mut host.pool, &mut host.tx).unwrap();
        let answer = peer.read(&only(host.sent()));
        assert_eq!((&answer.payload[..], answer.ack), (&b"answer"[..], peer.seq));
        peer.take(&answer);
        assert_eq!(peer.tell(&mut host, ACK, b""), []);
    }
    let (id, now) = (host.id(), host.now);
    host.engine.close(id, now, &mut host.pool, &mut host.tx).unwrap();
    let fin = peer.read(&only(host.sent()));
    assert_eq!((fin.flags, host.state()), (FIN, State::LastAck));
    peer.take(&fin);
    peer.tell(&mut host, ACK, b"");
    assert_eq!(host.state(), State::Free);
}

#[test]
fn fin_wait_2_ends_by_itself() {
    let mut host = Host::serving();
    let (mut peer, fin) = quit(&mut host);
    peer.take(&fin);
    peer.tell(&mut host, ACK, b"");
    assert_eq!(host.pass(timing::FIN_WAIT_2 - Duration::from_millis(1)), Vec::<Vec<u8>>::new());
    assert_eq!(host.state(), State::FinWait2);
    host.seconds(1);
    assert_eq!(host.state(), State::Free);
    assert_eq!(host.events().last(), Some(&Event::Closed(CloseReason::ClosedByUs)));
    assert!(only(peer.tell(&mut host, FIN, b"")).flags.rst, "the late FIN finds nobody");
}

#[test]
fn probes_keep_a_peer_content_but_do_not_lengthen_fin_wait_2() {
    let mut host = Host::serving();
    let (mut peer, fin) = quit(&mut host);
    peer.take(&fin);
    peer.tell(&mut host, ACK, b"");
    for _ in 0..29 {
        host.seconds(2);
        let seen = peer.say(&mut host, ACK, peer.seq - 1, peer.ack, b"");
        peer.assert_ack(&seen);
    }
    host.seconds(3);
    assert_eq!(host.state(), State::Free);
}

#[test]
fn data_after_the_server_closed_is_reset() {
    for acked in [false, true] {
        let mut host = Host::serving();
        let (mut peer, fin) = quit(&mut host);
        if acked {
            peer.take(&fin);
            peer.tell(&mut host, ACK, b"");
        }
        let reset = only(peer.tell(&mut host, ACK, b"more"));
        assert!(reset.flags.rst && reset.seq == fin.seq + 1, "{reset:?}");
        assert_eq!((host.state(), host.engine.flights.len()), (State::Free, 0));
        assert_eq!(host.events().last(), Some(&Event::Closed(CloseReason::ClosedByUs)));
    }
}

#[test]
fn what_was_had_before_the_close_is_acknowledged_and_not_reset() {
    let mut host = Host::serving();
    let (peer, fin) = quit(&mut host);
    let ack = only(peer.say(&mut host, ACK, peer.seq - 5, peer.ack, b"QUIT\n"));
    assert_eq!((ack.flags, ack.ack, ack.seq), (ACK, peer.seq, fin.seq + 1));
    assert_eq!(host.state(), State::FinWait1);
}

#[test]
fn data_and_answers_before_a_quit_are_delivered_with_the_fin() {
    let mut host = Host::serving();
    let mut peer = Peer::opened(&mut host, LINE);
    let last = only(peer.tell(&mut host, ACK, b"PING\nhello\nQUIT\nafter"));
    assert_eq!((last.flags, &last.payload[..]), (FIN, &b"PONG\nhello\n"[..]));
    assert_eq!(last.ack, peer.seq, "what follows the QUIT is received and ignored");
}

#[test]
fn a_reset_in_any_closing_state_frees_everything() {
    for state in [State::FinWait1, State::FinWait2, State::Closing, State::LastAck] {
        let mut host = Host::serving();
        let mut peer = match state {
            State::LastAck => {
                let mut peer = Peer::opened(&mut host, ECHO);
                peer.tell(&mut host, FIN, b"");
                peer
            }
            _ => {
                let (mut peer, fin) = quit(&mut host);
                if state == State::FinWait2 {
                    peer.take(&fin);
                    peer.tell(&mut host, ACK, b"");
                } else if state == State::Closing {
                    peer.tell(&mut host, FIN, b"");
                }
                peer
            }
        };
        assert_eq!(host.state(), state);
        assert_eq!(peer.tell(&mut host, RST, b""), []);
        assert_eq!(host.state(), State::Free);
        assert_eq!(host.events().last(), Some(&Event::Closed(CloseReason::ResetByPeer)));
        assert_eq!(host.seconds(500), Vec::<Vec<u8>>::new());
    }
}
