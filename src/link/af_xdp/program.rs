//! The XDP program that chooses the frames for the AF_XDP sockets: `xdp/steer.bpf.c`.
//!
//! [`SteerProgram`] loads it, tells it what to take, and attaches it. The order is: load, bind the
//! sockets and set each for its queue, own and listen, and only then attach: from that moment on
//! frames that are taken are dropped where no socket waits for them.
//!
//! The object is compiled from C and committed; `scripts/build-xdp.sh --check` compares the two.

mod error;
mod verdict;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd};

use aya::maps::lpm_trie::Key;
use aya::maps::{HashMap, LpmTrie, MapError, PerCpuArray, XskMap};
use aya::programs::{ProgramError, Xdp};
use aya::util::KernelVersion;
use aya::{Ebpf, EbpfLoader, TestRun, TestRunOptions};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, netdevice, socket};

pub use error::{AttachError, SteerError};
pub use verdict::{Verdict, VerdictCounters};

/// The compiled program, aligned as an ELF file has to be.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../xdp/steer.bpf.o");

/// Names in the object: those of `xdp/steer.bpf.c`.
const PROGRAM: &str = "steer";
const OWNED: &str = "owned";
const LISTENERS: &str = "listeners";
const XSKS: &str = "xsks";
const COUNTERS: &str = "counters";

/// Bits of the prefix `::ffff:0:0/96`, under which the program keeps IPv4 addresses
/// (RFC 4291, section 2.5.5.2).
const MAPPED_PREFIX_LEN: u8 = 96;

/// How to attach the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum XdpMode {
    /// Native if the driver takes it, else generic.
    #[default]
    Auto,
    /// In the driver, before the kernel makes a packet buffer of the frame; else not at all.
    Native,
    /// Generic: after the kernel has made a packet buffer; works on every interface.
    Skb,
}

/// How the program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachedMode {
    /// In the driver.
    Native,
    /// Generic, on the kernel's packet buffers.
    Skb,
}

impl fmt::Display for AttachedMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AttachedMode::Native => "native",
            AttachedMode::Skb => "skb",
        })
    }
}

/// What the program answered for one frame of a test run: an `enum xdp_action` of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpAction {
    /// The frame is dropped: it was taken, and no socket is set for its queue.
    Drop,
    /// The frame goes on to the kernel's network stack.
    Pass,
    /// The frame goes to a socket.
    Redirect,
    /// None of those, which would be a bug.
    Other(u32),
}

/// The XDP program in the kernel, with its maps, attached to one interface or not yet.
///
/// It is attached by a `bpf_link`, which belongs to this process: when the value is dropped, and
/// when the process dies however it dies, the program is gone from the interface. Nothing is
/// written to the BPF file system.
///
/// An interface belongs to a network namespace: loading and attaching look it up in that of the
/// calling thread.
pub struct SteerProgram {
    /// Owns the link too; dropping it detaches.
    ebpf: Ebpf,
    interface: String,
    attached: Option<AttachedMode>,
    fallback_reason: Option<String>,
}

impl SteerProgram {
    /// Loads the program for an interface, and attaches nothing yet.
    ///
    /// # Errors
    ///
    /// [`AttachError`] when there is no such interface, when the kernel is too old or was built
    /// without BPF, and when the process lacks the privilege.
    pub fn load(interface: &str) -> Result<SteerProgram, AttachError> {
        interface_index(interface)?;
        // By netlink, as before 5.9, the program would stay behind when the process is killed.
        if KernelVersion::current().is_ok_and(|kernel| kernel < KernelVersion::new(5, 9, 0)) {
            return Err(AttachError::KernelTooOld {
                interface: interface.to_owned(),
                needed: "5.9",
            });
        }
        Self::load_for(interface)
    }

    /// Loads the program for no interface, to run it with [`SteerProgram::test_run`].
    ///
    /// # Errors
    ///
    /// As [`SteerProgram::load`], with `(test run)` in place of the interface's name.
    pub fn load_detached() -> Result<SteerProgram, AttachError> {
        Self::load_for("(test run)")
    }

    /// Loads the program; the name is for messages.
    fn load_for(interface: &str) -> Result<SteerProgram, AttachError> {
        // The program has no relocations against the kernel's types: its BTF need not be read.
        let mut ebpf = EbpfLoader::new()
            .btf(None)
            .load(OBJECT)
            .map_err(|error| AttachError::from_load(interface, &error))?;
        steer(&mut ebpf)
            .load()
            .map_err(|error| AttachError::from_load(interface, &error.into()))?;
        Ok(SteerProgram {
            ebpf,
            interface: interface.to_owned(),
            attached: None,
            fallback_reason: None,
        })
    }

