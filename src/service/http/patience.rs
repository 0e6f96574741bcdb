//! How long a connection is waited for, and what is done then.

use super::Http;
use super::connection::Place;
use super::reply::{After, Exchange, Reply};
use super::setup::Setup;
use super::status::Status;
use super::transfers::Stage;
use crate::service::Context;
use crate::tcp::CloseReason;
use crate::time::{Duration, Instant, Tick};

impl Setup {
    /// How long a transfer that is waited for until `until` is waited for, now that `bytes` more of it have
    /// come or gone: for the time that they may take, but no longer than if it had just begun. So it may
    /// neither stand still for that long nor be slower than the least rate for good, and what it was
    /// faster at first helps it as long as that, and no longer.
    pub(super) fn longer(&self, until: Instant, bytes: usize, now: Instant) -> Instant {
        let most = now + self.request_timeout;
        match self.rate_min {
            Some(rate) => {
                let nanos = (bytes as u64).saturating_mul(1_000_000_000) / u64::from(rate.get());
                most.min(until + Duration::from_nanos(nanos))
            }
            None => most,
        }
    }
}

impl Http {
    /// When the patience with a connection ends, if it does.
    pub(super) fn deadline(&self, place: Place) -> Option<Tick> {
        match place {
            Place::Idle { since, .. } => Some(since.after(self.setup.idle_timeout?)),
            Place::Reading { since, .. } => Some(since.after(self.setup.request_timeout)),
            Place::Busy(index) => {
                Some(Tick::of(self.transfers.get(index)?.until).after(Duration::ZERO))
            }
            Place::Closed => None,
        }
    }

    pub(super) fn is_on_disk(&self, place: Place) -> bool {
        let Place::Busy(index) = place else { return false };
        let stage = self.transfers.get(index).map(|transfer| &transfer.stage);
        matches!(stage, Some(Stage::Sending { on_disk: true, .. }))
    }

    /// Asks to be woken when the patience with a connection ends, which was `before` this call what it
    /// may still be. What only becomes later is looked at when it is time.
    pub(super) fn arm(&self, conn: &mut Context<'_>, before: Place) {
        let place = Place::load(conn);
        if place.is_idle() != before.is_idle() && !self.is_on_disk(place) {
            self.wake(conn, place);
        }
    }

    pub(super) fn wake(&self, conn: &mut Context<'_>, place: Place) {
        match self.deadline(place) {
            Some(deadline) => conn.wake_at(deadline.start(conn.now())),
            None => conn.no_wake(),
        }
    }

    /// The patience with a connection has ended.
    pub(super) fn expire(&mut self, conn: &mut Context<'_>, place: Place) {
        let (requests, is_answered, is_head) = match place {
            Place::Closed => return,
            Place::Idle { .. } => {
                // RFC 9112 section 9.5: "a graceful close on the connection"; no request is refused.
                self.counters.idle += 1;
                Place::Closed.store(conn);
                return conn.close_and_linger();
            }
            Place::Reading { requests, .. } => (requests, false, false),
            Place::Busy(index) => {
                let transfer = self.transfers.get(index);
                let is_answered = transfer.is_none_or(|transfer| transfer.stage.is_answered());
                let is_head = transfer.is_some_and(|transfer| transfer.exchange.is_head);
                self.release(index);
                (0, is_answered, is_head)
            }
        };
        Place::Closed.store(conn);
        let exchange = Exchange { requests, is_head, after: After::Close };
        if is_answered || !self.answer(conn, Reply::of(Status::RequestTimeout), exchange, None) {
            self.counters.aborted += 1;
            conn.abort();
        }
        conn.close_for(CloseReason::TooSlow);
    }
}
