//! What the load generator is to do, and what came of it.

use super::flows::Flows;
use super::subscription::Subscription;
use crate::client::backoff::Backoff;
use crate::time::{Duration, Instant};
use crate::wire::addr::Endpoint;

/// How many connections may be being opened or closed at once, unless said otherwise: what the rings
/// of both sides hold.
pub const UNDERWAY_MAX: u64 = 1_024;

/// What to do: open connections, hold them while heartbeats go over them, and close them in order.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many connections to hold.
    pub connections: u64,
    /// Connections that the engine has room for, those in TIME-WAIT included.
    pub slots: u64,
    /// From where to where: at least so many pairs. Past the last, the first is used again.
    pub flows: Flows,
    /// Connections opened a second, at a pace fixed beforehand; as fast as it goes unless given.
    pub rate: Option<u64>,
    /// How many connections may be being opened at once, and how many closed; and how many answers are
    /// awaited at most while heartbeats are caught up with.
    pub underway_max: u64,
    /// The period of each connection's heartbeats; none unless given.
    pub heartbeat: Option<Duration>,
    /// Whether heartbeats also go over connections while others are still being opened, from one
    /// period after the first SYN on; otherwise they begin when all are held.
    pub beat_early: bool,
    /// For how long all connections are held.
    pub hold: Duration,
    /// Connections closed and opened anew a second while they are held, at a pace fixed beforehand.
    pub churn: Option<u64>,
    /// When connections are held no longer, counted from the first SYN; those that are still being
    /// opened then are given up.
    pub duration: Option<Duration>,
    /// How connections that fail, or end by themselves, are opened again; unless given, they are only
    /// counted.
    pub reconnect: Option<Reconnect>,
    /// What clients of MQTT subscribe to.
    pub subscription: Option<Subscription>,
}

/// How connections are opened again.
#[derive(Clone, Copy, Debug)]
pub struct Reconnect {
    /// How long they wait before that.
    pub backoff: Backoff,
    /// After how many heartbeats in a row that were due while one was still unanswered, or that could not
    /// be sent, a connection is given up.
    pub misses: u8,
}

impl Plan {
    /// How many heartbeats are due while all connections are held for `hold`.
    pub fn heartbeats(&self, hold: Duration) -> u64 {
        let Some(period) = self.heartbeat.filter(|period| !period.is_zero()) else { return 0 };
        let due = hold.as_nanos().saturating_mul(u128::from(self.connections));
        u64::try_from(due.div_ceil(period.as_nanos())).unwrap_or(u64::MAX)
    }
}

/// How many pairs of endpoints are needed for each of `connections` to have one, and to keep its target
/// with the pair that lies so many further on.
pub fn stride(connections: u64, targets: usize) -> u64 {
    connections.next_multiple_of(u64::try_from(targets).unwrap_or(1).max(1)).max(1)
}

/// Instants at a steady pace, known beforehand: what is late delays nothing else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// When the first is due.
    pub(super) began: Instant,
    /// How many a second.
    pub(super) per_second: u64,
}

impl Pace {
    /// When number `n` is due, counted from 0.
    pub(super) fn due(&self, n: u64) -> Instant {
        self.began + share(Duration::from_secs(1), n, self.per_second)
    }
}

/// `n` in `of` parts of `whole`.
pub(super) fn share(whole: Duration, n: u64, of: u64) -> Duration {
    let nanos = whole.as_nanos().saturating_mul(u128::from(n)) / u128::from(of.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// What came of a plan, besides what [`super::heartbeat::Heartbeat`] counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// Connections that were to be opened, those that took the place of others included.
    pub requested: u64,
    /// Connections attempted.
    pub attempted: u64,
    /// From the first SYN until the last of the connections to hold was established.
    pub connect_time: Duration,
    /// How long they were then held.
    pub hold_time: Duration,
    /// Heartbeats sent.
    pub sent: u64,
    /// Of those, the ones sent more than 100 ms after they were due, because the generator or the link
    /// could not keep the pace. Their latency counts from when they were due, as that of all.
    pub late: u64,
    /// Heartbeats not sent because the one before was still unanswered a period later.
    pub skipped: u64,
    /// Heartbeats that were due while the one before was unanswered, or that could not be sent, where
    /// connections are opened again.
    pub missed: u64,
    /// How many connections were open when the hold ended, where they are opened again.
    pub held: u64,
    /// Connections closed to be opened anew.
    pub churned: u64,
    /// Connections opened anew because the server had closed them, as it had announced.
    pub renewed: u64,
    /// Connections told to close that had not ended when nothing happened any more.
    pub unclosed: u64,
    /// A target whose hardware address, or that of the gateway to it, was not found.
    pub unresolved: Option<Endpoint>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_fixed_and_never_drifts() {
        let pace = Pace { began: Instant::from_millis(10), per_second: 3 };
        let due = [0, 1, 2, 3, 3_000_000_000].map(|n| pace.due(n).nanos() - 10_000_000);
        assert_eq!(
            due,
            [0, 333_333_333, 666_666_666, 1_000_000_000, 1_000_000_000 * 1_000_000_000]
        );
    }
}
