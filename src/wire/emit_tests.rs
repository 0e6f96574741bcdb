//! What is written, against smoltcp.

use super::*;
use crate::wire::addr::Endpoint;
use proptest::prelude::*;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    IpAddress, IpProtocol, Ipv4Packet, Ipv4Repr, Ipv6Packet, Ipv6Repr, TcpControl, TcpPacket,
    TcpRepr, TcpSeqNumber,
};

/// The IP packet as smoltcp writes it.
fn by_smoltcp(segment: &Outgoing<'_>) -> Vec<u8> {
    let tcp = repr(segment);
    let (tcp_len, checksums) = (tcp.buffer_len(), ChecksumCapabilities::default());
    let (source, target) = (segment.flow.local.addr, segment.flow.remote.addr);
    let mut packet;
    let start = if source.is_v4() {
        packet = vec![0; IPV4_HEADER_LEN + tcp_len];
        let repr = Ipv4Repr {
            src_addr: source.v4_octets().into(),
            dst_addr: target.v4_octets().into(),
            next_header: IpProtocol::Tcp,
            payload_len: tcp_len,
            hop_limit: HOP_LIMIT,
        };
        repr.emit(&mut Ipv4Packet::new_unchecked(&mut packet), &checksums);
        IPV4_HEADER_LEN
    } else {
        packet = vec![0; IPV6_HEADER_LEN + tcp_len];
        let repr = Ipv6Repr {
            src_addr: source.0.into(),
            dst_addr: target.0.into(),
            next_header: IpProtocol::Tcp,
            payload_len: tcp_len,
            hop_limit: HOP_LIMIT,
        };
        repr.emit(&mut Ipv6Packet::new_unchecked(&mut packet));
        IPV6_HEADER_LEN
    };
    let (source, target): (IpAddress, IpAddress) = (source.to_ip().into(), target.to_ip().into());
    tcp.emit(&mut TcpPacket::new_unchecked(&mut packet[start..]), &source, &target, &checksums);
    packet
}

fn repr<'a>(segment: &Outgoing<'a>) -> TcpRepr<'a> {
    let Flags { fin, syn, rst, ack } = segment.flags;
    TcpRepr {
        src_port: segment.flow.local.port,
        dst_port: segment.flow.remote.port,
        control: match (rst, syn, fin) {
            (true, ..) => TcpControl::Rst,
            (_, true, _) => TcpControl::Syn,
            (.., true) => TcpControl::Fin,
            _ if !segment.payload.is_empty() => TcpControl::Psh,
            _ => TcpControl::None,
        },
        seq_number: TcpSeqNumber(segment.seq.0.cast_signed()),
        ack_number: ack.then_some(TcpSeqNumber(segment.ack.0.cast_signed())),
        window_len: segment.window,
        window_scale: segment.options.wscale,
        max_seg_size: segment.options.mss,
        sack_permitted: segment.options.sack_permitted,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: segment.payload,
    }
}

proptest! {
    #[test]
    fn frames_are_those_of_smoltcp(
        (v4, fin, syn, rst, ack) in any::<(bool, bool, bool, bool, bool)>(),
        (seq, ack_number, window) in any::<(u32, u32, u16)>(),
        (mss, wscale) in (proptest::option::of(1u16..), proptest::option::of(0u8..=14)),
        sack_permitted: bool,
        (remote_port, local_port) in (1u16.., 1u16..),
        (remote, local) in any::<([u8; 16], [u8; 16])>(),
        payload in proptest::collection::vec(any::<u8>(), 0..1_500),
    ) {
        let address = |octets: [u8; 16]| match v4 {
            true => Address::v4([octets[0], octets[1], octets[2], octets[3]]),
            false => Address(octets),
        };
        let segment = Outgoing {
            ethernet: &EthernetHeader::new([2; 6], [4; 6], 0x0800),
            flow: FlowKey {
                remote: Endpoint { addr: address(remote), port: remote_port },
                local: Endpoint { addr: address(local), port: local_port },
            },
            seq: SeqNumber(seq),
            ack: SeqNumber(ack_number),
            flags: Flags { fin, syn, rst, ack },
            window,
            options: match syn {
                true => SynOptions { mss, wscale, sack_permitted },
                false => SynOptions::default(),
            },
            payload: &payload,
        };
        let mut room = vec![0xa5; 2048];
        let len = emit(&mut room, &segment).unwrap();
        prop_assert_eq!(&room[..14], segment.ethernet.as_bytes());
        let (packet, theirs) = (&room[14..len], by_smoltcp(&segment));
        if !syn {
            prop_assert_eq!(packet, theirs);
            return Ok(());
        }
        // The padding of options is where we like it.
        let start = if v4 { IPV4_HEADER_LEN } else { IPV6_HEADER_LEN };
        let tcp = TcpPacket::new_checked(&packet[start..]).unwrap();
        let addresses = [segment.flow.local, segment.flow.remote];
        let [source, target]: [IpAddress; 2] = addresses.map(|end| end.addr.to_ip().into());
        let parsed = TcpRepr::parse(&tcp, &source, &target, &ChecksumCapabilities::default());
        if !rst && !fin {
            prop_assert_eq!(parsed.unwrap(), repr(&segment));
        }
        prop_assert!(tcp.verify_checksum(&source, &target));
    }
}
