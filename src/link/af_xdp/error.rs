//! Why an AF_XDP link could not be opened, and what to do about it.

use std::io;
use std::time::Duration;

use super::interface::InterfaceError;

/// Why an AF_XDP link could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// An option has a value that cannot be.
    #[error("{option} is {value}, but must be {rule}")]
    BadOption {
        /// The field of [`super::Options`].
        option: &'static str,
        /// Its value.
        value: u64,
        /// What it must be.
        rule: &'static str,
    },
    /// The interface is missing, or the kernel did not say what it is.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// EPERM from socket(2).
    #[error("no privilege to open an AF_XDP socket; run as root or with CAP_NET_RAW")]
    NoPrivilege,
    /// EAFNOSUPPORT from socket(2).
    #[error("this kernel has no AF_XDP; it takes Linux 5.4 or later with CONFIG_XDP_SOCKETS=y")]
    NoAfXdp,
    /// EINVAL from bind(2), and the interface has not so many queues.
    #[error(
        "{interface} has no queue {queue}: it has {queues}, numbered from 0; \
         `ethtool -L {interface}` changes that"
    )]
    NoSuchQueue {
        /// The interface.
        interface: String,
        /// The queue asked for.
        queue: u32,
        /// How many receive queues it has.
        queues: u32,
    },
    /// EBUSY from bind(2) for longer than a socket takes to go away.
    #[error(
        "queue {queue} of {interface} is taken by another AF_XDP socket, still after {waited:?}; \
         stop its owner (`ss -p --xdp` shows it) or use another queue"
    )]
    QueueTaken {
        /// The interface.
        interface: String,
        /// The queue asked for.
        queue: u32,
        /// How long it was tried.
        waited: Duration,
    },
    /// Zero-copy was required, and the driver does not do it.
    #[error(
        "{interface} queue {queue}: the driver refuses zero-copy ({source}); allow copy mode, \
         or check that the program is attached in native mode"
    )]
    NoZeroCopy {
        /// The interface.
        interface: String,
        /// The queue asked for.
        queue: u32,
        /// What the kernel answered.
        source: io::Error,
    },
    /// ENOBUFS or EPERM when the frames' memory was registered.
    #[error(
        "may not lock {bytes} bytes of memory for frames; raise the limit (`ulimit -l`, or \
         LimitMEMLOCK= of the unit), add CAP_IPC_LOCK, or use fewer frames"
    )]
    MemoryLock {
        /// The size of the frames' memory, in bytes.
        bytes: usize,
    },
    /// mmap(2) failed.
    #[error("cannot map {bytes} bytes for {what}: {source}; use fewer frames or smaller rings")]
    Map {
        /// What the memory was for.
        what: &'static str,
        /// Its size, in bytes.
        bytes: usize,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The kernel said where a ring is, and it cannot be there.
    #[error("the kernel's layout of the {ring} ring makes no sense; report it with `uname -r`")]
    BadRing {
        /// The ring.
        ring: &'static str,
    },
    /// The kernel refused another call.
    #[error("{interface} queue {queue}: {call} failed: {source}; is the interface up?")]
    Refused {
        /// The interface.
        interface: String,
        /// The queue asked for.
        queue: u32,
        /// What was called.
        call: &'static str,
        /// What the kernel answered.
        source: io::Error,
    },
}
