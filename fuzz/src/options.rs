//! Any bytes as the options of a SYN: read as an independent reader reads them, and written again.

use super::frames::{MAC, ip_frame};
use tenmil::wire::addr::{Address, Endpoint, FlowKey};
use tenmil::wire::emit::{Outgoing, emit};
use tenmil::wire::ethernet::{EthernetHeader, IPV4, Mac};
use tenmil::wire::packet::{Flags, Packet, Segment, SynOptions, parse};
use tenmil::wire::seq::SeqNumber;

const PEER: Mac = [2, 0, 0, 0, 0, 2];
const SOURCE: Address = Address::v4([10, 77, 0, 2]);
const TARGET: Address = Address::v4([10, 77, 0, 1]);

/// The longest options that a header has room for, in bytes.
const LEN_MAX: usize = 40;

/// Runs one input.
pub fn run(data: &[u8]) {
    let mut bytes = data[..data.len().min(LEN_MAX)].to_vec();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let options = parsed(&bytes, 2).options;
    assert_eq!(options, read(&bytes));
    assert!(options.wscale.is_none_or(|shift| shift <= 14));
    // Only a SYN has them.
    assert_eq!(parsed(&bytes, 16).options, SynOptions::default());
    assert_eq!(parsed(&written(options), 2).options, options);
}

/// The segment with `options` and the control bits `flags`.
fn parsed(options: &[u8], flags: u8) -> Segment {
    let header_len = u8::try_from(20 + options.len()).expect("at most 60");
    let fixed =
        [0x9c, 0x40, 0, 7, 0, 0, 0, 1, 0, 0, 0, 0, header_len << 2, flags, 16, 0, 0, 0, 0, 0];
    let tcp = [&fixed, options].concat();
    let frame = ip_frame((PEER, MAC), (SOURCE, TARGET), 6, 64, &tcp);
    match parse(&frame, MAC) {
        Ok(Packet::Tcp(segment)) => {
            assert!(segment.payload.is_empty() && usize::from(segment.payload.end) == frame.len());
            segment
        }
        other => panic!("{other:?} for {options:x?}"),
    }
}

/// `options` as they are written, padding included.
fn written(options: SynOptions) -> Vec<u8> {
    let mut room = [0; 128];
    let outgoing = Outgoing {
        ethernet: &EthernetHeader::new(MAC, PEER, IPV4),
        flow: FlowKey {
            remote: Endpoint { addr: TARGET, port: 7 },
            local: Endpoint { addr: SOURCE, port: 40_000 },
        },
        seq: SeqNumber(1),
        ack: SeqNumber(0),
        flags: Flags { syn: true, ..Flags::default() },
        window: 1024,
        options,
        payload: &[],
    };
    let len = emit(&mut room, &outgoing).expect("there is room");
    room[14 + 20 + 20..len].to_vec()
}

/// RFC 9293 section 3.1, RFC 7323 section 2.2 and RFC 2018 section 2, once more: kind, length, value.
/// What is malformed ends the list.
fn read(bytes: &[u8]) -> SynOptions {
    let mut options = SynOptions::default();
    let mut at = 0;
    while at < bytes.len() && bytes[at] != 0 {
        if bytes[at] == 1 {
            at += 1;
            continue;
        }
        let Some(&len) = bytes.get(at + 1) else { break };
        let end = at + usize::from(len);
        if len < 2 || end > bytes.len() {
            break;
        }
        match bytes[at..end] {
            [2, _, high, low] => options.mss = Some(u16::from_be_bytes([high, low])),
            [3, _, shift] => options.wscale = Some(shift.min(14)),
            [4, _] => options.sack_permitted = true,
            // Of those that are known, not of their length.
            [2..=4, ..] => break,
            _ => {}
        }
        at = end;
    }
    options
}
