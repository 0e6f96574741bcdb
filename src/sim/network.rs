//! The wire between the hosts: what arrives where, and when, and what never does.

use crate::link::faults::{Faults, Random, flip_bit};
use crate::time::{Duration, Instant};
use crate::wire::ethernet::{Mac, is_group};
use crate::wire::packet::{Packet, parse};
use std::collections::{BTreeMap, BTreeSet};

/// How much a frame is late for each frame that was to overtake it.
const HELD: Duration = Duration::from_millis(2);

/// Frames under way.
pub(super) struct Network {
    random: Random,
    faults: Faults,
    /// How much later than the fastest a frame may arrive.
    jitter: Duration,
    /// By when they arrive, and then in the order in which they were sent.
    under_way: BTreeMap<(Instant, u64), Vec<u8>>,
    count: u64,
    /// TCP ports of hosts that have vanished from the network.
    gone: BTreeSet<u16>,
}

impl Network {
    pub(super) fn new(random: Random, faults: Faults, jitter: Duration) -> Network {
        let (under_way, gone) = (BTreeMap::new(), BTreeSet::new());
        Network { random, faults, jitter, under_way, count: 0, gone }
    }

    /// From now on nothing happens to frames but that they take a millisecond.
    pub(super) fn heal(&mut self) {
        self.faults = Faults::default();
        self.jitter = Duration::ZERO;
    }

    /// From now on no segment from or to `port` arrives.
    pub(super) fn vanish(&mut self, port: u16) {
        self.gone.insert(port);
    }

    /// Takes frames that were sent at `now`.
    pub(super) fn carry(&mut self, now: Instant, frames: Vec<Vec<u8>>) {
        for mut frame in frames {
            let fate = self.faults.fate(&mut self.random);
            if fate.lost || self.is_gone(&frame) {
                continue;
            }
            if fate.duplicated {
                self.launch(now, frame.clone());
            }
            if let Some(choice) = fate.corrupted {
                flip_bit(&mut frame, choice);
            }
            let held = HELD * u32::try_from(fate.overtaken_by).expect("a few");
            self.launch(now + held, frame);
        }
    }

    fn launch(&mut self, now: Instant, frame: Vec<u8>) {
        let jitter = u64::try_from(self.jitter.as_nanos()).expect("seconds");
        let late = Duration::from_nanos(self.random.below(jitter + 1));
        self.count += 1;
        self.under_way.insert((now + Duration::from_millis(1) + late, self.count), frame);
    }

    fn is_gone(&self, frame: &[u8]) -> bool {
        let Some(target) = frame.first_chunk::<6>() else { return true };
        match parse(frame, *target) {
            Ok(Packet::Tcp(segment)) => [segment.flow.local.port, segment.flow.remote.port]
                .iter()
                .any(|port| self.gone.contains(port)),
            _ => false,
        }
    }

    /// When the next frame arrives.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.under_way.keys().next().map(|(at, _)| *at)
    }

    /// What has arrived by `now`, in order.
    pub(super) fn arrivals(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let later = self.under_way.split_off(&(now, u64::MAX));
        std::mem::replace(&mut self.under_way, later).into_values().collect()
    }
}

/// The frames that a host with address `mac` sees.
pub(super) fn seen_by(mac: Mac, frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let is_seen = |frame: &&Vec<u8>| match (frame.first_chunk::<6>(), frame.get(6..12)) {
        (Some(target), Some(source)) => source != mac && (*target == mac || is_group(target)),
        _ => false,
    };
    frames.iter().filter(is_seen).cloned().collect()
}

/// A frame in a line, for somebody who follows a run.
pub(super) fn describe(frame: &[u8]) -> String {
    let Some(target) = frame.first_chunk::<6>() else { return "truncated".to_owned() };
    match parse(frame, *target) {
        Ok(Packet::Tcp(segment)) => {
            let (flow, flags) = (segment.flow, segment.flags);
            let flags = [(flags.syn, 'S'), (flags.fin, 'F'), (flags.rst, 'R'), (flags.ack, '.')];
            let flags = flags.iter().filter(|(is_set, _)| *is_set).map(|(_, letter)| letter);
            format!(
                "{:?} > {:?} {} seq {} +{} ack {} win {}",
                flow.remote,
                flow.local,
                flags.collect::<String>(),
                segment.seq.0,
                segment.payload_len(),
                segment.ack.0,
                segment.window,
            )
        }
        other => format!("{other:?}"),
    }
}
