//! What the seal holds against, across restarts, reboots and power cuts.

use crate::bed::{FileSystem, backend, lab};
use crate::common::{Ground, copy_ref, cut, exposed, exposure, source, umount, while_busy};
use fsrvp_snapshot::battery::writers;
use fsrvp_snapshot::{BackendError, Deadline, SnapshotBackend, TreeClone};
use rustix::fs::{Mode, OFlags, openat};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

fn a_share(ground: &Ground, kind: FileSystem) -> PathBuf {
    let share = kind.make(ground, "a").join("share");
    fs::create_dir(&share).unwrap();
    fs::write(share.join("file"), b"base").unwrap();
    share
}

#[test]
fn writers_hold_the_seal_up_and_never_get_past_it() {
    if !lab() {
        return;
    }
    for kind in FileSystem::ALL {
        let ground = Ground::new();
        let share = a_share(&ground, kind);
        let backend = backend(&ground, &[&share]);
        let source = source(&backend, &share);
        let copy = exposed(&backend, &source);
        let reference = copy_ref(&source);
        let mut all = writers(&copy.join("file"));
        let directory = File::open(&copy).unwrap();
        while let Some(mut writer) = all.pop() {
            writer.write(b"auto").unwrap();
            let busy = backend.seal(&reference);
            assert!(matches!(busy, Err(BackendError::Busy(_))), "{busy:?}");
            let open = backend.verify_sealed(&reference, &copy);
            assert!(matches!(open, Err(BackendError::NotSealed(_))), "{open:?}");
            // Not sealed is not sealed: it is still written.
            writer.write(b"more").unwrap();
        }
        backend.seal(&reference).unwrap();
        backend.verify_sealed(&reference, &copy).unwrap();
        assert_eq!(fs::read(copy.join("file")).unwrap(), b"more");
        // A directory that was open before is no way in.
        let flags = OFlags::WRONLY | OFlags::CREATE;
        let created = openat(&directory, "new", flags, Mode::RUSR);
        assert_eq!(created.unwrap_err(), rustix::io::Errno::ROFS);
        // Readers do not mind.
        let reader = File::open(copy.join("file")).unwrap();
        backend.seal(&reference).unwrap();
        drop(reader);
        backend.delete(&reference).unwrap();
        assert!(!copy.exists());
        assert_eq!(fs::read(share.join("file")).unwrap(), b"base");
    }
}

#[test]
fn a_copy_that_is_in_use_is_deleted() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let share = a_share(&ground, FileSystem::Xfs);
    let backend = backend(&ground, &[&share]);
    let source = source(&backend, &share);
    let copy = exposed(&backend, &source);
    let file = File::open(copy.join("file")).unwrap();
    let _writers = writers(&copy.join("file"));
    backend.delete(&copy_ref(&source)).unwrap();
    assert!(!copy.exists());
    assert_eq!(std::io::read_to_string(file).unwrap(), "base");
}

/// What a reboot leaves of mounts: nothing.
fn reboot(backend: TreeClone, ground: &Ground, share: &Path) -> TreeClone {
    while_busy(|| backend.unmount_all().is_ok());
    drop(backend);
    assert!(!ground.path("run/mounts/clone").exists());
    crate::bed::backend(ground, &[share])
}

#[test]
fn a_seal_outlives_a_reboot() {
    if !lab() {
        return;
    }
    for kind in FileSystem::ALL {
        let ground = Ground::new();
        let share = a_share(&ground, kind);
        let before = backend(&ground, &[&share]);
        let sources = [(); 3].map(|()| source(&before, &share));
        let [writable, sealed, read_only] = &sources;
        before.prepare(&sources, &Deadline::default()).unwrap();
        for (source, is_writable) in [(writable, true), (sealed, true), (read_only, false)] {
            let one = std::slice::from_ref(source);
            before
                .commit(one, is_writable, &Deadline::default())
                .unwrap();
            before.expose(&exposure(source)).unwrap();
        }
        before.seal(&copy_ref(sealed)).unwrap();
        let after = reboot(before, &ground, &share);
        assert_eq!(after.enumerate().unwrap().len(), 3);
        for (source, is_writable) in [(writable, true), (sealed, false), (read_only, false)] {
            let copy = after.expose(&exposure(source)).unwrap();
            assert_eq!(fs::write(copy.join("new"), b"x").is_ok(), is_writable);
            let verdict = after.verify_sealed(&copy_ref(source), &copy);
            assert_eq!(verdict.is_ok(), !is_writable, "{verdict:?}");
            assert_eq!(fs::read(copy.join("file")).unwrap(), b"base");
        }
        // Sealed while it is not mounted, it is sealed when it is.
        let after = reboot(after, &ground, &share);
        after.seal(&copy_ref(writable)).unwrap();
        let copy = after.expose(&exposure(writable)).unwrap();
        fs::write(copy.join("newer"), b"x").unwrap_err();
        assert!(copy.join("new").exists());
    }
}

