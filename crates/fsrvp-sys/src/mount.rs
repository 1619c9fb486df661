//! Mounts that exist before they have a place in the tree.

use rustix::fs::CWD;
use rustix::io::Result;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, unmount,
};
use std::ffi::OsStr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

/// Whether a file system may be switched to read-write by mounting it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// For a file system that is in use read-only: looking must not change that.
    ReadOnly,
    /// Read and write.
    ReadWrite,
}

/// Mounts the top level (subvolume 5) of the btrfs on `device` without giving it a place: the
/// mount ends with the descriptor unless [`attach`] is called. No devices, no set-user-id files,
/// no access times.
///
/// # Errors
/// As fsopen(2), fsconfig(2), fsmount(2); `PERM` without CAP_SYS_ADMIN.
pub fn btrfs_top_level(device: &OsStr, access: Access) -> Result<OwnedFd> {
    let context = fsopen("btrfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", device)?;
    fsconfig_set_string(&context, "subvolid", "5")?;
    let mut attributes = MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NOATIME;
    if access == Access::ReadOnly {
        fsconfig_set_flag(&context, "ro")?;
        attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
    }
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Gives a detached mount its place in the tree.
///
/// It propagates as the mount that `place` is on does: processes in a mount namespace that
/// receives mounts from ours see it too.
///
/// # Errors
/// As move_mount(2).
pub fn attach(mount: BorrowedFd<'_>, place: &Path) -> Result<()> {
    move_mount(
        mount,
        "",
        CWD,
        place,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )
}

/// Unmounts what is mounted last at `place`.
///
/// # Errors
/// `BUSY` while something is open below it; as umount2(2).
pub fn detach(place: &Path) -> Result<()> {
    unmount(place, UnmountFlags::NOFOLLOW)
}
