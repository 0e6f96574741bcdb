//! Decisions: what a segment means for a connection.
//!
//! Functions of a record and a segment that return what is to be done; the engine does it. The text
//! of RFC 9293 section 3.10.7 stands beside the branches that implement it.
//!
//! - [`challenge`]: how often segments that bring nothing are answered
//! - [`handshake`]: SYN-SENT, and the SYN-ACK of a passive open
//! - [`isn`]: initial sequence numbers
//! - [`parked`]: segments for a record: SYN-RECEIVED and the synchronized states
//! - [`reset`]: the answer to a segment that has no connection
//! - [`timing`]: retransmission, TIME-WAIT and other periods

pub mod challenge;
pub mod handshake;
pub mod isn;
pub mod parked;
pub mod reset;
pub mod timing;

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// Both sides closed, the peer first.
    ClosedByPeer,
    /// Both sides closed, this host first.
    ClosedByUs,
    /// The peer reset the connection.
    ResetByPeer,
    /// This host reset the connection, because data came that nobody would read
    /// (RFC 1122 section 4.2.2.13).
    ResetByUs,
    /// The peer answered neither data, FIN nor SYN, however often they were sent again; or, after
    /// this host had closed, never closed its own direction.
    TimedOut,
    /// The peer refused the connection.
    Refused,
}

impl CloseReason {
    /// All reasons, in the order of their counters.
    pub const ALL: [CloseReason; 6] = [
        CloseReason::ClosedByPeer,
        CloseReason::ClosedByUs,
        CloseReason::ResetByPeer,
        CloseReason::ResetByUs,
        CloseReason::TimedOut,
        CloseReason::Refused,
    ];

    /// The reason's name in status lines and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            CloseReason::ClosedByPeer => "closed_by_peer",
            CloseReason::ClosedByUs => "closed_by_us",
            CloseReason::ResetByPeer => "reset_by_peer",
            CloseReason::ResetByUs => "reset_by_us",
            CloseReason::TimedOut => "timed_out",
            CloseReason::Refused => "refused",
        }
    }
}
