//! Plain segments of idle connections, the short way: a handshake is completed, a probe answered, an
//! acknowledgment or the next data taken, with one look at the record. Whatever else there is to a segment
//! goes the whole way, through `segment`; what comes out is the same
//! (docs/decisions/0020-plain-segments.md).

use super::Engine;
use super::output::Output;
use super::segment::Intake;
use crate::conn::record::{CHALLENGED, CLOSE_DUE, Conn, NONE, PROMOTED, State};
use crate::drops::DropReason;
use crate::frame::{Frame, FramePool};
use crate::service::{Answer, Service};
use crate::tcp::challenge;
use crate::tcp::parked::Accept;
use crate::time::{Instant, Tick};
use crate::wire::plain::{HEADERS_LEN, Plain};

/// What a plain segment is to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// A keepalive probe: it tells what the peer was last told (RFC 9293 section 3.8.4).
    Probe,
    /// It acknowledges everything that is in flight, for which the service does not wait, and brings
    /// nothing.
    Acknowledgment,
    /// It brings the next data, while nothing is in flight, but could be.
    Data,
    /// It completes the handshake that its sender began, and brings nothing else.
    Establishment,
    /// None of these.
    Other,
}

impl<S: Service> Engine<S> {
    /// A plain segment for the connection in `slot`.
    pub(super) fn on_plain_segment<P: FramePool>(
        &mut self,
        slot: u32,
        frame: Frame,
        plain: &Plain,
        now: Instant,
        output: &mut Output<'_, P>,
    ) -> Result<(), DropReason> {
        #[cfg(test)]
        if self.goes_whole_way {
            return self.on_segment(slot, frame, &plain.to_segment(), now, output);
        }
        let conn = &self.table.slab[slot];
        let role = self.role(slot, conn, plain);
        // Almost every one comes along the path; to follow one that does not is not for here.
        let is_on_path = self.table.paths[conn.path].ethernet.replies_to(output.bytes(&frame));
        match role {
            Role::Probe if is_on_path => self.answer_probe(slot, frame, plain, now, output),
            Role::Acknowledgment if is_on_path => {
                output.reuse(frame);
                self.take_whole_flight(slot, plain, now);
                Ok(())
            }
            Role::Establishment if is_on_path => {
                self.take_establishment(slot, frame, plain, now, output)
            }
            Role::Data if is_on_path => self.take_plain_data(slot, frame, plain, now, output),
            _ => self.on_segment(slot, frame, &plain.to_segment(), now, output),
        }
    }

    #[inline(always)]
    fn role(&self, slot: u32, conn: &Conn, plain: &Plain) -> Role {
        if self.config.promote_always {
            return Role::Other;
        }
        if conn.state == State::SynReceived && !conn.opens_simultaneously() {
            let completes =
                plain.len == 0 && plain.seq == conn.rcv_nxt && plain.ack == conn.snd_una + 1;
            return if completes { Role::Establishment } else { Role::Other };
        }
        if conn.state != State::Established || conn.has(CLOSE_DUE) {
            return Role::Other;
        }
        if conn.flight != NONE {
            let is_acknowledged = conn.flight & PROMOTED == 0
                && plain.len == 0
                && plain.seq == conn.rcv_nxt
                && plain.ack == conn.snd_una + self.flights.sequence_len(conn.flight)
                && plain.ack != conn.snd_una
                && !self.flights[conn.flight].wants_room
                && !self.table.waiting.has(slot);
            return if is_acknowledged { Role::Acknowledgment } else { Role::Other };
        }
        if plain.ack != conn.snd_una {
            return Role::Other;
        }
        if plain.len == 0 && plain.seq + 1 == conn.rcv_nxt {
            return Role::Probe;
        }
        let is_next = plain.seq == conn.rcv_nxt
            && plain.len > 0
            && plain.len <= self.receive_window(slot)
            && !self.flights.is_full()
            && !self.table.waiting.has(slot);
        if is_next { Role::Data } else { Role::Other }
    }

    /// Answers a probe in the frame that it came in.
    #[inline(always)]
    fn answer_probe<P: FramePool>(
        &mut self,
        slot: u32,
        frame: Frame,
        plain: &Plain,
        now: Instant,
        output: &mut Output<'_, P>,
    ) -> Result<(), DropReason> {
        output.reuse(frame);
        if challenge::is_probe_due(&mut self.table.slab[slot], Tick::of(now)) {
            self.reply(slot, plain, 0, output);
        }
        Err(DropReason::OutOfWindow)
    }

