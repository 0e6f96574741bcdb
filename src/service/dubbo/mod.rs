//! The Dubbo 2 protocol: heartbeats, both ways; there is no service to call.
//!
//! After [apache/dubbo](https://github.com/apache/dubbo) 3.3, whose classes are named where they
//! decide. Bodies are not looked into but those of events, which are short: a body of any length is
//! skipped as it comes, and four bytes say how much of it is missing. The other four say when something
//! was last heard.
//!
//! - [`frame`]: headers, and the frames that this server sends

pub mod frame;

use self::frame::{EVENT, HEADER_LEN, Header, MAGIC, REQUEST, Short, TWO_WAY};
use super::settings::{BadSetting, Settings};
use super::silence::{self, Due, Heard};
use super::{Context, Service, ServiceState};
use crate::tcp::CloseReason;
use crate::time::Duration;

/// What can be set in a `--listen` URL.
pub(super) const KEYS: &[&str] = &["heartbeat", "payload"];

/// The longest event, in bytes (`deserialization.event.size` in `ExchangeCodec.decodeEventData`).
const EVENT_LEN_MAX: u32 = 15;

/// The longest line between frames that is skipped, in bytes.
const LINE_LEN_MAX: usize = 1024;

/// What a call is answered with. The words are those of `DecodeableRpcInvocation.decode` for a service
/// that nobody exports, and of `HeaderExchangeHandler.handleRequest`, which sends them.
const NO_SERVICE: &str = "Fail to decode request due to: Service not found: there is none";

/// What an event that cannot be read is answered with (`ExchangeCodec.decodeEventData`).
const BAD_EVENT: &str = "Fail to decode request due to: event cannot be read";

/// What a request longer than the limit is answered with (`AbstractCodec.checkPayload`).
const TOO_LONG: &str = "Fail to decode request due to: Data length too large";

/// What is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// After how much silence a client is sent a heartbeat; after three times as much it is given up.
    pub heartbeat: Option<Duration>,
    /// The longest body, in bytes; 2^31 - 1 at most, as lengths are signed in Java.
    pub payload_max: u32,
}

impl Default for Setup {
    /// `Constants.DEFAULT_HEARTBEAT` and `Constants.DEFAULT_PAYLOAD`.
    fn default() -> Setup {
        Setup { heartbeat: Some(Duration::from_secs(60)), payload_max: 8 << 20 }
    }
}

impl Setup {
    /// Takes what `settings` say.
    ///
    /// # Errors
    ///
    /// When a value cannot be read.
    pub(super) fn parse(settings: &mut Settings) -> Result<Setup, BadSetting> {
        let Setup { heartbeat, payload_max } = Setup::default();
        let is_length = |len: &u32| len >> 31 == 0;
        let payload = settings
            .take("payload", "payload=8388608", |value| value.parse().ok().filter(is_length));
        Ok(Setup {
            heartbeat: silence::take_period(settings)?.unwrap_or(heartbeat),
            payload_max: payload?.unwrap_or(payload_max),
        })
    }
}

/// What happened on all connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Heartbeats received.
    pub heartbeats: u64,
    /// Heartbeats sent.
    pub sent: u64,
    /// Requests refused: calls, and events that cannot be read.
    pub refused: u64,
    /// Connections closed because what came were no frames.
    pub malformed: u64,
    /// Connections closed because of a body longer than the limit.
    pub oversized: u64,
    /// Peers given up because they were silent.
    pub silent: u64,
}

impl Counts {
    /// Each with its name.
    pub fn named(&self) -> [(&'static str, u64); 6] {
        let Counts { heartbeats, sent, refused, malformed, oversized, silent } = *self;
        [
            ("dubbo_heartbeats", heartbeats),
            ("dubbo_sent", sent),
            ("dubbo_refused", refused),
            ("dubbo_malformed", malformed),
            ("dubbo_oversized", oversized),
            ("dubbo_silent", silent),
        ]
    }
}

/// The service.
#[derive(Clone, Debug, Default)]
pub struct Dubbo {
    setup: Setup,
    counts: Counts,
    /// The number of the next heartbeat (`Request.newId`).
    next_id: u64,
}

/// What the service knows of a connection, in the eight bytes of its record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Session {
    heard: Heard,
    /// How many bytes of a body are to be skipped.
    skip: u32,
    /// Whether a frame has come.
    has_begun: bool,
}

