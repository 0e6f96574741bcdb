//! Sequence numbers on both sides of a promoted connection.
//!
//! smoltcp chooses its own initial sequence number, so what it sends is shifted to where the record
//! had come, and what the peer acknowledges is shifted back. Numbers of the peer are the same on both
//! sides.

use super::Handover;
use crate::wire::addr::Address;
use crate::wire::packet::smoltcp_address;
use crate::wire::seq::SeqNumber;
use smoltcp::wire::{Ipv4Packet, Ipv6Packet, TcpOption, TcpPacket, TcpSeqNumber};

/// The shift, and how far it has been sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Numbers {
    /// From a number of smoltcp's to the one on the wire.
    pub(super) shift: u32,
    /// SND.NXT on the wire: the largest number sent, and one more. A retransmission does not move it.
    pub(super) snd_nxt: SeqNumber,
    /// The largest SEG.ACK, and the newest SEG.WND.
    pub(super) snd_una: SeqNumber,
    pub(super) window: u16,
    /// The end of the largest window that the peer has offered.
    pub(super) offered: SeqNumber,
    /// Whether the last bare ACK at the window's end had the number before it.
    pub(super) before_end: bool,
    /// The largest number that smoltcp takes for sent, and one more.
    pub(super) told_nxt: SeqNumber,
    /// The window that smoltcp knows of, as it stands in the header, and the peer's scale.
    pub(super) told_window: u16,
    pub(super) scale: u8,
    /// The number after the segment that smoltcp sent last.
    pub(super) sent: SeqNumber,
    /// How many segments were sent again.
    pub(super) repeated: u32,
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
    /// RCV.NXT if nothing but the acknowledgment is passed on: since the segment has nothing else, or
    /// since the window is closed. smoltcp would not look at that of a segment that its window does not
    /// hold.
    pub bare_at: Option<SeqNumber>,
}

impl Numbers {
    /// Those of a connection that is taken over when smoltcp's SND.NXT is `start`, with `in_flight` to
    /// be handed to it next.
    pub(super) fn of(handover: &Handover, in_flight: &[u8], start: SeqNumber) -> Numbers {
        let Handover { snd_una, window, .. } = *handover;
        let scale = handover.wscale.unwrap_or(0);
        let in_flight_len = u32::try_from(in_flight.len()).unwrap_or_default();
        Numbers {
            shift: snd_una.since(start),
            snd_nxt: snd_una,
            snd_una,
            window,
            // What is in flight was in a window once.
            offered: snd_una + (u32::from(window) << scale).max(in_flight_len),
            before_end: false,
            told_nxt: snd_una,
            told_window: window,
            scale,
            sent: snd_una,
            repeated: 0,
        }
    }

    /// Everything up to `end` was sent before.
    pub(super) fn all_sent(&mut self, end: SeqNumber) {
        (self.snd_nxt, self.told_nxt, self.sent) = (end, end, end);
    }

    /// Shifts what smoltcp sends, an IP packet without a TCP checksum. Returns its length.
    pub(super) fn on_sent(&mut self, mut packet: &mut [u8]) -> usize {
        let (_, _, start) = ip_header(packet);
        let mut tcp = TcpPacket::new_unchecked(&mut packet[start..]);
        let mut seq = SeqNumber(tcp.seq_number().0.cast_unsigned()) + self.shift;
        self.sent = seq + u32::try_from(tcp.segment_len()).unwrap_or_default();
        if self.sent.after(self.told_nxt) {
            self.told_nxt = self.sent;
        }
        if tcp.segment_len() == 0 {
            seq = self.seq_of_ack();
        }
        tcp.set_seq_number(wire(seq));
        let header_len = start + usize::from(tcp.header_len());
        let payload_len = packet.len() - header_len;
        let fits = self.fitting(seq, payload_len);
        if fits < payload_len {
            TcpPacket::new_unchecked(&mut packet[start..]).set_fin(false);
            packet = &mut packet[..header_len + fits];
            set_ip_len(packet);
        }
        let tcp = TcpPacket::new_unchecked(&packet[start..]);
        let end = seq + u32::try_from(tcp.segment_len()).unwrap_or_default();
        // A probe of a closed window is none.
        self.repeated += u32::from(end != seq && seq.before(self.snd_nxt) && self.window > 0);
        if end.after(self.snd_nxt) {
            self.snd_nxt = end;
        }
        packet.len()
    }

    /// How many of `len` bytes from `seq` on may be sent: those in a window that was offered, or one to
    /// probe it. smoltcp's fast retransmission sends a whole segment, whatever the window.
    fn fitting(&self, seq: SeqNumber, len: usize) -> usize {
        let room = match self.offered.after(seq) {
            true => self.offered.since(seq) as usize,
            false => 0,
        };
        len.min(room.max(1))
    }

