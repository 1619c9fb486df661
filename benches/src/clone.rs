//! Clones on XFS beside what copies trees and files without an agent: `cp -a --reflink=always` and
//! the bare FICLONE, with the same sync at the end.

use crate::Result;
use crate::ground::{Ground, Kind, Phases, make_image, make_tree};
use crate::report::{Goal, Limit, Report};
use crate::stats::{Series, timed};
use fsrvp_snapshot::{SnapshotBackend, TreeClone};
use fsrvp_testkit::Run;
use rustix::fs::ioctl_ficlone;
use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Files of the tree.
    pub(crate) files: usize,
    /// Extents of the image.
    pub(crate) extents: usize,
    /// Pairs of each.
    pub(crate) pairs: usize,
}

/// Measures all of it.
pub(crate) fn run(plan: Plan, report: &mut Report) -> Result<()> {
    let ground = Ground::new(Kind::Xfs)?;
    tree(&ground, plan, report)?;
    image(&ground, plan, report)
}

/// One copy by the backend, timed; it is gone afterwards.
fn ours(ground: &Ground, backend: &TreeClone, share: &Path, phases: &mut Phases) -> Result<()> {
    ground.quiet()?;
    phases.measure(backend, share)?;
    backend.finish(Duration::MAX);
    ground.quiet()
}

fn tree(ground: &Ground, plan: Plan, report: &mut Report) -> Result<()> {
    let share = ground.share("tree")?;
    make_tree(&share, plan.files)?;
    let backend = ground.clones();
    let (mut phases, mut copy) = (Phases::default(), Series::default());
    let copied = ground.top().join("copied");
    let by_cp = |copy: &mut Series| -> Result<()> {
        ground.quiet()?;
        let cp = Run::new("cp").args(["-a", "--reflink=always"]);
        let cp = cp.arg(&share).arg(&copied);
        timed(copy, || {
            cp.check().map_err(Box::from).and_then(|_| ground.sync())
        })?;
        fs::remove_dir_all(&copied)?;
        ground.quiet()
    };
    for pair in 0..plan.pairs {
        if pair % 2 == 0 {
            ours(ground, &backend, &share, &mut phases)?;
            by_cp(&mut copy)?;
        } else {
            by_cp(&mut copy)?;
            ours(ground, &backend, &share, &mut phases)?;
        }
    }
    fs::remove_dir_all(&share)?;
    let [prepared, committed, copied] =
        [&phases.prepare, &phases.commit, &copy].map(Series::median);
    let files = plan.files;
    report.table(
        &format!("A tree of {files} files with two attributes each on XFS, ms"),
        ["", "median", "p90"],
        [
            ("Prepare", &phases.prepare),
            ("Commit", &phases.commit),
            ("cp -a --reflink", &copy),
        ]
        .map(|(what, series)| {
            [
                format!("{what} (n = {})", series.len()),
                format!("{:.1}", series.median()),
                format!("{:.1}", series.quantile(0.9)),
            ]
        }),
    );
    report.note(
        "In turns, from a flushed file system, and all three end with what is durable: Prepare flushes, \
         Commit and cp end with one fsync of a directory, behind which the log of XFS is complete.",
    );
    let both = (prepared + committed) / copied;
    report.goal(Goal::new(
        "Clone, Prepare + Commit / cp",
        both,
        Limit::AtMost(1.1),
    ));
    let alone = committed / copied;
    report.goal(Goal::new("Clone, Commit / cp", alone, Limit::AtMost(0.25)));
    Ok(())
}

fn image(ground: &Ground, plan: Plan, report: &mut Report) -> Result<()> {
    let share = ground.share("images")?;
    let path = make_image(&share, plan.extents)?;
    let backend = ground.clones();
    let (mut phases, mut bare) = (Phases::default(), Series::default());
    let target = ground.top().join("bare");
    let by_ioctl = |bare: &mut Series| -> Result<()> {
        let (source, file) = (File::open(&path)?, File::create(&target)?);
        ground.quiet()?;
        timed(bare, || {
            ioctl_ficlone(&file, &source)
                .map_err(Box::from)
                .and_then(|()| ground.sync())
        })?;
        fs::remove_file(&target)?;
        ground.quiet()
    };
    for pair in 0..plan.pairs {
        if pair % 2 == 0 {
            ours(ground, &backend, &share, &mut phases)?;
            by_ioctl(&mut bare)?;
        } else {
            by_ioctl(&mut bare)?;
            ours(ground, &backend, &share, &mut phases)?;
        }
    }
    fs::remove_dir_all(&share)?;
    let extents = plan.extents;
    report.table(
        &format!("One file of {extents} extents on XFS, ms"),
        ["", "median", "p90"],
        [("Commit", &phases.commit), ("bare FICLONE", &bare)].map(|(what, series)| {
            [
                format!("{what} (n = {})", series.len()),
                format!("{:.1}", series.median()),
                format!("{:.1}", series.quantile(0.9)),
            ]
        }),
    );
    let ratio = phases.commit.median() / bare.median();
    report.goal(Goal::new(
        "Clone, Commit / bare FICLONE",
        ratio,
        Limit::AtMost(1.15),
    ));
    Ok(())
}
