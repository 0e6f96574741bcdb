//! Services that wait for room to send more.

use super::*;
use crate::conn::record::State;
use crate::engine::config::Config;
use crate::service::{Context, Service, ServiceState};
use crate::tcp::CloseReason;
use crate::tcp::timing::DATA_TIMEOUT;
use crate::time::Duration;

const SERVER: &str = "10.77.0.1:7";

/// Sends its message to everyone who says anything, and then closes.
struct Sender {
    message: Vec<u8>,
    /// How much is sent in one call at most.
    piece: usize,
    /// Whether it closes behind the message.
    closes: bool,
    /// How often it was offered room.
    offers: usize,
    ended: Vec<CloseReason>,
}

impl Sender {
    fn new(len: usize) -> Sender {
        let message = (0..len).map(|at| (at * 31 + at / 251) as u8).collect();
        Sender { message, piece: usize::MAX, closes: true, offers: 0, ended: Vec::new() }
    }

    fn go_on(&mut self, conn: &mut Context<'_>) {
        let sent = u64::from_le_bytes(*conn.state()) as usize;
        let len = (self.message.len() - sent).min(self.piece);
        let sent = sent + conn.send(&self.message[sent..sent + len]);
        *conn.state() = (sent as u64).to_le_bytes();
        match sent < self.message.len() {
            true => conn.want_room(),
            false if self.closes => conn.close(),
            false => {}
        }
    }
}

impl Service for Sender {
    fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
        if *conn.state() == ServiceState::default() {
            self.go_on(conn);
        }
        bytes.len()
    }

    fn on_room(&mut self, conn: &mut Context<'_>) {
        self.offers += 1;
        self.go_on(conn);
    }

    fn on_peer_close(&mut self, _: &mut Context<'_>) {}

    fn on_close(&mut self, _: ConnId, _: u8, _: ServiceState, reason: CloseReason) {
        self.ended.push(reason);
    }
}

fn with_places(promoted_max: u32) -> Config {
    Config { promoted_max, promoted_buffer: 16_384, ..config() }
}

/// Acknowledges what came until the FIN is there, and returns the data.
#[track_caller]
fn drain(peer: &mut Peer, host: &mut Host<Sender>, first: Vec<Seen>) -> Vec<u8> {
    let (mut data, mut seen) = (Vec::new(), first);
    for _ in 0..10_000 {
        let mut is_last = false;
        for seen in &seen {
            peer.take(seen);
            data.extend(&seen.payload);
            is_last |= seen.flags.fin;
        }
        if is_last {
            return data;
        }
        seen = peer.tell(host, ACK, b"");
        if seen.is_empty() {
            seen = peer.read_all(host.pass(Duration::from_millis(1_100)));
        }
    }
    panic!("no end after {} bytes", data.len());
}

#[test]
fn a_message_longer_than_any_room_arrives_whole_parked_or_promoted() {
    for (promoted_max, window, piece) in [
        (0, 65_535, usize::MAX),
        (0, 700, usize::MAX),
        (0, 65_535, 100),
        (1, 65_535, usize::MAX),
        (1, 700, usize::MAX),
        (1, 65_535, 100),
    ] {
        let service = Sender { piece, ..Sender::new(100_000) };
        let mut host = Host::new(with_places(promoted_max), service);
        let mut peer = Peer::to(SERVER, 40_000);
        peer.window = window;
        peer.open(&mut host);
        let first = peer.tell(&mut host, ACK, b"go");
        let case = format!("{promoted_max} places, window {window}, pieces of {piece}");
        assert_eq!(host.engine.counters().promoted, u64::from(promoted_max), "{case}");
        let data = drain(&mut peer, &mut host, first);
        assert!(data == host.engine.service().message, "{case}");
        assert_eq!(peer.tell(&mut host, FIN, b"").len(), 1);
        assert_eq!(host.engine.service().ended, [CloseReason::ClosedByUs], "{case}");
        assert_eq!(host.engine.counters().retransmitted, 0, "{case}");
    }
}

