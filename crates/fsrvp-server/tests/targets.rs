//! File lists: kept in the store, used up by the set that commits, and by no other.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use fsrvp_idl::{Context, FileTime, ShadowCopyId, ShadowCopySetId, ShareName};
use fsrvp_proto::Edit;
use fsrvp_proto::job::{BackendName, VolumeId};
use fsrvp_proto::set::{SetStatus, ShadowCopy, ShadowCopySet};
use fsrvp_server::store::{MemoryStore, StateStore};
use fsrvp_server::targets::{FileList, FileListEditor, MOST_FILES, StoreWithLists, TargetsError};
use fsrvp_snapshot::clone::Targets;
use std::path::PathBuf;
use std::sync::Arc;
use uuid::Uuid;

fn share(name: &str) -> ShareName {
    ShareName::new(name)
}

fn list(name: &str, files: &[&str], standing: bool) -> FileList {
    FileList {
        share: share(name),
        files: files.iter().map(|file| (*file).to_owned()).collect(),
        standing,
    }
}

type Store = Arc<StoreWithLists<MemoryStore>>;

fn open(records: Vec<(String, Vec<u8>)>) -> (Store, FileListEditor) {
    let store = StoreWithLists::open(MemoryStore::with(records)).unwrap();
    let store = Arc::new(store);
    let editor = FileListEditor::of(&store);
    (store, editor)
}

/// As the next process finds the store.
fn reopened(store: &Store) -> (Store, FileListEditor) {
    open(store.inner().load().unwrap())
}

fn copy(number: u128) -> ShadowCopyId {
    ShadowCopyId(Uuid::from_u128(number))
}

/// What the agent stores when a set with these copies has come to a status.
fn recorded(status: SetStatus, copies: &[ShadowCopyId]) -> Edit {
    let id = ShadowCopySetId(Uuid::from_u128(0xABCD));
    let copies = copies.iter().map(|copy| ShadowCopy {
        id: *copy,
        backend: BackendName("clone".into()),
        volume: VolumeId("clone:x".into()),
        created: FileTime(1),
        mappings: Vec::new(),
    });
    let record = ShadowCopySet {
        id,
        status,
        context: Context::try_from(0).unwrap(),
        copies: copies.collect(),
        client_id: None,
        account: String::new(),
        started: FileTime(1),
        changed: FileTime(1),
        undo: Vec::new(),
        phases: Vec::new(),
        keep: Default::default(),
    };
    let value = serde_json::json!({ "version": 1, "record": record });
    Edit {
        key: format!("set/{id}"),
        value: Some(serde_json::to_vec(&value).unwrap()),
    }
}

fn wanted(store: &Store, name: &str, copy: Option<ShadowCopyId>) -> Option<Vec<PathBuf>> {
    store.lists().wanted(&share(name), copy)
}

#[test]
fn a_list_outlives_the_process_and_is_hidden_from_the_agent() {
    let (store, editor) = open(Vec::new());
    editor.put(list("Data", &["a", "b/c"], true)).unwrap();
    editor.put(list("once", &[], false)).unwrap();
    let (store, editor) = reopened(&store);
    let expected = vec![PathBuf::from("a"), PathBuf::from("b/c")];
    assert_eq!(wanted(&store, "dATA", None), Some(expected));
    assert_eq!(wanted(&store, "once", None), Some(Vec::new()));
    assert_eq!(wanted(&store, "other", None), None);
    assert_eq!(editor.list(&share("data")).unwrap().share.as_str(), "Data");
    assert_eq!(store.load().unwrap(), []);
    assert!(editor.delete(&share("data")).unwrap().is_some());
    assert!(editor.delete(&share("data")).unwrap().is_none());
    let (store, _) = reopened(&store);
    assert_eq!(wanted(&store, "data", None), None);
    assert!(wanted(&store, "once", None).is_some());
}

