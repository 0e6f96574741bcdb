//! Whole frames: Ethernet and IP around segments and ICMP errors, and the answer to ARP and NDP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::checksum::{self, Pseudo, octets};
use crate::segment::Segment;

pub(crate) const STACK_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(crate) const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

const ETHERNET_LEN: usize = 14;
const TCP: u8 = 6;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// Over which protocol a script runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Ipv4,
    Ipv6,
}

impl Family {
    pub(crate) const BOTH: [Family; 2] = [Family::Ipv4, Family::Ipv6];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Family::Ipv4 => "ipv4",
            Family::Ipv6 => "ipv6",
        }
    }

    /// The address of the stack under test.
    pub(crate) const fn stack(self) -> IpAddr {
        match self {
            Family::Ipv4 => IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1)),
            Family::Ipv6 => IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1)),
        }
    }

    /// The peer's address.
    pub(crate) const fn peer(self) -> IpAddr {
        match self {
            Family::Ipv4 => IpAddr::V4(Ipv4Addr::new(10, 77, 0, 2)),
            Family::Ipv6 => IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2)),
        }
    }

    /// The largest segment that fits an IP packet of `mtu` bytes.
    pub(crate) const fn mss_of(self, mtu: u16) -> u16 {
        match self {
            Family::Ipv4 => mtu - 40,
            Family::Ipv6 => mtu - 60,
        }
    }

    const fn ethertype(self) -> [u8; 2] {
        match self {
            Family::Ipv4 => [0x08, 0x00],
            Family::Ipv6 => [0x86, 0xdd],
        }
    }
}

/// What a packet that is sent to the stack has around its payload, and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wrapping {
    /// The source address, if not the peer's.
    pub(crate) source: Option<IpAddr>,
    /// The destination address, if not the stack's.
    pub(crate) target: Option<IpAddr>,
    /// The destination hardware address, if not the stack's.
    pub(crate) target_mac: Option<[u8; 6]>,
    /// Options of an IPv4 header: a multiple of four bytes.
    pub(crate) ip_options: Vec<u8>,
    /// An IPv4 packet says that more fragments follow.
    pub(crate) fragment: bool,
    /// The checksum of the TCP or ICMP header is wrong.
    pub(crate) bad_checksum: bool,
    /// The checksum of the IPv4 header is wrong.
    pub(crate) bad_ip_checksum: bool,
    /// The data offset that a TCP header claims, in words, if not the true one.
    pub(crate) data_offset: Option<u8>,
}

/// The frame in which the peer sends `segment`.
pub(crate) fn tcp(family: Family, wrapping: &Wrapping, segment: &Segment) -> Vec<u8> {
    let pseudo = pseudo(family, wrapping, TCP);
    let bytes = segment.to_bytes(&pseudo, wrapping.data_offset, wrapping.bad_checksum);
    frame(family, wrapping, TCP, &bytes)
}

/// The frame in which the peer, or a router, sends an ICMP error: `kind` and `code`, the second word
/// of its header, and the start of `segment`, which the stack is to have sent.
pub(crate) fn icmp_error(
    family: Family,
    wrapping: &Wrapping,
    (kind, code): (u8, u8),
    word: u32,
    segment: &Segment,
) -> Vec<u8> {
    let quoted_from_stack = Pseudo { source: family.stack(), target: family.peer(), protocol: TCP };
    let mut bytes = vec![kind, code, 0, 0];
    bytes.extend(word.to_be_bytes());
    let quoted = segment.to_bytes(&quoted_from_stack, None, false);
    bytes.extend(ip_header(family, &quoted_from_stack, &Wrapping::default(), quoted.len()));
    // RFC 792: "the first 64 bits of the original datagram's data".
    bytes.extend(&quoted[..8]);
    let protocol = if family == Family::Ipv4 { ICMP } else { ICMPV6 };
    let pseudo = pseudo(family, wrapping, protocol);
    let covered = (family == Family::Ipv6).then_some(&pseudo);
    let sum = checksum::of(covered, &bytes) ^ u16::from(wrapping.bad_checksum);
    bytes[2..4].copy_from_slice(&sum.to_be_bytes());
    frame(family, wrapping, protocol, &bytes)
}

