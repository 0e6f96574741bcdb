//! From a record to a socket.

use super::Promoted;
use super::device::Discard;
use super::numbers::Numbers;
use super::recovery::Recovery;
use crate::conn::record::{Conn, SACK_PERMITTED, State};
use crate::time::Instant;
use crate::wire::addr::FlowKey;
use crate::wire::emit::{self, Outgoing};
use crate::wire::ethernet::{self, EthernetHeader};
use crate::wire::packet::{Flags, SynOptions, smoltcp_address};
use crate::wire::seq::SeqNumber;
use smoltcp::iface::PollResult;
use smoltcp::socket::tcp::CongestionControl;
use smoltcp::wire::{IpListenEndpoint, TcpPacket};

/// What a record hands over to a socket.
#[derive(Clone, Copy, Debug)]
pub struct Handover {
    /// The connection.
    pub flow: FlowKey,
    /// SND.UNA.
    pub snd_una: SeqNumber,
    /// RCV.NXT, past the peer's FIN if that came.
    pub rcv_nxt: SeqNumber,
    /// SEG.WND of the newest segment, not scaled.
    pub window: u16,
    /// The peer's window scale, if its SYN had one.
    pub wscale: Option<u8>,
    /// The largest payload to send in one segment, in bytes.
    pub mss: u16,
    /// Whether selective acknowledgments were agreed on.
    pub sack_permitted: bool,
    /// Whether the peer has closed its direction.
    pub peer_closed: bool,
}

impl Handover {
    /// What `conn` says, which is in ESTABLISHED or CLOSE-WAIT.
    pub fn of(conn: &Conn, flow: FlowKey) -> Handover {
        Handover {
            flow,
            snd_una: conn.snd_una,
            rcv_nxt: conn.rcv_nxt,
            window: conn.snd_wnd,
            wscale: conn.wscale(),
            mss: conn.mss,
            sack_permitted: conn.has(SACK_PERMITTED),
            peer_closed: conn.state == State::CloseWait,
        }
    }
}

impl Promoted {
    /// Takes a connection over, in ESTABLISHED or CLOSE-WAIT, with `in_flight` sent and not yet
    /// acknowledged. Returns whether the socket came to the same state.
    pub(super) fn adopt(
        &mut self,
        handover: &Handover,
        in_flight: &[u8],
        now: Instant,
        scratch: &mut [u8],
    ) -> bool {
        let Handover { flow, snd_una, rcv_nxt, window, wscale, mss, .. } = *handover;
        let read = rcv_nxt - u32::from(handover.peer_closed);
        (self.flow, self.read, self.early) = (flow, read, read);
        self.queued = snd_una;
        self.peer_closed = false;
        self.set_mss(mss);
        let socket = self.socket_mut();
        // A socket that was used before is reset by `abort` and `listen`, all but these.
        socket.abort();
        socket.set_congestion_control(CongestionControl::Reno);
        socket.set_ack_delay(None);
        socket.set_nagle_enabled(false);
        let port = flow.local.port;
        let addr = Some(smoltcp_address(&flow.local.addr));
        if socket.listen(IpListenEndpoint { addr, port }).is_err() {
            return false;
        }
        let syn = Handshake {
            seq: read - 1,
            ack: None,
            fin: false,
            window: u16::MAX,
            options: SynOptions { mss: Some(mss), wscale, sack_permitted: handover.sack_permitted },
        };
        self.feed(&syn, now);
        self.numbers = Numbers::default();
        if self.egress(now, &mut Discard, scratch) == PollResult::None {
            return false;
        }
        let header_len = if flow.local.addr.is_v4() { 20 } else { 40 };
        let syn_ack = TcpPacket::new_unchecked(&scratch[header_len..]);
        let isn = SeqNumber(syn_ack.seq_number().0.cast_unsigned());
        let mut ack = Handshake {
            seq: read,
            ack: Some(isn + 1),
            fin: false,
            window: u16::MAX,
            options: SynOptions::default(),
        };
        self.feed(&ack, now);
        let start = self.open_congestion_window(isn + 1, &mut ack, mss, now, scratch);
        (ack.fin, ack.window) = (handover.peer_closed, window);
        self.feed(&ack, now);
        self.numbers = Numbers::of(handover, in_flight, start);
        self.recovery = Recovery::default();
        self.note_peer_close();
        let expected = if handover.peer_closed { State::CloseWait } else { State::Established };
        if self.state() != Some(expected) || self.write(in_flight) != in_flight.len() {
            return false;
        }
        // What is in flight is sent already, so is the acknowledgment of a FIN.
        while self.egress(now, &mut Discard, scratch) == PollResult::SocketStateChanged {}
        self.numbers.all_sent(self.queued);
        true
    }

