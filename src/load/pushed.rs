//! What clients receive without asking.

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
    /// When the first one ended, and the last one.
    at: Option<(Instant, Instant)>,
    /// Microseconds from when a heartbeat was due to its answer, of those answered while pushes came.
    pub latency: Histogram<u64>,
}

impl Pushed {
    pub(super) fn new(latency: Histogram<u64>) -> Pushed {
        Pushed { messages: 0, bytes: 0, at: None, latency }
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

    /// From the first message until the last.
    pub fn span(&self) -> Duration {
        self.at.map_or(Duration::ZERO, |(first, last)| last.since(first))
    }
}
