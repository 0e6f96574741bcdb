//! The simulator: engines, a stock smoltcp stack and scripted clients on a bad network, in virtual
//! time.
//!
//! A run follows from its seed. First the network is bad (the safety phase): whatever is lost,
//! doubled, damaged, late or full, the bytes that arrive are the right ones. Then it heals (the
//! liveness phase), and everything must finish. Each seed is run in every [`scenario::Mode`], and the
//! outcome must be the same: whether a record carries a connection or a socket is nobody's business.
//!
//! - [`scenario`]: what follows from the seed
//! - [`talk`]: one conversation
//! - [`network`]: the wire; [`host`]: an engine on it
//! - [`services`]: what runs on the engines; [`echoing`]: echo that takes its time
//! - [`reference`]: stock smoltcp; [`scripted`]: clients that keep to the letter
//! - [`outcome`]: what must hold in the end
//! - [`requests`]: conversations of HTTP
//! - [`mqtt`]: clients of MQTT whose connections come and go, a simulation of its own
//! - [`pushes`]: what a server pushes to clients, a simulation of its own
//! - `tests`: the seeds
//!
//! `cargo test sim` runs the seeds of tests/seeds.txt and 200 more; `TENMIL_SEEDS=10000 cargo test
//! sim` as many; `TENMIL_SEED=123 cargo test sim` that one, and with `TENMIL_TRACE=1` prints every frame.

mod echoing;
mod host;
mod mqtt;
mod network;
mod outcome;
mod pushes;
mod reference;
mod requests;
mod scenario;
mod scripted;
mod services;
mod talk;
mod tests;

use crate::time::{Duration, Instant};
use host::Host;
use network::{Network, describe, seen_by};
use outcome::Outcome;
use reference::Reference;
use scenario::{CLIENT_MAC, Mode, REFERENCE_MAC, SCRIPTED_MAC, SERVER_MAC, Scenario};
use scripted::Scripted;
use services::{Recorder, Talker};
use talk::{Conversation, Roles};

/// How long everything takes at most, once the network is good: a peer that vanished is given up after
/// 363 s, and slow readers take their time.
const PATIENCE: Duration = Duration::from_secs(4_000);

/// What a run may take, in steps: far more than any does that comes to an end.
const STEPS_MAX: u32 = 2_000_000;

/// Time passes by this much at least, however much is due.
const STEP_MIN: Duration = Duration::from_micros(100);

/// A run.
struct Simulation {
    start: Instant,
    now: Instant,
    heals_at: Instant,
    /// Whether every frame is printed.
    is_traced: bool,
    network: Network,
    server: Host<Recorder>,
    client: Host<Talker>,
    reference: Reference,
    scripted: Scripted,
    /// When the clients have something to do, whatever arrives.
    wakes: [Option<Instant>; 3],
}

impl Simulation {
    fn new(scenario: Scenario) -> Simulation {
        let Scenario { start, heals_at, faults, jitter, talks, mut random, .. } = scenario;
        let mut draw = || crate::link::faults::Random::new(random.word());
        let of = |roles: &[Roles]| -> Vec<Conversation> {
            let ours = talks.iter().filter(|talk| roles.contains(&talk.roles));
            ours.cloned().map(Conversation::new).collect()
        };
        let talker = Talker::new(of(&[Roles::EngineToEngine, Roles::EngineToReference]), draw());
        let recorder = Recorder::new(scenario.echoing, scenario.is_late);
        let room = scenario.server_room;
        let called = of(&[Roles::ReferenceToEngine]);
        let scripted = of(&[Roles::ScriptedToEngine]);
        Simulation {
            start,
            now: start,
            heals_at,
            is_traced: std::env::var_os("TENMIL_TRACE").is_some(),
            network: Network::new(draw(), faults, jitter),
            server: Host::new(scenario.server, recorder, room, start),
            client: Host::new(scenario.client, talker, scenario.client_room, start),
            reference: Reference::new(REFERENCE_MAC, called, &scenario.echoes, draw(), start),
            scripted: Scripted::new(scripted, [SCRIPTED_MAC, SERVER_MAC], draw()),
            wakes: [Some(start); 3],
        }
    }

