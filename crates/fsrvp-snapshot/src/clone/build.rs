//! Walks a tree: to check it, to build its skeleton, or to copy all of it at once.

use super::config::{Data, HardLinks, Rules};
use super::data;
use super::entry::{self, Opened};
use super::filter::Filter;
use super::metadata::{Metadata, Stamp, Target, copy_times};
use super::tree::{Chain, Directory, Entry, File, Tree, has_moved, list, open_directory};
use crate::backend::{BackendError, Deadline};
use crate::error::{failed, unsupported};
use fsrvp_sys::reflink;
use rustix::fs::{
    AtFlags, FileType, IFlags, Mode, OFlags, Stat, fstat, ftruncate, ioctl_getflags,
    ioctl_setflags, linkat, mkdirat, openat, statat,
};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// Files up to this size are taken for one extent where counting them takes a walk.
const SMALL: i64 = 1 << 20;

/// What a walk does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// Looks whether the tree can be copied.
    Check,
    /// Makes directories and files with everything but their data.
    Skeleton,
    /// Makes a complete copy.
    Full,
}

/// What a walk has met.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) files: u64,
    pub(super) directories: u64,
    /// Space that the files take.
    pub(super) bytes: u64,
    pub(super) extents: u64,
}

/// What holds for a whole tree.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    /// The share's directory, for messages.
    pub(super) share: PathBuf,
    pub(super) rules: Rules,
    /// `st_dev` of the tree: that of a btrfs subvolume.
    pub(super) device: u64,
    /// Inode of the directory with all servers' areas, if it can be met.
    pub(super) skip: Option<u64>,
    pub(super) is_btrfs: bool,
    pub(super) data: Data,
    pub(super) now: fn() -> SystemTime,
}

/// Where the names of a file with several names were met first: below the root of the copy.
pub(super) type Links = HashMap<u64, PathBuf>;

/// A walk.
pub(super) struct Builder<'a> {
    pub(super) setting: &'a Setting,
    pub(super) deadline: &'a Deadline,
    /// Path of the walk's root below the share's directory.
    pub(super) base: PathBuf,
    /// Root of the copy, in which hard links are made.
    pub(super) copy: Option<BorrowedFd<'a>>,
    pub(super) metadata: &'a mut Metadata,
    pub(super) links: &'a mut Links,
    pub(super) sums: Sums,
    pub(super) tree: Tree,
}

/// The two sides of a directory that is walked.
#[derive(Clone, Copy)]
struct Sides<'a> {
    source: BorrowedFd<'a>,
    target: Option<BorrowedFd<'a>>,
    now: SystemTime,
}

