//! Debts are kept, retried with growing pauses, shown, and in nobody's way (rules 13 and 18).

use crate::calls::*;
use crate::support::*;
use fsrvp_idl::Status;
use fsrvp_proto::directory::ExposedShare;
use fsrvp_proto::job::{Artefact, FailureKind, Job};
use fsrvp_proto::{Event, Found, JobOutcome, SetStatus};

#[test]
fn a_snapshot_that_will_not_go_is_tried_again_until_it_does() {
    let mut world = World::new();
    let (set, copies) = world.walk(0, &["a"], SetStatus::Committed);
    world.fate("remove", Fate::Fail(FailureKind::Busy));
    assert_eq!(
        world.ask(abort(set)),
        Status::VSS_E_UNEXPECTED_PROVIDER_ERROR
    );
    assert_eq!((world.set_status(set), world.context_set()), (None, false));
    let view = world.view().debts;
    assert_eq!(view.len(), 1);
    assert_eq!(view[0].artefact, Artefact::Copy(copy_ref(copies[0], "va")));
    assert_eq!((view[0].attempts, view[0].set), (1, Some(set)));
    assert_eq!(view[0].failure.as_deref(), Some("injected"));
    // 1 s, 2 s, 4 s, 8 s: five attempts in fifteen seconds.
    let mut attempts = Vec::new();
    for _ in 0..15 {
        world.pass(seconds(1));
        attempts.push(world.ran("remove"));
    }
    assert_eq!(attempts, [2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 5]);
    // The next set does not mind.
    let (next, _) = world.walk(0, &["a"], SetStatus::Committed);
    assert_eq!(world.set_status(next), Some(SetStatus::Committed));
    world.no_fate("remove");
    world.pass(seconds(17));
    assert_eq!(world.view().debts, []);
    let artefact = Artefact::Copy(copy_ref(copies[0], "va"));
    assert!(world.events.contains(&Event::DebtPaid { artefact }));
}

#[test]
fn pauses_never_pass_ten_minutes() {
    let mut world = World::new();
    let (set, _) = world.walk(0, &["a"], SetStatus::Committed);
    world.fate("remove", Fate::Fail(FailureKind::Other));
    world.ask(abort(set));
    world.pass(seconds(3 * 3600));
    let before = world.ran("remove");
    world.pass(seconds(6000));
    assert_eq!(world.ran("remove"), before + 10);
}

#[test]
fn debts_outlive_a_restart() {
    let mut world = World::new();
    let (set, copies) = world.walk(0, &["a"], SetStatus::Exposed);
    world.fate("remove", Fate::Fail(FailureKind::Other));
    world.ask(abort(set));
    world.no_fate("remove");
    let before = world.ran("remove");
    world.restart_raw();
    let tried: Vec<_> = world.removed().split_off(world.removed().len() - 2);
    assert_eq!(
        world.ran("remove"),
        before + 2,
        "the share first, then the copy"
    );
    assert_eq!(
        tried,
        [
            Artefact::Share(format!("a@{{{}}}", copies[0])),
            Artefact::Copy(copy_ref(copies[0], "va")),
        ]
    );
    assert_eq!(world.view().debts, []);
}

/// Rule 14: "The reply goes out when share *and* snapshot are out of sight".
#[test]
fn the_reply_does_not_wait_for_what_is_out_of_sight() {
    for end in [None, Some(FailureKind::Other)] {
        let mut world = World::new();
        let (set, copies) = world.walk(0, &["a"], SetStatus::Recovered);
        world.hold("remove");
        let call = world.send(caller("10.0.0.1"), delete(set, copies[0], "a"));
        let withdrawal = world.held("remove").unwrap();
        world.agent.handle_out_of_sight(world.now, withdrawal);
        world.pump();
        assert_eq!(world.status(call), None, "the mapping is still stored");
        world.done("remove");
        let removal = world.held("remove").unwrap();
        assert_eq!(world.status(call), None, "the snapshot is still in sight");
        world.agent.handle_out_of_sight(world.now, removal);
        world.pump();
        assert_eq!(world.status(call), Some(Status::ZERO));
        assert_eq!(world.view().debts.len(), 1, "a power cut may bring it back");
        // Told twice, it is answered once; and the next set need not wait.
        world.agent.handle_out_of_sight(world.now, removal);
        world.pump();
        assert_eq!(world.set_context(0), Status::ZERO);
        match end {
            None => world.done("remove"),
            Some(failure) => world.fail("remove", failure),
        }
        let owed = usize::from(end.is_some());
        assert_eq!(world.view().debts.len(), owed);
        world.no_fate("remove");
        world.pass(seconds(3));
        assert_eq!(world.view().debts, []);
    }
}

