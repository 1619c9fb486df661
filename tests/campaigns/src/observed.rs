//! What exists, seen from outside: by the file systems' tools, Samba's tools, the mount table and the file of the
//! store, never by the agent's own word.

use crate::Outcome;
use crate::stage::Stage;
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
    /// Everything that could be a copy: subvolumes with their volumes, data sets and snapshots, or
    /// what lies in the area of a volume.
    pub(crate) artefacts: BTreeSet<String>,
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
    /// What lies in the agent's areas and is no copy.
    pub(crate) strangers: Vec<PathBuf>,
    /// The agent's leavings among Samba's files.
    pub(crate) litter: Vec<PathBuf>,
    /// The store's records.
    pub(crate) records: BTreeMap<String, serde_json::Value>,
}

impl Observed {
    pub(crate) fn look(stage: &Stage) -> Outcome<Self> {
        let lab = &stage.lab;
        let (artefacts, strangers) = stage.backend.look(lab)?;
        let mut links = Vec::new();
        for folder in stage.backend.previous(lab) {
            links.extend(previous(&folder)?);
        }
        Ok(Self {
            artefacts,
            shares: shares(lab)?,
            descriptors: descriptors(lab)?,
            mounts: mounts(&lab.run_dir())?,
            run_dir: names(&lab.run_dir())?,
            links,
            strangers,
            litter: litter(lab)?,
            records: records(lab)?,
        })
    }

    /// Leaves out the second forms of copies whose RecoveryComplete was not answered: the next one,
    /// or the removal of the set, ends them.
    pub(crate) fn forget_half_seals(&mut self, copies: &[String]) {
        let is_half = |path: &str| {
            path.strip_suffix(".s")
                .is_some_and(|path| copies.iter().any(|copy| path.ends_with(copy)))
        };
        self.artefacts.retain(|path| !is_half(path));
        self.strangers
            .retain(|path| !is_half(&path.to_string_lossy()));
    }
}

/// Share and target of each link in a folder of previous versions.
fn previous(folder: &Path) -> Outcome<Vec<(String, String)>> {
    let mut links = Vec::new();
    if !folder.exists() {
        return Ok(links);
    }
    for share in names(folder)? {
        for label in names(&folder.join(&share))? {
            let link = folder.join(&share).join(label);
            let target = fs::read_link(link)?.to_string_lossy().into_owned();
            links.push((share.clone(), target));
        }
    }
    Ok(links)
}

pub(crate) fn names(directory: &Path) -> Outcome<BTreeSet<String>> {
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
