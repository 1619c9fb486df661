//! What a snapshot of a share's directory would not hold: mounts and nested subvolumes below it.

use super::area;
use super::place::Place;
use crate::backend::BackendError;
use crate::error::{failed, unsupported};
use fsrvp_sys::btrfs::{self, ChildRef, FS_TREE_OBJECTID};
use fsrvp_sys::mountinfo::MountTable;
use rustix::io::Errno;
use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

/// Refuses a place with a mount or a nested subvolume below it. Our own mounts below `run_dir` and
/// our own copies do not count. Walks no files.
///
/// # Errors
/// `Unsupported` with the path in the way.
pub(super) fn check(
    place: &Place,
    mounts: &MountTable,
    run_dir: &Path,
) -> Result<(), BackendError> {
    place.location.refuse_mounts_below(mounts, run_dir)?;
    let ours = if place.subvolume == FS_TREE_OBJECTID && place.inner.as_os_str().is_empty() {
        area::inodes(place.location.directory.as_fd())
            .map_err(failed("read", &place.location.path))?
    } else {
        HashSet::new()
    };
    let mut outside = HashSet::new();
    for child in children(
        place.location.directory.as_fd(),
        &ours,
        &place.location.path,
    )? {
        if outside.contains(&child.directory) {
            continue;
        }
        match btrfs::child_path(place.location.directory.as_fd(), child) {
            Ok(path) => {
                return Err(unsupported(
                    &place.location.path.join(path),
                    "is a subvolume of its own below the share; a snapshot would not hold it",
                ));
            }
            Err(Errno::ACCESS) => {
                outside.insert(child.directory);
            }
            // Gone since it was listed.
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(failed("INO_LOOKUP_USER", &place.location.path)(errno)),
        }
    }
    Ok(())
}

/// The subvolumes directly inside the subvolume of `fd`, without those in the directories `ours`.
pub(super) fn children(
    fd: BorrowedFd<'_>,
    ours: &HashSet<u64>,
    path: &Path,
) -> Result<Vec<ChildRef>, BackendError> {
    let mut children = btrfs::children(fd).map_err(failed("GET_SUBVOL_ROOTREF", path))?;
    children.retain(|child| !ours.contains(&child.directory));
    Ok(children)
}
