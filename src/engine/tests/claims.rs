//! Owned addresses: probes, announcements, conflicts.

use super::gateways::{addr, is_at};
use super::harness::{MAC, owned};
use super::peer::PEER_MAC;
use super::*;
use crate::drops::DropReason;
use crate::engine::ConnectError;
use crate::engine::claims::{Claim, Claiming, Conflict};
use crate::frame::FramePool;
use crate::time::Duration;
use crate::wire::addr::Address;
use crate::wire::ethernet::{self, EthernetHeader, Mac};
use crate::wire::neighbor;
use crate::wire::packet::{Control, ControlKind, Packet, parse};

const OWN: [&str; 2] = ["10.77.0.1", "fd77::1"];
const ECHO: [&str; 2] = ["10.77.0.1:7", "[fd77::1]:7"];

fn host(claiming: Claiming) -> Host {
    let mut config = config();
    config.claiming = claiming;
    config.owned.push(owned("10.77.16.0", 20, 16));
    config.owned.push(owned("fd77::1:0", 112, 64));
    Host::new(config, Probe::default())
}

/// The frame that `write` writes.
fn written(write: impl FnOnce(&mut [u8]) -> Option<usize>) -> Vec<u8> {
    let mut frame = vec![0; 128];
    let len = write(&mut frame).unwrap();
    frame.truncate(len);
    frame
}

/// `mac` asks whether anybody has `addr`.
fn probe(mac: Mac, addr: Address) -> Vec<u8> {
    written(|room| neighbor::ask(room, mac, addr.unspecified(), addr))
}

fn announcement(mac: Mac, addr: Address) -> Vec<u8> {
    written(|room| neighbor::announce(room, mac, addr))
}

/// Whether `frame` announces `addr` from the engine.
fn announces(frame: &[u8], addr: Address) -> bool {
    frame == announcement(MAC, addr)
}

/// What the engine sends in `seconds`: at which tenth of a second, whether it is a probe, and about
/// which address.
fn told(host: &mut Host, seconds: u64) -> Vec<(u64, bool, Address)> {
    let start = host.now;
    let sent = host.pass_noting(Duration::from_secs(seconds));
    let note = |(at, frame): (crate::time::Instant, Vec<u8>)| {
        let Ok(Packet::Control(Control { source, target, kind, .. })) = parse(&frame, PEER_MAC)
        else {
            panic!("{:?}", parse(&frame, PEER_MAC));
        };
        let about = if source.is_unspecified() { target } else { source };
        assert_eq!(frame[6..12], MAC);
        assert!(!matches!(kind, ControlKind::Icmp));
        ((at.since(start).as_millis() / 100) as u64, source.is_unspecified(), about)
    };
    sent.into_iter().map(note).collect()
}

#[test]
fn addresses_are_announced_twice_and_ranges_are_not() {
    let mut host = host(Claiming::Announce);
    assert_eq!(host.engine.claim(), Claim::Held);
    let sent = host.run_timers();
    assert_eq!(sent.len(), 2);
    for (frame, own) in sent.iter().zip(OWN) {
        assert!(announces(frame, addr(own)), "{own}");
    }
    // It serves meanwhile.
    Peer::opened(&mut host, ECHO[0]);
    let rest: Vec<_> = OWN.iter().map(|own| (20, false, addr(own))).collect();
    assert_eq!(told(&mut host, 30), rest);
    assert_eq!(told(&mut host, 1000), []);
}

