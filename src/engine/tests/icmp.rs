//! ICMP errors about segments that the engine sent: true ones, and forged ones.

use super::active::{self, CLIENTS};
use super::harness::MAC;
use super::peer::PEER_MAC;
use super::*;
use crate::conn::record::State;
use crate::drops::DropReason;
use crate::tcp::CloseReason;
use proptest::prelude::any;
use proptest::sample::Index;
use smoltcp::wire::{Icmpv4Packet, Icmpv6Packet, Ipv4Packet, Ipv6Packet};

const ECHO: [&str; 2] = ["10.77.0.1:7", "[fd77::1]:7"];

/// ICMP type and code, and the same over IPv6.
const TOO_BIG: [(u8, u8); 2] = [(3, 4), (2, 0)];
const PORT: [(u8, u8); 2] = [(3, 3), (1, 4)];
const PROHIBITED: [(u8, u8); 2] = [(3, 13), (1, 1)];
const SOFT: [(u8, u8); 2] = [(3, 1), (3, 0)];

/// Where the quotation starts in an error about `frame`.
fn quote_at(v6: bool) -> usize {
    14 + if v6 { 40 } else { 20 } + 8
}

/// Sets the lengths and checksums of an error message to what they must be.
fn refit(message: &mut [u8], v6: bool) {
    let len = message.len() - 14;
    if v6 {
        message[18..20].copy_from_slice(&((len - 40) as u16).to_be_bytes());
        let ip = Ipv6Packet::new_unchecked(&message[14..]);
        let (source, target) = (ip.src_addr(), ip.dst_addr());
        Icmpv6Packet::new_unchecked(&mut message[54..]).fill_checksum(&source, &target);
    } else {
        message[16..18].copy_from_slice(&(len as u16).to_be_bytes());
        Ipv4Packet::new_unchecked(&mut message[14..34]).fill_checksum();
        Icmpv4Packet::new_unchecked(&mut message[34..]).fill_checksum();
    }
}

/// The error of `kind` with `mtu` that the peer, or a router there, sends about `frame`, of which it
/// quotes `quoted` bytes from the IP header on.
fn error(kind: [(u8, u8); 2], mtu: u16, frame: &[u8], quoted: usize) -> Vec<u8> {
    let v6 = frame[14] >> 4 == 6;
    let (kind, code) = kind[usize::from(v6)];
    let mut message = [&MAC[..], &PEER_MAC[..], &frame[12..14]].concat();
    if v6 {
        message.extend([0x60, 0, 0, 0, 0, 0, 58, 64]);
        message.extend(&frame[38..54]);
        message.extend(&frame[22..38]);
    } else {
        message.extend([0x45, 0, 0, 0, 0, 0, 0, 0, 64, 1, 0, 0]);
        message.extend(&frame[30..34]);
        message.extend(&frame[26..30]);
    }
    let [high, low] = mtu.to_be_bytes();
    message.extend([kind, code, 0, 0, 0, 0, high, low]);
    message.extend(&frame[14..frame.len().min(14 + quoted)]);
    refit(&mut message, v6);
    message
}

/// The shortest quotation that names a connection.
fn shortest(frame: &[u8]) -> usize {
    if frame[14] >> 4 == 6 { 48 } else { 28 }
}

/// A connection with 1400 bytes in flight, and the frame that carries them.
fn in_flight(target: &str) -> (Host, Peer, Vec<u8>) {
    let mut host = Host::serving();
    let mut peer = Peer::opened(&mut host, target);
    let data = peer.next(ACK, &[8; 1400]);
    let frame = only(host.receive(&[data]));
    host.events();
    (host, peer, frame)
}

/// A client whose SYN was sent, and that SYN.
fn connecting(client: &str) -> (Host, Peer, Vec<u8>) {
    let (mut host, peer) = active::connecting(client);
    let syn = only(host.sent());
    (host, peer, syn)
}

/// The MSS of the only connection.
fn mss(host: &Host) -> u16 {
    host.engine.table.slab[host.id().index()].mss
}

#[test]
fn too_big_sends_what_is_in_flight_again_in_smaller_segments() {
    for (target, max) in ECHO.into_iter().zip([1260, 1240]) {
        let (mut host, mut peer, frame) = in_flight(target);
        let message = error(TOO_BIG, 1300, &frame, shortest(&frame));
        let sent = peer.read_all(host.receive(core::slice::from_ref(&message)));
        let lens: Vec<_> = sent.iter().map(|seen| seen.payload.len()).collect();
        assert_eq!(lens, [max, 1400 - max]);
        sent.iter().for_each(|seen| peer.take(seen));
        let counters = host.engine.counters();
        assert_eq!((counters.mtu_lowered, counters.retransmitted), (1, 0));
        // Said again, or with a larger MTU, it does nothing.
        for mtu in [1300, 1400, 9000] {
            let message = error(TOO_BIG, mtu, &frame, 1500);
            assert_eq!(host.receive(&[message]), Vec::<Vec<u8>>::new());
        }
        assert_eq!(host.dropped(DropReason::ControlIgnored), 3);
        // And what comes later is small from the start.
        let sent = peer.tell(&mut host, ACK, &[9; 1300]);
        assert_eq!(sent[0].payload.len(), max);
        assert_eq!(host.events(), []);
    }
}

