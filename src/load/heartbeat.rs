//! The client's side of the `line` service: checks every answer byte for byte.

use crate::conn::slab::ConnId;
use crate::service::line::PONG;
use crate::service::{Context, Service, ServiceState};
use crate::tcp::CloseReason;
use crate::time::Instant;
use hdrhistogram::Histogram;

/// Latencies up to a minute are told apart, to three digits.
const LATENCY_MAX_US: u64 = 60_000_000;

/// Counts what happens to the connections, and how long answers take.
#[derive(Debug)]
pub struct Heartbeat {
    /// Connections that were established.
    pub opened: u64,
    /// Connections that were not established when they ended.
    pub failed: u64,
    /// Connections that ended after they were established.
    pub ended: u64,
    /// Heartbeats that were sent and neither answered nor given up.
    pub awaited: u64,
    /// Heartbeats answered, rightly.
    pub answered: u64,
    /// Answers that were not `PONG`, and data that nobody asked for.
    pub wrong: u64,
    /// Microseconds from when a heartbeat was due to its answer.
    pub latency: Histogram<u64>,
}

impl Default for Heartbeat {
    fn default() -> Heartbeat {
        let latency = Histogram::new_with_bounds(1, LATENCY_MAX_US, 3);
        Heartbeat {
            opened: 0,
            failed: 0,
            ended: 0,
            awaited: 0,
            answered: 0,
            wrong: 0,
            latency: latency.expect("the bounds and the number of digits are valid"),
        }
    }
}

/// What the client knows of a connection, in the eight bytes of its record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Client {
    /// When the heartbeat was due, in microseconds modulo 2^32.
    due_us: u32,
    /// How many bytes of the answer have come.
    matched: u8,
    /// Whether an answer is awaited.
    awaiting: bool,
    /// Whether the connection was established.
    open: bool,
}

impl Client {
    fn load(state: ServiceState) -> Client {
        let [a, b, c, d, matched, awaiting, open, _] = state;
        let due_us = u32::from_le_bytes([a, b, c, d]);
        Client { due_us, matched, awaiting: awaiting != 0, open: open != 0 }
    }

    fn store(self) -> ServiceState {
        let [a, b, c, d] = self.due_us.to_le_bytes();
        [a, b, c, d, self.matched, u8::from(self.awaiting), u8::from(self.open), 0]
    }
}

/// The low 32 bits of the microseconds of `at`: differences hold up to 71 minutes.
#[expect(clippy::cast_possible_truncation, reason = "modulo 2^32 by design")]
fn low_micros(at: Instant) -> u32 {
    at.micros() as u32
}

impl Heartbeat {
    /// Notes that a heartbeat which was due at `due` was sent on the connection with `state`, and
    /// returns its new state.
    pub(super) fn expect_answer(&mut self, state: ServiceState, due: Instant) -> ServiceState {
        self.awaited += 1;
        let client = Client::load(state);
        Client { due_us: low_micros(due), matched: 0, awaiting: true, ..client }.store()
    }

    /// The answer to a heartbeat has come, or never will.
    fn settle(&mut self, client: &mut Client) {
        self.awaited -= u64::from(client.awaiting);
        client.awaiting = false;
    }
}

/// Whether the connection was established and awaits no answer.
pub(super) fn is_idle(state: &ServiceState) -> bool {
    let client = Client::load(*state);
    client.open && !client.awaiting
}

impl Service for Heartbeat {
    fn on_open(&mut self, conn: &mut Context<'_>) {
        self.opened += 1;
        *conn.state() = Client { open: true, ..Client::default() }.store();
    }

    fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
        let mut client = Client::load(*conn.state());
        for &byte in bytes {
            if !client.awaiting || byte != PONG[usize::from(client.matched)] {
                self.wrong += 1;
                self.settle(&mut client);
                break;
            }
            client.matched += 1;
            if usize::from(client.matched) == PONG.len() {
                self.settle(&mut client);
                self.answered += 1;
                let micros = low_micros(conn.now()).wrapping_sub(client.due_us);
                self.latency.saturating_record(u64::from(micros).max(1));
            }
        }
        *conn.state() = client.store();
        bytes.len()
    }

    fn on_close(&mut self, _: ConnId, _: u8, state: ServiceState, _: CloseReason) {
        let mut client = Client::load(state);
        self.settle(&mut client);
        match client.open {
            true => self.ended += 1,
            false => self.failed += 1,
        }
    }
}
