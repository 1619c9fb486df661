//! What is decided at start, case by case (rule 17), and that deciding twice changes nothing.

use crate::calls::*;
use crate::support::*;
use fsrvp_idl::{ShadowCopyId, Status};
use fsrvp_proto::directory::ExposedShare;
use fsrvp_proto::job::Artefact;
use fsrvp_proto::{Found, Recovered, RecoveryNote, SetStatus, recover};

const WRITABLE: u32 = 0x0040_0009;
const BOOT: &str = "boot 1";

fn share(name: &str, copy: ShadowCopyId, read_only: bool) -> ExposedShare {
    ExposedShare {
        name: format!("{name}@{{{copy}}}"),
        path: "/srv/copy".into(),
        read_only,
    }
}

/// Decides, and decides again on the result with the same things found.
fn decide(world: &World, found: &Found, boot_id: &str) -> Recovered {
    let first = recover(world.stored(), found.clone(), boot_id, world.now);
    let second = recover(first.table.clone(), found.clone(), boot_id, world.now);
    assert_eq!(second.table, first.table);
    assert_eq!(second.edits, []);
    assert_eq!(second.remove, first.remove);
    assert_eq!(second.publish, first.publish);
    // The edits are the decision: a store that has them loads as the same table.
    let mut store = world.store.clone();
    for edit in &first.edits {
        match &edit.value {
            Some(value) => store.insert(edit.key.clone(), value.clone()),
            None => store.remove(&edit.key),
        };
    }
    assert_eq!(fsrvp_proto::Table::load(store).unwrap(), first.table);
    first
}

#[test]
fn a_sound_world_changes_nothing_but_the_boot_id() {
    let mut world = World::new();
    let (_, copies) = world.walk(WRITABLE, &["a"], SetStatus::Recovered);
    let (_, more) = world.walk(WRITABLE, &["b"], SetStatus::Exposed);
    let found = Found {
        copies: vec![copy_ref(copies[0], "va"), copy_ref(more[0], "vb")],
        shares: vec![share("a", copies[0], true), share("B", more[0], false)],
    };
    let decided = decide(&world, &found, BOOT);
    assert_eq!(decided.edits.len(), 1);
    assert_eq!(
        (decided.report, decided.remove, decided.publish),
        (vec![], vec![], vec![])
    );
    assert_eq!(decided.table.boot_id(), Some(BOOT));
}

#[test]
fn an_unrecorded_commit_is_undone_before_the_set_goes_on() {
    let mut world = World::new();
    let (set, copies) = world.walk(WRITABLE, &["a", "b"], SetStatus::CreationInProgress);
    let found = Found {
        copies: vec![copy_ref(copies[1], "vb")],
        shares: vec![],
    };
    let decided = decide(&world, &found, BOOT);
    let leftover = Artefact::Copy(copy_ref(copies[1], "vb"));
    assert_eq!(
        decided.report,
        [RecoveryNote::Undone {
            set,
            artefacts: vec![leftover.clone()]
        }]
    );
    world.hold("remove");
    world.recover_with(found, BOOT);
    assert_eq!(world.set_status(set), Some(SetStatus::Added));
    assert_eq!(world.timer(), Some(180));
    assert_eq!(world.removed(), [leftover]);
    let commits = world.ran("commit");
    let committing = world.send(caller(CLIENT), commit(set, 60_000));
    assert_eq!(world.ran("commit"), commits);
    world.done("remove");
    assert_eq!(world.status(committing), Some(Status::ZERO));
    assert!(world.stored().set(set).unwrap().undo.is_empty());
}

#[test]
fn an_unrecorded_expose_is_undone() {
    let mut world = World::new();
    let (set, copies) = world.walk(WRITABLE, &["a"], SetStatus::Committed);
    let found = Found {
        copies: vec![copy_ref(copies[0], "va")],
        shares: vec![share("a", copies[0], false)],
    };
    decide(&world, &found, BOOT);
    world.recover_with(found, BOOT);
    assert_eq!(
        world.removed(),
        [Artefact::Share(format!("a@{{{}}}", copies[0]))]
    );
    assert_eq!(world.set_status(set), Some(SetStatus::Committed));
    assert_eq!(world.ask(expose(set, 1000)), Status::ZERO);
}

#[test]
fn shares_that_should_be_there_are_published_again() {
    let mut world = World::new();
    let (old, copies) = world.walk(WRITABLE, &["a", "b"], SetStatus::Recovered);
    let (new, more) = world.walk(WRITABLE, &["a"], SetStatus::Exposed);
    let all = [
        copy_ref(copies[0], "va"),
        copy_ref(copies[1], "vb"),
        copy_ref(more[0], "va"),
    ];
    let found = Found {
        copies: all.to_vec(),
        // One was deleted by hand, one turned writable by hand; the third was being sealed.
        shares: vec![share("b", copies[1], false), share("a", more[0], true)],
    };
    let decided = decide(&world, &found, BOOT);
    let published: Vec<_> = decided
        .publish
        .iter()
        .map(|e| (e.name.clone(), e.writable))
        .collect();
    let names = [
        format!("a@{{{}}}", copies[0]),
        format!("b@{{{}}}", copies[1]),
    ];
    assert_eq!(
        published,
        [(names[0].clone(), false), (names[1].clone(), false)]
    );
    assert_eq!(
        decided.report,
        [
            RecoveryNote::ShareVanished {
                set: old,
                share: names[0].clone()
            },
            RecoveryNote::ShareWritable {
                set: old,
                share: names[1].clone()
            },
        ]
    );
    assert_eq!(decided.table.set(new).unwrap().status, SetStatus::Exposed);
}

