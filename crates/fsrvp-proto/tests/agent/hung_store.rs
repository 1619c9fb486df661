//! A store that does not answer: whoever waits for it is told in time, and the table is what the
//! store says in the end (rules 17 and 18).

use crate::calls::*;
use crate::support::*;
use fsrvp_idl::{Request, Status};
use fsrvp_proto::{AgentConfig, Event, SetStatus};

const UNSTORED: Status = Status::VSS_E_UNEXPECTED_PROVIDER_ERROR;

fn hangs(world: &World) -> usize {
    let hangs = |event: &&Event| matches!(event, Event::StoreHangs { .. });
    world.events.iter().filter(hangs).count()
}

#[test]
fn everybody_is_told_after_a_minute_and_newcomers_at_once() {
    let mut world = World::new();
    world.store_holds = true;
    let first = world.send(caller(CLIENT), Request::SetContext { context: 0 });
    let second = world.send(caller(CLIENT), start());
    world.pass(seconds(59));
    assert_eq!((world.reply(first), world.reply(second)), (None, None));
    world.pass(seconds(1));
    assert_eq!(world.status(first), Some(UNSTORED));
    assert_eq!(world.status(second), Some(UNSTORED));
    assert_eq!(hangs(&world), 1);
    assert_eq!(world.view().store_hangs_ms, Some(60_000));
    assert_eq!(world.ask(start()), UNSTORED);
    assert_eq!(world.ask(Request::SetContext { context: 0 }), UNSTORED);
    // Questions are still answered, and nothing is piled up.
    assert_eq!(
        world.ask(path_supported(r"\\files\b")),
        Status::ZERO,
        "a question that no change touches"
    );
    assert_eq!(world.view().calls_in_progress, 0);
    assert_eq!(hangs(&world), 1, "said once");
    assert_eq!(world.waiting_commits.len(), 1);
}

/// The caller was told of a failure, and the change is durable: the table is what the store has.
#[test]
fn a_store_that_answers_in_the_end_is_believed() {
    for stored in [true, false] {
        let mut world = World::new();
        let (set, _) = world.walk(0, &["a"], SetStatus::Added);
        world.store_holds = true;
        let committing = world.send(caller(CLIENT), commit(set, 60_000));
        world.pass(seconds(61));
        assert_eq!(world.status(committing), Some(UNSTORED));
        let result = match stored {
            true => Ok(()),
            false => Err("input/output error".to_owned()),
        };
        world.store_holds = false;
        world.stored_is(result);
        let expected = match stored {
            true => SetStatus::Committed,
            false => SetStatus::Added,
        };
        assert_eq!(world.set_status(set), Some(expected));
        assert_eq!(
            world.stored().set(set).map(|set| set.status),
            Some(expected)
        );
        assert_eq!(world.view().store_hangs_ms, None);
        let answers = Event::StoreAnswers { after: seconds(61) };
        assert!(world.events.contains(&answers), "{:?}", world.events);
        assert_eq!(world.ran("remove"), usize::from(!stored), "undone");
        // Nothing stays for ever: the timer runs again.
        assert_eq!(world.timer(), Some(180));
        world.pass(seconds(180));
        assert_eq!(world.view().sets, []);
    }
}

#[test]
fn an_outcome_that_cannot_be_stored_comes_to_its_turn_later() {
    let mut world = World::new();
    let (old, copies) = world.walk(0x0040_0009, &["b"], SetStatus::Recovered);
    let (set, _) = world.walk(0, &["a"], SetStatus::Added);
    world.hold("prepare");
    let preparing = world.send(caller(CLIENT), prepare(set, 1_800_000));
    world.store_holds = true;
    let deleting = world.send(caller(CLIENT), delete(old, copies[0], "b"));
    world.done("prepare");
    world.no_fate("prepare");
    assert_eq!(
        world.reply(preparing),
        None,
        "its outcome waits for its turn"
    );
    world.pass(seconds(60));
    assert_eq!(world.status(preparing), Some(UNSTORED));
    assert_eq!(world.status(deleting), Some(UNSTORED));
    let prepared = world.ran("prepare");
    world.store_holds = false;
    world.stored_is(Ok(()));
    assert_eq!(world.set_status(old), None, "deleted after all");
    assert_eq!(world.ask(prepare(set, 0)), Status::ZERO);
    assert_eq!(world.ran("prepare"), prepared, "the late outcome");
}

/// The share took its time to be withdrawn, and then the store hung.
#[test]
fn a_deletion_is_answered_within_its_limit_all_the_same() {
    let mut world = World::with(AgentConfig {
        store_limit: seconds(600),
        ..AgentConfig::new("FILES")
    });
    let (old, copies) = world.walk(0x0040_0009, &["a"], SetStatus::Recovered);
    world.hold("remove");
    let deleting = world.send(caller(CLIENT), delete(old, copies[0], "a"));
    world.pass(seconds(160));
    world.store_holds = true;
    let context = world.send(caller(CLIENT), Request::SetContext { context: 0 });
    let queued = world.send(caller(CLIENT), start());
    world.pass(seconds(10));
    assert_eq!(world.status(deleting), Some(UNSTORED));
    assert_eq!(world.reply(context), None);
    world.pass(seconds(160));
    assert_eq!(world.status(context), Some(UNSTORED));
    assert_eq!(world.status(queued), Some(UNSTORED));
    assert_eq!(hangs(&world), 0);
    world.no_fate("remove");
    world.store_holds = false;
    world.stored_is(Ok(()));
    world.done("remove");
    world.pass(seconds(10));
    assert_eq!(world.set_status(old), None);
    assert_eq!(world.view().debts, []);
    assert_eq!(world.view().calls_in_progress, 0);
}

#[test]
fn an_add_that_was_looked_up_meanwhile_is_told_too() {
    let mut world = World::new();
    let (set, _) = world.walk(0, &["a"], SetStatus::Added);
    world.store_holds = true;
    let adding = world.send(caller(CLIENT), add(set, "b"));
    world.pass(seconds(30));
    let second = world.send(caller(CLIENT), add(set, "hid$"));
    world.pass(seconds(30));
    assert_eq!(world.status(adding), Some(UNSTORED));
    assert_eq!(world.status(second), Some(UNSTORED));
    assert_eq!(world.ask(add(set, "hid$")), UNSTORED);
    world.store_holds = false;
    world.stored_is(Ok(()));
    // The first was stored; a client that tries again is told so.
    assert_eq!(
        world.add(set, "b"),
        Err(Status::FSRVP_E_OBJECT_ALREADY_EXISTS)
    );
    assert_eq!(world.view().sets[0].copies.len(), 2);
}
