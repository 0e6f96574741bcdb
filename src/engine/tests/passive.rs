//! Connections that the peer opens.

use super::*;
use crate::conn::record::{Conn, State};
use crate::drops::DropReason;
use crate::tcp::CloseReason;
use crate::time::Duration;
use crate::wire::packet::SynOptions;
use crate::wire::seq::SeqNumber;

const BOTH: [&str; 2] = ["10.77.0.1:7", "[fd77::1]:7"];

#[test]
fn a_handshake_over_both_families() {
    for target in BOTH {
        let mut host = Host::serving();
        let mut peer = Peer::to(target, 40_000);
        let syn_ack = peer.syn(&mut host);
        let mss = if target.starts_with('[') { 1440 } else { 1460 };
        assert_eq!(syn_ack.options, SynOptions { mss: Some(mss), ..SynOptions::default() });
        assert_eq!(syn_ack.window, 2920);
        assert_eq!((host.state(), host.events()), (State::SynReceived, vec![]));
        assert_eq!(peer.tell(&mut host, ACK, b""), []);
        assert_eq!(host.state(), State::Established);
        assert_eq!(host.events(), [Event::Open(host.id())]);
        let counters = host.engine.counters();
        assert_eq!((counters.accepted, counters.established, counters.connected), (1, 1, 0));
    }
}

#[test]
fn the_window_scale_is_returned_to_those_who_offer_it() {
    for offered in [None, Some(0), Some(7), Some(14)] {
        let mut host = Host::serving();
        let mut peer = Peer::to(BOTH[0], 1);
        peer.options.wscale = offered;
        assert_eq!(peer.syn(&mut host).options.wscale, offered.map(|_| 0));
    }
}

#[test]
fn an_idle_established_connection_owns_its_record_and_nothing_else() {
    assert_eq!(size_of::<Conn>(), 64);
    let mut host = Host::serving();
    let mut peer = Peer::opened(&mut host, BOTH[0]);
    assert_eq!(host.seconds(5), Vec::<Vec<u8>>::new());
    assert_eq!((host.engine.wheel.len(), host.engine.flight_wheel.len()), (0, 0));
    assert_eq!((host.engine.flights.len(), host.engine.next_timer(host.now)), (0, None));
    // Nor after it has spoken.
    let echoed = only(peer.tell(&mut host, ACK, b"hello"));
    peer.take(&echoed);
    peer.tell(&mut host, ACK, b"");
    assert_eq!((host.engine.flights.len(), host.engine.next_timer(host.now)), (0, None));
    for _ in 0..12 {
        assert_eq!(host.seconds(100 * 86_400), Vec::<Vec<u8>>::new(), "three years of silence");
    }
    assert_eq!(only(peer.tell(&mut host, ACK, b"again")).payload, b"again");
}

#[test]
fn the_syn_ack_is_repeated_with_growing_pauses_and_then_given_up() {
    let mut host = Host::serving();
    let mut peer = Peer::to(BOTH[1], 40_000);
    let start = host.now;
    let first = peer.syn(&mut host);
    let repeats = host.pass_noting(Duration::from_secs(300));
    let seconds: Vec<u64> = repeats.iter().map(|(at, _)| at.since(start).as_secs()).collect();
    assert_eq!(seconds, [1, 3, 7, 15, 31], "after 1, 2, 4, 8 and 16 s");
    for (_, frame) in repeats {
        assert_eq!(peer.read(&frame), first);
    }
    assert_eq!((host.state(), host.events()), (State::Free, vec![]));
    let counters = host.engine.counters();
    assert_eq!((counters.retransmitted, counters.closed(CloseReason::UserTimeout)), (5, 1));
    assert_eq!(counters.resets, 0);
}

#[test]
fn a_repeated_syn_gets_the_same_syn_ack() {
    let mut host = Host::serving();
    let mut peer = Peer::to(BOTH[0], 40_000);
    let first = peer.syn(&mut host);
    host.now = host.now + Duration::from_millis(700);
    let again = only(peer.say(&mut host, SYN, peer.seq - 1, SeqNumber(0), b""));
    assert_eq!(again, first);
    assert_eq!(peer.tell(&mut host, ACK, b""), []);
    assert_eq!(host.state(), State::Established);
}

