//! Contents, byte for byte, and in any pieces.

use super::*;
use proptest::prelude::*;

/// Takes all of `bytes`, cut at `cuts` and with at most `most` bytes of content at a time. Returns the
/// content and how many bytes were consumed, if it came to its end; `None` if there is more to come.
fn take_all(
    body: &mut Body,
    bytes: &[u8],
    cuts: &[usize],
    most: usize,
) -> Result<Option<(Vec<u8>, usize)>, Status> {
    let mut content = Vec::new();
    let mut at = 0;
    for &cut in cuts.iter().chain([&bytes.len()]) {
        while at < cut {
            let taken = body.take(&bytes[at..cut], most)?;
            assert!(taken.consumed > 0 && taken.content.len() <= most);
            content.extend_from_slice(&bytes[at..cut][taken.content]);
            at += taken.consumed;
            if taken.is_last {
                return Ok(Some((content, at)));
            }
        }
    }
    Ok(None)
}

fn chunked(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, Status> {
    take_all(&mut Body::new(Framing::Chunked, 100).unwrap(), bytes, &[], usize::MAX)
}

#[test]
fn a_content_of_known_length() {
    let mut body = Body::new(Framing::Length(5), 5).unwrap();
    assert_eq!(take_all(&mut body, b"abc", &[], 2), Ok(None));
    assert_eq!(take_all(&mut body, b"defg", &[], 2), Ok(Some((b"de".to_vec(), 2))));
    assert_eq!(Body::new(Framing::Length(6), 5), Err(Status::ContentTooLarge));
    assert!(Body::new(Framing::Length(0), 0).unwrap().is_empty());
}

#[test]
fn chunks() {
    for (bytes, content) in [
        ("0\r\n\r\n", ""),
        ("5\r\nabcde\r\n0\r\n\r\n", "abcde"),
        ("00A\r\n0123456789\r\n000\r\n\r\n", "0123456789"),
        ("1;a\r\nx\r\n1 ;a=b;c=\"d\\\"\x0b;\"\r\ny\r\n0;\r\n\r\n", ""),
        ("1;a\r\nx\r\n1 ;a=b;c=\"d\\\";\r\ny\r\n0;\r\n\r\n", ""),
        ("1;a\r\nx\r\n1 ;a=b;c=\"d\\\";\"\r\ny\r\n0;\r\n\r\n", "xy"),
        ("2\r\n\r\n\r\n0\r\nX: y\r\nContent-Length: 7\r\nZ:\r\n\r\n", "\r\n"),
    ] {
        match chunked(bytes.as_bytes()) {
            Ok(Some((found, consumed))) => {
                assert_eq!((&found[..], consumed), (content.as_bytes(), bytes.len()), "{bytes:?}");
            }
            other => assert!(content.is_empty() && other == Err(Status::BadRequest), "{bytes:?}"),
        }
    }
}

#[test]
fn what_is_no_chunk_is_refused() {
    for bytes in [
        "\r\n",
        ";\r\n",
        "g\r\n",
        "-1\r\n",
        "+1\r\n",
        " 1\r\n",
        "0x1\r\n",
        "1\n",
        "1\r1",
        "1 \r\n",
        "1 1\r\n",
        "1;a\n",
        "1;\0\r\n",
        "1;\"\r\n",
        "1\r\nxy",
        "1\r\nx\n",
        "1\r\nx\r1",
        "0\r\n\n",
        "0\r\n\rx",
        "0\r\n X: y\r\n",
        "0\r\nX : y\r\n",
        "0\r\nX\r\n",
        "0\r\n: y\r\n",
        "0\r\nX: y\n",
        "0\r\nX: y\rz",
        "0\r\nX: y\0",
        "0000000000000000\r\n",
        "fffffffffffffffff\r\n",
    ] {
        assert_eq!(chunked(bytes.as_bytes()), Err(Status::BadRequest), "{bytes:?}");
    }
}

#[test]
fn contents_have_limits() {
    let over = "65\r\n";
    assert_eq!(chunked(over.as_bytes()), Err(Status::ContentTooLarge));
    let sum = format!("64\r\n{}\r\n1\r\n", "a".repeat(100));
    assert_eq!(chunked(sum.as_bytes()), Err(Status::ContentTooLarge));
    assert_eq!(chunked(b"fffffffffffffff\r\n"), Err(Status::ContentTooLarge));
    // A few bytes of content do not make room for any number of others.
    let long = "a".repeat(usize::from(EXTRAS_MAX));
    assert_eq!(chunked(format!("0;{long}").as_bytes()), Err(Status::FieldsTooLarge));
    assert_eq!(chunked(format!("0\r\nX: {long}").as_bytes()), Err(Status::FieldsTooLarge));
    let mut body = Body::new(Framing::Chunked, u64::MAX).unwrap();
    let many = format!("1;{}\r\na\r\n", "b".repeat(100)).repeat(100);
    assert_eq!(take_all(&mut body, many.as_bytes(), &[], 9), Err(Status::FieldsTooLarge));
}

proptest! {
    #[test]
    fn pieces_give_what_the_whole_does(
        bytes in "([0-3][0-9a]?(;a|;\"b\")?\r\n[a-c]{0,3}\r?\n?){0,4}(0\r\n(X: y\r\n)?\r\n)?",
        cuts in proptest::collection::btree_set(0usize..60, 0..10),
        most in 1usize..5,
    ) {
        let bytes = bytes.as_bytes();
        let cuts: Vec<usize> = cuts.into_iter().filter(|&cut| cut < bytes.len()).collect();
        let mut body = Body::new(Framing::Chunked, 100).unwrap();
        prop_assert_eq!(take_all(&mut body, bytes, &cuts, most), chunked(bytes));
    }

    #[test]
    fn chunks_hold_what_was_put_into_them(
        pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..5),
        most in 1usize..50,
    ) {
        let mut bytes = Vec::new();
        for piece in &pieces {
            bytes.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            bytes.extend_from_slice(piece);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\nnext");
        let mut body = Body::new(Framing::Chunked, 1000).unwrap();
        let taken = take_all(&mut body, &bytes, &[], most);
        prop_assert_eq!(taken, Ok(Some((pieces.concat(), bytes.len() - 4))));
    }
}
