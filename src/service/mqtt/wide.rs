//! Wide messages, which go to more than [`Policy::at_once_max`](super::policy::Policy::at_once_max): a piece
//! at a time, so that nobody else waits for that, and only as fast as they leave, so that little is kept.
//!
//! A cursor goes over all sessions for each of them, one message after the other. Whoever has more to hear
//! meanwhile, or changes what it has subscribed to, is caught up with first: so the order is for everybody
//! that in which messages were published, and everybody gets what was published while it was subscribed.

use super::Mqtt;
use super::message::Message;
use super::outgoing::Target;
use crate::service::Turn;
use crate::service::unasked::Published;
use std::collections::VecDeque;
use std::sync::Arc;

/// Sessions and subscriptions looked at in one turn.
const LOOKS_MAX: usize = 2_048;

/// Subscriptions of one piece, at most, but for those of the last session in it.
const PIECE: usize = 256;

/// A message, and how far it is.
struct Wide {
    message: Arc<Message>,
    /// The session that is next.
    next: u32,
}

/// Wide messages in the order in which they were published. They are numbered; a session knows the last one
/// that it was reached by.
#[derive(Default)]
pub(super) struct WideMessages {
    line: VecDeque<Wide>,
    /// The number of the last one, modulo 2^32.
    newest: u32,
    /// Kept so that its memory is: the filters that match.
    filters: Vec<u32>,
}

impl WideMessages {
    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.line.len()
    }

    /// The number of the newest: what a new session is not to get any more.
    pub(super) fn newest(&self) -> u32 {
        self.newest
    }

    /// The number of the one at `at` in the line.
    fn number(&self, at: usize) -> u32 {
        let behind = u32::try_from(self.line.len() - 1 - at).unwrap_or(0);
        self.newest.wrapping_sub(behind)
    }
}

impl Mqtt {
    /// Has `message` go to its many subscriptions, `count` of them; there must be room.
    pub(super) fn spread(&mut self, message: &Arc<Message>, count: u32) -> Published {
        self.wide.newest = self.wide.newest.wrapping_add(1);
        self.wide.line.push_back(Wide { message: Arc::clone(message), next: 0 });
        Published { queued: count, full: 0 }
    }

    /// Gets on with the wide messages, as long as those that are called have a place.
    pub(super) fn go_on_with_wide(&mut self, turn: &mut Turn<'_>) {
        let mut looks = LOOKS_MAX;
        while looks > 0 && self.calls.is_empty() && !self.wide.is_empty() {
            self.spread_piece(&mut looks);
            self.call(None, |to| turn.invite(to));
        }
    }

    fn spread_piece(&mut self, looks: &mut usize) {
        let number = self.wide.number(0);
        let Some(Wide { message, next }) = self.wide.line.front() else { return };
        let (message, mut next) = (Arc::clone(message), *next);
        let mut filters = core::mem::take(&mut self.wide.filters);
        self.subscriptions.filters_of(message.topic(), &mut filters);
        self.targets.clear();
        while next < self.sessions.places() && *looks > 0 && self.targets.len() < PIECE {
            *looks -= 1;
            if self.sessions.get(next).is_some_and(|session| is_before(session.reached, number)) {
                let looked_at = self.reach(next, number, &message, &filters);
                *looks = looks.saturating_sub(looked_at);
            }
            next += 1;
        }
        self.wide.filters = filters;
        match &mut self.wide.line.front_mut() {
            Some(wide) if next < self.sessions.places() => wide.next = next,
            _ => drop(self.wide.line.pop_front()),
        }
        self.deliver(&message);
    }

    /// Session `at` gets the wide messages that it was not reached by yet, before something else.
    pub(super) fn catch_up_with(&mut self, at: u32) {
        let mut filters = core::mem::take(&mut self.wide.filters);
        for place in 0..self.wide.line.len() {
            let number = self.wide.number(place);
            if is_before(self.sessions[at].reached, number) {
                let message = Arc::clone(&self.wide.line[place].message);
                self.subscriptions.filters_of(message.topic(), &mut filters);
                self.targets.clear();
                self.reach(at, number, &message, &filters);
                self.deliver(&message);
            }
        }
        self.wide.filters = filters;
    }

    /// The wide message with this number reaches session `at`: adds its subscriptions to one of `filters`,
    /// which are sorted, to the targets. Returns how many subscriptions it looked at.
    fn reach(&mut self, at: u32, number: u32, message: &Message, filters: &[u32]) -> usize {
        let Mqtt { sessions, subscriptions, targets, .. } = self;
        sessions[at].reached = number;
        let mut looked_at = 0;
        for (filter, subscription) in subscriptions.of(sessions[at].subscriptions) {
            looked_at += 1;
            if filters.binary_search(&filter).is_ok()
                && !(subscription.no_local
                    && sessions.hash(&sessions[at].client_id) == message.publisher)
            {
                targets.push(Target::of(subscription));
            }
        }
        looked_at
    }
}

/// Whether `number` was given out before `other`: they lie close together.
fn is_before(number: u32, other: u32) -> bool {
    number.wrapping_sub(other) > u32::MAX / 2
}
