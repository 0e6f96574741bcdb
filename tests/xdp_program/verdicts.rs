//! One test for each branch of the program, on frames that are whole.

use std::net::{Ipv4Addr, Ipv6Addr};

use tenmil::link::af_xdp::program::{SteerProgram, Verdict, Verdict::*};

use crate::frames::*;
use crate::{expect, load};

pub(crate) const OWNED_V4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
pub(crate) const SHARED_V4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 9);
pub(crate) const OTHER_V4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 10);
pub(crate) const OWNED_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1);
pub(crate) const SHARED_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 9);
pub(crate) const OTHER_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 10);
pub(crate) const PORT: u16 = 7777;

/// The program with one owned and one shared address of each family.
pub(crate) fn program(test: &str) -> Option<SteerProgram> {
    let mut program = load(test)?;
    program.own(OWNED_V4.into(), 32).expect("own");
    program.own(OWNED_V6.into(), 128).expect("own");
    program.listen(SHARED_V4.into(), PORT).expect("listen");
    program.listen(SHARED_V6.into(), PORT).expect("listen");
    Some(program)
}

#[test]
fn tcp_to_an_owned_address_is_taken_whatever_the_port() {
    let Some(program) = program("tcp_to_an_owned_address") else {
        return;
    };
    for port in [1, 22, PORT, 65535] {
        let v4 = ipv4(OWNED_V4, TCP, &tcp(port));
        let v6 = ipv6(OWNED_V6, TCP, &tcp(port));
        expect(&program, TakenTcpOwned, &v4, "IPv4");
        expect(&program, TakenTcpOwned, &v6, "IPv6");
    }
}

#[test]
fn tcp_to_a_shared_address_is_taken_by_port() {
    let Some(program) = program("tcp_to_a_shared_address") else {
        return;
    };
    let (taken, passed) = (TakenTcpListener, PassedDestination);
    // The port's bytes swapped, and its low byte alone, must not match.
    let wrong = [PORT + 1, PORT.swap_bytes(), PORT & 0xff, 22];

    expect(&program, taken, &ipv4(SHARED_V4, TCP, &tcp(PORT)), "IPv4");
    expect(&program, taken, &ipv6(SHARED_V6, TCP, &tcp(PORT)), "IPv6");
    for port in wrong {
        expect(&program, passed, &ipv4(SHARED_V4, TCP, &tcp(port)), "wrong port");
        expect(&program, passed, &ipv6(SHARED_V6, TCP, &tcp(port)), "wrong port");
    }
    expect(&program, passed, &ipv4(OTHER_V4, TCP, &tcp(PORT)), "wrong address");
    expect(&program, passed, &ipv6(OTHER_V6, TCP, &tcp(PORT)), "wrong address");

    // The listed port as source: the kernel's own connection to such a port elsewhere.
    let mut swapped = tcp(22);
    swapped[..2].copy_from_slice(&PORT.to_be_bytes());
    expect(&program, passed, &ipv4(SHARED_V4, TCP, &swapped), "source port");
}

#[test]
fn nothing_is_taken_before_it_is_asked_for() {
    let Some(program) = load("nothing_is_taken") else {
        return;
    };
    let tcp = tcp(PORT);
    let passed = PassedDestination;
    expect(&program, passed, &ipv4(OWNED_V4, TCP, &tcp), "IPv4");
    expect(&program, passed, &ipv6(OWNED_V6, TCP, &tcp), "IPv6");
    expect(&program, passed, &arp(1, OWNED_V4), "ARP");
}

#[test]
fn up_to_two_vlan_tags_are_looked_behind() {
    let Some(program) = program("vlan_tags") else {
        return;
    };
    let v4 = ipv4_packet(OWNED_V4, TCP, 0, 0, &tcp(PORT));
    let (q, ad) = (TAG_8021Q, TAG_8021AD);
    let cases: [(&[u16], Verdict); 8] = [
        (&[], TakenTcpOwned),
        (&[q], TakenTcpOwned),
        (&[ad], TakenTcpOwned),
        (&[ad, q], TakenTcpOwned),
        (&[q, q], TakenTcpOwned),
        (&[q, q, q], PassedNotIp),
        (&[ad, ad, q], PassedNotIp),
        (&[0x9100, q], PassedNotIp),
    ];
    for (tags, verdict) in cases {
        let frame = ethernet(tags, ETHERTYPE_IPV4, &v4);
        expect(&program, verdict, &frame, &format!("{tags:x?}"));
    }
    // Behind tags the other protocols are found too.
    let untagged = arp(1, OWNED_V4);
    let arp = ethernet(&[ad, q], ETHERTYPE_ARP, &untagged[14..]);
    expect(&program, TakenArp, &arp, "ARP");
    let untagged = ipv6(SHARED_V6, TCP, &tcp(PORT));
    let v6 = ethernet(&[q, q], ETHERTYPE_IPV6, &untagged[14..]);
    expect(&program, TakenTcpListener, &v6, "IPv6");
}