#[test]
fn another_way_in_is_found_out() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let share = a_share(&ground, FileSystem::Xfs);
    let backend = backend(&ground, &[&share]);
    let source = source(&backend, &share);
    exposed(&backend, &source);
    let reference = copy_ref(&source);
    backend.seal(&reference).unwrap();
    // As an SMB server would see it to which the change of the mount has not come.
    let other = crate::phases::area(&ground)
        .join(source.copy.to_string())
        .join("tree");
    let verdict = backend.verify_sealed(&reference, &other);
    assert!(
        matches!(verdict, Err(BackendError::NotSealed(_))),
        "{verdict:?}"
    );
    // Or that does not see the mount at all.
    let verdict = backend.verify_sealed(&reference, &share);
    assert!(
        matches!(verdict, Err(BackendError::Unsupported { .. })),
        "{verdict:?}"
    );
}

#[test]
fn something_else_that_is_mounted_there() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let share = a_share(&ground, FileSystem::Xfs);
    let backend = backend(&ground, &[&share]);
    let source = source(&backend, &share);
    let sources = std::slice::from_ref(&source);
    backend.commit(sources, true, &Deadline::default()).unwrap();
    let place = ground.path(&format!("run/mounts/clone/{}", source.copy));
    crate::common::bind(&share, &place);
    let refused = backend.expose(&exposure(&source));
    assert!(
        matches!(refused, Err(BackendError::Conflict(_))),
        "{refused:?}"
    );
    umount(&place);
    backend.expose(&exposure(&source)).unwrap();
}

#[test]
fn a_power_cut_after_any_step_loses_nothing_of_it() {
    if !lab() {
        return;
    }
    for kind in FileSystem::ALL {
        let ground = Ground::new();
        let image = kind.image(&ground, "a");
        let top = kind.mount(&ground, &image, "a");
        let share = top.join("share");
        for number in 0..50 {
            let directory = share.join(format!("d{number}"));
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("file"), vec![number; 9_000]).unwrap();
        }
        let process = backend(&ground, &[&share]);
        let source = source(&process, &share);
        let sources = std::slice::from_ref(&source);
        process.prepare(sources, &Deadline::default()).unwrap();
        // Dirty pages that nobody flushes before the cut.
        fs::write(share.join("d7/file"), b"unflushed").unwrap();
        fs::write(share.join("d8/new"), b"unflushed").unwrap();
        process.commit(sources, true, &Deadline::default()).unwrap();
        let committed = cut(&ground, "committed.img");
        let copy = process.expose(&exposure(&source)).unwrap();
        fs::write(copy.join("d7/file"), b"auto-recovery").unwrap();
        process.seal(&copy_ref(&source)).unwrap();
        let sealed = cut(&ground, "sealed.img");
        process.delete(&copy_ref(&source)).unwrap();
        let deleted = cut(&ground, "deleted.img");
        // Two mounted file systems may not have one id.
        while_busy(|| process.unmount_all().is_ok());
        drop(process);
        umount(&top);

        let after = |image: &Path, check: &dyn Fn(&TreeClone)| {
            let top = kind.mount(&ground, image, "a");
            let process = backend(&ground, &[&top]);
            check(&process);
            while_busy(|| process.unmount_all().is_ok());
            drop(process);
            umount(&top);
        };
        let holds = |process: &TreeClone, content: &[u8]| {
            assert_eq!(process.enumerate().unwrap(), [copy_ref(&source)]);
            let copy = process.expose(&exposure(&source)).unwrap();
            for number in 0..50 {
                let data = fs::read(copy.join(format!("d{number}/file"))).unwrap();
                if number == 7 {
                    assert_eq!(data, content, "{kind:?}");
                } else {
                    assert_eq!(data, vec![number; 9_000], "{kind:?}");
                }
            }
            assert_eq!(fs::read(copy.join("d8/new")).unwrap(), b"unflushed");
            copy
        };
        after(&committed, &|process| {
            let copy = holds(process, b"unflushed");
            fs::write(copy.join("writable"), b"x").unwrap();
        });
        after(&sealed, &|process| {
            let copy = holds(process, b"auto-recovery");
            process.verify_sealed(&copy_ref(&source), &copy).unwrap();
        });
        after(&deleted, &|process| {
            assert_eq!(process.enumerate().unwrap(), []);
        });
    }
}
