//! Why the XDP program could not be loaded, attached or told what to take.

use std::error::Error;
use std::io;
use std::net::IpAddr;

use aya::EbpfError;
use aya::programs::{ProgramError, XdpError};
use rustix::io::Errno;

/// Why the XDP program is not attached; each message is one line with the remedy.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// There is no such interface in the network namespace of the calling thread.
    #[error(
        "{interface}: no such network interface in this network namespace; `ip link` lists them"
    )]
    NoSuchInterface {
        /// The name that was asked for.
        interface: String,
    },
    /// The kernel is older than what the program needs.
    #[error(
        "{interface}: this kernel cannot run AF_XDP as tenmil needs it: Linux {needed} or later \
         is required (XDP programs that go with their process)"
    )]
    KernelTooOld {
        /// The interface's name.
        interface: String,
        /// The first kernel version that will do.
        needed: &'static str,
    },
    /// The process may not use BPF on this interface.
    #[error(
        "{interface}: {call} was not permitted; run as root or with CAP_NET_ADMIN, CAP_NET_RAW and \
         CAP_BPF (CAP_SYS_ADMIN on Linux before 5.8)"
    )]
    NotPermitted {
        /// The interface's name.
        interface: String,
        /// The system call that was refused.
        call: &'static str,
    },
    /// The kernel was built without what the program needs.
    #[error(
        "{interface}: {call} failed: {source}; the kernel needs CONFIG_BPF_SYSCALL, \
         CONFIG_XDP_SOCKETS and CONFIG_NET"
    )]
    Unsupported {
        /// The interface's name.
        interface: String,
        /// The system call that was refused.
        call: &'static str,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The kernel's verifier, or the loader, refused the program.
    #[error(
        "{interface}: the XDP program was refused: {reason}; please report this with the output of \
         `uname -r`"
    )]
    Refused {
        /// The interface's name.
        interface: String,
        /// What was refused, in one line.
        reason: String,
    },
    /// Another XDP program is attached to the interface, or this one already is.
    #[error(
        "{interface}: another XDP program is attached to it; stop the program that owns it, or \
         remove it with `ip link set dev {interface} xdp off`"
    )]
    Occupied {
        /// The interface's name.
        interface: String,
    },
    /// The driver refused the program in native mode, and no other mode was allowed.
    #[error("{interface}: {reason}; or use generic mode (skb)")]
    NativeRefused {
        /// The interface's name.
        interface: String,
        /// Why, with the remedy.
        reason: String,
    },
    /// The kernel refused the program in generic mode too.
    #[error("{interface}: BPF_LINK_CREATE in generic mode failed: {source}; is the interface up?")]
    GenericRefused {
        /// The interface's name.
        interface: String,
        /// What the kernel answered.
        source: io::Error,
    },
}

/// Why the XDP program could not be told what to take, or asked what it took.
#[derive(Debug, thiserror::Error)]
pub enum SteerError {
    /// The prefix is longer than an address of its family.
    #[error(
        "{address}/{prefix_len}: the prefix is longer than the address; at most {prefix_len_max}"
    )]
    PrefixTooLong {
        /// The prefix's address.
        address: IpAddr,
        /// The prefix's length, in bits.
        prefix_len: u8,
        /// The longest prefix of the address's family, in bits.
        prefix_len_max: u8,
    },
    /// The prefix would take the host's own traffic: it covers all of IPv4.
    #[error(
        "{address}/{prefix_len}: the prefix covers every IPv4 address, and so the host's own \
         network; own less"
    )]
    PrefixTooWide {
        /// The prefix's address.
        address: IpAddr,
        /// The prefix's length, in bits.
        prefix_len: u8,
    },
    /// A wildcard address is in no frame.
    #[error("port {port}: a shared port needs an address of the host, not {address}")]
    Unspecified {
        /// The wildcard address.
        address: IpAddr,
        /// The port that was asked for, in host byte order.
        port: u16,
    },
    /// The program knows no such queue.
    #[error("queue {queue}: the XDP program serves queues 0 to {queue_max}; use fewer queues")]
    NoSuchQueue {
        /// The queue that was asked for.
        queue: u32,
        /// The last queue that the program serves.
        queue_max: u32,
    },
    /// A map of the program is full.
    #[error("the XDP program's map `{map}` is full; own or listen to fewer addresses")]
    Full {
        /// The map's name.
        map: &'static str,
    },
    /// The kernel refused an operation on a map of the program, or a test run.
    #[error("the XDP program's `{on}`: {call} failed: {reason}")]
    Refused {
        /// The map's or the program's name.
        on: &'static str,
        /// What was tried.
        call: &'static str,
        /// What the kernel answered, in one line.
        reason: String,
    },
}

