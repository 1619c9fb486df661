//! What is refused, and when: depth, time, space, and what a failure leaves.

use crate::bed::{FileSystem, backend, backend_with, config, lab};
use crate::common::{Ground, copy_ref, exposure, source, subvolume};
use crate::faithful::same;
use crate::phases::area;
use fsrvp_snapshot::clone::{HardLinks, Rules};
use fsrvp_snapshot::{BackendError, CloneConfig, Deadline, SnapshotBackend, TreeClone};
use std::fs;
use std::path::Path;
use std::time::Duration;

fn refusal(backend: &TreeClone, share: &Path) -> Option<(std::path::PathBuf, String)> {
    match backend.probe(share) {
        Ok(_) => None,
        Err(BackendError::Unsupported { path, reason }) => Some((path, reason)),
        Err(error) => panic!("{error:?}"),
    }
}

#[test]
fn depth() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let share = FileSystem::Xfs.make(&ground, "a").join("share");
    fs::create_dir_all(share.join("1/2/3/4/5")).unwrap();
    fs::write(share.join("1/2/3/4/5/file"), b"deep").unwrap();
    let with = |depth| {
        let rules = Rules {
            depth,
            ..Rules::default()
        };
        backend_with(&ground, &share, rules)
    };
    for depth in [0, 5, 6] {
        assert_eq!(refusal(&with(depth), &share), None, "{depth}");
    }
    for (depth, offender) in [(1, "1/2"), (4, "1/2/3/4/5")] {
        let (path, reason) = refusal(&with(depth), &share).unwrap();
        assert_eq!(path, share.join(offender));
        assert!(reason.contains(&format!("the {depth} levels")), "{reason}");
    }
    // Never cut: what is too deep by the time of Prepare is refused there.
    let source = source(&with(5), &share);
    let refused = with(4).prepare(std::slice::from_ref(&source), &Deadline::default());
    assert!(matches!(refused, Err(BackendError::Unsupported { .. })));
    assert_eq!(with(5).enumerate().unwrap(), []);
}

#[test]
fn a_share_has_rules_of_its_own() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let share = FileSystem::Xfs.make(&ground, "a").join("share");
    fs::create_dir_all(share.join("1/2")).unwrap();
    fs::write(share.join("one"), b"x").unwrap();
    fs::hard_link(share.join("one"), share.join("two")).unwrap();
    let name = |name: &str| fsrvp_idl::ShareName::new(name);
    let own = Rules {
        depth: 1,
        hard_links: HardLinks::Keep,
    };
    let backend = TreeClone::new(CloneConfig {
        share_rules: [(name("Flat"), own)].into(),
        rules: Rules {
            hard_links: HardLinks::Refuse,
            depth: 2,
        },
        ..config(&ground, &[&share])
    });
    let offender = |share_name: &str| match backend.probe_share(&share, &name(share_name)) {
        Err(BackendError::Unsupported { path, .. }) => path,
        other => panic!("{other:?}"),
    };
    assert_eq!(offender("flat"), share.join("1/2"));
    assert_eq!(offender("other"), share.join("one"));
}

#[test]
fn what_is_no_share_of_ours() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let top = FileSystem::Xfs.make(&ground, "a");
    let share = top.join("share");
    fs::create_dir(&share).unwrap();
    let backend = backend(&ground, &[&share]);
    let source = source(&backend, &share);
    let copy = crate::common::exposed(&backend, &source);
    // A copy by both its ways, a file, and a file system that cannot clone.
    let below = area(&ground).join(source.copy.to_string()).join("tree");
    for path in [copy.as_path(), below.as_path()] {
        let (_, reason) = refusal(&backend, path).unwrap();
        assert!(reason.contains("in a shadow copy"), "{reason}");
    }
    fs::write(share.join("file"), b"x").unwrap();
    assert!(refusal(&backend, &share.join("file")).is_some());
    let plain = ground.path("plain");
    fs::create_dir(&plain).unwrap();
    crate::common::run("mount", &["-t", "tmpfs", "none", plain.to_str().unwrap()]);
    let (path, reason) = refusal(&backend, &plain).unwrap();
    assert_eq!(path, plain);
    assert!(
        reason.contains("is on tmpfs") || reason.contains("without an id"),
        "{reason}"
    );
    let nowhere = backend.probe(&ground.path("nowhere"));
    assert!(matches!(nowhere, Err(BackendError::NotFound(_))));
}

