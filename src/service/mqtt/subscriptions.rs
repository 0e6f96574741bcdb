//! Who has subscribed to what.
//!
//! A subscription is an entry of two lists: of its session's, and of those to the same filter, which a
//! tree of filters leads to.

use super::codec::subscribe::{Options, RetainHandling};
use super::shapes::{Shape, Shapes};
use super::topic::{self, ANY_LEVEL, ANY_REST};
use super::tree::{self, NONE, ROOT, Tree};
use crate::wire::addr::Secret;

/// A subscription of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subscription {
    /// The session.
    pub(super) session: u32,
    /// The number that messages carry because of it, or 0.
    pub(super) identifier: u32,
    /// The greatest quality of service.
    pub(super) qos: u8,
    /// Whether the client does not want its own messages.
    pub(super) no_local: bool,
    /// Whether a message keeps its retain flag.
    pub(super) retain_as_published: bool,
}

struct Entry {
    subscription: Subscription,
    node: u32,
    /// The next one of the same session, or the next free entry.
    next_of_session: u32,
    next_of_node: u32,
    prev_of_node: u32,
}

/// The subscriptions of one session, as a list; [`SessionList::EMPTY`] of one that has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SessionList {
    first: u32,
    /// How many there are.
    len: u32,
    /// What their filters take, as if no other session had any of them, in bytes.
    bytes: u32,
}

impl SessionList {
    pub(super) const EMPTY: SessionList = SessionList { first: NONE, len: 0, bytes: 0 };
}

/// What subscriptions may take at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// How many there may be.
    pub(super) len_max: u32,
    /// What they and their filters may take, in bytes.
    pub(super) bytes_max: usize,
    /// The same of one session.
    pub(super) session_len_max: u32,
    pub(super) session_bytes_max: u32,
    /// How many shapes the beginnings of deep filters may have.
    pub(super) shapes_max: usize,
}

/// There is no room for another subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// All subscriptions.
pub(super) struct Subscriptions {
    /// The filters. The value of a node is its first entry.
    filters: Tree,
    shapes: Shapes,
    entries: Vec<Entry>,
    free: u32,
    len: u32,
    limits: Limits,
}

impl Subscriptions {
    /// Room for what `limits` say, in memory that is taken as it is used.
    pub(super) fn new(limits: Limits, secret: Secret) -> Subscriptions {
        let filters = Tree::new(secret);
        let (shapes, entries) = (Shapes::default(), Vec::new());
        Subscriptions { filters, shapes, entries, free: NONE, len: 0, limits }
    }

    /// Subscribes `session`, whose subscriptions are in `list`, to `filter`. Returns whether there was
    /// such a subscription, which is replaced (MQTT-3.8.4-3).
    ///
    /// # Errors
    ///
    /// When there are too many, or messages would be looked for in too many places because of it.
    pub(super) fn subscribe(
        &mut self,
        list: &mut SessionList,
        session: u32,
        filter: &str,
        options: Options,
        identifier: u32,
    ) -> Result<bool, Full> {
        let Options { qos, no_local, retain_as_published, .. } = options;
        let subscription = Subscription { session, identifier, qos, no_local, retain_as_published };
        let existing = self.filters.find(filter).and_then(|node| self.entry(*list, session, node));
        if let Some(at) = existing {
            self.entries[at as usize].subscription = subscription;
            return Ok(true);
        }
        let cost = tree::cost_of(filter);
        let bytes = u32::try_from(cost).ok().and_then(|cost| list.bytes.checked_add(cost));
        let bytes = bytes.filter(|bytes| *bytes <= self.limits.session_bytes_max).ok_or(Full)?;
        if list.len >= self.limits.session_len_max
            || self.len >= self.limits.len_max
            || self.cost() + cost > self.limits.bytes_max
        {
            return Err(Full);
        }
        let shape = Shape::of(filter);
        if self.shapes.len() + self.shapes.lacking(shape) > self.limits.shapes_max {
            return Err(Full);
        }
        let node = self.filters.insert(filter);
        let next_of_node = self.filters.value(node);
        if next_of_node == NONE {
            self.shapes.add(shape);
        }
        let next_of_session = list.first;
        let entry = Entry { subscription, node, next_of_session, next_of_node, prev_of_node: NONE };
        let at = match self.free {
            NONE => {
                self.entries.push(entry);
                u32::try_from(self.entries.len() - 1).expect("within the limit")
            }
            free => {
                self.free = self.entries[free as usize].next_of_session;
                self.entries[free as usize] = entry;
                free
            }
        };
        if next_of_node != NONE {
            self.entries[next_of_node as usize].prev_of_node = at;
        }
        self.filters.set_value(node, at);
        self.filters.set_count(node, self.filters.count(node) + 1);
        *list = SessionList { first: at, len: list.len + 1, bytes };
        self.len += 1;
        Ok(false)
    }

