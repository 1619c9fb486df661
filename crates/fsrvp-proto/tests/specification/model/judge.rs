//! Runs steps on the agent and on the model, and compares.

use super::reference::{Deadline, Due, Found, Method, Model, Named, Pending, Seen};
use super::steps::{CallSpec, Name, Ref, Step};
use crate::support::bench::{
    A, B, Bench, JobKind, Running, kind_of, secs, set_of, touched_by, volumes_of,
};
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
            JobOutcome::Removed(_) => return,
            JobOutcome::Prepared(result) => (Method::Prepare, plain(result)),
            JobOutcome::Committed(result) => (Method::Commit, plain(result)),
            JobOutcome::Exposed(result) => (Method::Expose, plain(result)),
            JobOutcome::Sealed(result) => (Method::Seal, plain(result)),
        };
        if let Some(set) = set_of(&job) {
            self.model.job_ended(method, set, result, &seen);
        }
    }

    // ---- requests

    fn request(&self, call: CallSpec) -> (Request, Named) {
        let none = Named::Share(String::new());
        let wait = |seconds: u16| Duration::from_secs(u64::from(seconds));
        match call {
            CallSpec::Next(seconds) => self.next_call(seconds),
            CallSpec::Version => (Request::GetSupportedVersion, none),
            CallSpec::SetContext(context) => (set_context(context), none),
            CallSpec::Start { null: false } => (start(), none),
            CallSpec::Start { null: true } => (start_null(), none),
            CallSpec::Add(set, name) => {
                let (text, named) = self.name(name);
                (add(self.set(set), text), named)
            }
            CallSpec::Prepare(set, seconds) => (prepare(self.set(set), wait(seconds)), none),
            CallSpec::Commit(set, seconds) => (commit(self.set(set), wait(seconds)), none),
            CallSpec::Expose(set, seconds) => (expose(self.set(set), wait(seconds)), none),
            CallSpec::Recovery(set) => (recovery(self.set(set)), none),
            CallSpec::Abort(set) => (abort(self.set(set)), none),
            CallSpec::Supported(name) => {
                let (text, named) = self.name(name);
                (supported(text), named)
            }
            CallSpec::Copied(name) => {
                let (text, named) = self.name(name);
                (copied(text), named)
            }
            CallSpec::Mapping(set, copy, name, level) => {
                let set = self.set(set);
                let (text, named) = self.mapped_name(set, name);
                let request = mapping(set, self.copy(copy, set, &named), text);
                (with_level(request, level), named)
            }
            CallSpec::Delete(set, copy, name) => {
                let set = self.set(set);
                let (text, named) = self.mapped_name(set, name);
                (delete(set, self.copy(copy, set, &named), text), named)
            }
        }
    }

    /// What a good client would call next.
    fn next_call(&self, seconds: u16) -> (Request, Named) {
        let none = Named::Share(String::new());
        let wait = Duration::from_secs(u64::from(seconds));
        let newest = self
            .newest
            .and_then(|id| Some((id, self.model.sets.get(&id)?)));
        let Some((id, set)) = newest else {
            let request = if self.model.context.is_some() {
                start()
            } else {
                set_context(0x0040_0009)
            };
            return (request, none);
        };
        match set.status {
            SetStatus::Started => {
                let (text, named) = self.name(Name::Share(0, 0));
                (add(id, text), named)
            }
            SetStatus::Added if seconds.is_multiple_of(2) => (prepare(id, wait), none),
            SetStatus::Added | SetStatus::CreationInProgress => (commit(id, wait), none),
            SetStatus::Committed => (expose(id, wait), none),
            SetStatus::Exposed if seconds.is_multiple_of(2) => (recovery(id), none),
            SetStatus::Exposed | SetStatus::Recovered => {
                let place = set
                    .copies
                    .first()
                    .and_then(|copy| Some((copy.id, copy.shares.first()?.share.clone())));
                let Some((copy, share)) = place else {
                    return (Request::GetSupportedVersion, none);
                };
                let text = format!(r"\\filer\{share}");
                if set.status == SetStatus::Exposed {
                    (mapping(id, copy, text), Named::Share(share))
                } else if self.model.context.is_none() && seconds.is_multiple_of(2) {
                    (set_context(0x0000_0010), none)
                } else if self.model.context.is_some() {
                    (start(), none)
                } else {
                    (delete(id, copy, text), Named::Share(share))
                }
            }
        }
    }

    fn set(&self, reference: Ref) -> ShadowCopySetId {
        let all: Vec<ShadowCopySetId> = self.model.sets.keys().copied().collect();
        let picked = match reference {
            Ref::Fitting => self.newest,
            Ref::Nth(number) => pick(&all, number),
            Ref::Unknown => None,
            Ref::Null => Some(ShadowCopySetId::NULL),
        };
        picked.unwrap_or(UNKNOWN_SET)
    }

    fn copy(&self, reference: Ref, set: ShadowCopySetId, named: &Named) -> ShadowCopyId {
        let copies = self
            .model
            .sets
            .get(&set)
            .map(|set| set.copies.as_slice())
            .unwrap_or_default();
        let picked = match reference {
            Ref::Fitting => copies
                .iter()
                .find(|copy| {
                    copy.shares
                        .iter()
                        .any(|mapped| Named::Share(mapped.share.clone()) == *named)
                })
                .map(|copy| copy.id),
            Ref::Nth(number) => pick(
                &copies.iter().map(|copy| copy.id).collect::<Vec<_>>(),
                number,
            ),
            Ref::Unknown => None,
            Ref::Null => Some(ShadowCopyId::NULL),
        };
        picked.unwrap_or(UNKNOWN_COPY)
    }

    fn mapped_name(&self, set: ShadowCopySetId, name: Name) -> (String, Named) {
        let Name::Mapped(number, form) = name else {
            return self.name(name);
        };
        let shares: Vec<String> = self
            .model
            .sets
            .get(&set)
            .into_iter()
            .flat_map(|set| &set.copies)
            .flat_map(|copy| copy.shares.iter().map(|mapped| mapped.share.clone()))
            .collect();
        let place = pick(&shares, number)
            .and_then(|share| {
                SHARES
                    .iter()
                    .position(|(name, ..)| name.to_lowercase() == share)
            })
            .and_then(|place| u8::try_from(place).ok());
        self.name(Name::Share(place.unwrap_or_default(), form))
    }

    fn name(&self, name: Name) -> (String, Named) {
        match name {
            Name::Mapped(share, form) => self.name(Name::Share(share, form)),
            Name::Share(number, form) => {
                let share = SHARES[usize::from(number) % SHARES.len()].0;
                let text = match form {
                    0 | 1 => format!(r"\\FILER\{share}"),
                    2 => format!(r"\\filer\{share}\"),
                    3 => format!(r"\\localhost\{}", share.to_uppercase()),
                    4 => format!(r"\\198.51.100.1\{}", share.to_lowercase()),
                    _ => format!(r"\\Filer.Example.\{share}"),
                };
                (text, Named::Share(share.to_lowercase()))
            }
            Name::Exposed(number) => {
                let names: Vec<String> = self.bench.world.exposed.keys().cloned().collect();
                let name = pick(&names, number).unwrap_or_else(|| "absent".to_owned());
                (
                    format!(r"\\FILER\{name}"),
                    Named::Share(name.to_lowercase()),
                )
            }
            Name::Absent => (
                r"\\FILER\absent".to_owned(),
                Named::Share("absent".to_owned()),
            ),
            Name::Foreign => (r"\\stranger.example\Data".to_owned(), Named::Foreign),
            Name::Empty => (String::new(), Named::Empty),
            Name::Malformed => (r"\\FILER\Data\inner".to_owned(), Named::Malformed),
        }
    }

    fn copies_named_by(&self, request: &Request) -> BTreeSet<ShadowCopyId> {
        match request {
            Request::AbortShadowCopySet { shadow_copy_set_id } => self
                .model
                .sets
                .get(shadow_copy_set_id)
                .map(|set| set.copies.iter().map(|copy| copy.id).collect())
                .unwrap_or_default(),
            Request::DeleteShareMapping { shadow_copy_id, .. } => BTreeSet::from([*shadow_copy_id]),
            _ => BTreeSet::new(),
        }
    }

    // ---- comparison

    fn compare(&mut self) {
        self.compare_replies();
        self.compare_state();
        self.compare_jobs();
    }

    fn compare_replies(&mut self) {
        let due = std::mem::take(&mut self.model.due);
        for expected in &due {
            self.compare_reply(expected);
            self.judged.insert(expected.call);
            self.gone.remove(&expected.call);
        }
        for call in self.bench.replies.keys() {
            assert!(
                self.judged.contains(call),
                "{call:?} is answered, the model lets it wait\n{}",
                self.bench.story()
            );
        }
    }

    fn compare_reply(&self, expected: &Due) {
        let Some((at, response)) = self.bench.replies.get(&expected.call) else {
            assert!(
                self.gone.contains(&expected.call),
                "no reply, expected {expected:?}\n{}",
                self.bench.story()
            );
            return;
        };
        let status = status_of(response);
        assert!(
            expected.allowed.contains(&status) && *at == expected.at,
            "expected {expected:?}, got {status:?} at {at:?}\n{}",
            self.bench.story()
        );
        if let Response::IsPathShadowCopied {
            shadow_copy_present,
            shadow_copy_compatibility,
            ..
        } = response
            && let Some(answer) = expected.present
        {
            let got = (*shadow_copy_present, *shadow_copy_compatibility);
            assert_eq!(got, answer, "{expected:?}\n{}", self.bench.story());
        }
        if let (
            Response::GetShareMapping {
                mapping: Some(got), ..
            },
            Some(request),
        ) = (response, self.requests.get(&expected.call))
        {
            self.compare_mapping(request, got);
        }
    }

    /// Rule 9: "ShareNameUNC is the name as the client gave it in Add", the bare exposed name,
    /// the time of Add.
    fn compare_mapping(&self, request: &Request, got: &fsrvp_idl::ShareMapping) {
        let Request::GetShareMapping {
            shadow_copy_id,
            shadow_copy_set_id,
            share_name,
            ..
        } = request
        else {
            return;
        };
        let asked = share_name
            .trim_end_matches('\\')
            .rsplit('\\')
            .next()
            .unwrap_or_default();
        let set = &self.model.sets[shadow_copy_set_id];
        let copy = set
            .copies
            .iter()
            .find(|copy| copy.id == *shadow_copy_id)
            .unwrap();
        let mapped = copy
            .shares
            .iter()
            .find(|mapped| mapped.share == asked.to_lowercase())
            .unwrap();
        let base = mapped
            .given
            .trim_end_matches('\\')
            .rsplit('\\')
            .next()
            .unwrap_or_default();
        let hidden = if base.ends_with('$') { "$" } else { "" };
        let name = format!("{base}@{{{}}}{hidden}", copy.id);
        assert_eq!(got.share_name_unc, mapped.given, "{}", self.bench.story());
        assert_eq!(
            got.shadow_copy_share_name,
            Some(name),
            "{}",
            self.bench.story()
        );
        assert_eq!(
            got.creation_timestamp.0,
            copy.created,
            "{}",
            self.bench.story()
        );
        assert_eq!(
            (got.shadow_copy_set_id, got.shadow_copy_id),
            (*shadow_copy_set_id, copy.id),
            "{}",
            self.bench.story()
        );
    }

    fn compare_state(&mut self) {
        let view = self.bench.view();
        let story = || self.bench.story();
        let context = view
            .context
            .current
            .filter(|_| view.context.is_set)
            .map(u32::from);
        assert_eq!(context, self.model.context, "ContextSet\n{}", story());
        let address = view.context.client_address;
        assert_eq!(
            address,
            self.model.address,
            "ShadowCopyClientAddress\n{}",
            story()
        );
        let got: BTreeMap<_, _> = view
            .sets
            .iter()
            .map(|set| {
                let copies: BTreeMap<_, _> = set
                    .copies
                    .iter()
                    .map(|copy| {
                        let names: BTreeSet<String> = copy
                            .mappings
                            .iter()
                            .map(|m| m.share_name_unc.clone())
                            .collect();
                        (copy.id, (copy.volume.clone(), names))
                    })
                    .collect();
                (set.id, (set.status, u32::from(set.context), copies))
            })
            .collect();
        let expected: BTreeMap<_, _> = self
            .model
            .sets
            .iter()
            .map(|(id, set)| {
                let copies: BTreeMap<_, _> = set
                    .copies
                    .iter()
                    .map(|copy| {
                        let names: BTreeSet<String> = copy
                            .shares
                            .iter()
                            .map(|mapped| mapped.given.clone())
                            .collect();
                        (copy.id, (copy.volume.clone(), names))
                    })
                    .collect();
                (*id, (set.status, set.context, copies))
            })
            .collect();
        assert_eq!(got, expected, "GlobalShadowCopySetTable\n{}", story());
        let now = self.bench.now.at;
        let timer = view.timer_remaining_ms;
        let timer = timer_matches(self.model.timer, timer, now)
            .unwrap_or_else(|| panic!("timer: {:?}, got {timer:?}\n{}", self.model.timer, story()));
        let mut own = BTreeMap::new();
        for set in &view.sets {
            let expected = self.model.sets[&set.id].deadline;
            let got = set.deadline_ms;
            let deadline = timer_matches(expected, got, now).unwrap_or_else(|| {
                panic!(
                    "deadline of {}: {expected:?}, got {got:?}\n{}",
                    set.id,
                    story()
                )
            });
            own.insert(set.id, deadline);
        }
        self.model.timer = timer;
        for (id, deadline) in own {
            if let Some(set) = self.model.sets.get_mut(&id) {
                set.deadline = deadline;
            }
        }
    }

    /// Exactly the jobs that the model has started run for the sets that are there.
    fn compare_jobs(&self) {
        use super::reference::Work;
        for (id, set) in &self.model.sets {
            for (kind, work) in [
                (JobKind::Prepare, set.prepare),
                (JobKind::Commit, set.commit),
                (JobKind::Expose, set.expose),
                (JobKind::Seal, set.seal),
            ] {
                let running = self
                    .bench
                    .jobs
                    .values()
                    .filter(|running| kind_of(&running.job) == kind)
                    .filter(|running| set_of(&running.job) == Some(*id))
                    .count();
                let expected = usize::from(work == Work::Running);
                assert_eq!(
                    running,
                    expected,
                    "{kind:?} of {id}\n{}",
                    self.bench.story()
                );
            }
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

/// The agent's time left against the model's deadline; an open one takes over what it finds.
fn timer_matches(expected: Deadline, got_ms: Option<u64>, now: Duration) -> Option<Deadline> {
    let got = got_ms.map(|ms| now + Duration::from_millis(ms));
    match (expected, got) {
        (Deadline::None, None) => Some(Deadline::None),
        (Deadline::At(at), Some(got)) if at == got => Some(expected),
        (Deadline::Open, Some(got)) if got <= now + super::reference::LONG => {
            Some(Deadline::At(got))
        }
        _ => None,
    }
}

fn pick<T: Clone>(from: &[T], number: u8) -> Option<T> {
    from.get(usize::from(number) % from.len().max(1)).cloned()
}

fn with_level(request: Request, number: u8) -> Request {
    match request {
        Request::GetShareMapping {
            shadow_copy_id,
            shadow_copy_set_id,
            share_name,
            ..
        } => {
            let level = u32::from(number);
            Request::GetShareMapping {
                shadow_copy_id,
                shadow_copy_set_id,
                share_name,
                level,
            }
        }
        other => other,
    }
}
