//! One conversation: what a client says, what it must hear, and how it ends.

use super::scenario::SERVICES;
use crate::link::faults::Random;
use crate::service::builtin::Builtin;
use crate::time::{Duration, Instant};
use core::ops::Range;

/// Who opens the connection, and who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Roles {
    /// The engine, and the engine.
    EngineToEngine,
    /// The engine, and stock smoltcp.
    EngineToReference,
    /// Stock smoltcp, and the engine.
    ReferenceToEngine,
    /// A scripted client, and the engine.
    ScriptedToEngine,
}

/// How a conversation is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The client closes when it has heard everything.
    ClientCloses,
    /// The client closes its direction when it has said everything.
    HalfCloses,
    /// The client says QUIT, and the server closes.
    ServerCloses,
    /// The client resets the connection when it has heard this many bytes.
    Aborts(usize),
    /// Nothing more is heard of the client after it has heard this many bytes.
    Vanishes(usize),
    /// The client says nothing more when it has heard everything, and later vanishes.
    VanishesIdle,
}

/// How long one that vanishes idle is idle before that.
pub(super) const STAYS_FOR: Duration = Duration::from_secs(130);

/// What a conversation is about.
#[derive(Clone, Debug)]
pub(super) struct Talk {
    pub(super) number: u16,
    pub(super) roles: Roles,
    pub(super) is_v4: bool,
    pub(super) service: Builtin,
    pub(super) begins: Instant,
    pub(super) request: Vec<u8>,
    pub(super) response: Vec<u8>,
    pub(super) ending: Ending,
    /// The most that is said at once, in bytes, and how long the client is silent after each time.
    pub(super) piece_max: usize,
    pub(super) pause: Duration,
    /// The most that is read at once, in bytes, and how long the client reads nothing after it.
    pub(super) read_max: usize,
    pub(super) read_pause: Duration,
    /// The client's buffers, if it has any, in bytes.
    pub(super) buffer: usize,
    /// Until when one that vanishes idle stays at least.
    pub(super) stays_until: Instant,
}

/// How a conversation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Everything was said and heard, and both sides closed.
    Orderly,
    /// As it was to: by the client's reset.
    Aborted,
    /// As it was to: the client is gone.
    Vanished,
    /// Otherwise, for this reason.
    Broken(String),
}

/// What a client does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Say,
    WaitUntil(Instant),
    /// Close its direction, now or when that was done before.
    Close,
    Abort,
    Vanish,
    /// Wait for the peer.
    Hear,
}

/// A [`Talk`] under way.
#[derive(Clone, Debug)]
pub(super) struct Conversation {
    pub(super) talk: Talk,
    /// How often it was tried to begin.
    pub(super) attempts: u16,
    pub(super) said: usize,
    pub(super) heard: usize,
    pub(super) end: Option<End>,
    /// When the client speaks again, and when it last heard something.
    silent_until: Instant,
    heard_at: Instant,
}

impl Conversation {
    pub(super) fn new(talk: Talk) -> Conversation {
        let silent_until = talk.begins;
        let heard_at = silent_until;
        Conversation { talk, attempts: 0, said: 0, heard: 0, end: None, silent_until, heard_at }
    }

    /// The client's port: another one for each attempt.
    pub(super) fn port(&self) -> u16 {
        10_000 + 100 * self.attempts + self.talk.number
    }

    /// The server's port.
    pub(super) fn service_port(&self) -> u16 {
        if self.talk.roles == Roles::EngineToReference {
            // A SYN that comes twice would find two of smoltcp's listeners on one port.
            return 2_000 + self.talk.number;
        }
        let found = SERVICES.iter().find(|(service, _)| *service == self.talk.service);
        found.expect("it is one that is talked to").1
    }

    pub(super) fn wish(&self, now: Instant) -> Wish {
        let Talk { ending, ref request, ref response, stays_until, .. } = self.talk;
        let has_said = self.said == request.len();
        let has_heard = self.heard == response.len();
        match ending {
            Ending::Aborts(after) if self.heard >= after && has_said => return Wish::Abort,
            Ending::Vanishes(after) if self.heard >= after && has_said => return Wish::Vanish,
            _ => {}
        }
        if !has_said {
            return match now >= self.silent_until {
                true => Wish::Say,
                false => Wish::WaitUntil(self.silent_until),
            };
        }
        match ending {
            Ending::HalfCloses => Wish::Close,
            Ending::ClientCloses if has_heard => Wish::Close,
            Ending::VanishesIdle if has_heard => {
                // Retransmissions are over by then.
                let until = stays_until.max(self.silent_until.max(self.heard_at) + STAYS_FOR);
                if now >= until { Wish::Vanish } else { Wish::WaitUntil(until) }
            }
            _ => Wish::Hear,
        }
    }

    /// What to say now, at most `room` bytes.
    pub(super) fn next_piece(&self, room: usize, random: &mut Random) -> Range<usize> {
        let left = self.talk.request.len() - self.said;
        let most = left.min(room).min(self.talk.piece_max);
        let whole = random.below(3) == 0;
        let len = if whole || most == 0 { most } else { 1 + below(random, most) };
        self.said..self.said + len
    }

    /// The next `len` bytes were said.
    pub(super) fn say(&mut self, len: usize, now: Instant) {
        self.said += len;
        self.silent_until = now + self.talk.pause;
    }

    /// Checks what was heard.
    #[track_caller]
    pub(super) fn hear(&mut self, bytes: &[u8], now: Instant) {
        self.heard_at = now;
        let expected = self.talk.response.get(self.heard..self.heard + bytes.len());
        assert!(
            expected == Some(bytes),
            "talk {}: wrong bytes after {}: {:?} instead of {:?}",
            self.talk.number,
            self.heard,
            &bytes[..bytes.len().min(40)],
            expected.map(|expected| &expected[..expected.len().min(40)]),
        );
        self.heard += bytes.len();
    }

    /// Whether everything was said and heard.
    pub(super) fn is_complete(&self) -> bool {
        self.said == self.talk.request.len() && self.heard == self.talk.response.len()
    }

    /// The connection ended, orderly if `is_orderly`; `reason` says how.
    pub(super) fn finish(&mut self, is_orderly: bool, reason: &str) {
        let end = match self.talk.ending {
            Ending::Vanishes(_) | Ending::VanishesIdle if !reason.starts_with("reset") => {
                End::Vanished
            }
            Ending::Aborts(_) if self.wish(self.silent_until) == Wish::Abort => End::Aborted,
            _ if is_orderly && self.is_complete() => End::Orderly,
            _ => End::Broken(format!(
                "{reason} after {} of {} and {} of {} bytes",
                self.said,
                self.talk.request.len(),
                self.heard,
                self.talk.response.len()
            )),
        };
        self.end.get_or_insert(end);
    }

    /// The connection could not be opened: from the beginning, in a while.
    pub(super) fn try_again(&mut self, now: Instant) {
        self.attempts += 1;
        assert!(self.attempts < 50, "talk {} never begins", self.talk.number);
        self.silent_until = now + Duration::from_secs(1);
    }

    /// Whether the connection is to be opened now; if not, when.
    pub(super) fn begins_at(&self) -> Instant {
        self.silent_until
    }
}

/// A number below `end`.
pub(super) fn below(random: &mut Random, end: usize) -> usize {
    usize::try_from(random.below(end as u64)).expect("below a usize")
}