#[test]
fn an_announcement_is_what_the_rfcs_say() {
    let [v4, v6] = OWN.map(|own| announcement(MAC, addr(own)));
    assert_eq!((&v4[..6], &v4[12..14]), (&ethernet::BROADCAST[..], &[8, 6][..]));
    let own = [10, 77, 0, 1];
    // RFC 5227 section 2.3: a request, with the address as sender and as target.
    assert_eq!(v4[20..22], [0, 1]);
    assert_eq!((&v4[22..28], &v4[28..32], &v4[38..42]), (&MAC[..], &own[..], &own[..]));
    // RFC 4861 section 7.2.6: to all nodes, not solicited; it overrides.
    assert_eq!(v6[..6], [0x33, 0x33, 0, 0, 0, 1]);
    assert_eq!(v6[38..54], addr("ff02::1").0);
    assert_eq!((v6[54], v6[58]), (136, 0x20));
    assert_eq!((&v6[62..78], &v6[80..86]), (&addr(OWN[1]).0[..], &MAC[..]));
    let [v4, v6] = OWN.map(|own| probe(MAC, addr(own)));
    assert_eq!((&v4[28..32], &v4[38..42]), (&[0; 4][..], &own[..]));
    assert_eq!((&v6[22..38], v6.len()), (&[0; 16][..], 78), "without an option");
}

#[test]
fn nothing_is_served_until_the_probes_went_unanswered() {
    let mut host = host(Claiming::Probe);
    assert_eq!(host.engine.claim(), Claim::Probing);
    let mut peers = ECHO.map(|target| Peer::to(target, 40_000));
    for peer in &mut peers {
        assert_eq!(peer.clone().tell(&mut host, SYN, b""), []);
    }
    assert_eq!(host.dropped(DropReason::Unclaimed), 2);
    let question = written(|room| neighbor::ask(room, PEER_MAC, addr("10.77.0.2"), addr(OWN[0])));
    assert!(host.receive(&[question]).is_empty(), "not even where it is");
    let remote = endpoint("10.77.0.2:7");
    let result = active::connect(&mut host, endpoint("10.77.0.1:1"), remote);
    assert_eq!(result, Err(ConnectError::Resolving));

    let sent = told(&mut host, 20);
    let of = |own: &str, is_probe: bool| -> Vec<u64> {
        let about = sent.iter().filter(|said| (said.1, said.2) == (is_probe, addr(own)));
        about.map(|&(at, ..)| at).collect()
    };
    let [first, second, third] = of(OWN[0], true)[..] else { panic!("three probes: {sent:?}") };
    assert!(first <= 10 && (10..=20).contains(&(second - first)), "{sent:?}");
    assert!((10..=20).contains(&(third - second)), "{sent:?}");
    let [announced, again] = of(OWN[0], false)[..] else { panic!("two announcements: {sent:?}") };
    assert!((20..=21).contains(&(announced - third)) && again - announced == 20, "{sent:?}");
    let [only_probe] = of(OWN[1], true)[..] else { panic!("one probe: {sent:?}") };
    assert!(only_probe <= 10 && (10..=11).contains(&(of(OWN[1], false)[0] - only_probe)));
    assert_eq!((sent.len(), host.engine.claim()), (8, Claim::Held));
    peers.iter_mut().for_each(|peer| peer.open(&mut host));
}

#[test]
fn an_address_that_somebody_has_is_refused() {
    let answers: [&dyn Fn(Address) -> Vec<u8>; 3] = [
        &|addr| is_at(PEER_MAC, addr),
        &|addr| announcement(PEER_MAC, addr),
        // Who probes it at the same time.
        &|addr| probe(PEER_MAC, addr),
    ];
    for own in OWN {
        for answer in answers {
            let mut host = host(Claiming::Probe);
            host.pass(Duration::from_millis(1100));
            // Its own messages, which a loop in the network brings back, prove nothing.
            host.receive(&[probe(MAC, addr(own)), announcement(MAC, addr(own))]);
            assert_eq!(host.engine.claim(), Claim::Probing);
            assert!(host.receive(&[answer(addr(own))]).is_empty());
            let conflict = Conflict { addr: addr(own), mac: PEER_MAC };
            assert_eq!(host.engine.claim(), Claim::Refused(conflict));
            assert_eq!(host.engine.counters().conflict, Some(conflict));
            assert_eq!(host.seconds(1000), Vec::<Vec<u8>>::new());
            for target in ECHO {
                assert_eq!(Peer::to(target, 1).tell(&mut host, SYN, b""), []);
            }
            let local = endpoint("10.77.0.1:1");
            let result = active::connect(&mut host, local, endpoint("10.77.0.2:7"));
            assert_eq!(result, Err(ConnectError::NotOwned));
        }
    }
}

