//! The `np` directory and the socket in it.

use rustix::fs::{AtFlags, CWD, FileType, Mode, Stat};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Mode that Samba demands of its `np` directory, exactly.
const NP_MODE: u32 = 0o700;
/// Mode with which Samba makes the directory above it.
const NCALRPC_MODE: u32 = 0o755;
/// Longest path of a Unix socket, without the NUL.
const MAX_SOCKET_PATH: usize = 107;

/// The place of the socket cannot be used. The text says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// A directory belongs to somebody else.
    #[error(
        "{path} belongs to uid {uid}, but smbd accepts it only if it belongs to uid {expected}; \
         run: chown {expected} {path}"
    )]
    Owner {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        uid: u32,
        /// Who must own it.
        expected: u32,
    },
    /// A directory has the wrong mode.
    #[error("{path} has mode {mode:04o}, but {expected}; run: chmod {fix:04o} {path}")]
    Mode {
        /// The directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// What is demanded.
        expected: &'static str,
        /// A mode that is accepted.
        fix: u32,
    },
    /// Something that is no directory has its name.
    #[error("{0} is not a directory; remove it, or correct \"ncalrpc dir\" in smb.conf")]
    NotADirectory(PathBuf),
    /// The path does not fit into a socket address.
    #[error(
        "{path} has {length} bytes, a socket's path can have 107; shorten \"ncalrpc dir\" in smb.conf"
    )]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its length.
        length: usize,
    },
    /// A system call failed.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl PlaceError {
    pub(super) fn io(action: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source: source.into(),
        }
    }
}

/// Identity of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Inode {
    device: u64,
    number: u64,
}

impl Inode {
    fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            number: stat.st_ino,
        }
    }
}

/// Where the socket stands.
#[derive(Debug, Clone)]
pub(super) struct Place {
    directory: PathBuf,
    socket: PathBuf,
    temporary: PathBuf,
}

impl Place {
    pub(super) fn new(directory: &Path, name: &str) -> Result<Self, PlaceError> {
        let place = Self {
            directory: directory.to_owned(),
            socket: directory.join(name),
            temporary: directory.join(format!(".{name}.new")),
        };
        let length = place.temporary.as_os_str().as_bytes().len();
        if length > MAX_SOCKET_PATH {
            return Err(PlaceError::TooLong {
                path: place.temporary,
                length,
            });
        }
        Ok(place)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(super) fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// Creates what is missing and checks what is there.
    ///
    /// smbd refuses to use the directories unless owner and mode are what Samba itself makes.
    pub(super) fn prepare(&self) -> Result<(), PlaceError> {
        let owner = rustix::process::geteuid().as_raw();
        if let Some(above) = self.directory.parent() {
            create(above, NCALRPC_MODE)?;
            let stat = directory(above)?;
            check_owner(above, &stat, owner)?;
            if stat.st_mode & 0o022 != 0 || stat.st_mode & 0o500 != 0o500 {
                return Err(PlaceError::Mode {
                    path: above.to_owned(),
                    mode: stat.st_mode & 0o7777,
                    expected: "only its owner may be able to write into it",
                    fix: NCALRPC_MODE,
                });
            }
        }
        create(&self.directory, NP_MODE)?;
        let stat = directory(&self.directory)?;
        check_owner(&self.directory, &stat, owner)?;
        if stat.st_mode & 0o7777 != NP_MODE {
            return Err(PlaceError::Mode {
                path: self.directory.clone(),
                mode: stat.st_mode & 0o7777,
                expected: "smbd accepts exactly 0700",
                fix: NP_MODE,
            });
        }
        Ok(())
    }

    /// Who has the socket's name now.
    pub(super) fn holder(&self) -> Option<Inode> {
        inode_of(&self.socket)
    }

    /// Moves the socket at the temporary name to its final one; gives its identity.
    pub(super) fn claim(&self) -> Result<Inode, PlaceError> {
        rustix::fs::chmod(&self.temporary, Mode::from_raw_mode(0o600))
            .map_err(|error| PlaceError::io("change the mode of", &self.temporary, error))?;
        let inode = inode_of(&self.temporary)
            .ok_or_else(|| PlaceError::io("find", &self.temporary, io::ErrorKind::NotFound))?;
        rustix::fs::rename(&self.temporary, &self.socket)
            .map_err(|error| PlaceError::io("rename to", &self.socket, error))?;
        Ok(inode)
    }

    /// Removes a leftover of an earlier try.
    pub(super) fn clear_temporary(&self) -> Result<(), PlaceError> {
        match rustix::fs::unlink(&self.temporary) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(error) => Err(PlaceError::io("remove", &self.temporary, error)),
        }
    }

    /// Removes the socket if it is still `inode`.
    pub(super) fn release(&self, inode: Inode) {
        if self.holder() == Some(inode)
            && let Err(error) = rustix::fs::unlink(&self.socket)
        {
            tracing::warn!(path = %self.socket.display(), %error, "cannot remove the pipe's socket");
        }
    }
}

fn inode_of(path: &Path) -> Option<Inode> {
    rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)
        .ok()
        .map(|stat| Inode::of(&stat))
}

/// Makes `path` with exactly `mode`, and with Samba's usual mode whatever is missing above it.
fn create(path: &Path, mode: u32) -> Result<(), PlaceError> {
    if let Some(above) = path.parent()
        && !above.as_os_str().is_empty()
        && !above.exists()
    {
        create(above, NCALRPC_MODE)?;
    }
    let raw = Mode::from_raw_mode(mode);
    match rustix::fs::mkdir(path, raw) {
        // The umask may have taken bits away.
        Ok(()) => rustix::fs::chmod(path, raw)
            .map_err(|error| PlaceError::io("change the mode of", path, error)),
        Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(error) => Err(PlaceError::io("create", path, error)),
    }
}

fn directory(path: &Path) -> Result<Stat, PlaceError> {
    let stat = rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|error| PlaceError::io("look at", path, error))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Err(PlaceError::NotADirectory(path.to_owned()));
    }
    Ok(stat)
}

fn check_owner(path: &Path, stat: &Stat, expected: u32) -> Result<(), PlaceError> {
    if stat.st_uid != expected {
        return Err(PlaceError::Owner {
            path: path.to_owned(),
            uid: stat.st_uid,
            expected,
        });
    }
    Ok(())
}
