//! The directory in which a copy is made: fresh, root's alone, beside the place where it goes.

use super::{DIRECTORY, failed};
use crate::{Exit, Failure};
use rustix::fs::{
    AtFlags, Dir, FlockOperation, Mode, OFlags, RenameFlags, flock, fstat, mkdirat, openat,
    renameat_with, unlinkat,
};
use rustix::io::Errno;
use std::ffi::{CStr, OsStr, OsString};
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Begins the names of directories that a copy is made in.
const STAGING: &str = ".fsrvp-restore.";
/// Begins the names of those that hold what was there before, and are never removed by us.
const KEPT: &str = ".fsrvp-kept.";
/// What is copied, in such a directory.
pub(super) const CONTENT: &str = "x";
/// Users have no business in it.
const OURS_ALONE: Mode = Mode::RWXU;

/// One such directory. It is locked as long as this value lives.
#[derive(Debug)]
pub(super) struct Stage {
    parent: OwnedFd,
    name: OsString,
    directory: OwnedFd,
    /// Of the directory that it is in, for people.
    shown: PathBuf,
}

impl Stage {
    pub(super) fn new(parent: &OwnedFd, shown: &Path) -> Result<Self, Failure> {
        let error = |errno: Errno| failed("make a directory in", shown)(errno.into());
        for attempt in 0_u32.. {
            let name = OsString::from(format!("{STAGING}{}.{attempt}", std::process::id()));
            match mkdirat(parent, &name, OURS_ALONE) {
                Ok(()) => {}
                Err(Errno::EXIST) => continue,
                Err(errno) => return Err(error(errno)),
            }
            let directory = open_ours(parent, &name).map_err(error)?;
            let Some(directory) = directory else {
                break;
            };
            flock(&directory, FlockOperation::NonBlockingLockExclusive).map_err(error)?;
            return Ok(Self {
                parent: parent.try_clone().map_err(failed("hold", shown))?,
                name,
                directory,
                shown: shown.to_owned(),
            });
        }
        let text = format!(
            "somebody interferes in {}: a directory was exchanged right after it was made",
            shown.display()
        );
        Err(Failure::new(Exit::Failed, text))
    }

    /// Its path for a child that this process starts.
    pub(super) fn working_directory(&self) -> PathBuf {
        held(&self.directory)
    }

    /// The content goes to another directory.
    pub(super) fn move_out(
        &self,
        parent: &OwnedFd,
        name: &OsStr,
        flags: RenameFlags,
    ) -> Result<(), Errno> {
        renameat_with(&self.directory, CONTENT, parent, name, flags)
    }

    /// Removes it with all that is in it.
    pub(super) fn remove(self) -> Result<(), Failure> {
        let shown = self.shown.join(&self.name);
        remove(&self.parent, &self.name, &self.directory).map_err(failed("remove", &shown))
    }

    /// Gives it a name under which it stays.
    pub(super) fn keep(self) -> Option<PathBuf> {
        let own = self.name.to_string_lossy().replacen(STAGING, KEPT, 1);
        let flags = RenameFlags::NOREPLACE;
        let renamed = renameat_with(&self.parent, &self.name, &self.parent, &own, flags);
        let name = if renamed.is_ok() {
            OsString::from(own)
        } else {
            self.name
        };
        Some(self.shown.join(name).join(CONTENT))
    }
}

fn held(fd: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// Opens a directory if it is one that we made.
fn open_ours(parent: &OwnedFd, name: &OsStr) -> Result<Option<OwnedFd>, Errno> {
    let opened = openat(parent, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty());
    let directory = match opened {
        Ok(directory) => directory,
        Err(Errno::LOOP | Errno::NOTDIR | Errno::NOENT | Errno::ACCESS) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    let stat = fstat(&directory)?;
    let is_ours = stat.st_uid == rustix::process::geteuid().as_raw()
        && Mode::from_raw_mode(stat.st_mode) & Mode::from_raw_mode(0o7777) == OURS_ALONE;
    Ok(is_ours.then_some(directory))
}

/// What killed runs have left. One that cannot be removed is left to the next run.
pub(super) fn remove_abandoned(parent: &OwnedFd) {
    let entries = Dir::read_from(parent).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_owned());
    let staging: Vec<_> = names
        .filter(|name: &std::ffi::CString| is_staging(name))
        .collect();
    for name in staging {
        let name = OsStr::from_bytes(name.to_bytes());
        let Ok(Some(directory)) = open_ours(parent, name) else {
            continue;
        };
        // Somebody who still works has it locked.
        if flock(&directory, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = remove(parent, name, &directory);
        }
    }
}

fn is_staging(name: &CStr) -> bool {
    name.to_bytes().starts_with(STAGING.as_bytes())
}

/// What is in it goes through the directory that is open: under its name may be another by now,
/// which stays unless it is empty.
fn remove(parent: &OwnedFd, name: &OsStr, directory: &OwnedFd) -> std::io::Result<()> {
    let content = held(directory).join(CONTENT);
    match content.symlink_metadata() {
        Ok(stat) if stat.is_dir() => std::fs::remove_dir_all(&content)?,
        Ok(_) => std::fs::remove_file(&content)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let parent: BorrowedFd<'_> = std::os::fd::AsFd::as_fd(parent);
    Ok(unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}
