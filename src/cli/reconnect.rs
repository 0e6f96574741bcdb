//! The flags of how connections are opened again.

use crate::client::backoff::Backoff;
use crate::load::plan::Reconnect;
use crate::time::Duration;
use anyhow::bail;

/// The shortest first window: shorter ones make no difference to a server.
const BASE_MIN: Duration = Duration::from_millis(1);

/// How connections are opened again.
#[derive(Debug, clap::Args)]
#[group(id = "reconnecting")]
pub(super) struct Args {
    /// Open connections again that fail or end, until the run is over: after a time that is drawn from a
    /// window, which doubles each time. They are then counted apart from those that failed, and the run
    /// is right if all are open when the hold ends. Where no server ever comes they are tried until
    /// --duration is over, or for ever without one.
    #[arg(long, conflicts_with = "churn")]
    reconnect: bool,

    /// The window of the first retry after a connection that had proved itself: by an answered
    /// heartbeat, or by 30 s.
    #[arg(long, value_name = "TIME", default_value = "10s", requires = "reconnect", value_parser = humantime::parse_duration)]
    spread: Duration,

    /// The window of the second retry.
    #[arg(long, value_name = "TIME", default_value = "1s", requires = "reconnect", value_parser = humantime::parse_duration)]
    backoff_base: Duration,

    /// The longest window of all but the first retry.
    #[arg(long, value_name = "TIME", default_value = "60s", requires = "reconnect", value_parser = humantime::parse_duration)]
    backoff_cap: Duration,

    /// Give a connection up when so many heartbeats in a row were due while one was unanswered, or could
    /// not be sent.
    #[arg(long, value_name = "N", default_value_t = 3, requires = "reconnect", value_parser = clap::value_parser!(u8).range(1..))]
    misses: u8,
}

impl Args {
    /// What they say, if connections are opened again.
    pub(super) fn plan(&self) -> anyhow::Result<Option<Reconnect>> {
        let (base, cap) = (self.backoff_base, self.backoff_cap);
        if base < BASE_MIN {
            bail!("--backoff-base {base:?} is no wait: give 1ms or more");
        }
        if base > cap {
            bail!("--backoff-base {base:?} is longer than --backoff-cap {cap:?}");
        }
        let backoff = Backoff { spread: self.spread, base, cap, ..Backoff::default() };
        Ok(self.reconnect.then_some(Reconnect { backoff, misses: self.misses }))
    }
}
