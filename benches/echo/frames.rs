//! The frames of the clients, from templates: a frame is a copy with a few fields filled in, so that
//! making it costs little beside sending it.

use tenmil::wire::addr::{Address, Endpoint, FlowKey};
use tenmil::wire::emit::{Outgoing, emit};
use tenmil::wire::ethernet::{self, EthernetHeader, Mac};
use tenmil::wire::packet::{Flags, SynOptions};
use tenmil::wire::seq::SeqNumber;

/// Where the fields are: Ethernet and IPv4 without options.
const IP_CHECKSUM: usize = 24;
const IP_SOURCE: usize = 26;
const IP_TARGET: usize = 30;
const TCP_SOURCE: usize = 34;
const TCP_TARGET: usize = 36;
const TCP_SEQ: usize = 38;
const TCP_ACK: usize = 42;
const TCP_FLAGS: usize = 47;
const TCP_CHECKSUM: usize = 50;
const SYN: u8 = 1 << 1;
const RST: u8 = 1 << 2;
const ACK: u8 = 1 << 4;
/// Where the payload starts: the length of a frame without one.
pub(crate) const HEADERS: usize = 54;

/// Clients that share an address, each with a port of its own.
const PORTS: u32 = 1 << 15;
const PORT_FIRST: u16 = 16_384;
/// The first client's address is 10.77.16.1.
const HOST_FIRST: u16 = 0x1001;

/// A client's address, of which the first two bytes are always 10.77, and port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    host: u16,
    port: u16,
}

impl Place {
    /// Where the client with this number is.
    pub(crate) fn of(client: u32) -> Place {
        let host = u16::try_from(client / PORTS).expect("few addresses");
        let port = u16::try_from(client % PORTS).expect("fewer than 2^15");
        Place { host: HOST_FIRST + host, port: PORT_FIRST + port }
    }

    /// The number of the client that is there.
    pub(crate) fn client(self) -> usize {
        let host = usize::from(self.host.wrapping_sub(HOST_FIRST));
        host * PORTS as usize + usize::from(self.port.wrapping_sub(PORT_FIRST))
    }

    /// The initial sequence number of the client that is there.
    pub(crate) fn iss(self) -> u32 {
        (u32::from(self.host) << 16 | u32::from(self.port)).wrapping_mul(0x9e37_79b9)
    }
}

/// One kind of frame.
pub(crate) struct Template {
    frame: Vec<u8>,
    /// The one's complement sums of the fields that do not change (RFC 1071).
    ip_sum: u32,
    tcp_sum: u32,
}

impl Template {
    /// Frames with these flags and this payload to `server`.
    pub(crate) fn new(
        macs: (Mac, Mac),
        server: Endpoint,
        (syn, ack): (bool, bool),
        payload: &[u8],
    ) -> Template {
        let mut frame = vec![0; 128];
        let options = match syn {
            true => SynOptions { mss: Some(1460), wscale: Some(7), sack_permitted: true },
            false => SynOptions::default(),
        };
        let nobody = Endpoint { addr: Address::v4([10, 77, 0, 0]), port: 0 };
        let segment = Outgoing {
            ethernet: &EthernetHeader::new(macs.1, macs.0, ethernet::IPV4),
            flow: FlowKey { remote: server, local: nobody },
            seq: SeqNumber(0),
            ack: SeqNumber(0),
            flags: Flags { syn, ack, fin: false, rst: false },
            window: u16::MAX,
            options,
            payload,
        };
        let len = emit(&mut frame, &segment).expect("room for a frame");
        frame.truncate(len);
        let sum_at = |at| u32::from(!get16(&frame, at));
        Template { ip_sum: sum_at(IP_CHECKSUM), tcp_sum: sum_at(TCP_CHECKSUM), frame }
    }

    /// Writes the frame of the client at `place` to the front of `room`, and returns its length.
    pub(crate) fn write(&self, room: &mut [u8], place: Place, seq: u32, ack: u32) -> usize {
        let room = &mut room[..self.frame.len()];
        room.copy_from_slice(&self.frame);
        let halves = |value: u32| (value >> 16) + (value & 0xffff);
        let ip_sum = self.ip_sum + u32::from(place.host);
        let tcp_sum = self.tcp_sum + u32::from(place.host) + u32::from(place.port);
        let tcp_sum = tcp_sum + halves(seq) + halves(ack);
        put16(room, IP_CHECKSUM, !fold(ip_sum));
        put16(room, IP_SOURCE + 2, place.host);
        put16(room, TCP_SOURCE, place.port);
        room[TCP_SEQ..TCP_SEQ + 4].copy_from_slice(&seq.to_be_bytes());
        room[TCP_ACK..TCP_ACK + 4].copy_from_slice(&ack.to_be_bytes());
        put16(room, TCP_CHECKSUM, !fold(tcp_sum));
        room.len()
    }
}

/// What came back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    /// The client that it belongs to.
    pub(crate) place: Place,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) is_syn: bool,
    pub(crate) payload_len: usize,
}

impl Answer {
    /// Reads a frame that came to `mac`, `None` if it is something else: from the server, or if it is
    /// `turned_back`, one of the clients' own.
    pub(crate) fn read(frame: &[u8], mac: Mac, turned_back: bool) -> Option<Answer> {
        const ETHERTYPE: usize = 12;
        const IP_PROTOCOL: usize = 23;
        const TCP: u8 = 6;
        if frame.len() < HEADERS || frame[..6] != mac || get16(frame, ETHERTYPE) != ethernet::IPV4 {
            return None;
        }
        let (data_offset, flags) = (frame[TCP_FLAGS - 1] >> 4, frame[TCP_FLAGS]);
        if frame[IP_PROTOCOL] != TCP || flags & (RST | ACK) != ACK {
            return None;
        }
        let (host, port) = match turned_back {
            true => (IP_SOURCE + 2, TCP_SOURCE),
            false => (IP_TARGET + 2, TCP_TARGET),
        };
        Some(Answer {
            place: Place { host: get16(frame, host), port: get16(frame, port) },
            seq: get32(frame, TCP_SEQ),
            ack: get32(frame, TCP_ACK),
            is_syn: flags & SYN != 0,
            payload_len: frame.len().saturating_sub(TCP_SOURCE + usize::from(data_offset) * 4),
        })
    }

    /// SEG.LEN.
    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.payload_len).expect("at most a frame") + u32::from(self.is_syn)
    }
}

fn fold(sum: u32) -> u16 {
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    u16::try_from(sum).expect("folded twice")
}

fn get16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn get32(bytes: &[u8], at: usize) -> u32 {
    u32::from(get16(bytes, at)) << 16 | u32::from(get16(bytes, at + 2))
}

fn put16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}
