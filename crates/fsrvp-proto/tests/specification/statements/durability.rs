//! Persist, then reply; start-up and reload: sections 3.1.3 and 3.1.4, rule 17.

use super::{READ_ONLY, WRITABLE, added, committed, exposed, recovered, spec, started};
use crate::support::bench::{A, B, Bench, secs};
use crate::support::jobs::JobKind;
use crate::support::requests::{
    abort, add, commit, delete, expose, mapping, prepare, recovery, set_context, start, unc,
};
use crate::support::world::Fate;
use fsrvp_idl::{Request, ShadowCopyId, ShadowCopySetId, Status};
use fsrvp_proto::job::FailureKind;
use fsrvp_proto::{Profile, SetStatus};

const STORE_FAILED: Status = Status::VSS_E_UNEXPECTED_PROVIDER_ERROR;

type Build = fn(&mut Bench, u32) -> (ShadowCopySetId, ShadowCopyId);
type Make = fn(ShadowCopySetId, ShadowCopyId) -> Request;

fn begin(bench: &mut Bench, context: u32) -> (ShadowCopySetId, ShadowCopyId) {
    (started(bench, context), ShadowCopyId::NULL)
}

fn context_only(bench: &mut Bench, context: u32) -> (ShadowCopySetId, ShadowCopyId) {
    bench.ok(set_context(context));
    (ShadowCopySetId::NULL, ShadowCopyId::NULL)
}

fn nothing(_: &mut Bench, _: u32) -> (ShadowCopySetId, ShadowCopyId) {
    (ShadowCopySetId::NULL, ShadowCopyId::NULL)
}

/// Every call that changes the table, in a state where it succeeds.
const CHANGES: &[(Build, Make)] = &[
    (nothing, |_, _| set_context(WRITABLE)),
    (exposed, |_, _| set_context(WRITABLE)),
    (context_only, |_, _| start()),
    (begin, |set, _| add(set, unc("Data"))),
    (added, |set, _| add(set, unc("Other"))),
    (added, |set, _| commit(set, secs(60))),
    (committed, |set, _| expose(set, secs(60))),
    (exposed, |set, _| recovery(set)),
    (begin, |set, _| abort(set)),
    (committed, |set, _| abort(set)),
    (exposed, |set, _| abort(set)),
    (exposed, |set, copy| delete(set, copy, unc("Data"))),
    (recovered, |set, copy| delete(set, copy, unc("Data"))),
];

/// "The server MUST initialize ContextSet to FALSE [...] to an empty table."
#[test]
fn a_first_start_is_empty() {
    let mut bench = spec();
    let view = bench.view();
    assert!(!view.context.is_set);
    assert_eq!(
        (view.context.current, view.context.client_address),
        (None, None)
    );
    assert_eq!((view.sets, view.debts), (vec![], vec![]));
    assert_eq!(bench.agent.poll_timeout(), None);
    bench.expect(A, start(), Status::FSRVP_E_BAD_STATE);
}

/// "when the server returns ZERO to the client, the server MUST persist all state information":
/// no ZERO before the store has confirmed, and then the stored table is the one in memory.
#[test]
fn zero_is_durable() {
    for profile in [Profile::Spec, Profile::Ws2012] {
        for (number, (build, make)) in CHANGES.iter().enumerate() {
            let mut bench = Bench::new(profile);
            let (set, copy) = build(&mut bench, WRITABLE);
            bench.hold_persists = true;
            let call = bench.send(A, make(set, copy));
            for _ in 0..10 {
                if bench.persists() > 0 {
                    assert_eq!(bench.answer(call), None, "case {number}\n{}", bench.story());
                    bench.settle(true);
                }
            }
            assert_eq!(bench.answer(call), Some(Status::ZERO), "case {number}");
            let before = bench.view();
            bench.hold_persists = false;
            bench.restart(Fate::Succeed);
            let after = bench.view();
            assert_eq!(after.context, before.context, "case {number}");
            let table = |view: &fsrvp_proto::AgentView| {
                let set = |set: &fsrvp_proto::view::SetView| (set.id, set.status, set.copies.len());
                view.sets.iter().map(set).collect::<Vec<_>>()
            };
            assert_eq!(table(&after), table(&before), "case {number}");
        }
    }
}

