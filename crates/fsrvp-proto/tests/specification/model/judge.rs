//! Runs steps on the agent and on the model, and compares.

mod comparison;
mod requests;

use super::reference::{Deadline, Due, Found, Method, Model, Named, Pending, Seen};
use super::steps::{CallSpec, Name, Ref, Step};
use crate::support::bench::{A, B, Bench, Running, secs};
use crate::support::jobs::{JobKind, kind_of, set_of, touched_by, volumes_of};
use crate::support::requests::{
    UNKNOWN_COPY, UNKNOWN_SET, abort, add, commit, copied, delete, expose, mapping, prepare,
    recovery, set_context, start, start_null, status_of, supported,
};
use crate::support::world::{Fate, SHARES};
use fsrvp_idl::{FileTime, Request, Response, ShadowCopyId, ShadowCopySetId, Status};
use fsrvp_proto::job::{Artefact, Failure, Job, JobId, JobOutcome};
use fsrvp_proto::{CallId, Profile, SetStatus};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

/// Agent and model side by side.
pub(crate) struct Judge {
    pub(crate) bench: Bench,
    pub(crate) model: Model,
    judged: BTreeSet<CallId>,
    gone: BTreeSet<CallId>,
    /// Which call a look-up job serves, and the folded share.
    lookups: BTreeMap<JobId, (CallId, String)>,
    requests: BTreeMap<CallId, Request>,
    /// The set that was started last.
    newest: Option<ShadowCopySetId>,
}

/// What the model may see of the agent's step.
struct StepSeen<'a> {
    bench: &'a Bench,
    share_failure: Option<Status>,
    copy_failure: Option<Status>,
}

impl Seen for StepSeen<'_> {
    fn new_set(&self, call: CallId) -> Option<ShadowCopySetId> {
        match self.bench.reply(call)? {
            Response::StartShadowCopySet {
                shadow_copy_set_id,
                status,
            } if status.is_ok() => Some(shadow_copy_set_id),
            _ => None,
        }
    }

    fn new_copy(&self, call: CallId) -> Option<ShadowCopyId> {
        match self.bench.reply(call)? {
            Response::AddToShadowCopySet {
                shadow_copy_id,
                status,
            } if status.is_ok() => Some(shadow_copy_id),
            _ => None,
        }
    }

    fn created(&self, id: ShadowCopyId) -> u64 {
        let view = self.bench.view();
        let copy = view
            .sets
            .iter()
            .flat_map(|set| &set.copies)
            .find(|copy| copy.id == id);
        copy.map_or(0, |copy| copy.created.0)
    }

    fn runs(&self, method: Method, set: ShadowCopySetId) -> bool {
        let kind = match method {
            Method::Prepare => JobKind::Prepare,
            Method::Commit => JobKind::Commit,
            Method::Expose => JobKind::Expose,
            Method::Seal => JobKind::Seal,
        };
        let of_set =
            |running: &Running| kind_of(&running.job) == kind && set_of(&running.job) == Some(set);
        self.bench.jobs.values().any(of_set)
    }

    fn is_busy(&self, volume: &str) -> bool {
        let view = self.bench.view();
        self.bench.jobs.values().any(|running| {
            let gone =
                set_of(&running.job).is_some_and(|id| view.sets.iter().all(|set| set.id != id));
            gone && volumes_of(&running.job)
                .iter()
                .any(|other| other.0 == volume)
        })
    }

    fn share_removal_failed(&self) -> Option<Status> {
        self.share_failure
    }

    fn copy_removal_failed(&self) -> Option<Status> {
        self.copy_failure
    }
}

impl Judge {
    pub(crate) fn new(profile: Profile) -> Self {
        let mut bench = Bench::new(profile);
        bench.hold_jobs = true;
        let model = Model::new(profile, bench.now.at);
        Self {
            bench,
            model,
            judged: BTreeSet::new(),
            gone: BTreeSet::new(),
            lookups: BTreeMap::new(),
            requests: BTreeMap::new(),
            newest: None,
        }
    }