    /// Ends the subscription to `filter` of `session`, which has `list`. Returns whether there was one.
    pub(super) fn unsubscribe(
        &mut self,
        list: &mut SessionList,
        session: u32,
        filter: &str,
    ) -> bool {
        let Some(node) = self.filters.find(filter) else { return false };
        let Some(at) = self.entry(*list, session, node) else { return false };
        let next = self.entries[at as usize].next_of_session;
        match self.before(*list, at) {
            None => list.first = next,
            Some(prev) => self.entries[prev as usize].next_of_session = next,
        }
        list.len -= 1;
        list.bytes -= u32::try_from(self.filters.cost_to(node)).expect("it was added");
        self.remove(at);
        true
    }

    /// Ends all subscriptions in `list`.
    pub(super) fn unsubscribe_all(&mut self, list: &mut SessionList) {
        while list.first != NONE {
            let next = self.entries[list.first as usize].next_of_session;
            self.remove(core::mem::replace(&mut list.first, next));
        }
        *list = SessionList::EMPTY;
    }

    /// Calls `found` for each subscription whose filter matches `name`. Returns how many filters did: a
    /// session is found once for each.
    pub(super) fn matching(&self, name: &str, mut found: impl FnMut(&Subscription)) -> usize {
        let mut filters = 0;
        self.filters_matching(name, |node| {
            filters += 1;
            let mut at = self.filters.value(node);
            while at != NONE {
                let entry = &self.entries[at as usize];
                found(&entry.subscription);
                at = entry.next_of_node;
            }
        });
        filters
    }

    /// How many subscriptions have a filter that matches `name`.
    pub(super) fn count(&self, name: &str) -> u32 {
        let mut count: u32 = 0;
        self.filters_matching(name, |node| count = count.saturating_add(self.filters.count(node)));
        count
    }

    /// Has the filters that match `name` in `filters`, sorted.
    pub(super) fn filters_of(&self, name: &str, filters: &mut Vec<u32>) {
        filters.clear();
        self.filters_matching(name, |node| filters.push(node));
        filters.sort_unstable();
    }

    /// The subscriptions in `list`, each with its filter.
    pub(super) fn of(&self, list: SessionList) -> impl Iterator<Item = (u32, &Subscription)> {
        let some = |at: u32| (at != NONE).then(|| &self.entries[at as usize]);
        core::iter::successors(some(list.first), move |entry| some(entry.next_of_session))
            .map(|entry| (entry.node, &entry.subscription))
    }

    /// Calls `found` for each filter that matches `name` and that somebody has subscribed to.
    fn filters_matching(&self, name: &str, mut found: impl FnMut(u32)) {
        let wildcards = !topic::is_reserved(name);
        let mut search = Search { filters: &self.filters, found: &mut found, looks: 0 };
        search.below(ROOT, topic::levels(name), wildcards);
    }

    /// How many nodes are looked at for `name`.
    #[cfg(test)]
    fn looks(&self, name: &str) -> usize {
        let mut search = Search { filters: &self.filters, found: &mut |_| (), looks: 0 };
        search.below(ROOT, topic::levels(name), !topic::is_reserved(name));
        search.looks
    }

