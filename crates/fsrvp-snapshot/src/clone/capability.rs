//! Whether a file system can clone files: tried, never guessed from its name.

use crate::backend::BackendError;
use crate::error::{failed, unsupported};
use rustix::fs::{Mode, OFlags, fstat, ioctl_ficlone, openat};
use rustix::io::{Errno, pread, pwrite};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

/// Clones a file without a name in `directory` and checks that the clone is a copy of its own.
/// Leaves nothing behind.
///
/// # Errors
/// `Unsupported` if the file system cannot; `path` and `fs_type` are for its message.
pub(super) fn try_to_clone(
    directory: BorrowedFd<'_>,
    path: &Path,
    fs_type: &str,
) -> Result<(), BackendError> {
    let cannot = |errno, what: &str| match errno {
        Errno::OPNOTSUPP | Errno::NOTTY | Errno::INVAL | Errno::XDEV | Errno::ISDIR => unsupported(
            path,
            format!("is on {fs_type}, which cannot {what} here ({errno})"),
        ),
        other => failed("try to clone a file in", path)(other),
    };
    let file = || {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        openat(directory, ".", flags, Mode::RUSR | Mode::WUSR)
            .map_err(|errno| cannot(errno, "make files without a name (O_TMPFILE)"))
    };
    let (source, target) = (file()?, file()?);
    let stat = fstat(&source).map_err(failed("fstat", path))?;
    let block = usize::try_from(stat.st_blksize)
        .unwrap_or(4096)
        .clamp(512, 1 << 20);
    write(&source, &vec![7; 2 * block], path)?;
    ioctl_ficlone(&target, &source)
        .map_err(|errno| cannot(errno, "share blocks between files (FICLONE)"))?;
    write(&source, &vec![8; block], path)?;
    let mut found = vec![0; 2 * block];
    let length = pread(&target, &mut found[..], 0).map_err(failed("read", path))?;
    if length == found.len() && found.iter().all(|&byte| byte == 7) {
        Ok(())
    } else {
        Err(unsupported(
            path,
            format!("is on {fs_type}, whose clones change with their source"),
        ))
    }
}

fn write(file: &OwnedFd, data: &[u8], path: &Path) -> Result<(), BackendError> {
    match pwrite(file, data, 0).map_err(failed("write", path))? {
        length if length == data.len() => Ok(()),
        _ => Err(BackendError::NoSpace(path.display().to_string())),
    }
}
