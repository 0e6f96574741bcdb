//! The packets of MQTT 3.1.1 and 5.0, as a server reads and writes them.
//!
//! Nothing here allocates: what is read borrows the bytes it came in. An error is the [`Reason`] that
//! MQTT 5.0 gives for it; what 3.1.1 does instead is the broker's to know.
//!
//! - [`frame`]: a packet's fixed header, and where the packet ends
//! - [`reader`], [`writer`]: integers, strings and binary data
//! - [`property`]: the properties of MQTT 5.0
//! - [`connect`], [`publish`], [`subscribe`], [`disconnect`], [`acknowledgment`]: the packets

pub mod acknowledgment;
pub mod connect;
pub mod disconnect;
pub mod frame;
pub mod property;
pub mod publish;
pub mod reader;
pub mod reason;
pub mod subscribe;
pub mod writer;

pub use reason::Reason;

use acknowledgment::Acknowledgment;
use connect::Connect;
use disconnect::Disconnect;
use frame::{Frame, Kind};
use publish::Publish;
use subscribe::{Subscribe, Unsubscribe};

/// The protocol that a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// MQTT 3.1.1, protocol level 4.
    V311,
    /// MQTT 5.0, protocol version 5.
    V5,
}

/// A packet that a client sends after its CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// A second CONNECT; never allowed, and so not read.
    Connect,
    /// PUBLISH.
    Publish(Publish<'a>),
    /// PUBACK, PUBREC, PUBREL or PUBCOMP.
    Acknowledgment(Acknowledgment),
    /// SUBSCRIBE.
    Subscribe(Subscribe<'a>),
    /// UNSUBSCRIBE.
    Unsubscribe(Unsubscribe<'a>),
    /// PINGREQ.
    Pingreq,
    /// DISCONNECT.
    Disconnect(Disconnect),
    /// AUTH, whose exchange no server here begins.
    Auth,
}

impl<'a> Packet<'a> {
    /// Reads `frame`, which came after the CONNECT of a client that speaks `version`.
    ///
    /// # Errors
    ///
    /// The reason to refuse it with.
    pub fn decode(frame: &Frame<'a>, version: Version) -> Result<Packet<'a>, Reason> {
        if version == Version::V5 && !frame.minimal {
            // MQTT-1.5.5-1. 3.1.1 does not ask for the shortest encoding.
            return Err(Reason::MalformedPacket);
        }
        Ok(match frame.kind {
            Kind::Connect => Packet::Connect,
            Kind::Publish => Packet::Publish(Publish::decode(frame, version)?),
            Kind::Puback | Kind::Pubrec | Kind::Pubrel | Kind::Pubcomp => {
                Packet::Acknowledgment(Acknowledgment::decode(frame, version)?)
            }
            Kind::Subscribe => Packet::Subscribe(Subscribe::decode(frame.body, version)?),
            Kind::Unsubscribe => Packet::Unsubscribe(Unsubscribe::decode(frame.body, version)?),
            Kind::Pingreq if frame.body.is_empty() => Packet::Pingreq,
            Kind::Pingreq => return Err(Reason::MalformedPacket),
            Kind::Disconnect => Packet::Disconnect(Disconnect::decode(frame.body, version)?),
            Kind::Auth if version == Version::V5 => Packet::Auth,
            // Type 15 is reserved in 3.1.1; the others are a server's to send.
            Kind::Auth => return Err(Reason::MalformedPacket),
            Kind::Connack | Kind::Suback | Kind::Unsuback | Kind::Pingresp => {
                return Err(Reason::ProtocolError);
            }
        })
    }
}

/// Reads a first packet, which must be a CONNECT.
///
/// # Errors
///
/// The reason to refuse it with, and how the client is to be told.
pub fn first<'a>(frame: &Frame<'a>) -> Result<Connect<'a>, connect::Refusal> {
    match frame.kind {
        Kind::Connect => Connect::decode(frame),
        // MQTT-3.1.0-1.
        _ => Err(connect::Refusal { version: None, reason: Reason::ProtocolError }),
    }
}

#[cfg(test)]
#[path = "vector_tests.rs"]
pub(super) mod tests;
