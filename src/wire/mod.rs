//! Bytes to values and back: what a frame says, and how to write one.
//!
//! Pure functions over slices. Nothing here keeps state, and no input makes anything here panic:
//! what cannot be parsed is a [`crate::drops::DropReason`]. Header layouts come from smoltcp's `wire` module;
//! the checks, and their order, are ours.
//!
//! - [`addr`]: addresses, endpoints, flow keys and their keyed hash
//! - [`seq`]: sequence numbers
//! - [`ethernet`]: Ethernet headers with up to two VLAN tags
//! - [`packet`]: one pass over a frame, down to a TCP segment or a control message
//! - [`plain`]: the segments of idle connections, read and written in one piece
//! - [`icmp_error`]: ICMP errors, and the TCP segments that they quote
//! - [`emit`]: writing a TCP segment; [`neighbor`]: writing ARP and neighbour discovery

pub mod addr;
mod checksum;
pub mod emit;
pub mod ethernet;
pub mod icmp_error;
pub mod neighbor;
pub mod packet;
pub mod plain;
pub mod seq;
