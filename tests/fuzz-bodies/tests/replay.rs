//! The committed corpora, and every input that once crashed a target.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

fn inputs(kind: &str, target: &str) -> Vec<PathBuf> {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let Ok(entries) = std::fs::read_dir(place.join(kind).join(target)) else {
        return Vec::new();
    };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn corpora() {
    for (name, target) in fsrvp_fuzz::TARGETS {
        let inputs = inputs("corpus", name);
        assert!(!inputs.is_empty(), "{name} has no corpus");
        inputs
            .iter()
            .for_each(|path| target(&std::fs::read(path).unwrap()));
    }
}

#[test]
fn regressions() {
    for (name, target) in fsrvp_fuzz::TARGETS {
        for path in inputs("regressions", name) {
            println!("{}", path.display());
            target(&std::fs::read(path).unwrap());
        }
    }
}
