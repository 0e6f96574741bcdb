//! What is remembered of a connection.

use crate::service::ServiceState;
use crate::time::Instant;

/// What is later than this was not late but early, as the clock of [`Client::due_us`] wraps: by up to 71
/// minutes less that.
const LATE_MAX_US: u32 = 600_000_000;

/// What the client knows of a connection, in the eight bytes of its record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Client {
    /// When the connection was to be opened, then when it was open, and later when the newest heartbeat was
    /// due, in microseconds modulo 2^32.
    pub(super) due_us: u32,
    /// How many bytes of the answer have come.
    pub(super) matched: u8,
    /// Whether an answer is awaited.
    pub(super) awaiting: bool,
    /// Whether the connection was established.
    pub(super) open: bool,
    /// Whether this side was told to close it.
    pub(super) closing: bool,
    /// Whether a line is coming that was pushed.
    pub(super) pushed: bool,
    /// Whether the server has said that it closes.
    pub(super) parted: bool,
    /// Whether a heartbeat was ever answered.
    pub(super) proved: bool,
    /// Whether it has asked for its subscription.
    pub(super) subscribing: bool,
    /// Heartbeats missed in a row.
    pub(super) missed: u8,
}

impl Client {
    const AWAITING: u8 = 1;
    const OPEN: u8 = 2;
    const CLOSING: u8 = 4;
    const PUSHED: u8 = 8;
    const PROVED: u8 = 16;
    const PARTED: u8 = 32;
    const SUBSCRIBING: u8 = 64;

    /// A connection that is to be opened at `due`.
    pub(super) fn opening(due: Instant) -> Client {
        Client { due_us: low_micros(due), ..Client::default() }
    }

    /// Reads what stands in a record.
    pub(super) fn load(state: ServiceState) -> Client {
        let [a, b, c, d, matched, flags, missed, _] = state;
        let has = |flag: u8| flags & flag != 0;
        Client {
            due_us: u32::from_le_bytes([a, b, c, d]),
            matched,
            awaiting: has(Client::AWAITING),
            open: has(Client::OPEN),
            closing: has(Client::CLOSING),
            pushed: has(Client::PUSHED),
            parted: has(Client::PARTED),
            subscribing: has(Client::SUBSCRIBING),
            proved: has(Client::PROVED),
            missed,
        }
    }

    /// What is to stand in the record.
    pub(super) fn store(self) -> ServiceState {
        let [a, b, c, d] = self.due_us.to_le_bytes();
        let flag = |is: bool, flag: u8| if is { flag } else { 0 };
        let flags = flag(self.awaiting, Client::AWAITING)
            | flag(self.open, Client::OPEN)
            | flag(self.closing, Client::CLOSING)
            | flag(self.pushed, Client::PUSHED)
            | flag(self.proved, Client::PROVED)
            | flag(self.parted, Client::PARTED)
            | flag(self.subscribing, Client::SUBSCRIBING);
        [a, b, c, d, self.matched, flags, self.missed, 0]
    }

    /// It is open since `now`.
    pub(super) fn open_at(&mut self, now: Instant) {
        (self.open, self.due_us) = (true, low_micros(now));
    }

    /// Whether heartbeats go over it.
    pub(super) fn is_held(self) -> bool {
        self.open && !self.closing && !self.parted
    }

    /// Whether a heartbeat can be sent on it, or it can be closed without losing an answer.
    pub(super) fn is_idle(self) -> bool {
        self.is_held() && !self.awaiting
    }

    /// Whether a heartbeat due at `due` was due before the connection was open, and it is less than ten
    /// minutes late: nobody owes what was due before.
    pub(super) fn opened_after(self, due: Instant) -> bool {
        (1..LATE_MAX_US).contains(&self.due_us.wrapping_sub(low_micros(due)))
    }

    /// Microseconds from when it was due until `now`.
    pub(super) fn latency_us(self, now: Instant) -> u64 {
        u64::from(low_micros(now).wrapping_sub(self.due_us)).max(1)
    }
}

/// The low 32 bits of the microseconds of `at`: differences hold up to 71 minutes.
#[expect(clippy::cast_possible_truncation, reason = "modulo 2^32 by design")]
pub(super) fn low_micros(at: Instant) -> u32 {
    at.micros() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;

    #[test]
    fn a_record_keeps_what_is_known_of_its_connection() {
        let client = Client::opening(Instant::from_millis(5_000_000));
        assert_eq!(Client::load(client.store()), client);
        for flags in 0..128 {
            let has = |bit: u8| flags & bit != 0;
            let client = Client {
                due_us: u32::MAX,
                matched: 15,
                awaiting: has(1),
                open: has(2),
                closing: has(4),
                pushed: has(8),
                proved: has(16),
                parted: has(32),
                subscribing: has(64),
                missed: flags,
            };
            assert_eq!(Client::load(client.store()), client);
            assert_eq!(client.is_idle(), flags & 39 == 2);
        }
    }

    #[test]
    fn what_was_due_before_it_was_open_is_not_owed() {
        // Around the wrap of the clock, too.
        for opened in [Instant::from_millis(5_000_000), Instant::from_nanos((1 << 32) * 1_000)] {
            let mut client = Client::default();
            client.open_at(opened);
            let before =
                |seconds: u64| Instant::from_nanos(opened.nanos() - seconds * 1_000_000_000);
            assert!(client.open && [1, 60, 599].iter().all(|by| client.opened_after(before(*by))));
            let after = [0, 1, 60, 3_600].map(Duration::from_secs);
            assert!(after.iter().all(|by| !client.opened_after(opened + *by)));
        }
    }

    #[test]
    fn latency_outlives_the_wrap_of_its_clock() {
        let due = Instant::from_nanos((u64::from(u32::MAX) - 10) * 1_000);
        let client = Client::opening(due);
        assert_eq!(client.latency_us(due + Duration::from_micros(30)), 30);
        assert_eq!(client.latency_us(due), 1, "the least that is told apart");
    }
}
