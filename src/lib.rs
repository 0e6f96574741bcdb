//! Ten million long-lived TCP connections on one machine.

pub mod frame;
pub mod link;
pub mod time;
