//! Clients that come back: servers that are killed, hang, restart, or close on everyone.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, Value};
use tenmil::client::backoff::Backoff;
use tenmil::client::routes::Ports;
use tenmil::client::speaking::{Beats, Speaking};
use tenmil::client::{Client, Plan};
use tenmil::conn::broadcast::Audience;
use tenmil::service::builtin::Builtin;
use tenmil::shard::Shared;
use tenmil::shard::host::Host;
use tenmil::time::Duration;

use crate::capture::TempDir;
use crate::demo::{assert_keys, whole};
use crate::load::{ECHO, Ended, Load, start_python};
use crate::network::{CLIENT_INTERFACE, Network, succeed, wait_for};
use crate::server::Server;

/// A server of the kernel's; killed when dropped.
struct Peer(Child);

impl Peer {
    fn python(network: &Network, script: &str) -> Peer {
        Peer(start_python(network, script))
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.0.id().cast_signed()).expect("a process");
        kill_process(pid, signal).expect("it is our child");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How many connections the server's kernel has.
fn established(network: &Network) -> usize {
    let count = || {
        let said = succeed(Command::new("ss").args(["-Htn", "state", "established"]));
        said.lines().count()
    };
    network.in_server(count)
}

const CLIENTS: usize = 200;

/// Clients of `target` with a heartbeat a second, of which they miss two, and short waits.
fn start(network: &Network, targets: &[&str], more: &[&str]) -> Load {
    let clients = CLIENTS.to_string();
    let args = ["--source", "10.77.16.0/24", "--connections", &clients, "--target"];
    let args = [&args[..], targets].concat();
    let waits = ["--reconnect", "--spread", "2s", "--backoff-base", "200ms", "--backoff-cap", "2s"];
    let beats = ["--heartbeat", "1s", "--misses", "2"];
    Load::start(network, "returning", &[&args[..], &waits, &beats, more].concat())
}

fn pause(seconds: u64) {
    thread::park_timeout(Duration::from_secs(seconds));
}

/// What is said of reconnects; after a run at whose end all were open, and nothing was wrong.
#[track_caller]
fn all_back(ended: &Ended) -> &Map<String, Value> {
    let Ended { code, stderr, stdout, summary } = ended;
    assert_eq!((*code, stderr.as_str()), (Some(0), ""), "{stdout}");
    let count = |name: &str| whole(&summary["connections"][name]);
    let all = ["requested", "established", "failed"].map(count);
    assert_eq!(all, [CLIENTS as u64, CLIENTS as u64, 0], "{summary}");
    assert_eq!(whole(&summary["heartbeats"]["wrong"]), 0, "{summary}");
    let keys = "retries reconnects failed_by lost_by missed outages outage_seconds_max \
                retries_by_second latency_us answered";
    assert_keys(summary, "reconnects", keys);
    let returns = summary["reconnects"].as_object().expect("they come back");
    assert!(whole(&returns["reconnects"]) >= CLIENTS as u64, "{summary}");
    assert!(whole(&returns["retries"]) >= whole(&returns["reconnects"]), "{summary}");
    assert!(whole(&returns["outages"]) >= 1, "{summary}");
    let by_second = returns["retries_by_second"].as_array().expect("counts");
    assert_eq!(by_second.iter().map(whole).sum::<u64>(), whole(&returns["retries"]));
    assert!(stdout.contains("\nreconnects ") && stdout.contains("\nlost "), "{stdout}");
    returns
}

#[test]
fn clients_come_back_to_a_server_of_the_kernels_that_was_killed() {
    let test = "clients_come_back_to_a_server_of_the_kernels_that_was_killed";
    let Some(network) = Network::make(test, &["python3", "ss"]) else { return };
    network.ip_server("addr add 10.77.0.1/16 dev tm-server0");
    let echo = Peer::python(&network, ECHO);
    let load = start(&network, &["echo://10.77.0.1:7"], &["--hold", "18s"]);
    wait_for("the clients", || (established(&network) == CLIENTS).then_some(()));
    pause(2);
    drop(echo);
    wait_for("their end", || (established(&network) == 0).then_some(()));
    // Refused until it is back.
    pause(3);
    let _echo = Peer::python(&network, ECHO);
    wait_for("their return", || (established(&network) == CLIENTS).then_some(()));
    let ended = load.wait();
    let returns = all_back(&ended);
    let (lost, failed) = (&returns["lost_by"], &returns["failed_by"]);
    let told =
        lost["closed_by_peer"].as_u64().unwrap_or(0) + lost["reset_by_peer"].as_u64().unwrap_or(0);
    assert_eq!(told, CLIENTS as u64, "its kernel said so itself: {lost}");
    assert!(whole(&failed["refused"]) > 0, "{failed}");
}

#[test]
fn clients_leave_a_server_that_hangs_and_come_back_when_it_goes_on() {
    let test = "clients_leave_a_server_that_hangs_and_come_back_when_it_goes_on";
    let Some(network) = Network::make(test, &["python3", "ss"]) else { return };
    network.ip_server("addr add 10.77.0.1/16 dev tm-server0");
    let echo = Peer::python(&network, ECHO);
    let load = start(&network, &["echo://10.77.0.1:7"], &["--hold", "18s"]);
    wait_for("the clients", || (established(&network) == CLIENTS).then_some(()));
    pause(2);
    // Its TCP acknowledges, and completes handshakes too.
    echo.signal(Signal::STOP);
    pause(6);
    echo.signal(Signal::CONT);
    let ended = load.wait();
    let returns = all_back(&ended);
    let missed = whole(&returns["lost_by"]["heartbeat_missed"]);
    assert!(missed >= CLIENTS as u64 && whole(&returns["missed"]) >= 2 * missed, "{returns:?}");
    assert_eq!(returns["lost_by"].as_object().expect("by reason").len(), 1, "{returns:?}");
}

/// Closes whatever it accepts.
const HOSTILE: &str = r#"
import socket
listener = socket.create_server(("", 7), backlog=4096)
print("listening", flush=True)
while True:
    listener.accept()[0].close()
"#;

#[test]
fn a_server_that_accepts_and_closes_at_once_is_not_asked_in_a_loop() {
    let test = "a_server_that_accepts_and_closes_at_once_is_not_asked_in_a_loop";
    let Some(network) = Network::make(test, &["python3"]) else { return };
    network.ip_server("addr add 10.77.0.1/16 dev tm-server0");
    let _hostile = Peer::python(&network, HOSTILE);
    let ended = start(&network, &["echo://10.77.0.1:7"], &["--duration", "12s"]).wait();
    assert_eq!(ended.code, Some(1), "{}", ended.stdout);
    let returns = &ended.summary["reconnects"];
    let (retries, clients) = (whole(&returns["retries"]), CLIENTS as u64);
    // Windows of 2, 0.2, 0.4, 0.8, 1.6 s, and then 2 s each: about 12 in as many seconds. A loop would
    // make as many in a hundredth of one.
    assert!((4 * clients..20 * clients).contains(&retries), "{returns}");
    let lost = returns["lost_by"].as_object().expect("by reason").values().map(whole).sum::<u64>();
    assert!(lost > 4 * clients, "{returns}");
}

#[test]
fn clients_come_back_to_a_server_of_ours_at_its_pace() {
    let test = "clients_come_back_to_a_server_of_ours_at_its_pace";
    let Some(network) = Network::make(test, &[]) else { return };
    let listen = ["--listen", "line://10.77.0.1:7000?heartbeat=5s", "ws://10.77.0.1:80"];
    let args = ["--address", "10.77.0.1/16", "--accept-rate", "100"];
    let args = [&args[..], &listen].concat();
    let mut server = Server::start_with(&network, &args);
    let targets = ["line://10.77.0.1:7000", "ws://10.77.0.1:80"];
    let load = start(&network, &targets, &["--rate", "80", "--hold", "16s"]);
    server.wait_until("the clients", |status| status.established == CLIENTS as u64);
    pause(2);
    drop(server);
    // Nothing answers: its interface takes what comes, and gives it to nobody.
    pause(3);
    let mut server = Server::start_with(&network, &args);
    let status = server.wait_until("their return", |status| status.established == CLIENTS as u64);
    assert_eq!(status.events["accepted"], CLIENTS as u64, "{status:?}");
    let ended = load.wait();
    let returns = all_back(&ended);
    let lost = returns["lost_by"].as_object().expect("by reason");
    assert_eq!(lost.values().map(whole).sum::<u64>(), CLIENTS as u64, "{lost:?}");
    // WebSocket's server closes first, and remembers it.
    server.wait_until("no connection", |status| status.established == 0);
    server.stop();
}

/// A broker of mosquitto's at the server's end; the directory is for its settings.
fn broker(network: &Network, directory: &TempDir) -> Peer {
    let settings = directory.path().join("mosquitto.conf");
    let lines = "listener 1883 10.77.0.1\nallow_anonymous true\nset_tcp_nodelay true\nuser root\n";
    fs::write(&settings, lines).expect("a new file");
    let child = network.in_server(|| {
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(&settings).stdin(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("it is installed")
    });
    let listens = || {
        let said = network.in_server(|| succeed(Command::new("ss").args(["-Htln"])));
        said.contains(":1883").then_some(())
    };
    wait_for("the broker", listens);
    Peer(child)
}

const BROKER_TOOLS: &[&str] = &["mosquitto", "mosquitto_pub", "ss"];

#[test]
fn clients_of_mosquitto_come_back_when_it_does() {
    let test = "clients_of_mosquitto_come_back_when_it_does";
    let Some(network) = Network::make(test, BROKER_TOOLS) else { return };
    network.ip_server("addr add 10.77.0.1/16 dev tm-server0");
    let directory = TempDir::make("mosquitto");
    let mosquitto = broker(&network, &directory);
    let load = start(&network, &["mqtt://10.77.0.1:1883"], &["--hold", "16s"]);
    wait_for("the clients", || (established(&network) == CLIENTS).then_some(()));
    pause(2);
    drop(mosquitto);
    pause(2);
    let _mosquitto = broker(&network, &directory);
    wait_for("their return", || (established(&network) == CLIENTS).then_some(()));
    all_back(&load.wait());
}

/// Ten clients of the library's, with a keep alive of two seconds, on the clients' interface; runs
/// `body` meanwhile, with what they share and how many messages they have heard.
fn with_clients(network: &Network, body: impl FnOnce(&Shared, &AtomicU64)) {
    let heard = Arc::new(AtomicU64::new(0));
    let (ready, is_ready) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        let hearing = heard.clone();
        let running = scope.spawn(move || {
            network.in_client(|| {
                let local = "10.77.16.1".parse().expect("an address");
                let mut host = Host::attach(CLIENT_INTERFACE, local).expect("it can be attached");
                host.on_link(16);
                host.config.connections_max = 100;
                let remote = "10.77.0.1:1883".parse().expect("an endpoint");
                let ports = Ports { local, remote, tag: Builtin::Mqtt.tag(), seats: 10 };
                let beats = Beats {
                    period: Some(Duration::from_secs(2)),
                    answer_wait: Duration::from_secs(1),
                    misses: 2,
                };
                let backoff = Backoff {
                    spread: Duration::from_secs(1),
                    base: Duration::from_millis(200),
                    cap: Duration::from_secs(1),
                    ..Backoff::default()
                };
                let plan = Plan { seats: 10, backoff, ..Plan::default() };
                let speaking = Speaking::new(beats, move |_, message: &[u8]| {
                    // PUBLISH; the other is the SUBACK.
                    hearing.fetch_add(u64::from(message[0] >> 4 == 3), Ordering::Relaxed);
                });
                let client = Client::new(&plan, &host.config, ports, speaking);
                let mut client = Some(client.expect("there is memory"));
                ready.send(host.shared()[0].clone()).expect("somebody waits");
                host.run_driven(|_| client.take().expect("one queue"))
            })
        });
        let shared: Arc<Shared> = is_ready.recv().expect("it starts");
        body(&shared, &heard);
        shared.stop.store(true, Ordering::Relaxed);
        running.join().expect("no panic").expect("it was stopped");
    });
}

