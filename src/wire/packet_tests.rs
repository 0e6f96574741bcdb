//! Frames in and out: what is emitted parses back, every check has a frame that fails it, and no
//! bytes whatever do more than that.

use super::*;
use crate::wire::emit::{Outgoing, emit};
use crate::wire::ethernet::EthernetHeader;
use core::net::IpAddr;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{Icmpv4Repr, Icmpv6Repr, Ipv4Packet, TcpPacket};

const MAC: Mac = [2, 0, 0, 0, 0, 1];
const PEER: Mac = [2, 0, 0, 0, 0, 2];
const ETHERNET: usize = 14;
const V4_TCP: usize = ETHERNET + 20;
const V6_TCP: usize = ETHERNET + 40;

fn addr(text: &str) -> Address {
    Address::from(text.parse::<IpAddr>().expect("an address"))
}

/// From a peer to this host, over one family.
fn flow(v4: bool) -> FlowKey {
    let (us, peer) = if v4 { ("10.77.0.1", "10.77.0.2") } else { ("fd77::1", "fd77::2") };
    let local = Endpoint { addr: addr(us), port: 7 };
    FlowKey { remote: Endpoint { addr: addr(peer), port: 40_000 }, local }
}

/// An Ethernet header to this host with VLAN tags.
fn ethernet(ethertype: u16, tags: &[[u8; 4]]) -> EthernetHeader {
    let mut bytes = [MAC, PEER].concat();
    tags.iter().for_each(|tag| bytes.extend(tag));
    bytes.extend(ethertype.to_be_bytes());
    EthernetHeader::parse(&bytes).expect("at most two tags")
}

/// The frame in which the peer sends `segment`, whose flow is from this host's point of view.
fn frame_of(segment: &Segment, payload: &[u8], tags: &[[u8; 4]]) -> Vec<u8> {
    let v4 = segment.flow.local.addr.is_v4();
    let ethertype = if v4 { ethernet::IPV4 } else { ethernet::IPV6 };
    let mut room = vec![0xee; 4096];
    let outgoing = Outgoing {
        ethernet: &ethernet(ethertype, tags),
        flow: FlowKey { remote: segment.flow.local, local: segment.flow.remote },
        seq: segment.seq,
        ack: segment.ack,
        flags: segment.flags,
        window: segment.window,
        options: segment.options,
        payload,
    };
    let len = emit(&mut room, &outgoing).expect("there is room");
    assert!(room[len..].iter().all(|&byte| byte == 0xee), "nothing is written past the frame");
    room.truncate(len);
    room
}

const ACK: Flags = Flags { fin: false, syn: false, rst: false, ack: true };

fn segment(v4: bool) -> Segment {
    Segment {
        flow: flow(v4),
        seq: SeqNumber(0x0102_0304),
        ack: SeqNumber(0xfffe_fdfc),
        flags: ACK,
        window: 0x1234,
        options: SynOptions::default(),
        payload: 0..0,
    }
}

/// A valid frame with a payload of ten bytes.
fn valid(v4: bool) -> Vec<u8> {
    frame_of(&segment(v4), b"0123456789", &[])
}

fn parsed(frame: &[u8]) -> Result<Packet, DropReason> {
    parse(frame, MAC)
}

/// Sets the checksums of an untagged frame right, as far as its lengths allow.
fn fix_checksums(frame: &mut [u8]) {
    let v4 = frame[12..14] == ethernet::IPV4.to_be_bytes();
    let (source, target, start, protocol) = if v4 {
        let mut packet = Ipv4Packet::new_unchecked(&mut frame[ETHERNET..]);
        packet.fill_checksum();
        let (source, target) = (packet.src_addr(), packet.dst_addr());
        let start = ETHERNET + usize::from(packet.header_len());
        (source.into(), target.into(), start, packet.next_header())
    } else {
        let packet = Ipv6Packet::new_unchecked(&frame[ETHERNET..]);
        let (source, target) = (packet.src_addr(), packet.dst_addr());
        (IpAddress::from(source), IpAddress::from(target), V6_TCP, packet.next_header())
    };
    let bytes = &mut frame[start..];
    match (protocol, source, target) {
        (IpProtocol::Tcp, source, target) => {
            TcpPacket::new_unchecked(bytes).fill_checksum(&source, &target);
        }
        (IpProtocol::Icmp, ..) => Icmpv4Packet::new_unchecked(bytes).fill_checksum(),
        (IpProtocol::Icmpv6, IpAddress::Ipv6(source), IpAddress::Ipv6(target)) => {
            Icmpv6Packet::new_unchecked(bytes).fill_checksum(&source, &target);
        }
        _ => {}
    }
}

