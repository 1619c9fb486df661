//! Prepare: everything of a copy but its data.

use super::TreeClone;
use super::area::{Area, Copy, Form};
use super::build::{Builder, How, Setting, Sums};
use super::capability;
use super::config::{Data, Rules};
use super::file_system::{FileSystem, Kind};
use super::filter::Filter;
use super::metadata::Metadata;
use super::place::Place;
use super::tree::{BENEATH, Tree};
use super::volume::VolumeKey;
use crate::backend::{BackendError, Deadline};
use crate::error::{failed, failed_io, unsupported};
use crate::location::{Identity, mount_table};
use crate::lock;
use fsrvp_idl::{ShadowCopyId, ShareName};
use fsrvp_proto::job::{CopySource, SourceShare};
use fsrvp_sys::crash;
use fsrvp_sys::mountinfo::{MountTable, MountWatch};
use rustix::fs::{Mode, OFlags, fstat, openat2};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

/// A copy that wants only its data, and what has changed since.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) id: ShadowCopyId,
    pub(super) volume: VolumeKey,
    pub(super) file_system: Arc<FileSystem>,
    pub(super) area: Area,
    pub(super) copy: Copy,
    /// The share's directory, on our mount.
    pub(super) source: OwnedFd,
    /// The root of the copied tree.
    pub(super) target: OwnedFd,
    pub(super) shares: Vec<(SourceShare, Identity)>,
    pub(super) mounts: MountWatch,
    pub(super) setting: Setting,
    pub(super) tree: Tree,
    pub(super) sums: Sums,
}

impl TreeClone {
    /// Checks a share's directory as a whole; changes nothing.
    pub(super) fn check(
        &self,
        path: &Path,
        share: Option<&ShareName>,
    ) -> Result<VolumeKey, BackendError> {
        let mounts = mount_table()?;
        let place = Place::find(path, &mounts)?;
        self.check_place(&place, &mounts)?;
        let rules = share.map_or(self.config.rules, |share| self.rules(share));
        let wanted = share.and_then(|share| self.config.targets.wanted(share, None));
        let filter = filter(path, wanted)?;
        // Looking needs no mount of ours. What is skipped is met only in a file system's root.
        let root = place.location.directory.as_fd();
        let is_root = place.below_root.as_os_str().is_empty();
        let skip = is_root.then(|| {
            let outer = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::statat(root, super::area::OUTER, outer)
        });
        let setting = Setting {
            share: path.to_owned(),
            rules,
            device: fstat(root).map_err(failed("fstat", path))?.st_dev,
            skip: skip.and_then(|stat| Some(stat.ok()?.st_ino)),
            is_btrfs: false,
            data: self.config.data,
            now: self.config.now,
        };
        let mut builder = Builder {
            setting: &setting,
            deadline: &Deadline::default(),
            base: PathBuf::new(),
            copy: None,
            metadata: &mut Metadata::new(),
            links: &mut super::build::Links::new(),
            sums: Sums::default(),
            tree: Tree::default(),
        };
        builder.walk(root, None, (0, Arc::new(filter)), How::Check)?;
        let sums = builder.sums;
        self.check_size(path, sums)?;
        Ok(place.volume)
    }

    fn rules(&self, share: &ShareName) -> Rules {
        let of_share = self.config.share_rules.get(share);
        of_share.copied().unwrap_or(self.config.rules)
    }

    fn check_place(&self, place: &Place, mounts: &MountTable) -> Result<(), BackendError> {
        let location = &place.location;
        location.refuse_mounts_below(mounts, &self.config.run_dir)?;
        let id = place.volume.file_system;
        if self.config.data != Data::Shared || lock(&self.capable).contains(&id) {
            return Ok(());
        }
        let fs_type = &location.mount.fs_type;
        capability::try_to_clone(location.directory.as_fd(), &location.path, fs_type)?;
        lock(&self.capable).insert(id);
        Ok(())
    }

