//! Files of a source as they are opened, and what is refused.

use super::tree::BENEATH;
use crate::backend::{BackendError, Deadline};
use crate::error::{failed, unsupported};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, openat2, statat};
use rustix::io::Errno;
use std::ffi::CStr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// How often, and after which pause, a file is opened again that somebody holds a lease on, who
/// has been told by the first attempt.
const ATTEMPTS: usize = 100;
const PAUSE: Duration = Duration::from_millis(10);

/// What a name of a source leads to.
#[derive(Debug)]
pub(super) enum Opened {
    /// A regular file.
    File(OwnedFd, Stat),
    /// Nothing any more.
    Gone,
    /// Something else.
    Other(FileType),
}

/// Opens what should be a regular file, for reading; `path` is for messages.
///
/// Whatever has taken its place since the name was read: a symbolic link is not followed, a pipe
/// is not waited for.
pub(super) fn open(
    directory: BorrowedFd<'_>,
    name: &CStr,
    path: &dyn Fn() -> std::path::PathBuf,
    deadline: &Deadline,
) -> Result<Opened, BackendError> {
    let flags = OFlags::RDONLY
        | OFlags::NONBLOCK
        | OFlags::NOFOLLOW
        | OFlags::NOATIME
        | OFlags::NOCTTY
        | OFlags::CLOEXEC;
    for _ in 0..ATTEMPTS {
        match openat2(directory, name, flags, Mode::empty(), BENEATH) {
            Ok(file) => {
                let stat = fstat(&file).map_err(|errno| failed("fstat", &path())(errno))?;
                return Ok(match FileType::from_raw_mode(stat.st_mode) {
                    FileType::RegularFile => Opened::File(file, stat),
                    other => Opened::Other(other),
                });
            }
            Err(Errno::NOENT) => return Ok(Opened::Gone),
            Err(Errno::AGAIN) => {
                deadline.check()?;
                std::thread::sleep(PAUSE);
            }
            Err(errno) => {
                return match kind(directory, name) {
                    Ok(FileType::RegularFile) => Err(failed("open", &path())(errno)),
                    Ok(other) => Ok(Opened::Other(other)),
                    Err(Errno::NOENT) => Ok(Opened::Gone),
                    Err(_) => Err(failed("open", &path())(errno)),
                };
            }
        }
    }
    Err(BackendError::Busy(path().display().to_string()))
}

/// What a name is, without following it.
pub(super) fn kind(directory: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<FileType> {
    let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode))
}

/// The refusal of what is neither a directory nor a regular file.
pub(super) fn refused(path: &Path, kind: FileType) -> BackendError {
    let what = match kind {
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::RegularFile | FileType::Directory | FileType::Unknown => "of another kind",
    };
    unsupported(
        path,
        format!("is {what}: a share that is cloned holds directories and regular files only"),
    )
}

/// The refusal of a file with several names.
pub(super) fn refused_link(path: &Path, links: u32) -> BackendError {
    unsupported(
        path,
        format!(
            "is one of {links} names of a file (hard links), which the configuration refuses; \
             hard_links = \"keep\" copies them"
        ),
    )
}
