//! Broadcasts: one payload for many connections, which are looked at one after the other.

use super::delivery::{Outcome, Pusher};
use super::payload::{Payload, Payloads};
use crate::wire::addr::Endpoint;
use std::collections::VecDeque;

/// Who a broadcast is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Every connection.
    All,
    /// The connections of the service with this tag.
    Tag(u8),
    /// The connections that the listener at this endpoint accepted, or were opened from it.
    Local(Endpoint),
    /// Those connections of the service with this tag that it names itself:
    /// [`crate::service::Service::is_subscribed`].
    Topic {
        /// The service's tag.
        tag: u8,
        /// What the service knows the topic by.
        topic: u64,
    },
}

/// How far a broadcast is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Places for connections that there are to look at; 0 before it begins.
    pub places: u32,
    /// Places looked at.
    pub looked_at: u32,
    /// Connections whose [`Outcome`] is `Sent`.
    pub sent: u32,
    /// Connections whose outcome is `Queued`.
    pub queued: u32,
    /// Connections whose outcome is `Full`.
    pub full: u32,
    /// Connections whose outcome is `Gone`: they ended while it waited for them.
    pub gone: u32,
    /// Whether that was all.
    pub is_done: bool,
    /// Whether there was no room for the broadcast: then nothing was sent, and that is all.
    pub is_refused: bool,
}

impl Progress {
    /// Counts a connection.
    pub fn count(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Sent => &mut self.sent,
            Outcome::Queued => &mut self.queued,
            Outcome::Full => &mut self.full,
            Outcome::Gone => &mut self.gone,
        } += 1;
    }

    /// How many connections it has been for so far; none when it is done says that nobody was in its
    /// audience.
    pub fn connections(&self) -> u32 {
        self.sent + self.queued + self.full + self.gone
    }

    /// Adds what another engine did of the same broadcast.
    pub fn add(&mut self, other: &Progress) {
        self.places += other.places;
        self.looked_at += other.looked_at;
        self.sent += other.sent;
        self.queued += other.queued;
        self.full += other.full;
        self.gone += other.gone;
        self.is_done &= other.is_done;
        self.is_refused |= other.is_refused;
    }
}

/// Called whenever a broadcast has got on, the last time when it is done.
pub type Report = Box<dyn FnMut(&Progress) + Send>;

/// Who is told how far a broadcast is.
pub enum Follower {
    /// Nobody.
    Nobody,
    /// Who asked for it.
    Asker(Report),
    /// The service that asked for it.
    Service(Pusher),
}

impl From<Option<Report>> for Follower {
    fn from(report: Option<Report>) -> Follower {
        report.map_or(Follower::Nobody, Follower::Asker)
    }
}

/// What a service is to be told of a broadcast.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// The service, and what it calls it.
    pub pusher: Pusher,
    /// How far it is.
    pub progress: Progress,
}

/// A broadcast.
pub struct Broadcast {
    /// What it says; referred to until the last place was looked at.
    pub payload: Payload,
    /// To whom.
    pub audience: Audience,
    /// How far it is.
    pub progress: Progress,
    /// Deliveries of it that wait.
    pub waiting: u32,
    follower: Follower,
}

/// A fixed number of broadcasts. One is under way, the others wait for it.
pub struct Broadcasts {
    entries: Box<[Option<Broadcast>]>,
    /// Those that have not looked at every place, in order.
    running: VecDeque<u8>,
}

impl Broadcasts {
    /// Room for `count` broadcasts.
    pub fn new(count: u8) -> Broadcasts {
        Broadcasts {
            entries: (0..count).map(|_| None).collect(),
            running: VecDeque::with_capacity(usize::from(count)),
        }
    }

    /// Whether there is no room for another one.
    pub fn is_full(&self) -> bool {
        self.entries.iter().all(Option::is_some)
    }

    /// Adds a broadcast of `payload`, which is referred to for it, behind the others; there must be room.
    pub fn add(&mut self, audience: Audience, payload: Payload, follower: Follower) {
        let number = self.entries.iter().position(Option::is_none).expect("there is room");
        let progress = Progress::default();
        self.entries[number] =
            Some(Broadcast { payload, audience, progress, waiting: 0, follower });
        self.running.push_back(u8::try_from(number).expect("there are at most 255"));
    }

    /// The broadcast that is under way, and its number.
    pub fn running(&mut self) -> Option<(u8, &mut Broadcast)> {
        let number = *self.running.front()?;
        Some((number, self.entries[usize::from(number)].as_mut()?))
    }

    /// The broadcast under way has looked at every place: the next one may begin.
    pub fn end_running(&mut self, payloads: &mut Payloads) -> Option<Told> {
        let number = self.running.pop_front()?;
        if let Some(broadcast) = &self.entries[usize::from(number)] {
            payloads.release(broadcast.payload);
        }
        self.report(number)
    }

    /// A delivery of broadcast `number` waits.
    pub fn wait(&mut self, number: u8) {
        if let Some(broadcast) = &mut self.entries[usize::from(number)] {
            broadcast.waiting += 1;
        }
    }

    /// A delivery of broadcast `number` waited, and this became of it.
    pub fn settle(&mut self, number: u8, outcome: Outcome) -> Option<Told> {
        if let Some(broadcast) = &mut self.entries[usize::from(number)] {
            broadcast.progress.count(outcome);
            broadcast.waiting -= 1;
        }
        self.report(number)
    }

    /// Tells who asked for broadcast `number` how far it is; if that is a service, it is for the caller to
    /// tell. It is forgotten when it is done.
    pub fn report(&mut self, number: u8) -> Option<Told> {
        let is_running = self.running.contains(&number);
        let entry = &mut self.entries[usize::from(number)];
        let broadcast = entry.as_mut()?;
        broadcast.progress.is_done = !is_running && broadcast.waiting == 0;
        let progress = broadcast.progress;
        let told = match &mut broadcast.follower {
            Follower::Nobody => None,
            Follower::Asker(report) => {
                report(&progress);
                None
            }
            Follower::Service(pusher) => Some(Told { pusher: *pusher, progress }),
        };
        if progress.is_done {
            *entry = None;
        }
        told
    }

    /// Whether no broadcast is under way.
    pub fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    /// The payloads of those that run, for tests.
    #[cfg(test)]
    pub(crate) fn payloads(&self) -> impl Iterator<Item = Payload> + '_ {
        let running = self.running.iter();
        running.filter_map(|&number| Some(self.entries[usize::from(number)].as_ref()?.payload))
    }
}