    /// Opens the congestion window to that of a new connection (RFC 6928 section 2: ten segments, up
    /// to 14,600 bytes), as far as smoltcp's, which starts at 2 KiB, allows: it grows by what is
    /// acknowledged, so that is what happens, unseen. `start` is smoltcp's SND.NXT, and `ack` ends up
    /// acknowledging the new one, which is returned.
    fn open_congestion_window(
        &mut self,
        start: SeqNumber,
        ack: &mut Handshake,
        mss: u16,
        now: Instant,
        scratch: &mut [u8],
    ) -> SeqNumber {
        const SMOLTCPS: u32 = 2048;
        static SEGMENT: [u8; 1460] = [0; 1460];
        let segment = &SEGMENT[..SEGMENT.len().min(usize::from(mss))];
        let mss = u32::from(mss);
        let rounds = ((10 * mss).min(14_600.max(2 * mss)).saturating_sub(SMOLTCPS)) / mss;
        let mut next = start;
        for _ in 0..rounds {
            next += u32::try_from(self.write(segment)).unwrap_or_default();
            self.egress(now, &mut Discard, scratch);
            ack.ack = Some(next);
            self.feed(ack, now);
        }
        self.queued = self.queued - next.since(start);
        next
    }

    /// Starts the timer for probes of a closed window. smoltcp does so when a segment closes it; but
    /// if it was closed already when data in flight was due to be sent again, no timer runs.
    pub(super) fn probe_later(&mut self, now: Instant) {
        self.feed_duplicate(0, now);
    }

    /// Tells smoltcp once more what is acknowledged: for the third time it sends the next segment again.
    pub(super) fn acknowledge_again(&mut self, now: Instant) {
        self.feed_duplicate(self.numbers.told_window, now);
    }

    fn feed_duplicate(&mut self, window: u16, now: Instant) {
        let unshifted = self.snd_una() - self.numbers.shift;
        let ack = Handshake {
            seq: self.rcv_nxt(),
            ack: Some(unshifted),
            fin: false,
            window,
            options: SynOptions::default(),
        };
        self.feed(&ack, now);
    }

    /// Gives smoltcp a segment that the peer did not send.
    fn feed(&mut self, segment: &Handshake, now: Instant) {
        const ROOM: usize = 128;
        let (mut room, mut answer) = ([0; ROOM], [0; ROOM]);
        let header = EthernetHeader::new([0; 6], [0; 6], ethernet::IPV4);
        let FlowKey { remote, local } = self.flow;
        let outgoing = Outgoing {
            ethernet: &header,
            flow: FlowKey { remote: local, local: remote },
            seq: segment.seq,
            ack: segment.ack.unwrap_or_default(),
            flags: Flags {
                syn: segment.ack.is_none(),
                ack: segment.ack.is_some(),
                fin: segment.fin,
                rst: false,
            },
            window: segment.window,
            options: segment.options,
            payload: &[],
        };
        if let Some(len) = emit::emit(&mut room, &outgoing) {
            self.ingress(&room[header.len()..len], now, &mut answer);
        }
    }
}

/// A segment without data that leads smoltcp somewhere; a SYN if it acknowledges nothing.
struct Handshake {
    seq: SeqNumber,
    /// In smoltcp's numbers.
    ack: Option<SeqNumber>,
    fin: bool,
    window: u16,
    options: SynOptions,
}
