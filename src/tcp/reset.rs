//! The answer to a segment that has no connection.

use crate::wire::packet::{Flags, Segment};
use crate::wire::seq::SeqNumber;

/// The fields of a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reset {
    /// SEG.SEQ.
    pub seq: SeqNumber,
    /// SEG.ACK, or `None` for a reset without ACK.
    pub ack: Option<SeqNumber>,
}

impl Reset {
    /// The control bits.
    pub fn flags(&self) -> Flags {
        Flags { rst: true, ack: self.ack.is_some(), ..Flags::default() }
    }
}

/// The reset that answers `segment`, or `None` if it is a reset itself.
///
/// RFC 9293 section 3.10.7.1: "If the ACK bit is off, sequence number zero is used,
/// `<SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>`. If the ACK bit is on, `<SEQ=SEG.ACK><CTL=RST>`."
pub fn answer(segment: &Segment) -> Option<Reset> {
    match segment.flags {
        Flags { rst: true, .. } => None,
        Flags { ack: true, .. } => Some(Reset { seq: segment.ack, ack: None }),
        _ => Some(Reset { seq: SeqNumber(0), ack: Some(segment.seq + segment.len()) }),
    }
}

#[cfg(test)]
#[path = "reset_tests.rs"]
mod tests;
