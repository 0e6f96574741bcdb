//! Conditions and ranges, by the tables of RFC 9110.

use super::*;
use crate::service::http::files::FileId;

/// A file of ten bytes, last modified on Sun, 06 Nov 1994 08:49:37 GMT, and its entity tag.
fn file() -> (Validators, String) {
    let opened =
        Opened { file: FileId(0), len: 10, modified_secs: 784_111_777, modified_nanos: 0xab };
    let validators = Validators::of(&opened);
    (validators, validators.to_string())
}

const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
const AFTER: &str = "Sunday, 06-Nov-94 08:49:38 GMT";

fn select(conditions: &Conditions<'_>) -> Selected {
    file().0.select(conditions, true)
}

#[test]
fn validators_are_written() {
    let (validators, tag) = file();
    assert_eq!(
        (tag.as_str(), validators.modified().to_string().as_str()),
        ("\"2ebc98a1.ab-a\"", MODIFIED)
    );
    assert_eq!(date(u64::MAX).to_string(), "Fri, 31 Dec 9999 23:59:59 GMT");
}

#[test]
fn what_the_client_has_is_not_sent() {
    let (_, tag) = file();
    let weak = format!("W/{tag}");
    let listed = format!("\"a\", ,{weak}");
    for (tags, expected) in [
        ("*", Selected::NotModified),
        (&tag, Selected::NotModified),
        (&weak, Selected::NotModified),
        (&listed, Selected::NotModified),
        ("\"2ebc98a1.ab-\"", Selected::Whole),
        ("\"2ebc98a1.ab-a\"\"", Selected::Whole),
        ("", Selected::Whole),
    ] {
        let if_none_match = Some(tags);
        assert_eq!(
            select(&Conditions { if_none_match, ..Conditions::default() }),
            expected,
            "{tags}"
        );
        // The date is then ignored (section 13.1.3).
        let if_modified_since = Some(BEFORE);
        let both = Conditions { if_none_match, if_modified_since, ..Conditions::default() };
        assert_eq!(select(&both), expected, "{tags}");
    }
    for (at, expected) in [
        (MODIFIED, Selected::NotModified),
        (AFTER, Selected::NotModified),
        (BEFORE, Selected::Whole),
        ("Sun Nov  6 08:49:37 1994", Selected::NotModified),
        ("yesterday", Selected::Whole),
        ("", Selected::Whole),
        ("\u{e9}", Selected::Whole),
    ] {
        let if_modified_since = Some(at);
        let conditions = Conditions { if_modified_since, ..Conditions::default() };
        assert_eq!(select(&conditions), expected, "{at}");
    }
}

#[test]
fn what_must_hold_does_or_fails() {
    let (_, tag) = file();
    let weak = format!("W/{tag}");
    for (tags, expected) in [
        ("*", Selected::Whole),
        (&tag, Selected::Whole),
        (&weak, Selected::Failed),
        ("\"a\"", Selected::Failed),
    ] {
        let if_match = Some(tags);
        assert_eq!(select(&Conditions { if_match, ..Conditions::default() }), expected, "{tags}");
    }
    for (at, expected) in
        [(MODIFIED, Selected::Whole), (BEFORE, Selected::Failed), ("never", Selected::Whole)]
    {
        let if_unmodified_since = Some(at);
        let conditions = Conditions { if_unmodified_since, ..Conditions::default() };
        assert_eq!(select(&conditions), expected, "{at}");
    }
}

#[test]
fn one_range_of_bytes() {
    for (range, expected) in [
        ("bytes=0-0", Selected::Part(0..1)),
        ("bytes=0-9", Selected::Part(0..10)),
        ("Bytes= 2-5 ", Selected::Part(2..6)),
        ("bytes=5-", Selected::Part(5..10)),
        ("bytes=5-99", Selected::Part(5..10)),
        ("bytes=9-99999999999999999999999", Selected::Part(9..10)),
        ("bytes=-3", Selected::Part(7..10)),
        ("bytes=-99", Selected::Part(0..10)),
        ("bytes=10-", Selected::OutOfRange),
        ("bytes=10-20", Selected::OutOfRange),
        ("bytes=99999999999999999999999-", Selected::OutOfRange),
        ("bytes=-0", Selected::OutOfRange),
        ("bytes=5-4", Selected::Whole),
        ("bytes=-", Selected::Whole),
        ("bytes=1-2,4-5", Selected::Whole),
        ("bytes=1--2", Selected::Whole),
        ("bytes=+1-2", Selected::Whole),
        ("bytes=a-b", Selected::Whole),
        ("lines=1-2", Selected::Whole),
        ("bytes", Selected::Whole),
        ("", Selected::Whole),
    ] {
        let conditions = Conditions { range: Some(range), ..Conditions::default() };
        assert_eq!(select(&conditions), expected, "{range}");
        assert_eq!(file().0.select(&conditions, false), Selected::Whole, "of HEAD");
    }
    let empty = Validators { len: 0, ..file().0 };
    for range in ["bytes=0-", "bytes=-1"] {
        let conditions = Conditions { range: Some(range), ..Conditions::default() };
        assert_eq!(empty.select(&conditions, true), Selected::OutOfRange, "{range}");
    }
}

#[test]
fn a_range_of_what_has_changed_since_is_the_whole() {
    let (_, tag) = file();
    let weak = format!("W/{tag}");
    for (if_range, is_part) in [
        (tag.as_str(), true),
        (MODIFIED, true),
        (weak.as_str(), false),
        (BEFORE, false),
        (AFTER, false),
        ("\"a\"", false),
        ("*", false),
    ] {
        let (range, if_range) = (Some("bytes=1-2"), Some(if_range));
        let conditions = Conditions { range, if_range, ..Conditions::default() };
        let expected = if is_part { Selected::Part(1..3) } else { Selected::Whole };
        assert_eq!(select(&conditions), expected, "{if_range:?}");
    }
}
