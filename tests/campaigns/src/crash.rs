//! The agent is killed at random moments and at every named crash point, and started again.

mod figures;

use crate::Outcome;
use crate::arguments::Crash;
use crate::evidence::Evidence;
use crate::invariants::{self, Before};
use crate::ledger::InFlight;
use crate::plan::{Ending, Plan};
use crate::stage::{self, Stage};
use crate::view::Status;
use crate::walker::{Halt, IDLE, Killer, Strike, Walker, lock};
use figures::Figures;
use fsrvp_testkit::{Random, Run, Share, ShareKey};
use std::fs;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Recovered sets that are kept between cycles.
const KEPT: usize = 5;
/// Calls of a walk before which it may be killed, and the longest pause until the kill.
const CALLS: u64 = 8;
const LONGEST_PAUSE: u64 = 60_000;
/// Points that are passed only when our mount is missing.
const MOUNTING: &str = ".mount.";
/// Points that are passed only when a store is begun.
const BEGINNING: &str = "store.begin.";
/// Points that are passed only when a share has to be offered again.
const OFFERING: &str = "recovery.publish.";
/// Points that every start passes.
const RECOVERING: &str = "recovery.";
/// Points that one life of the agent does not pass twice.
const ONCE: [&str; 4] = [
    BEGINNING,
    "recovery.look.",
    "recovery.store.",
    "recovery.reach.",
];
/// Points that are passed only when a copy goes, and only when a writable one is sealed.
const REMOVING: [&str; 4] = ["delete", "remove", "withdraw", "unlink"];
const SEALING: [&str; 2] = ["seal", "read_only"];

pub(crate) fn run(arguments: &Crash, fsrvpd: &Path) -> Outcome {
    let backend = arguments.backend;
    backend.enter()?;
    let seed = arguments
        .seed
        .unwrap_or_else(|| Uuid::new_v4().as_u64_pair().0 >> 16);
    println!(
        "crash: {}, {} cycles, seed {seed}",
        backend.word(),
        arguments.cycles
    );
    let mut random = Random::new(seed);
    let mut stage = Stage::on(backend, fsrvpd, &mut random, |options| options)?;
    stage.kill(true)?;
    stage.start()?;
    let before = Before::look(&stage)?;
    let mut campaign = Campaign {
        walker: Walker::new(stage, random)?,
        before,
        figures: Figures::new(backend.crash_points()),
        now: String::new(),
    };
    for cycle in 1..=arguments.cycles {
        if let Err(error) = campaign.cycle(cycle) {
            let evidence = Evidence {
                campaign: "crash",
                seed,
                place: &arguments.evidence,
                cycle,
                did: &campaign.now,
            };
            return Err(evidence.keep(campaign.walker, &error.to_string())?.into());
        }
    }
    campaign.figures.report(backend.word(), seed);
    campaign.walker.stage.lab.down()?;
    Ok(())
}

struct Campaign {
    walker: Walker,
    before: Before,
    figures: Figures,
    /// What this cycle does, for evidence.
    now: String,
}

impl Campaign {
    fn cycle(&mut self, cycle: u64) -> Outcome {
        let began = Instant::now();
        self.walker.stage.change_content(&mut self.walker.random)?;
        let point = self
            .walker
            .random
            .chance(3, 5)
            .then(|| self.figures.rarest_point("", &mut self.walker.random));
        match point {
            Some(point) => self.crash_at(point)?,
            None => match self.walker.random.below(4) {
                0 => self.kill_at_start()?,
                1 => self.kill_under_smbd()?,
                _ => self.kill_in_walk()?,
            },
        }
        match self.walker.random.below(5) {
            0 => {
                self.now.push_str("; then killed while starting");
                self.kill_while_starting()?;
            }
            1 | 2 => self.crash_in_recovery()?,
            _ => {}
        }
        self.walker.stage.start()?;
        let view = self.walker.stage.settle()?;
        self.walker.ledger.reconcile(&self.walker.stage, &view)?;
        invariants::check(&self.walker.stage, &self.before, &self.walker.ledger, &view)
            .map_err(|error| format!("after the restart: {error}"))?;
        self.next_backup()
            .map_err(|error| format!("the next backup: {error}"))?;
        let view = self.walker.stage.settle()?;
        invariants::check(&self.walker.stage, &self.before, &self.walker.ledger, &view)
            .map_err(|error| format!("after the next backup: {error}"))?;
        println!("{cycle}: {} in {:.1?}", self.now, began.elapsed());
        Ok(())
    }

