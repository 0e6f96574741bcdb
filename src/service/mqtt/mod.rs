//! A server of MQTT 3.1.1 and 5.0, for QoS 0 and 1.
//!
//! A connection's eight bytes say how far it has come, which session is its, and when it last sent
//! something: a PINGREQ is answered from them alone. Everything else is in tables outside, which grow
//! with use up to a limit each. What is refused, and how, is in `docs/mqtt.md`.
//!
//! Messages for a client wait in its session, and leave when its own connection is called: the one who
//! publishes only asks the engine to call it ([`Context::invite`]). So a packet is written by its
//! own connection alone, as its room allows, and nobody waits for a slow one.
//!
//! - [`codec`]: the packets
//! - [`policy`]: what is allowed, and how much may be kept; [`usage`]: how much is
//! - [`counters`]: what happened
//! - `state`: the eight bytes
//! - `topic`: names and filters; `tree`: of topics; `subscriptions`: who is to get what; `shapes`: how much
//!   there is to be looked at for that; `retained`: the last message of a topic
//! - `message`: kept once; `session`: of a client; `sessions`: all of them
//! - `admission`: CONNECT; `incoming`: the packets after it; `outgoing`: messages to clients;
//!   `wide`: to very many; `backlog`: what of them was sent in part
//! - `ending`: of connections and sessions

mod admission;
mod backlog;
pub mod codec;
pub mod counters;
mod ending;
mod incoming;
mod message;
mod outgoing;
pub mod policy;
mod retained;
mod session;
mod sessions;
mod shapes;
mod state;
mod subscriptions;
mod topic;
mod tree;
pub mod usage;
mod wide;

use super::settings::{BadSetting, Settings};
use super::unasked::{Published, Unpublished};
use super::{Context, Service, ServiceState, Turn};
use crate::conn::slab::ConnId;
use crate::tcp::CloseReason;
use crate::time::{Duration, Instant};
use crate::wire::addr::Secret;
use codec::acknowledgment::{PINGREQ, PINGRESP};
use codec::frame::{self, Frame};
use codec::{Reason, Version};
use counters::Counters;
use message::Account;
use outgoing::Target;
use policy::Policy;
use retained::Retained;
use sessions::Sessions;
use state::{Stage, State};
use std::collections::VecDeque;
use subscriptions::Subscriptions;
pub use usage::Usage;
use wide::WideMessages;

/// How long after a call could not be asked for it is tried again.
const CALLS_PAUSE: Duration = Duration::from_millis(1);

/// Room without which a packet is not even looked at: enough for most answers.
const ROOM_MIN: usize = 64;

/// A server, with all its sessions.
pub struct Mqtt {
    policy: Policy,
    sessions: Sessions,
    subscriptions: Subscriptions,
    retained: Retained,
    account: Account,
    counters: Counters,
    /// Sessions whose connection is to be called, because messages wait for it.
    calls: VecDeque<u32>,
    /// Connections that are to be called because another one has taken their session.
    evictions: VecDeque<ConnId>,
    /// How many messages wait, each counted for each client.
    queued: u32,
    /// Messages to very many.
    wide: WideMessages,
    /// When to ask for calls again, or to get on with wide messages.
    asks_at: Instant,
    /// How many client identifiers were given out.
    assigned: u64,
    /// The time of the last call.
    now: Instant,
    /// How many subscriptions match the message that is being published.
    matching: u32,
    /// Kept so that its memory is: whom a message goes to.
    targets: Vec<Target>,
    /// Kept so that its memory is: the codes of a SUBACK.
    codes: Vec<u8>,
}

/// What became of the bytes at the front.
enum Step {
    /// So many were taken.
    Took(usize),
    /// They are only the beginning of a packet, or there is no room to answer it.
    Wait,
    /// The connection ends; what follows is ignored.
    End,
}

impl Mqtt {
    /// A server without clients. `secret` keys the hashes of what clients choose.
    pub fn new(policy: Policy, secret: Secret) -> Mqtt {
        let limits =
            retained::Limits { len_max: policy.retained_max, bytes_max: policy.retained_bytes_max };
        Mqtt {
            sessions: Sessions::new(policy.sessions_max, secret),
            subscriptions: Subscriptions::new(
                subscriptions::Limits {
                    len_max: policy.subscriptions_max,
                    bytes_max: policy.subscription_bytes_max,
                    session_len_max: policy.session_subscriptions_max,
                    session_bytes_max: policy.session_subscription_bytes_max,
                    shapes_max: policy.filter_shapes_max as usize,
                },
                secret,
            ),
            retained: Retained::new(limits, secret),
            account: Account::default(),
            counters: Counters::default(),
            calls: VecDeque::new(),
            evictions: VecDeque::new(),
            queued: 0,
            assigned: 0,
            now: Instant::ZERO,
            wide: WideMessages::default(),
            asks_at: Instant::ZERO,
            matching: 0,
            targets: Vec::new(),
            codes: Vec::new(),
            policy,
        }
    }

    /// What happened so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How many there are, and the memory that they take. It goes through all sessions for it.
    pub fn usage(&self) -> Usage {
        self.usage_with(self.sessions.memory())
    }

