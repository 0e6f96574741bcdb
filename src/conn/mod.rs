//! The memory of connections: what an idle one costs, and how it is found.
//!
//! Every table here has a fixed capacity, is allocated once, and answers "full" instead of growing.
//! Virtual memory is reserved at start and touched as it fills.
//!
//! - [`record`]: the 64 bytes of a connection
//! - [`slab`]: the records, and [`slab::ConnId`], which outlives none of them
//! - [`index`]: from a flow key to its record
//! - [`path`]: local addresses with the Ethernet header that leads to the peer
//! - [`invitations`]: connections to be offered room because another asked for it
//! - [`marks`]: a mark on some slots
//! - [`prefix`]: how many connections the prefixes of peers have
//! - [`flight`]: data sent and not yet acknowledged
//! - [`payload`]: bytes that many connections send, kept once
//! - [`outbox`]: what is to be sent besides answers; [`delivery`] to one, [`broadcast`] to many
//! - [`ticks`]: a tick for each slot that needs one
//! - [`table`]: the records, found by flow
//! - [`wheel`]: the timers of records and of flights

pub mod broadcast;
pub mod delivery;
pub mod flight;
pub mod index;
pub mod invitations;
pub mod marks;
pub mod outbox;
pub mod path;
pub mod payload;
pub mod prefix;
pub mod record;
pub mod slab;
pub mod table;
pub mod ticks;
pub mod wheel;
