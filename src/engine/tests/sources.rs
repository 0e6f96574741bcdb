//! Addresses that no host sends from: whatever comes from them is ignored, and so is what is sent to
//! everyone (RFC 1122 sections 3.2.1.3 and 4.2.3.10, RFC 4291 section 2.7).

use super::gateways::addr;
use super::harness::{MAC, owned};
use super::peer::PEER_MAC;
use super::*;
use crate::conn::record::State;
use crate::drops::DropReason;
use crate::wire::addr::Address;
use crate::wire::ethernet::{self, Mac};
use crate::wire::neighbor;
use smoltcp::wire::{Icmpv4Packet, Icmpv6Packet, Ipv4Packet, Ipv6Packet};

/// The link of 10.77.0.1/16 has 10.77.255.255; that of 10.78.0.1/24 has 10.78.0.255.
const NOBODY_V4: [&str; 8] = [
    "10.77.255.255",
    "10.78.0.255",
    "255.255.255.255",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "127.0.0.1",
    "0.0.0.0",
];
const NOBODY_V6: [&str; 5] = ["ff02::1", "ff05::2", "::", "::1", "::ffff:10.77.0.2"];

fn host() -> Host {
    let mut config = config();
    config.owned.push(owned("10.78.0.1", 32, 24));
    Host::new(config, Probe::default())
}

/// A segment for the echo service from `source`, whose family it need not have.
fn segment(source: &str, flags: crate::wire::packet::Flags) -> Vec<u8> {
    let v6 = source.contains(':');
    let peer = Peer::to(if v6 { "[fd77::1]:7" } else { "10.77.0.1:7" }, 40_000);
    let mut frame = peer.raw(flags, peer.seq, peer.ack, b"");
    let source = source.parse::<core::net::IpAddr>().unwrap();
    match source {
        core::net::IpAddr::V4(v4) => frame[26..30].copy_from_slice(&v4.octets()),
        core::net::IpAddr::V6(v6) => frame[22..38].copy_from_slice(&v6.octets()),
    }
    refit(&mut frame);
    frame
}

/// Sets the checksums of a TCP, ICMP or ICMPv6 packet.
fn refit(frame: &mut [u8]) {
    if frame[14] >> 4 == 4 {
        let mut ip = Ipv4Packet::new_unchecked(&mut frame[14..]);
        ip.fill_checksum();
        let (source, target) = (ip.src_addr().into(), ip.dst_addr().into());
        match ip.next_header() {
            smoltcp::wire::IpProtocol::Tcp => {
                let mut tcp = smoltcp::wire::TcpPacket::new_unchecked(ip.payload_mut());
                tcp.fill_checksum(&source, &target);
            }
            _ => Icmpv4Packet::new_unchecked(ip.payload_mut()).fill_checksum(),
        }
        return;
    }
    let mut ip = Ipv6Packet::new_unchecked(&mut frame[14..]);
    let (source, target) = (ip.src_addr(), ip.dst_addr());
    match ip.next_header() {
        smoltcp::wire::IpProtocol::Tcp => {
            let mut tcp = smoltcp::wire::TcpPacket::new_unchecked(ip.payload_mut());
            tcp.fill_checksum(&source.into(), &target.into());
        }
        _ => Icmpv6Packet::new_unchecked(ip.payload_mut()).fill_checksum(&source, &target),
    }
}

/// An ICMP message of type `kind` from `source`; an error quotes a segment of the echo service.
fn icmp(source: &str, kind: u8) -> Vec<u8> {
    let quoted = segment(if source.contains(':') { "fd77::2" } else { "10.77.0.2" }, ACK);
    let mut frame = segment(source, SYN);
    let start = if source.contains(':') { 54 } else { 34 };
    frame.truncate(start);
    frame.extend([kind, 0, 0, 0, 0, 0, 0, 0]);
    // Turned around, as a router saw it.
    let mut inner = quoted[14..].to_vec();
    match source.contains(':') {
        true => {
            let (a, b) = inner[8..40].split_at_mut(16);
            a.swap_with_slice(b);
        }
        false => {
            let (a, b) = inner[12..20].split_at_mut(4);
            a.swap_with_slice(b);
        }
    }
    frame.extend(inner);
    let len = u16::try_from(frame.len() - start).unwrap();
    match source.contains(':') {
        true => {
            frame[18..20].copy_from_slice(&len.to_be_bytes());
            frame[20] = 58;
        }
        false => {
            frame[16..18].copy_from_slice(&(len + 20).to_be_bytes());
            frame[23] = 1;
        }
    }
    refit(&mut frame);
    frame
}

