//! A backend without a disk, for tests: a shared world of volumes and copies, with faults.

mod faults;
mod kept;

pub use faults::{Gate, Injection, Step};

use crate::backend::{BackendError, Deadline, Kept, Probe, ProviderFacts, SnapshotBackend, Usage};
use crate::names;
use faults::Faults;
use fsrvp_idl::{ShadowCopyId, ShareName};
use fsrvp_proto::job::{BackendName, CopyRef, CopySource, Exposure, KeepSource, VolumeId};
use kept::KeptSnapshot;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use uuid::{Uuid, uuid};

/// Where copies show.
const COPIES: &str = "/memory/copies";
/// Where previous versions show.
const PREVIOUS: &str = "/memory/previous";

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// A snapshot backend in memory. Clones share one world; [`Memory::restarted`] is a new backend
/// over the same world, as a new process over the same disk.
#[derive(Debug, Clone)]
pub struct Memory {
    name: BackendName,
    world: Arc<Mutex<World>>,
    faults: Arc<Faults>,
    /// Copies of a failed commit that were not undone: never to be taken for a later commit's.
    leftovers: Arc<Mutex<BTreeSet<ShadowCopyId>>>,
}

/// What is durable.
#[derive(Debug, Default)]
struct World {
    volumes: BTreeMap<PathBuf, Volume>,
    copies: BTreeMap<ShadowCopyId, Snapshot>,
    links: BTreeMap<(String, String), (ShadowCopyId, PathBuf)>,
    kept: BTreeMap<(String, String), KeptSnapshot>,
}

#[derive(Debug, Default)]
struct Volume {
    files: Files,
    obstacles: BTreeMap<PathBuf, String>,
    full: bool,
}

#[derive(Debug, Clone)]
struct Snapshot {
    volume: VolumeId,
    files: Files,
    form: Form,
}

