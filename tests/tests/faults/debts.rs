//! What could not be removed is kept, shown, tried again, and in nobody's way; a job that hangs
//! does not keep the daemon from ending.

use crate::room::{Room, SOON};
use fsrvp_idl::Status;
use fsrvp_testkit::{Lab, process};
use fsrvp_tests::operator::Step;
use fsrvp_tests::{CaseResult, Injection, fail};
use rustix::process::Signal;

use std::time::{Duration, Instant};

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
    // The next set is made meanwhile, on the same volume; only its own deletion is refused too.
    let mut second = room.backup()?;
    second.walks(Step::Start)?;
    second.does(Step::Add)?;
    second.abort()?;
    std::thread::sleep(Duration::from_secs(4));
    let attempts = room
        .view()?
        .pointer("/debts/0/attempts")
        .and_then(|n| n.as_u64());
    if attempts.is_none_or(|attempts| attempts < 2) {
        return fail(format!("not tried again: {}", room.view()?));
    }
    drop(injection);
    // It outlives the process.
    lab.stop_agent(true)?;
    lab.start_agent()?;
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
