//! Peers and gateways whose hardware address changes.

use super::gateways::{addr, asked, is_at, routed};
use super::peer::PEER_MAC;
use super::*;
use crate::drops::DropReason;
use crate::engine::ConnectError;
use crate::time::Duration;
use crate::wire::addr::Address;
use crate::wire::ethernet::{self, EthernetHeader, Mac};
use crate::wire::neighbor;
use crate::wire::packet::SynOptions;
use crate::wire::seq::SeqNumber;

const BOTH: [&str; 2] = ["10.77.0.1:7", "[fd77::1]:7"];

/// Where the peer moves to, and where a forger is.
const NEW_MAC: Mac = [2, 0, 0, 0, 0, 0x22];
const FORGER_MAC: Mac = [2, 0, 0, 0, 0, 0x66];

fn moved(host: &Host) -> u64 {
    host.engine.counters().paths_changed
}

/// Which segments and which questions were sent: at which second, and where to.
fn told(host: &mut Host, seconds: u64) -> [Vec<(u64, Mac)>; 2] {
    let start = host.now;
    host.questions.clear();
    let segments = host.pass_noting(Duration::from_secs(seconds));
    let questions = core::mem::take(&mut host.questions);
    [segments, questions].map(|frames| {
        let to = |frame: &[u8]| EthernetHeader::parse(frame).unwrap().dst();
        frames.iter().map(|(at, frame)| (at.since(start).as_secs(), to(frame))).collect()
    })
}

#[test]
fn a_peer_that_moved_is_answered_where_it_speaks_from() {
    for always in [false, true] {
        for target in BOTH {
            let mut config = config();
            config.promote_always = always;
            let mut host = Host::new(config, Probe::default());
            let mut peer = Peer::opened(&mut host, target);
            peer.mac = NEW_MAC;
            // `read` holds the answer to the peer's address.
            let echo = only(peer.tell(&mut host, ACK, b"from elsewhere"));
            assert_eq!(echo.payload, b"from elsewhere");
            peer.take(&echo);
            assert_eq!(peer.tell(&mut host, ACK, b""), []);
            assert_eq!((moved(&host), host.engine.table.paths.len()), (1, 1));
            // With a tag, it is on another virtual network.
            peer.tags = vec![[0x81, 0, 0, 7]];
            let echo = only(peer.tell(&mut host, ACK, b"tagged"));
            assert_eq!((&echo.payload[..], moved(&host)), (&b"tagged"[..], 2));
        }
    }
}

#[test]
fn a_keepalive_probe_is_answered_where_it_came_from() {
    let mut host = Host::serving();
    let mut peer = Peer::opened(&mut host, BOTH[0]);
    peer.mac = NEW_MAC;
    let answer = peer.say(&mut host, ACK, peer.seq - 1, peer.ack, b"");
    peer.assert_ack(&answer);
    assert_eq!(moved(&host), 1);
}

#[test]
fn a_syn_with_the_numbers_of_a_probe_moves_nothing() {
    let mut host = Host::serving();
    let mut peer = Peer::opened(&mut host, BOTH[0]);
    let here = peer.mac;
    peer.mac = NEW_MAC;
    let challenge = peer.raw(SYN_ACK, peer.seq - 1, peer.ack, b"");
    let answers = host.receive(&[challenge]);
    assert_eq!(EthernetHeader::parse(&only(answers)).unwrap().dst(), here);
    assert_eq!(moved(&host), 0);
}

#[test]
fn forged_segments_do_not_move_a_connection() {
    for always in [false, true] {
        let mut config = config();
        config.promote_always = always;
        let mut host = Host::new(config, Probe::default());
        let mut peer = Peer::opened(&mut host, BOTH[0]);
        let forger = Peer { mac: FORGER_MAC, ..peer.clone() };
        let (seq, ack) = (peer.seq, peer.ack);
        let forgeries = [
            // In the window, but not the next; before it; acknowledging what was never sent, or what
            // is long done.
            (ACK, seq + 1, ack, &b"evil"[..]),
            (ACK, seq + 1, ack, b""),
            (ACK, seq - 1, ack + 1, b""),
            (ACK, seq - 9, ack, b"had befor"),
            (ACK, seq, ack + 1, b"evil"),
            (ACK, seq, ack - 1, b""),
            (ACK, seq, ack - 70_000, b"evil"),
            (RST, seq + 1, SeqNumber(0), b""),
            (SYN, seq, SeqNumber(0), b""),
            (SYN_ACK, seq - 1, ack + 1, b""),
            (FIN, seq + 100, ack, b""),
        ];
        for (flags, seq, ack, payload) in forgeries {
            host.seconds(1);
            for frame in host.receive(&[forger.raw(flags, seq, ack, payload)]) {
                assert_eq!(frame[..6], PEER_MAC, "{flags:?} {seq:?}");
            }
            assert_eq!(moved(&host), 0, "{flags:?} {seq:?} {ack:?}");
        }
        let echo = only(peer.tell(&mut host, ACK, b"alive"));
        assert!(echo.payload.starts_with(b"a"), "{echo:?}");
    }
}

