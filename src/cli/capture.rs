//! `--pcap`: the capture file.

use crate::link::tap::Capture;
use crate::shard::clock::Clock;
use anyhow::Context as _;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

/// Starts a capture in the file at `path`, if there is to be one.
pub(super) fn start(path: Option<&Path>, clock: Clock) -> anyhow::Result<Option<Capture>> {
    let Some(path) = path else { return Ok(None) };
    let capture = File::create(path)
        .and_then(|file| Capture::new(BufWriter::new(file), move || clock.unix()))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Some(capture))
}
