//! A fixed number of promoted connections, allocated at start, and their timers.

use super::device::Transmit;
use super::{Arrival, Handover, Promoted};
use crate::conn::delivery::Pusher;
use crate::conn::record::NONE;
use crate::conn::wheel::{Links, Timers};
use crate::time::{Instant, Tick};
use crate::wire::seq::SeqNumber;
use std::collections::VecDeque;

/// The fewest bytes that a buffer holds: more than one flight and one segment.
pub const BUFFER_MIN: u16 = 4096;

/// How much of what services push is queued on one connection at once: more waits.
pub const PUSHED_MAX: usize = 64;

/// A place of the pool.
pub struct Entry {
    /// The connection.
    pub promoted: Promoted,
    /// The slot of its record.
    pub conn: u32,
    /// When something was last acknowledged, or queued while nothing was out.
    pub progress: Tick,
    /// How many segments were sent again since then, up to 255.
    pub repeats: u8,
    /// When an acceptable segment last came.
    pub heard: Tick,
    /// When something was last received in order.
    pub received: Tick,
    /// When there is something to do.
    pub deadline: Tick,
    /// Whether a segment was taken and what follows from it is yet to be done.
    pub is_due: bool,
    /// Whether an ACK is owed that smoltcp takes for sent.
    pub owes_ack: bool,
    /// Whether the service waits for room, to send more.
    pub wants_room: bool,
    /// What services have pushed that is queued, and the number after the last byte of each.
    pub pushed: VecDeque<(SeqNumber, Pusher)>,
    links: Links,
}

impl Entry {
    /// Queues `bytes`, for which there must be room.
    pub fn write(&mut self, bytes: &[u8], now: Instant) {
        if bytes.is_empty() {
            return;
        }
        self.begin(now);
        let written = self.promoted.write(bytes);
        debug_assert_eq!(written, bytes.len(), "the caller has made sure of the room");
    }

    /// Closes this host's direction after what is queued.
    pub fn close(&mut self, now: Instant) {
        self.begin(now);
        self.promoted.close();
    }

    /// Forgets what was pushed and is acknowledged. Returns whether there is room to note more.
    pub fn has_room_for_pushed(&mut self) -> bool {
        let una = self.promoted.snd_una();
        while self.pushed.front().is_some_and(|(end, _)| !end.after(una)) {
            self.pushed.pop_front();
        }
        self.pushed.len() < PUSHED_MAX
    }

    /// Notes that `pusher` has pushed what is last in the queue; there must be room.
    pub fn note_pushed(&mut self, pusher: Pusher) {
        debug_assert!(self.pushed.len() < PUSHED_MAX);
        self.pushed.push_back((self.promoted.end(), pusher));
    }

    /// Something is to be queued: if nothing was, the time that it takes counts from now.
    fn begin(&mut self, now: Instant) {
        if !self.promoted.is_outstanding() {
            (self.progress, self.repeats) = (Tick::of(now), 0);
        }
    }
}

/// The pool.
pub struct Pool {
    entries: Vec<Entry>,
    free: Vec<u32>,
    buffer: u16,
    /// Holds one packet: an answer, or what is sent nowhere.
    scratch: Box<[u8]>,
}

impl Pool {
    /// Room for `count` connections that send packets of at most `mtu` bytes, with `buffer` bytes for
    /// each direction of each, at least [`BUFFER_MIN`]. That memory is touched as it is used.
    pub fn new(count: u32, buffer: u16, mtu: u16) -> Pool {
        let buffer = buffer.max(BUFFER_MIN);
        let entry = || Entry {
            promoted: Promoted::new(buffer),
            conn: NONE,
            progress: Tick(0),
            repeats: 0,
            heard: Tick(0),
            received: Tick(0),
            deadline: Tick(0),
            is_due: false,
            owes_ack: false,
            wants_room: false,
            pushed: VecDeque::with_capacity(PUSHED_MAX),
            links: Links::UNLINKED,
        };
        Pool {
            entries: (0..count).map(|_| entry()).collect(),
            free: (0..count).rev().collect(),
            buffer,
            scratch: vec![0; usize::from(mtu)].into(),
        }
    }

