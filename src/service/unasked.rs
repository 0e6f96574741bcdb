//! What is said to clients that did not ask: a text of an operator's or of another thread's, in the words
//! of each service.

use super::builtin::Builtin;
use super::ws::frame::{Kind, message};
use std::borrow::Cow;

/// Why a text cannot be pushed to the clients of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsayable {
    /// RFC 9112 section 9.2: a client cannot tell it from the answer to its next request.
    #[error("http only answers requests, so nothing can be pushed to its clients")]
    Http,
    /// The protocol has calls and events, and no text.
    #[error("dubbo has no message for a text, so none can be pushed to its clients")]
    Dubbo,
    /// A PUBLISH needs a topic, and goes to those who have subscribed to it.
    #[error("mqtt's clients get what they have subscribed to: broadcast it with a topic (--topic)")]
    Mqtt,
}

/// What is to be pushed to the clients of `service` so that they hear `text`: for
/// [`Handle::push`](crate::shard::mailbox::Handle::push) and its like, which send bytes as they are.
///
/// - echo, discard and line: the text as it is, to which a newline is not added
/// - ws: a text message in one frame (RFC 6455 section 5.6)
///
/// # Errors
///
/// The other protocols have nothing to say it with.
pub fn unasked(service: Builtin, text: &str) -> Result<Cow<'_, [u8]>, Unsayable> {
    match service {
        Builtin::Echo | Builtin::Discard | Builtin::Line => Ok(Cow::Borrowed(text.as_bytes())),
        Builtin::Ws => Ok(Cow::Owned(message(Kind::Text, text.as_bytes()))),
        Builtin::Http => Err(Unsayable::Http),
        Builtin::Dubbo => Err(Unsayable::Dubbo),
        Builtin::Mqtt => Err(Unsayable::Mqtt),
    }
}

/// For how many clients a message waits that was published; see
/// [`Service::on_publish`](super::Service::on_publish).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// It is sent to them as soon as there is room, in the order of what waits for each.
    pub queued: u32,
    /// There was no room for it.
    pub full: u32,
}

impl Published {
    /// Adds what another service did of the same message.
    pub fn add(&mut self, other: Published) {
        self.queued += other.queued;
        self.full += other.full;
    }
}

/// Why nothing was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unpublished {
    /// The service has no topics.
    #[error("only mqtt has topics")]
    NoTopics,
    /// The topic is empty, has a wildcard or too many levels, or is the server's own.
    #[error("a topic to publish to is not empty, has no + and #, and does not begin with $")]
    BadTopic,
    /// The message is longer than a packet may be, or there is no room for messages.
    #[error("the message is too long, or too many others are kept")]
    Full,
    /// The shard has ended.
    #[error("the server stops")]
    Ended,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_service_says_a_text_in_its_own_words_or_not_at_all() {
        for service in Builtin::ALL {
            let said = unasked(service, "hi").map(Cow::into_owned);
            let expected = match service {
                Builtin::Echo | Builtin::Discard | Builtin::Line => Ok(b"hi".to_vec()),
                Builtin::Ws => Ok(b"\x81\x02hi".to_vec()),
                Builtin::Http => Err(Unsayable::Http),
                Builtin::Dubbo => Err(Unsayable::Dubbo),
                Builtin::Mqtt => Err(Unsayable::Mqtt),
            };
            assert_eq!(said, expected, "{service}");
        }
    }
}
