//! Retained messages: the last one of each topic that was published to be kept.

use super::message::Message;
use super::topic::{self, ANY_LEVEL, ANY_REST};
use super::tree::{self, NONE, ROOT, Tree};
use crate::time::{Duration, Instant};
use crate::wire::addr::Secret;
use core::ops::ControlFlow;
use std::sync::Arc;

/// How often expired messages are looked for when there is no room.
const PURGE_INTERVAL: Duration = Duration::from_secs(1);

/// What retained messages may take at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// How many there may be.
    pub(super) len_max: u32,
    /// Their bytes together, with the tree of their topics.
    pub(super) bytes_max: usize,
}

/// There is no room for another message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// The retained messages.
pub(super) struct Retained {
    /// The topics. The value of a node is the place of its message.
    topics: Tree,
    messages: Vec<Option<Arc<Message>>>,
    free: Vec<u32>,
    bytes: usize,
    limits: Limits,
    purge_after: Instant,
}

impl Retained {
    /// No messages.
    pub(super) fn new(limits: Limits, secret: Secret) -> Retained {
        Retained {
            topics: Tree::new(secret),
            messages: Vec::new(),
            free: Vec::new(),
            bytes: 0,
            limits,
            purge_after: Instant::ZERO,
        }
    }

    /// Keeps `message` in place of an earlier one of its topic (MQTT-3.3.1-5).
    ///
    /// # Errors
    ///
    /// When there is no room; the earlier one stays.
    pub(super) fn insert(&mut self, message: Arc<Message>, now: Instant) -> Result<(), Full> {
        if !self.has_room(&message) && now >= self.purge_after {
            self.purge_after = now + PURGE_INTERVAL;
            self.purge(now);
        }
        if !self.has_room(&message) {
            return Err(Full);
        }
        self.bytes += message.len();
        if let Some(at) = self.place_of(message.topic()) {
            let earlier = self.messages[at as usize].replace(message);
            self.bytes -= earlier.map_or(0, |earlier| earlier.len());
            return Ok(());
        }
        let node = self.topics.insert(message.topic());
        let at = self.free.pop().unwrap_or_else(|| {
            self.messages.push(None);
            u32::try_from(self.messages.len() - 1).expect("within the limit")
        });
        self.messages[at as usize] = Some(message);
        self.topics.set_value(node, at);
        Ok(())
    }

    /// The place of the message of `topic`, if there is one.
    fn place_of(&self, topic: &str) -> Option<u32> {
        let at = self.topics.value(self.topics.find(topic)?);
        (at != NONE).then_some(at)
    }

    /// Whether there is room for `message`, in place of an earlier one of its topic.
    fn has_room(&self, message: &Message) -> bool {
        let bytes = self.bytes + self.topics.cost() + message.len();
        match self.place_of(message.topic()) {
            Some(at) => {
                let earlier = self.messages[at as usize].as_ref();
                bytes - earlier.map_or(0, |earlier| earlier.len()) <= self.limits.bytes_max
            }
            None => {
                self.len() < self.limits.len_max as usize
                    && bytes + tree::cost_of(message.topic()) <= self.limits.bytes_max
            }
        }
    }

    /// Removes the message of `topic` (MQTT-3.3.1-6; 3.1.1: MQTT-3.3.1-10).
    pub(super) fn remove(&mut self, topic: &str) {
        let Some(node) = self.topics.find(topic) else { return };
        let at = self.topics.value(node);
        if let Some(message) = self.messages.get_mut(at as usize).and_then(Option::take) {
            self.bytes -= message.len();
            self.free.push(at);
            self.topics.set_value(node, NONE);
            self.topics.prune(node);
        }
    }

    /// Removes those that have expired.
    fn purge(&mut self, now: Instant) {
        let expired = |message: &&Arc<Message>| message.has_expired(now);
        let expired: Vec<_> = self.messages.iter().flatten().filter(expired).cloned().collect();
        expired.iter().for_each(|message| self.remove(message.topic()));
    }

    /// Calls `found` for each message whose topic `filter` matches, and which has not expired, until
    /// it returns `false`. Looks at no more than `looks` levels of topics, and takes off as many as it
    /// looked at.
    pub(super) fn matching(
        &self,
        filter: &str,
        now: Instant,
        looks: &mut usize,
        mut found: impl FnMut(&Arc<Message>) -> bool,
    ) {
        let mut found = |node| {
            let message = self.messages.get(self.topics.value(node) as usize);
            match message.and_then(Option::as_ref) {
                Some(message) if !message.has_expired(now) => found(message),
                _ => true,
            }
        };
        let mut search = Search { topics: &self.topics, looks, found: &mut found };
        let _ = search.below(ROOT, topic::levels(filter));
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.messages.len() - self.free.len()
    }

    /// The memory that they take, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.topics.memory()
            + self.messages.capacity() * size_of::<Option<Arc<Message>>>()
            + self.free.capacity() * size_of::<u32>()
            + self.bytes
    }
}

/// A walk through the topics that a filter matches.
struct Search<'a, F: FnMut(u32) -> bool> {
    topics: &'a Tree,
    looks: &'a mut usize,
    found: &'a mut F,
}

impl<F: FnMut(u32) -> bool> Search<'_, F> {
    fn below(&mut self, node: u32, mut levels: core::str::Split<'_, char>) -> ControlFlow<()> {
        self.look()?;
        match levels.next() {
            None => self.found(node),
            Some(ANY_REST) => {
                if node != ROOT {
                    self.found(node)?;
                }
                visible_children(self.topics, node).try_for_each(|child| self.all_below(child))
            }
            Some(ANY_LEVEL) => visible_children(self.topics, node)
                .try_for_each(|child| self.below(child, levels.clone())),
            Some(level) => match self.topics.child(node, level) {
                Some(child) => self.below(child, levels),
                None => ControlFlow::Continue(()),
            },
        }
    }

    fn all_below(&mut self, node: u32) -> ControlFlow<()> {
        self.look()?;
        self.found(node)?;
        self.topics.children(node).try_for_each(|child| self.all_below(child))
    }

    fn found(&mut self, node: u32) -> ControlFlow<()> {
        if (self.found)(node) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    fn look(&mut self) -> ControlFlow<()> {
        match self.looks.checked_sub(1) {
            Some(left) => {
                *self.looks = left;
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(()),
        }
    }
}

/// The nodes of `topics` below `node` that a wildcard stands for: at the first level, no reserved one.
fn visible_children(topics: &Tree, node: u32) -> impl Iterator<Item = u32> {
    let visible = move |&at: &u32| node != ROOT || !topic::is_reserved(topics.level(at));
    topics.children(node).filter(visible)
}

#[cfg(test)]
#[path = "retained_tests.rs"]
mod tests;
