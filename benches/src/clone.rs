//! Clones on XFS beside what copies trees and files without an agent: `cp -a --reflink=always` and
//! the bare FICLONE, with the same sync at the end.

use crate::Result;
use crate::report::{Goal, Limit, Report};
use crate::stats::{Series, timed};
use fsrvp_idl::{ShadowCopyId, ShareName};
use fsrvp_proto::job::{CopyRef, CopySource, SourceShare};
use fsrvp_snapshot::clone::{CloneConfig, Rules};
use fsrvp_snapshot::{Deadline, SnapshotBackend, TreeClone};
use fsrvp_testkit::Run;
use rustix::fs::{XattrFlags, fsetxattr, fsync, ioctl_ficlone, syncfs};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use uuid::Uuid;

/// Size of the image: sparse, it takes what is written.
const IMAGE: u64 = 64 << 30;
/// Files of a directory.
const FILES_OF_A_DIRECTORY: usize = 50;
/// Bytes of a small file.
const SMALL: usize = 16 << 10;
/// Distance of two extents, and the data of each.
const STRIDE: u64 = 1 << 20;
const BLOCK: usize = 4 << 10;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Files of the tree.
    pub(crate) files: usize,
    /// Extents of the image.
    pub(crate) extents: usize,
    /// Pairs of each.
    pub(crate) pairs: usize,
    /// Trees and images of the growth have 1, 10, 100 … up to this.
    pub(crate) most_files: usize,
    /// The same of extents.
    pub(crate) most_extents: usize,
}

/// Measures all of it.
pub(crate) fn run(plan: Plan, report: &mut Report) -> Result<()> {
    let ground = Ground::new()?;
    tree(&ground, plan, report)?;
    image(&ground, plan, report)?;
    growth(&ground, plan, report)
}

/// An XFS of our own.
struct Ground {
    place: TempDir,
}

impl Ground {
    fn new() -> Result<Self> {
        let ground = Self {
            place: tempfile::Builder::new().prefix("fsrvp-bench-").tempdir()?,
        };
        let image = ground.place.path().join("image");
        File::create(&image)?.set_len(IMAGE)?;
        Run::new("mkfs.xfs")
            .args(["-q", "-m", "reflink=1"])
            .arg(&image)
            .check()?;
        fs::create_dir(ground.top())?;
        Run::new("mount")
            .args(["-o", "loop"])
            .arg(&image)
            .arg(ground.top())
            .check()?;
        Ok(ground)
    }

    fn top(&self) -> PathBuf {
        self.place.path().join("xfs")
    }

    fn backend(&self) -> TreeClone {
        TreeClone::new(CloneConfig {
            rules: Rules {
                depth: 0,
                ..Rules::default()
            },
            known: vec![self.top()],
            ..CloneConfig::new("bench", self.place.path().join("run"))
        })
    }

    /// From here on nobody finds anything to write.
    fn quiet(&self) -> Result<()> {
        Ok(syncfs(File::open(self.top())?)?)
    }

    /// What makes a copy durable: the log of XFS is written in order.
    fn sync(&self) -> Result<()> {
        Ok(fsync(File::open(self.top())?)?)
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        for point in [
            self.place.path().join("run/roots"),
            self.place.path().join("run/clone"),
        ] {
            for mounted in fs::read_dir(point).into_iter().flatten().flatten() {
                let _ = Run::new("umount").arg(mounted.path()).output();
            }
        }
        let _ = Run::new("umount").arg(self.top()).output();
    }
}

/// One copy by the backend, timed; it is gone afterwards.
fn ours(
    ground: &Ground,
    backend: &TreeClone,
    share: &Path,
    prepare: &mut Series,
    commit: &mut Series,
) -> Result<()> {
    let source = CopySource {
        copy: ShadowCopyId(Uuid::new_v4()),
        backend: backend.name(),
        volume: backend.probe(share)?.volume,
        shares: vec![SourceShare {
            share: ShareName::new("bench"),
            path: share.to_owned(),
            inner: PathBuf::new(),
        }],
    };
    let sources = std::slice::from_ref(&source);
    let deadline = Deadline::default();
    ground.quiet()?;
    timed(prepare, || backend.prepare(sources, &deadline))?;
    timed(commit, || backend.commit(sources, true, &deadline))?;
    backend.delete(&CopyRef {
        copy: source.copy,
        backend: source.backend.clone(),
        volume: source.volume.clone(),
    })?;
    backend.settle();
    ground.quiet()
}

