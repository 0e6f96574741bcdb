//! What a server of MQTT allows, and what it keeps at most.

use super::codec::Reason;
use super::codec::connect::Connect;
use crate::time::Duration;

/// Decides whether a client may connect, from its CONNECT: `Ok`, or the reason to refuse it with.
pub type Authenticator = fn(&Connect<'_>) -> Result<(), Reason>;

/// Limits and periods; the defaults are those of the protocol where it has them.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// How long a client has for its CONNECT.
    pub connect_timeout: Duration,
    /// How long a packet of a connected client may take to come, from its first byte to its last, whatever
    /// the keep alive.
    pub packet_timeout: Duration,
    /// The longest keep alive, in seconds, which 5.0 clients are told and held to, and which stands for
    /// none too; 0 for no limit. 3.1.1 has no way to tell, so there the client's own counts.
    pub keep_alive_s_max: u16,
    /// For how many seconds sessions outlive their connections at most; `u32::MAX` for ever. It holds for
    /// the persistent sessions of 3.1.1 too.
    pub session_expiry_s_max: u32,
    /// Sessions at once, with and without a connection.
    pub sessions_max: u32,
    /// Subscriptions of all sessions.
    pub subscriptions_max: u32,
    /// Subscriptions of one session.
    pub session_subscriptions_max: u32,
    /// Bytes that the filters of all sessions take, about, with what leads to them.
    pub subscription_bytes_max: usize,
    /// The same of one session, as if no other had any of them.
    pub session_subscription_bytes_max: u32,
    /// Shapes of filters, and of their beginnings, that are deeper than 8 levels and have a `+`, told apart
    /// by where it stands: with 631 more, so many places are looked at for one message at most.
    pub filter_shapes_max: u32,
    /// The longest packet of a client, in bytes. It must fit what a promoted connection receives at
    /// once.
    pub packet_len_max: u32,
    /// The greatest topic alias of a client.
    pub topic_alias_max: u16,
    /// Messages sent to one client at QoS 1 and not acknowledged.
    pub inflight_max: u16,
    /// Messages that wait for one client.
    pub queue_max: u32,
    /// Messages that wait for all clients together, each counted for each client.
    pub queues_max: u32,
    /// A message that more subscriptions match than these goes to their clients a piece at a time, and only
    /// as fast as it leaves; to fewer it goes at once.
    pub at_once_max: u32,
    /// Messages that go out in pieces, or wait for others of these; more are refused.
    pub wide_max: u32,
    /// Retained messages.
    pub retained_max: u32,
    /// Bytes of retained messages, about, with what leads to their topics.
    pub retained_bytes_max: usize,
    /// Bytes of all messages that are kept: retained, waiting, unacknowledged, and wills; and of the topics
    /// that aliases stand for.
    pub message_bytes_max: usize,
    /// Who may connect.
    pub authenticator: Authenticator,
}

/// Everybody may connect.
fn anybody(_: &Connect<'_>) -> Result<(), Reason> {
    Ok(())
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            connect_timeout: Duration::from_secs(10),
            packet_timeout: Duration::from_secs(120),
            keep_alive_s_max: 0,
            session_expiry_s_max: u32::MAX,
            sessions_max: 1 << 24,
            subscriptions_max: 1 << 24,
            session_subscriptions_max: 1_000,
            subscription_bytes_max: 4 << 30,
            session_subscription_bytes_max: 1 << 20,
            filter_shapes_max: 4_096,
            packet_len_max: 65_535,
            topic_alias_max: 10,
            inflight_max: 20,
            queue_max: 1_000,
            queues_max: 1 << 22,
            at_once_max: 4_096,
            wide_max: 1_024,
            retained_max: 100_000,
            retained_bytes_max: 64 << 20,
            message_bytes_max: 256 << 20,
            authenticator: anybody,
        }
    }
}
