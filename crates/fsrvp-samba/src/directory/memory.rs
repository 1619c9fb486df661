//! A share directory without Samba: for tests, and for laboratories whose shares are named in a
//! file.

use fsrvp_idl::ShareName;
use fsrvp_proto::ShareDirectory;
use fsrvp_proto::directory::{BaseShare, ExposedShare, Publication};
use fsrvp_proto::job::{Failure, FailureKind};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A method of [`ShareDirectory`] that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// [`ShareDirectory::lookup`]
    Lookup,
    /// [`ShareDirectory::publish`]
    Publish,
    /// [`ShareDirectory::make_read_only`]
    MakeReadOnly,
    /// [`ShareDirectory::withdraw`]
    Withdraw,
    /// [`ShareDirectory::exposed`]
    Exposed,
    /// [`ShareDirectory::in_use`]
    InUse,
}

/// The file could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StaticError {
    /// No such file, or no permission.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not what is expected.
    #[error("{path} is not as it should be: {source}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
}

/// Shares that are kept in memory, and in a JSON file if there is one.
///
/// The file is `{"names": ["LAB"], "shares": [{"name": "docs", "path": "/srv/docs"}]}`; what is
/// exposed is written next to it, to `<file>.exposed`.
#[derive(Debug, Default)]
pub struct StaticDirectory {
    state: Mutex<State>,
    /// Where exposed shares are kept over restarts.
    exposed_file: Option<PathBuf>,
}

