//! Retransmission: what is sent again, when, and when no longer.

use super::*;
use crate::conn::record::State;
use crate::tcp::CloseReason;
use crate::tcp::timing::DATA_RETRIES_MAX;
use crate::time::{Duration, Instant};

const ECHO: &str = "10.77.0.1:7";

/// Whole seconds from `start` to each of `frames`.
fn seconds_of(start: Instant, frames: &[(Instant, Vec<u8>)]) -> Vec<u64> {
    frames.iter().map(|(at, _)| at.since(start).as_secs()).collect()
}

#[test]
fn data_is_sent_again_with_growing_pauses_until_a_reset_gives_it_up() {
    let mut host = Host::serving();
    let mut peer = Peer::opened(&mut host, ECHO);
    let sent = only(peer.tell(&mut host, ACK, b"hello"));
    let start = host.now;
    let mut frames = host.pass_noting(Duration::from_secs(400));
    assert_eq!(seconds_of(start, &frames), [1, 3, 7, 15, 31, 63, 123, 183, 243, 303, 363]);
    let (_, last) = frames.pop().unwrap();
    for (_, frame) in frames {
        assert_eq!(peer.read(&frame), sent);
    }
    let last = peer.read(&last);
    assert!(last.flags.rst && last.seq == peer.ack + 5 && last.ack == peer.seq);
    assert_eq!(host.events().last(), Some(&Event::Closed(CloseReason::UserTimeout)));
    assert_eq!((host.state(), host.engine.flights.len()), (State::Free, 0));
    let counters = host.engine.counters();
    assert_eq!((counters.retransmitted, counters.resets), (u64::from(DATA_RETRIES_MAX), 1));
}

#[test]
fn a_timeout_sends_the_first_segment_and_its_acknowledgment_the_others() {
    let mut host = Host::serving();
    let mut peer = Peer::to(ECHO, 40_000);
    peer.options.mss = Some(500);
    peer.open(&mut host);
    let sent = peer.tell(&mut host, ACK, &[8; 1400]);
    assert_eq!(sent.len(), 3);
    let again = only(peer.read_all(host.seconds(2)));
    assert_eq!(again, sent[0]);
    peer.take(&again);
    let rest = peer.tell(&mut host, ACK, b"");
    assert_eq!(rest, sent[1..]);
    // A duplicate of it brings no more.
    assert_eq!(peer.tell(&mut host, ACK, b""), []);
    rest.iter().for_each(|seen| peer.take(seen));
    assert_eq!(peer.tell(&mut host, ACK, b""), []);
    assert_eq!(host.engine.flights.len(), 0);
}

#[test]
fn progress_starts_the_timer_anew() {
    let mut host = Host::serving();
    let mut peer = Peer::opened(&mut host, ECHO);
    let sent = only(peer.tell(&mut host, ACK, &[8; 1000]));
    // Three timeouts, then a part is acknowledged: the next pause is one second again.
    host.seconds(8);
    let start = host.now;
    let rest = only(peer.say(&mut host, ACK, peer.seq, peer.ack + 100, b""));
    assert_eq!((rest.seq, rest.payload.len()), (peer.ack + 100, 900));
    let frames = host.pass_noting(Duration::from_secs(8));
    assert_eq!(seconds_of(start, &frames), [1, 3, 7]);
    peer.take(&sent);
    assert_eq!(peer.tell(&mut host, ACK, b""), []);
    assert_eq!(host.seconds(100), Vec::<Vec<u8>>::new());
}

#[test]
fn a_timer_never_fires_early() {
    let mut host = Host::serving();
    for offset_ms in [0, 1, 8, 16, 17, 500, 999] {
        host.now = host.now + Duration::from_millis(offset_ms);
        let mut peer = Peer::opened(&mut host, ECHO);
        peer.tell(&mut host, ACK, b"x");
        assert_eq!(host.pass(Duration::from_millis(999)), Vec::<Vec<u8>>::new());
        assert_eq!(host.pass(Duration::from_millis(40)).len(), 1, "{offset_ms}");
        peer.tell(&mut host, RST, b"");
    }
}

