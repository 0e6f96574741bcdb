//! Facts of a network interface, as the calling thread's network namespace has them.
//!
//! sysfs shows the interfaces of the namespace that it was mounted in, not those of the thread that
//! reads it. So the kernel is asked: rtnetlink (RTM_GETLINK of linux/rtnetlink.h), and ethtool for
//! the number of queues in use.
#![allow(unsafe_code, reason = "an ioctl takes a pointer")]

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::ioctl::{Updater, ioctl};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// What the stack needs to know of a network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name, for example `eth0`.
    pub name: String,
    /// Its index in its network namespace.
    pub index: u32,
    /// Its Ethernet address; zeros if it has none.
    pub mac: [u8; 6],
    /// The largest IP packet that it carries, in bytes, without the Ethernet header.
    pub mtu: u32,
    /// How many receive queues it uses; their numbers start at 0.
    pub rx_queues: u32,
    /// Whether it is set up (`IFF_UP`).
    pub up: bool,
}

/// Why an interface or a namespace could not be had.
#[derive(Debug, thiserror::Error)]
pub enum InterfaceError {
    /// No interface of that name is in the thread's network namespace.
    #[error("no interface {name} in this network namespace; `ip link` lists them")]
    NotFound {
        /// The name.
        name: String,
    },
    /// The name is not one that an interface or a namespace can have.
    #[error("{name:?} is not a valid name: 1 to {max} bytes without slashes, spaces and NULs")]
    BadName {
        /// The name.
        name: String,
        /// The greatest length, in bytes.
        max: usize,
    },
    /// No network namespace of that name.
    #[error("no network namespace {name}; `ip netns list` lists them")]
    NoNamespace {
        /// The name.
        name: String,
    },
    /// The process may not change its network namespace.
    #[error("no privilege to enter the network namespace {name}; it takes root or CAP_SYS_ADMIN")]
    NamespacePrivilege {
        /// The name.
        name: String,
    },
    /// The kernel refused a call.
    #[error("{call} for {name} failed: {source}")]
    Call {
        /// What was called.
        call: &'static str,
        /// The interface or namespace that it was about.
        name: String,
        /// What the kernel answered.
        source: io::Error,
    },
}

impl Interface {
    /// Asks the kernel about the interface `name` in the calling thread's network namespace.
    ///
    /// # Errors
    ///
    /// [`InterfaceError`], most of all [`InterfaceError::NotFound`].
    pub fn by_name(name: &str) -> Result<Interface, InterfaceError> {
        check_name(name, NAME_LEN_MAX)?;
        let failed = |call: &'static str| {
            move |errno: Errno| match errno {
                Errno::NODEV => InterfaceError::NotFound { name: name.to_owned() },
                errno => InterfaceError::Call { call, name: name.to_owned(), source: errno.into() },
            }
        };
        let socket = netlink_socket().map_err(failed("socket(AF_NETLINK)"))?;
        rustix::net::send(&socket, &link_request(name), SendFlags::empty())
            .map_err(failed("RTM_GETLINK"))?;
        // One link's attributes take 1 to 2 KiB; a message is never split.
        let mut answer = vec![0_u8; 32 * 1024];
        let (len, _) = rustix::net::recv(&socket, answer.as_mut_slice(), RecvFlags::empty())
            .map_err(failed("RTM_GETLINK"))?;
        let link = parse_link(&answer[..len]).map_err(failed("RTM_GETLINK"))?;
        // Drivers without channels (tun, dummy) say so; then every queue that there is counts.
        let rx_queues = match rx_channels(&socket, name) {
            Ok(queues) if queues > 0 => queues,
            _ => link.rx_queues,
        };
        Ok(Interface {
            name: name.to_owned(),
            index: link.index,
            mac: link.mac,
            mtu: link.mtu,
            rx_queues,
            up: link.up,
        })
    }
}

