//! What the start could not bring back: shares that could not be published, copies whose file
//! systems are not there yet.

use crate::calls::*;
use crate::support::*;
use fsrvp_idl::{ShadowCopyId, ShadowCopySetId, Status};
use fsrvp_proto::job::FailureKind;
use fsrvp_proto::{Job, SetStatus};
use std::collections::BTreeSet;

/// A daemon that has just started with one recovered set.
fn started() -> (World, ShadowCopySetId, ShadowCopyId, BTreeSet<String>) {
    let mut world = World::new();
    let (set, copies) = world.walk(0x0040_0009, &["a"], SetStatus::Recovered);
    world.restart_raw();
    world.jobs.clear();
    let [copy] = copies.try_into().expect("one copy");
    let names = [format!("a@{{{copy}}}")].into();
    (world, set, copy, names)
}

#[test]
fn a_share_that_could_not_be_published_is_offered_again_with_growing_pauses() {
    let (mut world, set, copy, names) = started();
    world.fate("expose", Fate::Fail(FailureKind::Other));
    world.agent.handle_unpublished(world.now, &names);
    world.pump();
    assert_eq!(world.ran("expose"), 0, "not in the start's way");
    // After 1, 2, 4 and 8 seconds.
    for (passed, tried) in [(1, 1), (1, 2), (2, 3), (4, 4), (7, 4), (1, 5)] {
        world.pass(seconds(passed));
        assert_eq!(world.ran("expose"), tried);
    }
    world.no_fate("expose");
    world.pass(seconds(20));
    let tried = world.ran("expose");
    let Some(Job::Expose { set: of, shares }) = world.jobs.last() else {
        panic!("{:?}", world.jobs.last())
    };
    assert_eq!((*of, shares.len()), (set, 1));
    assert_eq!(
        (&shares[0].name, shares[0].writable),
        (names.first().unwrap(), false)
    );
    world.pass(seconds(3600));
    assert_eq!(world.ran("expose"), tried, "it is there");
    assert_eq!(world.ask(delete(set, copy, "a")), Status::ZERO);
    assert_eq!(world.agent.poll_timeout(), None);
}

#[test]
fn a_share_whose_record_goes_is_not_offered_again() {
    let (mut world, set, copy, names) = started();
    world.fate("expose", Fate::Fail(FailureKind::Other));
    world.agent.handle_unpublished(world.now, &names);
    world.pass(seconds(1));
    assert_eq!(world.ran("expose"), 1);
    assert_eq!(world.ask(delete(set, copy, "a")), Status::ZERO);
    world.pass(seconds(3600));
    assert_eq!(world.ran("expose"), 1);
    assert_eq!(world.view().debts, []);
}

/// The names that the start hands over may be of anything.
#[test]
fn names_that_no_record_knows_are_nobodys() {
    let (mut world, ..) = started();
    let names = ["a".to_owned(), "a@{}".to_owned(), String::new()].into();
    world.agent.handle_unpublished(world.now, &names);
    world.agent.handle_unreachable(world.now, &names);
    world.pass(seconds(3600));
    assert!(world.jobs.is_empty());
}

#[test]
fn a_copy_whose_file_system_comes_late_is_reached_then() {
    let (mut world, _, _, names) = started();
    world.fate("reach", Fate::Fail(FailureKind::Other));
    world.agent.handle_unreachable(world.now, &names);
    world.pass(seconds(600));
    let tried = world.ran("reach");
    assert!((20..=25).contains(&tried), "every 30 s: {tried}");
    world.no_fate("reach");
    world.pass(seconds(30));
    assert_eq!(world.ran("reach"), tried + 1);
    world.pass(seconds(600));
    assert_eq!((world.ran("reach"), world.ran("expose")), (tried + 1, 0));
    // One that the file system does not hold any more is not looked for.
    world.fate("reach", Fate::Fail(FailureKind::NotFound));
    world.agent.handle_unreachable(world.now, &names);
    world.pass(seconds(600));
    assert_eq!(world.ran("reach"), tried + 2);
}

/// Reaching a copy makes links to it: never beside its deletion, or they would stay.
#[test]
fn a_copy_is_not_reached_while_it_is_deleted_nor_deleted_while_it_is_reached() {
    let (mut world, set, copy, names) = started();
    world.hold("reach");
    world.agent.handle_unreachable(world.now, &names);
    world.pass(seconds(1));
    let deleting = world.send(caller(CLIENT), delete(set, copy, "a"));
    assert_eq!(world.ran("remove"), 0);
    world.done("reach");
    assert_eq!(world.status(deleting), Some(Status::ZERO));
    assert_eq!(world.ran("remove"), 2);
    // The other way round, with a snapshot that is slow to go.
    let (mut world, set, copy, names) = started();
    world.hold("remove");
    let deleting = world.send(caller(CLIENT), delete(set, copy, "a"));
    world.agent.handle_unreachable(world.now, &names);
    world.pass(seconds(100));
    assert_eq!(world.ran("reach"), 0);
    world.done("remove");
    world.done("remove");
    assert_eq!(world.status(deleting), Some(Status::ZERO));
    world.pass(seconds(100));
    assert_eq!(world.ran("reach"), 0);
}
