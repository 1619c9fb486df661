//! The contract of [`SnapshotBackend`] as named checks, the same for every backend.
//!
//! A check panics where the contract is broken. Each gets a [`Bed`] of its own.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a check is a test that other packages call"
)]

use crate::backend::{BackendError, Deadline, SnapshotBackend};
use fsrvp_idl::{FileTime, ShadowCopyId, ShareName};
use fsrvp_proto::job::{CopyRef, CopySource, Exposure, SourceShare, VolumeId};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
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

/// A backend with volumes to try it on. A bed removes all that it made when it is dropped.
pub trait Bed {
    /// The backend, as the present process has it.
    fn backend(&self) -> &dyn SnapshotBackend;
    /// Ends the process and starts the next one.
    fn restart(&mut self);
    /// A share whose directory is the root of a volume.
    fn whole(&self) -> BedShare;
    /// A share below the root of the same volume.
    fn inner(&self) -> BedShare;
    /// A share of another volume.
    fn other(&self) -> BedShare;
    /// Directories with something in them that no snapshot would hold.
    fn refused(&self) -> Vec<Refused>;
    /// Writes a file below a share or below a path that `expose` gave.
    ///
    /// # Errors
    /// As the file system.
    fn write(&self, path: &Path, data: &[u8]) -> io::Result<()>;
    /// Reads a file.
    fn read(&self, path: &Path) -> Option<Vec<u8>>;
    /// The labels of a share's previous versions, sorted.
    fn labels(&self, share: &BedShare) -> Vec<String>;
}

/// One check of the contract.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// What it is about.
    pub name: &'static str,
    /// Panics where the contract is broken.
    pub run: fn(&mut dyn Bed),
}

macro_rules! checks {
    ($($name:ident),* $(,)?) => {
        /// All checks.
        pub const CHECKS: &[Check] = &[$(Check { name: stringify!($name), run: $name }),*];
    };
}

