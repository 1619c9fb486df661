//! Prepare, Commit and Expose: the wait is not the work (rules 6, 7 and 18).

use super::{WRITABLE, added, committed, spec};
use crate::support::bench::{A, B, Bench, secs};
use crate::support::jobs::JobKind;
use crate::support::requests::{abort, add, commit, expose, prepare, set_context, start, unc};
use crate::support::world::Fate;
use fsrvp_idl::{Request, ShadowCopySetId, Status};
use fsrvp_proto::job::{Artefact, FailureKind, Job};
use fsrvp_proto::{Event, SetStatus};
use std::time::Duration;

const ZERO: Status = Status::ZERO;
const WAIT_TIMEOUT: Status = Status::FSRVP_E_WAIT_TIMEOUT;
const WAIT_FAILED: Status = Status::FSRVP_E_WAIT_FAILED;

/// One of the three methods that wait.
struct Method {
    kind: JobKind,
    call: fn(ShadowCopySetId, Duration) -> Request,
    build: fn(&mut Bench, u32) -> (ShadowCopySetId, fsrvp_idl::ShadowCopyId),
    /// Status while the job runs after the wait has ended.
    while_running: SetStatus,
    /// Status after a failure, and before the call.
    before: SetStatus,
    after: SetStatus,
    too_late: Status,
    /// Seconds on the timer after success.
    timer: u64,
}

const METHODS: [Method; 3] = [
    Method {
        kind: JobKind::Prepare,
        call: prepare,
        build: added,
        while_running: SetStatus::Added,
        before: SetStatus::Added,
        after: SetStatus::Added,
        too_late: WAIT_TIMEOUT,
        timer: 1800,
    },
    Method {
        kind: JobKind::Commit,
        call: commit,
        build: added,
        while_running: SetStatus::CreationInProgress,
        before: SetStatus::Added,
        after: SetStatus::Committed,
        too_late: Status::FSSAGENT_E_TIMEOUT,
        timer: 180,
    },
    Method {
        kind: JobKind::Expose,
        call: expose,
        build: committed,
        while_running: SetStatus::Committed,
        before: SetStatus::Committed,
        after: SetStatus::Exposed,
        too_late: WAIT_TIMEOUT,
        timer: 180,
    },
];

fn scene(method: &Method) -> (Bench, ShadowCopySetId) {
    let mut bench = spec();
    let (set, _) = (method.build)(&mut bench, WRITABLE);
    bench.advance(secs(5));
    bench.hold_jobs = true;
    (bench, set)
}

/// Ends the removals that clear up after a failure.
fn undo(bench: &mut Bench) {
    for job in bench.jobs_of(JobKind::Remove) {
        bench.finish(job, Fate::Succeed);
    }
}

/// "completes within TimeOutInMilliseconds": the timer stands still meanwhile.
#[test]
fn success_within_the_time_out() {
    for method in &METHODS {
        let (mut bench, set) = scene(method);
        let call = bench.send(A, (method.call)(set, secs(300)));
        assert_eq!(bench.timer(), None, "{:?}", method.kind);
        bench.advance(secs(299));
        assert_eq!(bench.answer(call), None);
        let job = bench.job(method.kind);
        bench.finish(job, Fate::Succeed);
        assert_eq!(bench.answer(call), Some(ZERO));
        assert_eq!(bench.set_status(set), Some(method.after));
        assert_eq!(bench.timer(), Some(secs(method.timer)));
    }
}

/// "does not complete within TimeOutInMilliseconds": code, 180 s, the job goes on; a late success
/// is returned by the next call at once.
#[test]
fn late_success_is_returned_by_the_next_call() {
    for method in &METHODS {
        let (mut bench, set) = scene(method);
        let call = bench.send(A, (method.call)(set, secs(30)));
        bench.advance(secs(30));
        assert_eq!(bench.answer(call), Some(method.too_late));
        assert_eq!(bench.timer(), Some(secs(180)));
        assert_eq!(bench.set_status(set), Some(method.while_running));
        let job = bench.job(method.kind);
        assert!(!bench.jobs[&job].cancelled);
        bench.finish(job, Fate::Succeed);
        // "State changes only inside a call."
        assert_eq!(bench.set_status(set), Some(method.while_running));
        bench.advance(secs(10));
        let again = bench.send(B, (method.call)(set, Duration::ZERO));
        assert_eq!(bench.answer(again), Some(ZERO));
        assert_eq!(bench.set_status(set), Some(method.after));
        assert_eq!(bench.timer(), Some(secs(method.timer)));
    }
}

