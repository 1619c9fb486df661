//! Puts a file or a tree where another one is, in one step.
//!
//! What comes back is copied into a directory of root's beside its place, by reflink where the file
//! system can, made durable, and then changes places with what is there. Whoever is killed on the
//! way leaves the share as it was, or as it should be; the next run removes what lies beside it.
//!
//! Users may write the directories that this works in, so that nothing is found by its path twice:
//! directories are opened once, beneath the share and without following links, and everything goes
//! on from there.

mod copy;
mod open_files;
mod stage;

pub(crate) use open_files::open_over_smb;

use crate::{Exit, Failure};
use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, RenameFlags, ResolveFlags, StatxAttributes, StatxFlags, openat,
    openat2, statat, statx, syncfs,
};
use rustix::io::Errno;
use stage::Stage;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Component, Path, PathBuf};

/// Inode of the root of a btrfs subvolume.
const SUBVOLUME_ROOT: u64 = 256;

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// An entry of a directory that is held open.
#[derive(Debug)]
pub(crate) struct Entry {
    parent: OwnedFd,
    name: OsString,
    /// For people: where it is.
    shown: PathBuf,
}

/// Whether something is replaced, decided before anything is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It changes places with what is there.
    Replace,
    /// There must be nothing.
    New,
}

impl Entry {
    /// `inner` below the directory `root`, whose own path may have links in it; what is below it may
    /// not. An empty `inner` is the root itself, as an entry of the directory above.
    ///
    /// # Errors
    /// No such directory, or a link on the way.
    pub(crate) fn of(root: &Path, inner: &Path) -> Result<Self, Failure> {
        let real = root.canonicalize().map_err(failed("find", root))?;
        // A joined nothing would end with a slash.
        let shown = match inner.as_os_str().is_empty() {
            true => real.clone(),
            false => real.join(inner),
        };
        let (base, below) = if inner.as_os_str().is_empty() {
            (real.parent(), Path::new(""))
        } else {
            (
                Some(real.as_path()),
                inner.parent().unwrap_or(Path::new("")),
            )
        };
        let (Some(base), Some(name)) = (base, shown.file_name()) else {
            let text = format!("{} is no place to restore to", shown.display());
            return Err(Failure::new(Exit::Usage, text));
        };
        let opened = openat(CWD, base, DIRECTORY, Mode::empty());
        let base = opened.map_err(|errno| failed("open", base)(errno.into()))?;
        Ok(Self {
            parent: beneath(&base, below, &shown)?,
            name: name.to_owned(),
            shown,
        })
    }

    /// The entry of the same directory with another name.
    pub(crate) fn beside(self, name: &OsStr) -> Self {
        Self {
            shown: self.shown.with_file_name(name),
            name: name.to_owned(),
            parent: self.parent,
        }
    }

    /// Where it is, for people and for a look at what is open.
    pub(crate) fn shown(&self) -> &Path {
        &self.shown
    }

