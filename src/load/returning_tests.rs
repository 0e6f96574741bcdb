//! A load whose server goes away, hangs and comes back, in virtual time.

use super::*;
use crate::client::backoff::{Backoff, Jitter};
use crate::client::seats::Seats;
use crate::client::world::{Mode, Moody, Side, config};
use crate::engine::locals::Listener;
use crate::link::memory::{self, MemoryLink};
use crate::load::driver::LoadDriver;
use crate::load::heartbeat::Heartbeat;
use crate::load::plan::{Outcome, Reconnect};
use crate::load::progress::Progress;
use crate::service::builtin::{Builtin, Builtins};
use crate::shard::{Answering, Next};
use crate::time::Duration;
use crate::wire::addr::Address;
use std::collections::HashSet;
use std::sync::Arc;

const SERVER: Address = Address::v4([10, 77, 0, 1]);
const CLIENTS: Address = Address::v4([10, 77, 16, 0]);
const SECOND: Duration = Duration::from_secs(1);

const BACKOFF: Backoff = Backoff {
    spread: Duration::from_secs(5),
    base: Duration::from_millis(500),
    cap: Duration::from_secs(10),
    proved_after: Duration::from_secs(30),
};

fn target(service: Builtin) -> Target {
    Target { service, endpoint: Endpoint { addr: SERVER, port: 7000 + u16::from(service.tag()) } }
}

/// A plan for so many connections that come back, held for a minute with a heartbeat every two seconds.
fn plan(connections: u64, targets: &[Target], rows: u64) -> Plan {
    let len = rows * stride(connections, targets.len());
    Plan {
        connections,
        slots: connections,
        flows: Flows::new(&[(CLIENTS, 20)], targets, len).expect("enough"),
        rate: None,
        underway_max: 64,
        heartbeat: Some(2 * SECOND),
        beat_early: true,
        hold: 60 * SECOND,
        churn: None,
        duration: None,
        reconnect: Some(Reconnect { backoff: BACKOFF, misses: 3 }),
        subscription: None,
    }
}

fn serve(link: MemoryLink, plan: &Plan, mode: Mode) -> Side<Moody> {
    let mut settings = config(1, &[(SERVER, 32)], 4_096, 4_096);
    settings.resets_per_second = if mode == Mode::Forgets { 0 } else { 1_000_000 };
    let targets = plan.flows.targets().iter().filter(|_| mode != Mode::Refuses);
    let listener = |target: &Target| Listener {
        endpoint: target.endpoint,
        tag: target.service.tag(),
        profile: None,
    };
    settings.listeners = targets.map(listener).collect();
    Side::new(link, settings, Moody(Builtins::default(), mode))
}

/// Carries a plan out with a server that restarts at these seconds, and is then so.
fn run(plan: &Plan, flights: u32, modes: &[(u64, Mode)]) -> (Outcome, Heartbeat) {
    run_with_stall(plan, flights, modes, Instant::from_nanos(u64::MAX))
}

/// The same, where nothing runs for a second from `stall` on.
fn run_with_stall(
    plan: &Plan,
    flights: u32,
    modes: &[(u64, Mode)],
    mut stall: Instant,
) -> (Outcome, Heartbeat) {
    let (server_link, client_link) = memory::pair(4096, 2048, 2048);
    let count = u32::try_from(plan.connections).unwrap();
    let seats = Seats::new(count, count, BACKOFF, 5 * SECOND, Jitter(3)).unwrap();
    let heartbeat = Heartbeat { seats: Some(seats), ..Heartbeat::default() };
    let settings = config(2, &[(CLIENTS, 20)], count, flights);
    let mut clients = Side::new(client_link, settings, heartbeat);
    let mut modes = modes.iter().copied().peekable();
    let mut mode = Mode::Serves;
    let mut server = serve(server_link, plan, mode);
    let progress = Arc::new(Progress::default());
    progress.go_on();
    let mut driver = LoadDriver::new(plan.clone(), progress);
    let mut now = Instant::ZERO;
    // When the clients go on, unless the server has sent something.
    let (mut wake, mut heard) = (Instant::ZERO, 0);
    loop {
        while let Some((_, next)) = modes.next_if(|(at, _)| now >= Instant::from_millis(1_000 * at))
        {
            mode = next;
            if mode == Mode::Hangs {
                server.engine.service_mut().1 = mode;
                continue;
            }
            let link = std::mem::replace(&mut server.link, memory::pair(2, 2048, 2).0);
            server = serve(link, plan, mode);
        }
        let answered = match mode {
            Mode::Gone => {
                server.lose();
                false
            }
            _ => server.round(now, &mut Answering).1,
        };
        let said = server.engine.counters().tx;
        if now >= wake || said != core::mem::replace(&mut heard, said) {
            let taken = clients.engine.counters().rx;
            let (next, _) = clients.round(now, &mut driver);
            wake = match next {
                Next::Done => break,
                // As a shard does: there may be more.
                Next::At(at) if clients.engine.counters().rx == taken => at,
                _ => now,
            };
        }
        let soon = now + Duration::from_millis(1);
        now = if answered { soon } else { wake.max(soon) };
        if now >= stall {
            (now, stall) = (now + SECOND, Instant::from_nanos(u64::MAX));
        }
        assert!(now < Instant::from_millis(10_000_000), "it never ends");
    }
    (driver.outcome(), std::mem::take(clients.engine.service_mut()))
}

