//! What an operator orders: the same table, the same jobs, the same "persist, then answer".

use crate::calls::*;
use crate::support::*;
use fsrvp_idl::{ShadowCopyId, ShadowCopySetId, Status};
use fsrvp_proto::job::{Artefact, FailureKind};
use fsrvp_proto::set::Phase;
use fsrvp_proto::{EndReason, Event, Order, OrderDone, OrderError, SetStatus};
use uuid::Uuid;

const WRITABLE: u32 = 0x0040_0009;
const SHORT: [SetStatus; 5] = [
    SetStatus::Started,
    SetStatus::Added,
    SetStatus::CreationInProgress,
    SetStatus::Committed,
    SetStatus::Exposed,
];

fn ended(world: &World, wanted: EndReason) -> usize {
    let is_it =
        |event: &&Event| matches!(event, Event::SetEnded { reason, .. } if *reason == wanted);
    world.events.iter().filter(is_it).count()
}

#[test]
fn a_set_short_of_recovered_is_aborted_and_the_next_one_can_start() {
    for status in SHORT {
        let mut world = World::new();
        let (set, _) = world.walk(WRITABLE, &["a", "b"], status);
        // A cut that is being made is told to stop and not waited for.
        let done = world.order(Order::Abort(set));
        assert_eq!(done, Some(Ok(OrderDone::default())), "{status:?}");
        assert_eq!(world.set_status(set), None, "{status:?}");
        assert!(
            !world.context_set() && world.timer().is_none(),
            "{status:?}"
        );
        assert_eq!(ended(&world, EndReason::Operator), 1, "{status:?}");
        assert_eq!(world.set_context(0), Status::ZERO);
        world.start().unwrap();
    }
}

#[test]
fn a_recovered_set_is_deleted_and_not_aborted() {
    let mut world = World::new();
    let (set, copies) = world.walk(WRITABLE, &["a", "b"], SetStatus::Recovered);
    let refused = world.order(Order::Abort(set)).unwrap().unwrap_err();
    assert!(matches!(refused, OrderError::BadState { .. }), "{refused}");
    assert!(refused.to_string().contains("recovered"), "{refused}");
    assert!(refused.to_string().contains("delete it"), "{refused}");
    assert_eq!(world.set_status(set), Some(SetStatus::Recovered));
    assert_eq!(
        world.order(Order::Delete(set)),
        Some(Ok(OrderDone::default()))
    );
    assert_eq!(world.set_status(set), None);
    let removed = world.removed();
    for copy in copies {
        assert!(
            removed
                .iter()
                .any(|artefact| matches!(artefact, Artefact::Copy(c) if c.copy == copy))
        );
    }
    assert_eq!(removed.len(), 4, "two shares and two copies");
    assert!(!world.store.keys().any(|key| key.starts_with("set/")));
}

#[test]
fn another_client_s_context_is_left_alone_by_the_deletion_of_a_recovered_set() {
    let mut world = World::new();
    let (old, _) = world.walk(0x09, &["a"], SetStatus::Recovered);
    let (new, _) = world.walk(0x09, &["b"], SetStatus::Added);
    let timer = world.timer();
    world.order(Order::Delete(old)).unwrap().unwrap();
    assert!(world.context_set());
    assert_eq!(world.timer(), timer);
    assert_eq!(world.set_status(new), Some(SetStatus::Added));
}

#[test]
fn one_copy_goes_and_the_last_takes_the_set_along() {
    for status in [SetStatus::Exposed, SetStatus::Recovered] {
        let mut world = World::new();
        let (set, copies) = world.walk(WRITABLE, &["a", "b"], status);
        world.order(Order::DeleteCopy(copies[0])).unwrap().unwrap();
        assert_eq!(world.set_status(set), Some(status));
        assert_eq!(world.view().sets[0].copies[0].id, copies[1]);
        assert!(world.order(Order::DeleteCopy(copies[0])).unwrap() == Err(OrderError::NotFound));
        world.order(Order::DeleteCopy(copies[1])).unwrap().unwrap();
        assert_eq!(world.set_status(set), None);
        assert!(!world.context_set(), "{status:?}");
    }
    let mut world = World::new();
    let (_, copies) = world.walk(WRITABLE, &["a", "b"], SetStatus::Committed);
    let refused = world.order(Order::DeleteCopy(copies[0])).unwrap();
    assert!(matches!(refused, Err(OrderError::BadState { .. })));
}