    /// Every share stands on `volume`, where it stood, with nothing mounted below it.
    pub(super) fn check_shares(
        &self,
        source: &CopySource,
        volume: VolumeKey,
    ) -> Result<Vec<(SourceShare, Identity)>, BackendError> {
        let mounts = mount_table()?;
        let check = |share: &SourceShare| {
            let place = Place::find(&share.path, &mounts)?;
            if place.volume != volume || !share.inner.as_os_str().is_empty() {
                return Err(moved(share));
            }
            self.check_place(&place, &mounts)?;
            Ok((share.clone(), place.location.identity))
        };
        source.shares.iter().map(check).collect()
    }

    pub(super) fn prepare_all(
        &self,
        copies: &[CopySource],
        deadline: &Deadline,
    ) -> Result<(), BackendError> {
        let mut flushed = Vec::<Uuid>::new();
        let mut all = Sums::default();
        let mut plans = Vec::new();
        for source in copies {
            deadline.check()?;
            // Before the skeleton, which Commit would take away together with what was left.
            self.leftovers.retry(source, |source| self.undo(source))?;
            if self.is_complete(source)? {
                continue;
            }
            let volume = VolumeKey::parse(&source.volume)?;
            if !flushed.contains(&volume.file_system) {
                // What is dirty has no extents yet that could be counted.
                self.file_system_of(source)?.flush()?;
                flushed.push(volume.file_system);
            }
            let plan = self.plan(source, deadline)?;
            all = all.plus(plan.sums);
            plans.push(plan);
        }
        for (index, plan) in plans.iter().enumerate() {
            let share = &plan.setting.share;
            self.check_time(share, all)?;
            let same = plans
                .iter()
                .filter(|other| other.file_system.id == plan.file_system.id);
            let sums = same.fold(Sums::default(), |sums, plan| sums.plus(plan.sums));
            let is_first = plans
                .iter()
                .position(|other| other.file_system.id == plan.file_system.id)
                == Some(index);
            if is_first {
                self.check_space(&plan.file_system, share, sums)?;
                // The skeletons, so that Commit need not write them.
                plan.file_system.commit(plan.area.as_fd())?;
            }
        }
        deadline.check()?;
        crash::point("clone.prepare.after_all");
        let mut prepared = lock(&self.prepared);
        prepared.extend(plans.into_iter().map(|plan| (plan.id, plan)));
        Ok(())
    }

    /// Removes what a failed Prepare has made.
    pub(super) fn abandon(&self, copies: &[CopySource]) {
        self.forget(copies.iter().map(|source| source.copy));
        for source in copies {
            let removed = VolumeKey::parse(&source.volume).and_then(|volume| {
                if let Some((_, area)) = self.area(volume)?
                    && area.discard(source.copy, &[Form::Part], volume)?
                {
                    self.reaper.empty(&area.trash);
                }
                Ok(())
            });
            if let Err(error) = removed {
                tracing::warn!(
                    copy = %source.copy,
                    error = &error as &dyn std::error::Error,
                    "a skeleton is left until the copy is deleted"
                );
            }
        }
    }

    /// The file system of a copy's first share.
    fn file_system_of(&self, source: &CopySource) -> Result<Arc<FileSystem>, BackendError> {
        let share = first(source)?;
        let place = Place::find(&share.path, &*mount_table()?)?;
        self.file_system(place.volume.file_system, Some(&place.location.mount))
    }

