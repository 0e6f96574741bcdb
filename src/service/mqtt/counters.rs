//! What a server of MQTT has done.

use super::codec::Reason;
use serde::Serialize;

/// What happened so far; all count from the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Clients that were accepted.
    pub connected: u64,
    /// Of those, the ones whose session was there already.
    pub resumed: u64,
    /// Of those, the ones that took a session over from another connection.
    pub taken_over: u64,
    /// Messages that clients published.
    pub published: u64,
    /// Messages that were sent to clients, repetitions not counted.
    pub delivered: u64,
    /// Messages that were sent again on a new connection.
    pub redelivered: u64,
    /// Wills that were published.
    pub wills: u64,
    /// Messages for a client that were dropped because too many were waiting.
    pub dropped_queue_full: u64,
    /// Messages for a client that expired before they could be sent.
    pub dropped_expired: u64,
    /// Messages for a client that are longer than it takes.
    pub dropped_too_large: u64,
    /// Messages that were published to a topic that begins with `$`, and dropped.
    pub dropped_reserved: u64,
    /// Messages that were refused because too many bytes of messages are kept.
    pub refused_messages: u64,
    /// Messages that could not be retained because of a limit.
    pub refused_retained: u64,
    /// Subscriptions that were refused because of a limit.
    pub refused_subscriptions: u64,
    /// Subscriptions for which not all retained messages were looked for, because there are so many.
    pub retained_cut_short: u64,
    /// Clients refused because there were too many sessions or too many bytes of messages.
    pub quota_exceeded: u64,
    /// Clients refused for another reason given in a CONNACK: version, identifier, credentials.
    pub refused_clients: u64,
    /// Connections closed because no CONNECT came in time.
    pub connect_timeouts: u64,
    /// Connections closed because nothing came for one and a half times the keep alive.
    pub keep_alive_timeouts: u64,
    /// Connections closed because of a packet that cannot be read.
    pub malformed: u64,
    /// Connections closed because of a packet that came where it is not allowed, or a value that is
    /// not.
    pub protocol_errors: u64,
    /// Connections closed because of a packet that is too long.
    pub too_large: u64,
    /// Connections closed because of something that this server does not do: QoS 2, shared
    /// subscriptions.
    pub unsupported: u64,
}

impl Counters {
    /// Each with its name, as the status line has it.
    pub fn named(&self) -> [(&'static str, u64); 23] {
        [
            ("mqtt_connected", self.connected),
            ("mqtt_resumed", self.resumed),
            ("mqtt_taken_over", self.taken_over),
            ("mqtt_published", self.published),
            ("mqtt_delivered", self.delivered),
            ("mqtt_redelivered", self.redelivered),
            ("mqtt_wills", self.wills),
            ("mqtt_dropped_queue_full", self.dropped_queue_full),
            ("mqtt_dropped_expired", self.dropped_expired),
            ("mqtt_dropped_too_large", self.dropped_too_large),
            ("mqtt_dropped_reserved", self.dropped_reserved),
            ("mqtt_refused_messages", self.refused_messages),
            ("mqtt_refused_retained", self.refused_retained),
            ("mqtt_refused_subscriptions", self.refused_subscriptions),
            ("mqtt_retained_cut_short", self.retained_cut_short),
            ("mqtt_quota_exceeded", self.quota_exceeded),
            ("mqtt_refused_clients", self.refused_clients),
            ("mqtt_connect_timeouts", self.connect_timeouts),
            ("mqtt_keep_alive_timeouts", self.keep_alive_timeouts),
            ("mqtt_malformed", self.malformed),
            ("mqtt_protocol_errors", self.protocol_errors),
            ("mqtt_too_large", self.too_large),
            ("mqtt_unsupported", self.unsupported),
        ]
    }

    /// Counts that a connection ends because of `reason`.
    pub(super) fn refuse(&mut self, reason: Reason) {
        let counter = match reason {
            Reason::MalformedPacket => &mut self.malformed,
            Reason::PacketTooLarge => &mut self.too_large,
            Reason::KeepAliveTimeout => &mut self.keep_alive_timeouts,
            Reason::QosNotSupported | Reason::SharedSubscriptionsNotSupported => {
                &mut self.unsupported
            }
            Reason::QuotaExceeded => &mut self.quota_exceeded,
            Reason::UnsupportedProtocolVersion
            | Reason::ClientIdentifierNotValid
            | Reason::BadUserNameOrPassword
            | Reason::BadAuthenticationMethod => &mut self.refused_clients,
            _ => &mut self.protocol_errors,
        };
        *counter += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_its_name() {
        let mut counters = Counters::default();
        counters.refuse(Reason::PacketTooLarge);
        let json = serde_json::to_value(counters).expect("it is plain");
        for (name, count) in counters.named() {
            let field = name.strip_prefix("mqtt_").expect("of MQTT");
            assert_eq!(json[field], count, "{name}");
        }
        assert_eq!(json.as_object().map(serde_json::Map::len), Some(counters.named().len()));
    }
}
