//! What a connection's record says: enough to answer a heartbeat without looking anywhere else.

use super::codec::Version;
use crate::service::ServiceState;
use crate::time::{Duration, Instant};

/// When something last came is kept in units of 2^24 ns, about 16.8 ms, of which three bytes hold
/// 78 hours: more than one and a half times the longest keep alive, which is 27.
const HEARD_SHIFT: u32 = 24;
const HEARD_BITS: u32 = 24;
/// That unit.
pub(super) const HEARD_GRAIN: Duration = Duration::from_nanos(1 << HEARD_SHIFT);

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// No CONNECT has come.
    New,
    /// A CONNECT was accepted.
    Connected(Version),
    /// The last packet was sent or has come.
    Ended,
}

/// The eight bytes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// How far it has come.
    pub(super) stage: Stage,
    /// Whether a packet was sent in part, so that nothing else may be sent.
    pub(super) blocked: bool,
    /// Whether a packet has begun to come and not ended.
    pub(super) partial: bool,
    /// Its session, from when it is connected.
    pub(super) session: u32,
    /// When the last whole packet came.
    heard: u32,
}

const NEW: u8 = 0;
const V311: u8 = 1;
const V5: u8 = 2;
const ENDED: u8 = 3;
const BLOCKED: u8 = 0x80;
const PARTIAL: u8 = 0x40;

impl State {
    /// Reads the eight bytes.
    pub(super) fn load(bytes: &ServiceState) -> State {
        let [stage, h0, h1, h2, session @ ..] = *bytes;
        State {
            stage: match stage & !(BLOCKED | PARTIAL) {
                NEW => Stage::New,
                V311 => Stage::Connected(Version::V311),
                V5 => Stage::Connected(Version::V5),
                _ => Stage::Ended,
            },
            blocked: stage & BLOCKED != 0,
            partial: stage & PARTIAL != 0,
            session: u32::from_le_bytes(session),
            heard: u32::from_le_bytes([h0, h1, h2, 0]),
        }
    }

    /// The eight bytes.
    pub(super) fn store(&self) -> ServiceState {
        let stage = match self.stage {
            Stage::New => NEW,
            Stage::Connected(Version::V311) => V311,
            Stage::Connected(Version::V5) => V5,
            Stage::Ended => ENDED,
        };
        let [h0, h1, h2, _] = self.heard.to_le_bytes();
        let [s0, s1, s2, s3] = self.session.to_le_bytes();
        let blocked = if self.blocked { BLOCKED } else { 0 };
        let partial = if self.partial { PARTIAL } else { 0 };
        [stage | blocked | partial, h0, h1, h2, s0, s1, s2, s3]
    }

    /// A whole packet has come.
    pub(super) fn hear(&mut self, now: Instant) {
        self.heard = tick(now);
        self.partial = false;
    }

    /// For how long nothing has come, rounded down by less than 17 ms: never more than it was.
    pub(super) fn silence(&self, now: Instant) -> Duration {
        let ticks = tick(now).wrapping_sub(self.heard) & ((1 << HEARD_BITS) - 1);
        // The packet came somewhere in its unit, now is somewhere in this one.
        Duration::from_nanos(u64::from(ticks.saturating_sub(1)) << HEARD_SHIFT)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "cut to 24 bits by design")]
fn tick(now: Instant) -> u32 {
    (now.nanos() >> HEARD_SHIFT) as u32 & ((1 << HEARD_BITS) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_connection_is_all_zero_and_every_state_survives() {
        let new = State::load(&ServiceState::default());
        assert_eq!((new.stage, new.blocked, new.session), (Stage::New, false, 0));
        for stage in [
            Stage::New,
            Stage::Connected(Version::V311),
            Stage::Connected(Version::V5),
            Stage::Ended,
        ] {
            for (blocked, partial) in [(false, false), (false, true), (true, false), (true, true)] {
                let (session, heard) = (0x1234_5678, 0xab_cdef);
                let state = State { stage, blocked, partial, session, heard };
                assert_eq!(State::load(&state.store()), state);
            }
        }
    }

    #[test]
    fn silence_is_known_to_34_ms_and_never_too_long() {
        let longest = Duration::from_secs(u64::from(u16::MAX)) * 3 / 2;
        for start in [0, 1, 16_777_215, 16_777_216, 281_474_000_000_000, 9_999_999_999_999] {
            let start = Instant::from_nanos(start);
            let mut state = State::load(&ServiceState::default());
            state.hear(start);
            for silence in [Duration::ZERO, Duration::from_millis(1_500), longest] {
                let known = state.silence(start + silence);
                assert!(known <= silence && known + Duration::from_millis(34) > silence);
            }
        }
    }
}
