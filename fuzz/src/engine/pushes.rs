//! What was pushed and broadcast, and what was told of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tenmil::conn::broadcast::{Progress, Report};
use tenmil::conn::delivery::{Notice, Outcome};

/// How often somebody was told something.
#[derive(Default)]
struct Told {
    outcomes: AtomicU64,
    /// Of them, that there was no room.
    full: AtomicU64,
    ends: AtomicU64,
}

/// What was asked for, and what was told.
#[derive(Default)]
pub(super) struct Pushes {
    pushes: u64,
    broadcasts: u64,
    told: Arc<Told>,
}

impl Pushes {
    /// For another push.
    pub(super) fn notice(&mut self) -> Notice {
        self.pushes += 1;
        let told = self.told.clone();
        Box::new(move |outcome| {
            told.outcomes.fetch_add(1, Ordering::Relaxed);
            told.full.fetch_add(u64::from(outcome == Outcome::Full), Ordering::Relaxed);
        })
    }

    /// For another broadcast.
    pub(super) fn report(&mut self) -> Report {
        self.broadcasts += 1;
        let told = self.told.clone();
        let mut last = Progress::default();
        Box::new(move |progress| {
            assert!(!last.is_done, "nothing is told behind the end");
            assert!(progress.looked_at >= last.looked_at, "it goes on: {last:?}, {progress:?}");
            let Progress { places, looked_at, sent, queued, full, gone, .. } = *progress;
            assert!(looked_at <= places && sent + queued + full + gone <= looked_at);
            last = *progress;
            told.ends.fetch_add(u64::from(progress.is_done), Ordering::Relaxed);
        })
    }

    /// How many are not answered.
    pub(super) fn open(&self) -> [u64; 2] {
        let Told { outcomes, ends, .. } = &*self.told;
        let [outcomes, ends] = [outcomes, ends].map(|count| count.load(Ordering::Relaxed));
        assert!(outcomes <= self.pushes && ends <= self.broadcasts, "each is answered once");
        [self.pushes - outcomes, self.broadcasts - ends]
    }
}
