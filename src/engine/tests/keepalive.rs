//! Silent peers: probes, their answers and their end; the user timeout.

use super::*;
use crate::conn::record::State;
use crate::engine::CommandError;
use crate::tcp::CloseReason;
use crate::tcp::keepalive::{Keepalive, Profile};
use crate::time::{Duration, Instant};

const ECHO: &str = "10.77.0.1:7";
const LINE: &str = "[fd77::1]:7000";

/// Probes after 60 s, 10 s apart, three of them.
fn profile() -> Profile {
    Profile { keepalive: Some(keepalive(60, 10, 3)), user_timeout: None }
}

fn keepalive(time: u64, interval: u64, probes: u8) -> Keepalive {
    let [time, interval] = [time, interval].map(Duration::from_secs);
    Keepalive::new(time, interval, probes).unwrap()
}

fn host(profile: Profile) -> Host {
    let mut config = config();
    config.profile = profile;
    Host::new(config, Probe::default())
}

/// Lets `seconds` pass; returns what was sent, and after how many seconds, rounded.
fn watch(host: &mut Host, peer: &Peer, seconds: u64) -> Vec<(u64, Seen)> {
    let start = host.now;
    let sent = host.pass_noting(Duration::from_secs(seconds));
    let after = |at: Instant| at.since(start).as_secs_f64().round() as u64;
    sent.into_iter().map(|(at, frame)| (after(at), peer.read(&frame))).collect()
}

fn assert_probe(peer: &Peer, seen: &Seen) {
    assert_eq!((seen.flags, seen.seq, seen.ack), (ACK, peer.ack - 1, peer.seq));
    assert!(seen.payload.is_empty());
}

/// The reason with which the last connection ended.
fn ended(host: &mut Host) -> Option<CloseReason> {
    match host.events().pop() {
        Some(Event::Closed(reason)) => Some(reason),
        _ => None,
    }
}

#[test]
fn a_peer_that_answers_no_probe_is_reset_and_its_service_told() {
    for target in [ECHO, LINE] {
        let mut host = host(profile());
        let peer = Peer::opened(&mut host, target);
        let sent = watch(&mut host, &peer, 200);
        let at: Vec<_> = sent.iter().map(|(at, _)| *at).collect();
        assert_eq!(at, [60, 70, 80, 90]);
        sent[..3].iter().for_each(|(_, probe)| assert_probe(&peer, probe));
        let reset = &sent[3].1;
        assert!(reset.flags.rst, "{reset:?}");
        assert_eq!((reset.seq, reset.ack), (peer.ack, peer.seq));
        assert_eq!(ended(&mut host), Some(CloseReason::KeepaliveTimeout));
        assert_eq!((host.state(), host.engine.counters().probes), (State::Free, 3));
    }
}

#[test]
fn a_peer_that_answers_is_asked_again_after_as_long_a_silence() {
    let mut host = host(profile());
    let mut peer = Peer::opened(&mut host, ECHO);
    for _ in 0..5 {
        assert_eq!(watch(&mut host, &peer, 59), []);
        assert_probe(&peer, &only(watch(&mut host, &peer, 2)).1);
        assert_eq!(peer.tell(&mut host, ACK, b""), []);
    }
    assert_eq!(host.state(), State::Established);
}

#[test]
fn a_late_answer_is_in_time() {
    let mut host = host(profile());
    let mut peer = Peer::opened(&mut host, ECHO);
    assert_eq!(watch(&mut host, &peer, 89).len(), 3);
    assert_eq!(peer.tell(&mut host, ACK, b""), []);
    assert_eq!(watch(&mut host, &peer, 59), []);
}

#[test]
fn data_is_a_sign_of_life_and_postpones_the_probe() {
    let mut host = host(profile());
    let mut peer = Peer::opened(&mut host, ECHO);
    for _ in 0..4 {
        assert_eq!(watch(&mut host, &peer, 50), []);
        let echoed = only(peer.tell(&mut host, ACK, b"x"));
        peer.take(&echoed);
        assert_eq!(peer.tell(&mut host, ACK, b""), []);
    }
    assert_probe(&peer, &only(watch(&mut host, &peer, 61)).1);
}

