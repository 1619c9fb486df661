//! Snapshots of ZFS data sets, by the program `zfs` of OpenZFS or zfs-fuse.
//!
//! | what | name | says |
//! |---|---|---|
//! | the snapshot | `<data set>@fsrvp-<id>` | `fsrvp:server`, `fsrvp:owner` whose it is; `fsrvp:writable`; `fsrvp:cloned` once there is a clone |
//! | its clone | `<pool>/fsrvp-<id>` | `fsrvp:clone` the copy; `fsrvp:sealed` |
//! | the clone's mount | `<run_dir>/zfs/<id>` | |
//!
//! Commit makes snapshots and nothing else; the clone is made when the copy is exposed or sealed. A
//! seal mounts the clone anew with `readonly=on`, because zfs-fuse lets handles and even new opens
//! write through the old mount; that is refused while anything is open, so that after it no handle
//! of before exists.
//!
//! OpenZFS was never run with this code. Everything was tried on zfs-fuse 0.7.0; what OpenZFS does
//! otherwise (several snapshots in one call, guids) is tried with recorded words of its manual.

mod commit;
mod copy;
mod dataset;
mod source;
mod tool;

use crate::backend::{BackendError, Deadline, Probe, ProviderFacts, SnapshotBackend};
use crate::error::{failed, unsupported};
use crate::folder::{Folder, open_inner};
use crate::guard::Guards;
use crate::leftovers::Leftovers;
use crate::location::{Identity, Location, mount_table, open_directory};
use crate::names;
use crate::previous::{self, Links};
use crate::{attempt, lock};
use dataset::{DataSet, is_zfs};
use fsrvp_idl::ShareName;
use fsrvp_proto::job::{BackendName, CopyRef, CopySource, Exposure, VolumeId};
use std::collections::{BTreeMap, HashMap};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tool::Tool;
use uuid::{Uuid, uuid};

/// Every point of this backend at which [`fsrvp_sys::crash`] can end the process.
pub const CRASH_POINTS: &[&str] = &[
    "zfs.commit.before_cut",
    "zfs.commit.after_call",
    "zfs.commit.after_all",
    "zfs.show.after_clone",
    "zfs.show.after_mark",
    "zfs.show.after_mount",
    "zfs.seal.after_unmount",
    "zfs.seal.after_read_only",
    "zfs.seal.after_mount",
    "zfs.seal.after_mark",
    "zfs.delete.after_unmount",
    "zfs.delete.after_clone",
    "zfs.delete.after_snapshot",
];

/// Properties of snapshots.
const SERVER: &str = "fsrvp:server";
const OWNER: &str = "fsrvp:owner";
const WRITABLE: &str = "fsrvp:writable";
const CLONED: &str = "fsrvp:cloned";
/// Properties of clones.
const CLONE: &str = "fsrvp:clone";
const SEALED: &str = "fsrvp:sealed";

/// What the ZFS backend needs to know.
#[derive(Debug, Clone)]
pub struct ZfsConfig {
    /// The program: a path, or a name on the path of the system's directories.
    pub program: PathBuf,
    /// Longest time of one call of it.
    pub limit: Duration,
    /// Name of the virtual file server.
    pub server: String,
    /// As for the other backends; this one uses `zfs` in it. Tells our copies from those of
    /// another fsrvpd with the same server name.
    pub run_dir: PathBuf,
}

/// The ZFS backend. Needs root.
#[derive(Debug)]
pub struct Zfs {
    config: ZfsConfig,
    tool: Tool,
    /// Value of [`SERVER`].
    folder: String,
    /// Value of [`OWNER`].
    owner: String,
    base: PathBuf,
    /// Whether `zfs snapshot` takes several names.
    takes_many: AtomicBool,
    guards: Guards,
    /// Data sets of volumes, as Prepare found them.
    names: Mutex<HashMap<VolumeId, String>>,
    links: Mutex<Links>,
    /// Copies of a failed commit that could not be undone: never to be taken for a later commit's.
    leftovers: Leftovers,
}

impl Zfs {
    /// A backend; nothing is asked yet.
    #[must_use]
    pub fn new(config: ZfsConfig) -> Self {
        Self {
            tool: Tool::new(&config.program, config.limit),
            folder: names::component(&config.server),
            owner: names::component(&config.run_dir.to_string_lossy()),
            base: config.run_dir.join("zfs"),
            takes_many: AtomicBool::new(true),
            guards: Guards::default(),
            names: Mutex::default(),
            links: Mutex::default(),
            leftovers: Leftovers::default(),
            config,
        }
    }

