//! Lists of tests that are known to fail, each with its reason: `NAME: REASON`, `#` for comments.

use std::collections::BTreeMap;

/// How a test of a suite ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Passed,
    Failed,
    Skipped,
}

/// What contradicts the list in the file of this name: a failure that is not on it, and what is on it
/// and passes or does not exist. Prints the known failures with their reasons.
pub(crate) fn problems(endings: &BTreeMap<String, Ending>, file: &str, list: &str) -> Vec<String> {
    let known: BTreeMap<_, _> = list
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(": "))
        .collect();
    let mut problems = Vec::new();
    for (name, ending) in endings {
        match (ending, known.get(&**name)) {
            (Ending::Failed, None) => problems.push(format!("{name} fails and is not in {file}")),
            (Ending::Passed, Some(_)) => {
                problems.push(format!("{name} passes: strike it out of {file}"));
            }
            (Ending::Failed, Some(reason)) => println!("known: {name}: {reason}"),
            (Ending::Passed | Ending::Skipped, _) => {}
        }
    }
    for name in known.keys().filter(|name| !endings.contains_key(**name)) {
        problems.push(format!("{name} is in {file} and does not exist"));
    }
    problems
}
