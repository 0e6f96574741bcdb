//! How far a run is: a bar on a terminal, else a line a second. Both go to stderr, as cargo and curl
//! have it, so that what a run came to can be redirected alone.

use crate::load::progress::{Phase, Step};
use crate::time::{Duration, Instant};
use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, IsTerminal as _, Write as _};

/// Over how long a rate is taken, and how often a line is written.
const INTERVAL: Duration = Duration::from_secs(1);

/// Shows the steps of a run.
pub(super) struct Bar {
    /// Only on a terminal.
    bar: Option<ProgressBar>,
    /// Where the rate is counted from, and the rate before that.
    since: (Phase, u64, Instant),
    rate: Option<f64>,
}

impl Bar {
    pub(super) fn new(now: Instant) -> anyhow::Result<Bar> {
        let style = ProgressStyle::with_template("{prefix:10} {wide_bar} {msg}");
        let style = style.context("a progress bar")?;
        let bar = io::stderr().is_terminal().then(|| ProgressBar::new(1).with_style(style));
        Ok(Bar { bar, since: (Phase::Connecting, 0, now), rate: None })
    }

    /// Shows how far it is at `now`.
    pub(super) fn show(&mut self, step: Step, now: Instant) {
        let (phase, done, since) = self.since;
        if step.phase != phase {
            self.since = (step.phase, step.done, now);
            self.rate = None;
        }
        let elapsed = now.since(since);
        let is_time = step.phase == phase && elapsed >= INTERVAL;
        if is_time {
            self.rate = Some(step.done.saturating_sub(done) as f64 / elapsed.as_secs_f64());
            self.since = (step.phase, step.done, now);
        }
        match &self.bar {
            Some(bar) => {
                bar.set_length(step.total.max(1));
                bar.set_position(step.done.min(step.total));
                bar.set_prefix(step.phase.name());
                bar.set_message(words(&step, self.rate, now));
            }
            None if is_time && step.phase < Phase::Done => {
                let words = words(&step, self.rate, now);
                // Without a standard error there is nobody to tell.
                let _ = writeln!(io::stderr(), "{:10} {words}", step.phase.name());
            }
            None => {}
        }
    }

    /// Removes the bar.
    pub(super) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// `123 of 1000, 50 a second, 18 s left`, as far as it is known.
fn words(step: &Step, rate: Option<f64>, now: Instant) -> String {
    let mut words = Vec::new();
    if step.total > 0 {
        words.push(format!("{} of {}", step.done, step.total));
        words.extend(rate.map(|rate| format!("{rate:.0} a second")));
    }
    let missing = step.total.saturating_sub(step.done) as f64;
    let at_rate = rate.filter(|rate| *rate > 0.0).map(|rate| missing / rate);
    // What ends at a time that is known does not end earlier.
    let at_time = step.ends.map(|ends| ends.since(now).as_secs_f64());
    let left = at_time.into_iter().chain(at_rate).reduce(f64::max);
    words.extend(left.map(|seconds| format!("{:.0} s left", seconds.ceil())));
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_what_is_known() {
        let now = Instant::from_millis(10_000);
        let step = Step { phase: Phase::Connecting, done: 250, total: 1_000, ends: None };
        assert_eq!(words(&step, None, now), "250 of 1000");
        assert_eq!(words(&step, Some(100.0), now), "250 of 1000, 100 a second, 8 s left");
        assert_eq!(words(&step, Some(0.0), now), "250 of 1000, 0 a second");
        let holding = Step { ends: Some(Instant::from_millis(52_500)), ..step };
        assert_eq!(words(&holding, Some(100.0), now), "250 of 1000, 100 a second, 43 s left");
        let late = Step { ends: Some(Instant::ZERO), ..step };
        assert_eq!(words(&late, Some(100.0), now), "250 of 1000, 100 a second, 8 s left");
        let idle = Step { done: 0, total: 0, ..holding };
        assert_eq!(words(&idle, Some(0.0), now), "43 s left");
    }
}
