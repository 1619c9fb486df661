//! `cargo xtask licences`: every dependency's licence stands on a list.

use crate::{Outcome, workspace};
use cargo_metadata::MetadataCommand;

/// Licences that go with MIT OR Apache-2.0.
const ACCEPTED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Checks all packages that Cargo.lock names.
pub(crate) fn run() -> Outcome {
    let metadata = MetadataCommand::new()
        .manifest_path(workspace::root().join("Cargo.toml"))
        .exec()?;
    let mut refused = Vec::new();
    for package in &metadata.packages {
        let accepted = package.license.as_deref().is_some_and(accepted);
        if !accepted {
            let licence = package
                .license
                .as_deref()
                .unwrap_or("no licence expression");
            refused.push(format!(
                "\n  {} {}: {licence}",
                package.name, package.version
            ));
        }
    }
    if refused.is_empty() {
        println!(
            "licences: {} packages, all accepted",
            metadata.packages.len()
        );
        return Ok(());
    }
    Err(format!("licences:{}", refused.concat()).into())
}

/// Whether an SPDX expression leaves a choice that the list has. Old manifests write `/` for OR.
fn accepted(expression: &str) -> bool {
    let expression = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = expression.split_whitespace().collect();
    let mut rest = words.as_slice();
    let answer = any_of(&mut rest);
    answer == Some(true) && rest.is_empty()
}

fn any_of(words: &mut &[&str]) -> Option<bool> {
    let mut answer = all_of(words)?;
    while let Some(rest) = words.strip_prefix(&["OR"]) {
        *words = rest;
        answer |= all_of(words)?;
    }
    Some(answer)
}

fn all_of(words: &mut &[&str]) -> Option<bool> {
    let mut answer = one(words)?;
    while let Some(rest) = words.strip_prefix(&["AND"]) {
        *words = rest;
        answer &= one(words)?;
    }
    Some(answer)
}

fn one(words: &mut &[&str]) -> Option<bool> {
    let (first, rest) = words.split_first()?;
    *words = rest;
    if *first == "(" {
        let answer = any_of(words)?;
        *words = words.strip_prefix(&[")"])?;
        return Some(answer);
    }
    let mut licence = (*first).to_owned();
    if let [with @ "WITH", exception, rest @ ..] = *words {
        licence = format!("{licence} {with} {exception}");
        *words = rest;
    }
    Some(ACCEPTED.contains(&licence.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_read_as_spdx_means_them() {
        assert!(accepted("MIT OR Apache-2.0"));
        assert!(accepted("MIT/GPL-3.0"));
        assert!(accepted("(MIT OR Apache-2.0) AND Unicode-3.0"));
        assert!(accepted("Apache-2.0 WITH LLVM-exception OR GPL-3.0-only"));
        assert!(!accepted("GPL-3.0-or-later"));
        assert!(!accepted("MIT AND GPL-2.0"));
        assert!(!accepted("(MIT"));
        assert!(!accepted(""));
    }
}
