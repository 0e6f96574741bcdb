//! How often a connection answers segments that bring nothing.
//!
//! RFC 9293 answers whatever is not acceptable with an ACK. Two hosts that disagree about sequence
//! numbers, because someone put a byte into the middle of their connection, then answer each other's
//! answers for ever: an ACK storm. RFC 5961 section 7 asks for a limit on challenge ACKs. Ours counts
//! for each connection by itself: what one limit grants to all would tell an attacker about
//! connections of others (CVE-2016-5696). The engine has another for all of them together, far above
//! what one connection gets, whose number nobody can count (docs/decisions/0010).
//!
//! Every one of these ACKs says the same, so one that is left out is made up for by the last.

use crate::conn::record::{CHALLENGED, CLOSE_DUE, Conn, State};
use crate::drops::DropReason;
use crate::time::{Duration, Tick};
use crate::wire::packet::Segment;

/// The time between two answers, as Linux has it (`tcp_invalid_ratelimit`). Keepalive probes come
/// a second apart or more.
const INTERVAL: Duration = Duration::from_millis(500);

/// How many answers FIN-WAIT-2 gives in the minute that it lasts: its clock is taken.
const FIN_WAIT_2_MAX: u8 = 32;

/// Whether `segment`, which brings nothing to `conn` for `reason`, is to be answered at `now`; it
/// counts as answered then.
#[inline]
pub fn is_due(conn: &mut Conn, segment: &Segment, reason: DropReason, now: Tick) -> bool {
    if conn.state.can_send() && is_probe(conn, segment) {
        hear(conn, now);
    }
    // Answers carry neither, so nothing can go round.
    let brings = segment.payload_len() > 0 || segment.flags.fin;
    if brings && !is_challenge(segment, reason) {
        // A sender counts the duplicate ACKs.
        return true;
    }
    match conn.state {
        // The timers of both sides repeat what the other may have missed: an ACK by itself asks for
        // nothing. Who sends a SYN or a reset does not answer an ACK with an ACK.
        State::SynReceived | State::TimeWait => brings || segment.flags.syn || segment.flags.rst,
        _ if conn.has(CLOSE_DUE) => brings || segment.flags.syn || segment.flags.rst,
        State::FinWait2 => {
            conn.attempts = conn.attempts.saturating_add(1);
            conn.attempts <= FIN_WAIT_2_MAX
        }
        // The peer is being probed: `touched` times that, and what anybody could have sent is no sign
        // of life. One answer between two probes.
        _ if conn.attempts > 0 => {
            let is_first = !conn.has(CHALLENGED);
            conn.set(CHALLENGED);
            is_first
        }
        _ => take_turn(conn, now),
    }
}

/// Whether an empty keepalive probe, sent to `conn` while this host has not closed its direction, is to be
/// answered at `now`, as [`is_due`] has it; it counts as answered then.
#[inline]
pub fn is_probe_due(conn: &mut Conn, now: Tick) -> bool {
    hear(conn, now);
    take_turn(conn, now)
}

/// The peer has sent a probe. If it is being probed, that shows that it is alive.
#[inline]
fn hear(conn: &mut Conn, now: Tick) {
    if conn.attempts > 0 {
        conn.attempts = 0;
        conn.touched = now;
        conn.clear(CHALLENGED);
    }
}

/// Whether the last answer was long enough ago for another one, which is given then.
#[inline]
fn take_turn(conn: &mut Conn, now: Tick) -> bool {
    if conn.has(CHALLENGED) && !now.reached(conn.touched.after(INTERVAL)) {
        return false;
    }
    conn.set(CHALLENGED);
    conn.touched = now;
    true
}

/// Whether the answer to `segment`, which brings nothing for `reason`, is a challenge ACK: to a SYN,
/// to a reset, or to an acknowledgment out of bounds (RFC 5961 sections 3.2, 4.2 and 5.2). Peers that
/// are well send none of those, while they wait for the answers to their probes, and to data that
/// they sent again.
pub fn is_challenge(segment: &Segment, reason: DropReason) -> bool {
    segment.flags.syn || segment.flags.rst || reason == DropReason::BadAck
}

/// Whether `segment` is a keepalive probe: it tells what the peer was last told, and only the peer
/// knows both numbers (RFC 9293 section 3.8.4).
pub fn is_probe(conn: &Conn, segment: &Segment) -> bool {
    let is_bare = !(segment.flags.syn || segment.flags.rst || segment.flags.fin);
    is_bare && segment.flags.ack && segment.seq + 1 == conn.rcv_nxt && segment.ack == conn.snd_una
}
