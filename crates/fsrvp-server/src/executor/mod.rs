//! Runs the agent's jobs on the snapshot backends and the share directory.
//!
//! Everything here may block; [`Executor::start`] gives every job a thread of its own, so that a
//! system call that hangs holds up nobody else.

mod commit;
mod keep;
mod locate;
mod lookups;
mod seal;
mod share;
mod threads;

use fsrvp_idl::ShareName;
use fsrvp_proto::directory::BaseShare;
use fsrvp_proto::job::{Artefact, BackendName, Failure, FailureKind};
use fsrvp_proto::{Job, JobId, JobOutcome, ShareDirectory};
use fsrvp_snapshot::{Backends, Choice, Deadline, Selected, SnapshotBackend};
use fsrvp_sys::crash;
pub use keep::KeepPolicy;
use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;
use threads::Work;

/// What may change while the executor runs.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// What the configuration says of shares' backends.
    pub choices: BTreeMap<ShareName, Choice>,
    /// The policies of shares of which snapshots are kept.
    pub keep: BTreeMap<ShareName, KeepPolicy>,
}

/// Runs jobs for one agent.
pub struct Executor {
    backends: Arc<Backends>,
    directory: Arc<dyn ShareDirectory>,
    settings: RwLock<Settings>,
    runtime: tokio::runtime::Handle,
    running: Mutex<HashMap<JobId, Arc<AtomicBool>>>,
    heard: locate::Heard,
    lookups: lookups::Lookups,
    threads: threads::Threads,
    /// A snapshot has been kept.
    kept_one_more: tokio::sync::Notify,
}

