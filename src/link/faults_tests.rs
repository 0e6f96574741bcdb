//! A faulty link over one in memory: what arrives, and where every frame is.

use super::*;
use crate::link::memory::{self, MemoryLink};

const FRAME_LEN: usize = 60;
const FRAMES: usize = 4096;

/// A frame with a number, as IPv4.
fn numbered(number: u32) -> Vec<u8> {
    let mut bytes = vec![0; FRAME_LEN];
    bytes[ETHERTYPE].copy_from_slice(&[0x08, 0x00]);
    bytes[ETHERNET_LEN..ETHERNET_LEN + 4].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// Receives what has come, and gives it back.
fn take(link: &mut impl Link, arrived: &mut Vec<Vec<u8>>) {
    let mut batch = Vec::new();
    let count = link.receive(&mut batch, 64).unwrap();
    assert!(count <= 64 && count == batch.len(), "no more than was asked for");
    for frame in batch {
        arrived.push(link.bytes(&frame).to_vec());
        link.give(frame);
    }
}

/// Sends frames from `from` to `to`, a few at a time; returns what arrives.
fn carry(from: &mut impl Link, to: &mut impl Link, count: u32) -> Vec<Vec<u8>> {
    let (mut arrived, mut batch) = (Vec::new(), Vec::new());
    let totals = (from.census().total(), to.census().total());
    for first in (0..count).step_by(16) {
        for number in first..count.min(first + 16) {
            let mut frame = from.take().expect("there are enough");
            from.room(&mut frame)[..FRAME_LEN].copy_from_slice(&numbered(number));
            frame.set_len(FRAME_LEN);
            batch.push(frame);
        }
        from.transmit(&mut batch).unwrap();
        from.flush().unwrap();
        take(to, &mut arrived);
        assert_eq!((from.census().total(), to.census().total()), totals, "frames are conserved");
    }
    // Nothing more comes: what is held back is let go, by the side that holds it.
    for _ in 0..3 {
        from.wait(Duration::from_millis(50)).unwrap();
        take(from, &mut Vec::new());
        from.transmit(&mut batch).unwrap();
        from.flush().unwrap();
        to.wait(Duration::ZERO).unwrap();
        take(to, &mut arrived);
    }
    let (from, to) = (from.census(), to.census());
    assert_eq!((from.total(), to.total()), totals, "frames are conserved");
    assert_eq!((from.engine, from.tx, to.engine, to.rx), (0, 0, 0, 0), "and all are back");
    arrived
}

/// What arrives of `count` frames with `faults` where they are received or where they are sent.
fn through(faults: Faults, seed: u64, count: u32, at_receiver: bool) -> Vec<Vec<u8>> {
    let (a, b) = memory::pair(FRAMES, 256, 1024);
    let none = Faults::default();
    let lossless = |link: MemoryLink| Faulty::new(link, none, none, 1);
    match at_receiver {
        true => carry(&mut lossless(a), &mut Faulty::new(b, faults, none, seed), count),
        false => carry(&mut Faulty::new(a, none, faults, seed), &mut lossless(b), count),
    }
}

fn numbers(arrived: &[Vec<u8>]) -> Vec<u32> {
    let number = |bytes: &Vec<u8>| u32::from_be_bytes([bytes[14], bytes[15], bytes[16], bytes[17]]);
    arrived.iter().map(number).collect()
}

#[test]
fn without_faults_everything_arrives_in_order() {
    let arrived = through(Faults::default(), 7, 100, true);
    assert_eq!(numbers(&arrived), (0..100).collect::<Vec<_>>());
}

#[test]
fn a_seed_repeats_itself_and_another_does_not() {
    let half = Chance::percent(30);
    let faults = Faults { loss: half, duplicate: half, reorder: half, corrupt: half };
    for at_receiver in [true, false] {
        let [one, again, other] = [1, 1, 2].map(|seed| through(faults, seed, 500, at_receiver));
        assert!(one == again);
        assert!(one != other);
    }
}

#[test]
fn a_lost_frame_goes_back_and_does_not_arrive() {
    for at_receiver in [true, false] {
        let faults = Faults { loss: Chance::percent(20), ..Faults::default() };
        let got = numbers(&through(faults, 3, 2000, at_receiver));
        assert!(got.is_sorted() && (1500..1700).contains(&got.len()), "{}", got.len());
        let faults = Faults { loss: Chance::percent(100), ..Faults::default() };
        assert_eq!(through(faults, 3, 100, at_receiver).len(), 0);
    }
}

#[test]
fn a_double_is_the_same_and_comes_right_after() {
    for at_receiver in [true, false] {
        let faults = Faults { duplicate: Chance::percent(100), ..Faults::default() };
        let got = numbers(&through(faults, 3, 200, at_receiver));
        let expected: Vec<u32> = (0..200).flat_map(|number| [number, number]).collect();
        assert_eq!(got, expected);
    }
}

#[test]
fn doubles_need_frames_of_the_pool() {
    let (a, b) = memory::pair(16, 256, 16);
    let faults = Faults { duplicate: Chance::percent(100), ..Faults::default() };
    let mut a = Faulty::new(a, Faults::default(), faults, 1);
    let mut batch: Vec<Frame> = core::iter::from_fn(|| a.take()).collect();
    batch.iter_mut().for_each(|frame| frame.set_len(FRAME_LEN));
    a.transmit(&mut batch).unwrap();
    assert_eq!((batch.len(), a.census().tx, a.census().total()), (0, 16, 16), "none was left");
    drop(b);
}

#[test]
fn a_frame_held_back_is_overtaken_by_a_few_and_comes_at_last() {
    for at_receiver in [true, false] {
        let faults = Faults { reorder: Chance::percent(20), ..Faults::default() };
        let got = numbers(&through(faults, 3, 1000, at_receiver));
        let mut sorted = got.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..1000).collect::<Vec<_>>(), "each comes once");
        let late = got.windows(2).filter(|pair| pair[0] > pair[1]).count();
        assert!((100..220).contains(&late), "{late}");
        for (place, number) in got.iter().enumerate() {
            let moved = place as i64 - i64::from(*number);
            assert!((-64..=8 + 64).contains(&moved), "{number} came at {place}");
        }
    }
}

