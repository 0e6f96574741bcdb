//! Tests only: files in memory, which are slow or end too early when they are told to.

use super::files::{FileId, Files, OpenError, Opened, ReadError};
use core::ffi::CStr;
use std::sync::{Arc, Mutex};

/// Sun, 06 Nov 1994 08:49:37 GMT, in seconds since 1970.
pub(crate) const UNIX_TIME: u64 = 784_111_777;

/// What a test and its service share.
#[derive(Clone, Default)]
pub(crate) struct MemoryFiles(Arc<Mutex<Inside>>);

#[derive(Default)]
struct Inside {
    files: Vec<(String, Vec<u8>)>,
    /// Which file each number means, while it is open.
    open: Vec<Option<usize>>,
    /// How many of the next reads find nothing in memory.
    late: usize,
    /// The most that one read gives, where that is limited.
    read_max: Option<usize>,
}

impl MemoryFiles {
    /// With these files; a name that ends in a slash is a directory, and one in `!` may not be read.
    pub(crate) fn new(files: &[(&str, &[u8])]) -> MemoryFiles {
        let files = files.iter().map(|(name, bytes)| (name.to_string(), bytes.to_vec())).collect();
        MemoryFiles(Arc::new(Mutex::new(Inside { files, ..Inside::default() })))
    }

    fn inside(&self) -> std::sync::MutexGuard<'_, Inside> {
        self.0.lock().expect("nobody panics with it")
    }

    /// How many are open.
    pub(crate) fn open_len(&self) -> usize {
        self.inside().open.iter().flatten().count()
    }

    /// The next `count` reads have to wait for the disk.
    pub(crate) fn be_late(&self, count: usize) {
        self.inside().late = count;
    }

    /// Every read gives `len` bytes at most.
    pub(crate) fn read_at_most(&self, len: usize) {
        self.inside().read_max = Some(len);
    }

    /// Cuts a file to `len` bytes.
    pub(crate) fn cut(&self, name: &str, len: usize) {
        let mut inside = self.inside();
        let (_, bytes) = inside.files.iter_mut().find(|(known, _)| known == name).expect("a file");
        bytes.truncate(len);
    }
}

impl Files for MemoryFiles {
    fn open(&mut self, path: &CStr) -> Result<Opened, OpenError> {
        let path = path.to_str().map_err(|_| OpenError::NotFound)?;
        assert!(!path.starts_with('/') && !path.split('/').any(|part| part == ".."), "{path}");
        let mut inside = self.inside();
        let directory = format!("{path}/");
        if inside.files.iter().any(|(name, _)| name.starts_with(&directory)) {
            return Err(OpenError::IsDirectory);
        }
        if inside.files.iter().any(|(name, _)| name.strip_suffix('!') == Some(path)) {
            return Err(OpenError::Forbidden);
        }
        let number = inside.files.iter().position(|(name, _)| name == path);
        let number = number.ok_or(OpenError::NotFound)?;
        let at = match inside.open.iter().position(Option::is_none) {
            Some(at) => at,
            None => {
                inside.open.push(None);
                inside.open.len() - 1
            }
        };
        inside.open[at] = Some(number);
        Ok(Opened {
            file: FileId(u32::try_from(at).expect("a few")),
            len: inside.files[number].1.len() as u64,
            modified_secs: UNIX_TIME - 86_400,
            modified_nanos: 0,
        })
    }

    fn read(&mut self, file: FileId, offset: u64, bytes: &mut [u8]) -> Result<usize, ReadError> {
        let mut inside = self.inside();
        if inside.late > 0 {
            inside.late -= 1;
            return Err(ReadError::Later);
        }
        let number = inside.open[file.0 as usize].expect("it is open");
        let rest = inside.files[number].1.get(usize::try_from(offset).expect("in memory")..);
        let rest = rest.unwrap_or_default();
        let len = rest.len().min(bytes.len()).min(inside.read_max.unwrap_or(usize::MAX));
        bytes[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn close(&mut self, file: FileId) {
        let closed = self.inside().open[file.0 as usize].take();
        assert!(closed.is_some(), "closed once");
    }

    fn unix_time(&mut self) -> Option<u64> {
        Some(UNIX_TIME)
    }
}
