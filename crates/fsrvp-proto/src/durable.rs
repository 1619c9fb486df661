//! The table that outlives the process, and the only place that knows its stored format.
//!
//! Every record is JSON with a version: `context`, `boot`, `set/<guid>`, `debt/<number>`.

use crate::action::Edit;
use crate::job::Artefact;
use crate::set::{SetStatus, ShadowCopySet};
use fsrvp_idl::{Context, FileTime, ShadowCopyId, ShadowCopySetId, ShareName};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Version of the records that this code writes, and the newest that it reads.
pub const FORMAT_VERSION: u32 = 1;

/// Why stored records are no table. The records are left as they are.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// A newer program wrote the record.
    #[error(
        "record {key:?} has version {found}, and this program reads up to {FORMAT_VERSION}: start \
         the version of fsrvpd that wrote it"
    )]
    Newer {
        /// The record.
        key: String,
        /// Its version.
        found: u32,
    },
    /// The record cannot be read.
    #[error("record {key:?} is damaged")]
    Damaged {
        /// The record.
        key: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The record's content contradicts its key, or another record.
    #[error("record {key:?} is damaged: {reason}")]
    Inconsistent {
        /// The record.
        key: String,
        /// The contradiction.
        reason: String,
    },
    /// No record of an agent has such a key.
    #[error("record {key:?} is not one of this program's")]
    UnknownKey {
        /// The record.
        key: String,
    },
}

/// \[3.1.1.1\] The global state that SetContext owns.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextRecord {
    /// CurrentContext while ContextSet is TRUE, else `None`.
    pub current: Option<Context>,
    /// ShadowCopyClientAddress; `None` is NULL, and also a caller without a network address.
    pub address: Option<IpAddr>,
    /// ShadowCopyClientRetryCount.
    pub retry_count: u32,
}

impl ContextRecord {
    /// \[3.1.4.7\] "set ContextSet to FALSE, set ShadowCopyClientAddress to NULL".
    #[must_use]
    pub fn cleared(&self) -> Self {
        Self {
            current: None,
            address: None,
            retry_count: self.retry_count,
        }
    }
}

/// Something that was to be removed and may still be there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DebtRecord {
    /// What has to go.
    pub artefact: Artefact,
    /// The copy that it belongs to, where that is known.
    pub copy: Option<ShadowCopyId>,
    /// The set that it belonged to, where that is known.
    pub set: Option<ShadowCopySetId>,
    /// When it became a debt.
    pub since: FileTime,
}

#[derive(Serialize)]
struct WriteRecord<'a, T> {
    version: u32,
    record: &'a T,
}

#[derive(Deserialize)]
struct ReadRecord<T> {
    record: T,
}

#[derive(Deserialize)]
struct RecordHead {
    version: u32,
}

const CONTEXT_KEY: &str = "context";
const BOOT_KEY: &str = "boot";
const SET_PREFIX: &str = "set/";
const DEBT_PREFIX: &str = "debt/";

/// The durable state of one agent.
///
/// INVARIANT: while a change is being stored the table is what the store last confirmed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    context: ContextRecord,
    boot_id: Option<String>,
    sets: BTreeMap<ShadowCopySetId, ShadowCopySet>,
    debts: BTreeMap<u64, DebtRecord>,
    /// Index: the copies of all sets.
    copies: BTreeSet<ShadowCopyId>,
    /// Index: the sets short of Recovered.
    unrecovered: BTreeSet<ShadowCopySetId>,
    /// Index: the names of all exposed shares, folded.
    exposed_names: BTreeSet<String>,
}

/// The copies of those sets that edits record as committed, or as further than that.
#[must_use]
pub fn committed_copies(edits: &[Edit]) -> BTreeSet<ShadowCopyId> {
    let set_of = |edit: &Edit| {
        let bytes = edit.value.as_ref()?;
        let is_set = edit.key.starts_with(SET_PREFIX);
        is_set.then(|| decode::<ShadowCopySet>(edit.key.clone(), bytes).ok())?
    };
    let is_committed = |set: &ShadowCopySet| match set.status {
        SetStatus::Started | SetStatus::Added | SetStatus::CreationInProgress => false,
        SetStatus::Committed | SetStatus::Exposed | SetStatus::Recovered => true,
    };
    edits
        .iter()
        .filter_map(set_of)
        .filter(is_committed)
        .flat_map(|set| set.copies.into_iter().map(|copy| copy.id))
        .collect()
}

