//! Services that are woken.

use super::*;
use crate::conn::record::State;
use crate::engine::config::Config;
use crate::service::{Context, Service, ServiceState};
use crate::tcp::CloseReason;
use crate::tcp::keepalive::{Keepalive, Profile};
use crate::time::{Duration, Instant};

const SERVER: &str = "10.77.0.1:7";

/// Says when it was woken, and does then what it was told.
#[derive(Default)]
struct Sleeper {
    /// Asks to be woken so long after it opens.
    first: Option<Duration>,
    /// And again so long after each time.
    again: Option<Duration>,
    /// What it sends then.
    says: Vec<u8>,
    closes: bool,
    aborts_for: Option<CloseReason>,
    /// What it does when something comes.
    on_data: Option<fn(&mut Context<'_>)>,
    woken: Vec<Instant>,
    ended: Vec<CloseReason>,
}

impl Service for Sleeper {
    fn on_open(&mut self, conn: &mut Context<'_>) {
        if let Some(first) = self.first {
            conn.wake_after(first);
        }
    }

    fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
        if let Some(on_data) = self.on_data {
            on_data(conn);
        }
        bytes.len()
    }

    fn on_wake(&mut self, conn: &mut Context<'_>) {
        self.woken.push(conn.now());
        conn.send(&self.says);
        if let Some(again) = self.again {
            conn.wake_after(again);
        }
        if self.closes {
            conn.close();
        }
        if let Some(reason) = self.aborts_for {
            conn.abort_for(reason);
        }
    }

