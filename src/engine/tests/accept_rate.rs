//! Connect storms: so many connections a second, and those that are there go on.

use super::*;
use crate::conn::prefix::PrefixLimit;
use crate::conn::record::State;
use crate::drops::DropReason;
use crate::time::Duration;

const ECHO: &str = "10.77.0.1:7";

/// A host that accepts 100 connections a second, and so 10 at once.
fn paced() -> Host {
    paced_with(|_| {})
}

fn paced_with(change: impl FnOnce(&mut crate::engine::config::Config)) -> Host {
    let mut config = config();
    config.connections_max = 256;
    config.accept_rate = Some(100);
    change(&mut config);
    Host::new(config, Probe::default())
}

fn peers(count: u16) -> Vec<Peer> {
    (0..count).map(|port| Peer::to(ECHO, 1_000 + port)).collect()
}

/// Each peer sends its SYN again; returns those that are not answered.
fn knock(host: &mut Host, peers: Vec<Peer>) -> Vec<Peer> {
    let is_left = |peer: &mut Peer| {
        let answers = peer.say(host, SYN, peer.seq, peer.ack, b"");
        assert!(answers.iter().all(|seen| seen.flags == SYN_ACK), "no reset: it is to come again");
        answers.is_empty()
    };
    let mut left = peers;
    left.retain_mut(is_left);
    left
}

#[test]
fn a_storm_is_let_in_at_the_pace_and_comes_again() {
    let mut host = paced();
    let left = knock(&mut host, peers(60));
    assert_eq!((left.len(), host.dropped(DropReason::AcceptLimited)), (50, 50));
    host.now = host.now + Duration::from_millis(50);
    let left = knock(&mut host, left);
    assert_eq!(left.len(), 45, "half as long, half as many");
    host.now = host.now + Duration::from_millis(500);
    let left = knock(&mut host, left);
    assert_eq!(left.len(), 35, "never more than a tenth of a second's at once");
    // The retransmissions of clients: after a second, and two, and four.
    let mut left = left;
    for wait in [1, 2, 4] {
        host.now = host.now + Duration::from_secs(wait);
        left = knock(&mut host, left);
    }
    assert_eq!(left.len(), 5);
    assert_eq!(host.dropped(DropReason::AcceptLimited), 50 + 45 + 35 + 25 + 15 + 5);
    assert_eq!(host.engine.counters().half_open, 55);
}

#[test]
fn who_is_in_goes_on_and_a_repeated_syn_takes_no_place() {
    let mut host = paced();
    let mut old = Peer::opened(&mut host, ECHO);
    let mut begun = Peer::to(ECHO, 500);
    begun.syn(&mut host);
    // Eight places are left.
    assert_eq!(knock(&mut host, peers(20)).len(), 12);
    for _ in 0..30 {
        let again = begun.say(&mut host, SYN, begun.seq - 1, begun.ack, b"");
        assert!(again.iter().all(|seen| seen.flags == SYN_ACK), "its SYN-ACK, or nothing new");
    }
    assert_eq!(host.dropped(DropReason::AcceptLimited), 12);
    assert_eq!(begun.tell(&mut host, ACK, b""), [], "the handshake goes on");
    for _ in 0..10 {
        let echoed = only(old.tell(&mut host, ACK, b"beat"));
        assert_eq!(echoed.payload, b"beat");
        old.take(&echoed);
    }
    assert_eq!(host.engine.counters().established, 2);
}

#[test]
fn cookies_are_paced_and_what_they_bring_back_is_not() {
    let mut host = paced_with(|config| config.half_open_max = 0);
    let mut all = peers(12);
    let last = all.split_off(10);
    for peer in &mut all {
        assert_eq!(only(peer.tell(&mut host, SYN, b"")).flags, SYN_ACK);
    }
    assert_eq!(knock(&mut host, last).len(), 2);
    let mut cookies = peers(1);
    host.now = host.now + Duration::from_millis(10);
    let first = &mut cookies[0];
    first.seq += 1_000;
    first.syn(&mut host);
    assert_eq!(knock(&mut host, peers(3)[1..].to_vec()).len(), 2, "the pace is used up");
    assert_eq!(first.tell(&mut host, ACK, b""), []);
    assert_eq!(host.engine.counters().established, 1);
    assert_eq!(host.engine.counters().cookies_sent, 11);
}

#[test]
fn who_has_no_place_uses_up_nobodys() {
    let mut host = paced_with(|config| config.prefix_limit = Some(PrefixLimit::new(2)));
    assert_eq!(knock(&mut host, peers(50)).len(), 48);
    assert_eq!(host.dropped(DropReason::PrefixFull), 48);
    let mut other = Peer::to("[fd77::1]:7", 1);
    other.open(&mut host);
    assert_eq!(host.dropped(DropReason::AcceptLimited), 0);
}

#[test]
fn time_wait_stays_until_its_successor_is_let_in() {
    let mut host = paced();
    let mut peer = Peer::opened(&mut host, "10.77.0.1:7000");
    let fin = only(peer.tell(&mut host, ACK, b"QUIT\n"));
    peer.take(&fin);
    let acked = peer.tell(&mut host, FIN, b"");
    peer.assert_ack(&acked);
    assert_eq!(host.state(), State::TimeWait);
    assert_eq!(knock(&mut host, peers(10)).len(), 1, "one place went to the old connection");
    let mut next = peer.clone();
    next.seq += 1_000_000;
    assert_eq!(next.say(&mut host, SYN, next.seq, next.ack, b""), []);
    assert_eq!(host.dropped(DropReason::AcceptLimited), 2);
    assert_eq!(host.engine.counters().half_open, 9);
    let acked = peer.say(&mut host, FIN, peer.seq - 1, peer.ack, b"");
    peer.assert_ack(&acked);
    host.now = host.now + Duration::from_millis(10);
    assert_eq!(only(next.say(&mut host, SYN, next.seq, next.ack, b"")).flags, SYN_ACK);
}
