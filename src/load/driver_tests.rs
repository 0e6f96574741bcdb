//! The driver against a server on the other end of a link in memory.

use super::*;
use crate::client::world::{Side, config};
use crate::engine::locals::Listener;
use crate::link::memory;
use crate::load::flows::{Flows, Target};
use crate::service::builtin::{Builtin, Builtins, Setup};
use crate::service::http;
use crate::service::{Context, Service};
use crate::shard::Answering;
use crate::wire::addr::{Address, Endpoint, Secret};

const SERVERS: [Address; 2] = [Address::v4([10, 77, 0, 1]), address_of_v6(1)];
const CLIENTS: [Address; 2] = [Address::v4([10, 77, 16, 0]), address_of_v6(1 << 16)];

const fn address_of_v6(low: u32) -> Address {
    let [a, b, c, d] = low.to_be_bytes();
    Address([0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d])
}

const fn target(service: Builtin, family: usize, port: u16) -> Target {
    Target { service, endpoint: Endpoint { addr: SERVERS[family], port } }
}

const LINE: Target = target(Builtin::Line, 0, 7000);

/// So many pairs of sources with these targets.
fn flows(len: u64, targets: &[Target]) -> Flows {
    let prefixes = [(CLIENTS[0], 20), (CLIENTS[1], 112)];
    let used = prefixes.into_iter().filter(|(addr, _)| {
        targets.iter().any(|target| target.endpoint.addr.is_v4() == addr.is_v4())
    });
    Flows::new(&used.collect::<Vec<_>>(), targets, len).expect("enough")
}

/// A plan for so many connections to these targets: a heartbeat on each.
fn plan(connections: u64, targets: &[Target]) -> Plan {
    let period = Duration::from_millis(50);
    Plan {
        connections,
        slots: connections,
        flows: flows(connections, targets),
        rate: None,
        underway_max: 128,
        heartbeat: Some(period),
        beat_early: false,
        hold: period,
        churn: None,
        duration: None,
        reconnect: None,
        subscription: None,
    }
}

/// How a run may differ.
#[derive(Clone, Copy)]
struct World {
    /// Connections with data in flight at once, at the clients.
    flights: u32,
    /// Records of the clients, and of the server.
    records: [u32; 2],
    /// What really runs at the ports: another service than the target's gives wrong answers.
    served: Option<Builtin>,
    /// Whether the run is cut short once connections are being held.
    cut_short: bool,
    /// After how many requests the server closes a connection of HTTP; 0 for never.
    requests_max: u16,
    /// When nothing runs, and for how long.
    stall: Option<(Instant, Duration)>,
}

const USUAL: World = World {
    flights: 4096,
    records: [8192; 2],
    served: None,
    cut_short: false,
    requests_max: 0,
    stall: None,
};

/// How long a round of both sides takes.
const ROUND: Duration = Duration::from_micros(100);

/// What the server serves.
fn services(world: World) -> Builtins {
    let setups = Builtin::ALL.map(|service| match service {
        Builtin::Http => {
            let requests_max = world.requests_max;
            Setup::Http(http::Setup { requests_max, ..http::Setup::default() })
        }
        _ => Setup::of(service),
    });
    Builtins::new(&setups, Secret([0; 16]))
}

/// Runs a plan, in virtual time.
fn run(plan: Plan, world: World) -> (Outcome, Heartbeat) {
    run_with(plan, world, services(world))
}

