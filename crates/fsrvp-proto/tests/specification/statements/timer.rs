//! The Message Sequence Timer: sections 3.1.2 and 3.1.5, rules 8 and 15.

use super::{WRITABLE, added, committed, exposed, recovered, spec, started};
use crate::support::bench::{A, B, Bench, secs};
use crate::support::jobs::JobKind;
use crate::support::requests::{
    add, commit, delete, expose, mapping, prepare, recovery, set_context, start, unc,
};
use crate::support::world::Fate;
use fsrvp_idl::{ShadowCopyId, ShadowCopySetId, Status};
use fsrvp_proto::{EndReason, Event, Profile, SetStatus};

fn idle(bench: &Bench, set: ShadowCopySetId) -> Option<u64> {
    bench.events.iter().find_map(|event| match event {
        Event::SetEnded {
            set: ended,
            reason: EndReason::TimedOut,
            idle,
        } if *ended == set => idle.map(|idle| idle.as_secs()),
        _ => None,
    })
}

/// "the server MUST delete the ShadowCopySet [...] ContextSet MUST be set to FALSE,
/// ShadowCopyClientAddress MUST be set to NULL", with snapshots and shares; "an event logged
/// (idle for N minutes)".
#[test]
fn the_timer_ends_every_unfinished_set() {
    let begin = |bench: &mut Bench, context| (started(bench, context), ShadowCopyId::NULL);
    for (build, wait) in [
        (begin as fn(&mut Bench, u32) -> _, 180),
        (added, 1800),
        (committed, 180),
        (exposed, 180),
    ] {
        let mut bench = spec();
        let (set, _) = build(&mut bench, WRITABLE);
        bench.advance(secs(wait) - std::time::Duration::from_millis(1));
        assert!(bench.set_status(set).is_some());
        bench.advance(std::time::Duration::from_millis(1));
        assert_eq!(bench.set_status(set), None);
        let context = bench.view().context;
        assert_eq!((context.is_set, context.client_address), (false, None));
        assert_eq!(idle(&bench, set), Some(wait));
        bench.check_nothing_leaked();
        bench.expect(
            A,
            add(set, unc("Data")),
            Status::FSRVP_E_SHADOWCOPYSET_ID_MISMATCH,
        );
        bench.expect(B, set_context(WRITABLE), Status::ZERO);
    }
}

#[test]
fn the_timer_ends_a_context_without_a_set() {
    let mut bench = spec();
    bench.ok(set_context(WRITABLE));
    bench.advance(secs(180));
    bench.expect(A, start(), Status::FSRVP_E_BAD_STATE);
    assert_eq!(bench.agent.poll_timeout(), None);
}

#[test]
fn a_recovered_set_never_expires() {
    let mut bench = spec();
    let (set, _) = recovered(&mut bench, WRITABLE);
    bench.advance(secs(400 * 86_400));
    assert_eq!(bench.set_status(set), Some(SetStatus::Recovered));
    // Nor does it when the timer of a newer set fires.
    started(&mut bench, WRITABLE);
    bench.advance(secs(180));
    assert_eq!(bench.view().sets.len(), 1);
    assert_eq!(bench.set_status(set), Some(SetStatus::Recovered));
}

/// The value that each method starts the timer with.
#[test]
fn the_timer_after_each_method() {
    let mut bench = spec();
    let step = |bench: &mut Bench, request, wait| {
        bench.advance(secs(3));
        bench.ok(request);
        assert_eq!(bench.timer(), Some(secs(wait)), "{}", bench.story());
    };
    step(&mut bench, set_context(WRITABLE), 180);
    step(&mut bench, start(), 180);
    let set = bench.view().sets[0].id;
    step(&mut bench, add(set, unc("Data")), 1800);
    step(&mut bench, prepare(set, secs(9)), 1800);
    step(&mut bench, commit(set, secs(9)), 180);
    step(&mut bench, expose(set, secs(9)), 180);
    let copy = bench.view().sets[0].copies[0].id;
    step(&mut bench, mapping(set, copy, unc("Data")), 1800);
    bench.ok(recovery(set));
    assert_eq!(bench.timer(), None);
}

/// Rule 8: Add's OBJECT_ALREADY_EXISTS starts it with 180 s; other refusals never touch it.
#[test]
fn refused_calls_and_the_timer() {
    let mut bench = spec();
    let (set, _) = added(&mut bench, WRITABLE);
    bench.advance(secs(100));
    bench.expect(A, add(set, unc("absent")), Status::FSRVP_E_OBJECT_NOT_FOUND);
    bench.expect(A, expose(set, secs(1)), Status::FSRVP_E_BAD_STATE);
    bench.expect(
        B,
        set_context(WRITABLE),
        Status::FSRVP_E_SHADOW_COPY_SET_IN_PROGRESS,
    );
    assert_eq!(bench.timer(), Some(secs(1700)));
    bench.expect(
        A,
        add(set, unc("DataToo")),
        Status::FSRVP_E_OBJECT_ALREADY_EXISTS,
    );
    assert_eq!(bench.timer(), Some(secs(180)));
}

/// The configured values replace 180 s and 1800 s everywhere.
#[test]
fn configured_timers() {
    let mut config = fsrvp_proto::AgentConfig::new("FILER");
    (config.short_timer, config.long_timer) = (secs(5), secs(20));
    let mut bench = Bench::with_config(config);
    let (set, _) = added(&mut bench, WRITABLE);
    assert_eq!(bench.timer(), Some(secs(20)));
    bench.ok(commit(set, secs(1)));
    assert_eq!(bench.timer(), Some(secs(5)));
    bench.advance(secs(5));
    assert_eq!(bench.set_status(set), None);
}