#[test]
fn a_conflict_is_counted_and_defended_against_once_in_ten_seconds() {
    for own in [OWN[0], OWN[1], "10.77.20.9", "fd77::1:77"] {
        let mut host = host(Claiming::Silent);
        let mut peer = Peer::opened(&mut host, ECHO[0]);
        let claim = if own == OWN[0] {
            is_at(PEER_MAC, addr(own))
        } else {
            announcement(PEER_MAC, addr(own))
        };
        for round in 0..3 {
            let defence = only(host.receive(core::slice::from_ref(&claim)));
            assert!(announces(&defence, addr(own)), "{own}");
            for _ in 0..9 {
                host.seconds(1);
                assert!(host.receive(core::slice::from_ref(&claim)).is_empty());
            }
            host.seconds(1);
            let counters = host.engine.counters();
            assert_eq!(counters.address_conflicts, 10 * (round + 1));
            assert_eq!(counters.conflict, Some(Conflict { addr: addr(own), mac: PEER_MAC }));
        }
        assert_eq!(host.dropped(DropReason::OwnSource), 30);
        assert_eq!(only(peer.tell(&mut host, ACK, b"still")).payload, b"still");
    }
}

#[test]
fn a_question_in_the_name_of_an_owned_address_is_a_conflict_too() {
    let mut host = host(Claiming::Silent);
    let question = written(|room| neighbor::ask(room, PEER_MAC, addr(OWN[0]), addr("10.77.0.2")));
    assert!(announces(&only(host.receive(&[question])), addr(OWN[0])));
    assert_eq!(host.engine.counters().address_conflicts, 1);
    host.receive(&[announcement(PEER_MAC, addr("10.77.0.2")), announcement(MAC, addr(OWN[0]))]);
    assert_eq!(host.engine.counters().address_conflicts, 1, "another's address, and its own frame");
}

#[test]
fn who_probes_an_owned_address_is_told_that_somebody_has_it() {
    let mut host = host(Claiming::Silent);
    for own in ["10.77.0.1", "10.77.20.9", "fd77::1", "fd77::1:77"] {
        let own = addr(own);
        let answer = only(host.receive(&[probe(PEER_MAC, own)]));
        let told = parse(&answer, PEER_MAC);
        let Ok(Packet::Control(Control { kind, source, .. })) = told else { panic!("{told:?}") };
        assert_eq!(kind, ControlKind::NeighborIsAt { mac: MAC, overrides: true });
        let to = EthernetHeader::parse(&answer).unwrap().dst();
        let expected = if own.is_v4() { PEER_MAC } else { [0x33, 0x33, 0, 0, 0, 1] };
        assert_eq!((source, to), (own, expected));
    }
    for other in ["10.77.0.3", "fd77::3"] {
        assert!(host.receive(&[probe(PEER_MAC, addr(other))]).is_empty());
    }
    assert_eq!(host.dropped(DropReason::NotOurs), 2);
    assert_eq!(host.engine.counters().address_conflicts, 0);
    // With tags, in the same virtual network.
    let mut tagged = probe(PEER_MAC, addr(OWN[0]));
    tagged.splice(12..12, [0x81, 0, 0, 7]);
    assert_eq!(only(host.receive(&[tagged]))[12..18], [0x81, 0, 0, 7, 8, 6]);
}

#[test]
fn messages_wait_while_there_is_no_room_for_them() {
    let mut host = host(Claiming::Announce);
    host.tx = Vec::with_capacity(1);
    let room = host.tx.capacity();
    for _ in 0..room {
        let frame = host.pool.take().unwrap();
        host.tx.push(frame);
    }
    host.engine.handle_timers(host.now, &mut host.pool, &mut host.tx);
    assert_eq!(host.engine.next_timer(host.now), Some(host.now));
    host.sent();
    assert_eq!(host.run_timers().len(), room.min(2));
    assert_eq!(host.dropped(DropReason::NoFrame), 0);
}
