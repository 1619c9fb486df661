//! What is refused, and what a failure leaves behind: nothing.

use super::{Bed, commit, copy_ref, copy_source, delete, enumerated, expose, exposures, sorted};
use crate::backend::{BackendError, Deadline};
use fsrvp_idl::ShareName;
use fsrvp_proto::job::{CopyRef, CopySource, SourceShare, VolumeId};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(super) fn probe_refuses_what_a_snapshot_would_not_hold(bed: &mut dyn Bed) {
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

/// A copy whose share is not where it was: its commit fails.
fn broken(bed: &dyn Bed) -> CopySource {
    let mut source = copy_source(bed, &[bed.other()]);
    for share in &mut source.shares {
        share.path = bed.whole().path;
    }
    source
}

pub(super) fn a_failing_member_leaves_nothing(bed: &mut dyn Bed) {
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

pub(super) fn no_time_leaves_nothing(bed: &mut dyn Bed) {
    let deadline = Deadline::within(Some(Duration::ZERO));
    stopped(bed, &deadline, |error| {
        matches!(error, BackendError::Deadline)
    });
}

pub(super) fn a_cancelled_commit_leaves_nothing(bed: &mut dyn Bed) {
    let deadline = Deadline::default();
    deadline
        .cancelled
        .store(true, std::sync::atomic::Ordering::Relaxed);
    stopped(bed, &deadline, |error| {
        matches!(error, BackendError::Cancelled)
    });
}

pub(super) fn a_copy_that_is_not_there(bed: &mut dyn Bed) {
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

pub(super) fn a_copy_of_another_volume_is_not_touched(bed: &mut dyn Bed) {
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

pub(super) fn an_attempt_finds_out_a_missing_seal(bed: &mut dyn Bed) {
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