    pub(crate) fn step(&mut self, step: Step) {
        match step {
            Step::Call {
                from,
                call,
                broken,
                linger,
                removal,
            } => {
                self.broken(broken);
                self.call(from, call, linger, removal);
            }
            Step::Proceed { also } => self.proceed(also),
            Step::Finish { job, fate, broken } => {
                self.broken(broken);
                self.finish(job, fate);
            }
            Step::Advance { seconds, broken } => {
                self.broken(broken);
                self.bench.advance(secs(u64::from(seconds)));
                self.model.advance(self.bench.now.at);
                self.remove(Fate::Succeed);
            }
            Step::Vanish { call } => {
                let waiting: Vec<CallId> = self.model.calls.keys().copied().collect();
                if let Some(call) = pick(&waiting, call) {
                    self.gone.insert(call);
                    self.bench.vanish(call);
                }
            }
            Step::Restart { fate } => {
                self.bench.restart(fate);
                self.restarted(false);
            }
            Step::Reboot { fate } => {
                self.bench.reboot(fate);
                self.restarted(true);
            }
            Step::Wall { hours } => {
                let ticks = i64::from(hours) * 36_000_000_000;
                let wall = self.bench.now.wall.0.saturating_add_signed(ticks);
                self.bench.set_wall(FileTime(wall));
            }
        }
        self.broken(false);
        self.compare();
    }

    fn broken(&mut self, broken: bool) {
        self.bench.store_broken = broken;
        self.model.store_broken = broken;
    }

    fn restarted(&mut self, reboot: bool) {
        self.lookups.clear();
        self.gone.clear();
        let context = self.bench.view().context.current.map(u32::from);
        self.model.restart(reboot, context);
        self.remove(Fate::Succeed);
    }

    fn call(&mut self, from: u8, call: CallSpec, linger: bool, removal: Fate) {
        let (request, named) = self.request(call);
        if self.is_elsewhere(&request) {
            return;
        }
        // Most calls come from the client that has the context; any other method than SetContext
        // may come from anywhere.
        let from: IpAddr = if from == 0 { B } else { A };
        let copies = self.copies_named_by(&request);
        let before: BTreeSet<JobId> = self.bench.jobs.keys().copied().collect();
        let exposed = self.bench.world.exposed.keys();
        self.model.exposed = exposed.map(|name| name.to_lowercase()).collect();
        let id = self.bench.send(from, request.clone());
        self.requests.insert(id, request.clone());
        let destructive = matches!(
            request,
            Request::AbortShadowCopySet { .. }
                | Request::DeleteShareMapping { .. }
                | Request::SetContext { .. }
        );
        let fate = if destructive { removal } else { Fate::Succeed };
        let failures = self.remove(fate);
        let seen = look(&self.bench, &copies, &failures);
        self.model.call(id, from, &request, &named, &seen);
        if let Some(Pending::Lookup { .. }) = self.model.calls.get(&id) {
            let new: Vec<JobId> = self
                .bench
                .jobs_of(JobKind::Locate)
                .into_iter()
                .filter(|job| !before.contains(job))
                .collect();
            assert_eq!(
                new.len(),
                1,
                "one look-up for {id:?}\n{}",
                self.bench.story()
            );
            let Named::Share(share) = named else {
                panic!("only names of shares are looked up");
            };
            self.lookups.insert(new[0], (id, share));
            if !linger {
                self.finish_job(new[0], Fate::Succeed);
            }
        }
        if let Some(set) = look(&self.bench, &copies, &[]).new_set(id) {
            self.newest = Some(set);
        }
    }

    /// Delete beside a job of the same set: the rules leave open which comes first, and another
    /// test goes there.
    fn is_elsewhere(&self, request: &Request) -> bool {
        let Request::DeleteShareMapping {
            shadow_copy_set_id, ..
        } = request
        else {
            return false;
        };
        self.bench
            .jobs
            .values()
            .any(|running| set_of(&running.job) == Some(*shadow_copy_set_id))
    }

