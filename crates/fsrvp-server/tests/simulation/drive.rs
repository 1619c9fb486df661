//! The scheduler: one step at a time, chosen by the seed.

use crate::client::{Client, Knowledge};
use crate::history::History;
use crate::invariants::{self, Facts};
use crate::keeping::KeepWitness;
use crate::life::{Life, Parts, Recovery};
use crate::lists::ListWitness;
use crate::plan::{Length, Plan};
use crate::random::{Draw, Random};
use crate::strand::{End, Fate, Point};
use crate::witness::Witness;
use crate::world::{Stored, World, parted};
use fsrvp_idl::{FileTime, Status};
use fsrvp_proto::durable::Table;
use fsrvp_proto::job::Job;
use fsrvp_proto::{JobId, JobOutcome, Now};
use fsrvp_server::store::StateStore;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Whether the process runs.
pub(crate) enum Phase {
    Down,
    Starting(Parts, Box<Recovery>),
    Up(Box<Life>),
}

/// A history under way.
pub(crate) struct Simulation {
    pub(crate) random: Random,
    pub(crate) plan: Plan,
    pub(crate) world: Arc<World>,
    pub(crate) phase: Phase,
    pub(crate) now: Now,
    pub(crate) boot: u64,
    pub(crate) clients: Vec<Client>,
    pub(crate) knowledge: Knowledge,
    pub(crate) witness: Witness,
    pub(crate) keeping: KeepWitness,
    pub(crate) lists: ListWitness,
    /// Since when the present process serves.
    pub(crate) served_from: Duration,
    pub(crate) history: History,
    pub(crate) steps: u64,
    pub(crate) crashes: u64,
    pub(crate) next_call: u64,
    pub(crate) last_reply: Option<(u64, Status)>,
    pub(crate) stamp: u64,
    tables: Tables,
    /// Versions of what the invariants have last looked at.
    checked: Option<(u64, u64, bool, u64)>,
}

/// The stored table, read again when it has changed.
#[derive(Default)]
struct Tables {
    version: Option<(u64, bool)>,
    durable: Table,
    believed: Table,
    /// File lists that the process takes for durable.
    lists: BTreeMap<String, Stored>,
}

/// How a history ended.
pub(crate) struct Ended {
    pub(crate) history: String,
    pub(crate) violation: Option<String>,
    pub(crate) steps: u64,
    pub(crate) crashes: u64,
    pub(crate) calls: u64,
}

/// Something that can be done next.
#[derive(Debug, Clone, Copy)]
enum Act {
    Start,
    Recover(usize),
    Job(JobId, usize),
    Commit,
    Call,
    BeginPruning,
    Prune,
    Time,
}