/// Moves the calling thread into the network namespace `/run/netns/<name>`.
///
/// Sockets made by this thread from now on belong to it; those made before stay where they are, as
/// do other threads.
///
/// # Errors
///
/// [`InterfaceError`]: no such namespace, no privilege.
pub fn enter_netns(name: &str) -> Result<(), InterfaceError> {
    check_name(name, 255)?;
    let failed = |call: &'static str| {
        move |errno: Errno| match errno {
            Errno::NOENT => InterfaceError::NoNamespace { name: name.to_owned() },
            Errno::PERM | Errno::ACCESS => {
                InterfaceError::NamespacePrivilege { name: name.to_owned() }
            }
            errno => InterfaceError::Call { call, name: name.to_owned(), source: errno.into() },
        }
    };
    let path = format!("/run/netns/{name}");
    let namespace = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(failed("open(/run/netns)"))?;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(failed("setns"))
}

/// `IFNAMSIZ` of linux/if.h without the NUL at the end.
const NAME_LEN_MAX: usize = libc::IFNAMSIZ - 1;

fn check_name(name: &str, max: usize) -> Result<(), InterfaceError> {
    let bad = |byte: u8| byte == b'/' || byte == 0 || byte.is_ascii_whitespace();
    if name.is_empty() || name.len() > max || name == "." || name == ".." || name.bytes().any(bad) {
        return Err(InterfaceError::BadName { name: name.to_owned(), max });
    }
    Ok(())
}

fn netlink_socket() -> Result<OwnedFd, Errno> {
    // No protocol means 0, NETLINK_ROUTE.
    let (family, flags) = (AddressFamily::NETLINK, SocketFlags::CLOEXEC);
    let socket = rustix::net::socket_with(family, SocketType::DGRAM, flags, None)?;
    rustix::net::bind(&socket, &SocketAddrNetlink::new(0, 0))?;
    Ok(socket)
}

/// Lengths of `struct nlmsghdr` and `struct ifinfomsg`, in bytes.
const HEADER_LEN: usize = 16;
const INFO_LEN: usize = 16;

/// RTM_GETLINK for one interface, by name.
fn link_request(name: &str) -> Vec<u8> {
    let attribute_len = 4 + name.len() + 1;
    let len = HEADER_LEN + INFO_LEN + attribute_len.next_multiple_of(4);
    let mut request = Vec::with_capacity(len);
    let len_field = u32::try_from(len).expect("some 50 bytes");
    request.extend(len_field.to_ne_bytes());
    request.extend(libc::RTM_GETLINK.to_ne_bytes());
    request.extend(1_u16.to_ne_bytes()); // NLM_F_REQUEST
    request.extend([0; 8]); // sequence number and port: one request, one answer
    request.extend([0; INFO_LEN]); // AF_UNSPEC, index 0: by name
    request.extend(u16::try_from(attribute_len).expect("some 20 bytes").to_ne_bytes());
    request.extend(libc::IFLA_IFNAME.to_ne_bytes());
    request.extend(name.as_bytes());
    request.resize(len, 0);
    request
}

/// What RTM_NEWLINK says of an interface.
#[derive(Debug, Default, PartialEq, Eq)]
struct LinkInfo {
    index: u32,
    up: bool,
    mac: [u8; 6],
    mtu: u32,
    rx_queues: u32,
}

