//! The service against a plain model, in any pieces and with any room; and what it does when nothing
//! comes.

use super::frame::{BAD_REQUEST, FASTJSON2, HESSIAN2, OK, SHORT_LEN_MAX};
use super::*;
use crate::service::by_hand::ByHand;
use crate::time::Instant;
use proptest::prelude::*;

const PAYLOAD_MAX: u32 = 500;

/// A heartbeat of Dubbo 2.7 in Hessian 2, and its answer.
const HEARTBEAT: &[u8] = b"\xda\xbb\xe2\x00\x00\x00\x00\x00\x00\x00\x00\x2a\x00\x00\x00\x01N";
const ALIVE: &[u8] = b"\xda\xbb\x22\x14\x00\x00\x00\x00\x00\x00\x00\x2a\x00\x00\x00\x01N";

/// The event that a peer takes no calls for a while: the string "R".
const READONLY: &[u8] = b"\xda\xbb\xe2\x00\x00\x00\x00\x00\x00\x00\x00\x2b\x00\x00\x00\x02\x01R";

/// A call of `sayHello("dubbo")` on `DemoService`, as Dubbo 2.7 sends it, without its attachments.
fn call(flags: u8) -> Vec<u8> {
    let strings = ["2.0.2", "DemoService", "0.0.0", "sayHello", "Ljava/lang/String;", "dubbo"];
    let body: Vec<_> = strings
        .iter()
        .flat_map(|text| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat())
        .chain(*b"HZ")
        .collect();
    frame(flags | HESSIAN2, 0, 7, &body)
}

fn frame(flags: u8, status: u8, id: u64, body: &[u8]) -> Vec<u8> {
    let body_len = u32::try_from(body.len()).unwrap();
    [&Header { flags, status, id, body_len }.emit(), body].concat()
}

/// A connection that is fed and drained by hand.
struct Fed {
    service: Dubbo,
    conn: ByHand,
    rest: Vec<u8>,
}

impl Fed {
    fn new(setup: Setup) -> Fed {
        let mut service = Dubbo::new(&setup);
        let mut conn = ByHand::new(Instant::from_millis(5_000));
        conn.call(0, |conn| service.on_open(conn));
        Fed { service, conn, rest: Vec::new() }
    }

    /// Gives the service `bytes` behind what it did not consume, and again until it waits for more.
    fn feed(&mut self, bytes: &[u8], room: usize) {
        self.rest.extend_from_slice(bytes);
        while !self.conn.asked.closing && !self.rest.is_empty() {
            let consumed = self.conn.feed(&mut self.service, &self.rest, room);
            self.rest.drain(..consumed);
            if consumed == 0 {
                break;
            }
        }
    }

    /// What was sent, and whether the connection is closed.
    fn end(self) -> (Vec<u8>, bool) {
        (self.conn.sent, self.conn.asked.closing)
    }
}

/// What the documentation says, for the whole input at once.
fn model(mut bytes: &[u8]) -> (Vec<u8>, bool) {
    let (mut sent, mut is_first) = (vec![], true);
    loop {
        if bytes.len() < 2 && MAGIC.starts_with(bytes) {
            return (sent, false);
        }
        if !bytes.starts_with(&MAGIC) {
            let text = &bytes[..bytes.len().min(LINE_LEN_MAX)];
            let line = text.split_inclusive(|&byte| byte == b'\n').next().unwrap_or(&[]);
            let is_whole = line.ends_with(b"\n");
            let has_frame = line.windows(2).any(|pair| pair == MAGIC);
            if is_first || has_frame || !is_whole && text.len() == LINE_LEN_MAX {
                return (sent, true);
            }
            if !is_whole {
                return (sent, false);
            }
            bytes = &bytes[line.len()..];
            continue;
        }
        if bytes.len() < 16 {
            return (sent, false);
        }
        let (header, body) = bytes.split_at(16);
        let flags = header[2];
        let id = &header[4..12];
        let len = u32::from_be_bytes(header[12..].try_into().unwrap());
        let mut refuse = |reason: &str| {
            sent.extend([b"\xda\xbb\x02\x28", id].concat());
            let string = [&[0x30, u8::try_from(reason.len()).unwrap()], reason.as_bytes()].concat();
            sent.extend(u32::try_from(string.len()).unwrap().to_be_bytes());
            sent.extend(string);
        };
        if len > PAYLOAD_MAX {
            if flags & 0xc0 == 0xc0 {
                refuse(TOO_LONG);
            }
            return (sent, true);
        }
        is_first = false;
        let len = usize::try_from(len).unwrap();
        if flags & 0xa0 == 0xa0 {
            let null = [&b"N"[..], b"\0\0\0\x01\xaf"];
            match (flags & 0x1f, len) {
                (2 | 23, 1..=15) if body.len() < len => return (sent, false),
                (2 | 23, 1..=15) => {
                    let null = null[usize::from(flags & 0x1f == 23)];
                    if &body[..len] == null && flags & 0x40 != 0 {
                        sent.extend(
                            [&[0xda, 0xbb, flags & 0x3f, 20], id, &header[12..], null].concat(),
                        );
                    }
                }
                _ => refuse(BAD_EVENT),
            }
        } else if flags & 0xc0 == 0xc0 {
            refuse(NO_SERVICE);
        }
        bytes = &body[len.min(body.len())..];
    }
}

