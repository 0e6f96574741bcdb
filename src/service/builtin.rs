//! The services of `tenmil serve`, chosen by name.

use super::{Context, RECEIVE_WINDOW, Service, line};
use core::fmt;
use core::str::FromStr;

/// A built-in service. Its number is the tag of its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Builtin {
    /// Sends back what it receives (RFC 862), and closes when its client does.
    Echo,
    /// Receives and forgets (RFC 863).
    Discard,
    /// `PING` answered `PONG`, `QUIT` answered by closing, any other line sent back: see [`mod@line`].
    Line,
}

impl Builtin {
    /// All built-in services.
    pub const ALL: [Builtin; 3] = [Builtin::Echo, Builtin::Discard, Builtin::Line];

    /// The service's name in a `--listen` URL.
    pub const fn name(self) -> &'static str {
        match self {
            Builtin::Echo => "echo",
            Builtin::Discard => "discard",
            Builtin::Line => "line",
        }
    }

    /// The tag of the service's connections.
    pub const fn tag(self) -> u8 {
        self as u8
    }

    /// The service with this tag. Others are none of ours: what comes on them is forgotten.
    pub(crate) fn of_tag(tag: u8) -> Builtin {
        Builtin::ALL.get(usize::from(tag)).copied().unwrap_or(Builtin::Discard)
    }
}

impl fmt::Display for Builtin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no service of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown service '{0}': there are echo, discard and line")]
pub struct UnknownService(pub String);

impl FromStr for Builtin {
    type Err = UnknownService;

    fn from_str(name: &str) -> Result<Builtin, UnknownService> {
        let found = Builtin::ALL.into_iter().find(|service| service.name() == name);
        found.ok_or_else(|| UnknownService(name.to_owned()))
    }
}

/// The [`Service`] that all listeners of `tenmil serve` share.
#[derive(Clone, Copy, Debug, Default)]
pub struct Builtins;

impl Service for Builtins {
    fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
        match Builtin::of_tag(conn.tag()) {
            Builtin::Echo => conn.send(bytes),
            Builtin::Discard => bytes.len(),
            Builtin::Line => line::on_data(conn, bytes),
        }
    }

    fn receive_window(&self, tag: u8) -> u16 {
        match Builtin::of_tag(tag) {
            Builtin::Discard => u16::MAX,
            Builtin::Echo | Builtin::Line => RECEIVE_WINDOW,
        }
    }
}
