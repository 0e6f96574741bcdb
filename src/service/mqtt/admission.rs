//! A client's CONNECT, and whether it is accepted.

use super::backlog::Backlog;
use super::codec::connect::{self, Connack, Connect, Refusal, Will as CodecWill};
use super::codec::frame::{Frame, Kind};
use super::codec::{self, Reason, Version};
use super::message::{Content, Message};
use super::session::{Appetite, Session, Will};
use super::state::{Stage, State};
use super::{Mqtt, Step, end_state, topic};
use crate::service::Context;
use crate::tcp::CloseReason;
use crate::time::Duration;

/// The longest client identifier, in bytes; that of 23 is only what a server must take at least
/// (MQTT-3.1.3-5).
const CLIENT_ID_LEN_MAX: usize = 256;

/// The property's value for a session that never ends (5.0 section 3.1.2.11.2).
pub(super) const FOR_EVER_S: u32 = u32::MAX;

impl Mqtt {
    /// Takes the first packet.
    pub(super) fn step_new(
        &mut self,
        conn: &mut Context<'_>,
        bytes: &[u8],
        frame: Result<Option<Frame<'_>>, Reason>,
    ) -> Step {
        let silent = |reason| Refusal { version: None, reason };
        let accepted = match frame {
            // MQTT-3.1.0-1, which the first byte shows.
            _ if bytes.first().is_some_and(|&first| first != Kind::Connect.first_byte()) => {
                Err(silent(Reason::ProtocolError))
            }
            Ok(None) => return Step::Wait,
            Ok(Some(frame)) => codec::first(&frame).and_then(|connect| {
                self.admit(conn, &connect).map_err(|refusal| within(refusal, &connect))?;
                Ok(frame.len)
            }),
            Err(reason) => Err(silent(reason)),
        };
        match accepted {
            Ok(len) => Step::Took(len),
            Err(refusal) => {
                self.refuse_client(conn, refusal);
                Step::End
            }
        }
    }

    fn refuse_client(&mut self, conn: &mut Context<'_>, Refusal { version, reason }: Refusal) {
        self.counters.refuse(reason);
        if let Some(answer) = version.and_then(|version| connect::refuse(version, reason)) {
            conn.send(answer.bytes());
        }
        // MQTT-3.1.4-6 (3.1.1: -5): what follows is not processed.
        end_state(conn);
        conn.close_for(CloseReason::ProtocolError);
    }

    fn admit(&mut self, conn: &mut Context<'_>, connect: &Connect<'_>) -> Result<(), Refusal> {
        let version = connect.version;
        let refuse = |reason| Refusal { version: Some(version), reason };
        self.check(connect).map_err(refuse)?;
        let assigned = connect.client_id.is_empty().then(|| self.assign_client_id());
        let client_id = assigned.as_deref().unwrap_or(connect.client_id);
        let wanted_expiry_s = match version {
            // Clean Session does both: MQTT-3.1.2-4 and -6 of 3.1.1.
            Version::V311 => {
                if connect.clean {
                    0
                } else {
                    FOR_EVER_S
                }
            }
            Version::V5 => connect.properties.session_expiry_s.unwrap_or(0),
        };
        let expiry_s = wanted_expiry_s.min(self.policy.session_expiry_s_max);
        let keep_alive_s = self.keep_alive_s(connect);
        let mut connack = Connack {
            session_present: false,
            assigned_client_id: assigned.as_deref(),
            server_keep_alive_s: (keep_alive_s != connect.keep_alive_s).then_some(keep_alive_s),
            session_expiry_s: (expiry_s != wanted_expiry_s).then_some(expiry_s),
            packet_len_max: self.policy.packet_len_max,
            topic_alias_max: self.policy.topic_alias_max,
        };
        let appetite = Appetite {
            receive_maximum: connect.properties.receive_maximum.unwrap_or(u16::MAX),
            packet_len_max: connect.properties.maximum_packet_size.unwrap_or(u32::MAX),
        };
        if connack.encode(version).bytes().len() > appetite.packet_len_max as usize {
            return Err(refuse(Reason::PacketTooLarge));
        }
        let (at, resumed) = self.take_up(connect, client_id).map_err(refuse)?;
        connack.session_present = resumed;
        self.counters.connected += 1;
        self.counters.resumed += u64::from(resumed);

        let will = self.keep_will(connect, client_id);
        let session = &mut self.sessions[at];
        session.conn = Some(conn.id());
        session.version = version;
        session.expiry_s = expiry_s;
        session.keep_alive_s = keep_alive_s;
        if will.is_some() || appetite != Appetite::default() || session.extra().is_some() {
            let extra = session.extra_mut();
            (extra.will, extra.appetite) = (will, appetite);
            extra.inflight.iter_mut().for_each(|inflight| inflight.is_sent = false);
        }
        let mut state = State::load(conn.state());
        (state.stage, state.session) = (Stage::Connected(version), at);
        state.hear(conn.now());
        *conn.state() = state.store();
        match session.silence_max() {
            Some(silence_max) => conn.wake_after(silence_max),
            None => conn.no_wake(),
        }
        // MQTT-3.2.0-1: what waits comes after it.
        self.reply(conn, at, connack.encode(version).bytes());
        self.drain(conn, at);
        Ok(())
    }

