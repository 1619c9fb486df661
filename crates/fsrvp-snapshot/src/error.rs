//! From error numbers to what the caller can do.

use crate::backend::BackendError;
use rustix::io::Errno;
use std::io;
use std::path::Path;
use uuid::Uuid;

/// The error of `operation` on `path`, for `map_err`.
pub(crate) fn failed(operation: &'static str, path: &Path) -> impl FnOnce(Errno) -> BackendError {
    move |errno| match errno {
        Errno::NOSPC => BackendError::NoSpace(path.display().to_string()),
        Errno::DQUOT => BackendError::NoSpace(format!(
            "{} (a quota is used up, of a quota group or a user, not the disk)",
            path.display()
        )),
        Errno::PERM | Errno::ACCESS => BackendError::Denied {
            operation,
            path: path.to_owned(),
        },
        Errno::BUSY => BackendError::Busy(path.display().to_string()),
        other => BackendError::Io {
            operation,
            path: path.to_owned(),
            source: other.into(),
        },
    }
}

/// The same for errors of the standard library.
pub(crate) fn failed_io(
    operation: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> BackendError {
    move |source| match Errno::from_io_error(&source) {
        Some(errno) => failed(operation, path)(errno),
        None => BackendError::Io {
            operation,
            path: path.to_owned(),
            source,
        },
    }
}

pub(crate) fn unsupported(path: &Path, reason: impl Into<String>) -> BackendError {
    BackendError::Unsupported {
        path: path.to_owned(),
        reason: reason.into(),
    }
}

/// The file system `id`, which a volume is part of, is not mounted.
pub(crate) fn not_mounted(id: Uuid) -> BackendError {
    BackendError::Io {
        operation: "find the mounted file system",
        path: id.to_string().into(),
        source: Errno::NODEV.into(),
    }
}
