//! What is sent to many connections at once.

use super::*;
use crate::conn::broadcast::{Audience, Progress, Report};
use crate::conn::outbox::Limits;
use crate::conn::slab::ConnId;
use crate::engine::config::Config;
use crate::service::builtin::Builtin;
use crate::service::{Context, Service, ServiceState};
use crate::tcp::CloseReason;
use crate::time::Duration;
use crate::wire::seq::SeqNumber;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

const DISCARD: &str = "10.77.0.1:9";
const ECHO: &str = "10.77.0.1:7";
const ECHO_V6: &str = "[fd77::1]:7";

/// A little more than a timer's tick.
const MOMENT: Duration = Duration::from_millis(50);

#[derive(Clone, Default)]
struct Followed(Arc<Mutex<Progress>>);

impl Followed {
    fn report(&self) -> Option<Report> {
        let newest = self.0.clone();
        Some(Box::new(move |progress| *newest.lock().unwrap() = *progress))
    }

    fn progress(&self) -> Progress {
        *self.0.lock().unwrap()
    }
}

/// Peers of an engine, by their ports, and what each was sent.
struct Crowd {
    host: Host,
    peers: HashMap<u16, Peer>,
    heard: HashMap<u16, Vec<u8>>,
    /// Whether the peer at a port acknowledges.
    answers: fn(u16) -> bool,
}

impl Crowd {
    fn new(config: Config, answers: fn(u16) -> bool) -> Crowd {
        let host = Host::new(config, Probe::default());
        Crowd { host, peers: HashMap::new(), heard: HashMap::new(), answers }
    }

    fn open(&mut self, target: &str, ports: core::ops::Range<u16>) {
        for port in ports {
            let mut peer = Peer::to(target, port);
            peer.open(&mut self.host);
            self.peers.insert(port, peer);
        }
    }

    /// Takes what was sent; those that answer, acknowledge it.
    fn take(&mut self, frames: Vec<Vec<u8>>) {
        let mut acks = Vec::new();
        for frame in frames {
            let port = u16::from_be_bytes([frame[36], frame[37]]);
            let Some(peer) = self.peers.get_mut(&port) else { continue };
            let seen = peer.read(&frame);
            if seen.flags.rst {
                self.peers.remove(&port);
                continue;
            }
            if seen.seq == peer.ack {
                peer.take(&seen);
                self.heard.entry(port).or_default().extend(&seen.payload);
            }
            if (self.answers)(port) && !seen.payload.is_empty() {
                acks.push(peer.next(ACK, b""));
            }
        }
        self.host.receive(&acks);
    }

    /// Lets time pass in short steps.
    fn pass(&mut self, span: Duration) {
        let end = self.host.now + span;
        while self.host.now < end {
            let frames = self.host.pass(MOMENT);
            self.take(frames);
        }
    }
}

fn for_many(connections_max: u32, flights_max: u32) -> Config {
    Config { connections_max, flights_max, ..config() }
}

#[test]
fn everyone_gets_it_and_it_is_kept_once_until_the_last_one_has_it() {
    let mut crowd = Crowd::new(for_many(150, 400), |_| true);
    crowd.open(DISCARD, 1_000..1_150);
    crowd.host.run_timers();
    let (followed, text) = (Followed::default(), vec![7; 200]);
    crowd.host.engine.broadcast(Audience::All, &text, followed.report()).unwrap();
    let first = crowd.host.run_timers();
    assert_eq!(first.len(), 64);
    let progress = followed.progress();
    let expected = Progress { places: 150, looked_at: 64, sent: 64, ..Progress::default() };
    assert_eq!(progress, expected, "a piece for each call");
    let payloads = &crowd.host.engine.outbox.payloads;
    assert_eq!((payloads.len(), payloads.bytes_used()), (1, 256), "one for 64 flights");
    // What is lost is sent again, from the one that is kept.
    drop(first);
    crowd.pass(Duration::from_secs(2));
    assert_eq!((crowd.heard.len(), crowd.host.engine.flights.len()), (150, 0));
    assert!(crowd.heard.values().all(|heard| *heard == text));
    let done = Progress { looked_at: 150, sent: 150, is_done: true, ..expected };
    assert_eq!(followed.progress(), done);
    assert!(crowd.host.engine.outbox.payloads.is_empty());
    let counters = crowd.host.engine.counters();
    assert_eq!((counters.broadcasts, counters.pushes_sent), (1, 150));
    assert_eq!(crowd.host.engine.next_timer(crowd.host.now), None);
}

