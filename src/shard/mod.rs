//! One run loop for each queue: a link, an engine, and the only clock.
//!
//! Shards share nothing but the [`Shared`] values: a flag to stop, commands, and snapshots of what was
//! counted.
//!
//! - [`mailbox`]: commands from other threads
//! - [`clock`]: the only reader of the system's clock
//! - [`affinity`]: which processor a thread runs on
//! - [`host`]: an interface, with a shard for each of its queues
//! - [`secrets`]: random keys
//! - [`directory`]: files for the HTTP service

pub mod affinity;
pub mod clock;
pub mod directory;
pub mod host;
pub mod mailbox;
pub mod secrets;

use crate::engine::claims::Claim;
use crate::engine::counters::Counters;
use crate::engine::{BATCH_MAX, Engine};
use crate::frame::Frame;
use crate::link::{Link, LinkError, LinkStats};
use crate::service::Service;
use crate::time::{Duration, Instant};
use clock::Clock;
use mailbox::{Handle, Mailbox};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Frames queued for the transmit ring at most. While fewer than a batch's worth of places are free,
/// no frames are received: the wire's queue is the one that may overflow.
const TX_QUEUE: usize = 1_024;

/// The longest time for which a shard sleeps: how late it may notice that it is to stop.
const SLEEP_MAX: Duration = Duration::from_millis(50);

/// How often a snapshot is published.
const SNAPSHOT_INTERVAL: Duration = Duration::from_millis(100);

/// Work that a shard does besides answering: opening connections, sending heartbeats.
pub trait Driver<S: Service> {
    /// Does what is due at `now`, a bounded piece of it, and says when to be called again.
    fn poll<L: Link>(
        &mut self,
        now: Instant,
        engine: &mut Engine<S>,
        link: &mut L,
        tx: &mut Vec<Frame>,
    ) -> Next;
}

/// When a [`Driver`] wants to be called again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// In the next round, without waiting.
    Now,
    /// When something was received, or at this time.
    At(Instant),
    /// When something was received.
    Received,
    /// Never: the shard is to stop.
    Done,
}

/// The driver of a shard that only answers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answering;

impl<S: Service> Driver<S> for Answering {
    fn poll<L: Link>(
        &mut self,
        _: Instant,
        _: &mut Engine<S>,
        _: &mut L,
        _: &mut Vec<Frame>,
    ) -> Next {
        Next::Received
    }
}

/// What a shard shares with other threads.
#[derive(Debug, Default)]
pub struct Shared {
    /// Set by anyone: all shards stop.
    pub stop: Arc<AtomicBool>,
    snapshot: Mutex<Snapshot>,
    mailbox: Arc<Mailbox>,
}

/// What a shard has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The engine's counters.
    pub engine: Counters,
    /// The link's counters.
    pub link: LinkStats,
    /// What the service says that happened, by name; what did not happen is left out.
    pub service: BTreeMap<&'static str, u64>,
    /// How much the service keeps now, by name; what it keeps none of is left out.
    pub usage: BTreeMap<&'static str, u64>,
}

impl Snapshot {
    /// Adds what another shard has counted.
    pub fn add(&mut self, other: &Snapshot) {
        self.engine.add(&other.engine);
        self.link.add(&other.link);
        other.service.iter().for_each(|(name, count)| add(&mut self.service, name, *count));
        other.usage.iter().for_each(|(name, amount)| add(&mut self.usage, name, *amount));
    }
}

/// Adds `count` to the one with this name.
fn add(counts: &mut BTreeMap<&'static str, u64>, name: &'static str, count: u64) {
    if count > 0 {
        *counts.entry(name).or_default() += count;
    }
}

impl Shared {
    /// To be stopped by `stop`.
    pub fn new(stop: Arc<AtomicBool>) -> Shared {
        Shared { stop, ..Shared::default() }
    }

    /// What gives the shard commands, from any thread.
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.mailbox))
    }

    /// The newest snapshot, at most 100 ms old while the shard has work.
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn publish(&self, snapshot: Snapshot) {
        *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = snapshot;
    }
}

/// A link and an engine, and what drives them.
pub struct Shard<L, S, D> {
    /// Where frames come from and go to.
    pub link: L,
    /// What they mean.
    pub engine: Engine<S>,
    /// What is done besides.
    pub driver: D,
}

