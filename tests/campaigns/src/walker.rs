//! A client that makes sets and keeps account of what it was told.

use crate::client::{CallError, Client};
use crate::invariants;
use crate::ledger::{Copy, InFlight, Ledger, Set};
use crate::plan::{Ending, Plan};
use crate::stage::{self, Stage};
use crate::view::Status;
use crate::{Outcome, tree};
use fsrvp_client::{ClientError, FsrvpClient};
use fsrvp_idl::{ClientShadowCopyId, ClientShadowCopySetId, ShadowCopySetId};
use fsrvp_testkit::Random;
use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;
use uuid::Uuid;

/// Longest wait of Prepare, Commit and Expose.
const WAIT: Duration = Duration::from_secs(60);
/// No call is under way.
pub(crate) const IDLE: &str = "between calls";

/// How a walk ended early.
pub(crate) enum Halt {
    /// The agent died.
    Died,
    /// Something was not as it has to be.
    Broken(Box<dyn std::error::Error>),
}

impl<E: Into<Box<dyn std::error::Error>>> From<E> for Halt {
    fn from(error: E) -> Self {
        Self::Broken(error.into())
    }
}

pub(crate) type Walked<T = ()> = Result<T, Halt>;

/// A strike that is to come: after some calls, after some time.
pub(crate) struct Killer {
    pub(crate) calls_left: u64,
    pub(crate) pause: Duration,
    pub(crate) strike: Strike,
    /// The phase that was struck.
    pub(crate) hit: Arc<Mutex<Option<&'static str>>>,
}

/// How the agent ends.
pub(crate) enum Strike {
    /// It is killed, and its children too.
    Kill { all: bool },
    /// A picture of the disk is taken, and then it is killed.
    PowerCut(Arc<PowerCut>),
}

/// What is known at the moment of a power cut.
#[derive(Default)]
pub(crate) struct PowerCut {
    /// What clients had been told, and the call that was under way.
    pub(crate) ledger: Mutex<Ledger>,
    /// Held while the picture is taken: no call begins then. True once it has been taken: what
    /// clients are told after it counts for nothing.
    gate: Mutex<bool>,
    pub(crate) failed: Mutex<Option<String>>,
}

/// The client, with the laboratory that it works in.
pub(crate) struct Walker {
    pub(crate) stage: Stage,
    pub(crate) ledger: Ledger,
    pub(crate) client: Client,
    pub(crate) random: Random,
    pub(crate) killer: Option<Killer>,
    pub(crate) power: Option<Arc<PowerCut>>,
    /// The call that is under way.
    phase: Arc<Mutex<&'static str>>,
}

impl Walker {
    pub(crate) fn new(stage: Stage, random: Random) -> Outcome<Self> {
        Ok(Self {
            client: Client::new(&stage.lab.pipe())?,
            stage,
            ledger: Ledger::default(),
            random,
            killer: None,
            power: None,
            phase: Arc::new(Mutex::new(IDLE)),
        })
    }

    pub(crate) fn kept(&self) -> usize {
        let sets = self.ledger.sets.values();
        sets.filter(|set| set.status == Status::Recovered).count()
    }

    pub(crate) fn expect_alive(&mut self, work: impl FnOnce(&mut Self) -> Walked) -> Outcome {
        match work(self) {
            Ok(()) => Ok(()),
            Err(Halt::Broken(error)) => Err(error),
            Err(Halt::Died) => Err("the agent died by itself".into()),
        }
    }

    pub(crate) fn delete_everything(&mut self) -> Outcome {
        self.expect_alive(|walker| {
            if let Some(id) = walker.ledger.current {
                walker.abort(id)?;
            }
            while walker.kept() > 0 {
                walker.delete_one()?;
            }
            Ok(())
        })?;
        self.stage.settle().map(drop)
    }

    pub(crate) fn delete_one(&mut self) -> Walked {
        let recovered = |(_, set): &(&ShadowCopySetId, &Set)| set.status == Status::Recovered;
        let ids: Vec<_> = self
            .ledger
            .sets
            .iter()
            .filter(recovered)
            .map(|(id, _)| *id)
            .collect();
        match self.random.pick(&ids) {
            Some(id) => self.delete(*id),
            None => Ok(()),
        }
    }

