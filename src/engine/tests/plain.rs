//! The short way of plain segments against the whole way of all: whatever peers send, both engines say, count
//! and remember the same.

use super::harness::{Host, Probe, config};
use super::peer::{ACK, PEER_MAC, Peer};
use crate::tcp::keepalive::{Keepalive, Profile};
use crate::time::Duration;
use crate::wire::packet::{Packet, parse};
use crate::wire::seq::SeqNumber;
use proptest::prelude::*;

/// One engine that goes the short way, and one that never does.
struct Pair {
    short: Host<Probe>,
    whole: Host<Probe>,
}

impl Pair {
    fn new(promoted_max: u32, greeting: &[u8]) -> Pair {
        let host = || {
            let mut config = config();
            let mut probe = Probe::default();
            probe.greeting = greeting.to_vec();
            config.promoted_max = promoted_max;
            config.promoted_buffer = 8_192;
            config.flights_max = 2;
            let (time, interval) = (Duration::from_secs(2), Duration::from_secs(1));
            let keepalive = Keepalive::new(time, interval, 3).ok();
            config.profile = Profile { keepalive, user_timeout: None };
            Host::new(config, probe)
        };
        let (short, mut whole) = (host(), host());
        whole.engine.goes_whole_way = true;
        Pair { short, whole }
    }

    /// Lets both do the same, and returns what both sent.
    fn both(&mut self, act: impl Fn(&mut Host<Probe>) -> Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let (short, whole) = (act(&mut self.short), act(&mut self.whole));
        assert_eq!(short, whole, "what is sent");
        assert_eq!(self.short.engine.counters(), self.whole.engine.counters());
        let records = |host: &Host<Probe>| {
            let slab = &host.engine.table.slab;
            (0..slab.touched()).map(|slot| format!("{:?}", slab[slot])).collect::<Vec<_>>()
        };
        assert_eq!(records(&self.short), records(&self.whole));
        short
    }
}

/// What a peer does next, with numbers off by so many from those that it should have.
#[derive(Clone, Debug)]
struct Step {
    peer: usize,
    seq: i8,
    ack: i8,
    payload: &'static [u8],
    window: u16,
    /// Whether the frame comes from another hardware address.
    is_moved: bool,
    /// Whether it comes twice, in one batch.
    is_doubled: bool,
    wait: Duration,
}

fn step() -> impl Strategy<Value = Step> {
    let offset = || prop_oneof![6 => Just(0i8), 3 => Just(-1i8), 1 => -3..3i8];
    const PAYLOADS: [&[u8]; 6] = [b"", b"", b"PING\n", b"PI", b"QUIT\n", &[b'x'; 1_400]];
    const WAITS_MS: [u64; 6] = [0, 0, 100, 600, 1_200, 2_500];
    let numbers = (0..3usize, offset(), offset());
    let rest = (
        prop::sample::select(&PAYLOADS[..]),
        prop::sample::select(&[65_535, 1_000, 0][..]),
        prop::bool::weighted(0.05),
        prop::bool::weighted(0.1),
        prop::sample::select(&WAITS_MS[..]).prop_map(Duration::from_millis),
    );
    (numbers, rest).prop_map(|((peer, seq, ack), (payload, window, is_moved, is_doubled, wait))| {
        Step { peer, seq, ack, payload, window, is_moved, is_doubled, wait }
    })
}

proptest! {
    #[test]
    fn both_ways_come_out_the_same(
        steps in proptest::collection::vec(step(), 1..40),
        promoted_max in prop::sample::select(&[0u32, 2][..]),
        greeting in prop_oneof![2 => Just(""), 1 => Just("hello\n")],
    ) {
        let mut pair = Pair::new(promoted_max, greeting.as_bytes());
        // Their handshakes are not complete.
        let mut peers = ["10.77.0.1:7", "10.77.0.1:7000", "10.77.0.1:9"].map(|target| {
            let mut peer = Peer::to(target, 40_000);
            let mut other = peer.clone();
            peer.syn(&mut pair.short);
            other.syn(&mut pair.whole);
            assert_eq!(peer.ack, other.ack, "the same secrets give the same numbers");
            peer
        });
        for step in steps {
            pair.both(|host| host.pass(step.wait));
            let peer = &mut peers[step.peer];
            peer.window = step.window;
            peer.mac = if step.is_moved { [2, 0, 0, 0, 0, 3] } else { PEER_MAC };
            let off = |number: SeqNumber, by| SeqNumber(number.0.wrapping_add_signed(i32::from(by)));
            let (seq, ack) = (off(peer.seq, step.seq), off(peer.ack, step.ack));
            let frame = peer.raw(ACK, seq, ack, step.payload);
            let frames = vec![frame; 1 + usize::from(step.is_doubled)];
            let sent = pair.both(|host| host.receive(&frames));
            for frame in sent {
                let Ok(Packet::Tcp(segment)) = parse(&frame, peer.mac) else { continue };
                if segment.flow != peer.flow {
                    // A connection that gave way to this one is reset.
                    continue;
                }
                // The peer believes what it is told.
                let seen = peer.read(&frame);
                peer.seq = if seen.ack.after(peer.seq) { seen.ack } else { peer.seq };
                if seen.seq == peer.ack {
                    peer.take(&seen);
                }
            }
        }
    }
}
