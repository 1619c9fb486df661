//! Share names and UNC paths, as text: nothing here resolves or opens anything.

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

/// Longest UNC path that is looked at, in characters; longer ones are malformed.
pub const MAX_UNC_CHARACTERS: usize = 1_024;

/// The name of a share. Compared without case, shown as it was given.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ShareName(String);

impl ShareName {
    /// Wraps a name without any check; wire names come through [`UncPath::parse`].
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name in lower case, under which two spellings are the same share.
    #[must_use]
    pub fn folded(&self) -> String {
        self.0.to_lowercase()
    }
}

impl PartialEq for ShareName {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for ShareName {}

impl PartialOrd for ShareName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ShareName {
    fn cmp(&self, other: &Self) -> Ordering {
        let fold = |name: &str| {
            name.chars()
                .flat_map(char::to_lowercase)
                .collect::<Vec<_>>()
        };
        fold(&self.0).cmp(&fold(&other.0))
    }
}

impl Hash for ShareName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for c in self.0.chars().flat_map(char::to_lowercase) {
            c.hash(state);
        }
    }
}

impl fmt::Display for ShareName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `\\host\share`, with or without one trailing backslash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UncPath {
    /// The host as text; never resolved.
    pub host: String,
    /// The share.
    pub share: ShareName,
}

/// Why a text is no UNC path of a share; every variant is E_INVALIDARG on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The empty name counts as NULL.
    #[error("the share name is empty")]
    Empty,
    /// Over [`MAX_UNC_CHARACTERS`].
    #[error("the share name has {0} characters, more than 1024")]
    TooLong(usize),
    /// Not `\\host\share`.
    #[error("the name is not of the form \\\\host\\share")]
    Malformed,
    /// Something follows the share.
    #[error("the name has components after the share")]
    Trailing,
    /// A character that no share name may have.
    #[error("the name holds the character {0:?}, which no share name may have")]
    Character(char),
}
