//! Is the peer still there? Keepalive probes and the user timeout, with the semantics of Linux.
//!
//! A record keeps when the peer was last heard and how many probes went unanswered since; when the
//! next one is due follows from both.

use crate::conn::record::{CHALLENGED, Conn, NONE};
use crate::time::{Duration, Tick};

/// When a silent peer is probed, and given up (RFC 9293 section 3.8.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Keepalive {
    time: Duration,
    interval: Duration,
    probes: u8,
}

/// A [`Keepalive`] outside its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKeepalive {
    /// A period is not from 1 to 32,767 seconds.
    #[error("keepalive periods are from 1 s to 32767 s")]
    Period,
    /// The number of probes is not from 1 to 127.
    #[error("keepalive probes are from 1 to 127")]
    Probes,
}

impl Keepalive {
    /// What Linux does unless told otherwise, and RFC 9293 asks for (MUST-28: two hours or more).
    pub const LINUX: Keepalive =
        Keepalive { time: Duration::from_secs(7200), interval: Duration::from_secs(75), probes: 9 };

    /// A peer silent for `time` is probed; one that answers none of `probes` probes, `interval`
    /// apart, is gone. The limits are those of Linux (`MAX_TCP_KEEPIDLE` and its like).
    ///
    /// # Errors
    ///
    /// See [`BadKeepalive`].
    pub fn new(time: Duration, interval: Duration, probes: u8) -> Result<Keepalive, BadKeepalive> {
        let allowed = Duration::from_secs(1)..=Duration::from_secs(32_767);
        if !(allowed.contains(&time) && allowed.contains(&interval)) {
            return Err(BadKeepalive::Period);
        }
        if !(1..=127).contains(&probes) {
            return Err(BadKeepalive::Probes);
        }
        Ok(Keepalive { time, interval, probes })
    }

    /// How long the peer may be silent before it is probed.
    pub const fn time(&self) -> Duration {
        self.time
    }

    /// The time between two probes.
    pub const fn interval(&self) -> Duration {
        self.interval
    }

    /// How many probes may go unanswered.
    pub const fn probes(&self) -> u8 {
        self.probes
    }
}

/// How a connection finds out that its peer has gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Profile {
    /// Probes for a silent peer; `None` for none, as RFC 9293 has it by default (MUST-25).
    pub keepalive: Option<Keepalive>,
    /// How long data may be outstanding, and a peer that is being probed silent, before the
    /// connection is given up. It overrides the count of retransmissions and of probes, as Linux's
    /// TCP_USER_TIMEOUT does; `None` leaves it to them. As on Linux it begins to count when the
    /// connection is established: a handshake is repeated as often as any.
    pub user_timeout: Option<Duration>,
}

/// When the peer of `conn` is to be probed or given up, or `None` if never.
pub fn deadline(conn: &Conn, profile: &Profile) -> Option<Tick> {
    // RFC 9293 section 3.8.4 (MUST-26): "Keep-alive packets MUST only be sent when no sent data is
    // outstanding"; then retransmissions find out.
    if conn.flight != NONE { None } else { probe_at(conn, profile) }
}

/// When the peer of `conn`, which has nothing outstanding, is to be probed or given up.
pub fn probe_at(conn: &Conn, profile: &Profile) -> Option<Tick> {
    if !conn.state.can_send() {
        return None;
    }
    let keepalive = profile.keepalive?;
    let silent = keepalive.time + keepalive.interval * u32::from(conn.attempts);
    Some(conn.touched.after(silent))
}

/// What to do at the [`deadline`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Send a probe, and count it.
    Probe,
    /// The peer is gone.
    GiveUp,
}

/// Decides about a peer that is due at `now`.
pub fn due(conn: &Conn, profile: &Profile, now: Tick) -> Due {
    let gone = match (profile.user_timeout, profile.keepalive) {
        // At least one probe is sent, however short the timeout is.
        (Some(timeout), _) => conn.attempts > 0 && now.reached(conn.touched.after(timeout)),
        (None, Some(keepalive)) => conn.attempts >= keepalive.probes,
        (None, None) => false,
    };
    // With a user timeout longer than all probes the count runs on, until the record has no room.
    if gone || conn.attempts == u8::MAX { Due::GiveUp } else { Due::Probe }
}

/// Counts a probe sent at `now`. Those to come keep their distance also when this one is late,
/// because there was much to do or because the profile was changed after a long silence.
pub fn probed(conn: &mut Conn, profile: &Profile, now: Tick) {
    if let Some(deadline) = probe_at(conn, profile) {
        let late = now.0.wrapping_sub(deadline.0);
        conn.touched = Tick(conn.touched.0.wrapping_add(late));
    }
    conn.attempts = conn.attempts.saturating_add(1);
    conn.clear(CHALLENGED);
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn only_what_linux_allows_is_a_keepalive() {
        assert!(Keepalive::new(SECOND, SECOND, 1).is_ok());
        assert_eq!(Keepalive::new(SECOND / 2, SECOND, 1), Err(BadKeepalive::Period));
        assert_eq!(Keepalive::new(SECOND, 40_000 * SECOND, 1), Err(BadKeepalive::Period));
        assert_eq!(Keepalive::new(SECOND, SECOND, 0), Err(BadKeepalive::Probes));
        assert_eq!(Keepalive::new(SECOND, SECOND, 128), Err(BadKeepalive::Probes));
    }
}
