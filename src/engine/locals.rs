//! Which addresses are this engine's, and which of their endpoints accept connections.

use crate::tcp::keepalive::Profile;
use crate::wire::addr::{Address, Endpoint};

/// Addresses that the engine answers for alone: ARP, NDP, ICMP and TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owned {
    /// An owned address.
    pub addr: Address,
    /// All addresses that share this many leading bits with `addr` are owned: 32 or 128 for one.
    pub range_len: u8,
    /// All addresses that share this many leading bits with `addr` are on the link, and reached
    /// without a gateway.
    pub link_len: u8,
}

impl Owned {
    /// Whether `addr` is owned with this.
    pub fn holds(&self, addr: &Address) -> bool {
        self.addr.shares_prefix(addr, self.range_len)
    }

    /// Whether this is more than one address.
    pub fn is_range(&self) -> bool {
        self.range_len < if self.addr.is_v4() { 32 } else { 128 }
    }
}

/// An endpoint that accepts connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The address and port.
    pub endpoint: Endpoint,
    /// The tag of its connections: which service runs on them.
    pub tag: u8,
    /// How its connections find out that their peers have gone, if not as
    /// [`super::config::Config::profile`] says.
    pub profile: Option<Profile>,
}

/// The addresses and endpoints of an engine.
#[derive(Debug)]
pub struct Locals {
    owned: Vec<Owned>,
    listeners: Vec<Listener>,
    gateways: Vec<Address>,
}

impl Locals {
    /// Of two listeners on one endpoint the first counts.
    pub fn new(owned: Vec<Owned>, mut listeners: Vec<Listener>, gateways: Vec<Address>) -> Locals {
        listeners.sort_by_key(|listener| listener.endpoint);
        listeners.dedup_by_key(|listener| listener.endpoint);
        Locals { owned, listeners, gateways }
    }

    /// The range that `addr` is owned in, if it is owned.
    pub fn owned(&self, addr: &Address) -> Option<&Owned> {
        self.owned.iter().find(|owned| owned.holds(addr))
    }

    /// Whether `addr` is this engine's: owned, or that of a listener.
    pub fn is_local(&self, addr: &Address) -> bool {
        // In the order of endpoints they are in that of addresses, too.
        let listens = || self.listeners.binary_search_by_key(addr, |other| other.endpoint.addr);
        self.owned(addr).is_some() || listens().is_ok()
    }

    /// The listener on `endpoint`.
    pub fn listener(&self, endpoint: &Endpoint) -> Option<&Listener> {
        let found = self.listeners.binary_search_by_key(endpoint, |listener| listener.endpoint);
        found.ok().map(|at| &self.listeners[at])
    }

    /// Whether `remote` is on the link of the owned address `local`.
    fn is_on_link(&self, local: &Address, remote: &Address) -> bool {
        self.owned(local).is_some_and(|owned| owned.addr.shares_prefix(remote, owned.link_len))
    }

    /// Where packets from the owned address `local` to `remote` go first: to `remote` itself on the
    /// link, else to the first gateway that is on the link (RFC 1122 section 3.3.1.1); `None` if there
    /// is no way.
    pub fn next_hop(&self, local: &Address, remote: &Address) -> Option<Address> {
        if self.is_on_link(local, remote) {
            return Some(*remote);
        }
        let leads = |gateway: &&Address| {
            local.is_v4() == remote.is_v4()
                && local.is_v4() == gateway.is_v4()
                && (self.is_on_link(local, gateway) || gateway.is_link_local())
        };
        self.gateways.iter().find(leads).copied()
    }

    /// Whether `addr` is the broadcast address of an owned IPv4 link (RFC 1122 section 3.2.1.3).
    pub fn is_broadcast(&self, addr: &Address) -> bool {
        addr.is_v4()
            && self.owned.iter().any(|owned| {
                let host_bits = u32::MAX.checked_shr(u32::from(owned.link_len)).unwrap_or(0);
                owned.link_len < 31
                    && owned.addr.shares_prefix(addr, owned.link_len)
                    && u32::from_be_bytes(addr.v4_octets()) | !host_bits == u32::MAX
            })
    }
}
