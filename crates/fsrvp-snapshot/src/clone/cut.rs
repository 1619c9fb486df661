//! The data of all files of all plans, and what has changed in their trees.
//!
//! First every directory as Prepare saw it is gone through, by several threads: its files get
//! their data, and names that are not what they were are noted. Then those names are made anew,
//! one after the other, and at last the directories whose metadata has changed are finished.

use super::build::{Builder, Links, Sums, finish_directory, require};
use super::data;
use super::entry::{self, Opened};
use super::metadata::{Metadata, Target, copy_times};
use super::prepare::Plan;
use super::tree::{BENEATH, Chain, Directory, Entry, File, Tree, has_moved, list};
use crate::backend::{BackendError, Deadline};
use crate::error::failed;
use crate::lock;
use rustix::fs::{FileType, Mode, OFlags, fstat, openat2, renameat};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use uuid::Uuid;

/// More threads than this wait for each other in the file system's log.
const MOST_THREADS: usize = 4;
/// A file that changes while it is cloned is cloned again this often.
const ATTEMPTS: usize = 3;

/// What is left to do after the files.
#[derive(Debug, Default)]
struct Rest {
    /// Names to be made anew: plan, directory, name.
    names: BTreeSet<(usize, usize, CString)>,
    /// Directories whose metadata is not what it was.
    touched: BTreeSet<(usize, usize)>,
}

impl Rest {
    fn extend(&mut self, other: Self) {
        self.names.extend(other.names);
        self.touched.extend(other.touched);
    }
}

/// Gives all plans their data.
///
/// # Errors
/// `Unsupported` for what cannot be copied and has come since; `Deadline`, `Cancelled`.
pub(super) fn all(plans: &[Plan], deadline: &Deadline) -> Result<(), BackendError> {
    let directories: Vec<(usize, usize)> = plans
        .iter()
        .enumerate()
        .flat_map(|(plan, of)| (0..of.tree.directories.len()).map(move |at| (plan, at)))
        .collect();
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let outcome = Mutex::new((Rest::default(), BTreeMap::new()));
    let work = || {
        let mut worker = Worker::new(plans, deadline);
        while !stop.load(Ordering::Relaxed) {
            let item = next.fetch_add(1, Ordering::Relaxed);
            let Some(&(plan, at)) = directories.get(item) else {
                break;
            };
            if let Err(error) = worker.directory(plan, at) {
                stop.store(true, Ordering::Relaxed);
                lock(&outcome).1.insert(item, error);
            }
        }
        lock(&outcome).0.extend(worker.rest);
    };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = processors.min(MOST_THREADS).min(directories.len());
    std::thread::scope(|scope| {
        for _ in 1..threads {
            // A thread that cannot be had is work for the others.
            let _ = std::thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    let (rest, mut errors) = outcome.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, error)) = errors.pop_first() {
        return Err(error);
    }
    finish(plans, rest, deadline)
}

/// Source and copy of a plan, as one thread has them open.
struct Chains<'a> {
    source: Chain<'a>,
    target: Chain<'a>,
}

impl<'a> Chains<'a> {
    fn of(plan: &'a Plan) -> Self {
        Self {
            source: Chain::new(plan.source.as_fd()),
            target: Chain::new(plan.target.as_fd()),
        }
    }
}

struct Worker<'a> {
    plans: &'a [Plan],
    chains: Vec<Chains<'a>>,
    metadata: Metadata,
    deadline: &'a Deadline,
    rest: Rest,
}

impl<'a> Worker<'a> {
    fn new(plans: &'a [Plan], deadline: &'a Deadline) -> Self {
        Self {
            plans,
            chains: plans.iter().map(Chains::of).collect(),
            metadata: Metadata::new(),
            deadline,
            rest: Rest::default(),
        }
    }

