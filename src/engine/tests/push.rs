//! What is pushed to one connection.

use super::*;
use crate::conn::delivery::{Full, Notice, Outcome};
use crate::conn::outbox::Limits;
use crate::conn::record::State;
use crate::conn::slab::ConnId;
use crate::engine::config::Config;
use crate::service::{Context, Service};
use crate::time::Duration;
use std::sync::{Arc, Mutex};

const DISCARD: &str = "10.77.0.1:9";

/// A little more than a timer's tick.
const MOMENT: Duration = Duration::from_millis(50);

/// What became of pushes, by the number that they were given.
#[derive(Clone, Default)]
pub(super) struct Outcomes(Arc<Mutex<Vec<(u32, Outcome)>>>);

impl Outcomes {
    pub(super) fn notice(&self, number: u32) -> Option<Notice> {
        let all = self.0.clone();
        Some(Box::new(move |outcome| all.lock().unwrap().push((number, outcome))))
    }

    /// Those that are new.
    pub(super) fn take(&self) -> Vec<(u32, Outcome)> {
        core::mem::take(&mut self.0.lock().unwrap())
    }
}

fn push(host: &mut Host, to: ConnId, bytes: &[u8], notice: Option<Notice>) {
    host.engine.push(to, bytes, notice, host.now).expect("there is room");
    host.check();
}

/// The data of `frames`, which are all for `peer`; it takes them, and acknowledges nothing yet.
#[track_caller]
fn taken(peer: &mut Peer, frames: Vec<Vec<u8>>) -> Vec<u8> {
    let seen = peer.read_all(frames);
    seen.iter().for_each(|seen| peer.take(seen));
    seen.into_iter().flat_map(|seen| seen.payload).collect()
}

fn counts(host: &Host) -> [u64; 4] {
    let counters = host.engine.counters();
    [counters.pushes_sent, counters.pushes_queued, counters.pushes_full, counters.pushes_gone]
}

#[test]
fn an_idle_connection_gets_it_at_once_and_it_is_sent_again_until_it_is_acknowledged() {
    let mut host = Host::serving();
    let mut peer = Peer::opened(&mut host, DISCARD);
    let (id, outcomes) = (host.id(), Outcomes::default());
    push(&mut host, id, b"news", outcomes.notice(1));
    assert_eq!(host.engine.next_timer(host.now), Some(host.now), "it is due");
    let first = only(peer.read_all(host.run_timers()));
    assert_eq!((&first.payload[..], outcomes.take()), (&b"news"[..], vec![(1, Outcome::Sent)]));
    let again = only(peer.read_all(host.pass(Duration::from_millis(1_100))));
    assert_eq!(again, first);
    // Behind it, while it is out.
    push(&mut host, id, b" and", outcomes.notice(2));
    push(&mut host, id, b" more", outcomes.notice(3));
    peer.take(&first);
    let frames = host.run_timers();
    assert_eq!(taken(&mut peer, frames), b" and more");
    assert_eq!(outcomes.take(), [(2, Outcome::Sent), (3, Outcome::Sent)]);
    assert_eq!(peer.tell(&mut host, ACK, b""), []);
    assert_eq!((host.engine.flights.len(), counts(&host)), (0, [3, 0, 0, 0]));
    assert_eq!(host.engine.next_timer(host.now), None, "there is nothing more to do");
    push(&mut host, id, b"", outcomes.notice(4));
    assert_eq!((host.run_timers().len(), outcomes.take()), (0, vec![(4, Outcome::Sent)]));
}

#[test]
fn a_connection_that_has_ended_gets_nothing_nor_does_the_next_one_in_its_place() {
    let mut host = Host::serving();
    let peer = Peer::opened(&mut host, DISCARD);
    let (old, outcomes) = (host.id(), Outcomes::default());
    push(&mut host, old, b"too late", outcomes.notice(1));
    peer.say(&mut host, RST, peer.seq, peer.ack, b"");
    let mut next = Peer::to(DISCARD, 40_001);
    next.open(&mut host);
    assert_eq!(host.id().index(), old.index(), "the record is used again");
    push(&mut host, old, b"for nobody", outcomes.notice(2));
    assert_eq!(host.run_timers(), Vec::<Vec<u8>>::new());
    assert_eq!(outcomes.take(), [(1, Outcome::Gone), (2, Outcome::Gone)]);
    // Nor does one that is closing.
    let id = host.id();
    let Host { engine, pool, tx, now, .. } = &mut host;
    engine.close(id, *now, pool, tx).expect("it is open");
    host.sent();
    push(&mut host, id, b"too late", outcomes.notice(3));
    host.run_timers();
    assert_eq!((outcomes.take(), counts(&host)), (vec![(3, Outcome::Gone)], [0, 0, 0, 3]));
}

