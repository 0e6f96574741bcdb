//! Damaged and random frames: whatever comes in, the parser survives it.

use super::*;
use proptest::prelude::*;

/// What must hold of everything that is accepted.
fn check(frame: &[u8]) {
    match parsed(frame) {
        Ok(Packet::Tcp(segment)) => {
            assert!(segment.payload.start <= segment.payload.end);
            assert!(usize::from(segment.payload.end) <= frame.len());
            assert!(segment.flow.remote.port != 0 && segment.flow.remote.addr.is_valid_source());
            assert!(segment.options.wscale.is_none_or(|shift| shift <= 14));
            assert_eq!(segment.flow.remote.addr.is_v4(), segment.flow.local.addr.is_v4());
        }
        Ok(Packet::Control(control)) => {
            assert!(usize::from(control.end) <= frame.len());
            assert!(u16::from(control.ethernet_len) <= control.end);
        }
        Ok(Packet::IcmpError(error)) => {
            assert!(error.flow.remote.port != 0 && error.flow.local.port != 0);
            assert_eq!(error.flow.remote.addr.is_v4(), error.flow.local.addr.is_v4());
        }
        Err(_) => {}
    }
}

fn samples() -> Vec<Vec<u8>> {
    let mac_option = [&[2, 1][..], &PEER].concat();
    let [ping, ping6] = pings();
    let tags = [[0x88, 0xa8, 0, 5], [0x81, 0, 0, 6]];
    vec![
        valid(true),
        valid(false),
        frame_of(&segment(true), b"tagged", &tags),
        frame_of(&segment(false), b"tagged", &tags[1..]),
        arp(ArpOperation::Request, [10, 77, 0, 2], PEER),
        icmpv6(&neighbor_message(135, &mac_option), 255),
        icmpv6(&neighbor_message(136, &mac_option), 255),
        ping,
        ping6,
    ]
}

#[test]
fn every_flipped_bit_and_every_cut_of_valid_frames_is_survived() {
    for frame in samples() {
        for bit in 0..8 * frame.len() {
            let mut flipped = frame.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            check(&flipped);
            if flipped[12..14] == frame[12..14] && frame[12] != 0x88 && frame[12] != 0x81 {
                // With checksums right again the damage gets further in.
                let header_len = usize::from(flipped[ETHERNET] & 0x0f) * 4;
                let v4 = flipped[12..14] == ethernet::IPV4.to_be_bytes();
                if v4 && (20..=flipped.len() - ETHERNET - 20).contains(&header_len) {
                    flipped[ETHERNET + 10..ETHERNET + 12].fill(0);
                    let mut packet = Ipv4Packet::new_unchecked(&mut flipped[ETHERNET..]);
                    packet.fill_checksum();
                    check(&flipped);
                }
            }
        }
        for cut in 0..frame.len() {
            check(&frame[..cut]);
        }
    }
}

proptest! {
    #[test]
    fn what_is_emitted_parses_back(
        (v4, fin, syn, rst, ack) in any::<(bool, bool, bool, bool, bool)>(),
        (seq, ack_number, window) in any::<(u32, u32, u16)>(),
        (mss, wscale) in (proptest::option::of(any::<u16>()), proptest::option::of(0u8..=14)),
        sack_permitted: bool,
        (remote_port, local_port) in (1u16.., 1u16..),
        tags in proptest::collection::vec((0u8..2, any::<u8>()), 0..3),
        payload in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        // One of the three at most: no other segment is ever sent.
        let flags = Flags { fin: fin && !syn && !rst, syn: syn && !rst, rst, ack };
        let tag = |&(kind, id): &(u8, u8)| match kind {
            0 => [0x81, 0, 0, id],
            _ => [0x88, 0xa8, 0, id],
        };
        let tags: Vec<[u8; 4]> = tags.iter().map(tag).collect();
        let mut flow = flow(v4);
        (flow.remote.port, flow.local.port) = (remote_port, local_port);
        let options = match flags.syn {
            true => SynOptions { mss, wscale, sack_permitted },
            false => SynOptions::default(),
        };
        let sent = Segment {
            flow,
            seq: SeqNumber(seq),
            ack: SeqNumber(if ack { ack_number } else { 0 }),
            flags,
            window,
            options,
            payload: 0..0,
        };
        let frame = frame_of(&sent, &payload, &tags);
        let Ok(Packet::Tcp(got)) = parsed(&frame) else { panic!("{:?}", parsed(&frame)) };
        let range = usize::from(got.payload.start)..usize::from(got.payload.end);
        prop_assert_eq!(&frame[range], &payload[..]);
        prop_assert_eq!(range_end(&got), frame.len());
        prop_assert_eq!(Segment { payload: 0..0, ..got }, sent);
    }

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        check(&bytes);
        for sample in samples() {
            // Random bytes behind a real beginning get further.
            for keep in [12, 14, 15, 18, 24, V4_TCP, V6_TCP] {
                let mut frame = sample[..keep.min(sample.len())].to_vec();
                frame.extend(&bytes);
                check(&frame);
            }
        }
    }

    #[test]
    fn damage_under_right_checksums_is_survived(
        v4: bool,
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut frame = valid(v4);
        for (index, byte) in damage {
            let at = index.index(frame.len() - ETHERNET) + ETHERNET;
            // What says where the TCP header is stays, so that the checksums can be set.
            if at != ETHERNET && !(at == ETHERNET + 2 || at == ETHERNET + 3) {
                frame[at] = byte;
            }
        }
        fix_checksums(&mut frame);
        check(&frame);
    }
}

fn range_end(segment: &Segment) -> usize {
    usize::from(segment.payload.end)
}
