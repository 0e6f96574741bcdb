//! Peers that hold every flight and acknowledge nothing: they give way to those that live.

use super::*;
use crate::drops::DropReason;
use crate::engine::CommandError;
use crate::engine::config::Config;
use crate::tcp::CloseReason;
use crate::tcp::timing::R1_TIMEOUT;
use crate::time::Duration;

const ECHO: &str = "10.77.0.1:7";

/// A little more than a timer's tick.
const MOMENT: Duration = Duration::from_millis(50);

/// Room for so many flights.
fn limited(flights_max: u32) -> Config {
    Config { flights_max, ..config() }
}

/// `count` peers that have asked something, a moment one after the other, and acknowledge no answer.
fn silent(host: &mut Host, count: u16) -> Vec<Peer> {
    let mut peers: Vec<Peer> = (0..count).map(|n| Peer::to(ECHO, 1_000 + n)).collect();
    for peer in &mut peers {
        peer.open(host);
        only(peer.tell(host, ACK, b"ask"));
        host.pass(MOMENT);
    }
    peers
}

fn evicted(host: &Host) -> u64 {
    host.engine.counters().closed(CloseReason::Evicted)
}

/// Has `peer` ask, and returns what was sent to whomever.
fn ask(host: &mut Host, peer: &mut Peer) -> Vec<Vec<u8>> {
    let frame = peer.next(ACK, b"alive");
    host.receive(&[frame])
}

#[test]
fn peers_that_acknowledge_nothing_give_way_one_by_one_to_those_that_live() {
    let mut host = Host::new(limited(8), Probe::default());
    let attackers = silent(&mut host, 8);
    let mut living: Vec<Peer> = (0..3).map(|n| Peer::to(ECHO, 2_000 + n)).collect();
    living.iter_mut().for_each(|peer| peer.open(&mut host));
    host.events();
    // Until they have been sent the same three times, nobody can tell them from slow ones.
    let refused = living[0].say(&mut host, ACK, living[0].seq, living[0].ack, b"alive");
    living[0].assert_ack(&refused);
    assert_eq!((host.dropped(DropReason::FlightsFull), evicted(&host)), (1, 0));
    host.pass(R1_TIMEOUT);
    for (peer, attacker) in living.iter_mut().zip(&attackers) {
        let [reset, answer] = &ask(&mut host, peer)[..] else { panic!("a reset and an answer") };
        let reset = attacker.read(reset);
        let numbers = (reset.seq, reset.ack);
        assert!(reset.flags.rst && numbers == (attacker.ack + 3, attacker.seq), "{reset:?}");
        assert_eq!(peer.read(answer).payload, b"alive");
        assert_eq!(host.events(), [Event::Closed(CloseReason::Evicted)]);
    }
    let counters = host.engine.counters();
    assert_eq!((evicted(&host), counters.resets, counters.established), (3, 3, 8));
    assert_eq!(host.dropped(DropReason::FlightsFull), 1);
    // Those of the attackers that are left are given up in the end, as without pressure.
    host.seconds(400);
    assert_eq!(host.engine.counters().closed(CloseReason::UserTimeout), 5 + 3);
    assert_eq!(evicted(&host), 3, "nobody needed more");
}

