//! Ten million long-lived TCP connections on one machine.
//!
//! `tenmil` is a TCP stack in user space for connections that are idle nearly all of the time. An
//! established connection is a 64-byte record in a slab, found through a hash index: no kernel
//! socket, no descriptor, no task, no buffer and no timer object of its own. Frames come from an
//! AF_XDP socket, or from anything else that implements [`link::Link`]; the kernel remains the
//! control plane.
//!
//! # The contract
//!
//! - [`engine::Engine`] is sans-IO: frames, timers and commands go in, frames and calls of a
//!   [`service::Service`] come out. It has no descriptor, clock or thread; `now` is an argument and
//!   never goes back.
//! - What it cannot keep it does not acknowledge, so the peer sends it again. Every limit has a
//!   defined answer and a counter: nothing grows, and the frame path allocates nothing.
//! - A frame has one owner at every moment; [`link::Census`] counts them.
//! - No byte from the network makes anything here panic.
//!
//! # A run loop
//!
//! An echo server and a client, joined by a link in memory. With [`link::af_xdp`] in place of
//! [`link::memory`], and [`shard::Shard::run`] in place of the loop, this is what `tenmil serve`
//! does.
//!
//! ```
//! use tenmil::engine::{Engine, config::Config, locals::{Listener, Owned}};
//! use tenmil::link::{Link, memory};
//! use tenmil::service::{Context, Service, builtin::{Builtin, Builtins}};
//! use tenmil::time::Instant;
//! use tenmil::wire::addr::{Address, Endpoint, Secret};
//!
//! /// A client that says hello and keeps what comes back.
//! #[derive(Default)]
//! struct Client(Vec<u8>);
//!
//! impl Service for Client {
//!     fn on_open(&mut self, conn: &mut Context<'_>) {
//!         conn.send(b"hello");
//!     }
//!     fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
//!         self.0.extend_from_slice(bytes);
//!         conn.close();
//!         bytes.len()
//!     }
//! }
//!
//! /// One round: what came in is answered, and the answers go out.
//! fn round<S: Service>(engine: &mut Engine<S>, link: &mut impl Link, now: Instant) {
//!     let (mut rx, mut tx) = (Vec::with_capacity(64), Vec::with_capacity(256));
//!     link.receive(&mut rx, 64).unwrap();
//!     engine.handle_frames(now, link, &mut rx, &mut tx);
//!     engine.handle_timers(now, link, &mut tx);
//!     link.transmit(&mut tx).unwrap();
//!     link.flush().unwrap();
//! }
//!
//! let (server, client) = (Address::v4([10, 77, 0, 1]), Address::v4([10, 77, 0, 2]));
//! let echo = Endpoint { addr: server, port: 7 };
//! let config = |mac, addr| {
//!     // Real secrets come from the system's random source.
//!     let mut config = Config::new([2, 0, 0, 0, 0, mac], Secret([mac; 16]), Secret([mac; 16]));
//!     config.owned = vec![Owned { addr, range_len: 32, link_len: 16 }];
//!     config.connections_max = 1_000;
//!     config.flights_max = 1_000;
//!     config
//! };
//! let mut config_server = config(1, server);
//! config_server.listeners = vec![Listener { endpoint: echo, tag: Builtin::Echo.tag(), profile: None }];
//! let mut servers = Engine::new(config_server, Builtins::default(), Instant::ZERO);
//! let mut clients = Engine::new(config(2, client), Client::default(), Instant::ZERO);
//! let (mut server_link, mut client_link) = memory::pair(1024, 2048, 256);
//!
//! let from = Endpoint { addr: client, port: 40_000 };
//! let mut opened = false;
//! for millis in 0..100 {
//!     let now = Instant::from_millis(millis);
//!     if !opened {
//!         // The first attempt asks for the server's hardware address.
//!         let mut tx = Vec::with_capacity(16);
//!         opened = clients.connect(from, echo, 0, now, &mut client_link, &mut tx).is_ok();
//!         client_link.transmit(&mut tx).unwrap();
//!         client_link.flush().unwrap();
//!     }
//!     round(&mut servers, &mut server_link, now);
//!     round(&mut clients, &mut client_link, now);
//! }
//! assert_eq!(clients.service().0, b"hello");
//! assert_eq!(servers.counters().connections, 0);
//! ```
//!
//! ARCHITECTURE.md in the repository is the map of this crate.

pub mod cli;
pub mod conn;
pub mod drops;
pub mod engine;
pub mod frame;
pub mod link;
pub mod load;
pub mod memory;
pub mod service;
pub mod shard;
#[cfg(test)]
mod sim;
pub mod tcp;
pub mod time;
pub mod wire;
