//! The rules for documents and for the list of dependencies.

use std::path::Path;

use crate::rules::Violation;

/// The longest that ARCHITECTURE.md may be, in lines.
const ARCHITECTURE_LINES_MAX: usize = 300;

/// Relative links lead to files that exist.
pub(crate) fn links(root: &Path, path: &str, text: &str) -> Vec<Violation> {
    let directory = root.join(path).parent().map(Path::to_path_buf).unwrap_or_default();
    let mut found = Vec::new();
    let mut fenced = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        for target in targets(line) {
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            if !directory.join(file).exists() {
                let rule = format!("the link to `{target}` leads nowhere");
                found.push(Violation::new(path, number, rule));
            }
        }
    }
    found
}

/// ARCHITECTURE.md stays short enough to be read.
pub(crate) fn architecture(path: &str, text: &str) -> Vec<Violation> {
    let lines = text.lines().count();
    if path != "ARCHITECTURE.md" || lines <= ARCHITECTURE_LINES_MAX {
        return Vec::new();
    }
    let rule = format!("{lines} lines, at most {ARCHITECTURE_LINES_MAX}");
    vec![Violation::new(path, ARCHITECTURE_LINES_MAX + 1, rule)]
}

/// Every dependency has its reason.
pub(crate) fn dependencies(manifest: &str, reasons: &str) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut in_table = false;
    let mut check = |line, name: &str| {
        if !reasons.contains(&format!("| `{name}` |")) {
            let rule = format!("`{name}` has no row with its reason in docs/dependencies.md");
            found.push(Violation::new("Cargo.toml", line, rule));
        }
    };
    for (number, line) in (1..).zip(manifest.lines().map(str::trim)) {
        if let Some(table) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            in_table = table.ends_with("dependencies");
            // A table of its own: [dependencies.name]
            if let Some((_, name)) = table.split_once("dependencies.") {
                check(number, name);
            }
        } else if in_table
            && !line.starts_with('#')
            && let Some((key, _)) = line.split_once('=')
        {
            let name = key.trim().split('.').next().unwrap_or_default();
            check(number, name.trim_matches('"'));
        }
    }
    found
}

/// The targets of the links on a line: `[text](target "title")` and `[name]: target`.
fn targets(line: &str) -> Vec<&str> {
    let prose: Vec<(usize, &str)> = line.match_indices("](").collect();
    let mut targets: Vec<&str> = prose
        .into_iter()
        // An odd number of backticks before it: inside of code.
        .filter(|&(at, _)| {
            line[..at].matches('`').count().is_multiple_of(2) || line[at..].starts_with("`]")
        })
        .filter_map(|(at, _)| line[at + 2..].split([')', ' ']).next())
        .collect();
    if let Some((_, target)) =
        line.trim_start().strip_prefix('[').and_then(|line| line.split_once("]: "))
    {
        targets.extend(target.split_whitespace().next());
    }
    targets
}
