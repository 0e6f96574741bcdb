//! AF_XDP links over a real veth pair, in two network namespaces of the test's own.
//!
//! Takes root. Without it each test prints `SKIPPED` and passes, unless
//! `TENMIL_REQUIRE_PRIVILEGED=1` says that it must not.
#![allow(unsafe_code, reason = "bpf(2) loads the test's program")]

mod common;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::process::Command;
use std::time::Duration;

use tenmil::frame::{Frame, FramePool};
use tenmil::link::af_xdp::interface::{Interface, InterfaceError, enter_netns};
use tenmil::link::af_xdp::{AfXdpLink, OpenError, Options, ZeroCopy};
use tenmil::link::{Census, Link, LinkError};

/// Two namespaces joined by a veth pair of two queues; gone when dropped, on a panic too.
struct TestNet {
    left: String,
    right: String,
}

/// The interface at either end, each in its own namespace.
const LEFT: &str = "tm-left";
const RIGHT: &str = "tm-right";

impl TestNet {
    fn new(test: &str) -> TestNet {
        let prefix = format!("tenmil-test-{}-{test}", std::process::id());
        let net = TestNet { left: format!("{prefix}-l"), right: format!("{prefix}-r") };
        let (left, right) = (&net.left, &net.right);
        ip(&format!("netns add {left}"));
        ip(&format!("netns add {right}"));
        ip(&format!(
            "-n {left} link add {LEFT} numrxqueues 2 numtxqueues 2 type veth \
             peer name {RIGHT} netns {right} numrxqueues 2 numtxqueues 2"
        ));
        for (namespace, interface) in [(left, LEFT), (right, RIGHT)] {
            // No IPv6 address, so that the kernel says nothing of its own accord.
            ip(&format!("-n {namespace} link set {interface} addrgenmode none up"));
        }
        net
    }
}

impl Drop for TestNet {
    fn drop(&mut self) {
        for namespace in [&self.left, &self.right] {
            let _there_or_not = Command::new("ip").args(["netns", "del", namespace]).output();
        }
    }
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().expect("ip runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {error}");
}

/// Runs `body` on a thread of its own, since it moves from namespace to namespace.
fn privileged(test: &str, body: impl FnOnce(&TestNet) + Send) {
    // The namespaces are what takes most privilege; if they can be made, the rest can.
    if !common::may_run(test, &["ip", "ethtool"]) {
        return;
    }
    let net = TestNet::new(test);
    std::thread::scope(|scope| {
        scope.spawn(|| body(&net));
    });
}

fn options(interface: &str, queue: u32) -> Options {
    Options {
        frame_count: 512,
        rx_ring: 256,
        tx_ring: 256,
        fill_ring: 256,
        completion_ring: 256,
        ..Options::new(interface, queue)
    }
}

/// A link that gets every packet of its queue, and what keeps it so.
struct End {
    link: AfXdpLink,
    _program: [OwnedFd; 3],
}

impl End {
    fn open(namespace: &str, options: &Options, mode: u32) -> End {
        enter_netns(namespace).expect("the test made it");
        let link = AfXdpLink::open(options).expect("a veth does AF_XDP");
        let program = bpf::redirect_all(&link, mode);
        End { link, _program: program }
    }

    /// Transmits `payloads` as frames, and waits until the kernel has taken all of them.
    fn send(&mut self, payloads: &[Vec<u8>]) {
        let mut batch = Vec::with_capacity(payloads.len());
        for payload in payloads {
            let mut frame = self.link.take().expect("a free frame");
            self.link.room(&mut frame)[..payload.len()].copy_from_slice(payload);
            frame.set_len(payload.len());
            batch.push(frame);
        }
        for _ in 0..1_000 {
            self.link.transmit(&mut batch).expect("the link works");
            self.link.flush().expect("the link works");
            if batch.is_empty() && self.link.census().tx == 0 {
                return;
            }
        }
        panic!("frames stay in the tx ring: {:?}", self.link.census());
    }

    /// Receives `count` frames, or as many as come until nothing does for a while.
    fn receive(&mut self, count: usize) -> Vec<Frame> {
        let mut frames = Vec::new();
        for _ in 0..40 {
            let missing = count - frames.len();
            self.link.receive(&mut frames, missing).expect("the link works");
            if frames.len() >= count {
                break;
            }
            self.link.wait(Duration::from_millis(50)).expect("the link works");
        }
        frames
    }

    fn receive_bytes(&mut self, count: usize) -> Vec<Vec<u8>> {
        let frames = self.receive(count);
        let bytes = frames.iter().map(|frame| self.link.bytes(frame).to_vec()).collect();
        for frame in frames {
            self.link.give(frame);
        }
        self.link.flush().expect("the link works");
        bytes
    }

