//! DeleteShareMapping beside other calls on the set, and when the share does not go (rule 14).

use crate::calls::*;
use crate::support::*;
use fsrvp_idl::{ShareName, Status};
use fsrvp_proto::job::{Artefact, FailureKind, Job};
use fsrvp_proto::{AgentConfig, Event, SetStatus};

const WRITABLE: u32 = 0x0040_0009;

#[test]
fn a_deletion_waits_for_the_seal_and_finds_a_recovered_set() {
    let mut world = World::new();
    let (set, copies) = world.walk(WRITABLE, &["a", "b"], SetStatus::Exposed);
    world.hold("seal");
    let sealing = world.send(caller(CLIENT), recovery_complete(set));
    let deleting = world.send(caller(CLIENT), delete(set, copies[0], "a"));
    assert_eq!((world.reply(sealing), world.reply(deleting)), (None, None));
    assert_eq!(world.ran("remove"), 0, "no two jobs work on one copy");
    // Questions are answered meanwhile.
    assert!(world.mapping(set, copies[0], "a").is_ok());
    world.done("seal");
    assert_eq!(world.status(sealing), Some(Status::ZERO));
    assert_eq!(world.status(deleting), Some(Status::ZERO));
    assert_eq!(world.set_status(set), Some(SetStatus::Recovered));
    assert_eq!(world.view().sets[0].copies.len(), 1);
}

#[test]
fn a_deletion_that_cannot_get_its_turn_is_answered_in_time() {
    let mut world = World::new();
    let (set, copies) = world.walk(WRITABLE, &["a"], SetStatus::Exposed);
    world.hold("seal");
    let sealing = world.send(caller(CLIENT), recovery_complete(set));
    world.pass(seconds(1));
    let deleting = world.send(caller(CLIENT), delete(set, copies[0], "a"));
    world.pass(seconds(170));
    let busy = Some(Status::VSS_E_UNEXPECTED_PROVIDER_ERROR);
    assert_eq!(
        (world.status(sealing), world.status(deleting)),
        (busy, busy)
    );
    assert_eq!(world.set_status(set), Some(SetStatus::Exposed));
    // The seal that came late is told to the next call, without another job.
    world.done("seal");
    assert_eq!(world.set_status(set), Some(SetStatus::Exposed));
    assert_eq!(world.ask(recovery_complete(set)), Status::ZERO);
    assert_eq!(world.ran("seal"), 1);
}

#[test]
fn recovery_complete_waits_for_a_deletion() {
    let mut world = World::new();
    let (set, copies) = world.walk(WRITABLE, &["a", "b"], SetStatus::Exposed);
    world.hold("remove");
    let deleting = world.send(caller(CLIENT), delete(set, copies[0], "a"));
    let sealing = world.send(caller(CLIENT), recovery_complete(set));
    let again = world.send(caller(CLIENT), delete(set, copies[0], "a"));
    world.no_fate("remove");
    world.done("remove");
    assert_eq!(world.status(deleting), Some(Status::ZERO));
    assert_eq!(world.status(sealing), Some(Status::ZERO));
    assert_eq!(world.status(again), Some(Status::FSRVP_E_OBJECT_NOT_FOUND));
    let sealed = world.jobs.iter().find_map(|job| match job {
        Job::Seal { shares, .. } => Some(shares.len()),
        _ => None,
    });
    assert_eq!(sealed, Some(1), "what is deleted is not sealed");
}

#[test]
fn a_share_that_stays_leaves_everything_as_it_was() {
    let mut world = World::new();
    let (set, copies) = world.walk(0, &["a"], SetStatus::Exposed);
    let before = (world.store.clone(), world.timer());
    world.fate("remove", Fate::FailNaming("Share"));
    assert_eq!(
        world.ask(delete(set, copies[0], "a")),
        Status::VSS_E_UNEXPECTED_PROVIDER_ERROR
    );
    assert_eq!((world.store.clone(), world.timer()), before);
    assert_eq!(
        world.removed(),
        [Artefact::Share(format!("a@{{{}}}", copies[0]))]
    );
    assert!(world.mapping(set, copies[0], "a").is_ok());
    assert!(world.context_set());
    world.no_fate("remove");
    assert_eq!(world.ask(delete(set, copies[0], "a")), Status::ZERO);
    assert_eq!((world.context_set(), world.timer()), (false, None));
}

/// What was asked for is known, whoever else is in the set.
#[test]
fn a_share_that_stays_is_named_among_others() {
    let mut world = World::new();
    let (set, copies) = world.walk(0, &["a", "b"], SetStatus::Exposed);
    world.fate("remove", Fate::FailNaming("Share"));
    world.ask(delete(set, copies[1], "b"));
    let failed = world.events.iter().find_map(|event| match event {
        Event::JobFailed {
            subject,
            operation: "withdraw",
            ..
        } => Some(subject.clone()),
        _ => None,
    });
    let subject = failed.unwrap();
    assert_eq!(subject.share, Some(ShareName::new("b")));
    assert_eq!(subject.copy, Some(copies[1]));
}

