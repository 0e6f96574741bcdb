//! Heads, byte for byte: what they mean, which are refused and why, and that cuts change nothing.

use super::*;
use proptest::prelude::*;

fn head(text: &str) -> Head<'_> {
    match parse(text.as_bytes()) {
        Parsed::Head(head, len) => {
            assert_eq!(len, text.len());
            head
        }
        other => panic!("{text:?}: {other:?}"),
    }
}

/// A request of HTTP/1.1 with these lines.
fn with(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

#[track_caller]
fn assert_refused(text: &str, status: Status) {
    assert_eq!(parse(text.as_bytes()), Parsed::Refused(status), "{text:?}");
}

#[test]
fn a_browsers_request() {
    let text =
        with("User-Agent: x/1.0 (y)\r\nAccept: */*\r\nRange: bytes=0-1\r\nRange: bytes=2-3\r\n");
    let head = head(&text);
    assert_eq!((head.method, head.is_1_1, head.content), (Method::Get, true, Framing::Length(0)));
    assert_eq!(head.target, Target::Resource { path: "/", query: None, authority: None });
    assert!(head.persists && !head.says_keep_alive && !head.expects_continue);
    let range = Some("bytes=0-1");
    assert_eq!(head.conditions, Conditions { range, ..Conditions::default() }, "the first counts");
}

#[test]
fn a_connection_persists_by_default_or_when_asked_to() {
    for (line, fields, persists, says) in [
        ("HTTP/1.1", "", true, false),
        ("HTTP/1.1", "Connection: close\r\n", false, false),
        ("HTTP/1.1", "Connection: keep-alive\r\n", true, true),
        ("HTTP/1.1", "connection:\tKeep-Alive , TE\r\n", true, true),
        ("HTTP/1.1", "Connection: keep-alive\r\nConnection: CLOSE\r\n", false, false),
        ("HTTP/1.1", "Connection: upgrade\r\n", true, false),
        ("HTTP/1.0", "", false, false),
        ("HTTP/1.0", "Connection: Keep-Alive\r\n", true, true),
        ("HTTP/1.0", "Connection: keep-alive, close\r\n", false, false),
        ("HTTP/1.7", "", true, false),
    ] {
        let text = format!("GET / {line}\r\nHost: a\r\n{fields}\r\n");
        let head = head(&text);
        assert_eq!((head.persists, head.says_keep_alive), (persists, says), "{line} {fields:?}");
    }
}

#[test]
fn versions() {
    assert!(!head("GET / HTTP/1.0\r\n\r\n").is_1_1);
    assert!(head("GET / HTTP/1.9\r\nHost: a\r\n\r\n").is_1_1, "as 1.1");
    assert_refused("GET / HTTP/1.9\r\n\r\n", Status::BadRequest);
    assert_refused("GET / HTTP/1.9\r\nHost : a\r\n\r\n", Status::BadRequest);
    for version in ["HTTP/2.0", "HTTP/0.9", "HTTP/3.0", "HTTP/2", "HTTP/9.9"] {
        assert_refused(&format!("GET / {version}\r\nHost: a\r\n\r\n"), Status::VersionNotSupported);
    }
    assert_refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Status::VersionNotSupported);
    for version in ["HTTP/1", "HTTP/1.", "HTTP/11", "HTTP/1.10", "HTTPS/1.1", "http/1.1", "x", ""] {
        assert_refused(&format!("GET / {version}\r\nHost: a\r\n\r\n"), Status::BadRequest);
    }
    // HTTP/0.9 had none.
    assert_refused("GET /\r\n\r\n", Status::BadRequest);
}

#[test]
fn request_lines() {
    for line in [
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / a HTTP/2.0",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET / a HTTP/1.1",
        "GET /\0 HTTP/1.1",
        "GET /\x7f HTTP/1.1",
        "G(T / HTTP/1.1",
        "GET / HTTP/1.1\rX: y",
        "\rGET / HTTP/1.1",
    ] {
        assert_refused(&format!("{line}\r\nHost: a\r\n\r\n"), Status::BadRequest);
    }
    assert_eq!(head("OPTIONS * HTTP/1.1\nHost: a\n\n").target, Target::Server, "bare LF");
    for (name, method) in [
        ("HEAD", Method::Head),
        ("POST", Method::Post),
        ("PATCH", Method::Unsupported),
        ("get", Method::Unknown),
        ("BREW", Method::Unknown),
    ] {
        assert_eq!(head(&format!("{name} / HTTP/1.1\r\nHost: a\r\n\r\n")).method, method);
    }
}

#[test]
fn hosts() {
    for good in ["Host: a:80", "Host:", "HOST:\t[fd77::1]:1 ", "host: a"] {
        head(&format!("GET / HTTP/1.1\r\n{good}\r\n\r\n"));
    }
    for bad in ["", "Host: a b\r\n", "Host: a/b\r\n", "Host: a@b\r\n", "Host: a\r\nHost: a\r\n"] {
        assert_refused(&format!("GET / HTTP/1.1\r\n{bad}\r\n"), Status::BadRequest);
    }
    head("GET / HTTP/1.0\r\n\r\n");
    assert_refused("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", Status::BadRequest);
    let absolute = "GET http://b/c HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(
        head(absolute).target,
        Target::Resource { path: "/c", query: None, authority: Some("b") },
        "RFC 9112 section 3.2.2: the Host field is ignored"
    );
    assert_refused("GET http://b/c HTTP/1.1\r\n\r\n", Status::BadRequest);
}

