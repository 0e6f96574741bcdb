//! Whole conversations, byte for byte, in any pieces and with any room.

use super::memory_files::MemoryFiles;
use super::*;
use crate::service::by_hand::ByHand;
use crate::time::Instant;
use proptest::prelude::*;

/// More than any room.
const BIG: usize = 200_000;

fn big() -> Vec<u8> {
    (0..BIG).map(|at| u8::try_from(at % 251).expect("small")).collect()
}

fn files() -> MemoryFiles {
    MemoryFiles::new(&[
        ("index.html", b"<p>root\n"),
        ("a.txt", b"0123456789"),
        ("empty", b""),
        ("dir/index.html", b"<p>dir\n"),
        ("dir/b c.txt", b"b"),
        ("bare/x", b"x"),
        ("secret!", b""),
        ("big", &big()),
    ])
}

/// A connection of a service, with what its client has sent and it has not read.
struct Peer {
    http: Http,
    files: MemoryFiles,
    hand: ByHand,
    unread: Vec<u8>,
    wants_room: bool,
}

impl Peer {
    fn new(setup: &Setup) -> Peer {
        let files = files();
        let mut http = Http::new(setup, Box::new(files.clone()));
        let mut hand = ByHand::new(Instant::from_millis(1_000_000));
        hand.call(1460, |conn| http.on_open(conn));
        Peer { http, files, hand, unread: Vec::new(), wants_room: false }
    }

    /// The default, with an echo.
    fn standard() -> Peer {
        Peer::new(&Setup { echo: true, ..Setup::default() })
    }

    fn is_over(&self) -> bool {
        self.hand.asked.closing
    }

    /// One more piece comes, and the service gets `room` again and again, as long as it does something
    /// with it.
    fn feed(&mut self, piece: &[u8], room: usize) {
        self.unread.extend_from_slice(piece);
        loop {
            let before = (self.unread.len(), self.hand.sent.len());
            self.step(room);
            if self.is_over() || before == (self.unread.len(), self.hand.sent.len()) {
                return;
            }
        }
    }

    fn step(&mut self, room: usize) {
        self.wants_room |= self.hand.asked.wants_room;
        if self.wants_room && !self.is_over() {
            self.hand.call(room, |conn| self.http.on_room(conn));
            self.wants_room = self.hand.asked.wants_room;
        }
        if !self.unread.is_empty() && !self.is_over() {
            let consumed = self.hand.feed(&mut self.http, &self.unread, room);
            self.unread.drain(..consumed);
            self.wants_room |= self.hand.asked.wants_room;
        }
    }

    /// What is sent in answer to `request`, all at once.
    fn say(&mut self, request: &str) -> String {
        self.hand.sent.clear();
        self.feed(request.as_bytes(), 65_535);
        String::from_utf8_lossy(&self.hand.sent).into_owned()
    }

    fn close(&mut self) {
        self.wants_room |= self.hand.asked.wants_room;
        self.hand.call(1460, |conn| self.http.on_peer_close(conn));
    }

    /// Time passes until the service is woken.
    fn wake(&mut self, room: usize) {
        self.hand.wake(&mut self.http, room);
    }

    fn wakes_in(&self) -> Option<Duration> {
        self.hand.wake.map(|at| at.since(self.hand.now))
    }

    /// Nothing is left of it.
    fn end(mut self) {
        let (id, state) = (self.hand.id, self.hand.state);
        self.http.on_close(id, 0, state, CloseReason::ClosedByPeer);
        assert_eq!((self.files.open_len(), self.http.transfers()), (0, 0));
    }
}

/// What a fresh connection answers, and whether it is closed then.
fn ask(request: &str) -> (String, bool) {
    let mut peer = Peer::standard();
    let answer = peer.say(request);
    let is_over = peer.is_over();
    peer.end();
    (answer, is_over)
}

