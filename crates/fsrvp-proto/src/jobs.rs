//! The jobs that run, and whom each works for.

use crate::action::{Action, Now};
use crate::agent::Agent;
use crate::job::{Artefact, BackendName, Failure, FailureKind, Job, JobId, JobOutcome, VolumeId};
use crate::live_set::SetJobEnd;
use crate::ops::Lookup;
use fsrvp_idl::{ShadowCopyId, ShadowCopySetId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The unit that one job at a time works on.
pub(crate) type Volume = (BackendName, VolumeId);

/// A removal that takes longer hangs.
const HUNG_REMOVAL: Duration = Duration::from_secs(60);

/// All running jobs.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    last: u64,
    running: BTreeMap<JobId, RunningJob>,
}

/// One running job.
#[derive(Debug)]
pub(crate) struct RunningJob {
    pub(crate) operation: &'static str,
    pub(crate) started: Duration,
    pub(crate) purpose: Purpose,
    pub(crate) cancelled: bool,
    /// The outcome has come and waits for its turn.
    has_ended: bool,
    volumes: BTreeSet<Volume>,
    copies: BTreeSet<ShadowCopyId>,
}

/// Whom a job works for.
#[derive(Debug)]
pub(crate) enum Purpose {
    /// A call that looks a share up; `None` once it was answered without the outcome.
    Lookup(Option<Box<Lookup>>),
    /// The set, whose `LiveSet::running` knows more.
    Set(ShadowCopySetId),
    /// A set that has gone: what the job delivers is a debt already.
    Orphan,
    /// Debts, by number.
    Debts(Vec<u64>),
    /// Recovered sets that have been kept for long enough.
    Retention(Vec<ShadowCopySetId>),
}

impl Jobs {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (JobId, &RunningJob)> {
        self.running.iter().map(|(id, job)| (*id, job))
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut RunningJob> {
        self.running.values_mut()
    }

    /// Rule 18: "the volume refuses until the old job has ended". One that removes what is left of
    /// older sets is in nobody's way, unless it takes so long that the volume does not answer.
    pub(crate) fn is_busy(&self, now: Duration, volume: &Volume) -> bool {
        let is_in_the_way = |job: &RunningJob| match job.purpose {
            Purpose::Orphan => true,
            Purpose::Debts(_) => now.saturating_sub(job.started) >= HUNG_REMOVAL,
            Purpose::Lookup(_) | Purpose::Set(_) | Purpose::Retention(_) => false,
        };
        self.running
            .values()
            .any(|job| is_in_the_way(job) && job.volumes.contains(volume))
    }

    /// Whether a job works on the copy: nothing of it is removed meanwhile.
    pub(crate) fn hold(&self, copy: ShadowCopyId) -> bool {
        self.running.values().any(|job| job.copies.contains(&copy))
    }

    /// Whether a job pays debts on the volume; `None` is the share directory.
    pub(crate) fn pays(&self, volume: Option<&Volume>) -> bool {
        self.running.values().any(|job| {
            matches!(job.purpose, Purpose::Debts(_))
                && volume.map_or(job.volumes.is_empty(), |volume| {
                    job.volumes.contains(volume)
                })
        })
    }

    /// The debts that a running job pays.
    pub(crate) fn debts_of(&self, id: JobId) -> Option<Vec<u64>> {
        match &self.running.get(&id)?.purpose {
            Purpose::Debts(numbers) => Some(numbers.clone()),
            Purpose::Lookup(_) | Purpose::Set(_) | Purpose::Orphan | Purpose::Retention(_) => None,
        }
    }

    /// The set has gone, or goes on without this job.
    pub(crate) fn disown(&mut self, id: JobId) {
        if let Some(job) = self.running.get_mut(&id) {
            job.purpose = Purpose::Orphan;
        }
    }

    pub(crate) fn purpose_mut(&mut self, id: JobId) -> Option<&mut Purpose> {
        self.running.get_mut(&id).map(|job| &mut job.purpose)
    }

    /// The job's outcome has come.
    pub(crate) fn end(&mut self, id: JobId) {
        if let Some(job) = self.running.get_mut(&id) {
            job.has_ended = true;
        }
    }

