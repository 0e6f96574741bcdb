//! Silence, and what it ends.

use super::tests::Peer;
use crate::service::Service as _;
use crate::service::http::Setup;
use crate::tcp::CloseReason;
use crate::time::Duration;

#[test]
fn silence_ends_a_connection() {
    let secs = Duration::from_secs;
    // Between requests, an orderly end without a word.
    let mut peer = Peer::standard();
    assert!(peer.wakes_in() >= Some(secs(75)));
    peer.hand.now = peer.hand.now + secs(50);
    peer.say("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    peer.hand.sent.clear();
    peer.wake(1460);
    assert!(!peer.is_over() && peer.wakes_in() > Some(secs(49)));
    peer.wake(1460);
    assert!(peer.is_over() && peer.hand.sent.is_empty() && !peer.hand.asked.aborting);
    assert_eq!(peer.http.counters().idle, 1);

    // Inside of a head: 408. More of the head does not help.
    let mut peer = Peer::standard();
    for byte in "GET / HTTP/1.1\r\nHo".chars() {
        peer.say(&byte.to_string());
        peer.hand.now = peer.hand.now + secs(3);
    }
    assert!(peer.wakes_in() < Some(secs(10)));
    peer.wake(1460);
    let answer = String::from_utf8_lossy(&peer.hand.sent).into_owned();
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n") && peer.is_over(), "{answer}");
    peer.end();

    // Inside of a content: 408 too, unless it is being answered already; more of it does help.
    for (path, is_answered) in [("/a.txt", false), ("/echo", true)] {
        let mut peer = Peer::standard();
        peer.say(&format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1"));
        peer.hand.now = peer.hand.now + secs(59);
        peer.say("2");
        peer.wake(1460);
        assert!(!peer.is_over());
        peer.hand.sent.clear();
        peer.wake(1460);
        let is_408 = peer.hand.sent.starts_with(b"HTTP/1.1 408 ");
        assert_eq!((is_408, peer.hand.asked.aborting), (!is_answered, is_answered));
        peer.end();
    }
}

#[test]
fn who_takes_nothing_of_an_answer_is_reset() {
    let mut peer = Peer::standard();
    peer.hand.feed(&mut peer.http, b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n", 2_900);
    peer.hand.now = peer.hand.now + Duration::from_secs(59);
    peer.hand.call(100, |conn| peer.http.on_room(conn));
    peer.wake(0);
    assert!(!peer.is_over(), "it has taken some");
    peer.wake(0);
    assert!(peer.hand.asked.aborting && peer.http.counters().aborted == 1);
    peer.end();
    // So is who does not read the answers to what it has pipelined.
    let mut peer = Peer::standard();
    peer.hand.feed(&mut peer.http, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 20);
    peer.wake(20);
    assert!(peer.hand.asked.aborting);
    peer.end();
}

#[test]
fn without_an_idle_timeout_silence_is_golden() {
    let mut peer = Peer::new(&Setup { idle_timeout: None, ..Setup::default() });
    assert_eq!(peer.wakes_in(), None);
    peer.say("GET / HTTP/1.1\r\nHo");
    assert!(peer.wakes_in() > Some(Duration::from_secs(59)), "but not in a request");
    let answer = peer.say("st: a\r\nConnection: keep-alive\r\n\r\n");
    assert!(answer.contains("\r\nKeep-Alive: max=999\r\n"), "{answer}");
    assert_eq!(peer.wakes_in(), None);
}

/// Has `act` done every `step` until the connection is over, or `limit` has passed, and wakes the service when
/// it wants to be. Returns how long that took.
fn go_on(
    peer: &mut Peer,
    [step, limit]: [Duration; 2],
    mut act: impl FnMut(&mut Peer),
) -> Duration {
    let began = peer.hand.now;
    let mut next = began + step;
    while !peer.is_over() && peer.hand.now.since(began) < limit {
        match peer.hand.wake {
            Some(at) if at <= next => peer.wake(1460),
            _ => {
                peer.hand.now = next;
                next = next + step;
                act(peer);
            }
        }
    }
    peer.hand.now.since(began)
}

const HOUR: Duration = Duration::from_secs(3_600);

fn post(path: &str, len: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n")
}

#[test]
fn a_content_that_crawls_is_refused_and_one_that_keeps_to_the_rate_is_not() {
    let [millis, secs] = [Duration::from_millis, Duration::from_secs];
    let one = |piece: &'static str| move |peer: &mut Peer| drop(peer.say(piece));
    // A byte every 20 s never stands still for a minute.
    for (path, is_answered) in [("/a.txt", false), ("/echo", true)] {
        let mut peer = Peer::standard();
        peer.say(&post(path, 1_000));
        let took = go_on(&mut peer, [secs(20), HOUR], one("x"));
        assert!((secs(60)..secs(61)).contains(&took), "{took:?}");
        let asked = peer.hand.asked;
        assert_eq!((asked.aborting, asked.reason), (is_answered, Some(CloseReason::TooSlow)));
        let answer = String::from_utf8_lossy(&peer.hand.sent).into_owned();
        let is_408 = answer.starts_with("HTTP/1.1 408 ") && answer.contains("Connection: close");
        assert_eq!((is_408, peer.http.counters().aborted), (!is_answered, is_answered.into()));
        peer.end();
    }
    // At 250 bytes a second all of it comes, in however small pieces.
    let piece: &'static str = "x".repeat(500).leak();
    for (step, piece) in [(millis(4), "x"), (secs(2), piece)] {
        let mut peer = Peer::standard();
        peer.say(&post("/a.txt", 31_000));
        let took = go_on(&mut peer, [step, secs(119)], one(piece));
        assert!(took >= secs(119) && !peer.is_over() && peer.http.transfers() == 1);
        go_on(&mut peer, [step, secs(5)], one(piece));
        assert_eq!((peer.http.transfers(), peer.hand.asked.closing), (0, false));
    }
    // At 120 the minute that each has lasts for two.
    let piece: &'static str = "x".repeat(120).leak();
    let mut peer = Peer::standard();
    peer.say(&post("/a.txt", 1_000_000));
    let took = go_on(&mut peer, [secs(1), HOUR], one(piece));
    assert!((secs(119)..secs(121)).contains(&took), "{took:?}");
    // What came fast at first helps for a minute.
    let mut peer = Peer::standard();
    peer.say(&post("/a.txt", 1_000_000));
    peer.say(&"x".repeat(999_000));
    let took = go_on(&mut peer, [secs(7), HOUR], one("x"));
    assert!((secs(60)..secs(61)).contains(&took), "{took:?}");
    peer.end();
}

#[test]
fn an_answer_that_is_taken_at_a_crawl_is_cut_off() {
    let secs = Duration::from_secs;
    let begun = || {
        let mut peer = Peer::standard();
        peer.hand.feed(&mut peer.http, b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n", 2_900);
        peer
    };
    let take = |room| move |peer: &mut Peer| peer.hand.call(room, |conn| peer.http.on_room(conn));
    let mut peer = begun();
    let took = go_on(&mut peer, [secs(20), HOUR], take(100));
    assert!((secs(60)..secs(63)).contains(&took), "{took:?}");
    let asked = peer.hand.asked;
    assert_eq!((asked.aborting, asked.reason), (true, Some(CloseReason::TooSlow)));
    assert_eq!(peer.http.counters().aborted, 1);
    peer.end();
    // 200,000 bytes at 250 a second.
    let mut peer = begun();
    go_on(&mut peer, [secs(10), secs(830)], take(2_500));
    assert_eq!((peer.http.transfers(), peer.hand.asked.aborting), (0, false));
    assert!(peer.hand.sent.len() > 200_000);
}

#[test]
fn without_a_least_rate_only_standing_still_ends_a_transfer() {
    let secs = Duration::from_secs;
    let setup = Setup { rate_min: None, ..Setup::default() };
    let mut peer = Peer::new(&setup);
    peer.say(&post("/a.txt", 1_000));
    assert!(go_on(&mut peer, [secs(59), HOUR], |peer| drop(peer.say("x"))) >= HOUR);
    let took = go_on(&mut peer, [secs(70), HOUR], |_| ());
    assert!(took < secs(61) && peer.hand.sent.starts_with(b"HTTP/1.1 408 "), "{took:?}");
}
