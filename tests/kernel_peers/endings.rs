//! How `serve` ends: orderly on SIGINT and SIGTERM; and also when it is killed nothing is left.

use std::io::{Read as _, Write as _};

use rustix::process::Signal;
use tenmil::shard::clock::Clock;
use tenmil::time::{Duration, Instant};

use crate::client::{ECHO, LINE, assert_echo, connect, noise};
use crate::network::{Network, wait_for};
use crate::server::{DEFAULT_ARGS, Server};

#[test]
fn a_signal_ends_it_in_order_and_leaves_nothing() {
    let test = "a_signal_ends_it_in_order_and_leaves_nothing";
    let Some(network) = Network::make(test, &[]) else { return };
    for signal in [Signal::INT, Signal::TERM] {
        for connections in [0, 3] {
            let server = Server::start(&network);
            assert!(network.server_link().contains("xdp"), "attached");
            let streams = network.in_client(|| {
                (0..connections).map(|number| connect(ECHO[number % 2])).collect::<Vec<_>>()
            });
            streams.iter().for_each(|stream| assert_echo(stream, &noise(1, 1000)));
            let clock = Clock::start();
            server.signal(signal);
            let (status, stderr) = server.wait();
            let took = clock.now().since(Instant::ZERO);
            assert_eq!((status.code(), stderr.as_str()), (Some(0), ""), "{signal:?}");
            assert!(took < Duration::from_secs(2), "{signal:?} took {took:?}");
            network.assert_detached();
        }
    }
}

#[test]
fn when_killed_it_leaves_nothing_and_can_be_started_again_at_once() {
    let test = "when_killed_it_leaves_nothing_and_can_be_started_again_at_once";
    let Some(network) = Network::make(test, &[]) else { return };
    for round in 0..3 {
        let server = Server::start(&network);
        let stream = network.in_client(|| connect(ECHO[0]));
        assert_echo(&stream, &noise(round, 10_000));
        server.signal(Signal::KILL);
        let (status, _) = server.wait();
        assert_eq!(status.code(), None, "killed");
        // The kernel detaches the program a moment after the process is gone.
        let detached = || (!network.server_link().contains("xdp")).then_some(());
        if round == 2 {
            wait_for("the program to go", detached);
        }
    }
}

#[test]
fn time_wait_lasts_as_long_as_asked() {
    let test = "time_wait_lasts_as_long_as_asked";
    let Some(network) = Network::make(test, &[]) else { return };
    let args = [&["--time-wait", "2s"], DEFAULT_ARGS].concat();
    let mut server = Server::start_with(&network, &args);
    let mut stream = network.in_client(|| connect(LINE[1]));
    stream.write_all(b"QUIT\n").expect("an open socket");
    assert_eq!(stream.read(&mut [0; 8]).expect("an orderly end"), 0);
    drop(stream);
    let closed = server.wait_until("the close", |status| !status.closed.is_empty());
    assert_eq!((closed.connections, closed.closed["closed_by_us"]), (1, 1), "in TIME-WAIT");
    server.wait_until("its end", |status| status.connections == 0);
}
