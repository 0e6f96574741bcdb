//! The outbox against a plain model: order for each connection, nothing lost, limits kept.

use super::*;
use crate::conn::broadcast::{Follower, Report};
use crate::conn::record::State;
use crate::conn::slab::Slab;
use proptest::prelude::*;
use std::collections::HashMap;

const PUSHER: Pusher = Pusher { tag: 1, note: 2 };

const NOW: Instant = Instant::from_millis(5_000);

fn ids(count: u32) -> Vec<ConnId> {
    let mut slab = Slab::new(count).expect("room for it");
    let id = |_| {
        let slot = slab.insert().expect("it is not full");
        slab[slot].state = State::Established;
        slab.id(slot)
    };
    (0..count).map(id).collect()
}

fn outbox(deliveries_max: u32) -> Outbox {
    let limits = Limits { deliveries_max, payload_bytes_max: 65_536, ..Limits::default() };
    Outbox::new(limits, 1_000).expect("room for it")
}

fn bytes_of(outbox: &Outbox, delivery: &Delivery) -> Vec<u8> {
    match delivery.errand {
        Errand::Send(payload) => outbox.payloads.bytes(payload).to_vec(),
        Errand::Close => Vec::new(),
    }
}

/// Ends `delivery` as the engine does.
fn end(outbox: &mut Outbox, delivery: Delivery) {
    if let Errand::Send(payload) = delivery.errand {
        outbox.payloads.release(payload);
    }
}

#[test]
fn one_payload_serves_all_and_those_past_the_limit_are_refused() {
    let ids = ids(5);
    let mut outbox = outbox(3);
    assert_eq!(outbox.push_all(ids.iter().copied(), b"hello", PUSHER, NOW), 3);
    assert_eq!((outbox.payloads.len(), outbox.len(), outbox.refused), (1, 3, 2));
    assert_eq!(outbox.push(ids[0], b"more", Sender::Nobody, NOW), Err(Full));
    let told = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let note = told.clone();
    let notice = Box::new(move |outcome| note.lock().unwrap().push(outcome));
    assert_eq!(outbox.close(ids[0], Sender::Asker(notice), NOW), Err(Full));
    assert_eq!(*told.lock().unwrap(), [Outcome::Full]);
    for id in &ids[..3] {
        let delivery = outbox.take_fresh().expect("another one");
        assert_eq!((delivery.to, bytes_of(&outbox, &delivery)), (*id, b"hello".to_vec()));
        end(&mut outbox, delivery);
    }
    assert!(outbox.is_empty() && outbox.payloads.is_empty());
    assert_eq!(outbox.push(ids[0], &[0; 1_001], Sender::Nobody, NOW), Err(Full), "too long");
    assert_eq!(outbox.push_all([], b"nobody", PUSHER, NOW), 0);
    assert!(outbox.payloads.is_empty());
}

#[test]
fn a_line_has_an_end() {
    let id = ids(1)[0];
    let mut outbox = outbox(1_000);
    for n in 0..u32::from(LINE_MAX) {
        outbox.push(id, &n.to_be_bytes(), Sender::Nobody, NOW).expect("room");
        let delivery = outbox.take_fresh().expect("it is there");
        assert!(outbox.wait(delivery).is_ok());
    }
    outbox.push(id, b"last", Sender::Nobody, NOW).expect("room");
    let delivery = outbox.take_fresh().expect("it is there");
    let delivery = outbox.wait(delivery).expect_err("the line is full");
    assert_eq!(bytes_of(&outbox, &delivery), b"last");
    end(&mut outbox, delivery);
    for n in 0..u32::from(LINE_MAX) {
        let (delivery, was_last) = outbox.take_waiting().expect("it waits");
        assert_eq!(bytes_of(&outbox, &delivery), n.to_be_bytes());
        assert_eq!((was_last, outbox.has_line(id.index())), (outbox.is_empty(), !was_last));
        end(&mut outbox, delivery);
    }
    assert!(outbox.is_empty() && outbox.payloads.is_empty());
}

#[test]
fn patience_has_an_end() {
    let outbox = outbox(1);
    let since = Tick::of(NOW);
    assert!(!outbox.is_late(since, NOW + Duration::from_secs(10)));
    assert!(outbox.is_late(since, NOW + Duration::from_millis(10_050)));
}

