//! A directory of the host, read only, for the HTTP service.
//!
//! Reads take what is in the page cache and wait for nothing: what is not is asked for, and the service
//! comes back for it (docs/decisions/0019-files-through-a-seam.md).

use super::clock::Clock;
use crate::service::http::Files;
use crate::service::http::files::{FileId, OpenError, Opened, ReadError};
use core::ffi::CStr;
use core::num::NonZeroU64;
use rustix::fs::{self, Advice, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2};
use std::io::{self, IoSliceMut};
use std::os::fd::OwnedFd;

/// How often in a row a read may find nothing in the page cache before it waits for the disk after all:
/// where memory is so short that what was read ahead is gone again, nothing else gets on.
const LATE_MAX: u8 = 50;

/// How much is read ahead of a read that found nothing, in bytes.
const AHEAD: NonZeroU64 = NonZeroU64::new(512 * 1024).expect("not 0");

/// Files below a directory.
pub struct Directory {
    root: Option<OwnedFd>,
    open: Vec<Option<Open>>,
    free: Vec<u32>,
}

/// An open file.
struct Open {
    file: OwnedFd,
    /// How often in a row nothing was found in the page cache.
    late: u8,
    /// Whether its file system can be asked for what is there.
    can_tell: bool,
}

impl Directory {
    /// The directory at `root`, of which `most` files and one more can be open at once; without a root,
    /// nothing is found.
    ///
    /// # Errors
    ///
    /// The kernel's, if it is none or may not be searched.
    pub fn open(root: Option<&str>, most: u32) -> io::Result<Directory> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = root.map(|root| fs::open(root, flags, Mode::empty())).transpose()?;
        if let Some(root) = &root {
            open_beneath(root, c".")?;
        }
        let free = (0..=most).rev().collect();
        Ok(Directory { root, open: (0..=most).map(|_| None).collect(), free })
    }
}

/// Opens `path` below `root` to be read. Symbolic links are followed, but not out of it, and neither are
/// those of `/proc`. Opening a pipe does not wait for who writes.
fn open_beneath(root: &OwnedFd, path: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    fs::openat2(root, path, flags, Mode::empty(), resolve)
}

fn open_error(errno: Errno) -> OpenError {
    match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::NAMETOOLONG => {
            OpenError::NotFound
        }
        // A socket, or a device without a driver.
        Errno::ACCESS | Errno::PERM | Errno::NXIO | Errno::NODEV => OpenError::Forbidden,
        // AGAIN: something was renamed meanwhile, so that nobody can say whether it is below the root.
        Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN | Errno::INTR => OpenError::Busy,
        _ => OpenError::Failed,
    }
}

impl Files for Directory {
    fn open(&mut self, path: &CStr) -> Result<Opened, OpenError> {
        let root = self.root.as_ref().ok_or(OpenError::NotFound)?;
        let file = open_beneath(root, path).map_err(open_error)?;
        let stat = fs::fstat(&file).map_err(open_error)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Directory => return Err(OpenError::IsDirectory),
            _ => return Err(OpenError::Forbidden),
        }
        let index = self.free.pop().ok_or(OpenError::Busy)?;
        self.open[index as usize] = Some(Open { file, late: 0, can_tell: true });
        Ok(Opened {
            file: FileId(index),
            len: u64::try_from(stat.st_size).unwrap_or(0),
            // Before 1970 is 1970: no date of HTTP's is earlier.
            modified_secs: u64::try_from(stat.st_mtime).unwrap_or(0),
            modified_nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        })
    }

    fn read(&mut self, file: FileId, offset: u64, bytes: &mut [u8]) -> Result<usize, ReadError> {
        let open = self.open.get_mut(file.0 as usize).and_then(Option::as_mut);
        let open = open.ok_or(ReadError::Failed)?;
        if open.can_tell && open.late < LATE_MAX {
            let room = &mut [IoSliceMut::new(bytes)];
            match preadv2(&open.file, room, offset, ReadWriteFlags::NOWAIT) {
                Ok(read) => {
                    open.late = 0;
                    return Ok(read);
                }
                Err(Errno::AGAIN) => {
                    open.late += 1;
                    // It is only advice, and without it the last of these reads waits.
                    let _ = fs::fadvise(&open.file, offset, Some(AHEAD), Advice::WillNeed);
                    return Err(ReadError::Later);
                }
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => open.can_tell = false,
                Err(Errno::INTR) => return Err(ReadError::Later),
                Err(_) => return Err(ReadError::Failed),
            }
        }
        open.late = 0;
        match pread(&open.file, bytes, offset) {
            Ok(read) => Ok(read),
            Err(Errno::INTR) => Err(ReadError::Later),
            Err(_) => Err(ReadError::Failed),
        }
    }

    fn close(&mut self, file: FileId) {
        if self.open.get_mut(file.0 as usize).and_then(Option::take).is_some() {
            self.free.push(file.0);
        }
    }

    fn unix_time(&mut self) -> Option<u64> {
        Some(Clock::unix_secs())
    }
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