#[test]
fn a_closed_window_has_it_wait_in_order_until_it_opens_or_for_ten_seconds() {
    let mut host = Host::serving();
    let mut peer = Peer::to(DISCARD, 40_000);
    peer.window = 0;
    peer.open(&mut host);
    let mut other = Peer::to(DISCARD, 40_001);
    other.open(&mut host);
    let outcomes = Outcomes::default();
    let (id, other_id) = (host.id(), host.engine.connection_at(1).unwrap());
    push(&mut host, id, b"one ", outcomes.notice(1));
    push(&mut host, id, b"two ", outcomes.notice(2));
    push(&mut host, other_id, b"not behind them", outcomes.notice(3));
    let frames = host.run_timers();
    assert_eq!(taken(&mut other, frames), b"not behind them");
    assert_eq!(outcomes.take(), [(3, Outcome::Sent)]);
    assert_eq!(host.pass(MOMENT), Vec::<Vec<u8>>::new());
    push(&mut host, id, b"three", outcomes.notice(4));
    peer.window = 1000;
    peer.tell(&mut host, ACK, b"");
    other.tell(&mut host, ACK, b"");
    let frames = host.pass(MOMENT);
    assert_eq!(taken(&mut peer, frames), b"one two three");
    assert_eq!(outcomes.take(), [1, 2, 4].map(|number| (number, Outcome::Sent)));
    peer.window = 0;
    peer.tell(&mut host, ACK, b"");
    push(&mut host, id, b"never", outcomes.notice(5));
    host.seconds(9);
    assert_eq!(outcomes.take(), []);
    host.seconds(2);
    assert_eq!(outcomes.take(), [(5, Outcome::Full)]);
    assert_eq!(counts(&host), [4, 0, 1, 0]);
}

#[test]
fn those_that_wait_for_a_connection_learn_that_it_has_gone() {
    let mut host = Host::serving();
    let mut peer = Peer::to(DISCARD, 40_000);
    peer.window = 0;
    peer.open(&mut host);
    let (id, outcomes) = (host.id(), Outcomes::default());
    push(&mut host, id, b"one", outcomes.notice(1));
    host.pass(MOMENT);
    peer.say(&mut host, RST, peer.seq, peer.ack, b"");
    let mut next = Peer::to(DISCARD, 40_001);
    next.open(&mut host);
    let id = host.id();
    push(&mut host, id, b"two", outcomes.notice(2));
    let frames = host.pass(MOMENT);
    assert_eq!(taken(&mut next, frames), b"two");
    assert_eq!(outcomes.take(), [(1, Outcome::Gone), (2, Outcome::Sent)]);
}

#[test]
fn more_than_a_flight_waits_for_an_acknowledgment_without_places_and_is_queued_with_them() {
    for promoted_max in [0, 1] {
        let mut host = Host::new(Config { promoted_max, ..config() }, Probe::default());
        let mut peer = Peer::to(DISCARD, 40_000);
        peer.window = 5_000;
        peer.open(&mut host);
        let (id, outcomes) = (host.id(), Outcomes::default());
        let bytes: Vec<u8> = (0..14_000usize).map(|n| (n / 7) as u8).collect();
        for (number, piece) in (0..).zip(bytes.chunks(2_000)) {
            push(&mut host, id, piece, outcomes.notice(number));
        }
        let mut got = Vec::new();
        let mut passed = Duration::ZERO;
        while got.len() < bytes.len() {
            let frames = host.pass(MOMENT);
            got.extend(taken(&mut peer, frames));
            let more = peer.tell(&mut host, ACK, b"");
            for seen in more {
                peer.take(&seen);
                got.extend(seen.payload);
            }
            passed += MOMENT;
            assert!(passed < Duration::from_secs(5), "{} bytes", got.len());
        }
        assert_eq!(got, bytes);
        let outcomes = outcomes.take();
        let numbers: Vec<u32> = outcomes.iter().map(|&(number, _)| number).collect();
        assert_eq!(numbers, (0..7).collect::<Vec<u32>>(), "in order");
        let queued = outcomes.iter().filter(|(_, outcome)| *outcome == Outcome::Queued).count();
        assert_eq!(counts(&host), [7 - queued as u64, queued as u64, 0, 0]);
        assert!(if promoted_max > 0 { queued > 0 } else { queued == 0 }, "{queued} were queued");
    }
}

