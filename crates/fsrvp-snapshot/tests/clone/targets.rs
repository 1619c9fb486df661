//! Lists of files: what they name is copied and nothing else.

use crate::bed::{FileSystem, commit, config, lab, prepare};
use crate::common::{Ground, source};
use crate::phases::area;
use fsrvp_idl::{ShadowCopyId, ShareName};
use fsrvp_snapshot::clone::Targets;
use fsrvp_snapshot::{BackendError, CloneConfig, Deadline, SnapshotBackend, TreeClone};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// A list for every share, and who asked for it.
#[derive(Default)]
struct List {
    paths: Vec<PathBuf>,
    asked: Mutex<Vec<Option<ShadowCopyId>>>,
}

impl Targets for List {
    fn wanted(&self, _: &ShareName, copy: Option<ShadowCopyId>) -> Option<Vec<PathBuf>> {
        self.asked.lock().unwrap().push(copy);
        Some(self.paths.clone())
    }
}

struct Case {
    share: PathBuf,
    backend: TreeClone,
    list: Arc<List>,
    ground: Ground,
}

fn case(paths: &[&str]) -> Case {
    let ground = Ground::new();
    let share = FileSystem::Xfs.make(&ground, "a").join("share");
    for (path, content) in [
        ("vm1/disk", "disk 1"),
        ("vm1/config", "config 1"),
        ("vm2/disk", "disk 2"),
        ("vm2/log/new", "log"),
        ("vm3/disk", "disk 3"),
        ("top", "top"),
    ] {
        let path = share.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    // In the way of a copy of the whole share, and not of what is wanted.
    symlink("/etc", share.join("vm3/link")).unwrap();
    let list = Arc::new(List {
        paths: paths.iter().map(PathBuf::from).collect(),
        ..List::default()
    });
    let backend = TreeClone::new(CloneConfig {
        targets: Arc::clone(&list) as Arc<dyn Targets>,
        ..config(&ground, &[&share])
    });
    Case {
        share,
        backend,
        list,
        ground,
    }
}

fn names(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let below = names(&path);
            found.push(format!("{name}/"));
            found.extend(below.iter().map(|below| format!("{name}/{below}")));
        } else {
            found.push(path.file_name().unwrap().to_str().unwrap().to_owned());
        }
    }
    found.sort();
    found
}

/// The source of a copy, identified without asking for the whole share.
fn wanted(case: &Case) -> fsrvp_proto::job::CopySource {
    let share = ShareName::new("share");
    let probe = case.backend.probe_share(&case.share, &share).unwrap();
    let mut any = source_of(&case.share, probe.volume);
    any.shares[0].share = share;
    any
}

fn source_of(share: &Path, volume: fsrvp_proto::job::VolumeId) -> fsrvp_proto::job::CopySource {
    fsrvp_proto::job::CopySource {
        copy: ShadowCopyId(uuid::Uuid::new_v4()),
        backend: fsrvp_proto::job::BackendName("clone".into()),
        volume,
        shares: vec![fsrvp_proto::job::SourceShare {
            share: ShareName::new("share"),
            path: share.to_owned(),
            inner: PathBuf::new(),
        }],
    }
}

#[test]
fn only_what_is_named() {
    if !lab() {
        return;
    }
    let case = case(&["vm1/disk", "vm2", "top"]);
    let source = wanted(&case);
    prepare(&case.backend, &source);
    // Changes to what is named are seen, all others are not.
    fs::write(case.share.join("vm2/log/newer"), "newer").unwrap();
    fs::write(case.share.join("vm1/added"), "not named").unwrap();
    fs::write(case.share.join("vm1/disk"), "disk 1 at the moment").unwrap();
    symlink("/etc", case.share.join("vm1/link")).unwrap();
    let copy = commit(&case.backend, &source);
    let expected = [
        "top",
        "vm1/",
        "vm1/disk",
        "vm2/",
        "vm2/disk",
        "vm2/log/",
        "vm2/log/new",
        "vm2/log/newer",
    ];
    assert_eq!(names(&copy), expected);
    assert_eq!(
        fs::read(copy.join("vm1/disk")).unwrap(),
        b"disk 1 at the moment"
    );
    // Asked once without a copy, and for the copy once.
    let asked = case.list.asked.lock().unwrap().clone();
    assert_eq!(asked, [None, Some(source.copy)]);
}

#[test]
fn the_whole_share_is_refused_for_its_link() {
    if !lab() {
        return;
    }
    let case = case(&["."]);
    match case.backend.probe(&case.share) {
        Err(BackendError::Unsupported { path, .. }) => {
            assert_eq!(path, case.share.join("vm3/link"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_empty_list_is_an_empty_copy() {
    if !lab() {
        return;
    }
    let case = case(&[]);
    let source = wanted(&case);
    prepare(&case.backend, &source);
    assert_eq!(names(&commit(&case.backend, &source)), [""; 0]);
}

#[test]
fn a_list_that_names_what_is_not_there() {
    if !lab() {
        return;
    }
    for (wrong, offender) in [
        ("vm1/none", "vm1/none"),
        ("vm9/disk", "vm9"),
        ("top/in", "top"),
        ("vm3/link", "vm3/link"),
        ("vm3/link/passwd", "vm3/link"),
        ("../etc", "../etc"),
        ("/etc/passwd", "/etc/passwd"),
        (".", "."),
    ] {
        let case = case(&["vm1/disk", wrong]);
        let share = ShareName::new("share");
        match case.backend.probe_share(&case.share, &share) {
            Err(BackendError::Unsupported { path, .. }) => {
                assert_eq!(path, case.share.join(offender), "{wrong}");
            }
            other => panic!("{wrong}: {other:?}"),
        }
        // Prepare says the same, for the list may be newer than the set.
        let whole = TreeClone::new(CloneConfig {
            targets: Arc::new(List {
                paths: vec!["vm1/disk".into()],
                ..List::default()
            }),
            ..config(&case.ground, &[&case.share])
        });
        let volume = whole.probe_share(&case.share, &share).unwrap().volume;
        let source = source_of(&case.share, volume);
        match case.backend.prepare(&[source], &Deadline::default()) {
            Err(BackendError::Unsupported { path, .. }) => {
                assert_eq!(path, case.share.join(offender), "{wrong}");
            }
            other => panic!("{wrong}: {other:?}"),
        }
        assert_eq!(case.backend.enumerate().unwrap(), []);
    }
}

#[test]
fn a_named_file_goes_between_the_phases() {
    if !lab() {
        return;
    }
    for gone in ["vm1/disk", "vm1"] {
        let case = case(&["vm1/disk"]);
        let source = wanted(&case);
        prepare(&case.backend, &source);
        let path = case.share.join(gone);
        if path.is_dir() {
            fs::remove_dir_all(&path).unwrap();
        } else {
            fs::remove_file(&path).unwrap();
        }
        match case.backend.commit(&[source], true, &Deadline::default()) {
            Err(BackendError::Unsupported { path: found, .. }) => assert_eq!(found, path),
            other => panic!("{gone}: {other:?}"),
        }
        assert_eq!(case.backend.enumerate().unwrap(), []);
        assert!(!area(&case.ground).join("x.part").exists());
    }
}

#[test]
fn without_a_list_the_share_is_whole() {
    if !lab() {
        return;
    }
    let case = case(&["vm1"]);
    fs::remove_file(case.share.join("vm3/link")).unwrap();
    let whole = TreeClone::new(config(&case.ground, &[&case.share]));
    let source = source(&whole, &case.share);
    prepare(&whole, &source);
    assert_eq!(names(&commit(&whole, &source)), names(&case.share));
}
