//! A client of the built-in protocols: what it says first, heartbeats, and what is done when they are not
//! answered.

use super::exchange::{self, Unasked};
use super::greeting::{self, Welcome};
use super::message;
use crate::conn::slab::ConnId;
use crate::service::builtin::Builtin;
use crate::service::{Context, Service, ServiceState};
use crate::tcp::CloseReason;
use crate::time::{Duration, Instant};

/// When a client sends heartbeats, and when it gives its server up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beats {
    /// A heartbeat is due when nothing was sent for so long; never if none. Whatever is received puts
    /// nothing off: MQTT demands it (MQTT-3.1.2-23), and who only listens would not be heard of. It is
    /// also the keep alive that a client of MQTT announces, in whole seconds.
    pub period: Option<Duration>,
    /// How long an answer is awaited before it counts as missed, and the heartbeat is sent again: a period
    /// at the longest, whatever is set. It is also how long what is said first is waited for each time.
    pub answer_wait: Duration,
    /// After so many missed answers in a row the server is given up.
    pub misses: u8,
}

impl Default for Beats {
    /// A minute, then three times ten seconds.
    fn default() -> Beats {
        Beats {
            period: Some(Duration::from_secs(60)),
            answer_wait: Duration::from_secs(10),
            misses: 3,
        }
    }
}

/// Counts of all connections together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that were welcomed.
    pub welcomed: u64,
    /// Heartbeats sent, repeated ones included.
    pub beats: u64,
    /// Heartbeats answered.
    pub answered: u64,
    /// Answers that did not come in time.
    pub missed: u64,
    /// Connections that the server was given up on, for messages that its protocol does not have.
    pub wrong: u64,
}

/// Speaks the built-in protocol of each connection's tag ([`Builtin::tag`]). What else the server says is
/// passed on message by message, with the head that the protocol gives it: see [`mod@message`]. `discard`
/// has no heartbeats, since it answers nothing.
#[derive(Debug)]
pub struct Speaking<H> {
    beats: Beats,
    heard: H,
    counts: Counts,
}

/// What is known of a connection, in the eight bytes of its record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Talk {
    /// When something was last sent, in milliseconds modulo 2^32.
    sent_ms: u32,
    /// Answers missed in a row.
    missed: u8,
    /// Heartbeats that were sent and not answered, up to 255; the later of several are repetitions.
    unanswered: u8,
    /// Which heartbeat it is, modulo 256.
    number: u8,
    /// Whether the server has welcomed the client.
    is_welcome: bool,
    /// Whether an answer is awaited.
    awaits: bool,
    /// Whether a heartbeat was ever answered.
    is_proved: bool,
}

impl Talk {
    fn load(state: &ServiceState) -> Talk {
        let [a, b, c, d, missed, unanswered, number, flags] = *state;
        Talk {
            sent_ms: u32::from_le_bytes([a, b, c, d]),
            missed,
            unanswered,
            number,
            is_welcome: flags & 1 != 0,
            awaits: flags & 2 != 0,
            is_proved: flags & 4 != 0,
        }
    }

    fn store(self) -> ServiceState {
        let [a, b, c, d] = self.sent_ms.to_le_bytes();
        let flags =
            u8::from(self.is_welcome) | u8::from(self.awaits) << 1 | u8::from(self.is_proved) << 2;
        [a, b, c, d, self.missed, self.unanswered, self.number, flags]
    }

    /// How long ago something was last sent.
    fn quiet(&self, now: Instant) -> Duration {
        Duration::from_millis(u64::from(millis(now).wrapping_sub(self.sent_ms)))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "modulo 2^32 by design")]
fn millis(at: Instant) -> u32 {
    at.millis() as u32
}

/// Two numbers that no other client of the same server has meanwhile: its own address and port.
fn name(conn: &Context<'_>) -> (u32, u32) {
    let local = conn.local();
    let [.., a, b, c, d, e, f] = local.addr.0;
    let [g, h] = local.port.to_be_bytes();
    (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))
}