#[test]
fn too_big_does_not_count_as_a_timeout() {
    let (mut host, peer, frame) = in_flight(ECHO[0]);
    host.seconds(4);
    let retries = |host: &Host| {
        let conn = &host.engine.table.slab[host.id().index()];
        host.engine.flights[conn.flight].retries()
    };
    assert_eq!(retries(&host), 2);
    assert_eq!(host.receive(&[error(TOO_BIG, 1000, &frame, 28)]).len(), 2);
    assert_eq!(retries(&host), 2);
    assert_eq!(peer.read(&only(host.seconds(5))).payload.len(), 960);
}

#[test]
fn an_mtu_below_what_every_link_has_is_not_believed() {
    for (mtu, v4, v6) in [(1, 512, 1220), (551, 512, 1220), (553, 513, 1220), (0, 536, 1220)] {
        for (target, expected) in ECHO.into_iter().zip([v4, v6]) {
            let (mut host, _, frame) = in_flight(target);
            host.receive(&[error(TOO_BIG, mtu, &frame, 1500)]);
            assert_eq!(mss(&host), expected, "{target} {mtu}");
        }
    }
}

#[test]
fn a_peer_with_tiny_segments_gets_no_larger_ones() {
    let mut host = Host::serving();
    let mut peer = Peer::to(ECHO[0], 40_000);
    peer.options.mss = Some(300);
    peer.open(&mut host);
    let data = peer.next(ACK, &[8; 300]);
    let frame = only(host.receive(&[data]));
    assert!(host.receive(&[error(TOO_BIG, 100, &frame, 1500)]).is_empty());
    assert_eq!((mss(&host), host.engine.counters().mtu_lowered), (300, 0));
}

#[test]
fn errors_about_segments_that_are_not_in_flight_do_nothing() {
    for target in ECHO {
        let (mut host, peer, frame) = in_flight(target);
        let at = if target.starts_with('[') { 58 } else { 38 };
        for seq in [peer.ack - 1, peer.ack + 1400, peer.ack + 70_000] {
            let mut forged = frame.clone();
            forged[at..at + 4].copy_from_slice(&seq.0.to_be_bytes());
            for kind in [TOO_BIG, PORT, PROHIBITED, SOFT] {
                assert!(host.receive(&[error(kind, 600, &forged, 1500)]).is_empty());
            }
        }
        let drops: Vec<_> = host.engine.counters().drops.nonzero().collect();
        assert_eq!(drops, [(DropReason::IcmpSequence, 12)], "{target}");
        assert_eq!((host.state(), host.engine.counters().mtu_lowered), (State::Established, 0));
    }
}

#[test]
fn an_idle_connection_believes_no_error() {
    let (mut host, mut peer, frame) = in_flight(ECHO[0]);
    let seen = peer.read(&frame);
    peer.take(&seen);
    peer.tell(&mut host, ACK, b"");
    let mut forged = frame.clone();
    forged[38..42].copy_from_slice(&peer.ack.0.to_be_bytes());
    for frame in [frame, forged] {
        host.receive(&[error(TOO_BIG, 600, &frame, 1500)]);
    }
    assert_eq!((mss(&host), host.dropped(DropReason::IcmpSequence)), (1460, 2));
}

#[test]
fn errors_about_unknown_connections_do_nothing() {
    for target in ECHO {
        let (mut host, _, frame) = in_flight(target);
        let at = if target.starts_with('[') { 54 } else { 34 };
        let mut other_port = frame.clone();
        other_port[at + 3] ^= 1;
        assert!(host.receive(&[error(TOO_BIG, 600, &other_port, 1500)]).is_empty());
        assert_eq!(host.dropped(DropReason::IcmpStray), 1);
        // The quoted packet's source is not whom the message is for.
        let mut other_source = error(TOO_BIG, 600, &frame, 1500);
        let v6 = target.starts_with('[');
        other_source[quote_at(v6) + if v6 { 23 } else { 15 }] ^= 7;
        refit(&mut other_source, v6);
        assert!(host.receive(&[other_source]).is_empty());
        assert_eq!(host.dropped(DropReason::ControlIgnored), 1);
        assert_eq!(host.engine.counters().mtu_lowered, 0);
    }
}

