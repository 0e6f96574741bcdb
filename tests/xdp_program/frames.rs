//! Frames to feed to the program, built byte by byte so that they can be wrong on purpose.

use std::net::{Ipv4Addr, Ipv6Addr};

pub(crate) const ETHERTYPE_IPV4: u16 = 0x0800;
pub(crate) const ETHERTYPE_ARP: u16 = 0x0806;
pub(crate) const ETHERTYPE_IPV6: u16 = 0x86dd;
pub(crate) const TAG_8021Q: u16 = 0x8100;
pub(crate) const TAG_8021AD: u16 = 0x88a8;

pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMPV6: u8 = 58;

/// RFC 791, section 3.1: more fragments follow.
pub(crate) const MORE_FRAGMENTS: u16 = 0x2000;

const PEER_V4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const PEER_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2);

/// An Ethernet frame with VLAN tags, outermost first.
pub(crate) fn ethernet(tags: &[u16], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2];
    for tag in tags {
        frame.extend(tag.to_be_bytes());
        frame.extend(7u16.to_be_bytes());
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

/// An IPv4 packet in an Ethernet frame, without options and not fragmented.
pub(crate) fn ipv4(destination: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    ethernet(&[], ETHERTYPE_IPV4, &ipv4_packet(destination, protocol, 0, 0, payload))
}

/// An IPv4 packet with this many bytes of options and this flags and fragment offset field.
pub(crate) fn ipv4_packet(
    destination: Ipv4Addr,
    protocol: u8,
    options_len: usize,
    fragment: u16,
    payload: &[u8],
) -> Vec<u8> {
    let header_len = 20 + options_len;
    let total_len = u16::try_from(header_len + payload.len()).expect("short");
    let ihl = u8::try_from(header_len / 4).expect("short");
    let mut packet = vec![0x40 | ihl, 0];
    packet.extend(total_len.to_be_bytes());
    packet.extend([0, 1]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0]);
    packet.extend(PEER_V4.octets());
    packet.extend(destination.octets());
    // RFC 791, section 3.1: option 1 is no operation.
    packet.resize(header_len, 1);
    packet.extend(payload);
    packet
}

/// An IPv6 packet in an Ethernet frame.
pub(crate) fn ipv6(destination: Ipv6Addr, next_header: u8, payload: &[u8]) -> Vec<u8> {
    let payload_len = u16::try_from(payload.len()).expect("short");
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(payload_len.to_be_bytes());
    packet.extend([next_header, 255]);
    packet.extend(PEER_V6.octets());
    packet.extend(destination.octets());
    packet.extend(payload);
    ethernet(&[], ETHERTYPE_IPV6, &packet)
}

/// A SYN without options to a port.
pub(crate) fn tcp(port: u16) -> Vec<u8> {
    let mut header = Vec::from(40_000u16.to_be_bytes());
    header.extend(port.to_be_bytes());
    header.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0]);
    header
}

/// An ARP message in an Ethernet frame: operation 1 asks, 2 answers.
pub(crate) fn arp(operation: u16, target: Ipv4Addr) -> Vec<u8> {
    let mut message = vec![0, 1, 0x08, 0x00, 6, 4];
    message.extend(operation.to_be_bytes());
    message.extend([0x02, 0, 0, 0, 0, 2]);
    message.extend(PEER_V4.octets());
    message.extend([0; 6]);
    message.extend(target.octets());
    ethernet(&[], ETHERTYPE_ARP, &message)
}

/// An ICMPv6 message with a target address: type 135 is a neighbour solicitation, 136 an
/// advertisement.
pub(crate) fn neighbour(kind: u8, target: Ipv6Addr) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.octets());
    // RFC 4861, section 4.6.1: the sender's link-layer address.
    message.extend([1, 1, 0x02, 0, 0, 0, 0, 2]);
    message
}

/// An echo request.
pub(crate) fn echo(kind: u8) -> Vec<u8> {
    vec![kind, 0, 0, 0, 0, 1, 0, 1, b'x', b'y']
}

/// The solicited-node multicast address of an address (RFC 4291, section 2.7.1).
pub(crate) fn solicited_node(target: Ipv6Addr) -> Ipv6Addr {
    let mut octets = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0).octets();
    octets[13..].copy_from_slice(&target.octets()[13..]);
    octets.into()
}
