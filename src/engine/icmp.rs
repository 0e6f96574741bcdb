//! ICMP errors for connections, carried out as [`crate::tcp::icmp`] decided.

use super::Engine;
use super::output::Output;
use crate::conn::record::NONE;
use crate::drops::DropReason;
use crate::frame::FramePool;
use crate::service::Service;
use crate::tcp::icmp::{self, Effect};
use crate::time::Instant;
use crate::wire::icmp_error::IcmpError;

impl<S: Service> Engine<S> {
    /// An error about a segment of the connection that it names, if there is one.
    pub(super) fn on_icmp_error<P: FramePool>(
        &mut self,
        error: &IcmpError,
        now: Instant,
        output: &mut Output<'_, P>,
    ) -> Result<(), DropReason> {
        self.check_source(&error.source)?;
        self.check_target(&error.flow.local.addr)?;
        let hash = self.table.hash(&error.flow);
        let slot = self.table.find(&error.flow, hash).ok_or(DropReason::IcmpStray)?;
        match icmp::judge(&self.table.slab[slot], self.snd_nxt(slot), error) {
            Effect::LowerMss(mss) => {
                self.lower_mss(slot, mss, now, output);
                Ok(())
            }
            Effect::Close(reason) => {
                self.remove(slot, reason);
                Ok(())
            }
            Effect::Drop(reason) => Err(reason),
        }
    }

    /// Sends in segments of at most `mss` bytes from now on, and at once what was too big.
    fn lower_mss<P: FramePool>(
        &mut self,
        slot: u32,
        mss: u16,
        now: Instant,
        output: &mut Output<'_, P>,
    ) {
        let conn = &mut self.table.slab[slot];
        conn.mss = mss;
        let flight = conn.flight;
        self.counters.mtu_lowered += 1;
        if let Some(index) = conn.promoted() {
            // What was too big is sent again when its timer is due.
            self.promoted[index].promoted.set_mss(mss);
            return;
        }
        if flight != NONE && self.flights[flight].len > mss {
            // RFC 1191 section 6.4: what was lost to its size is sent again without a timeout, and
            // as no congestion lost it, the next timeout is no longer than this one was.
            self.restart_flight_timer(flight, now);
            self.send_flight(slot, 0, usize::MAX, output);
        }
    }
}