/// What a copy in the world is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Left half-made by a crash.
    Partial,
    /// Complete and writable.
    Writable,
    /// Complete and read-only.
    ReadOnly,
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory {
    /// A backend "memory" with a world of its own.
    #[must_use]
    pub fn new() -> Self {
        Self::named("memory")
    }

    /// The same under another name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self {
            name: BackendName(name.to_owned()),
            world: Arc::default(),
            faults: Arc::default(),
            leftovers: Arc::default(),
        }
    }

    /// The backend after a restart of the process: the same world, no faults.
    #[must_use]
    pub fn restarted(&self) -> Self {
        Self {
            name: self.name.clone(),
            world: Arc::clone(&self.world),
            faults: Arc::default(),
            leftovers: Arc::default(),
        }
    }

    /// A volume whose root shows at `root`. Directories need not be made.
    pub fn add_volume(&self, root: impl Into<PathBuf>) {
        self.world().volumes.entry(root.into()).or_default();
    }

    /// Takes a volume away, as an unmount does; its copies stay.
    pub fn remove_volume(&self, root: &Path) {
        self.world().volumes.remove(root);
    }

    /// Something at `path` that no snapshot would hold, such as a mount.
    pub fn add_obstacle(&self, path: &Path, reason: &str) {
        if let Some((volume, inner)) = self.world().volume_mut(path) {
            volume.obstacles.insert(inner, reason.to_owned());
        }
    }

    /// The volume of `path` has no space for snapshots from now on, or has again.
    pub fn set_full(&self, path: &Path, full: bool) {
        if let Some((volume, _)) = self.world().volume_mut(path) {
            volume.full = full;
        }
    }

    /// Writes a file of a volume or, by the path that `expose` gave, of a copy.
    ///
    /// # Errors
    /// `NotFound` if nothing is there, `ReadOnlyFilesystem` in a read-only copy.
    pub fn write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        let mut world = self.world();
        let (files, inner) = world.files_mut(path)?;
        files.insert(inner, data.to_vec());
        Ok(())
    }

    /// Reads a file of a volume or of a copy.
    #[must_use]
    pub fn read(&self, path: &Path) -> Option<Vec<u8>> {
        let mut world = self.world();
        if let Some((kept, inner)) = world.kept_at(path) {
            return kept.files.get(&inner).cloned();
        }
        if let Some((copy, inner)) = copy_of_path(path) {
            return world.copies.get(&copy)?.files.get(&inner).cloned();
        }
        let (volume, inner) = world.volume_mut(path)?;
        volume.files.get(&inner).cloned()
    }

    /// The copies of the world.
    #[must_use]
    pub fn copies(&self) -> BTreeMap<ShadowCopyId, Form> {
        let world = self.world();
        world
            .copies
            .iter()
            .map(|(id, copy)| (*id, copy.form))
            .collect()
    }

    /// The previous versions of a share: label and copy.
    #[must_use]
    pub fn links(&self, share: &ShareName) -> BTreeMap<String, ShadowCopyId> {
        let folder = names::share_folder(share);
        let world = self.world();
        let links = world.links.iter().filter(|((of, _), _)| *of == folder);
        links
            .map(|((_, label), (copy, _))| (label.clone(), *copy))
            .collect()
    }

    /// Leaves a half-made copy behind, as a crash does.
    pub fn leave_partial(&self, copy: &CopyRef) {
        let left = Snapshot {
            volume: copy.volume.clone(),
            files: Files::new(),
            form: Form::Partial,
        };
        self.world().copies.insert(copy.copy, left);
    }

    /// Adds a fault.
    pub fn inject(&self, injection: Injection) {
        self.faults.inject(injection);
    }

    /// Forgets all faults; a step that hangs goes on hanging.
    pub fn clear_faults(&self) {
        self.faults.clear();
    }

    /// Every step passed so far, with the copy that it was about.
    #[must_use]
    pub fn passed(&self) -> Vec<(Step, Option<ShadowCopyId>)> {
        self.faults.passed()
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leftovers(&self) -> MutexGuard<'_, BTreeSet<ShadowCopyId>> {
        self.leftovers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The checks of `prepare` and `commit`: every share still is where it was.
    fn check(&self, source: &CopySource) -> Result<(), BackendError> {
        for share in &source.shares {
            let probe = self.world().probe(&share.path)?;
            if probe.volume != source.volume || probe.inner != share.inner {
                return Err(BackendError::Unsupported {
                    path: share.path.clone(),
                    reason: format!("stands on {} now, not on {}", probe.volume, source.volume),
                });
            }
        }
        Ok(())
    }

    fn cut(&self, source: &CopySource, form: Form) -> Result<(), BackendError> {
        self.check(source)?;
        let left = self.leftovers().remove(&source.copy);
        let mut world = self.world();
        if left {
            world.copies.remove(&source.copy);
        }
        match world.copies.get(&source.copy) {
            Some(copy) if copy.volume != source.volume => {
                return Err(BackendError::Conflict(copy_path(source.copy)));
            }
            Some(copy) if copy.form != Form::Partial => return Ok(()),
            _ => {}
        }
        let (root, volume) = world
            .volumes
            .iter()
            .find(|(root, _)| volume_id(root) == source.volume)
            .ok_or_else(|| BackendError::NotFound(PathBuf::from(&source.volume.0)))?;
        if volume.full {
            return Err(BackendError::NoSpace(root.display().to_string()));
        }
        let copy = Snapshot {
            volume: source.volume.clone(),
            files: volume.files.clone(),
            form,
        };
        world.copies.insert(source.copy, copy);
        Ok(())
    }

    fn cut_all(
        &self,
        copies: &[CopySource],
        form: Form,
        deadline: &Deadline,
    ) -> Result<(), BackendError> {
        for source in copies {
            deadline.check()?;
            self.faults.pass(Step::Commit, Some(source.copy))?;
            self.cut(source, form)?;
        }
        self.faults.pass(Step::Committed, None)?;
        deadline.check()
    }

    fn undo(&self, source: &CopySource) {
        if self.faults.pass(Step::Undo, Some(source.copy)).is_err() {
            self.leftovers().insert(source.copy);
            return;
        }
        self.leftovers().remove(&source.copy);
        let mut world = self.world();
        if world
            .copies
            .get(&source.copy)
            .is_some_and(|copy| copy.volume == source.volume)
        {
            world.copies.remove(&source.copy);
        }
    }
}

