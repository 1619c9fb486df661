//! The life of a copy: made, exposed, written, sealed, found again, deleted.

use super::{
    Bed, BedShare, Unit, commit, copy_ref, copy_source, delete, enumerated, expose, exposures,
    sorted,
};
use crate::backend::{BackendError, Deadline};
use fsrvp_proto::job::{CopyRef, CopySource};
use std::path::Path;
use std::time::{Duration, Instant};

pub(super) fn probe_is_stable(bed: &mut dyn Bed) {
    let probes = |bed: &dyn Bed| {
        [bed.whole(), bed.inner()].map(|share| bed.backend().probe(&share.path).unwrap())
    };
    let before = probes(bed);
    assert_eq!(before, probes(bed));
    bed.restart();
    assert_eq!(before, probes(bed));
    let [whole, inner] = before;
    match bed.unit() {
        Unit::Volume => {
            assert_eq!(whole.volume, inner.volume);
            assert!(inner.inner.is_relative());
            assert_ne!(inner.inner, whole.inner);
            assert!(inner.inner.starts_with(&whole.inner));
        }
        Unit::Tree => {
            assert_ne!(whole.volume, inner.volume);
            assert_eq!([whole.inner, inner.inner], [Path::new(""); 2]);
        }
    }
}

pub(super) fn volumes_are_told_apart(bed: &mut dyn Bed) {
    let [whole, other] =
        [bed.whole(), bed.other()].map(|share| bed.backend().probe(&share.path).unwrap());
    assert_ne!(whole.volume, other.volume);
}

