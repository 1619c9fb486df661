//! Mounts that exist before they have a place in the tree.

use rustix::fs::CWD;
use rustix::io::{Errno, Result};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount,
    open_tree, unmount,
};
use std::ffi::OsStr;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
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

/// Mounts the root of a file system that is mounted elsewhere, without giving it a place; as
/// [`btrfs_top_level`], for the types that need no option for it.
///
/// # Errors
/// As [`btrfs_top_level`].
pub fn file_system_root(fs_type: &str, device: &OsStr) -> Result<OwnedFd> {
    if fs_type == "btrfs" {
        return btrfs_top_level(device, Access::ReadWrite);
    }
    let context = fsopen(fs_type, FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", device)?;
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NOATIME;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// A second mount of the tree below the directory `fd`, without what is mounted in it and without a
/// place. No devices, no set-user-id files, no access times. Read-only from the start if `access`
/// says so.
///
/// # Errors
/// As open_tree(2) and mount_setattr(2), Linux 5.12.
pub fn bind(fd: BorrowedFd<'_>, access: Access) -> Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let mount = open_tree(fd, "", flags)?;
    let mut attributes =
        libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOATIME;
    if access == Access::ReadOnly {
        attributes |= libc::MOUNT_ATTR_RDONLY;
    }
    let mut cleared = libc::MOUNT_ATTR__ATIME;
    if access == Access::ReadWrite {
        cleared |= libc::MOUNT_ATTR_RDONLY;
    }
    // Private: what is mounted in the tree itself later does not appear here.
    set_attributes(&mount, attributes, cleared, MS_PRIVATE)?;
    Ok(mount)
}

/// Makes the mount whose root directory is `fd` read-only: no handle that was opened through it
/// writes any more. Handles that were opened through other mounts of the file system, and the
/// copies of this mount in other mount namespaces, are not affected.
///
/// # Errors
/// `BUSY` while something that was opened through it can write: a descriptor, a shared mapping.
pub fn make_read_only(fd: BorrowedFd<'_>) -> Result<()> {
    set_attributes(&fd, libc::MOUNT_ATTR_RDONLY, 0, 0)
}

/// As mount(2) has it, in the type of mount_setattr(2).
const MS_PRIVATE: u64 = 1 << 18;

/// `struct mount_attr`.
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

const _: () = assert!(size_of::<MountAttributes>() == 32);

fn set_attributes(mount: &impl AsRawFd, set: u64, clear: u64, propagation: u64) -> Result<()> {
    let attributes = MountAttributes {
        set,
        clear,
        propagation,
        user_namespace: 0,
    };
    // SAFETY: the path is a string that ends with a zero, and the kernel reads the attributes, of
    // which it is told the size, and nothing else.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            std::ptr::from_ref(&attributes),
            size_of::<MountAttributes>(),
        )
    };
    if result < 0 {
        let error = std::io::Error::last_os_error();
        return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO));
    }
    Ok(())
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

/// Takes what is mounted last at `place` out of sight; what is open below it goes on working.
///
/// # Errors
/// As umount2(2).
pub fn detach_lazily(place: &Path) -> Result<()> {
    unmount(place, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH)
}

/// Unmounts what is mounted last at `place`.
///
/// # Errors
/// `BUSY` while something is open below it; as umount2(2).
pub fn detach(place: &Path) -> Result<()> {
    unmount(place, UnmountFlags::NOFOLLOW)
}
