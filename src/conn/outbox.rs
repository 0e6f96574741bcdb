//! What is to be sent to connections besides the answers of their own service: deliveries, in order
//! for each connection, and broadcasts.
//!
//! A delivery that cannot be made at once waits in its connection's line, with those that come for the
//! same connection behind it, so nobody else waits for that. The engine works the outbox off
//! (`engine::push`), a piece at a time.

use super::broadcast::{Audience, Broadcasts, Follower, Progress};
use super::delivery::{Delivery, Errand, Full, Outcome, Pusher, Sender};
use super::index::Index;
use super::payload::{PAYLOAD_LEN_MAX, Payload, Payloads};
use super::record::NONE;
use super::slab::ConnId;
use crate::time::{Duration, Instant, Tick};
use rustix::io::Errno;
use std::collections::VecDeque;

/// How many deliveries wait for one connection at most: past that they are [`Outcome::Full`].
pub const LINE_MAX: u16 = 64;

/// What an outbox holds at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Deliveries that were accepted and not yet made.
    pub deliveries_max: u32,
    /// Memory for their payloads, and for those of broadcasts until they are acknowledged, in bytes. Each
    /// takes a power of two of 256 bytes.
    pub payload_bytes_max: u32,
    /// Broadcasts at once: one is under way, the others wait for it.
    pub broadcasts_max: u8,
    /// Pushes sent and not acknowledged at once, before they are overdue: what the rings of both sides
    /// hold. Those that wait for longer than a second do not count. With peers that are far away, more
    /// are underway at the same pace.
    pub underway_max: u32,
    /// How long a delivery waits for room on its connection.
    pub wait: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            deliveries_max: 65_536,
            payload_bytes_max: 16 << 20,
            broadcasts_max: 64,
            underway_max: 2_048,
            wait: Duration::from_secs(10),
        }
    }
}

impl Limits {
    /// Nothing can be put in.
    pub const NOTHING: Limits = Limits {
        deliveries_max: 0,
        payload_bytes_max: 0,
        broadcasts_max: 0,
        underway_max: 0,
        wait: Duration::ZERO,
    };
}

/// Deliveries in order.
#[derive(Clone, Copy)]
struct Queue {
    first: u32,
    last: u32,
}

impl Queue {
    const EMPTY: Queue = Queue { first: NONE, last: NONE };
}

/// Deliveries that wait for one connection.
struct Line {
    /// The slot of the connection, or of those that were in it one after the other.
    slot: u32,
    len: u16,
    queue: Queue,
}

/// Deliveries and broadcasts.
pub struct Outbox {
    limits: Limits,
    /// The longest payload that a connection could take, in bytes.
    len_max: usize,
    /// The payloads.
    pub payloads: Payloads,
    deliveries: Vec<Option<Delivery>>,
    free: Vec<u32>,
    /// Deliveries not tried yet.
    fresh: Queue,
    lines: Vec<Line>,
    lines_free: Vec<u32>,
    /// Finds a line by its slot.
    by_slot: Index,
    /// The lines, in the order in which they are tried.
    turns: VecDeque<u32>,
    /// The broadcasts.
    pub broadcasts: Broadcasts,
    /// What was not accepted.
    pub refused: u64,
}

impl Outbox {
    /// An empty outbox for payloads of at most `len_max` bytes.
    ///
    /// # Errors
    ///
    /// When there is not so much memory.
    pub fn new(limits: Limits, len_max: u16) -> Result<Outbox, Errno> {
        let count = limits.deliveries_max as usize;
        Ok(Outbox {
            limits,
            len_max: usize::from(len_max).min(PAYLOAD_LEN_MAX),
            payloads: Payloads::new(limits.payload_bytes_max)?,
            deliveries: Vec::with_capacity(count),
            free: Vec::with_capacity(count),
            fresh: Queue::EMPTY,
            lines: Vec::with_capacity(count),
            lines_free: Vec::with_capacity(count),
            by_slot: Index::new(limits.deliveries_max)?,
            turns: VecDeque::with_capacity(count),
            broadcasts: Broadcasts::new(limits.broadcasts_max),
            refused: 0,
        })
    }

    /// The most memory that an outbox with `limits` takes, in bytes.
    pub fn memory_max(limits: &Limits) -> u64 {
        let each = size_of::<Option<Delivery>>() + size_of::<Line>() + 3 * size_of::<u32>();
        let count = limits.deliveries_max;
        u64::from(count) * each as u64
            + Index::bytes(count) as u64
            + Payloads::memory_max(limits.payload_bytes_max)
    }

