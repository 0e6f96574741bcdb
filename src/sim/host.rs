//! An engine on one end of a link in memory, whose other end is the wire.

use crate::engine::config::Config;
use crate::engine::{BATCH_MAX, Engine};
use crate::frame::{Frame, FramePool};
use crate::link::Link;
use crate::link::memory::{self, MemoryLink};
use crate::service::Service;
use crate::time::Instant;

/// How large a host's queues are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Frames of the pool.
    pub(super) frames: usize,
    /// Places of the receive and of the transmit ring.
    pub(super) ring: usize,
    /// Frames that the engine may queue in one call.
    pub(super) queue: usize,
}

/// Ethernet, without the FCS, with an MTU of 1500 and some room to spare.
const FRAME_SIZE: usize = 2048;

/// An engine, its link, and the queue between them, as a shard has them.
pub(super) struct Host<S> {
    pub(super) engine: Engine<S>,
    link: MemoryLink,
    wire: MemoryLink,
    tx: Vec<Frame>,
    totals: [usize; 2],
}

impl<S: Service> Host<S> {
    pub(super) fn new(config: Config, service: S, room: Room, now: Instant) -> Host<S> {
        let (link, wire) = memory::pair(room.frames, FRAME_SIZE, room.ring);
        let totals = [link.census().total(), wire.census().total()];
        let engine = Engine::new(config, service, now);
        Host { engine, link, wire, tx: Vec::with_capacity(room.queue), totals }
    }

    /// How many frames were lost since the ring was full.
    pub(super) fn lost(&self) -> u64 {
        self.link.stats().rx_ring_full
    }

    /// Receives what arrives at `now`, lets the timers run and then `work`, as a shard's driver does.
    /// Returns what is sent.
    pub(super) fn step(
        &mut self,
        now: Instant,
        arriving: &[Vec<u8>],
        mut work: impl FnMut(&mut Engine<S>, &mut MemoryLink, &mut Vec<Frame>),
    ) -> Vec<Vec<u8>> {
        // More than the ring holds is lost, as on any wire.
        let mut batch = Vec::new();
        for bytes in arriving {
            let mut frame = self.wire.take().expect("the wire has its frames between steps");
            self.wire.room(&mut frame)[..bytes.len()].copy_from_slice(bytes);
            frame.set_len(bytes.len());
            batch.push(frame);
            self.wire.transmit(&mut batch).expect("it stays");
            self.wire.flush().expect("it stays");
        }
        let mut sent = Vec::new();
        loop {
            let mut rx = Vec::new();
            self.link.receive(&mut rx, BATCH_MAX).expect("it stays");
            let is_last = rx.is_empty();
            self.engine.handle_frames(now, &mut self.link, &mut rx, &mut self.tx);
            assert!(rx.is_empty(), "all of a batch is taken");
            self.send(&mut sent);
            self.engine.handle_timers(now, &mut self.link, &mut self.tx);
            self.send(&mut sent);
            if is_last {
                work(&mut self.engine, &mut self.link, &mut self.tx);
                self.send(&mut sent);
                break;
            }
        }
        self.engine.check(now);
        sent
    }

    /// Sends what is queued, and sees that every frame is where it should be.
    fn send(&mut self, sent: &mut Vec<Vec<u8>>) {
        assert_eq!(self.link.census().engine, self.tx.len(), "between calls it owns no frame");
        while !self.tx.is_empty() {
            self.link.transmit(&mut self.tx).expect("it stays");
            self.link.flush().expect("it stays");
            let mut batch = Vec::new();
            while self.wire.receive(&mut batch, BATCH_MAX).expect("it stays") > 0 {
                for frame in batch.drain(..) {
                    sent.push(self.wire.bytes(&frame).to_vec());
                    self.wire.give(frame);
                }
            }
        }
        let totals = [self.link.census().total(), self.wire.census().total()];
        assert_eq!(totals, self.totals, "frames are conserved");
        assert_eq!(self.link.stats().invalid_descriptors, 0);
    }
}