#[test]
fn ipv4_options_are_stepped_over() {
    let Some(program) = program("ipv4_options") else {
        return;
    };
    for options_len in [0, 4, 12, 40] {
        let to_shared = |port| ipv4_packet(SHARED_V4, TCP, options_len, 0, &tcp(port));
        let listed = ethernet(&[], ETHERTYPE_IPV4, &to_shared(PORT));
        let other = ethernet(&[], ETHERTYPE_IPV4, &to_shared(PORT + 1));
        expect(&program, TakenTcpListener, &listed, &format!("{options_len}"));
        expect(&program, PassedDestination, &other, &format!("{options_len}"));
    }
}

#[test]
fn other_protocols_pass() {
    let Some(program) = program("other_protocols") else {
        return;
    };
    let udp = [0x9c, 0x40, 0x1e, 0x61, 0, 8, 0, 0];
    for (protocol, name) in [(UDP, "UDP"), (47, "GRE"), (132, "SCTP"), (ICMPV6, "ICMPv6 on IPv4")] {
        let frame = ipv4(OWNED_V4, protocol, &udp);
        expect(&program, PassedProtocol, &frame, name);
    }
    for (protocol, name) in [(UDP, "UDP"), (47, "GRE"), (132, "SCTP"), (ICMP, "ICMPv4 on IPv6")] {
        let frame = ipv6(OWNED_V6, protocol, &udp);
        expect(&program, PassedProtocol, &frame, name);
    }
    let udp_to_shared = ipv4(SHARED_V4, UDP, &udp);
    expect(&program, PassedDestination, &udp_to_shared, "UDP to a listed port");
    let udp_to_shared = ipv6(SHARED_V6, UDP, &udp);
    expect(&program, PassedDestination, &udp_to_shared, "UDP to a listed port");
    let lldp = ethernet(&[], 0x88cc, &[0; 46]);
    expect(&program, PassedNotIp, &lldp, "LLDP");
}

#[test]
fn icmp_is_taken_for_owned_addresses_only() {
    let Some(program) = program("icmp") else {
        return;
    };
    let (v4, v6) = (echo(8), echo(128));
    expect(&program, TakenIcmp, &ipv4(OWNED_V4, ICMP, &v4), "IPv4");
    expect(&program, TakenIcmp, &ipv6(OWNED_V6, ICMPV6, &v6), "IPv6");
    let too_big = [2, 0, 0, 0, 0, 0, 5, 0];
    expect(&program, TakenIcmp, &ipv6(OWNED_V6, ICMPV6, &too_big), "too big");
    let passed = PassedDestination;
    expect(&program, passed, &ipv4(SHARED_V4, ICMP, &v4), "IPv4 shared");
    expect(&program, passed, &ipv6(SHARED_V6, ICMPV6, &v6), "IPv6 shared");
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    expect(&program, passed, &ipv6(all_nodes, ICMPV6, &v6), "IPv6 multicast");
    let udp_multicast = ipv6(all_nodes, UDP, &[0; 8]);
    expect(&program, passed, &udp_multicast, "UDP multicast");
}

#[test]
fn arp_is_taken_by_its_target_and_its_sender() {
    let Some(program) = program("arp") else {
        return;
    };
    expect(&program, TakenArp, &arp(1, OWNED_V4), "request");
    expect(&program, TakenArp, &arp(2, OWNED_V4), "reply");
    expect(&program, PassedDestination, &arp(1, SHARED_V4), "shared");
    expect(&program, PassedDestination, &arp(2, OTHER_V4), "other");
    // Somebody says that an owned address is theirs, to whomever.
    let says = |sender: Ipv4Addr, target| {
        let mut frame = arp(1, target);
        frame[28..32].copy_from_slice(&sender.octets());
        frame
    };
    expect(&program, TakenArp, &says(OWNED_V4, OTHER_V4), "conflict");
    expect(&program, TakenArp, &says(OWNED_V4, Ipv4Addr::UNSPECIFIED), "answer to a probe");
    expect(&program, TakenArp, &says(Ipv4Addr::UNSPECIFIED, OWNED_V4), "probe");
    expect(&program, PassedDestination, &says(OTHER_V4, OTHER_V4), "another's announcement");
    for (at, name) in [(16, "protocol"), (18, "hardware length"), (19, "protocol length")] {
        let mut frame = arp(1, OWNED_V4);
        frame[at] ^= 1;
        expect(&program, PassedNotIp, &frame, name);
    }
}

