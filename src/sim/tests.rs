//! The seeds.

use super::outcome::Outcome;
use super::scenario::Mode;
use super::{run, run_http, run_without_faults};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// How many seeds are run unless `TENMIL_SEEDS` says otherwise.
const SEEDS: u64 = 200;

/// How many of them speak HTTP.
const HTTP_SEEDS: u64 = 25;

/// Says which seed it was when a run fails, and in which mode.
struct Failing(u64, Mode);

impl Drop for Failing {
    fn drop(&mut self) {
        if thread::panicking() {
            let Failing(seed, mode) = self;
            eprintln!(
                "seed {seed} failed ({mode:?}); to repeat it: TENMIL_SEED={seed} cargo test sim\n\
                 to keep it: add {seed} to tests/seeds.txt"
            );
        }
    }
}

/// A number from the environment.
fn asked_for(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not '{text}'")))
}

/// The seeds to run: those that failed once, and then others.
fn seeds() -> Vec<u64> {
    if let Some(seed) = asked_for("TENMIL_SEED") {
        return vec![seed];
    }
    let kept = include_str!("../../tests/seeds.txt").lines();
    let kept = kept.filter_map(|line| line.split_whitespace().next());
    let kept = kept.filter(|word| !word.starts_with('#'));
    let kept = kept.map(|seed| seed.parse().expect("a seed in tests/seeds.txt"));
    kept.chain(0..asked_for("TENMIL_SEEDS").unwrap_or(SEEDS)).collect()
}

/// One seed in every mode: each must end well, and all alike.
fn check(seed: u64, run: fn(u64, Mode) -> Outcome) {
    let mut first = None;
    for mode in Mode::ALL {
        let _named = Failing(seed, mode);
        let outcome = run(seed, mode);
        outcome.assert_all_well();
        match &first {
            None => first = Some(outcome),
            Some(first) => first.assert_same(&outcome),
        }
    }
}

#[test]
fn every_seed_ends_well_and_alike_in_every_mode() {
    let seeds = seeds();
    let next = AtomicUsize::new(0);
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(&seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    check(seed, run);
                }
            });
        }
    });
}

#[test]
fn http_is_the_same_in_every_mode_byte_for_byte() {
    match asked_for("TENMIL_SEED") {
        Some(seed) => check(seed, run_http),
        None => (0..asked_for("TENMIL_SEEDS").unwrap_or(HTTP_SEEDS))
            .for_each(|seed| check(seed, run_http)),
    }
}

#[test]
fn a_good_network_needs_no_repetition() {
    for seed in 0..20 {
        for mode in Mode::ALL {
            let _named = Failing(seed, mode);
            let outcome = run_without_faults(seed, mode);
            outcome.assert_all_well();
            outcome.assert_nothing_repeated();
        }
    }
}

#[test]
fn a_seed_repeats_itself() {
    let [one, again, other] = [5, 5, 6].map(|seed| run(seed, Mode::ParkAtOnce));
    assert!(one == again);
    assert!(one != other);
}