/// "a late failure is undone and returned once".
#[test]
fn late_failure_is_returned_once() {
    for method in &METHODS {
        let (mut bench, set) = scene(method);
        bench.send(A, (method.call)(set, secs(30)));
        bench.advance(secs(30));
        let job = bench.job(method.kind);
        bench.finish(job, Fate::Fail(FailureKind::NoSpace));
        bench.expect(
            A,
            (method.call)(set, secs(60)),
            Status::VSS_E_INSUFFICIENT_STORAGE,
        );
        assert_eq!(bench.set_status(set), Some(method.before));
        assert_eq!(bench.timer(), Some(secs(180)));
        let again = bench.send(A, (method.call)(set, secs(60)));
        assert_eq!(bench.answer(again), None, "a new job");
        undo(&mut bench);
        let job = bench.job(method.kind);
        bench.finish(job, Fate::Succeed);
        assert_eq!(bench.answer(again), Some(ZERO));
    }
}

/// "return the same error code to the caller", by the page's list of codes; 180 s.
#[test]
fn a_jobs_error_is_passed_on() {
    for method in &METHODS {
        for (kind, status) in [
            (FailureKind::NoSpace, Status(0x8004_231F)),
            (FailureKind::Deadline, Status(0x8004_2314)),
            (FailureKind::NotFound, Status(0x8004_2308)),
            (FailureKind::Unsupported, Status(0x8004_230C)),
            (FailureKind::Busy, Status(0x8004_230F)),
            (FailureKind::Other, Status(0x8004_230F)),
            (FailureKind::Lost, Status(0xFFFF_FFFF)),
        ] {
            let (mut bench, set) = scene(method);
            let call = bench.send(A, (method.call)(set, secs(60)));
            let job = bench.job(method.kind);
            bench.finish(job, Fate::Fail(kind));
            assert_eq!(
                bench.answer(call),
                Some(status),
                "{:?} {kind:?}",
                method.kind
            );
            assert_eq!(bench.set_status(set), Some(method.before));
            assert_eq!(bench.timer(), Some(secs(180)));
        }
    }
}

/// Time-out 0: "the job is started, ZERO only if it is already done".
#[test]
fn no_time_to_wait_starts_the_job() {
    for method in &METHODS {
        let (mut bench, set) = scene(method);
        let call = bench.send(A, (method.call)(set, Duration::ZERO));
        assert_eq!(bench.answer(call), Some(method.too_late));
        assert_eq!(bench.timer(), Some(secs(180)));
        let job = bench.job(method.kind);
        let call = bench.send(A, (method.call)(set, Duration::ZERO));
        assert_eq!(bench.answer(call), Some(method.too_late));
        assert_eq!(bench.job(method.kind), job, "the same job");
    }
}

/// "A second call of the same method joins the running job with its own time-out"; "the end of
/// the last wait starts" the timer.
#[test]
fn a_second_call_joins_the_job() {
    for method in &METHODS {
        let (mut bench, set) = scene(method);
        let short = bench.send(A, (method.call)(set, secs(40)));
        bench.advance(secs(10));
        let long = bench.send(B, (method.call)(set, secs(60)));
        let job = bench.job(method.kind);
        bench.advance(secs(30));
        assert_eq!(bench.answer(short), Some(method.too_late));
        assert_eq!(bench.timer(), None, "somebody still waits");
        bench.finish(job, Fate::Succeed);
        assert_eq!(bench.answer(long), Some(ZERO));
        assert_eq!(bench.timer(), Some(secs(method.timer)));
    }
}

/// "waits are capped by max_wait, 1800 s".
#[test]
fn waits_are_capped() {
    for method in &METHODS {
        let (mut bench, set) = scene(method);
        let call = bench.send(
            A,
            (method.call)(set, Duration::from_millis(u64::from(u32::MAX))),
        );
        bench.advance(secs(1799));
        assert_eq!(bench.answer(call), None);
        bench.advance(secs(1));
        assert_eq!(bench.answer(call), Some(method.too_late));
    }
}

/// "a caller that vanished counts as waiting to its time-out", and what its job brings counts.
#[test]
fn a_vanished_caller_waits_to_its_time_out() {
    for method in &METHODS {
        let (mut bench, set) = scene(method);
        let call = bench.send(A, (method.call)(set, secs(400)));
        bench.vanish(call);
        bench.advance(secs(399));
        assert_eq!(bench.timer(), None);
        assert_eq!(bench.set_status(set), Some(method.while_running));
        let job = bench.job(method.kind);
        bench.finish(job, Fate::Succeed);
        assert_eq!(bench.set_status(set), Some(method.after));
        assert_eq!(bench.timer(), Some(secs(method.timer)));
    }
}

