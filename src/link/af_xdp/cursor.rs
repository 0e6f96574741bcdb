//! The arithmetic of one end of a ring: free-running `u32` indices, and nothing else.
//!
//! AF_XDP rings are single-producer, single-consumer (Documentation/networking/af_xdp.rst). The
//! producer's index counts the entries ever written, the consumer's those ever read; both wrap at
//! 2^32, and an entry's slot is its index modulo the ring's size, a power of two. Each end keeps its
//! own index here and a copy of the other's as last seen, so that the shared cache line is read only
//! when the copy says that there is nothing to do.
//!
//! The other end is not trusted: an index of its that cannot be true is refused, and the copy that
//! could be stays. Together with the mask that makes every slot number valid, whatever is read from
//! the shared memory.

/// The other end's index is one that a working peer cannot have written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CorruptIndex;

/// A ring's size in entries, or `None` if the kernel would not accept it.
///
/// The kernel wants a power of two (xsk_init_queue); 2^30 entries keep every sum of an index and a
/// size unambiguous.
pub(super) const fn ring_size(entries: u32) -> Option<u32> {
    if entries.is_power_of_two() && entries <= 1 << 30 { Some(entries) } else { None }
}

/// The writing end.
#[derive(Debug)]
pub(super) struct Producer {
    size: u32,
    /// Index of the next entry to publish: our own, and the only one that we may write.
    next: u32,
    /// The consumer's index, as last seen.
    consumer: u32,
}

impl Producer {
    /// The writing end of a ring of `size` entries (see [`ring_size`]) whose indices both are
    /// `start`.
    pub(super) const fn new(size: u32, start: u32) -> Producer {
        Producer { size, next: start, consumer: start }
    }

    /// Notes the consumer's index.
    ///
    /// # Errors
    ///
    /// [`CorruptIndex`] if the consumer claims to have read what was never written, or to have
    /// unread something.
    pub(super) const fn observe(&mut self, consumer: u32) -> Result<(), CorruptIndex> {
        if self.next.wrapping_sub(consumer) > self.used() {
            return Err(CorruptIndex);
        }
        self.consumer = consumer;
        Ok(())
    }

    /// Publishes `count` entries and returns the index to store for the consumer.
    pub(super) const fn advance(&mut self, count: u32) -> u32 {
        assert!(count <= self.free(), "more entries published than there was room for");
        self.next = self.next.wrapping_add(count);
        self.next
    }

    /// Entries that can be written without another look at the consumer's index.
    pub(super) const fn free(&self) -> u32 {
        self.size - self.used()
    }

    /// Entries that were published and, as far as we know, not read.
    pub(super) const fn used(&self) -> u32 {
        self.next.wrapping_sub(self.consumer)
    }

    /// The slot of the entry `ahead` entries after the next one; always below the ring's size.
    pub(super) const fn slot(&self, ahead: u32) -> usize {
        (self.next.wrapping_add(ahead) & (self.size - 1)) as usize
    }
}

/// The reading end.
#[derive(Debug)]
pub(super) struct Consumer {
    size: u32,
    /// Index of the next entry to read: our own, and the only one that we may write.
    next: u32,
    /// The producer's index, as last seen.
    producer: u32,
}

impl Consumer {
    /// The reading end of a ring of `size` entries (see [`ring_size`]) whose indices both are
    /// `start`.
    pub(super) const fn new(size: u32, start: u32) -> Consumer {
        Consumer { size, next: start, producer: start }
    }

    /// Notes the producer's index.
    ///
    /// # Errors
    ///
    /// [`CorruptIndex`] if the producer claims to have written more than the ring holds, or to have
    /// unwritten something.
    pub(super) const fn observe(&mut self, producer: u32) -> Result<(), CorruptIndex> {
        let filled = producer.wrapping_sub(self.next);
        if filled > self.size || filled < self.filled() {
            return Err(CorruptIndex);
        }
        self.producer = producer;
        Ok(())
    }

    /// Releases `count` entries and returns the index to store for the producer.
    pub(super) const fn advance(&mut self, count: u32) -> u32 {
        assert!(count <= self.filled(), "more entries released than there were");
        self.next = self.next.wrapping_add(count);
        self.next
    }

    /// Entries that can be read without another look at the producer's index.
    pub(super) const fn filled(&self) -> u32 {
        self.producer.wrapping_sub(self.next)
    }

