//! Connections that a whole TCP socket carries for a while: what they do, and parking.

use super::Engine;
use super::calls::Callee;
use super::counters::Counters;
use super::output::Output;
use crate::conn::record::{CHALLENGED, CLOSE_DUE, PEER_CLOSED_FIRST, State};
use crate::drops::DropReason;
use crate::frame::{Frame, FramePool};
use crate::service::{Answer, Context, Service};
use crate::tcp::CloseReason;
use crate::tcp::parked::Accept;
use crate::tcp::promoted::Arrival;
use crate::tcp::promoted::device::Transmit;
use crate::time::{Instant, Tick};
use crate::wire::ethernet::EthernetHeader;
use crate::wire::packet::Segment;

/// A service that waits for room is called when this part of the queue is free, or all of it: less
/// would be many calls for little.
pub(super) const ROOM_PART: usize = 4;

impl<S: Service> Engine<S> {
    /// Takes a segment of promoted connection `index`, judged before. What follows from it is
    /// done at the end of the batch, once for all its segments.
    pub(super) fn on_promoted_segment<P: FramePool>(
        &mut self,
        index: u32,
        mut frame: Frame,
        segment: &Segment,
        accept: &Accept,
        now: Instant,
        output: &mut Output<'_, P>,
    ) -> Result<(), DropReason> {
        let slot = self.promoted[index].conn;
        let is_closed = self.promoted[index].promoted.window() == 0;
        let conn = &mut self.table.slab[slot];
        conn.snd_wnd = accept.window.unwrap_or(conn.snd_wnd);
        conn.touched = Tick::of(now);
        conn.attempts = 0;
        conn.clear(CHALLENGED);
        self.promoted[index].heard = Tick::of(now);
        let arrival = Arrival {
            ack: accept.ack,
            window: conn.snd_wnd,
            fin: accept.fin && !is_closed,
            bare_at: (is_closed || segment.is_empty()).then_some(conn.rcv_nxt),
        };
        let start = EthernetHeader::parse(output.bytes(&frame))?.len();
        let end = usize::from(segment.payload.end);
        let packet = &mut output.room(&mut frame)[start..end];
        let (answer, is_final) = self.promoted.receive(index, packet, &arrival, now);
        output.reuse(frame);
        if is_final {
            // It says how much room there is before the service has read: better after that.
            self.promoted[index].owes_ack = true;
        } else if let Some(answer) = answer {
            let ethernet = &self.table.paths[self.table.slab[slot].path].ethernet;
            let mut frames = Frames { output, counters: &mut self.counters, ethernet };
            if let Some(room) = frames.room(answer.len()) {
                room.copy_from_slice(answer);
                frames.send(answer.len());
            }
        }
        self.sync(slot, index, now);
        if is_closed && accept.ack_due {
            // A probe of the window, or what was sent before it closed.
            self.acknowledge(slot, output);
        }
        let entry = &mut self.promoted[index];
        if matches!(entry.promoted.state(), None | Some(State::FinWait2 | State::TimeWait)) {
            // The record goes on from here, with the next segment of the batch already.
            self.run(index, now, output);
        } else if !entry.is_due {
            entry.is_due = true;
            self.due.push(index);
        }
        Ok(())
    }

    /// Does what follows from the segments that promoted connections took in this batch.
    pub(super) fn finish_batch<P: FramePool>(&mut self, now: Instant, output: &mut Output<'_, P>) {
        for at in 0..self.due.len() {
            let index = self.due[at];
            if self.promoted[index].is_due {
                self.run(index, now, output);
            }
        }
        self.due.clear();
    }

    /// Gives the service what it can take, sends what can be sent, and parks the connection if that
    /// was all.
    pub(super) fn run<P: FramePool>(
        &mut self,
        index: u32,
        now: Instant,
        output: &mut Output<'_, P>,
    ) {
        let slot = self.promoted[index].conn;
        self.promoted[index].is_due = false;
        loop {
            let offered = self.offer_promoted_room(slot, index, now, output);
            let Some(is_offered) = offered else { return };
            let Some(is_stuck) = self.deliver(slot, index, now, output) else { return };
            let entry = &self.promoted[index];
            let waits = entry.promoted.is_outstanding() || entry.wants_room;
            let all_read = entry.promoted.unread_len() == 0 || is_stuck && !waits;
            if entry.promoted.peer_closed()
                && all_read
                && self.table.slab[slot].state == State::Established
            {
                self.table.slab[slot].set(PEER_CLOSED_FIRST);
                self.set_state(slot, State::CloseWait);
                let mut answer = Answer::default();
                self.call_service(slot, now, &mut answer, |service, context| {
                    service.on_peer_close(context);
                });
                if !self.queue(slot, index, &answer, now, output) {
                    return;
                }
            } else if !is_offered {
                break;
            }
        }
        self.pump(slot, index, now, output);
    }

