//! Jobs: what they are, and what they work on.

use fsrvp_idl::{ShadowCopyId, ShadowCopySetId};
use fsrvp_proto::job::{Artefact, Job, VolumeId};
use fsrvp_proto::view::SetView;
use std::collections::BTreeSet;

/// Kinds of jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JobKind {
    Locate,
    Prepare,
    Commit,
    Expose,
    Reach,
    Seal,
    Remove,
    Keep,
    InUse,
}

pub(crate) fn kind_of(job: &Job) -> JobKind {
    match job {
        Job::Locate { .. } => JobKind::Locate,
        Job::Prepare { .. } => JobKind::Prepare,
        Job::Commit { .. } => JobKind::Commit,
        Job::Expose { .. } => JobKind::Expose,
        Job::Reach { .. } => JobKind::Reach,
        Job::Seal { .. } => JobKind::Seal,
        Job::Remove { .. } => JobKind::Remove,
        Job::Keep { .. } => JobKind::Keep,
        Job::InUse { .. } => JobKind::InUse,
    }
}

/// The set that a job works for.
pub(crate) fn set_of(job: &Job) -> Option<ShadowCopySetId> {
    match job {
        Job::Prepare { set, .. }
        | Job::Commit { set, .. }
        | Job::Expose { set, .. }
        | Job::Seal { set, .. }
        | Job::Keep { set, .. } => Some(*set),
        Job::Locate { .. } | Job::Reach { .. } | Job::Remove { .. } | Job::InUse { .. } => None,
    }
}

pub(crate) fn copy_ids(set: &SetView) -> BTreeSet<ShadowCopyId> {
    set.copies.iter().map(|copy| copy.id).collect()
}

pub(crate) fn mapping_count(set: &SetView) -> usize {
    set.copies.iter().map(|copy| copy.mappings.len()).sum()
}

pub(crate) fn made_by(job: &Job) -> Vec<ShadowCopyId> {
    match job {
        Job::Commit { copies, .. } => copies.iter().map(|copy| copy.copy).collect(),
        Job::Expose { shares, .. } => shares.iter().map(|share| share.copy.copy).collect(),
        Job::Locate { .. }
        | Job::Prepare { .. }
        | Job::Reach { .. }
        | Job::Seal { .. }
        | Job::Remove { .. }
        | Job::Keep { .. }
        | Job::InUse { .. } => Vec::new(),
    }
}

/// Copies whose artefacts a job changes.
pub(crate) fn touched_by(job: &Job) -> BTreeSet<ShadowCopyId> {
    match job {
        Job::Locate { .. } | Job::Prepare { .. } | Job::InUse { .. } => BTreeSet::new(),
        Job::Keep { copies, .. } => copies.iter().map(|source| source.copy.copy).collect(),
        Job::Commit { copies, .. } => copies.iter().map(|copy| copy.copy).collect(),
        Job::Expose { shares, .. } | Job::Seal { shares, .. } => {
            shares.iter().map(|share| share.copy.copy).collect()
        }
        Job::Reach { share } => [share.copy.copy].into(),
        Job::Remove { artefacts } => artefacts.iter().filter_map(copy_of).collect(),
    }
}

/// The volumes that a job works on.
pub(crate) fn volumes_of(job: &Job) -> Vec<VolumeId> {
    match job {
        Job::Prepare { copies, .. } | Job::Commit { copies, .. } => {
            copies.iter().map(|copy| copy.volume.clone()).collect()
        }
        Job::Expose { shares, .. } | Job::Seal { shares, .. } => shares
            .iter()
            .map(|share| share.copy.volume.clone())
            .collect(),
        Job::Keep { copies, .. } => copies
            .iter()
            .map(|source| source.copy.volume.clone())
            .collect(),
        Job::Locate { .. } | Job::Reach { .. } | Job::Remove { .. } | Job::InUse { .. } => {
            Vec::new()
        }
    }
}

/// The copy that an artefact belongs to: exposed shares bear its id in their name.
pub(crate) fn copy_of(artefact: &Artefact) -> Option<ShadowCopyId> {
    match artefact {
        Artefact::Copy(reference) => Some(reference.copy),
        Artefact::Share(name) => {
            let (_, rest) = name.split_once("@{")?;
            let (guid, _) = rest.split_once('}')?;
            guid.parse().ok().map(ShadowCopyId)
        }
    }
}

pub(crate) fn short(job: &Job) -> String {
    match job {
        Job::Remove { artefacts } => format!("Remove {artefacts:?}"),
        Job::Locate { share } => format!("Locate {share}"),
        _ => format!("{:?} of {:?}", kind_of(job), set_of(job)),
    }
}
