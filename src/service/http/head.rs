//! Request heads: what stands before the content, as RFC 9112 frames it and RFC 9110 means it.

use super::status::Status;
use super::target::{Target, is_authority};
use core::mem::MaybeUninit;
use httparse::{Error, Header};

/// The longest head, in bytes.
pub(super) const HEAD_MAX: usize = 8 * 1024;

/// The most header fields in one.
const FIELDS_MAX: usize = 100;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head<'a> {
    pub(super) method: Method,
    pub(super) target: Target<'a>,
    /// Whether it is of HTTP/1.1, or of a later 1.x; else of HTTP/1.0.
    pub(super) is_1_1: bool,
    pub(super) content: Framing,
    /// Whether the client waits for a 100 before it sends the content.
    pub(super) expects_continue: bool,
    /// Whether the connection may be used for another request (RFC 9112 section 9.3), and whether the
    /// client said so itself.
    pub(super) persists: bool,
    pub(super) says_keep_alive: bool,
    pub(super) conditions: Conditions<'a>,
}

/// The methods of RFC 9110 section 9 and RFC 5789.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Head,
    Post,
    Options,
    /// PUT, DELETE, CONNECT, TRACE or PATCH: known, and allowed nowhere.
    Unsupported,
    /// One that nobody here knows.
    Unknown,
}

impl Method {
    fn parse(name: &str) -> Method {
        match name {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            "OPTIONS" => Method::Options,
            "PUT" | "DELETE" | "CONNECT" | "TRACE" | "PATCH" => Method::Unsupported,
            _ => Method::Unknown,
        }
    }
}

/// How long the content of a request is (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes.
    Length(u64),
    /// Until the last chunk.
    Chunked,
}

/// The fields that make a request conditional (RFC 9110 section 13), or ask for a range (section 14).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Conditions<'a> {
    pub(super) if_match: Option<&'a str>,
    pub(super) if_none_match: Option<&'a str>,
    pub(super) if_modified_since: Option<&'a str>,
    pub(super) if_unmodified_since: Option<&'a str>,
    pub(super) if_range: Option<&'a str>,
    pub(super) range: Option<&'a str>,
}

/// What was found at the front of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parsed<'a> {
    /// The beginning of a head.
    Partial,
    /// A head, of so many bytes.
    Head(Head<'a>, usize),
    /// What is no request, and after which nothing can be trusted to be one.
    Refused(Status),
}

/// Reads the head at the front of `bytes`, where no empty line stands. What it says does not depend on what follows the head, nor on
/// how much of it has come before.
pub(super) fn parse(bytes: &[u8]) -> Parsed<'_> {
    let is_full = bytes.len() >= HEAD_MAX;
    let bytes = &bytes[..bytes.len().min(HEAD_MAX)];
    let mut fields = [const { MaybeUninit::<Header<'_>>::uninit() }; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut []);
    let line_len = bytes.iter().position(|&byte| byte == b'\n').map(|at| at + 1);
    let parsed = request.parse_with_uninit_headers(bytes, &mut fields);
    let refused = match parsed {
        Ok(httparse::Status::Complete(len)) => {
            let is_1_1 = request.version == Some(1);
            let (method, target) = (request.method.unwrap_or(""), request.path.unwrap_or(""));
            return match understand(method, target, is_1_1, request.headers) {
                Ok(head) => Parsed::Head(head, len),
                Err(status) => Parsed::Refused(status),
            };
        }
        Ok(httparse::Status::Partial) if !is_full => return Parsed::Partial,
        // The target is what makes a line long.
        Ok(httparse::Status::Partial) if line_len.is_none() => Status::UriTooLong,
        Ok(httparse::Status::Partial) | Err(Error::TooManyHeaders) => Status::FieldsTooLarge,
        Err(Error::Version) => match line_len {
            // What it is shows in the whole line.
            None if !is_full => return Parsed::Partial,
            None => Status::BadRequest,
            Some(len) => match Line::of(&bytes[..len]) {
                Some(Line { major: b'1', method, target }) => {
                    return parse_later_minor(method, target, bytes, len);
                }
                Some(_) => Status::VersionNotSupported,
                None => Status::BadRequest,
            },
        },
        Err(_) => Status::BadRequest,
    };
    Parsed::Refused(refused)
}

/// A request line of a version that is none of ours, and whose rest is well formed.
struct Line<'a> {
    method: &'a str,
    target: &'a str,
    /// The digit.
    major: u8,
}

