//! ARP, NDP and ping for owned addresses, answered by smoltcp's `Interface`.
//!
//! A range of a million addresses may be owned, and an `Interface` holds a handful. So it is given,
//! for each message, exactly the one address that the message asks for. Two of them are needed: ARP
//! and NDP are about hardware addresses and go through one on Ethernet; an echo goes through one on
//! bare IP, and its reply back to where the request came from, gateways and VLANs included, without
//! a neighbour cache.

use crate::wire::addr::Address;
use crate::wire::ethernet::{EthernetHeader, Mac};
use crate::wire::packet::{Control, ControlKind, smoltcp_address};
use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::phy::{self, Device, DeviceCapabilities, Medium};
use smoltcp::time::Instant as SmolInstant;
use smoltcp::wire::{
    EthernetAddress, HardwareAddress, Icmpv6Packet, IpAddress, IpCidr, Ipv6Address, Ipv6Packet,
};

/// The longest message that is answered, in bytes from the Ethernet header on. Longer than any frame
/// of the pool is of no use.
const MESSAGE_LEN_MAX: usize = 4096;

/// The two interfaces and the buffers of the one message that is under way.
pub(super) struct ControlPlane {
    ethernet: Interface,
    ip: Interface,
    sockets: SocketSet<'static>,
    port: Port,
    mac: Mac,
}

impl ControlPlane {
    /// For an interface with address `mac`.
    pub(super) fn new(mac: Mac) -> ControlPlane {
        let mut port = Port { medium: Medium::Ethernet, rx: Vec::new(), tx: Vec::new() };
        port.rx.reserve(MESSAGE_LEN_MAX);
        port.tx.reserve(MESSAGE_LEN_MAX);
        let now = SmolInstant::ZERO;
        let config = Config::new(HardwareAddress::Ethernet(EthernetAddress(mac)));
        let ethernet = Interface::new(config, &mut port, now);
        port.medium = Medium::Ip;
        let ip = Interface::new(Config::new(HardwareAddress::Ip), &mut port, now);
        ControlPlane { ethernet, ip, sockets: SocketSet::new(Vec::new()), port, mac }
    }

    /// Makes the answer to `message`, which `frame` holds and which asks for an owned address;
    /// `None` if it gets none. The answer is a whole frame, and in [`ControlPlane::answered`].
    pub(super) fn answer(&mut self, frame: &[u8], message: &Control) -> Option<()> {
        let header = EthernetHeader::parse(frame).ok()?;
        let body = frame.get(usize::from(message.ethernet_len)..usize::from(message.end))?;
        let port = &mut self.port;
        port.rx.clear();
        port.tx.clear();
        // An interface panics when it is given an address that no host may have.
        if body.len() + header.len() > MESSAGE_LEN_MAX || !message.target.is_valid_source() {
            return None;
        }
        let target = smoltcp_address(&message.target);
        let interface = match message.kind {
            ControlKind::ArpRequest(_) | ControlKind::NeighborSolicit => {
                port.medium = Medium::Ethernet;
                let untagged = EthernetHeader::new(header.dst(), header.src(), header.ethertype());
                port.rx.extend_from_slice(untagged.as_bytes());
                port.rx.extend_from_slice(body);
                if message.kind == ControlKind::NeighborSolicit {
                    address_to_group(&mut port.rx[untagged.len()..], &message.target)?;
                }
                // Whoever asks is on the link, whatever its address: routers ask from link-local
                // ones, and an address may be owned without a link's prefix.
                set_address(&mut self.ethernet, target);
                &mut self.ethernet
            }
            ControlKind::Icmp => {
                port.medium = Medium::Ip;
                port.rx.extend_from_slice(body);
                set_address(&mut self.ip, target);
                &mut self.ip
            }
            ControlKind::NeighborIsAt { .. } => return None,
        };
        interface.poll_ingress_single(SmolInstant::ZERO, port, &mut self.sockets);
        if port.tx.is_empty() {
            return None;
        }
        // Out goes the header of the request, turned around; what smoltcp wrote follows it.
        let reply = header.reply().with_src(self.mac);
        let written = match message.kind {
            ControlKind::Icmp => 0,
            _ => {
                let written = EthernetHeader::parse(&port.tx).ok()?;
                // Anything but an answer to the sender would be smoltcp asking who that is.
                if written.dst() != header.src() {
                    return None;
                }
                written.len()
            }
        };
        port.tx.splice(..written, reply.as_bytes().iter().copied());
        Some(())
    }

    /// The newest answer.
    pub(super) fn answered(&self) -> &[u8] {
        &self.port.tx
    }
}

/// Gives `interface` the one address `addr`. With a prefix of 0 every source is a neighbour, and is
/// answered without a route.
fn set_address(interface: &mut Interface, addr: IpAddress) {
    interface.update_ip_addrs(|addrs| {
        addrs.clear();
        // The list has room for two.
        let _ = addrs.push(IpCidr::new(addr, 0));
    });
}

/// Readdresses a unicast neighbour solicitation to the solicited-node group of its target. Kernels
/// probe known neighbours by unicast (RFC 4861 section 7.3.3), which smoltcp 0.14 does not answer.
fn address_to_group(packet: &mut [u8], target: &Address) -> Option<()> {
    let mut ip = Ipv6Packet::new_checked(packet).ok()?;
    let group = Ipv6Address::from(target.solicited_node().0);
    ip.set_dst_addr(group);
    let source = ip.src_addr();
    Icmpv6Packet::new_checked(ip.payload_mut()).ok()?.fill_checksum(&source, &group);
    Some(())
}

/// A device for one frame in and one frame out.
struct Port {
    medium: Medium,
    rx: Vec<u8>,
    tx: Vec<u8>,
}

impl Device for Port {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Sent<'a>;

    fn receive(&mut self, _now: SmolInstant) -> Option<(Received<'_>, Sent<'_>)> {
        Some((Received(&self.rx), Sent(&mut self.tx)))
    }

    fn transmit(&mut self, _now: SmolInstant) -> Option<Sent<'_>> {
        Some(Sent(&mut self.tx))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = self.medium;
        capabilities.max_transmission_unit = MESSAGE_LEN_MAX;
        capabilities
    }
}

struct Received<'a>(&'a [u8]);

impl phy::RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

struct Sent<'a>(&'a mut Vec<u8>);

impl phy::TxToken for Sent<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        self.0.clear();
        self.0.resize(len, 0);
        f(self.0)
    }
}
