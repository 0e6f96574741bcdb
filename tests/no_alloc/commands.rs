//! Commands that other threads give a shard.

use super::*;
use tenmil::conn::delivery::Outcome;
use tenmil::shard::clock::Clock;
use tenmil::shard::{Driver, Next, Shard, Shared};

/// Has a shard go round so often.
struct Rounds(u32);

impl<S: Service> Driver<S> for Rounds {
    fn poll<L: Link>(
        &mut self,
        _: Instant,
        _: &mut Engine<S>,
        _: &mut L,
        _: &mut Vec<Frame>,
    ) -> Next {
        self.0 = self.0.saturating_sub(1);
        if self.0 == 0 { Next::Done } else { Next::Now }
    }
}

#[test]
fn commands_of_other_threads_allocate_nothing_in_the_shard() {
    let mut pair = Pair::new();
    pair.connect(2000..2000 + CONNECTIONS, 7);
    let id = pair.server.engine.connection_from(&mut 0).expect("a connection");
    let Host { engine, link, .. } = pair.server;
    let mut shard = Shard { link, engine, driver: Rounds(0) };
    let clock = Clock::start();
    let mut run = |commands: usize| {
        let shared = Shared::default();
        let handle = shared.handle();
        let receipts: Vec<_> =
            (0..commands).map(|_| handle.push(id, &b"news"[..]).expect("room")).collect();
        let broadcast = handle.broadcast(Audience::Tag(9), &b"news"[..]).expect("room");
        shard.driver = Rounds(20);
        let counted = allocations(|| shard.run(&clock, &shared).expect("memory"));
        let told = receipts.iter().filter(|receipt| receipt.answer() == Some(Outcome::Sent));
        assert_eq!(told.count(), commands);
        assert!(broadcast.answer().is_some());
        counted
    };
    // A run allocates its queues, whatever it does.
    let idle = run(0);
    assert_eq!([run(100), run(300)], [idle, idle]);
}
