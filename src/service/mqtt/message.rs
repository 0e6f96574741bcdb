//! Messages, kept once however many clients are to get them.

use super::codec::property::Forwarded;
use crate::time::{Duration, Instant};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the bytes of all messages that are kept, and of the topics that stand for themselves.
#[derive(Clone, Debug, Default)]
pub(super) struct Account {
    bytes: Arc<AtomicUsize>,
}

impl Account {
    /// How many bytes the messages take together.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// A topic that is kept, and whose bytes are counted.
#[derive(Debug)]
pub(super) struct Topic {
    text: Box<str>,
    account: Account,
}

impl Topic {
    /// Keeps `text`.
    pub(super) fn keep(text: &str, account: &Account) -> Topic {
        account.bytes.fetch_add(text.len(), Ordering::Relaxed);
        Topic { text: text.into(), account: account.clone() }
    }

    /// What it is.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        self.account.bytes.fetch_sub(self.text.len(), Ordering::Relaxed);
    }
}

/// What is to be kept of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content<'a> {
    /// Where it is published.
    pub(super) topic: &'a str,
    /// The properties that it is delivered with.
    pub(super) properties: Forwarded<'a>,
    /// What it says.
    pub(super) payload: &'a [u8],
    /// Its quality of service.
    pub(super) qos: u8,
    /// Its retain flag.
    pub(super) retain: bool,
    /// For how many seconds it is worth delivering.
    pub(super) expiry_s: Option<u32>,
    /// Who published it: a hash of the client identifier.
    pub(super) publisher: u64,
}

impl Content<'_> {
    /// How many bytes are kept of it.
    pub(super) fn len(&self) -> usize {
        let properties = self.properties.map(<[u8]>::len).sum::<usize>();
        self.topic.len() + properties + self.payload.len() + size_of::<Message>()
    }
}

/// A message.
#[derive(Debug)]
pub(super) struct Message {
    topic: Box<str>,
    /// The properties that it is delivered with, and then the payload.
    bytes: Box<[u8]>,
    properties_len: usize,
    /// Its quality of service, when it was published.
    pub(super) qos: u8,
    /// Its retain flag, when it was published.
    pub(super) retain: bool,
    /// From when on it is not worth delivering any more.
    pub(super) expires: Option<Instant>,
    /// Who published it: a hash of the client identifier.
    pub(super) publisher: u64,
    account: Account,
}

impl Message {
    /// Keeps `content`, published `now`, until nobody refers to it any more.
    pub(super) fn keep(content: &Content<'_>, now: Instant, account: &Account) -> Arc<Message> {
        let mut bytes = Vec::with_capacity(content.len() - size_of::<Message>());
        content.properties.for_each(|property| bytes.extend_from_slice(property));
        let properties_len = bytes.len();
        bytes.extend_from_slice(content.payload);
        let expires = content.expiry_s.map(|s| now + Duration::from_secs(u64::from(s)));
        let message = Message {
            topic: content.topic.into(),
            bytes: bytes.into_boxed_slice(),
            properties_len,
            qos: content.qos,
            retain: content.retain,
            expires,
            publisher: content.publisher,
            account: account.clone(),
        };
        account.bytes.fetch_add(message.len(), Ordering::Relaxed);
        Arc::new(message)
    }

    /// How many bytes are kept of it.
    pub(super) fn len(&self) -> usize {
        self.topic.len() + self.bytes.len() + size_of::<Message>()
    }

    /// Where it was published.
    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    /// The properties that it is delivered with, as bytes.
    pub(super) fn properties(&self) -> &[u8] {
        &self.bytes[..self.properties_len]
    }

    /// What it says.
    pub(super) fn payload(&self) -> &[u8] {
        &self.bytes[self.properties_len..]
    }

    /// Whether it is not worth delivering any more (MQTT-3.3.2-5).
    pub(super) fn has_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// For how many more seconds it is worth delivering, a part of one counted as one (MQTT-3.3.2-6).
    pub(super) fn expiry_s(&self, now: Instant) -> Option<u32> {
        let left = self.expires?.since(now);
        let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        Some(u32::try_from(seconds).unwrap_or(u32::MAX))
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        self.account.bytes.fetch_sub(self.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::mqtt::codec::property::Properties;

    #[test]
    fn a_message_is_counted_while_somebody_refers_to_it() {
        let account = Account::default();
        let content = Content {
            topic: "a/b",
            properties: Properties::default().forwarded(),
            payload: b"hello",
            qos: 1,
            retain: false,
            expiry_s: Some(10),
            publisher: 7,
        };
        let start = Instant::from_millis(500);
        let message = Message::keep(&content, start, &account);
        assert_eq!(account.bytes(), content.len());
        assert_eq!((message.topic(), message.payload()), ("a/b", &b"hello"[..]));
        let after = |millis| start + Duration::from_millis(millis);
        assert_eq!(message.expiry_s(start), Some(10));
        assert_eq!(message.expiry_s(after(3_001)), Some(7));
        assert!(!message.has_expired(after(9_999)) && message.has_expired(after(10_000)));
        let other = Arc::clone(&message);
        drop(message);
        assert_eq!(account.bytes(), content.len());
        drop(other);
        assert_eq!(account.bytes(), 0);
    }
}
