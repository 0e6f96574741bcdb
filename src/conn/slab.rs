//! The records: a slab of fixed capacity, touched as it fills.

use super::record::{Conn, NONE, State};
use super::wheel::Links;
use crate::memory::array::{Array, PageKind};
use crate::memory::prefetch::prefetch;
use core::fmt;
use rustix::io::Errno;

/// Names a connection for as long as it lives, and nothing after that.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnId {
    index: u32,
    generation: u16,
}

impl ConnId {
    /// The slot of the slab that the connection is in.
    pub const fn index(self) -> u32 {
        self.index
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

/// A fixed number of records. Free ones are linked through [`Conn::links`] and reused last in,
/// first out; ones never used are not even touched.
pub struct Slab {
    records: Array<Conn>,
    /// How many were ever used.
    touched: u32,
    free: u32,
    len: u32,
}

impl Slab {
    /// Room for `capacity` connections: 64 bytes of address space each.
    ///
    /// # Errors
    ///
    /// When there is not so much address space.
    pub fn new(capacity: u32) -> Result<Slab, Errno> {
        let records = Array::zeroed(capacity as usize)?;
        Ok(Slab { records, touched: 0, free: NONE, len: 0 })
    }

    /// Takes an unused record and returns its slot, or `None` when the slab is full. The record is
    /// [`Conn::FREE`] but for its generation: the caller gives it a state.
    pub fn insert(&mut self) -> Option<u32> {
        let index = if self.free != NONE {
            let index = self.free;
            self.free = self.records[index as usize].links.next;
            index
        } else if (self.touched as usize) < self.records.len() {
            self.touched += 1;
            self.touched - 1
        } else {
            return None;
        };
        let record = &mut self.records[index as usize];
        *record = Conn { generation: record.generation, ..Conn::FREE };
        self.len += 1;
        Some(index)
    }

    /// Makes the record at `index` unused. It must be out of the wheel and of the index.
    pub fn remove(&mut self, index: u32) {
        let record = &mut self.records[index as usize];
        debug_assert!(record.state != State::Free && !record.links.is_linked());
        *record = Conn { generation: record.generation.wrapping_add(1), ..Conn::FREE };
        record.links = Links { next: self.free, prev: NONE };
        self.free = index;
        self.len -= 1;
    }

    /// The name of the connection in slot `index`.
    pub fn id(&self, index: u32) -> ConnId {
        ConnId { index, generation: self.records[index as usize].generation }
    }

    /// The slot that `id` names, if its connection still lives.
    pub fn slot(&self, id: ConnId) -> Option<u32> {
        let record = self.records.get(id.index as usize)?;
        (record.state != State::Free && record.generation == id.generation).then_some(id.index)
    }

    /// Asks for the record at `index` to be in the cache soon.
    pub fn prefetch(&self, index: u32) {
        if let Some(record) = self.records.get(index as usize) {
            prefetch(record);
        }
    }

    /// How many connections there are.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there is no connection.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pages that the records are in.
    pub fn page_kind(&self) -> PageKind {
        self.records.kind()
    }

    /// How many slots have ever been used; all live ones are below.
    pub fn touched(&self) -> u32 {
        self.touched
    }
}

impl core::ops::Index<u32> for Slab {
    type Output = Conn;

    fn index(&self, index: u32) -> &Conn {
        &self.records[index as usize]
    }
}

impl core::ops::IndexMut<u32> for Slab {
    fn index_mut(&mut self, index: u32) -> &mut Conn {
        &mut self.records[index as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(slab: &mut Slab) -> Option<ConnId> {
        let index = slab.insert()?;
        slab[index].state = State::Established;
        Some(slab.id(index))
    }

    #[test]
    fn a_name_does_not_outlive_its_connection() {
        let mut slab = Slab::new(2).unwrap();
        let first = take(&mut slab).unwrap();
        assert_eq!(slab.slot(first), Some(0));
        slab.remove(0);
        assert_eq!(slab.slot(first), None, "free");
        let second = take(&mut slab).unwrap();
        assert_eq!(second.index(), first.index(), "the slot is used again");
        assert_eq!((slab.slot(first), slab.slot(second)), (None, Some(0)));
    }

    #[test]
    fn a_full_slab_refuses_and_does_not_grow() {
        let mut slab = Slab::new(2).unwrap();
        assert!(take(&mut slab).is_some() && take(&mut slab).is_some());
        assert_eq!(take(&mut slab), None);
        slab.remove(1);
        assert!(take(&mut slab).is_some() && take(&mut slab).is_none());
        assert_eq!((slab.touched(), slab.len()), (2, 2));
    }
}