    fn assert_conserved(&self) {
        assert_eq!(self.link.census().total(), 512, "{:?}", self.link.census());
        assert_eq!(self.link.stats().invalid_descriptors, 0);
    }
}

/// Ethernet frames of many lengths, each different; a local experimental EtherType (IEEE 802).
fn payloads(round: u8, count: usize) -> Vec<Vec<u8>> {
    (0..count)
        .map(|number| {
            let mut frame = vec![0xff; 12];
            frame.extend([0x88, 0xb5, round]);
            frame.extend((number as u64).to_be_bytes());
            let len = 60 + number * 97 % 1455;
            frame.extend((frame.len()..len).map(|at| (at * 31 + number).to_le_bytes()[0]));
            frame
        })
        .collect()
}

fn both_ways(net: &TestNet, mode: u32) {
    let mut left = End::open(&net.left, &options(LEFT, 0), mode);
    let mut right = End::open(&net.right, &options(RIGHT, 0), mode);
    assert!(!left.link.zero_copy(), "a veth has no zero-copy");
    for round in 0..20 {
        let (there, back) = (payloads(round, 100), payloads(!round, 60));
        left.send(&there);
        assert_eq!(right.receive_bytes(100), there, "round {round}, there");
        right.send(&back);
        assert_eq!(left.receive_bytes(60), back, "round {round}, back");
        left.assert_conserved();
        right.assert_conserved();
    }
    for end in [&left, &right] {
        // At rest: the fill ring is full, all else is in the pool.
        assert_eq!(end.link.census(), Census { pool: 256, rx: 256, tx: 0, engine: 0 });
        let stats = end.link.stats();
        assert_eq!((stats.rx_ring_full, stats.fill_ring_empty, stats.rx_dropped), (0, 0, 0));
    }
}

#[test]
fn frames_cross_both_ways_byte_for_byte_in_native_mode() {
    privileged("native", |net| both_ways(net, bpf::DRV_MODE));
}

#[test]
fn frames_cross_both_ways_byte_for_byte_in_generic_mode() {
    privileged("generic", |net| both_ways(net, bpf::SKB_MODE));
}

#[test]
fn received_frames_are_sent_back_from_where_they_are() {
    privileged("echo", |net| {
        let mut left = End::open(&net.left, &options(LEFT, 1), bpf::DRV_MODE);
        let mut right = End::open(&net.right, &options(RIGHT, 1), bpf::DRV_MODE);
        for round in 0..50 {
            let sent = payloads(round, 64);
            left.send(&sent);
            let mut batch = right.receive(64);
            assert_eq!(right.link.census().engine, 64);
            for frame in &mut batch {
                right.link.room(frame)[14] = !round;
            }
            right.link.transmit(&mut batch).expect("the link works");
            assert!(batch.is_empty());
            right.link.flush().expect("the link works");
            let received = left.receive_bytes(64);
            assert_eq!(received.len(), 64);
            for (mut sent, received) in sent.into_iter().zip(received) {
                sent[14] = !round;
                assert_eq!(sent, received);
            }
            left.assert_conserved();
            right.assert_conserved();
        }
    });
}

#[test]
fn a_flood_that_nobody_reads_is_counted_and_no_frame_is_lost_for_good() {
    privileged("flood", |net| {
        let mut left = End::open(&net.left, &options(LEFT, 0), bpf::DRV_MODE);
        let mut right = End::open(&net.right, &options(RIGHT, 0), bpf::DRV_MODE);
        for round in 0..8 {
            left.send(&payloads(round, 100));
        }
        let stats = right.link.stats();
        let received = right.receive_bytes(256);
        assert_eq!(received.len(), 256, "as many as the rings hold");
        let lost = stats.rx_ring_full + stats.fill_ring_empty + stats.rx_dropped;
        assert_eq!(lost, 800 - 256, "each loss is counted once: {stats:?}");
        right.assert_conserved();
        left.send(&payloads(9, 100));
        assert_eq!(right.receive_bytes(100), payloads(9, 100), "all is well again");
        // A quarter of the frames is there to send with, whatever was received.
        assert!(right.link.census().pool >= 128);
        left.assert_conserved();
        right.assert_conserved();
    });
}