    /// One directory as Prepare saw it.
    fn directory(&mut self, index: usize, at: usize) -> Result<(), BackendError> {
        self.deadline.check()?;
        let (Some(plan), Some(chains)) = (self.plans.get(index), self.chains.get_mut(index)) else {
            return Ok(());
        };
        let Some(node) = plan.tree.directories.get(at) else {
            return Ok(());
        };
        let anew = (index, node.parent, node.name.clone());
        let source = match chains.source.open(&plan.tree, at) {
            Ok(source) => source,
            Err(errno) if at != 0 && has_moved(errno) => {
                self.rest.names.insert(anew);
                return Ok(());
            }
            Err(errno) => return Err(failed("open", &plan.shown(at, c""))(errno)),
        };
        let stat = fstat(source).map_err(|errno| failed("fstat", &plan.shown(at, c""))(errno))?;
        if at != 0 && (stat.st_ino != node.stamp.inode || stat.st_dev != plan.setting.device) {
            self.rest.names.insert(anew);
            return Ok(());
        }
        if !node.stamp.still_fits(&stat) {
            self.rest.touched.insert((index, at));
        }
        let target = chains
            .target
            .open(&plan.tree, at)
            .map_err(|errno| failed("open", &plan.shown(at, c""))(errno))?;
        let entries = list(source).map_err(|errno| failed("read", &plan.shown(at, c""))(errno))?;
        require(&node.filter, &entries, |name| plan.shown(at, name))?;
        let mut known = Known::of(node);
        let mut sides = Sides {
            plan,
            at,
            source,
            target,
            metadata: &mut self.metadata,
            deadline: self.deadline,
        };
        for Entry { name, kind, inode } in entries {
            let is_wanted = node.filter.below(&name).is_some();
            let is_ours = plan.setting.skip == Some(inode) && kind == FileType::Directory;
            if !is_wanted || is_ours {
                continue;
            }
            match known.take(&name) {
                Some(Was::File(file)) => match sides.file(file)? {
                    Now::Done => {}
                    Now::Another => {
                        self.rest.names.insert((index, at, name));
                    }
                },
                // What it is now, its own turn finds out.
                Some(Was::Directory) if matches!(kind, FileType::Directory | FileType::Unknown) => {
                }
                Some(Was::Directory) | None => {
                    self.rest.names.insert((index, at, name));
                }
            }
        }
        for name in known.left() {
            self.rest.names.insert((index, at, name.clone()));
        }
        Ok(())
    }
}

/// What a directory held at Prepare, in the order of names.
struct Known<'a> {
    files: &'a [File],
    children: &'a [(CString, usize)],
    missing: Vec<&'a CString>,
}

enum Was<'a> {
    File(&'a File),
    Directory,
}

impl<'a> Known<'a> {
    fn of(node: &'a Directory) -> Self {
        Self {
            files: &node.files,
            children: &node.children,
            missing: Vec::new(),
        }
    }

    /// What the name was; names are asked for in order, and those that are left out are missing.
    fn take(&mut self, name: &CStr) -> Option<Was<'a>> {
        while let Some((first, rest)) = self.files.split_first()
            && first.name.as_c_str() <= name
        {
            self.files = rest;
            if first.name.as_c_str() == name {
                return Some(Was::File(first));
            }
            self.missing.push(&first.name);
        }
        while let Some(((first, _), rest)) = self.children.split_first()
            && first.as_c_str() <= name
        {
            self.children = rest;
            if first.as_c_str() == name {
                return Some(Was::Directory);
            }
            self.missing.push(first);
        }
        None
    }

    /// The names that were not asked for.
    fn left(&self) -> impl Iterator<Item = &'a CString> {
        let missing = self.missing.clone().into_iter();
        let files = self.files.iter().map(|file| &file.name);
        missing
            .chain(files)
            .chain(self.children.iter().map(|(name, _)| name))
    }
}

/// A directory on both sides.
struct Sides<'a> {
    plan: &'a Plan,
    at: usize,
    source: BorrowedFd<'a>,
    target: BorrowedFd<'a>,
    metadata: &'a mut Metadata,
    deadline: &'a Deadline,
}

/// What became of a file.
enum Now {
    Done,
    /// It is not the file that it was, or has several names, which one directory does not show.
    Another,
}

impl Sides<'_> {
    /// Gives a file of the skeleton its data, and new metadata if it has changed.
    fn file(&mut self, file: &File) -> Result<Now, BackendError> {
        self.deadline.check()?;
        let shown = || self.plan.shown(self.at, &file.name);
        let opened = entry::open(self.source, &file.name, &shown, self.deadline)?;
        let (source, mut stat) = match opened {
            Opened::File(source, stat) if stat.st_ino == file.stamp.inode => (source, stat),
            Opened::File(..) | Opened::Gone | Opened::Other(_) => return Ok(Now::Another),
        };
        if stat.st_nlink > 1 || file.stamp.links > 1 {
            return Ok(Now::Another);
        }
        let mut changed = !file.stamp.still_fits(&stat);
        if !changed && stat.st_size == 0 {
            return Ok(Now::Done);
        }
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let copy = |errno| failed("copy", &shown())(errno);
        let target =
            openat2(self.target, &file.name, flags, Mode::empty(), BENEATH).map_err(copy)?;
        let mut target_size = file.stamp.size;
        for _ in 0..ATTEMPTS {
            let size = u64::try_from(stat.st_size).unwrap_or_default();
            let before = u64::try_from(target_size).unwrap_or_default();
            let (from, to) = (source.as_fd(), target.as_fd());
            let kind = self.plan.setting.data;
            data::fill(kind, from, to, size, before, &shown, self.deadline)?;
            if changed {
                self.metadata
                    .copy(from, to, &stat, Target::Used)
                    .map_err(copy)?;
            } else if file.capability {
                self.metadata.copy_capability(from, to).map_err(copy)?;
            }
            copy_times(to, &stat).map_err(copy)?;
            let after = fstat(&source).map_err(copy)?;
            let same = (after.st_ctime, after.st_ctime_nsec, after.st_size)
                == (stat.st_ctime, stat.st_ctime_nsec, stat.st_size);
            if same {
                return Ok(Now::Done);
            }
            // Somebody writes to it all the same: again, with what it is now.
            target_size = stat.st_size.max(after.st_size);
            stat = after;
            changed = true;
        }
        Ok(Now::Done)
    }
}