    /// Takes an acknowledgment of all that is in flight.
    #[inline(always)]
    fn take_whole_flight(&mut self, slot: u32, plain: &Plain, now: Instant) {
        let conn = &mut self.table.slab[slot];
        let flight = core::mem::replace(&mut conn.flight, NONE);
        conn.snd_una = plain.ack;
        self.end_flight(slot, flight);
        hear(&mut self.table.slab[slot], plain, now);
    }

    /// Takes the last segment of a handshake.
    fn take_establishment<P: FramePool>(
        &mut self,
        slot: u32,
        frame: Frame,
        plain: &Plain,
        now: Instant,
        output: &mut Output<'_, P>,
    ) -> Result<(), DropReason> {
        output.reuse(frame);
        let conn = &mut self.table.slab[slot];
        (conn.snd_una, conn.snd_wnd) = (plain.ack, plain.window);
        conn.clear(CHALLENGED);
        self.counters.accepted += 1;
        let mut answer = Answer::default();
        self.establish(slot, now, &mut answer, output);
        self.offer_room(slot, now, &mut answer);
        self.transmit_answer(slot, &answer, now, output);
        Ok(())
    }

    /// Gives the service the data that is next, and answers in the frame that it came in.
    #[inline(always)]
    fn take_plain_data<P: FramePool>(
        &mut self,
        slot: u32,
        frame: Frame,
        plain: &Plain,
        now: Instant,
        output: &mut Output<'_, P>,
    ) -> Result<(), DropReason> {
        hear(&mut self.table.slab[slot], plain, now);
        let len = usize::from(plain.len);
        let bytes = output.bytes(&frame).get(HEADERS_LEN..HEADERS_LEN + len).unwrap_or_default();
        let mut answer = Answer::default();
        let consumed = self.call_service(slot, now, &mut answer, |service, context| {
            service.on_data(context, bytes).min(bytes.len())
        });
        let conn = &mut self.table.slab[slot];
        #[expect(clippy::cast_possible_truncation, reason = "at most one frame")]
        let taken = consumed as u32;
        conn.rcv_nxt += taken;
        let written = answer.written;
        let is_small = written > 0 && written <= usize::from(conn.mss);
        if consumed == len && is_small && answer.is_plain() {
            output.reuse(frame);
            self.send_first(slot, plain, written, now, output);
            return Ok(());
        }
        let is_left = consumed < len && !answer.aborting;
        let accept = Accept {
            ack: plain.ack,
            window: Some(plain.window),
            payload: plain.payload(),
            fin: false,
            ack_due: true,
        };
        let taken = if is_left { Err(DropReason::ServiceFull) } else { Ok(()) };
        let intake = Intake { accept: &accept, answer, taken, repeat: false };
        self.conclude(slot, frame, &plain.to_segment(), intake, now, output)
    }

    /// Sends the first `len` bytes of the scratch buffer in one segment, while nothing is in flight, in
    /// answer to `plain`.
    #[inline(always)]
    fn send_first<P: FramePool>(
        &mut self,
        slot: u32,
        plain: &Plain,
        len: usize,
        now: Instant,
        output: &mut Output<'_, P>,
    ) {
        if self.begin_flight(slot, len, now).is_some() {
            self.reply(slot, plain, len, output);
        }
    }

    /// Sends a segment back to who sent `plain`: from SND.UNA on, with the first `len` bytes of the scratch
    /// buffer.
    #[inline(always)]
    fn reply<P: FramePool>(
        &mut self,
        slot: u32,
        plain: &Plain,
        len: usize,
        output: &mut Output<'_, P>,
    ) {
        let window = self.receive_window(slot);
        let conn = &self.table.slab[slot];
        let reply = plain.reply(conn.snd_una, conn.rcv_nxt, window);
        let ethernet = &self.table.paths[conn.path].ethernet;
        let payload = &self.scratch[..len];
        output.frame(&mut self.counters, |room| reply.emit(room, ethernet, payload));
    }
}

/// Notes what a segment that is taken tells of the peer: that it lives, and its window.
#[inline(always)]
fn hear(conn: &mut Conn, plain: &Plain, now: Instant) {
    conn.snd_wnd = plain.window;
    (conn.touched, conn.attempts) = (Tick::of(now), 0);
    conn.clear(CHALLENGED);
}
