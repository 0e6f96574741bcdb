//! The kernel's routes on an interface, as the calling thread's network namespace has them.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `RTF_UP` and `RTF_GATEWAY` of linux/route.h.
const UP: u32 = 0x1;
const GATEWAY: u32 = 0x2;
const UP_BY_GATEWAY: u32 = UP | GATEWAY;

/// The gateways of the default routes on `interface`, those of IPv4 first, and of a family the one
/// with the least metric. None where the kernel has none, or does not say.
pub fn default_gateways(interface: &str) -> Vec<IpAddr> {
    let mut gateways = gateways(&table("route"), interface, v4_route);
    gateways.extend(self::gateways(&table("ipv6_route"), interface, v6_route));
    gateways
}

/// One of the kernel's tables, empty where it does not say.
fn table(name: &str) -> String {
    fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap_or_default()
}

/// What `entry` makes of the lines of `table` that are about `interface`.
fn entries<'a, T>(
    table: &'a str,
    interface: &str,
    entry: fn(&[&'a str]) -> Option<(&'a str, T)>,
) -> Vec<T> {
    let lines = table.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let entries = lines.filter_map(|fields| entry(&fields)).filter(|&(on, _)| on == interface);
    entries.map(|(_, entry)| entry).collect()
}

/// A default route: its metric and gateway.
type Route = (u32, IpAddr);

/// The gateways of `table` on `interface`, by metric.
fn gateways<'a>(
    table: &'a str,
    interface: &str,
    route: fn(&[&'a str]) -> Option<(&'a str, Route)>,
) -> Vec<IpAddr> {
    let mut routes = entries(table, interface, route);
    routes.sort_by_key(|&(metric, _)| metric);
    routes.into_iter().map(|(_, gateway)| gateway).collect()
}

/// A line of /proc/net/route: interface, destination, gateway, flags, two counts, metric, mask.
/// Addresses are their four bytes taken for a number of this machine.
fn v4_route<'a>(fields: &[&'a str]) -> Option<(&'a str, Route)> {
    let &[interface, destination, gateway, flags, _, _, metric, mask, ..] = fields else {
        return None;
    };
    let is_default = [destination, mask] == ["00000000"; 2];
    let gateway = Ipv4Addr::from(hex(gateway)?.to_ne_bytes());
    let by_gateway = hex(flags)? & UP_BY_GATEWAY == UP_BY_GATEWAY;
    (is_default && by_gateway).then_some((interface, (metric.parse().ok()?, gateway.into())))
}

/// A line of /proc/net/ipv6_route: destination and length, source and length, next hop, metric, two
/// counts, flags, interface.
fn v6_route<'a>(fields: &[&'a str]) -> Option<(&'a str, Route)> {
    let &[_, len, _, _, gateway, metric, _, _, flags, interface] = fields else { return None };
    let gateway = Ipv6Addr::from(u128::from_str_radix(gateway, 16).ok()?);
    let by_gateway = hex(flags)? & UP_BY_GATEWAY == UP_BY_GATEWAY;
    (len == "00" && by_gateway).then_some((interface, (hex(metric)?, gateway.into())))
}

/// The networks on the link of `interface`, with the lengths of their prefixes: those that the kernel
/// reaches without a gateway.
pub fn on_link(interface: &str) -> Vec<(IpAddr, u8)> {
    let mut networks = entries(&table("route"), interface, v4_network);
    networks.extend(entries(&table("ipv6_route"), interface, v6_network));
    networks
}

/// A network without a gateway: its address and prefix length.
type Network = (IpAddr, u8);

fn v4_network<'a>(fields: &[&'a str]) -> Option<(&'a str, Network)> {
    let &[interface, destination, _, flags, _, _, _, mask, ..] = fields else { return None };
    let mask = u32::from_be_bytes(hex(mask)?.to_ne_bytes());
    let addr = Ipv4Addr::from(hex(destination)?.to_ne_bytes());
    let len = u8::try_from(mask.leading_ones()).ok()?;
    let is_direct = hex(flags)? & UP_BY_GATEWAY == UP && len > 0;
    is_direct.then_some((interface, (addr.into(), len)))
}

fn v6_network<'a>(fields: &[&'a str]) -> Option<(&'a str, Network)> {
    let &[addr, len, _, _, _, _, _, _, flags, interface] = fields else { return None };
    let addr = Ipv6Addr::from(u128::from_str_radix(addr, 16).ok()?);
    let len = u8::try_from(hex(len)?).ok()?;
    let is_direct = hex(flags)? & UP_BY_GATEWAY == UP && (1..128).contains(&len);
    (is_direct && !addr.is_multicast()).then_some((interface, (addr.into(), len)))
}

fn hex(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn gateways_of_default_routes_are_found_by_metric() {
        let table = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\tFE004D0A\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t00000000\tFD004D0A\t0003\t0\t0\t50\t00000000\t0\t0\t0
eth1\t00000000\t01020304\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t00004D0A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
eth0\t0000A8C0\tFC004D0A\t0003\t0\t0\t0\t0000FFFF\t0\t0\t0
eth0\t00000000\tFB004D0A\t0002\t0\t0\t0\t00000000\t0\t0\t0
eth0\t00000000
";
        let expected = ["10.77.0.253", "10.77.0.254"].map(|ip| ip.parse::<IpAddr>().unwrap());
        assert_eq!(gateways(table, "eth0", v4_route), expected);
        assert!(gateways(table, "eth2", v4_route).is_empty());
    }

    #[test]
    fn ipv6_gateways_too() {
        let zero = "0".repeat(32);
        let table = format!(
            "{zero} 00 {zero} 00 fe8000000000000000000000000000fe 00000400 1 0 00000003 eth0\n\
             {zero} 00 {zero} 00 fd7700000000000000000000000000fe 00000064 1 0 00000003 eth0\n\
             {zero} 00 {zero} 00 {zero} ffffffff 1 0 00200200 lo\n\
             fd770000000000000000000000000000 40 {zero} 00 {zero} 00000100 1 0 00000001 eth0\n"
        );
        let expected = ["fd77::fe", "fe80::fe"].map(|ip| ip.parse::<IpAddr>().unwrap());
        assert_eq!(gateways(&table, "eth0", v6_route), expected);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn networks_on_the_link_have_no_gateway() {
        let v4 = "Iface\tDestination\tGateway\n\
                  eth0 00000000 FE004D0A 0003 0 0 0 00000000 0 0 0\n\
                  eth0 00004D0A 00000000 0001 0 0 0 0000FFFF 0 0 0\n\
                  eth1 00005D0A 00000000 0001 0 0 0 0000FFFF 0 0 0\n";
        assert_eq!(entries(v4, "eth0", v4_network), [("10.77.0.0".parse().unwrap(), 16)]);
        let zero = "0".repeat(32);
        let v6 = format!(
            "fd770000000000000000000000000000 40 {zero} 00 {zero} 00000100 1 0 00000001 eth0\n\
             fd770000000000000000000000000002 80 {zero} 00 {zero} 00000000 2 0 80200001 eth0\n\
             ff000000000000000000000000000000 08 {zero} 00 {zero} 00000100 2 0 00000001 eth0\n\
             {zero} 00 {zero} 00 fd7700000000000000000000000000fe 00000400 1 0 00000003 eth0\n"
        );
        assert_eq!(entries(&v6, "eth0", v6_network), [("fd77::".parse().unwrap(), 64)]);
    }
}
