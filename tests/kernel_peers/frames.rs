//! Frames that are wrong on purpose, built byte by byte, and a way to send them.

use std::net::IpAddr;

use tenmil::frame::FramePool as _;
use tenmil::link::Link as _;
use tenmil::link::af_xdp::{AfXdpLink, Options};
use tenmil::time::Duration;

use crate::network::CLIENT_INTERFACE;

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const ACK: u8 = 16;

/// Who the forger says it is: an address and a hardware address that nobody has.
pub(crate) const FORGER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x66];

/// Where things are in a frame without VLAN tags and options.
pub(crate) const IP: usize = 14;
pub(crate) const TCP: usize = 34;
pub(crate) const TCP_IN_IPV6: usize = 54;

/// A TCP segment in a frame; right unless it is made wrong.
#[derive(Clone, Copy)]
pub(crate) struct Segment {
    pub(crate) to_mac: [u8; 6],
    pub(crate) from: IpAddr,
    pub(crate) to: IpAddr,
    pub(crate) ports: (u16, u16),
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: u8,
    pub(crate) payload: &'static [u8],
}

impl Segment {
    pub(crate) fn build(&self) -> Vec<u8> {
        let mut frame = [self.to_mac, FORGER_MAC].concat();
        let tcp = self.tcp();
        let len = u16::try_from(tcp.len()).expect("short");
        match (self.from, self.to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                frame.extend([0x08, 0x00, 0x45, 0]);
                frame.extend((20 + len).to_be_bytes());
                frame.extend([0, 1, 0, 0, 64, 6, 0, 0]);
                frame.extend([from.octets(), to.octets()].concat());
                fix_ip(&mut frame);
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
                frame.extend(len.to_be_bytes());
                frame.extend([6, 64]);
                frame.extend([from.octets(), to.octets()].concat());
            }
            _ => panic!("one family"),
        }
        frame.extend(tcp);
        frame
    }

    /// An ICMP message from and to the same hosts, in a frame.
    pub(crate) fn icmp(&self, kind: u8, code: u8, body: &[u8]) -> Vec<u8> {
        let mut frame = self.build();
        frame.truncate(TCP);
        let mut icmp = vec![kind, code, 0, 0, 0, 0, 0, 0];
        icmp.extend(body);
        let sum = checksum(&icmp);
        icmp[2..4].copy_from_slice(&sum.to_be_bytes());
        let len = u16::try_from(20 + icmp.len()).expect("short");
        frame[IP + 2..IP + 4].copy_from_slice(&len.to_be_bytes());
        frame[IP + 9] = 1;
        fix_ip(&mut frame);
        frame.extend(icmp);
        frame
    }

    fn tcp(&self) -> Vec<u8> {
        let mut tcp = [self.ports.0.to_be_bytes(), self.ports.1.to_be_bytes()].concat();
        tcp.extend(self.seq.to_be_bytes());
        tcp.extend(self.ack.to_be_bytes());
        tcp.extend([5 << 4, self.flags, 0xff, 0xff, 0, 0, 0, 0]);
        tcp.extend(self.payload);
        let mut pseudo = match (self.from, self.to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => [from.octets(), to.octets()].concat(),
            (IpAddr::V6(from), IpAddr::V6(to)) => [from.octets(), to.octets()].concat(),
            _ => panic!("one family"),
        };
        pseudo.extend([0, 6]);
        pseudo.extend(u16::try_from(tcp.len()).expect("short").to_be_bytes());
        pseudo.extend(&tcp);
        let sum = checksum(&pseudo);
        tcp[16..18].copy_from_slice(&sum.to_be_bytes());
        tcp
    }
}

/// Sets the checksum of the IPv4 header that starts at [`IP`], after a change to it.
pub(crate) fn fix_ip(frame: &mut [u8]) {
    frame[IP + 10..IP + 12].fill(0);
    let end = frame.len().min(IP + usize::from(frame[IP] & 0x0f) * 4);
    let sum = checksum(&frame[IP..end]);
    frame[IP + 10..IP + 12].copy_from_slice(&sum.to_be_bytes());
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words =
        bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |&b| b.into()));
    let sum = words.sum::<u32>();
    let folded = (sum & 0xffff) + (sum >> 16);
    #[expect(clippy::cast_possible_truncation, reason = "folded twice, it has 16 bits")]
    let folded = ((folded & 0xffff) + (folded >> 16)) as u16;
    !folded
}

/// A socket that sends whole frames from the clients' interface, in the calling thread's namespace.
/// It receives none: that takes an XDP program, and there is none at this end.
pub(crate) struct Forger {
    link: AfXdpLink,
}

impl Forger {
    pub(crate) fn open() -> Forger {
        let options = Options::new(CLIENT_INTERFACE, 0);
        Forger { link: AfXdpLink::open(&options).expect("a veth does AF_XDP") }
    }

    /// Sends a frame, and waits until the kernel has taken it.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.send_all([bytes.to_vec()]);
    }

    /// Waits for a moment.
    pub(crate) fn pause(&mut self) {
        self.link.wait(Duration::from_millis(1)).expect("the link works");
    }

    /// Sends frames, no more than the pool holds, and waits until the kernel has taken them.
    pub(crate) fn send_all(&mut self, frames: impl IntoIterator<Item = Vec<u8>>) {
        let mut batch = Vec::new();
        for bytes in frames {
            let mut frame = self.link.take().expect("a free frame");
            self.link.room(&mut frame)[..bytes.len()].copy_from_slice(&bytes);
            frame.set_len(bytes.len());
            batch.push(frame);
        }
        for _ in 0..10_000 {
            self.link.transmit(&mut batch).expect("the link works");
            self.link.flush().expect("the link works");
            if batch.is_empty() && self.link.census().tx == 0 {
                return;
            }
            // Others send on the interface too.
            self.link.wait(Duration::from_millis(1)).expect("the link works");
        }
        panic!("the frames stay in the tx ring");
    }
}
