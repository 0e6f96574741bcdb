//! Bulk transfers over a network that loses, doubles, reorders and damages frames, both ways: every
//! byte arrives, whatever the kernel at the other end negotiated.
//!
//! `TENMIL_LOSSY_BYTES` says how many bytes each case sends and gets back, 500 kB unless set. For
//! 64 MB each way:
//!
//!     TENMIL_LOSSY_BYTES=64000000 cargo test --release --test kernel_peers lossy

use std::net::SocketAddr;

use tenmil::engine::Engine;
use tenmil::engine::config::Config;
use tenmil::engine::locals::Owned;
use tenmil::link::af_xdp::attachment::{self, Request};
use tenmil::link::af_xdp::program::XdpMode;
use tenmil::link::faults::{Faults, Faulty};
use tenmil::shard::clock::Clock;
use tenmil::wire::addr::{Address, Endpoint, Secret};

use crate::bulk::{Heard, assert_bulk_echo, kernel_echo, run_client};
use crate::client::ECHO;
use crate::network::{Network, SERVER_INTERFACE};
use crate::server::{DEFAULT_ARGS, Server};

/// The faults of both directions, as `serve` takes them, and as [`faulty`] gives them to a link.
const FAULTS: &str = "loss=1%,duplicate=1%,reorder=2%,corrupt=0.1%,seed=7";

fn faulty<L>(link: L) -> Faulty<L> {
    let percent = |text: &str| text.parse().expect("a percentage");
    let faults = Faults {
        loss: percent("1%"),
        duplicate: percent("1%"),
        reorder: percent("2%"),
        corrupt: percent("0.1%"),
    };
    Faulty::new(link, faults, faults, 7)
}

/// What the kernel's end does otherwise than usual.
#[derive(Clone, Copy, Debug)]
enum Habit {
    Usual,
    /// No selective acknowledgments.
    NoSack,
    /// It announces small segments, and on IPv4 sends small ones.
    SmallSegments,
    /// No window larger than 64 KB.
    NoWindowScale,
}

impl Habit {
    fn set(self, network: &Network) {
        let (sack, scaling) = match self {
            Habit::Usual | Habit::SmallSegments => (1, 1),
            Habit::NoSack => (0, 1),
            Habit::NoWindowScale => (1, 0),
        };
        for (option, value) in [("tcp_sack", sack), ("tcp_window_scaling", scaling)] {
            let set = format!("echo {value} >/proc/sys/net/ipv4/{option}");
            assert!(network.run(&["sh", "-c", &set], b"").status.success(), "{option}");
        }
        if let Habit::SmallSegments = self {
            let small = "dev tm-client0 advmss 536 mtu";
            network.ip_client(&format!("route replace 10.77.0.0/16 {small} 576 src 10.77.0.2"));
            network.ip_client(&format!("-6 route replace fd77::/64 {small} 1280"));
        }
    }
}

/// How many bytes a case sends.
fn total() -> usize {
    const USUAL: usize = 500_000;
    let asked = std::env::var("TENMIL_LOSSY_BYTES").ok();
    asked.map_or(USUAL, |asked| asked.parse().expect("TENMIL_LOSSY_BYTES is a number"))
}

/// A kernel's client sends to the echo of a server.
fn assert_server_gets_through(test: &str, to: &str, habit: Habit) {
    let Some(network) = Network::make(test, &[]) else { return };
    habit.set(&network);
    let args = [&["--faults", FAULTS], DEFAULT_ARGS].concat();
    let mut server = Server::start_with(&network, &args);
    network.in_client(|| assert_bulk_echo(to, total()));
    let status = server.settled();
    server.wait_until("no connection", |status| status.connections == 0);
    assert!(!status.dropped.is_empty(), "some came twice, damaged or late");
    server.stop();
}

/// The engine sends to the echo of a kernel.
fn assert_client_gets_through(test: &str, addresses: [&str; 2], habit: Habit) {
    let Some(network) = Network::make(test, &[]) else { return };
    habit.set(&network);
    let remote = SocketAddr::new(addresses[1].parse().expect("an address"), 7);
    let echo = network.in_client(|| kernel_echo(remote));
    let addr = Address::from(addresses[0].parse::<std::net::IpAddr>().expect("an address"));
    let (range_len, link_len) = if addr.is_v4() { (32, 16) } else { (128, 64) };
    let counters = network.in_server(|| {
        let (attachment, mut links) = attachment::attach(&Request {
            interface: SERVER_INTERFACE.to_owned(),
            queues: Some(1),
            mode: XdpMode::Auto,
            owned: vec![(addr.to_ip(), range_len)],
            listeners: Vec::new(),
        })
        .expect("the interface is there");
        let mac = attachment.interface().mac;
        let mut config = Config::new(mac, Secret([1; 16]), Secret([2; 16]));
        config.owned = vec![Owned { addr, range_len, link_len }];
        config.connections_max = 16;
        let clock = Clock::start();
        let engine = Engine::new(config, Heard::default(), clock.now());
        let link = faulty(links.pop().expect("one queue"));
        let endpoints = [Endpoint { addr, port: 40_000 }, Endpoint::from(remote)];
        run_client(link, engine, clock, endpoints, total())
    });
    assert_eq!(echo.join().expect("no panic"), total());
    assert!(counters.drops.total() > 0, "some came twice, damaged or late");
}

const SERVER: [&str; 2] = ["10.77.0.1", "fd77::1"];
const CLIENT: [&str; 2] = ["10.77.0.2", "fd77::2"];

fn assert_gets_through(test: &str, habit: Habit) {
    for family in [0, 1] {
        assert_server_gets_through(test, ECHO[family], habit);
        assert_client_gets_through(test, [SERVER[family], CLIENT[family]], habit);
    }
}

#[test]
fn a_bad_network_loses_no_byte() {
    assert_gets_through("a_bad_network_loses_no_byte", Habit::Usual);
}

#[test]
fn a_bad_network_loses_no_byte_without_sack() {
    assert_gets_through("a_bad_network_loses_no_byte_without_sack", Habit::NoSack);
}

#[test]
fn a_bad_network_loses_no_byte_in_small_segments() {
    assert_gets_through("a_bad_network_loses_no_byte_in_small_segments", Habit::SmallSegments);
}

#[test]
fn a_bad_network_loses_no_byte_without_window_scale() {
    let test = "a_bad_network_loses_no_byte_without_window_scale";
    assert_gets_through(test, Habit::NoWindowScale);
}