    /// The same where the sessions take `session_bytes`.
    fn usage_with(&self, session_bytes: usize) -> Usage {
        Usage {
            sessions: self.sessions.len(),
            subscriptions: self.subscriptions.len(),
            retained: self.retained.len(),
            queued: self.queued,
            message_bytes: self.account.bytes(),
            session_bytes,
            subscription_bytes: self.subscriptions.memory(),
            retained_bytes: self.retained.memory(),
        }
    }

    /// The retained message of `topic`.
    #[cfg(test)]
    pub(crate) fn retained_at(&self, topic: &str) -> Option<Vec<u8>> {
        let mut payload = None;
        self.retained.matching(topic, self.now, &mut usize::MAX.clone(), |message| {
            payload = Some(message.payload().to_vec());
            true
        });
        payload
    }

    /// The time is `now`: does what has become due.
    fn begin(&mut self, now: Instant) {
        self.now = now;
        self.work_off_due();
    }

    /// The session and the protocol of `conn`, unless it has none, or no more.
    fn connected(&self, conn: &mut Context<'_>) -> Option<(u32, Version)> {
        let State { stage: Stage::Connected(version), session, .. } = State::load(conn.state())
        else {
            return None;
        };
        let owner = self.sessions.get(session)?.conn;
        (owner == Some(conn.id())).then_some((session, version))
    }

    /// Takes the packet that `bytes` begin with.
    fn step(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> Step {
        let mut state = State::load(conn.state());
        if state.stage == Stage::Ended {
            return Step::End;
        }
        if is_blocked(conn) {
            return Step::Wait;
        }
        if let Stage::Connected(_) = state.stage
            && bytes.starts_with(&PINGREQ)
        {
            state.hear(conn.now());
            *conn.state() = state.store();
            conn.send(&PINGRESP);
            return Step::Took(2);
        }
        let frame = frame::split(bytes, self.policy.packet_len_max as usize);
        match state.stage {
            Stage::New => self.step_new(conn, bytes, frame),
            _ => self.step_connected(conn, frame),
        }
    }

    fn step_connected(
        &mut self,
        conn: &mut Context<'_>,
        frame: Result<Option<Frame<'_>>, Reason>,
    ) -> Step {
        let Some((at, version)) = self.connected(conn) else {
            self.evict(conn);
            return Step::End;
        };
        // What waits leaves before and after each packet, so it is all the same how those are cut.
        self.drain(conn, at);
        if is_blocked(conn) {
            return Step::Wait;
        }
        let taken = match frame {
            Ok(None) => {
                self.await_rest(conn, at);
                return Step::Wait;
            }
            Ok(Some(frame)) => {
                let mut state = State::load(conn.state());
                state.hear(conn.now());
                *conn.state() = state.store();
                self.packet(conn, at, version, &frame)
            }
            Err(reason) => Err(reason),
        };
        match taken {
            Ok(Step::Took(len)) => {
                self.drain(conn, at);
                Step::Took(len)
            }
            Ok(step) => step,
            Err(reason) => {
                self.refuse(conn, at, version, reason);
                Step::End
            }
        }
    }

    /// Asks for the connections to be called that are to be, but `conn`: its call is under way.
    fn call_others(&mut self, conn: &mut Context<'_>) {
        let own = conn.id();
        self.call(Some(own), |to| conn.invite(to));
    }

    /// Asks for connections to be called, until `invite` refuses.
    fn call(&mut self, own: Option<ConnId>, mut invite: impl FnMut(ConnId) -> bool) {
        // Unless all are, which takes the engine a while.
        self.asks_at = self.now + CALLS_PAUSE;
        while let Some(&id) = self.evictions.front() {
            if !invite(id) {
                return;
            }
            self.evictions.pop_front();
        }
        while let Some(&at) = self.calls.front() {
            if let Some(session) = self.sessions.get(at)
                && session.is_called
                && let Some(to) = session.conn
                && own != Some(to)
                && !invite(to)
            {
                return;
            }
            self.calls.pop_front();
        }
        self.asks_at = self.now;
    }
}

impl Service for Mqtt {
    fn on_open(&mut self, conn: &mut Context<'_>) {
        self.begin(conn.now());
        conn.wake_after(self.policy.connect_timeout);
        self.call_others(conn);
    }

    fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
        self.begin(conn.now());
        let mut taken = 0;
        while taken < bytes.len() {
            match self.step(conn, &bytes[taken..]) {
                Step::Took(len) => taken += len,
                Step::Wait => break,
                Step::End => {
                    taken = bytes.len();
                    break;
                }
            }
        }
        self.call_others(conn);
        taken
    }

    fn on_wake(&mut self, conn: &mut Context<'_>) {
        self.begin(conn.now());
        match State::load(conn.state()).stage {
            Stage::New => self.time_out_connect(conn),
            Stage::Connected(_) => match self.connected(conn) {
                Some((at, version)) => self.check_keep_alive(conn, at, version),
                None => self.evict(conn),
            },
            Stage::Ended => {}
        }
        self.call_others(conn);
    }

