//! What an operator may see of the agent: the body of `/v1/sets`.

use crate::job::Artefact;
use crate::profile::Profile;
use crate::set::SetStatus;
use fsrvp_idl::{Context, FileTime, ShadowCopyId, ShadowCopySetId};
use serde::Serialize;
use std::net::IpAddr;

/// The agent's state at one moment. Durations are in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AgentView {
    /// OwnerMachineName.
    pub server_name: String,
    /// Behaviour profile.
    pub profile: Profile,
    /// \[3.1.1.1\] ContextSet and what belongs to it.
    pub context: ContextView,
    /// \[3.1.2\] Message Sequence Timer: time until it fires; `None` while it does not run.
    pub timer_remaining_ms: Option<u64>,
    /// All sets.
    pub sets: Vec<SetView>,
    /// What could not be removed yet.
    pub debts: Vec<DebtView>,
    /// Running jobs.
    pub jobs: Vec<JobView>,
    /// Calls that have not been answered.
    pub calls_in_progress: usize,
}

/// \[3.1.1.1\]
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContextView {
    /// ContextSet.
    pub is_set: bool,
    /// CurrentContext.
    pub current: Option<Context>,
    /// ShadowCopyClientAddress.
    pub client_address: Option<IpAddr>,
    /// ShadowCopyClientRetryCount.
    pub retry_count: u32,
}

/// \[3.1.1.2\]
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SetView {
    /// ShadowCopySetId.
    pub id: ShadowCopySetId,
    /// Status.
    pub status: SetStatus,
    /// Context.
    pub context: Context,
    /// Whether clients may write to the exposed shares.
    pub writable: bool,
    /// The account that started it.
    pub account: String,
    /// When it was started.
    pub started: FileTime,
    /// When its status last changed.
    pub changed: FileTime,
    /// The set's own deadline, where it has one (ws2012, Exposed): time until it goes.
    pub deadline_ms: Option<u64>,
    /// ShadowCopyList.
    pub copies: Vec<CopyView>,
    /// What is removed before the set can go on.
    pub undo: Vec<Artefact>,
}

/// \[3.1.1.3\]
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CopyView {
    /// ShadowCopyId.
    pub id: ShadowCopyId,
    /// Backend.
    pub backend: String,
    /// VolumeName.
    pub volume: String,
    /// CreationTimeStamp.
    pub created: FileTime,
    /// Whether Prepare has covered it.
    pub prepared: bool,
    /// ShareMappingList.
    pub mappings: Vec<MappingView>,
}

/// \[3.1.1.4\]
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MappingView {
    /// ShareName.
    pub share_name_unc: String,
    /// ShadowCopyShareName; `None` while not exposed.
    pub shadow_copy_share_name: Option<String>,
}

/// Something that is to be removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DebtView {
    /// What.
    pub artefact: Artefact,
    /// The set that it belonged to.
    pub set: Option<ShadowCopySetId>,
    /// Since when.
    pub since: FileTime,
    /// Attempts that failed.
    pub attempts: u32,
    /// Why the last attempt failed.
    pub failure: Option<String>,
    /// Time until the next attempt; `None` while one runs or the debt waits for a job.
    pub retry_in_ms: Option<u64>,
}

/// A running job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JobView {
    /// The number.
    pub id: u64,
    /// What it does.
    pub operation: &'static str,
    /// The set that it works for; `None` for a look-up and for a set that has gone.
    pub set: Option<ShadowCopySetId>,
    /// How long it has run.
    pub running_ms: u64,
    /// Whether it was told to stop.
    pub cancelled: bool,
}