    /// The number for the next bare ACK.
    ///
    /// Deviation: that is SND.NXT (RFC 9293 section 3.10.7.4), also when the window is full, or when
    /// what is out is past it, as a probe of a closed one is. A peer that lacks the first byte of the
    /// window drops such an ACK, as past it, and sends again and again what was long received; one that
    /// has every byte needs just the number after the last. Nobody knows which it is, so the window's end
    /// and its last number take turns. (smoltcp has yet another, which goes back with each
    /// retransmission.)
    pub(super) fn seq_of_ack(&mut self) -> SeqNumber {
        let snd_nxt = if self.snd_una.after(self.snd_nxt) { self.snd_una } else { self.snd_nxt };
        if snd_nxt.before(self.offered) {
            return snd_nxt;
        }
        self.before_end = !self.before_end && self.offered.after(self.snd_una);
        self.offered - u32::from(self.before_end)
    }

    /// The window to tell smoltcp of: the peer's, but if that closed over data in flight, one that
    /// holds just this. The retransmission timer goes on then, as Linux has it, and what is sent again
    /// probes the window. smoltcp would stop the timer for one of probes, which begin after what was
    /// sent: if that was all there is, they are empty, nobody answers them, and what was lost is never
    /// sent again.
    fn window_to_tell(&self) -> u16 {
        let in_flight = match self.told_nxt.after(self.snd_una) {
            true => self.told_nxt.since(self.snd_una),
            false => 0,
        };
        match self.window {
            // Told before, smoltcp has sent nothing since but probes.
            0 if in_flight > 0 && self.told_window > 0 => {
                u16::try_from(in_flight >> self.scale).unwrap_or(u16::MAX).max(1)
            }
            window => window,
        }
    }

    /// Whether a received IP packet, which acknowledges up to `ack`, has SACK blocks past that: what is
    /// between was lost, or overtaken. A block below it reports what came twice (RFC 2883).
    pub(super) fn reports_gap(&self, packet: &[u8], ack: SeqNumber) -> bool {
        let (_, _, start) = ip_header(packet);
        let tcp = TcpPacket::new_unchecked(&packet[start..]);
        let mut options = tcp.options();
        while let Ok((rest, option)) = TcpOption::parse(options) {
            match option {
                TcpOption::EndOfList => break,
                TcpOption::SackRange(blocks) => {
                    return blocks.iter().flatten().any(|&(left, right)| {
                        SeqNumber(left).after(ack) && !SeqNumber(right).after(self.snd_nxt)
                    });
                }
                _ => options = rest,
            }
        }
        false
    }

    /// Rewrites a received IP packet for smoltcp, and returns where its data begins and ends.
    ///
    /// All options go. smoltcp reads none after the handshake, SACK blocks included, and would drop
    /// a segment for an option that it cannot parse.
    pub(super) fn on_received(
        &mut self,
        mut packet: &mut [u8],
        arrival: &Arrival,
    ) -> (SeqNumber, SeqNumber) {
        const NO_OPERATION: u8 = 1;
        (self.snd_una, self.window) = (arrival.ack, arrival.window);
        let offered = arrival.ack + (u32::from(arrival.window) << self.scale);
        if offered.after(self.offered) {
            self.offered = offered;
        }
        self.told_window = self.window_to_tell();
        let (_, _, start) = ip_header(packet);
        let mut tcp = TcpPacket::new_unchecked(&mut packet[start..]);
        if let Some(rcv_nxt) = arrival.bare_at {
            tcp.set_seq_number(wire(rcv_nxt));
            let end = start + usize::from(tcp.header_len());
            packet = &mut packet[..end];
            set_ip_len(packet);
        }
        let mut tcp = TcpPacket::new_unchecked(&mut packet[start..]);
        let seq = SeqNumber(tcp.seq_number().0.cast_unsigned());
        tcp.set_ack_number(wire(arrival.ack - self.shift));
        tcp.set_window_len(self.told_window);
        tcp.clear_flags();
        tcp.set_ack(true);
        tcp.set_fin(arrival.fin);
        tcp.options_mut().fill(NO_OPERATION);
        let len = tcp.segment_len() - usize::from(arrival.fin);
        (seq, seq + u32::try_from(len).unwrap_or_default())
    }
}

/// Sets the TCP checksum of an IP packet.
pub(super) fn fill_checksum(packet: &mut [u8]) {
    let (source, target, start) = ip_header(packet);
    let mut tcp = TcpPacket::new_unchecked(&mut packet[start..]);
    tcp.fill_checksum(&smoltcp_address(&source), &smoltcp_address(&target));
}

fn wire(seq: SeqNumber) -> TcpSeqNumber {
    TcpSeqNumber(seq.0.cast_signed())
}

/// Has the header of an IP packet say that it ends where it does.
fn set_ip_len(packet: &mut [u8]) {
    let len = u16::try_from(packet.len()).expect("shorter than it was");
    let mut ipv4 = Ipv4Packet::new_unchecked(&mut *packet);
    if ipv4.version() == 4 {
        ipv4.set_total_len(len);
        ipv4.fill_checksum();
    } else {
        const HEADER_LEN: u16 = 40;
        const _: () = assert!(HEADER_LEN as usize == smoltcp::wire::IPV6_HEADER_LEN);
        Ipv6Packet::new_unchecked(packet).set_payload_len(len - HEADER_LEN);
    }
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