#[test]
fn a_deletion_that_cannot_be_stored_puts_the_share_back() {
    let mut world = World::new();
    let (set, copies) = world.walk(0, &["a"], SetStatus::Exposed);
    world.store_fails = true;
    world.hold("expose");
    assert_eq!(
        world.ask(delete(set, copies[0], "a")),
        Status::VSS_E_UNEXPECTED_PROVIDER_ERROR
    );
    world.store_fails = false;
    let back = &world.held[&world.held("expose").unwrap()];
    assert!(matches!(back, Job::Expose { shares, .. } if shares.len() == 1));
    // Nothing overtakes the share on its way back.
    let deleting = world.send(caller(CLIENT), delete(set, copies[0], "a"));
    assert_eq!(world.reply(deleting), None);
    world.done("expose");
    assert_eq!(world.status(deleting), Some(Status::ZERO));
    assert_eq!(world.set_status(set), None);
}

#[test]
fn a_withdrawal_that_hangs_is_answered_in_time_and_becomes_a_debt() {
    let mut world = World::new();
    let (set, copies) = world.walk(0, &["a", "b"], SetStatus::Recovered);
    world.hold("remove");
    let deleting = world.send(caller(CLIENT), delete(set, copies[0], "a"));
    world.pass(seconds(169));
    assert_eq!(world.reply(deleting), None);
    world.pass(seconds(1));
    assert_eq!(world.status(deleting), Some(Status::ZERO));
    assert_eq!(world.view().debts.len(), 2);
    assert_eq!(world.ran("remove"), 1, "the job still works on the copy");
    // The set goes on without it.
    world.no_fate("remove");
    assert_eq!(world.ask(delete(set, copies[1], "b")), Status::ZERO);
    assert_eq!(world.set_status(set), None);
    world.fail("remove", FailureKind::Other);
    assert_eq!(world.view().debts, []);
    let share = Artefact::Share(format!("a@{{{}}}", copies[0]));
    assert_eq!(world.removed().iter().filter(|a| **a == share).count(), 2);
}

#[test]
fn one_of_two_shares_of_a_copy_leaves_the_copy() {
    let mut world = World::with(AgentConfig {
        allow_shared_volume: true,
        ..AgentConfig::new("FILES")
    });
    let (set, copies) = world.walk(0, &["a", "a2"], SetStatus::Recovered);
    assert_eq!(copies[0], copies[1]);
    assert_eq!(world.ask(delete(set, copies[0], "a")), Status::ZERO);
    assert!(
        world
            .removed()
            .iter()
            .all(|a| matches!(a, Artefact::Share(_)))
    );
    assert_eq!(
        world.ask(delete(set, copies[0], "a")),
        Status::FSRVP_E_OBJECT_NOT_FOUND
    );
    assert_eq!(world.ask(delete(set, copies[0], "a2")), Status::ZERO);
    assert!(
        world
            .removed()
            .contains(&Artefact::Copy(copy_ref(copies[0], "va")))
    );
}

/// The timer of the set in creation is not the business of a recovered set.
#[test]
fn deleting_a_recovered_copy_does_not_hold_the_timer() {
    let mut world = World::new();
    let (old, copies) = world.walk(0, &["a"], SetStatus::Recovered);
    let (new, _) = world.walk(0, &["b"], SetStatus::Added);
    world.hold("remove");
    world.pass(seconds(1790));
    let deleting = world.send(caller(CLIENT), delete(old, copies[0], "a"));
    world.pass(seconds(10));
    assert_eq!(world.set_status(new), None, "the timer has fired");
    world.done("remove");
    world.done("remove");
    assert_eq!(world.status(deleting), Some(Status::ZERO));
}

#[test]
fn an_exposed_set_that_goes_takes_its_deletions_along() {
    let mut world = World::new();
    let (set, copies) = world.walk(0, &["a"], SetStatus::Exposed);
    world.hold("remove");
    let deleting = world.send(caller(CLIENT), delete(set, copies[0], "a"));
    let waiting = world.send(caller(CLIENT), delete(set, copies[0], "a"));
    let aborting = world.send(caller(CLIENT), abort(set));
    assert_eq!(world.status(deleting), Some(Status::FSRVP_E_WAIT_FAILED));
    assert_eq!(
        world.status(waiting),
        Some(Status::FSRVP_E_OBJECT_NOT_FOUND)
    );
    assert_eq!(world.status(aborting), Some(Status::ZERO));
    assert_eq!((world.timer(), world.context_set()), (None, false));
    world.no_fate("remove");
    world.done("remove");
    assert_eq!(world.view().debts, []);
}
