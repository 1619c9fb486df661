//! A tree as Prepare saw it, and how its directories are opened again without ever holding many of
//! them open.

use super::filter::Filter;
use super::metadata::Stamp;
use rustix::fs::{FileType, Mode, OFlags, RawDir, ResolveFlags, SeekFrom, openat2, seek};
use rustix::io::{Errno, Result};
use std::ffi::{CStr, CString, OsStr};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

/// Nothing that is opened by name leads out of the directory that it is opened in.
pub(super) const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// Directories of one path that are held open at a time.
const MOST_OPEN: usize = 64;
/// Room for entries that are read at a time.
const LISTING: usize = 64 << 10;

/// The directories of a tree; parents come before their children.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) directories: Vec<Directory>,
}

/// A directory of a tree.
#[derive(Debug)]
pub(super) struct Directory {
    /// Its place among the directories; the root is its own parent.
    pub(super) parent: usize,
    pub(super) name: CString,
    /// Levels below the root.
    pub(super) depth: u32,
    pub(super) stamp: Stamp,
    pub(super) filter: Arc<Filter>,
    /// Its files, by name.
    pub(super) files: Vec<File>,
    /// The names and places of its directories, by name.
    pub(super) children: Vec<(CString, usize)>,
}

/// A regular file.
#[derive(Debug)]
pub(super) struct File {
    pub(super) name: CString,
    pub(super) stamp: Stamp,
    /// Whether it has attributes that a change of its data takes away.
    pub(super) capability: bool,
}

impl Tree {
    /// The path of a directory below the root.
    pub(super) fn path(&self, directory: usize) -> PathBuf {
        let mut names = Vec::new();
        let mut at = directory;
        while at != 0
            && let Some(node) = self.directories.get(at)
        {
            names.push(OsStr::from_bytes(node.name.as_bytes()));
            at = node.parent;
        }
        names.iter().rev().collect()
    }

    /// The path of an entry of a directory.
    pub(super) fn entry(&self, directory: usize, name: &CStr) -> PathBuf {
        self.path(directory)
            .join(OsStr::from_bytes(name.to_bytes()))
    }
}

/// Opens directories of a [`Tree`] step by step below its root, and keeps open those that lie on
/// the path to the last one.
#[derive(Debug)]
pub(super) struct Chain<'a> {
    root: BorrowedFd<'a>,
    open: Vec<(usize, OwnedFd)>,
}

impl<'a> Chain<'a> {
    pub(super) fn new(root: BorrowedFd<'a>) -> Self {
        Self {
            root,
            open: Vec::new(),
        }
    }

    /// Opens a directory of the tree.
    ///
    /// # Errors
    /// `NOENT`, `NOTDIR`, `LOOP`, `XDEV` if the tree is not as it was.
    pub(super) fn open(&mut self, tree: &Tree, directory: usize) -> Result<BorrowedFd<'_>> {
        let mut missing = Vec::new();
        let mut at = directory;
        while at != 0 {
            if let Some(known) = self.open.iter().rposition(|(open, _)| *open == at) {
                self.open.truncate(known.saturating_add(1));
                break;
            }
            missing.push(at);
            at = tree.directories.get(at).ok_or(Errno::NOENT)?.parent;
        }
        if at == 0 {
            self.open.clear();
        }
        for at in missing.into_iter().rev() {
            let name = &tree.directories.get(at).ok_or(Errno::NOENT)?.name;
            let parent = self.last();
            let opened = open_directory(parent, name)?;
            if self.open.len() >= MOST_OPEN {
                self.open.remove(0);
            }
            self.open.push((at, opened));
        }
        Ok(self.last())
    }

    fn last(&self) -> BorrowedFd<'_> {
        self.open.last().map_or(self.root, |(_, fd)| fd.as_fd())
    }
}

/// Opens a directory by its name in another one.
pub(super) fn open_directory(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    openat2(parent, name, flags, Mode::empty(), BENEATH)
}

/// Whether a directory that could not be opened is not where it was. The kernel also says `XDEV`
/// when what it found is renamed out of the way at this moment.
pub(super) fn has_moved(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV
    )
}

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: CString,
    /// `Unknown` where the file system does not say.
    pub(super) kind: FileType,
    pub(super) inode: u64,
}

/// Reads all names of a directory but `.` and `..`, by name.
pub(super) fn list(directory: BorrowedFd<'_>) -> Result<Vec<Entry>> {
    seek(directory, SeekFrom::Start(0))?;
    let mut buffer = vec![MaybeUninit::uninit(); LISTING];
    let mut entries = Vec::new();
    let mut reader = RawDir::new(directory, &mut buffer);
    while let Some(entry) = reader.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        entries.push(Entry {
            name: name.to_owned(),
            kind: entry.file_type(),
            inode: entry.ino(),
        });
    }
    entries.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    Ok(entries)
}