    /// Attaches the program, and returns how; it is detached when `self` is dropped.
    ///
    /// # Errors
    ///
    /// [`AttachError`] when another program is attached, when the mode is refused, and when the
    /// interface has gone. Generic mode is tried only where native mode is what was refused.
    pub fn attach(&mut self, mode: XdpMode) -> Result<AttachedMode, AttachError> {
        if self.attached.is_some() {
            return Err(AttachError::Occupied { interface: self.interface.clone() });
        }
        let index = interface_index(&self.interface)?;
        if mode != XdpMode::Skb {
            match self.attach_as(index, AttachedMode::Native) {
                Err(AttachError::NativeRefused { reason, .. }) if mode == XdpMode::Auto => {
                    self.fallback_reason = Some(reason);
                }
                result => return result,
            }
        }
        self.attach_as(index, AttachedMode::Skb)
    }

    /// Attaches the program to the interface with this index in one mode.
    fn attach_as(&mut self, index: u32, mode: AttachedMode) -> Result<AttachedMode, AttachError> {
        let (flags, native) = match mode {
            AttachedMode::Native => (aya::programs::XdpMode::Driver, true),
            AttachedMode::Skb => (aya::programs::XdpMode::Skb, false),
        };
        steer(&mut self.ebpf)
            .attach_to_if_index(index, flags)
            .map_err(|error| AttachError::from_attach(&self.interface, native, &error))?;
        self.attached = Some(mode);
        Ok(mode)
    }

    /// Takes ARP, NDP, ICMP and TCP to every address of a prefix: 32 bits for one IPv4 address, 128
    /// for one IPv6 address. The kernel must not have these addresses.
    ///
    /// # Errors
    ///
    /// [`SteerError`] when the prefix is too long, covers all of IPv4, or there are too many.
    pub fn own(&mut self, address: IpAddr, prefix_len: u8) -> Result<(), SteerError> {
        let bits = mapped_prefix_len(address, prefix_len)?;
        let key = Key::new(u32::from(bits), mapped(address).octets());
        let mut owned: LpmTrie<_, [u8; 16], u8> = self.map_mut(OWNED)?;
        owned.insert(&key, 1, 0).map_err(|error| update_error(OWNED, &error))
    }

    /// Takes TCP to one port of an address that the kernel has too.
    ///
    /// # Errors
    ///
    /// [`SteerError`] when the address is a wildcard, or there are too many.
    pub fn listen(&mut self, address: IpAddr, port: u16) -> Result<(), SteerError> {
        if address.to_canonical().is_unspecified() {
            return Err(SteerError::Unspecified { address, port });
        }
        let mut listeners: HashMap<_, [u8; 18], u8> = self.map_mut(LISTENERS)?;
        listeners
            .insert(listener_key(address, port), 1, 0)
            .map_err(|error| update_error(LISTENERS, &error))
    }

    /// Gives the frames that are taken on a receive queue to an AF_XDP socket, which is bound to
    /// that queue of the same interface. The entry goes when the socket is closed.
    ///
    /// The kernel drops frames without a word if the socket is bound to another queue.
    ///
    /// # Errors
    ///
    /// [`SteerError`] when the queue is out of range, or the descriptor is no AF_XDP socket.
    pub fn set_socket(&mut self, queue: u32, socket: impl AsFd) -> Result<(), SteerError> {
        let mut xsks: XskMap<_> = self.map_mut(XSKS)?;
        let queue_max = xsks.len() - 1;
        if queue > queue_max {
            return Err(SteerError::NoSuchQueue { queue, queue_max });
        }
        xsks.set(queue, socket.as_fd().as_raw_fd(), 0).map_err(|error| update_error(XSKS, &error))
    }

    /// Runs the program once on a frame of at least 14 bytes, as if it had been received on queue 0
    /// of the loopback interface (BPF_PROG_TEST_RUN), and returns what it answered. Counters move.
    ///
    /// # Errors
    ///
    /// [`SteerError`] when the kernel refuses the run, for example of a shorter frame.
    pub fn test_run(&self, frame: &[u8]) -> Result<XdpAction, SteerError> {
        let refused = |error: ProgramError| SteerError::Refused {
            on: PROGRAM,
            call: "BPF_PROG_TEST_RUN",
            reason: error::one_line(&error),
        };
        let program: &Xdp = self
            .ebpf
            .program(PROGRAM)
            .ok_or(ProgramError::NotLoaded)
            .and_then(TryInto::try_into)
            .map_err(refused)?;
        let options = TestRunOptions { data_in: Some(frame), ..TestRunOptions::default() };
        let result = program.test_run(options).map_err(refused)?;
        Ok(match result.return_value {
            1 => XdpAction::Drop,
            2 => XdpAction::Pass,
            4 => XdpAction::Redirect,
            other => XdpAction::Other(other),
        })
    }

    /// How the program is attached, or `None` while it is not.
    pub fn mode(&self) -> Option<AttachedMode> {
        self.attached
    }

