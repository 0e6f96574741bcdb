//! What an ICMP error means for a connection (RFC 9293 section 3.9.2.2, RFC 5927).

use super::CloseReason;
use super::handshake::mss_of_mtu;
use crate::conn::record::{Conn, State};
use crate::drops::DropReason;
use crate::wire::icmp_error::{ErrorKind, IcmpError};
use crate::wire::seq::SeqNumber;

/// What is to be done about an error message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send segments of at most so many bytes of payload from now on, and what is in flight again.
    LowerMss(u16),
    /// The connection cannot be opened.
    Close(CloseReason),
    /// Nothing.
    Drop(DropReason),
}

/// The smallest MTU believed over IPv4, in bytes, as Linux has it (`min_pmtu`): with less, anybody who
/// guesses a number in flight could make every byte cost a packet (RFC 5927 section 7).
const IPV4_MTU_MIN: u16 = 552;

/// The MTU that every IPv6 link has, in bytes (RFC 8200 section 5).
const IPV6_MTU_MIN: u16 = 1280;

/// What is taken for the MTU when a router older than RFC 1191 says none, in bytes: what every IPv4
/// host accepts. RFC 1191 section 5 allows it in place of trying plateaus.
const IPV4_MTU_UNTOLD: u16 = 576;

/// Decides about `error` for `conn`, whose next byte to send is `snd_nxt`.
pub fn judge(conn: &Conn, snd_nxt: SeqNumber, error: &IcmpError) -> Effect {
    // RFC 5927 section 4.1: "SND.UNA =< SEG.SEQ < SND.NXT", or whoever cannot see the segments may
    // have made the message up. So an idle connection believes none.
    if !error.seq.within(conn.snd_una, snd_nxt.since(conn.snd_una)) {
        return Effect::Drop(DropReason::IcmpSequence);
    }
    match error.kind {
        ErrorKind::TooBig { mtu } => {
            let mss = mss_of_mtu(believed(mtu, conn.remote_addr.is_v4()), &conn.remote_addr);
            match mss < conn.mss {
                true => Effect::LowerMss(mss),
                // RFC 8201 section 4: an estimate is never raised by such a message.
                false => Effect::Drop(DropReason::ControlIgnored),
            }
        }
        // RFC 1122 section 4.2.3.9: hard errors SHOULD abort the connection.
        // Deviation: RFC 5927 section 5.2 does so before the connection is synchronized only; a
        // peer that answered once is there, and what became of it the timers find out.
        ErrorKind::Refused if conn.state == State::SynSent => Effect::Close(CloseReason::Refused),
        ErrorKind::Prohibited if conn.state == State::SynSent => {
            Effect::Close(CloseReason::Unreachable)
        }
        // RFC 9293 section 3.9.2.2: for soft errors "a TCP implementation MUST NOT abort the
        // connection (MUST-56)".
        ErrorKind::Refused | ErrorKind::Prohibited | ErrorKind::Soft => {
            Effect::Drop(DropReason::ControlIgnored)
        }
    }
}

/// The MTU that is assumed after a message says `mtu`, in bytes.
fn believed(mtu: u32, v4: bool) -> u16 {
    let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
    match (v4, mtu) {
        (true, 0) => IPV4_MTU_UNTOLD,
        (true, _) => mtu.max(IPV4_MTU_MIN),
        (false, _) => mtu.max(IPV6_MTU_MIN),
    }
}
