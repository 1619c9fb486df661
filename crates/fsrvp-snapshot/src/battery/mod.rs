//! The contract of [`SnapshotBackend`] as named checks, the same for every backend.
//!
//! A check panics where the contract is broken. Each gets a [`Bed`] of its own.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a check is a test that other packages call"
)]

mod checker;
mod failure;
mod faithful;
mod keep;
mod life;
mod writers;

pub use checker::{CheckerError, Verdict, check_program};
pub use writers::{Writer, writers};

use crate::backend::{Deadline, SnapshotBackend};
use fsrvp_idl::{FileTime, ShadowCopyId, ShareName};
use fsrvp_proto::job::{CopyRef, CopySource, Exposure, SourceShare};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// A share of a test bed.
#[derive(Debug, Clone)]
pub struct BedShare {
    /// Its name.
    pub name: ShareName,
    /// Its directory.
    pub path: PathBuf,
}

impl BedShare {
    /// A share.
    pub fn new(name: &str, path: impl Into<PathBuf>) -> Self {
        Self {
            name: ShareName::new(name),
            path: path.into(),
        }
    }
}

/// A directory that a backend has to refuse, and the path that its refusal must name.
#[derive(Debug, Clone)]
pub struct Refused {
    /// The directory.
    pub directory: PathBuf,
    /// The path in the way.
    pub offender: PathBuf,
}

/// The directories of a bed.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// The root of a volume, or at least above `inner`.
    pub whole: PathBuf,
    /// Below `whole`, on the same volume if there is such a thing.
    pub inner: PathBuf,
    /// On another volume; none where there is one alone.
    pub other: Option<PathBuf>,
    /// With something in them that no snapshot would hold.
    pub refused: Vec<Refused>,
}

/// What a backend takes a copy of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A volume with all shares on it: one copy holds them all.
    Volume,
    /// The tree below a share's directory: every share is a volume of its own.
    Tree,
}

/// A backend with volumes to try it on. A bed removes all that it made when it is dropped.
pub trait Bed {
    /// The backend, as the present process has it.
    fn backend(&self) -> &dyn SnapshotBackend;
    /// Ends the process and starts the next one.
    fn restart(&mut self);
    /// What the backend takes a copy of.
    fn unit(&self) -> Unit {
        Unit::Volume
    }
    /// Where its shares lie.
    fn places(&self) -> &Places;
    /// A share at [`Places::whole`].
    fn whole(&self) -> BedShare {
        BedShare::new("whole", &self.places().whole)
    }
    /// A share at [`Places::inner`].
    fn inner(&self) -> BedShare {
        BedShare::new("Inner$", &self.places().inner)
    }
    /// A share at [`Places::other`]. Only asked for by checks that need [two
    /// volumes](Need::TwoVolumes).
    ///
    /// # Panics
    /// The bed has one volume.
    fn other(&self) -> BedShare {
        BedShare::new("other", self.places().other.as_ref().unwrap())
    }
    /// As [`Places::refused`].
    fn refused(&self) -> Vec<Refused> {
        self.places().refused.clone()
    }
    /// Writes a file below a share or below a path that `expose` gave.
    ///
    /// # Errors
    /// As the file system.
    fn write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        fs::write(path, data)
    }
    /// Reads a file.
    fn read(&self, path: &Path) -> Option<Vec<u8>> {
        fs::read(path).ok()
    }
    /// A handle and a mapping through which a file can be written for as long as they live; none
    /// where files are no files of the kernel's.
    fn writers(&self, path: &Path) -> Vec<Box<dyn Writer>> {
        writers(path)
    }
    /// The labels of a share's previous versions, sorted.
    ///
    /// # Panics
    /// A link leads to no directory.
    fn labels(&self, share: &BedShare) -> Vec<String> {
        let folder = self.backend().previous_versions(&share.path, &share.name);
        let entries = folder.and_then(|folder| fs::read_dir(folder).ok());
        let names = entries.into_iter().flatten().map(|entry| {
            let entry = entry.unwrap();
            assert!(fs::metadata(entry.path()).unwrap().is_dir());
            entry.file_name().into_string().unwrap()
        });
        let mut labels: Vec<_> = names.collect();
        labels.sort();
        labels
    }
}

/// One check of the contract.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// What it is about.
    pub name: &'static str,
    /// Without which it tries nothing.
    pub needs: Option<Need>,
    /// Panics where the contract is broken.
    pub run: fn(&mut dyn Bed),
}

