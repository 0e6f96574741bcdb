//! Any segment for a record in any state, held against the words of RFC 9293 and RFC 5961.

use super::bytes::Bytes;
use tenmil::conn::flight::FLIGHT_LEN_MAX;
use tenmil::conn::record::{CLOSE_DUE, Conn, State};
use tenmil::tcp::challenge;
use tenmil::tcp::handshake::{self, SynSent};
use tenmil::tcp::icmp::{self, Effect};
use tenmil::tcp::parked::{self, Accept, Verdict};
use tenmil::time::Tick;
use tenmil::wire::addr::{Address, Endpoint, FlowKey};
use tenmil::wire::icmp_error::{ErrorKind, IcmpError};
use tenmil::wire::packet::{Flags, Segment, SynOptions};
use tenmil::wire::seq::SeqNumber;

const STATES: [State; 9] = [
    State::SynSent,
    State::SynReceived,
    State::Established,
    State::FinWait1,
    State::FinWait2,
    State::CloseWait,
    State::Closing,
    State::LastAck,
    State::TimeWait,
];

/// Where payloads start in their frames.
const PAYLOAD_AT: u16 = 54;

/// A record, what follows from it, and what comes in.
#[derive(Clone)]
struct Case {
    conn: Conn,
    snd_nxt: SeqNumber,
    rcv_wnd: u16,
    segment: Segment,
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let mut input = Bytes(data);
    let case = case(&mut input);
    if case.conn.state == State::SynSent {
        syn_sent(&case);
    } else {
        judge(&case);
        answers(&case, Tick(input.u32()));
    }
    icmp(&case, &mut input);
}

fn case(input: &mut Bytes<'_>) -> Case {
    let state = input.choose(&STATES);
    let mut conn = Conn {
        remote_addr: if input.bool() { Address::v4([10, 77, 0, 2]) } else { Address([0xfd; 16]) },
        snd_una: SeqNumber(input.u32()),
        rcv_nxt: SeqNumber(input.u32()),
        touched: Tick(input.u32()),
        snd_wnd: input.u16(),
        mss: input.u16(),
        attempts: input.u8(),
        bits: input.u8(),
        state,
        ..Conn::FREE
    };
    conn.set_wscale(conn.wscale());
    let in_flight = u32::from(input.u16()) % (u32::from(FLIGHT_LEN_MAX) + 2);
    // Before the connection is established, the SYN is all that is out.
    let before = matches!(state, State::SynSent | State::SynReceived);
    let snd_nxt = conn.snd_una + if before { 1 } else { in_flight };
    let rcv_wnd = input.u16();
    let bits = input.u8();
    let syn = bits & 2 != 0;
    // The parser lets no SYN pass that is a FIN or a reset too.
    let flags =
        Flags { syn, fin: bits & 1 != 0 && !syn, rst: bits & 4 != 0 && !syn, ack: bits & 8 != 0 };
    let payload_len = input.u16() % 9_000;
    let segment = Segment {
        flow: FlowKey { remote: Endpoint::default(), local: Endpoint::default() },
        seq: near(conn.rcv_nxt, bits & 16 != 0, input),
        ack: near(snd_nxt, bits & 32 != 0, input),
        flags,
        window: input.u16(),
        options: SynOptions::default(),
        payload: PAYLOAD_AT..PAYLOAD_AT + payload_len,
    };
    Case { conn, snd_nxt, rcv_wnd, segment }
}

/// Any number, or one not far from `base`.
fn near(base: SeqNumber, anywhere: bool, input: &mut Bytes<'_>) -> SeqNumber {
    match anywhere {
        true => SeqNumber(input.u32()),
        false => SeqNumber(base.0.wrapping_add_signed(i32::from(input.u16().cast_signed()))),
    }
}

/// How far `to` is past `from`, if it is not before it.
fn distance(from: SeqNumber, to: SeqNumber) -> i64 {
    i64::from(to.0.wrapping_sub(from.0).cast_signed())
}

