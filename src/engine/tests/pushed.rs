//! What services are told of what they pushed.

use super::*;
use crate::conn::broadcast::{Audience, Progress};
use crate::conn::delivery::Outcome::{self, Full, Gone, Queued, Sent};
use crate::conn::slab::ConnId;
use crate::engine::config::Config;
use crate::service::{Context, Pushed, Service, ServiceState};
use crate::tcp::CloseReason;
use crate::tcp::promoted::pool::PUSHED_MAX;
use crate::time::Duration;

const DISCARD: &str = "10.77.0.1:9";

/// A little more than a timer's tick.
const MOMENT: Duration = Duration::from_millis(50);

/// How long a piece is, in bytes.
const PIECE: usize = 1_000;

/// For each byte that a connection says, a piece is pushed to the first one, noted as it says; a `*`
/// instead is for everybody, a `!` a broadcast to them, and a `?` one to others.
#[derive(Default)]
struct Speaker {
    members: Vec<ConnId>,
    progress: Vec<(u64, Progress)>,
    refused: u32,
    told: Vec<(ConnId, u64, Outcome)>,
    closed: Vec<ConnId>,
}

impl Service for Speaker {
    fn on_open(&mut self, conn: &mut Context<'_>) {
        self.members.push(conn.id());
    }

    fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
        for &byte in bytes {
            let (note, piece) = (u64::from(byte), [byte; PIECE]);
            match byte {
                b'*' => assert_eq!(conn.push_all(self.members.iter().copied(), b"all", note), 3),
                b'!' | b'?' => {
                    let tag = if byte == b'!' { DISCARD_TAG } else { DISCARD_TAG + 1 };
                    let accepted = conn.broadcast(Audience::Tag(tag), &piece, note);
                    self.refused += u32::from(accepted.is_err());
                }
                _ => conn.push(self.members[0], &piece, note).expect("there is room"),
            }
        }
        bytes.len()
    }

    fn on_pushed(&mut self, pushed: Pushed) {
        let Pushed { tag, note, to, outcome } = pushed;
        assert_eq!(tag, DISCARD_TAG);
        assert!(outcome == Gone || !self.closed.contains(&to), "before the end");
        self.told.push((to, note, outcome));
    }

    fn on_broadcast(&mut self, tag: u8, note: u64, progress: &Progress) {
        assert_eq!(tag, DISCARD_TAG);
        self.progress.push((note, *progress));
    }

    fn on_close(&mut self, id: ConnId, _: u8, _: ServiceState, _: CloseReason) {
        self.closed.push(id);
    }
}

/// That of the listener.
const DISCARD_TAG: u8 = crate::service::builtin::Builtin::Discard.tag();

fn told(host: &mut Host<Speaker>) -> Vec<(ConnId, u64, Outcome)> {
    core::mem::take(&mut host.engine.service_mut().told)
}

/// What was told, all of it about one connection.
fn told_of(host: &mut Host<Speaker>, id: ConnId) -> Vec<(u8, Outcome)> {
    let told = told(host);
    assert!(told.iter().all(|(to, ..)| *to == id));
    told.iter().map(|&(_, note, outcome)| (u8::try_from(note).unwrap(), outcome)).collect()
}

#[test]
fn each_connection_has_its_outcome() {
    let mut host = Host::new(Config { promoted_max: 0, ..config() }, Speaker::default());
    let mut peers = [1, 2, 3].map(|n| Peer::to(DISCARD, 40_000 + n));
    peers[1].window = 0;
    peers.iter_mut().for_each(|peer| peer.open(&mut host));
    let ids = host.engine.service().members.clone();
    peers[0].tell(&mut host, ACK, b"*");
    let [.., gone] = &peers;
    gone.say(&mut host, RST, gone.seq, gone.ack, b"");
    host.pass(MOMENT);
    let note = u64::from(b'*');
    assert_eq!(told(&mut host), [(ids[0], note, Sent), (ids[2], note, Gone)]);
    host.seconds(11);
    assert_eq!(told(&mut host), [(ids[1], note, Full)]);
}

