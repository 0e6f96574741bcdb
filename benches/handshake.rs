//! What it costs to open a connection (SYN in, SYN-ACK out, ACK in), and to end one with a reset,
//! while so many others are established: no link, no kernel, one thread; batches of 64.

mod common;

use common::cycles::Cycles;
use common::world::World;
use common::{Lazy, SIZES};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tenmil::engine::BATCH_MAX;

/// Connections opened before they are ended again.
const ROUND: usize = 1_024 * BATCH_MAX;

/// Opens connections past the first `established`, and ends them, until `iterations` were; returns
/// the cycles that the first took, and the second; what each batch took is added to `took_each`.
fn open_and_reset(
    world: &mut World,
    established: usize,
    iterations: u64,
    took_each: &mut [Vec<u64>; 2],
) -> [u64; 2] {
    let mut took = [0; 2];
    let mut note = |which: usize, cycles| {
        took[which] += cycles;
        took_each[which].push(cycles);
    };
    let mut left = usize::try_from(iterations).expect("a count").next_multiple_of(BATCH_MAX);
    while left > 0 {
        let clients = established..established + left.min(ROUND);
        left -= clients.len();
        let batches = clients.step_by(BATCH_MAX).map(|first| first..first + BATCH_MAX);
        batches.clone().for_each(|batch| note(0, world.open(batch)));
        batches.for_each(|batch| note(1, world.reset(batch)));
        assert_eq!(world.engine.counters().connections, established as u64);
    }
    took
}

fn handshake(criterion: &mut Criterion<Cycles>) {
    for connections in SIZES {
        let mut world =
            Lazy::new(|| World::established_with(connections, connections + ROUND, |_| ()));
        for (which, name) in ["handshake", "reset"].into_iter().enumerate() {
            let mut group = criterion.benchmark_group(name);
            group.throughput(Throughput::Elements(1));
            let mut took_each = [Vec::new(), Vec::new()];
            group.bench_function(BenchmarkId::from_parameter(connections), |bencher| {
                let world = world.get();
                bencher.iter_custom(|iterations| {
                    let took = open_and_reset(world, connections, iterations, &mut took_each);
                    let done = iterations.next_multiple_of(BATCH_MAX as u64);
                    common::part_of(took[which], iterations, done)
                });
            });
            group.finish();
            // SYN, SYN-ACK and ACK; a reset.
            common::print_median(&mut took_each[which], [3.0, 1.0][which]);
        }
    }
}

criterion_group! {
    name = benches;
    config = common::criterion();
    targets = handshake
}
criterion_main!(benches);
