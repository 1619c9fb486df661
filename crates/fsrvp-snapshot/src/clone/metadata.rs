//! Owner, mode, extended attributes and times of files and directories.

use rustix::fs::{
    Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags, fchmod, fchown, fgetxattr, flistxattr,
    fremovexattr, fsetxattr, futimens,
};
use rustix::io::{Errno, Result};
use std::ffi::CStr;
use std::os::fd::BorrowedFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// XATTR_LIST_MAX and XATTR_SIZE_MAX.
const MOST: usize = 64 << 10;
/// Taken away from a file when its data changes.
const CAPABILITY: &CStr = c"security.capability";
/// How XFS shows an ACL a second time, to administrators.
const XFS_ACL: &[u8] = b"trusted.SGI_ACL_";

/// A change within this time before it was looked at could be followed by one with the same time.
const TICK: Duration = Duration::from_secs(1);

/// What tells whether a file is still the same, and as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) inode: u64,
    changed: (i64, i64),
    pub(super) size: i64,
    pub(super) links: u32,
    /// Whether a later change shows in the time of the last one.
    settled: bool,
}

impl Stamp {
    /// Of something that is looked at now.
    #[allow(
        clippy::unnecessary_cast,
        reason = "the types differ between architectures"
    )]
    pub(super) fn of(stat: &Stat, now: SystemTime) -> Self {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let changed = Duration::new(
            u64::try_from(stat.st_ctime).unwrap_or_default(),
            u32::try_from(stat.st_ctime_nsec).unwrap_or_default(),
        );
        Self {
            inode: stat.st_ino,
            changed: (stat.st_ctime as i64, stat.st_ctime_nsec as i64),
            size: stat.st_size,
            links: u32::try_from(stat.st_nlink).unwrap_or(u32::MAX),
            settled: changed.saturating_add(TICK) < now,
        }
    }

    /// Whether nothing but its data can have changed since: a change of data through a mapping is
    /// not always seen in the times.
    #[allow(
        clippy::unnecessary_cast,
        reason = "the types differ between architectures"
    )]
    pub(super) fn still_fits(&self, stat: &Stat) -> bool {
        self.settled && self.is_same(stat)
    }

    /// Whether the times say so, which of two looks at nearly the same time proves nothing.
    #[allow(
        clippy::unnecessary_cast,
        reason = "the types differ between architectures"
    )]
    pub(super) fn is_same(&self, stat: &Stat) -> bool {
        self.inode == stat.st_ino
            && self.changed == (stat.st_ctime as i64, stat.st_ctime_nsec as i64)
            && self.size == stat.st_size
    }
}

/// Whether the target has just been made or may have attributes already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// It has none that the source does not have.
    Fresh,
    /// Attributes that the source does not have are removed.
    Used,
}

/// Copies metadata; holds the room for it.
#[derive(Debug)]
pub(super) struct Metadata {
    names: Vec<u8>,
    value: Vec<u8>,
}

impl Metadata {
    pub(super) fn new() -> Self {
        Self {
            names: vec![0; MOST],
            value: vec![0; MOST],
        }
    }

    /// Copies owner, mode and all extended attributes, ACLs among them; `stat` is the source's.
    /// Whether there is one that a change of data takes away.
    pub(super) fn copy(
        &mut self,
        source: BorrowedFd<'_>,
        target: BorrowedFd<'_>,
        stat: &Stat,
        state: Target,
    ) -> Result<bool> {
        // In this order: a change of owner takes set-user-id bits away, an ACL changes the mode.
        let (owner, group) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        fchown(target, Some(owner), Some(group))?;
        fchmod(target, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
        self.copy_attributes(source, target, state)
    }

    fn copy_attributes(
        &mut self,
        source: BorrowedFd<'_>,
        target: BorrowedFd<'_>,
        state: Target,
    ) -> Result<bool> {
        if state == Target::Used {
            self.remove_others(source, target)?;
        }
        let Self { names, value } = self;
        let length = flistxattr(source, &mut names[..])?;
        let mut capability = false;
        for name in each(names, length) {
            let length = match fgetxattr(source, name, &mut value[..]) {
                Ok(length) => length,
                // Removed since it was listed.
                Err(Errno::NODATA) => continue,
                Err(errno) => return Err(errno),
            };
            let value = value.get(..length).unwrap_or_default();
            fsetxattr(target, name, value, XattrFlags::empty())?;
            capability |= name == CAPABILITY;
        }
        Ok(capability)
    }

    fn remove_others(&mut self, source: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
        let Self { names, value } = self;
        let length = flistxattr(target, &mut names[..])?;
        for name in each(names, length) {
            match fgetxattr(source, name, &mut value[..]) {
                Ok(_) => {}
                Err(Errno::NODATA) => match fremovexattr(target, name) {
                    Ok(()) | Err(Errno::NODATA) => {}
                    Err(errno) => return Err(errno),
                },
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Copies what a change of data has taken away.
    pub(super) fn copy_capability(
        &mut self,
        source: BorrowedFd<'_>,
        target: BorrowedFd<'_>,
    ) -> Result<()> {
        match fgetxattr(source, CAPABILITY, &mut self.value[..]) {
            Ok(length) => {
                let value = self.value.get(..length).unwrap_or_default();
                fsetxattr(target, CAPABILITY, value, XattrFlags::empty())
            }
            Err(Errno::NODATA) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

/// Gives the target the times of the last access and of the last change of its data.
#[allow(
    clippy::unnecessary_cast,
    reason = "the types differ between architectures"
)]
pub(super) fn copy_times(target: BorrowedFd<'_>, stat: &Stat) -> Result<()> {
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: stat.st_atime as _,
            tv_nsec: stat.st_atime_nsec as _,
        },
        last_modification: Timespec {
            tv_sec: stat.st_mtime as _,
            tv_nsec: stat.st_mtime_nsec as _,
        },
    };
    futimens(target, &times)
}

/// The names of a list that ends each with a zero.
fn each(names: &[u8], length: usize) -> impl Iterator<Item = &CStr> {
    names
        .get(..length)
        .unwrap_or_default()
        .split_inclusive(|&byte| byte == 0)
        .filter(|name| !name.starts_with(XFS_ACL))
        .filter_map(|name| CStr::from_bytes_with_nul(name).ok())
}