#[track_caller]
fn assert_status(request: &str, status: Status, closes: bool) {
    let (answer, is_over) = ask(request);
    assert!(
        answer.starts_with(&format!("HTTP/1.1 {}\r\n", status.line())),
        "{request:?}: {answer}"
    );
    assert_eq!(
        (is_over, answer.contains("Connection: close\r\n")),
        (closes, closes),
        "{request:?}"
    );
}

#[test]
fn a_file() {
    let (answer, is_over) = ask("GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n");
    let expected = "HTTP/1.1 200 OK\r\n\
                    Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
                    Content-Type: text/plain; charset=utf-8\r\n\
                    Content-Length: 10\r\n\
                    Last-Modified: Sat, 05 Nov 1994 08:49:37 GMT\r\n\
                    ETag: \"2ebb4721.0-a\"\r\n\
                    Accept-Ranges: bytes\r\n\
                    \r\n\
                    0123456789";
    assert_eq!((answer.as_str(), is_over), (expected, false));
    let (head, _) = ask("HEAD /a.txt HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(head, expected.strip_suffix("0123456789").unwrap());
    let (old, is_over) = ask("GET /a.txt HTTP/1.0\r\n\r\n");
    assert_eq!(old, expected.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
    assert!(is_over);
    let (kept, is_over) = ask("GET /a.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let says = "\r\nConnection: keep-alive\r\nKeep-Alive: timeout=75, max=999\r\n\r\n";
    assert_eq!(kept, expected.replace("\r\n\r\n", says));
    assert!(!is_over);
}

#[test]
fn a_health_check() {
    let (answer, _) = ask("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    let expected = "HTTP/1.1 200 OK\r\n\
                    Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
                    Content-Type: text/plain\r\n\
                    Content-Length: 3\r\n\
                    \r\n\
                    ok\n";
    assert_eq!(answer, expected);
    let mut http = Http::new(&Setup::default(), Box::new(NoFiles));
    let mut hand = ByHand::new(Instant::ZERO);
    hand.feed(
        &mut http,
        b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n",
        1460,
    );
    let sent = String::from_utf8(hand.sent).unwrap();
    let undated = expected.replace("Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n", "");
    assert_eq!(
        sent.strip_prefix(&undated).expect("without a clock")[..22],
        *"HTTP/1.1 404 Not Found"
    );
}

#[test]
fn directories() {
    let content = |request: &str| {
        let (answer, _) = ask(&format!("GET {request} HTTP/1.1\r\nHost: a\r\n\r\n"));
        answer.split_once("\r\n\r\n").expect("a head").1.to_owned()
    };
    assert_eq!(content("/"), "<p>root\n");
    assert_eq!(content("http://other/"), "<p>root\n");
    assert_eq!(content("/dir/?x"), "<p>dir\n");
    assert_eq!(content("/dir/b%20c.txt"), "b");
    assert_eq!(content("/bare/"), "404 Not Found\n");
    assert_eq!(content("/secret"), "403 Forbidden\n");
    assert_eq!(content("/empty"), "");
    let location = |request: &str| {
        let (answer, _) = ask(&format!("GET {request} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 301 Moved Permanently\r\n"), "{answer}");
        answer
            .split_once("Location: ")
            .and_then(|(_, rest)| rest.split_once("\r\n"))
            .unwrap()
            .0
            .to_owned()
    };
    assert_eq!(location("/dir?x=%0d%0ay"), "/dir/?x=%0d%0ay");
    assert_eq!(location("//dir"), "/dir/", "not to a host of that name");
    assert_eq!(location("http://a/%64ir"), "/%64ir/");
    let long = "x".repeat(2_100);
    assert_status(
        &format!("GET /dir?{long} HTTP/1.1\r\nHost: a\r\n\r\n"),
        Status::UriTooLong,
        false,
    );
}

#[test]
fn what_is_refused_and_whether_the_connection_persists() {
    let get = |path: &str, fields: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    assert_status(&get("/none", ""), Status::NotFound, false);
    assert_status(&get("/a%2fb", ""), Status::NotFound, false);
    assert_status(&get("/../x", ""), Status::BadRequest, false);
    assert_status(&get("/%00", ""), Status::BadRequest, false);
    assert_status(&get("/a.txt", "X : y\r\n"), Status::BadRequest, true);
    assert_status(&get("/a.txt", "If-Match: \"x\"\r\n"), Status::PreconditionFailed, false);
    assert_status(&get("/a.txt", "If-None-Match: *\r\n"), Status::NotModified, false);
    assert_status(&get("/a.txt", "Range: bytes=10-\r\n"), Status::RangeNotSatisfiable, false);
    assert_status(&get("/a.txt", "Expect: x\r\n"), Status::ExpectationFailed, true);
    assert_status("BREW / HTTP/1.1\r\nHost: a\r\n\r\n", Status::NotImplemented, false);
    assert_status("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", Status::MethodNotAllowed, false);
    assert_status("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", Status::Ok, false);
    assert_status("GET / HTTP/2.0\r\n\r\n", Status::VersionNotSupported, true);
    assert_status(&"a".repeat(9_000), Status::UriTooLong, true);
    assert_status(
        &get("/", &format!("X: {}\r\n", "y".repeat(9_000))),
        Status::FieldsTooLarge,
        true,
    );
    let post =
        |fields: &str, rest: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n{rest}");
    assert_status(&post("Content-Length: 3\r\n", "abc"), Status::MethodNotAllowed, false);
    assert_status(&post("Content-Length: 1048577\r\n", ""), Status::ContentTooLarge, true);
    let chunked = "Transfer-Encoding: chunked\r\n";
    assert_status(&post(chunked, "1\r\na\r\n0\r\n\r\n"), Status::MethodNotAllowed, false);
    assert_status(&post(chunked, "100001\r\n"), Status::ContentTooLarge, true);
    assert_status(&post(chunked, "x\r\n"), Status::BadRequest, true);
    assert_status(
        &post(chunked, &format!("0;{}", "x".repeat(9_000))),
        Status::FieldsTooLarge,
        true,
    );
    let dir = "GET /dir HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
    assert_status(dir, Status::MovedPermanently, true);
}

#[test]
fn allowed_methods_are_named() {
    for (request, allow) in [
        ("POST /a.txt", "GET, HEAD, OPTIONS"),
        ("DELETE /none", "GET, HEAD, OPTIONS"),
        ("GET /echo", "OPTIONS, POST"),
        ("OPTIONS /echo", "OPTIONS, POST"),
        ("OPTIONS *", "GET, HEAD, OPTIONS, POST"),
        ("OPTIONS /a.txt", "GET, HEAD, OPTIONS"),
    ] {
        let (answer, _) = ask(&format!("{request} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(answer.contains(&format!("\r\nAllow: {allow}\r\n")), "{request}: {answer}");
    }
    let mut peer = Peer::new(&Setup::default());
    let answer = peer.say("POST /echo HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 405"), "no echo unless asked for: {answer}");
}

#[test]
fn parts_of_a_file() {
    let (answer, _) = ask("GET /a.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=2-4\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 206 Partial Content\r\n"), "{answer}");
    assert!(
        answer.contains("\r\nContent-Length: 3\r\nContent-Range: bytes 2-4/10\r\n"),
        "{answer}"
    );
    assert!(answer.ends_with("\r\n\r\n234"), "{answer}");
    let (answer, _) = ask("GET /a.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=10-\r\n\r\n");
    assert!(answer.contains("\r\nContent-Range: bytes */10\r\nContent-Length: 0\r\n"), "{answer}");
    let (answer, _) =
        ask("GET /a.txt HTTP/1.1\r\nHost: a\r\nIf-None-Match: \"2ebb4721.0-a\"\r\n\r\n");
    assert_eq!(
        answer,
        "HTTP/1.1 304 Not Modified\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
         ETag: \"2ebb4721.0-a\"\r\n\r\n"
    );
}

#[test]
fn an_echo_of_known_length_and_one_in_chunks() {
    let mut peer = Peer::standard();
    let answer = peer.say("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde");
    assert!(
        answer.contains("\r\nContent-Length: 5\r\n") && answer.ends_with("\r\n\r\nabcde"),
        "{answer}"
    );
    let chunked = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = peer.say(&format!("{chunked}3\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n"));
    assert!(answer.contains("\r\nTransfer-Encoding: chunked\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n0003\r\nabc\r\n0002\r\nde\r\n0\r\n\r\n"), "{answer}");
    let answer = peer.say(&format!("{chunked}0\r\n\r\n"));
    assert!(answer.ends_with("chunked\r\n\r\n0\r\n\r\n"), "{answer}");
    let answer = peer.say("POST /echo HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(
        answer.contains("\r\nContent-Length: 0\r\n") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
    assert!(!peer.is_over());
    // Malformed when some has been sent back: no status can say so any more.
    let answer = peer.say(&format!("{chunked}1\r\na\r\n"));
    assert!(answer.ends_with("0001\r\na\r\n"), "{answer}");
    assert_eq!(peer.say("x"), "");
    assert!(peer.hand.asked.aborting && peer.http.counters().aborted == 1);
    peer.end();
}

#[test]
fn who_waits_for_a_100_gets_it_or_the_refusal() {
    let expect = "Host: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    let mut peer = Peer::standard();
    let answer = peer.say(&format!("POST /echo HTTP/1.1\r\n{expect}"));
    assert!(answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(peer.say("ab"), "ab");
    let answer = peer.say(&format!("GET /a.txt HTTP/1.1\r\n{expect}"));
    assert_eq!(answer, "HTTP/1.1 100 Continue\r\n\r\n");
    assert!(peer.say("cd").starts_with("HTTP/1.1 200 OK\r\n"), "once the content has come");
    // It has come already.
    let answer = peer.say(&format!("POST /echo HTTP/1.1\r\n{expect}ab"));
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let answer = peer.say(&format!("PUT /a.txt HTTP/1.1\r\n{expect}"));
    assert!(
        answer.starts_with("HTTP/1.1 405 ") && answer.contains("Connection: close"),
        "{answer}"
    );
    assert!(peer.is_over(), "whether the content comes cannot be known");
    peer.end();
}

#[test]
fn the_last_request_is_told_so() {
    let mut peer = Peer::new(&Setup { requests_max: 3, ..Setup::default() });
    let request = "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n";
    assert!(peer.say(request).contains("\r\nKeep-Alive: timeout=75, max=2\r\n"));
    assert!(peer.say(request).contains("\r\nKeep-Alive: timeout=75, max=1\r\n"));
    // Of what is pipelined behind the last one, nothing is answered.
    let answer = peer.say(&request.repeat(2));
    assert!(
        answer.contains("\r\nConnection: close\r\n") && !answer.contains("Keep-Alive"),
        "{answer}"
    );
    assert_eq!((answer.matches("HTTP/1.1").count(), peer.is_over()), (1, true));
    let setup = Setup { requests_max: 0, idle_timeout: None, ..Setup::default() };
    let mut peer = Peer::new(&setup);
    for _ in 0..70_000 {
        assert!(peer.say(request).contains("\r\nConnection: keep-alive\r\n\r\n"));
    }
}

#[test]
fn a_large_file_with_little_room() {
    for room in [REPLY_MAX, 2_900, 65_535] {
        let mut peer = Peer::standard();
        let get = "GET /big HTTP/1.1\r\nHost: a\r\n\r\n";
        peer.files.read_at_most(1_000);
        peer.feed(format!("{get}GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes(), room);
        let sent = &peer.hand.sent;
        let body = sent.windows(4).position(|end| end == b"\r\n\r\n").expect("a head") + 4;
        assert!(sent[body..][..BIG] == big(), "every byte of it");
        assert!(sent.ends_with(b"0123456789") && !peer.is_over(), "and then the next");
        peer.end();
    }
}

#[test]
fn a_file_that_is_not_in_memory_is_waited_for() {
    let mut peer = Peer::standard();
    peer.files.be_late(3);
    let answer = peer.say("GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    for _ in 0..2 {
        assert_eq!(peer.wakes_in(), Some(DISK_PAUSE));
        peer.wake(2_900);
        assert!(peer.hand.sent.ends_with(b"\r\n\r\n"));
    }
    peer.wake(2_900);
    assert!(peer.hand.sent.ends_with(b"\r\n\r\n0123456789"));
    assert!(peer.wakes_in() > Some(Duration::from_secs(74)), "idle again");
    peer.end();
}

#[test]
fn a_file_that_becomes_shorter_ends_in_a_reset() {
    let mut peer = Peer::standard();
    peer.hand.feed(&mut peer.http, b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n", 2_900);
    peer.files.cut("big", 10_000);
    peer.feed(b"", 65_535);
    assert!(peer.hand.asked.aborting && peer.hand.sent.len() < 11_000);
    assert_eq!(peer.http.counters().aborted, 1);
    peer.end();
}

#[test]
fn when_every_place_is_taken_503_says_so() {
    let mut peer = Peer::new(&Setup { transfers_max: 1, ..Setup::default() });
    let mut other = ByHand::new(peer.hand.now);
    other.feed(&mut peer.http, b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n", 2_900);
    assert!(other.asked.wants_room);
    let answer = peer.say("GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(
        answer.starts_with("HTTP/1.1 503 ") && answer.contains("\r\nRetry-After: 1\r\n"),
        "{answer}"
    );
    assert!(peer.say("HEAD /a.txt HTTP/1.1\r\nHost: a\r\n\r\n").starts_with("HTTP/1.1 200 "));
    assert!(!peer.is_over(), "which needs none");
    let answer = peer.say("GET /a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 503 ") && peer.is_over(), "{answer}");
    peer.http.on_close(other.id, 0, other.state, CloseReason::ClosedByPeer);
    peer.end();
}

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
    peer.step(100);
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

#[test]
fn a_peer_that_closes_gets_what_it_asked_for() {
    let mut peer = Peer::standard();
    peer.hand.feed(&mut peer.http, b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n", 2_900);
    peer.close();
    assert!(!peer.is_over());
    peer.feed(b"", 65_535);
    assert!(peer.is_over() && peer.hand.sent.ends_with(&big()));
    peer.end();
    for (sent, cut_short) in [
        ("", 0),
        ("GET / HTTP/1.1\r\n", 1),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n1", 1),
        ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n1", 1),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0),
    ] {
        let mut peer = Peer::standard();
        peer.say(sent);
        peer.close();
        assert!(peer.is_over());
        assert_eq!(peer.http.counters().cut_short, cut_short, "{sent}");
        peer.end();
    }
}

#[test]
fn no_reply_is_longer_than_what_is_kept_free_for_it() {
    let exchange = Exchange {
        requests: u16::MAX,
        is_head: false,
        after: After::SayKeepAlive {
            idle_timeout: Some(Duration::from_secs(u64::MAX)),
            requests_left: Some(u16::MAX),
        },
    };
    let opened = files::Opened {
        file: files::FileId(0),
        len: u64::MAX,
        modified_secs: u64::MAX,
        modified_nanos: u32::MAX,
    };
    let validators = condition::Validators::of(&opened);
    let end = u64::MAX;
    let media = media::of(b"x.m3u8");
    let contents = [
        Content::Reason,
        Content::Text(resource::HEALTHY),
        Content::File { file: None, offset: end - 1, end, validators, media },
        Content::OutOfRange(validators),
        Content::Echo(Some(end)),
    ];
    let mut text = String::new();
    for content in contents {
        for status in Status::ALL {
            let allow = Some("GET, HEAD, OPTIONS, POST");
            let reply = Reply { status, content, allow };
            reply.write(&exchange, Some(u64::MAX), "", &mut text);
            assert!(text.len() + CONTINUE.len() <= REPLY_MAX, "{}: {text}", text.len());
        }
    }
}

/// Several requests, good and bad ones.
fn any_requests() -> impl Strategy<Value = Vec<u8>> {
    let request = prop_oneof![
        4 => Just("GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        2 => Just("GET /a.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=1-3\r\n\r\n".to_owned()),
        2 => Just("HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".to_owned()),
        1 => Just("GET /big HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        1 => Just("GET /dir HTTP/1.1\r\nHost: a\r\n\r\n\r\n".to_owned()),
        2 => Just("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\nGET / HTTP/1".to_owned()),
        2 => Just("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3;x\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\nX: y\r\n\r\n".to_owned()),
        2 => Just("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd".to_owned()),
        1 => Just("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx".to_owned()),
        2 => super::head::tests::any_head(),
    ];
    proptest::collection::vec(request, 1..6).prop_map(|requests| requests.concat().into_bytes())
}

/// All that is answered to `bytes`, cut at `cuts`, with `rooms` in turn, and how it ended.
fn converse(bytes: &[u8], cuts: &[usize], rooms: &[usize]) -> (Vec<u8>, bool, bool, Place) {
    let mut peer = Peer::standard();
    let mut rooms = rooms.iter().copied().cycle();
    let mut at = 0;
    for &cut in cuts.iter().chain([&bytes.len()]) {
        peer.feed(&bytes[at..cut], rooms.next().expect("endless"));
        at = cut;
    }
    // Some was left for another room.
    (0..8).for_each(|_| peer.feed(b"", 65_535));
    let place = Place::of(peer.hand.state);
    let ended = (peer.hand.sent.clone(), peer.is_over(), peer.hand.asked.aborting, place);
    peer.end();
    ended
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_cuts_and_any_room_give_the_same_answers(
        bytes in any_requests(),
        cuts in proptest::collection::btree_set(0usize..400, 0..20),
        rooms in proptest::collection::vec(prop_oneof![0usize..3_000, Just(65_535)], 1..6),
    ) {
        let cuts: Vec<usize> = cuts.into_iter().filter(|&cut| cut < bytes.len()).collect();
        let whole = converse(&bytes, &[], &[65_535]);
        // Not what it was: that may be long.
        prop_assert!(converse(&bytes, &cuts, &rooms) == whole);
    }

    #[test]
    fn nothing_panics_or_is_left_behind(
        pieces in proptest::collection::vec(prop_oneof![any_requests(), any::<Vec<u8>>()], 1..5),
        room in 0usize..4_000,
    ) {
        let mut peer = Peer::standard();
        for piece in pieces {
            peer.feed(&piece, room);
        }
        peer.end();
    }
}

#[test]
fn every_single_cut_gives_the_same_answers() {
    let bytes = b"\r\nGET /a.txt HTTP/1.1\r\nHost: a\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\n\
                  Transfer-Encoding: chunked\r\n\r\n3;a=\"b\"\r\nabc\r\n0\r\nX: y\r\n\r\n\
                  POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nxyz\
                  GET / HTTP/1.2\r\nHost: a\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\n";
    let whole = converse(bytes, &[], &[65_535]);
    let answers = String::from_utf8_lossy(&whole.0);
    assert_eq!((answers.matches("HTTP/1.1 200 OK").count(), whole.1), (3, true), "{answers}");
    for cut in 0..bytes.len() {
        assert_eq!(converse(bytes, &[cut], &[65_535]), whole, "cut at {cut}");
    }
    let every: Vec<usize> = (0..bytes.len()).collect();
    assert_eq!(converse(bytes, &every, &[600]), whole);
}
