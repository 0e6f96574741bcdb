//! A segment for a connection, carried out as [`crate::tcp::parked`] decided.

use super::Engine;
use super::output::Output;
use crate::conn::record::{CHALLENGED, CLOSE_DUE, NONE, PEER_CLOSED_FIRST, State};
use crate::drops::DropReason;
use crate::frame::{Frame, FramePool};
use crate::service::{Answer, Service};
use crate::tcp::CloseReason;
use crate::tcp::challenge;
use crate::tcp::parked::{self, Accept, Verdict};
use crate::time::{Instant, Tick};
use crate::wire::ethernet::EthernetHeader;
use crate::wire::packet::Segment;

impl<S: Service> Engine<S> {
    /// A segment for the connection in `slot`.
    pub(super) fn on_segment<P: FramePool>(
        &mut self,
        slot: u32,
        frame: Frame,
        segment: &Segment,
        now: Instant,
        output: &mut Output<'_, P>,
    ) -> Result<(), DropReason> {
        let conn = &self.table.slab[slot];
        if conn.state == State::SynSent {
            return self.on_syn_sent(slot, frame, segment, now, output);
        }
        if self.config.promote_always && !self.promoted.is_full() {
            self.promote(slot, now, output);
        }
        let conn = &self.table.slab[slot];
        let window = self.receive_window(slot);
        let promoted = conn.promoted();
        let verdict = parked::judge(conn, self.snd_nxt(slot), window, segment);
        self.follow(slot, output.bytes(&frame), segment, &verdict);
        match verdict {
            Verdict::Accept(accept) => match promoted {
                Some(index) => {
                    self.on_promoted_segment(index, frame, segment, &accept, now, output)
                }
                None => self.accept(slot, frame, segment, &accept, now, output),
            },
            Verdict::Early(accept) => match self.promote(slot, now, output) {
                Some(index) => {
                    self.on_promoted_segment(index, frame, segment, &accept, now, output)
                }
                // What it acknowledges still counts.
                None if accept.ack != self.table.slab[slot].snd_una => {
                    self.accept(slot, frame, segment, &accept, now, output)
                }
                None => {
                    output.reuse(frame);
                    let verdict = Verdict::Acknowledge(DropReason::OutOfOrder);
                    self.refuse(slot, verdict, segment, now, output)
                }
            },
            Verdict::Reopen => self.reopen(slot, frame, segment, now, output),
            verdict => {
                output.reuse(frame);
                self.refuse(slot, verdict, segment, now, output)
            }
        }
    }

    /// A new connection in place of one in TIME-WAIT, if its port still listens.
    fn reopen<P: FramePool>(
        &mut self,
        slot: u32,
        frame: Frame,
        segment: &Segment,
        now: Instant,
        output: &mut Output<'_, P>,
    ) -> Result<(), DropReason> {
        let header = EthernetHeader::parse(output.bytes(&frame));
        output.reuse(frame);
        let listener = self.locals.listener(&segment.flow.local).copied();
        let Some(listener) = listener.filter(|_| !self.is_half_open_full()) else {
            // Nobody would accept it, so it must not end TIME-WAIT either. Nor would a cookie do: its
            // number need not be past the old connection's.
            let verdict = Verdict::Acknowledge(DropReason::Flags);
            return self.refuse(slot, verdict, segment, now, output);
        };
        self.check_accept(now)?;
        let past = self.snd_nxt(slot);
        self.remove(slot, CloseReason::ClosedByUs);
        self.open_passively(segment, &listener, header?.reply(), Some(past), now, output)?;
        self.note_accept(now);
        Ok(())
    }

    /// Every verdict that takes nothing from the segment.
    fn refuse<P: FramePool>(
        &mut self,
        slot: u32,
        verdict: Verdict,
        segment: &Segment,
        now: Instant,
        output: &mut Output<'_, P>,
    ) -> Result<(), DropReason> {
        match verdict {
            Verdict::Acknowledge(reason) => {
                let conn = &mut self.table.slab[slot];
                let is_last = segment.flags.fin && segment.seq + segment.len() == conn.rcv_nxt;
                if conn.state == State::TimeWait && is_last {
                    // RFC 9293 section 3.10.7.4: "The only thing that can arrive in this state is
                    // a retransmission of the remote FIN. Acknowledge it, and restart the 2 MSL
                    // timeout."
                    conn.touched = Tick::of(now);
                }
                if challenge::is_due(conn, segment, reason, Tick::of(now))
                    && self.is_granted(segment, reason, now)
                {
                    self.acknowledge(slot, output);
                }
                Err(reason)
            }
            Verdict::Drop(reason) => Err(reason),
            Verdict::RepeatSynAck => {
                self.send_syn(slot, output);
                Ok(())
            }
            Verdict::Establish => {
                self.complete_open(slot, segment, now, output);
                Ok(())
            }
            Verdict::ResetByPeer => {
                // "If this connection was initiated with an active OPEN ... then the connection was
                // refused" (RFC 9293 section 3.10.7.4, second).
                let reason = match self.table.slab[slot].opens_simultaneously() {
                    true => CloseReason::Refused,
                    false => CloseReason::ResetByPeer,
                };
                self.remove(slot, reason);
                Ok(())
            }
            Verdict::RefuseAck => {
                let header = self.table.paths[self.table.slab[slot].path].ethernet;
                self.reset_stray(segment, &header, now, output)
            }
            Verdict::Abort => {
                self.reset(slot, output);
                self.remove(slot, CloseReason::ClosedByUs);
                Ok(())
            }
            Verdict::Accept(_) | Verdict::Early(_) | Verdict::Reopen => {
                unreachable!("carried out by on_segment")
            }
        }
    }

