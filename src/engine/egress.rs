//! What a connection sends: data, FIN, ACK, reset.

use super::Engine;
use super::output::Output;
use crate::conn::flight::{FLIGHT_LEN_MAX, Flight};
use crate::conn::payload::Payload;
use crate::conn::record::{CLOSE_DUE, NONE, State};
use crate::frame::FramePool;
use crate::service::{Answer, Service};
use crate::tcp::CloseReason;
use crate::tcp::timing;
use crate::time::{Duration, Instant, Tick};
use crate::wire::emit::Outgoing;
use crate::wire::packet::{Flags, SynOptions};
use crate::wire::seq::SeqNumber;

/// The most segments that a flight is sent in (RFC 6928 section 2: the initial window).
const SEGMENTS_MAX: u32 = 10;

impl<S: Service> Engine<S> {
    /// SND.NXT of the connection in `slot`.
    #[inline]
    pub(super) fn snd_nxt(&self, slot: u32) -> SeqNumber {
        let conn = &self.table.slab[slot];
        if let Some(index) = conn.promoted() {
            return self.promoted[index].promoted.snd_nxt();
        }
        match conn.state {
            // The SYN takes a sequence number, and is all that is out.
            State::SynSent | State::SynReceived => conn.snd_una + 1,
            _ => conn.snd_una + self.flights.sequence_len(conn.flight),
        }
    }

    /// How many more bytes the connection in `slot` can send now: within its flight, the peer's
    /// window, and an initial window of segments; if it is promoted, within its queue.
    pub(super) fn room(&self, slot: u32) -> usize {
        let conn = &self.table.slab[slot];
        if let Some(index) = conn.promoted() {
            return self.promoted[index].promoted.room();
        }
        let in_flight = self.flights.sequence_len(conn.flight);
        let most =
            u32::from(FLIGHT_LEN_MAX).min(conn.window()).min(SEGMENTS_MAX * u32::from(conn.mss));
        if self.has_flight_for(slot) { most.saturating_sub(in_flight) as usize } else { 0 }
    }

    /// The window that the connection in `slot` advertises.
    #[inline]
    pub(super) fn receive_window(&self, slot: u32) -> u16 {
        let conn = &self.table.slab[slot];
        if let Some(index) = conn.promoted() {
            return self.promoted[index].promoted.window();
        }
        self.window_for(self.classes[conn.class].tag, conn.mss)
    }

    /// The window that a connection of service `tag` advertises to a peer with segments of `mss`: what
    /// it can keep when it is promoted. Where none can be, a service that answers gets no more than
    /// the segments of one answer hold, or it would drop the rest.
    #[inline]
    pub(super) fn window_for(&self, tag: u8, mss: u16) -> u16 {
        if self.promoted.capacity() > 0 {
            return self.promoted.buffer();
        }
        let asked = self.service.receive_window(tag);
        // Who asks for more than a flight does not answer. Before the peer's SYN its segment size is
        // not known, and 0.
        if asked > FLIGHT_LEN_MAX || mss == 0 {
            return asked;
        }
        let answerable = SEGMENTS_MAX * u32::from(mss);
        u16::try_from(answerable).map_or(asked, |answerable| asked.min(answerable))
    }

    /// Whether the connection in `slot` has a flight, or could get one.
    pub(super) fn has_flight_for(&self, slot: u32) -> bool {
        self.table.slab[slot].flight != NONE || !self.flights.is_full()
    }

    /// Finds a flight for the connection in `slot`, for what it may have to send. When all are in
    /// use, the connection that has made no progress for the longest gives way, if it has been sent
    /// the same thing often enough: it is reset, within the limit. Returns whether there is one.
    ///
    /// RFC 9293 section 3.8.3 has R1 as the point at which a host doubts that its peer is there; see
    /// docs/decisions/0013-eviction.md.
    pub(super) fn find_flight<P: FramePool>(
        &mut self,
        slot: u32,
        now: Instant,
        output: &mut Output<'_, P>,
    ) -> bool {
        if self.has_flight_for(slot) {
            return true;
        }
        let Some(stalled) = self.flights.longest_stalled() else { return false };
        let evicted = self.flights[stalled].conn;
        debug_assert_ne!(evicted, slot, "who has a flight needs none");
        self.evict(evicted, now, output);
        true
    }

    /// Ends the connection in `slot` in favour of another. The reset counts against the limit.
    pub(super) fn evict<P: FramePool>(
        &mut self,
        slot: u32,
        now: Instant,
        output: &mut Output<'_, P>,
    ) {
        if self.resets.take(now) {
            self.reset(slot, output);
        }
        self.remove(slot, CloseReason::Evicted);
    }

