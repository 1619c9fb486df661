//! A store that forgets, for tests and simulations, with failures on demand.

use super::{StateStore, StoreError};
use fsrvp_proto::Edit;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// Records in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    records: BTreeMap<String, Vec<u8>>,
    failing: bool,
    commits: u64,
}

impl MemoryStore {
    /// A store with these records.
    #[must_use]
    pub fn with(records: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let inner = Inner {
            records: records.into_iter().collect(),
            ..Inner::default()
        };
        Self {
            inner: Mutex::new(inner),
        }
    }

    /// From now on commits fail (`true`) or succeed again.
    pub fn set_failing(&self, failing: bool) {
        self.lock().failing = failing;
    }

    /// Number of commits that succeeded.
    pub fn commits(&self) -> u64 {
        self.lock().commits
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateStore for MemoryStore {
    fn load(&self) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        Ok(self.lock().records.clone().into_iter().collect())
    }

    fn commit(&self, edits: &[Edit]) -> Result<(), StoreError> {
        let mut inner = self.lock();
        if inner.failing {
            return Err(StoreError::Failed {
                path: PathBuf::from("memory"),
                problem: "told to fail".to_owned(),
            });
        }
        for edit in edits {
            match &edit.value {
                Some(value) => inner.records.insert(edit.key.clone(), value.clone()),
                None => inner.records.remove(&edit.key),
            };
        }
        inner.commits += 1;
        Ok(())
    }
}
