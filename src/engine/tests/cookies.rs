//! Floods of SYNs, and connections that come back with a cookie.

use super::*;
use crate::conn::record::State;
use crate::drops::DropReason;
use crate::wire::packet::SynOptions;

const BOTH: [&str; 2] = ["10.77.0.1:7", "[fd77::1]:7"];

/// A host that answers every SYN past `half_open_max` with a cookie.
fn flooded(half_open_max: u32) -> Host {
    let mut config = config();
    config.half_open_max = half_open_max;
    Host::new(config, Probe::default())
}

#[test]
fn a_flood_leaves_records_for_others() {
    let mut host = flooded(8);
    let mut old = Peer::opened(&mut host, BOTH[0]);
    for n in 0..10_000u32 {
        let mut forged = Peer::to(BOTH[0], 0);
        let [_, _, a, b] = n.to_be_bytes();
        forged.flow.local = endpoint(&format!("10.77.{}.{b}:{}", 128 + a, 1_000 + n % 7));
        assert_eq!(only(forged.tell(&mut host, SYN, b"")).flags, SYN_ACK);
        if n % 1_000 == 0 {
            let echo = only(old.tell(&mut host, ACK, b"still here"));
            assert_eq!(echo.payload, b"still here");
            old.take(&echo);
        }
    }
    let counters = host.engine.counters();
    assert_eq!((counters.connections, counters.half_open, counters.cookies_sent), (9, 8, 9_992));
    let mut client = Peer::to(BOTH[1], 50_000);
    client.open(&mut host);
    assert_eq!(only(client.tell(&mut host, ACK, b"hello")).payload, b"hello");
    assert_eq!(host.engine.counters().cookies_accepted, 1);
}

#[test]
fn a_connection_opens_through_a_cookie_over_both_families() {
    for target in BOTH {
        let mut host = flooded(0);
        let mut peer = Peer::to(target, 40_000);
        peer.options.wscale = Some(7);
        let syn_ack = peer.syn(&mut host);
        let mss = if target.starts_with('[') { 1440 } else { 1460 };
        assert_eq!(syn_ack.options, SynOptions { mss: Some(mss), ..SynOptions::default() });
        assert_eq!((host.state(), host.engine.wheel.len()), (State::Free, 0));
        assert_eq!(peer.tell(&mut host, ACK, b""), []);
        assert_eq!(host.events(), [Event::Open(host.id())]);
        let counters = host.engine.counters();
        assert_eq!((counters.accepted, counters.established, counters.half_open), (1, 1, 0));
        let echo = only(peer.tell(&mut host, ACK, b"data"));
        assert_eq!((&echo.payload[..], echo.window), (&b"data"[..], syn_ack.window));
        peer.take(&echo);
        assert_eq!(peer.tell(&mut host, ACK, b""), []);
        assert_eq!(host.seconds(100), Vec::<Vec<u8>>::new(), "no timer is left");
    }
}

#[test]
fn the_segment_that_brings_a_cookie_may_bring_data_and_a_fin() {
    let mut host = flooded(0);
    let mut peer = Peer::to(BOTH[0], 40_000);
    peer.syn(&mut host);
    let answer = only(peer.tell(&mut host, FIN, b"all at once"));
    assert_eq!((answer.flags, &answer.payload[..]), (FIN, &b"all at once"[..]));
    peer.take(&answer);
    assert_eq!(peer.tell(&mut host, ACK, b""), []);
    assert_eq!(host.state(), State::Free);
}

#[test]
fn a_forged_cookie_is_reset_and_leaves_no_record() {
    let mut host = flooded(0);
    let mut peer = Peer::to(BOTH[0], 40_000);
    peer.syn(&mut host);
    for (seq, ack) in [(peer.seq, peer.ack + 16), (peer.seq + 1, peer.ack)] {
        assert_eq!(only(peer.say(&mut host, ACK, seq, ack, b"x")).flags, RST);
    }
    let other = Peer { flow: Peer::to(BOTH[0], 40_001).flow, ..peer.clone() };
    assert_eq!(only(other.say(&mut host, ACK, peer.seq, peer.ack, b"")).flags, RST);
    assert_eq!((host.state(), host.events()), (State::Free, vec![]));
}

#[test]
fn an_old_cookie_is_reset() {
    let mut host = flooded(0);
    let mut peer = Peer::to(BOTH[0], 40_000);
    peer.syn(&mut host);
    host.seconds(129);
    // Another one is out, so that cookies are looked at.
    Peer::to(BOTH[0], 40_001).syn(&mut host);
    assert_eq!(only(peer.tell(&mut host, ACK, b"")).flags, RST);
    assert_eq!(host.state(), State::Free);
}

#[test]
fn no_cookie_is_taken_while_none_are_out() {
    let mut sender = flooded(0);
    let mut peer = Peer::to(BOTH[0], 40_000);
    peer.syn(&mut sender);
    // It has the same secrets.
    let mut host = flooded(0);
    assert_eq!(only(peer.tell(&mut host, ACK, b"")).flags, RST);
    assert_eq!(host.state(), State::Free);
}

#[test]
fn the_segment_size_of_a_small_peer_survives_the_cookie() {
    let mut host = flooded(0);
    let mut peer = Peer::to(BOTH[0], 40_000);
    peer.options.mss = Some(300);
    peer.open(&mut host);
    let echoed = peer.tell(&mut host, ACK, &[1; 400]);
    let lens: Vec<_> = echoed.iter().map(|seen| seen.payload.len()).collect();
    assert_eq!(lens, [216, 184]);
}

#[test]
fn a_cookie_that_finds_the_table_full_is_dropped_and_may_come_again() {
    let mut config = config();
    (config.half_open_max, config.connections_max) = (0, 1);
    let mut host = Host::new(config, Probe::default());
    let mut peers = [Peer::to(BOTH[0], 1), Peer::to(BOTH[0], 2)];
    peers.iter_mut().for_each(|peer| drop(peer.syn(&mut host)));
    assert_eq!(peers[0].tell(&mut host, ACK, b""), []);
    assert_eq!(peers[1].tell(&mut host, ACK, b""), []);
    assert_eq!(host.dropped(DropReason::TableFull), 1);
    peers[0].tell(&mut host, RST, b"");
    assert_eq!(only(peers[1].tell(&mut host, ACK, b"again")).payload, b"again");
}