/// Rule 17: "If the store cannot be written the call fails, memory goes back to the durable table
/// and acts are undone"; afterwards the same call succeeds.
#[test]
fn a_store_that_fails_changes_nothing() {
    for profile in [Profile::Spec, Profile::Ws2012] {
        for (number, (build, make)) in CHANGES.iter().enumerate() {
            let mut bench = Bench::new(profile);
            let (set, copy) = build(&mut bench, WRITABLE);
            let before = bench.view();
            let world = (bench.world.snapshots.len(), bench.world.exposed.len());
            bench.store_broken = true;
            let call = bench.send(A, make(set, copy));
            assert_eq!(
                bench.answer(call),
                Some(STORE_FAILED),
                "case {number}\n{}",
                bench.story()
            );
            bench.store_broken = false;
            bench.pump();
            let after = bench.view();
            assert_eq!(after.context, before.context, "case {number}");
            assert_eq!(after.sets.len(), before.sets.len(), "case {number}");
            for (old, new) in before.sets.iter().zip(&after.sets) {
                assert_eq!((old.id, old.status), (new.id, new.status), "case {number}");
                assert_eq!(old.copies.len(), new.copies.len(), "case {number}");
            }
            assert_eq!(
                (bench.world.snapshots.len(), bench.world.exposed.len()),
                world,
                "case {number}: acts are undone\n{}",
                bench.story()
            );
            bench.ok(make(set, copy));
            bench.advance(secs(7200));
            bench.check_nothing_leaked();
        }
    }
}

/// "Commit [...] needs one durable commit": the copy id stored at Add is its intent.
#[test]
fn commit_stores_once() {
    let mut bench = spec();
    let (set, _) = added(&mut bench, WRITABLE);
    let before = bench.commits();
    bench.ok(commit(set, secs(60)));
    assert_eq!(bench.commits() - before, 1);
}

/// What needs no durable state does not write: queries, refused calls, GetShareMapping.
#[test]
fn what_changes_nothing_stores_nothing() {
    let mut bench = spec();
    let (set, copy) = exposed(&mut bench, WRITABLE);
    let before = bench.commits();
    bench.ok(mapping(set, copy, unc("Data")));
    bench.ok(crate::support::requests::supported(unc("Data")));
    bench.ok(crate::support::requests::copied(unc("Data")));
    bench.expect(
        B,
        set_context(WRITABLE),
        Status::FSRVP_E_SHADOW_COPY_SET_IN_PROGRESS,
    );
    bench.expect(A, commit(set, secs(1)), Status::FSRVP_E_BAD_STATE);
    assert_eq!(bench.commits(), before);
}

/// Rule 17: "every set, and ContextSet, context, address and count, come back from the store.
/// Started, Added, Committed and Exposed go on where they were with the timer set to 180 s".
#[test]
fn a_restart_in_the_middle_of_a_set() {
    for build in [begin as Build, added, committed, exposed, recovered] {
        let mut bench = spec();
        bench.ok(set_context(WRITABLE));
        let (set, copy) = build(&mut bench, WRITABLE);
        let before = bench.view();
        bench.advance(secs(100));
        bench.restart(Fate::Succeed);
        let after = bench.view();
        assert_eq!(after.context, before.context);
        assert_eq!(after.sets.len(), 1);
        assert_eq!(after.sets[0].status, before.sets[0].status);
        assert_eq!(after.sets[0].context, before.sets[0].context);
        assert_eq!(after.sets[0].copies.len(), before.sets[0].copies.len());
        match bench.set_status(set) {
            Some(SetStatus::Recovered) => {
                assert_eq!(bench.timer(), None);
                bench.ok(delete(set, copy, unc("Data")));
                bench.check_nothing_leaked();
                continue;
            }
            _ => assert_eq!(bench.timer(), Some(secs(180))),
        }
        bench.expect(
            B,
            set_context(WRITABLE),
            Status::FSRVP_E_SHADOW_COPY_SET_IN_PROGRESS,
        );
        // And on it goes to its end.
        if bench.set_status(set) == Some(SetStatus::Started) {
            bench.added(set, &unc("Data"));
        }
        if bench.set_status(set) == Some(SetStatus::Added) {
            bench.ok(commit(set, secs(60)));
        }
        if bench.set_status(set) == Some(SetStatus::Committed) {
            bench.ok(expose(set, secs(60)));
        }
        bench.ok(recovery(set));
        bench.check_nothing_leaked();
    }
}

