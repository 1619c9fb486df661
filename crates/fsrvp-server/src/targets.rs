//! File lists: which files of a share a copy has to hold, as an operator or a backup product says
//! through the admin socket.
//!
//! A list is stored beside the agent's table. One that is not standing is used once: it goes in the
//! same commit of the store that records the set which used it as committed, so that it is neither
//! used twice nor lost, whenever the process ends.

use crate::store::{StateStore, StoreError};
use fsrvp_idl::{ShadowCopyId, ShareName};
use fsrvp_proto::Edit;
use fsrvp_proto::durable::committed_copies;
use fsrvp_snapshot::clone::Targets;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Begins the keys of our records in the store.
const PREFIX: &str = "targets/";
/// Version of the records that this code writes, and the newest that it reads.
const VERSION: u32 = 1;
/// Most files of a list.
pub const MOST_FILES: usize = 10_000;
/// Longest path, in bytes: PATH_MAX.
const LONGEST_PATH: usize = 4_096;

/// The list of a share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileList {
    /// The share as the server spells it.
    pub share: ShareName,
    /// Paths below the share's directory, with `/` between names.
    pub files: Vec<String>,
    /// Whether it stays after the next set.
    pub standing: bool,
}

#[derive(Serialize, Deserialize)]
struct Record {
    version: u32,
    record: FileList,
}

/// Why a list is refused, or cannot be stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TargetsError {
    /// A path that does not stay below the share.
    #[error(
        "{0:?} is no path below a share: names with '/' between them, none of them '..', up to \
         {LONGEST_PATH} bytes"
    )]
    Path(String),
    /// Too many files.
    #[error("{0} files are more than {MOST_FILES}; name their directories")]
    TooMany(usize),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The daemon ends.
    #[error("the daemon ends")]
    Ending,
}

impl FileList {
    /// Checks what somebody has sent; the files need not exist yet.
    ///
    /// # Errors
    /// [`TargetsError::Path`], [`TargetsError::TooMany`].
    pub fn check(&self) -> Result<(), TargetsError> {
        if self.files.len() > MOST_FILES {
            return Err(TargetsError::TooMany(self.files.len()));
        }
        let is_plain = |path: &str| {
            let mut parts = Path::new(path).components();
            !path.is_empty()
                && path.len() < LONGEST_PATH
                && !path.contains('\0')
                && parts.all(|part| matches!(part, Component::Normal(_)))
        };
        match self.files.iter().find(|path| !is_plain(path)) {
            Some(path) => Err(TargetsError::Path(path.clone())),
            None => Ok(()),
        }
    }
}

/// All lists of a server.
#[derive(Debug, Default)]
pub struct FileLists {
    lists: Mutex<Lists>,
    /// Held while the store and the lists change together.
    changing: Mutex<()>,
}

#[derive(Debug, Default)]
struct Lists {
    of: BTreeMap<ShareName, Numbered>,
    /// Which list each share's last copy was told, by its number.
    used: BTreeMap<ShareName, (ShadowCopyId, u64)>,
    last: u64,
}

#[derive(Debug)]
struct Numbered {
    list: FileList,
    number: u64,
}

impl FileLists {
    /// The list of a share.
    #[must_use]
    pub fn list(&self, share: &ShareName) -> Option<FileList> {
        let lists = lock(&self.lists);
        lists.of.get(share).map(|numbered| numbered.list.clone())
    }

    /// All of them, by share.
    #[must_use]
    pub fn all(&self) -> Vec<FileList> {
        let lists = lock(&self.lists);
        let held = lists.of.values();
        held.map(|numbered| numbered.list.clone()).collect()
    }

    fn put(&self, list: FileList) {
        let mut lists = lock(&self.lists);
        lists.last = lists.last.wrapping_add(1);
        let number = lists.last;
        lists
            .of
            .insert(list.share.clone(), Numbered { list, number });
    }

    /// The shares whose lists were used by one of the copies, and are used up by that.
    fn used_up(&self, edits: &[Edit]) -> Vec<ShareName> {
        let lists = lock(&self.lists);
        // Looking into records takes time, which only sets with lists spend.
        if lists.used.is_empty() {
            return Vec::new();
        }
        let committed = committed_copies(edits);
        let is_used_up = |share: &ShareName, (copy, number): &(ShadowCopyId, u64)| {
            let same = |held: &Numbered| held.number == *number && !held.list.standing;
            committed.contains(copy) && lists.of.get(share).is_some_and(same)
        };
        lists
            .used
            .iter()
            .filter(|(share, used)| is_used_up(share, used))
            .map(|(share, _)| share.clone())
            .collect()
    }

    fn remove(&self, share: &ShareName) {
        let mut lists = lock(&self.lists);
        lists.of.remove(share);
        lists.used.remove(share);
    }
}

impl Targets for FileLists {
    fn wanted(&self, share: &ShareName, copy: Option<ShadowCopyId>) -> Option<Vec<PathBuf>> {
        let mut lists = lock(&self.lists);
        let Some(held) = lists.of.get(share) else {
            lists.used.remove(share);
            return None;
        };
        let number = held.number;
        let files = held.list.files.iter().map(PathBuf::from).collect();
        if let Some(copy) = copy {
            lists.used.insert(share.clone(), (copy, number));
        }
        Some(files)
    }
}

