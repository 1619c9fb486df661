//! A deterministic simulation of the whole server above its traits: the real agent, executor and
//! recovery over a store, backends and shares in memory, under a seeded scheduler that lets steps
//! fail, hang and crash, moves both clocks, and plays clients and an administrator.
//!
//! `invariants.rs` says what must hold. A seed replays exactly: `SIM_SEED=n cargo test -p
//! fsrvp-server --test simulation` prints its history. The long form is `cargo xtask simulate`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod calls;
mod client;
mod drive;
mod finale;
mod history;
mod invariants;
mod keeping;
mod life;
mod lists;
mod plan;
mod random;
mod strand;
mod witness;
mod world;

use drive::Simulation;
use plan::Length;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Seeds of an ordinary `cargo test`.
const SEEDS: u64 = 150;
/// Steps of a seed before its finale.
const STEPS: u64 = 150;

#[test]
fn invariants_hold() {
    let number = |name: &str| -> Option<u64> { std::env::var(name).ok()?.parse().ok() };
    let steps = number("SIM_STEPS").unwrap_or(STEPS);
    if let Some(seed) = number("SIM_SEED") {
        let ended = Simulation::run(seed, Length { steps });
        println!("{}", ended.history);
        assert!(
            ended.violation.is_none(),
            "seed {seed}: {:?}",
            ended.violation
        );
        return;
    }
    let run = Run {
        steps,
        first: number("SIM_FIRST").unwrap_or(0),
        seeds: number("SIM_SEEDS").unwrap_or(SEEDS),
        limit: number("SIM_SECONDS").map(Duration::from_secs),
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (figures, failed) = run.on_threads(threads);
    println!("simulation: {figures}");
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

/// The same seed gives the same history, to the letter.
#[test]
fn a_seed_replays_exactly() {
    for seed in 0..10 {
        let first = Simulation::run(seed, Length { steps: STEPS });
        let second = Simulation::run(seed, Length { steps: STEPS });
        assert_eq!(first.history, second.history, "seed {seed}");
    }
}

/// Many seeds, on several threads.
struct Run {
    steps: u64,
    first: u64,
    seeds: u64,
    /// Goes on with further seeds until this time has passed.
    limit: Option<Duration>,
}

impl Run {
    fn on_threads(&self, threads: usize) -> (String, Vec<String>) {
        let began = Instant::now();
        let (next, steps, crashes) = Default::default();
        let (done, calls) = Default::default();
        let counters: [&AtomicU64; 5] = [&next, &steps, &crashes, &done, &calls];
        let failed = Mutex::new(Vec::new());
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| self.work(began, counters, &failed, &stop));
            }
        });
        let seconds = began.elapsed().as_secs_f64();
        let [_, steps, crashes, done, calls] = counters.map(|n| n.load(Ordering::Relaxed));
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let rate = done as f64 * 60.0 / seconds;
        let figures = format!(
            "{done} seeds, {steps} steps, {calls} calls, {crashes} crashes and restarts in \
             {seconds:.1} s: {rate:.0} histories a minute"
        );
        (figures, failed.into_inner().unwrap())
    }

    fn work(
        &self,
        began: Instant,
        [next, steps, crashes, done, calls]: [&AtomicU64; 5],
        failed: &Mutex<Vec<String>>,
        stop: &AtomicBool,
    ) {
        while !stop.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let over = match self.limit {
                Some(limit) => began.elapsed() >= limit,
                None => number >= self.seeds,
            };
            if over {
                return;
            }
            let seed = self.first + number;
            let ended = Simulation::run(seed, Length { steps: self.steps });
            steps.fetch_add(ended.steps, Ordering::Relaxed);
            crashes.fetch_add(ended.crashes, Ordering::Relaxed);
            calls.fetch_add(ended.calls, Ordering::Relaxed);
            done.fetch_add(1, Ordering::Relaxed);
            if let Some(violation) = ended.violation {
                let text = format!(
                    "seed {seed}: {violation}\nreplay: SIM_SEED={seed} SIM_STEPS={} cargo test -p \
                     fsrvp-server --test simulation invariants_hold -- --nocapture\n{}",
                    self.steps,
                    history::tail(&ended.history)
                );
                failed.lock().unwrap().push(text);
                stop.store(true, Ordering::Relaxed);
            }
        }
    }
}
