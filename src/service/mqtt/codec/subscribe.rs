//! SUBSCRIBE and UNSUBSCRIBE, and the heads of their answers (sections 3.8 to 3.11 of both).

use super::frame::Kind;
use super::property::{Place, Properties};
use super::reader::Reader;
use super::writer::Writer;
use super::{Reason, Version};

/// What is done with retained messages when a subscription is made (5.0 section 3.8.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetainHandling {
    /// They are sent; so it is in 3.1.1.
    Send,
    /// They are sent if there was no such subscription yet.
    SendIfNew,
    /// They are not sent.
    Skip,
}

/// How a subscription is meant. In 3.1.1 all but the quality of service is as by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The greatest quality of service asked for: 0, 1 or 2.
    pub qos: u8,
    /// Whether the client does not want its own messages.
    pub no_local: bool,
    /// Whether a message keeps its retain flag.
    pub retain_as_published: bool,
    /// What is done with retained messages.
    pub retain_handling: RetainHandling,
}

impl Options {
    /// Reserved bits must be zero (MQTT-3.8.3-5; 3.1.1: MQTT-3.8.3-4).
    fn decode(byte: u8, version: Version) -> Result<Options, Reason> {
        let reserved = match version {
            Version::V311 => 0xfc,
            Version::V5 => 0xc0,
        };
        let qos = byte & 0b11;
        if byte & reserved != 0 || qos == 3 {
            return Err(Reason::MalformedPacket);
        }
        let retain_handling = match byte >> 4 & 0b11 {
            0 => RetainHandling::Send,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::Skip,
            _ => return Err(Reason::ProtocolError),
        };
        Ok(Options {
            qos,
            no_local: byte & 0x04 != 0,
            retain_as_published: byte & 0x08 != 0,
            retain_handling,
        })
    }
}

/// A request for subscriptions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// The packet identifier.
    pub identifier: u16,
    /// The number that messages of these subscriptions are to carry.
    pub subscription_identifier: Option<u32>,
    /// How many filters there are; at least one.
    pub len: usize,
    version: Version,
    payload: &'a [u8],
}

impl<'a> Subscribe<'a> {
    /// Reads the body of a SUBSCRIBE.
    ///
    /// # Errors
    ///
    /// The reason to refuse it with.
    pub fn decode(body: &'a [u8], version: Version) -> Result<Subscribe<'a>, Reason> {
        let mut reader = Reader::new(body);
        let identifier = reader.identifier()?;
        let mut properties = Properties::default();
        if version == Version::V5 {
            properties = Properties::decode(&mut reader, Place::Subscribe)?;
        }
        let payload = reader.rest();
        let mut len = 0;
        while !reader.is_empty() {
            reader.string()?;
            Options::decode(reader.u8()?, version)?;
            len += 1;
        }
        if len == 0 {
            // MQTT-3.8.3-2; 3.1.1: MQTT-3.8.3-3.
            return Err(Reason::ProtocolError);
        }
        let subscription_identifier = properties.subscription_identifier;
        Ok(Subscribe { identifier, subscription_identifier, len, version, payload })
    }

    /// The filters, which are not checked, with their options.
    pub fn filters(&self) -> impl Iterator<Item = (&'a str, Options)> {
        let (mut reader, version) = (Reader::new(self.payload), self.version);
        // Read once already, so they are known to be well formed.
        core::iter::from_fn(move || {
            let filter = reader.string().ok()?;
            Some((filter, Options::decode(reader.u8().ok()?, version).ok()?))
        })
    }
}

/// A request to end subscriptions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsubscribe<'a> {
    /// The packet identifier.
    pub identifier: u16,
    /// How many filters there are; at least one.
    pub len: usize,
    payload: &'a [u8],
}

impl<'a> Unsubscribe<'a> {
    /// Reads the body of an UNSUBSCRIBE.
    ///
    /// # Errors
    ///
    /// The reason to refuse it with.
    pub fn decode(body: &'a [u8], version: Version) -> Result<Unsubscribe<'a>, Reason> {
        let mut reader = Reader::new(body);
        let identifier = reader.identifier()?;
        if version == Version::V5 {
            Properties::decode(&mut reader, Place::Unsubscribe)?;
        }
        let payload = reader.rest();
        let mut len = 0;
        while !reader.is_empty() {
            reader.string()?;
            len += 1;
        }
        if len == 0 {
            // MQTT-3.10.2-2; 3.1.1: MQTT-3.10.3-2.
            return Err(Reason::ProtocolError);
        }
        Ok(Unsubscribe { identifier, len, payload })
    }

    /// The filters, which are not checked.
    pub fn filters(&self) -> impl Iterator<Item = &'a str> {
        let mut reader = Reader::new(self.payload);
        core::iter::from_fn(move || reader.string().ok())
    }
}

/// The head of the SUBACK for `len` filters; a code for each follows.
pub fn suback_head(version: Version, identifier: u16, len: usize) -> Writer {
    head(Kind::Suback, version, identifier, len)
}

/// The head of the UNSUBACK for `len` filters; in 5.0 a code for each follows.
pub fn unsuback_head(version: Version, identifier: u16, len: usize) -> Writer {
    let codes = if version == Version::V5 { len } else { 0 };
    head(Kind::Unsuback, version, identifier, codes)
}

fn head(kind: Kind, version: Version, identifier: u16, codes: usize) -> Writer {
    let properties_len = usize::from(version == Version::V5);
    let mut writer = Writer::packet(kind, 0, 2 + properties_len + codes);
    writer.u16(identifier);
    if version == Version::V5 {
        writer.u8(0);
    }
    writer
}
