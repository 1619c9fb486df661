//! The server ends.

use crate::calls::*;
use crate::support::*;
use fsrvp_idl::{Request, Status};
use fsrvp_proto::SetStatus;

#[test]
fn whoever_waits_is_told_and_jobs_are_stopped() {
    let mut world = World::new();
    let (old, copies) = world.walk(0x0040_0009, &["a"], SetStatus::Recovered);
    let (set, _) = world.walk(0x0040_0009, &["b"], SetStatus::Added);
    for kind in ["commit", "locate", "remove"] {
        world.hold(kind);
    }
    let calls = [
        world.send(caller(CLIENT), commit(set, 60_000)),
        world.send(caller(CLIENT), path_supported(r"\\files\a")),
        world.send(caller(CLIENT), delete(old, copies[0], "a")),
        world.send(caller(CLIENT), delete(old, copies[0], "a")),
    ];
    let waiting = |world: &World| calls.iter().all(|call| world.reply(*call).is_none());
    assert!(waiting(&world));
    world.agent.shutdown(world.now);
    world.pump();
    for call in calls {
        assert_eq!(world.status(call), Some(Status::FSRVP_E_WAIT_FAILED));
    }
    assert_eq!(world.cancelled.len(), 3);
    assert_eq!(world.agent.poll_timeout(), None);
    // Late outcomes and later calls find nobody.
    let before = world.store.clone();
    world.done("commit");
    assert_eq!(
        world.ask(Request::SetContext { context: 0 }),
        Status::FSRVP_E_WAIT_FAILED
    );
    assert_eq!(world.store, before);
    world.restart_raw();
    assert_eq!(world.set_status(set), Some(SetStatus::Added));
    assert_eq!(world.set_status(old), Some(SetStatus::Recovered));
}

#[test]
fn a_commit_of_the_store_that_is_under_way_is_still_answered() {
    let mut world = World::new();
    world.store_holds = true;
    let first = world.send(caller(CLIENT), Request::SetContext { context: 0 });
    let second = world.send(caller(CLIENT), start());
    world.agent.shutdown(world.now);
    world.pump();
    assert_eq!(world.reply(first), None);
    assert_eq!(world.status(second), Some(Status::FSRVP_E_WAIT_FAILED));
    world.stored_is(Ok(()));
    assert_eq!(world.status(first), Some(Status::ZERO));
    assert_eq!(world.view().calls_in_progress, 0);
}

/// An Abort has done what it promised once it is stored; the rest is a debt.
#[test]
fn a_removal_under_way_is_answered_and_owed() {
    let mut world = World::new();
    let (set, _) = world.walk(0, &["a"], SetStatus::Exposed);
    world.hold("remove");
    let aborting = world.send(caller(CLIENT), abort(set));
    assert_eq!(world.reply(aborting), None);
    world.agent.shutdown(world.now);
    world.pump();
    assert_eq!(world.status(aborting), Some(Status::ZERO));
    assert_eq!(world.stored().debts().count(), 2);
    // One that is stored only now owes everything, and starts no job.
    let mut world = World::new();
    let (set, _) = world.walk(0, &["a"], SetStatus::Exposed);
    world.store_holds = true;
    let aborting = world.send(caller(CLIENT), abort(set));
    world.agent.shutdown(world.now);
    world.stored_is(Ok(()));
    assert_eq!(world.status(aborting), Some(Status::ZERO));
    assert_eq!(
        (world.ran("remove"), world.stored().debts().count()),
        (0, 2)
    );
}

#[test]
fn paid_debts_are_stored_at_the_end() {
    let mut world = World::new();
    let (set, _) = world.walk(0, &["a"], SetStatus::Exposed);
    world.ask(abort(set));
    assert_eq!(world.stored().debts().count(), 2);
    world.agent.shutdown(world.now);
    world.pump();
    assert_eq!(world.stored().debts().count(), 0);
}
