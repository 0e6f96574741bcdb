//! Segments for a record: SYN-RECEIVED and the synchronized states.
//!
//! [`judge`] is RFC 9293 section 3.10.7.4 with the changes of RFC 5961, as far as a record goes: it
//! takes segments that begin at or before RCV.NXT. What comes early only [`super::promoted`] keeps;
//! without it, it is not acknowledged, so the peer sends it again.

use crate::conn::record::{Conn, LINGERS, State};
use crate::drops::DropReason;
use crate::wire::packet::Segment;
use crate::wire::seq::SeqNumber;
use core::ops::Range;

/// What is to be done about a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It brings what the connection waits for.
    Accept(Accept),
    /// It is past what the connection waits for: only a promoted connection can keep it.
    Early(Accept),
    /// It brings nothing; answer with an ACK that says what is expected: a duplicate ACK, the answer
    /// to a keepalive probe, or a challenge ACK. [`super::challenge`] says how often.
    Acknowledge(DropReason),
    /// It brings nothing and gets no answer.
    Drop(DropReason),
    /// It answers our own SYN, of two that crossed: the connection is established, acknowledge it.
    Establish,
    /// The peer did not see the SYN-ACK: send it again.
    RepeatSynAck,
    /// The peer reset the connection.
    ResetByPeer,
    /// It acknowledges what was never sent, before the connection is established: send a reset.
    RefuseAck,
    /// It brings data that nobody will read: reset the connection.
    Abort,
    /// It opens a new connection in place of one in TIME-WAIT.
    Reopen,
}

/// The part of a segment that is news.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accept {
    /// The new SND.UNA; the old one if nothing new is acknowledged.
    pub ack: SeqNumber,
    /// The new window, as it stands in the header, or `None` if the segment may be older than what is
    /// known.
    pub window: Option<u16>,
    /// Where in the frame the new data is; it continues at RCV.NXT.
    pub payload: Range<u16>,
    /// Whether the FIN follows the data.
    pub fin: bool,
    /// Whether the segment takes sequence numbers, so that it must be acknowledged.
    pub ack_due: bool,
}

/// Decides about `segment` for `conn`, whose next byte to send is `snd_nxt` and which advertises
/// `rcv_wnd` bytes.
#[inline]
pub fn judge(conn: &Conn, snd_nxt: SeqNumber, rcv_wnd: u16, segment: &Segment) -> Verdict {
    if conn.state == State::TimeWait
        && segment.flags.syn
        && !segment.flags.ack
        && segment.seq.after(conn.rcv_nxt)
    {
        // "it MAY accept a new SYN from the remote endpoint to reopen the connection directly from
        // the TIME-WAIT state (MAY-2)", if its number is larger than all of the old connection's.
        return Verdict::Reopen;
    }
    if conn.state == State::SynReceived
        && segment.flags.syn
        && !segment.flags.ack
        && segment.seq + 1 == conn.rcv_nxt
    {
        return Verdict::RepeatSynAck;
    }
    if conn.opens_simultaneously()
        && segment.flags.syn
        && segment.flags.ack
        && segment.seq + 1 == conn.rcv_nxt
    {
        // Section 3.5, figure 7: in a simultaneous open it is the peer's SYN again, now with its ACK.
        return match segment.ack == snd_nxt {
            true => Verdict::Establish,
            false => Verdict::RefuseAck,
        };
    }
    // First, check sequence number.
    if !is_acceptable(conn.rcv_nxt, rcv_wnd, segment) {
        return match segment.flags.rst {
            true => Verdict::Drop(DropReason::StrayReset),
            false => Verdict::Acknowledge(DropReason::OutOfWindow),
        };
    }
    // Second, check the RST bit. RFC 5961 section 3.2: only exactly RCV.NXT resets.
    if segment.flags.rst {
        return match segment.seq == conn.rcv_nxt {
            // RFC 1337 section 3: ignored in TIME-WAIT, else it would end that too early.
            true if conn.state == State::TimeWait => Verdict::Drop(DropReason::StrayReset),
            true => Verdict::ResetByPeer,
            false => Verdict::Acknowledge(DropReason::StrayReset),
        };
    }
    // Fourth, check the SYN bit. RFC 5961 section 4.2: a challenge ACK, whatever its number.
    if segment.flags.syn {
        return Verdict::Acknowledge(DropReason::Flags);
    }
    // Fifth, check the ACK field: "if the ACK bit is off, drop the segment".
    if !segment.flags.ack {
        return Verdict::Drop(DropReason::BadAck);
    }
    let newest = !segment.ack.before(conn.snd_una);
    if conn.state == State::SynReceived {
        // "If SND.UNA < SEG.ACK =< SND.NXT, then enter ESTABLISHED", else send a reset.
        if segment.ack != snd_nxt {
            return Verdict::RefuseAck;
        }
    } else if segment.ack.after(snd_nxt) {
        // "If the ACK acks something not yet sent, then send an ACK, drop the segment."
        return Verdict::Acknowledge(DropReason::BadAck);
    } else if !newest && conn.snd_una.since(segment.ack) > conn.window().max(MAX_WINDOW_UNSCALED) {
        // RFC 5961 section 5.2: SND.UNA - MAX.SND.WND <= SEG.ACK.
        return Verdict::Acknowledge(DropReason::BadAck);
    }
    take(conn, rcv_wnd, segment, newest)
}