pub(super) fn a_copy_holds_the_moment_of_its_commit(bed: &mut dyn Bed) {
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

pub(super) fn what_writers_hold_open_is_in_the_copy(bed: &mut dyn Bed) {
    let share = bed.inner();
    let file = share.path.join("held");
    for number in 0.. {
        bed.write(&file, b"base").unwrap();
        let Some(mut writer) = bed.writers(&file).into_iter().nth(number) else {
            return;
        };
        let source = copy_source(bed, std::slice::from_ref(&share));
        let sources = std::slice::from_ref(&source);
        bed.backend()
            .prepare(sources, &Deadline::default())
            .unwrap();
        // Not flushed by anybody.
        writer.write(b"late").unwrap();
        bed.backend()
            .commit(sources, true, &Deadline::default())
            .unwrap();
        let path = expose(bed, &source);
        assert_eq!(bed.read(&path.join("held")).unwrap(), b"late");
        drop(writer);
        delete(bed, &source);
    }
}

pub(super) fn a_writable_copy_is_written_until_it_is_sealed(bed: &mut dyn Bed) {
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

pub(super) fn a_read_only_copy_is_never_written(bed: &mut dyn Bed) {
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

pub(super) fn who_could_write_before_the_seal_cannot_reach_the_copy(bed: &mut dyn Bed) {
    let share = bed.whole();
    bed.write(&share.path.join("file"), b"base").unwrap();
    for number in 0.. {
        let source = copy_source(bed, std::slice::from_ref(&share));
        commit(bed, std::slice::from_ref(&source), true);
        let (copy, path) = (copy_ref(&source), expose(bed, &source));
        let file = path.join("file");
        let Some(mut writer) = bed.writers(&file).into_iter().nth(number) else {
            delete(bed, &source);
            return;
        };
        writer.write(b"auto").unwrap();
        match bed.backend().seal(&copy) {
            Ok(()) => {
                bed.backend().verify_sealed(&copy, &path).unwrap();
                // Into what nobody sees, or nowhere.
                let _ = writer.write(b"late");
                assert_eq!(bed.read(&file).unwrap(), b"auto");
                drop(writer);
            }
            // As good, if it holds once the writer has gone.
            Err(BackendError::Busy(_)) => {
                bed.backend().verify_sealed(&copy, &path).unwrap_err();
                drop(writer);
                seal_patiently(bed, &copy);
                bed.backend().verify_sealed(&copy, &path).unwrap();
            }
            Err(error) => panic!("{error}"),
        }
        assert_eq!(bed.read(&file).unwrap(), b"auto");
        assert_eq!(bed.read(&share.path.join("file")).unwrap(), b"base");
        delete(bed, &source);
    }
}

/// What has been closed may be let go a moment later: a process that another thread is starting has
/// a copy of every handle until it runs its program.
fn seal_patiently(bed: &dyn Bed, copy: &CopyRef) {
    let started = Instant::now();
    loop {
        match bed.backend().seal(copy) {
            Err(BackendError::Busy(_)) if started.elapsed() < Duration::from_secs(30) => {}
            other => return other.unwrap(),
        }
    }
}

pub(super) fn two_shares_of_a_volume_in_one_copy(bed: &mut dyn Bed) {
    if bed.unit() == Unit::Tree {
        return;
    }
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

pub(super) fn two_volumes_in_one_commit(bed: &mut dyn Bed) {
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

pub(super) fn everything_may_be_repeated(bed: &mut dyn Bed) {
    repeat(bed, |_| {});
}

pub(super) fn everything_may_be_repeated_after_a_restart(bed: &mut dyn Bed) {
    repeat(bed, |bed| bed.restart());
}

/// A start finds what is recorded, and the way to it, and nothing that has gone.
pub(super) fn what_is_recorded_is_found_and_reached(bed: &mut dyn Bed) {
    let share = bed.whole();
    bed.write(&share.path.join("file"), b"committed").unwrap();
    let [first, second] = [(); 2].map(|()| copy_source(bed, std::slice::from_ref(&share)));
    for source in [&first, &second] {
        commit(bed, std::slice::from_ref(source), true);
        expose(bed, source);
    }
    let gone = copy_source(bed, &[share]);
    let recorded = [&first, &gone].map(copy_ref);
    let exposures = [&first, &gone].map(|source| exposures(source, true).remove(0));
    for _ in 0..2 {
        bed.restart();
        let mut found = bed.backend().enumerate_beside(&recorded).unwrap();
        found.sort();
        assert_eq!(found, sorted(&[&first, &second]));
        let reached = bed.backend().reach(&exposures);
        assert!(
            matches!(reached.as_slice(), [Ok(()), Err(BackendError::NotFound(_))]),
            "{reached:?}"
        );
    }
    let path = expose(bed, &first);
    assert_eq!(bed.read(&path.join("file")).unwrap(), b"committed");
    for source in [&first, &second] {
        delete(bed, source);
    }
    bed.restart();
    assert_eq!(bed.backend().enumerate_beside(&recorded).unwrap(), []);
}

pub(super) fn commit_without_prepare(bed: &mut dyn Bed) {
    let source = copy_source(bed, &[bed.inner()]);
    let sources = [source.clone()];
    bed.backend()
        .commit(&sources, true, &Deadline::default())
        .unwrap();
    assert_eq!(enumerated(bed), sorted(&[&source]));
    delete(bed, &source);
}

pub(super) fn prepare_may_be_abandoned(bed: &mut dyn Bed) {
    let source = copy_source(bed, &[bed.whole()]);
    bed.backend()
        .prepare(std::slice::from_ref(&source), &Deadline::default())
        .unwrap();
    // What Prepare makes may be listed, and goes with the copy; before a restart and after it.
    assert_eq!(without(enumerated(bed), &source), []);
    delete(bed, &source);
    bed.restart();
    assert_eq!(enumerated(bed), []);
    bed.backend()
        .prepare(std::slice::from_ref(&source), &Deadline::default())
        .unwrap();
    bed.restart();
    assert_eq!(without(enumerated(bed), &source), []);
    delete(bed, &source);
    assert_eq!(enumerated(bed), []);
}

/// The copies that are not the one of `source`.
fn without(mut copies: Vec<CopyRef>, source: &CopySource) -> Vec<CopyRef> {
    copies.retain(|copy| copy.copy != source.copy);
    copies
}

pub(super) fn every_form_is_enumerated(bed: &mut dyn Bed) {
    let sources = [bed.whole(), bed.inner(), bed.whole(), bed.whole()]
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
    assert_eq!(without(enumerated(bed), prepared), all);
    bed.restart();
    let found = enumerated(bed);
    assert_eq!(without(found.clone(), prepared), all);
    for copy in found {
        bed.backend().delete(&copy).unwrap();
    }
    assert_eq!(enumerated(bed), []);
}

pub(super) fn previous_versions_have_a_second_each(bed: &mut dyn Bed) {
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

pub(super) fn odd_share_names_have_folders(bed: &mut dyn Bed) {
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
