//! `--heartbeat`: a period, or off.

use crate::time::Duration;
use std::str::FromStr;

/// The shortest period, and the longest: latencies are told apart up to 71 minutes.
const PERIODS: core::ops::RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(3600);

/// The period of heartbeats; `None` for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arg(pub(super) Option<Duration>);

/// Why an argument is no [`Arg`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadHeartbeat {
    #[error("'{0}' is neither a time, for example 60s, nor off")]
    Form(String),
    #[error("'{0}' is not from 1ms to 1h")]
    Period(String),
}

impl FromStr for Arg {
    type Err = BadHeartbeat;

    fn from_str(text: &str) -> Result<Arg, BadHeartbeat> {
        if text == "off" {
            return Ok(Arg(None));
        }
        match humantime::parse_duration(text) {
            Ok(period) if PERIODS.contains(&period) => Ok(Arg(Some(period))),
            Ok(_) => Err(BadHeartbeat::Period(text.to_owned())),
            Err(_) => Err(BadHeartbeat::Form(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_or_off_and_nothing_else() {
        assert_eq!("60s".parse(), Ok(Arg(Some(Duration::from_secs(60)))));
        assert_eq!("off".parse(), Ok(Arg(None)));
        for (text, says) in
            [("0s", "from 1ms"), ("2h", "to 1h"), ("on", "neither"), ("", "neither")]
        {
            let error = text.parse::<Arg>().unwrap_err().to_string();
            assert!(error.contains(says) && error.contains(text), "{error}");
        }
    }
}
