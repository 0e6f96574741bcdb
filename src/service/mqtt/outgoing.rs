//! Messages to clients: whom they go to, how they wait, and how they leave.

use super::Mqtt;
use super::codec::property::Properties;
use super::codec::publish::{Delivery, SUBSCRIPTION_IDENTIFIERS_MAX};
use super::counters::Counters;
use super::message::{Content, Message};
use super::policy::Policy;
use super::session::{Extra, Identifiers, Inflight, Parcel};
use super::state::State;
use super::subscriptions::Subscription;
use super::topic;
use crate::service::Context;
use crate::service::mqtt::codec::Version;
use crate::service::unasked::{Published, Unpublished};
use crate::time::Instant;
use std::collections::VecDeque;
use std::sync::Arc;

/// A session that a message goes to, because of one subscription.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    session: u32,
    identifier: u32,
    qos: u8,
    retain_as_published: bool,
}

impl Target {
    /// The session of `subscription`, because of it.
    pub(super) fn of(subscription: &Subscription) -> Target {
        let &Subscription { session, identifier, qos, retain_as_published, .. } = subscription;
        Target { session, identifier, qos, retain_as_published }
    }
}

impl Mqtt {
    /// Finds whom a message from `publisher` to `topic` goes to; [`Mqtt::route`] is next. Returns
    /// whether there is anybody.
    pub(super) fn find_targets(&mut self, topic: &str, publisher: u64) -> bool {
        self.targets.clear();
        self.matching = self.subscriptions.count(topic);
        if self.is_wide() {
            return true;
        }
        let Mqtt { subscriptions, sessions, targets, .. } = self;
        let filters = subscriptions.matching(topic, |subscription| {
            let session = subscription.session;
            // MQTT-3.8.3-3.
            let is_own = || sessions.hash(&sessions[session].client_id) == publisher;
            if !subscription.no_local || !is_own() {
                targets.push(Target::of(subscription));
            }
        });
        if filters > 1 {
            targets.sort_unstable_by_key(|target| target.session);
        }
        !targets.is_empty()
    }

    /// Publishes `payload` to `topic` with QoS 0, for an operator or another thread.
    pub(super) fn publish_unasked(
        &mut self,
        topic: &str,
        payload: &[u8],
    ) -> Result<Published, Unpublished> {
        if !topic::is_name(topic) || topic::is_reserved(topic) || topic.contains('\0') {
            return Err(Unpublished::BadTopic);
        }
        // Every client has an identifier.
        let nobody = self.sessions.hash("");
        let content = Content {
            topic,
            properties: Properties::default().forwarded(),
            payload,
            qos: 0,
            retain: false,
            expiry_s: None,
            publisher: nobody,
        };
        // As of what clients publish: the fixed header, and the length of the topic.
        let is_long = topic.len() + payload.len() + 7 > self.policy.packet_len_max as usize;
        let is_wanted = self.find_targets(topic, nobody);
        let is_full = !self.has_room_for(content.len()) || self.is_too_wide();
        if is_long || topic.len() > usize::from(u16::MAX) || is_full {
            self.counters.refused_messages += 1;
            return Err(Unpublished::Full);
        }
        self.counters.published += 1;
        if !is_wanted {
            return Ok(Published::default());
        }
        let message = Message::keep(&content, self.now, &self.account);
        Ok(self.route(&message))
    }

    /// Whether the message that is being published is a wide one.
    pub(super) fn is_wide(&self) -> bool {
        self.matching > self.policy.at_once_max
    }

    /// Whether the message that is being published is a wide one, and there are too many of them.
    pub(super) fn is_too_wide(&self) -> bool {
        self.is_wide() && self.wide.len() >= self.policy.wide_max as usize
    }

    /// Has `message` go to those that [`Mqtt::find_targets`] has found, and returns for how many it waits;
    /// those that have no connection and get it with QoS 0 are not counted. Of a wide one these are all the
    /// subscriptions that match.
    pub(super) fn route(&mut self, message: &Arc<Message>) -> Published {
        if !self.is_wide() {
            self.catch_up();
            return self.deliver(message);
        }
        if self.is_too_wide() {
            self.counters.refused_messages += 1;
            return Published { queued: 0, full: self.matching };
        }
        self.spread(message, self.matching)
    }

