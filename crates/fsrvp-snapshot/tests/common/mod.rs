//! btrfs on loop images, for tests that run as root.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "every test binary uses its own part"
)]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "the helpers of a test"
)]

use fsrvp_idl::{FileTime, ShadowCopyId};
use fsrvp_proto::job::{CopyRef, CopySource, Exposure, SourceShare};
use fsrvp_snapshot::battery::{Bed, Places, Refused};
use fsrvp_snapshot::{Btrfs, BtrfsConfig, Deadline, SnapshotBackend};
use fsrvp_sys::btrfs::subvolume_create;
use fsrvp_sys::mountinfo::MountTable;
use rustix::mount::{UnmountFlags, unmount};
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use uuid::Uuid;

/// Whether loop images can be used here; says so if not, and fails if they have to be.
pub fn lab() -> bool {
    let root = rustix::process::geteuid().is_root();
    let tools = Command::new("mkfs.btrfs").arg("--version").output().is_ok();
    let kernel = fs::read_to_string("/proc/filesystems").is_ok_and(|all| all.contains("btrfs"));
    let loops = Path::new("/dev/loop-control").exists();
    let missing = [
        (root, "root"),
        (tools, "mkfs.btrfs"),
        (kernel, "btrfs in the kernel"),
        (loops, "/dev/loop-control"),
    ];
    let missing: Vec<_> = missing
        .iter()
        .filter(|(there, _)| !there)
        .map(|(_, what)| *what)
        .collect();
    if missing.is_empty() {
        return true;
    }
    eprintln!("skipped: needs {}", missing.join(", "));
    let required = std::env::var_os("FSRVP_REQUIRE_LAB").is_some_and(|value| value == "1");
    assert!(!required, "FSRVP_REQUIRE_LAB is set");
    false
}

/// Runs a program that has to succeed.
pub fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
}

/// A directory for images and mounts; all that is mounted below it goes with it.
pub struct Ground(TempDir);

