//! AF_XDP: frames straight from one queue of a network interface.
//!
//! The kernel's words are in Documentation/networking/af_xdp.rst and linux/if_xdp.h. A socket has
//! the memory of its frames (the UMEM) and four rings: *fill*, frames for the kernel to receive
//! into; *rx*, packets received; *tx*, packets to send; *completion*, frames that were sent. One
//! [`AfXdpLink`] is one socket on one queue, with a UMEM of its own.
//!
//! - `cursor`: the arithmetic of a ring's indices; no memory
//! - `mapping`: memory from mmap(2)
//! - `ring`: rings in memory, and batches on them as guards
//! - `umem`: frames in memory, and whose each one is
//! - `socket`: [`Options`], and the calls that make a socket
//! - `queue`: [`AfXdpLink`], the socket as a [`Link`](crate::link::Link)
//! - [`program`]: the XDP program that chooses the frames
//! - [`attachment`]: all of it together: the program, and a link for each queue
//! - [`interface`]: facts of an interface; network namespaces
//! - [`routes`]: the kernel's default routes on it
//! - `error`: [`OpenError`]
//!
//! What the kernel writes is not trusted, in release builds either: ring indices that cannot be are
//! refused, and an address is followed only to a frame that the kernel had. Both are counted in
//! [`LinkStats::invalid_descriptors`](crate::link::LinkStats::invalid_descriptors).
//!
//! docs/decisions/0001-own-af-xdp-module.md says why this is not a crate.

pub mod attachment;
mod cursor;
mod error;
pub mod interface;
mod mapping;
pub mod program;
mod queue;
mod ring;
pub mod routes;
mod socket;
mod umem;

pub use error::OpenError;
pub use queue::AfXdpLink;
pub use socket::{Options, ZeroCopy};
