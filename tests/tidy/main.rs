//! Rules as tests: the layers' directions, lengths, banned calls, where unsafe code lives, the
//! documents' links and the dependencies' reasons.
//!
//! Each broken rule is printed as `file:line: rule`. That the rules find what they are for is
//! tested in `bad_examples`.

mod bad_examples;
mod documents;
mod rules;
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use rules::Violation;

/// The repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files under a directory, or the file itself, that end in `.extension`: path from the root, and
/// text.
fn files(place: &str, extension: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = vec![root().join(place)];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a directory of the repository");
            open.extend(entries.map(|entry| entry.expect("an entry").path()));
        } else if path.extension().is_some_and(|end| end == extension) && path.exists() {
            let name = path.strip_prefix(root()).expect("under the root").to_string_lossy();
            found.push((name.into_owned(), fs::read_to_string(&path).expect("text")));
        }
    }
    found.sort();
    found
}

/// Fails with one line for each violation.
#[track_caller]
fn assert_none(violations: &[Violation]) {
    for Violation { path, line, rule } in violations {
        eprintln!("{path}:{line}: {rule}");
    }
    assert!(violations.is_empty(), "{} broken rules, listed above", violations.len());
}

#[test]
fn sources_keep_the_rules() {
    let sources = files("src", "rs");
    assert!(sources.iter().any(|(path, _)| path == "src/lib.rs"), "the sources are found");
    let violations: Vec<Violation> = sources
        .iter()
        .flat_map(|(path, text)| rules::RULES.iter().flat_map(move |rule| rule(path, text)))
        .collect();
    assert_none(&violations);
}

#[test]
fn documents_keep_the_rules() {
    let mut documents = files("docs", "md");
    for name in ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md"] {
        documents.extend(files(name, "md"));
    }
    let violations: Vec<Violation> = documents
        .iter()
        .flat_map(|(path, text)| {
            let mut found = documents::links(root(), path, text);
            found.extend(documents::architecture(path, text));
            found
        })
        .collect();
    assert_none(&violations);
}

#[test]
fn dependencies_have_reasons() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the manifest");
    // A checkout without its documents, as a packaged crate may be, has nothing to hold it to.
    if let Ok(reasons) = fs::read_to_string(root().join("docs/dependencies.md")) {
        assert_none(&documents::dependencies(&manifest, &reasons));
    }
}
