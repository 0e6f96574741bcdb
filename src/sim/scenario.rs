//! What happens in a run: everything that follows from its seed.

use super::echoing::{Echoing, Habit};
use super::host::Room;
use super::requests;
use super::services::{CLIENT, SERVER, address};
use super::talk::{Conversation, Ending, Roles, STAYS_FOR, Talk, below};
use crate::engine::config::Config;
use crate::engine::locals::{Listener, Owned};
use crate::link::faults::{Chance, Faults, Random};
use crate::service::builtin::Builtin;
use crate::service::line;
use crate::tcp::keepalive::{Keepalive, Profile};
use crate::time::{Duration, Instant};
use crate::wire::addr::{Endpoint, Secret};
use crate::wire::ethernet::Mac;

/// The hosts' hardware addresses.
pub(super) const SERVER_MAC: Mac = [2, 0, 0, 0, 0, 1];
pub(super) const CLIENT_MAC: Mac = [2, 0, 0, 0, 0, 2];
pub(super) const REFERENCE_MAC: Mac = [2, 0, 0, 0, 0, 3];
pub(super) const SCRIPTED_MAC: Mac = [2, 0, 0, 0, 0, 4];

/// When a connection is carried by its record alone, and when by a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Promoted when it needs to be, and parked as soon as it is quiet.
    ParkAtOnce,
    /// Promoted when it needs to be, and never parked again.
    NeverPark,
    /// Promoted whenever anything happens.
    AlwaysPromoted,
    /// By records alone, as when every place is taken.
    NeverPromoted,
}

impl Mode {
    pub(super) const ALL: [Mode; 4] =
        [Mode::ParkAtOnce, Mode::NeverPark, Mode::AlwaysPromoted, Mode::NeverPromoted];

    pub(super) fn apply(self, config: &mut Config) {
        config.promote_always = self == Mode::AlwaysPromoted;
        config.park_after = match self {
            Mode::ParkAtOnce => Duration::ZERO,
            _ => Duration::from_secs(1 << 30),
        };
        if self == Mode::NeverPromoted {
            config.promoted_max = 0;
        }
    }
}

/// How long the network is bad.
const BAD_FOR: Duration = Duration::from_secs(60);

/// A run.
pub(super) struct Scenario {
    pub(super) start: Instant,
    /// When the network heals.
    pub(super) heals_at: Instant,
    pub(super) faults: Faults,
    pub(super) jitter: Duration,
    pub(super) server: Config,
    pub(super) server_room: Room,
    /// The server's echo.
    pub(super) echoing: Echoing,
    /// When the server's files are late, if it has any.
    pub(super) is_late: Option<Random>,
    pub(super) client: Config,
    pub(super) client_room: Room,
    pub(super) talks: Vec<Talk>,
    /// The stock stack's listeners: ports, and their buffers in bytes.
    pub(super) echoes: Vec<(u16, usize)>,
    /// What is left to be decided.
    pub(super) random: Random,
}

impl Scenario {
    pub(super) fn new(seed: u64, mode: Mode) -> Scenario {
        let mut random = Random::new(seed);
        let random = &mut random;
        // Half of the runs start just before the tick counter wraps.
        let start = pick(random, [0, ((1 << 32) - 500) << 24]);
        let start = Instant::from_nanos(start);
        let heals_at = start + BAD_FOR;
        let is_perfect = random.below(10) == 0;
        let faults = match is_perfect {
            true => Faults::default(),
            false => faults(random, [16, 16, 31, 6]),
        };
        let jitter = Duration::from_millis(match is_perfect {
            true => 0,
            false => pick(random, [0, 0, 5, 100, 2_000]),
        });
        let count = 3 + below(random, 12);
        let talks: Vec<Talk> =
            (0..count).map(|number| talk(number, start, heals_at, random)).collect();
        let is_orderly = |talk: &&Talk| {
            use Ending::{ClientCloses, HalfCloses, ServerCloses};
            matches!(talk.ending, ClientCloses | HalfCloses | ServerCloses)
        };
        // A peer that has vanished keeps its flight for as long as nobody needs it.
        let others = talks.len() - talks.iter().filter(is_orderly).count();
        let flights_min = u32::try_from(others).expect("a few") + 1;
        let server = server(mode, flights_min, random);
        let client = client(mode, random);
        let echoes = talks.iter().filter(|talk| talk.roles == Roles::EngineToReference);
        let port = |talk: &Talk| Conversation::new(talk.clone()).service_port();
        let echoes = echoes.map(|talk| (port(talk), pick(random, BUFFERS))).collect();
        let [server_room, client_room] = [room(random), room(random)];
        let random = random.clone();
        // Of its own, so that what was drawn for a seed before there were habits stays.
        let mut others = Random::new(!seed);
        let echoing = Echoing::new(pick(&mut others, Habit::ALL), others);
        Scenario {
            start,
            heals_at,
            faults,
            jitter,
            server,
            server_room,
            echoing,
            is_late: None,
            client,
            client_room,
            talks,
            echoes,
            random,
        }
    }
}

