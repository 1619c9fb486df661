//! Where a share's directory stands on its file system.

use super::area::OUTER;
use super::file_system::is_found_again;
use super::volume::VolumeKey;
use crate::backend::BackendError;
use crate::error::unsupported;
use crate::location::Location;
use fsrvp_sys::mountinfo::MountTable;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// A share's directory, opened and identified.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) location: Location,
    pub(super) volume: VolumeKey,
    /// Path of the directory below the root of its file system.
    pub(super) below_root: PathBuf,
}

impl Place {
    /// Opens and identifies `path`.
    ///
    /// # Errors
    /// `NotFound`; `Unsupported` for a read-only file system, one without an id or a disk, a copy of ours.
    pub(super) fn find(path: &Path, mounts: &MountTable) -> Result<Self, BackendError> {
        let location = Location::find(path, mounts)?;
        let mount = &location.mount;
        if mount.read_only {
            return Err(unsupported(
                path,
                "is on a file system that is mounted read-only",
            ));
        }
        if !is_found_again(mount) {
            let reason = format!(
                "is on {}, where copies could not be found again after a restart",
                mount.fs_type
            );
            return Err(unsupported(path, reason));
        }
        let volume = VolumeKey::of(location.directory.as_fd(), path)?;
        let below_root = location
            .real
            .strip_prefix(&mount.point)
            .ok()
            .zip(mount.root.strip_prefix("/").ok())
            .map(|(below_mount, root)| root.join(below_mount))
            .ok_or_else(|| unsupported(path, "is renamed at this moment"))?;
        if below_root.starts_with(OUTER) {
            return Err(unsupported(path, "is in a shadow copy"));
        }
        Ok(Self {
            location,
            volume,
            below_root: below_root.components().collect(),
        })
    }
}
