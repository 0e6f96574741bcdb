//! Forged and stray segments: what an outsider can and cannot do.

use super::harness::MAC;
use super::peer::PEER_MAC;
use super::*;
use crate::conn::record::State;
use crate::drops::DropReason;
use crate::time::Duration;
use crate::wire::addr::Endpoint;
use crate::wire::packet::Flags;
use crate::wire::seq::SeqNumber;

const ECHO: &str = "10.77.0.1:7";

#[test]
fn a_blind_reset_or_syn_gets_a_challenge_and_changes_nothing() {
    let mut host = Host::serving();
    let mut peer = Peer::opened(&mut host, ECHO);
    for (flags, offset) in [(RST, 1), (RST, 2919), (SYN, 0), (SYN, 5), (SYN, 100_000)] {
        host.seconds(1);
        let seen = peer.say(&mut host, flags, peer.seq + offset, SeqNumber(0), b"");
        peer.assert_ack(&seen);
    }
    for offset in [2920, 100_000, u32::MAX] {
        let seen = peer.say(&mut host, RST, peer.seq + offset, SeqNumber(0), b"");
        assert_eq!(seen, [], "a reset outside the window is not even answered");
    }
    assert_eq!(only(peer.tell(&mut host, ACK, b"alive")).payload, b"alive");
}

#[test]
fn a_blind_acknowledgment_frees_nothing_and_brings_no_data_in() {
    let mut host = Host::serving();
    let mut peer = Peer::opened(&mut host, ECHO);
    peer.tell(&mut host, ACK, b"in flight");
    for (offset, answered) in [(10, true), (1 << 20, false), (u32::MAX - 70_000, false)] {
        let forged = peer.say(&mut host, ACK, peer.seq, peer.ack + offset, b"evil");
        assert_eq!(forged.len(), usize::from(answered), "one challenge ACK in half a second");
        assert!(forged.iter().all(|seen| seen.payload.is_empty() && seen.ack == peer.seq));
    }
    assert_eq!(host.dropped(DropReason::BadAck), 3);
    assert_eq!(host.engine.flights.len(), 1);
}

#[test]
fn two_hosts_that_disagree_do_not_answer_each_other_for_ever() {
    // RFC 5961 section 7. An outsider has put a byte into each direction of a connection.
    let mut server = Host::serving();
    let mut peer = Peer::opened(&mut server, ECHO);
    let mut answered = 0;
    for round in 0..1000 {
        // The other stack answers every segment that it finds wrong.
        let wrong = peer.raw(ACK, peer.seq - 5, peer.ack + 5, b"");
        answered += server.receive(&[wrong]).len();
        if round % 100 == 99 {
            server.now = server.now + Duration::from_millis(100);
        }
    }
    assert!((1..=3).contains(&answered), "{answered} answers in a second");
    assert_eq!(only(peer.tell(&mut server, ACK, b"alive")).payload, b"alive");
}

#[test]
fn two_engines_that_disagree_fall_silent() {
    let mut a = Host::serving();
    let peer = Peer::opened(&mut a, ECHO);
    // The same connection from the other end, with numbers that do not fit.
    let mut other = config();
    other.mac = PEER_MAC;
    other.owned = vec![harness::owned("10.77.0.2", 32, 16)];
    let mut b = Host::new(other, Probe::default());
    let server = Peer {
        flow: crate::wire::addr::FlowKey { remote: peer.flow.local, local: peer.flow.remote },
        mac: MAC,
        ..peer.clone()
    };
    b.engine.neighbors = crate::engine::neighbor::Neighbors::new(PEER_MAC);
    assert!(active::connect(&mut b, peer.flow.local, peer.flow.remote).is_err());
    b.sent();
    b.engine.neighbors.learn(peer.flow.remote.addr, MAC);
    active::connect(&mut b, peer.flow.local, peer.flow.remote).unwrap();
    let syn = only(b.sent());
    // It is opened with a SYN-ACK that the first engine never sent, to be out of step.
    let Ok(crate::wire::packet::Packet::Tcp(segment)) = crate::wire::packet::parse(&syn, MAC)
    else {
        panic!("a SYN");
    };
    let mut forged = server.raw(SYN_ACK, SeqNumber(99), segment.seq + 1, b"");
    forged[..6].copy_from_slice(&PEER_MAC);
    forged[6..12].copy_from_slice(&MAC);
    let mut frames = b.receive(&[forged]);
    assert_eq!(b.state(), State::Established);
    let mut total = 0;
    for _ in 0..1000 {
        frames = a.receive(&frames);
        frames = b.receive(&frames);
        total += frames.len();
    }
    assert!(total <= 2, "{total} segments went round");
}

