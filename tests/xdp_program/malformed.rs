//! Frames that are cut off, impossible or random.

use tenmil::link::af_xdp::program::{Verdict::*, XdpAction};

use crate::expect;
use crate::frames::*;
use crate::verdicts::{OWNED_V4, OWNED_V6, PORT, SHARED_V4, SHARED_V6, program};

#[test]
fn an_ipv4_mapped_address_on_the_wire_is_not_taken_for_ipv4() {
    let Some(program) = program("mapped_address") else {
        return;
    };
    for address in [OWNED_V4, SHARED_V4] {
        let frame = ipv6(address.to_ipv6_mapped(), TCP, &tcp(PORT));
        expect(&program, PassedDestination, &frame, &address.to_string());
    }
}

#[test]
fn impossible_headers_are_taken_on_owned_addresses_and_pass_on_others() {
    let Some(program) = program("impossible_headers") else {
        return;
    };
    // The stack counts what is wrong; a shared address is the kernel's to defend.
    for (address, verdict) in [(OWNED_V4, TakenTcpOwned), (SHARED_V4, PassedMalformed)] {
        for first in [0x40, 0x41, 0x44, 0x55, 0x65, 0x05] {
            let mut frame = ipv4(address, TCP, &tcp(PORT));
            frame[14] = first;
            expect(&program, verdict, &frame, &format!("IPv4 {first:x} to {address}"));
        }
    }
    for (address, verdict) in [(OWNED_V6, TakenTcpOwned), (SHARED_V6, PassedMalformed)] {
        for first in [0x40, 0x50, 0x70, 0x00] {
            let mut frame = ipv6(address, TCP, &tcp(PORT));
            frame[14] = first;
            expect(&program, verdict, &frame, &format!("IPv6 {first:x} to {address}"));
        }
    }
    // Options that reach past the frame: known to be for an owned address, else not.
    for (address, verdict) in [(OWNED_V4, TakenTcpOwned), (SHARED_V4, PassedMalformed)] {
        let mut frame = ipv4(address, TCP, &tcp(PORT));
        frame[14] = 0x4f;
        expect(&program, verdict, &frame, "IHL past the end");
        // A total length that lies is for the stack to find.
        let mut frame = ipv4(OWNED_V4, TCP, &tcp(PORT));
        frame[16] = 0xff;
        expect(&program, TakenTcpOwned, &frame, "total length");
    }
}

#[test]
fn a_frame_cut_off_anywhere_passes_until_its_destination_is_known() {
    let Some(program) = program("cut_off_frames") else {
        return;
    };
    let (ip4, ip6) = (14 + 20, 14 + 40);
    let group = solicited_node(OWNED_V6);
    let solicitation = ipv6(group, ICMPV6, &neighbour(135, OWNED_V6));
    let tagged = {
        let packet = ipv4_packet(SHARED_V4, TCP, 8, 0, &tcp(PORT));
        ethernet(&[TAG_8021AD, TAG_8021Q], 0x0800, &packet)
    };
    let tcp = tcp(PORT);
    // Each frame, from which length on it is taken, and as what.
    let cases = [
        (ipv4(OWNED_V4, TCP, &tcp), ip4, TakenTcpOwned),
        (ipv4(OWNED_V4, ICMP, &echo(8)), ip4, TakenIcmp),
        (ipv4(SHARED_V4, TCP, &tcp), ip4 + 20, TakenTcpListener),
        (tagged, ip4 + 8 + 8 + 20, TakenTcpListener),
        (ipv6(OWNED_V6, TCP, &tcp), ip6, TakenTcpOwned),
        (ipv6(SHARED_V6, TCP, &tcp), ip6 + 20, TakenTcpListener),
        (ipv6(OWNED_V6, ICMPV6, &echo(128)), ip6, TakenIcmp),
        (solicitation, ip6 + 24, TakenNdp),
        (arp(1, OWNED_V4), 14 + 28, TakenArp),
    ];
    for (frame, taken_from, verdict) in cases {
        // The kernel runs no program on less than an Ethernet header.
        for len in 14..=frame.len() {
            let verdict = if len < taken_from { PassedMalformed } else { verdict };
            expect(&program, verdict, &frame[..len], &format!("{len} of {}", frame.len()));
        }
    }
}

#[test]
fn every_frame_of_noise_is_passed_or_taken() {
    let Some(program) = program("noise") else {
        return;
    };
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = || {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let seeds =
        [ipv4(OWNED_V4, TCP, &tcp(PORT)), ipv6(OWNED_V6, TCP, &tcp(PORT)), arp(1, OWNED_V4)];
    for round in 0..3_000usize {
        let mut frame = seeds[round % seeds.len()].clone();
        for _ in 0..4 {
            let at = usize::try_from(random() % 40).expect("small");
            let room = frame.len() - 12;
            frame[12 + at % room] = random().to_be_bytes()[0];
        }
        let action = program.test_run(&frame).expect("the kernel runs the program");
        assert!(matches!(action, XdpAction::Drop | XdpAction::Pass), "{action:?} on {frame:x?}");
    }
    let counters = program.counters().expect("counters");
    let verdicts: u64 = counters
        .iter()
        .filter(|&(verdict, _)| verdict != DroppedNoSocket)
        .map(|(_, frames)| frames)
        .sum();
    assert_eq!(verdicts, 3_000, "each frame has one verdict");
}
