//! Clients that hold their connection and say nothing: only their heartbeat tells.

use std::io::{ErrorKind, Read as _, Write as _};

use tenmil::shard::clock::Clock;
use tenmil::time::{Duration, Instant};

use crate::client::connect;
use crate::network::{Network, PATIENCE};
use crate::server::Server;

#[test]
fn periods_that_do_not_complement_each_other_are_warned_of() {
    let test = "periods_that_do_not_complement_each_other_are_warned_of";
    let Some(network) = Network::make(test, &[]) else { return };
    let flags = ["--address", "10.77.0.1/16", "--keepalive-time", "2h", "--listen"];
    let slow = ["echo://10.77.0.1:7", "discard://10.77.0.1:9"];
    let rest = [
        "line://10.77.0.1:7000?heartbeat=1m",
        "line://10.77.0.1:7001?heartbeat=1m&keepalive-time=10s",
        "line://10.77.0.1:7002?heartbeat=1m&keepalive-time=90s",
        "discard://10.77.0.1:90?keepalive=off",
    ];
    let mut server = Server::start_with(&network, &[&flags[..], &slow, &rest].concat());
    drop(server.next_status());
    let warned = server.stop_with_warnings();
    let [forgotten, never, doubles, lost] = &warned[..] else { panic!("four lines: {warned:?}") };
    for (line, listener, words) in [
        (forgotten, "echo://10.77.0.1:7 and 1 more: ", ["silent for 2h", "Azure", "(5m 50s)"]),
        (never, "line://10.77.0.1:7000: ", ["never probes", "after 2h", "3m without"]),
        (doubles, "line://10.77.0.1:7001: ", ["doubles the traffic", "5 probes", "1m apart"]),
        (lost, "discard://10.77.0.1:90: ", ["neither", "keepalive", "for ever"]),
    ] {
        assert!(line.starts_with(&format!("tenmil: warning: {listener}")), "{line}");
        assert!(words.iter().all(|word| line.contains(word)), "{line}");
    }
}

#[test]
fn a_client_that_hangs_is_reset_after_three_periods_and_others_are_not() {
    let test = "a_client_that_hangs_is_reset_after_three_periods_and_others_are_not";
    let Some(network) = Network::make(test, &[]) else { return };
    let listen = ["line://10.77.0.1:7000?heartbeat=1s", "line://10.77.0.1:7001"];
    let args = ["--address", "10.77.0.1/16", "--listen", listen[0], listen[1]];
    let mut server = Server::start_with(&network, &args);
    network.in_client(|| {
        let [mut hangs, mut beats, free] =
            ["10.77.0.1:7000", "10.77.0.1:7000", "10.77.0.1:7001"].map(connect);
        beats.set_read_timeout(Some(Duration::from_millis(500))).expect("an open socket");
        let clock = Clock::start();
        let mut pongs = 0;
        while clock.now() < Instant::from_millis(5_000) {
            beats.write_all(b"PING\n").expect("it is served");
            let mut pong = [0; 5];
            beats.read_exact(&mut pong).expect("it is answered");
            assert_eq!(&pong, b"PONG\n");
            pongs += 1;
            // Nothing more comes.
            let more = beats.read(&mut pong).map_err(|error| error.kind());
            assert_eq!(more, Err(ErrorKind::WouldBlock));
        }
        assert!(pongs >= 5);
        // Its kernel acknowledges everything; nobody there says anything.
        let ended = hangs.read(&mut [0]).map_err(|error| error.kind());
        assert_eq!(ended, Err(ErrorKind::ConnectionReset));
        free.set_nonblocking(true).expect("an open socket");
        let still = (&free).read(&mut [0]).map_err(|error| error.kind());
        assert_eq!(still, Err(ErrorKind::WouldBlock), "it has no period");
        assert!(clock.now().since(Instant::ZERO) < PATIENCE);
    });
    let status = server.wait_until("the others have gone", |status| status.connections == 0);
    assert_eq!((status.closed["heartbeat_missed"], status.closed["closed_by_peer"]), (1, 2));
    server.stop();
}
