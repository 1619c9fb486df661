//! Samba: smbd, its registry, and the helper that keeps that open.

use crate::room::{Room, SOON};
use fsrvp_idl::Status;
use fsrvp_testkit::{Lab, process, until};
use fsrvp_tests::operator::Step;
use fsrvp_tests::{CaseResult, Injection, fail};
use libtest_mimic::Failed;
use rustix::process::Signal;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long the helper may stay away.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn no_smbd(lab: &Lab) -> CaseResult {
    let room = Room::enter(lab);
    lab.stop_smbd()?;
    let walked = room.recovers();
    lab.start_smbd()?;
    walked?;
    room.recovers()
}

/// The agent's resident helper.
pub(crate) fn helper(lab: &Lab) -> Result<u32, Failed> {
    let agent = lab.agent_pid().ok_or("no agent")?;
    let tasks = fs::read_dir(format!("/proc/{agent}/task"))?;
    let children = tasks.flatten().flat_map(|task| {
        let list = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        list.split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .collect::<Vec<u32>>()
    });
    let mut helpers = children
        .filter(|pid| process::program_name(*pid).is_some_and(|name| name.starts_with("python")));
    helpers
        .next()
        .ok_or_else(|| Failed::from("the helper does not run"))
}

/// The mailbox among Samba's that a killed agent leaves goes at the next start; that of a process
/// that lives stays.
pub(crate) fn left_mailbox(lab: &Lab) -> CaseResult {
    let room = Room::enter(lab);
    let boxes = lab.dir().join("samba/lock/msg.sock");
    let agent = lab.agent_pid().ok_or("no agent")?;
    let left = boxes.join(agent.to_string());
    let smbd = boxes.join(lab.smbd_pid().ok_or("no smbd")?.to_string());
    // As it is while shares are disconnected, which takes too short to be met by a kill.
    drop(UnixDatagram::bind(&left)?);
    lab.stop_agent(true)?;
    lab.start_agent()?;
    if left.exists() {
        return fail(format!("{} is left", left.display()));
    }
    if !smbd.exists() {
        return fail("smbd has lost its mailbox");
    }
    room.recovers()
}

/// Killed between any two calls: Samba's own tools do the work until it is there again.
pub(crate) fn killed_helper(lab: &Lab) -> CaseResult {
    let room = Room::enter(lab);
    let mut backup = room.backup()?;
    backup.walks(Step::Commit)?;
    for step in [Step::Expose, Step::Recover, Step::Delete] {
        if let Ok(helper) = helper(lab) {
            process::signal(helper, Signal::KILL);
        }
        backup.does(step)?;
    }
    room.reports("the Samba helper dies", &[])?;
    // After a pause it is back, for the next who needs it.
    let back = until(PATIENCE, || {
        room.recovers()?;
        Ok::<_, Failed>(helper(lab).ok())
    })?;
    back.map(drop)
        .ok_or_else(|| Failed::from("the helper does not come back"))
}

/// It does not answer: it is killed when its time is over, and the tools do the work.
pub(crate) fn hung_helper(lab: &Lab) -> CaseResult {
    let room = Room::enter(lab);
    let mut backup = room.backup()?;
    backup.walks(Step::Commit)?;
    let helper = helper(lab)?;
    process::signal(helper, Signal::STOP);
    backup.does(Step::Expose)?;
    if process::alive(helper) {
        return fail("the helper that hung still lives");
    }
    room.reports("the Samba helper hangs", &[])?;
    backup.does(Step::Recover)?;
    backup.does(Step::Delete)?;
    room.recovers()
}

/// Another program keeps the registry locked: Expose's wait ends on time, and what it has begun
/// is told to the next call.
pub(crate) fn locked_registry(lab: &Lab) -> CaseResult {
    let room = Room::enter(lab);
    let mut backup = room.backup()?;
    backup.walks(Step::Commit)?;
    let lock = Lock::take(lab)?;
    backup.wait_ms = 2_000;
    backup.is_refused(Step::Expose, Status::FSRVP_E_WAIT_TIMEOUT, SOON)?;
    drop(lock);
    backup.wait_ms = 60_000;
    backup.does(Step::Expose)?;
    backup.does(Step::Recover)?;
    backup.does(Step::Delete)?;
    room.recovers()
}

/// A transaction on Samba's registry that somebody has begun and does not end.
struct Lock(Child);

impl Lock {
    fn take(lab: &Lab) -> Result<Self, Failed> {
        const TAKE: &str = "import os, sys, tdb\n\
            table = tdb.Tdb(sys.argv[1], 0, tdb.DEFAULT, os.O_RDWR)\n\
            table.transaction_start()\n\
            print('locked', flush=True)\n\
            sys.stdin.read()\n";
        let mut child = Command::new("/usr/bin/python3")
            .args(["-c", TAKE])
            .arg(lab.samba_state_dir().join("registry.tdb"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut said = [0; 6];
        if let Some(stdout) = &mut child.stdout {
            std::io::Read::read_exact(stdout, &mut said)?;
        }
        Ok(Self(child))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// The registry's disk refuses every write: no share is made, and none is left in part.
pub(crate) fn broken_registry(lab: &Lab) -> CaseResult {
    let room = Room::enter(lab);
    let registry = lab.samba_state_dir().join("registry.tdb");
    for fault in ["error=ENOSPC", "error=EIO"] {
        let mut backup = room.backup()?;
        backup.walks(Step::Commit)?;
        let helper = helper(lab)?;
        let calls = "pwrite64,ftruncate,fallocate,fdatasync,fsync,msync";
        let injection = Injection::on(helper, calls, fault, &registry)?;
        let refused = Status::VSS_E_UNEXPECTED_PROVIDER_ERROR;
        let answered = backup.is_refused(Step::Expose, refused, Duration::from_secs(60));
        drop(injection);
        answered?;
        let registry = registry.to_string_lossy();
        let share = backup.exposed(0);
        room.reports("Samba's registry cannot be changed", &[&registry, &share])?;
        if !room.exposed_shares()?.is_empty() {
            return fail(format!("shares are left: {:?}", room.exposed_shares()?));
        }
        for step in [Step::Expose, Step::Recover, Step::Delete] {
            backup.does(step)?;
        }
        room.recovers()?;
    }
    Ok(())
}
