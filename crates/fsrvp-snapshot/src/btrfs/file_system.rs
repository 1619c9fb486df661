//! A btrfs file system and our mount of its top level.

use super::Btrfs;
use super::place::file_system_id;
use crate::backend::BackendError;
use crate::error::{failed, not_mounted, unsupported};
use crate::folder::{PASS_THROUGH, make_all, make_directory};
use crate::location::{detach_all, mount_id, mount_id_at, mount_table, open_directory};
use crate::lock;
use crate::previous::Links;
use fsrvp_sys::btrfs::{self, FS_TREE_OBJECTID};
use fsrvp_sys::crash;
use fsrvp_sys::mount::{self, Access};
use fsrvp_sys::mountinfo::{Mount, MountTable};
use rustix::fs::{Mode, OFlags, fstat, fstatvfs, openat, syncfs};
use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// A snapshot of a clean subvolume takes a few blocks; writers that go on need more at once.
const LEAST_FREE: u64 = 16 << 20;

/// A flush that is shorter leaves next to nothing to Commit.
const SHORT_FLUSH: Duration = Duration::from_millis(20);
/// How often a file system is flushed whose writers do not rest.
const MOST_FLUSHES: usize = 4;

/// A file system that copies are made on.
#[derive(Debug)]
pub(super) struct FileSystem {
    pub(super) id: Uuid,
    /// Where the top level is mounted.
    pub(super) point: PathBuf,
    /// The root of the top level, on that mount.
    pub(super) top: OwnedFd,
    mount: u64,
    pub(super) links: Mutex<Links>,
}

impl FileSystem {
    fn new(id: Uuid, point: PathBuf, top: OwnedFd) -> Result<Self, BackendError> {
        let mount = mount_id(top.as_fd()).map_err(failed("statx", &point))?;
        Ok(Self {
            id,
            point,
            top,
            mount,
            links: Mutex::default(),
        })
    }

    fn is_mounted(&self) -> bool {
        mount_id_at(&self.point) == Ok(self.mount)
    }

    /// Writes everything back that the file system has in memory. What is written while a long
    /// flush runs, and the metadata that the flush itself leaves to the next transaction, would be
    /// paid for in Commit: so it is repeated as long as it takes long. Errors name `share`, a
    /// directory on it that people know.
    pub(super) fn flush(&self, share: &Path) -> Result<(), BackendError> {
        for _ in 0..MOST_FLUSHES {
            let began = Instant::now();
            syncfs(&self.top).map_err(failed("syncfs", share))?;
            if began.elapsed() < SHORT_FLUSH {
                break;
            }
        }
        Ok(())
    }

    /// Refuses a file system that has no space for what a snapshot needs; the error names `share`.
    pub(super) fn check_space(&self, share: &Path) -> Result<(), BackendError> {
        let space = fstatvfs(&self.top).map_err(failed("statvfs", share))?;
        if space.f_bavail.saturating_mul(space.f_frsize) < LEAST_FREE {
            return Err(BackendError::NoSpace(share.display().to_string()));
        }
        Ok(())
    }

    /// Says so if users cannot pass through the top level to their copies.
    pub(super) fn warn_if_closed(&self) {
        match fstat(&self.top) {
            Ok(stat) if !Mode::from_raw_mode(stat.st_mode).contains(Mode::XOTH) => {
                tracing::warn!(
                    file_system = %self.id,
                    path = %self.point.display(),
                    "the top level of the file system lets only its owner and group pass: other \
                     users do not reach the copies"
                );
            }
            _ => {}
        }
    }
}

impl Btrfs {
    /// Where the top level of a file system is mounted.
    pub(super) fn mount_point(&self, id: Uuid) -> PathBuf {
        self.config.run_dir.join(id.to_string())
    }

    /// The file system with our mount in place: the one of before, one that an earlier process
    /// left, or a new one. `hint` is a mount of the file system.
    ///
    /// # Errors
    /// `Io` if it is not mounted anywhere.
    pub(super) fn file_system(
        &self,
        id: Uuid,
        hint: Option<&Mount>,
    ) -> Result<Arc<FileSystem>, BackendError> {
        let mounted = |this: &Self| {
            let known = lock(&this.file_systems).get(&id).cloned();
            known.filter(|file_system| file_system.is_mounted())
        };
        if let Some(file_system) = mounted(self) {
            return Ok(file_system);
        }
        let _one_at_a_time = lock(&self.mounting);
        if let Some(file_system) = mounted(self) {
            return Ok(file_system);
        }
        let point = self.mount_point(id);
        let top = match find_mounted(id, &point)? {
            Some(top) => top,
            None => self.mount_top(id, &point, hint)?,
        };
        let file_system = Arc::new(FileSystem::new(id, point, top)?);
        lock(&self.file_systems).insert(id, Arc::clone(&file_system));
        Ok(file_system)
    }

