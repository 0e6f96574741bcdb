//! Against the parser and the emitter of all segments.

use super::*;
use crate::wire::emit::{Outgoing, emit};
use crate::wire::ethernet;
use crate::wire::packet::{self, Packet};
use proptest::prelude::*;

const MAC: Mac = [2, 0, 0, 0, 0, 1];
const PEER: Mac = [2, 0, 0, 0, 0, 2];

fn flow() -> FlowKey {
    let endpoint = |last, port| Endpoint { addr: Address::v4([10, 77, 0, last]), port };
    FlowKey { remote: endpoint(2, 40_000), local: endpoint(1, 7) }
}

/// What the peer sends: an ACK with `payload`.
fn frame(payload: &[u8]) -> Vec<u8> {
    let FlowKey { remote, local } = flow();
    let mut room = vec![0; 2_048];
    let outgoing = Outgoing {
        ethernet: &EthernetHeader::new(MAC, PEER, ethernet::IPV4),
        flow: FlowKey { remote: local, local: remote },
        seq: SeqNumber(0xfedc_ba98),
        ack: SeqNumber(0x0123_4567),
        flags: Flags { ack: true, ..Flags::default() },
        window: 0xabcd,
        options: SynOptions::default(),
        payload,
    };
    let len = emit(&mut room, &outgoing).expect("there is room");
    room.truncate(len);
    room
}

/// Makes both checksums of a frame right again, as far as it holds what they are in.
fn mend(frame: &mut [u8]) {
    let Some(ip) = frame.get_mut(14..34) else { return };
    ip[10..12].fill(0);
    let sum = Sum::of(ip).checksum();
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    let addresses = Sum::of(&ip[12..20]);
    let end = frame.len().min(14 + usize::from(u16::from_be_bytes([frame[16], frame[17]])));
    let Some(tcp) = frame.get_mut(34..end).filter(|tcp| tcp.len() >= 20) else { return };
    tcp[16..18].fill(0);
    let pseudo = addresses.plus_long(6 + tcp.len() as u64);
    let sum = pseudo.and(Sum::of(tcp)).checksum();
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
}

/// What is plain is what the parser of all segments makes of the frame.
fn check(frame: &[u8]) -> Option<Plain> {
    let plain = Plain::parse(frame, MAC);
    if let Some(plain) = &plain {
        assert_eq!(packet::parse(frame, MAC), Ok(Packet::Tcp(plain.to_segment())));
    }
    plain
}

#[test]
fn a_plain_segment_is_read_whole() {
    for payload in [&b""[..], b"P", b"PING\n", &[7; 1_460]] {
        let plain = check(&frame(payload)).expect("it is plain");
        assert_eq!(usize::from(plain.len), payload.len());
        assert_eq!((plain.flow(), plain.window), (flow(), 0xabcd));
        assert_eq!((plain.seq.0, plain.ack.0), (0xfedc_ba98, 0x0123_4567));
        let mut padded = frame(payload);
        padded.resize(padded.len() + 6, 0x55);
        assert_eq!(check(&padded), Some(plain), "padding is no payload");
    }
}

#[test]
fn every_cut_and_every_wrong_bit_is_left_to_the_other_parser() {
    let good = frame(b"PING\n");
    for len in 0..good.len() {
        assert_eq!(check(&good[..len]), None, "{len} bytes");
    }
    let mut plain = 0;
    for bit in 0..8 * good.len() {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let source_mac = (6..12).contains(&(bit / 8)) && bit != 48;
        assert_eq!(check(&bad).is_some(), source_mac, "bit {bit}, with checksums that are wrong");
        mend(&mut bad);
        plain += usize::from(check(&bad).is_some());
    }
    // Of all but the source's hardware address and the payload, whose every bit may be as it likes.
    assert!((300..8 * good.len()).contains(&plain), "{plain} of {} bits", 8 * good.len());
}

proptest! {
    #[test]
    fn frames_that_are_almost_plain_are_read_the_same(
        payload in proptest::collection::vec(any::<u8>(), 0..40),
        changes in proptest::collection::vec((0..80usize, any::<u8>()), 0..4),
        is_mended in any::<bool>(),
    ) {
        let mut frame = frame(&payload);
        for (at, byte) in changes {
            if let Some(place) = frame.get_mut(at) {
                *place = byte;
            }
        }
        if is_mended {
            mend(&mut frame);
        }
        check(&frame);
    }

    #[test]
    fn what_is_written_is_what_the_other_emitter_writes(
        seq in any::<u32>(),
        ack in any::<u32>(),
        window in any::<u16>(),
        payload in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let (seq, ack) = (SeqNumber(seq), SeqNumber(ack));
        let mut room = [0; 128];
        let plain = Plain::parse(&frame(b"PING"), MAC).expect("it is plain").reply(seq, ack, window);
        let ethernet = EthernetHeader::new(PEER, MAC, ethernet::IPV4);
        let mut other = [0; 128];
        let outgoing = Outgoing {
            ethernet: &ethernet,
            flow: flow(),
            seq,
            ack,
            flags: Flags { ack: true, ..Flags::default() },
            window,
            options: SynOptions::default(),
            payload: &payload,
        };
        let len = plain.emit(&mut room, &ethernet, &payload);
        prop_assert_eq!(len, emit(&mut other, &outgoing));
        prop_assert_eq!(room, other);
        for len in 0..HEADERS_LEN + payload.len() {
            prop_assert_eq!(plain.emit(&mut room[..len], &ethernet, &payload), None);
        }
    }
}
