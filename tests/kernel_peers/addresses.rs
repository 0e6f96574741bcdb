//! Addresses of the server, and hardware addresses of its clients: taken into use, contested, changed.

use std::process::Command;

use tenmil::wire::addr::Address;
use tenmil::wire::neighbor;

use crate::client::{ECHO, assert_closes, assert_echo, connect, noise};
use crate::frames::{FORGER_MAC, Forger};
use crate::network::{Network, SERVER_INTERFACE, succeed, wait_for};
use crate::server::{DEFAULT_ARGS, Server, TENMIL};

const OWN: [&str; 2] = ["10.77.0.1", "fd77::1"];

/// What `ip` says in the clients' namespace.
fn shown(network: &Network, arguments: &str) -> String {
    let namespace = network.client_namespace();
    succeed(Command::new("ip").args(["-n", &namespace]).args(arguments.split_whitespace()))
}

/// Where the clients' kernel believes `address` to be.
fn believed(network: &Network, address: &str) -> String {
    shown(network, &format!("neigh show {address} dev tm-client0"))
}

fn written(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Gives the clients' interface another hardware address, without a word to anybody.
fn move_client(network: &Network, mac: &str) {
    network.ip_client(&format!("link set dev tm-client0 address {mac}"));
}

#[test]
fn an_address_that_was_elsewhere_is_announced() {
    let test = "an_address_that_was_elsewhere_is_announced";
    let Some(network) = Network::make(test, &[]) else { return };
    for own in OWN {
        network.ip_client(&format!(
            "neigh replace {own} lladdr {} dev tm-client0 nud stale",
            written(FORGER_MAC)
        ));
    }
    let server = Server::start(&network);
    let mac = written(server.mac());
    for own in OWN {
        wait_for("the announcement", || believed(&network, own).contains(&mac).then_some(()));
    }
    server.stop();
}

#[test]
fn an_address_that_somebody_has_is_refused() {
    let Some(network) = Network::make("an_address_that_somebody_has_is_refused", &[]) else {
        return;
    };
    let serve = ["serve", "--interface", SERVER_INTERFACE, "--probe-addresses"];
    let args = [&serve[..], DEFAULT_ARGS].concat();
    for (own, added) in OWN.into_iter().zip(["10.77.0.1/32", "fd77::1/128 nodad"]) {
        network.ip_client(&format!("addr add {added} dev tm-client0"));
        let output =
            network.in_server(|| Command::new(TENMIL).args(&args).output().expect("it is built"));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert_eq!((stderr.lines().count(), output.stdout.len()), (1, 0), "{stderr}");
        assert!(stderr.contains(&format!("has {own} already")), "{stderr}");
        network.assert_detached();
        let removed = added.split(' ').next().unwrap_or_default();
        network.ip_client(&format!("addr del {removed} dev tm-client0"));
    }
    let mut server = Server::start_with(&network, &[&["--probe-addresses"], DEFAULT_ARGS].concat());
    network.in_client(|| ECHO.map(connect)).into_iter().for_each(assert_closes);
    assert_eq!(server.settled().conflict, "");
    server.stop();
}

#[test]
fn a_contested_address_is_defended() {
    let Some(network) = Network::make("a_contested_address_is_defended", &[]) else { return };
    let mut server = Server::start(&network);
    let mac = written(server.mac());
    let streams = network.in_client(|| ECHO.map(connect));
    let mut forger = network.in_client(Forger::open);
    for own in OWN {
        let address = Address::from(own.parse::<std::net::IpAddr>().expect("an address"));
        let mut frame = vec![0; 128];
        let len = neighbor::announce(&mut frame, FORGER_MAC, address).expect("there is room");
        frame.truncate(len);
        forger.send(&frame);
        let status = server.wait_until("the conflict", |status| status.conflict.contains(own));
        assert_eq!(status.conflict, format!("{} has {own} too", written(FORGER_MAC)));
        // The forger's own frame does not come back to the clients; the defence does.
        wait_for("the defence", || believed(&network, own).contains(&mac).then_some(()));
    }
    let status = server.settled();
    assert_eq!((status.events["address_conflicts"], status.established), (2, 2), "{status:?}");
    // A host that asks first, as kernels do for IPv6, is told.
    network.ip_client("addr add fd77::1/64 dev tm-client0");
    wait_for("an answer to the kernel's question", || {
        shown(&network, "addr show dev tm-client0").contains("dadfailed").then_some(())
    });
    network.ip_client("addr del fd77::1/64 dev tm-client0");
    streams.iter().for_each(|stream| assert_echo(stream, &noise(7, 10_000)));
    streams.into_iter().for_each(assert_closes);
    server.stop();
}

#[test]
fn a_client_whose_hardware_address_changes_keeps_its_connections() {
    let test = "a_client_whose_hardware_address_changes_keeps_its_connections";
    let Some(network) = Network::make(test, &[]) else { return };
    let mut server = Server::start(&network);
    let streams = network.in_client(|| ECHO.map(connect));
    streams.iter().for_each(|stream| assert_echo(stream, &noise(8, 10_000)));
    move_client(&network, "02:00:00:00:77:02");
    streams.iter().for_each(|stream| assert_echo(stream, &noise(9, 100_000)));
    assert_eq!(server.settled().events["paths_changed"], 2, "each connection once");
    streams.into_iter().for_each(assert_closes);
    server.stop();
}

#[test]
fn a_silent_client_whose_hardware_address_changes_is_found() {
    let test = "a_silent_client_whose_hardware_address_changes_is_found";
    let Some(network) = Network::make(test, &[]) else { return };
    // One of the clients' addresses is not on the link, and its router is the clients' kernel.
    network.ip_client("addr add 192.0.2.2/32 dev lo");
    let keepalive = ["--keepalive-time", "1s", "--keepalive-interval", "1s"];
    let gateway = ["--keepalive-probes", "8", "--gateway", "10.77.0.2"];
    let args = [&keepalive[..], &gateway, DEFAULT_ARGS].concat();
    let mut server = Server::start_with(&network, &args);
    server.next_status();
    let routers: Vec<_> =
        server.announced.iter().filter(|line| line.contains("gateway 10.77.0.2")).collect();
    assert_eq!(routers.len(), 1, "{:?}", server.announced);
    let mut streams = Vec::from(network.in_client(|| ECHO.map(connect)));
    network.ip_client("route add 10.77.0.1/32 dev tm-client0 src 192.0.2.2");
    streams.push(network.in_client(|| connect(ECHO[0])));
    let from = streams[2].local_addr().expect("bound").ip();
    assert_eq!(from.to_string(), "192.0.2.2");
    server.wait_until("the connections", |status| status.established == 3);
    move_client(&network, "02:00:00:00:77:03");
    let changed = |status: &crate::server::Status| status.events.get("paths_changed") == Some(&3);
    server.wait_until("all to be found", changed);
    // For longer than eight probes take.
    for _ in 0..10 {
        assert_eq!(server.next_status().established, 3);
    }
    streams.iter().for_each(|stream| assert_echo(stream, &noise(10, 10_000)));
    streams.into_iter().for_each(assert_closes);
    server.stop();
}

#[test]
fn the_kernels_default_route_leads_to_the_gateway() {
    let test = "the_kernels_default_route_leads_to_the_gateway";
    let Some(network) = Network::make(test, &[]) else { return };
    network.ip_server("addr add 10.77.0.9/16 dev tm-server0");
    network.ip_server("route add default via 10.77.0.2 dev tm-server0");
    let mut server = Server::start(&network);
    server.next_status();
    let said = server.announced.iter().any(|line| line.trim() == "gateway 10.77.0.2");
    assert!(said, "{:?}", server.announced);
    server.stop();
    let mut server =
        Server::start_with(&network, &[&["--gateway", "10.77.0.7"][..], DEFAULT_ARGS].concat());
    server.next_status();
    let said = server.announced.iter().filter(|line| line.contains("gateway")).count();
    assert_eq!(said, 1, "{:?}", server.announced);
    server.stop();
}
