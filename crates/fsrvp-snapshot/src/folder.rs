//! Directories of ours, in which copies and links to them lie.

use crate::backend::BackendError;
use crate::error::{failed, failed_io, unsupported};
use crate::location::open_directory as open_path;
use rustix::fs::{Dir, Mode, OFlags, ResolveFlags, chmod, fchmod, fstat, mkdirat, openat, openat2};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

/// Users pass through to their copies and see no names.
pub(crate) const PASS_THROUGH: Mode = Mode::from_raw_mode(0o711);
/// Others who could put something here could have it taken for ours.
const WRITABLE_BY_OTHERS: Mode = Mode::from_raw_mode(0o022);

/// A directory that holds a server's copies: as `<id>`, or something of that name that leads there.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) fd: OwnedFd,
    /// As the SMB server reaches it.
    pub(crate) path: PathBuf,
}

impl Folder {
    /// The directory, made with all that is missing above it.
    pub(crate) fn make(path: &Path) -> Result<Self, BackendError> {
        make_all(path)?;
        let (parent, name) = (
            path.parent(),
            path.file_name().and_then(|name| name.to_str()),
        );
        let (parent, name) = (parent.unwrap_or(path), name.unwrap_or("."));
        let outer = open_path(parent).map_err(failed("open", parent))?;
        Ok(Self {
            fd: make_directory(outer.as_fd(), name, PASS_THROUGH, path)?,
            path: path.to_owned(),
        })
    }

    /// The directory if it exists and can be opened.
    pub(crate) fn open(path: &Path) -> Option<Self> {
        Some(Self {
            fd: open_path(path).ok()?,
            path: path.to_owned(),
        })
    }
}

/// Makes a directory and all that are missing above it, so that users can pass.
pub(crate) fn make_all(path: &Path) -> Result<(), BackendError> {
    let missing: Vec<_> = path.ancestors().take_while(|path| !path.exists()).collect();
    for path in missing.into_iter().rev() {
        match std::fs::create_dir(path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(failed_io("mkdir", path)(error));
            }
            _ => chmod(path, PASS_THROUGH).map_err(failed("chmod", path))?,
        }
    }
    Ok(())
}

/// Makes a directory of ours with this mode, or opens it if it exists and sets the mode.
pub(crate) fn make_directory(
    parent: BorrowedFd<'_>,
    name: &str,
    mode: Mode,
    path: &Path,
) -> Result<OwnedFd, BackendError> {
    match mkdirat(parent, name, mode) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(failed("mkdir", path)(errno)),
    }
    let fd =
        open_directory(parent, name, path)?.ok_or_else(|| failed("open", path)(Errno::NOENT))?;
    let stat = fstat(&fd).map_err(failed("fstat", path))?;
    // The umask may have taken bits away.
    if Mode::from_raw_mode(stat.st_mode) != mode {
        fchmod(&fd, mode).map_err(failed("fchmod", path))?;
    }
    Ok(fd)
}

/// Opens a directory of ours.
pub(crate) fn open_directory(
    parent: BorrowedFd<'_>,
    name: &str,
    path: &Path,
) -> Result<Option<OwnedFd>, BackendError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = match openat(parent, name, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::NOTDIR | Errno::LOOP) => return Err(BackendError::Conflict(path.to_owned())),
        Err(errno) => return Err(failed("open", path)(errno)),
    };
    let stat = fstat(&fd).map_err(failed("fstat", path))?;
    let others_write = Mode::from_raw_mode(stat.st_mode).intersects(WRITABLE_BY_OTHERS);
    if stat.st_uid != 0 || others_write {
        return Err(BackendError::Conflict(path.to_owned()));
    }
    Ok(Some(fd))
}

/// The names in a directory; those that are no text are not ours.
pub(crate) fn entries(directory: BorrowedFd<'_>, path: &Path) -> Result<Vec<String>, BackendError> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory).map_err(failed("read", path))? {
        let entry = entry.map_err(failed("read", path))?;
        match entry.file_name().to_str() {
            Ok("." | "..") | Err(_) => {}
            Ok(name) => names.push(name.to_owned()),
        }
    }
    Ok(names)
}

/// Whether a path stays below where it starts: no root, no `..`.
pub(crate) fn is_plain(path: &Path) -> bool {
    path.components()
        .all(|part| matches!(part, Component::Normal(_)))
}

/// Opens the share's directory in a copy, to see that it is there.
///
/// # Errors
/// `NotFound`; `Unsupported` for a path that leads out of the copy.
pub(crate) fn open_inner(root: &Path, inner: &Path) -> Result<OwnedFd, BackendError> {
    let not_found = |errno| match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP => BackendError::NotFound(root.join(inner)),
        other => failed("open", root)(other),
    };
    if !is_plain(inner) {
        return Err(unsupported(inner, "is no path below a volume"));
    }
    let directory = open_path(root).map_err(not_found)?;
    let below = if inner.as_os_str().is_empty() {
        Path::new(".")
    } else {
        inner
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    openat2(&directory, below, flags, Mode::empty(), resolve).map_err(not_found)
}
