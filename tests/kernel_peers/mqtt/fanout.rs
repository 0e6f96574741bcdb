//! One message to very many subscribers.

use std::process::Command;

use crate::load::Load;
use crate::network::{Network, wait_for};
use crate::server::Server;

use super::ARGS;

const SUBSCRIBERS: u64 = 20_000;

#[test]
fn a_message_reaches_twenty_thousand_subscribers_while_they_beat() {
    let test = "a_message_reaches_twenty_thousand_subscribers_while_they_beat";
    let Some(network) = Network::make(test, &["mosquitto_pub"]) else { return };
    let mut server =
        Server::start_with(&network, &[ARGS, &["--max-connections", "21000"]].concat());
    let count = SUBSCRIBERS.to_string();
    let to = ["--source", "10.77.16.0/24", "--target", "mqtt://10.77.0.1:1883"];
    let what = ["--subscribe", "news/+", "--connections", &count, "--heartbeat", "10s"];
    let load = Load::start(&network, "fanout", &[&to[..], &what, &["--hold", "20s"]].concat());
    server.wait_until("all subscribers", |status| {
        status.keeps.get("mqtt_subscriptions") == Some(&SUBSCRIBERS)
    });
    for text in ["the first of all", "the second, which is another one"] {
        let mut publisher = Command::new("mosquitto_pub");
        publisher.args(["-h", "10.77.0.1", "-q", "1", "-t", "news/today", "-m", text]);
        let mut publisher = network.in_client(|| publisher.spawn().expect("it is installed"));
        let ended = wait_for("the PUBACK", || publisher.try_wait().expect("it is our child"));
        assert!(ended.success());
    }
    let ended = load.wait();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{}", ended.stdout);
    assert_eq!(ended.summary["heartbeats"]["wrong"], 0, "{}", ended.summary);
    let pushes = &ended.summary["pushes"];
    assert_eq!(pushes["received"], 2 * SUBSCRIBERS, "{pushes}");
    assert_eq!(pushes["different"], SUBSCRIBERS, "each the first, and then the second: {pushes}");
    assert_eq!(pushes["received_bytes"], SUBSCRIBERS * (16 + 32), "{pushes}");
    let status = server.wait_until("the end", |status| status.established == 0);
    assert_eq!(status.events["mqtt_delivered"], 2 * SUBSCRIBERS, "{status:?}");
    assert_eq!(status.events.get("mqtt_dropped_queue_full"), None, "{status:?}");
    server.stop();
}
