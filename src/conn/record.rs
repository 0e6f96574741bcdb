//! The 64 bytes of a connection.

use super::wheel::Links;
use crate::time::Tick;
use crate::wire::addr::{Address, Endpoint};
use crate::wire::seq::SeqNumber;
use bytemuck::Zeroable;

/// An index that points nowhere.
pub const NONE: u32 = u32::MAX;

/// In [`Conn::flight`]: the rest of it is a place in `tcp::promoted::pool`.
pub const PROMOTED: u32 = 1 << 31;

/// The state of a connection (RFC 9293 section 3.3.2). LISTEN has no record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Zeroable)]
#[repr(u8)]
#[expect(missing_docs, reason = "the RFC's own names; Free marks an unused record")]
pub enum State {
    #[default]
    Free = 0,
    SynSent,
    SynReceived,
    Established,
    FinWait1,
    FinWait2,
    CloseWait,
    Closing,
    LastAck,
    TimeWait,
}

impl State {
    /// Whether this host has not closed its direction yet.
    pub const fn can_send(self) -> bool {
        matches!(self, State::Established | State::CloseWait)
    }

    /// The state when this host closes its direction, which [`State::can_send`].
    pub const fn after_close(self) -> State {
        match self {
            State::CloseWait => State::LastAck,
            _ => State::FinWait1,
        }
    }

    /// Whether the peer has not closed its direction yet.
    pub const fn can_receive(self) -> bool {
        matches!(self, State::Established | State::FinWait1 | State::FinWait2)
    }
}

/// All that an idle connection is.
///
/// Plain old data and indices, never pointers. What it does not hold is derived: SND.NXT is
/// `snd_una` plus the length of the flight, the deadline follows from the state and `touched`, the
/// local address is in the path.
#[derive(Clone, Copy, Debug, Zeroable)]
#[repr(C, align(64))]
pub struct Conn {
    /// The peer's address.
    pub remote_addr: Address,
    /// The peer's port.
    pub remote_port: u16,
    /// This host's port.
    pub local_port: u16,
    /// The local address and the next hop: an index into [`super::path::Paths`].
    pub path: u16,
    /// How often this record was used before, modulo 2^16; part of [`super::slab::ConnId`].
    pub generation: u16,
    /// SND.UNA: the oldest byte sent and not acknowledged.
    pub snd_una: SeqNumber,
    /// RCV.NXT: the next byte expected.
    pub rcv_nxt: SeqNumber,
    /// Data sent and not acknowledged: an index into [`super::flight::Flights`], or [`NONE`]; or,
    /// with [`PROMOTED`], the connection's place among those that are promoted.
    pub flight: u32,
    /// When the peer was last heard, or last told what is expected; before the connection is
    /// established, when the SYN was last sent; in TIME-WAIT, when that began; with [`CLOSE_DUE`],
    /// when the FIN was last tried.
    pub touched: Tick,
    /// Place in the timer wheel, or in the list of free records.
    pub links: Links,
    /// SEG.WND of the newest segment, not scaled; see [`Conn::window`].
    pub snd_wnd: u16,
    /// The largest payload to send in one segment, in bytes.
    pub mss: u16,
    /// The state.
    pub state: State,
    /// The peer's window scale in the low four bits (15: none), flags above: see [`Conn::has`].
    pub bits: u8,
    /// Which service runs on the connection, and how it finds out that its peer has gone: a number
    /// of the engine's.
    pub class: u8,
    /// How often the SYN, or later the keepalive probe, was repeated; in FIN-WAIT-2, how many
    /// segments that brought nothing were answered.
    pub attempts: u8,
    /// The service's own memory.
    pub service: [u8; 8],
}

const _: () = assert!(size_of::<Conn>() == 64);

/// The window scale of a peer that sent no such option.
const UNSCALED: u8 = 0x0f;

/// The peer's half closed before this host's did.
pub const PEER_CLOSED_FIRST: u8 = 0x10;
/// In SYN-RECEIVED, where nobody has closed yet, the same bit: see [`Conn::opens_simultaneously`].
pub const OPENED_HERE: u8 = PEER_CLOSED_FIRST;
/// From ESTABLISHED on to FIN-WAIT-2, where only this host has closed, the same bit: what the peer still
/// sends is taken and forgotten.
pub const LINGERS: u8 = PEER_CLOSED_FIRST;
/// The peer permits selective acknowledgments (RFC 2018 section 2).
pub const SACK_PERMITTED: u8 = 0x20;

/// The last segment brought nothing, and was answered at `touched`.
pub const CHALLENGED: u8 = 0x40;

/// The service has closed, and the FIN waits for a flight.
pub const CLOSE_DUE: u8 = 0x80;

impl Conn {
    /// An unused record.
    pub const FREE: Conn = Conn {
        remote_addr: Address([0; 16]),
        remote_port: 0,
        local_port: 0,
        path: 0,
        generation: 0,
        snd_una: SeqNumber(0),
        rcv_nxt: SeqNumber(0),
        flight: NONE,
        touched: Tick(0),
        links: Links::UNLINKED,
        snd_wnd: 0,
        mss: 0,
        state: State::Free,
        bits: UNSCALED,
        class: 0,
        attempts: 0,
        service: [0; 8],
    };

    /// The peer.
    pub fn remote(&self) -> Endpoint {
        Endpoint { addr: self.remote_addr, port: self.remote_port }
    }

    /// SND.WND in bytes, scaled (RFC 7323 section 2.2).
    pub fn window(&self) -> u32 {
        u32::from(self.snd_wnd) << self.wscale().unwrap_or(0)
    }

    /// The peer's window scale, 0 to 14, or `None` if its SYN had no such option.
    pub fn wscale(&self) -> Option<u8> {
        let shift = self.bits & 0x0f;
        (shift != UNSCALED).then_some(shift)
    }

    /// Sets the peer's window scale, at most 14, or `None` if its SYN had no such option.
    pub fn set_wscale(&mut self, shift: Option<u8>) {
        self.bits = self.bits & 0xf0 | shift.map_or(UNSCALED, |shift| shift.min(14));
    }

    /// The connection's place among those that are promoted, if it is one of them.
    #[inline]
    pub fn promoted(&self) -> Option<u32> {
        let is_promoted = self.flight != NONE && self.flight & PROMOTED != 0;
        is_promoted.then_some(self.flight & !PROMOTED)
    }

    /// Whether this host sent a SYN before the peer's came, and the handshake of that simultaneous
    /// open goes on (RFC 9293 section 3.5, figure 7).
    pub fn opens_simultaneously(&self) -> bool {
        self.state == State::SynReceived && self.has(OPENED_HERE)
    }

    /// Whether `flag` is set.
    pub fn has(&self, flag: u8) -> bool {
        self.bits & flag != 0
    }

    /// Sets `flag`.
    pub fn set(&mut self, flag: u8) {
        self.bits |= flag;
    }

    /// Clears `flag`.
    pub fn clear(&mut self, flag: u8) {
        self.bits &= !flag;
    }
}
