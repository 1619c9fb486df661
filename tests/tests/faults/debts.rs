//! What could not be removed is kept, shown, tried again, and in nobody's way; a job that hangs
//! does not keep the daemon from ending.

use crate::room::{Room, SOON};
use fsrvp_idl::Status;
use fsrvp_testkit::{HttpAnswer, Lab, Run, process, programs, unix_http, until};
use fsrvp_tests::operator::{Backup, Step};
use fsrvp_tests::{CaseResult, Finally, Injection, fail};
use libtest_mimic::Failed;
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::time::{Duration, Instant};

/// How long it may take until a removal is tried again.
const PATIENCE: Duration = Duration::from_secs(30);

/// The kernel refuses to destroy a snapshot, again and again, over a restart.
pub(crate) fn stubborn_snapshot(lab: &Lab) -> CaseResult {
    let room = Room::enter(lab);
    let mut backup = room.backup()?;
    backup.walks(Step::Commit)?;
    let area = crate::volume::served_area(&room, "btrfs1")?;
    let pid = lab.agent_pid().ok_or("no agent")?;
    let injection = Injection::on(pid, "ioctl", "error=EBUSY", &area)?;
    let status = backup.abort()?;
    if status != Status::VSS_E_UNEXPECTED_PROVIDER_ERROR {
        return fail(format!("Abort: {status}"));
    }
    room.reports("a copy cannot be deleted", &["in use"])?;
    let view = room.view()?;
    let debt = |pointer: &str| view.pointer(&format!("/debts/0/{pointer}")).cloned();
    let copies = room.copies_on("btrfs1");
    let [copy] = copies.as_slice() else {
        return fail(format!("copies: {copies:?}"));
    };
    if !debt("artefact").is_some_and(|artefact| artefact.to_string().contains(copy)) {
        return fail(format!("debts are not shown: {view}"));
    }
    if debt("failure").is_none_or(|failure| !failure.to_string().contains("in use")) {
        return fail(format!("why it stays is not shown: {view}"));
    }
    // It can be reached, and so is not to be forgotten.
    let number = debt("number").unwrap_or_default();
    let refused = forget(lab, &number.to_string())?;
    if refused.status != 409 || !refused.body.contains("can be reached") {
        return fail(format!("forgotten: {}", refused.body));
    }
    // The next set is made meanwhile, on the same volume; only its own deletion is refused too.
    let mut second = room.backup()?;
    second.walks(Step::Start)?;
    second.does(Step::Add)?;
    second.abort()?;
    let attempts = || {
        let view = room.view()?;
        let attempts = view.pointer("/debts/0/attempts").and_then(Value::as_u64);
        Ok::<_, Failed>(attempts.filter(|attempts| *attempts >= 2))
    };
    if until(PATIENCE, attempts)?.is_none() {
        return fail(format!("not tried again: {}", room.view()?));
    }
    drop(injection);
    // It outlives the process.
    lab.stop_agent(true)?;
    lab.start_agent()?;
    room.recovers()
}

fn forget(lab: &Lab, number: &str) -> Result<HttpAnswer, Failed> {
    let target = format!("/v1/debts/{}/{number}", lab.server_name());
    Ok(unix_http(&lab.admin_socket(), "DELETE", &target, "")?)
}

/// What is owed on a disk that is gone for good can be forgotten by an operator, and stays
/// forgotten.
pub(crate) fn lost_disk(lab: &Lab) -> CaseResult {
    let room = Room::enter(lab);
    let (image, mounted) = (lab.dir().join("mnt/lost.img"), lab.dir().join("mnt/lost"));
    fs::create_dir_all(&mounted)?;
    fs::File::create(&image)?.set_len(256 << 20)?;
    Run::new("mkfs.btrfs").arg("--quiet").arg(&image).check()?;
    let mount = Run::new("mount").args(["-o", "loop"]);
    mount.arg(&image).arg(&mounted).check()?;
    let _unmounted = Finally(|| {
        let _ = Run::new("umount").arg("--quiet").arg(&mounted).output();
        let _ = fs::remove_file(&image);
        let _ = fs::remove_dir(&mounted);
    });
    let share = mounted.join("lost");
    let subvolume = Run::new("btrfs").args(["subvolume", "create"]);
    subvolume.arg(&share).check()?;
    room.net(&["conf", "addshare", "lost", &share.to_string_lossy()])?;
    let _withdrawn = Finally(|| {
        let _ = room.net(&["conf", "delshare", "lost"]);
    });
    let mut backup = Backup::of(lab, &["lost"])?;
    backup.walks(Step::Commit)?;
    room.restarted_after(|| {
        for entry in fs::read_dir(lab.run_dir())?.flatten() {
            if fs::metadata(entry.path().join("lost")).is_ok() {
                Run::new("umount").arg(entry.path()).check()?;
                fs::remove_dir(entry.path())?;
            }
        }
        Run::new("umount").arg(&mounted).check()?;
        Ok(())
    })?;
    let status = backup.abort()?;
    if status.is_ok() {
        return fail("a copy on a disk that is not there was deleted");
    }
    let view = room.view()?;
    let number = view
        .pointer("/debts/0/number")
        .ok_or_else(|| format!("no debt: {view}"))?
        .to_string();
    let program = || Ok::<_, Failed>(Run::new(programs::program("fsrvpctl")?));
    let socket = lab.admin_socket();
    let asked = program()?.arg("--socket").arg(&socket);
    let asked = asked.args(["forget", &number]).output()?;
    if asked.status.code() != Some(2) || !asked.says("add --yes") || room.count("debts")? != 1 {
        return fail(format!("without --yes: {}", asked.text()));
    }
    let done = program()?.arg("--socket").arg(&socket);
    done.args(["forget", &number, "--yes"]).check()?;
    room.says(&["audit: operator", "forget debt", "done"])?;
    if forget(lab, &number)?.status != 404 {
        return fail("forgotten twice");
    }
    room.restarted_after(|| Ok(()))?;
    room.recovers()
}

/// A job waits for a helper that hangs: SIGTERM ends the daemon all the same.
pub(crate) fn shutdown(lab: &Lab) -> CaseResult {
    let room = Room::enter(lab);
    let mut backup = room.backup()?;
    backup.walks(Step::Commit)?;
    let helper = crate::samba::helper(lab)?;
    process::signal(helper, Signal::STOP);
    backup.wait_ms = 500;
    backup.is_refused(Step::Expose, Status::FSRVP_E_WAIT_TIMEOUT, SOON)?;
    let agent = lab.agent_pid().ok_or("no agent")?;
    let began = Instant::now();
    process::signal(agent, Signal::TERM);
    let ended = process::wait_gone(agent, Duration::from_secs(15));
    let took = began.elapsed();
    process::signal(helper, Signal::CONT);
    if !ended {
        return fail(format!("the daemon has not ended after {took:?}"));
    }
    lab.stop_agent(true)?;
    lab.start_agent()?;
    backup.wait_ms = 60_000;
    backup.does(Step::Expose)?;
    backup.does(Step::Recover)?;
    backup.does(Step::Delete)?;
    room.recovers()?;
    Ok(())
}