checks![
    probe_is_stable,
    probe_refuses_what_a_snapshot_would_not_hold,
    a_copy_holds_the_moment_of_its_commit,
    a_writable_copy_is_written_until_it_is_sealed,
    a_read_only_copy_is_never_written,
    two_shares_of_a_volume_in_one_copy,
    two_volumes_in_one_commit,
    everything_may_be_repeated,
    everything_may_be_repeated_after_a_restart,
    commit_without_prepare,
    prepare_may_be_abandoned,
    a_failing_member_leaves_nothing,
    no_time_leaves_nothing,
    a_cancelled_commit_leaves_nothing,
    a_copy_that_is_not_there,
    a_copy_of_another_volume_is_not_touched,
    every_form_is_enumerated,
    an_attempt_finds_out_a_missing_seal,
    previous_versions_have_a_second_each,
    odd_share_names_have_folders,
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
    CopyRef {
        copy: source.copy,
        backend: source.backend.clone(),
        volume: source.volume.clone(),
    }
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

fn probe_is_stable(bed: &mut dyn Bed) {
    let probes = |bed: &dyn Bed| {
        [bed.whole(), bed.inner(), bed.other()]
            .map(|share| bed.backend().probe(&share.path).unwrap())
    };
    let before = probes(bed);
    assert_eq!(before, probes(bed));
    bed.restart();
    assert_eq!(before, probes(bed));
    let [whole, inner, other] = before;
    assert_eq!(whole.inner, Path::new(""));
    assert_eq!(whole.volume, inner.volume);
    assert!(inner.inner.is_relative());
    assert_ne!(inner.inner, Path::new(""));
    assert_ne!(whole.volume, other.volume);
}

fn probe_refuses_what_a_snapshot_would_not_hold(bed: &mut dyn Bed) {
    let good = copy_source(bed, &[bed.whole()]);
    for refused in bed.refused() {
        match bed.backend().probe(&refused.directory) {
            Err(BackendError::Unsupported { path, .. }) => assert_eq!(path, refused.offender),
            other => panic!("{}: {other:?}", refused.directory.display()),
        }
        let share = SourceShare {
            share: ShareName::new("refused"),
            path: refused.directory.clone(),
            inner: PathBuf::new(),
        };
        let source = CopySource {
            shares: vec![share],
            ..good.clone()
        };
        let prepared = bed.backend().prepare(&[source], &Deadline::default());
        assert!(prepared.is_err(), "{}", refused.directory.display());
    }
    assert!(
        bed.backend()
            .probe(Path::new("/nonexistent/directory"))
            .is_err()
    );
}

fn a_copy_holds_the_moment_of_its_commit(bed: &mut dyn Bed) {
    let share = bed.whole();
    let file = share.path.join("file");
    bed.write(&file, b"before").unwrap();
    let source = copy_source(bed, &[share]);
    bed.backend()
        .prepare(std::slice::from_ref(&source), &Deadline::default())
        .unwrap();
    bed.write(&file, b"at the moment").unwrap();
    bed.backend()
        .commit(std::slice::from_ref(&source), true, &Deadline::default())
        .unwrap();
    bed.write(&file, b"after").unwrap();
    let path = expose(bed, &source);
    assert_eq!(bed.read(&path.join("file")).unwrap(), b"at the moment");
    bed.backend().seal(&copy_ref(&source)).unwrap();
    assert_eq!(bed.read(&path.join("file")).unwrap(), b"at the moment");
    delete(bed, &source);
    assert_eq!(bed.read(&path.join("file")), None);
    assert_eq!(bed.read(&file).unwrap(), b"after");
    assert_eq!(enumerated(bed), []);
}

fn a_writable_copy_is_written_until_it_is_sealed(bed: &mut dyn Bed) {
    let share = bed.inner();
    bed.write(&share.path.join("file"), b"base").unwrap();
    let source = copy_source(bed, std::slice::from_ref(&share));
    commit(bed, std::slice::from_ref(&source), true);
    let path = expose(bed, &source);
    bed.write(&path.join("file"), b"recovered").unwrap();
    bed.write(&path.join("new"), b"recovered too").unwrap();
    assert_eq!(bed.read(&share.path.join("file")).unwrap(), b"base");
    bed.backend().seal(&copy_ref(&source)).unwrap();
    bed.backend()
        .verify_sealed(&copy_ref(&source), &path)
        .unwrap();
    assert_eq!(bed.read(&path.join("file")).unwrap(), b"recovered");
    assert_eq!(bed.read(&path.join("new")).unwrap(), b"recovered too");
    bed.write(&path.join("file"), b"too late").unwrap_err();
    bed.write(&path.join("newer"), b"too late").unwrap_err();
    assert_eq!(bed.read(&path.join("file")).unwrap(), b"recovered");
    delete(bed, &source);
}

fn a_read_only_copy_is_never_written(bed: &mut dyn Bed) {
    let share = bed.whole();
    bed.write(&share.path.join("file"), b"base").unwrap();
    let source = copy_source(bed, &[share]);
    commit(bed, std::slice::from_ref(&source), false);
    let path = expose(bed, &source);
    bed.backend()
        .verify_sealed(&copy_ref(&source), &path)
        .unwrap();
    bed.write(&path.join("file"), b"no").unwrap_err();
    bed.backend().seal(&copy_ref(&source)).unwrap();
    bed.backend()
        .verify_sealed(&copy_ref(&source), &path)
        .unwrap();
    assert_eq!(enumerated(bed), sorted(&[&source]));
    assert_eq!(bed.read(&path.join("file")).unwrap(), b"base");
    delete(bed, &source);
}

fn two_shares_of_a_volume_in_one_copy(bed: &mut dyn Bed) {
    let shares = [bed.whole(), bed.inner()];
    for share in &shares {
        bed.write(&share.path.join("mine"), share.name.as_str().as_bytes())
            .unwrap();
    }
    let source = copy_source(bed, &shares);
    commit(bed, std::slice::from_ref(&source), true);
    for exposure in exposures(&source, true) {
        let path = bed.backend().expose(&exposure).unwrap();
        let name = exposure.base.as_str();
        assert_eq!(bed.read(&path.join("mine")).unwrap(), name.as_bytes());
    }
    for share in &shares {
        assert_eq!(bed.labels(share).len(), 1);
    }
    delete(bed, &source);
    for share in &shares {
        assert_eq!(bed.labels(share), [""; 0]);
    }
}

fn two_volumes_in_one_commit(bed: &mut dyn Bed) {
    let shares = [bed.whole(), bed.other()];
    for share in &shares {
        bed.write(&share.path.join("mine"), share.name.as_str().as_bytes())
            .unwrap();
    }
    let sources = shares.map(|share| copy_source(bed, &[share]));
    commit(bed, &sources, true);
    let [first, second] = &sources;
    assert_eq!(enumerated(bed), sorted(&[first, second]));
    for source in &sources {
        let path = expose(bed, source);
        let name = source.shares.first().unwrap().share.as_str();
        assert_eq!(bed.read(&path.join("mine")).unwrap(), name.as_bytes());
    }
    delete(bed, first);
    assert_eq!(enumerated(bed), sorted(&[second]));
    delete(bed, second);
}

fn repeat(bed: &mut dyn Bed, between: fn(&mut dyn Bed)) {
    let share = bed.whole();
    let file = share.path.join("file");
    bed.write(&file, b"committed").unwrap();
    let source = copy_source(bed, std::slice::from_ref(&share));
    let sources = [source.clone()];
    bed.backend()
        .prepare(&sources, &Deadline::default())
        .unwrap();
    between(bed);
    bed.backend()
        .prepare(&sources, &Deadline::default())
        .unwrap();
    bed.backend()
        .commit(&sources, true, &Deadline::default())
        .unwrap();
    between(bed);
    bed.write(&file, b"later").unwrap();
    bed.backend()
        .commit(&sources, true, &Deadline::default())
        .unwrap();
    let path = expose(bed, &source);
    between(bed);
    assert_eq!(expose(bed, &source), path);
    assert_eq!(bed.labels(&share).len(), 1);
    assert_eq!(bed.read(&path.join("file")).unwrap(), b"committed");
    for _ in 0..2 {
        between(bed);
        bed.backend().seal(&copy_ref(&source)).unwrap();
        assert_eq!(enumerated(bed), sorted(&[&source]));
        bed.backend()
            .verify_sealed(&copy_ref(&source), &path)
            .unwrap();
    }
    assert_eq!(expose(bed, &source), path);
    assert_eq!(bed.read(&path.join("file")).unwrap(), b"committed");
    for _ in 0..2 {
        between(bed);
        delete(bed, &source);
        assert_eq!(enumerated(bed), []);
        assert_eq!(bed.labels(&share), [""; 0]);
    }
}

fn everything_may_be_repeated(bed: &mut dyn Bed) {
    repeat(bed, |_| {});
}

fn everything_may_be_repeated_after_a_restart(bed: &mut dyn Bed) {
    repeat(bed, |bed| bed.restart());
}

fn commit_without_prepare(bed: &mut dyn Bed) {
    let source = copy_source(bed, &[bed.other()]);
    let sources = [source.clone()];
    bed.backend()
        .commit(&sources, true, &Deadline::default())
        .unwrap();
    assert_eq!(enumerated(bed), sorted(&[&source]));
    delete(bed, &source);
}

fn prepare_may_be_abandoned(bed: &mut dyn Bed) {
    let source = copy_source(bed, &[bed.whole()]);
    bed.backend()
        .prepare(std::slice::from_ref(&source), &Deadline::default())
        .unwrap();
    assert_eq!(enumerated(bed), []);
    delete(bed, &source);
    bed.restart();
    assert_eq!(enumerated(bed), []);
}

/// A copy whose share is not where it was: its commit fails.
fn broken(bed: &dyn Bed) -> CopySource {
    let mut source = copy_source(bed, &[bed.other()]);
    for share in &mut source.shares {
        share.path = bed.whole().path;
    }
    source
}

fn a_failing_member_leaves_nothing(bed: &mut dyn Bed) {
    let good = copy_source(bed, &[bed.whole()]);
    let bad = broken(bed);
    for sources in [[good.clone(), bad.clone()], [bad.clone(), good.clone()]] {
        let result = bed.backend().commit(&sources, true, &Deadline::default());
        assert!(
            matches!(result, Err(BackendError::Unsupported { .. })),
            "{result:?}"
        );
        assert_eq!(enumerated(bed), []);
    }
    // The good one is still good for another set.
    commit(bed, std::slice::from_ref(&good), true);
    assert_eq!(enumerated(bed), sorted(&[&good]));
    delete(bed, &good);
}

/// A commit under `deadline` leaves nothing, and the next one sees the present.
fn stopped(bed: &dyn Bed, deadline: &Deadline, expected: fn(&BackendError) -> bool) {
    let shares = [bed.whole(), bed.other()];
    let file = shares.first().unwrap().path.join("file");
    bed.write(&file, b"first").unwrap();
    let sources = shares.map(|share| copy_source(bed, &[share]));
    bed.backend()
        .prepare(&sources, &Deadline::default())
        .unwrap();
    let error = bed.backend().commit(&sources, true, deadline).unwrap_err();
    assert!(expected(&error), "{error}");
    assert_eq!(enumerated(bed), []);
    let error = bed.backend().prepare(&sources, deadline).unwrap_err();
    assert!(expected(&error), "{error}");
    bed.write(&file, b"second").unwrap();
    commit(bed, &sources, true);
    let [first, second] = &sources;
    assert_eq!(
        bed.read(&expose(bed, first).join("file")).unwrap(),
        b"second"
    );
    delete(bed, first);
    delete(bed, second);
}

fn no_time_leaves_nothing(bed: &mut dyn Bed) {
    let deadline = Deadline::within(Some(Duration::ZERO));
    stopped(bed, &deadline, |error| {
        matches!(error, BackendError::Deadline)
    });
}

fn a_cancelled_commit_leaves_nothing(bed: &mut dyn Bed) {
    let deadline = Deadline::default();
    deadline
        .cancelled
        .store(true, std::sync::atomic::Ordering::Relaxed);
    stopped(bed, &deadline, |error| {
        matches!(error, BackendError::Cancelled)
    });
}

fn a_copy_that_is_not_there(bed: &mut dyn Bed) {
    let source = copy_source(bed, &[bed.whole()]);
    let absent = |bed: &dyn Bed| {
        let copy = copy_ref(&source);
        let not_found = |error: BackendError| {
            assert!(matches!(error, BackendError::NotFound(_)), "{error}");
        };
        let exposure = exposures(&source, true).remove(0);
        not_found(bed.backend().expose(&exposure).unwrap_err());
        not_found(bed.backend().seal(&copy).unwrap_err());
        not_found(
            bed.backend()
                .verify_sealed(&copy, &bed.whole().path)
                .unwrap_err(),
        );
        bed.backend().delete(&copy).unwrap();
    };
    absent(bed);
    commit(bed, std::slice::from_ref(&source), true);
    delete(bed, &source);
    absent(bed);
}

fn a_copy_of_another_volume_is_not_touched(bed: &mut dyn Bed) {
    let source = copy_source(bed, &[bed.whole()]);
    commit(bed, std::slice::from_ref(&source), true);
    let path = expose(bed, &source);
    bed.write(&path.join("file"), b"kept").unwrap();
    // The same place, another volume: as after a name has been used again.
    let mut wrong = copy_ref(&source);
    let digit = if wrong.volume.0.ends_with('0') {
        "1"
    } else {
        "0"
    };
    wrong.volume.0.pop();
    wrong.volume.0.push_str(digit);
    for result in [bed.backend().delete(&wrong), bed.backend().seal(&wrong)] {
        assert!(
            matches!(result, Err(BackendError::Conflict(_))),
            "{result:?}"
        );
    }
    let foreign = CopyRef {
        volume: VolumeId("foreign:volume".into()),
        ..wrong
    };
    bed.backend().delete(&foreign).unwrap_err();
    bed.write(&path.join("file"), b"and writable").unwrap();
    assert_eq!(enumerated(bed), sorted(&[&source]));
    delete(bed, &source);
}

fn every_form_is_enumerated(bed: &mut dyn Bed) {
    let sources = [bed.whole(), bed.inner(), bed.other(), bed.whole()]
        .map(|share| copy_source(bed, &[share]));
    let [writable, sealed, read_only, prepared] = &sources;
    commit(bed, std::slice::from_ref(writable), true);
    commit(bed, std::slice::from_ref(sealed), true);
    bed.backend().seal(&copy_ref(sealed)).unwrap();
    commit(bed, std::slice::from_ref(read_only), false);
    bed.backend()
        .prepare(std::slice::from_ref(prepared), &Deadline::default())
        .unwrap();
    let all = sorted(&[writable, sealed, read_only]);
    assert_eq!(enumerated(bed), all);
    bed.restart();
    assert_eq!(enumerated(bed), all);
    for copy in all {
        bed.backend().delete(&copy).unwrap();
    }
    assert_eq!(enumerated(bed), []);
}

fn an_attempt_finds_out_a_missing_seal(bed: &mut dyn Bed) {
    let share = bed.whole();
    bed.write(&share.path.join("file"), b"data").unwrap();
    let source = copy_source(bed, &[share]);
    commit(bed, std::slice::from_ref(&source), true);
    let path = expose(bed, &source);
    for _ in 0..2 {
        match bed.backend().verify_sealed(&copy_ref(&source), &path) {
            Err(BackendError::NotSealed(via)) => assert_eq!(via, path),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(bed.read(&path.join("file")).unwrap(), b"data");
    bed.backend().seal(&copy_ref(&source)).unwrap();
    bed.backend()
        .verify_sealed(&copy_ref(&source), &path)
        .unwrap();
    delete(bed, &source);
}

fn previous_versions_have_a_second_each(bed: &mut dyn Bed) {
    let share = bed.inner();
    let folder = bed.backend().previous_versions(&share.path, &share.name);
    assert!(folder.is_some());
    let sources = [0, 1, 2].map(|_| copy_source(bed, std::slice::from_ref(&share)));
    for source in &sources {
        commit(bed, std::slice::from_ref(source), true);
        expose(bed, source);
    }
    // 133_500_000_000_000_000 is 2024-01-17 21:20:00 UTC.
    let label = |second| format!("@GMT-2024.01.17-21.20.{second:02}");
    assert_eq!(bed.labels(&share), [label(0), label(1), label(2)]);
    let [first, second, third] = &sources;
    delete(bed, second);
    assert_eq!(bed.labels(&share), [label(0), label(2)]);
    bed.restart();
    // Exposed again, each keeps its label.
    expose(bed, third);
    assert_eq!(bed.labels(&share), [label(0), label(2)]);
    commit(bed, std::slice::from_ref(second), true);
    expose(bed, second);
    assert_eq!(bed.labels(&share), [label(0), label(1), label(2)]);
    for source in [first, second, third] {
        delete(bed, source);
    }
    assert_eq!(bed.labels(&share), [""; 0]);
}

fn odd_share_names_have_folders(bed: &mut dyn Bed) {
    let path = bed.inner().path;
    for name in [
        "..",
        "../../up",
        "hidden$",
        "a b'\"%=c",
        "Übung",
        &"x".repeat(80),
    ] {
        let share = BedShare::new(name, &path);
        let source = copy_source(bed, std::slice::from_ref(&share));
        commit(bed, std::slice::from_ref(&source), true);
        expose(bed, &source);
        assert_eq!(bed.labels(&share).len(), 1, "{name}");
        let other_case = BedShare::new(&name.to_uppercase(), &path);
        assert_eq!(bed.labels(&other_case).len(), 1, "{name}");
        delete(bed, &source);
        assert_eq!(bed.labels(&share), [""; 0], "{name}");
    }
}