#[test]
fn a_copy_is_not_deleted_under_a_job() {
    let mut world = World::new();
    let (set, copies) = world.walk(WRITABLE, &["a", "b"], SetStatus::Exposed);
    world.hold("seal");
    let sealing = world.send(caller(CLIENT), recovery_complete(set));
    let order = world.begin_order(Order::DeleteCopy(copies[0]));
    assert_eq!(world.answers.get(&order), None);
    assert_eq!(world.ran("remove"), 0);
    world.done("seal");
    assert_eq!(world.status(sealing), Some(Status::ZERO));
    assert_eq!(world.answers[&order], Ok(OrderDone::default()));
}

#[test]
fn an_operator_seals_in_the_client_s_place() {
    let mut world = World::new();
    let (set, _) = world.walk(WRITABLE, &["a"], SetStatus::Exposed);
    world.order(Order::Seal(set)).unwrap().unwrap();
    assert_eq!(world.ran("seal"), 1);
    assert_eq!(world.set_status(set), Some(SetStatus::Recovered));
    assert!(!world.context_set());
    assert_eq!(world.timer(), None);
    let refused = world.order(Order::Seal(set)).unwrap().unwrap_err();
    assert!(
        refused.to_string().contains("only an exposed set"),
        "{refused}"
    );
}

#[test]
fn a_failure_is_told_in_words() {
    let mut world = World::new();
    let (set, _) = world.walk(WRITABLE, &["a"], SetStatus::Exposed);
    world.fate("seal", Fate::Fail(FailureKind::Busy));
    match world.order(Order::Seal(set)) {
        Some(Err(OrderError::Failed(failure))) => assert_eq!(failure.detail, "injected"),
        other => panic!("{other:?}"),
    }
    assert_eq!(world.set_status(set), Some(SetStatus::Exposed));
    assert_eq!(world.timer(), Some(180), "as after a client's failed call");
    // What cannot be removed is a debt; the set has gone all the same.
    world.fate("remove", Fate::Fail(FailureKind::Other));
    match world.order(Order::Delete(set)) {
        Some(Err(OrderError::Failed(failure))) => assert_eq!(failure.detail, "injected"),
        other => panic!("{other:?}"),
    }
    assert_eq!(world.set_status(set), None);
    assert_eq!(world.view().debts.len(), 2);
}

#[test]
fn a_debt_is_given_up_unless_a_job_tries_it() {
    let mut world = World::new();
    let (set, _) = world.walk(WRITABLE, &["a"], SetStatus::Recovered);
    world.fate("remove", Fate::Fail(FailureKind::Other));
    let _ = world.order(Order::Delete(set));
    let numbers: Vec<_> = world.view().debts.iter().map(|debt| debt.number).collect();
    let [first, second] = numbers.as_slice() else {
        panic!("{numbers:?}")
    };
    world.order(Order::ForgetDebt(*first)).unwrap().unwrap();
    let left = |world: &World| world.view().debts.iter().map(|debt| debt.number).collect();
    let remaining: Vec<u64> = left(&world);
    assert_eq!(remaining, [*second]);
    assert_eq!(
        world.order(Order::ForgetDebt(*first)),
        Some(Err(OrderError::NotFound))
    );
    // It is durable: the next start owes no more than that.
    world.restart_raw();
    let remaining: Vec<u64> = left(&world);
    assert_eq!(remaining, [*second]);
}

#[test]
fn nothing_is_answered_before_it_is_stored() {
    let mut world = World::new();
    let (set, _) = world.walk(WRITABLE, &["a"], SetStatus::Recovered);
    world.store_holds = true;
    let order = world.begin_order(Order::Delete(set));
    assert_eq!(world.answers.get(&order), None);
    assert_eq!(world.ran("remove"), 0, "acts follow the commit");
    world.stored_is(Err("disk full".to_owned()));
    match &world.answers[&order] {
        Err(OrderError::Failed(failure)) => assert!(failure.detail.contains("disk full")),
        other => panic!("{other:?}"),
    }
    assert_eq!(world.set_status(set), Some(SetStatus::Recovered));
}

#[test]
fn what_does_not_exist_is_not_found() {
    let mut world = World::new();
    let set = ShadowCopySetId(Uuid::from_u128(7));
    let copy = ShadowCopyId(Uuid::from_u128(8));
    for order in [
        Order::Abort(set),
        Order::Seal(set),
        Order::Delete(set),
        Order::DeleteCopy(copy),
    ] {
        assert_eq!(world.order(order), Some(Err(OrderError::NotFound)));
    }
    assert!(world.commits.is_empty());
}

