//! WebSocket (RFC 6455): messages are sent back, and others can be pushed.
//!
//! A message of any length is sent back as it comes, in frames of its own: nothing of it is kept but
//! forty bytes of what must be remembered from one piece to the next, in a table whose size is
//! limited. A connection between messages has its eight bytes only.
//!
//! - `session`: those eight bytes
//! - [`handshake`]: the opening handshake, and how it is refused
//! - [`frame`]: headers and masks; a message to be pushed
//! - [`close`]: close frames and their codes
//! - [`utf8`]: text that comes in pieces
//! - `messages`: messages that have begun and not ended

pub mod close;
pub mod frame;
pub mod handshake;
mod messages;
mod session;
pub mod utf8;

use self::close::Code;
use self::frame::{CONTROL_LEN_MAX, HEADER_LEN_MAX, Header, Kind, Opcode};
use self::handshake::Refusal;
use self::messages::{Frame, Message, Messages};
use self::session::{Phase, Session};
use super::settings::{BadSetting, Settings};
use super::silence::{self, Due, Heard};
use super::{Context, Service, ServiceState};
use crate::conn::slab::ConnId;
use crate::tcp::CloseReason;
use crate::time::Duration;

/// How long a client may take for its request, as nginx's `client_header_timeout`.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest piece of a message that is sent back in one frame, in bytes. Its header is
/// [`PIECE_HEADER_LEN`] bytes at most.
const PIECE_LEN_MAX: usize = 32 * 1024;
const PIECE_HEADER_LEN: usize = 4;

/// What can be set in a `--listen` URL.
pub(super) const KEYS: &[&str] = &["heartbeat", "message-max", "messages-max"];

/// What is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// After how much silence a client is sent a ping; after three times as much it is given up.
    pub heartbeat: Option<Duration>,
    /// The longest message, in bytes.
    pub message_len_max: u64,
    /// How many messages may have begun and not ended, on all connections together.
    pub messages_max: u16,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup { heartbeat: None, message_len_max: 16 << 20, messages_max: u16::MAX }
    }
}

impl Setup {
    /// Takes what `settings` say.
    ///
    /// # Errors
    ///
    /// When a value cannot be read.
    pub(super) fn parse(settings: &mut Settings) -> Result<Setup, BadSetting> {
        let Setup { heartbeat, message_len_max, messages_max } = Setup::default();
        let message_len =
            settings.take("message-max", "message-max=1048576", |value| value.parse().ok());
        let messages =
            settings.take("messages-max", "messages-max=1000", |value| value.parse().ok());
        Ok(Setup {
            heartbeat: silence::take_period(settings)?.unwrap_or(heartbeat),
            message_len_max: message_len?.unwrap_or(message_len_max),
            messages_max: messages?.unwrap_or(messages_max),
        })
    }
}

/// The server's ping. It is empty: any answer will do, and so will anything else.
const PING: [u8; 2] = [0x80 | Opcode::Ping as u8, 0];

/// What happened on all connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Handshakes completed.
    pub accepted: u64,
    /// Handshakes refused, by [`Refusal`].
    pub refused: [u64; Refusal::ALL.len()],
    /// Close frames sent to peers that broke a rule or went past a limit, by [`Code`].
    pub failed: [u64; Code::ALL.len()],
    /// Pings sent.
    pub pings: u64,
    /// Peers given up because they were silent.
    pub silent: u64,
}

impl Counts {
    /// Each with its name.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        let Counts { accepted, refused, failed, pings, silent } = *self;
        let refused = Refusal::ALL
            .into_iter()
            .map(move |refusal| (refusal.name(), refused[refusal as usize]));
        let failed = Code::ALL.into_iter().map(move |code| (code.name(), failed[code.index()]));
        let others = [("ws_accepted", accepted), ("ws_pings", pings), ("ws_silent", silent)];
        others.into_iter().chain(refused).chain(failed)
    }
}

