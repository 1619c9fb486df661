//! The directory in the top level of a file system that holds a server's copies.

use super::file_system::FileSystem;
use crate::backend::BackendError;
use crate::error::failed;
use crate::folder::{Folder, PASS_THROUGH, make_directory, open_directory};
use fsrvp_sys::btrfs::{self, SubvolumeInfo};
use fsrvp_sys::crash;
use rustix::fs::{AtFlags, Dir, FileType, XattrFlags, fgetxattr, fsetxattr, statat};
use rustix::io::Errno;
use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The name in the top level.
const NAME: &str = ".fsrvpd";
/// Holds the run directory of the area's server, as text.
const OWNER_XATTR: &str = "trusted.fsrvpd.run_dir";

/// A server's area.
pub(super) type Area = Folder;

/// The path of an area below the mount of a top level.
pub(super) fn path(top: &Path, folder: &str) -> PathBuf {
    top.join(NAME).join(folder)
}

/// The area if it exists.
///
/// # Errors
/// `Conflict` if somebody else may write where it should be.
pub(super) fn open(file_system: &FileSystem, folder: &str) -> Result<Option<Area>, BackendError> {
    let path = path(&file_system.point, folder);
    Ok(open_at(file_system.top.as_fd(), &path, folder)?.map(|fd| Area { fd, path }))
}

/// The area, made if it is missing and marked as belonging to `run_dir`; not durable.
///
/// # Errors
/// As [`open`]; `NoSpace`.
pub(super) fn make(
    file_system: &FileSystem,
    folder: &str,
    run_dir: &Path,
) -> Result<Area, BackendError> {
    let path = path(&file_system.point, folder);
    let parent = path.parent().unwrap_or(&path);
    let outer = make_directory(file_system.top.as_fd(), NAME, PASS_THROUGH, parent)?;
    crash::point("btrfs.area.after_mkdir");
    let fd = make_directory(outer.as_fd(), folder, PASS_THROUGH, &path)?;
    if !belongs_to(fd.as_fd(), run_dir).map_err(failed("getxattr", &path))? {
        let mark = run_dir.as_os_str().as_bytes();
        fsetxattr(&fd, OWNER_XATTR, mark, XattrFlags::empty())
            .map_err(failed("setxattr", &path))?;
    }
    Ok(Area { fd, path })
}

/// Whether an area was last used by the process that mounts below `run_dir`. A second fsrvpd may
/// run with the same server name, in a laboratory or a container: its copies are not ours.
pub(super) fn belongs_to(area: BorrowedFd<'_>, run_dir: &Path) -> rustix::io::Result<bool> {
    let mut mark = [0; 4096];
    match fgetxattr(area, OWNER_XATTR, &mut mark[..]) {
        Ok(length) => Ok(mark.get(..length) == Some(run_dir.as_os_str().as_bytes())),
        Err(Errno::NODATA) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// The area `folder` below the top level `top`, if it exists; `path` is for messages.
pub(super) fn open_at(
    top: BorrowedFd<'_>,
    path: &Path,
    folder: &str,
) -> Result<Option<OwnedFd>, BackendError> {
    let parent = path.parent().unwrap_or(path);
    let Some(outer) = open_directory(top, NAME, parent)? else {
        return Ok(None);
    };
    open_directory(outer.as_fd(), folder, path)
}

/// The inodes of all servers' areas below the top level `top`: subvolumes that lie directly in
/// them are copies.
pub(super) fn inodes(top: BorrowedFd<'_>) -> rustix::io::Result<HashSet<u64>> {
    let path = Path::new(NAME);
    let Ok(Some(outer)) = open_directory(top, NAME, path) else {
        return Ok(HashSet::new());
    };
    let mut found = HashSet::new();
    for entry in Dir::read_from(&outer)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let stat = statat(&outer, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode).is_dir() {
            found.insert(stat.st_ino);
        }
    }
    Ok(found)
}

/// Whether a subvolume of the file system of `fd` is a copy in some server's area.
pub(super) fn holds_subvolume(
    fd: BorrowedFd<'_>,
    subvolume: &SubvolumeInfo,
) -> rustix::io::Result<bool> {
    if subvolume.parent != btrfs::FS_TREE_OBJECTID {
        return Ok(false);
    }
    match btrfs::inode_path(fd, subvolume.parent, subvolume.directory) {
        Ok(path) => Ok(path.starts_with(NAME)),
        // Deeper than our areas are.
        Err(Errno::NAMETOOLONG) => Ok(false),
        Err(errno) => Err(errno),
    }
}
