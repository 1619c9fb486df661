//! The agent on a bench: virtual clock, fake store, fake executor, and invariants that hold after
//! every step of every test.

use super::requests::{changes_table, check_form, opnum_and_status, opnum_of, status_of};
use super::world::{Fate, World};
use fsrvp_idl::{FileTime, Opnum, Request, Response, ShadowCopyId, ShadowCopySetId, Status};
use fsrvp_proto::directory::ExposedShare;
use fsrvp_proto::job::{Artefact, Exposure, Job, JobId, JobOutcome, VolumeId};
use fsrvp_proto::view::{AgentView, SetView};
use fsrvp_proto::{
    Action, Agent, AgentConfig, Call, CallId, Caller, Edit, Event, Found, Now, OwnNames, PersistId,
    Profile, SetStatus, Table, recover,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use uuid::Uuid;

/// The client of most tests, and another one.
pub(crate) const A: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10));
pub(crate) const B: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 20));

/// 2026-01-01 00:00 UTC.
const WALL: u64 = 134_116_992_000_000_000;

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A job that the agent has started and that has not ended.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    pub(crate) job: Job,
    pub(crate) cancelled: bool,
}

#[derive(Debug)]
struct Waiting {
    opnum: Opnum,
    gone: bool,
    /// Commits of the store that had succeeded when the call came.
    commits: u64,
}

/// The agent and everything around it.
pub(crate) struct Bench {
    pub(crate) config: AgentConfig,
    pub(crate) agent: Agent,
    pub(crate) now: Now,
    pub(crate) world: World,
    pub(crate) store: BTreeMap<String, Vec<u8>>,
    pub(crate) boot: u32,
    persists: VecDeque<(PersistId, Vec<Edit>)>,
    commits: u64,
    pub(crate) jobs: BTreeMap<JobId, Running>,
    calls: BTreeMap<CallId, Waiting>,
    pub(crate) replies: BTreeMap<CallId, (Duration, Response)>,
    pub(crate) events: Vec<Event>,
    pub(crate) log: Vec<String>,
    /// Jobs stay until [`Bench::finish`].
    pub(crate) hold_jobs: bool,
    /// Commits of the store stay until [`Bench::settle`].
    pub(crate) hold_persists: bool,
    /// Commits of the store fail.
    pub(crate) store_broken: bool,
    next_call: u64,
    incarnation: u64,
    /// What is there need not be ours to know.
    foreign_world: bool,
    stopped: bool,
    ids_given: BTreeSet<Uuid>,
    jobs_given: BTreeSet<JobId>,
    /// Shares that a Seal has turned read-only, which they stay.
    closed: BTreeSet<String>,
    /// Shares whose putting back has failed: they may be missing until the next start.
    pub(crate) missing: BTreeSet<String>,
    recovered: BTreeMap<ShadowCopySetId, SetView>,
}

impl Bench {
    pub(crate) fn new(profile: Profile) -> Self {
        let mut config = AgentConfig::new("FILER");
        config.profile = profile;
        Self::with_config(config)
    }

    pub(crate) fn with_config(config: AgentConfig) -> Self {
        let now = Now {
            at: secs(1000),
            wall: FileTime(WALL),
        };
        let agent = Agent::new(config.clone(), Table::default(), ids(0), now);
        let mut bench = Self {
            config,
            agent,
            now,
            world: World::new(),
            store: BTreeMap::new(),
            boot: 1,
            persists: VecDeque::new(),
            commits: 0,
            jobs: BTreeMap::new(),
            calls: BTreeMap::new(),
            replies: BTreeMap::new(),
            events: Vec::new(),
            log: Vec::new(),
            hold_jobs: false,
            hold_persists: false,
            store_broken: false,
            next_call: 1,
            incarnation: 0,
            foreign_world: false,
            stopped: false,
            ids_given: BTreeSet::new(),
            jobs_given: BTreeSet::new(),
            closed: BTreeSet::new(),
            missing: BTreeSet::new(),
            recovered: BTreeMap::new(),
        };
        bench.boot_agent();
        bench
    }

    // ---- calls