/// One atomic change of the table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) context: Option<ContextRecord>,
    pub(crate) boot_id: Option<String>,
    pub(crate) sets: BTreeMap<ShadowCopySetId, Option<ShadowCopySet>>,
    pub(crate) debts: BTreeMap<u64, Option<DebtRecord>>,
}

impl Table {
    /// Reads the records of a store; none at all is the empty table of a first start.
    ///
    /// # Errors
    /// [`TableError`], naming the record. Nothing is guessed: a damaged table is never replaced by
    /// an empty one.
    pub fn load(records: impl IntoIterator<Item = (String, Vec<u8>)>) -> Result<Self, TableError> {
        let mut table = Self::default();
        for (key, bytes) in records {
            if key == CONTEXT_KEY {
                table.context = decode(key, &bytes)?;
            } else if key == BOOT_KEY {
                table.boot_id = Some(decode(key, &bytes)?);
            } else if key.starts_with(SET_PREFIX) {
                table.load_set(key, &bytes)?;
            } else if let Some(number) = key.strip_prefix(DEBT_PREFIX) {
                let Ok(number) = u64::from_str_radix(number, 16) else {
                    return Err(TableError::UnknownKey { key });
                };
                table.debts.insert(number, decode(key, &bytes)?);
            } else {
                return Err(TableError::UnknownKey { key });
            }
        }
        Ok(table)
    }

    fn load_set(&mut self, key: String, bytes: &[u8]) -> Result<(), TableError> {
        let set: ShadowCopySet = decode(key.clone(), bytes)?;
        if set_key(set.id) != key {
            let reason = format!("it holds the set {}", set.id);
            return Err(TableError::Inconsistent { key, reason });
        }
        if set.status == SetStatus::CreationInProgress {
            let reason = "a set in creation is never stored".to_owned();
            return Err(TableError::Inconsistent { key, reason });
        }
        for copy in &set.copies {
            if self.copies.contains(&copy.id) {
                let reason = format!("another set holds the shadow copy {} too", copy.id);
                return Err(TableError::Inconsistent { key, reason });
            }
        }
        self.put_set(set);
        Ok(())
    }

    /// ContextSet, CurrentContext, ShadowCopyClientAddress, ShadowCopyClientRetryCount.
    #[must_use]
    pub const fn context(&self) -> &ContextRecord {
        &self.context
    }

    /// The boot of the machine in which the table was last recovered.
    #[must_use]
    pub fn boot_id(&self) -> Option<&str> {
        self.boot_id.as_deref()
    }

    /// GlobalShadowCopySetTable, by id.
    pub fn sets(&self) -> impl Iterator<Item = &ShadowCopySet> {
        self.sets.values()
    }

    /// The sets short of Recovered.
    pub(crate) fn unrecovered(&self) -> impl Iterator<Item = &ShadowCopySet> {
        self.unrecovered.iter().filter_map(|id| self.sets.get(id))
    }

    /// Looks a set up.
    #[must_use]
    pub fn set(&self, id: ShadowCopySetId) -> Option<&ShadowCopySet> {
        self.sets.get(&id)
    }

    /// What is owed, oldest first.
    pub fn debts(&self) -> impl Iterator<Item = (u64, &DebtRecord)> {
        self.debts.iter().map(|(number, debt)| (*number, debt))
    }

    pub(crate) fn debt(&self, number: u64) -> Option<&DebtRecord> {
        self.debts.get(&number)
    }

    /// Whether the table has a shadow copy of this id.
    #[must_use]
    pub fn has_copy(&self, id: ShadowCopyId) -> bool {
        self.copies.contains(&id)
    }

    /// Whether a share of this name is one that we exposed, by our records.
    pub(crate) fn is_exposed_name(&self, name: &ShareName) -> bool {
        self.exposed_names.contains(&name.folded())
    }

    /// The first number that no debt has had.
    pub(crate) fn next_debt(&self) -> u64 {
        self.debts
            .last_key_value()
            .map_or(0, |(last, _)| last.saturating_add(1))
    }