/// What a valid frame becomes after `change`, with its checksums set right again.
fn changed(v4: bool, change: impl FnOnce(&mut Vec<u8>)) -> Result<Packet, DropReason> {
    let mut frame = valid(v4);
    change(&mut frame);
    fix_checksums(&mut frame);
    parsed(&frame)
}

fn options_of(list: &[u8]) -> SynOptions {
    let syn = Segment { flags: Flags { syn: true, ..Flags::default() }, ..segment(true) };
    let mut frame = frame_of(&syn, &[], &[]);
    let len = 20 + list.len().next_multiple_of(4);
    frame.truncate(V4_TCP + 20);
    frame.extend(list);
    frame.resize(V4_TCP + len, 0);
    frame[V4_TCP + 12] = u8::try_from(len / 4).unwrap() << 4;
    let total = u16::try_from(20 + len).unwrap();
    frame[ETHERNET + 2..ETHERNET + 4].copy_from_slice(&total.to_be_bytes());
    fix_checksums(&mut frame);
    let Ok(Packet::Tcp(segment)) = parsed(&frame) else { panic!("{list:?} is survivable") };
    segment.options
}

#[test]
fn every_header_is_needed_whole() {
    for v4 in [true, false] {
        let frame = valid(v4);
        let ip_end = if v4 { V4_TCP } else { V6_TCP };
        for cut in 0..frame.len() {
            let expected = match cut {
                _ if cut < ip_end => DropReason::Truncated,
                _ => DropReason::LengthMismatch,
            };
            assert_eq!(parsed(&frame[..cut]), Err(expected), "v4 {v4}, cut at {cut}");
        }
        // Padding of short frames is not payload.
        let mut padded = frame.clone();
        padded.resize(frame.len() + 20, 0);
        assert_eq!(parsed(&padded), parsed(&frame));
    }
}

#[test]
fn frames_for_others_and_from_groups_are_dropped() {
    for v4 in [true, false] {
        let to = |mac: Mac| changed(v4, |frame| frame[..6].copy_from_slice(&mac));
        assert_eq!(to(PEER), Err(DropReason::NotOurs));
        assert_eq!(to(ethernet::BROADCAST), Err(DropReason::NotOurs));
        assert_eq!(to([0x33, 0x33, 0, 0, 0, 1]), Err(DropReason::NotOurs), "TCP to a group");
        let from = |mac: Mac| changed(v4, |frame| frame[6..12].copy_from_slice(&mac));
        assert_eq!(from(ethernet::BROADCAST), Err(DropReason::SourceAddress));
        assert_eq!(from([1, 0, 0, 0, 0, 1]), Err(DropReason::SourceAddress));
    }
}

#[test]
fn ipv4_headers_that_lie() {
    let at = ETHERNET;
    let with = |offset: usize, byte: u8| changed(true, |frame| frame[at + offset] = byte);
    for first in [0x44, 0x40, 0x55, 0x65, 0x00] {
        // The checksum would run past what such a header covers; it is not looked at.
        let mut frame = valid(true);
        frame[at] = first;
        assert_eq!(parsed(&frame), Err(DropReason::HeaderLength), "{first:#x}");
    }
    let mut frame = valid(true);
    frame[at] = 0x4f;
    frame.truncate(at + 59);
    assert_eq!(parsed(&frame), Err(DropReason::Truncated), "options that are not there");
    assert_eq!(with(3, 19), Err(DropReason::LengthMismatch), "shorter than its header");
    assert_eq!(with(3, 51), Err(DropReason::LengthMismatch), "longer than the frame");
    assert_eq!(with(3, 39), Err(DropReason::Truncated), "no room for TCP");
    assert_eq!(with(6, 0x20), Err(DropReason::Fragment), "more fragments");
    assert_eq!(with(7, 1), Err(DropReason::Fragment), "a later fragment");
    assert_eq!(with(9, 17), Err(DropReason::Protocol), "UDP");
    let mut frame = valid(true);
    frame[at + 10] ^= 1;
    assert_eq!(parsed(&frame), Err(DropReason::IpChecksum));
}

#[test]
fn ipv4_options_are_stepped_over() {
    let mut frame = valid(true);
    frame.splice(V4_TCP..V4_TCP, [1, 1, 1, 0]);
    frame[ETHERNET] = 0x46;
    frame[ETHERNET + 3] += 4;
    fix_checksums(&mut frame);
    let Ok(Packet::Tcp(segment)) = parsed(&frame) else { panic!("{:?}", parsed(&frame)) };
    let payload = usize::from(segment.payload.start)..usize::from(segment.payload.end);
    assert_eq!(&frame[payload], b"0123456789");
}

