//! Targets, and the paths that they lead to.

use super::*;
use proptest::prelude::*;

fn resource<'a>(path: &'a str, query: Option<&'a str>) -> Result<Target<'a>, Status> {
    Ok(Target::Resource { path, query, authority: None })
}

#[test]
fn the_four_forms() {
    assert_eq!(Target::parse("GET", "/a?b?c"), resource("/a", Some("b?c")));
    assert_eq!(Target::parse("GET", "/"), resource("/", None));
    assert_eq!(Target::parse("OPTIONS", "*"), Ok(Target::Server));
    assert_eq!(Target::parse("OPTIONS", "http://a"), Ok(Target::Server));
    assert_eq!(Target::parse("CONNECT", "example.org:443"), Ok(Target::Tunnel));
    for (target, path, query) in [
        ("http://example.org/a?b", "/a", Some("b")),
        ("HTTP://[fd77::1]:80", "/", None),
        ("https://example.org:1?x", "/", Some("x")),
    ] {
        let parsed = Target::parse("GET", target);
        let Ok(Target::Resource { path: found, query: asked, authority }) = parsed else {
            panic!("{target}: {parsed:?}")
        };
        assert_eq!((found, asked, authority.is_some()), (path, query, true), "{target}");
    }
}

#[test]
fn other_forms_are_refused() {
    for (method, target) in [
        ("GET", "*"),
        ("GET", "a"),
        ("GET", "example.org:80"),
        ("GET", "http:///a"),
        ("GET", "http://:80/a"),
        ("GET", "http://user@example.org/"),
        ("GET", "ftp://example.org/"),
        ("GET", "/a#b"),
        ("CONNECT", "/a"),
        ("CONNECT", "example.org"),
    ] {
        assert_eq!(Target::parse(method, target), Err(Status::BadRequest), "{method} {target}");
    }
}

#[test]
fn authorities() {
    for good in ["", "a", "a.b:80", "a:", "10.0.0.1", "[fd77::1]", "[fd77::1]:80", "a%20b"] {
        assert!(is_authority(good), "{good}");
    }
    for bad in ["a b", "a/b", "a@b", "a:b", "[fd77::1", "[]", "[a]b", "fd77::1", "a\u{e9}", "a\""] {
        assert!(!is_authority(bad), "{bad}");
    }
}

fn decoded(path: &str) -> Result<(String, Place), Status> {
    let mut into = b"left over".to_vec();
    let place = decode(path, &mut into)?;
    Ok((String::from_utf8(into).expect("text"), place))
}

#[test]
fn paths_are_decoded_and_stay_below_the_root() {
    for (path, expected, place) in [
        ("/", "", Place::Directory),
        ("/a", "a", Place::File),
        ("/a/b.c", "a/b.c", Place::File),
        ("/a/", "a/", Place::Directory),
        ("//a///b", "a/b", Place::File),
        ("/a/./b/.", "a/b/", Place::Directory),
        ("/a/../b", "b", Place::File),
        ("/a/b/..", "a/", Place::Directory),
        ("/a/..", "", Place::Directory),
        ("/%61%2E%c3%a9", "a.\u{e9}", Place::File),
        ("/a/%2e%2E/b", "b", Place::File),
        ("/...", "...", Place::File),
        ("/a%5c..%5cb", "a\\..\\b", Place::File),
        ("/%252e%252e/", "%2e%2e/", Place::Directory),
    ] {
        assert_eq!(decoded(path), Ok((expected.to_owned(), place)), "{path}");
    }
    for (path, status) in [
        ("/..", Status::BadRequest),
        ("/../etc/passwd", Status::BadRequest),
        ("/a/../../b", Status::BadRequest),
        ("/%2e%2e/b", Status::BadRequest),
        ("/.%2e", Status::BadRequest),
        ("/a%00", Status::BadRequest),
        ("/a%", Status::BadRequest),
        ("/a%4", Status::BadRequest),
        ("/a%zz", Status::BadRequest),
        ("/a%+1", Status::BadRequest),
        ("/a%2fb", Status::NotFound),
        ("/..%2fetc", Status::NotFound),
    ] {
        assert_eq!(decoded(path), Err(status), "{path}");
    }
}

proptest! {
    #[test]
    fn no_path_gets_out(path in "/([./]|%2e|%2F|%00|%|a|\u{e9}){0,20}") {
        let mut into = Vec::new();
        if decode(&path, &mut into).is_ok() {
            prop_assert!(into.len() < path.len() && !into.starts_with(b"/") && !into.contains(&0));
            let mut segments = into.split(|&byte| byte == b'/');
            prop_assert!(segments.all(|segment| segment != b".." && segment != b"."));
        }
    }
}
