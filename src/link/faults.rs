//! Faults: a link that loses, doubles, reorders and damages frames on purpose.
//!
//! What happens to a frame follows from a seed alone, so that a run over a deterministic network can
//! be repeated. Frames are conserved: a lost one goes back to the pool, a double takes one from it,
//! and those that are held back are counted as on their way ([`Census`]).

use super::{Census, Link, LinkError, LinkStats, Waker};
use crate::frame::{Frame, FramePool};
use crate::time::Duration;
use core::str::FromStr;

/// The length of an Ethernet header without tags, in bytes. It is not damaged: on a real wire the
/// FCS guards it, which ends where the host begins.
const ETHERNET_LEN: usize = 14;

/// Where in a frame the EtherType is, and that of ARP, which has no checksum of its own.
const ETHERTYPE: core::ops::Range<usize> = 12..ETHERNET_LEN;
const ARP: [u8; 2] = [0x08, 0x06];

/// How many frames overtake one that is held back, at most.
const OVERTAKING_MAX: u64 = 8;

/// How many frames of one direction are held back at once; past that, frames keep their order.
const HELD_MAX: usize = 64;

/// How long a link is idle before it delivers what it held back.
const IDLE: Duration = Duration::from_millis(5);

/// A probability, in parts per million.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chance(u32);

/// A text that is no [`Chance`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a percentage from 0% to 100%, such as 0.5%")]
pub struct BadChance(String);

impl Chance {
    /// Certainty.
    const MAX: u32 = 1_000_000;

    /// That many in a hundred; what is past 100 is certain.
    pub const fn percent(percent: u32) -> Chance {
        let millionths = percent.saturating_mul(Chance::MAX / 100);
        Chance(if millionths > Chance::MAX { Chance::MAX } else { millionths })
    }
}

impl FromStr for Chance {
    type Err = BadChance;

    fn from_str(text: &str) -> Result<Chance, BadChance> {
        let percent = text.strip_suffix('%').and_then(|number| number.parse::<f64>().ok());
        match percent {
            Some(percent) if (0.0..=100.0).contains(&percent) => {
                #[expect(clippy::cast_possible_truncation, reason = "at most a million")]
                #[expect(clippy::cast_sign_loss, reason = "at least 0")]
                let millionths = (percent * f64::from(Chance::MAX / 100)).round() as u32;
                Ok(Chance(millionths))
            }
            _ => Err(BadChance(text.to_owned())),
        }
    }
}

/// How bad one direction of a link is; not at all unless set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// How often a frame is lost.
    pub loss: Chance,
    /// How often a frame comes twice.
    pub duplicate: Chance,
    /// How often a frame is held back until up to 8 others have overtaken it.
    pub reorder: Chance,
    /// How often a bit of a frame is flipped, behind the Ethernet header.
    pub corrupt: Chance,
}

/// What happens to one frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// It is lost, and nothing else happens to it.
    pub lost: bool,
    /// It comes twice, the second time unharmed and in its place.
    pub duplicated: bool,
    /// How many frames overtake it.
    pub overtaken_by: u64,
    /// A number that says which bit is flipped; see [`flip_bit`].
    pub corrupted: Option<u64>,
}

impl Faults {
    /// Whether there are none.
    pub fn is_none(&self) -> bool {
        *self == Faults::default()
    }

    /// Decides about the next frame.
    pub fn fate(&self, random: &mut Random) -> Fate {
        Fate {
            lost: random.happens(self.loss),
            duplicated: random.happens(self.duplicate),
            overtaken_by: match random.happens(self.reorder) {
                true => 1 + random.below(OVERTAKING_MAX),
                false => 0,
            },
            corrupted: random.happens(self.corrupt).then(|| random.word()),
        }
    }
}

/// Flips one bit of `frame`, which one `choice` says. A checksum finds that, or the field does not
/// matter; of ARP, and of Ethernet's own header, nothing is flipped.
pub fn flip_bit(frame: &mut [u8], choice: u64) {
    if frame.len() <= ETHERNET_LEN || frame[ETHERTYPE] == ARP {
        return;
    }
    let bits = 8 * (frame.len() as u64 - ETHERNET_LEN as u64);
    let bit = usize::try_from(choice % bits).expect("a place in a frame");
    frame[ETHERNET_LEN + bit / 8] ^= 1 << (bit % 8);
}

/// Numbers that look random and follow from a seed (splitmix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The numbers of `seed`.
    pub const fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next number.
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.word() % end
    }

    /// Whether something with this probability happens now.
    pub fn happens(&mut self, chance: Chance) -> bool {
        self.below(u64::from(Chance::MAX)) < u64::from(chance.0)
    }
}

/// One direction of a [`Faulty`] link.
#[derive(Debug)]
struct Lane {
    faults: Faults,
    random: Random,
    /// Frames held back, with how many are still to overtake each.
    held: Vec<(u64, Frame)>,
    /// Frames to go on, in this order.
    ready: Vec<Frame>,
}

impl Lane {
    fn new(faults: Faults, seed: u64) -> Lane {
        let held = Vec::with_capacity(HELD_MAX);
        Lane { faults, random: Random::new(seed), held, ready: Vec::new() }
    }

