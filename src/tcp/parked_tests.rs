//! Every state against every kind of segment.
//!
//! The connection under test expects byte 1000 with a window of 100, and has bytes 5000..5010 in
//! flight: SND.UNA is 5000, SND.NXT is 5010.

use super::*;
use crate::conn::record::State::*;
use crate::wire::addr::{Endpoint, FlowKey};
use crate::wire::packet::{Flags, SynOptions};
use proptest::prelude::{any, prop_oneof};

const RCV_NXT: u32 = 1000;
const RCV_WND: u16 = 100;
const SND_UNA: u32 = 5000;
const SND_NXT: u32 = 5010;

/// Where payloads start in their frames.
const AT: u16 = 54;

const SYNCHRONIZED: [State; 7] =
    [Established, FinWait1, FinWait2, CloseWait, Closing, LastAck, TimeWait];

const NO_FLAGS: Flags = Flags { fin: false, syn: false, rst: false, ack: false };
const ACK: Flags = Flags { ack: true, ..NO_FLAGS };
const FIN: Flags = Flags { fin: true, ..ACK };
const SYN: Flags = Flags { syn: true, ..NO_FLAGS };
const SYN_ACK: Flags = Flags { syn: true, ..ACK };
const RST: Flags = Flags { rst: true, ..NO_FLAGS };

fn conn(state: State) -> Conn {
    Conn {
        state,
        rcv_nxt: SeqNumber(RCV_NXT),
        snd_una: SeqNumber(SND_UNA),
        snd_wnd: 1000,
        mss: 1460,
        ..Conn::FREE
    }
}

/// A segment that starts `offset` bytes after RCV.NXT, holds `len` bytes, and acknowledges nothing
/// new.
fn segment(flags: Flags, offset: i32, len: u16) -> Segment {
    let endpoint = Endpoint::default();
    Segment {
        flow: FlowKey { remote: endpoint, local: endpoint },
        seq: SeqNumber(RCV_NXT.wrapping_add_signed(offset)),
        ack: SeqNumber(SND_UNA),
        flags,
        window: 700,
        options: SynOptions::default(),
        payload: AT..AT + len,
    }
}

fn acking(ack: u32, segment: Segment) -> Segment {
    Segment { ack: SeqNumber(ack), ..segment }
}

#[test]
fn a_closed_window_takes_acknowledgments_and_nothing_else() {
    let closed = |segment: &Segment| judge(&conn(Established), SeqNumber(SND_NXT), 0, segment);
    let is_acked = |verdict: Verdict| match verdict {
        Verdict::Accept(accept) => {
            assert!(accept.payload.is_empty(), "{accept:?}");
            accept.ack == SeqNumber(SND_NXT)
        }
        _ => false,
    };
    // A bare ACK, a probe, and the ACK of who has probed.
    for (offset, len) in [(0, 0), (0, 1), (0, 50), (1, 0)] {
        assert!(is_acked(closed(&acking(SND_NXT, segment(ACK, offset, len)))), "{offset} {len}");
    }
    for (offset, len) in [(-1, 0), (-1, 1), (1, 1), (2, 0)] {
        let verdict = closed(&acking(SND_NXT, segment(ACK, offset, len)));
        assert_eq!(verdict, Verdict::Acknowledge(DropReason::OutOfWindow), "{offset} {len}");
    }
    let past = judge(&conn(Established), SeqNumber(SND_NXT), 0, &segment(RST, 1, 0));
    assert_eq!(past, Verdict::Drop(DropReason::StrayReset), "only RCV.NXT resets");
}

fn verdict(state: State, segment: &Segment) -> Verdict {
    judge(&conn(state), SeqNumber(SND_NXT), RCV_WND, segment)
}

/// The verdict that takes `payload` (counted from the start of the segment's), and perhaps the FIN.
/// The window of a segment of which some was had before may be old: it is narrower than the one known.
fn takes(payload: Range<u16>, fin: bool) -> Verdict {
    Verdict::Accept(Accept {
        ack: SeqNumber(SND_UNA),
        window: (payload.start == 0).then_some(700),
        payload: AT + payload.start..AT + payload.end,
        fin,
        ack_due: true,
    })
}

