//! ICMP and ICMPv6 errors about TCP segments that this host sent (RFC 792, RFC 4443 section 3).

use super::addr::{Address, Endpoint, FlowKey};
use super::ethernet::be16;
use super::packet::seq_at;
use super::seq::SeqNumber;
use crate::drops::DropReason;
use smoltcp::wire::{IPV4_HEADER_LEN, IPV6_HEADER_LEN};

/// An error message about one segment, as its quotation of that segment tells.
///
/// Anybody may have sent it: nothing in it is to be believed before the quoted sequence number is
/// found to be in flight (RFC 5927 section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpError {
    /// What went wrong.
    pub kind: ErrorKind,
    /// Who says so: a router or the peer itself.
    pub source: Address,
    /// The connection of the quoted segment, from this host's point of view.
    pub flow: FlowKey,
    /// SEG.SEQ of the quoted segment.
    pub seq: SeqNumber,
}

/// What an error message says, as far as TCP tells messages apart (RFC 9293 section 3.9.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The packet does not fit the next link (RFC 1191, RFC 8201).
    TooBig {
        /// The link's MTU in bytes, as claimed; 0 from routers older than RFC 1191.
        mtu: u32,
    },
    /// The peer has no such protocol or port.
    Refused,
    /// The way to the peer is administratively prohibited.
    Prohibited,
    /// What may pass: no route, host down, time exceeded, a header that somebody misunderstood.
    Soft,
}

/// The bytes of a TCP header that are always quoted (RFC 792): ports and sequence number.
const QUOTED_LEN: usize = 8;

/// The length of the header in front of the quotation, in bytes.
const HEADER_LEN: usize = 8;

/// The protocol number of TCP.
const TCP: u8 = 6;

/// Whether `icmp`, a whole message of ICMP (`v4`) or ICMPv6, is an error that TCP acts on.
pub(super) fn is_error(icmp: &[u8], v4: bool) -> bool {
    matches!((v4, icmp.first()), (true, Some(3 | 11 | 12)) | (false, Some(1..=4)))
}

/// Parses the error message `icmp`, whose checksum is right, sent from `source` to `target`.
///
/// # Errors
///
/// `Truncated` when the quotation is too short to name a connection, `ControlIgnored` when it is not
/// of a TCP segment that `target` can have sent.
pub(super) fn parse(
    icmp: &[u8],
    source: Address,
    target: Address,
) -> Result<IcmpError, DropReason> {
    let quote = icmp.get(HEADER_LEN..).ok_or(DropReason::Truncated)?;
    let (local, remote, tcp) = match target.is_v4() {
        true => quoted_ipv4(quote)?,
        false => quoted_ipv6(quote)?,
    };
    let tcp = tcp.get(..QUOTED_LEN).ok_or(DropReason::Truncated)?;
    let port = |at| be16(tcp, at).unwrap_or_default();
    let flow = FlowKey {
        remote: Endpoint { addr: remote, port: port(2) },
        local: Endpoint { addr: local, port: port(0) },
    };
    // An error goes to the source of the packet that it quotes.
    if local != target || flow.local.port == 0 || flow.remote.port == 0 {
        return Err(DropReason::ControlIgnored);
    }
    Ok(IcmpError { kind: kind_of(icmp, target.is_v4()), source, flow, seq: seq_at(tcp, 4) })
}

/// The kind of a message that [`is_error`] and at least [`HEADER_LEN`] bytes long.
fn kind_of(icmp: &[u8], v4: bool) -> ErrorKind {
    let half = |at| u32::from(be16(icmp, at).unwrap_or_default());
    match (v4, icmp[0], icmp[1]) {
        // RFC 1191 section 4: the MTU is in the low half of what used to be unused.
        (true, 3, 4) => ErrorKind::TooBig { mtu: half(6) },
        (false, 2, _) => ErrorKind::TooBig { mtu: half(4) << 16 | half(6) },
        // Codes 2 and 3 are hard errors over IPv4, and 1 and 4 over IPv6 (RFC 9293
        // section 3.9.2.2).
        (true, 3, 2 | 3) | (false, 1, 4) => ErrorKind::Refused,
        // RFC 1812 section 5.2.7.1 added 9, 10 and 13; RFC 4443 section 3.1 calls 5 and 6 subsets
        // of 1.
        (true, 3, 9 | 10 | 13) | (false, 1, 1 | 5 | 6) => ErrorKind::Prohibited,
        _ => ErrorKind::Soft,
    }
}

/// Source, target and payload of the quoted IPv4 packet. Its checksum says nothing: routers quote
/// headers that they have changed already.
fn quoted_ipv4(quote: &[u8]) -> Result<(Address, Address, &[u8]), DropReason> {
    let header = quote.get(..IPV4_HEADER_LEN).ok_or(DropReason::Truncated)?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    if header[0] >> 4 != 4 || header_len < IPV4_HEADER_LEN {
        return Err(DropReason::HeaderLength);
    }
    // Only the first fragment has ports; this host sends none, but a router on the way might.
    let fragment = be16(header, 6).unwrap_or_default() & 0x1fff;
    if header[9] != TCP || fragment != 0 {
        return Err(DropReason::ControlIgnored);
    }
    let octets = |at: usize| Address::v4(core::array::from_fn(|i| header[at + i]));
    let payload = quote.get(header_len..).ok_or(DropReason::Truncated)?;
    Ok((octets(12), octets(16), payload))
}

/// Source, target and payload of the quoted IPv6 packet; this host sends no extension headers.
fn quoted_ipv6(quote: &[u8]) -> Result<(Address, Address, &[u8]), DropReason> {
    let header = quote.get(..IPV6_HEADER_LEN).ok_or(DropReason::Truncated)?;
    if header[0] >> 4 != 6 {
        return Err(DropReason::HeaderLength);
    }
    if header[6] != TCP {
        return Err(DropReason::ControlIgnored);
    }
    let octets = |at: usize| Address(core::array::from_fn(|i| header[at + i]));
    let (local, remote) = (octets(8), octets(24));
    // A mapped address inside a real IPv6 packet would pass for an IPv4 host.
    if remote.is_v4() {
        return Err(DropReason::ControlIgnored);
    }
    Ok((local, remote, &quote[IPV6_HEADER_LEN..]))
}
