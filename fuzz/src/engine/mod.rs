//! A program of frames, timers and commands for a whole engine with few of everything, and one
//! connection, the victim's, that must come through all of it.
//!
//! An input begins with the limits; then each operation is a byte and its operands. Numbers that the
//! fuzzer could only guess, such as the sequence number that a connection expects, are kept by its
//! peers, and operands say how far to be off: so that it reaches the states that honest peers reach,
//! and from there goes wrong.
//!
//! - `peer`: the hosts on the link; `service`: what runs on the connections; `pushes`: what was pushed, and
//!   what was told of it; `world`: the engine and what holds between any two calls

mod peer;
mod pushes;
mod service;
mod world;

use super::bytes::Bytes;
use super::frames::{ICMP, ICMPV6, MAC, RST, SYN, Sent, TCP, fix_checksums, ip_frame, tcp_start};
use peer::{LOCALS, PEERS, Peer};
use service::ERRATIC;
use tenmil::conn::broadcast::Audience;
use tenmil::tcp::CloseReason;
use tenmil::tcp::keepalive::{Keepalive, Profile};
use tenmil::time::{Duration, Instant};
use tenmil::wire::addr::Address;
use tenmil::wire::ethernet::{self, BROADCAST, EthernetHeader};
use tenmil::wire::packet::SynOptions;
use world::{Limits, World, sent_by, shifted};

/// Operations in one input, at most.
const OPERATIONS_MAX: usize = 200;

/// Payload and random bytes of one frame, at most.
const FRAME_MAX: u16 = 1_800;

/// Runs one input.
pub fn run(data: &[u8]) {
    let mut input = Bytes(data);
    let mut world = World::new(&limits(&mut input));
    for _ in 0..OPERATIONS_MAX {
        if input.is_empty() {
            break;
        }
        operation(&mut world, &mut input);
    }
    victim_is_served(&mut world);
    all_comes_to_an_end(&mut world);
}

fn limits(input: &mut Bytes<'_>) -> Limits {
    let [tables, promotion, times] = input.array();
    // Half of the runs start just before the tick counter wraps.
    let start = if times & 1 == 0 { 10 << 30 } else { ((1 << 32) - 500) << 24 };
    Limits {
        half_open_max: u32::from(tables & 3),
        flights_max: 1 << (tables >> 2 & 3),
        prefix_max: (tables & 16 != 0).then_some(1 + u32::from(tables >> 5)),
        promoted_max: u32::from(promotion & 3),
        promote_always: promotion & 4 != 0,
        park_after: Duration::from_millis([0, 500, 5_000, 50_000][usize::from(promotion >> 3 & 3)]),
        mtu: if promotion & 32 == 0 { 1500 } else { 1280 },
        profile: profile(times >> 1),
        accept_rate: (promotion & 64 != 0).then_some(3),
        has_small_outbox: promotion & 128 != 0,
        start: Instant::from_nanos(start),
    }
}

/// Keepalive and a user timeout, or one, or neither.
fn profile(bits: u8) -> Option<Profile> {
    let seconds = Duration::from_secs;
    let keepalive = Keepalive::new(seconds(20), seconds(1 + u64::from(bits >> 4)), 3);
    let user_timeout = [None, Some(seconds(0)), Some(seconds(5)), Some(seconds(100))];
    (bits & 1 != 0).then_some(Profile {
        keepalive: keepalive.ok().filter(|_| bits & 2 != 0),
        user_timeout: user_timeout[usize::from(bits >> 2 & 3)],
    })
}

/// The operation's number is in the low bits of its first byte.
const NUMBER: u8 = 0x0f;
/// More frames follow before the engine sees any: they come in one batch.
const HOLD: u8 = 0x80;
/// The link takes nothing of what is to be sent yet.
const BUSY: u8 = 0x40;
/// A command goes through the outbox.
const PUSH: u8 = 0x10;

