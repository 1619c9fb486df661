//! The durable commit of a change of the table: the agent's store beside redb alone, with the same
//! keys and the same bytes, in turns.

use crate::Result;
use crate::report::{Goal, Limit, Report};
use crate::stats::{Series, timed};
use fsrvp_proto::Edit;
use fsrvp_server::store::{RedbStore, StateStore};
use redb::{Database, TableDefinition};
use std::path::Path;
use uuid::Uuid;

const RECORDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("records");
/// Bytes of the record of a set with two copies.
const RECORD: usize = 1_200;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Rounds; in each both take their turns.
    pub(crate) rounds: usize,
    /// Commits of each in a round.
    pub(crate) commits: usize,
    /// Sets that the larger table has.
    pub(crate) sets: usize,
}

/// Measures, with a table of one set and with a large one.
pub(crate) fn run(plan: Plan, report: &mut Report) -> Result<()> {
    let mut rows = Vec::new();
    for sets in [1, plan.sets] {
        let [ours, bare] = measure(plan, sets)?;
        let (ours, bare) = (ours.median(), bare.median());
        rows.push([
            sets.to_string(),
            format!("{ours:.3}"),
            format!("{bare:.3}"),
            format!("{:.2}", ours / bare),
        ]);
        let name = format!("durable commit, table of {sets}");
        report.goal(Goal::new(name, ours / bare, Limit::AtMost(1.5)));
    }
    report.table(
        "Durable commit of a change of the table, ms",
        ["sets in the table", "ours", "redb alone", "ours / redb"],
        rows,
    );
    report.note(format!(
        "Medians of {} rounds of {} commits each, in turns; a commit replaces the record of a set \
         and that of the context.",
        plan.rounds, plan.commits
    ));
    Ok(())
}

fn measure(plan: Plan, sets: usize) -> Result<[Series; 2]> {
    let place = tempfile::tempdir()?;
    let keys: Vec<_> = (0..sets)
        .map(|_| format!("set/{}", Uuid::new_v4()))
        .collect();
    let store = RedbStore::open(&place.path().join("ours"))?;
    let bare = open_bare(&place.path().join("bare.redb"))?;
    let all: Vec<_> = keys.iter().map(|key| edit(key, 0)).collect();
    store.commit(&all)?;
    commit_bare(&bare, &all)?;
    let mut series: [Series; 2] = Default::default();
    let [ours_series, bare_series] = &mut series;
    let mut number = 0;
    for _ in 0..plan.rounds {
        for _ in 0..plan.commits {
            let key = keys.get(number % keys.len()).ok_or("no key")?;
            let change = [edit(key, number), edit("context", number)];
            // Whoever comes second finds the disk as the first has left it.
            if number % 2 == 0 {
                timed(ours_series, || store.commit(&change))?;
                timed(bare_series, || commit_bare(&bare, &change))?;
            } else {
                timed(bare_series, || commit_bare(&bare, &change))?;
                timed(ours_series, || store.commit(&change))?;
            }
            number += 1;
        }
    }
    Ok(series)
}

fn edit(key: &str, number: usize) -> Edit {
    let mut value = vec![b'x'; RECORD];
    for (slot, byte) in value.iter_mut().zip(number.to_le_bytes()) {
        *slot = byte;
    }
    Edit {
        key: key.to_owned(),
        value: Some(value),
    }
}

/// redb as it comes.
fn open_bare(path: &Path) -> Result<Database> {
    let database = Database::create(path)?;
    let write = database.begin_write()?;
    write.open_table(RECORDS)?;
    write.commit()?;
    Ok(database)
}

fn commit_bare(database: &Database, edits: &[Edit]) -> Result<()> {
    let write = database.begin_write()?;
    {
        let mut table = write.open_table(RECORDS)?;
        for edit in edits {
            match &edit.value {
                Some(value) => table.insert(edit.key.as_str(), value.as_slice())?,
                None => table.remove(edit.key.as_str())?,
            };
        }
    }
    Ok(write.commit()?)
}
