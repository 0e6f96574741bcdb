//! CONNECT and its answer (3.1.1 sections 3.1 and 3.2, 5.0 the same).

use super::Reason;
use super::Version;
use super::frame::{Frame, Kind};
use super::property::{Place, Properties, id};
use super::reader::Reader;
use super::writer::{Writer, varint_len};

/// The message to publish when the connection ends without a DISCONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Will<'a> {
    /// Where it is published; not checked.
    pub topic: &'a str,
    /// What it says.
    pub payload: &'a [u8],
    /// Its quality of service: 0, 1 or 2.
    pub qos: u8,
    /// Whether it is to be retained.
    pub retain: bool,
    /// Its properties; none in 3.1.1.
    pub properties: Properties<'a>,
}

/// The first packet of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connect<'a> {
    /// The protocol it speaks.
    pub version: Version,
    /// Whether a session that exists is not to be taken up (5.0: Clean Start; 3.1.1: Clean Session,
    /// with which the new one ends when the connection does).
    pub clean: bool,
    /// The longest silence that the client allows itself, in seconds; 0 for any.
    pub keep_alive_s: u16,
    /// The client identifier; may be empty.
    pub client_id: &'a str,
    /// The message to publish in its stead.
    pub will: Option<Will<'a>>,
    /// The user name.
    pub user_name: Option<&'a str>,
    /// The password.
    pub password: Option<&'a [u8]>,
    /// The properties; none in 3.1.1.
    pub properties: Properties<'a>,
}

/// Why a CONNECT is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The protocol to answer in. Without one there is no answer.
    pub version: Option<Version>,
    /// Why.
    pub reason: Reason,
}

const RESERVED: u8 = 0x01;
const CLEAN: u8 = 0x02;
const WILL: u8 = 0x04;
const WILL_QOS_SHIFT: u8 = 3;
const WILL_RETAIN: u8 = 0x20;
const PASSWORD: u8 = 0x40;
const USER_NAME: u8 = 0x80;

impl<'a> Connect<'a> {
    /// Reads a CONNECT.
    ///
    /// # Errors
    ///
    /// How to refuse it: a version that is not spoken here in the nearest one that is; what does not
    /// follow 3.1.1 without an answer (MQTT-3.1.4-1), and what does not follow 5.0 with the reason.
    pub fn decode(frame: &Frame<'a>) -> Result<Connect<'a>, Refusal> {
        let mut reader = Reader::new(frame.body);
        let silent = |reason| Refusal { version: None, reason };
        let name = reader.string().map_err(silent)?;
        let level = reader.u8().map_err(silent)?;
        let version = match (name, level) {
            ("MQTT", 4) => Version::V311,
            ("MQTT", 5) => Version::V5,
            ("MQTT" | "MQIsdp", level) => {
                // MQTT-3.1.2-2, in both.
                let version = Some(if level < 4 { Version::V311 } else { Version::V5 });
                return Err(Refusal { version, reason: Reason::UnsupportedProtocolVersion });
            }
            // MQTT-3.1.2-1: not MQTT at all.
            _ => return Err(silent(Reason::UnsupportedProtocolVersion)),
        };
        let connect = Connect::after_version(reader, version, frame.minimal);
        connect.map_err(|reason| Refusal {
            version: (version == Version::V5).then_some(version),
            reason,
        })
    }

    fn after_version(
        mut reader: Reader<'a>,
        version: Version,
        minimal: bool,
    ) -> Result<Connect<'a>, Reason> {
        let flags = reader.u8()?;
        let keep_alive_s = reader.u16()?;
        let mut properties = Properties::default();
        if version == Version::V5 {
            properties = Properties::decode(&mut reader, Place::Connect)?;
        }
        let has = |flag| flags & flag != 0;
        let will_qos = flags >> WILL_QOS_SHIFT & 0b11;
        // MQTT-1.5.5-1, -3.1.2-3, and -3.1.2-11 to -13 (3.1.1: -13 to -15).
        let without_will = !has(WILL) && (will_qos != 0 || has(WILL_RETAIN));
        let padded = version == Version::V5 && !minimal;
        // 3.1.1 has no password without a user name (MQTT-3.1.2-22).
        let password_alone = version == Version::V311 && has(PASSWORD) && !has(USER_NAME);
        if has(RESERVED) || will_qos == 3 || without_will || padded || password_alone {
            return Err(Reason::MalformedPacket);
        }
        let client_id = reader.string()?;
        let mut will = None;
        if has(WILL) {
            let mut properties = Properties::default();
            if version == Version::V5 {
                properties = Properties::decode(&mut reader, Place::Will)?;
            }
            let topic = reader.string()?;
            let payload = reader.binary()?;
            let retain = has(WILL_RETAIN);
            will = Some(Will { topic, payload, qos: will_qos, retain, properties });
        }
        let user_name = has(USER_NAME).then(|| reader.string()).transpose()?;
        let password = has(PASSWORD).then(|| reader.binary()).transpose()?;
        reader.end()?;
        Ok(Connect {
            version,
            clean: has(CLEAN),
            keep_alive_s,
            client_id,
            will,
            user_name,
            password,
            properties,
        })
    }
}

