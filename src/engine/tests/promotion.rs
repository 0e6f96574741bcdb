//! Connections that a whole TCP socket carries for a while.

use super::*;
use crate::conn::record::State;
use crate::engine::CommandError;
use crate::engine::config::Config;
use crate::tcp::CloseReason;
use crate::tcp::keepalive::{Keepalive, Profile};
use crate::time::Duration;
use crate::wire::packet::SynOptions;

const ECHO: &str = "10.77.0.1:7";
const ECHO_V6: &str = "[fd77::1]:7";
const DISCARD: &str = "10.77.0.1:9";
const LINE: &str = "[fd77::1]:7000";

fn promoting() -> Config {
    Config { promoted_max: 2, promoted_buffer: 16_384, ..config() }
}

fn host() -> Host {
    Host::new(promoting(), Probe::default())
}

fn promoted(host: &Host) -> u64 {
    host.engine.counters().promoted
}

/// `len` bytes of which no two pieces are alike.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + at / 251) as u8).collect()
}

/// Takes all of `seen` in order, and returns the data.
#[track_caller]
fn take_all(peer: &mut Peer, seen: &[Seen]) -> Vec<u8> {
    seen.iter().for_each(|seen| peer.take(seen));
    seen.iter().flat_map(|seen| seen.payload.clone()).collect()
}

/// Acknowledges until nothing more comes, and returns the data.
#[track_caller]
fn drain(peer: &mut Peer, host: &mut Host, first: &[Seen]) -> Vec<u8> {
    let mut data = take_all(peer, first);
    loop {
        let more = peer.tell(host, ACK, b"");
        if more.is_empty() {
            return data;
        }
        data.extend(take_all(peer, &more));
    }
}

#[test]
fn early_data_is_kept_and_read_in_order() {
    for target in [ECHO, ECHO_V6] {
        let mut host = host();
        let mut peer = Peer::opened(&mut host, target);
        let hello = peer.tell(&mut host, ACK, b"hello");
        assert_eq!(drain(&mut peer, &mut host, &hello), b"hello");
        assert_eq!(promoted(&host), 0, "what is in order needs no socket");
        let bytes = pattern(3000);
        let third = peer.say(&mut host, ACK, peer.seq + 2000, peer.ack, &bytes[2000..]);
        peer.assert_ack(&third);
        assert_eq!(promoted(&host), 1);
        let second = peer.say(&mut host, ACK, peer.seq + 1000, peer.ack, &bytes[1000..2000]);
        peer.assert_ack(&second);
        let all = peer.say(&mut host, ACK, peer.seq, peer.ack, &bytes[..1000]);
        peer.seq += 3000;
        assert!(all.iter().all(|seen| seen.ack == peer.seq), "{all:?}");
        assert_eq!(drain(&mut peer, &mut host, &all), bytes);
        assert_eq!(promoted(&host), 1, "not yet quiet for long");
        assert_eq!(host.seconds(2), Vec::<Vec<u8>>::new());
        assert_eq!(promoted(&host), 0, "parked");
        let bye = peer.tell(&mut host, FIN, b"bye");
        assert_eq!(drain(&mut peer, &mut host, &bye), b"bye");
        assert_eq!(host.state(), State::Free);
        assert_eq!(host.events().last(), Some(&Event::Closed(CloseReason::ClosedByPeer)));
    }
}

#[test]
fn what_is_kept_is_acknowledged_selectively_where_the_peer_permits_it() {
    for permitted in [true, false] {
        let mut host = host();
        let mut peer = Peer::to(ECHO, 40_000);
        peer.options = SynOptions { sack_permitted: permitted, ..peer.options };
        assert_eq!(peer.syn(&mut host).options.sack_permitted, permitted);
        assert_eq!(peer.tell(&mut host, ACK, b""), []);
        let early = peer.raw(ACK, peer.seq + 100, peer.ack, &[1; 50]);
        let answer = only(host.receive(&[early]));
        // Two NOPs or an end of list fill the option up to 12 bytes.
        let header_len = usize::from(answer[14 + 20 + 12] >> 4) * 4;
        assert_eq!(header_len, if permitted { 32 } else { 20 });
        if permitted {
            let options = &answer[14 + 40..];
            let at = options.windows(2).position(|kind| kind == [5, 10]).expect("a SACK block");
            let block = [peer.seq + 100, peer.seq + 150].map(|seq| seq.0.to_be_bytes()).concat();
            assert_eq!(options[at + 2..at + 10], block);
        }
    }
}