impl Scenario {
    /// The same with clients that speak HTTP to the engine.
    pub(super) fn with_http(mut self) -> Scenario {
        let mut random = Random::new(self.random.word());
        self.talks.iter_mut().for_each(|talk| requests::ask(talk, &mut random));
        self.is_late = Some(random);
        self
    }

    /// The same with engines alone, on a good network and with room for everything; nobody vanishes.
    pub(super) fn without_faults(mut self) -> Scenario {
        (self.faults, self.jitter) = (Faults::default(), Duration::ZERO);
        self.talks.retain(|talk| {
            talk.roles == Roles::EngineToEngine
                && matches!(talk.ending, Ending::ClientCloses | Ending::ServerCloses)
        });
        for config in [&mut self.server, &mut self.client] {
            (config.connections_max, config.half_open_max, config.flights_max) = (64, 64, 64);
        }
        let room = Room { frames: 512, ring: 256, queue: 256 };
        (self.server_room, self.client_room) = (room, room);
        self
    }
}

/// Buffers of stock sockets, in bytes: the smallest hold a few bytes, the largest need a scale.
const BUFFERS: [usize; 5] = [64, 700, 4_096, 65_535, 200_000];

pub(super) fn pick<T: Copy, const N: usize>(random: &mut Random, choices: [T; N]) -> T {
    choices[below(random, N)]
}

/// Losses, duplicates, reorderings and corruptions in less than these percentages.
pub(super) fn faults(random: &mut Random, below: [u64; 4]) -> Faults {
    let [loss, duplicate, reorder, corrupt] =
        below.map(|most| Chance::percent(u32::try_from(random.below(most)).expect("a percentage")));
    Faults { loss, duplicate, reorder, corrupt }
}

fn room(random: &mut Random) -> Room {
    Room {
        frames: pick(random, [40, 128, 512]),
        ring: pick(random, [16, 64, 256]),
        queue: pick(random, [8, 64, 256]),
    }
}

/// The services that are talked to, and their ports.
pub(super) const SERVICES: [(Builtin, u16); 4] =
    [(Builtin::Echo, 7), (Builtin::Discard, 9), (Builtin::Line, 7000), (Builtin::Http, 80)];

fn server(mode: Mode, flights_min: u32, random: &mut Random) -> Config {
    let mut config = Config::new(SERVER_MAC, Secret([1; 16]), Secret([2; 16]));
    config.owned = vec![own(SERVER, true), own(SERVER, false)];
    for (service, port) in SERVICES {
        for is_v4 in [true, false] {
            let endpoint = Endpoint { addr: address(SERVER, is_v4), port };
            config.listeners.push(Listener { endpoint, tag: service.tag(), profile: None });
        }
    }
    config.connections_max = pick(random, [4, 64, 64, 64]);
    config.half_open_max = pick(random, [1, 64, 64]);
    // Not at both ends, or each could wait for the other to have room.
    config.flights_max = pick(random, [flights_min, 64]);
    limit(&mut config, random);
    // Long enough for a FIN that is lost again and again.
    config.time_wait = Duration::from_secs(120);
    mode.apply(&mut config);
    config
}

fn client(mode: Mode, random: &mut Random) -> Config {
    let mut config = Config::new(CLIENT_MAC, Secret([3; 16]), Secret([4; 16]));
    config.owned = vec![own(CLIENT, true), own(CLIENT, false)];
    config.connections_max = pick(random, [2, 64]);
    config.flights_max = 64;
    limit(&mut config, random);
    mode.apply(&mut config);
    config
}

/// What is the same for both.
fn limit(config: &mut Config, random: &mut Random) {
    config.promoted_max = pick(random, [1, 3, 64]);
    config.promoted_buffer = pick(random, [4_096, 20_000, u16::MAX]);
    config.mtu = pick(random, [1_500, 1_500, 1_280, 576]);
    config.timers_per_call = pick(random, [1, 1_024]);
    let second = Duration::from_secs(1);
    let keepalive = Keepalive::new(20 * second, 3 * second, 9).expect("within the limits");
    config.profile = Profile { keepalive: Some(keepalive), user_timeout: None };
}