impl<L: Link, S: Service, D: Driver<S>> Shard<L, S, D> {
    /// Runs until `shared.stop` is set, the driver is done, or the link is gone.
    ///
    /// # Errors
    ///
    /// The link's error. The connections are forgotten, as they are when the shard is stopped.
    ///
    /// # Panics
    ///
    /// When a frame has been lost or made up: the census at the end differs from that at the start.
    pub fn run(&mut self, clock: &Clock, shared: &Shared) -> Result<(), LinkError> {
        let ended = self.run_until(clock, shared, |_| false);
        shared.mailbox.end();
        ended
    }

    /// Runs until the engine knows whether it has its addresses to itself, and says so; at once, where
    /// it was not told to find out. `Probing` when it was stopped before.
    ///
    /// # Errors
    ///
    /// The link's error.
    ///
    /// # Panics
    ///
    /// As [`Shard::run`].
    pub fn claim(&mut self, clock: &Clock, shared: &Shared) -> Result<Claim, LinkError> {
        self.run_until(clock, shared, |engine| engine.claim() != Claim::Probing)?;
        Ok(self.engine.claim())
    }

    fn run_until(
        &mut self,
        clock: &Clock,
        shared: &Shared,
        is_done: impl Fn(&Engine<S>) -> bool,
    ) -> Result<(), LinkError> {
        shared.mailbox.attach(self.link.waker());
        let frames = self.link.census().total();
        let mut rx = Vec::with_capacity(BATCH_MAX);
        let mut tx = Vec::with_capacity(TX_QUEUE);
        let ended = self.rounds(clock, shared, is_done, &mut rx, &mut tx);
        for frame in rx.drain(..).chain(tx.drain(..)) {
            self.link.give(frame);
        }
        shared.publish(self.snapshot());
        let census = self.link.census();
        assert_eq!(
            (census.total(), census.engine),
            (frames, 0),
            "frames are conserved: {census:?}"
        );
        ended
    }

    fn rounds(
        &mut self,
        clock: &Clock,
        shared: &Shared,
        is_done: impl Fn(&Engine<S>) -> bool,
        rx: &mut Vec<Frame>,
        tx: &mut Vec<Frame>,
    ) -> Result<(), LinkError> {
        let mut publish_at = Instant::ZERO;
        while !shared.stop.load(Ordering::Relaxed) && !is_done(&self.engine) {
            let now = clock.now();
            if tx.capacity() - tx.len() >= 2 * BATCH_MAX {
                self.link.receive(rx, BATCH_MAX)?;
            }
            let received = rx.len();
            self.engine.handle_frames(now, &mut self.link, rx, tx);
            shared.mailbox.carry_out(&mut self.engine, now);
            self.engine.handle_timers(now, &mut self.link, tx);
            let next = self.driver.poll(now, &mut self.engine, &mut self.link, tx);
            self.link.transmit(tx)?;
            self.link.flush()?;
            if now >= publish_at {
                shared.publish(self.snapshot());
                publish_at = now + SNAPSHOT_INTERVAL;
            }
            match next {
                Next::Done => return Ok(()),
                Next::Now => {}
                _ if received > 0 || !tx.is_empty() => {}
                Next::At(at) => self.sleep(clock, shared, Some(at))?,
                Next::Received => self.sleep(clock, shared, None)?,
            }
        }
        Ok(())
    }

    /// Waits for a frame or a command, until a timer or the driver is due.
    fn sleep(
        &mut self,
        clock: &Clock,
        shared: &Shared,
        driver: Option<Instant>,
    ) -> Result<(), LinkError> {
        let now = clock.now();
        let due = [driver, self.engine.next_timer(now)].into_iter().flatten().min();
        let timeout = due.map_or(SLEEP_MAX, |due| due.since(now).min(SLEEP_MAX));
        if timeout.is_zero() {
            return Ok(());
        }
        let Shard { link, engine, .. } = self;
        shared.mailbox.while_empty(engine, || link.wait(timeout)).unwrap_or(Ok(()))
    }

    fn snapshot(&mut self) -> Snapshot {
        let (engine, link) = (self.engine.counters(), self.link.stats());
        let (mut service, mut usage) = (BTreeMap::new(), BTreeMap::new());
        self.engine.service().events(&mut |name, count| add(&mut service, name, count));
        self.engine.service_mut().usage(&mut |name, amount| add(&mut usage, name, amount));
        Snapshot { engine, link, service, usage }
    }
}