fn operation(world: &mut World, input: &mut Bytes<'_>) {
    let first = input.u8();
    let frame = match first & NUMBER {
        0..=3 => segment(world, input),
        4 => damaged(segment(world, input), input),
        5 => raw(input),
        6 => icmp_error(world, input),
        7 => arp(world, input),
        8 => ndp(world, input),
        9 => ping(world, input),
        10 => forged(world, input),
        number @ (13 | 14) if first & PUSH != 0 => {
            push(world, number, input);
            world.round(first & BUSY == 0);
            return;
        }
        number => {
            command(world, number, input);
            world.round(first & BUSY == 0);
            return;
        }
    };
    if !world.is_the_victims(&frame) {
        world.inject(&frame);
    }
    if first & HOLD == 0 {
        world.round(first & BUSY == 0);
    }
}

fn command(world: &mut World, number: u8, input: &mut Bytes<'_>) {
    match number {
        11 => time(world, input),
        12 => {
            let peer = world.peers[PEERS - 8 + usize::from(input.u8() & 7)];
            let (local, remote) = (peer.flow.remote, peer.flow.local);
            let _ = world.command(|engine, now, pool, tx| {
                engine.connect(local, remote, ERRATIC, now, pool, tx)
            });
        }
        13 => {
            let (id, len) = (world.connection(input.u8()), usize::from(input.u16() % 9_000));
            let bytes = vec![b's'; len];
            if let Some(id) = id {
                let _ =
                    world.command(|engine, now, pool, tx| engine.send(id, &bytes, now, pool, tx));
            }
        }
        14 => {
            let (id, bits) = (world.connection(input.u8()), input.u8());
            if let Some(id) = id {
                let _ = world.command(|engine, now, pool, tx| match profile(bits) {
                    Some(profile) => engine.set_profile(id, profile, now),
                    None if bits == 0 => engine.close(id, now, pool, tx),
                    None => engine.abort(id, CloseReason::Evicted, pool, tx),
                });
            }
        }
        _ => {
            let len = usize::from(input.u8());
            world.victim.say(&b"are you still there? ".repeat(13)[..len]);
            world.inject(&world.victim.again());
        }
    }
}

/// Pushes to a connection, broadcasts, or closes a connection behind what was pushed to it.
fn push(world: &mut World, number: u8, input: &mut Bytes<'_>) {
    let [which, what] = input.array();
    let len = usize::from(input.u16()) % if what & 0x80 == 0 { 1_000 } else { 20_000 };
    let bytes = vec![b'p'; len];
    if number == 13 {
        let Some(id) = world.connection(which) else { return };
        // What follows is for one connection, so that it fills its line.
        for _ in 0..=what & 3 {
            let notice = world.pushes.notice();
            let _ = world.command(|engine, now, _, _| engine.push(id, &bytes, Some(notice), now));
        }
        return;
    }
    if what & 4 != 0 {
        let Some(id) = world.connection(which) else { return };
        let notice = world.pushes.notice();
        let _ = world.command(|engine, now, _, _| engine.close_behind(id, Some(notice), now));
        return;
    }
    // Never for the victim, which is the only one that listens to every byte.
    let audience = match what & 3 {
        0 => Audience::Tag(ERRATIC),
        1 => Audience::Tag(1 + which % 2),
        2 => Audience::Topic { tag: ERRATIC, topic: u64::from(which) },
        _ => Audience::Local(world.peers[PEERS / 2 + usize::from(which) % (PEERS / 2)].flow.remote),
    };
    let report = world.pushes.report();
    let _ = world.command(|engine, _, _, _| engine.broadcast(audience, &bytes, Some(report)));
}

/// Lets time pass: from timer to timer, and then past the rest of them at once. What is under way
/// arrives first: a link that stands still for minutes ends connections, and may.
fn time(world: &mut World, input: &mut Bytes<'_>) {
    const LATE_MAX: Duration = Duration::from_secs(60);
    let [unit, count] = input.array();
    let unit = Duration::from_millis([1, 20, 1_000, 60_000][usize::from(unit & 3)]);
    let end = world.now + unit * u32::from(count);
    for _ in 0..8 {
        world.settle();
        if !world.pass(end.since(world.now)) {
            return;
        }
    }
    world.settle();
    world.now = world.now + end.since(world.now).min(LATE_MAX);
}

