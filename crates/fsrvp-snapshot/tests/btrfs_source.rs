//! What may be snapshotted, and what changes between Prepare and Commit.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test")]

mod common;

use common::{
    Ground, backend, bind, copy_ref, exposed, lab, run, source, subvolume, umount, unmount_all,
};
use fsrvp_proto::job::CopySource;
use fsrvp_snapshot::{BackendError, Btrfs, Deadline, SnapshotBackend};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

fn probe_error(backend: &Btrfs, path: &Path) -> (PathBuf, String) {
    match backend.probe(path) {
        Err(BackendError::Unsupported { path, reason }) => (path, reason),
        other => panic!("{}: {other:?}", path.display()),
    }
}

fn commit(backend: &Btrfs, source: &CopySource) -> Result<(), BackendError> {
    backend.commit(std::slice::from_ref(source), true, &Deadline::default())
}

fn prepare(backend: &Btrfs, source: &CopySource) {
    backend
        .prepare(std::slice::from_ref(source), &Deadline::default())
        .unwrap();
}

#[test]
fn off_btrfs_the_refusal_says_what_is_there() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let tmpfs = ground.path("tmpfs");
    fs::create_dir(&tmpfs).unwrap();
    run("mount", &["-t", "tmpfs", "none", tmpfs.to_str().unwrap()]);
    let backend = backend(&ground, &[]);
    let (path, reason) = probe_error(&backend, &tmpfs);
    assert_eq!(path, tmpfs);
    assert_eq!(reason, "is on tmpfs, not on btrfs");
    fs::write(tmpfs.join("file"), b"").unwrap();
    assert_eq!(
        probe_error(&backend, &tmpfs.join("file")).1,
        "is no directory"
    );
    let missing = backend.probe(&tmpfs.join("missing"));
    assert!(
        matches!(missing, Err(BackendError::NotFound(_))),
        "{missing:?}"
    );
    assert_eq!(
        backend.previous_versions(&tmpfs, &fsrvp_idl::ShareName::new("x")),
        None
    );
}

#[test]
fn a_read_only_file_system_is_refused_and_stays_read_only() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let image = ground.image("a");
    let top = ground.mount(&image, "a", "");
    let share = subvolume(&top.join("share"));
    let writer = backend(&ground, &[&share]);
    let copied = source(&writer, &share);
    exposed(&writer, &copied);
    unmount_all(&writer);
    umount(&top);
    ground.mount(&image, "a", "ro");
    let reader = backend(&ground, &[&share]);
    assert_eq!(
        probe_error(&reader, &share).1,
        "is on a file system that is mounted read-only"
    );
    assert_eq!(reader.enumerate().unwrap(), [copy_ref(&copied)]);
    reader.delete(&copy_ref(&copied)).unwrap_err();
    fs::write(share.join("file"), b"no").unwrap_err();
}

#[test]
fn the_top_level_is_a_share_whatever_areas_lie_in_it() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let top = ground.btrfs("a");
    let first = backend(&ground, &[&top]);
    let copy = source(&first, &top);
    let path = exposed(&first, &copy);
    let second = Btrfs::new(fsrvp_snapshot::BtrfsConfig {
        server: format!("{} the other", ground.server()),
        run_dir: ground.path("run2"),
        known: vec![top.clone()],
    });
    assert_eq!(second.enumerate().unwrap(), []);
    let other = source(&second, &top);
    exposed(&second, &other);
    // Two servers, each with its own copy, and the share is still one.
    assert_eq!(first.enumerate().unwrap(), [copy_ref(&copy)]);
    assert_eq!(second.enumerate().unwrap(), [copy_ref(&other)]);
    assert_eq!(first.probe(&top).unwrap(), second.probe(&top).unwrap());
    // A copy is no share to be copied.
    assert_eq!(probe_error(&first, &path).1, "is in a shadow copy");
    let nested = subvolume(&top.join("nested"));
    assert_eq!(probe_error(&first, &top).0, nested);
    first.probe(&nested).unwrap();
}

/// Prepares a copy of `<subvolume>/share`, lets something happen, and commits.
fn after_prepare(happens: impl FnOnce(&Ground, &Path)) -> Result<(), BackendError> {
    let ground = Ground::new();
    let volume = subvolume(&ground.btrfs("a").join("volume"));
    let share = volume.join("share");
    fs::create_dir(&share).unwrap();
    let backend = backend(&ground, &[&share]);
    let source = source(&backend, &share);
    prepare(&backend, &source);
    happens(&ground, &volume);
    let result = commit(&backend, &source);
    let left = backend.enumerate().unwrap();
    assert_eq!(left.len(), usize::from(result.is_ok()));
    result
}

