//! Flights: data sent and not yet acknowledged, with its retransmission timer.
//!
//! A connection has at most one flight, and holds it only until everything in it is acknowledged. A
//! flight is a run of sequence numbers that starts at SND.UNA: up to [`FLIGHT_LEN_MAX`] bytes of
//! payload, then perhaps the FIN. The payload is the flight's own, or one that many send and that is kept
//! once ([`super::payload`]); it is copied when something is added to it. Its timer is in a wheel of the flights' own, so that an answered
//! heartbeat never moves the connection's.
//!
//! Flights that stall stand in line to give way when all are in use: see [`Flights::stall`].

use super::payload::{Payload, Payloads};
use super::record::NONE;
use super::wheel::{Links, Timers};
use crate::memory::prefetch::prefetch;
use crate::time::Tick;

/// The most payload that a flight holds, in bytes: two full segments on Ethernet over IPv4.
pub const FLIGHT_LEN_MAX: u16 = 2 * 1460;

const STRIDE: usize = FLIGHT_LEN_MAX as usize;

/// The most payload that is kept in the flight itself, in bytes: a heartbeat's.
const SHORT_LEN_MAX: usize = 16;

/// A flight, without its payload unless that is short: one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub struct Flight {
    /// The slot of the connection.
    pub conn: u32,
    /// The length of the payload, in bytes.
    pub len: u16,
    /// Whether the FIN follows the payload.
    pub fin: bool,
    /// How often the flight was sent again since the last progress: see [`Flights::repeat`].
    retries: u8,
    /// When its first byte was sent, or the last progress was made.
    pub since: Tick,
    /// When it is sent again.
    pub deadline: Tick,
    /// Whether the service waits for it to be acknowledged, to send more.
    pub wants_room: bool,
    links: Links,
    /// Where the bytes are, if they are not its own, and from which one on.
    shared: Option<Payload>,
    start: u16,
    /// Whether it has stalled, and then the flights before and after it in line, or [`NONE`].
    is_stalled: bool,
    older: u32,
    newer: u32,
    /// The payload, as long as it is in here.
    short: [u8; SHORT_LEN_MAX],
    is_short: bool,
}

const _: () = assert!(size_of::<Flight>() == 64);

/// A fixed number of flights.
pub struct Flights {
    entries: Vec<Flight>,
    payloads: Vec<u8>,
    free: Vec<u32>,
    capacity: u32,
    /// The ends of the line of stalled flights, or [`NONE`], and its length.
    oldest: u32,
    newest: u32,
    stalled: u32,
    /// Flights that were sent again since their last progress.
    overdue: u32,
}

impl Flight {
    /// How often the flight was sent again since the last progress.
    pub fn retries(&self) -> u8 {
        self.retries
    }
}

impl Flights {
    /// The memory of one flight, in bytes.
    pub const BYTES_EACH: usize = STRIDE + size_of::<Flight>() + size_of::<u32>();

    /// Room for `capacity` flights; their payloads' memory is touched as it is used.
    pub fn new(capacity: u32) -> Flights {
        Flights {
            entries: Vec::with_capacity(capacity as usize),
            payloads: vec![0; capacity as usize * STRIDE],
            free: Vec::with_capacity(capacity as usize),
            capacity,
            oldest: NONE,
            newest: NONE,
            stalled: 0,
            overdue: 0,
        }
    }

    /// How many flights there can be.
    pub fn capacity(&self) -> usize {
        self.capacity as usize
    }

    /// Whether every flight is in use.
    pub fn is_full(&self) -> bool {
        self.free.is_empty() && self.entries.len() == self.capacity as usize
    }

