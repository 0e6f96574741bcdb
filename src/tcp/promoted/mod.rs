//! Promoted connections: each a whole TCP socket of smoltcp's.
//!
//! A record knows in-order segments and one flight. A connection that needs more (reassembly, a queue
//! of data to send, congestion control, probes of a closed window) is carried by a
//! [`smoltcp::socket::tcp::Socket`] until it is quiet again. The record stays: it says whose segments
//! these are, and every segment is judged by it before smoltcp sees it.
//!
//! smoltcp has no way to make a socket of an established connection, so it is led there: it listens,
//! is given a SYN that ends just before RCV.NXT, and the ACK of its answer; what it sends meanwhile
//! goes nowhere. Its sequence numbers are shifted from then on.
//! docs/decisions/0008-promotion.md says why so.
//!
//! - [`device`]: packets in and out
//! - `numbers`: the shift
//! - `recovery`: what SACK blocks say about losses
//! - `takeover`: from a record to a socket
//! - [`pool`]: a fixed number of connections, with their timers

pub mod device;
mod numbers;
pub mod pool;
mod recovery;
mod takeover;

pub use numbers::Arrival;
pub use takeover::Handover;

use crate::conn::record::State;
use crate::time::Instant;
use crate::wire::addr::{Endpoint, FlowKey};
use crate::wire::packet::smoltcp_address;
use crate::wire::seq::SeqNumber;
use device::{Answer, Egress, Ingress, Transmit, capabilities};
use numbers::Numbers;
use recovery::Recovery;
use smoltcp::iface::{Config, Interface, PollResult, SocketHandle, SocketSet};
use smoltcp::socket::tcp::{self, Socket, SocketBuffer};
use smoltcp::time::Instant as SmolInstant;
use smoltcp::wire::{HardwareAddress, IpCidr};

/// A connection carried by a socket, or room for one.
pub struct Promoted {
    interface: Interface,
    sockets: SocketSet<'static>,
    socket: SocketHandle,
    flow: FlowKey,
    mtu: usize,
    numbers: Numbers,
    recovery: Recovery,
    /// The number after the last byte that was ever queued.
    queued: SeqNumber,
    /// The number of the first byte that is not read.
    read: SeqNumber,
    /// The number after the last byte that came early.
    early: SeqNumber,
    /// Whether the peer's FIN was taken.
    peer_closed: bool,
}

impl Promoted {
    /// Room for a connection, with `buffer` bytes for each direction.
    fn new(buffer: u16) -> Promoted {
        let bytes = || SocketBuffer::new(vec![0; usize::from(buffer)]);
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let socket = sockets.add(Socket::new(bytes(), bytes()));
        Promoted {
            interface: interface(IPV6_MTU_MIN),
            sockets,
            socket,
            flow: FlowKey { remote: Endpoint::default(), local: Endpoint::default() },
            mtu: IPV6_MTU_MIN,
            numbers: Numbers::default(),
            recovery: Recovery::default(),
            queued: SeqNumber(0),
            read: SeqNumber(0),
            early: SeqNumber(0),
            peer_closed: false,
        }
    }

    /// Sends segments of at most `mss` bytes from now on.
    pub fn set_mss(&mut self, mss: u16) {
        let headers = if self.flow.local.addr.is_v4() { 40 } else { 60 };
        self.mtu = usize::from(mss) + headers;
        self.interface = interface(self.mtu);
        // The whole Internet is on the link: the next hop is not smoltcp's to find.
        let local = IpCidr::new(smoltcp_address(&self.flow.local.addr), 0);
        self.interface.update_ip_addrs(|addrs| {
            let _ = addrs.push(local);
        });
    }

    /// Takes a received IP packet. Returns the length of the answer to it, an IP packet in `answer`,
    /// or 0.
    fn receive(
        &mut self,
        packet: &mut [u8],
        arrival: &Arrival,
        now: Instant,
        answer: &mut [u8],
    ) -> usize {
        let acks_news = arrival.ack != self.snd_una();
        let reports_gap = self.numbers.reports_gap(packet, arrival.ack);
        let (start, end) = self.numbers.on_received(packet, arrival);
        if start == end && !acks_news && !arrival.fin && self.is_only_fin_out() {
            // Three of these would have smoltcp stop the timer of the FIN, and send it never again:
            // its fast retransmission looks for data.
            return 0;
        }
        if start.after(self.rcv_nxt()) && end.after(self.early) {
            self.early = end;
        }
        let len = self.ingress(packet, now, answer);
        let snd_nxt = self.snd_nxt();
        if self.recovery.on_ack(arrival.ack, acks_news, reports_gap, snd_nxt, now) {
            (0..recovery::DUPLICATES).for_each(|_| self.acknowledge_again(now));
        }
        len
    }

