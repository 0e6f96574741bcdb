//! ARP, neighbour discovery and ping, for owned addresses.

use super::harness::{MAC, owned};
use super::peer::PEER_MAC;
use super::*;
use crate::drops::DropReason;
use crate::engine::config::Config;
use crate::wire::addr::Address;
use crate::wire::ethernet::{self, EthernetHeader, Mac};
use proptest::prelude::any;
use proptest::sample::Index;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, Icmpv4Packet, Icmpv4Repr, Icmpv6Packet,
    Icmpv6Repr, IpProtocol, Ipv4Packet, Ipv4Repr, Ipv6Packet, Ipv6Repr, NdiscNeighborFlags,
    NdiscRepr, RawHardwareAddress,
};

fn addr(text: &str) -> Address {
    Address::from(text.parse::<core::net::IpAddr>().unwrap())
}

fn header(dst: Mac, tags: &[[u8; 4]], ethertype: u16) -> Vec<u8> {
    let mut bytes = [dst, PEER_MAC].concat();
    tags.iter().for_each(|tag| bytes.extend(tag));
    bytes.extend(ethertype.to_be_bytes());
    bytes
}

fn arp_request(dst: Mac, tags: &[[u8; 4]], source: &str, target: &str) -> Vec<u8> {
    let repr = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr: EthernetAddress(PEER_MAC),
        source_protocol_addr: addr(source).v4_octets().into(),
        target_hardware_addr: EthernetAddress([0; 6]),
        target_protocol_addr: addr(target).v4_octets().into(),
    };
    let mut frame = header(dst, tags, ethernet::ARP);
    let at = frame.len();
    frame.resize(at + repr.buffer_len(), 0);
    repr.emit(&mut ArpPacket::new_unchecked(&mut frame[at..]));
    frame
}

/// The address that an ARP reply to the peer tells, and its header's tags.
fn arp_reply(frame: &[u8]) -> (Address, Vec<u8>) {
    let header = EthernetHeader::parse(frame).unwrap();
    assert_eq!((header.dst(), header.src()), (PEER_MAC, MAC));
    let packet = ArpPacket::new_checked(&frame[header.len()..]).unwrap();
    let ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Reply,
        source_hardware_addr: EthernetAddress(MAC),
        source_protocol_addr,
        target_hardware_addr: EthernetAddress(PEER_MAC),
        ..
    } = ArpRepr::parse(&packet).unwrap()
    else {
        panic!("no reply: {packet}");
    };
    (Address::v4(source_protocol_addr.octets()), header.as_bytes()[12..header.len() - 2].to_vec())
}

fn icmpv6(
    dst: Mac,
    source: &str,
    target: Address,
    hop_limit: u8,
    icmp: &Icmpv6Repr<'_>,
) -> Vec<u8> {
    let (source, target) = (addr(source).0.into(), target.0.into());
    let ip = Ipv6Repr {
        src_addr: source,
        dst_addr: target,
        next_header: IpProtocol::Icmpv6,
        payload_len: icmp.buffer_len(),
        hop_limit,
    };
    let mut frame = header(dst, &[], ethernet::IPV6);
    frame.resize(14 + 40 + icmp.buffer_len(), 0);
    ip.emit(&mut Ipv6Packet::new_unchecked(&mut frame[14..]));
    let mut packet = Icmpv6Packet::new_unchecked(&mut frame[54..]);
    icmp.emit(&source, &target, &mut packet, &ChecksumCapabilities::default());
    frame
}

fn solicit(dst: Mac, source: &str, to: Address, target: &str) -> Vec<u8> {
    let icmp = Icmpv6Repr::Ndisc(NdiscRepr::NeighborSolicit {
        target_addr: addr(target).0.into(),
        lladdr: Some(RawHardwareAddress::from_bytes(&PEER_MAC)),
    });
    icmpv6(dst, source, to, 255, &icmp)
}

