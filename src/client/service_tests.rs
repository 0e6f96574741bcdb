//! Clients against a server that goes away, hangs, refuses and comes back, in virtual time.

use super::*;
use crate::client::routes::Ports;
use crate::client::speaking::{Beats, Speaking};
use crate::client::world::{Mode, Moody, Side, config};
use crate::engine::locals::Listener;
use crate::link::memory;
use crate::service::builtin::{Builtin, Builtins};
use crate::shard::{Answering, Next};
use crate::wire::addr::{Address, Endpoint};

const SERVER: Address = Address::v4([10, 77, 0, 1]);
const CLIENT: Address = Address::v4([10, 77, 0, 2]);
const SECOND: Duration = Duration::from_secs(1);

type Heard = fn(ConnId, &[u8]);
type Clients = Client<Speaking<Heard>>;

struct World {
    server: Side<Moody>,
    clients: Side<Clients>,
    dialer: Dialer<Ports>,
    now: Instant,
    service: Builtin,
    mode: Mode,
    seats: u32,
}

const BEATS: Beats =
    Beats { period: Some(Duration::from_secs(20)), answer_wait: Duration::from_secs(5), misses: 2 };

impl World {
    fn new(seats: u32, service: Builtin) -> World {
        let (server_link, client_link) = memory::pair(8192, 2048, 4096);
        let plan = Plan { seats, seed: Some(5), ..Plan::default() };
        let settings = config(2, &[(CLIENT, 32)], seats, seats);
        let heard: Heard = |_, _| ();
        let (client, dialer) =
            Client::new(&plan, &settings, ports(service, seats), Speaking::new(BEATS, heard))
                .unwrap();
        World {
            server: serve(server_link, service, seats, Mode::Serves),
            clients: Side::new(client_link, settings, client),
            dialer,
            now: Instant::ZERO,
            service,
            mode: Mode::Serves,
            seats,
        }
    }

    fn ports(&self) -> Ports {
        ports(self.service, self.seats)
    }

    fn clients(&self) -> &Clients {
        self.clients.engine.service()
    }

    fn open(&self) -> u32 {
        self.clients().seats().open()
    }

    /// The server restarts, and then is as `mode` says.
    fn restart(&mut self, mode: Mode) {
        let World { service, seats, .. } = *self;
        self.mode = mode;
        // Its link is that of the interface.
        let idle = memory::pair(2, 2048, 2).0;
        let link = std::mem::replace(&mut self.server.link, idle);
        self.server = serve(link, service, seats, mode);
    }

    /// Lets time pass until `is` holds, for `most` at the longest; returns how long that was.
    fn run(&mut self, most: Duration, is: impl Fn(&World) -> bool) -> Duration {
        let (began, end) = (self.now, self.now + most);
        while self.now.since(began) < most && !is(self) {
            let moved = match self.mode {
                Mode::Gone => {
                    self.server.lose();
                    false
                }
                _ => self.server.round(self.now, &mut Answering).1,
            };
            let (next, answered) = self.clients.round(self.now, &mut self.dialer);
            let soon = self.now + Duration::from_millis(1);
            let due = self.clients.engine.next_timer(self.now);
            let asked = if let Next::At(at) = next { Some(at) } else { None };
            let served = self.server.engine.next_timer(self.now);
            let next = [due, asked, served].into_iter().flatten().min().unwrap_or(soon);
            self.now = if moved || answered { soon } else { next.max(soon).min(end.max(soon)) };
        }
        self.now.since(began)
    }

    #[track_caller]
    fn all_open(&mut self, most: Duration) -> Duration {
        let all = self.seats;
        let took = self.run(most, |world| world.open() == all);
        assert_eq!(self.open(), all, "after {took:?}: {:?}", self.clients().failed());
        took
    }
}

fn ports(service: Builtin, seats: u32) -> Ports {
    let remote = "10.77.0.1:7000".parse().unwrap();
    Ports { local: CLIENT.to_ip(), remote, tag: service.tag(), seats }
}

fn serve(
    link: crate::link::memory::MemoryLink,
    service: Builtin,
    seats: u32,
    mode: Mode,
) -> Side<Moody> {
    let mut settings = config(1, &[(SERVER, 32)], 2 * seats, 2 * seats);
    settings.resets_per_second = 1_000_000;
    let listener = Listener {
        endpoint: Endpoint { addr: SERVER, port: 7000 },
        tag: service.tag(),
        profile: None,
    };
    settings.listeners = if mode == Mode::Refuses { Vec::new() } else { vec![listener] };
    Side::new(link, settings, Moody(Builtins::default(), mode))
}

const PROTOCOLS: [Builtin; 5] =
    [Builtin::Line, Builtin::Echo, Builtin::Ws, Builtin::Dubbo, Builtin::Mqtt];

