//! Whether the machine has the memory that the limits allow the engines to use.

use crate::engine::config::Config;
use anyhow::bail;
use std::fs;
use std::path::Path;

/// Checks that `engines` engines like `config`, and `more` bytes, find room when they are full: better to
/// refuse now than to be killed later, with all connections. `remedy` says what to ask for instead.
///
/// # Errors
///
/// One line with what is needed, and what is free.
pub(super) fn check(config: &Config, engines: u32, more: u64, remedy: &str) -> anyhow::Result<()> {
    let needed = config.memory_max().saturating_mul(u64::from(engines)).saturating_add(more);
    let Some(free) = free() else { return Ok(()) };
    if needed <= free {
        return Ok(());
    }
    bail!(
        "{} connections and the data in flight need {} of memory, and {} is free: \
         {remedy}",
        u64::from(config.connections_max) * u64::from(engines),
        megabytes(needed),
        megabytes(free)
    )
}

fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes.div_ceil(1_000_000))
}

/// The memory that can be had without swapping, in bytes: what the machine has, or what this process's
/// control groups leave of it. `None` where the system does not say.
fn free() -> Option<u64> {
    let machine = meminfo(&fs::read_to_string("/proc/meminfo").ok()?)?;
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    Some(machine.min(group_free(Path::new("/sys/fs/cgroup"), &own).unwrap_or(u64::MAX)))
}

/// MemAvailable (proc(5), /proc/meminfo), in bytes.
fn meminfo(text: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = value.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// What the control group named in `own` (/proc/self/cgroup), and those above it, leave: memory.max less
/// memory.current (Documentation/admin-guide/cgroup-v2.rst). `None` where none has a limit.
fn group_free(root: &Path, own: &str) -> Option<u64> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let number =
        |path: &Path, file| fs::read_to_string(path.join(file)).ok()?.trim().parse::<u64>().ok();
    root.join(path)
        .ancestors()
        .take_while(|group| group.starts_with(root))
        .filter_map(|group| {
            let max = number(group, "memory.max")?;
            Some(max.saturating_sub(number(group, "memory.current")?))
        })
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::addr::Secret;

    fn config(connections: u32) -> Config {
        let mut config = Config::new([2; 6], Secret([1; 16]), Secret([2; 16]));
        config.connections_max = connections;
        config
    }

    #[test]
    fn ten_million_connections_need_less_than_80_bytes_each_besides_what_is_in_flight() {
        let difference = config(10_000_000).memory_max() - config(0).memory_max();
        assert!((720_000_000..800_000_000).contains(&difference), "{difference}");
    }

    #[test]
    fn what_no_machine_has_is_refused_with_both_figures() {
        assert!(check(&config(1_000), 1, 0, "").is_ok());
        let error = check(&config(u32::MAX), 1 << 20, 0, "lower --max-connections")
            .unwrap_err()
            .to_string();
        assert!(check(&config(1_000), 1, u64::MAX, "").is_err());
        let figures = error.split(' ').filter(|word| word.parse::<u64>().is_ok()).count();
        assert!(error.contains("--max-connections") && figures == 3, "{error}");
    }

    #[test]
    fn the_machine_says_what_is_available() {
        let text = "MemTotal:       24000 kB\nMemFree:  1 kB\nMemAvailable:   12000 kB\n";
        assert_eq!(meminfo(text), Some(12_000 * 1024));
        assert_eq!(meminfo("MemTotal: 1 kB\n"), None);
        assert!(free().is_some_and(|free| free > 0));
    }

    #[test]
    fn the_tightest_control_group_counts() {
        let root = std::env::temp_dir().join(format!("tenmil-cgroup-{}", std::process::id()));
        let inner = root.join("a/b");
        fs::create_dir_all(&inner).unwrap();
        let write = |path: &Path, max: &str, current: &str| {
            fs::write(path.join("memory.max"), max).unwrap();
            fs::write(path.join("memory.current"), current).unwrap();
        };
        write(&inner, "max\n", "10\n");
        assert_eq!(group_free(&root, "0::/a/b\n"), None);
        write(&root.join("a"), "1000\n", "400\n");
        assert_eq!(group_free(&root, "0::/a/b\n"), Some(600));
        write(&inner, "500\n", "700\n");
        assert_eq!(group_free(&root, "0::/a/b\n"), Some(0));
        fs::remove_dir_all(&root).unwrap();
    }
}
