//! What the table holds: old copies, leftovers, and the clock beside them.

use super::Chart;
use fsrvp_proto::AgentView;
use fsrvp_proto::set::SetStatus;
use std::time::{SystemTime, UNIX_EPOCH};

/// Days after which a recovered set counts as forgotten.
const OLD: u64 = 30;
const DAY: u64 = 86_400;
/// A clock may be this much behind, in seconds, without anybody minding.
const SLACK: u64 = 60;

/// What is known of a server's copies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownCopies {
    /// When each recovered set was recovered, in seconds since the Unix epoch, with its id.
    pub recovered: Vec<(String, u64)>,
    /// When the newest copy was made.
    pub newest: Option<u64>,
    /// What is left over, in words.
    pub debts: Vec<String>,
}

impl From<&AgentView> for KnownCopies {
    fn from(view: &AgentView) -> Self {
        let recovered = view
            .sets
            .iter()
            .filter(|set| set.status == SetStatus::Recovered);
        let copies = view.sets.iter().flat_map(|set| &set.copies);
        Self {
            recovered: recovered
                .map(|set| (set.id.to_string(), set.changed.unix_seconds()))
                .collect(),
            newest: copies.map(|copy| copy.created.unix_seconds()).max(),
            debts: view
                .debts
                .iter()
                .map(|debt| debt.failure.clone().unwrap_or_default())
                .collect(),
        }
    }
}

pub(super) fn examine(chart: &mut Chart, copies: Option<&KnownCopies>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    examine_at(chart, copies, now.unwrap_or_default().as_secs());
}

fn examine_at(chart: &mut Chart, copies: Option<&KnownCopies>, now: u64) {
    let Some(copies) = copies else {
        for check in ["old_copies", "leftovers", "clock"] {
            chart.skipped(check, "the daemon does not run, and nobody else knows");
        }
        return;
    };
    let old: Vec<_> = copies
        .recovered
        .iter()
        .filter(|(_, since)| now.saturating_sub(*since) > OLD * DAY)
        .collect();
    match old.as_slice() {
        [] => chart.ok("old_copies", format!("no set is older than {OLD} days")),
        [(first, _), ..] => {
            let message = format!("{} recovered sets are older than {OLD} days", old.len());
            let mend = format!(
                "run: fsrvpctl delete {first}; or let them go by themselves: [server.retention] \
                 age = \"{OLD}d\""
            );
            chart.warning("old_copies", message, mend);
        }
    }
    match copies.debts.as_slice() {
        [] => chart.ok("leftovers", "nothing is left over"),
        [why, ..] => {
            let message = format!("{} things could not be removed: {why}", copies.debts.len());
            let mend = "mend what the message says, then run: fsrvpctl prune";
            chart.warning("leftovers", message, mend);
        }
    }
    match copies.newest {
        Some(newest) if newest > now.saturating_add(SLACK) => {
            let message = format!("the clock is {} s behind the newest copy", newest - now);
            chart.problem(
                "clock",
                message,
                "run: chronyc makestep; or set the clock by hand",
            );
        }
        _ => chart.ok("clock", "the clock is not behind the newest copy"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn found(copies: &KnownCopies) -> Vec<&'static str> {
        let mut chart = Chart::new("FS");
        examine_at(&mut chart, Some(copies), NOW);
        let bad = chart
            .findings
            .iter()
            .filter(|finding| finding.severity >= Severity::Warning);
        bad.map(|finding| finding.check).collect()
    }

    #[test]
    fn old_copies_leftovers_and_a_clock_that_was_set_back() {
        assert_eq!(found(&KnownCopies::default()), [""; 0]);
        let healthy = KnownCopies {
            recovered: vec![("a".to_owned(), NOW - OLD * DAY)],
            newest: Some(NOW + SLACK),
            debts: Vec::new(),
        };
        assert_eq!(found(&healthy), [""; 0]);
        let ill = KnownCopies {
            recovered: vec![("a".to_owned(), NOW - OLD * DAY - 1)],
            newest: Some(NOW + SLACK + 1),
            debts: vec!["/vol is read-only".to_owned()],
        };
        assert_eq!(found(&ill), ["old_copies", "leftovers", "clock"]);
    }
}
