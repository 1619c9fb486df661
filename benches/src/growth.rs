//! How the phases grow with what a share holds and with what is there already.

use crate::Result;
use crate::ground::{
    Ground, Kind, Phases, delete, keep, make_image, make_tree, make_tree_of_blocks,
};
use crate::plot::{self, Curve, Panel};
use crate::report::Report;
use fsrvp_snapshot::SnapshotBackend;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// Files of a share whose size does not matter.
const FEW: usize = 100;
/// A share of so many files or extents takes minutes.
const LARGE: usize = 100_000;
/// Bytes that are written at a time.
const PIECE: usize = 1 << 20;

/// Up to what is measured, each time in powers of ten.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Files of a share.
    pub(crate) files: usize,
    /// Extents of a file.
    pub(crate) extents: usize,
    /// Copies of the share that exist already.
    pub(crate) copies: usize,
    /// Bytes that nobody has flushed when Prepare begins.
    pub(crate) dirty: usize,
    /// Copies of each size.
    pub(crate) rounds: usize,
}

impl Plan {
    /// What takes minutes is measured once: there is nothing in it that a second time would show.
    fn rounds_of(self, count: usize) -> usize {
        if count < LARGE { self.rounds } else { 1 }
    }
}

/// What was measured.
pub(crate) struct Growth {
    panels: Vec<Panel>,
    rounds: usize,
}

/// A backend on its file system.
struct Place<'a> {
    name: &'static str,
    ground: &'a Ground,
    backend: &'a dyn SnapshotBackend,
}

/// Measures all of it.
pub(crate) fn run(plan: Plan) -> Result<Growth> {
    let (xfs, btrfs) = (Ground::new(Kind::Xfs)?, Ground::new(Kind::Btrfs)?);
    let (clones, snapshots) = (xfs.clones(), btrfs.snapshots());
    let places = [
        Place {
            name: "clone",
            ground: &xfs,
            backend: &clones,
        },
        Place {
            name: "btrfs",
            ground: &btrfs,
            backend: &snapshots,
        },
    ];
    let panels = vec![
        panel("files", &places, powers(plan.files), |place, count| {
            place.filled(plan.rounds_of(count), |share| {
                make_tree_of_blocks(share, count)
            })
        })?,
        panel(
            "extents of a file",
            &places,
            powers(plan.extents),
            |place, count| {
                place.filled(plan.rounds_of(count), |share| {
                    make_image(share, count).map(drop)
                })
            },
        )?,
        panel(
            "copies that exist",
            &places,
            std::iter::once(0).chain(powers(plan.copies)),
            |place, count| place.beside(plan, count),
        )?,
        panel(
            "MiB that are dirty",
            &places,
            std::iter::once(0).chain(doublings(plan.dirty >> 20)),
            |place, count| place.dirty(plan, count << 20),
        )?,
    ];
    snapshots.unmount_all()?;
    let rounds = plan.rounds;
    Ok(Growth { panels, rounds })
}

/// 1, 10, 100 … up to `most`.
fn powers(most: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(1_usize), |last| last.checked_mul(10))
        .take_while(move |n| *n <= most)
}

/// 1, 4, 16 … up to `most`.
fn doublings(most: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(1_usize), |last| last.checked_mul(4)).take_while(move |n| *n <= most)
}

fn panel(
    title: &'static str,
    places: &[Place<'_>],
    counts: impl Iterator<Item = usize>,
    measure: impl Fn(&Place<'_>, usize) -> Result<Phases>,
) -> Result<Panel> {
    let mut curves: Vec<Curve> = places
        .iter()
        .flat_map(|place| ["Prepare", "Commit"].map(|phase| Curve::new(place.name, phase)))
        .collect();
    for count in counts {
        // It takes long enough for somebody to wonder.
        eprintln!("growth: {count} {title}");
        let mut at = curves.iter_mut();
        for place in places {
            let phases = measure(place, count)?;
            for series in [phases.prepare, phases.commit] {
                if let Some(curve) = at.next() {
                    curve.points.push((count, series.median()));
                }
            }
        }
    }
    Ok(Panel { title, curves })
}

impl Place<'_> {
    fn once(&self, share: &Path, phases: &mut Phases) -> Result<()> {
        phases.measure(self.backend, share)?;
        self.backend.finish(Duration::MAX);
        self.ground.quiet()
    }

    /// A share that `fill` fills.
    fn filled(&self, rounds: usize, fill: impl Fn(&Path) -> Result<()>) -> Result<Phases> {
        let share = self.ground.share("growth")?;
        fill(&share)?;
        self.ground.quiet()?;
        let mut phases = Phases::default();
        for _ in 0..rounds {
            self.once(&share, &mut phases)?;
        }
        self.ground.remove(&share)?;
        Ok(phases)
    }

    /// A share of which there are `count` copies.
    fn beside(&self, plan: Plan, count: usize) -> Result<Phases> {
        let share = self.ground.share("growth")?;
        make_tree(&share, FEW)?;
        let mut others = Vec::new();
        for number in 0..count {
            // Each shares a little less with the next.
            fs::write(share.join("changing"), number.to_string())?;
            others.push(keep(self.backend, &share)?);
        }
        self.ground.quiet()?;
        let mut phases = Phases::default();
        for _ in 0..plan.rounds {
            self.once(&share, &mut phases)?;
        }
        for other in others {
            delete(self.backend, &other)?;
        }
        self.backend.finish(Duration::MAX);
        self.ground.remove(&share)?;
        Ok(phases)
    }

    /// A share with `bytes` that nobody has flushed.
    fn dirty(&self, plan: Plan, bytes: usize) -> Result<Phases> {
        let share = self.ground.share("growth")?;
        make_tree(&share, FEW)?;
        self.ground.quiet()?;
        let mut phases = Phases::default();
        for _ in 0..plan.rounds {
            let mut file = File::create(share.join("dirty"))?;
            let piece = vec![0x5A; PIECE];
            for _ in 0..bytes / PIECE {
                file.write_all(&piece)?;
            }
            self.once(&share, &mut phases)?;
        }
        self.ground.remove(&share)?;
        Ok(phases)
    }
}

impl Growth {
    /// A table of each panel.
    pub(crate) fn tables(&self, report: &mut Report) {
        for panel in &self.panels {
            let [clone_prepare, clone_commit, prepare, commit] = panel.curves.as_slice() else {
                continue;
            };
            let time = |curve: &Curve, at: usize| {
                let (_, time) = curve.points.get(at).copied().unwrap_or((0, f64::NAN));
                format!("{time:.1}")
            };
            let rows = clone_prepare
                .points
                .iter()
                .enumerate()
                .map(|(at, (count, _))| {
                    [
                        count.to_string(),
                        time(clone_prepare, at),
                        time(clone_commit, at),
                        time(prepare, at),
                        time(commit, at),
                    ]
                });
            report.table(
                &format!("Growth with {}, ms", panel.title),
                [
                    panel.title,
                    "Prepare, clone on XFS",
                    "Commit, clone on XFS",
                    "Prepare, btrfs",
                    "Commit, btrfs",
                ],
                rows.collect::<Vec<_>>(),
            );
        }
        report.note(format!(
            "![Growth](growth.svg)\n\nMedians of {} (of {LARGE} files or extents and more only one), of the backends themselves, without an \
             agent. Every file of the first table has one block.",
            self.rounds
        ));
    }

    /// Draws all panels into one file.
    pub(crate) fn draw(&self, path: &Path) -> std::result::Result<(), plot::Error> {
        plot::draw(path, &self.panels)
    }
}