/// "CreationInProgress is undone to Added", whatever the job had done when the process died.
#[test]
fn a_restart_during_commit() {
    for fate in [
        Fate::Succeed,
        Fate::LostHalfDone,
        Fate::Fail(FailureKind::Lost),
    ] {
        for late in [false, true] {
            let mut bench = spec();
            let (set, _) = added(&mut bench, WRITABLE);
            bench.added(set, &unc("Other"));
            bench.hold_jobs = true;
            bench.send(A, commit(set, secs(30)));
            if late {
                bench.advance(secs(30));
                let job = bench.job(JobKind::Commit);
                bench.finish(job, Fate::Succeed);
            }
            bench.hold_jobs = false;
            bench.restart(fate);
            assert_eq!(bench.set_status(set), Some(SetStatus::Added));
            assert_eq!(
                bench.world.snapshots.len(),
                0,
                "{fate:?}\n{}",
                bench.story()
            );
            bench.ok(commit(set, secs(60)));
            assert_eq!(bench.world.snapshots.len(), 2);
        }
    }
}

#[test]
fn a_restart_during_expose() {
    for fate in [
        Fate::Succeed,
        Fate::LostHalfDone,
        Fate::Fail(FailureKind::Lost),
    ] {
        let mut bench = spec();
        let (set, _) = added(&mut bench, WRITABLE);
        bench.added(set, &unc("Other"));
        bench.ok(commit(set, secs(60)));
        bench.hold_jobs = true;
        bench.send(A, expose(set, secs(30)));
        bench.hold_jobs = false;
        bench.restart(fate);
        assert_eq!(bench.set_status(set), Some(SetStatus::Committed));
        assert_eq!(bench.world.exposed.len(), 0, "{fate:?}\n{}", bench.story());
        bench.ok(expose(set, secs(60)));
        assert_eq!(bench.world.exposed.len(), 2);
    }
}

#[test]
fn a_restart_during_recovery_complete() {
    for fate in [
        Fate::Succeed,
        Fate::LostHalfDone,
        Fate::Fail(FailureKind::Lost),
    ] {
        let mut bench = spec();
        let (set, _) = exposed(&mut bench, WRITABLE);
        bench.hold_jobs = true;
        bench.send(A, recovery(set));
        bench.hold_jobs = false;
        bench.restart(fate);
        assert_eq!(bench.set_status(set), Some(SetStatus::Exposed));
        bench.ok(recovery(set));
    }
}

#[test]
fn a_restart_during_abort_and_delete() {
    for fate in [
        Fate::Succeed,
        Fate::LostHalfDone,
        Fate::Fail(FailureKind::Lost),
    ] {
        for make in [(|set, _| abort(set)) as Make, |set, copy| {
            delete(set, copy, unc("Data"))
        }] {
            for persisted in 0..3 {
                let mut bench = spec();
                let (set, copy) = exposed(&mut bench, WRITABLE);
                bench.hold_jobs = true;
                bench.hold_persists = true;
                bench.send(A, make(set, copy));
                for _ in 0..persisted {
                    if bench.persists() > 0 {
                        bench.settle(true);
                    }
                    if let Some(job) = bench.jobs_of(JobKind::Remove).first().copied() {
                        bench.finish(job, fate);
                    }
                }
                bench.hold_jobs = false;
                bench.hold_persists = false;
                bench.restart(fate);
                bench.advance(secs(7200));
                bench.check_nothing_leaked();
                assert_eq!(bench.set_status(set), None);
            }
        }
    }
}

