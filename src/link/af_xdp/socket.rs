//! Making an AF_XDP socket: options, UMEM, rings, bind.
//!
//! The order is the kernel's (Documentation/networking/af_xdp.rst): register the UMEM, size the four
//! rings, map them, post frames to the fill ring, bind. After the bind a driver may receive.
#![allow(unsafe_code, reason = "rings are mapped; a raw setsockopt")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use rustix::net::sockopt::{
    set_xdp_rx_ring_size, set_xdp_tx_ring_size, set_xdp_umem_completion_ring_size,
    set_xdp_umem_fill_ring_size, set_xdp_umem_reg, xdp_mmap_offsets, xdp_options,
};
use rustix::net::xdp::{
    SocketAddrXdp, SocketAddrXdpFlags, XDP_PGOFF_RX_RING, XDP_PGOFF_TX_RING,
    XDP_UMEM_PGOFF_COMPLETION_RING, XDP_UMEM_PGOFF_FILL_RING, XdpOptionsFlags, XdpRingOffset,
    XdpUmemReg, XdpUmemRegFlags,
};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use rustix::thread::{NanosleepRelativeResult, nanosleep};

use super::cursor::ring_size;
use super::error::OpenError;
use super::interface::Interface;
use super::mapping::Mapping;
use super::ring::{BadLayout, ConsumerRing, Descriptor, Entry, ProducerRing};
use super::umem::Umem;

/// Whether the kernel may copy each packet between the driver's memory and ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ZeroCopy {
    /// Zero-copy where the driver does it, else copy mode.
    #[default]
    Auto,
    /// Zero-copy, or an error.
    Required,
    /// Copy mode, which every driver does and which programs in generic mode need.
    Off,
}

/// How to open an AF_XDP link. Ring sizes are in entries and powers of two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The interface's name, in the calling thread's network namespace.
    pub interface: String,
    /// The queue of the interface, from 0 on.
    pub queue: u32,
    /// Frames in all, for every ring and the engine together.
    pub frame_count: u32,
    /// Size of a frame, in bytes: 2048 or 4096. The kernel keeps 256 of them as headroom.
    pub frame_size: u16,
    /// Entries of the rx ring.
    pub rx_ring: u32,
    /// Entries of the tx ring.
    pub tx_ring: u32,
    /// Entries of the fill ring.
    pub fill_ring: u32,
    /// Entries of the completion ring; fewer than the tx ring's slow sending down.
    pub completion_ring: u32,
    /// Whether the kernel may copy.
    pub zero_copy: ZeroCopy,
    /// Frames that one kick sends in copy mode (XDP_MAX_TX_SKB_BUDGET), if the kernel knows it;
    /// else, and at least, 32.
    pub tx_budget: u32,
    /// How long to wait for the queue if another socket has it: one that was just closed keeps it
    /// for some milliseconds.
    pub bind_wait: Duration,
}

impl Options {
    /// The usual sizes for one queue of `interface`: 12,288 frames of 2048 bytes; rings of 4096 for what is
    /// received, which hold what comes in 10 ms at 400,000 frames a second, and of 2048 for what is sent.
    pub fn new(interface: &str, queue: u32) -> Options {
        Options {
            interface: interface.to_owned(),
            queue,
            frame_count: 12_288,
            frame_size: 2048,
            rx_ring: 4096,
            tx_ring: 2048,
            fill_ring: 4096,
            completion_ring: 2048,
            zero_copy: ZeroCopy::Auto,
            tx_budget: 256,
            bind_wait: Duration::from_secs(5),
        }
    }

    fn check(&self) -> Result<(), OpenError> {
        let rings = [
            ("rx_ring", self.rx_ring),
            ("tx_ring", self.tx_ring),
            ("fill_ring", self.fill_ring),
            ("completion_ring", self.completion_ring),
        ];
        for (option, value) in rings {
            if ring_size(value).is_none() {
                let rule = "a power of two, at most 2^30";
                return Err(OpenError::BadOption { option, value: value.into(), rule });
            }
        }
        if !matches!(self.frame_size, 2048 | 4096) {
            let value = self.frame_size.into();
            let rule = "2048 or 4096";
            return Err(OpenError::BadOption { option: "frame_size", value, rule });
        }
        if self.frame_count < 8 || self.frame_count > 1 << 24 {
            let value = self.frame_count.into();
            let rule = "from 8 to 2^24";
            return Err(OpenError::BadOption { option: "frame_count", value, rule });
        }
        Ok(())
    }
}