pub(super) fn own(host: [&str; 2], is_v4: bool) -> Owned {
    let (range_len, link_len) = if is_v4 { (32, 16) } else { (128, 64) };
    Owned { addr: address(host, is_v4), range_len, link_len }
}

fn talk(number: usize, start: Instant, heals_at: Instant, random: &mut Random) -> Talk {
    let roles = match random.below(10) {
        0..4 => Roles::EngineToEngine,
        4 => Roles::EngineToReference,
        5..8 => Roles::ReferenceToEngine,
        _ => Roles::ScriptedToEngine,
    };
    let service = match (roles, random.below(5)) {
        (Roles::EngineToReference, _) | (_, 0..2) => Builtin::Echo,
        (_, 2) => Builtin::Discard,
        _ => Builtin::Line,
    };
    let (buffer, read_pause) = match random.below(3) {
        0 => (pick(random, BUFFERS), Duration::from_millis(random.below(400))),
        _ => (65_535, Duration::ZERO),
    };
    let read_max = if read_pause.is_zero() { 65_536 } else { 1 + below(random, buffer) };
    let pause = Duration::from_millis(match roles {
        // Its buffers may be small, and so the pieces many.
        Roles::EngineToReference => 0,
        _ => pick(random, [0, 0, 0, 50, 3_000, 40_000]),
    });
    let mut longest = match roles {
        // Each piece of theirs waits for an event of its own.
        Roles::ScriptedToEngine => 20_000,
        _ => 200_000,
    };
    // Small buffers take many round trips, and perhaps as many timeouts.
    longest = longest.min(40 * read_max.min(buffer));
    let len = match random.below(20) {
        0..8 => below(random, 100),
        8..13 => below(random, 3_000),
        13..19 => below(random, 20_000),
        _ => below(random, 200_000),
    };
    let len = 1 + len.min(longest);
    let piece_max = match pause.is_zero() {
        true => pick(random, [30, 1_460, 4_000, 4_000]).max(len / 200),
        false => 1 + len / 5,
    };
    let ending = ending(roles, service, len, random);
    // smoltcp drops what is unread when its TIME-WAIT ends, after 10 s.
    let read_pause = if ending == Ending::HalfCloses { Duration::ZERO } else { read_pause };
    let (request, response) = words(service, len, ending, random);
    Talk {
        number: u16::try_from(number).expect("a few"),
        roles,
        is_v4: random.below(2) == 0,
        service,
        begins: start + Duration::from_millis(random.below(10_000)),
        request,
        response,
        ending,
        piece_max,
        pause,
        read_max,
        read_pause,
        buffer,
        stays_until: heals_at + STAYS_FOR,
    }
}

fn ending(roles: Roles, service: Builtin, len: usize, random: &mut Random) -> Ending {
    let heard = if service == Builtin::Echo { below(random, len + 1) } else { 0 };
    match (roles, random.below(10)) {
        (Roles::EngineToReference, _) => Ending::ClientCloses,
        (_, 0) => Ending::VanishesIdle,
        (_, 1) => Ending::Vanishes(heard),
        (Roles::ReferenceToEngine | Roles::ScriptedToEngine, 2) => Ending::Aborts(heard),
        (Roles::ReferenceToEngine | Roles::ScriptedToEngine, 3..6) => Ending::HalfCloses,
        _ if service == Builtin::Line => Ending::ServerCloses,
        _ => Ending::ClientCloses,
    }
}

/// About `len` bytes to say, and what is to be heard.
fn words(service: Builtin, len: usize, ending: Ending, random: &mut Random) -> (Vec<u8>, Vec<u8>) {
    let noise = |random: &mut Random, len: usize| -> Vec<u8> {
        let words = core::iter::repeat_with(|| random.word().to_le_bytes());
        words.flatten().take(len).collect()
    };
    match service {
        Builtin::Echo => {
            let bytes = noise(random, len);
            (bytes.clone(), bytes)
        }
        Builtin::Discard => (noise(random, len), Vec::new()),
        Builtin::Http => unreachable!("no talk is about it"),
        Builtin::Line => {
            let mut request = Vec::new();
            while request.len() < len {
                match random.below(3) {
                    0 => {
                        let len = below(random, 40);
                        let letters = noise(random, len).into_iter().map(|byte| b'a' + byte % 26);
                        request.extend(letters);
                        request.push(b'\n');
                    }
                    _ => request.extend_from_slice(line::PING),
                }
            }
            if ending == Ending::ServerCloses {
                request.extend_from_slice(line::QUIT);
            }
            let (response, _) = line::tests::model(&request);
            (request, response)
        }
        Builtin::Ws | Builtin::Dubbo | Builtin::Mqtt => {
            unreachable!("{service} is not among SERVICES")
        }
    }
}
