//! One thing to be done on a connection, and what became of it.

use super::payload::Payload;
use super::record::NONE;
use super::slab::ConnId;
use crate::time::{Instant, Tick};

/// What became of what was to be sent to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// TCP has it, and sent it. It is repeated until the peer has acknowledged it, or the connection ends.
    Sent,
    /// TCP has it, behind other data, and sends it when the peer lets it.
    Queued,
    /// Not a byte of it is sent: there was no room for it in time.
    Full,
    /// Not a byte of it is sent: the connection has ended, or is closing.
    Gone,
}

impl Outcome {
    /// The outcome in a word, as it is shown.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Sent => "sent",
            Outcome::Queued => "queued",
            Outcome::Full => "full",
            Outcome::Gone => "gone",
        }
    }
}

/// The outbox takes no more: there are too many deliveries or broadcasts, too many bytes of them, or the
/// bytes are more than any connection could take at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no room for more to be sent: try again when some of it has been")]
pub struct Full;

/// Called once with what became of a delivery.
pub type Notice = Box<dyn FnOnce(Outcome) + Send>;

/// What is to be done on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// To send this.
    Send(Payload),
    /// To close this host's direction.
    Close,
}

/// Who is told what became of a delivery.
pub enum Sender {
    /// Nobody.
    Nobody,
    /// Who asked for it.
    Asker(Notice),
    /// The broadcast with this number.
    Broadcast(u8),
    /// The service that pushed it.
    Service(Pusher),
}

/// A service that has pushed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pusher {
    /// The tag of the connection that it did so on.
    pub tag: u8,
    /// What it calls it.
    pub note: u64,
}

/// A delivery.
pub struct Delivery {
    /// To whom.
    pub to: ConnId,
    /// What.
    pub errand: Errand,
    /// When it was accepted.
    pub since: Tick,
    /// Who is told.
    pub sender: Sender,
    /// The next one in its queue.
    pub(super) next: u32,
}

impl Delivery {
    /// A delivery that was accepted at `now`, and is in no queue.
    pub fn new(to: ConnId, errand: Errand, sender: Sender, now: Instant) -> Delivery {
        Delivery { to, errand, since: Tick::of(now), sender, next: NONE }
    }
}
