//! The process ends at each crash point, and the next one puts everything right.

use crate::bed::{FileSystem, lab};
use crate::common::{Ground, copy_ref, exposure, source};
use crate::phases::area;
use fsrvp_idl::ShadowCopyId;
use fsrvp_proto::job::CopySource;
use fsrvp_snapshot::clone::CRASH_POINTS;
use fsrvp_snapshot::{CloneConfig, Deadline, SnapshotBackend, TreeClone, crash};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

/// Where the child finds run directory and shares.
const GROUND: &str = "FSRVP_TEST_GROUND";
/// And its server, which has its area there.
const SERVER: &str = "FSRVP_TEST_SERVER";

/// Two copies whose ids the parent can know.
fn sources(backend: &TreeClone, ground: &Path) -> [CopySource; 2] {
    [("s1", 1), ("s2", 2)].map(|(name, id)| CopySource {
        copy: ShadowCopyId(uuid::Uuid::from_u128(id)),
        ..source(backend, &ground.join("a").join(name))
    })
}

fn process(ground: &Path, server: &str) -> TreeClone {
    TreeClone::new(CloneConfig {
        known: vec![ground.join("a")],
        ..CloneConfig::new(server, ground.join("run"))
    })
}

/// The whole life of two copies. Run by [`every_point`] in a process that ends on the way.
#[test]
fn child() {
    let (Some(ground), Ok(server)) = (std::env::var_os(GROUND), std::env::var(SERVER)) else {
        return;
    };
    let ground = Path::new(&ground);
    let backend = process(ground, &server);
    let sources = sources(&backend, ground);
    backend.prepare(&sources, &Deadline::default()).unwrap();
    backend
        .commit(&sources, true, &Deadline::default())
        .unwrap();
    for source in &sources {
        let copy = backend.expose(&exposure(source)).unwrap();
        fs::write(copy.join("d/file"), b"recovered").unwrap();
        backend.seal(&copy_ref(source)).unwrap();
    }
    for source in &sources {
        backend.delete(&copy_ref(source)).unwrap();
    }
}

#[test]
fn every_point() {
    if !lab() {
        return;
    }
    for point in CRASH_POINTS {
        for time in [1, 2] {
            let ground = Ground::new();
            let top = FileSystem::Xfs.make(&ground, "a");
            for name in ["s1", "s2"] {
                let directory = top.join(name).join("d");
                fs::create_dir_all(&directory).unwrap();
                fs::write(directory.join("file"), b"base").unwrap();
            }
            let status = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "crash::child", "--nocapture", "--test-threads=1"])
                .env(GROUND, ground.path(""))
                .env(SERVER, ground.server())
                .env(crash::VARIABLE, format!("{point}:{time}"))
                .output()
                .unwrap()
                .status;
            if time == 1 || !ONCE.contains(point) {
                assert_eq!(status.signal(), Some(6), "{point}:{time}: {status}");
            }
            recover(point, &ground);
        }
    }
}

/// Points that the life above passes only once.
const ONCE: [&str; 6] = [
    "clone.mount.before_attach",
    "clone.mount.after_attach",
    "clone.prepare.after_all",
    "clone.commit.before_data",
    "clone.commit.after_data",
    "clone.commit.after_all",
];

/// What a recovery does: every copy that is found and complete is sealed, read, and deleted.
fn recover(point: &str, ground: &Ground) {
    let root = ground.path("");
    let backend = process(&root, &ground.server());
    let sources = sources(&backend, &root);
    let found = backend.enumerate().unwrap();
    println!("{point}: {} left", found.len());
    for copy in &found {
        let source = sources.iter().find(|source| source.copy == copy.copy);
        let source = source.unwrap();
        assert_eq!(*copy, copy_ref(source), "{point}");
        let complete = area(ground).join(copy.copy.to_string()).exists();
        match backend.expose(&exposure(source)) {
            Ok(path) => {
                assert!(complete, "{point}");
                let before = fs::read(path.join("d/file")).unwrap();
                assert!(before == b"recovered" || before == b"base", "{point}");
                backend.seal(copy).unwrap();
                backend.verify_sealed(copy, &path).unwrap();
                assert_eq!(fs::read(path.join("d/file")).unwrap(), before, "{point}");
            }
            Err(error) => {
                assert!(!complete, "{point}: {error}");
                assert!(matches!(error, fsrvp_snapshot::BackendError::NotFound(_)));
            }
        }
    }
    for source in &sources {
        backend.delete(&copy_ref(source)).unwrap();
    }
    assert_eq!(backend.enumerate().unwrap(), [], "{point}");
    assert!(backend.finish(std::time::Duration::from_secs(60)));
    let names = |path: &Path| fs::read_dir(path).unwrap().count();
    if area(ground).exists() {
        assert_eq!(names(&area(ground)), 1, "{point}");
        assert_eq!(names(&area(ground).join("trash")), 0, "{point}");
    }
    // The next backup can start.
    let again = sources.map(|source| CopySource {
        copy: ShadowCopyId(uuid::Uuid::new_v4()),
        ..source
    });
    backend.prepare(&again, &Deadline::default()).unwrap();
    backend.commit(&again, true, &Deadline::default()).unwrap();
    let [first, _] = &again;
    backend.expose(&exposure(first)).unwrap();
    let previous = ground.path("run/clone/previous/share");
    assert_eq!(fs::read_dir(previous).unwrap().count(), 1, "{point}");
}