/// The frame that tells the stack the peer's hardware address: an ARP reply (RFC 826) or a neighbour
/// advertisement (RFC 4861 section 4.4).
pub(crate) fn neighbor_is_here(family: Family) -> Vec<u8> {
    let (stack, peer) = (family.stack(), family.peer());
    if family == Family::Ipv4 {
        let mut bytes = [STACK_MAC, PEER_MAC].concat();
        bytes.extend([0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 2]);
        bytes.extend(PEER_MAC);
        bytes.extend(octets(&peer));
        bytes.extend(STACK_MAC);
        bytes.extend(octets(&stack));
        return bytes;
    }
    let mut bytes = vec![136, 0, 0, 0, 0x60, 0, 0, 0];
    bytes.extend(octets(&peer));
    bytes.extend([2, 1]);
    bytes.extend(PEER_MAC);
    let pseudo = pseudo(family, &Wrapping::default(), ICMPV6);
    let sum = checksum::of(Some(&pseudo), &bytes);
    bytes[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut frame = frame(family, &Wrapping::default(), ICMPV6, &bytes);
    // RFC 4861 section 7.1.2: no router forwarded it.
    frame[ETHERNET_LEN + 7] = 255;
    frame
}

/// The segment in a frame that the stack sent to the peer, over `family`.
///
/// # Errors
///
/// What is wrong with the frame: every length, checksum and fixed field is looked at.
pub(crate) fn read_tcp(family: Family, frame: &[u8]) -> Result<Segment, String> {
    let header = [&PEER_MAC[..], &STACK_MAC, &family.ethertype()].concat();
    let Some(packet) = frame.strip_prefix(&header[..]) else {
        return Err("it is not sent to the peer over this family".to_owned());
    };
    let header_len = if family == Family::Ipv4 { 20 } else { 40 };
    if packet.len() < header_len {
        return Err("it holds no IP header".to_owned());
    }
    let (ip, tcp_bytes) = packet.split_at(header_len);
    let pseudo = Pseudo { source: family.stack(), target: family.peer(), protocol: TCP };
    let from_to = [octets(&pseudo.source), octets(&pseudo.target)].concat();
    let half = |at: usize| usize::from(u16::from_be_bytes([ip[at], ip[at + 1]]));
    let (addresses, length, hop_limit, fixed) = match family {
        Family::Ipv4 => {
            if checksum::of(None, ip) != 0 {
                return Err("the IPv4 header checksum is wrong".to_owned());
            }
            // Path-MTU discovery (RFC 1191) needs "don't fragment".
            (&ip[12..], half(2), ip[8], ip[0] == 0x45 && ip[6..8] == [0x40, 0] && ip[9] == TCP)
        }
        Family::Ipv6 => (&ip[8..], half(4) + 40, ip[7], ip[0] >> 4 == 6 && ip[6] == TCP),
    };
    if addresses != from_to || !fixed || hop_limit != 64 {
        return Err("a field of the IP header is wrong".to_owned());
    }
    if length != packet.len() {
        return Err(format!("an IP length of {length} for {} bytes", packet.len()));
    }
    let segment = Segment::parse(&pseudo, tcp_bytes)?;
    if segment.reserved != 0 || segment.urgent != 0 {
        return Err("reserved bits or an urgent pointer are set".to_owned());
    }
    Ok(segment)
}

fn pseudo(family: Family, wrapping: &Wrapping, protocol: u8) -> Pseudo {
    Pseudo {
        source: wrapping.source.unwrap_or(family.peer()),
        target: wrapping.target.unwrap_or(family.stack()),
        protocol,
    }
}

fn frame(family: Family, wrapping: &Wrapping, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = [wrapping.target_mac.unwrap_or(STACK_MAC), PEER_MAC].concat();
    bytes.extend(family.ethertype());
    let pseudo = pseudo(family, wrapping, protocol);
    bytes.extend(ip_header(family, &pseudo, wrapping, payload.len()));
    bytes.extend(payload);
    bytes
}

fn ip_header(family: Family, pseudo: &Pseudo, wrapping: &Wrapping, payload_len: usize) -> Vec<u8> {
    let half = |len: usize| u16::try_from(len).expect("a packet").to_be_bytes();
    let addresses = [octets(&pseudo.source), octets(&pseudo.target)].concat();
    if family == Family::Ipv6 {
        let mut bytes = vec![0x60, 0, 0, 0];
        bytes.extend(half(payload_len));
        bytes.extend([pseudo.protocol, 64]);
        bytes.extend(addresses);
        return bytes;
    }
    let header_len = 20 + wrapping.ip_options.len();
    let mut bytes = vec![0x40 | u8::try_from(header_len / 4).expect("a header"), 0];
    bytes.extend(half(header_len + payload_len));
    let flags = if wrapping.fragment { 0x20 } else { 0x40 };
    bytes.extend([0, 0, flags, 0, 64, pseudo.protocol, 0, 0]);
    bytes.extend(addresses);
    bytes.extend(&wrapping.ip_options);
    let sum = checksum::of(None, &bytes) ^ u16::from(wrapping.bad_ip_checksum);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    bytes
}