impl std::fmt::Debug for Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Executor")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Executor {
    /// An executor over these parts; `runtime` has to do where the system has no thread for a job.
    #[must_use]
    pub fn new(
        backends: Arc<Backends>,
        directory: Arc<dyn ShareDirectory>,
        choices: BTreeMap<ShareName, Choice>,
        runtime: tokio::runtime::Handle,
    ) -> Self {
        Self {
            backends,
            directory,
            settings: RwLock::new(Settings {
                choices,
                ..Settings::default()
            }),
            runtime,
            running: Mutex::default(),
            heard: locate::Heard::default(),
            lookups: lookups::Lookups::default(),
            threads: threads::Threads::default(),
            kept_one_more: tokio::sync::Notify::new(),
        }
    }

    /// Takes over settings that have changed, from the next job on.
    pub fn configure(&self, settings: Settings) {
        *self
            .settings
            .write()
            .unwrap_or_else(PoisonError::into_inner) = settings;
    }

    fn settings(&self) -> RwLockReadGuard<'_, Settings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a share stands and which backend serves it, and why. Blocks.
    ///
    /// # Errors
    /// As [`Job::Locate`].
    pub fn select(&self, share: &ShareName) -> Result<(BaseShare, Selected), Failure> {
        let base = self.directory.lookup(share)?;
        let choice = self.settings().choices.get(share).cloned();
        let selected = self
            .backends
            .select_share(share, &base.path, &choice.unwrap_or_default())
            .map_err(|error| in_share(share, error.into()))?;
        Ok((base, selected))
    }

    /// Starts a job. `out_of_sight` is called on the job's thread when nobody finds any of the
    /// artefacts of a [`Job::Remove`] any more; `done` is called exactly once there, when the job
    /// has ended. Look-ups of a share that is being looked up wait for that to end.
    pub fn start(
        self: &Arc<Self>,
        id: JobId,
        job: Job,
        out_of_sight: impl Fn() + Send + 'static,
        done: impl FnOnce(JobOutcome) + Send + 'static,
    ) {
        if let Job::Locate { share } = job {
            return self.look_up(share, Box::new(done));
        }
        let cancelled = Arc::<AtomicBool>::default();
        self.running().insert(id, Arc::clone(&cancelled));
        let this = Arc::clone(self);
        self.on_a_thread(Box::new(move || {
            let lost = lost_outcome(&job);
            let run = AssertUnwindSafe(|| this.run(job, &cancelled, &out_of_sight));
            let outcome = std::panic::catch_unwind(run).unwrap_or(lost);
            this.running().remove(&id);
            done(outcome);
        }));
    }

    fn on_a_thread(&self, work: Work) {
        if let Err((work, error)) = self.threads.run(work) {
            tracing::error!(
                %error,
                "the system has no thread for a job, which waits: raise the unit's TasksMax"
            );
            self.runtime.spawn_blocking(work);
        }
    }

    /// Tells a running job to stop as soon as it can.
    pub fn cancel(&self, id: JobId) {
        if let Some(cancelled) = self.running().get(&id) {
            cancelled.store(true, Ordering::Relaxed);
        }
    }

    /// Runs a job to its end on this thread.
    pub fn run(
        &self,
        job: Job,
        cancelled: &Arc<AtomicBool>,
        out_of_sight: &dyn Fn(),
    ) -> JobOutcome {
        let within = |limit: Option<Duration>| Deadline {
            cancelled: Arc::clone(cancelled),
            ..Deadline::within(limit)
        };
        match job {
            Job::Locate { share } => JobOutcome::Located(self.locate(&share)),
            Job::Prepare { copies, .. } => {
                JobOutcome::Prepared(self.prepare(&copies, &within(None)))
            }
            Job::Commit {
                copies,
                unprepared,
                writable,
                limit,
                ..
            } => JobOutcome::Committed(self.commit(&copies, &unprepared, writable, &within(limit))),
            Job::Expose { shares, .. } => JobOutcome::Exposed(self.expose(&shares)),
            Job::Reach { share } => JobOutcome::Reached(self.reach(&share)),
            Job::Seal { shares, .. } => JobOutcome::Sealed(self.seal(&shares)),
            Job::Remove { artefacts } => JobOutcome::Removed(self.remove(artefacts, out_of_sight)),
            Job::Keep { copies, .. } => JobOutcome::Kept(self.keep(&copies)),
            Job::InUse { shares } => JobOutcome::InUse(self.in_use(&shares)),
        }
    }

    /// Removes shares, then copies; goes on past failures.
    fn remove(
        &self,
        artefacts: Vec<Artefact>,
        out_of_sight: &dyn Fn(),
    ) -> Vec<(Artefact, Failure)> {
        let (shares, copies): (Vec<_>, Vec<_>) = artefacts
            .into_iter()
            .partition(|a| matches!(a, Artefact::Share(_)));
        let mut in_sight = shares.len().saturating_add(copies.len());
        let mut hidden = || {
            in_sight = in_sight.saturating_sub(1);
            if in_sight == 0 {
                out_of_sight();
            }
        };
        shares
            .into_iter()
            .chain(copies)
            .filter_map(|artefact| {
                let removed = match &artefact {
                    Artefact::Share(name) => self.directory.withdraw(name).map(|()| hidden()),
                    Artefact::Copy(copy) => self.backend(&copy.backend).and_then(|backend| {
                        let deleted = backend.delete_telling(copy, &mut hidden);
                        deleted.map_err(Failure::from)
                    }),
                };
                crash::point(match &artefact {
                    Artefact::Share(_) => "executor.remove.after_share",
                    Artefact::Copy(_) => "executor.remove.after_copy",
                });
                removed.err().map(|failure| (artefact, failure))
            })
            .collect()
    }

    /// Whether something that is to be removed can be seen now. Blocks.
    ///
    /// # Errors
    /// It cannot be said.
    pub fn is_within_reach(&self, artefact: &Artefact) -> Result<bool, Failure> {
        match artefact {
            Artefact::Share(name) => {
                let name = ShareName::new(name);
                let shares = self.directory.exposed()?;
                Ok(shares
                    .iter()
                    .any(|share| ShareName::new(&share.name) == name))
            }
            // What only another fsrvpd can remove is out of reach of this one.
            Artefact::Copy(copy) => self
                .backends
                .get(&copy.backend)
                .map_or(Ok(false), |backend| {
                    let copies = backend.enumerate()?;
                    Ok(copies.iter().any(|found| found.copy == copy.copy))
                }),
        }
    }

    fn backend(&self, name: &BackendName) -> Result<&Arc<dyn SnapshotBackend>, Failure> {
        self.backends.get(name).ok_or_else(|| {
            Failure::new(
                FailureKind::Other,
                format!(
                    "backend {name} does not exist in this fsrvpd; install the one that has it"
                ),
            )
        })
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<JobId, Arc<AtomicBool>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn in_share(share: &ShareName, failure: Failure) -> Failure {
    Failure {
        detail: format!("share {share}: {}", failure.detail),
        ..failure.in_share(share)
    }
}

/// What a job's owner hears if its thread dies.
fn lost_outcome(job: &Job) -> JobOutcome {
    let lost = || Failure::new(FailureKind::Lost, "the job's thread died");
    match job {
        Job::Locate { .. } => JobOutcome::Located(Err(lost())),
        Job::Prepare { .. } => JobOutcome::Prepared(Err(lost())),
        Job::Commit { .. } => JobOutcome::Committed(Err(lost())),
        Job::Expose { .. } => JobOutcome::Exposed(Err(lost())),
        Job::Reach { .. } => JobOutcome::Reached(Err(lost())),
        Job::Seal { .. } => JobOutcome::Sealed(Err(lost())),
        Job::Keep { .. } => JobOutcome::Kept(Err(lost())),
        Job::InUse { .. } => JobOutcome::InUse(Err(lost())),
        Job::Remove { artefacts } => {
            JobOutcome::Removed(artefacts.iter().map(|a| (a.clone(), lost())).collect())
        }
    }
}
