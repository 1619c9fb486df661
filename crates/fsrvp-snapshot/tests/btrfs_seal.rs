//! What a seal of btrfs holds against, and what is durable.
#![allow(clippy::unwrap_used, reason = "the helpers of a test")]

mod common;

use common::{
    Ground, backend, copy_ref, cut, exposed, lab, run, source, subvolume, umount, unmount_all,
    while_busy,
};
use fsrvp_snapshot::{BackendError, SnapshotBackend};
use fsrvp_sys::btrfs::file_system_id;
use rustix::fs::{Mode, OFlags, openat};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

fn a_share(ground: &Ground) -> PathBuf {
    let share = subvolume(&ground.btrfs("a").join("share"));
    fs::write(share.join("file"), b"base").unwrap();
    share
}

#[test]
fn handles_from_before_the_seal_do_not_reach_the_copy() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let share = a_share(&ground);
    let backend = backend(&ground, &[&share]);
    let source = source(&backend, &share);
    let copy = exposed(&backend, &source);
    let file = OpenOptions::new()
        .write(true)
        .open(copy.join("file"))
        .unwrap();
    let directory = File::open(&copy).unwrap();
    // Not flushed by anybody: the seal has to take it along.
    file.write_all_at(b"auto-recovery", 0).unwrap();
    backend.seal(&copy_ref(&source)).unwrap();
    backend.verify_sealed(&copy_ref(&source), &copy).unwrap();
    assert_eq!(fs::read(copy.join("file")).unwrap(), b"auto-recovery");
    file.write_all_at(b"too late", 0).unwrap();
    file.sync_all().unwrap();
    let flags = OFlags::WRONLY | OFlags::CREATE;
    let created = openat(&directory, "new", flags, Mode::RUSR);
    assert!(created.is_err() || !copy.join("new").exists());
    assert_eq!(fs::read(copy.join("file")).unwrap(), b"auto-recovery");
    assert_eq!(fs::read(share.join("file")).unwrap(), b"base");
    backend.delete(&copy_ref(&source)).unwrap();
}

/// A process with a shared mapping of a file; each line on its input is stored at the start.
struct Mapping(Child);

