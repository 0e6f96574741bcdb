//! The flags of how the queues are driven: on which processors, and by what.

use crate::link::af_xdp::AfXdpLink;
use crate::shard::affinity;
use anyhow::{Context as _, bail};

/// How the queues of an interface are driven.
#[derive(Debug, clap::Args)]
#[group(id = "driving")]
pub(super) struct Args {
    /// Keep the thread of the first queue on this processor, counted from 0, the next one's on the
    /// next, and so on.
    #[arg(long, value_name = "N")]
    cpu: Option<usize>,

    /// Take frames from the driver when there is time for them, and not when they come. For much
    /// traffic on an interface that is set up for it: napi_defer_hard_irqs and gro_flush_timeout in
    /// /sys/class/net/IF.
    #[arg(long)]
    busy_poll: bool,
}

impl Args {
    /// Sets the links of queues 0 and up to busy polling, if that is asked for; and looks whether
    /// their threads can have their processors.
    pub(super) fn apply(&self, links: &mut [AfXdpLink]) -> anyhow::Result<()> {
        if let Some(first) = self.cpu {
            let allowed = affinity::allowed()?;
            for cpu in (0..links.len()).map(|queue| first.saturating_add(queue)) {
                if !allowed.contains(&cpu) {
                    bail!(
                        "--cpu {first}: processor {cpu} is not one of this process's: {allowed:?}"
                    );
                }
            }
        }
        if self.busy_poll {
            for link in links {
                link.poll_busily().with_context(|| {
                    format!("--busy-poll: the kernel refuses it on {}", link.interface().name)
                })?;
            }
        }
        Ok(())
    }

    /// Keeps the calling thread, which is that of `queue`, on its processor.
    pub(super) fn pin(&self, queue: usize) -> anyhow::Result<()> {
        let Some(first) = self.cpu else { return Ok(()) };
        affinity::pin(first + queue).with_context(|| format!("--cpu {first}"))
    }
}
