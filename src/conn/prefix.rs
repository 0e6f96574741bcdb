//! How many connections each prefix of peers' addresses has.

use super::table::OutOfMemory;
use crate::wire::addr::{Address, Secret};
use core::hash::{Hash as _, Hasher as _};
use hashbrown::HashTable;
use siphasher::sip::SipHasher13;

/// A limit of the connections that the addresses of one prefix have together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixLimit {
    /// Connections at once, in every state.
    pub connections_max: u32,
    /// The length of an IPv4 prefix, in bits: 0 to 32.
    pub v4_len: u8,
    /// The length of an IPv6 prefix, in bits: 0 to 128.
    pub v6_len: u8,
}

impl PrefixLimit {
    /// `connections_max` for each IPv4 address, and for each IPv6 /64: the part of an IPv6 address
    /// that one host chooses at will (RFC 4291 section 2.5.1).
    pub const fn new(connections_max: u32) -> PrefixLimit {
        PrefixLimit { connections_max, v4_len: 32, v6_len: 64 }
    }
}

/// The prefixes that have connections, each with their number.
pub(super) struct Prefixes {
    limit: PrefixLimit,
    counts: HashTable<(Address, u32)>,
    hasher: SipHasher13,
}

impl Prefixes {
    /// Room for `capacity` connections, each of another prefix; `secret` keys the hash.
    ///
    /// # Errors
    ///
    /// When there is not so much memory.
    pub(super) fn new(
        limit: PrefixLimit,
        capacity: u32,
        secret: Secret,
    ) -> Result<Prefixes, OutOfMemory> {
        let mut counts = HashTable::new();
        // Twice as many places: hashbrown then clears the traces of removed entries in place, and
        // never by moving to a larger table.
        counts.try_reserve(2 * capacity as usize, |_| 0).map_err(|_| OutOfMemory(capacity))?;
        Ok(Prefixes { limit, counts, hasher: SipHasher13::new_with_key(&secret.0) })
    }

    /// The most memory that the prefixes of `capacity` connections take, in bytes: hashbrown has a power
    /// of two of places, of which it fills 7/8, and a control byte for each.
    pub(super) fn bytes(capacity: u32) -> u64 {
        let places = (2 * u64::from(capacity) * 8 / 7).next_power_of_two();
        places * (size_of::<(Address, u32)>() as u64 + 1)
    }

    /// Whether the prefix of `addr` has as many connections as it may have.
    pub(super) fn is_full(&self, addr: &Address) -> bool {
        let prefix = self.prefix(addr);
        let count = self.counts.find(hash(self.hasher, &prefix), |(other, _)| *other == prefix);
        count.map_or(0, |&(_, count)| count) >= self.limit.connections_max
    }

    /// Counts a connection of `addr`.
    pub(super) fn add(&mut self, addr: &Address) {
        let (prefix, hasher) = (self.prefix(addr), self.hasher);
        let rehash = |(other, _): &(Address, u32)| hash(hasher, other);
        self.counts
            .entry(hash(hasher, &prefix), |(other, _)| *other == prefix, rehash)
            .or_insert((prefix, 0))
            .get_mut()
            .1 += 1;
    }

    /// Counts a connection of `addr` no more; a prefix without connections is forgotten.
    pub(super) fn remove(&mut self, addr: &Address) {
        let prefix = self.prefix(addr);
        let found =
            self.counts.find_entry(hash(self.hasher, &prefix), |(other, _)| *other == prefix);
        if let Ok(mut entry) = found {
            let (_, count) = entry.get_mut();
            *count -= 1;
            if *count == 0 {
                entry.remove();
            }
        }
    }

    /// How many prefixes have connections.
    pub(super) fn len(&self) -> usize {
        self.counts.len()
    }

    fn prefix(&self, addr: &Address) -> Address {
        addr.prefix(if addr.is_v4() { self.limit.v4_len } else { self.limit.v6_len })
    }
}

fn hash(mut hasher: SipHasher13, prefix: &Address) -> u64 {
    prefix.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> Address {
        Address::from(text.parse::<core::net::IpAddr>().unwrap())
    }

    #[test]
    fn addresses_of_one_prefix_are_counted_together_and_forgotten_at_zero() {
        let limit = PrefixLimit { v4_len: 24, ..PrefixLimit::new(2) };
        let mut prefixes = Prefixes::new(limit, 8, Secret([1; 16])).unwrap();
        for pair in [["10.77.0.1", "10.77.0.255"], ["fd77::1", "fd77::ffff:1"]] {
            let [a, b] = pair.map(addr);
            prefixes.add(&a);
            assert!(!prefixes.is_full(&b));
            prefixes.add(&b);
            assert!(prefixes.is_full(&a) && prefixes.is_full(&b));
        }
        assert_eq!(prefixes.len(), 2);
        for other in ["10.77.1.1", "fd77:0:0:1::1"] {
            assert!(!prefixes.is_full(&addr(other)));
        }
        for gone in ["10.77.0.255", "10.77.0.1", "fd77::1", "fd77::ffff:1"] {
            prefixes.remove(&addr(gone));
            assert!(!prefixes.is_full(&addr(gone)));
        }
        assert_eq!(prefixes.len(), 0);
    }

    #[test]
    fn coming_and_going_never_makes_the_table_larger() {
        let mut prefixes = Prefixes::new(PrefixLimit::new(1), 64, Secret([1; 16])).unwrap();
        let capacity = prefixes.counts.capacity();
        let nth = |n: u32| Address::v4(n.to_be_bytes());
        for n in 0..100_000 {
            prefixes.add(&nth(n));
            if let Some(old) = n.checked_sub(63) {
                prefixes.remove(&nth(old));
            }
            assert!(prefixes.counts.capacity() <= capacity, "{n}");
        }
        assert_eq!(prefixes.len(), 63);
    }
}
