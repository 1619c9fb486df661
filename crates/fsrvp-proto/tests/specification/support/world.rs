//! The world that jobs change: base shares, snapshots, exposed shares; and a fake executor.

use fsrvp_idl::{ShadowCopyId, ShareName};
use fsrvp_proto::job::{
    Artefact, BackendName, CopyRef, Exposure, Failure, FailureKind, Job, JobOutcome, Located,
    VolumeId,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// A base share.
#[derive(Debug, Clone)]
pub(crate) struct BaseShare {
    pub(crate) volume: &'static str,
    pub(crate) backend: &'static str,
    pub(crate) compatibility: i32,
    pub(crate) fault: Option<FailureKind>,
}

/// A snapshot that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) reference: CopyRef,
    pub(crate) sealed: bool,
}

/// An exposed share that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExposedShare {
    pub(crate) copy: ShadowCopyId,
    pub(crate) base: ShareName,
    pub(crate) writable: bool,
}

/// What becomes of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It does its work.
    Succeed,
    /// It fails; its own work is undone. A removal leaves everything.
    Fail(FailureKind),
    /// A removal that fails for the copies only.
    FailCopies,
    /// A removal that fails for the shares only.
    FailShares,
    /// It is lost when half of the work is done.
    LostHalfDone,
    /// It is lost when all the work is done.
    LostDone,
}

/// Everything outside the agent that jobs touch.
#[derive(Debug, Clone, Default)]
pub(crate) struct World {
    pub(crate) bases: BTreeMap<String, BaseShare>,
    pub(crate) snapshots: BTreeMap<ShadowCopyId, Snapshot>,
    pub(crate) exposed: BTreeMap<String, ExposedShare>,
}

/// Shares of every test: two volumes with two shares each, hidden ones and unsupported ones.
pub(crate) const SHARES: &[(&str, &str, i32, Option<FailureKind>)] = &[
    ("Data", "pool:1", 1, None),
    ("DataToo", "pool:1", 1, None),
    ("Other", "pool:2", 3, None),
    ("hidden$", "pool:3", 0, None),
    ("nested", "pool:4", 0, Some(FailureKind::Unsupported)),
    ("broken", "pool:5", 0, Some(FailureKind::Other)),
    // 41 characters: `name@{guid}` has 80. One more is too long.
    (
        "a2345678901234567890123456789012345678901",
        "pool:6",
        0,
        None,
    ),
    (
        "b23456789012345678901234567890123456789012",
        "pool:7",
        0,
        None,
    ),
    // 40 characters: `name$@{guid}$` has 80. One more is too long.
    (
        "c23456789012345678901234567890123456789$",
        "pool:8",
        0,
        None,
    ),
    (
        "d234567890123456789012345678901234567890$",
        "pool:9",
        0,
        None,
    ),
];

impl World {
    pub(crate) fn new() -> Self {
        let bases = SHARES
            .iter()
            .map(|(name, volume, compatibility, fault)| {
                let share = BaseShare {
                    volume,
                    backend: "memory",
                    compatibility: *compatibility,
                    fault: *fault,
                };
                ((*name).to_owned(), share)
            })
            .collect();
        Self {
            bases,
            ..Self::default()
        }
    }

    /// Performs a job and says what came of it.
    pub(crate) fn perform(&mut self, job: &Job, fate: Fate) -> JobOutcome {
        match job {
            Job::Locate { share } => JobOutcome::Located(self.locate(share, fate)),
            Job::Prepare { .. } => JobOutcome::Prepared(plain(fate)),
            Job::Commit { copies, .. } => {
                let references: Vec<CopyRef> = copies
                    .iter()
                    .map(|c| CopyRef {
                        copy: c.copy,
                        backend: c.backend.clone(),
                        volume: c.volume.clone(),
                    })
                    .collect();
                for reference in done(&references, fate) {
                    let snapshot = Snapshot {
                        reference: reference.clone(),
                        sealed: false,
                    };
                    self.snapshots.insert(reference.copy, snapshot);
                }
                JobOutcome::Committed(plain(fate))
            }
            Job::Expose { shares, .. } => {
                for share in done(shares, fate) {
                    self.publish(share);
                }
                JobOutcome::Exposed(plain(fate))
            }
            Job::Reach { .. } => JobOutcome::Reached(plain(fate)),
            Job::Seal { shares, .. } => {
                let touched = if matches!(fate, Fate::Fail(_)) {
                    &shares[..1]
                } else {
                    &shares[..]
                };
                for share in done(
                    touched,
                    if matches!(fate, Fate::Fail(_)) {
                        Fate::Succeed
                    } else {
                        fate
                    },
                ) {
                    self.seal(share, fate);
                }
                JobOutcome::Sealed(plain(fate))
            }
            Job::Remove { artefacts } => JobOutcome::Removed(self.remove(artefacts, fate)),
            Job::Keep { copies, .. } => JobOutcome::Kept(
                plain(fate).map(|()| copies.iter().map(|kept| kept.copy.copy).collect()),
            ),
            Job::InUse { .. } => JobOutcome::InUse(plain(fate).map(|()| BTreeSet::new())),
        }
    }

