//! The line service against a plain model, in any pieces and with any room.

use super::*;
use crate::service::by_hand::ByHand;
use crate::time::Instant;
use proptest::prelude::*;

/// A connection that is fed and drained by hand.
struct Fed {
    service: Line,
    conn: ByHand,
}

impl Fed {
    fn new() -> Fed {
        Fed { service: Line::default(), conn: ByHand::new(Instant::ZERO) }
    }

    fn is_closed(&self) -> bool {
        self.conn.asked.closing
    }

    /// One call with `room` bytes to answer in; returns how much was consumed.
    fn feed(&mut self, bytes: &[u8], room: usize) -> usize {
        self.conn.feed(&mut self.service, bytes, room)
    }

    /// What was sent, and whether the connection is closed.
    fn done(self) -> (Vec<u8>, bool) {
        (self.conn.sent, self.conn.asked.closing)
    }

    /// Feeds all of `bytes`, what was not consumed again, with rooms from `rooms` in turn.
    fn feed_all(&mut self, mut bytes: &[u8], rooms: &mut impl Iterator<Item = usize>) {
        while !bytes.is_empty() && !self.is_closed() {
            let room = rooms.next().expect("endless");
            let consumed = self.feed(bytes, room);
            assert!(consumed > 0 || room < PONG.len(), "with room something is consumed");
            bytes = &bytes[consumed..];
        }
    }
}

/// What the service's documentation says, for the whole input at once: what is sent, and whether
/// the connection is closed. Of a line that has not ended, nothing is known to be sent yet but what
/// cannot become `PING` or `QUIT`.
pub(crate) fn model(input: &[u8]) -> (Vec<u8>, bool) {
    let mut sent = Vec::new();
    for line in input.split_inclusive(|&byte| byte == b'\n') {
        match line {
            PING => sent.extend_from_slice(PONG),
            QUIT => return (sent, true),
            _ if PING.starts_with(line) || QUIT.starts_with(line) => {}
            _ => sent.extend_from_slice(line),
        }
    }
    (sent, false)
}

/// Bytes that come near the two words often.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => Just(PING.to_vec()),
        1 => Just(QUIT.to_vec()),
        2 => (0..5usize).prop_map(|n| PING[..n].to_vec()),
        2 => (0..5usize).prop_map(|n| QUIT[..n].to_vec()),
        2 => Just(b"\n".to_vec()),
        3 => proptest::collection::vec(any::<u8>(), 0..8),
    ];
    proptest::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_cuts_and_any_room_give_what_the_model_says(
        input in input(),
        cuts in proptest::collection::vec(1usize..12, 1..20),
        rooms in proptest::collection::vec(0usize..16, 0..20),
    ) {
        let mut rooms = rooms.into_iter().chain([PONG.len()]).cycle();
        let mut cuts = cuts.into_iter().cycle();
        let mut line = Fed::new();
        let mut rest = &input[..];
        while !rest.is_empty() && !line.is_closed() {
            let (piece, later) = rest.split_at(cuts.next().unwrap().min(rest.len()));
            line.feed_all(piece, &mut rooms);
            rest = later;
        }
        prop_assert_eq!(line.done(), model(&input));
    }

    #[test]
    fn uncut_input_with_room_is_consumed_at_once(input in input()) {
        let mut line = Fed::new();
        prop_assert_eq!(line.feed(&input, 2 * input.len() + PONG.len()), input.len());
        prop_assert_eq!(line.done(), model(&input));
    }
}

#[test]
fn every_state_survives_being_stored() {
    for byte in 0..=9 {
        assert_eq!(Place::load(byte).store(), byte);
    }
    assert!(Place::load(200) == Place::Other);
}

#[test]
fn every_pair_of_cuts_of_a_mixed_input() {
    let input = b"PING\nPINQUIT\nPPING\n\nQUI\nPING\nQUIT\nafter";
    let expected = model(input);
    assert_eq!(expected, (b"PONG\nPINQUIT\nPPING\n\nQUI\nPONG\n".to_vec(), true));
    for a in 0..input.len() {
        for b in a..input.len() {
            let mut line = Fed::new();
            for piece in [&input[..a], &input[a..b], &input[b..]] {
                if !line.is_closed() {
                    line.feed_all(piece, &mut std::iter::repeat(64));
                }
            }
            assert_eq!(line.done(), expected, "cut at {a} and {b}");
        }
    }
}

#[test]
fn without_room_nothing_is_consumed() {
    let mut line = Fed::new();
    for room in 0..PONG.len() {
        assert_eq!(line.feed(b"PING\n", room), 0);
    }
    assert_eq!(line.feed(b"PING\n", PONG.len()), 5);
}

#[test]
fn a_peer_that_says_nothing_for_three_periods_is_gone() {
    let seconds = Duration::from_secs;
    let mut service = Line::new(&Setup { heartbeat: Some(seconds(10)) });
    let start = Instant::from_millis(5_000);
    let mut conn = ByHand::new(start);
    conn.call(0, |conn| service.on_open(conn));
    assert_eq!(conn.wake, Some(start + seconds(30)));
    conn.now = start + seconds(20);
    conn.feed(&mut service, b"PING", 100);
    assert_eq!(conn.wake, Some(start + seconds(30)), "a part of a line is nothing yet");
    conn.now = start + seconds(25);
    conn.feed(&mut service, b"\n", 100);
    conn.wake(&mut service, 0);
    let due = conn.wake.expect("it was heard in between");
    assert!(!conn.asked.closing && (start + seconds(55)..start + seconds(56)).contains(&due));
    conn.wake(&mut service, 0);
    assert!(conn.asked.aborting);
    assert_eq!(conn.asked.reason, Some(CloseReason::HeartbeatMissed));
}

#[test]
fn without_a_period_nobody_is_woken() {
    let mut conn = ByHand::new(Instant::ZERO);
    conn.call(0, |conn| Line::default().on_open(conn));
    assert_eq!(conn.wake, None);
    assert_eq!(Setup::parse(&mut Settings::parse("heartbeat=off").unwrap()), Ok(Setup::default()));
}

#[test]
fn pushes_wait_for_the_end_of_a_line_that_is_sent_back() {
    let mut line = Fed::new();
    let takes = |line: &Fed| line.service.takes_pushes(0, &line.conn.state);
    for (bytes, is_between) in
        [(&b""[..], true), (b"PI", true), (b"x", false), (b"y\n", true), (b"PING\n", true)]
    {
        line.feed(bytes, 100);
        assert_eq!(takes(&line), is_between, "after {bytes:?}");
    }
}
