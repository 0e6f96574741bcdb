//! How long to wait before the next attempt.

use crate::time::Duration;

/// Waits that are drawn from a window, *full jitter*: any part of the window is as likely as any other,
/// so that those who were lost together come back apart (M. Brooker, "Exponential Backoff And Jitter",
/// AWS Architecture Blog, 2015).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The window of the first retry after a connection that had proved itself. With it a million clients
    /// of a server that restarts come back at a million in this time, at most.
    pub spread: Duration,
    /// The window of the second retry; that of each one after it is twice as long.
    pub base: Duration,
    /// The longest window of all but the first.
    pub cap: Duration,
    /// A connection has proved itself when it was established for so long, or when its service says so:
    /// see [`crate::service::Service::is_proved`].
    pub proved_after: Duration,
}

impl Default for Backoff {
    /// Spread over ten seconds; then 1, 2, 4 seconds and so on, up to a minute.
    fn default() -> Backoff {
        Backoff {
            spread: Duration::from_secs(10),
            base: Duration::from_secs(1),
            cap: Duration::from_secs(60),
            proved_after: Duration::from_secs(30),
        }
    }
}

impl Backoff {
    /// The longest wait after so many retries since a connection proved itself.
    pub fn window(&self, retries: u8) -> Duration {
        match retries.checked_sub(1) {
            None => self.spread,
            Some(doubled) => self.base.saturating_mul(1 << doubled.min(31)).min(self.cap),
        }
    }

    /// The wait after so many retries, as `random` has it, of which every value is as likely.
    pub fn wait(&self, retries: u8, random: u64) -> Duration {
        let window = u128::from(u64::try_from(self.window(retries).as_nanos()).unwrap_or(u64::MAX));
        // Less than the window, so it fits.
        Duration::from_nanos(u64::try_from((window * u128::from(random)) >> 64).unwrap_or(u64::MAX))
    }
}

/// Numbers that look random: splitmix64 (Steele, Lea and Flood, 2014). They spread clients and keep no
/// secret; each process draws its own first one.
#[derive(Clone, Debug)]
pub struct Jitter(pub u64);

impl Jitter {
    /// The next one.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn windows_double_from_the_base_to_the_cap() {
        let windows = [0, 1, 2, 3, 4, 6, 7, 8, 33, 255].map(|n| Backoff::default().window(n));
        assert_eq!(windows.map(|window| window.as_secs()), [10, 1, 2, 4, 8, 32, 60, 60, 60, 60]);
    }

    #[test]
    fn the_first_retries_of_very_many_are_spread_evenly() {
        let (backoff, mut jitter) = (Backoff::default(), Jitter(7));
        const CLIENTS: u32 = 1_000_000;
        const PARTS: usize = 100;
        let mut parts = [0_u32; PARTS];
        for _ in 0..CLIENTS {
            let wait = backoff.wait(0, jitter.draw());
            let part = wait.as_nanos() * PARTS as u128 / backoff.spread.as_nanos();
            parts[usize::try_from(part).unwrap()] += 1;
        }
        // In each hundredth of the window a hundredth of them: 10,000, and five standard deviations of
        // 100 to either side.
        assert!(parts.iter().all(|count| (9_500..=10_500).contains(count)), "{parts:?}");
    }

    #[test]
    fn later_retries_use_the_whole_of_their_windows() {
        let (backoff, mut jitter) = (Backoff::default(), Jitter(1));
        for retries in 1..20 {
            let window = backoff.window(retries);
            let waits: Vec<_> = (0..10_000).map(|_| backoff.wait(retries, jitter.draw())).collect();
            assert!(waits.iter().all(|wait| *wait < window), "{retries}");
            let mean = waits.iter().sum::<Duration>() / 10_000;
            assert!(mean > window * 48 / 100 && mean < window * 52 / 100, "{retries}: {mean:?}");
        }
    }

    proptest! {
        #[test]
        fn no_wait_is_longer_than_its_window_whatever_is_set(
            [spread, base, cap] in any::<[u64; 3]>(),
            retries: u8,
            random: u64,
        ) {
            let [spread, base, cap] = [spread, base, cap].map(Duration::from_nanos);
            let backoff = Backoff { spread, base, cap, ..Backoff::default() };
            let wait = backoff.wait(retries, random);
            let most = if retries == 0 { spread } else { cap };
            prop_assert!(wait <= most && wait <= backoff.window(retries));
            let all = [0, random / 2, random].map(|random| backoff.wait(retries, random));
            prop_assert!(all.is_sorted(), "more of the window with a larger number");
        }
    }
}
