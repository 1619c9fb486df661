//! Whole walks, and what each method answers.

use crate::calls::*;
use crate::support::*;
use fsrvp_idl::{Response, ShadowCopyId, ShadowCopySetId, Status};
use fsrvp_proto::SetStatus;
use fsrvp_proto::job::Artefact;

#[test]
fn a_writable_copy_is_made_used_and_deleted() {
    let mut world = World::new();
    let supported = world.call(path_supported(r"\\FILES\a\"));
    assert_eq!(
        supported,
        Response::IsPathSupported {
            supported_by_this_provider: true,
            owner_machine_name: Some("FILES".to_owned()),
            status: Status::ZERO,
        }
    );
    let (set, copies) = world.walk(0x0040_0000, &["a", "b"], SetStatus::Exposed);
    let copy = copies[0];
    let mapping = world.mapping(set, copy, "A").unwrap();
    assert_eq!(mapping.share_name_unc, unc("a"));
    assert_eq!(
        mapping.shadow_copy_share_name,
        Some(format!("a@{{{copy}}}"))
    );
    assert_eq!(mapping.creation_timestamp.0, START_OF_TIME);
    assert_eq!(world.ask(recovery_complete(set)), Status::ZERO);
    assert_eq!(world.ran("seal"), 1);
    assert_eq!(world.set_status(set), Some(SetStatus::Recovered));
    assert_eq!((world.timer(), world.context_set()), (None, false));
    for (copy, share, volume) in [(copies[0], "a", "va"), (copies[1], "b", "vb")] {
        assert_eq!(world.ask(delete(set, copy, share)), Status::ZERO);
        let removed = world.removed();
        assert!(removed.contains(&Artefact::Share(format!("{share}@{{{copy}}}"))));
        assert!(removed.contains(&Artefact::Copy(copy_ref(copy, volume))));
    }
    assert_eq!(world.set_status(set), None);
    assert_eq!(world.agent.poll_timeout(), None);
    assert_eq!(world.view().debts, []);
    assert_eq!(world.view().jobs, []);
    assert_eq!(world.view().calls_in_progress, 0);
}

/// SetContext, Start, Add, Commit, Expose, RecoveryComplete and Delete: one durable commit each;
/// Prepare, GetShareMapping and the rest none.
#[test]
fn each_change_costs_one_durable_commit() {
    let mut world = World::new();
    let mut last = 0;
    let mut cost = |world: &World| {
        let cost = world.commits.len() - last;
        last = world.commits.len();
        cost
    };
    world.set_context(0x0040_0000);
    assert_eq!(cost(&world), 1);
    let set = world.start().unwrap();
    assert_eq!(cost(&world), 1);
    let copy = world.add(set, "a").unwrap();
    assert_eq!(cost(&world), 1);
    world.ask(prepare(set, 1000));
    assert_eq!(cost(&world), 0);
    world.ask(commit(set, 1000));
    assert_eq!(cost(&world), 1);
    world.ask(expose(set, 1000));
    assert_eq!(cost(&world), 1);
    world.mapping(set, copy, "a").unwrap();
    assert_eq!(cost(&world), 0);
    world.ask(recovery_complete(set));
    assert_eq!(cost(&world), 1);
    world.call(path_shadow_copied("a"));
    assert_eq!(cost(&world), 0);
    world.ask(delete(set, copy, "a"));
    assert_eq!(cost(&world), 1);
    assert_eq!(
        world.stored().debts().count(),
        1,
        "the paid debt waits for company"
    );
    world.set_context(0);
    assert_eq!(cost(&world), 1);
    assert_eq!(world.stored().debts().count(), 0);
}

#[test]
fn an_empty_server_knows_no_set() {
    for (mut world, unknown) in [
        (World::new(), Status::FSRVP_E_SHADOWCOPYSET_ID_MISMATCH),
        (World::ws2012(), Status::E_INVALIDARG),
    ] {
        let set = ShadowCopySetId(uuid::Uuid::from_u128(1));
        let copy = ShadowCopyId(uuid::Uuid::from_u128(2));
        for request in [
            add(set, "a"),
            prepare(set, 1),
            commit(set, 1),
            expose(set, 1),
            recovery_complete(set),
            abort(set),
            get_mapping(set, copy, "a"),
        ] {
            assert_eq!(world.ask(request.clone()), unknown, "{request:?}");
        }
        assert_eq!(
            world.ask(delete(set, copy, "a")),
            Status::FSRVP_E_OBJECT_NOT_FOUND
        );
        assert_eq!(world.agent.poll_timeout(), None);
    }
}
