//! A script: settings, then lines that each happen some time after the one before.

use std::net::IpAddr;
use std::time::Duration;

use tenmil::conn::record::State;
use tenmil::drops::DropReason;
use tenmil::engine::CommandError;
use tenmil::engine::counters::Counters;
use tenmil::service::builtin::Builtin;
use tenmil::tcp::CloseReason;
use tenmil::tcp::keepalive::Profile;

use crate::options::TcpOption;
use crate::packet::{Family, Wrapping};

/// A parsed script.
#[derive(Debug)]
pub(crate) struct Script {
    /// Its name: that of its file, without the extension.
    pub(crate) name: String,
    pub(crate) settings: Settings,
    pub(crate) lines: Vec<Line>,
}

/// How the stack under test is set up, and what the peer starts with.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// `family ipv4`: `None` for both.
    pub(crate) family: Option<Family>,
    /// `service echo`
    pub(crate) service: Builtin,
    /// `service echo stays`: it does not close when the peer does.
    pub(crate) stays: bool,
    /// `service echo closes`: it closes as soon as the connection opens.
    pub(crate) closes: bool,
    /// `service echo greets "hello"`: what it sends as soon as the connection opens.
    pub(crate) greeting: Vec<u8>,
    /// `keepalive 7200 75 9` and `user_timeout 30`, in seconds
    pub(crate) profile: Profile,
    /// `time_wait 60`, in seconds
    pub(crate) time_wait: Option<Duration>,
    pub(crate) mtu: Option<u16>,
    pub(crate) connections_max: Option<u32>,
    pub(crate) half_open_max: Option<u32>,
    pub(crate) flights_max: Option<u32>,
    pub(crate) promoted_max: Option<u32>,
    pub(crate) promoted_buffer: Option<u16>,
    pub(crate) promote_always: bool,
    pub(crate) resets_per_second: Option<u32>,
    pub(crate) challenges_per_second: Option<u32>,
    /// `isn 100`: the peer's first sequence number.
    pub(crate) isn: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            family: None,
            service: Builtin::Echo,
            stays: false,
            closes: false,
            greeting: Vec::new(),
            profile: Profile::default(),
            time_wait: None,
            mtu: None,
            connections_max: None,
            half_open_max: None,
            flights_max: None,
            promoted_max: None,
            promoted_buffer: None,
            promote_always: false,
            resets_per_second: None,
            challenges_per_second: None,
            // Sequence numbers wrap in most scripts.
            isn: 0xffff_fff0,
        }
    }
}

/// `+1.5 [2] > . 1:1(0) ack 1`
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// Its number in the file, from 1.
    pub(crate) number: usize,
    /// The line as it was written.
    pub(crate) text: String,
    /// How long after the line before it happens.
    pub(crate) after: Duration,
    /// Which of the script's connections it is about, from 1.
    pub(crate) conn: u16,
    pub(crate) action: Action,
}

/// What happens, or is to be found.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// Nothing: only the time passes.
    Wait,
    /// The peer sends a segment.
    Inject(Said, Wrapping),
    /// The peer or a router sends an ICMP error.
    InjectIcmp(IcmpError, Wrapping),
    /// The stack has sent this segment.
    Expect(Said),
    /// The stack opens a connection to the peer.
    Connect,
    /// The stack is to open one to this address, and does not as it is no host's.
    ConnectRefused(IpAddr),
    /// The service sends: so many bytes, or these.
    Send(Content, Outcome),
    /// The service closes.
    Close(Outcome),
    /// The service gives the connection up.
    Abort(Outcome),
    /// The connection gets another keepalive profile.
    SetProfile(Profile),
    /// The connection has ended, for this reason.
    Closed(CloseReason),
    /// The one connection is in this state; `Free` for no connection.
    State(State),
    /// So many frames were dropped for this reason so far.
    Drops(DropReason, u64),
    /// The counter of this name is at this.
    Count(String, u64),
    /// The service has received so many bytes, or these.
    Received(Content),
}

/// Bytes: of the pattern that the runner makes, or as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Pattern(u32),
    Text(Vec<u8>),
}

/// What a command returns.
pub(crate) type Outcome = Result<(), CommandError>;

