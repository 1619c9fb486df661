//! Plain copies: the battery on ext4, and the limits.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of a test"
)]

mod common;

use common::{Ground, copy_ref, exposed, lab, run, source, while_busy};
use fsrvp_snapshot::battery::{Bed, CHECKS, Places, Refused, Unit};
use fsrvp_snapshot::clone::Data;
use fsrvp_snapshot::{
    BackendError, Backends, Choice, CloneConfig, Deadline, SnapshotBackend, TreeClone,
};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::PathBuf;
use std::sync::Arc;

const MOST: u64 = 64 << 20;

fn backend(ground: &Ground) -> TreeClone {
    TreeClone::new(CloneConfig {
        data: Data::Own { max_bytes: MOST },
        ..CloneConfig::new(ground.server(), ground.path("run/mounts"))
    })
}

struct CopyBed {
    backend: TreeClone,
    places: Places,
    ground: Ground,
}

impl CopyBed {
    fn new() -> Self {
        let ground = Ground::new();
        let top = ground.ext4("a");
        fs::create_dir_all(top.join("whole/some/where")).unwrap();
        fs::create_dir(top.join("other")).unwrap();
        let mounted = top.join("bad/deep/mount");
        fs::create_dir_all(&mounted).unwrap();
        run("mount", &["-t", "tmpfs", "none", mounted.to_str().unwrap()]);
        let link = top.join("linked/link");
        fs::create_dir(top.join("linked")).unwrap();
        symlink("/etc/passwd", &link).unwrap();
        let refused = |directory: &str, offender: PathBuf| Refused {
            directory: top.join(directory),
            offender,
        };
        Self {
            backend: backend(&ground),
            places: Places {
                whole: top.join("whole"),
                inner: top.join("whole/some/where"),
                other: Some(top.join("other")),
                refused: vec![refused("bad", mounted), refused("linked", link)],
            },
            ground,
        }
    }
}

impl Drop for CopyBed {
    fn drop(&mut self) {
        while_busy(|| self.backend.unmount_all().is_ok());
    }
}

impl Bed for CopyBed {
    fn backend(&self) -> &dyn SnapshotBackend {
        &self.backend
    }

    fn restart(&mut self) {
        self.backend = backend(&self.ground);
    }

    fn unit(&self) -> Unit {
        Unit::Tree
    }

    fn places(&self) -> &Places {
        &self.places
    }
}

#[test]
fn battery() {
    if !lab() {
        return;
    }
    let mut bed = CopyBed::new();
    for check in CHECKS {
        println!("{}", check.name);
        (check.run)(&mut bed);
    }
}

#[test]
fn what_takes_more_than_the_limit_is_refused_with_its_size() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let share = ground.ext4("a").join("share");
    fs::create_dir_all(share.join("deep")).unwrap();
    let backend = backend(&ground);
    let file = File::create(share.join("deep/disk.vhdx")).unwrap();
    // Holes do not count.
    file.set_len(1 << 40).unwrap();
    backend.probe(&share).unwrap();
    let sources = [source(&backend, &share)];
    file.write_all_at(&vec![1; MOST as usize + 4096], 1 << 39)
        .unwrap();
    let expected = format!("max_bytes of [server.copy] is {MOST}");
    match backend.probe(&share) {
        Err(BackendError::Unsupported { path, reason }) => {
            assert_eq!(path, share);
            assert!(reason.contains(&expected), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    // One that has grown since.
    let error = backend.prepare(&sources, &Deadline::default()).unwrap_err();
    assert!(error.to_string().contains(&expected), "{error}");
    assert_eq!(backend.enumerate().unwrap(), []);
    while_busy(|| backend.unmount_all().is_ok());
}

#[test]
fn space_for_the_data_is_asked_for_in_prepare() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let top = ground.ext4("a");
    let share = top.join("share");
    fs::create_dir(&share).unwrap();
    fs::write(share.join("file"), vec![1; 60 << 20]).unwrap();
    let free = rustix::fs::statvfs(&top).unwrap();
    let leave = 50 << 20;
    let fill = usize::try_from(free.f_bavail * free.f_frsize - leave).unwrap();
    fs::write(top.join("filler"), vec![1; fill]).unwrap();
    let backend = backend(&ground);
    let sources = [source(&backend, &share)];
    let error = backend.prepare(&sources, &Deadline::default()).unwrap_err();
    assert!(matches!(error, BackendError::NoSpace(_)), "{error}");
    fs::remove_file(top.join("filler")).unwrap();
    backend.prepare(&sources, &Deadline::default()).unwrap();
    while_busy(|| backend.unmount_all().is_ok());
}

/// Also where blocks could be shared; beside the backend that shares them.
#[test]
fn a_copy_has_blocks_of_its_own_and_keeps_holes() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let top = ground.xfs("a");
    let share = top.join("share");
    fs::create_dir(&share).unwrap();
    let file = File::create(share.join("disk")).unwrap();
    file.set_len(1 << 30).unwrap();
    file.write_all_at(&vec![7; 40 << 20], 500 << 20).unwrap();
    file.sync_all().unwrap();
    let used = || {
        let space = rustix::fs::statvfs(&top).unwrap();
        (space.f_blocks - space.f_bfree) * space.f_frsize
    };
    let copy = backend(&ground);
    let clone = TreeClone::new(CloneConfig::new(ground.server(), ground.path("run/mounts")));
    let before = used();
    let cloned = source(&clone, &share);
    exposed(&clone, &cloned);
    assert!(used() - before < 20 << 20);
    let before = used();
    let copied = source(&copy, &share);
    let path = exposed(&copy, &copied);
    let grown = used() - before;
    assert!((40 << 20..50 << 20).contains(&grown), "{grown}");
    let [original, found] = [&share, &path].map(|at| fs::metadata(at.join("disk")).unwrap());
    assert_eq!(
        (original.len(), original.mtime()),
        (found.len(), found.mtime())
    );
    assert_ne!(cloned.volume, copied.volume);
    // Neither takes the other's for its own.
    assert_eq!(copy.enumerate().unwrap(), [copy_ref(&copied)]);
    assert_eq!(clone.enumerate().unwrap(), [copy_ref(&cloned)]);
    clone.delete(&copy_ref(&cloned)).unwrap();
    assert!(path.join("disk").exists());
    copy.delete(&copy_ref(&copied)).unwrap();
    for backend in [&copy, &clone] {
        while_busy(|| backend.unmount_all().is_ok());
    }
}

#[test]
fn nobody_gets_a_plain_copy_who_has_not_asked_for_it() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let share = ground.ext4("a").join("share");
    fs::create_dir(&share).unwrap();
    let clone = TreeClone::new(CloneConfig::new(ground.server(), ground.path("run/mounts")));
    let copy: Arc<dyn SnapshotBackend> = Arc::new(backend(&ground));
    let backends = Backends::new(vec![Arc::new(clone)]).and_by_name([copy]);
    let refused = backends.select(&share, &Choice::Auto).unwrap_err();
    assert!(
        refused.to_string().contains("cannot share blocks"),
        "{refused}"
    );
    let named = backends.select(&share, &Choice::from("copy")).unwrap();
    assert_eq!(named.name.0, "copy");
}
