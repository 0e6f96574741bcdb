//! What an engine counts.

use super::claims::Conflict;
use crate::conn::delivery::Outcome;
use crate::drops::Drops;
use crate::tcp::CloseReason;

/// Counters since the engine was made, and gauges of now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames received.
    pub rx: u64,
    /// Frames sent.
    pub tx: u64,
    /// Frames received and dropped, by reason.
    pub drops: Drops,
    /// Connections opened by peers that sent a SYN.
    pub accepted: u64,
    /// Connections opened by this engine's own SYN.
    pub connected: u64,
    /// Ended connections, by [`CloseReason`], in the order of [`CloseReason::ALL`].
    pub closed: [u64; CloseReason::ALL.len()],
    /// Segments sent again, after a timeout or duplicate ACKs.
    pub retransmitted: u64,
    /// Keepalive probes sent.
    pub probes: u64,
    /// How often ICMP had a connection send smaller segments.
    pub mtu_lowered: u64,
    /// Announcements of owned addresses, sent at the start or in their defence.
    pub announcements: u64,
    /// Messages that say that somebody else has an owned address.
    pub address_conflicts: u64,
    /// The newest of them.
    pub conflict: Option<Conflict>,
    /// Questions about neighbours not asked, because those of the second were used up.
    pub questions_limited: u64,
    /// How often a connection went on by way of another hardware address.
    pub paths_changed: u64,
    /// Resets sent.
    pub resets: u64,
    /// Connections promoted, each time it happened.
    pub promotions: u64,
    /// Connections that needed promotion when every place was taken, each time it happened.
    pub promotions_refused: u64,
    /// Promoted connections that gave their place to another, since they had made no progress for a while.
    /// Those that had nothing to send and nothing unread live on parked; the others ended as
    /// [`CloseReason::Evicted`].
    pub places_taken: u64,
    /// Profiles that services asked for and did not get, because there were too many others.
    pub profiles_refused: u64,
    /// Connections now promoted.
    pub promoted: u64,
    /// Pushed to a connection, and sent at once.
    pub pushes_sent: u64,
    /// Pushed to a connection, and queued behind other data.
    pub pushes_queued: u64,
    /// Pushed, and not sent, because there was no room: on the connection, or in the outbox.
    pub pushes_full: u64,
    /// Pushed, and not sent, because the connection had ended.
    pub pushes_gone: u64,
    /// Broadcasts that have looked at every connection.
    pub broadcasts: u64,
    /// Challenge ACKs sent.
    pub challenges: u64,
    /// Challenge ACKs not sent, because those of the second were used up.
    pub challenges_limited: u64,
    /// SYNs answered with a cookie, past the limit of half-open connections.
    pub cookies_sent: u64,
    /// Connections opened by a cookie that came back.
    pub cookies_accepted: u64,
    /// Connections now in SYN-RECEIVED.
    pub half_open: u64,
    /// Connections now in ESTABLISHED or CLOSE-WAIT: both sides can still be written to.
    pub established: u64,
    /// Connections now in any state: records in use.
    pub connections: u64,
}

impl Counters {
    /// Counts an ended connection.
    pub(super) fn close(&mut self, reason: CloseReason) {
        self.closed[reason as usize] += 1;
    }

    /// Counts what became of what was pushed.
    pub(super) fn push(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Sent => &mut self.pushes_sent,
            Outcome::Queued => &mut self.pushes_queued,
            Outcome::Full => &mut self.pushes_full,
            Outcome::Gone => &mut self.pushes_gone,
        } += 1;
    }

    /// How many connections ended for `reason`.
    pub fn closed(&self, reason: CloseReason) -> u64 {
        self.closed[reason as usize]
    }

    /// What happened besides frames, drops, and ends of connections: names, as in status lines and in
    /// JSON, with their counts.
    pub fn events(&self) -> [(&'static str, u64); 23] {
        [
            ("accepted", self.accepted),
            ("connected", self.connected),
            ("retransmitted", self.retransmitted),
            ("probes", self.probes),
            ("mtu_lowered", self.mtu_lowered),
            ("announcements", self.announcements),
            ("address_conflicts", self.address_conflicts),
            ("questions_limited", self.questions_limited),
            ("paths_changed", self.paths_changed),
            ("resets", self.resets),
            ("challenges", self.challenges),
            ("challenges_limited", self.challenges_limited),
            ("cookies_sent", self.cookies_sent),
            ("cookies_accepted", self.cookies_accepted),
            ("promotions", self.promotions),
            ("promotions_refused", self.promotions_refused),
            ("places_taken", self.places_taken),
            ("profiles_refused", self.profiles_refused),
            ("pushes_sent", self.pushes_sent),
            ("pushes_queued", self.pushes_queued),
            ("pushes_full", self.pushes_full),
            ("pushes_gone", self.pushes_gone),
            ("broadcasts", self.broadcasts),
        ]
    }

    /// Adds the counts of another engine.
    pub fn add(&mut self, other: &Counters) {
        self.rx += other.rx;
        self.tx += other.tx;
        self.drops.add(&other.drops);
        self.accepted += other.accepted;
        self.connected += other.connected;
        for (mine, theirs) in self.closed.iter_mut().zip(other.closed) {
            *mine += theirs;
        }
        self.retransmitted += other.retransmitted;
        self.probes += other.probes;
        self.mtu_lowered += other.mtu_lowered;
        self.announcements += other.announcements;
        self.address_conflicts += other.address_conflicts;
        self.conflict = other.conflict.or(self.conflict);
        self.questions_limited += other.questions_limited;
        self.paths_changed += other.paths_changed;
        self.resets += other.resets;
        self.promotions += other.promotions;
        self.promotions_refused += other.promotions_refused;
        self.places_taken += other.places_taken;
        self.profiles_refused += other.profiles_refused;
        self.promoted += other.promoted;
        self.pushes_sent += other.pushes_sent;
        self.pushes_queued += other.pushes_queued;
        self.pushes_full += other.pushes_full;
        self.pushes_gone += other.pushes_gone;
        self.broadcasts += other.broadcasts;
        self.challenges += other.challenges;
        self.challenges_limited += other.challenges_limited;
        self.cookies_sent += other.cookies_sent;
        self.cookies_accepted += other.cookies_accepted;
        self.half_open += other.half_open;
        self.established += other.established;
        self.connections += other.connections;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_engines_counted_is_added_up_and_named() {
        let mut one = Counters { rx: 5, promotions_refused: 2, ..Counters::default() };
        (one.places_taken, one.pushes_gone) = (3, 4);
        one.close(CloseReason::Evicted);
        one.close(CloseReason::TooSlow);
        let mut sum = one.clone();
        sum.add(&one);
        let happened: Vec<_> = sum.events().into_iter().filter(|(_, count)| *count > 0).collect();
        let expected = [("promotions_refused", 4), ("places_taken", 6), ("pushes_gone", 8)];
        assert_eq!(happened, expected);
        assert_eq!((sum.rx, sum.closed.iter().sum::<u64>()), (10, 4));
        assert_eq!([CloseReason::Evicted, CloseReason::TooSlow].map(|why| sum.closed(why)), [2; 2]);
        for (at, reason) in CloseReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, at, "counted in its place: {}", reason.name());
        }
    }
}
