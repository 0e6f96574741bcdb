//! The load generator: the same engine in the client role.
//!
//! - [`heartbeat`]: the service that checks every answer
//! - [`driver`]: opens connections, sends heartbeats when they are due, closes
//! - [`progress`]: how far it is, for other threads to see
//! - [`sources`]: local endpoints, each used once

pub mod driver;
pub mod heartbeat;
pub mod progress;
pub mod sources;
