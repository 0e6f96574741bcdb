//! The fuzzer's targets, on every input of its corpus.

#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::fs;
use std::path::Path;

#[test]
fn every_input_of_the_corpus_passes() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, target) in targets::TARGETS {
        let directory = corpus.join(name);
        let mut count = 0;
        for entry in fs::read_dir(&directory).expect("a corpus for every target") {
            let path = entry.expect("an entry").path();
            eprintln!("{}", path.display());
            target(&fs::read(&path).expect("an input"));
            count += 1;
        }
        assert!(count > 0, "{} has no inputs", directory.display());
    }
}
