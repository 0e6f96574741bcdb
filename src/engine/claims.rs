//! Owned addresses, and whether anybody else has one: probes, announcements, conflicts and defence
//! (RFC 5227; RFC 4862 section 5.4 for IPv6).
//!
//! Ranges are neither probed nor announced, only defended: a load generator owns thousands of
//! addresses, and the answers to questions introduce them.

use super::locals::Owned;
use crate::time::{Duration, Instant};
use crate::wire::addr::{Address, Secret};
use crate::wire::ethernet::Mac;
use crate::wire::packet::Packet;
use core::hash::{Hash as _, Hasher as _};
use siphasher::sip::SipHasher13;

/// The longest wait before the first probe, which is drawn (RFC 5227 PROBE_WAIT; RFC 4861
/// MAX_RTR_SOLICITATION_DELAY is as long).
const PROBE_WAIT: Duration = Duration::from_secs(1);
/// PROBE_NUM, for IPv4.
const PROBES_V4: u8 = 3;
/// RFC 4862 DupAddrDetectTransmits, for IPv6.
const PROBES_V6: u8 = 1;
/// PROBE_MIN; up to PROBE_MAX, as long again, is drawn.
const PROBE_MIN: Duration = Duration::from_secs(1);
/// ANNOUNCE_WAIT: from the last IPv4 probe until the address is taken into use.
const ANNOUNCE_WAIT_V4: Duration = Duration::from_secs(2);
/// RFC 4861 RETRANS_TIMER: the same for IPv6.
const ANNOUNCE_WAIT_V6: Duration = Duration::from_secs(1);
/// ANNOUNCE_NUM; RFC 4861 section 7.2.6 allows three.
const ANNOUNCEMENTS: u8 = 2;
/// ANNOUNCE_INTERVAL.
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);
/// DEFEND_INTERVAL: the least time between two defences of an address.
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);

/// What is done about owned addresses when an engine starts. They are defended in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Claiming {
    /// Nothing.
    #[default]
    Silent,
    /// They are announced, so that neighbours forget where the addresses were before.
    Announce,
    /// It is asked whether anybody has them, and nothing is served until nobody has answered for some
    /// seconds; then they are announced.
    Probe,
}

/// Somebody else has an owned address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The address.
    pub addr: Address,
    /// Where it is, too.
    pub mac: Mac,
}

/// Whether an engine has its addresses to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// That is being found out, and nothing is served yet.
    Probing,
    /// As far as is known, and they are served.
    Held,
    /// Somebody has one of them already, so nothing is served, nor will be.
    Refused(Conflict),
}

/// A message about an owned address that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    Probe(Address),
    Announce(Address),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// So many probes were sent.
    Probe(u8),
    /// So many announcements were sent.
    Announce(u8),
    Held,
}

struct Entry {
    owned: Owned,
    step: Step,
    due: Option<Instant>,
    defended: Option<Instant>,
}

/// The owned addresses and ranges, each with where it has come to.
pub(super) struct Claims {
    entries: Vec<Entry>,
    claim: Claim,
    /// The nearest of the entries'.
    due: Option<Instant>,
    draw: SipHasher13,
}

impl Claims {
    pub(super) fn new(owned: &[Owned], claiming: Claiming, secret: Secret, now: Instant) -> Claims {
        let draw = SipHasher13::new_with_key(&secret.0);
        let entries = owned.iter().map(|&owned| {
            let (step, due) = match claiming {
                _ if owned.is_range() => (Step::Held, None),
                Claiming::Silent => (Step::Held, None),
                Claiming::Announce => (Step::Announce(0), Some(now)),
                Claiming::Probe => {
                    (Step::Probe(0), Some(now + drawn(draw, &owned.addr, 0, PROBE_WAIT)))
                }
            };
            Entry { owned, step, due, defended: None }
        });
        let mut claims = Claims { entries: entries.collect(), claim: Claim::Held, due: None, draw };
        claims.look();
        claims
    }

    /// Where the addresses have come to.
    pub(super) fn claim(&self) -> Claim {
        self.claim
    }

