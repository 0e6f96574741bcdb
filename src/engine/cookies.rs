//! Opening without a record: SYN cookies sent and taken back (RFC 4987 section 3.6).

use super::Engine;
use super::locals::Listener;
use super::output::Output;
use crate::drops::DropReason;
use crate::frame::FramePool;
use crate::service::Service;
use crate::tcp::{cookie, handshake};
use crate::time::Instant;
use crate::wire::emit::Outgoing;
use crate::wire::ethernet::EthernetHeader;
use crate::wire::packet::{Flags, Segment, SynOptions};

impl<S: Service> Engine<S> {
    /// Whether as many connections are in SYN-RECEIVED as may be.
    pub(super) fn is_half_open_full(&self) -> bool {
        self.counters.half_open >= u64::from(self.config.half_open_max)
    }

    /// Answers a SYN for `listener` with a cookie, back along `header`, and keeps nothing.
    ///
    /// # Errors
    ///
    /// `PrefixFull`.
    pub(super) fn send_cookie<P: FramePool>(
        &mut self,
        segment: &Segment,
        listener: &Listener,
        header: &EthernetHeader,
        now: Instant,
        output: &mut Output<'_, P>,
    ) -> Result<(), DropReason> {
        let flow = segment.flow;
        self.table.check_prefix(&flow.remote.addr)?;
        let mss_max = handshake::mss_of_mtu(self.config.mtu, &flow.local.addr);
        let mss = handshake::peer_mss(segment.options.mss, &flow.remote.addr, mss_max);
        // What the connection will advertise, which knows only the size that the cookie keeps.
        let window = self.window_for(listener.tag, cookie::kept_mss(mss));
        // RFC 7323 section 2.2: a cookie has no room for the peer's shift, so the option is not
        // returned, and neither side scales.
        let options = SynOptions { mss: Some(mss_max), ..SynOptions::default() };
        let sent = output.segment(
            &mut self.counters,
            &Outgoing {
                ethernet: header,
                flow,
                seq: self.cookies.make(&flow, segment.seq, mss, now),
                ack: segment.seq + 1,
                flags: Flags { syn: true, ack: true, ..Flags::default() },
                window,
                options,
                payload: &[],
            },
        );
        if sent {
            self.counters.cookies_sent += 1;
            self.cookie_sent = Some(now);
        }
        Ok(())
    }

    /// Makes the record of a connection whose cookie `segment` brings back, in SYN-RECEIVED as if the
    /// SYN had just come: the segment itself is then processed as any other. `None` when it brings
    /// no cookie.
    ///
    /// # Errors
    ///
    /// `PrefixFull`, `ProfilesFull`, `PathsFull` or `TableFull`; the peer sends again what it has to say.
    pub(super) fn open_by_cookie(
        &mut self,
        segment: &Segment,
        header: EthernetHeader,
        now: Instant,
    ) -> Result<Option<u32>, DropReason> {
        let Flags { syn, rst, ack, .. } = segment.flags;
        // While none are out, nobody can guess one.
        let sent_lately = self.cookie_sent.is_some_and(|sent| now.since(sent) <= cookie::LIFETIME);
        if !ack || syn || rst || !sent_lately {
            return Ok(None);
        }
        let flow = segment.flow;
        let Some(listener) = self.locals.listener(&flow.local).copied() else { return Ok(None) };
        let (irs, isn) = (segment.seq - 1, segment.ack - 1);
        let Some(mss) = self.cookies.check(&flow, irs, isn, now) else { return Ok(None) };
        // It is past the limit, but only until its segment is processed.
        let slot = self.begin_passively(&flow, &listener, header, isn, now)?;
        self.counters.cookies_accepted += 1;
        let conn = &mut self.table.slab[slot];
        // As `learn` would have it from a SYN without the window scale and SACK options.
        (conn.rcv_nxt, conn.mss, conn.snd_wnd) = (segment.seq, mss, segment.window);
        Ok(Some(slot))
    }
}
