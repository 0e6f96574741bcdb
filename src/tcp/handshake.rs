//! Opening: what a SYN says about its sender, and segments in SYN-SENT.

use super::reset::{self, Reset};
use crate::conn::record::{Conn, SACK_PERMITTED};
use crate::drops::DropReason;
use crate::wire::addr::Address;
use crate::wire::packet::Segment;

/// The largest payload that fits an Ethernet frame of `mtu` bytes to `addr`, without options
/// (RFC 9293 section 3.7.1).
pub fn mss_of_mtu(mtu: u16, addr: &Address) -> u16 {
    mtu.saturating_sub(if addr.is_v4() { 40 } else { 60 })
}

/// The smallest MSS believed: with less, headers outweigh data so much that announcing it is an
/// attack (CVE-2019-11479). Linux's floor is 48 bytes of MSS with 40 of options.
pub(super) const MSS_MIN: u16 = 48;

/// The largest payload to send to `remote` in one segment, in bytes, when its SYN said `offered` and
/// `mss_max` fit the link.
///
/// RFC 9293 section 3.7.1: without an MSS option the peer takes 536 bytes over IPv4 and 1220 over
/// IPv6.
pub fn peer_mss(offered: Option<u16>, remote: &Address, mss_max: u16) -> u16 {
    let default = if remote.is_v4() { 536 } else { 1220 };
    offered.unwrap_or(default).clamp(MSS_MIN, mss_max.max(MSS_MIN))
}

/// Takes over what the peer's SYN says: sequence number, window, and options.
///
/// RFC 7323 section 2.2: the window of a SYN itself is never scaled, and both sides must send
/// the option for either to scale; ours is always sent when the peer's was, with a shift of 0.
pub fn learn(conn: &mut Conn, segment: &Segment, mss_max: u16) {
    conn.mss = peer_mss(segment.options.mss, &conn.remote_addr, mss_max);
    conn.rcv_nxt = segment.seq + 1;
    conn.set_wscale(segment.options.wscale);
    if segment.options.sack_permitted {
        conn.set(SACK_PERMITTED);
    }
    // Kept as all windows are, in units of the scale.
    conn.snd_wnd = segment.window >> conn.wscale().unwrap_or(0);
}

/// What a segment does to a connection in SYN-SENT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SynSent {
    /// The peer accepts: the connection is established, acknowledge it.
    Established,
    /// The peer opens this very connection at the same moment: answer its SYN too.
    Simultaneous,
    /// The peer refuses.
    Refused,
    /// An old connection of the peer answers: reset it, and keep trying.
    Reset(Reset),
    /// Nothing.
    Drop(DropReason),
}

/// RFC 9293 section 3.10.7.3.
pub fn in_syn_sent(conn: &Conn, segment: &Segment) -> SynSent {
    // "If SEG.ACK =< ISS or SEG.ACK > SND.NXT, send a reset (unless the RST bit is set)".
    let acceptable = segment.flags.ack && segment.ack == conn.snd_una + 1;
    if segment.flags.ack && !acceptable {
        return match reset::answer(segment) {
            Some(reset) => SynSent::Reset(reset),
            None => SynSent::Drop(DropReason::StrayReset),
        };
    }
    if segment.flags.rst {
        // "If the ACK was acceptable, then signal to the user «error: connection reset»."
        return if acceptable { SynSent::Refused } else { SynSent::Drop(DropReason::StrayReset) };
    }
    if segment.flags.syn && acceptable {
        return SynSent::Established;
    }
    if segment.flags.syn && !segment.flags.ack {
        // "Otherwise, enter SYN-RECEIVED, form a SYN,ACK segment <SEQ=ISS><ACK=RCV.NXT><CTL=SYN,ACK>
        // and send it": section 3.5, figure 7.
        return SynSent::Simultaneous;
    }
    SynSent::Drop(DropReason::BadAck)
}

#[cfg(test)]
#[path = "handshake_tests.rs"]
mod tests;
