//! Writing messages about hardware addresses: ARP (RFC 826, RFC 5227) and neighbour discovery
//! (RFC 4861).
//!
//! Each function writes a whole frame to the front of `room` and returns its length, or `None` if
//! `room` is too small.

use super::addr::Address;
use super::ethernet::{self, EthernetHeader, Mac};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, Icmpv6Packet, Icmpv6Repr, IpProtocol,
    Ipv6Address, Ipv6Packet, Ipv6Repr, NdiscNeighborFlags, NdiscRepr, RawHardwareAddress,
};

/// Every host of an IPv6 link (RFC 4291 section 2.7.1).
const ALL_NODES: Address = Address([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

/// `source`, at `mac`, asks everyone where `target` is. From the unspecified address of its family it
/// asks whether anybody has `target`: a probe (RFC 5227 section 1.1, RFC 4862 section 5.4.2).
pub fn ask(room: &mut [u8], mac: Mac, source: Address, target: Address) -> Option<usize> {
    if target.is_v4() {
        let header = EthernetHeader::new(ethernet::BROADCAST, mac, ethernet::ARP);
        return arp(room, &header, ArpOperation::Request, source, ([0; 6], target));
    }
    let group = target.solicited_node();
    let header = EthernetHeader::new(group_mac(&group), mac, ethernet::IPV6);
    // RFC 4861 section 4.3: the option "MUST NOT be included when the source IP address is the
    // unspecified address".
    let lladdr = (!source.is_unspecified()).then(|| RawHardwareAddress::from_bytes(&mac));
    let solicit = NdiscRepr::NeighborSolicit { target_addr: target.0.into(), lladdr };
    ndp(room, &header, source, group, solicit)
}

/// `mac` tells everyone that `addr` is there: an announcement (RFC 5227 section 2.3, RFC 4861 section
/// 7.2.6).
pub fn announce(room: &mut [u8], mac: Mac, addr: Address) -> Option<usize> {
    if addr.is_v4() {
        let header = EthernetHeader::new(ethernet::BROADCAST, mac, ethernet::ARP);
        return arp(room, &header, ArpOperation::Request, addr, ([0; 6], addr));
    }
    advertise_to_all(room, &EthernetHeader::new(ethernet::BROADCAST, mac, ethernet::IPV6), addr)
}

/// The answer to a probe for `addr`, with the probe's header turned around: somebody has it already,
/// at the header's source.
pub fn answer_probe(room: &mut [u8], header: &EthernetHeader, addr: Address) -> Option<usize> {
    if addr.is_v4() {
        let asker = (header.dst(), Address::v4([0; 4]));
        return arp(room, header, ArpOperation::Reply, addr, asker);
    }
    // RFC 4861 section 7.2.4: without an address to answer to, to all nodes.
    advertise_to_all(room, header, addr)
}

fn advertise_to_all(room: &mut [u8], header: &EthernetHeader, addr: Address) -> Option<usize> {
    let advert = NdiscRepr::NeighborAdvert {
        flags: NdiscNeighborFlags::OVERRIDE,
        target_addr: addr.0.into(),
        lladdr: Some(RawHardwareAddress::from_bytes(&header.src())),
    };
    ndp(room, &header.with_dst(group_mac(&ALL_NODES)), addr, ALL_NODES, advert)
}

/// The hardware address of an IPv6 group: RFC 2464 section 7, it ends in the group's last four bytes.
const fn group_mac(group: &Address) -> Mac {
    let [.., a, b, c, d] = group.0;
    [0x33, 0x33, a, b, c, d]
}

fn arp(
    room: &mut [u8],
    header: &EthernetHeader,
    operation: ArpOperation,
    source: Address,
    (target_mac, target): (Mac, Address),
) -> Option<usize> {
    let repr = ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr: EthernetAddress(header.src()),
        source_protocol_addr: source.v4_octets().into(),
        target_hardware_addr: EthernetAddress(target_mac),
        target_protocol_addr: target.v4_octets().into(),
    };
    let end = header.len() + repr.buffer_len();
    let frame = room.get_mut(..end)?;
    frame[..header.len()].copy_from_slice(header.as_bytes());
    repr.emit(&mut ArpPacket::new_unchecked(&mut frame[header.len()..]));
    Some(end)
}

fn ndp(
    room: &mut [u8],
    header: &EthernetHeader,
    source: Address,
    to: Address,
    message: NdiscRepr<'_>,
) -> Option<usize> {
    let (source, to) = (Ipv6Address::from(source.0), Ipv6Address::from(to.0));
    let icmp = Icmpv6Repr::Ndisc(message);
    let ip = Ipv6Repr {
        src_addr: source,
        dst_addr: to,
        next_header: IpProtocol::Icmpv6,
        payload_len: icmp.buffer_len(),
        hop_limit: 255,
    };
    let icmp_start = header.len() + ip.buffer_len();
    let end = icmp_start + icmp.buffer_len();
    let frame = room.get_mut(..end)?;
    frame[..header.len()].copy_from_slice(header.as_bytes());
    ip.emit(&mut Ipv6Packet::new_unchecked(&mut frame[header.len()..]));
    let mut packet = Icmpv6Packet::new_unchecked(&mut frame[icmp_start..]);
    icmp.emit(&source, &to, &mut packet, &ChecksumCapabilities::default());
    Some(end)
}