/// RFC 9293 section 3.10.7.4.
fn judge(case: &Case) {
    let Case { conn, snd_nxt, rcv_wnd, segment } = case;
    let verdict = parked::judge(conn, *snd_nxt, *rcv_wnd, segment);
    let pairs = [(conn.rcv_nxt, segment.seq), (conn.snd_una, segment.ack), (*snd_nxt, segment.ack)];
    if pairs.iter().any(|(a, b)| a.since(*b) == 1 << 31) {
        // Half the circle apart neither is before the other, or both are.
        return;
    }
    let Flags { fin, syn, rst, ack } = segment.flags;
    let from_rcv_nxt = distance(conn.rcv_nxt, segment.seq);
    let past_end = from_rcv_nxt + i64::from(segment.len());
    let window = i64::from(*rcv_wnd);
    let synchronized = conn.state != State::SynReceived;
    match &verdict {
        Verdict::Accept(accept) | Verdict::Early(accept) => {
            assert!(ack && !syn && !rst, "{verdict:?}");
            check_accept(case, accept, matches!(verdict, Verdict::Early(_)));
        }
        // RFC 5961 section 3.2, and RFC 1337 section 3.
        Verdict::ResetByPeer => {
            assert!(rst && from_rcv_nxt == 0 && conn.state != State::TimeWait);
        }
        Verdict::Reopen => {
            assert!(conn.state == State::TimeWait && syn && !ack && from_rcv_nxt > 0);
        }
        Verdict::RepeatSynAck => assert!(!synchronized && syn && !ack && from_rcv_nxt == -1),
        Verdict::Establish => {
            assert!(conn.opens_simultaneously() && syn && ack && segment.ack == *snd_nxt);
        }
        Verdict::RefuseAck => assert!(!synchronized && ack && !rst && segment.ack != *snd_nxt),
        Verdict::Abort => {
            assert!(matches!(conn.state, State::FinWait1 | State::FinWait2));
            assert!(ack && !syn && !rst && segment.payload_len() > 0 && past_end > 0);
        }
        Verdict::Acknowledge(_) => assert!(!(rst && from_rcv_nxt == 0)),
        Verdict::Drop(_) => assert!(rst || !ack, "whoever is wrong is told what is right"),
    }
    // "If the RST bit is set and the sequence number exactly matches the next expected sequence
    // number (RCV.NXT), then TCP endpoints MUST reset the connection."
    if rst && from_rcv_nxt == 0 && conn.state != State::TimeWait {
        let acceptable = segment.is_empty() || window > 0;
        assert!(verdict == Verdict::ResetByPeer || !acceptable, "{verdict:?}");
    }
    // What any connection lives from.
    let in_order = from_rcv_nxt == 0 && i64::from(segment.payload_len()) + i64::from(fin) <= window;
    let acks = distance(conn.snd_una, segment.ack) >= 0 && distance(segment.ack, *snd_nxt) >= 0;
    if conn.state == State::Established && ack && !syn && !rst && in_order && acks {
        let Verdict::Accept(accept) = &verdict else { panic!("{verdict:?} for {segment:?}") };
        assert_eq!((&accept.payload, accept.fin), (&segment.payload, fin));
        assert_eq!((accept.ack, accept.window), (segment.ack, Some(segment.window)));
    }
    // Nothing that is wholly outside of the window brings anything, but for a bare ACK in the first
    // number past it, and what a probe of a closed window acknowledges.
    let acknowledges =
        matches!(&verdict, Verdict::Accept(accept) if accept.payload.is_empty() && !accept.fin);
    let at_end = segment.is_empty() && !rst && from_rcv_nxt == window.max(1) && acknowledges;
    let before = past_end <= 0 && !(segment.is_empty() && from_rcv_nxt == 0);
    if before || from_rcv_nxt >= window.max(1) && !at_end {
        let nothing = !matches!(verdict, Verdict::Accept(_) | Verdict::Early(_) | Verdict::Abort);
        assert!(nothing, "{verdict:?} for {segment:?}");
    }
}

/// What is taken is of the segment, in the window, and next; what is acknowledged was sent.
fn check_accept(case: &Case, accept: &Accept, early: bool) {
    let Case { conn, snd_nxt, rcv_wnd, segment } = case;
    let Accept { ack, window, payload, fin, ack_due } = accept;
    let news = distance(conn.snd_una, *ack);
    assert!(news >= 0 && distance(*ack, *snd_nxt) >= 0, "{ack:?}");
    assert!(news == 0 || *ack == segment.ack);
    assert!(window.is_none_or(|window| window == segment.window));
    let acked = distance(conn.snd_una, segment.ack);
    assert!(acked >= 0 || window.is_none(), "an old segment's window");
    assert!(acked <= 0 || window.is_some(), "a new acknowledgment's window");
    assert!(segment.payload.start <= payload.start && payload.end <= segment.payload.end);
    assert!(payload.start <= payload.end && payload.len() <= usize::from(*rcv_wnd));
    assert_eq!(*ack_due, !segment.is_empty());
    if early {
        assert!(payload.is_empty() && !fin && distance(conn.rcv_nxt, segment.seq) > 0);
        return;
    }
    if !payload.is_empty() {
        let first = segment.seq + u32::from(payload.start - segment.payload.start);
        assert_eq!(first, conn.rcv_nxt, "data continues where the last ended");
    }
    if *fin {
        assert!(segment.flags.fin && payload.end == segment.payload.end);
        let at = segment.seq + segment.payload_len();
        let taken = u32::from(payload.end - payload.start);
        assert_eq!(at, conn.rcv_nxt + taken, "the FIN follows the data");
    }
    if !payload.is_empty() || *fin {
        assert!(conn.state.can_receive() || conn.state == State::SynReceived);
    }
    if conn.state == State::SynReceived {
        assert_eq!(segment.ack, *snd_nxt, "only what acknowledges the SYN establishes");
    }
}