impl Builder<'_> {
    /// Walks the tree below `source`, which is `depth` levels below the share's directory, and
    /// makes its copy in the empty directory `target`, if there is one.
    ///
    /// # Errors
    /// `Unsupported` with the first path that cannot be copied.
    pub(super) fn walk(
        &mut self,
        source: BorrowedFd<'_>,
        target: Option<BorrowedFd<'_>>,
        (depth, filter): (u32, Arc<Filter>),
        how: How,
    ) -> Result<(), BackendError> {
        let stat = fstat(source).map_err(|errno| failed("fstat", &self.shown(0, c""))(errno))?;
        self.tree.directories.push(Directory {
            parent: 0,
            name: CString::default(),
            depth,
            stamp: Stamp::of(&stat, SystemTime::UNIX_EPOCH),
            filter,
            files: Vec::new(),
            children: Vec::new(),
        });
        let mut sources = Chain::new(source);
        let mut targets = target.map(Chain::new);
        let mut left = vec![0];
        while let Some(at) = left.pop() {
            self.deadline.check()?;
            let now = (self.setting.now)();
            let source = match sources.open(&self.tree, at) {
                Ok(source) => source,
                // Gone since its name was read: the Commit will see what is there instead.
                Err(errno) if at != 0 && has_moved(errno) => continue,
                Err(errno) => return Err(failed("open", &self.shown(at, c""))(errno)),
            };
            let target = match &mut targets {
                Some(targets) => Some(
                    targets
                        .open(&self.tree, at)
                        .map_err(|errno| failed("open", &self.shown(at, c""))(errno))?,
                ),
                None => None,
            };
            let sides = Sides {
                source,
                target,
                now,
            };
            let before = self.tree.directories.len();
            self.directory(at, sides, how)?;
            left.extend((before..self.tree.directories.len()).rev());
        }
        if let Some(targets) = &mut targets {
            self.finish_directories(&mut sources, targets)?;
        }
        Ok(())
    }

    /// Makes a complete copy of what is called `name` in `source`, which is `depth` levels below
    /// the share's directory; whether there is such a thing. `filter` is about the name.
    pub(super) fn one(
        mut self,
        source: BorrowedFd<'_>,
        target: BorrowedFd<'_>,
        name: &CStr,
        (depth, filter): (u32, Arc<Filter>),
    ) -> Result<bool, BackendError> {
        let cannot = |errno| failed("copy", &self.shown(0, name))(errno);
        let kind = match entry::kind(source, name) {
            Ok(kind) => kind,
            Err(Errno::NOENT) => return Ok(false),
            Err(errno) => return Err(cannot(errno)),
        };
        match kind {
            FileType::Directory => {
                let depth = self.deeper(depth, 0, name)?;
                let from = match open_directory(source, name) {
                    Ok(from) => from,
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(false),
                    Err(Errno::XDEV) => return Err(moving(&self.shown(0, name))),
                    Err(errno) => return Err(cannot(errno)),
                };
                mkdirat(target, name, Mode::RWXU).map_err(cannot)?;
                let to = open_directory(target, name).map_err(cannot)?;
                self.base.push(OsStr::from_bytes(name.to_bytes()));
                self.walk(from.as_fd(), Some(to.as_fd()), (depth, filter), How::Full)?;
                Ok(true)
            }
            FileType::RegularFile if !filter.takes_files() => {
                Err(named_below_a_file(&self.shown(0, name)))
            }
            FileType::RegularFile => {
                let sides = Sides {
                    source,
                    target: Some(target),
                    now: SystemTime::UNIX_EPOCH,
                };
                Ok(self.file(0, sides, name, How::Full)?.is_some())
            }
            other => Err(entry::refused(&self.shown(0, name), other)),
        }
    }

    /// The depth of a directory in one of `depth`.
    fn deeper(&self, depth: u32, at: usize, name: &CStr) -> Result<u32, BackendError> {
        let depth = depth.saturating_add(1);
        let limit = self.setting.rules.depth;
        if limit != 0 && depth > limit {
            return Err(too_deep(&self.shown(at, name), limit));
        }
        Ok(depth)
    }

    /// The path of an entry as a person knows it.
    fn shown(&self, directory: usize, name: &CStr) -> PathBuf {
        let path = self.setting.share.join(&self.base);
        let below = self.tree.entry(directory, name);
        // No slash after a name that nothing follows.
        path.join(below).components().collect()
    }

    fn directory(&mut self, at: usize, sides: Sides<'_>, how: How) -> Result<(), BackendError> {
        let shown = |this: &Self, name: &CStr| this.shown(at, name);
        let stat =
            fstat(sides.source).map_err(|errno| failed("fstat", &shown(self, c""))(errno))?;
        if stat.st_dev != self.setting.device {
            return Err(unsupported(
                &shown(self, c""),
                "is a subvolume of its own below the share; a copy would not hold it",
            ));
        }
        self.sums.directories = self.sums.directories.saturating_add(1);
        let entries =
            list(sides.source).map_err(|errno| failed("read", &shown(self, c""))(errno))?;
        let (depth, filter) = match self.tree.directories.get_mut(at) {
            Some(node) => {
                node.stamp = Stamp::of(&stat, sides.now);
                (node.depth, Arc::clone(&node.filter))
            }
            None => return Ok(()),
        };
        require(&filter, &entries, |name| shown(self, name))?;
        let (mut files, mut children) = (Vec::new(), Vec::new());
        for Entry { name, kind, inode } in entries {
            let Some(below) = filter.below(&name) else {
                continue;
            };
            let kind = match kind {
                FileType::Unknown => match entry::kind(sides.source, &name) {
                    Ok(kind) => kind,
                    Err(Errno::NOENT) => continue,
                    Err(errno) => return Err(failed("stat", &shown(self, &name))(errno)),
                },
                known => known,
            };
            match kind {
                FileType::Directory if self.setting.skip == Some(inode) => {}
                FileType::Directory => {
                    let depth = self.deeper(depth, at, &name)?;
                    if let Some(target) = sides.target {
                        mkdirat(target, &name, Mode::RWXU)
                            .map_err(|errno| failed("copy", &shown(self, &name))(errno))?;
                    }
                    children.push((name.clone(), self.tree.directories.len()));
                    self.tree.directories.push(Directory {
                        parent: at,
                        name,
                        depth,
                        stamp: Stamp::of(&stat, SystemTime::UNIX_EPOCH),
                        filter: below,
                        files: Vec::new(),
                        children: Vec::new(),
                    });
                }
                FileType::RegularFile => {
                    if !below.takes_files() {
                        return Err(named_below_a_file(&shown(self, &name)));
                    }
                    files.extend(self.file(at, sides, &name, how)?);
                }
                other => return Err(entry::refused(&shown(self, &name), other)),
            }
        }
        if let Some(node) = self.tree.directories.get_mut(at) {
            node.files = files;
            node.children = children;
        }
        Ok(())
    }

    /// Checks a file, or makes it in the copy; nothing if it has gone.
    fn file(
        &mut self,
        at: usize,
        sides: Sides<'_>,
        name: &CStr,
        how: How,
    ) -> Result<Option<File>, BackendError> {
        self.deadline.check()?;
        let Some(target) = sides.target else {
            return self.check_file(at, sides.source, name).map(|()| None);
        };
        let opened = entry::open(sides.source, name, &|| self.shown(at, name), self.deadline)?;
        let (source, stat) = match opened {
            Opened::File(source, stat) => (source, stat),
            Opened::Gone => return Ok(None),
            Opened::Other(kind) => return Err(entry::refused(&self.shown(at, name), kind)),
        };
        let stamp = Stamp::of(&stat, sides.now);
        if stamp.links > 1 {
            self.check_links(at, name, stamp.links)?;
            if self.link(at, target, name, &stat)? {
                return Ok(Some(File {
                    name: name.to_owned(),
                    stamp,
                    capability: false,
                }));
            }
        }
        self.count(at, name, &source, &stat)?;
        let capability = self
            .make(&source, target, name, &stat, how)
            .map_err(|error| error.at(|| self.shown(at, name)))?;
        Ok(Some(File {
            name: name.to_owned(),
            stamp,
            capability,
        }))
    }

    fn check_file(
        &mut self,
        at: usize,
        source: BorrowedFd<'_>,
        name: &CStr,
    ) -> Result<(), BackendError> {
        self.sums.files = self.sums.files.saturating_add(1);
        if self.setting.rules.hard_links == HardLinks::Keep && self.setting.data == Data::Shared {
            return Ok(());
        }
        match statat(source, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => {
                let links = u32::try_from(stat.st_nlink).unwrap_or(u32::MAX);
                self.check_links(at, name, links)?;
                // Of several names the first counts.
                let is_new = links == 1 || self.links.insert(stat.st_ino, PathBuf::new()).is_none();
                if is_new {
                    self.sums.bytes = self.sums.bytes.saturating_add(space_of(&stat));
                }
                Ok(())
            }
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(failed("stat", &self.shown(at, name))(errno)),
        }
    }

    fn check_links(&self, at: usize, name: &CStr, links: u32) -> Result<(), BackendError> {
        if links > 1 && self.setting.rules.hard_links == HardLinks::Refuse {
            return Err(entry::refused_link(&self.shown(at, name), links));
        }
        Ok(())
    }

    /// Makes a further name of a file that has been copied under another one; whether it has.
    fn link(
        &mut self,
        at: usize,
        target: BorrowedFd<'_>,
        name: &CStr,
        stat: &Stat,
    ) -> Result<bool, BackendError> {
        let path = self.base.join(self.tree.entry(at, name));
        match (self.links.get(&stat.st_ino), self.copy) {
            (Some(first), Some(copy)) => {
                linkat(copy, first, target, name, AtFlags::empty())
                    .map_err(|errno| failed("link", &self.shown(at, name))(errno))?;
                Ok(true)
            }
            _ => {
                self.links.insert(stat.st_ino, path);
                Ok(false)
            }
        }
    }

    fn count(
        &mut self,
        at: usize,
        name: &CStr,
        source: &OwnedFd,
        stat: &Stat,
    ) -> Result<(), BackendError> {
        let facts = reflink::file_facts(source.as_fd()).ok();
        if facts.is_some_and(|facts| facts.real_time) {
            return Err(unsupported(
                &self.shown(at, name),
                "has its data on the real-time device of the file system, and cannot be cloned",
            ));
        }
        let extents = match facts {
            _ if stat.st_size == 0 => 0,
            Some(facts) if facts.extents > 0 => facts.extents,
            _ if stat.st_size <= SMALL => 1,
            _ => reflink::count_extents(source.as_fd()).unwrap_or(1),
        };
        let bytes = space_of(stat);
        self.sums.files = self.sums.files.saturating_add(1);
        self.sums.bytes = self.sums.bytes.saturating_add(bytes);
        self.sums.extents = self.sums.extents.saturating_add(extents.into());
        Ok(())
    }

    /// Makes a file; whether it has an attribute that its data will take away.
    fn make(
        &mut self,
        source: &OwnedFd,
        target: BorrowedFd<'_>,
        name: &CStr,
        stat: &Stat,
        how: How,
    ) -> Result<bool, Failed> {
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(target, name, flags, Mode::RUSR | Mode::WUSR)?;
        if self.setting.is_btrfs {
            keep_nocow(source, &file)?;
        }
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        match how {
            How::Check => {}
            How::Skeleton if size > 0 => ftruncate(&file, size)?,
            How::Skeleton => {}
            How::Full => {
                let unknown = PathBuf::new;
                data::fill(
                    self.setting.data,
                    source.as_fd(),
                    file.as_fd(),
                    size,
                    0,
                    &unknown,
                    self.deadline,
                )?;
            }
        }
        let capability = self
            .metadata
            .copy(source.as_fd(), file.as_fd(), stat, Target::Fresh)?;
        if how == How::Full || size == 0 {
            copy_times(file.as_fd(), stat)?;
        }
        Ok(capability)
    }

    /// Gives all directories their metadata, children first: a default ACL or a set-group-id bit
    /// would have been passed on to what is made in them.
    fn finish_directories(
        &mut self,
        sources: &mut Chain<'_>,
        targets: &mut Chain<'_>,
    ) -> Result<(), BackendError> {
        for at in (0..self.tree.directories.len()).rev() {
            self.deadline.check()?;
            match finish_directory(
                &self.tree,
                at,
                sources,
                targets,
                self.metadata,
                Target::Fresh,
            ) {
                Ok(()) => {}
                // Gone by now, which the Commit will see.
                Err(errno) if at != 0 && has_moved(errno) => {}
                Err(errno) => return Err(failed("copy", &self.shown(at, c""))(errno)),
            }
        }
        Ok(())
    }
}

