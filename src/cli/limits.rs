//! Limits: how many connections, and how much is sent in a second.

use crate::conn::prefix::PrefixLimit;
use crate::engine::config::Config;

/// Past each limit there is a defined answer and a count, and connections that are there go on.
#[derive(Clone, Copy, Debug, clap::Args)]
#[group(id = "limits")]
pub(super) struct Args {
    /// Connections at once, over all queues, split evenly. Each takes 64 bytes when it is used, and
    /// 6 to 12 for the index from the start.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..=1 << 30))]
    max_connections: u32,

    /// Connections at once, on each queue, of the clients in one prefix, half-open and closing ones
    /// included; their SYNs past that are dropped. No limit unless given; then it takes 2 to 5 bytes
    /// for each connection of --max-connections from the start, and 20 more for each prefix.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    connections_per_prefix: Option<u32>,

    /// The length of the IPv4 prefixes that --connections-per-prefix counts.
    #[arg(long, value_name = "BITS", default_value_t = 32, value_parser = clap::value_parser!(u8).range(1..=32), requires = "connections_per_prefix")]
    prefix_v4: u8,

    /// The length of the IPv6 prefixes that --connections-per-prefix counts.
    #[arg(long, value_name = "BITS", default_value_t = 64, value_parser = clap::value_parser!(u8).range(1..=128), requires = "connections_per_prefix")]
    prefix_v6: u8,

    /// Connections half-open at once, over all queues, split evenly: past that, SYNs are answered with
    /// cookies. All, up to 65,536 a queue, unless given.
    #[arg(long, value_name = "N")]
    half_open_max: Option<u32>,

    /// Connections with data in flight at once, over all queues; each takes 2.9 KB when it is used.
    /// Past it, a connection that has acknowledged nothing for 7 seconds, sent again three times, is
    /// reset to make room; while there is none such, data and closes wait. As many as connections,
    /// and no more than 65536 a queue, unless given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1 << 18))]
    flights_max: Option<u32>,

    /// Pushes sent and not acknowledged at once, on each queue, before they are overdue after a second:
    /// what the rings of both sides hold. With clients that are far away, more let a broadcast keep its
    /// pace.
    #[arg(long, value_name = "N", default_value_t = 2_048, value_parser = clap::value_parser!(u32).range(1..))]
    pushes_underway: u32,
    /// Connections accepted a second, over all queues, split evenly, and no more than a tenth of that at
    /// once: when all clients come back together, their SYNs past that are dropped and sent again later,
    /// and the connections that are there keep their heartbeats. No limit unless given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000_000))]
    accept_rate: Option<u32>,

    /// Resets a second, on each queue, in answer to segments of no connection: at most so many, and
    /// at least half of them.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    resets_per_second: u32,

    /// Challenge ACKs a second, on each queue, in answer to segments that only a forger or a
    /// rebooted peer would send: at most so many, and at least half of them.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    challenge_acks_per_second: u32,

    /// Pings answered a second, on each queue: at most so many, and at least half of them.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pings_per_second: u32,
}

impl Args {
    /// Sets the limits of one of `queues` engines.
    pub(super) fn apply(&self, config: &mut Config, queues: u32) {
        let share = |total: u32| total.div_ceil(queues);
        let connections = share(self.max_connections);
        config.connections_max = connections;
        config.prefix_limit = self.connections_per_prefix.map(|connections_max| PrefixLimit {
            connections_max,
            v4_len: self.prefix_v4,
            v6_len: self.prefix_v6,
        });
        config.half_open_max = self.half_open_max.map_or(Config::half_open_for(connections), share);
        config.flights_max = self.flights_max.map_or(Config::flights_for(connections), share);
        config.outbox.underway_max = self.pushes_underway;
        config.accept_rate = self.accept_rate.map(share);
        config.resets_per_second = self.resets_per_second;
        config.challenges_per_second = self.challenge_acks_per_second;
        config.pings_per_second = self.pings_per_second;
    }
}