#[test]
fn a_damaged_frame_differs_in_one_bit_behind_the_ethernet_header() {
    for at_receiver in [true, false] {
        let faults = Faults { corrupt: Chance::percent(100), ..Faults::default() };
        let arrived = through(faults, 3, 300, at_receiver);
        for (number, bytes) in (0..).zip(&arrived) {
            let sent = numbered(number);
            assert_eq!(bytes[..ETHERNET_LEN], sent[..ETHERNET_LEN]);
            let flipped: u32 = bytes.iter().zip(&sent).map(|(a, b)| (a ^ b).count_ones()).sum();
            assert_eq!(flipped, 1);
        }
        assert_eq!(arrived.len(), 300);
    }
    let mut arp = vec![0; FRAME_LEN];
    arp[ETHERTYPE].copy_from_slice(&ARP);
    let before = arp.clone();
    flip_bit(&mut arp, 77);
    flip_bit(&mut arp[..ETHERNET_LEN], 77);
    assert_eq!(arp, before, "nothing guards ARP");
}

#[test]
fn what_the_ring_has_no_room_for_waits_and_suffers_no_second_fate() {
    let (a, mut b) = memory::pair(256, 256, 4);
    let faults = Faults { loss: Chance::percent(50), ..Faults::default() };
    let mut a = Faulty::new(a, Faults::default(), faults, 9);
    let mut batch: Vec<Frame> = (0..40).map(|_| a.take().expect("enough")).collect();
    batch.iter_mut().for_each(|frame| frame.set_len(FRAME_LEN));
    let mut arrived = 0;
    for _ in 0..20 {
        a.transmit(&mut batch).unwrap();
        a.flush().unwrap();
        let mut received = Vec::new();
        arrived += b.receive(&mut received, 64).unwrap();
        received.drain(..).for_each(|frame| b.give(frame));
        assert_eq!(a.census().total(), 256);
    }
    assert!(batch.is_empty() && a.census().tx == 0);
    assert!((12..28).contains(&arrived), "half of 40, not of half of them: {arrived}");
}

#[test]
fn percentages_are_read_and_nothing_else() {
    assert_eq!("1%".parse(), Ok(Chance::percent(1)));
    assert_eq!("0.1%".parse(), Ok(Chance(1_000)));
    assert_eq!("100%".parse(), Ok(Chance::percent(200)));
    for bad in ["", "1", "%", "-1%", "101%", "NaN%", "a%", "1%%"] {
        assert_eq!(bad.parse::<Chance>(), Err(BadChance(bad.to_owned())));
    }
}
