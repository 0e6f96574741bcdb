//! What the service knows of a connection, in the eight bytes of its record.

use super::messages::Place;
use crate::service::ServiceState;
use crate::service::silence::Heard;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// The request has not come, or not all of it.
    #[default]
    Handshake,
    /// Frames go both ways.
    Open,
    /// A close frame, or a refusal, was sent: what still comes is ignored.
    Closed,
}

/// A connection's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) phase: Phase,
    /// Where the message that has not ended is, if there is one.
    pub(super) message: Option<Place>,
    pub(super) heard: Heard,
    /// Whether a header or a control frame has begun to come and not ended.
    pub(super) partial: bool,
}

impl Session {
    /// Reads what stands in a record.
    pub(super) fn load(state: ServiceState) -> Session {
        let [phase, partial, m0, m1, h0, h1, h2, h3] = state;
        Session {
            phase: match phase {
                0 => Phase::Handshake,
                1 => Phase::Open,
                _ => Phase::Closed,
            },
            message: Place::from_number(u16::from_le_bytes([m0, m1])),
            heard: Heard(u32::from_le_bytes([h0, h1, h2, h3])),
            partial: partial != 0,
        }
    }

    /// What is to stand in the record.
    pub(super) fn store(self) -> ServiceState {
        let [m0, m1] = self.message.map_or(0, Place::number).to_le_bytes();
        let [h0, h1, h2, h3] = self.heard.0.to_le_bytes();
        [self.phase as u8, u8::from(self.partial), m0, m1, h0, h1, h2, h3]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_keeps_what_is_known() {
        assert_eq!(Session::load(ServiceState::default()), Session::default());
        for phase in [Phase::Handshake, Phase::Open, Phase::Closed] {
            for (number, partial) in [(0, false), (1, true), (u16::MAX, false)] {
                let message = Place::from_number(number);
                let session = Session { phase, message, heard: Heard(0x1234_5678), partial };
                assert_eq!(Session::load(session.store()), session);
            }
        }
    }
}