#[test]
fn without_places_sack_is_not_agreed_on() {
    let mut host = Host::serving();
    let mut peer = Peer::to(ECHO, 40_000);
    peer.options.sack_permitted = true;
    assert!(!peer.syn(&mut host).options.sack_permitted);
}

#[test]
fn a_long_message_is_queued_and_sent_as_the_window_allows() {
    for target in [ECHO, ECHO_V6] {
        let mut host = host();
        let mut peer = Peer::to(target, 40_000);
        peer.window = 3000;
        peer.open(&mut host);
        let (id, message) = (host.id(), pattern(16_000));
        let Host { engine, pool, tx, now, .. } = &mut host;
        engine.send(id, &message, *now, pool, tx).expect("it fits a promoted connection");
        assert_eq!(engine.send(id, &message, *now, pool, tx), Err(CommandError::Busy));
        let first = peer.read_all(host.sent());
        let len: usize = first.iter().map(|seen| seen.payload.len()).sum();
        assert!((1..=3000).contains(&len), "{len} bytes into a window of 3000");
        assert_eq!(drain(&mut peer, &mut host, &first), message);
        host.seconds(2);
        assert_eq!((promoted(&host), host.state()), (0, State::Established));
    }
}

#[test]
fn what_was_in_flight_is_not_sent_again_by_promotion_alone() {
    let mut host = host();
    let mut peer = Peer::opened(&mut host, ECHO);
    let echoed = only(peer.tell(&mut host, ACK, b"in flight"));
    let early = peer.say(&mut host, ACK, peer.seq + 5, peer.ack, b"early");
    assert_eq!(promoted(&host), 1);
    assert_eq!(only(early).payload, b"", "a duplicate ACK, and nothing sent again");
    let again = only(peer.read_all(host.pass(Duration::from_millis(1_100))));
    assert_eq!((again.seq, &again.payload), (echoed.seq, &echoed.payload), "but after a timeout");
    peer.take(&echoed);
    let rest = peer.tell(&mut host, ACK, b"here ");
    peer.seq += 5;
    assert_eq!(drain(&mut peer, &mut host, &rest), b"here early");
}

#[test]
fn more_than_a_service_can_answer_at_once_is_kept() {
    let mut host = host();
    let mut peer = Peer::opened(&mut host, ECHO);
    let bytes = pattern(14_000);
    let frames: Vec<_> = bytes.chunks(1400).map(|chunk| peer.next(ACK, chunk)).collect();
    let first = peer.read_all(host.receive(&frames));
    assert_eq!(first.last().map(|seen| seen.ack), Some(peer.seq), "all of it is kept");
    assert_eq!(drain(&mut peer, &mut host, &first), bytes);
}

#[test]
fn a_closed_window_is_probed_for_as_long_as_the_peer_answers() {
    let mut host = host();
    let mut peer = Peer::opened(&mut host, ECHO);
    let echoed = peer.tell(&mut host, ACK, b"hello");
    take_all(&mut peer, &echoed);
    peer.window = 0;
    assert_eq!(peer.tell(&mut host, ACK, b""), []);
    let id = host.id();
    let Host { engine, pool, tx, now, .. } = &mut host;
    engine.send(id, b"pushed", *now, pool, tx).expect("queued");
    host.sent();
    for _ in 0..20 {
        let probes = peer.read_all(host.seconds(60));
        assert!(!probes.is_empty() && probes.iter().all(|seen| seen.payload == b"p"), "{probes:?}");
        assert_eq!(peer.tell(&mut host, ACK, b""), [], "the window is still closed");
    }
    assert_eq!(host.state(), State::Established);
    peer.window = 1000;
    let pushed = peer.tell(&mut host, ACK, b"");
    let pushed = if pushed.is_empty() { peer.read_all(host.seconds(61)) } else { pushed };
    assert_eq!(drain(&mut peer, &mut host, &pushed[..1]), b"pushed");
}

