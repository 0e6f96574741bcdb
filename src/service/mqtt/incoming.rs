//! The packets that a client sends after its CONNECT.

use super::codec::acknowledgment::{self, Acknowledgment, PINGRESP};
use super::codec::disconnect::Disconnect;
use super::codec::frame::{Frame, Kind};
use super::codec::publish::Publish;
use super::codec::subscribe::{self, Options, Subscribe, Unsubscribe};
use super::codec::{Packet, Reason, Version};
use super::message::{Content, Message, Topic};
use super::retained::Full;
use super::session::{Identifiers, Parcel};
use super::subscriptions::wants_retained;
use super::{Mqtt, Step, end_state, topic};
use crate::service::Context;
use std::borrow::Cow;
use std::sync::Arc;

/// The greatest quality of service that is granted.
const QOS_MAX: u8 = 1;

/// The return code of a subscription that a 3.1.1 SUBACK refuses (section 3.9.3).
const FAILURE: u8 = 0x80;

/// How many levels of retained topics one SUBSCRIBE has looked at.
const LOOKS_MAX: usize = 1 << 17;

impl Mqtt {
    /// Takes `frame`, which came on `conn` of session `at`.
    pub(super) fn packet(
        &mut self,
        conn: &mut Context<'_>,
        at: u32,
        version: Version,
        frame: &Frame<'_>,
    ) -> Result<Step, Reason> {
        match Packet::decode(frame, version)? {
            Packet::Publish(publish) => self.publish(conn, at, version, &publish)?,
            Packet::Acknowledgment(acknowledgment) => {
                self.acknowledgment(conn, at, version, acknowledgment)?;
            }
            Packet::Subscribe(subscribe) => self.subscribe(conn, at, version, &subscribe)?,
            Packet::Unsubscribe(unsubscribe) => {
                self.unsubscribe(conn, at, version, &unsubscribe)?;
            }
            Packet::Pingreq => self.reply(conn, at, &PINGRESP),
            Packet::Disconnect(disconnect) => {
                self.disconnect(conn, at, disconnect)?;
                return Ok(Step::End);
            }
            // MQTT-3.1.0-2, and MQTT-4.12.0-7: no method was accepted.
            Packet::Connect | Packet::Auth => return Err(Reason::ProtocolError),
        }
        Ok(Step::Took(frame.len))
    }

    fn publish(
        &mut self,
        conn: &mut Context<'_>,
        at: u32,
        version: Version,
        publish: &Publish<'_>,
    ) -> Result<(), Reason> {
        if publish.qos > QOS_MAX {
            // Section 3.2.2.3.4 of 5.0.
            return Err(Reason::QosNotSupported);
        }
        if version == Version::V5
            && publish.topic.is_empty()
            && publish.properties.topic_alias.is_none()
        {
            // Section 3.3.2.1.
            return Err(Reason::ProtocolError);
        }
        let topic = self.resolve_alias(at, publish)?;
        if !topic::is_name(&topic) {
            // MQTT-3.3.2-2, -4.7.3-1.
            return Err(Reason::TopicNameInvalid);
        }
        let answer_to = publish.properties.response_topic;
        if answer_to.is_some_and(|topic| !topic::is_name(topic)) {
            // MQTT-3.3.2-14.
            return Err(Reason::ProtocolError);
        }
        self.counters.published += 1;
        let reason = self.take_message(at, version, &topic, publish)?;
        if publish.qos > 0 {
            let puback = acknowledgment::encode(Kind::Puback, version, publish.identifier, reason);
            self.reply(conn, at, puback.bytes());
        }
        Ok(())
    }

