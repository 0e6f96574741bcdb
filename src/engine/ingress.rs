//! From a batch of frames to connections and the control plane.

use super::output::Output;
use super::{BATCH_MAX, Engine};
use crate::drops::DropReason;
use crate::frame::{Frame, FramePool};
use crate::service::Service;
use crate::tcp::reset::{self, Reset};
use crate::time::Instant;
use crate::wire::addr::{Address, FlowKey};
use crate::wire::emit::Outgoing;
use crate::wire::ethernet::EthernetHeader;
use crate::wire::packet::{self, Packet, Segment, SynOptions};

/// How many frames the second pass is behind the first: longer than a bucket takes to come.
const LAG: usize = 8;

/// A frame on its way through the passes.
pub(super) struct Received {
    frame: Frame,
    packet: Result<Packet, DropReason>,
    hash: u64,
    candidate: Option<u32>,
}

impl<S: Service> Engine<S> {
    /// Takes the frames of `rx`, at most [`BATCH_MAX`], which leaves it empty; appends the answers
    /// to `tx`, within its capacity, and gives the other frames back to `pool`.
    ///
    /// The frames go through in passes: parse, hash, and prefetch the bucket of the index; find the
    /// candidate in the bucket, and prefetch its record; process. The two cache misses that a random
    /// connection costs are then over before they are waited for. The second pass follows the first at
    /// a distance of eight frames, since a processor has only so many misses under way at once: all of a batch
    /// together would wait for each other.
    pub fn handle_frames<P: FramePool>(
        &mut self,
        now: Instant,
        pool: &mut P,
        rx: &mut Vec<Frame>,
        tx: &mut Vec<Frame>,
    ) {
        debug_assert!(rx.len() <= BATCH_MAX);
        self.counters.rx += rx.len() as u64;
        let mut batch = core::mem::take(&mut self.batch);
        for frame in rx.drain(..) {
            let packet = packet::parse(pool.bytes(&frame), self.config.mac);
            batch.push(Received { frame, packet, hash: 0, candidate: None });
            if let Some(received) = batch.last_mut() {
                self.hash(received);
            }
            let behind = batch.len().checked_sub(LAG);
            if let Some(received) = behind.and_then(|behind| batch.get_mut(behind)) {
                self.find_candidate(received);
            }
        }
        let last = batch.len().saturating_sub(LAG - 1);
        batch[last..].iter_mut().for_each(|received| self.find_candidate(received));
        let looked_up_at = self.table.changes();
        let mut output = Output::new(pool, tx);
        for Received { frame, packet, hash, candidate } in batch.drain(..) {
            let done = match packet {
                Ok(Packet::Tcp(segment)) => {
                    // An earlier frame of the batch may have opened or ended the connection.
                    let slot = match self.table.changes() == looked_up_at {
                        true => self.table.find_from(candidate, &segment.flow, hash),
                        false => self.table.find(&segment.flow, hash),
                    };
                    match slot {
                        Some(slot) => self.on_segment(slot, frame, &segment, now, &mut output),
                        None => self.on_stray_segment(frame, &segment, now, &mut output),
                    }
                }
                Ok(Packet::IcmpError(error)) => {
                    output.reuse(frame);
                    self.on_icmp_error(&error, now, &mut output)
                }
                Ok(Packet::Control(message)) => self.on_control(frame, &message, now, &mut output),
                Err(reason) => {
                    output.reuse(frame);
                    Err(reason)
                }
            };
            output.drop_spare();
            if let Err(reason) = done {
                self.counters.drops.count(reason);
            }
        }
        self.finish_batch(now, &mut output);
        self.batch = batch;
    }

    /// First pass: what is not to be looked at goes, and the bucket of the index is asked for.
    #[inline(always)]
    fn hash(&self, received: &mut Received) {
        match &received.packet {
            Ok(packet) if !self.claims.admits(packet) => {
                received.packet = Err(DropReason::Unclaimed);
            }
            Ok(Packet::Tcp(segment)) => {
                received.hash = self.table.hash(&segment.flow);
                self.table.prefetch_index(received.hash);
            }
            _ => {}
        }
    }