/// The least that MAX.SND.WND is taken for; the record does not keep the largest window ever seen.
const MAX_WINDOW_UNSCALED: u32 = 65_535;

/// RFC 9293 section 3.10.7.4, table 6: whether any of the segment is in the receive window.
#[inline]
fn is_acceptable(rcv_nxt: SeqNumber, rcv_wnd: u16, segment: &Segment) -> bool {
    let window = u32::from(rcv_wnd);
    match segment.len() {
        // Deviation: the table leaves out the first number past the window, in which a peer acknowledges
        // that has all of the window in flight. Linux takes that, too: what it acknowledges counts, and
        // that it lives. If the window is closed, it is the number after a probe: "special allowance
        // should be made to accept valid ACKs".
        0 if !segment.flags.rst => segment.seq.within(rcv_nxt, (window + 1).max(2)),
        0 => segment.seq == rcv_nxt || segment.seq.within(rcv_nxt, window),
        // A probe of a closed window brings an ACK, too.
        _ if window == 0 && segment.seq == rcv_nxt => true,
        // Deviation: the table also tests the segment's last byte for lying in the window. A segment
        // that starts before RCV.NXT and ends past it is news too, however far it reaches.
        len => {
            segment.seq.within(rcv_nxt, window)
                || (segment.seq.before(rcv_nxt) && (segment.seq + len).after(rcv_nxt))
        }
    }
}

/// Whether the window of an acceptable segment is to be believed.
///
/// Deviation: "If (SND.WL1 < SEG.SEQ or (SND.WL1 = SEG.SEQ and SND.WL2 =< SEG.ACK)), set SND.WND".
/// The record has room for neither. What acknowledges something new is newer than all that did not.
/// Else a segment that starts before RCV.NXT may be an old one; it is believed if its window is the
/// wider one, since receivers SHOULD NOT shrink theirs (SHLD-14). What remains is that an update
/// that overtakes data is forgotten when the data comes, until the peer's next segment.
fn updates_window(conn: &Conn, segment: &Segment) -> bool {
    if segment.ack != conn.snd_una {
        return segment.ack.after(conn.snd_una);
    }
    !segment.seq.before(conn.rcv_nxt) || segment.window > conn.snd_wnd
}

/// Sixth to eighth: the part of an acceptable segment that can be taken.
fn take(conn: &Conn, rcv_wnd: u16, segment: &Segment, newest: bool) -> Verdict {
    let mut accept = Accept {
        ack: if newest { segment.ack } else { conn.snd_una },
        window: updates_window(conn, segment).then_some(segment.window),
        payload: segment.payload.start..segment.payload.start,
        fin: false,
        ack_due: !segment.is_empty(),
    };
    if segment.is_empty() {
        return Verdict::Accept(accept);
    }
    if !conn.state.can_receive() && conn.state != State::SynReceived {
        // "This should not occur since a FIN has been received from the remote side."
        return Verdict::Acknowledge(DropReason::OutOfWindow);
    }
    if segment.seq.after(conn.rcv_nxt) {
        return Verdict::Early(accept);
    }
    // The first `had` numbers were received before, and nothing is taken past the window.
    let had = conn.rcv_nxt.since(segment.seq).min(segment.payload_len());
    let fits = (segment.payload_len() - had).min(u32::from(rcv_wnd));
    #[expect(clippy::cast_possible_truncation, reason = "both are at most the payload's length")]
    let (start, len) = (segment.payload.start + had as u16, fits as u16);
    accept.payload = start..start + len;
    accept.fin = segment.flags.fin && accept.payload.end == segment.payload.end;
    let is_closed = matches!(conn.state, State::FinWait1 | State::FinWait2);
    if len > 0 && is_closed && !conn.has(LINGERS) {
        // RFC 1122 section 4.2.2.13: the service has closed and will not read; a reset says so.
        return Verdict::Abort;
    }
    Verdict::Accept(accept)
}

#[cfg(test)]
#[path = "parked_tests.rs"]
mod tests;
