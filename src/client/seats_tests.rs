//! Seats in virtual time, with connections that only the test has.

use super::*;
use crate::conn::record::State;
use crate::conn::slab::Slab;
use proptest::prelude::*;
use std::collections::BTreeMap;

const SECOND: Duration = Duration::from_secs(1);

/// Seats, a slab for their connections, and a clock.
struct World {
    seats: Seats,
    slab: Slab,
    now: Instant,
    /// The seat of each connection.
    connections: BTreeMap<u32, u32>,
}

impl World {
    fn new(count: u32, backoff: Backoff) -> World {
        let now = Instant::from_millis(123_456);
        let seats = Seats::new(count, count, backoff, 20 * SECOND, Jitter(11)).unwrap();
        World { seats, slab: Slab::new(count).unwrap(), now, connections: BTreeMap::new() }
    }

    /// Dials whoever is due; returns their seats and the slots that they got.
    fn dial(&mut self) -> Vec<(u32, u32)> {
        self.seats.settle(self.now);
        assert_eq!(self.seats.overdue(self.now, &mut usize::MAX.clone()), None);
        let mut dialed = Vec::new();
        while let Some(turn) = self.seats.next(true) {
            let slot = self.slab.insert().expect("one for each seat");
            self.slab[slot].state = State::SynSent;
            self.seats.begun(turn, self.slab.id(slot), self.now);
            self.connections.insert(slot, turn.seat);
            dialed.push((turn.seat, slot));
        }
        dialed
    }

    fn end(&mut self, slot: u32, is_proved: bool) -> Was {
        self.connections.remove(&slot).expect("it is there");
        self.slab.remove(slot);
        self.seats.ended(slot, is_proved)
    }

    /// Lets time pass until somebody is dialed, in steps of a tick; returns how long that was.
    fn wait(&mut self) -> (Duration, Vec<(u32, u32)>) {
        let began = self.now;
        self.seats.settle(self.now);
        loop {
            let dialed = self.dial();
            if !dialed.is_empty() {
                return (self.now.since(began), dialed);
            }
            self.now = self.seats.next_due(self.now).expect("somebody waits").max(self.now);
        }
    }
}

/// A tick early or late: what the wheel rounds up to.
const TICKS: Duration = Duration::from_millis(34);

#[test]
fn very_many_that_are_lost_at_once_come_back_spread() {
    const COUNT: u32 = 100_000;
    let mut world = World::new(COUNT, Backoff::default());
    let dialed = world.dial();
    assert_eq!((dialed.len(), world.seats.busy()), (COUNT as usize, COUNT));
    dialed.iter().for_each(|(_, slot)| world.seats.opened(*slot, world.now));
    assert_eq!((world.seats.open(), world.seats.busy()), (COUNT, 0));
    world.dial();
    let lost = world.now;
    dialed.into_iter().for_each(|(_, slot)| assert_eq!(world.end(slot, true), Was::Open));
    let mut by_second = [0_u32; 10];
    let mut back = 0;
    while back < COUNT {
        let (_, dialed) = world.wait();
        let after = world.now.since(lost);
        assert!(after <= Backoff::default().spread + TICKS, "{after:?}");
        for (_, slot) in dialed {
            by_second[usize::try_from(after.as_secs()).unwrap().min(9)] += 1;
            world.seats.opened(slot, world.now);
            back += 1;
        }
    }
    // A tenth in each of ten seconds: 10,000, and five standard deviations of 95.
    assert!(by_second.iter().all(|count| (9_400..=10_600).contains(count)), "{by_second:?}");
    world.seats.settle(world.now);
    let record = world.seats.record();
    assert_eq!((record.retries, record.reconnects), (COUNT.into(), COUNT.into()));
    assert_eq!((record.outages, world.seats.has_outage()), (1, false));
    assert!(record.outage_longest > 9 * SECOND && record.outage_longest < 11 * SECOND);
    let counted = &record.retries_by_second;
    assert!((10..=11).contains(&counted.len()), "{counted:?}");
    assert_eq!(counted.iter().sum::<u32>(), COUNT);
}

/// Whoever accepts and closes at once has proved nothing: the waits grow as if it had refused.
#[test]
fn a_server_that_accepts_and_closes_at_once_makes_no_loop() {
    for opens in [false, true] {
        let mut world = World::new(1, Backoff::default());
        let began = world.now;
        let (mut attempts, mut longest) = (0_u32, Duration::ZERO);
        while world.now.since(began) < 3_600 * SECOND {
            let (waited, dialed) = world.wait();
            let [(0, slot)] = dialed[..] else { panic!("{dialed:?}") };
            let window = match attempts {
                0 => Duration::ZERO,
                n => Backoff::default().window(u8::try_from(n - 1).unwrap_or(u8::MAX)),
            };
            assert!(waited <= window + TICKS, "{waited:?} for attempt {attempts}");
            longest = longest.max(waited);
            if opens {
                world.seats.opened(slot, world.now);
            }
            let was = world.end(slot, false);
            assert_eq!(was, if opens { Was::Open } else { Was::Dialing });
            attempts += 1;
        }
        // Half a minute each in the mean, once the cap is reached.
        assert!((90..=160).contains(&attempts), "{attempts} in an hour");
        assert!(longest > 50 * SECOND, "{longest:?}");
    }
}

