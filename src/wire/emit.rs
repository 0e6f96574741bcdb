//! Writing TCP segments into frames.

use super::addr::{Endpoint, FlowKey};
use super::ethernet::EthernetHeader;
use super::packet::{Flags, SynOptions, smoltcp_address};
use super::seq::SeqNumber;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    IpProtocol, Ipv4Packet, Ipv4Repr, Ipv6Packet, Ipv6Repr, TcpControl, TcpPacket, TcpRepr,
    TcpSeqNumber,
};

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

/// Writes `segment` with its headers and checksums to the front of `room`, and returns the length of
/// the frame, or `None` if `room` is too small.
pub fn emit(room: &mut [u8], segment: &Outgoing<'_>) -> Option<usize> {
    let tcp = tcp_repr(segment);
    let tcp_len = tcp.buffer_len();
    let checksums = ChecksumCapabilities::default();
    let ethernet = segment.ethernet.as_bytes();
    room.get_mut(..ethernet.len())?.copy_from_slice(ethernet);
    let packet = room.get_mut(ethernet.len()..)?;
    let Endpoint { addr: source, .. } = segment.flow.local;
    let Endpoint { addr: target, .. } = segment.flow.remote;
    let ip_header_len = if source.is_v4() {
        let repr = Ipv4Repr {
            src_addr: source.v4_octets().into(),
            dst_addr: target.v4_octets().into(),
            next_header: IpProtocol::Tcp,
            payload_len: tcp_len,
            hop_limit: HOP_LIMIT,
        };
        let header = packet.get_mut(..repr.buffer_len() + tcp_len)?;
        repr.emit(&mut Ipv4Packet::new_unchecked(header), &checksums);
        repr.buffer_len()
    } else {
        let repr = Ipv6Repr {
            src_addr: source.0.into(),
            dst_addr: target.0.into(),
            next_header: IpProtocol::Tcp,
            payload_len: tcp_len,
            hop_limit: HOP_LIMIT,
        };
        let header = packet.get_mut(..repr.buffer_len() + tcp_len)?;
        repr.emit(&mut Ipv6Packet::new_unchecked(header));
        repr.buffer_len()
    };
    let bytes = packet.get_mut(ip_header_len..ip_header_len + tcp_len)?;
    let (source, target) = (smoltcp_address(&source), smoltcp_address(&target));
    tcp.emit(&mut TcpPacket::new_unchecked(bytes), &source, &target, &checksums);
    Some(ethernet.len() + ip_header_len + tcp_len)
}

fn tcp_repr<'a>(segment: &Outgoing<'a>) -> TcpRepr<'a> {
    let Flags { fin, syn, rst, ack } = segment.flags;
    let control = match (rst, syn, fin) {
        (true, ..) => TcpControl::Rst,
        (_, true, _) => TcpControl::Syn,
        (.., true) => TcpControl::Fin,
        _ if !segment.payload.is_empty() => TcpControl::Psh,
        _ => TcpControl::None,
    };
    TcpRepr {
        src_port: segment.flow.local.port,
        dst_port: segment.flow.remote.port,
        control,
        seq_number: TcpSeqNumber(segment.seq.0.cast_signed()),
        ack_number: ack.then_some(TcpSeqNumber(segment.ack.0.cast_signed())),
        window_len: segment.window,
        window_scale: segment.options.wscale,
        max_seg_size: segment.options.mss,
        sack_permitted: segment.options.sack_permitted,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: segment.payload,
    }
}