    /// Second pass: the bucket is there, and the record is asked for.
    #[inline(always)]
    fn find_candidate(&self, received: &mut Received) {
        if let Ok(Packet::Tcp(_)) = &received.packet {
            received.candidate = self.table.candidate(received.hash);
        }
    }

    /// A segment that belongs to no connection: a SYN for a listener, one that brings a cookie back,
    /// or to be reset.
    pub(super) fn on_stray_segment<P: FramePool>(
        &mut self,
        frame: Frame,
        segment: &Segment,
        now: Instant,
        output: &mut Output<'_, P>,
    ) -> Result<(), DropReason> {
        let header = self.check_stray(output.bytes(&frame), segment);
        let opened = header.and_then(|header| self.open_by_cookie(segment, header, now));
        if let Ok(Some(slot)) = opened {
            // The frame may bring data too, so it is not yet used again.
            return self.on_segment(slot, frame, segment, now, output);
        }
        output.reuse(frame);
        opened?;
        let (header, flags) = (header?, segment.flags);
        if flags.syn && !flags.ack {
            let listener = self.locals.listener(&segment.flow.local).copied();
            if let Some(listener) = listener {
                if self.is_half_open_full() {
                    return self.send_cookie(segment, &listener, &header, now, output);
                }
                return self.open_passively(segment, &listener, header, None, now, output);
            }
        }
        self.reset_stray(segment, &header, now, output)
    }

    /// Checks the addresses of a segment that belongs to no connection, and returns the way back.
    fn check_stray(&self, frame: &[u8], segment: &Segment) -> Result<EthernetHeader, DropReason> {
        let header = EthernetHeader::parse(frame)?;
        let FlowKey { remote, local } = &segment.flow;
        self.check_target(&local.addr)?;
        self.check_source(&remote.addr)?;
        Ok(header.reply())
    }

    /// A target address that is not this engine's. An owned range may hold the broadcast address of
    /// its link; what is sent there is for everyone (RFC 1122 section 4.2.3.10).
    pub(super) fn check_target(&self, local: &Address) -> Result<(), DropReason> {
        match self.locals.is_local(local) && !self.locals.is_broadcast(local) {
            true => Ok(()),
            false => Err(DropReason::NotOurs),
        }
    }

    /// A source address that only a forger would use.
    pub(super) fn check_source(&self, remote: &Address) -> Result<(), DropReason> {
        if self.locals.is_local(remote) {
            return Err(DropReason::OwnSource);
        }
        match self.locals.is_broadcast(remote) {
            true => Err(DropReason::SourceAddress),
            false => Ok(()),
        }
    }

    /// Answers a segment that has no connection with a reset, within the limit.
    pub(super) fn reset_stray<P: FramePool>(
        &mut self,
        segment: &Segment,
        header: &EthernetHeader,
        now: Instant,
        output: &mut Output<'_, P>,
    ) -> Result<(), DropReason> {
        let reset = reset::answer(segment).ok_or(DropReason::StrayReset)?;
        self.send_reset(reset, segment.flow, header, now, output)
    }

    /// Sends `reset` along `header`, within the limit.
    pub(super) fn send_reset<P: FramePool>(
        &mut self,
        reset: Reset,
        flow: FlowKey,
        header: &EthernetHeader,
        now: Instant,
        output: &mut Output<'_, P>,
    ) -> Result<(), DropReason> {
        if !self.resets.take(now) {
            return Err(DropReason::ResetLimited);
        }
        let sent = output.segment(
            &mut self.counters,
            &Outgoing {
                ethernet: header,
                flow,
                seq: reset.seq,
                ack: reset.ack.unwrap_or_default(),
                flags: reset.flags(),
                window: 0,
                options: SynOptions::default(),
                payload: &[],
            },
        );
        self.counters.resets += u64::from(sent);
        Ok(())
    }
}