    /// Those found get the wide messages that they were not reached by yet.
    fn catch_up(&mut self) {
        if self.wide.is_empty() {
            return;
        }
        let targets = core::mem::take(&mut self.targets);
        for target in &targets {
            self.catch_up_with(target.session);
        }
        self.targets = targets;
    }

    /// Has `message` wait for each of the targets, which stand together by session. Of subscriptions of one session that overlap
    /// it gets one copy, with the greatest quality of service (MQTT-3.3.4-2; 3.1.1: MQTT-3.3.5-1) and all
    /// their identifiers (MQTT-3.3.4-3, -4), as far as one packet holds them.
    pub(super) fn deliver(&mut self, message: &Arc<Message>) -> Published {
        let mut published = Published::default();
        let targets = core::mem::take(&mut self.targets);
        for of_session in targets.chunk_by(|a, b| a.session == b.session) {
            for part in of_session.chunks(SUBSCRIPTION_IDENTIFIERS_MAX) {
                let granted = part.iter().map(|target| target.qos).max().unwrap_or(0);
                let as_published = part.iter().any(|target| target.retain_as_published);
                let mut identifiers = [0; SUBSCRIPTION_IDENTIFIERS_MAX];
                let mut len = 0;
                for target in part.iter().filter(|target| target.identifier != 0) {
                    identifiers[len] = target.identifier;
                    len += 1;
                }
                let parcel = Parcel {
                    message: Arc::clone(message),
                    // MQTT-3.8.4-8.
                    qos: message.qos.min(granted),
                    // MQTT-3.3.1-12, -13; 3.1.1: MQTT-3.3.1-9.
                    retain: message.retain && as_published,
                    identifiers: Identifiers::new(&identifiers[..len]),
                };
                let session = part[0].session;
                let waits = parcel.qos > 0 || self.sessions[session].conn.is_some();
                match self.enqueue(session, parcel) {
                    true => published.queued += u32::from(waits),
                    false => published.full += 1,
                }
            }
        }
        self.targets = targets;
        published
    }

    /// Has `parcel` wait for session `at`. Without a connection only what has QoS 1 waits
    /// (MQTT-3.1.2-5 of 3.1.1, and section 4.1 of 5.0). Returns whether there was room.
    pub(super) fn enqueue(&mut self, at: u32, parcel: Parcel) -> bool {
        let session = &mut self.sessions[at];
        if session.conn.is_none() && parcel.qos == 0 {
            return true;
        }
        let extra = session.extra_mut();
        if extra.queue.len() >= self.policy.queue_max as usize
            || self.queued >= self.policy.queues_max
        {
            self.counters.dropped_queue_full += 1;
            session.shrink();
            return false;
        }
        extra.queue.push_back(parcel);
        self.queued += 1;
        if session.conn.is_some() && !session.is_called {
            session.is_called = true;
            self.calls.push_back(at);
        }
        true
    }

    /// Sends `bytes` on `conn`, which has session `at`; what there is no room for waits, and nothing
    /// is sent before it.
    pub(super) fn reply(&mut self, conn: &mut Context<'_>, at: u32, bytes: &[u8]) {
        let mut state = State::load(conn.state());
        let sent = if state.blocked { 0 } else { conn.send(bytes) };
        if sent < bytes.len() {
            self.sessions[at].extra_mut().backlog.push(&bytes[sent..]);
            state.blocked = true;
            *conn.state() = state.store();
            conn.want_room();
        }
    }

    /// Sends what waits for session `at`, as far as there is room on `conn`, its connection.
    pub(super) fn drain(&mut self, conn: &mut Context<'_>, at: u32) {
        let Mqtt { sessions, counters, policy, queued, .. } = self;
        let session = &mut sessions[at];
        session.is_called = false;
        let version = session.version;
        let Some(extra) = session.extra_if_any() else { return };
        let mut line = Line { conn, extra, version, counters };
        let before = line.extra.queue.len();
        line.send_all(policy);
        let sent = before - line.extra.queue.len();
        *queued -= u32::try_from(sent).expect("within the limit");
        if line.extra.queue.is_empty() {
            line.extra.queue = VecDeque::new();
        }
        session.shrink();
    }
}