/// A host with data in flight that its peer does not get, being at `NEW_MAC` now.
fn unanswered(target: &str) -> (Host, Peer) {
    let mut host = Host::serving();
    let mut peer = Peer::opened(&mut host, target);
    peer.tell(&mut host, ACK, b"x");
    (host, peer)
}

#[test]
fn who_does_not_answer_is_asked_for_and_found_elsewhere() {
    for target in BOTH {
        let (mut host, mut peer) = unanswered(target);
        let group = match peer.endpoint().addr.is_v4() {
            true => ethernet::BROADCAST,
            false => [0x33, 0x33, 0xff, 0, 0, 2],
        };
        // After three retransmissions, as RFC 9293 section 3.8.3 has it.
        let sent = [1, 3, 7].map(|at| (at, PEER_MAC)).to_vec();
        assert_eq!(told(&mut host, 10), [sent, vec![(7, group)]]);
        assert!(host.receive(&[is_at(NEW_MAC, peer.endpoint().addr)]).is_empty());
        peer.mac = NEW_MAC;
        let again = peer.read(&only(host.seconds(6)));
        assert_eq!((again.payload, moved(&host)), (b"x".to_vec(), 1));
        peer.ack += 1;
        assert_eq!(peer.tell(&mut host, ACK, b""), []);
        assert_eq!(host.seconds(100), Vec::<Vec<u8>>::new());
    }
}

#[test]
fn an_announcement_moves_the_next_retransmission() {
    for client in active::CLIENTS {
        let (mut host, mut peer) = active::connecting(client);
        active::establish(&mut host, &mut peer);
        let (id, now) = (host.id(), host.now);
        host.engine.send(id, b"x", now, &mut host.pool, &mut host.tx).unwrap();
        host.sent();
        let mut announcement = vec![0; 128];
        let len = neighbor::announce(&mut announcement, NEW_MAC, peer.endpoint().addr).unwrap();
        announcement.truncate(len);
        host.now = host.now + Duration::from_millis(100);
        assert!(host.receive(&[announcement]).is_empty());
        assert_eq!(told(&mut host, 2), [vec![(0, NEW_MAC)], vec![]], "a second after it was sent");
        assert_eq!(moved(&host), 1);
    }
}

#[test]
fn a_syn_that_nobody_answers_finds_the_peer_elsewhere() {
    let (mut host, mut peer) = active::connecting(active::CLIENTS[0]);
    let syn = host.sent();
    assert_eq!(only(syn)[..6], PEER_MAC);
    assert_eq!(told(&mut host, 8).map(|frames| frames.len()), [3, 1]);
    host.receive(&[is_at(NEW_MAC, peer.endpoint().addr)]);
    peer.mac = NEW_MAC;
    assert_eq!(peer.read(&only(host.seconds(8))).flags, SYN);
}

#[test]
fn the_second_keepalive_probe_asks_and_the_third_finds() {
    let mut config = config();
    let keepalive =
        crate::tcp::keepalive::Keepalive::new(Duration::from_secs(60), Duration::from_secs(10), 5);
    config.profile.keepalive = Some(keepalive.unwrap());
    let mut host = Host::new(config, Probe::default());
    let peer = Peer::opened(&mut host, BOTH[0]);
    assert_eq!(told(&mut host, 65), [vec![(60, PEER_MAC)], vec![]]);
    assert_eq!(told(&mut host, 10), [vec![(5, PEER_MAC)], vec![(5, ethernet::BROADCAST)]]);
    host.receive(&[is_at(NEW_MAC, peer.endpoint().addr)]);
    assert_eq!(told(&mut host, 10)[0], [(5, NEW_MAC)]);
}

#[test]
fn a_promoted_connection_asks_and_finds_too() {
    let mut config = config();
    config.promote_always = true;
    let mut host = Host::new(config, Probe::default());
    let mut peer = Peer::opened(&mut host, BOTH[1]);
    peer.tell(&mut host, ACK, b"x");
    let [_, questions] = told(&mut host, 20);
    assert!(!questions.is_empty() && questions[0].0 >= 7, "{questions:?}");
    host.receive(&[is_at(NEW_MAC, peer.endpoint().addr)]);
    let [segments, _] = told(&mut host, 60);
    assert!(segments.iter().all(|&(_, to)| to == NEW_MAC) && !segments.is_empty(), "{segments:?}");
    assert_eq!(moved(&host), 1);
}

