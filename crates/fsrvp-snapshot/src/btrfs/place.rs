//! Where a share's directory stands.

use super::area;
use super::error::{failed, failed_io, unsupported};
use super::volume::VolumeKey;
use crate::backend::BackendError;
use fsrvp_sys::btrfs;
use fsrvp_sys::mountinfo::{Mount, MountTable};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags, openat, statx};
use rustix::io::Errno;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// A share's directory, opened and identified.
#[derive(Debug)]
pub(super) struct Place {
    /// The path as it was given.
    pub(super) path: PathBuf,
    /// The path without symlinks.
    pub(super) real: PathBuf,
    pub(super) directory: OwnedFd,
    pub(super) identity: Identity,
    /// The mount that the directory is on.
    pub(super) mount: Mount,
    pub(super) volume: VolumeKey,
    pub(super) subvolume: u64,
    /// Path of the directory below the root of the subvolume.
    pub(super) inner: PathBuf,
}

/// Two lookups with equal identities reached one directory through one mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    /// Of btrfs, the number differs between subvolumes.
    device: (u32, u32),
    inode: u64,
    mount: u64,
}

impl Identity {
    /// Of what `path` leads to now. One system call.
    pub(super) fn at(path: &Path) -> rustix::io::Result<Self> {
        Self::of(CWD, path, AtFlags::empty())
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

/// The id of the mount that `fd` is on.
pub(super) fn mount_id(fd: BorrowedFd<'_>) -> rustix::io::Result<u64> {
    Identity::of(fd, Path::new(""), AtFlags::EMPTY_PATH).map(|identity| identity.mount)
}

/// The id of the mount that `path` is on.
pub(super) fn mount_id_at(path: &Path) -> rustix::io::Result<u64> {
    Identity::at(path).map(|identity| identity.mount)
}

/// Opens a directory; symlinks are followed, as the SMB server does with a share's path.
pub(super) fn open_directory(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty())
}

/// The id of the btrfs that `fd` lies on.
pub(super) fn file_system_id(fd: BorrowedFd<'_>) -> rustix::io::Result<Uuid> {
    btrfs::file_system_id(fd).map(Uuid::from_bytes)
}

impl Place {
    /// Opens and identifies `path`.
    ///
    /// # Errors
    /// `NotFound`; `Unsupported` off btrfs, for a read-only file system, for a shadow copy of ours.
    pub(super) fn find(path: &Path, mounts: &MountTable) -> Result<Self, BackendError> {
        let directory = open_directory(path).map_err(|errno| match errno {
            Errno::NOENT => BackendError::NotFound(path.to_owned()),
            Errno::NOTDIR => unsupported(path, "is no directory"),
            other => failed("open", path)(other),
        })?;
        let fd = directory.as_fd();
        let identity =
            Identity::of(fd, Path::new(""), AtFlags::EMPTY_PATH).map_err(failed("statx", path))?;
        let mount = mounts.get(identity.mount).cloned().ok_or_else(|| {
            unsupported(
                path,
                "is on a mount that this process's mount table does not show",
            )
        })?;
        if !btrfs::is_btrfs(fd).map_err(failed("statfs", path))? {
            return Err(unsupported(
                path,
                format!("is on {}, not on btrfs", mount.fs_type),
            ));
        }
        if mount.read_only {
            return Err(unsupported(
                path,
                "is on a file system that is mounted read-only",
            ));
        }
        let info = btrfs::subvolume_info(fd).map_err(failed("GET_SUBVOL_INFO", path))?;
        let uuid = Uuid::from_bytes(info.uuid);
        if uuid.is_nil() {
            let reason = "is in a subvolume without a uuid, made by an old kernel or mkfs.btrfs; \
                          give the share a subvolume of its own";
            return Err(unsupported(path, reason));
        }
        if area::holds_subvolume(fd, &info).map_err(failed("INO_LOOKUP", path))? {
            return Err(unsupported(path, "is in a shadow copy"));
        }
        let inner = btrfs::inode_path(fd, 0, identity.inode).map_err(failed("INO_LOOKUP", path))?;
        let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let real = std::fs::read_link(&link).map_err(failed_io("readlink", Path::new(&link)))?;
        Ok(Self {
            path: path.to_owned(),
            real,
            identity,
            mount,
            volume: VolumeKey {
                file_system: file_system_id(fd).map_err(failed("FS_INFO", path))?,
                subvolume: uuid,
            },
            subvolume: info.id,
            inner,
            directory,
        })
    }

    /// Path of the subvolume's root from the top level of the file system.
    pub(super) fn subvolume_path(&self) -> Option<PathBuf> {
        let below_mount = self.real.strip_prefix(&self.mount.point).ok()?;
        let from_top = self.mount.root.strip_prefix("/").ok()?.join(below_mount);
        let mut path = from_top.as_path();
        for part in self.inner.components().rev() {
            if path.file_name() != Some(part.as_os_str()) {
                return None;
            }
            path = path.parent()?;
        }
        Some(path.to_owned())
    }
}
