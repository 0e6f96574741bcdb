//! Who is connected, and when the others try again.
//!
//! A seat takes 16 bytes, and 4 for each record of the engine that say whose it is; both are touched when
//! first used, and neither is there for those who do not reconnect. One wheel times all seats: those that
//! wait, and those whose handshake or close takes too long. Nothing is allocated after the start.

use super::backoff::{Backoff, Jitter};
use crate::conn::record::NONE;
use crate::conn::slab::ConnId;
use crate::conn::table::OutOfMemory;
use crate::conn::wheel::{Due, Links, Timers, Wheel};
use crate::memory::array::Array;
use crate::time::{Duration, Instant, Tick};
use bytemuck::Zeroable;

/// Where a seat is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Zeroable)]
#[repr(u8)]
enum Phase {
    /// It was never tried.
    Untried = 0,
    /// It has ended before it was open; how long it is to wait is not drawn yet.
    Failed,
    /// The same, and it was open since `at`.
    Lost,
    /// The same, and it had proved itself.
    LostProved,
    /// It waits until `at`, in the wheel.
    Waiting,
    /// It is due, in line.
    Ready,
    /// Its handshake goes on, until `at` at the longest.
    Dialing,
    /// It is open, since `at`.
    Open,
    /// It is being closed, until `at` at the longest.
    Closing,
    /// It is not to be tried again.
    Retired,
}

/// A client between two connections, and during one.
#[derive(Clone, Copy, Debug, Zeroable)]
#[repr(C)]
struct Seat {
    /// Its place in the wheel, or in a line.
    links: Links,
    at: Tick,
    /// How often it was tried anew since a connection proved itself.
    retries: u8,
    phase: Phase,
    /// How many connections it had before, modulo 2^16.
    incarnation: u16,
}

const _: () = assert!(size_of::<Seat>() == 16);

impl Seat {
    const NEW: Seat = Seat {
        links: Links::UNLINKED,
        at: Tick(0),
        retries: 0,
        phase: Phase::Untried,
        incarnation: 0,
    };
}

struct Timed(Array<Seat>);

impl Timers for Timed {
    fn links(&mut self, index: u32) -> &mut Links {
        &mut self.0[index as usize].links
    }

    fn deadline(&self, index: u32) -> Option<Tick> {
        let seat = &self.0[index as usize];
        let is_timed = matches!(seat.phase, Phase::Waiting | Phase::Dialing | Phase::Closing);
        is_timed.then_some(seat.at)
    }
}

impl Timed {
    fn seat(&mut self, index: u32) -> &mut Seat {
        &mut self.0[index as usize]
    }
}

/// Seats one behind the other, linked by `links.next`.
#[derive(Clone, Copy, Debug)]
struct Line {
    first: u32,
    last: u32,
}

impl Line {
    const EMPTY: Line = Line { first: NONE, last: NONE };

    fn push(&mut self, seats: &mut Timed, seat: u32) {
        seats.seat(seat).links = Links::UNLINKED;
        match self.last {
            NONE => self.first = seat,
            last => seats.seat(last).links.next = seat,
        }
        self.last = seat;
    }

    fn pop(&mut self, seats: &mut Timed) -> Option<u32> {
        let seat = self.first;
        if seat == NONE {
            return None;
        }
        self.first = core::mem::replace(&mut seats.seat(seat).links, Links::UNLINKED).next;
        if self.first == NONE {
            self.last = NONE;
        }
        Some(seat)
    }
}

/// What a connection was when it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Was {
    /// None of a seat's.
    Nobodys,
    /// Its handshake went on.
    Dialing,
    /// It was open.
    Open,
}

/// A seat that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The seat's number.
    pub seat: u32,
    /// How many connections it had before, modulo 2^16.
    pub incarnation: u16,
    /// Whether it is tried for the first time.
    pub is_first: bool,
}

/// How long a seat stands in line while it cannot be tried: a neighbour that does not answer three
/// questions, a second apart, is not there.
const LINE_PATIENCE: Duration = Duration::from_secs(3);

