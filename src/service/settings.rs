//! What the query of a `--listen` URL sets: `heartbeat=60s&limit=10`.

use crate::time::Duration;

/// Keys with their values, each to be taken by who knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings(Vec<(String, String)>);

/// Why a query is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSetting {
    /// Nobody knows this key.
    #[error("unknown '{key}': {known}")]
    Key {
        /// The key.
        key: String,
        /// Which keys there are, as words.
        known: String,
    },
    /// The value cannot be read.
    #[error("'{pair}' has no value that can be read, such as {example}")]
    Value {
        /// The key with its value.
        pair: String,
        /// A pair that can be read.
        example: &'static str,
    },
    /// A key occurs twice.
    #[error("'{0}' is said twice")]
    Twice(String),
}

impl Settings {
    /// The pairs of `query`, which may be empty. In values `%` and two hexadecimal digits stand for a
    /// byte (RFC 3986 section 2.1).
    ///
    /// # Errors
    ///
    /// `Value` for what is not `KEY=VALUE`, and `Twice`.
    pub fn parse(query: &str) -> Result<Settings, BadSetting> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let bad = || BadSetting::Value { pair: pair.to_owned(), example: "keepalive-time=60s" };
            let (key, value) = pair.split_once('=').ok_or_else(bad)?;
            let value = unescape(value).ok_or_else(bad)?;
            if pairs.iter().any(|(other, _)| other == key) {
                return Err(BadSetting::Twice(key.to_owned()));
            }
            pairs.push((key.to_owned(), value));
        }
        Ok(Settings(pairs))
    }

    /// Takes the value of `key`, if it is set, as `read` reads it.
    ///
    /// # Errors
    ///
    /// `Value` when `read` cannot; `example` is a pair that it can.
    pub fn take<T>(
        &mut self,
        key: &str,
        example: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, BadSetting> {
        let Some(at) = self.0.iter().position(|(other, _)| other == key) else { return Ok(None) };
        let (key, value) = self.0.remove(at);
        let bad = || BadSetting::Value { pair: format!("{key}={value}"), example };
        read(&value).ok_or_else(bad).map(Some)
    }

    /// Takes a period, such as `90s`; `off` and `0s` are `Some(None)`.
    ///
    /// # Errors
    ///
    /// As [`Settings::take`].
    pub fn take_period(
        &mut self,
        key: &str,
        example: &'static str,
    ) -> Result<Option<Option<Duration>>, BadSetting> {
        self.take(key, example, |value| match value {
            "off" => Some(None),
            value => {
                let period = humantime::parse_duration(value).ok()?;
                Some((!period.is_zero()).then_some(period))
            }
        })
    }

    /// Fails if a key is left that nobody took; `known` says in words which there are.
    ///
    /// # Errors
    ///
    /// `Key`.
    pub fn finish(&self, known: impl FnOnce() -> String) -> Result<(), BadSetting> {
        match self.0.first() {
            None => Ok(()),
            Some((key, _)) => Err(BadSetting::Key { key: key.clone(), known: known() }),
        }
    }
}

/// `value` with its escapes replaced, or `None` if one is none.
fn unescape(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, after @ ..] = rest {
        let (byte, next) = match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                (u8::try_from(digit(high)? << 4 | digit(low)?).ok()?, after)
            }
            (b'%', _) => return None,
            (byte, after) => (*byte, after),
        };
        bytes.push(byte);
        rest = next;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_is_taken_once_by_who_knows_it() {
        let mut settings = Settings::parse("heartbeat=90s&root=/a%20b%26c&idle=off").unwrap();
        assert_eq!(
            settings.take_period("heartbeat", "").unwrap(),
            Some(Some(Duration::from_secs(90)))
        );
        assert_eq!(settings.take_period("heartbeat", "").unwrap(), None);
        assert_eq!(settings.take_period("idle", "").unwrap(), Some(None));
        let error = settings.finish(|| "there is none".to_owned()).unwrap_err();
        assert_eq!(error.to_string(), "unknown 'root': there is none");
        let root = settings.take("root", "", |value| Some(value.to_owned())).unwrap();
        assert_eq!(root.as_deref(), Some("/a b&c"));
        assert_eq!(settings, Settings::default());
        assert_eq!(Settings::parse("").unwrap(), Settings::default());
    }

    #[test]
    fn what_cannot_be_read_is_said_with_an_example() {
        for bad in ["root", "root=%", "root=%4", "root=%zz", "root=%ff"] {
            let error = Settings::parse(bad).unwrap_err().to_string();
            assert!(error.contains(bad) && error.contains("such as"), "{error}");
        }
        assert_eq!(Settings::parse("a=1&a=2"), Err(BadSetting::Twice("a".to_owned())));
        let mut settings = Settings::parse("limit=many").unwrap();
        let read = settings.take("limit", "limit=10", |value| value.parse::<u32>().ok());
        let error = read.unwrap_err().to_string();
        assert_eq!(error, "'limit=many' has no value that can be read, such as limit=10");
    }
}