    /// Takes what a segment brings: first its acknowledgment, then its data, then its FIN.
    fn accept<P: FramePool>(
        &mut self,
        slot: u32,
        frame: Frame,
        segment: &Segment,
        accept: &Accept,
        now: Instant,
        output: &mut Output<'_, P>,
    ) -> Result<(), DropReason> {
        let closing = self.table.slab[slot].has(CLOSE_DUE);
        let mut answer = Answer { closing, ..Answer::default() };
        if let Some(window) = accept.window {
            self.table.slab[slot].snd_wnd = window;
        }
        if self.table.slab[slot].state == State::SynReceived {
            self.table.slab[slot].snd_una = accept.ack;
            match self.table.slab[slot].opens_simultaneously() {
                true => self.counters.connected += 1,
                false => self.counters.accepted += 1,
            }
            self.establish(slot, now, &mut answer, output);
        }
        let repeat = match self.take_ack(slot, accept, now, &mut answer) {
            Acked::Removed => {
                output.reuse(frame);
                return Ok(());
            }
            Acked::Repeat => true,
            Acked::Done => false,
        };
        let conn = &mut self.table.slab[slot];
        conn.clear(CHALLENGED);
        if conn.state.can_send() {
            conn.touched = Tick::of(now);
            conn.attempts = 0;
        }
        // What waited to be sent goes before the answers to what comes.
        answer.wants_room |= self.table.waiting.take(slot);
        self.offer_room(slot, now, &mut answer);
        let taken = self.take_data(slot, &frame, accept, now, &mut answer, output);
        let intake = Intake { accept, answer, taken, repeat };
        self.conclude(slot, frame, segment, intake, now, output)
    }

    /// Sends what is to be sent after a segment was taken, as far as it was.
    pub(super) fn conclude<P: FramePool>(
        &mut self,
        slot: u32,
        frame: Frame,
        segment: &Segment,
        intake: Intake<'_>,
        now: Instant,
        output: &mut Output<'_, P>,
    ) -> Result<(), DropReason> {
        let Intake { accept, mut answer, taken, repeat } = intake;
        let mut answered = false;
        if matches!(taken, Err(DropReason::FlightsFull | DropReason::ServiceFull))
            && !answer.closing
            && self.can_promote(slot)
        {
            // There is more than a record can keep.
            answered = self.transmit_answer(slot, &answer, now, output);
            if let Some(index) = self.promote(slot, now, output) {
                return self.on_promoted_segment(index, frame, segment, accept, now, output);
            }
            answer = Answer::default();
        }
        output.reuse(frame);
        if repeat {
            self.send_flight(slot, 0, usize::MAX, output);
        }
        answered |= self.transmit_answer(slot, &answer, now, output);
        if !answered && accept.ack_due {
            self.acknowledge(slot, output);
        }
        taken
    }

    /// Takes the acknowledgment: frees what it covers, and closes further if that was the FIN.
    fn take_ack(&mut self, slot: u32, accept: &Accept, now: Instant, answer: &mut Answer) -> Acked {
        let conn = &mut self.table.slab[slot];
        let acked = accept.ack.since(conn.snd_una);
        let flight = conn.flight;
        if acked == 0 || flight == NONE {
            return Acked::Done;
        }
        conn.snd_una = accept.ack;
        let payload_len = u32::from(self.flights[flight].len);
        if acked < self.flights.sequence_len(flight) {
            // Progress, but not all: what is left was lost if this answers a retransmission.
            let repeat = self.flights[flight].retries() > 0;
            self.flights.acknowledge(flight, acked.min(payload_len) as usize);
            self.flights[flight].since = Tick::of(now);
            self.restart_flight_timer(flight, now);
            return if repeat { Acked::Repeat } else { Acked::Done };
        }
        answer.wants_room |= self.flights[flight].wants_room;
        self.drop_flight(slot);
        if acked == payload_len {
            return Acked::Done;
        }
        // "... if the FIN segment is now acknowledged" (RFC 9293 section 3.10.7.4).
        match self.table.slab[slot].state {
            State::FinWait1 => {
                self.enter_fin_wait_2(slot, now);
                Acked::Done
            }
            State::Closing => {
                self.enter_time_wait(slot, now);
                Acked::Done
            }
            State::LastAck => {
                self.remove(slot, self.reason_of(slot));
                Acked::Removed
            }
            _ => Acked::Done,
        }
    }