/// A segment of a peer, more or less as it should be.
fn segment(world: &mut World, input: &mut Bytes<'_>) -> Vec<u8> {
    let [which, flags, shape] = input.array();
    let peer = &mut world.peers[usize::from(which) % PEERS];
    let (seq_off, ack_off) = match shape & 1 {
        0 => (0, 0),
        _ => (input.u16(), input.u16()),
    };
    let window = if shape & 2 == 0 { 0xffff } else { input.u16() };
    let options = if flags & SYN == 0 { SynOptions::default() } else { options(input.u8()) };
    let payload = match shape >> 2 & 3 {
        0 => Vec::new(),
        1 => input.take_len(FRAME_MAX).to_vec(),
        2 => b"PING\n".repeat(1 + usize::from(input.u8())),
        _ => vec![input.u8(); usize::from(input.u16() % FRAME_MAX)],
    };
    let (seq, ack) = (shifted(peer.seq, seq_off), shifted(peer.ack, ack_off));
    let sent = Sent { seq, ack, flags, window, options, ..sent_by(peer, &payload) };
    let frame = sent.frame();
    if flags & SYN != 0 {
        peer.seq = seq + 1;
    }
    frame
}

fn options(bits: u8) -> SynOptions {
    let mss = [None, Some(0), Some(100), Some(536), Some(1_220), Some(1_460), Some(9_000), None];
    let wscale = [None, Some(0), Some(7), Some(14)];
    SynOptions {
        mss: mss[usize::from(bits & 7)],
        wscale: wscale[usize::from(bits >> 3 & 3)],
        sack_permitted: bits & 32 != 0,
    }
}

/// Some bytes of `frame` changed, and perhaps the checksums set right again.
fn damaged(mut frame: Vec<u8>, input: &mut Bytes<'_>) -> Vec<u8> {
    let count = input.u8();
    for _ in 0..count & 7 {
        let [at, byte] = input.array();
        if let Some(place) = frame.get_mut(usize::from(at)) {
            *place = byte;
        }
    }
    if count & 8 != 0 {
        fix_checksums(&mut frame);
    }
    if count & 16 != 0 {
        frame.truncate(usize::from(input.u8()));
    }
    frame
}

/// Any bytes.
fn raw(input: &mut Bytes<'_>) -> Vec<u8> {
    let fix = input.bool();
    let mut frame = input.take_len(FRAME_MAX).to_vec();
    if fix {
        fix_checksums(&mut frame);
    }
    frame
}

/// An ICMP error about a segment that a peer, or the victim, has or has not received.
fn icmp_error(world: &World, input: &mut Bytes<'_>) -> Vec<u8> {
    let [which, kind, code] = input.array();
    let peer = match usize::from(which) {
        255 => world.victim.peer(),
        which => &world.peers[which % PEERS],
    };
    let (rest, seq_off) = (input.u32(), input.u16());
    let (local, remote) = (peer.flow.remote, peer.flow.local);
    // What was sent last starts a little before what is expected next.
    let seq = shifted(peer.ack, seq_off);
    let tcp = [&local.port.to_be_bytes()[..], &remote.port.to_be_bytes(), &seq.0.to_be_bytes()];
    let quote = ip_frame((MAC, MAC), (local.addr, remote.addr), TCP, 63, &tcp.concat());
    let body = [&[kind, code, 0, 0][..], &rest.to_be_bytes(), &quote[14..]].concat();
    let mut router = local.addr;
    router.0[15] = 254;
    let protocol = if local.addr.is_v4() { ICMP } else { ICMPV6 };
    ip_frame((peer.mac, MAC), (router, local.addr), protocol, 64, &body)
}

/// An ARP request or reply of a peer.
fn arp(world: &World, input: &mut Bytes<'_>) -> Vec<u8> {
    let [which, operation, bits] = input.array();
    let peer = &world.peers[(usize::from(which) % PEERS) & !1];
    let to = if bits & 1 == 0 { MAC } else { BROADCAST };
    let target = if bits & 2 == 0 { LOCALS[0] } else { Address::v4([10, 77, bits, which]) };
    let mut frame = EthernetHeader::new(to, peer.mac, ethernet::ARP).as_bytes().to_vec();
    frame.extend([0, 1, 8, 0, 6, 4, 0, operation]);
    frame.extend(peer.mac);
    frame.extend(peer.flow.local.addr.v4_octets());
    frame.extend([0; 6]);
    frame.extend(target.v4_octets());
    frame
}

