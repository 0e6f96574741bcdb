//! The outbox, worked off: what services and other threads send to connections.
//!
//! docs/decisions/0018-push-and-broadcast.md says why so.

use super::output::Output;
use super::{BATCH_MAX, CommandError, Engine};
use crate::conn::broadcast::{Audience, Report};
use crate::conn::delivery::{Delivery, Errand, Full, Notice, Outcome, Sender};
use crate::conn::payload::{Payload, Payloads};
use crate::conn::record::{CLOSE_DUE, Conn, NONE};
use crate::conn::slab::ConnId;
use crate::frame::FramePool;
use crate::service::Service;
use crate::time::{Instant, Tick};

/// Connections with waiting deliveries that are tried in one call. Each is tried once a tick.
const TURNS: usize = BATCH_MAX / 4;

/// A flight refers to a payload, instead of copying it, when so many others are to have it: a payload is
/// kept until the last one has acknowledged it, and a copy is in memory that the flight has anyway.
const SHARED_FROM: u32 = 16;

/// How far ahead of a broadcast records are fetched, in slots.
const AHEAD: u32 = 8;

/// Why a delivery cannot be made now.
enum Blocked {
    /// Too many flights are in use.
    Flights,
    /// The connection cannot take it.
    Connection,
}

/// What a connection is to send.
pub(super) enum Words<'a> {
    /// These bytes.
    Of(&'a [u8]),
    /// Those of a payload.
    Kept(Payload),
}

/// How far the outbox is worked off.
#[derive(Default)]
pub(super) struct Pushes {
    /// When the lines were tried, and how many are still to be tried in this tick.
    tick: Tick,
    turns: usize,
    /// Whether the rest waits for flights.
    starves: bool,
    /// Whether those who are invited do.
    pub(super) calls_starve: bool,
}

impl<S: Service> Engine<S> {
    /// Has `bytes` sent to connection `to` in one of the next calls of [`Engine::handle_timers`], behind
    /// those pushed to it before; `notice` is then called with the outcome.
    ///
    /// # Errors
    ///
    /// [`Full`], and the outcome is that.
    pub fn push(
        &mut self,
        to: ConnId,
        bytes: &[u8],
        notice: Option<Notice>,
        now: Instant,
    ) -> Result<(), Full> {
        self.outbox.push(to, bytes, notice.map_or(Sender::Nobody, Sender::Asker), now)
    }

    /// Closes this host's direction of connection `to` behind what was pushed to it; `notice` is then
    /// called with the outcome.
    ///
    /// # Errors
    ///
    /// [`Full`], and the outcome is that.
    pub fn close_behind(
        &mut self,
        to: ConnId,
        notice: Option<Notice>,
        now: Instant,
    ) -> Result<(), Full> {
        self.outbox.close(to, notice.map_or(Sender::Nobody, Sender::Asker), now)
    }

    /// Has `bytes`, which are kept once, sent to every connection of `audience`, a piece in each of the
    /// next calls of [`Engine::handle_timers`]; `report` is called with the progress after each.
    /// Connections that are opened meanwhile may be left out.
    ///
    /// # Errors
    ///
    /// [`Full`], and the report says so.
    pub fn broadcast(
        &mut self,
        audience: Audience,
        bytes: &[u8],
        report: Option<Report>,
    ) -> Result<(), Full> {
        self.outbox.broadcast(audience, bytes, report.into())
    }

    /// Whether another push would be accepted, if there is room for its bytes.
    pub fn has_room_for_pushes(&self) -> bool {
        !self.outbox.is_full()
    }

    /// When [`Engine::handle_pushes`] has something to do.
    pub(super) fn pushes_due(&self, now: Instant) -> Option<Instant> {
        if self.outbox.is_empty() {
            return None;
        }
        let is_new = self.outbox.first_fresh().is_some() || !self.outbox.broadcasts.is_idle();
        if is_new && !self.pushes.starves || self.pushes.turns > 0 {
            return Some(now);
        }
        Some(Tick(self.pushes.tick.0.wrapping_add(1)).start(now).max(now))
    }

