//! The content of a request: where it ends, by its length or by its chunks (RFC 9112 section 7.1).

use super::head::Framing;
use super::status::Status;
use core::ops::Range;

/// The most bytes of chunk extensions and trailer fields in one content, together.
const EXTRAS_MAX: u16 = 8 * 1024;

/// Digits of a chunk's size, at most: more than any content may be long.
const DIGITS_MAX: u8 = 15;

/// What is left of a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked(Chunks),
}

/// What was taken from the front of some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// How many bytes.
    pub(super) consumed: usize,
    /// Which of them are content.
    pub(super) content: Range<usize>,
    /// Whether they are the last.
    pub(super) is_last: bool,
}

impl Body {
    /// The content that a request announces, or why it is refused at once: it is longer than `len_max`
    /// bytes.
    pub(super) fn new(framing: Framing, len_max: u64) -> Result<Body, Status> {
        match framing {
            Framing::Length(len) if len > len_max => Err(Status::ContentTooLarge),
            Framing::Length(len) => Ok(Body::Length(len)),
            Framing::Chunked => Ok(Body::Chunked(Chunks::new(len_max))),
        }
    }

    /// Whether there is nothing to come.
    pub(super) fn is_empty(&self) -> bool {
        *self == Body::Length(0)
    }

    /// Takes one piece from the front of `bytes`, which are not empty; at most `content_max` bytes of it
    /// are content, which is at least one.
    pub(super) fn take(&mut self, bytes: &[u8], content_max: usize) -> Result<Taken, Status> {
        match self {
            Body::Length(left) => {
                let most = bytes.len().min(content_max);
                let len = usize::try_from(*left).map_or(most, |left| left.min(most));
                *left -= len as u64;
                Ok(Taken { consumed: len, content: 0..len, is_last: *left == 0 })
            }
            Body::Chunked(chunks) => chunks.take(bytes, content_max),
        }
    }
}

/// A content in chunks, of which the bytes before have been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunks {
    place: Place,
    /// What is left of this chunk; while its size is being read, what its digits say so far.
    left: u64,
    digits: u8,
    /// How many bytes of content may still come.
    content_left: u64,
    /// How many bytes of extensions and trailer fields may still come.
    extras_left: u16,
}

/// Where in a chunked content the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In the digits of a size.
    Size,
    /// In white space behind a size: an extension must follow.
    BeforeExtension,
    /// In extensions, and there in a quoted string, and behind its backslash.
    Extension,
    Quoted,
    Escaped,
    /// At the LF of a size's line.
    SizeLf,
    /// In a chunk's bytes.
    Content,
    /// At the CR and the LF behind them.
    ContentCr,
    ContentLf,
    /// At the beginning of a trailer's line, in its name, and in its value.
    Trailer,
    TrailerName,
    TrailerValue,
    /// At the LF of a trailer's line, and of the last one, which is empty.
    TrailerLf,
    LastLf,
}

impl Chunks {
    fn new(len_max: u64) -> Chunks {
        Chunks {
            place: Place::Size,
            left: 0,
            digits: 0,
            content_left: len_max,
            extras_left: EXTRAS_MAX,
        }
    }

    fn take(&mut self, bytes: &[u8], content_max: usize) -> Result<Taken, Status> {
        for (at, &byte) in bytes.iter().enumerate() {
            if self.place == Place::Content {
                let most = (bytes.len() - at).min(content_max);
                let len = usize::try_from(self.left).map_or(most, |left| left.min(most));
                self.left -= len as u64;
                if self.left == 0 {
                    self.place = Place::ContentCr;
                }
                return Ok(Taken { consumed: at + len, content: at..at + len, is_last: false });
            }
            if self.is_last(byte)? {
                return Ok(Taken { consumed: at + 1, content: 0..0, is_last: true });
            }
        }
        Ok(Taken { consumed: bytes.len(), content: 0..0, is_last: false })
    }

    /// Takes one byte that is not content; returns whether it was the last of all. Line ends are CRLF
    /// here, and nothing else: proxies that took others were fooled by them.
    fn is_last(&mut self, byte: u8) -> Result<bool, Status> {
        let bad = Err(Status::BadRequest);
        self.place = match (self.place, byte) {
            (Place::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                self.add_digit(byte)?;
                Place::Size
            }
            (Place::Size, _) if self.digits == 0 => return bad,
            (Place::Size | Place::BeforeExtension, b' ' | b'\t') => {
                self.extra(Place::BeforeExtension)?
            }
            (Place::Size | Place::BeforeExtension, b';') => self.extra(Place::Extension)?,
            (Place::Size | Place::Extension, b'\r') => Place::SizeLf,
            (Place::Extension, b'"') => self.extra(Place::Quoted)?,
            (Place::Quoted, b'"') => self.extra(Place::Extension)?,
            (Place::Quoted, b'\\') => self.extra(Place::Escaped)?,
            (Place::Escaped, byte) if is_text(byte) => self.extra(Place::Quoted)?,
            (Place::Extension | Place::Quoted, byte) if is_text(byte) => self.extra(self.place)?,
            (Place::SizeLf, b'\n') => self.begin_chunk()?,
            (Place::ContentCr, b'\r') => Place::ContentLf,
            (Place::ContentLf, b'\n') => Place::Size,
            (Place::Trailer, b'\r') => Place::LastLf,
            (Place::Trailer | Place::TrailerName, byte) if is_token(byte) => {
                self.extra(Place::TrailerName)?
            }
            (Place::TrailerName, b':') => self.extra(Place::TrailerValue)?,
            (Place::TrailerValue, b'\r') => Place::TrailerLf,
            (Place::TrailerValue, byte) if is_text(byte) => self.extra(Place::TrailerValue)?,
            (Place::TrailerLf, b'\n') => Place::Trailer,
            (Place::LastLf, b'\n') => return Ok(true),
            _ => return bad,
        };
        Ok(false)
    }

    fn add_digit(&mut self, byte: u8) -> Result<(), Status> {
        let digit = char::from(byte).to_digit(16).unwrap_or(0);
        self.digits += 1;
        if self.digits > DIGITS_MAX {
            return Err(Status::BadRequest);
        }
        self.left = self.left << 4 | u64::from(digit);
        Ok(())
    }

    /// A size was read.
    fn begin_chunk(&mut self) -> Result<Place, Status> {
        let left = self.content_left.checked_sub(self.left);
        self.content_left = left.ok_or(Status::ContentTooLarge)?;
        self.digits = 0;
        Ok(if self.left == 0 { Place::Trailer } else { Place::Content })
    }

    /// Counts a byte that is ignored, and goes on to `place`.
    fn extra(&mut self, place: Place) -> Result<Place, Status> {
        let left = self.extras_left.checked_sub(1);
        self.extras_left = left.ok_or(Status::FieldsTooLarge)?;
        Ok(place)
    }
}

/// Whether a byte may stand in a field's value (RFC 9110 section 5.5).
fn is_text(byte: u8) -> bool {
    byte == b'\t' || byte >= b' ' && byte != 0x7f
}

/// Whether a byte may stand in a field's name (RFC 9110 section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
