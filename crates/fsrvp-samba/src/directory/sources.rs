//! Which files smb.conf consists of, so that a cached view of it can be told to be fresh.

use super::definition::truth;
use std::collections::HashSet;
use std::fs::Metadata;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Files changed more recently than this, seen from the moment of reading, may change again
/// without a new time stamp.
const RACY: Duration = Duration::from_millis(50);
/// Deepest nesting of include files, as a guard against loops; Samba stops at 100.
const MAX_DEPTH: u32 = 100;
/// Where a TDB file keeps its sequence number: after magic text, version, hash size, two locks.
const TDB_SEQUENCE_OFFSET: u64 = 48;

/// Identity and time stamps of one file; `None`: it does not exist.
type Stamp = Option<(u64, u64, u64, i64, i64, i64, i64)>;

/// The files behind a configuration and what their state was.
#[derive(Debug)]
pub(crate) struct Sources {
    files: Vec<(PathBuf, Stamp)>,
    /// Registry, with its sequence number, if the global section depends on it.
    registry: Option<(PathBuf, Option<u32>)>,
    /// Names of the sections in the files, in lower case.
    sections: HashSet<String>,
    /// Whether something is included whose name depends on the client.
    fickle: bool,
    /// `registry shares` of the global section, if it is told.
    registry_shares: Option<bool>,
    in_global: bool,
    taken: SystemTime,
}

impl Sources {
    /// Walks `smb_conf` and its include files.
    pub(crate) fn walk(smb_conf: &Path, registry: &Path) -> Self {
        let mut sources = Self {
            files: Vec::new(),
            registry: None,
            sections: HashSet::new(),
            fickle: false,
            registry_shares: None,
            in_global: true,
            taken: SystemTime::now(),
        };
        sources.read(smb_conf, registry, 0);
        sources
    }

    /// Whether nothing has changed since the walk.
    pub(super) fn is_fresh(&self) -> bool {
        let newest = self.taken.checked_sub(RACY);
        !self.fickle
            && self
                .files
                .iter()
                .all(|(path, stamp)| stamp_of(path) == *stamp && !is_racy(stamp, newest))
            && self
                .registry
                .as_ref()
                .is_none_or(|(path, number)| sequence_number(path) == *number)
    }

    /// Whether the files have a section of this name, given in lower case.
    pub(super) fn has_section(&self, folded: &str) -> bool {
        self.sections.contains(folded)
    }

    /// Whether the files themselves switch the registry's shares on; what depends on the client or
    /// on the registry counts as not told.
    pub(crate) fn has_registry_shares(&self) -> bool {
        !self.fickle && self.registry_shares == Some(true)
    }

    fn read(&mut self, path: &Path, registry: &Path, depth: u32) {
        // The stamp is taken before the contents: a change in between makes it stale.
        self.files.push((path.to_owned(), stamp_of(path)));
        let Ok(text) = std::fs::read(path) else {
            return;
        };
        let text = String::from_utf8_lossy(&text);
        for line in logical_lines(&text) {
            let line = line.trim();
            if let Some(name) = line
                .strip_prefix('[')
                .and_then(|line| line.split(']').next())
            {
                let name = name.trim().to_lowercase();
                self.in_global = name == "global";
                self.sections.insert(name);
                continue;
            }
            let Some((key, value)) = line.split_once('=') else {
                continue;
            };
            let key: String = key.split_whitespace().collect::<String>().to_lowercase();
            let value = value.trim().trim_matches('"');
            match key.as_str() {
                "include" | "configfile" if value.eq_ignore_ascii_case("registry") => {
                    self.depend_on(registry);
                }
                "configbackend" if value.eq_ignore_ascii_case("registry") => {
                    self.depend_on(registry);
                }
                "registryshares" if self.in_global => {
                    self.registry_shares = truth(value).then_some(true);
                }
                "include" | "configfile" if value.contains('%') => self.fickle = true,
                "include" | "configfile" if depth < MAX_DEPTH => {
                    self.read(Path::new(value), registry, depth.saturating_add(1));
                }
                _ => {}
            }
        }
    }

    fn depend_on(&mut self, registry: &Path) {
        self.registry = Some((registry.to_owned(), sequence_number(registry)));
    }
}

fn stamp_of(path: &Path) -> Stamp {
    let stamp = |data: Metadata| {
        (
            data.dev(),
            data.ino(),
            data.len(),
            data.mtime(),
            data.mtime_nsec(),
            data.ctime(),
            data.ctime_nsec(),
        )
    };
    std::fs::metadata(path).ok().map(stamp)
}

fn is_racy(stamp: &Stamp, newest: Option<SystemTime>) -> bool {
    let Some((.., seconds, nanoseconds)) = *stamp else {
        return false;
    };
    let (Ok(seconds), Ok(nanoseconds)) = (u64::try_from(seconds), u32::try_from(nanoseconds))
    else {
        return true;
    };
    let changed = SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanoseconds));
    changed > newest
}

/// The sequence number of a TDB file; it changes with every change of the data base.
pub(super) fn sequence_number(path: &Path) -> Option<u32> {
    let mut number = [0; 4];
    let file = std::fs::File::open(path).ok()?;
    file.read_exact_at(&mut number, TDB_SEQUENCE_OFFSET).ok()?;
    Some(u32::from_ne_bytes(number))
}

/// Lines without comments, continuation lines joined.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut pending = String::new();
    for line in text.lines() {
        let trimmed = line.trim_end();
        if pending.is_empty() && trimmed.trim_start().starts_with(['#', ';']) {
            continue;
        }
        match trimmed.strip_suffix('\\') {
            Some(part) => pending.push_str(part),
            None => {
                pending.push_str(trimmed);
                lines.push(std::mem::take(&mut pending));
            }
        }
    }
    lines.push(pending);
    lines
}
