//! Timers: SYN and SYN-ACK retransmission, keepalive, wakes, FIN-WAIT-2, TIME-WAIT; and those of the flights.

use super::classes::Classes;
use super::output::Output;
use super::{BATCH_MAX, Engine};
use crate::conn::flight::Flight;
use crate::conn::record::{CLOSE_DUE, NONE, State};
use crate::conn::table::Table;
use crate::conn::wheel::{Due, Links, Timers, Wheel};
use crate::frame::{Frame, FramePool};
use crate::service::Service;
use crate::tcp::CloseReason;
use crate::tcp::keepalive::{self, Profile};
use crate::tcp::timing::{self, DATA_RETRIES_MAX, R1, SYN_ACK_RETRIES_MAX, SYN_RETRIES_MAX};
use crate::time::{Duration, Instant, Tick};

/// The most frames that timers send in one call while as many frames arrive as are taken at once.
const FRAMES_MIN: usize = BATCH_MAX / 8;

/// The records as their wheel sees them. A deadline is not stored: it follows from the state and
/// from when the connection was last touched.
struct Records<'a> {
    table: &'a mut Table,
    classes: &'a Classes,
    time_wait: Duration,
    /// At most the time of the call.
    now: Tick,
}

impl Timers for Records<'_> {
    fn links(&mut self, index: u32) -> &mut Links {
        &mut self.table.slab[index].links
    }

    fn deadline(&self, index: u32) -> Option<Tick> {
        let profile = &self.classes[self.table.slab[index].class].profile;
        deadline(self.table, index, profile, self.time_wait, self.now)
    }

    fn prefetch(&self, index: u32) {
        self.table.slab.prefetch(index);
    }
}

/// When the timer of the record in `slot` is due, or `None` if it needs none; `now` has come.
fn deadline(
    table: &Table,
    slot: u32,
    profile: &Profile,
    time_wait: Duration,
    now: Tick,
) -> Option<Tick> {
    let conn = &table.slab[slot];
    let after = match conn.state {
        State::SynSent | State::SynReceived => timing::rto(conn.attempts),
        State::FinWait2 => timing::FIN_WAIT_2,
        State::TimeWait => time_wait,
        _ if conn.has(CLOSE_DUE) => timing::rto(0),
        _ => {
            // Who waits for room looks for it whenever its timer is due.
            let wake = match table.waiting.has(slot) {
                true => Some(now),
                false => table.wakes.get(slot),
            };
            // What is in flight has a timer of its own.
            let Some(wake) = wake else { return keepalive::deadline(conn, profile) };
            // The record is in the wheel for longer than keepalive needs it to, so it is looked at in
            // time for that too, without being moved when what is in flight is acknowledged.
            let silent_from = |time| conn.touched.later(now).after(time);
            let probe = match (conn.flight, conn.promoted()) {
                (NONE, _) => keepalive::deadline(conn, profile),
                (_, None) => profile.keepalive.map(|keepalive| silent_from(keepalive.time())),
                (_, Some(_)) => None,
            };
            return Some(probe.map_or(wake, |probe| wake.earlier(probe)));
        }
    };
    Some(conn.touched.after(after))
}

impl<S: Service> Engine<S> {
    /// When the timer of the record in `slot` is due, or `None` if it needs none.
    #[cfg(test)]
    pub(super) fn deadline_of(&self, slot: u32) -> Option<Tick> {
        deadline(&self.table, slot, self.profile(slot), self.config.time_wait, self.wheel.now())
    }

    /// Does what is due at `now`, a bounded piece of it: [`Engine::next_timer`] tells if more is.
    /// Appends the frames to send to `tx`, within half of its capacity: the rest is for answers.
    ///
    /// However many timers are due at once, frames that arrive do not wait for them. Every probe brings
    /// an answer, so in one call timers send no more than a batch has places that the frames received
    /// since the last call left free, and an eighth of a batch where they left none. What was pushed has
    /// what timers leave of that, and an eighth of a batch at least.
    pub fn handle_timers<P: FramePool>(&mut self, now: Instant, pool: &mut P, tx: &mut Vec<Frame>) {
        let tick = Tick::of(now);
        let received = self.counters.rx - core::mem::replace(&mut self.rx_seen, self.counters.rx);
        let received = usize::try_from(received).unwrap_or(usize::MAX);
        let most = BATCH_MAX.saturating_sub(received).max(FRAMES_MIN);
        let mut looks = self.config.timers_per_call;
        let queued = tx.len();
        let mut output = Output::at_most(most, pool, tx);
        self.claim_addresses(now, &mut output);
        // The peers of these wait for data; those of the records wait for nothing.
        self.take_turns(now, &mut output);
        self.finish_batch(now, &mut output);
        self.handle_promoted_timers(now, &mut output);
        while output.has_room()
            && let Due::Timer(flight) = self.flight_wheel.pop(&mut self.flights, tick, &mut looks)
        {
            self.on_flight_timer(flight, now, &mut output);
            self.finish_batch(now, &mut output);
        }
        while output.has_room() {
            let (mut records, wheel) = self.records();
            match wheel.pop(&mut records, tick, &mut looks) {
                Due::Timer(slot) => self.on_timer(slot, now, &mut output),
                Due::Nothing | Due::Later => break,
            }
            self.finish_batch(now, &mut output);
        }
        drop(output);
        // What is pushed brings acknowledgments as probes do.
        let left = most.saturating_sub(tx.len() - queued).max(FRAMES_MIN);
        self.handle_pushes(now, &mut Output::at_most(left, pool, tx));
    }

