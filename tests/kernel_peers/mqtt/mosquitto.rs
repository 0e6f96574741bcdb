//! mosquitto_pub and mosquitto_sub, in both versions.

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

use super::ARGS;
use crate::client::noise;
use crate::network::{Network, SERVER_INTERFACE};
use crate::push::Control;
use crate::refusals::assert_refused;
use crate::server::{Server, TENMIL};

const TOOLS: &[&str] = &["mosquitto_pub", "mosquitto_sub", "stdbuf", "timeout"];

/// A running mosquitto_sub that has subscribed.
struct Subscriber {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// What came before its subscription was granted.
    early: Vec<String>,
}

impl Subscriber {
    /// Subscribes with these arguments besides, and waits until that was granted.
    #[track_caller]
    fn start(network: &Network, version: &str, args: &str) -> Subscriber {
        // It ends by itself after 20 s, and writes each line at once.
        let mut command = Command::new("stdbuf");
        command.args(["-oL", "mosquitto_sub", "-W", "20", "-d", "-F", "GOT %t %q %r %p"]);
        command.args(["-h", "10.77.0.1"]);
        command.args(["-V", version]).args(args.split_whitespace()).stdout(Stdio::piped());
        let mut child = network.in_client(|| command.spawn().expect("it is installed"));
        let stdout = child.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(stdout).lines();
        let mut early = Vec::new();
        loop {
            let line = lines.next().expect("it is granted").expect("text");
            match line.strip_prefix("GOT ") {
                Some(message) => early.push(message.to_owned()),
                None if line.starts_with("Subscribed") => break,
                None => {}
            }
        }
        Subscriber { child, lines, early }
    }