/// Checks that `frame` is an advertisement of `target` to the peer.
fn assert_advert(frame: &[u8], target: &str) {
    let header = EthernetHeader::parse(frame).unwrap();
    assert_eq!((header.dst(), header.src()), (PEER_MAC, MAC));
    let ip = Ipv6Packet::new_checked(&frame[14..]).unwrap();
    assert_eq!((ip.hop_limit(), ip.src_addr()), (255, addr(target).0.into()));
    let icmp = Icmpv6Packet::new_checked(ip.payload()).unwrap();
    let repr =
        Icmpv6Repr::parse(&ip.src_addr(), &ip.dst_addr(), &icmp, &ChecksumCapabilities::default());
    let Ok(Icmpv6Repr::Ndisc(NdiscRepr::NeighborAdvert { flags, target_addr, lladdr })) = repr
    else {
        panic!("{repr:?}");
    };
    assert!(flags.contains(NdiscNeighborFlags::SOLICITED));
    assert_eq!(
        (target_addr, lladdr),
        (addr(target).0.into(), Some(RawHardwareAddress::from_bytes(&MAC)))
    );
}

fn ping4(source: &str, target: &str, len: usize) -> Vec<u8> {
    let data = vec![0x5a; len];
    let echo = Icmpv4Repr::EchoRequest { ident: 7, seq_no: 9, data: &data };
    let ip = Ipv4Repr {
        src_addr: addr(source).v4_octets().into(),
        dst_addr: addr(target).v4_octets().into(),
        next_header: IpProtocol::Icmp,
        payload_len: echo.buffer_len(),
        hop_limit: 64,
    };
    let checksums = ChecksumCapabilities::default();
    let mut frame = header(MAC, &[], ethernet::IPV4);
    frame.resize(14 + 20 + echo.buffer_len(), 0);
    ip.emit(&mut Ipv4Packet::new_unchecked(&mut frame[14..]), &checksums);
    echo.emit(&mut Icmpv4Packet::new_unchecked(&mut frame[34..]), &checksums);
    frame
}

fn ping6(dst: Mac, target: &str, len: usize) -> Vec<u8> {
    let data = vec![0xa5; len];
    let echo = Icmpv6Repr::EchoRequest { ident: 7, seq_no: 9, data: &data };
    icmpv6(dst, "fd77::2", addr(target), 64, &echo)
}

#[test]
fn arp_requests_are_answered_with_and_without_tags() {
    let mut host = Host::serving();
    for dst in [ethernet::BROADCAST, MAC] {
        for tags in [&[][..], &[[0x81, 0, 0, 7]], &[[0x88, 0xa8, 0, 7], [0x81, 0, 0, 8]]] {
            let request = arp_request(dst, tags, "10.77.0.2", "10.77.0.1");
            let (told, told_tags) = arp_reply(&only(host.receive(&[request])));
            assert_eq!((told, told_tags), (addr("10.77.0.1"), tags.concat()));
        }
    }
    assert_eq!(host.engine.counters().drops.total(), 0);
}

#[test]
fn arp_for_others_or_from_ourselves_is_not_answered() {
    let mut host = Host::serving();
    let cases = [
        ("10.77.0.2", "10.77.0.3", DropReason::NotOurs),
        ("10.77.0.1", "10.77.0.1", DropReason::OwnSource),
        ("10.77.255.255", "10.77.0.1", DropReason::SourceAddress),
        ("0.0.0.0", "10.77.0.1", DropReason::SourceAddress),
    ];
    for (source, target, reason) in cases {
        let request = arp_request(ethernet::BROADCAST, &[], source, target);
        let before = host.dropped(reason);
        assert!(host.receive(&[request]).is_empty(), "{source} asks for {target}");
        assert_eq!(host.dropped(reason), before + 1, "{source} asks for {target}");
    }
}

/// An address may be owned without its link's prefix (`--address 10.77.0.1/32`): whoever asks for it
/// is on the link all the same.
#[test]
fn arp_and_ndp_are_answered_whatever_the_prefix_of_who_asks() {
    let mut config = config();
    config.owned = vec![owned("10.77.0.1", 32, 32), owned("fd77::1", 128, 128)];
    let mut host = Host::new(config, Probe::default());
    for source in ["10.77.0.2", "192.0.2.7"] {
        let request = arp_request(ethernet::BROADCAST, &[], source, "10.77.0.1");
        assert_eq!(arp_reply(&only(host.receive(&[request]))).0, addr("10.77.0.1"));
        assert_eq!(host.receive(&[ping4(source, "10.77.0.1", 10)]).len(), 1);
    }
    for source in ["fd77::2", "fe80::7"] {
        let request = solicit(MAC, source, addr("fd77::1"), "fd77::1");
        assert_advert(&only(host.receive(&[request])), "fd77::1");
    }
}