#[test]
fn clients_of_every_protocol_come_back_after_a_restart() {
    for service in PROTOCOLS.into_iter().chain([Builtin::Http]) {
        let mut world = World::new(100, service);
        assert!(world.all_open(SECOND) < SECOND, "{service}: at once, when nothing was lost");
        // A heartbeat on each.
        world.run(30 * SECOND, |_| false);
        let answered = world.clients().service().counts().answered;
        assert_eq!((answered, world.open()), (100, 100), "{service}");
        world.restart(Mode::Serves);
        // Each finds out with its next heartbeat, which is reset, and then waits for up to ten seconds.
        world.run(21 * SECOND, |world| world.open() < 100);
        assert!(world.clients().seats().has_outage(), "{service}");
        let took = world.all_open(40 * SECOND);
        assert!(took > 5 * SECOND, "{service}: spread: {took:?}");
        let lost = *world.clients().lost();
        assert_eq!(lost.get(CloseReason::ResetByPeer), 100, "{service}: {lost:?}");
        let (record, failed) = (world.clients().record().clone(), *world.clients().failed());
        assert_eq!((record.retries, record.reconnects), (100, 100), "{service}: {failed:?}");
        world.run(30 * SECOND, |_| false);
        assert_eq!(world.clients().service().counts().answered, 200, "{service}");
        assert_eq!((world.open(), world.clients().service().counts().wrong), (100, 0));
    }
}

#[test]
fn a_server_that_hangs_is_given_up_for_missed_heartbeats_and_nothing_else_finds_it() {
    for service in PROTOCOLS {
        let mut world = World::new(50, service);
        world.all_open(SECOND);
        world.run(SECOND, |_| false);
        world.server.engine.service_mut().1 = Mode::Hangs;
        // The heartbeat after 20 s, and two answers that do not come in 5 s each.
        world.run(28 * SECOND, |_| false);
        assert_eq!(world.open(), 50, "{service}");
        world.run(4 * SECOND, |_| false);
        assert_eq!(world.clients().lost().get(CloseReason::HeartbeatMissed), 50, "{service}");
        world.server.engine.service_mut().1 = Mode::Serves;
        // Who came back while it hung, and was not welcomed, finds that out in ten seconds.
        world.run(30 * SECOND, |_| false);
        world.all_open(60 * SECOND);
        let lost = world.clients().lost().total();
        world.run(60 * SECOND, |_| false);
        assert_eq!((world.open(), world.clients().lost().total()), (50, lost), "{service}");
    }
}

#[test]
fn a_host_that_vanishes_is_tried_again_until_it_is_back() {
    let mut world = World::new(200, Builtin::Line);
    world.all_open(SECOND);
    world.mode = Mode::Gone;
    world.run(600 * SECOND, |_| false);
    assert_eq!(world.open(), 0);
    let (lost, failed) = (*world.clients().lost(), *world.clients().failed());
    assert_eq!(lost.get(CloseReason::HeartbeatMissed), 200, "{lost:?}");
    // Handshakes of 20 s each, and waits between them; or nobody answers for the address any more.
    let tried = failed.total();
    assert!(tried > 2_000, "{failed:?}");
    let timed_out = failed.get(CloseReason::UserTimeout) + failed.get(CloseReason::Unreachable);
    assert_eq!(timed_out, tried, "{failed:?}");
    world.restart(Mode::Serves);
    let took = world.all_open(120 * SECOND);
    assert!(took <= 90 * SECOND, "the cap, and a handshake: {took:?}");
    assert_eq!(world.clients().record().outages, 1);
    assert!(world.clients().record().outage_longest > 560 * SECOND);
}

#[test]
fn whoever_refuses_or_closes_at_once_is_asked_less_and_less_often() {
    for mode in [Mode::Refuses, Mode::Closes] {
        let mut world = World::new(100, Builtin::Line);
        world.restart(mode);
        world.run(60 * SECOND, |_| false);
        let early = world.clients().record().retries;
        world.run(1_800 * SECOND, |_| false);
        let retries = world.clients().record().retries;
        // In the first minute 10 or so, for windows of 10, 1, 2, 4... seconds; later one in 30 s.
        assert!((500..1_200).contains(&early), "{mode:?}: {early} in a minute");
        let later = retries - early;
        assert!((5_000..7_000).contains(&later), "{mode:?}: {later} in half an hour");
        let clients = world.clients();
        let reason = match mode {
            Mode::Refuses => clients.failed().get(CloseReason::Refused),
            _ => clients.lost().get(CloseReason::ClosedByPeer),
        };
        // All but those that go on.
        assert!(reason >= 100 + retries - 100, "{mode:?}: {reason} of {retries}");
        world.restart(Mode::Serves);
        world.all_open(62 * SECOND);
    }
}

