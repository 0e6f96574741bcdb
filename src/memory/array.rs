//! Tables that are large, made once, and hit at random.
//!
//! Each is a mapping of its own, of the largest pages that the machine gives: a lookup among ten million
//! records then misses the TLB seldom. Pages take memory when they are touched, so a table costs what
//! has been used of it.
#![allow(unsafe_code, reason = "a mapping is raw memory")]

use bytemuck::Zeroable;
use core::fmt;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

/// The size of a huge page on x86-64, and on AArch64 with small pages of 4 KiB.
const HUGE: usize = 2 << 20;

/// Where Linux says whether it gives transparent huge pages
/// (`Documentation/admin-guide/mm/transhuge.rst`).
const TRANSPARENT: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

/// The pages that a table is made of, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PageKind {
    /// Huge pages that were reserved (`/proc/sys/vm/nr_hugepages`).
    Reserved,
    /// Huge pages as the kernel finds room for them.
    Transparent,
    /// The usual small pages.
    Small,
}

impl fmt::Display for PageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PageKind::Reserved => "reserved huge pages",
            PageKind::Transparent => "transparent huge pages",
            PageKind::Small => "small pages",
        })
    }
}

/// A slice of fixed length in a mapping of its own, all zero when it is new. What has not been written
/// takes no memory.
pub struct Array<T> {
    start: NonNull<T>,
    len: usize,
    /// The length of the mapping, in bytes; 0 where nothing is mapped.
    mapped: usize,
    kind: PageKind,
}

// SAFETY: an array owns its values as a `Vec` does; its mapping belongs to the process.
unsafe impl<T: Send> Send for Array<T> {}
// SAFETY: as above; `&Array` gives no more than `&[T]`.
unsafe impl<T: Sync> Sync for Array<T> {}

impl<T: Zeroable + Copy> Array<T> {
    /// An array of `len` zeroed values.
    ///
    /// # Errors
    ///
    /// `NOMEM`, when the system does not give so much address space.
    pub fn zeroed(len: usize) -> Result<Array<T>, Errno> {
        const { assert!(size_of::<T>() > 0 && align_of::<T>() <= 4096, "page-aligned is enough") };
        let bytes = len.checked_mul(size_of::<T>()).ok_or(Errno::NOMEM)?;
        let (start, mapped, kind) = match bytes {
            0 => {
                return Ok(Array {
                    start: NonNull::dangling(),
                    len,
                    mapped: 0,
                    kind: PageKind::Small,
                });
            }
            1..HUGE => (map(bytes, MapFlags::PRIVATE)?, bytes, PageKind::Small),
            _ => {
                let mapped = bytes.checked_next_multiple_of(HUGE).ok_or(Errno::NOMEM)?;
                let (start, kind) = map_huge(mapped)?;
                (start, mapped, kind)
            }
        };
        Ok(Array { start: start.cast(), len, mapped, kind })
    }

    /// The pages that the array is made of.
    pub fn kind(&self) -> PageKind {
        self.kind
    }
}

/// A fresh mapping of `len` bytes.
fn map(len: usize, flags: MapFlags) -> Result<NonNull<u8>, Errno> {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: no address is asked for, so no existing mapping is replaced.
    let start = unsafe { mmap_anonymous(core::ptr::null_mut(), len, protection, flags) }?;
    NonNull::new(start.cast()).ok_or(Errno::NOMEM)
}

/// Unmaps `len` bytes.
///
/// # Safety
///
/// They are part of a mapping that [`map`] gave, and nothing refers to them.
unsafe fn unmap(start: NonNull<u8>, len: usize) {
    if len == 0 {
        return;
    }
    // SAFETY: the caller's promise.
    let unmapped = unsafe { munmap(start.as_ptr().cast(), len) };
    debug_assert!(unmapped.is_ok(), "munmap of our own mapping: {unmapped:?}");
}

/// A mapping of `len` bytes, a multiple of [`HUGE`], in huge pages if there are any.
fn map_huge(len: usize) -> Result<(NonNull<u8>, PageKind), Errno> {
    let reserved = MapFlags::PRIVATE | MapFlags::HUGETLB | MapFlags::HUGE_2MB;
    if let Ok(start) = map(len, reserved) {
        return Ok((start, PageKind::Reserved));
    }
    // Only what is aligned gets huge pages: one more, and the ends are given back.
    let start = map(len.checked_add(HUGE).ok_or(Errno::NOMEM)?, MapFlags::PRIVATE)?;
    let before = start.align_offset(HUGE);
    // SAFETY: `before` is less than the one that was mapped more, so all of this is in the mapping; both
    // ends are outside of what is returned.
    let start = unsafe {
        let aligned = start.add(before);
        unmap(start, before);
        unmap(aligned.add(len), HUGE - before);
        aligned
    };
    // SAFETY: the range is mapped, and the advice changes nothing of what is in it.
    let advised = unsafe { madvise(start.as_ptr().cast(), len, Advice::LinuxHugepage) };
    match advised.is_ok() && gives_transparent() {
        true => Ok((start, PageKind::Transparent)),
        false => Ok((start, PageKind::Small)),
    }
}

/// Whether the kernel gives transparent huge pages to those who ask for them.
fn gives_transparent() -> bool {
    std::fs::read_to_string(TRANSPARENT).is_ok_and(|setting| !setting.contains("[never]"))
}

impl<T> Deref for Array<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `start` is aligned and the first of `len` values, which are mapped as long as `self`
        // lives. They were zero at first, which is a valid `T` since only `zeroed` makes arrays, and
        // later what was written through `deref_mut`.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for Array<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and `&mut self` is the only way to them.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T> Drop for Array<T> {
    fn drop(&mut self) {
        // SAFETY: exactly what was mapped, and its only owner is going. The values are `Copy`, so they
        // need no drop of their own.
        unsafe { unmap(self.start.cast(), self.mapped) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The resident memory of the mapping that starts at `start`, in bytes (proc(5), /proc/PID/smaps).
    fn resident(start: usize) -> usize {
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let of_mapping = smaps.lines().skip_while(|line| !line.starts_with(&format!("{start:x}-")));
        let rss = of_mapping.skip(1).find_map(|line| line.strip_prefix("Rss:")).unwrap();
        rss.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    #[test]
    fn arrays_are_zeroed_and_take_memory_as_they_are_written() {
        let mut array = Array::<u64>::zeroed((64 << 20) / 8).unwrap();
        let start = array.as_ptr().addr();
        assert_eq!(start % HUGE, 0);
        assert!(array.kind() == PageKind::Reserved || resident(start) == 0);
        array[..1_000].iter_mut().zip(0..).for_each(|(value, n)| *value = n);
        assert!(resident(start) <= HUGE, "{} bytes", resident(start));
        assert_eq!((array.len(), array.iter().sum::<u64>()), (8 << 20, 499_500));
    }

    #[test]
    fn small_arrays_and_empty_ones_are_no_special_case() {
        let mut array = Array::<u32>::zeroed(3).unwrap();
        array[2] = 7;
        assert_eq!(*array, [0, 0, 7]);
        assert!(Array::<u32>::zeroed(0).unwrap().is_empty());
        drop(std::thread::spawn(move || drop(array)).join());
    }

    #[test]
    fn what_no_machine_has_is_an_error() {
        for len in [usize::MAX, usize::MAX / 8, usize::MAX / 16, 1 << 58] {
            assert!(Array::<u64>::zeroed(len).is_err(), "{len}");
        }
    }
}
