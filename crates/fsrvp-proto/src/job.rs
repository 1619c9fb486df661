//! The work that the agent asks its driver to do, and what can come of it.
//!
//! A job and the caller who waits for it are two things: a job runs to its end whether anybody
//! waits or not, and its outcome always comes back through `Agent::handle_job`.

use fsrvp_idl::{FileTime, ShadowCopyId, ShadowCopySetId, ShareName, Status};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Number of a job, unique in the life of one agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// The name of a snapshot backend, as in the configuration ("btrfs", "memory").
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BackendName(pub String);

impl fmt::Display for BackendName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// \[3.1.1.3\] VolumeName: the backend's unit of a snapshot. Two shares with equal volumes are
/// caught by one snapshot. The text is the backend's and is stable over restarts and reboots.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VolumeId(pub String);

impl fmt::Display for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a share stands: what [`Job::Locate`] finds out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Located {
    /// The share as the server spells it.
    pub share: ShareName,
    /// The share's directory.
    pub path: PathBuf,
    /// The backend that serves it.
    pub backend: BackendName,
    /// Unit of the snapshot.
    pub volume: VolumeId,
    /// Path of the share's directory below the root of the volume; empty for the root itself.
    pub inner: PathBuf,
    /// \[2.2.2.3\] SHADOW_COPY_COMPATIBILITY_VALUES of the file store.
    pub compatibility: i32,
}

/// One snapshot to be made: a volume, and the copy id that names every artefact of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopySource {
    /// Chosen by the agent before anything is done.
    pub copy: ShadowCopyId,
    /// The backend that makes it.
    pub backend: BackendName,
    /// What is snapshotted.
    pub volume: VolumeId,
    /// The directories of the shares mapped by this copy, each with its path below the volume.
    pub shares: Vec<SourceShare>,
}

impl CopySource {
    /// The copy when it is made.
    #[must_use]
    pub fn reference(&self) -> CopyRef {
        CopyRef {
            copy: self.copy,
            backend: self.backend.clone(),
            volume: self.volume.clone(),
        }
    }
}

/// A share of a [`CopySource`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceShare {
    /// The base share as the server spells it.
    pub share: ShareName,
    /// Its directory at the time of AddToShadowCopySet.
    pub path: PathBuf,
    /// Path of the directory below the volume.
    pub inner: PathBuf,
}

/// A snapshot that exists, or may exist.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CopyRef {
    /// The copy's id.
    pub copy: ShadowCopyId,
    /// The backend that owns it.
    pub backend: BackendName,
    /// The volume that it was taken of.
    pub volume: VolumeId,
}

/// A share to be exposed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exposure {
    /// The snapshot.
    pub copy: CopyRef,
    /// The base share, whose definition and security descriptor are cloned.
    pub base: ShareName,
    /// The new share's name: `share@{guid}`, or `share$@{guid}$`.
    pub name: String,
    /// Path of the share's directory below the root of the snapshot.
    pub inner: PathBuf,
    /// Whether clients may write until RecoveryComplete.
    pub writable: bool,
    /// Creation time of the copy, for previous versions.
    pub created: FileTime,
}

/// Something to remove: withdrawn or deleted if present, success if already absent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Artefact {
    /// An exposed share: definition, security descriptor and connections go.
    Share(String),
    /// A snapshot in all its forms, with its previous-version links and mounts.
    Copy(CopyRef),
}

