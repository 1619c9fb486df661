//! Prepare and Commit: all that can be done before the cut, and the cut.

use super::area::{self, Area};
use super::file_system::FileSystem;
use super::nested;
use super::place::Place;
use super::volume::VolumeKey;
use super::{Btrfs, copy};
use crate::backend::{BackendError, Deadline};
use crate::error::{failed, failed_io, unsupported};
use crate::location::{Identity, mount_table};
use crate::lock;
use fsrvp_idl::ShadowCopyId;
use fsrvp_proto::job::{CopySource, SourceShare};
use fsrvp_sys::btrfs::{self, ChildRef, FS_TREE_OBJECTID, SnapshotMode};
use fsrvp_sys::crash;
use fsrvp_sys::mountinfo::MountWatch;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use std::collections::{BTreeMap, HashSet};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Snapshots of one file system that are asked for together end in one transaction; more threads
/// than this gain nothing.
const MOST_THREADS: usize = 32;

/// A snapshot that only has to be cut: everything is open.
#[derive(Debug)]
pub(super) struct Plan {
    copy: ShadowCopyId,
    pub(super) file_system: Arc<FileSystem>,
    area: Area,
    /// Root of the subvolume, on our mount.
    source: OwnedFd,
    volume: VolumeKey,
    shares: Vec<(SourceShare, Identity)>,
    /// The nested subvolumes that were looked at and found to be outside the shares, and the
    /// directories whose subvolumes are copies.
    children: Vec<ChildRef>,
    ours: HashSet<u64>,
    mounts: MountWatch,
}

impl Btrfs {
    /// Checks a copy's shares and opens what its cut needs.
    pub(super) fn plan(&self, source: &CopySource) -> Result<Plan, BackendError> {
        let volume = VolumeKey::parse(&source.volume)?;
        // Our own mount would count as a change for the watch, so it comes first.
        let first = source.shares.first().ok_or_else(|| {
            unsupported(Path::new(&source.volume.0), "is to be copied for no share")
        })?;
        let place = Place::find(&first.path, &*mount_table()?)?;
        let file_system =
            self.file_system(place.volume.file_system, Some(&place.location.mount))?;
        let area = area::make(&file_system, &self.folder, &self.config.run_dir)?;
        let root = open_source(&file_system, &place)?;
        let ours = if place.subvolume == FS_TREE_OBJECTID {
            area::inodes(root.as_fd()).map_err(failed("read", &area.path))?
        } else {
            HashSet::new()
        };
        let mounts =
            MountWatch::start().map_err(failed_io("open", Path::new("/proc/self/mountinfo")))?;
        let children = nested::children(root.as_fd(), &ours, &place.location.path)?;
        let shares = self.check_shares(source, volume)?;
        Ok(Plan {
            copy: source.copy,
            file_system,
            area,
            source: root,
            volume,
            shares,
            children,
            ours,
            mounts,
        })
    }

    /// Every share stands on `volume`, where it stood, and nothing is nested below it.
    fn check_shares(
        &self,
        source: &CopySource,
        volume: VolumeKey,
    ) -> Result<Vec<(SourceShare, Identity)>, BackendError> {
        let mounts = mount_table()?;
        let check = |share: &SourceShare| {
            let place = Place::find(&share.path, &mounts)?;
            if place.volume != volume || place.inner != share.inner {
                return Err(moved(share));
            }
            nested::check(&place, &mounts, &self.config.run_dir)?;
            Ok((share.clone(), place.location.identity))
        };
        source.shares.iter().map(check).collect()
    }

    pub(super) fn commit_all(
        &self,
        copies: &[CopySource],
        writable: bool,
        deadline: &Deadline,
    ) -> Result<(), BackendError> {
        let mode = if writable {
            SnapshotMode::Writable
        } else {
            SnapshotMode::ReadOnly
        };
        let done = self.cut_all(copies, mode, deadline);
        if done.is_err() {
            self.leftovers.undo_all(copies, |source| self.undo(source));
        }
        done
    }

    fn cut_all(
        &self,
        copies: &[CopySource],
        mode: SnapshotMode,
        deadline: &Deadline,
    ) -> Result<(), BackendError> {
        deadline.check()?;
        let plans = self.take_plans(copies)?;
        for (plan, source) in plans.iter().zip(copies) {
            self.look_again(plan, source)?;
        }
        crash::point("btrfs.commit.before_cut");
        cut_together(&plans, mode, deadline)?;
        crash::point("btrfs.commit.after_all");
        deadline.check()
    }