    /// Takes the data and the FIN, as far as there is a flight to answer with and the service
    /// consumes them. What is not taken is not acknowledged.
    fn take_data<P: FramePool>(
        &mut self,
        slot: u32,
        frame: &Frame,
        accept: &Accept,
        now: Instant,
        answer: &mut Answer,
        output: &mut Output<'_, P>,
    ) -> Result<(), DropReason> {
        let len = accept.payload.len();
        if answer.aborting {
            return Ok(());
        }
        if len == 0 && !accept.fin {
            // What takes sequence numbers and brings none of them came early; its ACK counted.
            return if accept.ack_due { Err(DropReason::OutOfOrder) } else { Ok(()) };
        }
        // Who has closed has nothing to answer.
        if self.table.slab[slot].state.can_send() && !self.find_flight(slot, now, output) {
            return Err(DropReason::FlightsFull);
        }
        if len > 0 && answer.closing {
            // The service has closed already, and reads nothing, nor the FIN behind it.
            return Err(DropReason::ServiceFull);
        }
        let conn = &mut self.table.slab[slot];
        if !conn.state.can_send() {
            // Nobody reads it any more: the connection lingers.
            conn.rcv_nxt += u32::from(accept.payload.end - accept.payload.start);
        } else if len > 0 {
            let range = usize::from(accept.payload.start)..usize::from(accept.payload.end);
            let bytes = output.bytes(frame).get(range).unwrap_or_default();
            let consumed = self.call_service(slot, now, answer, |service, context| {
                service.on_data(context, bytes).min(bytes.len())
            });
            #[expect(clippy::cast_possible_truncation, reason = "at most one frame")]
            let taken = consumed as u32;
            self.table.slab[slot].rcv_nxt += taken;
            if answer.aborting {
                return Ok(());
            }
            if consumed < len {
                return Err(DropReason::ServiceFull);
            }
        }
        if accept.fin {
            self.take_fin(slot, now, answer);
        }
        Ok(())
    }

    /// Takes the peer's FIN. RFC 9293 section 3.10.7.4, eighth.
    fn take_fin(&mut self, slot: u32, now: Instant, answer: &mut Answer) {
        let conn = &mut self.table.slab[slot];
        conn.rcv_nxt += 1;
        match conn.state {
            State::Established => {
                conn.set(PEER_CLOSED_FIRST);
                self.set_state(slot, State::CloseWait);
                self.call_service(slot, now, answer, |service, context| {
                    service.on_peer_close(context);
                });
            }
            State::FinWait1 => self.set_state(slot, State::Closing),
            State::FinWait2 => self.enter_time_wait(slot, now),
            _ => {}
        }
    }

    /// The peer has this host's FIN, and may send its own.
    pub(super) fn enter_fin_wait_2(&mut self, slot: u32, now: Instant) {
        self.set_state(slot, State::FinWait2);
        let conn = &mut self.table.slab[slot];
        conn.touched = Tick::of(now);
        conn.attempts = 0;
        self.start_timer(slot);
    }

    /// Both sides have closed: keeps the record for late segments.
    pub(super) fn enter_time_wait(&mut self, slot: u32, now: Instant) {
        self.tell_closed(slot, self.reason_of(slot));
        self.set_state(slot, State::TimeWait);
        self.drop_flight(slot);
        self.table.slab[slot].touched = Tick::of(now);
        self.start_timer(slot);
    }

    /// Who closed first, of a connection that both sides closed.
    pub(super) fn reason_of(&self, slot: u32) -> CloseReason {
        let conn = &self.table.slab[slot];
        match conn.state {
            // The bit meant something else while only this host had closed.
            State::FinWait1 | State::FinWait2 | State::Closing => CloseReason::ClosedByUs,
            _ if conn.has(PEER_CLOSED_FIRST) => CloseReason::ClosedByPeer,
            _ => CloseReason::ClosedByUs,
        }
    }
}

/// What was taken from a segment, and what follows from that.
pub(super) struct Intake<'a> {
    /// What could be taken.
    pub(super) accept: &'a Accept,
    /// What the service wants.
    pub(super) answer: Answer,
    /// Why not all of it was taken.
    pub(super) taken: Result<(), DropReason>,
    /// Whether what is in flight is to be sent again.
    pub(super) repeat: bool,
}

/// What an acknowledgment did.
enum Acked {
    Done,
    /// It answers a retransmission of the first segment: the others are to be sent again too.
    Repeat,
    /// It ended the connection.
    Removed,
}