    /// Sends what the service answered, and sees to it that it gets the room it waits for; returns
    /// whether anything was sent, or there is nobody to send anything to any more.
    pub(super) fn transmit_answer<P: FramePool>(
        &mut self,
        slot: u32,
        answer: &Answer,
        now: Instant,
        output: &mut Output<'_, P>,
    ) -> bool {
        let Answer { written, closing, aborting, wants_room, .. } = *answer;
        if aborting {
            self.reset(slot, output);
            self.remove(slot, CloseReason::ClosedByUs);
            return true;
        }
        let closing = closing && self.table.slab[slot].state.can_send();
        let is_something = written > 0 || closing;
        let sends = is_something && self.find_flight(slot, now, output);
        if sends {
            self.transmit(slot, written, closing, now, output);
        } else if is_something {
            // Without a flight there was no room to write in, so only the FIN is left to send.
            self.close_later(slot, now);
        }
        if wants_room && !closing {
            self.wait_for_room(slot, now, output);
        }
        sends
    }

    /// Closes the connection in `slot` when its timer finds a flight for the FIN.
    pub(super) fn close_later(&mut self, slot: u32, now: Instant) {
        let conn = &mut self.table.slab[slot];
        conn.set(CLOSE_DUE);
        conn.touched = Tick::of(now);
        self.table.wakes.take(slot);
        self.start_timer(slot);
    }

    /// Sends the first `len` bytes of the scratch buffer, then the FIN if `fin`. The caller has made
    /// sure of [`Engine::room`] and of [`Engine::find_flight`].
    pub(super) fn transmit<P: FramePool>(
        &mut self,
        slot: u32,
        len: usize,
        fin: bool,
        now: Instant,
        output: &mut Output<'_, P>,
    ) {
        if let Some(index) = self.table.slab[slot].promoted() {
            let scratch = core::mem::take(&mut self.scratch);
            self.transmit_promoted(index, &scratch[..len], fin, now, output);
            self.scratch = scratch;
            return;
        }
        let Some(flight) = self.flight_of(slot, now) else { return };
        let sent_before = usize::from(self.flights[flight].len);
        self.flights.append(flight, &self.scratch[..len], &mut self.outbox.payloads);
        if fin {
            self.flights[flight].fin = true;
            self.table.slab[slot].clear(CLOSE_DUE);
            let closed = self.table.slab[slot].state.after_close();
            self.set_state(slot, closed);
        }
        self.send_flight(slot, sent_before, usize::MAX, output);
    }

    /// Sends `payload` on the connection in `slot`, which has nothing in flight, and does not copy it. The
    /// caller has made sure of [`Engine::room`] and of [`Engine::find_flight`].
    pub(super) fn transmit_shared<P: FramePool>(
        &mut self,
        slot: u32,
        payload: Payload,
        now: Instant,
        output: &mut Output<'_, P>,
    ) {
        let Some(flight) = self.flight_of(slot, now) else { return };
        self.flights.share(flight, payload, &mut self.outbox.payloads);
        self.send_flight(slot, 0, usize::MAX, output);
    }

    /// The flight of the connection in `slot`, a fresh one if it had none.
    pub(super) fn flight_of(&mut self, slot: u32, now: Instant) -> Option<u32> {
        let flight = self.table.slab[slot].flight;
        if flight != NONE {
            return Some(flight);
        }
        self.begin_flight(slot, 0, now)
    }

    /// A flight for the connection in `slot`, which has none, of the first `len` bytes of the scratch buffer;
    /// or `None` when all are in use.
    #[inline]
    pub(super) fn begin_flight(&mut self, slot: u32, len: usize, now: Instant) -> Option<u32> {
        let since = Tick::of(now);
        let conn = &mut self.table.slab[slot];
        let timeout = self.classes[conn.class].profile.user_timeout;
        let deadline = flight_deadline(since, 0, since, timeout);
        let flight = self.flights.begin(slot, &self.scratch, len, (since, deadline))?;
        conn.flight = flight;
        self.flight_wheel.insert(&mut self.flights, flight, deadline);
        Some(flight)
    }

    /// Sends the flight of `slot` from byte `from` on, in at most `segments` segments; its FIN goes
    /// with the last byte. Returns whether all of them were sent.
    pub(super) fn send_flight<P: FramePool>(
        &mut self,
        slot: u32,
        from: usize,
        segments: usize,
        output: &mut Output<'_, P>,
    ) -> bool {
        let conn = &self.table.slab[slot];
        if conn.flight == NONE {
            return false;
        }
        let payload = self.flights.payload(conn.flight, &self.outbox.payloads);
        let fin = self.flights[conn.flight].fin;
        let flow = self.table.flow(slot);
        let mut start = from;
        let mut sent = true;
        for _ in 0..segments {
            let end = payload.len().min(start + usize::from(conn.mss));
            let is_last = end == payload.len();
            #[expect(clippy::cast_possible_truncation, reason = "inside a flight")]
            let segment = Outgoing {
                ethernet: &self.table.paths[conn.path].ethernet,
                flow,
                seq: conn.snd_una + start as u32,
                ack: conn.rcv_nxt,
                flags: Flags { ack: true, fin: fin && is_last, ..Flags::default() },
                window: self.receive_window(slot),
                options: SynOptions::default(),
                payload: &payload[start..end],
            };
            sent &= output.segment(&mut self.counters, &segment);
            if is_last {
                break;
            }
            start = end;
        }
        sent
    }