fn is_news(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Accept(accept) if !accept.payload.is_empty() || accept.fin)
}

#[test]
fn data_is_taken_from_the_next_expected_byte_to_the_end_of_the_window() {
    let cases = [
        // (offset, length, what is taken of it)
        (0, 1, 0..1),
        (0, 100, 0..100),
        (0, 101, 0..100),
        (0, 1000, 0..100),
        (-1, 2, 1..2),
        (-50, 60, 50..60),
        (-50, 150, 50..150),
        (-50, 151, 50..150),
        (-50, 1000, 50..150),
    ];
    for (offset, len, taken) in cases {
        let verdict = verdict(Established, &segment(ACK, offset, len));
        assert_eq!(verdict, takes(taken, false), "{len} bytes at {offset}");
    }
}

#[test]
fn data_had_before_is_acknowledged_again_and_not_taken() {
    for state in SYNCHRONIZED {
        for (offset, len) in [(-1, 1), (-10, 10), (-10, 5), (-1000, 100)] {
            for flags in [ACK, Flags { ack: false, ..ACK }] {
                let verdict = verdict(state, &segment(flags, offset, len));
                let expected = Verdict::Acknowledge(DropReason::OutOfWindow);
                assert_eq!(verdict, expected, "{state:?}: {len} bytes at {offset}");
            }
        }
    }
}

#[test]
fn early_data_is_not_taken_but_what_it_acknowledges_counts() {
    for offset in [1, 50, 99] {
        let early = segment(ACK, offset, 10);
        let Verdict::Early(accept) = verdict(Established, &acking(SND_NXT, early)) else {
            panic!("early");
        };
        assert_eq!((accept.ack, accept.payload.len()), (SeqNumber(SND_NXT), 0));
        assert!(accept.ack_due && !accept.fin, "a duplicate ACK is due");
    }
    for state in [FinWait1, FinWait2] {
        let early = verdict(state, &segment(ACK, 1, 10));
        assert!(matches!(early, Verdict::Early(_)), "{state:?}");
    }
}

#[test]
fn nothing_past_the_window_is_taken() {
    for state in SYNCHRONIZED {
        for (offset, len) in [(101, 0), (100, 1), (5000, 10), (i32::MAX, 0), (i32::MIN, 1)] {
            let past = verdict(state, &segment(ACK, offset, len));
            let expected = Verdict::Acknowledge(DropReason::OutOfWindow);
            assert_eq!(past, expected, "{state:?}: {len} bytes at {offset}");
        }
    }
}

#[test]
fn a_peer_with_all_of_the_window_in_flight_is_heard() {
    // Its first segment was lost, and what it acknowledges now would be lost, too, time and again.
    for state in [Established, FinWait1, FinWait2] {
        let heard = verdict(state, &acking(SND_NXT, segment(ACK, i32::from(RCV_WND), 0)));
        assert!(matches!(heard, Verdict::Accept(accept) if accept.ack == SeqNumber(SND_NXT)));
        let reset = verdict(state, &segment(RST, i32::from(RCV_WND), 0));
        assert_eq!(reset, Verdict::Drop(DropReason::StrayReset));
    }
}

#[test]
fn keepalive_probes_of_both_kinds_are_answered_in_every_state() {
    for state in SYNCHRONIZED {
        for len in [0, 1] {
            let probe = verdict(state, &segment(ACK, -1, len));
            assert_eq!(probe, Verdict::Acknowledge(DropReason::OutOfWindow), "{state:?} {len}");
        }
    }
}

#[test]
fn only_the_exact_reset_resets() {
    for state in SYNCHRONIZED.into_iter().chain([SynReceived]) {
        for flags in [RST, Flags { ack: true, ..RST }] {
            let exact = match state {
                // RFC 1337.
                TimeWait => Verdict::Drop(DropReason::StrayReset),
                _ => Verdict::ResetByPeer,
            };
            assert_eq!(verdict(state, &segment(flags, 0, 0)), exact, "{state:?}");
            for offset in [1, 99] {
                let inside = verdict(state, &segment(flags, offset, 0));
                let expected = Verdict::Acknowledge(DropReason::StrayReset);
                assert_eq!(inside, expected, "{state:?}: RFC 5961 section 3.2");
            }
            for offset in [-1, 100, i32::MAX, i32::MIN] {
                let outside = verdict(state, &segment(flags, offset, 0));
                assert_eq!(outside, Verdict::Drop(DropReason::StrayReset), "{state:?} {offset}");
            }
        }
    }
}

