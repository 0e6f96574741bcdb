//! What an engine is made with.

use super::claims::Claiming;
use super::locals::{Listener, Owned};
use crate::conn::flight::Flights;
use crate::conn::outbox::{self, Outbox};
use crate::conn::prefix::PrefixLimit;
use crate::conn::table::Table;
use crate::tcp::keepalive::Profile;
use crate::tcp::promoted::pool::Pool;
use crate::tcp::timing;
use crate::time::Duration;
use crate::wire::addr::{Address, Secret};
use crate::wire::ethernet::Mac;

/// The settings of an engine; every limit is reserved at start.
#[derive(Clone, Debug)]
pub struct Config {
    /// The hardware address of the interface.
    pub mac: Mac,
    /// The largest IP packet to send, in bytes.
    pub mtu: u16,
    /// Addresses for which the engine answers alone.
    pub owned: Vec<Owned>,
    /// What is done about owned addresses at the start. Nothing, unless set: `tenmil serve` announces
    /// them.
    pub claiming: Claiming,
    /// Endpoints that accept connections. Their addresses need not be owned: the kernel may answer
    /// for the address in everything but these ports.
    pub listeners: Vec<Listener>,
    /// Routers, each on the link of an owned address or with a link-local one: the first on the link
    /// is the next hop of connections that this engine opens to peers that are not.
    pub gateways: Vec<Address>,
    /// Connections at once, in every state.
    pub connections_max: u32,
    /// Connections in SYN-RECEIVED at once; a SYN past that is answered with a cookie
    /// (RFC 4987 section 3.6), and has no record until the peer answers.
    pub half_open_max: u32,
    /// Connections with data in flight at once. Past that, those that have made no progress for a
    /// while give way (docs/decisions/0013-eviction.md).
    pub flights_max: u32,
    /// What was pushed and is not sent yet.
    pub outbox: outbox::Limits,
    /// Connections at once of the peers in one prefix; a SYN past that is dropped. No limit unless
    /// set. Those that this engine opens itself are counted, but not refused.
    pub prefix_limit: Option<PrefixLimit>,
    /// Connection requests accepted a second, and no more than a tenth of that at once; a SYN past that
    /// is dropped, so that the peer tries again later. No limit unless set; a thousand million at most.
    pub accept_rate: Option<u32>,
    /// Connections carried by a whole TCP socket at once, which keep what comes early and queue what
    /// is to be sent (docs/decisions/0008-promotion.md). Past that, those that have made no progress for
    /// a while give way; without a place among them, a connection does without: it acknowledges what it
    /// can take, and the peer sends the rest again.
    pub promoted_max: u32,
    /// The bytes that a promoted connection holds for each direction, at least
    /// [`crate::tcp::promoted::pool::BUFFER_MIN`]; and so the window that every connection advertises, if any can be promoted.
    pub promoted_buffer: u16,
    /// How long a promoted connection is quiet, with nothing to send and all received bytes read,
    /// before it is parked: carried by its record alone again.
    pub park_after: Duration,
    /// Promotes every connection that anything happens on, for comparison.
    pub promote_always: bool,
    /// Resets sent a second, at most, to segments that have no connection (RFC 9293 leaves the limit
    /// open; without one, a flood of segments is answered by a flood of resets). How many exactly is
    /// drawn for each second, between half and all of them.
    pub resets_per_second: u32,
    /// Challenge ACKs sent a second, at most, over all connections; drawn in the same way
    /// (RFC 5961 section 7). Each connection has a limit of its own besides.
    pub challenges_per_second: u32,
    /// Pings answered a second, and other ICMP messages that ask for something.
    pub pings_per_second: u32,
    /// How connections find out that their peers have gone: not at all, unless set (RFC 9293 section
    /// 3.8.4, MUST-25).
    pub profile: Profile,
    /// How long TIME-WAIT lasts.
    pub time_wait: Duration,
    /// Timers looked at in one call of [`super::Engine::handle_timers`]: how long frames may wait for
    /// them.
    pub timers_per_call: usize,
    /// Keys the connection index and the path table.
    pub hash_secret: Secret,
    /// Keys the initial sequence numbers.
    pub isn_secret: Secret,
}

impl Config {
    /// The default limits for an interface with address `mac`, with neither addresses nor listeners.
    /// The secrets are to be drawn from a random source that peers cannot guess.
    pub fn new(mac: Mac, hash_secret: Secret, isn_secret: Secret) -> Config {
        const CONNECTIONS: u32 = 1 << 20;
        Config {
            mac,
            mtu: 1500,
            owned: Vec::new(),
            claiming: Claiming::Silent,
            listeners: Vec::new(),
            gateways: Vec::new(),
            connections_max: CONNECTIONS,
            half_open_max: Self::half_open_for(CONNECTIONS),
            flights_max: Self::flights_for(CONNECTIONS),
            outbox: outbox::Limits::default(),
            promoted_max: 1_024,
            promoted_buffer: u16::MAX,
            park_after: Duration::from_secs(1),
            promote_always: false,
            prefix_limit: None,
            accept_rate: None,
            resets_per_second: 1_000,
            challenges_per_second: 1_000,
            pings_per_second: 1_000,
            profile: Profile::default(),
            time_wait: timing::TIME_WAIT,
            timers_per_call: 256,
            hash_secret,
            isn_secret,
        }
    }

    /// The most memory that the tables of the engine take, in bytes: when all of them are full. What is
    /// not used is not touched.
    pub fn memory_max(&self) -> u64 {
        let connections = Table::bytes(self.connections_max, self.prefix_limit.is_some());
        let flights = u64::from(self.flights_max) * Flights::BYTES_EACH as u64;
        let promoted = Pool::bytes_each(self.promoted_buffer, self.mtu) as u64;
        let outbox = Outbox::memory_max(&self.outbox);
        connections + flights + outbox + u64::from(self.promoted_max) * promoted
    }

    /// The default number of half-open connections for `connections`: all, but no more than 65,536.
    pub const fn half_open_for(connections: u32) -> u32 {
        all_up_to_65536(connections)
    }

    /// The default number of flights for `connections`: one for each, but no more than 65,536.
    pub const fn flights_for(connections: u32) -> u32 {
        all_up_to_65536(connections)
    }
}

const fn all_up_to_65536(connections: u32) -> u32 {
    const MAX: u32 = 65_536;
    if connections < MAX { connections } else { MAX }
}
