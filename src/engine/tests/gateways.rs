//! Connections that this engine opens to peers that are not on the link.

use super::active::connect;
use super::harness::owned;
use super::peer::PEER_MAC;
use super::*;
use crate::engine::ConnectError;
use crate::wire::addr::{Address, Endpoint};
use crate::wire::ethernet::{EthernetHeader, Mac};
use crate::wire::neighbor;
use crate::wire::packet::{Control, Packet, parse};

pub(super) fn addr(text: &str) -> Address {
    Address::from(text.parse::<core::net::IpAddr>().unwrap())
}

/// A message from `mac` that says that `addr` is there, to the engine's `MAC` for IPv4.
pub(super) fn is_at(mac: Mac, addr: Address) -> Vec<u8> {
    let mut frame = vec![0; 128];
    let header = EthernetHeader::new(harness::MAC, mac, if addr.is_v4() { 0x0806 } else { 0x86dd });
    let len = neighbor::answer_probe(&mut frame, &header, addr).unwrap();
    frame.truncate(len);
    frame
}

/// Whom a question that the engine sent is about.
pub(super) fn asked(frame: &[u8]) -> Address {
    let Ok(Packet::Control(Control { target, .. })) = parse(frame, PEER_MAC) else {
        panic!("a question: {:?}", parse(frame, PEER_MAC));
    };
    target
}

/// A host with these gateways.
pub(super) fn routed(gateways: &[&str]) -> Host {
    let mut config = config();
    config.gateways = gateways.iter().map(|gateway| addr(gateway)).collect();
    Host::new(config, Probe::default())
}

/// A peer behind a gateway, the gateway, and another of which the engine has no address.
const CASES: [(&str, &str, &str); 3] = [
    ("10.77.0.1:5000", "192.0.2.1:7", "10.77.0.254"),
    ("[fd77::1]:5000", "[2001:db8::1]:7", "fd77::fe"),
    ("[fd77::1]:5000", "[2001:db8::1]:7", "fe80::fe"),
];

#[test]
fn a_peer_off_the_link_is_reached_through_the_gateway_of_its_family() {
    for (local, remote, gateway) in CASES {
        let mut host = routed(&["10.77.0.254", gateway]);
        let (local, remote) = (endpoint(local), endpoint(remote));
        assert_eq!(connect(&mut host, local, remote), Err(ConnectError::Resolving));
        assert_eq!(asked(&only(host.sent())), addr(gateway), "not for the peer");
        assert!(host.receive(&[is_at(PEER_MAC, addr(gateway))]).is_empty());
        assert!(connect(&mut host, local, remote).is_ok());
        let mut peer = Peer::to("10.77.0.1:1", 1);
        peer.flow = crate::wire::addr::FlowKey { remote: local, local: remote };
        active::establish(&mut host, &mut peer);
        // Who else is behind it shares its path, and is reached at once.
        let other = Endpoint { port: 8, ..remote };
        assert!(connect(&mut host, local, other).is_ok());
        assert_eq!(host.sent().len(), 1);
        assert_eq!(host.engine.table.paths.len(), 1);
    }
}

#[test]
fn peers_on_the_link_need_no_gateway_and_others_are_unreachable_without_one() {
    let mut host = routed(&["10.77.0.254", "fd77::fe"]);
    for (local, remote) in [("10.77.0.1:1", "10.77.9.9:7"), ("[fd77::1]:1", "[fd77::9:9]:7")] {
        let (local, remote) = (endpoint(local), endpoint(remote));
        assert_eq!(connect(&mut host, local, remote), Err(ConnectError::Resolving));
        assert_eq!(asked(&only(host.sent())), remote.addr);
    }
    // None; of the other family; on another link.
    let cases: [(&[&str], usize); 4] =
        [(&[], 0), (&["fd77::fe"], 0), (&["10.77.0.254"], 1), (&["10.78.0.254"], 0)];
    for (gateways, at) in cases {
        let mut host = routed(gateways);
        let (local, remote, _) = CASES[at];
        let result = connect(&mut host, endpoint(local), endpoint(remote));
        assert_eq!(result, Err(ConnectError::Unreachable), "{gateways:?}");
        assert!(host.sent().is_empty());
    }
    let mut host = routed(&["10.77.0.254", "fd77::fe"]);
    let result = connect(&mut host, endpoint("10.77.0.1:1"), endpoint("[2001:db8::1]:7"));
    assert_eq!(result, Err(ConnectError::Unreachable), "of two families");
}

#[test]
fn each_link_has_its_own_gateway() {
    let mut config = config();
    config.owned.push(owned("10.78.0.1", 32, 24));
    config.gateways = vec![addr("10.77.0.254"), addr("10.78.0.254")];
    let mut host = Host::new(config, Probe::default());
    for (local, gateway) in [("10.78.0.1:1", "10.78.0.254"), ("10.77.0.1:1", "10.77.0.254")] {
        let result = connect(&mut host, endpoint(local), endpoint("192.0.2.1:7"));
        assert_eq!(result, Err(ConnectError::Resolving));
        assert_eq!(asked(&only(host.sent())), addr(gateway));
    }
}

#[test]
fn nobody_connects_to_groups_and_broadcast_addresses() {
    let mut host = routed(&["10.77.0.254", "fd77::fe"]);
    for remote in ["10.77.255.255:7", "255.255.255.255:7", "224.0.0.1:7", "0.0.0.0:7"] {
        let result = connect(&mut host, endpoint("10.77.0.1:1"), endpoint(remote));
        assert_eq!(result, Err(ConnectError::NotUnicast), "{remote}");
    }
    for remote in ["[ff02::1]:7", "[::]:7", "[::1]:7"] {
        let result = connect(&mut host, endpoint("[fd77::1]:1"), endpoint(remote));
        assert_eq!(result, Err(ConnectError::NotUnicast), "{remote}");
    }
    assert!(host.sent().is_empty());
}

#[test]
fn a_passive_open_goes_back_the_way_that_it_came() {
    let mut host = routed(&["10.77.0.254"]);
    let mut peer = Peer::to("10.77.0.1:7", 1);
    peer.flow.local = endpoint("192.0.2.1:40000");
    peer.mac = [2, 0, 0, 0, 0, 0x99];
    peer.open(&mut host);
    assert_eq!(only(peer.tell(&mut host, ACK, b"hello")).payload, b"hello");
}
