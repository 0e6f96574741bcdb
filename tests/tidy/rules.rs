//! The rules for source files. Each takes a file's path from the root and its text, and returns
//! what it found.

use crate::source::{code, lines_with, names_after, without_tests};

/// One place where a rule is broken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) path: String,
    pub(crate) line: usize,
    pub(crate) rule: String,
}

impl Violation {
    pub(crate) fn new(path: &str, line: usize, rule: impl Into<String>) -> Violation {
        Violation { path: path.to_owned(), line, rule: rule.into() }
    }
}

/// The layers, lowest first: each may use those before it, but for [`APART`]. See ARCHITECTURE.md.
const LAYERS: [&str; 16] = [
    "memory", "time", "frame", "drops", "wire", "conn", "tcp", "service", "engine", "link", "sim",
    "shard", "client", "load", "control", "cli",
];

/// Lower layers that a layer does not use all the same: a link only moves frames, and the simulator
/// and the shards are two ways to run the same engine.
const APART: [(&str, &[&str]); 4] = [
    ("link", &["conn", "tcp", "service", "engine"]),
    ("shard", &["sim"]),
    ("client", &["sim"]),
    ("load", &["sim"]),
];

/// Layers that do no I/O, read no clock and start no thread: all below `link`.
const PURE: [&str; 8] = ["time", "frame", "drops", "wire", "conn", "tcp", "service", "engine"];

/// Where each part of smoltcp is used. The simulator's reference peer is a stock stack: one that is set
/// up apart from the engine's, so that a wrong use of smoltcp there is not on both sides.
const SMOLTCP_STACK: [&str; 3] = ["src/tcp/promoted", "src/engine/control", "src/sim/reference"];
const SMOLTCP: [&str; 5] =
    ["src/wire", "src/tcp/promoted", "src/engine/control", "src/engine/tests", "src/sim/reference"];

/// Where unsafe code lives.
const UNSAFE: [&str; 3] = ["src/memory", "src/link/af_xdp", "tests/no_alloc"];

/// The only reader of the clock.
const CLOCK: &str = "src/shard/clock.rs";

/// The longest source file, in lines. It only ever goes down.
const LINES_MAX: usize = 500;

/// Every rule for source files.
pub(crate) const RULES: [fn(&str, &str) -> Vec<Violation>; 5] =
    [layers, smoltcp, length, calls, unsafe_code];

/// Imports go down only.
pub(crate) fn layers(path: &str, text: &str) -> Vec<Violation> {
    let Some(layer) = layer_of(path) else {
        return Vec::new();
    };
    let rank_of = |name: &str| LAYERS.iter().position(|layer| *layer == name);
    let Some(rank) = rank_of(layer) else {
        let rule = format!("`{layer}` is in no layer: add it to LAYERS in tests/tidy/rules.rs");
        return vec![Violation::new(path, 1, rule)];
    };
    let apart =
        |name: &str| APART.iter().any(|(upper, lower)| *upper == layer && lower.contains(&name));
    names_after(&code(text), "crate::")
        .into_iter()
        .filter(|(_, name)| rank_of(name).is_some_and(|other| other > rank) || apart(name))
        .map(|(line, name)| {
            let rule = format!("`{layer}` must not import `{name}`: see LAYERS in the tidy test");
            Violation::new(path, line, rule)
        })
        .collect()
}

/// smoltcp's types stay where they are wrapped.
pub(crate) fn smoltcp(path: &str, text: &str) -> Vec<Violation> {
    names_after(&code(text), "smoltcp::")
        .into_iter()
        .filter_map(|(line, name)| {
            let allowed: &[&str] = match name.as_str() {
                "iface" | "socket" => &SMOLTCP_STACK,
                _ => &SMOLTCP,
            };
            let rule = format!("`smoltcp::{name}` is used only under {}", allowed.join(", "));
            (!is_under(path, allowed)).then(|| Violation::new(path, line, rule))
        })
        .collect()
}

/// Files stay short.
pub(crate) fn length(path: &str, text: &str) -> Vec<Violation> {
    let lines = text.lines().count();
    if lines <= LINES_MAX {
        return Vec::new();
    }
    let rule = format!("{lines} lines, at most {LINES_MAX}: split the file by what it is about");
    vec![Violation::new(path, LINES_MAX + 1, rule)]
}

/// Below `link` there is no I/O and no thread, and the clock has one reader. Tests are exempt.
pub(crate) fn calls(path: &str, text: &str) -> Vec<Violation> {
    if is_test(path) {
        return Vec::new();
    }
    let code = without_tests(&code(text));
    let mut found = Vec::new();
    if path != CLOCK {
        for call in ["Instant::now", "SystemTime::now"] {
            for line in lines_with(&code, call) {
                let rule = format!("`{call}` only in {CLOCK}: take `now` as an argument");
                found.push(Violation::new(path, line, rule));
            }
        }
    }
    if !layer_of(path).is_some_and(|layer| PURE.contains(&layer)) {
        return found;
    }
    let mut ban = |line, what: &str| {
        let rule = format!("`{what}` below `link`: the core does no I/O and has no threads");
        found.push(Violation::new(path, line, rule));
    };
    for (line, name) in names_after(&code, "std::") {
        if matches!(name.as_str(), "thread" | "fs") {
            ban(line, &format!("std::{name}"));
        }
    }
    for (line, name) in names_after(&code, "net::") {
        if name.starts_with("Tcp") || name.starts_with("Udp") {
            ban(line, &format!("std::net::{name}"));
        }
    }
    for call in ["println!", "eprintln!", "print!", "eprint!"] {
        lines_with(&code, call).into_iter().for_each(|line| ban(line, call));
    }
    found
}

/// Unsafe code has an address.
pub(crate) fn unsafe_code(path: &str, text: &str) -> Vec<Violation> {
    if is_under(path, &UNSAFE) {
        return Vec::new();
    }
    let rule = format!("`unsafe` only under {}", UNSAFE.join(", "));
    lines_with(&code(text), "unsafe")
        .into_iter()
        .map(|line| Violation::new(path, line, rule.as_str()))
        .collect()
}

/// The top-level module that a file belongs to; none for the crate's roots.
fn layer_of(path: &str) -> Option<&str> {
    let module = path.strip_prefix("src/")?;
    let layer = module.split('/').next()?.trim_end_matches(".rs");
    (!matches!(layer, "lib" | "main")).then_some(layer)
}

/// Whether a file is a module that is named, or inside one.
fn is_under(path: &str, modules: &[&str]) -> bool {
    modules.iter().any(|module| {
        path.strip_prefix(module).is_some_and(|rest| rest.starts_with(['/', '.', '_']))
    })
}

/// Whether a file holds tests only.
fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs") || path.ends_with("_tests.rs")
}
