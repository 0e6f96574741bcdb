//! What promoted connections cost: no link, no kernel, one thread.
//!
//! - `promoted`: a heartbeat (PING in, PONG out, ACK in) with so many connections, all of them
//!   promoted, in batches hit at random
//! - `promotion`: two heartbeats that come in the wrong order: promoted, and parked again

mod common;

use common::Lazy;
use common::cycles::Cycles;
use common::world::{ACK, World, len_of};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use tenmil::engine::BATCH_MAX;
use tenmil::service::line::{PING, PONG};
use tenmil::time::Duration;

fn promoted(criterion: &mut Criterion<Cycles>) {
    let mut group = criterion.benchmark_group("promoted");
    for connections in [64, 1_024, 8_192] {
        let mut world = Lazy::new(|| {
            let mut world = World::established_with(connections, connections, |config| {
                config.promoted_max = config.connections_max;
                config.promoted_buffer = 4_096;
                config.promote_always = true;
                config.park_after = Duration::from_secs(3_600);
            });
            (0..connections).step_by(BATCH_MAX).for_each(|_| {
                world.beat();
            });
            assert_eq!(world.engine.counters().promoted, connections as u64);
            world
        });
        group.bench_function(BenchmarkId::from_parameter(connections), |bencher| {
            let world = world.get();
            bencher.iter_custom(|iterations| {
                common::in_batches(iterations, || {
                    let (ping, ack) = world.beat();
                    ping + ack
                })
            });
        });
        if let Some(world) = world.made() {
            assert_eq!(world.engine.counters().drops.total(), 0);
        }
    }
    group.finish();
}

/// Two heartbeats on one connection, the second before the first: it is promoted, and parked again.
/// Returns how many cycles the engine took.
fn beat_out_of_order(world: &mut World, client: usize) -> u64 {
    let first = world.clients[client];
    world.clients[client].seq += len_of(PING);
    world.queue(client, ACK, PING);
    let mut took = world.run();
    world.clients[client] = first;
    world.queue(client, ACK, PING);
    took += world.run();
    world.clients[client].ack += 2 * len_of(PONG);
    world.queue(client, ACK, &[]);
    took + world.run()
}

fn promotion(criterion: &mut Criterion<Cycles>) {
    let mut world = Lazy::new(|| {
        World::established_with(BATCH_MAX, BATCH_MAX, |config| config.park_after = Duration::ZERO)
    });
    criterion.bench_function("promotion", |bencher| {
        let world = world.get();
        bencher.iter_custom(|iterations| {
            let clients = (0..BATCH_MAX).cycle().zip(0..iterations);
            clients.map(|(client, _)| beat_out_of_order(world, client)).sum()
        });
    });
    if let Some(world) = world.made() {
        let counters = world.engine.counters();
        assert!(counters.promotions > 0 && counters.promoted == 0, "{counters:?}");
    }
}

criterion_group! {
    name = benches;
    config = common::criterion();
    targets = promoted, promotion
}
criterion_main!(benches);
