//! The table of faults in the operator's handbook, which the cases compare with the log.

use fsrvp_testkit::programs;
use fsrvp_tests::{CaseResult, fail};
use libtest_mimic::Failed;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Faults that a case has provoked and found as the handbook says.
static TRIED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// The parts of the message of a fault, in their order.
pub(crate) fn message_of(fault: &str) -> Result<Vec<String>, Failed> {
    let rows = rows()?;
    match rows.into_iter().find(|(name, _)| name == fault) {
        Some((name, message)) => {
            TRIED
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(name);
            Ok(message.split('…').map(str::to_owned).collect())
        }
        None => fail(format!("docs/operations.md has no fault {fault:?}")),
    }
}

/// Whether a line of the log, or of a refusal, has the parts of a message in their order.
pub(crate) fn is_in(line: &str, message: &[String]) -> bool {
    let mut rest = line;
    message
        .iter()
        .all(|part| match rest.split_once(part.as_str()) {
            Some((_, after)) => {
                rest = after;
                true
            }
            None => false,
        })
}

/// Every line of the table has been provoked, unless only some cases run.
pub(crate) fn all_tried(has_long: bool) -> CaseResult {
    let tried = TRIED.lock().unwrap_or_else(PoisonError::into_inner);
    let is_long = |name: &String| name == "`state_dir` does not answer";
    let missing: Vec<_> = rows()?
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| !tried.contains(name) && (has_long || !is_long(name)))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    fail(format!("docs/operations.md, never provoked: {missing:?}"))
}

/// Fault and message of every row.
fn rows() -> Result<Vec<(String, String)>, Failed> {
    let text = std::fs::read_to_string(programs::workspace().join("docs/operations.md"))?;
    let section = text
        .split("\n## ")
        .find(|section| section.starts_with("Faults\n"));
    let section = section.ok_or("docs/operations.md has no section \"Faults\"")?;
    let lines = section.lines().filter_map(|line| line.strip_prefix("| "));
    let rows = lines.skip(2).filter_map(|line| {
        let mut columns = line.split(" | ");
        let (fault, message) = (columns.next()?, columns.next()?);
        Some((fault.to_owned(), message.trim_matches('`').to_owned()))
    });
    Ok(rows.collect())
}
