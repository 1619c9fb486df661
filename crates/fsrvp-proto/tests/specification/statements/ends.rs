//! RecoveryComplete, Abort and DeleteShareMapping: sections 3.1.4.7, 3.1.4.8 and 3.1.4.12.

use super::{READ_ONLY, WRITABLE, added, committed, exposed, recovered, spec, started};
use crate::support::bench::{A, Bench, secs};
use crate::support::jobs::JobKind;
use crate::support::requests::{
    UNKNOWN_SET, abort, commit, delete, expose, mapping, recovery, set_context, start, unc,
};
use crate::support::world::Fate;
use fsrvp_idl::{ShadowCopyId, ShadowCopySetId, Status};
use fsrvp_proto::job::{Artefact, FailureKind};
use fsrvp_proto::{EndReason, Event, Profile, SetStatus};

const NOT_FOUND: Status = Status::FSRVP_E_OBJECT_NOT_FOUND;
const OTHER: Status = Status::VSS_E_UNEXPECTED_PROVIDER_ERROR;

/// Ends all removals that run, in this way.
fn remove(bench: &mut Bench, fate: Fate) {
    for job in bench.jobs_of(JobKind::Remove) {
        bench.finish(job, fate);
    }
}

/// "set the shadow copy [...] to read-only": the share, what was open, and the snapshot, before
/// the reply; then ContextSet FALSE and the address NULL.
#[test]
fn recovery_complete_seals_before_it_answers() {
    let mut bench = spec();
    let (set, copy) = exposed(&mut bench, WRITABLE);
    bench.hold_jobs = true;
    let call = bench.send(A, recovery(set));
    assert_eq!(bench.answer(call), None);
    assert_eq!(bench.timer(), None);
    assert_eq!(bench.set_status(set), Some(SetStatus::Exposed));
    let job = bench.job(JobKind::Seal);
    bench.finish(job, Fate::Succeed);
    assert_eq!(bench.answer(call), Some(Status::ZERO));
    assert!(bench.world.snapshots[&copy].sealed);
    assert!(bench.world.exposed.values().all(|share| !share.writable));
    assert_eq!(bench.set_status(set), Some(SetStatus::Recovered));
    let context = bench.view().context;
    assert!(!context.is_set);
    assert_eq!(context.client_address, None);
    assert_eq!(bench.agent.poll_timeout(), None);
}

/// Rule 12: contexts without AUTO_RECOVERY "are read-only from the start and need no seal".
#[test]
fn a_read_only_set_needs_no_seal() {
    let mut bench = spec();
    let (set, _) = exposed(&mut bench, READ_ONLY);
    bench.hold_jobs = true;
    bench.ok(recovery(set));
    assert!(bench.jobs.is_empty());
    assert_eq!(bench.set_status(set), Some(SetStatus::Recovered));
}

/// Rule 12: "Cannot seal: state Exposed, share stays read-only, timer 180 s, the backend's code,
/// may be repeated."
#[test]
fn a_seal_that_fails_may_be_repeated() {
    let mut bench = spec();
    let (set, _) = exposed(&mut bench, WRITABLE);
    bench.advance(secs(9));
    bench.hold_jobs = true;
    let call = bench.send(A, recovery(set));
    let job = bench.job(JobKind::Seal);
    bench.finish(job, Fate::Fail(FailureKind::Other));
    assert_eq!(bench.answer(call), Some(OTHER));
    assert_eq!(bench.set_status(set), Some(SetStatus::Exposed));
    assert_eq!(bench.timer(), Some(secs(180)));
    assert!(bench.view().context.is_set);
    assert!(bench.world.exposed.values().all(|share| !share.writable));
    let call = bench.send(A, recovery(set));
    let job = bench.job(JobKind::Seal);
    bench.finish(job, Fate::Succeed);
    assert_eq!(bench.answer(call), Some(Status::ZERO));
}

