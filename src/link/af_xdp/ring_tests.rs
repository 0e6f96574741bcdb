//! The rings over plain memory, with the tests in the kernel's place.
#![allow(unsafe_code, reason = "tests stand at both ends of a ring")]

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

/// The kernel's layout in small: each index on a cache line of its own, then the entries.
const OFFSETS: XdpRingOffset =
    XdpRingOffset { producer: 0, consumer: 64, flags: Some(128), desc: 192 };

/// Both ends of one ring; `start` is where the indices stand.
fn ring<T: Entry>(size: u32, start: u32) -> (ProducerRing<T>, ConsumerRing<T>) {
    let len = 192 + size as usize * size_of::<T>();
    let memory = Arc::new(Mapping::anonymous(len).expect("a page or two"));
    for offset in [OFFSETS.producer, OFFSETS.consumer] {
        let index: NonNull<AtomicU32> = part(&memory, offset, 4).expect("in the mapping");
        // SAFETY: in the mapping, which nothing else uses yet.
        unsafe { index.as_ref() }.store(start, Ordering::Relaxed);
    }
    // SAFETY: one end each.
    let producer = unsafe { ProducerRing::new(Arc::clone(&memory), &OFFSETS, size) };
    // SAFETY: one end each.
    let consumer = unsafe { ConsumerRing::new(memory, &OFFSETS, size) };
    (producer.expect("fits"), consumer.expect("fits"))
}

fn write(ring: &mut ProducerRing<u64>, values: &[u64]) -> usize {
    let mut batch = ring.batch(values.len());
    for &value in values {
        if !batch.push(value) {
            break;
        }
    }
    batch.commit()
}

fn free(ring: &mut ProducerRing<u64>) -> usize {
    ring.batch(usize::MAX).room()
}

fn read(ring: &mut ConsumerRing<u64>, max: usize) -> Vec<u64> {
    let mut batch = ring.batch(max);
    let values = batch.by_ref().collect();
    batch.commit();
    values
}

#[test]
fn what_is_written_is_read_in_order_until_full_and_until_empty() {
    let (mut producer, mut consumer) = ring::<u64>(4, 0);
    assert!(consumer.is_empty());
    assert_eq!(write(&mut producer, &[1, 2, 3, 4, 5]), 4);
    assert_eq!((free(&mut producer), producer.unread()), (0, 4));
    assert_eq!(write(&mut producer, &[6]), 0);
    assert_eq!(read(&mut consumer, 3), [1, 2, 3]);
    assert_eq!(write(&mut producer, &[6]), 1);
    assert_eq!(read(&mut consumer, 9), [4, 6]);
    assert_eq!(read(&mut consumer, 9), [0_u64; 0]);
    assert_eq!((free(&mut producer), producer.unread()), (4, 0));
}

#[test]
fn a_dropped_batch_never_happened() {
    let (mut producer, mut consumer) = ring::<u64>(4, u32::MAX);
    let mut batch = producer.batch(3);
    assert!(batch.push(1) && batch.push(2));
    assert_eq!(batch.room(), 1);
    drop(batch);
    assert!(consumer.is_empty());

    assert_eq!(write(&mut producer, &[3, 4]), 2);
    let mut batch = consumer.batch(4);
    assert_eq!((batch.next(), batch.next(), batch.next()), (Some(3), Some(4), None));
    drop(batch);
    assert_eq!(producer.unread(), 2);
    assert_eq!(read(&mut consumer, 1), [3]);
    assert_eq!(read(&mut consumer, 1), [4]);
}

#[test]
fn only_what_was_read_is_released() {
    let (mut producer, mut consumer) = ring::<u64>(8, 0);
    write(&mut producer, &[1, 2, 3, 4]);
    let mut batch = consumer.batch(4);
    assert_eq!(batch.next(), Some(1));
    assert_eq!(batch.commit(), 1);
    assert_eq!(read(&mut consumer, 8), [2, 3, 4]);
}

#[test]
fn a_corrupt_index_is_counted_and_changes_nothing() {
    let (mut producer, mut consumer) = ring::<u64>(4, 0);
    write(&mut producer, &[1, 2]);
    assert_eq!(read(&mut consumer, 1), [1]);

    producer.layout.producer().store(1_000, Ordering::Release);
    assert_eq!(read(&mut consumer, 9), [2], "what was seen before is still good");
    assert_eq!(read(&mut consumer, 9), [0_u64; 0]);
    assert_eq!(consumer.corrupt(), 2);

    producer.layout.consumer().store(77, Ordering::Release);
    assert_eq!(producer.unread(), 2, "the last index that could be true still holds");
    assert_eq!(free(&mut producer), 2);
    assert_eq!(producer.corrupt(), 2);
}

