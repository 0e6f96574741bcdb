//! Resets carry the one sequence number that the other side believes.

use super::*;
use crate::wire::addr::{Endpoint, FlowKey};
use crate::wire::packet::SynOptions;

fn segment(flags: Flags, payload_len: u16) -> Segment {
    let endpoint = Endpoint::default();
    Segment {
        flow: FlowKey { remote: endpoint, local: endpoint },
        seq: SeqNumber(u32::MAX),
        ack: SeqNumber(77),
        flags,
        window: 0,
        options: SynOptions::default(),
        payload: 54..54 + payload_len,
    }
}

#[test]
fn a_segment_with_an_ack_gets_its_number_back() {
    for flags in [Flags::default(), Flags { syn: true, ..Flags::default() }] {
        let reset = answer(&segment(Flags { ack: true, ..flags }, 10)).unwrap();
        assert_eq!(reset, Reset { seq: SeqNumber(77), ack: None });
        assert_eq!(reset.flags(), Flags { rst: true, ..Flags::default() });
    }
}

#[test]
fn a_segment_without_an_ack_is_acknowledged_with_syn_fin_and_data() {
    let none = Flags::default();
    let cases = [
        (none, 0, u32::MAX),
        (none, 10, 9),
        (Flags { syn: true, ..none }, 0, 0),
        (Flags { fin: true, ..none }, 10, 10),
    ];
    for (flags, len, ack) in cases {
        let reset = answer(&segment(flags, len)).unwrap();
        assert_eq!(reset, Reset { seq: SeqNumber(0), ack: Some(SeqNumber(ack)) }, "{flags:?}");
        assert_eq!(reset.flags(), Flags { rst: true, ack: true, ..none });
    }
}

#[test]
fn a_reset_is_never_answered() {
    for ack in [false, true] {
        assert_eq!(answer(&segment(Flags { rst: true, ack, ..Flags::default() }, 0)), None);
    }
}
