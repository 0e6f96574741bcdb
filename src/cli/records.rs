//! `--json`, `--pcap` and `--faults`: what a run of clients leaves behind, and under which network.

use super::capture;
use super::faults::FaultsArg;
use super::summary::Summary;
use crate::link::tap::Capture;
use crate::shard::clock::Clock;
use std::path::{Path, PathBuf};

/// What is written down of a run.
#[derive(Debug, clap::Args)]
#[group(id = "records")]
pub(super) struct Args {
    /// Write the summary to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write every frame that the clients receive and send to this file in pcap format.
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,

    /// Lose, double, reorder and damage frames that the clients receive and send.
    #[arg(long, value_name = "KEY=PERCENT,...", default_value = "seed=0", hide = true)]
    pub(super) faults: FaultsArg,
}

impl Args {
    /// Where the summary goes, if it is written.
    pub(super) fn json(&self) -> Option<&Path> {
        self.json.as_deref()
    }

    /// Finds out, before the work, whether the summary can be written.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        self.json().map_or(Ok(()), Summary::check_path)
    }

    /// Starts the capture, if there is to be one.
    pub(super) fn capture(&self, clock: Clock) -> anyhow::Result<Option<Capture>> {
        capture::start(self.pcap.as_deref(), clock)
    }
}
