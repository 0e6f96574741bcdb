//! Everything that can be full, and what happens then.

use super::*;
use crate::conn::record::State;
use crate::drops::DropReason;
use crate::engine::BATCH_MAX;
use crate::frame::FramePool;
use crate::tcp::keepalive::Keepalive;
use crate::time::Duration;

const ECHO: &str = "10.77.0.1:7";

#[test]
fn a_full_table_refuses_silently_and_works_again_when_there_is_room() {
    let mut config = config();
    config.connections_max = 3;
    let mut host = Host::new(config, Probe::default());
    let mut peers: Vec<Peer> = (1..=4).map(|port| Peer::to(ECHO, port)).collect();
    for peer in &mut peers[..3] {
        peer.open(&mut host);
    }
    let mut last = peers.pop().unwrap();
    assert_eq!(last.tell(&mut host, SYN, b""), [], "no reset: the client tries again");
    assert_eq!(host.dropped(DropReason::TableFull), 1);
    for peer in &mut peers {
        let echoed = only(peer.tell(&mut host, ACK, b"still here"));
        assert_eq!(echoed.payload, b"still here");
        peer.take(&echoed);
        assert_eq!(peer.tell(&mut host, ACK, b""), []);
    }
    peers[1].tell(&mut host, RST, b"");
    last.seq = last.seq - 1;
    last.open(&mut host);
}

#[test]
fn full_flights_leave_data_to_be_sent_again() {
    let mut config = config();
    config.flights_max = 2;
    let mut host = Host::new(config, Probe::default());
    let mut peers: Vec<Peer> = (1..=3).map(|port| Peer::to(ECHO, port)).collect();
    peers.iter_mut().for_each(|peer| peer.open(&mut host));
    let [a, b, c] = &mut peers[..] else { unreachable!("three") };
    let sent = only(a.tell(&mut host, ACK, b"a"));
    b.tell(&mut host, ACK, b"b");
    let at = c.seq;
    for flags in [ACK, FIN] {
        let refused = c.say(&mut host, flags, at, c.ack, b"c");
        c.assert_ack(&refused);
    }
    let refused = c.say(&mut host, FIN, at, c.ack, b"");
    c.assert_ack(&refused);
    assert_eq!(host.dropped(DropReason::FlightsFull), 3);
    assert_eq!(only(a.tell(&mut host, ACK, b"a again")).payload, b"a again", "has one already");
    a.take(&sent);
    a.ack += 7;
    a.tell(&mut host, ACK, b"");
    assert_eq!(only(c.tell(&mut host, FIN, b"c")).payload, b"c");
}

#[test]
fn full_flights_do_not_keep_a_closed_connection_from_the_peers_fin() {
    let mut config = config();
    config.flights_max = 1;
    let mut host = Host::new(config, Probe::default());
    let mut closing = Peer::opened(&mut host, "10.77.0.1:7000");
    let fin = only(closing.tell(&mut host, ACK, b"QUIT\n"));
    closing.take(&fin);
    assert_eq!(closing.tell(&mut host, ACK, b""), []);
    assert_eq!(host.state(), State::FinWait2);
    let mut other = Peer::to(ECHO, 1);
    other.open(&mut host);
    assert_eq!(only(other.tell(&mut host, ACK, b"a")).payload, b"a", "this takes the flight");
    let seen = closing.tell(&mut host, FIN, b"");
    closing.assert_ack(&seen);
    assert_eq!(host.dropped(DropReason::FlightsFull), 0);
}

#[test]
fn full_paths_refuse() {
    let mut host = Host::serving();
    let mut taken = Vec::new();
    for n in 0..crate::conn::path::PATHS_MAX {
        let [.., a, b, c] = u32::try_from(n).unwrap().to_be_bytes();
        let ethernet = crate::wire::ethernet::EthernetHeader::new([6, 0, 0, a, b, c], [2; 6], 0);
        let local = endpoint(ECHO).addr;
        let path = crate::conn::path::Path { local, ethernet };
        taken.push(host.engine.table.paths.acquire(path).unwrap());
    }
    let mut peer = Peer::to(ECHO, 40_000);
    assert_eq!(peer.tell(&mut host, SYN, b""), []);
    assert_eq!((host.dropped(DropReason::PathsFull), host.state()), (1, State::Free));
    host.engine.table.paths.release(taken[0]);
    peer.seq = peer.seq - 1;
    peer.open(&mut host);
}

