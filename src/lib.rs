//! Ten million long-lived TCP connections on one machine.

pub mod cli;
pub mod conn;
pub mod drops;
pub mod engine;
pub mod frame;
pub mod link;
pub mod load;
pub mod service;
pub mod shard;
pub mod tcp;
pub mod time;
pub mod wire;
