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
