//! The properties of MQTT 5.0 (section 2.2.2).

use super::Reason;
use super::reader::Reader;

/// Where properties stand; each place allows its own (table 2-4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a CONNECT.
    Connect,
    /// Before the will of a CONNECT.
    Will,
    /// In a PUBLISH.
    Publish,
    /// In a PUBACK, PUBREC, PUBREL or PUBCOMP.
    Acknowledgment,
    /// In a SUBSCRIBE.
    Subscribe,
    /// In an UNSUBSCRIBE.
    Unsubscribe,
    /// In a DISCONNECT.
    Disconnect,
}

/// What a property is, by its identifier. Only those that a client may send.
pub mod id {
    /// Whether the payload is text.
    pub const PAYLOAD_FORMAT: u8 = 0x01;
    /// For how many seconds a message is worth delivering.
    pub const MESSAGE_EXPIRY: u8 = 0x02;
    /// What the payload is.
    pub const CONTENT_TYPE: u8 = 0x03;
    /// Where an answer is to be published.
    pub const RESPONSE_TOPIC: u8 = 0x08;
    /// What the answer is to.
    pub const CORRELATION_DATA: u8 = 0x09;
    /// A number for the subscription.
    pub const SUBSCRIPTION_IDENTIFIER: u8 = 0x0b;
    /// For how many seconds a session outlives its connection.
    pub const SESSION_EXPIRY: u8 = 0x11;
    /// The client identifier that the server chose.
    pub const ASSIGNED_CLIENT_IDENTIFIER: u8 = 0x12;
    /// The keep alive that the server chose, in seconds.
    pub const SERVER_KEEP_ALIVE: u8 = 0x13;
    /// How to authenticate by AUTH packets.
    pub const AUTHENTICATION_METHOD: u8 = 0x15;
    /// What that method needs.
    pub const AUTHENTICATION_DATA: u8 = 0x16;
    /// Whether reasons may be told in words.
    pub const REQUEST_PROBLEM_INFORMATION: u8 = 0x17;
    /// For how many seconds the will waits.
    pub const WILL_DELAY: u8 = 0x18;
    /// Whether the server may propose a response topic.
    pub const REQUEST_RESPONSE_INFORMATION: u8 = 0x19;
    /// A reason in words.
    pub const REASON_STRING: u8 = 0x1f;
    /// How many unacknowledged messages the receiver takes.
    pub const RECEIVE_MAXIMUM: u8 = 0x21;
    /// The greatest topic alias that the receiver takes.
    pub const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
    /// A number for the topic, on this connection.
    pub const TOPIC_ALIAS: u8 = 0x23;
    /// The greatest quality of service that the server does.
    pub const MAXIMUM_QOS: u8 = 0x24;
    /// A pair of strings.
    pub const USER_PROPERTY: u8 = 0x26;
    /// How long a packet the receiver takes, in bytes.
    pub const MAXIMUM_PACKET_SIZE: u8 = 0x27;
    /// Whether the server does shared subscriptions.
    pub const SHARED_SUBSCRIPTION_AVAILABLE: u8 = 0x2a;
}

impl Place {
    const fn allows(self, id: u8) -> bool {
        match id {
            id::USER_PROPERTY => true,
            id::PAYLOAD_FORMAT
            | id::MESSAGE_EXPIRY
            | id::CONTENT_TYPE
            | id::RESPONSE_TOPIC
            | id::CORRELATION_DATA => matches!(self, Place::Publish | Place::Will),
            id::WILL_DELAY => matches!(self, Place::Will),
            id::TOPIC_ALIAS => matches!(self, Place::Publish),
            id::SUBSCRIPTION_IDENTIFIER => matches!(self, Place::Publish | Place::Subscribe),
            id::SESSION_EXPIRY => matches!(self, Place::Connect | Place::Disconnect),
            id::AUTHENTICATION_METHOD
            | id::AUTHENTICATION_DATA
            | id::REQUEST_PROBLEM_INFORMATION
            | id::REQUEST_RESPONSE_INFORMATION
            | id::RECEIVE_MAXIMUM
            | id::TOPIC_ALIAS_MAXIMUM
            | id::MAXIMUM_PACKET_SIZE => matches!(self, Place::Connect),
            id::REASON_STRING => matches!(self, Place::Acknowledgment | Place::Disconnect),
            _ => false,
        }
    }
}