/// The service.
#[derive(Debug)]
pub struct WebSocket {
    setup: Setup,
    messages: Messages,
    /// Where masks are taken off.
    piece: Box<[u8]>,
    counts: Counts,
}

/// What one frame, or a piece of one, led to.
enum Step {
    /// So many bytes were consumed.
    Took(usize),
    /// Bytes are missing, or room.
    Wait,
    /// The peer closed, with a code or without.
    Closed(Option<u16>),
    /// The peer is to be told why this side closes.
    Failed(Code),
}

impl WebSocket {
    /// A service without connections.
    pub fn new(setup: &Setup) -> WebSocket {
        WebSocket {
            setup: *setup,
            messages: Messages::new(setup.messages_max),
            piece: vec![0; PIECE_LEN_MAX].into_boxed_slice(),
            counts: Counts::default(),
        }
    }

    /// What happened so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// How many messages have begun and not ended.
    pub fn messages(&self) -> usize {
        self.messages.count()
    }

    /// Answers the request at the beginning of `bytes`, and returns how many bytes it took.
    fn shake_hands(
        &mut self,
        conn: &mut Context<'_>,
        session: &mut Session,
        bytes: &[u8],
    ) -> usize {
        match handshake::judge(bytes) {
            Ok(None) => 0,
            Ok(Some(accepted)) if accepted.answer().len() <= conn.room() => {
                conn.send(accepted.answer());
                self.counts.accepted += 1;
                session.phase = Phase::Open;
                match self.setup.heartbeat {
                    Some(period) => conn.wake_after(period),
                    None => conn.no_wake(),
                }
                accepted.request_len
            }
            Err(refusal) if refusal.answer().len() <= conn.room() => {
                self.refuse(conn, session, refusal);
                bytes.len()
            }
            // It is judged again when there is room.
            Ok(Some(_)) | Err(_) => 0,
        }
    }

    fn refuse(&mut self, conn: &mut Context<'_>, session: &mut Session, refusal: Refusal) {
        // Whole or not at all: a client whose time is over may have left no room.
        if conn.room() >= refusal.answer().len() {
            conn.send(refusal.answer().as_bytes());
        }
        self.counts.refused[refusal as usize] += 1;
        session.phase = Phase::Closed;
        match refusal {
            Refusal::Timeout => conn.close_for(CloseReason::Idle),
            _ => conn.close_for(CloseReason::ProtocolError),
        }
        // What was to be the content may still come.
        conn.close_and_linger();
    }

    /// Takes frames from the front of `bytes`, and returns how many bytes those were.
    fn take_frames(
        &mut self,
        conn: &mut Context<'_>,
        session: &mut Session,
        bytes: &[u8],
    ) -> usize {
        let mut message = session.message.and_then(|place| self.messages.get(place));
        let mut taken = 0;
        let end = loop {
            // What a step that must wait, or fails without room to say so, did is undone.
            let mut next = message;
            match self.step(conn, &mut next, &bytes[taken..]) {
                Step::Took(len) => (taken, message) = (taken + len, next),
                Step::Wait => break None,
                Step::Closed(code) => break Some((code, None)),
                Step::Failed(code) => break Some((Some(code as u16), Some(code))),
            }
        };
        if let Some((code, failure)) = end
            && self.say_goodbye(conn, session, code, failure)
        {
            return bytes.len();
        }
        match message {
            Some(message) => {
                let place = self.messages.keep(message, session.message);
                let is_full = place.is_none();
                session.message = place;
                let code = Code::TryAgainLater;
                if is_full && !self.say_goodbye(conn, session, Some(code as u16), Some(code)) {
                    // There is no way to go on with the message, and no room to say so.
                    conn.abort_for(CloseReason::ProtocolError);
                }
            }
            None => self.forget_message(session),
        }
        taken
    }

