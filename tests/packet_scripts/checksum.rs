//! The Internet checksum (RFC 1071).

use std::net::IpAddr;

/// What the checksum of a transport header covers besides it (RFC 9293 section 3.1, RFC 8200
/// section 8.1).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pseudo {
    pub(crate) source: IpAddr,
    pub(crate) target: IpAddr,
    pub(crate) protocol: u8,
}

/// The checksum of `bytes`: 0 if they hold their own, right one.
pub(crate) fn of(pseudo: Option<&Pseudo>, bytes: &[u8]) -> u16 {
    let mut sum = 0u64;
    if let Some(Pseudo { source, target, protocol }) = pseudo {
        sum += words(&octets(source)) + words(&octets(target));
        sum += u64::from(*protocol) + bytes.len() as u64;
    }
    sum += words(bytes);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded")
}

/// The bytes of an address.
pub(crate) fn octets(addr: &IpAddr) -> Vec<u8> {
    match addr {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn words(bytes: &[u8]) -> u64 {
    let word = |pair: &[u8]| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0));
    bytes.chunks(2).map(word).sum()
}
