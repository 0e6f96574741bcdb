//! Any bytes as a frame: what the parser accepts lies inside of it, and comes back when it is
//! written again.
//!
//! The first byte of an input says what is done with the rest.

use super::frames::{ICMP, ICMPV6, MAC, fix_checksums, ip_frame};
use tenmil::drops::DropReason;
use tenmil::wire::addr::FlowKey;
use tenmil::wire::emit::{Outgoing, emit};
use tenmil::wire::ethernet::{EthernetHeader, Mac};
use tenmil::wire::icmp_error::ErrorKind;
use tenmil::wire::packet::{ControlKind, Packet, Segment, parse};
use tenmil::wire::seq::SeqNumber;

/// The frame gets right checksums first, so that what is behind them is reached.
const FIX: u8 = 1;

/// Runs one input.
pub fn run(data: &[u8]) {
    let Some((mode, bytes)) = data.split_first() else { return };
    let mut frame = bytes.to_vec();
    if mode & FIX != 0 {
        fix_checksums(&mut frame);
    }
    ethernet(&frame);
    match parse(&frame, MAC) {
        Ok(Packet::Tcp(segment)) => {
            tcp(&frame, &segment);
            quoted(&frame, &segment);
        }
        Ok(Packet::Control(control)) => {
            assert!(usize::from(control.end) <= frame.len());
            assert!(u16::from(control.ethernet_len) <= control.end);
            // Only who probes for an address need have none.
            let asks =
                matches!(control.kind, ControlKind::ArpRequest(_) | ControlKind::NeighborSolicit);
            let probes = asks && control.source.is_unspecified();
            assert!(probes || control.source.is_valid_source());
        }
        Ok(Packet::IcmpError(error)) => {
            let FlowKey { remote, local } = error.flow;
            assert!(remote.port != 0 && local.port != 0 && error.source.is_valid_source());
            assert_eq!(remote.addr.is_v4(), local.addr.is_v4());
            assert_eq!(error.source.is_v4(), local.addr.is_v4());
        }
        Err(_) => {}
    }
}

/// An Ethernet header is what it was made of, and a reply to a reply goes where the first went.
fn ethernet(frame: &[u8]) {
    let Ok(header) = EthernetHeader::parse(frame) else { return };
    assert_eq!(header.as_bytes(), &frame[..header.len()]);
    let reply = header.reply();
    assert_eq!((reply.dst(), reply.src()), (header.src(), header.dst()));
    assert_eq!((reply.len(), reply.ethertype()), (header.len(), header.ethertype()));
    assert_eq!(EthernetHeader::parse(reply.as_bytes()), Ok(reply));
}

/// What is accepted makes sense, and written again it says the same.
fn tcp(frame: &[u8], segment: &Segment) {
    let payload = usize::from(segment.payload.start)..usize::from(segment.payload.end);
    let payload = &frame[payload];
    let FlowKey { remote, local } = segment.flow;
    assert!(remote.port != 0 && local.port != 0 && remote.addr.is_valid_source());
    assert_eq!(remote.addr.is_v4(), local.addr.is_v4());
    assert!(segment.options.wscale.is_none_or(|shift| shift <= 14));
    assert!(!(segment.flags.syn && (segment.flags.fin || segment.flags.rst)));
    if segment.flags.fin && segment.flags.rst {
        // A reset is one, whatever else is set; nobody writes that.
        return;
    }
    let header = EthernetHeader::parse(frame).expect("it was parsed before");
    let outgoing = Outgoing {
        ethernet: &header,
        flow: FlowKey { remote: local, local: remote },
        seq: segment.seq,
        ack: segment.ack,
        flags: segment.flags,
        window: segment.window,
        options: segment.options,
        payload,
    };
    let mut room = vec![0xee; frame.len() + 64];
    let len = emit(&mut room, &outgoing).expect("there is room");
    assert!(room[len..].iter().all(|&byte| byte == 0xee), "nothing is written past the frame");
    let Ok(Packet::Tcp(again)) = parse(&room[..len], MAC) else { panic!("{segment:?}") };
    assert_eq!(&room[usize::from(again.payload.start)..usize::from(again.payload.end)], payload);
    assert_eq!(usize::from(again.payload.end), len);
    let ack = if segment.flags.ack { segment.ack } else { SeqNumber(0) };
    let expected = Segment { ack, payload: again.payload.clone(), ..segment.clone() };
    assert_eq!(again, expected);
    assert_eq!(emit(&mut room[..len - 1], &outgoing), None, "a room one byte too small");
}

/// An ICMP error that quotes the segment, as its receiver would send it, names its connection.
fn quoted(frame: &[u8], segment: &Segment) {
    const PEER: Mac = [2, 0, 0, 0, 0, 2];
    let FlowKey { remote, local } = segment.flow;
    let packet = &frame[EthernetHeader::parse(frame).expect("it was parsed before").len()..];
    let v4 = remote.addr.is_v4();
    let too_big: [u8; 8] = if v4 { [3, 4, 0, 0, 0, 0, 2, 88] } else { [2, 0, 0, 0, 0, 0, 5, 0] };
    let body = [&too_big, &packet[..packet.len().min(256)]].concat();
    let protocol = if v4 { ICMP } else { ICMPV6 };
    // The segment's receiver complains to its sender, so the sender is the host under test here.
    let complaint = ip_frame((PEER, MAC), (local.addr, remote.addr), protocol, 64, &body);
    match parse(&complaint, MAC) {
        Ok(Packet::IcmpError(error)) => {
            assert_eq!((error.flow.remote, error.flow.local), (local, remote));
            assert_eq!((error.seq, error.source), (segment.seq, local.addr));
            let mtu = if v4 { 600 } else { 1280 };
            assert_eq!(error.kind, ErrorKind::TooBig { mtu });
        }
        // A segment may be for an address that no error can come from.
        other => {
            assert_eq!(other, Err(DropReason::SourceAddress));
            assert!(!local.addr.is_valid_source());
        }
    }
}
