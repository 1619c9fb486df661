//! Where a share's directory stands, whatever its file system.

use crate::backend::BackendError;
use crate::error::{failed, failed_io, unsupported};
use fsrvp_sys::mount;
use fsrvp_sys::mount_cache::MountCache;
use fsrvp_sys::mountinfo::{Mount, MountTable};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags, openat, statx};
use rustix::io::Errno;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

static MOUNTS: MountCache = MountCache::new();

/// A share's directory, opened and identified.
#[derive(Debug)]
pub(crate) struct Location {
    /// The path as it was given.
    pub(crate) path: PathBuf,
    /// The path without symlinks.
    pub(crate) real: PathBuf,
    pub(crate) directory: OwnedFd,
    pub(crate) identity: Identity,
    /// The mount that the directory is on.
    pub(crate) mount: Mount,
}

/// Two lookups with equal identities reached one directory through one mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Of btrfs, the number differs between subvolumes.
    device: (u32, u32),
    pub(crate) inode: u64,
    pub(crate) mount: u64,
}

impl Identity {
    /// Of what `path` leads to now. One system call.
    pub(crate) fn at(path: &Path) -> rustix::io::Result<Self> {
        Self::of(CWD, path, AtFlags::empty())
    }

    /// Of an open directory.
    pub(crate) fn of_open(fd: BorrowedFd<'_>) -> rustix::io::Result<Self> {
        Self::of(fd, Path::new(""), AtFlags::EMPTY_PATH)
    }

    /// Whether both are one directory, though perhaps through two mounts.
    pub(crate) fn is_same_directory(self, other: Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }

    /// Whether both are in one file system, though perhaps through two mounts.
    pub(crate) fn is_same_device(self, other: Self) -> bool {
        self.device == other.device
    }

    fn of(directory: BorrowedFd<'_>, path: &Path, flags: AtFlags) -> rustix::io::Result<Self> {
        let wanted = StatxFlags::INO | StatxFlags::MNT_ID;
        let found = statx(directory, path, flags | AtFlags::NO_AUTOMOUNT, wanted)?;
        if found.stx_mask & StatxFlags::MNT_ID.bits() == 0 {
            return Err(Errno::NOSYS);
        }
        Ok(Self {
            device: (found.stx_dev_major, found.stx_dev_minor),
            inode: found.stx_ino,
            mount: found.stx_mnt_id,
        })
    }
}

/// Unmounts them all and removes their mount points.
///
/// # Errors
/// The last one that stays; the others are unmounted all the same.
pub(crate) fn detach_all<'m>(mounts: impl Iterator<Item = &'m Mount>) -> Result<(), BackendError> {
    let mut result = Ok(());
    for mount in mounts {
        match mount::detach(&mount.point) {
            Ok(()) => {
                let _ = std::fs::remove_dir(&mount.point);
            }
            Err(errno) => result = Err(failed("umount", &mount.point)(errno)),
        }
    }
    result
}

/// The mount table, now.
pub(crate) fn mount_table() -> Result<Arc<MountTable>, BackendError> {
    let table = MOUNTS.table(Instant::now());
    table.map_err(failed_io("read", Path::new("/proc/self/mountinfo")))
}

/// The id of the mount that `fd` is on.
pub(crate) fn mount_id(fd: BorrowedFd<'_>) -> rustix::io::Result<u64> {
    Identity::of_open(fd).map(|identity| identity.mount)
}

/// The id of the mount that `path` is on.
pub(crate) fn mount_id_at(path: &Path) -> rustix::io::Result<u64> {
    Identity::at(path).map(|identity| identity.mount)
}

/// Opens a directory; symlinks are followed, as the SMB server does with a share's path.
pub(crate) fn open_directory(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty())
}

impl Location {
    /// Opens and identifies `path`.
    ///
    /// # Errors
    /// `NotFound`; `Unsupported` for what is no directory, or is on a mount that we do not see.
    pub(crate) fn find(path: &Path, mounts: &MountTable) -> Result<Self, BackendError> {
        let directory = open_directory(path).map_err(|errno| match errno {
            Errno::NOENT => BackendError::NotFound(path.to_owned()),
            Errno::NOTDIR => unsupported(path, "is no directory"),
            other => failed("open", path)(other),
        })?;
        let identity = Identity::of_open(directory.as_fd()).map_err(failed("statx", path))?;
        let mount = mounts.get(identity.mount).cloned().ok_or_else(|| {
            unsupported(
                path,
                "is on a mount that this process's mount table does not show",
            )
        })?;
        let link = format!("/proc/self/fd/{}", directory.as_raw_fd());
        let real = std::fs::read_link(&link).map_err(failed_io("readlink", Path::new(&link)))?;
        Ok(Self {
            path: path.to_owned(),
            real,
            directory,
            identity,
            mount,
        })
    }

    /// Refuses a directory with a mount below it, which no copy would hold. Our own mounts, which
    /// are below `run_dir`, do not count.
    ///
    /// # Errors
    /// `Unsupported` with the mount's place.
    pub(crate) fn refuse_mounts_below(
        &self,
        mounts: &MountTable,
        run_dir: &Path,
    ) -> Result<(), BackendError> {
        let mut below = mounts.below(self.mount.id, &self.real).peekable();
        let run_dir = below
            .peek()
            .and_then(|_| std::fs::canonicalize(run_dir).ok());
        let is_ours = |mount: &&Mount| {
            let run_dir = run_dir.as_deref();
            run_dir.is_some_and(|run_dir| mount.point.starts_with(run_dir))
        };
        match below.find(|mount| !is_ours(mount)) {
            Some(mount) => Err(unsupported(
                &mount.point,
                format!(
                    "{} is mounted there, below the share; a snapshot would not hold it",
                    mount.fs_type
                ),
            )),
            None => Ok(()),
        }
    }
}