    /// Calls the service if it waits for room and there is a good piece of it. Returns whether it sent
    /// anything, or `None` if that was the end of the connection.
    fn offer_promoted_room<P: FramePool>(
        &mut self,
        slot: u32,
        index: u32,
        now: Instant,
        output: &mut Output<'_, P>,
    ) -> Option<bool> {
        let much = usize::from(self.promoted.buffer()) / ROOM_PART;
        let is_much = self.promoted[index].promoted.room() >= much;
        let entry = &mut self.promoted[index];
        if !entry.wants_room || !is_much && entry.promoted.is_outstanding() {
            return Some(false);
        }
        entry.wants_room = false;
        if !self.table.slab[slot].state.can_send() {
            return Some(false);
        }
        let mut answer = Answer::default();
        self.call_service(slot, now, &mut answer, |service, context| service.on_room(context));
        let is_something = answer.written > 0 || answer.closing;
        self.queue(slot, index, &answer, now, output).then_some(is_something)
    }

    /// Gives the service what is not read. Returns whether it left some of it, or `None` if that was the
    /// end of the connection.
    fn deliver<P: FramePool>(
        &mut self,
        slot: u32,
        index: u32,
        now: Instant,
        output: &mut Output<'_, P>,
    ) -> Option<bool> {
        // What lies across the end of the receive buffer is joined if the service takes nothing of its
        // beginning.
        let mut is_joined = false;
        loop {
            let Engine { promoted, table, classes, service, scratch, joined, outbox, .. } = self;
            let promoted = &mut promoted[index].promoted;
            let room = promoted.room();
            let all = promoted.unread_len();
            let unread = match is_joined {
                true => promoted.unread_joined(joined),
                false => promoted.unread(),
            };
            if unread.is_empty() {
                return Some(false);
            }
            let len = unread.len();
            let mut consumed = len;
            let mut answer = Answer::default();
            // Who has closed reads no more; it goes unread.
            if table.slab[slot].state.can_send() {
                let callee = Callee { service, table, classes, outbox };
                let call = |service: &mut S, context: &mut Context<'_>| {
                    service.on_data(context, unread).min(len)
                };
                consumed = callee.call(slot, now, &mut scratch[..room], &mut answer, call);
            }
            promoted.consume(consumed);
            self.grant(slot, &mut answer, now);
            if !self.queue(slot, index, &answer, now, output) {
                return None;
            }
            if consumed == 0 && len == all {
                return Some(true);
            }
            is_joined = consumed == 0;
        }
    }

    /// Queues the answer of a service, the FIN too. Returns whether the connection lives on.
    fn queue<P: FramePool>(
        &mut self,
        slot: u32,
        index: u32,
        answer: &Answer,
        now: Instant,
        output: &mut Output<'_, P>,
    ) -> bool {
        if answer.aborting {
            self.reset(slot, output);
            self.remove(slot, CloseReason::ClosedByUs);
            return false;
        }
        let Engine { promoted, scratch, .. } = self;
        promoted[index].write(&scratch[..answer.written], now);
        promoted[index].wants_room |= answer.wants_room;
        if answer.closing && self.table.slab[slot].state.can_send() {
            self.close_promoted(slot, index, now);
        }
        true
    }

    /// Closes this host's direction of a promoted connection, after what is queued.
    fn close_promoted(&mut self, slot: u32, index: u32, now: Instant) {
        let conn = &mut self.table.slab[slot];
        conn.clear(CLOSE_DUE);
        if conn.state == State::Established && self.promoted[index].promoted.peer_closed() {
            // The service closes while it reads what came before the peer's FIN.
            conn.set(PEER_CLOSED_FIRST);
            self.set_state(slot, State::CloseWait);
        }
        self.promoted[index].close(now);
        let closed = self.table.slab[slot].state.after_close();
        self.set_state(slot, closed);
    }

    /// Queues `bytes`, and the FIN if `fin`, on a promoted connection, and sends what can be sent.
    pub(super) fn transmit_promoted<P: FramePool>(
        &mut self,
        index: u32,
        bytes: &[u8],
        fin: bool,
        now: Instant,
        output: &mut Output<'_, P>,
    ) {
        let slot = self.promoted[index].conn;
        self.promoted[index].write(bytes, now);
        if fin {
            self.close_promoted(slot, index, now);
        }
        self.pump(slot, index, now, output);
    }

    /// Sends what can be sent, and parks the connection, or sets its timer.
    fn pump<P: FramePool>(
        &mut self,
        slot: u32,
        index: u32,
        now: Instant,
        output: &mut Output<'_, P>,
    ) {
        let ethernet = &self.table.paths[self.table.slab[slot].path].ethernet;
        let mut frames = Frames { output, counters: &mut self.counters, ethernet };
        let before = frames.counters.tx;
        self.promoted.send(index, now, &mut frames);
        let owes_ack = core::mem::take(&mut self.promoted[index].owes_ack);
        if owes_ack && self.counters.tx == before {
            self.acknowledge(slot, output);
        }
        let repeated = self.promoted[index].promoted.take_repeated();
        self.counters.retransmitted += u64::from(repeated);
        let entry = &mut self.promoted[index];
        entry.repeats = entry.repeats.saturating_add(u8::try_from(repeated).unwrap_or(u8::MAX));
        self.sync(slot, index, now);
        let state = self.promoted[index].promoted.state();
        match (self.table.slab[slot].state, state) {
            (State::FinWait1, Some(State::FinWait2)) => {
                self.drop_flight(slot);
                self.enter_fin_wait_2(slot, now);
            }
            (_, Some(State::TimeWait)) => self.enter_time_wait(slot, now),
            (_, None) => self.remove(slot, self.reason_of(slot)),
            (_, Some(State::Closing)) => {
                self.set_state(slot, State::Closing);
                self.schedule_promoted(slot, index, now);
            }
            _ if self.quiet_at(slot, index).is_some_and(|at| Tick::of(now).reached(at)) => {
                // Parked: its record says all that there is to say.
                self.drop_flight(slot);
            }
            _ => self.schedule_promoted(slot, index, now),
        }
    }

    /// Has the record say what the socket knows.
    fn sync(&mut self, slot: u32, index: u32, now: Instant) {
        let entry = &mut self.promoted[index];
        let conn = &mut self.table.slab[slot];
        let una = entry.promoted.snd_una();
        if una != conn.snd_una {
            (entry.progress, entry.repeats) = (Tick::of(now), 0);
        }
        let next = entry.promoted.rcv_nxt();
        if next != conn.rcv_nxt {
            entry.received = Tick::of(now);
        }
        (conn.snd_una, conn.rcv_nxt) = (una, next);
    }

    /// Frees place `index` among the promoted connections.
    pub(super) fn release_promoted(&mut self, index: u32) {
        let Engine { promoted, promoted_wheel, .. } = self;
        promoted_wheel.cancel(promoted, index);
        promoted.remove(index);
        self.counters.promoted -= 1;
    }
}

/// Frames for the packets of a promoted connection.
struct Frames<'a, 'o, P: FramePool> {
    output: &'a mut Output<'o, P>,
    counters: &'a mut Counters,
    ethernet: &'a EthernetHeader,
}

impl<P: FramePool> Transmit for Frames<'_, '_, P> {
    fn is_ready(&mut self) -> bool {
        self.output.is_ready()
    }

    fn room(&mut self, len: usize) -> Option<&mut [u8]> {
        let start = self.ethernet.len();
        if !self.output.is_ready() {
            return None;
        }
        self.output.next_room()?.get_mut(start..start + len)
    }

    fn send(&mut self, len: usize) {
        let header = self.ethernet.as_bytes();
        self.output.frame(self.counters, |room| {
            room.get_mut(..header.len())?.copy_from_slice(header);
            Some(header.len() + len)
        });
    }
}
