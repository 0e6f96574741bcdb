//! Silence, and what it ends.

use super::tests::Peer;
use crate::service::Service as _;
use crate::service::http::Setup;
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
