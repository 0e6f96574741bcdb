//! TIME-WAIT: how long, what restarts it, and what may end it.

use super::*;
use crate::conn::record::State;
use crate::drops::DropReason;
use crate::time::Duration;
use crate::wire::addr::Endpoint;
use crate::wire::seq::SeqNumber;

/// A connection in TIME-WAIT.
fn waiting(host: &mut Host) -> Peer {
    let mut peer = Peer::opened(host, "10.77.0.1:7000");
    let fin = only(peer.tell(host, ACK, b"QUIT\n"));
    peer.take(&fin);
    let seen = peer.tell(host, FIN, b"");
    peer.assert_ack(&seen);
    assert_eq!(host.state(), State::TimeWait);
    peer
}

const ALMOST: Duration = Duration::from_millis(59_990);

#[test]
fn it_lasts_as_long_as_configured_and_costs_a_record_and_a_timer() {
    let mut host = Host::serving();
    waiting(&mut host);
    assert_eq!((host.engine.flights.len(), host.engine.wheel.len()), (0, 1));
    assert_eq!(host.pass(ALMOST), Vec::<Vec<u8>>::new());
    assert_eq!(host.state(), State::TimeWait);
    let told = host.events().len();
    assert_eq!(host.seconds(1), Vec::<Vec<u8>>::new());
    assert_eq!((host.state(), told, host.events()), (State::Free, 2, vec![]));
    assert_eq!(host.engine.counters().closed.iter().sum::<u64>(), 1, "counted once");
}

#[test]
fn the_peers_fin_again_is_acknowledged_and_starts_it_anew() {
    let mut host = Host::serving();
    let peer = waiting(&mut host);
    for _ in 0..3 {
        host.pass(ALMOST);
        let seen = peer.say(&mut host, FIN, peer.seq - 1, peer.ack, b"");
        peer.assert_ack(&seen);
    }
    host.pass(ALMOST);
    assert_eq!(host.state(), State::TimeWait);
    host.seconds(1);
    assert_eq!(host.state(), State::Free);
}

#[test]
fn no_other_segment_starts_it_anew() {
    let mut host = Host::serving();
    let peer = waiting(&mut host);
    host.pass(ALMOST);
    peer.say(&mut host, FIN, peer.seq - 1000, peer.ack, b"old");
    peer.say(&mut host, FIN, peer.seq + 100_000, peer.ack, b"");
    peer.say(&mut host, ACK, peer.seq, peer.ack, b"");
    peer.say(&mut host, SYN, peer.seq - 7, peer.ack, b"");
    host.seconds(1);
    assert_eq!(host.state(), State::Free);
}

#[test]
fn resets_are_ignored() {
    let mut host = Host::serving();
    let peer = waiting(&mut host);
    for seq in [peer.seq, peer.seq - 1, peer.seq + 1, SeqNumber(0)] {
        peer.say(&mut host, RST, seq, peer.ack, b"");
        assert_eq!(host.state(), State::TimeWait, "RFC 1337");
    }
}

#[test]
fn acks_get_no_answer() {
    let mut host = Host::serving();
    let peer = waiting(&mut host);
    for (seq, ack) in [(peer.seq, peer.ack), (peer.seq - 9, peer.ack), (peer.seq, peer.ack + 99)] {
        assert_eq!(peer.say(&mut host, ACK, seq, ack, b""), []);
    }
}

#[test]
fn a_higher_syn_opens_a_new_connection_with_higher_numbers() {
    for v in [1, 100_000, (1 << 31) - 1] {
        let mut host = Host::serving();
        let mut peer = waiting(&mut host);
        host.events();
        let past = peer.ack;
        peer.seq += v;
        let syn_ack = peer.syn(&mut host);
        assert!(syn_ack.seq.after(past), "RFC 9293 MAY-2");
        assert_eq!(peer.tell(&mut host, ACK, b""), []);
        assert_eq!(only(peer.tell(&mut host, ACK, b"PING\n")).payload, b"PONG\n");
        assert_eq!(host.state(), State::Established);
        assert!(matches!(host.events()[..], [Event::Open(_)]), "the old end was told before");
    }
}

#[test]
fn numbers_rise_even_if_the_last_connection_outran_the_clock() {
    let mut host = Host::serving();
    let mut peer = Peer::opened(&mut host, "10.77.0.1:7");
    for _ in 0..200 {
        let seen = peer.tell(&mut host, ACK, &[1; 1400]);
        peer.take(&only(seen));
    }
    assert_eq!(peer.tell(&mut host, ACK, b""), []);
    let (id, now) = (host.id(), host.now);
    host.engine.close(id, now, &mut host.pool, &mut host.tx).unwrap();
    let fin = peer.read(&only(host.sent()));
    peer.take(&fin);
    peer.tell(&mut host, FIN, b"");
    assert_eq!(host.state(), State::TimeWait);
    let past = peer.ack;
    peer.seq += 1000;
    assert!(peer.syn(&mut host).seq.after(past), "no time has passed, and 280,000 bytes have");
}

#[test]
fn an_old_or_equal_syn_is_challenged() {
    let mut host = Host::serving();
    let peer = waiting(&mut host);
    for seq in [peer.seq, peer.seq - 1, peer.seq - 100_000] {
        let seen = peer.say(&mut host, SYN, seq, SeqNumber(0), b"");
        peer.assert_ack(&seen);
    }
    assert_eq!(host.state(), State::TimeWait);
}

#[test]
fn a_syn_for_a_port_that_does_not_listen_does_not_end_it() {
    let mut host = Host::serving();
    let mut peer = Peer::to("10.77.0.1:50000", 7);
    let local = peer.flow.remote;
    active::learn(&mut host, &peer);
    let id = active::connect(&mut host, local, peer.endpoint()).unwrap();
    active::establish(&mut host, &mut peer);
    let now = host.now;
    host.engine.close(id, now, &mut host.pool, &mut host.tx).unwrap();
    let fin = peer.read(&only(host.sent()));
    peer.take(&fin);
    peer.tell(&mut host, FIN, b"");
    assert_eq!(host.state(), State::TimeWait);
    let seen = peer.say(&mut host, SYN, peer.seq + 1000, SeqNumber(0), b"");
    peer.assert_ack(&seen);
    assert_eq!(host.state(), State::TimeWait);
    assert_eq!(host.dropped(DropReason::Flags), 1);
    let again = Endpoint { port: 50001, ..local };
    assert!(active::connect(&mut host, again, peer.endpoint()).is_ok());
}