    /// Lets what is to happen to `frames` happen; what is left of them becomes ready.
    fn pass(&mut self, pool: &mut impl FramePool, frames: impl Iterator<Item = Frame>) {
        for mut frame in frames {
            let fate = self.faults.fate(&mut self.random);
            if fate.lost {
                pool.give(frame);
                continue;
            }
            let double = fate.duplicated.then(|| copy(pool, &frame)).flatten();
            if let Some(choice) = fate.corrupted {
                let len = frame.len();
                flip_bit(&mut pool.room(&mut frame)[..len], choice);
            }
            if fate.overtaken_by > 0 && self.held.len() < HELD_MAX {
                self.held.push((fate.overtaken_by, frame));
            } else {
                self.go_on(frame);
            }
            double.into_iter().for_each(|frame| self.go_on(frame));
        }
    }

    /// Makes `frame` ready, and after it those that it was the last to overtake.
    fn go_on(&mut self, frame: Frame) {
        self.ready.push(frame);
        self.held.iter_mut().for_each(|(left, _)| *left -= 1);
        self.ready.extend(self.held.extract_if(.., |(left, _)| *left == 0).map(|(_, frame)| frame));
    }

    /// Makes everything ready that is held back.
    fn release(&mut self) {
        self.ready.extend(self.held.drain(..).map(|(_, frame)| frame));
    }

    fn len(&self) -> usize {
        self.held.len() + self.ready.len()
    }
}

/// A copy of `frame`, if there is a frame for it.
fn copy(pool: &mut impl FramePool, frame: &Frame) -> Option<Frame> {
    let bytes = pool.bytes(frame).to_vec();
    let mut double = pool.take()?;
    let Some(room) = pool.room(&mut double).get_mut(..bytes.len()) else {
        pool.give(double);
        return None;
    };
    room.copy_from_slice(&bytes);
    double.set_len(bytes.len());
    Some(double)
}

/// A link with [`Faults`] in each direction. Without any it only passes on.
#[derive(Debug)]
pub struct Faulty<L> {
    link: L,
    /// Received frames, and frames to transmit.
    lanes: Option<[Lane; 2]>,
    /// Whether the link was waited for since frames were last received.
    waited: bool,
}

impl<L> Faulty<L> {
    /// A `link` with these faults in what it receives and in what it transmits.
    pub fn new(link: L, receive: Faults, transmit: Faults, seed: u64) -> Faulty<L> {
        let any = !(receive.is_none() && transmit.is_none());
        let mut random = Random::new(seed);
        let lanes = any.then(|| [receive, transmit].map(|faults| Lane::new(faults, random.word())));
        Faulty { link, lanes, waited: false }
    }
}

impl<L: FramePool> FramePool for Faulty<L> {
    fn take(&mut self) -> Option<Frame> {
        self.link.take()
    }

    fn give(&mut self, frame: Frame) {
        self.link.give(frame);
    }

    fn bytes(&self, frame: &Frame) -> &[u8] {
        self.link.bytes(frame)
    }

    fn room(&mut self, frame: &mut Frame) -> &mut [u8] {
        self.link.room(frame)
    }
}

impl<L: Link> Link for Faulty<L> {
    fn receive(&mut self, batch: &mut Vec<Frame>, max: usize) -> Result<usize, LinkError> {
        let Some([rx, tx]) = &mut self.lanes else { return self.link.receive(batch, max) };
        if rx.ready.len() < max {
            let mut received = Vec::with_capacity(max);
            self.link.receive(&mut received, max - rx.ready.len())?;
            if received.is_empty() && self.waited {
                rx.release();
                tx.release();
            }
            self.waited = false;
            rx.pass(&mut self.link, received.into_iter());
        }
        let count = max.min(rx.ready.len());
        batch.extend(rx.ready.drain(..count));
        Ok(count)
    }

    fn transmit(&mut self, batch: &mut Vec<Frame>) -> Result<(), LinkError> {
        let Some([_, tx]) = &mut self.lanes else { return self.link.transmit(batch) };
        self.link.transmit(&mut tx.ready)?;
        if tx.ready.is_empty() {
            tx.pass(&mut self.link, batch.drain(..));
            self.link.transmit(&mut tx.ready)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), LinkError> {
        self.link.flush()
    }

    fn wait(&mut self, timeout: Duration) -> Result<(), LinkError> {
        let pending = |lane: &Lane| lane.len() > 0;
        match &self.lanes {
            Some(lanes) if lanes.iter().any(pending) => {
                self.waited = true;
                self.link.wait(timeout.min(IDLE))
            }
            _ => self.link.wait(timeout),
        }
    }

    fn waker(&self) -> Waker {
        self.link.waker()
    }

    fn stats(&self) -> LinkStats {
        self.link.stats()
    }

    fn census(&self) -> Census {
        let mut census = self.link.census();
        if let Some([rx, tx]) = &self.lanes {
            // The link below handed these out; nobody above has them.
            census.engine -= rx.len() + tx.len();
            census.rx += rx.len();
            census.tx += tx.len();
        }
        census
    }
}

#[cfg(test)]
#[path = "faults_tests.rs"]
mod tests;