impl SnapshotBackend for Memory {
    fn name(&self) -> BackendName {
        self.name.clone()
    }

    fn facts(&self) -> ProviderFacts {
        const ID: Uuid = uuid!("1c1f5c0e-6f2b-4c53-9b0a-6d656d6f7279");
        ProviderFacts {
            name: "Memory (tests)".into(),
            kind: "Software",
            id: ID,
            version: env!("CARGO_PKG_VERSION").into(),
        }
    }

    fn probe(&self, directory: &Path) -> Result<Probe, BackendError> {
        self.faults.pass(Step::Probe, None)?;
        self.world().probe(directory)
    }

    fn prepare(&self, copies: &[CopySource], deadline: &Deadline) -> Result<(), BackendError> {
        for source in copies {
            deadline.check()?;
            self.faults.pass(Step::Prepare, Some(source.copy))?;
            self.check(source)?;
        }
        deadline.check()
    }

    fn commit(
        &self,
        copies: &[CopySource],
        writable: bool,
        deadline: &Deadline,
    ) -> Result<(), BackendError> {
        let form = if writable {
            Form::Writable
        } else {
            Form::ReadOnly
        };
        let done = self.cut_all(copies, form, deadline);
        for source in copies {
            if done.is_err() {
                self.undo(source);
            }
        }
        done
    }

    fn expose(&self, exposure: &Exposure) -> Result<PathBuf, BackendError> {
        let id = exposure.copy.copy;
        self.faults.pass(Step::Expose, Some(id))?;
        let mut world = self.world();
        world.complete_copy(&exposure.copy)?;
        let folder = names::share_folder(&exposure.base);
        let target = (id, exposure.inner.clone());
        let shown = world
            .links
            .iter()
            .any(|((of, _), shown)| *of == folder && *shown == target);
        if !shown {
            let free = names::gmt_labels(exposure.created)
                .map(|label| (folder.clone(), label))
                .find(|key| !world.links.contains_key(key));
            world.links.extend(free.map(|key| (key, target)));
        }
        Ok(copy_path(id).join(&exposure.inner))
    }

    fn seal(&self, copy: &CopyRef) -> Result<(), BackendError> {
        self.faults.pass(Step::Seal, Some(copy.copy))?;
        self.world().complete_copy(copy)?.form = Form::ReadOnly;
        Ok(())
    }

    fn verify_sealed(&self, copy: &CopyRef, via: &Path) -> Result<(), BackendError> {
        self.faults.pass(Step::Verify, Some(copy.copy))?;
        match self.world().complete_copy(copy)?.form {
            Form::ReadOnly => Ok(()),
            Form::Partial | Form::Writable => Err(BackendError::NotSealed(via.to_owned())),
        }
    }

    fn delete(&self, copy: &CopyRef) -> Result<(), BackendError> {
        self.faults.pass(Step::Delete, Some(copy.copy))?;
        self.leftovers().remove(&copy.copy);
        let mut world = self.world();
        let found = world.copies.get(&copy.copy);
        if found.is_some_and(|found| found.volume != copy.volume) {
            return Err(BackendError::Conflict(copy_path(copy.copy)));
        }
        world.links.retain(|_, (target, _)| *target != copy.copy);
        world.copies.remove(&copy.copy);
        Ok(())
    }

    fn enumerate(&self) -> Result<Vec<CopyRef>, BackendError> {
        self.faults.pass(Step::Enumerate, None)?;
        let world = self.world();
        let copies = world.copies.iter().map(|(id, copy)| CopyRef {
            copy: *id,
            backend: self.name.clone(),
            volume: copy.volume.clone(),
        });
        Ok(copies.collect())
    }