#[test]
fn no_error_ends_a_connection_that_was_answered() {
    for target in ECHO {
        let v6 = target.starts_with('[');
        let (mut host, _, frame) = in_flight(target);
        for kind in if v6 { 1..=4 } else { 3..=12 } {
            for code in 0..=16 {
                host.receive(&[error([(kind, code); 2], 1400, &frame, 1500)]);
            }
        }
        assert_eq!((host.state(), host.events()), (State::Established, vec![]));
        // Nor one that is half open.
        let mut host = Host::serving();
        let mut peer = Peer::to(target, 40_000);
        let syn = peer.next(SYN, b"");
        let syn_ack = only(host.receive(&[syn]));
        for kind in [PORT, PROHIBITED, SOFT, TOO_BIG] {
            assert!(host.receive(&[error(kind, 1300, &syn_ack, 1500)]).is_empty());
        }
        assert_eq!(host.state(), State::SynReceived);
    }
}

#[test]
fn hard_errors_end_a_connect_at_once_and_soft_ones_do_not() {
    let cases = [(PORT, CloseReason::Refused), (PROHIBITED, CloseReason::Unreachable)];
    for client in CLIENTS {
        for (kind, reason) in cases {
            let (mut host, _, syn) = connecting(client);
            for soft in [SOFT, TOO_BIG] {
                assert!(host.receive(&[error(soft, 1300, &syn, 1500)]).is_empty());
            }
            assert_eq!((host.state(), host.events()), (State::SynSent, vec![]));
            assert!(host.receive(&[error(kind, 0, &syn, shortest(&syn))]).is_empty());
            assert_eq!((host.state(), host.events()), (State::Free, vec![Event::Closed(reason)]));
        }
        // With another number it is a guess.
        let (mut host, peer, syn) = connecting(client);
        let seq = peer.read(&syn).seq + 1;
        let mut forged = syn.clone();
        let at = if client.starts_with('[') { 58 } else { 38 };
        forged[at..at + 4].copy_from_slice(&seq.0.to_be_bytes());
        host.receive(&[error(PORT, 0, &forged, 1500)]);
        assert_eq!(host.state(), State::SynSent);
    }
}

#[test]
fn ipv4_packets_may_not_be_fragmented() {
    let (_, _, frame) = in_flight(ECHO[0]);
    let (_, _, syn) = connecting(CLIENTS[0]);
    for frame in [frame, syn] {
        let ip = Ipv4Packet::new_checked(&frame[14..]).unwrap();
        assert!(ip.dont_frag() && ip.verify_checksum());
    }
}

#[test]
fn every_truncation_of_an_error_is_dropped() {
    for target in ECHO {
        let v6 = target.starts_with('[');
        let (mut host, _, frame) = in_flight(target);
        let message = error(TOO_BIG, 1300, &frame, shortest(&frame));
        for len in 14..message.len() {
            // The frame ends early ...
            assert!(host.receive(&[message[..len].to_vec()]).is_empty());
            // ... or the packet does, and says so.
            if len >= quote_at(v6) - 4 {
                let mut short = message[..len].to_vec();
                refit(&mut short, v6);
                assert!(host.receive(&[short]).is_empty());
            }
        }
        assert_eq!(host.engine.counters().mtu_lowered, 0);
        assert_eq!(host.receive(&[message]).len(), 2, "whole, it is believed");
    }
}

proptest::proptest! {
    /// Damaged errors under right checksums neither panic nor end a connection.
    #[test]
    fn damaged_errors_are_survived(
        v6: bool,
        kind in 0usize..4,
        mtu: u16,
        damage in proptest::collection::vec((any::<Index>(), any::<u8>()), 0..5),
        cut in proptest::option::of(any::<Index>()),
    ) {
        let (mut host, _, frame) = in_flight(ECHO[usize::from(v6)]);
        let kind = [TOO_BIG, PORT, PROHIBITED, SOFT][kind];
        let mut message = error(kind, mtu, &frame, 60);
        // From the ICMP header on, and most often in the quotation.
        let body = quote_at(v6) - 8;
        for (index, byte) in damage {
            let at = body + index.index(message.len() - body);
            message[at] = byte;
        }
        if let Some(cut) = cut {
            let len = body + 4 + cut.index(message.len() - body - 4);
            message.truncate(len);
        }
        refit(&mut message, v6);
        host.receive(&[message]);
        assert_eq!(host.state(), State::Established);
        assert!(mss(&host) >= if v6 { 1220 } else { 512 });
        assert_eq!(host.events(), []);
    }
}
