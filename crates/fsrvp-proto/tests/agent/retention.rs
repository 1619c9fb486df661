//! The bounded life of Recovered sets.

use crate::calls::*;
use crate::support::*;
use fsrvp_idl::{ShadowCopySetId, ShareName, Status};
use fsrvp_proto::job::FailureKind;
use fsrvp_proto::{AgentConfig, EndReason, Event, Order, Retention, SetStatus};
use std::time::Duration;

const HOUR: u64 = 3_600;
const YEAR: Duration = Duration::from_secs(365 * 24 * HOUR);

fn world(age: Option<u64>, count: Option<usize>) -> World {
    World::with(AgentConfig {
        retention: Retention {
            age: age.map(seconds),
            count,
        },
        ..AgentConfig::new("FILES")
    })
}

fn reconfigure(world: &mut World, retention: Retention) {
    let config = AgentConfig {
        retention,
        ..AgentConfig::new("ignored")
    };
    world.agent.reconfigure(world.now, config);
    world.pump();
    assert_eq!(world.view().server_name, "FILES");
}

fn recovered(world: &mut World, shares: &[&str]) -> ShadowCopySetId {
    let (set, _) = world.walk(0x09, shares, SetStatus::Recovered);
    world.pass(seconds(5));
    set
}

fn expired(world: &World) -> Vec<ShadowCopySetId> {
    let id = |event: &Event| match event {
        Event::SetEnded {
            set,
            reason: EndReason::Expired,
            ..
        } => Some(*set),
        _ => None,
    };
    world.events.iter().filter_map(id).collect()
}

#[test]
fn nothing_goes_by_itself_unless_it_is_configured() {
    let mut world = World::new();
    let set = recovered(&mut world, &["a"]);
    assert_eq!(world.agent.poll_timeout(), None);
    world.pass(seconds(10_000 * HOUR));
    assert_eq!(world.set_status(set), Some(SetStatus::Recovered));
    assert_eq!(world.ran("in use"), 0);
}

#[test]
fn a_set_goes_when_it_is_old_enough_and_not_a_moment_before() {
    let mut world = world(Some(48 * HOUR), None);
    let set = recovered(&mut world, &["a", "b"]);
    world.pass(seconds(48 * HOUR - 10));
    assert_eq!(world.set_status(set), Some(SetStatus::Recovered));
    assert_eq!(world.ran("in use"), 0);
    world.pass(seconds(10));
    assert_eq!(world.set_status(set), None);
    assert_eq!(expired(&world), [set]);
    assert_eq!(world.removed().len(), 4);
}

#[test]
fn an_unfinished_set_is_the_timer_s_alone() {
    let mut world = world(Some(60), None);
    let (set, _) = world.walk(0x09, &["a"], SetStatus::Exposed);
    world.pass(seconds(170));
    assert_eq!(world.set_status(set), Some(SetStatus::Exposed));
}

#[test]
fn each_share_keeps_its_newest_copies() {
    let mut world = world(None, Some(2));
    let of_a: Vec<_> = (0..2).map(|_| recovered(&mut world, &["a"])).collect();
    let both = recovered(&mut world, &["a", "b"]);
    assert_eq!(expired(&world), [of_a[0]]);
    let newer: Vec<_> = (0..3).map(|_| recovered(&mut world, &["a"])).collect();
    // The set with both goes only when b has two newer copies as well.
    assert_eq!(world.set_status(both), Some(SetStatus::Recovered));
    assert_eq!(world.set_status(newer[0]), None);
    for _ in 0..2 {
        recovered(&mut world, &["b"]);
    }
    assert_eq!(world.set_status(both), None);
    assert_eq!(world.view().sets.len(), 4);
}

#[test]
fn a_set_in_use_stays_and_is_looked_at_again() {
    let mut world = world(Some(HOUR), None);
    let (set, copies) = world.walk(0x09, &["a", "b"], SetStatus::Recovered);
    world.in_use.insert(copies[1]);
    world.pass(seconds(HOUR + 60));
    assert_eq!(world.set_status(set), Some(SetStatus::Recovered));
    let held = Event::RetentionHeld { set, failure: None };
    assert_eq!(
        world.events.iter().filter(|event| **event == held).count(),
        1
    );
    world.in_use.clear();
    world.pass(seconds(540));
    assert_eq!(expired(&world), [set]);
}

#[test]
fn when_use_cannot_be_told_the_set_stays() {
    let mut world = world(Some(HOUR), None);
    let set = recovered(&mut world, &["a"]);
    world.fate("in use", Fate::Fail(FailureKind::Other));
    world.pass(seconds(100 * HOUR));
    assert_eq!(world.set_status(set), Some(SetStatus::Recovered));
    let asked = world.ran("in use");
    assert!((500..=700).contains(&asked), "every ten minutes: {asked}");
    world.no_fate("in use");
    world.pass(seconds(600));
    assert_eq!(expired(&world), [set]);
}

#[test]
fn a_clock_that_was_set_ages_nothing_at_once() {
    let mut world = world(Some(48 * HOUR), None);
    let set = recovered(&mut world, &["a"]);
    world.pass(seconds(2 * HOUR));
    // A year ahead, and back again before the next hour is over.
    world.set_clock(YEAR);
    world.pass(seconds(HOUR / 2));
    assert_eq!(world.set_status(set), Some(SetStatus::Recovered));
    world.pass(seconds(HOUR));
    assert!(world.events.contains(&Event::ClockJumped));
    assert_eq!(world.set_status(set), Some(SetStatus::Recovered));
    world.set_clock(Duration::ZERO);
    world.pass(seconds(10 * HOUR));
    assert_eq!(world.set_status(set), Some(SetStatus::Recovered));
    world.pass(seconds(48 * HOUR));
    assert_eq!(expired(&world), [set]);
}

