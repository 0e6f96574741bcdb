//! What the fuzzer runs: one function for each target, from any bytes whatever to assertions.
//!
//! `fuzz_targets/` makes a libFuzzer binary of each, `scripts/fuzz.sh` builds and runs them, and
//! `tests/fuzz_corpus.rs` of the crate proper runs them on every input of the corpus.
//!
//! - [`frame`]: the parser, and what it says against what is emitted
//! - [`options`]: the options of a SYN
//! - [`cookies`]: SYN cookies
//! - [`segment`]: segments for records in any state
//! - [`ws`], [`dubbo`]: clients of a service
//! - [`http`]: requests in any pieces
//! - [`client`]: servers of a client that say anything
//! - [`engine`]: frames, timers and commands for a whole engine
//! - [`mqtt`]: packets, and clients of a server that say anything; [`broker`]: clients of one without an
//!   engine, in any pieces

#![allow(unreachable_pub, reason = "public for `fuzz_targets/`, but not where tests include it")]

#[path = "../../tests/common/allocations.rs"]
mod allocations;
pub mod broker;
mod bytes;
pub mod client;
pub mod cookies;
pub mod dubbo;
pub mod engine;
pub mod frame;
mod frames;
pub mod http;
pub mod mqtt;
pub mod options;
pub mod segment;
pub mod ws;

/// A target's name and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 11] = [
    ("frame", frame::run),
    ("options", options::run),
    ("cookies", cookies::run),
    ("segment", segment::run),
    ("ws", ws::run),
    ("dubbo", dubbo::run),
    ("engine", engine::run),
    ("http", http::run),
    ("mqtt", mqtt::run),
    ("client", client::run),
    ("broker", broker::run),
];
