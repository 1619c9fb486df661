//! Clones of directory trees: XFS, btrfs and every other file system that lets files share blocks
//! (FICLONE). The share's tree is the unit of a copy.
//!
//! Prepare builds the skeleton of a copy: directories, and files with everything but their data.
//! Commit clones the data, file by file, and repeats what has changed in the meantime. A copy is
//! the directory `.fsrvpd/<server>/clone/<ShadowCopyId>` in the root of the source's file system,
//! which only root can enter; users and the SMB server come to the tree in it through a mount of
//! its own at `<run_dir>/clone/<ShadowCopyId>`. Forms of a copy:
//!
//! | name | what it is |
//! |---|---|
//! | `trash/<uuid>` | what is being removed |
//! | `<id>.part` | a copy from the first Prepare until the end of Commit |
//! | `<id>` | a copy that is complete, and may be written through its mount |
//! | `<id>` with the attribute `trusted.fsrvpd.sealed` | one whose mount is always read-only |
//!
//! The attribute `trusted.fsrvpd.volume` of a copy's directory says what it is a copy of.
//!
//! The same with [`Data::Own`] is the backend `copy`, for file systems that cannot share blocks: all
//! data is read and written in Commit. Its server folder is `<server>+copy`.

mod area;
mod build;
mod capability;
mod commit;
mod config;
mod cut;
mod data;
mod entry;
mod enumerate;
mod estimate;
mod exposure;
mod file_system;
mod filter;
mod metadata;
mod own;
mod place;
mod prepare;
mod reaper;
mod tree;
mod volume;

pub(crate) use area::NAME as FOLDER;

pub use config::{CloneConfig, Data, HardLinks, NoTargets, Rules, Targets};

use crate::attempt;
use crate::backend::{BackendError, Deadline, Probe, ProviderFacts, SnapshotBackend};
use crate::error::{failed, unsupported};
use crate::leftovers::Leftovers;
use crate::location::{Identity, mount_table, open_directory};
use crate::lock;
use crate::names;
use crate::previous::{self, Links};
use area::Area;
use file_system::FileSystem;
use fsrvp_idl::{ShadowCopyId, ShareName};
use fsrvp_proto::job::{BackendName, CopyRef, CopySource, Exposure};
use prepare::Plan;
use reaper::Reaper;
use std::collections::{HashMap, HashSet};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use uuid::{Uuid, uuid};
use volume::VolumeKey;

/// Every point of this backend at which [`fsrvp_sys::crash`] can end the process.
pub const CRASH_POINTS: &[&str] = &[
    "clone.mount.before_attach",
    "clone.mount.after_attach",
    "clone.area.after_mkdir",
    "clone.prepare.before_mark",
    "clone.prepare.after_mark",
    "clone.prepare.after_all",
    "clone.commit.before_data",
    "clone.commit.after_data",
    "clone.commit.after_name",
    "clone.commit.after_all",
    "clone.expose.before_attach",
    "clone.expose.after_attach",
    "clone.seal.after_shut",
    "clone.seal.after_mark",
    "clone.delete.after_unmount",
    "clone.delete.after_one",
    "clone.delete.after_all",
];

/// The clone backend. Needs CAP_SYS_ADMIN and Linux 5.12.
#[derive(Debug)]
pub struct TreeClone {
    config: CloneConfig,
    /// The server's folder in every area.
    folder: String,
    file_systems: Mutex<HashMap<Uuid, Arc<FileSystem>>>,
    /// File systems that have shown that they can clone.
    capable: Mutex<HashSet<Uuid>>,
    /// Held while a copy is mounted, sealed or unmounted.
    mounting: Mutex<()>,
    /// Held while a copy gets its directory.
    beginning: Mutex<()>,
    links: Mutex<Links>,
    prepared: Mutex<HashMap<ShadowCopyId, Plan>>,
    /// Copies of a failed commit that could not be undone: never to be taken for a later commit's.
    leftovers: Leftovers,
    reaper: Reaper,
}

impl TreeClone {
    /// A backend; nothing is mounted or made yet.
    #[must_use]
    pub fn new(config: CloneConfig) -> Self {
        let folder = names::component(&config.server);
        Self {
            folder: match config.data {
                Data::Shared => folder,
                // No server has such a folder as its own.
                Data::Own { .. } => format!("{folder}+copy"),
            },
            config,
            file_systems: Mutex::default(),
            capable: Mutex::default(),
            mounting: Mutex::default(),
            beginning: Mutex::default(),
            links: Mutex::default(),
            prepared: Mutex::default(),
            leftovers: Leftovers::default(),
            reaper: Reaper::default(),
        }
    }

    fn copy_ref(&self, copy: ShadowCopyId, volume: VolumeKey) -> CopyRef {
        CopyRef {
            copy,
            backend: self.name(),
            volume: volume.named(self.config.data.name()),
        }
    }