    /// What the driver does with the shares that recovery wants published.
    pub(crate) fn publish(&mut self, share: &Exposure) {
        self.exposed.insert(
            share.name.clone(),
            ExposedShare {
                copy: share.copy.copy,
                base: share.base.clone(),
                writable: share.writable,
            },
        );
    }

    fn seal(&mut self, share: &Exposure, fate: Fate) {
        if let Some(exposed) = self.exposed.get_mut(&share.name) {
            exposed.writable = false;
        }
        if fate == Fate::Succeed
            && let Some(snapshot) = self.snapshots.get_mut(&share.copy.copy)
        {
            snapshot.sealed = true;
        }
    }

    fn locate(&self, share: &ShareName, fate: Fate) -> Result<Located, Failure> {
        plain(fate)?;
        let found = self
            .bases
            .iter()
            .find(|(name, _)| ShareName::new(name.as_str()) == *share);
        let Some((name, base)) = found else {
            return Err(Failure::new(FailureKind::NotFound, "no such share"));
        };
        if let Some(kind) = base.fault {
            return Err(Failure::new(kind, "the store cannot be used"));
        }
        Ok(Located {
            share: ShareName::new(name.as_str()),
            path: PathBuf::from(format!("/srv/{}/{name}", base.volume)),
            backend: BackendName(base.backend.to_owned()),
            volume: VolumeId(base.volume.to_owned()),
            inner: PathBuf::from(name),
            compatibility: base.compatibility,
        })
    }

    fn remove(&mut self, artefacts: &[Artefact], fate: Fate) -> Vec<(Artefact, Failure)> {
        let mut failed = Vec::new();
        for (number, artefact) in artefacts.iter().enumerate() {
            let share = matches!(artefact, Artefact::Share(_));
            let failure = match fate {
                Fate::Succeed => None,
                Fate::Fail(kind) => Some(Failure::new(kind, "cannot be removed")),
                Fate::FailCopies if share => None,
                Fate::FailShares if !share => None,
                Fate::FailCopies | Fate::FailShares => {
                    Some(Failure::new(FailureKind::Other, "cannot be removed"))
                }
                Fate::LostHalfDone | Fate::LostDone => {
                    Some(Failure::new(FailureKind::Lost, "the worker died"))
                }
            };
            let gone = match fate {
                Fate::LostHalfDone => number.is_multiple_of(2),
                Fate::LostDone => true,
                _ => failure.is_none(),
            };
            if gone {
                self.erase(artefact);
            }
            failed.extend(failure.map(|failure| (artefact.clone(), failure)));
        }
        failed
    }

    fn erase(&mut self, artefact: &Artefact) {
        match artefact {
            Artefact::Share(name) => {
                self.exposed.remove(name);
            }
            Artefact::Copy(reference) => {
                let owned = self.snapshots.get(&reference.copy);
                if owned.is_some_and(|snapshot| snapshot.reference == *reference) {
                    self.snapshots.remove(&reference.copy);
                }
            }
        }
    }
}

/// The part of the work that is there after the job has ended in this way.
fn done<T>(all: &[T], fate: Fate) -> &[T] {
    match fate {
        Fate::Succeed | Fate::LostDone => all,
        Fate::LostHalfDone => &all[..all.len().div_ceil(2)],
        Fate::Fail(_) | Fate::FailCopies | Fate::FailShares => &[],
    }
}

fn plain(fate: Fate) -> Result<(), Failure> {
    match fate {
        Fate::Succeed => Ok(()),
        Fate::Fail(kind) => Err(Failure::new(kind, "failed")),
        Fate::FailCopies | Fate::FailShares => Err(Failure::new(FailureKind::Other, "failed")),
        Fate::LostHalfDone | Fate::LostDone => {
            Err(Failure::new(FailureKind::Lost, "the worker died"))
        }
    }
}