impl Plan {
    /// The path of an entry as a person knows it.
    fn shown(&self, at: usize, name: &CStr) -> PathBuf {
        let path = self.setting.share.join(self.tree.entry(at, name));
        path.components().collect()
    }
}

/// Makes names anew and finishes what has changed.
fn finish(plans: &[Plan], mut rest: Rest, deadline: &Deadline) -> Result<(), BackendError> {
    let mut metadata = Metadata::new();
    for (index, plan) in plans.iter().enumerate() {
        let mut links = Links::new();
        let of_plan = rest.names.iter().filter(|(of, ..)| *of == index);
        let mut left: Vec<_> = of_plan
            .map(|(_, at, name)| (*at, name.clone()))
            .rev()
            .collect();
        // Parents come first, and what is made anew holds all that is below it.
        while let Some((at, name)) = left.pop() {
            deadline.check()?;
            match make_anew(plan, at, &name, &mut metadata, &mut links, deadline)? {
                Made::Yes => {
                    rest.touched.insert((index, at));
                }
                Made::Gone if at == 0 => {}
                // The directory itself has gone since: its parent knows what is there instead.
                Made::Gone => {
                    if let Some(node) = plan.tree.directories.get(at) {
                        left.push((node.parent, node.name.clone()));
                    }
                }
            }
        }
        let Chains {
            mut source,
            mut target,
        } = Chains::of(plan);
        let touched = rest.touched.iter().filter(|(of, _)| *of == index);
        for (_, at) in touched.rev() {
            let state = Target::Used;
            match finish_directory(
                &plan.tree,
                *at,
                &mut source,
                &mut target,
                &mut metadata,
                state,
            ) {
                Ok(()) => {}
                // Removed, or made anew as something else.
                Err(errno) if *at != 0 && has_moved(errno) => {}
                Err(errno) => return Err(failed("copy", &plan.shown(*at, c""))(errno)),
            }
        }
    }
    Ok(())
}

/// What became of a name.
enum Made {
    Yes,
    /// Its directory has gone.
    Gone,
}

/// Makes a name of the copy what it is in the source now.
fn make_anew(
    plan: &Plan,
    at: usize,
    name: &CString,
    metadata: &mut Metadata,
    links: &mut Links,
    deadline: &Deadline,
) -> Result<Made, BackendError> {
    let shown = |errno| failed("copy", &plan.shown(at, name))(errno);
    let Some(node) = plan.tree.directories.get(at) else {
        return Ok(Made::Yes);
    };
    // Opened from the root every time: directories of the copy change places here.
    let Chains {
        mut source,
        mut target,
    } = Chains::of(plan);
    let source = match source.open(&plan.tree, at) {
        Ok(source) => source,
        Err(errno) if has_moved(errno) => return Ok(Made::Gone),
        Err(errno) => return Err(shown(errno)),
    };
    let target = match target.open(&plan.tree, at) {
        Ok(target) => target,
        // Made anew as something else already, together with what was below it.
        Err(errno) if has_moved(errno) => return Ok(Made::Yes),
        Err(errno) => return Err(shown(errno)),
    };
    let fresh = Uuid::new_v4().to_string();
    match renameat(target, name, &*plan.area.trash, fresh) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(shown(errno)),
    }
    let Some(filter) = node.filter.below(name) else {
        return Ok(Made::Yes);
    };
    let builder = Builder {
        setting: &plan.setting,
        deadline,
        base: plan.tree.path(at),
        copy: Some(plan.target.as_fd()),
        metadata,
        links,
        sums: Sums::default(),
        tree: Tree::default(),
    };
    let found = builder.one(source, target, name, (node.depth, filter))?;
    if !found {
        require(&node.filter.only(name), &[], |name| plan.shown(at, name))?;
    }
    Ok(Made::Yes)
}
