//! A connection without an engine, for tests of services: fed and drained by hand.
//!
//! Whoever writes a service can test it with this: no frame, no link and no clock.

use super::{Answer, Context, Service, ServiceState, Turn, Wake};
use crate::conn::delivery::{Delivery, Errand};
use crate::conn::invitations::Invitations;
use crate::conn::outbox::{Limits, Outbox};
use crate::conn::record::State;
use crate::conn::slab::{ConnId, Slab};
use crate::time::Instant;
use crate::wire::addr::{Address, Endpoint, FlowKey};

/// What is to be sent to others, at most.
const LIMITS: Limits =
    Limits { deliveries_max: 100, payload_bytes_max: 1 << 20, ..Limits::NOTHING };

/// A connection, and all that its service did.
pub struct ByHand {
    pub(crate) id: ConnId,
    pub(crate) tag: u8,
    pub(crate) now: Instant,
    pub(crate) flow: FlowKey,
    pub(crate) state: ServiceState,
    pub(crate) sent: Vec<u8>,
    /// What was asked for, but for what was written: closing, aborting, reasons, profiles.
    pub(crate) asked: Answer,
    /// Whether the service waits for room.
    pub(crate) wants_room: bool,
    /// The connections that were invited.
    pub(crate) invitations: Invitations,
    /// When the service is to be woken.
    pub(crate) wake: Option<Instant>,
    /// What has come, and was not consumed.
    unread: Vec<u8>,
    outbox: Outbox,
}

impl ByHand {
    /// A connection that has just opened, at the time `now`.
    pub fn new(now: Instant) -> ByHand {
        ByHand::numbered(now, 0)
    }

    /// The same, with a name that no connection has with another `number`. All names of smaller numbers are
    /// made for it.
    pub fn numbered(now: Instant, number: u32) -> ByHand {
        let endpoint = |last, port| Endpoint { addr: Address::v4([10, 77, 0, last]), port };
        ByHand {
            id: nth_id(number),
            tag: 0,
            now,
            flow: FlowKey { remote: endpoint(2, 40_000), local: endpoint(1, 7000) },
            state: ServiceState::default(),
            sent: Vec::new(),
            asked: Answer::default(),
            wants_room: false,
            invitations: Invitations::new(),
            wake: None,
            unread: Vec::new(),
            outbox: Outbox::new(LIMITS, u16::MAX).expect("room for a little"),
        }
    }

    /// The same with this tag.
    #[must_use]
    pub fn with_tag(self, tag: u8) -> ByHand {
        ByHand { tag, ..self }
    }

    /// The connection's name.
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// What the service keeps of the connection.
    pub fn state(&self) -> ServiceState {
        self.state
    }

    /// All that was sent so far.
    pub fn sent(&self) -> &[u8] {
        &self.sent
    }

    /// Whether the service has closed, or reset the connection.
    pub fn is_closing(&self) -> bool {
        self.asked.closing
    }

    /// Whether the service has reset the connection.
    pub fn is_aborting(&self) -> bool {
        self.asked.aborting
    }

    /// When the service is to be woken, if it is.
    pub fn wake_at(&self) -> Option<Instant> {
        self.wake
    }

    /// What has come, and was not consumed.
    pub fn unread(&self) -> &[u8] {
        &self.unread
    }

    /// What was pushed to other connections since this was last asked.
    pub fn pushed(&mut self) -> Vec<(ConnId, Vec<u8>)> {
        let mut pushed = Vec::new();
        while let Some(Delivery { to, errand: Errand::Send(payload), .. }) =
            self.outbox.take_fresh()
        {
            pushed.push((to, self.outbox.payloads.bytes(payload).to_vec()));
            self.outbox.payloads.release(payload);
        }
        pushed
    }

    /// The connections that were invited since this was last asked.
    pub fn invited(&mut self) -> Vec<ConnId> {
        core::iter::from_fn(|| self.invitations.pop()).collect()
    }

    /// It is `now`, which is not earlier than it was.
    pub fn pass_to(&mut self, now: Instant) {
        self.now = now.max(self.now);
    }

