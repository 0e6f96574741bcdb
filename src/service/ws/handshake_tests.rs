//! The handshake, from the example of RFC 6455 section 1.3 and every rule of section 4.2.1.

use super::*;

const REQUEST: &str = "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Origin: http://example.com\r\nSec-WebSocket-Protocol: chat, superchat\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// The request with `line` in the place of the one that begins like it.
fn with(line: &str) -> String {
    let name = line.split_inclusive([':', ' ']).next().unwrap();
    let lines = REQUEST.split_inclusive("\r\n");
    lines
        .map(|old| if old.starts_with(name) { format!("{line}\r\n") } else { old.into() })
        .collect()
}

/// The request without the field `name`.
fn without(name: &str) -> String {
    REQUEST.split_inclusive("\r\n").filter(|line| !line.starts_with(name)).collect()
}

/// The request with one more field.
fn and(line: &str) -> String {
    REQUEST.replace("\r\n\r\n", &format!("\r\n{line}\r\n\r\n"))
}

fn verdict(request: &str) -> Result<Option<String>, Refusal> {
    let judged = judge(request.as_bytes())?;
    Ok(judged.map(|accepted| {
        assert_eq!(accepted.request_len, request.len());
        String::from_utf8(accepted.answer().to_vec()).unwrap()
    }))
}

#[test]
fn the_example_of_section_1_3_is_accepted_when_it_is_whole() {
    assert_eq!(verdict(REQUEST), Ok(Some(ANSWER.to_owned())));
    for cut in 0..REQUEST.len() {
        assert_eq!(verdict(&REQUEST[..cut]), Ok(None), "cut to {cut}");
    }
    let with_a_frame = [REQUEST.as_bytes(), b"\x89\x80\0\0\0\0"].concat();
    let accepted = judge(&with_a_frame).unwrap().unwrap();
    assert_eq!(accepted.request_len, REQUEST.len(), "frames may follow at once");
}

#[test]
fn names_and_tokens_are_taken_in_any_case_and_from_lists() {
    for request in [
        with("Upgrade: WebSocket"),
        with("Upgrade: h2c, websocket"),
        with("Connection: keep-alive, Upgrade"),
        with("Connection: keep-alive\r\nconnection: UPGRADE"),
        with("Sec-WebSocket-Version:13").replace("Sec-WebSocket-Key", "SEC-WEBSOCKET-KEY"),
        and("Content-Length: 0"),
    ] {
        assert_eq!(verdict(&request), Ok(Some(ANSWER.to_owned())), "{request}");
    }
}

#[test]
fn every_rule_has_its_refusal() {
    use Refusal::*;
    let long = format!("X: {}", "x".repeat(HEAD_LEN_MAX));
    let many = "X: y\r\n".repeat(FIELDS_MAX) + "X: y";
    for (request, refusal) in [
        (with("GET / HTTP/1.0"), BadRequest),
        (with("GET / HTTP/2.0"), BadRequest),
        (with("GET  HTTP/1.1"), BadRequest),
        ("\x16\x03\x01\x02\x00\x01\x00".to_owned(), BadRequest),
        (with("GET / HTTP/1.1").replace("GET", "POST"), Method),
        (with("GET / HTTP/1.1").replace("GET", "HEAD"), Method),
        (without("Host"), BadRequest),
        (and("Host: other.example.com"), BadRequest),
        (without("Upgrade"), NoUpgrade),
        (with("Upgrade: h2c"), NoUpgrade),
        (without("Connection"), NoUpgrade),
        (with("Connection: keep-alive"), NoUpgrade),
        (without("Sec-WebSocket-Version"), Version),
        (with("Sec-WebSocket-Version: 8"), Version),
        (with("Sec-WebSocket-Version: 13, 8"), Version),
        (without("Sec-WebSocket-Key"), BadRequest),
        (with("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ"), BadRequest),
        (with("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZSE="), BadRequest),
        (with("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=!"), BadRequest),
        (and("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), BadRequest),
        (and("Content-Length: 1"), BadRequest),
        (and("Transfer-Encoding: chunked"), BadRequest),
        (and("X : y"), BadRequest),
        (and(&long), TooLarge),
        (and(&many), TooLarge),
    ] {
        assert_eq!(verdict(&request), Err(refusal), "{request}");
    }
}

#[test]
fn a_head_without_an_end_is_refused_at_the_limit() {
    let head = format!("GET /{} ", "x".repeat(HEAD_LEN_MAX));
    assert_eq!(verdict(&head[..HEAD_LEN_MAX - 1]), Ok(None));
    assert_eq!(verdict(&head[..HEAD_LEN_MAX]), Err(Refusal::TooLarge));
}

#[test]
fn every_refusal_says_what_http_wants_said() {
    for refusal in Refusal::ALL {
        let answer = refusal.answer();
        let mut fields = [httparse::EMPTY_HEADER; 8];
        let mut response = httparse::Response::new(&mut fields);
        let parsed = response.parse(answer.as_bytes());
        assert_eq!(parsed, Ok(httparse::Status::Complete(answer.len())), "{answer}");
        assert_eq!(response.code, Some(refusal.status()));
        assert_eq!(only(response.headers, "Content-Length"), Ok(Some("0")));
        assert!(lists(response.headers, "Connection", "close"));
        let status = refusal.status();
        assert_eq!(lists(response.headers, "Upgrade", "websocket"), status == 426);
        let version = only(response.headers, "Sec-WebSocket-Version").unwrap();
        assert_eq!(version == Some("13"), status == 426);
        assert_eq!(lists(response.headers, "Allow", "GET"), status == 405);
    }
}
