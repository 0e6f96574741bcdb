//! What is kept of one client.

use super::backlog::Backlog;
use super::codec::Version;
use super::message::{Message, Topic};
use super::subscriptions::SessionList;
use crate::conn::slab::ConnId;
use crate::time::{Duration, Instant};
use std::collections::VecDeque;
use std::sync::Arc;

/// Of a client with or without a connection.
pub(super) struct Session {
    /// The client identifier.
    pub(super) client_id: Box<str>,
    /// Its connection.
    pub(super) conn: Option<ConnId>,
    /// Its subscriptions.
    pub(super) subscriptions: SessionList,
    /// For how many seconds it outlives its connection; `u32::MAX` for ever.
    pub(super) expiry_s: u32,
    /// The keep alive of its connection, in seconds; 0 for none.
    pub(super) keep_alive_s: u16,
    /// The protocol of its connection, or of its last one.
    pub(super) version: Version,
    /// Whether its connection will be called because messages wait for it.
    pub(super) is_called: bool,
    /// The number of the last wide message that it was reached by.
    pub(super) reached: u32,
    /// What most sessions do not have most of the time.
    extra: Option<Box<Extra>>,
}

/// What a session has besides its subscriptions.
#[derive(Default)]
pub(super) struct Extra {
    /// What is published when the connection ends.
    pub(super) will: Option<Will>,
    /// What the client said about what it takes.
    pub(super) appetite: Appetite,
    /// Messages sent and not acknowledged, in their order.
    pub(super) inflight: VecDeque<Inflight>,
    /// Messages that wait, in their order.
    pub(super) queue: VecDeque<Parcel>,
    /// The rest of a packet of which the beginning was sent.
    pub(super) backlog: Backlog,
    /// The topics that the client's aliases stand for.
    pub(super) aliases: Vec<Option<Topic>>,
    /// The packet identifier used last.
    last_identifier: u16,
    /// When the will is published or the session ends, while it has no connection.
    pub(super) due: Option<Instant>,
    /// When the session ends, while it has no connection.
    pub(super) ends: Option<Instant>,
}

/// How much a client takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Appetite {
    /// Unacknowledged messages of QoS 1.
    pub(super) receive_maximum: u16,
    /// The longest packet, in bytes.
    pub(super) packet_len_max: u32,
}

impl Default for Appetite {
    fn default() -> Appetite {
        // Sections 3.1.2.11.3 and -4 of 5.0: no limit but the protocol's.
        Appetite { receive_maximum: u16::MAX, packet_len_max: u32::MAX }
    }
}

/// A message to publish when a client's connection ends.
pub(super) struct Will {
    /// The message.
    pub(super) message: Arc<Message>,
    /// How long it waits after the connection has ended, unless the session ends before.
    pub(super) delay: Duration,
}

/// A message for one client.
#[derive(Clone)]
pub(super) struct Parcel {
    /// The message.
    pub(super) message: Arc<Message>,
    /// The quality of service that it is sent with.
    pub(super) qos: u8,
    /// The retain flag that it is sent with.
    pub(super) retain: bool,
    /// The identifiers of the subscriptions that it matched.
    pub(super) identifiers: Identifiers,
}

/// A few subscription identifiers, of which none is zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Identifiers {
    /// At most one: zero for none.
    One([u32; 1]),
    /// More.
    Many(Box<[u32]>),
}

impl Identifiers {
    /// Those of `identifiers`.
    pub(super) fn new(identifiers: &[u32]) -> Identifiers {
        match *identifiers {
            [] => Identifiers::One([0]),
            [one] => Identifiers::One([one]),
            _ => Identifiers::Many(identifiers.into()),
        }
    }

    /// All of them.
    pub(super) fn as_slice(&self) -> &[u32] {
        match self {
            Identifiers::One([0]) => &[],
            Identifiers::One(one) => one,
            Identifiers::Many(many) => many,
        }
    }
}

/// A message sent and not acknowledged.
pub(super) struct Inflight {
    /// The packet identifier.
    pub(super) identifier: u16,
    /// The message.
    pub(super) parcel: Parcel,
    /// Whether it was sent on this connection. If not, it was on another one.
    pub(super) is_sent: bool,
}

impl Session {
    /// A session of `client_id`, which wide messages up to number `reached` are not for.
    pub(super) fn new(client_id: &str, version: Version, reached: u32) -> Session {
        Session {
            client_id: client_id.into(),
            conn: None,
            subscriptions: SessionList::EMPTY,
            expiry_s: 0,
            keep_alive_s: 0,
            version,
            is_called: false,
            reached,
            extra: None,
        }
    }

    /// What it has besides, if it has.
    pub(super) fn extra(&self) -> Option<&Extra> {
        self.extra.as_deref()
    }

    /// What it has besides, if it has.
    pub(super) fn extra_if_any(&mut self) -> Option<&mut Extra> {
        self.extra.as_deref_mut()
    }

    /// What it has besides, or is about to have.
    pub(super) fn extra_mut(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    /// How much the client takes.
    pub(super) fn appetite(&self) -> Appetite {
        self.extra().map_or_else(Appetite::default, |extra| extra.appetite)
    }

    /// Gives back the memory of what it has no more.
    pub(super) fn shrink(&mut self) {
        if self.extra().is_some_and(Extra::is_empty) {
            self.extra = None;
        }
    }

    /// How long after the last packet the connection has failed: one and a half times the keep alive
    /// (MQTT-3.1.2-22; 3.1.1: MQTT-3.1.2-24).
    pub(super) fn silence_max(&self) -> Option<Duration> {
        let keep_alive = Duration::from_secs(u64::from(self.keep_alive_s));
        (self.keep_alive_s > 0).then_some(keep_alive * 3 / 2)
    }

    /// The memory that it takes besides its own entry, in bytes, without its messages.
    pub(super) fn memory(&self) -> usize {
        self.client_id.len() + self.extra().map_or(0, Extra::memory)
    }
}

impl Extra {
    /// A packet identifier that no message under way has (MQTT-2.2.1-4; 3.1.1: MQTT-2.3.1-4).
    pub(super) fn next_identifier(&mut self) -> u16 {
        loop {
            self.last_identifier = self.last_identifier.wrapping_add(1).max(1);
            let is_used = |inflight: &Inflight| inflight.identifier == self.last_identifier;
            if !self.inflight.iter().any(is_used) {
                return self.last_identifier;
            }
        }
    }

    /// Whether nothing of it differs from what a session without has.
    fn is_empty(&self) -> bool {
        self.will.is_none()
            && self.appetite == Appetite::default()
            && self.inflight.is_empty()
            && self.queue.is_empty()
            && self.backlog.is_empty()
            && self.aliases.is_empty()
            && self.due.is_none()
            && self.ends.is_none()
    }

    fn memory(&self) -> usize {
        size_of::<Extra>()
            + self.inflight.capacity() * size_of::<Inflight>()
            + self.queue.capacity() * size_of::<Parcel>()
            + self.backlog.memory()
            + self.aliases.capacity() * size_of::<Option<Topic>>()
    }
}
