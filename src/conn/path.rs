//! Paths: a local address together with the Ethernet header that leads to the peer.
//!
//! A million connections through one gateway share one path, so a record needs two bytes for both.

use crate::wire::addr::Address;
use crate::wire::ethernet::EthernetHeader;
use core::hash::{Hash, Hasher};
use hashbrown::HashTable;
use siphasher::sip::SipHasher13;

/// How many paths there can be at once.
pub const PATHS_MAX: usize = 1 << 16;

/// A local address and the way to a next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// The local address.
    pub local: Address,
    /// The Ethernet header of frames to the next hop, VLAN tags included.
    pub ethernet: EthernetHeader,
}

/// The paths in use, each counted by the connections on it.
pub struct Paths {
    entries: Vec<(Path, u32)>,
    free: Vec<u16>,
    /// The one that was acquired last: most likely the next one, too.
    last: u16,
    index: HashTable<u16>,
    hasher: SipHasher13,
}

impl Paths {
    /// An empty table; `key` keeps peers on the link from choosing collisions.
    pub fn new(key: &[u8; 16]) -> Paths {
        Paths {
            entries: Vec::with_capacity(PATHS_MAX),
            free: Vec::with_capacity(PATHS_MAX),
            last: 0,
            index: HashTable::with_capacity(PATHS_MAX),
            hasher: SipHasher13::new_with_key(key),
        }
    }

    /// The number of `path`, counted once more, or `None` when all [`PATHS_MAX`] are in use.
    pub fn acquire(&mut self, path: Path) -> Option<u16> {
        if let Some((last, users @ 1..)) = self.entries.get_mut(usize::from(self.last))
            && *last == path
        {
            *users += 1;
            return Some(self.last);
        }
        self.last = self.look_up(path)?;
        Some(self.last)
    }

    fn look_up(&mut self, path: Path) -> Option<u16> {
        let hash = hash(self.hasher, &path);
        if let Some(&slot) = self.index.find(hash, |&slot| self.entries[slot as usize].0 == path) {
            self.entries[slot as usize].1 += 1;
            return Some(slot);
        }
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                let slot = u16::try_from(self.entries.len()).ok()?;
                self.entries.push((path, 0));
                slot
            }
        };
        self.entries[slot as usize] = (path, 1);
        let (entries, hasher) = (&self.entries, self.hasher);
        self.index.insert_unique(hash, slot, |&slot| self::hash(hasher, &entries[slot as usize].0));
        Some(slot)
    }

    /// Counts path `slot` once less; at zero it is forgotten.
    pub fn release(&mut self, slot: u16) {
        let (path, users) = &mut self.entries[slot as usize];
        *users -= 1;
        if *users == 0 {
            let hash = hash(self.hasher, path);
            if let Ok(entry) = self.index.find_entry(hash, |&other| other == slot) {
                entry.remove();
            }
            self.free.push(slot);
        }
    }

    /// How many paths are in use.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether no path is in use.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }
}

impl core::ops::Index<u16> for Paths {
    type Output = Path;

    fn index(&self, slot: u16) -> &Path {
        &self.entries[slot as usize].0
    }
}

fn hash(mut hasher: SipHasher13, path: &Path) -> u64 {
    path.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(n: u32) -> Path {
        let [_, a, b, c] = n.to_be_bytes();
        let ethernet = EthernetHeader::new([2, 0, 0, a, b, c], [2, 0, 0, 0, 0, 1], 0x0800);
        Path { local: Address::v4([10, 77, 0, 1]), ethernet }
    }

    #[test]
    fn connections_on_one_path_share_it_and_the_last_one_frees_it() {
        let mut paths = Paths::new(&[7; 16]);
        let a = paths.acquire(path(1)).unwrap();
        assert_eq!(paths.acquire(path(1)), Some(a));
        let b = paths.acquire(path(2)).unwrap();
        assert_ne!(a, b);
        paths.release(a);
        assert_eq!((paths.len(), paths[a]), (2, path(1)));
        paths.release(a);
        assert_eq!(paths.len(), 1);
        assert_eq!(paths.acquire(path(3)), Some(a), "the slot is used again");
        assert_eq!((paths[a], paths[b]), (path(3), path(2)));
    }

    #[test]
    fn a_full_table_refuses() {
        let mut paths = Paths::new(&[7; 16]);
        for n in 0..PATHS_MAX {
            assert!(paths.acquire(path(u32::try_from(n).unwrap())).is_some());
        }
        assert_eq!(paths.acquire(path(1 << 20)), None);
        assert!(paths.acquire(path(5)).is_some(), "known paths still work");
    }
}
