//! Between Prepare and Commit everything may change: the copy is of the moment of Commit.

use crate::bed::{FileSystem, backend, commit, config, lab, prepare};
use crate::common::{Ground, bind, copy_ref, source};
use crate::faithful::same;
use fsrvp_proto::job::CopySource;
use fsrvp_snapshot::{BackendError, CloneConfig, Deadline, SnapshotBackend, TreeClone};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

struct Case {
    ground: Ground,
    share: PathBuf,
    backend: TreeClone,
    source: CopySource,
}

/// A clock for which everything has happened long ago.
pub(crate) fn later() -> SystemTime {
    SystemTime::now() + Duration::from_secs(3_600)
}

/// A share with some files, prepared.
fn prepared(kind: FileSystem) -> Case {
    prepared_at(kind, SystemTime::now)
}

fn prepared_at(kind: FileSystem, now: fn() -> SystemTime) -> Case {
    let ground = Ground::new();
    let share = kind.make(&ground, "a").join("share");
    fill(&share);
    let backend = TreeClone::new(CloneConfig {
        now,
        ..config(&ground, &[&share])
    });
    let source = source(&backend, &share);
    prepare(&backend, &source);
    Case {
        ground,
        share,
        backend,
        source,
    }
}

fn fill(share: &Path) {
    for directory in ["a/b/c", "d/e", "f"] {
        let directory = share.join(directory);
        fs::create_dir_all(&directory).unwrap();
        for name in ["1", "2", "3"] {
            fs::write(directory.join(name), format!("{name} as it was")).unwrap();
        }
    }
    fs::write(share.join("empty"), b"").unwrap();
    fs::write(share.join("big"), vec![5; 100_000]).unwrap();
}

/// Whatever a script does between the phases, the copy is what the share is afterwards.
fn survive(kind: FileSystem, changes: &[(&str, &str)]) {
    let ground = Ground::new();
    let top = kind.make(&ground, "a");
    // Whether Prepare can trust the times that it sees, or not.
    for now in [SystemTime::now, later] {
        let backend = TreeClone::new(CloneConfig {
            now,
            ..config(&ground, &[&top])
        });
        for (number, (what, script)) in changes.iter().enumerate() {
            println!("{kind:?}: {what}");
            let share = top.join(format!("share {number}"));
            fill(&share);
            let source = source(&backend, &share);
            prepare(&backend, &source);
            shell(&share, script);
            let copy = commit(&backend, &source);
            same(&share, &copy);
            backend.delete(&copy_ref(&source)).unwrap();
            fs::remove_dir_all(share).unwrap();
        }
    }
}

fn shell(directory: &Path, script: &str) {
    let status = Command::new("sh")
        .args(["-euc", script])
        .current_dir(directory)
        .status()
        .unwrap();
    assert!(status.success(), "{script}");
}

/// Every kind of change alone, then all that do not contradict each other.
#[test]
fn whatever_changes_in_between() {
    if !lab() {
        return;
    }
    let changes = [
        ("nothing", "true"),
        ("a file is written", "printf new > a/b/c/1"),
        (
            "a file is written and keeps its times",
            "touch -r a/b/c/1 ../t; printf 'x' | dd of=a/b/c/1 conv=notrunc status=none; touch -r ../t a/b/c/1",
        ),
        ("a file grows", "head -c 50000 /dev/zero >> big"),
        ("a file shrinks", "truncate -s 10 big"),
        ("a file loses all", ": > big"),
        ("an empty file gets data", "printf x > empty"),
        ("a file is added", "printf x > d/new"),
        ("a file is removed", "rm d/e/2"),
        ("a file is renamed", "mv d/e/2 d/e/other"),
        ("a file moves", "mv d/e/2 f/other"),
        ("files change places", "mv f/1 t; mv f/2 f/1; mv t f/2"),
        ("a file is replaced", "printf another > t; mv t f/2"),
        (
            "a file becomes a directory",
            "rm f/2; mkdir f/2; printf x > f/2/in",
        ),
        ("a directory becomes a file", "rm -r d/e; printf x > d/e"),
        (
            "a directory is added",
            "mkdir -p d/x/y; printf x > d/x/y/z; chmod 700 d/x",
        ),
        ("a directory is removed", "rm -r a/b"),
        ("a directory is renamed", "mv a/b a/z"),
        ("a directory moves", "mv a/b d/b"),
        ("a directory moves down", "mv d f/d"),
        ("directories change places", "mv a t; mv d a; mv t d"),
        (
            "a directory is replaced",
            "rm -r a/b; mkdir -p a/b/c; printf x > a/b/c/1",
        ),
        ("a directory is emptied", "rm -r f/*"),
        ("everything goes", "rm -r *"),
        ("an owner changes", "chown 1000:1000 f/1 d"),
        ("a mode changes", "chmod 0600 f/1; chmod 0711 d/e"),
        (
            "attributes change",
            "setfattr -n user.x -v 1 f/1; setfattr -n security.NTACL -v 0x01 d",
        ),
        (
            "an ACL is set",
            "setfacl -m u:1000:r f/1; setfacl -m d:u:1000:rwx d/e; printf x > d/e/new",
        ),
        ("times are set", "touch -d 2001-01-01 f/1 d"),
        ("a link comes and goes", "ln f/1 f/l; rm f/l"),
        ("a temporary file comes and goes", "printf x > f/t; rm f/t"),
        (
            "much",
            "rm -r a/b/c; mv f/3 d; printf x > d/e/1; mkdir f/n; mv d/e f/n/e; chmod 700 f; \
             : > empty; setfattr -n user.y -v 2 big",
        ),
    ];
    for kind in FileSystem::ALL {
        survive(kind, &changes);
    }
}

