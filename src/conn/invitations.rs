//! Connections whose services are to be called because another connection's service asked for it.

use super::slab::ConnId;
use std::collections::VecDeque;

/// How many there are at most: who is refused asks again in the service's next turn.
pub const INVITATIONS_MAX: usize = 4_096;

/// Connections to be offered room, in order.
pub struct Invitations {
    queue: VecDeque<ConnId>,
}

impl Invitations {
    /// None yet.
    pub fn new() -> Invitations {
        Invitations { queue: VecDeque::with_capacity(INVITATIONS_MAX) }
    }

    /// Adds connection `to`. Returns whether there was a place.
    pub fn push(&mut self, to: ConnId) -> bool {
        let has_place = self.queue.len() < INVITATIONS_MAX;
        if has_place {
            self.queue.push_back(to);
        }
        has_place
    }

    /// Takes the next one.
    pub fn pop(&mut self) -> Option<ConnId> {
        self.queue.pop_front()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

impl Default for Invitations {
    fn default() -> Invitations {
        Invitations::new()
    }
}
