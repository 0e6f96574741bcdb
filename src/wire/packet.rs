//! One pass over a received frame: every length, header and checksum is looked at once, here.
//!
//! What comes out is trusted by everything above: offsets lie inside the frame, checksums are right,
//! sources are addresses that a host may send from. Which addresses and ports are the stack's own is
//! the engine's to know.

use super::addr::{Address, Endpoint, FlowKey};
use super::checksum::Sum;
use super::ethernet::{self, Mac, be16};
use super::icmp_error::{self, IcmpError};
use super::seq::SeqNumber;
use crate::drops::DropReason;
use core::ops::Range;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, IPV4_HEADER_LEN, IPV6_HEADER_LEN,
    Icmpv4Packet, Icmpv6Message, Icmpv6Packet, IpAddress, IpProtocol, Ipv6Packet,
    NdiscNeighborFlags, TCP_HEADER_LEN,
};

/// What a frame holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// A TCP segment.
    Tcp(Segment),
    /// An ARP, ICMP or ICMPv6 message.
    Control(Control),
    /// An ICMP or ICMPv6 error about a TCP segment.
    IcmpError(IcmpError),
}

/// A TCP segment (RFC 9293 section 3.1) that passed every check that needs no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Who sent it and to whom, from this host's point of view.
    pub flow: FlowKey,
    /// SEG.SEQ.
    pub seq: SeqNumber,
    /// SEG.ACK; meaningless without [`Flags::ack`].
    pub ack: SeqNumber,
    /// The control bits.
    pub flags: Flags,
    /// SEG.WND as it stands in the header, not scaled.
    pub window: u16,
    /// The options of a SYN; the defaults on every other segment.
    pub options: SynOptions,
    /// Where in the frame the payload is.
    pub payload: Range<u16>,
}

impl Segment {
    /// The length of the payload, in bytes.
    pub fn payload_len(&self) -> u32 {
        u32::from(self.payload.end - self.payload.start)
    }

    /// SEG.LEN: the sequence numbers that the segment takes, SYN and FIN included.
    pub fn len(&self) -> u32 {
        self.payload_len() + u32::from(self.flags.syn) + u32::from(self.flags.fin)
    }

    /// Whether the segment takes no sequence number: a bare ACK or RST.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The TCP control bits that the stack acts on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the RFC's own names")]
pub struct Flags {
    pub fin: bool,
    pub syn: bool,
    pub rst: bool,
    pub ack: bool,
}

/// The options of a SYN that the stack uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SynOptions {
    /// Maximum segment size, in bytes (RFC 9293 section 3.7.1).
    pub mss: Option<u16>,
    /// Window scale, at most 14 (RFC 7323 section 2).
    pub wscale: Option<u8>,
    /// Whether selective acknowledgments are permitted (RFC 2018 section 2).
    pub sack_permitted: bool,
}

/// A message to the address layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control {
    /// What it is.
    pub kind: ControlKind,
    /// Who sent it; unspecified in a probe.
    pub source: Address,
    /// The address that it asks for or is sent to.
    pub target: Address,
    /// The length of the Ethernet header; the message starts there.
    pub ethernet_len: u8,
    /// Where the message ends: padding of the frame is past it.
    pub end: u16,
}

/// The kinds of [`Control`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlKind {
    /// An ARP request (RFC 826) from this hardware address. Its `source` may be unspecified: a probe.
    ArpRequest(Mac),
    /// A neighbour solicitation (RFC 4861 section 4.3). Its `source` may be unspecified: a probe.
    NeighborSolicit,
    /// An ARP reply or a neighbour advertisement: `source` is at this hardware address.
    NeighborIsAt {
        /// The hardware address.
        mac: Mac,
        /// Whether that counts for more than what was known before (RFC 4861 section 4.4).
        overrides: bool,
    },
    /// ICMP, or ICMPv6 other than neighbour discovery, that is no [`IcmpError`].
    Icmp,
}

/// Parses `frame`, received by the interface with address `mac`.
///
/// # Errors
///
/// The reason for which the frame is to be dropped.
pub fn parse(frame: &[u8], mac: Mac) -> Result<Packet, DropReason> {
    let (len, ethertype) = ethernet::header_of(frame)?;
    let Some(&[a, b, c, d, e, f, source, ..]) = frame.first_chunk::<14>() else {
        return Err(DropReason::Truncated);
    };
    let dst = [a, b, c, d, e, f];
    if ethernet::is_group(&[source, 0, 0, 0, 0, 0]) {
        return Err(DropReason::SourceAddress);
    }
    let to_group = ethernet::is_group(&dst);
    if !to_group && dst != mac {
        return Err(DropReason::NotOurs);
    }
    match ethertype {
        ethernet::IPV4 if to_group => Err(DropReason::NotOurs),
        ethernet::IPV4 => parse_ipv4(frame, len),
        ethernet::IPV6 => parse_ipv6(frame, len, to_group),
        ethernet::ARP => parse_arp(frame, len),
        _ => Err(DropReason::Protocol),
    }
}