#[test]
fn a_peer_that_closes_in_the_middle_gets_the_rest() {
    for promoted_max in [0, 1] {
        let mut host = Host::new(with_places(promoted_max), Sender::new(50_000));
        let mut peer = Peer::opened(&mut host, SERVER);
        let mut seen = peer.tell(&mut host, ACK, b"go");
        seen.extend(peer.tell(&mut host, FIN, b""));
        seen.retain(|seen| !seen.payload.is_empty());
        let data = drain(&mut peer, &mut host, seen);
        assert!(data == host.engine.service().message, "{promoted_max}: {} bytes", data.len());
        assert_eq!(peer.tell(&mut host, ACK, b""), []);
        assert_eq!(host.engine.service().ended, [CloseReason::ClosedByPeer]);
        host.engine.check_empty();
    }
}

#[test]
fn it_is_parked_again_when_all_is_sent() {
    let mut host = Host::new(with_places(1), Sender { closes: false, ..Sender::new(50_000) });
    let mut peer = Peer::opened(&mut host, SERVER);
    let mut seen = peer.tell(&mut host, ACK, b"go");
    let mut len = 0;
    while !seen.is_empty() {
        seen.iter().for_each(|seen| peer.take(seen));
        len += seen.iter().map(|seen| seen.payload.len()).sum::<usize>();
        seen = peer.tell(&mut host, ACK, b"");
    }
    assert_eq!((len, host.engine.counters().promoted), (50_000, 1));
    host.seconds(2);
    assert_eq!((host.engine.counters().promoted, host.state()), (0, State::Established));
}

#[test]
fn a_lost_segment_delays_the_rest_and_loses_nothing() {
    for promoted_max in [0, 1] {
        let mut host = Host::new(with_places(promoted_max), Sender::new(20_000));
        let mut peer = Peer::opened(&mut host, SERVER);
        let lost = peer.tell(&mut host, ACK, b"go");
        assert!(!lost.is_empty());
        let (mut data, mut is_done) = (Vec::<u8>::new(), false);
        for _ in 0..200 {
            let seen = peer.read_all(host.pass(Duration::from_millis(1_050)));
            for seen in seen.iter().filter(|seen| !seen.payload.is_empty()) {
                if seen.seq == peer.ack {
                    peer.take(seen);
                    data.extend(&seen.payload);
                    is_done |= seen.flags.fin;
                }
            }
            // Every second answer is lost too.
            let more = peer.tell(&mut host, ACK, b"");
            if let Some(next) = more.first().filter(|next| next.seq == peer.ack) {
                peer.take(next);
                data.extend(&next.payload);
                is_done |= next.flags.fin;
            }
            if is_done {
                break;
            }
        }
        assert!(data == host.engine.service().message, "{promoted_max}: {} bytes", data.len());
    }
}

#[test]
fn one_that_finds_all_flights_taken_gets_its_turn() {
    let config = Config { flights_max: 1, ..with_places(0) };
    let mut host = Host::new(config, Sender::new(5_000));
    let mut first = Peer::to(SERVER, 40_000);
    first.open(&mut host);
    let mut second = Peer::to(SERVER, 40_001);
    second.open(&mut host);
    let begun = first.tell(&mut host, ACK, b"go");
    // Data is not even taken while there is no flight to answer with.
    assert_eq!(second.tell(&mut host, ACK, b""), []);
    let data = drain(&mut first, &mut host, begun);
    assert_eq!(data.len(), 5_000);
    first.tell(&mut host, FIN, b"");
    let begun = second.tell(&mut host, ACK, b"go");
    assert_eq!(drain(&mut second, &mut host, begun).len(), 5_000);
}

/// Wants room as soon as it opens, whether it has any or not.
struct Greeter(Sender);

impl Service for Greeter {
    fn on_open(&mut self, conn: &mut Context<'_>) {
        conn.want_room();
    }

