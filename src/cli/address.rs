//! CIDRs and URLs of services as arguments.

use super::liveness::{self, Overrides};
use crate::service::builtin::{Builtin, Setup, UnknownService};
use crate::service::settings::{BadSetting, Settings};
use crate::wire::addr::Address;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// An address and the length of its link's prefix: `10.77.0.1/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cidr {
    pub(super) addr: IpAddr,
    pub(super) prefix_len: u8,
}

impl Cidr {
    /// The length of a prefix that holds `addr` alone.
    pub(super) fn host_len(&self) -> u8 {
        if self.addr.is_ipv4() { 32 } else { 128 }
    }
}

/// Why an argument is no [`Cidr`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadCidr {
    #[error("'{0}' is not ADDRESS/PREFIX, for example 10.77.0.1/16 or fd77::1/64")]
    Form(String),
    #[error("the prefix of '{0}' is not from 1 to {1}")]
    Prefix(String, u8),
    #[error("'{0}' is not an address that a host can have")]
    NoHost(String),
}

impl FromStr for Cidr {
    type Err = BadCidr;

    fn from_str(text: &str) -> Result<Cidr, BadCidr> {
        let form = || BadCidr::Form(text.to_owned());
        let (addr, prefix_len) = text.split_once('/').ok_or_else(form)?;
        let addr: IpAddr = addr.parse().map_err(|_| form())?;
        let longest = if addr.is_ipv4() { 32 } else { 128 };
        let prefix_len = prefix_len.parse().ok().filter(|len| (1..=longest).contains(len));
        let prefix_len = prefix_len.ok_or_else(|| BadCidr::Prefix(text.to_owned(), longest))?;
        match is_host(addr) {
            true => Ok(Cidr { addr, prefix_len }),
            false => Err(BadCidr::NoHost(text.to_owned())),
        }
    }
}

/// A service and where it listens: `echo://10.77.0.1:7`, `line://[fd77::1]:7000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListenUrl {
    pub(super) endpoint: SocketAddr,
    /// The service, and what the query sets for it.
    pub(super) setup: Setup,
    /// What the query changes in how silent peers are found.
    pub(super) overrides: Overrides,
}

/// Why an argument is no [`ListenUrl`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadUrl {
    #[error(
        "'{0}' is not SERVICE://ADDRESS:PORT, for example echo://10.77.0.1:7 or line://[fd77::1]:7000"
    )]
    Form(String),
    #[error(transparent)]
    Service(#[from] UnknownService),
    #[error("'{0}': {1}")]
    Query(String, BadSetting),
    #[error("'{0}': what follows a ? is for listeners; a target has nothing like it")]
    TargetQuery(String),
    #[error("'{0}': port 0 cannot be listened on")]
    PortZero(String),
    #[error("'{0}': not an address that a host can have; name the one to listen on")]
    NoHost(String),
}

impl FromStr for ListenUrl {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<ListenUrl, BadUrl> {
        let form = || BadUrl::Form(text.to_owned());
        let (service, endpoint) = text.split_once("://").ok_or_else(form)?;
        let service = service.parse::<Builtin>()?;
        let (endpoint, query) = endpoint.split_once('?').unwrap_or((endpoint, ""));
        let set = parse_query(service, query);
        let (setup, overrides) = set.map_err(|error| BadUrl::Query(text.to_owned(), error))?;
        let endpoint: SocketAddr = endpoint.parse().map_err(|_| form())?;
        if endpoint.port() == 0 {
            return Err(BadUrl::PortZero(text.to_owned()));
        }
        match is_host(endpoint.ip()) {
            true => Ok(ListenUrl { endpoint, setup, overrides }),
            false => Err(BadUrl::NoHost(text.to_owned())),
        }
    }
}

/// What `query` sets for a listener of `service`.
fn parse_query(service: Builtin, query: &str) -> Result<(Setup, Overrides), BadSetting> {
    let mut settings = Settings::parse(query)?;
    let overrides = Overrides::parse(&mut settings)?;
    let setup = Setup::parse(service, &mut settings)?;
    settings.finish(|| {
        let own = match service.keys() {
            [] => "has no settings of its own".to_owned(),
            keys => format!("has {}", keys.join(", ")),
        };
        format!("{service} {own}, and every listener {}", liveness::KEYS.join(", "))
    })?;
    Ok((setup, overrides))
}

/// A service and where it is connected to, written as a [`ListenUrl`] without a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TargetUrl(pub(super) ListenUrl);

impl FromStr for TargetUrl {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<TargetUrl, BadUrl> {
        match text.contains('?') {
            true => Err(BadUrl::TargetQuery(text.to_owned())),
            false => text.parse().map(TargetUrl),
        }
    }
}

impl fmt::Display for ListenUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.setup.service(), self.endpoint)
    }
}

/// Whether a host can have `addr`; IPv4-mapped IPv6 addresses are not addresses on a wire.
pub(super) fn is_host(addr: IpAddr) -> bool {
    let is_mapped = matches!(addr, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    !is_mapped && Address::from(addr).is_valid_source()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_arguments_parse() {
        let cidr: Cidr = "fd77::1/64".parse().unwrap();
        assert_eq!((cidr.addr.to_string().as_str(), cidr.prefix_len), ("fd77::1", 64));
        let url: ListenUrl = "line://[fd77::1]:7000".parse().unwrap();
        assert_eq!(
            (url.setup.service(), url.to_string().as_str()),
            (Builtin::Line, "line://[fd77::1]:7000")
        );
    }

    #[test]
    fn bad_arguments_say_what_is_wrong_in_one_line() {
        for (text, says) in [
            ("10.77.0.1", "is not ADDRESS/PREFIX"),
            ("10.77.0.1/33", "not from 1 to 32"),
            ("fd77::1/0", "not from 1 to 128"),
            ("10.77.0.256/8", "is not ADDRESS/PREFIX"),
            ("224.0.0.1/8", "not an address that a host can have"),
            ("::ffff:10.0.0.1/96", "not an address that a host can have"),
        ] {
            let error = text.parse::<Cidr>().unwrap_err().to_string();
            assert!(error.contains(says) && error.contains(text), "{text}: {error}");
        }
        for (text, says) in [
            ("10.77.0.1:7", "is not SERVICE://ADDRESS:PORT"),
            ("echo://10.77.0.1", "is not SERVICE://ADDRESS:PORT"),
            ("echo://fd77::1:7", "is not SERVICE://ADDRESS:PORT"),
            ("echo://10.77.0.1:70000", "is not SERVICE://ADDRESS:PORT"),
            ("echo://10.77.0.1:0", "port 0"),
            ("echo://10.77.0.1:7?keepalive-time=soon", "no value"),
            ("echo://10.77.0.1:7?heartbeat=60s", "echo has no settings of its own, and every"),
            ("line://10.77.0.1:7?heartbeet=60s", "unknown 'heartbeet': line has heartbeat, and"),
            ("line://10.77.0.1:7?heartbeat=often", "such as heartbeat=60s"),
            ("echo://0.0.0.0:7", "not an address that a host can have"),
        ] {
            let error = text.parse::<ListenUrl>().unwrap_err().to_string();
            assert!(error.contains(says) && error.contains(text), "{text}: {error}");
        }
        let error = "echo://10.77.0.1:7?keepalive=off".parse::<TargetUrl>().unwrap_err();
        assert!(error.to_string().contains("for listeners"), "{error}");
        let error = "finger://10.77.0.1:79".parse::<ListenUrl>().unwrap_err().to_string();
        assert_eq!(
            error,
            "unknown service 'finger': there are echo, discard, line, http, ws, dubbo and mqtt"
        );
    }
}
