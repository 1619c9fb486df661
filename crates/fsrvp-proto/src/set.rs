//! \[3.1.1.2\] to \[3.1.1.4\] Shadow copy sets, and which method is legal in which status.

use crate::job::{Artefact, BackendName, CopyRef, CopySource, Exposure, SourceShare, VolumeId};
use fsrvp_idl::{
    ClientShadowCopyId, ClientShadowCopySetId, Context, FileTime, Opnum, ShadowCopyId,
    ShadowCopySetId, ShareName,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// \[3.1.1.2\] ShadowCopySet.Status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SetStatus {
    /// StartShadowCopySet has succeeded.
    Started,
    /// A share was added.
    Added,
    /// Commit has been called and its outcome not yet been returned. Lives in memory only: the
    /// store keeps Added, to which a restart undoes the set.
    CreationInProgress,
    /// The snapshots exist.
    Committed,
    /// The exposed shares exist.
    Exposed,
    /// Sealed.
    Recovered,
}

/// One line of the transition table.
#[derive(Debug)]
pub struct Transition {
    /// The method.
    pub method: Opnum,
    /// Section that states it.
    pub section: &'static str,
    /// The statuses in which the call is legal.
    pub legal: &'static [SetStatus],
    /// The status after success; `None` if the set or mapping goes or nothing changes.
    pub success: Option<SetStatus>,
}

/// The methods that look at the status of the set they name.
pub const TRANSITIONS: &[Transition] = &[
    Transition {
        method: Opnum::AddToShadowCopySet,
        section: "3.1.4.4",
        legal: &[SetStatus::Started, SetStatus::Added],
        success: Some(SetStatus::Added),
    },
    Transition {
        method: Opnum::PrepareShadowCopySet,
        section: "3.1.4.13",
        legal: &[SetStatus::Added],
        success: None,
    },
    Transition {
        method: Opnum::CommitShadowCopySet,
        section: "3.1.4.5",
        legal: &[SetStatus::Added, SetStatus::CreationInProgress],
        success: Some(SetStatus::Committed),
    },
    Transition {
        method: Opnum::ExposeShadowCopySet,
        section: "3.1.4.6",
        legal: &[SetStatus::Committed],
        success: Some(SetStatus::Exposed),
    },
    Transition {
        method: Opnum::RecoveryCompleteShadowCopySet,
        section: "3.1.4.7",
        legal: &[SetStatus::Exposed],
        success: Some(SetStatus::Recovered),
    },
    // ≠ [3.1.4.8] names no status; a Recovered set is a finished backup that only
    // DeleteShareMapping removes, as Microsoft's own test suite expects.
    Transition {
        method: Opnum::AbortShadowCopySet,
        section: "3.1.4.8",
        legal: &[
            SetStatus::Started,
            SetStatus::Added,
            SetStatus::CreationInProgress,
            SetStatus::Committed,
            SetStatus::Exposed,
        ],
        success: None,
    },
    Transition {
        method: Opnum::GetShareMapping,
        section: "3.1.4.11",
        legal: &[SetStatus::Exposed],
        success: None,
    },
    Transition {
        method: Opnum::DeleteShareMapping,
        section: "3.1.4.12",
        legal: &[SetStatus::Exposed, SetStatus::Recovered],
        success: None,
    },
];

impl SetStatus {
    /// The word for people and in the admin socket.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Added => "added",
            Self::CreationInProgress => "creation_in_progress",
            Self::Committed => "committed",
            Self::Exposed => "exposed",
            Self::Recovered => "recovered",
        }
    }

    /// Whether `method` may be called on a set in this status. Methods that do not look at a
    /// set's status always may.
    #[must_use]
    pub fn allows(self, method: Opnum) -> bool {
        TRANSITIONS
            .iter()
            .find(|line| line.method == method)
            .is_none_or(|line| line.legal.contains(&self))
    }
}

/// \[3.1.1.2\] Per ShadowCopySet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowCopySet {
    /// ShadowCopySetId.
    pub id: ShadowCopySetId,
    /// Status as the store knows it: never CreationInProgress.
    pub status: SetStatus,
    /// Context that was current when the set was started.
    pub context: Context,
    /// ShadowCopyList.
    pub copies: Vec<ShadowCopy>,
    /// ClientShadowCopySetId: what the client calls the set, for events. `None` in records of
    /// versions that did not keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<ClientShadowCopySetId>,
    /// The account that started the set.
    pub account: String,
    /// When StartShadowCopySet succeeded.
    pub started: FileTime,
    /// When the status last changed.
    pub changed: FileTime,
    /// What may exist beyond the status and is removed before the set goes on: the leftovers of
    /// a Commit or Expose that was not recorded. Filled by recovery only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undo: Vec<Artefact>,
    /// What the set has been through, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<PhaseRecord>,
    /// Shares of a Recovered set of which a snapshot is still to be kept.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub keep: BTreeSet<ShareName>,
}

/// A step in the life of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// PrepareShadowCopySet.
    Prepare,
    /// CommitShadowCopySet: the cut.
    Commit,
    /// ExposeShadowCopySet.
    Expose,
    /// RecoveryCompleteShadowCopySet: the seal.
    Recover,
    /// A snapshot is kept.
    Keep,
}