#[test]
fn data_lost_in_a_window_that_then_closed_is_probed_for() {
    let mut host = host();
    let mut peer = Peer::opened(&mut host, ECHO);
    let lost = peer.tell(&mut host, ACK, b"hello");
    peer.window = 0;
    assert_eq!(peer.tell(&mut host, ACK, b""), []);
    for _ in 0..20 {
        let probes = peer.read_all(host.seconds(60));
        assert!(!probes.is_empty(), "something asks whether the window is open");
        assert_eq!(peer.tell(&mut host, ACK, b""), []);
    }
    assert_eq!(host.state(), State::Established);
    peer.window = 1000;
    let mut sent = peer.tell(&mut host, ACK, b"");
    sent.extend(peer.read_all(host.seconds(61)));
    assert_eq!(drain(&mut peer, &mut host, &sent[..1]), lost[0].payload);
}

#[test]
fn a_peer_that_answers_no_probe_of_its_window_is_given_up() {
    let mut host = host();
    let mut peer = Peer::opened(&mut host, ECHO);
    peer.window = 0;
    assert_eq!(peer.tell(&mut host, ACK, b""), []);
    let id = host.id();
    let Host { engine, pool, tx, now, .. } = &mut host;
    engine.send(id, b"pushed", *now, pool, tx).expect("queued");
    let sent = peer.read_all(host.seconds(400));
    assert!(sent.last().expect("a reset").flags.rst);
    assert_eq!(host.events().last(), Some(&Event::Closed(CloseReason::UserTimeout)));
    assert_eq!((host.state(), promoted(&host)), (State::Free, 0));
}

#[test]
fn a_user_timeout_ends_a_promoted_connection_that_makes_no_progress() {
    let mut config = promoting();
    config.profile = Profile { user_timeout: Some(Duration::from_secs(20)), ..Profile::default() };
    let mut host = Host::new(config, Probe::default());
    let mut peer = Peer::opened(&mut host, ECHO);
    peer.window = 0;
    assert_eq!(peer.tell(&mut host, ACK, b""), []);
    let id = host.id();
    let Host { engine, pool, tx, now, .. } = &mut host;
    engine.send(id, b"pushed", *now, pool, tx).expect("queued");
    for _ in 0..4 {
        host.seconds(5);
        peer.tell(&mut host, ACK, b"");
    }
    host.seconds(1);
    assert_eq!(host.events().last(), Some(&Event::Closed(CloseReason::UserTimeout)));
}

#[test]
fn both_directions_close_in_every_order_while_promoted() {
    // The peer first, with data still queued; then this host first.
    for target in [ECHO, ECHO_V6] {
        let mut host = host();
        let mut peer = Peer::opened(&mut host, target);
        let early = peer.raw(ACK, peer.seq + 2000, peer.ack, &[2; 500]);
        host.receive(&[early]);
        let bytes = [pattern(2000), vec![2; 500]].concat();
        let frames = [
            peer.raw(ACK, peer.seq, peer.ack, &bytes[..1000]),
            peer.raw(FIN, peer.seq + 1000, peer.ack, &bytes[1000..]),
        ];
        peer.seq += 2501;
        let sent = peer.read_all(host.receive(&frames));
        assert_eq!(drain(&mut peer, &mut host, &sent), bytes);
        assert_eq!((host.state(), promoted(&host)), (State::Free, 0));
        assert_eq!(host.events().last(), Some(&Event::Closed(CloseReason::ClosedByPeer)));
    }
    let mut host = host();
    let mut peer = Peer::opened(&mut host, DISCARD);
    let early = peer.raw(ACK, peer.seq + 1, peer.ack, b"early");
    host.receive(&[early]);
    let id = host.id();
    let Host { engine, pool, tx, now, .. } = &mut host;
    engine.send(id, &pattern(5000), *now, pool, tx).expect("queued");
    engine.close(id, *now, pool, tx).expect("closing");
    assert_eq!(engine.close(id, *now, pool, tx), Err(CommandError::Gone));
    let sent = peer.read_all(host.sent());
    assert_eq!(drain(&mut peer, &mut host, &sent), pattern(5000));
    assert_eq!((host.state(), promoted(&host)), (State::FinWait2, 0), "FIN-WAIT-2 is parked");
    let last = peer.tell(&mut host, FIN, b"");
    peer.assert_ack(&last);
    assert_eq!(host.state(), State::TimeWait);
    assert_eq!(host.events().last(), Some(&Event::Closed(CloseReason::ClosedByUs)));
}