    fn on_data(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> usize {
        bytes.len()
    }

    fn on_room(&mut self, conn: &mut Context<'_>) {
        self.0.on_room(conn);
    }

    fn on_close(&mut self, id: ConnId, tag: u8, state: ServiceState, reason: CloseReason) {
        self.0.on_close(id, tag, state, reason);
    }
}

/// A host on which connections want room at once, whose only flight is taken by the first, and a peer
/// of the second.
fn without_a_flight() -> (Host<Greeter>, Peer, Vec<Seen>, Peer) {
    let config = Config { flights_max: 1, ..with_places(0) };
    let mut host = Host::new(config, Greeter(Sender::new(2_000)));
    let mut first = Peer::to(SERVER, 40_000);
    first.syn(&mut host);
    let taken = first.tell(&mut host, ACK, b"");
    assert_eq!(taken.iter().map(|seen| seen.payload.len()).sum::<usize>(), 2_000);
    let mut second = Peer::to(SERVER, 40_001);
    second.syn(&mut host);
    assert_eq!(second.tell(&mut host, ACK, b""), []);
    assert_eq!(host.engine.table.waiting.len(), 1, "it has to look for room itself");
    (host, first, taken, second)
}

#[test]
fn room_is_looked_for_until_a_flight_is_free() {
    let (mut host, mut first, taken, second) = without_a_flight();
    // What is sent again is for the first.
    host.seconds(3);
    assert_eq!(host.engine.table.waiting.len(), 1);
    taken.iter().for_each(|seen| first.take(seen));
    assert_eq!(first.tell(&mut host, ACK, b""), []);
    let mut sent = Vec::new();
    for _ in 0..11 {
        sent.extend(host.pass(Duration::from_millis(if sent.is_empty() { 100 } else { 0 })));
    }
    let sent = second.read_all(sent);
    assert_eq!(sent.iter().map(|seen| seen.payload.len()).sum::<usize>(), 2_000);
    assert_eq!(host.engine.table.waiting.len(), 0);
}

#[test]
fn room_comes_with_the_next_segment_when_a_flight_is_free() {
    let (mut host, mut first, taken, mut second) = without_a_flight();
    taken.iter().for_each(|seen| first.take(seen));
    assert_eq!(first.tell(&mut host, ACK, b""), []);
    let sent = second.tell(&mut host, ACK, b"x");
    assert_eq!(sent.iter().map(|seen| seen.payload.len()).sum::<usize>(), 2_000);
}

#[test]
fn who_waits_for_room_and_ends_leaves_nothing() {
    let (mut host, _, _, mut second) = without_a_flight();
    assert_eq!(second.tell(&mut host, RST, b""), []);
    assert_eq!(host.engine.table.waiting.len(), 0);
}

#[test]
fn a_window_that_is_closed_is_probed_and_its_opening_is_heard() {
    for promoted_max in [0, 1] {
        let mut host = Host::new(with_places(promoted_max), Greeter(Sender::new(2_000)));
        let mut peer = Peer::to(SERVER, 40_000);
        peer.window = 0;
        peer.syn(&mut host);
        // A socket probes at once.
        let probes = peer.tell(&mut host, ACK, b"");
        assert!(probes.iter().all(|probe| promoted_max > 0 && probe.payload.len() == 1));
        // The peer answers that it has no room, for a long time.
        for _ in 0..400 {
            let probes = peer.read_all(host.pass(Duration::from_secs(60)));
            assert!(!probes.is_empty(), "{promoted_max}");
            peer.tell(&mut host, ACK, b"");
        }
        // The message that it has again is lost; the answer to a probe says so.
        peer.window = 65_535;
        let probe = peer.read_all(host.pass(Duration::from_secs(61)));
        assert!(!probe.is_empty());
        let sent = peer.tell(&mut host, ACK, b"");
        assert!(sent.iter().any(|seen| !seen.payload.is_empty()), "{promoted_max}: {sent:?}");
    }
}

#[test]
fn a_peer_that_answers_no_probe_of_its_window_is_given_up() {
    for promoted_max in [0, 1] {
        let mut host = Host::new(with_places(promoted_max), Greeter(Sender::new(2_000)));
        let mut peer = Peer::to(SERVER, 40_000);
        peer.window = 0;
        peer.syn(&mut host);
        // A socket probes at once.
        let probes = peer.tell(&mut host, ACK, b"");
        assert!(probes.iter().all(|probe| promoted_max > 0 && probe.payload.len() == 1));
        host.pass(DATA_TIMEOUT + Duration::from_secs(5));
        assert_eq!(host.engine.service().0.ended, [CloseReason::UserTimeout], "{promoted_max}");
        host.engine.check_empty();
    }
}

#[test]
fn a_place_is_taken_over_with_the_wish_for_room() {
    let mut host = Host::new(with_places(1), Sender::new(20_000));
    let mut other = Peer::to(SERVER, 40_001);
    other.open(&mut host);
    let mut peer = Peer::to(SERVER, 40_000);
    peer.open(&mut host);
    // The only place is taken by data that comes early.
    other.say(&mut host, ACK, other.seq + 10, other.ack, b"early");
    let begun = peer.tell(&mut host, ACK, b"go");
    assert_eq!(host.engine.counters().promotions_refused, 1);
    assert_eq!(other.tell(&mut host, RST, b""), []);
    // What comes early now has this one promoted, before the flight that it waits for is acknowledged.
    let duplicate = peer.say(&mut host, ACK, peer.seq + 10, peer.ack, b"early");
    assert!(duplicate.iter().all(|seen| seen.ack == peer.seq));
    assert_eq!(host.engine.counters().promoted, 1);
    let all: Vec<Seen> =
        begun.into_iter().chain(duplicate).filter(|s| !s.payload.is_empty()).collect();
    let data = drain(&mut peer, &mut host, all);
    assert!(data == host.engine.service().message);
}

#[test]
fn who_wants_room_and_does_not_use_it_is_asked_again_a_second_later() {
    for promoted_max in [0, 1] {
        let mut host = Host::new(with_places(promoted_max), Sender { piece: 0, ..Sender::new(10) });
        let mut peer = Peer::opened(&mut host, SERVER);
        peer.tell(&mut host, ACK, b"go");
        host.engine.service_mut().offers = 0;
        host.seconds(10);
        let offers = host.engine.service().offers;
        assert!((8..=11).contains(&offers), "{promoted_max}: {offers}");
        host.engine.service_mut().piece = 10;
        let sent = only(peer.read_all(host.pass(Duration::from_millis(1_100))));
        assert_eq!((sent.payload.len(), sent.flags), (10, FIN));
    }
}

#[test]
fn an_abort_in_the_middle_ends_it() {
    struct Aborts;
    impl Service for Aborts {
        fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
            conn.want_room();
            bytes.len()
        }
        fn on_room(&mut self, conn: &mut Context<'_>) {
            conn.send(b"never seen");
            conn.abort();
        }
    }
    for promoted_max in [0, 1] {
        let mut host = Host::new(with_places(promoted_max), Aborts);
        let mut peer = Peer::opened(&mut host, SERVER);
        let mut seen = peer.tell(&mut host, ACK, b"x");
        seen.extend(peer.read_all(host.pass(Duration::from_millis(1_100))));
        let last = seen.pop().expect("a reset");
        assert!(last.flags.rst && seen.iter().all(|seen| seen.payload.is_empty()));
        host.engine.check_empty();
    }
}

#[test]
fn who_has_closed_is_not_offered_room() {
    // By the acknowledgment of all that was in flight, the FIN with it.
    for peer_closes in [false, true] {
        let mut host = Host::new(with_places(0), Sender { piece: 100, ..Sender::new(1_000) });
        let mut peer = Peer::opened(&mut host, SERVER);
        let seen = peer.tell(&mut host, ACK, b"go");
        let id = host.engine.connection_from(&mut 0).unwrap();
        host.engine.close(id, host.now, &mut host.pool, &mut host.tx).unwrap();
        let fin = host.sent();
        let fin = peer.read_all(fin);
        if peer_closes {
            // It does not know of the FIN yet.
            seen.iter().for_each(|seen| peer.take(seen));
            peer.tell(&mut host, FIN, b"");
            fin.iter().for_each(|seen| peer.take(seen));
        } else {
            seen.iter().chain(&fin).for_each(|seen| peer.take(seen));
        }
        peer.tell(&mut host, ACK, b"");
        assert_eq!(host.engine.service().ended.len(), usize::from(peer_closes));
        host.seconds(10);
        assert_eq!(host.engine.service().offers, 0);
    }
}
