//! Snapshots of btrfs subvolumes.
//!
//! A copy is the subvolume `.fsrvpd/<server>/<ShadowCopyId>` in the top level of the source's file
//! system, reached by a mount of the top level at `<run_dir>/<file system id>`, which the SMB
//! server uses too. Forms of a copy:
//!
//! | name | read-only | what it is |
//! |---|---|---|
//! | `<id>` | no | a copy that waits for its seal |
//! | `<id>` | yes | a sealed copy, or one of a read-only context |
//! | `<id>.s` beside a writable `<id>` | yes | a seal that has not changed places yet: made again |
//! | `<id>.s` beside a read-only `<id>` | no | a seal that has changed places: destroyed |
//!
//! The volume of an unsealed copy is told by its parent uuid. The parent of a sealed copy is the
//! writable form that the seal discarded; so [`seal`](SnapshotBackend::seal) first writes the
//! source's uuid into the extended attribute `trusted.fsrvpd.source` of the copy's root.

mod area;
mod commit;
mod copy;
mod enumerate;
mod file_system;
mod keep;
mod nested;
mod place;
mod reach;
mod usage;
mod verify;
mod volume;

use crate::backend::{BackendError, Deadline, Kept, Probe, ProviderFacts, SnapshotBackend, Usage};
use crate::leftovers::Leftovers;
use crate::location::mount_table;
use crate::lock;
use crate::names;
use crate::previous;
use area::Area;
use commit::Plan;
use file_system::FileSystem;
use fsrvp_idl::{ShadowCopyId, ShareName};
use fsrvp_proto::job::{BackendName, CopyRef, CopySource, Exposure, KeepSource};
use place::Place;
use std::collections::{HashMap, HashSet};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex};
use uuid::{Uuid, uuid};
use volume::VolumeKey;

/// Every point in the life of a copy at which [`fsrvp_sys::crash`] can end the process.
pub const CRASH_POINTS: &[&str] = &[
    "btrfs.mount.before_attach",
    "btrfs.mount.after_attach",
    "btrfs.area.after_mkdir",
    "btrfs.commit.before_cut",
    "btrfs.commit.after_one",
    "btrfs.commit.after_all",
    "btrfs.seal.after_mark",
    "btrfs.seal.after_snapshot",
    "btrfs.seal.after_exchange",
    "btrfs.seal.after_destroy",
    "btrfs.delete.after_one",
    "btrfs.delete.after_all",
];

/// Those on the way to a kept snapshot, which is off unless it is configured.
pub const KEEP_CRASH_POINTS: &[&str] = &[
    "btrfs.keep.after_snapshot",
    "btrfs.keep.after_mark",
    "btrfs.keep.after_rename",
];

/// What the btrfs backend needs to know.
#[derive(Debug, Clone)]
pub struct BtrfsConfig {
    /// Name of the virtual file server: its copies lie in an area of their own.
    pub server: String,
    /// Where file systems are mounted for smbd, on a mount that smbd sees; made with mode 0711 if
    /// missing. Users must be able to pass through its parents. It also tells our areas from those
    /// of another fsrvpd with the same server name.
    pub run_dir: PathBuf,
    /// Directories of shares: all copies on their file systems are this server's, and `enumerate`
    /// fails if it cannot look into one of them.
    pub known: Vec<PathBuf>,
}

/// The btrfs backend. Needs CAP_SYS_ADMIN and Linux 5.8.
#[derive(Debug)]
pub struct Btrfs {
    config: BtrfsConfig,
    /// The server's folder in every area.
    folder: String,
    file_systems: Mutex<HashMap<Uuid, Arc<FileSystem>>>,
    /// Held while a file system is mounted, so that none is mounted twice.
    mounting: Mutex<()>,
    prepared: Mutex<HashMap<ShadowCopyId, Plan>>,
    /// Held while a snapshot is kept: the unfinished one has one name.
    keeping: Mutex<()>,
    /// Copies of a failed commit that could not be undone: never to be taken for a later commit's.
    leftovers: Leftovers,
}

impl Btrfs {
    /// A backend; nothing is mounted or made yet.
    #[must_use]
    pub fn new(config: BtrfsConfig) -> Self {
        Self {
            folder: names::component(&config.server),
            config,
            file_systems: Mutex::default(),
            mounting: Mutex::default(),
            prepared: Mutex::default(),
            keeping: Mutex::default(),
            leftovers: Leftovers::default(),
        }
    }

    fn copy_ref(&self, copy: ShadowCopyId, volume: VolumeKey) -> CopyRef {
        CopyRef {
            copy,
            backend: self.name(),
            volume: volume.into(),
        }
    }

    /// The server's area on a file system, if there is one.
    fn area(&self, volume: VolumeKey) -> Result<Option<(Arc<FileSystem>, Area)>, BackendError> {
        let file_system = self.file_system(volume.file_system, None)?;
        let area = area::open(&file_system, &self.folder)?;
        Ok(area.map(|area| (file_system, area)))
    }

    /// The area of a copy, which must exist.
    fn area_of(&self, copy: &CopyRef) -> Result<(Arc<FileSystem>, Area, VolumeKey), BackendError> {
        let volume = VolumeKey::parse(&copy.volume)?;
        match self.area(volume)? {
            Some((file_system, area)) => Ok((file_system, area, volume)),
            None => Err(BackendError::NotFound(PathBuf::from(copy.copy.to_string()))),
        }
    }
}