impl Session {
    const BEGUN: u32 = 1 << 31;

    fn load(state: ServiceState) -> Session {
        let [h0, h1, h2, h3, s0, s1, s2, s3] = state;
        let skip = u32::from_le_bytes([s0, s1, s2, s3]);
        Session {
            heard: Heard(u32::from_le_bytes([h0, h1, h2, h3])),
            skip: skip & !Session::BEGUN,
            has_begun: skip & Session::BEGUN != 0,
        }
    }

    fn store(self) -> ServiceState {
        let begun = if self.has_begun { Session::BEGUN } else { 0 };
        let [h0, h1, h2, h3] = self.heard.0.to_le_bytes();
        let [s0, s1, s2, s3] = (self.skip | begun).to_le_bytes();
        [h0, h1, h2, h3, s0, s1, s2, s3]
    }
}

/// What one frame, or a piece of one, led to.
enum Step {
    /// So many bytes were consumed.
    Took(usize),
    /// Bytes are missing, or room.
    Wait,
    /// What came is no frame, or too long a one.
    Failed,
}

impl Dubbo {
    /// A service without connections.
    pub fn new(setup: &Setup) -> Dubbo {
        Dubbo { setup: *setup, ..Dubbo::default() }
    }

    /// What happened so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    fn step(&mut self, conn: &mut Context<'_>, session: &mut Session, bytes: &[u8]) -> Step {
        if session.skip > 0 {
            let missing = usize::try_from(session.skip).unwrap_or(usize::MAX);
            let len = bytes.len().min(missing);
            session.skip -= u32::try_from(len).unwrap_or(0);
            return if len > 0 { Step::Took(len) } else { Step::Wait };
        }
        if !MAGIC.starts_with(&bytes[..bytes.len().min(MAGIC.len())]) {
            return self.skip_line(session, bytes);
        }
        let Some((header, body)) = bytes.split_first_chunk() else { return Step::Wait };
        let Some(header) = Header::parse(header) else { return Step::Wait };
        self.take(conn, session, header, body)
    }

    /// Takes the frame with `header`, as much of whose body as `body` has come.
    fn take(
        &mut self,
        conn: &mut Context<'_>,
        session: &mut Session,
        header: Header,
        body: &[u8],
    ) -> Step {
        let is_oversized = header.body_len > self.setup.payload_max;
        // `DecodeableRpcInvocation.checkPayload` refuses a request that is too long when it has read its
        // body. Here the body is not waited for, and so the connection cannot go on.
        let meaning =
            if is_oversized { Some(oversized(header)) } else { Meaning::of(header, body) };
        let Some(meaning) = meaning else { return Step::Wait };
        let answer = meaning.answer(header);
        if let Some(answer) = &answer {
            if conn.room() < answer.len() {
                return Step::Wait;
            }
            conn.send(answer);
        }
        self.counts.heartbeats += u64::from(matches!(meaning, Meaning::Heartbeat(_)));
        self.counts.refused += u64::from(matches!(meaning, Meaning::Refused(_)));
        if is_oversized {
            self.counts.oversized += 1;
            return Step::Failed;
        }
        session.has_begun = true;
        session.skip = header.body_len;
        Step::Took(HEADER_LEN)
    }

    /// Skips a line between frames. `ExchangeCodec.decode` looks for the next magic number, and takes
    /// what is before it for a command of telnet, of which there is none here; a line that has not ended
    /// when the number comes keeps it from ever going on, and so here the connection ends. So it does
    /// when its first bytes are no frame (`NettyPortUnificationServerHandler.detectProtocol`).
    fn skip_line(&mut self, session: &Session, bytes: &[u8]) -> Step {
        let line = &bytes[..bytes.len().min(LINE_LEN_MAX)];
        let end = line.iter().position(|&byte| byte == b'\n');
        let begun = &line[..end.unwrap_or(line.len())];
        let is_frame = begun.windows(MAGIC.len()).any(|pair| pair == MAGIC);
        match end {
            Some(end) if session.has_begun && !is_frame => Step::Took(end + 1),
            None if session.has_begun && !is_frame && line.len() < LINE_LEN_MAX => Step::Wait,
            _ => {
                self.counts.malformed += 1;
                Step::Failed
            }
        }
    }
}