#[test]
fn a_commit_that_cannot_end_in_time_is_refused_in_prepare() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let share = FileSystem::Xfs.make(&ground, "a").join("share");
    fs::create_dir(&share).unwrap();
    for number in 0..200 {
        fs::write(share.join(number.to_string()), b"x").unwrap();
    }
    // 201 names and 200 extents take 2.608 ms at the very least.
    for (limit, refused) in [(2_600, true), (2_620, false)] {
        let backend = TreeClone::new(CloneConfig {
            commit_limit: Some(Duration::from_micros(limit)),
            ..config(&ground, &[&share])
        });
        let source = source(&backend, &share);
        let sources = std::slice::from_ref(&source);
        match backend.prepare(sources, &Deadline::default()) {
            Err(BackendError::Unsupported { path, reason }) if refused => {
                assert_eq!(path, share);
                assert!(reason.contains("200 files in 200 extents"), "{reason}");
                assert_eq!(backend.enumerate().unwrap(), []);
            }
            Ok(()) if !refused => backend.delete(&copy_ref(&source)).unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_copy_without_space_is_refused_in_prepare() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let share = FileSystem::Xfs.make(&ground, "a").join("share");
    fs::create_dir(&share).unwrap();
    fs::write(share.join("file"), vec![1; 300 << 20]).unwrap();
    for (percent, refused) in [(10, false), (1_000, true)] {
        let backend = TreeClone::new(CloneConfig {
            reserve_percent: percent,
            ..config(&ground, &[&share])
        });
        let source = source(&backend, &share);
        let sources = std::slice::from_ref(&source);
        match backend.prepare(sources, &Deadline::default()) {
            Err(BackendError::NoSpace(text)) if refused => {
                assert!(text.contains("1000 percent"), "{text}");
                assert_eq!(backend.enumerate().unwrap(), []);
            }
            Ok(()) if !refused => backend.delete(&copy_ref(&source)).unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

/// A deadline that passes in the middle, wherever that is, leaves nothing.
#[test]
fn a_deadline_in_the_middle() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let share = FileSystem::Xfs.make(&ground, "a").join("share");
    for directory in 0..20 {
        let directory = share.join(directory.to_string());
        fs::create_dir_all(&directory).unwrap();
        for file in 0..50 {
            fs::write(directory.join(file.to_string()), vec![1; 5_000]).unwrap();
        }
    }
    let backend = backend(&ground, &[&share]);
    let (mut stopped, mut done) = (0, 0);
    let mut limit = Duration::from_micros(200);
    while done == 0 {
        let source = source(&backend, &share);
        let sources = std::slice::from_ref(&source);
        backend.prepare(sources, &Deadline::default()).unwrap();
        match backend.commit(sources, true, &Deadline::within(Some(limit))) {
            Err(BackendError::Deadline) => {
                stopped += 1;
                assert_eq!(backend.enumerate().unwrap(), []);
                let names = fs::read_dir(area(&ground)).unwrap();
                assert_eq!(names.count(), 1, "only the trash");
            }
            Ok(()) => {
                done += 1;
                let copy = backend.expose(&exposure(&source)).unwrap();
                same(&share, &copy);
            }
            Err(error) => panic!("{error:?}"),
        }
        limit = limit * 3 / 2;
    }
    assert!(stopped > 2, "{stopped}");
}

#[test]
fn one_share_of_several_fails_and_none_is_copied() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let xfs = FileSystem::Xfs.make(&ground, "a");
    let btrfs = FileSystem::Btrfs.make(&ground, "b");
    let shares = [
        xfs.join("one"),
        xfs.join("two"),
        subvolume(&btrfs.join("three")),
    ];
    for share in &shares {
        fs::create_dir_all(share.join("in")).unwrap();
        fs::write(share.join("in/file"), b"data").unwrap();
    }
    let backend = backend(&ground, &[&xfs, &btrfs]);
    for bad in &shares {
        let sources = shares.each_ref().map(|share| source(&backend, share));
        backend.prepare(&sources, &Deadline::default()).unwrap();
        crate::common::run("mkfifo", &[bad.join("in/pipe").to_str().unwrap()]);
        let failed = backend.commit(&sources, true, &Deadline::default());
        match failed {
            Err(BackendError::Unsupported { path, .. }) => assert_eq!(path, bad.join("in/pipe")),
            other => panic!("{other:?}"),
        }
        assert_eq!(backend.enumerate().unwrap(), []);
        // Prepare says so as well, and leaves nothing either.
        let failed = backend.prepare(&sources, &Deadline::default());
        assert!(matches!(failed, Err(BackendError::Unsupported { .. })));
        assert_eq!(backend.enumerate().unwrap(), []);
        fs::remove_file(bad.join("in/pipe")).unwrap();
        backend
            .commit(&sources, true, &Deadline::default())
            .unwrap();
        assert_eq!(backend.enumerate().unwrap().len(), 3);
        for source in &sources {
            let copy = backend.expose(&exposure(source)).unwrap();
            assert_eq!(fs::read(copy.join("in/file")).unwrap(), b"data");
            backend.delete(&copy_ref(source)).unwrap();
        }
    }
}

/// Two shares with one directory are one copy; what either forbids is forbidden.
#[test]
fn two_shares_of_one_directory() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let share = FileSystem::Xfs.make(&ground, "a").join("share");
    fs::create_dir_all(share.join("1/2")).unwrap();
    let shallow = Rules {
        depth: 1,
        ..Rules::default()
    };
    let name = fsrvp_idl::ShareName::new("shallow");
    let backend = TreeClone::new(CloneConfig {
        share_rules: [(name.clone(), shallow)].into(),
        ..config(&ground, &[&share])
    });
    let mut source = source(&backend, &share);
    let mut second = source.shares[0].clone();
    source.shares.push(second.clone());
    let sources = std::slice::from_ref(&source);
    backend.prepare(sources, &Deadline::default()).unwrap();
    second.share = name;
    source.shares[1] = second;
    let sources = std::slice::from_ref(&source);
    let refused = backend.prepare(sources, &Deadline::default());
    assert!(matches!(refused, Err(BackendError::Unsupported { .. })));
}

/// Many directories, few descriptors.
#[test]
fn descriptors_do_not_grow_with_the_tree() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let share = FileSystem::Xfs.make(&ground, "a").join("share");
    for outer in 0..40 {
        for inner in 0..25 {
            fs::create_dir_all(share.join(format!("{outer}/{inner}/x"))).unwrap();
        }
    }
    let backend = backend(&ground, &[&share]);
    let source = source(&backend, &share);
    let sources = std::slice::from_ref(&source);
    let open = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    backend.prepare(sources, &Deadline::default()).unwrap();
    let held = open().saturating_sub(before);
    // Other tests of this process open files too.
    assert!(held < 200, "{held}");
    backend.commit(sources, true, &Deadline::default()).unwrap();
    let copy = backend.expose(&exposure(&source)).unwrap();
    same(&share, &copy);
}
