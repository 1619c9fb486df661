//! What has to be true whenever nothing is under way.

use crate::Outcome;
use crate::backend::Names;
use crate::ledger::Ledger;
use crate::observed::{Observed, VOLUMES};
use crate::stage::{FOREIGN, Stage};
use crate::view::{Status, View};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// ATTR_AUTO_RECOVERY of a context.
pub(crate) const AUTO_RECOVERY: u32 = 0x0040_0000;

/// What was there before the first set.
#[derive(Debug)]
pub(crate) struct Before {
    artefacts: BTreeSet<String>,
    shares: BTreeMap<String, BTreeMap<String, String>>,
    descriptors: BTreeMap<String, String>,
}

impl Before {
    pub(crate) fn look(stage: &Stage) -> Outcome<Self> {
        let Observed {
            artefacts,
            shares,
            descriptors,
            ..
        } = Observed::look(stage)?;
        if !shares.contains_key(FOREIGN) {
            return Err("the foreign share is not there".into());
        }
        Ok(Self {
            artefacts,
            shares,
            descriptors,
        })
    }
}

/// Compares what is there with what has to be there.
///
/// # Errors
/// Every difference.
pub(crate) fn check(stage: &Stage, before: &Before, ledger: &Ledger, view: &View) -> Outcome {
    let mut observed = Observed::look(stage)?;
    let mut problems = Vec::new();
    let mut problem = |text: String| problems.push(text);

    // Nothing is owned by nobody, nothing has been lost.
    let mut artefacts = Names::default();
    artefacts.must.clone_from(&before.artefacts);
    let mut points = Names::default();
    let mut shares: BTreeSet<String> = before.shares.keys().cloned().collect();
    let mut descriptors = before.descriptors.clone();
    let mut links = BTreeSet::new();
    let mut early_links = BTreeSet::new();
    let mut half_sealed = Vec::new();
    for set in ledger.sets.values() {
        for copy in &set.copies {
            let name = stage.exposed_name(copy.id, copy.base);
            let base = stage.bases.get(copy.base).ok_or("no such share")?;
            artefacts.extend(stage.names(copy.id, copy.base, set.status)?);
            points.extend(stage.backend.mount_points(&stage.lab, copy.id, set.status));
            if set.status >= Status::Committed {
                let found = stage.copy_hash(copy.id, copy.base);
                match (found, &copy.hash) {
                    (Ok(found), Some(hash)) if found == *hash => {}
                    (Ok(_), _) => problem(format!("the copy {} was altered", copy.id)),
                    (Err(error), _) => problem(format!("the copy {} is lost: {error}", copy.id)),
                }
            }
            if set.status == Status::Exposed && set.may_be_sealed {
                half_sealed.push(copy.id.to_string());
            }
            if set.status >= Status::Exposed {
                if let Some(descriptor) = before.descriptors.get(&base.name.to_lowercase()) {
                    descriptors.insert(name.to_lowercase(), descriptor.clone());
                }
                let writable = set.context & AUTO_RECOVERY != 0 && set.status != Status::Recovered;
                match observed.shares.get(&name) {
                    Some(share) => {
                        let copy = stage.copy_path(copy.id, copy.base)?;
                        let is_open = set.may_be_sealed && set.status != Status::Recovered;
                        let writable = (!is_open).then_some(writable);
                        if let Err(error) = check_share(share, &copy, writable) {
                            problem(format!("share {name}: {error}"));
                        }
                    }
                    None => problem(format!("the share {name} is missing")),
                }
                shares.insert(name);
                links.insert((base.name.to_lowercase(), copy.id.to_string()));
            } else if set.status == Status::Committed {
                early_links.insert((base.name.to_lowercase(), copy.id.to_string()));
            }
        }
    }
    observed.forget_half_seals(&half_sealed);
    artefacts.compare("copies", &observed.artefacts, &mut problem);
    let found: BTreeSet<_> = observed.shares.keys().cloned().collect();
    compare("shares", &found, &shares, &mut problem);
    for (name, parameters) in &before.shares {
        if observed.shares.get(name) != Some(parameters) {
            problem(format!("the foreign share {name} was touched"));
        }
    }
    let found: BTreeSet<_> = observed.descriptors.iter().collect();
    compare(
        "descriptors",
        &found,
        &descriptors.iter().collect(),
        &mut problem,
    );

    check_links(&observed, links, &early_links, &mut problem);
    check_mounts(stage, &observed, &points, &mut problem);
    for stranger in observed.strangers.iter().chain(&observed.litter) {
        problem(format!("left over: {}", stranger.display()));
    }
    check_records(&observed, view, &mut problem);
    let known: BTreeSet<_> = ledger.sets.keys().collect();
    let shown: BTreeSet<_> = view.sets.iter().map(|set| &set.id).collect();
    compare("sets", &shown, &known, &mut problem);
    for set in &view.sets {
        let exposed = set.copies.iter().flat_map(|copy| &copy.mappings);
        let all = exposed
            .clone()
            .all(|mapping| mapping.shadow_copy_share_name.is_some() == set.has_shares());
        if !all || (set.has_copies() && set.copies.is_empty()) {
            problem(format!("set {}: {:?} in part", set.id, set.status));
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(problems.join("\n").into())
}

fn compare<T: Ord + std::fmt::Debug>(
    what: &str,
    found: &BTreeSet<T>,
    expected: &BTreeSet<T>,
    problem: &mut impl FnMut(String),
) {
    for one in found.difference(expected) {
        problem(format!("{what}: nobody owns {one:?}"));
    }
    for one in expected.difference(found) {
        problem(format!("{what}: {one:?} is missing"));
    }
}

impl Names {
    fn extend(&mut self, other: Self) {
        self.must.extend(other.must);
        self.may.extend(other.may);
    }

    fn compare(&self, what: &str, found: &BTreeSet<String>, problem: &mut impl FnMut(String)) {
        let found = found.difference(&self.may).cloned().collect();
        compare(what, &found, &self.must, problem);
    }
}

/// Each volume is mounted once at most for the agent itself, each exposed copy once, and nothing
/// else is mounted.
fn check_mounts(
    stage: &Stage,
    observed: &Observed,
    points: &Names,
    problem: &mut impl FnMut(String),
) {
    let found: BTreeSet<_> = observed.mounts.iter().collect();
    let (roots, copies): (Vec<_>, Vec<_>) = found
        .iter()
        .partition(|mount| stage.backend.is_root(&stage.lab, mount));
    if found.len() != observed.mounts.len() || roots.len() > VOLUMES.len() {
        problem(format!("mounts: {:?}", observed.mounts));
    }
    let copies = copies
        .iter()
        .map(|mount: &&PathBuf| mount.display().to_string());
    points.compare("mounts", &copies.collect(), problem);
}

fn check_share(share: &BTreeMap<String, String>, copy: &Path, writable: Option<bool>) -> Outcome {
    let path = share.get("path").ok_or("no path")?;
    let (served, copy) = (fs::metadata(path)?, fs::metadata(copy)?);
    if (served.dev(), served.ino()) != (copy.dev(), copy.ino()) {
        return Err(format!("{path} is not the copy").into());
    }
    let read_only = share.get("read only").map_or("yes", String::as_str);
    if writable.is_some_and(|writable| (read_only == "no") != writable) {
        return Err(format!("read only = {read_only}, writable: {writable:?}").into());
    }
    // A seal counts when it was tried, by somebody whom no permission stops.
    let probe = Path::new(path).join("written after the seal");
    if writable == Some(false) && fs::write(&probe, "").is_ok() {
        let _ = fs::remove_file(probe);
        return Err(format!("{path} is not sealed").into());
    }
    Ok(())
}

/// Every exposed copy has one previous version in its share's folder, and there is no other but
/// those of an Expose that was undone, which go with their copy.
fn check_links(
    observed: &Observed,
    expected: BTreeSet<(String, String)>,
    early: &BTreeSet<(String, String)>,
    problem: &mut impl FnMut(String),
) {
    let mut found = BTreeSet::new();
    for (share, target) in &observed.links {
        let copy = target
            .strip_prefix("../../")
            .and_then(|t| t.split('/').next());
        let link = (share.to_lowercase(), copy.unwrap_or(target).to_owned());
        if !found.insert(link) {
            problem(format!("two previous versions of {share} lead to {target}"));
        }
    }
    let found = found
        .into_iter()
        .filter(|link| !early.contains(link))
        .collect();
    compare("previous versions", &found, &expected, problem);
}

fn check_records(observed: &Observed, view: &View, problem: &mut impl FnMut(String)) {
    let stored: BTreeSet<_> = observed
        .records
        .keys()
        .filter_map(|key| key.strip_prefix("set/").map(str::to_owned))
        .collect();
    let shown: BTreeSet<_> = view.sets.iter().map(|set| set.id.to_string()).collect();
    compare("records", &stored, &shown, problem);
    // A debt that is paid may stand there until the next commit; one that is not may not.
    for (key, record) in &observed.records {
        if !key.starts_with("debt/") {
            continue;
        }
        let artefact = record.pointer("/record/artefact");
        let text = |pointer| artefact.and_then(|a| a.pointer(pointer)?.as_str());
        let exists = match (text("/share"), text("/copy/copy")) {
            (Some(share), _) => observed.shares.contains_key(share),
            (_, Some(copy)) => observed.artefacts.iter().any(|path| path.contains(copy)),
            _ => true,
        };
        if exists {
            problem(format!("{key} is not paid: {record}"));
        }
    }
}
