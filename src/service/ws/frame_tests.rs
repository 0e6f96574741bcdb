//! Frames byte for byte, as RFC 6455 section 5.7 gives them, and every rule of section 5.2.

use super::*;
use proptest::prelude::*;

/// The header of `bytes`, and its payload without the mask.
fn read(bytes: &[u8]) -> (Header, Vec<u8>) {
    let (header, at) = Header::parse(bytes).unwrap().unwrap();
    let mut payload = vec![0; bytes.len() - at];
    let _ = header.mask.unwrap_or_default().apply(&bytes[at..], &mut payload);
    (header, payload)
}

#[test]
fn the_examples_of_section_5_7() {
    let hello = |fin, opcode, mask, len| Header { fin, opcode, mask, len };
    let mask = Some(Mask([0x37, 0xfa, 0x21, 0x3d]));
    let vectors: [(&[u8], Header, &[u8]); 6] = [
        (b"\x81\x05Hello", hello(true, Opcode::Text, None, 5), b"Hello"),
        (
            b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58",
            hello(true, Opcode::Text, mask, 5),
            b"Hello",
        ),
        (b"\x01\x03Hel", hello(false, Opcode::Text, None, 3), b"Hel"),
        (b"\x80\x02lo", hello(true, Opcode::Continuation, None, 2), b"lo"),
        (b"\x89\x05Hello", hello(true, Opcode::Ping, None, 5), b"Hello"),
        (
            b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58",
            hello(true, Opcode::Pong, mask, 5),
            b"Hello",
        ),
    ];
    for (bytes, header, payload) in vectors {
        assert_eq!(read(bytes), (header, payload.to_vec()));
        let mut room = [0; HEADER_LEN_MAX];
        let len = header.emit(&mut room);
        assert_eq!(room[..len], bytes[..len], "written as it was read");
    }
    // 256 bytes and 64 KiB of binary data in one unmasked frame.
    let header = Header::parse(b"\x82\x7e\x01\x00").unwrap().unwrap();
    assert_eq!(header, (Header::server(true, Opcode::Binary, 256), 4));
    let header = Header::parse(b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00").unwrap().unwrap();
    assert_eq!(header, (Header::server(true, Opcode::Binary, 65_536), 10));
}

#[test]
fn every_opcode_and_every_reserved_one() {
    for number in 0..16 {
        let is_known = matches!(number, 0..=2 | 8..=10);
        let read = Header::parse(&[0x80 | number, 0]);
        match Opcode::from_number(number) {
            Some(opcode) => {
                assert!(is_known && opcode as u8 == number);
                assert_eq!(opcode.is_control(), number >= 8);
                assert_eq!(read, Ok(Some((Header::server(true, opcode, 0), 2))));
            }
            None => {
                assert!(!is_known);
                assert_eq!(read, Err(FrameError::ReservedOpcode));
            }
        }
    }
}

#[test]
fn what_breaks_a_rule_is_found_at_the_byte_that_does() {
    use FrameError::*;
    let vectors: [(&[u8], FrameError); 11] = [
        (b"\xc1", ReservedBit),
        (b"\xa2", ReservedBit),
        (b"\x91", ReservedBit),
        (b"\x83", ReservedOpcode),
        (b"\x8b", ReservedOpcode),
        (b"\x09", FragmentedControl),
        (b"\x08", FragmentedControl),
        (b"\x89\xfe", LongControl),
        (b"\x88\x7f", LongControl),
        (b"\x82\xfe\x00\x7d", LongLength),
        (b"\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff", LongLength),
    ];
    for (bytes, error) in vectors {
        for len in 0..bytes.len() {
            assert_eq!(Header::parse(&bytes[..len]), Ok(None), "{bytes:x?} cut to {len}");
        }
        assert_eq!(Header::parse(bytes), Err(error), "{bytes:x?}");
    }
    let huge = b"\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00";
    assert_eq!(Header::parse(huge), Err(HugeLength));
}

#[test]
fn a_pushed_message_is_one_frame() {
    assert_eq!(message(Kind::Text, b"Hello"), b"\x81\x05Hello");
    for len in [0, 125, 126, 65_535, 65_536] {
        let payload = vec![7; len];
        let bytes = message(Kind::Binary, &payload);
        assert_eq!(bytes.len(), server_header_len(len) + len);
        assert_eq!(read(&bytes), (Header::server(true, Opcode::Binary, len), payload));
    }
}

fn headers() -> impl Strategy<Value = Header> {
    let len = prop_oneof![0u64..200, 65_000u64..66_000, any::<u64>().prop_map(|len| len >> 1)];
    (any::<bool>(), 0u8..16, any::<Option<[u8; 4]>>(), len).prop_filter_map(
        "a header against the rules",
        |(fin, number, mask, len)| {
            let opcode = Opcode::from_number(number)?;
            let is_right = !opcode.is_control() || fin && len <= 125;
            is_right.then_some(Header { fin, opcode, mask: mask.map(Mask), len })
        },
    )
}

proptest! {
    #[test]
    fn a_header_is_read_as_it_was_written_and_not_before_it_is_whole(header in headers()) {
        let mut room = [0; HEADER_LEN_MAX];
        let len = header.emit(&mut room);
        for cut in 0..len {
            prop_assert_eq!(Header::parse(&room[..cut]), Ok(None));
        }
        prop_assert_eq!(Header::parse(&room), Ok(Some((header, len))));
    }

    #[test]
    fn what_can_be_read_is_what_would_be_written(bytes in any::<[u8; HEADER_LEN_MAX]>()) {
        if let Ok(Some((header, len))) = Header::parse(&bytes) {
            let mut room = [0; HEADER_LEN_MAX];
            prop_assert_eq!(header.emit(&mut room), len);
            prop_assert_eq!(&room[..len], &bytes[..len]);
        }
    }

    #[test]
    fn a_mask_goes_on_where_it_ended(
        payload in proptest::collection::vec(any::<u8>(), 0..100),
        mask in any::<[u8; 4]>(),
        cuts in proptest::collection::vec(0usize..20, 0..10),
    ) {
        let expected: Vec<_> = payload.iter().enumerate().map(|(at, b)| b ^ mask[at % 4]).collect();
        let (mut masked, mut at, mut current) = (vec![0; payload.len()], 0, Mask(mask));
        for end in cuts.iter().scan(0, |end, cut| { *end += cut; Some((*end).min(payload.len())) }) {
            current = current.apply(&payload[at..end], &mut masked[at..end]);
            at = end;
        }
        let _ = current.apply(&payload[at..], &mut masked[at..]);
        prop_assert_eq!(masked, expected);
    }
}
