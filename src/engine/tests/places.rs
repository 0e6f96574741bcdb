//! Peers that hold every place among the promoted connections and do nothing with it.

use super::*;
use crate::drops::DropReason;
use crate::engine::config::Config;
use crate::engine::locals::Listener;
use crate::service::builtin::Builtin;
use crate::tcp::CloseReason;
use crate::tcp::timing::R1_TIMEOUT;
use crate::time::Duration;
use crate::wire::addr::FlowKey;

const ECHO: &str = "10.77.0.1:7";
const HTTP: &str = "10.77.0.1:80";
const MQTT: &str = "10.77.0.1:1883";

/// A little more than a timer's tick.
const MOMENT: Duration = Duration::from_millis(50);

/// Shortly before a place can be taken.
const NEARLY: Duration = Duration::from_millis(6_900);

const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: there\r\n\r\n";
const CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01z";

/// With so many places.
fn host(promoted_max: u32) -> Host {
    let mut config = Config { promoted_max, promoted_buffer: 16_384, ..config() };
    let tag = Builtin::Mqtt.tag();
    config.listeners.push(Listener { endpoint: endpoint(MQTT), tag, profile: None });
    Host::new(config, Probe::default())
}

/// `count` peers that have sent the beginning of a message to `target`, a moment one after the other.
fn halves(host: &mut Host, target: &str, message: &[u8], count: u16) -> Vec<Peer> {
    let mut peers: Vec<Peer> = (0..count).map(|n| Peer::to(target, 1_000 + n)).collect();
    for peer in &mut peers {
        peer.open(host);
        let seen = peer.tell(host, ACK, &message[..message.len() / 2]);
        peer.assert_ack(&seen);
        host.pass(MOMENT);
    }
    peers
}

/// A peer that has opened a connection to `target`.
fn living(host: &mut Host, target: &str) -> Peer {
    let mut peer = Peer::to(target, 2_000);
    peer.open(host);
    peer
}

/// Places taken, connections evicted, promotions refused.
fn taken(host: &Host) -> (u64, u64, u64) {
    let counters = host.engine.counters();
    (counters.places_taken, counters.closed(CloseReason::Evicted), counters.promotions_refused)
}

#[test]
fn halves_of_messages_give_way_to_one_that_comes_whole() {
    for (target, message, answer) in
        [(HTTP, REQUEST, &b"HTTP/1.1 200"[..]), (MQTT, CONNECT, b"\x20\x02\x00\x00")]
    {
        let mut host = host(4);
        let mut attackers = halves(&mut host, target, message, 4);
        let mut peer = living(&mut host, target);
        host.events();
        let (first, second) = message.split_at(10);
        // Nobody can tell them from slow ones yet: what does not fit a record is sent again.
        let frame = peer.raw(ACK, peer.seq, peer.ack, first);
        let refused = peer.read_all(host.receive(core::slice::from_ref(&frame)));
        peer.assert_ack(&refused);
        assert_eq!((taken(&host), host.dropped(DropReason::ServiceFull)), ((0, 0, 1), 1));
        host.pass(R1_TIMEOUT - Duration::from_millis(150));
        let sent = host.receive(&[frame]);
        let [reset, ack] = &sent[..] else { panic!("a reset and an ACK: {sent:?}") };
        let reset = attackers[0].read(reset);
        assert!(reset.flags.rst && reset.ack == attackers[0].seq, "{reset:?}");
        peer.seq += first.len() as u32;
        peer.assert_ack(&[peer.read(ack)]);
        assert_eq!(host.events(), [Event::Closed(CloseReason::Evicted)]);
        let seen = only(peer.tell(&mut host, ACK, second));
        assert!(seen.payload.starts_with(answer), "{seen:?}");
        assert_eq!(taken(&host), (1, 1, 1));
        // Those that nobody needs the places of go on.
        let rest = &message[message.len() / 2..];
        let seen = only(attackers[1].tell(&mut host, ACK, rest));
        assert!(seen.payload.starts_with(answer), "{seen:?}");
    }
}