/// The same with another server.
fn run_with(plan: Plan, mut world: World, service: impl Service) -> (Outcome, Heartbeat) {
    let [clients, servers] = world.records;
    let mut server = config(1, &[(SERVERS[0], 32), (SERVERS[1], 128)], servers, servers);
    server.resets_per_second = 1_000_000;
    let targets = plan.flows.targets().iter();
    let listeners = targets.filter(|target| target.endpoint.port != REFUSED.endpoint.port);
    let listeners = listeners.map(|target| Listener {
        endpoint: target.endpoint,
        tag: world.served.unwrap_or(target.service).tag(),
        profile: None,
    });
    server.listeners = listeners.collect();
    let clients = config(2, &[(CLIENTS[0], 20), (CLIENTS[1], 112)], clients, world.flights);
    let progress = Arc::new(Progress::default());
    progress.go_on();
    let (server_link, client_link) = memory::pair(4096, 2048, 2048);
    let mut server = Side::new(server_link, server, service);
    let mut client = Side::new(client_link, clients, Heartbeat::default());
    let mut driver = LoadDriver::new(plan, progress.clone());
    let mut now = Instant::ZERO;
    loop {
        let (_, answered) = server.round(now, &mut Answering);
        let (next, moved) = client.round(now, &mut driver);
        if world.cut_short && progress.get().phase == Phase::Holding {
            progress.finish();
        }
        let soon = now + ROUND;
        now = match next {
            Next::Done => break,
            Next::At(at) if !(answered || moved) => at.max(soon),
            _ => soon,
        };
        if let Some((_, length)) = world.stall.take_if(|(at, _)| *at <= now) {
            now = now + length;
        }
        assert!(now < Instant::from_millis(10_000_000), "it never ends");
    }
    (driver.outcome(), std::mem::take(client.engine.service_mut()))
}

/// Holds a run to: so many connections opened and closed in order, so many heartbeats, all right.
#[track_caller]
fn assert_clean((outcome, heartbeat): &(Outcome, Heartbeat), connections: u64, heartbeats: u64) {
    let Outcome { requested, attempted, sent, skipped, unclosed, unresolved, .. } = *outcome;
    assert_eq!((requested, attempted, heartbeat.opened), (connections, connections, connections));
    assert_eq!((sent, heartbeat.answered, heartbeat.wrong), (heartbeats, heartbeats, 0));
    assert_eq!((heartbeat.awaited, skipped, unclosed, unresolved), (0, 0, 0, None));
    assert_eq!((heartbeat.ended, heartbeat.failed.total()), (connections, 0));
    assert_eq!(heartbeat.lost.total(), 0, "{:?}", heartbeat.lost);
    assert_eq!(heartbeat.connect_latency.len(), connections);
    assert_eq!(heartbeat.latency.len(), heartbeats);
}

#[test]
fn every_connection_gets_its_heartbeat() {
    assert_clean(&run(plan(1_000, &[LINE]), USUAL), 1_000, 1_000);
}

#[test]
fn every_service_in_both_families_is_spoken_to_in_its_own_words() {
    let targets = [
        LINE,
        target(Builtin::Echo, 0, 7),
        target(Builtin::Discard, 0, 9),
        target(Builtin::Line, 1, 7000),
        target(Builtin::Echo, 1, 7),
        target(Builtin::Http, 0, 80),
        target(Builtin::Http, 1, 80),
        target(Builtin::Ws, 0, 81),
        target(Builtin::Dubbo, 1, 20_880),
        target(Builtin::Mqtt, 0, 1883),
    ];
    // A tenth of them goes to discard, which answers nothing, so nothing is said.
    assert_clean(&run(plan(1_000, &targets), USUAL), 1_000, 900);
}

#[test]
fn a_long_hold_has_a_heartbeat_in_every_period() {
    let mut plan = plan(300, &[LINE, target(Builtin::Echo, 0, 7)]);
    let period = Duration::from_millis(200);
    (plan.heartbeat, plan.hold) = (Some(period), 4 * period);
    assert_eq!(plan.heartbeats(plan.hold), 1_200);
    let ran = run(plan, USUAL);
    assert_clean(&ran, 300, 1_200);
    assert!(ran.0.hold_time >= Duration::from_millis(800));
}

#[test]
fn without_heartbeats_connections_are_only_held() {
    let mut plan = plan(100, &[LINE]);
    plan.heartbeat = None;
    let ran = run(plan, USUAL);
    assert_clean(&ran, 100, 0);
    assert!(ran.0.hold_time >= Duration::from_millis(50));
}

/// A heartbeat that could not be sent because all flights were in use was never sent at all.
#[test]
fn a_heartbeat_that_finds_no_flight_is_sent_later() {
    assert_clean(&run(plan(1_000, &[LINE]), World { flights: 16, ..USUAL }), 1_000, 1_000);
}

