//! Data in both directions.

use super::*;
use crate::conn::record::State;
use crate::drops::DropReason;
use crate::tcp::CloseReason;

const ECHO: &str = "10.77.0.1:7";
const DISCARD: &str = "[fd77::1]:9";
const LINE: &str = "10.77.0.1:7000";

/// Takes `seen`, acknowledges it, and expects no answer to that.
#[track_caller]
fn acknowledge(peer: &mut Peer, host: &mut Host, seen: &[Seen]) {
    seen.iter().for_each(|seen| peer.take(seen));
    assert_eq!(peer.tell(host, ACK, b""), []);
}

#[test]
fn what_is_sent_to_echo_comes_back() {
    let mut host = Host::serving();
    let mut peer = Peer::opened(&mut host, ECHO);
    for text in [&b"a"[..], b"hello", &[7; 1400]] {
        let echoed = peer.tell(&mut host, ACK, text);
        assert_eq!((&only(echoed.clone()).payload[..], echoed[0].ack), (text, peer.seq));
        acknowledge(&mut peer, &mut host, &echoed);
    }
    assert_eq!(host.engine.flights.len(), 0);
}

#[test]
fn a_heartbeat_costs_two_frames_on_the_wire_each_way() {
    let mut host = Host::serving();
    let mut peer = Peer::opened(&mut host, LINE);
    for _ in 0..10 {
        let pong = peer.tell(&mut host, ACK, b"PING\n");
        assert_eq!(only(pong.clone()).payload, b"PONG\n");
        acknowledge(&mut peer, &mut host, &pong);
    }
}

#[test]
fn data_that_a_service_only_reads_is_acknowledged() {
    let mut host = Host::serving();
    let mut peer = Peer::opened(&mut host, DISCARD);
    for _ in 0..5 {
        let seen = peer.tell(&mut host, ACK, &[1; 1400]);
        peer.assert_ack(&seen);
    }
    assert_eq!(peer.tell(&mut host, FIN, b"end").len(), 1);
    assert_eq!(host.state(), State::LastAck);
}

#[test]
fn overlapping_data_is_taken_from_the_first_new_byte() {
    let mut host = Host::serving();
    let mut peer = Peer::opened(&mut host, ECHO);
    let first = peer.tell(&mut host, ACK, b"hello ");
    acknowledge(&mut peer, &mut host, &first);
    let overlap = peer.say(&mut host, ACK, peer.seq - 6, peer.ack, b"hello world");
    assert_eq!(only(overlap.clone()).payload, b"world");
    peer.seq += 5;
    acknowledge(&mut peer, &mut host, &overlap);
}

#[test]
fn early_data_gets_a_duplicate_ack_each_time_so_that_the_peer_sends_again_fast() {
    let mut host = Host::serving();
    let mut peer = Peer::opened(&mut host, ECHO);
    for n in 1..=5 {
        let seen = peer.say(&mut host, ACK, peer.seq + n, peer.ack, b"early");
        peer.assert_ack(&seen);
    }
    assert_eq!(host.dropped(DropReason::OutOfOrder), 5);
    assert_eq!(only(peer.tell(&mut host, ACK, b"in order")).payload, b"in order");
}

#[test]
fn early_data_is_counted_as_dropped_also_when_its_acknowledgment_is_news() {
    let mut host = Host::serving();
    let mut peer = Peer::opened(&mut host, ECHO);
    let echoed = only(peer.tell(&mut host, ACK, b"abc"));
    peer.take(&echoed);
    let seen = peer.say(&mut host, ACK, peer.seq + 1, peer.ack, b"early");
    peer.assert_ack(&seen);
    assert_eq!((host.engine.flights.len(), host.dropped(DropReason::OutOfOrder)), (0, 1));
}

#[test]
fn old_data_is_acknowledged_again_each_time() {
    let mut host = Host::serving();
    let mut peer = Peer::opened(&mut host, DISCARD);
    peer.tell(&mut host, ACK, b"once");
    for _ in 0..3 {
        let seen = peer.say(&mut host, ACK, peer.seq - 4, peer.ack, b"once");
        peer.assert_ack(&seen);
    }
    assert_eq!(host.dropped(DropReason::OutOfWindow), 3);
}

#[test]
fn more_than_a_flight_is_taken_up_to_the_flight_and_the_rest_comes_again() {
    let mut host = Host::serving();
    let mut peer = Peer::opened(&mut host, ECHO);
    let data: Vec<u8> = (0..4000u32).map(|n| n as u8).collect();
    let a = peer.next(ACK, &data[..1460]);
    let b = peer.next(ACK, &data[1460..2920]);
    // Past the window.
    let c = peer.raw(ACK, peer.seq, peer.ack, &data[2920..]);
    let seen = peer.read_all(host.receive(&[a, b, c]));
    let echoed: Vec<u8> = seen.iter().flat_map(|seen| seen.payload.clone()).collect();
    assert_eq!(echoed, data[..2920]);
    assert_eq!(seen.last().unwrap().ack, peer.seq);
    assert_eq!(host.dropped(DropReason::ServiceFull), 1);
    seen.iter().for_each(|seen| peer.take(seen));
    // The acknowledgment frees the flight for what the same segment brings.
    let rest = peer.tell(&mut host, ACK, &data[2920..]);
    assert_eq!(only(rest).payload, data[2920..]);
}