#[test]
fn segments_and_icmp_from_nobody_are_dropped_unanswered() {
    let mut host = host();
    for source in NOBODY_V4.iter().chain(&NOBODY_V6) {
        let v6 = source.contains(':');
        let frames = [
            segment(source, SYN),
            segment(source, ACK),
            segment(source, RST),
            // An echo request, and "unreachable".
            icmp(source, if v6 { 128 } else { 8 }),
            icmp(source, if v6 { 1 } else { 3 }),
        ];
        for (which, frame) in frames.into_iter().enumerate() {
            let before = host.dropped(DropReason::SourceAddress);
            assert_eq!(host.receive(&[frame]), Vec::<Vec<u8>>::new(), "{source}, {which}");
            assert_eq!(host.dropped(DropReason::SourceAddress), before + 1, "{source}, {which}");
        }
    }
    assert_eq!(host.state(), State::Free);
}

/// The same frames, from a host: else the test above would prove nothing.
#[test]
fn the_same_from_a_host_is_answered() {
    let mut host = host();
    for source in ["10.77.0.2", "fd77::2"] {
        let echo = if source.contains(':') { 128 } else { 8 };
        assert_eq!(host.receive(&[icmp(source, echo)]).len(), 1, "{source}");
        assert_eq!(host.receive(&[segment(source, ACK)]).len(), 1, "{source}: a reset");
        assert_eq!(host.receive(&[segment(source, SYN)]).len(), 1, "{source}: a SYN-ACK");
        let error = if source.contains(':') { 1 } else { 3 };
        let before = host.engine.counters().drops.total();
        assert!(host.receive(&[icmp(source, error)]).is_empty());
        assert_eq!(host.engine.counters().drops.total(), before + 1);
    }
    assert_eq!(host.dropped(DropReason::SourceAddress), 0);
}

#[test]
fn neighbours_that_cannot_be_are_neither_answered_nor_learned() {
    let mut host = host();
    let ask = |mac: Mac, source: Address, target: &str| {
        let mut frame = vec![0; 128];
        let len = neighbor::ask(&mut frame, mac, source, addr(target)).unwrap();
        frame.truncate(len);
        frame
    };
    for source in &NOBODY_V4[..7] {
        let before = host.dropped(DropReason::SourceAddress);
        assert!(host.receive(&[ask(PEER_MAC, addr(source), "10.77.0.1")]).is_empty(), "{source}");
        assert_eq!(host.dropped(DropReason::SourceAddress), before + 1, "{source}");
    }
    for source in ["ff02::1", "::1"] {
        assert!(host.receive(&[ask(PEER_MAC, addr(source), "fd77::1")]).is_empty(), "{source}");
    }
    // At a group's hardware address, in the frame or in the message.
    let group = [1, 0, 0x5e, 0, 0, 1];
    for mac in [group, ethernet::BROADCAST] {
        for (source, target) in [("10.77.0.2", "10.77.0.1"), ("fd77::2", "fd77::1")] {
            assert!(host.receive(&[ask(mac, addr(source), target)]).is_empty(), "{source}");
        }
        let mut inside = ask(PEER_MAC, addr("10.77.0.2"), "10.77.0.1");
        inside[22..28].copy_from_slice(&mac);
        assert!(host.receive(&[inside]).is_empty());
    }
    // From no address only a probe may come: to the group, without the option.
    let mut unicast = ask(PEER_MAC, addr("fd77::2").unspecified(), "fd77::1");
    unicast[..6].copy_from_slice(&MAC);
    unicast[38..54].copy_from_slice(&addr("fd77::1").0);
    refit(&mut unicast);
    let mut with_option = ask(PEER_MAC, addr("fd77::2"), "fd77::1");
    with_option[22..38].fill(0);
    refit(&mut with_option);
    for frame in [unicast, with_option] {
        let before = host.dropped(DropReason::ControlIgnored);
        assert!(host.receive(&[frame]).is_empty());
        assert_eq!(host.dropped(DropReason::ControlIgnored), before + 1);
    }
}

#[test]
fn what_is_sent_to_everyone_opens_and_resets_nothing() {
    let mut config = config();
    // The owned range holds its link's broadcast address.
    config.owned.push(owned("10.77.240.0", 20, 16));
    let mut host = Host::new(config, Probe::default());
    for flags in [SYN, ACK] {
        for to in [ethernet::BROADCAST, [1, 0, 0x5e, 0, 0, 1]] {
            let mut frame = segment("10.77.0.2", flags);
            frame[..6].copy_from_slice(&to);
            assert!(host.receive(&[frame]).is_empty());
        }
        let mut v6 = segment("fd77::2", flags);
        v6[..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 1]);
        assert!(host.receive(&[v6]).is_empty());
        for target in ["10.77.255.255", "255.255.255.255", "224.0.0.1"] {
            let mut frame = segment("10.77.0.2", flags);
            frame[30..34].copy_from_slice(&addr(target).v4_octets());
            refit(&mut frame);
            assert!(host.receive(&[frame]).is_empty(), "{target}");
        }
        let mut group = segment("fd77::2", flags);
        group[38..54].copy_from_slice(&addr("ff02::1").0);
        refit(&mut group);
        assert!(host.receive(&[group]).is_empty());
    }
    assert_eq!((host.state(), host.dropped(DropReason::NotOurs)), (State::Free, 14));
}