    /// A call; it may be unanswered when this returns.
    pub(crate) fn send(&mut self, from: IpAddr, request: Request) -> CallId {
        let caller = Caller {
            address: Some(from),
            server_address: Some(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1))),
            server_name: Some("FILER".to_owned()),
            account: "BACKUP\\operator".to_owned(),
        };
        self.send_as(caller, request)
    }

    pub(crate) fn send_as(&mut self, caller: Caller, request: Request) -> CallId {
        let id = CallId(self.next_call);
        self.next_call += 1;
        self.note(format!("{id:?} from {:?}: {request:?}", caller.address));
        let opnum = opnum_of(&request);
        self.calls.insert(
            id,
            Waiting {
                opnum,
                gone: false,
                commits: self.commits,
            },
        );
        self.agent.handle_call(
            self.now,
            Call {
                id,
                caller,
                request,
            },
        );
        self.pump();
        id
    }

    /// A call that is answered without time passing.
    pub(crate) fn ask(&mut self, from: IpAddr, request: Request) -> Response {
        let id = self.send(from, request);
        self.reply(id)
            .unwrap_or_else(|| panic!("{id:?} is unanswered\n{}", self.story()))
    }

    pub(crate) fn status(&mut self, from: IpAddr, request: Request) -> Status {
        status_of(&self.ask(from, request))
    }

    #[track_caller]
    pub(crate) fn expect(&mut self, from: IpAddr, request: Request, status: Status) {
        let shown = format!("{request:?}");
        let got = self.status(from, request);
        assert_eq!(got, status, "{shown}\n{}", self.story());
    }

    pub(crate) fn ok(&mut self, request: Request) -> Response {
        let shown = format!("{request:?}");
        let response = self.ask(A, request);
        assert_eq!(
            status_of(&response),
            Status::ZERO,
            "{shown}\n{}",
            self.story()
        );
        response
    }

    pub(crate) fn started(&mut self) -> ShadowCopySetId {
        match self.ok(super::requests::start()) {
            Response::StartShadowCopySet {
                shadow_copy_set_id, ..
            } => shadow_copy_set_id,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn added(&mut self, set: ShadowCopySetId, name: &str) -> ShadowCopyId {
        match self.ok(super::requests::add(set, name)) {
            Response::AddToShadowCopySet { shadow_copy_id, .. } => shadow_copy_id,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn reply(&self, id: CallId) -> Option<Response> {
        self.replies.get(&id).map(|(_, response)| response.clone())
    }

    /// Status of an answered call.
    pub(crate) fn answer(&self, id: CallId) -> Option<Status> {
        self.reply(id).map(|response| status_of(&response))
    }

    pub(crate) fn unanswered(&self) -> Vec<CallId> {
        self.calls
            .iter()
            .filter(|(_, call)| !call.gone)
            .map(|(id, _)| *id)
            .collect()
    }

    /// The caller's connection has broken.
    pub(crate) fn vanish(&mut self, id: CallId) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.gone = true;
            self.note(format!("{id:?}: the caller has gone"));
            self.agent.handle_caller_gone(self.now, id);
            self.pump();
        }
    }

    // ---- jobs, store, time

    /// Ends a job.
    pub(crate) fn finish(&mut self, id: JobId, fate: Fate) {
        self.end_job(id, fate);
        self.pump();
    }

    fn end_job(&mut self, id: JobId, fate: Fate) {
        let running = self.jobs.remove(&id).expect("the job runs");
        let outcome = self.world.perform(&running.job, fate);
        if let (Job::Expose { set, shares }, JobOutcome::Exposed(Err(_))) = (&running.job, &outcome)
            && self.set_status(*set) >= Some(SetStatus::Exposed)
        {
            self.missing
                .extend(shares.iter().map(|share| share.name.clone()));
        }
        if let Job::Seal { shares, .. } = &running.job {
            let read_only = |share: &&Exposure| {
                self.world
                    .exposed
                    .get(&share.name)
                    .is_some_and(|share| !share.writable)
            };
            let closed: Vec<_> = shares.iter().filter(read_only).collect();
            self.closed
                .extend(closed.into_iter().map(|share| share.name.clone()));
        }
        self.note(format!("{id:?} ends, {fate:?}: {outcome:?}"));
        self.agent.handle_job(self.now, id, outcome);
    }

    /// The one job that runs and is of this kind.
    #[track_caller]
    pub(crate) fn job(&self, kind: JobKind) -> JobId {
        let found: Vec<JobId> = self.jobs_of(kind);
        assert_eq!(
            found.len(),
            1,
            "{kind:?}: {:?}\n{}",
            self.jobs,
            self.story()
        );
        found[0]
    }

    pub(crate) fn jobs_of(&self, kind: JobKind) -> Vec<JobId> {
        let of_kind = |(_, running): &(&JobId, &Running)| kind_of(&running.job) == kind;
        self.jobs
            .iter()
            .filter(of_kind)
            .map(|(id, _)| *id)
            .collect()
    }

    /// Ends the oldest outstanding commit of the store.
    pub(crate) fn settle(&mut self, good: bool) {
        self.end_persist(good);
        self.pump();
    }

    pub(crate) fn persists(&self) -> usize {
        self.persists.len()
    }

    fn end_persist(&mut self, good: bool) {
        let (id, edits) = self.persists.pop_front().expect("a commit is outstanding");
        self.note(format!(
            "{id:?} ends, {}",
            if good { "durable" } else { "failed" }
        ));
        let result = if good {
            for edit in edits {
                match edit.value {
                    Some(value) => self.store.insert(edit.key, value),
                    None => self.store.remove(&edit.key),
                };
            }
            self.commits += 1;
            Ok(())
        } else {
            Err("no space left on device".to_owned())
        };
        self.agent.handle_persisted(self.now, id, result);
    }

    /// Commits of the store so far.
    pub(crate) const fn commits(&self) -> u64 {
        self.commits
    }

    /// Lets time pass; every timer fires when it is due.
    pub(crate) fn advance(&mut self, by: Duration) {
        let end = self.now.at + by;
        self.note(format!("{by:?} pass"));
        for _ in 0..100_000 {
            let due = self.agent.poll_timeout().filter(|due| *due <= end);
            let Some(due) = due else {
                self.move_clock(end);
                self.pump();
                return;
            };
            self.move_clock(due.max(self.now.at));
            self.agent.handle_timeout(self.now);
            self.pump();
            let again = self.agent.poll_timeout();
            assert!(
                again.is_none_or(|again| again > self.now.at) || !self.persists.is_empty(),
                "handle_timeout leaves a deadline of the past\n{}",
                self.story()
            );
            if again.is_some_and(|again| again <= self.now.at) {
                // A commit of the store is outstanding and holds it up.
                self.move_clock(end);
                return;
            }
        }
        panic!("the agent's timers never rest\n{}", self.story());
    }

    /// Time passes and the driver is late: nothing fires before the next call.
    pub(crate) fn jump(&mut self, by: Duration) {
        self.note(format!("{by:?} pass unnoticed"));
        self.move_clock(self.now.at + by);
    }

    /// The server ends in good order.
    pub(crate) fn shutdown(&mut self) {
        self.note("shutdown".to_owned());
        self.stopped = true;
        self.agent.shutdown(self.now);
        self.pump();
    }

    fn move_clock(&mut self, to: Duration) {
        let passed = u64::try_from((to - self.now.at).as_nanos() / 100).expect("short");
        self.now = Now {
            at: to,
            wall: FileTime(self.now.wall.0 + passed),
        };
    }

    /// The wall clock is set; the monotonic one is not.
    pub(crate) fn set_wall(&mut self, wall: FileTime) {
        self.now.wall = wall;
    }

    // ---- restarts

    /// The process dies and starts again. Running jobs die with it in the given way.
    pub(crate) fn restart(&mut self, fate: Fate) {
        self.note(format!("restart, jobs: {fate:?}"));
        for running in std::mem::take(&mut self.jobs).into_values() {
            self.world.perform(&running.job, fate);
        }
        self.boot_agent();
    }

    /// The machine reboots.
    pub(crate) fn reboot(&mut self, fate: Fate) {
        self.note("reboot".to_owned());
        self.boot += 1;
        self.recovered.clear();
        self.restart(fate);
    }

    /// The process dies, and when it starts again the world is another than it left.
    pub(crate) fn restore(&mut self, world: World) {
        self.note("restart into another world".to_owned());
        self.jobs.clear();
        self.world = world;
        self.foreign_world = true;
        self.boot_agent();
    }

    fn boot_agent(&mut self) {
        self.jobs.clear();
        self.jobs_given.clear();
        self.stopped = false;
        self.missing.clear();
        self.calls.clear();
        self.persists.clear();
        self.incarnation += 1;
        if !std::mem::take(&mut self.foreign_world) {
            self.check_owned();
        }
        let table = Table::load(self.store.clone()).expect("the store holds our own records");
        let boot = format!("boot-{}", self.boot);
        let found = self.found();
        let decided = recover(table, found.clone(), &boot, self.now);
        for edit in decided.edits.clone() {
            match edit.value {
                Some(value) => self.store.insert(edit.key, value),
                None => self.store.remove(&edit.key),
            };
        }
        let stored = Table::load(self.store.clone()).expect("recovery stores good records");
        assert_eq!(
            stored,
            decided.table,
            "recovery's edits make its table\n{}",
            self.story()
        );
        let again = recover(stored, found, &boot, self.now);
        assert_eq!(
            again.table,
            decided.table,
            "recovery is idempotent\n{}",
            self.story()
        );
        for exposure in &decided.publish {
            self.note(format!("recovery publishes {}", exposure.name));
            self.world.publish(exposure);
        }
        let ids = ids(self.incarnation);
        self.agent = Agent::new(self.config.clone(), decided.table, ids, self.now);
        let names = ["FILER".to_owned(), "filer.example".to_owned()];
        self.agent.set_own_names(OwnNames::new(
            names,
            [IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1))],
        ));
        self.pump();
    }

    fn found(&self) -> Found {
        Found {
            copies: self
                .world
                .snapshots
                .values()
                .map(|s| s.reference.clone())
                .collect(),
            shares: self
                .world
                .exposed
                .iter()
                .map(|(name, share)| ExposedShare {
                    name: name.clone(),
                    path: format!("/area/{}", share.copy).into(),
                    read_only: !share.writable,
                })
                .collect(),
        }
    }

    // ---- the agent's actions

    pub(crate) fn pump(&mut self) {
        for _ in 0..10_000 {
            while let Some(action) = self.agent.poll_action() {
                self.perform(action);
            }
            if !self.hold_persists && !self.persists.is_empty() {
                self.end_persist(!self.store_broken);
            } else if let Some(id) = self.jobs.keys().next().copied().filter(|_| !self.hold_jobs) {
                self.end_job(id, Fate::Succeed);
            } else {
                self.check();
                return;
            }
        }
        panic!("the agent never rests\n{}", self.story());
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Persist { id, edits } => {
                let keys: Vec<&str> = edits.iter().map(|edit| edit.key.as_str()).collect();
                self.note(format!("  > {id:?} {keys:?}"));
                assert!(!edits.is_empty(), "an empty commit\n{}", self.story());
                self.persists.push_back((id, edits));
            }
            Action::Run { id, job } => {
                self.note(format!("  > {id:?} {}", short(&job)));
                self.check_job(&job);
                let running = Running {
                    job,
                    cancelled: false,
                };
                self.jobs.insert(id, running);
                assert!(
                    self.jobs_given.insert(id),
                    "a job number twice\n{}",
                    self.story()
                );
            }
            Action::Cancel { id } => {
                self.note(format!("  > cancel {id:?}"));
                // It may have ended meanwhile, as it may for any driver.
                let known = self.jobs_given.contains(&id);
                assert!(known, "{id:?} never ran\n{}", self.story());
                if let Some(running) = self.jobs.get_mut(&id) {
                    running.cancelled = true;
                }
            }
            Action::Reply { id, response } => {
                self.note(format!("  > {id:?} {response:?}"));
                self.check_reply(id, &response);
                self.replies.insert(id, (self.now.at, response));
            }
            Action::Report(event) => {
                self.note(format!("  > {event:?}"));
                self.events.push(event);
            }
        }
    }

    /// Replies: one each, of the right kind, in full form, and not before the table is durable.
    fn check_reply(&mut self, id: CallId, response: &Response) {
        let call = self.calls.remove(&id);
        let call = call.unwrap_or_else(|| panic!("{id:?} has no call\n{}", self.story()));
        let (opnum, status) = opnum_and_status(response);
        assert_eq!(opnum, call.opnum, "{}", self.story());
        check_form(response);
        let durable = self.commits > call.commits;
        assert!(
            !status.is_ok() || !changes_table(opnum) || durable,
            "{opnum:?} answers ZERO before anything is durable\n{}",
            self.story()
        );
        for id in new_ids(response) {
            assert!(
                self.ids_given.insert(id),
                "the id {id} twice\n{}",
                self.story()
            );
        }
    }

    /// Jobs: all or none, never two hands on one copy, and nothing is made that no durable record
    /// names.
    fn check_job(&self, job: &Job) {
        let view = self.agent.view(self.now);
        let set_of = |id: &ShadowCopySetId| {
            view.sets
                .iter()
                .find(|set| set.id == *id)
                .unwrap_or_else(|| panic!("a job for a set that is not there\n{}", self.story()))
        };
        match job {
            Job::Locate { .. } | Job::Remove { .. } => {}
            Job::Prepare { set, copies } => {
                let all = copy_ids(set_of(set));
                let mine: BTreeSet<_> = copies.iter().map(|copy| copy.copy).collect();
                assert_eq!(mine, all, "Prepare takes all copies\n{}", self.story());
            }
            Job::Commit {
                set,
                copies,
                unprepared,
                writable,
                limit,
            } => {
                let set = set_of(set);
                let mine: BTreeSet<_> = copies.iter().map(|copy| copy.copy).collect();
                assert_eq!(
                    mine,
                    copy_ids(set),
                    "Commit takes all copies\n{}",
                    self.story()
                );
                let shares: usize = copies.iter().map(|copy| copy.shares.len()).sum();
                assert_eq!(shares, mapping_count(set), "{}", self.story());
                let missing: BTreeSet<_> = set
                    .copies
                    .iter()
                    .filter(|copy| !copy.prepared)
                    .map(|copy| copy.id)
                    .collect();
                let unprepared: BTreeSet<_> = unprepared.iter().copied().collect();
                assert!(unprepared.is_superset(&missing), "{}", self.story());
                assert_eq!(
                    *writable,
                    set.context.is_auto_recovery(),
                    "{}",
                    self.story()
                );
                assert_eq!(*limit, self.config.commit_limit);
            }
            Job::Expose { set, shares } | Job::Seal { set, shares } => {
                let set = set_of(set);
                // Putting one share back after a withdrawal that could not be recorded is the
                // only work on a part of a set.
                let again = set.status >= SetStatus::Exposed && kind_of(job) == JobKind::Expose;
                let all = shares.len() == mapping_count(set);
                assert!(all || again, "all shares\n{}", self.story());
                let open = set.context.is_auto_recovery() && set.status < SetStatus::Recovered;
                for share in shares {
                    let writable = open && !self.closed.contains(&share.name);
                    let expose = kind_of(job) == JobKind::Expose;
                    assert!(!expose || share.writable == writable, "{}", self.story());
                    let exists = self.world.snapshots.contains_key(&share.copy.copy);
                    assert!(exists, "no snapshot to expose\n{}", self.story());
                }
            }
        }
        for copy in made_by(job) {
            assert!(
                self.is_owned(copy),
                "{copy} is made without intent\n{}",
                self.story()
            );
        }
        let mine = touched_by(job);
        for other in self.jobs.values() {
            let both: Vec<_> = mine
                .intersection(&touched_by(&other.job))
                .copied()
                .collect();
            assert!(
                both.is_empty(),
                "two jobs work on {both:?}\n{}",
                self.story()
            );
        }
    }

    // ---- invariants

    /// Whether a durable record names the copy: the table or a debt.
    fn is_owned(&self, copy: ShadowCopyId) -> bool {
        let text = copy.to_string();
        let text = text.as_bytes();
        self.store
            .values()
            .any(|record| record.windows(text.len()).any(|part| part == text))
    }

    fn check_owned(&self) {
        for copy in self.world.snapshots.keys() {
            assert!(
                self.is_owned(*copy),
                "nobody owns snapshot {copy}\n{}",
                self.story()
            );
        }
        for (name, share) in &self.world.exposed {
            assert!(
                self.is_owned(share.copy),
                "nobody owns share {name}\n{}",
                self.story()
            );
        }
    }

    /// What holds whenever the agent rests.
    fn check(&mut self) {
        self.check_owned();
        let view = self.agent.view(self.now);
        let creating = view
            .sets
            .iter()
            .filter(|set| is_in_creation(self.config.profile, set));
        assert!(
            creating.count() <= 1,
            "two sets in creation\n{}",
            self.story()
        );
        if self.persists.is_empty() && !self.stopped {
            self.check_deadlines(&view);
            self.check_world(&view);
            self.check_durable(&view);
        }
        let recovered: BTreeMap<_, _> = view
            .sets
            .iter()
            .filter(|set| set.status == SetStatus::Recovered)
            .map(|set| (set.id, set.clone()))
            .collect();
        for (id, new) in &recovered {
            if let Some(old) = self.recovered.get(id) {
                let kept = |copies: &[ShadowCopyId]| {
                    copies
                        .iter()
                        .all(|id| old.copies.iter().any(|copy| copy.id == *id))
                };
                let ids: Vec<_> = new.copies.iter().map(|copy| copy.id).collect();
                assert!(kept(&ids), "a Recovered set has changed\n{}", self.story());
                assert_eq!((old.context, old.started), (new.context, new.started));
            }
        }
        for id in self
            .recovered
            .keys()
            .filter(|id| !recovered.contains_key(id))
        {
            assert!(
                view.sets.iter().all(|set| set.id != *id),
                "Recovered set {id} is something else now\n{}",
                self.story()
            );
        }
        self.recovered = recovered;
    }

    /// "Every set short of Recovered has a deadline or a waiter", and so has the context.
    fn check_deadlines(&self, view: &AgentView) {
        let unfinished = view
            .sets
            .iter()
            .any(|set| set.status != SetStatus::Recovered);
        if unfinished || view.context.is_set {
            assert!(
                self.agent.poll_timeout().is_some(),
                "neither a deadline nor a waiter\n{}",
                self.story()
            );
        }
        for set in view
            .sets
            .iter()
            .filter(|set| set.status != SetStatus::Recovered)
        {
            let aside = self.config.profile == Profile::Ws2012 && set.status == SetStatus::Exposed;
            let deadline = if aside {
                set.deadline_ms
            } else {
                view.timer_remaining_ms
            };
            assert!(
                deadline.is_some() || !self.calls.is_empty(),
                "set {} has neither a deadline nor a waiter\n{}",
                set.id,
                self.story()
            );
        }
    }

    /// What the table says exists does exist, unless a job is at work on it.
    fn check_world(&self, view: &AgentView) {
        let busy: BTreeSet<ShadowCopyId> = self
            .jobs
            .values()
            .flat_map(|running| touched_by(&running.job))
            .collect();
        for set in view
            .sets
            .iter()
            .filter(|set| set.status >= SetStatus::Committed)
        {
            for copy in set.copies.iter().filter(|copy| !busy.contains(&copy.id)) {
                let snapshot = self.world.snapshots.get(&copy.id);
                assert!(
                    snapshot.is_some(),
                    "{} has no snapshot\n{}",
                    copy.id,
                    self.story()
                );
                if set.status < SetStatus::Exposed {
                    continue;
                }
                for mapping in &copy.mappings {
                    let name = mapping
                        .shadow_copy_share_name
                        .as_deref()
                        .unwrap_or_default();
                    if self.missing.contains(name) {
                        continue;
                    }
                    let share = self.world.exposed.get(name);
                    let share =
                        share.unwrap_or_else(|| panic!("{name:?} is missing\n{}", self.story()));
                    assert!(
                        !share.writable || set.writable,
                        "{name} is writable\n{}",
                        self.story()
                    );
                }
                if set.status == SetStatus::Recovered && set.context.is_auto_recovery() {
                    let sealed = snapshot.is_some_and(|snapshot| snapshot.sealed);
                    assert!(sealed, "{} is not sealed\n{}", copy.id, self.story());
                }
            }
        }
    }

    /// The table that the store holds is the one in memory; CreationInProgress is stored as Added.
    fn check_durable(&self, view: &AgentView) {
        let table = Table::load(self.store.clone()).expect("the store holds our own records");
        let shown = |status| match status {
            SetStatus::CreationInProgress => SetStatus::Added,
            other => other,
        };
        let stored: BTreeMap<_, _> = table
            .sets()
            .map(|set| {
                let copies: Vec<_> = set
                    .copies
                    .iter()
                    .map(|copy| (copy.id, copy.mappings.len()))
                    .collect();
                (set.id, (set.status, set.context, copies))
            })
            .collect();
        let memory: BTreeMap<_, _> = view
            .sets
            .iter()
            .map(|set| {
                let copies: Vec<_> = set
                    .copies
                    .iter()
                    .map(|copy| (copy.id, copy.mappings.len()))
                    .collect();
                (set.id, (shown(set.status), set.context, copies))
            })
            .collect();
        assert_eq!(stored, memory, "store and memory differ\n{}", self.story());
        let context = table.context();
        assert_eq!(
            (context.current, context.address, context.retry_count),
            (
                view.context.current,
                view.context.client_address,
                view.context.retry_count
            ),
            "store and memory differ\n{}",
            self.story()
        );
    }

    /// Everything has been done: no job, no waiter, no debt; and what is left of the world is what
    /// the table names.
    pub(crate) fn check_nothing_leaked(&self) {
        assert!(self.jobs.is_empty(), "{:?}\n{}", self.jobs, self.story());
        assert_eq!(self.unanswered(), [], "{}", self.story());
        let view = self.agent.view(self.now);
        assert_eq!(view.debts, [], "debts are left\n{}", self.story());
        let copies: BTreeSet<_> = view
            .sets
            .iter()
            .filter(|set| set.status >= SetStatus::Committed)
            .flat_map(copy_ids)
            .collect();
        let snapshots: BTreeSet<_> = self.world.snapshots.keys().copied().collect();
        assert_eq!(snapshots, copies, "snapshots\n{}", self.story());
        let names: BTreeSet<String> = view
            .sets
            .iter()
            .filter(|set| set.status >= SetStatus::Exposed)
            .flat_map(|set| set.copies.iter().flat_map(|copy| &copy.mappings))
            .filter_map(|mapping| mapping.shadow_copy_share_name.clone())
            .collect();
        let shares: BTreeSet<String> = self.world.exposed.keys().cloned().collect();
        assert_eq!(shares, names, "shares\n{}", self.story());
    }

    pub(crate) fn view(&self) -> AgentView {
        self.agent.view(self.now)
    }

    /// Time until the Message Sequence Timer fires.
    pub(crate) fn timer(&self) -> Option<Duration> {
        self.view().timer_remaining_ms.map(Duration::from_millis)
    }

    pub(crate) fn set_status(&self, id: ShadowCopySetId) -> Option<SetStatus> {
        self.view()
            .sets
            .iter()
            .find(|set| set.id == id)
            .map(|set| set.status)
    }

    fn note(&mut self, line: String) {
        self.log
            .push(format!("{:>9.3} {line}", self.now.at.as_secs_f64()));
    }

    /// What happened, for failed assertions.
    pub(crate) fn story(&self) -> String {
        self.log.join("\n")
    }
}