    /// Sends a close frame and closes; `failure` says why, unless the peer closed first. Returns whether
    /// there was room.
    fn say_goodbye(
        &mut self,
        conn: &mut Context<'_>,
        session: &mut Session,
        code: Option<u16>,
        failure: Option<Code>,
    ) -> bool {
        let (frame, len) = close::frame(code);
        if conn.room() < len {
            return false;
        }
        conn.send(&frame[..len]);
        session.phase = Phase::Closed;
        self.forget_message(session);
        match failure {
            // Section 7.1.1: the server closes the TCP connection first.
            None => conn.close(),
            Some(code) => {
                self.counts.failed[code.index()] += 1;
                conn.close_for(CloseReason::ProtocolError);
                // The peer may be in the middle of what is too long, and a reset would keep it from reading
                // why (section 7.1.1: close the writing side, and receive until the peer closes, too).
                conn.close_and_linger();
            }
        }
        true
    }

    fn forget_message(&mut self, session: &mut Session) {
        if let Some(place) = session.message.take() {
            self.messages.forget(place);
        }
    }

    /// Goes on with the frame that has not ended, or begins with the next one.
    fn step(
        &mut self,
        conn: &mut Context<'_>,
        message: &mut Option<Message>,
        bytes: &[u8],
    ) -> Step {
        if let Some(begun) = message
            && begun.frame.is_some()
        {
            return self.send_back(conn, message, bytes);
        }
        let (header, header_len) = match Header::parse(bytes) {
            Ok(Some(read)) => read,
            Ok(None) => return Step::Wait,
            Err(_) => return Step::Failed(Code::ProtocolError),
        };
        // Section 5.1: "The server MUST close the connection upon receiving a frame that is not masked."
        let Some(mask) = header.mask else { return Step::Failed(Code::ProtocolError) };
        let kind = match (header.opcode, &message) {
            (Opcode::Close | Opcode::Ping | Opcode::Pong, _) => {
                return control(conn, header, &bytes[header_len..], header_len);
            }
            (Opcode::Text, None) => Kind::Text,
            (Opcode::Binary, None) => Kind::Binary,
            (Opcode::Continuation, Some(begun)) => begun.kind,
            // Section 5.4: a message continues until its last frame, and nothing continues none.
            (Opcode::Continuation, None) | (Opcode::Text | Opcode::Binary, Some(_)) => {
                return Step::Failed(Code::ProtocolError);
            }
        };
        let mut begun = message.unwrap_or(Message::new(kind));
        begun.len = begun.len.saturating_add(header.len);
        if begun.len > self.setup.message_len_max {
            return Step::Failed(Code::MessageTooBig);
        }
        if conn.room() <= PIECE_HEADER_LEN {
            return Step::Wait;
        }
        begun.frame = Some(Frame { fin: header.fin, mask, rest: header.len });
        *message = Some(begun);
        Step::Took(header_len)
    }

    /// Sends back as much of the frame that has not ended as there is, and as there is room for.
    fn send_back(
        &mut self,
        conn: &mut Context<'_>,
        message: &mut Option<Message>,
        bytes: &[u8],
    ) -> Step {
        let Some(begun) = message else { return Step::Wait };
        let Some(frame) = &mut begun.frame else { return Step::Wait };
        let room = conn.room().saturating_sub(PIECE_HEADER_LEN);
        let rest = usize::try_from(frame.rest).unwrap_or(usize::MAX);
        let len = bytes.len().min(room).min(PIECE_LEN_MAX).min(rest);
        let is_whole = len == rest;
        if len == 0 && !(is_whole && room > 0) {
            return Step::Wait;
        }
        let piece = &mut self.piece[..len];
        frame.mask = frame.mask.apply(&bytes[..len], piece);
        frame.rest -= u64::try_from(len).unwrap_or(0);
        let fin = is_whole && frame.fin;
        if begun.kind == Kind::Text
            && (begun.utf8.push(piece).is_err() || fin && !begun.utf8.is_complete())
        {
            return Step::Failed(Code::InvalidPayload);
        }
        // Nothing need be said of an empty piece, unless it is the end.
        if len > 0 || fin {
            let opcode = if begun.is_begun { Opcode::Continuation } else { begun.kind.opcode() };
            let mut header = [0; HEADER_LEN_MAX];
            let header_len = Header::server(fin, opcode, len).emit(&mut header);
            conn.send(&header[..header_len]);
            conn.send(piece);
            begun.is_begun = true;
        }
        if is_whole {
            begun.frame = None;
        }
        if fin {
            *message = None;
        }
        Step::Took(len)
    }
}

