//! Look-ups of shares: clients may ask as often as they like, and a volume that hangs never answers.

use super::{Executor, lost_outcome};
use fsrvp_idl::ShareName;
use fsrvp_proto::job::{Failure, FailureKind};
use fsrvp_proto::{Job, JobOutcome};
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most shares that are looked up at a time: only hung ones come to so many.
const MOST_SHARES: usize = 512;
/// Most callers who wait until the look-up before theirs has ended.
const MOST_WAITING: usize = 256;

/// Told what a look-up found.
type Done = Box<dyn FnOnce(JobOutcome) + Send>;

/// The shares that are being looked up, by folded name, each with those who have asked since that
/// began.
#[derive(Default)]
pub(super) struct Lookups(Mutex<HashMap<String, Vec<Done>>>);

/// What becomes of a caller.
enum Admitted {
    /// The look-up is its own.
    First(Done),
    /// Somebody looks; what that finds may be older than the question, so the next one answers it.
    Waits,
    /// Too many wait already.
    Refused(Done),
}

impl Lookups {
    fn admit(&self, share: &ShareName, done: Done) -> Admitted {
        let mut shares = self.lock();
        let under_way = shares.len();
        match shares.get_mut(&share.folded()) {
            Some(waiting) if waiting.len() >= MOST_WAITING => Admitted::Refused(done),
            Some(waiting) => {
                waiting.push(done);
                Admitted::Waits
            }
            None if under_way >= MOST_SHARES => Admitted::Refused(done),
            None => {
                shares.insert(share.folded(), Vec::new());
                Admitted::First(done)
            }
        }
    }

