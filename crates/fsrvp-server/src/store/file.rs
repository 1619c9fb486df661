//! The table's file in redb, which is opened again after an error.
//!
//! redb writes to a file as soon as it opens it. So the file is first read from a copy in memory,
//! and opened only when something is to be stored: a start that is refused for what the records
//! say leaves the file as it was, byte for byte.
//!
//! redb refuses everything after an input/output error, because what it has in memory may then
//! differ from what is on the disk. So after each error the file is closed, and opened anew when
//! it is needed next: from what the disk holds, not from what the kernel has cached of writes
//! that did not reach it. A commit that failed may be on the disk all the same; the agent goes on
//! from the table of before. So the next commit first puts back what the failed one has replaced.

use super::StoreError;
use fsrvp_proto::Edit;
use fsrvp_sys::crash;
use redb::backends::InMemoryBackend;
use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, StorageBackend, StorageError,
    TableDefinition,
};
use rustix::fs::{Advice, fadvise};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const RECORDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("records");

/// Cache of the file in memory, in bytes: a table of thousands of sets fits.
const CACHE_SIZE: usize = 8 << 20;

/// Opens redb's file at a path.
pub(super) type Opener = Box<dyn Fn(&Path) -> Result<Database, DatabaseError> + Send + Sync>;

/// All records.
type Records = BTreeMap<String, Vec<u8>>;

/// The value under a key; nothing if there is none.
type Values = BTreeMap<String, Option<Vec<u8>>>;

/// The open file, or one that is to be opened.
pub(super) struct TableFile {
    path: PathBuf,
    open: Opener,
    /// What it held when it was looked at; nothing once it has been opened.
    seen: Option<Records>,
    /// Nothing before the first commit, and after an error.
    database: Option<Database>,
    /// Device and inode: no other file may take its place.
    identity: (u64, u64),
    /// What has to stand under keys that failed commits may have changed.
    doubts: Values,
}

impl std::fmt::Debug for TableFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableFile")
            .field("path", &self.path)
            .field("is_open", &self.database.is_some())
            .field("is_read", &self.seen.is_some())
            .field("doubts", &self.doubts.keys())
            .finish_non_exhaustive()
    }
}

impl TableFile {
    /// Reads an existing file, and leaves it untouched.
    pub(super) fn look(path: &Path, open: Opener) -> Result<Self, StoreError> {
        let identity = identity(path).map_err(|error| failed(path, error))?;
        let bytes = std::fs::read(path).map_err(|error| failed(path, error))?;
        let database = copy_of(&bytes).map_err(|error| opening(path, error))?;
        drop(bytes);
        let records = read_all(&database).map_err(|error| failed(path, error))?;
        Ok(Self {
            path: path.to_owned(),
            open,
            seen: Some(records),
            database: None,
            identity,
            doubts: Values::new(),
        })
    }

    /// Opens the file if it is not open.
    pub(super) fn open(&mut self) -> Result<(), StoreError> {
        self.with(|_| Ok(()))
    }

    /// All records, as the last commit that succeeded has left them.
    pub(super) fn load(&mut self) -> Result<Records, StoreError> {
        if let Some(seen) = &self.seen {
            return Ok(seen.clone());
        }
        let mut records = self.with(read_all)?;
        for (key, value) in &self.doubts {
            match value {
                Some(value) => records.insert(key.clone(), value.clone()),
                None => records.remove(key),
            };
        }
        Ok(records)
    }

    /// Whether there was no record when the file was looked at.
    pub(super) fn was_empty(&self) -> bool {
        self.seen.as_ref().is_some_and(Records::is_empty)
    }