    /// Works off a bounded piece of the outbox.
    pub(super) fn handle_pushes<P: FramePool>(&mut self, now: Instant, output: &mut Output<'_, P>) {
        if self.outbox.is_empty() {
            return;
        }
        let tick = Tick::of(now);
        if self.pushes.tick != tick || self.pushes.turns > self.outbox.lines() {
            (self.pushes.tick, self.pushes.turns) = (tick, self.outbox.lines());
        }
        self.pushes.starves = false;
        let mut turns = TURNS.min(self.pushes.turns);
        while turns > 0 && output.is_ready() {
            self.try_line(now, output);
            self.pushes.turns -= 1;
            turns -= 1;
        }
        let mut looks = 4 * self.config.timers_per_call;
        self.try_fresh(&mut looks, now, output);
        self.run_broadcast(&mut looks, now, output);
    }

    /// Makes the deliveries that wait for the connection whose turn it is, as far as they can be made.
    fn try_line<P: FramePool>(&mut self, now: Instant, output: &mut Output<'_, P>) {
        while output.is_ready()
            && let Some(at) = self.outbox.first_waiting()
        {
            let since = self.outbox.delivery(at).since;
            let outcome = match self.try_delivery(at, now, output) {
                Ok(outcome) => outcome,
                Err(_) if self.outbox.is_late(since, now) => Outcome::Full,
                Err(_) => return self.outbox.next_turn(),
            };
            let Some((delivery, was_last)) = self.outbox.take_waiting() else { return };
            self.settle(delivery, outcome);
            if was_last {
                return;
            }
        }
    }

    /// Makes deliveries that were not tried yet.
    fn try_fresh<P: FramePool>(
        &mut self,
        looks: &mut usize,
        now: Instant,
        output: &mut Output<'_, P>,
    ) {
        while *looks > 0
            && output.is_ready()
            && let Some(at) = self.outbox.first_fresh()
        {
            *looks -= 1;
            let &Delivery { to, since, .. } = self.outbox.delivery(at);
            let tried = match self.outbox.has_line(to.index()) {
                true => Err(Blocked::Connection),
                false => self.try_delivery(at, now, output),
            };
            if matches!(tried, Err(Blocked::Flights)) && !self.outbox.is_late(since, now) {
                self.pushes.starves = true;
                return;
            }
            let Some(delivery) = self.outbox.take_fresh() else { return };
            match tried {
                Ok(outcome) => self.settle(delivery, outcome),
                Err(Blocked::Flights) => self.settle(delivery, Outcome::Full),
                Err(Blocked::Connection) => {
                    if let Err(delivery) = self.outbox.wait(delivery) {
                        self.settle(delivery, Outcome::Full);
                    }
                }
            }
        }
    }

    /// A delivery ends with `outcome`.
    fn settle(&mut self, delivery: Delivery, outcome: Outcome) {
        if let Errand::Send(payload) = delivery.errand {
            self.outbox.payloads.release(payload);
            self.counters.push(outcome);
        }
        match delivery.sender {
            Sender::Nobody => {}
            Sender::Asker(notice) => notice(outcome),
            Sender::Broadcast(number) => {
                let told = self.outbox.broadcasts.settle(number, outcome);
                self.tell_follower(told);
            }
            Sender::Service(pusher) => self.tell_pusher(delivery.to, pusher, outcome),
        }
    }

