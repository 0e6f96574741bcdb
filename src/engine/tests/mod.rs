//! The engine from outside: frames and time in, frames out.
//!
//! - `harness`: an engine with its pool and clock, checked after every call
//! - `peer`: the other end of a connection, scripted segment by segment
//! - `passive`, `active`: opens; `data`: both directions; `lost`: retransmission
//! - `closing`: both close orders; `time_wait`; `attack`: blind and forged segments
//! - `icmp`: errors that routers report, true and forged
//! - `keepalive`: silent peers, and the user timeout
//! - `accept_rate`: who is let in when all come at once
//! - `limits`: everything that can be full; `eviction`: who then gives way; `cookies`: floods of SYNs
//! - `prefixes`: connections for each prefix
//! - `gateways`: peers off the link; `paths`: changed hardware addresses; `claims`: own addresses
//! - `sources`: addresses that no host sends from
//! - `control`: ARP, NDP, ping; `command`: send and close
//! - `plain`: the short way of plain segments against the whole way
//! - `promotion`: connections that a whole TCP socket carries for a while; `places`: who then gives way
//! - `push`: what is sent to one connection from elsewhere; `broadcast`: to many; `pushed`: what
//!   services are told of it
//! - `simultaneous`: SYNs that cross
//! - `protocols`: WebSocket and Dubbo, cut by segments, pushed to and silent
//! - `wakes`, `room`: what services wait for; `units`: what they take whole or not at all
//! - `invitations`: what services have each other do; `mqtt`: one that does

#![expect(clippy::cast_possible_truncation, reason = "numbers of the tests' own making")]

mod accept_rate;
mod active;
mod attack;
mod broadcast;
mod claims;
mod closing;
mod command;
mod control;
mod cookies;
mod data;
mod eviction;
mod files;
mod gateways;
mod harness;
mod icmp;
mod invitations;
mod keepalive;
mod limits;
mod lingering;
mod lost;
mod mqtt;
mod passive;
mod paths;
mod peer;
mod places;
mod plain;
mod prefixes;
mod promotion;
mod protocols;
mod push;
mod pushed;
mod room;
mod simultaneous;
mod sources;
mod time_wait;
mod units;
mod wakes;

use crate::conn::slab::ConnId;
use harness::{Event, Host, Probe, config, endpoint};
use peer::{ACK, FIN, Peer, RST, SYN, SYN_ACK, Seen, only};
