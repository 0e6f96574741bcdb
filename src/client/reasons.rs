//! How often connections ended, and why.

use crate::tcp::CloseReason;

/// How often connections ended for each reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reasons([u64; CloseReason::ALL.len()]);

impl Reasons {
    /// Counts one more.
    pub fn count(&mut self, reason: CloseReason) {
        self.0[reason as usize] += 1;
    }

    /// How many there were for `reason`.
    pub fn get(&self, reason: CloseReason) -> u64 {
        self.0[reason as usize]
    }

    /// How many there were in all.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Those that occurred, by name.
    pub fn nonzero(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let named = CloseReason::ALL.map(|reason| (reason.name(), self.get(reason)));
        named.into_iter().filter(|&(_, count)| count > 0)
    }
}