#[test]
fn every_address_of_an_owned_range_is_answered_for() {
    let mut config = config();
    config.owned = vec![owned("10.77.16.0", 20, 16), owned("fd77::1:0", 112, 64)];
    let mut host = Host::new(config, Probe::default());
    for target in ["10.77.16.1", "10.77.20.200", "10.77.31.255"] {
        let request = arp_request(ethernet::BROADCAST, &[], "10.77.0.2", target);
        assert_eq!(arp_reply(&only(host.receive(&[request]))).0, addr(target));
        assert_eq!(host.receive(&[ping4("10.77.0.2", target, 10)]).len(), 1);
    }
    for target in ["fd77::1:1", "fd77::1:ffff"] {
        let request = solicit(MAC, "fd77::2", addr(target), target);
        assert_advert(&only(host.receive(&[request])), target);
        assert_eq!(host.receive(&[ping6(MAC, target, 10)]).len(), 1);
    }
    for target in ["10.77.32.0", "10.77.15.255"] {
        let request = arp_request(ethernet::BROADCAST, &[], "10.77.0.2", target);
        assert!(host.receive(&[request]).is_empty());
    }
    let request = solicit(MAC, "fd77::2", addr("fd77::2:1"), "fd77::2:1");
    assert!(host.receive(&[request]).is_empty());
    assert_eq!(host.dropped(DropReason::NotOurs), 3);
}

#[test]
fn neighbour_solicitations_to_the_group_and_to_the_address_are_answered() {
    let mut host = Host::serving();
    let group = addr("ff02::1:ff00:1");
    let to_group = solicit([0x33, 0x33, 0xff, 0, 0, 1], "fd77::2", group, "fd77::1");
    assert_advert(&only(host.receive(&[to_group])), "fd77::1");
    let to_us = solicit(MAC, "fd77::2", addr("fd77::1"), "fd77::1");
    assert_advert(&only(host.receive(&[to_us])), "fd77::1");
    let link_local = solicit(MAC, "fe80::2", addr("fd77::1"), "fd77::1");
    assert_advert(&only(host.receive(&[link_local])), "fd77::1");
    let for_another = solicit([0x33, 0x33, 0xff, 0, 0, 9], "fd77::2", group, "fd77::9");
    assert!(host.receive(&[for_another]).is_empty());
    assert_eq!(host.dropped(DropReason::NotOurs), 1);
}

#[test]
fn pings_of_every_size_that_fits_a_packet_are_answered_byte_for_byte() {
    let mut host = Host::serving();
    for len in (0..=1452).step_by(11).chain([1452, 1472]) {
        let request = ping4("10.77.0.2", "10.77.0.1", len);
        let reply = only(host.receive(core::slice::from_ref(&request)));
        assert_eq!((&reply[..6], &reply[6..12]), (&PEER_MAC[..], &MAC[..]));
        let ip = Ipv4Packet::new_checked(&reply[14..]).unwrap();
        assert!(ip.verify_checksum() && ip.dst_addr().octets() == [10, 77, 0, 2]);
        let icmp = Icmpv4Packet::new_checked(ip.payload()).unwrap();
        assert!(icmp.verify_checksum());
        assert_eq!((reply.len(), &reply[38..]), (request.len(), &request[38..]));
    }
    for len in (0..=1452).step_by(11).chain([1452]) {
        let request = ping6(MAC, "fd77::1", len);
        let reply = only(host.receive(core::slice::from_ref(&request)));
        let ip = Ipv6Packet::new_checked(&reply[14..]).unwrap();
        assert_eq!(
            (ip.src_addr(), ip.dst_addr()),
            (addr("fd77::1").0.into(), addr("fd77::2").0.into())
        );
        let icmp = Icmpv6Packet::new_checked(ip.payload()).unwrap();
        assert!(icmp.verify_checksum(&ip.src_addr(), &ip.dst_addr()));
        assert_eq!(reply[58..], request[58..]);
    }
}

#[test]
fn a_flood_of_pings_is_answered_within_a_limit_and_arp_still_is() {
    let config = Config { pings_per_second: 10, ..config() };
    let mut host = Host::new(config, Probe::default());
    let ping = ping4("10.77.0.2", "10.77.0.1", 8);
    let answered: usize = (0..100).map(|_| host.receive(core::slice::from_ref(&ping)).len()).sum();
    assert!((5..=10).contains(&answered), "{answered} of 100");
    assert_eq!(host.dropped(DropReason::PingLimited), 100 - answered as u64);
    let arp = arp_request(ethernet::BROADCAST, &[], "10.77.0.2", "10.77.0.1");
    assert_eq!(host.receive(&[arp]).len(), 1);
    host.seconds(1);
    assert_eq!(host.receive(&[ping]).len(), 1);
}