#[test]
fn ipv6_headers_that_lie() {
    let at = ETHERNET;
    let with = |offset: usize, byte: u8| changed(false, |frame| frame[at + offset] = byte);
    assert_eq!(with(0, 0x40), Err(DropReason::HeaderLength));
    assert_eq!(with(5, 31), Err(DropReason::LengthMismatch), "longer than the frame");
    assert_eq!(with(4, 0xff), Err(DropReason::LengthMismatch));
    assert_eq!(with(5, 19), Err(DropReason::Truncated), "no room for TCP");
    for extension in [0, 43, 44, 51, 60, 17] {
        assert_eq!(with(6, extension), Err(DropReason::Protocol), "next header {extension}");
    }
}

#[test]
fn sources_that_no_host_has() {
    let v4 = |octets: [u8; 4]| changed(true, |frame| frame[26..30].copy_from_slice(&octets));
    for octets in [[0; 4], [127, 0, 0, 1], [224, 0, 0, 1], [255; 4], [240, 0, 0, 1]] {
        assert_eq!(v4(octets), Err(DropReason::SourceAddress), "{octets:?}");
    }
    let v6 = |at: usize, text: &str| {
        changed(false, |frame| frame[at..at + 16].copy_from_slice(&addr(text).0))
    };
    for text in ["::", "::1", "ff02::1", "::ffff:10.77.0.2"] {
        assert_eq!(v6(22, text), Err(DropReason::SourceAddress), "{text}");
    }
    assert_eq!(v6(38, "::ffff:10.77.0.1"), Err(DropReason::SourceAddress), "a mapped target");
}

#[test]
fn tcp_headers_that_lie() {
    for (v4, at) in [(true, V4_TCP), (false, V6_TCP)] {
        let with = |offset: usize, byte: u8| changed(v4, |frame| frame[at + offset] = byte);
        for len in [0x00, 0x10, 0x40] {
            assert_eq!(with(12, len), Err(DropReason::HeaderLength), "below 20");
        }
        assert_eq!(with(12, 0x80), Err(DropReason::HeaderLength), "32 of 30");
        let port = |offset: usize| changed(v4, |frame| frame[at + offset..][..2].fill(0));
        assert_eq!((port(0), port(2)), (Err(DropReason::Flags), Err(DropReason::Flags)));
        for flags in [0x03, 0x06, 0x07, 0x13, 0x16] {
            assert_eq!(with(13, flags), Err(DropReason::Flags), "{flags:#x}");
        }
        let mut frame = valid(v4);
        frame[at + 25] ^= 0x10;
        assert_eq!(parsed(&frame), Err(DropReason::TcpChecksum));
    }
}

#[test]
fn options_that_lie_end_the_list() {
    let none = SynOptions::default();
    let mss = |mss| SynOptions { mss: Some(mss), ..none };
    assert_eq!(options_of(&[2, 4, 5, 0xb4]), mss(1460));
    assert_eq!(options_of(&[1, 1, 2, 4, 0, 0]), mss(0));
    assert_eq!(options_of(&[2, 4, 5, 0xb4, 3, 3, 7]), SynOptions { wscale: Some(7), ..mss(1460) });
    for shift in [14, 15, 255] {
        assert_eq!(options_of(&[3, 3, shift]).wscale, Some(14), "RFC 7323 section 2.3");
    }
    assert_eq!(options_of(&[0, 2, 4, 5, 0xb4]), none, "nothing counts after the end");
    for broken in [[2, 0, 0, 0], [2, 1, 5, 5], [2, 3, 5, 5], [2, 40, 5, 5], [9, 0, 2, 4]] {
        assert_eq!(options_of(&broken), none, "{broken:?}");
    }
    assert_eq!(options_of(&[2, 4, 5, 0xb4, 3, 2, 7, 0]), mss(1460), "what came before counts");
    assert_eq!(options_of(&[254, 4, 1, 2, 2, 4, 5, 0xb4]), mss(1460), "unknown: stepped over");
    let sack = SynOptions { sack_permitted: true, ..mss(1460) };
    assert_eq!(options_of(&[4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 2, 4, 5, 0xb4]), sack);
    assert_eq!(options_of(&[5]), none);
    assert_eq!(options_of(&[2; 40]), none);
}