/// A segment with relative sequence numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    pub(crate) flags: u8,
    pub(crate) seq: u32,
    pub(crate) len: u32,
    pub(crate) ack: Option<u32>,
    pub(crate) window: Option<u16>,
    pub(crate) urgent: u16,
    pub(crate) options: Vec<TcpOption>,
    /// The payload as written, or `None` for the pattern's.
    pub(crate) text: Option<Vec<u8>>,
    pub(crate) source_port: Option<u16>,
    pub(crate) target_port: Option<u16>,
    pub(crate) reserved: u8,
    pub(crate) isn: Isn,
}

/// What is known of the initial sequence number of a SYN that is expected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Isn {
    /// The first SYN's is learned, and that of later ones is the same.
    #[default]
    Same,
    /// `isn higher`: it is past every number of the connection before.
    Higher,
    /// `isn +1000`: it is this much past that of the connection before.
    Plus(u32),
}

/// `icmp refused seq 1`
#[derive(Clone, Debug)]
pub(crate) struct IcmpError {
    pub(crate) kind: IcmpKind,
    /// The relative sequence number of the segment that is quoted.
    pub(crate) seq: u32,
}

/// The kinds of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IcmpKind {
    TooBig(u16),
    Refused,
    Prohibited,
    NoRoute,
    HostUnreachable,
    TimeExceeded,
    ParameterProblem,
    SourceQuench,
}

impl IcmpKind {
    /// Type and code of the message (RFC 792, RFC 4443).
    pub(crate) const fn type_and_code(self, family: Family) -> (u8, u8) {
        match (family, self) {
            (Family::Ipv4, IcmpKind::TooBig(_)) => (3, 4),
            (Family::Ipv6, IcmpKind::TooBig(_)) => (2, 0),
            (Family::Ipv4, IcmpKind::Refused) => (3, 3),
            (Family::Ipv6, IcmpKind::Refused) => (1, 4),
            (Family::Ipv4, IcmpKind::Prohibited) => (3, 13),
            (Family::Ipv6, IcmpKind::Prohibited) => (1, 1),
            (Family::Ipv4, IcmpKind::NoRoute) => (3, 0),
            (Family::Ipv6, IcmpKind::NoRoute) => (1, 0),
            (Family::Ipv4, IcmpKind::HostUnreachable) => (3, 1),
            (Family::Ipv6, IcmpKind::HostUnreachable) => (1, 3),
            (Family::Ipv4, IcmpKind::TimeExceeded) => (11, 0),
            (Family::Ipv6, IcmpKind::TimeExceeded) => (3, 0),
            (Family::Ipv4, IcmpKind::ParameterProblem) => (12, 0),
            (Family::Ipv6, IcmpKind::ParameterProblem) => (4, 0),
            // There is none over IPv6; a script that uses it is for IPv4.
            (_, IcmpKind::SourceQuench) => (4, 0),
        }
    }
}

/// The counter of this name.
pub(crate) fn counter(name: &str) -> Option<fn(&Counters) -> u64> {
    Some(match name {
        "accepted" => |counters| counters.accepted,
        "connected" => |counters| counters.connected,
        "retransmitted" => |counters| counters.retransmitted,
        "probes" => |counters| counters.probes,
        "mtu_lowered" => |counters| counters.mtu_lowered,
        "resets" => |counters| counters.resets,
        "challenges" => |counters| counters.challenges,
        "challenges_limited" => |counters| counters.challenges_limited,
        "promotions" => |counters| counters.promotions,
        "promotions_refused" => |counters| counters.promotions_refused,
        "promoted" => |counters| counters.promoted,
        "cookies_sent" => |counters| counters.cookies_sent,
        "cookies_accepted" => |counters| counters.cookies_accepted,
        "half_open" => |counters| counters.half_open,
        "established" => |counters| counters.established,
        "connections" => |counters| counters.connections,
        _ => return None,
    })
}

/// The states, as scripts name them.
pub(crate) const STATES: [(&str, State); 10] = [
    ("none", State::Free),
    ("syn-sent", State::SynSent),
    ("syn-received", State::SynReceived),
    ("established", State::Established),
    ("fin-wait-1", State::FinWait1),
    ("fin-wait-2", State::FinWait2),
    ("close-wait", State::CloseWait),
    ("closing", State::Closing),
    ("last-ack", State::LastAck),
    ("time-wait", State::TimeWait),
];
