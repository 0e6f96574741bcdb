//! What a timer costs among so many, whose records lie as far apart as those of connections and are
//! taken at random.
//!
//! - `schedule`: a timer put in for another deadline
//! - `cancel`: a timer taken out
//! - `expire`: timers due all the time, spread over a minute; each is put in again for a minute later
//!
//! When all are due at one moment: see `mass`.

mod common;

use common::cycles::Cycles;
use common::world::Order;
use common::{Lazy, SIZES};
use criterion::{Criterion, criterion_group, criterion_main};
use tenmil::conn::wheel::{Due, Links, Timers, Wheel};
use tenmil::engine::BATCH_MAX;
use tenmil::memory::prefetch::prefetch;
use tenmil::time::{Duration, Tick};

/// What a connection's record is to the wheel.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Record {
    links: Links,
    deadline: Tick,
}

struct Records(Vec<Record>);

impl Timers for Records {
    fn links(&mut self, index: u32) -> &mut Links {
        &mut self.0[index as usize].links
    }

    fn deadline(&self, index: u32) -> Option<Tick> {
        Some(self.0[index as usize].deadline)
    }

    fn prefetch(&self, index: u32) {
        prefetch(&self.0[index as usize]);
    }
}

/// As many timers looked at in one call as the engine does by default.
const PIECE: usize = 256;

/// A wheel with timers for each record.
struct Timed {
    wheel: Wheel,
    records: Records,
    order: Order,
    now: Tick,
    cycles: Cycles,
}

impl Timed {
    /// `len` timers, spread over a minute.
    fn new(len: usize) -> Timed {
        let record = Record { links: Links::UNLINKED, deadline: Tick(0) };
        let mut timed = Timed {
            wheel: Wheel::new(Tick(0)),
            records: Records(vec![record; len]),
            order: Order::of(len),
            now: Tick(0),
            cycles: Cycles::calibrated(),
        };
        for turn in 0..len {
            let index = timed.next();
            let after = Duration::from_secs(60).mul_f64(turn as f64 / len as f64);
            timed.schedule(index, timed.now.after(after));
        }
        assert_eq!(timed.wheel.len(), len);
        timed
    }

    /// A record at random.
    fn next(&mut self) -> u32 {
        u32::try_from(self.order.next()).expect("an index")
    }

    fn schedule(&mut self, index: u32, deadline: Tick) {
        self.records.0[index as usize].deadline = deadline;
        self.wheel.schedule(&mut self.records, index, deadline);
    }

    fn later(&self) -> Tick {
        self.now.after(Duration::from_secs(60))
    }

    /// A batch of timers scheduled for a minute from now; returns the cycles.
    fn reschedule(&mut self) -> u64 {
        let batch: [u32; BATCH_MAX] = core::array::from_fn(|_| self.next());
        let start = self.cycles.now();
        batch.iter().for_each(|&index| self.schedule(index, self.later()));
        self.cycles.now() - start
    }

    /// A batch of timers cancelled; returns the cycles. They are put in again.
    fn cancel(&mut self) -> u64 {
        let batch: [u32; BATCH_MAX] = core::array::from_fn(|_| self.next());
        let start = self.cycles.now();
        batch.iter().for_each(|&index| self.wheel.cancel(&mut self.records, index));
        let took = self.cycles.now() - start;
        batch.iter().for_each(|&index| self.schedule(index, self.later()));
        took
    }

    /// Lets time pass until so many timers have expired, each of which is put in again for a minute
    /// later; returns the cycles for so many.
    fn expire(&mut self, count: u64) -> u64 {
        let (mut expired, mut took) = (0, 0);
        while expired < count {
            let start = self.cycles.now();
            let (due, is_done) = self.work_off_piece();
            took += self.cycles.now() - start;
            expired += due;
            if is_done {
                self.now = Tick(self.now.0 + 1);
            }
        }
        common::part_of(took, count, expired)
    }

    /// Works off what one call of the engine would; returns how many were due, and whether that was
    /// all. Each is put in again.
    fn work_off_piece(&mut self) -> (u64, bool) {
        let (mut due, mut budget) = (0, PIECE);
        loop {
            match self.wheel.pop(&mut self.records, self.now, &mut budget) {
                Due::Timer(index) => {
                    due += 1;
                    self.schedule(index, self.later());
                }
                other => return (due, other == Due::Nothing),
            }
        }
    }
}

fn wheel(criterion: &mut Criterion<Cycles>) {
    type Measured = (&'static str, fn(&mut Timed, u64) -> u64);
    const MEASURED: [Measured; 3] = [
        ("expire", |timed, count| timed.expire(count)),
        ("schedule", |timed, count| common::in_batches(count, || timed.reschedule())),
        ("cancel", |timed, count| common::in_batches(count, || timed.cancel())),
    ];
    for timers in SIZES {
        let mut timed = Lazy::new(|| Timed::new(timers));
        for (name, measure) in MEASURED {
            criterion.bench_function(&format!("{name}/{timers}"), |bencher| {
                let timed = timed.get();
                bencher.iter_custom(|iterations| measure(timed, iterations));
            });
        }
    }
}

criterion_group! {
    name = benches;
    config = common::criterion();
    targets = wheel
}
criterion_main!(benches);
