//! Whole conversations, byte for byte, in any pieces and with any room.

use super::memory_files::MemoryFiles;
use super::*;
use crate::service::by_hand::ByHand;
use crate::time::Instant;

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

/// A connection of a service, and the files that it serves.
pub(super) struct Peer {
    pub(super) http: Http,
    pub(super) files: MemoryFiles,
    pub(super) hand: ByHand,
}

impl Peer {
    pub(super) fn new(setup: &Setup) -> Peer {
        let files = files();
        let mut http = Http::new(setup, Box::new(files.clone()));
        let mut hand = ByHand::new(Instant::from_millis(1_000_000));
        hand.call(1460, |conn| http.on_open(conn));
        Peer { http, files, hand }
    }

    /// The default, with an echo.
    pub(super) fn standard() -> Peer {
        Peer::new(&Setup { echo: true, ..Setup::default() })
    }

    pub(super) fn is_over(&self) -> bool {
        self.hand.asked.closing
    }

    /// One more piece comes, and the service gets `room` for it.
    pub(super) fn feed(&mut self, piece: &[u8], room: usize) {
        self.hand.receive(&mut self.http, piece, room);
    }

    /// What is sent in answer to `request`, all at once.
    pub(super) fn say(&mut self, request: &str) -> String {
        self.hand.sent.clear();
        self.feed(request.as_bytes(), 65_535);
        String::from_utf8_lossy(&self.hand.sent).into_owned()
    }

    pub(super) fn close(&mut self) {
        self.hand.call(1460, |conn| self.http.on_peer_close(conn));
    }

    /// Time passes until the service is woken.
    pub(super) fn wake(&mut self, room: usize) {
        self.hand.wake(&mut self.http, room);
    }

    pub(super) fn wakes_in(&self) -> Option<Duration> {
        self.hand.wake.map(|at| at.since(self.hand.now))
    }

    /// Nothing is left of it.
    pub(super) fn end(mut self) {
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
    assert!(other.wants_room);
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

#[test]
fn a_head_that_is_refused_is_answered_without_content() {
    for bad in [
        "HEAD / HTTP/1.1\r\n\r\n",
        "HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999\r\n\r\n",
        "HEAD / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx",
        "HEAD / HTTP/1.1\r\nHost: a\r\n bad\r\n\r\n",
    ] {
        let (answer, is_over) = ask(bad);
        assert!(answer.starts_with("HTTP/1.1 4") && answer.ends_with("\r\n\r\n"), "{answer}");
        assert!(is_over && answer.matches("\r\n\r\n").count() == 1, "{answer}");
    }
}
