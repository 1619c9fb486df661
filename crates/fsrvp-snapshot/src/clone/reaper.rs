//! Removes what has been put into the trash: a thread of its own, for a copy may hold a million
//! files.

use super::tree::list;
use crate::lock;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, openat, renameat, unlinkat};
use rustix::io::{Errno, Result};
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::time::Duration;
use uuid::Uuid;

type Trash = Arc<OwnedFd>;

/// The thread, started when it is needed first; it ends when this value goes and the work is done.
#[derive(Debug, Default)]
pub(super) struct Reaper {
    work: Mutex<Option<mpsc::Sender<Trash>>>,
    pending: Arc<Pending>,
}

#[derive(Debug, Default)]
struct Pending {
    count: Mutex<usize>,
    done: Condvar,
}

impl Pending {
    fn add(&self) {
        let mut count = lock(&self.count);
        *count = count.saturating_add(1);
    }

    fn remove(&self) {
        let mut count = lock(&self.count);
        *count = count.saturating_sub(1);
        self.done.notify_all();
    }
}

impl Reaper {
    /// Has everything removed that is in a trash directory now.
    pub(super) fn empty(&self, trash: &Trash) {
        self.pending.add();
        let mut work = lock(&self.work);
        let sent = match &*work {
            Some(sender) => sender.send(Arc::clone(trash)).is_ok(),
            None => match self.start() {
                Ok(sender) => {
                    sender.send(Arc::clone(trash)).is_ok() && {
                        *work = Some(sender);
                        true
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "no thread to remove copies; this one does it");
                    false
                }
            },
        };
        if !sent {
            remove_all(trash);
            self.pending.remove();
        }
    }

    fn start(&self) -> std::io::Result<mpsc::Sender<Trash>> {
        let (sender, receiver) = mpsc::channel::<Trash>();
        let pending = Arc::clone(&self.pending);
        std::thread::Builder::new()
            .name("clone-reaper".to_owned())
            .spawn(move || {
                for trash in receiver {
                    remove_all(&trash);
                    pending.remove();
                }
            })?;
        Ok(sender)
    }

    /// Waits until everything is removed that was asked for.
    pub(super) fn settle(&self) {
        self.settle_within(Duration::MAX);
    }

    /// The same, `limit` at most; whether everything is.
    pub(super) fn settle_within(&self, limit: Duration) -> bool {
        let count = lock(&self.pending.count);
        let is_busy = |count: &mut usize| *count > 0;
        let waited = self.pending.done.wait_timeout_while(count, limit, is_busy);
        let (count, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *count == 0
    }
}

fn remove_all(trash: &OwnedFd) {
    if let Err(errno) = try_to_remove_all(trash) {
        tracing::warn!(error = %errno, "remains of deleted copies stay until the next start");
    }
}

/// Empties a directory. A directory in it that is not empty gives its own directories to the top
/// first, so that neither stack nor descriptors grow with the depth.
fn try_to_remove_all(trash: &OwnedFd) -> Result<()> {
    loop {
        let entries = list(trash.as_fd())?;
        if entries.is_empty() {
            return Ok(());
        }
        for entry in entries {
            remove(trash, &entry.name)?;
        }
    }
}

/// Removes an entry, or moves the directories in it beside it.
fn remove(trash: &OwnedFd, name: &CStr) -> Result<()> {
    match gone(unlinkat(trash, name, AtFlags::empty())) {
        // POSIX wants the second for a directory, Linux answers the first.
        Err(Errno::ISDIR | Errno::PERM) => {}
        other => return other,
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = match openat(trash, name, flags, Mode::empty()) {
        Ok(directory) => directory,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    for entry in list(directory.as_fd())? {
        let name = entry.name.as_c_str();
        if entry.kind == FileType::Directory {
            match gone(unlinkat(&directory, name, AtFlags::REMOVEDIR)) {
                Err(Errno::NOTEMPTY | Errno::EXIST) => {
                    let fresh = Uuid::new_v4().to_string();
                    gone(renameat(&directory, name, trash, fresh))?;
                }
                other => other?,
            }
        } else {
            gone(unlinkat(&directory, name, AtFlags::empty()))?;
        }
    }
    gone(unlinkat(trash, name, AtFlags::REMOVEDIR))
}

fn gone(result: Result<()>) -> Result<()> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}
