//! A file system and our mount of its root.

use super::TreeClone;
use super::config::Data;
use super::volume::file_system_id;
use crate::backend::BackendError;
use crate::error::{failed, not_mounted, unsupported};
use crate::folder::{make_all, make_directory};
use crate::location::{Identity, detach_all, mount_id, mount_id_at, mount_table, open_directory};
use crate::lock;
use crate::previous::Links;
use fsrvp_sys::btrfs;
use fsrvp_sys::crash;
use fsrvp_sys::mount::{self, Access};
use fsrvp_sys::mountinfo::{Mount, MountTable};
use rustix::fs::{AtFlags, Mode, OFlags, fstatfs, fstatvfs, fsync, openat, statat, syncfs};
use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

const XFS_MAGIC: u64 = 0x5846_5342;

/// A file system that copies are made on.
#[derive(Debug)]
pub(super) struct FileSystem {
    pub(super) id: Uuid,
    /// Where its root is mounted.
    pub(super) point: PathBuf,
    /// Its root, on that mount.
    pub(super) top: OwnedFd,
    mount: u64,
    pub(super) kind: Kind,
}

/// What is special about some file systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Btrfs,
    Xfs,
    Other,
}

impl FileSystem {
    fn new(id: Uuid, point: PathBuf, top: OwnedFd) -> Result<Self, BackendError> {
        let mount = mount_id(top.as_fd()).map_err(failed("statx", &point))?;
        #[allow(
            clippy::unnecessary_cast,
            reason = "the type differs between architectures"
        )]
        let magic = fstatfs(&top).map_err(failed("statfs", &point))?.f_type as u64 & 0xffff_ffff;
        let kind = match magic {
            btrfs::SUPER_MAGIC => Kind::Btrfs,
            XFS_MAGIC => Kind::Xfs,
            _ => Kind::Other,
        };
        Ok(Self {
            id,
            point,
            top,
            mount,
            kind,
        })
    }

    fn is_mounted(&self) -> bool {
        mount_id_at(&self.point) == Ok(self.mount)
    }

    /// Writes everything back that the file system has in memory.
    pub(super) fn flush(&self) -> Result<(), BackendError> {
        syncfs(&self.top).map_err(failed("syncfs", &self.point))
    }

    /// Makes durable what was made, cloned, renamed and marked so far, the directory `last` last.
    /// What others have written and not flushed is left alone where that can be.
    pub(super) fn commit(&self, last: BorrowedFd<'_>) -> Result<(), BackendError> {
        let done = match self.kind {
            Kind::Btrfs => btrfs::commit_transaction(self.top.as_fd()),
            // The log is written in order: with the last change all earlier ones are there. Blocks
            // that were cloned were flushed by the clone.
            Kind::Xfs => fsync(last),
            Kind::Other => syncfs(&self.top).and_then(|()| fsync(last)),
        };
        done.map_err(failed("sync", &self.point))
    }

    /// Bytes that can still be written.
    pub(super) fn free(&self) -> Result<u64, BackendError> {
        let space = fstatvfs(&self.top).map_err(failed("statvfs", &self.point))?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }

    /// The inode of the directory with all servers' areas.
    pub(super) fn outer(&self) -> Option<u64> {
        let stat = statat(&self.top, super::area::OUTER, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some(stat.st_ino)
    }
}

impl TreeClone {
    /// Where the root of a file system is mounted.
    pub(super) fn root_point(&self, id: Uuid) -> PathBuf {
        self.config
            .run_dir
            .join(self.config.data.roots())
            .join(id.to_string())
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
        let mut known = lock(&self.file_systems);
        if let Some(file_system) = known.get(&id).filter(|known| known.is_mounted()) {
            return Ok(Arc::clone(file_system));
        }
        let point = self.root_point(id);
        let top = match find_mounted(id, &point)? {
            Some(top) => top,
            None => self.mount_root(id, &point, hint)?,
        };
        let mut file_system = FileSystem::new(id, point, top)?;
        if self.config.data != Data::Shared {
            // What is made durable along with clones is not with data of one's own.
            file_system.kind = Kind::Other;
        }
        let file_system = Arc::new(file_system);
        known.insert(id, Arc::clone(&file_system));
        Ok(file_system)
    }

    fn mount_root(
        &self,
        id: Uuid,
        point: &Path,
        hint: Option<&Mount>,
    ) -> Result<OwnedFd, BackendError> {
        let table = mount_table()?;
        let known = match hint {
            Some(mount) => mount,
            None => mount_of(&table, id).ok_or_else(|| not_mounted(id))?,
        };
        if known.read_only {
            return Err(unsupported(&known.point, "is mounted read-only"));
        }
        let mounted = root_of(&table, known)?;
        let device = Path::new(&known.source);
        let top = open_root(mounted.as_fd()).map_err(failed("open", device))?;
        // The device may bear another file system by now.
        if file_system_id(top.as_fd(), device)? != id {
            return Err(not_mounted(id));
        }
        let roots = make_run_directory(&self.config.run_dir)?;
        let name = self.config.data.roots();
        let path = self.config.run_dir.join(name);
        let roots = make_directory(roots.as_fd(), name, Mode::RWXU, &path)?;
        make_directory(roots.as_fd(), &id.to_string(), Mode::RWXU, point)?;
        crash::point("clone.mount.before_attach");
        mount::attach(mounted.as_fd(), point).map_err(failed("mount", point))?;
        crash::point("clone.mount.after_attach");
        tracing::info!(file_system = %id, path = %point.display(), "mounted the root");
        Ok(top)
    }

