//! Passive and active opens.

use super::Engine;
use super::claims::Claim;
use super::classes::Class;
use super::locals::Listener;
use super::output::Output;
use crate::conn::path::Path;
use crate::conn::record::{Conn, OPENED_HERE, SACK_PERMITTED, State};
use crate::conn::slab::ConnId;
use crate::drops::DropReason;
use crate::frame::{Frame, FramePool};
use crate::service::{Answer, Service};
use crate::tcp::CloseReason;
use crate::tcp::handshake::{self, SynSent};
use crate::tcp::timing;
use crate::time::{Instant, Tick};
use crate::wire::addr::{Endpoint, FlowKey};
use crate::wire::emit::Outgoing;
use crate::wire::ethernet::{self, EthernetHeader};
use crate::wire::packet::{Flags, Segment, SynOptions};
use crate::wire::seq::SeqNumber;

/// Why a connection could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The hardware address of the peer, or of the gateway to it, was asked for: try again in a
    /// moment. Or it is not yet known whether somebody else has an owned address.
    #[error("waiting for the neighbour's hardware address")]
    Resolving,
    /// The local address is not owned by this engine, or somebody else had it first.
    #[error("the local address is not owned")]
    NotOwned,
    /// The remote address is that of a group, or of no host at all.
    #[error("the remote address is no host's")]
    NotUnicast,
    /// The peer is not on the local address's link, and there is no gateway on it, or the addresses
    /// are of two families.
    #[error("the peer is not on the link, and no gateway is")]
    Unreachable,
    /// There is a connection between these endpoints already.
    #[error("the endpoints are in use")]
    InUse,
    /// All connection records, paths, or pairs of a service and a keepalive profile are in use.
    #[error("all connections are in use")]
    Full,
}

/// How far past the last connection's numbers a new one in its place starts, at least: more than
/// what a peer would still take for the old one's window, as Linux has it.
const REOPEN_GAP: u32 = 65_537;

impl<S: Service> Engine<S> {
    /// Opens a connection from `local` to `remote`, with the service's tag `tag`, by sending a SYN.
    /// The service hears of its fate: `on_open`, or `on_close`.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`]. After `Resolving` the frame sent asks for the next hop's hardware address.
    pub fn connect<P: FramePool>(
        &mut self,
        local: Endpoint,
        remote: Endpoint,
        tag: u8,
        now: Instant,
        pool: &mut P,
        tx: &mut Vec<Frame>,
    ) -> Result<ConnId, ConnectError> {
        let mut output = Output::new(pool, tx);
        if self.locals.owned(&local.addr).is_none() {
            return Err(ConnectError::NotOwned);
        }
        match self.claims.claim() {
            Claim::Held => {}
            Claim::Probing => return Err(ConnectError::Resolving),
            Claim::Refused(_) => return Err(ConnectError::NotOwned),
        }
        // RFC 9293 section 3.9.1.1: "MUST reject as an error a local OPEN call for an invalid remote
        // IP address (e.g., a broadcast or multicast address) (MUST-46)".
        if !remote.addr.is_valid_source() || self.locals.is_broadcast(&remote.addr) {
            return Err(ConnectError::NotUnicast);
        }
        let next_hop = self.locals.next_hop(&local.addr, &remote.addr);
        let next_hop = next_hop.ok_or(ConnectError::Unreachable)?;
        let mac = self
            .neighbors
            .resolve(next_hop, local.addr, now, &mut output, &mut self.counters)
            .ok_or(ConnectError::Resolving)?;
        let flow = FlowKey { remote, local };
        if self.table.find(&flow, self.table.hash(&flow)).is_some() {
            return Err(ConnectError::InUse);
        }
        let class = Class::new(tag, self.config.profile);
        let class = self.classes.number(class).ok_or(ConnectError::Full)?;
        let ethertype = if local.addr.is_v4() { ethernet::IPV4 } else { ethernet::IPV6 };
        let ethernet = EthernetHeader::new(mac, self.config.mac, ethertype);
        let path = Path { local: local.addr, ethernet };
        let inserted = self.table.insert(&flow, path, State::SynSent);
        let slot = inserted.map_err(|_| ConnectError::Full)?;
        self.begin(slot, self.isns.isn(&flow, now), class, now);
        self.send_syn(slot, &mut output);
        Ok(self.table.slab.id(slot))
    }

    /// Answers a SYN for `listener` with a SYN-ACK, back along `header`; `past` is the SND.NXT of the
    /// same endpoints' last connection, if that was still in TIME-WAIT.
    pub(super) fn open_passively<P: FramePool>(
        &mut self,
        segment: &Segment,
        listener: &Listener,
        header: EthernetHeader,
        past: Option<SeqNumber>,
        now: Instant,
        output: &mut Output<'_, P>,
    ) -> Result<(), DropReason> {
        let isn = self.isns.isn(&segment.flow, now);
        let isn = match past {
            // RFC 9293 section 3.10.7.4 (MAY-2): the first number is to be "larger than the largest
            // sequence number it used on the previous connection incarnation"; that may have sent
            // faster than the clock of RFC 6528 counts.
            Some(past) if !isn.after(past) => past + REOPEN_GAP,
            _ => isn,
        };
        let slot = self.begin_passively(&segment.flow, listener, header, isn, now)?;
        // Data in the SYN is not acknowledged; the peer sends it again.
        self.learn(slot, segment);
        self.send_syn(slot, output);
        Ok(())
    }

