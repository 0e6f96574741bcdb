//! Periods: retransmission, handshake, FIN-WAIT-2 and TIME-WAIT.

use crate::time::Duration;

/// The first retransmission timeout (RFC 6298 section 2.1). Records keep no round-trip times, so
/// every flight starts from it; that is the minimum which section 2.4 asks for anyway.
const RTO_INITIAL: Duration = Duration::from_secs(1);

/// The longest retransmission timeout (RFC 6298 section 2.5 allows 60 s or more).
const RTO_MAX: Duration = Duration::from_secs(60);

/// How often something is sent again before the way to the peer is doubted (RFC 9293 section 3.8.3:
/// R1 "SHOULD correspond to at least 3 retransmissions", SHLD-11).
pub const R1: u8 = 3;

/// How long that takes.
pub const R1_TIMEOUT: Duration = Duration::from_secs(7);

/// How often data or a FIN is sent again: 363 s in all, past R2's 100 s (RFC 9293 MUST-20).
pub const DATA_RETRIES_MAX: u8 = 10;

/// How long data or a FIN is sent again to a peer that answers nothing: as long as those tries take.
pub const DATA_TIMEOUT: Duration = Duration::from_secs(363);

/// How often a SYN-ACK is sent again: 63 s in all, as Linux has it.
///
/// Deviation: RFC 9293 section 3.8.3 asks for 3 minutes; a server that keeps half-open connections
/// that long is the more easily flooded.
pub const SYN_ACK_RETRIES_MAX: u8 = 5;

/// How often a SYN is sent again: 183 s in all (RFC 9293 MUST-23: at least 3 minutes).
pub const SYN_RETRIES_MAX: u8 = 7;

/// How long FIN-WAIT-2 waits for the peer's FIN, as Linux has it: the service has closed, and nobody
/// would read what the peer still sends.
pub const FIN_WAIT_2: Duration = Duration::from_secs(60);

/// How long TIME-WAIT lasts unless configured, as Linux has it.
///
/// Deviation: RFC 9293 section 3.4.2 has 2 MSL = 4 minutes.
pub const TIME_WAIT: Duration = Duration::from_secs(60);

/// The retransmission timeout after `retries` retransmissions: doubled each time
/// (RFC 6298 section 5.5), up to 60 s.
pub fn rto(retries: u8) -> Duration {
    RTO_INITIAL.saturating_mul(1 << retries.min(16)).min(RTO_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(retries: u8) -> Duration {
        (0..=retries).map(rto).sum()
    }

    #[test]
    fn the_limits_keep_what_their_comments_promise() {
        assert_eq!(total(DATA_RETRIES_MAX), DATA_TIMEOUT);
        assert_eq!(total(R1 - 1), R1_TIMEOUT);
        assert_eq!(total(SYN_ACK_RETRIES_MAX), Duration::from_secs(63));
        assert_eq!(total(SYN_RETRIES_MAX), Duration::from_secs(183));
    }
}
