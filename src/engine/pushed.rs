//! What became of what services pushed, told to them.

use super::Engine;
use crate::conn::broadcast::Told;
use crate::conn::delivery::{Outcome, Pusher};
use crate::conn::slab::ConnId;
use crate::service::{Pushed, Service};

impl<S: Service> Engine<S> {
    /// What `pusher` pushed to connection `to` has this outcome.
    pub(super) fn tell_pusher(&mut self, to: ConnId, pusher: Pusher, outcome: Outcome) {
        self.tell_pushed(to, pusher, outcome);
        if outcome != Outcome::Queued {
            return;
        }
        match self.table.slab.slot(to).map(|slot| self.table.slab[slot].promoted()) {
            Some(Some(index)) => self.promoted[index].note_pushed(pusher),
            // All of it was acknowledged.
            Some(None) => {}
            // It ended while it was sent.
            None => self.tell_pushed(to, pusher, Outcome::Gone),
        }
    }

    /// A service is told how far its broadcast is, if there is something to tell.
    pub(super) fn tell_follower(&mut self, told: Option<Told>) {
        if let Some(Told { pusher: Pusher { tag, note }, progress }) = told {
            self.service.on_broadcast(tag, note, &progress);
        }
    }

    /// Whether another push of a service can be queued on the connection in `slot`.
    pub(super) fn can_note_pushed(&mut self, slot: u32) -> bool {
        let promoted = self.table.slab[slot].promoted();
        promoted.is_none_or(|index| self.promoted[index].has_room_for_pushed())
    }

    /// The connection in `slot` ends: what is queued on it and was pushed is lost.
    pub(super) fn lose_pushed(&mut self, slot: u32) {
        let Some(index) = self.table.slab[slot].promoted() else { return };
        let to = self.table.slab.id(slot);
        // Those that are acknowledged are none.
        self.promoted[index].has_room_for_pushed();
        while let Some((_, pusher)) = self.promoted[index].pushed.pop_front() {
            self.tell_pushed(to, pusher, Outcome::Gone);
        }
    }

    fn tell_pushed(&mut self, to: ConnId, pusher: Pusher, outcome: Outcome) {
        let Pusher { tag, note } = pusher;
        self.service.on_pushed(Pushed { tag, note, to, outcome });
    }
}
