//! How long a peer has been silent, from four bytes, and what is due then.
//!
//! A peer that has been silent for a period is sent a heartbeat, another one a period later, and after
//! three periods it is given up. Whatever it sends in between is a sign of life.

use super::Context;
use super::settings::{BadSetting, Settings};
use crate::tcp::CloseReason;
use crate::time::{Duration, Instant};

/// After how many periods of silence a peer is given up.
pub const PERIODS: u32 = 3;

/// The shortest period.
pub const PERIOD_MIN: Duration = Duration::from_millis(100);

/// The longest period, so that the clock of [`Heard`] does not wrap meanwhile: twelve days.
pub const PERIOD_MAX: Duration = Duration::from_secs(12 * 24 * 60 * 60);

/// Takes the setting `heartbeat`, if it is set: a period, or none.
///
/// # Errors
///
/// When it is no period from a millisecond to [`PERIOD_MAX`].
pub fn take_period(settings: &mut Settings) -> Result<Option<Option<Duration>>, BadSetting> {
    let example = "heartbeat=60s";
    settings.take("heartbeat", example, |value| match value {
        "0" | "off" => Some(None),
        value => {
            let period = humantime::parse_duration(value).ok()?;
            let is_right = period.is_zero() || (PERIOD_MIN..=PERIOD_MAX).contains(&period);
            is_right.then_some((!period.is_zero()).then_some(period))
        }
    })
}

/// When something was last heard from a peer, in milliseconds modulo 2^32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard(pub u32);

/// What a connection's silence calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing yet.
    Nothing,
    /// A heartbeat.
    Heartbeat,
    /// The end: [`PERIODS`] have passed.
    End,
}

impl Heard {
    /// Something was heard at `now`.
    pub fn at(now: Instant) -> Heard {
        Heard(millis(now))
    }

    /// What is due at `now`, with heartbeats every `period` of silence, and how long it then is until
    /// something is due next. `period` is a millisecond at least and [`PERIOD_MAX`] at most.
    pub fn judge(self, now: Instant, period: Duration) -> (Due, Duration) {
        let silent = Duration::from_millis(u64::from(millis(now).wrapping_sub(self.0)));
        let periods = silent.as_millis() / period.as_millis().max(1);
        let due = match periods {
            0 => Due::Nothing,
            _ if periods < u128::from(PERIODS) => Due::Heartbeat,
            _ => Due::End,
        };
        let passed = u32::try_from(periods).unwrap_or(PERIODS).min(PERIODS);
        (due, (period * (passed + 1)).saturating_sub(silent))
    }
}

/// Does what is due on a connection that was woken, and asks for its next wake: sends `heartbeat`, or
/// ends the connection. Returns what it did.
pub fn attend(conn: &mut Context<'_>, heard: Heard, period: Duration, heartbeat: &[u8]) -> Due {
    let (due, wait) = heard.judge(conn.now(), period);
    conn.wake_after(wait);
    match due {
        Due::Nothing => Due::Nothing,
        // Without room, the peer has something to acknowledge, and TCP sees to that.
        Due::Heartbeat if conn.room() < heartbeat.len() => Due::Nothing,
        Due::Heartbeat => {
            conn.send(heartbeat);
            Due::Heartbeat
        }
        Due::End => {
            conn.abort_for(CloseReason::HeartbeatMissed);
            Due::End
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "modulo 2^32 by design")]
fn millis(at: Instant) -> u32 {
    at.millis() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(30);

    #[test]
    fn two_heartbeats_and_then_the_end() {
        let began = Instant::from_millis(1_000);
        let heard = Heard::at(began);
        let after = |millis| heard.judge(began + Duration::from_millis(millis), PERIOD);
        let millis = Duration::from_millis;
        assert_eq!(after(0), (Due::Nothing, PERIOD));
        assert_eq!(after(29_999), (Due::Nothing, millis(1)));
        assert_eq!(after(30_000), (Due::Heartbeat, PERIOD));
        assert_eq!(after(30_017), (Due::Heartbeat, millis(29_983)), "a late wake delays no other");
        assert_eq!(after(60_020), (Due::Heartbeat, millis(29_980)));
        assert_eq!(after(89_999), (Due::Heartbeat, millis(1)));
        assert_eq!(after(90_000).0, Due::End);
        assert_eq!(after(1_000_000).0, Due::End);
    }

    #[test]
    fn it_outlives_the_wrap_of_its_clock() {
        let began = Instant::from_millis(u64::from(u32::MAX) - 10);
        let heard = Heard::at(began);
        let later = began + Duration::from_millis(20);
        assert_eq!(heard.judge(later, PERIOD), (Due::Nothing, Duration::from_millis(29_980)));
        let end = began + PERIOD_MAX * PERIODS;
        assert_eq!(heard.judge(end, PERIOD_MAX).0, Due::End);
    }
}