/// What a file takes on its disk.
fn space_of(stat: &Stat) -> u64 {
    let blocks = u64::try_from(stat.st_blocks).unwrap_or_default();
    blocks.saturating_mul(512)
}

/// Gives a directory of the copy the metadata of its source.
pub(super) fn finish_directory(
    tree: &Tree,
    at: usize,
    sources: &mut Chain<'_>,
    targets: &mut Chain<'_>,
    metadata: &mut Metadata,
    state: Target,
) -> rustix::io::Result<()> {
    let source = sources.open(tree, at)?;
    let target = targets.open(tree, at)?;
    let stat = fstat(source)?;
    metadata.copy(source, target, &stat, state)?;
    copy_times(target, &stat)
}

/// Every name that a file list asks for has to be there.
pub(super) fn require(
    filter: &Filter,
    entries: &[Entry],
    shown: impl Fn(&CStr) -> PathBuf,
) -> Result<(), BackendError> {
    let is_there = |name: &&CString| {
        entries
            .binary_search_by(|entry| entry.name.as_c_str().cmp(name))
            .is_ok()
    };
    match filter.required().find(|name| !is_there(name)) {
        Some(missing) => Err(unsupported(
            &shown(missing),
            "is named by the share's file list and does not exist; mend the list or delete it",
        )),
        None => Ok(()),
    }
}