#[test]
fn a_vanished_callers_time_out_starts_the_timer() {
    for method in &METHODS {
        let (mut bench, set) = scene(method);
        let call = bench.send(A, (method.call)(set, secs(400)));
        bench.vanish(call);
        bench.advance(secs(400));
        assert_eq!(bench.timer(), Some(secs(180)));
        bench.advance(secs(180));
        assert_eq!(bench.set_status(set), None);
        assert!(!bench.view().context.is_set);
    }
}

/// WAIT_FAILED: "set aborted under the waiter".
#[test]
fn a_set_aborted_under_its_waiter() {
    for method in &METHODS {
        for replace in [false, true] {
            let (mut bench, set) = scene(method);
            let call = bench.send(A, (method.call)(set, secs(60)));
            let job = bench.job(method.kind);
            let end = if replace {
                set_context(WRITABLE)
            } else {
                abort(set)
            };
            let end = bench.send(A, end);
            assert_eq!(bench.answer(call), Some(WAIT_FAILED), "{:?}", method.kind);
            assert_eq!(bench.set_status(set), None);
            assert_eq!(
                bench.answer(end),
                Some(ZERO),
                "does not wait for a blocked ioctl"
            );
            assert!(bench.jobs[&job].cancelled, "the job is told to stop");
        }
    }
}

/// Rule 18: "what it still delivers is deleted by its owner", and not before it has ended.
#[test]
fn what_a_cancelled_job_delivers_is_removed() {
    for fate in [
        Fate::Succeed,
        Fate::LostHalfDone,
        Fate::LostDone,
        Fate::Fail(FailureKind::Lost),
    ] {
        for method in &METHODS {
            let (mut bench, set) = scene(method);
            bench.send(A, (method.call)(set, secs(1)));
            bench.advance(secs(1));
            bench.ok(abort(set));
            let job = bench.job(method.kind);
            bench.finish(job, fate);
            bench.hold_jobs = false;
            bench.advance(secs(7200));
            assert_eq!(bench.world.snapshots.len() + bench.world.exposed.len(), 0);
            bench.check_nothing_leaked();
        }
    }
}

/// Rule 18: "A new set may start" while the old job still blocks.
#[test]
fn a_new_set_starts_beside_the_old_job() {
    let (mut bench, set) = scene(&METHODS[1]);
    bench.send(A, commit(set, secs(1)));
    bench.advance(secs(1));
    bench.ok(abort(set));
    bench.expect(B, set_context(WRITABLE), ZERO);
    bench.expect(B, start(), ZERO);
    let set = bench.view().sets[0].id;
    let old = bench.job(JobKind::Commit);
    // "the volume refuses until the old job has ended"; others do not.
    for (share, status) in [
        ("Data", Status::VSS_E_UNEXPECTED_PROVIDER_ERROR),
        ("Other", ZERO),
    ] {
        let call = bench.send(B, add(set, unc(share)));
        let look_up = bench.job(JobKind::Locate);
        bench.finish(look_up, Fate::Succeed);
        assert_eq!(bench.answer(call), Some(status), "{share}");
    }
    bench.finish(old, Fate::Succeed);
    bench.hold_jobs = false;
    bench.pump();
    bench.expect(B, add(set, unc("Data")), ZERO);
    bench.advance(secs(170));
    assert_eq!(bench.world.snapshots.len(), 0);
    assert_eq!(bench.view().sets.len(), 1);
}

/// "Commit during a Prepare job first waits for it", inside its own time-out.
#[test]
fn commit_waits_for_a_running_prepare() {
    let (mut bench, set) = scene(&METHODS[0]);
    let prepare = bench.send(A, prepare(set, secs(600)));
    let call = bench.send(A, commit(set, secs(60)));
    assert_eq!(bench.set_status(set), Some(SetStatus::CreationInProgress));
    assert_eq!(bench.jobs_of(JobKind::Commit), []);
    let job = bench.job(JobKind::Prepare);
    bench.advance(secs(20));
    bench.finish(job, Fate::Succeed);
    assert_eq!(bench.answer(prepare), Some(ZERO));
    let job = bench.job(JobKind::Commit);
    match &bench.jobs[&job].job {
        Job::Commit { unprepared, .. } => assert!(unprepared.is_empty()),
        other => panic!("{other:?}"),
    }
    bench.advance(secs(39));
    bench.finish(job, Fate::Succeed);
    assert_eq!(bench.answer(call), Some(ZERO));
    assert_eq!(bench.set_status(set), Some(SetStatus::Committed));
}

