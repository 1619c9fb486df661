//! The store: `table.redb` in the state directory.

use crate::room::{Mounted, Room, SOON, fill};
use fsrvp_idl::Status;
use fsrvp_testkit::Lab;
use fsrvp_tests::operator::Step;
use fsrvp_tests::{CaseResult, Injection, fail};
use libtest_mimic::Failed;
use std::path::PathBuf;
use std::time::Duration;

/// What a client gets when the table cannot be stored.
const UNSTORED: Status = Status::VSS_E_UNEXPECTED_PROVIDER_ERROR;

/// The agent with its state on a small file system, and back.
fn on_a_small_disk(room: &Room<'_>, case: impl FnOnce() -> CaseResult) -> CaseResult {
    let state = room.lab.state_dir();
    room.lab.stop_agent(false)?;
    let disk = Mounted::tmpfs(&state, "4m")?;
    room.lab.start_agent()?;
    let done = case();
    room.restarted_after(move || {
        drop(disk);
        Ok(())
    })?;
    done
}

/// A state directory without space: every call that changes something fails, and works again as
/// soon as there is space.
pub(crate) fn full_disk(lab: &Lab) -> CaseResult {
    let room = Room::enter(lab);
    on_a_small_disk(&room, || {
        let mut backup = room.backup()?;
        let mut refused = 0;
        for step in Step::ALL {
            // What redb can still place in the file it may store.
            let ballast = fill(&lab.state_dir())?;
            let status = backup.step(step)?;
            drop(ballast);
            match status {
                Status::ZERO => {}
                UNSTORED => {
                    refused += 1;
                    backup.does(step)?;
                }
                other => return fail(format!("{step:?}: {other}")),
            }
        }
        if refused == 0 {
            return fail("no commit of the store needed space");
        }
        room.reports("`state_dir` is full", &[&lab.state_dir().to_string_lossy()])?;
        room.says(&["the table is stored again"])?;
        room.recovers()
    })
}

fn table(lab: &Lab) -> PathBuf {
    lab.state_dir().join("table.redb")
}

fn pid(lab: &Lab) -> Result<u32, Failed> {
    lab.agent_pid().ok_or_else(|| Failed::from("no agent"))
}

/// Each commit of a backup fails once, by an error of its flush: nothing has happened then, and the
/// same call succeeds.
pub(crate) fn every_commit(lab: &Lab) -> CaseResult {
    let room = Room::enter(lab);
    let mut backup = room.backup()?;
    let mut refused = Vec::new();
    for step in Step::ALL {
        let injection = Injection::on(pid(lab)?, "fdatasync,fsync", "error=EIO", &table(lab))?;
        let status = backup.step(step)?;
        drop(injection);
        match status {
            Status::ZERO => {}
            UNSTORED => {
                refused.push(step);
                backup.does(step)?;
            }
            other => return fail(format!("{step:?}: {other}")),
        }
    }
    // Prepare changes nothing in the table.
    let expected: Vec<_> = Step::ALL
        .into_iter()
        .filter(|step| *step != Step::Prepare)
        .collect();
    if refused != expected {
        return fail(format!("only {refused:?} were refused"));
    }
    room.reports("the disk under `state_dir` reports errors", &[])?;
    room.recovers()
}

/// Writes fail, and go on failing: the agent answers every call, and is well when they succeed.
pub(crate) fn input_output_error(lab: &Lab) -> CaseResult {
    let room = Room::enter(lab);
    let mut backup = room.backup()?;
    backup.walks(Step::Commit)?;
    let calls = "pwrite64,fdatasync,fsync,ftruncate,fallocate";
    let injection = Injection::on(pid(lab)?, calls, "error=EIO", &table(lab))?;
    for _ in 0..3 {
        backup.is_refused(Step::Expose, UNSTORED, SOON)?;
    }
    if !room.exposed_shares()?.is_empty() {
        return fail("shares are left of an Expose that was not recorded");
    }
    drop(injection);
    backup.does(Step::Expose)?;
    backup.does(Step::Recover)?;
    backup.does(Step::Delete)?;
    room.recovers()
}

/// A state directory that turns read-only while the agent serves, as the kernel does with a file
/// system that it has found damaged.
pub(crate) fn read_only(lab: &Lab) -> CaseResult {
    let room = Room::enter(lab);
    let mut backup = room.backup()?;
    backup.walks(Step::Start)?;
    let calls = "pwrite64,fdatasync,ftruncate,openat";
    let injection = Injection::on(pid(lab)?, calls, "error=EROFS", &table(lab))?;
    for _ in 0..2 {
        backup.is_refused(Step::Add, UNSTORED, SOON)?;
    }
    drop(injection);
    room.reports(
        "`state_dir` turns read-only",
        &[&table(lab).to_string_lossy()],
    )?;
    backup.does(Step::Add)?;
    backup.abort()?;
    room.recovers()
}

/// A flush that does not come back for more than a minute: whoever waits for it is told, questions
/// are answered, and the daemon is well when the disk is.
pub(crate) fn hung_disk(lab: &Lab) -> CaseResult {
    let room = Room::enter(lab);
    let mut backup = room.backup()?;
    let injection = Injection::on(
        pid(lab)?,
        "fdatasync",
        "delay_enter=75000000:when=1",
        &table(lab),
    )?;
    backup.is_refused(Step::SetContext, UNSTORED, Duration::from_secs(65))?;
    room.reports("`state_dir` does not answer", &[])?;
    backup.is_refused(Step::Start, UNSTORED, Duration::from_secs(1))?;
    drop(injection);
    // The context was stored in the end: the client's next one takes its place.
    room.says(&["answers again"])?;
    room.recovers()
}