#[test]
fn two_segments_and_a_partial_acknowledgment_of_what_is_kept_once() {
    let mut host = Host::serving();
    let mut peer = Peer::opened(&mut host, ECHO);
    let text: Vec<u8> = (0..2_000usize).map(|n| (n / 3) as u8).collect();
    host.engine.broadcast(Audience::All, &text, None).unwrap();
    let seen = peer.read_all(host.run_timers());
    assert_eq!(seen.iter().map(|seen| seen.payload.len()).collect::<Vec<_>>(), [1_460, 540]);
    peer.take(&seen[0]);
    peer.tell(&mut host, ACK, b"");
    let again = only(peer.read_all(host.pass(Duration::from_millis(1_100))));
    assert_eq!((again.seq, &again.payload[..]), (peer.ack, &text[1_460..]));
    // An answer goes behind what is left of it.
    let ping = only(peer.tell(&mut host, ACK, b"ping"));
    assert_eq!((ping.seq, &ping.payload[..]), (peer.ack + 540, &b"ping"[..]));
    let again = only(peer.read_all(host.pass(Duration::from_millis(2_200))));
    assert_eq!(again.payload, [&text[1_460..], b"ping"].concat());
    assert!(host.engine.outbox.payloads.is_empty(), "the flight has its own by now");
    peer.take(&again);
    assert_eq!(peer.tell(&mut host, ACK, b""), []);
    assert_eq!(host.engine.flights.len(), 0);
}

/// The topic that a connection belongs to is in its first byte of memory.
struct Topics;

impl Service for Topics {
    fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
        conn.state()[0] = bytes[0];
        bytes.len()
    }

    fn is_subscribed(&self, topic: u64, _: ConnId, _: u8, state: &ServiceState) -> bool {
        u64::from(state[0]) == topic
    }
}

#[test]
fn an_audience_is_a_service_a_listener_or_a_topic() {
    let mut host = Host::new(config(), Topics);
    let mut peers = Vec::new();
    for (n, target) in (0..).zip([ECHO, ECHO_V6, DISCARD, ECHO, ECHO]) {
        let mut peer = Peer::to(target, 1_000 + n);
        peer.open(&mut host);
        peer.tell(&mut host, ACK, &[n as u8 % 2]);
        peers.push(peer);
    }
    let echo = Builtin::Echo.tag();
    let audiences = [
        (Audience::All, vec![0, 1, 2, 3, 4]),
        (Audience::Tag(echo), vec![0, 1, 3, 4]),
        (Audience::Local(endpoint(ECHO)), vec![0, 3, 4]),
        (Audience::Topic { tag: echo, topic: 1 }, vec![1, 3]),
        (Audience::Topic { tag: echo, topic: 2 }, vec![]),
    ];
    for (audience, members) in audiences {
        let followed = Followed::default();
        host.engine.broadcast(audience, b"!", followed.report()).unwrap();
        let frames = host.run_timers();
        assert_eq!(frames.len(), members.len(), "{audience:?}");
        for (frame, member) in frames.iter().zip(&members) {
            let peer: &mut Peer = &mut peers[*member];
            let seen = peer.read(frame);
            peer.take(&seen);
            peer.tell(&mut host, ACK, b"");
        }
        let sent = members.len() as u32;
        let places = 5;
        let expected =
            Progress { places, looked_at: 5, sent, is_done: true, ..Progress::default() };
        assert_eq!(followed.progress(), expected, "{audience:?}");
    }
}

#[test]
fn peers_that_never_acknowledge_hold_up_neither_the_broadcast_nor_heartbeats() {
    // Nine of ten never do, and there are far more of them than flights.
    let mut crowd = Crowd::new(for_many(300, 16), |port| port % 10 == 0);
    crowd.open(ECHO, 1_000..1_300);
    let followed = Followed::default();
    crowd.host.engine.broadcast(Audience::All, b"to all", followed.report()).unwrap();
    let (mut answered, mut steps) = (0, 0);
    while !followed.progress().is_done {
        crowd.pass(Duration::from_millis(500));
        // A heartbeat, from one of those that acknowledge.
        let port = 1_000 + steps % 30 * 10;
        let peer = crowd.peers.get_mut(&port).expect("it lives");
        let frame = peer.next(ACK, b"beat");
        let sent = crowd.host.receive(&[frame]);
        let is_answer =
            |frame: &Vec<u8>| frame.ends_with(b"beat") && frame[36..38] == port.to_be_bytes();
        answered += u16::from(sent.iter().any(is_answer));
        crowd.take(sent);
        steps += 1;
        assert!(steps < 600, "{:?}", followed.progress());
    }
    assert_eq!(answered, steps, "every heartbeat is answered at once");
    let times = |port: u16| crowd.heard[&port].windows(6).filter(|said| *said == b"to all").count();
    assert!((1_000..1_300).step_by(10).all(|port| times(port) == 1), "those who live have it");
    let progress = followed.progress();
    assert_eq!((progress.places, progress.full, progress.gone), (300, 0, 0));
    // Those that were not reset have it; those that were, for want of a flight, had it too.
    assert_eq!(progress.sent, 300);
    assert!(crowd.host.engine.counters().closed(CloseReason::Evicted) >= 200);
}

