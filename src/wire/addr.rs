//! Addresses, endpoints and flow keys.

use bytemuck::Zeroable;
use core::fmt;
use core::hash::Hasher as _;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;

/// An IPv4 or IPv6 address in 16 bytes: IPv4 is mapped (`::ffff:a.b.c.d`, RFC 4291 section 2.5.5.2).
///
/// Mapped addresses never arrive as real IPv6 addresses: the parser drops such packets.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Zeroable)]
#[repr(transparent)]
pub struct Address(pub [u8; 16]);

impl Address {
    /// The IPv4 address with these octets.
    pub const fn v4(octets: [u8; 4]) -> Address {
        Address(Ipv4Addr::from_octets(octets).to_ipv6_mapped().octets())
    }

    /// Whether this is an IPv4 address.
    #[inline]
    pub const fn is_v4(&self) -> bool {
        const MAPPED: u128 = u128::from_ne_bytes(Address::v4([0; 4]).0);
        const MASK: u128 = u128::from_ne_bytes((u128::MAX << 32).to_be_bytes());
        u128::from_ne_bytes(self.0) & MASK == MAPPED
    }

    /// Whether this is the IPv4 address with these bits, the first octet in the upper ones.
    #[inline(always)]
    pub const fn is_v4_of(&self, bits: u32) -> bool {
        u128::from_ne_bytes(self.0) == u128::from_ne_bytes(Address::v4(bits.to_be_bytes()).0)
    }

    /// The last four octets: the address itself, if it is IPv4.
    pub const fn v4_octets(&self) -> [u8; 4] {
        [self.0[12], self.0[13], self.0[14], self.0[15]]
    }

    /// The address as the standard library's type.
    pub fn to_ip(self) -> IpAddr {
        if self.is_v4() { IpAddr::from(self.v4_octets()) } else { IpAddr::from(self.0) }
    }

    /// Whether a host may send from this address: not multicast, broadcast, unspecified, loopback,
    /// nor (as `Address::from` makes it of a real IPv6 source) an IPv4-mapped one.
    /// RFC 1122 section 3.2.1.3 and RFC 4291 section 2.7.
    #[inline]
    pub fn is_valid_source(&self) -> bool {
        match self.is_v4() {
            true => is_valid_source_v4(self.0[12]),
            false => {
                let v6 = Ipv6Addr::from(self.0);
                !(v6.is_multicast() || v6.is_loopback() || v6.is_unspecified())
            }
        }
    }

    /// Whether this is `0.0.0.0` or `::`, the source of who has no address yet.
    pub fn is_unspecified(&self) -> bool {
        self.to_ip().is_unspecified()
    }

    /// The unspecified address of the same family.
    pub fn unspecified(&self) -> Address {
        if self.is_v4() { Address::v4([0; 4]) } else { Address([0; 16]) }
    }

    /// Whether this is an IPv6 address that is good on its own link only (RFC 4291 section 2.5.6).
    pub fn is_link_local(&self) -> bool {
        self.0[0] == 0xfe && self.0[1] & 0xc0 == 0x80
    }

    /// The group that an IPv6 address is asked for in (RFC 4291 section 2.7.1).
    pub const fn solicited_node(&self) -> Address {
        let [.., a, b, c] = self.0;
        Address([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
    }

    /// The first `prefix_len` bits, and zeros after them; counted as in [`Address::shares_prefix`].
    pub fn prefix(&self, prefix_len: u8) -> Address {
        let kept = u32::from(prefix_len) + if self.is_v4() { 96 } else { 0 };
        let dropped = u128::MAX.checked_shr(kept).unwrap_or(0);
        Address((u128::from_be_bytes(self.0) & !dropped).to_be_bytes())
    }

    /// Whether the first `prefix_len` bits equal those of `other`. For IPv4 addresses `prefix_len`
    /// counts the bits of the four octets, at most 32.
    pub fn shares_prefix(&self, other: &Address, prefix_len: u8) -> bool {
        if self.is_v4() != other.is_v4() {
            return false;
        }
        let bits = u32::from(prefix_len) + if self.is_v4() { 96 } else { 0 };
        let differing = u128::from_be_bytes(self.0) ^ u128::from_be_bytes(other.0);
        differing.leading_zeros() >= bits.min(128)
    }
}

/// Whether a host may send from an IPv4 address with this first octet: as [`Address::is_valid_source`].
#[inline]
pub(super) const fn is_valid_source_v4(first: u8) -> bool {
    // From 224 on they are multicast, reserved, or the broadcast address.
    !matches!(first, 0 | 127 | 224..)
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Address {
        match ip {
            IpAddr::V4(v4) => Address::v4(v4.octets()),
            IpAddr::V6(v6) => Address::from(v6),
        }
    }
}

impl From<Ipv6Addr> for Address {
    fn from(v6: Ipv6Addr) -> Address {
        Address(v6.octets())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_ip().fmt(f)
    }
}

/// An address and a port.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// The address.
    pub addr: Address,
    /// The port, in host byte order.
    pub port: u16,
}

impl From<SocketAddr> for Endpoint {
    fn from(socket: SocketAddr) -> Endpoint {
        Endpoint { addr: Address::from(socket.ip()), port: socket.port() }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.addr.to_ip(), self.port).fmt(f)
    }
}