impl Simulation {
    /// Plays a history to its end or to the first violation.
    pub(crate) fn run(seed: u64, length: Length) -> Ended {
        let mut random = Random::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x5eed);
        let plan = Plan::of(&mut random);
        let clients = (0..plan.clients).map(Client::new).collect();
        let mut this = Self {
            random,
            plan,
            world: World::new(),
            phase: Phase::Down,
            now: Now {
                at: Duration::from_secs(1),
                wall: FileTime::from_unix(Duration::from_secs(1_700_000_000)),
            },
            boot: 1,
            clients,
            knowledge: Knowledge::default(),
            witness: Witness::default(),
            keeping: KeepWitness::default(),
            lists: ListWitness::default(),
            served_from: Duration::ZERO,
            history: History::default(),
            steps: 0,
            crashes: 0,
            next_call: 0,
            last_reply: None,
            stamp: 1,
            tables: Tables::default(),
            checked: None,
        };
        this.history
            .line(format_args!("seed {seed}: {:?}", this.plan));
        this.world.stamp(0);
        let played = catch_unwind(AssertUnwindSafe(|| {
            for _ in 0..length.steps {
                this.step()?;
            }
            this.finale()
        }));
        let violation = match played {
            Ok(Ok(())) => None,
            Ok(Err(violation)) => Some(violation),
            Err(payload) => Some(format!(
                "the agent panicked: {:?}",
                payload.downcast_ref::<String>()
            )),
        };
        if let Some(violation) = &violation {
            this.history.line(format_args!("VIOLATION {violation}"));
        }
        Ended {
            history: this.history.into_text(),
            violation,
            steps: this.steps,
            crashes: this.crashes,
            calls: this.next_call,
        }
    }

    fn step(&mut self) -> Result<(), String> {
        if !self.trouble()? {
            let act = self.choose();
            self.perform(act)?;
        }
        self.check()
    }

    /// One more step has been taken: counts it and asks the invariants.
    pub(crate) fn check(&mut self) -> Result<(), String> {
        self.steps += 1;
        self.read_tables();
        // Before it serves it may still have to end what does not outlive a reboot.
        if matches!(self.phase, Phase::Up(_)) {
            self.witness.look(&self.tables.believed, &self.world);
        }
        let pruning = match &self.phase {
            Phase::Up(life) => life.pruning.as_ref(),
            Phase::Down | Phase::Starting(..) => None,
        };
        let (believed, lists) = (&self.tables.believed, &self.tables.lists);
        let keep = &self.plan.keep;
        self.keeping.look(believed, &self.world, keep, pruning)?;
        self.lists.look(believed, lists, &self.world)?;
        self.lists_are_those_stored(&self.tables.lists)?;
        self.end_pruning();
        let facts = self.facts();
        let seen = Some((
            self.world.version(),
            self.world.store.version(),
            self.world.store.is_in_doubt(),
            self.next_call,
        ));
        if self.checked != seen {
            invariants::always(&facts)?;
        }
        let verdict = match &self.phase {
            Phase::Up(life) => {
                invariants::while_serving(&facts, life, self.now, self.checked != seen)
            }
            Phase::Down | Phase::Starting(..) => Ok(()),
        };
        self.checked = seen;
        verdict
    }

    pub(crate) fn facts(&self) -> Facts<'_> {
        Facts {
            world: &self.world,
            durable: &self.tables.durable,
            believed: &self.tables.believed,
            witness: &self.witness,
            profile: self.plan.profile,
        }
    }

    pub(crate) fn believed(&self) -> &Table {
        &self.tables.believed
    }

    pub(crate) fn read_tables(&mut self) {
        let store = &self.world.store;
        let version = Some((store.version(), store.is_in_doubt()));
        if self.tables.version != version {
            let load = |records| {
                let (records, lists) = parted(records);
                let table = Table::load(records).expect("the stored table can be read");
                (table, lists)
            };
            let (durable, _) = load(store.durable());
            let (believed, lists) = load(store.believed());
            self.tables = Tables {
                version,
                durable,
                believed,
                lists,
            };
        }
    }

    fn choose(&mut self) -> Act {
        let mut acts = Vec::new();
        match &self.phase {
            Phase::Down => acts.extend([(4, Act::Start), (1, Act::Time)]),
            Phase::Starting(_, recovery) => {
                acts.extend(
                    recovery
                        .waiting()
                        .map(|(strand, _)| (8, Act::Recover(strand))),
                );
            }
            Phase::Up(life) => {
                for (id, job) in &life.jobs {
                    let free = |strand: &usize| {
                        job.hung
                            .get(strand)
                            .is_none_or(|until| *until <= self.now.at)
                    };
                    let strands = job.work.waiting().map(|(strand, _)| strand).filter(free);
                    acts.extend(strands.map(|strand| (4, Act::Job(*id, strand))));
                }
                if !life.commits.is_empty() && life.store_hangs_until <= self.now.at {
                    acts.push((6, Act::Commit));
                }
                match &life.pruning {
                    Some(_) => acts.push((4, Act::Prune)),
                    None if self.plan.keep.is_empty() => {}
                    None => acts.push((1, Act::BeginPruning)),
                }
                acts.extend([(4, Act::Call), (1, Act::Time)]);
            }
        }
        let total = acts.iter().map(|(weight, _)| weight).sum();
        let mut left = self.random.below(total);
        for (weight, act) in acts {
            if left < weight {
                return act;
            }
            left -= weight;
        }
        Act::Time
    }

    fn perform(&mut self, act: Act) -> Result<(), String> {
        match act {
            Act::Start => self.start(),
            Act::Recover(strand) => {
                let fate = self.fate();
                self.recover(strand, fate)?;
            }
            Act::Job(id, strand) => {
                if self.random.below(1000) < self.plan.step_hangs {
                    let until = self.now.at + Duration::from_secs(1 + self.random.below(600));
                    self.note(format_args!("job {} hangs until {until:?}", id.0));
                    if let Some(job) = self.life().jobs.get_mut(&id) {
                        job.hung.insert(strand, until);
                    }
                } else {
                    let fate = self.fate();
                    self.job(id, strand, fate)?;
                }
            }
            Act::Commit => {
                if self.random.below(1000) < self.plan.store_hangs {
                    let until = self.now.at + Duration::from_secs(1 + self.random.below(400));
                    self.note(format_args!("the store hangs until {until:?}"));
                    self.life().store_hangs_until = until;
                } else {
                    let fate = self.store_fate();
                    self.commit(fate)?;
                }
            }
            Act::Call => self.somebody_calls()?,
            Act::BeginPruning => self.begin_pruning(),
            Act::Prune => {
                let fate = self.fate();
                self.prune(fate)?;
            }
            Act::Time => {
                let by = if self.random.percent(70) {
                    Duration::from_millis(self.random.below(3_000))
                } else if self.random.percent(50) {
                    self.until_something_is_due()
                } else {
                    // Timers are late, but not by minutes.
                    let late = Duration::from_millis(self.random.below(3_000));
                    let due = self.until_something_is_due() + late;
                    Duration::from_secs(self.random.below(400)).min(due)
                };
                self.time_passes(by)?;
            }
        }
        Ok(())
    }

    fn fate(&mut self) -> Fate {
        let kind = u8::try_from(self.random.below(256)).unwrap_or_default();
        if self.random.below(1000) >= self.plan.step_fails {
            Fate::Done
        } else if self.random.percent(75) {
            Fate::Fails(kind)
        } else {
            Fate::FailsAfterwards(kind)
        }
    }

    fn store_fate(&mut self) -> Fate {
        if self.random.below(1000) >= self.plan.store_fails {
            Fate::Done
        } else if self.random.percent(70) {
            Fate::Fails(0)
        } else {
            Fate::FailsAfterwards(0)
        }
    }

    /// The process that serves; only where there is one.
    pub(crate) fn life(&mut self) -> &mut Life {
        match &mut self.phase {
            Phase::Up(life) => life,
            Phase::Down | Phase::Starting(..) => unreachable!("asked for only while it serves"),
        }
    }

    pub(crate) fn note(&mut self, text: impl std::fmt::Display) {
        self.history.moment(self.steps, self.now.at);
        self.history.line(text);
    }

    pub(crate) fn start(&mut self) {
        let boot = self.boot;
        self.note(format_args!("start in boot {boot}"));
        let parts = Parts::new(&self.world);
        let recovery = parts.recover(&self.world, self.boot, self.now);
        self.phase = Phase::Starting(parts, Box::new(recovery));
    }

    pub(crate) fn recover(&mut self, strand: usize, fate: Fate) -> Result<(), String> {
        let Phase::Starting(parts, mut recovery) = std::mem::replace(&mut self.phase, Phase::Down)
        else {
            return Ok(());
        };
        let point = point(recovery.waiting(), strand);
        self.note(format_args!("recovery: {point}: {fate:?}"));
        recovery.go_on(strand, fate);
        if !recovery.has_ended() {
            self.phase = Phase::Starting(parts, recovery);
            return Ok(());
        }
        match recovery.into_end() {
            Some(End::Value(Ok(outcome))) => {
                let life = Life::new(parts, outcome, &self.plan, &mut self.random, self.now);
                self.note("serving");
                self.served_from = self.now.at;
                self.keeping.clock_was_set(self.now);
                self.witness.started(&self.world);
                self.phase = Phase::Up(Box::new(life));
                self.pump()?;
                self.read_tables();
                invariants::after_a_start(&self.facts())
            }
            Some(End::Value(Err(error))) => {
                self.note(format_args!("no start: {error}"));
                Ok(())
            }
            Some(End::Panicked(text)) => Err(format!("recovery panicked: {text}")),
            Some(End::Crashed) | None => Ok(()),
        }
    }

    pub(crate) fn job(&mut self, id: JobId, strand: usize, fate: Fate) -> Result<(), String> {
        let now = self.now;
        let Some(job) = self.life().jobs.get_mut(&id) else {
            return Ok(());
        };
        let point = point(job.work.waiting(), strand);
        job.work.go_on(strand, fate);
        let has_ended = job.work.has_ended();
        let out_of_sight = job.out_of_sight.swap(false, Ordering::Relaxed);
        self.note(format_args!("job {}: {point}: {fate:?}", id.0));
        if out_of_sight {
            self.note(format_args!("job {}: all is out of sight", id.0));
            self.life().agent.handle_out_of_sight(now, id);
            self.pump()?;
        }
        if !has_ended {
            return Ok(());
        }
        let Some(job) = self.life().jobs.remove(&id) else {
            return Ok(());
        };
        let outcome = match job.work.into_end() {
            Some(End::Value(outcome)) => outcome,
            Some(End::Panicked(text)) => return Err(format!("job {} panicked: {text}", id.0)),
            Some(End::Crashed) | None => return Ok(()),
        };
        self.note(format_args!("job {} ends: {outcome:?}", id.0));
        if let (Job::Expose { set, .. }, JobOutcome::Exposed(Ok(()))) = (&job.job, &outcome) {
            let set = *set;
            self.life().shares_made.insert(set);
        }
        if let JobOutcome::InUse(answer) = &outcome {
            self.use_is_known(&job.job, answer.is_ok());
        }
        self.life().agent.handle_job(now, id, outcome);
        self.pump()
    }

    pub(crate) fn commit(&mut self, fate: Fate) -> Result<(), String> {
        let now = self.now;
        let Some((id, edits)) = self.life().commits.pop_front() else {
            return Ok(());
        };
        let keys: Vec<_> = edits.iter().map(|edit| edit.key.as_str()).collect();
        let store = Arc::clone(&self.life().store);
        store.inner().ends(fate);
        let result = store.commit(&edits).map_err(|error| error.to_string());
        self.note(format_args!("store {keys:?}: {fate:?}"));
        self.life().agent.handle_persisted(now, id, result);
        self.pump()
    }

    pub(crate) fn until_something_is_due(&mut self) -> Duration {
        let at = self.now.at;
        let Phase::Up(life) = &self.phase else {
            return Duration::from_secs(1);
        };
        let hung = life
            .jobs
            .values()
            .flat_map(|job| job.hung.values().copied());
        let store = (!life.commits.is_empty()).then_some(life.store_hangs_until);
        let due = hung.chain(life.agent.poll_timeout()).chain(store);
        let soonest = due.filter(|due| *due >= at).min();
        soonest.map_or(Duration::ZERO, |due| due - at)
    }

    pub(crate) fn time_passes(&mut self, by: Duration) -> Result<(), String> {
        self.now.at += by;
        let ticks = u64::try_from(by.as_nanos() / 100).unwrap_or(u64::MAX);
        self.now.wall = FileTime(self.now.wall.0.saturating_add(ticks));
        let now = self.now;
        let Phase::Up(life) = &mut self.phase else {
            return Ok(());
        };
        life.agent.handle_timeout(now);
        self.pump()
    }
}

fn point(mut waiting: impl Iterator<Item = (usize, Point)>, strand: usize) -> Point {
    waiting
        .find(|(waits, _)| *waits == strand)
        .map_or("?", |(_, point)| point)
}