#[test]
fn for_a_peer_off_the_link_the_gateway_is_asked_for() {
    let mut host = routed(&["10.77.0.254"]);
    let mut peer = Peer::to(BOTH[0], 1);
    peer.flow.local = endpoint("192.0.2.1:40000");
    peer.open(&mut host);
    peer.tell(&mut host, ACK, b"x");
    host.seconds(8);
    let (_, question) = only(core::mem::take(&mut host.questions));
    assert_eq!(asked(&question), addr("10.77.0.254"));
    host.receive(&[is_at(NEW_MAC, addr("192.0.2.1")), is_at(NEW_MAC, addr("10.77.0.254"))]);
    peer.mac = NEW_MAC;
    assert_eq!(peer.read(&only(host.seconds(8))).payload, b"x");
    // Without a gateway nobody knows whom to ask.
    let mut host = Host::serving();
    peer.mac = PEER_MAC;
    peer.seq = SeqNumber(1);
    peer.open(&mut host);
    peer.tell(&mut host, ACK, b"x");
    let [segments, questions] = told(&mut host, 100);
    assert!(questions.is_empty() && segments.iter().all(|&(_, to)| to == PEER_MAC));
}

#[test]
fn what_a_neighbour_said_before_the_peer_was_last_heard_counts_for_nothing() {
    let (mut host, mut peer) = active::connecting(active::CLIENTS[0]);
    active::establish(&mut host, &mut peer);
    host.seconds(1);
    // The peer has moved, without an announcement.
    peer.mac = NEW_MAC;
    peer.tell(&mut host, ACK, b"here");
    let (id, now) = (host.id(), host.now);
    host.engine.send(id, b"x", now, &mut host.pool, &mut host.tx).unwrap();
    host.sent();
    let sent = vec![(1, NEW_MAC), (3, NEW_MAC)];
    assert_eq!(told(&mut host, 5), [sent, vec![]], "not where it was asked for once");
}

#[test]
fn forged_syns_from_the_link_ask_for_nobody_and_silent_peers_ask_for_a_limited_number() {
    let mut config = config();
    config.connections_max = 1000;
    config.flights_max = 1000;
    // A timer may send two frames, and there are 256.
    config.timers_per_call = 100;
    let mut host = Host::new(config, Probe::default());
    let mut peers: Vec<Peer> = (0..600u32)
        .map(|n| {
            let mut peer = Peer::to(BOTH[0], 40_000);
            peer.flow.local = endpoint(&format!("10.77.{}.{}:1", 100 + n / 200, 1 + n % 200));
            peer
        })
        .collect();
    for peer in &mut peers[..300] {
        peer.syn(&mut host);
    }
    host.seconds(100);
    assert_eq!(host.questions.len(), 0, "half-open connections");
    for peer in &mut peers[300..] {
        peer.open(&mut host);
        peer.tell(&mut host, ACK, b"x");
    }
    host.seconds(8);
    // All after three retransmissions, in the same second.
    assert!((128..=256).contains(&host.questions.len()), "{}", host.questions.len());
    let limited = host.engine.counters().questions_limited;
    assert_eq!(limited + host.questions.len() as u64, 300);
    assert_eq!(host.engine.counters().established, 300);
}

#[test]
fn a_neighbour_that_answers_no_more_is_forgotten() {
    let (mut host, peer) = active::connecting(active::CLIENTS[0]);
    host.seconds(200);
    let local = crate::wire::addr::Endpoint { port: 1, ..peer.flow.remote };
    let result = active::connect(&mut host, local, peer.endpoint());
    assert_eq!(result, Err(ConnectError::Resolving), "three questions went unanswered");
    host.sent();
    host.receive(&[is_at(NEW_MAC, peer.endpoint().addr)]);
    assert!(active::connect(&mut host, local, peer.endpoint()).is_ok());
    assert_eq!(only(host.sent())[..6], NEW_MAC);
}

#[test]
fn an_advertisement_that_does_not_override_changes_nothing() {
    let (mut host, peer) = active::connecting(active::CLIENTS[1]);
    host.sent();
    let addr: Address = peer.endpoint().addr;
    host.engine.neighbors.learn(addr, NEW_MAC, false, host.now);
    let local = crate::wire::addr::Endpoint { port: 1, ..peer.flow.remote };
    active::connect(&mut host, local, peer.endpoint()).unwrap();
    assert_eq!(only(host.sent())[..6], PEER_MAC);
}

#[test]
fn without_a_free_path_a_connection_stays_on_its_own() {
    let mut host = Host::serving();
    let mut peer = Peer::opened(&mut host, BOTH[0]);
    for n in 0..crate::conn::path::PATHS_MAX - 1 {
        let [.., a, b, c] = u32::try_from(n).unwrap().to_be_bytes();
        let ethernet = EthernetHeader::new([6, 0, 0, a, b, c], [2; 6], 0);
        let path = crate::conn::path::Path { local: endpoint(BOTH[0]).addr, ethernet };
        host.engine.table.paths.acquire(path).unwrap();
    }
    let moved_peer = Peer { mac: NEW_MAC, ..peer.clone() };
    let answer = host.receive(&[moved_peer.raw(ACK, peer.seq, peer.ack, b"x")]);
    peer.seq += 1;
    let echo = peer.read(&only(answer));
    assert_eq!((&echo.payload[..], moved(&host)), (&b"x"[..], 0));
    assert_eq!(echo.options, SynOptions::default());
    assert_eq!(host.dropped(DropReason::PathsFull), 0);
}