#[test]
fn pruning_tries_debts_again_at_once() {
    let mut world = World::new();
    let (set, _) = world.walk(WRITABLE, &["a"], SetStatus::Recovered);
    world.fate("remove", Fate::Fail(FailureKind::Busy));
    world.order(Order::Delete(set)).unwrap().unwrap_err();
    world.pass(seconds(3_600));
    let tried = world.ran("remove");
    assert_eq!(world.view().debts.len(), 2);
    world.no_fate("remove");
    let done = world.order(Order::Prune(None)).unwrap().unwrap();
    assert_eq!((done.debts, done.sets.len()), (2, 0));
    assert!(world.ran("remove") > tried);
    assert!(world.view().debts.is_empty());
}

#[test]
fn orders_are_refused_while_the_server_ends() {
    let mut world = World::new();
    let (set, _) = world.walk(WRITABLE, &["a"], SetStatus::Exposed);
    world.hold("seal");
    let waiting = world.begin_order(Order::Seal(set));
    world.agent.shutdown(world.now);
    world.pump();
    let lost = Err(OrderError::Refused(Status::FSRVP_E_WAIT_FAILED));
    assert_eq!(world.answers[&waiting], lost);
    assert_eq!(world.order(Order::Delete(set)), Some(lost));
}

#[test]
fn the_phases_of_a_set_are_told_and_outlive_a_restart() {
    let mut world = World::new();
    world.hold("commit");
    let (set, _) = world.walk(WRITABLE, &["a"], SetStatus::Added);
    assert_eq!(world.ask(prepare(set, 1_000)), Status::ZERO);
    let committing = world.send(caller(CLIENT), commit(set, 60_000));
    world.pass(seconds(3));
    world.done("commit");
    assert_eq!(world.status(committing), Some(Status::ZERO));
    world.restart_raw();
    assert_eq!(world.ask(expose(set, 1_000)), Status::ZERO);
    assert_eq!(world.ask(recovery_complete(set)), Status::ZERO);
    let phases: Vec<_> = world.view().sets[0]
        .phases
        .iter()
        .map(|phase| (phase.phase, phase.took_ms))
        .collect();
    let expected = [
        (Phase::Prepare, 0),
        (Phase::Commit, 3_000),
        (Phase::Expose, 0),
        (Phase::Recover, 0),
    ];
    assert_eq!(phases, expected);
}

#[test]
fn an_order_is_answered_when_all_is_out_of_sight() {
    for status in [SetStatus::Exposed, SetStatus::Recovered] {
        let mut world = World::new();
        let (set, _) = world.walk(WRITABLE, &["a", "b"], status);
        world.hold("remove");
        let order = world.begin_order(Order::Delete(set));
        assert_eq!(world.answers.get(&order), None, "{status:?}");
        world.pass(seconds(5));
        assert_eq!(world.answers.get(&order), None, "{status:?}");
        world.done("remove");
        assert_eq!(world.answers[&order], Ok(OrderDone::default()));
    }
}

#[test]
fn a_full_store_is_told_in_words_by_every_order() {
    for (status, order) in [
        (SetStatus::Committed, Order::Abort as fn(_) -> _),
        (SetStatus::Exposed, Order::Seal),
        (SetStatus::Exposed, Order::Delete),
        (SetStatus::Recovered, Order::Delete),
    ] {
        let mut world = World::new();
        let (set, _) = world.walk(WRITABLE, &["a"], status);
        world.store_fails = true;
        match world.order(order(set)) {
            Some(Err(OrderError::Failed(failure))) => {
                assert!(failure.detail.contains("disk full"), "{failure:?}");
            }
            other => panic!("{status:?}: {other:?}"),
        }
        assert_eq!(world.set_status(set), Some(status));
    }
}

/// The deletion of a share of a Recovered set leaves the timer alone (rule 8), and so does the
/// order that overtakes it.
#[test]
fn an_order_that_overtakes_a_deletion_leaves_another_client_s_wait_alone() {
    let mut world = World::new();
    let (old, copies) = world.walk(0x09, &["a"], SetStatus::Recovered);
    let (new, _) = world.walk(0x09, &["b"], SetStatus::Added);
    world.hold("prepare");
    let preparing = world.send(caller(CLIENT), prepare(new, 1_800_000));
    world.hold("remove");
    let deleting = world.send(caller(CLIENT), delete(old, copies[0], "a"));
    world.begin_order(Order::Delete(old));
    assert_eq!(world.status(deleting), Some(Status::FSRVP_E_WAIT_FAILED));
    assert_eq!(world.reply(preparing), None);
    assert_eq!(world.timer(), None, "a caller waits");
}
