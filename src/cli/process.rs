//! What a process has used: memory and CPU, from /proc.

use crate::time::Duration;
use anyhow::{Context as _, anyhow};

/// The unit of CPU times in /proc/PID/stat: `USER_HZ`, which Linux keeps at 100 for programs.
const TICKS_PER_SECOND: u64 = 100;

/// The resident memory of a process, in bytes; `process` is its id or `self`.
///
/// From smaps_rollup, which walks the page tables: the counters in status and statm are approximate
/// by hundreds of kilobytes (proc_pid_status(5)).
pub(super) fn resident_bytes(process: &str) -> anyhow::Result<u64> {
    let path = format!("/proc/{process}/smaps_rollup");
    let rollup = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    Ok(kib.ok_or_else(|| anyhow!("{path} has no Rss"))? * 1024)
}

/// The CPU time that a process has used, user and system, all its threads: proc_pid_stat(5).
pub(super) fn cpu_time(process: &str) -> anyhow::Result<Duration> {
    let path = format!("/proc/{process}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    parse_cpu_time(&stat).ok_or_else(|| anyhow!("{path} has no CPU times"))
}

/// Fields 14 and 15, counted behind the name, which may contain anything.
fn parse_cpu_time(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let ticks = ticks()? + ticks()?;
    Some(Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_times_stand_behind_any_name() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 1 0 0 0 150 25 3 4 20 0 2 0 100";
        assert_eq!(parse_cpu_time(stat), Some(Duration::from_millis(1750)));
        assert_eq!(parse_cpu_time("7 (a) S 1 7"), None);
        assert!(cpu_time("self").is_ok() && resident_bytes("self").is_ok_and(|bytes| bytes > 0));
    }
}
