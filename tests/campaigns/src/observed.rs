//! What exists, seen from outside: by btrfs, Samba's tools, the mount table and the file of the
//! store, never by the agent's own word.

use crate::Outcome;
use fsrvp_testkit::{Lab, Run};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The volumes of the laboratory that copies can be made on.
pub(crate) const VOLUMES: [&str; 2] = ["btrfs1", "btrfs2"];

/// The agent's area on a volume.
pub(crate) fn area(lab: &Lab, volume: &str) -> PathBuf {
    lab.volume(volume).join(".fsrvpd").join(lab.server_name())
}

/// Everything outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Observed {
    /// Path of each subvolume below its volume.
    pub(crate) subvolumes: BTreeSet<String>,
    /// Name and parameters of each share in the registry.
    pub(crate) shares: BTreeMap<String, BTreeMap<String, String>>,
    /// Each share security descriptor, as `tdbdump` shows it.
    pub(crate) descriptors: BTreeMap<String, String>,
    /// What is mounted in the agent's run directory.
    pub(crate) mounts: Vec<PathBuf>,
    /// What lies in the agent's run directory.
    pub(crate) run_dir: BTreeSet<String>,
    /// Previous versions: share and target of each link.
    pub(crate) links: Vec<(String, String)>,
    /// What lies in the agent's areas besides subvolumes.
    pub(crate) strangers: Vec<PathBuf>,
    /// The agent's leavings among Samba's files.
    pub(crate) litter: Vec<PathBuf>,
    /// The store's records.
    pub(crate) records: BTreeMap<String, serde_json::Value>,
}

impl Observed {
    pub(crate) fn look(lab: &Lab) -> Outcome<Self> {
        let mut observed = Self {
            subvolumes: BTreeSet::new(),
            shares: shares(lab)?,
            descriptors: descriptors(lab)?,
            mounts: mounts(&lab.run_dir())?,
            run_dir: names(&lab.run_dir())?,
            links: Vec::new(),
            strangers: Vec::new(),
            litter: litter(lab)?,
            records: records(lab)?,
        };
        for volume in VOLUMES {
            let listed = Run::new("btrfs")
                .args(["subvolume", "list"])
                .arg(lab.volume(volume))
                .check()?;
            let paths = listed.stdout.lines().filter_map(|line| {
                let (_, path) = line.split_once(" path ")?;
                Some(format!("{volume}/{path}"))
            });
            observed.subvolumes.extend(paths);
            observed.look_into(lab, volume)?;
        }
        Ok(observed)
    }

    /// Leaves out the second forms of copies whose RecoveryComplete was not answered: the next one,
    /// or the removal of the set, ends them.
    pub(crate) fn forget_half_seals(&mut self, copies: &[String]) {
        let is_half = |path: &str| {
            path.strip_suffix(".s")
                .is_some_and(|path| copies.iter().any(|copy| path.ends_with(copy)))
        };
        self.subvolumes.retain(|path| !is_half(path));
        self.strangers
            .retain(|path| !is_half(&path.to_string_lossy()));
    }

    fn look_into(&mut self, lab: &Lab, volume: &str) -> Outcome {
        let area = area(lab, volume);
        if !area.exists() {
            return Ok(());
        }
        for entry in fs::read_dir(&area)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name == "previous" {
                for share in names(&entry.path())? {
                    for label in names(&entry.path().join(&share))? {
                        let link = entry.path().join(&share).join(label);
                        let target = fs::read_link(link)?.to_string_lossy().into_owned();
                        self.links.push((share.clone(), target));
                    }
                }
            } else if uuid::Uuid::parse_str(&name).is_err() {
                self.strangers.push(entry.path());
            }
        }
        Ok(())
    }
}

fn names(directory: &Path) -> Outcome<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(directory)? {
        names.insert(entry?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

fn shares(lab: &Lab) -> Outcome<BTreeMap<String, BTreeMap<String, String>>> {
    let listed = Run::new("net")
        .arg("-s")
        .arg(lab.smb_conf())
        .args(["conf", "list"])
        .check()?;
    let mut shares: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut current = None;
    for line in listed.stdout.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            current = Some(shares.entry(name.to_owned()).or_default());
        } else if let (Some(share), Some((key, value))) = (&mut current, line.split_once(" = ")) {
            share.insert(key.trim().to_owned(), value.trim().to_owned());
        }
    }
    shares.remove("global");
    Ok(shares)
}

fn descriptors(lab: &Lab) -> Outcome<BTreeMap<String, String>> {
    let table = lab.samba_state_dir().join("share_info.tdb");
    if !table.exists() {
        return Ok(BTreeMap::new());
    }
    let dump = Run::new("tdbdump").arg(table).check()?.stdout;
    let mut found = BTreeMap::new();
    let mut share = None;
    for line in dump.lines() {
        if let Some((_, key)) = line.split_once("\"SECDESC/") {
            share = key.strip_suffix("\\00\"").map(str::to_owned);
        } else if line.starts_with("data(")
            && let Some(share) = share.take()
        {
            let value = line.split_once(" = ").map_or(line, |(_, value)| value);
            found.insert(share, value.to_owned());
        }
    }
    Ok(found)
}

fn mounts(below: &Path) -> Outcome<Vec<PathBuf>> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    Ok(points
        .map(PathBuf::from)
        .filter(|point| point.starts_with(below))
        .collect())
}

/// Files of the agent that outlived it: import files, staged stores, mailboxes of dead processes.
fn litter(lab: &Lab) -> Outcome<Vec<PathBuf>> {
    let mut litter = Vec::new();
    for name in names(&lab.samba_state_dir())? {
        if name.starts_with(".fsrvpd") && name.contains("import") {
            litter.push(lab.samba_state_dir().join(name));
        }
    }
    for name in names(&lab.state_dir())? {
        if !["lock", "children", "table.redb"].contains(&name.as_str()) {
            litter.push(lab.state_dir().join(name));
        }
    }
    Ok(litter)
}

/// The records of a copy of the store's file: the agent holds the file itself.
pub(crate) fn records(lab: &Lab) -> Outcome<BTreeMap<String, serde_json::Value>> {
    const RECORDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("records");
    let place = tempfile::tempdir()?;
    let copy = place.path().join("table.redb");
    fs::copy(lab.state_dir().join("table.redb"), &copy)?;
    let database = Database::open(&copy)?;
    let read = database.begin_read()?;
    let mut records = BTreeMap::new();
    for entry in read.open_table(RECORDS)?.iter()? {
        let (key, value) = entry?;
        records.insert(
            key.value().to_owned(),
            serde_json::from_slice(value.value())?,
        );
    }
    Ok(records)
}
