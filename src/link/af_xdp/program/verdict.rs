//! What the XDP program did with the frames it saw.

use std::fmt;

/// What became of a frame, as the XDP program counts it: the `enum verdict` of `xdp/steer.bpf.c`.
///
/// A frame has exactly one verdict, except that a taken frame that is then dropped counts as
/// [`Verdict::DroppedNoSocket`] besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Verdict {
    /// Taken: TCP to an owned address, whole or cut off.
    TakenTcpOwned,
    /// Taken: TCP to a listed port of a shared address.
    TakenTcpListener,
    /// Taken: ARP that asks for, or answers to, an owned address.
    TakenArp,
    /// Taken: a neighbour solicitation for an owned address, or an advertisement sent to one.
    TakenNdp,
    /// Taken: other ICMP or ICMPv6 to an owned address.
    TakenIcmp,
    /// Taken: an IPv4 fragment of TCP or ICMP to an owned address, or the first one of TCP to a
    /// listed port; the stack drops and counts it.
    TakenFragment,
    /// Dropped, after it was taken: no socket is set for the queue that the frame came in on.
    DroppedNoSocket,
    /// Passed to the kernel: neither IP nor ARP for IP, or behind more than two VLAN tags.
    PassedNotIp,
    /// Passed to the kernel: for an address that is not owned, and no listed port of it.
    PassedDestination,
    /// Passed to the kernel: a protocol other than TCP and ICMP to an owned address.
    PassedProtocol,
    /// Passed to the kernel: IPv6 with an extension header.
    PassedExtension,
    /// Passed to the kernel: a later IPv4 fragment of TCP to a shared address, whose port it does
    /// not tell.
    PassedFragment,
    /// Passed to the kernel: cut off, or with an impossible header length, before it could be told
    /// to be for an owned address.
    PassedMalformed,
}

impl Verdict {
    /// Every verdict, in the order of the program's counters.
    pub const ALL: [Verdict; 13] = [
        Verdict::TakenTcpOwned,
        Verdict::TakenTcpListener,
        Verdict::TakenArp,
        Verdict::TakenNdp,
        Verdict::TakenIcmp,
        Verdict::TakenFragment,
        Verdict::DroppedNoSocket,
        Verdict::PassedNotIp,
        Verdict::PassedDestination,
        Verdict::PassedProtocol,
        Verdict::PassedExtension,
        Verdict::PassedFragment,
        Verdict::PassedMalformed,
    ];

    /// The verdict's name in metrics: the C name in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::TakenTcpOwned => "taken_tcp_owned",
            Verdict::TakenTcpListener => "taken_tcp_listener",
            Verdict::TakenArp => "taken_arp",
            Verdict::TakenNdp => "taken_ndp",
            Verdict::TakenIcmp => "taken_icmp",
            Verdict::TakenFragment => "taken_fragment",
            Verdict::DroppedNoSocket => "dropped_no_socket",
            Verdict::PassedNotIp => "passed_not_ip",
            Verdict::PassedDestination => "passed_destination",
            Verdict::PassedProtocol => "passed_protocol",
            Verdict::PassedExtension => "passed_extension",
            Verdict::PassedFragment => "passed_fragment",
            Verdict::PassedMalformed => "passed_malformed",
        }
    }

    /// Index of the verdict's counter.
    pub(super) const fn index(self) -> u32 {
        self as u32
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Frames per verdict since the program was loaded, summed over all CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerdictCounters {
    frames: [u64; Verdict::ALL.len()],
}

impl VerdictCounters {
    /// Frames that got this verdict.
    pub fn get(&self, verdict: Verdict) -> u64 {
        self.frames[verdict as usize]
    }

    /// Every verdict and its frames, in the order of [`Verdict::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Verdict, u64)> + '_ {
        Verdict::ALL.into_iter().zip(self.frames)
    }

    /// Sets the frames that got this verdict.
    pub(super) fn set(&mut self, verdict: Verdict, frames: u64) {
        self.frames[verdict as usize] = frames;
    }
}