    /// The slot of the entry `ahead` entries after the next one; always below the ring's size.
    pub(super) const fn slot(&self, ahead: u32) -> usize {
        (self.next.wrapping_add(ahead) & (self.size - 1)) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_size_is_a_power_of_two() {
        assert_eq!(ring_size(0), None);
        assert_eq!(ring_size(3), None);
        assert_eq!(ring_size(1), Some(1));
        assert_eq!(ring_size(2048), Some(2048));
        assert_eq!(ring_size(1 << 31), None);
    }

    #[test]
    fn a_new_ring_is_empty_wherever_its_indices_start() {
        for start in [0, 7, u32::MAX - 1, u32::MAX] {
            let producer = Producer::new(8, start);
            let consumer = Consumer::new(8, start);
            assert_eq!((producer.free(), producer.used()), (8, 0));
            assert_eq!(consumer.filled(), 0);
        }
    }

    #[test]
    fn slots_wrap_with_the_index() {
        let mut producer = Producer::new(4, u32::MAX - 1);
        assert_eq!([0, 1, 2, 3].map(|ahead| producer.slot(ahead)), [2, 3, 0, 1]);
        assert_eq!(producer.advance(4), 2);
        assert_eq!(producer.free(), 0);
        assert_eq!(producer.observe(u32::MAX), Ok(()));
        assert_eq!(producer.free(), 1);
    }

    #[test]
    fn an_index_that_runs_backwards_or_ahead_is_refused() {
        let mut producer = Producer::new(4, 100);
        producer.advance(3);
        assert_eq!(producer.observe(102), Ok(()));
        assert_eq!(producer.observe(101), Err(CorruptIndex));
        assert_eq!(producer.observe(104), Err(CorruptIndex));
        assert_eq!(producer.free(), 3);

        let mut consumer = Consumer::new(4, 100);
        assert_eq!(consumer.observe(105), Err(CorruptIndex));
        assert_eq!(consumer.observe(99), Err(CorruptIndex));
        assert_eq!(consumer.observe(104), Ok(()));
        assert_eq!(consumer.observe(103), Err(CorruptIndex));
        assert_eq!(consumer.filled(), 4);
    }

    proptest! {
        /// Both ends follow a plain counter model through any run of steps, across the wrap.
        #[test]
        fn both_ends_agree_with_a_model(
            log_size in 0_u32..6,
            before_wrap in 0_u32..200,
            steps in proptest::collection::vec((any::<bool>(), 0_u32..80), 1..200),
        ) {
            let size = 1 << log_size;
            let start = u32::MAX.wrapping_sub(before_wrap);
            let mut producer = Producer::new(size, start);
            let mut consumer = Consumer::new(size, start);
            let (mut written, mut read) = (0_u32, 0_u32);
            for (write, count) in steps {
                if write {
                    prop_assert_eq!(producer.observe(start.wrapping_add(read)), Ok(()));
                    prop_assert_eq!(producer.free(), size - (written - read));
                    written += count.min(producer.free());
                    let published = producer.advance(count.min(producer.free()));
                    prop_assert_eq!(published, start.wrapping_add(written));
                } else {
                    prop_assert_eq!(consumer.observe(start.wrapping_add(written)), Ok(()));
                    prop_assert_eq!(consumer.filled(), written - read);
                    read += count.min(consumer.filled());
                    let released = consumer.advance(count.min(consumer.filled()));
                    prop_assert_eq!(released, start.wrapping_add(read));
                }
            }
        }

        /// Whatever the other end writes, counts stay within the ring and slots below its size.
        #[test]
        fn no_index_leads_out_of_the_ring(
            log_size in 0_u32..12,
            start in any::<u32>(),
            own in 0_u32..4096,
            indices in proptest::collection::vec(any::<u32>(), 1..20),
        ) {
            let size = 1 << log_size;
            let mut producer = Producer::new(size, start);
            producer.advance(own.min(size));
            let mut consumer = Consumer::new(size, start);
            for index in indices {
                let _refused_or_not = (producer.observe(index), consumer.observe(index));
                prop_assert!(producer.free() <= size && consumer.filled() <= size);
                for ahead in [0, 1, size - 1, size, u32::MAX] {
                    prop_assert!(producer.slot(ahead) < size as usize);
                    prop_assert!(consumer.slot(ahead) < size as usize);
                }
            }
        }
    }
}
