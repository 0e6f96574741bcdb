//! The load generator: the same engine in the client role.
//!
//! - [`plan`]: what to do, and what came of it
//! - [`sources`]: local endpoints; [`flows`]: from where to where, each pair once
//! - [`exchange`]: what a heartbeat says on a service's connection, and what must come back
//! - [`greeting`]: what is said first, before a connection counts as open
//! - [`heartbeat`]: the service that checks every answer
//! - [`driver`]: carries a plan out; `opening`, `sweep`: its parts; `round`: what they work with
//! - [`progress`]: how far it is, for other threads to see

pub mod driver;
pub mod exchange;
pub mod flows;
pub mod greeting;
pub mod heartbeat;
mod opening;
pub mod plan;
pub mod progress;
pub mod pushed;
mod response;
mod round;
pub mod sources;
mod sweep;