/// Kinds of jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JobKind {
    Locate,
    Prepare,
    Commit,
    Expose,
    Seal,
    Remove,
}

pub(crate) fn kind_of(job: &Job) -> JobKind {
    match job {
        Job::Locate { .. } => JobKind::Locate,
        Job::Prepare { .. } => JobKind::Prepare,
        Job::Commit { .. } => JobKind::Commit,
        Job::Expose { .. } => JobKind::Expose,
        Job::Seal { .. } => JobKind::Seal,
        Job::Remove { .. } => JobKind::Remove,
    }
}

/// The set that a job works for.
pub(crate) fn set_of(job: &Job) -> Option<ShadowCopySetId> {
    match job {
        Job::Prepare { set, .. }
        | Job::Commit { set, .. }
        | Job::Expose { set, .. }
        | Job::Seal { set, .. } => Some(*set),
        Job::Locate { .. } | Job::Remove { .. } => None,
    }
}

pub(crate) fn copy_ids(set: &SetView) -> BTreeSet<ShadowCopyId> {
    set.copies.iter().map(|copy| copy.id).collect()
}

fn mapping_count(set: &SetView) -> usize {
    set.copies.iter().map(|copy| copy.mappings.len()).sum()
}

fn made_by(job: &Job) -> Vec<ShadowCopyId> {
    match job {
        Job::Commit { copies, .. } => copies.iter().map(|copy| copy.copy).collect(),
        Job::Expose { shares, .. } => shares.iter().map(|share| share.copy.copy).collect(),
        Job::Locate { .. } | Job::Prepare { .. } | Job::Seal { .. } | Job::Remove { .. } => {
            Vec::new()
        }
    }
}