    /// The memory of one promoted connection, in bytes, for [`Pool::new`] with these arguments.
    pub fn bytes_each(buffer: u16, mtu: u16) -> usize {
        let pushed = PUSHED_MAX * size_of::<(SeqNumber, Pusher)>();
        size_of::<Entry>() + pushed + 2 * usize::from(buffer.max(BUFFER_MIN)) + usize::from(mtu)
    }

    /// How many connections there is room for.
    pub fn capacity(&self) -> usize {
        self.entries.len()
    }

    /// How many connections are promoted.
    pub fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Whether no connection is promoted.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether every place is taken.
    pub fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    /// How many bytes each direction of a connection holds.
    pub fn buffer(&self) -> u16 {
        self.buffer
    }

    /// Promotes the connection in slot `conn`, with `in_flight` sent and not yet acknowledged, and
    /// returns its place; `None` when all are taken.
    pub fn promote(
        &mut self,
        conn: u32,
        handover: &Handover,
        in_flight: &[u8],
        now: Instant,
    ) -> Option<u32> {
        let index = self.free.pop()?;
        let entry = &mut self.entries[index as usize];
        if !entry.promoted.adopt(handover, in_flight, now, &mut self.scratch) {
            debug_assert!(false, "smoltcp's handshake failed for {handover:?}");
            self.free.push(index);
            return None;
        }
        (entry.conn, entry.is_due) = (conn, false);
        (entry.owes_ack, entry.wants_room, entry.repeats) = (false, false, 0);
        (entry.progress, entry.heard, entry.received) =
            (Tick::of(now), Tick::of(now), Tick::of(now));
        Some(index)
    }

    /// Gives place `index` back. It must be out of the wheel.
    pub fn remove(&mut self, index: u32) {
        let entry = &mut self.entries[index as usize];
        debug_assert!(!entry.links.is_linked());
        entry.pushed.clear();
        (entry.conn, entry.is_due) = (NONE, false);
        self.free.push(index);
    }

    /// Gives connection `index` a received IP packet, which is rewritten. Returns the answer to it, an IP
    /// packet, and whether that acknowledges everything there is.
    pub fn receive(
        &mut self,
        index: u32,
        packet: &mut [u8],
        arrival: &Arrival,
        now: Instant,
    ) -> (Option<&[u8]>, bool) {
        let promoted = &mut self.entries[index as usize].promoted;
        let had = promoted.rcv_nxt();
        let len = promoted.receive(packet, arrival, now, &mut self.scratch);
        let is_final = len > 0 && promoted.rcv_nxt() != had && !promoted.has_early();
        ((len > 0).then_some(&self.scratch[..len]), is_final)
    }

    /// Sends what connection `index` can send now.
    pub fn send(&mut self, index: u32, now: Instant, transmit: &mut impl Transmit) {
        self.entries[index as usize].promoted.send(now, transmit, &mut self.scratch);
    }

    /// When [`Pool::send`] has something to do for connection `index`, at the latest; `None` if a
    /// segment comes first.
    pub fn poll_at(&mut self, index: u32, now: Instant) -> Option<Instant> {
        self.entries[index as usize].promoted.poll_at(now)
    }
}

impl core::ops::Index<u32> for Pool {
    type Output = Entry;

    fn index(&self, index: u32) -> &Entry {
        &self.entries[index as usize]
    }
}

impl core::ops::IndexMut<u32> for Pool {
    fn index_mut(&mut self, index: u32) -> &mut Entry {
        &mut self.entries[index as usize]
    }
}

impl Timers for Pool {
    fn links(&mut self, index: u32) -> &mut Links {
        &mut self.entries[index as usize].links
    }

    fn deadline(&self, index: u32) -> Option<Tick> {
        Some(self.entries[index as usize].deadline)
    }
}
