//! What a campaign has done.

use fsrvp_testkit::Random;
use std::collections::BTreeMap;
use std::time::Instant;

/// Counts.
#[derive(Debug)]
pub(super) struct Figures {
    began: Instant,
    phases: BTreeMap<&'static str, u64>,
    points: BTreeMap<&'static str, Tried>,
    pub(super) backups: u64,
    pub(super) went_on: u64,
}

/// A crash point.
#[derive(Debug, Default)]
struct Tried {
    /// How often it was armed.
    armed: u64,
    /// How often the agent crashed there.
    hit: u64,
}

impl Tried {
    /// A hit counts for three times that it was not passed: what is missed is tried again before
    /// others, and what cannot be passed takes no more than three turns.
    fn weight(&self) -> u64 {
        self.armed + 2 * self.hit
    }
}

impl Figures {
    pub(super) fn new(points: impl Iterator<Item = &'static str>) -> Self {
        Self {
            began: Instant::now(),
            phases: BTreeMap::new(),
            points: points.map(|point| (point, Tried::default())).collect(),
            backups: 0,
            went_on: 0,
        }
    }

    /// One of the points with this beginning that were met as rarely as any of them.
    pub(super) fn rarest_point(&mut self, beginning: &str, random: &mut Random) -> &'static str {
        let points = self.points.iter();
        let points = points.filter(|(point, _)| point.starts_with(beginning));
        let weights: Vec<_> = points
            .map(|(point, tried)| (*point, tried.weight()))
            .collect();
        let least = weights.iter().map(|(_, weight)| *weight).min();
        let rarest: Vec<_> = weights
            .into_iter()
            .filter(|(_, weight)| Some(*weight) == least)
            .collect();
        let (point, _) = random.pick(&rarest).copied().unwrap_or_default();
        if let Some(tried) = self.points.get_mut(point) {
            tried.armed += 1;
        }
        point
    }

    pub(super) fn crashed_at(&mut self, point: &'static str) {
        if let Some(tried) = self.points.get_mut(point) {
            tried.hit += 1;
        }
    }

    pub(super) fn killed_in(&mut self, phase: &'static str) {
        *self.phases.entry(phase).or_default() += 1;
    }

    /// Prints all of it, one line of figures last.
    pub(super) fn report(&self, backend: &str, seed: u64) {
        println!("kills by phase:");
        for (phase, count) in &self.phases {
            println!("  {count:>5}  {phase}");
        }
        println!("crashes by point, of the times that it was armed:");
        for (point, Tried { armed, hit }) in &self.points {
            println!("  {hit:>5} of {armed:>3}  {point}");
        }
        let kills: u64 = self.phases.values().sum();
        let hits = self.points.values().map(|tried| tried.hit);
        let (crashes, least) = (hits.clone().sum::<u64>(), hits.min());
        println!(
            "crash: {backend}, seed {seed}, {kills} kills in {} phases, {crashes} crashes at {} points (each \
             at least {} times), {} sets went on, {} backups after it, 0 violations, {:.0?}",
            self.phases.len(),
            self.points.len(),
            least.unwrap_or_default(),
            self.went_on,
            self.backups,
            self.began.elapsed()
        );
    }
}