#[test]
fn a_wrong_acknowledgment_is_reset_and_the_handshake_goes_on() {
    let mut host = Host::serving();
    let mut peer = Peer::to(BOTH[0], 40_000);
    peer.syn(&mut host);
    for wrong in [peer.ack - 1, peer.ack + 1, peer.ack + (1 << 31)] {
        let reset = only(peer.say(&mut host, ACK, peer.seq, wrong, b"data"));
        assert_eq!((reset.flags, reset.seq), (RST, wrong));
    }
    assert_eq!(host.state(), State::SynReceived);
    assert_eq!(peer.tell(&mut host, ACK, b""), []);
    assert_eq!(host.state(), State::Established);
}

#[test]
fn a_reset_ends_a_handshake_and_the_service_never_hears_of_it() {
    let mut host = Host::serving();
    let mut peer = Peer::to(BOTH[0], 40_000);
    peer.syn(&mut host);
    assert_eq!(peer.tell(&mut host, RST, b""), []);
    assert_eq!((host.state(), host.events()), (State::Free, vec![]));
    peer.seq = SeqNumber(7);
    peer.open(&mut host);
}

#[test]
fn another_syn_in_a_handshake_is_challenged_and_the_peers_reset_clears_the_way() {
    // The peer has rebooted and uses the same port again.
    let mut host = Host::serving();
    let mut peer = Peer::to(BOTH[0], 40_000);
    peer.syn(&mut host);
    let mut rebooted = peer.clone();
    rebooted.seq = SeqNumber(12_345);
    let challenge = only(rebooted.say(&mut host, SYN, rebooted.seq, SeqNumber(0), b""));
    assert_eq!((challenge.flags, challenge.ack, challenge.seq), (ACK, peer.seq, peer.ack));
    assert_eq!(rebooted.say(&mut host, RST, challenge.ack, SeqNumber(0), b""), []);
    assert_eq!(host.state(), State::Free);
    rebooted.open(&mut host);
}

#[test]
fn the_segment_that_completes_the_handshake_may_bring_data_and_a_fin() {
    let mut host = Host::serving();
    let mut peer = Peer::to(BOTH[0], 40_000);
    peer.syn(&mut host);
    let answer = only(peer.tell(&mut host, FIN, b"all at once"));
    assert_eq!((answer.flags, &answer.payload[..]), (FIN, &b"all at once"[..]));
    assert_eq!(answer.ack, peer.seq);
    peer.take(&answer);
    assert_eq!(peer.tell(&mut host, ACK, b""), []);
    let closed = Event::Closed(CloseReason::ClosedByPeer);
    assert_eq!(host.events()[1..], [Event::PeerClosed, closed]);
    assert_eq!(host.state(), State::Free);
}

#[test]
fn data_in_a_syn_is_left_to_be_sent_again() {
    let mut host = Host::serving();
    let mut peer = Peer::to(BOTH[0], 40_000);
    let syn_ack = only(peer.tell(&mut host, SYN, b"early"));
    peer.seq = peer.seq - 5;
    assert_eq!((syn_ack.flags, syn_ack.ack), (SYN_ACK, peer.seq));
    peer.ack = syn_ack.seq + 1;
    assert_eq!(only(peer.tell(&mut host, ACK, b"early")).payload, b"early");
}

#[test]
fn a_greeting_sees_the_window_of_the_segment_that_completes_the_handshake() {
    let mut host = Host::serving();
    host.engine.service_mut().greeting = b"welcome".to_vec();
    let mut peer = Peer::to(BOTH[0], 40_000);
    // Too small to be kept in units of the scale.
    (peer.options.wscale, peer.window) = (Some(14), 8192);
    peer.syn(&mut host);
    peer.window = 1;
    let greeting = only(peer.tell(&mut host, ACK, b""));
    assert_eq!(greeting.payload, b"welcome");
    peer.take(&greeting);
    assert_eq!(peer.tell(&mut host, ACK, b""), []);
}

#[test]
fn a_greeting_and_the_answer_to_data_go_out_together() {
    let mut host = Host::serving();
    host.engine.service_mut().greeting = b"welcome ".to_vec();
    let mut peer = Peer::to(BOTH[0], 40_000);
    peer.syn(&mut host);
    let both = only(peer.tell(&mut host, ACK, b"friend"));
    assert_eq!(both.payload, b"welcome friend");
    assert_eq!(both.ack, peer.seq);
}

