//! What can be set for an HTTP listener.

use crate::service::settings::{BadSetting, Settings};
use crate::time::Duration;
use core::num::NonZeroU32;

/// The keys of a `--listen` URL that set the service.
pub(in crate::service) const KEYS: &[&str] = &[
    "root",
    "idle-timeout",
    "request-timeout",
    "min-rate",
    "requests",
    "body-max",
    "transfers-max",
    "echo",
];

/// What is set for the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// The directory that is served, which who runs the service opens: see [`super::Files`].
    pub root: Option<String>,
    /// How long a connection may be without a request, before it is closed; for ever if `None`.
    pub idle_timeout: Option<Duration>,
    /// How long a request may take to come, from its first byte to the end of its head; and how long its
    /// content may stand still, or the peer take nothing of an answer.
    pub request_timeout: Duration,
    /// How many bytes of a content must come in a second, or of a file be taken, on average; any number if
    /// `None`. A transfer that is behind is ended when it is so by [`Setup::request_timeout`].
    pub rate_min: Option<NonZeroU32>,
    /// Requests on one connection, of which the last is answered with `Connection: close`; 0 for any
    /// number.
    pub requests_max: u16,
    /// The longest content of a request, in bytes.
    pub body_max: u64,
    /// Contents and files that are underway at once, each on a connection of its own. Past that, requests
    /// that need a place are answered 503.
    pub transfers_max: u32,
    /// Whether `POST /echo` sends back what it gets.
    pub echo: bool,
}

/// That of Kestrel, in bytes a second.
const RATE_MIN: NonZeroU32 = NonZeroU32::new(240).expect("it is more than none");

/// Those of nginx, where it has the same.
impl Default for Setup {
    fn default() -> Setup {
        Setup {
            root: None,
            idle_timeout: Some(Duration::from_secs(75)),
            request_timeout: Duration::from_secs(60),
            rate_min: Some(RATE_MIN),
            requests_max: 1_000,
            body_max: 1 << 20,
            transfers_max: 1_024,
            echo: false,
        }
    }
}

impl Setup {
    pub(in crate::service) fn parse(settings: &mut Settings) -> Result<Setup, BadSetting> {
        let standard = Setup::default();
        let root = settings
            .take("root", "root=/srv/www", |root| (!root.is_empty()).then(|| root.to_owned()))?;
        let idle_timeout = settings.take_period("idle-timeout", "idle-timeout=75s")?;
        let request_timeout = settings.take("request-timeout", "request-timeout=60s", |value| {
            humantime::parse_duration(value).ok().filter(|period| !period.is_zero())
        })?;
        let rate = settings.take("min-rate", "min-rate=240", |value| match value {
            "off" => Some(None),
            value => value.parse().ok().map(NonZeroU32::new),
        })?;
        let requests = settings.take("requests", "requests=1000", |value| value.parse().ok())?;
        let body = settings.take("body-max", "body-max=1048576", |value| value.parse().ok())?;
        let transfers = settings.take("transfers-max", "transfers-max=1024", |value| {
            value.parse().ok().filter(|most| (1..=1 << 20).contains(most))
        })?;
        let echo = settings.take("echo", "echo=on", |value| match value {
            "on" => Some(true),
            "off" => Some(false),
            _ => None,
        })?;
        Ok(Setup {
            root,
            idle_timeout: idle_timeout.unwrap_or(standard.idle_timeout),
            request_timeout: request_timeout.unwrap_or(standard.request_timeout),
            rate_min: rate.unwrap_or(standard.rate_min),
            requests_max: requests.unwrap_or(standard.requests_max),
            body_max: body.unwrap_or(standard.body_max),
            transfers_max: transfers.unwrap_or(standard.transfers_max),
            echo: echo.unwrap_or(standard.echo),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<Setup, BadSetting> {
        let mut settings = Settings::parse(query)?;
        let setup = Setup::parse(&mut settings)?;
        settings.finish(|| KEYS.join(", "))?;
        Ok(setup)
    }

    #[test]
    fn every_key_sets_something() {
        assert_eq!(parse(""), Ok(Setup::default()));
        let query = "root=/srv&idle-timeout=off&request-timeout=5s&min-rate=7&requests=0&body-max=10&\
                     transfers-max=2&echo=on";
        let all = Setup {
            root: Some("/srv".to_owned()),
            idle_timeout: None,
            request_timeout: Duration::from_secs(5),
            rate_min: NonZeroU32::new(7),
            requests_max: 0,
            body_max: 10,
            transfers_max: 2,
            echo: true,
        };
        assert_eq!(parse(query), Ok(all));
        assert!(query.split('&').all(|pair| KEYS.iter().any(|key| pair.starts_with(key))));
        assert_eq!(query.split('&').count(), KEYS.len());
        for any in ["min-rate=0", "min-rate=off"] {
            assert_eq!(parse(any).map(|setup| setup.rate_min), Ok(None));
        }
    }

    #[test]
    fn values_that_make_no_sense_are_refused() {
        for bad in [
            "root=",
            "request-timeout=0s",
            "requests=70000",
            "transfers-max=0",
            "echo=1",
            "min-rate=-1",
        ] {
            let error = parse(bad).unwrap_err().to_string();
            assert!(error.contains(bad) && error.contains("such as"), "{error}");
        }
    }
}
