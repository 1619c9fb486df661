//! The store as a process has it: with file lists, and commits that end as the scheduler says.

use super::World;
use crate::strand::Fate;
use fsrvp_proto::Edit;
use fsrvp_server::store::{StateStore, StoreError};
use fsrvp_server::targets::StoreWithLists;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// Begins the keys of file lists, which are none of the agent's.
const PREFIX: &str = "targets/";

/// A store with file lists.
pub(crate) type SimLists = StoreWithLists<Fated>;

/// The store, of which the next commit may have been decided already.
pub(crate) struct Fated {
    world: Arc<World>,
    next: Mutex<Option<Fate>>,
}

impl Fated {
    pub(crate) fn of(world: &Arc<World>) -> Self {
        Self {
            world: Arc::clone(world),
            next: Mutex::default(),
        }
    }

    /// The next commit ends so.
    pub(crate) fn ends(&self, fate: Fate) {
        *self.next.lock().unwrap() = Some(fate);
    }

    /// As every commit does of which nothing has been decided.
    pub(crate) fn ends_as_always(&self) {
        *self.next.lock().unwrap() = None;
    }
}

impl StateStore for Fated {
    fn load(&self) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        StateStore::load(&self.world.store)
    }

    fn commit(&self, edits: &[Edit]) -> Result<(), StoreError> {
        let next = self.next.lock().unwrap().take();
        match next {
            Some(fate) => {
                self.world
                    .store
                    .commit(edits, fate)
                    .map_err(|problem| StoreError::Failed {
                        path: PathBuf::from("table"),
                        problem,
                    })
            }
            None => StateStore::commit(&self.world.store, edits),
        }
    }
}

/// A stored list: the name of its only file, which no two lists share, and whether it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) file: String,
    pub(crate) standing: bool,
}

/// The agent's records, and the lists beside them by the folded name of their share.
pub(crate) fn parted(
    records: BTreeMap<String, Vec<u8>>,
) -> (BTreeMap<String, Vec<u8>>, BTreeMap<String, Stored>) {
    let (lists, agents): (BTreeMap<_, _>, BTreeMap<_, _>) = records
        .into_iter()
        .partition(|(key, _)| key.starts_with(PREFIX));
    let stored = |bytes: &[u8]| {
        let record: serde_json::Value = serde_json::from_slice(bytes).expect("a list is JSON");
        let record = &record["record"];
        Stored {
            file: record["files"][0].as_str().unwrap_or_default().to_owned(),
            standing: record["standing"] == true,
        }
    };
    let lists = lists
        .iter()
        .map(|(key, bytes)| (key[PREFIX.len()..].to_owned(), stored(bytes)));
    (agents, lists.collect())
}