impl Line<'_> {
    fn of(line: &[u8]) -> Option<Line<'_>> {
        let line = core::str::from_utf8(line).ok()?.strip_suffix('\n')?;
        let line = line.strip_suffix('\r').unwrap_or(line);
        let mut words = line.split(' ');
        let (method, target, version) = (words.next()?, words.next()?, words.next()?);
        if words.next().is_some() {
            return None;
        }
        match *version.strip_prefix("HTTP/")?.as_bytes() {
            [major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
                Some(Line { method, target, major })
            }
            // HTTP/2 and HTTP/3 are written like this in other places.
            [major @ b'2'..=b'9'] => Some(Line { method, target, major }),
            _ => None,
        }
    }
}

/// A request of HTTP/1.2 or later: "A recipient that receives a message with a major version number that
/// it implements and a minor version number higher than what it implements SHOULD process the message as
/// if it was in the highest minor version within that major version" (RFC 9110 section 2.5).
fn parse_later_minor<'a>(
    method: &'a str,
    target: &'a str,
    bytes: &'a [u8],
    line_len: usize,
) -> Parsed<'a> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let refused = match httparse::parse_headers(&bytes[line_len..], &mut fields) {
        Ok(httparse::Status::Complete((len, fields))) => {
            return match understand(method, target, true, fields) {
                Ok(head) => Parsed::Head(head, line_len + len),
                Err(status) => Parsed::Refused(status),
            };
        }
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_MAX => return Parsed::Partial,
        Ok(httparse::Status::Partial) | Err(Error::TooManyHeaders) => Status::FieldsTooLarge,
        Err(_) => Status::BadRequest,
    };
    Parsed::Refused(refused)
}

/// What is gathered of the header fields.
#[derive(Default)]
struct Fields<'a> {
    host: Option<&'a str>,
    content_length: Option<u64>,
    transfer_coding: Option<Coding>,
    expects_continue: bool,
    expects_other: bool,
    says_close: bool,
    says_keep_alive: bool,
    conditions: Conditions<'a>,
}

/// What a Transfer-Encoding says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Coding {
    Chunked,
    /// Codings that are not known here, with `chunked` behind them.
    OthersChunked,
    /// Anything else: where the content ends cannot be known.
    Endless,
}

fn understand<'a>(
    method: &'a str,
    target: &'a str,
    is_1_1: bool,
    headers: &[Header<'a>],
) -> Result<Head<'a>, Status> {
    let mut fields = Fields::default();
    for header in headers {
        fields.add(header.name, header.value)?;
    }
    let target = Target::parse(method, target)?;
    // RFC 9112 section 3.2: "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1
    // request message that lacks a Host header field".
    if is_1_1 && fields.host.is_none() {
        return Err(Status::BadRequest);
    }
    if fields.expects_other {
        return Err(Status::ExpectationFailed);
    }
    let persists = !fields.says_close && (is_1_1 || fields.says_keep_alive);
    Ok(Head {
        method: Method::parse(method),
        target,
        is_1_1,
        content: fields.framing(is_1_1)?,
        // RFC 9110 section 10.1.1: "A server that receives a 100-continue expectation in an HTTP/1.0
        // request MUST ignore that expectation."
        expects_continue: fields.expects_continue && is_1_1,
        persists,
        says_keep_alive: persists && fields.says_keep_alive,
        conditions: fields.conditions,
    })
}