    fn on_room(&mut self, conn: &mut Context<'_>) {
        self.begin(conn.now());
        if let Stage::Connected(_) = State::load(conn.state()).stage {
            match self.connected(conn) {
                Some((at, _)) => self.drain(conn, at),
                None => self.evict(conn),
            }
        }
        self.call_others(conn);
    }

    fn on_peer_close(&mut self, conn: &mut Context<'_>) {
        self.begin(conn.now());
        if let Some((at, _)) = self.connected(conn) {
            self.detach(at, true);
        }
        end_state(conn);
        conn.close();
        self.call_others(conn);
    }

    fn on_close(&mut self, id: ConnId, _: u8, state: ServiceState, _: CloseReason) {
        let State { stage, session, .. } = State::load(&state);
        if let Stage::Connected(_) = stage
            && self.sessions.get(session).is_some_and(|session| session.conn == Some(id))
        {
            self.detach(session, true);
        }
    }

    fn events(&self, tell: &mut dyn FnMut(&'static str, u64)) {
        self.counters.named().into_iter().for_each(|(name, count)| tell(name, count));
    }

    /// Large servers go through their sessions a piece at a time: what those take may be minutes old.
    fn usage(&mut self, tell: &mut dyn FnMut(&'static str, u64)) {
        let session_bytes = self.sessions.take_stock();
        let usage = self.usage_with(session_bytes);
        usage.named().into_iter().for_each(|(name, amount)| tell(name, amount));
    }

    fn next_turn(&self) -> Option<Instant> {
        let is_asking = !self.calls.is_empty() || !self.evictions.is_empty();
        let asks_at = (is_asking || !self.wide.is_empty()).then_some(self.asks_at);
        [asks_at, self.sessions.first_due()].into_iter().flatten().min()
    }

    /// Between packets: not while the rest of one waits for room.
    fn takes_pushes(&self, _: u8, state: &ServiceState) -> bool {
        let State { stage, blocked, .. } = State::load(state);
        matches!(stage, Stage::Connected(_)) && !blocked
    }

    fn on_publish(
        &mut self,
        turn: &mut Turn<'_>,
        _: Option<u8>,
        topic: &str,
        message: &[u8],
    ) -> Result<Published, Unpublished> {
        self.begin(turn.now());
        let published = self.publish_unasked(topic, message);
        self.call(None, |to| turn.invite(to));
        published
    }

    /// Does what is due without any connection having something to do with it: wills that waited,
    /// sessions that end, calls that could not be asked for, and pieces of wide messages.
    fn on_turn(&mut self, turn: &mut Turn<'_>) {
        self.begin(turn.now());
        self.call(None, |to| turn.invite(to));
        self.go_on_with_wide(turn);
    }
}

/// The keys of a `--listen` URL that set the service.
pub const KEYS: &[&str] = &["keep-alive-max", "session-expiry-max"];

/// What the query of a `--listen` URL sets; the rest is as in [`Policy::default`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// [`Policy::keep_alive_s_max`].
    keep_alive_s_max: u16,
    /// [`Policy::session_expiry_s_max`], if there is a limit.
    session_expiry_s_max: Option<u32>,
}

impl Setup {
    /// Takes what `settings` say.
    ///
    /// # Errors
    ///
    /// When a value cannot be read, or is longer than the protocol can say.
    pub fn parse(settings: &mut Settings) -> Result<Setup, BadSetting> {
        let seconds = |value: &str| Some(humantime::parse_duration(value).ok()?.as_secs());
        let keep_alive = settings.take("keep-alive-max", "keep-alive-max=60s", |value| {
            u16::try_from(seconds(value)?).ok()
        })?;
        let session_expiry_s_max =
            settings.take("session-expiry-max", "session-expiry-max=1day", |value| {
                u32::try_from(seconds(value)?).ok()
            })?;
        Ok(Setup { keep_alive_s_max: keep_alive.unwrap_or(0), session_expiry_s_max })
    }

    /// The longest keep alive that clients of 5.0 are held to, if there is a limit.
    pub fn keep_alive_max(&self) -> Option<Duration> {
        let seconds = u64::from(self.keep_alive_s_max);
        (seconds > 0).then_some(Duration::from_secs(seconds))
    }

    /// The policy that it stands for.
    pub fn policy(&self) -> Policy {
        let Policy { session_expiry_s_max, .. } = Policy::default();
        Policy {
            keep_alive_s_max: self.keep_alive_s_max,
            session_expiry_s_max: self.session_expiry_s_max.unwrap_or(session_expiry_s_max),
            ..Policy::default()
        }
    }
}

/// Whether nothing can be answered on `conn` now; it is called again when that changes.
fn is_blocked(conn: &mut Context<'_>) -> bool {
    let blocked = State::load(conn.state()).blocked || conn.room() < ROOM_MIN;
    if blocked {
        conn.want_room();
    }
    blocked
}

/// Nothing that still comes on the connection matters.
fn end_state(conn: &mut Context<'_>) {
    let mut state = State::load(conn.state());
    state.stage = Stage::Ended;
    *conn.state() = state.store();
}

#[cfg(test)]
mod tests;