#[test]
fn a_broadcast_says_how_far_it_is_and_what_came_of_it() {
    let mut host = Host::new(Config { promoted_max: 0, ..config() }, Speaker::default());
    let mut peers = [1, 2, 3].map(|n| Peer::to(DISCARD, 40_000 + n));
    peers[1].window = 0;
    peers.iter_mut().for_each(|peer| peer.open(&mut host));
    peers[0].tell(&mut host, ACK, b"!?");
    host.pass(MOMENT);
    let progress = |host: &mut Host<Speaker>, note: u8| {
        let told = host.engine.service().progress.iter();
        let mut told = told.filter(|(of, _)| *of == u64::from(note));
        *told.next_back().map(|(_, progress)| progress).expect("it is told")
    };
    let begun = Progress { places: 3, looked_at: 3, sent: 2, ..Progress::default() };
    assert_eq!(progress(&mut host, b'!'), begun, "one waits for its window");
    let nobody = Progress { places: 3, looked_at: 3, is_done: true, ..Progress::default() };
    assert_eq!((progress(&mut host, b'?'), nobody.connections()), (nobody, 0));
    host.seconds(11);
    let done = Progress { full: 1, is_done: true, ..begun };
    assert_eq!((progress(&mut host, b'!'), done.connections()), (done, 3));
    assert!(told(&mut host).is_empty(), "connections are not told of one by one");
    // Past 64 they are refused, and nothing more is told.
    let before = host.engine.service().progress.len();
    peers[0].tell(&mut host, ACK, &[b'?'; 70]);
    host.seconds(1);
    let Speaker { progress, refused, .. } = host.engine.service();
    let ended = progress[before..].iter().filter(|(_, progress)| progress.is_done).count();
    assert_eq!((ended, *refused), (64, 6));
}

#[test]
fn what_was_queued_and_is_lost_is_told_again() {
    let mut host = Host::new(Config { promoted_max: 1, ..config() }, Speaker::default());
    let mut peer = Peer::to(DISCARD, 40_000);
    peer.window = 4_500;
    peer.open(&mut host);
    let (id, start) = (host.id(), peer.ack);
    let mut got = peer.tell(&mut host, ACK, b"abcdefg");
    got.extend(peer.read_all(host.pass(MOMENT)));
    let outcomes = told_of(&mut host, id);
    assert_eq!(outcomes.len(), 7, "{outcomes:?}");
    // Some of it is acknowledged.
    let acked = |peer: &Peer| peer.ack.since(start) as usize;
    while acked(&peer) < 5 * PIECE {
        for seen in got.iter().filter(|seen| !seen.payload.is_empty()) {
            if seen.seq == peer.ack && acked(&peer) < 5 * PIECE {
                peer.take(seen);
            }
        }
        got = peer.tell(&mut host, ACK, b"");
    }
    let is_lost = |note: u8| usize::from(note - b'a' + 1) * PIECE > acked(&peer);
    let queued = outcomes.iter().filter(|(_, outcome)| *outcome == Queued);
    let (lost, kept): (Vec<u8>, Vec<u8>) = queued.map(|(note, _)| *note).partition(|n| is_lost(*n));
    assert!(lost.len() >= 2 && !kept.is_empty(), "{outcomes:?}, {} acknowledged", acked(&peer));
    assert_eq!(told(&mut host), []);
    peer.say(&mut host, RST, peer.seq, peer.ack, b"");
    assert_eq!(host.engine.service().closed, [id]);
    let gone: Vec<_> = lost.into_iter().map(|note| (note, Gone)).collect();
    assert_eq!(told_of(&mut host, id), gone);
}

#[test]
fn only_so_many_are_queued_on_one_connection_and_the_others_wait() {
    let mut host = Host::new(Config { promoted_max: 1, ..config() }, Speaker::default());
    let mut peer = Peer::to(DISCARD, 40_000);
    peer.window = 0;
    peer.open(&mut host);
    let id = host.id();
    peer.tell(&mut host, ACK, &[b'x'; 62]);
    peer.tell(&mut host, ACK, &[b'y'; 62]);
    host.pass(MOMENT);
    let queued = told_of(&mut host, id).len();
    assert!(queued <= PUSHED_MAX && queued > 50, "{queued}: as many as the buffer holds");
    peer.say(&mut host, RST, peer.seq, peer.ack, b"");
    host.pass(MOMENT);
    let lost = told_of(&mut host, id);
    assert!(lost.len() == 124 && lost.iter().all(|(_, outcome)| *outcome == Gone), "{lost:?}");
}