/// A volume that hangs keeps its own debts only.
#[test]
fn a_removal_that_hangs_holds_up_no_other_volume() {
    let mut world = World::new();
    let (set, _) = world.walk(0, &["a", "b"], SetStatus::Committed);
    world.fate("remove", Fate::Fail(FailureKind::Other));
    world.ask(abort(set));
    world.pass(seconds(1) / 2);
    let (set, _) = world.walk(0, &["a"], SetStatus::Committed);
    world.ask(abort(set));
    assert_eq!(world.view().debts.len(), 3);
    world.hold("remove");
    world.pass(seconds(3));
    assert_eq!(world.held.len(), 2, "one job for each volume");
    let hangs = |job: &Job| format!("{job:?}").contains(r#"VolumeId("va")"#);
    assert_eq!(world.held.values().filter(|job| hangs(job)).count(), 1);
    world.pass(seconds(3600));
    assert_eq!(world.held.len(), 2, "what hangs is not tried twice");
    let free = *world.held.iter().find(|(_, job)| !hangs(job)).unwrap().0;
    world.held.remove(&free);
    let outcome = JobOutcome::Removed(Vec::new());
    world.agent.handle_job(world.now, free, outcome);
    world.pump();
    assert_eq!(world.view().debts.len(), 2);
    // When it wakes up the rest of its volume follows.
    world.no_fate("remove");
    world.done("remove");
    assert_eq!(world.view().debts, []);
}

#[test]
fn paid_debts_leave_the_store_in_company_or_in_numbers() {
    let mut world = World::new();
    for _ in 0..100 {
        let (set, copies) = world.walk(0, &["a", "b", "hid$"], SetStatus::Recovered);
        for (copy, share) in copies.iter().zip(["a", "b", "hid$"]) {
            assert_eq!(world.ask(delete(set, *copy, share)), Status::ZERO);
        }
        assert!(world.stored().debts().count() <= 3);
    }
    // Sets that time out all at once have no company: enough payments are stored by themselves.
    let orphan = |number| ExposedShare {
        name: format!("x@{{{number}}}"),
        path: "/srv".into(),
        read_only: true,
    };
    let found = Found {
        copies: Vec::new(),
        shares: (0..300).map(orphan).collect(),
    };
    world.recover_with(found, "boot");
    world.pass(seconds(60));
    assert_eq!(world.view().debts, []);
    assert!(world.stored().debts().count() < 256);
}

/// Rule 18: "The volume refuses until the old job has ended."
#[test]
fn the_volume_of_an_old_job_refuses_and_others_do_not() {
    let mut world = World::new();
    let (set, _) = world.walk(0, &["a"], SetStatus::Added);
    world.hold("commit");
    let waiting = world.send(caller(CLIENT), commit(set, 60_000));
    assert_eq!(world.ask(abort(set)), Status::ZERO);
    assert_eq!(world.status(waiting), Some(Status::FSRVP_E_WAIT_FAILED));
    assert_eq!(world.cancelled.len(), 1);
    assert_eq!(world.ran("remove"), 0, "the job still works on the copy");
    world.set_context(0);
    let next = world.start().unwrap();
    let busy = Status::VSS_E_UNEXPECTED_PROVIDER_ERROR;
    assert_eq!(world.add(next, "a"), Err(busy));
    assert_eq!(world.timer(), Some(180));
    assert!(world.add(next, "b").is_ok());
    world.fail("commit", FailureKind::Lost);
    assert_eq!(world.ran("remove"), 1);
    assert_eq!(world.view().debts, []);
    assert!(world.add(next, "a").is_ok());
}

/// Rule 18: "the volume refuses until the old job has ended". A removal is quick; one that is not
/// holds up the volume, and nobody else.
#[test]
fn a_removal_that_hangs_makes_its_volume_refuse_until_it_ends() {
    let mut world = World::new();
    let (old, copies) = world.walk(0x0040_0009, &["a"], SetStatus::Recovered);
    world.fate("remove", Fate::Hold);
    let deleting = world.send(caller(CLIENT), delete(old, copies[0], "a"));
    world.done("remove");
    assert!(world.held("remove").is_some(), "the snapshot");
    let (set, _) = world.walk(0, &["a", "b"], SetStatus::Added);
    world.ask(abort(set));
    world.pass(seconds(60));
    world.set_context(0);
    let set = world.start().unwrap();
    let busy = Status::VSS_E_UNEXPECTED_PROVIDER_ERROR;
    assert_eq!(world.add(set, "a"), Err(busy));
    assert_eq!(world.add(set, "a2"), Err(busy), "the same volume");
    assert!(world.add(set, "b").is_ok());
    world.pass(seconds(110));
    assert_eq!(
        world.status(deleting),
        Some(Status::ZERO),
        "the rest is a debt"
    );
    world.done("remove");
    assert!(world.add(set, "a").is_ok());
}

/// A long list of debts that a hung job holds does not hide the one that can be tried.
#[test]
fn debts_that_a_hung_job_holds_hide_no_other() {
    let mut world = World::new();
    let names: Vec<&'static str> = (0..64)
        .map(|number| &*format!("s{number}").leak())
        .collect();
    for name in &names {
        world.shares.insert((*name).to_owned(), (name, 3));
    }
    let (hung, _) = world.walk(0, &names, SetStatus::Committed);
    world.hold("expose");
    world.send(caller(CLIENT), expose(hung, 0));
    world.no_fate("expose");
    world.fate("remove", Fate::Fail(FailureKind::Other));
    world.send(caller(CLIENT), abort(hung));
    let (other, copies) = world.walk(0, &["b"], SetStatus::Exposed);
    world.ask(abort(other));
    world.no_fate("remove");
    // Passing time fails when the agent asks for the same timeout again.
    world.pass(seconds(60));
    let share = Artefact::Share(format!("b@{{{}}}", copies[0]));
    assert!(world.events.contains(&Event::DebtPaid { artefact: share }));
}