#[test]
fn fins_that_cross_while_promoted_close_both_sides() {
    let mut host = host();
    let mut peer = Peer::opened(&mut host, DISCARD);
    let early = peer.raw(ACK, peer.seq + 1, peer.ack, b"early");
    host.receive(&[early]);
    let id = host.id();
    let Host { engine, pool, tx, now, .. } = &mut host;
    engine.close(id, *now, pool, tx).expect("closing");
    let fin = only(peer.read_all(host.sent()));
    assert!(fin.flags.fin);
    let answer = peer.tell(&mut host, FIN, b"");
    assert_eq!(only(answer).ack, peer.seq);
    assert_eq!(host.state(), State::Closing);
    peer.take(&fin);
    assert_eq!(peer.tell(&mut host, ACK, b""), []);
    assert_eq!((host.state(), promoted(&host)), (State::TimeWait, 0));
}

#[test]
fn a_reset_ends_a_promoted_connection_only_at_exactly_the_next_number() {
    let mut host = host();
    let peer = Peer::opened(&mut host, DISCARD);
    let early = peer.raw(ACK, peer.seq + 100, peer.ack, b"early");
    host.receive(&[early]);
    let challenge = peer.say(&mut host, RST, peer.seq + 1, peer.ack, b"");
    peer.assert_ack(&challenge);
    assert_eq!((host.state(), promoted(&host)), (State::Established, 1));
    assert_eq!(peer.say(&mut host, RST, peer.seq, peer.ack, b""), []);
    assert_eq!((host.state(), promoted(&host)), (State::Free, 0));
    assert_eq!(host.events().last(), Some(&Event::Closed(CloseReason::ResetByPeer)));
    // The place can be used by another.
    let mut other = Peer::to(DISCARD, 40_001);
    other.open(&mut host);
    let early = other.raw(ACK, other.seq + 3, other.ack, b"def");
    host.receive(&[early]);
    let all = other.tell(&mut host, ACK, b"abc");
    other.seq += 3;
    assert!(all.iter().all(|seen| seen.ack == other.seq), "{all:?}");
}

#[test]
fn when_every_place_is_taken_the_parked_path_goes_on_and_counts() {
    let mut host = host();
    let mut peers: Vec<Peer> = (0..3).map(|n| Peer::to(ECHO, 40_000 + n)).collect();
    for peer in &mut peers {
        peer.open(&mut host);
        let early = peer.say(&mut host, ACK, peer.seq + 3, peer.ack, b"def");
        peer.assert_ack(&early);
    }
    assert_eq!((promoted(&host), host.engine.counters().promotions_refused), (2, 1));
    for (n, peer) in peers.iter_mut().enumerate() {
        let answer = peer.tell(&mut host, ACK, b"abc");
        let expected: &[u8] = if n < 2 { b"abcdef" } else { b"abc" };
        peer.seq += expected.len() as u32 - 3;
        assert_eq!(drain(peer, &mut host, &answer), expected);
    }
    let again = peers[2].tell(&mut host, ACK, b"def");
    assert_eq!(drain(&mut peers[2], &mut host, &again), b"def");
}

#[test]
fn early_data_whose_beginning_never_comes_is_forgotten() {
    let mut host = host();
    let mut peer = Peer::opened(&mut host, DISCARD);
    peer.say(&mut host, ACK, peer.seq + 3, peer.ack, b"def");
    host.seconds(9);
    assert_eq!(promoted(&host), 1);
    host.seconds(3);
    assert_eq!((promoted(&host), host.state()), (0, State::Established));
    let seen = peer.tell(&mut host, ACK, b"abc");
    peer.assert_ack(&seen);
}

