//! Tries a seal by attempt.

use crate::backend::BackendError;
use crate::error::failed;
use fsrvp_idl::ShadowCopyId;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fchmod, fstat, openat, unlinkat};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::path::Path;

/// Tries to create a file in `directory` and to open one there for writing; never writes data.
/// `via` is its path, for messages.
///
/// # Errors
/// `NotSealed` if an attempt succeeded; whatever else stood in the way than a read-only file
/// system.
pub(crate) fn to_write(
    directory: &OwnedFd,
    copy: ShadowCopyId,
    via: &Path,
) -> Result<(), BackendError> {
    let probe = format!(".fsrvpd-probe-{copy}");
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    match openat(directory, probe.as_str(), flags, Mode::RUSR) {
        Err(Errno::ROFS) => {}
        Ok(_) => {
            let _ = unlinkat(directory, probe.as_str(), AtFlags::empty());
            return Err(BackendError::NotSealed(via.to_owned()));
        }
        Err(errno) => return Err(failed("create a probe in", via)(errno)),
    }
    match open_a_file(directory, via)? {
        None | Some(Errno::ROFS) => Ok(()),
        Some(errno) => Err(failed("open for writing in", via)(errno)),
    }
}

/// Opens the first regular file of the directory for writing; its error, if there is such a file.
/// A file system in user space decides about the file's change, not about opening it: the mode that
/// it has already is such a change.
fn open_a_file(directory: &OwnedFd, via: &Path) -> Result<Option<Errno>, BackendError> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    for entry in Dir::read_from(directory).map_err(failed("read", via))? {
        let entry = entry.map_err(failed("read", via))?;
        if entry.file_type() != FileType::RegularFile {
            continue;
        }
        return match openat(directory, entry.file_name(), flags, Mode::empty()) {
            Ok(file) => match fstat(&file).and_then(|stat| fchmod(&file, stat.st_mode.into())) {
                Err(Errno::ROFS) => Ok(Some(Errno::ROFS)),
                Ok(()) | Err(_) => Err(BackendError::NotSealed(via.to_owned())),
            },
            Err(errno) => Ok(Some(errno)),
        };
    }
    Ok(None)
}
