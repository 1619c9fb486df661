//! The agent on a bench: virtual clock, fake store, fake executor, and invariants that hold after
//! every step of every test.

mod invariants;

use super::jobs::{JobKind, copy_ids, kind_of, made_by, mapping_count, short, touched_by};
use super::requests::{changes_table, check_form, opnum_and_status, opnum_of, status_of};
use super::world::{Fate, World};
use fsrvp_idl::{FileTime, Opnum, Request, Response, ShadowCopyId, ShadowCopySetId, Status};
use fsrvp_proto::directory::ExposedShare;
use fsrvp_proto::job::{Exposure, Job, JobId, JobOutcome};
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
            Action::Answer { id, .. } => panic!("{id:?} was no order\n{}", self.story()),
            Action::Report(event) => {
                self.note(format!("  > {event:?}"));
                self.events.push(event);
            }
        }
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