/// Reads the answer to [`link_request`]; an NLMSG_ERROR becomes its errno.
fn parse_link(message: &[u8]) -> Result<LinkInfo, Errno> {
    let malformed = Errno::PROTO;
    let kind = u16_at(message, 4).ok_or(malformed)?;
    if i32::from(kind) == libc::NLMSG_ERROR {
        let errno = u32_at(message, HEADER_LEN).ok_or(malformed)?.cast_signed();
        return Err(Errno::from_raw_os_error(errno.wrapping_neg()));
    }
    if kind != libc::RTM_NEWLINK {
        return Err(malformed);
    }
    let flags = u32_at(message, HEADER_LEN + 8).ok_or(malformed)?;
    let mut link = LinkInfo {
        index: u32_at(message, HEADER_LEN + 4).ok_or(malformed)?,
        up: flags & libc::IFF_UP.cast_unsigned() != 0,
        rx_queues: 1,
        ..LinkInfo::default()
    };
    let mut rest = message.get(HEADER_LEN + INFO_LEN..).ok_or(malformed)?;
    while let (Some(len), Some(kind)) = (u16_at(rest, 0), u16_at(rest, 2)) {
        let value = rest.get(4..usize::from(len)).ok_or(malformed)?;
        match kind {
            libc::IFLA_ADDRESS => link.mac = value.try_into().unwrap_or_default(),
            libc::IFLA_MTU => link.mtu = u32_at(value, 0).ok_or(malformed)?,
            libc::IFLA_NUM_RX_QUEUES => link.rx_queues = u32_at(value, 0).ok_or(malformed)?,
            _ => {}
        }
        rest = rest.get(usize::from(len).next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(link)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

/// `struct ethtool_channels` of linux/ethtool.h.
#[repr(C)]
#[derive(Default)]
struct Channels {
    command: u32,
    max: [u32; 4],
    rx: u32,
    tx: u32,
    other: u32,
    combined: u32,
}

/// `struct ifreq` of linux/if.h, with the member that SIOCETHTOOL uses.
#[repr(C)]
struct EthtoolRequest {
    name: [u8; libc::IFNAMSIZ],
    data: *mut Channels,
    /// The union is larger than a pointer.
    _rest: [u64; 2],
}

const _: () = assert!(size_of::<EthtoolRequest>() == size_of::<libc::ifreq>());

/// `ETHTOOL_GCHANNELS` of linux/ethtool.h.
const GET_CHANNELS: u32 = 0x3c;
/// `SIOCETHTOOL` of linux/sockios.h.
const ETHTOOL: rustix::ioctl::Opcode = 0x8946;

/// The receive queues in use, from the driver.
fn rx_channels(socket: &OwnedFd, name: &str) -> Result<u32, Errno> {
    let mut channels = Channels { command: GET_CHANNELS, ..Channels::default() };
    let mut request =
        EthtoolRequest { name: [0; libc::IFNAMSIZ], data: &raw mut channels, _rest: [0; 2] };
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    // SAFETY: SIOCETHTOOL takes an ifreq whose data points to a command's structure, here
    // ETHTOOL_GCHANNELS and ethtool_channels; both outlive the call. The name is NUL-terminated:
    // `check_name` bounds its length.
    unsafe { ioctl(socket, Updater::<ETHTOOL, EthtoolRequest>::new(&mut request)) }?;
    Ok(channels.rx + channels.combined)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_known_without_privilege() {
        let lo = Interface::by_name("lo").expect("every namespace has one");
        assert_eq!((lo.index, lo.mac, lo.rx_queues), (1, [0; 6], 1));
        assert!(lo.mtu >= 1500);
    }

    #[test]
    fn a_missing_interface_is_an_error_that_names_it() {
        let error = Interface::by_name("tenmil-none").expect_err("there is none");
        assert!(matches!(&error, InterfaceError::NotFound { name } if name == "tenmil-none"));
        assert_eq!(
            error.to_string(),
            "no interface tenmil-none in this network namespace; `ip link` lists them"
        );
    }

    #[test]
    fn a_name_that_cannot_be_is_not_asked_for() {
        for name in ["", "a/b", "sixteen-bytes-xx", "a b", "..", "nul\0"] {
            let error = Interface::by_name(name).expect_err("not a name");
            assert!(matches!(error, InterfaceError::BadName { max: 15, .. }), "{name:?}");
        }
        assert!(matches!(enter_netns("../self"), Err(InterfaceError::BadName { .. })));
        assert!(matches!(enter_netns("tenmil-none"), Err(InterfaceError::NoNamespace { .. })));
    }

    #[test]
    fn no_answer_makes_the_parser_panic() {
        let mut message = link_request("eth0");
        message[4..6].copy_from_slice(&libc::RTM_NEWLINK.to_ne_bytes());
        assert_eq!(parse_link(&message), Ok(LinkInfo { rx_queues: 1, ..LinkInfo::default() }));
        for len in 0..message.len() {
            let _ok_or_not = parse_link(&message[..len]);
        }
        message[32..34].copy_from_slice(&3_u16.to_ne_bytes());
        assert_eq!(parse_link(&message), Err(Errno::PROTO), "an attribute shorter than its header");
        message[32..34].copy_from_slice(&900_u16.to_ne_bytes());
        assert_eq!(parse_link(&message), Err(Errno::PROTO), "an attribute past the end");
        let mut error = vec![0; 36];
        error[4..6].copy_from_slice(&2_u16.to_ne_bytes());
        error[16..20].copy_from_slice(&(-libc::ENODEV).to_ne_bytes());
        assert_eq!(parse_link(&error), Err(Errno::NODEV));
    }
}