fn setup() -> Setup {
    Setup { payload_max: PAYLOAD_MAX, ..Setup::default() }
}

/// Frames of every kind, lines, and what is neither.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let body = proptest::collection::vec(any::<u8>(), 0..520);
    let short = proptest::collection::vec(any::<u8>(), 0..18);
    let serialization = prop_oneof![Just(HESSIAN2), Just(FASTJSON2), 0u8..32];
    let piece = prop_oneof![
        5 => Just(HEARTBEAT.to_vec()),
        1 => Just(ALIVE.to_vec()),
        1 => Just(READONLY.to_vec()),
        2 => Just(call(REQUEST | TWO_WAY)),
        1 => Just(call(REQUEST)),
        1 => any::<bool>().prop_map(|two_way| {
            let flags = REQUEST | EVENT | FASTJSON2 | if two_way { TWO_WAY } else { 0 };
            frame(flags, 0, 3, b"\0\0\0\x01\xaf")
        }),
        3 => (0u8..8, serialization.clone(), any::<u8>(), any::<u64>(), body)
            .prop_map(|(flags, serialization, status, id, body)| {
                frame(flags << 5 | serialization, status, id, &body)
            }),
        2 => (serialization, any::<u64>(), short).prop_map(|(serialization, id, body)| {
            frame(REQUEST | TWO_WAY | EVENT | serialization, 0, id, &body)
        }),
        1 => "[ -~]{0,20}\r?\n".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 0..5),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_cuts_and_any_room_give_what_the_model_says(
        input in input(),
        cuts in proptest::collection::vec(1usize..50, 1..20),
        rooms in proptest::collection::vec(0usize..200, 0..20),
    ) {
        let mut fed = Fed::new(setup());
        let mut rooms = rooms.into_iter().chain([SHORT_LEN_MAX]).cycle();
        let mut cuts = cuts.into_iter().cycle();
        let mut rest = &input[..];
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(cuts.next().unwrap().min(rest.len()));
            fed.feed(piece, rooms.next().unwrap());
            rest = later;
        }
        fed.feed(b"", SHORT_LEN_MAX);
        prop_assert_eq!(fed.end(), model(&input));
    }
}

#[test]
fn every_pair_of_cuts_of_a_mixed_input() {
    let input = [
        HEARTBEAT,
        &call(REQUEST | TWO_WAY),
        b"status\r\n",
        &call(REQUEST),
        ALIVE,
        READONLY,
        HEARTBEAT,
    ]
    .concat();
    let refused = Short::refusal(7, NO_SERVICE);
    let expected = ([ALIVE, &refused, ALIVE].concat(), false);
    assert_eq!(model(&input), expected);
    for a in 0..input.len() {
        for b in (a..input.len()).step_by(3) {
            let mut fed = Fed::new(setup());
            for piece in [&input[..a], &input[a..b], &input[b..]] {
                fed.feed(piece, SHORT_LEN_MAX);
            }
            assert!(fed.rest.is_empty());
            assert_eq!(fed.end(), expected, "cut at {a} and {b}");
        }
    }
}

#[test]
fn a_long_body_is_skipped_as_it_comes() {
    let mut fed = Fed::new(Setup::default());
    let header =
        Header { flags: REQUEST | TWO_WAY | HESSIAN2, status: 0, id: 1, body_len: 1 << 20 };
    fed.feed(&header.emit(), SHORT_LEN_MAX);
    let refused = Short::refusal(1, NO_SERVICE);
    assert_eq!(fed.conn.sent, *refused, "nobody has to wait for what will not be looked at");
    assert_eq!((refused[2], refused[3]), (HESSIAN2, BAD_REQUEST));
    for _ in 0..1024 {
        fed.feed(&[0xda; 1024], 0);
        assert!(fed.rest.is_empty(), "nothing need be kept");
    }
    fed.conn.sent.clear();
    fed.feed(HEARTBEAT, SHORT_LEN_MAX);
    assert_eq!(fed.end(), (ALIVE.to_vec(), false));
}