#[test]
fn without_frames_answers_are_late_and_nothing_is_lost() {
    let mut host = Host::serving();
    let mut peer = Peer::to(ECHO, 40_000);
    peer.options.mss = Some(100);
    peer.open(&mut host);
    // All frames but those received are somewhere else.
    let mut held: Vec<_> = core::iter::from_fn(|| host.pool.take()).collect();
    host.pool.give(held.pop().unwrap());
    let frame = peer.next(ACK, &[1; 300]);
    let mut rx = vec![host.pool.take().unwrap()];
    host.pool.room(&mut rx[0])[..frame.len()].copy_from_slice(&frame);
    rx[0].set_len(frame.len());
    host.engine.handle_frames(host.now, &mut host.pool, &mut rx, &mut host.tx);
    assert_eq!(host.tx.len(), 1, "the received frame carries the first segment");
    assert_eq!(host.dropped(DropReason::NoFrame), 2);
    // Even the timer finds none.
    host.now = host.now + Duration::from_millis(1100);
    host.engine.handle_timers(host.now, &mut host.pool, &mut host.tx);
    assert_eq!((host.tx.len(), host.dropped(DropReason::NoFrame)), (1, 3));
    assert_eq!(host.engine.counters().retransmitted, 0, "nothing was sent");
    held.into_iter().for_each(|frame| host.pool.give(frame));
    let first = peer.read(&only(host.sent()));
    peer.take(&first);
    let rest = peer.tell(&mut host, ACK, b"");
    assert_eq!(rest.len(), 2, "the acknowledgment of a retransmission brings the rest");
    rest.iter().for_each(|seen| peer.take(seen));
    assert_eq!(peer.tell(&mut host, ACK, b""), []);
}

#[test]
fn without_room_in_the_queue_nothing_is_lost_either() {
    let mut host = Host::serving();
    host.tx = Vec::with_capacity(2);
    let room = host.tx.capacity();
    let mut peers: Vec<Peer> = (0..10).map(|port| Peer::to(ECHO, 1000 + port)).collect();
    let syns: Vec<_> = peers.iter_mut().map(|peer| peer.next(SYN, b"")).collect();
    assert_eq!(host.receive(&syns).len(), room);
    assert_eq!(host.dropped(DropReason::NoFrame), 10 - room as u64);
    assert_eq!(host.tx.capacity(), room, "the queue does not grow");
    // The SYN-ACKs that were not sent go out with their timers, two in each call.
    let frames = host.seconds(2);
    assert_eq!(frames.len(), 10);
    for frame in &frames {
        let peer =
            peers.iter_mut().find(|peer| frame[36..38] == peer.endpoint().port.to_be_bytes());
        let peer = peer.unwrap();
        peer.ack = peer.read(frame).seq + 1;
    }
    for peer in &mut peers {
        assert_eq!(peer.tell(&mut host, ACK, b""), []);
    }
    assert_eq!(host.engine.counters().established, 10);
}

#[test]
fn timers_wait_while_the_queue_is_full() {
    let mut host = Host::serving();
    host.tx = Vec::with_capacity(1);
    let mut peer = Peer::opened(&mut host, ECHO);
    let sent = only(peer.tell(&mut host, ACK, b"x"));
    let room = host.tx.capacity();
    for _ in 0..room {
        let frame = host.pool.take().unwrap();
        host.tx.push(frame);
    }
    host.now = host.now + Duration::from_secs(100);
    for _ in 0..50 {
        host.engine.handle_timers(host.now, &mut host.pool, &mut host.tx);
    }
    assert_eq!(host.engine.counters().retransmitted, 0);
    assert_eq!(host.engine.next_timer(host.now).map(|at| at <= host.now), Some(true));
    host.sent();
    assert_eq!(peer.read(&only(host.run_timers())), sent);
}