#[test]
fn no_probe_while_data_is_outstanding() {
    let mut host = host(Profile { keepalive: Some(keepalive(1, 1, 2)), user_timeout: None });
    let mut peer = Peer::opened(&mut host, ECHO);
    let echoed = only(peer.tell(&mut host, ACK, b"data"));
    for (_, seen) in watch(&mut host, &peer, 60) {
        assert_eq!((&seen.payload[..], seen.seq), (&b"data"[..], echoed.seq), "repeated only");
    }
    peer.take(&echoed);
    assert_eq!(peer.tell(&mut host, ACK, b""), []);
    let (at, probe) = watch(&mut host, &peer, 2).remove(0);
    assert_eq!(at, 1);
    assert_probe(&peer, &probe);
}

#[test]
fn both_sides_may_probe() {
    let mut host = host(profile());
    let peer = Peer::opened(&mut host, ECHO);
    assert_eq!(watch(&mut host, &peer, 71).len(), 2);
    // The peer's own probe proves that it lives; ours need not go on.
    let answered = peer.say(&mut host, ACK, peer.seq - 1, peer.ack, b"");
    peer.assert_ack(&answered);
    assert_eq!(watch(&mut host, &peer, 59), []);
    assert_eq!(host.state(), State::Established);
}

#[test]
fn what_anybody_could_send_is_no_sign_of_life_while_probing() {
    let mut host = host(profile());
    let peer = Peer::opened(&mut host, ECHO);
    assert_eq!(watch(&mut host, &peer, 61).len(), 1);
    let mut answers = 0;
    for n in 0..28 {
        let forged = peer.seq + 1_000_000 + n;
        answers += peer.say(&mut host, ACK, forged, peer.ack, b"").len();
        answers += peer.say(&mut host, SYN, forged, peer.ack, b"").len();
        watch(&mut host, &peer, 1);
    }
    assert_eq!(answers, 3, "one for each probe");
    watch(&mut host, &peer, 3);
    assert_eq!(ended(&mut host), Some(CloseReason::KeepaliveTimeout));
}

#[test]
fn a_rebooted_peer_resets_when_it_is_probed() {
    let mut host = host(profile());
    let peer = Peer::opened(&mut host, ECHO);
    let (_, probe) = only(watch(&mut host, &peer, 61));
    assert_eq!(peer.say(&mut host, RST, probe.ack, peer.ack, b""), []);
    assert_eq!(ended(&mut host), Some(CloseReason::ResetByPeer));
}

#[test]
fn a_half_closed_peer_is_probed_too() {
    let mut host = host(profile());
    host.engine.service_mut().stays = true;
    let mut peer = Peer::opened(&mut host, ECHO);
    let seen = peer.tell(&mut host, FIN, b"");
    peer.assert_ack(&seen);
    assert_eq!(host.state(), State::CloseWait);
    assert_probe(&peer, &only(watch(&mut host, &peer, 61)).1);
    watch(&mut host, &peer, 60);
    assert_eq!(ended(&mut host), Some(CloseReason::KeepaliveTimeout));
}

#[test]
fn closing_while_probing_goes_on_as_ever() {
    let mut host = host(profile());
    let mut peer = Peer::opened(&mut host, ECHO);
    assert_eq!(watch(&mut host, &peer, 61).len(), 1);
    let id = host.id();
    host.engine.close(id, host.now, &mut host.pool, &mut host.tx).unwrap();
    let sent = host.sent();
    let fin = only(peer.read_all(sent));
    peer.take(&fin);
    assert_eq!(peer.tell(&mut host, ACK, b""), []);
    assert_eq!(host.state(), State::FinWait2);
    assert_eq!(watch(&mut host, &peer, 59), [], "FIN-WAIT-2 has a time of its own");
}

#[test]
fn listeners_and_connections_have_profiles_of_their_own() {
    let mut config = config();
    config.profile = profile();
    config.listeners[0].profile =
        Some(Profile { keepalive: Some(keepalive(5, 2, 1)), user_timeout: None });
    let target = config.listeners[0].endpoint;
    let mut host = Host::new(config, Probe::default());
    let mut peer = Peer::opened(&mut host, &format!("{target:?}"));
    let sent = watch(&mut host, &peer, 6);
    assert_eq!(sent.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [5]);
    assert_eq!(peer.tell(&mut host, ACK, b""), []);
    let id = host.id();
    host.engine.set_profile(id, Profile::default(), host.now).unwrap();
    assert_eq!(watch(&mut host, &peer, 10_000), [], "off");
    host.engine.set_profile(id, profile(), host.now).unwrap();
    assert_eq!(watch(&mut host, &peer, 1).len(), 1, "it was silent for longer than that already");
    peer.tell(&mut host, RST, b"");
    let gone = host.engine.set_profile(id, profile(), host.now);
    assert_eq!(gone, Err(CommandError::Gone));
}

