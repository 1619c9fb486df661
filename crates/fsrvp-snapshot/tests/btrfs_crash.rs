//! The process ends at each crash point, and the next one puts everything right.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "the helpers of a test"
)]

mod common;

use common::{Ground, copy_ref, exposure, lab, source, subvolume};
use fsrvp_idl::ShadowCopyId;
use fsrvp_proto::job::{CopySource, KeepSource};
use fsrvp_snapshot::btrfs::{CRASH_POINTS, KEEP_CRASH_POINTS};
use fsrvp_snapshot::{Btrfs, BtrfsConfig, Deadline, SnapshotBackend};
use fsrvp_snapshot::{PREVIOUS_CRASH_POINTS, crash};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

/// Where the child finds run directory and shares, and the ids that it uses.
const GROUND: &str = "FSRVP_TEST_GROUND";

/// Two copies whose ids the parent can know.
fn sources(backend: &Btrfs, ground: &Path) -> [CopySource; 2] {
    [("s1", 1), ("s2", 2)].map(|(name, id)| CopySource {
        copy: ShadowCopyId(uuid::Uuid::from_u128(id)),
        ..source(backend, &ground.join("a").join(name))
    })
}

fn process(ground: &Path) -> Btrfs {
    Btrfs::new(BtrfsConfig {
        server: format!("FS {}", ground.display()),
        run_dir: ground.join("run"),
        known: vec![ground.join("a")],
    })
}

/// The whole life of two copies. Run by [`every_point`] in a process that ends on the way.
#[test]
fn child() {
    let Some(ground) = std::env::var_os(GROUND) else {
        return;
    };
    let ground = Path::new(&ground);
    let backend = process(ground);
    let sources = sources(&backend, ground);
    backend.prepare(&sources, &Deadline::default()).unwrap();
    backend
        .commit(&sources, true, &Deadline::default())
        .unwrap();
    for source in &sources {
        let copy = backend.expose(&exposure(source)).unwrap();
        fs::write(copy.join("file"), b"recovered").unwrap();
        backend.seal(&copy_ref(source)).unwrap();
        backend.keep(&keep_source(source), "kept").unwrap();
    }
    for source in &sources {
        backend.delete(&copy_ref(source)).unwrap();
    }
}

/// Each copy for a share of its own.
fn keep_source(source: &CopySource) -> KeepSource {
    KeepSource {
        copy: copy_ref(source),
        share: fsrvp_idl::ShareName::new(source.copy.to_string()),
        inner: std::path::PathBuf::new(),
        created: fsrvp_idl::FileTime(133_500_000_000_000_000),
    }
}

#[test]
fn every_point() {
    if !lab() {
        return;
    }
    for point in [CRASH_POINTS, PREVIOUS_CRASH_POINTS, KEEP_CRASH_POINTS].concat() {
        for time in [1, 2] {
            let ground = Ground::new();
            let top = ground.btrfs("a");
            for name in ["s1", "s2"] {
                let share = subvolume(&top.join(name));
                fs::write(share.join("file"), b"base").unwrap();
            }
            let root = ground.path("");
            let status = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "child", "--nocapture", "--test-threads=1"])
                .env(GROUND, &root)
                .env(crash::VARIABLE, format!("{point}:{time}"))
                .output()
                .unwrap()
                .status;
            let passed_twice = !point.starts_with("btrfs.mount.") && !ONCE.contains(&point);
            if time == 1 || passed_twice {
                assert_eq!(status.signal(), Some(6), "{point}:{time}: {status}");
            }
            recover(point, &root);
        }
    }
}

/// Points that the life above passes only once.
const ONCE: [&str; 2] = ["btrfs.commit.before_cut", "btrfs.commit.after_all"];

/// What a recovery does: every copy that is found is sealed if it can be, read, and deleted.
fn recover(point: &str, ground: &Path) {
    let backend = process(ground);
    let sources = sources(&backend, ground);
    let found = backend.enumerate().unwrap();
    println!("{point}: {} left", found.len());
    for copy in &found {
        let source = sources
            .iter()
            .find(|source| source.copy == copy.copy)
            .unwrap();
        assert_eq!(*copy, copy_ref(source), "{point}");
        let path = backend.expose(&exposure(source)).unwrap();
        let before = fs::read(path.join("file")).unwrap();
        backend.seal(copy).unwrap();
        backend.verify_sealed(copy, &path).unwrap();
        assert_eq!(fs::read(path.join("file")).unwrap(), before, "{point}");
        if point.starts_with("btrfs.keep.") {
            backend.keep(&keep_source(source), "kept").unwrap();
            let kept = backend.list_kept().unwrap();
            let again = kept.iter().find(|kept| kept.copy == copy.copy).unwrap();
            assert_eq!(fs::read(again.path.join("file")).unwrap(), before);
        }
        if point.starts_with("btrfs.seal.") {
            assert!(
                before == b"recovered" || before == b"base",
                "{point}: {before:?}"
            );
        }
    }
    for source in &sources {
        backend.delete(&copy_ref(source)).unwrap();
    }
    assert_eq!(backend.enumerate().unwrap(), [], "{point}");
    for kept in backend.list_kept().unwrap() {
        assert_eq!(kept.name, "kept", "{point}");
        assert!(fs::read(kept.path.join("file")).is_ok(), "{point}");
        backend.delete_kept(&kept).unwrap();
    }
    // Nothing is left but the shares and the empty area, and the next backup can start.
    let subvolumes = fsrvp_sys::btrfs::children(std::os::fd::AsFd::as_fd(
        &fs::File::open(ground.join("a")).unwrap(),
    ));
    assert_eq!(subvolumes.unwrap().len(), 2, "{point}");
    let again = sources.map(|source| CopySource {
        copy: ShadowCopyId(uuid::Uuid::new_v4()),
        ..source
    });
    backend.prepare(&again, &Deadline::default()).unwrap();
    backend.commit(&again, true, &Deadline::default()).unwrap();
    let [first, _] = &again;
    let path = backend.expose(&exposure(first)).unwrap();
    let previous = path.parent().unwrap().join("previous/share");
    assert_eq!(fs::read_dir(previous).unwrap().count(), 1, "{point}");
}