/// Holds a run to: all open at its end, none closed otherwise than by the driver, nothing wrong.
#[track_caller]
fn assert_all_back((outcome, heartbeat): &(Outcome, Heartbeat), connections: u64) {
    let seats = heartbeat.seats.as_ref().expect("they come back");
    assert_eq!(
        (outcome.held, heartbeat.wrong, outcome.unclosed),
        (connections, 0, 0),
        "{outcome:?}"
    );
    assert_eq!((seats.open(), seats.busy(), heartbeat.awaited), (0, 0, 0));
    let opened = connections + seats.record().reconnects;
    assert_eq!((heartbeat.opened, heartbeat.lost.total()), (opened, opened - connections));
    assert_eq!(outcome.attempted, opened + heartbeat.failed.total());
}

const ALL: [Builtin; 6] =
    [Builtin::Line, Builtin::Echo, Builtin::Ws, Builtin::Dubbo, Builtin::Mqtt, Builtin::Http];

#[test]
fn clients_of_every_protocol_come_back_after_a_restart() {
    let plan = plan(600, &ALL.map(target), 4);
    let ran = run(&plan, 600, &[(10, Mode::Serves)]);
    assert_all_back(&ran, 600);
    let (outcome, heartbeat) = &ran;
    let record = heartbeat.seats.as_ref().unwrap().record();
    // Each found out with its next heartbeat, which was reset.
    assert_eq!(heartbeat.lost.get(CloseReason::ResetByPeer), 600, "{:?}", heartbeat.lost);
    assert_eq!((record.retries, record.outages, outcome.missed), (600, 1, 0), "{record:?}");
    assert!(record.outage_longest > 4 * SECOND && record.outage_longest < 8 * SECOND);
    // They were lost over two seconds, and came back over five more.
    let by_second = &record.retries_by_second;
    assert!(by_second.len() >= 6 && by_second.iter().all(|count| *count < 200), "{by_second:?}");
    // Those who are back have heartbeats meanwhile; 30 in all, but for those of the outage.
    assert!(heartbeat.storm_latency.len() > 600, "{}", heartbeat.storm_latency.len());
    assert!((600 * 26..=600 * 31).contains(&heartbeat.answered), "{}", heartbeat.answered);
}

#[test]
fn a_server_that_hangs_is_missed_and_returned_to() {
    let plan = plan(300, &[target(Builtin::Line)], 4);
    let ran = run(&plan, 300, &[(10, Mode::Hangs), (30, Mode::Serves)]);
    assert_all_back(&ran, 300);
    let (outcome, heartbeat) = &ran;
    assert!(heartbeat.lost.get(CloseReason::HeartbeatMissed) >= 300, "{:?}", heartbeat.lost);
    assert!(outcome.missed >= 900 && outcome.missed == outcome.skipped, "{outcome:?}");
}

