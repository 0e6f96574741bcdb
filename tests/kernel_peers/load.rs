//! `tenmil load` against a server of ours and one of the kernel's.

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::capture::TempDir;
use crate::demo::{assert_schema, errors, whole};
use crate::network::{CLIENT_INTERFACE, Network, SERVER_INTERFACE, wait_for};
use crate::refusals::assert_refused;
use crate::server::{DEFAULT_ARGS, Server, Status, TENMIL};

/// A run in the clients' namespace, whose summary goes to a file.
pub(crate) struct Load {
    directory: TempDir,
    child: Option<Child>,
}

/// What a run ends with.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    /// Without what it said of its progress.
    pub(crate) stderr: String,
    pub(crate) stdout: String,
    pub(crate) summary: Value,
}

impl Load {
    pub(crate) fn start(network: &Network, name: &str, args: &[&str]) -> Load {
        let directory = TempDir::make(name);
        let json = directory.path().join("out.json");
        let child = network.in_client(|| {
            let mut command = load(args);
            command.arg("--json").arg(&json).stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().expect("it is built")
        });
        Load { directory, child: Some(child) }
    }

    /// Ctrl-C.
    fn interrupt(&self) {
        let child = self.child.as_ref().expect("it runs");
        let pid = Pid::from_raw(child.id().cast_signed()).expect("a process");
        kill_process(pid, Signal::INT).expect("it is our child");
    }