#[test]
fn a_rate_is_kept_and_heartbeats_go_on_while_connections_are_opened() {
    let mut plan = plan(400, &[LINE]);
    (plan.rate, plan.heartbeat) = (Some(1_000), Some(Duration::from_millis(100)));
    (plan.hold, plan.beat_early) = (Duration::from_millis(100), true);
    let ran = run(plan, USUAL);
    let (outcome, heartbeat) = &ran;
    // The last of 400 is due after 399 ms.
    assert!(outcome.connect_time >= Duration::from_millis(399), "{outcome:?}");
    // In the three periods before the hold the cursor meets the first 133, 266 and 400 of them.
    assert!((1_190..=1_210).contains(&outcome.sent), "{outcome:?}");
    assert_clean(&ran, 400, outcome.sent);
    assert!(heartbeat.latency.max() < 2_000, "none was late");
}

/// A connection that was opened late was charged with heartbeats that had been due before.
#[test]
fn nobody_owes_a_heartbeat_from_before_it_was_open() {
    let mut plan = plan(400, &[LINE]);
    let second = Duration::from_secs(1);
    (plan.rate, plan.heartbeat) = (Some(100), Some(second));
    (plan.hold, plan.beat_early) = (second, true);
    // After a period and a half, when 150 are open; 250 more are opened at once behind it.
    let stall = Some((Instant::from_millis(1_500), 3 * second));
    let ran = run(plan, World { stall, ..USUAL });
    let (outcome, heartbeat) = &ran;
    // Of those 150, each owes three.
    assert!((440..=460).contains(&outcome.late), "{outcome:?}");
    assert_clean(&ran, 400, outcome.sent);
    assert!(heartbeat.latency.max() > 2_000_000, "theirs is counted from when it was due");
}

#[test]
fn connections_are_replaced_at_their_pace_and_none_is_lost() {
    let targets = [LINE, target(Builtin::Echo, 0, 7)];
    let mut plan = plan(200, &targets);
    (plan.churn, plan.hold) = (Some(1_000), Duration::from_millis(500));
    // Fewer than will be opened: those of connections long gone come again.
    (plan.flows, plan.slots) = (flows(600, &targets), 600);
    let ran = run(plan, USUAL);
    assert_eq!(ran.0.churned, 500, "a thousand a second for half a second");
    // Ten periods, and of some connections one more or less.
    assert!((1_800..2_200).contains(&ran.0.sent), "{:?}", ran.0);
    assert_clean(&ran, 700, ran.0.sent);
}

#[test]
fn those_that_leave_say_so_and_are_answered() {
    let targets = [target(Builtin::Ws, 0, 81), target(Builtin::Mqtt, 1, 1883)];
    let mut plan = plan(200, &targets);
    (plan.churn, plan.hold) = (Some(1_000), Duration::from_millis(500));
    (plan.flows, plan.slots) = (flows(600, &targets), 600);
    let ran = run(plan.clone(), USUAL);
    assert_clean(&ran, 700, ran.0.sent);
    // Also in the middle of heartbeats.
    let (outcome, heartbeat) = run(plan, World { cut_short: true, ..USUAL });
    assert_eq!((heartbeat.opened, heartbeat.ended, outcome.unclosed), (200, 200, 0));
    assert_eq!((heartbeat.wrong, heartbeat.lost.total()), (0, 0));
}

#[test]
fn connections_that_the_server_closes_as_it_announced_are_opened_anew() {
    let mut plan = plan(50, &[target(Builtin::Http, 0, 80), LINE]);
    plan.hold = Duration::from_millis(500);
    let ran = run(plan, World { requests_max: 3, ..USUAL });
    let (outcome, heartbeat) = &ran;
    // Of ten periods three are one connection's; where its last answer is that of the hold, none follows.
    assert!((70..=83).contains(&outcome.renewed), "{outcome:?}");
    assert!(heartbeat.retired >= outcome.renewed, "{} retired", heartbeat.retired);
    assert_eq!((heartbeat.opened, outcome.requested), (50 + outcome.renewed, 50 + outcome.renewed));
    assert_eq!((heartbeat.ended + heartbeat.retired, outcome.unclosed), (heartbeat.opened, 0));
    assert_eq!((heartbeat.answered, heartbeat.wrong, outcome.skipped), (outcome.sent, 0, 0));
    assert!(outcome.sent >= 450, "the others go on: {outcome:?}");
    assert_eq!((heartbeat.failed.total(), heartbeat.lost.total()), (0, 0));
}