#[test]
fn a_crowd_of_timers_is_worked_off_in_pieces() {
    let mut config = config();
    config.timers_per_call = 5;
    let mut host = Host::new(config, Probe::default());
    for port in 0..40 {
        Peer::to(ECHO, 1000 + port).syn(&mut host);
    }
    host.now = host.now + Duration::from_millis(1100);
    let mut calls = 0;
    let mut sent = 0;
    while sent < 40 {
        let frames = host.run_timers().len();
        assert!(frames <= 5);
        (calls, sent) = (calls + 1, sent + frames);
        assert!(calls <= 100);
    }
    assert!(host.run_timers().is_empty());
}

/// A host with `count` connections whose peers are all to be probed now.
fn with_silent_peers(count: u16) -> (Host, Vec<Peer>) {
    let mut config = config();
    config.connections_max = u32::from(count);
    config.profile.keepalive = Some(Keepalive::LINUX);
    let mut host = Host::new(config, Probe::default());
    let mut peers: Vec<Peer> = (0..count).map(|port| Peer::to(ECHO, 1000 + port)).collect();
    peers.iter_mut().for_each(|peer| peer.open(&mut host));
    host.now = host.now + Keepalive::LINUX.time() + Duration::from_secs(1);
    // The timers are moved to their places of one tick; then the first is due.
    while host.engine.counters().probes == 0 {
        host.run_timers();
    }
    (host, peers)
}

#[test]
fn timers_send_less_while_frames_arrive() {
    let (mut host, _) = with_silent_peers(500);
    assert_eq!(host.run_timers().len(), BATCH_MAX, "nothing else to do");
    for (received, sent) in [(10, BATCH_MAX - 10), (BATCH_MAX, BATCH_MAX / 8)] {
        assert_eq!(host.receive(&vec![vec![0; 60]; received]).len(), 0);
        assert_eq!(host.run_timers().len(), sent, "{received} received");
    }
    assert_eq!(host.run_timers().len(), BATCH_MAX, "nothing came since");
}

#[test]
fn answers_have_room_while_timers_fill_the_queue() {
    let (mut host, mut peers) = with_silent_peers(100);
    host.tx = Vec::with_capacity(8);
    let before = host.engine.counters().probes;
    for _ in 0..10 {
        // The link takes nothing.
        host.engine.handle_timers(host.now, &mut host.pool, &mut host.tx);
    }
    assert_eq!(host.tx.len(), 4, "half of the queue");
    assert_eq!(host.engine.counters().probes, before + 4, "nothing was tried in vain");
    let data = peers[0].next(ACK, b"x");
    let sent = host.receive(&[data]);
    assert_eq!(sent.len(), 5);
    assert_eq!(peers[0].read(&sent[4]).payload, b"x");
}

#[test]
fn retransmissions_do_not_wait_for_keepalive() {
    let (mut host, mut peers) = with_silent_peers(500);
    let echoed = only(peers[499].tell(&mut host, ACK, b"x"));
    host.now = host.now + Duration::from_millis(1_100);
    let first = host.run_timers().swap_remove(0);
    assert_eq!(peers[499].read(&first), echoed);
}

#[test]
fn records_are_used_again_under_new_names() {
    let mut host = Host::serving();
    let mut names = Vec::new();
    for _ in 0..100 {
        let mut peer = Peer::opened(&mut host, ECHO);
        let id = host.id();
        assert!(!names.contains(&id));
        names.push(id);
        peer.tell(&mut host, RST, b"");
        host.now = host.now + Duration::from_millis(1);
        assert_eq!(host.engine.service_state(id), None);
    }
    assert_eq!(host.engine.table.slab.touched(), 1);
}
