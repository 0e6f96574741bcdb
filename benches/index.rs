//! From a flow to its record: what finding, adding and removing one costs among so many, at random.
//!
//! - `find`: a flow that has a record; `miss`: one that has none
//! - `insert`, `remove`: a record more, and again less
//!
//! While a table is filled, every single step is timed too: the longest is what a frame may have to
//! wait for. It is printed before the first benchmark of each size.

mod common;

use common::cycles::Cycles;
use common::world::{CLIENT_MAC, Order, SERVER, SERVER_MAC, World};
use common::{Lazy, SIZES};
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use tenmil::conn::path::Path;
use tenmil::conn::record::State;
use tenmil::conn::table::Table;
use tenmil::engine::BATCH_MAX;
use tenmil::wire::addr::{FlowKey, Secret};
use tenmil::wire::ethernet::{self, EthernetHeader};

/// A table in which the first `len` clients have records, with room for a batch more.
struct Filled {
    table: Table,
    len: usize,
    order: Order,
    cycles: Cycles,
}

fn flow(client: usize) -> FlowKey {
    FlowKey { remote: World::endpoint(client), local: SERVER }
}

impl Filled {
    fn new(len: usize) -> Filled {
        let capacity = u32::try_from(len + BATCH_MAX).expect("a capacity");
        let table = Table::new(capacity, None, Secret([1; 16])).expect("memory");
        let cycles = Cycles::calibrated();
        let mut filled = Filled { table, len, order: Order::of(len), cycles };
        let (mut all, mut longest, mut slow) = (0, 0, 0);
        for client in 0..len {
            let took = filled.time(|table| {
                insert(table, &flow(client));
            });
            all += took;
            longest = longest.max(took);
            slow += u64::from(cycles.nanos(took as f64) > 1e6);
        }
        let (mean, longest) = (all as f64 / len as f64, longest as f64);
        eprintln!(
            "{len} records added: {} each, memory touched for the first time; the longest step {}, \
             {slow} over 1 ms",
            cycles.describe(mean),
            cycles.describe(longest)
        );
        filled
    }

    /// The cycles of `work`.
    fn time(&mut self, work: impl FnOnce(&mut Table)) -> u64 {
        let start = self.cycles.now();
        work(&mut self.table);
        self.cycles.now() - start
    }

    /// Looks a batch of flows up, their hashes made before; returns the cycles.
    fn find(&mut self, is_there: bool) -> u64 {
        let past = if is_there { 0 } else { self.len };
        let flows: [_; BATCH_MAX] = core::array::from_fn(|_| {
            let flow = flow(past + self.order.next());
            (flow, self.table.hash(&flow))
        });
        self.time(|table| {
            for (flow, hash) in &flows {
                assert_eq!(black_box(table.find(flow, *hash)).is_some(), is_there);
            }
        })
    }

    /// Adds a batch of records, and removes them; returns the cycles of both.
    fn insert_and_remove(&mut self) -> [u64; 2] {
        let first = self.len + self.order.next();
        let flows: [_; BATCH_MAX] = core::array::from_fn(|at| flow(first + at));
        let mut slots = [0; BATCH_MAX];
        let inserted = self.time(|table| {
            for (slot, flow) in slots.iter_mut().zip(&flows) {
                *slot = insert(table, flow);
            }
        });
        let removed = self.time(|table| slots.iter().for_each(|slot| table.remove(*slot)));
        [inserted, removed]
    }
}

fn insert(table: &mut Table, flow: &FlowKey) -> u32 {
    let ethernet = EthernetHeader::new(CLIENT_MAC, SERVER_MAC, ethernet::IPV4);
    let path = Path { local: SERVER.addr, ethernet };
    table.insert(flow, path, State::Established).expect("room for it")
}

fn index(criterion: &mut Criterion<Cycles>) {
    type Measured = (&'static str, fn(&mut Filled) -> u64);
    const MEASURED: [Measured; 4] = [
        ("find", |filled| filled.find(true)),
        ("miss", |filled| filled.find(false)),
        ("insert", |filled| filled.insert_and_remove()[0]),
        ("remove", |filled| filled.insert_and_remove()[1]),
    ];
    for records in SIZES {
        let mut filled = Lazy::new(|| Filled::new(records));
        for (name, batch) in MEASURED {
            criterion.bench_function(&format!("{name}/{records}"), |bencher| {
                let filled = filled.get();
                bencher.iter_custom(|iterations| common::in_batches(iterations, || batch(filled)));
            });
        }
    }
}

criterion_group! {
    name = benches;
    config = common::criterion();
    targets = index
}
criterion_main!(benches);
