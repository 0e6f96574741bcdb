//! AF_XDP sockets.

pub mod program;