    /// Those who have asked in between; with none the share is no longer being looked up.
    fn next(&self, share: &ShareName) -> Option<Vec<Done>> {
        let mut shares = self.lock();
        let waiting = shares.get_mut(&share.folded()).map(std::mem::take);
        if waiting.as_ref().is_none_or(Vec::is_empty) {
            shares.remove(&share.folded());
            return None;
        }
        waiting
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Vec<Done>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Executor {
    /// Looks a share up on one thread, however many ask.
    pub(super) fn look_up(self: &Arc<Self>, share: ShareName, done: Done) {
        match self.lookups.admit(&share, done) {
            Admitted::Waits => {}
            Admitted::First(done) => {
                let this = Arc::clone(self);
                self.on_a_thread(Box::new(move || this.look_up_for(&share, vec![done])));
            }
            Admitted::Refused(done) => {
                let busy = Failure::new(
                    FailureKind::Other,
                    format!(
                        "share {share} cannot be looked up: too many look-ups have not ended; a \
                         volume or Samba's registry hangs"
                    ),
                );
                // Not here: the caller's lock is held.
                let outcome = JobOutcome::Located(Err(busy));
                self.runtime.spawn_blocking(move || done(outcome));
            }
        }
    }

    fn look_up_for(&self, share: &ShareName, first: Vec<Done>) {
        let mut asked = Some(first);
        while let Some(all) = asked {
            let job = Job::Locate {
                share: share.clone(),
            };
            let look = AssertUnwindSafe(|| JobOutcome::Located(self.locate(share)));
            let outcome = std::panic::catch_unwind(look).unwrap_or_else(|_| lost_outcome(&job));
            for done in all {
                done(outcome.clone());
            }
            asked = self.lookups.next(share);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fsrvp_proto::JobId;
    use fsrvp_samba::directory::StaticDirectory;
    use fsrvp_snapshot::memory::{Gate, Injection, Step};
    use fsrvp_snapshot::{Backends, Memory};
    use std::collections::BTreeMap;
    use std::sync::mpsc;
    use std::time::Duration;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn executor(memory: &Arc<Memory>, runtime: &tokio::runtime::Runtime) -> Arc<Executor> {
        let directory = Arc::new(StaticDirectory::new("LAB"));
        for share in ["hung", "well"] {
            memory.add_volume(format!("/srv/{share}"));
            directory.add_share(share, format!("/srv/{share}"));
        }
        Arc::new(Executor::new(
            Arc::new(Backends::new(vec![memory.clone()])),
            directory,
            BTreeMap::new(),
            runtime.handle().clone(),
        ))
    }

    fn locate(executor: &Arc<Executor>, share: &str, id: u64) -> mpsc::Receiver<JobOutcome> {
        let (sender, receiver) = mpsc::channel();
        let share = ShareName::new(share);
        let done = move |outcome| drop(sender.send(outcome));
        executor.start(JobId(id), Job::Locate { share }, || {}, done);
        receiver
    }

    fn found(receiver: &mpsc::Receiver<JobOutcome>) -> Result<(), String> {
        match receiver.recv_timeout(PATIENCE).unwrap() {
            JobOutcome::Located(located) => located.map(drop).map_err(|failure| failure.detail),
            other => panic!("{other:?}"),
        }
    }

    /// A thousand look-ups of a volume that hangs take one thread, and other shares and other jobs
    /// go on; the runtime's pool, one thread here, serves none of them.
    #[test]
    fn a_hung_volume_holds_up_nobody_else() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(1)
            .build()
            .unwrap();
        let memory = Arc::new(Memory::new());
        let executor = executor(&memory, &runtime);
        let gate = Gate::new();
        memory.inject(Injection::at(Step::Probe).times(1).hang(&gate));
        let first = locate(&executor, "hung", 0);
        gate.wait_for(1);
        let later: Vec<_> = (1..=1_000)
            .map(|id| locate(&executor, "HUNG", id))
            .collect();
        // Those for whom there is no room are told so at once, the others wait.
        let (waiting, refused) = later.split_at(MOST_WAITING);
        for receiver in refused {
            let error = found(receiver).unwrap_err();
            assert!(
                error.contains("share HUNG") && error.contains("hangs"),
                "{error}"
            );
        }
        assert!(waiting.iter().all(|receiver| receiver.try_recv().is_err()));
        // The pool is taken by something else; a healthy volume does not need it.
        let (release, held) = mpsc::channel::<()>();
        let (begun, begins) = mpsc::channel();
        runtime.spawn_blocking(move || {
            begun.send(()).unwrap();
            held.recv()
        });
        begins.recv_timeout(PATIENCE).unwrap();
        assert_eq!(found(&locate(&executor, "well", 2_000)), Ok(()));
        let (sender, removed) = mpsc::channel();
        let artefacts = Vec::new();
        executor.start(
            JobId(2_001),
            Job::Remove { artefacts },
            || {},
            move |outcome| {
                drop(sender.send(outcome));
            },
        );
        removed.recv_timeout(PATIENCE).unwrap();
        drop(release);
        gate.release();
        assert_eq!(found(&first), Ok(()));
        for receiver in waiting {
            assert_eq!(found(receiver), Ok(()));
        }
        // It is looked up again afterwards, and nothing is left.
        assert_eq!(found(&locate(&executor, "hung", 3_000)), Ok(()));
        while !executor.lookups.lock().is_empty() {
            std::thread::yield_now();
        }
    }

    /// What has changed since a look-up began is seen by those who ask after that.
    #[test]
    fn a_look_up_never_answers_a_later_question() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let memory = Arc::new(Memory::new());
        let executor = executor(&memory, &runtime);
        let gate = Gate::new();
        memory.inject(Injection::at(Step::Probe).times(1).hang(&gate));
        let before = locate(&executor, "hung", 1);
        gate.wait_for(1);
        let choice = fsrvp_snapshot::Choice::from("none");
        executor.configure(super::super::Settings {
            choices: BTreeMap::from([(ShareName::new("hung"), choice)]),
            ..super::super::Settings::default()
        });
        let after = locate(&executor, "hung", 2);
        gate.release();
        assert_eq!(found(&before), Ok(()));
        assert!(found(&after).is_err());
    }
}