    /// What is in flight was not acknowledged in time. RFC 6298 sections 5.4 to 5.6.
    fn on_flight_timer<P: FramePool>(
        &mut self,
        index: u32,
        now: Instant,
        output: &mut Output<'_, P>,
    ) {
        let Flight { conn: slot, since, .. } = self.flights[index];
        if self.table.slab[slot].window() == 0
            && let Some(index) = self.promote(slot, now, output)
        {
            // The peer has closed its window: what is sent is a probe now, and who answers is there.
            self.run(index, now, output);
            return;
        }
        let given_up = match self.profile(slot).user_timeout {
            Some(timeout) => Tick::of(now).reached(since.after(timeout)),
            None => self.flights[index].retries() >= DATA_RETRIES_MAX,
        };
        if given_up {
            self.reset(slot, output);
            self.remove(slot, CloseReason::UserTimeout);
            return;
        }
        let retries = self.flights.repeat(index);
        if retries >= R1 {
            self.flights.stall(index, &mut self.outbox.payloads);
        }
        self.restart_flight_timer(index, now);
        self.doubt_path(slot, retries >= R1, now, output);
        let sent = self.send_flight(slot, 0, 1, output);
        self.counters.retransmitted += u64::from(sent);
    }

    /// The timer of a record is due.
    fn on_timer<P: FramePool>(&mut self, slot: u32, now: Instant, output: &mut Output<'_, P>) {
        let conn = &self.table.slab[slot];
        let retries_max = match conn.state {
            State::SynReceived if !conn.opens_simultaneously() => SYN_ACK_RETRIES_MAX,
            State::SynSent | State::SynReceived => SYN_RETRIES_MAX,
            State::TimeWait => return self.remove(slot, CloseReason::ClosedByUs),
            // The peer never closed its side.
            State::FinWait2 => return self.remove(slot, CloseReason::ClosedByUs),
            _ if !conn.has(CLOSE_DUE) => return self.on_open_timer(slot, now, output),
            _ => {
                return match self.find_flight(slot, now, output) {
                    true => self.transmit(slot, 0, true, now, output),
                    false => self.close_later(slot, now),
                };
            }
        };
        if conn.attempts >= retries_max {
            return self.remove(slot, CloseReason::UserTimeout);
        }
        self.doubt_path(slot, self.table.slab[slot].attempts + 1 >= R1, now, output);
        let conn = &mut self.table.slab[slot];
        conn.attempts += 1;
        conn.touched = Tick::of(now);
        self.start_timer(slot);
        let sent = self.send_syn(slot, output);
        self.counters.retransmitted += u64::from(sent);
    }

    /// The timer of a record that can send is due.
    fn on_open_timer<P: FramePool>(&mut self, slot: u32, now: Instant, output: &mut Output<'_, P>) {
        let is_due = |at: Option<Tick>| at.is_some_and(|at| Tick::of(now).reached(at));
        if is_due(self.table.wakes.get(slot)) {
            self.wake(slot, now, output);
        } else if is_due(keepalive::deadline(&self.table.slab[slot], self.profile(slot))) {
            self.on_silence(slot, now, output);
        } else if self.table.waiting.has(slot) {
            self.look_for_room(slot, now, output);
        } else {
            self.start_timer(slot);
        }
    }

    /// The peer was silent for as long as its profile lets it.
    pub(super) fn on_silence<P: FramePool>(
        &mut self,
        slot: u32,
        now: Instant,
        output: &mut Output<'_, P>,
    ) {
        match keepalive::due(&self.table.slab[slot], self.profile(slot), Tick::of(now)) {
            keepalive::Due::Probe => {
                // From the second on; it is the first that may be lost.
                self.doubt_path(slot, self.table.slab[slot].attempts > 0, now, output);
                let conn = &mut self.table.slab[slot];
                let profile = &self.classes[conn.class].profile;
                keepalive::probed(conn, profile, Tick::of(now));
                self.start_timer(slot);
                self.probe(slot, output);
            }
            keepalive::Due::GiveUp => {
                self.reset(slot, output);
                self.remove(slot, CloseReason::KeepaliveTimeout);
            }
        }
    }

    /// Puts the record in `slot` into the wheel for its deadline. Needed when that comes nearer;
    /// a deadline that only moves on is found out when the old one comes.
    pub(super) fn start_timer(&mut self, slot: u32) {
        let (mut records, wheel) = self.records();
        match records.deadline(slot) {
            Some(deadline) => wheel.schedule(&mut records, slot, deadline),
            None => wheel.cancel(&mut records, slot),
        }
    }

    /// Marks the connection in `slot` as waiting for room, which is to be looked for at `at`.
    pub(super) fn start_waiting(&mut self, slot: u32, at: Tick) {
        let (mut records, wheel) = self.records();
        let at = records.deadline(slot).map_or(at, |deadline| at.earlier(deadline));
        records.table.waiting.set(slot);
        wheel.schedule(&mut records, slot, at);
    }

    /// Puts the record in `slot` into the wheel if it can send, and is not in it.
    pub(super) fn resume_timer(&mut self, slot: u32) {
        let conn = &self.table.slab[slot];
        if conn.state.can_send() && !conn.links.is_linked() {
            self.start_timer(slot);
        }
    }

    /// Takes the record in `slot` out of the wheel.
    pub(super) fn cancel_timer(&mut self, slot: u32) {
        let (mut records, wheel) = self.records();
        wheel.cancel(&mut records, slot);
    }

    /// The records and their wheel.
    fn records(&mut self) -> (Records<'_>, &mut Wheel) {
        let records = Records {
            table: &mut self.table,
            classes: &self.classes,
            time_wait: self.config.time_wait,
            now: self.wheel.now(),
        };
        (records, &mut self.wheel)
    }
}