    fn on_peer_close(&mut self, _: &mut Context<'_>) {}

    fn on_close(&mut self, _: ConnId, _: u8, _: ServiceState, reason: CloseReason) {
        self.ended.push(reason);
    }
}

const SECOND: Duration = Duration::from_secs(1);

fn sleeper() -> Sleeper {
    Sleeper { first: Some(10 * SECOND), ..Sleeper::default() }
}

fn woken(host: &Host<Sleeper>) -> Vec<Instant> {
    host.engine.service().woken.clone()
}

/// Whether `at` is a moment at which somebody may be woken who asked for `asked`.
#[track_caller]
fn assert_in_time(at: Instant, asked: Instant) {
    let late = at.since(asked);
    assert!(at >= asked && late <= Duration::from_millis(34), "{asked:?} came at {at:?}");
}

#[test]
fn a_wake_comes_once_and_in_time() {
    let mut host = Host::new(config(), sleeper());
    let opened = host.now;
    Peer::opened(&mut host, SERVER);
    assert_eq!(host.seconds(100), Vec::<Vec<u8>>::new());
    assert_in_time(only(woken(&host)), opened + 10 * SECOND);
    assert_eq!(host.engine.next_timer(host.now), None, "and that was all");
}

#[test]
fn one_that_asks_again_is_woken_again_parked_or_promoted() {
    for promoted_max in [0, 1] {
        let config =
            Config { promoted_max, promote_always: promoted_max > 0, ..super::harness::config() };
        let service = Sleeper { again: Some(3 * SECOND), says: b"hello".to_vec(), ..sleeper() };
        let mut host = Host::new(config, service);
        let opened = host.now;
        let mut peer = Peer::opened(&mut host, SERVER);
        peer.tell(&mut host, ACK, b"x");
        assert_eq!(host.engine.counters().promoted, u64::from(promoted_max));
        for n in 0..5 {
            let mut heard = Vec::new();
            while heard.is_empty() {
                heard = host.pass(Duration::from_millis(100));
            }
            let hello = only(peer.read_all(heard));
            assert_eq!(hello.payload, b"hello");
            peer.take(&hello);
            assert_eq!(peer.tell(&mut host, ACK, b""), []);
            assert_eq!(woken(&host).len(), n + 1);
        }
        for (n, at) in woken(&host).into_iter().enumerate() {
            let late = at.since(opened + 10 * SECOND + 3 * SECOND * n as u32);
            assert!(late < Duration::from_millis(40) * (n as u32 + 1), "{n} came {late:?} late");
        }
    }
}

#[test]
fn a_wake_comes_while_data_is_in_flight() {
    let service = Sleeper { says: b"second".to_vec(), ..sleeper() };
    let mut host = Host::new(config(), service);
    host.engine.service_mut().on_data = Some(|conn| {
        conn.send(b"first");
    });
    let opened = host.now;
    let mut peer = Peer::opened(&mut host, SERVER);
    let first = only(peer.tell(&mut host, ACK, b"x"));
    let sent = peer.read_all(host.seconds(11));
    assert_in_time(only(woken(&host)), opened + 10 * SECOND);
    peer.take(&first);
    let second = sent.iter().find(|seen| seen.seq == peer.ack).expect("sent behind the first");
    assert_eq!(second.payload, b"second");
}

#[test]
fn the_last_one_asked_for_counts_and_none_when_it_was_withdrawn() {
    let mut host = Host::new(config(), sleeper());
    let mut peer = Peer::opened(&mut host, SERVER);
    let tell = |host: &mut Host<Sleeper>, peer: &mut Peer, on_data: fn(&mut Context<'_>)| {
        host.engine.service_mut().on_data = Some(on_data);
        let seen = peer.tell(host, ACK, b"x");
        peer.assert_ack(&seen);
        host.now
    };
    let at = tell(&mut host, &mut peer, |conn| conn.wake_after(2 * SECOND));
    host.seconds(20);
    assert_in_time(only(woken(&host)), at + 2 * SECOND);
    let at = tell(&mut host, &mut peer, |conn| {
        conn.wake_after(2 * SECOND);
        conn.wake_after(30 * SECOND);
    });
    host.seconds(40);
    assert_in_time(woken(&host)[1], at + 30 * SECOND);
    tell(&mut host, &mut peer, |conn| conn.wake_after(2 * SECOND));
    tell(&mut host, &mut peer, |conn| conn.no_wake());
    host.seconds(40);
    assert_eq!(woken(&host).len(), 2);
    // What has passed is the next moment, and more than a year ahead is no wrap.
    let at = tell(&mut host, &mut peer, |conn| conn.wake_at(Instant::ZERO));
    host.seconds(1);
    assert_in_time(woken(&host)[2], at);
    tell(&mut host, &mut peer, |conn| conn.wake_after(Duration::MAX));
    host.seconds(1000);
    assert_eq!(woken(&host).len(), 3);
}

#[test]
fn who_has_closed_is_not_woken() {
    let ways: [fn(&mut Context<'_>); 2] =
        [|conn| conn.close(), |conn| conn.close_for(CloseReason::Idle)];
    for closes in ways {
        let mut host = Host::new(config(), Sleeper { on_data: Some(closes), ..sleeper() });
        let mut peer = Peer::opened(&mut host, SERVER);
        only(peer.tell(&mut host, ACK, b"x"));
        assert_eq!(host.state(), State::FinWait1);
        host.seconds(500);
        assert_eq!((woken(&host), host.state()), (vec![], State::Free));
    }
}

#[test]
fn a_peer_that_has_closed_does_not_end_the_wake() {
    let mut host = Host::new(config(), Sleeper { closes: true, ..sleeper() });
    let mut peer = Peer::opened(&mut host, SERVER);
    let seen = peer.tell(&mut host, FIN, b"");
    peer.assert_ack(&seen);
    let fin = only(peer.read_all(host.pass(Duration::from_millis(10_100))));
    assert_eq!((woken(&host).len(), fin.flags, host.state()), (1, FIN, State::LastAck));
}

#[test]
fn a_connection_that_ends_leaves_no_wake_to_the_next_in_its_slot() {
    let mut host = Host::new(config(), sleeper());
    let mut peer = Peer::opened(&mut host, SERVER);
    assert_eq!(peer.tell(&mut host, RST, b""), []);
    host.engine.service_mut().first = None;
    Peer::opened(&mut host, SERVER);
    host.seconds(100);
    assert_eq!(woken(&host), []);
}

#[test]
fn one_woken_may_end_the_connection_and_why_is_counted() {
    for promoted_max in [0, 1] {
        let config =
            Config { promoted_max, promote_always: promoted_max > 0, ..super::harness::config() };
        let aborts_for = Some(CloseReason::HeartbeatMissed);
        let mut host = Host::new(config, Sleeper { aborts_for, again: Some(SECOND), ..sleeper() });
        let mut peer = Peer::opened(&mut host, SERVER);
        peer.tell(&mut host, ACK, b"x");
        let reset = only(peer.read_all(host.seconds(100)));
        assert!(reset.flags.rst && reset.seq == peer.ack, "{reset:?}");
        assert_eq!(host.engine.service().ended, [CloseReason::HeartbeatMissed]);
        assert_eq!(host.engine.counters().closed(CloseReason::HeartbeatMissed), 1);
        host.engine.check_empty();
    }
}

#[test]
fn why_a_service_closes_is_counted_however_the_peer_takes_it() {
    let closes = |conn: &mut Context<'_>| {
        conn.send(b"bye");
        conn.close_for(CloseReason::ProtocolError);
    };
    for end in 0..3 {
        let mut host = Host::new(config(), Sleeper { on_data: Some(closes), ..sleeper() });
        let mut peer = Peer::opened(&mut host, SERVER);
        let bye = only(peer.tell(&mut host, ACK, b"x"));
        assert_eq!((bye.flags, &bye.payload[..]), (FIN, &b"bye"[..]));
        match end {
            0 => {
                peer.take(&bye);
                peer.tell(&mut host, FIN, b"");
            }
            1 => assert_eq!(peer.tell(&mut host, RST, b""), []),
            _ => drop(host.seconds(500)),
        }
        assert_eq!(host.engine.service().ended, [CloseReason::ProtocolError], "{end}");
        assert_eq!(host.engine.counters().closed(CloseReason::ProtocolError), 1);
    }
}

#[test]
fn keepalive_goes_on_beside_a_wake_also_when_that_comes_while_data_is_in_flight() {
    let keepalive = Keepalive::new(30 * SECOND, 5 * SECOND, 2).expect("allowed");
    let profile = Profile { keepalive: Some(keepalive), user_timeout: None };
    let mut host = Host::new(Config { profile, ..config() }, sleeper());
    host.engine.service_mut().first = Some(1_000 * SECOND);
    host.engine.service_mut().on_data = Some(|conn| {
        conn.send(b"first");
    });
    let mut peer = Peer::opened(&mut host, SERVER);
    // In flight for longer than the keepalive time.
    let first = only(peer.tell(&mut host, ACK, b"x"));
    host.seconds(40);
    peer.take(&first);
    assert_eq!(peer.tell(&mut host, ACK, b""), []);
    let sent = peer.read_all(host.seconds(45));
    assert_eq!(sent.len(), 3, "two probes and a reset: {sent:?}");
    assert_eq!(host.engine.service().ended, [CloseReason::KeepaliveTimeout]);
    host.engine.check_empty();
}

#[test]
fn keepalive_goes_on_when_a_connection_is_parked_again_whether_it_has_a_wake_or_not() {
    let keepalive = Keepalive::new(30 * SECOND, 5 * SECOND, 2).expect("allowed");
    let profile = Profile { keepalive: Some(keepalive), user_timeout: None };
    for first in [None, Some(1_000 * SECOND)] {
        let service = Sleeper { first, ..sleeper() };
        let mut host = Host::new(Config { profile, promoted_max: 1, ..config() }, service);
        let mut peer = Peer::opened(&mut host, SERVER);
        peer.say(&mut host, ACK, peer.seq + 3, peer.ack, b"def");
        assert_eq!(host.engine.counters().promoted, 1);
        peer.tell(&mut host, ACK, b"abc");
        // Longer than the record's timer for the handshake or for keepalive would have lasted.
        for _ in 0..10 {
            host.seconds(20);
            peer.say(&mut host, ACK, peer.seq + 3, peer.ack, b"");
        }
        assert_eq!((host.engine.counters().promoted, host.state()), (0, State::Established));
        host.seconds(45);
        assert_eq!(host.engine.service().ended, [CloseReason::KeepaliveTimeout], "{first:?}");
        host.engine.check_empty();
    }
}

#[test]
fn a_service_changes_its_keepalive() {
    let mut host = Host::new(config(), sleeper());
    host.engine.service_mut().on_data = Some(|conn| {
        let keepalive = Keepalive::new(5 * SECOND, SECOND, 1).expect("allowed");
        conn.set_keepalive(Profile { keepalive: Some(keepalive), user_timeout: None });
    });
    let mut peer = Peer::opened(&mut host, SERVER);
    let seen = peer.tell(&mut host, ACK, b"x");
    peer.assert_ack(&seen);
    host.seconds(7);
    assert_eq!(host.engine.service().ended, [CloseReason::KeepaliveTimeout]);
}

#[test]
fn a_service_knows_both_endpoints() {
    let mut host = Host::new(config(), sleeper());
    host.engine.service_mut().on_data = Some(|conn| {
        let ends = [conn.remote(), conn.local()].map(|end| (end.addr.to_ip(), end.port));
        conn.send(format!("{ends:?}").as_bytes());
    });
    let mut peer = Peer::opened(&mut host, SERVER);
    let said = only(peer.tell(&mut host, ACK, b"x"));
    assert_eq!(said.payload, b"[(10.77.0.2, 40000), (10.77.0.1, 7)]");
}
