//! The client role: connections that are opened again when they end.
//!
//! A *seat* is a client: it has one connection at a time, and waits between two of them. Who is refused,
//! closed, reset or not answered waits for a time that is drawn from a window, which doubles with every
//! attempt, up to a cap. The first retry has a window of its own, over which all that were lost at once
//! are spread. Only a connection that has proved itself starts that anew.
//!
//! - [`backoff`]: how long to wait
//! - [`seats`]: who is connected, and when the others try again: 16 bytes a seat, 4 a record
//! - [`routes`]: from where to where
//! - [`service`]: [`Client`], which runs any service on connections of the kind
//! - [`dialer`]: the driver that opens them
//! - [`speaking`]: a service that speaks a built-in protocol, with heartbeats
//! - [`exchange`]: what a heartbeat says on a service's connection, and what must come back; `response`:
//!   the same of HTTP
//! - [`greeting`]: what is said first, before a connection counts as open
//! - [`message`]: where a server's message ends
//! - [`reasons`]: how often connections ended, and why
//!
//! ```no_run
//! use std::time::Duration;
//! use tenmil::client::speaking::{Beats, Speaking};
//! use tenmil::client::{Client, Plan, routes::Ports};
//! use tenmil::service::builtin::Builtin;
//! use tenmil::shard::host::Host;
//!
//! let mut host = Host::attach("eth1", "10.77.0.2".parse()?)?;
//! host.on_link(16);
//! // A thousand clients of MQTT, each with a PINGREQ when it has sent nothing for a minute.
//! let beats = Beats { period: Some(Duration::from_secs(60)), ..Beats::default() };
//! let ports = Ports {
//!     local: "10.77.0.2".parse()?,
//!     remote: "10.77.0.1:1883".parse()?,
//!     tag: Builtin::Mqtt.tag(),
//!     seats: 1_000,
//! };
//! let plan = Plan { seats: 1_000, ..Plan::default() };
//! let speaking = Speaking::new(beats, |_, message: &[u8]| println!("{message:02x?}"));
//! let mut client = Some(Client::new(&plan, &host.config, ports, speaking)?);
//! host.run_driven(|_| client.take().expect("one queue"))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod backoff;
pub mod dialer;
pub mod exchange;
pub mod greeting;
pub mod message;
pub mod reasons;
mod response;
pub mod routes;
pub mod seats;
pub mod service;
pub mod speaking;
#[cfg(test)]
pub(crate) mod world;

pub(crate) use response::judge as judge_response;
pub(crate) use service::draw_jitter;
pub use service::{Client, ClientError, PATIENCE, Plan, UNDERWAY_MAX};
