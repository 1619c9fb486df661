//! Kept snapshots. A backend that keeps none says so, and has nothing more to show.

use super::{Bed, BedShare, CREATED, commit, copy_ref, copy_source, delete, enumerated, expose};
use crate::backend::{BackendError, Kept};
use fsrvp_proto::job::{CopySource, KeepSource};

fn source(copy: &CopySource, share: &BedShare) -> KeepSource {
    let of_share = copy.shares.iter().find(|mapped| mapped.share == share.name);
    KeepSource {
        copy: copy_ref(copy),
        share: share.name.clone(),
        inner: of_share.unwrap().inner.clone(),
        created: CREATED,
    }
}

/// A copy of the share that holds `text`, sealed.
fn sealed(bed: &dyn Bed, share: &BedShare, text: &[u8]) -> CopySource {
    bed.write(&share.path.join("file"), text).unwrap();
    let copy = copy_source(bed, std::slice::from_ref(share));
    commit(bed, std::slice::from_ref(&copy), true);
    expose(bed, &copy);
    bed.backend().seal(&copy_ref(&copy)).unwrap();
    copy
}

/// Whether the backend keeps snapshots at all; tells by trying.
fn keeps(bed: &dyn Bed, copy: &CopySource, share: &BedShare, name: &str) -> bool {
    match bed.backend().keep(&source(copy, share), name) {
        Ok(()) => true,
        Err(BackendError::Unsupported { .. }) => {
            assert_eq!(bed.backend().list_kept().unwrap(), []);
            false
        }
        Err(error) => panic!("{error}"),
    }
}

fn kept(bed: &dyn Bed) -> Vec<Kept> {
    let mut kept = bed.backend().list_kept().unwrap();
    kept.sort_by(|a, b| a.name.cmp(&b.name));
    kept
}

pub(super) fn a_kept_snapshot_outlives_its_copy(bed: &mut dyn Bed) {
    for share in [bed.whole(), bed.inner()] {
        let copy = sealed(bed, &share, b"kept");
        if !keeps(bed, &copy, &share, "nightly 1") {
            return delete(bed, &copy);
        }
        let before = enumerated(bed);
        assert_eq!(before, [copy_ref(&copy)], "it is no copy");
        bed.restart();
        delete(bed, &copy);
        assert_eq!(enumerated(bed), []);
        let [kept] = &kept(bed)[..] else {
            panic!("{:?}", kept(bed))
        };
        assert_eq!(
            (&kept.share, kept.name.as_str()),
            (&share.name, "nightly 1")
        );
        assert_eq!((kept.copy, kept.created), (copy.copy, CREATED));
        assert_eq!(kept.volume, copy.volume);
        let file = kept.path.join("file");
        assert_eq!(bed.read(&file).unwrap(), b"kept");
        bed.write(&file, b"no").unwrap_err();
        bed.backend().delete_kept(kept).unwrap();
        assert_eq!(bed.read(&file), None);
        assert_eq!(self::kept(bed), []);
        // Absent is success.
        bed.backend().delete_kept(kept).unwrap();
    }
}

pub(super) fn a_copy_is_kept_once_under_a_name(bed: &mut dyn Bed) {
    let share = bed.whole();
    let first = sealed(bed, &share, b"first");
    if !keeps(bed, &first, &share, "a") {
        return delete(bed, &first);
    }
    bed.backend().keep(&source(&first, &share), "a").unwrap();
    bed.restart();
    bed.backend().keep(&source(&first, &share), "a").unwrap();
    let second = sealed(bed, &share, b"second");
    let taken = bed.backend().keep(&source(&second, &share), "a");
    assert!(matches!(taken, Err(BackendError::Conflict(_))), "{taken:?}");
    bed.backend().keep(&source(&second, &share), "b").unwrap();
    let kept = kept(bed);
    let contents: Vec<_> = kept
        .iter()
        .map(|kept| bed.read(&kept.path.join("file")).unwrap())
        .collect();
    assert_eq!(contents, [b"first".to_vec(), b"second".to_vec()]);
    for kept in &kept {
        bed.backend().delete_kept(kept).unwrap();
    }
    delete(bed, &first);
    delete(bed, &second);
}

pub(super) fn what_can_still_be_written_is_not_kept(bed: &mut dyn Bed) {
    let share = bed.whole();
    bed.write(&share.path.join("file"), b"x").unwrap();
    let copy = copy_source(bed, std::slice::from_ref(&share));
    commit(bed, std::slice::from_ref(&copy), true);
    let refused = bed.backend().keep(&source(&copy, &share), "a");
    let Err(error) = refused else {
        panic!("a writable copy was kept")
    };
    assert!(
        matches!(
            error,
            BackendError::NotSealed(_) | BackendError::Unsupported { .. }
        ),
        "{error}"
    );
    delete(bed, &copy);
    let refused = bed.backend().keep(&source(&copy, &share), "a");
    let Err(error) = refused else {
        panic!("a copy that is not there was kept")
    };
    assert!(
        matches!(
            error,
            BackendError::NotFound(_) | BackendError::Unsupported { .. }
        ),
        "{error}"
    );
    assert_eq!(kept(bed), []);
}

/// A share can be copied as before when one of its copies is kept.
pub(super) fn kept_snapshots_are_in_nobody_s_way(bed: &mut dyn Bed) {
    let share = bed.whole();
    let copy = sealed(bed, &share, b"first");
    if !keeps(bed, &copy, &share, "a") {
        return delete(bed, &copy);
    }
    bed.backend().probe(&share.path).unwrap();
    let next = sealed(bed, &share, b"second");
    delete(bed, &next);
    delete(bed, &copy);
    assert_eq!(kept(bed).len(), 1);
    for kept in kept(bed) {
        bed.backend().delete_kept(&kept).unwrap();
    }
}