    pub(crate) fn wait(mut self) -> Ended {
        let mut child = self.child.take().expect("it is waited for once");
        wait_for("the end of the load", || child.try_wait().expect("it is our child"));
        let output = child.wait_with_output().expect("it is our child");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let json = fs::read(self.directory.path().join("out.json")).expect("it is made at start");
        Ended {
            code: output.status.code(),
            stderr: errors(&text(&output.stderr)),
            stdout: text(&output.stdout),
            summary: serde_json::from_slice(&json).unwrap_or_default(),
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The command `tenmil load` on the clients' interface.
fn load(args: &[&str]) -> Command {
    let mut command = Command::new(TENMIL);
    command.args(["load", "--interface", CLIENT_INTERFACE]).args(args).stdin(Stdio::null());
    command
}

impl Ended {
    /// Holds a run to: everything established, and so many heartbeats answered rightly.
    #[track_caller]
    pub(crate) fn assert_clean(&self, connections: u64, heartbeats: u64) {
        let Ended { code, stderr, stdout, summary } = self;
        assert_eq!((*code, stderr.as_str()), (Some(0), ""), "{stdout}");
        assert_schema(summary);
        let count = |part: &str, name: &str| whole(&summary[part][name]);
        let opened = ["requested", "established", "failed"].map(|name| count("connections", name));
        assert_eq!(opened, [connections, connections, 0], "{summary}");
        let said = ["sent", "answered", "wrong", "skipped"].map(|name| count("heartbeats", name));
        assert_eq!(said, [heartbeats, heartbeats, 0, 0], "{summary}");
        let none = serde_json::json!({});
        assert_eq!((&summary["failed_by"], &summary["closed"]), (&none, &none));
        let established = format!("{connections} of {connections} established, 0 failed");
        assert!(stdout.contains(&established), "{stdout}");
    }
}

#[test]
fn every_service_is_loaded_in_both_families() {
    let test = "every_service_is_loaded_in_both_families";
    let Some(network) = Network::make(test, &[]) else { return };
    let more = ["http://10.77.0.1:80", "ws://10.77.0.1:81", "dubbo://10.77.0.1:20880"];
    let mut server = Server::start_with(&network, &[DEFAULT_ARGS, &more].concat());
    let args = ["--source", "10.77.16.0/24", "fd77::1:0/112", "--target", "line://10.77.0.1:7000"];
    let old = ["echo://[fd77::1]:7", "discard://10.77.0.1:9", "line://[fd77::1]:7000"];
    let times = ["--connections", "700", "--heartbeat", "1s", "--hold", "2s"];
    let ended = Load::start(&network, "load", &[&args[..], &old, &more, &times].concat()).wait();
    // Two on each, but for the seventh that goes to discard.
    ended.assert_clean(700, 1_200);
    assert_eq!(ended.summary["link"], "interface");
    assert!(ended.summary["cpu"]["server_seconds"].is_null());
    let status = server.settled();
    let closed: Vec<_> = status.closed.iter().map(|(name, n)| (name.as_str(), *n)).collect();
    let expected = [("closed_by_peer", 600), ("closed_by_us", 100)];
    assert_eq!(closed, expected, "all in order, the clients first but for WebSocket's");
    server.stop();
}

#[test]
fn clients_of_mqtt_connect_and_ping() {
    let Some(network) = Network::make("clients_of_mqtt_connect_and_ping", &[]) else { return };
    let mut server = Server::start_with(&network, crate::mqtt::ARGS);
    let args = ["--source", "10.77.16.0/24", "fd77::1:0/112", "--target", "mqtt://10.77.0.1:1883"];
    let more = ["mqtt://[fd77::1]:1883", "--connections", "400", "--heartbeat", "1s"];
    let ended = Load::start(&network, "load", &[&args[..], &more, &["--hold", "2s"]].concat());
    ended.wait().assert_clean(400, 800);
    let has_ended = |status: &Status| status.connections == 0 && !status.closed.is_empty();
    let status = server.wait_until("no connection", has_ended);
    assert_eq!(status.closed["closed_by_peer"], 400, "{status:?}");
    server.stop();
}

#[test]
fn connections_that_a_web_server_closes_as_it_announced_are_renewed() {
    let test = "connections_that_a_web_server_closes_as_it_announced_are_renewed";
    let Some(network) = Network::make(test, &[]) else { return };
    let listen = ["--address", "10.77.0.1/16", "--listen", "http://10.77.0.1:80?requests=2"];
    let mut server = Server::start_with(&network, &listen);
    let args = ["--source", "10.77.16.0/24", "--target", "http://10.77.0.1:80"];
    let times = ["--connections", "100", "--heartbeat", "500ms", "--hold", "4s"];
    let ended = Load::start(&network, "renewed", &[&args[..], &times].concat()).wait();
    let renewed = whole(&ended.summary["connections"]["renewed"]);
    // Of eight periods two are one connection's; after the last of the hold none may follow.
    assert!((300..=400).contains(&renewed), "{}", ended.summary);
    ended.assert_clean(100 + renewed, whole(&ended.summary["heartbeats"]["sent"]));
    assert!(ended.stdout.contains(&format!(", {renewed} renewed")), "{}", ended.stdout);
    let status = server.settled();
    assert!(status.events["http_200"] >= 700, "{status:?}");
    server.stop();
}

/// A kernel's echo server that keeps every connection until its client closes.
pub(crate) const ECHO: &str = r#"
import selectors, socket
poll = selectors.DefaultSelector()
listener = socket.create_server(("", 7), backlog=4096)
listener.setblocking(False)
poll.register(listener, selectors.EVENT_READ)
print("listening", flush=True)
while True:
    for key, _ in poll.select():
        if key.fileobj is listener:
            try:
                client, _ = listener.accept()
            except BlockingIOError:
                continue
            poll.register(client, selectors.EVENT_READ)
            continue
        try:
            said = key.fileobj.recv(65536)
            key.fileobj.sendall(said)
        except ConnectionError:
            said = b""
        if not said:
            poll.unregister(key.fileobj)
            key.fileobj.close()
"#;

#[test]
fn a_server_of_the_kernels_is_loaded_too() {
    let test = "a_server_of_the_kernels_is_loaded_too";
    let Some(network) = Network::make(test, &["python3"]) else { return };
    network.ip_server("addr add 10.77.0.1/16 dev tm-server0");
    network.ip_server("addr add 10.99.0.1/32 dev lo");
    let mut echo = start_python(&network, ECHO);
    let args = ["--source", "10.77.16.0/24", "--connections", "300", "--half-open-max", "64"];
    let times = ["--heartbeat", "1s", "--hold", "2s", "--target"];
    // On the link, and behind a router.
    let near = ["echo://10.77.0.1:7"];
    let far = ["echo://10.99.0.1:7", "--gateway", "10.77.0.1"];
    for target in [&near[..], &far] {
        let ended = Load::start(&network, "kernel", &[&args[..], &times, target].concat()).wait();
        ended.assert_clean(300, 600);
    }
    let _ = echo.kill();
    let _ = echo.wait();
}

/// Python's own server, with a health check.
const HTTP: &str = r#"
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        well = self.path == "/healthz" and self.headers["Host"]
        self.send_response(200 if well else 404)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"ok\n")
    def log_message(self, *_): pass
server = ThreadingHTTPServer(("", 80), Handler, bind_and_activate=False)
server.request_queue_size = 512
server.server_bind()
server.server_activate()
print("listening", flush=True)
server.serve_forever()
"#;

#[test]
fn a_web_server_of_pythons_is_asked_how_it_is() {
    let test = "a_web_server_of_pythons_is_asked_how_it_is";
    let Some(network) = Network::make(test, &["python3"]) else { return };
    network.ip_server("addr add 10.77.0.1/16 dev tm-server0");
    let mut server = start_python(&network, HTTP);
    let args =
        ["--source", "10.77.16.0/24", "--connections", "40", "--target", "http://10.77.0.1:80"];
    let times = ["--heartbeat", "1s", "--hold", "2s"];
    let ended = Load::start(&network, "web", &[&args[..], &times].concat()).wait();
    ended.assert_clean(40, 80);
    let _ = server.kill();
    let _ = server.wait();
}

/// Runs a server at the server's end that says when it listens.
pub(crate) fn start_python(network: &Network, script: &str) -> Child {
    let mut server = network.in_server(|| {
        let mut command = Command::new("python3");
        command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped());
        command.spawn().expect("python3 runs")
    });
    let mut said = [0; 9];
    server.stdout.as_mut().expect("it is piped").read_exact(&mut said).expect("it listens");
    server
}

#[test]
fn connections_are_replaced_at_the_rate_that_is_asked_for() {
    let test = "connections_are_replaced_at_the_rate_that_is_asked_for";
    let Some(network) = Network::make(test, &[]) else { return };
    let server = Server::start(&network);
    let args = ["--source", "10.77.16.0/24", "--target", "line://10.77.0.1:7000", "--churn"];
    let times = ["--connections", "200", "--rate", "100", "--heartbeat", "off", "--hold", "2s"];
    let ended = Load::start(&network, "churn", &[&args[..], &times].concat()).wait();
    ended.assert_clean(400, 0);
    assert_eq!(ended.summary["connections"]["replaced"], 200);
    let seconds = ended.summary["connect"]["seconds"].as_f64().expect("a number");
    assert!(seconds >= 1.98, "the last of 200 is due then: {seconds}");
    server.stop();
}

#[test]
fn an_interrupted_load_closes_its_connections_and_says_what_it_did() {
    let test = "an_interrupted_load_closes_its_connections_and_says_what_it_did";
    let Some(network) = Network::make(test, &[]) else { return };
    let mut server = Server::start(&network);
    let args = ["--source", "10.77.16.0/24", "--target", "line://10.77.0.1:7000"];
    let times = ["--connections", "300", "--hold", "1h", "--heartbeat", "1s"];
    let run = Load::start(&network, "interrupt", &[&args[..], &times].concat());
    server.wait_until("the connections", |status| status.established == 300);
    run.interrupt();
    let ended = run.wait();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(1), "tenmil: interrupted\n"));
    assert!(ended.stdout.contains("300 of 300 established, 0 failed"), "{}", ended.stdout);
    let status = server.wait_until("no connection", |status| status.connections == 0);
    assert_eq!(status.closed.get("closed_by_peer"), Some(&300), "{status:?}");
    let link = network.run(&["ip", "-d", "link", "show", CLIENT_INTERFACE], b"");
    assert!(!String::from_utf8_lossy(&link.stdout).contains("xdp"), "nothing stays attached");
    server.stop();
}