/// Work for the driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Job {
    /// Reads the share's definition, identifies the file store and checks that it can be
    /// snapshotted: supported, nothing mounted or nested below the share's root. No side effects.
    Locate {
        /// The share, host already checked.
        share: ShareName,
    },
    /// Everything that may be done before writers are frozen: flush, space, area. Repeatable.
    Prepare {
        /// The set.
        set: ShadowCopySetId,
        /// All its copies.
        copies: Vec<CopySource>,
    },
    /// Makes the snapshots, all volumes at once, durably, all or none. Does first what
    /// `unprepared` copies still need. After any failure the job has undone its own work where it
    /// could; the agent then removes all copies of the set before the next attempt.
    Commit {
        /// The set.
        set: ShadowCopySetId,
        /// All its copies.
        copies: Vec<CopySource>,
        /// Those of `copies` that no successful Prepare has covered.
        unprepared: Vec<ShadowCopyId>,
        /// Whether the copies must be writable until sealed.
        writable: bool,
        /// `commit_limit`: past it the job stops and undoes itself with [`FailureKind::Deadline`].
        limit: Option<Duration>,
    },
    /// Exposes shares, all or none: after a failure none of them is left.
    Expose {
        /// The set.
        set: ShadowCopySetId,
        /// All its mapped shares.
        shares: Vec<Exposure>,
    },
    /// Makes the snapshot behind a share that is exposed reachable for the SMB server again.
    /// Repeatable; changes nothing else.
    Reach {
        /// The exposed share.
        share: Exposure,
    },
    /// Makes copies read-only for good: shares turn read-only, connections to them are cut, the
    /// snapshots are sealed and the seal is tried. Repeatable.
    Seal {
        /// The set.
        set: ShadowCopySetId,
        /// Its exposed shares.
        shares: Vec<Exposure>,
    },
    /// Removes artefacts, shares first. Goes on past failures and reports each. A share that is
    /// reported as failed is still there, unless the failure is [`FailureKind::Lost`].
    Remove {
        /// What has to go.
        artefacts: Vec<Artefact>,
    },
    /// Keeps a read-only snapshot of recovered copies, as the shares' policies say. Repeatable.
    Keep {
        /// The set.
        set: ShadowCopySetId,
        /// Of what a snapshot is kept.
        copies: Vec<KeepSource>,
    },
    /// Asks whether an SMB client has one of these shares connected or a file of its copy open.
    InUse {
        /// The exposed shares.
        shares: Vec<Exposure>,
    },
}

/// A recovered copy of a share of which a snapshot is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeepSource {
    /// The sealed copy.
    pub copy: CopyRef,
    /// The base share.
    pub share: ShareName,
    /// Path of the share's directory below the root of the snapshot.
    pub inner: PathBuf,
    /// Creation time of the copy.
    pub created: FileTime,
}

/// What kind of failure a job met; decides the wire status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The base share (or its directory) does not exist.
    NotFound,
    /// The file store cannot be snapshotted.
    Unsupported,
    /// No space or quota.
    NoSpace,
    /// The job's own limit has passed.
    Deadline,
    /// The job was lost: its worker died, it was cancelled, the server shuts down.
    Lost,
    /// The volume is still busy with a job of a set that has gone.
    Busy,
    /// Everything else.
    Other,
}

/// A failed job: the kind for the wire, the text for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Failure {
    /// Kind.
    pub kind: FailureKind,
    /// What went wrong, with which share or path, and what to do.
    pub detail: String,
    /// The base share that it is about, if it is about one.
    pub share: Option<ShareName>,
    /// What is in the way, or could not be worked on: a path.
    pub object: Option<PathBuf>,
}

impl Failure {
    /// A failure of `kind`.
    pub fn new(kind: FailureKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            share: None,
            object: None,
        }
    }

    /// The same, about a base share.
    #[must_use]
    pub fn in_share(self, share: &ShareName) -> Self {
        Self {
            share: Some(share.clone()),
            ..self
        }
    }

    /// The HRESULT that the client gets.
    #[must_use]
    pub const fn status(&self) -> Status {
        match self.kind {
            FailureKind::NotFound => Status::FSRVP_E_OBJECT_NOT_FOUND,
            FailureKind::Unsupported => Status::FSRVP_E_NOT_SUPPORTED,
            FailureKind::NoSpace => Status::VSS_E_INSUFFICIENT_STORAGE,
            FailureKind::Deadline => Status::VSS_E_HOLD_WRITES_TIMEOUT,
            FailureKind::Lost => Status::FSRVP_E_WAIT_FAILED,
            FailureKind::Busy | FailureKind::Other => Status::VSS_E_UNEXPECTED_PROVIDER_ERROR,
        }
    }
}

/// What became of a job. The variant answers the [`Job`] variant of the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobOutcome {
    /// [`Job::Locate`]
    Located(Result<Located, Failure>),
    /// [`Job::Prepare`]
    Prepared(Result<(), Failure>),
    /// [`Job::Commit`]
    Committed(Result<(), Failure>),
    /// [`Job::Expose`]
    Exposed(Result<(), Failure>),
    /// [`Job::Reach`]
    Reached(Result<(), Failure>),
    /// [`Job::Seal`]
    Sealed(Result<(), Failure>),
    /// [`Job::Remove`]: the artefacts that could not be removed, each with its failure.
    Removed(Vec<(Artefact, Failure)>),
    /// [`Job::Keep`]: the copies of which a snapshot was kept; of the others none is wanted any more.
    Kept(Result<BTreeSet<ShadowCopyId>, Failure>),
    /// [`Job::InUse`]: the copies that are in use. A failure means that it cannot be said.
    InUse(Result<BTreeSet<ShadowCopyId>, Failure>),
}