impl Ground {
    pub fn new() -> Self {
        Self(tempfile::Builder::new().prefix("fsrvp-").tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A virtual server of its own: tests in parallel see each other's file systems.
    pub fn server(&self) -> String {
        format!(
            "FS {}",
            self.0.path().file_name().unwrap().to_str().unwrap()
        )
    }

    /// Makes an image with an empty btrfs.
    pub fn image(&self, name: &str) -> PathBuf {
        let image = self.path(&format!("{name}.img"));
        File::create(&image).unwrap().set_len(512 << 20).unwrap();
        run("mkfs.btrfs", &["-q", "-f", image.to_str().unwrap()]);
        image
    }

    /// Makes an XFS with reflinks and mounts it at the directory `name`.
    pub fn xfs(&self, name: &str) -> PathBuf {
        let image = self.path(&format!("{name}.img"));
        File::create(&image).unwrap().set_len(512 << 20).unwrap();
        let (image, point) = (image.to_str().unwrap(), self.path(name));
        run("mkfs.xfs", &["-q", "-m", "reflink=1", image]);
        fs::create_dir_all(&point).unwrap();
        run("mount", &["-o", "loop", image, point.to_str().unwrap()]);
        point
    }

    /// Makes an ext4 and mounts it at the directory `name`.
    pub fn ext4(&self, name: &str) -> PathBuf {
        let image = self.path(&format!("{name}.img"));
        File::create(&image).unwrap().set_len(512 << 20).unwrap();
        let (image, point) = (image.to_str().unwrap(), self.path(name));
        run("mkfs.ext4", &["-q", image]);
        fs::create_dir_all(&point).unwrap();
        run("mount", &["-o", "loop", image, point.to_str().unwrap()]);
        point
    }

    /// Mounts an image at the directory `name`.
    pub fn mount(&self, image: &Path, name: &str, options: &str) -> PathBuf {
        let point = self.path(name);
        fs::create_dir_all(&point).unwrap();
        let options = format!("loop,{options}");
        let (image, target) = (image.to_str().unwrap(), point.to_str().unwrap());
        run(
            "mount",
            &[
                "-t",
                "btrfs",
                "-o",
                options.trim_end_matches(','),
                image,
                target,
            ],
        );
        point
    }

    /// A new btrfs, mounted at its top level.
    pub fn btrfs(&self, name: &str) -> PathBuf {
        let image = self.image(name);
        self.mount(&image, name, "")
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let table = MountTable::read().unwrap_or_default();
        let below = table
            .0
            .iter()
            .rev()
            .filter(|mount| mount.point.starts_with(self.0.path()));
        for mount in below {
            let flags = UnmountFlags::NOFOLLOW;
            if unmount(&mount.point, flags).is_err() {
                let _ = unmount(&mount.point, flags | UnmountFlags::DETACH);
            }
        }
    }
}

/// Retries `attempt` while other tests look into the mount, which `enumerate` does with all.
pub fn while_busy(mut attempt: impl FnMut() -> bool) {
    let started = std::time::Instant::now();
    while !attempt() {
        assert!(
            started.elapsed() < std::time::Duration::from_secs(10),
            "still busy"
        );
        std::thread::yield_now();
    }
}

pub fn umount(point: &Path) {
    while_busy(|| unmount(point, UnmountFlags::NOFOLLOW).is_ok());
}

pub fn unmount_all(backend: &Btrfs) {
    while_busy(|| backend.unmount_all().is_ok());
}

pub fn bind(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    run(
        "mount",
        &["--bind", from.to_str().unwrap(), to.to_str().unwrap()],
    );
}

/// Makes the subvolume `path`.
pub fn subvolume(path: &Path) -> PathBuf {
    let parent = File::open(path.parent().unwrap()).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    subvolume_create(parent.as_fd(), name).unwrap();
    path.to_owned()
}

/// How the volumes of a bed are reached.
#[derive(Debug, Clone, Copy)]
pub enum Layout {
    /// The share is the root of the file system.
    TopLevel,
    /// The share is a subvolume of a file system mounted at its top level.
    Subvolume,
    /// The share is mounted with `subvol=`, and nothing else of its file system is.
    SubvolMount,
    /// The shares are bind mounts of a subvolume of a subvolume and of a directory in it.
    Bind,
    /// Names with all that a name may hold, and of 255 bytes.
    OddNames,
}

pub const LAYOUTS: [Layout; 5] = [
    Layout::TopLevel,
    Layout::Subvolume,
    Layout::SubvolMount,
    Layout::Bind,
    Layout::OddNames,
];

pub struct BtrfsBed {
    backend: Btrfs,
    places: Places,
    // Last, so that the backend's mounts are not in use when it goes.
    pub ground: Ground,
}

impl BtrfsBed {
    pub fn new(layout: Layout) -> Self {
        let ground = Ground::new();
        let b = ground.btrfs("b");
        let other = subvolume(&b.join("other"));
        let refused = refused(&b);
        let (whole, inner) = shares(&ground, layout);
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

    pub fn btrfs(&self) -> &Btrfs {
        &self.backend
    }
}

/// The backend as a new process has it.
pub fn backend(ground: &Ground, known: &[&Path]) -> Btrfs {
    Btrfs::new(BtrfsConfig {
        server: ground.server(),
        run_dir: ground.path("run/mounts"),
        known: known.iter().map(|path| (*path).to_owned()).collect(),
    })
}

fn shares(ground: &Ground, layout: Layout) -> (PathBuf, PathBuf) {
    let image = ground.image("a");
    match layout {
        Layout::TopLevel => {
            let top = ground.mount(&image, "a", "");
            directory(&top, "some/where")
        }
        Layout::Subvolume => {
            let top = ground.mount(&image, "a", "");
            directory(&subvolume(&top.join("share")), "some/where")
        }
        Layout::SubvolMount => {
            let top = ground.mount(&image, "a", "");
            subvolume(&subvolume(&top.join("outer")).join("share"));
            umount(&top);
            let share = ground.mount(&image, "share", "subvol=outer/share");
            directory(&share, "some/where")
        }
        Layout::Bind => {
            let top = ground.mount(&image, "a", "");
            let share = subvolume(&subvolume(&top.join("outer")).join("share"));
            let (_, inner) = directory(&share, "some/where");
            let (whole_at, inner_at) = (ground.path("bound/whole"), ground.path("bound/where"));
            bind(&share, &whole_at);
            bind(&inner, &inner_at);
            (whole_at, inner_at)
        }
        Layout::OddNames => {
            let top = ground.mount(&image, "a b", "");
            let odd = "tab\tline\nback\\040slash #'\"%$ \u{e9}";
            let share = subvolume(&top.join(odd));
            directory(&share, &format!("{odd}/{}", "x".repeat(255)))
        }
    }
}

fn directory(whole: &Path, inner: &str) -> (PathBuf, PathBuf) {
    let inner = whole.join(inner);
    fs::create_dir_all(&inner).unwrap();
    (whole.to_owned(), inner)
}

/// Directories with a nested subvolume, a mount, a bind mount of the same file system.
fn refused(top: &Path) -> Vec<Refused> {
    let bad = subvolume(&top.join("bad"));
    let mut refused = Vec::new();
    let mut refuse = |directory: &Path, offender: &Path| {
        refused.push(Refused {
            directory: directory.to_owned(),
            offender: offender.to_owned(),
        });
    };
    for name in ["nested", "deep/nested", "mount", "bind"] {
        fs::create_dir_all(bad.join(name)).unwrap();
    }
    let nested = subvolume(&bad.join("nested/child"));
    refuse(&bad.join("nested"), &nested);
    let deep = subvolume(&bad.join("deep/nested/child"));
    refuse(&bad.join("deep"), &deep);
    let mount = bad.join("mount/a b");
    fs::create_dir(&mount).unwrap();
    run("mount", &["-t", "tmpfs", "none", mount.to_str().unwrap()]);
    refuse(&bad.join("mount"), &mount);
    let bound = bad.join("bind/x");
    bind(&bad.join("nested"), &bound);
    refuse(&bad.join("bind"), &bound);
    refused
}

impl Bed for BtrfsBed {
    fn backend(&self) -> &dyn SnapshotBackend {
        &self.backend
    }

    fn restart(&mut self) {
        let Places { whole, other, .. } = &self.places;
        let known = [whole].into_iter().chain(other);
        let known: Vec<_> = known.map(PathBuf::as_path).collect();
        self.backend = backend(&self.ground, &known);
    }

    fn places(&self) -> &Places {
        &self.places
    }
}

/// The image as a power cut at this moment would leave it: what the loop device has not been
/// given is lost.
pub fn cut(ground: &Ground, name: &str) -> PathBuf {
    let (from, to) = (ground.path("a.img"), ground.path(name));
    run(
        "cp",
        &[
            "--sparse=always",
            from.to_str().unwrap(),
            to.to_str().unwrap(),
        ],
    );
    to
}

/// A copy of the share at `path`, to be made.
pub fn source(backend: &dyn SnapshotBackend, path: &Path) -> CopySource {
    let probe = backend.probe(path).unwrap();
    CopySource {
        copy: ShadowCopyId(Uuid::new_v4()),
        backend: backend.name(),
        volume: probe.volume,
        shares: vec![SourceShare {
            share: fsrvp_idl::ShareName::new("share"),
            path: path.to_owned(),
            inner: probe.inner,
        }],
    }
}

pub fn copy_ref(source: &CopySource) -> CopyRef {
    source.reference()
}

pub fn exposure(source: &CopySource) -> Exposure {
    Exposure {
        copy: source.reference(),
        base: source.shares[0].share.clone(),
        name: "exposed".into(),
        inner: source.shares[0].inner.clone(),
        writable: true,
        created: FileTime(133_500_000_000_000_000),
    }
}

/// Prepares, commits and exposes a writable copy.
pub fn exposed(backend: &dyn SnapshotBackend, source: &CopySource) -> PathBuf {
    let sources = std::slice::from_ref(source);
    backend.prepare(sources, &Deadline::default()).unwrap();
    backend.commit(sources, true, &Deadline::default()).unwrap();
    backend.expose(&exposure(source)).unwrap()
}