/// A neighbour solicitation or advertisement of a peer.
fn ndp(world: &World, input: &mut Bytes<'_>) -> Vec<u8> {
    let [which, bits] = input.array();
    let peer = &world.peers[(usize::from(which) % PEERS) | 1];
    let (kind, target) = match bits & 1 {
        0 => (135, LOCALS[1]),
        _ => (136, peer.flow.local.addr),
    };
    let options = input.take_len(64);
    let own = [&[1 + (bits & 1), 1][..], &peer.mac].concat();
    let options = if bits & 2 == 0 { &own[..] } else { options };
    let body = [&[kind, 0, 0, 0, 0, 0, 0, 0][..], &target.0, options].concat();
    let (to, target) = match bits & 4 {
        0 => (MAC, LOCALS[1]),
        _ => ([0x33, 0x33, 0xff, 0, 0, 1], LOCALS[1].solicited_node()),
    };
    ip_frame((peer.mac, to), (peer.flow.local.addr, target), ICMPV6, 255, &body)
}

/// An echo request of a peer, or another message of ICMP.
fn ping(world: &World, input: &mut Bytes<'_>) -> Vec<u8> {
    let [which, kind] = input.array();
    let Peer { mac, flow, .. } = &world.peers[usize::from(which) % PEERS];
    let v4 = flow.local.addr.is_v4();
    let kind = match (kind, v4) {
        (0, true) => 8,
        (0, false) => 128,
        (other, _) => other,
    };
    let body = [&[kind, 0, 0, 0, 0, 1, 0, 1][..], input.take_len(FRAME_MAX)].concat();
    let protocol = if v4 { ICMP } else { ICMPV6 };
    ip_frame((*mac, MAC), (flow.local.addr, flow.remote.addr), protocol, 64, &body)
}

/// A SYN or a reset on the victim's connection, by somebody who does not see it.
fn forged(world: &World, input: &mut Bytes<'_>) -> Vec<u8> {
    let victim = world.victim.peer();
    let flags = input.u8();
    let flags = if flags & 1 == 0 { flags & 0x38 | SYN } else { flags & 0x38 | RST };
    let (seq, ack) = (victim.seq + input.u32(), victim.ack + input.u32());
    let attacker = Peer { mac: [2, 0, 0, 0, 1, 66], ..*victim };
    let options = options(input.u8());
    let mut frame = Sent { seq, ack, flags, options, ..sent_by(&attacker, &[]) }.frame();
    if flags & 0x20 != 0 {
        // Urgent: points somewhere.
        frame[tcp_start(&victim.flow.local.addr) + 19] = 9;
        fix_checksums(&mut frame);
    }
    frame
}

/// How long the victim waits at most: until peers that hold what it needs are given up.
const PATIENCE: Duration = Duration::from_secs(6_000);

/// The victim says something, and what it says comes back, as soon as others' time is up.
fn victim_is_served(world: &mut World) {
    world.victim.say(b"still there?");
    let end = world.now + PATIENCE;
    loop {
        world.inject(&world.victim.again());
        world.settle();
        if world.victim.is_content() {
            return;
        }
        assert!(world.now < end, "the victim is not served: {:?}", world.engine.counters());
        world.pass(Duration::from_secs(60));
    }
}

/// All others have vanished: once their connections are closed, nothing is left of them.
fn all_comes_to_an_end(world: &mut World) {
    let end = world.now + 2 * PATIENCE;
    let victim = world.engine.service().victim;
    // What a service has pushed to the victim may wait for ten seconds, in the last places of the outbox.
    let is_over = |world: &World| {
        world.engine.counters().connections <= 1
            && world.pushes.open() == [0, 0]
            && world.engine.has_room_for_pushes()
    };
    while !is_over(world) {
        let mut cursor = 0;
        while let Some(id) = world.engine.connection_from(&mut cursor) {
            if Some(id) != victim {
                let _ = world.command(|engine, now, pool, tx| engine.close(id, now, pool, tx));
            }
        }
        world.settle();
        assert!(world.now < end, "something is stuck: {:?}", world.engine.counters());
        world.pass(Duration::from_secs(60));
    }
    let counters = world.engine.counters();
    assert_eq!((counters.established, counters.half_open), (1, 0), "{counters:?}");
    assert!(counters.promoted <= 1, "{counters:?}");
    assert_eq!(world.engine.service().open_count, 1);
}