#[test]
fn a_copy_that_has_vanished_is_dropped_with_its_share() {
    let mut world = World::new();
    let (set, copies) = world.walk(WRITABLE, &["a", "b"], SetStatus::Recovered);
    let found = Found {
        copies: vec![copy_ref(copies[1], "vb")],
        shares: vec![share("a", copies[0], true), share("b", copies[1], true)],
    };
    let decided = decide(&world, &found, BOOT);
    let gone = format!("a@{{{}}}", copies[0]);
    assert_eq!(
        decided.report,
        [
            RecoveryNote::CopyVanished {
                set,
                copy: copies[0]
            },
            RecoveryNote::OrphanShare(gone.clone()),
        ]
    );
    assert_eq!(decided.remove, [Artefact::Share(gone)]);
    let decided = decide(&world, &Found::default(), BOOT);
    assert!(decided.report.contains(&RecoveryNote::SetVanished(set)));
    assert_eq!(decided.table.sets().count(), 0);
}

/// A committed set that has vanished ends its context, so that the next backup can start.
#[test]
fn a_committed_set_that_has_vanished_ends_its_context() {
    let mut world = World::new();
    world.walk(WRITABLE, &["a"], SetStatus::Committed);
    world.recover_with(Found::default(), BOOT);
    assert_eq!((world.context_set(), world.timer()), (false, None));
    assert_eq!(world.set_context_from(OTHER_CLIENT, 0), Status::ZERO);
}

#[test]
fn what_bears_our_mark_and_is_in_no_record_goes() {
    let mut world = World::new();
    let copy = ShadowCopyId(uuid::Uuid::from_u128(0xDEAD));
    let found = Found {
        copies: vec![copy_ref(copy, "va")],
        shares: vec![share("a", copy, true)],
    };
    let decided = decide(&world, &found, BOOT);
    assert_eq!(decided.table.debts().count(), 2);
    world.recover_with(found, BOOT);
    assert_eq!(world.removed(), decided.remove);
    assert_eq!(world.view().debts, []);
    // The payment was not stored: the next start finds nothing of it, and takes it for paid.
    assert_eq!(world.stored().debts().count(), 2);
    let decided = decide(&world, &Found::default(), BOOT);
    assert_eq!(decided.table.debts().count(), 0);
    assert!(matches!(
        decided.report[..],
        [RecoveryNote::DebtPaid(_), RecoveryNote::DebtPaid(_)]
    ));
}

/// Rule 17: "Contexts without ATTR_PERSISTENT [...] go when the boot id has changed, not before."
#[test]
fn a_reboot_ends_what_is_not_persistent() {
    for context in [0x00, 0x09, 0x10, 0x19] {
        for recovery in [0, 0x02, 0x0040_0000] {
            let persistent = context & 1 != 0;
            let mut world = World::new();
            let (old, copies) = world.walk(context | recovery, &["a"], SetStatus::Recovered);
            let (new, more) = world.walk(context | recovery, &["b"], SetStatus::Committed);
            let found = Found {
                copies: vec![copy_ref(copies[0], "va"), copy_ref(more[0], "vb")],
                shares: vec![share("a", copies[0], true)],
            };
            world.recover_with(found.clone(), BOOT);
            assert_eq!(world.view().sets.len(), 2, "a first start is no reboot");
            world.recover_with(found.clone(), BOOT);
            assert_eq!(world.view().sets.len(), 2, "a restart is no reboot");
            let decided = decide(&world, &found, "boot 2");
            world.recover_with(found, "boot 2");
            assert_eq!(world.context_set(), persistent);
            assert_eq!(world.set_status(old).is_some(), persistent);
            assert_eq!(world.set_status(new).is_some(), persistent);
            assert_eq!(decided.remove.len(), if persistent { 0 } else { 3 });
            assert_eq!(world.removed().len(), decided.remove.len());
        }
    }
}

/// As many copies as a busy server may have, half of them orphaned: a client is served while the
/// orphans go in portions.
#[test]
fn ten_thousand_copies_do_not_keep_a_client_waiting() {
    const SETS: u128 = 5_000;
    let mut world = World::new();
    let (template, copies) = world.walk(WRITABLE, &["a"], SetStatus::Recovered);
    let key = format!("set/{template}");
    let record = String::from_utf8(world.store.remove(&key).unwrap()).unwrap();
    let mut found = Found::default();
    for number in 0..SETS {
        let set = uuid::Uuid::from_u128(0x5E_0000 + number).to_string();
        let copy = ShadowCopyId(uuid::Uuid::from_u128(0xC0_0000 + number));
        let record = record
            .replace(&template.to_string(), &set)
            .replace(&copies[0].to_string(), &copy.to_string());
        world
            .store
            .insert(format!("set/{set}"), record.into_bytes());
        let orphan = ShadowCopyId(uuid::Uuid::from_u128(0xDE_0000 + number));
        found
            .copies
            .extend([copy_ref(copy, "va"), copy_ref(orphan, "va")]);
        found.shares.push(share("a", copy, true));
    }
    world.hold("remove");
    world.recover_with(found, BOOT);
    assert_eq!(world.view().sets.len(), 5_000);
    assert_eq!(world.view().debts.len(), 5_000);
    assert_eq!(world.held.len(), 1);
    assert_eq!(world.set_context(0), Status::ZERO);
    world.no_fate("remove");
    world.done("remove");
    assert_eq!(world.view().debts, []);
}