#[test]
fn who_makes_progress_keeps_his_place_however_slow() {
    let mut host = host(2);
    let mut sends = halves(&mut host, HTTP, REQUEST, 1).remove(0);
    let mut reads = Peer::to(ECHO, 3_000);
    reads.window = 100;
    reads.open(&mut host);
    let flow = FlowKey { remote: reads.flow.local, local: reads.flow.remote };
    let id = host.engine.connection_between(&flow).expect("it is open");
    let Host { engine, pool, tx, now, .. } = &mut host;
    engine.send(id, &[7; 5_000], *now, pool, tx).expect("it is queued");
    host.sent();
    let peer = living(&mut host, HTTP);
    for round in 0..20 {
        host.pass(NEARLY);
        let seen = sends.tell(&mut host, ACK, b"a");
        sends.assert_ack(&seen);
        reads.ack += 1;
        reads.tell(&mut host, ACK, b"");
        let refused = peer.say(&mut host, ACK, peer.seq, peer.ack, b"GET ");
        peer.assert_ack(&refused);
        assert_eq!(taken(&host), (0, 0, round + 1));
    }
}

#[test]
fn to_acknowledge_what_others_push_is_no_progress_with_a_message() {
    let mut host = host(1);
    let mut holder = halves(&mut host, HTTP, REQUEST, 1).remove(0);
    let id = host.id();
    for _ in 0..7 {
        let Host { engine, pool, tx, now, .. } = &mut host;
        engine.send(id, b"news", *now, pool, tx).expect("there is room");
        let news = only(holder.read_all(host.sent()));
        holder.take(&news);
        assert_eq!(holder.tell(&mut host, ACK, b""), []);
        host.seconds(1);
    }
    let mut peer = living(&mut host, HTTP);
    let frame = peer.next(ACK, b"GET ");
    assert_eq!((host.receive(&[frame]).len(), taken(&host)), (2, (1, 1, 0)));
}

#[test]
fn a_closed_window_keeps_no_place_from_others() {
    let mut host = host(1);
    let mut closed = Peer::to(ECHO, 1_000);
    closed.open(&mut host);
    only(closed.tell(&mut host, ACK, b"hello"));
    closed.window = 0;
    closed.tell(&mut host, ACK, b"");
    // It answers every probe; nobody else needs the place.
    for _ in 0..60 {
        host.seconds(1);
        closed.say(&mut host, ACK, closed.seq, closed.ack, b"");
    }
    assert_eq!((host.engine.counters().promoted, taken(&host)), (1, (0, 0, 0)));
    let mut peer = living(&mut host, HTTP);
    let frame = peer.next(ACK, b"GET ");
    assert_eq!((host.receive(&[frame]).len(), taken(&host)), (2, (1, 1, 0)));
}

#[test]
fn who_needs_no_place_any_more_is_parked_and_not_reset() {
    for early in [true, false] {
        let mut config = Config { promoted_max: 1, ..config() };
        config.park_after = Duration::from_secs(1_000);
        let mut host = Host::new(config, Probe::default());
        let mut holder = Peer::to(ECHO, 1_000);
        holder.open(&mut host);
        holder.say(&mut host, ACK, holder.seq + 3, holder.ack, b"def");
        if !early {
            let echoed = holder.tell(&mut host, ACK, b"abc");
            holder.seq += 3;
            echoed.iter().for_each(|seen| holder.take(seen));
            holder.tell(&mut host, ACK, b"");
        }
        host.pass(NEARLY);
        let mut peer = living(&mut host, HTTP);
        let refused = peer.say(&mut host, ACK, peer.seq, peer.ack, b"GET ");
        peer.assert_ack(&refused);
        host.events();
        host.pass(R1_TIMEOUT - NEARLY + MOMENT);
        let ack = peer.tell(&mut host, ACK, b"GET ");
        peer.assert_ack(&ack);
        assert_eq!((taken(&host), host.events()), ((1, 0, 1), vec![]));
        // What came early was not acknowledged, and comes again.
        let echoed = only(holder.tell(&mut host, ACK, b"abcdef"));
        assert_eq!((echoed.payload, echoed.ack), (b"abcdef".to_vec(), holder.seq));
    }
}

