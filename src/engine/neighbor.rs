//! Where the neighbours are whom the engine has to speak to first, or whom it doubts
//! (RFC 826, RFC 4861 section 7).
//!
//! Answers to received frames go back to where those came from. Who is asked for is the next hop of a
//! connection that this engine opens, and that of one whose peer has fallen silent: see `paths`.

use super::counters::Counters;
use super::output::Output;
use super::quota::Quota;
use crate::frame::FramePool;
use crate::time::{Duration, Instant, Tick};
use crate::wire::addr::{Address, Secret};
use crate::wire::ethernet::{self, Mac};
use crate::wire::neighbor;

/// How many neighbours are asked for or known at once.
const NEIGHBORS_MAX: usize = 256;

/// How many questions are asked a second, at most: each goes to every host of the link, and a flood of
/// forged addresses, or an outage of many peers, asks for many.
const QUESTIONS_PER_SECOND: u32 = 256;

/// How long to wait before asking again (RFC 4861 section 10, RETRANS_TIMER).
const RETRY: Duration = Duration::from_secs(1);

/// After how many questions without an answer a neighbour is where it was no more (RFC 4861
/// section 10, MAX_UNICAST_SOLICIT).
const UNANSWERED_MAX: u8 = 3;

struct Neighbor {
    addr: Address,
    mac: Option<Mac>,
    /// When it was last asked for.
    asked: Instant,
    /// How often, since it was last heard.
    unanswered: u8,
    /// When it last said where it is.
    heard: Instant,
}

/// The neighbours asked for. Only those are learned, so nobody can fill the table from outside.
pub(super) struct Neighbors {
    entries: Vec<Neighbor>,
    own_mac: Mac,
    quota: Quota,
}

impl Neighbors {
    pub(super) fn new(own_mac: Mac, secret: Secret) -> Neighbors {
        let quota = Quota::new(QUESTIONS_PER_SECOND, secret, 3);
        Neighbors { entries: Vec::with_capacity(NEIGHBORS_MAX), own_mac, quota }
    }

    /// The hardware address of `addr`, or `None` after asking for it from `local`, at most once a
    /// second.
    pub(super) fn resolve<P: FramePool>(
        &mut self,
        addr: Address,
        local: Address,
        now: Instant,
        output: &mut Output<'_, P>,
        counters: &mut Counters,
    ) -> Option<Mac> {
        let known = self.find(&addr).and_then(|at| self.entries[at].mac);
        if known.is_none() {
            self.ask(addr, local, now, output, counters);
        }
        known
    }

    /// Asks where `addr` is, from `local`, at most once a second. One that is known, and does not
    /// answer, is forgotten.
    pub(super) fn ask<P: FramePool>(
        &mut self,
        addr: Address,
        local: Address,
        now: Instant,
        output: &mut Output<'_, P>,
        counters: &mut Counters,
    ) {
        let known = self.find(&addr);
        if known.is_some_and(|at| now.since(self.entries[at].asked) < RETRY) {
            return;
        }
        if !self.quota.take(now) {
            counters.questions_limited += 1;
            return;
        }
        let mac = self.own_mac;
        if !output.frame(counters, |room| neighbor::ask(room, mac, local, addr)) {
            return;
        }
        match known {
            Some(at) => {
                let neighbor = &mut self.entries[at];
                if neighbor.unanswered >= UNANSWERED_MAX {
                    neighbor.mac = None;
                }
                neighbor.asked = now;
                neighbor.unanswered = neighbor.unanswered.saturating_add(1);
            }
            None => {
                if self.entries.len() == NEIGHBORS_MAX {
                    self.entries.swap_remove(self.least_useful());
                }
                let fresh = Neighbor { addr, mac: None, asked: now, unanswered: 1, heard: now };
                self.entries.push(fresh);
            }
        }
    }

    /// The entry to give up when all are in use: of those that never answered, or else of all, the
    /// one asked for longest ago.
    fn least_useful(&self) -> usize {
        let order = |&at: &usize| (self.entries[at].mac.is_some(), self.entries[at].asked);
        (0..self.entries.len()).min_by_key(order).unwrap_or(0)
    }

    /// Learns that `addr` is at `mac`, if it was ever asked for. What does not override only fills a
    /// gap (RFC 4861 section 7.2.5).
    pub(super) fn learn(&mut self, addr: Address, mac: Mac, overrides: bool, now: Instant) {
        if ethernet::is_group(&mac) {
            return;
        }
        let Some(at) = self.find(&addr) else { return };
        let neighbor = &mut self.entries[at];
        if overrides || neighbor.mac.is_none_or(|known| known == mac) {
            (neighbor.mac, neighbor.unanswered, neighbor.heard) = (Some(mac), 0, now);
        }
    }

    /// The hardware address of `addr`, if it said so at `since` or later.
    pub(super) fn heard_since(&self, addr: &Address, since: Tick) -> Option<Mac> {
        let neighbor = &self.entries[self.find(addr)?];
        neighbor.mac.filter(|_| Tick::of(neighbor.heard).reached(since))
    }

    fn find(&self, addr: &Address) -> Option<usize> {
        self.entries.iter().position(|neighbor| neighbor.addr == *addr)
    }
}