    /// The next `count` messages: topic, QoS, retain flag and text.
    #[track_caller]
    fn messages(&mut self, count: usize) -> Vec<String> {
        let lines = self.lines.by_ref().map(|line| line.expect("text"));
        let messages = lines.filter_map(|line| line.strip_prefix("GOT ").map(str::to_owned));
        let messages: Vec<_> = self.early.drain(..).chain(messages).take(count).collect();
        assert_eq!(messages.len(), count, "no more came in time: {messages:?}");
        messages
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn publish(network: &Network, version: &str, args: &str, input: &[u8]) {
    let command = ["timeout", "20", "mosquitto_pub", "-h", "10.77.0.1", "-V", version];
    let args: Vec<_> = args.split_whitespace().collect();
    let output = network.run(&[&command, &args[..]].concat(), input);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn mosquitto_publishes_and_subscribes_in_both_versions() {
    let test = "mosquitto_publishes_and_subscribes_in_both_versions";
    let Some(network) = Network::make(test, TOOLS) else { return };
    let mut server = Server::start_with(&network, ARGS);
    for version in ["mqttv311", "mqttv5"] {
        let mut all = Subscriber::start(&network, version, "-t a/# -q 1");
        let mut some = Subscriber::start(&network, version, "-t a/+/c -q 0");
        publish(&network, version, "-t a/b/c -m hello -q 0", b"");
        publish(&network, version, "-t a/b/c -m world -q 1", b"");
        // By the other listener.
        publish(&network, version, "-h fd77::1 -t a -m last -q 1", b"");
        assert_eq!(all.messages(3), ["a/b/c 0 0 hello", "a/b/c 1 0 world", "a 1 0 last"]);
        assert_eq!(some.messages(2), ["a/b/c 0 0 hello", "a/b/c 0 0 world"]);
        // One a line, one after the other, and one that takes many segments.
        let lines: String = (0..500).map(|n| format!("line {n}\n")).collect();
        publish(&network, version, "-t a/b -l -q 1", lines.as_bytes());
        let expected: Vec<_> = (0..500).map(|n| format!("a/b 1 0 line {n}")).collect();
        assert_eq!(all.messages(500), expected);
        let long: String =
            noise(1, 60_000).iter().map(|byte| char::from(b'a' + byte % 26)).collect();
        publish(&network, version, "-t a/long -s -q 1", long.as_bytes());
        assert_eq!(all.messages(1), [format!("a/long 1 0 {long}")]);
    }
    drop(server.wait_until("all have gone", |status| status.established == 0));
    server.stop();
}

#[test]
fn mosquitto_gets_what_was_retained_what_waited_and_wills() {
    let test = "mosquitto_gets_what_was_retained_what_waited_and_wills";
    let Some(network) = Network::make(test, TOOLS) else { return };
    let server = Server::start_with(&network, ARGS);
    for version in ["mqttv311", "mqttv5"] {
        publish(&network, version, "-t r/1 -m kept -q 1 -r", b"");
        publish(&network, version, "-t r/2 -m gone -r", b"");
        publish(&network, version, "-t r/2 -n -r", b"");
        let mut late = Subscriber::start(&network, version, "-t r/# -q 1");
        assert_eq!(late.messages(1), ["r/1 1 1 kept"]);

        let persistent = match version {
            "mqttv5" => "-t w/# -q 1 -i waiting -c -x 60",
            _ => "-t w/# -q 1 -i waiting -c",
        };
        drop(Subscriber::start(&network, version, persistent));
        publish(&network, version, "-t w/1 -m one -q 1", b"");
        publish(&network, version, "-t w/2 -m two -q 1", b"");
        let mut back = Subscriber::start(&network, version, persistent);
        assert_eq!(back.messages(2), ["w/1 1 0 one", "w/2 1 0 two"]);

        let mut heir = Subscriber::start(&network, version, "-t will/# -q 1");
        let mortal = "-t x --will-topic will/1 --will-payload dead --will-qos 1";
        drop(Subscriber::start(&network, version, mortal));
        assert_eq!(heir.messages(1), ["will/1 1 0 dead"]);
        // Whoever says goodbye leaves none.
        publish(&network, version, &format!("{mortal} -m bye"), b"");
        publish(&network, version, "-t will/2 -m next", b"");
        assert_eq!(heir.messages(1), ["will/2 0 0 next"]);
        publish(&network, version, "-t r/1 -n -r", b"");
    }
    server.stop();
}

#[test]
fn more_queues_than_one_are_refused_in_one_line() {
    let test = "more_queues_than_one_are_refused_in_one_line";
    let Some(network) = Network::with_queues(test, &[], 2) else { return };
    let output = network.in_server(|| {
        let mut command = Command::new(TENMIL);
        command.args(["serve", "--interface", SERVER_INTERFACE]).args(ARGS);
        command.output().expect("it is built")
    });
    assert_refused(&output, &["mqtt://10.77.0.1:1883", "one queue", "--queues 1"]);
    network.assert_detached();
}

#[test]
fn what_is_not_served_is_refused_by_code() {
    let test = "what_is_not_served_is_refused_by_code";
    let Some(network) = Network::make(test, TOOLS) else { return };
    let server = Server::start_with(&network, ARGS);
    let run = |args: &str| {
        let command: Vec<_> = ["timeout", "20"].into_iter().chain(args.split(' ')).collect();
        let output = network.run(&command, b"");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    };
    let (is_fine, said) =
        run("mosquitto_pub -d -h 10.77.0.1 -V mqttv5 -t a -m x -q 1 --will-topic w --will-qos 2");
    assert!(!is_fine && said.contains("155"), "QoS not supported: {said}");
    let (_, said) = run("mosquitto_sub -d -h 10.77.0.1 -V mqttv5 -t $share/g/a -W 3");
    assert!(said.contains("DISCONNECT (158)"), "{said}");
    let (is_fine, said) = run("mosquitto_pub -d -h 10.77.0.1 -V mqttv31 -t a -m x");
    assert!(!is_fine && said.contains("protocol"), "{said}");
    server.stop();
}

#[test]
fn an_operator_publishes_and_mosquitto_hears_it() {
    let test = "an_operator_publishes_and_mosquitto_hears_it";
    let Some(network) = Network::make(test, TOOLS) else { return };
    let control = Control::make();
    let mut server = Server::start_with(&network, &[ARGS, &control.arg()].concat());
    let mut clients = ["mqttv311", "mqttv5"]
        .map(|version| Subscriber::start(&network, version, "-t news/# -q 1"));
    let listener = "mqtt://10.77.0.1:1883";
    for address in [&[][..], &["--listener", listener]] {
        let args = [&["broadcast", "--topic", "news/today"], address, &["rain"]].concat();
        let (code, stdout, stderr) = control.tenmil(&args, b"");
        assert_eq!((code, stderr.as_str()), (Some(0), ""));
        assert!(stdout.starts_with("sent 0, queued 2, full 0, gone 0, in "), "{stdout}");
        for client in &mut clients {
            assert_eq!(client.messages(1), ["news/today 0 0 rain"]);
        }
    }
    let keeps = server.settled().keeps;
    assert_eq!((keeps["mqtt_sessions"], keeps["mqtt_subscriptions"]), (2, 2), "{keeps:?}");
    assert!(keeps["mqtt_bytes_per_session"] > 0 && keeps["mqtt_subscription_bytes"] > 0);
    control.refuses(&["broadcast", "rain"], "broadcast it with a topic (--topic)");
    control
        .refuses(&["broadcast", "--topic", "news/#", "rain"], "a topic to publish to is not empty");
    let push = ["push", "--listener", listener, "--peer", "10.77.0.2:40000", "rain"];
    control.refuses(&push, "mqtt's clients get what they have subscribed to");
    drop(clients);
    server.stop();
}
