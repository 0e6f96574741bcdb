//! `--faults`: what a network emulator would do, where there is none.

use crate::link::faults::{BadChance, Faults, Faulty};
use std::str::FromStr;

/// Faults in both directions, and the seed that they follow from:
/// `loss=1%,duplicate=1%,reorder=2%,corrupt=0.1%,seed=7`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FaultsArg {
    faults: Faults,
    seed: u64,
}

/// Why an argument is no [`FaultsArg`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadFaults {
    #[error("'{0}' is none of loss=, duplicate=, reorder=, corrupt= and seed=")]
    Key(String),
    #[error(transparent)]
    Chance(#[from] BadChance),
    #[error("the seed '{0}' is not a number")]
    Seed(String),
}

impl FaultsArg {
    /// `link` with these faults; each queue has its own seed.
    pub(super) fn on<L>(&self, link: L, queue: usize) -> Faulty<L> {
        Faulty::new(link, self.faults, self.faults, self.seed.wrapping_add(queue as u64))
    }
}

impl FromStr for FaultsArg {
    type Err = BadFaults;

    fn from_str(text: &str) -> Result<FaultsArg, BadFaults> {
        let mut arg = FaultsArg::default();
        for part in text.split(',') {
            let Some((key, value)) = part.split_once('=') else {
                return Err(BadFaults::Key(part.to_owned()));
            };
            match key {
                "loss" => arg.faults.loss = value.parse()?,
                "duplicate" => arg.faults.duplicate = value.parse()?,
                "reorder" => arg.faults.reorder = value.parse()?,
                "corrupt" => arg.faults.corrupt = value.parse()?,
                "seed" => {
                    arg.seed = value.parse().map_err(|_| BadFaults::Seed(value.to_owned()))?;
                }
                _ => return Err(BadFaults::Key(part.to_owned())),
            }
        }
        Ok(arg)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::faults::Chance;

    #[test]
    fn what_is_asked_for_is_read_and_nothing_else() {
        let faults = Faults {
            loss: Chance::percent(1),
            duplicate: Chance::percent(2),
            reorder: Chance::percent(3),
            corrupt: Chance::percent(4),
        };
        let arg = "loss=1%,duplicate=2%,reorder=3%,corrupt=4%,seed=7".parse();
        assert_eq!(arg, Ok(FaultsArg { faults, seed: 7 }));
        let loss = Faults { loss: Chance::percent(5), ..Faults::default() };
        assert_eq!("loss=5%".parse(), Ok(FaultsArg { faults: loss, seed: 0 }));
        let error = |text: &str| text.parse::<FaultsArg>().expect_err("wrong");
        assert_eq!(error("delay=1%"), BadFaults::Key("delay=1%".to_owned()));
        assert_eq!(error(""), BadFaults::Key(String::new()));
        assert_eq!(error("seed=x"), BadFaults::Seed("x".to_owned()));
        assert!(matches!(error("loss=2"), BadFaults::Chance(_)));
    }
}
