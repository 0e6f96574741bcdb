//! PUBLISH (section 3.3 of both).

use super::frame::{Frame, Kind};
use super::property::{Place, Properties, id};
use super::reader::Reader;
use super::writer::{Writer, varint_len};
use super::{Reason, Version};

const RETAIN: u8 = 0x01;
const QOS_SHIFT: u8 = 1;
const DUP: u8 = 0x08;

/// A message from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Whether the client may have sent it before.
    pub dup: bool,
    /// Its quality of service: 0, 1 or 2.
    pub qos: u8,
    /// Whether it is to be retained.
    pub retain: bool,
    /// Where it is published; not checked, and empty where an alias stands for it.
    pub topic: &'a str,
    /// The packet identifier; 0 at QoS 0.
    pub identifier: u16,
    /// The properties; none in 3.1.1.
    pub properties: Properties<'a>,
    /// What it says.
    pub payload: &'a [u8],
}

impl<'a> Publish<'a> {
    /// Reads a PUBLISH.
    ///
    /// # Errors
    ///
    /// The reason to refuse it with.
    pub fn decode(frame: &Frame<'a>, version: Version) -> Result<Publish<'a>, Reason> {
        let qos = frame.flags >> QOS_SHIFT & 0b11;
        let dup = frame.flags & DUP != 0;
        // MQTT-3.3.1-4, and -2 for the duplicate.
        if qos == 3 || qos == 0 && dup {
            return Err(Reason::MalformedPacket);
        }
        let mut reader = Reader::new(frame.body);
        let topic = reader.string()?;
        let identifier = if qos > 0 { reader.identifier()? } else { 0 };
        let mut properties = Properties::default();
        if version == Version::V5 {
            properties = Properties::decode(&mut reader, Place::Publish)?;
        }
        if properties.subscription_identifier.is_some() {
            // MQTT-3.3.4-6.
            return Err(Reason::ProtocolError);
        }
        let retain = frame.flags & RETAIN != 0;
        Ok(Publish { dup, qos, retain, topic, identifier, properties, payload: reader.rest() })
    }
}

/// A message to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery<'a> {
    /// Whether it was sent before.
    pub dup: bool,
    /// Its quality of service: 0 or 1.
    pub qos: u8,
    /// Whether it is told to be retained.
    pub retain: bool,
    /// Where it was published.
    pub topic: &'a str,
    /// The packet identifier; ignored at QoS 0.
    pub identifier: u16,
    /// For how many more seconds it is worth delivering.
    pub expiry_s: Option<u32>,
    /// The identifiers of the subscriptions that it matched.
    pub subscription_identifiers: &'a [u32],
    /// Its other properties, as bytes.
    pub properties: &'a [u8],
    /// What it says.
    pub payload: &'a [u8],
}

/// How many subscription identifiers a PUBLISH can have, so that its head fits a [`Writer`].
pub const SUBSCRIPTION_IDENTIFIERS_MAX: usize = 32;

impl Delivery<'_> {
    /// Of the properties, what is not in [`Delivery::properties`].
    fn own_properties_len(&self) -> usize {
        let expiry = if self.expiry_s.is_some() { 5 } else { 0 };
        let identifiers = self.subscription_identifiers.iter();
        expiry + identifiers.map(|&id| 1 + varint_len(id as usize)).sum::<usize>()
    }

    fn properties_len(&self, version: Version) -> usize {
        match version {
            Version::V311 => 0,
            Version::V5 => self.own_properties_len() + self.properties.len(),
        }
    }

    fn body_len(&self, version: Version) -> usize {
        let identifier = if self.qos > 0 { 2 } else { 0 };
        let properties_len = self.properties_len(version);
        let length = if version == Version::V5 { varint_len(properties_len) } else { 0 };
        2 + self.topic.len() + identifier + length + properties_len + self.payload.len()
    }

    /// The packet's length with its fixed header, in bytes.
    pub fn len(&self, version: Version) -> usize {
        let body_len = self.body_len(version);
        1 + varint_len(body_len) + body_len
    }

    /// Hands the packet to `put`, in pieces.
    ///
    /// # Panics
    ///
    /// When it has more than [`SUBSCRIPTION_IDENTIFIERS_MAX`] subscription identifiers, or is longer
    /// than a packet can be.
    pub fn encode(&self, version: Version, mut put: impl FnMut(&[u8])) {
        let [head, middle] = self.frame(version);
        put(head.bytes());
        put(self.topic.as_bytes());
        put(middle.bytes());
        if version == Version::V5 {
            put(self.properties);
        }
        put(self.payload);
    }

    /// What the packet has besides its topic, its properties and its payload: what stands before the
    /// topic, and between that and the properties.
    ///
    /// # Panics
    ///
    /// As [`Delivery::encode`].
    pub fn frame(&self, version: Version) -> [Writer; 2] {
        let flag = |set, flag| if set { flag } else { 0 };
        let flags = flag(self.dup, DUP) | self.qos << QOS_SHIFT | flag(self.retain, RETAIN);
        let mut head = Writer::packet(Kind::Publish, flags, self.body_len(version));
        head.u16(u16::try_from(self.topic.len()).expect("topics are this short"));
        let mut middle = Writer::new();
        if self.qos > 0 {
            middle.u16(self.identifier);
        }
        if version == Version::V5 {
            let len = self.properties_len(version);
            middle.varint(u32::try_from(len).expect("a packet's length fits"));
            if let Some(seconds) = self.expiry_s {
                middle.u8(id::MESSAGE_EXPIRY);
                middle.u32(seconds);
            }
            for &identifier in self.subscription_identifiers {
                middle.u8(id::SUBSCRIPTION_IDENTIFIER);
                middle.varint(identifier);
            }
        }
        [head, middle]
    }
}
