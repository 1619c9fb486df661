//! One life of the process: from the end of recovery to its crash or shutdown. What `AgentCell` does
//! with threads is done here by the scheduler's leave.

use crate::keeping::Pruning;
use crate::plan::Plan;
use crate::random::{Draw, Random};
use crate::strand::Work;
use crate::world::{Fated, SimBackend, SimDirectory, SimLists, World};
use fsrvp_idl::Request;
use fsrvp_proto::ages::Ages;
use fsrvp_proto::job::Job;
use fsrvp_proto::{
    Agent, AgentConfig, Edit, JobId, JobOutcome, Now, OwnNames, PersistId, ShareDirectory,
};
use fsrvp_server::executor::{Executor, Settings};
use fsrvp_server::recovery::{self, Outcome, RecoveryError, Surroundings};
use fsrvp_snapshot::{Backends, SnapshotBackend};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// The executor wants threads from somewhere; the simulation never lets it.
static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
});

pub(crate) type Recovery = Work<Result<Outcome, RecoveryError>>;

/// The parts of a process.
#[derive(Clone)]
pub(crate) struct Parts {
    backends: Arc<Backends>,
    directory: Arc<dyn ShareDirectory>,
    store: Arc<SimLists>,
}

impl Parts {
    pub(crate) fn new(world: &Arc<World>) -> Self {
        let store = SimLists::open(Fated::of(world)).expect("the stored lists can be read");
        let backends = world.backends.iter().map(|disk| {
            let backend = SimBackend::new(world, disk, store.lists());
            let backend: Arc<dyn SnapshotBackend> = Arc::new(backend);
            backend
        });
        let backends = Backends::new(backends.collect());
        Self {
            store: Arc::new(store),
            backends: Arc::new(backends),
            directory: Arc::new(SimDirectory(Arc::clone(world))),
        }
    }

    /// Begins to recover.
    pub(crate) fn recover(&self, world: &Arc<World>, boot: u64, now: Now) -> Recovery {
        let parts = self.clone();
        Work::start(&world.forks, &[], move || {
            let boot_id = format!("boot {boot}");
            let surroundings = Surroundings {
                backends: &parts.backends,
                directory: &*parts.directory,
                boot_id: &boot_id,
            };
            recovery::run(&*parts.store, false, surroundings, now)
        })
    }
}

/// A process that serves.
pub(crate) struct Life {
    pub(crate) agent: Agent,
    pub(crate) executor: Arc<Executor>,
    pub(crate) jobs: BTreeMap<JobId, RunningJob>,
    pub(crate) store: Arc<SimLists>,
    /// Kept snapshots that go, when they do.
    pub(crate) pruning: Option<Pruning>,
    /// What the pruning makes of the clocks, as the daemon's does.
    pub(crate) ages: Ages,
    pub(crate) commits: VecDeque<(PersistId, Vec<Edit>)>,
    pub(crate) store_hangs_until: Duration,
    pub(crate) calls: BTreeMap<u64, OpenCall>,
    /// Sets whose Expose job has succeeded, told or not.
    pub(crate) shares_made: BTreeSet<fsrvp_idl::ShadowCopySetId>,
}

/// A job on its strands.
pub(crate) struct RunningJob {
    pub(crate) job: Job,
    pub(crate) work: Work<JobOutcome>,
    pub(crate) cancelled: Arc<AtomicBool>,
    /// What it removes is out of sight, and the agent has not been told yet.
    pub(crate) out_of_sight: Arc<AtomicBool>,
    /// Strands that hang, and until when.
    pub(crate) hung: BTreeMap<usize, Duration>,
}

/// A call without an answer.
#[derive(Debug)]
pub(crate) struct OpenCall {
    pub(crate) client: usize,
    pub(crate) request: Request,
    pub(crate) arrived: Duration,
}

impl Life {
    pub(crate) fn new(
        parts: Parts,
        outcome: Outcome,
        plan: &Plan,
        random: &mut Random,
        now: Now,
    ) -> Self {
        let config = AgentConfig {
            profile: plan.profile,
            allow_shared_volume: plan.allow_shared_volume,
            // The simulation lets a cut fail by its limit when it wants to.
            commit_limit: None,
            retention: plan.retention,
            keep: plan.keep.keys().cloned().collect(),
            ..AgentConfig::new("LAB")
        };
        let mut ids = Random::new(random.next());
        let mut agent = Agent::new(config, outcome.table, Box::new(move || ids.uuid()), now);
        agent.set_own_names(OwnNames::new(["LAB".to_owned()], []));
        agent.handle_unreachable(now, &outcome.unreachable);
        agent.handle_unpublished(now, &outcome.unpublished);
        agent.handle_rebooted(&outcome.rebooted);
        let executor = Executor::new(
            Arc::clone(&parts.backends),
            Arc::clone(&parts.directory),
            BTreeMap::new(),
            RUNTIME.handle().clone(),
        );
        executor.configure(Settings {
            choices: BTreeMap::new(),
            keep: plan.keep.clone(),
        });
        Self {
            agent,
            store: parts.store,
            pruning: None,
            ages: Ages::new(now),
            executor: Arc::new(executor),
            jobs: BTreeMap::new(),
            commits: VecDeque::new(),
            store_hangs_until: Duration::ZERO,
            calls: BTreeMap::new(),
            shares_made: BTreeSet::new(),
        }
    }

    /// Starts a job: it comes to its first step outside.
    pub(crate) fn start_job(&mut self, world: &Arc<World>, id: JobId, job: Job) {
        let cancelled = Arc::<AtomicBool>::default();
        let (executor, flag, run) = (
            Arc::clone(&self.executor),
            Arc::clone(&cancelled),
            job.clone(),
        );
        let out_of_sight = Arc::<AtomicBool>::default();
        let gone = Arc::clone(&out_of_sight);
        let work = Work::start(&world.forks, &first_copies(&job), move || {
            executor.run(run, &flag, &|| gone.store(true, Ordering::Relaxed))
        });
        let running = RunningJob {
            job,
            work,
            cancelled,
            out_of_sight,
            hung: BTreeMap::new(),
        };
        self.jobs.insert(id, running);
    }
}

/// The first copy of each backend, where a commit goes over several.
fn first_copies(job: &Job) -> Vec<fsrvp_idl::ShadowCopyId> {
    let Job::Commit { copies, .. } = job else {
        return Vec::new();
    };
    let mut first = BTreeMap::new();
    for source in copies {
        first.entry(source.backend.clone()).or_insert(source.copy);
    }
    if first.len() < 2 {
        return Vec::new();
    }
    first.into_values().collect()
}