    pub(crate) fn take(&mut self, id: JobId) -> Option<RunningJob> {
        self.running.remove(&id)
    }
}

impl RunningJob {
    /// The call that waits for the look-up; the outcome is nobody's then.
    pub(crate) fn take_lookup(&mut self) -> Option<Box<Lookup>> {
        match &mut self.purpose {
            Purpose::Lookup(lookup) => lookup.take(),
            Purpose::Set(_) | Purpose::Orphan | Purpose::Debts(_) | Purpose::Retention(_) => None,
        }
    }
}

impl Agent {
    /// Starts a job. `shares_of` are the copies to which the shares of a Remove job belong.
    pub(crate) fn run(
        &mut self,
        now: Now,
        purpose: Purpose,
        job: Job,
        shares_of: impl IntoIterator<Item = ShadowCopyId>,
    ) -> JobId {
        self.jobs.last = self.jobs.last.saturating_add(1);
        let id = JobId(self.jobs.last);
        let (volumes, mut copies) = works_on(&job);
        copies.extend(shares_of);
        self.jobs.running.insert(
            id,
            RunningJob {
                operation: operation(&job),
                started: now.at,
                purpose,
                cancelled: self.is_stopped,
                has_ended: false,
                volumes,
                copies,
            },
        );
        if !self.is_stopped {
            self.push(Action::Run { id, job });
        }
        id
    }

    /// Tells a job to stop; its outcome still comes.
    pub(crate) fn cancel(&mut self, id: JobId) {
        if let Some(job) = self.jobs.running.get_mut(&id)
            && !job.cancelled
            && !job.has_ended
        {
            job.cancelled = true;
            self.push(Action::Cancel { id });
        }
    }

    /// A job has ended: to whom its outcome belongs.
    pub(crate) fn job_ended(&mut self, now: Now, id: JobId, outcome: JobOutcome) {
        let Some(job) = self.jobs.take(id) else {
            return;
        };
        match job.purpose {
            Purpose::Lookup(Some(lookup)) => {
                let located = match outcome {
                    JobOutcome::Located(located) => located,
                    _ => Err(wrong_outcome()),
                };
                self.located(now, *lookup, located);
            }
            Purpose::Lookup(None) | Purpose::Orphan => {}
            Purpose::Set(set) => self.set_job_ended(now, set, SetJobEnd::of(outcome)),
            Purpose::Debts(numbers) => {
                let failed = match outcome {
                    JobOutcome::Removed(failed) => failed,
                    _ => self.all_of(&numbers),
                };
                self.debts_tried(now, &numbers, failed);
            }
            Purpose::Retention(sets) => {
                let used = match outcome {
                    JobOutcome::InUse(used) => used,
                    _ => Err(wrong_outcome()),
                };
                self.use_known(now, sets, used);
            }
        }
    }

    /// Every artefact of the debts, as if it could not be removed.
    fn all_of(&self, numbers: &[u64]) -> Vec<(Artefact, Failure)> {
        numbers
            .iter()
            .filter_map(|number| self.table.debt(*number))
            .map(|debt| (debt.artefact.clone(), wrong_outcome()))
            .collect()
    }
}

/// What a job counts as that was answered with the outcome of another.
pub(crate) fn wrong_outcome() -> Failure {
    Failure::new(
        FailureKind::Lost,
        "the job was answered with the outcome of another kind of job",
    )
}

const fn operation(job: &Job) -> &'static str {
    match job {
        Job::Locate { .. } => "locate",
        Job::Prepare { .. } => "prepare",
        Job::Commit { .. } => "commit",
        Job::Expose { .. } => "expose",
        Job::Reach { .. } => "reach",
        Job::Seal { .. } => "seal",
        Job::Remove { .. } => "remove",
        Job::Keep { .. } => "keep",
        Job::InUse { .. } => "in use",
    }
}

fn works_on(job: &Job) -> (BTreeSet<Volume>, BTreeSet<ShadowCopyId>) {
    match job {
        // Nothing is changed by asking, and a copy that is asked about may go meanwhile.
        Job::Locate { .. } | Job::InUse { .. } => Default::default(),
        Job::Keep { copies, .. } => copies
            .iter()
            .map(|source| {
                let copy = &source.copy;
                ((copy.backend.clone(), copy.volume.clone()), copy.copy)
            })
            .unzip(),
        Job::Prepare { copies, .. } | Job::Commit { copies, .. } => copies
            .iter()
            .map(|source| {
                let volume = (source.backend.clone(), source.volume.clone());
                (volume, source.copy)
            })
            .unzip(),
        Job::Expose { shares, .. } | Job::Seal { shares, .. } => shares
            .iter()
            .map(|exposure| {
                let copy = &exposure.copy;
                ((copy.backend.clone(), copy.volume.clone()), copy.copy)
            })
            .unzip(),
        Job::Reach { share } => {
            let copy = &share.copy;
            let volume = (copy.backend.clone(), copy.volume.clone());
            ([volume].into(), [copy.copy].into())
        }
        Job::Remove { artefacts } => artefacts
            .iter()
            .filter_map(|artefact| match artefact {
                Artefact::Copy(copy) => {
                    Some(((copy.backend.clone(), copy.volume.clone()), copy.copy))
                }
                Artefact::Share(_) => None,
            })
            .unzip(),
    }
}