#[test]
fn a_ping_from_behind_a_gateway_goes_back_through_it() {
    let mut host = Host::serving();
    let reply = only(host.receive(&[ping4("192.0.2.1", "10.77.0.1", 56)]));
    assert_eq!((&reply[..6], &reply[30..34]), (&PEER_MAC[..], &[192, 0, 2, 1][..]));
}

#[test]
fn pings_that_would_hurt_others_are_not_answered() {
    let mut host = Host::serving();
    let cases = [
        (ping4("10.77.255.255", "10.77.0.1", 10), DropReason::SourceAddress),
        (ping4("10.77.0.1", "10.77.0.1", 10), DropReason::OwnSource),
        (ping4("10.77.0.2", "10.77.255.255", 10), DropReason::NotOurs),
        (ping6([0x33, 0x33, 0, 0, 0, 1], "fd77::1", 10), DropReason::NotOurs),
        (ping6([0x33, 0x33, 0, 0, 0, 1], "ff02::1", 10), DropReason::NotOurs),
        (ping6(MAC, "fd77::5", 10), DropReason::NotOurs),
    ];
    for (frame, reason) in cases {
        let before = host.dropped(reason);
        assert!(host.receive(&[frame]).is_empty());
        assert_eq!(host.dropped(reason), before + 1, "{reason:?}");
    }
}

#[test]
fn messages_that_ask_nothing_get_no_answer() {
    let mut host = Host::serving();
    for kind in 0..=255u8 {
        // Every type of ICMP and ICMPv6 but echo requests.
        let mut v4 = ping4("10.77.0.2", "10.77.0.1", 40);
        v4[34] = kind;
        Icmpv4Packet::new_unchecked(&mut v4[34..]).fill_checksum();
        let answered = host.receive(&[v4]).len();
        assert_eq!(answered, usize::from(kind == 8), "ICMP type {kind}");
        let mut v6 = ping6(MAC, "fd77::1", 40);
        v6[54] = kind;
        let (source, target) = (addr("fd77::2").0.into(), addr("fd77::1").0.into());
        Icmpv6Packet::new_unchecked(&mut v6[54..]).fill_checksum(&source, &target);
        let answered = host.receive(&[v6]).len();
        assert_eq!(answered, usize::from(kind == 128), "ICMPv6 type {kind}");
    }
}

proptest::proptest! {
    /// Damaged messages under right checksums reach smoltcp, and nothing panics.
    #[test]
    fn damaged_messages_are_survived(
        which in 0usize..4,
        damage in proptest::collection::vec((any::<Index>(), any::<u8>()), 1..5),
        cut in proptest::option::of(any::<Index>()),
    ) {
        let mut host = Host::serving();
        let mut frame = match which {
            0 => arp_request(ethernet::BROADCAST, &[], "10.77.0.2", "10.77.0.1"),
            1 => ping4("10.77.0.2", "10.77.0.1", 30),
            2 => ping6(MAC, "fd77::1", 30),
            _ => solicit(MAC, "fd77::2", addr("fd77::1"), "fd77::1"),
        };
        let body = [14, 34, 54, 54][which];
        for (index, byte) in damage {
            let at = body + index.index(frame.len() - body);
            frame[at] = byte;
        }
        if let Some(cut) = cut {
            let len = body + 8 + cut.index(frame.len() - body - 7);
            frame.truncate(len);
            let ip_len = u16::try_from(len - body).unwrap();
            match which {
                1 => frame[16..18].copy_from_slice(&(ip_len + 20).to_be_bytes()),
                2 | 3 => frame[18..20].copy_from_slice(&ip_len.to_be_bytes()),
                _ => {}
            }
        }
        let (source, target) = (addr("fd77::2").0.into(), addr("fd77::1").0.into());
        match which {
            1 => {
                Ipv4Packet::new_unchecked(&mut frame[14..]).fill_checksum();
                Icmpv4Packet::new_unchecked(&mut frame[34..]).fill_checksum();
            }
            2 | 3 => Icmpv6Packet::new_unchecked(&mut frame[54..]).fill_checksum(&source, &target),
            _ => {}
        }
        assert!(host.receive(&[frame]).len() <= 1);
    }
}
