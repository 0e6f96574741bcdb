//! The load generator: the same engine in the client role.
//!
//! - [`plan`]: what to do, and what came of it
//! - [`sources`]: local endpoints; [`flows`]: from where to where, each pair once
//! - [`heartbeat`]: the service that checks every answer; `state`: what it remembers of each connection
//! - [`subscription`]: what clients of MQTT subscribe to; [`pushed`]: what comes unasked
//! - [`driver`]: carries a plan out; `opening`, `returning`, `sweep`: its parts; `round`: what they work with
//! - [`progress`]: how far it is, for other threads to see

pub mod driver;
pub mod flows;
pub mod heartbeat;
mod opening;
pub mod plan;
pub mod progress;
pub mod pushed;
mod returning;
mod round;
pub mod sources;
mod state;
pub mod subscription;
mod sweep;
