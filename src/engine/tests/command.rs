//! Commands: send and close, and what they answer.

use super::*;
use crate::conn::record::State;
use crate::conn::slab::ConnId;
use crate::engine::CommandError;
use crate::engine::config::Config;
use crate::tcp::CloseReason;

const DISCARD: &str = "10.77.0.1:9";
const ECHO: &str = "10.77.0.1:7";

fn send(host: &mut Host, id: ConnId, bytes: &[u8]) -> Result<(), CommandError> {
    let now = host.now;
    host.engine.send(id, bytes, now, &mut host.pool, &mut host.tx)
}

fn close(host: &mut Host, id: ConnId) -> Result<(), CommandError> {
    let now = host.now;
    host.engine.close(id, now, &mut host.pool, &mut host.tx)
}

#[test]
fn a_push_needs_no_request() {
    let mut host = Host::serving();
    let mut peer = Peer::opened(&mut host, DISCARD);
    let id = host.id();
    send(&mut host, id, b"news").unwrap();
    let news = peer.read(&only(host.sent()));
    assert_eq!((&news.payload[..], news.ack), (&b"news"[..], peer.seq));
    peer.take(&news);
    assert_eq!(peer.tell(&mut host, ACK, b""), []);
}

#[test]
fn what_does_not_fit_is_refused_whole() {
    let mut host = Host::serving();
    let mut peer = Peer::opened(&mut host, DISCARD);
    let id = host.id();
    assert_eq!(send(&mut host, id, &[0; 2921]), Err(CommandError::Busy));
    assert_eq!(send(&mut host, id, &[0; 2920]), Ok(()));
    assert_eq!(host.sent().len(), 2);
    assert_eq!(send(&mut host, id, b"x"), Err(CommandError::Busy));
    peer.ack += 2920;
    peer.tell(&mut host, ACK, b"");
    peer.window = 10;
    peer.tell(&mut host, ACK, b"");
    assert_eq!(send(&mut host, id, &[0; 11]), Err(CommandError::Busy));
    assert_eq!(send(&mut host, id, &[0; 10]), Ok(()));
    assert_eq!(host.sent().len(), 1);
}

#[test]
fn last_words_and_the_end_go_in_one_segment() {
    let mut host = Host::serving();
    let peer = Peer::opened(&mut host, DISCARD);
    let (id, now) = (host.id(), host.now);
    let last = |host: &mut Host, bytes: &[u8]| {
        host.engine.send_last(id, bytes, now, &mut host.pool, &mut host.tx)
    };
    assert_eq!(last(&mut host, &[0; 2921]), Err(CommandError::Busy));
    assert_eq!(last(&mut host, b"goodbye"), Ok(()));
    let seen = peer.read(&only(host.sent()));
    assert_eq!(
        (&seen.payload[..], seen.flags, host.state()),
        (&b"goodbye"[..], FIN, State::FinWait1)
    );
    assert_eq!(last(&mut host, b"again"), Err(CommandError::Gone));
}

#[test]
fn nothing_to_send_is_not_sent_and_not_repeated() {
    let mut host = Host::serving();
    let mut peer = Peer::opened(&mut host, DISCARD);
    let id = host.id();
    assert_eq!(send(&mut host, id, b""), Ok(()));
    assert_eq!((host.sent().len(), host.engine.flights.len()), (0, 0));
    assert_eq!(host.seconds(400), Vec::<Vec<u8>>::new());
    assert_eq!(peer.tell(&mut host, ACK, b"alive").len(), 1);
}

#[test]
fn names_of_ended_connections_are_gone_though_the_record_is_used_again() {
    let mut host = Host::serving();
    let mut peer = Peer::opened(&mut host, DISCARD);
    let old = host.id();
    peer.tell(&mut host, RST, b"");
    assert_eq!(send(&mut host, old, b"x"), Err(CommandError::Gone));
    Peer::opened(&mut host, DISCARD);
    assert_eq!(host.id().index(), old.index());
    assert_eq!(send(&mut host, old, b"x"), Err(CommandError::Gone));
    assert_eq!(close(&mut host, old), Err(CommandError::Gone));
    assert_eq!(host.state(), State::Established);
}

