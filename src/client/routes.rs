//! From where to where a seat's connections go.

use crate::wire::addr::{Address, Endpoint};
use std::net::{IpAddr, SocketAddr};

/// The ends of a connection, and the service on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// This host's end.
    pub local: Endpoint,
    /// The server's.
    pub remote: Endpoint,
    /// What the service sees as [`crate::service::Context::tag`].
    pub tag: u8,
}

/// Says which way a seat's connections go.
pub trait Routes {
    /// The way of connection number `incarnation` of `seat`; the numbers wrap. Two seats never share a
    /// way. One seat's connections better differ by their ports: a server that has not heard of the end of
    /// one is not asked for it again then.
    fn route(&self, seat: u32, incarnation: u16) -> Route;
}

impl<F: Fn(u32, u16) -> Route> Routes for F {
    fn route(&self, seat: u32, incarnation: u16) -> Route {
        self(seat, incarnation)
    }
}

/// The first port: those below are the system's (RFC 6335 section 6).
const PORT_FIRST: u16 = 1_024;

/// How many ports there are.
const PORTS: u32 = (u16::MAX - PORT_FIRST) as u32 + 1;

/// From the ports of one address to one server, for up to 64,512 seats.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// This host's address.
    pub local: IpAddr,
    /// The server.
    pub remote: SocketAddr,
    /// The service on the connections: for a built-in one [`crate::service::builtin::Builtin::tag`].
    pub tag: u8,
    /// How many seats share the ports.
    pub seats: u32,
}

impl Routes for Ports {
    fn route(&self, seat: u32, incarnation: u16) -> Route {
        let seats = self.seats.clamp(1, PORTS);
        // Each seat has a port in every row.
        let row = u32::from(incarnation) % (PORTS / seats);
        let port = u16::try_from(row * seats + seat % seats).unwrap_or(0) + PORT_FIRST;
        let local = Endpoint { addr: Address::from(self.local), port };
        Route { local, remote: Endpoint::from(self.remote), tag: self.tag }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn seats_never_share_a_port_and_use_several_where_they_can() {
        for seats in [1, 2, 1_000, 40_000, PORTS] {
            let remote = "10.77.0.1:7".parse().unwrap();
            let ports = Ports { local: "10.77.0.2".parse().unwrap(), remote, tag: 3, seats };
            let mut taken = HashSet::new();
            for seat in 0..seats {
                let own: HashSet<_> =
                    (0..100).map(|n| ports.route(seat, n * 655).local.port).collect();
                assert!(own.iter().all(|port| *port >= PORT_FIRST && taken.insert(*port)));
                assert_eq!(own.len() > 1, PORTS / seats > 1, "{seats} seats");
            }
        }
    }
}
