//! The only reader of the system's clock.

use crate::time::{Duration, Instant};
use std::time::{SystemTime, UNIX_EPOCH};

/// A clock that starts at zero. Copies of it agree, on every thread.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: std::time::Instant,
    /// The time since 1970 at the start.
    start_unix: Duration,
}

impl Clock {
    /// A clock that reads zero now.
    #[expect(clippy::disallowed_methods, reason = "this is the one place where the clock is read")]
    pub fn start() -> Clock {
        let start_unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { start: std::time::Instant::now(), start_unix }
    }

    /// The time since 1970, as if the system's clock had not been set since the start.
    pub fn unix(&self) -> Duration {
        self.start_unix + self.start.elapsed()
    }

    /// Seconds since 1970, by the system's clock as it is set now.
    #[expect(clippy::disallowed_methods, reason = "this is the one place where the clock is read")]
    pub fn unix_secs() -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    }

    /// The time since the clock was started.
    pub fn now(&self) -> Instant {
        let nanos = self.start.elapsed().as_nanos();
        Instant::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}
