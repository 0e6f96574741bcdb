//! One queue of an interface as a [`Link`].

use core::cmp::min;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, read, write};
use rustix::net::sockopt::{socket_error, xdp_statistics};
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::error::OpenError;
use super::interface::Interface;
use super::ring::Descriptor;
use super::socket::{self, Options, Socket};
use crate::frame::{Frame, FramePool};
use crate::link::{Census, Link, LinkError, LinkStats, Waker};
use crate::memory::prefetch::prefetch_address;
use crate::time::Duration;

/// An AF_XDP socket on one queue of a network interface, with the frames that it moves.
///
/// The socket receives nothing until a program redirects packets of its queue to it: put it into
/// the program's XSKMAP, under the queue's number, through [`AsFd`].
#[derive(Debug)]
pub struct AfXdpLink {
    socket: Socket,
    /// Frames that the fill ring leaves in the pool, so that a flood of packets never takes the
    /// frames that the engine sends with.
    reserve: usize,
    /// Whether packets come when the kernel is called, and not before.
    busy_polling: bool,
}

/// How long [`AfXdpLink::wait`] sleeps while the kernel still has frames to send, which nothing
/// would wake it up for.
const UNSENT_WAIT_MAX: Duration = Duration::from_millis(1);

impl AfXdpLink {
    /// Opens the socket in the calling thread's network namespace; it stays in that namespace, and
    /// may be used by any thread.
    ///
    /// # Errors
    ///
    /// [`OpenError`], whose message names the interface and what to do.
    pub fn open(options: &Options) -> Result<AfXdpLink, OpenError> {
        let frame_count = options.frame_count as usize;
        let reserve = frame_count / 4;
        let socket = Socket::open(options, frame_count - reserve)?;
        Ok(AfXdpLink { socket, reserve, busy_polling: false })
    }

    /// Takes packets from the driver whenever the kernel is called, on the calling thread's processor,
    /// instead of when they come, and by interrupts only after a pause: fewer of those, and more
    /// packets at once.
    ///
    /// The interface has to wait for it: `napi_defer_hard_irqs` and `gro_flush_timeout` of its
    /// directory in /sys/class/net say how often, and for how many nanoseconds.
    ///
    /// # Errors
    ///
    /// The kernel's: it knows this from Linux 5.11 on, and wants CAP_NET_ADMIN.
    pub fn poll_busily(&mut self) -> io::Result<()> {
        socket::poll_busily(&self.socket.descriptor)?;
        self.busy_polling = true;
        Ok(())
    }

    /// Whether the driver moves packets without copying them.
    pub fn zero_copy(&self) -> bool {
        self.socket.zero_copy
    }

    /// The interface, as it was when the link was opened.
    pub fn interface(&self) -> &Interface {
        &self.socket.interface
    }

    /// The queue of the interface.
    pub fn queue(&self) -> u32 {
        self.socket.queue
    }

    /// Takes the frames of completed transmissions back into the pool.
    fn reap(&mut self) {
        let Socket { completion, umem, .. } = &mut self.socket;
        let mut batch = completion.batch(usize::MAX);
        for addr in batch.by_ref() {
            umem.completed(addr);
        }
        batch.commit();
    }

    /// Tops up the fill ring from what the pool has above the reserve.
    fn refill(&mut self) {
        let spare = self.socket.umem.pool().saturating_sub(self.reserve);
        if spare > 0 {
            self.socket.refill(spare);
        }
    }

    /// Calls the kernel if it waits for a call, and returns whether it did: one system call, or none.
    fn kick(&mut self) -> Result<bool, LinkError> {
        let socket = &mut self.socket;
        let tx_waits = socket.tx.needs_wakeup() && socket.tx.unread() > 0;
        // In copy mode the kernel takes from the fill ring when a packet comes, and needs no call.
        let fill_waits = socket.zero_copy && socket.fill.needs_wakeup();
        let receives = fill_waits || self.busy_polling;
        let descriptor = &socket.descriptor;
        let (call, result) = match (tx_waits, receives) {
            (false, false) => return Ok(false),
            // This one polls, too (__xsk_sendmsg).
            (true, _) if !fill_waits => {
                ("sendto", send(descriptor, &[], SendFlags::DONTWAIT).map(drop))
            }
            (false, true) => {
                let nothing: &mut [u8] = &mut [];
                ("recvfrom", recv(descriptor, nothing, RecvFlags::DONTWAIT).map(drop))
            }
            // poll(2) wakes up both sides (xsk_poll).
            (true, _) => {
                let mut descriptors = [PollFd::new(descriptor, PollFlags::empty())];
                ("poll", poll(&mut descriptors, Some(&Timespec::default())).map(drop))
            }
        };
        match result {
            // Frames beyond the kick's budget, a full device queue, or a full completion ring: what
            // was not sent is still in the tx ring, for the next kick. So it is while the interface
            // is down; one that was removed says so with another error, or in `wait`.
            Ok(())
            | Err(Errno::AGAIN | Errno::BUSY | Errno::NOBUFS | Errno::INTR | Errno::NETDOWN) => {
                Ok(true)
            }
            Err(errno) => Err(self.lost(call, errno)),
        }
    }

