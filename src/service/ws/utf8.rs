//! UTF-8 that comes in pieces, checked as it comes (RFC 6455 section 8.1).

/// What is known of a text so far: the bytes of a character that has not ended. The text before it is
/// valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Utf8 {
    pending: [u8; 3],
    pending_len: u8,
}

/// The text is not UTF-8, whatever follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not UTF-8")]
pub struct NotUtf8;

impl Utf8 {
    /// Takes the next piece of the text.
    ///
    /// # Errors
    ///
    /// As soon as no continuation could make the text valid: at the byte that is wrong.
    pub fn push(&mut self, mut piece: &[u8]) -> Result<(), NotUtf8> {
        while self.pending_len > 0 {
            let Some((&byte, rest)) = piece.split_first() else { return Ok(()) };
            piece = rest;
            let len = usize::from(self.pending_len);
            let mut character = [0; 4];
            character[..len].copy_from_slice(&self.pending[..len]);
            character[len] = byte;
            self.keep(&character[..=len])?;
        }
        self.keep(piece)
    }

    /// Whether the text may end here.
    pub fn is_complete(self) -> bool {
        self.pending_len == 0
    }

    /// Checks `bytes`, which begin a character, and keeps the last one if it has not ended.
    fn keep(&mut self, bytes: &[u8]) -> Result<(), NotUtf8> {
        self.pending_len = 0;
        let Err(error) = core::str::from_utf8(bytes) else { return Ok(()) };
        if error.error_len().is_some() {
            return Err(NotUtf8);
        }
        for &byte in &bytes[error.valid_up_to()..] {
            // An unfinished character has three bytes at most.
            self.pending[usize::from(self.pending_len)] = byte;
            self.pending_len += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The first length of which no continuation is valid, or none; and whether the whole is valid.
    fn model(text: &[u8]) -> (Option<usize>, bool) {
        let is_wrong = |len: &usize| {
            core::str::from_utf8(&text[..*len]).is_err_and(|error| error.error_len().is_some())
        };
        ((0..=text.len()).find(is_wrong), core::str::from_utf8(text).is_ok())
    }

    fn near_utf8() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            4 => any::<char>().prop_map(|character| character.to_string().into_bytes()),
            2 => "[a-z]{0,5}".prop_map(String::into_bytes),
            1 => any::<char>().prop_map(|c| { let mut bytes = c.to_string().into_bytes(); bytes.pop(); bytes }),
            1 => proptest::collection::vec(0x80u8.., 1..3),
        ];
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_cuts_fail_at_the_wrong_byte_and_nowhere_else(
            text in near_utf8(),
            cuts in proptest::collection::vec(1usize..7, 1..10),
        ) {
            let (wrong, valid) = model(&text);
            let mut utf8 = Utf8::default();
            let (mut at, mut failed) = (0, None);
            for cut in cuts.into_iter().cycle() {
                if at == text.len() {
                    break;
                }
                let end = (at + cut).min(text.len());
                if utf8.push(&text[at..end]).is_err() {
                    failed = Some(at..=end);
                    break;
                }
                at = end;
            }
            match failed {
                Some(piece) => prop_assert!(wrong.is_some_and(|len| piece.contains(&len))),
                None => prop_assert_eq!((wrong, valid), (None, utf8.is_complete())),
            }
        }
    }

    #[test]
    fn what_looks_like_characters_and_is_none_fails_at_once() {
        // Overlong, a surrogate, past U+10FFFF, a lone continuation: Autobahn's cases 6.
        for text in [
            &b"\xc0\xaf"[..],
            b"\xe0\x80\xaf",
            b"\xed\xa0\x80",
            b"\xf4\x90\x80\x80",
            b"\xf8\x88",
            b"\x80",
            b"\xff",
        ] {
            let mut utf8 = Utf8::default();
            let failed = text.iter().position(|byte| utf8.push(&[*byte]).is_err());
            assert_eq!(failed.map(|at| at + 1), model(text).0, "{text:x?}");
            assert!(failed.is_some());
        }
    }

    #[test]
    fn a_text_may_end_between_characters_only() {
        let mut utf8 = Utf8::default();
        for (at, byte) in "\u{ba}\u{20ac}\u{1f980}".bytes().enumerate() {
            utf8.push(&[byte]).unwrap();
            assert_eq!(utf8.is_complete(), [1, 4, 8].contains(&at), "after byte {at}");
        }
    }
}