/// Late heartbeats wait for answers, of which none come: whoever waited for them for ever would never find
/// out that the server hangs.
#[test]
fn a_client_that_is_late_finds_a_server_that_hangs_all_the_same() {
    let mut plan = plan(300, &[target(Builtin::Line)], 4);
    plan.underway_max = 8;
    let modes = [(10, Mode::Hangs), (30, Mode::Serves)];
    let ran = run_with_stall(&plan, 300, &modes, Instant::from_millis(11_000));
    assert_all_back(&ran, 300);
    let (outcome, heartbeat) = &ran;
    assert!(outcome.late > 0, "{outcome:?}");
    assert!(heartbeat.lost.get(CloseReason::HeartbeatMissed) >= 300, "{:?}", heartbeat.lost);
}

/// Clients of a server that is gone hear nothing: they waited for that between each few late heartbeats, fell
/// behind, and charged those that were back with what had been due before.
#[test]
fn nobody_falls_behind_with_heartbeats_while_nothing_is_heard() {
    let mut plan = plan(4_000, &[target(Builtin::Line)], 4);
    // More in each 10 ms than in a round.
    (plan.heartbeat, plan.hold) = (Some(SECOND / 5), 12 * SECOND);
    let ran = run(&plan, 256, &[(4, Mode::Gone), (5, Mode::Forgets)]);
    assert_all_back(&ran, 4_000);
    let (outcome, heartbeat) = &ran;
    let latency = &heartbeat.storm_latency;
    assert!(latency.len() > 40_000, "{} answered while others were lost", latency.len());
    assert!(latency.value_at_quantile(0.99) < 20_000, "{} us", latency.value_at_quantile(0.99));
    assert!(outcome.late < outcome.sent / 1_000, "{outcome:?}");
}

#[test]
fn a_server_that_is_gone_for_long_is_returned_to_from_few_flights_too() {
    for flights in [300, 16] {
        let plan = plan(300, &[target(Builtin::Line), target(Builtin::Mqtt)], 2);
        let ran = run(&plan, flights, &[(5, Mode::Gone), (40, Mode::Serves)]);
        assert_all_back(&ran, 300);
        let record = ran.1.seats.as_ref().unwrap().record();
        assert_eq!(record.outages, 1, "{flights} flights: {record:?}");
        assert!(record.outage_longest > 30 * SECOND);
    }
}

#[test]
fn whoever_is_refused_asks_less_and_less_often() {
    for mode in [Mode::Refuses, Mode::Closes] {
        let mut plan = plan(100, &[target(Builtin::Line)], 4);
        plan.duration = Some(600 * SECOND);
        let (outcome, heartbeat) = run(&plan, 100, &[(0, mode)]);
        let record = heartbeat.seats.as_ref().unwrap().record();
        // One in five seconds each.
        assert!((9_000..14_000).contains(&record.retries), "{mode:?}: {}", record.retries);
        assert_eq!((outcome.held, record.outages), (0, 0));
        let most = record.retries_by_second.iter().max().unwrap();
        assert!(*most < 150, "{mode:?}: {:?}", record.retries_by_second);
    }
}

#[test]
fn first_connections_keep_their_rate() {
    let mut plan = plan(200, &[target(Builtin::Line)], 2);
    (plan.rate, plan.hold) = (Some(100), SECOND);
    let ran = run(&plan, 200, &[]);
    assert_all_back(&ran, 200);
    assert!(ran.0.connect_time >= Duration::from_millis(1_990), "{:?}", ran.0);
    assert_eq!(ran.1.seats.unwrap().record().retries, 0);
}

#[test]
fn a_seat_keeps_its_target_and_shares_no_source() {
    for (connections, rows) in [(10, 1), (10, 3), (9, 4), (1, 16)] {
        let plan = plan(connections, &[target(Builtin::Line), target(Builtin::Echo)], rows);
        let ways = Ways::of(&plan);
        let mut taken = HashSet::new();
        for seat in 0..u32::try_from(connections).unwrap() {
            let all = (0..2 * u16::try_from(rows).unwrap()).map(|incarnation| {
                ways.get(&plan.flows, &Turn { seat, incarnation, is_first: false })
            });
            let targets: HashSet<_> = all.clone().map(|(_, target)| target.endpoint).collect();
            let sources: HashSet<_> = all.map(|(source, _)| source).collect();
            assert_eq!((targets.len(), sources.len() as u64), (1, rows));
            let target = *targets.iter().next().unwrap();
            assert!(sources.into_iter().all(|source| taken.insert((source, target))));
        }
    }
}