    fn take_plans(&self, copies: &[CopySource]) -> Result<Vec<Plan>, BackendError> {
        let mut plans = Vec::with_capacity(copies.len());
        for source in copies {
            let prepared = lock(&self.prepared).remove(&source.copy);
            plans.push(match prepared {
                Some(plan) => plan,
                None => self.plan(source)?,
            });
            self.leftovers.retry(source, |source| self.undo(source))?;
        }
        Ok(plans)
    }

    /// What may have changed since the plan was made, in a few microseconds if nothing did: the
    /// share's path leads elsewhere, something is mounted or nested below it.
    fn look_again(&self, plan: &Plan, source: &CopySource) -> Result<(), BackendError> {
        for (share, identity) in &plan.shares {
            match Identity::at(&share.path) {
                Ok(now) if now == *identity => {}
                Ok(_) => return Err(moved(share)),
                Err(Errno::NOENT) => return Err(BackendError::NotFound(share.path.clone())),
                Err(errno) => return Err(failed("statx", &share.path)(errno)),
            }
        }
        let path = plan.file_system.point.as_path();
        let children = nested::children(plan.source.as_fd(), &plan.ours, path)?;
        if plan.mounts.changed() || children != plan.children {
            self.check_shares(source, plan.volume)?;
        }
        Ok(())
    }

    fn undo(&self, source: &CopySource) -> Result<(), BackendError> {
        let volume = VolumeKey::parse(&source.volume)?;
        if let Some((_, area)) = self.area(volume)? {
            copy::delete(&area, &[source.copy], volume)?;
        }
        Ok(())
    }
}

/// Opens the root of a place's subvolume on our mount: only a subvolume's root can be snapshotted,
/// and the share's own mount may begin below it.
fn open_source(file_system: &FileSystem, place: &Place) -> Result<OwnedFd, BackendError> {
    let path = place
        .subvolume_path()
        .ok_or_else(|| unsupported(&place.location.path, "is renamed at this moment"))?;
    let below_top = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path.as_path()
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let root = openat2(&file_system.top, below_top, flags, Mode::empty(), resolve)
        .map_err(failed("open", &file_system.point.join(&path)))?;
    let info = btrfs::subvolume_info(root.as_fd())
        .map_err(failed("GET_SUBVOL_INFO", &file_system.point.join(&path)))?;
    if info.id != place.subvolume || btrfs::is_subvolume_root(root.as_fd()) != Ok(true) {
        return Err(unsupported(
            &place.location.path,
            "is renamed at this moment",
        ));
    }
    Ok(root)
}

fn moved(share: &SourceShare) -> BackendError {
    unsupported(
        &share.path,
        "leads elsewhere than when the share was added to the set",
    )
}

/// Makes all snapshots, those of one file system at the same time. The first error stops what has
/// not begun.
fn cut_together(
    plans: &[Plan],
    mode: SnapshotMode,
    deadline: &Deadline,
) -> Result<(), BackendError> {
    if let [only] = plans {
        deadline.check()?;
        return only.cut(mode);
    }
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let errors = Mutex::new(BTreeMap::new());
    let work = || {
        while !failed.load(Ordering::Relaxed) {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(plan) = plans.get(at) else { break };
            if let Err(error) = deadline.check().and_then(|()| plan.cut(mode)) {
                failed.store(true, Ordering::Relaxed);
                lock(&errors).insert(at, error);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..plans.len().min(MOST_THREADS) {
            // A thread that cannot be had is work for the others.
            let _ = std::thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    let first = lock(&errors).pop_first();
    first.map_or(Ok(()), |(_, error)| Err(error))
}

impl Plan {
    fn cut(&self, mode: SnapshotMode) -> Result<(), BackendError> {
        let name = self.copy.to_string();
        let made = btrfs::snapshot_create(self.source.as_fd(), self.area.fd.as_fd(), &name, mode);
        crash::point("btrfs.commit.after_one");
        match made {
            Ok(()) => Ok(()),
            // Made by an earlier call, or it is not ours.
            Err(Errno::EXIST) => copy::open(&self.area, &name, self.volume).map(drop),
            Err(errno) => Err(failed("snapshot", &self.path())(errno)),
        }
    }

    fn path(&self) -> PathBuf {
        self.area.path.join(self.copy.to_string())
    }
}
