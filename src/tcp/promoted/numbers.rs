//! Sequence numbers on both sides of a promoted connection.
//!
//! smoltcp chooses its own initial sequence number, so what it sends is shifted to where the record
//! had come, and what the peer acknowledges is shifted back. Numbers of the peer are the same on both
//! sides.

use crate::wire::addr::Address;
use crate::wire::packet::smoltcp_address;
use crate::wire::seq::SeqNumber;
use smoltcp::wire::{Ipv4Packet, Ipv6Packet, TcpPacket, TcpSeqNumber};

/// The shift, and how far it has been sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Numbers {
    /// From a number of smoltcp's to the one on the wire.
    pub(super) shift: u32,
    /// SND.NXT on the wire: the largest number sent, and one more. A retransmission does not move it.
    pub(super) snd_nxt: SeqNumber,
    /// The number after the segment that was sent last.
    pub(super) sent: SeqNumber,
}

/// What of a received segment smoltcp is told differently.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// SEG.ACK as the record takes it: never before SND.UNA.
    pub ack: SeqNumber,
    /// SEG.WND of the newest segment, not scaled.
    pub window: u16,
    /// Whether the FIN is next after the segment's data.
    pub fin: bool,
}

impl Numbers {
    /// Shifts what smoltcp sends, an IP packet without a TCP checksum, and completes it.
    pub(super) fn on_sent(&mut self, packet: &mut [u8]) {
        let (source, target, start) = ip_header(packet);
        let mut tcp = TcpPacket::new_unchecked(&mut packet[start..]);
        let seq = SeqNumber(tcp.seq_number().0.cast_unsigned()) + self.shift;
        tcp.set_seq_number(wire(seq));
        let end = seq + u32::try_from(tcp.segment_len()).unwrap_or_default();
        self.sent = end;
        if end.after(self.snd_nxt) {
            self.snd_nxt = end;
        }
        tcp.fill_checksum(&smoltcp_address(&source), &smoltcp_address(&target));
    }

    /// Rewrites a received IP packet for smoltcp, and returns where its data begins and ends.
    ///
    /// All options go. smoltcp reads none after the handshake, SACK blocks included, and would drop
    /// a segment for an option that it cannot parse.
    pub(super) fn on_received(
        &self,
        packet: &mut [u8],
        arrival: &Arrival,
    ) -> (SeqNumber, SeqNumber) {
        const NO_OPERATION: u8 = 1;
        let (_, _, start) = ip_header(packet);
        let mut tcp = TcpPacket::new_unchecked(&mut packet[start..]);
        let seq = SeqNumber(tcp.seq_number().0.cast_unsigned());
        tcp.set_ack_number(wire(arrival.ack - self.shift));
        tcp.set_window_len(arrival.window);
        tcp.clear_flags();
        tcp.set_ack(true);
        tcp.set_fin(arrival.fin);
        tcp.options_mut().fill(NO_OPERATION);
        let len = tcp.segment_len() - usize::from(arrival.fin);
        (seq, seq + u32::try_from(len).unwrap_or_default())
    }
}

fn wire(seq: SeqNumber) -> TcpSeqNumber {
    TcpSeqNumber(seq.0.cast_signed())
}

/// The addresses of an IP packet that was parsed or emitted before, and where its payload starts.
fn ip_header(packet: &[u8]) -> (Address, Address, usize) {
    let ipv4 = Ipv4Packet::new_unchecked(packet);
    if ipv4.version() == 4 {
        let (source, target) = (ipv4.src_addr().octets(), ipv4.dst_addr().octets());
        return (Address::v4(source), Address::v4(target), usize::from(ipv4.header_len()));
    }
    let ipv6 = Ipv6Packet::new_unchecked(packet);
    let (source, target) = (Address::from(ipv6.src_addr()), Address::from(ipv6.dst_addr()));
    (source, target, smoltcp::wire::IPV6_HEADER_LEN)
}