#[test]
fn the_wakeup_flag_is_read_and_a_ring_without_one_always_asks() {
    let (producer, _consumer) = ring::<Descriptor>(4, 0);
    assert!(!producer.needs_wakeup());
    let flags = producer.layout.flags.expect("the layout has flags");
    // SAFETY: in the mapping that the ring keeps alive.
    unsafe { flags.as_ref() }.store(NEED_WAKEUP | 2, Ordering::Relaxed);
    assert!(producer.needs_wakeup());

    let memory = Arc::new(Mapping::anonymous(4096).expect("a page"));
    let offsets = XdpRingOffset { flags: None, ..OFFSETS };
    // SAFETY: the only end.
    let producer = unsafe { ProducerRing::<u64>::new(memory, &offsets, 4) };
    assert!(producer.expect("fits").needs_wakeup());
}

#[test]
fn a_ring_that_does_not_fit_is_refused() {
    let layout = |len, at: XdpRingOffset, size| {
        let memory = Arc::new(Mapping::anonymous(len).expect("a page or two"));
        Layout::<Descriptor>::new(memory, &at, size).err()
    };
    assert_eq!(layout(192 + 4 * 16, OFFSETS, 4), None);
    assert_eq!(layout(192 + 4 * 16 - 1, OFFSETS, 4), Some(BadLayout));
    assert_eq!(layout(4096, OFFSETS, 3), Some(BadLayout));
    assert_eq!(layout(4096, OFFSETS, 0), Some(BadLayout));
    assert_eq!(layout(4096, XdpRingOffset { desc: 194, ..OFFSETS }, 4), Some(BadLayout));
    assert_eq!(layout(4096, XdpRingOffset { producer: 4093, ..OFFSETS }, 4), Some(BadLayout));
    assert_eq!(
        layout(4096, XdpRingOffset { flags: Some(u64::MAX), ..OFFSETS }, 4),
        Some(BadLayout)
    );
}

#[test]
fn two_threads_pass_descriptors_across_the_wrap_without_losing_one() {
    const COUNT: u64 = 300_000;
    let (mut producer, mut consumer) = ring::<Descriptor>(64, u32::MAX - 100_000);
    let kernel = std::thread::spawn(move || {
        let mut next = 0;
        while next < COUNT {
            let mut batch = consumer.batch(17);
            for descriptor in batch.by_ref() {
                let len = u32::try_from(next % 2_000).expect("small");
                assert_eq!(descriptor, Descriptor { addr: next, len, options: 0 });
                next += 1;
            }
            if batch.commit() == 0 {
                std::thread::yield_now();
            }
        }
        consumer.corrupt()
    });
    let mut next = 0;
    while next < COUNT {
        let mut batch = producer.batch(23);
        while next < COUNT && batch.room() > 0 {
            let len = u32::try_from(next % 2_000).expect("small");
            assert!(batch.push(Descriptor { addr: next, len, options: 0 }));
            next += 1;
        }
        if batch.commit() == 0 {
            std::thread::yield_now();
        }
    }
    assert_eq!(kernel.join().expect("the reader's assertions held"), 0);
    assert_eq!((producer.corrupt(), producer.unread()), (0, 0));
}

/// One step of a ring's life.
#[derive(Clone, Copy, Debug)]
enum Step {
    Write { count: usize, commit: bool },
    Read { count: usize, commit: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let fields = (any::<bool>(), 0_usize..20, any::<bool>());
    fields.prop_map(|(write, count, commit)| match write {
        true => Step::Write { count, commit },
        false => Step::Read { count, commit },
    })
}

proptest! {
    #[test]
    fn a_ring_is_a_bounded_queue(
        log_size in 0_u32..5,
        before_wrap in 0_u32..100,
        steps in proptest::collection::vec(step(), 1..200),
    ) {
        let size = 1 << log_size;
        let (mut producer, mut consumer) = ring::<u64>(size, u32::MAX - before_wrap);
        let mut model = VecDeque::new();
        let mut value = 0;
        for step in steps {
            match step {
                Step::Write { count, commit } => {
                    let mut batch = producer.batch(count);
                    prop_assert_eq!(batch.room(), count.min(size as usize - model.len()));
                    let values: Vec<u64> = (value..).take(batch.room()).collect();
                    for &value in &values {
                        prop_assert!(batch.push(value));
                    }
                    prop_assert!(!batch.push(0));
                    if commit {
                        value += values.len() as u64;
                        prop_assert_eq!(batch.commit(), values.len());
                        model.extend(values);
                    }
                }
                Step::Read { count, commit } => {
                    let mut batch = consumer.batch(count);
                    let values: Vec<u64> = batch.by_ref().collect();
                    let expected: Vec<u64> = model.iter().copied().take(count).collect();
                    prop_assert_eq!(&values, &expected);
                    if commit {
                        prop_assert_eq!(batch.commit(), values.len());
                        model.drain(..values.len());
                    }
                }
            }
            prop_assert_eq!(producer.unread(), model.len());
        }
        prop_assert_eq!((producer.corrupt(), consumer.corrupt()), (0, 0));
    }
}