/// An IP packet's addresses and where its payload is in the frame.
struct Ip {
    source: Address,
    target: Address,
    ethernet_len: usize,
    payload: Range<usize>,
}

/// The first twenty bytes, in network order: what an IPv4 header and a TCP header have at least.
#[inline(always)]
fn split(bytes: &[u8]) -> Result<(u64, u64, u32), DropReason> {
    let Some(&[a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t]) = bytes.first_chunk()
    else {
        return Err(DropReason::Truncated);
    };
    Ok((
        u64::from_be_bytes([a, b, c, d, e, f, g, h]),
        u64::from_be_bytes([i, j, k, l, m, n, o, p]),
        u32::from_be_bytes([q, r, s, t]),
    ))
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "fields of the header")]
fn parse_ipv4(frame: &[u8], ethernet_len: usize) -> Result<Packet, DropReason> {
    // RFC 791 section 3.1: version, header length, type of service, total length, identification, flags
    // and fragment offset; time to live, protocol, checksum, source; destination.
    let bytes = frame.get(ethernet_len..).unwrap_or_default();
    let (first, second, target) = split(bytes)?;
    let header_len = (first >> 56 & 0x0f) as usize * 4;
    let total_len = (first >> 32 & 0xffff) as usize;
    if first >> 60 != 4 || header_len < IPV4_HEADER_LEN {
        return Err(DropReason::HeaderLength);
    }
    let options = bytes.get(IPV4_HEADER_LEN..header_len).ok_or(DropReason::Truncated)?;
    if total_len < header_len || total_len > bytes.len() {
        return Err(DropReason::LengthMismatch);
    }
    let sum = Sum::of(options).plus_long(first).plus_long(second).plus(target);
    if !sum.is_right() {
        return Err(DropReason::IpChecksum);
    }
    const MORE_FRAGMENTS_OR_OFFSET: u64 = 0x3fff;
    if first & MORE_FRAGMENTS_OR_OFFSET != 0 {
        return Err(DropReason::Fragment);
    }
    let ip = Ip {
        source: Address::v4((second as u32).to_be_bytes()),
        target: Address::v4(target.to_be_bytes()),
        ethernet_len,
        payload: ethernet_len + header_len..ethernet_len + total_len,
    };
    if !ip.source.is_valid_source() {
        return Err(DropReason::SourceAddress);
    }
    match IpProtocol::from((second >> 48) as u8) {
        IpProtocol::Tcp => parse_tcp(frame, &ip),
        IpProtocol::Icmp => {
            let icmp = Icmpv4Packet::new_checked(&frame[ip.payload.clone()])
                .map_err(|_| DropReason::Truncated)?;
            if !icmp.verify_checksum() {
                return Err(DropReason::IcmpChecksum);
            }
            icmp_message(&frame[ip.payload.clone()], &ip)
        }
        _ => Err(DropReason::Protocol),
    }
}

fn parse_ipv6(frame: &[u8], ethernet_len: usize, to_group: bool) -> Result<Packet, DropReason> {
    let bytes = &frame[ethernet_len..];
    if bytes.len() < IPV6_HEADER_LEN {
        return Err(DropReason::Truncated);
    }
    let packet = Ipv6Packet::new_unchecked(bytes);
    if packet.version() != 6 {
        return Err(DropReason::HeaderLength);
    }
    let start = ethernet_len + IPV6_HEADER_LEN;
    let end = start + usize::from(packet.payload_len());
    if end > frame.len() {
        return Err(DropReason::LengthMismatch);
    }
    let ip = Ip {
        source: Address::from(packet.src_addr()),
        target: Address::from(packet.dst_addr()),
        ethernet_len,
        payload: start..end,
    };
    // A mapped address inside a real IPv6 packet would pass for an IPv4 host.
    let next_header = packet.next_header();
    let may_probe = next_header == IpProtocol::Icmpv6 && ip.source.is_unspecified();
    if ip.source.is_v4() || ip.target.is_v4() || !(ip.source.is_valid_source() || may_probe) {
        return Err(DropReason::SourceAddress);
    }
    match next_header {
        IpProtocol::Tcp if to_group => Err(DropReason::NotOurs),
        IpProtocol::Tcp => parse_tcp(frame, &ip),
        IpProtocol::Icmpv6 => match parse_icmpv6(frame, &ip, packet.hop_limit())? {
            // Only neighbour discovery has business with groups of hosts.
            Packet::Control(Control { kind: ControlKind::Icmp, .. }) | Packet::IcmpError(_)
                if to_group =>
            {
                Err(DropReason::NotOurs)
            }
            message => Ok(message),
        },
        _ => Err(DropReason::Protocol),
    }
}