    /// Kicks for as long as the kernel takes frames; returns whether some are left.
    fn drain_tx(&mut self) -> Result<bool, LinkError> {
        let mut left = self.socket.tx.unread();
        while left > 0 && self.socket.tx.needs_wakeup() {
            self.kick()?;
            let now_left = self.socket.tx.unread();
            if now_left >= left {
                break;
            }
            left = now_left;
        }
        Ok(left > 0)
    }

    fn lost(&self, call: &'static str, errno: Errno) -> LinkError {
        LinkError::Lost {
            interface: self.socket.interface.name.clone(),
            queue: self.socket.queue,
            call,
            source: errno.into(),
        }
    }
}

impl FramePool for AfXdpLink {
    fn take(&mut self) -> Option<Frame> {
        if self.socket.umem.pool() == 0 {
            self.reap();
        }
        self.socket.umem.take()
    }

    fn give(&mut self, frame: Frame) {
        self.socket.umem.give(frame);
    }

    fn bytes(&self, frame: &Frame) -> &[u8] {
        self.socket.umem.bytes(frame)
    }

    fn room(&mut self, frame: &mut Frame) -> &mut [u8] {
        self.socket.umem.room(frame)
    }
}

impl Link for AfXdpLink {
    fn receive(&mut self, batch: &mut Vec<Frame>, max: usize) -> Result<usize, LinkError> {
        let Socket { rx, umem, .. } = &mut self.socket;
        let len_before = batch.len();
        let mut received = rx.batch(max);
        batch.extend(received.by_ref().filter_map(|packet| umem.received(packet.addr, packet.len)));
        received.commit();
        // Whoever received it may be another processor. Asked for all at once, the lines come sooner.
        for frame in &batch[len_before..] {
            prefetch_address(umem.bytes(frame).as_ptr().addr());
        }
        Ok(batch.len() - len_before)
    }

    fn transmit(&mut self, batch: &mut Vec<Frame>) -> Result<(), LinkError> {
        let Socket { tx, umem, .. } = &mut self.socket;
        let mut posted = tx.batch(batch.len());
        for frame in batch.drain(..posted.room()) {
            if let Some((addr, len)) = umem.post_tx(frame) {
                posted.push(Descriptor { addr, len, options: 0 });
            }
        }
        posted.commit();
        Ok(())
    }

    fn flush(&mut self) -> Result<(), LinkError> {
        self.reap();
        self.refill();
        if self.kick()? {
            // Copy mode sends within the call: most of these frames are back already.
            self.reap();
        }
        Ok(())
    }

    fn wait(&mut self, timeout: Duration) -> Result<(), LinkError> {
        if !self.socket.rx.is_empty() {
            return Ok(());
        }
        let timeout = if self.drain_tx()? { min(timeout, UNSENT_WAIT_MAX) } else { timeout };
        // A timeout beyond what the kernel can express waits for as long as it takes.
        let timeout = Timespec::try_from(timeout).ok();
        let mut descriptors = [
            PollFd::new(&self.socket.descriptor, PollFlags::IN),
            PollFd::new(&self.socket.wakeup, PollFlags::IN),
        ];
        match poll(&mut descriptors, timeout.as_ref()) {
            Err(Errno::INTR) => return Ok(()),
            Err(errno) => return Err(self.lost("poll", errno)),
            Ok(_) if descriptors[0].revents().contains(PollFlags::IN) => return Ok(()),
            Ok(_) if descriptors[1].revents().contains(PollFlags::IN) => {
                // Reading it makes it wait again; whoever wakes meanwhile ends the next wait.
                let _ = read(&self.socket.wakeup, &mut [0; 8]);
                return Ok(());
            }
            Ok(_) => {}
        }
        // Nothing came. A removed interface says so here, and nowhere else to one that only
        // listens.
        match socket_error(&self.socket.descriptor) {
            Ok(Err(errno)) => Err(self.lost("poll", errno)),
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }

    fn waker(&self) -> Waker {
        let wakeup = Arc::clone(&self.socket.wakeup);
        Waker::new(move || {
            // It can only be refused when 2^64 - 2 wakes are unread, and then one is no more.
            let _ = write(&wakeup, &1_u64.to_ne_bytes());
        })
    }

    fn stats(&self) -> LinkStats {
        let Socket { descriptor, fill, rx, tx, completion, umem, .. } = &self.socket;
        let corrupt = fill.corrupt() + rx.corrupt() + tx.corrupt() + completion.corrupt();
        let ours = umem.invalid() + corrupt;
        match xdp_statistics(descriptor) {
            Ok(kernel) => {
                let fill_ring_empty = kernel.rx_fill_ring_empty_descs.unwrap_or_default();
                // In copy mode a packet without a frame counts as dropped, too (__xsk_rcv).
                let twice = if self.socket.zero_copy { 0 } else { fill_ring_empty };
                LinkStats {
                    rx_ring_full: kernel.rx_ring_full.unwrap_or_default(),
                    fill_ring_empty,
                    rx_dropped: kernel.rx_dropped.saturating_sub(twice),
                    invalid_descriptors: kernel.rx_invalid_descs + kernel.tx_invalid_descs + ours,
                }
            }
            Err(_) => LinkStats { invalid_descriptors: ours, ..LinkStats::default() },
        }
    }

    fn census(&self) -> Census {
        self.socket.umem.census()
    }
}

impl AsFd for AfXdpLink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.descriptor.as_fd()
    }
}

const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<AfXdpLink>();
};