#[test]
fn a_storm_of_acks_in_fin_wait_2_ends() {
    let mut host = Host::serving();
    let mut peer = Peer::opened(&mut host, "10.77.0.1:7000");
    let fin = only(peer.tell(&mut host, ACK, b"QUIT\n"));
    peer.take(&fin);
    peer.tell(&mut host, ACK, b"");
    let wrong = || peer.raw(ACK, peer.seq - 5, peer.ack, b"");
    let answered: usize = (0..1000).map(|_| host.receive(&[wrong()]).len()).sum();
    assert_eq!((answered, host.state()), (32, State::FinWait2));
}

#[test]
fn a_handshake_does_not_answer_acks_that_prove_nothing() {
    let mut host = Host::serving();
    let mut peer = Peer::to(ECHO, 40_000);
    peer.syn(&mut host);
    for _ in 0..10 {
        assert_eq!(peer.say(&mut host, ACK, peer.seq + 100_000, peer.ack, b""), []);
    }
    assert_eq!(host.state(), State::SynReceived);
}

#[test]
fn every_kind_of_stray_segment_gets_the_right_reset() {
    let mut host = Host::serving();
    for target in ["10.77.0.1:7", "10.77.0.1:81", "[fd77::1]:81"] {
        let peer = Peer { ack: SeqNumber(777), ..Peer::to(target, 40_000) };
        for flags in [ACK, FIN, SYN_ACK] {
            let reset = only(peer.say(&mut host, flags, peer.seq, peer.ack, b"xyz"));
            assert_eq!((reset.flags, reset.seq, reset.window), (RST, peer.ack, 0), "{flags:?}");
        }
        let none = Flags::default();
        for (flags, len) in [(none, 3), (Flags { fin: true, ..none }, 4)] {
            let reset = only(peer.say(&mut host, flags, peer.seq, peer.ack, b"xyz"));
            assert_eq!(reset.flags, Flags { rst: true, ack: true, ..none });
            assert_eq!((reset.seq, reset.ack), (SeqNumber(0), peer.seq + len));
        }
        for flags in [RST, Flags { ack: true, ..RST }] {
            assert_eq!(peer.say(&mut host, flags, peer.seq, peer.ack, b""), []);
        }
    }
    let peer = Peer::to("10.77.0.1:81", 40_000);
    let refused = only(peer.say(&mut host, SYN, peer.seq, SeqNumber(0), b""));
    assert_eq!((refused.flags, refused.ack), (Flags { ack: true, ..RST }, peer.seq + 1));
    assert_eq!(host.state(), State::Free);
    assert_eq!(host.dropped(DropReason::StrayReset), 6);
}

#[test]
fn a_flood_of_strays_gets_a_limited_number_of_resets() {
    let mut config = config();
    config.resets_per_second = 10;
    let mut host = Host::new(config, Probe::default());
    let peer = Peer::to("10.77.0.1:81", 40_000);
    let flood: Vec<_> = (0..100).map(|n| peer.raw(ACK, peer.seq + n, peer.ack, b"")).collect();
    let mut sent = 0;
    for second in 1..=3u64 {
        let resets = host.receive(&flood).len() as u64;
        assert!((5..=10).contains(&resets), "{resets} in a second");
        sent += resets;
        assert_eq!(host.dropped(DropReason::ResetLimited), 100 * second - sent);
        host.seconds(1);
    }
    assert_eq!(host.engine.counters().resets, sent);
}

/// A forger who knows the endpoints of every connection, and no sequence number.
#[test]
fn a_flood_of_forgeries_gets_a_limited_number_of_challenges_and_probes_are_answered_all_the_same() {
    let mut config = config();
    config.challenges_per_second = 10;
    let mut host = Host::new(config, Probe::default());
    let mut peers: Vec<Peer> = (0..40).map(|n| Peer::to(ECHO, 40_000 + n)).collect();
    peers.iter_mut().for_each(|peer| peer.open(&mut host));
    let (mut sent, mut dropped) = (0, 0);
    for _ in 0..5 {
        host.seconds(1);
        let mut forged = |of: &dyn Fn(&Peer) -> Vec<u8>| -> u64 {
            let frames: Vec<_> = peers.iter().map(of).collect();
            dropped += 40;
            host.receive(&frames).len() as u64
        };
        let answers = forged(&|peer| peer.raw(RST, peer.seq + 1, peer.ack, b""))
            + forged(&|peer| peer.raw(SYN, peer.seq + 9_000, peer.ack, b"x"))
            + forged(&|peer| peer.raw(ACK, peer.seq, peer.ack + 9, b"x"));
        assert!((5..=10).contains(&answers), "{answers} in a second");
        sent += answers;
        // Their keepalive probes, and data that was had before.
        host.seconds(1);
        for peer in &peers {
            let probed = peer.say(&mut host, ACK, peer.seq - 1, peer.ack, b"");
            peer.assert_ack(&probed);
            let repeated = peer.say(&mut host, ACK, peer.seq - 3, peer.ack, b"had");
            peer.assert_ack(&repeated);
        }
    }
    let counters = host.engine.counters();
    assert_eq!(counters.challenges, sent);
    // Of each connection's three the first asked for one.
    assert_eq!(counters.challenges_limited, 5 * 40 - sent);
    assert_eq!((counters.established, dropped), (40, 5 * 120));
}