    /// Applies all edits to what the last commit that succeeded has left.
    pub(super) fn commit(&mut self, edits: &[Edit]) -> Result<(), StoreError> {
        let mut replaced = Values::new();
        let doubts = std::mem::take(&mut self.doubts);
        let result = self.with(|database| write(database, &doubts, edits, &mut replaced));
        match &result {
            Ok(()) if doubts.is_empty() => {}
            Ok(()) => tracing::info!(path = %self.path.display(), "the table is stored again"),
            Err(_) => {
                self.doubts = doubts;
                for (key, value) in replaced {
                    self.doubts.entry(key).or_insert(value);
                }
            }
        }
        result
    }

    /// Works with the open file; after an error it is open no longer.
    fn with<T>(
        &mut self,
        work: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let database = match self.database.take() {
            Some(database) => database,
            None => self.reopen()?,
        };
        self.seen = None;
        match work(&database) {
            Ok(done) => {
                self.database = Some(database);
                Ok(done)
            }
            Err(error) => Err(failed(&self.path, error)),
        }
    }

    fn reopen(&self) -> Result<Database, StoreError> {
        match identity(&self.path) {
            Ok(found) if found == self.identity => {}
            Ok(_) => return Err(self.replaced()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(self.replaced()),
            Err(error) => return Err(failed(&self.path, error)),
        }
        if self.seen.is_none() {
            forget_cached(&self.path).map_err(|error| failed(&self.path, error))?;
        }
        (self.open)(&self.path).map_err(|error| opening(&self.path, error))
    }

    fn replaced(&self) -> StoreError {
        StoreError::Replaced {
            path: self.path.clone(),
        }
    }
}

/// How the file of a server is opened.
pub(super) fn opener() -> Opener {
    Box::new(|path| builder().open(path))
}

pub(super) fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder
        .set_cache_size(CACHE_SIZE)
        .set_check_integrity_on_open(true);
    builder
}

/// Makes a file with no record, durably; whoever has the directory gives it its name.
pub(super) fn create_empty(path: &Path) -> Result<(), StoreError> {
    let create = || -> Result<(), redb::Error> {
        let database = Database::builder().create(path)?;
        let write = database.begin_write()?;
        write.open_table(RECORDS)?;
        write.commit()?;
        Ok(())
    };
    create().map_err(|error| failed(path, error))
}

/// A database in memory that begins as the file with these bytes; what a killed process has left
/// is repaired there.
fn copy_of(bytes: &[u8]) -> Result<Database, DatabaseError> {
    if bytes.is_empty() {
        // redb would begin a new one.
        return Err(StorageError::Corrupted("it is empty".to_owned()).into());
    }
    let memory = InMemoryBackend::new();
    memory.set_len(u64::try_from(bytes.len()).unwrap_or(u64::MAX))?;
    memory.write(0, bytes)?;
    builder().create_with_backend(memory)
}

fn read_all(database: &Database) -> Result<Records, redb::Error> {
    let read = database.begin_read()?;
    let table = read.open_table(RECORDS)?;
    let mut records = Records::new();
    for entry in table.iter()? {
        let (key, value) = entry?;
        records.insert(key.value().to_owned(), value.value().to_owned());
    }
    Ok(records)
}

/// One commit: first what is in doubt gets the values that it has to have, then `edits` are
/// applied. `replaced` tells what stood under their keys in between.
fn write(
    database: &Database,
    doubts: &Values,
    edits: &[Edit],
    replaced: &mut Values,
) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    {
        let mut table = write.open_table(RECORDS)?;
        for (key, wanted) in doubts {
            let found = table.get(key.as_str())?.map(|value| value.value().to_vec());
            if found != *wanted {
                put(&mut table, key, wanted.as_deref())?;
            }
        }
        for edit in edits {
            let before = put(&mut table, &edit.key, edit.value.as_deref())?;
            replaced.entry(edit.key.clone()).or_insert(before);
        }
    }
    crash::point("store.commit.before");
    write.commit()?;
    crash::point("store.commit.after");
    Ok(())
}