/// How many seconds of attempts are told apart.
pub const SECONDS_MAX: usize = 3_600;

/// What became of the seats.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Attempts after the first one of each seat.
    pub retries: u64,
    /// Retries that came to an open connection.
    pub reconnects: u64,
    /// Retries by the second in which they were made, from the first of them on; those after an hour count
    /// in its last second.
    pub retries_by_second: Vec<u32>,
    /// How often connections were lost after all had been open, until all were open again.
    pub outages: u64,
    /// The longest of these.
    pub outage_longest: Duration,
}

/// All seats of a client.
pub struct Seats {
    backoff: Backoff,
    /// How long a handshake, or a close, may take.
    patience: Duration,
    seats: Timed,
    count: u32,
    /// The seat in each slot of the slab, and one more; 0 for none.
    of_slot: Array<u32>,
    wheel: Wheel,
    jitter: Jitter,
    /// The seats from here on were never tried.
    untried: u32,
    ready: Line,
    ended: Line,
    open: u32,
    busy: u32,
    /// Whether nobody is to be tried again.
    stopped: bool,
    record: Record,
    first_retry: Option<Instant>,
    was_full: bool,
    outage: Option<Instant>,
}

impl Seats {
    /// `count` seats, for an engine with `slots` records, none of which is connected.
    ///
    /// # Errors
    ///
    /// When the system has no memory for them.
    pub fn new(
        count: u32,
        slots: u32,
        backoff: Backoff,
        patience: Duration,
        jitter: Jitter,
    ) -> Result<Seats, OutOfMemory> {
        Ok(Seats {
            backoff,
            patience,
            seats: Timed(Array::zeroed(count as usize).map_err(|_| OutOfMemory(count))?),
            count,
            of_slot: Array::zeroed(slots as usize).map_err(|_| OutOfMemory(slots))?,
            wheel: Wheel::new(Tick(0)),
            jitter,
            untried: 0,
            ready: Line::EMPTY,
            ended: Line::EMPTY,
            open: 0,
            busy: 0,
            stopped: false,
            record: Record {
                retries_by_second: Vec::with_capacity(SECONDS_MAX),
                ..Record::default()
            },
            first_retry: None,
            was_full: false,
            outage: None,
        })
    }

    /// The memory of so many seats for an engine with so many records, in bytes.
    pub const fn bytes(count: u32, slots: u32) -> u64 {
        count as u64 * size_of::<Seat>() as u64 + slots as u64 * size_of::<u32>() as u64
    }

    /// How many seats there are.
    pub fn len(&self) -> u32 {
        self.count
    }

    /// Whether there is no seat.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many are open.
    pub fn open(&self) -> u32 {
        self.open
    }

    /// How many handshakes and closes go on.
    pub fn busy(&self) -> u32 {
        self.busy
    }

    /// What became of them.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The seat of the connection in slot `slot`.
    pub fn seat_in(&self, slot: u32) -> Option<u32> {
        self.of_slot.get(slot as usize)?.checked_sub(1)
    }

    /// Whether some were lost after all had been open, and not all are back.
    pub fn has_outage(&self) -> bool {
        self.outage.is_some()
    }

    /// Nobody is tried again.
    pub fn stop(&mut self) {
        self.stopped = true;
    }

    /// Draws how long those wait that have ended; the owner calls it before the others in each round.
    pub fn settle(&mut self, now: Instant) {
        while let Some(number) = self.ended.pop(&mut self.seats) {
            let Seat { phase, at, retries, .. } = *self.seats.seat(number);
            let has_lasted = || Tick::of(now).reached(at.after(self.backoff.proved_after));
            let retries = match phase {
                Phase::LostProved => 0,
                Phase::Lost if has_lasted() => 0,
                _ => retries,
            };
            let wait = self.backoff.wait(retries, self.jitter.draw());
            let at = Tick::of(now).after(wait);
            let seat = self.seats.seat(number);
            *seat = Seat { phase: Phase::Waiting, at, retries: retries.saturating_add(1), ..*seat };
            self.wheel.schedule(&mut self.seats, number, at);
        }
        match (self.open == self.count, self.outage) {
            (true, Some(began)) => {
                self.outage = None;
                self.record.outages += 1;
                self.record.outage_longest = self.record.outage_longest.max(now.since(began));
            }
            (true, None) => self.was_full = true,
            (false, None) if self.was_full && !self.stopped => self.outage = Some(now),
            (false, _) => {}
        }
    }

