//! Beds for the battery, and what the other tests need.

use crate::common::{Ground, bind, exposure, run, subvolume};
use fsrvp_proto::job::CopySource;
use fsrvp_snapshot::battery::{Bed, Places, Refused, Unit};
use fsrvp_snapshot::clone::Rules;
use fsrvp_snapshot::{CloneConfig, Deadline, SnapshotBackend, TreeClone};
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Whether the tests can run here.
pub(crate) fn lab() -> bool {
    if !crate::common::lab() {
        return false;
    }
    let programs = ["mkfs.xfs", "getfattr", "getfacl", "setcap", "python3"];
    let missing: Vec<_> = programs
        .into_iter()
        .filter(|program| Command::new(program).arg("-V").output().is_err())
        .collect();
    if missing.is_empty() {
        return true;
    }
    println!("skipped: needs {}", missing.join(", "));
    let required = std::env::var_os("FSRVP_REQUIRE_LAB").is_some_and(|value| value == "1");
    assert!(!required, "FSRVP_REQUIRE_LAB is set");
    false
}

/// What lies below a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileSystem {
    Xfs,
    Btrfs,
}

impl FileSystem {
    pub(crate) const ALL: [Self; 2] = [Self::Xfs, Self::Btrfs];

    /// A new one, mounted.
    pub(crate) fn make(self, ground: &Ground, name: &str) -> PathBuf {
        let image = self.image(ground, name);
        self.mount(ground, &image, name)
    }

    pub(crate) fn image(self, ground: &Ground, name: &str) -> PathBuf {
        let image = ground.path(&format!("{name}.img"));
        File::create(&image).unwrap().set_len(1 << 30).unwrap();
        let path = image.to_str().unwrap();
        match self {
            Self::Xfs => run("mkfs.xfs", &["-q", "-m", "reflink=1", path]),
            Self::Btrfs => run("mkfs.btrfs", &["-q", "-f", path]),
        }
        image
    }

    pub(crate) fn mount(self, ground: &Ground, image: &Path, name: &str) -> PathBuf {
        let point = ground.path(name);
        fs::create_dir_all(&point).unwrap();
        let (image, target) = (image.to_str().unwrap(), point.to_str().unwrap());
        run("mount", &["-o", "loop", image, target]);
        point
    }
}

/// How a share lies on its file system.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Layout {
    /// The share is the root of the file system, and the area is below it.
    Root,
    /// The share is a directory.
    Directory,
    /// Only the share is mounted, the root of its file system nowhere.
    Bind,
    /// Names with all that a name may hold, and of 255 bytes.
    OddNames,
    /// A subvolume below another one; btrfs only.
    Subvolume,
}

pub(crate) const LAYOUTS: [Layout; 5] = [
    Layout::Root,
    Layout::Directory,
    Layout::Bind,
    Layout::OddNames,
    Layout::Subvolume,
];

pub(crate) struct CloneBed {
    backend: TreeClone,
    places: Places,
    // Last, so that the backend's mounts are not in use when it goes.
    pub(crate) ground: Ground,
}

impl CloneBed {
    pub(crate) fn new(kind: FileSystem, layout: Layout) -> Self {
        let ground = Ground::new();
        let (whole, inner) = shares(&ground, kind, layout);
        let b = kind.make(&ground, "b");
        let other = b.join("other");
        fs::create_dir(&other).unwrap();
        let refused = refused(&b, kind);
        Self {
            backend: backend(&ground, &[&whole, &other]),
            places: Places {
                whole,
                inner,
                other: Some(other),
                refused,
            },
            ground,
        }
    }
}

/// The configuration that tests begin with.
pub(crate) fn config(ground: &Ground, known: &[&Path]) -> CloneConfig {
    CloneConfig {
        known: known.iter().map(|path| (*path).to_owned()).collect(),
        ..CloneConfig::new(ground.server(), ground.path("run/mounts"))
    }
}

/// The backend as a new process has it.
pub(crate) fn backend(ground: &Ground, known: &[&Path]) -> TreeClone {
    TreeClone::new(config(ground, known))
}

/// The backend with other rules.
pub(crate) fn backend_with(ground: &Ground, share: &Path, rules: Rules) -> TreeClone {
    TreeClone::new(CloneConfig {
        rules,
        ..config(ground, &[share])
    })
}