/// Rule 18: RecoveryComplete answers within 170 s.
#[test]
fn recovery_complete_answers_in_time() {
    let mut bench = spec();
    let (set, _) = exposed(&mut bench, WRITABLE);
    bench.hold_jobs = true;
    let call = bench.send(A, recovery(set));
    bench.advance(secs(170));
    assert!(bench.answer(call).is_some_and(|status| !status.is_ok()));
    assert_eq!(bench.set_status(set), Some(SetStatus::Exposed));
    // The seal goes on, and the next call returns what came of it.
    let job = bench.job(JobKind::Seal);
    bench.finish(job, Fate::Succeed);
    bench.hold_jobs = false;
    bench.ok(recovery(set));
    assert_eq!(bench.set_status(set), Some(SetStatus::Recovered));
}

/// Rule 12: "the share can be connected to throughout"; an Abort in the middle still wins.
#[test]
fn abort_under_a_seal() {
    let mut bench = spec();
    let (set, _) = exposed(&mut bench, WRITABLE);
    bench.hold_jobs = true;
    let seal = bench.send(A, recovery(set));
    let job = bench.job(JobKind::Seal);
    let end = bench.send(A, abort(set));
    assert_eq!(bench.answer(seal), Some(Status::FSRVP_E_WAIT_FAILED));
    assert!(bench.jobs[&job].cancelled);
    bench.finish(job, Fate::Succeed);
    remove(&mut bench, Fate::Succeed);
    assert_eq!(bench.answer(end), Some(Status::ZERO));
    bench.hold_jobs = false;
    bench.advance(secs(7200));
    bench.check_nothing_leaked();
}

/// "fail the call with E_INVALIDARG if ShadowCopySetId is set to NULL", and the unknown set.
#[test]
fn abort_of_nothing() {
    let mut bench = spec();
    bench.expect(A, abort(ShadowCopySetId::NULL), Status::E_INVALIDARG);
    bench.expect(
        A,
        abort(UNKNOWN_SET),
        Status::FSRVP_E_SHADOWCOPYSET_ID_MISMATCH,
    );
}

/// Rule 13: "removes snapshots and shares in any state short of Recovered".
#[test]
fn abort_in_every_state() {
    let begin = |bench: &mut Bench, context| (started(bench, context), ShadowCopyId::NULL);
    for build in [begin, added, committed, exposed] {
        let mut bench = spec();
        let (set, _) = build(&mut bench, WRITABLE);
        bench.ok(abort(set));
        assert_eq!(bench.world.snapshots.len() + bench.world.exposed.len(), 0);
        let context = bench.view().context;
        assert_eq!((context.is_set, context.client_address), (false, None));
        assert_eq!(bench.agent.poll_timeout(), None, "timer stopped");
        bench.expect(A, start(), Status::FSRVP_E_BAD_STATE);
        bench.check_nothing_leaked();
        let ended = |e: &Event| {
            matches!(
                e,
                Event::SetEnded {
                    reason: EndReason::Aborted,
                    ..
                }
            )
        };
        assert!(bench.events.iter().any(ended));
    }
}

/// Rule 13: "Recovered: BAD_STATE and nothing changes."
#[test]
fn abort_of_a_recovered_set_changes_nothing() {
    let mut bench = spec();
    let (set, _) = recovered(&mut bench, WRITABLE);
    bench.ok(set_context(WRITABLE));
    let before = bench.view();
    bench.expect(A, abort(set), Status::FSRVP_E_BAD_STATE);
    assert_eq!(bench.view(), before);
}

/// <6> is not imitated: a new set may start at once.
#[test]
fn a_new_set_may_start_right_after_abort() {
    let mut bench = spec();
    let (set, _) = exposed(&mut bench, WRITABLE);
    bench.ok(abort(set));
    exposed(&mut bench, WRITABLE);
}

/// Rule 13: "If a delete fails: shares withdrawn, set gone, context off, leftovers kept as debts,
/// retried and shown; the reply is the backend's code."
#[test]
fn abort_whose_delete_fails() {
    let mut bench = spec();
    let (set, _) = exposed(&mut bench, WRITABLE);
    bench.hold_jobs = true;
    let call = bench.send(A, abort(set));
    while !bench.jobs_of(JobKind::Remove).is_empty() && bench.answer(call).is_none() {
        remove(&mut bench, Fate::FailCopies);
    }
    assert_eq!(bench.answer(call), Some(OTHER));
    assert_eq!(bench.set_status(set), None);
    assert!(!bench.view().context.is_set);
    assert_eq!(bench.world.exposed.len(), 0);
    let owed = |bench: &Bench| {
        let debts = bench.view().debts;
        debts
            .iter()
            .filter(|debt| matches!(debt.artefact, Artefact::Copy(_)))
            .count()
    };
    assert_eq!(owed(&bench), 1);
    assert_eq!(bench.world.snapshots.len(), 1);
    let kept = |e: &Event| matches!(e, Event::DebtKept { .. });
    assert!(bench.events.iter().any(kept));
    // Retried until it is paid; also after a restart.
    bench.restart(Fate::LostHalfDone);
    assert_eq!(owed(&bench), 1);
    bench.hold_jobs = false;
    bench.pump();
    bench.advance(secs(7200));
    bench.check_nothing_leaked();
}