/// MQTT-3.1.2-23: mosquitto closes on a client from which nothing came for three seconds, however much it
/// sends to it.
#[test]
fn what_a_broker_sends_puts_no_ping_off() {
    let test = "what_a_broker_sends_puts_no_ping_off";
    let Some(network) = Network::make(test, BROKER_TOOLS) else { return };
    network.ip_server("addr add 10.77.0.1/16 dev tm-server0");
    let directory = TempDir::make("mosquitto");
    let mosquitto = broker(&network, &directory);
    with_clients(&network, |shared, heard| {
        let count = |name: &str| *shared.snapshot().service.get(name).unwrap_or(&0);
        wait_for("the clients", || (count("welcomed") == 10).then_some(()));
        let subscribe = b"\x82\x06\x00\x01\x00\x01t\x00".to_vec();
        shared.handle().broadcast(Audience::All, subscribe).expect("there is room");
        // Twenty messages in ten seconds.
        network.in_server(|| {
            let args = ["-h", "10.77.0.1", "-t", "t", "-m", "x", "--repeat", "20"];
            succeed(Command::new("mosquitto_pub").args(args).args(["--repeat-delay", "0.5"]))
        });
        wait_for("the last message", || (heard.load(Ordering::Relaxed) >= 190).then_some(()));
        let names = ["welcomed", "retries", "heartbeats_missed", "answers_wrong"];
        assert_eq!(names.map(count), [10, 0, 0, 0]);
        assert!(count("heartbeats_answered") >= 40, "{:?}", shared.snapshot().service);
        assert_eq!(established(&network), 10);

        mosquitto.signal(Signal::STOP);
        wait_for("missed pings", || (count("heartbeats_missed") >= 20).then_some(()));
        mosquitto.signal(Signal::CONT);
        wait_for("their return", || (count("welcomed") == 20).then_some(()));
        assert!(count("reconnects") >= 10, "{:?}", shared.snapshot().service);
    });
    drop(mosquitto);
}