/// A store that also keeps file lists, and does not show them to the agent.
pub struct StoreWithLists<S> {
    inner: S,
    lists: Arc<FileLists>,
}

impl<S> std::fmt::Debug for StoreWithLists<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreWithLists").finish_non_exhaustive()
    }
}

impl<S: StateStore> StoreWithLists<S> {
    /// Reads the lists of a store.
    ///
    /// # Errors
    /// The store cannot be read, or a list is newer or damaged.
    pub fn open(inner: S) -> Result<Self, StoreError> {
        let lists = FileLists::default();
        for (key, bytes) in inner.load()? {
            if !key.starts_with(PREFIX) {
                continue;
            }
            let damaged = |problem: String| StoreError::Damaged {
                path: PathBuf::from(&key),
                problem,
            };
            let record: Record =
                serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
            if record.version > VERSION {
                return Err(StoreError::Newer {
                    path: PathBuf::from(&key),
                    problem: format!("version {}", record.version),
                });
            }
            lists.put(record.record);
        }
        Ok(Self {
            inner,
            lists: Arc::new(lists),
        })
    }

    /// The lists.
    #[must_use]
    pub fn lists(&self) -> &Arc<FileLists> {
        &self.lists
    }

    /// The store itself.
    #[must_use]
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// The store itself.
    pub fn into_inner(self) -> S {
        self.inner
    }

    fn store(&self, share: &ShareName, list: Option<FileList>) -> Result<(), StoreError> {
        let _together = lock(&self.lists.changing);
        self.inner.commit(&[edit(share, list.clone())])?;
        match list {
            Some(list) => self.lists.put(list),
            None => self.lists.remove(share),
        }
        Ok(())
    }
}

impl<S: StateStore> StateStore for StoreWithLists<S> {
    fn load(&self) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let mut records = self.inner.load()?;
        records.retain(|(key, _)| !key.starts_with(PREFIX));
        Ok(records)
    }

    fn commit(&self, edits: &[Edit]) -> Result<(), StoreError> {
        let _together = lock(&self.lists.changing);
        let used_up = self.lists.used_up(edits);
        if used_up.is_empty() {
            return self.inner.commit(edits);
        }
        let gone = used_up.iter().map(|share| edit(share, None));
        let edits: Vec<_> = edits.iter().cloned().chain(gone).collect();
        self.inner.commit(&edits)?;
        for share in &used_up {
            tracing::info!(%share, "the file list was used by a set, and is gone");
            self.lists.remove(share);
        }
        Ok(())
    }
}

fn edit(share: &ShareName, list: Option<FileList>) -> Edit {
    let value = list.and_then(|record| {
        let version = VERSION;
        serde_json::to_vec(&Record { version, record }).ok()
    });
    Edit {
        key: format!("{PREFIX}{}", share.folded()),
        value,
    }
}

/// What changes lists: the admin socket's way to the store, which may have been closed.
#[derive(Clone)]
pub struct FileListEditor {
    lists: Arc<FileLists>,
    store: Weak<dyn ListStore>,
}

impl std::fmt::Debug for FileListEditor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileListEditor").finish_non_exhaustive()
    }
}

trait ListStore: Send + Sync {
    fn store(&self, share: &ShareName, list: Option<FileList>) -> Result<(), StoreError>;
}

impl<S: StateStore> ListStore for StoreWithLists<S> {
    fn store(&self, share: &ShareName, list: Option<FileList>) -> Result<(), StoreError> {
        Self::store(self, share, list)
    }
}

impl FileListEditor {
    /// For a store, which it does not keep open.
    pub fn of<S: StateStore + 'static>(store: &Arc<StoreWithLists<S>>) -> Self {
        let lists = Arc::clone(&store.lists);
        let weak: Weak<StoreWithLists<S>> = Arc::downgrade(store);
        Self { lists, store: weak }
    }

    /// The list of a share.
    #[must_use]
    pub fn list(&self, share: &ShareName) -> Option<FileList> {
        self.lists.list(share)
    }

    /// All lists, by share.
    #[must_use]
    pub fn all(&self) -> Vec<FileList> {
        self.lists.all()
    }

    /// Stores a list in place of an earlier one; durable on return.
    ///
    /// # Errors
    /// The list is refused, or cannot be stored.
    pub fn put(&self, list: FileList) -> Result<(), TargetsError> {
        list.check()?;
        let share = list.share.clone();
        self.change(&share, Some(list))
    }

    /// Removes the list of a share and gives it back; durable on return.
    ///
    /// # Errors
    /// The change cannot be stored.
    pub fn delete(&self, share: &ShareName) -> Result<Option<FileList>, TargetsError> {
        let found = self.list(share);
        if found.is_some() {
            self.change(share, None)?;
        }
        Ok(found)
    }

    fn change(&self, share: &ShareName, list: Option<FileList>) -> Result<(), TargetsError> {
        let store = self.store.upgrade().ok_or(TargetsError::Ending)?;
        Ok(store.store(share, list)?)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
