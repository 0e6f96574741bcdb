//! The opening handshake: an HTTP/1.1 request to upgrade, and its answer (RFC 6455 section 4).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha1_smol::Sha1;

/// The longest request head, in bytes.
pub const HEAD_LEN_MAX: usize = 8 * 1024;

/// The most fields that a request head may have.
const FIELDS_MAX: usize = 64;

/// What is appended to a client's key (section 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// How long a key, or the answer to one, may be: 16 and 20 bytes in base64.
const KEY_LEN: usize = 24;
const ACCEPT_LEN: usize = 28;

/// The beginning of the answer that accepts, and its end; between them is what [`accept`] returns.
const ACCEPTED: [&str; 2] = [
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
     Sec-WebSocket-Accept: ",
    "\r\n\r\n",
];

/// How long the answer that accepts is, in bytes.
pub const ANSWER_LEN: usize = ACCEPTED[0].len() + ACCEPT_LEN + ACCEPTED[1].len();

/// Why a client is not let in; each is answered with a status of HTTP and the end of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not HTTP/1.1, or against its rules or those of section 4.2.1.
    BadRequest,
    /// The method is not GET.
    Method,
    /// The client asks for no upgrade to WebSocket.
    NoUpgrade,
    /// The client speaks another version of the protocol than 13.
    Version,
    /// The head is longer than [`HEAD_LEN_MAX`], or has too many fields.
    TooLarge,
    /// The head did not come in time.
    Timeout,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Refusal; 6] = [
        Refusal::BadRequest,
        Refusal::Method,
        Refusal::NoUpgrade,
        Refusal::Version,
        Refusal::TooLarge,
        Refusal::Timeout,
    ];

    /// The status code.
    pub const fn status(self) -> u16 {
        match self {
            Refusal::BadRequest => 400,
            Refusal::Method => 405,
            Refusal::Timeout => 408,
            Refusal::NoUpgrade | Refusal::Version => 426,
            Refusal::TooLarge => 431,
        }
    }

    /// The name of its counter.
    pub const fn name(self) -> &'static str {
        match self {
            Refusal::BadRequest => "ws_400",
            Refusal::Method => "ws_405",
            Refusal::NoUpgrade => "ws_426_upgrade",
            Refusal::Version => "ws_426_version",
            Refusal::TooLarge => "ws_431",
            Refusal::Timeout => "ws_408",
        }
    }

    /// The whole answer.
    pub const fn answer(self) -> &'static str {
        match self {
            Refusal::BadRequest => {
                "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            }
            // RFC 9110 section 15.5.6: "MUST generate an Allow header field".
            Refusal::Method => {
                "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET\r\nConnection: close\r\n\
                 Content-Length: 0\r\n\r\n"
            }
            Refusal::Timeout => {
                "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            }
            // RFC 9110 section 15.5.22: "The server MUST send an Upgrade header field"; section 7.8:
            // its sender must also name it in Connection. RFC 6455 section 4.4: the versions that are
            // understood.
            Refusal::NoUpgrade | Refusal::Version => {
                "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade, close\r\nSec-WebSocket-Version: 13\r\nContent-Length: 0\r\n\r\n"
            }
            Refusal::TooLarge => {
                "HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n\
                 Content-Length: 0\r\n\r\n"
            }
        }
    }
}

/// A client that may come in: what to answer, and how long its request was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The length of the request, in bytes. What follows are frames.
    pub request_len: usize,
    answer: [u8; ANSWER_LEN],
}

impl Accepted {
    /// The answer.
    pub fn answer(&self) -> &[u8] {
        &self.answer
    }
}

/// Judges the request at the beginning of `bytes`; none if its end has not come.
///
/// # Errors
///
/// Why the client is refused.
pub fn judge(bytes: &[u8]) -> Result<Option<Accepted>, Refusal> {
    let head = &bytes[..bytes.len().min(HEAD_LEN_MAX)];
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    let request_len = match request.parse(head) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) if bytes.len() >= HEAD_LEN_MAX => {
            return Err(Refusal::TooLarge);
        }
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TooLarge),
        Err(_) => return Err(Refusal::BadRequest),
    };
    let key = check(&request)?;
    Ok(Some(Accepted { request_len, answer: answer(key) }))
}

/// Holds a request against section 4.2.1, and returns its key.
fn check<'a>(request: &httparse::Request<'_, 'a>) -> Result<&'a str, Refusal> {
    if request.version != Some(1) {
        return Err(Refusal::BadRequest);
    }
    if request.method != Some("GET") {
        return Err(Refusal::Method);
    }
    let fields = &*request.headers;
    // RFC 9112 section 3.2: a request without Host, or with two, is answered 400.
    only(fields, "Host")?.ok_or(Refusal::BadRequest)?;
    if !lists(fields, "Upgrade", "websocket") || !lists(fields, "Connection", "upgrade") {
        return Err(Refusal::NoUpgrade);
    }
    if only(fields, "Sec-WebSocket-Version")? != Some("13") {
        return Err(Refusal::Version);
    }
    let key = only(fields, "Sec-WebSocket-Key")?.ok_or(Refusal::BadRequest)?;
    let mut nonce = [0; 18];
    let is_key = key.len() == KEY_LEN
        && BASE64_STANDARD.decode_slice(key, &mut nonce).is_ok_and(|len| len == 16);
    // A body would stand where frames are expected.
    let has_body = only(fields, "Content-Length")?.is_some_and(|len| len != "0")
        || only(fields, "Transfer-Encoding")?.is_some();
    if is_key && !has_body { Ok(key) } else { Err(Refusal::BadRequest) }
}

/// The value of the field `name`, without the space around it, if there is one.
///
/// # Errors
///
/// There are several, or the value is not text.
fn only<'a>(fields: &[httparse::Header<'a>], name: &str) -> Result<Option<&'a str>, Refusal> {
    let mut found = fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
    let Some(field) = found.next() else { return Ok(None) };
    let value = core::str::from_utf8(field.value).map_err(|_| Refusal::BadRequest)?;
    if found.next().is_some() { Err(Refusal::BadRequest) } else { Ok(Some(value.trim_ascii())) }
}

/// Whether `token` is in the lists that the fields `name` are, in any case (RFC 9110 section 5.6.1).
fn lists(fields: &[httparse::Header<'_>], name: &str, token: &str) -> bool {
    let named = fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
    let mut members = named.flat_map(|field| field.value.split(|&byte| byte == b','));
    members.any(|member| member.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// What a server proves with that it understood the client's `key` (section 4.2.2).
pub fn accept(key: &str) -> [u8; ACCEPT_LEN] {
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(GUID.as_bytes());
    let mut accept = [0; ACCEPT_LEN];
    let len = BASE64_STANDARD.encode_slice(hash.digest().bytes(), &mut accept);
    debug_assert_eq!(len, Ok(ACCEPT_LEN), "20 bytes in base64");
    accept
}

/// The answer to a client that sent `key`.
fn answer(key: &str) -> [u8; ANSWER_LEN] {
    let mut answer = [0; ANSWER_LEN];
    let (begin, rest) = answer.split_at_mut(ACCEPTED[0].len());
    let (middle, end) = rest.split_at_mut(ACCEPT_LEN);
    begin.copy_from_slice(ACCEPTED[0].as_bytes());
    middle.copy_from_slice(&accept(key));
    end.copy_from_slice(ACCEPTED[1].as_bytes());
    answer
}

#[cfg(test)]
#[path = "handshake_tests.rs"]
mod tests;