#[test]
fn closed_windows_are_waited_for_beside_the_broadcast() {
    let mut host = Host::serving();
    let mut peers = Vec::new();
    for n in 0..6 {
        let mut peer = Peer::to(DISCARD, 1_000 + n);
        peer.window = if n % 2 == 0 { 0 } else { 1_000 };
        peer.open(&mut host);
        peers.push(peer);
    }
    let (one, two) = (Followed::default(), Followed::default());
    host.engine.broadcast(Audience::All, b"one ", one.report()).unwrap();
    host.engine.broadcast(Audience::All, b"two", two.report()).unwrap();
    let frames = host.pass(MOMENT);
    assert_eq!(frames.len(), 6);
    for n in [1, 3, 5] {
        let mine = frames.iter().filter(|frame| frame[37] == peers[n].endpoint().port as u8);
        let said: Vec<u8> = mine.flat_map(|frame| peers[n].read(frame).payload).collect();
        assert_eq!(said, b"one two");
        peers[n].ack += 7;
        peers[n].tell(&mut host, ACK, b"");
    }
    assert!(!one.progress().is_done && one.progress().looked_at == 6);
    peers[0].window = 1_000;
    peers[0].tell(&mut host, ACK, b"");
    peers[2].say(&mut host, RST, peers[2].seq, SeqNumber(0), b"");
    let said: Vec<u8> =
        host.pass(MOMENT).iter().flat_map(|frame| peers[0].read(frame).payload).collect();
    assert_eq!(said, b"one two");
    peers[0].ack += 7;
    peers[0].tell(&mut host, ACK, b"");
    host.seconds(11);
    for followed in [one, two] {
        let Progress { sent, queued, full, gone, is_done, .. } = followed.progress();
        assert_eq!((sent, queued, full, gone, is_done), (4, 0, 1, 1, true));
    }
    assert!(host.engine.outbox.payloads.is_empty());
}

#[test]
fn too_many_that_wait_are_full_and_leave_room_for_pushes() {
    let limits = Limits { deliveries_max: 8, ..Limits::default() };
    let mut host = Host::new(Config { outbox: limits, ..config() }, Probe::default());
    for n in 0..20 {
        let mut peer = Peer::to(DISCARD, 1_000 + n);
        peer.window = 0;
        peer.open(&mut host);
    }
    let followed = Followed::default();
    host.engine.broadcast(Audience::All, b"all", followed.report()).unwrap();
    host.pass(MOMENT);
    let Progress { full, is_done, .. } = followed.progress();
    assert_eq!((full, is_done, host.engine.outbox.len()), (16, false, 4));
    host.seconds(11);
    let Progress { full, is_done, .. } = followed.progress();
    assert_eq!((full, is_done, host.engine.outbox.len()), (20, true, 0));
}

#[test]
fn who_stays_gets_it_once_while_others_come_and_go() {
    let mut crowd = Crowd::new(for_many(400, 400), |_| true);
    crowd.open(DISCARD, 1_000..1_300);
    let followed = Followed::default();
    crowd.host.engine.broadcast(Audience::All, b"to all", followed.report()).unwrap();
    let mut fresh = 2_000;
    for step in 0u16.. {
        let frames = crowd.host.run_timers();
        crowd.take(frames);
        if followed.progress().is_done {
            break;
        }
        // Three go, and their places are used again.
        for port in [1_100, 1_101, 1_299]
            .map(|port: u16| port + step * 5 - u16::from(port > 1_200) * step * 10)
        {
            let Some(peer) = crowd.peers.remove(&port) else { continue };
            peer.say(&mut crowd.host, RST, peer.seq, peer.ack, b"");
            crowd.open(DISCARD, fresh..fresh + 1);
            fresh += 1;
        }
        assert!(step < 100);
    }
    crowd.pass(Duration::from_secs(1));
    for port in crowd.peers.keys() {
        match crowd.heard.get(port) {
            Some(heard) => assert_eq!(heard, b"to all", "once"),
            None => assert!(*port >= 2_000, "{port} was there from the start"),
        }
    }
    assert!(fresh > 2_005, "{fresh}");
    assert!(crowd.host.engine.outbox.payloads.is_empty());
}

#[test]
fn nobody_is_there_and_nothing_is_left() {
    let mut host = Host::serving();
    let followed = Followed::default();
    host.engine.broadcast(Audience::All, b"anyone?", followed.report()).unwrap();
    assert_eq!(host.pass(MOMENT), Vec::<Vec<u8>>::new());
    assert_eq!(followed.progress(), Progress { is_done: true, ..Progress::default() });
    host.engine.check_empty();
}

#[test]
fn acknowledgments_pace_it_and_overdue_ones_hold_it_up_for_a_second() {
    let limits = Limits { underway_max: 4, ..Limits::default() };
    let mut host = Host::new(Config { outbox: limits, ..config() }, Probe::default());
    let mut peers: Vec<Peer> = (0..10).map(|n| Peer::to(DISCARD, 1_000 + n)).collect();
    peers.iter_mut().for_each(|peer| peer.open(&mut host));
    let followed = Followed::default();
    host.engine.broadcast(Audience::All, b"to all", followed.report()).unwrap();
    assert_eq!(host.pass(MOMENT).len(), 4);
    peers[1].ack += 6;
    peers[1].tell(&mut host, ACK, b"");
    assert_eq!(host.pass(MOMENT).len(), 1, "one comes for one that goes");
    // Three of the first four are sent again, and no longer count.
    assert_eq!(host.pass(Duration::from_millis(950)).len(), 3 + 3);
    assert_eq!(followed.progress().sent, 8);
    host.seconds(1);
    assert!(followed.progress().is_done);
}