#[test]
fn what_ends_a_connection_is_counted() {
    let long = Header { flags: REQUEST | HESSIAN2, status: 0, id: 1, body_len: PAYLOAD_MAX + 1 };
    let huge = Header { body_len: u32::MAX, ..long };
    let wanted = Header { flags: REQUEST | TWO_WAY | HESSIAN2, ..huge };
    let line = [HEARTBEAT, &[b'x'; LINE_LEN_MAX]].concat();
    let inside = [HEARTBEAT, b"status", HEARTBEAT].concat();
    for (input, malformed) in [
        (b"GET / HTTP/1.1\r\n".to_vec(), true),
        (b"\xda\xbc".to_vec(), true),
        (line, true),
        (inside, true),
        (long.emit().to_vec(), false),
        (huge.emit().to_vec(), false),
        (wanted.emit().to_vec(), false),
    ] {
        let mut fed = Fed::new(setup());
        fed.feed(&input, 2 * SHORT_LEN_MAX);
        assert_eq!(fed.conn.asked.reason, Some(CloseReason::ProtocolError), "{input:x?}");
        let counts = *fed.service.counts();
        let mut named = Vec::new();
        fed.service.events(&mut |name, count| named.push((name, count)));
        assert!(named.contains(&("dubbo_malformed", counts.malformed)));
        assert!(named.contains(&("dubbo_oversized", counts.oversized)));
        let expected = (u64::from(malformed), u64::from(!malformed));
        assert_eq!((counts.malformed, counts.oversized), expected, "{input:x?}");
        assert_eq!(fed.end(), model(&input));
    }
}

#[test]
fn every_status_and_every_flag_of_what_is_sent_is_the_references() {
    let mut fed = Fed::new(setup());
    fed.feed(HEARTBEAT, SHORT_LEN_MAX);
    let answer = Header::parse(fed.conn.sent.first_chunk().unwrap()).unwrap();
    assert_eq!(answer, Header { flags: EVENT | HESSIAN2, status: OK, id: 42, body_len: 1 });
}

#[test]
fn a_silent_client_is_asked_and_then_given_up() {
    let period = Duration::from_secs(60);
    let mut fed = Fed::new(Setup::default());
    let opened = fed.conn.now;
    fed.conn.now = opened + Duration::from_secs(50);
    fed.feed(HEARTBEAT, SHORT_LEN_MAX);
    let heard = fed.conn.now;
    fed.conn.sent.clear();
    fed.conn.wake(&mut fed.service, SHORT_LEN_MAX);
    assert_eq!((fed.conn.now, fed.conn.sent.len()), (opened + period, 0));
    for n in 1..3u32 {
        fed.conn.sent.clear();
        fed.conn.wake(&mut fed.service, SHORT_LEN_MAX);
        assert_eq!(fed.conn.now, heard + period * n);
        assert_eq!(fed.conn.sent, *Short::heartbeat(u64::from(n - 1)));
    }
    fed.conn.wake(&mut fed.service, SHORT_LEN_MAX);
    assert_eq!(fed.conn.now, heard + period * 3);
    assert!(fed.conn.asked.aborting);
    assert_eq!(fed.conn.asked.reason, Some(CloseReason::HeartbeatMissed));
    assert_eq!((fed.service.counts().sent, fed.service.counts().silent), (2, 1));
}

#[test]
fn an_answer_to_a_heartbeat_is_a_sign_of_life() {
    let mut fed = Fed::new(Setup::default());
    let opened = fed.conn.now;
    for n in 1..10 {
        fed.conn.wake(&mut fed.service, SHORT_LEN_MAX);
        assert_eq!(fed.conn.now, opened + Duration::from_secs(60) * n);
        fed.feed(ALIVE, 0);
    }
    assert_eq!(fed.service.counts().sent, 9);
}

#[test]
fn settings_are_read() {
    for query in ["", "heartbeat=60s&payload=8388608"] {
        assert_eq!(Setup::parse(&mut Settings::parse(query).unwrap()), Ok(Setup::default()));
    }
    let setup = Setup::parse(&mut Settings::parse("heartbeat=0&payload=9").unwrap());
    assert_eq!(setup, Ok(Setup { heartbeat: None, payload_max: 9 }));
    let mut fed = Fed::new(setup.unwrap());
    assert_eq!(fed.conn.wake, None);
    fed.feed(HEARTBEAT, SHORT_LEN_MAX);
    assert_eq!(fed.conn.wake, None);
    for bad in ["payload=2147483648", "payload=-1", "heartbeat=x"] {
        assert!(Setup::parse(&mut Settings::parse(bad).unwrap()).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn a_record_keeps_what_is_known(state: ServiceState) {
        prop_assert_eq!(Session::load(state).store(), state);
    }
}

#[test]
fn half_a_frame_is_no_sign_of_life() {
    let mut fed = Fed::new(setup());
    for byte in &HEARTBEAT[..10] {
        fed.feed(&[*byte], SHORT_LEN_MAX);
    }
    let mut wakes = 0;
    while !fed.conn.asked.closing {
        fed.conn.wake(&mut fed.service, SHORT_LEN_MAX);
        fed.feed(&HEARTBEAT[10..11], SHORT_LEN_MAX);
        wakes += 1;
    }
    assert_eq!((wakes, fed.conn.asked.reason), (3, Some(CloseReason::HeartbeatMissed)));
}
