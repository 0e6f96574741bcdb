//! Writing TCP segments into frames.

use super::addr::{Address, FlowKey};
use super::checksum::{self, Sum};
use super::ethernet::EthernetHeader;
use super::packet::{Flags, SynOptions};
use super::seq::SeqNumber;

/// The initial time to live of every packet, as RFC 1700 recommends.
///
/// Deviation: RFC 9293 section 3.9.2 asks that it can be configured (MUST-49).
const HOP_LIMIT: u8 = 64;

/// A segment to send.
#[derive(Clone, Debug)]
pub struct Outgoing<'a> {
    /// The Ethernet header, from this host to the next hop.
    pub ethernet: &'a EthernetHeader,
    /// The connection, from this host's point of view.
    pub flow: FlowKey,
    /// SEG.SEQ.
    pub seq: SeqNumber,
    /// SEG.ACK; sent when `flags.ack` is set.
    pub ack: SeqNumber,
    /// The control bits. A segment with payload also gets PSH.
    pub flags: Flags,
    /// SEG.WND as it stands in the header.
    pub window: u16,
    /// Options; only a SYN carries them.
    pub options: SynOptions,
    /// The payload.
    pub payload: &'a [u8],
}

/// The length of an IPv4 header without options, in bytes (RFC 791 section 3.1).
const IPV4_LEN: usize = 20;
/// The length of the fixed IPv6 header, in bytes (RFC 8200 section 3).
const IPV6_LEN: usize = 40;
/// The length of a TCP header without options, in bytes (RFC 9293 section 3.1).
const TCP_LEN: usize = 20;

/// Writes `segment` with its headers and checksums to the front of `room`, and returns the length of
/// the frame, or `None` if `room` is too small.
#[inline]
pub fn emit(room: &mut [u8], segment: &Outgoing<'_>) -> Option<usize> {
    let (options, options_len) = options(segment);
    let options = &options[..options_len];
    let tcp_len = TCP_LEN + options.len() + segment.payload.len();
    let (source, target) = (segment.flow.local.addr, segment.flow.remote.addr);
    let ethernet = segment.ethernet.as_bytes();
    let ip_len = if source.is_v4() { IPV4_LEN } else { IPV6_LEN };
    let frame = room.get_mut(..ethernet.len() + ip_len + tcp_len)?;
    let (header, packet) = frame.split_at_mut_checked(ethernet.len())?;
    header.copy_from_slice(ethernet);
    let rest = match source.is_v4() {
        true => {
            let (ip, rest) = packet.split_first_chunk_mut()?;
            *ip = ipv4_header(&source, &target, u16::try_from(tcp_len).ok()?)?;
            rest
        }
        false => {
            let (ip, rest) = packet.split_first_chunk_mut()?;
            *ip = ipv6_header(&source, &target, u16::try_from(tcp_len).ok()?);
            rest
        }
    };
    let (tcp, rest) = rest.split_first_chunk_mut::<TCP_LEN>()?;
    let (after, payload) = rest.split_at_mut_checked(options.len())?;
    after.copy_from_slice(options);
    payload.copy_from_slice(segment.payload);
    *tcp = tcp_header(segment, options.len());
    let sum = Sum::pseudo_header(&source, &target, tcp_len).and(Sum::of(tcp)).and(Sum::of(options));
    [tcp[16], tcp[17]] = sum.and(Sum::of(segment.payload)).checksum();
    Some(frame.len())
}

/// An IPv4 header; nothing is ever fragmented (RFC 791 section 3.1, RFC 6864 section 4.1).
fn ipv4_header(source: &Address, target: &Address, tcp_len: u16) -> Option<[u8; IPV4_LEN]> {
    const DONT_FRAGMENT: u8 = 0x40;
    let total_len = u16::try_from(IPV4_LEN + usize::from(tcp_len)).ok()?;
    let [length_high, length_low] = total_len.to_be_bytes();
    let [[a, b, c, d], [e, f, g, h]] = [source.v4_octets(), target.v4_octets()];
    #[rustfmt::skip]
    let mut header = [
        0x45, 0, length_high, length_low,
        0, 0, DONT_FRAGMENT, 0,
        HOP_LIMIT, checksum::TCP, 0, 0,
        a, b, c, d,
        e, f, g, h,
    ];
    [header[10], header[11]] = Sum::of(&header).checksum();
    Some(header)
}

/// An IPv6 header without a flow label (RFC 8200 section 3).
fn ipv6_header(source: &Address, target: &Address, tcp_len: u16) -> [u8; IPV6_LEN] {
    let mut header = [0; IPV6_LEN];
    header[0] = 0x60;
    header[4..6].copy_from_slice(&tcp_len.to_be_bytes());
    header[6..8].copy_from_slice(&[checksum::TCP, HOP_LIMIT]);
    header[8..24].copy_from_slice(&source.0);
    header[24..].copy_from_slice(&target.0);
    header
}

/// A TCP header without its checksum (RFC 9293 section 3.1).
fn tcp_header(segment: &Outgoing<'_>, options_len: usize) -> [u8; TCP_LEN] {
    let Flags { fin, syn, rst, ack } = segment.flags;
    // A reset resets, whatever else is asked for, and a SYN opens.
    let (fin, syn) = (fin && !syn && !rst, syn && !rst);
    let push = !(segment.payload.is_empty() || fin || syn || rst);
    let flags = u8::from(fin)
        | u8::from(syn) << 1
        | u8::from(rst) << 2
        | u8::from(push) << 3
        | u8::from(ack) << 4;
    let [a, b] = segment.flow.local.port.to_be_bytes();
    let [c, d] = segment.flow.remote.port.to_be_bytes();
    let [e, f, g, h] = segment.seq.0.to_be_bytes();
    let [i, j, k, l] = if ack { segment.ack.0 } else { 0 }.to_be_bytes();
    let [m, n] = segment.window.to_be_bytes();
    #[expect(clippy::cast_possible_truncation, reason = "at most 12")]
    let offset = ((TCP_LEN + options_len) as u8 / 4) << 4;
    [a, b, c, d, e, f, g, h, i, j, k, l, offset, flags, m, n, 0, 0, 0, 0]
}

/// The options of a SYN, padded to words (RFC 9293 section 3.2, RFC 7323 section 2.2, RFC 2018 section
/// 2), and their length.
fn options(segment: &Outgoing<'_>) -> ([u8; 12], usize) {
    const NO_OPERATION: u8 = 1;
    let (mut bytes, mut len) = ([NO_OPERATION; 12], 0);
    let SynOptions { mss, wscale, sack_permitted } = segment.options;
    if let Some(mss) = mss {
        let [high, low] = mss.to_be_bytes();
        bytes[..4].copy_from_slice(&[2, 4, high, low]);
        len += 4;
    }
    if let Some(shift) = wscale {
        // One for alignment, before it.
        bytes[len + 1..len + 4].copy_from_slice(&[3, 3, shift]);
        len += 4;
    }
    if sack_permitted {
        bytes[len + 2..len + 4].copy_from_slice(&[4, 2]);
        len += 4;
    }
    (bytes, len)
}

#[cfg(test)]
#[path = "emit_tests.rs"]
mod tests;