fn parse_icmpv6(frame: &[u8], ip: &Ip, hop_limit: u8) -> Result<Packet, DropReason> {
    let bytes = &frame[ip.payload.clone()];
    let icmp = Icmpv6Packet::new_checked(bytes).map_err(|_| DropReason::Truncated)?;
    if !icmp.verify_checksum(&ip.source.0.into(), &ip.target.0.into()) {
        return Err(DropReason::IcmpChecksum);
    }
    let kind = icmp.msg_type();
    if ip.source.is_unspecified() && kind != Icmpv6Message::NeighborSolicit {
        return Err(DropReason::SourceAddress);
    }
    if !matches!(kind, Icmpv6Message::NeighborSolicit | Icmpv6Message::NeighborAdvert) {
        return icmp_message(bytes, ip);
    }
    // RFC 4861 section 7.1: a hop limit below 255 means that a router forwarded it.
    if hop_limit != 255 || icmp.msg_code() != 0 {
        return Err(DropReason::ControlIgnored);
    }
    let target = Address(icmp.target_addr().octets());
    // RFC 4861 section 7.1: "Target Address is not a multicast address". Nor may it pass for IPv4.
    if target.is_v4() || !target.is_valid_source() {
        return Err(DropReason::ControlIgnored);
    }
    if kind == Icmpv6Message::NeighborSolicit {
        // RFC 4861 section 7.1.1: from the unspecified address, to the group and without the source's
        // hardware address (option 1).
        let has_lladdr = bytes.get(24) == Some(&1);
        if ip.source.is_unspecified() && (ip.target != target.solicited_node() || has_lladdr) {
            return Err(DropReason::ControlIgnored);
        }
        return Ok(Packet::Control(Control {
            target,
            ..control_of(ControlKind::NeighborSolicit, ip)
        }));
    }
    // Option 2 is the target's link-layer address, in units of 8 bytes (RFC 4861 section 4.6.1).
    let mac = match bytes.get(24..32) {
        Some([2, 1, mac @ ..]) => core::array::from_fn(|i| mac[i]),
        _ => return Err(DropReason::ControlIgnored),
    };
    let overrides = icmp.neighbor_flags().contains(NdiscNeighborFlags::OVERRIDE);
    let kind = ControlKind::NeighborIsAt { mac, overrides };
    Ok(Packet::Control(Control { source: target, ..control_of(kind, ip) }))
}

/// `bytes`, an ICMP or ICMPv6 message whose checksum is right and that is not neighbour discovery.
fn icmp_message(bytes: &[u8], ip: &Ip) -> Result<Packet, DropReason> {
    match icmp_error::is_error(bytes, ip.target.is_v4()) {
        true => icmp_error::parse(bytes, ip.source, ip.target).map(Packet::IcmpError),
        false => Ok(control(ControlKind::Icmp, ip)),
    }
}

fn control(kind: ControlKind, ip: &Ip) -> Packet {
    Packet::Control(control_of(kind, ip))
}

#[expect(clippy::cast_possible_truncation, reason = "at most 22, and inside a frame below 64 KiB")]
fn control_of(kind: ControlKind, ip: &Ip) -> Control {
    Control {
        kind,
        source: ip.source,
        target: ip.target,
        ethernet_len: ip.ethernet_len as u8,
        end: ip.payload.end as u16,
    }
}

fn parse_arp(frame: &[u8], ethernet_len: usize) -> Result<Packet, DropReason> {
    let packet =
        ArpPacket::new_checked(&frame[ethernet_len..]).map_err(|_| DropReason::Truncated)?;
    let Ok(ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr: EthernetAddress(mac),
        source_protocol_addr,
        target_protocol_addr,
        ..
    }) = ArpRepr::parse(&packet)
    else {
        return Err(DropReason::ControlIgnored);
    };
    let kind = match operation {
        _ if ethernet::is_group(&mac) => return Err(DropReason::ControlIgnored),
        ArpOperation::Request => ControlKind::ArpRequest(mac),
        ArpOperation::Reply => ControlKind::NeighborIsAt { mac, overrides: true },
        _ => return Err(DropReason::ControlIgnored),
    };
    const ARP_LEN: usize = 28;
    let end = ethernet_len + ARP_LEN;
    let ip = Ip {
        source: Address::v4(source_protocol_addr.octets()),
        target: Address::v4(target_protocol_addr.octets()),
        ethernet_len,
        payload: end..end,
    };
    let probes = operation == ArpOperation::Request && ip.source.is_unspecified();
    if !ip.source.is_valid_source() && !probes {
        return Err(DropReason::SourceAddress);
    }
    Ok(control(kind, &ip))
}

