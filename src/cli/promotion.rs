//! Flags about connections that a whole TCP socket carries for a while.

use crate::engine::config::Config;
use crate::tcp::promoted::pool::BUFFER_MIN;
use crate::time::Duration;

/// The flags; `--promoted-max` is for all queues.
#[derive(Debug, clap::Args)]
#[group(id = "promotion")]
pub(super) struct Args {
    /// Connections at once that are carried by a whole TCP socket, because data came out of order, or
    /// there is more to send than a record holds; over all queues. Past it, one that has made no
    /// progress for 7 s gives way (it is reset, unless its record can go on alone); else connections do
    /// without, and what they cannot keep is sent again. 0 for none.
    #[arg(long, value_name = "N", default_value_t = 1_024)]
    #[arg(value_parser = clap::value_parser!(u32).range(..=1 << 20))]
    promoted_max: u32,

    /// Bytes that such a connection holds for each direction, and the window that all advertise.
    #[arg(long, value_name = "BYTES", default_value_t = u16::MAX)]
    #[arg(value_parser = clap::value_parser!(u16).range(i64::from(BUFFER_MIN)..))]
    promoted_buffer: u16,

    /// How long such a connection is quiet before its record carries it alone again.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = humantime::parse_duration)]
    park_after: Duration,
}

impl Args {
    /// Sets what the flags say for one of `queues` queues.
    pub(super) fn apply(&self, config: &mut Config, queues: u32) {
        config.promoted_max = self.promoted_max.div_ceil(queues);
        config.promoted_buffer = self.promoted_buffer;
        config.park_after = self.park_after;
    }
}