    /// Gets on with the broadcast that is under way.
    fn run_broadcast<P: FramePool>(
        &mut self,
        looks: &mut usize,
        now: Instant,
        output: &mut Output<'_, P>,
    ) {
        let slots = self.slots();
        let Some((number, broadcast)) = self.outbox.broadcasts.running() else { return };
        let (payload, audience) = (broadcast.payload, broadcast.audience);
        let mut progress = broadcast.progress;
        if progress.looked_at == 0 {
            progress.places = slots;
        }
        while *looks > 0 && output.is_ready() && progress.looked_at < progress.places {
            *looks -= 1;
            let slot = progress.looked_at;
            self.table.slab.prefetch(slot + AHEAD);
            if self.is_in(slot, audience) {
                let Some(outcome) = self.broadcast_to(slot, number, payload, now, output) else {
                    self.pushes.starves = true;
                    break;
                };
                if let Some(outcome) = outcome {
                    self.counters.push(outcome);
                    progress.count(outcome);
                }
            }
            progress.looked_at += 1;
        }
        let is_over = progress.looked_at == progress.places;
        if let Some((_, broadcast)) = self.outbox.broadcasts.running() {
            broadcast.progress = progress;
        }
        let Engine { outbox, .. } = self;
        let told = if is_over {
            self.counters.broadcasts += 1;
            outbox.broadcasts.end_running(&mut outbox.payloads)
        } else {
            outbox.broadcasts.report(number)
        };
        self.tell_follower(told);
    }

    /// Sends `payload` of broadcast `number` to the connection in `slot`, and returns the outcome, or
    /// `Some(None)` when it has to wait for that connection; `None` when every broadcast has to wait.
    fn broadcast_to<P: FramePool>(
        &mut self,
        slot: u32,
        number: u8,
        payload: Payload,
        now: Instant,
        output: &mut Output<'_, P>,
    ) -> Option<Option<Outcome>> {
        if !self.outbox.has_line(slot) {
            match self.deliver_to(slot, payload, true, now, output) {
                Ok(outcome) => return Some(Some(outcome)),
                Err(Blocked::Flights) => return None,
                Err(Blocked::Connection) => {}
            }
        }
        // Half of the places are for what is pushed.
        if !self.outbox.has_room_to_wait() {
            return Some(Some(Outcome::Full));
        }
        let (to, sender) = (self.table.slab.id(slot), Sender::Broadcast(number));
        let delivery = Delivery::new(to, Errand::Send(payload), sender, now);
        match self.outbox.wait(delivery) {
            Ok(()) => {
                self.outbox.payloads.retain(payload);
                self.outbox.broadcasts.wait(number);
                Some(None)
            }
            Err(_) => Some(Some(Outcome::Full)),
        }
    }

    /// Whether there is a connection in `slot` that can be sent to and belongs to `audience`.
    fn is_in(&self, slot: u32, audience: Audience) -> bool {
        let conn = &self.table.slab[slot];
        if !conn.state.can_send() || conn.has(CLOSE_DUE) {
            return false;
        }
        match audience {
            Audience::All => true,
            Audience::Tag(tag) => self.classes[conn.class].tag == tag,
            Audience::Local(local) => {
                conn.local_port == local.port && self.table.paths[conn.path].local == local.addr
            }
            Audience::Topic { tag, topic } => {
                let id = self.table.slab.id(slot);
                self.classes[conn.class].tag == tag
                    && self.service.is_subscribed(topic, id, tag, &conn.service)
            }
        }
    }

    /// Makes delivery `at` of the outbox, if that can be done now.
    fn try_delivery<P: FramePool>(
        &mut self,
        at: u32,
        now: Instant,
        output: &mut Output<'_, P>,
    ) -> Result<Outcome, Blocked> {
        let Delivery { to, errand, ref sender, .. } = *self.outbox.delivery(at);
        let is_services = matches!(sender, Sender::Service(_));
        let Ok(slot) = self.writable(to) else { return Ok(Outcome::Gone) };
        if is_services && !self.can_note_pushed(slot) {
            return Err(Blocked::Connection);
        }
        match errand {
            Errand::Send(payload) => {
                let shares = self.outbox.payloads.refs(payload) >= SHARED_FROM;
                self.deliver_to(slot, payload, shares, now, output)
            }
            Errand::Close if self.find_flight(slot, now, output) => {
                self.transmit(slot, 0, true, now, output);
                Ok(Outcome::Sent)
            }
            Errand::Close => Err(Blocked::Flights),
        }
    }