/// A bound socket, its rings and its UMEM.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) descriptor: OwnedFd,
    /// Readable when somebody ended the wait (eventfd(2)).
    pub(super) wakeup: Arc<OwnedFd>,
    pub(super) interface: Interface,
    pub(super) queue: u32,
    pub(super) zero_copy: bool,
    pub(super) fill: ProducerRing<u64>,
    pub(super) rx: ConsumerRing<Descriptor>,
    pub(super) tx: ProducerRing<Descriptor>,
    pub(super) completion: ConsumerRing<u64>,
    pub(super) umem: Umem,
}

impl Socket {
    /// Makes the socket and binds it, with up to `fill_max` frames in the fill ring.
    pub(super) fn open(options: &Options, fill_max: usize) -> Result<Socket, OpenError> {
        options.check()?;
        let interface = Interface::by_name(&options.interface)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let descriptor =
            socket_with(AddressFamily::XDP, SocketType::RAW, flags, None).map_err(|errno| {
                match errno {
                    Errno::PERM | Errno::ACCESS => OpenError::NoPrivilege,
                    Errno::AFNOSUPPORT => OpenError::NoAfXdp,
                    errno => options.refused("socket(AF_XDP)", errno),
                }
            })?;
        let wakeup = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| options.refused("eventfd", errno))?;
        let umem = register_umem(&descriptor, options)?;
        let rings = Rings::new(&descriptor, options)?;
        raise_tx_budget(&descriptor, options.tx_budget.clamp(TX_BUDGET_MIN, options.tx_ring));
        let mut socket = Socket {
            descriptor,
            wakeup: Arc::new(wakeup),
            interface,
            queue: options.queue,
            zero_copy: false,
            fill: rings.fill,
            rx: rings.rx,
            tx: rings.tx,
            completion: rings.completion,
            umem,
        };
        socket.refill(fill_max);
        bind_queue(&socket.descriptor, &socket.interface, options)?;
        socket.zero_copy = xdp_options(&socket.descriptor)
            .is_ok_and(|flags| flags.contains(XdpOptionsFlags::XDP_OPTIONS_ZEROCOPY));
        Ok(socket)
    }

    /// Posts up to `max` frames from the pool to the fill ring.
    pub(super) fn refill(&mut self, max: usize) {
        let mut batch = self.fill.batch(max);
        while batch.room() > 0
            && let Some(addr) = self.umem.post_fill()
        {
            batch.push(addr);
        }
        batch.commit();
    }
}

impl Options {
    fn refused(&self, call: &'static str, errno: Errno) -> OpenError {
        OpenError::Refused {
            interface: self.interface.clone(),
            queue: self.queue,
            call,
            source: errno.into(),
        }
    }
}

/// Maps the frames' memory and registers it with the socket (XDP_UMEM_REG).
fn register_umem(descriptor: &OwnedFd, options: &Options) -> Result<Umem, OpenError> {
    let bytes = options.frame_count as usize * usize::from(options.frame_size);
    let umem = Umem::new(options.frame_count, options.frame_size)
        .map_err(|source| OpenError::Map { what: "frames", bytes, source })?;
    let registration = XdpUmemReg {
        addr: umem.memory().start().as_ptr().addr() as u64,
        len: umem.memory().len() as u64,
        chunk_size: u32::from(options.frame_size),
        headroom: 0,
        flags: XdpUmemRegFlags::empty(),
        tx_metadata_len: 0,
    };
    set_xdp_umem_reg(descriptor, registration).map_err(|errno| match errno {
        Errno::NOBUFS | Errno::PERM => OpenError::MemoryLock { bytes },
        errno => options.refused("setsockopt(XDP_UMEM_REG)", errno),
    })?;
    Ok(umem)
}

struct Rings {
    fill: ProducerRing<u64>,
    rx: ConsumerRing<Descriptor>,
    tx: ProducerRing<Descriptor>,
    completion: ConsumerRing<u64>,
}

