//! All sessions, by number and by client identifier.

use super::session::Session;
use crate::time::Instant;
use crate::wire::addr::Secret;
use core::hash::{Hash as _, Hasher as _};
use hashbrown::HashTable;
use siphasher::sip::SipHasher13;
use std::collections::BTreeSet;

/// There is no room for another session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// The sessions, in memory that is taken as it is used.
pub(super) struct Sessions {
    entries: Vec<Option<Session>>,
    free: Vec<u32>,
    by_client_id: HashTable<u32>,
    /// When something is to be done about a session without a connection.
    due: BTreeSet<(Instant, u32)>,
    len_max: u32,
    hasher: SipHasher13,
    stock: Stock,
}

/// How many sessions are looked at in one call for what they take.
const STOCK_PIECE: usize = 4_096;

/// What the sessions take, added up a piece at a time.
#[derive(Clone, Copy, Default)]
struct Stock {
    /// The session that is next, and what those before it take, in bytes.
    next: usize,
    sum: usize,
    /// What all took the last time.
    newest: usize,
}

impl Sessions {
    /// Room for `len_max` sessions. Peers choose the client identifiers, so `secret` keys the hash.
    pub(super) fn new(len_max: u32, secret: Secret) -> Sessions {
        Sessions {
            entries: Vec::new(),
            free: Vec::new(),
            by_client_id: HashTable::new(),
            due: BTreeSet::new(),
            len_max,
            hasher: SipHasher13::new_with_key(&secret.0),
            stock: Stock::default(),
        }
    }

    /// A number for `client_id` that nobody can guess, nor make another client have.
    pub(super) fn hash(&self, client_id: &str) -> u64 {
        let mut hasher = self.hasher;
        client_id.hash(&mut hasher);
        hasher.finish()
    }

    /// The session of `client_id`.
    pub(super) fn find(&self, client_id: &str) -> Option<u32> {
        let is_it = |&at: &u32| *self[at].client_id == *client_id;
        self.by_client_id.find(self.hash(client_id), is_it).copied()
    }

    /// Keeps `session`, whose client identifier no other has.
    ///
    /// # Errors
    ///
    /// When there are too many.
    pub(super) fn insert(&mut self, session: Session) -> Result<u32, Full> {
        if self.len() >= self.len_max as usize {
            return Err(Full);
        }
        let hash = self.hash(&session.client_id);
        let at = match self.free.pop() {
            Some(at) => {
                self.entries[at as usize] = Some(session);
                at
            }
            None => {
                self.entries.push(Some(session));
                u32::try_from(self.entries.len() - 1).expect("within the limit")
            }
        };
        let (entries, hasher) = (&self.entries, self.hasher);
        self.by_client_id.insert_unique(hash, at, |&at| {
            let mut hasher = hasher;
            if let Some(session) = &entries[at as usize] {
                session.client_id.hash(&mut hasher);
            }
            hasher.finish()
        });
        Ok(at)
    }

    /// Forgets session `at`.
    ///
    /// # Panics
    ///
    /// When there is none: that is a bug.
    pub(super) fn remove(&mut self, at: u32) -> Session {
        self.set_due(at, None);
        let hash = self.hash(&self[at].client_id);
        if let Ok(entry) = self.by_client_id.find_entry(hash, |&other| other == at) {
            entry.remove();
        }
        self.free.push(at);
        self.entries[at as usize].take().expect("a session")
    }

    /// Something is to be done about session `at` at `due`, or no more.
    pub(super) fn set_due(&mut self, at: u32, due: Option<Instant>) {
        let Some(session) = self.entries[at as usize].as_mut() else { return };
        let before = match due {
            Some(_) => session.extra_mut().due,
            None => session.extra().and_then(|extra| extra.due),
        };
        if let Some(before) = before {
            self.due.remove(&(before, at));
        }
        if let Some(extra) = session.extra_if_any() {
            extra.due = due;
        }
        if let Some(due) = due {
            self.due.insert((due, at));
        }
    }

    /// The session about which something is to be done at `now`.
    pub(super) fn next_due(&self, now: Instant) -> Option<u32> {
        let &(due, at) = self.due.first()?;
        (due <= now).then_some(at)
    }

    /// When something is to be done about a session.
    pub(super) fn first_due(&self) -> Option<Instant> {
        self.due.first().map(|&(due, _)| due)
    }

    /// Session `at`, if there is one.
    pub(super) fn get(&self, at: u32) -> Option<&Session> {
        self.entries.get(at as usize)?.as_ref()
    }

    /// Session `at`, if there is one.
    pub(super) fn get_mut(&mut self, at: u32) -> Option<&mut Session> {
        self.entries.get_mut(at as usize)?.as_mut()
    }

    /// How many numbers were given out: sessions have those below.
    pub(super) fn places(&self) -> u32 {
        u32::try_from(self.entries.len()).expect("within the limit")
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_client_id.len()
    }

    /// The memory that they take, in bytes, without their messages and but for what the heap adds.
    pub(super) fn memory(&self) -> usize {
        self.tables_memory() + memory_of(&self.entries)
    }

    /// The same, as far as it was gone through: another piece of the sessions is in each call.
    pub(super) fn take_stock(&mut self) -> usize {
        let Stock { next, sum, .. } = self.stock;
        let rest = self.entries.get(next..).unwrap_or_default();
        let piece = &rest[..rest.len().min(STOCK_PIECE)];
        let sum = sum + memory_of(piece);
        if piece.len() == rest.len() {
            self.stock = Stock { next: 0, sum: 0, newest: sum };
        } else {
            self.stock = Stock { next: next + piece.len(), sum, ..self.stock };
        }
        self.tables_memory() + self.stock.newest
    }

    fn tables_memory(&self) -> usize {
        self.entries.capacity() * size_of::<Option<Session>>()
            + self.free.capacity() * size_of::<u32>()
            + self.by_client_id.allocation_size()
            + self.due.len() * size_of::<(Instant, u32)>()
    }
}

/// What `sessions` take besides their own entries.
fn memory_of(sessions: &[Option<Session>]) -> usize {
    sessions.iter().flatten().map(Session::memory).sum()
}

impl core::ops::Index<u32> for Sessions {
    type Output = Session;

    fn index(&self, at: u32) -> &Session {
        self.entries[at as usize].as_ref().expect("a session")
    }
}

impl core::ops::IndexMut<u32> for Sessions {
    fn index_mut(&mut self, at: u32) -> &mut Session {
        self.entries[at as usize].as_mut().expect("a session")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::mqtt::codec::Version;

    #[test]
    fn stock_is_taken_a_piece_at_a_time_and_comes_to_all_of_it() {
        let mut sessions = Sessions::new(20_000, Secret([1; 16]));
        assert_eq!(sessions.take_stock(), sessions.memory());
        let count = 2 * STOCK_PIECE + 1;
        for n in 0..count {
            let session = Session::new(&format!("client-{n}"), Version::V5, 0);
            sessions.insert(session).expect("there is room");
        }
        let tables = sessions.tables_memory();
        let taken = [(); 3].map(|()| sessions.take_stock());
        assert_eq!(taken, [tables, tables, sessions.memory()]);
        sessions.remove(7);
        let taken = [(); 3].map(|()| sessions.take_stock());
        assert_eq!(taken.map(|bytes| bytes == sessions.memory()), [false, false, true]);
    }
}
