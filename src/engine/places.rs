//! Who gets a place among the promoted connections, and who gives way when all are taken.
//!
//! docs/decisions/0013-eviction.md says why so.

use super::Engine;
use super::output::Output;
use super::promoted::ROOM_PART;
use crate::conn::record::{CLOSE_DUE, NONE, PROMOTED};
use crate::frame::FramePool;
use crate::service::Service;
use crate::tcp::promoted::Handover;
use crate::tcp::timing::{R1, R1_TIMEOUT};
use crate::time::{Instant, Tick};

/// How many places are looked at in one tick, however many connections need one.
const LOOKS_PER_TICK: u32 = 64;

/// Goes round the places, and stops where one can be taken, as the hand of a clock does.
#[derive(Default)]
pub(super) struct Hand {
    /// The next place to look at.
    at: u32,
    /// When it last moved, and how many more places are looked at in that tick.
    tick: Tick,
    looks: u32,
}

impl Hand {
    /// The next of `capacity` places to look at; `None` when those of the tick were.
    fn advance(&mut self, tick: Tick, capacity: u32) -> Option<u32> {
        if self.tick != tick {
            (self.tick, self.looks) = (tick, LOOKS_PER_TICK.min(capacity));
        }
        self.looks = self.looks.checked_sub(1)?;
        let at = self.at;
        self.at = (at + 1) % capacity;
        Some(at)
    }
}

impl<S: Service> Engine<S> {
    /// Has the connection in `slot` carried by a socket, if it is not already, and if there is a place
    /// for it, which another may have to give up. Returns its place.
    pub(super) fn promote<P: FramePool>(
        &mut self,
        slot: u32,
        now: Instant,
        output: &mut Output<'_, P>,
    ) -> Option<u32> {
        let promoted = self.table.slab[slot].promoted();
        if promoted.is_some() {
            return promoted;
        }
        if !self.can_promote(slot) {
            return None;
        }
        if !self.find_place(now, output) {
            self.counters.promotions_refused += 1;
            return None;
        }
        let conn = &self.table.slab[slot];
        let flight = conn.flight;
        let in_flight = match flight {
            NONE => &[][..],
            flight => self.flights.payload(flight, &self.outbox.payloads),
        };
        let handover = Handover::of(conn, self.table.flow(slot));
        let Some(index) = self.promoted.promote(slot, &handover, in_flight, now) else {
            self.counters.promotions_refused += 1;
            return None;
        };
        let waits_for_ack = flight != NONE && self.flights[flight].wants_room;
        let wants_room = self.table.waiting.take(slot) || waits_for_ack;
        self.drop_flight(slot);
        self.table.slab[slot].flight = PROMOTED | index;
        // Of the record's timers only a wake is left.
        match self.table.wakes.get(slot) {
            Some(_) => self.start_timer(slot),
            None => self.cancel_timer(slot),
        }
        self.counters.promotions += 1;
        self.counters.promoted += 1;
        if wants_room {
            self.want_promoted_room(index);
        }
        self.schedule_promoted(slot, index, now);
        Some(index)
    }

    /// Whether the connection in `slot` may be promoted, if there is a place for it.
    pub(super) fn can_promote(&self, slot: u32) -> bool {
        let conn = &self.table.slab[slot];
        self.promoted.capacity() > 0 && conn.state.can_send() && !conn.has(CLOSE_DUE)
    }

    /// Finds a place for a connection that has none. When all are taken, one that has made no progress for
    /// as long as R1 takes gives way; the places are looked at in turn, some in each tick. Returns whether
    /// there is one.
    fn find_place<P: FramePool>(&mut self, now: Instant, output: &mut Output<'_, P>) -> bool {
        if !self.promoted.is_full() {
            return true;
        }
        let tick = Tick::of(now);
        let capacity = u32::try_from(self.promoted.capacity()).unwrap_or(u32::MAX);
        while let Some(index) = self.hand.advance(tick, capacity) {
            let stalled = self.stalled_since(index);
            if stalled.is_some_and(|since| tick.reached(since.after(R1_TIMEOUT))) {
                self.take_place(index, now, output);
                return true;
            }
        }
        false
    }

    /// Since when promoted connection `index` makes no progress; `None` if it is not its peer that would
    /// have to make any.
    fn stalled_since(&self, index: u32) -> Option<Tick> {
        let entry = &self.promoted[index];
        let much = usize::from(self.promoted.buffer()) / ROOM_PART;
        let is_unread = entry.promoted.unread_len() > 0;
        if entry.is_due {
            // What follows from its segments is yet to be done.
            return None;
        }
        if is_unread && !entry.wants_room && entry.promoted.room() >= much {
            // The service lacks the rest of a message, not room to answer. To acknowledge what others
            // push is no progress with that.
            return Some(entry.received);
        }
        if entry.promoted.is_outstanding() {
            // As of a flight, which the time alone does not tell: this host may be what is late.
            if self.table.slab[entry.conn].window() > 0 && entry.repeats < R1 {
                return None;
            }
            return Some(entry.progress.later(entry.received));
        }
        (!entry.wants_room).then_some(entry.received)
    }

    /// Takes place `index`: its connection is parked if its record can go on alone, and ends otherwise.
    fn take_place<P: FramePool>(&mut self, index: u32, now: Instant, output: &mut Output<'_, P>) {
        let slot = self.promoted[index].conn;
        self.counters.places_taken += 1;
        if self.is_busy(slot, index) {
            return self.evict(slot, now, output);
        }
        // What came early was not acknowledged, so it may go (RFC 2018 section 8).
        self.drop_flight(slot);
    }
}