impl Rings {
    fn new(socket: &OwnedFd, options: &Options) -> Result<Rings, OpenError> {
        let refused = |call| move |errno| options.refused(call, errno);
        set_xdp_umem_fill_ring_size(socket, options.fill_ring)
            .map_err(refused("setsockopt(XDP_UMEM_FILL_RING)"))?;
        set_xdp_umem_completion_ring_size(socket, options.completion_ring)
            .map_err(refused("setsockopt(XDP_UMEM_COMPLETION_RING)"))?;
        set_xdp_rx_ring_size(socket, options.rx_ring)
            .map_err(refused("setsockopt(XDP_RX_RING)"))?;
        set_xdp_tx_ring_size(socket, options.tx_ring)
            .map_err(refused("setsockopt(XDP_TX_RING)"))?;
        let at = xdp_mmap_offsets(socket).map_err(refused("getsockopt(XDP_MMAP_OFFSETS)"))?;

        let socket = socket.as_fd();
        let fill =
            map_ring::<u64>(socket, "fill", XDP_UMEM_PGOFF_FILL_RING, &at.fr, options.fill_ring)?;
        let completion = map_ring::<u64>(
            socket,
            "completion",
            XDP_UMEM_PGOFF_COMPLETION_RING,
            &at.cr,
            options.completion_ring,
        )?;
        let rx = map_ring::<Descriptor>(socket, "rx", XDP_PGOFF_RX_RING, &at.rx, options.rx_ring)?;
        let tx = map_ring::<Descriptor>(socket, "tx", XDP_PGOFF_TX_RING, &at.tx, options.tx_ring)?;
        let bad = |ring| move |BadLayout| OpenError::BadRing { ring };
        // SAFETY: the socket and its rings are new; this is the one writing end, and the kernel's
        // end keeps the orderings (net/xdp/xsk_queue.h).
        let fill = unsafe { ProducerRing::new(fill, &at.fr, options.fill_ring) };
        // SAFETY: as above.
        let tx = unsafe { ProducerRing::new(tx, &at.tx, options.tx_ring) };
        // SAFETY: as above, and the one reading end.
        let rx = unsafe { ConsumerRing::new(rx, &at.rx, options.rx_ring) };
        // SAFETY: as above, and the one reading end.
        let completion = unsafe { ConsumerRing::new(completion, &at.cr, options.completion_ring) };
        Ok(Rings {
            fill: fill.map_err(bad("fill"))?,
            rx: rx.map_err(bad("rx"))?,
            tx: tx.map_err(bad("tx"))?,
            completion: completion.map_err(bad("completion"))?,
        })
    }
}

/// Maps a ring of `size` entries of `T`, which lies at page offset `page_offset` of the socket.
fn map_ring<T: Entry>(
    socket: BorrowedFd<'_>,
    what: &'static str,
    page_offset: u64,
    at: &XdpRingOffset,
    size: u32,
) -> Result<Arc<Mapping>, OpenError> {
    let entries_at = usize::try_from(at.desc).map_err(|_| OpenError::BadRing { ring: what })?;
    let bytes = entries_at + size as usize * size_of::<T>();
    let memory = Mapping::of_descriptor(socket, page_offset, bytes)
        .map_err(|source| OpenError::Map { what, bytes, source })?;
    Ok(Arc::new(memory))
}

/// `XDP_MAX_TX_SKB_BUDGET` of linux/if_xdp.h, from Linux 6.17 on.
const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;
/// `TX_BATCH_SIZE` of net/xdp/xsk.c: the budget that every kernel has, and the least it accepts.
const TX_BUDGET_MIN: u32 = 32;

/// Lets one kick send more frames in copy mode. A kernel that refuses sends 32 of them.
fn raise_tx_budget(socket: &OwnedFd, frames: u32) {
    let _unsupported_or_not = set_option(socket, libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, frames);
}

/// How long a call may poll the driver, in microseconds. Ours do not wait, so each polls once.
const BUSY_POLL_US: u32 = 20;
/// Packets that one poll takes from the driver: `NAPI_POLL_WEIGHT` of linux/netdevice.h.
const BUSY_POLL_BUDGET: u32 = 64;

