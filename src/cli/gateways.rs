//! `--gateway`: the way to peers that are not on the link.

use super::address::{Cidr, is_host};
use crate::link::af_xdp::routes::default_gateways;
use crate::wire::addr::Address;
use anyhow::bail;
use std::net::IpAddr;

/// Routers, at most one for each link that matters.
#[derive(Debug, clap::Args)]
#[group(id = "gateways")]
pub(super) struct Args {
    /// The router to peers that are not on the link of an owned address; to clients of a server it is
    /// asked for when they do not answer the way that they came. One for each family; those of the
    /// kernel's default routes on the interface unless given.
    #[arg(long = "gateway", value_name = "ADDRESS", num_args = 1..)]
    given: Vec<IpAddr>,
}

impl Args {
    /// The gateways of an interface on which `owned` are owned, as the argument `flag` says.
    ///
    /// # Errors
    ///
    /// When one that was given is on no link of theirs.
    pub(super) fn resolve(
        &self,
        interface: &str,
        flag: &str,
        owned: &[Cidr],
    ) -> anyhow::Result<Vec<Address>> {
        for gateway in &self.given {
            if !leads(gateway, owned) {
                bail!("--gateway {gateway} is not a host on the link of any {flag}");
            }
        }
        let mut gateways = self.given.clone();
        // A family for which one is given has no others.
        let others = default_gateways(interface).into_iter();
        gateways.extend(others.filter(|other| {
            leads(other, owned)
                && !self.given.iter().any(|given| given.is_ipv4() == other.is_ipv4())
        }));
        Ok(gateways.into_iter().map(Address::from).collect())
    }
}

/// Whether `gateway` can be spoken to from one of `owned`.
fn leads(gateway: &IpAddr, owned: &[Cidr]) -> bool {
    let gateway = Address::from(*gateway);
    let on_link = |cidr: &Cidr| {
        Address::from(cidr.addr).shares_prefix(&gateway, cidr.prefix_len)
            || gateway.is_link_local() && cidr.addr.is_ipv6()
    };
    is_host(gateway.to_ip()) && owned.iter().any(on_link)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(given: &[&str]) -> anyhow::Result<Vec<Address>> {
        let given = given.iter().map(|ip| ip.parse().unwrap()).collect();
        let owned: Vec<Cidr> =
            ["10.77.0.1/16", "fd77::1/64"].iter().map(|cidr| cidr.parse().unwrap()).collect();
        Args { given }.resolve("tm-none", "--address", &owned)
    }

    #[test]
    fn a_gateway_is_on_the_link_of_an_owned_address() {
        for good in [&["10.77.0.254"][..], &["fd77::fe", "10.77.9.9"], &["fe80::1"], &[]] {
            assert_eq!(resolve(good).unwrap().len(), good.len(), "{good:?}");
        }
        for bad in ["10.78.0.254", "fd78::fe", "224.0.0.1", "0.0.0.0", "::"] {
            let error = resolve(&["10.77.0.254", bad]).unwrap_err().to_string();
            assert!(error.contains(bad) && !error.contains('\n'), "{error}");
        }
    }
}
