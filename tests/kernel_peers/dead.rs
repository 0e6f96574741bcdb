//! Peers that are gone, each in its own way, and what finds it out.
//!
//! `vanish` has those that keepalive finds; `silence` a client that says nothing.

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tenmil::shard::clock::Clock;
use tenmil::time::{Duration, Instant};

use crate::network::Network;
use crate::server::{Server, Status};

/// A client that holds a connection: it says PING as often as it is told to, leaves the last answers
/// unread if told so, and goes without a word when it is sent a byte, as a host that reboots does.
const CLIENT: &str = r#"
import socket, sys, time
port, read, unread = (int(word) for word in sys.argv[1:])
client = socket.create_connection(("10.77.0.1", port))
for _ in range(read):
    client.sendall(b"PING\n")
    assert client.recv(5) == b"PONG\n"
for _ in range(unread):
    client.sendall(b"PING\n")
    assert client.recv(5, socket.MSG_PEEK) == b"PONG\n"
print("ready", flush=True)
if sys.stdin.read(1):
    TCP_REPAIR = 19
    client.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    client.close()
    print("gone!", flush=True)
    sys.stdin.read(1)
"#;

/// A running client; killed when dropped.
struct Client(Child);

impl Client {
    /// Connects to `port`, and has that many answers read, and left unread.
    fn start(network: &Network, port: u16, [read, unread]: [u8; 2]) -> Client {
        let child = network.in_client(|| {
            let mut command = Command::new("python3");
            command.args(["-c", CLIENT]).args([port, read.into(), unread.into()].map(text));
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3 runs")
        });
        let mut client = Client(child);
        assert_eq!(client.said(), *b"ready\n");
        client
    }

    fn said(&mut self) -> [u8; 6] {
        let mut said = [0; 6];
        let stdout = self.0.stdout.as_mut().expect("it is piped");
        stdout.read_exact(&mut said).expect("it goes on");
        said
    }