    /// Makes a change that the store has confirmed.
    pub(crate) fn apply(&mut self, change: Change) {
        if let Some(context) = change.context {
            self.context = context;
        }
        if let Some(boot_id) = change.boot_id {
            self.boot_id = Some(boot_id);
        }
        for (id, set) in change.sets {
            self.take_set(id);
            if let Some(set) = set {
                self.put_set(set);
            }
        }
        for (number, debt) in change.debts {
            match debt {
                Some(debt) => self.debts.insert(number, debt),
                None => self.debts.remove(&number),
            };
        }
    }

    fn put_set(&mut self, set: ShadowCopySet) {
        self.copies.extend(set.copies.iter().map(|copy| copy.id));
        if set.status < SetStatus::Recovered {
            self.unrecovered.insert(set.id);
        }
        if set.is_exposed() {
            self.exposed_names.extend(exposed_names(&set));
        }
        self.sets.insert(set.id, set);
    }

    fn take_set(&mut self, id: ShadowCopySetId) {
        let Some(set) = self.sets.remove(&id) else {
            return;
        };
        for copy in &set.copies {
            self.copies.remove(&copy.id);
        }
        self.unrecovered.remove(&id);
        for name in exposed_names(&set) {
            self.exposed_names.remove(&name);
        }
    }
}

fn exposed_names(set: &ShadowCopySet) -> impl Iterator<Item = String> {
    set.mappings()
        .map(|(_, mapping)| ShareName::new(&mapping.shadow_copy_share_name).folded())
}

impl Change {
    /// The edits of the store that make the change.
    pub(crate) fn edits(&self) -> Vec<Edit> {
        let mut edits = Vec::new();
        if let Some(context) = &self.context {
            edits.push(put(CONTEXT_KEY.to_owned(), context));
        }
        if let Some(boot_id) = &self.boot_id {
            edits.push(put(BOOT_KEY.to_owned(), boot_id));
        }
        for (id, set) in &self.sets {
            edits.push(put_or_remove(set_key(*id), set.as_ref()));
        }
        for (number, debt) in &self.debts {
            edits.push(put_or_remove(debt_key(*number), debt.as_ref()));
        }
        edits
    }
}

fn set_key(id: ShadowCopySetId) -> String {
    format!("{SET_PREFIX}{id}")
}

fn debt_key(number: u64) -> String {
    format!("{DEBT_PREFIX}{number:016x}")
}

fn put<T: Serialize>(key: String, record: &T) -> Edit {
    put_or_remove(key, Some(record))
}

#[expect(
    clippy::expect_used,
    reason = "only maps with keys that are no text fail, and we have none"
)]
fn put_or_remove<T: Serialize>(key: String, record: Option<&T>) -> Edit {
    let value = record.map(|record| {
        let record = WriteRecord {
            version: FORMAT_VERSION,
            record,
        };
        serde_json::to_vec(&record).expect("a record is JSON")
    });
    Edit { key, value }
}

fn decode<T: DeserializeOwned>(key: String, bytes: &[u8]) -> Result<T, TableError> {
    let head: RecordHead = match serde_json::from_slice(bytes) {
        Ok(head) => head,
        Err(source) => return Err(TableError::Damaged { key, source }),
    };
    if head.version > FORMAT_VERSION {
        return Err(TableError::Newer {
            key,
            found: head.version,
        });
    }
    match serde_json::from_slice::<ReadRecord<T>>(bytes) {
        Ok(read) => Ok(read.record),
        Err(source) => Err(TableError::Damaged { key, source }),
    }
}

/// A path in a record: text where it is UTF-8, else its bytes.
pub(crate) mod path_text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::{Path, PathBuf};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Stored {
        Text(String),
        Bytes(Vec<u8>),
    }

    pub(crate) fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        match path.to_str() {
            Some(text) => to.serialize_str(text),
            None => path.as_os_str().as_bytes().serialize(to),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        Ok(match Stored::deserialize(from)? {
            Stored::Text(text) => text.into(),
            Stored::Bytes(bytes) => OsString::from_vec(bytes).into(),
        })
    }
}
