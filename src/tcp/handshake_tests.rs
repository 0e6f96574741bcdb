//! What a SYN teaches, and SYN-SENT against every kind of answer.

use super::*;
use crate::conn::record::State;
use crate::wire::addr::{Endpoint, FlowKey};
use crate::wire::packet::{Flags, SynOptions};
use crate::wire::seq::SeqNumber;

const ISS: u32 = u32::MAX;
const NO_FLAGS: Flags = Flags { fin: false, syn: false, rst: false, ack: false };
const SYN: Flags = Flags { syn: true, ..NO_FLAGS };
const RST: Flags = Flags { rst: true, ..NO_FLAGS };

fn conn(remote: Address) -> Conn {
    let snd_una = SeqNumber(ISS);
    Conn { state: State::SynSent, remote_addr: remote, snd_una, ..Conn::FREE }
}

fn segment(flags: Flags, ack: u32) -> Segment {
    let endpoint = Endpoint::default();
    Segment {
        flow: FlowKey { remote: endpoint, local: endpoint },
        seq: SeqNumber(u32::MAX),
        ack: SeqNumber(ack),
        flags,
        window: 1000,
        options: SynOptions::default(),
        payload: 54..54,
    }
}

fn learned(remote: Address, window: u16, options: SynOptions) -> Conn {
    let mut conn = conn(remote);
    let syn = Segment { window, options, ..segment(SYN, 0) };
    learn(&mut conn, &syn, mss_of_mtu(1500, &remote));
    conn
}

const V4: Address = Address::v4([10, 77, 0, 2]);
const V6: Address = Address([0xfd; 16]);

#[test]
fn the_mss_is_the_peers_within_what_fits_and_what_is_believed() {
    let mss = |remote, mss| learned(remote, 0, SynOptions { mss, ..SynOptions::default() }).mss;
    assert_eq!((mss(V4, None), mss(V6, None)), (536, 1220));
    assert_eq!((mss(V4, Some(1460)), mss(V4, Some(u16::MAX))), (1460, 1460));
    assert_eq!((mss(V6, Some(1440)), mss(V6, Some(9000))), (1440, 1440));
    assert_eq!((mss(V4, Some(0)), mss(V4, Some(47)), mss(V4, Some(49))), (48, 48, 49));
    assert_eq!((mss_of_mtu(0, &V4), mss_of_mtu(59, &V6)), (0, 0));
}

#[test]
fn the_window_of_a_syn_is_not_scaled_and_never_grows_by_being_kept() {
    let scaled = |window, wscale| {
        let conn = learned(V4, window, SynOptions { wscale, ..SynOptions::default() });
        assert_eq!(conn.wscale(), wscale);
        conn.window()
    };
    assert_eq!(scaled(65_535, None), 65_535);
    assert_eq!(scaled(65_535, Some(0)), 65_535);
    assert_eq!(scaled(64_240, Some(7)), 64_128);
    assert_eq!(scaled(65_535, Some(14)), 3 << 14);
    assert_eq!(scaled(0, Some(14)), 0);
}

#[test]
fn the_next_byte_expected_follows_the_syn() {
    assert_eq!(learned(V4, 0, SynOptions::default()).rcv_nxt, SeqNumber(0));
}

#[test]
fn syn_sent_against_every_kind_of_answer() {
    let ack = |flags: Flags| Flags { ack: true, ..flags };
    let reset = |ack| SynSent::Reset(Reset { seq: SeqNumber(ack), ack: None });
    let next = ISS.wrapping_add(1);
    let cases = [
        (segment(ack(SYN), next), SynSent::Established),
        (segment(ack(RST), next), SynSent::Refused),
        (segment(RST, 0), SynSent::Drop(DropReason::StrayReset)),
        (segment(ack(RST), ISS), SynSent::Drop(DropReason::StrayReset)),
        (segment(ack(SYN), ISS), reset(ISS)),
        (segment(ack(SYN), next + 1), reset(next + 1)),
        (segment(ack(NO_FLAGS), next + 70_000), reset(next + 70_000)),
        (segment(ack(NO_FLAGS), next), SynSent::Drop(DropReason::BadAck)),
        (segment(SYN, 0), SynSent::Simultaneous),
        (segment(NO_FLAGS, 0), SynSent::Drop(DropReason::BadAck)),
        (segment(Flags { fin: true, ..NO_FLAGS }, 0), SynSent::Drop(DropReason::BadAck)),
    ];
    for (segment, expected) in cases {
        assert_eq!(in_syn_sent(&conn(V4), &segment), expected, "{segment:?}");
    }
}
