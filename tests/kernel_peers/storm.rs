//! All clients come back at once, while others hold their connections.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tenmil::shard::clock::Clock;
use tenmil::time::Duration;

use crate::load::Load;
use crate::many::open;
use crate::network::Network;
use crate::server::Server;

/// How many connections the storm brings, and how many are let in a second.
const STORM: u64 = 300;
const RATE: u64 = 100;

/// Beats over each stream, again and again, until `ended`; returns how long each answer took.
fn beat(streams: &mut [TcpStream], ended: &AtomicBool) -> Vec<Duration> {
    let clock = Clock::start();
    let mut took = Vec::new();
    while !ended.load(Ordering::Relaxed) {
        for stream in &mut *streams {
            let sent = clock.now();
            stream.write_all(b"PING\n").expect("it is served");
            let mut pong = [0; 5];
            stream.read_exact(&mut pong).expect("it is answered");
            assert_eq!(&pong, b"PONG\n");
            took.push(clock.now().since(sent));
        }
        thread::park_timeout(Duration::from_millis(100));
    }
    took
}

#[test]
fn a_storm_is_let_in_at_its_pace_while_others_beat() {
    let test = "a_storm_is_let_in_at_its_pace_while_others_beat";
    let Some(network) = Network::make(test, &[]) else { return };
    let rate = RATE.to_string();
    let listen = ["--listen", "line://10.77.0.1:7000?heartbeat=1s", "line://10.77.0.1:7001"];
    let args = ["--address", "10.77.0.1/16", "--accept-rate", &rate];
    let mut server = Server::start_with(&network, &[&args[..], &listen].concat());
    let ended = AtomicBool::new(false);
    let (mut beats, storm) = thread::scope(|scope| {
        let mut streams = network.in_client(|| open(10, &["10.77.0.1:7000"]));
        let ended = &ended;
        let beating = scope.spawn(move || beat(&mut streams, ended));
        // Faster than it is let in: the rest comes again after a second, and after two more.
        let source = ["--source", "10.77.16.0/24", "--target", "line://10.77.0.1:7001"];
        let (connections, rate) = (STORM.to_string(), STORM.to_string());
        let numbers = ["--connections", &connections, "--rate", &rate];
        let times = ["--heartbeat", "off", "--hold", "1s"];
        let load = Load::start(&network, "storm", &[&source[..], &numbers, &times].concat());
        let storm = load.wait();
        ended.store(true, Ordering::Relaxed);
        (beating.join().expect("every beat is answered"), storm)
    });
    storm.assert_clean(STORM, 0);
    // A tenth of a second's worth at once, and then at the pace.
    let least = (STORM - RATE / 10) as f64 / RATE as f64 - 0.1;
    let took = storm.summary["connect"]["seconds"].as_f64().expect("a number");
    assert!(took >= least, "{STORM} in {took} s");
    let status = server.wait_until("the end", |status| status.established == 0);
    assert!(status.dropped["accept_limited"] >= STORM / 3, "{status:?}");
    assert_eq!(status.events["accepted"], STORM + 10, "{status:?}");
    assert_eq!(status.closed.get("heartbeat_missed"), None, "{status:?}");
    beats.sort_unstable();
    let p99 = beats.len() * 99 / 100;
    // Machines are slow; a second is what the retransmission of a lost answer would take.
    assert!(p99 >= 100 && beats[p99] < Duration::from_secs(1), "{:?}", &beats[p99..]);
    server.stop();
}