    fn try_to_enumerate(&self) -> Result<Vec<CopyRef>, BackendError> {
        let ours = self.ours()?;
        let mut volumes: BTreeMap<String, Option<VolumeId>> = BTreeMap::new();
        let mut copies = Vec::new();
        for (data_set, copy) in ours {
            if !volumes.contains_key(&data_set) {
                let found = DataSet::look(&self.tool, &data_set)?;
                let volume = found.map(|found| found.volume()).transpose()?;
                volumes.insert(data_set.clone(), volume.map(VolumeId::from));
            }
            // A data set that has gone since has taken its snapshots along.
            if let Some(Some(volume)) = volumes.get(&data_set) {
                copies.push(CopyRef {
                    copy,
                    backend: self.name(),
                    volume: volume.clone(),
                });
            }
        }
        Ok(copies)
    }
}

impl SnapshotBackend for Zfs {
    fn name(&self) -> BackendName {
        BackendName("zfs".into())
    }

    fn facts(&self) -> ProviderFacts {
        const ID: Uuid = uuid!("7e6f2a86-9a3f-4f0e-8c0c-7a6673636c6e");
        ProviderFacts {
            name: "ZFS snapshots".into(),
            kind: "Software",
            id: ID,
            version: env!("CARGO_PKG_VERSION").into(),
        }
    }

    fn probe(&self, directory: &Path) -> Result<Probe, BackendError> {
        self.locate(directory).map(|source| source.probe)
    }

    fn prepare(&self, copies: &[CopySource], deadline: &Deadline) -> Result<(), BackendError> {
        self.prepare_all(copies, deadline)
    }

    fn commit(
        &self,
        copies: &[CopySource],
        writable: bool,
        deadline: &Deadline,
    ) -> Result<(), BackendError> {
        let done = match self.cut_all(copies, writable, deadline) {
            // What `zfs` was killed for tells more than that it was.
            Err(indeterminate @ BackendError::Indeterminate { .. }) => {
                deadline.check().and(Err(indeterminate))
            }
            other => other,
        };
        if done.is_err() {
            self.undo_all(copies);
        }
        done
    }

    fn expose(&self, exposure: &Exposure) -> Result<PathBuf, BackendError> {
        let root = self.show(&self.existing(&exposure.copy)?)?;
        open_inner(&root, &exposure.inner)?;
        let folder = Folder::make(&self.base)?;
        lock(&self.links).link(
            &folder,
            &exposure.base,
            exposure.copy.copy,
            &exposure.inner,
            exposure.created,
        )?;
        Ok(root.join(&exposure.inner))
    }

    fn seal(&self, copy: &CopyRef) -> Result<(), BackendError> {
        self.seal_copy(&self.existing(copy)?)
    }

    fn verify_sealed(&self, copy: &CopyRef, via: &Path) -> Result<(), BackendError> {
        let root = self.show(&self.existing(copy)?)?;
        let directory = open_directory(via).map_err(failed("open", via))?;
        let found = Identity::of_open(directory.as_fd()).map_err(failed("statx", via))?;
        let expected = Identity::at(&root).map_err(failed("statx", &root))?;
        if !found.is_same_device(expected) {
            return Err(unsupported(via, "does not lead into the copy"));
        }
        attempt::to_write(&directory, copy.copy, via)
    }

    fn delete(&self, copy: &CopyRef) -> Result<(), BackendError> {
        self.guards.forget(copy.copy);
        self.remove(copy)?;
        if let Some(folder) = Folder::open(&self.base) {
            lock(&self.links).unlink(&folder, copy.copy)?;
        }
        self.leftovers.forget(copy.copy);
        Ok(())
    }

    fn enumerate(&self) -> Result<Vec<CopyRef>, BackendError> {
        match self.try_to_enumerate() {
            Ok(copies) => Ok(copies),
            Err(error) if mount_table()?.0.iter().any(is_zfs) => Err(error),
            // No ZFS is in use, so that `zfs` need not even exist.
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "there is no ZFS");
                Ok(Vec::new())
            }
        }
    }

    fn previous_versions(&self, directory: &Path, share: &ShareName) -> Option<PathBuf> {
        let location = Location::find(directory, &*mount_table().ok()?).ok()?;
        is_zfs(&location.mount).then(|| previous::folder(&self.base, share))
    }
}
