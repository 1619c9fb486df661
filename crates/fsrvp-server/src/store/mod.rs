//! Where the agent's table is kept: `trait StateStore`, redb on disk, and memory for tests.

mod file;
mod lock;
mod memory;
mod on_disk;

use fsrvp_proto::Edit;
use std::path::PathBuf;

pub use memory::MemoryStore;
pub use on_disk::RedbStore;

/// Records of one virtual file server, as keys and bytes. The format of the bytes is the agent's.
pub trait StateStore: Send + Sync {
    /// All records.
    ///
    /// # Errors
    /// The store cannot be read.
    fn load(&self) -> Result<Vec<(String, Vec<u8>)>, StoreError>;

    /// Applies all edits, atomically and durably on return. After an error the stored records are
    /// those of before or of after, never a mixture; the next commit that succeeds begins from
    /// those of before. Only if the process ends first may those of after be what is loaded next.
    ///
    /// # Errors
    /// Nothing was promised to be stored. The next commit may succeed.
    fn commit(&self, edits: &[Edit]) -> Result<(), StoreError>;
}

/// Why the store refuses.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The state directory cannot be used.
    #[error("state directory {path}: {source}; fsrvpd must be able to write there")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process has the store open.
    #[error(
        "{path} is in use by another fsrvpd (process {holder}); stop it, or give this one a \
         state_dir of its own"
    )]
    InUse {
        /// The file.
        path: PathBuf,
        /// Its process, as its lock file says.
        holder: String,
    },
    /// The file is not what this program wrote.
    #[error(
        "the store {path} is damaged: {problem}; it was left as it is: restore it from a backup \
         of the state directory, or move it away to begin with an empty table (copies made before \
         then have to be removed by hand)"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A newer program wrote it.
    #[error("the store {path} was written by a newer fsrvpd: {problem}; install that version")]
    Newer {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Another file stands in its place.
    #[error(
        "the store {path} was moved away or replaced while fsrvpd was running; restart fsrvpd \
         with the right file in place"
    )]
    Replaced {
        /// The file.
        path: PathBuf,
    },
    /// A read or a commit failed.
    #[error(
        "the store {path} cannot be read or written: {problem}; make sure that its file system \
         has space and can be written"
    )]
    Failed {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        problem: String,
    },
}