#[test]
fn the_rule_holds_after_a_restart() {
    let mut world = world(Some(48 * HOUR), None);
    let set = recovered(&mut world, &["a"]);
    world.pass(seconds(40 * HOUR));
    world.restart_raw();
    world.pass(seconds(7 * HOUR));
    assert_eq!(world.set_status(set), Some(SetStatus::Recovered));
    world.pass(seconds(HOUR));
    assert_eq!(expired(&world), [set]);
}

#[test]
fn a_rule_that_is_set_later_holds_from_then_on() {
    let mut world = World::new();
    let set = recovered(&mut world, &["a"]);
    world.pass(seconds(HOUR));
    let rule = Retention {
        age: Some(Duration::from_secs(60)),
        count: None,
    };
    reconfigure(&mut world, rule);
    assert_eq!(expired(&world), [set]);
}

#[test]
fn an_operator_prunes_by_a_rule_of_his_own_once() {
    let mut world = World::new();
    let old = recovered(&mut world, &["a"]);
    world.pass(seconds(2 * HOUR));
    let new = recovered(&mut world, &["a"]);
    let rule = Retention {
        age: Some(seconds(HOUR)),
        count: None,
    };
    let done = world.order(Order::Prune(Some(rule))).unwrap().unwrap();
    assert_eq!(done.sets, [old]);
    assert_eq!(expired(&world), [old]);
    world.pass(seconds(100 * HOUR));
    assert_eq!(world.set_status(new), Some(SetStatus::Recovered));
}

#[test]
fn hundreds_go_in_batches() {
    let mut world = World::new();
    for _ in 0..150 {
        recovered(&mut world, &["a"]);
    }
    let rule = Retention {
        age: None,
        count: Some(10),
    };
    reconfigure(&mut world, rule);
    world.pass(seconds(10));
    assert_eq!(world.view().sets.len(), 10);
    assert_eq!(world.ran("in use"), 3);
}

/// A clock that is wrong when the machine starts is put right by somebody within the hour.
#[test]
fn a_clock_that_is_ahead_at_the_start_ages_nothing() {
    let mut world = world(Some(48 * HOUR), Some(1));
    let older = recovered(&mut world, &["b"]);
    let set = recovered(&mut world, &["a"]);
    world.pass(seconds(2 * HOUR));
    world.set_clock(YEAR);
    world.restart_raw();
    world.pass(seconds(HOUR / 2));
    // What comes anew is no reason to believe the ages; the count needs none.
    let newer = recovered(&mut world, &["b"]);
    assert_eq!(expired(&world), [older]);
    world.pass(seconds(HOUR / 4));
    world.set_clock(Duration::ZERO);
    world.pass(seconds(40 * HOUR));
    assert_eq!(world.set_status(set), Some(SetStatus::Recovered));
    world.pass(seconds(48 * HOUR));
    assert_eq!(expired(&world), [older, set]);
    assert_eq!(world.set_status(newer), Some(SetStatus::Recovered));
}

/// What was recovered while the clock was ahead is not what makes a copy one too many.
#[test]
fn copies_of_the_future_push_no_copy_out() {
    let mut world = world(None, Some(2));
    world.set_clock(YEAR);
    let ahead: Vec<_> = (0..2).map(|_| recovered(&mut world, &["a"])).collect();
    world.set_clock(Duration::ZERO);
    let right: Vec<_> = (0..3).map(|_| recovered(&mut world, &["a"])).collect();
    world.pass(seconds(2 * HOUR));
    assert_eq!(expired(&world), [right[0]]);
    for set in ahead {
        assert_eq!(world.set_status(set), Some(SetStatus::Recovered));
    }
}

/// A machine that starts without the time makes its backup all the same.
#[test]
fn a_copy_that_is_made_before_the_time_is_known_is_not_too_old_at_once() {
    let mut world = world(None, Some(1));
    world.set_clock(YEAR);
    let before = recovered(&mut world, &["a"]);
    world.set_clock(Duration::ZERO);
    world.restart_raw();
    let new = recovered(&mut world, &["a"]);
    world.pass(seconds(2 * HOUR));
    assert!(expired(&world).is_empty());
    for set in [before, new] {
        assert_eq!(world.set_status(set), Some(SetStatus::Recovered));
    }
}

/// A wish that nothing is left of holds nothing back: here the client deletes the copy of which a
/// snapshot was to be kept, between two attempts.
#[test]
fn a_set_without_the_copy_that_was_to_be_kept_goes_like_any_other() {
    for restarts in [false, true] {
        let mut world = World::with(AgentConfig {
            keep: [ShareName::new("A")].into(),
            retention: Retention {
                age: Some(seconds(48 * HOUR)),
                count: None,
            },
            ..AgentConfig::new("FILES")
        });
        world.fate("keep", Fate::Fail(FailureKind::NoSpace));
        let (set, copies) = world.walk(0x0040_0009, &["a", "b"], SetStatus::Recovered);
        assert_eq!(world.ask(delete(set, copies[0], "a")), Status::ZERO);
        if restarts {
            world.restart_raw();
        }
        world.pass(seconds(47 * HOUR));
        assert_eq!(world.set_status(set), Some(SetStatus::Recovered));
        world.pass(seconds(2 * HOUR));
        assert_eq!(expired(&world), [set]);
    }
}
