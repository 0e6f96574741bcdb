//! PUBACK, PUBREC, PUBREL and PUBCOMP (sections 3.4 to 3.7 of both), and PINGREQ and PINGRESP.

use super::frame::{Frame, Kind};
use super::property::{Place, Properties};
use super::reader::Reader;
use super::writer::Writer;
use super::{Reason, Version};

/// A client's heartbeat.
pub const PINGREQ: [u8; 2] = [Kind::Pingreq.first_byte(), 0];
/// The answer to it.
pub const PINGRESP: [u8; 2] = [Kind::Pingresp.first_byte(), 0];

/// One of the four packets that acknowledge a message, or an acknowledgment of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledgment {
    /// Which of them.
    pub kind: Kind,
    /// The packet identifier of the message.
    pub identifier: u16,
    /// The reason code; 0 in 3.1.1.
    pub code: u8,
}

impl Acknowledgment {
    /// Reads one of the four.
    ///
    /// # Errors
    ///
    /// The reason to refuse it with.
    pub fn decode(frame: &Frame<'_>, version: Version) -> Result<Acknowledgment, Reason> {
        let mut reader = Reader::new(frame.body);
        let identifier = reader.identifier()?;
        let mut code = 0;
        if version == Version::V5 && !reader.is_empty() {
            code = reader.u8()?;
            if !allowed(frame.kind, code) {
                // MQTT-3.4.2-1, -3.5.2-1, -3.6.2-1, -3.7.2-1.
                return Err(Reason::ProtocolError);
            }
            if !reader.is_empty() {
                Properties::decode(&mut reader, Place::Acknowledgment)?;
            }
        }
        reader.end()?;
        Ok(Acknowledgment { kind: frame.kind, identifier, code })
    }
}

/// Whether `code` is one of the packet's (tables 3-4 to 3-7).
fn allowed(kind: Kind, code: u8) -> bool {
    match kind {
        Kind::Puback | Kind::Pubrec => {
            matches!(code, 0x00 | 0x10 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99)
        }
        _ => matches!(code, 0x00 | 0x92),
    }
}

/// The packet of this `kind`. A reason of success is left out, as 5.0 allows and 3.1.1 has it.
pub fn encode(kind: Kind, version: Version, identifier: u16, reason: Reason) -> Writer {
    let with_reason = version == Version::V5 && reason != Reason::Success;
    let mut writer = Writer::packet(kind, 0, if with_reason { 3 } else { 2 });
    writer.u16(identifier);
    if with_reason {
        writer.u8(reason.code());
    }
    writer
}
