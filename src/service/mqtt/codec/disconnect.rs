//! DISCONNECT (section 3.14 of both).

use super::frame::Kind;
use super::property::{Place, Properties};
use super::reader::Reader;
use super::writer::Writer;
use super::{Reason, Version};

/// That of a client which has nothing more to say, in both versions.
pub const DISCONNECT: [u8; 2] = [0xe0, 0];

/// The last packet of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// Whether the will is published all the same: any reason but success.
    pub with_will: bool,
    /// For how many seconds the session outlives the connection, where the client changes that.
    pub session_expiry_s: Option<u32>,
}

/// The reason codes that a client may send (table 3-10).
const CLIENT_REASONS: [u8; 13] =
    [0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x99];
/// Of administrative action, the last of them.
const ADMINISTRATIVE_ACTION: u8 = 0x98;

impl Disconnect {
    /// Reads the body of a DISCONNECT.
    ///
    /// # Errors
    ///
    /// The reason to refuse it with.
    pub fn decode(body: &[u8], version: Version) -> Result<Disconnect, Reason> {
        let mut reader = Reader::new(body);
        let mut disconnect = Disconnect { with_will: false, session_expiry_s: None };
        if version == Version::V5 && !reader.is_empty() {
            let code = reader.u8()?;
            if !CLIENT_REASONS.contains(&code) && code != ADMINISTRATIVE_ACTION {
                // MQTT-3.14.2-1.
                return Err(Reason::ProtocolError);
            }
            disconnect.with_will = code != Reason::Success.code();
            if !reader.is_empty() {
                let properties = Properties::decode(&mut reader, Place::Disconnect)?;
                disconnect.session_expiry_s = properties.session_expiry_s;
            }
        }
        reader.end()?;
        Ok(disconnect)
    }
}

/// The DISCONNECT of a 5.0 server.
pub fn encode(reason: Reason) -> Writer {
    let mut writer = Writer::packet(Kind::Disconnect, 0, 1);
    writer.u8(reason.code());
    writer
}
