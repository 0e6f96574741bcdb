//! What is known of a connection, in the eight bytes of its record.

use crate::service::{Context, ServiceState};
use crate::time::Tick;

/// Where a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Between requests, of which there were so many, since this tick.
    Idle { requests: u16, since: Tick },
    /// Some of a request's head has come, the first of it in this tick.
    Reading { requests: u16, since: Tick },
    /// There is a transfer, with this number.
    Busy(u32),
    /// The last answer was sent.
    Closed,
}

impl Place {
    pub(super) fn load(conn: &mut Context<'_>) -> Place {
        Place::of(*conn.state())
    }

    pub(super) fn of(state: ServiceState) -> Place {
        let [kind, _, a, b, number @ ..] = state;
        let (requests, number) = (u16::from_ne_bytes([a, b]), u32::from_ne_bytes(number));
        match kind {
            0 => Place::Idle { requests, since: Tick(number) },
            1 => Place::Reading { requests, since: Tick(number) },
            2 => Place::Busy(number),
            _ => Place::Closed,
        }
    }

    pub(super) fn store(self, conn: &mut Context<'_>) {
        *conn.state() = self.state();
    }

    pub(super) fn state(self) -> ServiceState {
        let (kind, requests, number) = match self {
            Place::Idle { requests, since } => (0, requests, since.0),
            Place::Reading { requests, since } => (1, requests, since.0),
            Place::Busy(index) => (2, 0, index),
            Place::Closed => (3, 0, 0),
        };
        let ([a, b], [c, d, e, f]) = (requests.to_ne_bytes(), number.to_ne_bytes());
        [kind, 0, a, b, c, d, e, f]
    }

    /// How many requests there were, where that is known here.
    pub(super) fn requests(self) -> u16 {
        match self {
            Place::Idle { requests, .. } | Place::Reading { requests, .. } => requests,
            Place::Busy(_) | Place::Closed => 0,
        }
    }

    /// Whether nothing is underway.
    pub(super) fn is_idle(self) -> bool {
        matches!(self, Place::Idle { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_keeps_where_its_connection_is() {
        let since = Tick(0xfedc_ba98);
        for place in [
            Place::Idle { requests: 0, since: Tick(0) },
            Place::Idle { requests: u16::MAX, since },
            Place::Reading { requests: 0x1234, since },
            Place::Busy(0x0123_4567),
            Place::Closed,
        ] {
            assert_eq!(Place::of(place.state()), place);
        }
        assert!(Place::of(ServiceState::default()).is_idle(), "as it is when it opens");
    }
}
