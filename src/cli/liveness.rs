//! How connections find out that their peer has gone: the flags, and what a listener changes.

use crate::tcp::keepalive::{BadKeepalive, Keepalive, Profile};
use crate::time::Duration;
use std::str::FromStr;

/// Flags for all listeners.
#[derive(Clone, Copy, Debug, clap::Args)]
#[group(id = "liveness")]
pub(super) struct Args {
    /// Whether silent peers are probed: on or off. A listener may differ from this and the next four:
    /// echo://10.77.0.1:7?keepalive-time=60s&user-timeout=30s.
    #[arg(long, value_enum, value_name = "ON|OFF", default_value_t = Switch::On)]
    keepalive: Switch,

    /// How long a peer may be silent before it is probed, from 1s to 32767s.
    #[arg(long, value_name = "TIME", default_value = "7200s", value_parser = humantime::parse_duration)]
    keepalive_time: Duration,

    /// The time between two probes, from 1s to 32767s.
    #[arg(long, value_name = "TIME", default_value = "75s", value_parser = humantime::parse_duration)]
    keepalive_interval: Duration,

    /// How many probes may go unanswered before the connection is reset, from 1 to 127.
    #[arg(long, value_name = "N", default_value_t = 9)]
    keepalive_probes: u8,

    /// How long data may stay unacknowledged, and a probed peer silent, before the connection is
    /// reset; 0s leaves that to the number of retransmissions (6 minutes) and of probes.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = humantime::parse_duration)]
    user_timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Switch {
    On,
    Off,
}

impl Args {
    /// The profile of connections for which nothing else is said.
    ///
    /// # Errors
    ///
    /// When the flags are outside their limits.
    pub(super) fn profile(&self) -> Result<Profile, BadKeepalive> {
        // Checked also when it is off: a limit that was overlooked would show when it is turned on.
        let keepalive =
            Keepalive::new(self.keepalive_time, self.keepalive_interval, self.keepalive_probes)?;
        Ok(Profile {
            keepalive: (self.keepalive == Switch::On).then_some(keepalive),
            user_timeout: (!self.user_timeout.is_zero()).then_some(self.user_timeout),
        })
    }
}

/// What a listener changes: the query of its URL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Overrides {
    keepalive: Option<Switch>,
    time: Option<Duration>,
    interval: Option<Duration>,
    probes: Option<u8>,
    user_timeout: Option<Duration>,
}

/// Why a query is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadQuery {
    #[error(
        "unknown '{0}': there are keepalive, keepalive-time, keepalive-interval, keepalive-probes \
         and user-timeout"
    )]
    Key(String),
    #[error("'{0}' has no value that can be read, such as keepalive=off, keepalive-time=60s")]
    Value(String),
    #[error("'{0}' is said twice")]
    Twice(String),
}

impl Overrides {
    /// `args` with these changes, or `None` if there are none.
    ///
    /// # Errors
    ///
    /// When the result is outside the limits.
    pub(super) fn profile(&self, args: &Args) -> Result<Option<Profile>, BadKeepalive> {
        if *self == Overrides::default() {
            return Ok(None);
        }
        // Who changes a period for a listener wants its probes, unless it says otherwise.
        let periods = self.time.is_some() || self.interval.is_some() || self.probes.is_some();
        let keepalive = if periods { Switch::On } else { args.keepalive };
        let changed = Args {
            keepalive: self.keepalive.unwrap_or(keepalive),
            keepalive_time: self.time.unwrap_or(args.keepalive_time),
            keepalive_interval: self.interval.unwrap_or(args.keepalive_interval),
            keepalive_probes: self.probes.unwrap_or(args.keepalive_probes),
            user_timeout: self.user_timeout.unwrap_or(args.user_timeout),
        };
        changed.profile().map(Some)
    }
}

impl FromStr for Overrides {
    type Err = BadQuery;

    fn from_str(query: &str) -> Result<Overrides, BadQuery> {
        let mut overrides = Overrides::default();
        for pair in query.split('&') {
            let (key, value) =
                pair.split_once('=').ok_or_else(|| BadQuery::Value(pair.to_owned()))?;
            let period = || humantime::parse_duration(value).ok();
            let (read, before) = match key {
                "keepalive" => {
                    replace(&mut overrides.keepalive, clap::ValueEnum::from_str(value, false).ok())
                }
                "keepalive-time" => replace(&mut overrides.time, period()),
                "keepalive-interval" => replace(&mut overrides.interval, period()),
                "keepalive-probes" => replace(&mut overrides.probes, value.parse().ok()),
                "user-timeout" => replace(&mut overrides.user_timeout, period()),
                _ => return Err(BadQuery::Key(key.to_owned())),
            };
            if before {
                return Err(BadQuery::Twice(key.to_owned()));
            }
            if !read {
                return Err(BadQuery::Value(pair.to_owned()));
            }
        }
        Ok(overrides)
    }
}

/// Sets `slot`; returns whether there was something to set it to, and whether it was set before.
fn replace<T>(slot: &mut Option<T>, value: Option<T>) -> (bool, bool) {
    let read = value.is_some();
    (read, core::mem::replace(slot, value).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARGS: Args = Args {
        keepalive: Switch::Off,
        keepalive_time: Duration::from_secs(7200),
        keepalive_interval: Duration::from_secs(75),
        keepalive_probes: 9,
        user_timeout: Duration::ZERO,
    };

    fn profile(query: &str) -> Profile {
        query.parse::<Overrides>().unwrap().profile(&ARGS).unwrap().unwrap()
    }

    #[test]
    fn a_listener_changes_what_it_names() {
        assert_eq!(Overrides::default().profile(&ARGS), Ok(None));
        let keepalive = profile("keepalive-time=1m").keepalive.unwrap();
        assert_eq!(keepalive.time(), Duration::from_secs(60));
        assert_eq!((keepalive.interval(), keepalive.probes()), (Duration::from_secs(75), 9));
        assert_eq!(profile("keepalive-time=60s&keepalive=off").keepalive, None);
        let changed = profile("user-timeout=1500ms");
        assert_eq!(changed.user_timeout, Some(Duration::from_millis(1500)));
        assert_eq!(changed.keepalive, None, "as the flags have it");
    }

    #[test]
    fn bad_queries_say_what_is_wrong() {
        for (query, says) in [
            ("keepalve=on", "unknown 'keepalve'"),
            ("keepalive", "no value"),
            ("keepalive=maybe", "no value"),
            ("keepalive-time=", "no value"),
            ("keepalive-probes=256", "no value"),
            ("user-timeout=1s&user-timeout=2s", "said twice"),
        ] {
            let error = query.parse::<Overrides>().unwrap_err().to_string();
            assert!(error.contains(says) && !error.contains('\n'), "{query}: {error}");
        }
        let short = "keepalive-interval=10ms".parse::<Overrides>().unwrap();
        assert_eq!(short.profile(&ARGS), Err(BadKeepalive::Period));
    }
}
