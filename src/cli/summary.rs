//! The JSON summary, schema version 1.

use super::status::Frames;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Summary {
    /// Always 1.
    pub(super) schema: u32,
    /// `veth` or `memory`.
    pub(super) link: &'static str,
    pub(super) connections: Connections,
    pub(super) connect: Connect,
    pub(super) heartbeats: Heartbeats,
    pub(super) latency_us: Latency,
    pub(super) memory: Memory,
    /// The server's.
    pub(super) frames: Frames,
    /// The server's, by name; what did not happen is left out. For people: schema 1 has no such field.
    #[serde(skip)]
    pub(super) events: BTreeMap<String, u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Connections {
    pub(super) requested: u64,
    pub(super) established: u64,
    pub(super) failed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Connect {
    /// From the first SYN until the last connection was established.
    pub(super) seconds: f64,
    pub(super) per_second: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Heartbeats {
    pub(super) sent: u64,
    pub(super) answered: u64,
    pub(super) wrong: u64,
}

/// Microseconds from when a heartbeat was due to its answer; 0 where there was none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Latency {
    pub(super) p50: u64,
    pub(super) p99: u64,
    pub(super) p999: u64,
    pub(super) max: u64,
}

impl Latency {
    pub(super) fn of(histogram: &Histogram<u64>) -> Latency {
        Latency {
            p50: histogram.value_at_quantile(0.5),
            p99: histogram.value_at_quantile(0.99),
            p999: histogram.value_at_quantile(0.999),
            max: histogram.max(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Memory {
    /// The growth of the server's resident memory from before the first connection until all are
    /// established, divided by their number; `null` where server and clients are one process.
    pub(super) server_bytes_per_connection: Option<f64>,
    /// The resident memory of the server's process with all connections established.
    pub(super) server_rss_bytes: u64,
}

impl Summary {
    /// Whether everything that was asked for happened, and rightly.
    pub(super) fn is_clean(&self) -> bool {
        let Heartbeats { sent, answered, wrong } = self.heartbeats;
        self.connections.established == self.connections.requested
            && self.connections.failed == 0
            && sent == self.connections.established
            && (answered, wrong) == (sent, 0)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary {
            connections, connect, heartbeats, latency_us, memory, frames, events, ..
        } = self;
        writeln!(
            f,
            "connections  {} of {} established, {} failed, in {:.2} s ({:.0} a second)",
            connections.established,
            connections.requested,
            connections.failed,
            connect.seconds,
            connect.per_second
        )?;
        writeln!(
            f,
            "heartbeats   {} of {} answered, {} wrong",
            heartbeats.answered, heartbeats.sent, heartbeats.wrong
        )?;
        let Latency { p50, p99, p999, max } = latency_us;
        writeln!(f, "latency      {p50} us median, {p99} p99, {p999} p99.9, {max} at most")?;
        let rss = memory.server_rss_bytes as f64 / 1e6;
        match memory.server_bytes_per_connection {
            Some(bytes) => writeln!(
                f,
                "memory       {bytes:.1} bytes a connection; the server has {rss:.1} MB resident"
            )?,
            None => writeln!(f, "memory       {rss:.1} MB resident, server and clients together")?,
        }
        write!(f, "frames       {} in and {} out at the server, ", frames.rx, frames.tx)?;
        write!(f, "{} dropped", frames.dropped.values().sum::<u64>())?;
        frames.dropped.iter().try_for_each(|(reason, count)| write!(f, ", {reason} {count}"))?;
        let events: Vec<_> = events.iter().map(|(name, count)| format!("{name} {count}")).collect();
        match events.is_empty() {
            true => Ok(()),
            false => write!(f, "\nevents       {} at the server", events.join(", ")),
        }
    }
}