/// The answer of the kernel that is at the end of a chain of errors.
pub(super) fn os_error(error: &(dyn Error + 'static)) -> Option<Errno> {
    let mut next = Some(error);
    while let Some(error) = next {
        // A netlink answer hides its `io::Error` where it is not its source.
        let raw = match error.downcast_ref::<ProgramError>() {
            Some(ProgramError::XdpError(XdpError::NetlinkError(netlink))) => netlink.raw_os_error(),
            _ => error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error),
        };
        if let Some(raw) = raw {
            return Some(Errno::from_raw_os_error(raw));
        }
        next = error.source();
    }
    None
}

/// An error and its sources in one line, without the verifier's log.
pub(super) fn one_line(error: &(dyn Error + 'static)) -> String {
    let mut line = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default().trim_end();
        // A transparent error says what its source says.
        if !line.ends_with(first) {
            if !line.is_empty() {
                line.push_str(": ");
            }
            line.push_str(first);
        }
        next = error.source();
    }
    line
}

impl AttachError {
    /// Why the program could not be loaded.
    pub(super) fn from_load(interface: &str, error: &EbpfError) -> AttachError {
        let interface = interface.to_owned();
        match os_error(error) {
            Some(Errno::PERM | Errno::ACCESS) if !is_rejected(error) => {
                AttachError::NotPermitted { interface, call: "BPF_MAP_CREATE or BPF_PROG_LOAD" }
            }
            Some(errno @ (Errno::NOSYS | Errno::OPNOTSUPP | Errno::AFNOSUPPORT)) => {
                AttachError::Unsupported {
                    interface,
                    call: "BPF_MAP_CREATE or BPF_PROG_LOAD",
                    source: errno.into(),
                }
            }
            _ => AttachError::Refused { interface, reason: one_line(error) },
        }
    }

    /// Why the program could not be attached, in a mode that is tried alone or last.
    pub(super) fn from_attach(interface: &str, native: bool, error: &ProgramError) -> AttachError {
        let errno = os_error(error);
        let interface = interface.to_owned();
        match errno {
            Some(Errno::PERM | Errno::ACCESS) => {
                AttachError::NotPermitted { interface, call: "BPF_LINK_CREATE" }
            }
            Some(Errno::BUSY | Errno::EXIST) => AttachError::Occupied { interface },
            Some(Errno::NODEV) => AttachError::NoSuchInterface { interface },
            _ if native => {
                AttachError::NativeRefused { interface, reason: native_reason(errno, error) }
            }
            Some(errno) => AttachError::GenericRefused { interface, source: errno.into() },
            None => AttachError::Refused { interface, reason: one_line(error) },
        }
    }
}

/// Whether the verifier refused the program: it answers EACCES too, but then has something to say.
fn is_rejected(error: &EbpfError) -> bool {
    match error {
        EbpfError::ProgramError(ProgramError::LoadError { verifier_log, .. }) => {
            !verifier_log.to_string().trim().is_empty()
        }
        _ => false,
    }
}

/// Why a driver refuses native mode, in words and with the remedy.
fn native_reason(errno: Option<Errno>, error: &ProgramError) -> String {
    match errno {
        // drivers/net/veth.c, veth_xdp_set
        Some(Errno::NOSPC) => "native XDP refused (ENOSPC): the veth peer has more tx queues than \
                               this side has rx queues; create the pair with equal numbers"
            .to_owned(),
        // drivers/net/veth.c and most other drivers: a frame has to fit a page
        Some(Errno::RANGE) => {
            "native XDP refused (ERANGE): the MTU does not fit one page; lower it \
                               to 3506 or less with `ip link set dev IF mtu 1500`"
                .to_owned()
        }
        Some(Errno::OPNOTSUPP) => {
            "native XDP refused (EOPNOTSUPP): the driver has none for this interface or its \
             settings (large receive offload, MTU)"
                .to_owned()
        }
        Some(Errno::INVAL) => "native XDP refused (EINVAL): the driver does not accept it with \
                               this MTU, number of queues or offloads"
            .to_owned(),
        Some(errno) => format!("native XDP refused: {errno}"),
        None => format!("native XDP refused: {}", one_line(error)),
    }
}