#[test]
fn too_many_profiles_are_refused_and_harm_nobody() {
    let mut host = host(profile());
    let peer = Peer::opened(&mut host, ECHO);
    let id = host.id();
    let set = |host: &mut Host, seconds| {
        let user_timeout = Some(Duration::from_secs(seconds));
        host.engine.set_profile(id, Profile { user_timeout, ..profile() }, host.now)
    };
    for seconds in 1..256 {
        assert_eq!(set(&mut host, seconds), Ok(()));
    }
    assert_eq!(set(&mut host, 256), Err(CommandError::Busy));
    assert_eq!(set(&mut host, 255), Ok(()), "one that is known");
    let mut other = Peer::to(LINE, 40_001);
    assert_eq!(other.tell(&mut host, SYN, b""), []);
    assert_eq!(host.dropped(crate::drops::DropReason::ProfilesFull), 1);
    assert_eq!(watch(&mut host, &peer, 61).len(), 1);
}

#[test]
fn the_user_timeout_ends_outstanding_data_however_often_it_was_repeated() {
    for (seconds, expected) in [(5, 3), (3600, 65)] {
        let mut host =
            host(Profile { keepalive: None, user_timeout: Some(Duration::from_secs(seconds)) });
        let mut peer = Peer::opened(&mut host, ECHO);
        only(peer.tell(&mut host, ACK, b"data"));
        let sent = watch(&mut host, &peer, seconds + 1);
        let (at, reset) = sent.last().unwrap();
        assert!(reset.flags.rst, "{reset:?}");
        assert_eq!((*at, sent.len()), (seconds, expected), "repetitions, and the reset");
        assert_eq!(ended(&mut host), Some(CloseReason::UserTimeout));
    }
}

#[test]
fn progress_starts_the_user_timeout_anew() {
    let mut host = host(Profile { keepalive: None, user_timeout: Some(Duration::from_secs(10)) });
    let mut peer = Peer::opened(&mut host, ECHO);
    let echoed = only(peer.tell(&mut host, ACK, b"12345678"));
    for n in 1..8 {
        watch(&mut host, &peer, 8);
        peer.say(&mut host, ACK, peer.seq, echoed.seq + n, b"");
    }
    assert_eq!(host.state(), State::Established);
    watch(&mut host, &peer, 11);
    assert_eq!(ended(&mut host), Some(CloseReason::UserTimeout));
}

#[test]
fn the_user_timeout_overrides_the_number_of_probes() {
    let user_timeout = |seconds| Some(Duration::from_secs(seconds));
    for (seconds, at) in [(75, 80), (10, 70), (200, 200)] {
        let mut host = host(Profile { user_timeout: user_timeout(seconds), ..profile() });
        let peer = Peer::opened(&mut host, ECHO);
        let sent = watch(&mut host, &peer, 300);
        assert_eq!(sent.last().unwrap().0, at, "looked at with each probe, as Linux does");
        assert_eq!(ended(&mut host), Some(CloseReason::KeepaliveTimeout));
    }
}

#[test]
fn the_periods_of_linux_keep_a_connection_for_a_day() {
    let mut host = host(Profile { keepalive: Some(Keepalive::LINUX), user_timeout: None });
    let peer = Peer::opened(&mut host, ECHO);
    for _ in 0..12 {
        assert_probe(&peer, &only(watch(&mut host, &peer, 7201)).1);
        let answered = peer.say(&mut host, ACK, peer.seq, peer.ack, b"");
        assert_eq!(answered, []);
    }
}

#[test]
fn a_handshake_that_took_long_does_not_delay_the_first_probe() {
    let mut host = host(Profile { keepalive: Some(keepalive(1, 1, 1)), user_timeout: None });
    let mut peer = Peer::to(ECHO, 40_000);
    peer.syn(&mut host);
    assert_eq!(watch(&mut host, &peer, 20).len(), 4, "SYN-ACKs; the next comes at 31 s");
    assert_eq!(peer.tell(&mut host, ACK, b""), []);
    let (at, probe) = watch(&mut host, &peer, 3).remove(0);
    assert_eq!(at, 1);
    assert_probe(&peer, &probe);
}
