//! Decisions: what a segment means for a connection.
//!
//! Functions of a record and a segment that return what is to be done; the engine does it. The text
//! of RFC 9293 section 3.10.7 stands beside the branches that implement it.
//!
//! - [`challenge`]: how often segments that bring nothing are answered
//! - [`cookie`]: a connection request kept in a sequence number
//! - [`handshake`]: SYN-SENT, and the SYN-ACK of a passive open
//! - [`icmp`]: errors that routers and peers report
//! - [`isn`]: initial sequence numbers
//! - [`keepalive`]: probes for a silent peer, and the user timeout
//! - [`parked`]: segments for a record: SYN-RECEIVED and the synchronized states
//! - [`promoted`]: connections that a TCP socket of smoltcp's carries
//! - [`reset`]: the answer to a segment that has no connection
//! - [`timing`]: retransmission, TIME-WAIT and other periods

pub mod challenge;
pub mod cookie;
pub mod handshake;
pub mod icmp;
pub mod isn;
pub mod keepalive;
pub mod parked;
pub mod promoted;
pub mod reset;
pub mod timing;

/// Why a connection ended, or could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// Both sides closed, the peer first.
    ClosedByPeer,
    /// This host closed first. When data came that nobody would read any more, it did so with a
    /// reset (RFC 1122 section 4.2.2.13).
    ClosedByUs,
    /// The peer reset the connection.
    ResetByPeer,
    /// The peer answered no keepalive probe (RFC 9293 section 3.8.4).
    KeepaliveTimeout,
    /// The peer did not acknowledge what was sent, SYN and FIN included, within the user timeout, or
    /// however often it was sent again (RFC 9293 section 3.8.3).
    UserTimeout,
    /// The service missed the peer's heartbeats.
    HeartbeatMissed,
    /// The service had no use for the connection any more: nothing was asked for a while.
    Idle,
    /// The peer was too slow with a request, or with taking the answer.
    TooSlow,
    /// The peer broke the rules of the service's protocol, or went past a limit of the service.
    ProtocolError,
    /// The connection gave way to another when a limit was reached: it had made no progress for a
    /// while, and the other needed its flight, or its place among the promoted connections.
    Evicted,
    /// The peer refused the connection with a reset.
    Refused,
    /// The network said that the peer cannot be reached, or nobody answered for its address.
    Unreachable,
}

impl CloseReason {
    /// All reasons, in the order of their counters.
    pub const ALL: [CloseReason; 12] = [
        CloseReason::ClosedByPeer,
        CloseReason::ClosedByUs,
        CloseReason::ResetByPeer,
        CloseReason::KeepaliveTimeout,
        CloseReason::UserTimeout,
        CloseReason::HeartbeatMissed,
        CloseReason::Idle,
        CloseReason::TooSlow,
        CloseReason::ProtocolError,
        CloseReason::Evicted,
        CloseReason::Refused,
        CloseReason::Unreachable,
    ];

    /// The reason's name in status lines and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            CloseReason::ClosedByPeer => "closed_by_peer",
            CloseReason::ClosedByUs => "closed_by_us",
            CloseReason::ResetByPeer => "reset_by_peer",
            CloseReason::KeepaliveTimeout => "keepalive_timeout",
            CloseReason::UserTimeout => "user_timeout",
            CloseReason::HeartbeatMissed => "heartbeat_missed",
            CloseReason::Idle => "idle",
            CloseReason::TooSlow => "too_slow",
            CloseReason::ProtocolError => "protocol_error",
            CloseReason::Evicted => "evicted",
            CloseReason::Refused => "refused",
            CloseReason::Unreachable => "unreachable",
        }
    }
}
