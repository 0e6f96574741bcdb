//! The client role of `demo` and `load`: an engine that carries out a plan, and is watched meanwhile.

use super::bar::Bar;
use super::faults::FaultsArg;
use super::memory;
use super::process::{cpu_time, resident_bytes};
use crate::client::{self, seats::Seats};
use crate::engine::Engine;
use crate::engine::config::Config;
use crate::engine::locals::Owned;
use crate::link::Link;
use crate::link::tap::{Capture, Tapped};
use crate::load::driver::LoadDriver;
use crate::load::heartbeat::Heartbeat;
use crate::load::plan::{Outcome, Plan};
use crate::load::progress::{Phase, Progress};
use crate::shard::clock::Clock;
use crate::shard::{Shard, Shared, Snapshot, secrets};
use crate::tcp::keepalive::Profile;
use crate::time::Duration;
use crate::wire::addr::Address;
use crate::wire::ethernet::Mac;
use anyhow::{anyhow, bail};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};

/// How often the progress is looked at.
const TICK: Duration = Duration::from_millis(50);

/// What the clients do, and with what.
pub(super) struct Clients {
    pub(super) plan: Plan,
    /// The addresses that they have.
    pub(super) owned: Vec<Owned>,
    pub(super) gateways: Vec<Address>,
    pub(super) profile: Profile,
    pub(super) faults: FaultsArg,
    pub(super) capture: Option<Capture>,
    pub(super) clock: Clock,
    /// What the driver says, and is told.
    pub(super) progress: Arc<Progress>,
    /// Stops the clients where they are.
    pub(super) shared: Shared,
}

/// What is done on Ctrl-C.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interrupt {
    /// Connections are closed in order, and the run has a summary.
    Close,
    /// The run is abandoned: the server goes away with it.
    Abandon,
}

/// What the clients' thread ends with.
pub(super) struct Finished {
    pub(super) outcome: Outcome,
    pub(super) heartbeat: Heartbeat,
    pub(super) snapshot: Snapshot,
    /// This process's resident memory before the first connection, in bytes, and once all were
    /// established.
    pub(super) memory: (u64, Option<u64>),
    /// The CPU time of this process.
    pub(super) cpu: Duration,
    /// Whether the run was cut short by Ctrl-C.
    pub(super) interrupted: bool,
}

impl Clients {
    /// Checks that there is memory for `engines` engines like this one.
    ///
    /// # Errors
    ///
    /// One line with what is needed, and what is free.
    pub(super) fn check_memory(&self, engines: u32) -> anyhow::Result<()> {
        let config = self.config(Mac::default(), u32::MAX)?;
        let seats = self.plan.reconnect.map_or(Ok(0), |_| {
            u32::try_from(self.plan.connections)
                .map(|count| Seats::bytes(count, config.connections_max))
        })?;
        memory::check(&config, engines, seats, "ask for fewer connections")
    }

    fn config(&self, mac: Mac, mtu: u32) -> anyhow::Result<Config> {
        let mut config = Config::new(mac, secrets::draw()?, secrets::draw()?);
        config.mtu = u16::try_from(mtu.min(u32::from(config.mtu)))?;
        config.connections_max = u32::try_from(self.plan.slots)?;
        config.flights_max = Config::flights_for(config.connections_max);
        config.owned = self.owned.clone();
        config.gateways = self.gateways.clone();
        config.profile = self.profile;
        Ok(config)
    }

    /// Where connections are opened again, the seats for them.
    fn seats(&self) -> anyhow::Result<Option<Seats>> {
        let Some(reconnect) = self.plan.reconnect else { return Ok(None) };
        let (count, slots) =
            (u32::try_from(self.plan.connections)?, u32::try_from(self.plan.slots)?);
        let jitter = client::draw_jitter()?;
        Ok(Some(Seats::new(count, slots, reconnect.backoff, client::PATIENCE, jitter)?))
    }

    /// Runs the plan over `link`, on this thread.
    pub(super) fn run(&self, link: impl Link, mac: Mac, mtu: u32) -> anyhow::Result<Finished> {
        let config = self.config(mac, mtu)?;
        let subscription = self.plan.subscription.clone();
        let heartbeat = Heartbeat { seats: self.seats()?, subscription, ..Heartbeat::default() };
        let engine = Engine::try_new(config, heartbeat, self.clock.now())?;
        let driver = LoadDriver::new(self.plan.clone(), self.progress.clone());
        let link = Tapped::new(self.faults.on(link, 0), self.capture.clone());
        let mut shard = Shard { link, engine, driver };
        let empty = resident_bytes("self")?;
        shard.run(&self.clock, &self.shared)?;
        Ok(Finished {
            outcome: shard.driver.outcome(),
            heartbeat: std::mem::take(shard.engine.service_mut()),
            snapshot: self.shared.snapshot(),
            memory: (empty, None),
            cpu: Duration::ZERO,
            interrupted: false,
        })
    }

    /// Shows the progress until `running` ends. `look` is called with the phase again and again; the
    /// clients hold their connections until it was called with [`Phase::Connected`].
    pub(super) fn watch(
        &self,
        running: ScopedJoinHandle<'_, anyhow::Result<Finished>>,
        stop: &AtomicBool,
        interrupt: Interrupt,
        mut look: impl FnMut(Phase) -> anyhow::Result<()>,
    ) -> anyhow::Result<Finished> {
        let mut bar = Bar::new(self.clock.now())?;
        let mut held = None;
        let mut step = || -> anyhow::Result<()> {
            let step = self.progress.get();
            bar.show(step, self.clock.now());
            look(step.phase)?;
            if step.phase == Phase::Connected {
                held = Some(resident_bytes("self")?);
                self.progress.go_on();
            }
            Ok(())
        };
        let mut shown = Ok(());
        while !running.is_finished() {
            match interrupt {
                _ if !stop.load(Ordering::Relaxed) => {}
                Interrupt::Close => self.progress.finish(),
                Interrupt::Abandon => self.shared.stop.store(true, Ordering::Relaxed),
            }
            if shown.is_ok() {
                shown = step();
            }
            if shown.is_err() {
                // Nobody would let the clients go on.
                self.shared.stop.store(true, Ordering::Relaxed);
            }
            thread::park_timeout(TICK);
        }
        bar.clear();
        let finished = running.join().map_err(|_| anyhow!("the clients' thread panicked"))?;
        let interrupted = stop.load(Ordering::Relaxed);
        if interrupted && interrupt == Interrupt::Abandon {
            bail!("interrupted");
        }
        shown?;
        let mut finished = finished?;
        if let (0, Some(target)) = (finished.heartbeat.opened, finished.outcome.unresolved) {
            bail!("{} does not answer: nobody has its hardware address", target.addr.to_ip());
        }
        finished.memory.1 = held;
        finished.cpu = cpu_time("self")?;
        finished.interrupted = interrupted;
        Ok(finished)
    }
}