impl<'a> Fields<'a> {
    /// Adds a field. Those in which a mistake would matter are refused where they are malformed, or stand
    /// there twice; of the others, the first is taken.
    fn add(&mut self, name: &str, value: &'a [u8]) -> Result<(), Status> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        let text = core::str::from_utf8(value).map(|text| text.trim_matches([' ', '\t']));
        let bad = Err(Status::BadRequest);
        match name.len() {
            4 if is("Host") => match (text, self.host) {
                // Section 3.2: "or contains more than one Host header field line or a Host header field
                // with an invalid field value".
                (Ok(text), None) if is_authority(text) => self.host = Some(text),
                _ => return bad,
            },
            14 if is("Content-Length") => {
                // RFC 9112 section 6.3: an invalid one is an unrecoverable error, and so is a list here.
                let Ok(text) = text else { return bad };
                if self.content_length.is_some() || text.is_empty() {
                    return bad;
                }
                if !text.bytes().all(|byte| byte.is_ascii_digit()) {
                    return bad;
                }
                // More than can be counted is too much in any case.
                self.content_length = Some(text.parse().unwrap_or(u64::MAX));
            }
            17 if is("Transfer-Encoding") => {
                let Ok(text) = text else { return bad };
                let is_first = self.transfer_coding.is_none();
                self.transfer_coding = Some(if is_first { coding(text) } else { Coding::Endless });
            }
            10 if is("Connection") => {
                for option in list(text.unwrap_or("")) {
                    self.says_close |= option.eq_ignore_ascii_case("close");
                    self.says_keep_alive |= option.eq_ignore_ascii_case("keep-alive");
                }
            }
            6 if is("Expect") => match text {
                Ok(text) if text.eq_ignore_ascii_case("100-continue") => {
                    self.expects_continue = true;
                }
                _ => self.expects_other = true,
            },
            _ => {
                let Some(field) = self.conditions.field(name) else { return Ok(()) };
                *field = field.or(Some(text.unwrap_or("")));
            }
        }
        Ok(())
    }

    /// RFC 9112 sections 6.1 and 6.3.
    fn framing(&self, is_1_1: bool) -> Result<Framing, Status> {
        let Some(coding) = self.transfer_coding else {
            return Ok(Framing::Length(self.content_length.unwrap_or(0)));
        };
        // Both are an attempt at request smuggling, or might as well be: "A server MAY reject a request
        // that contains both". In HTTP/1.0, a Transfer-Encoding is faulty framing.
        if self.content_length.is_some() || !is_1_1 {
            return Err(Status::BadRequest);
        }
        match coding {
            Coding::Chunked => Ok(Framing::Chunked),
            // "A server that receives a request message with a transfer coding it does not understand
            // SHOULD respond with 501".
            Coding::OthersChunked => Err(Status::NotImplemented),
            // "the message body length cannot be determined reliably; the server MUST respond with the
            // 400 (Bad Request) status code and then close the connection".
            Coding::Endless => Err(Status::BadRequest),
        }
    }
}

impl<'a> Conditions<'a> {
    fn field(&mut self, name: &str) -> Option<&mut Option<&'a str>> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match name.len() {
            5 if is("Range") => Some(&mut self.range),
            8 if is("If-Match") => Some(&mut self.if_match),
            8 if is("If-Range") => Some(&mut self.if_range),
            13 if is("If-None-Match") => Some(&mut self.if_none_match),
            17 if is("If-Modified-Since") => Some(&mut self.if_modified_since),
            19 if is("If-Unmodified-Since") => Some(&mut self.if_unmodified_since),
            _ => None,
        }
    }
}

fn coding(text: &str) -> Coding {
    let chunked = |coding: &str| coding.eq_ignore_ascii_case("chunked");
    if chunked(text) {
        return Coding::Chunked;
    }
    // "A sender MUST NOT apply the chunked transfer coding more than once".
    match list(text).filter(|coding| chunked(coding)).count() {
        1 if list(text).last().is_some_and(chunked) && list(text).count() > 1 => {
            Coding::OthersChunked
        }
        _ => Coding::Endless,
    }
}

/// The elements of a comma-separated list (RFC 9110 section 5.6.1); empty ones are left out.
pub(super) fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(|element| element.trim_matches([' ', '\t'])).filter(|text| !text.is_empty())
}

#[cfg(test)]
#[path = "head_tests.rs"]
pub(super) mod tests;