    fn ingress(&mut self, packet: &[u8], now: Instant, answer: &mut [u8]) -> usize {
        let answer = Answer { room: answer, len: 0, numbers: &mut self.numbers };
        let mut device = Ingress { mtu: self.mtu, packet: Some(packet), answer };
        self.interface.poll_ingress_single(smoltcp_instant(now), &mut device, &mut self.sockets);
        let len = device.answer.len;
        self.note_peer_close();
        len
    }

    /// Sends what can be sent now.
    fn send<T: Transmit>(&mut self, now: Instant, transmit: &mut T, scratch: &mut [u8]) {
        loop {
            // Whole segments while there is more to come (RFC 9293 section 3.8.6.2.1), as there is
            // behind a full queue, but the last one does not wait for an acknowledgment (section 3.7.4).
            let unsent = self.queued.since(self.numbers.sent).cast_signed();
            let is_more = self.room() == 0 || unsent >= i32::try_from(self.mtu).unwrap_or(i32::MAX);
            self.socket_mut().set_nagle_enabled(is_more);
            // smoltcp forgets a fast retransmission, and every timer with it, that finds no room.
            if !transmit.is_ready() || self.egress(now, transmit, scratch) == PollResult::None {
                break;
            }
        }
        if self.socket().send_queue() > 0 && self.poll_at(now).is_none() {
            self.probe_later(now);
        }
    }

    fn egress<T: Transmit>(
        &mut self,
        now: Instant,
        transmit: &mut T,
        scratch: &mut [u8],
    ) -> PollResult {
        let mut device = Egress { mtu: self.mtu, transmit, scratch, numbers: &mut self.numbers };
        self.interface.poll_egress(smoltcp_instant(now), &mut device, &mut self.sockets)
    }

