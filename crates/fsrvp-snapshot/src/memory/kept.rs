//! Kept snapshots in memory.

use super::{Files, Form, World, copy_of_path, copy_path};
use crate::backend::{BackendError, Kept, Usage};
use crate::names::{self, share_folder};
use fsrvp_idl::{FileTime, ShadowCopyId, ShareName};
use fsrvp_proto::job::{BackendName, KeepSource, VolumeId};
use std::path::{Path, PathBuf};

/// Where kept snapshots show.
const KEPT: &str = "/memory/kept";

#[derive(Debug, Clone)]
pub(super) struct KeptSnapshot {
    pub(super) files: Files,
    share: ShareName,
    volume: VolumeId,
    copy: ShadowCopyId,
    created: FileTime,
    inner: PathBuf,
}

impl World {
    pub(super) fn keep(&mut self, source: &KeepSource, name: &str) -> Result<(), BackendError> {
        let copy = self.complete_copy(&source.copy)?;
        if copy.form != Form::ReadOnly {
            return Err(BackendError::NotSealed(copy_path(source.copy.copy)));
        }
        let kept = KeptSnapshot {
            files: copy.files.clone(),
            share: source.share.clone(),
            volume: source.copy.volume.clone(),
            copy: source.copy.copy,
            created: source.created,
            inner: source.inner.clone(),
        };
        let key = (share_folder(&source.share), name.to_owned());
        match self.kept.get(&key) {
            Some(known) if known.copy == kept.copy => Ok(()),
            Some(_) => Err(BackendError::Conflict(path(&key.0, name))),
            None => {
                self.kept.insert(key, kept);
                Ok(())
            }
        }
    }

    pub(super) fn list_kept(&self, backend: &BackendName) -> Vec<Kept> {
        let kept = self.kept.iter().map(|((folder, name), kept)| Kept {
            backend: backend.clone(),
            volume: kept.volume.clone(),
            share: kept.share.clone(),
            name: name.clone(),
            created: kept.created,
            copy: kept.copy,
            path: names::below(path(folder, name), &kept.inner),
        });
        kept.collect()
    }

    pub(super) fn delete_kept(&mut self, kept: &Kept) {
        let key = (share_folder(&kept.share), kept.name.clone());
        self.kept.remove(&key);
    }

    /// The kept snapshot that a path leads into, and the path in it.
    pub(super) fn kept_at(&self, at: &Path) -> Option<(&KeptSnapshot, PathBuf)> {
        let mut components = at.strip_prefix(KEPT).ok()?.components();
        let folder = components.next()?.as_os_str().to_str()?.to_owned();
        let name = components.next()?.as_os_str().to_str()?.to_owned();
        let kept = self.kept.get(&(folder, name))?;
        Some((kept, components.as_path().to_owned()))
    }

    /// Nothing is shared in memory.
    pub(super) fn usage(&self, path: &Path) -> Result<Usage, BackendError> {
        let files = match (self.kept_at(path), copy_of_path(path)) {
            (Some((kept, _)), _) => Some(&kept.files),
            (None, Some((copy, _))) => self.copies.get(&copy).map(|copy| &copy.files),
            (None, None) => None,
        };
        let files = files.ok_or_else(|| BackendError::NotFound(path.to_owned()))?;
        let bytes: usize = files.values().map(Vec::len).sum();
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        Ok(Usage {
            exclusive: bytes,
            referenced: bytes,
        })
    }
}

fn path(folder: &str, name: &str) -> PathBuf {
    Path::new(KEPT).join(folder).join(name)
}