/// Rule 18: the timer takes a set whose timed-out job still blocks.
#[test]
fn the_timer_takes_a_set_under_a_running_job() {
    let mut bench = spec();
    let (set, _) = added(&mut bench, WRITABLE);
    bench.hold_jobs = true;
    bench.send(A, commit(set, secs(10)));
    bench.advance(secs(10 + 180));
    assert_eq!(bench.set_status(set), None);
    let job = bench.job(JobKind::Commit);
    assert!(bench.jobs[&job].cancelled);
    bench.finish(job, Fate::Succeed);
    bench.hold_jobs = false;
    bench.advance(secs(7200));
    bench.check_nothing_leaked();
}

/// A store that fails when the timer fires must not leave the set without a deadline.
#[test]
fn the_timer_fires_into_a_broken_store() {
    for profile in [Profile::Spec, Profile::Ws2012] {
        let mut bench = Bench::new(profile);
        let (set, _) = exposed(&mut bench, WRITABLE);
        bench.store_broken = true;
        bench.advance(secs(7200));
        assert_eq!(bench.set_status(set), Some(SetStatus::Exposed));
        bench.store_broken = false;
        bench.advance(secs(1800));
        assert_eq!(bench.set_status(set), None);
        bench.check_nothing_leaked();
    }
}

/// The wall clock may jump; the timer runs on the monotonic one.
#[test]
fn the_wall_clock_does_not_move_the_timer() {
    let mut bench = spec();
    let set = started(&mut bench, WRITABLE);
    for wall in [0, u64::MAX / 2] {
        bench.set_wall(fsrvp_idl::FileTime(wall));
        bench.advance(secs(60));
        assert!(bench.set_status(set).is_some());
    }
    assert_eq!(bench.timer(), Some(secs(60)));
}

// ---- ws2012: rule 15

/// "a successful Expose turns ContextSet off and clears the address".
#[test]
fn ws2012_expose_ends_the_context() {
    let mut bench = Bench::new(Profile::Ws2012);
    let (set, _) = exposed(&mut bench, WRITABLE);
    let context = bench.view().context;
    assert_eq!((context.is_set, context.client_address), (false, None));
    assert_eq!(bench.timer(), None);
    // "an Exposed set counts as finished for SetContext and StartShadowCopySet".
    bench.expect(B, set_context(WRITABLE), Status::ZERO);
    bench.expect(B, start(), Status::ZERO);
    assert_eq!(bench.set_status(set), Some(SetStatus::Exposed));
}

/// "each set-aside Exposed set keeps a deadline of its own".
#[test]
fn ws2012_sets_expire_one_by_one() {
    let mut bench = Bench::new(Profile::Ws2012);
    let (first, copy) = exposed(&mut bench, WRITABLE);
    bench.advance(secs(60));
    let (second, _) = exposed(&mut bench, WRITABLE);
    bench.ok(mapping(first, copy, unc("Data")));
    let third = started(&mut bench, WRITABLE);
    bench.advance(secs(180));
    assert_eq!(bench.set_status(first), Some(SetStatus::Exposed));
    assert_eq!(bench.set_status(second), None);
    assert_eq!(bench.set_status(third), None);
    assert_eq!(idle(&bench, second), Some(180));
    bench.advance(secs(1800 - 180));
    assert_eq!(bench.set_status(first), None);
    assert_eq!(idle(&bench, first), Some(1800));
    bench.check_nothing_leaked();
}

/// "calls on it leave context and timer of a newer set alone".
#[test]
fn ws2012_calls_on_an_older_set_leave_the_newer_one_alone() {
    for end in 0..4 {
        let mut bench = Bench::new(Profile::Ws2012);
        let (old, copy) = exposed(&mut bench, WRITABLE);
        let new = started(&mut bench, WRITABLE);
        bench.advance(secs(50));
        bench.ok(match end {
            0 => recovery(old),
            1 => crate::support::requests::abort(old),
            2 => delete(old, copy, unc("Data")),
            _ => mapping(old, copy, unc("Data")),
        });
        assert!(bench.view().context.is_set);
        assert_eq!(bench.view().context.client_address, Some(A));
        assert_eq!(bench.set_status(new), Some(SetStatus::Started));
        assert_eq!(bench.timer(), Some(secs(130)), "{end}");
    }
}

/// The deadline of an older set does not take the newer one with it.
#[test]
fn ws2012_an_older_set_expires_alone() {
    let mut bench = Bench::new(Profile::Ws2012);
    let (old, _) = exposed(&mut bench, WRITABLE);
    bench.advance(secs(100));
    let (new, _) = added(&mut bench, WRITABLE);
    bench.advance(secs(80));
    assert_eq!(bench.set_status(old), None);
    assert_eq!(bench.set_status(new), Some(SetStatus::Added));
    assert!(bench.view().context.is_set);
}

/// Exposed sets come back from a restart with deadlines of their own.
#[test]
fn ws2012_exposed_sets_after_a_restart() {
    let mut bench = Bench::new(Profile::Ws2012);
    let (old, _) = exposed(&mut bench, WRITABLE);
    let (new, _) = added(&mut bench, WRITABLE);
    bench.advance(secs(100));
    bench.restart(Fate::Succeed);
    assert_eq!(bench.set_status(old), Some(SetStatus::Exposed));
    bench.advance(secs(179));
    assert!(bench.set_status(old).is_some() && bench.set_status(new).is_some());
    bench.advance(secs(1));
    assert_eq!(bench.view().sets, []);
    bench.check_nothing_leaked();
}
