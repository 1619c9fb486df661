//! What several do to one file system at once is made durable without waiting for the kernel's next
//! regular commit, which may be half a minute away.
#![allow(clippy::unwrap_used, reason = "the helpers of a test")]

mod common;

use common::{Ground, backend, copy_ref, lab, source, subvolume, unmount_all};
use fsrvp_snapshot::{Deadline, SnapshotBackend};
use fsrvp_sys::btrfs::{commit_transaction, subvolume_destroy};
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// A file system commits by itself every 30 s.
const TOO_LONG: Duration = Duration::from_secs(10);
/// How often each thread does it.
const ROUNDS: usize = 500;

const NAMES: [&str; 6] = ["1", "2", "3", "4", "5", "6"];

/// The longest that one of several threads waited, which do the same side by side.
fn longest(act: impl Fn(&Path) + Sync, places: [&Path; 6]) -> Duration {
    let worst = |place: &Path| {
        let rounds = (0..ROUNDS).map(|_| {
            let began = Instant::now();
            act(place);
            began.elapsed()
        });
        rounds.max().unwrap_or_default()
    };
    std::thread::scope(|scope| {
        let threads = places.map(|place| scope.spawn(|| worst(place)));
        threads.map(|thread| thread.join().unwrap())
    })
    .into_iter()
    .max()
    .unwrap_or_default()
}

#[test]
fn copies_are_deleted_at_once_whoever_else_deletes() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let top = ground.btrfs("a");
    let shares = NAMES.map(|name| subvolume(&top.join(name)));
    let backend = backend(&ground, &[&top]);
    let make_and_delete = |share: &Path| {
        let source = source(&backend, share);
        let sources = std::slice::from_ref(&source);
        backend.prepare(sources, &Deadline::default()).unwrap();
        backend
            .commit(sources, false, &Deadline::default())
            .unwrap();
        backend.delete(&copy_ref(&source)).unwrap();
    };
    let longest = longest(
        make_and_delete,
        shares.each_ref().map(|path| path.as_path()),
    );
    unmount_all(&backend);
    assert!(longest < TOO_LONG, "{longest:?}");
}

#[test]
fn a_transaction_is_committed_at_once_whoever_else_commits() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let top = ground.btrfs("a");
    let places = NAMES.map(|name| subvolume(&top.join(name)));
    let make_and_commit = |place: &Path| {
        let directory = File::open(place).unwrap();
        subvolume(&place.join("new"));
        subvolume_destroy(directory.as_fd(), "new").unwrap();
        commit_transaction(directory.as_fd()).unwrap();
    };
    let longest = longest(
        make_and_commit,
        places.each_ref().map(|path| path.as_path()),
    );
    assert!(longest < TOO_LONG, "{longest:?}");
}
