//! The connections: records, found by flow, on their paths.

use super::index::Index;
use super::invitations::Invitations;
use super::marks::Marks;
use super::path::{Path, Paths};
use super::prefix::{PrefixLimit, Prefixes};
use super::record::{Conn, State};
use super::slab::Slab;
use super::ticks::Ticks;
use crate::drops::DropReason;
use crate::memory::array::PageKind;
use crate::wire::addr::{Address, Endpoint, FlowHasher, FlowKey, Secret};
use crate::wire::plain::Plain;

/// The system refused memory for this many connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system has no room for the tables of {0} connections; ask for fewer")]
pub struct OutOfMemory(pub u32);

/// All connections of a shard.
pub struct Table {
    /// The records.
    pub slab: Slab,
    /// The paths that they are on.
    pub paths: Paths,
    /// When services asked to be woken.
    pub wakes: Ticks,
    /// Whose services wait for room to send, and have nothing in flight whose acknowledgment would
    /// bring it.
    pub waiting: Marks,
    /// Which services of others are to be called because one asked for it.
    pub invitations: Invitations,
    index: Index,
    hasher: FlowHasher,
    /// Only where they are limited.
    prefixes: Option<Prefixes>,
    changes: u64,
}

impl Table {
    /// Room for `capacity` connections, counted by the peers' prefixes if those have a limit;
    /// `secret` keys the hashes.
    ///
    /// # Errors
    ///
    /// When there is not so much memory.
    pub fn new(
        capacity: u32,
        limit: Option<PrefixLimit>,
        secret: Secret,
    ) -> Result<Table, OutOfMemory> {
        let prefixes = limit.map(|limit| Prefixes::new(limit, capacity, secret)).transpose()?;
        Ok(Table {
            slab: Slab::new(capacity).map_err(|_| OutOfMemory(capacity))?,
            paths: Paths::new(&secret.0),
            wakes: Ticks::new(capacity).map_err(|_| OutOfMemory(capacity))?,
            waiting: Marks::new(capacity).map_err(|_| OutOfMemory(capacity))?,
            invitations: Invitations::new(),
            index: Index::new(capacity).map_err(|_| OutOfMemory(capacity))?,
            hasher: FlowHasher::new(secret),
            prefixes,
            changes: 0,
        })
    }

    /// The memory of `capacity` connections, in bytes.
    pub fn bytes(capacity: u32, counts_prefixes: bool) -> u64 {
        let records = u64::from(capacity) * size_of::<Conn>() as u64;
        let prefixes = if counts_prefixes { Prefixes::bytes(capacity) } else { 0 };
        let waits = Ticks::bytes(capacity) + Marks::bytes(capacity);
        records + waits + Index::bytes(capacity) as u64 + prefixes
    }

    /// The hash of `flow`, for [`Table::find`].
    #[inline]
    pub fn hash(&self, flow: &FlowKey) -> u64 {
        self.hasher.hash(flow)
    }

    /// What makes the hashes.
    #[inline]
    pub fn hasher(&self) -> &FlowHasher {
        &self.hasher
    }

    /// Asks for what a search for `hash` looks at first to be in the cache soon.
    pub fn prefetch_index(&self, hash: u64) {
        self.index.prefetch(hash);
    }

    /// The slot that most likely is that of the connection with `hash`, if there is one; its record is
    /// asked for to be in the cache soon.
    #[inline]
    pub fn candidate(&self, hash: u64) -> Option<u32> {
        let candidate = self.index.candidate(hash);
        if let Some(slot) = candidate {
            self.slab.prefetch(slot);
        }
        candidate
    }

    /// As [`Table::find`], with what [`Table::candidate`] gave for `hash`, which `is_current` if nothing
    /// changed since.
    pub fn find_from(
        &self,
        candidate: Option<u32>,
        is_current: bool,
        flow: &FlowKey,
        hash: u64,
    ) -> Option<u32> {
        if is_current && self.is(candidate?, flow) {
            return candidate;
        }
        self.find(flow, hash)
    }