#[test]
fn only_who_proved_himself_starts_anew() {
    // A first window so short, and a base so long, that they tell which one was drawn from.
    let backoff = Backoff {
        spread: Duration::from_millis(1),
        base: 1_000 * SECOND,
        cap: 1_000 * SECOND,
        proved_after: 30 * SECOND,
    };
    for (lasts, is_proved, starts_anew) in [
        (Duration::ZERO, false, false),
        (29 * SECOND, false, false),
        (Duration::ZERO, true, true),
        (31 * SECOND, false, true),
    ] {
        for closes in [false, true] {
            let mut world = World::new(1, backoff);
            let (_, dialed) = world.wait();
            world.end(dialed[0].1, false);
            let (waited, dialed) = world.wait();
            assert!(waited <= TICKS, "the first retry: {waited:?}");
            let slot = dialed[0].1;
            world.seats.opened(slot, world.now);
            world.now = world.now + lasts;
            if closes {
                world.seats.closing(slot, world.now, is_proved);
                assert_eq!((world.seats.open(), world.seats.busy()), (0, 1));
                // Nothing counts that comes after.
                world.now = world.now + SECOND;
            }
            assert_eq!(world.end(slot, is_proved), Was::Open);
            let (waited, _) = world.wait();
            let case = (lasts, is_proved, closes);
            assert_eq!(waited <= TICKS, starts_anew, "{case:?}: {waited:?}");
        }
    }
}

#[test]
fn a_handshake_or_a_close_that_takes_too_long_is_to_be_given_up() {
    for closes in [false, true] {
        let mut world = World::new(2, Backoff::default());
        let dialed = world.dial();
        world.seats.opened(dialed[1].1, world.now);
        if closes {
            world.seats.opened(dialed[0].1, world.now);
            world.seats.closing(dialed[0].1, world.now, false);
        }
        world.now = world.now + Duration::from_millis(19_900);
        assert_eq!(world.seats.overdue(world.now, &mut 100), None);
        world.now = world.now + Duration::from_millis(200);
        let turn = world.seats.overdue(world.now, &mut 100).expect("20 s have passed");
        assert_eq!((turn.seat, turn.incarnation), (0, 0));
        assert_eq!(world.seats.overdue(world.now, &mut 100), None);
        // Its connection is there still: again after the same time.
        world.seats.await_longer(turn, world.now);
        world.now = world.now + 21 * SECOND;
        assert_eq!(world.seats.overdue(world.now, &mut 100), Some(turn));
        world.end(dialed[0].1, false);
        let (waited, again) = world.wait();
        assert!(again[0].0 == 0 && waited <= 10 * SECOND + TICKS);
        assert_eq!((world.seats.open(), world.seats.busy()), (1, 1));
    }
}

#[test]
fn who_cannot_be_tried_now_goes_to_the_end_of_the_line() {
    let mut world = World::new(3, Backoff::default());
    assert_eq!((world.seats.next(false), world.seats.untried()), (None, 3));
    let turns = [(); 3].map(|()| world.seats.next(true).expect("three"));
    assert_eq!(turns.map(|turn| (turn.seat, turn.is_first)), [(0, true), (1, true), (2, true)]);
    assert_eq!(world.seats.next(true), None);
    assert!(world.seats.postpone(turns[1], true, world.now));
    assert!(world.seats.postpone(turns[0], false, world.now));
    world.seats.refuse(turns[2]);
    assert!(world.seats.has_ready());
    let turns = [(); 2].map(|()| world.seats.next(false).expect("two"));
    let named = turns.map(|turn| (turn.seat, turn.incarnation, turn.is_first));
    assert_eq!(named, [(1, 1, false), (0, 0, false)]);
    world.now = world.now + 2 * SECOND;
    for turn in turns {
        assert!(world.seats.postpone(turn, false, world.now));
    }
    let (waited, dialed) = world.wait();
    assert_eq!((waited, dialed.len()), (Duration::ZERO, 2));
    assert_eq!(world.seats.record().retries, 0, "these are their first attempts");
    // The one that was refused waits as others do.
    let (waited, dialed) = world.wait();
    let waited = waited + 2 * SECOND;
    assert!(dialed[0].0 == 2 && waited > Duration::ZERO && waited <= 10 * SECOND + TICKS);
    assert_eq!(world.seats.record().retries, 1);
}