fn directory(whole: &Path, inner: &str) -> (PathBuf, PathBuf) {
    let inner = whole.join(inner);
    fs::create_dir_all(&inner).unwrap();
    (whole.to_owned(), inner)
}

fn shares(ground: &Ground, kind: FileSystem, layout: Layout) -> (PathBuf, PathBuf) {
    let top = kind.make(ground, "a");
    match layout {
        Layout::Root => directory(&top, "some/where"),
        Layout::Directory => directory(&top.join("share"), "some/where"),
        Layout::Bind => {
            let (share, inner) = directory(&top.join("deep/share"), "some/where");
            let (whole_at, inner_at) = (ground.path("bound/whole"), ground.path("bound/where"));
            bind(&share, &whole_at);
            bind(&inner, &inner_at);
            crate::common::umount(&top);
            (whole_at, inner_at)
        }
        Layout::OddNames => {
            let odd = "tab\tline\nback\\040slash #'\"%$ \u{e9}";
            let share = top.join(odd);
            directory(&share, &format!("{odd}/{}", "x".repeat(255)))
        }
        Layout::Subvolume => {
            let share = match kind {
                FileSystem::Btrfs => subvolume(&subvolume(&top.join("outer")).join("share")),
                FileSystem::Xfs => top.join("share"),
            };
            directory(&share, "some/where")
        }
    }
}

/// Directories with what no copy would hold.
fn refused(top: &Path, kind: FileSystem) -> Vec<Refused> {
    let mut refused = Vec::new();
    let mut refuse = |directory: PathBuf, offender: PathBuf| {
        refused.push(Refused {
            directory,
            offender,
        });
    };
    let bad = top.join("bad");
    for name in [
        "link",
        "pipe",
        "deep/1/2/3/4/5/6",
        "hard",
        "mount/a b",
        "bind/x",
    ] {
        fs::create_dir_all(bad.join(name)).unwrap();
    }
    fs::create_dir(bad.join("link/in")).unwrap();
    symlink("/etc", bad.join("link/in/a link")).unwrap();
    refuse(bad.join("link"), bad.join("link/in/a link"));
    run("mkfifo", &[bad.join("pipe/p").to_str().unwrap()]);
    refuse(bad.join("pipe"), bad.join("pipe/p"));
    refuse(bad.join("deep"), bad.join("deep/1/2/3/4/5/6"));
    fs::write(bad.join("hard/one"), b"x").unwrap();
    fs::hard_link(bad.join("hard/one"), bad.join("hard/two")).unwrap();
    refuse(bad.join("hard"), bad.join("hard/one"));
    let mount = bad.join("mount/a b");
    run("mount", &["-t", "tmpfs", "none", mount.to_str().unwrap()]);
    refuse(bad.join("mount"), mount);
    bind(&bad.join("pipe"), &bad.join("bind/x"));
    refuse(bad.join("bind"), bad.join("bind/x"));
    if kind == FileSystem::Btrfs {
        fs::create_dir_all(bad.join("nested/deep")).unwrap();
        let child = subvolume(&bad.join("nested/deep/child"));
        refuse(bad.join("nested"), child);
    }
    refused
}

impl Bed for CloneBed {
    fn backend(&self) -> &dyn SnapshotBackend {
        &self.backend
    }

    fn restart(&mut self) {
        let Places { whole, other, .. } = &self.places;
        let known = [whole].into_iter().chain(other);
        let known: Vec<_> = known.map(PathBuf::as_path).collect();
        self.backend = backend(&self.ground, &known);
    }

    fn unit(&self) -> Unit {
        Unit::Tree
    }

    fn places(&self) -> &Places {
        &self.places
    }
}

pub(crate) fn prepare(backend: &TreeClone, source: &CopySource) {
    let sources = std::slice::from_ref(source);
    backend.prepare(sources, &Deadline::default()).unwrap();
}

/// Commits and exposes a writable copy.
pub(crate) fn commit(backend: &TreeClone, source: &CopySource) -> PathBuf {
    let sources = std::slice::from_ref(source);
    backend.commit(sources, true, &Deadline::default()).unwrap();
    backend.expose(&exposure(source)).unwrap()
}
