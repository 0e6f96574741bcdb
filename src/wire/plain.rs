//! Plain segments: nearly all that idle connections receive and send, read and written in one piece.
//!
//! A plain segment lies in an untagged frame, in an IPv4 packet that has no options and is no fragment;
//! its TCP header has no options either, and of the control bits only ACK, and PSH perhaps. What
//! [`super::packet::parse`] and [`super::emit::emit`] do step by step for every segment is done here in a
//! few wide loads and stores, with the same result.

use super::addr::{self, Address, Endpoint, FlowHasher, FlowKey};
use super::checksum::{self, Sum};
use super::emit;
use super::ethernet::{EthernetHeader, Mac, long};
use super::packet::{Flags, Segment, SynOptions};
use super::seq::SeqNumber;
use core::ops::Range;
use smoltcp::wire::{IPV4_HEADER_LEN, TCP_HEADER_LEN};

/// The length of an untagged Ethernet header, an IPv4 and a TCP header without options, in bytes.
pub const HEADERS_LEN: usize = 54;

const ETHERNET_LEN: usize = 14;

/// A data offset of five words, and ACK.
const BARE_ACK: u64 = 0x5010;
const PSH: u64 = 0x0008;

/// A segment without options whose control bits are ACK and perhaps PSH, in an IPv4 packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain {
    source: u32,
    target: u32,
    /// The source's port in the upper half, and the target's in the lower one.
    ports: u32,
    /// SEG.SEQ.
    pub seq: SeqNumber,
    /// SEG.ACK.
    pub ack: SeqNumber,
    /// SEG.WND as it stands in the header, not scaled.
    pub window: u16,
    /// The length of the payload, which follows the headers, in bytes.
    pub len: u16,
}

impl Plain {
    /// Parses `frame`, received by the interface with address `mac`, or returns `None` if it is no plain
    /// segment or there is something wrong with it: [`super::packet::parse`] tells what.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "fields of the headers")]
    pub fn parse(frame: &[u8], mac: Mac) -> Option<Plain> {
        let headers = frame.first_chunk::<HEADERS_LEN>()?;
        // Destination and two bytes of the source; four more, EtherType, version and header length,
        // type of service; total length, identification, fragment, time to live, protocol.
        let (a, b, c) = (long::<0>(headers), long::<8>(headers), long::<16>(headers));
        // Header checksum, source, half of the target; the other, ports, half of the sequence number;
        // the other, acknowledgment number, offset and control bits; these and window, checksum, urgent
        // pointer.
        let (d, e, f) = (long::<24>(headers), long::<32>(headers), long::<40>(headers));
        let g = long::<46>(headers) & 0xffff_ffff_ffff;
        let [m0, m1, m2, m3, m4, m5] = mac;
        const GROUP: u64 = 0x0100;
        const IPV4_WITHOUT_OPTIONS: u64 = 0x08_0045;
        const FRAGMENT: u64 = 0x3fff;
        let is_plain = a >> 16 == u64::from_be_bytes([0, 0, m0, m1, m2, m3, m4, m5])
            && a & GROUP == 0
            && b >> 8 & 0xff_ffff == IPV4_WITHOUT_OPTIONS
            && c >> 16 & FRAGMENT == 0
            && c & 0xff == u64::from(checksum::TCP)
            && f & 0xffff & !PSH == BARE_ACK;
        let total_len = (c >> 48) as usize;
        let payload = frame.get(HEADERS_LEN..ETHERNET_LEN + total_len);
        let (true, Some(payload)) = (is_plain, payload) else { return None };
        let ip = Sum::default().plus_long(b & 0xffff).plus_long(c).plus_long(d).plus_long(e >> 48);
        let (source, target) = ((d >> 16) as u32, (d << 16 | e >> 48) as u32);
        let tcp = Sum::of(payload)
            .plus(source)
            .plus(target)
            .plus_long(u64::from(checksum::TCP) + (total_len - IPV4_HEADER_LEN) as u64)
            .plus_long(e & 0xffff_ffff_ffff)
            .plus_long(f)
            .plus_long(g);
        let ports = (e >> 16) as u32;
        let is_right = ip.is_right()
            && tcp.is_right()
            && ports >> 16 != 0
            && ports & 0xffff != 0
            && addr::is_valid_source_v4((source >> 24) as u8);
        is_right.then_some(Plain {
            source,
            target,
            ports,
            seq: SeqNumber((e << 16 | f >> 48) as u32),
            ack: SeqNumber((f >> 16) as u32),
            window: (g >> 32) as u16,
            len: (total_len - IPV4_HEADER_LEN - TCP_HEADER_LEN) as u16,
        })
    }