#[test]
fn the_rest_of_the_batch_notices() {
    let mut host = host(1);
    let mut holder = halves(&mut host, HTTP, REQUEST, 1).remove(0);
    host.pass(R1_TIMEOUT + MOMENT);
    let (mut peer, mut fresh) = (living(&mut host, HTTP), Peer::to(HTTP, 3_000));
    // The record of the one that goes is used again before its own segment comes.
    let frames = [
        peer.next(ACK, b"GET "),
        fresh.next(SYN, b""),
        holder.next(ACK, b"and I"),
        peer.next(ACK, b"/healthz HTTP/1.1\r\nHost: a\r\n\r\n"),
    ];
    let sent = host.receive(&frames);
    let resets = sent.iter().filter(|frame| frame[36..38] == 1_000u16.to_be_bytes());
    assert!(resets.clone().all(|frame| holder.read(frame).flags.rst) && resets.count() == 2);
    let syn_ack = sent.iter().find(|frame| frame[36..38] == 3_000u16.to_be_bytes());
    assert_eq!(fresh.read(syn_ack.expect("an answer")).flags, SYN_ACK);
    let answers = sent.iter().filter(|frame| frame[36..38] == 2_000u16.to_be_bytes());
    let answers: Vec<Seen> = answers.map(|frame| peer.read(frame)).collect();
    assert!(answers.last().expect("some").payload.starts_with(b"HTTP/1.1 200"), "{answers:?}");
    assert_eq!(taken(&host), (1, 1, 0));
}

#[test]
fn many_places_are_looked_at_some_in_each_tick() {
    // The last place is the only one whose holder does nothing.
    let mut host =
        Host::new(Config { promoted_max: 130, connections_max: 200, ..config() }, Probe::default());
    let mut peers = halves(&mut host, HTTP, REQUEST, 130);
    host.pass(NEARLY);
    for peer in &mut peers[..129] {
        peer.tell(&mut host, ACK, b"a");
    }
    host.seconds(1);
    let peer = living(&mut host, HTTP);
    // However often it asks, no more is looked at in one tick.
    let frame = peer.raw(ACK, peer.seq, peer.ack, b"GET ");
    for expected in [0, 0, 1] {
        for _ in 0..3 {
            host.receive(core::slice::from_ref(&frame));
            assert_eq!(taken(&host).0, expected);
        }
        host.pass(MOMENT);
    }
}

#[test]
fn what_the_batch_has_brought_is_carried_out_first() {
    let mut host = host(1);
    let mut holder = halves(&mut host, HTTP, REQUEST, 1).remove(0);
    host.pass(R1_TIMEOUT + MOMENT);
    let mut peer = living(&mut host, HTTP);
    // The rest comes just in time, with whoever would have taken the place.
    let rest = holder.next(ACK, &REQUEST[REQUEST.len() / 2..]);
    let frame = peer.raw(ACK, peer.seq, peer.ack, b"GET ");
    let sent = host.receive(&[rest, frame.clone()]);
    let answers = sent.iter().filter(|frame| frame[36..38] == 1_000u16.to_be_bytes());
    let answer = answers.map(|frame| holder.read(frame)).find(|seen| !seen.payload.is_empty());
    assert!(answer.expect("an answer").payload.starts_with(b"HTTP/1.1 200"));
    assert_eq!(taken(&host), (0, 0, 1));
    // It does not acknowledge the answer, though.
    host.seconds(8);
    peer.next(ACK, b"GET ");
    let sent = host.receive(&[frame]);
    assert_eq!((sent.len(), taken(&host)), (2, (1, 1, 1)));
    peer.assert_ack(&[peer.read(&sent[1])]);
}