    /// A connection whose handshake or close has taken too long, for the owner to give up; looks at
    /// `budget` timers at most. Others that are due get into line meanwhile.
    pub fn overdue(&mut self, now: Instant, budget: &mut usize) -> Option<Turn> {
        loop {
            match self.wheel.pop(&mut self.seats, Tick::of(now), budget) {
                Due::Timer(number) => match self.seats.seat(number).phase {
                    Phase::Waiting => {
                        self.seats.seat(number).phase = Phase::Ready;
                        self.ready.push(&mut self.seats, number);
                    }
                    _ => return Some(self.turn(number)),
                },
                Due::Nothing | Due::Later => return None,
            }
        }
    }

    fn turn(&mut self, number: u32) -> Turn {
        let Seat { incarnation, .. } = *self.seats.seat(number);
        Turn { seat: number, incarnation, is_first: false }
    }

    /// Takes the seat out of the line that is to be tried now, or one that was never tried if
    /// `may_begin`. The owner says what became of it: [`Seats::begun`], [`Seats::postpone`] or [`Seats::refuse`].
    pub fn next(&mut self, may_begin: bool) -> Option<Turn> {
        if self.stopped {
            return None;
        }
        if let Some(number) = self.ready.pop(&mut self.seats) {
            return Some(self.turn(number));
        }
        let is_new = may_begin && self.untried < self.count;
        is_new.then(|| {
            self.untried += 1;
            Turn { seat: self.untried - 1, incarnation: 0, is_first: true }
        })
    }

    /// How many were never tried.
    pub fn untried(&self) -> u32 {
        self.count - self.untried
    }

    /// Whether somebody stands in line.
    pub fn has_ready(&self) -> bool {
        self.ready.first != NONE && !self.stopped
    }

    /// The seat of `turn` could not be tried at `now`: it goes to the end of the line, from another port
    /// if `skips_port`. Returns whether it did: who has stood there for too long does not, and is to be
    /// refused; all of them would be tried at once when it goes on.
    #[must_use]
    pub fn postpone(&mut self, turn: Turn, skips_port: bool, now: Instant) -> bool {
        if turn.is_first {
            // It has no memory yet.
            *self.seats.seat(turn.seat) = Seat { at: Tick::of(now), ..Seat::NEW };
        }
        let seat = self.seats.seat(turn.seat);
        if Tick::of(now).reached(seat.at.after(LINE_PATIENCE)) {
            return false;
        }
        seat.incarnation = turn.incarnation.wrapping_add(u16::from(skips_port));
        seat.phase = Phase::Ready;
        self.ready.push(&mut self.seats, turn.seat);
        true
    }

    /// The seat of `turn` cannot be tried at all: it waits as if it had failed.
    pub fn refuse(&mut self, turn: Turn) {
        self.take(turn);
        self.end(turn.seat, Phase::Failed);
    }

    /// The handshake of the seat of `turn` was begun at `now`, as connection `id`.
    pub fn begun(&mut self, turn: Turn, id: ConnId, now: Instant) {
        self.take(turn);
        self.of_slot[id.index() as usize] = turn.seat + 1;
        self.busy += 1;
        self.time(turn.seat, Phase::Dialing, now);
        if self.seats.seat(turn.seat).retries > 0 {
            self.count_retry(now);
        }
    }

    /// The seat of `turn`, which was overdue, has a connection still: to be looked at again later.
    pub fn await_longer(&mut self, turn: Turn, now: Instant) {
        let phase = self.seats.seat(turn.seat).phase;
        if matches!(phase, Phase::Dialing | Phase::Closing) {
            self.time(turn.seat, phase, now);
        }
    }