fn arp(operation: ArpOperation, source: [u8; 4], mac: Mac) -> Vec<u8> {
    let repr = ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr: EthernetAddress(mac),
        source_protocol_addr: source.into(),
        target_hardware_addr: EthernetAddress([0; 6]),
        target_protocol_addr: [10, 77, 0, 1].into(),
    };
    let mut frame =
        EthernetHeader::new(ethernet::BROADCAST, PEER, ethernet::ARP).as_bytes().to_vec();
    frame.resize(ETHERNET + repr.buffer_len(), 0);
    repr.emit(&mut ArpPacket::new_unchecked(&mut frame[ETHERNET..]));
    frame
}

#[test]
fn arp_messages() {
    let request = arp(ArpOperation::Request, [10, 77, 0, 2], PEER);
    let Ok(Packet::Control(control)) = parsed(&request) else { panic!("a request") };
    assert_eq!((control.kind, control.source), (ControlKind::ArpRequest(PEER), addr("10.77.0.2")));
    assert_eq!((control.target, usize::from(control.end)), (addr("10.77.0.1"), request.len()));
    let reply = arp(ArpOperation::Reply, [10, 77, 0, 2], PEER);
    let Ok(Packet::Control(control)) = parsed(&reply) else { panic!("a reply") };
    assert_eq!(control.kind, ControlKind::NeighborIsAt { mac: PEER, overrides: true });
    let probe = arp(ArpOperation::Request, [0; 4], PEER);
    let Ok(Packet::Control(control)) = parsed(&probe) else { panic!("a probe") };
    assert_eq!((control.source, control.target), (addr("0.0.0.0"), addr("10.77.0.1")));
    for cut in 0..request.len() {
        assert_eq!(parsed(&request[..cut]), Err(DropReason::Truncated), "{cut}");
    }
    let reply_from = |source, mac| parsed(&arp(ArpOperation::Reply, source, mac));
    assert_eq!(reply_from([10, 77, 0, 2], ethernet::BROADCAST), Err(DropReason::ControlIgnored));
    for nobody in [[224, 0, 0, 1], [0; 4]] {
        assert_eq!(reply_from(nobody, PEER), Err(DropReason::SourceAddress));
    }
    for (at, byte) in [(1, 6), (2, 9), (4, 8), (5, 16), (7, 3)] {
        let mut other = request.clone();
        other[ETHERNET + at] = byte;
        assert!(parsed(&other).is_err(), "byte {at} is {byte}");
    }
}

/// An ICMPv6 message of which `body` is all but the checksum.
fn icmpv6(body: &[u8], hop_limit: u8) -> Vec<u8> {
    let mut frame = valid(false);
    frame.truncate(V6_TCP);
    frame.extend(body);
    frame[ETHERNET + 4..ETHERNET + 6]
        .copy_from_slice(&u16::try_from(body.len()).unwrap().to_be_bytes());
    frame[ETHERNET + 6] = 58;
    frame[ETHERNET + 7] = hop_limit;
    fix_checksums(&mut frame);
    frame
}

fn neighbor_message(kind: u8, option: &[u8]) -> Vec<u8> {
    [&[kind, 0, 0, 0, 0, 0, 0, 0][..], &addr("fd77::9").0, option].concat()
}

