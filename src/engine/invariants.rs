//! What holds between any two calls of an engine, looked at by every test that runs one.

use super::Engine;
use crate::conn::record::{CLOSE_DUE, NONE, State};
use crate::service::Service;
use crate::tcp::timing::{R1, rto};
use crate::time::{Instant, Tick};

impl<S: Service> Engine<S> {
    /// Fails unless every table agrees with every other, and every timer with its record.
    pub(crate) fn check(&self, now: Instant) {
        let engine = self;
        let next = self.next_timer(now);
        let mut half_open = 0;
        let mut promoted = 0;
        let (mut live, mut writable, mut timed, mut flights) = (0, 0, 0, 0);
        let line = engine.flights.line();
        let (mut stalled, mut overdue, mut wakes, mut waiting) = (0, 0, 0, 0);
        for slot in 0..engine.table.slab.touched() {
            let conn = &engine.table.slab[slot];
            if conn.state == State::Free {
                assert!(!conn.links.is_linked() && conn.flight == NONE, "free: {conn:?}");
                assert!(engine.table.wakes.get(slot).is_none() && !engine.table.waiting.has(slot));
                continue;
            }
            live += 1;
            writable += u64::from(conn.state.can_send());
            half_open += u64::from(conn.state == State::SynReceived);
            timed += usize::from(conn.links.is_linked());
            let flow = engine.table.flow(slot);
            let hash = engine.table.hash(&flow);
            assert_eq!(engine.table.find(&flow, hash), Some(slot), "the index finds {conn:?}");
            let needs_timer = matches!(
                conn.state,
                State::SynSent | State::SynReceived | State::FinWait2 | State::TimeWait
            ) || conn.has(CLOSE_DUE);
            assert!(!needs_timer || conn.links.is_linked(), "{conn:?} has a timer");
            if conn.links.is_linked()
                && !engine.table.waiting.has(slot)
                && let Some(deadline) = engine.deadline_of(slot)
            {
                check_looked_at(next, deadline, now);
            }
            let (wake, is_waiting) = (engine.table.wakes.get(slot), engine.table.waiting.has(slot));
            wakes += u32::from(wake.is_some());
            waiting += u32::from(is_waiting);
            if wake.is_some() || is_waiting {
                assert!(conn.state.can_send() && !conn.has(CLOSE_DUE), "who closes waits no more");
                assert!(conn.links.is_linked(), "{conn:?} has a timer for that");
                check_looked_at(next, wake.unwrap_or(Tick::of(now).after(rto(u8::MAX))), now);
            }
            let needs_flight =
                matches!(conn.state, State::FinWait1 | State::Closing | State::LastAck);
            assert!(!needs_flight || conn.flight != NONE, "{conn:?} has its FIN in flight");
            if let Some(index) = conn.promoted() {
                promoted += 1;
                self.check_promoted(slot, index, next, now);
            } else if conn.flight != NONE {
                flights += 1;
                let flight = &engine.flights[conn.flight];
                assert_eq!(flight.conn, slot, "a flight belongs to one connection");
                assert!(engine.flights.sequence_len(conn.flight) > 0, "a flight holds something");
                assert_eq!(flight.fin, needs_flight, "a FIN is in flight where the state says so");
                assert_eq!(
                    line.contains(&conn.flight),
                    flight.retries() >= R1,
                    "who stalled is in line"
                );
                overdue += usize::from(flight.retries() > 0);
                stalled += usize::from(flight.retries() >= R1);
                check_looked_at(next, flight.deadline, now);
            }
        }
        assert_eq!(live, engine.table.slab.len(), "records");
        assert_eq!((timed, flights), (engine.wheel.len(), engine.flights.len()), "timers, flights");
        assert_eq!(engine.flight_wheel.len(), flights, "every flight has a timer");
        assert_eq!(line.len(), stalled, "nobody else is in line");
        let counted = (engine.flights.stalled(), engine.flights.underway());
        assert_eq!(counted, (stalled, flights - overdue), "they are counted");
        assert_eq!(engine.payloads_in_use(), engine.outbox.payloads.len(), "payloads");
        let waits = (engine.table.wakes.len(), engine.table.waiting.len());
        assert_eq!((wakes, waiting), waits, "nobody else waits");
        let counters = engine.counters();
        assert_eq!((counters.connections, counters.established), (u64::from(live), writable));
        assert_eq!(counters.half_open, half_open, "half-open");
        assert_eq!(counters.promoted, promoted, "promoted");
        assert_eq!(engine.promoted.len() as u64, promoted, "every place belongs to a connection");
        if let Some(due) = next {
            assert!(Tick::of(due).0.wrapping_sub(Tick::of(now).0) < 1 << 31 || due <= now);
        }
    }

    /// Fails unless every table is empty.
    pub(crate) fn check_empty(&self) {
        assert_eq!((self.table.slab.len(), self.table.paths.len()), (0, 0), "records, paths");
        assert_eq!((self.flights.len(), self.promoted.len()), (0, 0), "flights, promoted");
        let timers =
            [&self.wheel, &self.flight_wheel, &self.promoted_wheel].map(|wheel| wheel.len());
        assert_eq!(timers, [0; 3], "timers");
        assert!(self.outbox.is_empty() && self.outbox.payloads.is_empty(), "nothing is to be sent");
    }

    /// How many payloads somebody refers to, each as often as it knows.
    fn payloads_in_use(&self) -> usize {
        let slots = 0..self.table.slab.touched();
        let flights = slots.map(|slot| &self.table.slab[slot]).filter(|conn| {
            conn.state != State::Free && conn.flight != NONE && conn.promoted().is_none()
        });
        let shared = flights.filter_map(|conn| self.flights.shared(conn.flight));
        let mut referred: Vec<_> = self.outbox.payloads_referred_to().chain(shared).collect();
        referred.sort_unstable();
        let each = referred.chunk_by(|a, b| a == b);
        each.map(|refs| assert_eq!(self.outbox.payloads.refs(refs[0]) as usize, refs.len())).count()
    }

    /// A promoted connection and its record agree.
    fn check_promoted(&self, slot: u32, index: u32, next: Option<Instant>, now: Instant) {
        let (conn, entry) = (&self.table.slab[slot], &self.promoted[index]);
        assert_eq!((entry.conn, entry.is_due), (slot, false), "a place belongs to one connection");
        let promoted = &entry.promoted;
        assert_eq!((promoted.snd_una(), promoted.rcv_nxt()), (conn.snd_una, conn.rcv_nxt));
        let state = promoted.state();
        let half_read = conn.state == State::Established && state == Some(State::CloseWait);
        assert!(state == Some(conn.state) || half_read, "{state:?} for {conn:?}");
        if promoted.is_outstanding() || entry.wants_room {
            check_looked_at(next, entry.deadline, now);
        }
    }
}

/// The timers are looked at by `deadline`, or at once if that has passed.
fn check_looked_at(next: Option<Instant>, deadline: Tick, now: Instant) {
    let next = next.expect("a timer runs");
    let deadline = deadline.start(now).max(now);
    assert!(next <= deadline, "a timer is looked at in time: {next:?}, due {deadline:?}");
}