/// The four values that identify a connection, from this host's point of view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowKey {
    /// The peer.
    pub remote: Endpoint,
    /// This host.
    pub local: Endpoint,
}

impl FlowKey {
    /// Has `hash` look at the key as bytes, which no other key has.
    #[inline]
    pub(crate) fn hashed<R>(&self, hash: impl FnOnce(&[u8]) -> R) -> R {
        let [a, b] = self.remote.port.to_le_bytes();
        let [c, d] = self.local.port.to_le_bytes();
        if self.remote.addr.is_v4() {
            // What all mapped addresses share need not be hashed: two rounds instead of five.
            let [e, f, g, h] = self.remote.addr.v4_octets();
            let [i, j, k, l] = self.local.addr.v4_octets();
            return hash(&[a, b, c, d, e, f, g, h, i, j, k, l]);
        }
        let mut bytes = [0; 36];
        bytes[..4].copy_from_slice(&[a, b, c, d]);
        bytes[4..20].copy_from_slice(&self.remote.addr.0);
        bytes[20..].copy_from_slice(&self.local.addr.0);
        hash(&bytes)
    }
}

/// A secret that attackers must not know, drawn from the system's random source at start.
#[derive(Clone, Copy)]
pub struct Secret(pub [u8; 16]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The keyed hash of flow keys, since remote addresses and ports are chosen by whoever sends the packet,
/// and chosen collisions would turn the index into a list. Its values never leave this host
/// (docs/decisions/0024-hash-of-the-index.md).
#[derive(Clone)]
pub struct FlowHasher {
    seed: u64,
    shared: SharedSeed,
}

impl FlowHasher {
    /// A hash under `secret`.
    pub fn new(secret: Secret) -> FlowHasher {
        let [seed, shared] = bytemuck::cast::<[u8; 16], [u64; 2]>(secret.0);
        FlowHasher { seed, shared: SharedSeed::from_u64(shared) }
    }

    /// The hash of `flow`.
    #[inline(always)]
    pub fn hash(&self, flow: &FlowKey) -> u64 {
        let (remote, local) = (&flow.remote.addr, &flow.local.addr);
        let ports = u32::from(flow.remote.port) << 16 | u32::from(flow.local.port);
        if remote.is_v4() {
            let [remote, local] = [remote, local].map(|addr| u32::from_be_bytes(addr.v4_octets()));
            return self.hash_v4(remote, local, ports);
        }
        let mut hasher = self.hasher();
        hasher.write_u128(u128::from_be_bytes(remote.0));
        hasher.write_u128(u128::from_be_bytes(local.0));
        hasher.write_u32(ports);
        hasher.finish()
    }

    /// The hash of the flow between these IPv4 addresses, the remote port in the upper half of `ports`: what
    /// all mapped addresses share is not hashed.
    #[inline(always)]
    pub fn hash_v4(&self, remote: u32, local: u32, ports: u32) -> u64 {
        let mut hasher = self.hasher();
        hasher.write_u64(u64::from(remote) << 32 | u64::from(local));
        hasher.write_u32(ports);
        hasher.finish()
    }

    #[inline(always)]
    fn hasher(&self) -> FoldHasher<'_> {
        FoldHasher::with_seed(self.seed, &self.shared)
    }
}

impl fmt::Debug for FlowHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FlowHasher(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> Address {
        Address::from(text.parse::<IpAddr>().unwrap())
    }

    #[test]
    fn sources_that_no_host_may_use_are_invalid() {
        for bad in ["0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"]
        {
            assert!(!addr(bad).is_valid_source(), "{bad}");
        }
        for bad in ["::", "::1", "ff02::1"] {
            assert!(!addr(bad).is_valid_source(), "{bad}");
        }
        for good in ["10.77.0.2", "192.0.2.1", "fd77::2", "fe80::1"] {
            assert!(addr(good).is_valid_source(), "{good}");
        }
    }

    #[test]
    fn prefixes_count_the_bits_of_their_own_family() {
        assert!(addr("10.77.0.1").shares_prefix(&addr("10.77.255.9"), 16));
        assert!(!addr("10.77.0.1").shares_prefix(&addr("10.78.0.1"), 16));
        assert!(addr("10.77.0.1").shares_prefix(&addr("10.77.0.1"), 32));
        assert!(addr("fd77::1").shares_prefix(&addr("fd77::2"), 64));
        assert!(!addr("fd77::1").shares_prefix(&addr("10.77.0.1"), 0));
        assert!(addr("1.2.3.4").shares_prefix(&addr("200.2.3.4"), 0));
        assert_eq!(addr("10.77.3.9").prefix(24), addr("10.77.3.0"));
        assert_eq!(addr("10.77.3.9").prefix(32), addr("10.77.3.9"));
        assert_eq!(addr("10.77.3.9").prefix(0), addr("0.0.0.0"));
        assert_eq!(addr("fd77:0:0:7:8::9").prefix(64), addr("fd77:0:0:7::"));
        assert_eq!(addr("fd77::9").prefix(128), addr("fd77::9"));
    }
}
