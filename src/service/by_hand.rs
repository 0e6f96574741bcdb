//! A connection without an engine, for tests of services: fed and drained by hand.

use super::{Answer, Context, Service, ServiceState, Wake};
use crate::conn::record::State;
use crate::conn::slab::{ConnId, Slab};
use crate::time::Instant;
use crate::wire::addr::{Address, Endpoint, FlowKey};

/// A connection, and all that its service did.
pub(crate) struct ByHand {
    pub(crate) id: ConnId,
    pub(crate) tag: u8,
    pub(crate) now: Instant,
    pub(crate) flow: FlowKey,
    pub(crate) state: ServiceState,
    pub(crate) sent: Vec<u8>,
    /// What was asked for, but for what was written: closing, aborting, reasons, profiles.
    pub(crate) asked: Answer,
    /// When the service is to be woken.
    pub(crate) wake: Option<Instant>,
}

impl ByHand {
    /// A connection that has just opened, at the time `now`.
    pub(crate) fn new(now: Instant) -> ByHand {
        let endpoint = |last, port| Endpoint { addr: Address::v4([10, 77, 0, last]), port };
        ByHand {
            id: any_id(),
            tag: 0,
            now,
            flow: FlowKey { remote: endpoint(2, 40_000), local: endpoint(1, 7000) },
            state: ServiceState::default(),
            sent: Vec::new(),
            asked: Answer::default(),
            wake: None,
        }
    }

    /// One call with `room` bytes to send in.
    pub(crate) fn call<R>(&mut self, room: usize, call: impl FnOnce(&mut Context<'_>) -> R) -> R {
        let mut output = vec![0; room];
        let mut context = Context {
            id: self.id,
            now: self.now,
            tag: self.tag,
            flow: self.flow,
            state: &mut self.state,
            output: &mut output,
            answer: Answer { written: 0, wants_room: false, ..self.asked },
        };
        let result = call(&mut context);
        self.asked = context.answer;
        match self.asked.wake.take() {
            Some(Wake::At(at)) => self.wake = Some(at),
            Some(Wake::Never) => self.wake = None,
            None => {}
        }
        if self.asked.closing {
            self.wake = None;
        }
        self.sent.extend_from_slice(&output[..self.asked.written]);
        result
    }

    /// Gives `service` the bytes, with `room` to answer in; returns how many it consumed.
    pub(crate) fn feed(&mut self, service: &mut dyn Service, bytes: &[u8], room: usize) -> usize {
        let consumed = self.call(room, |conn| service.on_data(conn, bytes));
        assert!(consumed <= bytes.len(), "no more is consumed than there is");
        consumed
    }

    /// Lets time pass until the wake is due, and wakes `service` with `room` to send in.
    pub(crate) fn wake(&mut self, service: &mut dyn Service, room: usize) {
        self.now = self.wake.take().expect("a wake").max(self.now);
        self.call(room, |conn| service.on_wake(conn));
    }
}

fn any_id() -> ConnId {
    let mut slab = Slab::new(1).expect("room for it");
    let slot = slab.insert().expect("it is empty");
    slab[slot].state = State::Established;
    slab.id(slot)
}
