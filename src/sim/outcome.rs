//! What must hold when a run is over.

use super::host::Host;
use super::services::{Recorder, Talker};
use super::talk::{Conversation, End, Ending, Roles};
use crate::drops::DropReason;

use crate::engine::counters::Counters;
use crate::tcp::CloseReason;

/// What the applications saw of a run: all that may not depend on how the engine carried it out.
#[derive(PartialEq, Eq)]
pub(super) struct Outcome {
    talks: Vec<Ended>,
    /// Whether connections were opened by cookies. A segment that overtakes the first one of such a
    /// connection is answered with a reset, since all that is known of it stands in the first.
    had_cookies: bool,
    /// How many connections gave way to others that needed their flights or places: peers that had
    /// vanished, or to whom too much was lost.
    evicted: u64,
    /// How often the engines sent something again after a timeout.
    retransmitted: u64,
    /// How often they did not take data for want of room.
    refused: u64,
    /// Frames that a host had no room for.
    lost: u64,
}

/// A conversation that is over.
#[derive(Debug, PartialEq, Eq)]
struct Ended {
    number: u16,
    end: End,
    /// What was said and heard, if that is certain.
    bytes: Option<[Vec<u8>; 2]>,
}

impl Outcome {
    /// Checks the end of a run, and takes down what came of it.
    pub(super) fn new(
        mut talks: Vec<Conversation>,
        server: &Host<Recorder>,
        client: &Host<Talker>,
    ) -> Outcome {
        let lost = server.lost() + client.lost();
        let (server, client) = (&server.engine, &client.engine);
        talks.sort_by_key(|talk| talk.talk.number);
        assert_eq!(server.service().open_len(), 0, "every connection that was opened has ended");
        assert_eq!(server.service().underway(), (0, 0), "and so has what they were sent");
        server.check_empty();
        client.check_empty();
        let had_cookies = server.counters().cookies_sent > 0;
        let counters = [server.counters(), client.counters()];
        let evicted = counters.iter().map(|counters| counters.closed(CloseReason::Evicted)).sum();
        let retransmitted = counters.iter().map(|counters| counters.retransmitted).sum();
        let reasons = [DropReason::FlightsFull, DropReason::ServiceFull];
        let refused = |counters: &Counters| -> u64 {
            reasons.iter().map(|reason| counters.drops.of(*reason)).sum()
        };
        let refused = counters.iter().map(refused).sum();
        check_records(&talks, server.service().ended.clone(), had_cookies);
        let talks = talks.into_iter().map(|talk| {
            let end = talk.end.clone().expect("it has ended");
            let bytes = (end == End::Orderly)
                .then(|| [talk.talk.request, talk.talk.response[..talk.heard].to_vec()]);
            Ended { number: talk.talk.number, end, bytes }
        });
        Outcome { talks: talks.collect(), had_cookies, evicted, retransmitted, refused, lost }
    }

    /// Fails unless everything arrived the first time, but for what a record had no room for.
    pub(super) fn assert_nothing_repeated(&self) {
        let is_excused = self.refused > 0 || self.lost > 0;
        assert!(self.retransmitted == 0 || is_excused, "a good network needs no repetition");
    }

    /// Fails unless every conversation ended as it was to.
    pub(super) fn assert_all_well(&self) {
        for Ended { number, end, .. } in &self.talks {
            let is_well = !matches!(end, End::Broken(_)) || self.is_excused(end);
            assert!(is_well, "talk {number}: {end:?}");
        }
        let broken = self.talks.iter().filter(|talk| matches!(talk.end, End::Broken(_))).count();
        assert!(
            self.had_cookies || broken as u64 <= self.evicted,
            "{broken} broken, but only {} evicted",
            self.evicted
        );
    }

    /// Fails unless the applications saw the same in another mode.
    pub(super) fn assert_same(&self, other: &Outcome) {
        assert_eq!(self.talks.len(), other.talks.len());
        for (one, two) in self.talks.iter().zip(&other.talks) {
            let is_excused = self.is_excused(&one.end) || other.is_excused(&two.end);
            assert!(is_excused || one == two, "the modes differ: {:?}, {:?}", one.end, two.end);
        }
    }

    fn is_excused(&self, end: &End) -> bool {
        let has_excuse = self.had_cookies || self.evicted > 0;
        let is_by_us = was_evicted(end);
        is_by_us || matches!(end, End::Broken(reason) if has_excuse && reason.starts_with("reset"))
    }
}

/// Whether the client's own engine had another take its place.
fn was_evicted(end: &End) -> bool {
    matches!(end, End::Broken(reason) if reason.starts_with("evicted"))
}

/// What the server heard on each connection, and why that ended, agrees with what its clients say.
fn check_records(
    talks: &[Conversation],
    mut ended: Vec<(Vec<u8>, CloseReason)>,
    had_cookies: bool,
) {
    let served = talks.iter().filter(|talk| talk.talk.roles != Roles::EngineToReference);
    let mut others = Vec::new();
    for talk in served {
        let Conversation { talk: plan, end, .. } = talk;
        let expected: &[CloseReason] = match (plan.ending, end) {
            // The client may forget it in TIME-WAIT while its last ACK is lost again and again.
            (_, Some(End::Orderly)) => match plan.ending {
                Ending::ServerCloses => &[CloseReason::ClosedByUs, CloseReason::Evicted],
                _ => &[CloseReason::ClosedByPeer, CloseReason::ResetByPeer, CloseReason::Evicted],
            },
            (Ending::VanishesIdle, Some(End::Vanished)) => &[CloseReason::KeepaliveTimeout],
            _ => {
                others.push(talk);
                continue;
            }
        };
        let found = ended
            .iter()
            .position(|(heard, reason)| *heard == plan.request && expected.contains(reason));
        let Some(found) = found else {
            panic!(
                "talk {} ({:?}) is not among what the server heard: {:?}",
                plan.number,
                plan.ending,
                ended.iter().map(|(heard, reason)| (heard.len(), reason)).collect::<Vec<_>>(),
            );
        };
        ended.swap_remove(found);
    }
    for (heard, reason) in ended {
        let explains = |talk: &&Conversation| {
            let allowed = match talk.talk.ending {
                _ if reason == CloseReason::Evicted => true,
                // However much of its reset was lost.
                _ if talk.end.as_ref().is_some_and(was_evicted) => true,
                Ending::Aborts(_) => reason == CloseReason::ResetByPeer,
                Ending::Vanishes(_) => {
                    matches!(reason, CloseReason::KeepaliveTimeout | CloseReason::UserTimeout)
                }
                _ => false,
            };
            allowed && talk.talk.request.starts_with(&heard)
        };
        let is_explained = others.iter().any(explains)
            // An attempt that the client gave up, not knowing that the server had accepted it; or the
            // ACK of a cookie that came once more when the connection was over.
            || (heard.is_empty() && reason == CloseReason::ResetByPeer || had_cookies)
                && talks.iter().any(|talk| talk.talk.request.starts_with(&heard));
        assert!(
            is_explained,
            "nobody said these {} bytes and ended so: {reason:?}; open: {:?}",
            heard.len(),
            others
                .iter()
                .map(|talk| (
                    talk.talk.number,
                    talk.talk.roles,
                    talk.talk.ending,
                    talk.said,
                    talk.heard,
                    &talk.end
                ))
                .collect::<Vec<_>>(),
        );
    }
}
