//! What is underway: contents being received and files being sent, in a table of fixed size.

use super::body::Body;
use super::files::FileId;
use super::reply::{Exchange, Reply};
use crate::time::Instant;

/// A transfer on a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transfer {
    pub(super) exchange: Exchange,
    pub(super) stage: Stage,
    /// When the patience with it ends.
    pub(super) until: Instant,
}

/// How far it is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stage {
    /// A content is received and forgotten; the reply comes after it.
    Receiving { body: Body, reply: Reply },
    /// A content is received and sent back, in chunks or as it is.
    Echoing { body: Body, in_chunks: bool },
    /// A file is sent, from `offset` to `end`.
    Sending {
        file: FileId,
        offset: u64,
        end: u64,
        /// Whether it waits for the disk, and not for the peer.
        on_disk: bool,
    },
}

impl Stage {
    /// Whether some of the answer has been sent.
    pub(super) fn is_answered(&self) -> bool {
        !matches!(self, Stage::Receiving { .. })
    }

    /// The file that is open for it.
    pub(super) fn file(&self) -> Option<FileId> {
        match self {
            Stage::Receiving { reply, .. } => reply.file(),
            Stage::Echoing { .. } => None,
            Stage::Sending { file, .. } => Some(*file),
        }
    }
}

/// The transfers, by numbers that connections keep.
#[derive(Debug)]
pub(super) struct Transfers {
    entries: Vec<Option<Transfer>>,
    free: Vec<u32>,
}

impl Transfers {
    /// Room for `most`.
    pub(super) fn new(most: u32) -> Transfers {
        Transfers { entries: (0..most).map(|_| None).collect(), free: (0..most).rev().collect() }
    }

    /// Whether there is room for another.
    pub(super) fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    /// Adds one, if there is room.
    pub(super) fn insert(&mut self, transfer: Transfer) -> Option<u32> {
        let index = self.free.pop()?;
        self.entries[index as usize] = Some(transfer);
        Some(index)
    }

    pub(super) fn get(&self, index: u32) -> Option<&Transfer> {
        self.entries.get(index as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut Transfer> {
        self.entries.get_mut(index as usize)?.as_mut()
    }

    /// Takes one out.
    pub(super) fn remove(&mut self, index: u32) -> Option<Transfer> {
        let removed = self.entries.get_mut(index as usize)?.take()?;
        self.free.push(index);
        Some(removed)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_takes_few_bytes() {
        let len = size_of::<Option<Transfer>>() + size_of::<u32>();
        assert!(len <= 160, "{len} bytes, and docs/http.md says how many");
    }
}
