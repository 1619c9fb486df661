//! Where a share's directory stands on btrfs.

use super::area;
use super::volume::VolumeKey;
use crate::backend::BackendError;
use crate::error::{failed, unsupported};
use crate::location::Location;
use fsrvp_sys::btrfs;
use fsrvp_sys::mountinfo::MountTable;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// A share's directory, opened and identified.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) location: Location,
    pub(super) volume: VolumeKey,
    pub(super) subvolume: u64,
    /// Path of the directory below the root of the subvolume.
    pub(super) inner: PathBuf,
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
        let location = Location::find(path, mounts)?;
        let fd = location.directory.as_fd();
        if !btrfs::is_btrfs(fd).map_err(failed("statfs", path))? {
            return Err(unsupported(
                path,
                format!("is on {}, not on btrfs", location.mount.fs_type),
            ));
        }
        if location.mount.read_only {
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
        let inner = btrfs::inode_path(fd, 0, location.identity.inode)
            .map_err(failed("INO_LOOKUP", path))?;
        Ok(Self {
            volume: VolumeKey {
                file_system: file_system_id(fd).map_err(failed("FS_INFO", path))?,
                subvolume: uuid,
            },
            subvolume: info.id,
            inner,
            location,
        })
    }

    /// Path of the subvolume's root from the top level of the file system.
    pub(super) fn subvolume_path(&self) -> Option<PathBuf> {
        let Location { real, mount, .. } = &self.location;
        let below_mount = real.strip_prefix(&mount.point).ok()?;
        let from_top = mount.root.strip_prefix("/").ok()?.join(below_mount);
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