#[test]
fn who_makes_progress_stays_however_slow() {
    let mut host = Host::new(limited(1), Probe::default());
    let mut slow = Peer::opened(&mut host, ECHO);
    slow.tell(&mut host, ACK, &[7; 100]);
    let mut other = Peer::to(ECHO, 2_000);
    other.open(&mut host);
    let at = other.seq;
    for _ in 0..20 {
        // One byte, shortly before the third time would have been over.
        host.pass(Duration::from_millis(6_900));
        slow.ack += 1;
        slow.tell(&mut host, ACK, b"");
        let refused = other.say(&mut host, ACK, at, other.ack, b"alive");
        assert!(refused.iter().all(|seen| seen.flags == ACK && seen.payload.is_empty()));
    }
    assert_eq!((host.dropped(DropReason::FlightsFull), evicted(&host)), (20, 0));
    // Past that time it would go, but even then what it acknowledges first counts.
    host.seconds(8);
    slow.ack += 1;
    slow.tell(&mut host, ACK, b"");
    ask(&mut host, &mut other.clone());
    assert_eq!(evicted(&host), 0);
    // To be heard is not enough.
    host.seconds(8);
    slow.say(&mut host, ACK, slow.seq, slow.ack, b"");
    let sent = ask(&mut host, &mut other);
    assert_eq!((sent.len(), evicted(&host)), (2, 1));
    assert_eq!(other.read(&sent[1]).payload, b"alive");
}

#[test]
fn the_rest_of_the_batch_notices() {
    let mut host = Host::new(limited(1), Probe::default());
    let mut silent = silent(&mut host, 1).remove(0);
    let mut living = Peer::to(ECHO, 2_000);
    living.open(&mut host);
    host.seconds(8);
    // The record of the one that goes is used again before its own segment comes.
    let mut fresh = Peer::to(ECHO, 3_000);
    let frames = [
        living.next(ACK, b"alive"),
        fresh.next(SYN, b""),
        silent.next(ACK, b"and I"),
        living.next(ACK, b"!"),
    ];
    let sent = host.receive(&frames);
    let [reset, answer, syn_ack, stray, more] = &sent[..] else { panic!("{} frames", sent.len()) };
    assert!(silent.read(reset).flags.rst && silent.read(stray).flags.rst);
    assert_eq!(fresh.read(syn_ack).flags, SYN_ACK);
    assert_eq!([answer, more].map(|frame| living.read(frame).payload), [&b"alive"[..], b"!"]);
    assert_eq!(host.engine.table.slab.touched(), 2, "the record was used again");
}

#[test]
fn the_same_segment_may_free_a_flight_and_need_one() {
    let mut host = Host::new(limited(2), Probe::default());
    let mut silent = silent(&mut host, 2);
    host.seconds(8);
    // What it acknowledges comes before what it asks: nobody has to go.
    silent[0].ack += 3;
    let answer = only(silent[0].tell(&mut host, ACK, b"again"));
    assert_eq!((answer.payload, evicted(&host)), (b"again".to_vec(), 0));
}

#[test]
fn without_resets_left_they_go_silently() {
    let config = Config { resets_per_second: 0, ..limited(1) };
    let mut host = Host::new(config, Probe::default());
    silent(&mut host, 1);
    let mut living = Peer::to(ECHO, 2_000);
    living.open(&mut host);
    host.seconds(8);
    assert_eq!(living.read(&only(ask(&mut host, &mut living.clone()))).payload, b"alive");
    assert_eq!((evicted(&host), host.engine.counters().resets), (1, 0));
}

#[test]
fn closing_connections_give_way_too() {
    let mut host = Host::new(limited(2), Probe::default());
    let mut closing = [("QUIT\n", ACK), ("", FIN)].map(|(text, flags)| {
        let port = 1_000 + text.len() as u16;
        let mut peer = Peer::to("10.77.0.1:7000", port);
        peer.open(&mut host);
        assert_eq!(only(peer.tell(&mut host, flags, text.as_bytes())).flags, FIN);
        host.pass(MOMENT);
        peer
    });
    let mut living = [1, 2].map(|port| Peer::to(ECHO, port));
    living.iter_mut().for_each(|peer| peer.open(&mut host));
    host.seconds(8);
    for (peer, closing) in living.iter_mut().zip(&mut closing) {
        let sent = ask(&mut host, peer);
        assert!(closing.read(&sent[0]).flags.rst && sent.len() == 2);
    }
    assert_eq!(evicted(&host), 2);
}

