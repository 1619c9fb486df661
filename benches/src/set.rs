//! Commit of many subvolumes in one set, beside the bare ioctls by as many threads, and one after
//! the other as Samba makes them.

use crate::Result;
use crate::labs::share;
use crate::report::{Goal, Limit, Report};
use crate::stats::{Series, timed};
use fsrvp_idl::{ShadowCopyId, ShareName};
use fsrvp_proto::job::{CopySource, SourceShare};
use fsrvp_snapshot::{Btrfs, BtrfsConfig, Deadline, SnapshotBackend};
use fsrvp_sys::btrfs::{self, SnapshotMode};
use fsrvp_testkit::{Lab, Run};
use rustix::io::Errno;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use uuid::Uuid;

/// As many threads as the backend starts at most.
const THREADS: usize = 32;

/// The three ways to the same snapshots.
struct Ways<'a> {
    backend: &'a Btrfs,
    shares: &'a [PathBuf],
    sources: Vec<File>,
    workshop: File,
    commit: Series,
    together: Series,
    serial: Series,
}

/// `subvolumes` of one file system, `rounds` times in turns.
pub(crate) fn run(lab: &Lab, subvolumes: usize, rounds: usize, report: &mut Report) -> Result<()> {
    let target = share(lab);
    let top = target.path.with_file_name("set");
    fs::create_dir(&top)?;
    let mut shares = Vec::new();
    for number in 0..subvolumes {
        let share = top.join(format!("share{number}"));
        let create = Run::new("btrfs").args(["subvolume", "create"]);
        create.arg(&share).check()?;
        shares.push(share);
    }
    let backend = Btrfs::new(BtrfsConfig {
        server: "bench".to_owned(),
        run_dir: lab.dir().join("bench-run"),
        known: Vec::new(),
    });
    let mut ways = Ways {
        backend: &backend,
        sources: shares
            .iter()
            .map(File::open)
            .collect::<std::io::Result<_>>()?,
        shares: &shares,
        workshop: target.workshop()?,
        commit: Series::default(),
        together: Series::default(),
        serial: Series::default(),
    };
    for round in 0..rounds {
        // Each way comes first, second and last equally often.
        for turn in 0..3 {
            ways.dirty(round)?;
            match (round + turn) % 3 {
                0 => ways.commit()?,
                1 => ways.together()?,
                _ => ways.serial()?,
            }
        }
    }
    let medians = [&ways.commit, &ways.together, &ways.serial].map(Series::median);
    let [commit, together, serial] = medians;
    report.table(
        &format!("Commit of {subvolumes} subvolumes in one set, ms (n = {rounds})"),
        [
            "the backend's Commit",
            "bare ioctls, the same threads",
            "ratio",
            "one after the other",
        ],
        [[
            format!("{commit:.2}"),
            format!("{together:.2}"),
            format!("{:.2}", commit / together),
            format!("{serial:.2}"),
        ]],
    );
    report.note(
        "Medians of the backend itself, without an agent. A small file of every subvolume is written \
         and flushed before each turn; what was made is deleted and the deletion made durable after it. \
         Samba's agent makes its snapshots one after the other, by the same ioctl.",
    );
    let name = format!("Commit of {subvolumes} subvolumes");
    report.goal(Goal::new(name, commit / together, Limit::AtMost(1.3)));
    drop(ways);
    Ok(backend.unmount_all()?)
}

impl Ways<'_> {
    /// The same state before every turn: something new in every subvolume, and flushed.
    fn dirty(&self, round: usize) -> Result<()> {
        for share in self.shares {
            fs::write(share.join("file"), round.to_string())?;
        }
        Ok(btrfs::commit_transaction(self.workshop.as_fd())?)
    }

    fn commit(&mut self) -> Result<()> {
        let source = |path: &PathBuf| {
            let probe = self.backend.probe(path)?;
            Ok(CopySource {
                copy: ShadowCopyId(Uuid::new_v4()),
                backend: self.backend.name(),
                volume: probe.volume,
                shares: vec![SourceShare {
                    share: ShareName::new("share"),
                    path: path.clone(),
                    inner: probe.inner,
                }],
            })
        };
        let copies: Vec<CopySource> = self.shares.iter().map(source).collect::<Result<_>>()?;
        self.backend.prepare(&copies, &Deadline::default())?;
        timed(&mut self.commit, || {
            self.backend.commit(&copies, false, &Deadline::default())
        })?;
        for copy in copies {
            self.backend.delete(&copy.reference())?;
        }
        Ok(())
    }

    fn snapshot(&self, number: usize) -> rustix::io::Result<()> {
        let source = self.sources.get(number).ok_or(Errno::INVAL)?;
        let name = format!("bare{number}");
        let (source, workshop) = (source.as_fd(), self.workshop.as_fd());
        btrfs::snapshot_create(source, workshop, &name, SnapshotMode::ReadOnly)
    }

    fn together(&mut self) -> Result<()> {
        let mut series = std::mem::take(&mut self.together);
        timed(&mut series, || {
            let next = AtomicUsize::new(0);
            let work = || -> rustix::io::Result<()> {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= self.sources.len() {
                        return Ok(());
                    }
                    self.snapshot(number)?;
                }
            };
            std::thread::scope(|scope| {
                let threads: Vec<_> = (0..THREADS.min(self.sources.len()))
                    .map(|_| scope.spawn(work))
                    .collect();
                threads.into_iter().try_for_each(|thread| {
                    thread
                        .join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                })
            })
        })?;
        self.together = series;
        self.clear()
    }

    fn serial(&mut self) -> Result<()> {
        let mut series = std::mem::take(&mut self.serial);
        timed(&mut series, || {
            (0..self.sources.len()).try_for_each(|number| self.snapshot(number))
        })?;
        self.serial = series;
        self.clear()
    }

    fn clear(&self) -> Result<()> {
        for number in 0..self.sources.len() {
            btrfs::subvolume_destroy(self.workshop.as_fd(), &format!("bare{number}"))?;
        }
        Ok(btrfs::commit_transaction(self.workshop.as_fd())?)
    }
}