/// A tree of small files as Samba leaves them.
fn make_tree(share: &Path, files: usize) -> Result<()> {
    let (descriptor, attributes) = ([0x5A; 300], [0x5A; 56]);
    let content = vec![0x5A; SMALL];
    for number in 0..files {
        let directory = share.join((number / FILES_OF_A_DIRECTORY).to_string());
        if number % FILES_OF_A_DIRECTORY == 0 {
            fs::create_dir_all(&directory)?;
        }
        let path = directory.join(number.to_string());
        fs::write(&path, &content)?;
        let file = File::open(path)?;
        let plain = XattrFlags::empty();
        fsetxattr(&file, "security.NTACL", &descriptor, plain)?;
        fsetxattr(&file, "user.DOSATTRIB", &attributes, plain)?;
    }
    Ok(())
}

/// A file of single blocks far from each other.
fn make_image(share: &Path, extents: usize) -> Result<PathBuf> {
    fs::create_dir_all(share)?;
    let path = share.join("image");
    let file = File::create(&path)?;
    let block = [0x5A; BLOCK];
    for number in 0..extents {
        file.write_all_at(&block, STRIDE * number as u64)?;
    }
    file.sync_all()?;
    Ok(path)
}

fn tree(ground: &Ground, plan: Plan, report: &mut Report) -> Result<()> {
    let share = ground.top().join("tree");
    make_tree(&share, plan.files)?;
    let backend = ground.backend();
    let [mut prepare, mut commit, mut copy] = [(); 3].map(|()| Series::default());
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
            ours(ground, &backend, &share, &mut prepare, &mut commit)?;
            by_cp(&mut copy)?;
        } else {
            by_cp(&mut copy)?;
            ours(ground, &backend, &share, &mut prepare, &mut commit)?;
        }
    }
    fs::remove_dir_all(&share)?;
    let [prepared, committed, copied] = [&prepare, &commit, &copy].map(Series::median);
    let files = plan.files;
    report.table(
        &format!("A tree of {files} files with two attributes each on XFS, ms"),
        ["", "median", "p90"],
        [
            ("Prepare", &prepare),
            ("Commit", &commit),
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
    let share = ground.top().join("images");
    let path = make_image(&share, plan.extents)?;
    let backend = ground.backend();
    let [mut prepare, mut commit, mut bare] = [(); 3].map(|()| Series::default());
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
            ours(ground, &backend, &share, &mut prepare, &mut commit)?;
            by_ioctl(&mut bare)?;
        } else {
            by_ioctl(&mut bare)?;
            ours(ground, &backend, &share, &mut prepare, &mut commit)?;
        }
    }
    fs::remove_dir_all(&share)?;
    let extents = plan.extents;
    report.table(
        &format!("One file of {extents} extents on XFS, ms"),
        ["", "median", "p90"],
        [("Commit", &commit), ("bare FICLONE", &bare)].map(|(what, series)| {
            [
                format!("{what} (n = {})", series.len()),
                format!("{:.1}", series.median()),
                format!("{:.1}", series.quantile(0.9)),
            ]
        }),
    );
    let ratio = commit.median() / bare.median();
    report.goal(Goal::new(
        "Clone, Commit / bare FICLONE",
        ratio,
        Limit::AtMost(1.15),
    ));
    Ok(())
}

/// 1, 10, 100 … up to `most`.
fn powers(most: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(1_usize), |last| last.checked_mul(10))
        .take_while(move |n| *n <= most)
}

fn growth(ground: &Ground, plan: Plan, report: &mut Report) -> Result<()> {
    const ROUNDS: usize = 3;
    let backend = ground.backend();
    let mut rows = Vec::new();
    let share = ground.top().join("growth");
    let trees = powers(plan.most_files).map(|count| (count, "files"));
    let images = powers(plan.most_extents).map(|count| (count, "extents"));
    for (count, unit) in trees.chain(images) {
        fs::create_dir(&share)?;
        if unit == "files" {
            make_tree(&share, count)?;
        } else {
            make_image(&share, count)?;
        }
        let [mut prepare, mut commit] = [(); 2].map(|()| Series::default());
        for _ in 0..ROUNDS {
            ours(ground, &backend, &share, &mut prepare, &mut commit)?;
        }
        fs::remove_dir_all(&share)?;
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let each = commit.median() * 1_000.0 / count as f64;
        rows.push([
            format!("{count} {unit}"),
            format!("{:.1}", prepare.median()),
            format!("{:.1}", commit.median()),
            format!("{each:.1}"),
        ]);
    }
    report.table(
        "Growth of a clone on XFS",
        ["share", "Prepare, ms", "Commit, ms", "Commit, µs each"],
        rows,
    );
    report.note(format!("Medians of {ROUNDS}."));
    Ok(())
}
