//! Status lines: for people, and as JSON for a program that started this one.

use crate::shard::Snapshot;
use crate::tcp::CloseReason;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What is said once a second.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Status {
    /// Connections in every state.
    pub(super) connections: u64,
    /// Connections on which both sides can still send.
    pub(super) established: u64,
    /// Frames, and those dropped.
    pub(super) frames: Frames,
    /// Connections that have ended, by reason; reasons that did not occur are left out.
    pub(super) closed: BTreeMap<String, u64>,
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
        let Snapshot { engine, link } = snapshot;
        let drops = engine.drops.nonzero().map(|(reason, count)| (reason.name(), count));
        let lost = link.named().into_iter().filter(|&(_, count)| count > 0);
        let dropped = drops.chain(lost).map(|(name, count)| (name.to_owned(), count)).collect();
        Status {
            connections: engine.connections,
            established: engine.established,
            frames: Frames { rx: engine.rx, tx: engine.tx, dropped },
            closed: CloseReason::ALL
                .into_iter()
                .map(|reason| (reason.name().to_owned(), engine.closed(reason)))
                .filter(|&(_, count)| count > 0)
                .collect(),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Status { connections, established, frames, closed } = self;
        write!(f, "{connections} connections ({established} established)")?;
        write!(f, "  frames: {} in, {} out, ", frames.rx, frames.tx)?;
        write!(f, "{} dropped", frames.dropped.values().sum::<u64>())?;
        write_reasons(f, ":", &frames.dropped)?;
        write_reasons(f, "  closed:", closed)
    }
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