#[test]
fn a_connection_that_closes_takes_no_more_commands() {
    let mut host = Host::serving();
    let peer = Peer::opened(&mut host, DISCARD);
    let id = host.id();
    send(&mut host, id, b"last words").unwrap();
    close(&mut host, id).unwrap();
    let seen = peer.read_all(host.sent());
    assert_eq!((seen.len(), seen[1].flags, seen[1].seq), (2, FIN, seen[0].seq + 10));
    assert_eq!(close(&mut host, id), Err(CommandError::Gone));
    assert_eq!(send(&mut host, id, b"x"), Err(CommandError::Gone));
    // Lost both: they come again in one segment.
    let again = peer.read(&only(host.seconds(2)));
    assert_eq!((again.flags, &again.payload[..]), (FIN, &b"last words"[..]));
}

#[test]
fn a_handshake_takes_no_commands() {
    let mut host = Host::serving();
    Peer::to(DISCARD, 40_000).syn(&mut host);
    let id = host.id();
    assert_eq!(send(&mut host, id, b"x"), Err(CommandError::Gone));
    assert_eq!(close(&mut host, id), Err(CommandError::Gone));
}

#[test]
fn while_flights_are_full_commands_are_busy() {
    let mut config = config();
    config.flights_max = 1;
    let mut host = Host::new(config, Probe::default());
    let mut first = Peer::opened(&mut host, DISCARD);
    let mut second = Peer::to(DISCARD, 1);
    second.open(&mut host);
    let mut cursor = 0;
    let a = host.engine.connection_from(&mut cursor).unwrap();
    let b = host.engine.connection_from(&mut cursor).unwrap();
    send(&mut host, a, b"x").unwrap();
    first.take(&first.read(&only(host.sent())));
    assert_eq!(send(&mut host, b, b"x"), Err(CommandError::Busy));
    assert_eq!(close(&mut host, b), Err(CommandError::Busy));
    first.tell(&mut host, ACK, b"");
    assert_eq!(close(&mut host, b), Ok(()));
    assert_eq!(second.read(&only(host.sent())).flags, FIN);
}

#[test]
fn an_aborted_connection_is_reset_and_ends_for_the_reason_given() {
    for promoted_max in [0, 1] {
        let mut host = Host::new(Config { promoted_max, ..config() }, Probe::default());
        let mut peer = Peer::opened(&mut host, ECHO);
        let echoed = only(peer.tell(&mut host, ACK, b"in flight"));
        host.receive(&[peer.raw(ACK, peer.seq + 1, peer.ack, b"early")]);
        assert_eq!(host.engine.counters().promoted, u64::from(promoted_max));
        let id = host.id();
        let Host { engine, pool, tx, .. } = &mut host;
        engine.abort(id, CloseReason::HeartbeatMissed, pool, tx).expect("it is open");
        assert_eq!(
            engine.abort(id, CloseReason::Evicted, pool, tx),
            Err(CommandError::Gone),
            "only once"
        );
        let reset = only(peer.read_all(host.sent()));
        assert!(reset.flags.rst);
        assert_eq!((reset.seq, reset.ack), (echoed.seq + 9, peer.seq));
        assert_eq!(host.state(), State::Free);
        assert_eq!(host.events().last(), Some(&Event::Closed(CloseReason::HeartbeatMissed)));
    }
}

#[test]
fn who_does_not_know_of_a_connection_is_not_told_of_its_end() {
    let mut host = Host::serving();
    let mut peer = Peer::opened(&mut host, ECHO);
    let id = host.id();
    close(&mut host, id).expect("it is open");
    peer.take(&only(peer.read_all(host.sent())));
    peer.tell(&mut host, FIN, b"");
    assert_eq!(host.state(), State::TimeWait);
    let Host { engine, pool, tx, .. } = &mut host;
    engine.abort(id, CloseReason::Evicted, pool, tx).expect("it is remembered");
    assert_eq!(host.sent(), Vec::<Vec<u8>>::new());
    assert_eq!(host.state(), State::Free);
    assert_eq!(host.events().last(), Some(&Event::Closed(CloseReason::ClosedByUs)), "long ago");
}
