//! Tries a seal.

use super::place::file_system_id;
use crate::attempt;
use crate::backend::BackendError;
use crate::error::{failed, unsupported};
use crate::location::open_directory;
use fsrvp_idl::ShadowCopyId;
use fsrvp_sys::btrfs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Tries to open a file for writing and to create one in `via`, which must lie in the copy `root`.
/// Never writes data.
///
/// # Errors
/// `NotSealed` if an attempt succeeded; `Unsupported` if `via` does not lead into the copy.
pub(super) fn try_to_write(
    root: &OwnedFd,
    copy: ShadowCopyId,
    via: &Path,
) -> Result<(), BackendError> {
    let directory = open_directory(via).map_err(failed("open", via))?;
    if identity(directory.as_fd(), via)? != identity(root.as_fd(), via)? {
        return Err(unsupported(via, "does not lead into the copy"));
    }
    attempt::to_write(&directory, copy, via)
}

/// File system and subvolume.
fn identity(fd: BorrowedFd<'_>, path: &Path) -> Result<([u8; 16], u64), BackendError> {
    let file_system = file_system_id(fd).map_err(failed("FS_INFO", path))?;
    let info = btrfs::subvolume_info(fd).map_err(failed("GET_SUBVOL_INFO", path))?;
    Ok((file_system.into_bytes(), info.id))
}
