//! Timers: a hierarchical wheel whose links lie inside the records that it times.
//!
//! Four levels of 256 slots. A slot of level 0 is one [`Tick`], one of level 1 is 256 ticks, and so
//! on; whatever `u32` of ticks a deadline is away, some level has a slot for it.
//!
//! Activity does not touch the wheel. A timer's slot is a promise to look at it then: when its slot
//! comes, the wheel asks [`Timers::deadline`], and puts a timer whose deadline has moved back in
//! further on. Only a deadline that comes *nearer* needs [`Wheel::schedule`] again.
//!
//! Work is bounded: every timer looked at, whether it expires or only moves, takes one from the
//! budget of [`Wheel::pop`].

use super::record::NONE;
use crate::time::Tick;
use bytemuck::Zeroable;

const LEVELS: usize = 4;
const SLOTS: usize = 256;
const SLOT_BITS: u32 = 8;
const WORDS: usize = SLOTS / 64;

/// In `Links::prev` of the first timer of a slot: this bit, and the slot's number.
const HEAD: u32 = 1 << 31;

/// A timer's place in the wheel: two indices, 8 bytes, inside the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Zeroable)]
#[repr(C)]
pub struct Links {
    /// The next timer of the slot, or [`NONE`].
    pub next: u32,
    /// The timer before, or the slot itself, or [`NONE`] when the timer is in no slot.
    pub prev: u32,
}

impl Links {
    /// Of a timer that is in no slot.
    pub const UNLINKED: Links = Links { next: NONE, prev: NONE };

    /// Whether the timer is in a slot.
    pub const fn is_linked(&self) -> bool {
        self.prev != NONE
    }
}

/// The records that a wheel times, by index.
pub trait Timers {
    /// Record `index`'s place in the wheel.
    fn links(&mut self, index: u32) -> &mut Links;

    /// When record `index` is due, or `None` when it needs no timer any more.
    fn deadline(&self, index: u32) -> Option<Tick>;

    /// Asks for record `index` to be in the cache soon: it is the next but one to be looked at. Few
    /// records are there anyway.
    fn prefetch(&self, _index: u32) {}
}

/// What [`Wheel::pop`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// This timer is due, and out of the wheel.
    Timer(u32),
    /// Nothing more is due now.
    Nothing,
    /// The budget is used up, and there may be more: come back after other work.
    Later,
}

/// The slots.
pub struct Wheel {
    heads: Vec<u32>,
    occupied: [[u64; WORDS]; LEVELS],
    now: Tick,
    len: usize,
}

impl Wheel {
    /// An empty wheel whose time is `now`.
    pub fn new(now: Tick) -> Wheel {
        Wheel { heads: vec![NONE; LEVELS * SLOTS], occupied: [[0; WORDS]; LEVELS], now, len: 0 }
    }

    /// The wheel's own time: never past that of the last [`Wheel::pop`].
    pub fn now(&self) -> Tick {
        self.now
    }

    /// How many timers are in the wheel.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no timer is in the wheel.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts timer `index` in for `deadline`, out of where it was.
    pub fn schedule(&mut self, timers: &mut impl Timers, index: u32, deadline: Tick) {
        self.cancel(timers, index);
        self.insert(timers, index, deadline);
    }

    /// Puts timer `index`, which is in no slot, in for `deadline`.
    pub fn insert(&mut self, timers: &mut impl Timers, index: u32, deadline: Tick) {
        debug_assert!(!timers.links(index).is_linked());
        let (level, slot) = self.place(deadline);
        let head = level * SLOTS + slot;
        let next = self.heads[head];
        if next != NONE {
            timers.links(next).prev = index;
        }
        #[expect(clippy::cast_possible_truncation, reason = "below LEVELS * SLOTS")]
        let prev = HEAD | head as u32;
        *timers.links(index) = Links { next, prev };
        self.heads[head] = index;
        self.occupied[level][slot / 64] |= 1 << (slot % 64);
        self.len += 1;
    }