#[test]
fn a_second_socket_on_a_queue_is_told_who_has_it() {
    privileged("taken", |net| {
        enter_netns(&net.left).expect("the test made it");
        let first = AfXdpLink::open(&options(LEFT, 0)).expect("the queue is free");
        let wait = Duration::from_millis(30);
        let again = Options { bind_wait: wait, ..options(LEFT, 0) };
        let error = AfXdpLink::open(&again).expect_err("the queue is taken");
        assert!(matches!(&error, OpenError::QueueTaken { waited, .. } if *waited == wait));
        let message = error.to_string();
        assert!(message.starts_with("queue 0 of tm-left is taken by another AF_XDP socket"));
        let other = AfXdpLink::open(&options(LEFT, 1)).expect("the other queue is free");
        assert_eq!((first.queue(), other.queue()), (0, 1));
        drop(first);
        AfXdpLink::open(&options(LEFT, 0)).expect("free again, within the usual wait");
    });
}

#[test]
fn what_is_not_there_is_named() {
    privileged("missing", |net| {
        enter_netns(&net.left).expect("the test made it");
        // The peer is in the other namespace.
        let error = AfXdpLink::open(&options(RIGHT, 0)).expect_err("not in this namespace");
        assert!(matches!(error, OpenError::Interface(InterfaceError::NotFound { .. })));
        let error = AfXdpLink::open(&options(LEFT, 2)).expect_err("queues 0 and 1 only");
        assert!(matches!(error, OpenError::NoSuchQueue { queue: 2, queues: 2, .. }), "{error}");
        let required = Options { zero_copy: ZeroCopy::Required, ..options(LEFT, 0) };
        let error = AfXdpLink::open(&required).expect_err("a veth has no zero-copy");
        assert!(matches!(error, OpenError::NoZeroCopy { .. }), "{error}");
        assert!(matches!(enter_netns("tenmil-none"), Err(InterfaceError::NoNamespace { .. })));
    });
}

#[test]
fn an_interface_is_described_as_its_namespace_has_it() {
    privileged("facts", |net| {
        enter_netns(&net.right).expect("the test made it");
        ip(&format!("-n {} link set {RIGHT} mtu 1400 address 02:00:00:00:00:07", net.right));
        let interface = Interface::by_name(RIGHT).expect("it is in this namespace");
        assert_eq!(interface.mac, [2, 0, 0, 0, 0, 7]);
        assert_eq!((interface.mtu, interface.rx_queues, interface.up), (1400, 2, true));
        ip(&format!("-n {} link set {RIGHT} down", net.right));
        assert!(!Interface::by_name(RIGHT).expect("still there").up);
        // Fewer queues in use than there are: the driver's answer counts.
        let ethtool = Command::new("ethtool").args(["-L", RIGHT, "rx", "1", "tx", "1"]).output();
        assert!(ethtool.expect("ethtool runs").status.success());
        assert_eq!(Interface::by_name(RIGHT).expect("still there").rx_queues, 1);
    });
}

#[test]
fn a_link_whose_interface_goes_away_is_lost_and_says_so() {
    privileged("lost", |net| {
        let mut left = End::open(&net.left, &options(LEFT, 0), bpf::DRV_MODE);
        ip(&format!("-n {} link del {LEFT}", net.left));
        let error = left.link.wait(Duration::from_millis(10)).expect_err("no interface");
        let LinkError::Lost { interface, queue, .. } = &error else { panic!("{error}") };
        assert_eq!((interface.as_str(), *queue), (LEFT, 0));
        let mut frame = left.link.take().expect("a free frame");
        frame.set_len(60);
        left.link.transmit(&mut vec![frame]).expect("the ring is still there");
        assert!(left.link.flush().is_err());
        assert_eq!(left.link.census().total(), 512);
    });
}

#[test]
fn a_wait_is_ended_from_another_thread_or_the_next_one_is() {
    privileged("wake", |net| {
        let mut left = End::open(&net.left, &options(LEFT, 0), bpf::DRV_MODE);
        let waker = left.link.waker();
        // Longer than any test is let run.
        let forever = Duration::from_secs(86_400);
        for _ in 0..3 {
            waker.wake();
        }
        left.link.wait(forever).expect("the link works");
        let (sleeping, told) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let link = &mut left.link;
            let waiting = scope.spawn(move || {
                sleeping.send(()).expect("the test listens");
                link.wait(forever).expect("the link works");
                // Wakes that were waited for are used up: this one takes its time.
                link.wait(Duration::from_millis(1)).expect("the link works");
            });
            told.recv().expect("it runs");
            while !waiting.is_finished() {
                waker.wake();
                std::thread::yield_now();
            }
        });
        left.assert_conserved();
    });
}