    /// The same for the flow of `plain`.
    #[inline(always)]
    pub fn find_plain(
        &self,
        candidate: Option<u32>,
        is_current: bool,
        plain: &Plain,
        hash: u64,
    ) -> Option<u32> {
        if is_current {
            let conn = &self.slab[candidate?];
            let local = &self.paths[conn.path].local;
            if plain.is_of((&conn.remote_addr, conn.remote_port), (local, conn.local_port)) {
                return candidate;
            }
        }
        self.find(&plain.flow(), hash)
    }

    /// The slot of the connection `flow`, whose hash is `hash`.
    pub fn find(&self, flow: &FlowKey, hash: u64) -> Option<u32> {
        self.index.find(hash, |slot| self.is(slot, flow))
    }

    /// Whether the connection in `slot` is `flow`.
    #[inline]
    fn is(&self, slot: u32, flow: &FlowKey) -> bool {
        let conn = &self.slab[slot];
        conn.remote_port == flow.remote.port
            && conn.local_port == flow.local.port
            && conn.remote_addr == flow.remote.addr
            && self.paths[conn.path].local == flow.local.addr
    }

    /// Adds a record for `flow`, which has none, and returns its slot.
    ///
    /// # Errors
    ///
    /// `PathsFull` or `TableFull`; nothing is changed then.
    pub fn insert(&mut self, flow: &FlowKey, path: Path, state: State) -> Result<u32, DropReason> {
        let path = self.paths.acquire(path).ok_or(DropReason::PathsFull)?;
        let Some(slot) = self.slab.insert() else {
            self.paths.release(path);
            return Err(DropReason::TableFull);
        };
        let conn = &mut self.slab[slot];
        conn.remote_addr = flow.remote.addr;
        conn.remote_port = flow.remote.port;
        conn.local_port = flow.local.port;
        conn.path = path;
        conn.state = state;
        self.index.insert(self.hash(flow), slot);
        if let Some(prefixes) = &mut self.prefixes {
            prefixes.add(&flow.remote.addr);
        }
        self.changes += 1;
        Ok(slot)
    }

    /// Whether a peer at `addr` may have one more connection.
    ///
    /// # Errors
    ///
    /// `PrefixFull`.
    pub fn check_prefix(&self, addr: &Address) -> Result<(), DropReason> {
        match self.prefixes.as_ref().is_some_and(|prefixes| prefixes.is_full(addr)) {
            true => Err(DropReason::PrefixFull),
            false => Ok(()),
        }
    }

    /// How many prefixes have connections, as far as they are counted.
    pub fn prefixes(&self) -> usize {
        self.prefixes.as_ref().map_or(0, Prefixes::len)
    }

    /// Puts the connection in `slot` on `path`, which has the same local address. Returns whether there
    /// was room for it.
    pub fn reroute(&mut self, slot: u32, path: Path) -> bool {
        let Some(path) = self.paths.acquire(path) else { return false };
        let old = core::mem::replace(&mut self.slab[slot].path, path);
        debug_assert_eq!(self.paths[old].local, self.paths[path].local, "the flow stays");
        self.paths.release(old);
        true
    }

    /// Removes the record in `slot`. It must be out of the wheel and without a flight.
    pub fn remove(&mut self, slot: u32) {
        let hash = self.hash(&self.flow(slot));
        self.index.remove(hash, slot);
        self.paths.release(self.slab[slot].path);
        if let Some(prefixes) = &mut self.prefixes {
            prefixes.remove(&self.slab[slot].remote_addr);
        }
        self.slab.remove(slot);
        self.changes += 1;
    }

    /// The flow of the connection in `slot`.
    #[inline]
    pub fn flow(&self, slot: u32) -> FlowKey {
        let conn = &self.slab[slot];
        let local = Endpoint { addr: self.paths[conn.path].local, port: conn.local_port };
        FlowKey { remote: conn.remote(), local }
    }

    /// The pages that the records and the index are in.
    pub fn page_kind(&self) -> PageKind {
        self.slab.page_kind().max(self.index.page_kind())
    }

    /// A number that changes whenever a connection is added or removed.
    pub fn changes(&self) -> u64 {
        self.changes
    }
}
