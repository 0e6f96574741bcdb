//! Which connection goes from where to where: pairs of a source endpoint and a target, each once.

use super::sources::{PORTS, Prefix, Sources};
use crate::service::builtin::Builtin;
use crate::wire::addr::{Address, Endpoint};
use core::fmt;

/// A service, and where it listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// What is spoken there.
    pub service: Builtin,
    /// Where.
    pub endpoint: Endpoint,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{:?}", self.service, self.endpoint)
    }
}

/// Pairs of a source endpoint and a target. Connections go to the targets in turn, and each target has
/// the source endpoints of its family to itself: computed from the pair's number, without memory.
#[derive(Clone, Debug)]
pub struct Flows {
    sources: Sources,
    targets: Vec<Target>,
    len: u64,
}

/// Why there are not so many pairs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlowsError {
    /// No target at all.
    #[error("there is no target")]
    NoTarget,
    /// A target is there twice, so pairs would be.
    #[error("the target {0} is given twice")]
    TargetTwice(Target),
    /// A target's address is one of the sources'.
    #[error("the target {0} is in the source prefix {1}")]
    OwnTarget(Target, Cidr),
    /// Two source prefixes have addresses in common.
    #[error("the source prefixes {0} and {1} overlap")]
    Overlap(Cidr, Cidr),
    /// No source has the family of a target.
    #[error("the target {target} is {}, and no source is", family(.target.endpoint.addr.is_v4()))]
    NoSource {
        /// The target.
        target: Target,
    },
    /// No target has the family of a source.
    #[error("the source prefix {source_prefix} is {}, and no target is", family(.source_prefix.0.0.is_v4()))]
    NoTargetOfFamily {
        /// The prefix.
        source_prefix: Cidr,
    },
    /// There are too few addresses of a family.
    #[error(
        "{connections} connections to {targets} target(s) take {needed} {} source addresses with {PORTS} \
         ports each, and there are {present}; {} would do",
        family(*.is_v4),
        enough(*.is_v4, *.needed)
    )]
    TooFewAddresses {
        /// How many connections are asked for.
        connections: u64,
        /// To how many targets.
        targets: u64,
        /// The family.
        is_v4: bool,
        /// How many addresses are needed.
        needed: u64,
        /// How many there are.
        present: u64,
    },
}

/// A prefix that is written `ADDRESS/LENGTH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr(pub Prefix);

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{}", self.0.0, self.0.1)
    }
}

fn family(is_v4: bool) -> &'static str {
    if is_v4 { "IPv4" } else { "IPv6" }
}

/// The longest prefix with so many addresses that are used.
fn enough(is_v4: bool, needed: u64) -> String {
    let addr = if is_v4 { Address::v4([0; 4]) } else { Address([0; 16]) };
    let longest: u8 = if is_v4 { 32 } else { 128 };
    let fits = |len: &u8| Sources::new(&[(addr, *len)]).addresses(is_v4) >= needed;
    match (1..=longest).rev().find(fits) {
        Some(len) => format!("a /{len}"),
        None => "no single prefix".to_owned(),
    }
}

impl Flows {
    /// `len` pairs of endpoints of `prefixes` with `targets`.
    ///
    /// # Errors
    ///
    /// [`FlowsError`].
    pub fn new(prefixes: &[Prefix], targets: &[Target], len: u64) -> Result<Flows, FlowsError> {
        check(prefixes, targets)?;
        let sources = Sources::new(prefixes);
        let count = targets.len() as u64;
        let needed = len.div_ceil(count).div_ceil(PORTS);
        for target in targets {
            let is_v4 = target.endpoint.addr.is_v4();
            let present = sources.addresses(is_v4);
            if needed > present {
                return Err(FlowsError::TooFewAddresses {
                    connections: len,
                    targets: count,
                    is_v4,
                    needed,
                    present,
                });
            }
        }
        Ok(Flows { sources, targets: targets.to_vec(), len })
    }

    /// How many pairs there are.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no pair at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The targets.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// Pair number `n`; after the last the first comes again.
    ///
    /// # Panics
    ///
    /// When there is no pair at all.
    pub fn get(&self, n: u64) -> (Endpoint, Target) {
        let (count, n) = (self.targets.len() as u64, n % self.len);
        #[expect(clippy::cast_possible_truncation, reason = "below the number of targets")]
        let target = self.targets[(n % count) as usize];
        let source = self.sources.get(target.endpoint.addr.is_v4(), n / count);
        (source.expect("counted when the pairs were made"), target)
    }
}

