//! A tree of topics: a node for each level, found by its parent and its name.

use super::topic;
use crate::wire::addr::Secret;
use core::hash::{Hash as _, Hasher as _};
use hashbrown::HashTable;
use siphasher::sip::SipHasher13;

/// No node, and no value of one.
pub(super) const NONE: u32 = u32::MAX;
/// The node that all first levels are below.
pub(super) const ROOT: u32 = 0;

/// What a node takes besides its name, about, in bytes: itself, its place among the names, and what the
/// heap adds.
const NODE_COST: usize = 80;

/// What the nodes take that `topic` needs, if no other shares them, in bytes.
pub(super) fn cost_of(topic: &str) -> usize {
    topic::levels(topic).map(|level| level.len() + NODE_COST).sum()
}

/// One level of one or more topics.
struct Node {
    parent: u32,
    first_child: u32,
    /// The nodes with the same parent, and the next one of those that are free.
    next: u32,
    prev: u32,
    /// What the caller keeps for the topic that ends here, or [`NONE`]; and how many it keeps.
    value: u32,
    count: u32,
    level: Box<str>,
}

/// Topics, each with a value. Nodes that lead to none are removed.
pub(super) struct Tree {
    nodes: Vec<Node>,
    free: u32,
    by_name: HashTable<u32>,
    hasher: SipHasher13,
    /// The lengths of all levels, in bytes.
    level_bytes: usize,
}

impl Tree {
    /// No topics. Peers choose the names, so `secret` keys the hash.
    pub(super) fn new(secret: Secret) -> Tree {
        let root = Node {
            parent: NONE,
            first_child: NONE,
            next: NONE,
            prev: NONE,
            value: NONE,
            count: 0,
            level: Box::default(),
        };
        Tree {
            nodes: vec![root],
            free: NONE,
            by_name: HashTable::new(),
            hasher: SipHasher13::new_with_key(&secret.0),
            level_bytes: 0,
        }
    }

    fn hash(&self, parent: u32, level: &str) -> u64 {
        hash(self.hasher, parent, level)
    }

    /// The node of `level` below `parent`.
    pub(super) fn child(&self, parent: u32, level: &str) -> Option<u32> {
        let is_it = |&at: &u32| {
            let node = &self.nodes[at as usize];
            node.parent == parent && *node.level == *level
        };
        self.by_name.find(self.hash(parent, level), is_it).copied()
    }

    /// The node that `topic` ends at.
    pub(super) fn find(&self, topic: &str) -> Option<u32> {
        topic::levels(topic).try_fold(ROOT, |at, level| self.child(at, level))
    }

    /// The node that `topic` ends at, made if there is none. It must get a value, or be pruned.
    pub(super) fn insert(&mut self, topic: &str) -> u32 {
        topic::levels(topic).fold(ROOT, |parent, level| {
            self.child(parent, level).unwrap_or_else(|| self.add(parent, level))
        })
    }

    fn add(&mut self, parent: u32, level: &str) -> u32 {
        let next = self.nodes[parent as usize].first_child;
        let (first_child, prev, value, level_name) = (NONE, NONE, NONE, level.into());
        let node = Node { parent, first_child, next, prev, value, count: 0, level: level_name };
        let at = match self.free {
            NONE => {
                self.nodes.push(node);
                u32::try_from(self.nodes.len() - 1).expect("memory ends before numbers do")
            }
            free => {
                self.free = self.nodes[free as usize].next;
                self.nodes[free as usize] = node;
                free
            }
        };
        if next != NONE {
            self.nodes[next as usize].prev = at;
        }
        self.nodes[parent as usize].first_child = at;
        self.level_bytes += level.len();
        let (nodes, hasher) = (&self.nodes, self.hasher);
        let rehash = |&at: &u32| {
            let node = &nodes[at as usize];
            hash(hasher, node.parent, &node.level)
        };
        self.by_name.insert_unique(hash(hasher, parent, level), at, rehash);
        at
    }

    /// Removes `node`, and those above it, as far as they lead to no value.
    pub(super) fn prune(&mut self, mut node: u32) {
        while node != ROOT {
            let Node { parent, first_child, next, prev, value, .. } = self.nodes[node as usize];
            if value != NONE || first_child != NONE {
                return;
            }
            let hash = self.hash(parent, &self.nodes[node as usize].level);
            if let Ok(entry) = self.by_name.find_entry(hash, |&at| at == node) {
                entry.remove();
            }
            match prev {
                NONE => self.nodes[parent as usize].first_child = next,
                _ => self.nodes[prev as usize].next = next,
            }
            if next != NONE {
                self.nodes[next as usize].prev = prev;
            }
            let freed = &mut self.nodes[node as usize];
            self.level_bytes -= core::mem::take(&mut freed.level).len();
            freed.next = self.free;
            self.free = node;
            node = parent;
        }
    }

    /// The value of `node`, or [`NONE`].
    pub(super) fn value(&self, node: u32) -> u32 {
        self.nodes[node as usize].value
    }

    /// Gives `node` a value, or with [`NONE`] takes it away.
    pub(super) fn set_value(&mut self, node: u32, value: u32) {
        self.nodes[node as usize].value = value;
    }

    /// How many the caller keeps at `node`, as it has said.
    pub(super) fn count(&self, node: u32) -> u32 {
        self.nodes[node as usize].count
    }

    /// The caller keeps so many at `node`.
    pub(super) fn set_count(&mut self, node: u32, count: u32) {
        self.nodes[node as usize].count = count;
    }

    /// The level of `node`.
    pub(super) fn level(&self, node: u32) -> &str {
        &self.nodes[node as usize].level
    }

    /// The levels of the topic that ends at `node`, the last one first.
    pub(super) fn levels_up(&self, node: u32) -> impl Iterator<Item = &str> {
        let some = |at: u32| (at != ROOT).then(|| &self.nodes[at as usize]);
        core::iter::successors(some(node), move |node| some(node.parent)).map(|node| &*node.level)
    }

    /// The nodes right below `node`.
    pub(super) fn children(&self, node: u32) -> impl Iterator<Item = u32> {
        let some = |at: u32| (at != NONE).then_some(at);
        core::iter::successors(some(self.nodes[node as usize].first_child), move |&at| {
            some(self.nodes[at as usize].next)
        })
    }

    /// What all nodes take, about, in bytes.
    pub(super) fn cost(&self) -> usize {
        self.by_name.len() * NODE_COST + self.level_bytes
    }

    /// [`cost_of`] the topic that ends at `node`.
    pub(super) fn cost_to(&self, node: u32) -> usize {
        self.levels_up(node).map(|level| level.len() + NODE_COST).sum()
    }

    /// How many nodes there are below the root.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// The memory that the tree takes, in bytes, but for what the heap adds to each level.
    pub(super) fn memory(&self) -> usize {
        self.nodes.capacity() * size_of::<Node>()
            + self.by_name.allocation_size()
            + self.level_bytes
    }
}

fn hash(mut hasher: SipHasher13, parent: u32, level: &str) -> u64 {
    (parent, level).hash(&mut hasher);
    hasher.finish()
}