    /// Sends `payload` on the connection in `slot`, which is open.
    fn deliver_to<P: FramePool>(
        &mut self,
        slot: u32,
        payload: Payload,
        shares: bool,
        now: Instant,
        output: &mut Output<'_, P>,
    ) -> Result<Outcome, Blocked> {
        let Conn { class, service: state, .. } = &self.table.slab[slot];
        if !self.service.takes_pushes(self.classes[*class].tag, state) {
            return Err(Blocked::Connection);
        }
        let is_first = self.table.slab[slot].flight == NONE;
        if is_first && !self.spares_flight(slot, now, output) {
            return Err(Blocked::Flights);
        }
        let len = self.outbox.payloads.bytes(payload).len();
        if is_first && shares && len > 0 && len <= self.room(slot) && !self.config.promote_always {
            self.transmit_shared(slot, payload, now, output);
            return Ok(Outcome::Sent);
        }
        let handed_over = self.hand_over(slot, &Words::Kept(payload), now, output);
        handed_over.map_err(|_| Blocked::Connection)
    }

    /// Finds a flight for what is pushed to the connection in `slot`, unless so many wait for their
    /// acknowledgments that more would overflow rings. A quarter of the flights are left to answers; those
    /// that stalled count for nothing, as they give way when they are needed.
    fn spares_flight<P: FramePool>(
        &mut self,
        slot: u32,
        now: Instant,
        output: &mut Output<'_, P>,
    ) -> bool {
        !self.is_crowded() && self.find_flight(slot, now, output)
    }

    /// Whether so much waits for its acknowledgment that more would overflow rings, or take flights from
    /// answers.
    pub(super) fn is_crowded(&self) -> bool {
        let (capacity, stalled) = (self.flights.capacity(), self.flights.stalled());
        let most = capacity - capacity / 4;
        self.flights.underway() >= self.config.outbox.underway_max as usize
            || self.flights.len() - stalled >= most
    }

    /// Sends `words` on the connection in `slot`, which is open, all or nothing: in its flight, or else
    /// promoted.
    pub(super) fn hand_over<P: FramePool>(
        &mut self,
        slot: u32,
        words: &Words<'_>,
        now: Instant,
        output: &mut Output<'_, P>,
    ) -> Result<Outcome, CommandError> {
        let bytes = words.bytes(&self.outbox.payloads);
        let len = bytes.len();
        if len == 0 {
            // A flight of nothing would never be acknowledged.
            return Ok(Outcome::Sent);
        }
        let fits = len <= self.room(slot);
        let is_promotable = !fits && len <= usize::from(self.promoted.buffer());
        if is_promotable || self.config.promote_always && !self.promoted.is_full() {
            self.promote(slot, now, output);
        }
        if len > self.room(slot) {
            self.finish_batch(now, output);
            return Err(CommandError::Busy);
        }
        self.scratch[..len].copy_from_slice(words.bytes(&self.outbox.payloads));
        self.transmit(slot, len, false, now, output);
        let promoted = self.table.slab[slot].promoted();
        let is_queued = promoted.is_some_and(|index| self.promoted[index].promoted.has_unsent());
        // One that waited for room may have got it by being promoted.
        self.finish_batch(now, output);
        Ok(if is_queued { Outcome::Queued } else { Outcome::Sent })
    }
}

impl Words<'_> {
    fn bytes<'a>(&'a self, payloads: &'a Payloads) -> &'a [u8] {
        match *self {
            Words::Of(bytes) => bytes,
            Words::Kept(payload) => payloads.bytes(payload),
        }
    }
}