#[test]
fn ndp_is_taken_by_its_target() {
    let Some(program) = program("ndp") else {
        return;
    };
    let solicit = |destination, target| ipv6(destination, ICMPV6, &neighbour(135, target));
    let group = solicited_node(OWNED_V6);
    let (taken, passed) = (TakenNdp, PassedDestination);
    expect(&program, taken, &solicit(group, OWNED_V6), "multicast");
    expect(&program, taken, &solicit(OWNED_V6, OWNED_V6), "unicast");
    // Same group, other address: only the target tells.
    let same_group = Ipv6Addr::new(0xfd78, 0, 0, 0, 0, 0, 0, 1);
    expect(&program, passed, &solicit(group, same_group), "same group, not owned");
    expect(&program, passed, &solicit(solicited_node(OTHER_V6), OTHER_V6), "not owned");
    expect(&program, passed, &solicit(solicited_node(SHARED_V6), SHARED_V6), "shared");

    let advertisement = neighbour(136, OTHER_V6);
    expect(&program, taken, &ipv6(OWNED_V6, ICMPV6, &advertisement), "answer");
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    expect(&program, passed, &ipv6(all_nodes, ICMPV6, &advertisement), "unsolicited");
    let conflict = neighbour(136, OWNED_V6);
    expect(&program, taken, &ipv6(all_nodes, ICMPV6, &conflict), "answer to a probe");
}

#[test]
fn ipv6_with_any_extension_header_passes() {
    let Some(program) = program("extension_headers") else {
        return;
    };
    // A hop-by-hop header of 8 bytes (RFC 8200, section 4.3) before the TCP header.
    let mut payload = vec![TCP, 0, 1, 4, 0, 0, 0, 0];
    payload.extend(tcp(PORT));
    for header in [0, 43, 44, 50, 51, 60, 135, 139, 140] {
        for destination in [OWNED_V6, SHARED_V6, OTHER_V6] {
            let frame = ipv6(destination, header, &payload);
            expect(&program, PassedExtension, &frame, &format!("{header}"));
        }
    }
}

#[test]
fn fragments_are_taken_where_the_kernel_would_reset() {
    let Some(program) = program("fragments") else {
        return;
    };
    let later = MORE_FRAGMENTS | 100;
    let (first, last) = (MORE_FRAGMENTS, 100);
    let frame = |destination, protocol, fragment, payload: &[u8]| {
        let packet = ipv4_packet(destination, protocol, 0, fragment, payload);
        ethernet(&[], ETHERTYPE_IPV4, &packet)
    };
    let (tcp, other) = (tcp(PORT), tcp(PORT + 1));
    for fragment in [first, later, last] {
        let what = format!("{fragment:x}");
        let taken = TakenFragment;
        expect(&program, taken, &frame(OWNED_V4, TCP, fragment, &tcp), &what);
        expect(&program, taken, &frame(OWNED_V4, ICMP, fragment, &echo(8)), &what);
        expect(&program, PassedProtocol, &frame(OWNED_V4, UDP, fragment, &tcp), &what);
        expect(&program, PassedDestination, &frame(SHARED_V4, UDP, fragment, &tcp), &what);
    }
    expect(&program, TakenFragment, &frame(SHARED_V4, TCP, first, &tcp), "listed");
    expect(&program, TakenFragment, &frame(SHARED_V4, TCP, first, &tcp[..8]), "tiny");
    expect(&program, PassedDestination, &frame(SHARED_V4, TCP, first, &other), "port");
    expect(&program, PassedDestination, &frame(OTHER_V4, TCP, first, &tcp), "address");
    expect(&program, PassedFragment, &frame(SHARED_V4, TCP, later, &tcp), "later");
    expect(&program, PassedFragment, &frame(SHARED_V4, TCP, last, &tcp), "last");
    // "Don't fragment" is no fragment.
    let whole = frame(SHARED_V4, TCP, 0x4000, &tcp);
    expect(&program, TakenTcpListener, &whole, "don't fragment");
}

#[test]
fn prefixes_are_owned_whole_and_not_past_their_ends() {
    let Some(mut program) = load("prefixes") else {
        return;
    };
    program.own(Ipv4Addr::new(10, 77, 16, 0).into(), 20).expect("own");
    program.own(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 1, 0).into(), 112).expect("own");
    let tcp = tcp(PORT);
    for (address, verdict) in [
        ([10, 77, 15, 255], PassedDestination),
        ([10, 77, 16, 0], TakenTcpOwned),
        ([10, 77, 24, 7], TakenTcpOwned),
        ([10, 77, 31, 255], TakenTcpOwned),
        ([10, 77, 32, 0], PassedDestination),
    ] {
        let what = format!("{address:?}");
        expect(&program, verdict, &ipv4(address.into(), TCP, &tcp), &what);
    }
    for (low, verdict) in [
        ([0, 0xffff], PassedDestination),
        ([1, 0], TakenTcpOwned),
        ([1, 0xffff], TakenTcpOwned),
        ([2, 0], PassedDestination),
    ] {
        let address = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, low[0], low[1]);
        expect(&program, verdict, &ipv6(address, TCP, &tcp), &address.to_string());
    }
}
