//! A driver under virtual time: a store that is a map, jobs that succeed at once unless a test
//! holds them or makes them fail.

use crate::calls::*;
use fsrvp_idl::{
    ClientShadowCopySetId, FileTime, Request, Response, ShadowCopyId, ShadowCopySetId,
    ShareMapping, ShareName, Status,
};
use fsrvp_proto::job::{Artefact, BackendName, Failure, FailureKind, Located, VolumeId};
use fsrvp_proto::{
    Action, Agent, AgentConfig, AgentView, Call, CallId, Caller, Edit, Event, Found, Job, JobId,
    JobOutcome, Now, Order, OrderCall, OrderDone, OrderError, OwnNames, PersistId, Profile,
    SetStatus, Table, recover,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;
use uuid::Uuid;

pub(crate) const CLIENT: &str = "192.0.2.10";
pub(crate) const OTHER_CLIENT: &str = "192.0.2.11";
pub(crate) const START_OF_TIME: u64 = 133_000_000_000_000_000;

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn client_set_id() -> ClientShadowCopySetId {
    ClientShadowCopySetId(Uuid::from_u128(0xC11E_0001))
}

/// What became of a kind of job.
#[derive(Debug, Clone)]
pub(crate) enum Fate {
    Hold,
    Fail(FailureKind),
    /// Remove jobs: only the artefacts whose text holds this fail.
    FailNaming(&'static str),
}

pub(crate) struct World {
    pub(crate) agent: Agent,
    pub(crate) now: Now,
    pub(crate) config: AgentConfig,
    pub(crate) store: BTreeMap<String, Vec<u8>>,
    pub(crate) store_fails: bool,
    pub(crate) store_holds: bool,
    pub(crate) commits: Vec<Vec<Edit>>,
    pub(crate) waiting_commits: VecDeque<(PersistId, Vec<Edit>)>,
    pub(crate) fates: BTreeMap<&'static str, Fate>,
    pub(crate) held: BTreeMap<JobId, Job>,
    pub(crate) jobs: Vec<Job>,
    pub(crate) cancelled: Vec<JobId>,
    pub(crate) events: Vec<Event>,
    pub(crate) replies: BTreeMap<u64, Response>,
    pub(crate) answers: BTreeMap<u64, Result<OrderDone, OrderError>>,
    /// Copies that clients have open.
    pub(crate) in_use: BTreeSet<ShadowCopyId>,
    /// Shares of which nothing is kept any more, though the agent still wishes it.
    pub(crate) without_policy: BTreeSet<ShareName>,
    /// By how much the wall clock is ahead.
    ahead: Duration,
    pub(crate) shares: BTreeMap<String, (&'static str, i32)>,
    /// Shares lie in a directory whose name is no text.
    pub(crate) odd_paths: bool,
    next_call: u64,
}

pub(crate) fn kind(job: &Job) -> &'static str {
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

pub(crate) fn failure(kind: FailureKind) -> Failure {
    Failure::new(kind, "injected")
}

pub(crate) fn caller(address: &str) -> Caller {
    Caller {
        address: Some(address.parse().unwrap()),
        account: "LAB\\backup".to_owned(),
        ..Caller::default()
    }
}

/// A series of its own for each agent.
fn ids(series: u128) -> Box<dyn FnMut() -> Uuid + Send> {
    let mut last = series << 32;
    Box::new(move || {
        last += 1;
        Uuid::from_u128((0xA << 96) + last)
    })
}

fn own_names() -> OwnNames {
    OwnNames::new(["files".to_owned(), "alias".to_owned()], [])
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(AgentConfig::new("FILES"))
    }

    pub(crate) fn ws2012() -> Self {
        Self::with(AgentConfig {
            profile: Profile::Ws2012,
            ..AgentConfig::new("FILES")
        })
    }

    pub(crate) fn with(config: AgentConfig) -> Self {
        let now = Now {
            at: Duration::ZERO,
            wall: FileTime(START_OF_TIME),
        };
        let mut agent = Agent::new(config.clone(), Table::default(), ids(0), now);
        agent.set_own_names(own_names());
        let shares = [("a", "va"), ("a2", "va"), ("b", "vb"), ("hid$", "vh")];
        Self {
            agent,
            now,
            config,
            store: BTreeMap::new(),
            store_fails: false,
            store_holds: false,
            commits: Vec::new(),
            waiting_commits: VecDeque::new(),
            fates: BTreeMap::new(),
            held: BTreeMap::new(),
            jobs: Vec::new(),
            cancelled: Vec::new(),
            events: Vec::new(),
            replies: BTreeMap::new(),
            answers: BTreeMap::new(),
            in_use: BTreeSet::new(),
            without_policy: BTreeSet::new(),
            ahead: Duration::ZERO,
            shares: shares
                .into_iter()
                .map(|(name, volume)| (name.to_owned(), (volume, 3)))
                .collect(),
            odd_paths: false,
            next_call: 0,
        }
    }

    /// Builds a new agent from the store, as after a crash, with nothing recovered.
    pub(crate) fn restart_raw(&mut self) {
        let table = self.stored();
        self.start_from(table);
    }

    pub(crate) fn start_from(&mut self, table: Table) {
        self.held.clear();
        self.waiting_commits.clear();
        self.agent = Agent::new(
            self.config.clone(),
            table,
            ids(self.now.at.as_millis() + 1),
            self.now,
        );
        self.agent.set_own_names(own_names());
        self.pump();
    }

    /// Starts as the daemon does, with what it finds outside.
    pub(crate) fn recover_with(&mut self, found: Found, boot_id: &str) {
        let recovered = recover(self.stored(), found, boot_id, self.now);
        self.apply(recovered.edits);
        self.start_from(recovered.table);
    }

    pub(crate) fn stored(&self) -> Table {
        Table::load(self.store.clone()).unwrap()
    }

    // Time and the world outside.

    /// Lets time pass, with every timeout on the way at its moment.
    pub(crate) fn pass(&mut self, duration: Duration) {
        let end = self.now.at + duration;
        while let Some(at) = self.agent.poll_timeout() {
            if at > end {
                break;
            }
            self.set_time(at.max(self.now.at));
            self.agent.handle_timeout(self.now);
            self.pump();
            assert!(
                self.agent
                    .poll_timeout()
                    .is_none_or(|next| next > self.now.at),
                "the agent asks for the same timeout again"
            );
        }
        self.set_time(end);
    }

    fn set_time(&mut self, at: Duration) {
        self.now.at = at;
        let wall = START_OF_TIME + u64::try_from(at.as_nanos() / 100).unwrap();
        self.now.wall = FileTime(wall + u64::try_from(self.ahead.as_nanos() / 100).unwrap());
    }

    /// Somebody sets the wall clock: from now on it is so much ahead.
    pub(crate) fn set_clock(&mut self, ahead: Duration) {
        self.ahead = ahead;
        self.set_time(self.now.at);
    }

    pub(crate) fn fate(&mut self, kind: &'static str, fate: Fate) {
        self.fates.insert(kind, fate);
    }

    pub(crate) fn hold(&mut self, kind: &'static str) {
        self.fate(kind, Fate::Hold);
    }

    pub(crate) fn no_fate(&mut self, kind: &'static str) {
        self.fates.remove(kind);
    }

    /// The held job of a kind.
    pub(crate) fn held(&self, wanted: &str) -> Option<JobId> {
        let mut jobs = self.held.iter().filter(|(_, job)| kind(job) == wanted);
        jobs.next().map(|(id, _)| *id)
    }

    /// Ends a held job well.
    pub(crate) fn done(&mut self, wanted: &'static str) {
        self.end(wanted, None);
    }

    /// Ends a held job with a failure.
    pub(crate) fn fail(&mut self, wanted: &'static str, failure: FailureKind) {
        self.end(wanted, Some(Fate::Fail(failure)));
    }

    fn end(&mut self, wanted: &'static str, fate: Option<Fate>) {
        let id = self
            .held(wanted)
            .unwrap_or_else(|| panic!("no {wanted} job is held"));
        let job = self.held.remove(&id).unwrap();
        let outcome = self.outcome(&job, fate);
        self.agent.handle_job(self.now, id, outcome);
        self.pump();
    }

    /// Answers the oldest held commit of the store.
    pub(crate) fn stored_is(&mut self, result: Result<(), String>) {
        let (id, edits) = self.waiting_commits.pop_front().expect("a commit");
        if result.is_ok() {
            self.apply(edits);
        }
        self.agent.handle_persisted(self.now, id, result);
        self.pump();
    }

    fn apply(&mut self, edits: Vec<Edit>) {
        for edit in &edits {
            match &edit.value {
                Some(value) => self.store.insert(edit.key.clone(), value.clone()),
                None => self.store.remove(&edit.key),
            };
        }
        self.commits.push(edits);
    }

    fn outcome(&self, job: &Job, fate: Option<Fate>) -> JobOutcome {
        let result = match &fate {
            Some(Fate::Fail(kind)) => Err(failure(*kind)),
            _ => Ok(()),
        };
        match job {
            Job::Locate { share } => JobOutcome::Located(result.and_then(|()| self.locate(share))),
            Job::Prepare { .. } => JobOutcome::Prepared(result),
            Job::Commit { .. } => JobOutcome::Committed(result),
            Job::Expose { .. } => JobOutcome::Exposed(result),
            Job::Reach { .. } => JobOutcome::Reached(result),
            Job::Seal { .. } => JobOutcome::Sealed(result),
            Job::Remove { artefacts } => {
                let fails = |artefact: &Artefact| match &fate {
                    Some(Fate::Fail(kind)) => Some(failure(*kind)),
                    Some(Fate::FailNaming(part)) => format!("{artefact:?}")
                        .contains(part)
                        .then(|| failure(FailureKind::Other)),
                    _ => None,
                };
                let failed = artefacts
                    .iter()
                    .filter_map(|a| Some((a.clone(), fails(a)?)));
                JobOutcome::Removed(failed.collect())
            }
            Job::Keep { copies, .. } => {
                let kept = copies
                    .iter()
                    .filter(|source| !self.without_policy.contains(&source.share));
                JobOutcome::Kept(result.map(|()| kept.map(|source| source.copy.copy).collect()))
            }
            Job::InUse { .. } => JobOutcome::InUse(result.map(|()| self.in_use.clone())),
        }
    }

    fn locate(&self, share: &ShareName) -> Result<Located, Failure> {
        let (volume, compatibility) = self
            .shares
            .get(&share.folded())
            .ok_or(failure(FailureKind::NotFound))?;
        if *volume == "unsupported" {
            return Err(failure(FailureKind::Unsupported));
        }
        Ok(Located {
            share: share.clone(),
            path: if self.odd_paths {
                OsStr::from_bytes(b"/srv/\xFF\xFE").into()
            } else {
                format!("/srv/{share}").into()
            },
            backend: BackendName("memory".to_owned()),
            volume: VolumeId((*volume).to_owned()),
            inner: "".into(),
            compatibility: *compatibility,
        })
    }

    pub(crate) fn pump(&mut self) {
        while let Some(action) = self.agent.poll_action() {
            match action {
                Action::Persist { id, edits } if self.store_holds => {
                    self.waiting_commits.push_back((id, edits));
                }
                Action::Persist { id, edits } => {
                    let result = if self.store_fails {
                        Err("disk full".to_owned())
                    } else {
                        self.apply(edits);
                        Ok(())
                    };
                    self.agent.handle_persisted(self.now, id, result);
                }
                Action::Run { id, job } => {
                    self.jobs.push(job.clone());
                    match self.fates.get(kind(&job)).cloned() {
                        Some(Fate::Hold) => {
                            self.held.insert(id, job);
                        }
                        fate => {
                            let outcome = self.outcome(&job, fate);
                            self.agent.handle_job(self.now, id, outcome);
                        }
                    }
                }
                Action::Cancel { id } => {
                    assert!(
                        self.held.contains_key(&id),
                        "only running jobs are cancelled"
                    );
                    self.cancelled.push(id);
                }
                Action::Reply { id, response } => {
                    let second = self.replies.insert(id.0, response);
                    assert_eq!(second, None, "one reply for each call");
                }
                Action::Answer { id, result } => {
                    let before = self.answers.insert(id.0, result);
                    assert!(before.is_none(), "an order is answered twice");
                }
                Action::Report(event) => self.events.push(event),
            }
        }
    }

    // Calls.

    /// Makes a call; the reply may come later.
    pub(crate) fn send(&mut self, caller: Caller, request: Request) -> u64 {
        self.next_call += 1;
        let id = CallId(self.next_call);
        let call = Call {
            id,
            caller,
            request,
        };
        self.agent.handle_call(self.now, call);
        self.pump();
        id.0
    }

    pub(crate) fn reply(&self, call: u64) -> Option<&Response> {
        self.replies.get(&call)
    }

    /// The status of a call's reply.
    pub(crate) fn status(&self, call: u64) -> Option<Status> {
        self.reply(call).map(status_of)
    }

    /// Makes a call of [`CLIENT`] that is answered at once.
    pub(crate) fn call(&mut self, request: Request) -> Response {
        let name = format!("{request:?}");
        let id = self.send(caller(CLIENT), request);
        self.reply(id)
            .unwrap_or_else(|| panic!("no reply to {name}"))
            .clone()
    }

    pub(crate) fn ask(&mut self, request: Request) -> Status {
        status_of(&self.call(request))
    }

    pub(crate) fn set_context(&mut self, context: u32) -> Status {
        self.ask(Request::SetContext { context })
    }

    pub(crate) fn set_context_from(&mut self, address: &str, context: u32) -> Status {
        let id = self.send(caller(address), Request::SetContext { context });
        self.status(id).expect("a reply")
    }

    pub(crate) fn start(&mut self) -> Result<ShadowCopySetId, Status> {
        match self.call(start()) {
            Response::StartShadowCopySet {
                shadow_copy_set_id,
                status: Status::ZERO,
            } => Ok(shadow_copy_set_id),
            other => Err(status_of(&other)),
        }
    }

    pub(crate) fn add(
        &mut self,
        set: ShadowCopySetId,
        share: &str,
    ) -> Result<ShadowCopyId, Status> {
        match self.call(add(set, share)) {
            Response::AddToShadowCopySet {
                shadow_copy_id,
                status: Status::ZERO,
            } => Ok(shadow_copy_id),
            other => Err(status_of(&other)),
        }
    }

    pub(crate) fn mapping(
        &mut self,
        set: ShadowCopySetId,
        copy: ShadowCopyId,
        share: &str,
    ) -> Result<ShareMapping, Status> {
        match self.call(get_mapping(set, copy, share)) {
            Response::GetShareMapping {
                mapping: Some(mapping),
                ..
            } => Ok(mapping),
            other => Err(status_of(&other)),
        }
    }

    /// A set in the status that is asked for, with one copy of each share.
    pub(crate) fn walk(
        &mut self,
        context: u32,
        shares: &[&str],
        status: SetStatus,
    ) -> (ShadowCopySetId, Vec<ShadowCopyId>) {
        assert_eq!(self.set_context(context), Status::ZERO);
        let set = self.start().unwrap();
        let mut copies = Vec::new();
        if status >= SetStatus::Added {
            copies = shares
                .iter()
                .map(|share| self.add(set, share).unwrap())
                .collect();
        }
        if status == SetStatus::CreationInProgress {
            let fate = self.fates.insert("commit", Fate::Hold);
            assert_eq!(self.ask(commit(set, 0)), Status::FSSAGENT_E_TIMEOUT);
            match fate {
                Some(fate) => self.fates.insert("commit", fate),
                None => self.fates.remove("commit"),
            };
            return (set, copies);
        }
        if status >= SetStatus::Committed {
            assert_eq!(self.ask(prepare(set, 1_800_000)), Status::ZERO);
            assert_eq!(self.ask(commit(set, 60_000)), Status::ZERO);
        }
        if status >= SetStatus::Exposed {
            assert_eq!(self.ask(expose(set, 1_800_000)), Status::ZERO);
        }
        if status >= SetStatus::Recovered {
            assert_eq!(self.ask(recovery_complete(set)), Status::ZERO);
        }
        (set, copies)
    }

    /// An operator orders; the answer if it came at once.
    pub(crate) fn order(&mut self, order: Order) -> Option<Result<OrderDone, OrderError>> {
        let id = self.begin_order(order);
        self.answers.get(&id).cloned()
    }

    /// An operator orders; gives the order's number.
    pub(crate) fn begin_order(&mut self, order: Order) -> u64 {
        self.next_call += 1;
        let id = CallId(self.next_call);
        self.agent.handle_order(self.now, OrderCall { id, order });
        self.pump();
        id.0
    }

    // What is to be seen.

    pub(crate) fn view(&self) -> AgentView {
        self.agent.view(self.now)
    }

    pub(crate) fn set_status(&self, set: ShadowCopySetId) -> Option<SetStatus> {
        self.view()
            .sets
            .iter()
            .find(|view| view.id == set)
            .map(|view| view.status)
    }

    /// Seconds until the Message Sequence Timer fires.
    pub(crate) fn timer(&self) -> Option<u64> {
        self.view().timer_remaining_ms.map(|ms| ms / 1000)
    }

    pub(crate) fn context_set(&self) -> bool {
        self.view().context.is_set
    }

    pub(crate) fn removed(&self) -> Vec<Artefact> {
        let artefacts = self.jobs.iter().filter_map(|job| match job {
            Job::Remove { artefacts } => Some(artefacts.clone()),
            _ => None,
        });
        artefacts.flatten().collect()
    }

    pub(crate) fn ran(&self, wanted: &str) -> usize {
        self.jobs.iter().filter(|job| kind(job) == wanted).count()
    }
}