#[test]
fn a_queue_that_is_full_for_long_is_full() {
    let config = Config { promoted_max: 1, promoted_buffer: 4_096, ..config() };
    let mut host = Host::new(config, Probe::default());
    Peer::opened(&mut host, DISCARD);
    let (id, outcomes) = (host.id(), Outcomes::default());
    for number in 0..3 {
        push(&mut host, id, &[7; 2_000], outcomes.notice(number));
    }
    assert_eq!(host.engine.push(id, &[7; 4_097], outcomes.notice(9), host.now), Err(Full));
    assert_eq!(outcomes.take(), [(9, Outcome::Full)], "no connection ever holds so much");
    host.seconds(11);
    let outcomes = outcomes.take();
    let [(0, Outcome::Sent), (1, second), (2, Outcome::Full)] = outcomes[..] else {
        panic!("{outcomes:?}")
    };
    assert!(matches!(second, Outcome::Sent | Outcome::Queued));
    assert_eq!(counts(&host)[2], 2);
}

#[test]
fn a_full_outbox_says_so_and_has_room_again() {
    let limits = Limits { deliveries_max: 2, ..Limits::default() };
    let mut host = Host::new(Config { outbox: limits, ..config() }, Probe::default());
    let mut peer = Peer::opened(&mut host, DISCARD);
    let (id, outcomes) = (host.id(), Outcomes::default());
    push(&mut host, id, b"1", outcomes.notice(1));
    push(&mut host, id, b"2", outcomes.notice(2));
    assert_eq!(host.engine.push(id, b"3", outcomes.notice(3), host.now), Err(Full));
    let frames = host.run_timers();
    assert_eq!(taken(&mut peer, frames), b"12");
    push(&mut host, id, b"4", outcomes.notice(4));
    let frames = host.run_timers();
    assert_eq!(taken(&mut peer, frames), b"4");
    let full = (3, Outcome::Full);
    assert_eq!(
        outcomes.take()[..],
        [full, (1, Outcome::Sent), (2, Outcome::Sent), (4, Outcome::Sent)]
    );
    assert_eq!(counts(&host), [3, 0, 1, 0]);
}

#[test]
fn a_quarter_of_the_flights_is_left_to_answers() {
    let mut host = Host::new(Config { flights_max: 4, ..config() }, Probe::default());
    let mut peers: Vec<Peer> = (0..6).map(|n| Peer::to("10.77.0.1:7", 1_000 + n)).collect();
    peers.iter_mut().for_each(|peer| peer.open(&mut host));
    let outcomes = Outcomes::default();
    for n in 0..5 {
        let id = host.engine.connection_at(n).unwrap();
        push(&mut host, id, b"push", outcomes.notice(n));
    }
    for (frame, peer) in host.run_timers().iter().zip(&mut peers) {
        let seen = peer.read(frame);
        peer.take(&seen);
    }
    assert_eq!(outcomes.take(), [0, 1, 2].map(|n| (n, Outcome::Sent)));
    let answer = only(peers[5].tell(&mut host, ACK, b"heartbeat"));
    assert_eq!(answer.payload, b"heartbeat");
    peers[5].take(&answer);
    peers[5].tell(&mut host, ACK, b"");
    assert_eq!(host.pass(MOMENT), Vec::<Vec<u8>>::new());
    // The next one goes when there is an acknowledgment.
    peers[1].tell(&mut host, ACK, b"");
    let frame = only(host.pass(MOMENT));
    assert_eq!(peers[3].read(&frame).payload, b"push");
    assert_eq!(outcomes.take(), [(3, Outcome::Sent)]);
    // Or when one has been sent again so often that it no longer counts.
    host.seconds(8);
    assert_eq!(outcomes.take(), [(4, Outcome::Sent)]);
}

