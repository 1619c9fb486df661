//! The table in a redb file.

use super::{StateStore, StoreError};
use fsrvp_proto::Edit;
use fsrvp_sys::crash;
use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, ReadableTableMetadata, StorageError,
    TableDefinition,
};
use rustix::fs::{FlockOperation, flock};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const RECORDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("records");

/// Cache of the file in memory, in bytes: a table of thousands of sets fits.
const CACHE_SIZE: usize = 8 << 20;

/// Longest time that a killed process is waited for.
const ENDING_LIMIT: Duration = Duration::from_secs(30);
/// Pause between two looks at it.
const ENDING_PAUSE: Duration = Duration::from_millis(20);
/// SIGKILL in the signal masks of /proc.
const SIGKILL: u64 = 1 << 8;

/// A durable store in one file of a state directory that it holds locked.
#[derive(Debug)]
pub struct RedbStore {
    path: PathBuf,
    database: Database,
    is_new: bool,
    _lock: File,
}

impl RedbStore {
    /// Opens the store of a state directory, or begins one if there is none.
    ///
    /// # Errors
    /// The directory cannot be used, another process has it, the file is damaged or newer. The
    /// file is then untouched.
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
        let database = builder()
            .open(&path)
            .map_err(|error| opening(&path, error))?;
        let mut store = Self {
            path,
            database,
            is_new,
            _lock: lock,
        };
        // Every start that got further than this has stored something: an empty table is one that
        // was begun by a process that died before it looked around.
        store.is_new |= store.is_empty()?;
        Ok(store)
    }

    /// Whether [`RedbStore::open`] found no file, or one without any record.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.is_new
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

    fn is_empty(&self) -> Result<bool, StoreError> {
        let read = self.database.begin_read().map_err(|e| self.failed(e))?;
        let table = read.open_table(RECORDS).map_err(|e| self.failed(e))?;
        table.is_empty().map_err(|e| self.failed(e))
    }

    fn failed(&self, problem: impl std::fmt::Display) -> StoreError {
        StoreError::Failed {
            path: self.path.clone(),
            problem: problem.to_string(),
        }
    }
}

impl StateStore for RedbStore {
    fn load(&self) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let read = self.database.begin_read().map_err(|e| self.failed(e))?;
        let table = read.open_table(RECORDS).map_err(|e| self.failed(e))?;
        let mut records = Vec::new();
        for entry in table.iter().map_err(|e| self.failed(e))? {
            let (key, value) = entry.map_err(|e| self.failed(e))?;
            records.push((key.value().to_owned(), value.value().to_owned()));
        }
        Ok(records)
    }

    fn commit(&self, edits: &[Edit]) -> Result<(), StoreError> {
        let write = self.database.begin_write().map_err(|e| self.failed(e))?;
        {
            let mut table = write.open_table(RECORDS).map_err(|e| self.failed(e))?;
            for edit in edits {
                let key = edit.key.as_str();
                match &edit.value {
                    Some(value) => table.insert(key, value.as_slice()).map(drop),
                    None => table.remove(key).map(drop),
                }
                .map_err(|e| self.failed(e))?;
            }
        }
        crash::point("store.commit.before");
        write.commit().map_err(|e| self.failed(e))?;
        crash::point("store.commit.after");
        Ok(())
    }
}

fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder
        .set_cache_size(CACHE_SIZE)
        .set_check_integrity_on_open(true);
    builder
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
    let failed = |problem: String| StoreError::Failed {
        path: fresh.clone(),
        problem,
    };
    let database = Database::builder()
        .create(&fresh)
        .map_err(|e| failed(e.to_string()))?;
    let write = database.begin_write().map_err(|e| failed(e.to_string()))?;
    write
        .open_table(RECORDS)
        .map_err(|e| failed(e.to_string()))?;
    write.commit().map_err(|e| failed(e.to_string()))?;
    drop(database);
    crash::point("store.begin.before_rename");
    std::fs::rename(&fresh, path).map_err(unusable)?;
    crash::point("store.begin.after_rename");
    File::open(state_dir)
        .and_then(|directory| directory.sync_all())
        .map_err(unusable)
}

