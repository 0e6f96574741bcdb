//! What a run of the clients came to: for people, and as JSON, schema version 1.

use super::clients::Finished;
use super::pushes::{Asked, Pushes};
use super::returns::Returns;
use super::status::{Frames, Status};
use crate::client::reasons::Reasons;
use crate::load::heartbeat::Heartbeat;
use crate::load::plan::Outcome;
use crate::tcp::CloseReason;
use crate::time::Duration;
use anyhow::Context as _;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::path::Path;

/// What a run came to. Versions of a schema only ever add fields.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Summary {
    /// Always 1.
    pub(super) schema: u32,
    /// `veth` or `memory` for the demo; `interface` for a server that somebody else runs.
    pub(super) link: &'static str,
    pub(super) connections: Connections,
    /// Connections that were not established, by reason; reasons that did not occur are left out.
    /// `unfinished` are those that were not attempted, or still unanswered, when the run ended.
    pub(super) failed_by: BTreeMap<&'static str, u64>,
    /// Established connections that ended before this side closed them, or otherwise than it did, by
    /// reason; reasons that did not occur are left out. `unfinished` are those that had not ended
    /// when nothing happened any more.
    pub(super) closed: BTreeMap<&'static str, u64>,
    pub(super) connect: Connect,
    /// From when a connection was to be opened until it was established.
    pub(super) connect_latency_us: Latency,
    pub(super) hold: Hold,
    pub(super) heartbeats: Heartbeats,
    pub(super) latency_us: Latency,
    /// What was pushed; absent where nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pushes: Option<Pushes>,
    /// What came of connections that were opened again; absent where none was to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reconnects: Option<Returns>,
    pub(super) memory: Memory,
    pub(super) cpu: Cpu,
    /// The server's; the clients' where somebody else runs the server.
    pub(super) frames: Frames,
    /// Of the same, by name; what did not happen is left out. For people: schema 1 has no such field.
    #[serde(skip)]
    pub(super) events: BTreeMap<String, u64>,
    /// What the server's services kept besides the records while connections were held, by name; absent
    /// where that was nothing, or is not known.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) server_keeps: BTreeMap<String, u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Connections {
    /// Those that took the place of others included.
    pub(super) requested: u64,
    pub(super) established: u64,
    pub(super) failed: u64,
    /// Closed to be opened anew.
    pub(super) replaced: u64,
    /// Opened anew because the server had closed them, as it had announced: after so many requests of
    /// HTTP, or with a close frame.
    pub(super) renewed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Connect {
    /// From the first SYN until the last connection to hold was established.
    pub(super) seconds: f64,
    pub(super) per_second: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Hold {
    /// For how long all connections were held.
    pub(super) seconds: f64,
    /// The CPU time of the server's process meanwhile; `null` where it is not known.
    pub(super) server_cpu_seconds: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Heartbeats {
    pub(super) sent: u64,
    pub(super) answered: u64,
    pub(super) wrong: u64,
    /// Of those sent, the ones sent more than 100 ms after they were due.
    pub(super) late: u64,
    /// Not sent, because the one before was unanswered for a whole period.
    pub(super) skipped: u64,
}

/// Microseconds from when something was due to its answer; 0 where there was none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Latency {
    pub(super) p50: u64,
    pub(super) p99: u64,
    pub(super) p999: u64,
    pub(super) max: u64,
}

/// Resident memory; `null` where server and clients are one process, or somebody else runs the server.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Memory {
    /// The growth of the server's resident memory from before the first connection until all are
    /// established, divided by their number.
    pub(super) server_bytes_per_connection: Option<f64>,
    /// The resident memory of the server's process with all connections established; of the only
    /// process, where there is one.
    pub(super) server_rss_bytes: Option<u64>,
    /// The same of the clients' process.
    pub(super) client_bytes_per_connection: Option<f64>,
    pub(super) client_rss_bytes: Option<u64>,
}

/// CPU time, user and system; `null` where it is not known.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Cpu {
    /// Of the server's process, over the whole run.
    pub(super) server_seconds: Option<f64>,
    /// The same for each frame that the server received or sent.
    pub(super) server_ns_per_frame: Option<f64>,
    /// Of the clients' process.
    pub(super) client_seconds: Option<f64>,
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

