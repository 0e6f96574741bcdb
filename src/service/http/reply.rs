//! Replies as values, and their heads as bytes.

use super::condition::{Validators, date};
use super::files::FileId;
use super::status::Status;
use crate::time::Duration;
use core::fmt::Write as _;

/// The longest that a reply's head and a content that comes with it are together, in bytes, but for a
/// redirect.
pub(super) const REPLY_MAX: usize = 512;

/// The longest `Location`, in bytes.
pub(super) const LOCATION_MAX: usize = 2_048;

/// What is answered to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) status: Status,
    pub(super) content: Content,
    /// The methods that the resource has, where that is to be said.
    pub(super) allow: Option<&'static str>,
}

/// What a reply contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Its status, in words.
    Reason,
    /// Nothing.
    Empty,
    /// A text.
    Text(&'static str),
    /// Bytes of a file, which is open if there are any to be sent.
    File {
        file: Option<FileId>,
        offset: u64,
        end: u64,
        validators: Validators,
        media: &'static str,
    },
    /// Nothing, since the client has the file.
    NotModified(Validators),
    /// Nothing, since the file is not so long.
    OutOfRange(Validators),
    /// What the request contains; in chunks, if its length is not known.
    Echo(Option<u64>),
}

/// A request, while it is being answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exchange {
    /// How many requests there were on the connection, this one included.
    pub(super) requests: u16,
    /// Whether only the head of the answer is asked for.
    pub(super) is_head: bool,
    pub(super) after: After,
}

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    Close,
    Persist,
    /// It persists, and that is to be said: a client of HTTP/1.0 asked for it, or another would like to
    /// know. For how long, and how many more requests, where there are limits.
    SayKeepAlive {
        idle_timeout: Option<Duration>,
        requests_left: Option<u16>,
    },
}

impl Reply {
    /// A status that says all.
    pub(super) fn of(status: Status) -> Reply {
        Reply { status, content: Content::Reason, allow: None }
    }

    /// The file that is open for it.
    pub(super) fn file(&self) -> Option<FileId> {
        match self.content {
            Content::File { file, .. } => file,
            _ => None,
        }
    }

    /// Writes the head, and the content but for a file's and an echo's, in place of what is in `into`.
    /// The date is in seconds since 1970; `location` is for a redirect.
    pub(super) fn write(
        &self,
        exchange: &Exchange,
        unix_time: Option<u64>,
        location: &str,
        into: &mut String,
    ) {
        into.clear();
        // Writing to a string does not fail.
        let _ = self.write_head(exchange, unix_time, location, into);
        if !exchange.is_head {
            let _ = self.write_content(into);
        }
    }

    fn write_head(
        &self,
        exchange: &Exchange,
        unix_time: Option<u64>,
        location: &str,
        into: &mut String,
    ) -> core::fmt::Result {
        write!(into, "HTTP/1.1 {}\r\n", self.status.line())?;
        if let Some(secs) = unix_time {
            write!(into, "Date: {}\r\n", date(secs))?;
        }
        match self.content {
            Content::Reason => {
                let len = self.status.line().len() + 1;
                write!(into, "Content-Type: text/plain\r\nContent-Length: {len}\r\n")?;
            }
            Content::Empty => into.push_str("Content-Length: 0\r\n"),
            Content::Text(text) => {
                let len = text.len();
                write!(into, "Content-Type: text/plain\r\nContent-Length: {len}\r\n")?;
            }
            Content::File { offset, end, validators, media, .. } => {
                let len = end - offset;
                write!(into, "Content-Type: {media}\r\nContent-Length: {len}\r\n")?;
                if self.status == Status::PartialContent {
                    let (last, whole) = (end - 1, validators.len());
                    write!(into, "Content-Range: bytes {offset}-{last}/{whole}\r\n")?;
                }
                let modified = validators.modified();
                write!(into, "Last-Modified: {modified}\r\nETag: {validators}\r\n")?;
                into.push_str("Accept-Ranges: bytes\r\n");
            }
            // RFC 9110 section 15.4.5: what would have been sent with a 200, but for its representation.
            Content::NotModified(validators) => write!(into, "ETag: {validators}\r\n")?,
            Content::OutOfRange(validators) => {
                let whole = validators.len();
                write!(into, "Content-Range: bytes */{whole}\r\nContent-Length: 0\r\n")?;
            }
            Content::Echo(len) => {
                into.push_str("Content-Type: application/octet-stream\r\n");
                match len {
                    Some(len) => write!(into, "Content-Length: {len}\r\n")?,
                    None => into.push_str("Transfer-Encoding: chunked\r\n"),
                }
            }
        }
        match self.status {
            Status::MovedPermanently => write!(into, "Location: {location}\r\n")?,
            Status::Unavailable => into.push_str("Retry-After: 1\r\n"),
            _ => {}
        }
        if let Some(allow) = self.allow {
            write!(into, "Allow: {allow}\r\n")?;
        }
        match exchange.after {
            After::Close => into.push_str("Connection: close\r\n"),
            After::Persist => {}
            After::SayKeepAlive { idle_timeout, requests_left } => {
                into.push_str("Connection: keep-alive\r\n");
                let timeout = idle_timeout.map(|timeout| timeout.as_secs());
                match (timeout, requests_left) {
                    (Some(secs), Some(max)) => {
                        write!(into, "Keep-Alive: timeout={secs}, max={max}\r\n")?
                    }
                    (Some(secs), None) => write!(into, "Keep-Alive: timeout={secs}\r\n")?,
                    (None, Some(max)) => write!(into, "Keep-Alive: max={max}\r\n")?,
                    (None, None) => {}
                }
            }
        }
        into.push_str("\r\n");
        Ok(())
    }

    fn write_content(&self, into: &mut String) -> core::fmt::Result {
        match self.content {
            Content::Reason => writeln!(into, "{}", self.status.line()),
            Content::Text(text) => into.write_str(text),
            _ => Ok(()),
        }
    }
}