#[test]
fn neighbor_messages() {
    let mac_option = [&[2, 1][..], &PEER].concat();
    let kind_of = |frame: &[u8]| match parsed(frame) {
        Ok(Packet::Control(control)) => Ok((control.kind, control.source, control.target)),
        Ok(other) => panic!("{other:?}"),
        Err(reason) => Err(reason),
    };
    let (us, peer, other) = (addr("fd77::1"), addr("fd77::2"), addr("fd77::9"));
    let solicit = neighbor_message(135, &[]);
    let kind = ControlKind::NeighborSolicit;
    assert_eq!(kind_of(&icmpv6(&solicit, 255)), Ok((kind, peer, other)));
    let advert = neighbor_message(136, &mac_option);
    for overrides in [false, true] {
        let mut advert = advert.clone();
        advert[4] = if overrides { 0xe0 } else { 0xc0 };
        let kind = ControlKind::NeighborIsAt { mac: PEER, overrides };
        assert_eq!(kind_of(&icmpv6(&advert, 255)), Ok((kind, other, us)));
    }
    for message in [&solicit, &advert] {
        assert_eq!(kind_of(&icmpv6(message, 254)), Err(DropReason::ControlIgnored), "routed");
        let mut coded = message.clone();
        coded[1] = 1;
        assert_eq!(kind_of(&icmpv6(&coded, 255)), Err(DropReason::ControlIgnored));
        assert_eq!(kind_of(&icmpv6(&message[..23], 255)), Err(DropReason::Truncated));
    }
    for nobody in ["ff02::1", "::", "::1", "::ffff:10.77.0.1"] {
        for message in [&solicit, &advert] {
            let mut about = message.clone();
            let target = nobody.parse::<core::net::Ipv6Addr>().unwrap();
            about[8..24].copy_from_slice(&target.octets());
            let kind = kind_of(&icmpv6(&about, 255));
            assert_eq!(kind, Err(DropReason::ControlIgnored), "{nobody}");
        }
    }
    let without = neighbor_message(136, &[]);
    assert_eq!(kind_of(&icmpv6(&without, 255)), Err(DropReason::ControlIgnored), "no address");
    let mut frame = icmpv6(&solicit, 255);
    frame[V6_TCP + 9] ^= 1;
    assert_eq!(kind_of(&frame), Err(DropReason::IcmpChecksum));
    // To the solicited-node group, as real ones are.
    let mut frame = icmpv6(&solicit, 255);
    frame[..6].copy_from_slice(&[0x33, 0x33, 0xff, 0, 0, 9]);
    assert!(kind_of(&frame).is_ok());
}

/// Echo requests of both families.
fn pings() -> [Vec<u8>; 2] {
    let mut v4 = valid(true);
    let echo = Icmpv4Repr::EchoRequest { ident: 1, seq_no: 2, data: b"0123456789" };
    v4.truncate(V4_TCP);
    v4.resize(V4_TCP + echo.buffer_len(), 0);
    let checksums = ChecksumCapabilities::default();
    echo.emit(&mut Icmpv4Packet::new_unchecked(&mut v4[V4_TCP..]), &checksums);
    v4[ETHERNET + 3] = u8::try_from(20 + echo.buffer_len()).unwrap();
    v4[ETHERNET + 9] = 1;
    fix_checksums(&mut v4);
    let echo = Icmpv6Repr::EchoRequest { ident: 1, seq_no: 2, data: b"0123456789" };
    let mut body = vec![0; echo.buffer_len()];
    let (source, target) = (addr("fd77::2").0.into(), addr("fd77::1").0.into());
    echo.emit(&source, &target, &mut Icmpv6Packet::new_unchecked(&mut body), &checksums);
    [v4, icmpv6(&body, 64)]
}

#[test]
fn pings_of_both_families() {
    for ping in pings() {
        let Ok(Packet::Control(control)) = parsed(&ping) else { panic!("{:?}", parsed(&ping)) };
        assert_eq!((control.kind, usize::from(control.end)), (ControlKind::Icmp, ping.len()));
        let mut wrong = ping.clone();
        *wrong.last_mut().unwrap() ^= 1;
        assert_eq!(parsed(&wrong), Err(DropReason::IcmpChecksum));
        let mut to_all = ping;
        to_all[..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 1]);
        assert_eq!(parsed(&to_all), Err(DropReason::NotOurs), "a ping to a group of hosts");
    }
    let mut v4 = pings()[0].clone();
    v4[ETHERNET + 3] = 23;
    fix_checksums(&mut v4[..V4_TCP + 4]);
    assert_eq!(parsed(&v4), Err(DropReason::Truncated));
}

#[test]
fn unknown_ethertypes_and_a_third_tag_are_protocol() {
    for ethertype in [0x0000, 0x0801, 0x88cc, 0x9100] {
        let frame = EthernetHeader::new(MAC, PEER, ethertype);
        assert_eq!(parsed(frame.as_bytes()), Err(DropReason::Protocol), "{ethertype:#x}");
    }
}

#[test]
fn a_room_that_is_too_small_is_refused_at_every_length() {
    for v4 in [true, false] {
        let segment = segment(v4);
        let ethertype = if v4 { ethernet::IPV4 } else { ethernet::IPV6 };
        let len = valid(v4).len();
        for room_len in 0..len {
            let outgoing = Outgoing {
                ethernet: &ethernet(ethertype, &[]),
                flow: segment.flow,
                seq: segment.seq,
                ack: segment.ack,
                flags: segment.flags,
                window: 0,
                options: SynOptions::default(),
                payload: b"0123456789",
            };
            assert_eq!(emit(&mut vec![0; room_len], &outgoing), None, "{room_len} of {len}");
        }
    }
}

#[path = "packet_fuzz_tests.rs"]
mod fuzz;
