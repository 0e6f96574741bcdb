//! Packet scripts: what the stack answers, frame by frame, in the manner of packetdrill.
//!
//! Every `tests/pkt/*.pkt` is run against a fresh engine in virtual time, over IPv4 and over IPv6
//! unless it says one of them. `tests/pkt/README.md` describes the language.
//!
//! - `script`, `words`, `parser`: scripts and their text
//! - `run`, `flow`, `host`: a script's lines, its connections, and the stack under test
//! - `packet`, `segment`, `options`, `checksum`: frames, written and read apart from the crate
//! - `table`: the table of requirements in `docs/rfc9293.md`, held against the scripts
//! - `bad_examples`: that the runner finds what is wrong

mod bad_examples;
mod checksum;
mod flow;
mod host;
mod options;
mod packet;
mod parser;
mod run;
mod script;
mod segment;
mod table;
mod words;

use std::fs;
use std::path::{Path, PathBuf};

use packet::Family;
use run::Failure;
use script::Script;

/// Where the scripts are, from the root.
const SCRIPTS: &str = "tests/pkt";

/// Names the one script to run.
const ONLY: &str = "TENMIL_SCRIPT";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files of all scripts, in order.
fn files() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(SCRIPTS)).expect("the directory of the scripts");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|end| end == "pkt"))
        .collect();
    files.sort();
    files
}

/// The name of a script's file, without the extension.
fn name_of(file: &Path) -> String {
    file.file_stem().expect("a name").to_string_lossy().into_owned()
}

/// The families that `script` runs over.
fn families(script: &Script) -> Vec<Family> {
    script.settings.family.map_or(Family::BOTH.to_vec(), |family| vec![family])
}

/// A failure for a person to read, with the command that repeats it.
fn report(name: &str, family: Family, failure: &Failure) -> String {
    let Failure { line, what, trace } = failure;
    let trace: String = trace.iter().map(|frame| format!("    {frame}\n")).collect();
    format!(
        "{SCRIPTS}/{name}.pkt:{line} over {}: {what}\n  the frames so far:\n{trace}  \
         {ONLY}={name} cargo test --test packet_scripts\n",
        family.name()
    )
}

#[test]
fn every_script_passes() {
    let only = std::env::var(ONLY).ok();
    let mut ran = 0;
    let mut failures = Vec::new();
    for file in files() {
        let name = name_of(&file);
        if only.as_ref().is_some_and(|only| *only != name) {
            continue;
        }
        let text = fs::read_to_string(&file).expect("text");
        match parser::parse(&name, &text) {
            Err(malformed) => failures.push(format!("{SCRIPTS}/{name}.pkt:{malformed}\n")),
            Ok(script) => {
                for family in families(&script) {
                    if let Err(failure) = run::run(&script, family) {
                        failures.push(report(&script.name, family, &failure));
                    }
                    ran += 1;
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} failed:\n\n{}", failures.len(), failures.join("\n"));
    assert!(ran > 0, "there are scripts, and {ONLY} names one of them");
}
