//! How connections find out that their peer has gone: the flags, and what a listener changes.

use super::address::ListenUrl;
use crate::service::periods::Periods;
use crate::service::settings::{BadSetting, Settings};
use crate::tcp::keepalive::{BadKeepalive, Keepalive, Profile};
use crate::time::Duration;

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

/// The keys of a listener's URL that change it.
pub(super) const KEYS: [&str; 5] =
    ["keepalive", "keepalive-time", "keepalive-interval", "keepalive-probes", "user-timeout"];

impl Overrides {
    /// Takes what `settings` say about it.
    ///
    /// # Errors
    ///
    /// When a value cannot be read.
    pub(super) fn parse(settings: &mut Settings) -> Result<Overrides, BadSetting> {
        let period = |value: &str| humantime::parse_duration(value).ok();
        let switch = |value: &str| clap::ValueEnum::from_str(value, false).ok();
        let [keepalive, time, interval, probes, user_timeout] = KEYS;
        Ok(Overrides {
            keepalive: settings.take(keepalive, "keepalive=off", switch)?,
            time: settings.take(time, "keepalive-time=60s", period)?,
            interval: settings.take(interval, "keepalive-interval=10s", period)?,
            probes: settings.take(probes, "keepalive-probes=9", |value| value.parse().ok())?,
            user_timeout: settings.take(user_timeout, "user-timeout=30s", period)?,
        })
    }

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

/// What is likely not meant about the periods of these listeners, of which those for which nothing else
/// is said have `profile`: a line each, with the listeners that it is about.
pub(super) fn warnings<'a>(
    listeners: impl IntoIterator<Item = (&'a ListenUrl, Profile)>,
) -> Vec<String> {
    let mut found: Vec<(String, Vec<&ListenUrl>)> = Vec::new();
    for (url, profile) in listeners {
        let heartbeat = url.setup.heartbeat();
        let over_http = url.setup.service().is_over_http();
        for warning in (Periods { profile, heartbeat, over_http }).check() {
            let warning = warning.to_string();
            match found.iter_mut().find(|(other, _)| *other == warning) {
                Some((_, urls)) => urls.push(url),
                None => found.push((warning, vec![url])),
            }
        }
    }
    let line = |(warning, urls): (String, Vec<&ListenUrl>)| match urls[..] {
        [first] => format!("{first}: {warning}"),
        [first, ref others @ ..] => format!("{first} and {} more: {warning}", others.len()),
        [] => warning,
    };
    found.into_iter().map(line).collect()
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

    fn parse(query: &str) -> Result<Overrides, BadSetting> {
        Overrides::parse(&mut Settings::parse(query)?)
    }

    fn profile(query: &str) -> Profile {
        parse(query).unwrap().profile(&ARGS).unwrap().unwrap()
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
    fn a_warning_is_said_once_for_all_listeners_that_it_is_about() {
        let urls: Vec<ListenUrl> = [
            "echo://10.77.0.1:7",
            "line://10.77.0.1:7000?heartbeat=60s",
            "discard://10.77.0.1:9",
            "ws://10.77.0.1:80?heartbeat=60s",
            "echo://10.77.0.1:8?keepalive-time=60s",
        ]
        .map(|url| url.parse().unwrap())
        .into();
        let profile = |url: &ListenUrl| url.overrides.profile(&ARGS).unwrap();
        let default = ARGS.profile().unwrap();
        let said = warnings(urls.iter().map(|url| (url, profile(url).unwrap_or(default))));
        let [lost, closed] = &said[..] else { panic!("two lines: {said:?}") };
        assert!(lost.starts_with("echo://10.77.0.1:7 and 1 more: neither keepalive"), "{lost}");
        assert!(closed.starts_with("ws://10.77.0.1:80: no data crosses"), "{closed}");
    }

    #[test]
    fn bad_queries_say_what_is_wrong() {
        for (query, says) in [
            ("keepalive", "no value"),
            ("keepalive=maybe", "no value"),
            ("keepalive-time=", "no value"),
            ("keepalive-probes=256", "no value"),
            ("user-timeout=1s&user-timeout=2s", "said twice"),
        ] {
            let error = parse(query).unwrap_err().to_string();
            assert!(error.contains(says) && !error.contains('\n'), "{query}: {error}");
        }
        let short = parse("keepalive-interval=10ms").unwrap();
        assert_eq!(short.profile(&ARGS), Err(BadKeepalive::Period));
    }
}
