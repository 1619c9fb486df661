//! Tries a seal.

use super::error::{failed, unsupported};
use super::place::{file_system_id, open_directory};
use crate::backend::BackendError;
use fsrvp_idl::ShadowCopyId;
use fsrvp_sys::btrfs;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;
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
    let probe = format!(".fsrvpd-probe-{copy}");
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    match openat(&directory, probe.as_str(), flags, Mode::RUSR) {
        Err(Errno::ROFS) => {}
        Ok(_) => {
            let _ = unlinkat(&directory, probe.as_str(), AtFlags::empty());
            return Err(BackendError::NotSealed(via.to_owned()));
        }
        Err(errno) => return Err(failed("create a probe in", via)(errno)),
    }
    match open_a_file(&directory, via)? {
        None | Some(Errno::ROFS) => Ok(()),
        Some(errno) => Err(failed("open for writing in", via)(errno)),
    }
}

/// File system and subvolume.
fn identity(fd: BorrowedFd<'_>, path: &Path) -> Result<([u8; 16], u64), BackendError> {
    let file_system = file_system_id(fd).map_err(failed("FS_INFO", path))?;
    let info = btrfs::subvolume_info(fd).map_err(failed("GET_SUBVOL_INFO", path))?;
    Ok((file_system.into_bytes(), info.id))
}

/// Opens the first regular file of the directory for writing; its error, if there is such a file.
fn open_a_file(directory: &OwnedFd, via: &Path) -> Result<Option<Errno>, BackendError> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    for entry in Dir::read_from(directory).map_err(failed("read", via))? {
        let entry = entry.map_err(failed("read", via))?;
        if entry.file_type() != FileType::RegularFile {
            continue;
        }
        return match openat(directory, entry.file_name(), flags, Mode::empty()) {
            Ok(_) => Err(BackendError::NotSealed(via.to_owned())),
            Err(errno) => Ok(Some(errno)),
        };
    }
    Ok(None)
}
