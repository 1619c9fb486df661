//! The volume that is to be copied.

use crate::room::{Ballast, Mounted, Room, SOON};
use fsrvp_idl::Status;
use fsrvp_testkit::{Lab, Run, ShareKey};
use fsrvp_tests::operator::{Backup, Step};
use fsrvp_tests::{CaseResult, Finally, Injection, fail};
use libtest_mimic::Failed;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Less than this is left of a full file system.
const LITTLE: u64 = 4 << 20;

/// Takes almost all space of a btrfs file system, without writing it: its image is sparse.
fn take_space(volume: &Path) -> Result<Ballast, Failed> {
    let directory = volume.join("ballast");
    fs::create_dir_all(&directory)?;
    let mut number = 0;
    let mut size = 4_u64 << 30;
    while size >= LITTLE {
        let path = directory.join(number.to_string());
        let run = Run::new("fallocate")
            .args(["-l", &size.to_string()])
            .arg(&path);
        if run.check().is_err() {
            let _ = fs::remove_file(&path);
            size /= 2;
        }
        number += 1;
    }
    Ok(Ballast(directory))
}

/// Prepare finds that there is no space for a snapshot.
pub(crate) fn full(lab: &Lab) -> CaseResult {
    let room = Room::enter(lab);
    let volume = lab.volume("btrfs2");
    let mut backup = room.backup_of(&[ShareKey::A, ShareKey::B])?;
    let ballast = take_space(&volume)?;
    let refused = backup.walks(Step::Add).and_then(|()| {
        for step in [Step::Prepare, Step::Commit] {
            backup.is_refused(step, Status::VSS_E_INSUFFICIENT_STORAGE, SOON)?;
        }
        // All or none: the other volume has no copy either.
        room.reports("no space on the volume", &["share data"])?;
        match room.copies_on("btrfs1") {
            none if none.is_empty() => Ok(()),
            some => fail(format!("copies are left: {some:?}")),
        }
    });
    fs::remove_dir_all(&ballast.0)?;
    drop(ballast);
    refused?;
    backup.does(Step::Prepare)?;
    backup.does(Step::Commit)?;
    backup.abort()?;
    room.recovers()
}

/// The kernel refuses the cut of the second volume: the copy of the first goes too.
fn cut_fails(lab: &Lab, error: &str, status: Status, fault: &str) -> CaseResult {
    let room = Room::enter(lab);
    let mut backup = room.backup_of(&[ShareKey::A, ShareKey::B])?;
    backup.walks(Step::Prepare)?;
    let pid = lab.agent_pid().ok_or("no agent")?;
    let area = served_area(&room, "btrfs2")?;
    let injection = Injection::on(pid, "ioctl", error, &area)?;
    backup.is_refused(Step::Commit, status, SOON)?;
    drop(injection);
    room.reports(fault, &["share data"])?;
    for volume in ["btrfs1", "btrfs2"] {
        let left = room.copies_on(volume);
        if !left.is_empty() {
            return fail(format!("copies are left on {volume}: {left:?}"));
        }
    }
    // The same set goes on.
    for step in [Step::Commit, Step::Expose, Step::Recover, Step::Delete] {
        backup.does(step)?;
    }
    room.recovers()
}

/// A server's area as the agent reaches it: on its own mount.
pub(crate) fn served_area(room: &Room<'_>, volume: &str) -> Result<std::path::PathBuf, Failed> {
    let seen = fs::metadata(room.area(volume))?;
    for entry in fs::read_dir(room.lab.run_dir())?.flatten() {
        let path = entry.path().join(".fsrvpd").join(room.lab.server_name());
        use std::os::unix::fs::MetadataExt;
        if fs::metadata(&path)
            .is_ok_and(|found| (found.dev(), found.ino()) == (seen.dev(), seen.ino()))
        {
            return Ok(path);
        }
    }
    fail(format!("the agent has not mounted {volume}"))
}

pub(crate) fn full_at_the_cut(lab: &Lab) -> CaseResult {
    let status = Status::VSS_E_INSUFFICIENT_STORAGE;
    cut_fails(
        lab,
        "error=ENOSPC",
        status,
        "no space at the moment of the copy",
    )
}

pub(crate) fn broken_at_the_cut(lab: &Lab) -> CaseResult {
    let status = Status::VSS_E_UNEXPECTED_PROVIDER_ERROR;
    cut_fails(lab, "error=EIO", status, "the volume's disk reports errors")
}