impl SnapshotBackend for Btrfs {
    fn name(&self) -> BackendName {
        BackendName("btrfs".into())
    }

    fn facts(&self) -> ProviderFacts {
        const ID: Uuid = uuid!("5b0c5b34-7d39-4a0e-8d0b-62747266735f");
        ProviderFacts {
            name: "btrfs snapshots".into(),
            kind: "Software",
            id: ID,
            version: env!("CARGO_PKG_VERSION").into(),
        }
    }

    fn probe(&self, directory: &Path) -> Result<Probe, BackendError> {
        let mounts = mount_table()?;
        let place = Place::find(directory, &mounts)?;
        nested::check(&place, &mounts, &self.config.run_dir)?;
        Ok(Probe {
            volume: place.volume.into(),
            inner: place.inner,
            compatibility: 0,
        })
    }

    fn prepare(&self, copies: &[CopySource], deadline: &Deadline) -> Result<(), BackendError> {
        let mut flushed = HashSet::new();
        for source in copies {
            deadline.check()?;
            let plan = self.plan(source)?;
            let file_system = Arc::clone(&plan.file_system);
            lock(&self.prepared).insert(source.copy, plan);
            // The flush also makes a new area durable, and gives back what was deleted.
            if flushed.insert(file_system.id) {
                let first = source.shares.first();
                let share = first.map_or(file_system.point.as_path(), |share| &share.path);
                file_system.flush(share)?;
                file_system.check_space(share)?;
            }
        }
        deadline.check()
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
        let (file_system, area, volume) = self.area_of(&exposure.copy)?;
        let inner = plain_relative(&exposure.inner)?;
        let id = exposure.copy.copy;
        let name = id.to_string();
        let path = area.path.join(&name);
        let root = copy::open(&area, &name, volume)?.ok_or(BackendError::NotFound(path.clone()))?;
        let path = path.join(inner);
        copy::open_inner(&root, inner, &path)?;
        file_system.warn_if_closed();
        let created = exposure.created;
        lock(&file_system.links).link(&area, &exposure.base, id, inner, created)?;
        Ok(path)
    }

    fn seal(&self, copy: &CopyRef) -> Result<(), BackendError> {
        let (_, area, volume) = self.area_of(copy)?;
        copy::seal(&area, copy.copy, volume)
    }

    fn verify_sealed(&self, copy: &CopyRef, via: &Path) -> Result<(), BackendError> {
        let (_, area, volume) = self.area_of(copy)?;
        let name = copy.copy.to_string();
        let root = copy::open(&area, &name, volume)?
            .ok_or_else(|| BackendError::NotFound(area.path.join(&name)))?;
        verify::try_to_write(&root, copy.copy, via)
    }

    fn delete(&self, copy: &CopyRef) -> Result<(), BackendError> {
        self.delete_telling(copy, &mut || {})
    }

    fn delete_telling(
        &self,
        copy: &CopyRef,
        out_of_sight: &mut dyn FnMut(),
    ) -> Result<(), BackendError> {
        let volume = VolumeKey::parse(&copy.volume)?;
        lock(&self.prepared).remove(&copy.copy);
        if let Some((file_system, area)) = self.area(volume)? {
            lock(&file_system.links).unlink(&area, copy.copy)?;
            copy::destroy_all(&area, &[copy.copy], volume)?;
            out_of_sight();
            copy::make_durable(&area)?;
        } else {
            out_of_sight();
        }
        self.leftovers.forget(copy.copy);
        Ok(())
    }

    fn enumerate(&self) -> Result<Vec<CopyRef>, BackendError> {
        self.enumerate_beside(&[])
    }

    fn reach(&self, exposures: &[Exposure]) -> Vec<Result<(), BackendError>> {
        self.reach_all(exposures)
    }

    fn enumerate_beside(&self, recorded: &[CopyRef]) -> Result<Vec<CopyRef>, BackendError> {
        let found = enumerate::copies(self, &*mount_table()?, recorded)?;
        Ok(found
            .into_iter()
            .map(|(copy, volume)| self.copy_ref(copy, volume))
            .collect())
    }

    fn keep(&self, source: &KeepSource, name: &str) -> Result<(), BackendError> {
        let _one_at_a_time = lock(&self.keeping);
        self.keep_copy(source, name)
    }

    fn list_kept(&self) -> Result<Vec<Kept>, BackendError> {
        self.all_kept()
    }

    fn delete_kept(&self, kept: &Kept) -> Result<(), BackendError> {
        self.remove_kept(kept)
    }

    fn usage(&self, path: &Path) -> Result<Option<Usage>, BackendError> {
        usage::of(path)
    }

    fn previous_versions(&self, directory: &Path, share: &ShareName) -> Option<PathBuf> {
        let mounts = mount_table().ok()?;
        let place = Place::find(directory, &mounts).ok()?;
        let point = self.mount_point(place.volume.file_system);
        Some(previous::folder(&area::path(&point, &self.folder), share))
    }
}

/// The path if it stays below where it starts: no root, no `..`.
fn plain_relative(path: &Path) -> Result<&Path, BackendError> {
    if path
        .components()
        .all(|part| matches!(part, Component::Normal(_)))
    {
        return Ok(path);
    }
    Err(BackendError::Unsupported {
        path: path.to_owned(),
        reason: "is no path below a volume".into(),
    })
}
