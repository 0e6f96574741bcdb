//! Memory links: order, loss, waiting, and the conservation of frames.

use proptest::prelude::*;

use super::*;

/// Sends one frame that holds `bytes`; it leaves with the next flush.
fn send(link: &mut MemoryLink, bytes: &[u8]) {
    let mut frame = link.take().expect("a free frame");
    link.room(&mut frame)[..bytes.len()].copy_from_slice(bytes);
    frame.set_len(bytes.len());
    let mut batch = vec![frame];
    link.transmit(&mut batch).expect("memory does not fail");
    assert!(batch.is_empty(), "the tx ring is full");
}

/// Receives up to `max` frames and gives them back.
fn receive(link: &mut MemoryLink, max: usize) -> Vec<Vec<u8>> {
    let mut batch = Vec::new();
    let count = link.receive(&mut batch, max).expect("memory does not fail");
    assert_eq!(count, batch.len());
    let bytes = batch.iter().map(|frame| link.bytes(frame).to_vec()).collect();
    for frame in batch {
        link.give(frame);
    }
    bytes
}

#[test]
fn frames_arrive_in_order_after_the_flush_and_not_before() {
    let (mut left, mut right) = pair(8, 64, 8);
    send(&mut left, b"one");
    send(&mut left, b"two");
    assert_eq!(left.census(), Census { pool: 6, rx: 0, tx: 2, engine: 0 });
    assert!(receive(&mut right, 8).is_empty());
    left.flush().expect("memory does not fail");
    assert_eq!(left.census(), Census { pool: 8, ..Census::default() });
    assert_eq!(receive(&mut right, 1), [b"one"]);
    assert_eq!(receive(&mut right, 8), [b"two"]);
    assert!(receive(&mut right, 8).is_empty());
}

#[test]
fn frames_for_a_full_ring_are_lost_and_counted_by_the_receiver() {
    let (mut left, mut right) = pair(8, 64, 2);
    for byte in 0..4_u8 {
        send(&mut left, &[byte]);
        left.flush().expect("memory does not fail");
    }
    assert_eq!((left.stats().rx_ring_full, right.stats().rx_ring_full), (0, 2));
    assert_eq!(receive(&mut right, 8), [[0], [1]]);
    send(&mut left, &[9]);
    left.flush().expect("memory does not fail");
    assert_eq!(receive(&mut right, 8), [[9]]);
    assert_eq!((left.census().total(), right.census().total()), (8, 8));
}

#[test]
fn what_the_tx_ring_has_no_room_for_stays_in_the_batch() {
    let (mut left, _right) = pair(8, 64, 2);
    let mut batch = Vec::new();
    for len in 1..=3 {
        let mut frame = left.take().expect("a free frame");
        frame.set_len(len);
        batch.push(frame);
    }
    left.transmit(&mut batch).expect("memory does not fail");
    assert_eq!(batch.iter().map(Frame::len).collect::<Vec<_>>(), [3]);
    assert_eq!(left.census(), Census { pool: 5, rx: 0, tx: 2, engine: 1 });
}

#[test]
fn receiving_leaves_frames_to_answer_with() {
    let (mut left, mut right) = pair(8, 64, 8);
    for byte in 0..8_u8 {
        send(&mut left, &[byte]);
    }
    left.flush().expect("memory does not fail");
    let mut batch = Vec::new();
    assert_eq!(right.receive(&mut batch, 8).expect("memory does not fail"), 6);
    assert!(right.take().is_some() && right.take().is_some() && right.take().is_none());
    right.give(batch.pop().expect("six"));
    assert_eq!(right.census(), Census { pool: 1, rx: 0, tx: 0, engine: 7 });
}

#[test]
fn a_frame_that_cannot_be_sent_goes_back_and_a_foreign_one_gives_nothing() {
    let (mut left, mut right) = pair(4, 64, 4);
    let empty = left.take().expect("a free frame");
    let mut long = left.take().expect("a free frame");
    long.set_len(57);
    assert!(left.bytes(&long).is_empty(), "a frame has 64 bytes, less 8 of headroom");
    assert_eq!(left.room(&mut long).len(), 56);
    left.transmit(&mut vec![empty, long]).expect("memory does not fail");
    assert_eq!(left.stats().invalid_descriptors, 2);
    let mut foreign = left.take().expect("a free frame");
    foreign.set_len(5);
    assert!(right.bytes(&foreign).is_empty() && right.room(&mut foreign).is_empty());
    right.give(foreign);
    assert_eq!((right.stats().invalid_descriptors, right.census().total()), (1, 4));
}

