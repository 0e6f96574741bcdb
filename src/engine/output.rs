//! Frames on their way out.

use super::counters::Counters;
use crate::drops::DropReason;
use crate::frame::{Frame, FramePool};
use crate::wire::emit::{self, Outgoing};

/// Where answers go: the received frame first, then fresh ones from the pool.
pub(super) struct Output<'a, P: FramePool> {
    pool: &'a mut P,
    tx: &'a mut Vec<Frame>,
    /// How long `tx` may get.
    limit: usize,
    /// A received frame that is no longer needed, to be written over.
    spare: Option<Frame>,
}

impl<'a, P: FramePool> Output<'a, P> {
    /// Sends into `tx`, within its capacity.
    pub(super) fn new(pool: &'a mut P, tx: &'a mut Vec<Frame>) -> Output<'a, P> {
        let limit = tx.capacity();
        Output { pool, tx, limit, spare: None }
    }

    /// Sends at most `most` frames into `tx`, and within half of its capacity.
    pub(super) fn at_most(most: usize, pool: &'a mut P, tx: &'a mut Vec<Frame>) -> Output<'a, P> {
        let limit = tx.capacity().div_ceil(2).min(tx.len() + most);
        Output { pool, tx, limit, spare: None }
    }

    /// Whether there is room for a frame in the queue.
    pub(super) fn has_room(&self) -> bool {
        self.tx.len() < self.limit
    }

    /// The bytes of a received frame.
    pub(super) fn bytes(&self, frame: &Frame) -> &[u8] {
        self.pool.bytes(frame)
    }

    /// The room of a received frame.
    pub(super) fn room(&mut self, frame: &mut Frame) -> &mut [u8] {
        self.pool.room(frame)
    }

    /// Offers a received frame for the next answer; what is not used goes back to the pool.
    pub(super) fn reuse(&mut self, frame: Frame) {
        self.drop_spare();
        self.spare = Some(frame);
    }

    /// Gives the frame that was offered and not used back to the pool.
    pub(super) fn drop_spare(&mut self) {
        if let Some(frame) = self.spare.take() {
            self.pool.give(frame);
        }
    }

    /// Writes one frame with `write`, which returns its length, and queues it. Without a frame or
    /// room in the queue it counts `NoFrame` and returns false: whoever waits for it sends again.
    pub(super) fn frame(
        &mut self,
        counters: &mut Counters,
        write: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> bool {
        let sent = self.has_room() && self.write(write);
        match sent {
            true => counters.tx += 1,
            false => counters.drops.count(DropReason::NoFrame),
        }
        sent
    }

    /// Whether a frame can be sent, which is then kept for it.
    pub(super) fn is_ready(&mut self) -> bool {
        if !self.has_room() {
            return false;
        }
        self.spare = self.spare.take().or_else(|| self.pool.take());
        self.spare.is_some()
    }

    /// The room of the frame that is sent next, if there is one.
    pub(super) fn next_room(&mut self) -> Option<&mut [u8]> {
        self.spare.as_mut().map(|frame| self.pool.room(frame))
    }

    fn write(&mut self, write: impl FnOnce(&mut [u8]) -> Option<usize>) -> bool {
        let Some(mut frame) = self.spare.take().or_else(|| self.pool.take()) else {
            return false;
        };
        let Some(len) = write(self.pool.room(&mut frame)) else {
            self.pool.give(frame);
            return false;
        };
        frame.set_len(len);
        self.tx.push(frame);
        true
    }

    /// Sends one segment.
    pub(super) fn segment(&mut self, counters: &mut Counters, segment: &Outgoing<'_>) -> bool {
        self.frame(counters, |room| emit::emit(room, segment))
    }
}

impl<P: FramePool> Drop for Output<'_, P> {
    fn drop(&mut self) {
        self.drop_spare();
    }
}