    /// Accepts `bytes` for each connection of `to`, and returns for how many: all, unless it gets full.
    pub fn push_all(
        &mut self,
        to: impl IntoIterator<Item = ConnId>,
        bytes: &[u8],
        pusher: Pusher,
        now: Instant,
    ) -> usize {
        let mut accepted = 0;
        let mut to = to.into_iter();
        if let Some(payload) = self.keep(bytes) {
            for to in to.by_ref() {
                self.payloads.retain(payload);
                if self.add(to, Errand::Send(payload), Sender::Service(pusher), now).is_err() {
                    self.payloads.release(payload);
                    self.refused += 1;
                    break;
                }
                accepted += 1;
            }
            self.payloads.release(payload);
        }
        self.refused += to.count() as u64;
        accepted
    }

    /// Accepts `bytes` for connection `to`.
    ///
    /// # Errors
    ///
    /// [`Full`]: who asked has been told, too.
    pub fn push(
        &mut self,
        to: ConnId,
        bytes: &[u8],
        sender: Sender,
        now: Instant,
    ) -> Result<(), Full> {
        let Some(payload) = self.keep(bytes) else { return self.refuse(sender) };
        self.add(to, Errand::Send(payload), sender, now).or_else(|sender| {
            self.payloads.release(payload);
            self.refuse(sender)
        })
    }

    /// Has connection `to` closed after what was accepted for it before.
    ///
    /// # Errors
    ///
    /// [`Full`]: who asked has been told, too.
    pub fn close(&mut self, to: ConnId, sender: Sender, now: Instant) -> Result<(), Full> {
        self.add(to, Errand::Close, sender, now).or_else(|sender| self.refuse(sender))
    }

    fn refuse(&mut self, sender: Sender) -> Result<(), Full> {
        self.refused += 1;
        if let Sender::Asker(notice) = sender {
            notice(Outcome::Full);
        }
        Err(Full)
    }

    /// Accepts a broadcast of `bytes`.
    ///
    /// # Errors
    ///
    /// [`Full`]: who asked has been told, too; a service has not.
    pub fn broadcast(
        &mut self,
        audience: Audience,
        bytes: &[u8],
        follower: Follower,
    ) -> Result<(), Full> {
        if !self.broadcasts.is_full()
            && let Some(payload) = self.keep(bytes)
        {
            self.broadcasts.add(audience, payload, follower);
            return Ok(());
        }
        self.refused += 1;
        if let Follower::Asker(mut report) = follower {
            report(&Progress { is_done: true, is_refused: true, ..Progress::default() });
        }
        Err(Full)
    }

    /// Keeps `bytes`, if any connection could take so many.
    fn keep(&mut self, bytes: &[u8]) -> Option<Payload> {
        if bytes.len() > self.len_max {
            return None;
        }
        self.payloads.insert(bytes)
    }

    fn add(
        &mut self,
        to: ConnId,
        errand: Errand,
        sender: Sender,
        now: Instant,
    ) -> Result<(), Sender> {
        let at = self.new_delivery(to, errand, sender, Tick::of(now))?;
        self.append(at, |outbox| &mut outbox.fresh);
        Ok(())
    }

    fn new_delivery(
        &mut self,
        to: ConnId,
        errand: Errand,
        sender: Sender,
        since: Tick,
    ) -> Result<u32, Sender> {
        if self.is_full() {
            return Err(sender);
        }
        let delivery = Some(Delivery { to, errand, since, sender, next: NONE });
        if let Some(at) = self.free.pop() {
            self.deliveries[at as usize] = delivery;
            return Ok(at);
        }
        self.deliveries.push(delivery);
        Ok(u32::try_from(self.deliveries.len() - 1).unwrap_or(NONE))
    }

    /// Puts delivery `at` at the end of a queue.
    fn append(&mut self, at: u32, queue: impl Fn(&mut Outbox) -> &mut Queue) {
        let Queue { last, .. } = *queue(self);
        match last {
            NONE => queue(self).first = at,
            last => self.delivery_mut(last).next = at,
        }
        queue(self).last = at;
    }

    /// The delivery at `at`.
    ///
    /// # Panics
    ///
    /// When there is none: that is a bug.
    pub fn delivery(&self, at: u32) -> &Delivery {
        self.deliveries[at as usize].as_ref().expect("a delivery")
    }

    fn delivery_mut(&mut self, at: u32) -> &mut Delivery {
        self.deliveries[at as usize].as_mut().expect("a delivery")
    }

    /// The next delivery that was not tried yet.
    pub fn first_fresh(&self) -> Option<u32> {
        (self.fresh.first != NONE).then_some(self.fresh.first)
    }