    /// Makes the half-open record of a connection to `listener`, whose first sequence number is `isn`.
    ///
    /// # Errors
    ///
    /// `PrefixFull`, `ProfilesFull`, `PathsFull` or `TableFull`; nothing is changed then.
    pub(super) fn begin_passively(
        &mut self,
        flow: &FlowKey,
        listener: &Listener,
        header: EthernetHeader,
        isn: SeqNumber,
        now: Instant,
    ) -> Result<u32, DropReason> {
        self.table.check_prefix(&flow.remote.addr)?;
        let profile = listener.profile.unwrap_or(self.config.profile);
        let class = Class::new(listener.tag, profile);
        let class = self.classes.number(class).ok_or(DropReason::ProfilesFull)?;
        let path = Path { local: flow.local.addr, ethernet: header };
        let slot = self.table.insert(flow, path, State::SynReceived)?;
        self.counters.half_open += 1;
        self.begin(slot, isn, class, now);
        Ok(slot)
    }

    /// Gives a new record its first sequence number and its handshake timer.
    fn begin(&mut self, slot: u32, isn: SeqNumber, class: u8, now: Instant) {
        let conn = &mut self.table.slab[slot];
        conn.snd_una = isn;
        conn.class = class;
        conn.touched = Tick::of(now);
        self.start_timer(slot);
    }

    /// Sends the SYN of a connection in SYN-SENT, or the SYN-ACK of one in SYN-RECEIVED.
    /// Returns whether it was sent.
    pub(super) fn send_syn<P: FramePool>(&mut self, slot: u32, output: &mut Output<'_, P>) -> bool {
        let conn = &self.table.slab[slot];
        let passive = conn.state == State::SynReceived;
        // RFC 7323 section 2.2: the option is offered, and returned only to those who offered it.
        let wscale = (!passive || conn.wscale().is_some()).then_some(0);
        // RFC 2018 section 2: likewise. Without a place for what comes early there is nothing to
        // acknowledge selectively.
        let sack_permitted = self.promoted.capacity() > 0 && (!passive || conn.has(SACK_PERMITTED));
        let options = SynOptions { mss: Some(self.mss_max(slot)), wscale, sack_permitted };
        let path = &self.table.paths[conn.path];
        let segment = Outgoing {
            ethernet: &path.ethernet,
            flow: self.table.flow(slot),
            seq: conn.snd_una,
            ack: conn.rcv_nxt,
            flags: Flags { syn: true, ack: passive, ..Flags::default() },
            window: self.receive_window(slot),
            options,
            payload: &[],
        };
        output.segment(&mut self.counters, &segment)
    }

    /// The largest payload that goes into one packet of this connection.
    fn mss_max(&self, slot: u32) -> u16 {
        let Conn { path, .. } = &self.table.slab[slot];
        handshake::mss_of_mtu(self.config.mtu, &self.table.paths[*path].local)
    }

    /// Takes over what the peer's SYN says.
    fn learn(&mut self, slot: u32, segment: &Segment) {
        let mss_max = self.mss_max(slot);
        handshake::learn(&mut self.table.slab[slot], segment, mss_max);
    }

    /// A segment for a connection in SYN-SENT.
    pub(super) fn on_syn_sent<P: FramePool>(
        &mut self,
        slot: u32,
        frame: Frame,
        segment: &Segment,
        now: Instant,
        output: &mut Output<'_, P>,
    ) -> Result<(), DropReason> {
        output.reuse(frame);
        match handshake::in_syn_sent(&self.table.slab[slot], segment) {
            SynSent::Established => {
                self.complete_open(slot, segment, now, output);
                Ok(())
            }
            SynSent::Simultaneous => {
                self.learn(slot, segment);
                let conn = &mut self.table.slab[slot];
                conn.set(OPENED_HERE);
                conn.attempts = 0;
                conn.touched = Tick::of(now);
                self.set_state(slot, State::SynReceived);
                self.start_timer(slot);
                self.send_syn(slot, output);
                Ok(())
            }
            SynSent::Refused => {
                self.remove(slot, CloseReason::Refused);
                Ok(())
            }
            SynSent::Reset(reset) => {
                let header = self.table.paths[self.table.slab[slot].path].ethernet;
                self.send_reset(reset, segment.flow, &header, now, output)
            }
            SynSent::Drop(reason) => Err(reason),
        }
    }

    /// The peer's SYN-ACK completes the handshake that this host began.
    pub(super) fn complete_open<P: FramePool>(
        &mut self,
        slot: u32,
        segment: &Segment,
        now: Instant,
        output: &mut Output<'_, P>,
    ) {
        self.learn(slot, segment);
        self.table.slab[slot].snd_una += 1;
        self.counters.connected += 1;
        let mut answer = Answer::default();
        self.establish(slot, now, &mut answer, output);
        if !self.transmit_answer(slot, &answer, now, output) {
            self.acknowledge(slot, output);
        }
    }

    /// The handshake is complete: tells the service, which may answer.
    pub(super) fn establish<P: FramePool>(
        &mut self,
        slot: u32,
        now: Instant,
        answer: &mut Answer,
        output: &mut Output<'_, P>,
    ) {
        self.find_flight(slot, now, output);
        self.set_state(slot, State::Established);
        let conn = &mut self.table.slab[slot];
        let handshake = timing::rto(conn.attempts);
        conn.touched = Tick::of(now);
        conn.attempts = 0;
        conn.clear(OPENED_HERE);
        // The handshake's timer is still in the wheel, and moves on by itself when its time comes.
        if self.profile(slot).keepalive.is_some_and(|keepalive| keepalive.time() < handshake) {
            self.start_timer(slot);
        }
        self.call_service(slot, now, answer, |service, context| service.on_open(context));
    }
}