#[test]
fn a_syn_is_never_believed_once_synchronized() {
    for state in [Established, FinWait1, FinWait2, CloseWait, Closing, LastAck] {
        for flags in [SYN, SYN_ACK] {
            for offset in [-1000, -1, 0, 1, 99, 100, i32::MAX] {
                let verdict = verdict(state, &segment(flags, offset, 0));
                assert!(
                    matches!(verdict, Verdict::Acknowledge(_)),
                    "{state:?} at {offset}: {verdict:?}, not a challenge (RFC 5961 section 4.2)"
                );
            }
        }
    }
}

#[test]
fn time_wait_reopens_for_a_higher_syn_only() {
    for offset in [1, 1000, i32::MAX] {
        assert_eq!(verdict(TimeWait, &segment(SYN, offset, 0)), Verdict::Reopen, "{offset}");
        let challenged = verdict(TimeWait, &segment(SYN_ACK, offset, 0));
        assert!(matches!(challenged, Verdict::Acknowledge(_)), "{offset}: {challenged:?}");
    }
    for offset in [0, -1, -1000, i32::MIN + 1] {
        let old = verdict(TimeWait, &segment(SYN, offset, 0));
        assert!(matches!(old, Verdict::Acknowledge(_)), "{offset}: {old:?}");
    }
}

#[test]
fn without_an_ack_nothing_is_taken() {
    for state in SYNCHRONIZED.into_iter().chain([SynReceived]) {
        for len in [0, 10] {
            let verdict = verdict(state, &segment(NO_FLAGS, 0, len));
            assert_eq!(verdict, Verdict::Drop(DropReason::BadAck), "{state:?}");
        }
    }
}

#[test]
fn acknowledgments_count_from_snd_una_to_snd_nxt() {
    for state in SYNCHRONIZED {
        for ack in [SND_UNA, SND_UNA + 1, SND_NXT] {
            let Verdict::Accept(accept) = verdict(state, &acking(ack, segment(ACK, 0, 0))) else {
                panic!("{state:?}: {ack} is acceptable");
            };
            assert_eq!((accept.ack, accept.window), (SeqNumber(ack), Some(700)), "{state:?}");
            assert!(!accept.ack_due, "an empty segment gets no answer");
        }
        for unsent in [SND_NXT + 1, SND_NXT + 70_000, SND_NXT + (1 << 31) - 1] {
            for len in [0, 10] {
                let verdict = verdict(state, &acking(unsent, segment(ACK, 0, len)));
                assert_eq!(verdict, Verdict::Acknowledge(DropReason::BadAck), "{state:?}");
            }
        }
    }
}

#[test]
fn a_window_is_taken_from_what_cannot_be_older() {
    // The window known is 1000.
    let cases = [
        // (acknowledged, offset, length, window, whether it is taken)
        (1, 0, 0, 700, true),
        (1, 0, 10, 0, true),
        (1, -5, 10, 0, true),
        (1, 50, 10, 0, true),
        (0, 0, 0, 0, true),
        (0, 0, 10, 700, true),
        (0, 50, 0, 700, true),
        (0, -5, 10, 700, false),
        (0, -5, 10, 1000, false),
        (0, -5, 10, 1001, true),
        (u32::MAX, 0, 0, 2000, false),
        (u32::MAX, 0, 10, 2000, false),
    ];
    for (acked, offset, len, window, taken) in cases {
        let segment = Segment { window, ..segment(ACK, offset, len) };
        let segment = acking(SND_UNA.wrapping_add(acked), segment);
        let (Verdict::Accept(accept) | Verdict::Early(accept)) = verdict(Established, &segment)
        else {
            panic!("{segment:?} is acceptable");
        };
        assert_eq!(accept.window, taken.then_some(window), "{segment:?}");
    }
}