    /// Takes the next fresh delivery out of the outbox.
    pub fn take_fresh(&mut self) -> Option<Delivery> {
        let at = self.first_fresh()?;
        self.fresh.first = self.delivery(at).next;
        if self.fresh.first == NONE {
            self.fresh = Queue::EMPTY;
        }
        self.free.push(at);
        self.deliveries[at as usize].take()
    }

    /// Whether deliveries wait for the connection in `slot`.
    pub fn has_line(&self, slot: u32) -> bool {
        !self.turns.is_empty() && self.line_of(slot).is_some()
    }

    fn line_of(&self, slot: u32) -> Option<u32> {
        self.by_slot.find(hash(slot), |line| self.lines[line as usize].slot == slot)
    }

    /// Has `delivery` wait in its connection's line.
    ///
    /// # Errors
    ///
    /// The delivery, when its line is too long, or there are too many.
    pub fn wait(&mut self, delivery: Delivery) -> Result<(), Delivery> {
        let slot = delivery.to.index();
        let line = self.line_of(slot);
        if line.is_some_and(|line| self.lines[line as usize].len >= LINE_MAX) {
            return Err(delivery);
        }
        let Delivery { to, errand, since, sender, next } = delivery;
        let at = self.new_delivery(to, errand, sender, since).map_err(|sender| Delivery {
            to,
            errand,
            since,
            sender,
            next,
        })?;
        let line = line.unwrap_or_else(|| self.new_line(slot));
        self.append(at, |outbox| &mut outbox.lines[line as usize].queue);
        self.lines[line as usize].len += 1;
        Ok(())
    }

    fn new_line(&mut self, slot: u32) -> u32 {
        let line = Line { slot, len: 0, queue: Queue::EMPTY };
        let at = match self.lines_free.pop() {
            Some(at) => {
                self.lines[at as usize] = line;
                at
            }
            None => {
                self.lines.push(line);
                u32::try_from(self.lines.len() - 1).unwrap_or(NONE)
            }
        };
        self.by_slot.insert(hash(slot), at);
        self.turns.push_back(at);
        at
    }

    /// Whether a delivery of a broadcast may wait: in half of the places, the others are for those that
    /// are pushed.
    pub fn has_room_to_wait(&self) -> bool {
        self.len() < self.limits.deliveries_max as usize / 2
    }

    /// How many connections have deliveries that wait.
    pub fn lines(&self) -> usize {
        self.turns.len()
    }

    /// The next delivery of the line whose turn it is.
    pub fn first_waiting(&self) -> Option<u32> {
        let line = *self.turns.front()?;
        Some(self.lines[line as usize].queue.first)
    }

    /// Takes the next delivery of the line whose turn it is out of the outbox, and says whether it was
    /// the last one: then the line is gone.
    pub fn take_waiting(&mut self) -> Option<(Delivery, bool)> {
        let at = self.first_waiting()?;
        let line = *self.turns.front()?;
        let next = self.delivery(at).next;
        let entry = &mut self.lines[line as usize];
        entry.queue.first = next;
        entry.len -= 1;
        let slot = entry.slot;
        if next == NONE {
            self.by_slot.remove(hash(slot), line);
            self.turns.pop_front();
            self.lines_free.push(line);
        }
        self.free.push(at);
        Some((self.deliveries[at as usize].take()?, next == NONE))
    }

    /// It is the next line's turn.
    pub fn next_turn(&mut self) {
        if let Some(line) = self.turns.pop_front() {
            self.turns.push_back(line);
        }
    }

    /// Whether `delivery` has waited for too long.
    pub fn is_late(&self, since: Tick, now: Instant) -> bool {
        Tick::of(now).reached(since.after(self.limits.wait))
    }

    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.fresh.first == NONE && self.turns.is_empty() && self.broadcasts.is_idle()
    }

    /// Whether there are as many deliveries as there can be.
    pub fn is_full(&self) -> bool {
        self.len() >= self.limits.deliveries_max as usize
    }

    /// Deliveries that were accepted and not yet made.
    pub fn len(&self) -> usize {
        self.deliveries.len() - self.free.len()
    }

    /// Everything that refers to a payload, for tests.
    #[cfg(test)]
    pub(crate) fn payloads_referred_to(&self) -> impl Iterator<Item = Payload> + '_ {
        let sent = self.deliveries.iter().flatten().filter_map(|delivery| match delivery.errand {
            Errand::Send(payload) => Some(payload),
            Errand::Close => None,
        });
        sent.chain(self.broadcasts.payloads())
    }
}

/// Spreads slots, of which peers choose none.
fn hash(slot: u32) -> u64 {
    // 2^64 over the golden ratio (Knuth, TAOCP 3, section 6.4).
    u64::from(slot).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
