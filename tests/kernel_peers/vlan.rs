//! VLAN tags: a frame that comes with them is answered with them.
//!
//! Many kernels are built without VLAN interfaces (CONFIG_VLAN_8021Q); the first test then says
//! SKIPPED. The second makes the tags itself, between the client's engine and its link.

use std::process::Command;
use std::sync::Arc;

use tenmil::engine::Engine;
use tenmil::engine::config::Config;
use tenmil::engine::locals::Owned;
use tenmil::frame::{Frame, FramePool};
use tenmil::link::af_xdp::attachment::{Request, attach};
use tenmil::link::af_xdp::program::XdpMode;
use tenmil::link::{Census, Link, LinkError, LinkStats, Waker};
use tenmil::load::driver::LoadDriver;
use tenmil::load::flows::{Flows, Target};
use tenmil::load::heartbeat::Heartbeat;
use tenmil::load::plan::{Plan, UNDERWAY_MAX};
use tenmil::load::progress::Progress;
use tenmil::service::builtin::Builtin;
use tenmil::shard::clock::Clock;
use tenmil::shard::{Shard, Shared};
use tenmil::time::Duration;
use tenmil::wire::addr::{Address, Endpoint, Secret};

use crate::client::{assert_closes, assert_echo, connect, noise};
use crate::common;
use crate::network::{CLIENT_INTERFACE, Network, ip};
use crate::server::Server;

