//! When the way to a peer changes: its hardware address, or its gateway's
//! (docs/decisions/0011-changed-hardware-addresses.md).

use super::Engine;
use super::output::Output;
use crate::conn::path::Path;
use crate::conn::record::State;
use crate::frame::FramePool;
use crate::service::Service;
use crate::tcp::challenge;
use crate::tcp::parked::Verdict;
use crate::time::Instant;
use crate::wire::ethernet::EthernetHeader;
use crate::wire::packet::Segment;

impl<S: Service> Engine<S> {
    /// Has the connection in `slot` send to where `frame` came from, if its segment, on which `verdict`
    /// was given, is one that only the peer can have sent: it knows exactly what is expected next, in
    /// both directions. Anything less could be a forger's, who wants the answers.
    #[inline]
    pub(super) fn follow(&mut self, slot: u32, frame: &[u8], segment: &Segment, verdict: &Verdict) {
        let conn = &self.table.slab[slot];
        let is_peers = match verdict {
            Verdict::Accept(accept) => segment.seq == conn.rcv_nxt && accept.window.is_some(),
            Verdict::Acknowledge(_) => challenge::is_probe(conn, segment),
            _ => false,
        };
        // Almost every one comes along the path.
        if !is_peers || self.table.paths[conn.path].ethernet.replies_to(frame) {
            return;
        }
        let Ok(header) = EthernetHeader::parse(frame) else { return };
        self.reroute(slot, header.reply());
    }

    /// What the connection in `slot` sent was not answered, so the next hop may no longer be where it
    /// was. If it has said since the peer was last heard that it is elsewhere, the connection sends
    /// there; and it is asked where it is if `ask`.
    pub(super) fn doubt_path<P: FramePool>(
        &mut self,
        slot: u32,
        ask: bool,
        now: Instant,
        output: &mut Output<'_, P>,
    ) {
        let conn = &self.table.slab[slot];
        // A SYN proves no address: forged ones would have the stack ask for everybody on the link.
        let is_unproven = conn.state == State::SynReceived && !conn.opens_simultaneously();
        let Path { local, ethernet } = self.table.paths[conn.path];
        let Some(next_hop) = self.locals.next_hop(&local, &conn.remote_addr) else { return };
        if ethernet.is_tagged() {
            // The questions go out without tags.
            return;
        }
        if let Some(mac) = self.neighbors.heard_since(&next_hop, conn.touched) {
            self.reroute(slot, ethernet.with_dst(mac));
        }
        if ask && !is_unproven {
            self.neighbors.ask(next_hop, local, now, output, &mut self.counters);
        }
    }

    /// Has the connection in `slot` send with `ethernet` from now on. It stays as it is when every
    /// path is in use.
    fn reroute(&mut self, slot: u32, ethernet: EthernetHeader) {
        let Path { local, ethernet: old } = self.table.paths[self.table.slab[slot].path];
        if ethernet != old && self.table.reroute(slot, Path { local, ethernet }) {
            self.counters.paths_changed += 1;
        }
    }
}