/// The server's answer to a CONNECT that it accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connack<'a> {
    /// Whether a session that existed was taken up.
    pub session_present: bool,
    /// The client identifier, where the server chose it.
    pub assigned_client_id: Option<&'a str>,
    /// The keep alive in seconds, where the server chose it.
    pub server_keep_alive_s: Option<u16>,
    /// For how many seconds the session outlives its connection, where the server chose it.
    pub session_expiry_s: Option<u32>,
    /// How long a packet the server takes, in bytes.
    pub packet_len_max: u32,
    /// The greatest topic alias that the server takes.
    pub topic_alias_max: u16,
}

impl Connack<'_> {
    /// The packet. Besides what is said here, a 5.0 client learns that QoS 2 and shared subscriptions
    /// are not to be had.
    ///
    /// # Panics
    ///
    /// When the assigned client identifier is longer than 128 bytes: the server's are not.
    pub fn encode(&self, version: Version) -> Writer {
        let mut properties = Writer::new();
        if version == Version::V5 {
            if let Some(seconds) = self.session_expiry_s {
                properties.u8(id::SESSION_EXPIRY);
                properties.u32(seconds);
            }
            if let Some(client_id) = self.assigned_client_id {
                properties.u8(id::ASSIGNED_CLIENT_IDENTIFIER);
                properties.string(client_id);
            }
            if let Some(seconds) = self.server_keep_alive_s {
                properties.u8(id::SERVER_KEEP_ALIVE);
                properties.u16(seconds);
            }
            properties.u8(id::TOPIC_ALIAS_MAXIMUM);
            properties.u16(self.topic_alias_max);
            properties.u8(id::MAXIMUM_QOS);
            properties.u8(1);
            properties.u8(id::MAXIMUM_PACKET_SIZE);
            properties.u32(self.packet_len_max);
            properties.u8(id::SHARED_SUBSCRIPTION_AVAILABLE);
            properties.u8(0);
        }
        answer(version, self.session_present, Reason::Success.code(), properties.bytes())
    }
}

/// The CONNACK that refuses a CONNECT, or `None` where the protocol has none for `reason`.
pub fn refuse(version: Version, reason: Reason) -> Option<Writer> {
    let code = match version {
        Version::V311 => reason.return_code()?,
        Version::V5 => reason.code(),
    };
    Some(answer(version, false, code, &[]))
}

fn answer(version: Version, session_present: bool, code: u8, properties: &[u8]) -> Writer {
    let properties_len = match version {
        Version::V311 => 0,
        Version::V5 => varint_len(properties.len()) + properties.len(),
    };
    let mut writer = Writer::packet(Kind::Connack, 0, 2 + properties_len);
    writer.u8(u8::from(session_present));
    writer.u8(code);
    if version == Version::V5 {
        writer.varint(u32::try_from(properties.len()).expect("it fits a writer"));
        writer.slice(properties);
    }
    writer
}
