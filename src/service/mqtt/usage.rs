//! How much a server keeps.

/// What a server keeps. Messages are counted once, however many clients they wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Usage {
    /// Sessions, with and without a connection.
    pub sessions: usize,
    /// Subscriptions of all sessions.
    pub subscriptions: u32,
    /// Retained messages.
    pub retained: usize,
    /// Messages that wait for a client, each counted for each client.
    pub queued: u32,
    /// All messages that are kept, in bytes.
    pub message_bytes: usize,
    /// The sessions with what waits for them, in bytes, without the messages.
    pub session_bytes: usize,
    /// The subscriptions with their filters, in bytes.
    pub subscription_bytes: usize,
    /// The retained messages with their topics, in bytes.
    pub retained_bytes: usize,
}

impl Usage {
    /// What sessions and subscriptions take for each session, in bytes.
    pub fn bytes_per_session(&self) -> usize {
        (self.session_bytes + self.subscription_bytes).checked_div(self.sessions).unwrap_or(0)
    }
    /// Each with its name.
    pub fn named(&self) -> [(&'static str, u64); 8] {
        let Usage { sessions, subscriptions, retained, queued, .. } = *self;
        let Usage { message_bytes, session_bytes, subscription_bytes, retained_bytes, .. } = *self;
        [
            ("mqtt_sessions", sessions as u64),
            ("mqtt_subscriptions", subscriptions.into()),
            ("mqtt_retained", retained as u64),
            ("mqtt_queued", queued.into()),
            ("mqtt_message_bytes", message_bytes as u64),
            ("mqtt_session_bytes", session_bytes as u64),
            ("mqtt_subscription_bytes", subscription_bytes as u64),
            ("mqtt_retained_bytes", retained_bytes as u64),
        ]
    }
}