/// The properties of a packet. Those that the server has no use for are checked and not kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Properties<'a> {
    /// Whether the payload is said to be text.
    pub payload_is_text: Option<bool>,
    /// For how many seconds the message is worth delivering.
    pub message_expiry_s: Option<u32>,
    /// Where an answer is to be published.
    pub response_topic: Option<&'a str>,
    /// A number for the subscription; not zero.
    pub subscription_identifier: Option<u32>,
    /// For how many seconds the session outlives its connection; `u32::MAX` for ever.
    pub session_expiry_s: Option<u32>,
    /// How the client wants to authenticate by AUTH packets.
    pub authentication_method: Option<&'a str>,
    /// For how many seconds the will waits.
    pub will_delay_s: Option<u32>,
    /// How many unacknowledged messages the client takes; not zero.
    pub receive_maximum: Option<u16>,
    /// How long a packet the client takes, in bytes; not zero.
    pub maximum_packet_size: Option<u32>,
    /// A number for the topic; not checked.
    pub topic_alias: Option<u16>,
    /// All of them, as they came.
    raw: &'a [u8],
}

impl<'a> Properties<'a> {
    /// Reads the properties that stand at `place`, with their length.
    ///
    /// # Errors
    ///
    /// [`Reason::MalformedPacket`] for a property that does not belong there or has no value of its
    /// type, [`Reason::ProtocolError`] for one that came twice or has a value that is not allowed
    /// (section 2.2.2.2 and those of the properties).
    pub fn decode(reader: &mut Reader<'a>, place: Place) -> Result<Properties<'a>, Reason> {
        let len = reader.varint()?;
        let raw = reader.take(len as usize)?;
        let mut properties = Properties { raw, ..Properties::default() };
        let mut reader = Reader::new(raw);
        let mut seen = 0u64;
        let mut has_authentication_data = false;
        while !reader.is_empty() {
            let id = reader.u8()?;
            if !place.allows(id) {
                return Err(Reason::MalformedPacket);
            }
            // Only a user property may come more than once: the subscription identifiers of a PUBLISH
            // are a server's to send.
            if id != id::USER_PROPERTY && seen & 1 << id != 0 {
                return Err(Reason::ProtocolError);
            }
            seen |= 1 << id;
            has_authentication_data |= id == id::AUTHENTICATION_DATA;
            properties.value(&mut reader, id)?;
        }
        if has_authentication_data && properties.authentication_method.is_none() {
            // Section 3.1.2.11.10.
            return Err(Reason::ProtocolError);
        }
        Ok(properties)
    }

    /// Reads the value of the property `id`.
    fn value(&mut self, reader: &mut Reader<'a>, id: u8) -> Result<(), Reason> {
        match id {
            id::PAYLOAD_FORMAT => self.payload_is_text = Some(flag(reader)?),
            id::MESSAGE_EXPIRY => self.message_expiry_s = Some(reader.u32()?),
            id::RESPONSE_TOPIC => self.response_topic = Some(reader.string()?),
            id::SUBSCRIPTION_IDENTIFIER => {
                self.subscription_identifier = Some(not_zero(reader.varint()?)?);
            }
            id::SESSION_EXPIRY => self.session_expiry_s = Some(reader.u32()?),
            id::AUTHENTICATION_METHOD => self.authentication_method = Some(reader.string()?),
            id::WILL_DELAY => self.will_delay_s = Some(reader.u32()?),
            id::RECEIVE_MAXIMUM => self.receive_maximum = Some(not_zero(reader.u16()?)?),
            id::MAXIMUM_PACKET_SIZE => self.maximum_packet_size = Some(not_zero(reader.u32()?)?),
            id::TOPIC_ALIAS => self.topic_alias = Some(reader.u16()?),
            id::TOPIC_ALIAS_MAXIMUM => drop(reader.u16()?),
            id::REQUEST_PROBLEM_INFORMATION | id::REQUEST_RESPONSE_INFORMATION => {
                flag(reader)?;
            }
            id::CORRELATION_DATA | id::AUTHENTICATION_DATA => drop(reader.binary()?),
            id::CONTENT_TYPE | id::REASON_STRING => drop(reader.string()?),
            _ => {
                // Of those allowed anywhere only the user property is left.
                reader.string()?;
                reader.string()?;
            }
        }
        Ok(())
    }

    /// The properties that a message is delivered with: those of its payload and the user's, as they
    /// came and in their order (MQTT-3.3.2-4, -15 to -18, -20; of a will: MQTT-3.1.3-10).
    pub fn forwarded(&self) -> Forwarded<'a> {
        Forwarded { rest: Reader::new(self.raw) }
    }
}