/// What Prepare gave metadata to before somebody took it away must not keep it.
#[test]
fn attributes_that_are_taken_away() {
    if !lab() {
        return;
    }
    for kind in FileSystem::ALL {
        let ground = Ground::new();
        let share = kind.make(&ground, "a").join("share");
        fs::create_dir(&share).unwrap();
        shell(
            &share,
            "mkdir d; printf x > f; setfattr -n user.x -v 1 f; setfattr -n user.y -v 2 f; \
             setfacl -m u:1000:rwx f; setfacl -m d:u:1000:rwx d; setfattr -n trusted.z -v 3 d; \
             cp /bin/true c; setcap cap_net_raw+ep c",
        );
        let backend = backend(&ground, &[&share]);
        let source = source(&backend, &share);
        prepare(&backend, &source);
        shell(
            &share,
            "setfattr -x user.x f; setfacl -b f; setfacl -k d; setfattr -x trusted.z d; \
             setcap -r c",
        );
        let copy = commit(&backend, &source);
        same(&share, &copy);
    }
}

/// A mapping writes without changing times until it is written back.
#[test]
fn what_a_mapping_writes() {
    if !lab() {
        return;
    }
    for kind in FileSystem::ALL {
        let case = prepared_at(kind, later);
        let path = case.share.join("big");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        let mut mapping = fsrvp_sys::shared_mapping::SharedMapping::new(&file, 100_000).unwrap();
        mapping.write_at(0, b"by a mapping").unwrap();
        prepare(&case.backend, &case.source);
        mapping.write_at(50_000, b"by a mapping").unwrap();
        let copy = commit(&case.backend, &case.source);
        let content = fs::read(copy.join("big")).unwrap();
        assert_eq!(&content[50_000..50_012], b"by a mapping", "{kind:?}");
        assert_eq!(content, fs::read(&path).unwrap());
    }
}

/// What has come that cannot be copied fails the Commit, by its name, and nothing is left.
#[test]
fn what_cannot_be_copied_has_come() {
    if !lab() {
        return;
    }
    type Come = fn(&Path) -> PathBuf;
    let comes: [(&str, Come); 5] = [
        ("link", |share| {
            let path = share.join("d/e/link");
            symlink("/etc/passwd", &path).unwrap();
            path
        }),
        ("pipe in place of a file", |share| {
            let path = share.join("f/1");
            fs::remove_file(&path).unwrap();
            shell(share, "mkfifo f/1");
            path
        }),
        ("hard link", |share| {
            let path = share.join("f/2");
            fs::hard_link(&path, share.join("f/also")).unwrap();
            path
        }),
        ("depth", |share| {
            let path = share.join("a/b/c/4/5/6");
            fs::create_dir_all(&path).unwrap();
            path
        }),
        ("link for a directory", |share| {
            let path = share.join("a/b");
            fs::rename(&path, share.join("moved")).unwrap();
            symlink("../moved", &path).unwrap();
            path
        }),
    ];
    for (what, come) in comes {
        let case = prepared(FileSystem::Xfs);
        let offender = come(&case.share);
        let sources = std::slice::from_ref(&case.source);
        match case.backend.commit(sources, true, &Deadline::default()) {
            Err(BackendError::Unsupported { path, .. }) => {
                let also = case.share.join("f/also");
                assert!(path == offender || path == also, "{what}: {path:?}");
            }
            other => panic!("{what}: {other:?}"),
        }
        nothing_is_left(&case);
    }
}

#[test]
fn a_mount_has_come() {
    if !lab() {
        return;
    }
    let case = prepared(FileSystem::Xfs);
    bind(&case.share.join("f"), &case.share.join("d/e"));
    let sources = std::slice::from_ref(&case.source);
    match case.backend.commit(sources, true, &Deadline::default()) {
        Err(BackendError::Unsupported { path, .. }) => assert_eq!(path, case.share.join("d/e")),
        other => panic!("{other:?}"),
    }
    nothing_is_left(&case);
}