#[test]
fn a_service_that_closes_at_once_takes_neither_data_nor_fin_out_of_order() {
    let mut host = Host::serving();
    host.engine.service_mut().close_on_open = true;
    let mut peer = Peer::to(BOTH[0], 40_000);
    peer.syn(&mut host);
    let at = peer.seq;
    let answer = only(peer.tell(&mut host, FIN, b"unread"));
    assert_eq!((answer.flags, answer.ack), (FIN, at), "neither the data nor the FIN was taken");
    peer.take(&answer);
    // It comes again; nobody will read it.
    let reset = only(peer.say(&mut host, FIN, at, peer.ack, b"unread"));
    assert!(reset.flags.rst);
    assert_eq!((host.state(), host.dropped(DropReason::ServiceFull)), (State::Free, 1));
}

#[test]
fn a_close_at_once_is_not_forgotten_while_all_flights_are_in_use() {
    let mut config = config();
    config.flights_max = 1;
    let mut host = Host::new(config, Probe::default());
    let mut first = Peer::opened(&mut host, BOTH[0]);
    first.take(&only(first.clone().tell(&mut host, ACK, b"x")));
    first.seq += 1;
    host.engine.service_mut().close_on_open = true;
    let mut second = Peer::to(BOTH[1], 40_000);
    second.syn(&mut host);
    assert_eq!(second.tell(&mut host, ACK, b""), []);
    let mut cursor = 1;
    let id = host.engine.connection_from(&mut cursor).unwrap();
    let now = host.now;
    let send = host.engine.send(id, b"", now, &mut host.pool, &mut host.tx);
    assert_eq!(send, Err(crate::engine::CommandError::Gone), "it is closing");
    let at = second.seq;
    let refused = second.tell(&mut host, FIN, b"unread");
    second.seq = at;
    second.assert_ack(&refused);
    assert_eq!(host.pass(Duration::from_millis(900)), Vec::<Vec<u8>>::new());
    assert_eq!(first.tell(&mut host, ACK, b""), [], "frees the flight");
    let fin = second.read(&only(host.pass(Duration::from_millis(200))));
    assert_eq!((fin.flags, fin.seq), (FIN, second.ack));
    // The next segment would have done as well.
    host.pass(Duration::from_millis(500));
    assert!(host.engine.flights.len() == 1);
}

#[test]
fn many_handshakes_in_one_batch() {
    let mut host = Host::serving();
    let mut peers: Vec<Peer> = (0..60).map(|n| Peer::to(BOTH[n % 2], 1000 + n as u16)).collect();
    let syns: Vec<_> = peers.iter_mut().map(|peer| peer.next(SYN, b"")).collect();
    let syn_acks = host.receive(&syns);
    let mut acks = Vec::new();
    for (peer, frame) in peers.iter_mut().zip(&syn_acks) {
        peer.ack = peer.read(frame).seq + 1;
        acks.push(peer.next(ACK, b"hi"));
    }
    assert_eq!(host.receive(&acks).len(), 60);
    assert_eq!(host.engine.counters().established, 60);
}

#[test]
fn one_batch_may_open_use_and_reset_a_connection_and_open_it_again() {
    let mut host = Host::serving();
    let mut peer = Peer::to(BOTH[0], 40_000);
    peer.syn(&mut host);
    let mut again = peer.clone();
    again.seq = SeqNumber(5);
    let data = peer.next(ACK, b"abc");
    let reset = peer.next(RST, b"");
    let late = peer.next(ACK, b"late");
    let syn = again.next(SYN, b"");
    let answers = host.receive(&[data, reset, late, syn]);
    let [echo, stray, syn_ack] = &answers[..] else { panic!("{} answers", answers.len()) };
    assert_eq!(peer.read(echo).payload, b"abc");
    assert_eq!(peer.read(stray).flags, RST);
    assert_eq!(peer.read(syn_ack).flags, SYN_ACK);
    assert_eq!(host.state(), State::SynReceived);
}

#[test]
fn vlan_tags_and_the_way_back_are_those_of_the_syn() {
    let mut host = Host::serving();
    let mut peer = Peer::to(BOTH[0], 40_000);
    peer.tags = vec![[0x81, 0, 0xe0, 42]];
    let frame = peer.next(SYN, b"");
    let answer = only(host.receive(&[frame]));
    assert_eq!(answer[..6], peer.mac);
    assert_eq!(answer[12..18], [0x81, 0, 0, 42, 8, 0], "the priority is cleared");
    assert_eq!(peer.read(&answer).flags, SYN_ACK);
}
