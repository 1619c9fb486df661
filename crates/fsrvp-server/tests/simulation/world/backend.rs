//! A backend whose every step is the scheduler's to let happen.

use super::{Disk, World};
use crate::strand::{Fate, step};
use fsrvp_idl::{ShadowCopyId, ShareName};
use fsrvp_proto::job::{BackendName, CopyRef, CopySource, Exposure, KeepSource, VolumeId};
use fsrvp_server::targets::FileLists;
use fsrvp_snapshot::clone::Targets;
use fsrvp_snapshot::{BackendError, Deadline, Kept, Memory, Probe, ProviderFacts, SnapshotBackend};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// One process's view of a disk.
pub(crate) struct SimBackend {
    world: Arc<World>,
    disk: Arc<Disk>,
    memory: Memory,
    lists: Arc<FileLists>,
    /// Copies that Prepare has told their lists.
    prepared: Mutex<BTreeSet<ShadowCopyId>>,
}

impl SimBackend {
    pub(crate) fn new(world: &Arc<World>, disk: &Arc<Disk>, lists: &Arc<FileLists>) -> Self {
        Self {
            world: Arc::clone(world),
            disk: Arc::clone(disk),
            memory: disk.memory.restarted(),
            lists: Arc::clone(lists),
            prepared: Mutex::default(),
        }
    }

    /// A copy is told which files are wanted, as the clone backend asks for them.
    fn tell(&self, source: &CopySource) {
        for share in &source.shares {
            let wanted = self.lists.wanted(&share.share, Some(source.copy));
            let list = wanted.and_then(|files| Some(files.first()?.to_str()?.to_owned()));
            self.world.tell(source.copy, &share.share, list);
        }
    }

    /// A step that `act`s, unless it is told to fail or the volume is not there.
    fn step<T>(
        &self,
        point: &'static str,
        volume: Option<&VolumeId>,
        act: impl FnOnce() -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        let fate = step(point);
        if let Fate::Fails(kind) = fate {
            return Err(error(kind, point));
        }
        if let Some(volume) = volume
            && !self.world.is_there(volume)
        {
            return Err(not_there(volume));
        }
        let done = act()?;
        self.world.changed();
        match fate {
            Fate::FailsAfterwards(kind) => Err(error(kind, point)),
            Fate::Done | Fate::Fails(_) | Fate::Crash => Ok(done),
        }
    }

    fn cut_all(
        &self,
        copies: &[CopySource],
        writable: bool,
        deadline: &Deadline,
    ) -> Result<(), BackendError> {
        for source in copies {
            deadline.check()?;
            // What fails has not been made: whatever is left is for `undo`.
            self.step("cut", Some(&source.volume), || {
                if !self.prepared.lock().unwrap().contains(&source.copy) {
                    self.tell(source);
                }
                let one = std::slice::from_ref(source);
                self.memory.commit(one, writable, &Deadline::default())
            })?;
        }
        deadline.check()
    }
}

impl SnapshotBackend for SimBackend {
    fn name(&self) -> BackendName {
        self.memory.name()
    }

    fn facts(&self) -> ProviderFacts {
        self.memory.facts()
    }

    fn probe(&self, directory: &Path) -> Result<Probe, BackendError> {
        let probe = self.step("probe", None, || self.memory.probe(directory))?;
        if self.world.is_there(&probe.volume) {
            Ok(probe)
        } else {
            Err(not_there(&probe.volume))
        }
    }

    fn prepare(&self, copies: &[CopySource], deadline: &Deadline) -> Result<(), BackendError> {
        for source in copies {
            self.step("prepare", Some(&source.volume), || {
                self.tell(source);
                self.prepared.lock().unwrap().insert(source.copy);
                self.memory.prepare(std::slice::from_ref(source), deadline)
            })?;
        }
        Ok(())
    }

    fn commit(
        &self,
        copies: &[CopySource],
        writable: bool,
        deadline: &Deadline,
    ) -> Result<(), BackendError> {
        let _adopted = self
            .world
            .forks
            .adopt(copies.first().map(|source| source.copy));
        let done = self.cut_all(copies, writable, deadline);
        if done.is_err() {
            for source in copies {
                // An undo that fails leaves the copy behind, and nobody hears of it.
                let _ = self.step("undo cut", Some(&source.volume), || {
                    self.memory.delete(&source.reference())
                });
            }
        }
        done
    }

    fn expose(&self, exposure: &Exposure) -> Result<PathBuf, BackendError> {
        let copy = &exposure.copy;
        self.step("mount", Some(&copy.volume), || {
            let path = self.memory.expose(exposure)?;
            self.disk.state.lock().unwrap().mounted.insert(copy.copy);
            Ok(path)
        })
    }

    fn seal(&self, copy: &CopyRef) -> Result<(), BackendError> {
        self.step("seal", Some(&copy.volume), || self.memory.seal(copy))
    }

    fn verify_sealed(&self, copy: &CopyRef, via: &Path) -> Result<(), BackendError> {
        self.step("try the seal", Some(&copy.volume), || {
            self.memory.verify_sealed(copy, via)
        })
    }

    fn delete(&self, copy: &CopyRef) -> Result<(), BackendError> {
        self.step("delete", Some(&copy.volume), || {
            self.memory.delete(copy)?;
            self.disk.state.lock().unwrap().mounted.remove(&copy.copy);
            Ok(())
        })
    }

    fn delete_telling(
        &self,
        copy: &CopyRef,
        out_of_sight: &mut dyn FnMut(),
    ) -> Result<(), BackendError> {
        self.delete(copy)?;
        out_of_sight();
        self.step("make durable", Some(&copy.volume), || Ok(()))
    }

    fn keep(&self, source: &KeepSource, name: &str) -> Result<(), BackendError> {
        self.step("keep", Some(&source.copy.volume), || {
            self.memory.keep(source, name)
        })
    }

    fn list_kept(&self) -> Result<Vec<Kept>, BackendError> {
        self.step("list kept", None, || self.memory.list_kept())
    }

    fn delete_kept(&self, kept: &Kept) -> Result<(), BackendError> {
        self.step("delete kept", Some(&kept.volume), || {
            self.memory.delete_kept(kept)
        })
    }

    fn enumerate(&self) -> Result<Vec<CopyRef>, BackendError> {
        let mut copies = self.step("list copies", None, || self.memory.enumerate())?;
        copies.retain(|copy| self.world.is_there(&copy.volume));
        Ok(copies)
    }

    fn previous_versions(&self, directory: &Path, share: &ShareName) -> Option<PathBuf> {
        self.memory.previous_versions(directory, share)
    }
}

fn error(kind: u8, point: &'static str) -> BackendError {
    match kind % 5 {
        0 => BackendError::NoSpace(point.to_owned()),
        1 => BackendError::Deadline,
        2 => BackendError::Busy(point.to_owned()),
        _ => io(point, "simulated"),
    }
}

fn not_there(volume: &VolumeId) -> BackendError {
    io("open", &format!("{volume} is not there"))
}

fn io(operation: &'static str, text: &str) -> BackendError {
    BackendError::Io {
        operation,
        path: PathBuf::from("/srv"),
        source: std::io::Error::other(text.to_owned()),
    }
}