/// The properties that a message is delivered with, each with its identifier.
#[derive(Clone, Copy, Debug)]
pub struct Forwarded<'a> {
    rest: Reader<'a>,
}

impl<'a> Iterator for Forwarded<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let before = self.rest.rest();
            let id = self.rest.u8().ok()?;
            // Read once already, so it is known to be well formed.
            Properties::default().value(&mut self.rest, id).ok()?;
            let len = before.len() - self.rest.rest().len();
            match id {
                id::MESSAGE_EXPIRY
                | id::TOPIC_ALIAS
                | id::SUBSCRIPTION_IDENTIFIER
                | id::WILL_DELAY => {}
                _ => return Some(&before[..len]),
            }
        }
    }
}

/// A byte that is 0 or 1.
fn flag(reader: &mut Reader<'_>) -> Result<bool, Reason> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Reason::ProtocolError),
    }
}

/// A value that must not be zero.
fn not_zero<T: Default + PartialEq>(value: T) -> Result<T, Reason> {
    if value == T::default() { Err(Reason::ProtocolError) } else { Ok(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8], place: Place) -> Result<Properties<'_>, Reason> {
        Properties::decode(&mut Reader::new(bytes), place)
    }

    #[test]
    fn each_place_has_its_own() {
        let will_delay = [5, 0x18, 0, 0, 0, 9];
        assert_eq!(decode(&will_delay, Place::Will).unwrap().will_delay_s, Some(9));
        for place in [Place::Connect, Place::Publish, Place::Disconnect, Place::Subscribe] {
            assert_eq!(decode(&will_delay, place), Err(Reason::MalformedPacket), "{place:?}");
        }
        let user = [7, 0x26, 0, 1, b'a', 0, 1, b'b'];
        for place in [Place::Acknowledgment, Place::Unsubscribe, Place::Will] {
            assert!(decode(&user, place).is_ok(), "{place:?}");
        }
        assert_eq!(decode(&[2, 0x7f, 0], Place::Connect), Err(Reason::MalformedPacket), "unknown");
        assert_eq!(decode(&[2, 0xff, 0], Place::Connect), Err(Reason::MalformedPacket), "unknown");
    }

    #[test]
    fn values_that_are_not_allowed_are_protocol_errors() {
        for (bytes, place) in [
            (&[3, 0x21, 0, 0][..], Place::Connect),
            (&[5, 0x27, 0, 0, 0, 0], Place::Connect),
            (&[2, 0x17, 2], Place::Connect),
            (&[2, 0x0b, 0], Place::Subscribe),
            (&[2, 0x01, 2], Place::Publish),
            (&[6, 0x21, 0, 1, 0x21, 0, 1], Place::Connect),
            (&[4, 0x16, 0, 1, 9], Place::Connect),
        ] {
            assert_eq!(decode(bytes, place), Err(Reason::ProtocolError), "{bytes:?}");
        }
    }

    #[test]
    fn a_message_keeps_what_is_its_own_in_order() {
        let bytes = [
            &[38][..],
            &[0x26, 0, 1, b'z', 0, 1, b'1'],
            &[0x02, 0, 0, 0, 5],
            &[0x01, 1],
            &[0x23, 0, 3],
            &[0x09, 0, 2, 7, 8],
            &[0x26, 0, 1, b'a', 0, 1, b'2'],
            &[0x03, 0, 1, b't'],
            &[0x08, 0, 2, b'r', b'/'],
        ]
        .concat();
        let properties = decode(&bytes, Place::Publish).unwrap();
        assert_eq!(properties.message_expiry_s, Some(5));
        assert_eq!(properties.topic_alias, Some(3));
        assert_eq!(properties.response_topic, Some("r/"));
        let expected = [&bytes[1..8], &bytes[13..15], &bytes[18..39]].concat();
        assert_eq!(properties.forwarded().collect::<Vec<_>>().concat(), expected);
    }
}