#[test]
fn what_smuggles_requests_is_refused() {
    for lines in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: \u{661}\r\n",
        "Content-Length:\r\n",
        "Content-Length : 5\r\n",
        "Content-Length\t: 5\r\n",
        "Content-Length\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked;a=b\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "X: a\r\n b\r\n",
        " X: a\r\n",
        "X: a\rTransfer-Encoding: chunked\r\n",
        "X: a\r\r\n",
        "X: a\0b\r\n",
        "X\0: a\r\n",
        ": a\r\n",
        "X\u{e9}: a\r\n",
        "X\r\n",
    ] {
        assert_refused(&with(lines), Status::BadRequest);
    }
    // A space before the first field (RFC 9112 section 2.2).
    assert_refused("GET / HTTP/1.1\r\n Host: a\r\nHost: a\r\n\r\n", Status::BadRequest);
    let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_refused(old, Status::BadRequest);
    assert_refused(&with("Transfer-Encoding: gzip, chunked\r\n"), Status::NotImplemented);
    assert_eq!(head(&with("Transfer-Encoding: Chunked\r\n")).content, Framing::Chunked);
    assert_eq!(head(&with("Content-Length: 007 \r\n")).content, Framing::Length(7));
    let most = with("Content-Length: 99999999999999999999999\r\n");
    assert_eq!(head(&most).content, Framing::Length(u64::MAX), "too much in any case");
}

#[test]
fn expectations() {
    assert!(head(&with("Expect: 100-Continue\r\n")).expects_continue);
    assert_refused(&with("Expect: 200-ok\r\n"), Status::ExpectationFailed);
    assert!(!head("GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n").expects_continue);
}

#[test]
fn long_heads_are_refused_by_what_is_long_in_them() {
    let long = "a".repeat(HEAD_MAX);
    assert_refused(&format!("GET /{long}"), Status::UriTooLong);
    assert_refused(&format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), Status::UriTooLong);
    assert_refused(&with(&format!("X: {long}\r\n")), Status::FieldsTooLarge);
    assert_refused(&with(&"X: y\r\n".repeat(FIELDS_MAX)), Status::FieldsTooLarge);
    head(&with(&"X: y\r\n".repeat(FIELDS_MAX - 1)));
    // To the byte.
    let fill = |len: usize| with(&format!("X: {}\r\n", "a".repeat(len - with("X: \r\n").len())));
    assert_eq!(head(&fill(HEAD_MAX)).method, Method::Get);
    assert_refused(&fill(HEAD_MAX + 1), Status::FieldsTooLarge);
    assert_eq!(parse(&fill(HEAD_MAX + 1).as_bytes()[..HEAD_MAX - 1]), Parsed::Partial);
    let later = fill(HEAD_MAX + 1).replace("HTTP/1.1", "HTTP/1.2");
    assert_refused(&later, Status::FieldsTooLarge);
}

/// Requests that come near being good.
pub(in crate::service::http) fn any_head() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        8 => Just("GET / HTTP/1.1"),
        2 => Just("HEAD /a%20b?c HTTP/1.0"),
        1 => Just("OPTIONS * HTTP/1.1"),
        1 => Just("GET http://a/b HTTP/1.1"),
        1 => Just("POST /echo HTTP/1.1"),
        1 => Just("GET / HTTP/1.2"),
        1 => Just("GET / HTTP/2.0"),
        1 => Just("GET / HTTP/2"),
        1 => Just("GET  / HTTP/1.1"),
        1 => Just("G T / HTTP/1.1"),
        1 => Just(""),
    ];
    let field = prop_oneof![
        4 => Just("Host: a"),
        2 => Just("Connection: keep-alive"),
        1 => Just("Connection: close"),
        1 => Just("Content-Length: 0"),
        1 => Just("Transfer-Encoding: chunked"),
        1 => Just("Expect: 100-continue"),
        1 => Just("Range: bytes=1-2"),
        1 => Just(" folded"),
        1 => Just("X : y"),
        1 => Just("X: \r"),
    ];
    let fields = proptest::collection::vec(field, 0..4);
    let end = prop_oneof![4 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r")];
    (line, fields, end).prop_map(|(line, fields, end)| {
        let mut text = format!("{line}{end}");
        for field in fields {
            text.extend([field, end]);
        }
        text + end
    })
}

proptest! {
    #[test]
    fn a_part_says_nothing_else_than_the_whole(text in any_head(), more in any::<Vec<u8>>()) {
        let whole = parse(text.as_bytes());
        for cut in 0..text.len() {
            let part = parse(&text.as_bytes()[..cut]);
            prop_assert!(part == Parsed::Partial || part == whole, "{}: {:?}", cut, part);
        }
        if whole != Parsed::Partial {
            let followed = [text.as_bytes(), &more].concat();
            prop_assert_eq!(parse(&followed), whole);
        }
    }

    #[test]
    fn nothing_panics(bytes in any::<Vec<u8>>()) {
        if let Parsed::Head(_, len) = parse(&bytes) {
            prop_assert!(len <= bytes.len());
        }
    }
}