#[test]
fn a_promoted_connection_is_probed_when_its_peer_is_silent() {
    let keepalive = Keepalive::new(Duration::from_secs(10), Duration::from_secs(1), 3);
    let mut config = promoting();
    config.promote_always = true;
    config.profile = Profile { keepalive: Some(keepalive.expect("allowed")), user_timeout: None };
    let mut host = Host::new(config, Probe::default());
    let mut peer = Peer::opened(&mut host, LINE);
    let pong = peer.tell(&mut host, ACK, b"PING\n");
    assert_eq!(drain(&mut peer, &mut host, &pong), b"PONG\n");
    assert_eq!(promoted(&host), 1);
    let probe = only(peer.read_all(host.pass(Duration::from_millis(10_500))));
    assert_eq!((probe.seq + 1, probe.payload.len()), (peer.ack, 0));
    assert_eq!(peer.tell(&mut host, ACK, b""), []);
    let sent = peer.read_all(host.seconds(20));
    assert_eq!(sent.len(), 4, "three probes and a reset: {sent:?}");
    assert_eq!(host.events().last(), Some(&Event::Closed(CloseReason::KeepaliveTimeout)));
    assert_eq!(promoted(&host), 0);
}

#[test]
fn a_promoted_connection_that_waits_for_a_frame_sends_when_it_gets_one() {
    let mut host = host();
    let mut peer = Peer::opened(&mut host, ECHO);
    peer.say(&mut host, ACK, peer.seq + 1000, peer.ack, &[2; 1000]);
    let room = core::mem::replace(&mut host.tx, Vec::with_capacity(1));
    let first = peer.tell(&mut host, ACK, &[1; 1000]);
    peer.seq += 1000;
    host.tx = room;
    let rest = peer.read_all(host.run_timers());
    let data = [take_all(&mut peer, &first), take_all(&mut peer, &rest)].concat();
    assert_eq!(data, [[1; 1000], [2; 1000]].concat());
}

#[test]
fn the_last_acknowledgment_twice_in_a_batch_is_not_answered_with_a_reset_of_smoltcps() {
    let mut host = host();
    let mut peer = Peer::opened(&mut host, DISCARD);
    let early = peer.raw(ACK, peer.seq + 2, peer.ack, b"cd");
    host.receive(&[early]);
    let all = peer.tell(&mut host, ACK, b"ab");
    assert!(all.iter().all(|seen| seen.ack == peer.seq + 2));
    peer.seq += 2;
    let fin = only(peer.tell(&mut host, FIN, b""));
    assert!(fin.flags.fin);
    peer.take(&fin);
    let last = peer.raw(ACK, peer.seq, peer.ack, b"");
    let answers = peer.read_all(host.receive(&[last.clone(), last.clone()]));
    assert_eq!((host.state(), promoted(&host)), (State::Free, 0));
    // As any segment without a connection.
    let reset = only(answers);
    assert_eq!((reset.flags, reset.seq), (RST, peer.ack));
}

#[test]
fn a_closed_window_keeps_nobody_who_acknowledges_what_was_never_sent() {
    let mut host = Host::new(Config { promoted_max: 1, ..config() }, Probe::default());
    let mut peer = Peer::opened(&mut host, ECHO);
    only(peer.tell(&mut host, ACK, b"hello"));
    peer.window = 0;
    peer.tell(&mut host, ACK, b"");
    for _ in 0..3 {
        host.seconds(100);
        assert_eq!(host.engine.counters().promoted, 1);
        let seen = peer.say(&mut host, ACK, peer.seq, peer.ack + 1_000, b"");
        assert_eq!(only(seen).flags, ACK, "a challenge ACK");
    }
    host.seconds(100);
    assert_eq!(host.state(), State::Free);
    assert_eq!(host.engine.counters().closed(CloseReason::UserTimeout), 1);
}
