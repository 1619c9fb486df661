//! The way to thousands of copies after a start.

use super::enumerate::typed_entries;
use super::volume::VolumeKey;
use super::{Area, Btrfs, FileSystem};
use crate::backend::{BackendError, SnapshotBackend as _};
use crate::lock;
use fsrvp_proto::job::Exposure;
use std::collections::{HashMap, HashSet};
use std::os::fd::AsFd;
use std::sync::Arc;
use uuid::Uuid;

/// What one look at a file system tells of all its copies.
struct Seen {
    file_system: Arc<FileSystem>,
    area: Area,
    /// The names of directories in the area.
    names: HashSet<String>,
}

impl Btrfs {
    /// Mounts what has to be mounted, and mends links that are missing. Only copies that are not
    /// there, or that no link leads to, are dealt with one by one: opening a copy reads several
    /// blocks from the disk.
    pub(super) fn reach_all(&self, exposures: &[Exposure]) -> Vec<Result<(), BackendError>> {
        let mut seen: HashMap<Uuid, Option<Seen>> = HashMap::new();
        let mut reach = |exposure: &Exposure| {
            let volume = VolumeKey::parse(&exposure.copy.volume)?;
            let entry = seen.entry(volume.file_system);
            let seen = entry.or_insert_with(|| self.see(volume).ok().flatten());
            match seen {
                Some(seen) if seen.leads_to(exposure)? => Ok(()),
                _ => self.expose(exposure).map(drop),
            }
        };
        exposures.iter().map(&mut reach).collect()
    }

    /// Nothing if there is no area; [`expose`](crate::SnapshotBackend::expose) says why.
    fn see(&self, volume: VolumeKey) -> Result<Option<Seen>, BackendError> {
        let Some((file_system, area)) = self.area(volume)? else {
            return Ok(None);
        };
        let entries = typed_entries(area.fd.as_fd(), &area.path)?;
        let directories = entries
            .into_iter()
            .filter(|(_, is_directory)| *is_directory);
        let names = directories.map(|(name, _)| name).collect();
        file_system.warn_if_closed();
        Ok(Some(Seen {
            file_system,
            area,
            names,
        }))
    }
}

impl Seen {
    fn leads_to(&self, exposure: &Exposure) -> Result<bool, BackendError> {
        let copy = exposure.copy.copy;
        if !self.names.contains(&copy.to_string()) {
            return Ok(false);
        }
        lock(&self.file_system.links).has(&self.area, &exposure.base, copy)
    }
}
