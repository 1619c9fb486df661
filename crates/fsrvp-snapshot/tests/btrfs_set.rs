//! Many subvolumes in one set, and quota groups.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the helpers of a test"
)]

mod common;

use common::{Ground, backend, copy_ref, lab, run, source, subvolume, unmount_all};
use fsrvp_snapshot::{BackendError, Deadline, SnapshotBackend};
use std::fs;
use std::path::PathBuf;

/// As many shares as a set may have.
const SHARES: usize = 64;

#[test]
fn sixty_four_subvolumes_are_one_set_and_all_or_none() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let top = ground.btrfs("a");
    let shares: Vec<PathBuf> = (0..SHARES)
        .map(|number| {
            let share = subvolume(&top.join(format!("share{number}")));
            fs::write(share.join("mine"), number.to_string()).unwrap();
            share
        })
        .collect();
    let backend = backend(&ground, &[&top]);
    let sources: Vec<_> = shares.iter().map(|share| source(&backend, share)).collect();
    backend.prepare(&sources, &Deadline::default()).unwrap();
    // The last one of them goes after Prepare.
    let (last, away) = (shares.last().unwrap(), top.join("away"));
    fs::rename(last, &away).unwrap();
    backend
        .commit(&sources, true, &Deadline::default())
        .unwrap_err();
    assert_eq!(backend.enumerate().unwrap(), []);
    fs::rename(&away, last).unwrap();
    backend.prepare(&sources, &Deadline::default()).unwrap();
    backend
        .commit(&sources, true, &Deadline::default())
        .unwrap();
    assert_eq!(backend.enumerate().unwrap().len(), SHARES);
    for (number, source) in sources.iter().enumerate() {
        let path = backend.expose(&common::exposure(source)).unwrap();
        assert_eq!(
            fs::read_to_string(path.join("mine")).unwrap(),
            number.to_string()
        );
        backend.delete(&copy_ref(source)).unwrap();
    }
    assert_eq!(backend.enumerate().unwrap(), []);
    unmount_all(&backend);
}

#[test]
fn a_quota_in_the_way_is_called_a_quota() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let top = ground.btrfs("a");
    let share = subvolume(&top.join("share"));
    fs::write(share.join("file"), b"data").unwrap();
    let backend = backend(&ground, &[&top]);
    let mount = top.to_str().unwrap();
    run("btrfs", &["quota", "enable", mount]);
    let sources = [source(&backend, &share)];
    // The kernel gives a copy the limit of its source, and a group of its own to count in.
    run(
        "btrfs",
        &["qgroup", "limit", "64K", share.to_str().unwrap()],
    );
    backend
        .commit(&sources, true, &Deadline::default())
        .unwrap();
    let copy = backend.expose(&common::exposure(&sources[0])).unwrap();
    let error = fs::write(copy.join("recovered"), vec![1; 1 << 20]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::QuotaExceeded);
    // What stands in the way of auto-recovery does not stand in the way of a seal.
    backend.seal(&copy_ref(&sources[0])).unwrap();
    assert_eq!(fs::read(copy.join("file")).unwrap(), b"data");
    backend.delete(&copy_ref(&sources[0])).unwrap();
    backend.prepare(&sources, &Deadline::default()).unwrap();
    // The group of the top level, in which copies are made.
    run("btrfs", &["qgroup", "limit", "1", "0/5", mount]);
    let error = backend
        .commit(&sources, true, &Deadline::default())
        .unwrap_err();
    assert!(
        matches!(&error, BackendError::NoSpace(text) if text.contains("quota")),
        "{error}"
    );
    assert_eq!(backend.enumerate().unwrap(), []);
    unmount_all(&backend);
}
