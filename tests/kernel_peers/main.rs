//! The real program against Linux's own TCP: `tenmil serve` and `tenmil demo` on veth pairs in
//! network namespaces of the test's own, and clients that are kernel sockets, `ping`, `nc`, `curl`,
//! `wrk` and Python. Every answer is checked byte for byte.
//!
//! Each test makes its own network and takes it down, so they run in parallel. They need root;
//! without it they say SKIPPED, or fail if TENMIL_REQUIRE_PRIVILEGED=1.
//!
//! - `network`: the namespaces; `server`: the program and its status lines; `client`: sockets;
//!   `python`: scripts
//! - `bulk`: streams of many bytes, both roles
//! - `frames`: frames that are wrong on purpose; `capture`: tcpdump and tshark; `dissected`: what tshark makes
//!   of each protocol
//! - the others are the cases

#[path = "../common/mod.rs"]
mod common;

mod addresses;
mod bulk;
mod capture;
mod client;
mod dead;
mod demo;
mod dissected;
mod driving;
mod dubbo;
mod embedding;
mod endings;
mod flood;
mod frames;
mod hostile;
mod http;
mod limits;
mod load;
mod lossy;
mod many;
mod mqtt;
mod network;
mod options;
mod places;
mod protocols;
mod push;
mod python;
mod refusals;
mod returning;
mod server;
mod silence;
mod steering;
mod storm;
mod streams;
mod tools;
mod vanish;
mod vlan;
mod ws;