#[test]
fn the_share_has_been_replaced() {
    if !lab() {
        return;
    }
    let case = prepared(FileSystem::Xfs);
    fs::rename(&case.share, case.ground.path("a/moved")).unwrap();
    let sources = std::slice::from_ref(&case.source);
    let gone = case.backend.commit(sources, true, &Deadline::default());
    assert!(matches!(gone, Err(BackendError::NotFound(_))), "{gone:?}");
    fs::create_dir(&case.share).unwrap();
    let other = case.backend.commit(sources, true, &Deadline::default());
    assert!(
        matches!(other, Err(BackendError::Unsupported { .. })),
        "{other:?}"
    );
    nothing_is_left(&case);
}

pub(crate) fn area(ground: &Ground) -> PathBuf {
    ground.path(&format!(
        "a/.fsrvpd/{}/clone",
        crate::faithful::folder(ground)
    ))
}

fn nothing_is_left(case: &Case) {
    assert_eq!(case.backend.enumerate().unwrap(), []);
    assert!(case.backend.finish(Duration::from_secs(60)));
    let names = |path: &Path| {
        let entries = fs::read_dir(path).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&area(&case.ground)), ["trash"]);
    assert!(names(&area(&case.ground).join("trash")).is_empty());
}

/// Stops others when it goes, also by a panic.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Somebody who writes all the time: every file of the copy is of one moment.
/// A commit that can neither end nor be undone; the next one, as the agent makes it, with a Prepare.
#[test]
fn what_could_not_be_undone_is_in_nobodys_way() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let share = FileSystem::Xfs.make(&ground, "a").join("share");
    fs::create_dir(&share).unwrap();
    fs::write(share.join("file"), b"data").unwrap();
    let backend = backend(&ground, &[&share]);
    let source = source(&backend, &share);
    let sources = std::slice::from_ref(&source);
    prepare(&backend, &source);
    let area = area(&ground);
    let area = area.to_str().unwrap();
    crate::common::run("chattr", &["+i", area]);
    let failed = backend.commit(sources, true, &Deadline::default());
    crate::common::run("chattr", &["-i", area]);
    failed.unwrap_err();
    prepare(&backend, &source);
    let copy = commit(&backend, &source);
    assert_eq!(fs::read(copy.join("file")).unwrap(), b"data");
    backend.delete(&copy_ref(&source)).unwrap();
}

#[test]
fn writers_that_do_not_stop() {
    if !lab() {
        return;
    }
    let case = prepared(FileSystem::Xfs);
    let path = case.share.join("big");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let file = OpenOptions::new().write(true).open(&path).unwrap();
            for round in 0_u64.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let block = u8::try_from(round % 256).unwrap();
                let data = vec![block; 100_000];
                std::os::unix::fs::FileExt::write_all_at(&file, &data, 0).unwrap();
            }
        });
        let _stop = Stop(&stop);
        for _ in 0..20 {
            prepare(&case.backend, &case.source);
            let copy = commit(&case.backend, &case.source);
            let content = fs::read(copy.join("big")).unwrap();
            assert_eq!(content.len(), 100_000);
            assert!(content.iter().all(|byte| *byte == content[0]));
            case.backend.delete(&copy_ref(&case.source)).unwrap();
        }
    });
}

/// Directories that turn into links and back while the tree is walked lead nowhere else.
#[test]
fn links_that_flicker() {
    if !lab() {
        return;
    }
    let case = prepared(FileSystem::Xfs);
    let outside = case.ground.path("a/outside");
    fs::create_dir_all(outside.join("c")).unwrap();
    fs::write(outside.join("secret"), b"secret").unwrap();
    fs::write(outside.join("1"), b"secret").unwrap();
    let (directory, away) = (case.share.join("a/b"), case.ground.path("a/away"));
    let link = case.ground.path("a/link");
    symlink(&outside, &link).unwrap();
    let stop = AtomicBool::new(false);
    let mut made = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                fs::rename(&directory, &away).unwrap();
                fs::rename(&link, &directory).unwrap();
                fs::rename(&directory, &link).unwrap();
                fs::rename(&away, &directory).unwrap();
            }
        });
        let _stop = Stop(&stop);
        let sources = std::slice::from_ref(&case.source);
        for _ in 0..200 {
            let deadline = Deadline::default();
            let done = case
                .backend
                .prepare(sources, &deadline)
                .and_then(|()| case.backend.commit(sources, true, &deadline));
            match done {
                Ok(()) => {
                    made += 1;
                    let copy = case
                        .backend
                        .expose(&crate::common::exposure(&case.source))
                        .unwrap();
                    let names: Vec<_> = walk(&copy);
                    assert!(names.iter().all(|(name, content)| {
                        !name.ends_with("secret") && content != b"secret"
                    }));
                }
                Err(BackendError::Unsupported { .. }) => {}
                Err(error) => panic!("{error:?}"),
            }
            case.backend.delete(&copy_ref(&case.source)).unwrap();
        }
    });
    println!("{made} of 200 copies were made");
}

fn walk(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        assert!(metadata.is_dir() || metadata.is_file(), "{path:?}");
        if metadata.is_dir() {
            found.extend(walk(&path));
        } else {
            assert_eq!(metadata.nlink(), 1);
            found.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    found
}
