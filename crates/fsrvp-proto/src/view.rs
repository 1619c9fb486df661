//! What an operator may see of the agent: the body of `/v1/sets`.

use crate::action::Now;
use crate::agent::Agent;
use crate::job::Artefact;
use crate::jobs::Purpose;
use crate::live_set::LiveSet;
use crate::profile::Profile;
use crate::set::{Phase, PhaseRecord, SetStatus, ShadowCopySet};
use fsrvp_idl::{Context, DateTime, FileTime, ShadowCopyId, ShadowCopySetId, ShareName};
use serde::{Serialize, Serializer};
use std::net::IpAddr;
use std::time::Duration;

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
    /// For how long the store has not answered, once that is too long: calls that change something
    /// fail until it does.
    pub store_hangs_ms: Option<u64>,
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
    /// When it was started, as RFC 3339.
    #[serde(serialize_with = "rfc3339")]
    pub started: FileTime,
    /// When its status last changed, as RFC 3339.
    #[serde(serialize_with = "rfc3339")]
    pub changed: FileTime,
    /// What it has been through, oldest first.
    pub phases: Vec<PhaseView>,
    /// The set's own deadline, where it has one (ws2012, Exposed): time until it goes.
    pub deadline_ms: Option<u64>,
    /// ShadowCopyList.
    pub copies: Vec<CopyView>,
    /// What is removed before the set can go on.
    pub undo: Vec<Artefact>,
}

/// A step in the life of a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PhaseView {
    /// The step.
    pub phase: Phase,
    /// When it was done, as RFC 3339.
    #[serde(serialize_with = "rfc3339")]
    pub ended: FileTime,
    /// How long the work took.
    pub took_ms: u64,
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
    /// CreationTimeStamp, as RFC 3339.
    #[serde(serialize_with = "rfc3339")]
    pub created: FileTime,
    /// Whether Prepare has covered it.
    pub prepared: bool,
    /// ShareMappingList.
    pub mappings: Vec<MappingView>,
}

/// \[3.1.1.4\]
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MappingView {
    /// The base share.
    pub share: ShareName,
    /// ShareName.
    pub share_name_unc: String,
    /// ShadowCopyShareName; `None` while not exposed.
    pub shadow_copy_share_name: Option<String>,
}

/// Something that is to be removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DebtView {
    /// Its number, by which it can be given up.
    pub number: u64,
    /// What.
    pub artefact: Artefact,
    /// The set that it belonged to.
    pub set: Option<ShadowCopySetId>,
    /// Since when, as RFC 3339.
    #[serde(serialize_with = "rfc3339")]
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

impl Agent {
    /// What an operator may see.
    #[must_use]
    pub fn view(&self, now: Now) -> AgentView {
        let context = self.table.context();
        AgentView {
            server_name: self.config.server_name.clone(),
            profile: self.config.profile,
            context: ContextView {
                is_set: context.current.is_some(),
                current: context.current,
                client_address: context.address,
                retry_count: context.retry_count,
            },
            timer_remaining_ms: self.timer.deadline().map(|at| remaining(at, now)),
            sets: self
                .table
                .sets()
                .map(|set| self.view_set(set, now))
                .collect(),
            debts: self.view_debts(now),
            jobs: self.view_jobs(now),
            calls_in_progress: self.open_calls,
            store_hangs_ms: self
                .hangs_since()
                .map(|since| milliseconds(now.at.saturating_sub(since))),
        }
    }

    fn view_set(&self, set: &ShadowCopySet, now: Now) -> SetView {
        let live = self.live.get(&set.id);
        let is_exposed = set.is_exposed();
        let copies = set.copies.iter().map(|copy| CopyView {
            id: copy.id,
            backend: copy.backend.to_string(),
            volume: copy.volume.to_string(),
            created: copy.created,
            prepared: live.is_some_and(|live| live.prepared.contains(&copy.id)),
            mappings: copy
                .mappings
                .iter()
                .map(|mapping| MappingView {
                    share: mapping.share.clone(),
                    share_name_unc: mapping.share_name_unc.clone(),
                    shadow_copy_share_name: is_exposed
                        .then(|| mapping.shadow_copy_share_name.clone()),
                })
                .collect(),
        });
        SetView {
            id: set.id,
            status: self.status_of(set),
            context: set.context,
            writable: is_exposed && set.is_writable(),
            account: set.account.clone(),
            started: set.started,
            changed: set.changed,
            phases: phases(set, live),
            deadline_ms: live
                .and_then(|live| live.own_timer.deadline())
                .map(|at| remaining(at, now)),
            copies: copies.collect(),
            undo: live.map(|live| live.undo.clone()).unwrap_or_default(),
        }
    }

    fn view_debts(&self, now: Now) -> Vec<DebtView> {
        let view = |(number, debt): (u64, &crate::debts::Debt)| {
            let record = self.table.debt(number)?;
            Some(DebtView {
                number,
                artefact: record.artefact.clone(),
                set: record.set,
                since: record.since,
                attempts: debt.attempts,
                failure: debt.failure.as_ref().map(ToString::to_string),
                retry_in_ms: debt.due.map(|at| remaining(at, now)),
            })
        };
        self.debts.iter().filter_map(view).collect()
    }

    fn view_jobs(&self, now: Now) -> Vec<JobView> {
        let jobs = self.jobs.iter().map(|(id, job)| JobView {
            id: id.0,
            operation: job.operation,
            set: match job.purpose {
                Purpose::Set(set) => Some(set),
                Purpose::Lookup(_)
                | Purpose::Orphan
                | Purpose::Debts(_)
                | Purpose::Retention(_) => None,
            },
            running_ms: milliseconds(now.at.saturating_sub(job.started)),
            cancelled: job.cancelled,
        });
        jobs.collect()
    }
}

/// The stored steps, and the Prepare that only memory knows before Commit.
fn phases(set: &ShadowCopySet, live: Option<&LiveSet>) -> Vec<PhaseView> {
    let prepare = live.and_then(|live| live.prepare.as_ref());
    let prepare = prepare.filter(|_| set.phases.is_empty());
    let view = |record: &PhaseRecord| PhaseView {
        phase: record.phase,
        ended: record.ended,
        took_ms: record.took_ms,
    };
    prepare.into_iter().chain(&set.phases).map(view).collect()
}

fn rfc3339<S: Serializer>(time: &FileTime, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&DateTime::from(*time))
}

fn remaining(at: Duration, now: Now) -> u64 {
    milliseconds(at.saturating_sub(now.at))
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