    /// Builds the skeleton of a copy, in place of an earlier one.
    pub(super) fn plan(
        &self,
        source: &CopySource,
        deadline: &Deadline,
    ) -> Result<Plan, BackendError> {
        let volume = VolumeKey::parse(&source.volume)?;
        let share = first(source)?;
        let place = Place::find(&share.path, &*mount_table()?)?;
        // Our own mount would count as a change for the watch, so it comes first.
        let file_system =
            self.file_system(place.volume.file_system, Some(&place.location.mount))?;
        let area = Area::make(&file_system, &self.folder, &self.config.run_dir)?;
        let mounts =
            MountWatch::start().map_err(failed_io("open", Path::new("/proc/self/mountinfo")))?;
        let shares = self.check_shares(source, volume)?;
        let root = open_source(&file_system, &place)?;
        let (rules, filter) = self.wanted(source)?;
        let setting = Setting {
            share: share.path.clone(),
            rules,
            device: fstat(&root).map_err(failed("fstat", &share.path))?.st_dev,
            skip: place
                .below_root
                .as_os_str()
                .is_empty()
                .then(|| file_system.outer())
                .flatten(),
            is_btrfs: file_system.kind == Kind::Btrfs,
            data: self.config.data,
            now: self.config.now,
        };
        lock(&self.prepared).remove(&source.copy);
        if area.discard(source.copy, &[Form::Part], volume)? {
            self.reaper.empty(&area.trash);
        }
        let begun = lock(&self.beginning);
        let copy = area.begin(source.copy, volume)?;
        drop(begun);
        let built = copy.tree().and_then(|target| {
            let mut metadata = Metadata::new();
            let mut links = super::build::Links::new();
            let mut builder = Builder {
                setting: &setting,
                deadline,
                base: PathBuf::new(),
                copy: Some(target.as_fd()),
                metadata: &mut metadata,
                links: &mut links,
                sums: Sums::default(),
                tree: Tree::default(),
            };
            let from = (0, Arc::new(filter));
            builder.walk(root.as_fd(), Some(target.as_fd()), from, How::Skeleton)?;
            let (tree, sums) = (builder.tree, builder.sums);
            self.check_size(&share.path, sums)?;
            Ok((target, tree, sums))
        });
        let (target, tree, sums) = match built {
            Ok(built) => built,
            Err(error) => {
                if area.discard(source.copy, &[Form::Part], volume)? {
                    self.reaper.empty(&area.trash);
                }
                return Err(error);
            }
        };
        tracing::debug!(
            copy = %source.copy,
            files = sums.files,
            directories = sums.directories,
            extents = sums.extents,
            bytes = sums.bytes,
            "made the skeleton"
        );
        Ok(Plan {
            id: source.copy,
            volume,
            file_system,
            area,
            copy,
            source: root,
            target,
            shares,
            mounts,
            setting,
            tree,
            sums,
        })
    }

    /// What all shares of a copy allow, and what any of them wants.
    fn wanted(&self, source: &CopySource) -> Result<(Rules, Filter), BackendError> {
        let mut rules: Option<Rules> = None;
        let mut paths = Some(Vec::new());
        for share in &source.shares {
            let own = self.rules(&share.share);
            rules = Some(rules.map_or(own, |rules| rules.and(own)));
            let wanted = self.config.targets.wanted(&share.share, Some(source.copy));
            paths = match (paths, wanted) {
                (Some(mut paths), Some(wanted)) => {
                    paths.extend(wanted);
                    Some(paths)
                }
                _ => None,
            };
        }
        let place = source.shares.first().map(|share| share.path.as_path());
        let filter = filter(place.unwrap_or(Path::new("")), paths)?;
        Ok((rules.unwrap_or(self.config.rules), filter))
    }
}

fn filter(share: &Path, paths: Option<Vec<PathBuf>>) -> Result<Filter, BackendError> {
    match paths {
        None => Ok(Filter::All),
        Some(paths) => Filter::of(&paths).map_err(|path| {
            unsupported(
                &share.join(path),
                "is named by the share's file list and is no path below the share",
            )
        }),
    }
}

fn first(source: &CopySource) -> Result<&SourceShare, BackendError> {
    source
        .shares
        .first()
        .ok_or_else(|| unsupported(Path::new(&source.volume.0), "is to be copied for no share"))
}

/// Opens a place's directory on our mount: only below one and the same mount can files be cloned
/// everywhere, and nothing that is mounted below the share is in the way there.
fn open_source(file_system: &FileSystem, place: &Place) -> Result<OwnedFd, BackendError> {
    let path = &place.below_root;
    let below_root = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let shown = file_system.point.join(path);
    let root = openat2(&file_system.top, below_root, flags, Mode::empty(), BENEATH)
        .map_err(failed("open", &shown))?;
    let found = Identity::of_open(root.as_fd()).map_err(failed("statx", &shown))?;
    if found.is_same_directory(place.location.identity) {
        return Ok(root);
    }
    Err(unsupported(
        &place.location.path,
        "is renamed at this moment, or there are two file systems with the id of its own",
    ))
}

pub(super) fn moved(share: &SourceShare) -> BackendError {
    unsupported(
        &share.path,
        "leads elsewhere than when the share was added to the set",
    )
}
