//! What a step that was not recorded has left goes before the next one (rules 6 and 17).

use crate::calls::*;
use crate::support::*;
use fsrvp_idl::Status;
use fsrvp_proto::SetStatus;
use fsrvp_proto::job::{Artefact, FailureKind};

/// A copy of the failed Commit must not pass for the next one's: its data are older.
#[test]
fn the_next_commit_waits_until_the_failed_ones_copies_are_gone() {
    let mut world = World::new();
    let (set, copies) = world.walk(0, &["a"], SetStatus::Added);
    world.fate("commit", Fate::Fail(FailureKind::Lost));
    world.hold("remove");
    assert_eq!(world.ask(commit(set, 1000)), Status::FSRVP_E_WAIT_FAILED);
    assert_eq!(world.removed(), [Artefact::Copy(copy_ref(copies[0], "va"))]);
    assert_eq!(world.set_status(set), Some(SetStatus::Added));
    world.no_fate("commit");
    let second = world.send(caller(CLIENT), commit(set, 60_000));
    assert_eq!(world.set_status(set), Some(SetStatus::CreationInProgress));
    assert_eq!(world.ran("commit"), 1);
    world.done("remove");
    assert_eq!(world.status(second), Some(Status::ZERO));
    assert_eq!(world.ran("commit"), 2);
}

#[test]
fn copies_that_will_not_go_fail_the_next_commit_until_they_do() {
    let mut world = World::new();
    let (set, _) = world.walk(0, &["a"], SetStatus::Added);
    world.fate("commit", Fate::Fail(FailureKind::NoSpace));
    world.fate("remove", Fate::Fail(FailureKind::Busy));
    assert_eq!(
        world.ask(commit(set, 1000)),
        Status::VSS_E_INSUFFICIENT_STORAGE
    );
    world.no_fate("commit");
    let busy = Status::VSS_E_UNEXPECTED_PROVIDER_ERROR;
    assert_eq!(world.ask(commit(set, 1000)), busy);
    assert_eq!((world.ran("commit"), world.timer()), (1, Some(180)));
    assert_eq!(world.set_status(set), Some(SetStatus::Added));
    assert_eq!(world.view().sets[0].undo.len(), 1);
    world.no_fate("remove");
    assert_eq!(world.ask(commit(set, 1000)), Status::ZERO);
    assert_eq!(world.view().sets[0].undo, []);
}

#[test]
fn a_commit_that_cannot_be_stored_is_undone() {
    let mut world = World::new();
    let (set, copies) = world.walk(0, &["a"], SetStatus::Added);
    world.store_fails = true;
    assert_eq!(
        world.ask(commit(set, 1000)),
        Status::VSS_E_UNEXPECTED_PROVIDER_ERROR
    );
    assert_eq!(world.removed(), [Artefact::Copy(copy_ref(copies[0], "va"))]);
    assert_eq!(
        (world.set_status(set), world.timer()),
        (Some(SetStatus::Added), Some(180))
    );
    world.store_fails = false;
    assert_eq!(world.ask(commit(set, 1000)), Status::ZERO);
}

#[test]
fn an_expose_that_cannot_be_stored_or_was_lost_is_undone() {
    for lost in [false, true] {
        let mut world = World::new();
        let (set, copies) = world.walk(0, &["a"], SetStatus::Committed);
        let status = if lost {
            world.fate("expose", Fate::Fail(FailureKind::Lost));
            Status::FSRVP_E_WAIT_FAILED
        } else {
            world.store_fails = true;
            Status::VSS_E_UNEXPECTED_PROVIDER_ERROR
        };
        assert_eq!(world.ask(expose(set, 1000)), status);
        assert_eq!(
            world.removed(),
            [Artefact::Share(format!("a@{{{}}}", copies[0]))]
        );
        assert_eq!(world.set_status(set), Some(SetStatus::Committed));
        world.no_fate("expose");
        world.store_fails = false;
        assert_eq!(world.ask(expose(set, 1000)), Status::ZERO);
    }
}

/// A set that goes while something of it is still to be undone leaves nothing.
#[test]
fn what_is_still_to_be_undone_becomes_a_debt_with_the_set() {
    let mut world = World::new();
    let (set, _) = world.walk(0, &["a"], SetStatus::Added);
    world.fate("commit", Fate::Fail(FailureKind::Other));
    world.fate("remove", Fate::Fail(FailureKind::Busy));
    world.ask(commit(set, 1000));
    assert_eq!(
        world.ask(abort(set)),
        Status::VSS_E_UNEXPECTED_PROVIDER_ERROR
    );
    assert_eq!(world.view().debts.len(), 1);
    world.no_fate("remove");
    world.pass(seconds(2));
    assert_eq!(world.view().debts, []);
}

/// A set that has never touched a volume has nothing to remove.
#[test]
fn a_set_without_traces_goes_without_a_job() {
    let mut world = World::new();
    let (set, _) = world.walk(0, &["a"], SetStatus::Added);
    let commits = world.commits.len();
    assert_eq!(world.ask(abort(set)), Status::ZERO);
    assert_eq!((world.ran("remove"), world.commits.len()), (0, commits + 1));
}