    /// Starts the agent so that it crashes at a point, and walks until it does.
    fn crash_at(&mut self, point: &'static str) -> Outcome {
        let once = ONCE.iter().any(|once| point.starts_with(once));
        let second = self.walker.random.chance(1, 3) && !once;
        let time = if second { 2 } else { 1 };
        self.now = format!("crash at {point}:{time}");
        if point.starts_with(BEGINNING) {
            self.walker.delete_everything()?;
        }
        self.walker.stage.kill(false)?;
        if point.starts_with(OFFERING) {
            self.take_shares_away()?;
        }
        if point.contains(MOUNTING) {
            let stage = &self.walker.stage;
            stage.backend.unmount_roots(&stage.lab)?;
        }
        if point.starts_with(BEGINNING) {
            fs::remove_file(self.walker.stage.lab.state_dir().join("table.redb"))?;
        }
        let place = format!("{point}:{time}");
        self.walker
            .stage
            .spawn(&[("FSRVP_CRASH_AT", &place)], &[])?;
        self.walker.client.hang_up();
        let mut status = self.walker.stage.wait_serving()?;
        for _ in 0..3 {
            if status.is_some() {
                break;
            }
            let mut plan = Plan::full(self.walker.stage.bases.len(), &mut self.walker.random);
            if REMOVING.iter().any(|word| point.contains(word)) {
                plan.ending = Ending::Delete;
            }
            if SEALING.iter().any(|word| point.contains(word)) {
                plan = plan.writable();
            }
            match self.walker.walk(&plan) {
                Ok(()) => {}
                Err(Halt::Died) => status = self.walker.stage.wait_end(Duration::from_secs(10))?,
                Err(Halt::Broken(error)) => return Err(error),
            }
        }
        self.has_crashed(point, status, IDLE)
    }

    /// The restart crashes in its turn, in the recovery from what has ended the agent.
    fn crash_in_recovery(&mut self) -> Outcome {
        let random = &mut self.walker.random;
        let point = self.figures.rarest_point(RECOVERING, random);
        self.now.push_str(&format!("; then crash at {point}"));
        if point.starts_with(OFFERING) {
            self.take_shares_away()?;
        }
        self.walker.stage.spawn(&[("FSRVP_CRASH_AT", point)], &[])?;
        let status = self.walker.stage.wait_serving()?;
        self.has_crashed(point, status, "start")
    }

    /// Counts the end of an agent that was to crash at a point; one that has not is killed in `phase`.
    fn has_crashed(
        &mut self,
        point: &'static str,
        status: Option<ExitStatus>,
        phase: &'static str,
    ) -> Outcome {
        match status {
            Some(status) if stage::crashed(status) => self.figures.crashed_at(point),
            Some(status) => return Err(format!("the agent ended: {status}").into()),
            None => {
                self.now.push_str(", which it did not pass");
                self.figures.killed_in(phase);
                self.walker.stage.kill(false)?;
            }
        }
        Ok(())
    }

    /// Removes the shares of a kept set from Samba's registry while no agent runs.
    fn take_shares_away(&self) -> Outcome {
        let Walker { ledger, stage, .. } = &self.walker;
        let kept = ledger
            .sets
            .values()
            .find(|set| set.status == Status::Recovered);
        for copy in kept.into_iter().flat_map(|set| &set.copies) {
            let name = stage.exposed_name(copy.id, copy.base);
            // One whose deletion was under way may have gone already.
            Run::new("net")
                .arg("-s")
                .arg(stage.lab.smb_conf())
                .args(["conf", "delshare", &name])
                .output()?;
        }
        Ok(())
    }

