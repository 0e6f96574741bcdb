//! What the service needs from its host: files below a root, and the date.
//!
//! A service does no I/O, so who runs it gives it a [`Files`]: `tenmil serve` a directory
//! ([`crate::shard::directory`]), a test a table in memory (docs/decisions/0019-files-through-a-seam.md).

use core::ffi::CStr;

/// An open file, in the words of the [`Files`] that opened it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId(pub u32);

/// What is known of a file when it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The file, open until [`Files::close`].
    pub file: FileId,
    /// Its length in bytes.
    pub len: u64,
    /// When it was last modified, in seconds since 1970.
    pub modified_secs: u64,
    /// The rest of that time, in nanoseconds.
    pub modified_nanos: u32,
}

/// Why a file was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// There is no such file, or it is outside of the root.
    NotFound,
    /// It may not be read, or is no regular file.
    Forbidden,
    /// It is a directory.
    IsDirectory,
    /// As many files as can be are open.
    Busy,
    /// It could not be opened.
    Failed,
}

/// Why nothing was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The bytes are not in memory yet, and were asked for: try again in some milliseconds.
    Later,
    /// They could not be read.
    Failed,
}

/// Files below a root, which nobody gets out of, and the date.
pub trait Files {
    /// Opens the regular file at `path`, which is relative to the root, without `.` and `..`.
    fn open(&mut self, path: &CStr) -> Result<Opened, OpenError>;

    /// Reads from `offset` on into `bytes`, and returns how many bytes that were: fewer than asked for
    /// only at the end, or where it could not be helped, and 0 past the end.
    fn read(&mut self, file: FileId, offset: u64, bytes: &mut [u8]) -> Result<usize, ReadError>;

    /// Closes a file.
    fn close(&mut self, file: FileId);

    /// Seconds since 1970, or `None` where there is no clock: answers then have no `Date`, as RFC 9110
    /// section 6.6.1 asks for.
    fn unix_time(&mut self) -> Option<u64>;
}

/// Neither files nor a clock.
#[derive(Clone, Copy, Debug)]
pub struct NoFiles;

impl Files for NoFiles {
    fn open(&mut self, _: &CStr) -> Result<Opened, OpenError> {
        Err(OpenError::NotFound)
    }

    fn read(&mut self, _: FileId, _: u64, _: &mut [u8]) -> Result<usize, ReadError> {
        Err(ReadError::Failed)
    }

    fn close(&mut self, _: FileId) {}

    fn unix_time(&mut self) -> Option<u64> {
        None
    }
}