/// "Prepare in CreationInProgress: BAD_STATE", Add and Delete too (rule 20).
#[test]
fn nothing_but_commit_abort_and_set_context_is_legal_during_creation() {
    let (mut bench, set) = scene(&METHODS[1]);
    bench.send(A, commit(set, secs(60)));
    bench.expect(A, prepare(set, secs(60)), Status::FSRVP_E_BAD_STATE);
    bench.expect(A, expose(set, secs(60)), Status::FSRVP_E_BAD_STATE);
    bench.hold_jobs = true;
    let late = bench.send(A, add(set, unc("Other")));
    let look_up = bench.job(JobKind::Locate);
    bench.finish(look_up, Fate::Succeed);
    assert_eq!(bench.answer(late), Some(Status::FSRVP_E_BAD_STATE));
}

/// "Commit error: every snapshot of the set undone, Added", also of a job that was lost on its
/// way; and Commit may be repeated.
#[test]
fn a_failed_commit_leaves_nothing_and_may_be_repeated() {
    for fate in [
        Fate::Fail(FailureKind::Deadline),
        Fate::LostHalfDone,
        Fate::LostDone,
    ] {
        let (mut bench, set) = scene(&METHODS[1]);
        let call = bench.send(A, commit(set, secs(60)));
        let job = bench.job(JobKind::Commit);
        bench.hold_jobs = false;
        bench.hold_jobs = true;
        bench.finish(job, fate);
        bench.hold_jobs = false;
        bench.pump();
        assert!(bench.answer(call).is_some_and(|status| !status.is_ok()));
        assert_eq!(bench.set_status(set), Some(SetStatus::Added));
        assert_eq!(
            bench.world.snapshots.len(),
            0,
            "{fate:?}\n{}",
            bench.story()
        );
        bench.ok(commit(set, secs(60)));
        assert_eq!(bench.world.snapshots.len(), 1);
    }
}

/// "Expose error: shares withdrawn, snapshots kept, Committed."
#[test]
fn a_failed_expose_keeps_the_snapshots_and_may_be_repeated() {
    for fate in [
        Fate::Fail(FailureKind::Other),
        Fate::LostHalfDone,
        Fate::LostDone,
    ] {
        let (mut bench, set) = scene(&METHODS[2]);
        let call = bench.send(A, expose(set, secs(60)));
        let job = bench.job(JobKind::Expose);
        bench.finish(job, fate);
        bench.hold_jobs = false;
        bench.pump();
        assert!(bench.answer(call).is_some_and(|status| !status.is_ok()));
        assert_eq!(bench.set_status(set), Some(SetStatus::Committed));
        assert_eq!(
            (bench.world.snapshots.len(), bench.world.exposed.len()),
            (1, 0),
            "{fate:?}"
        );
        bench.ok(expose(set, secs(60)));
        assert_eq!(bench.world.exposed.len(), 1);
    }
}

/// Rule 7: event 4089 on success; 4364 for a cut of more than 10 s "whether it succeeded or not".
#[test]
fn commit_events() {
    for (took, fate, slow) in [
        (10, Fate::Succeed, false),
        (11, Fate::Succeed, true),
        (11, Fate::Fail(FailureKind::Deadline), true),
    ] {
        let (mut bench, set) = scene(&METHODS[1]);
        bench.send(A, commit(set, secs(60)));
        bench.advance(secs(took));
        let job = bench.job(JobKind::Commit);
        bench.finish(job, fate);
        let has = |wanted: fn(&Event) -> bool| bench.events.iter().any(wanted);
        assert_eq!(has(|e| matches!(e, Event::CommitSlow { .. })), slow);
        assert_eq!(
            has(|e| matches!(e, Event::Committed { .. })),
            fate == Fate::Succeed
        );
    }
}

/// A removal never names what belongs to another set.
#[test]
fn abort_removes_its_own_artefacts_only() {
    let mut bench = spec();
    let (kept, _) = super::recovered(&mut bench, WRITABLE);
    let (set, copy) = super::exposed(&mut bench, WRITABLE);
    bench.hold_jobs = true;
    bench.send(A, abort(set));
    let name = format!("Data@{{{copy}}}");
    for running in bench.jobs.values() {
        let Job::Remove { artefacts } = &running.job else {
            panic!("{:?}", running.job);
        };
        for artefact in artefacts {
            match artefact {
                Artefact::Share(share) => assert_eq!(*share, name),
                Artefact::Copy(reference) => assert_eq!(reference.copy, copy),
            }
        }
    }
    bench.hold_jobs = false;
    bench.pump();
    assert_eq!(bench.set_status(kept), Some(SetStatus::Recovered));
    bench.check_nothing_leaked();
}