    fn keep(&self, source: &KeepSource, name: &str) -> Result<(), BackendError> {
        self.faults.pass(Step::Keep, Some(source.copy.copy))?;
        self.world().keep(source, name)
    }

    fn list_kept(&self) -> Result<Vec<Kept>, BackendError> {
        Ok(self.world().list_kept(&self.name))
    }

    fn delete_kept(&self, kept: &Kept) -> Result<(), BackendError> {
        self.faults.pass(Step::DeleteKept, Some(kept.copy))?;
        self.world().delete_kept(kept);
        Ok(())
    }

    fn usage(&self, path: &Path) -> Result<Option<Usage>, BackendError> {
        self.world().usage(path).map(Some)
    }

    fn previous_versions(&self, _directory: &Path, share: &ShareName) -> Option<PathBuf> {
        Some(Path::new(PREVIOUS).join(names::share_folder(share)))
    }
}

impl World {
    fn probe(&mut self, directory: &Path) -> Result<Probe, BackendError> {
        let root = self
            .root_of(directory)
            .ok_or_else(|| BackendError::Unsupported {
                path: directory.to_owned(),
                reason: "is on no memory volume".into(),
            })?;
        let inner = directory.strip_prefix(&root).unwrap_or(Path::new(""));
        let obstacles = self.volumes.get(&root).map(|volume| &volume.obstacles);
        let below = obstacles
            .into_iter()
            .flatten()
            .find(|(path, _)| path.starts_with(inner));
        match below {
            Some((path, reason)) => Err(BackendError::Unsupported {
                path: root.join(path),
                reason: reason.clone(),
            }),
            None => Ok(Probe {
                volume: volume_id(&root),
                inner: inner.to_owned(),
                compatibility: 0,
            }),
        }
    }

    fn root_of(&self, path: &Path) -> Option<PathBuf> {
        let roots = self.volumes.keys().filter(|root| path.starts_with(root));
        roots.max_by_key(|root| root.components().count()).cloned()
    }

    fn volume_mut(&mut self, path: &Path) -> Option<(&mut Volume, PathBuf)> {
        let root = self.root_of(path)?;
        let inner = path.strip_prefix(&root).ok()?.to_owned();
        Some((self.volumes.get_mut(&root)?, inner))
    }

    fn files_mut(&mut self, path: &Path) -> io::Result<(&mut Files, PathBuf)> {
        if let Some((id, inner)) = copy_of_path(path) {
            let copy = self.copies.get_mut(&id).ok_or(io::ErrorKind::NotFound)?;
            return match copy.form {
                Form::Writable => Ok((&mut copy.files, inner)),
                Form::Partial => Err(io::ErrorKind::NotFound.into()),
                Form::ReadOnly => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
            };
        }
        let (volume, inner) = self.volume_mut(path).ok_or(io::ErrorKind::NotFound)?;
        Ok((&mut volume.files, inner))
    }

    fn complete_copy(&mut self, copy: &CopyRef) -> Result<&mut Snapshot, BackendError> {
        let path = copy_path(copy.copy);
        match self.copies.get_mut(&copy.copy) {
            Some(found) if found.volume != copy.volume => Err(BackendError::Conflict(path)),
            Some(found) if found.form != Form::Partial => Ok(found),
            _ => Err(BackendError::NotFound(path)),
        }
    }
}

fn volume_id(root: &Path) -> VolumeId {
    VolumeId(format!("memory:{}", root.display()))
}

fn copy_path(copy: ShadowCopyId) -> PathBuf {
    Path::new(COPIES).join(copy.to_string())
}

/// The copy and the path in it of a path that `expose` gave.
fn copy_of_path(path: &Path) -> Option<(ShadowCopyId, PathBuf)> {
    let mut components = path.strip_prefix(COPIES).ok()?.components();
    let id = components.next()?.as_os_str().to_str()?.parse().ok()?;
    Some((ShadowCopyId(id), components.as_path().to_owned()))
}