#[test]
fn a_lost_ack_is_made_up_for_when_the_peer_sends_again() {
    let mut host = Host::serving();
    let mut peer = Peer::opened(&mut host, "10.77.0.1:9");
    peer.tell(&mut host, ACK, b"the ACK of this is lost");
    let seen = peer.say(&mut host, ACK, peer.seq - 23, peer.ack, b"the ACK of this is lost");
    peer.assert_ack(&seen);
}

#[test]
fn a_lost_answer_comes_with_the_timer_and_not_with_the_peers_repetition() {
    let mut host = Host::serving();
    let mut peer = Peer::opened(&mut host, ECHO);
    let sent = only(peer.tell(&mut host, ACK, b"hello"));
    let seen = only(peer.say(&mut host, ACK, peer.seq - 5, peer.ack, b"hello"));
    assert_eq!((seen.flags, seen.payload.len(), seen.ack), (ACK, 0, peer.seq));
    assert_eq!(seen.seq, peer.ack + 5, "SND.NXT");
    assert_eq!(only(peer.read_all(host.seconds(2))), sent);
    peer.take(&sent);
    assert_eq!(peer.tell(&mut host, ACK, b""), []);
}

#[test]
fn what_is_sent_again_says_what_was_received_meanwhile() {
    let mut host = Host::serving();
    let mut peer = Peer::opened(&mut host, ECHO);
    peer.tell(&mut host, ACK, b"one");
    peer.tell(&mut host, ACK, b"two");
    let again = only(peer.read_all(host.seconds(2)));
    assert_eq!((&again.payload[..], again.ack), (&b"onetwo"[..], peer.seq));
}

#[test]
fn a_fin_is_sent_again_in_every_state_that_waits_for_its_acknowledgment() {
    for (first, state) in [(true, State::FinWait1), (false, State::LastAck)] {
        let mut host = Host::serving();
        let mut peer = Peer::opened(&mut host, "10.77.0.1:7000");
        let flags = if first { ACK } else { FIN };
        let text = if first { &b"QUIT\n"[..] } else { b"" };
        let fin = only(peer.tell(&mut host, flags, text));
        assert_eq!((fin.flags, host.state()), (FIN, state));
        let frames = host.pass(Duration::from_secs(362));
        assert_eq!(frames.len(), usize::from(DATA_RETRIES_MAX));
        for frame in frames {
            assert_eq!(peer.read(&frame), fin);
        }
        assert!(peer.read(&only(host.seconds(3))).flags.rst);
        assert_eq!(
            (host.state(), host.engine.counters().closed(CloseReason::UserTimeout)),
            (State::Free, 1)
        );
    }
}

#[test]
fn data_and_fin_lost_together_are_acknowledged_one_after_the_other() {
    let mut host = Host::serving();
    let mut peer = Peer::opened(&mut host, ECHO);
    let both = only(peer.tell(&mut host, FIN, b"bye"));
    assert_eq!((both.flags, both.payload.len()), (FIN, 3));
    assert_eq!(only(peer.read_all(host.seconds(2))), both);
    // Exactly the data is acknowledged, and the FIN remains: it is sent again at once.
    let fin = only(peer.say(&mut host, ACK, peer.seq, peer.ack + 3, b""));
    assert_eq!((fin.flags, fin.seq, fin.payload.len()), (FIN, peer.ack + 3, 0));
    assert_eq!(host.state(), State::LastAck);
    assert_eq!(only(peer.read_all(host.seconds(2))), fin);
    assert_eq!(peer.say(&mut host, ACK, peer.seq, peer.ack + 4, b""), []);
    assert_eq!(host.state(), State::Free);
}

#[test]
fn it_all_works_while_ticks_and_numbers_wrap() {
    // 2^32 ticks of 2^24 ns; the shard's clock has run for 2.28 years.
    let before_wrap = Instant::from_nanos(((1 << 32) - 30) << 24);
    let mut host = Host::starting_at(before_wrap, config(), Probe::default());
    let mut peer = Peer::opened(&mut host, ECHO);
    for _ in 0..5 {
        let sent = only(peer.tell(&mut host, ACK, b"hello"));
        let start = host.now;
        let frames = host.pass_noting(Duration::from_millis(3100));
        assert_eq!(seconds_of(start, &frames), [1, 3]);
        peer.take(&sent);
        assert_eq!(peer.tell(&mut host, ACK, b""), []);
    }
    assert!(host.now.nanos() >> 24 > 1 << 32);
}