#[test]
fn a_close_comes_behind_what_was_pushed_before() {
    let mut host = Host::serving();
    let mut peer = Peer::to(DISCARD, 40_000);
    peer.window = 0;
    peer.open(&mut host);
    let (id, outcomes) = (host.id(), Outcomes::default());
    push(&mut host, id, b"last words", outcomes.notice(1));
    host.engine.close_behind(id, outcomes.notice(2), host.now).unwrap();
    push(&mut host, id, b"and others", outcomes.notice(3));
    assert_eq!(host.pass(MOMENT), Vec::<Vec<u8>>::new());
    peer.window = 1_000;
    peer.tell(&mut host, ACK, b"");
    let seen = peer.read_all(host.pass(MOMENT));
    let said: Vec<_> = seen.iter().map(|seen| (&seen.payload[..], seen.flags)).collect();
    assert_eq!(said, [(&b"last words"[..], ACK), (&b""[..], FIN)]);
    let expected = [(1, Outcome::Sent), (2, Outcome::Sent), (3, Outcome::Gone)];
    assert_eq!((outcomes.take(), host.state()), (expected.to_vec(), State::FinWait1));
}

#[test]
fn one_call_makes_a_bounded_number_of_deliveries_whatever_else_there_is_to_do() {
    let config = Config { connections_max: 200, flights_max: 400, ..config() };
    let mut host = Host::new(config, Probe::default());
    let mut peers: Vec<Peer> = (0..200).map(|n| Peer::to(DISCARD, 1_000 + n)).collect();
    peers.iter_mut().for_each(|peer| peer.open(&mut host));
    host.run_timers();
    for n in 0..200 {
        let id = host.engine.connection_at(n).unwrap();
        push(&mut host, id, b"push", None);
    }
    assert_eq!(host.run_timers().len(), 64, "a batch while nothing is received");
    let batch: Vec<_> = peers[100..164].iter().map(|peer| peer.clone().next(ACK, b"")).collect();
    host.receive(&batch);
    assert_eq!(host.run_timers().len(), 8, "a little while much is");
    while !host.run_timers().is_empty() {}
    assert_eq!(counts(&host), [200, 0, 0, 0]);
}

/// Whatever one connection says, the others hear, as subscribers of a topic do.
#[derive(Default)]
struct Relay {
    members: Vec<ConnId>,
    accepted: usize,
}

impl Service for Relay {
    fn on_open(&mut self, conn: &mut Context<'_>) {
        self.members.push(conn.id());
    }

    fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
        let speaker = conn.id();
        let others = self.members.iter().copied().filter(|member| *member != speaker);
        self.accepted += conn.push_all(others, bytes, 0);
        if bytes == b"to me" {
            conn.push(speaker, b"your own", 0).expect("there is room");
        }
        bytes.len()
    }
}

#[test]
fn a_service_pushes_to_many_and_the_bytes_are_kept_once() {
    let mut host = Host::new(config(), Relay::default());
    let mut peers: Vec<Peer> = (0..40).map(|n| Peer::to(DISCARD, 1_000 + n)).collect();
    peers.iter_mut().for_each(|peer| peer.open(&mut host));
    host.run_timers();
    let ack = only(peers[0].tell(&mut host, ACK, b"to all"));
    assert_eq!((ack.flags, host.engine.service().accepted), (ACK, 39));
    assert_eq!((host.engine.outbox.len(), host.engine.outbox.payloads.len()), (39, 1));
    let frames = host.pass(MOMENT);
    assert_eq!(frames.len(), 39);
    for (frame, peer) in frames.iter().zip(&mut peers[1..]) {
        let seen = peer.read(frame);
        assert_eq!(seen.payload, b"to all");
        peer.take(&seen);
    }
    assert_eq!(host.engine.outbox.payloads.len(), 1, "flights refer to it");
    for peer in &mut peers[1..] {
        peer.tell(&mut host, ACK, b"");
    }
    assert_eq!((host.engine.outbox.payloads.len(), host.engine.flights.len()), (0, 0));
    peers[0].tell(&mut host, ACK, b"to me");
    let frames = host.pass(MOMENT);
    assert_eq!(peers[0].read(&frames[39]).payload, b"your own");
    assert_eq!(frames.len(), 40);
}