/// A volume that turns read-only while a set is exposed: its copies cannot be made, sealed or
/// deleted; what has to go is a debt, and is paid when the volume can be written again.
pub(crate) fn read_only(lab: &Lab) -> CaseResult {
    let room = Room::enter(lab);
    let volume = lab.volume("btrfs2");
    let remount = |mode: &str| {
        let run = Run::new("mount").args(["-o", &format!("remount,{mode}")]);
        run.arg(&volume).check().map(drop)
    };
    let mut backup = room.backup_of(&[ShareKey::B])?;
    backup.walks(Step::Expose)?;
    remount("ro")?;
    let _writable = Finally(|| {
        let _ = remount("rw");
    });
    let provider = Status::VSS_E_UNEXPECTED_PROVIDER_ERROR;
    backup.is_refused(Step::Recover, provider, SOON)?;
    room.reports("the volume turns read-only", &["seal"])?;
    let status = backup.abort()?;
    if status != provider {
        return fail(format!("Abort: {status}"));
    }
    room.says(&["could not be removed", "Read-only file system"])?;
    if room.count("debts")? != 1 {
        return fail(format!("debts: {}", room.view()?));
    }
    // Nobody else is held up, and the volume itself says what is wrong.
    room.backup()?.walks(Step::Delete)?;
    let mut second = room.backup_of(&[ShareKey::B])?;
    second.walks(Step::Start)?;
    let refused = match second.step(Step::Add)? {
        Status::ZERO => second.step(Step::Commit)?,
        refused => refused,
    };
    if refused.is_ok() {
        return fail("a copy of a read-only volume was made");
    }
    second.abort()?;
    remount("rw")?;
    room.recovers()?;
    room.reports("a debt is paid", &[])
}

/// A disk that fails for real: the image of a btrfs lies in memory that is full. The kernel turns
/// the file system read-only when it cannot write its metadata.
pub(crate) fn dying_disk(lab: &Lab) -> CaseResult {
    let room = Room::enter(lab);
    let place = lab.dir().join("mnt/dying");
    let (memory, mounted) = (place.join("memory"), place.join("disk"));
    fs::create_dir_all(&memory)?;
    fs::create_dir_all(&mounted)?;
    let disk = Mounted::tmpfs(&memory, "160m")?;
    let image = memory.join("image");
    fs::File::create(&image)?.set_len(1 << 30)?;
    Run::new("mkfs.btrfs")
        .args(["--quiet", "--data", "single", "--metadata", "single"])
        .arg(&image)
        .check()?;
    Run::new("mount")
        .args(["-o", "loop"])
        .arg(&image)
        .arg(&mounted)
        .check()?;
    let share = mounted.join("dying");
    Run::new("btrfs")
        .args(["subvolume", "create"])
        .arg(&share)
        .check()?;
    room.net(&["conf", "addshare", "dying", &share.to_string_lossy()])?;
    let result = dies(&room, &memory, &share);
    let unmount = || -> CaseResult {
        for entry in fs::read_dir(lab.run_dir())?.flatten() {
            if fs::metadata(entry.path().join("dying")).is_ok() {
                Run::new("umount").arg(entry.path()).check()?;
                fs::remove_dir(entry.path())?;
            }
        }
        Run::new("umount").arg(&mounted).check()?;
        Ok(())
    };
    // The disk is well again, and so is what was owed there.
    room.restarted_after(|| {
        unmount()?;
        Run::new("mount")
            .args(["-o", "loop"])
            .arg(&image)
            .arg(&mounted)
            .check()?;
        Ok(())
    })?;
    let recovered = room.recovers();
    room.net(&["conf", "delshare", "dying"])?;
    room.restarted_after(unmount)?;
    drop(disk);
    result?;
    recovered
}

fn dies(room: &Room<'_>, memory: &Path, share: &Path) -> CaseResult {
    let mut backup = Backup::of(room.lab, &["dying"])?;
    backup.walks(Step::Add)?;
    let _full = crate::room::fill(memory)?;
    fs::write(share.join("more"), vec![1; 8 << 20])?;
    let began = Instant::now();
    let refused = match backup.step(Step::Prepare)? {
        Status::ZERO => backup.step(Step::Commit)?,
        refused => refused,
    };
    if refused.is_ok() || began.elapsed() > Duration::from_secs(60) {
        return fail(format!("{refused} after {:?}", began.elapsed()));
    }
    room.reports("the volume's disk reports errors", &["share dying"])?;
    backup.abort()?;
    room.backup()?.walks(Step::Delete)
}

/// A volume whose system calls hang: its set answers in time, the others go on, and the volume
/// refuses until they have come back.
pub(crate) fn frozen(lab: &Lab) -> CaseResult {
    let room = Room::enter(lab);
    let volume = lab.volume("btrfs2");
    let mut backup = room.backup_of(&[ShareKey::B])?;
    backup.walks(Step::Prepare)?;
    Run::new("fsfreeze").arg("--freeze").arg(&volume).check()?;
    let thaw = || {
        let _ = Run::new("fsfreeze").arg("--unfreeze").arg(&volume).output();
    };
    let thawed = Finally(thaw);
    backup.wait_ms = 1_000;
    backup.is_refused(Step::Commit, Status::FSSAGENT_E_TIMEOUT, SOON)?;
    let status = backup.abort()?;
    if !status.is_ok() {
        return fail(format!("Abort: {status}"));
    }
    room.backup()?.walks(Step::Delete)?;
    let mut second = room.backup_of(&[ShareKey::B])?;
    second.walks(Step::Start)?;
    second.is_refused(Step::Add, Status::VSS_E_UNEXPECTED_PROVIDER_ERROR, SOON)?;
    second.abort()?;
    drop(thawed);
    room.recovers()
}