#[test]
fn a_vlan_interface_of_the_kernel_is_answered_with_its_tag() {
    let test = "a_vlan_interface_of_the_kernel_is_answered_with_its_tag";
    let Some(network) = Network::make(test, &["ping"]) else { return };
    let namespace = network.client_namespace();
    let made = Command::new("ip")
        .args(["-n", &namespace, "link", "add", "link", "tm-client0", "name", "vl100"])
        .args(["type", "vlan", "id", "100"])
        .output()
        .expect("ip runs");
    if !made.status.success() {
        // Not a matter of privilege, so it is not required either.
        common::say_skipped(test, "the kernel has no VLAN interfaces (CONFIG_VLAN_8021Q)");
        return;
    }
    // The tag is to be in the frame, where the XDP program looks, and not beside it.
    ip(&format!("netns exec {namespace} ethtool -K tm-client0 txvlan off"));
    network.ip_client("addr add 10.78.0.2/24 dev vl100");
    network.ip_client("addr add fd78::2/64 dev vl100 nodad");
    network.ip_client("link set vl100 up");
    let args = ["--address", "10.78.0.1/24", "fd78::1/64", "--listen"];
    let listen = ["echo://10.78.0.1:7", "echo://[fd78::1]:7"];
    let server = Server::start_with(&network, &[&args[..], &listen[..]].concat());
    for address in ["10.78.0.1", "fd78::1"] {
        let output = network.run(&["ping", "-c", "2", "-i", "0.1", "-W", "5", address], b"");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    network.in_client(|| {
        for to in ["10.78.0.1:7", "[fd78::1]:7"] {
            let stream = connect(to);
            assert_echo(&stream, &noise(1, 100_000));
            assert_closes(stream);
        }
    });
    server.stop();
}

#[test]
fn tagged_frames_are_answered_with_their_tags() {
    let test = "tagged_frames_are_answered_with_their_tags";
    let Some(network) = Network::make(test, &[]) else { return };
    let mut server = Server::start(&network);
    // One tag (IEEE 802.1Q), and two (802.1ad).
    let tags: [&'static [u8]; 2] =
        [&[0x81, 0x00, 0x00, 0x64], &[0x88, 0xa8, 0x00, 0x0a, 0x81, 0x00, 0x0f, 0xfe]];
    for tags in tags {
        let heartbeat = network.in_client(|| exchange_heartbeats(tags, 100));
        assert_eq!((heartbeat.opened, heartbeat.failed.total(), heartbeat.ended), (100, 0, 100));
        assert_eq!((heartbeat.answered, heartbeat.wrong, heartbeat.awaited), (100, 0, 0));
        server.wait_until("no connection", |status| status.connections == 0);
    }
    server.stop();
}

/// Opens connections to the line service, exchanges a heartbeat on each, and closes them; every
/// frame goes with these tags.
fn exchange_heartbeats(tags: &'static [u8], connections: u32) -> Heartbeat {
    let clients = Address::v4([10, 77, 16, 0]);
    let (attachment, mut links) = attach(&Request {
        interface: CLIENT_INTERFACE.to_owned(),
        queues: Some(1),
        mode: XdpMode::Auto,
        owned: vec![(clients.to_ip(), 20)],
        listeners: Vec::new(),
    })
    .expect("nothing is attached");
    let clock = Clock::start();
    let mut config = Config::new(attachment.interface().mac, Secret([1; 16]), Secret([2; 16]));
    config.connections_max = connections;
    config.flights_max = Config::flights_for(connections);
    config.owned = vec![Owned { addr: clients, range_len: 20, link_len: 16 }];
    let endpoint = Endpoint { addr: Address::v4([10, 77, 0, 1]), port: 7000 };
    let target = Target { service: Builtin::Line, endpoint };
    let connections = u64::from(connections);
    let period = Duration::from_millis(100);
    let plan = Plan {
        connections,
        slots: connections,
        flows: Flows::new(&[(clients, 20)], &[target], connections).expect("enough"),
        rate: None,
        underway_max: UNDERWAY_MAX,
        heartbeat: Some(period),
        beat_early: false,
        hold: period,
        churn: None,
        duration: None,
        reconnect: None,
        subscription: None,
    };
    let progress = Arc::new(Progress::default());
    progress.go_on();
    let engine = Engine::new(config, Heartbeat::default(), clock.now());
    let driver = LoadDriver::new(plan, progress);
    let link = Tagged { link: links.pop().expect("one queue"), tags };
    let mut shard = Shard { link, engine, driver };
    shard.run(&clock, &Shared::default()).expect("the link works");
    std::mem::take(shard.engine.service_mut())
}

/// A link whose frames carry VLAN tags on the wire, and none above.
struct Tagged<L> {
    link: L,
    tags: &'static [u8],
}

/// Where tags stand: after the two hardware addresses.
const AT: usize = 12;

impl<L: FramePool> FramePool for Tagged<L> {
    fn take(&mut self) -> Option<Frame> {
        self.link.take()
    }

    fn give(&mut self, frame: Frame) {
        self.link.give(frame);
    }

    fn bytes(&self, frame: &Frame) -> &[u8] {
        self.link.bytes(frame)
    }

    fn room(&mut self, frame: &mut Frame) -> &mut [u8] {
        self.link.room(frame)
    }
}

impl<L: Link> Link for Tagged<L> {
    fn receive(&mut self, batch: &mut Vec<Frame>, max: usize) -> Result<usize, LinkError> {
        let before = batch.len();
        let count = self.link.receive(batch, max)?;
        let tags_len = self.tags.len();
        for frame in &mut batch[before..] {
            let len = frame.len();
            let bytes = self.link.room(frame);
            assert_eq!(&bytes[AT..AT + tags_len], self.tags, "the tags come back");
            bytes.copy_within(AT + tags_len..len, AT);
            frame.set_len(len - tags_len);
        }
        Ok(count)
    }

    fn transmit(&mut self, batch: &mut Vec<Frame>) -> Result<(), LinkError> {
        for frame in batch.iter_mut() {
            let len = frame.len();
            let bytes = self.link.room(frame);
            // What the ring had no room for comes again, with its tags.
            if bytes[AT..].starts_with(self.tags) {
                continue;
            }
            bytes.copy_within(AT..len, AT + self.tags.len());
            bytes[AT..AT + self.tags.len()].copy_from_slice(self.tags);
            frame.set_len(len + self.tags.len());
        }
        self.link.transmit(batch)
    }

    fn flush(&mut self) -> Result<(), LinkError> {
        self.link.flush()
    }

    fn wait(&mut self, timeout: Duration) -> Result<(), LinkError> {
        self.link.wait(timeout)
    }

    fn waker(&self) -> Waker {
        self.link.waker()
    }

    fn stats(&self) -> LinkStats {
        self.link.stats()
    }

    fn census(&self) -> Census {
        self.link.census()
    }
}
