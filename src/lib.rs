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
//! # A service
//!
//! What runs on the connections is a plain type. It looks at bytes where they were received, writes its
//! answers where they are sent from, and keeps eight bytes for each connection in its record. Here is one
//! that answers what it is told, says something by itself every ten seconds, and gives up peers that have
//! said nothing in between; and a client for it. A link in memory joins the two. On an interface,
//! [`shard::host::Host`] takes the place of all that follows the services: `examples/echo.rs` is 26
//! lines.
//!
//! ```
//! use std::time::Duration;
//! use tenmil::conn::slab::ConnId;
//! use tenmil::engine::{Engine, config::Config, locals::{Listener, Owned}};
//! use tenmil::link::{Link, memory};
//! use tenmil::service::{Context, Service, ServiceState};
//! use tenmil::tcp::CloseReason;
//! use tenmil::time::Instant;
//! use tenmil::wire::addr::{Address, Endpoint, Secret};
//!
//! const PERIOD: Duration = Duration::from_secs(10);
//!
//! /// The server's side. The first byte of its state is whether the peer has said anything since the
//! /// service was last woken.
//! #[derive(Default)]
//! struct Attentive {
//!     ended: Vec<CloseReason>,
//! }
//!
//! impl Service for Attentive {
//!     fn on_open(&mut self, conn: &mut Context<'_>) {
//!         conn.send(b"welcome\n");
//!         conn.wake_after(PERIOD);
//!     }
//!     fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
//!         conn.state()[0] = 1;
//!         // What there is no room to answer comes again.
//!         conn.send(bytes)
//!     }
//!     fn on_wake(&mut self, conn: &mut Context<'_>) {
//!         if std::mem::take(&mut conn.state()[0]) == 0 {
//!             return conn.abort_for(CloseReason::HeartbeatMissed);
//!         }
//!         conn.send(b"are you there?\n");
//!         conn.wake_after(PERIOD);
//!     }
//!     fn on_close(&mut self, _: ConnId, _: u8, _: ServiceState, reason: CloseReason) {
//!         self.ended.push(reason);
//!     }
//! }
//!
//! /// The client's side: it says hello once, and keeps what it hears.
//! #[derive(Default)]
//! struct Client {
//!     heard: Vec<u8>,
//!     ended: Vec<CloseReason>,
//! }
//!
//! impl Service for Client {
//!     fn on_open(&mut self, conn: &mut Context<'_>) {
//!         conn.send(b"hello\n");
//!     }
//!     fn on_data(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> usize {
//!         self.heard.extend_from_slice(bytes);
//!         bytes.len()
//!     }
//!     fn on_close(&mut self, _: ConnId, _: u8, _: ServiceState, reason: CloseReason) {
//!         self.ended.push(reason);
//!     }
//! }
//!
//! /// One round: what came in is answered, what is due is done, and frames go out.
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
//! let endpoint = Endpoint { addr: server, port: 7000 };
//! let config = |mac, addr| {
//!     // Real secrets come from the system: see `tenmil::shard::secrets`.
//!     let mut config = Config::new([2, 0, 0, 0, 0, mac], Secret([mac; 16]), Secret([mac; 16]));
//!     config.owned = vec![Owned { addr, range_len: 32, link_len: 16 }];
//!     config.connections_max = 1_000;
//!     config.flights_max = 1_000;
//!     config.promoted_max = 10;
//!     config
//! };
//! let listeners = vec![Listener { endpoint, tag: 0, profile: None }];
//! let config_server = Config { listeners, ..config(1, server) };
//! let mut servers = Engine::new(config_server, Attentive::default(), Instant::ZERO);
//! let mut clients = Engine::new(config(2, client), Client::default(), Instant::ZERO);
//! let (mut server_link, mut client_link) = memory::pair(1024, 2048, 256);
//!
//! let from = Endpoint { addr: client, port: 40_000 };
//! let mut is_opened = false;
//! for tenths in 0..250 {
//!     let now = Instant::from_millis(100 * tenths);
//!     if !is_opened {
//!         // The first attempt asks for the server's hardware address.
//!         let mut tx = Vec::with_capacity(16);
//!         is_opened = clients.connect(from, endpoint, 0, now, &mut client_link, &mut tx).is_ok();
//!         client_link.transmit(&mut tx).unwrap();
//!         client_link.flush().unwrap();
//!     }
//!     round(&mut servers, &mut server_link, now);
//!     round(&mut clients, &mut client_link, now);
//! }
//! // After ten seconds the server asked, and after twenty it had heard nothing.
//! assert_eq!(clients.service().heard, b"welcome\nhello\nare you there?\n");
//! assert_eq!(clients.service().ended, [CloseReason::ResetByPeer]);
//! assert_eq!(servers.service().ended, [CloseReason::HeartbeatMissed]);
//! assert_eq!(servers.counters().connections, 0);
//! ```
//!
//! What is longer than [`service::Context::room`] is sent in pieces: the service sends what fits, asks
//! for [`service::Context::want_room`], and goes on when it is called. Other threads send to connections
//! by their [`conn::slab::ConnId`], to all of them, change their keepalive and close them through a
//! [`shard::mailbox::Handle`], as `examples/heartbeat.rs` does.
//!
//! ARCHITECTURE.md in the repository is the map of this crate.

pub mod cli;
pub mod client;
pub mod conn;
pub mod control;
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
