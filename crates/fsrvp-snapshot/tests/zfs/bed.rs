//! Pools in files, and beds on them.

use crate::common::{Ground, bind, run};
use fsrvp_snapshot::battery::{Bed, Places, Refused};
use fsrvp_snapshot::{SnapshotBackend, Zfs, ZfsConfig};
use fsrvp_testkit::comes_true;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long what had a user a moment ago may stay busy.
const BUSY: Duration = Duration::from_secs(5);

/// A pool; it goes with the value, and all that is on it.
pub(crate) struct Pool {
    pub(crate) name: String,
    pub(crate) root: PathBuf,
}

impl Pool {
    pub(crate) fn new(ground: &Ground, label: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("tank{}{label}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let root = ground.path(&format!("pool {label}"));
        let image = ground.path(&format!("{label}.pool"));
        fsrvp_testkit::zfs::create_pool(&name, &image, 256 << 20, &root).unwrap();
        Self { name, root }
    }

    /// A data set of the pool, mounted below its root.
    pub(crate) fn data_set(&self, name: &str) -> PathBuf {
        zfs(&["create", &format!("{}/{name}", self.name)]);
        self.root.join(name)
    }

    /// What exists of a type: `filesystem`, `snapshot`.
    pub(crate) fn list(&self, kind: &str) -> Vec<String> {
        let arguments = ["list", "-H", "-r", "-o", "name", "-t", kind, &self.name];
        let output = Command::new("zfs").args(arguments).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Somebody may just have left.
        let gone = comes_true(BUSY, || {
            let mut destroy = Command::new("zpool");
            let output = destroy.args(["destroy", "-f", &self.name]).output();
            output.is_ok_and(|output| output.status.success())
        });
        if !gone {
            eprintln!("pool {} stays", self.name);
        }
    }
}

pub(crate) fn zfs(arguments: &[&str]) {
    let output = Command::new("zfs").args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "zfs {arguments:?}: {said}");
}

/// Destroys a data set with its snapshots, which is busy for a while after its last user has gone.
pub(crate) fn destroy(name: &str) {
    let gone = comes_true(BUSY, || {
        let output = Command::new("zfs").args(["destroy", "-r", name]).output();
        output.unwrap().status.success()
    });
    assert!(gone, "{name} stays busy");
}

/// The backend as a new process has it.
pub(crate) fn backend(ground: &Ground) -> Zfs {
    backend_with(ground, Path::new("zfs"))
}

pub(crate) fn backend_with(ground: &Ground, program: &Path) -> Zfs {
    Zfs::new(ZfsConfig {
        program: program.to_owned(),
        limit: Duration::from_secs(60),
        server: ground.server(),
        run_dir: ground.path("run"),
    })
}

/// How the shares of a bed lie.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Layout {
    /// The share is the root data set of the pool.
    Root,
    /// The share is a data set.
    DataSet,
    /// The shares are bind mounts of a data set and of a directory in it.
    Bind,
    /// Names with all that a name may hold, and of 255 bytes.
    OddNames,
}

pub(crate) struct ZfsBed {
    backend: Zfs,
    program: PathBuf,
    places: Places,
    _pools: [Pool; 2],
    ground: Ground,
}

impl ZfsBed {
    pub(crate) fn new(layout: Layout, program: &Path) -> Self {
        let ground = Ground::new();
        let pools = [Pool::new(&ground, "a"), Pool::new(&ground, "b")];
        let [a, b] = &pools;
        let (whole, inner) = match layout {
            Layout::Root => (a.root.clone(), a.root.join("some/where")),
            Layout::DataSet => {
                let whole = a.data_set("vm");
                (whole.clone(), whole.join("some/where"))
            }
            Layout::OddNames => {
                let whole = a.data_set("vm store:1.a_b");
                let odd = "tab\tback\\040slash #'\"%$ \u{e9}";
                (whole.clone(), whole.join(odd).join("x".repeat(255)))
            }
            Layout::Bind => {
                let whole = a.data_set("vm");
                fs::create_dir_all(whole.join("some/where")).unwrap();
                let bound = [ground.path("bound/whole"), ground.path("bound/where")];
                bind(&whole, &bound[0]);
                bind(&whole.join("some/where"), &bound[1]);
                let [whole, inner] = bound;
                (whole, inner)
            }
        };
        fs::create_dir_all(&inner).unwrap();
        let bad = b.data_set("bad");
        let mounted = bad.join("deep/mount");
        fs::create_dir_all(&mounted).unwrap();
        run("mount", &["-t", "tmpfs", "none", mounted.to_str().unwrap()]);
        Self {
            backend: backend_with(&ground, program),
            program: program.to_owned(),
            places: Places {
                whole,
                inner,
                other: Some(b.data_set("other")),
                refused: vec![Refused {
                    directory: bad,
                    offender: mounted,
                }],
            },
            _pools: pools,
            ground,
        }
    }
}

impl Drop for ZfsBed {
    fn drop(&mut self) {
        // Before the pools, which do not go while something is mounted over them.
        for refused in &self.places.refused {
            crate::common::umount(&refused.offender);
        }
        for bound in ["bound/whole", "bound/where"] {
            let bound = self.ground.path(bound);
            if bound.exists() {
                crate::common::umount(&bound);
            }
        }
    }
}

impl Bed for ZfsBed {
    fn backend(&self) -> &dyn SnapshotBackend {
        &self.backend
    }

    fn restart(&mut self) {
        self.backend = backend_with(&self.ground, &self.program);
    }

    fn places(&self) -> &Places {
        &self.places
    }
}
