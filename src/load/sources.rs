//! Local endpoints for connections: every port of every address of some prefixes.

use crate::wire::addr::{Address, Endpoint};

/// The first port used: those below are the system's (RFC 6335 section 6).
const PORT_FIRST: u16 = 1024;

/// How many ports of an address are used.
pub const PORTS: u64 = (u16::MAX - PORT_FIRST) as u64 + 1;

/// No prefix is used for more addresses than this.
const ADDRESSES_MAX: u64 = 1 << 32;

/// An address with the length of its prefix, in bits of its own family.
pub type Prefix = (Address, u8);

/// The endpoints of some prefixes: every port of the first address, then of the next.
///
/// The first and the last address of an IPv4 prefix are left out, which a network keeps for itself
/// (RFC 1122 section 3.2.1.3), and the first of an IPv6 prefix, which is that of its routers
/// (RFC 4291 section 2.6.1); not so where the prefix has two addresses or one (RFC 3021, RFC 6164).
#[derive(Clone, Debug)]
pub struct Sources {
    ranges: Vec<Range>,
}

/// Addresses that follow one another.
#[derive(Clone, Copy, Debug)]
struct Range {
    first: u128,
    addresses: u64,
    is_v4: bool,
}

impl Range {
    fn of((addr, len): Prefix) -> Range {
        let is_v4 = addr.is_v4();
        let host_bits = (if is_v4 { 32 } else { 128_u32 }).saturating_sub(u32::from(len));
        let all = 1_u64.checked_shl(host_bits).unwrap_or(ADDRESSES_MAX).min(ADDRESSES_MAX);
        let first = u128::from_be_bytes(addr.prefix(len).0);
        match (all, is_v4) {
            (..=2, _) => Range { first, addresses: all, is_v4 },
            (_, true) => Range { first: first + 1, addresses: all - 2, is_v4 },
            (_, false) => Range { first: first + 1, addresses: all - 1, is_v4 },
        }
    }
}

impl Sources {
    /// The endpoints of `prefixes`, which do not overlap.
    pub fn new(prefixes: &[Prefix]) -> Sources {
        Sources { ranges: prefixes.iter().copied().map(Range::of).collect() }
    }

    /// How many addresses of a family there are.
    pub fn addresses(&self, is_v4: bool) -> u64 {
        self.family(is_v4).map(|range| range.addresses).sum()
    }

    /// Endpoint number `n` of a family, if there are so many.
    pub fn get(&self, is_v4: bool, n: u64) -> Option<Endpoint> {
        let (mut address, port) = (n / PORTS, n % PORTS);
        let holder = self.family(is_v4).find(|range| {
            let is_in = address < range.addresses;
            address -= if is_in { 0 } else { range.addresses };
            is_in
        })?;
        let addr = Address((holder.first + u128::from(address)).to_be_bytes());
        Some(Endpoint { addr, port: PORT_FIRST + u16::try_from(port).ok()? })
    }

    fn family(&self, is_v4: bool) -> impl Iterator<Item = &Range> {
        self.ranges.iter().filter(move |range| range.is_v4 == is_v4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::net::IpAddr;

    fn prefix(addr: &str, len: u8) -> Prefix {
        (Address::from(addr.parse::<IpAddr>().unwrap()), len)
    }

    #[test]
    fn every_endpoint_of_every_prefix_comes_once() {
        let prefixes =
            [("10.77.16.9", 30), ("fd77::1:0", 127), ("10.77.40.1", 32), ("fd78::", 126)];
        let prefixes = prefixes.map(|(addr, len)| prefix(addr, len));
        let sources = Sources::new(&prefixes);
        for (is_v4, addresses) in [(true, 2 + 1), (false, 2 + 3)] {
            assert_eq!(sources.addresses(is_v4), addresses);
            let mut seen = HashSet::new();
            for n in 0..addresses * PORTS {
                let endpoint = sources.get(is_v4, n).expect("there are so many");
                assert!(endpoint.addr.is_v4() == is_v4 && endpoint.port >= 1024);
                assert!(
                    prefixes.iter().any(|(addr, len)| addr.shares_prefix(&endpoint.addr, *len))
                );
                assert!(seen.insert(endpoint), "{endpoint:?} came twice");
            }
            assert_eq!(sources.get(is_v4, addresses * PORTS), None);
            for kept in [prefix("10.77.16.8", 32), prefix("10.77.16.11", 32), prefix("fd78::", 128)]
            {
                assert!(!seen.iter().any(|endpoint| endpoint.addr == kept.0), "{kept:?}");
            }
        }
    }

    #[test]
    fn the_largest_prefixes_have_bounds() {
        let sources = Sources::new(&[prefix("10.0.0.0", 1), prefix("fd00::", 1)]);
        assert_eq!(sources.addresses(true), (1 << 31) - 2);
        assert_eq!(sources.addresses(false), (1 << 32) - 1);
        assert!(sources.get(false, ((1 << 32) - 1) * PORTS - 1).is_some());
    }
}
