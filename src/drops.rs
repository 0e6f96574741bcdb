//! Why a frame was dropped.
//!
//! A frame that brings nothing to a connection, or not all of what it carries, is counted under one
//! reason, whether it is answered or not: the answer to a peer's keepalive probe, too, is one to a
//! segment that brought nothing. An answer that could not be sent is counted besides, as
//! [`DropReason::NoFrame`]. [`DropReason::name`] is the key in status lines and in the JSON summary.

macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// The one reason under which a dropped frame is counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum DropReason {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl DropReason {
            /// All reasons, in the order of their counters.
            pub const ALL: &'static [DropReason] = &[$(DropReason::$variant,)+];

            /// The reason's name in status lines and in JSON.
            pub const fn name(self) -> &'static str {
                match self {
                    $(DropReason::$variant => $name,)+
                }
            }
        }
    };
}

drop_reasons! {
    /// The frame ends before a header that it must have does.
    Truncated = "truncated",
    /// A length field says more than the frame holds, or less than its own header.
    LengthMismatch = "length_mismatch",
    /// An IPv4 or TCP header length is below the minimum or past the end of the packet.
    HeaderLength = "header_length",
    /// The IPv4 header checksum is wrong.
    IpChecksum = "ip_checksum",
    /// The TCP checksum is wrong.
    TcpChecksum = "tcp_checksum",
    /// The ICMP or ICMPv6 checksum is wrong.
    IcmpChecksum = "icmp_checksum",
    /// An IPv4 fragment: the stack sends and accepts whole packets only.
    Fragment = "fragment",
    /// The source address is multicast, broadcast, unspecified, loopback or IPv4-mapped IPv6.
    SourceAddress = "source_address",
    /// The source address is one of the stack's own; in ARP and NDP, from another host.
    OwnSource = "own_source",
    /// The destination hardware or IP address is not the stack's.
    NotOurs = "not_ours",
    /// Anything but ARP and NDP while it is being found out whether somebody else has an owned address.
    Unclaimed = "unclaimed",
    /// Neither ARP, ICMP, ICMPv6 nor TCP, or an IPv6 extension header.
    Protocol = "protocol",
    /// A port is 0, or the TCP flags contradict each other (for example SYN with FIN).
    Flags = "flags",
    /// An ARP, NDP or ICMP message that asks for no answer, or tells nothing that is acted on.
    ControlIgnored = "control_ignored",
    /// A ping, left unanswered because those of this second are used up.
    PingLimited = "ping_limited",
    /// An ICMP error about a segment that is not in flight: forged, or late.
    IcmpSequence = "icmp_sequence",
    /// An ICMP error about a connection that there is not.
    IcmpStray = "icmp_stray",
    /// A segment for no connection, left unanswered because the resets of this second are used up.
    ResetLimited = "reset_limited",
    /// A reset that answers no connection of ours, or not with an exact sequence number.
    StrayReset = "stray_reset",
    /// A SYN while every connection record is in use.
    TableFull = "table_full",
    /// A SYN, or a cookie that came back, from a prefix that has all the connections that it may have.
    PrefixFull = "prefix_full",
    /// A SYN past the number of connections that are accepted in a second; the peer sends it again.
    AcceptLimited = "accept_limited",
    /// A SYN while every path (local address and next hop) is in use.
    PathsFull = "paths_full",
    /// A SYN while every pair of a service and a keepalive profile is in use.
    ProfilesFull = "profiles_full",
    /// Data or a FIN not taken, because every in-flight buffer is in use; the peer sends it again.
    FlightsFull = "flights_full",
    /// Data past the next expected byte; answered with a duplicate acknowledgment.
    OutOfOrder = "out_of_order",
    /// A segment outside the receive window, or whose data was had before; answered with an ACK.
    OutOfWindow = "out_of_window",
    /// Data that the service had no room to answer; the peer sends it again.
    ServiceFull = "service_full",
    /// An acknowledgment that is missing, or of data never sent.
    BadAck = "bad_ack",
    /// A frame was due to be sent, but the pool had none left, or the transmit queue no room.
    NoFrame = "no_frame",
}

/// A count for each [`DropReason`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drops([u64; DropReason::ALL.len()]);

impl Default for Drops {
    fn default() -> Drops {
        Drops([0; DropReason::ALL.len()])
    }
}

impl Drops {
    /// Counts one dropped frame.
    pub fn count(&mut self, reason: DropReason) {
        self.0[reason as usize] += 1;
    }

    /// Adds the counts of `other`, for example those of another shard.
    pub fn add(&mut self, other: &Drops) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }

    /// How many frames were dropped for `reason`.
    pub fn of(&self, reason: DropReason) -> u64 {
        self.0[reason as usize]
    }

    /// How many frames were dropped in all.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The reasons that occurred, with their counts.
    pub fn nonzero(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.iter().map(|&reason| (reason, self.of(reason))).filter(|&(_, n)| n > 0)
    }
}