/// The lock outlives this process under no circumstances: the kernel drops it. A killed process
/// may still hang in a system call and hold it: that one is waited for, one that lives is not.
fn lock(state_dir: &Path) -> Result<File, StoreError> {
    let path = state_dir.join("lock");
    let unusable = |source| StoreError::Directory {
        path: state_dir.to_owned(),
        source,
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(unusable)?;
    let begun = Instant::now();
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => break,
            Err(rustix::io::Errno::WOULDBLOCK) => {}
            Err(error) => return Err(unusable(error.into())),
        }
        let mut holder = String::new();
        let _ = file.rewind();
        let _ = Read::by_ref(&mut file).take(16).read_to_string(&mut holder);
        let holder = holder.trim();
        if !is_ending(holder) || begun.elapsed() > ENDING_LIMIT {
            return Err(StoreError::InUse {
                path,
                holder: holder.to_owned(),
            });
        }
        std::thread::sleep(ENDING_PAUSE);
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()))
        .map_err(unusable)?;
    Ok(file)
}

/// Whether the process is gone, a zombie whose threads have not all ended, or killed but still in
/// a system call.
fn is_ending(process: &str) -> bool {
    if process.is_empty() || !process.bytes().all(|byte| byte.is_ascii_digit()) {
        return false;
    }
    let Ok(status) = std::fs::read_to_string(format!("/proc/{process}/status")) else {
        return true;
    };
    let field = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .map(str::trim)
            .unwrap_or_default()
    };
    let is_killed =
        |mask: &str| u64::from_str_radix(mask, 16).is_ok_and(|mask| mask & SIGKILL != 0);
    field("State:").starts_with(['Z', 'X'])
        || is_killed(field("SigPnd:"))
        || is_killed(field("ShdPnd:"))
}

fn opening(path: &Path, error: DatabaseError) -> StoreError {
    let path = path.to_owned();
    match error {
        DatabaseError::UpgradeRequired(version) => StoreError::Newer {
            path,
            problem: format!("file format {version} is not this program's"),
        },
        DatabaseError::Storage(StorageError::Corrupted(problem)) => {
            StoreError::Damaged { path, problem }
        }
        DatabaseError::Storage(StorageError::Io(error))
            if matches!(
                error.kind(),
                ErrorKind::InvalidData | ErrorKind::UnexpectedEof
            ) =>
        {
            StoreError::Damaged {
                path,
                problem: error.to_string(),
            }
        }
        other => StoreError::Failed {
            path,
            problem: other.to_string(),
        },
    }
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

    #[test]
    fn a_second_process_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let _first = RedbStore::open(dir.path()).unwrap();
        let refused = RedbStore::open(dir.path()).unwrap_err();
        let StoreError::InUse { holder, .. } = refused else {
            panic!("{refused}")
        };
        assert_eq!(holder, std::process::id().to_string());
    }

    #[test]
    fn a_killed_process_that_still_holds_the_lock_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let first = RedbStore::open(dir.path()).unwrap();
        // A number that no process has: the holder has gone, its lock has not.
        std::fs::write(dir.path().join("lock"), "4194305\n").unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| RedbStore::open(dir.path()).map(drop));
            drop(first);
            second.join().unwrap().unwrap();
        });
        assert!(!is_ending(&std::process::id().to_string()));
        assert!(is_ending("4194305"));
        assert!(!is_ending("") && !is_ending("../1"));
    }

    #[test]
    fn a_damaged_file_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let store = RedbStore::open(dir.path()).unwrap();
        let records: Vec<_> = (0..200)
            .map(|n| edit(&format!("set/{n}"), Some(&[7; 300])))
            .collect();
        store.commit(&records).unwrap();
        drop(store);
        let path = dir.path().join("table.redb");
        let whole = std::fs::read(&path).unwrap();
        let damages: [(&str, Damage); 4] = [
            ("cut short", |bytes| bytes.truncate(1_000)),
            ("emptied", Vec::clear),
            ("overwritten at the start", |bytes| bytes[..16].fill(0)),
            ("zeroed inside", |bytes| bytes[4_096..].fill(0)),
        ];
        for (name, damage) in damages {
            let mut bytes = whole.clone();
            damage(&mut bytes);
            std::fs::write(&path, &bytes).unwrap();
            let refused = RedbStore::open(dir.path());
            assert!(
                matches!(refused, Err(StoreError::Damaged { .. })),
                "{name}: {refused:?}"
            );
            assert_eq!(
                std::fs::read(&path).unwrap(),
                bytes,
                "{name}: file was touched"
            );
        }
        std::fs::write(&path, &whole).unwrap();
        assert_eq!(
            RedbStore::open(dir.path()).unwrap().load().unwrap().len(),
            200
        );
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