/// Copies whose artefacts a job changes.
pub(crate) fn touched_by(job: &Job) -> BTreeSet<ShadowCopyId> {
    match job {
        Job::Locate { .. } | Job::Prepare { .. } => BTreeSet::new(),
        Job::Commit { copies, .. } => copies.iter().map(|copy| copy.copy).collect(),
        Job::Expose { shares, .. } | Job::Seal { shares, .. } => {
            shares.iter().map(|share| share.copy.copy).collect()
        }
        Job::Remove { artefacts } => artefacts.iter().filter_map(copy_of).collect(),
    }
}

/// The volumes that a job works on.
pub(crate) fn volumes_of(job: &Job) -> Vec<VolumeId> {
    match job {
        Job::Prepare { copies, .. } | Job::Commit { copies, .. } => {
            copies.iter().map(|copy| copy.volume.clone()).collect()
        }
        Job::Expose { shares, .. } | Job::Seal { shares, .. } => shares
            .iter()
            .map(|share| share.copy.volume.clone())
            .collect(),
        Job::Locate { .. } | Job::Remove { .. } => Vec::new(),
    }
}

/// The copy that an artefact belongs to: exposed shares bear its id in their name.
fn copy_of(artefact: &Artefact) -> Option<ShadowCopyId> {
    match artefact {
        Artefact::Copy(reference) => Some(reference.copy),
        Artefact::Share(name) => {
            let (_, rest) = name.split_once("@{")?;
            let (guid, _) = rest.split_once('}')?;
            guid.parse().ok().map(ShadowCopyId)
        }
    }
}