/// Rule 13: "SetContext and the timer ignore such errors."
#[test]
fn set_context_ignores_a_delete_that_fails() {
    let mut bench = spec();
    exposed(&mut bench, WRITABLE);
    bench.hold_jobs = true;
    let call = bench.send(A, set_context(READ_ONLY));
    while !bench.jobs_of(JobKind::Remove).is_empty() && bench.answer(call).is_none() {
        remove(&mut bench, Fate::Fail(FailureKind::Other));
    }
    assert_eq!(bench.answer(call), Some(Status::ZERO));
    remove(&mut bench, Fate::Fail(FailureKind::Other));
    assert_eq!(bench.view().debts.len(), 2);
}

/// Rule 18: Abort, SetContext and Delete answer within 170 s, and the rest becomes a debt.
#[test]
fn removals_that_block_do_not_hold_the_reply() {
    for request in [abort as fn(_) -> _, |_| set_context(WRITABLE)] {
        let mut bench = spec();
        let (set, _) = exposed(&mut bench, WRITABLE);
        bench.hold_jobs = true;
        let call = bench.send(A, request(set));
        bench.advance(secs(170));
        assert!(bench.answer(call).is_some());
        assert_eq!(bench.set_status(set), None);
        assert!(!bench.view().debts.is_empty());
        bench.hold_jobs = false;
        bench.pump();
        bench.advance(secs(7200));
        bench.check_nothing_leaked();
    }
}

#[test]
fn delete_answers_in_time() {
    let mut bench = spec();
    let (set, copy) = recovered(&mut bench, WRITABLE);
    bench.hold_jobs = true;
    let call = bench.send(A, delete(set, copy, unc("Data")));
    bench.advance(secs(170));
    assert!(bench.answer(call).is_some());
    bench.hold_jobs = false;
    bench.pump();
    bench.advance(secs(7200));
    bench.check_nothing_leaked();
}

/// "delete the file share [...] delete the MappedShare [...] remove the shadow copy [...]
/// remove the ShadowCopySet", one level at a time, others kept.
#[test]
fn delete_takes_exactly_what_it_names() {
    for finish in [exposed as fn(&mut Bench, u32) -> _, recovered] {
        let mut bench = Bench::new(Profile::Spec);
        finish(&mut bench, WRITABLE);
        bench.advance(secs(181));
        bench.ok(set_context(WRITABLE));
        let set = bench.started();
        let data = bench.added(set, &unc("Data"));
        let other = bench.added(set, &unc("Other"));
        bench.ok(commit(set, secs(60)));
        bench.ok(expose(set, secs(60)));
        let (snapshots, shares) = (bench.world.snapshots.len(), bench.world.exposed.len());
        // The share of another copy of the set is no mapping of this copy.
        bench.expect(A, delete(set, data, unc("Other")), NOT_FOUND);
        let timer = bench.timer();
        bench.ok(delete(set, data, unc("Data")));
        assert_eq!(bench.timer(), timer, "the timer goes on");
        assert_eq!(bench.world.snapshots.len(), snapshots - 1);
        assert_eq!(bench.world.exposed.len(), shares - 1);
        assert_eq!(bench.set_status(set), Some(SetStatus::Exposed));
        bench.expect(A, delete(set, data, unc("Data")), NOT_FOUND);
        bench.ok(mapping(set, other, unc("Other")));
        bench.ok(delete(set, other, unc("Other")));
        assert_eq!(bench.set_status(set), None);
        bench.expect(A, delete(set, other, unc("Other")), NOT_FOUND);
        assert!(!bench.view().context.is_set, "like Abort");
        bench.check_nothing_leaked();
    }
}