    /// Makes a set as planned.
    pub(crate) fn walk(&mut self, plan: &Plan) -> Walked {
        self.ledger.hash_bases(&self.stage)?;
        let context = plan.context;
        self.call("SetContext", InFlight::SetContext, async move |client| {
            client.set_context(context).await
        })?;
        self.ledger.drop_current();
        let client_set = ClientShadowCopySetId(Uuid::new_v4());
        let id = self.call("Start", InFlight::Start, async move |client| {
            client.start_shadow_copy_set(client_set).await
        })?;
        let set = Set {
            status: Status::Started,
            context,
            copies: Vec::new(),
            may_be_sealed: false,
        };
        self.ledger.sets.insert(id, set);
        self.ledger.current = Some(id);
        for &base in &plan.bases {
            self.add(id, base)?;
            if plan.reconnects {
                self.client.hang_up();
            }
        }
        if plan.prepares {
            self.call("Prepare", InFlight::Nothing, async move |client| {
                client.prepare_shadow_copy_set(id, WAIT).await
            })?;
        }
        if plan.ending == Ending::AbortEarly {
            return self.abort(id);
        }
        self.go_on()?;
        match plan.ending {
            Ending::Delete => self.delete(id),
            _ => Ok(()),
        }
    }

    fn add(&mut self, id: ShadowCopySetId, base: usize) -> Walked {
        let unc = self.unc(base);
        let client_copy = ClientShadowCopyId(Uuid::new_v4());
        let copy = self.call("Add", InFlight::Add(base), async move |client| {
            client.add_to_shadow_copy_set(client_copy, id, &unc).await
        })?;
        if let Some((_, set)) = self.ledger.current_set() {
            set.status = Status::Added;
            set.copies.push(Copy {
                id: copy,
                base,
                hash: None,
            });
        }
        Ok(())
    }

    /// Goes on with the current set until it is Recovered.
    pub(crate) fn go_on(&mut self) -> Walked {
        let Some((id, set)) = self.ledger.current_set() else {
            return Ok(());
        };
        if set.status == Status::Started {
            let base = self.random.below(2);
            self.add(id, usize::try_from(base)?)?;
        }
        if self.status(Status::Added) {
            self.call("Commit", InFlight::Commit, async move |client| {
                client.commit_shadow_copy_set(id, WAIT).await
            })?;
            self.advance(Status::Committed);
            self.ledger.take_hashes(&self.stage)?;
        }
        if self.status(Status::Committed) {
            self.call("Expose", InFlight::Expose, async move |client| {
                client.expose_shadow_copy_set(id, WAIT).await
            })?;
            self.advance(Status::Exposed);
        }
        if self.status(Status::Exposed) {
            self.map(id)?;
            self.auto_recover()?;
            self.call("RecoveryComplete", InFlight::Recover, async move |client| {
                client.recovery_complete_shadow_copy_set(id).await
            })?;
            self.advance(Status::Recovered);
            self.ledger.current = None;
        }
        Ok(())
    }

    fn status(&mut self, wanted: Status) -> bool {
        self.ledger
            .current_set()
            .is_some_and(|(_, set)| set.status == wanted)
    }

    fn advance(&mut self, status: Status) {
        if let Some((_, set)) = self.ledger.current_set() {
            set.status = status;
        }
    }

    fn map(&mut self, id: ShadowCopySetId) -> Walked {
        let copies = self.ledger.sets.get(&id).map(|set| set.copies.clone());
        for copy in copies.unwrap_or_default() {
            let unc = self.unc(copy.base);
            let mapping = self.call("GetShareMapping", InFlight::Nothing, async |client| {
                client.share_mapping(copy.id, id, &unc).await
            })?;
            let name = self.stage.exposed_name(copy.id, copy.base);
            if mapping.shadow_copy_share_name.as_ref() != Some(&name) {
                return Err(Halt::Broken(
                    format!("the mapping of {name}: {mapping:?}").into(),
                ));
            }
        }
        Ok(())
    }

