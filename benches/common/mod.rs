//! Shared by the benchmarks of the engine: time in cycles, and a world to measure in.
#![allow(dead_code, reason = "each benchmark uses what it needs")]

pub(crate) mod cycles;
pub(crate) mod world;

use cycles::Cycles;
use std::cell::OnceCell;
use tenmil::engine::BATCH_MAX;

/// How many connections the benchmarks have that depend on their number: from what fits into the
/// caches to what fits into no translation buffer either.
pub(crate) const SIZES: [usize; 3] = [10_000, 1_000_000, 10_000_000];

/// How Criterion measures here.
pub(crate) fn criterion() -> criterion::Criterion<Cycles> {
    criterion::Criterion::default().with_measurement(Cycles::calibrated())
}

/// Something expensive that is made when the first benchmark needs it: those that are filtered out
/// on the command line then cost nothing.
pub(crate) struct Lazy<T, F: Fn() -> T> {
    cell: OnceCell<T>,
    make: F,
}

impl<T, F: Fn() -> T> Lazy<T, F> {
    pub(crate) fn new(make: F) -> Lazy<T, F> {
        Lazy { cell: OnceCell::new(), make }
    }

    pub(crate) fn get(&mut self) -> &mut T {
        self.cell.get_or_init(&self.make);
        self.cell.get_mut().expect("it was just made")
    }

    /// What was made, if anything was.
    pub(crate) fn made(&self) -> Option<&T> {
        self.cell.get()
    }
}

/// Cycles for `iterations` connections, measured in batches.
pub(crate) fn in_batches(iterations: u64, mut batch: impl FnMut() -> u64) -> u64 {
    let batches = iterations.div_ceil(BATCH_MAX as u64);
    let took: u64 = (0..batches).map(|_| batch()).sum();
    part_of(took, iterations, batches * BATCH_MAX as u64)
}

/// What `part` took of `whole` that took `took`.
pub(crate) fn part_of(took: u64, part: u64, whole: u64) -> u64 {
    let took = u128::from(took) * u128::from(part) / u128::from(whole);
    u64::try_from(took).expect("no more than all")
}
