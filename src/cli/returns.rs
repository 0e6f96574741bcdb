//! What a summary says of connections that were opened again.

use super::summary::Latency;
use crate::client::seats::Record;
use crate::load::heartbeat::Heartbeat;
use crate::load::plan::Outcome;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// Connections that were opened again. Only with `--reconnect`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Returns {
    /// Attempts after the first one of each client.
    pub(super) retries: u64,
    /// Those of them that came to an open connection.
    pub(super) reconnects: u64,
    /// Attempts that came to none, by reason; reasons that did not occur are left out.
    pub(super) failed_by: BTreeMap<&'static str, u64>,
    /// Open connections that ended by themselves or were given up, by reason.
    pub(super) lost_by: BTreeMap<&'static str, u64>,
    /// Heartbeats that were due while one was unanswered, or that could not be sent.
    pub(super) missed: u64,
    /// How often some were lost after all had been open, until all were open again.
    pub(super) outages: u64,
    /// The longest of these times; 0 if none has ended.
    pub(super) outage_seconds_max: f64,
    /// Retries in each second, from the first one on; those after an hour are in its last second.
    pub(super) retries_by_second: Vec<u32>,
    /// Of the heartbeats answered while others were lost and not back.
    pub(super) latency_us: Latency,
    /// How many those are.
    pub(super) answered: u64,
}

impl Returns {
    pub(super) fn of(outcome: &Outcome, heartbeat: &Heartbeat) -> Option<Returns> {
        let record = heartbeat.seats.as_ref()?.record();
        let &Record { retries, reconnects, outages, outage_longest, .. } = record;
        Some(Returns {
            retries,
            reconnects,
            failed_by: heartbeat.failed.nonzero().collect(),
            lost_by: heartbeat.lost.nonzero().collect(),
            missed: outcome.missed,
            outages,
            outage_seconds_max: (outage_longest.as_secs_f64() * 1e3).round() / 1e3,
            retries_by_second: record.retries_by_second.clone(),
            latency_us: Latency::of(&heartbeat.storm_latency),
            answered: heartbeat.storm_latency.len(),
        })
    }
}

impl fmt::Display for Returns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Returns { retries, reconnects, missed, outages, .. } = self;
        let most = self.retries_by_second.iter().max().unwrap_or(&0);
        write!(f, "reconnects   {reconnects} after {retries} retries, {most} a second at most; ")?;
        write!(f, "{missed} heartbeats missed")?;
        for (title, counts) in [("lost        ", &self.lost_by), ("not opened  ", &self.failed_by)]
        {
            let counts: Vec<_> = counts.iter().map(|(name, n)| format!("{name} {n}")).collect();
            if !counts.is_empty() {
                write!(f, "\n{title} {}", counts.join(", "))?;
            }
        }
        if *outages > 0 {
            let Latency { p50, p99, max, .. } = self.latency_us;
            write!(
                f,
                "\noutages      {outages}, all back after {:.1} s at most; ",
                self.outage_seconds_max
            )?;
            write!(f, "heartbeats meanwhile {p50} us median, {p99} p99, {max} at most")?;
        }
        Ok(())
    }
}
