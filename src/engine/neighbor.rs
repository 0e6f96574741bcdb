//! Finding the hardware address of a neighbour to speak to first (RFC 826, RFC 4861 section 7.2).
//!
//! Answers to received frames go back to where those came from; only a connection that this engine
//! opens needs to ask.

use super::counters::Counters;
use super::output::Output;
use crate::frame::FramePool;
use crate::time::{Duration, Instant};
use crate::wire::addr::Address;
use crate::wire::ethernet::{self, EthernetHeader, Mac};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, Icmpv6Packet, Icmpv6Repr, IpProtocol,
    Ipv6Address, Ipv6Packet, Ipv6Repr, NdiscRepr, RawHardwareAddress,
};

/// How many neighbours are asked for or known at once.
const NEIGHBORS_MAX: usize = 256;

/// How long to wait before asking again (RFC 4861 section 10, RETRANS_TIMER).
const RETRY: Duration = Duration::from_secs(1);

struct Neighbor {
    addr: Address,
    mac: Option<Mac>,
    asked: Instant,
}

/// The neighbours asked for. Only those are learned, so nobody can fill the table from outside.
pub(super) struct Neighbors {
    entries: Vec<Neighbor>,
    own_mac: Mac,
}

impl Neighbors {
    pub(super) fn new(own_mac: Mac) -> Neighbors {
        Neighbors { entries: Vec::with_capacity(NEIGHBORS_MAX), own_mac }
    }

    /// The hardware address of `addr`, or `None` after asking for it from `local`, at most once a
    /// second.
    pub(super) fn resolve<P: FramePool>(
        &mut self,
        addr: Address,
        local: Address,
        now: Instant,
        output: &mut Output<'_, P>,
        counters: &mut Counters,
    ) -> Option<Mac> {
        match self.entries.iter_mut().find(|neighbor| neighbor.addr == addr) {
            Some(Neighbor { mac: Some(mac), .. }) => return Some(*mac),
            Some(neighbor) if now.since(neighbor.asked) < RETRY => return None,
            Some(neighbor) => neighbor.asked = now,
            None => {
                if self.entries.len() == NEIGHBORS_MAX {
                    self.entries.swap_remove(self.least_useful());
                }
                self.entries.push(Neighbor { addr, mac: None, asked: now });
            }
        }
        let own_mac = self.own_mac;
        output.frame(counters, |room| match addr.is_v4() {
            true => arp_request(room, own_mac, local, addr),
            false => neighbor_solicit(room, own_mac, local, addr),
        });
        None
    }

    /// The entry to give up when all are in use: of those that never answered, or else of all, the
    /// one asked for longest ago.
    fn least_useful(&self) -> usize {
        let order = |&at: &usize| (self.entries[at].mac.is_some(), self.entries[at].asked);
        (0..self.entries.len()).min_by_key(order).unwrap_or(0)
    }

    /// Learns that `addr` is at `mac`, if it was asked for.
    pub(super) fn learn(&mut self, addr: Address, mac: Mac) {
        if ethernet::is_group(&mac) {
            return;
        }
        if let Some(neighbor) = self.entries.iter_mut().find(|neighbor| neighbor.addr == addr) {
            neighbor.mac = Some(mac);
        }
    }
}

/// Writes an ARP request for `target`, and returns the frame's length.
fn arp_request(room: &mut [u8], mac: Mac, local: Address, target: Address) -> Option<usize> {
    let header = EthernetHeader::new(ethernet::BROADCAST, mac, ethernet::ARP);
    let repr = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr: EthernetAddress(mac),
        source_protocol_addr: local.v4_octets().into(),
        target_hardware_addr: EthernetAddress([0; 6]),
        target_protocol_addr: target.v4_octets().into(),
    };
    let end = header.len() + repr.buffer_len();
    let frame = room.get_mut(..end)?;
    frame[..header.len()].copy_from_slice(header.as_bytes());
    repr.emit(&mut ArpPacket::new_unchecked(&mut frame[header.len()..]));
    Some(end)
}

/// Writes a neighbour solicitation for `target` to its solicited-node group, and returns the frame's length.
fn neighbor_solicit(room: &mut [u8], mac: Mac, local: Address, target: Address) -> Option<usize> {
    let group = target.solicited_node();
    // RFC 2464 section 7: the group's hardware address ends in its last four bytes.
    let [.., a, b, c, d] = group.0;
    let header = EthernetHeader::new([0x33, 0x33, a, b, c, d], mac, ethernet::IPV6);
    let (source, group) = (Ipv6Address::from(local.0), Ipv6Address::from(group.0));
    let icmp = Icmpv6Repr::Ndisc(NdiscRepr::NeighborSolicit {
        target_addr: target.0.into(),
        lladdr: Some(RawHardwareAddress::from_bytes(&mac)),
    });
    let ip = Ipv6Repr {
        src_addr: source,
        dst_addr: group,
        next_header: IpProtocol::Icmpv6,
        payload_len: icmp.buffer_len(),
        hop_limit: 255,
    };
    let icmp_start = header.len() + ip.buffer_len();
    let end = icmp_start + icmp.buffer_len();
    let frame = room.get_mut(..end)?;
    frame[..header.len()].copy_from_slice(header.as_bytes());
    ip.emit(&mut Ipv6Packet::new_unchecked(&mut frame[header.len()..]));
    let mut packet = Icmpv6Packet::new_unchecked(&mut frame[icmp_start..]);
    icmp.emit(&source, &group, &mut packet, &ChecksumCapabilities::default());
    Some(end)
}