/// What a check needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// A bed with two volumes.
    TwoVolumes,
    /// A volume that holds several shares.
    SharedVolume,
    /// A backend that keeps snapshots.
    Keeping,
}

macro_rules! checks {
    (@) => {
        None
    };
    (@ $need:ident) => {
        Some(Need::$need)
    };
    ($($module:ident::$name:ident $(with $need:ident)?),* $(,)?) => {
        /// All checks.
        pub const CHECKS: &[Check] = &[$(Check {
            name: stringify!($name),
            needs: checks!(@ $($need)?),
            run: $module::$name,
        }),*];
    };
}

checks![
    life::probe_is_stable,
    life::volumes_are_told_apart with TwoVolumes,
    failure::probe_refuses_what_a_snapshot_would_not_hold,
    life::a_copy_holds_the_moment_of_its_commit,
    faithful::a_copy_is_what_the_share_was,
    life::what_writers_hold_open_is_in_the_copy,
    life::a_writable_copy_is_written_until_it_is_sealed,
    life::a_read_only_copy_is_never_written,
    life::who_could_write_before_the_seal_cannot_reach_the_copy,
    life::two_shares_of_a_volume_in_one_copy with SharedVolume,
    life::two_volumes_in_one_commit with TwoVolumes,
    life::everything_may_be_repeated,
    life::everything_may_be_repeated_after_a_restart,
    life::what_is_recorded_is_found_and_reached,
    life::commit_without_prepare,
    life::prepare_may_be_abandoned,
    failure::a_failing_member_leaves_nothing with TwoVolumes,
    failure::no_time_leaves_nothing with TwoVolumes,
    failure::a_cancelled_commit_leaves_nothing with TwoVolumes,
    failure::a_copy_that_is_not_there,
    failure::a_copy_of_another_volume_is_not_touched,
    life::every_form_is_enumerated,
    failure::an_attempt_finds_out_a_missing_seal,
    life::previous_versions_have_a_second_each,
    life::odd_share_names_have_folders,
    keep::a_kept_snapshot_outlives_its_copy with Keeping,
    keep::a_copy_is_kept_once_under_a_name with Keeping,
    keep::what_can_still_be_written_is_not_kept with Keeping,
    keep::kept_snapshots_are_in_nobody_s_way with Keeping,
];

const CREATED: FileTime = FileTime(133_500_000_000_000_000);

fn copy_source(bed: &dyn Bed, shares: &[BedShare]) -> CopySource {
    let probe = |share: &BedShare| bed.backend().probe(&share.path).unwrap();
    let volume = probe(shares.first().unwrap()).volume;
    let shares = shares.iter().map(|share| SourceShare {
        share: share.name.clone(),
        path: share.path.clone(),
        inner: probe(share).inner,
    });
    CopySource {
        copy: ShadowCopyId(Uuid::new_v4()),
        backend: bed.backend().name(),
        volume,
        shares: shares.collect(),
    }
}

fn copy_ref(source: &CopySource) -> CopyRef {
    source.reference()
}

fn exposures(source: &CopySource, writable: bool) -> Vec<Exposure> {
    let exposure = |share: &SourceShare| Exposure {
        copy: copy_ref(source),
        base: share.share.clone(),
        name: format!("{}@{{{}}}", share.share, source.copy),
        inner: share.inner.clone(),
        writable,
        created: CREATED,
    };
    source.shares.iter().map(exposure).collect()
}

fn commit(bed: &dyn Bed, sources: &[CopySource], writable: bool) {
    let backend = bed.backend();
    backend.prepare(sources, &Deadline::default()).unwrap();
    backend
        .commit(sources, writable, &Deadline::default())
        .unwrap();
}

/// Exposes the first share of a copy.
fn expose(bed: &dyn Bed, source: &CopySource) -> PathBuf {
    let exposure = exposures(source, true).remove(0);
    bed.backend().expose(&exposure).unwrap()
}

fn delete(bed: &dyn Bed, source: &CopySource) {
    bed.backend().delete(&copy_ref(source)).unwrap();
}

fn enumerated(bed: &dyn Bed) -> Vec<CopyRef> {
    let mut copies = bed.backend().enumerate().unwrap();
    copies.sort();
    copies
}

fn sorted(sources: &[&CopySource]) -> Vec<CopyRef> {
    let mut copies: Vec<_> = sources.iter().map(|source| copy_ref(source)).collect();
    copies.sort();
    copies
}