impl Mapping {
    fn of(file: &Path) -> Self {
        let program = "import mmap, sys\n\
            with open(sys.argv[1], 'r+b') as f: m = mmap.mmap(f.fileno(), 0)\n\
            print('mapped', flush=True)\n\
            for line in sys.stdin:\n\
            \x20   data = line.strip().encode()\n\
            \x20   m[:len(data)] = data\n\
            \x20   print('stored', flush=True)\n";
        let child = Command::new("python3")
            .args(["-c", program, file.to_str().unwrap()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut mapping = Self(child);
        assert_eq!(mapping.answer(), "mapped\n");
        mapping
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        BufReader::with_capacity(1, self.0.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        line
    }

    fn store(&mut self, data: &str) {
        writeln!(self.0.stdin.as_mut().unwrap(), "{data}").unwrap();
        assert_eq!(self.answer(), "stored\n");
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn mappings_from_before_the_seal_do_not_reach_the_copy() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let share = a_share(&ground);
    let backend = backend(&ground, &[&share]);
    let source = source(&backend, &share);
    let copy = exposed(&backend, &source);
    let mut mapping = Mapping::of(&copy.join("file"));
    mapping.store("1st!");
    backend.seal(&copy_ref(&source)).unwrap();
    assert_eq!(fs::read(copy.join("file")).unwrap(), b"1st!");
    mapping.store("2nd!");
    assert_eq!(fs::read(copy.join("file")).unwrap(), b"1st!");
    // The discarded form goes although it is still mapped, and so does the copy.
    backend.delete(&copy_ref(&source)).unwrap();
    mapping.store("3rd!");
    assert!(!copy.exists());
}

#[test]
fn a_copy_with_open_handles_is_deleted() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let share = a_share(&ground);
    let backend = backend(&ground, &[&share]);
    let source = source(&backend, &share);
    let copy = exposed(&backend, &source);
    let file = File::open(copy.join("file")).unwrap();
    backend.delete(&copy_ref(&source)).unwrap();
    assert!(!copy.exists());
    let mut data = [0; 4];
    file.read_exact_at(&mut data, 0).unwrap();
    assert_eq!(&data, b"base");
}

#[test]
fn a_subvolume_made_inside_a_copy_is_named_and_kept() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let share = a_share(&ground);
    let backend = backend(&ground, &[&share]);
    let source = source(&backend, &share);
    let copy = exposed(&backend, &source);
    let nested = subvolume(&copy.join("nested"));
    for result in [
        backend.seal(&copy_ref(&source)),
        backend.delete(&copy_ref(&source)),
    ] {
        match result {
            Err(BackendError::Unsupported { path, .. }) => assert_eq!(path, nested),
            other => panic!("{other:?}"),
        }
    }
    // Nothing has changed: the copy is still written.
    fs::write(copy.join("file"), b"more").unwrap();
    run(
        "btrfs",
        &["-q", "subvolume", "delete", nested.to_str().unwrap()],
    );
    backend.seal(&copy_ref(&source)).unwrap();
    assert_eq!(fs::read(copy.join("file")).unwrap(), b"more");
    backend.delete(&copy_ref(&source)).unwrap();
}

#[test]
fn a_power_cut_after_any_step_loses_nothing_of_it() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let image = ground.image("a");
    let top = ground.mount(&image, "a", "commit=300");
    let id = file_system_id(File::open(&top).unwrap().as_fd()).unwrap();
    let share = subvolume(&top.join("share"));
    let process = backend(&ground, &[&share]);
    let source = source(&process, &share);
    let sources = std::slice::from_ref(&source);
    process.prepare(sources, &Default::default()).unwrap();
    // Dirty pages that nobody flushes before the cut.
    fs::write(share.join("file"), b"unflushed").unwrap();
    process.commit(sources, true, &Default::default()).unwrap();
    let committed = cut(&ground, "committed.img");
    let copy = process.expose(&common::exposure(&source)).unwrap();
    fs::write(copy.join("file"), b"auto-recovery").unwrap();
    process.seal(&copy_ref(&source)).unwrap();
    let sealed = cut(&ground, "sealed.img");
    process.delete(&copy_ref(&source)).unwrap();
    let deleted = cut(&ground, "deleted.img");
    // Two mounted file systems may not have one id.
    unmount_all(&process);
    umount(&top);

    let after = |image: &Path, check: &dyn Fn(&fsrvp_snapshot::Btrfs)| {
        // The kernel invents an id while a file system with this one is still going away.
        let top = ground.path("cut");
        while_busy(|| {
            ground.mount(image, "cut", "");
            let shown = file_system_id(File::open(&top).unwrap().as_fd());
            let same = shown == Ok(id);
            if !same {
                umount(&top);
            }
            same
        });
        let process = backend(&ground, &[&top]);
        check(&process);
        unmount_all(&process);
        umount(&top);
    };
    let holds = |process: &fsrvp_snapshot::Btrfs, content: &[u8]| {
        assert_eq!(process.enumerate().unwrap(), [copy_ref(&source)]);
        let copy = process.expose(&common::exposure(&source)).unwrap();
        assert_eq!(fs::read(copy.join("file")).unwrap(), content);
        let area = copy.parent().unwrap();
        let forms = fs::read_dir(area)
            .unwrap()
            .map(|form| form.unwrap().file_name());
        let forms: Vec<_> = forms.filter(|name| name != "previous").collect();
        assert_eq!(forms, [source.copy.to_string().as_str()]);
        copy
    };
    after(&committed, &|process| {
        let copy = holds(process, b"unflushed");
        fs::write(copy.join("file"), b"writable").unwrap();
    });
    after(&sealed, &|process| {
        let copy = holds(process, b"auto-recovery");
        process.verify_sealed(&copy_ref(&source), &copy).unwrap();
    });
    after(&deleted, &|process| {
        assert_eq!(process.enumerate().unwrap(), []);
    });
}
