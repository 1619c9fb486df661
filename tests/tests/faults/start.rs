//! Starts that are refused: the operator is told why, and nothing is touched.

use crate::documented;
use crate::room::{Mounted, Room};
use fsrvp_testkit::{Lab, Run};
use fsrvp_tests::{CaseResult, fail};
use libtest_mimic::Failed;
use redb::{Database, TableDefinition};
use std::fs;
use std::path::Path;

/// A start is refused as the handbook says, with all of `parts`.
fn is_refused(room: &Room<'_>, fault: &str, parts: &[&str]) -> CaseResult {
    let said = room.start_is_refused()?;
    let message = documented::message_of(fault)?;
    if documented::is_in(&said, &message) && parts.iter().all(|part| said.contains(part)) {
        return Ok(());
    }
    fail(format!("not {message:?} and {parts:?} in {said}"))
}

/// Two agents on one state directory: the second refuses, and the first does not notice.
pub(crate) fn in_use(lab: &Lab) -> CaseResult {
    let room = Room::enter(lab);
    let first = lab
        .agent_pid()
        .map(|pid| pid.to_string())
        .unwrap_or_default();
    let result = is_refused(
        &room,
        "a second fsrvpd with the same `state_dir`",
        &[&first],
    );
    // The laboratory knows the last agent that it has started.
    fs::write(lab.dir().join("agent/pid"), format!("{first}\n"))?;
    result?;
    room.recovers()
}

pub(crate) fn read_only(lab: &Lab) -> CaseResult {
    let room = Room::enter(lab);
    room.restarted_after(|| {
        let _disk = Mounted::tmpfs(&lab.state_dir(), "1m")?;
        let remount = Run::new("mount").args(["-o", "remount,ro"]);
        remount.arg(lab.state_dir()).check()?;
        let shown = lab.state_dir().display().to_string();
        is_refused(
            &room,
            "`state_dir` cannot be written at the start",
            &[&shown],
        )
    })?;
    room.recovers()
}

/// The file is as before after the start that it has refused; the right one is put back then.
fn with_another_table(lab: &Lab, change: impl FnOnce(&mut Vec<u8>) -> CaseResult) -> CaseResult {
    let room = Room::enter(lab);
    room.restarted_after(|| {
        let table = lab.state_dir().join("table.redb");
        let whole = fs::read(&table)?;
        let mut other = whole.clone();
        change(&mut other)?;
        fs::write(&table, &other)?;
        let refused = is_refused(&room, "the table is damaged", &[&table.to_string_lossy()]);
        let untouched = fs::read(&table)? == other;
        fs::write(&table, &whole)?;
        if !untouched {
            return fail("the file was touched");
        }
        refused
    })?;
    room.recovers()
}

pub(crate) fn damaged(lab: &Lab) -> CaseResult {
    let zeros = |table: &mut Vec<u8>| {
        if let Some(inside) = table.get_mut(4096..) {
            inside.fill(0);
        }
        Ok(())
    };
    with_another_table(lab, zeros)?;
    let short = |table: &mut Vec<u8>| {
        table.truncate(1_000);
        Ok(())
    };
    with_another_table(lab, short)
}

/// A record that a newer version has written: the start is refused, and the file stays as it was
/// left by a stop, and by a process that was killed.
pub(crate) fn newer(lab: &Lab) -> CaseResult {
    let room = Room::enter(lab);
    room.restarted_after(|| {
        let table = lab.state_dir().join("table.redb");
        let whole = fs::read(&table)?;
        let key = "set/0f0e0d0c-0b0a-0908-0706-050403020100";
        let record = br#"{"version":9,"record":{"what":"a newer version knows"}}"#;
        let killed = put(&table, key, record)?;
        let stopped = fs::read(&table)?;
        let path = table.to_string_lossy();
        let untouched = [stopped, killed].into_iter().try_for_each(|left| {
            fs::write(&table, &left)?;
            is_refused(&room, "the table is of a newer version", &[&path, key])?;
            if fs::read(&table)? != left {
                return fail("the file was touched");
            }
            Ok(())
        });
        fs::write(&table, &whole)?;
        untouched
    })?;
    room.recovers()
}

const RECORDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("records");

/// Stores a record; gives the file as it is before it is closed.
fn put(table: &Path, key: &str, record: &[u8]) -> Result<Vec<u8>, Failed> {
    let database = Database::open(table)?;
    let write = database.begin_write()?;
    write.open_table(RECORDS)?.insert(key, record)?;
    write.commit()?;
    Ok(fs::read(table)?)
}