    fn mount_top(
        &self,
        id: Uuid,
        point: &Path,
        hint: Option<&Mount>,
    ) -> Result<OwnedFd, BackendError> {
        let table;
        let known = match hint {
            Some(mount) => mount,
            None => {
                table = mount_table()?;
                mount_of(&table, id).ok_or_else(|| not_mounted(id))?
            }
        };
        if known.read_only {
            return Err(unsupported(&known.point, "is mounted read-only"));
        }
        make_point(&self.config.run_dir, point)?;
        let device = Path::new(&known.source);
        let mounted = mount::btrfs_top_level(&known.source, Access::ReadWrite)
            .map_err(failed("mount", device))?;
        let top = open_root(mounted.as_fd()).map_err(failed("open", device))?;
        // The device may bear another file system by now.
        if file_system_id(top.as_fd()).map_err(failed("FS_INFO", device))? != id {
            return Err(not_mounted(id));
        }
        crash::point("btrfs.mount.before_attach");
        mount::attach(mounted.as_fd(), point).map_err(failed("mount", point))?;
        crash::point("btrfs.mount.after_attach");
        tracing::info!(file_system = %id, path = %point.display(), "mounted the top level");
        Ok(top)
    }

    /// Unmounts all our mounts below `run_dir` and removes their mount points; copies stay, and no
    /// exposed share may point there any more. For tests and benchmarks, which use a run directory
    /// once; the daemon's mounts outlive it.
    ///
    /// # Errors
    /// `Busy` while something is open there; the others are unmounted all the same.
    pub fn unmount_all(&self) -> Result<(), BackendError> {
        let _nobody_mounts = lock(&self.mounting);
        lock(&self.prepared).clear();
        lock(&self.file_systems).clear();
        let Ok(run_dir) = std::fs::canonicalize(&self.config.run_dir) else {
            return Ok(());
        };
        let table = mount_table()?;
        let ours = table.0.iter().filter(|mount| is_ours(mount, &run_dir));
        let result = detach_all(ours);
        let _ = std::fs::remove_dir(&run_dir);
        result
    }
}

fn is_ours(mount: &Mount, run_dir: &Path) -> bool {
    let name = mount.point.file_name().and_then(|name| name.to_str());
    mount.point.parent() == Some(run_dir)
        && mount.fs_type == "btrfs"
        && name.is_some_and(|name| Uuid::parse_str(name).is_ok())
}

/// The root of the top level of `id`, if that is what is mounted at `point`.
fn find_mounted(id: Uuid, point: &Path) -> Result<Option<OwnedFd>, BackendError> {
    let Ok(real) = std::fs::canonicalize(point) else {
        return Ok(None);
    };
    if !mount_table()?.0.iter().any(|mount| mount.point == real) {
        return Ok(None);
    }
    let top = open_directory(point).map_err(failed("open", point))?;
    let is_top = btrfs::is_subvolume_root(top.as_fd()) == Ok(true)
        && btrfs::subvolume_info(top.as_fd()).is_ok_and(|info| info.id == FS_TREE_OBJECTID)
        && file_system_id(top.as_fd()) == Ok(id);
    if is_top {
        return Ok(Some(top));
    }
    Err(BackendError::Conflict(point.to_owned()))
}

/// Some mount of the file system `id`.
fn mount_of(table: &MountTable, id: Uuid) -> Option<&Mount> {
    distinct(table).find(|mount| id_of(table, mount) == Some(id))
}

/// One mount of each btrfs file system.
pub(super) fn distinct(table: &MountTable) -> impl Iterator<Item = &Mount> {
    let mut seen = HashSet::new();
    let btrfs = table.0.iter().filter(|mount| mount.fs_type == "btrfs");
    btrfs.filter(move |mount| seen.insert(mount.device.as_str()))
}

/// The id of the file system of a mount, asked of any mount of it that is not hidden.
pub(super) fn id_of(table: &MountTable, mount: &Mount) -> Option<Uuid> {
    let same = table.0.iter().filter(|other| other.device == mount.device);
    same.filter_map(|other| {
        let fd = open_directory(&other.point).ok()?;
        let visible = mount_id(fd.as_fd()) == Ok(other.id);
        visible.then(|| file_system_id(fd.as_fd()).ok()).flatten()
    })
    .next()
}

/// The root directory of a mount that fsmount(2) made, opened for more than passing through.
pub(super) fn open_root(mount: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(mount, ".", flags, Mode::empty())
}

fn make_point(run_dir: &Path, point: &Path) -> Result<(), BackendError> {
    make_all(run_dir)?;
    let parent = open_directory(run_dir).map_err(failed("open", run_dir))?;
    let name = point
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    make_directory(parent.as_fd(), name, PASS_THROUGH, point).map(drop)
}
