//! Kept snapshots: wished for with the recovery, made by a job, once.

use crate::calls::*;
use crate::support::*;
use fsrvp_idl::{ShadowCopySetId, ShareName, Status};
use fsrvp_proto::job::{FailureKind, Job};
use fsrvp_proto::set::Phase;
use fsrvp_proto::{AgentConfig, Event, SetStatus};

const WRITABLE: u32 = 0x0040_0009;

fn world() -> World {
    World::with(AgentConfig {
        keep: [ShareName::new("A")].into(),
        ..AgentConfig::new("FILES")
    })
}

fn wishes(world: &World) -> usize {
    world
        .stored()
        .sets()
        .filter(|set| !set.keep.is_empty())
        .count()
}

fn kept(world: &World, set: ShadowCopySetId) -> bool {
    let sets = world.view().sets;
    let phases = sets
        .iter()
        .filter(|view| view.id == set)
        .flat_map(|view| &view.phases);
    phases.into_iter().any(|phase| phase.phase == Phase::Keep)
}

#[test]
fn a_snapshot_is_kept_of_the_shares_with_a_policy() {
    for context in [0x09, WRITABLE] {
        let mut world = world();
        let (set, copies) = world.walk(context, &["a", "b"], SetStatus::Recovered);
        let jobs: Vec<_> = world
            .jobs
            .iter()
            .filter_map(|job| match job {
                Job::Keep { copies, .. } => Some(copies),
                _ => None,
            })
            .collect();
        assert_eq!(jobs.len(), 1);
        assert_eq!(jobs[0].len(), 1);
        assert_eq!(jobs[0][0].copy.copy, copies[0]);
        let share = ShareName::new("a");
        let copy = copies[0];
        assert!(world.events.contains(&Event::Kept { set, copy, share }));
        assert_eq!(wishes(&world), 0);
        assert!(kept(&world, set));
        assert_eq!(world.agent.poll_timeout(), None);
    }
}

/// The other's policy was taken away between the recovery and the job.
#[test]
fn a_share_that_has_lost_its_policy_takes_nothing_from_the_others() {
    let mut world = World::with(AgentConfig {
        keep: [ShareName::new("A"), ShareName::new("B")].into(),
        ..AgentConfig::new("FILES")
    });
    world.without_policy.insert(ShareName::new("b"));
    let (set, copies) = world.walk(WRITABLE, &["a", "b"], SetStatus::Recovered);
    let told = |event: &&Event| matches!(event, Event::Kept { .. } | Event::KeepFailed { .. });
    let (share, copy) = (ShareName::new("a"), copies[0]);
    assert_eq!(
        world.events.iter().filter(told).collect::<Vec<_>>(),
        [&Event::Kept { set, copy, share }]
    );
    assert_eq!(wishes(&world), 0);
    assert!(kept(&world, set));
}

#[test]
fn the_client_does_not_wait_for_it_and_its_deletion_does() {
    let mut world = world();
    world.hold("keep");
    let (set, copies) = world.walk(WRITABLE, &["a"], SetStatus::Recovered);
    assert_eq!(wishes(&world), 1, "the wish is stored with the recovery");
    let deleting = world.send(caller(CLIENT), delete(set, copies[0], "a"));
    assert_eq!(world.status(deleting), None);
    assert_eq!(world.ran("remove"), 0);
    world.done("keep");
    assert_eq!(world.status(deleting), Some(Status::ZERO));
    assert_eq!(world.set_status(set), None);
}

#[test]
fn a_crash_before_it_was_recorded_repeats_it() {
    let mut world = world();
    world.hold("keep");
    let (set, _) = world.walk(WRITABLE, &["a"], SetStatus::Recovered);
    world.no_fate("keep");
    world.restart_raw();
    assert_eq!(world.ran("keep"), 2);
    assert_eq!(wishes(&world), 0);
    assert!(kept(&world, set));
    world.restart_raw();
    assert_eq!(world.ran("keep"), 2, "and not again");
}

#[test]
fn a_failure_is_tried_again_with_growing_pauses_and_given_up_at_last() {
    let mut world = world();
    world.fate("keep", Fate::Fail(FailureKind::NoSpace));
    let (set, _) = world.walk(WRITABLE, &["a"], SetStatus::Recovered);
    world.pass(seconds(10));
    assert_eq!(world.ran("keep"), 4, "after 0, 1, 3 and 7 seconds");
    world.no_fate("keep");
    world.pass(seconds(10));
    assert!(kept(&world, set));

    let mut world = self::world();
    world.fate("keep", Fate::Fail(FailureKind::NoSpace));
    world.walk(WRITABLE, &["a"], SetStatus::Recovered);
    world.pass(seconds(24 * 3_600));
    assert_eq!(world.ran("keep"), 20);
    assert_eq!(wishes(&world), 0);
    let last = |event: &&Event| matches!(event, Event::KeepFailed { is_last: true, .. });
    assert_eq!(world.events.iter().filter(last).count(), 1);
}

#[test]
fn a_backend_that_cannot_keep_is_asked_once() {
    let mut world = world();
    world.fate("keep", Fate::Fail(FailureKind::Unsupported));
    let (set, _) = world.walk(WRITABLE, &["a"], SetStatus::Recovered);
    world.pass(seconds(3_600));
    assert_eq!(world.ran("keep"), 1);
    assert!(!kept(&world, set));
}

#[test]
fn a_store_that_fails_keeps_the_wish() {
    let mut world = world();
    world.hold("keep");
    world.walk(WRITABLE, &["a"], SetStatus::Recovered);
    world.no_fate("keep");
    world.store_fails = true;
    world.done("keep");
    assert_eq!(wishes(&world), 1);
    world.store_fails = false;
    world.pass(seconds(2));
    assert_eq!(wishes(&world), 0);
}

/// Retention does not end a wish: the set goes when its snapshot has been kept.
#[test]
fn a_set_that_is_one_too_many_waits_for_its_snapshot() {
    let mut world = World::with(AgentConfig {
        keep: [ShareName::new("A")].into(),
        retention: fsrvp_proto::Retention {
            age: None,
            count: Some(1),
        },
        ..AgentConfig::new("FILES")
    });
    world.fate("keep", Fate::Fail(FailureKind::NoSpace));
    let (old, _) = world.walk(WRITABLE, &["a"], SetStatus::Recovered);
    let (new, _) = world.walk(WRITABLE, &["a"], SetStatus::Recovered);
    world.pass(seconds(600));
    assert_eq!(world.set_status(old), Some(SetStatus::Recovered));
    world.no_fate("keep");
    world.pass(seconds(1_200));
    assert_eq!(world.set_status(old), None);
    assert!(kept(&world, new));
}