#[test]
fn what_went_wrong_is_counted_by_reason() {
    let test = "what_went_wrong_is_counted_by_reason";
    let Some(network) = Network::make(test, &[]) else { return };
    let mut server = Server::start(&network);
    let args = ["--source", "10.77.16.0/24", "--target", "line://10.77.0.1:7000"];
    let refused = [&args[..], &["line://10.77.0.1:7001", "--connections", "100", "--hold", "0s"]];
    let ended = Load::start(&network, "refused", &refused.concat()).wait();
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.starts_with("tenmil: not every connection"), "{}", ended.stderr);
    assert_schema(&ended.summary);
    assert_eq!(ended.summary["failed_by"], serde_json::json!({ "refused": 50 }));
    assert_eq!(whole(&ended.summary["connections"]["established"]), 50);

    server.wait_until("no connection", |status| status.connections == 0);
    server.stop();

    // A server that closes on its clients.
    network.ip_server("addr add 10.77.0.3/16 dev tm-server0");
    let closing = network.in_server(|| close_on(10));
    let args = ["--source", "10.77.16.0/24", "--target", "echo://10.77.0.3:7"];
    let times = ["--connections", "10", "--hold", "1s", "--heartbeat", "1s"];
    let ended = Load::start(&network, "closing", &[&args[..], &times].concat()).wait();
    closing.join().expect("no panic");
    assert_eq!(ended.code, Some(1));
    let closed = ended.summary["closed"].as_object().expect("by reason");
    assert_eq!(closed.values().map(whole).sum::<u64>(), 10, "{}", ended.summary);
    assert_eq!(whole(&ended.summary["heartbeats"]["answered"]), 0);
}