fn put(
    table: &mut redb::Table<'_, &'static str, &'static [u8]>,
    key: &str,
    value: Option<&[u8]>,
) -> Result<Option<Vec<u8>>, redb::Error> {
    let before = match value {
        Some(value) => table.insert(key, value)?,
        None => table.remove(key)?,
    };
    Ok(before.map(|before| before.value().to_vec()))
}

/// Lets the kernel forget what it has cached of the file: after a failed flush it takes pages for
/// clean that the disk does not hold, and would go on to give them to readers. Pages that are still
/// to be written stay, and the next flush tells whether they could be.
fn forget_cached(path: &Path) -> std::io::Result<()> {
    let file = File::open(path)?;
    Ok(fadvise(&file, 0, None, Advice::DontNeed)?)
}

fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    let data = std::fs::metadata(path)?;
    Ok((data.dev(), data.ino()))
}

fn failed(path: &Path, problem: impl std::fmt::Display) -> StoreError {
    StoreError::Failed {
        path: path.to_owned(),
        problem: problem.to_string(),
    }
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
        other => failed(&path, other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redb::backends::FileBackend;
    use redb::{BackendError, StorageBackend};
    use std::fs::OpenOptions;
    use std::io::Error;
    use std::ops::Bound;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    /// A disk on which writes, extensions and flushes fail once this many have succeeded. A
    /// negative number counts those that failed.
    #[derive(Debug, Clone, Default)]
    struct Disk(Arc<AtomicI64>);

    const SOUND: i64 = i64::MAX / 2;

    impl Disk {
        fn sound() -> Self {
            Self(Arc::new(AtomicI64::new(SOUND)))
        }

        fn fails_after(&self, operations: i64) {
            self.0.store(operations, Ordering::SeqCst);
        }

        fn is_repaired(&self) -> bool {
            self.0.swap(SOUND, Ordering::SeqCst) < 0
        }

        fn opener(&self) -> Opener {
            let disk = self.clone();
            Box::new(move |path| {
                let file = OpenOptions::new().read(true).write(true).open(path)?;
                let file = FileBackend::new(file)?;
                let disk = disk.clone();
                builder().create_with_backend(Faulty { file, disk })
            })
        }
    }

    #[derive(Debug)]
    struct Faulty {
        file: FileBackend,
        disk: Disk,
    }

    impl Faulty {
        fn tick(&self) -> Result<(), Error> {
            if self.disk.0.fetch_sub(1, Ordering::SeqCst) > 0 {
                return Ok(());
            }
            Err(Error::from(rustix::io::Errno::IO))
        }
    }

    impl StorageBackend for Faulty {
        fn len(&self) -> Result<u64, Error> {
            self.file.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
            self.file.read(offset, out)
        }

        fn set_len(&self, len: u64) -> Result<(), Error> {
            self.tick()?;
            self.file.set_len(len)
        }

        /// A flush that fails has happened all the same: that is the doubt.
        fn sync_data(&self) -> Result<(), Error> {
            self.file.sync_data()?;
            self.tick()
        }

        fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
            self.tick()?;
            self.file.write(offset, data)
        }

        fn close(&self) -> Result<(), Error> {
            self.file.close()
        }

        fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
            self.file.try_lock_range(start, end)
        }

        fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
            self.file.lock_range(start, end)
        }

        fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
            self.file.unlock_range(start, end)
        }
    }

    fn edit(key: &str, value: Option<&[u8]>) -> Edit {
        Edit {
            key: key.to_owned(),
            value: value.map(<[u8]>::to_vec),
        }
    }

    fn fresh(disk: &Disk) -> (tempfile::TempDir, TableFile) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("table.redb");
        create_empty(&path).unwrap();
        let file = TableFile::look(&path, disk.opener()).unwrap();
        (dir, file)
    }

    /// Every write, extension and flush of a commit fails once. The next commit succeeds, and has
    /// nothing of the failed one in it; what a start would load is right as well.
    #[test]
    fn a_commit_after_a_failed_one_begins_from_the_table_of_before() {
        let disk = Disk::sound();
        let (dir, mut file) = fresh(&disk);
        let mut in_doubt = 0;
        let mut expected = BTreeMap::new();
        for number in 0_i64.. {
            let values = [number.to_le_bytes(), (-number).to_le_bytes()];
            let good = [
                edit("kept", Some(&values[0])),
                edit("changed", Some(&values[0])),
                edit(&format!("only/{number}"), Some(&values[1])),
            ];
            file.commit(&good).unwrap();
            for edit in good {
                expected.insert(edit.key, edit.value.unwrap());
            }
            disk.fails_after(number);
            let bad = [
                edit("changed", Some(b"never")),
                edit("added", Some(&[7; 5_000])),
                edit(&format!("only/{number}"), None),
            ];
            let result = file.commit(&bad);
            let failed = disk.is_repaired();
            assert_eq!(result.is_err(), failed, "{result:?}");
            if !failed {
                // The commit needs no more operations than these: all have failed once.
                assert!(number > 3, "{number}");
                break;
            }
            // What a process that dies now would leave.
            let copy = dir.path().join("copy");
            std::fs::copy(&file.path, &copy).unwrap();
            let left = TableFile::look(&copy, opener()).unwrap().load().unwrap();
            in_doubt += u32::from(left != expected);
            assert_eq!(file.load().unwrap(), expected);
            file.commit(&[edit("next", Some(&values[0]))]).unwrap();
            expected.insert("next".to_owned(), values[0].to_vec());
            assert_eq!(file.load().unwrap(), expected, "operation {number}");
            assert!(file.doubts.is_empty());
        }
        assert!(
            in_doubt > 0,
            "no failed commit was durable: nothing was put to the test"
        );
    }

    #[test]
    fn commits_that_fail_one_after_the_other_are_all_undone() {
        let disk = Disk::sound();
        let (_dir, mut file) = fresh(&disk);
        file.commit(&[edit("a", Some(b"1")), edit("b", Some(b"1"))])
            .unwrap();
        for (number, key) in [("2", "a"), ("3", "a"), ("4", "b"), ("5", "c")] {
            // The header and the first flush succeed, the last flush fails.
            for after in 0..12 {
                disk.fails_after(after);
                let _ = file.commit(&[edit(key, Some(number.as_bytes()))]);
                if !disk.is_repaired() {
                    file.commit(&[edit("a", Some(b"1")), edit("b", Some(b"1"))])
                        .unwrap();
                    file.commit(&[edit("c", None)]).unwrap();
                    break;
                }
            }
        }
        let expected = [("a", b"1"), ("b", b"1")];
        let expected: BTreeMap<_, _> = expected
            .map(|(key, value)| (key.to_owned(), value.to_vec()))
            .into();
        assert_eq!(file.load().unwrap(), expected);
        file.commit(&[]).unwrap();
        assert_eq!(file.load().unwrap(), expected);
    }

    #[test]
    fn another_file_in_its_place_is_refused_and_left_alone() {
        let disk = Disk::sound();
        let (dir, mut file) = fresh(&disk);
        disk.fails_after(0);
        file.commit(&[edit("a", Some(b"1"))]).unwrap_err();
        assert!(disk.is_repaired());
        let path = file.path.clone();
        std::fs::rename(&path, dir.path().join("away")).unwrap();
        let refused = |file: &mut TableFile| file.commit(&[edit("a", Some(b"1"))]).unwrap_err();
        assert!(matches!(refused(&mut file), StoreError::Replaced { .. }));
        create_empty(&path).unwrap();
        let before = std::fs::read(&path).unwrap();
        assert!(matches!(refused(&mut file), StoreError::Replaced { .. }));
        assert_eq!(std::fs::read(&path).unwrap(), before);
        std::fs::rename(dir.path().join("away"), &path).unwrap();
        file.commit(&[edit("a", Some(b"1"))]).unwrap();
    }
}
