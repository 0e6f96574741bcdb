//! The wheel against a model: a plain list of deadlines.

use super::*;
use core::cell::RefCell;
use proptest::prelude::*;

struct Model {
    links: Vec<Links>,
    deadlines: Vec<Option<Tick>>,
    /// Records that were prefetched.
    prefetched: RefCell<Vec<u32>>,
}

impl Model {
    fn new(len: usize) -> Model {
        Model {
            links: vec![Links::UNLINKED; len],
            deadlines: vec![None; len],
            prefetched: RefCell::default(),
        }
    }
}

impl Timers for Model {
    fn links(&mut self, index: u32) -> &mut Links {
        &mut self.links[index as usize]
    }

    fn deadline(&self, index: u32) -> Option<Tick> {
        self.deadlines[index as usize]
    }

    fn prefetch(&self, index: u32) {
        self.prefetched.borrow_mut().push(index);
    }
}

/// Pops everything due at `now`.
fn drain(wheel: &mut Wheel, model: &mut Model, now: Tick) -> Vec<u32> {
    let mut due = Vec::new();
    let mut budget = usize::MAX;
    while let Due::Timer(index) = wheel.pop(model, now, &mut budget) {
        model.deadlines[index as usize] = None;
        due.push(index);
    }
    due.sort_unstable();
    due
}

proptest! {
    /// Whatever is scheduled, moved, cancelled and popped, in whatever steps of time and from
    /// whatever start: each timer expires in the first pop at or after its deadline.
    #[test]
    fn timers_expire_exactly_when_the_model_says(
        start: u32,
        steps in proptest::collection::vec((0u8..4, 0u32..24, 0u32..2_000_000), 1..200),
    ) {
        let mut now = Tick(start);
        let mut wheel = Wheel::new(now);
        let mut model = Model::new(24);
        for (what, index, span) in steps {
            let span = span >> (span % 21);
            let deadline = Tick(now.0.wrapping_add(span));
            match what {
                // Nearer or new: the wheel is told.
                0 => {
                    model.deadlines[index as usize] = Some(deadline);
                    wheel.schedule(&mut model, index, deadline);
                }
                // Later than before: only the record knows.
                1 => if let Some(old) = model.deadlines[index as usize] {
                    model.deadlines[index as usize] = Some(Tick(old.0.wrapping_add(span)));
                },
                2 => {
                    model.deadlines[index as usize] = None;
                    wheel.cancel(&mut model, index);
                }
                _ => {
                    now = Tick(now.0.wrapping_add(span));
                    let expected: Vec<u32> = (0..24)
                        .filter(|&i| model.deadlines[i as usize].is_some_and(|d| now.reached(d)))
                        .collect();
                    prop_assert_eq!(drain(&mut wheel, &mut model, now), expected);
                }
            }
            let linked = model.links.iter().filter(|links| links.is_linked()).count();
            prop_assert_eq!(wheel.len(), linked);
            let nearest = (0..24).filter_map(|i| model.deadlines[i]).min_by_key(|d| d.0.wrapping_sub(now.0));
            if let (Some(nearest), Some(next)) = (nearest, wheel.next_due()) {
                prop_assert!(nearest.reached(next), "next_due is never too late");
            }
        }
    }
}

#[test]
fn a_crowd_in_one_slot_is_worked_off_in_pieces() {
    const CROWD: u32 = 100_000;
    let mut wheel = Wheel::new(Tick(0));
    let mut model = Model::new(CROWD as usize);
    for index in 0..CROWD {
        model.deadlines[index as usize] = Some(Tick(1000));
        wheel.schedule(&mut model, index, Tick(1000));
    }
    let (mut expired, mut calls) = (0, 0);
    loop {
        let mut budget = 64;
        calls += 1;
        let last = loop {
            match wheel.pop(&mut model, Tick(1000), &mut budget) {
                Due::Timer(index) => {
                    model.deadlines[index as usize] = None;
                    expired += 1;
                }
                other => break other,
            }
        };
        if last == Due::Nothing {
            break;
        }
    }
    assert_eq!(expired, CROWD);
    // Each timer is looked at twice: when its level-1 slot comes, and when it expires.
    assert!(calls >= 2 * CROWD / 64, "{calls} calls");
    assert!(wheel.is_empty());
}

#[test]
fn an_idle_wheel_has_nothing_due_however_far_time_jumps() {
    let mut wheel = Wheel::new(Tick(u32::MAX - 3));
    let mut model = Model::new(1);
    assert_eq!(wheel.next_due(), None);
    assert!(drain(&mut wheel, &mut model, Tick(1 << 30)).is_empty());
    assert_eq!(wheel.now, Tick(1 << 30));
}

#[test]
fn the_next_but_one_is_asked_for_while_a_timer_is_handled() {
    let mut wheel = Wheel::new(Tick(0));
    let mut model = Model::new(5);
    for index in 0..5 {
        model.deadlines[index as usize] = Some(Tick(10));
        wheel.schedule(&mut model, index, Tick(10));
    }
    let mut budget = 5;
    let mut due = Vec::new();
    while let Due::Timer(index) = wheel.pop(&mut model, Tick(10), &mut budget) {
        due.push(index);
    }
    assert_eq!((due, budget), (vec![4, 3, 2, 1, 0], 0));
    assert_eq!(*model.prefetched.borrow(), [2, 1, 0]);
}