fn new_ids(response: &Response) -> Vec<Uuid> {
    match response {
        Response::StartShadowCopySet {
            shadow_copy_set_id,
            status,
        } if status.is_ok() => {
            vec![shadow_copy_set_id.0]
        }
        _ => Vec::new(),
    }
}

fn is_in_creation(profile: Profile, set: &SetView) -> bool {
    match set.status {
        SetStatus::Recovered => false,
        SetStatus::Exposed => profile == Profile::Spec,
        SetStatus::Started
        | SetStatus::Added
        | SetStatus::CreationInProgress
        | SetStatus::Committed => true,
    }
}

fn short(job: &Job) -> String {
    match job {
        Job::Remove { artefacts } => format!("Remove {artefacts:?}"),
        Job::Locate { share } => format!("Locate {share}"),
        _ => format!("{:?} of {:?}", kind_of(job), set_of(job)),
    }
}

/// Random ids that replay: a counter under a seed, in the form of version 4.
fn ids(incarnation: u64) -> Box<dyn FnMut() -> Uuid + Send> {
    let mut number: u64 = 0;
    Box::new(move || {
        number += 1;
        let bits =
            (u128::from(incarnation) << 96) | 0x4000_8000_0000_0000_0000 | u128::from(number);
        Uuid::from_u128(bits)
    })
}
