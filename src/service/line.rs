//! The heartbeat of lines: `PING\n` is answered `PONG\n`, `QUIT\n` is answered by closing, and any
//! other line is sent back.
//!
//! A line may arrive in any pieces. What has come of it is sent back as it comes, except while it
//! could still become `PING` or `QUIT`: those bytes are known from their number alone, so one byte
//! of state is all that a connection needs for it, and four more where silence has a limit.

use super::settings::{BadSetting, Settings};
use super::{Context, Service, ServiceState};
use crate::tcp::CloseReason;
use crate::time::{Duration, Tick};

/// The heartbeat.
pub const PING: &[u8] = b"PING\n";
/// The answer to a heartbeat.
pub const PONG: &[u8] = b"PONG\n";
/// The request to close.
pub const QUIT: &[u8] = b"QUIT\n";

/// Where in a line the connection is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// This many bytes of `PING\n` have come, and nothing else.
    Ping(u8),
    /// This many bytes of `QUIT\n` have come, and nothing else; at least one.
    Quit(u8),
    /// In a line that is neither; its bytes were sent back.
    Other,
}

impl Place {
    const START: Place = Place::Ping(0);

    fn load(byte: u8) -> Place {
        match byte {
            0..=4 => Place::Ping(byte),
            5..=8 => Place::Quit(byte - 4),
            _ => Place::Other,
        }
    }

    fn store(self) -> u8 {
        match self {
            Place::Ping(n) => n,
            Place::Quit(n) => n + 4,
            Place::Other => 9,
        }
    }

    /// The bytes of the line so far that were not sent back.
    fn held(self) -> &'static [u8] {
        match self {
            Place::Ping(n) => &PING[..usize::from(n)],
            Place::Quit(n) => &QUIT[..usize::from(n)],
            Place::Other => &[],
        }
    }

    /// The word that the line with `byte` added still is the beginning of, if any.
    fn extend(self, byte: u8) -> Option<Place> {
        match self {
            Place::Ping(n) if PING[usize::from(n)] == byte => Some(Place::Ping(n + 1)),
            Place::Ping(0) if QUIT[0] == byte => Some(Place::Quit(1)),
            Place::Quit(n) if QUIT[usize::from(n)] == byte => Some(Place::Quit(n + 1)),
            _ => None,
        }
    }
}

/// The keys that set the service.
pub(super) const KEYS: &[&str] = &["heartbeat"];

/// What is set for the service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// A line is expected in every such period. A peer that has sent none in [`MISSED_MAX`] of them is
    /// gone; unless this is set, a peer may be silent forever.
    pub heartbeat: Option<Duration>,
}

/// After how many periods without a line a peer is gone.
pub const MISSED_MAX: u32 = 3;

impl Setup {
    pub(super) fn parse(settings: &mut Settings) -> Result<Setup, BadSetting> {
        let heartbeat = settings.take_period("heartbeat", "heartbeat=60s")?;
        Ok(Setup { heartbeat: heartbeat.flatten() })
    }
}

/// The service.
///
/// Of its state, the first byte is the place in the line, and the last four are the tick in which the
/// last line ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Line {
    /// How long a peer may be silent.
    silence_max: Option<Duration>,
}

impl Line {
    /// The service as `setup` has it.
    pub fn new(setup: &Setup) -> Line {
        Line { silence_max: setup.heartbeat.map(|period| period.saturating_mul(MISSED_MAX)) }
    }

    /// When the peer is gone, if nothing is heard.
    fn gone_at(&self, conn: &mut Context<'_>) -> Option<Tick> {
        let [.., a, b, c, d] = *conn.state();
        Some(Tick(u32::from_ne_bytes([a, b, c, d])).after(self.silence_max?))
    }
}

impl Service for Line {
    fn on_open(&mut self, conn: &mut Context<'_>) {
        if let Some(silence) = self.silence_max {
            hear(conn);
            conn.wake_after(silence);
        }
    }

    fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
        let consumed = take(conn, bytes);
        if self.silence_max.is_some() && bytes[..consumed].contains(&b'\n') {
            hear(conn);
        }
        consumed
    }

    /// Not in the middle of a line that is being sent back.
    fn takes_pushes(&self, _: u8, state: &ServiceState) -> bool {
        Place::load(state[0]) != Place::Other
    }

    fn on_wake(&mut self, conn: &mut Context<'_>) {
        let Some(gone_at) = self.gone_at(conn) else { return };
        match Tick::of(conn.now()).reached(gone_at) {
            true => conn.abort_for(CloseReason::HeartbeatMissed),
            false => conn.wake_at(gone_at.start(conn.now())),
        }
    }
}

/// Notes that a line has ended now.
fn hear(conn: &mut Context<'_>) {
    let tick = Tick::of(conn.now());
    conn.state()[4..].copy_from_slice(&tick.0.to_ne_bytes());
}

/// Takes the bytes that can be answered now, and returns how many those are.
fn take(conn: &mut Context<'_>, bytes: &[u8]) -> usize {
    // Nearly all that comes is a heartbeat in one piece.
    if bytes == PING && conn.state()[0] == Place::START.store() && conn.room() >= PONG.len() {
        conn.send(PONG);
        return bytes.len();
    }
    let mut place = Place::load(conn.state()[0]);
    let mut consumed = 0;
    for &byte in bytes {
        // The most that one byte can cause to be sent: the held bytes and itself, or PONG.
        if conn.room() < PONG.len() {
            break;
        }
        consumed += 1;
        place = match place.extend(byte) {
            Some(Place::Ping(n)) if usize::from(n) == PING.len() => {
                conn.send(PONG);
                Place::START
            }
            Some(Place::Quit(n)) if usize::from(n) == QUIT.len() => {
                conn.close();
                // What follows in the segment is received and ignored.
                return bytes.len();
            }
            Some(longer) => longer,
            None => {
                conn.send(place.held());
                conn.send(&[byte]);
                if byte == b'\n' { Place::START } else { Place::Other }
            }
        };
    }
    conn.state()[0] = place.store();
    consumed
}

#[cfg(test)]
#[path = "line_tests.rs"]
pub(crate) mod tests;