    /// Its host forgets the connection, and tells nobody.
    fn forget(&mut self) {
        let stdin = self.0.stdin.as_mut().expect("it is piped");
        stdin.write_all(b"x").expect("it reads");
        assert_eq!(self.said(), *b"gone!\n");
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.0.id().cast_signed()).expect("a process");
        kill_process(pid, signal).expect("it is our child");
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn text(number: u16) -> String {
    number.to_string()
}

/// Serves these listeners; what they do not say about keepalive is off.
fn serve(network: &Network, listeners: &[&str]) -> Server {
    let args = ["--address", "10.77.0.1/16", "--keepalive", "off", "--listen"];
    Server::start_with(network, &[&args[..], listeners].concat())
}

/// Waits until `ended` connections have ended, which takes `at_least` from now, and no more than some
/// seconds longer: a status comes once a second, and machines are slow.
#[track_caller]
fn wait_for_end(server: &mut Server, ended: u64, at_least: Duration) -> Status {
    let clock = Clock::start();
    let is_over = |status: &Status| status.closed.values().sum::<u64>() == ended;
    let status = server.wait_until("the end", is_over);
    let took = clock.now().since(Instant::ZERO);
    let expected = at_least..at_least + Duration::from_secs(12);
    assert!(expected.contains(&took), "after {took:?}: {status:?}");
    status
}

/// Why connections ended, and how many of them.
fn reasons(status: &Status) -> Vec<(&str, u64)> {
    status.closed.iter().map(|(name, n)| (name.as_str(), *n)).collect()
}

#[test]
fn a_killed_client_says_so_itself() {
    let test = "a_killed_client_says_so_itself";
    let Some(network) = Network::make(test, &["python3"]) else { return };
    let mut server = serve(&network, &["line://10.77.0.1:7000"]);
    let clients = [[1, 0], [1, 1]].map(|answers| Client::start(&network, 7000, answers));
    clients.iter().for_each(|client| client.signal(Signal::KILL));
    let status = wait_for_end(&mut server, 2, Duration::ZERO);
    // Its kernel sends a FIN, or a reset if it had something unread.
    assert_eq!(reasons(&status), [("closed_by_peer", 1), ("reset_by_peer", 1)]);
    server.stop();
}

#[test]
fn a_link_that_is_cut_is_found_out_by_either_practice() {
    let test = "a_link_that_is_cut_is_found_out_by_either_practice";
    let Some(network) = Network::make(test, &["python3"]) else { return };
    let probes = "keepalive-time=1s&keepalive-interval=1s&keepalive-probes=2";
    let listeners = [
        format!("line://10.77.0.1:7000?{probes}"),
        "line://10.77.0.1:7001?heartbeat=1s".to_owned(),
        "line://10.77.0.1:7002".to_owned(),
        // It decides first.
        format!("line://10.77.0.1:7003?heartbeat=1h&{probes}"),
    ];
    let mut server = serve(&network, &listeners.each_ref().map(String::as_str));
    let clients = [7000, 7001, 7002, 7003].map(|port| Client::start(&network, port, [1, 0]));
    network.ip_client("link set tm-client0 down");
    let status = wait_for_end(&mut server, 3, Duration::from_secs(1));
    assert_eq!(reasons(&status), [("heartbeat_missed", 1), ("keepalive_timeout", 2)]);
    assert_eq!(status.established, 1, "nobody looks after it");
    drop(clients);
    server.stop();
}

#[test]
fn a_rebooted_client_resets_when_it_is_probed() {
    let test = "a_rebooted_client_resets_when_it_is_probed";
    let Some(network) = Network::make(test, &["python3"]) else { return };
    // So many probes without an answer take longer than the test waits.
    let periods = "keepalive-time=2s&keepalive-interval=1s&keepalive-probes=100";
    let listeners = [format!("line://10.77.0.1:7000?{periods}"), "line://10.77.0.1:7001".into()];
    let mut server = serve(&network, &listeners.each_ref().map(String::as_str));
    let mut clients = [7000, 7001].map(|port| Client::start(&network, port, [1, 0]));
    clients.iter_mut().for_each(Client::forget);
    let status = wait_for_end(&mut server, 1, Duration::ZERO);
    assert_eq!(reasons(&status), [("reset_by_peer", 1)]);
    assert!(status.events["probes"] >= 1, "{status:?}");
    assert_eq!(status.established, 1, "who is not probed stays");
    server.stop();
}

#[test]
fn a_client_that_hangs_is_found_by_its_heartbeat_alone() {
    let test = "a_client_that_hangs_is_found_by_its_heartbeat_alone";
    let Some(network) = Network::make(test, &["python3"]) else { return };
    let probes = "keepalive-time=1s&keepalive-interval=1s&keepalive-probes=2&user-timeout=2s";
    let listeners = [
        format!("line://10.77.0.1:7000?heartbeat=2s&{probes}"),
        format!("line://10.77.0.1:7001?{probes}"),
        // Its heartbeats are acknowledged, and not answered.
        format!("dubbo://10.77.0.1:7002?heartbeat=2s&{probes}"),
    ];
    let mut server = serve(&network, &listeners.each_ref().map(String::as_str));
    let clients = [(7000, 1), (7001, 1), (7002, 0)]
        .map(|(port, read)| Client::start(&network, port, [read, 0]));
    clients.iter().for_each(|client| client.signal(Signal::STOP));
    let status = wait_for_end(&mut server, 2, Duration::from_secs(3));
    assert_eq!(reasons(&status), [("heartbeat_missed", 2)]);
    let after = server.settled();
    assert_eq!((after.established, after.closed.len()), (1, 1), "its TCP answers every probe");
    assert!(after.events["probes"] >= 3, "{after:?}");
    server.stop();
}

#[test]
fn a_link_cut_with_data_outstanding_is_found_by_the_user_timeout() {
    let test = "a_link_cut_with_data_outstanding_is_found_by_the_user_timeout";
    let Some(network) = Network::make(test, &["python3"]) else { return };
    // A heartbeat goes unacknowledged: the first, or the second if the link is cut later than that. With
    // the third, silence would end the connection.
    let asked = "dubbo://10.77.0.1:7000?heartbeat=5s&user-timeout=2s";
    let never = "dubbo://10.77.0.1:7001?heartbeat=40s&user-timeout=2s";
    let mut server = serve(&network, &[asked, never]);
    let clients = [7000, 7001].map(|port| Client::start(&network, port, [0, 0]));
    network.ip_client("link set tm-client0 down");
    let status = wait_for_end(&mut server, 1, Duration::from_secs(2));
    assert_eq!(reasons(&status), [("user_timeout", 1)]);
    assert_eq!((status.established, status.events.get("probes")), (1, None), "nothing outstanding");
    drop(clients);
    server.stop();
}