#[test]
fn a_segment_longer_than_the_room_is_taken_in_part() {
    let mut host = Host::serving();
    let mut peer = Peer::to(ECHO, 40_000);
    peer.window = 100;
    peer.open(&mut host);
    let at = peer.seq;
    let part = only(peer.tell(&mut host, FIN, &[5; 250]));
    assert_eq!((part.payload.len(), part.ack, part.flags), (100, at + 100, ACK));
    assert_eq!(host.dropped(DropReason::ServiceFull), 1);
    peer.take(&part);
    let part = only(peer.say(&mut host, FIN, at + 100, peer.ack, &[5; 150]));
    assert_eq!((part.payload.len(), part.ack), (100, at + 200));
    peer.take(&part);
    let last = only(peer.say(&mut host, FIN, at + 200, peer.ack, &[5; 50]));
    assert_eq!((last.payload.len(), last.ack, last.flags), (50, at + 251, FIN));
}

#[test]
fn a_small_mss_splits_what_is_sent_into_at_most_ten_segments() {
    for (mss, asked, segments) in [(536, 1400, 3), (48, 1400, 10), (1, 1400, 10), (1400, 1400, 1)] {
        let mut host = Host::serving();
        let mut peer = Peer::to(ECHO, 40_000);
        peer.options.mss = Some(mss);
        peer.open(&mut host);
        let seen = peer.tell(&mut host, ACK, &vec![9; asked]);
        assert_eq!(seen.len(), segments, "mss {mss}");
        let mss = usize::from(mss.max(48));
        assert!(seen.iter().all(|seen| seen.payload.len() <= mss));
        let total: usize = seen.iter().map(|seen| seen.payload.len()).sum();
        assert_eq!(total, asked.min(10 * mss));
        // What was past the window was not taken.
        peer.seq = seen[0].ack;
        acknowledge(&mut peer, &mut host, &seen);
    }
}

#[test]
fn a_closed_window_is_respected_until_it_opens() {
    let mut host = Host::serving();
    let mut peer = Peer::opened(&mut host, ECHO);
    peer.window = 0;
    assert_eq!(peer.tell(&mut host, ACK, b""), []);
    let at = peer.seq;
    let refused = peer.tell(&mut host, ACK, b"abc");
    peer.seq = at;
    peer.assert_ack(&refused);
    assert_eq!(host.engine.flights.len(), 0);
    peer.window = 2;
    assert_eq!(only(peer.tell(&mut host, ACK, b"abc")).payload, b"ab");
}

#[test]
fn an_old_segment_does_not_bring_an_old_window_back() {
    let mut host = Host::serving();
    let mut peer = Peer::opened(&mut host, ECHO);
    let echoed = peer.tell(&mut host, ACK, b"abc");
    let before = peer.ack;
    peer.window = 50;
    acknowledge(&mut peer, &mut host, &echoed);
    peer.window = 0;
    assert_eq!(peer.say(&mut host, ACK, peer.seq, before, b""), [], "acknowledges less");
    assert_eq!(host.engine.table.slab[host.id().index()].window(), 50);
    peer.window = 50;
    assert_eq!(only(peer.tell(&mut host, ACK, b"def")).payload, b"def");
}

#[test]
fn acknowledgments_of_a_part_free_that_part() {
    let mut host = Host::serving();
    let mut peer = Peer::opened(&mut host, ECHO);
    let sent = only(peer.tell(&mut host, ACK, &[3; 1000]));
    assert_eq!(peer.say(&mut host, ACK, peer.seq, peer.ack + 400, b""), []);
    let flight = host.engine.table.slab[host.id().index()].flight;
    assert_eq!(host.engine.flights[flight].len, 600);
    let again = only(peer.read_all(host.pass(crate::time::Duration::from_millis(1100))));
    assert_eq!((again.seq, again.payload.len()), (peer.ack + 400, 600));
    peer.take(&sent);
    assert_eq!(peer.tell(&mut host, ACK, b""), []);
    assert_eq!(host.engine.flights.len(), 0);
}

#[test]
fn the_last_acknowledgment_may_bring_the_next_request() {
    let mut host = Host::serving();
    let mut peer = Peer::opened(&mut host, LINE);
    let mut seen = only(peer.tell(&mut host, ACK, b"PING\n"));
    for _ in 0..20 {
        peer.take(&seen);
        seen = only(peer.tell(&mut host, ACK, b"PING\n"));
        assert_eq!(seen.payload, b"PONG\n");
    }
}

#[test]
fn requests_that_are_not_acknowledged_yet_pile_up_in_one_flight() {
    let mut host = Host::serving();
    let mut peer = Peer::opened(&mut host, LINE);
    for n in 0..50 {
        let pong = only(peer.tell(&mut host, ACK, b"PING\n"));
        assert_eq!((&pong.payload[..], pong.seq), (&b"PONG\n"[..], peer.ack + 5 * n));
    }
    assert_eq!(host.engine.flights.len(), 1);
}

#[test]
fn keepalive_probes_are_answered_from_the_record() {
    let mut host = Host::serving();
    let peer = Peer::opened(&mut host, "[fd77::1]:7");
    for garbage in [&b""[..], b"x"] {
        host.seconds(7200);
        let seen = peer.say(&mut host, ACK, peer.seq - 1, peer.ack, garbage);
        peer.assert_ack(&seen);
    }
    // Every second, as the shortest interval is.
    for _ in 0..10 {
        host.seconds(1);
        let seen = peer.say(&mut host, ACK, peer.seq - 1, peer.ack, b"");
        peer.assert_ack(&seen);
    }
    assert_eq!(host.engine.next_timer(host.now), None);
}

#[test]
fn a_reset_ends_it_and_the_service_hears_why() {
    let mut host = Host::serving();
    let mut peer = Peer::opened(&mut host, ECHO);
    peer.tell(&mut host, ACK, b"in flight");
    assert_eq!(peer.tell(&mut host, RST, b""), []);
    assert_eq!(host.events().last(), Some(&Event::Closed(CloseReason::ResetByPeer)));
    assert_eq!((host.state(), host.engine.flights.len()), (State::Free, 0));
    assert_eq!(host.engine.counters().established, 0);
}
