//! Shares and snapshots that an administrator changes while a backup is under way.

use crate::room::{Room, SOON};
use fsrvp_idl::Status;
use fsrvp_testkit::{Lab, Run};
use fsrvp_tests::operator::{Backup, Step};
use fsrvp_tests::{CaseResult, fail};

use std::path::PathBuf;

const NAME: &str = "extra";

/// A base share of its own on btrfs file system 1; the administrator's to change.
struct Extra<'a> {
    room: Room<'a>,
    path: PathBuf,
}

impl<'a> Extra<'a> {
    fn make(lab: &'a Lab) -> Result<Self, libtest_mimic::Failed> {
        let room = Room::enter(lab);
        let path = lab.volume("btrfs1").join("vm");
        room.net(&["conf", "addshare", NAME, &path.to_string_lossy()])?;
        Ok(Self { room, path })
    }

    fn backup(&self) -> Result<Backup, libtest_mimic::Failed> {
        Backup::of(self.room.lab, &[NAME])
    }

    fn delete(&self) -> CaseResult {
        self.room.net(&["conf", "delshare", NAME])?;
        Ok(())
    }
}

/// The base share goes between Add and Commit, or between Commit and Expose.
pub(crate) fn base_deleted(lab: &Lab) -> CaseResult {
    for last in [Step::Add, Step::Prepare, Step::Commit] {
        let extra = Extra::make(lab)?;
        let mut backup = extra.backup()?;
        backup.walks(last)?;
        extra.delete()?;
        let next = match last {
            Step::Add => Step::Prepare,
            Step::Commit => Step::Expose,
            _ => Step::Commit,
        };
        if last == Step::Prepare {
            // The copy is of the directory that Prepare has seen; the share is missed by Expose.
            backup.does(Step::Commit)?;
            backup.is_refused(Step::Expose, Status::FSRVP_E_OBJECT_NOT_FOUND, SOON)?;
        } else {
            backup.is_refused(next, Status::FSRVP_E_OBJECT_NOT_FOUND, SOON)?;
        }
        extra
            .room
            .reports("the base share is deleted or renamed", &["extra"])?;
        backup.abort()?;
        extra.room.recovers()?;
    }
    Ok(())
}

/// A rename is a deletion and a share that nobody knows.
pub(crate) fn base_renamed(lab: &Lab) -> CaseResult {
    let extra = Extra::make(lab)?;
    let mut backup = extra.backup()?;
    backup.walks(Step::Commit)?;
    extra.delete()?;
    let shown = extra.path.to_string_lossy();
    extra.room.net(&["conf", "addshare", "renamed", &shown])?;
    let refused = backup.is_refused(Step::Expose, Status::FSRVP_E_OBJECT_NOT_FOUND, SOON);
    extra.room.net(&["conf", "delshare", "renamed"])?;
    refused?;
    extra
        .room
        .reports("the base share is deleted or renamed", &["extra"])?;
    // Under its old name again, the same set goes on.
    extra.room.net(&["conf", "addshare", NAME, &shown])?;
    for step in [Step::Expose, Step::Recover] {
        backup.does(step)?;
    }
    // A Recovered copy does not need its base share any more.
    extra.delete()?;
    backup.does(Step::Delete)?;
    extra.room.recovers()
}

/// The share's path changes between Add and Commit: a copy of the old one would be of another
/// directory than the client means.
pub(crate) fn base_moved(lab: &Lab) -> CaseResult {
    let extra = Extra::make(lab)?;
    let mut backup = extra.backup()?;
    backup.walks(Step::Add)?;
    let other = lab.volume("btrfs1").join("torture");
    let shown = other.to_string_lossy().into_owned();
    extra.room.net(&["conf", "setparm", NAME, "path", &shown])?;
    for step in [Step::Prepare, Step::Commit] {
        backup.is_refused(step, Status::FSRVP_E_OBJECT_NOT_FOUND, SOON)?;
    }
    let old = extra.path.to_string_lossy();
    extra.room.reports(
        "the base share's path changes",
        &["share extra", &old, &shown],
    )?;
    backup.abort()?;
    extra.delete()?;
    extra.room.recovers()
}

fn delete_subvolumes(room: &Room<'_>, volume: &str) -> CaseResult {
    for name in room.copies_on(volume) {
        let path = room.area(volume).join(name);
        Run::new("btrfs")
            .args(["subvolume", "delete"])
            .arg(path)
            .check()?;
    }
    Ok(())
}

/// Behind our back after every step from Commit on.
pub(crate) fn snapshot_deleted(lab: &Lab) -> CaseResult {
    let room = Room::enter(lab);
    let gone = Status::FSRVP_E_OBJECT_NOT_FOUND;
    let mut backup = room.backup()?;
    backup.walks(Step::Commit)?;
    delete_subvolumes(&room, "btrfs1")?;
    backup.is_refused(Step::Expose, gone, SOON)?;
    room.reports("a snapshot is deleted by hand", &["expose", "share vm"])?;
    backup.abort()?;
    room.recovers()?;

    let mut backup = room.backup()?;
    backup.walks(Step::Expose)?;
    delete_subvolumes(&room, "btrfs1")?;
    backup.is_refused(Step::Recover, gone, SOON)?;
    room.reports("a snapshot is deleted by hand", &["seal"])?;
    backup.does(Step::Delete)?;
    room.recovers()?;

    let mut backup = room.backup()?;
    backup.walks(Step::Recover)?;
    delete_subvolumes(&room, "btrfs1")?;
    // The next start notices, says so, and takes the share away.
    room.restarted_after(|| Ok(()))?;
    room.reports("a snapshot was deleted by hand, at the next start", &[])?;
    room.recovers()
}

pub(crate) fn share_deleted(lab: &Lab) -> CaseResult {
    let room = Room::enter(lab);
    let mut backup = room.backup()?;
    backup.walks(Step::Expose)?;
    room.net(&["conf", "delshare", &backup.exposed(0)])?;
    backup.is_refused(Step::Recover, Status::FSRVP_E_OBJECT_NOT_FOUND, SOON)?;
    room.reports(
        "an exposed share is deleted by hand",
        &["seal", &backup.exposed(0)],
    )?;
    // A restart offers it again, and the set goes on.
    room.restarted_after(|| Ok(()))?;
    room.reports(
        "an exposed share was deleted by hand, at the next start",
        &[&backup.exposed(0)],
    )?;
    if room.exposed_shares()? != [backup.exposed(0)] {
        return fail(format!("{:?}", room.exposed_shares()?));
    }
    backup.does(Step::Recover)?;
    room.net(&["conf", "delshare", &backup.exposed(0)])?;
    backup.does(Step::Delete)?;
    room.recovers()
}