    /// Kills the agent somewhere in a walk, its helper too in half of the cases.
    fn kill_in_walk(&mut self) -> Outcome {
        let plan = Plan::any(self.walker.stage.bases.len(), &mut self.walker.random);
        let hit = Arc::<Mutex<Option<&'static str>>>::default();
        let killer = Killer {
            calls_left: self.walker.random.below(CALLS + plan.length()),
            pause: Duration::from_micros(self.walker.random.below(LONGEST_PAUSE)),
            strike: Strike::Kill {
                all: self.walker.random.chance(1, 2),
            },
            hit: Arc::clone(&hit),
        };
        self.now = format!(
            "{plan:?} killed {:?} after {} calls",
            killer.pause, killer.calls_left
        );
        self.walker.killer = Some(killer);
        for _ in 0..2 {
            match self.walker.walk(&plan) {
                Ok(()) => {}
                Err(Halt::Died) => break,
                Err(Halt::Broken(error)) => return Err(error),
            }
        }
        let fired = self.walker.killer.take().is_none();
        if fired
            && self
                .walker
                .stage
                .wait_end(Duration::from_secs(10))?
                .is_some()
        {
            let phase = *lock(&hit);
            self.figures.killed_in(phase.unwrap_or(IDLE));
        } else {
            self.figures.killed_in(IDLE);
            self.walker.stage.kill(true)?;
        }
        Ok(())
    }

    /// Kills the agent while `rpcclient` walks through smbd.
    fn kill_under_smbd(&mut self) -> Outcome {
        self.walker.ledger.hash_bases(&self.walker.stage)?;
        self.walker.ledger.in_flight = InFlight::Unknown;
        let pause = Duration::from_millis(100 + self.walker.random.below(700));
        self.now = format!("killed under smbd after {pause:?}");
        self.walker.client.hang_up();
        let shares: Vec<Share> = [ShareKey::A, ShareKey::B]
            .map(|key| self.walker.stage.lab.share(key).clone())
            .to_vec();
        let names: Vec<_> = shares.iter().map(|share| share.name).collect();
        let mode = if self.walker.random.chance(1, 2) {
            "rw"
        } else {
            "ro"
        };
        let create = self.walker.stage.lab.rpcclient(
            self.walker.stage.lab.backup(),
            &format!("fss_create_expose backup {mode} {}", names.join(" ")),
        );
        let walker = thread::spawn(move || create.output().map(drop));
        // A moment of real time that no event of the program chooses: so are kills.
        thread::sleep(pause);
        self.walker.stage.kill(self.walker.random.chance(1, 2))?;
        walker.join().map_err(|_| "the client's thread died")??;
        self.figures.killed_in("a walk through smbd");
        Ok(())
    }

    /// Kills the agent while it starts and recovers.
    fn kill_at_start(&mut self) -> Outcome {
        self.now = "killed while starting".to_owned();
        self.walker.stage.kill(true)?;
        self.walker.client.hang_up();
        self.kill_while_starting()
    }

    fn kill_while_starting(&mut self) -> Outcome {
        self.walker.stage.spawn(&[], &[])?;
        // Any moment of the start in real time, and some after it.
        thread::sleep(Duration::from_millis(self.walker.random.below(900)));
        self.walker.stage.kill(self.walker.random.chance(1, 2))?;
        self.figures.killed_in("start");
        Ok(())
    }

    /// The next backup can start at once; it goes on with the set that is there in half of the
    /// cases. Afterwards old sets go.
    fn next_backup(&mut self) -> Outcome {
        self.walker.client.hang_up();
        let goes_on = self.walker.random.chance(1, 2);
        if goes_on && self.walker.ledger.current.is_some() {
            self.walker.expect_alive(|walker| walker.go_on())?;
            self.figures.went_on += 1;
        }
        let plan = Plan::full(self.walker.stage.bases.len(), &mut self.walker.random);
        self.walker.expect_alive(|walker| walker.walk(&plan))?;
        self.figures.backups += 1;
        while self.walker.kept() > KEPT
            || (self.walker.kept() > 0 && self.walker.random.chance(1, 4))
        {
            self.walker.expect_alive(Walker::delete_one)?;
        }
        Ok(())
    }
}
