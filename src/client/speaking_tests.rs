//! A client by hand, in virtual time.

use super::*;
use crate::service::by_hand::ByHand;
use crate::service::line::{PING, PONG};

const SECOND: Duration = Duration::from_secs(1);
const BEATS: Beats = Beats {
    period: Some(Duration::from_secs(60)),
    answer_wait: Duration::from_secs(10),
    misses: 3,
};

/// The messages that were heard.
type Heard = std::rc::Rc<std::cell::RefCell<Vec<Vec<u8>>>>;

/// A client of `service` whose connection has just opened.
struct World<H> {
    conn: ByHand,
    speaking: Speaking<H>,
    heard: Heard,
}

fn open(service: Builtin, beats: Beats) -> World<impl FnMut(ConnId, &[u8])> {
    let mut conn = ByHand::new(Instant::from_millis(5_000)).with_tag(service.tag());
    let heard = Heard::default();
    let hearing = heard.clone();
    let mut speaking = Speaking::new(beats, move |_, message: &[u8]| {
        hearing.borrow_mut().push(message.to_vec());
    });
    conn.call(1_460, |context| speaking.on_open(context));
    World { conn, speaking, heard }
}

impl<H: FnMut(ConnId, &[u8])> World<H> {
    /// What was said since this was last asked.
    fn said(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.conn.sent)
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.conn.receive(&mut self.speaking, bytes, 1_460);
    }

    /// Wakes it when it wants to be; returns when that was.
    fn wake(&mut self) -> Instant {
        self.conn.wake(&mut self.speaking, 1_460);
        self.conn.now
    }
}

const CONNACK: &[u8] = b"\x20\x02\x00\x00";
const PINGREQ: &[u8] = b"\xc0\x00";
const PINGRESP: &[u8] = b"\xd0\x00";

/// MQTT-3.1.2-23: "It is the responsibility of the Client to ensure that the interval between Control
/// Packets being sent does not exceed the Keep Alive value."
#[test]
fn what_a_client_of_mqtt_receives_does_not_put_its_ping_off() {
    let mut world = open(Builtin::Mqtt, BEATS);
    let connect = world.said();
    assert_eq!(connect[10..12], [0, 60], "it says its keep alive: {connect:02x?}");
    let began = world.conn.now;
    world.hear(CONNACK);
    // A message comes every second, and a client sees nothing else.
    let mut pings = Vec::new();
    for second in 1..=600 {
        let now = began + second * SECOND;
        while world.conn.wake_at().is_some_and(|at| at <= now) {
            world.wake();
            if world.said() == PINGREQ {
                pings.push(world.conn.now.since(began).as_secs());
                world.hear(PINGRESP);
            }
        }
        world.conn.now = now;
        world.hear(b"\x30\x05\x00\x01apq");
    }
    assert_eq!(pings, (1..=10).map(|n| 60 * n).collect::<Vec<_>>());
    assert_eq!(world.heard.borrow().len(), 600, "what was published is passed on");
    let counts = world.speaking.counts();
    assert_eq!((counts.answered, counts.missed, counts.wrong), (10, 0, 0));
}

#[test]
fn what_is_sent_puts_a_heartbeat_off() {
    let mut world = open(Builtin::Ws, BEATS);
    let began = world.conn.now;
    let upgrade = world.said();
    let accepted = crate::service::ws::handshake::judge(&upgrade).unwrap().unwrap();
    world.hear(accepted.answer());
    // The server pings after half a minute, and is answered.
    world.conn.now = began + 30 * SECOND;
    world.hear(b"\x89\x03abc");
    assert_eq!(world.said(), b"\x8a\x83\0\0\0\0abc");
    assert_eq!(world.wake(), began + 60 * SECOND);
    assert_eq!(world.said(), b"", "half a minute ago it showed that it is there");
    assert_eq!(world.wake(), began + 90 * SECOND);
    assert!(world.said().starts_with(b"\x89\x90"), "a ping of 16 bytes");
}

#[test]
fn unanswered_heartbeats_are_repeated_counted_and_end_the_connection() {
    for service in [Builtin::Line, Builtin::Echo, Builtin::Http, Builtin::Dubbo] {
        let mut world = open(service, BEATS);
        let began = world.conn.now;
        let expected = exchange::request(service, world.conn.id().index(), 1);
        for n in 0..3 {
            assert_eq!(world.wake(), began + 60 * SECOND + n * 10 * SECOND, "{service}");
            assert_eq!(world.said(), *expected, "{service}: the same again");
            assert!(!world.conn.is_closing());
        }
        assert_eq!(world.wake(), began + 90 * SECOND);
        assert!(world.conn.is_aborting() && world.said().is_empty());
        assert_eq!(world.conn.asked.reason, Some(CloseReason::HeartbeatMissed));
        assert_eq!(world.speaking.counts().missed, 3);
        assert!(!world.speaking.is_proved(service.tag(), &world.conn.state()));
    }
}