    /// Whether the service waits for room.
    pub fn wants_room(&self) -> bool {
        self.wants_room
    }

    /// One call with `room` bytes to send in.
    pub fn call<R>(&mut self, room: usize, call: impl FnOnce(&mut Context<'_>) -> R) -> R {
        let mut output = vec![0; room];
        let mut answer = Answer { written: 0, wants_room: false, ..self.asked };
        let mut context = Context {
            id: self.id,
            now: self.now,
            tag: self.tag,
            remote: (&self.flow.remote.addr, self.flow.remote.port),
            local: (&self.flow.local.addr, self.flow.local.port),
            state: &mut self.state,
            output: &mut output,
            invitations: &mut self.invitations,
            outbox: &mut self.outbox,
            answer: &mut answer,
        };
        let result = call(&mut context);
        self.asked = answer;
        match self.asked.wake.take() {
            Some(Wake::At(at)) => self.wake = Some(at),
            Some(Wake::Never) => self.wake = None,
            None => {}
        }
        if self.asked.closing {
            self.wake = None;
        }
        self.wants_room |= self.asked.wants_room;
        self.sent.extend_from_slice(&output[..self.asked.written]);
        result
    }

    /// Gives `service` the bytes, with `room` to answer in; returns how many it consumed.
    ///
    /// # Panics
    ///
    /// When that is more than there were.
    pub fn feed(&mut self, service: &mut dyn Service, bytes: &[u8], room: usize) -> usize {
        let consumed = self.call(room, |conn| service.on_data(conn, bytes));
        assert!(consumed <= bytes.len(), "no more is consumed than there is");
        consumed
    }

    /// Has `bytes` come after what was not consumed, and gives `service` all of it again and again, and
    /// `room` where it waits for some, as long as it does something with it.
    ///
    /// # Panics
    ///
    /// As [`ByHand::feed`].
    pub fn receive(&mut self, service: &mut dyn Service, bytes: &[u8], room: usize) {
        self.unread.extend_from_slice(bytes);
        loop {
            let before = (self.unread.len(), self.sent.len());
            if core::mem::take(&mut self.wants_room) && !self.asked.closing {
                self.call(room, |conn| service.on_room(conn));
            }
            if !self.unread.is_empty() && !self.asked.closing {
                let unread = core::mem::take(&mut self.unread);
                let consumed = self.feed(service, &unread, room);
                self.unread.extend_from_slice(&unread[consumed..]);
            }
            if self.asked.closing || before == (self.unread.len(), self.sent.len()) {
                return;
            }
        }
    }

    /// Lets time pass until the wake is due, and wakes `service` with `room` to send in.
    ///
    /// # Panics
    ///
    /// When it asked for none.
    pub fn wake(&mut self, service: &mut dyn Service, room: usize) {
        self.now = self.wake.take().expect("a wake").max(self.now);
        self.call(room, |conn| service.on_wake(conn));
    }
}

/// Gives `service` the turn that it may have asked for; returns the connections that it invited.
pub fn turn(service: &mut dyn Service, now: Instant) -> Vec<ConnId> {
    let mut invitations = Invitations::new();
    service.on_turn(&mut Turn { now, invitations: &mut invitations });
    core::iter::from_fn(|| invitations.pop()).collect()
}

fn nth_id(number: u32) -> ConnId {
    let mut slab = Slab::new(number + 1).expect("room for it");
    let slots = (0..=number).map(|_| slab.insert().expect("it has room"));
    let slot = slots.last().expect("there is one");
    slab[slot].state = State::Established;
    slab.id(slot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_service_pushes_is_seen_with_whom_it_is_for() {
        let mut conn = ByHand::new(Instant::ZERO);
        let other = nth_id(1);
        assert_ne!(conn.id(), other);
        conn.call(0, |context| {
            context.push(other, b"one", 1).expect("there is room");
            assert_eq!(context.push_all([other; 2], b"two", 2), 2);
        });
        let expected = [&b"one"[..], b"two", b"two"].map(|bytes| (other, bytes.to_vec()));
        assert_eq!((conn.pushed(), conn.pushed()), (expected.to_vec(), Vec::new()));
    }
}
