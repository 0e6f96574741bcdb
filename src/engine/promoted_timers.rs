//! When promoted connections have something to do: send again, give up, probe, park.

use super::Engine;
use super::output::Output;
use crate::conn::wheel::Due;
use crate::frame::FramePool;
use crate::service::Service;
use crate::tcp::{CloseReason, keepalive, timing};
use crate::time::{Duration, Instant, Tick};

/// How long data that came early is kept for a peer that does not send what is missing. It was not
/// acknowledged, so it may go (RFC 2018 section 8).
const EARLY_KEPT: Duration = Duration::from_secs(10);

impl<S: Service> Engine<S> {
    /// When the connection is to be parked, if it has nothing to do.
    pub(super) fn quiet_at(&self, slot: u32, index: u32) -> Option<Tick> {
        if self.is_busy(slot, index) || self.config.promote_always {
            return None;
        }
        let conn = &self.table.slab[slot];
        let after = self.config.park_after;
        match self.promoted[index].promoted.has_early() {
            true => Some(self.promoted[index].received.after(after.max(EARLY_KEPT))),
            false if after.is_zero() => Some(conn.touched),
            false => Some(conn.touched.after(after)),
        }
    }

    /// Whether the connection has something to do that its record alone cannot go on with.
    pub(super) fn is_busy(&self, slot: u32, index: u32) -> bool {
        let promoted = &self.promoted[index].promoted;
        promoted.is_outstanding()
            || promoted.unread_len() > 0
            || self.promoted[index].wants_room
            || promoted.state() != Some(self.table.slab[slot].state)
    }

    /// Sets the timer of a promoted connection for the next thing that it has to do.
    pub(super) fn schedule_promoted(&mut self, slot: u32, index: u32, now: Instant) {
        let tick = Tick::of(now);
        let sends = self.promoted.poll_at(index, now).map(|at| match at > now {
            true => Tick(Tick::of(at).0.wrapping_add(1)),
            // No frame could be had.
            false => tick,
        });
        let is_outstanding = self.promoted[index].promoted.is_outstanding();
        let ends = match is_outstanding {
            true => Some(self.given_up_at(slot, index)),
            false => keepalive::probe_at(&self.table.slab[slot], self.profile(slot)),
        };
        let parks = self.quiet_at(slot, index);
        // Who waits for room and sends nothing that would be acknowledged had some, and did not use it.
        let is_idle = self.promoted[index].wants_room && !is_outstanding;
        let offers = is_idle.then(|| tick.after(timing::rto(0)));
        let next = [sends, ends, parks, offers].into_iter().flatten();
        let next = next.min_by_key(|at| at.0.wrapping_sub(tick.0).cast_signed());
        let Engine { promoted, promoted_wheel, .. } = self;
        match next {
            Some(deadline) => {
                promoted[index].deadline = deadline;
                promoted_wheel.schedule(promoted, index, deadline);
            }
            None => promoted_wheel.cancel(promoted, index),
        }
    }

    /// When a peer that acknowledges nothing of what is outstanding is given up.
    pub(super) fn given_up_at(&self, slot: u32, index: u32) -> Tick {
        let progress = self.promoted[index].progress;
        // Not `touched`: a segment that is not acceptable is told what is expected, and acknowledges
        // nothing.
        let heard = self.promoted[index].heard;
        match self.profile(slot).user_timeout {
            Some(timeout) => progress.after(timeout),
            // RFC 9293 section 3.8.6.1: "As long as the receiving TCP peer continues to send
            // acknowledgments in response to the probe segments, the sending TCP peer MUST allow the
            // connection to stay open (MUST-37)."
            None if heard.reached(progress) => heard.after(timing::DATA_TIMEOUT),
            None => progress.after(timing::DATA_TIMEOUT),
        }
    }

    /// Does what is due of promoted connections.
    pub(super) fn handle_promoted_timers<P: FramePool>(
        &mut self,
        now: Instant,
        output: &mut Output<'_, P>,
    ) {
        // One may send many frames, until there is no more room for any.
        let mut budget = self.config.timers_per_call;
        while output.is_ready() {
            let Engine { promoted, promoted_wheel, .. } = self;
            let due = promoted_wheel.pop(promoted, Tick::of(now), &mut budget);
            let Due::Timer(index) = due else { return };
            self.on_promoted_timer(index, now, output);
        }
    }

    fn on_promoted_timer<P: FramePool>(
        &mut self,
        index: u32,
        now: Instant,
        output: &mut Output<'_, P>,
    ) {
        let (slot, tick) = (self.promoted[index].conn, Tick::of(now));
        if self.promoted[index].promoted.is_outstanding() {
            if tick.reached(self.given_up_at(slot, index)) {
                self.reset(slot, output);
                self.remove(slot, CloseReason::UserTimeout);
                return;
            }
            // Who has closed its window answers every probe, but those are rare.
            let conn = &self.table.slab[slot];
            let is_unheard = tick.reached(conn.touched.after(timing::R1_TIMEOUT));
            self.doubt_path(slot, is_unheard && conn.window() > 0, now, output);
        } else if let Some(at) = keepalive::probe_at(&self.table.slab[slot], self.profile(slot))
            && tick.reached(at)
        {
            self.on_silence(slot, now, output);
        }
        if self.promoted[index].conn == slot {
            self.run(index, now, output);
        }
    }
}
