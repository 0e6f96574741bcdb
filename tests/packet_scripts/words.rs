//! The words of a line.

use std::iter::Peekable;
use std::vec::IntoIter;

/// One word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// Anything between spaces.
    Plain(String),
    /// `<mss 1460,wscale 7>`
    Options(String),
    /// `"PING\n"`
    Text(Vec<u8>),
}

/// The words of a line that were not read yet.
pub(crate) struct Words(Peekable<IntoIter<Word>>);

impl Words {
    /// The words of `line`, up to a `#`.
    ///
    /// # Errors
    ///
    /// When options or a text have no end.
    pub(crate) fn of(line: &str) -> Result<Words, String> {
        let mut words = Vec::new();
        let mut rest = line.trim_start();
        while !rest.is_empty() && !rest.starts_with('#') {
            let (word, len) = if let Some(text) = rest.strip_prefix('"') {
                let (text, len) = quoted(text)?;
                (Word::Text(text), len + 1)
            } else if rest.starts_with('<') && !rest[1..].starts_with(char::is_whitespace) {
                let end = rest.find('>').ok_or("options without an end")?;
                (Word::Options(rest[1..end].to_owned()), end + 1)
            } else {
                let len = rest.find(char::is_whitespace).unwrap_or(rest.len());
                (Word::Plain(rest[..len].to_owned()), len)
            };
            words.push(word);
            rest = rest[len..].trim_start();
        }
        Ok(Words(words.into_iter().peekable()))
    }

    /// The next word, of any kind.
    pub(crate) fn next(&mut self) -> Option<Word> {
        self.0.next()
    }

    /// Whether there are no more.
    pub(crate) fn is_empty(&mut self) -> bool {
        self.0.peek().is_none()
    }

    /// The next word, which must be a plain one.
    pub(crate) fn plain(&mut self, what: &str) -> Result<String, String> {
        match self.next() {
            Some(Word::Plain(word)) => Ok(word),
            Some(other) => Err(format!("expected {what}, found {other:?}")),
            None => Err(format!("expected {what}")),
        }
    }

    /// The next word as a value.
    pub(crate) fn value<T: std::str::FromStr>(&mut self, what: &str) -> Result<T, String> {
        let word = self.plain(what)?;
        word.parse().map_err(|_| format!("'{word}' is no {what}"))
    }

    /// Takes the next word if it is `word`.
    pub(crate) fn take(&mut self, word: &str) -> bool {
        self.0.next_if(|next| matches!(next, Word::Plain(plain) if plain == word)).is_some()
    }

    /// Takes the next word if it is a plain one that `accept` makes something of.
    pub(crate) fn take_if<T>(&mut self, accept: impl Fn(&str) -> Option<T>) -> Option<T> {
        let Some(Word::Plain(word)) = self.0.peek() else { return None };
        let value = accept(word)?;
        self.0.next();
        Some(value)
    }

    /// There must be no more.
    pub(crate) fn end(&mut self) -> Result<(), String> {
        match self.next() {
            None => Ok(()),
            Some(word) => Err(format!("{word:?} is one too many")),
        }
    }
}

/// The bytes of a text whose opening quote was read, and its length in the line with its closing one.
fn quoted(text: &str) -> Result<(Vec<u8>, usize), String> {
    let mut bytes = Vec::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((bytes, at + 1)),
            '\\' => match chars.next() {
                Some((_, 'n')) => bytes.push(b'\n'),
                Some((_, 'r')) => bytes.push(b'\r'),
                Some((_, c @ ('"' | '\\'))) => bytes.extend(c.to_string().bytes()),
                _ => return Err("an unknown escape in a text".to_owned()),
            },
            c => bytes.extend(c.to_string().bytes()),
        }
    }
    Err("a text without an end".to_owned())
}