fn moving(path: &Path) -> BackendError {
    unsupported(
        path,
        "is renamed at this moment, or something is mounted there; try again",
    )
}

fn named_below_a_file(path: &Path) -> BackendError {
    unsupported(
        path,
        "is a file, and the share's file list names something in it; mend the list or delete it",
    )
}

fn too_deep(path: &Path, limit: u32) -> BackendError {
    unsupported(
        path,
        format!(
            "lies deeper than the {limit} levels of directories that the configuration allows \
             (depth; 0 allows any number)"
        ),
    )
}

/// On btrfs, files with and without checksums do not share blocks.
fn keep_nocow(source: &OwnedFd, target: &OwnedFd) -> rustix::io::Result<()> {
    if !ioctl_getflags(source)?.contains(IFlags::NOCOW) {
        return Ok(());
    }
    let flags = ioctl_getflags(target)?;
    ioctl_setflags(target, flags | IFlags::NOCOW)
}

/// A failure whose path is added where it is known.
pub(super) enum Failed {
    Errno(Errno),
    Backend(BackendError),
}

impl From<Errno> for Failed {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl From<BackendError> for Failed {
    fn from(error: BackendError) -> Self {
        Self::Backend(error)
    }
}

impl Failed {
    pub(super) fn at(self, path: impl FnOnce() -> PathBuf) -> BackendError {
        match self {
            Self::Errno(errno) => failed("copy", &path())(errno),
            Self::Backend(BackendError::Io {
                operation, source, ..
            }) => BackendError::Io {
                operation,
                path: path(),
                source,
            },
            Self::Backend(error) => error,
        }
    }
}
