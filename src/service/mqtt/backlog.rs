//! What is left of packets of which the beginning was sent.

use super::codec::Version;
use super::codec::publish::Delivery;
use super::message::Message;
use crate::service::Context;
use std::sync::Arc;

/// The rest of a packet, and what stands behind it. A message in it is kept once, however many clients
/// are in the middle of it.
#[derive(Default)]
pub(super) struct Backlog {
    begun: Option<Box<Begun>>,
    bytes: Vec<u8>,
}

/// A message that was sent in part.
struct Begun {
    message: Arc<Message>,
    /// What stands before its topic, and between that and its properties.
    head: Box<[u8]>,
    middle: Box<[u8]>,
    version: Version,
    /// How many bytes of the packet were sent.
    sent: usize,
}

impl Backlog {
    /// Whether nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.begun.is_none() && self.bytes.is_empty()
    }

    /// Puts `bytes` at the end.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Sends `delivery`, which is of `message`, on `conn`, and keeps what there is no room for. There must be
    /// no backlog.
    pub(super) fn deliver(
        &mut self,
        conn: &mut Context<'_>,
        message: &Arc<Message>,
        delivery: &Delivery<'_>,
        version: Version,
    ) {
        debug_assert!(self.is_empty(), "nothing is sent inside of a packet");
        let [head, middle] = delivery.frame(version);
        let parts = parts(message, head.bytes(), middle.bytes(), version);
        let sent = send(conn, parts, 0);
        if sent < len(parts) {
            let [head, middle] = [&head, &middle].map(|part| part.bytes().into());
            let message = Arc::clone(message);
            self.begun = Some(Box::new(Begun { message, head, middle, version, sent }));
        }
    }

    /// Sends what there is room for. Returns whether there is nothing left.
    pub(super) fn flush(&mut self, conn: &mut Context<'_>) -> bool {
        if let Some(begun) = &mut self.begun {
            let parts = parts(&begun.message, &begun.head, &begun.middle, begun.version);
            begun.sent = send(conn, parts, begun.sent);
            if begun.sent < len(parts) {
                return false;
            }
            self.begun = None;
        }
        let sent = conn.send(&self.bytes);
        if sent < self.bytes.len() {
            self.bytes.drain(..sent);
            return false;
        }
        self.bytes = Vec::new();
        true
    }

    /// The memory that it takes, in bytes, without the message.
    pub(super) fn memory(&self) -> usize {
        let of_begun = |begun: &Begun| size_of::<Begun>() + begun.head.len() + begun.middle.len();
        self.bytes.capacity() + self.begun.as_deref().map_or(0, of_begun)
    }
}

/// A packet in its parts.
fn parts<'a>(
    message: &'a Message,
    head: &'a [u8],
    middle: &'a [u8],
    version: Version,
) -> [&'a [u8]; 5] {
    let properties = if version == Version::V5 { message.properties() } else { &[] };
    [head, message.topic().as_bytes(), middle, properties, message.payload()]
}

fn len(parts: [&[u8]; 5]) -> usize {
    parts.iter().map(|part| part.len()).sum()
}

/// Sends `parts` from byte `sent` on, as far as there is room; returns how many bytes were sent in all.
fn send(conn: &mut Context<'_>, parts: [&[u8]; 5], mut sent: usize) -> usize {
    let mut start = 0;
    for part in parts {
        let end = start + part.len();
        if sent < end {
            sent += conn.send(&part[sent - start..]);
            if sent < end {
                return sent;
            }
        }
        start = end;
    }
    sent
}