#[test]
fn a_late_answer_ends_the_count_and_its_repetitions_are_taken() {
    let mut world = open(Builtin::Echo, BEATS);
    for _ in 0..3 {
        world.wake();
    }
    let said = world.said();
    let (first, rest) = said.split_at(16);
    assert_eq!(rest, [first, first].concat());
    // All three come back, the last one later than the next heartbeat is sent.
    world.hear(first);
    world.hear(first);
    assert!(world.speaking.is_proved(Builtin::Echo.tag(), &world.conn.state()));
    world.wake();
    assert_eq!(world.said(), b"", "nothing is missed any more");
    world.wake();
    assert_eq!(world.said(), first, "the same number, while one is unanswered");
    world.hear(first);
    world.hear(first);
    world.wake();
    world.wake();
    let next = world.said();
    assert!(next.len() == 16 && next != first, "{next:?}");
    world.hear(&next);
    let counts = world.speaking.counts();
    assert_eq!((counts.beats, counts.answered, counts.missed), (5, 5, 2));
    assert_eq!(world.heard.borrow().len(), 0);
    world.hear(first);
    assert_eq!(*world.heard.borrow(), [first], "nobody asked for it");
}

/// The wake for a missing answer came later than the next heartbeat was due, which a server of MQTT missed.
#[test]
fn a_long_wait_for_answers_puts_no_heartbeat_off() {
    let period = Some(5 * SECOND);
    let mut world = open(Builtin::Mqtt, Beats { period, answer_wait: 10 * SECOND, misses: 3 });
    world.hear(CONNACK);
    let began = world.conn.now;
    for n in 1..10 {
        assert_eq!(world.wake(), began + n * 5 * SECOND);
        assert!(world.said().ends_with(PINGREQ));
        world.hear(PINGRESP);
    }
}

#[test]
fn messages_and_answers_are_told_apart_however_they_are_cut() {
    for service in [Builtin::Line, Builtin::Mqtt, Builtin::Dubbo] {
        let (asked, pushed): (&[u8], &[u8]) = match service {
            Builtin::Line => (b"", b"news\n"),
            Builtin::Mqtt => (CONNACK, b"\x30\x05\x00\x01apq"),
            _ => (b"", b"\xda\xbb\x02\x14\0\0\0\0\0\0\0\x07\0\0\0\x03abc"),
        };
        let slot = open(service, BEATS).conn.id().index();
        let answer = exchange::answer(service, slot, 1);
        let stream = [pushed, &answer, pushed].concat();
        for cut in 0..=stream.len() {
            let mut world = open(service, BEATS);
            let (early, late) = asked.split_at(cut.min(asked.len()));
            world.hear(early);
            world.hear(late);
            world.wake();
            let (early, late) = stream.split_at(cut);
            world.hear(early);
            world.hear(late);
            assert_eq!(world.speaking.counts().answered, 1, "{service} to {cut}");
            assert_eq!(*world.heard.borrow(), [pushed, pushed], "{service} to {cut}");
            assert!(!world.conn.is_closing() && world.conn.unread().is_empty());
        }
    }
}

#[test]
fn who_is_not_welcomed_is_gone_after_the_same_misses() {
    let mut world = open(Builtin::Mqtt, BEATS);
    let began = world.conn.now;
    for n in 1..=2 {
        assert_eq!(world.wake(), began + n * 10 * SECOND);
        assert!(!world.conn.is_closing());
    }
    assert_eq!(world.wake(), began + 30 * SECOND);
    assert_eq!(world.conn.asked.reason, Some(CloseReason::HeartbeatMissed));

    let mut world = open(Builtin::Mqtt, BEATS);
    // Not authorized.
    world.hear(b"\x20\x02\x00\x05");
    assert!(world.conn.is_aborting());
    assert_eq!(world.conn.asked.reason, Some(CloseReason::ProtocolError));
    assert_eq!((world.speaking.counts().welcomed, world.speaking.counts().wrong), (0, 1));
}

#[test]
fn without_room_to_send_heartbeats_are_missed() {
    let mut world = open(Builtin::Line, BEATS);
    for _ in 0..3 {
        world.conn.wake(&mut world.speaking, PING.len() - 1);
        assert_eq!(world.said(), b"");
    }
    world.conn.wake(&mut world.speaking, 0);
    assert_eq!(world.conn.asked.reason, Some(CloseReason::HeartbeatMissed));
    // One that comes to be sent is answered as usual.
    let mut world = open(Builtin::Line, BEATS);
    world.conn.wake(&mut world.speaking, 0);
    world.wake();
    assert_eq!(world.said(), PING);
    world.hear(PONG);
    assert_eq!(world.speaking.counts().answered, 1);
}

#[test]
fn some_have_no_heartbeats() {
    let world = open(Builtin::Discard, BEATS);
    assert_eq!((world.conn.wake_at(), world.conn.sent()), (None, &b""[..]));
    let mut world = open(Builtin::Mqtt, Beats { period: None, ..BEATS });
    assert_eq!(world.said()[10..12], [255, 255], "the longest keep alive");
    world.hear(CONNACK);
    assert_eq!(world.conn.wake_at(), None);
}

#[test]
fn a_record_keeps_what_is_known_of_its_connection() {
    for flags in 0..8_u8 {
        let talk = Talk {
            sent_ms: u32::MAX - 7,
            missed: 1,
            unanswered: 255,
            number: 3,
            is_welcome: flags & 1 != 0,
            awaits: flags & 2 != 0,
            is_proved: flags & 4 != 0,
        };
        assert_eq!(Talk::load(&talk.store()), talk);
        assert_eq!(talk.quiet(Instant::from_millis((1 << 32) + 2)), Duration::from_millis(10));
    }
}