#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "fields of the header; inside a frame below 64 KiB"
)]
fn parse_tcp(frame: &[u8], ip: &Ip) -> Result<Packet, DropReason> {
    // RFC 9293 section 3.1: ports, sequence number; acknowledgment number, data offset, control bits,
    // window; checksum, urgent pointer.
    let bytes = frame.get(ip.payload.clone()).unwrap_or_default();
    let (first, second, third) = split(bytes)?;
    let header_len = (second >> 28 & 0x0f) as usize * 4;
    let Some(options) = bytes.get(TCP_HEADER_LEN..header_len) else {
        return Err(DropReason::HeaderLength);
    };
    let sum = Sum::pseudo_header(&ip.source, &ip.target, bytes.len())
        .and(Sum::of(&bytes[TCP_HEADER_LEN..]))
        .plus_long(first)
        .plus_long(second)
        .plus(third);
    if !sum.is_right() {
        return Err(DropReason::TcpChecksum);
    }
    let bit = |bit: u32| second >> (16 + bit) & 1 == 1;
    let flags = Flags { fin: bit(0), syn: bit(1), rst: bit(2), ack: bit(4) };
    let (remote_port, local_port) = ((first >> 48) as u16, (first >> 32) as u16);
    let contradictory = flags.syn && (flags.fin || flags.rst);
    if remote_port == 0 || local_port == 0 || contradictory {
        return Err(DropReason::Flags);
    }
    Ok(Packet::Tcp(Segment {
        flow: FlowKey {
            remote: Endpoint { addr: ip.source, port: remote_port },
            local: Endpoint { addr: ip.target, port: local_port },
        },
        seq: SeqNumber(first as u32),
        ack: SeqNumber((second >> 32) as u32),
        flags,
        window: second as u16,
        options: if flags.syn { syn_options(options) } else { SynOptions::default() },
        payload: (ip.payload.start + header_len) as u16..ip.payload.end as u16,
    }))
}

/// The options of a SYN. A malformed option ends the list, as Linux has it; RFC 9293 MUST-7 asks
/// only that the stack survives it.
fn syn_options(mut bytes: &[u8]) -> SynOptions {
    // RFC 9293 section 3.2, RFC 7323 section 2.2, RFC 2018 section 2.
    const NO_OPERATION: u8 = 1;
    const MSS: u8 = 2;
    const WINDOW_SCALE: u8 = 3;
    const SACK_PERMITTED: u8 = 4;
    let mut options = SynOptions::default();
    loop {
        bytes = match bytes {
            [NO_OPERATION, rest @ ..] => rest,
            [MSS, 4, high, low, rest @ ..] => {
                options.mss = Some(u16::from_be_bytes([*high, *low]));
                rest
            }
            [WINDOW_SCALE, 3, shift, rest @ ..] => {
                // RFC 7323 section 2.3: a shift above 14 is taken as 14.
                options.wscale = Some((*shift).min(14));
                rest
            }
            [SACK_PERMITTED, 2, rest @ ..] => {
                options.sack_permitted = true;
                rest
            }
            // The end of the list, or one of the above with a wrong length.
            [0 | MSS | WINDOW_SCALE | SACK_PERMITTED, ..] => return options,
            [_, len, ..] if *len >= 2 => match bytes.get(usize::from(*len)..) {
                Some(rest) => rest,
                None => return options,
            },
            _ => return options,
        };
    }
}

pub(super) fn seq_at(bytes: &[u8], at: usize) -> SeqNumber {
    let high = be16(bytes, at).unwrap_or_default();
    let low = be16(bytes, at + 2).unwrap_or_default();
    SeqNumber(u32::from(high) << 16 | u32::from(low))
}

/// `addr` as smoltcp's type.
pub(crate) fn smoltcp_address(addr: &Address) -> IpAddress {
    IpAddress::from(addr.to_ip())
}

#[cfg(test)]
#[path = "packet_tests.rs"]
mod tests;