/// Answers a control frame (section 5.5) whose payload `bytes` begin with.
fn control(conn: &mut Context<'_>, header: Header, bytes: &[u8], header_len: usize) -> Step {
    let len = usize::try_from(header.len).unwrap_or(CONTROL_LEN_MAX);
    let Some(masked) = bytes.get(..len) else { return Step::Wait };
    let mut payload = [0; CONTROL_LEN_MAX];
    let payload = &mut payload[..len];
    let _ = header.mask.unwrap_or_default().apply(masked, payload);
    match header.opcode {
        Opcode::Close => match close::parse(payload) {
            Ok(code) => return Step::Closed(code),
            Err(code) => return Step::Failed(code),
        },
        Opcode::Ping => {
            if conn.room() < 2 + len {
                return Step::Wait;
            }
            let mut answer = [0; HEADER_LEN_MAX];
            let answer_len = Header::server(true, Opcode::Pong, len).emit(&mut answer);
            conn.send(&answer[..answer_len]);
            conn.send(payload);
        }
        // Section 5.5.3: it may also come unasked.
        _ => {}
    }
    Step::Took(header_len + len)
}

impl Service for WebSocket {
    fn on_open(&mut self, conn: &mut Context<'_>) {
        conn.wake_after(HANDSHAKE_TIMEOUT);
    }

    fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
        let mut session = Session::load(*conn.state());
        let mut consumed = 0;
        if session.phase == Phase::Handshake {
            consumed = self.shake_hands(conn, &mut session, bytes);
        }
        consumed += match session.phase {
            Phase::Handshake => 0,
            Phase::Open => self.take_frames(conn, &mut session, &bytes[consumed..]),
            Phase::Closed => bytes.len() - consumed,
        };
        if consumed > 0 {
            session.heard = Heard::at(conn.now());
        }
        *conn.state() = session.store();
        consumed
    }

    fn on_wake(&mut self, conn: &mut Context<'_>) {
        let mut session = Session::load(*conn.state());
        match (session.phase, self.setup.heartbeat) {
            (Phase::Handshake, _) => self.refuse(conn, &mut session, Refusal::Timeout),
            (Phase::Open, Some(period)) => {
                match silence::attend(conn, session.heard, period, &PING) {
                    Due::Nothing => {}
                    Due::Heartbeat => self.counts.pings += 1,
                    Due::End => self.counts.silent += 1,
                }
            }
            (Phase::Open, None) | (Phase::Closed, _) => {}
        }
        *conn.state() = session.store();
    }

    fn on_close(&mut self, _: ConnId, _: u8, state: ServiceState, _: CloseReason) {
        self.forget_message(&mut Session::load(state));
    }

    fn events(&self, tell: &mut dyn FnMut(&'static str, u64)) {
        self.counts.named().for_each(|(name, count)| tell(name, count));
    }

    fn usage(&mut self, tell: &mut dyn FnMut(&'static str, u64)) {
        tell("ws_messages", self.messages() as u64);
    }

    /// When the connection is open, and no message is being sent back that has not ended (section 5.4:
    /// the fragments of messages are not interleaved).
    fn takes_pushes(&self, _: u8, state: &ServiceState) -> bool {
        let session = Session::load(*state);
        session.phase == Phase::Open && session.message.is_none()
    }
}

#[cfg(test)]
mod tests;
