//! Writing TCP segments into frames.

use super::addr::{Address, FlowKey};
use super::checksum::{self, Sum};
use super::ethernet::EthernetHeader;
use super::packet::{Flags, SynOptions};
use super::seq::SeqNumber;
use smoltcp::wire::{IPV4_HEADER_LEN, IPV6_HEADER_LEN, TCP_HEADER_LEN};

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

/// The length of all [`SynOptions`], in words of four bytes.
const OPTIONS_MAX: usize = 3;

/// Writes `segment` with its headers and checksums to the front of `room`, and returns the length of
/// the frame, or `None` if `room` is too small.
#[inline]
pub fn emit(room: &mut [u8], segment: &Outgoing<'_>) -> Option<usize> {
    let (source, target) = (&segment.flow.local.addr, &segment.flow.remote.addr);
    let ethernet_len = segment.ethernet.emit(room)?;
    let packet = room.get_mut(ethernet_len..)?;
    let (options, words) = match segment.flags.syn {
        true => options(&segment.options),
        false => ([0; OPTIONS_MAX], 0),
    };
    let options_len = 4 * words;
    let tcp_len = TCP_HEADER_LEN + options_len + segment.payload.len();
    let (ip_len, rest) = match source.is_v4() {
        true => {
            let (header, rest) = packet.split_first_chunk_mut()?;
            let [source, target] =
                [source, target].map(|addr| u32::from_be_bytes(addr.v4_octets()));
            *header = ipv4_header(source, target, u16::try_from(IPV4_HEADER_LEN + tcp_len).ok()?);
            (IPV4_HEADER_LEN, rest)
        }
        false => {
            let (header, rest) = packet.split_first_chunk_mut()?;
            *header = ipv6_header(source, target, u16::try_from(tcp_len).ok()?);
            (IPV6_HEADER_LEN, rest)
        }
    };
    let (header, rest) = rest.split_first_chunk_mut()?;
    let mut sum = Sum::pseudo_header(source, target, tcp_len);
    let mut payload = rest;
    for word in &options[..words] {
        let room;
        (room, payload) = payload.split_first_chunk_mut()?;
        *room = word.to_be_bytes();
        sum = sum.plus(*word);
    }
    if !segment.payload.is_empty() {
        payload.get_mut(..segment.payload.len())?.copy_from_slice(segment.payload);
        sum = sum.and(Sum::of(segment.payload));
    }
    *header = tcp_header(segment, options_len, sum);
    Some(ethernet_len + ip_len + tcp_len)
}

/// An IPv4 header; nothing is ever fragmented (RFC 791 section 3.1, RFC 6864 section 4.1).
#[inline(always)]
pub(super) fn ipv4_header(source: u32, target: u32, total_len: u16) -> [u8; IPV4_HEADER_LEN] {
    const VERSION_AND_LENGTH: u64 = 0x45;
    const DONT_FRAGMENT: u64 = 0x4000;
    let first = VERSION_AND_LENGTH << 56 | u64::from(total_len) << 32 | DONT_FRAGMENT;
    let second = u64::from(HOP_LIMIT) << 56 | u64::from(checksum::TCP) << 48 | u64::from(source);
    let sum = Sum::default().plus_long(first).plus_long(second).plus(target);
    let second = second | u64::from(sum.checksum()) << 32;
    join(first, second, target)
}

/// An IPv6 header without a flow label (RFC 8200 section 3).
fn ipv6_header(source: &Address, target: &Address, payload_len: u16) -> [u8; IPV6_HEADER_LEN] {
    let mut header = [0; IPV6_HEADER_LEN];
    header[0] = 0x60;
    header[4..6].copy_from_slice(&payload_len.to_be_bytes());
    header[6..8].copy_from_slice(&[checksum::TCP, HOP_LIMIT]);
    header[8..24].copy_from_slice(&source.0);
    header[24..].copy_from_slice(&target.0);
    header
}

/// A TCP header (RFC 9293 section 3.1); `sum` is of everything else that its checksum covers.
#[inline(always)]
fn tcp_header(segment: &Outgoing<'_>, options_len: usize, sum: Sum) -> [u8; TCP_HEADER_LEN] {
    let Flags { fin, syn, rst, ack } = segment.flags;
    // A reset resets, whatever else is asked for, and a SYN opens.
    let (fin, syn) = (fin && !syn && !rst, syn && !rst);
    let push = !(segment.payload.is_empty() || fin || syn || rst);
    let bits = u64::from(fin)
        | u64::from(syn) << 1
        | u64::from(rst) << 2
        | u64::from(push) << 3
        | u64::from(ack) << 4;
    let words = (TCP_HEADER_LEN + options_len) as u64 / 4;
    let first = u64::from(segment.flow.local.port) << 48
        | u64::from(segment.flow.remote.port) << 32
        | u64::from(segment.seq.0);
    let second = if ack { u64::from(segment.ack.0) << 32 } else { 0 }
        | words << 28
        | bits << 16
        | u64::from(segment.window);
    let sum = sum.plus_long(first).plus_long(second);
    join(first, second, u32::from(sum.checksum()) << 16)
}

/// Twenty bytes in network order.
#[inline(always)]
pub(super) fn join(first: u64, second: u64, third: u32) -> [u8; 20] {
    let mut bytes = [0; 20];
    bytes[..8].copy_from_slice(&first.to_be_bytes());
    bytes[8..16].copy_from_slice(&second.to_be_bytes());
    bytes[16..].copy_from_slice(&third.to_be_bytes());
    bytes
}

/// The options of a SYN, each padded to a word of four bytes (RFC 9293 section 3.2, RFC 7323 section 2.2,
/// RFC 2018 section 2), and how many there are.
#[inline]
fn options(options: &SynOptions) -> ([u32; OPTIONS_MAX], usize) {
    const NO_OPERATION: u8 = 1;
    let SynOptions { mss, wscale, sack_permitted } = *options;
    let (mut words, mut len) = ([0; OPTIONS_MAX], 0);
    let mut add = |word: [u8; 4]| {
        words[len] = u32::from_be_bytes(word);
        len += 1;
    };
    if let Some(mss) = mss {
        let [high, low] = mss.to_be_bytes();
        add([2, 4, high, low]);
    }
    if let Some(shift) = wscale {
        add([NO_OPERATION, 3, 3, shift]);
    }
    if sack_permitted {
        add([NO_OPERATION, NO_OPERATION, 4, 2]);
    }
    (words, len)
}

#[cfg(test)]
#[path = "emit_tests.rs"]
mod tests;
