//! The test network of `demo`: scripts/veth-up.sh and scripts/veth-down.sh, compiled in.

use anyhow::{Context as _, anyhow, bail};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

const UP: &str = include_str!("../../scripts/veth-up.sh");
const DOWN: &str = include_str!("../../scripts/veth-down.sh");

/// In the suffix of the namespaces of a demo, followed by its process id.
const PREFIX: &str = "demo-";

/// Two namespaces joined by a veth pair, until this is dropped.
#[derive(Debug)]
pub(super) struct TestNetwork {
    suffix: String,
}

impl TestNetwork {
    /// The interface in the server's namespace.
    pub(super) const SERVER_INTERFACE: &str = "tm-server0";
    /// The interface in the clients' namespace.
    pub(super) const CLIENT_INTERFACE: &str = "tm-client0";

    /// Makes a network of this process's own, after taking down those that killed ones left.
    pub(super) fn make() -> anyhow::Result<TestNetwork> {
        remove_orphans();
        let suffix = format!("{PREFIX}{}", std::process::id());
        // No kernel socket speaks on it, so the offloads, and ethtool, do not matter. A script that
        // fails removes what it has made.
        run_script(UP, &["--suffix", &suffix, "--no-offloads", "--busy-poll"])?;
        Ok(TestNetwork { suffix })
    }

    /// The name of the server's namespace.
    pub(super) fn server_namespace(&self) -> String {
        format!("tenmil-server-{}", self.suffix)
    }

    /// The name of the clients' namespace.
    pub(super) fn client_namespace(&self) -> String {
        format!("tenmil-client-{}", self.suffix)
    }
}

impl Drop for TestNetwork {
    fn drop(&mut self) {
        if let Err(error) = run_script(DOWN, &["--suffix", &self.suffix]) {
            eprintln!("tenmil: the test network stays behind: {error:#}");
        }
    }
}

/// Takes down the networks of demos that were killed before they could.
fn remove_orphans() {
    let Ok(entries) = std::fs::read_dir("/run/netns") else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_str().unwrap_or_default();
        let side = ["tenmil-server-", "tenmil-client-"];
        let Some(suffix) = side.iter().find_map(|side| name.strip_prefix(side)) else { continue };
        let Some(pid) = suffix.strip_prefix(PREFIX).and_then(|pid| pid.parse::<u32>().ok()) else {
            continue;
        };
        if !Path::new(&format!("/proc/{pid}")).exists() {
            // Whoever is next tries again.
            let _ = run_script(DOWN, &["--suffix", suffix]);
        }
    }
}

/// Runs a script with `sh`, which reads it from its input. Ctrl-C must not interrupt it half way, so
/// it gets a process group of its own.
fn run_script(script: &str, args: &[&str]) -> anyhow::Result<()> {
    use std::os::unix::process::CommandExt as _;
    let mut child = Command::new("sh")
        .args(["-s", "--"])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .context("cannot run sh")?;
    let mut input = child.stdin.take().ok_or_else(|| anyhow!("sh has no input"))?;
    // A script that fails early closes its input; what it says on stderr is the better message.
    let _ = input.write_all(script.as_bytes());
    drop(input);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; "));
    }
    Ok(())
}
