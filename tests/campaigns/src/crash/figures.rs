//! What a campaign has done.

use fsrvp_testkit::Random;
use std::collections::BTreeMap;
use std::time::Instant;

/// Counts.
#[derive(Debug)]
pub(super) struct Figures {
    began: Instant,
    phases: BTreeMap<&'static str, u64>,
    points: BTreeMap<&'static str, (u64, u64)>,
    pub(super) backups: u64,
    pub(super) went_on: u64,
}

impl Figures {
    pub(super) fn new(points: impl Iterator<Item = &'static str>) -> Self {
        Self {
            began: Instant::now(),
            phases: BTreeMap::new(),
            points: points.map(|point| (point, (0, 0))).collect(),
            backups: 0,
            went_on: 0,
        }
    }

    /// A point that was tried as rarely as any.
    pub(super) fn rarest_point(&mut self, random: &mut Random) -> &'static str {
        let least = self.points.values().map(|(tried, _)| *tried).min();
        let rarest: Vec<_> = self
            .points
            .iter()
            .filter(|(_, (tried, _))| Some(*tried) == least)
            .map(|(point, _)| *point)
            .collect();
        let point = random.pick(&rarest).copied().unwrap_or_default();
        if let Some((tried, _)) = self.points.get_mut(point) {
            *tried += 1;
        }
        point
    }

    pub(super) fn crashed_at(&mut self, point: &'static str) {
        if let Some((_, hit)) = self.points.get_mut(point) {
            *hit += 1;
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
        println!("crashes by point:");
        for (point, (_, hit)) in &self.points {
            println!("  {hit:>5}  {point}");
        }
        let kills: u64 = self.phases.values().sum();
        let crashes: u64 = self.points.values().map(|(_, hit)| hit).sum();
        let least = self.points.values().map(|(_, hit)| hit).min();
        println!(
            "crash: {backend}, seed {seed}, {kills} kills in {} phases, {crashes} crashes at {} points (each \
             at least {} times), {} sets went on, {} backups after it, 0 violations, {:.0?}",
            self.phases.len(),
            self.points.len(),
            least.copied().unwrap_or_default(),
            self.went_on,
            self.backups,
            self.began.elapsed()
        );
    }
}