#[test]
fn an_old_acknowledgment_changes_nothing_and_a_too_old_one_is_challenged() {
    for state in SYNCHRONIZED {
        for age in [1, 1000, 65_535] {
            let old = acking(SND_UNA.wrapping_sub(age), segment(ACK, 0, 0));
            let Verdict::Accept(accept) = verdict(state, &old) else {
                panic!("{state:?}: an ACK that is {age} old is ignored, not refused");
            };
            assert_eq!((accept.ack, accept.window), (SeqNumber(SND_UNA), None), "{state:?}");
        }
        for age in [65_536, 1 << 20, 1 << 31] {
            let too_old = acking(SND_UNA.wrapping_sub(age), segment(ACK, 0, 10));
            let expected = Verdict::Acknowledge(DropReason::BadAck);
            assert_eq!(verdict(state, &too_old), expected, "{state:?} {age}: RFC 5961 section 5.2");
        }
    }
}

#[test]
fn a_large_window_makes_older_acknowledgments_plausible() {
    let mut conn = conn(Established);
    conn.set_wscale(Some(7));
    let old = |age| acking(SND_UNA.wrapping_sub(age), segment(ACK, 0, 0));
    let judged = |age| judge(&conn, SeqNumber(SND_NXT), RCV_WND, &old(age));
    assert!(matches!(judged(1000 << 7), Verdict::Accept(_)));
    assert_eq!(judged((1000 << 7) + 1), Verdict::Acknowledge(DropReason::BadAck));
}

#[test]
fn a_fin_is_taken_right_after_the_last_byte() {
    for state in [Established, FinWait1, FinWait2] {
        assert_eq!(verdict(state, &segment(FIN, 0, 0)), takes(0..0, true), "{state:?}");
        assert_eq!(verdict(state, &segment(FIN, -10, 10)), takes(10..10, true), "{state:?}");
    }
    assert_eq!(verdict(Established, &segment(FIN, 0, 10)), takes(0..10, true));
    assert_eq!(verdict(Established, &segment(FIN, -5, 10)), takes(5..10, true));
    assert_eq!(verdict(Established, &segment(FIN, 0, 100)), takes(0..100, true));
    let cut = verdict(Established, &segment(FIN, 0, 101));
    assert_eq!(cut, takes(0..100, false), "the window cuts the last byte off, and the FIN");
}

#[test]
fn a_fin_that_comes_early_or_again_is_not_taken() {
    let early = verdict(Established, &segment(FIN, 1, 0));
    assert!(matches!(early, Verdict::Early(Accept { fin: false, .. })));
    for state in [CloseWait, Closing, LastAck, TimeWait] {
        let again = verdict(state, &segment(FIN, -1, 0));
        assert_eq!(again, Verdict::Acknowledge(DropReason::OutOfWindow), "{state:?}");
        let another = verdict(state, &segment(FIN, 0, 0));
        assert_eq!(another, Verdict::Acknowledge(DropReason::OutOfWindow), "{state:?}");
    }
}

#[test]
fn data_after_the_service_closed_aborts() {
    for state in [FinWait1, FinWait2] {
        for (offset, len) in [(0, 1), (0, 500), (-5, 10)] {
            let verdict = verdict(state, &segment(ACK, offset, len));
            assert_eq!(verdict, Verdict::Abort, "{state:?}: RFC 1122 section 4.2.2.13");
        }
        let again = verdict(state, &segment(ACK, -10, 10));
        assert_eq!(again, Verdict::Acknowledge(DropReason::OutOfWindow), "had before the close");
    }
}

#[test]
fn data_after_the_peers_fin_is_not_taken() {
    for state in [CloseWait, Closing, LastAck, TimeWait] {
        let verdict = verdict(state, &segment(ACK, 0, 10));
        assert_eq!(verdict, Verdict::Acknowledge(DropReason::OutOfWindow), "{state:?}");
    }
}

