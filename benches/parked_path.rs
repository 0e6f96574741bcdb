//! What a frame costs on connections that live in their records alone: no link, no kernel, one
//! thread; batches of 64, each frame for another connection, at random among all.
//!
//! - `probe`: a keepalive probe in, its ACK out
//! - `ping`: a heartbeat in, its answer out
//! - `ack`: the ACK of the answer in
//! - `heartbeat`: both, which is three frames for each heartbeat
//!
//! One size alone, which then is the only one that is set up: `cargo bench --bench parked_path --
//! probe/10000000`.

mod common;

use common::cycles::Cycles;
use common::world::World;
use common::{Lazy, SIZES};
use criterion::{Criterion, criterion_group, criterion_main};

fn parked_path(criterion: &mut Criterion<Cycles>) {
    type Measured = (&'static str, fn(&mut World) -> u64);
    const MEASURED: [Measured; 4] = [
        ("probe", |world| world.probe()),
        ("ping", |world| world.beat().0),
        ("ack", |world| world.beat().1),
        ("heartbeat", |world| {
            let (ping, ack) = world.beat();
            ping + ack
        }),
    ];
    for connections in SIZES {
        let mut world = Lazy::new(|| World::established(connections));
        for (name, batch) in MEASURED {
            criterion.bench_function(&format!("{name}/{connections}"), |bencher| {
                let world = world.get();
                bencher.iter_custom(|iterations| common::in_batches(iterations, || batch(world)));
            });
        }
        if let Some(world) = world.made() {
            let counters = world.engine.counters();
            assert_eq!(counters.established, connections as u64);
            assert_eq!((counters.retransmitted, counters.promotions), (0, 0), "{counters:?}");
        }
    }
}

criterion_group! {
    name = benches;
    config = common::criterion();
    targets = parked_path
}
criterion_main!(benches);
