//! The table of requirements in `docs/rfc9293.md`, held against the scripts.

use std::collections::BTreeSet;
use std::fs;

use crate::{files, name_of, root};

const TABLE: &str = "docs/rfc9293.md";

/// How many requirements of each kind RFC 9293 appendix B numbers.
const REQUIREMENTS: [(&str, u32); 4] = [("MUST", 69), ("SHLD", 31), ("MAY", 18), ("REC", 1)];

/// What a row may say about a requirement.
const ANSWERS: [&str; 4] = ["yes", "in part", "no", "n/a"];

/// One row of the requirements.
#[derive(Debug)]
struct Row {
    line: usize,
    id: String,
    met: String,
    how: String,
}

/// The rows of `text` that are about a requirement.
fn rows(text: &str) -> Vec<Row> {
    let cells = |line: &str| -> Option<Vec<String>> {
        let inside = line.strip_prefix("| ")?.strip_suffix(" |")?;
        Some(inside.split(" | ").map(|cell| cell.trim().to_owned()).collect())
    };
    let is_id = |id: &str| {
        let (kind, number) = id.split_once('-').unwrap_or_default();
        REQUIREMENTS.iter().any(|(known, _)| *known == kind) && number.parse::<u32>().is_ok()
    };
    (1..)
        .zip(text.lines())
        .filter_map(|(line, text)| match &cells(text)?[..] {
            [_, id, met, how] if is_id(id) => {
                Some(Row { line, id: id.clone(), met: met.clone(), how: how.clone() })
            }
            _ => None,
        })
        .collect()
}

/// What stands between backticks.
fn code(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The names of scripts in `text`.
fn names(text: &str) -> BTreeSet<&str> {
    let is_name = |word: &&str| {
        let number = word.strip_prefix("rfc").and_then(|rest| rest.split('-').next());
        number.is_some_and(|number| number.parse::<u32>().is_ok()) && word.contains('-')
    };
    code(text).into_iter().filter(is_name).collect()
}

/// What is wrong with `text`, when there are `scripts`.
fn mistakes(text: &str, scripts: &BTreeSet<String>) -> Vec<String> {
    let mut found = Vec::new();
    let named = names(text);
    for name in named.iter().filter(|name| !scripts.contains(**name)) {
        found.push(format!("there is no script `{name}`"));
    }
    for script in scripts.iter().filter(|script| !named.contains(&script[..])) {
        found.push(format!("`{script}` is named nowhere"));
    }
    let rows = rows(text);
    for (kind, count) in REQUIREMENTS {
        for id in (1..=count).map(|number| format!("{kind}-{number}")) {
            if !rows.iter().any(|row| row.id == id) {
                found.push(format!("{id} has no row"));
            }
        }
    }
    for Row { line, id, met, how } in &rows {
        if !ANSWERS.contains(&&met[..]) {
            found.push(format!("line {line}: '{met}' is no answer about {id}"));
        }
        let proofs = code(how);
        let proven = proofs.iter().any(|proof| {
            names(&format!("`{proof}`")).len() == 1
                || proof.ends_with(".rs") && root().join(proof).exists()
        });
        match (id.starts_with("MUST"), &met[..]) {
            (true, "yes" | "in part") if !proven && how != "as above" => {
                found.push(format!("line {line}: nothing shows that {id} is met"));
            }
            (true, "no" | "n/a") if how.is_empty() => {
                found.push(format!("line {line}: {id} is not met, and nothing says why"));
            }
            _ => {}
        }
    }
    found
}

#[test]
fn every_requirement_has_its_row_and_every_script_its_place() {
    // A checkout without its documents, as a packaged crate may be, has nothing to hold it to.
    let Ok(text) = fs::read_to_string(root().join(TABLE)) else { return };
    let scripts = files().iter().map(|file| name_of(file)).collect();
    let mistakes = mistakes(&text, &scripts);
    assert!(mistakes.is_empty(), "{TABLE}:\n{}", mistakes.join("\n"));
}

#[test]
fn a_table_with_mistakes_is_found_out() {
    let all = REQUIREMENTS.iter().flat_map(|(kind, count)| {
        (1..=*count).map(move |number| format!("| a rule | {kind}-{number} | no | a reason |\n"))
    });
    let right: String = all.collect();
    let scripts = BTreeSet::from(["rfc1-1-a".to_owned()]);
    let with = |from: &str, to: &str| mistakes(&right.replace(from, to), &scripts);
    let row = "MUST-7 | no | a reason |";
    assert_eq!(with(row, "MUST-7 | yes | `rfc1-1-a` |"), [""; 0]);
    assert_eq!(with(row, row), ["`rfc1-1-a` is named nowhere"]);
    let cases = [
        ("MUST-7 | yes | `rfc1-1-a` `rfc1-1-b` |", "there is no script `rfc1-1-b`"),
        ("MUST-77 | yes | `rfc1-1-a` |", "MUST-7 has no row"),
        ("MUST-7 | perhaps | `rfc1-1-a` |", "line 7: 'perhaps' is no answer about MUST-7"),
        ("MUST-7 | yes | `src/no.rs` |", "line 7: nothing shows that MUST-7 is met"),
        ("MUST-7 | yes | trust us |", "line 7: nothing shows that MUST-7 is met"),
        ("MUST-7 | no |  |", "line 7: MUST-7 is not met, and nothing says why"),
    ];
    for (to, mistake) in cases {
        let found = with(row, to);
        assert!(found.iter().any(|found| found == mistake), "{to}: {found:?}");
    }
}