#[derive(Debug, Default)]
struct State {
    names: Vec<String>,
    base: BTreeMap<ShareName, PathBuf>,
    exposed: BTreeMap<ShareName, Record>,
    faults: BTreeMap<Operation, Failure>,
    cut: Vec<String>,
    in_use: BTreeSet<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Record {
    name: String,
    path: PathBuf,
    read_only: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    names: Vec<String>,
    shares: Vec<FileShare>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileShare {
    name: String,
    path: PathBuf,
}

impl StaticDirectory {
    /// A directory in memory with no shares, under the name of `server`.
    #[must_use]
    pub fn new(server: impl Into<String>) -> Self {
        let state = State {
            names: vec![server.into()],
            ..State::default()
        };
        Self {
            state: Mutex::new(state),
            exposed_file: None,
        }
    }

    /// Reads the shares from a file, and what was exposed before from the file next to it.
    ///
    /// # Errors
    /// A file that is missing or not as it should be.
    pub fn load(path: &Path) -> Result<Self, StaticError> {
        let file: File = read_json(path)?;
        let mut exposed_file = path.as_os_str().to_owned();
        exposed_file.push(".exposed");
        let exposed_file = PathBuf::from(exposed_file);
        let exposed: Vec<Record> = if exposed_file.exists() {
            read_json(&exposed_file)?
        } else {
            Vec::new()
        };
        let state = State {
            names: file.names,
            base: file
                .shares
                .into_iter()
                .map(|share| (ShareName::new(share.name), share.path))
                .collect(),
            exposed: exposed
                .into_iter()
                .map(|record| (ShareName::new(record.name.as_str()), record))
                .collect(),
            ..State::default()
        };
        Ok(Self {
            state: Mutex::new(state),
            exposed_file: Some(exposed_file),
        })
    }

    /// Adds or replaces a base share.
    pub fn add_share(&self, name: &str, path: impl Into<PathBuf>) {
        let mut state = self.lock();
        // An insert alone would keep the old spelling of the name.
        state.base.remove(&ShareName::new(name));
        state.base.insert(ShareName::new(name), path.into());
    }

    /// Removes a base share.
    pub fn remove_share(&self, name: &str) {
        self.lock().base.remove(&ShareName::new(name));
    }

    /// The directories of all base shares.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        self.lock().base.values().cloned().collect()
    }

    /// Lets an exposed share count as used by a client, or not any more.
    pub fn set_in_use(&self, name: &str, in_use: bool) {
        let mut state = self.lock();
        if in_use {
            state.in_use.insert(name.to_owned());
        } else {
            state.in_use.remove(name);
        }
    }

    /// Lets every call of `operation` fail with `failure`, or none any more.
    pub fn set_fault(&self, operation: Operation, failure: Option<Failure>) {
        let mut state = self.lock();
        match failure {
            Some(failure) => state.faults.insert(operation, failure),
            None => state.faults.remove(&operation),
        };
    }

    /// The exposed shares whose connections have been cut, in order.
    #[must_use]
    pub fn cut_connections(&self) -> Vec<String> {
        self.lock().cut.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts `exposed` in force once it is stored.
    fn commit(
        &self,
        state: &mut State,
        exposed: BTreeMap<ShareName, Record>,
    ) -> Result<(), Failure> {
        if let Some(path) = &self.exposed_file {
            let records: Vec<&Record> = exposed.values().collect();
            write_json(path, &records).map_err(|error| {
                let text = format!("cannot write {}: {error}", path.display());
                Failure::new(FailureKind::Other, text)
            })?;
        }
        state.exposed = exposed;
        Ok(())
    }
}

impl State {
    fn fault(&self, operation: Operation) -> Result<(), Failure> {
        match self.faults.get(&operation) {
            Some(failure) => Err(failure.clone()),
            None => Ok(()),
        }
    }
}

fn missing(name: &str) -> Failure {
    Failure::new(FailureKind::NotFound, format!("there is no share {name:?}"))
}

impl ShareDirectory for StaticDirectory {
    fn lookup(&self, share: &ShareName) -> Result<BaseShare, Failure> {
        let state = self.lock();
        state.fault(Operation::Lookup)?;
        if let Some((name, path)) = state.base.get_key_value(share) {
            return Ok(BaseShare {
                name: name.clone(),
                path: path.clone(),
            });
        }
        let record = state
            .exposed
            .get(share)
            .ok_or_else(|| missing(share.as_str()))?;
        Ok(BaseShare {
            name: ShareName::new(record.name.as_str()),
            path: record.path.clone(),
        })
    }

    fn publish(&self, shares: &[Publication]) -> Result<(), Failure> {
        let mut state = self.lock();
        state.fault(Operation::Publish)?;
        let mut exposed = state.exposed.clone();
        for share in shares {
            let name = ShareName::new(share.exposure.name.as_str());
            let base = &share.exposure.base;
            if !state.base.contains_key(base) && !state.exposed.contains_key(base) {
                return Err(missing(base.as_str()));
            }
            if state.base.contains_key(&name) {
                let text = format!("the share {:?} exists and is not ours", name.as_str());
                return Err(Failure::new(FailureKind::Other, text));
            }
            let record = Record {
                name: share.exposure.name.clone(),
                path: share.path.clone(),
                read_only: !share.exposure.writable,
            };
            exposed.insert(name, record);
        }
        self.commit(&mut state, exposed)
    }

    fn make_read_only(&self, names: &[String]) -> Result<(), Failure> {
        let mut state = self.lock();
        state.fault(Operation::MakeReadOnly)?;
        let mut exposed = state.exposed.clone();
        for name in names {
            exposed
                .get_mut(&ShareName::new(name.as_str()))
                .ok_or_else(|| missing(name))?
                .read_only = true;
        }
        self.commit(&mut state, exposed)?;
        state.cut.extend_from_slice(names);
        Ok(())
    }

    fn withdraw(&self, name: &str) -> Result<(), Failure> {
        let mut state = self.lock();
        state.fault(Operation::Withdraw)?;
        if state.base.contains_key(&ShareName::new(name)) {
            let text = format!("the share {name:?} exists and is not ours");
            return Err(Failure::new(FailureKind::Other, text));
        }
        let mut exposed = state.exposed.clone();
        if exposed.remove(&ShareName::new(name)).is_some() {
            self.commit(&mut state, exposed)?;
            state.cut.push(name.to_owned());
        }
        Ok(())
    }

    fn exposed(&self) -> Result<Vec<ExposedShare>, Failure> {
        let state = self.lock();
        state.fault(Operation::Exposed)?;
        Ok(state
            .exposed
            .values()
            .map(|record| ExposedShare {
                name: record.name.clone(),
                path: record.path.clone(),
                read_only: record.read_only,
            })
            .collect())
    }

    fn bases(&self) -> Result<Vec<ShareName>, Failure> {
        Ok(self.lock().base.keys().cloned().collect())
    }

    fn in_use(&self, names: &[String]) -> Result<BTreeSet<String>, Failure> {
        let state = self.lock();
        state.fault(Operation::InUse)?;
        let used = names.iter().filter(|name| state.in_use.contains(*name));
        Ok(used.cloned().collect())
    }

    fn serving_process(&self) -> Option<u32> {
        None
    }

    fn server_names(&self) -> Result<Vec<String>, Failure> {
        let names: BTreeSet<String> = self.lock().names.iter().cloned().collect();
        Ok(names.into_iter().collect())
    }
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, StaticError> {
    let text = std::fs::read(path).map_err(|source| StaticError::Read {
        path: path.to_owned(),
        source,
    })?;
    serde_json::from_slice(&text).map_err(|source| StaticError::Parse {
        path: path.to_owned(),
        source,
    })
}

/// Replaces the file in one step, durably.
fn write_json<T: Serialize>(path: &Path, value: &T) -> std::io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let mut file = std::fs::File::create(&temporary)?;
    file.write_all(serde_json::to_string_pretty(value)?.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    std::fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