/// What waits for a client, and the way to it.
struct Line<'l, 'c> {
    conn: &'l mut Context<'c>,
    extra: &'l mut Extra,
    version: Version,
    counters: &'l mut Counters,
}

impl Line<'_, '_> {
    fn send_all(&mut self, policy: &Policy) {
        if !self.flush() {
            return;
        }
        let unacknowledged_max =
            usize::from(self.extra.appetite.receive_maximum.min(policy.inflight_max).max(1));
        if !self.send_again(unacknowledged_max) {
            return;
        }
        let now = self.conn.now();
        while let Some(parcel) = self.extra.queue.front() {
            // MQTT-3.3.4-9: what has QoS 0 waits too, so the order stays.
            if parcel.qos > 0 && self.extra.inflight.len() >= unacknowledged_max {
                return;
            }
            if self.conn.room() == 0 {
                return self.conn.want_room();
            }
            let Some(parcel) = self.extra.queue.pop_front() else { return };
            if parcel.message.has_expired(now) {
                self.counters.dropped_expired += 1;
                continue;
            }
            let identifier = if parcel.qos > 0 { self.extra.next_identifier() } else { 0 };
            if !self.send(&parcel, identifier, false, now) {
                continue;
            }
            self.counters.delivered += 1;
            if parcel.qos > 0 {
                self.extra.inflight.push_back(Inflight { identifier, parcel, is_sent: true });
            }
            if !self.extra.backlog.is_empty() {
                return;
            }
        }
    }

    /// Sends what was sent on an earlier connection and not acknowledged, with its identifier and in
    /// its order (MQTT-4.4.0-1, -4.6.0-1). Returns whether there is room for more.
    fn send_again(&mut self, unacknowledged_max: usize) -> bool {
        if self.extra.inflight.iter().all(|inflight| inflight.is_sent) {
            return true;
        }
        let now = self.conn.now();
        let mut at = 0;
        while at < self.extra.inflight.len().min(unacknowledged_max) {
            if self.extra.inflight[at].is_sent {
                at += 1;
                continue;
            }
            if self.conn.room() == 0 {
                self.conn.want_room();
                return false;
            }
            let Inflight { identifier, ref parcel, .. } = self.extra.inflight[at];
            let parcel = parcel.clone();
            if self.send(&parcel, identifier, true, now) {
                self.counters.redelivered += 1;
                self.extra.inflight[at].is_sent = true;
                at += 1;
            } else {
                self.extra.inflight.remove(at);
            }
            if !self.extra.backlog.is_empty() {
                return false;
            }
        }
        self.extra.inflight.iter().all(|inflight| inflight.is_sent)
    }

    /// Sends `parcel`; what there is no room for becomes the backlog. Returns `false`, and sends
    /// nothing, if it is longer than the client takes (MQTT-3.1.2-24, -25).
    fn send(&mut self, parcel: &Parcel, identifier: u16, dup: bool, now: Instant) -> bool {
        let message = &parcel.message;
        let delivery = Delivery {
            dup,
            qos: parcel.qos,
            retain: parcel.retain,
            topic: message.topic(),
            identifier,
            expiry_s: message.expiry_s(now),
            subscription_identifiers: parcel.identifiers.as_slice(),
            properties: message.properties(),
            payload: message.payload(),
        };
        if delivery.len(self.version) > self.extra.appetite.packet_len_max as usize {
            self.counters.dropped_too_large += 1;
            return false;
        }
        self.extra.backlog.deliver(self.conn, message, &delivery, self.version);
        if !self.extra.backlog.is_empty() {
            self.set_blocked(true);
            self.conn.want_room();
        }
        true
    }

    /// Sends the rest of a packet. Returns whether there is none any more.
    fn flush(&mut self) -> bool {
        if self.extra.backlog.is_empty() {
            return true;
        }
        if !self.extra.backlog.flush(self.conn) {
            self.conn.want_room();
            return false;
        }
        self.set_blocked(false);
        true
    }

    fn set_blocked(&mut self, blocked: bool) {
        let mut state = State::load(self.conn.state());
        state.blocked = blocked;
        *self.conn.state() = state.store();
    }
}