    /// Queues as much from the front of `bytes` as there is room for, and returns how much.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        let written = self.socket_mut().send_slice(bytes).unwrap_or(0);
        self.queued += u32::try_from(written).unwrap_or_default();
        written
    }

    /// How many bytes can be queued.
    pub fn room(&self) -> usize {
        let socket = self.socket();
        socket.send_capacity() - socket.send_queue()
    }

    /// The next bytes that are not read, as far as they lie in one piece.
    pub fn unread(&mut self) -> &[u8] {
        self.socket_mut().peek(usize::MAX).unwrap_or_default()
    }

    /// All bytes that are not read, joined in `room`, which is as long as the receive buffer.
    pub fn unread_joined<'a>(&mut self, room: &'a mut [u8]) -> &'a [u8] {
        let len = self.socket_mut().peek_slice(room).unwrap_or(0);
        &room[..len]
    }

    /// Takes `len` bytes off the front of what is not read; no more than there are.
    pub fn consume(&mut self, mut len: usize) {
        while len > 0 {
            let consumed = self.socket_mut().recv(|bytes| {
                let len = len.min(bytes.len());
                (len, len)
            });
            let consumed = consumed.unwrap_or(0);
            if consumed == 0 {
                return;
            }
            len -= consumed;
            self.read += u32::try_from(consumed).unwrap_or_default();
        }
    }

    /// How many bytes are not read.
    pub fn unread_len(&self) -> usize {
        self.socket().recv_queue()
    }

    /// Whether some of what is queued was never sent.
    pub fn has_unsent(&self) -> bool {
        self.queued.after(self.snd_nxt())
    }

    /// The number after the last byte that was queued.
    pub fn end(&self) -> SeqNumber {
        self.queued
    }

    /// Closes this host's direction after what is queued.
    pub fn close(&mut self) {
        self.socket_mut().close();
    }

    /// The state, or `None` when both directions are closed and this host's FIN is acknowledged.
    pub fn state(&self) -> Option<State> {
        match self.socket().state() {
            tcp::State::Established => Some(State::Established),
            tcp::State::CloseWait => Some(State::CloseWait),
            tcp::State::FinWait1 => Some(State::FinWait1),
            tcp::State::FinWait2 => Some(State::FinWait2),
            tcp::State::Closing => Some(State::Closing),
            tcp::State::LastAck => Some(State::LastAck),
            tcp::State::TimeWait => Some(State::TimeWait),
            tcp::State::SynSent => Some(State::SynSent),
            tcp::State::SynReceived => Some(State::SynReceived),
            tcp::State::Listen | tcp::State::Closed => None,
        }
    }

    /// Whether the peer's FIN was taken.
    pub fn peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// Whether data or a FIN waits to be sent or acknowledged.
    pub fn is_outstanding(&self) -> bool {
        let fin_is_out =
            matches!(self.state(), Some(State::FinWait1 | State::Closing | State::LastAck));
        self.socket().send_queue() > 0 || fin_is_out
    }

    /// Whether data is kept that came early.
    pub fn has_early(&self) -> bool {
        self.early.after(self.rcv_nxt())
    }

    /// SND.UNA.
    pub fn snd_una(&self) -> SeqNumber {
        let queued = u32::try_from(self.socket().send_queue()).unwrap_or_default();
        let fin_is_acked = matches!(self.state(), None | Some(State::FinWait2 | State::TimeWait));
        self.queued - queued + u32::from(fin_is_acked)
    }

    /// Whether nothing but the FIN was sent and not yet acknowledged.
    fn is_only_fin_out(&self) -> bool {
        let state = self.state();
        matches!(state, Some(State::FinWait1 | State::Closing | State::LastAck))
            && self.socket().send_queue() == 0
    }

    /// How many segments were sent again since this was last asked.
    pub fn take_repeated(&mut self) -> u32 {
        core::mem::take(&mut self.numbers.repeated)
    }

    /// SND.NXT.
    pub fn snd_nxt(&self) -> SeqNumber {
        // A probe of a closed window may have been acknowledged further than anything was sent.
        let una = self.snd_una();
        if una.after(self.numbers.snd_nxt) { una } else { self.numbers.snd_nxt }
    }

    /// SEG.SEQ of a bare ACK: SND.NXT, if that is within the window.
    pub fn seq_of_ack(&mut self) -> SeqNumber {
        self.numbers.seq_of_ack()
    }

    /// RCV.NXT.
    pub fn rcv_nxt(&self) -> SeqNumber {
        let unread = u32::try_from(self.socket().recv_queue()).unwrap_or_default();
        self.read + unread + u32::from(self.peer_closed)
    }

    /// RCV.WND: the room for data, in bytes.
    pub fn window(&self) -> u16 {
        let socket = self.socket();
        u16::try_from(socket.recv_capacity() - socket.recv_queue()).unwrap_or(u16::MAX)
    }

    /// When [`pool::Pool::send`] has something to do, at the latest; `None` if a segment comes first.
    fn poll_at(&mut self, now: Instant) -> Option<Instant> {
        let at = self.interface.poll_at(smoltcp_instant(now), &self.sockets)?;
        let micros = u64::try_from(at.total_micros()).unwrap_or_default();
        Some(Instant::from_nanos(micros.saturating_mul(1_000)))
    }

    fn note_peer_close(&mut self) {
        // The socket forgets it when it closes.
        self.peer_closed |= matches!(
            self.state(),
            Some(State::CloseWait | State::Closing | State::LastAck | State::TimeWait)
        );
    }

    fn socket(&self) -> &Socket<'static> {
        self.sockets.get(self.socket)
    }

    fn socket_mut(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.socket)
    }
}

/// The smallest MTU that IPv6 knows, in bytes (RFC 8200 section 5).
const IPV6_MTU_MIN: usize = 1280;

/// An interface without addresses that sends packets of at most `mtu` bytes.
fn interface(mtu: usize) -> Interface {
    /// Only its capabilities are asked for.
    struct Link(usize);
    impl smoltcp::phy::Device for Link {
        type RxToken<'t> = device::Received<'t>;
        type TxToken<'t> = device::AnswerToken<'t>;
        fn receive(
            &mut self,
            _: SmolInstant,
        ) -> Option<(device::Received<'_>, device::AnswerToken<'_>)> {
            None
        }
        fn transmit(&mut self, _: SmolInstant) -> Option<device::AnswerToken<'_>> {
            None
        }
        fn capabilities(&self) -> smoltcp::phy::DeviceCapabilities {
            capabilities(self.0)
        }
    }
    Interface::new(Config::new(HardwareAddress::Ip), &mut Link(mtu), SmolInstant::ZERO)
}

#[expect(clippy::cast_possible_wrap, reason = "292,000 years of microseconds")]
fn smoltcp_instant(now: Instant) -> SmolInstant {
    SmolInstant::from_micros(now.micros() as i64)
}