    /// Whether something is there now.
    pub(crate) fn exists(&self) -> bool {
        statat(&self.parent, &self.name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// A path that leads there through the directory that is held open, for other programs.
    fn held_path(&self) -> PathBuf {
        let fd = self.parent.as_raw_fd();
        PathBuf::from(format!("/proc/{}/fd/{fd}", std::process::id())).join(&self.name)
    }
}

/// Whether this can be replaced in one step: the root of a mount, or of a subvolume, stays where it is.
///
/// # Errors
/// It cannot.
pub(crate) fn check_replaceable(target: &Entry) -> Result<(), Failure> {
    let mask = StatxFlags::BASIC_STATS;
    let looked = statx(
        &target.parent,
        &target.name,
        AtFlags::SYMLINK_NOFOLLOW,
        mask,
    );
    let stat = match looked {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(failed("look at", &target.shown)(errno.into())),
    };
    let is_mounted = stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
    if is_mounted || stat.stx_ino == SUBVOLUME_ROOT {
        let what = if is_mounted {
            "the root of a mount"
        } else {
            "a subvolume"
        };
        let text = format!(
            "{} is {what}, which cannot change places in one step: restore its entries one by one",
            target.shown.display()
        );
        return Err(Failure::new(Exit::Usage, text));
    }
    Ok(())
}

fn beneath(base: &OwnedFd, below: &Path, shown: &Path) -> Result<OwnedFd, Failure> {
    let below = if below.as_os_str().is_empty() {
        Path::new(".")
    } else {
        below
    };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(base, below, DIRECTORY, Mode::empty(), resolve).map_err(|errno| match errno {
        Errno::LOOP | Errno::XDEV => {
            let text = format!("{} leads over a symbolic link", shown.display());
            Failure::new(Exit::Usage, text)
        }
        Errno::NOENT | Errno::NOTDIR => {
            let text = format!("there is no directory for {}", shown.display());
            Failure::new(Exit::NotFound, text)
        }
        errno => failed("open the directory of", shown)(errno.into()),
    })
}

/// A path that stays below the share; empty for its root.
///
/// # Errors
/// It may lead elsewhere.
pub(crate) fn inside(path: &Path) -> Result<PathBuf, Failure> {
    let parts = path
        .components()
        .filter(|part| !matches!(part, Component::CurDir));
    if !parts
        .clone()
        .all(|part| matches!(part, Component::Normal(_)))
    {
        let text = format!("{} is no path below a share", path.display());
        return Err(Failure::new(Exit::Usage, text));
    }
    Ok(parts.collect())
}

/// What was brought back.
#[derive(Debug)]
pub(crate) struct Restored {
    /// How many files.
    pub(crate) files: u64,
    /// Why what was there before, or a part of it, still lies beside the target; in words.
    pub(crate) left: Option<String>,
}

/// Puts a copy of `source` where `target` is, in one step. `may` is asked again before that.
///
/// # Errors
/// What failed; the target is as it was, unless the text says otherwise.
pub(crate) fn bring_back(
    source: &Entry,
    target: &Entry,
    may: impl Fn() -> Result<(), Failure>,
) -> Result<Restored, Failure> {
    if !source.exists() {
        let text = format!("there is no {}", source.shown.display());
        return Err(Failure::new(Exit::NotFound, text));
    }
    let way = if target.exists() {
        Way::Replace
    } else {
        Way::New
    };
    stage::remove_abandoned(&target.parent);
    let stage = Stage::new(
        &target.parent,
        target.shown.parent().unwrap_or(&target.shown),
    )?;
    let swapped = copy::copy(source, &stage).and_then(|files| {
        // The copy is durable before it is seen.
        sync(target)?;
        may()?;
        swap(&stage, target, way)?;
        Ok(files)
    });
    let files = match swapped {
        Ok(files) => files,
        Err(failure) => {
            return Err(match stage.remove() {
                Ok(()) => failure,
                Err(left) => Failure::new(failure.exit, format!("{failure}; besides, {left}")),
            });
        }
    };
    if let Err(failure) = sync(target) {
        // The kernel does not say that what was brought back will be there after a power cut.
        return Err(match (way, stage.keep()) {
            (Way::Replace, Some(kept)) => Failure::new(
                Exit::Failed,
                format!(
                    "{failure}; what was there before is kept as {}",
                    kept.display()
                ),
            ),
            _ => failure,
        });
    }
    let left = stage.remove().err().map(|failure| failure.to_string());
    Ok(Restored { files, left })
}

fn sync(target: &Entry) -> Result<(), Failure> {
    let synced = syncfs(&target.parent);
    synced.map_err(|errno| failed("make durable", &target.shown)(errno.into()))
}

fn swap(stage: &Stage, target: &Entry, way: Way) -> Result<(), Failure> {
    let flags = match way {
        Way::Replace => RenameFlags::EXCHANGE,
        Way::New => RenameFlags::NOREPLACE,
    };
    let renamed = stage.move_out(&target.parent, &target.name, flags);
    renamed.map_err(|errno| match (way, errno) {
        (Way::New, Errno::EXIST) => {
            let text = format!(
                "{} was made by somebody meanwhile; it was left alone",
                target.shown.display()
            );
            Failure::new(Exit::BadState, text)
        }
        (Way::Replace, Errno::NOENT) => {
            let text = format!(
                "{} was removed by somebody meanwhile; nothing was put there",
                target.shown.display()
            );
            Failure::new(Exit::BadState, text)
        }
        (_, errno) => failed("put into its place", &target.shown)(errno.into()),
    })
}

fn failed(what: &str, path: &Path) -> impl FnOnce(std::io::Error) -> Failure {
    let text = format!("cannot {what} {}", path.display());
    move |error| Failure::new(Exit::Failed, format!("{text}: {error}"))
}

#[cfg(test)]
mod tests;