impl<H: FnMut(ConnId, &[u8])> Speaking<H> {
    /// `heard` gets the messages.
    pub fn new(beats: Beats, heard: H) -> Speaking<H> {
        // A wake is not moved when the answer comes, and the next heartbeat may be due then.
        let answer_wait = beats.answer_wait.min(beats.period.unwrap_or(Duration::MAX));
        let beats = Beats { answer_wait, ..beats };
        Speaking { beats, heard, counts: Counts::default() }
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The keep alive of MQTT, in seconds: it may be longer than the period, and is never 0, which would
    /// turn it off.
    fn keep_alive(&self) -> u16 {
        let period = self.beats.period.unwrap_or(Duration::MAX);
        let seconds = period.as_secs().saturating_add(u64::from(period.subsec_nanos() > 0));
        u16::try_from(seconds).unwrap_or(u16::MAX).max(1)
    }

    /// Says what is said first, and asks for room if there is too little.
    fn greet(&mut self, conn: &mut Context<'_>, talk: &mut Talk) {
        let (high, low) = name(conn);
        let greeting =
            greeting::greeting(Builtin::of_tag(conn.tag()), self.keep_alive(), high, low);
        if greeting.is_empty() {
            self.welcome(conn, talk);
        } else if conn.room() >= greeting.len() {
            conn.send(&greeting);
            talk.sent_ms = millis(conn.now());
        } else {
            conn.want_room();
        }
    }

    /// The server has taken the client in.
    fn welcome(&mut self, conn: &mut Context<'_>, talk: &mut Talk) {
        talk.is_welcome = true;
        talk.missed = 0;
        self.counts.welcomed += 1;
        self.rest(conn, talk);
    }

    /// Nothing is due until the period is over.
    fn rest(&self, conn: &mut Context<'_>, talk: &Talk) {
        let has_beats = Builtin::of_tag(conn.tag()) != Builtin::Discard;
        match self.beats.period.filter(|_| has_beats) {
            Some(period) => conn.wake_after(period.saturating_sub(talk.quiet(conn.now()))),
            None => conn.no_wake(),
        }
    }

    /// Sends a heartbeat, the same as before while that is not answered.
    fn beat(&mut self, conn: &mut Context<'_>, talk: &mut Talk) {
        if talk.unanswered == 0 {
            talk.number = talk.number.wrapping_add(1);
        }
        let (service, slot) = (Builtin::of_tag(conn.tag()), conn.id().index());
        let request = exchange::request(service, slot, talk.number.into());
        // Without room, the server acknowledges nothing: that is missed as an answer is.
        if conn.room() >= request.len() {
            conn.send(&request);
            talk.sent_ms = millis(conn.now());
            talk.unanswered = talk.unanswered.saturating_add(1);
            self.counts.beats += 1;
        }
        talk.awaits = true;
        conn.wake_after(self.beats.answer_wait);
    }

    /// Takes the first message of `bytes`; returns how many bytes it has, none if more has to come, or
    /// there is no room for the answer.
    fn take(&mut self, conn: &mut Context<'_>, talk: &mut Talk, bytes: &[u8]) -> Option<usize> {
        let service = Builtin::of_tag(conn.tag());
        let came = match talk.is_welcome {
            true => message::first(service, bytes),
            false => {
                let (high, low) = name(conn);
                greeting::welcome(service, high, low, bytes)
            }
        };
        let len = match came {
            Welcome::Wait => return None,
            Welcome::Came(len) => len,
            Welcome::Wrong => {
                self.counts.wrong += 1;
                conn.abort_for(CloseReason::ProtocolError);
                return Some(bytes.len());
            }
        };
        if !talk.is_welcome {
            self.welcome(conn, talk);
            return Some(len);
        }
        let message = &bytes[..len];
        // A goodbye is answered, too; then the server closes.
        if let Unasked::Heartbeat(_, reply) | Unasked::Goodbye(_, reply) =
            exchange::unasked(service, message)
        {
            if conn.room() < reply.len() {
                return None;
            }
            conn.send(&reply);
            talk.sent_ms = millis(conn.now());
        } else if talk.unanswered > 0 && self.is_answer(conn, talk, message) {
            talk.unanswered -= 1;
            (talk.awaits, talk.missed, talk.is_proved) = (false, 0, true);
            self.counts.answered += 1;
        } else {
            (self.heard)(conn.id(), message);
        }
        Some(len)
    }

    fn is_answer(&self, conn: &Context<'_>, talk: &Talk, message: &[u8]) -> bool {
        let (service, slot) = (Builtin::of_tag(conn.tag()), conn.id().index());
        // Every answer of HTTP that is none of this is wrong already.
        service == Builtin::Http || *exchange::answer(service, slot, talk.number.into()) == *message
    }
}

impl<H: FnMut(ConnId, &[u8])> Service for Speaking<H> {
    fn on_open(&mut self, conn: &mut Context<'_>) {
        let mut talk = Talk { sent_ms: millis(conn.now()), ..Talk::default() };
        conn.wake_after(self.beats.answer_wait);
        self.greet(conn, &mut talk);
        *conn.state() = talk.store();
    }

    fn on_room(&mut self, conn: &mut Context<'_>) {
        let mut talk = Talk::load(conn.state());
        if !talk.is_welcome {
            self.greet(conn, &mut talk);
            *conn.state() = talk.store();
        }
    }

    fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
        let mut talk = Talk::load(conn.state());
        let mut taken = 0;
        while taken < bytes.len() && !conn.answer.closing {
            match self.take(conn, &mut talk, &bytes[taken..]) {
                Some(len) => taken += len,
                None => break,
            }
        }
        *conn.state() = talk.store();
        taken
    }

    fn on_wake(&mut self, conn: &mut Context<'_>) {
        let mut talk = Talk::load(conn.state());
        let is_missed = talk.awaits || !talk.is_welcome;
        if is_missed {
            talk.missed = talk.missed.saturating_add(1);
            self.counts.missed += 1;
        }
        let is_due = self.beats.period.is_some_and(|period| talk.quiet(conn.now()) >= period);
        if is_missed && talk.missed >= self.beats.misses {
            conn.abort_for(CloseReason::HeartbeatMissed);
        } else if !talk.is_welcome {
            conn.wake_after(self.beats.answer_wait);
        } else if talk.awaits || is_due {
            self.beat(conn, &mut talk);
        } else {
            self.rest(conn, &talk);
        }
        *conn.state() = talk.store();
    }

    fn is_proved(&self, _: u8, state: &ServiceState) -> bool {
        Talk::load(state).is_proved
    }

    fn events(&self, tell: &mut dyn FnMut(&'static str, u64)) {
        let Counts { welcomed, beats, answered, missed, wrong } = self.counts;
        tell("welcomed", welcomed);
        tell("heartbeats_sent", beats);
        tell("heartbeats_answered", answered);
        tell("heartbeats_missed", missed);
        tell("answers_wrong", wrong);
    }
}

#[cfg(test)]
#[path = "speaking_tests.rs"]
mod tests;
