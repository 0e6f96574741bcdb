//! What happened on the connections of an HTTP service.

use super::status::Status;

/// How many answers there were of each status, and how connections ended that did not get theirs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    by_status: [u64; Status::ALL.len()],
    /// Connections closed because no request came for the idle timeout.
    pub idle: u64,
    /// Connections closed by their peers inside of a request.
    pub cut_short: u64,
    /// Connections reset inside of an answer: its peer took nothing of it for the request timeout, or less
    /// than the least rate, its file could not be read to the end, or the content that it echoes was malformed.
    pub aborted: u64,
}

impl Counters {
    pub(super) fn count(&mut self, status: Status) {
        self.by_status[status as usize] += 1;
    }

    /// How many answers there were with `status`.
    pub fn answered(&self, status: Status) -> u64 {
        self.by_status[status as usize]
    }

    /// Every counter, by name.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        let Counters { by_status, idle, cut_short, aborted } = *self;
        let answers =
            Status::ALL.into_iter().map(move |status| (status.name(), by_status[status as usize]));
        let endings =
            [("http_idle", idle), ("http_cut_short", cut_short), ("http_aborted", aborted)];
        answers.chain(endings)
    }
}