#[test]
fn the_handshake_completes_with_the_exact_acknowledgment() {
    let in_handshake =
        |segment: &Segment| judge(&conn(SynReceived), SeqNumber(SND_UNA + 1), RCV_WND, segment);
    let accepted = |verdict| match verdict {
        Verdict::Accept(accept) => accept,
        other => panic!("{other:?}"),
    };
    let bare = accepted(in_handshake(&acking(SND_UNA + 1, segment(ACK, 0, 0))));
    assert_eq!((bare.ack, bare.window), (SeqNumber(SND_UNA + 1), Some(700)));
    let data = accepted(in_handshake(&acking(SND_UNA + 1, segment(FIN, 0, 10))));
    assert_eq!((data.payload.len(), data.fin, data.ack_due), (10, true, true));
    for ack in [SND_UNA, SND_UNA + 2, SND_UNA.wrapping_sub(1), 0] {
        let verdict = in_handshake(&acking(ack, segment(ACK, 0, 10)));
        assert_eq!(verdict, Verdict::RefuseAck, "{ack}");
    }
    assert_eq!(in_handshake(&segment(SYN, -1, 0)), Verdict::RepeatSynAck);
    for offset in [-2, 0, 1, 500] {
        let other = in_handshake(&segment(SYN, offset, 0));
        assert!(matches!(other, Verdict::Acknowledge(_)), "{offset}: {other:?}");
    }
    let outside = in_handshake(&acking(SND_UNA + 1, segment(ACK, 101, 0)));
    assert_eq!(outside, Verdict::Acknowledge(DropReason::OutOfWindow));
}

#[test]
fn sequence_numbers_wrap_in_the_middle_of_everything() {
    for start in [u32::MAX, u32::MAX - 4, u32::MAX - 99, 0, 1 << 31] {
        let conn =
            Conn { rcv_nxt: SeqNumber(start), snd_una: SeqNumber(start), ..conn(Established) };
        let overlapping = Segment {
            seq: SeqNumber(start) - 5,
            ack: SeqNumber(start) + 10,
            ..segment(FIN, 0, 10)
        };
        let verdict = judge(&conn, SeqNumber(start) + 10, RCV_WND, &overlapping);
        let Verdict::Accept(accept) = verdict else { panic!("{start}: {verdict:?}") };
        assert_eq!((accept.ack, accept.payload.len(), accept.fin), (conn.snd_una + 10, 5, true));
    }
}

proptest::proptest! {
    /// Whatever a segment claims: what is taken lies inside its payload, starts at RCV.NXT and fits
    /// the window; and no bare segment of the wrong kind is taken as news.
    #[test]
    fn nothing_is_taken_from_outside_the_segment_or_the_window(
        bits in 0u8..16,
        state in 0usize..8,
        offset in prop_oneof![-200i32..200, any::<i32>()],
        len in 0u16..300,
        ack in prop_oneof![SND_UNA - 5..SND_NXT + 5, any::<u32>()],
        window in 0u16..200,
    ) {
        let state = SYNCHRONIZED.into_iter().chain([SynReceived]).nth(state).unwrap();
        let flags = Flags {
            fin: bits & 1 != 0,
            syn: bits & 2 != 0,
            rst: bits & 4 != 0,
            ack: bits & 8 != 0,
        };
        let segment = acking(ack, segment(flags, offset, len));
        let conn = conn(state);
        let verdict = judge(&conn, SeqNumber(SND_NXT), window, &segment);
        if let Verdict::Accept(accept) = &verdict {
            assert!(flags.ack && !flags.rst && !flags.syn);
            assert!(accept.payload.start <= accept.payload.end);
            assert!(accept.payload.start >= AT && accept.payload.end <= AT + len);
            assert!(accept.payload.len() <= usize::from(window));
            assert!(!accept.ack.before(conn.snd_una) && !accept.ack.after(SeqNumber(SND_NXT)));
            if !accept.payload.is_empty() {
                let first = segment.seq + u32::from(accept.payload.start - AT);
                assert_eq!(first, conn.rcv_nxt);
            }
            if accept.fin {
                assert!(flags.fin && accept.payload.end == AT + len);
                let taken = u32::from(accept.payload.end - accept.payload.start);
                assert_eq!(segment.seq + u32::from(len) - taken, conn.rcv_nxt);
            }
        }
        if !state.can_receive() && state != SynReceived {
            assert!(!is_news(&verdict));
        }
    }
}