#[test]
fn a_server_that_leaves_a_goodbye_unanswered_is_found_out() {
    /// Upgrades, and then closes without a word.
    struct Rude(crate::service::ws::WebSocket);
    impl Service for Rude {
        fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
            match bytes.starts_with(b"GET") {
                true => self.0.on_data(conn, bytes),
                false => {
                    conn.close();
                    bytes.len()
                }
            }
        }
    }
    let mut plan = plan(10, &[target(Builtin::Ws, 0, 81)]);
    plan.heartbeat = None;
    let rude = Rude(crate::service::ws::WebSocket::new(&Default::default()));
    let (_, heartbeat) = run_with(plan, USUAL, rude);
    assert_eq!((heartbeat.opened, heartbeat.ended), (10, 10));
    assert_eq!(heartbeat.lost.get(CloseReason::ProtocolError), 10);
}

const REFUSED: Target = target(Builtin::Line, 0, 7001);

#[test]
fn refused_connections_are_counted_as_that() {
    let (outcome, heartbeat) = run(plan(200, &[LINE, REFUSED]), USUAL);
    assert_eq!((outcome.attempted, heartbeat.opened), (200, 100));
    assert_eq!(heartbeat.failed.get(CloseReason::Refused), 100);
    assert_eq!((heartbeat.failed.total(), heartbeat.answered, heartbeat.ended), (100, 100, 100));
}

#[test]
fn wrong_answers_are_found() {
    // A line service answers "0000..." as it comes; an echo answers PING with PING.
    let served = Some(Builtin::Echo);
    let (outcome, heartbeat) = run(plan(100, &[LINE]), World { served, ..USUAL });
    assert_eq!((outcome.sent, heartbeat.answered, heartbeat.wrong), (100, 0, 100));
    assert_eq!((heartbeat.awaited, heartbeat.ended), (0, 100));
}

#[test]
fn heartbeats_that_nobody_answers_end_with_the_run() {
    let served = Some(Builtin::Discard);
    let mut plan = plan(10, &[LINE]);
    // Unanswered for a period, they are not sent again.
    (plan.hold, plan.duration) = (Duration::from_secs(60), Some(Duration::from_millis(500)));
    let (outcome, heartbeat) = run(plan, World { served, ..USUAL });
    assert_eq!((outcome.sent, heartbeat.answered, heartbeat.wrong), (10, 0, 0));
    // In half a second there are ten periods.
    assert!((80..=100).contains(&outcome.skipped), "{outcome:?}");
    assert_eq!((heartbeat.ended, heartbeat.lost.total()), (10, 0));
}

#[test]
fn a_run_that_is_cut_short_closes_what_it_has_opened() {
    let mut plan = plan(500, &[LINE]);
    plan.hold = Duration::from_secs(3600);
    let (outcome, heartbeat) = run(plan, World { cut_short: true, ..USUAL });
    assert_eq!((heartbeat.opened, heartbeat.ended, outcome.unclosed), (500, 500, 0));
    assert_eq!((heartbeat.wrong, heartbeat.lost.total()), (0, 0));
}

#[test]
fn a_run_has_a_longest_duration() {
    let mut plan = plan(1_000_000, &[LINE]);
    (plan.rate, plan.duration) = (Some(1_000), Some(Duration::from_millis(200)));
    let (outcome, heartbeat) = run(plan, USUAL);
    assert!((199..=201).contains(&outcome.attempted), "{outcome:?}");
    assert_eq!(heartbeat.opened, heartbeat.ended);
}

#[test]
fn a_hold_that_the_duration_ends_awaits_its_answers() {
    let mut plan = plan(400, &[LINE]);
    (plan.hold, plan.duration) = (Duration::from_secs(3600), Some(Duration::from_millis(333)));
    let ran = run(plan, USUAL);
    assert!((400..=400 * 7).contains(&ran.0.sent), "{:?}", ran.0);
    assert!(ran.0.hold_time < Duration::from_millis(340), "{:?}", ran.0);
    assert_clean(&ran, 400, ran.0.sent);
}