#[test]
fn broadcasts_take_turns_and_say_how_far_they_are() {
    let mut outbox = outbox(10);
    let reports = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let report = |n: u8| -> Option<Report> {
        let reports = reports.clone();
        Some(Box::new(move |progress: &Progress| reports.lock().unwrap().push((n, *progress))))
    };
    outbox.broadcast(Audience::All, b"one", report(1).into()).unwrap();
    outbox.broadcast(Audience::Tag(3), b"two", report(2).into()).unwrap();
    assert_eq!(outbox.payloads.len(), 2);
    let (first, running) = outbox.broadcasts.running().unwrap();
    assert_eq!(running.audience, Audience::All);
    running.progress.count(Outcome::Sent);
    outbox.broadcasts.wait(first);
    assert_eq!(outbox.broadcasts.end_running(&mut outbox.payloads), None);
    assert_eq!(outbox.payloads.len(), 1);
    let (second, running) = outbox.broadcasts.running().unwrap();
    assert_eq!(running.audience, Audience::Tag(3));
    assert_eq!(outbox.broadcasts.end_running(&mut outbox.payloads), None);
    assert!(first != second && outbox.broadcasts.running().is_none());
    assert_eq!(outbox.broadcasts.settle(first, Outcome::Gone), None);
    let one = Progress { sent: 1, ..Progress::default() };
    let expected = [
        (1, one),
        (2, Progress { is_done: true, ..Progress::default() }),
        (1, Progress { gone: 1, is_done: true, ..one }),
    ];
    assert_eq!(*reports.lock().unwrap(), expected);
    for _ in 0..64 {
        outbox.broadcast(Audience::All, b"more", Follower::Nobody).expect("room for 64");
    }
    assert_eq!(outbox.broadcast(Audience::All, b"x", report(3).into()), Err(Full));
    let refused = Progress { is_done: true, is_refused: true, ..Progress::default() };
    assert_eq!(reports.lock().unwrap().last(), Some(&(3, refused)));
}

#[derive(Clone, Debug)]
enum Step {
    Push {
        to: usize,
        count: usize,
    },
    /// The next fresh one is made, or has to wait.
    Try {
        is_blocked: bool,
    },
    /// A line is tried: so many of it are made, if there are so many.
    Turn {
        made: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..8usize, 1..4usize).prop_map(|(to, count)| Step::Push { to, count }),
        any::<bool>().prop_map(|is_blocked| Step::Try { is_blocked }),
        (0..4usize).prop_map(|made| Step::Turn { made }),
    ]
}

proptest! {
    #[test]
    fn each_connection_gets_everything_once_and_in_order(
        steps in proptest::collection::vec(step(), 1..300),
    ) {
        let ids = ids(8);
        let mut outbox = outbox(40);
        let mut accepted: HashMap<ConnId, Vec<u32>> = HashMap::new();
        let mut made: HashMap<ConnId, Vec<u32>> = HashMap::new();
        let number = |outbox: &Outbox, delivery: &Delivery| {
            u32::from_be_bytes(bytes_of(outbox, delivery).try_into().expect("a number"))
        };
        let drain = std::iter::repeat_n(Step::Try { is_blocked: false }, 400)
            .chain(std::iter::repeat_n(Step::Turn { made: 99 }, 8));
        for (n, step) in (0u32..).zip(steps.into_iter().chain(drain)) {
            match step {
                Step::Push { to, count } => {
                    let to = ids.iter().cycle().skip(to).take(count).copied();
                    let taken = outbox.push_all(to.clone(), &n.to_be_bytes(), PUSHER, NOW);
                    to.take(taken).for_each(|id| accepted.entry(id).or_default().push(n));
                }
                Step::Try { is_blocked } => {
                    let Some(delivery) = outbox.take_fresh() else { continue };
                    if is_blocked || outbox.has_line(delivery.to.index()) {
                        prop_assert!(outbox.wait(delivery).is_ok(), "there was room for it");
                        continue;
                    }
                    made.entry(delivery.to).or_default().push(number(&outbox, &delivery));
                    end(&mut outbox, delivery);
                }
                Step::Turn { made: count } => {
                    for _ in 0..count {
                        let Some((delivery, was_last)) = outbox.take_waiting() else { break };
                        made.entry(delivery.to).or_default().push(number(&outbox, &delivery));
                        end(&mut outbox, delivery);
                        if was_last {
                            break;
                        }
                    }
                    outbox.next_turn();
                }
            }
            prop_assert!(outbox.len() <= 40 && outbox.lines() <= 8);
        }
        prop_assert_eq!(made, accepted);
        prop_assert!(outbox.is_empty() && outbox.payloads.is_empty());
    }
}