/// Segments that bring nothing are answered, but no two hosts answer each other for ever.
fn answers(case: &Case, now: Tick) {
    let Case { mut conn, snd_nxt, rcv_wnd, segment } = case.clone();
    let Verdict::Acknowledge(reason) = parked::judge(&conn, snd_nxt, rcv_wnd, &segment) else {
        return;
    };
    let mut is_due = || challenge::is_due(&mut conn, &segment, reason, now);
    let (first, second) = (is_due(), is_due());
    let more = (0..300).filter(|_| is_due()).count();
    let brings = segment.payload_len() > 0 || segment.flags.fin;
    if brings && !challenge::is_challenge(&segment, reason) {
        assert!(first && second && more == 300, "who sends something may have missed the answer");
        return;
    }
    let timed = matches!(conn.state, State::SynReceived | State::TimeWait | State::FinWait2);
    if !timed && !conn.has(CLOSE_DUE) {
        assert!(!second && more == 0, "answered once in an interval");
    }
    if !brings && !segment.flags.syn && !segment.flags.rst {
        assert!(more <= 32, "{more} answers to an acknowledgment");
    }
}

/// RFC 9293 section 3.10.7.3.
fn syn_sent(case: &Case) {
    let Case { conn, segment, .. } = case;
    let Flags { syn, rst, ack, .. } = segment.flags;
    let acks_syn = ack && segment.ack == conn.snd_una + 1;
    match handshake::in_syn_sent(conn, segment) {
        SynSent::Established => assert!(syn && acks_syn && !rst),
        SynSent::Simultaneous => assert!(syn && !ack && !rst),
        SynSent::Refused => assert!(rst && acks_syn),
        SynSent::Reset(reset) => {
            assert!(ack && !acks_syn && !rst);
            assert_eq!((reset.seq, reset.ack), (segment.ack, None));
        }
        SynSent::Drop(_) => assert!(!(syn && (acks_syn || !ack))),
    }
    let mut learned = *conn;
    handshake::learn(&mut learned, segment, 1460);
    assert!((48..=1460).contains(&learned.mss));
    assert_eq!(learned.rcv_nxt, segment.seq + 1);
    assert!(learned.window() <= u32::from(segment.window), "a SYN's window is never scaled");
}

/// RFC 5927: who has not seen what is in flight changes nothing, and nobody makes segments tiny.
fn icmp(case: &Case, input: &mut Bytes<'_>) {
    let Case { conn, snd_nxt, .. } = case;
    let kind = match input.u8() % 4 {
        0 => ErrorKind::TooBig { mtu: input.u32() },
        1 => ErrorKind::Refused,
        2 => ErrorKind::Prohibited,
        _ => ErrorKind::Soft,
    };
    let anywhere = input.bool();
    let error = IcmpError {
        kind,
        source: conn.remote_addr,
        flow: FlowKey { remote: conn.remote(), local: Endpoint::default() },
        seq: near(conn.snd_una, anywhere, input),
    };
    let in_flight = error.seq.since(conn.snd_una) < snd_nxt.since(conn.snd_una);
    match icmp::judge(conn, *snd_nxt, &error) {
        Effect::LowerMss(mss) => {
            assert!(in_flight && matches!(kind, ErrorKind::TooBig { .. }) && mss < conn.mss);
            assert!(mss >= if conn.remote_addr.is_v4() { 512 } else { 1220 });
        }
        Effect::Close(_) => {
            assert!(in_flight && conn.state == State::SynSent);
            assert!(matches!(kind, ErrorKind::Refused | ErrorKind::Prohibited));
        }
        Effect::Drop(_) => {}
    }
}
