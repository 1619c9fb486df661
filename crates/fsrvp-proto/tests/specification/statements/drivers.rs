//! What a driver may do: come late, stop, start again into a world that has changed.

use super::{WRITABLE, added, committed, exposed, recovered, spec, started};
use crate::support::bench::{A, Bench, secs};
use crate::support::jobs::JobKind;
use crate::support::requests::{
    abort, add, commit, delete, expose, prepare, recovery, set_context, start, supported, unc,
};
use crate::support::world::Fate;
use fsrvp_idl::Status;
use fsrvp_proto::{Profile, SetStatus};

/// A call that comes after the deadline finds what the timer leaves, also if the driver has not
/// called `handle_timeout` yet.
#[test]
fn a_call_after_the_deadline_comes_too_late() {
    let mut bench = spec();
    let (set, _) = exposed(&mut bench, WRITABLE);
    bench.jump(secs(180));
    bench.expect(A, recovery(set), Status::FSRVP_E_SHADOWCOPYSET_ID_MISMATCH);
    bench.expect(A, start(), Status::FSRVP_E_BAD_STATE);
    bench.check_nothing_leaked();
}

#[test]
fn an_outcome_after_the_time_out_comes_too_late() {
    let mut bench = spec();
    let (set, _) = added(&mut bench, WRITABLE);
    bench.hold_jobs = true;
    let call = bench.send(A, commit(set, secs(30)));
    bench.jump(secs(30));
    let job = bench.job(JobKind::Commit);
    bench.finish(job, Fate::Succeed);
    assert_eq!(bench.answer(call), Some(Status::FSSAGENT_E_TIMEOUT));
    assert_eq!(bench.set_status(set), Some(SetStatus::CreationInProgress));
    bench.ok(commit(set, secs(30)));
}

/// Rule 6: "WAIT_FAILED: the job was lost (worker died, shutdown, set aborted under the waiter)".
#[test]
fn a_shutdown_answers_everybody() {
    let mut bench = spec();
    let (set, _) = added(&mut bench, WRITABLE);
    bench.hold_jobs = true;
    let commit_call = bench.send(A, commit(set, secs(60)));
    let look_up = bench.send(A, supported(unc("Data")));
    let job = bench.job(JobKind::Commit);
    bench.shutdown();
    assert_eq!(bench.answer(commit_call), Some(Status::FSRVP_E_WAIT_FAILED));
    assert!(bench.answer(look_up).is_some_and(|status| !status.is_ok()));
    assert!(bench.jobs[&job].cancelled);
    let late = bench.send(A, recovery(set));
    assert!(bench.answer(late).is_some_and(|status| !status.is_ok()));
    bench.hold_jobs = false;
    bench.restart(Fate::Succeed);
    assert_eq!(bench.set_status(set), Some(SetStatus::Added));
    bench.ok(commit(set, secs(60)));
}

/// A shutdown while a commit of the store is under way: no ZERO may be lost, none invented.
#[test]
fn a_shutdown_during_a_commit_of_the_store() {
    for good in [true, false] {
        let mut bench = spec();
        let set = started(&mut bench, WRITABLE);
        bench.hold_persists = true;
        let call = bench.send(A, abort(set));
        bench.shutdown();
        if bench.persists() > 0 {
            bench.settle(good);
        }
        let answer = bench.answer(call);
        assert!(answer.is_some(), "{}", bench.story());
        bench.hold_persists = false;
        bench.restart(Fate::Succeed);
        if answer == Some(Status::ZERO) {
            assert_eq!(bench.set_status(set), None);
        }
    }
}

/// Copies that vanished while we were away: what has nothing left goes, with its shares.
#[test]
fn copies_that_vanished_while_we_were_away() {
    for build in [committed as fn(&mut Bench, u32) -> _, exposed, recovered] {
        for profile in [Profile::Spec, Profile::Ws2012] {
            let mut bench = Bench::new(profile);
            let (set, _) = build(&mut bench, WRITABLE);
            bench.world.snapshots.clear();
            bench.restart(Fate::Succeed);
            assert_eq!(bench.set_status(set), None);
            bench.advance(secs(7200));
            bench.check_nothing_leaked();
            bench.ok(set_context(WRITABLE));
        }
    }
}

/// One of two copies vanished: the other goes on.
#[test]
fn one_copy_that_vanished_while_we_were_away() {
    let mut bench = spec();
    let (set, first) = added(&mut bench, WRITABLE);
    let second = bench.added(set, &unc("Other"));
    bench.ok(prepare(set, secs(60)));
    bench.ok(commit(set, secs(60)));
    bench.ok(expose(set, secs(60)));
    bench.ok(recovery(set));
    bench.world.snapshots.remove(&first);
    bench.restart(Fate::Succeed);
    assert_eq!(bench.set_status(set), Some(SetStatus::Recovered));
    bench.expect(
        A,
        delete(set, first, unc("Data")),
        Status::FSRVP_E_OBJECT_NOT_FOUND,
    );
    bench.ok(delete(set, second, unc("Other")));
    bench.advance(secs(7200));
    bench.check_nothing_leaked();
}

/// Deleting what a copy needs never waits for another set's job on another volume.
#[test]
fn a_blocked_job_holds_up_nobody_else() {
    let mut bench = spec();
    let (old, copy) = recovered(&mut bench, WRITABLE);
    let set = started(&mut bench, WRITABLE);
    bench.added(set, &unc("Other"));
    bench.hold_jobs = true;
    bench.send(A, commit(set, secs(60)));
    let call = bench.send(A, delete(old, copy, unc("Data")));
    for _ in 0..4 {
        for job in bench.jobs_of(JobKind::Remove) {
            bench.finish(job, Fate::Succeed);
        }
    }
    assert_eq!(bench.answer(call), Some(Status::ZERO));
    let late = bench.send(A, add(set, unc("hidden$")));
    let job = bench.job(JobKind::Locate);
    bench.finish(job, Fate::Succeed);
    assert_eq!(bench.answer(late), Some(Status::FSRVP_E_BAD_STATE));
}