    /// Removals end at once here: what may happen while one runs is another test's subject.
    fn remove(&mut self, fate: Fate) -> Vec<(Artefact, Failure)> {
        let mut failures = Vec::new();
        for _ in 0..100 {
            let view = self.bench.view();
            // Putting a share back belongs to the removal that could not be recorded.
            let put_back = |running: &Running| {
                kind_of(&running.job) == JobKind::Expose
                    && view.sets.iter().any(|set| {
                        Some(set.id) == set_of(&running.job) && set.status >= SetStatus::Exposed
                    })
            };
            let job =
                self.bench.jobs.iter().find(|(_, running)| {
                    kind_of(&running.job) == JobKind::Remove || put_back(running)
                });
            let Some((job, running)) = job.map(|(id, running)| (*id, running.clone())) else {
                return failures;
            };
            if put_back(&running) {
                self.bench.finish(job, Fate::Succeed);
                continue;
            }
            let mut copy_of_world = self.bench.world.clone();
            if let JobOutcome::Removed(failed) =
                copy_of_world.perform(&self.bench.jobs[&job].job, fate)
            {
                failures.extend(failed);
            }
            self.bench.finish(job, fate);
        }
        panic!("removals never end\n{}", self.bench.story());
    }

    fn proceed(&mut self, also: bool) {
        let before: BTreeSet<JobId> = self.bench.jobs.keys().copied().collect();
        let call = CallSpec::Next(60 + u16::from(also));
        self.call(1, call, false, Fate::Succeed);
        let new: Vec<JobId> = self
            .bench
            .jobs
            .keys()
            .copied()
            .filter(|job| !before.contains(job))
            .collect();
        for job in new {
            self.finish_job(job, Fate::Succeed);
        }
    }

    fn finish(&mut self, job: u8, fate: Fate) {
        let jobs: Vec<JobId> = self.bench.jobs.keys().copied().collect();
        if let Some(job) = pick(&jobs, job) {
            self.finish_job(job, fate);
        }
    }

    fn finish_job(&mut self, id: JobId, fate: Fate) {
        let job = self.bench.jobs[&id].job.clone();
        let outcome = self.bench.world.clone().perform(&job, fate);
        self.bench.finish(id, fate);
        self.remove(Fate::Succeed);
        let seen = look(&self.bench, &BTreeSet::new(), &[]);
        let plain = |result: &Result<(), Failure>| result.clone().map_err(|f| f.status());
        let (method, result) = match &outcome {
            JobOutcome::Located(result) => {
                let found = match result {
                    Ok(located) => Found::Volume {
                        volume: located.volume.0.clone(),
                        compatibility: located.compatibility,
                    },
                    Err(failure) => Found::Failure(failure.status()),
                };
                if let Some((call, share)) = self.lookups.remove(&id) {
                    self.model.looked_up(call, &share, &found, &seen);
                }
                return;
            }
            JobOutcome::Removed(_)
            | JobOutcome::Reached(_)
            | JobOutcome::Kept(_)
            | JobOutcome::InUse(_) => return,
            JobOutcome::Prepared(result) => (Method::Prepare, plain(result)),
            JobOutcome::Committed(result) => (Method::Commit, plain(result)),
            JobOutcome::Exposed(result) => (Method::Expose, plain(result)),
            JobOutcome::Sealed(result) => (Method::Seal, plain(result)),
        };
        if let Some(set) = set_of(&job) {
            self.model.job_ended(method, set, result, &seen);
        }
    }

    /// Everything ends well from here on: nothing may be left over.
    pub(crate) fn settle(&mut self) {
        self.bench.store_broken = false;
        self.bench.hold_jobs = false;
        self.bench.pump();
        for _ in 0..3 {
            self.bench.advance(secs(7200));
        }
        self.bench.check_nothing_leaked();
        let view = self.bench.view();
        assert!(
            view.sets
                .iter()
                .all(|set| set.status == SetStatus::Recovered),
            "{}",
            self.bench.story()
        );
        assert!(!view.context.is_set, "{}", self.bench.story());
    }
}

fn look<'a>(
    bench: &'a Bench,
    copies: &BTreeSet<ShadowCopyId>,
    failures: &[(Artefact, Failure)],
) -> StepSeen<'a> {
    let mut seen = StepSeen {
        bench,
        share_failure: None,
        copy_failure: None,
    };
    for (artefact, failure) in failures {
        let touched = touched_by(&Job::Remove {
            artefacts: vec![artefact.clone()],
        });
        if touched.is_disjoint(copies) {
            continue;
        }
        let place = match artefact {
            Artefact::Share(_) => &mut seen.share_failure,
            Artefact::Copy(_) => &mut seen.copy_failure,
        };
        place.get_or_insert(failure.status());
    }
    seen
}

fn pick<T: Clone>(from: &[T], number: u8) -> Option<T> {
    from.get(usize::from(number) % from.len().max(1)).cloned()
}
