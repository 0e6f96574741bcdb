//! Memory that is shared with the kernel: mmap(2) with an owner.
#![allow(unsafe_code, reason = "mmap and munmap take and give raw memory")]

use core::ptr::NonNull;
use std::io;
use std::os::fd::BorrowedFd;

use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

/// A mapping, unmapped when dropped. Page-aligned, readable and writable, and zeroed when new.
///
/// It hands out its address and never a reference: what may be read when is for the protocol of its
/// user ([`super::ring`], [`super::umem`]) to know.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread, and `Mapping` itself gives no access
// to what is in it.
unsafe impl Send for Mapping {}
// SAFETY: as above; `&Mapping` gives an address and a length.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// `len` bytes of fresh memory, present from the start: a fault would otherwise come with the
    /// first packet.
    pub(super) fn anonymous(len: usize) -> io::Result<Mapping> {
        let flags = MapFlags::PRIVATE | MapFlags::POPULATE;
        // SAFETY: no address is asked for, so no existing mapping is replaced.
        let start = unsafe {
            mmap_anonymous(core::ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, flags)
        }?;
        Mapping::owning(start, len)
    }

    /// `len` bytes of the descriptor's memory, from `offset` on: one of an AF_XDP socket's rings.
    pub(super) fn of_descriptor(
        descriptor: BorrowedFd<'_>,
        offset: u64,
        len: usize,
    ) -> io::Result<Mapping> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::SHARED | MapFlags::POPULATE;
        // SAFETY: no address is asked for, so no existing mapping is replaced.
        let start =
            unsafe { mmap(core::ptr::null_mut(), len, protection, flags, descriptor, offset) }?;
        Mapping::owning(start, len)
    }

    fn owning(start: *mut core::ffi::c_void, len: usize) -> io::Result<Mapping> {
        match NonNull::new(start.cast::<u8>()) {
            Some(start) => Ok(Mapping { start, len }),
            None => Err(io::ErrorKind::AddrNotAvailable.into()),
        }
    }

    /// The first byte.
    pub(super) const fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// The length, in bytes.
    pub(super) const fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this is exactly what mmap gave, and its only owner is going. The kernel keeps the
        // pages that it still uses pinned by itself (xdp_umem_pin_pages).
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert!(unmapped.is_ok(), "munmap of our own mapping: {unmapped:?}");
    }
}
