//! The control socket: what an operator, or another program, has a running server do.
//!
//! A Unix socket that only the server's own user, and root, may use. Who connects writes a [`Request`] a
//! line, as JSON, and reads [`Answer`]s, a line each; the last one to a request is its end
//! ([`Answer::is_last`]). Requests of one connection are answered one after the other.
//!
//! - [`message`]: what is said
//! - [`listeners`]: what clients hear, and where
//! - [`socket`]: the server's side; [`ask`]: the other one

pub mod ask;
pub mod listeners;
pub mod message;
pub mod socket;

pub use listeners::Listening;
pub use message::{Answer, Request};

/// The longest request, in bytes: the longest text that can be pushed, escaped in the worst way.
const REQUEST_LEN_MAX: u64 = 6 * 65_536 + 1_024;
