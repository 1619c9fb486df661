//! Marks of copies that others inherit, and snapshots that are not kept after all.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the helpers of a test"
)]

mod common;

use common::{Ground, backend, copy_ref, exposed, lab, run, source, subvolume};
use fsrvp_idl::{FileTime, ShareName};
use fsrvp_proto::job::{CopySource, KeepSource};
use fsrvp_snapshot::{BackendError, Btrfs, SnapshotBackend};
use std::fs;
use std::path::{Path, PathBuf};

fn sealed(backend: &Btrfs, share: &Path) -> (CopySource, PathBuf) {
    let copied = source(backend, share);
    let path = exposed(backend, &copied);
    fs::write(path.join("recovered"), b"yes").unwrap();
    backend.seal(&copy_ref(&copied)).unwrap();
    backend.verify_sealed(&copy_ref(&copied), &path).unwrap();
    (copied, path)
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A share that is a snapshot of one of its own copies bears the copy's mark, and its copies do.
#[test]
fn a_share_that_was_rolled_back_is_copied_again() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let share = subvolume(&ground.btrfs("a").join("share"));
    let backend = backend(&ground, &[&share]);
    let (first, old) = sealed(&backend, &share);
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    run("btrfs", &["subvolume", "delete", &text(&share)]);
    run(
        "btrfs",
        &["subvolume", "snapshot", &text(&old), &text(&share)],
    );
    assert!(share.join("recovered").exists());
    fs::write(share.join("since"), b"rolled back").unwrap();
    let (second, path) = sealed(&backend, &share);
    assert_eq!(fs::read(path.join("since")).unwrap(), b"rolled back");
    assert_eq!(backend.enumerate().unwrap().len(), 2);
    for copied in [&first, &second] {
        backend.delete(&copy_ref(copied)).unwrap();
    }
    assert_eq!(backend.enumerate().unwrap(), []);
    assert!(share.join("since").exists());
}

#[test]
fn a_snapshot_that_cannot_be_kept_is_not_left_half_made() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let share = subvolume(&ground.btrfs("a").join("share"));
    let backend = backend(&ground, &[&share]);
    let (copied, _) = sealed(&backend, &share);
    let keep = |name: &str| {
        let source = KeepSource {
            copy: copy_ref(&copied),
            share: ShareName::new("share"),
            inner: PathBuf::new(),
            created: FileTime(133_500_000_000_000_000),
        };
        backend.keep(&source, name)
    };
    keep("first").unwrap();
    let kept = backend.list_kept().unwrap().remove(0);
    let folder = kept.path.parent().unwrap();
    let first = kept.path.file_name().unwrap().to_str().unwrap().to_owned();
    // Somebody's directory has the place of the second.
    let second = first.replace("first", "second");
    fs::create_dir(folder.join(&second)).unwrap();
    let refused = keep("second");
    assert!(
        matches!(refused, Err(BackendError::Conflict(_))),
        "{refused:?}"
    );
    assert_eq!(names(folder), [first, second.clone()]);
    fs::remove_dir(folder.join(second)).unwrap();
    keep("second").unwrap();
    for kept in backend.list_kept().unwrap() {
        backend.delete_kept(&kept).unwrap();
    }
    backend.delete(&copy_ref(&copied)).unwrap();
}
