//! Connections for each prefix of the peers' addresses.

use super::*;
use crate::conn::prefix::PrefixLimit;
use crate::conn::record::State;
use crate::drops::DropReason;

/// Two connections for each IPv4 /24 and each IPv6 /64.
fn limited(half_open_max: u32) -> Host {
    let mut config = config();
    config.prefix_limit = Some(PrefixLimit { v4_len: 24, ..PrefixLimit::new(2) });
    config.half_open_max = half_open_max;
    Host::new(config, Probe::default())
}

/// A client at `from`.
fn peer_at(from: &str) -> Peer {
    let local = endpoint(from);
    let mut peer = Peer::to(if local.addr.is_v4() { "10.77.0.1:7" } else { "[fd77::1]:7" }, 1);
    peer.flow.local = local;
    peer
}

/// Clients of one prefix of each family, and one of another.
const CLIENTS: [[&str; 4]; 2] = [
    ["10.77.9.1:1", "10.77.9.1:2", "10.77.9.200:1", "10.77.8.1:1"],
    ["[fd77:0:0:9::1]:1", "[fd77:0:0:9::1]:2", "[fd77:0:0:9:8::1]:1", "[fd77:0:0:8::1]:1"],
];

#[test]
fn a_prefix_with_all_its_connections_gets_no_more_and_others_do() {
    for clients in CLIENTS {
        let mut host = limited(64);
        let [mut a, mut b, mut c, mut other] = clients.map(peer_at);
        a.open(&mut host);
        // Half-open ones count.
        b.syn(&mut host);
        assert_eq!(c.tell(&mut host, SYN, b""), [], "neither reset nor cookie");
        assert_eq!(host.dropped(DropReason::PrefixFull), 1);
        assert_eq!(host.engine.counters().connections, 2);
        other.open(&mut host);
        assert_eq!(b.tell(&mut host, ACK, b""), []);
        for peer in [&mut a, &mut b, &mut other] {
            let echo = only(peer.tell(&mut host, ACK, b"still here"));
            assert_eq!(echo.payload, b"still here");
            peer.take(&echo);
        }
        // The SYN comes again when one has ended.
        a.tell(&mut host, RST, b"");
        c.seq = c.seq - 1;
        c.open(&mut host);
        assert_eq!(host.engine.counters().established, 3);
        for peer in [&mut b, &mut c, &mut other] {
            peer.tell(&mut host, RST, b"");
        }
        assert_eq!((host.engine.table.prefixes(), host.state()), (0, State::Free));
    }
}

#[test]
fn half_open_connections_that_nobody_completes_make_room() {
    let mut host = limited(64);
    let [mut a, mut b, mut c, _] = CLIENTS[0].map(peer_at);
    a.syn(&mut host);
    b.syn(&mut host);
    assert_eq!(c.tell(&mut host, SYN, b""), []);
    host.seconds(300);
    assert_eq!((host.engine.table.prefixes(), host.engine.counters().half_open), (0, 0));
    c.seq = c.seq - 1;
    c.open(&mut host);
}

#[test]
fn a_full_prefix_gets_no_cookie_and_brings_none_back() {
    let mut host = limited(0);
    let [mut a, mut b, mut c, mut other] = CLIENTS[1].map(peer_at);
    // All three were sent a cookie while there was room for two.
    for peer in [&mut a, &mut b, &mut c] {
        peer.syn(&mut host);
    }
    assert_eq!(a.tell(&mut host, ACK, b""), []);
    assert_eq!(b.tell(&mut host, ACK, b""), []);
    assert_eq!(c.tell(&mut host, ACK, b"data"), [], "not even a reset: it may come again");
    assert_eq!(host.dropped(DropReason::PrefixFull), 1);
    let sent = host.engine.counters().cookies_sent;
    let mut late = peer_at("[fd77:0:0:9::77]:1");
    assert_eq!(late.tell(&mut host, SYN, b""), []);
    assert_eq!(host.dropped(DropReason::PrefixFull), 2);
    assert_eq!(host.engine.counters().cookies_sent, sent);
    other.open(&mut host);
    a.tell(&mut host, RST, b"");
    let echo = only(c.say(&mut host, ACK, c.seq - 4, c.ack, b"data"));
    assert_eq!(echo.payload, b"data");
}

#[test]
fn connections_opened_here_count_and_are_not_refused() {
    let mut host = limited(64);
    let local = endpoint("10.77.0.1:50000");
    let mut server = Peer::to("10.77.0.1:50000", 7);
    server.flow.local = endpoint("10.77.9.9:7");
    active::learn(&mut host, &server);
    for port in 7..10 {
        let remote = crate::wire::addr::Endpoint { port, ..server.endpoint() };
        assert!(active::connect(&mut host, local, remote).is_ok());
        host.sent();
    }
    assert_eq!(peer_at("10.77.9.1:1").tell(&mut host, SYN, b""), []);
    assert_eq!(host.dropped(DropReason::PrefixFull), 1);
    host.seconds(300);
    assert_eq!(host.engine.table.prefixes(), 0);
}

#[test]
fn a_connection_in_time_wait_makes_way_for_its_successor() {
    let mut host = limited(64);
    let mut peer = peer_at("10.77.9.1:1");
    peer.flow.remote.port = 7000;
    peer.open(&mut host);
    peer_at("10.77.9.2:1").syn(&mut host);
    let fin = only(peer.tell(&mut host, ACK, b"QUIT\n"));
    peer.take(&fin);
    peer.tell(&mut host, FIN, b"");
    assert_eq!(host.engine.counters().established, 0);
    peer.seq += 1000;
    let syn_ack = only(peer.tell(&mut host, SYN, b""));
    assert_eq!(syn_ack.flags, SYN_ACK);
    assert_eq!(host.dropped(DropReason::PrefixFull), 0);
}
