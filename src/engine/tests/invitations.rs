//! Services whose connections have something to say to one another, and turns between calls.

use super::*;
use crate::conn::invitations::INVITATIONS_MAX;
use crate::engine::config::Config;
use crate::service::{Context, Service, ServiceState, Turn};
use crate::tcp::CloseReason;
use crate::time::{Duration, Instant};

const SERVER: &str = "10.77.0.1:7";

/// Says to every connection but the one that it came on whatever comes, or who has left.
#[derive(Default)]
struct Chat {
    members: Vec<(ConnId, Vec<u8>)>,
    /// Members that could not be invited yet.
    late: Vec<ConnId>,
    /// When it wants a turn for nothing else.
    alarm: Option<Instant>,
    turns: Vec<Instant>,
}

impl Chat {
    fn say(&mut self, from: ConnId, text: &[u8], mut invite: impl FnMut(ConnId) -> bool) {
        for (id, waiting) in self.members.iter_mut().filter(|(id, _)| *id != from) {
            waiting.extend_from_slice(text);
            if !invite(*id) {
                self.late.push(*id);
            }
        }
    }
}

impl Service for Chat {
    fn on_open(&mut self, conn: &mut Context<'_>) {
        self.members.push((conn.id(), Vec::new()));
    }

    fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
        self.say(conn.id(), bytes, |id| conn.invite(id));
        bytes.len()
    }

    fn on_room(&mut self, conn: &mut Context<'_>) {
        let id = conn.id();
        let (_, waiting) = self.members.iter_mut().find(|(other, _)| *other == id).expect("one");
        let sent = conn.send(waiting);
        waiting.drain(..sent);
        if !waiting.is_empty() {
            conn.want_room();
        }
    }

    fn on_close(&mut self, id: ConnId, _: u8, _: ServiceState, _: CloseReason) {
        self.members.retain(|(other, _)| *other != id);
        self.say(id, b"left", |_| false);
    }

    fn next_turn(&self) -> Option<Instant> {
        if self.late.is_empty() { self.alarm } else { Some(Instant::ZERO) }
    }

    fn on_turn(&mut self, turn: &mut Turn<'_>) {
        self.turns.push(turn.now());
        self.alarm = self.alarm.filter(|alarm| *alarm > turn.now());
        self.late.retain(|id| !turn.invite(*id));
    }
}

/// A host with so many members.
fn chat(config: Config, members: u16) -> (Host<Chat>, Vec<Peer>) {
    let mut host = Host::new(config, Chat::default());
    let peers = (0..members).map(|n| {
        let mut peer = Peer::to(SERVER, 40_000 + n);
        peer.open(&mut host);
        peer
    });
    let peers = peers.collect();
    (host, peers)
}

/// The segments for each of `peers` among `frames`.
#[track_caller]
fn sorted(peers: &[Peer], frames: Vec<Vec<u8>>) -> Vec<Vec<Seen>> {
    let mut seen: Vec<Vec<Seen>> = peers.iter().map(|_| Vec::new()).collect();
    for frame in frames {
        let port = u16::from_be_bytes([frame[36], frame[37]]);
        let at = usize::from(port - 40_000);
        seen[at].push(peers[at].read(&frame));
    }
    seen
}

#[test]
fn what_comes_on_one_connection_leaves_on_the_others() {
    for promoted_max in [0, 4] {
        let config =
            Config { promoted_max, promote_always: promoted_max > 0, ..super::harness::config() };
        let (mut host, mut peers) = chat(config, 3);
        let hello = peers[0].next(ACK, b"hello");
        host.receive(&[hello]);
        let seen = sorted(&peers, host.run_timers());
        for (at, seen) in seen.into_iter().enumerate() {
            let said: Vec<_> = seen.into_iter().filter(|seen| !seen.payload.is_empty()).collect();
            match at {
                0 => assert_eq!(said, []),
                _ => {
                    let said = only(said);
                    assert_eq!(said.payload, b"hello");
                    peers[at].take(&said);
                }
            }
        }
        assert!(host.engine.table.invitations.is_empty());
    }
}

#[test]
fn who_has_no_room_is_called_when_there_is_some() {
    let (mut host, mut peers) = chat(config(), 2);
    // The second takes four bytes and then no more for now.
    peers[1].window = 4;
    let window = peers[1].next(ACK, b"");
    host.receive(&[window]);
    let hello = peers[0].next(ACK, b"hello there");
    host.receive(&[hello]);
    let first = only(sorted(&peers, host.run_timers()).remove(1));
    assert_eq!(first.payload, b"hell");
    peers[1].take(&first);
    peers[1].window = 1_000;
    let more = peers[1].next(ACK, b"");
    let mut sent = host.receive(&[more]);
    sent.extend(host.seconds(2));
    let rest: Vec<_> = sorted(&peers, sent).remove(1);
    assert_eq!(rest[0].payload, b"o there");
}

#[test]
fn who_has_gone_is_not_called_and_the_others_hear_of_it() {
    let (mut host, mut peers) = chat(config(), 3);
    let hello = peers[0].next(ACK, b"hello");
    let reset = peers[1].next(RST, b"");
    host.receive(&[hello, reset]);
    let sent = host.run_timers();
    let seen = sorted(&peers, sent);
    assert_eq!(seen[1], []);
    assert_eq!(only(seen[0].iter().filter(|s| !s.payload.is_empty()).collect()).payload, b"left");
    let third: Vec<u8> = seen[2].iter().flat_map(|seen| seen.payload.clone()).collect();
    assert_eq!(third, b"helloleft");
    assert_eq!(host.engine.service().turns, [host.now], "its end asked for a turn");
}

#[test]
fn a_turn_comes_when_it_was_asked_for() {
    let (mut host, _) = chat(config(), 1);
    let alarm = host.now + Duration::from_secs(5);
    host.engine.service_mut().alarm = Some(alarm);
    assert!(host.engine.next_timer(host.now) <= Some(alarm));
    host.pass(Duration::from_millis(4_999));
    assert_eq!(host.engine.service().turns, []);
    host.seconds(10);
    assert_eq!(host.engine.service().turns, [alarm]);
    assert_eq!(host.engine.next_timer(host.now), None);
}

#[test]
fn invitations_past_the_limit_are_refused_and_asked_for_again() {
    let (mut host, mut peers) = chat(config(), 2);
    let id = host.engine.service().members[1].0;
    let invited = core::iter::from_fn(|| host.engine.table.invitations.push(id).then_some(()));
    assert_eq!(invited.count(), INVITATIONS_MAX);
    let hello = peers[0].next(ACK, b"hello");
    host.receive(&[hello]);
    assert_eq!(host.engine.service().late, [id]);
    assert!(host.engine.next_timer(host.now) <= Some(host.now));
    let seen = sorted(&peers, host.seconds(1));
    assert_eq!(seen[1][0].payload, b"hello");
    assert!(host.engine.service().late.is_empty() && host.engine.table.invitations.is_empty());
}