    /// Sends an ACK without data: `<SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>`.
    pub(super) fn acknowledge<P: FramePool>(&mut self, slot: u32, output: &mut Output<'_, P>) {
        self.send_bare(slot, Flags { ack: true, ..Flags::default() }, output);
    }

    /// Sends a reset: `<SEQ=SND.NXT><ACK=RCV.NXT><CTL=RST,ACK>`.
    pub(super) fn reset<P: FramePool>(&mut self, slot: u32, output: &mut Output<'_, P>) {
        let sent = self.send_bare(slot, Flags { rst: true, ack: true, ..Flags::default() }, output);
        self.counters.resets += u64::from(sent);
    }

    /// Sends a keepalive probe: an empty segment below what the peer expects, which it must answer.
    /// RFC 9293 section 3.8.4: `SEG.SEQ = SND.NXT-1`, here without the garbage byte.
    pub(super) fn probe<P: FramePool>(&mut self, slot: u32, output: &mut Output<'_, P>) {
        let seq = self.snd_nxt(slot) - 1;
        let sent = self.send_empty(slot, seq, Flags { ack: true, ..Flags::default() }, output);
        self.counters.probes += u64::from(sent);
    }

    fn send_bare<P: FramePool>(
        &mut self,
        slot: u32,
        flags: Flags,
        output: &mut Output<'_, P>,
    ) -> bool {
        let seq = match self.table.slab[slot].promoted() {
            Some(index) if !flags.rst => self.promoted[index].promoted.seq_of_ack(),
            _ => self.snd_nxt(slot),
        };
        self.send_empty(slot, seq, flags, output)
    }

    fn send_empty<P: FramePool>(
        &mut self,
        slot: u32,
        seq: SeqNumber,
        flags: Flags,
        output: &mut Output<'_, P>,
    ) -> bool {
        let conn = &self.table.slab[slot];
        let segment = Outgoing {
            ethernet: &self.table.paths[conn.path].ethernet,
            flow: self.table.flow(slot),
            seq,
            ack: conn.rcv_nxt,
            flags,
            window: self.receive_window(slot),
            options: SynOptions::default(),
            payload: &[],
        };
        output.segment(&mut self.counters, &segment)
    }

    /// Starts the retransmission timer of `flight` (RFC 6298 sections 5.1 and 5.3).
    pub(super) fn restart_flight_timer(&mut self, flight: u32, now: Instant) {
        let Flight { conn, since, .. } = self.flights[flight];
        let retries = self.flights[flight].retries();
        let timeout = self.profile(conn).user_timeout;
        let deadline = flight_deadline(Tick::of(now), retries, since, timeout);
        self.flights[flight].deadline = deadline;
        self.flight_wheel.schedule(&mut self.flights, flight, deadline);
    }

    /// Frees the flight of `slot`, if it has one (RFC 6298 section 5.2), or its place among the
    /// promoted connections.
    pub(super) fn drop_flight(&mut self, slot: u32) {
        let conn = &mut self.table.slab[slot];
        let promoted = conn.promoted();
        let flight = core::mem::replace(&mut conn.flight, NONE);
        match promoted {
            Some(index) => {
                self.release_promoted(index);
                if self.table.slab[slot].state.can_send() {
                    self.start_timer(slot);
                }
            }
            None if flight == NONE => {}
            None => self.end_flight(slot, flight),
        }
    }

    /// Frees `flight`, which the record in `slot` refers to no more.
    #[inline]
    pub(super) fn end_flight(&mut self, slot: u32, flight: u32) {
        self.flight_wheel.cancel(&mut self.flights, flight);
        self.flights.remove(flight, &mut self.outbox.payloads);
        // A connection with data in flight needs no keepalive timer; now it may again.
        if self.profile(slot).keepalive.is_some() {
            self.resume_timer(slot);
        }
    }
}

/// When what was sent at `now` for the `retries`th time again is sent once more: at the latest, when the user
/// timeout, counted from `since`, ends.
#[inline]
fn flight_deadline(now: Tick, retries: u8, since: Tick, timeout: Option<Duration>) -> Tick {
    let deadline = now.after(timing::rto(retries));
    timeout.map_or(deadline, |timeout| deadline.earlier(since.after(timeout)))
}