    /// The topic of `publish`, which an alias may stand for (5.0 sections 3.3.2.3.4 and 3.3.4).
    fn resolve_alias<'a>(
        &mut self,
        at: u32,
        publish: &Publish<'a>,
    ) -> Result<Cow<'a, str>, Reason> {
        let Some(alias) = publish.properties.topic_alias else {
            return Ok(Cow::Borrowed(publish.topic));
        };
        if alias == 0 || alias > self.policy.topic_alias_max {
            // MQTT-3.3.2-8, -9.
            return Err(Reason::TopicAliasInvalid);
        }
        let place = usize::from(alias) - 1;
        if publish.topic.is_empty() {
            let extra = self.sessions[at].extra();
            let known = extra.and_then(|extra| extra.aliases.get(place)?.as_ref());
            let topic = known.ok_or(Reason::ProtocolError)?.text();
            return Ok(Cow::Owned(topic.to_owned()));
        }
        if !self.has_room_for(publish.topic.len()) {
            // It cannot be told in another way, and what follows would mean something else.
            return Err(Reason::QuotaExceeded);
        }
        let aliases = &mut self.sessions[at].extra_mut().aliases;
        if aliases.len() <= place {
            aliases.resize_with(place + 1, || None);
        }
        aliases[place] = Some(Topic::keep(publish.topic, &self.account));
        Ok(Cow::Borrowed(publish.topic))
    }

    /// Takes a message over, and says how that went.
    fn take_message(
        &mut self,
        at: u32,
        version: Version,
        topic: &str,
        publish: &Publish<'_>,
    ) -> Result<Reason, Reason> {
        if topic::is_reserved(topic) {
            // Section 4.7.2: clients do not use the server's topics among themselves.
            self.counters.dropped_reserved += 1;
            return Ok(Reason::TopicNameInvalid);
        }
        let content = Content {
            topic,
            properties: publish.properties.forwarded(),
            payload: publish.payload,
            qos: publish.qos,
            retain: publish.retain,
            expiry_s: publish.properties.message_expiry_s,
            publisher: self.sessions.hash(&self.sessions[at].client_id),
        };
        let is_wanted = self.find_targets(topic, content.publisher);
        if !is_wanted && !publish.retain {
            return Ok(Reason::NoMatchingSubscribers);
        }
        let can_be_told = publish.qos > 0 && version == Version::V5;
        if !self.has_room_for(content.len()) || self.is_too_wide() {
            self.counters.refused_messages += 1;
            return match publish.qos {
                // At most once.
                0 => Ok(Reason::QuotaExceeded),
                _ if can_be_told => Ok(Reason::QuotaExceeded),
                // 3.1.1 cannot be told, and must not take it for delivered.
                _ => Err(Reason::QuotaExceeded),
            };
        }
        let message = Message::keep(&content, self.now, &self.account);
        if publish.retain && self.retain(&message).is_err() {
            if can_be_told {
                // Nothing happened: an earlier one is still the last.
                return Ok(Reason::QuotaExceeded);
            }
            self.retained.remove(topic);
        }
        self.route(&message);
        Ok(if is_wanted { Reason::Success } else { Reason::NoMatchingSubscribers })
    }

    /// Whether messages may take `len` more bytes.
    pub(super) fn has_room_for(&self, len: usize) -> bool {
        self.account.bytes() + len <= self.policy.message_bytes_max
    }

    /// Retains `message`, or if it is empty forgets that of its topic (MQTT-3.3.1-6, -7).
    ///
    /// # Errors
    ///
    /// When there is no room, which is counted. If the message is delivered all the same, an earlier one is to
    /// be forgotten: who subscribes later would take it for the last one, and to know none is better.
    pub(super) fn retain(&mut self, message: &Arc<Message>) -> Result<(), Full> {
        if message.payload().is_empty() {
            self.retained.remove(message.topic());
            return Ok(());
        }
        let kept = self.retained.insert(Arc::clone(message), self.now);
        self.counters.refused_retained += u64::from(kept.is_err());
        kept
    }

    fn acknowledgment(
        &mut self,
        conn: &mut Context<'_>,
        at: u32,
        version: Version,
        acknowledgment: Acknowledgment,
    ) -> Result<(), Reason> {
        let identifier = acknowledgment.identifier;
        match acknowledgment.kind {
            Kind::Puback => {
                // Whatever the code (MQTT-4.4.0-2). One that is not known is ignored: it may be of an
                // earlier session.
                if let Some(extra) = self.sessions[at].extra_if_any() {
                    extra.inflight.retain(|inflight| inflight.identifier != identifier);
                }
                Ok(())
            }
            Kind::Pubrel => {
                // Of a message that another server took, or nobody: QoS 2 is refused here.
                let reason = Reason::PacketIdentifierNotFound;
                let pubcomp = acknowledgment::encode(Kind::Pubcomp, version, identifier, reason);
                self.reply(conn, at, pubcomp.bytes());
                Ok(())
            }
            // Nothing was sent with QoS 2.
            _ => Err(Reason::ProtocolError),
        }
    }

    fn subscribe(
        &mut self,
        conn: &mut Context<'_>,
        at: u32,
        version: Version,
        subscribe: &Subscribe<'_>,
    ) -> Result<(), Reason> {
        for (filter, options) in subscribe.filters() {
            if topic::is_shared(filter) && version == Version::V5 {
                // Section 3.2.2.3.13, or MQTT-3.8.3-4.
                return Err(match options.no_local {
                    true => Reason::ProtocolError,
                    false => Reason::SharedSubscriptionsNotSupported,
                });
            }
            if !topic::is_filter(filter) {
                // MQTT-4.7.1-1, -2, -4.7.3-1.
                return Err(Reason::TopicFilterInvalid);
            }
        }
        let head = subscribe::suback_head(version, subscribe.identifier, subscribe.len);
        self.check_appetite(at, head.bytes().len() + subscribe.len)?;
        // What was published before is not for the new ones.
        self.catch_up_with(at);
        let mut codes = core::mem::take(&mut self.codes);
        codes.clear();
        let identifier = subscribe.subscription_identifier.unwrap_or(0);
        let mut wanted = Vec::new();
        for (filter, options) in subscribe.filters() {
            match self.subscribe_one(at, version, filter, options, identifier) {
                Ok(retained_wanted) => {
                    codes.push(options.qos.min(QOS_MAX));
                    if retained_wanted {
                        wanted.push((filter, options));
                    }
                }
                Err(code) => codes.push(code),
            }
        }
        self.reply(conn, at, head.bytes());
        self.reply(conn, at, &codes);
        self.codes = codes;
        let mut looks = LOOKS_MAX;
        for (filter, options) in wanted {
            self.send_retained(at, filter, options, identifier, &mut looks);
        }
        Ok(())
    }

    /// Subscribes to one filter, which is valid. Returns whether retained messages are wanted.
    ///
    /// # Errors
    ///
    /// The code to refuse it with.
    fn subscribe_one(
        &mut self,
        at: u32,
        version: Version,
        filter: &str,
        options: Options,
        identifier: u32,
    ) -> Result<bool, u8> {
        let refusal = |reason: Reason| match version {
            Version::V311 => FAILURE,
            Version::V5 => reason.code(),
        };
        if topic::is_shared(filter) {
            // 3.1.1 knows none, but whoever asks expects one.
            return Err(FAILURE);
        }
        let granted = Options { qos: options.qos.min(QOS_MAX), ..options };
        let Mqtt { sessions, subscriptions, .. } = self;
        let list = &mut sessions[at].subscriptions;
        match subscriptions.subscribe(list, at, filter, granted, identifier) {
            Ok(existed) => Ok(wants_retained(options, existed)),
            Err(_) => {
                self.counters.refused_subscriptions += 1;
                Err(refusal(Reason::QuotaExceeded))
            }
        }
    }

    /// Has the retained messages wait that `filter` matches.
    fn send_retained(
        &mut self,
        at: u32,
        filter: &str,
        options: Options,
        identifier: u32,
        looks: &mut usize,
    ) {
        let own = self.sessions.hash(&self.sessions[at].client_id);
        let queued = self.sessions[at].extra().map_or(0, |extra| extra.queue.len());
        let room = (self.policy.queue_max as usize).saturating_sub(queued);
        let mut found = Vec::new();
        self.retained.matching(filter, self.now, looks, |message| {
            if found.len() >= room {
                return false;
            }
            if !options.no_local || message.publisher != own {
                found.push(Arc::clone(message));
            }
            true
        });
        self.counters.retained_cut_short += u64::from(*looks == 0 || found.len() >= room);
        for message in found {
            let qos = message.qos.min(options.qos).min(QOS_MAX);
            let identifiers = match identifier {
                0 => Identifiers::new(&[]),
                identifier => Identifiers::new(&[identifier]),
            };
            // MQTT-3.3.1-8 of 3.1.1, and section 3.8.3.1 of 5.0.
            self.enqueue(at, Parcel { message, qos, retain: true, identifiers });
        }
    }

    fn unsubscribe(
        &mut self,
        conn: &mut Context<'_>,
        at: u32,
        version: Version,
        unsubscribe: &Unsubscribe<'_>,
    ) -> Result<(), Reason> {
        let head = subscribe::unsuback_head(version, unsubscribe.identifier, unsubscribe.len);
        self.check_appetite(at, head.bytes().len() + unsubscribe.len)?;
        self.catch_up_with(at);
        let mut codes = core::mem::take(&mut self.codes);
        codes.clear();
        for filter in unsubscribe.filters() {
            let list = &mut self.sessions[at].subscriptions;
            let existed = self.subscriptions.unsubscribe(list, at, filter);
            let reason = if existed { Reason::Success } else { Reason::NoSubscriptionExisted };
            codes.push(reason.code());
        }
        self.reply(conn, at, head.bytes());
        if version == Version::V5 {
            self.reply(conn, at, &codes);
        }
        self.codes = codes;
        Ok(())
    }

    /// Whether the client of session `at` takes a packet of `len` bytes (MQTT-3.1.2-24). Of a message it
    /// is spared; an answer that cannot be given ends the connection, before anything is done.
    fn check_appetite(&self, at: u32, len: usize) -> Result<(), Reason> {
        let takes = len <= self.sessions[at].appetite().packet_len_max as usize;
        if takes { Ok(()) } else { Err(Reason::PacketTooLarge) }
    }

    /// The client is leaving (MQTT-3.14.4-3; 3.1.1: MQTT-3.14.4-2).
    fn disconnect(
        &mut self,
        conn: &mut Context<'_>,
        at: u32,
        disconnect: Disconnect,
    ) -> Result<(), Reason> {
        let session = &mut self.sessions[at];
        if let Some(expiry_s) = disconnect.session_expiry_s {
            if session.expiry_s == 0 && expiry_s != 0 {
                // Section 3.14.2.2.2.
                return Err(Reason::ProtocolError);
            }
            session.expiry_s = expiry_s.min(self.policy.session_expiry_s_max);
        }
        end_state(conn);
        self.detach(at, disconnect.with_will);
        conn.close();
        Ok(())
    }
}
