//! `--probe-addresses`: finding out whether somebody else has an address, before it is served.

use super::serve::ServeShard;
use crate::engine::claims::{Claim, Claiming, Conflict};
use crate::shard::Shared;
use crate::shard::clock::Clock;
use anyhow::{anyhow, bail};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

/// How the owned addresses are taken into use.
#[derive(Clone, Copy, Debug, clap::Args)]
#[group(id = "claim")]
pub(super) struct Args {
    /// Ask the link whether somebody has an --address already, for up to 7 seconds, and serve only
    /// if nobody answers (RFC 5227, RFC 4862). Without it, addresses are announced at once. They are
    /// defended in any case.
    #[arg(long)]
    probe_addresses: bool,
}

impl Args {
    /// What the engine of queue `queue` does. Neighbours need to hear an announcement from one; the
    /// answers to a probe may arrive at any.
    pub(super) fn claiming(&self, queue: usize) -> Claiming {
        match (self.probe_addresses, queue) {
            (true, _) => Claiming::Probe,
            (false, 0) => Claiming::Announce,
            (false, _) => Claiming::Silent,
        }
    }
}

/// Waits until the shards know that nobody else has their addresses; for nothing where they do not
/// ask. Being stopped is no error: there is nothing left to do then.
///
/// # Errors
///
/// Who has an address already, or a shard's own.
pub(super) fn claim(
    shards: &mut [ServeShard],
    clock: &Clock,
    stop: &Arc<AtomicBool>,
) -> anyhow::Result<()> {
    thread::scope(|scope| {
        let claims: Vec<_> = shards
            .iter_mut()
            .map(|shard| scope.spawn(|| shard.claim(clock, &Shared::new(stop.clone()))))
            .collect();
        for claim in claims {
            let claim = claim.join().map_err(|_| anyhow!("a shard panicked"))?;
            if let Claim::Refused(Conflict { addr, mac }) = claim? {
                let addr = addr.to_ip();
                bail!("{} has {addr} already; give --address another, or that host", text(mac));
            }
        }
        Ok(())
    })
}

/// A hardware address as it is written.
pub(super) fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