    /// Unmounts all our mounts below `run_dir` and removes their mount points; copies stay, and no
    /// exposed share may point there any more. For tests and benchmarks, which use a run directory
    /// once; the daemon's mounts outlive it.
    ///
    /// # Errors
    /// `Busy` while something is open there; the others are unmounted all the same.
    pub fn unmount_all(&self) -> Result<(), BackendError> {
        self.reaper.settle();
        lock(&self.prepared).clear();
        *lock(&self.links) = Links::default();
        let mut known = lock(&self.file_systems);
        known.clear();
        let mut result = Ok(());
        for name in [self.config.data.name(), self.config.data.roots()] {
            let Ok(folder) = std::fs::canonicalize(self.config.run_dir.join(name)) else {
                continue;
            };
            let table = mount_table()?;
            let ours = table
                .0
                .iter()
                .filter(|mount| mount.point.parent() == Some(&folder));
            result = detach_all(ours).and(result);
            // Links to what is not mounted any more.
            let _ = std::fs::remove_dir_all(folder.join(crate::previous::NAME));
            let _ = std::fs::remove_dir(&folder);
        }
        result
    }
}

/// The run directory, made if it is missing.
pub(super) fn make_run_directory(run_dir: &Path) -> Result<OwnedFd, BackendError> {
    make_all(run_dir)?;
    open_directory(run_dir).map_err(failed("open", run_dir))
}

/// The root of the file system `id`, if that is what is mounted at `point`.
fn find_mounted(id: Uuid, point: &Path) -> Result<Option<OwnedFd>, BackendError> {
    let Ok(real) = std::fs::canonicalize(point) else {
        return Ok(None);
    };
    let table = mount_table()?;
    let Some(mount) = table.0.iter().rfind(|mount| mount.point == real) else {
        return Ok(None);
    };
    let top = open_directory(point).map_err(failed("open", point))?;
    if mount.root == Path::new("/") && file_system_id(top.as_fd(), point)? == id {
        return Ok(Some(top));
    }
    Err(BackendError::Conflict(point.to_owned()))
}

/// A mount, without a place, of the root of the file system of `mount`.
fn root_of(table: &MountTable, mount: &Mount) -> Result<OwnedFd, BackendError> {
    if let Some((fd, path)) = visible_root(table, mount) {
        return mount::bind(fd.as_fd(), Access::ReadWrite).map_err(failed("bind", &path));
    }
    let device = Path::new(&mount.source);
    mount::file_system_root(&mount.fs_type, &mount.source).map_err(failed("mount", device))
}

/// The root directory of the file system of `mount`, if one of its mounts shows it.
pub(super) fn visible_root(table: &MountTable, mount: &Mount) -> Option<(OwnedFd, PathBuf)> {
    let roots = table
        .0
        .iter()
        .filter(|other| other.device == mount.device && other.root == Path::new("/"));
    roots
        .filter_map(|root| {
            let fd = open_directory(&root.point).ok()?;
            let visible = mount_id(fd.as_fd()) == Ok(root.id);
            visible.then(|| (fd, root.point.clone()))
        })
        .next()
}

/// Some mount of the file system `id`.
fn mount_of(table: &MountTable, id: Uuid) -> Option<&Mount> {
    distinct(table).find(|mount| id_of(table, mount) == Some(id))
}

/// Whether a file system may hold copies, for it is looked at when they are enumerated: those with a
/// device of their own, and those whose type is known to clone.
pub(super) fn is_found_again(mount: &Mount) -> bool {
    let has_device = !mount.device.starts_with("0:");
    has_device || matches!(mount.fs_type.as_str(), "btrfs" | "bcachefs" | "zfs")
}

/// One mount of each file system that may hold copies.
pub(super) fn distinct(table: &MountTable) -> impl Iterator<Item = &Mount> {
    let mut seen = HashSet::new();
    table
        .0
        .iter()
        .filter(|mount| is_found_again(mount))
        .filter(move |mount| seen.insert(mount.device.as_str()))
}

/// The id of the file system of a mount, asked of any mount of it that is not hidden.
pub(super) fn id_of(table: &MountTable, mount: &Mount) -> Option<Uuid> {
    let same = table.0.iter().filter(|other| other.device == mount.device);
    same.filter_map(|other| {
        let fd = open_directory(&other.point).ok()?;
        let visible = mount_id(fd.as_fd()) == Ok(other.id);
        visible
            .then(|| file_system_id(fd.as_fd(), &other.point).ok())
            .flatten()
    })
    .next()
}

/// The root directory of a mount without a place, opened for more than passing through.
fn open_root(mount: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(mount, ".", flags, Mode::empty())
}

/// Whether `path` leads to the directory `fd` through a mount of its own.
pub(super) fn is_mounted_at(path: &Path, fd: BorrowedFd<'_>) -> Result<bool, BackendError> {
    let shown = |errno| failed("statx", path)(errno);
    let wanted = Identity::of_open(fd).map_err(shown)?;
    let there = Identity::at(path).map_err(shown)?;
    Ok(there.is_same_directory(wanted) && there.mount != wanted.mount)
}
