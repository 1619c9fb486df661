//! The memory backend: the battery, and the faults that other tests rely on.
#![allow(clippy::unwrap_used, reason = "the helpers of a test")]

use fsrvp_idl::ShadowCopyId;
use fsrvp_proto::job::{CopySource, SourceShare};
use fsrvp_snapshot::battery::{Bed, BedShare, CHECKS, Places, Refused, Writer};
use fsrvp_snapshot::memory::{Form, Gate, Injection, Memory, Step};
use fsrvp_snapshot::{BackendError, Deadline, SnapshotBackend};
use std::io;
use std::path::{Path, PathBuf};
use uuid::Uuid;

struct MemoryBed {
    memory: Memory,
    places: Places,
}

impl MemoryBed {
    fn new() -> Self {
        let memory = Memory::new();
        for root in ["/srv/a", "/srv/b", "/srv/c"] {
            memory.add_volume(root);
        }
        memory.add_obstacle(Path::new("/srv/c/x/mount"), "a mount");
        let refused = ["/srv/c", "/srv/c/x"].map(|directory| Refused {
            directory: directory.into(),
            offender: "/srv/c/x/mount".into(),
        });
        Self {
            memory,
            places: Places {
                whole: "/srv/a".into(),
                inner: "/srv/a/some/where".into(),
                other: Some("/srv/b".into()),
                refused: refused.into(),
            },
        }
    }
}

impl Bed for MemoryBed {
    fn backend(&self) -> &dyn SnapshotBackend {
        &self.memory
    }

    fn restart(&mut self) {
        self.memory = self.memory.restarted();
    }

    fn places(&self) -> &Places {
        &self.places
    }

    fn write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        self.memory.write(path, data)
    }

    fn read(&self, path: &Path) -> Option<Vec<u8>> {
        self.memory.read(path)
    }

    /// Its files are none of the kernel's.
    fn writers(&self, _path: &Path) -> Vec<Box<dyn Writer>> {
        Vec::new()
    }

    fn labels(&self, share: &BedShare) -> Vec<String> {
        self.memory.links(&share.name).into_keys().collect()
    }
}

#[test]
fn battery() {
    for check in CHECKS {
        println!("{}", check.name);
        (check.run)(&mut MemoryBed::new());
    }
}

fn sources(memory: &Memory) -> [CopySource; 2] {
    ["/srv/a", "/srv/b"].map(|root| {
        memory.add_volume(root);
        CopySource {
            copy: ShadowCopyId(Uuid::new_v4()),
            backend: memory.name(),
            volume: memory.probe(Path::new(root)).unwrap().volume,
            shares: vec![SourceShare {
                share: fsrvp_idl::ShareName::new(root),
                path: root.into(),
                inner: PathBuf::new(),
            }],
        }
    })
}

#[test]
fn a_fault_in_the_second_cut_undoes_the_first() {
    let memory = Memory::new();
    let sources = sources(&memory);
    let fault = Injection::at(Step::Commit).copy(sources[1].copy).times(1);
    memory.inject(fault.fail(|| BackendError::NoSpace("b".into())));
    let error = memory
        .commit(&sources, true, &Deadline::default())
        .unwrap_err();
    assert!(matches!(error, BackendError::NoSpace(_)));
    assert!(memory.copies().is_empty());
    memory.commit(&sources, true, &Deadline::default()).unwrap();
    assert_eq!(memory.copies().len(), 2);
}

#[test]
fn an_undo_that_fails_leaves_a_copy_for_enumerate() {
    let memory = Memory::new();
    let sources = sources(&memory);
    memory.inject(
        Injection::at(Step::Commit)
            .copy(sources[1].copy)
            .fail(|| BackendError::Deadline),
    );
    memory.inject(Injection::at(Step::Undo).fail(|| BackendError::Busy("a".into())));
    memory
        .commit(&sources, true, &Deadline::default())
        .unwrap_err();
    let left = memory.restarted().enumerate().unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].copy, sources[0].copy);
    // It is not taken for the copy of a later commit.
    memory.clear_faults();
    memory.write(Path::new("/srv/a/file"), b"later").unwrap();
    memory.commit(&sources, true, &Deadline::default()).unwrap();
    let file = format!("/memory/copies/{}/file", sources[0].copy);
    assert_eq!(memory.read(Path::new(&file)).unwrap(), b"later");
}

#[test]
fn a_hung_commit_goes_on_when_released_and_sees_that_it_was_cancelled() {
    let memory = Memory::new();
    let sources = sources(&memory);
    let gate = Gate::new();
    memory.inject(Injection::at(Step::Committed).hang(&gate));
    let deadline = Deadline::default();
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| memory.commit(&sources, true, &deadline));
        gate.wait_for(1);
        assert_eq!(memory.copies().len(), 2);
        assert_eq!(memory.copies()[&sources[0].copy], Form::Writable);
        deadline
            .cancelled
            .store(true, std::sync::atomic::Ordering::Relaxed);
        gate.release();
        let error = worker.join().unwrap().unwrap_err();
        assert!(matches!(error, BackendError::Cancelled));
    });
    assert!(memory.copies().is_empty());
}

#[test]
fn a_hook_runs_and_steps_are_recorded() {
    let memory = Memory::new();
    let sources = sources(&memory);
    let deadline = Deadline::default();
    let flag = deadline.cancelled.clone();
    memory.inject(
        Injection::at(Step::Commit)
            .copy(sources[1].copy)
            .run(move || {
                flag.store(true, std::sync::atomic::Ordering::Relaxed);
            }),
    );
    let error = memory.commit(&sources, true, &deadline).unwrap_err();
    assert!(matches!(error, BackendError::Cancelled));
    let steps: Vec<_> = memory.passed().into_iter().map(|(step, _)| step).collect();
    let expected = [
        Step::Probe,
        Step::Probe,
        Step::Commit,
        Step::Commit,
        Step::Committed,
        Step::Undo,
        Step::Undo,
    ];
    assert_eq!(steps, expected);
}

#[test]
fn a_partial_copy_is_enumerated_not_used_and_deleted() {
    let memory = Memory::new();
    let [source, _] = sources(&memory);
    let copy = fsrvp_proto::job::CopyRef {
        copy: source.copy,
        backend: source.backend.clone(),
        volume: source.volume.clone(),
    };
    memory.leave_partial(&copy);
    assert_eq!(memory.enumerate().unwrap(), std::slice::from_ref(&copy));
    assert!(matches!(memory.seal(&copy), Err(BackendError::NotFound(_))));
    memory
        .commit(&[source], false, &Deadline::default())
        .unwrap();
    assert_eq!(memory.copies()[&copy.copy], Form::ReadOnly);
    memory.delete(&copy).unwrap();
    assert_eq!(memory.enumerate().unwrap(), []);
}

#[test]
fn a_full_volume() {
    let memory = Memory::new();
    let sources = sources(&memory);
    memory.set_full(Path::new("/srv/b"), true);
    let error = memory
        .commit(&sources, true, &Deadline::default())
        .unwrap_err();
    assert!(matches!(error, BackendError::NoSpace(_)));
    assert!(memory.copies().is_empty());
    memory.set_full(Path::new("/srv/b"), false);
    memory.commit(&sources, true, &Deadline::default()).unwrap();
}