#[test]
fn the_service_finds_a_flight_for_its_first_words_and_for_its_fin() {
    for closes in [false, true] {
        let mut host = Host::new(limited(1), Probe::default());
        silent(&mut host, 1);
        host.seconds(8);
        let service = host.engine.service_mut();
        (service.greeting, service.close_on_open) = (b"hello".to_vec(), closes);
        let mut fresh = Peer::to(ECHO, 2_000);
        fresh.syn(&mut host);
        let frame = fresh.next(ACK, b"");
        let sent = host.receive(&[frame]);
        let greeting = fresh.read(&sent[1]);
        assert_eq!((greeting.payload, greeting.flags.fin), (b"hello".to_vec(), closes));
        assert_eq!(evicted(&host), 1);
    }
}

#[test]
fn a_fin_that_waits_takes_the_first_flight_that_stalls() {
    let mut host = Host::new(limited(1), Probe::default());
    silent(&mut host, 1);
    host.engine.service_mut().close_on_open = true;
    let mut fresh = Peer::to(ECHO, 2_000);
    fresh.open(&mut host);
    assert_eq!(evicted(&host), 0);
    let sent = host.pass(R1_TIMEOUT + Duration::from_secs(1));
    let fin = sent.iter().position(|frame| frame[36..38] == 2_000u16.to_be_bytes());
    assert_eq!(fresh.read(&sent[fin.expect("a FIN")]).flags, FIN);
    assert_eq!(evicted(&host), 1);
}

#[test]
fn commands_find_a_flight_too() {
    for closes in [false, true] {
        let mut host = Host::new(limited(1), Probe::default());
        silent(&mut host, 1);
        let mut living = Peer::to(ECHO, 2_000);
        living.open(&mut host);
        let events = host.events();
        let Some(&Event::Open(id)) = events.last() else { panic!("it opens") };
        let command = |host: &mut Host| {
            let Host { engine, pool, tx, now, .. } = host;
            match closes {
                true => engine.close(id, *now, pool, tx),
                false => engine.send(id, b"news", *now, pool, tx),
            }
        };
        assert_eq!(command(&mut host), Err(CommandError::Busy));
        host.seconds(8);
        assert_eq!(command(&mut host), Ok(()));
        let sent = host.sent();
        let news = living.read(&sent[1]);
        assert_eq!((news.payload.len(), news.flags.fin), (if closes { 0 } else { 4 }, closes));
        assert_eq!((sent.len(), evicted(&host)), (2, 1));
    }
}

#[test]
fn a_place_among_the_promoted_is_not_taken_while_somebody_can_give_way() {
    let mut config = limited(1);
    config.promoted_max = 1;
    let mut host = Host::new(config, Probe::default());
    silent(&mut host, 1);
    let mut living = Peer::to(ECHO, 2_000);
    living.open(&mut host);
    host.seconds(8);
    assert_eq!(ask(&mut host, &mut living).len(), 2);
    assert_eq!((evicted(&host), host.engine.counters().promotions), (1, 0));
}

#[test]
fn a_flight_that_is_promoted_leaves_the_line() {
    let mut config = limited(2);
    config.promoted_max = 1;
    let mut host = Host::new(config, Probe::default());
    let silent = silent(&mut host, 2);
    host.seconds(8);
    // Data that comes early promotes the first in line.
    let early = silent[0].seq + 10;
    silent[0].say(&mut host, ACK, early, silent[0].ack, b"early");
    assert_eq!(host.engine.counters().promoted, 1);
    let mut living = [1, 2].map(|port| Peer::to(ECHO, port));
    living.iter_mut().for_each(|peer| peer.open(&mut host));
    assert_eq!(only(ask(&mut host, &mut living[0])).len(), 54 + 5, "its flight is free");
    let sent = ask(&mut host, &mut living[1]);
    assert!(silent[1].read(&sent[0]).flags.rst && sent.len() == 2, "and the next in line goes");
}
