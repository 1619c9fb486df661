//! The table's records, with commits that fail before or after they became durable.

use crate::strand::{Fate, step};
use fsrvp_proto::Edit;
use fsrvp_server::store::{StateStore, StoreError};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

type Records = BTreeMap<String, Vec<u8>>;

/// Durable records.
#[derive(Default)]
pub(crate) struct SimStore(Mutex<State>);

#[derive(Default)]
struct State {
    records: Records,
    /// What a commit has replaced that is durable and was said to have failed: the store puts it
    /// back with the next commit that succeeds, if the process lives to see it.
    replaced: Option<Records>,
    version: u64,
}

impl SimStore {
    /// A commit of the agent's.
    pub(crate) fn commit(&self, edits: &[Edit], fate: Fate) -> Result<(), String> {
        let mut state = self.0.lock().unwrap();
        match fate {
            Fate::Fails(_) | Fate::Crash => return Err("no space".to_owned()),
            Fate::Done => {
                if let Some(replaced) = state.replaced.take() {
                    state.records = replaced;
                }
                state.apply(edits);
            }
            Fate::FailsAfterwards(_) => {
                let before = state.believed().clone();
                state.records = before.clone();
                state.apply(edits);
                state.replaced = Some(before);
            }
        }
        match fate {
            Fate::FailsAfterwards(_) => Err("input/output error".to_owned()),
            _ => Ok(()),
        }
    }

    /// The process has died: nobody remembers what was replaced.
    pub(crate) fn crash(&self) {
        self.0.lock().unwrap().replaced = None;
    }

    /// What a start would read now.
    pub(crate) fn durable(&self) -> Records {
        self.0.lock().unwrap().records.clone()
    }

    /// What the running process takes for durable.
    pub(crate) fn believed(&self) -> Records {
        self.0.lock().unwrap().believed().clone()
    }

    /// Whether a commit that failed is durable all the same.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.0.lock().unwrap().replaced.is_some()
    }

    pub(crate) fn version(&self) -> u64 {
        self.0.lock().unwrap().version
    }
}

impl State {
    fn believed(&self) -> &Records {
        self.replaced.as_ref().unwrap_or(&self.records)
    }

    fn apply(&mut self, edits: &[Edit]) {
        for edit in edits {
            match &edit.value {
                Some(value) => self.records.insert(edit.key.clone(), value.clone()),
                None => self.records.remove(&edit.key),
            };
        }
        self.version += 1;
    }
}

impl StateStore for SimStore {
    fn load(&self) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        match step("load the table") {
            Fate::Done => Ok(self.durable().into_iter().collect()),
            _ => Err(failed("input/output error")),
        }
    }

    /// Only recovery commits in this way: the start fails, and the next one reads what is durable.
    fn commit(&self, edits: &[Edit]) -> Result<(), StoreError> {
        let fate = step("store the recovered table");
        let result = Self::commit(self, edits, fate);
        if result.is_err() {
            self.crash();
        }
        result.map_err(|problem| failed(&problem))
    }
}

fn failed(problem: &str) -> StoreError {
    StoreError::Failed {
        path: PathBuf::from("table"),
        problem: problem.to_owned(),
    }
}