fn refusal(result: Result<(), BackendError>) -> PathBuf {
    match result {
        Err(BackendError::Unsupported { path, .. }) => path,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_comes_below_the_share_after_prepare_is_found_in_commit() {
    if !lab() {
        return;
    }
    let nested = after_prepare(|_, volume| {
        subvolume(&volume.join("share/nested"));
    });
    assert!(refusal(nested).ends_with("volume/share/nested"));
    let mounted = after_prepare(|_, volume| {
        let point = volume.join("share/mount");
        fs::create_dir(&point).unwrap();
        run("mount", &["-t", "tmpfs", "none", point.to_str().unwrap()]);
    });
    assert!(refusal(mounted).ends_with("volume/share/mount"));
    let bound = after_prepare(|_, volume| bind(volume, &volume.join("share/bound")));
    assert!(refusal(bound).ends_with("volume/share/bound"));
}

#[test]
fn what_comes_elsewhere_after_prepare_does_not_matter() {
    if !lab() {
        return;
    }
    after_prepare(|ground, volume| {
        subvolume(&volume.join("beside"));
        let point = ground.path("elsewhere");
        fs::create_dir(&point).unwrap();
        run("mount", &["-t", "tmpfs", "none", point.to_str().unwrap()]);
    })
    .unwrap();
}

#[test]
fn a_share_that_leads_elsewhere_after_prepare_is_not_copied() {
    if !lab() {
        return;
    }
    let replaced = after_prepare(|_, volume| {
        fs::rename(volume.join("share"), volume.join("old")).unwrap();
        fs::create_dir(volume.join("share")).unwrap();
    });
    assert!(refusal(replaced).ends_with("volume/share"));
    let gone = after_prepare(|_, volume| fs::remove_dir(volume.join("share")).unwrap());
    assert!(matches!(gone, Err(BackendError::NotFound(_))), "{gone:?}");
    // The file system is no longer there, and an empty directory shows instead.
    let hidden = after_prepare(|_, volume| {
        let point = volume.join("share");
        run("mount", &["-t", "tmpfs", "none", point.to_str().unwrap()]);
    });
    assert!(refusal(hidden).ends_with("volume/share"));
}

#[test]
fn a_full_file_system_is_refused_in_prepare() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let share = subvolume(&ground.btrfs("a").join("share"));
    let backend = backend(&ground, &[&share]);
    let source = source(&backend, &share);
    // Reserve until nothing of this size is left.
    for (name, size) in [("large", "64M"), ("small", "4M")] {
        for count in 0.. {
            let file = share.join(format!("{name}{count}"));
            let filled = std::process::Command::new("fallocate")
                .args(["-l", size, file.to_str().unwrap()])
                .output()
                .unwrap();
            if !filled.status.success() {
                break;
            }
        }
    }
    let result = backend.prepare(std::slice::from_ref(&source), &Deadline::default());
    assert!(
        matches!(result, Err(BackendError::NoSpace(_))),
        "{result:?}"
    );
    for count in 0..2 {
        fs::remove_file(share.join(format!("large{count}"))).unwrap();
    }
    exposed(&backend, &source);
}

#[test]
fn a_cut_that_ends_too_late_is_undone() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let share = subvolume(&ground.btrfs("a").join("share"));
    let backend = backend(&ground, &[&share]);
    let source = source(&backend, &share);
    prepare(&backend, &source);
    // The snapshot has to write this back, which takes longer than the limit.
    fs::write(share.join("file"), vec![1; 128 << 20]).unwrap();
    let limit = Deadline::within(Some(Duration::from_millis(5)));
    let result = backend.commit(std::slice::from_ref(&source), true, &limit);
    assert!(matches!(result, Err(BackendError::Deadline)), "{result:?}");
    assert_eq!(backend.enumerate().unwrap(), []);
    commit(&backend, &source).unwrap();
}

#[test]
fn many_volumes_of_one_file_system_in_one_commit() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let top = ground.btrfs("a");
    let shares: Vec<_> = (0..40)
        .map(|n| subvolume(&top.join(format!("s{n}"))))
        .collect();
    let backend = backend(&ground, &[&top]);
    let sources: Vec<_> = shares.iter().map(|share| source(&backend, share)).collect();
    for (n, share) in shares.iter().enumerate() {
        fs::write(share.join("n"), n.to_string()).unwrap();
    }
    backend.prepare(&sources, &Deadline::default()).unwrap();
    backend
        .commit(&sources, false, &Deadline::default())
        .unwrap();
    assert_eq!(backend.enumerate().unwrap().len(), sources.len());
    for (n, source) in sources.iter().enumerate() {
        let copy = backend.expose(&common::exposure(source)).unwrap();
        assert_eq!(fs::read(copy.join("n")).unwrap(), n.to_string().as_bytes());
    }
    // One broken member among many, and none is left.
    let mut again: Vec<_> = shares.iter().map(|share| source(&backend, share)).collect();
    again.get_mut(20).unwrap().volume = sources.first().unwrap().volume.clone();
    backend
        .commit(&again, false, &Deadline::default())
        .unwrap_err();
    assert_eq!(backend.enumerate().unwrap().len(), sources.len());
}