    /// The entry of `session`, which has `list`, at `node`. It is looked for in both of its lists at once,
    /// so for as long as the shorter one is: a client asks for thousands in one packet.
    fn entry(&self, list: SessionList, session: u32, node: u32) -> Option<u32> {
        let (mut of_session, mut of_node) = (list.first, self.filters.value(node));
        while of_session != NONE && of_node != NONE {
            let [a, b] = [of_session, of_node].map(|at| &self.entries[at as usize]);
            if a.node == node {
                return Some(of_session);
            }
            if b.subscription.session == session {
                return Some(of_node);
            }
            (of_session, of_node) = (a.next_of_session, b.next_of_node);
        }
        None
    }

    /// What stands before `at` in `list`, if it is not the first.
    fn before(&self, list: SessionList, at: u32) -> Option<u32> {
        let some = |at: u32| (at != NONE).then_some(at);
        core::iter::successors(some(list.first), |&at| {
            some(self.entries[at as usize].next_of_session)
        })
        .find(|&prev| self.entries[prev as usize].next_of_session == at)
    }

    /// What they take, about, in bytes.
    fn cost(&self) -> usize {
        self.filters.cost() + self.len as usize * size_of::<Entry>()
    }

    /// Takes the entry at `at` from its filter; its session's list is the caller's.
    fn remove(&mut self, at: u32) {
        let Entry { node, next_of_node, prev_of_node, .. } = self.entries[at as usize];
        match prev_of_node {
            NONE => self.filters.set_value(node, next_of_node),
            _ => self.entries[prev_of_node as usize].next_of_node = next_of_node,
        }
        if next_of_node != NONE {
            self.entries[next_of_node as usize].prev_of_node = prev_of_node;
        }
        if self.filters.value(node) == NONE {
            self.shapes.remove(Shape::at(&self.filters, node));
        }
        self.filters.set_count(node, self.filters.count(node) - 1);
        self.filters.prune(node);
        self.entries[at as usize].next_of_session = self.free;
        self.free = at;
        self.len -= 1;
    }

    /// How many subscriptions there are.
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// The memory that they take, in bytes.
    pub(super) fn memory(&self) -> usize {
        let entries = self.entries.capacity() * size_of::<Entry>();
        self.filters.memory() + self.shapes.memory() + entries
    }
}

/// A walk through the filters that match a name.
struct Search<'a, F: FnMut(u32)> {
    filters: &'a Tree,
    /// Called for each of them that somebody has subscribed to.
    found: &'a mut F,
    /// How many nodes were looked at.
    looks: usize,
}

impl<F: FnMut(u32)> Search<'_, F> {
    fn below(&mut self, node: u32, mut levels: core::str::Split<'_, char>, wildcards: bool) {
        self.looks += 1;
        if wildcards && let Some(rest) = self.filters.child(node, ANY_REST) {
            // It stands for no further level too.
            self.found(rest);
        }
        let Some(level) = levels.next() else { return self.found(node) };
        if let Some(child) = self.filters.child(node, level) {
            self.below(child, levels.clone(), true);
        }
        if wildcards && let Some(child) = self.filters.child(node, ANY_LEVEL) {
            self.below(child, levels, true);
        }
    }

    fn found(&mut self, node: u32) {
        if self.filters.value(node) != NONE {
            (self.found)(node);
        }
    }
}

/// Whether retained messages are sent for a subscription with `options`, which `existed` or not
/// (MQTT-3.3.1-9 to -11; 3.1.1: MQTT-3.8.4-3).
pub(super) fn wants_retained(options: Options, existed: bool) -> bool {
    match options.retain_handling {
        RetainHandling::Send => true,
        RetainHandling::SendIfNew => !existed,
        RetainHandling::Skip => false,
    }
}

#[cfg(test)]
#[path = "subscriptions_tests.rs"]
pub(super) mod tests;
