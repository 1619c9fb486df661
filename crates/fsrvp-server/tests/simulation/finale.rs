//! Troubles of a history, and its end: all faults are over, everything comes to rest, the next
//! backup succeeds, and restarts change nothing.

use crate::client::{Client, delete, unc};
use crate::drive::{Phase, Simulation};
use crate::invariants;
use crate::random::Draw;
use crate::strand::Fate;
use crate::world::{SHARES, VOLUMES};
use fsrvp_idl::{ClientShadowCopyId, ClientShadowCopySetId, FileTime, Request};
use std::time::Duration;

/// Steps after which everything must have come to rest.
const PATIENCE: u64 = 20_000;

impl Simulation {
    /// Now and then something goes wrong; says whether it has.
    pub(crate) fn trouble(&mut self) -> Result<bool, String> {
        let plan = self.plan.clone();
        let is_up = matches!(self.phase, Phase::Up(_));
        let is_down = matches!(self.phase, Phase::Down);
        let mut roll = |chance: u64| self.random.below(1000) < chance;
        if roll(plan.crash) && !is_down {
            self.crash();
            if self.random.percent(25) {
                self.reboot();
            }
            self.clients_reconnect();
        } else if roll(plan.shutdown) && is_up {
            self.shut_down()?;
        } else if roll(plan.administrator) && (is_up || is_down) {
            self.administrator_acts();
        } else if roll(plan.surroundings) {
            self.surroundings_change();
        } else if roll(plan.wall_jumps) {
            let day = 864_000_000_000;
            let wall = self.now.wall.0;
            self.now.wall = FileTime(match self.random.below(3) {
                0 => wall.saturating_sub(day),
                1 => wall.saturating_add(day),
                _ => self.random.below(wall),
            });
            self.keeping.clock_was_set(self.now);
            self.note("the wall clock jumps");
        } else if roll(plan.operator) && is_up {
            self.operator_names_files()?;
        } else if is_up && !plan.retention.is_off() && roll(15) {
            self.shares_are_used();
        } else if is_up && roll(15) {
            self.recovery_writes();
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// `kill -9`: what is volatile is lost.
    fn crash(&mut self) {
        self.phase = Phase::Down;
        self.world.store.crash();
        self.crashes += 1;
        self.note("CRASH");
    }

    /// The power was cut: mounts are lost too.
    fn reboot(&mut self) {
        self.boot += 1;
        self.world.reboot();
        self.witness.rebooted();
        self.note("the machine starts anew");
    }

    fn shut_down(&mut self) -> Result<(), String> {
        self.note("shutdown");
        let now = self.now;
        self.life().agent.shutdown(now);
        self.pump()?;
        while !self.life().commits.is_empty() {
            self.commit(Fate::Done)?;
        }
        let unanswered = self.life().calls.len();
        if unanswered > 0 {
            return Err(format!("exactly one reply: {unanswered} calls at shutdown"));
        }
        self.phase = Phase::Down;
        self.world.store.crash();
        self.crashes += 1;
        self.clients_reconnect();
        Ok(())
    }

    fn clients_reconnect(&mut self) {
        for client in &mut self.clients {
            client.waits_for = None;
        }
    }

    fn administrator_acts(&mut self) {
        let (share, path) = *self.random.one_of(&SHARES);
        match self.random.below(5) {
            0 => {
                self.world.shares.remove_share(share);
                self.note(format_args!("the administrator deletes the share {share}"));
            }
            1 => {
                self.world.shares.add_share(share, path);
                self.note(format_args!("the administrator makes the share {share}"));
            }
            2 => {
                let (other, _) = *self.random.one_of(&VOLUMES);
                self.world.shares.add_share(share, other);
                self.note(format_args!(
                    "the administrator moves the share {share} to {other}"
                ));
            }
            3 => {
                let copies: Vec<_> = self.world.copies().into_keys().collect();
                if !copies.is_empty() {
                    let copy = *self.random.one_of(&copies);
                    self.witness.deleted_copies.insert(copy);
                    self.world.delete_copy(copy);
                    self.note(format_args!(
                        "the administrator deletes the snapshot {copy}"
                    ));
                }
            }
            _ => {
                let shares: Vec<_> = self.world.exposed().into_keys().collect();
                if !shares.is_empty() {
                    let share = self.random.one_of(&shares).clone();
                    self.world.delete_share(&share);
                    self.note(format_args!("the administrator deletes the share {share}"));
                    self.witness.deleted_shares.insert(share);
                }
            }
        }
    }

    fn surroundings_change(&mut self) {
        let (root, _) = *self.random.one_of(&VOLUMES);
        let change = self.random.below(4);
        match change {
            0 => self.world.set_there(root, false),
            1 => self.world.set_there(root, true),
            _ => self.world.set_full(root, change == 2),
        }
        let what = ["is not there", "is there", "is full", "has space"];
        let at = usize::try_from(change).unwrap_or(0);
        self.note(format_args!("{root} {}", what[at]));
    }

    /// Auto-recovery, and whoever tries the same after it: writes through an exposed share.
    fn recovery_writes(&mut self) {
        let shares: Vec<_> = self.world.exposed().into_keys().collect();
        if shares.is_empty() {
            return;
        }
        let share = self.random.one_of(&shares).clone();
        let data = self.random.next().to_be_bytes();
        let done = self.world.write_through(&share, &data);
        self.note(format_args!("a client writes to {share}: {done}"));
    }

    /// All faults end.
    pub(crate) fn finale(&mut self) -> Result<(), String> {
        self.note("all faults end");
        for (root, _) in VOLUMES {
            self.world.set_there(root, true);
            self.world.set_full(root, false);
        }
        for (share, path) in SHARES {
            self.world.shares.add_share(share, path);
        }
        self.world.all_is_closed();
        if let Phase::Up(life) = &mut self.phase {
            life.store_hangs_until = Duration::ZERO;
            life.jobs.values_mut().for_each(|job| job.hung.clear());
        }
        self.come_to_rest()?;
        self.next_walk_succeeds()?;
        self.come_to_rest()?;
        self.pruned_at_rest()?;
        // A restart sees to what an administrator has done, and a second one finds nothing to do.
        self.restart()?;
        if self.random.percent(30) {
            self.reboot();
        }
        self.come_to_rest()?;
        let before = (self.world.copies(), self.world.exposed());
        self.restart()?;
        self.come_to_rest()?;
        if before != (self.world.copies(), self.world.exposed()) {
            return Err("recovery is idempotent: a second restart changed something".to_owned());
        }
        self.next_walk_succeeds()
    }

    fn restart(&mut self) -> Result<(), String> {
        if self.random.percent(50) {
            self.crash();
            Ok(())
        } else {
            self.shut_down()
        }
    }

    /// Everything that can be done is done, and time passes, until nothing is left to do.
    fn come_to_rest(&mut self) -> Result<(), String> {
        let last = self.steps + PATIENCE;
        while self.steps < last {
            if self.retention_sleeps() || !self.go_on(true)? {
                return invariants::at_rest(&self.facts(), self.life_ref()?, self.now);
            }
        }
        Err("every set ends: there is no end to what is left to do".to_owned())
    }

    /// Retention looks again and again, for ever: it has nothing left to do when it sleeps for longer
    /// than it holds a set back, and all else is at rest.
    fn retention_sleeps(&self) -> bool {
        const HELD: Duration = Duration::from_secs(610);
        let Phase::Up(life) = &self.phase else {
            return false;
        };
        let is_idle = life.jobs.is_empty() && life.commits.is_empty() && life.pruning.is_none();
        let sleeps = |due: Duration| due > self.now.at + HELD;
        !self.plan.retention.is_off()
            && is_idle
            && life.agent.poll_timeout().is_none_or(sleeps)
            && invariants::at_rest(&self.facts(), life, self.now).is_ok()
    }

    fn life_ref(&self) -> Result<&crate::life::Life, String> {
        match &self.phase {
            Phase::Up(life) => Ok(life),
            Phase::Down | Phase::Starting(..) => Err("it does not start".to_owned()),
        }
    }

    /// Does the next thing without any fault; with `and_time` time passes if there is none. Says
    /// whether there was something.
    fn go_on(&mut self, and_time: bool) -> Result<bool, String> {
        match &self.phase {
            Phase::Down => self.start(),
            Phase::Starting(_, recovery) => {
                let strand = recovery.waiting().next().map_or(0, |(strand, _)| strand);
                self.recover(strand, Fate::Done)?;
                if matches!(self.phase, Phase::Down) {
                    return Err("the daemon starts when nothing is wrong".to_owned());
                }
            }
            Phase::Up(life) => {
                let job = life
                    .jobs
                    .iter()
                    .find_map(|(id, job)| Some((*id, job.work.waiting().next()?.0)));
                let idle = life.agent.poll_timeout().is_none();
                if let Some((id, strand)) = job {
                    self.job(id, strand, Fate::Done)?;
                } else if life.pruning.is_some() {
                    self.prune(Fate::Done)?;
                } else if !life.commits.is_empty() {
                    self.commit(Fate::Done)?;
                } else if and_time && !idle {
                    let by = self.until_something_is_due();
                    self.time_passes(by)?;
                } else {
                    return Ok(false);
                }
            }
        }
        self.check()?;
        Ok(true)
    }

    /// DESIGN: "the next backup can start at once".
    fn next_walk_succeeds(&mut self) -> Result<(), String> {
        let client = self.clients.len();
        self.clients.push(Client::new(100));
        let context = *self.random.one_of(&[0x0040_0009, 0x09]);
        self.succeed(client, Request::SetContext { context })?;
        let client_shadow_copy_set_id = ClientShadowCopySetId(self.random.uuid());
        self.succeed(
            client,
            Request::StartShadowCopySet {
                client_shadow_copy_set_id,
            },
        )?;
        let shadow_copy_set_id = *self.knowledge.sets.last().ok_or("a set was started")?;
        for share in ["docs", "hidden$", "data"] {
            let add = Request::AddToShadowCopySet {
                client_shadow_copy_id: ClientShadowCopyId(self.random.uuid()),
                shadow_copy_set_id,
                share_name: unc(share),
            };
            self.succeed(client, add)?;
        }
        let timeout_ms = 60_000;
        self.succeed(
            client,
            Request::PrepareShadowCopySet {
                shadow_copy_set_id,
                timeout_ms,
            },
        )?;
        self.succeed(
            client,
            Request::CommitShadowCopySet {
                shadow_copy_set_id,
                timeout_ms,
            },
        )?;
        self.succeed(
            client,
            Request::ExposeShadowCopySet {
                shadow_copy_set_id,
                timeout_ms,
            },
        )?;
        let recover = Request::RecoveryCompleteShadowCopySet { shadow_copy_set_id };
        self.succeed(client, recover)?;
        let mut made = self.knowledge.mappings.clone();
        made.retain(|known| known.set == shadow_copy_set_id);
        if made.len() != 3 {
            return Err(format!("the next walk succeeds: it made {made:?}"));
        }
        for known in made.iter().take(2) {
            self.succeed(client, delete(known))?;
        }
        Ok(())
    }

    fn succeed(&mut self, client: usize, request: Request) -> Result<(), String> {
        let number = self.next_call;
        self.call(client, request.clone())?;
        self.check()?;
        while self.life_ref()?.calls.contains_key(&number) {
            if !self.go_on(false)? {
                return Err(format!("the next walk succeeds: no reply to {request:?}"));
            }
        }
        match self.last_reply {
            Some((call, status)) if call == number && status.is_ok() => Ok(()),
            other => Err(format!("the next walk succeeds: {request:?}: {other:?}")),
        }
    }
}