    /// Lets everything happen, until nothing is left to do.
    fn run(mut self) -> Outcome {
        let mut steps = 0;
        while !self.is_quiet() {
            assert!(self.step(), "nothing is left to come: {}", self.state());
            steps += 1;
            let late = self.now > self.heals_at + PATIENCE;
            assert!(!late && steps < STEPS_MAX, "{steps} steps, and no end: {}", self.state());
        }
        let talks = self.client.engine.service().talks.iter();
        let talks = talks.chain(self.reference.talks()).chain(self.scripted.talks());
        Outcome::new(talks.cloned().collect(), &self.server, &self.client)
    }

    /// Goes to the next moment at which something happens; false if there is none.
    fn step(&mut self) -> bool {
        let timers =
            [self.server.engine.next_timer(self.now), self.client.engine.next_timer(self.now)];
        let next = timers.into_iter().chain(self.wakes).chain([self.network.next_at()]);
        let Some(next) = next.flatten().min() else { return false };
        self.now = next.max(self.now + STEP_MIN);
        if self.now >= self.heals_at {
            self.network.heal();
            self.scripted.heal();
        }
        let now = self.now;
        let arrived = self.network.arrivals(now);
        let mut sent = Vec::new();
        let mut gone = Vec::new();
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let seen =
            [SERVER_MAC, CLIENT_MAC, REFERENCE_MAC, SCRIPTED_MAC].map(|mac| seen_by(mac, &arrived));
        if !seen[0].is_empty() || is_due(timers[0]) {
            sent.extend(self.server.step(now, &seen[0], |_, _, _| {}));
        }
        if !seen[1].is_empty() || is_due(timers[1]) || is_due(self.wakes[0]) {
            sent.extend(self.client.step(now, &seen[1], |engine, link, tx| {
                (gone, self.wakes[0]) = Talker::drive(engine, now, link, tx);
            }));
        }
        let [_, _, reference, scripted] = seen;
        if !reference.is_empty() || is_due(self.wakes[1]) {
            let (frames, vanished, next) = self.reference.step(now, reference);
            sent.extend(frames);
            gone.extend(vanished);
            self.wakes[1] = next;
        }
        if !scripted.is_empty() || is_due(self.wakes[2]) {
            let (frames, vanished, next) = self.scripted.step(now, &scripted);
            sent.extend(frames);
            gone.extend(vanished);
            self.wakes[2] = next;
        }
        gone.into_iter().for_each(|port| self.network.vanish(port));
        if self.is_traced {
            let at = self.now.since(self.start);
            arrived.iter().for_each(|frame| eprintln!("{at:?} arrives {}", describe(frame)));
            sent.iter().for_each(|frame| eprintln!("{at:?} leaves {}", describe(frame)));
        }
        self.network.carry(now, sent);
        true
    }

    /// Whether all conversations are over, and nobody remembers any.
    fn is_quiet(&self) -> bool {
        let talks = self.client.engine.service().talks.iter();
        let mut talks = talks.chain(self.reference.talks()).chain(self.scripted.talks());
        talks.all(|talk| talk.end.is_some())
            && self.server.engine.counters().connections == 0
            && self.client.engine.counters().connections == 0
            && self.reference.is_quiet()
            && self.network.next_at().is_none()
    }

    /// For somebody who wonders what hangs.
    fn state(&self) -> String {
        let talks = self.client.engine.service().talks.iter();
        let talks = talks.chain(self.reference.talks()).chain(self.scripted.talks());
        let open = talks.filter(|talk| talk.end.is_none()).map(|talk| {
            let Conversation { talk, said, heard, attempts, .. } = talk;
            let (request, response) = (talk.request.len(), talk.response.len());
            format!(
                "{} {:?} {:?} {:?}: said {said} of {request}, heard {heard} of {response}, attempt \
                 {attempts}\n",
                talk.number, talk.roles, talk.service, talk.ending,
            )
        });
        let open: String = open.collect();
        let [server, client] = [self.server.engine.counters(), self.client.engine.counters()];
        format!("at {:?}\n{open}server {server:?}\nclient {client:?}", self.now.since(self.start))
    }
}

/// Runs a seed in one mode.
fn run(seed: u64, mode: Mode) -> Outcome {
    Simulation::new(Scenario::new(seed, mode)).run()
}

/// Runs a seed whose clients speak HTTP.
fn run_http(seed: u64, mode: Mode) -> Outcome {
    Simulation::new(Scenario::new(seed, mode).with_http()).run()
}

/// The same without faults.
fn run_without_faults(seed: u64, mode: Mode) -> Outcome {
    Simulation::new(Scenario::new(seed, mode).without_faults()).run()
}