/// What a frame asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// A sign of life, whose body is this null.
    Heartbeat(&'static [u8]),
    /// Nothing that this server could say: answers, one-way calls and other events, such as that a peer
    /// is read-only for a while.
    Unanswered,
    /// What cannot be done, and why.
    Refused(&'static str),
}

impl Meaning {
    /// The meaning of a frame, none if it depends on bytes of its body that have not come.
    fn of(header: Header, body: &[u8]) -> Option<Meaning> {
        if !header.has(REQUEST) {
            return Some(Meaning::Unanswered);
        }
        if !header.has(EVENT) {
            // `HeaderExchangeHandler.received` answers if the request wants it.
            let is_call = header.has(TWO_WAY);
            return Some(if is_call { Meaning::Refused(NO_SERVICE) } else { Meaning::Unanswered });
        }
        // `DubboCodec.decodeBody`: what it cannot read is broken, and wants an answer.
        let broken = Some(Meaning::Refused(BAD_EVENT));
        let Some(null) = frame::null(header.serialization()) else { return broken };
        if !(1..=EVENT_LEN_MAX).contains(&header.body_len) {
            return broken;
        }
        let event = body.get(..usize::try_from(header.body_len).unwrap_or(usize::MAX))?;
        Some(if event == null { Meaning::Heartbeat(null) } else { Meaning::Unanswered })
    }

    /// What is to be answered.
    fn answer(self, header: Header) -> Option<Short> {
        match self {
            // `HeartbeatHandler.received`.
            Meaning::Heartbeat(null) => {
                header.has(TWO_WAY).then(|| Short::alive(header.serialization(), header.id, null))
            }
            Meaning::Unanswered => None,
            Meaning::Refused(reason) => Some(Short::refusal(header.id, reason)),
        }
    }
}

/// The meaning of a frame that is too long.
fn oversized(header: Header) -> Meaning {
    match header.has(REQUEST | TWO_WAY) {
        true => Meaning::Refused(TOO_LONG),
        false => Meaning::Unanswered,
    }
}

impl Service for Dubbo {
    fn on_open(&mut self, conn: &mut Context<'_>) {
        let heard = Heard::at(conn.now());
        *conn.state() = Session { heard, ..Session::default() }.store();
        if let Some(period) = self.setup.heartbeat {
            conn.wake_after(period);
        }
    }

    fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
        let mut session = Session::load(*conn.state());
        let mut consumed = 0;
        loop {
            match self.step(conn, &mut session, &bytes[consumed..]) {
                Step::Took(len) => consumed += len,
                Step::Wait => break,
                Step::Failed => {
                    conn.close_for(CloseReason::ProtocolError);
                    // What follows is received and ignored, so that no reset overtakes the answer.
                    conn.close_and_linger();
                    consumed = bytes.len();
                    break;
                }
            }
        }
        if consumed > 0 {
            session.heard = Heard::at(conn.now());
        }
        *conn.state() = session.store();
        consumed
    }

    fn events(&self, tell: &mut dyn FnMut(&'static str, u64)) {
        self.counts.named().into_iter().for_each(|(name, count)| tell(name, count));
    }

    fn on_wake(&mut self, conn: &mut Context<'_>) {
        let Some(period) = self.setup.heartbeat else { return };
        let heard = Session::load(*conn.state()).heard;
        // `HeartbeatTimerTask` of both sides in Dubbo 2; `CloseTimerTask` for the end.
        match silence::attend(conn, heard, period, &Short::heartbeat(self.next_id)) {
            Due::Nothing => {}
            Due::Heartbeat => {
                self.next_id = self.next_id.wrapping_add(1);
                self.counts.sent += 1;
            }
            Due::End => self.counts.silent += 1,
        }
    }
}

#[cfg(test)]
mod tests;