/// What is known of the server, and of the processes.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Of the server's process: memory before and with all connections, in bytes.
    pub(super) server_memory: Option<(u64, u64)>,
    /// The memory of the only process, in bytes.
    pub(super) only_memory: Option<u64>,
    /// The server's CPU time in all, and while connections were held.
    pub(super) server_cpu: Option<(Duration, Duration)>,
    /// Whether this process is the clients' alone.
    pub(super) clients_alone: bool,
    /// The broadcast that it was asked for.
    pub(super) broadcast: Option<Asked>,
    /// What its services kept while connections were held.
    pub(super) keeps: BTreeMap<String, u64>,
}

impl Summary {
    /// The summary of a run over `link`; `status` is the last one of the server, or of the clients where
    /// somebody else runs it.
    pub(super) fn new(
        finished: &Finished,
        link: &'static str,
        known: &Known,
        status: &Status,
    ) -> Summary {
        let Finished { outcome, heartbeat, memory, cpu, .. } = finished;
        let reconnects = Returns::of(outcome, heartbeat);
        let established = if reconnects.is_some() { outcome.held } else { heartbeat.opened };
        let failed = outcome.requested.saturating_sub(established);
        let seconds = outcome.connect_time.as_secs_f64();
        let held = established.saturating_sub(outcome.churned + outcome.renewed) as f64;
        let per_connection = |(empty, held_bytes): (u64, u64)| {
            let grown = held_bytes.saturating_sub(empty) as f64;
            (established > 0).then(|| round(grown / held, 10.0))
        };
        let client_memory = memory.1.map(|held| (memory.0, held)).filter(|_| known.clients_alone);
        let server_cpu = known.server_cpu.map(|(all, _)| all);
        // What was opened again is told apart.
        let (failed_by, lost) = match reconnects {
            Some(_) => <(Reasons, Reasons)>::default(),
            None => (heartbeat.failed, heartbeat.lost),
        };
        let Status { frames, events, .. } = status;
        let frame_count = frames.rx + frames.tx;
        Summary {
            schema: 1,
            link,
            connections: Connections {
                requested: outcome.requested,
                established,
                failed,
                replaced: outcome.churned,
                renewed: outcome.renewed,
            },
            failed_by: by_reason(&failed_by, failed.saturating_sub(failed_by.total())),
            closed: by_reason(&lost, outcome.unclosed),
            connect: Connect {
                seconds: round(seconds, 1e6),
                per_second: if seconds > 0.0 { (held / seconds).round() } else { 0.0 },
            },
            connect_latency_us: Latency::of(&heartbeat.connect_latency),
            hold: Hold {
                seconds: round(outcome.hold_time.as_secs_f64(), 1e3),
                server_cpu_seconds: known.server_cpu.map(|(_, hold)| hold.as_secs_f64()),
            },
            heartbeats: Heartbeats::of(outcome, heartbeat),
            latency_us: Latency::of(&heartbeat.latency),
            pushes: Pushes::of(heartbeat, known.broadcast.as_ref()),
            reconnects,
            memory: Memory {
                server_bytes_per_connection: known.server_memory.and_then(per_connection),
                server_rss_bytes: known.server_memory.map(|(_, held)| held).or(known.only_memory),
                client_bytes_per_connection: client_memory.and_then(per_connection),
                client_rss_bytes: client_memory.map(|(_, held)| held),
            },
            cpu: Cpu {
                server_seconds: server_cpu.map(|all| all.as_secs_f64()),
                server_ns_per_frame: server_cpu
                    .filter(|_| frame_count > 0)
                    .map(|all| round(all.as_secs_f64() * 1e9 / frame_count as f64, 10.0)),
                client_seconds: known.clients_alone.then_some(cpu.as_secs_f64()),
            },
            frames: frames.clone(),
            events: events.clone(),
            server_keeps: known.keeps.clone(),
        }
    }

    /// Whether everything that was asked for happened, and rightly. What is lost with a connection that
    /// is opened again is lost.
    pub(super) fn is_clean(&self) -> bool {
        let Heartbeats { sent, answered, wrong, skipped, .. } = self.heartbeats;
        let (sent, skipped) = match self.reconnects {
            Some(_) => (answered, 0),
            None => (sent, skipped),
        };
        self.connections.established == self.connections.requested
            && self.connections.failed == 0
            && self.closed.is_empty()
            && (answered, wrong, skipped) == (sent, 0, 0)
            && self.pushes.is_none_or(|pushes| pushes.is_clean())
    }