    /// Whether the server does what `connect` asks for, and lets this client in.
    fn check(&self, connect: &Connect<'_>) -> Result<(), Reason> {
        if connect.properties.authentication_method.is_some() {
            // MQTT-4.12.0-1: it knows no methods.
            return Err(Reason::BadAuthenticationMethod);
        }
        // MQTT-3.1.3-8 of 3.1.1; 5.0 assigns one.
        let nameless = connect.client_id.is_empty();
        if nameless && connect.version == Version::V311 && !connect.clean
            || connect.client_id.len() > CLIENT_ID_LEN_MAX
        {
            return Err(Reason::ClientIdentifierNotValid);
        }
        if let Some(will) = &connect.will {
            if will.qos > 1 {
                // MQTT-3.2.2-12.
                return Err(Reason::QosNotSupported);
            }
            if !topic::is_name(will.topic) || topic::is_reserved(will.topic) {
                return Err(Reason::TopicNameInvalid);
            }
            let answer_to = will.properties.response_topic;
            if answer_to.is_some_and(|topic| !topic::is_name(topic)) {
                return Err(Reason::ProtocolError);
            }
            if !self.has_room_for(self.content_of(will, connect.client_id).len()) {
                return Err(Reason::QuotaExceeded);
            }
        }
        (self.policy.authenticator)(connect)
    }

    /// The keep alive that holds for `connect`, in seconds.
    fn keep_alive_s(&self, connect: &Connect<'_>) -> u16 {
        let (wanted, max) = (connect.keep_alive_s, self.policy.keep_alive_s_max);
        let too_long = max > 0 && (wanted == 0 || wanted > max);
        if connect.version == Version::V5 && too_long { max } else { wanted }
    }

    /// A client identifier that no session has (MQTT-3.2.2-16).
    fn assign_client_id(&mut self) -> String {
        loop {
            self.assigned += 1;
            let unguessable = self.sessions.hash(&format!("assigned {}", self.assigned));
            let client_id = format!("tenmil-{unguessable:016x}");
            if self.sessions.find(&client_id).is_none() {
                return client_id;
            }
        }
    }

    /// The session for `connect`, and whether it was there before.
    fn take_up(&mut self, connect: &Connect<'_>, client_id: &str) -> Result<(u32, bool), Reason> {
        if let Some(at) = self.sessions.find(client_id) {
            self.disown(at, connect.clean);
            // It may have ended with its connection.
            if let Some(existing) = self.sessions.get_mut(at) {
                existing.version = connect.version;
                self.sessions.set_due(at, None);
                return Ok((at, true));
            }
        }
        let session = Session::new(client_id, connect.version, self.wide.newest());
        let at = self.sessions.insert(session).map_err(|_| Reason::QuotaExceeded)?;
        Ok((at, false))
    }

    /// Takes session `at` from whoever has it, for another connection; `clean` if that one begins
    /// anew.
    ///
    /// The will of the connection that loses it is published, unless it was to wait and the session
    /// goes on (5.0 section 3.1.4, and MQTT-3.1.3-9 for a connection that has ended already).
    fn disown(&mut self, at: u32, clean: bool) {
        let session = &mut self.sessions[at];
        let loser = session.conn.take();
        session.is_called = false;
        let ends = clean || loser.is_some() && session.expiry_s == 0;
        let mut will_is_due = ends;
        if let Some(extra) = session.extra_if_any() {
            let is_due = |will: &Will| loser.is_some() && will.delay.is_zero();
            will_is_due |= extra.will.as_ref().is_some_and(is_due);
            extra.backlog = Backlog::default();
            extra.aliases.clear();
            extra.ends = None;
            if !will_is_due {
                extra.will = None;
            }
        }
        if let Some(loser) = loser {
            self.counters.taken_over += 1;
            self.evictions.push_back(loser);
        }
        if will_is_due {
            self.publish_will(at);
        }
        if ends {
            self.end(at);
        }
    }

    fn keep_will(&mut self, connect: &Connect<'_>, client_id: &str) -> Option<Will> {
        let will = connect.will.as_ref()?;
        let content = self.content_of(will, client_id);
        let delay_s = u64::from(will.properties.will_delay_s.unwrap_or(0));
        let message = Message::keep(&content, self.now, &self.account);
        Some(Will { message, delay: Duration::from_secs(delay_s) })
    }

    /// What is kept of `will`.
    fn content_of<'a>(&self, will: &CodecWill<'a>, client_id: &str) -> Content<'a> {
        Content {
            topic: will.topic,
            properties: will.properties.forwarded(),
            payload: will.payload,
            qos: will.qos,
            retain: will.retain,
            expiry_s: will.properties.message_expiry_s,
            publisher: self.sessions.hash(client_id),
        }
    }
}

/// `refusal` as it may be told to the client of `connect`: not at all, if the packet that says so is longer
/// than it takes (MQTT-3.1.2-24).
fn within(refusal: Refusal, connect: &Connect<'_>) -> Refusal {
    let len_max = connect.properties.maximum_packet_size.unwrap_or(u32::MAX);
    let answer = refusal.version.and_then(|version| connect::refuse(version, refusal.reason));
    match answer {
        Some(answer) if answer.bytes().len() > len_max as usize => {
            Refusal { version: None, ..refusal }
        }
        _ => refusal,
    }
}