    /// How many flights are in use.
    pub fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Whether no flight is in use.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes a flight for the connection in slot `conn` that is sent at `since`, and again at `deadline`;
    /// or `None` when all are in use. Its payload is the first `len` bytes of `room`.
    #[inline]
    pub fn begin(
        &mut self,
        conn: u32,
        room: &[u8],
        len: usize,
        (since, deadline): (Tick, Tick),
    ) -> Option<u32> {
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.entries.len() == self.capacity as usize => return None,
            None => u32::try_from(self.entries.len()).ok()?,
        };
        // Of a length that is known beforehand, it is copied at once; what is behind it does not matter.
        let short = room.first_chunk().filter(|_| len <= SHORT_LEN_MAX);
        let flight = Flight {
            conn,
            len: short.and_then(|_| u16::try_from(len).ok()).unwrap_or(0),
            fin: false,
            retries: 0,
            since,
            deadline,
            wants_room: false,
            links: Links::UNLINKED,
            shared: None,
            start: 0,
            is_stalled: false,
            older: NONE,
            newer: NONE,
            short: short.copied().unwrap_or_default(),
            is_short: true,
        };
        match self.entries.get_mut(index as usize) {
            Some(entry) => *entry = flight,
            None => self.entries.push(flight),
        }
        if short.is_none() {
            self.extend(index, &room[..len]);
        }
        Some(index)
    }

    /// Gives flight `index` back. It must be out of the wheel.
    pub fn remove(&mut self, index: u32, payloads: &mut Payloads) {
        let flight = &mut self.entries[index as usize];
        debug_assert!(!flight.links.is_linked());
        self.overdue -= u32::from(flight.retries > 0);
        if let Some(payload) = flight.shared.take() {
            payloads.release(payload);
        }
        if flight.is_stalled {
            self.leave_line(index);
        }
        self.free.push(index);
    }

    /// Notes that flight `index` is sent again, and returns how often it was since the last progress.
    pub fn repeat(&mut self, index: u32) -> u8 {
        let flight = &mut self.entries[index as usize];
        self.overdue += u32::from(flight.retries == 0);
        flight.retries = flight.retries.saturating_add(1);
        flight.retries
    }

    /// How many flights wait for an acknowledgment that is not overdue yet: none of them was sent again
    /// since its last progress.
    pub fn underway(&self) -> usize {
        self.len() - self.overdue as usize
    }

    fn forget_retries(&mut self, index: u32) {
        let retries = core::mem::take(&mut self.entries[index as usize].retries);
        self.overdue -= u32::from(retries > 0);
    }

    /// Notes that flight `index` makes no progress. Until it does, it stands in line, behind those
    /// that stalled before. It keeps its bytes itself from now on: who never acknowledges must not take
    /// the memory of those who have something to send.
    pub fn stall(&mut self, index: u32, payloads: &mut Payloads) {
        self.unshare(index, payloads);
        if !core::mem::replace(&mut self.entries[index as usize].is_stalled, true) {
            self.stalled += 1;
            self.join(self.newest, index);
            self.join(index, NONE);
        }
    }

    /// The flight that stalled first, if any has.
    pub fn longest_stalled(&self) -> Option<u32> {
        (self.oldest != NONE).then_some(self.oldest)
    }

    /// How many flights have stalled.
    pub fn stalled(&self) -> usize {
        self.stalled as usize
    }

    /// The stalled flights in line, for tests.
    #[cfg(test)]
    pub(crate) fn line(&self) -> Vec<u32> {
        let flight = |index: u32| (index != NONE).then_some(index);
        let next = |index: &u32| flight(self.entries[*index as usize].newer);
        core::iter::successors(flight(self.oldest), next).collect()
    }

    fn leave_line(&mut self, index: u32) {
        let Flight { older, newer, .. } = self.entries[index as usize];
        if core::mem::replace(&mut self.entries[index as usize].is_stalled, false) {
            self.stalled -= 1;
            self.join(older, newer);
        }
    }

    /// Has `newer` come next after `older` in line; [`NONE`] is either end.
    fn join(&mut self, older: u32, newer: u32) {
        match older {
            NONE => self.oldest = newer,
            _ => self.entries[older as usize].newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            _ => self.entries[newer as usize].older = older,
        }
    }

    /// Has flight `index`, which is empty, send `payload`, which is referred to once more until it is
    /// acknowledged.
    ///
    /// # Panics
    ///
    /// When it is longer than a flight may be, or the flight is not empty: that is a bug.
    pub fn share(&mut self, index: u32, payload: Payload, payloads: &mut Payloads) {
        let len = payloads.bytes(payload).len();
        let flight = &mut self.entries[index as usize];
        assert!(flight.len == 0 && flight.shared.is_none() && len <= STRIDE, "a fresh flight");
        flight.len = u16::try_from(len).unwrap_or(FLIGHT_LEN_MAX);
        (flight.shared, flight.start) = (Some(payload), 0);
        payloads.retain(payload);
    }

    /// Has flight `index` keep its bytes itself.
    fn unshare(&mut self, index: u32, payloads: &mut Payloads) {
        let flight = &mut self.entries[index as usize];
        let Some(payload) = flight.shared.take() else { return };
        let (from, len) = (usize::from(flight.start), usize::from(flight.len));
        (flight.len, flight.is_short) = (0, true);
        self.extend(index, &payloads.bytes(payload)[from..from + len]);
        payloads.release(payload);
    }

    /// Appends to the payload of flight `index`.
    ///
    /// # Panics
    ///
    /// When there is no room for it, or the FIN was already added: that is a bug.
    pub fn append(&mut self, index: u32, bytes: &[u8], payloads: &mut Payloads) {
        assert!(!self.entries[index as usize].fin, "nothing follows a FIN");
        if !bytes.is_empty() {
            self.unshare(index, payloads);
            self.extend(index, bytes);
        }
    }

    /// Appends to the bytes of flight `index`, which are its own.
    fn extend(&mut self, index: u32, bytes: &[u8]) {
        let flight = &mut self.entries[index as usize];
        let (from, to) = (usize::from(flight.len), usize::from(flight.len) + bytes.len());
        let start = index as usize * STRIDE;
        let long = &mut self.payloads[start..start + STRIDE];
        if flight.is_short && to > SHORT_LEN_MAX {
            long[..from].copy_from_slice(&flight.short[..from]);
            flight.is_short = false;
        }
        let room = if flight.is_short { &mut flight.short[..] } else { long };
        room[from..to].copy_from_slice(bytes);
        flight.len = u16::try_from(to).unwrap_or(u16::MAX);
    }

    /// Removes the first `acked` bytes of the payload of flight `index`, at most all of it: that is
    /// progress, so its count of retries starts anew.
    pub fn acknowledge(&mut self, index: u32, acked: usize) {
        let flight = &mut self.entries[index as usize];
        let len = usize::from(flight.len);
        let acked = acked.min(len);
        let start = index as usize * STRIDE;
        if flight.shared.is_some() {
            flight.start += u16::try_from(acked).unwrap_or(0);
        } else if flight.is_short {
            flight.short.copy_within(acked..len, 0);
        } else {
            self.payloads[start..start + len].copy_within(acked.., 0);
        }
        flight.len = u16::try_from(len - acked).unwrap_or(0);
        self.forget_retries(index);
        self.leave_line(index);
    }

    /// The payload of flight `index`.
    pub fn payload<'a>(&'a self, index: u32, payloads: &'a Payloads) -> &'a [u8] {
        let flight = &self.entries[index as usize];
        let len = usize::from(flight.len);
        let (bytes, start) = match flight.shared {
            Some(payload) => (payloads.bytes(payload), usize::from(flight.start)),
            None if flight.is_short => (&flight.short[..], 0),
            None => (&self.payloads[..], index as usize * STRIDE),
        };
        &bytes[start..start + len]
    }

    /// The payload that flight `index` shares, for tests.
    #[cfg(test)]
    pub(crate) fn shared(&self, index: u32) -> Option<Payload> {
        self.entries[index as usize].shared
    }

    /// How many sequence numbers flight `index` takes: its payload and its FIN; 0 for [`NONE`].
    pub fn sequence_len(&self, index: u32) -> u32 {
        if index == NONE {
            return 0;
        }
        let flight = &self.entries[index as usize];
        u32::from(flight.len) + u32::from(flight.fin)
    }
}