/// When the way to a server is not found, all would stand in line and be tried at once when it is.
#[test]
fn nobody_stands_in_line_for_ever() {
    let mut world = World::new(1, Backoff::default());
    let turn = world.seats.next(true).expect("one");
    assert!(world.seats.postpone(turn, false, world.now));
    world.now = world.now + 4 * SECOND;
    let turn = world.seats.next(true).expect("still");
    assert!(!world.seats.postpone(turn, false, world.now));
    world.seats.refuse(turn);
    let (waited, _) = world.wait();
    assert!(waited > Duration::ZERO && waited <= 10 * SECOND + TICKS);
}

#[test]
fn nobody_comes_back_when_all_is_over() {
    let mut world = World::new(2, Backoff::default());
    let dialed = world.dial();
    world.seats.opened(dialed[0].1, world.now);
    world.end(dialed[1].1, false);
    world.seats.settle(world.now);
    world.seats.stop();
    world.end(dialed[0].1, true);
    world.now = world.now + 3_600 * SECOND;
    assert_eq!(world.dial(), []);
    assert!(!world.seats.has_ready() && !world.seats.has_outage());
}

#[test]
fn retries_after_an_hour_count_in_its_last_second() {
    let backoff = Backoff { cap: 600 * SECOND, ..Backoff::default() };
    let mut world = World::new(10, backoff);
    let began = world.now;
    while world.now.since(began) < 2 * 3_600 * SECOND {
        for (_, slot) in world.wait().1 {
            world.end(slot, false);
        }
    }
    let record = world.seats.record();
    assert_eq!(record.retries_by_second.len(), SECONDS_MAX);
    assert_eq!(record.retries_by_second.capacity(), SECONDS_MAX);
    let counted: u64 = record.retries_by_second.iter().map(|&count| u64::from(count)).sum();
    assert_eq!(counted, record.retries);
}

#[test]
fn a_seat_and_its_record_take_twenty_bytes() {
    assert_eq!(Seats::bytes(1_000_000, 1_000_000), 20_000_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever happens to them, in whatever order: nobody is forgotten, nobody has two connections.
    #[test]
    fn no_seat_is_lost(steps in prop::collection::vec((0..7_u8, any::<u16>()), 1..200)) {
        const COUNT: u32 = 8;
        let mut world = World::new(COUNT, Backoff::default());
        for (step, pick) in steps {
            let nth = usize::from(pick) % world.connections.len().max(1);
            let slot = world.connections.keys().nth(nth).copied();
            match (step, slot) {
                (0, _) => world.now = world.now + Duration::from_millis(pick.into()),
                (1, _) if world.connections.is_empty() => world.seats.settle(world.now),
                (1, Some(slot)) => world.seats.opened(slot, world.now),
                (2, Some(slot)) => world.seats.closing(slot, world.now, pick & 1 == 0),
                (3, Some(slot)) => drop(world.end(slot, pick & 1 == 0)),
                (4, _) => {
                    if let Some(turn) = world.seats.next(pick & 1 == 0)
                        && !world.seats.postpone(turn, pick & 2 == 0, world.now)
                    {
                        world.seats.refuse(turn);
                    }
                }
                (5, _) => {
                    if let Some(turn) = world.seats.next(true) {
                        world.seats.refuse(turn);
                    }
                }
                _ => {
                    world.seats.settle(world.now);
                    while let Some(turn) = world.seats.overdue(world.now, &mut 100) {
                        let of_turn = |(_, seat): &(&u32, &u32)| **seat == turn.seat;
                        let slot = world.connections.iter().find(of_turn).map(|(slot, _)| *slot);
                        prop_assert_eq!(world.end(slot.expect("it goes on"), false) == Was::Nobodys, false);
                    }
                    world.dial();
                }
            }
            let used = u32::try_from(world.connections.len()).unwrap();
            prop_assert_eq!(world.seats.open() + world.seats.busy(), used);
            for (slot, seat) in &world.connections {
                prop_assert_eq!(world.seats.seat_in(*slot), Some(*seat));
            }
        }
        // In the end all of them are open again.
        for _ in 0..100_000 {
            if world.seats.open() == COUNT {
                break;
            }
            world.seats.settle(world.now);
            while let Some(turn) = world.seats.overdue(world.now, &mut 100) {
                let found = world.connections.iter().find(|(_, seat)| **seat == turn.seat);
                let slot = *found.expect("it goes on").0;
                world.end(slot, false);
            }
            for (_, slot) in world.dial() {
                world.seats.opened(slot, world.now);
            }
            world.now = world.seats.next_due(world.now).unwrap_or(world.now).max(world.now);
            world.now = world.now + Duration::from_millis(1);
        }
        let mut seats: Vec<_> = world.connections.values().copied().collect();
        seats.sort_unstable();
        prop_assert_eq!(seats, (0..COUNT).collect::<Vec<_>>());
    }
}