    /// Writes to the copies of a writable set as the applications do whose data they hold.
    fn auto_recover(&mut self) -> Walked {
        let number = self.random.next();
        let Some((_, set)) = self.ledger.current_set() else {
            return Ok(());
        };
        if set.context & invariants::AUTO_RECOVERY == 0 || set.may_be_sealed {
            return Ok(());
        }
        let copies = set.copies.clone();
        for (at, copy) in copies.into_iter().enumerate() {
            let path = self.stage.copy_path(copy.id, copy.base)?;
            fs::write(path.join("recovered"), number.to_le_bytes())?;
            let hash = tree::hash(&path)?;
            if let Some((_, set)) = self.ledger.current_set()
                && let Some(copy) = set.copies.get_mut(at)
            {
                copy.hash = Some(hash);
            }
        }
        Ok(())
    }

    pub(crate) fn abort(&mut self, id: ShadowCopySetId) -> Walked {
        self.call("Abort", InFlight::Abort, async move |client| {
            client.abort_shadow_copy_set(id).await
        })?;
        self.ledger.drop_current();
        Ok(())
    }

    pub(crate) fn delete(&mut self, id: ShadowCopySetId) -> Walked {
        let copies = self.ledger.sets.get(&id).map(|set| set.copies.clone());
        for copy in copies.unwrap_or_default() {
            let unc = self.unc(copy.base);
            let copy = copy.id;
            self.call("Delete", InFlight::Delete(id, copy), async move |client| {
                client.delete_share_mapping(id, copy, &unc).await
            })?;
            let Some(set) = self.ledger.sets.get_mut(&id) else {
                continue;
            };
            set.copies.retain(|known| known.id != copy);
            if set.copies.is_empty() {
                self.ledger.sets.remove(&id);
            }
        }
        Ok(())
    }

    fn unc(&self, base: usize) -> String {
        let base = self.stage.bases.get(base);
        base.map(|base| base.unc.clone()).unwrap_or_default()
    }

    /// Makes a call; what it may have done when the agent dies stands in the ledger.
    fn call<T>(
        &mut self,
        phase: &'static str,
        in_flight: InFlight,
        call: impl AsyncFnOnce(&mut FsrvpClient) -> Result<T, ClientError>,
    ) -> Walked<T> {
        self.ledger.in_flight = in_flight;
        if let Some(power) = &self.power {
            let is_taken = lock(&power.gate);
            if !*is_taken {
                *lock(&power.ledger) = self.ledger.clone();
            }
        }
        self.arm(phase);
        match self.client.call(call) {
            Ok(value) => {
                self.enter(IDLE);
                self.ledger.in_flight = InFlight::Nothing;
                Ok(value)
            }
            Err(CallError::Refused(why)) => Err(Halt::Broken(format!("{phase}: {why}").into())),
            Err(CallError::Gone) => {
                if self.stage.wait_end(Duration::from_secs(10))?.is_none() {
                    return Err(Halt::Broken(
                        format!("{phase}: the agent hung up and lives").into(),
                    ));
                }
                Err(Halt::Died)
            }
        }
    }

    fn enter(&self, phase: &'static str) {
        *lock(&self.phase) = phase;
    }

    /// Lets the killer go when its time has come.
    fn arm(&mut self, phase: &'static str) {
        self.enter(phase);
        let Some(killer) = &mut self.killer else {
            return;
        };
        if killer.calls_left > 0 {
            killer.calls_left -= 1;
            return;
        }
        let (Some(killer), Some(pid)) = (self.killer.take(), self.stage.pid()) else {
            return;
        };
        let phase = Arc::clone(&self.phase);
        let camera = self.stage.lab.camera();
        thread::spawn(move || {
            // A moment of real time within the call that no event of the program chooses.
            thread::sleep(killer.pause);
            match &killer.strike {
                Strike::Kill { all } => {
                    *lock(&killer.hit) = Some(*lock(&phase));
                    stage::kill(pid, *all);
                }
                Strike::PowerCut(power) => {
                    let mut is_taken = lock(&power.gate);
                    *is_taken = true;
                    *lock(&killer.hit) = Some(*lock(&phase));
                    if let Err(error) = camera.photograph() {
                        *lock(&power.failed) = Some(error.to_string());
                    }
                    stage::kill(pid, true);
                }
            }
        });
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