/// A kernel's server on 10.77.0.3 for so many connections, each of which it closes when it has read a
/// byte, in the calling thread's namespace.
fn close_on(connections: usize) -> JoinHandle<()> {
    let listener = TcpListener::bind("10.77.0.3:7").expect("the address is here");
    thread::spawn(move || {
        for stream in listener.incoming().take(connections) {
            let mut stream = stream.expect("a connection");
            // Reset, since it did not read everything.
            thread::spawn(move || stream.read(&mut [0]));
        }
    })
}

#[test]
fn a_load_that_cannot_be_is_refused_in_one_line() {
    let test = "a_load_that_cannot_be_is_refused_in_one_line";
    let Some(network) = Network::make(test, &[]) else { return };
    let line = "line://10.77.0.1:7000";
    let source = ["--source", "10.77.16.0/24"];
    let target = ["--target", line];
    let ten = ["--connections", "10"];
    for (args, says) in [
        (
            [&["--source", "10.77.16.0/32"], &target[..], &["--connections", "64513"]],
            &["2 IPv4", "/31"][..],
        ),
        ([&["--source", "fd77::1:0/112"], &target, &ten], &["fd77::1:0/112 is IPv6", "no target"]),
        ([&source, &["--target", "line://[fd77::1]:7000"], &ten], &["10.77.16.0/24 is IPv4"]),
        ([&["--source", "10.77.16.0"], &target, &ten], &["'10.77.16.0'", "ADDRESS/PREFIX"]),
        ([&["--source", "10.77.16.0/33"], &target, &ten], &["10.77.16.0/33"]),
        ([&["--source", "10.77.0.0/16"], &target, &ten], &[line, "in the source prefix"]),
        ([&source, &["--target", line, line], &ten], &["twice"]),
        ([&source, &["--target", "line://10.78.0.1:7000"], &ten], &["10.78.0.1", "--gateway"]),
        ([&source, &["--target", "line://10.77.0.1"], &ten], &["'line://10.77.0.1'"]),
        ([&source, &["--target", "line://10.77.0.1:1?keepalive=off"], &ten], &["for listeners"]),
        ([&source, &target, &["--connections", "0"]], &["--connections"]),
        ([&source, &target, &["--connections", "10", "--churn"]], &["--rate"]),
        ([&source, &target, &["--connections", "9", "--heartbeat", "soon"]], &["soon", "60s"]),
        ([&source, &target, &["--connections", "9", "--misses", "2"]], &["--reconnect"]),
        (
            [&source, &target, &["--connections", "9", "--reconnect", "--backoff-base", "2m"]],
            &["--backoff-base 120s", "--backoff-cap 60s"],
        ),
        (
            [&source, &target, &["--connections", "9", "--reconnect", "--churn", "--rate", "9"]],
            &["--churn", "--reconnect"],
        ),
        (
            [&source, &target, &["--connections", "9", "--json", "/nonexistent/a"]],
            &["cannot write"],
        ),
        ([&source, &target, &["--connections", "9", "--gateway", "10.9.0.1"]], &["--source"]),
    ] {
        let output = network.in_client(|| load(&args.concat()).output().expect("it is built"));
        assert_refused(&output, says);
    }
    let sound = [&source[..], &target, &ten].concat();
    let output = network.in_client(|| {
        let mut command = Command::new(TENMIL);
        command.args(["load", "--interface", "tm-none"]).args(&sound).output().expect("built")
    });
    assert_refused(&output, &["tm-none"]);
    network.ip_client("link set tm-client0 down");
    let output = network.in_client(|| load(&sound).output().expect("it is built"));
    assert_refused(&output, &["tm-client0 is down"]);
    let link = network.server_link();
    assert!(link.contains(SERVER_INTERFACE) && !link.contains("xdp"), "{link}");
}
