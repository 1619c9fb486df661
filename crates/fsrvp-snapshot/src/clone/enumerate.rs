//! Which copies exist, on all mounted file systems.

use super::TreeClone;
use super::area::{Area, is_furniture};
use super::file_system::{distinct, id_of, visible_root};
use super::volume::VolumeKey;
use crate::backend::BackendError;
use crate::error::failed;
use crate::folder::entries;
use crate::location::open_directory;
use crate::lock;
use fsrvp_idl::ShadowCopyId;
use fsrvp_sys::mount;
use fsrvp_sys::mountinfo::{Mount, MountTable};
use rustix::fs::{Mode, OFlags, openat};
use std::collections::{BTreeMap, HashSet};
use std::os::fd::AsFd;
use std::path::Path;
use uuid::Uuid;

/// Types whose root can be looked at although no mount shows it.
const MOUNTABLE: [&str; 2] = ["btrfs", "xfs"];

/// All copies in this server's areas, each once whatever its forms: of the known file systems, and
/// of all others where the area bears our mark. What is in the trash of such an area is removed.
pub(super) fn copies(
    backend: &TreeClone,
    mounts: &MountTable,
) -> Result<BTreeMap<ShadowCopyId, VolumeKey>, BackendError> {
    let known: HashSet<Uuid> = backend
        .config
        .known
        .iter()
        .filter_map(|path| {
            let directory = open_directory(path).ok()?;
            super::volume::file_system_id(directory.as_fd(), path).ok()
        })
        .collect();
    let mut found = BTreeMap::new();
    for mount in distinct(mounts) {
        let Some(id) = id_of(mounts, mount) else {
            tracing::debug!(path = %mount.point.display(), "cannot look for clones here");
            continue;
        };
        let is_known = known.contains(&id);
        match look(backend, id, mounts, mount, is_known) {
            Ok(copies) => found.extend(copies),
            Err(error) if is_known => return Err(error),
            Err(error) => tracing::warn!(
                path = %mount.point.display(),
                error = &error as &dyn std::error::Error,
                "cannot look for clones here"
            ),
        }
    }
    Ok(found)
}

fn look(
    backend: &TreeClone,
    id: Uuid,
    mounts: &MountTable,
    mount: &Mount,
    is_known: bool,
) -> Result<Vec<(ShadowCopyId, VolumeKey)>, BackendError> {
    let point = backend.root_point(id);
    let mounted = lock(&backend.file_systems).get(&id).cloned();
    let folder = &backend.folder;
    let area = if let Some(file_system) = mounted {
        Area::open_at(file_system.top.as_fd(), &point, folder)?
    } else if let Some((top, _)) = visible_root(mounts, mount) {
        Area::open_at(top.as_fd(), &point, folder)?
    } else if MOUNTABLE.contains(&mount.fs_type.as_str()) && !mount.read_only {
        let device = Path::new(&mount.source);
        let detached = mount::file_system_root(&mount.fs_type, &mount.source)
            .map_err(failed("mount", device))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = openat(&detached, ".", flags, Mode::empty()).map_err(failed("open", device))?;
        Area::open_at(top.as_fd(), &point, folder)?
    } else {
        None
    };
    let Some(area) = area else {
        return Ok(Vec::new());
    };
    if !is_known && !area.belongs_to(&backend.config.run_dir)? {
        return Ok(Vec::new());
    }
    backend.reaper.empty(&area.trash);
    let _nobody_begins = lock(&backend.beginning);
    copies_in(&area)
}

fn copies_in(area: &Area) -> Result<Vec<(ShadowCopyId, VolumeKey)>, BackendError> {
    let mut found = Vec::new();
    for name in entries(area.as_fd(), &area.path)? {
        match area.copy_of(&name)? {
            Some(copy) => found.push(copy),
            None if is_furniture(&name) || area.sweep(&name) => {}
            None => {
                let path = area.path.join(&name);
                tracing::warn!(path = %path.display(), "is no copy of ours, and left alone");
            }
        }
    }
    Ok(found)
}
