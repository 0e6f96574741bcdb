//! What clients receive without asking.

use super::subscription::MESSAGE_LEN_MAX;
use crate::time::{Duration, Instant};
use hdrhistogram::Histogram;

/// For how long after a message pushes are still said to come.
const LULL: Duration = Duration::from_millis(100);

/// Messages that were pushed, and how heartbeats fared while they came.
#[derive(Debug)]
pub struct Pushed {
    /// Messages.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Messages that differ from the first one, of those that came in one piece: of WebSocket and MQTT.
    pub different: u64,
    /// The first one.
    first: Vec<u8>,
    /// When the first one ended, and the last one.
    at: Option<(Instant, Instant)>,
    /// Microseconds from when a heartbeat was due to its answer, of those answered while pushes came.
    pub latency: Histogram<u64>,
}

impl Pushed {
    pub(super) fn new(latency: Histogram<u64>) -> Pushed {
        let first = Vec::with_capacity(MESSAGE_LEN_MAX);
        Pushed { messages: 0, bytes: 0, different: 0, first, at: None, latency }
    }

    /// A message has come in one piece, `packet`, of which `text_len` bytes are its text.
    pub(super) fn note(&mut self, packet: &[u8], text_len: usize, now: Instant) {
        match self.messages {
            0 => self.first.extend_from_slice(packet),
            _ => self.different += u64::from(self.first != packet),
        }
        self.bytes += text_len as u64;
        self.end_message(now);
    }

    /// A message has ended.
    pub(super) fn end_message(&mut self, now: Instant) {
        self.messages += 1;
        let (first, _) = self.at.unwrap_or((now, now));
        self.at = Some((first, now));
    }

    /// A heartbeat was answered.
    pub(super) fn note_answer(&mut self, latency_us: u64, now: Instant) {
        if self.at.is_some_and(|(_, last)| now.since(last) <= LULL) {
            self.latency.saturating_record(latency_us);
        }
    }

    /// When the last message ended.
    pub fn last(&self) -> Option<Instant> {
        self.at.map(|(_, last)| last)
    }

    /// From the first message until the last.
    pub fn span(&self) -> Duration {
        self.at.map_or(Duration::ZERO, |(first, last)| last.since(first))
    }
}
