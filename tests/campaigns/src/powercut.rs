//! The power of everything is cut at random moments: state and volumes lie on one disk.

use crate::Outcome;
use crate::arguments::PowerCuts;
use crate::evidence::Evidence;
use crate::invariants::{self, Before};
use crate::plan::Plan;
use crate::stage::Stage;
use crate::walker::{Halt, IDLE, Killer, PowerCut, Strike, Walker, lock};
use fsrvp_testkit::{Random, Run};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Recovered sets that are kept between cuts.
const KEPT: usize = 5;
/// Calls before which the power may be cut, and the longest pause until then, in microseconds.
const CALLS: u64 = 9;
const LONGEST_PAUSE: u64 = 60_000;

pub(crate) fn run(arguments: &PowerCuts, fsrvpd: &Path) -> Outcome {
    let seed = arguments
        .seed
        .unwrap_or_else(|| Uuid::new_v4().as_u64_pair().0 >> 16);
    println!("powercut: {} cuts, seed {seed}", arguments.cuts);
    let began = Instant::now();
    let mut random = Random::new(seed);
    let mut stage = Stage::set(fsrvpd, &mut random, |options| options.single_disk())?;
    let mut boots = 0;
    stage.kill(true)?;
    stage.start_in(&boot_id(boots))?;
    let before = Before::look(&stage)?;
    // Configuration and accounts are older than the first cut.
    Run::new("sync").check()?;
    let mut campaign = Campaign {
        walker: Walker::new(stage, random)?,
        before,
        phases: BTreeMap::new(),
        copies: 0,
        did: String::new(),
    };
    let mut reboots = 0;
    for cut in 1..=arguments.cuts {
        let is_new_boot = campaign.walker.random.chance(1, 2);
        if is_new_boot {
            boots += 1;
            reboots += 1;
        }
        let began = Instant::now();
        if let Err(error) = campaign.cycle(is_new_boot, &boot_id(boots)) {
            let evidence = Evidence {
                campaign: "powercut",
                seed,
                place: &arguments.evidence,
                cycle: cut,
                did: &campaign.did,
            };
            return Err(evidence.keep(campaign.walker, &error.to_string())?.into());
        }
        println!("{cut}: {} in {:.1?}", campaign.did, began.elapsed());
    }
    println!("cuts by phase:");
    for (phase, count) in &campaign.phases {
        println!("  {count:>5}  {phase}");
    }
    println!(
        "powercut: seed {seed}, {} cuts in {} phases, {reboots} with a new boot id, {} times a \
         Recovered copy was compared and whole, 0 violations, {:.0?}",
        arguments.cuts,
        campaign.phases.len(),
        campaign.copies,
        began.elapsed()
    );
    campaign.walker.stage.lab.down()?;
    Ok(())
}

fn boot_id(boots: u64) -> String {
    Uuid::from_u64_pair(0, boots).to_string()
}

struct Campaign {
    walker: Walker,
    before: Before,
    phases: BTreeMap<&'static str, u64>,
    copies: usize,
    did: String,
}

impl Campaign {
    fn cycle(&mut self, is_new_boot: bool, boot_id: &str) -> Outcome {
        let walker = &mut self.walker;
        walker.stage.change_content(&mut walker.random)?;
        let hit = Arc::default();
        let power = Arc::<PowerCut>::default();
        let plan = Plan::any(walker.stage.bases.len(), &mut walker.random);
        let killer = Killer {
            calls_left: walker.random.below(CALLS + plan.length()),
            pause: Duration::from_micros(walker.random.below(LONGEST_PAUSE)),
            strike: Strike::PowerCut(Arc::clone(&power)),
            hit: Arc::clone(&hit),
        };
        self.did = format!(
            "{plan:?} cut {:?} after {} calls, {} boot id",
            killer.pause,
            killer.calls_left,
            if is_new_boot { "new" } else { "same" }
        );
        walker.killer = Some(killer);
        walker.power = Some(Arc::clone(&power));
        let load = Load::start(&walker.stage);
        let died = loop {
            match walker.walk(&plan) {
                Ok(()) => {}
                Err(Halt::Died) => break true,
                Err(Halt::Broken(error)) => return Err(error),
            }
            if walker.killer.is_none() {
                break walker.stage.wait_end(Duration::from_secs(10))?.is_some();
            }
        };
        load.stop();
        if !died {
            return Err("the power was not cut".into());
        }
        if let Some(error) = lock(&power.failed).take() {
            return Err(error.into());
        }
        let phase = (*lock(&hit)).unwrap_or(IDLE);
        *self.phases.entry(phase).or_default() += 1;
        walker.power = None;
        walker.client.hang_up();
        walker.ledger = lock(&power.ledger).clone();
        walker.stage.fall_and_boot()?;
        walker.stage.start_in(boot_id)?;
        walker.stage.lab.start_samba()?;
        let view = walker.stage.settle()?;
        if is_new_boot {
            walker.ledger.reboot();
        }
        walker.ledger.reconcile(&walker.stage, &view)?;
        walker.ledger.forget_unsealed(&walker.stage)?;
        invariants::check(&walker.stage, &self.before, &walker.ledger, &view)
            .map_err(|error| format!("after the cut: {error}"))?;
        self.copies += walker.ledger.recovered_copies();
        let plan = Plan::full(walker.stage.bases.len(), &mut walker.random);
        walker
            .expect_alive(|walker| walker.walk(&plan))
            .map_err(|error| format!("the next backup: {error}"))?;
        while walker.kept() > KEPT {
            walker.expect_alive(Walker::delete_one)?;
        }
        let view = walker.stage.settle()?;
        invariants::check(&walker.stage, &self.before, &walker.ledger, &view)
            .map_err(|error| format!("after the next backup: {error}"))?;
        Ok(())
    }
}

/// Somebody who writes to the same file systems all the time.
struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Load {
    fn start(stage: &Stage) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let threads = crate::observed::VOLUMES
            .map(|volume| {
                let stop = Arc::clone(&stop);
                let directory = stage.lab.volume(volume).join("load");
                thread::spawn(move || {
                    let _ = fs::create_dir(&directory);
                    for number in 0_u64.. {
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                        let path = directory.join((number % 8).to_string());
                        let block = number.to_le_bytes().repeat(8 << 10);
                        let _ = File::create(path).and_then(|mut file| {
                            file.write_all(&block)?;
                            file.sync_all()
                        });
                        // Real time paces the load: without it nobody else would come to write.
                        thread::sleep(Duration::from_millis(5));
                    }
                })
            })
            .into();
        Self { stop, threads }
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}