/// A server that closes and vanishes would keep a seat for as long as this side's FIN is sent again: six
/// minutes.
#[test]
fn a_close_that_does_not_end_is_given_up() {
    let mut world = World::new(20, Builtin::Line);
    world.all_open(SECOND);
    world.run(SECOND, |_| false);
    let Side { engine, link, .. } = &mut world.server;
    let (mut tx, mut cursor) = (Vec::with_capacity(64), 0);
    while let Some(id) = engine.connection_from(&mut cursor) {
        engine.close(id, world.now, link, &mut tx).expect("it is open");
    }
    crate::link::Link::transmit(link, &mut tx).expect("it stays");
    crate::link::Link::flush(link).expect("it stays");
    world.mode = Mode::Gone;
    world.run(SECOND, |_| false);
    assert_eq!((world.open(), world.clients().seats().busy()), (0, 20));
    world.run(20 * SECOND, |_| false);
    assert_eq!(world.clients().lost().get(CloseReason::UserTimeout), 20);
    world.restart(Mode::Serves);
    world.all_open(60 * SECOND);
}

/// A service of somebody else's, which says goodbye after a second.
struct Brief;

impl Service for Brief {
    fn on_open(&mut self, conn: &mut Context<'_>) {
        conn.wake_after(SECOND);
    }

    fn on_data(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> usize {
        bytes.len()
    }

    fn on_wake(&mut self, conn: &mut Context<'_>) {
        conn.send(b"QUIT\n");
        conn.close();
    }
}

#[test]
fn any_service_comes_back_when_it_has_closed_too() {
    let (server_link, client_link) = memory::pair(1024, 2048, 512);
    let mut server = serve(server_link, Builtin::Line, 40, Mode::Serves);
    // Room for those in TIME-WAIT, which lasts for 200 ms here.
    let settings = config(2, &[(CLIENT, 32)], 40, 40);
    let backoff = Backoff { spread: SECOND, base: SECOND, cap: SECOND, proved_after: 100 * SECOND };
    let plan = Plan { seats: 20, backoff, seed: Some(3), ..Plan::default() };
    let ports = Ports {
        local: CLIENT.to_ip(),
        remote: "10.77.0.1:7000".parse().unwrap(),
        tag: 0,
        seats: 20,
    };
    let (client, mut dialer) = Client::new(&plan, &settings, ports, Brief).unwrap();
    let mut clients = Side::new(client_link, settings, client);
    for millis in 0..20_000 {
        let now = Instant::from_millis(millis);
        server.round(now, &mut Answering);
        clients.round(now, &mut dialer);
    }
    let client = clients.engine.service();
    // A second each, and half a second between.
    let lost = client.lost().get(CloseReason::ClosedByUs);
    assert!((20 * 9..20 * 15).contains(&lost), "{:?}", client.lost());
    assert_eq!((client.failed().total(), client.lost().total()), (0, lost));
    let mut events = std::collections::BTreeMap::new();
    client.events(&mut |name, count| {
        events.insert(name, count);
    });
    let record = client.record();
    assert_eq!((events["retries"], events["reconnects"]), (record.retries, record.reconnects));
    assert!(record.retries >= lost - 20 && record.reconnects <= record.retries);
}

#[test]
fn no_more_handshakes_go_on_at_once_than_allowed() {
    let mut world = World::new(300, Builtin::Line);
    world.dialer = Dialer::new(world.ports(), 16, 20);
    world.run(Duration::from_millis(5), |world| world.open() > 0);
    assert!(world.open() < 300);
    world.mode = Mode::Gone;
    let (mut begun, mut later) = (0, 0);
    for _ in 0..1_000 {
        world.run(Duration::from_millis(100), |_| false);
        let seats = world.clients().seats();
        let is_beginning = seats.untried() > 0 && world.clients().record().retries == 0;
        let most = if is_beginning { &mut begun } else { &mut later };
        *most = seats.busy().max(*most);
    }
    assert_eq!((begun, later), (16, 20), "first attempts, and others");
    world.restart(Mode::Serves);
    world.all_open(120 * SECOND);
}

#[test]
fn a_client_that_was_stopped_does_not_come_back() {
    let mut world = World::new(10, Builtin::Line);
    world.all_open(SECOND);
    world.clients.engine.service_mut().stop();
    world.restart(Mode::Serves);
    world.run(120 * SECOND, |_| false);
    assert_eq!((world.open(), world.clients().record().retries), (0, 0));
    assert_eq!(world.clients().lost().total(), 10);
}

#[test]
fn more_clients_than_connections_are_refused_in_one_line() {
    let settings = config(2, &[(CLIENT, 32)], 10, 10);
    let plan = Plan { seats: 11, seed: Some(1), ..Plan::default() };
    let remote = "10.77.0.1:7".parse().unwrap();
    let ports = Ports { local: CLIENT.to_ip(), remote, tag: 0, seats: 11 };
    let error = Client::new(&plan, &settings, ports, Builtins::default()).err().unwrap();
    assert_eq!(error.to_string(), "11 clients need as many connections, and connections_max is 10");
}