/// Has every call on a bound socket take packets from the driver (Documentation/networking/napi.rst,
/// "Busy polling").
pub(super) fn poll_busily(socket: &OwnedFd) -> io::Result<()> {
    set_option(socket, libc::SOL_SOCKET, libc::SO_PREFER_BUSY_POLL, 1)?;
    set_option(socket, libc::SOL_SOCKET, libc::SO_BUSY_POLL, BUSY_POLL_US)?;
    set_option(socket, libc::SOL_SOCKET, libc::SO_BUSY_POLL_BUDGET, BUSY_POLL_BUDGET)
}

/// setsockopt(2) for options that rustix lacks.
fn set_option(
    socket: &OwnedFd,
    level: libc::c_int,
    option: libc::c_int,
    value: u32,
) -> io::Result<()> {
    let len = libc::socklen_t::try_from(size_of::<u32>()).expect("4");
    // SAFETY: the option's value is a u32 that lives for the call.
    let refused = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), len)
    };
    if refused == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Binds the socket to its queue, waiting for a queue that is still taken.
fn bind_queue(socket: &OwnedFd, interface: &Interface, options: &Options) -> Result<(), OpenError> {
    let mut waited = Duration::ZERO;
    loop {
        let errno = match try_bind(socket, interface.index, options) {
            Ok(()) => return Ok(()),
            Err(errno) => errno,
        };
        if errno == Errno::BUSY && waited < options.bind_wait {
            let step = Duration::from_millis(10).min(options.bind_wait - waited);
            sleep(step);
            waited += step;
            continue;
        }
        let (queue, queues) = (options.queue, interface.rx_queues);
        let interface = options.interface.clone();
        return Err(match errno {
            Errno::BUSY => OpenError::QueueTaken { interface, queue, waited },
            Errno::INVAL if queue >= queues => OpenError::NoSuchQueue { interface, queue, queues },
            errno if options.zero_copy == ZeroCopy::Required => {
                OpenError::NoZeroCopy { interface, queue, source: errno.into() }
            }
            errno => options.refused("bind", errno),
        });
    }
}

/// One attempt: zero-copy, then copy mode, as far as the options allow.
///
/// The kernel would fall back by itself if neither were asked for. Both are, so that a driver's
/// refusal of zero-copy does not hide the reason why copy mode fails.
fn try_bind(socket: &OwnedFd, interface: u32, options: &Options) -> Result<(), Errno> {
    let attempt = |mode| {
        let flags = mode | SocketAddrXdpFlags::XDP_USE_NEED_WAKEUP;
        bind(socket, &SocketAddrXdp::new(flags, interface, options.queue))
    };
    match options.zero_copy {
        ZeroCopy::Required => attempt(SocketAddrXdpFlags::XDP_ZEROCOPY),
        ZeroCopy::Off => attempt(SocketAddrXdpFlags::XDP_COPY),
        ZeroCopy::Auto => attempt(SocketAddrXdpFlags::XDP_ZEROCOPY)
            .or_else(|_| attempt(SocketAddrXdpFlags::XDP_COPY)),
    }
}

/// Sleeps for `time`. There is no descriptor to wait on: the kernel does not say when a queue
/// becomes free. This is at set-up only, before the link exists.
fn sleep(time: Duration) {
    let Ok(mut left) = time.try_into() else {
        return;
    };
    while let NanosleepRelativeResult::Interrupted(rest) = nanosleep(&left) {
        left = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_the_kernel_would_refuse_are_named() {
        let options = Options::new("lo", 0);
        assert!(options.check().is_ok());
        let bad = [
            ("rx_ring", Options { rx_ring: 100, ..options.clone() }),
            ("completion_ring", Options { completion_ring: 0, ..options.clone() }),
            ("frame_size", Options { frame_size: 1500, ..options.clone() }),
            ("frame_count", Options { frame_count: 0, ..options.clone() }),
        ];
        for (name, options) in bad {
            let error = options.check().expect_err("refused");
            assert!(matches!(error, OpenError::BadOption { option, .. } if option == name));
        }
        let error = Options { frame_size: 1500, ..options }.check().expect_err("refused");
        assert_eq!(error.to_string(), "frame_size is 1500, but must be 2048 or 4096");
    }
}
