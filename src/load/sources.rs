//! Local endpoints for connections, each used once.

use crate::wire::addr::{Address, Endpoint};

/// The first port used: those below are the system's (RFC 6335 section 6).
const PORT_FIRST: u16 = 1024;

/// How many ports of an address are used.
const PORTS: u64 = (u16::MAX - PORT_FIRST) as u64 + 1;

/// All endpoints of a prefix: every port of its first address, then of the next.
///
/// The first address of the prefix is left out, which would be a network's own address.
#[derive(Clone, Debug)]
pub struct Sources {
    prefix: u128,
    addresses: u64,
    next: u64,
}

impl Sources {
    /// The endpoints of the prefix of `addr` with `host_bits` bits left free, at most 32.
    pub fn new(addr: Address, host_bits: u32) -> Sources {
        let addresses = 1u64 << host_bits.min(32);
        let prefix = u128::from_be_bytes(addr.0) & !(u128::from(addresses) - 1);
        Sources { prefix, addresses: addresses - 1, next: 0 }
    }

    /// How many endpoints there are in all.
    pub fn len(&self) -> u64 {
        self.addresses * PORTS
    }

    /// Whether there is no endpoint at all.
    pub fn is_empty(&self) -> bool {
        self.addresses == 0
    }

    /// The next endpoint, without using it up; `None` after the last.
    pub fn peek(&self) -> Option<Endpoint> {
        let (address, port) = (self.next / PORTS, self.next % PORTS);
        if address >= self.addresses {
            return None;
        }
        let addr = Address((self.prefix + u128::from(address) + 1).to_be_bytes());
        Some(Endpoint { addr, port: PORT_FIRST + u16::try_from(port).ok()? })
    }

    /// Uses the next endpoint up.
    pub fn advance(&mut self) {
        self.next += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_endpoint_of_a_prefix_comes_once() {
        let mut sources = Sources::new(Address::v4([10, 77, 16, 9]), 2);
        assert_eq!(sources.len(), 3 * 64_512);
        let mut seen = HashSet::new();
        while let Some(endpoint) = sources.peek() {
            assert!(Address::v4([10, 77, 16, 8]).shares_prefix(&endpoint.addr, 30));
            assert!(endpoint.port >= 1024);
            assert!(seen.insert(endpoint));
            sources.advance();
        }
        assert_eq!(seen.len() as u64, sources.len());
        assert!(!seen.iter().any(|endpoint| endpoint.addr == Address::v4([10, 77, 16, 8])));
    }
}
