//! For tests: engines with drivers on the two ends of a link in memory, in virtual time.

use crate::engine::config::Config;
use crate::engine::locals::Owned;
use crate::engine::{BATCH_MAX, Engine};
use crate::frame::Frame;
use crate::link::Link;
use crate::link::memory::MemoryLink;
use crate::service::builtin::Builtins;
use crate::service::{Context, Service};
use crate::shard::{Driver, Next};
use crate::time::{Duration, Instant};
use crate::wire::addr::{Address, Secret};

/// Settings of an engine that owns these ranges of addresses.
pub(crate) fn config(mac: u8, owned: &[(Address, u8)], records: u32, flights: u32) -> Config {
    let mut config = Config::new([2, 0, 0, 0, 0, mac], Secret([mac; 16]), Secret([mac; 16]));
    let owned = owned.iter().map(|&(addr, range_len)| {
        let link_len = if addr.is_v4() { 16 } else { 64 };
        Owned { addr, range_len, link_len }
    });
    config.owned = owned.collect();
    config.connections_max = records;
    config.flights_max = flights;
    config.time_wait = Duration::from_millis(200);
    config
}

/// One end of the link.
pub(crate) struct Side<S: Service> {
    pub(crate) link: MemoryLink,
    pub(crate) engine: Engine<S>,
    tx: Vec<Frame>,
}

impl<S: Service> Side<S> {
    pub(crate) fn new(link: MemoryLink, config: Config, service: S) -> Side<S> {
        let engine = Engine::new(config, service, Instant::ZERO);
        Side { link, engine, tx: Vec::with_capacity(1024) }
    }

    /// What a shard does in a round; returns whether anything moved.
    pub(crate) fn round(&mut self, now: Instant, driver: &mut impl Driver<S>) -> (Next, bool) {
        let mut rx = Vec::with_capacity(BATCH_MAX);
        let received = self.link.receive(&mut rx, BATCH_MAX).expect("it stays");
        self.engine.handle_frames(now, &mut self.link, &mut rx, &mut self.tx);
        self.engine.handle_timers(now, &mut self.link, &mut self.tx);
        let next = driver.poll(now, &mut self.engine, &mut self.link, &mut self.tx);
        let moved = received > 0 || !self.tx.is_empty();
        self.link.transmit(&mut self.tx).expect("it stays");
        self.link.flush().expect("it stays");
        (next, moved)
    }

    /// A round of a process that is gone, or stopped: nothing is taken from the link but to be lost.
    pub(crate) fn lose(&mut self) {
        let mut rx = Vec::with_capacity(BATCH_MAX);
        self.link.receive(&mut rx, BATCH_MAX).expect("it stays");
        rx.into_iter().for_each(|frame| crate::frame::FramePool::give(&mut self.link, frame));
    }
}

/// What a server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Serves,
    /// Its host is gone: nothing is answered.
    Gone,
    /// Its program is: its host resets.
    Refuses,
    /// It serves, and leaves unanswered what comes on connections that it does not know.
    Forgets,
    /// Its program hangs: TCP acknowledges, and nobody answers.
    Hangs,
    /// It closes whatever it accepts.
    Closes,
}

/// A server's service: the built-in ones, or none of them.
pub(crate) struct Moody(pub(crate) Builtins, pub(crate) Mode);

impl Service for Moody {
    fn on_open(&mut self, conn: &mut Context<'_>) {
        if self.1 == Mode::Closes {
            conn.close();
        }
        self.0.on_open(conn);
    }

    fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
        if self.1 == Mode::Hangs { bytes.len() } else { self.0.on_data(conn, bytes) }
    }
}
