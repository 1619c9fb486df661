//! What may be copied, and what changes between Prepare and Commit.

use crate::bed::{Pool, backend, destroy, zfs};
use crate::common::{Ground, exposed, run, source};
use fsrvp_snapshot::{
    BackendError, Backends, Choice, CloneConfig, Deadline, SnapshotBackend, TreeClone, Zfs,
};
use std::fs;
use std::path::{Path, PathBuf};

fn refusal(backend: &Zfs, path: &Path) -> (PathBuf, String) {
    match backend.probe(path) {
        Err(BackendError::Unsupported { path, reason } | BackendError::Absent { path, reason }) => {
            (path, reason)
        }
        other => panic!("{}: {other:?}", path.display()),
    }
}

pub(crate) fn off_zfs() {
    let ground = Ground::new();
    let tmpfs = ground.path("tmpfs");
    fs::create_dir(&tmpfs).unwrap();
    run("mount", &["-t", "tmpfs", "none", tmpfs.to_str().unwrap()]);
    let backend = backend(&ground);
    assert_eq!(refusal(&backend, &tmpfs).1, "is on tmpfs, not on ZFS");
    let share = fsrvp_idl::ShareName::new("x");
    assert_eq!(backend.previous_versions(&tmpfs, &share), None);
}

/// After a hard stop and an import, data sets are not mounted, and the paths of shares are plain
/// directories of the data set above.
pub(crate) fn not_mounted() {
    let ground = Ground::new();
    let pool = Pool::new(&ground, "a");
    let share = pool.data_set("vm");
    let backend = backend(&ground);
    let volume = backend.probe(&share).unwrap().volume;
    let name = format!("{}/vm", pool.name);
    zfs(&["umount", &name]);
    fs::create_dir_all(share.join("deep")).unwrap();
    for path in [share.join("deep"), share.clone(), pool.root.clone()] {
        let (offender, reason) = refusal(&backend, &path);
        assert_eq!(offender, share);
        let remedy = format!("belongs there and is not mounted; mount it (zfs mount {name})");
        assert!(reason.ends_with(&remedy), "{reason}");
    }
    fs::remove_dir(share.join("deep")).unwrap();
    zfs(&["mount", &name]);
    assert_eq!(backend.probe(&share).unwrap().volume, volume);
    // What its owner does not want to be mounted is nobody's loss.
    zfs(&["umount", &name]);
    zfs(&["set", "canmount=noauto", &name]);
    backend.probe(&pool.root).unwrap();
}

/// The pool hangs below another file system: what would be copied instead is not on ZFS at all, and
/// the backend of that file system must not have it.
pub(crate) fn not_mounted_elsewhere() {
    for (kind, backend) in [("xfs", "clone"), ("btrfs", "btrfs")] {
        let ground = Ground::new();
        let top = match kind {
            "xfs" => ground.xfs("x"),
            _ => ground.btrfs("x"),
        };
        not_mounted_below(&ground, &top, backend);
    }
}

/// `otherwise` has what no data set belongs at.
fn not_mounted_below(ground: &Ground, top: &Path, otherwise: &str) {
    let pool = Pool::new(ground, "a");
    let name = format!("{}/vm", pool.name);
    let share = top.join("vm");
    zfs(&["create", &name]);
    zfs(&[
        "set",
        &format!("mountpoint={}", share.to_str().unwrap()),
        &name,
    ]);
    let backends = Backends::probed(
        backend(ground),
        crate::common::backend(ground, &[]),
        TreeClone::new(CloneConfig::new("fs", ground.path("run"))),
    );
    let chosen = |path: &Path| {
        let selected = backends.select(path, &Choice::Auto);
        selected.map(|selected| selected.name.0.clone())
    };
    assert_eq!(chosen(&share).unwrap(), "zfs");
    zfs(&["umount", &name]);
    fs::create_dir_all(share.join("deep")).unwrap();
    for path in [share.as_path(), &share.join("deep"), top] {
        match chosen(path) {
            Err(BackendError::Absent { path, .. }) => assert_eq!(path, share),
            other => panic!("{}: {other:?}", path.display()),
        }
    }
    let beside = top.join("beside");
    fs::create_dir(&beside).unwrap();
    assert_eq!(chosen(&beside).unwrap(), otherwise);
    fs::remove_dir_all(&share).unwrap();
    zfs(&["mount", &name]);
    assert_eq!(chosen(&share).unwrap(), "zfs");
}

pub(crate) fn goes_after_prepare() {
    let ground = Ground::new();
    let pool = Pool::new(&ground, "a");
    let share = pool.data_set("vm");
    fs::write(share.join("file"), b"data").unwrap();
    let backend = backend(&ground);
    let sources = [source(&backend, &share)];
    let prepare = || backend.prepare(&sources, &Deadline::default()).unwrap();
    let refused = || {
        let error = backend
            .commit(&sources, true, &Deadline::default())
            .unwrap_err();
        let refused = matches!(
            error,
            BackendError::Unsupported { .. } | BackendError::Absent { .. }
        );
        assert!(refused, "{error}");
        assert_eq!(pool.list("snapshot"), [""; 0]);
    };
    let name = format!("{}/vm", pool.name);
    prepare();
    zfs(&["umount", &name]);
    fs::create_dir_all(&share).unwrap();
    refused();
    zfs(&["mount", &name]);
    prepare();
    // Another data set in the same place.
    zfs(&["umount", &name]);
    zfs(&["create", &format!("{}/impostor", pool.name)]);
    let point = format!("mountpoint={}", share.to_str().unwrap());
    zfs(&["set", "canmount=noauto", &name]);
    zfs(&["set", &point, &format!("{}/impostor", pool.name)]);
    refused();
    destroy(&format!("{}/impostor", pool.name));
    zfs(&["mount", &name]);
    prepare();
    backend
        .commit(&sources, true, &Deadline::default())
        .unwrap();
    assert_eq!(pool.list("snapshot").len(), 1);
}

pub(crate) fn child() {
    let ground = Ground::new();
    let pool = Pool::new(&ground, "a");
    let share = pool.data_set("vm");
    let backend = backend(&ground);
    let child = pool.data_set("vm/child");
    let (offender, reason) = refusal(&backend, &share);
    assert_eq!(offender, child);
    assert!(reason.starts_with("fuse.zfs is mounted there"), "{reason}");
    backend.probe(&child).unwrap();
}

pub(crate) fn copy_is_no_share() {
    let ground = Ground::new();
    let pool = Pool::new(&ground, "a");
    let share = pool.data_set("vm");
    let backend = backend(&ground);
    let copy = exposed(&backend, &source(&backend, &share));
    assert_eq!(refusal(&backend, &copy).1, "is in a shadow copy");
}

pub(crate) fn no_space() {
    let ground = Ground::new();
    let pool = Pool::new(&ground, "a");
    let share = pool.data_set("vm");
    let backend = backend(&ground);
    let sources = [source(&backend, &share)];
    zfs(&["set", "quota=10M", &format!("{}/vm", pool.name)]);
    match backend.prepare(&sources, &Deadline::default()) {
        Err(BackendError::NoSpace(text)) => {
            assert!(text.contains("less than 16 MiB left"), "{text}");
        }
        other => panic!("{other:?}"),
    }
}
