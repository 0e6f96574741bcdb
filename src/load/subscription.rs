//! What clients of MQTT subscribe to, and what comes of it.

use crate::client::exchange::Unasked;
use crate::client::greeting::Welcome;
use crate::service::mqtt::codec::Version;
use crate::service::mqtt::codec::frame::{self, Kind};
use crate::service::mqtt::codec::publish::Publish;
use crate::service::mqtt::codec::writer::Writer;
use core::str::FromStr;

/// The longest filter, in bytes: the packet fits into one segment.
pub const FILTER_LEN_MAX: usize = 1_024;

/// The longest PUBLISH that a client takes, in bytes: it waits for all of it.
pub const MESSAGE_LEN_MAX: usize = 4_096;

/// The answer that grants one filter with QoS 0 (3.1.1 section 3.9).
const SUBACK: &[u8] = b"\x90\x03\x00\x01\x00";

/// The SUBSCRIBE of every client: one filter, QoS 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    filter: String,
    packet: Box<[u8]>,
}

/// Why a filter cannot be subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a filter has 1 to 1024 bytes, and no NUL among them")]
pub struct BadFilter;

impl FromStr for Subscription {
    type Err = BadFilter;

    /// Whether wildcards stand where they may is left to the server.
    fn from_str(filter: &str) -> Result<Subscription, BadFilter> {
        if filter.is_empty() || filter.len() > FILTER_LEN_MAX || filter.contains('\0') {
            return Err(BadFilter);
        }
        // 3.1.1 section 3.8: the identifier, the filter with its length, the quality of service.
        let mut head = Writer::packet(Kind::Subscribe, 0, 2 + 2 + filter.len() + 1);
        head.u16(1);
        head.u16(u16::try_from(filter.len()).map_err(|_| BadFilter)?);
        let packet = [head.bytes(), filter.as_bytes(), &[0]].concat();
        Ok(Subscription { filter: filter.to_owned(), packet: packet.into() })
    }
}

impl Subscription {
    /// The filter.
    pub fn filter(&self) -> &str {
        &self.filter
    }

    /// What asks for it.
    pub(super) fn request(&self) -> &[u8] {
        &self.packet
    }
}

/// Judges the beginning of what comes back, messages aside.
pub(super) fn granted(bytes: &[u8]) -> Welcome {
    if bytes.starts_with(SUBACK) {
        Welcome::Came(SUBACK.len())
    } else if SUBACK.starts_with(bytes) {
        Welcome::Wait
    } else {
        Welcome::Wrong
    }
}

/// Judges whether `bytes` begin with a message: a PUBLISH with QoS 0, which may come before the SUBACK
/// (MQTT-3.8.4).
pub(super) fn message(bytes: &[u8]) -> Unasked {
    // But for the retain flag.
    if bytes.first().is_none_or(|first| first & !1 != Kind::Publish.first_byte()) {
        return Unasked::Nothing;
    }
    match frame::split(bytes, MESSAGE_LEN_MAX) {
        Ok(None) => Unasked::Wait,
        Ok(Some(frame)) => match Publish::decode(&frame, Version::V311) {
            Ok(publish) => Unasked::Message { len: frame.len, text_len: publish.payload.len() },
            Err(_) => Unasked::Nothing,
        },
        Err(_) => Unasked::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::mqtt::codec::subscribe::Subscribe;

    #[test]
    fn the_server_reads_the_filter_that_was_asked_for() {
        for len in [1, 118, 119, 120, 122, 123, 124, 1_024] {
            let filter = "a".repeat(len);
            let subscription: Subscription = filter.parse().unwrap();
            let request = subscription.request();
            let frame = frame::split(request, 2_000).unwrap().expect("a whole one");
            assert_eq!(
                (frame.kind, frame.len, frame.minimal),
                (Kind::Subscribe, request.len(), true)
            );
            let subscribe = Subscribe::decode(frame.body, Version::V311).unwrap();
            let filters: Vec<_> = subscribe.filters().map(|(name, how)| (name, how.qos)).collect();
            assert_eq!((subscribe.identifier, filters), (1, vec![(&filter[..], 0)]));
        }
        for bad in ["", "a\0", &"a".repeat(1_025)] {
            assert_eq!(bad.parse::<Subscription>(), Err(BadFilter));
        }
    }

    #[test]
    fn a_message_is_told_from_what_else_comes() {
        let message_bytes = b"\x30\x08\x00\x03a/bnew\xd0\x00";
        for cut in 1..10 {
            assert_eq!(message(&message_bytes[..cut]), Unasked::Wait);
        }
        assert_eq!(message(message_bytes), Unasked::Message { len: 10, text_len: 3 });
        assert_eq!(message(b"\x31\x03\x00\x01a"), Unasked::Message { len: 5, text_len: 0 });
        // QoS 1 was not asked for; a repetition has QoS 1; a topic that is longer than the packet.
        for wrong in [&b"\x32\x05\x00\x01a\x00\x01"[..], b"\x38\x03\x00\x01a", b"\x30\x03\x00\x02a"]
        {
            assert_eq!(message(wrong), Unasked::Nothing, "{wrong:x?}");
        }
        assert_eq!(message(b"\xd0\x00"), Unasked::Nothing);
        assert_eq!(granted(b"\x90\x03"), Welcome::Wait);
        assert_eq!(granted(b"\x90\x03\x00\x01\x00\xd0"), Welcome::Came(5));
        assert_eq!(granted(b"\x90\x03\x00\x01\x80"), Welcome::Wrong);
    }
}