#[test]
fn bad_lists_are_refused() {
    let (_store, editor) = open(Vec::new());
    for bad in ["", ".", "..", "/a", "a/../b", "../a", "a\0b"] {
        let refused = editor.put(list("data", &["good", bad], false)).unwrap_err();
        assert!(matches!(refused, TargetsError::Path(path) if path == bad));
    }
    let long = "x".repeat(4_096);
    let refused = editor.put(list("data", &[&long], false)).unwrap_err();
    assert!(matches!(refused, TargetsError::Path(_)));
    let many = vec!["a"; MOST_FILES + 1];
    let refused = editor.put(list("data", &many, false)).unwrap_err();
    assert!(matches!(refused, TargetsError::TooMany(_)));
    assert_eq!(editor.list(&share("data")), None);
    editor.put(list("data", &many[1..], false)).unwrap();
}

#[test]
fn the_set_that_commits_uses_a_list_up() {
    let (store, editor) = open(Vec::new());
    for (name, standing) in [("once", false), ("always", true), ("unused", false)] {
        editor.put(list(name, &["a"], standing)).unwrap();
    }
    for name in ["once", "always"] {
        // Prepare may be repeated, and asking without a copy uses nothing.
        wanted(&store, name, Some(copy(1)));
        wanted(&store, name, Some(copy(1)));
        wanted(&store, name, None);
    }
    for status in [SetStatus::Started, SetStatus::Added] {
        store.commit(&[recorded(status, &[copy(1)])]).unwrap();
        assert!(editor.list(&share("once")).is_some(), "{status:?}");
    }
    store
        .commit(&[recorded(SetStatus::Committed, &[copy(2)])])
        .unwrap();
    assert!(editor.list(&share("once")).is_some(), "another copy");
    store
        .commit(&[recorded(SetStatus::Committed, &[copy(1)])])
        .unwrap();
    assert_eq!(editor.list(&share("once")), None);
    assert!(editor.list(&share("always")).is_some());
    assert!(editor.list(&share("unused")).is_some());
    // Gone in the store as well, in the commit that recorded the set.
    let (store, editor) = reopened(&store);
    assert_eq!(editor.list(&share("once")), None);
    assert!(editor.list(&share("always")).is_some());
    assert_eq!(store.load().unwrap().len(), 1);
}

#[test]
fn a_set_that_is_not_recorded_uses_nothing_up() {
    let (store, editor) = open(Vec::new());
    editor.put(list("once", &["a"], false)).unwrap();
    wanted(&store, "once", Some(copy(1)));
    store.inner().set_failing(true);
    store
        .commit(&[recorded(SetStatus::Committed, &[copy(1)])])
        .unwrap_err();
    assert!(editor.list(&share("once")).is_some());
    store.inner().set_failing(false);
    // A crash instead: the next process has no copy that used the list.
    let (store, editor) = reopened(&store);
    store
        .commit(&[recorded(SetStatus::Committed, &[copy(1)])])
        .unwrap();
    assert!(editor.list(&share("once")).is_some());
    wanted(&store, "once", Some(copy(3)));
    store
        .commit(&[recorded(SetStatus::Committed, &[copy(3)])])
        .unwrap();
    assert_eq!(editor.list(&share("once")), None);
}

#[test]
fn a_list_that_came_after_prepare_is_for_the_next_set() {
    let (store, editor) = open(Vec::new());
    editor.put(list("once", &["old"], false)).unwrap();
    wanted(&store, "once", Some(copy(1)));
    editor.put(list("once", &["new"], false)).unwrap();
    store
        .commit(&[recorded(SetStatus::Committed, &[copy(1)])])
        .unwrap();
    let left = editor.list(&share("once")).unwrap();
    assert_eq!(left.files, ["new"]);
}

#[test]
fn a_store_that_has_been_closed_takes_no_list() {
    let (store, editor) = open(Vec::new());
    drop(store);
    let refused = editor.put(list("data", &["a"], false)).unwrap_err();
    assert!(matches!(refused, TargetsError::Ending));
}

#[test]
fn a_list_of_a_newer_program_stops_the_start() {
    let record = br#"{"version":2,"record":{"share":"x","files":[],"standing":true}}"#;
    let records = vec![("targets/x".to_owned(), record.to_vec())];
    assert!(StoreWithLists::open(MemoryStore::with(records)).is_err());
    let records = vec![("targets/x".to_owned(), b"{".to_vec())];
    assert!(StoreWithLists::open(MemoryStore::with(records)).is_err());
}
