//! Calls of the service, and what it asks for in them besides sending: to be woken, more room, another
//! profile.

use super::classes::{Class, Classes};
use super::output::Output;
use super::{BATCH_MAX, Engine};
use crate::conn::outbox::Outbox;
use crate::conn::record::{CLOSE_DUE, Conn, LINGERS, NONE, State};
use crate::conn::table::Table;
use crate::frame::FramePool;
use crate::service::unasked::{Published, Unpublished};
use crate::service::{Answer, Context, Service, Turn, Wake};
use crate::tcp::CloseReason;
use crate::tcp::timing::{self, DATA_RETRIES_MAX};
use crate::time::{Instant, Tick};

/// How many of those that are invited are called at once while too many answers are on their way: for them
/// these are enough to go on, and few enough for the rings.
const CROWDED_MAX: usize = 8;

impl<S: Service> Engine<S> {
    /// Calls the service with the connection in `slot`; what it sends is added to `answer`.
    pub(super) fn call_service<R>(
        &mut self,
        slot: u32,
        now: Instant,
        answer: &mut Answer,
        call: impl FnOnce(&mut S, &mut Context<'_>) -> R,
    ) -> R {
        let room = self.room(slot).max(answer.written);
        let Engine { table, classes, outbox, service, scratch, .. } = self;
        let callee = Callee { service, table, classes, outbox };
        let result = callee.call(slot, now, &mut scratch[..room], answer, call);
        if !answer.is_plain() {
            self.grant(slot, answer, now);
        }
        result
    }

    /// Does what the service asked for that needs nothing to be sent.
    pub(super) fn grant(&mut self, slot: u32, answer: &mut Answer, now: Instant) {
        if let Some(wake) = answer.wake.take()
            && !answer.closing
        {
            match wake {
                Wake::At(at) => {
                    self.table.wakes.set(slot, Tick::of(now).after(at.since(now)));
                    self.start_timer(slot);
                }
                // The timer finds out when its time comes.
                Wake::Never => drop(self.table.wakes.take(slot)),
            }
        }
        if let Some(profile) = answer.profile.take()
            && !answer.closing
            && !self.change_profile(slot, profile, now)
        {
            self.counters.profiles_refused += 1;
        }
        if answer.closing && answer.lingering {
            let conn = &mut self.table.slab[slot];
            if conn.state == State::Established {
                conn.set(LINGERS);
            }
        }
        if answer.closing
            && let Some(reason) = answer.reason
        {
            let class = self.classes[self.table.slab[slot].class];
            let class = Class { reason: class.reason.or(Some(reason)), ..class };
            // Where there are too many others, it counts as closed by this host.
            if let Some(number) = self.classes.number(class) {
                self.table.slab[slot].class = number;
            }
        }
    }

    /// The moment that the service of the connection in `slot` asked for has come.
    pub(super) fn wake<P: FramePool>(
        &mut self,
        slot: u32,
        now: Instant,
        output: &mut Output<'_, P>,
    ) {
        self.table.wakes.take(slot);
        self.find_flight(slot, now, output);
        let mut answer = Answer::default();
        self.call_service(slot, now, &mut answer, |service, context| service.on_wake(context));
        self.transmit_answer(slot, &answer, now, output);
        self.resume_timer(slot);
    }

    /// The service of the connection in `slot` waits for room, with nothing in flight, and it is time
    /// to look for it again.
    pub(super) fn look_for_room<P: FramePool>(
        &mut self,
        slot: u32,
        now: Instant,
        output: &mut Output<'_, P>,
    ) {
        self.table.waiting.take(slot);
        let mut answer = Answer { wants_room: true, ..Answer::default() };
        let conn = &self.table.slab[slot];
        if conn.flight == NONE && conn.window() == 0 {
            let given_up = match self.profile(slot).user_timeout {
                Some(timeout) => Tick::of(now).reached(conn.touched.after(timeout)),
                None => conn.attempts >= DATA_RETRIES_MAX,
            };
            if given_up {
                self.reset(slot, output);
                return self.remove(slot, CloseReason::UserTimeout);
            }
            // RFC 9293 section 3.8.6.1: "the sending TCP peer must regularly transmit at least one
            // octet of new data (if available), or retransmit to the receiving TCP peer even if the
            // send window is zero" (MUST-36). As Linux has it, the probe is empty and lies below the
            // window, which is answered all the same.
            let conn = &mut self.table.slab[slot];
            conn.attempts = conn.attempts.saturating_add(1);
            self.probe(slot, output);
        } else {
            self.find_flight(slot, now, output);
            self.offer_room(slot, now, &mut answer);
        }
        self.transmit_answer(slot, &answer, now, output);
        self.resume_timer(slot);
    }

    /// Gives the service its turn, if it wants one, and then offers room to those connections that were
    /// invited, some of them.
    pub(super) fn take_turns<P: FramePool>(&mut self, now: Instant, output: &mut Output<'_, P>) {
        if self.service.next_turn().is_some_and(|at| at <= now) {
            let invitations = &mut self.table.invitations;
            self.service.on_turn(&mut Turn { now, invitations });
        }
        self.pushes.calls_starve = false;
        for called in 0..self.table.invitations.len().min(4 * BATCH_MAX) {
            if !output.has_room() {
                return;
            }
            if called >= CROWDED_MAX && self.is_crowded() {
                self.pushes.calls_starve = true;
                return;
            }
            let Some(id) = self.table.invitations.pop() else { return };
            if let Some(slot) = self.table.slab.slot(id) {
                self.accept_invitation(slot, now, output);
            }
        }
    }

    /// Offers room to the connection in `slot`, or has it wait for some.
    fn accept_invitation<P: FramePool>(
        &mut self,
        slot: u32,
        now: Instant,
        output: &mut Output<'_, P>,
    ) {
        let conn = &self.table.slab[slot];
        if !conn.state.can_send() || conn.has(CLOSE_DUE) {
            return;
        }
        if let Some(index) = conn.promoted() {
            return self.want_promoted_room(index);
        }
        let mut answer = Answer { wants_room: true, ..Answer::default() };
        self.find_flight(slot, now, output);
        self.offer_room(slot, now, &mut answer);
        self.transmit_answer(slot, &answer, now, output);
        self.resume_timer(slot);
    }

    /// Has `message` published to `topic` at the service with `tag`, or at all that have topics, for those
    /// who have subscribed to it: [`Service::on_publish`].
    ///
    /// # Errors
    ///
    /// Why it was not.
    pub fn publish(
        &mut self,
        tag: Option<u8>,
        topic: &str,
        message: &[u8],
        now: Instant,
    ) -> Result<Published, Unpublished> {
        let invitations = &mut self.table.invitations;
        self.service.on_publish(&mut Turn { now, invitations }, tag, topic, message)
    }

    /// When the service wants its turn, or a connection is invited.
    pub(super) fn next_turn(&self, now: Instant) -> Option<Instant> {
        let turn = self.service.next_turn().map(|at| at.max(now));
        let invited =
            (!self.table.invitations.is_empty()).then(|| match self.pushes.calls_starve {
                // What makes room comes with a frame, or is overdue.
                true => Tick(Tick::of(now).0.wrapping_add(1)).start(now).max(now),
                false => now,
            });
        [turn, invited].into_iter().flatten().min()
    }

    /// Calls the service of a parked connection, if it waits for room and there is some. Nobody waits any
    /// more when this host has closed: what was acknowledged may have been its FIN.
    pub(super) fn offer_room(&mut self, slot: u32, now: Instant, answer: &mut Answer) {
        let can_send = self.table.slab[slot].state.can_send() && !answer.closing;
        if answer.wants_room && can_send && self.room(slot) > answer.written {
            answer.wants_room = false;
            self.call_service(slot, now, answer, |service, context| service.on_room(context));
        }
    }

    /// The service of the connection in `slot` waits for room: it gets a place among the promoted
    /// connections, if there is one, or what it has sent to wait for, or a moment at which to look
    /// again.
    pub(super) fn wait_for_room<P: FramePool>(
        &mut self,
        slot: u32,
        now: Instant,
        output: &mut Output<'_, P>,
    ) {
        let conn = &self.table.slab[slot];
        if !conn.state.can_send() || conn.has(CLOSE_DUE) {
            return;
        }
        if let Some(index) = self.promote(slot, now, output) {
            self.want_promoted_room(index);
            return;
        }
        let Conn { flight, attempts, .. } = self.table.slab[slot];
        if flight == NONE {
            self.start_waiting(slot, Tick::of(now).after(timing::rto(attempts)));
        } else {
            self.flights[flight].wants_room = true;
        }
    }

    /// The service of promoted connection `index` waits for room.
    pub(super) fn want_promoted_room(&mut self, index: u32) {
        let entry = &mut self.promoted[index];
        entry.wants_room = true;
        if !core::mem::replace(&mut entry.is_due, true) {
            self.due.push(index);
        }
    }
}

/// The service, and what a call of it looks at: the rest of the engine is not.
pub(super) struct Callee<'a, S> {
    pub(super) service: &'a mut S,
    pub(super) table: &'a mut Table,
    pub(super) classes: &'a Classes,
    pub(super) outbox: &'a mut Outbox,
}

impl<S: Service> Callee<'_, S> {
    /// Calls the service with the connection in `slot`, which has `output` to write into; what it sends is
    /// added to `answer`. What it asks for besides is left to [`Engine::grant`].
    #[inline]
    pub(super) fn call<R>(
        self,
        slot: u32,
        now: Instant,
        output: &mut [u8],
        answer: &mut Answer,
        call: impl FnOnce(&mut S, &mut Context<'_>) -> R,
    ) -> R {
        let Callee { service, table, classes, outbox } = self;
        let id = table.slab.id(slot);
        let conn = &mut table.slab[slot];
        let tag = classes[conn.class].tag;
        let remote = (&conn.remote_addr, conn.remote_port);
        let local = (&table.paths[conn.path].local, conn.local_port);
        let (state, invitations) = (&mut conn.service, &mut table.invitations);
        let mut context =
            Context { id, now, tag, remote, local, state, output, answer, invitations, outbox };
        call(service, &mut context)
    }
}