    /// Takes timer `index` out, if it is in.
    pub fn cancel(&mut self, timers: &mut impl Timers, index: u32) {
        let Links { next, prev } = core::mem::replace(timers.links(index), Links::UNLINKED);
        if prev == NONE {
            return;
        }
        if next != NONE {
            timers.links(next).prev = prev;
        }
        if prev & HEAD == 0 {
            timers.links(prev).next = next;
        } else {
            let head = (prev & !HEAD) as usize;
            self.heads[head] = next;
            if next == NONE {
                let slot = head % SLOTS;
                self.occupied[head / SLOTS][slot / 64] &= !(1 << (slot % 64));
            }
        }
        self.len -= 1;
    }

    /// Takes out the next timer that is due at `now`, which never goes back; each timer looked at
    /// takes one from `budget`.
    pub fn pop(&mut self, timers: &mut impl Timers, now: Tick, budget: &mut usize) -> Due {
        loop {
            while let Some(index) = self.first_due() {
                if *budget == 0 {
                    return Due::Later;
                }
                *budget -= 1;
                self.take_first(timers, index);
                match timers.deadline(index) {
                    Some(deadline) if !self.now.reached(deadline) => {
                        self.schedule(timers, index, deadline);
                    }
                    Some(_) => return Due::Timer(index),
                    None => {}
                }
            }
            if self.now.reached(now) {
                return Due::Nothing;
            }
            self.now = self.next_due().filter(|due| now.reached(*due)).unwrap_or(now);
        }
    }

    /// Takes out timer `index`, the first of its slot. The next one of the slot is touched by that, and
    /// tells which one comes after it.
    fn take_first(&mut self, timers: &mut impl Timers, index: u32) {
        let next = timers.links(index).next;
        self.cancel(timers, index);
        if next != NONE {
            let after = timers.links(next).next;
            if after != NONE {
                timers.prefetch(after);
            }
        }
    }

    /// The next tick at which there is something to look at, at or after the wheel's own time.
    pub fn next_due(&self) -> Option<Tick> {
        let due = |level: usize| {
            let shift = SLOT_BITS * u32::try_from(level).ok()?;
            let here = self.now.0 >> shift;
            let ahead = self.distance_to_occupied(level, (here & 0xff) as usize)?;
            // Slots of higher levels are looked at when their first tick comes.
            let at = here.wrapping_add(ahead) << shift;
            Some(if ahead == 0 { self.now } else { Tick(at) })
        };
        (0..LEVELS).filter_map(due).min_by_key(|tick| tick.0.wrapping_sub(self.now.0))
    }

    /// The first timer of the slots that the wheel's time has come to, higher levels first.
    fn first_due(&self) -> Option<u32> {
        (0..LEVELS).rev().find_map(|level| {
            let slot = (self.now.0 >> (SLOT_BITS * u32::try_from(level).ok()?)) & 0xff;
            let head = self.heads[level * SLOTS + slot as usize];
            (head != NONE).then_some(head)
        })
    }

    /// The level and slot for a deadline: the lowest level on which it is less than a turn away.
    /// Deadlines that have passed get the slot of the wheel's own time.
    fn place(&self, deadline: Tick) -> (usize, usize) {
        let deadline = if self.now.reached(deadline) { self.now } else { deadline };
        let mut shift = 0;
        for level in 0..LEVELS {
            let ahead =
                (deadline.0 >> shift).wrapping_sub(self.now.0 >> shift) & (u32::MAX >> shift);
            if ahead < 1 << SLOT_BITS || level == LEVELS - 1 {
                return (level, ((deadline.0 >> shift) & 0xff) as usize);
            }
            shift += SLOT_BITS;
        }
        unreachable!("the last level takes every deadline")
    }

    /// How many slots after `from` (0 to 255, around the wheel) the first occupied one is.
    fn distance_to_occupied(&self, level: usize, from: usize) -> Option<u32> {
        let words = &self.occupied[level];
        // The word that `from` is in comes first with its upper bits, and last with its lower ones.
        let lower = (1u64 << (from % 64)) - 1;
        for step in 0..=WORDS {
            let word = (from / 64 + step) % WORDS;
            let bits = match step {
                0 => words[word] & !lower,
                WORDS => words[word] & lower,
                _ => words[word],
            };
            if bits != 0 {
                let slot = word * 64 + bits.trailing_zeros() as usize;
                return u32::try_from((slot + SLOTS - from) % SLOTS).ok();
            }
        }
        None
    }
}

#[cfg(test)]
#[path = "wheel_tests.rs"]
mod tests;
