//! Conditional requests and ranges of a file (RFC 9110 sections 8.8, 13 and 14).

use super::files::Opened;
use super::head::{Conditions, list};
use core::fmt;
use core::ops::Range;
use core::time::Duration;
use httpdate::HttpDate;
use std::time::{SystemTime, UNIX_EPOCH};

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validators {
    modified_secs: u64,
    modified_nanos: u32,
    len: u64,
}

/// What follows from a request's conditions and its range, for a file that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selected {
    /// All of it.
    Whole,
    /// These bytes of it.
    Part(Range<u64>),
    /// The client has it already: 304.
    NotModified,
    /// A condition does not hold: 412.
    Failed,
    /// There are no such bytes: 416.
    OutOfRange,
}

impl Validators {
    pub(super) fn of(opened: &Opened) -> Validators {
        let Opened { len, modified_secs, modified_nanos, .. } = *opened;
        Validators { modified_secs, modified_nanos, len }
    }

    /// For `Last-Modified`.
    pub(super) fn modified(&self) -> HttpDate {
        date(self.modified_secs)
    }

    /// Section 13.2.2, in its order, for GET and HEAD; ranges are for GET alone (section 14.2).
    pub(super) fn select(&self, conditions: &Conditions<'_>, is_get: bool) -> Selected {
        match (conditions.if_match, conditions.if_unmodified_since) {
            (Some(tags), _) if !self.matches(tags, true) => return Selected::Failed,
            (None, Some(at)) if since(at).is_some_and(|at| self.modified_at() > at) => {
                return Selected::Failed;
            }
            _ => {}
        }
        match (conditions.if_none_match, conditions.if_modified_since) {
            (Some(tags), _) if self.matches(tags, false) => return Selected::NotModified,
            (None, Some(at)) if since(at).is_some_and(|at| self.modified_at() <= at) => {
                return Selected::NotModified;
            }
            _ => {}
        }
        match conditions.range {
            Some(range) if is_get && conditions.if_range.is_none_or(|is| self.is_still(is)) => {
                self.part(range)
            }
            _ => Selected::Whole,
        }
    }

    /// The length of the whole file, in bytes.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    fn modified_at(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.modified_secs)
    }

    /// Whether a list of entity tags names this state. The tag here is a strong one, so a weak one is the
    /// same only in a weak comparison (section 8.8.3.2).
    fn matches(&self, tags: &str, strongly: bool) -> bool {
        tags == "*"
            || list(tags).any(|tag| match tag.strip_prefix("W/") {
                Some(tag) => !strongly && self.is_tag(tag),
                None => self.is_tag(tag),
            })
    }

    /// Section 13.1.5: a strong comparison; of a date an exact one, and of one that is old enough to be
    /// strong (section 8.8.2.2), which nobody here can know of a file that may still be written.
    fn is_still(&self, if_range: &str) -> bool {
        self.is_tag(if_range) || since(if_range).is_some_and(|at| self.modified_at() == at)
    }

    /// Whether `tag` is what [`fmt::Display`] writes.
    fn is_tag(&self, tag: &str) -> bool {
        let mut rest = Rest(Some(tag));
        // It cannot fail.
        let _ = fmt::write(&mut rest, format_args!("{self}"));
        rest.0 == Some("")
    }

    /// Section 14.2: the range of bytes that is asked for, if it is one: several ranges, other units and
    /// what is malformed are answered with the whole.
    fn part(&self, range: &str) -> Selected {
        let Some((unit, set)) = range.split_once('=') else { return Selected::Whole };
        let Some((first, last)) = set.split_once('-') else { return Selected::Whole };
        if !unit.eq_ignore_ascii_case("bytes") {
            return Selected::Whole;
        }
        let (first, last) = (number(first.trim_start()), number(last.trim_end()));
        let part = match (first, last) {
            (Number::Is(first), Number::None) => first..self.len,
            (Number::Is(first), Number::Is(last)) if first <= last => {
                first..last.saturating_add(1).min(self.len)
            }
            (Number::None, Number::Is(0)) => return Selected::OutOfRange,
            (Number::None, Number::Is(count)) => self.len.saturating_sub(count)..self.len,
            _ => return Selected::Whole,
        };
        if part.is_empty() { Selected::OutOfRange } else { Selected::Part(part) }
    }
}

/// The entity tag: what is known of the file. A change of the same length within the grain of its clock
/// is not seen, as with other servers of files.
impl fmt::Display for Validators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{:x}.{:x}-{:x}\"", self.modified_secs, self.modified_nanos, self.len)
    }
}

/// What is left of a text after what was written.
struct Rest<'a>(Option<&'a str>);

impl fmt::Write for Rest<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 = self.0.and_then(|rest| rest.strip_prefix(text));
        Ok(())
    }
}

enum Number {
    None,
    Is(u64),
    Bad,
}

fn number(text: &str) -> Number {
    match text {
        "" => Number::None,
        // More than can be counted is past every end.
        _ if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Number::Is(text.parse().unwrap_or(u64::MAX))
        }
        _ => Number::Bad,
    }
}

/// The last second that is written with four digits of a year.
const LAST_SECS: u64 = 253_402_300_799;

/// An instant, in seconds since 1970, as HTTP writes it (RFC 9110 section 5.6.7).
pub(super) fn date(unix_secs: u64) -> HttpDate {
    HttpDate::from(UNIX_EPOCH + Duration::from_secs(unix_secs.min(LAST_SECS)))
}

/// What a field says for a date; nothing, if it is none: "A recipient MUST ignore" it then.
fn since(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text).ok()
}

#[cfg(test)]
#[path = "condition_tests.rs"]
mod tests;