    /// When [`Claims::next`] has something, at the latest.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether `packet` may pass: it does not ask for an answer of an address that may be another's.
    pub(super) fn admits(&self, packet: &Packet) -> bool {
        self.is_held() || matches!(packet, Packet::Control(_))
    }

    /// Whether this engine has its addresses to itself, so that every packet is looked at.
    #[inline]
    pub(super) fn is_held(&self) -> bool {
        self.claim == Claim::Held
    }

    /// Whether `addr` is being probed.
    pub(super) fn is_probing(&self, addr: &Address) -> bool {
        self.entries
            .iter()
            .any(|entry| entry.owned.addr == *addr && matches!(entry.step, Step::Probe(_)))
    }

    /// The next message that is due at `now`; it counts as sent.
    pub(super) fn next(&mut self, now: Instant) -> Option<Message> {
        if self.due.is_none_or(|due| due > now) {
            return None;
        }
        let draw = self.draw;
        let due = |entry: &&mut Entry| entry.due.is_some_and(|due| due <= now);
        let entry = self.entries.iter_mut().find(due)?;
        let message = entry.advance(draw, now);
        self.look();
        Some(message)
    }

    /// Somebody else has an owned address. Returns whether to defend it with an announcement: "the
    /// host decides to defend its address" (RFC 5227 section 2.4 (c)), but not so often that two
    /// hosts that both do would flood the link.
    pub(super) fn on_conflict(&mut self, conflict: Conflict, now: Instant) -> bool {
        let holds = |entry: &&mut Entry| entry.owned.holds(&conflict.addr);
        let Some(entry) = self.entries.iter_mut().find(holds) else { return false };
        if matches!(entry.step, Step::Probe(_)) {
            self.entries.iter_mut().for_each(|entry| entry.due = None);
            (self.claim, self.due) = (Claim::Refused(conflict), None);
            return false;
        }
        let is_due = entry.defended.is_none_or(|last| now.since(last) >= DEFEND_INTERVAL);
        if is_due {
            entry.defended = Some(now);
        }
        is_due && self.claim == Claim::Held
    }

    /// Looks at what the entries have come to.
    fn look(&mut self) {
        self.due = self.entries.iter().filter_map(|entry| entry.due).min();
        let probing = self.entries.iter().any(|entry| matches!(entry.step, Step::Probe(_)));
        self.claim = if probing { Claim::Probing } else { Claim::Held };
    }
}

impl Entry {
    /// Takes the step that is due, and says what to send for it.
    fn advance(&mut self, draw: SipHasher13, now: Instant) -> Message {
        let addr = self.owned.addr;
        let (probes, wait) = match addr.is_v4() {
            true => (PROBES_V4, ANNOUNCE_WAIT_V4),
            false => (PROBES_V6, ANNOUNCE_WAIT_V6),
        };
        let (step, after, message) = match self.step {
            Step::Probe(sent) if sent + 1 < probes => {
                let after = PROBE_MIN + drawn(draw, &addr, sent + 1, PROBE_MIN);
                (Step::Probe(sent + 1), Some(after), Message::Probe(addr))
            }
            Step::Probe(sent) if sent < probes => {
                (Step::Probe(probes), Some(wait), Message::Probe(addr))
            }
            Step::Announce(sent) if sent + 1 >= ANNOUNCEMENTS => {
                (Step::Held, None, Message::Announce(addr))
            }
            Step::Announce(sent) => {
                (Step::Announce(sent + 1), Some(ANNOUNCE_INTERVAL), Message::Announce(addr))
            }
            // All probes were sent, and nobody answered.
            Step::Probe(_) | Step::Held => {
                (Step::Announce(1), Some(ANNOUNCE_INTERVAL), Message::Announce(addr))
            }
        };
        (self.step, self.due) = (step, after.map(|after| now + after));
        message
    }
}

/// Less than `span`, drawn for the `nth` time for `addr`, so that hosts that start together do not
/// speak together.
fn drawn(mut draw: SipHasher13, addr: &Address, nth: u8, span: Duration) -> Duration {
    (addr, nth).hash(&mut draw);
    let thousandths = u32::try_from(draw.finish() % 1_000).unwrap_or(0);
    span * thousandths / 1_000
}