    /// Why native mode was not used, where [`XdpMode::Auto`] fell back to generic mode.
    pub fn fallback_reason(&self) -> Option<&str> {
        self.fallback_reason.as_deref()
    }

    /// The name of the interface that the program was loaded for.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// Frames per verdict since the program was loaded, summed over all CPUs.
    ///
    /// # Errors
    ///
    /// [`SteerError`] when the kernel refuses to read a counter.
    pub fn counters(&self) -> Result<VerdictCounters, SteerError> {
        let refused = |error: MapError| SteerError::Refused {
            on: COUNTERS,
            call: "BPF_MAP_LOOKUP_ELEM",
            reason: error::one_line(&error),
        };
        let map = self.ebpf.map(COUNTERS).ok_or(MapError::ElementNotFound).map_err(refused)?;
        let per_cpu: PerCpuArray<_, u64> = PerCpuArray::try_from(map).map_err(refused)?;
        let mut counters = VerdictCounters::default();
        for verdict in Verdict::ALL {
            let frames = per_cpu.get(&verdict.index(), 0).map_err(refused)?;
            counters.set(verdict, frames.iter().sum());
        }
        Ok(counters)
    }

    /// A map of the program, as the type that it is.
    fn map_mut<'a, M>(&'a mut self, name: &'static str) -> Result<M, SteerError>
    where
        M: TryFrom<&'a mut aya::maps::Map, Error = MapError>,
    {
        self.ebpf
            .map_mut(name)
            .ok_or(MapError::ElementNotFound)
            .and_then(M::try_from)
            .map_err(|error| update_error(name, &error))
    }
}

impl fmt::Debug for SteerProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SteerProgram")
            .field("interface", &self.interface)
            .field("attached", &self.attached)
            .field("fallback_reason", &self.fallback_reason)
            .finish_non_exhaustive()
    }
}

/// The program in the object.
fn steer(ebpf: &mut Ebpf) -> &mut Xdp {
    ebpf.program_mut(PROGRAM)
        .and_then(|program| program.try_into().ok())
        .expect("the embedded object holds an XDP program with this name")
}

/// The index of an interface in the network namespace of the calling thread.
fn interface_index(interface: &str) -> Result<u32, AttachError> {
    // The call goes through a socket, of any kind (netdevice(7)).
    let index = socket(AddressFamily::UNIX, SocketType::DGRAM, None)
        .and_then(|socket| netdevice::name_to_index(socket, interface));
    index.map_err(|errno| match errno {
        Errno::PERM | Errno::ACCESS => {
            AttachError::NotPermitted { interface: interface.to_owned(), call: "SIOCGIFINDEX" }
        }
        _ => AttachError::NoSuchInterface { interface: interface.to_owned() },
    })
}

/// An address as the program's keys hold it.
fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

/// The length of a prefix of the program's keys, in bits.
fn mapped_prefix_len(address: IpAddr, prefix_len: u8) -> Result<u8, SteerError> {
    let (prefix_len_max, before) = match address {
        IpAddr::V4(_) => (32, MAPPED_PREFIX_LEN),
        IpAddr::V6(_) => (128, 0),
    };
    if prefix_len > prefix_len_max {
        return Err(SteerError::PrefixTooLong { address, prefix_len, prefix_len_max });
    }
    let bits = before + prefix_len;
    let ipv4 = u128::from(Ipv4Addr::UNSPECIFIED.to_ipv6_mapped());
    let differ = u128::from(mapped(address)) ^ ipv4;
    // All of IPv4 is in the prefix if it is no longer than ::ffff:0:0/96 and agrees with it.
    let covers_ipv4 = bits <= MAPPED_PREFIX_LEN && u32::from(bits) <= differ.leading_zeros();
    if covers_ipv4 {
        return Err(SteerError::PrefixTooWide { address, prefix_len });
    }
    Ok(bits)
}

/// The key of `listeners`: the address, and the port in network byte order.
fn listener_key(address: IpAddr, port: u16) -> [u8; 18] {
    let mut key = [0; 18];
    key[..16].copy_from_slice(&mapped(address).octets());
    key[16..].copy_from_slice(&port.to_be_bytes());
    key
}

/// Why a map did not take an entry.
fn update_error(map: &'static str, error: &MapError) -> SteerError {
    match error::os_error(error) {
        // E2BIG: hash tables; ENOSPC: tries.
        Some(Errno::TOOBIG | Errno::NOSPC) => SteerError::Full { map },
        Some(Errno::OPNOTSUPP) if map == XSKS => SteerError::Refused {
            on: map,
            call: "BPF_MAP_UPDATE_ELEM",
            reason: "the descriptor is not an AF_XDP socket".to_owned(),
        },
        _ => SteerError::Refused {
            on: map,
            call: "BPF_MAP_UPDATE_ELEM",
            reason: error::one_line(error),
        },
    }
}
