//! The driver against a server on the other end of a link in memory.

use super::*;
use crate::engine::config::Config;
use crate::engine::locals::{Listener, Owned};
use crate::link::memory;
use crate::service::builtin::{Builtin, Builtins};
use crate::shard::clock::Clock;
use crate::shard::{Answering, Shard, Shared};
use crate::wire::addr::{Address, Secret};

const SERVER: Endpoint = Endpoint { addr: Address::v4([10, 77, 0, 1]), port: 7000 };
const CLIENTS: Address = Address::v4([10, 77, 16, 0]);

fn config(mac: u8, owned: Owned, connections: u32, flights: u32) -> Config {
    let mut config = Config::new([2, 0, 0, 0, 0, mac], Secret([mac; 16]), Secret([mac; 16]));
    config.owned = vec![owned];
    config.connections_max = connections;
    config.flights_max = flights;
    config
}

/// Runs a plan for so many connections, of which so many can have a heartbeat in flight.
fn run(connections: u32, flights: u32) -> (Outcome, Heartbeat) {
    let owned = Owned { addr: SERVER.addr, range_len: 32, link_len: 16 };
    let mut server = config(1, owned, connections, connections);
    server.listeners = vec![Listener { endpoint: SERVER, tag: Builtin::Line.tag(), profile: None }];
    let owned = Owned { addr: CLIENTS, range_len: 20, link_len: 16 };
    let clients = config(2, owned, connections, flights);
    let plan = Plan {
        connections: connections.into(),
        target: SERVER,
        sources: Sources::new(CLIENTS, 12),
        heartbeats_per_second: 1_000_000,
    };
    let progress = Arc::new(Progress::default());
    progress.go_on();
    let (server_link, client_link) = memory::pair(4096, 2048, 2048);
    let clock = Clock::start();
    let shared = Shared::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let engine = Engine::new(server, Builtins, clock.now());
            let mut shard = Shard { link: server_link, engine, driver: Answering };
            shard.run(&clock, &shared).expect("a link in memory never fails");
        });
        let engine = Engine::new(clients, Heartbeat::default(), clock.now());
        let driver = LoadDriver::new(plan, progress);
        let mut shard = Shard { link: client_link, engine, driver };
        shard.run(&clock, &Shared::default()).expect("a link in memory never fails");
        shared.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        (shard.driver.outcome(), std::mem::take(shard.engine.service_mut()))
    })
}

#[test]
fn every_connection_gets_its_heartbeat() {
    let (outcome, heartbeat) = run(1_000, 1_000);
    assert_eq!((outcome.attempted, outcome.sent), (1_000, 1_000));
    let Heartbeat { opened, answered, wrong, awaited, failed, ended, .. } = heartbeat;
    assert_eq!((opened, answered, wrong), (1_000, 1_000, 0));
    assert_eq!((awaited, failed, ended), (0, 0, 1_000));
}

/// A heartbeat that could not be sent because all flights were in use was never sent at all.
#[test]
fn a_heartbeat_that_finds_no_flight_is_sent_later() {
    let (outcome, heartbeat) = run(1_000, 16);
    assert_eq!((outcome.sent, heartbeat.answered, heartbeat.wrong), (1_000, 1_000, 0));
}
