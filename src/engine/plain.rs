//! Plain segments of idle connections, the short way: a probe is answered and an acknowledgment taken with
//! one look at the record. Whatever else there is to a segment goes the whole way, through `segment`; what
//! comes out is the same (docs/decisions/0020-plain-segments.md).

use super::Engine;
use super::output::Output;
use crate::conn::record::{CHALLENGED, CLOSE_DUE, Conn, NONE, PROMOTED, State};
use crate::drops::DropReason;
use crate::frame::{Frame, FramePool};
use crate::service::Service;
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
    /// It brings the next data, while nothing is in flight.
    Data,
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
            Role::Data if is_on_path => {
                #[expect(clippy::cast_possible_truncation, reason = "54")]
                let start = HEADERS_LEN as u16;
                let accept = Accept {
                    ack: plain.ack,
                    window: Some(plain.window),
                    payload: start..start + plain.len,
                    fin: false,
                    ack_due: true,
                };
                self.accept(slot, frame, &plain.to_segment(), &accept, now, output)
            }
            _ => self.on_segment(slot, frame, &plain.to_segment(), now, output),
        }
    }

    #[inline(always)]
    fn role(&self, slot: u32, conn: &Conn, plain: &Plain) -> Role {
        let is_open = conn.state == State::Established && !conn.has(CLOSE_DUE);
        if !is_open || self.config.promote_always {
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
        let fits = plain.seq == conn.rcv_nxt
            && plain.len > 0
            && plain.len <= self.window_for(self.classes[conn.class].tag, conn.mss);
        if fits { Role::Data } else { Role::Other }
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
        let conn = &mut self.table.slab[slot];
        if challenge::is_probe_due(conn, Tick::of(now)) {
            let (seq, ack, path) = (conn.snd_una, conn.rcv_nxt, conn.path);
            let (class, mss) = (conn.class, conn.mss);
            let window = self.window_for(self.classes[class].tag, mss);
            let ethernet = &self.table.paths[path].ethernet;
            output.frame(&mut self.counters, |room| {
                plain.reply(seq, ack, window).emit(room, ethernet)
            });
        }
        Err(DropReason::OutOfWindow)
    }

    /// Takes an acknowledgment of all that is in flight.
    #[inline(always)]
    fn take_whole_flight(&mut self, slot: u32, plain: &Plain, now: Instant) {
        self.table.slab[slot].snd_una = plain.ack;
        self.drop_flight(slot);
        let conn = &mut self.table.slab[slot];
        conn.snd_wnd = plain.window;
        (conn.touched, conn.attempts) = (Tick::of(now), 0);
        conn.clear(CHALLENGED);
    }
}
