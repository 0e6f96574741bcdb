//! What the fields of whole requests do, and what is said when files cannot be had.

use super::files::{FileId, Files, OpenError, Opened, ReadError};
use super::tests::Peer;
use super::{Http, Setup, Status};
use crate::service::Service as _;
use crate::service::by_hand::ByHand;
use crate::time::Instant;
use core::ffi::CStr;

/// The first line of the answer to a GET of `/a.txt` with these fields.
fn status(fields: &str) -> String {
    let mut peer = Peer::standard();
    let answer = peer.say(&format!("GET /a.txt HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    peer.end();
    answer.lines().next().expect("an answer").trim_start_matches("HTTP/1.1 ").to_owned()
}

#[test]
fn conditions_are_read_whatever_the_case_of_their_names() {
    let (before, then, after) = (
        "Fri, 04 Nov 1994 08:49:37 GMT",
        "Sat, 05 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT",
    );
    let (tag, other) = ("\"2ebb4721.0-a\"", "\"2ebb4721.0-b\"");
    for (name, value, expected) in [
        ("If-Modified-Since", before, Status::Ok),
        ("If-Modified-Since", then, Status::NotModified),
        ("If-Modified-Since", after, Status::NotModified),
        ("If-Modified-Since", "yesterday", Status::Ok),
        ("If-Unmodified-Since", before, Status::PreconditionFailed),
        ("If-Unmodified-Since", then, Status::Ok),
        ("If-None-Match", tag, Status::NotModified),
        ("If-None-Match", other, Status::Ok),
        ("If-Match", tag, Status::Ok),
        ("If-Match", other, Status::PreconditionFailed),
    ] {
        for name in [name.to_owned(), name.to_lowercase(), name.to_uppercase()] {
            assert_eq!(status(&format!("{name}: {value}\r\n")), expected.line(), "{name}: {value}");
        }
    }
    for (value, expected) in [
        (tag, Status::PartialContent),
        (other, Status::Ok),
        (then, Status::PartialContent),
        (before, Status::Ok),
    ] {
        let fields = format!("Range: bytes=2-3\r\nif-range: {value}\r\n");
        assert_eq!(status(&fields), expected.line(), "{value}");
    }
}

#[test]
fn without_a_limit_of_requests_none_is_announced() {
    let mut peer = Peer::new(&Setup { requests_max: 0, ..Setup::default() });
    let answer = peer.say("GET /a.txt HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
    assert!(answer.contains("\r\nKeep-Alive: timeout=75\r\n"), "{answer}");
    peer.end();
}

/// Files that cannot be opened.
struct Broken(OpenError);

impl Files for Broken {
    fn open(&mut self, _: &CStr) -> Result<Opened, OpenError> {
        Err(self.0)
    }

    fn read(&mut self, _: FileId, _: u64, _: &mut [u8]) -> Result<usize, ReadError> {
        unreachable!("nothing was opened")
    }

    fn close(&mut self, _: FileId) {
        unreachable!("nothing was opened")
    }

    fn unix_time(&mut self) -> Option<u64> {
        None
    }
}

#[test]
fn why_a_file_cannot_be_had_is_said() {
    for (error, expected) in [
        (OpenError::NotFound, Status::NotFound),
        (OpenError::Forbidden, Status::Forbidden),
        (OpenError::Busy, Status::Unavailable),
        (OpenError::Failed, Status::Internal),
    ] {
        let mut http = Http::new(&Setup::default(), Box::new(Broken(error)));
        let mut hand = ByHand::new(Instant::from_millis(1_000));
        hand.call(1460, |conn| http.on_open(conn));
        for count in 1..=2 {
            hand.sent.clear();
            hand.receive(&mut http, b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n", 65_535);
            let answer = String::from_utf8_lossy(&hand.sent).into_owned();
            assert!(answer.starts_with(&format!("HTTP/1.1 {}\r\n", expected.line())), "{answer}");
            assert!(!answer.contains("\r\nDate:"), "nobody knows it");
            // The connection goes on, and it is counted.
            assert!(!hand.asked.closing);
            assert_eq!(http.counters().answered(expected), count);
        }
        let mut told = Vec::new();
        http.events(&mut |name, count| told.extend((count > 0).then_some((name, count))));
        assert_eq!(told, [(expected.name(), 2)]);
    }
}
