//! Frames to feed in: written with the crate's own `emit`, changed at will, and given right checksums
//! by arithmetic that is not the crate's.

use tenmil::wire::addr::{Address, FlowKey};
use tenmil::wire::emit::{Outgoing, emit};
use tenmil::wire::ethernet::{self, EthernetHeader, Mac};
use tenmil::wire::packet::{Flags, SynOptions};
use tenmil::wire::seq::SeqNumber;

/// The hardware address of the host under test.
pub const MAC: Mac = [2, 0, 0, 0, 0, 1];

/// A segment that somebody on the link sends to the host under test.
#[derive(Clone, Debug)]
pub struct Sent<'a> {
    /// The sender's hardware address.
    pub from: Mac,
    /// The connection from the sender's point of view.
    pub flow: FlowKey,
    /// SEG.SEQ.
    pub seq: SeqNumber,
    /// SEG.ACK.
    pub ack: SeqNumber,
    /// The eight control bits as they stand in the header, contradictions included.
    pub flags: u8,
    /// SEG.WND.
    pub window: u16,
    /// Options of a SYN.
    pub options: SynOptions,
    /// The payload.
    pub payload: &'a [u8],
}

/// Control bits as they stand in the header (RFC 9293 section 3.1).
pub const SYN: u8 = 2;
/// See [`SYN`].
pub const RST: u8 = 4;
/// See [`SYN`].
pub const ACK: u8 = 16;

impl Sent<'_> {
    /// The frame that carries the segment.
    pub fn frame(&self) -> Vec<u8> {
        let mut room = vec![0; 64 + 60 + self.payload.len()];
        let outgoing = Outgoing {
            ethernet: &EthernetHeader::new(MAC, self.from, ethertype(&self.flow.local.addr)),
            flow: self.flow,
            seq: self.seq,
            ack: self.ack,
            flags: Flags { ack: true, ..Flags::default() },
            window: self.window,
            options: if self.flags & SYN != 0 { self.options } else { SynOptions::default() },
            payload: self.payload,
        };
        let len = emit(&mut room, &outgoing).expect("there is room");
        room.truncate(len);
        room[tcp_start(&self.flow.local.addr) + 13] = self.flags;
        fix_checksums(&mut room);
        room
    }
}

/// The EtherType of packets to and from `addr`.
pub fn ethertype(addr: &Address) -> u16 {
    if addr.is_v4() { ethernet::IPV4 } else { ethernet::IPV6 }
}

/// Where the TCP header is in a frame without tags and options.
pub fn tcp_start(addr: &Address) -> usize {
    if addr.is_v4() { 14 + 20 } else { 14 + 40 }
}

/// An IP packet from `source` to `target` in a frame from `from` to `to`, with right checksums.
pub fn ip_frame(
    (from, to): (Mac, Mac),
    (source, target): (Address, Address),
    protocol: u8,
    hop_limit: u8,
    body: &[u8],
) -> Vec<u8> {
    let header = EthernetHeader::new(to, from, ethertype(&source));
    let mut frame = header.as_bytes().to_vec();
    if source.is_v4() {
        let total = u16::try_from(20 + body.len()).expect("a packet");
        frame.extend([0x45, 0]);
        frame.extend(total.to_be_bytes());
        frame.extend([0, 0, 0x40, 0, hop_limit, protocol, 0, 0]);
        frame.extend(source.v4_octets());
        frame.extend(target.v4_octets());
    } else {
        frame.extend([0x60, 0, 0, 0]);
        frame.extend(u16::try_from(body.len()).expect("a packet").to_be_bytes());
        frame.extend([protocol, hop_limit]);
        frame.extend(source.0);
        frame.extend(target.0);
    }
    frame.extend(body);
    fix_checksums(&mut frame);
    frame
}

/// The protocol numbers of ICMP, TCP and ICMPv6.
pub const ICMP: u8 = 1;
/// See [`ICMP`].
pub const TCP: u8 = 6;
/// See [`ICMP`].
pub const ICMPV6: u8 = 58;

/// Sets the checksums of the packet in `frame`, as far as its headers say where those are.
pub fn fix_checksums(frame: &mut [u8]) {
    let Ok(header) = EthernetHeader::parse(frame) else { return };
    let packet = &mut frame[header.len()..];
    match header.ethertype() {
        ethernet::IPV4 if packet.len() >= 20 => {
            let header_len = usize::from(packet[0] & 0x0f) * 4;
            let total = usize::from(u16::from_be_bytes([packet[2], packet[3]])).min(packet.len());
            if !(20..=total).contains(&header_len) {
                return;
            }
            let (ip, body) = packet[..total].split_at_mut(header_len);
            ip[10..12].fill(0);
            let checksum = ones_complement(&[ip]);
            ip[10..12].copy_from_slice(&checksum);
            let protocol = ip[9];
            fix_body(protocol, &ip[12..20], body);
        }
        ethernet::IPV6 if packet.len() >= 40 => {
            let (ip, body) = packet.split_at_mut(40);
            let len = usize::from(u16::from_be_bytes([ip[4], ip[5]])).min(body.len());
            fix_body(ip[6], &ip[8..40], &mut body[..len]);
        }
        _ => {}
    }
}

/// Sets the checksum of `body`; `addresses` are those of the pseudo-header.
fn fix_body(protocol: u8, addresses: &[u8], body: &mut [u8]) {
    let at = if protocol == TCP { 16 } else { 2 };
    if !matches!(protocol, TCP | ICMP | ICMPV6) || body.len() < at + 2 {
        return;
    }
    body[at..at + 2].fill(0);
    let [.., len_high, len_low] = body.len().to_be_bytes();
    let pseudo = [len_high, len_low, 0, protocol];
    let checksum = match protocol {
        ICMP => ones_complement(&[body]),
        _ => ones_complement(&[addresses, &pseudo, body]),
    };
    body[at..at + 2].copy_from_slice(&checksum);
}

/// The Internet checksum (RFC 1071) of `parts`, of which only the last may have an odd length.
fn ones_complement(parts: &[&[u8]]) -> [u8; 2] {
    let word = |pair: &[u8]| u64::from(pair[0]) << 8 | pair.get(1).map_or(0, |&low| u64::from(low));
    let mut sum: u64 = parts.iter().flat_map(|part| part.chunks(2)).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).expect("folded")).to_be_bytes()
}
