//! Which names of a tree are wanted.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// What is wanted of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Filter {
    /// All of it.
    All,
    /// These names, each of which has to be there.
    Names(BTreeMap<CString, Arc<Filter>>),
}

impl Filter {
    /// What these paths ask for; a path that is no plain one below the share is given back.
    pub(super) fn of(paths: &[PathBuf]) -> Result<Self, PathBuf> {
        let mut filter = Self::Names(BTreeMap::new());
        for path in paths {
            let names = components(path).ok_or_else(|| path.clone())?;
            filter.add(&names);
        }
        Ok(filter)
    }

    fn add(&mut self, names: &[CString]) {
        let Some((first, rest)) = names.split_first() else {
            *self = Self::All;
            return;
        };
        if let Self::Names(known) = self {
            let below = known
                .entry(first.clone())
                .or_insert_with(|| Arc::new(Self::Names(BTreeMap::new())));
            Arc::make_mut(below).add(rest);
        }
    }

    /// What is wanted below a name; nothing if the name is not wanted.
    pub(super) fn below(&self, name: &CString) -> Option<Arc<Self>> {
        match self {
            Self::All => Some(Arc::new(Self::All)),
            Self::Names(names) => names.get(name).cloned(),
        }
    }

    /// What of this is about a name.
    pub(super) fn only(&self, name: &CString) -> Self {
        match self {
            Self::All => Self::All,
            Self::Names(names) => {
                let found = names.get_key_value(name);
                Self::Names(
                    found
                        .map(|(name, below)| (name.clone(), Arc::clone(below)))
                        .into_iter()
                        .collect(),
                )
            }
        }
    }

    /// The names that have to be there.
    pub(super) fn required(&self) -> impl Iterator<Item = &CString> {
        match self {
            Self::All => None,
            Self::Names(names) => Some(names.keys()),
        }
        .into_iter()
        .flatten()
    }

    /// Whether a file fulfils it.
    pub(super) fn takes_files(&self) -> bool {
        *self == Self::All
    }
}

/// The names of a path below a share: no root, no `..`, at least one.
fn components(path: &Path) -> Option<Vec<CString>> {
    let names: Option<Vec<_>> = path
        .components()
        .map(|part| match part {
            Component::Normal(name) => CString::new(name.as_bytes()).ok(),
            _ => None,
        })
        .collect();
    names.filter(|names| !names.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(paths: &[&str]) -> Result<Filter, PathBuf> {
        Filter::of(&paths.iter().map(PathBuf::from).collect::<Vec<_>>())
    }

    fn below(filter: &Filter, name: &str) -> Option<Arc<Filter>> {
        filter.below(&CString::new(name).unwrap())
    }

    #[test]
    fn a_directory_stands_for_all_that_is_in_it() {
        let filter = of(&["vm1/disk", "vm2", "vm2/disk", "vm3/a", "vm3/b"]).unwrap();
        assert!(!filter.takes_files());
        assert_eq!(filter.required().count(), 3);
        assert!(below(&filter, "vm4").is_none());
        let vm1 = below(&filter, "vm1").unwrap();
        assert!(below(&vm1, "disk").unwrap().takes_files());
        assert!(below(&vm1, "other").is_none());
        assert!(below(&filter, "vm2").unwrap().takes_files());
        assert_eq!(below(&filter, "vm3").unwrap().required().count(), 2);
    }

    #[test]
    fn an_empty_list_wants_nothing() {
        let filter = of(&[]).unwrap();
        assert!(below(&filter, "x").is_none());
        assert!(!filter.takes_files());
    }

    #[test]
    fn paths_that_lead_elsewhere() {
        for path in ["/etc", "../x", "a/../b", "", "."] {
            assert_eq!(of(&["good", path]).unwrap_err(), Path::new(path), "{path}");
        }
    }
}
