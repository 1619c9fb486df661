//! Persist, then reply: what waits for the store and what does not (rule 17).

use crate::calls::*;
use crate::support::*;
use fsrvp_idl::{Request, Status};
use fsrvp_proto::{Event, SetStatus};

#[test]
fn nothing_is_true_before_the_store_says_so() {
    let mut world = World::new();
    world.store_holds = true;
    let first = world.send(caller(CLIENT), Request::SetContext { context: 0 });
    assert_eq!(world.reply(first), None);
    assert!(!world.context_set());
    world.stored_is(Ok(()));
    assert_eq!(world.status(first), Some(Status::ZERO));
    assert!(world.context_set());
}

#[test]
fn calls_take_their_turn_behind_a_commit_of_the_store() {
    let mut world = World::new();
    world.store_holds = true;
    let context = world.send(caller(CLIENT), Request::SetContext { context: 0 });
    let foreign = world.send(caller(OTHER_CLIENT), Request::SetContext { context: 0 });
    let start = world.send(caller(CLIENT), start());
    let queries = [
        world.send(caller(CLIENT), Request::GetSupportedVersion),
        world.send(caller(CLIENT), path_supported(r"\\files\b")),
    ];
    assert_eq!(world.waiting_commits.len(), 1);
    // Questions that no change touches are answered meanwhile, but for the look-up's turn.
    assert!(world.reply(queries[0]).is_some());
    assert_eq!((world.reply(foreign), world.reply(start)), (None, None));
    world.stored_is(Ok(()));
    assert_eq!(world.status(context), Some(Status::ZERO));
    assert_eq!(
        world.status(foreign),
        Some(Status::FSRVP_E_SHADOW_COPY_SET_IN_PROGRESS)
    );
    assert_eq!(world.reply(start), None, "its own commit is on the way");
    world.stored_is(Ok(()));
    assert_eq!(world.status(start), Some(Status::ZERO));
    assert!(world.reply(queries[1]).is_some());
}

#[test]
fn a_commit_of_the_store_that_fails_lets_the_next_call_see_the_old_table() {
    let mut world = World::new();
    world.store_holds = true;
    let context = world.send(caller(CLIENT), Request::SetContext { context: 0 });
    let start = world.send(caller(CLIENT), start());
    world.stored_is(Err("I/O error".to_owned()));
    assert_eq!(
        world.status(context),
        Some(Status::VSS_E_UNEXPECTED_PROVIDER_ERROR)
    );
    assert_eq!(world.status(start), Some(Status::FSRVP_E_BAD_STATE));
    assert!(world.events.contains(&Event::PersistFailed {
        error: "I/O error".to_owned()
    }));
}

#[test]
fn a_wait_ends_on_time_although_the_store_is_slow() {
    let mut world = World::new();
    let (set, _) = world.walk(0, &["a"], SetStatus::Added);
    world.hold("prepare");
    let waiting = world.send(caller(CLIENT), prepare(set, 5_000));
    world.store_holds = true;
    let adding = world.send(caller(CLIENT), add(set, "b"));
    world.pass(seconds(6));
    assert_eq!(world.status(waiting), Some(Status::FSRVP_E_WAIT_TIMEOUT));
    assert_eq!(world.reply(adding), None);
    world.stored_is(Ok(()));
    assert_eq!(world.status(adding), Some(Status::ZERO));
}

/// The timer falls due while a call that came before it is being stored: the call restarts it.
#[test]
fn the_timer_does_not_fire_behind_the_back_of_a_call_that_is_being_stored() {
    let mut world = World::new();
    world.set_context(0);
    world.pass(seconds(179));
    world.store_holds = true;
    let start = world.send(caller(CLIENT), start());
    world.pass(seconds(10));
    world.store_holds = false;
    world.stored_is(Ok(()));
    assert_eq!(world.status(start), Some(Status::ZERO));
    assert_eq!(world.timer(), Some(180));
    assert_eq!(world.view().sets.len(), 1);
}

#[test]
fn a_timer_whose_effect_cannot_be_stored_fires_again() {
    let mut world = World::new();
    let (set, _) = world.walk(0, &["a"], SetStatus::Committed);
    world.store_fails = true;
    world.pass(seconds(180));
    assert_eq!(world.set_status(set), Some(SetStatus::Committed));
    assert_eq!(world.ran("remove"), 0);
    assert_eq!(world.timer(), Some(10));
    world.store_fails = false;
    world.pass(seconds(10));
    assert_eq!(world.set_status(set), None);
    assert_eq!(world.ran("remove"), 1);
    assert_eq!(world.view().debts, []);
}

#[test]
fn a_job_that_ends_behind_a_commit_of_the_store_is_not_lost() {
    let mut world = World::new();
    let (set, _) = world.walk(0, &["a"], SetStatus::Added);
    world.hold("commit");
    let waiting = world.send(caller(CLIENT), commit(set, 60_000));
    world.store_holds = true;
    let abort = world.send(caller(CLIENT), abort(set));
    world.done("commit");
    assert_eq!((world.reply(waiting), world.reply(abort)), (None, None));
    world.no_fate("commit");
    world.stored_is(Ok(()));
    assert_eq!(world.status(waiting), Some(Status::FSRVP_E_WAIT_FAILED));
    assert_eq!(world.status(abort), Some(Status::ZERO));
    assert_eq!(world.ran("remove"), 1, "what it delivered goes");
    assert_eq!(world.view().jobs, []);
}
