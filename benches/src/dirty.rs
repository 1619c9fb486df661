//! Commit of a share with much written before Prepare and little after it.

use crate::Result;
use crate::cycle::{BACKUP, Set};
use crate::labs::{Labs, Target, share};
use crate::pipe::Pipe;
use crate::report::{Goal, Limit, Report};
use crate::stats::{Series, timed};
use fsrvp_sys::btrfs::{self, SnapshotMode};
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;

/// What is written at a time.
const CHUNK: usize = 1 << 20;
/// Clean sets for each dirty one.
const CLEAN: usize = 3;

/// How a share is dirtied.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dirt {
    /// Bytes written before Prepare.
    pub(crate) before: usize,
    /// Bytes written after it.
    pub(crate) after: usize,
    /// How often, for each that is measured.
    pub(crate) rounds: usize,
}

/// One of those that take turns.
struct Contender {
    name: &'static str,
    /// Where its row stands.
    place: usize,
    pipe: Pipe,
    share: Target,
    /// Makes the snapshot of a prepared set, timed.
    cut: fn(&mut Set<'_>, &Target, &mut Series) -> Result<()>,
    /// Removes set and snapshot.
    end: fn(Set<'_>, &Target) -> Result<()>,
    clean: Series,
    prepare: Series,
    dirty: Series,
}

/// Measures our agent, the bare ioctl in place of its Commit, and the peer.
pub(crate) fn run(labs: &Labs, dirt: Dirt, report: &mut Report) -> Result<()> {
    let contender = |place, name, lab: &fsrvp_testkit::Lab| -> Result<Contender> {
        Ok(Contender {
            name,
            place,
            pipe: Pipe::open(&lab.pipe())?,
            share: share(lab),
            cut: |set, _, series| timed(series, || set.commit()),
            end: |set, _| set.abort(),
            clean: Series::default(),
            prepare: Series::default(),
            dirty: Series::default(),
        })
    };
    let mut all = [
        contender(0, "ours", &labs.ours)?,
        Contender {
            cut: |_, share, series| bare(share, series),
            end: |set, share| remove_bare(share).and_then(|()| set.abort()),
            ..contender(1, "bare ioctl in place of our Commit", &labs.ours)?
        },
        Contender {
            // Samba's Abort leaves the snapshot where it is.
            end: |set, _| set.finish(),
            ..contender(2, "rpcd_fsrvp", &labs.peer)?
        },
    ];
    for _ in 0..dirt.rounds {
        for _ in 0..CLEAN {
            all.iter_mut().try_for_each(Contender::clean)?;
        }
        for contender in &mut all {
            contender.dirty(dirt)?;
            settle(labs)?;
        }
        // Nobody always follows the same other one.
        all.rotate_left(1);
    }
    all.sort_by_key(|contender| contender.place);
    let [before, after] = [dirt.before >> 20, dirt.after >> 20];
    report.table(
        &format!("Commit with {before} MiB dirtied before Prepare and {after} MiB after it, ms"),
        [
            "who",
            "clean Commit",
            "dirty Prepare",
            "dirty Commit",
            "dirty / clean",
        ],
        all.each_ref().map(Contender::row),
    );
    report.note(format!(
        "Medians of {} dirty and {} clean sets each, in turns.",
        dirt.rounds,
        dirt.rounds * CLEAN
    ));
    let [ours, ..] = &all;
    report.goal(Goal::new(
        "Commit, dirty / clean",
        ours.ratio(),
        Limit::AtMost(2.0),
    ));
    Ok(())
}

impl Contender {
    fn clean(&mut self) -> Result<()> {
        let mut set = Set::begin(&mut self.pipe, &self.share, BACKUP)?;
        // Ours does so in Prepare, Samba's does not.
        self.share.flush()?;
        set.prepare()?;
        (self.cut)(&mut set, &self.share, &mut self.clean)?;
        (self.end)(set, &self.share)
    }

    fn dirty(&mut self, dirt: Dirt) -> Result<()> {
        let [before, after] = ["before", "after"].map(|name| self.share.path.join(name));
        self.share.flush()?;
        let mut set = Set::begin(&mut self.pipe, &self.share, BACKUP)?;
        write(&before, dirt.before)?;
        timed(&mut self.prepare, || set.prepare())?;
        write(&after, dirt.after)?;
        (self.cut)(&mut set, &self.share, &mut self.dirty)?;
        (self.end)(set, &self.share)?;
        fs::remove_file(before)?;
        fs::remove_file(after)?;
        self.share.flush()
    }

    fn ratio(&self) -> f64 {
        self.dirty.median() / self.clean.median()
    }

    fn row(&self) -> [String; 5] {
        [
            self.name.to_owned(),
            format!("{:.2}", self.clean.median()),
            format!("{:.0}", self.prepare.median()),
            format!("{:.2}", self.dirty.median()),
            format!("{:.2}", self.ratio()),
        ]
    }
}

/// Waits until the space of deleted snapshots is given back and all disks are quiet.
fn settle(labs: &Labs) -> Result<()> {
    for lab in [&labs.ours, &labs.peer] {
        let run = fsrvp_testkit::Run::new("btrfs").args(["subvolume", "sync"]);
        run.arg(share(lab).path).check()?;
    }
    rustix::fs::sync();
    Ok(())
}

fn bare(share: &Target, series: &mut Series) -> Result<()> {
    let (source, workshop) = (File::open(&share.path)?, share.workshop()?);
    let mode = SnapshotMode::ReadOnly;
    let create = || btrfs::snapshot_create(source.as_fd(), workshop.as_fd(), "bare", mode);
    Ok(timed(series, create)?)
}

fn remove_bare(share: &Target) -> Result<()> {
    let workshop = share.workshop()?;
    btrfs::subvolume_destroy(workshop.as_fd(), "bare")?;
    Ok(btrfs::commit_transaction(workshop.as_fd())?)
}

fn write(path: &Path, bytes: usize) -> Result<()> {
    let mut file = File::create(path)?;
    let chunk = vec![0x5A_u8; CHUNK];
    let mut left = bytes;
    while left > 0 {
        let part = chunk.get(..left.min(CHUNK)).unwrap_or_default();
        file.write_all(part)?;
        left = left.saturating_sub(part.len());
    }
    Ok(())
}