    /// The area of a copy, which must exist.
    fn area_of(&self, copy: &CopyRef) -> Result<(Arc<FileSystem>, Area, VolumeKey), BackendError> {
        let volume = VolumeKey::parse(&copy.volume)?;
        match self.area(volume)? {
            Some((file_system, area)) => Ok((file_system, area, volume)),
            None => Err(BackendError::NotFound(PathBuf::from(copy.copy.to_string()))),
        }
    }

    fn found(&self, volume: VolumeKey) -> Probe {
        Probe {
            volume: volume.named(self.config.data.name()),
            inner: PathBuf::new(),
            compatibility: 0,
        }
    }
}

impl SnapshotBackend for TreeClone {
    fn name(&self) -> BackendName {
        BackendName(self.config.data.name().into())
    }

    fn facts(&self) -> ProviderFacts {
        const CLONE: Uuid = uuid!("5b0c5b34-7d39-4a0e-8d0b-636c6f6e655f");
        const COPY: Uuid = uuid!("5b0c5b34-7d39-4a0e-8d0b-636f70792d2d");
        let (name, id) = match self.config.data {
            Data::Shared => ("clones of directory trees", CLONE),
            Data::Own { .. } => ("plain copies of directory trees (no snapshots)", COPY),
        };
        ProviderFacts {
            name: name.into(),
            kind: "Software",
            id,
            version: env!("CARGO_PKG_VERSION").into(),
        }
    }

    fn probe(&self, directory: &Path) -> Result<Probe, BackendError> {
        self.check(directory, None).map(|volume| self.found(volume))
    }

    fn probe_share(&self, directory: &Path, share: &ShareName) -> Result<Probe, BackendError> {
        self.check(directory, Some(share))
            .map(|volume| self.found(volume))
    }

    fn prepare(&self, copies: &[CopySource], deadline: &Deadline) -> Result<(), BackendError> {
        let done = self.prepare_all(copies, deadline);
        if done.is_err() {
            self.abandon(copies);
        }
        done
    }

    fn commit(
        &self,
        copies: &[CopySource],
        writable: bool,
        deadline: &Deadline,
    ) -> Result<(), BackendError> {
        self.commit_all(copies, writable, deadline)
    }

    fn expose(&self, exposure: &Exposure) -> Result<PathBuf, BackendError> {
        if !exposure.inner.as_os_str().is_empty() {
            return Err(unsupported(&exposure.inner, "is no path below a clone"));
        }
        let (_, area, volume) = self.area_of(&exposure.copy)?;
        let id = exposure.copy.copy;
        let copy = area.whole(id, volume)?;
        let (point, _) = self.mount_copy(id, &copy)?;
        let folder = self.mounts_folder()?;
        let (base, created) = (&exposure.base, exposure.created);
        lock(&self.links).link(&folder, base, id, &exposure.inner, created)?;
        Ok(point)
    }

    fn seal(&self, copy: &CopyRef) -> Result<(), BackendError> {
        let (file_system, area, volume) = self.area_of(copy)?;
        let whole = area.whole(copy.copy, volume)?;
        self.seal_copy(copy.copy, &whole, &file_system)
    }

    fn verify_sealed(&self, copy: &CopyRef, via: &Path) -> Result<(), BackendError> {
        let (_, area, volume) = self.area_of(copy)?;
        let tree = area.whole(copy.copy, volume)?.tree()?;
        let directory = open_directory(via).map_err(failed("open", via))?;
        let of = |fd| Identity::of_open(fd).map_err(failed("statx", via));
        if !of(directory.as_fd())?.is_same_directory(of(tree.as_fd())?) {
            return Err(unsupported(via, "does not lead into the copy"));
        }
        attempt::to_write(&directory, copy.copy, via)
    }

    fn delete(&self, copy: &CopyRef) -> Result<(), BackendError> {
        let volume = VolumeKey::parse(&copy.volume)?;
        self.forget(std::iter::once(copy.copy));
        if let Some((_, area)) = self.area(volume)? {
            // Nothing is touched if what has the copy's name is not the copy.
            for form in area::Form::ALL {
                area.find(copy.copy, form, volume)?;
            }
        }
        lock(&self.links).unlink(&self.mounts_folder()?, copy.copy)?;
        self.unmount_copy(copy.copy)?;
        self.discard_copy(copy.copy, volume)?;
        self.leftovers.forget(copy.copy);
        Ok(())
    }

    fn enumerate(&self) -> Result<Vec<CopyRef>, BackendError> {
        let found = enumerate::copies(self, &*mount_table()?)?;
        Ok(found
            .into_iter()
            .map(|(copy, volume)| self.copy_ref(copy, volume))
            .collect())
    }

    fn finish(&self, limit: Duration) -> bool {
        self.reaper.settle_within(limit)
    }

    fn previous_versions(&self, _: &Path, share: &ShareName) -> Option<PathBuf> {
        Some(previous::folder(&self.mounts_path(), share))
    }
}
