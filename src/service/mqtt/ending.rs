//! The end of connections and of sessions.

use super::admission::FOR_EVER_S;
use super::backlog::Backlog;
use super::codec::{Reason, Version, disconnect};
use super::message::Message;
use super::state::{HEARD_GRAIN, Stage, State};
use super::{Mqtt, end_state};
use crate::service::Context;
use crate::tcp::CloseReason;
use crate::time::Duration;
use std::sync::Arc;

/// How many sessions without a connection one call does something about.
const DUE_MAX: usize = 64;

impl Mqtt {
    /// Ends `conn` because of `reason`, which a 5.0 client is told (MQTT-4.13.1-1).
    pub(super) fn refuse(
        &mut self,
        conn: &mut Context<'_>,
        at: u32,
        version: Version,
        reason: Reason,
    ) {
        self.counters.refuse(reason);
        self.say_goodbye(conn, version, self.sessions[at].appetite().packet_len_max, reason);
        end_state(conn);
        self.detach(at, true);
        conn.close_for(match reason {
            Reason::KeepAliveTimeout => CloseReason::HeartbeatMissed,
            _ => CloseReason::ProtocolError,
        });
        // The client may be in the middle of what is too long, and a reset would overtake the reason.
        conn.close_and_linger();
    }

    /// Ends `conn`, whose session another connection has taken (MQTT-3.1.4-3; 3.1.1: MQTT-3.1.4-2).
    pub(super) fn evict(&mut self, conn: &mut Context<'_>) {
        if let Stage::Connected(version) = State::load(conn.state()).stage {
            self.say_goodbye(conn, version, u32::MAX, Reason::SessionTakenOver);
        }
        end_state(conn);
        conn.close();
    }

    fn say_goodbye(
        &self,
        conn: &mut Context<'_>,
        version: Version,
        packet_len_max: u32,
        reason: Reason,
    ) {
        let packet = disconnect::encode(reason);
        let len = packet.bytes().len();
        let can = !State::load(conn.state()).blocked && conn.room() >= len;
        if version == Version::V5 && can && len <= packet_len_max as usize {
            conn.send(packet.bytes());
        }
    }

    /// No CONNECT came in time (section 3.1.4 of both).
    pub(super) fn time_out_connect(&mut self, conn: &mut Context<'_>) {
        self.counters.connect_timeouts += 1;
        end_state(conn);
        conn.close_for(CloseReason::HeartbeatMissed);
    }

    /// Ends `conn` if nothing came on it for too long, or the rest of a packet did not, and otherwise looks
    /// again when that would be so.
    pub(super) fn check_keep_alive(&mut self, conn: &mut Context<'_>, at: u32, version: Version) {
        let state = State::load(conn.state());
        let left = self.sessions[at]
            .silence_max()
            .map(|most| most.saturating_sub(state.silence(conn.now())));
        // While a packet has begun, there is no wake but for its end and for the keep alive's, which may be
        // a little early.
        let is_early = |left: Duration| !left.is_zero() && left < 2 * HEARD_GRAIN;
        match left {
            Some(left) if is_early(left) || !left.is_zero() && !state.partial => {
                conn.wake_after(left);
            }
            None if !state.partial => {}
            _ => self.refuse(conn, at, version, Reason::KeepAliveTimeout),
        }
    }

    /// A packet on `conn`, which has session `at`, has begun to come: it is waited for, but not for ever,
    /// as its beginning has a promoted connection's place meanwhile.
    pub(super) fn await_rest(&mut self, conn: &mut Context<'_>, at: u32) {
        let mut state = State::load(conn.state());
        if core::mem::replace(&mut state.partial, true) {
            return;
        }
        *conn.state() = state.store();
        let silence_max = self.sessions[at].silence_max();
        let left = silence_max.map(|most| most.saturating_sub(state.silence(conn.now())));
        let timeout = self.policy.packet_timeout;
        conn.wake_after(left.map_or(timeout, |left| left.min(timeout)));
    }

    /// The connection of session `at` has ended; with its will to be published, or without.
    pub(super) fn detach(&mut self, at: u32, with_will: bool) {
        let now = self.now;
        let session = &mut self.sessions[at];
        session.conn = None;
        session.is_called = false;
        let expiry_s = session.expiry_s;
        let mut will_due = None;
        if let Some(extra) = session.extra_if_any() {
            extra.backlog = Backlog::default();
            extra.aliases = Vec::new();
            if !with_will {
                extra.will = None;
            }
            will_due = extra.will.as_ref().map(|will| now + will.delay);
        }
        if expiry_s == 0 {
            return self.end(at);
        }
        if will_due == Some(now) {
            self.publish_will(at);
            will_due = None;
        }
        let ends = (expiry_s != FOR_EVER_S).then(|| now + Duration::from_secs(expiry_s.into()));
        if ends.is_some() {
            self.sessions[at].extra_mut().ends = ends;
        }
        let due = [will_due, ends].into_iter().flatten().min();
        self.sessions.set_due(at, due);
        self.sessions[at].shrink();
    }

    /// Session `at` ends, which has no connection: its will waits no longer (MQTT-3.1.2-8), its
    /// subscriptions and messages are forgotten.
    pub(super) fn end(&mut self, at: u32) {
        self.publish_will(at);
        let mut session = self.sessions.remove(at);
        self.subscriptions.unsubscribe_all(&mut session.subscriptions);
        let queued = session.extra().map_or(0, |extra| extra.queue.len());
        self.queued -= u32::try_from(queued).expect("within the limit");
    }

    /// Publishes the will of session `at`, if it has one.
    pub(super) fn publish_will(&mut self, at: u32) {
        let extra = self.sessions[at].extra_if_any();
        let Some(will) = extra.and_then(|extra| extra.will.take()) else { return };
        self.counters.wills += 1;
        let message: Arc<Message> = will.message;
        if message.retain && self.retain(&message).is_err() {
            self.retained.remove(message.topic());
        }
        self.find_targets(message.topic(), message.publisher);
        self.route(&message);
    }

    /// Does what has become due for sessions without a connection, some of it.
    pub(super) fn work_off_due(&mut self) {
        for _ in 0..DUE_MAX {
            let Some(at) = self.sessions.next_due(self.now) else { return };
            let ends = self.sessions[at].extra().and_then(|extra| extra.ends);
            if ends.is_some_and(|ends| ends <= self.now) {
                self.end(at);
            } else {
                self.publish_will(at);
                self.sessions.set_due(at, ends);
                self.sessions[at].shrink();
            }
        }
    }
}