/// A Recovered set's last mapping leaves the context of a newer set alone.
#[test]
fn deleting_a_recovered_set_leaves_the_newer_context() {
    let mut bench = spec();
    let (set, copy) = recovered(&mut bench, WRITABLE);
    let newer = started(&mut bench, WRITABLE);
    bench.advance(secs(100));
    bench.ok(delete(set, copy, unc("Data")));
    assert!(bench.view().context.is_set);
    assert_eq!(bench.set_status(newer), Some(SetStatus::Started));
    assert_eq!(bench.timer(), Some(secs(80)));
}

/// Rule 14: "Share cannot be withdrawn: error, nothing changed."
#[test]
fn delete_of_a_share_that_cannot_be_withdrawn() {
    for build in [exposed as fn(&mut Bench, u32) -> _, recovered] {
        let mut bench = spec();
        let (set, copy) = build(&mut bench, WRITABLE);
        let before = bench.view().sets;
        bench.hold_jobs = true;
        let call = bench.send(A, delete(set, copy, unc("Data")));
        while !bench.jobs_of(JobKind::Remove).is_empty() && bench.answer(call).is_none() {
            remove(&mut bench, Fate::FailShares);
        }
        assert_eq!(bench.answer(call), Some(OTHER));
        assert_eq!(bench.view().sets, before);
        assert_eq!(
            (bench.world.snapshots.len(), bench.world.exposed.len()),
            (1, 1)
        );
        assert_eq!(bench.view().debts, []);
        bench.hold_jobs = false;
        bench.pump();
        bench.ok(delete(set, copy, unc("Data")));
        bench.check_nothing_leaked();
    }
}

/// Rule 14: "The reply goes out when share *and* snapshot are out of sight".
#[test]
fn delete_answers_after_share_and_snapshot_are_gone() {
    let mut bench = spec();
    let (set, copy) = recovered(&mut bench, WRITABLE);
    bench.hold_jobs = true;
    let call = bench.send(A, delete(set, copy, unc("Data")));
    for _ in 0..10 {
        let gone = bench.world.snapshots.is_empty() && bench.world.exposed.is_empty();
        assert!(bench.answer(call).is_none() || gone);
        remove(&mut bench, Fate::Succeed);
    }
    assert_eq!(bench.answer(call), Some(Status::ZERO));
}

/// Delete is legal in Exposed and Recovered only.
#[test]
fn delete_before_exposed() {
    for build in [added as fn(&mut Bench, u32) -> _, committed] {
        let mut bench = spec();
        let (set, copy) = build(&mut bench, WRITABLE);
        bench.expect(A, delete(set, copy, unc("Data")), Status::FSRVP_E_BAD_STATE);
    }
}

/// Rules 14 and 17: whatever keeps a Delete from being recorded, the share is put back; and rule
/// 12: one that a seal has closed is put back closed.
#[test]
fn a_share_is_put_back_as_it_was() {
    for sealed in [
        None,
        Some(Fate::Succeed),
        Some(Fate::Fail(FailureKind::Other)),
    ] {
        for lost in [false, true] {
            let mut bench = spec();
            let (set, copy) = exposed(&mut bench, WRITABLE);
            bench.hold_jobs = true;
            if let Some(fate) = sealed {
                bench.store_broken = fate == Fate::Succeed;
                bench.send(A, recovery(set));
                let job = bench.job(JobKind::Seal);
                bench.finish(job, fate);
                assert_eq!(bench.set_status(set), Some(SetStatus::Exposed));
            }
            bench.store_broken = !lost;
            let call = bench.send(A, delete(set, copy, unc("Data")));
            remove(
                &mut bench,
                if lost { Fate::LostDone } else { Fate::Succeed },
            );
            assert!(bench.answer(call).is_some_and(|status| !status.is_ok()));
            bench.store_broken = false;
            bench.hold_jobs = false;
            bench.pump();
            let shares: Vec<bool> = bench.world.exposed.values().map(|s| s.writable).collect();
            assert_eq!(
                shares,
                [sealed.is_none()],
                "{sealed:?} {lost}\n{}",
                bench.story()
            );
            bench.ok(delete(set, copy, unc("Data")));
            bench.check_nothing_leaked();
        }
    }
}