/// Whether the pairs of `prefixes` and `targets` exist, and are all different.
fn check(prefixes: &[Prefix], targets: &[Target]) -> Result<(), FlowsError> {
    if targets.is_empty() {
        return Err(FlowsError::NoTarget);
    }
    for (at, &(addr, len)) in prefixes.iter().enumerate() {
        let overlap = |other: &&Prefix| addr.shares_prefix(&other.0, len.min(other.1));
        if let Some(&other) = prefixes[..at].iter().find(overlap) {
            return Err(FlowsError::Overlap(Cidr(other), Cidr((addr, len))));
        }
        if !targets.iter().any(|target| target.endpoint.addr.is_v4() == addr.is_v4()) {
            return Err(FlowsError::NoTargetOfFamily { source_prefix: Cidr((addr, len)) });
        }
    }
    for (at, target) in targets.iter().enumerate() {
        let addr = target.endpoint.addr;
        if targets[..at].iter().any(|other| other.endpoint == target.endpoint) {
            return Err(FlowsError::TargetTwice(*target));
        }
        if let Some(&own) = prefixes.iter().find(|(source, len)| source.shares_prefix(&addr, *len))
        {
            return Err(FlowsError::OwnTarget(*target, Cidr(own)));
        }
        if !prefixes.iter().any(|(source, _)| source.is_v4() == addr.is_v4()) {
            return Err(FlowsError::NoSource { target: *target });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{HashMap, HashSet};
    use std::net::SocketAddr;

    fn prefix(text: &str) -> Prefix {
        let (addr, len) = text.split_once('/').unwrap();
        (Address::from(addr.parse::<std::net::IpAddr>().unwrap()), len.parse().unwrap())
    }

    fn target(text: &str) -> Target {
        let endpoint = Endpoint::from(text.parse::<SocketAddr>().unwrap());
        Target { service: Builtin::Line, endpoint }
    }

    fn flows(prefixes: &[&str], targets: &[&str], len: u64) -> Result<Flows, FlowsError> {
        let prefixes: Vec<_> = prefixes.iter().map(|text| prefix(text)).collect();
        let targets: Vec<_> = targets.iter().map(|text| target(text)).collect();
        Flows::new(&prefixes, &targets, len)
    }

    #[test]
    fn every_pair_comes_once_and_every_target_gets_its_share() {
        let targets = ["10.77.0.1:7", "10.77.0.1:8", "[fd77::1]:7"];
        let len = 3 * PORTS;
        let flows = flows(&["10.77.16.9/32", "fd77::1:0/128"], &targets, len).unwrap();
        let (mut seen, mut shares) = (HashSet::new(), HashMap::new());
        for n in 0..len {
            let (source, target) = flows.get(n);
            assert_eq!(source.addr.is_v4(), target.endpoint.addr.is_v4());
            assert!(seen.insert((source, target.endpoint)), "{n}");
            *shares.entry(target.endpoint).or_insert(0) += 1;
        }
        assert!(shares.values().all(|&share| share == PORTS) && shares.len() == 3);
        assert_eq!(flows.get(len), flows.get(0), "from the start again");
    }

    #[test]
    fn too_few_addresses_say_how_many_are_needed() {
        let one = ["10.77.0.1:7"];
        assert!(flows(&["10.77.16.0/30"], &one, 2 * PORTS).is_ok());
        let error = flows(&["10.77.16.0/30"], &one, 2 * PORTS + 1).unwrap_err().to_string();
        let says = "129025 connections to 1 target(s) take 3 IPv4 source addresses with 64512 ports \
                    each, and there are 2; a /29 would do";
        assert_eq!(error, says);
        let error = flows(&["10.77.16.0/24"], &one, 10_000_000_000).unwrap_err().to_string();
        assert!(error.contains("155010") && error.contains("/14"), "{error}");
        assert!(flows(&["10.77.16.0/20"], &one, 10_000_000).is_ok(), "the demo's");
    }

    #[test]
    fn pairs_that_cannot_be_are_refused_in_one_line() {
        for (prefixes, targets, says) in [
            (&["10.77.16.0/20"][..], &["[fd77::1]:7"][..], "10.77.16.0/20 is IPv4, and no target"),
            (&["10.77.16.0/20"], &["10.77.0.1:7", "[fd77::1]:7"], "line://[fd77::1]:7 is IPv6"),
            (&["10.77.16.0/20", "fd77::/112"], &["10.77.0.1:7"], "fd77::/112 is IPv6"),
            (&["10.77.16.0/20", "10.77.17.0/24"], &["10.77.0.1:7"], "overlap"),
            (&["10.77.0.0/16"], &["10.77.0.1:7"], "is in the source prefix 10.77.0.0/16"),
            (&["10.77.16.0/20"], &["10.77.0.1:7", "10.77.0.1:7"], "twice"),
            (&["10.77.16.0/20"], &[], "no target"),
        ] {
            let error = flows(prefixes, targets, 10).unwrap_err().to_string();
            assert!(error.contains(says) && !error.contains('\n'), "{says}: {error}");
        }
    }
}