    /// Finds out, before the work, whether a summary can be written to `path`.
    pub(super) fn check_path(path: &Path) -> anyhow::Result<()> {
        let opened = File::options().create(true).append(true).open(path);
        opened.map(drop).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Writes it as JSON, in one line.
    pub(super) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let json = serde_json::to_string(self)? + "\n";
        std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))
    }
}

impl Heartbeats {
    fn of(outcome: &Outcome, heartbeat: &Heartbeat) -> Heartbeats {
        Heartbeats {
            sent: outcome.sent,
            answered: heartbeat.answered,
            wrong: heartbeat.wrong,
            late: outcome.late,
            skipped: outcome.skipped,
        }
    }
}

/// The reasons that occurred, and how many are `unfinished`.
fn by_reason(reasons: &Reasons, unfinished: u64) -> BTreeMap<&'static str, u64> {
    let named = CloseReason::ALL.map(|reason| (reason.name(), reasons.get(reason)));
    let all = named.into_iter().chain([("unfinished", unfinished)]);
    all.filter(|&(_, count)| count > 0).collect()
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { connections, connect, heartbeats, latency_us, frames, events, .. } = self;
        let Connections { requested, established, failed, replaced, renewed } = connections;
        write!(f, "connections  {established} of {requested} established, {failed} failed, ")?;
        write!(f, "in {:.2} s ({:.0} a second)", connect.seconds, connect.per_second)?;
        for (count, what) in [(replaced, "replaced"), (renewed, "renewed")] {
            if *count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        write_counts(f, "\nfailed       ", &self.failed_by)?;
        write_counts(f, "\nclosed       ", &self.closed)?;
        let Heartbeats { sent, answered, wrong, late, skipped } = heartbeats;
        write!(f, "\nheartbeats   {answered} of {sent} answered, {wrong} wrong")?;
        for (count, what) in [(late, "sent late"), (skipped, "not sent")] {
            if *count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        let Latency { p50, p99, p999, max } = latency_us;
        writeln!(f, "\nlatency      {p50} us median, {p99} p99, {p999} p99.9, {max} at most")?;
        if let Some(pushes) = &self.pushes {
            writeln!(f, "{pushes}")?;
        }
        if let Some(reconnects) = &self.reconnects {
            writeln!(f, "{reconnects}")?;
        }
        self.write_memory(f)?;
        if let Cpu { server_seconds: Some(seconds), server_ns_per_frame: Some(ns), .. } = self.cpu {
            writeln!(f, "cpu          {seconds:.2} s at the server, {ns:.0} ns a frame")?;
        }
        let side = if self.link == "interface" { "client" } else { "server" };
        write!(f, "frames       {} in and {} out at the {side}, ", frames.rx, frames.tx)?;
        write!(f, "{} dropped", frames.dropped.values().sum::<u64>())?;
        frames.dropped.iter().try_for_each(|(reason, count)| write!(f, ", {reason} {count}"))?;
        for (title, counts, side) in
            [("events  ", events, side), ("keeps   ", &self.server_keeps, "server")]
        {
            let counts: Vec<_> =
                counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
            if !counts.is_empty() {
                write!(f, "\n{title}     {} at the {side}", counts.join(", "))?;
            }
        }
        Ok(())
    }
}

impl Summary {
    fn write_memory(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Memory { server_rss_bytes, client_rss_bytes, .. } = self.memory;
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        let sides = [
            ("server", self.memory.server_bytes_per_connection, server_rss_bytes),
            ("client", self.memory.client_bytes_per_connection, client_rss_bytes),
        ];
        let mut lead = "memory       ";
        for (side, each, all) in sides {
            if let (Some(each), Some(all)) = (each, all) {
                write!(f, "{lead}{each:.1} bytes a connection at the {side}, which has ")?;
                write!(f, "{:.1} MB resident", megabytes(all))?;
                lead = "; ";
            }
        }
        match (lead, server_rss_bytes) {
            ("; ", _) => writeln!(f),
            (_, Some(all)) => {
                writeln!(f, "{lead}{:.1} MB resident, server and clients together", megabytes(all))
            }
            _ => Ok(()),
        }
    }
}

fn write_counts(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    counts: &BTreeMap<&'static str, u64>,
) -> fmt::Result {
    let counts: Vec<_> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
    if counts.is_empty() { Ok(()) } else { write!(f, "{title}{}", counts.join(", ")) }
}

fn round(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps
}