/// "A crash between persist and reply is answered by the state (a repeated call gets BAD_STATE);
/// there is no replay cache."
#[test]
fn a_crash_between_persist_and_reply() {
    let mut bench = spec();
    let (set, _) = added(&mut bench, WRITABLE);
    bench.ok(commit(set, secs(60)));
    bench.restart(Fate::Succeed);
    bench.expect(A, commit(set, secs(60)), Status::FSRVP_E_BAD_STATE);
    bench.ok(expose(set, secs(60)));
}

/// What Prepare has done may be forgotten, never invented.
#[test]
fn a_restart_after_prepare_may_only_forget() {
    let mut bench = spec();
    let (set, _) = added(&mut bench, WRITABLE);
    bench.ok(prepare(set, secs(60)));
    bench.added(set, &unc("Other"));
    bench.restart(Fate::Succeed);
    // The bench compares `unprepared` with what the view says is prepared.
    let view = bench.view();
    let other = view.sets[0]
        .copies
        .iter()
        .find(|copy| copy.volume == "pool:2")
        .unwrap();
    assert!(!other.prepared);
    bench.ok(commit(set, secs(60)));
}

/// "Contexts without ATTR_PERSISTENT (0x00, 0x10, with or without a recovery bit) do not outlive
/// a reboot: their sets, Recovered ones too, go when the boot id has changed, not before."
#[test]
fn what_outlives_a_reboot() {
    for (context, persistent) in [
        (0x0000_0000, false),
        (0x0000_0002, false),
        (0x0040_0000, false),
        (0x0000_0010, false),
        (0x0040_0010, false),
        (0x0000_0009, true),
        (0x0040_0009, true),
        (0x0000_0019, true),
        (0x0000_001b, true),
    ] {
        for build in [added as Build, committed, exposed, recovered] {
            let mut bench = spec();
            let (set, _) = build(&mut bench, context);
            bench.restart(Fate::Succeed);
            assert!(bench.set_status(set).is_some(), "not before");
            let status = bench.set_status(set);
            bench.reboot(Fate::Succeed);
            assert_eq!(
                bench.set_status(set),
                status.filter(|_| persistent),
                "{context:#x}"
            );
            bench.advance(secs(1));
            bench.check_nothing_leaked();
            // Once is enough.
            bench.reboot(Fate::Succeed);
            assert_eq!(bench.set_status(set), status.filter(|_| persistent));
        }
    }
}

/// The table can be loaded from what was stored, and from nothing else.
#[test]
fn a_damaged_table_is_refused() {
    let mut bench = spec();
    added(&mut bench, READ_ONLY);
    for key in bench.store.keys() {
        let mut damaged = bench.store.clone();
        let record = damaged.get_mut(key).unwrap();
        record.truncate(record.len() / 2);
        assert!(fsrvp_proto::Table::load(damaged).is_err(), "{key}");
    }
    let mut strange = bench.store.clone();
    strange.insert("unheard-of".to_owned(), b"{}".to_vec());
    assert!(fsrvp_proto::Table::load(strange).is_err());
}

/// Snapshots and shares that vanished while we were away: the table follows the world, and
/// nothing hangs on what is not there.
#[test]
fn artefacts_that_vanished_while_we_were_away() {
    let mut bench = spec();
    let (set, copy) = recovered(&mut bench, WRITABLE);
    bench.world.exposed.clear();
    bench.restart(Fate::Succeed);
    assert_eq!(bench.world.exposed.len(), 1, "published again");
    assert!(bench.world.exposed.values().all(|share| !share.writable));
    bench.ok(delete(set, copy, unc("Data")));
    bench.check_nothing_leaked();
}

/// A foreign snapshot or share never appears in `Found`; ours that no record names goes.
#[test]
fn orphans_are_removed() {
    let mut bench = spec();
    let (set, _) = exposed(&mut bench, WRITABLE);
    let orphans = bench.world.clone();
    bench.ok(abort(set));
    // A crash that the store does not know of, for instance a store put back from a backup.
    bench.restore(orphans);
    bench.advance(secs(7200));
    bench.check_nothing_leaked();
}
