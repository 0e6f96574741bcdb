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
use crate::wire::plain::Plain;

/// How many frames are looked up together: enough for all their cache misses to be under way at once, and
/// few enough to be still in the nearest cache when their turn comes.
const GROUP: usize = 16;

/// A frame on its way through the passes, without the frame.
#[derive(Clone, Copy)]
struct Received {
    /// What it holds, if that is a plain segment.
    plain: Option<Plain>,
    /// Of its flow, if it is a segment.
    hash: u64,
    candidate: Option<u32>,
}

/// The frames of a batch on their way through the passes.
#[derive(Default)]
pub(super) struct Batch {
    received: Vec<Received>,
    /// What those hold that are no plain segments, in their order.
    others: Vec<Result<Packet, DropReason>>,
}

impl Batch {
    /// Room for [`BATCH_MAX`] frames.
    pub(super) fn new() -> Batch {
        Batch { received: Vec::with_capacity(BATCH_MAX), others: Vec::with_capacity(BATCH_MAX) }
    }
}

impl<S: Service> Engine<S> {
    /// Takes the frames of `rx`, at most [`BATCH_MAX`], which leaves it empty; appends the answers
    /// to `tx`, within its capacity, and gives the other frames back to `pool`.
    ///
    /// The frames go through in passes: parse and hash; prefetch the bucket of the index; find the
    /// candidate in the bucket, and prefetch its record; process. The two cache misses that a random
    /// connection costs are then over before they are waited for.
    ///
    /// A prefetch does not wait for memory, but for the translation of its address, and of ten million
    /// records hardly one has its translation at hand. Translations are under way together only where
    /// little else is between them: so the prefetches of a group of frames stand in loops of their own
    /// (docs/decisions/0020-plain-segments.md).
    pub fn handle_frames<P: FramePool>(
        &mut self,
        now: Instant,
        pool: &mut P,
        rx: &mut Vec<Frame>,
        tx: &mut Vec<Frame>,
    ) {
        debug_assert!(rx.len() <= BATCH_MAX);
        self.counters.rx += rx.len() as u64;
        let Batch { mut received, mut others } = core::mem::take(&mut self.batch);
        let (mut looked_up, mut hashed) = (0, 0);
        for frame in rx.iter() {
            received.push(self.parse(frame, pool, &mut others));
            if received.len() == hashed + GROUP {
                self.look_up(&mut received, looked_up, hashed);
                (looked_up, hashed) = (hashed, received.len());
            }
        }
        self.look_up(&mut received, looked_up, hashed);
        let all = received.len();
        self.look_up(&mut received, hashed, all);
        let looked_up_at = self.table.changes();
        let mut output = Output::new(pool, tx);
        let mut packets = others.drain(..);
        for (frame, Received { plain, hash, candidate }) in rx.drain(..).zip(&received) {
            let (hash, candidate) = (*hash, *candidate);
            // An earlier frame of the batch may have opened or ended the connection.
            let is_current = self.table.changes() == looked_up_at;
            let done = match plain {
                Some(plain) => match self.table.find_plain(candidate, is_current, plain, hash) {
                    Some(slot) => self.on_plain_segment(slot, frame, plain, now, &mut output),
                    None => self.on_stray_segment(frame, &plain.to_segment(), now, &mut output),
                },
                None => match packets.next().expect("one for each") {
                    Ok(Packet::Tcp(segment)) => {
                        let flow = &segment.flow;
                        match self.table.find_from(candidate, is_current, flow, hash) {
                            Some(slot) => self.on_segment(slot, frame, &segment, now, &mut output),
                            None => self.on_stray_segment(frame, &segment, now, &mut output),
                        }
                    }
                    Ok(Packet::IcmpError(error)) => {
                        output.reuse(frame);
                        self.on_icmp_error(&error, now, &mut output)
                    }
                    Ok(Packet::Control(message)) => {
                        self.on_control(frame, &message, now, &mut output)
                    }
                    Err(reason) => {
                        output.reuse(frame);
                        Err(reason)
                    }
                },
            };
            output.drop_spare();
            if let Err(reason) = done {
                self.counters.drops.count(reason);
            }
        }
        self.finish_batch(now, &mut output);
        drop(packets);
        received.clear();
        self.batch = Batch { received, others };
    }

    /// Parses and hashes a frame. What is not a plain segment is added to `others`.
    #[inline(always)]
    fn parse(
        &self,
        frame: &Frame,
        pool: &impl FramePool,
        others: &mut Vec<Result<Packet, DropReason>>,
    ) -> Received {
        let bytes = pool.bytes(frame);
        let plain = Plain::parse(bytes, self.config.mac).filter(|_| self.claims.is_held());
        let hash = match &plain {
            Some(plain) => plain.hash(self.table.hasher()),
            None => {
                others.push(packet::parse(bytes, self.config.mac));
                let packet = others.last_mut().expect("it was just added");
                if packet.as_ref().is_ok_and(|packet| !self.claims.admits(packet)) {
                    *packet = Err(DropReason::Unclaimed);
                }
                match packet {
                    Ok(Packet::Tcp(segment)) => self.table.hash(&segment.flow),
                    _ => 0,
                }
            }
        };
        Received { plain, hash, candidate: None }
    }

    /// Asks for the buckets of the frames from `hashed` on, and for the records of those before, from
    /// `looked_up` on, whose buckets are there.
    #[inline(always)]
    fn look_up(&self, received: &mut [Received], looked_up: usize, hashed: usize) {
        for received in &received[hashed..] {
            self.table.prefetch_index(received.hash);
        }
        for received in &mut received[looked_up..hashed] {
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
                self.check_accept(now)?;
                if self.is_half_open_full() {
                    self.send_cookie(segment, &listener, &header, now, output)?;
                } else {
                    self.open_passively(segment, &listener, header, None, now, output)?;
                }
                // Only what was accepted counts: who has no place must not use up that of others.
                self.note_accept(now);
                return Ok(());
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
