//! What reaches the stack, and how: XDP modes, queues, addresses shared with the kernel.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use crate::client::{ECHO, LINE, assert_closes, assert_echo, connect, noise};
use crate::many;
use crate::network::{Network, PATIENCE};
use crate::server::{DEFAULT_ARGS, Server};

#[test]
fn both_xdp_modes_serve() {
    let Some(network) = Network::make("both_xdp_modes_serve", &["ping"]) else { return };
    for (mode, link) in [("skb", "xdpgeneric"), ("native", "prog/xdp "), ("auto", "prog/xdp ")] {
        let args = [DEFAULT_ARGS, &["--xdp-mode", mode]].concat();
        let server = Server::start_with(&network, &args);
        let said = if mode == "skb" { "XDP skb" } else { "XDP native" };
        assert!(server.announced[0].contains(said), "{mode}: {:?}", server.announced);
        let shown = network.server_link();
        assert!(shown.contains(link), "{mode}: {shown}");
        network.in_client(|| {
            for to in ECHO {
                let stream = connect(to);
                assert_echo(&stream, &noise(1, 100_000));
                assert_closes(stream);
            }
        });
        for address in ["10.77.0.1", "fd77::1"] {
            let output = network.run(&["ping", "-c", "1", "-W", "5", address], b"");
            assert!(output.status.success(), "{mode}: {address}");
        }
        server.stop();
        network.assert_detached();
    }
}

#[test]
fn two_queues_share_the_connections() {
    let test = "two_queues_share_the_connections";
    let Some(network) = Network::with_queues(test, &[], 2) else { return };
    let mut server = Server::start_with(&network, &[DEFAULT_ARGS, &["--queues", "2"]].concat());
    assert!(server.announced[0].contains("2 of 2 queue(s)"), "{:?}", server.announced);
    let streams = network.in_client(|| many::open(200, &ECHO));
    many::assert_each_echoes(&streams, 3000);
    let status = server.wait_until("all held", |status| status.established == 200);
    assert_eq!(status.connections, 200);
    many::close(streams);
    server.wait_until("no connection", |status| status.connections == 0);
    server.stop();
    network.assert_detached();
}

#[test]
fn an_address_shared_with_the_kernel_stays_the_kernels_but_for_the_port() {
    let test = "an_address_shared_with_the_kernel_stays_the_kernels_but_for_the_port";
    let Some(network) = Network::make(test, &["ping"]) else { return };
    network.ip_server("addr add 10.77.0.3/16 dev tm-server0");
    let mut server = Server::start_with(&network, &["--listen", "echo://10.77.0.3:7"]);
    let kernels = network.in_server(|| TcpListener::bind("10.77.0.3:8080").expect("it is free"));

    let output = network.run(&["ping", "-c", "3", "-i", "0.1", "-W", "5", "10.77.0.3"], b"");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    network.in_client(|| {
        let to: SocketAddr = "10.77.0.3:8".parse().expect("an endpoint");
        let error = TcpStream::connect_timeout(&to, PATIENCE).expect_err("nobody listens");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
    assert_eq!(server.settled().rx, 0, "all of that was the kernel's");

    let ours = network.in_client(|| connect("10.77.0.3:7"));
    assert_echo(&ours, &noise(1, 100_000));
    // A service of the kernel on the same address, at the same time.
    let theirs = network.in_client(|| connect("10.77.0.3:8080"));
    let (mut accepted, _) = kernels.accept().expect("it was connected");
    (&theirs).write_all(&noise(2, 10_000)).expect("it is taken");
    drop(theirs);
    let mut got = Vec::new();
    accepted.read_to_end(&mut got).expect("an orderly end");
    assert!(got == noise(2, 10_000));
    assert_echo(&ours, &noise(3, 100_000));
    assert_eq!(server.settled().connections, 1);
    assert_closes(ours);
    server.wait_until("no connection", |status| status.connections == 0);
    server.stop();
    // What the port was is the kernel's again.
    network.in_client(|| {
        let to: SocketAddr = "10.77.0.3:7".parse().expect("an endpoint");
        let error = TcpStream::connect_timeout(&to, PATIENCE).expect_err("nobody listens");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn an_address_that_the_kernel_does_not_have_is_not_taken_from_others() {
    let test = "an_address_that_the_kernel_does_not_have_is_not_taken_from_others";
    let Some(network) = Network::make(test, &["ping"]) else { return };
    let server = Server::start(&network);
    let output = network.run(&["ping", "-c", "1", "-W", "1", "10.77.0.9"], b"");
    assert!(!output.status.success(), "nobody owns 10.77.0.9");
    network.in_client(|| LINE.map(connect));
    server.stop();
}