    /// The connection in slot `slot` is open since `now`.
    pub fn opened(&mut self, slot: u32, now: Instant) {
        let Some(number) = self.seat_in(slot) else { return };
        if self.seats.seat(number).phase != Phase::Dialing {
            return;
        }
        self.wheel.cancel(&mut self.seats, number);
        let seat = self.seats.seat(number);
        (seat.phase, seat.at) = (Phase::Open, Tick::of(now));
        self.record.reconnects += u64::from(seat.retries > 0);
        self.busy -= 1;
        self.open += 1;
    }

    /// The connection in slot `slot` is being closed by this host, since `now`; `is_proved` says whether
    /// it has proved itself.
    pub fn closing(&mut self, slot: u32, now: Instant, is_proved: bool) {
        let Some(number) = self.seat_in(slot) else { return };
        if self.seats.seat(number).phase != Phase::Open {
            return;
        }
        let since = self.seats.seat(number).at;
        let has_lasted = Tick::of(now).reached(since.after(self.backoff.proved_after));
        if is_proved || has_lasted {
            self.seats.seat(number).retries = 0;
        }
        self.open -= 1;
        self.busy += 1;
        self.time(number, Phase::Closing, now);
    }

    /// The connection in slot `slot` has ended; `is_proved` says whether it had proved itself.
    pub fn ended(&mut self, slot: u32, is_proved: bool) -> Was {
        let Some(number) = self.seat_in(slot) else { return Was::Nobodys };
        self.of_slot[slot as usize] = 0;
        let (was, phase) = match self.seats.seat(number).phase {
            Phase::Open if is_proved => (Was::Open, Phase::LostProved),
            Phase::Open => (Was::Open, Phase::Lost),
            // What it has proved was looked at when its close began.
            Phase::Closing => (Was::Open, Phase::Failed),
            _ => (Was::Dialing, Phase::Failed),
        };
        match self.seats.seat(number).phase {
            Phase::Open => self.open -= 1,
            _ => {
                self.wheel.cancel(&mut self.seats, number);
                self.busy -= 1;
            }
        }
        let seat = self.seats.seat(number);
        seat.incarnation = seat.incarnation.wrapping_add(1);
        self.end(number, phase);
        was
    }

    /// When something is due next.
    pub fn next_due(&self, now: Instant) -> Option<Instant> {
        match self.ended.first == NONE && !self.has_ready() {
            true => self.wheel.next_due().map(|tick| tick.start(now)),
            false => Some(now),
        }
    }

    /// Makes the seat of `turn`, if it has no memory yet.
    fn take(&mut self, turn: Turn) {
        if turn.is_first {
            *self.seats.seat(turn.seat) = Seat::NEW;
        }
        self.seats.seat(turn.seat).incarnation = turn.incarnation;
    }

    fn time(&mut self, number: u32, phase: Phase, now: Instant) {
        let at = Tick::of(now).after(self.patience);
        let seat = self.seats.seat(number);
        (seat.phase, seat.at) = (phase, at);
        self.wheel.schedule(&mut self.seats, number, at);
    }

    fn end(&mut self, number: u32, phase: Phase) {
        match self.stopped {
            true => self.seats.seat(number).phase = Phase::Retired,
            false => {
                self.seats.seat(number).phase = phase;
                self.ended.push(&mut self.seats, number);
            }
        }
    }

    fn count_retry(&mut self, now: Instant) {
        let first = *self.first_retry.get_or_insert(now);
        let second = usize::try_from(now.since(first).as_secs()).unwrap_or(usize::MAX);
        let second = second.min(SECONDS_MAX - 1);
        let by_second = &mut self.record.retries_by_second;
        if second >= by_second.len() {
            // Within its capacity.
            by_second.resize(second + 1, 0);
        }
        by_second[second] += 1;
        self.record.retries += 1;
    }
}

#[cfg(test)]
#[path = "seats_tests.rs"]
mod tests;