/// What the host does with a SYN from `source` to `target`.
fn syn_between(host: &mut Host, source: Endpoint, target: Endpoint) -> usize {
    let mut peer = Peer::to(ECHO, 1);
    (peer.flow.local, peer.flow.remote) = (source, target);
    let frame = peer.next(SYN, b"");
    host.receive(&[frame]).len()
}

#[test]
fn addresses_that_no_honest_segment_has() {
    let mut config = config();
    config.owned.push(harness::owned("10.77.240.0", 20, 16));
    config.listeners.push(crate::engine::locals::Listener {
        endpoint: endpoint("10.77.255.255:7"),
        tag: 0,
        profile: None,
    });
    let mut host = Host::new(config, Probe::default());
    let good = endpoint("10.77.0.2:1");
    let echo = endpoint(ECHO);
    let cases = [
        (echo, echo, DropReason::OwnSource),
        (endpoint("10.77.241.1:1"), echo, DropReason::OwnSource),
        (endpoint("10.77.255.255:1"), echo, DropReason::OwnSource),
        (endpoint("255.255.255.255:1"), echo, DropReason::SourceAddress),
        (endpoint("224.0.0.5:1"), echo, DropReason::SourceAddress),
        (good, endpoint("10.77.255.255:7"), DropReason::NotOurs),
        (good, endpoint("255.255.255.255:7"), DropReason::NotOurs),
        (good, endpoint("10.77.0.3:7"), DropReason::NotOurs),
        (good, endpoint("224.0.0.1:7"), DropReason::NotOurs),
    ];
    for (source, target, reason) in cases {
        let before = host.dropped(reason);
        assert_eq!(syn_between(&mut host, source, target), 0, "{source:?} to {target:?}");
        assert_eq!(host.dropped(reason), before + 1, "{source:?} to {target:?}");
    }
    let mut plain = Host::serving();
    assert_eq!(syn_between(&mut plain, endpoint("10.77.255.255:1"), echo), 0);
    assert_eq!(plain.dropped(DropReason::SourceAddress), 1, "the link's broadcast address");
    // The rest of an owned range answers.
    assert_eq!(syn_between(&mut host, good, endpoint("10.77.240.9:7")), 1);
}

proptest::proptest! {
    /// Whatever the segments of a connection claim, nothing panics, every table stays whole, and no
    /// segment is answered by more than a flight's worth of segments.
    #[test]
    fn no_sequence_of_segments_breaks_anything(
        script in proptest::collection::vec(
            (0u8..16, 0u8..6, -3000i64..3000, -3000i64..3000, 0usize..300, 0u64..70_000),
            1..60,
        ),
        port in 0usize..3,
        mss in proptest::option::of(0u16..2000),
        wscale in proptest::option::of(0u8..15),
        window in 0u16..4000,
    ) {
        let mut host = Host::serving();
        let mut peer = Peer::to(["10.77.0.1:7", "[fd77::1]:9", "10.77.0.1:7000"][port], 40_000);
        peer.options.mss = mss;
        peer.options.wscale = wscale;
        peer.open(&mut host);
        for (bits, how, seq_off, ack_off, len, millis) in script {
            let syn = bits & 6 == 6;
            let flags = Flags {
                fin: bits & 1 != 0 && !syn,
                syn,
                rst: bits & 14 == 2,
                ack: bits & 8 != 0,
            };
            peer.window = window;
            // Mostly near what is right, by what the engine itself knows.
            if let Some(id) = host.engine.connection_from(&mut 0) {
                let conn = &host.engine.table.slab[id.index()];
                if how < 4 { peer.seq = conn.rcv_nxt; }
                if how < 5 { peer.ack = host.engine.snd_nxt(id.index()); }
            }
            let near = |n: SeqNumber, off: i64, exact: bool| match exact {
                true => n,
                false => SeqNumber((i64::from(n.0) + off) as u32),
            };
            let seq = near(peer.seq, seq_off, how < 3);
            let ack = near(peer.ack, ack_off, how % 2 == 0);
            let text: Vec<u8> = b"PING\nQUIT\nhello\n".iter().copied().cycle().take(len).collect();
            let answers = peer.say(&mut host, flags, seq, ack, &text);
            assert!(answers.len() <= 21, "{} answers", answers.len());
            host.pass(Duration::from_millis(millis));
        }
        host.pass(Duration::from_secs(1000));
        if let Some(id) = host.engine.connection_from(&mut 0) {
            let state = host.engine.table.slab[id.index()].state;
            assert!(matches!(state, State::Established), "{state:?} is not left by itself");
        }
    }
}