    /// Who sent it and to whom, from the receiver's point of view.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
    pub fn flow(&self) -> FlowKey {
        let endpoint = |addr: u32, port| Endpoint { addr: Address::v4(addr.to_be_bytes()), port };
        FlowKey {
            remote: endpoint(self.source, (self.ports >> 16) as u16),
            local: endpoint(self.target, self.ports as u16),
        }
    }

    /// Whether it was sent from `remote` to `local`.
    #[inline(always)]
    pub fn is_of(&self, remote: (&Address, u16), local: (&Address, u16)) -> bool {
        self.ports == u32::from(remote.1) << 16 | u32::from(local.1)
            && remote.0.is_v4_of(self.source)
            && local.0.is_v4_of(self.target)
    }

    /// The hash of [`Plain::flow`].
    #[inline(always)]
    pub fn hash(&self, hasher: &FlowHasher) -> u64 {
        hasher.hash_v4(self.source, self.target, self.ports)
    }

    /// Where in the frame the payload is.
    #[inline]
    pub fn payload(&self) -> Range<u16> {
        #[expect(clippy::cast_possible_truncation, reason = "54")]
        const START: u16 = HEADERS_LEN as u16;
        START..START + self.len
    }

    /// The same as [`super::packet::parse`] makes of it.
    pub fn to_segment(&self) -> Segment {
        Segment {
            flow: self.flow(),
            seq: self.seq,
            ack: self.ack,
            flags: Flags { ack: true, ..Flags::default() },
            window: self.window,
            options: SynOptions::default(),
            payload: self.payload(),
        }
    }

    /// A segment back to who sent this one.
    #[inline(always)]
    pub fn reply(&self, seq: SeqNumber, ack: SeqNumber, window: u16) -> Plain {
        let (source, target) = (self.target, self.source);
        Plain { source, target, ports: self.ports.rotate_left(16), seq, ack, window, len: 0 }
    }

    /// Writes the segment with this `payload`, whatever its own was, behind the untagged header `ethernet`
    /// to the front of `room`, and returns the length of the frame; or `None` if `room` is too small.
    #[inline(always)]
    pub fn emit(
        &self,
        room: &mut [u8],
        ethernet: &EthernetHeader,
        payload: &[u8],
    ) -> Option<usize> {
        debug_assert_eq!(ethernet.len(), ETHERNET_LEN);
        let len = HEADERS_LEN + payload.len();
        let total_len = u16::try_from(len - ETHERNET_LEN).ok()?;
        let rest = room.get_mut(HEADERS_LEN..)?;
        let rest = rest.get_mut(..payload.len())?;
        copy(payload, rest);
        let headers = room.first_chunk_mut::<HEADERS_LEN>()?;
        headers[..ETHERNET_LEN].copy_from_slice(ethernet.as_bytes().first_chunk::<ETHERNET_LEN>()?);
        let (ip, tcp) = headers[ETHERNET_LEN..].split_at_mut(IPV4_HEADER_LEN);
        ip.copy_from_slice(&emit::ipv4_header(self.source, self.target, total_len));
        let push = if payload.is_empty() { 0 } else { PSH };
        let first = u64::from(self.ports) << 32 | u64::from(self.seq.0);
        let second = u64::from(self.ack.0) << 32 | (BARE_ACK | push) << 16 | u64::from(self.window);
        let sum = Sum::of(payload)
            .plus(self.source)
            .plus(self.target)
            .plus_long(u64::from(checksum::TCP) + (TCP_HEADER_LEN + payload.len()) as u64)
            .plus_long(first)
            .plus_long(second);
        tcp.copy_from_slice(&emit::join(first, second, u32::from(sum.checksum()) << 16));
        Some(len)
    }
}

/// Copies `from` into `to`, which is as long; a heartbeat's few bytes without a call.
#[inline(always)]
fn copy(from: &[u8], to: &mut [u8]) {
    match from.len() {
        0 => {}
        4..8 => copy_ends::<4>(from, to),
        8..=16 => copy_ends::<8>(from, to),
        _ => to.copy_from_slice(from),
    }
}

/// Copies the first and the last `N` bytes, which are all.
#[inline(always)]
fn copy_ends<const N: usize>(from: &[u8], to: &mut [u8]) {
    if let (Some(from), Some(to)) = (from.first_chunk::<N>(), to.first_chunk_mut::<N>()) {
        *to = *from;
    }
    if let (Some(from), Some(to)) = (from.last_chunk::<N>(), to.last_chunk_mut::<N>()) {
        *to = *from;
    }
}

#[cfg(test)]
#[path = "plain_tests.rs"]
mod tests;