impl core::ops::Index<u32> for Flights {
    type Output = Flight;

    fn index(&self, index: u32) -> &Flight {
        &self.entries[index as usize]
    }
}

impl core::ops::IndexMut<u32> for Flights {
    fn index_mut(&mut self, index: u32) -> &mut Flight {
        &mut self.entries[index as usize]
    }
}

impl Timers for Flights {
    fn links(&mut self, index: u32) -> &mut Links {
        &mut self.entries[index as usize].links
    }

    fn deadline(&self, index: u32) -> Option<Tick> {
        Some(self.entries[index as usize].deadline)
    }

    fn prefetch(&self, index: u32) {
        prefetch(&self.entries[index as usize]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn begin(flights: &mut Flights, conn: u32) -> Option<u32> {
        flights.begin(conn, &[], 0, (Tick(0), Tick(0)))
    }

    proptest! {
        /// Wherever it is kept: in the flight, beside it, or once for many.
        #[test]
        fn a_payload_is_what_was_added_and_not_acknowledged(
            first in proptest::collection::vec(any::<u8>(), 0..40),
            room in 0..40usize,
            shared in any::<bool>(),
            steps in proptest::collection::vec(
                (proptest::collection::vec(any::<u8>(), 0..30), 0..30usize), 0..8),
        ) {
            let mut flights = Flights::new(2);
            let payloads = &mut Payloads::new(1).unwrap();
            begin(&mut flights, 0);
            let mut model = first.clone();
            let flight = if shared {
                let flight = begin(&mut flights, 1).unwrap();
                let payload = payloads.insert(&first).unwrap();
                flights.share(flight, payload, payloads);
                payloads.release(payload);
                flight
            } else {
                let scratch = [first.clone(), vec![0xee; room]].concat();
                flights.begin(1, &scratch, first.len(), (Tick(0), Tick(0))).unwrap()
            };
            prop_assert_eq!(flights.payload(flight, payloads), &model);
            for (added, acked) in steps {
                flights.append(flight, &added, payloads);
                model.extend(added);
                flights.acknowledge(flight, acked);
                model.drain(..acked.min(model.len()));
                prop_assert_eq!(flights.payload(flight, payloads), &model);
            }
            flights.remove(flight, payloads);
            prop_assert!(payloads.is_empty());
        }
    }

    #[test]
    fn acknowledged_bytes_leave_from_the_front() {
        let mut flights = Flights::new(2);
        let payloads = &mut Payloads::new(1).unwrap();
        let (a, b) = (begin(&mut flights, 7).unwrap(), begin(&mut flights, 8).unwrap());
        assert!(flights.is_full() && begin(&mut flights, 9).is_none());
        flights.append(a, b"hello ", payloads);
        flights.append(a, b"world", payloads);
        flights.append(b, &[1; STRIDE], payloads);
        flights.acknowledge(a, 6);
        assert_eq!((flights.payload(a, payloads), flights.sequence_len(a)), (&b"world"[..], 5));
        flights[a].fin = true;
        flights.acknowledge(a, 6);
        assert_eq!((flights.payload(a, payloads), flights.sequence_len(a)), (&b""[..], 1));
        assert_eq!(flights.payload(b, payloads), [1; STRIDE]);
        flights.remove(a, payloads);
        assert_eq!(flights.len(), 1);
    }

    #[test]
    fn a_shared_payload_is_kept_once_until_it_is_acknowledged_changed_or_stalled() {
        let mut flights = Flights::new(4);
        let payloads = &mut Payloads::new(1).unwrap();
        let payload = payloads.insert(b"to all").unwrap();
        let all: Vec<u32> = (0..4).map(|conn| begin(&mut flights, conn).unwrap()).collect();
        all.iter().for_each(|&flight| flights.share(flight, payload, payloads));
        payloads.release(payload);
        assert_eq!((payloads.refs(payload), payloads.len()), (4, 1));
        flights.acknowledge(all[0], 3);
        assert_eq!(flights.payload(all[0], payloads), b"all");
        flights.acknowledge(all[0], 3);
        assert_eq!(flights.payload(all[0], payloads), b"");
        flights.remove(all[0], payloads);
        flights.acknowledge(all[1], 3);
        flights.append(all[1], b", and one", payloads);
        assert_eq!(flights.payload(all[1], payloads), b"all, and one");
        flights.acknowledge(all[2], 1);
        flights.stall(all[2], payloads);
        assert_eq!((flights.payload(all[2], payloads), payloads.refs(payload)), (&b"o all"[..], 1));
        flights.acknowledge(all[2], 2);
        assert_eq!(flights.payload(all[2], payloads), b"all", "it is its own");
        assert_eq!(flights.payload(all[3], payloads), b"to all");
        flights.append(all[3], b"", payloads);
        assert_eq!(flights.shared(all[3]), Some(payload), "nothing was added");
        flights.remove(all[3], payloads);
        assert!(payloads.is_empty());
    }

    #[test]
    fn stalled_flights_stand_in_line_until_they_make_progress() {
        let mut flights = Flights::new(5);
        let payloads = &mut Payloads::new(0).unwrap();
        let all: Vec<u32> = (0..5).map(|conn| begin(&mut flights, conn).unwrap()).collect();
        assert_eq!(flights.longest_stalled(), None);
        for at in [3, 1, 4, 0, 1, 3] {
            flights.stall(all[at], payloads);
        }
        // From the middle, from the end and from the front.
        flights.append(all[4], b"ab", payloads);
        flights.acknowledge(all[4], 1);
        flights.remove(all[0], payloads);
        assert_eq!(flights.longest_stalled(), Some(all[3]), "to stall twice changes nothing");
        flights.remove(all[3], payloads);
        assert_eq!(flights.longest_stalled(), Some(all[1]));
        flights.stall(all[4], payloads);
        flights.acknowledge(all[1], 0);
        assert_eq!(flights.longest_stalled(), Some(all[4]), "it is in line again, behind");
        flights.remove(all[4], payloads);
        assert_eq!((flights.repeat(all[1]), flights.repeat(all[1]), flights.underway()), (1, 2, 1));
        flights.acknowledge(all[1], 0);
        assert_eq!((flights.repeat(all[1]), flights.underway(), flights.len()), (1, 1, 2));
        flights.remove(all[1], payloads);
        assert_eq!((flights.underway(), flights.len()), (1, 1));
        let fresh = begin(&mut flights, 9).unwrap();
        assert_eq!(flights.longest_stalled(), None, "nobody is left, in whatever place");
        flights.stall(fresh, payloads);
        assert_eq!(flights.longest_stalled(), Some(fresh));
    }
}
