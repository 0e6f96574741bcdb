//! Status lines: for people, and as JSON for a program that started this one.

use super::claim;
use crate::engine::claims::Conflict;
use crate::shard::Snapshot;
use crate::tcp::CloseReason;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

/// What is said once a second.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Status {
    /// Connections in every state.
    pub(super) connections: u64,
    /// Connections on which both sides can still send.
    pub(super) established: u64,
    /// Connections whose handshake is not complete.
    pub(super) half_open: u64,
    /// Connections that a whole TCP socket carries.
    pub(super) promoted: u64,
    /// Frames, and those dropped.
    pub(super) frames: Frames,
    /// Connections that have ended, by reason; reasons that did not occur are left out.
    pub(super) closed: BTreeMap<String, u64>,
    /// What happened besides, by name; what did not happen is left out.
    pub(super) events: BTreeMap<String, u64>,
    /// What services keep now besides the records, by name; what they keep none of is left out.
    #[serde(default)]
    pub(super) keeps: BTreeMap<String, u64>,
    /// Who else had an owned address, the last time that somebody had: hardware address and address.
    pub(super) conflict: Option<(String, IpAddr)>,
}

/// Frames through an engine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Frames {
    pub(super) rx: u64,
    pub(super) tx: u64,
    /// By reason; reasons that did not occur are left out.
    pub(super) dropped: BTreeMap<String, u64>,
}

impl From<&Snapshot> for Status {
    fn from(snapshot: &Snapshot) -> Status {
        let Snapshot { engine, link, service, usage } = snapshot;
        let drops = engine.drops.nonzero().map(|(reason, count)| (reason.name(), count));
        let lost = link.named();
        let told = service.iter().map(|(name, count)| (*name, *count));
        let closed = CloseReason::ALL.map(|reason| (reason.name(), engine.closed(reason)));
        Status {
            connections: engine.connections,
            established: engine.established,
            half_open: engine.half_open,
            promoted: engine.promoted,
            frames: Frames { rx: engine.rx, tx: engine.tx, dropped: nonzero(drops.chain(lost)) },
            closed: nonzero(closed),
            events: nonzero(engine.events().into_iter().chain(told)),
            keeps: keeps(usage),
            conflict: engine
                .conflict
                .map(|Conflict { addr, mac }| (claim::text(mac), addr.to_ip())),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Status { connections, established, half_open, promoted, .. } = self;
        let Status { frames, closed, events, keeps, conflict, .. } = self;
        write!(f, "{connections} connections ({established} established, {half_open} half-open, ")?;
        write!(f, "{promoted} promoted)")?;
        write!(f, "  frames: {} in, {} out, ", frames.rx, frames.tx)?;
        write!(f, "{} dropped", frames.dropped.values().sum::<u64>())?;
        write_reasons(f, ":", &frames.dropped)?;
        write_reasons(f, "  closed:", closed)?;
        write_reasons(f, "  events:", events)?;
        write_reasons(f, "  keeps:", keeps)?;
        match conflict {
            Some((mac, addr)) => write!(f, "  conflict: {mac} has {addr} too"),
            None => Ok(()),
        }
    }
}

/// What services keep, and what of it a session of MQTT's takes.
fn keeps(usage: &BTreeMap<&'static str, u64>) -> BTreeMap<String, u64> {
    let amount = |name| usage.get(name).copied().unwrap_or(0);
    let bytes = amount("mqtt_session_bytes") + amount("mqtt_subscription_bytes");
    let each = bytes.checked_div(amount("mqtt_sessions")).unwrap_or(0);
    let told = usage.iter().map(|(name, amount)| (*name, *amount));
    nonzero(told.chain([("mqtt_bytes_per_session", each)]))
}

/// The counts that are not zero, by name.
fn nonzero(counts: impl IntoIterator<Item = (&'static str, u64)>) -> BTreeMap<String, u64> {
    let counts = counts.into_iter().filter(|&(_, count)| count > 0);
    counts.map(|(name, count)| (name.to_owned(), count)).collect()
}

/// The reasons with their counts, after `title`, if there are any.
fn write_reasons(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    reasons: &BTreeMap<String, u64>,
) -> fmt::Result {
    if reasons.is_empty() {
        return Ok(());
    }
    f.write_str(title)?;
    reasons.iter().try_for_each(|(reason, count)| write!(f, " {reason} {count}"))
}
