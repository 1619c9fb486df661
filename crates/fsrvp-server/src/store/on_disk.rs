//! The table in a redb file.

use super::file::{TableFile, create_empty, opener};
use super::lock::{Lock, lock};
use super::{StateStore, StoreError};
use fsrvp_proto::Edit;
use fsrvp_sys::crash;
use std::fs::{DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A durable store in one file of a state directory that it holds locked.
#[derive(Debug)]
pub struct RedbStore {
    path: PathBuf,
    file: Mutex<TableFile>,
    is_new: bool,
    lock: Lock,
}

impl RedbStore {
    /// Reads the store of a state directory, or begins one if there is none. An existing file stays
    /// untouched until [`RedbStore::begin_writing`] or the first commit.
    ///
    /// # Errors
    /// The directory cannot be used, another process has it, the file is damaged or newer.
    pub fn open(state_dir: &Path) -> Result<Self, StoreError> {
        let unusable = |source| StoreError::Directory {
            path: state_dir.to_owned(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(state_dir)
            .map_err(unusable)?;
        let lock = lock(state_dir)?;
        let path = state_dir.join("table.redb");
        let is_new = !path.try_exists().map_err(unusable)?;
        if is_new {
            begin(state_dir, &path)?;
        }
        let file = TableFile::look(&path, opener())?;
        // Every start that got further than this has stored something: an empty table is one that
        // was begun by a process that died before it looked around.
        let is_new = file.was_empty() || is_new;
        Ok(Self {
            path,
            file: Mutex::new(file),
            is_new,
            lock,
        })
    }

    /// Whether [`RedbStore::open`] found no file, or one without any record.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Opens the file for commits: whoever has read the records can go on from them.
    ///
    /// # Errors
    /// The file cannot be written, or has been replaced.
    pub fn begin_writing(&self) -> Result<(), StoreError> {
        self.file().open()
    }

    /// The process that last had the state directory, if its number is known.
    #[must_use]
    pub fn previous_process(&self) -> Option<u32> {
        self.lock.previous
    }

    /// Removes a file that [`RedbStore::open`] has just begun, so that the next start finds none
    /// either.
    pub fn forget(self) {
        if self.is_new
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::error!(path = %self.path.display(), %error, "an empty table is left");
        }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn file(&self) -> MutexGuard<'_, TableFile> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateStore for RedbStore {
    fn load(&self) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        Ok(self.file().load()?.into_iter().collect())
    }

    fn commit(&self, edits: &[Edit]) -> Result<(), StoreError> {
        self.file().commit(edits)
    }
}

/// Makes an empty store under another name first: a crash leaves either none or a whole one.
fn begin(state_dir: &Path, path: &Path) -> Result<(), StoreError> {
    let unusable = |source| StoreError::Directory {
        path: state_dir.to_owned(),
        source,
    };
    let fresh = state_dir.join("table.redb.new");
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(unusable(error)),
        _ => {}
    }
    create_empty(&fresh).inspect_err(|_| {
        let _ = std::fs::remove_file(&fresh);
    })?;
    crash::point("store.begin.before_rename");
    std::fs::rename(&fresh, path).map_err(unusable)?;
    crash::point("store.begin.after_rename");
    File::open(state_dir)
        .and_then(|directory| directory.sync_all())
        .map_err(unusable)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Damage = fn(&mut Vec<u8>);

    fn edit(key: &str, value: Option<&[u8]>) -> Edit {
        Edit {
            key: key.to_owned(),
            value: value.map(<[u8]>::to_vec),
        }
    }

    #[test]
    fn what_was_committed_is_there_after_opening_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = RedbStore::open(dir.path()).unwrap();
        assert!(store.is_new());
        store
            .commit(&[edit("set/1", Some(b"one")), edit("context", Some(b"c"))])
            .unwrap();
        store
            .commit(&[edit("context", None), edit("set/2", Some(b"two"))])
            .unwrap();
        drop(store);
        let store = RedbStore::open(dir.path()).unwrap();
        assert!(!store.is_new());
        let expected = [
            ("set/1".to_owned(), b"one".to_vec()),
            ("set/2".to_owned(), b"two".to_vec()),
        ];
        assert_eq!(store.load().unwrap(), expected);
    }

    #[test]
    fn a_store_in_which_nothing_was_ever_stored_is_new() {
        let dir = tempfile::tempdir().unwrap();
        drop(RedbStore::open(dir.path()).unwrap());
        let store = RedbStore::open(dir.path()).unwrap();
        assert!(store.is_new());
        store.commit(&[edit("boot", Some(b"id"))]).unwrap();
        drop(store);
        assert!(!RedbStore::open(dir.path()).unwrap().is_new());
    }

    /// The file of a store with 200 records: as a stop leaves it, and as a killed process does.
    fn files(dir: &Path) -> [(&'static str, Vec<u8>); 2] {
        let store = RedbStore::open(dir).unwrap();
        let records: Vec<_> = (0..200)
            .map(|n| edit(&format!("set/{n}"), Some(&[7; 300])))
            .collect();
        store.commit(&records).unwrap();
        let path = dir.join("table.redb");
        let killed = std::fs::read(&path).unwrap();
        drop(store);
        let stopped = std::fs::read(&path).unwrap();
        assert_ne!(killed, stopped, "redb closes its files");
        [("stopped", stopped), ("killed", killed)]
    }

    #[test]
    fn a_damaged_file_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("table.redb");
        let damages: [(&str, Damage); 4] = [
            ("cut short", |bytes| bytes.truncate(1_000)),
            ("emptied", Vec::clear),
            ("overwritten at the start", |bytes| bytes[..16].fill(0)),
            ("zeroed inside", |bytes| bytes[4_096..].fill(0)),
        ];
        for (how, whole) in files(dir.path()) {
            for (name, damage) in damages {
                let mut bytes = whole.clone();
                damage(&mut bytes);
                std::fs::write(&path, &bytes).unwrap();
                let refused = RedbStore::open(dir.path());
                assert!(
                    matches!(refused, Err(StoreError::Damaged { .. })),
                    "{how}, {name}: {refused:?}"
                );
                assert!(
                    std::fs::read(&path).unwrap() == bytes,
                    "{how}, {name}: file was touched"
                );
            }
            std::fs::write(&path, &whole).unwrap();
            let records = RedbStore::open(dir.path()).unwrap().load().unwrap();
            assert_eq!(records.len(), 200);
        }
    }

    #[test]
    fn a_file_is_untouched_until_something_is_stored() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("table.redb");
        for (how, whole) in files(dir.path()) {
            std::fs::write(&path, &whole).unwrap();
            let store = RedbStore::open(dir.path()).unwrap();
            assert_eq!(store.load().unwrap().len(), 200);
            drop(store);
            assert!(
                std::fs::read(&path).unwrap() == whole,
                "{how}: file was touched"
            );
            let store = RedbStore::open(dir.path()).unwrap();
            store.begin_writing().unwrap();
            store.commit(&[edit("set/200", Some(b"next"))]).unwrap();
            drop(store);
            assert_eq!(
                RedbStore::open(dir.path()).unwrap().load().unwrap().len(),
                201
            );
        }
    }

    #[test]
    fn a_missing_directory_is_made_and_a_file_in_its_place_is_named() {
        let dir = tempfile::tempdir().unwrap();
        RedbStore::open(&dir.path().join("a/b")).unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let refused = RedbStore::open(&file).unwrap_err().to_string();
        assert!(
            refused.contains("file") && refused.contains("fsrvpd must be able"),
            "{refused}"
        );
    }
}