/// When a step ended and how long its work took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseRecord {
    /// The step.
    pub phase: Phase,
    /// When it was done.
    pub ended: FileTime,
    /// How long the work took, in milliseconds; not how long a client waited for it.
    pub took_ms: u64,
}

impl PhaseRecord {
    /// A step that ends now.
    #[must_use]
    pub fn new(phase: Phase, ended: FileTime, took: Duration) -> Self {
        Self {
            phase,
            ended,
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// \[3.1.1.3\] Per ShadowCopy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowCopy {
    /// ShadowCopyId.
    pub id: ShadowCopyId,
    /// The backend that makes the snapshot.
    pub backend: BackendName,
    /// VolumeName.
    pub volume: VolumeId,
    /// CreationTimeStamp: the time of AddToShadowCopySet.
    pub created: FileTime,
    /// ShareMappingList.
    pub mappings: Vec<MappedShare>,
}

/// \[3.1.1.4\] Per MappedShare. IsExposed is the set's status being Exposed or Recovered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MappedShare {
    /// ShareName: the UNC name as the client gave it.
    pub share_name_unc: String,
    /// The base share, by the name that the client gave.
    pub share: ShareName,
    /// ShadowCopyShareName: the name under which the copy is, or will be, exposed.
    pub shadow_copy_share_name: String,
    /// The share's directory at the time of AddToShadowCopySet.
    #[serde(with = "crate::durable::path_text")]
    pub path: PathBuf,
    /// Path of the directory below the root of the volume.
    #[serde(with = "crate::durable::path_text")]
    pub inner: PathBuf,
    /// ClientShadowCopyId: what the client calls the copy of this share, for events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<ClientShadowCopyId>,
}

impl ShadowCopySet {
    /// Whether the snapshots are there.
    #[must_use]
    pub const fn is_committed(&self) -> bool {
        matches!(
            self.status,
            SetStatus::Committed | SetStatus::Exposed | SetStatus::Recovered
        )
    }

    /// IsExposed of every mapping.
    #[must_use]
    pub const fn is_exposed(&self) -> bool {
        matches!(self.status, SetStatus::Exposed | SetStatus::Recovered)
    }

    /// Whether clients may write to the exposed shares now.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.status < SetStatus::Recovered && self.context.is_auto_recovery()
    }

    /// The copy with this id.
    #[must_use]
    pub fn copy(&self, id: ShadowCopyId) -> Option<&ShadowCopy> {
        self.copies.iter().find(|copy| copy.id == id)
    }

    /// All mappings, each with its copy.
    pub fn mappings(&self) -> impl Iterator<Item = (&ShadowCopy, &MappedShare)> {
        self.copies
            .iter()
            .flat_map(|copy| copy.mappings.iter().map(move |mapping| (copy, mapping)))
    }

    /// What a snapshot job works on.
    #[must_use]
    pub fn sources(&self) -> Vec<CopySource> {
        self.copies.iter().map(ShadowCopy::source).collect()
    }

    /// What an expose or seal job works on.
    #[must_use]
    pub fn exposures(&self) -> Vec<Exposure> {
        let writable = self.is_writable();
        self.mappings()
            .map(|(copy, mapping)| mapping.exposure(copy, writable))
            .collect()
    }

    /// The exposed shares, to be withdrawn.
    pub fn share_artefacts(&self) -> impl Iterator<Item = (ShadowCopyId, Artefact)> {
        self.mappings().map(|(copy, mapping)| {
            let name = mapping.shadow_copy_share_name.clone();
            (copy.id, Artefact::Share(name))
        })
    }

    /// The snapshots, to be deleted.
    pub fn copy_artefacts(&self) -> impl Iterator<Item = (ShadowCopyId, Artefact)> {
        self.copies
            .iter()
            .map(|copy| (copy.id, Artefact::Copy(copy.reference())))
    }
}

impl ShadowCopy {
    /// The snapshot's reference for backends.
    #[must_use]
    pub fn reference(&self) -> CopyRef {
        CopyRef {
            copy: self.id,
            backend: self.backend.clone(),
            volume: self.volume.clone(),
        }
    }

    /// The mapping of a base share.
    #[must_use]
    pub fn mapping(&self, share: &ShareName) -> Option<&MappedShare> {
        self.mappings.iter().find(|mapping| mapping.share == *share)
    }

    fn source(&self) -> CopySource {
        CopySource {
            copy: self.id,
            backend: self.backend.clone(),
            volume: self.volume.clone(),
            shares: self
                .mappings
                .iter()
                .map(|mapping| SourceShare {
                    share: mapping.share.clone(),
                    path: mapping.path.clone(),
                    inner: mapping.inner.clone(),
                })
                .collect(),
        }
    }
}

impl MappedShare {
    /// The share to be exposed.
    #[must_use]
    pub fn exposure(&self, copy: &ShadowCopy, writable: bool) -> Exposure {
        Exposure {
            copy: copy.reference(),
            base: self.share.clone(),
            name: self.shadow_copy_share_name.clone(),
            inner: self.inner.clone(),
            writable,
            created: copy.created,
        }
    }
}