#[test]
fn no_namespace_is_left_behind_by_a_test_that_fails() {
    privileged("guard", |net| {
        let names = (net.left.clone(), net.right.clone());
        let there = |name: &str| fs::exists(format!("/run/netns/{name}")).expect("readable");
        assert!(there(&names.0) && there(&names.1));
        let inner = std::panic::catch_unwind(|| {
            let _net = TestNet::new("guard-inner");
            panic!("on purpose");
        });
        assert!(inner.is_err());
        let own = format!("tenmil-test-{}-guard-inner", std::process::id());
        let mut left = String::new();
        for name in namespaces() {
            if name.starts_with(&own) {
                writeln!(left, "{name}").expect("a string");
            }
        }
        assert_eq!(left, "");
    });
}

fn namespaces() -> BTreeSet<String> {
    let entries = fs::read_dir("/run/netns").expect("made by ip");
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

/// The least program that an AF_XDP socket needs, without a loader: the project's own program and
/// its loader have tests of their own.
mod bpf {
    use super::*;

    /// `XDP_FLAGS_SKB_MODE` and `XDP_FLAGS_DRV_MODE` of linux/if_link.h.
    pub(super) const SKB_MODE: u32 = 1 << 1;
    pub(super) const DRV_MODE: u32 = 1 << 2;

    const MAP_CREATE: libc::c_int = 0;
    const MAP_UPDATE_ELEM: libc::c_int = 2;
    const PROG_LOAD: libc::c_int = 5;
    const LINK_CREATE: libc::c_int = 28;
    const MAP_TYPE_XSKMAP: u32 = 17;
    const PROG_TYPE_XDP: u32 = 6;
    const ATTACH_XDP: u32 = 37;
    const REDIRECT_MAP: u32 = 51;

    /// Attaches a program that redirects every packet of the link's queue to the link, and passes
    /// the others. It stays for as long as the descriptors live.
    pub(super) fn redirect_all(link: &AfXdpLink, mode: u32) -> [OwnedFd; 3] {
        let mut create = [0; 16];
        create[..2].copy_from_slice(&[u64::from(MAP_TYPE_XSKMAP) | 4 << 32, 4 | 64 << 32]);
        let map = owned(call(MAP_CREATE, &create));
        let (key, socket) = (link.queue(), link.as_fd().as_raw_fd().cast_unsigned());
        let mut update = [0; 16];
        update[..3].copy_from_slice(&[descriptor(&map), address(&key), address(&socket)]);
        call(MAP_UPDATE_ELEM, &update);

        // Opcode, registers (source in the high half), offset, immediate.
        let instruction = |opcode: u64, registers: u64, offset: u64, immediate: u32| {
            opcode | registers << 8 | offset << 16 | u64::from(immediate) << 32
        };
        let map_descriptor = map.as_raw_fd().cast_unsigned();
        let instructions = [
            instruction(0x61, 0x12, 16, 0),             // r2 = ctx->rx_queue_index
            instruction(0x18, 0x11, 0, map_descriptor), // r1 = the map
            instruction(0, 0, 0, 0),                    // (second half of the 64-bit load)
            instruction(0xb7, 0x03, 0, 2), // r3 = XDP_PASS, where the map has no socket
            instruction(0x85, 0, 0, REDIRECT_MAP), // r0 = bpf_redirect_map(r1, r2, r3)
            instruction(0x95, 0, 0, 0),    // return r0
        ];
        let count = instructions.len() as u64;
        let mut load = [0; 16];
        load[0] = u64::from(PROG_TYPE_XDP) | count << 32;
        load[1] = address(&instructions);
        load[2] = c"Dual MIT/GPL".as_ptr().addr() as u64;
        let program = owned(call(PROG_LOAD, &load));

        let interface = u64::from(link.interface().index);
        let mut attach = [0; 16];
        attach[0] = descriptor(&program) | interface << 32;
        attach[1] = u64::from(ATTACH_XDP) | u64::from(mode) << 32;
        let attachment = owned(call(LINK_CREATE, &attach));
        [map, program, attachment]
    }

    /// bpf(2) with the given words as its `union bpf_attr`.
    fn call(command: libc::c_int, attributes: &[u64; 16]) -> libc::c_int {
        let len = size_of_val(attributes);
        // SAFETY: the attributes hold what the command reads, all of which lives for the call.
        let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), len) };
        let error = std::io::Error::last_os_error();
        assert!(result >= 0, "bpf command {command}: {error}");
        libc::c_int::try_from(result).expect("0 or a descriptor")
    }

    fn owned(descriptor: libc::c_int) -> OwnedFd {
        // SAFETY: the kernel has just made it, for us.
        unsafe { OwnedFd::from_raw_fd(descriptor) }
    }

    fn address<T>(value: &T) -> u64 {
        std::ptr::from_ref(value).addr() as u64
    }

    fn descriptor(descriptor: &OwnedFd) -> u64 {
        u64::from(descriptor.as_raw_fd().cast_unsigned())
    }
}
