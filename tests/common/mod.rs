//! Shared by the tests that need root: they say SKIPPED where they may not run, or fail if
//! TENMIL_REQUIRE_PRIVILEGED=1 forbids that.
#![allow(dead_code, reason = "each test binary uses what it needs")]

use std::io::Write as _;

/// Whether a test may run: it needs root, and these programs. If not, it has been skipped.
pub(crate) fn may_run(test: &str, tools: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let missing = |tool: &&&str| !std::env::split_paths(&path).any(|dir| dir.join(tool).exists());
    let reason = if !rustix::process::geteuid().is_root() {
        "not root".to_owned()
    } else if let Some(tool) = tools.iter().find(missing) {
        format!("{tool} is missing")
    } else {
        return true;
    };
    skip(test, &reason);
    false
}

/// Says that a test was not run, and why.
pub(crate) fn skip(test: &str, reason: &str) {
    let required = std::env::var_os("TENMIL_REQUIRE_PRIVILEGED").is_some_and(|value| value == "1");
    assert!(!required, "{test} was not run: {reason}");
    say_skipped(test, reason);
}

/// The same for a reason that is no matter of privilege, and so never forbidden. Written past the
/// test harness, which keeps what `eprintln!` prints to itself unless the test fails.
pub(crate) fn say_skipped(test: &str, reason: &str) {
    // Without a standard error there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {reason}");
}
