//! What HTTP's health check answers: its head differs with the date, and with who serves it.

use super::greeting::Welcome;
use crate::service::http::HEALTHY;

/// Asks how a server is.
pub(super) const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: tenmil\r\n\r\n";

/// The most fields of an answer.
const FIELDS_MAX: usize = 32;

/// Judges the beginning of an answer to [`REQUEST`]: 200, with the content of a server that is well, whose
/// length the head says (RFC 9112 section 6.3). Says whether it is the last one on its connection, too
/// (section 9.6).
pub(crate) fn judge(bytes: &[u8]) -> (Welcome, bool) {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let head_len = match response.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return (Welcome::Wait, false),
        Err(_) => return (Welcome::Wrong, false),
    };
    let lengths = response.headers.iter();
    let mut lengths = lengths.filter(|field| field.name.eq_ignore_ascii_case("Content-Length"));
    let len = lengths.next().and_then(|field| core::str::from_utf8(field.value).ok());
    let is_right = response.code == Some(200)
        && len.and_then(|len| len.parse().ok()) == Some(HEALTHY.len())
        && lengths.next().is_none();
    let mut options = response.headers.iter();
    let is_last = options
        .any(|field| field.name.eq_ignore_ascii_case("Connection") && says_close(field.value));
    let content = &bytes[head_len..];
    let judged = match content.get(..HEALTHY.len()) {
        _ if !is_right => Welcome::Wrong,
        Some(content) if content == HEALTHY.as_bytes() => Welcome::Came(head_len + HEALTHY.len()),
        Some(_) => Welcome::Wrong,
        None => Welcome::Wait,
    };
    (judged, is_last)
}

/// Whether this list of connection options (RFC 9110 section 7.6.1) has `close`.
fn says_close(options: &[u8]) -> bool {
    let mut options = options.split(|&byte| byte == b',');
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::by_hand::ByHand;
    use crate::service::http::{Http, NoFiles, Setup};
    use crate::time::Instant;

    #[test]
    fn what_the_server_answers_is_right() {
        let mut http = Http::new(&Setup::default(), Box::new(NoFiles));
        let mut hand = ByHand::new(Instant::ZERO);
        hand.receive(&mut http, REQUEST, 1460);
        let answer = hand.sent();
        for cut in 0..answer.len() {
            assert_eq!(judge(&answer[..cut]).0, Welcome::Wait, "cut to {cut}");
        }
        let more = [answer, answer].concat();
        assert_eq!(judge(&more), (Welcome::Came(answer.len()), false));
    }

    #[test]
    fn the_last_answer_says_that_it_is() {
        let setup = Setup { requests_max: 2, ..Setup::default() };
        let mut http = Http::new(&setup, Box::new(NoFiles));
        let mut hand = ByHand::new(Instant::ZERO);
        for is_last in [false, true] {
            let before = hand.sent().len();
            hand.receive(&mut http, REQUEST, 1460);
            let answer = &hand.sent()[before..];
            assert_eq!(judge(answer), (Welcome::Came(answer.len()), is_last));
        }
        for (options, is_last) in
            [("close", true), ("x, Close ", true), ("keep-alive", false), ("closed", false)]
        {
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: {options}\r\n\r\nok\n"
            );
            assert_eq!(judge(answer.as_bytes()), (Welcome::Came(answer.len()), is_last));
        }
    }

    #[test]
    fn other_answers_are_wrong() {
        for answer in [
            "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 3\r\n\r\nok\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nno\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nok\n",
            "HTTP/1.1 200 OK\r\n\r\nok\n",
            "PONG\n",
        ] {
            assert_eq!(judge(answer.as_bytes()).0, Welcome::Wrong, "{answer}");
        }
    }
}