#[test]
fn a_wait_ends_when_the_peer_flushes() {
    let (mut left, mut right) = pair(4, 64, 4);
    let sender = std::thread::spawn(move || {
        let mut batch = Vec::new();
        while left.receive(&mut batch, 1).expect("memory does not fail") == 0 {
            left.wait(Duration::from_secs(60)).expect("memory does not fail");
        }
        left.transmit(&mut batch).expect("memory does not fail");
        left.flush().expect("memory does not fail");
        left
    });
    send(&mut right, b"ping");
    right.flush().expect("memory does not fail");
    let mut answer = receive(&mut right, 1);
    while answer.is_empty() {
        right.wait(Duration::from_secs(60)).expect("memory does not fail");
        answer = receive(&mut right, 1);
    }
    assert_eq!(answer, [b"ping"]);
    assert_eq!(sender.join().expect("the peer's calls succeeded").census().pool, 4);
}

#[test]
fn a_million_frames_go_there_and_back_and_none_is_lost_or_made() {
    const COUNT: u64 = 1_000_000;
    /// Frames under way at once: fewer than places, so that nothing is lost.
    const WINDOW: u64 = 200;
    let (mut left, mut right) = pair(512, 128, 256);
    let echo = std::thread::spawn(move || {
        let mut batch = Vec::with_capacity(64);
        let mut echoed = 0;
        while echoed < COUNT {
            echoed += right.receive(&mut batch, 64).expect("memory does not fail") as u64;
            if batch.is_empty() {
                right.wait(Duration::from_millis(100)).expect("memory does not fail");
            }
            right.transmit(&mut batch).expect("memory does not fail");
            right.flush().expect("memory does not fail");
            assert_eq!(right.census().total(), 512);
        }
        right
    });
    let (mut sent, mut received) = (0_u64, 0_u64);
    let mut batch = Vec::with_capacity(64);
    while received < COUNT {
        left.receive(&mut batch, 64).expect("memory does not fail");
        let idle = batch.is_empty();
        for frame in batch.drain(..) {
            assert_eq!(left.bytes(&frame), received.to_le_bytes());
            received += 1;
            left.give(frame);
        }
        while sent < COUNT && sent - received < WINDOW && batch.len() < 64 {
            let Some(mut frame) = left.take() else { break };
            left.room(&mut frame)[..8].copy_from_slice(&sent.to_le_bytes());
            frame.set_len(8);
            batch.push(frame);
            sent += 1;
        }
        let nothing_to_send = batch.is_empty();
        left.transmit(&mut batch).expect("memory does not fail");
        assert!(batch.is_empty(), "the tx ring is larger than a batch");
        left.flush().expect("memory does not fail");
        assert_eq!(left.census().total(), 512);
        if idle && nothing_to_send {
            left.wait(Duration::from_millis(100)).expect("memory does not fail");
        }
    }
    let right = echo.join().expect("the echo's assertions held");
    for end in [&left, &right] {
        assert_eq!(end.census(), Census { pool: 512, ..Census::default() });
        assert_eq!(end.stats(), LinkStats::default());
    }
}

proptest! {
    /// Any order of calls keeps both ends' sums, and what is sent is received or counted as lost.
    #[test]
    fn frames_are_conserved(steps in proptest::collection::vec((any::<bool>(), 0_u8..6), 1..300)) {
        let (left, right) = pair(6, 32, 3);
        let mut ends = [(left, Vec::new()), (right, Vec::new())];
        let (mut sent, mut received) = ([0_u64; 2], [0_u64; 2]);
        for (which, step) in steps {
            let which = usize::from(which);
            let (link, held) = &mut ends[which];
            match step {
                0 => held.extend(link.take()),
                1 => if let Some(frame) = held.pop() { link.give(frame) },
                2 => if let Some(frame) = held.last_mut() { frame.set_len(4) },
                3 => link.transmit(held).expect("memory does not fail"),
                4 => {
                    sent[which] += link.census().tx as u64;
                    link.flush().expect("memory does not fail");
                }
                _ => received[which] += link.receive(held, 2).expect("memory does not fail") as u64,
            }
            for (link, held) in &ends {
                prop_assert_eq!(link.census().total(), 6);
                prop_assert_eq!(link.census().engine, held.len());
            }
        }
        for which in 0..2 {
            let (link, _) = &ends[1 - which];
            let on_the_wire = link.incoming.parcels.len() as u64;
            let arrived = received[1 - which] + on_the_wire + link.stats().rx_ring_full;
            prop_assert_eq!(sent[which], arrived);
        }
    }
}
